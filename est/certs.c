#include "est/body.h"

#include <openssl/err.h>

#include "base/der.h"
#include "base/tlv.h"

#define CERTS_DER_MAX (1 << 20) /* octets of an upstream's answer */

/* id-signedData, id-data (RFC 5652), and the parts of SignedData that never change. */
static const uint8_t signed_data_oid[] = { 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02 };
static const uint8_t signed_data_head[] = {
	0x02, 0x01, 0x01, /* version 1 */
	0x31, 0x00,       /* no digest algorithms */
	0x30, 0x0b, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01, /* id-data, absent */
};
static const uint8_t no_signers[] = { 0x31, 0x00 };

/* A certificate that is not one DER SEQUENCE would move the borders of all that follows. */
static bool
is_one_sequence(struct bytes der)
{
	const uint8_t *p = der.at;
	long len = 0;
	int tag = 0, class = 0, flags;

	if (der.len < 2 || der.len > CERTS_DER_MAX)
		return false;
	flags = ASN1_get_object(&p, &len, &tag, &class, (long)der.len);
	if (flags != V_ASN1_CONSTRUCTED) {
		ERR_clear_error();
		return false;
	}
	return tag == V_ASN1_SEQUENCE && class == V_ASN1_UNIVERSAL && p + len == der.at + der.len;
}

int
est_certs_encode(const struct bytes *certs, size_t count, struct buf *out, struct err *e)
{
	size_t mark = out->len, content, explicit, signed_data, set, i;

	if (count == 0 || count > EST_CERTS_MAX)
		return err_set(e, ERR_BUG, "certs-only answer with %zu certificates", count);
	for (i = 0; i < count; i++)
		if (!is_one_sequence(certs[i]))
			return err_set(e, ERR_BUG, "certificate %zu of the answer is not DER", i + 1);
	content = der_begin(out, DER_SEQUENCE);
	buf_append(out, signed_data_oid, sizeof signed_data_oid);
	explicit = der_begin(out, DER_CONTEXT_CONS(0));
	signed_data = der_begin(out, DER_SEQUENCE);
	buf_append(out, signed_data_head, sizeof signed_data_head);
	set = der_begin(out, DER_CONTEXT_CONS(0));
	for (i = 0; i < count; i++)
		buf_append_bytes(out, certs[i]);
	der_end(out, set);
	buf_append(out, no_signers, sizeof no_signers);
	der_end(out, signed_data);
	der_end(out, explicit);
	der_end(out, content);
	if (buf_failed(out)) {
		out->len = mark;
		return err_set(e, ERR_NOMEM, "certs-only answer: no memory");
	}
	return 0;
}

/* SignedData's parts around the certificates: version, digestAlgorithms, encapContentInfo; crls if any; signerInfos. */
static bool
find_set(struct bytes signed_data, struct bytes *set)
{
	(void)tlv_take(&signed_data, DER_INTEGER, NULL, NULL);
	return tlv_take(&signed_data, DER_SET, NULL, NULL) && tlv_take(&signed_data, DER_SEQUENCE, NULL, NULL) &&
		tlv_take(&signed_data, DER_CONTEXT_CONS(0), set, NULL) &&
		(tlv_take(&signed_data, DER_CONTEXT_CONS(1), NULL, NULL) || true) &&
		tlv_take(&signed_data, DER_SET, NULL, NULL) && signed_data.len == 0;
}

bool
est_certs_find(struct bytes der, struct bytes out[EST_CERTS_MAX], size_t *count)
{
	struct bytes content, type, explicit, signed_data, set;
	size_t n;

	if (!tlv_take(&der, DER_SEQUENCE, &content, NULL) || der.len != 0 || !tlv_take(&content, DER_OID, NULL, &type) ||
	    !bytes_equal(type, bytes_of(signed_data_oid, sizeof signed_data_oid)) ||
	    !tlv_take(&content, DER_CONTEXT_CONS(0), &explicit, NULL) || content.len != 0 ||
	    !tlv_take(&explicit, DER_SEQUENCE, &signed_data, NULL) || explicit.len != 0 || !find_set(signed_data, &set))
		return false;
	for (n = 0; set.len != 0 && n < EST_CERTS_MAX; n++)
		if (!tlv_take(&set, DER_SEQUENCE, NULL, &out[n]))
			return false;
	*count = n;
	return n != 0 && set.len == 0;
}

int
est_certs_decode(struct bytes der, STACK_OF(X509) **out, struct err *e)
{
	CLEANUP(CMS_ContentInfo) CMS_ContentInfo *cms = NULL;
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	const uint8_t *p = der.at;

	if (der.len == 0 || der.len > CERTS_DER_MAX)
		return err_set(e, ERR_MALFORMED, "certs-only message of %zu octets", der.len);
	cms = d2i_CMS_ContentInfo(NULL, &p, (long)der.len);
	if (cms == NULL || p != der.at + der.len)
		return err_ossl(e, ERR_MALFORMED, "certs-only message");
	if (OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_signed)
		return err_set(e, ERR_MALFORMED, "certs-only message is not SignedData");
	certs = CMS_get1_certs(cms);
	if (certs == NULL || sk_X509_num(certs) == 0) {
		ERR_clear_error();
		return err_set(e, ERR_MALFORMED, "certs-only message without a certificate");
	}
	if (sk_X509_num(certs) > EST_CERTS_MAX)
		return err_set(e, ERR_LIMIT, "%d certificates; at most %d are allowed", sk_X509_num(certs),
			EST_CERTS_MAX);
	*out = certs;
	certs = NULL;
	return 0;
}
