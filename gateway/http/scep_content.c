#include "gateway/http/scep_content.h"

#include <openssl/asn1.h>
#include <openssl/err.h>

/*
 * Takes the value at the front, when it is of that tag and of a definite length: its contents, and all
 * of it. Without a copy or a tree, because it is done to what strangers had decrypted: how long it
 * takes must not tell whether that was a request.
 */
static bool
take(struct bytes *from, int tag, struct bytes *contents, struct bytes *all)
{
	const uint8_t *at = from->at;
	long len = 0;
	int is = 0, class = 0, result = ASN1_get_object(&at, &len, &is, &class, (long)from->len);

	/* 0x80: an error, 0x01: an indefinite length */
	if ((result & 0x81) != 0 || class != V_ASN1_UNIVERSAL || is != tag)
		return false;
	*contents = bytes_of(at, (size_t)len);
	*all = bytes_of(from->at, (size_t)(at - from->at) + (size_t)len);
	*from = bytes_of(at + len, from->len - all->len);
	return true;
}

/* CertificationRequestInfo ::= SEQUENCE { version, subject, subjectPKInfo, attributes } */
static bool
find_key(struct bytes csr, struct bytes *key)
{
	struct bytes outer, info, contents, whole;

	return csr.len != 0 && take(&csr, V_ASN1_SEQUENCE, &outer, &whole) && csr.len == 0 &&
		take(&outer, V_ASN1_SEQUENCE, &info, &whole) && take(&info, V_ASN1_INTEGER, &contents, &whole) &&
		take(&info, V_ASN1_SEQUENCE, &contents, &whole) && take(&info, V_ASN1_SEQUENCE, &contents, key);
}

int
scep_content_csr_key(struct bytes csr, struct buf *out, struct err *e)
{
	struct bytes key;

	if (!find_key(csr, &key)) {
		ERR_clear_error();
		return err_set(e, ERR_UNAUTHENTIC, "what was decrypted is no PKCS#10 request");
	}
	buf_append_bytes(out, key);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for a key") : 0;
}
