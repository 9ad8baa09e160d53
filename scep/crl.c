#include <openssl/err.h>

#include "base/der.h"
#include "scep/internal.h"

#define CRL_DER_MAX (16 << 20) /* octets of a CRL in its SignedData that a client reads */

static inline void
crl_stack_free(STACK_OF(X509_CRL) *crls)
{
	sk_X509_CRL_pop_free(crls, X509_CRL_free);
}

DEFINE_CLEANUP(crl_stack, STACK_OF(X509_CRL) *, crl_stack_free);

/* Section 3.4: "the CRL is included in the crls field of the SignedData"; RFC 5652, section 5.1: [1] IMPLICIT. */
int
scep_crl_encode(struct bytes crl, struct buf *out, struct err *e)
{
	static const uint8_t head[] = {
		DER_INTEGER, 1, 1, /* version 1 */
		DER_SET, 0,        /* no digest algorithms */
		DER_SEQUENCE, 11, DER_OID, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01, /* id-data, absent */
	};
	static const uint8_t no_signers[] = { DER_SET, 0 };
	size_t mark = out->len, content, explicit, signed_data;

	if (!scep_is_one_sequence(crl))
		return err_set(e, ERR_BUG, "the CRL of an answer is not DER");
	content = der_begin(out, DER_SEQUENCE);
	der_put_oid(out, "1.2.840.113549.1.7.2");
	explicit = der_begin(out, DER_CONTEXT_CONS(0));
	signed_data = der_begin(out, DER_SEQUENCE);
	buf_append(out, head, sizeof head);
	der_put(out, DER_CONTEXT_CONS(1), crl);
	buf_append(out, no_signers, sizeof no_signers);
	der_end(out, signed_data);
	der_end(out, explicit);
	der_end(out, content);
	if (buf_failed(out)) {
		out->len = mark;
		return err_set(e, ERR_NOMEM, "CRL answer: no memory");
	}
	return 0;
}

int
scep_crl_decode(struct bytes der, X509_CRL **out, struct err *e)
{
	CLEANUP(CMS_ContentInfo) CMS_ContentInfo *cms = NULL;
	CLEANUP(crl_stack) STACK_OF(X509_CRL) *crls = NULL;
	const uint8_t *p = der.at;

	if (der.len == 0 || der.len > CRL_DER_MAX)
		return err_set(e, ERR_MALFORMED, "CRL message of %zu octets", der.len);
	cms = d2i_CMS_ContentInfo(NULL, &p, (long)der.len);
	if (cms == NULL || p != der.at + der.len)
		return err_ossl(e, ERR_MALFORMED, "CRL message");
	if (OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_signed)
		return err_set(e, ERR_MALFORMED, "CRL message is not SignedData");
	crls = CMS_get1_crls(cms);
	ERR_clear_error();
	if (crls == NULL || sk_X509_CRL_num(crls) != 1)
		return err_set(e, ERR_MALFORMED, "CRL message without exactly one CRL");
	*out = sk_X509_CRL_pop(crls);
	return 0;
}
