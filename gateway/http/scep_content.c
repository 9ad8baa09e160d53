#include "gateway/http/scep_content.h"

#include <openssl/asn1.h>
#include <openssl/err.h>

static void
any_free(ASN1_SEQUENCE_ANY *values)
{
	sk_ASN1_TYPE_pop_free(values, ASN1_TYPE_free);
}
DEFINE_CLEANUP(any, ASN1_SEQUENCE_ANY *, any_free);

/* The values of one SEQUENCE and nothing after it; NULL: these octets are none. */
static ASN1_SEQUENCE_ANY *
open_sequence(struct bytes der)
{
	const uint8_t *at = der.at;
	ASN1_SEQUENCE_ANY *values = der.len == 0 ? NULL : d2i_ASN1_SEQUENCE_ANY(NULL, &at, (long)der.len);

	if (values != NULL && at == der.at + der.len)
		return values;
	any_free(values);
	ERR_clear_error();
	return NULL;
}

/* The value at index with its tag and length, when it is a SEQUENCE; else empty. */
static struct bytes
inner_sequence(const ASN1_SEQUENCE_ANY *values, int index)
{
	const ASN1_TYPE *value = index < sk_ASN1_TYPE_num(values) ? sk_ASN1_TYPE_value(values, index) : NULL;

	if (value == NULL || value->type != V_ASN1_SEQUENCE)
		return bytes_of(NULL, 0);
	return bytes_of(ASN1_STRING_get0_data(value->value.sequence),
		(size_t)ASN1_STRING_length(value->value.sequence));
}

int
scep_content_csr_key(struct bytes csr, struct buf *out, struct err *e)
{
	CLEANUP(any) ASN1_SEQUENCE_ANY *outer = open_sequence(csr);
	CLEANUP(any) ASN1_SEQUENCE_ANY *info = outer == NULL ? NULL : open_sequence(inner_sequence(outer, 0));
	/* CertificationRequestInfo ::= SEQUENCE { version, subject, subjectPKInfo, attributes } */
	struct bytes key = info == NULL ? bytes_of(NULL, 0) : inner_sequence(info, 2);

	if (key.len == 0)
		return err_set(e, ERR_UNAUTHENTIC, "what was decrypted is no PKCS#10 request");
	buf_append_bytes(out, key);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for a key") : 0;
}

int
scep_content_cert_key(const X509 *cert, struct buf *out, struct err *e)
{
	uint8_t *der = NULL;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);

	if (len <= 0)
		return err_ossl(e, ERR_BUG, "the signer's key");
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for a key") : 0;
}
