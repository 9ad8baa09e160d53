#include <openssl/err.h>

#include "scep/internal.h"

#define NEXT_DER_MAX (1 << 20)

static inline void
signers_free(STACK_OF(X509) *signers)
{
	sk_X509_free(signers);
}

DEFINE_CLEANUP(signers, STACK_OF(X509) *, signers_free);

static struct bytes
mem_bytes(BIO *mem)
{
	char *at = NULL;
	long len = BIO_get_mem_data(mem, &at);

	return bytes_of(at, len < 0 ? 0 : (size_t)len);
}

/*
 * Without signed attributes, which id-data does not need (RFC 5652, section
 * 5.3): OpenSSL would put the time of day among them.
 */
int
scep_next_encode(struct bytes certs_only, X509 *signer, EVP_PKEY *key, struct buf *out, struct err *e)
{
	CLEANUP(BIO) BIO *content = NULL;
	CLEANUP(CMS_ContentInfo) CMS_ContentInfo *cms = NULL;
	uint8_t *der = NULL;
	size_t mark = out->len;
	int len;

	if (!scep_is_one_sequence(certs_only) || certs_only.len > NEXT_DER_MAX)
		return err_set(e, ERR_BUG, "the next CA certificate's message is not DER");
	content = BIO_new_mem_buf(certs_only.at, (int)certs_only.len);
	cms = CMS_sign(NULL, NULL, NULL, NULL, CMS_BINARY | CMS_PARTIAL);
	if (content == NULL || cms == NULL)
		return err_ossl(e, ERR_NOMEM, "GetNextCACert");
	if (CMS_add1_signer(cms, signer, key, ossl_sha256(), CMS_BINARY | CMS_NOATTR) == NULL ||
	    CMS_final(cms, content, NULL, CMS_BINARY) != 1)
		return err_ossl(e, ERR_BUG, "signing the next CA certificate");
	len = i2d_CMS_ContentInfo(cms, &der);
	if (len <= 0)
		return err_ossl(e, ERR_BUG, "encoding the next CA certificate");
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	if (buf_failed(out)) {
		out->len = mark;
		return err_set(e, ERR_NOMEM, "GetNextCACert: no memory");
	}
	return 0;
}

static int
read_signed(struct bytes der, CMS_ContentInfo **out, struct err *e)
{
	CLEANUP(CMS_ContentInfo) CMS_ContentInfo *cms = NULL;
	const uint8_t *p = der.at;

	if (der.len == 0 || der.len > NEXT_DER_MAX)
		return err_set(e, ERR_MALFORMED, "GetNextCACert answer of %zu octets", der.len);
	cms = d2i_CMS_ContentInfo(NULL, &p, (long)der.len);
	if (cms == NULL || p != der.at + der.len)
		return err_ossl(e, ERR_MALFORMED, "GetNextCACert answer");
	if (OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_signed || sk_CMS_SignerInfo_num(CMS_get0_SignerInfos(cms)) != 1)
		return err_set(e, ERR_MALFORMED, "GetNextCACert answer is not SignedData with one signer");
	*out = cms;
	cms = NULL;
	return 0;
}

int
scep_next_open(struct bytes der, struct buf *certs_only, X509 **signer, struct err *e)
{
	CLEANUP(CMS_ContentInfo) CMS_ContentInfo *cms = NULL;
	CLEANUP(signers) STACK_OF(X509) *signers = NULL;
	CLEANUP(BIO) BIO *content = BIO_new(BIO_s_mem());
	CLEANUP(X509) X509 *found = NULL;
	size_t mark = certs_only->len;

	if (content == NULL)
		return err_ossl(e, ERR_NOMEM, "GetNextCACert answer");
	if (read_signed(der, &cms, e) != 0)
		return -1;
	if (CMS_verify(cms, NULL, NULL, NULL, content, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY) != 1)
		return err_ossl(e, ERR_UNAUTHENTIC, "signature of the GetNextCACert answer");
	signers = CMS_get0_signers(cms);
	if (sk_X509_num(signers) != 1 || !scep_is_one_sequence(mem_bytes(content)))
		return err_set(e, ERR_MALFORMED, "GetNextCACert answer without a certs-only message");
	if (X509_up_ref(sk_X509_value(signers, 0)) != 1)
		return err_ossl(e, ERR_BUG, "GetNextCACert answer");
	found = sk_X509_value(signers, 0);
	buf_append_bytes(certs_only, mem_bytes(content));
	if (buf_failed(certs_only)) {
		certs_only->len = mark;
		return err_set(e, ERR_NOMEM, "GetNextCACert answer: no memory");
	}
	*signer = found;
	found = NULL;
	return 0;
}
