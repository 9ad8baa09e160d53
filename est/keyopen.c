#include "est/keygen.h"

#include <openssl/err.h>

#include "base/der.h"

#define ENVELOPE_MAX 65536

DEFINE_CLEANUP(ASN1_OBJECT, ASN1_OBJECT *, ASN1_OBJECT_free);

static void
secret_auto(struct buf *b)
{
	buf_free_secret(b);
}

static int
read_cms(struct bytes der, int nid, CMS_ContentInfo **out, struct err *e)
{
	CLEANUP(CMS_ContentInfo) CMS_ContentInfo *cms = NULL;
	const uint8_t *p = der.at;

	if (der.len == 0 || der.len > ENVELOPE_MAX)
		return err_set(e, ERR_MALFORMED, "CMS message of %zu octets", der.len);
	cms = d2i_CMS_ContentInfo(NULL, &p, (long)der.len);
	if (cms == NULL || p != der.at + der.len)
		return err_ossl(e, ERR_MALFORMED, "CMS message");
	if (OBJ_obj2nid(CMS_get0_type(cms)) != nid)
		return err_set(e, ERR_MALFORMED, "CMS message of another type than %s", OBJ_nid2sn(nid));
	*out = cms;
	cms = NULL;
	return 0;
}

static struct bytes
mem_bytes(BIO *mem)
{
	char *at = NULL;
	long len = BIO_get_mem_data(mem, &at);

	return bytes_of(at, len < 0 ? 0 : (size_t)len);
}

static int
decrypt(CMS_ContentInfo *cms, const struct est_keygen_recipient *recipient, EVP_PKEY *key, BIO *out,
	struct err *e)
{
	CLEANUP(secret) struct buf kek = { 0 }, id = { 0 };
	X509 *cert = recipient->cert;

	if (cert == NULL) {
		/* OpenSSL takes both without const. */
		buf_append_bytes(&kek, recipient->kek);
		buf_append_bytes(&id, recipient->kek_id);
		if (buf_failed(&kek) || buf_failed(&id))
			return err_set(e, ERR_NOMEM, "key: no memory");
		if (CMS_decrypt_set1_key(cms, kek.at, kek.len, id.len == 0 ? NULL : id.at, id.len) != 1)
			return err_ossl(e, ERR_UNAUTHENTIC, "the shared key does not fit");
	}
	if (CMS_decrypt(cms, cert == NULL ? NULL : key, cert, NULL, out, CMS_BINARY) != 1)
		return err_ossl(e, ERR_UNAUTHENTIC, "the key does not decrypt the message");
	return 0;
}

/* The only key of an AsymmetricKeyPackage. */
static int
only_key(struct bytes package, struct bytes *out, struct err *e)
{
	const uint8_t *p = package.at, *end = package.at + package.len, *first;
	long len = 0;
	int tag = 0, class = 0, i;

	for (i = 0; i < 2; i++) {
		first = p;
		if (ASN1_get_object(&p, &len, &tag, &class, end - p) != V_ASN1_CONSTRUCTED ||
		    tag != V_ASN1_SEQUENCE || class != V_ASN1_UNIVERSAL || p + len != end) {
			ERR_clear_error();
			return err_set(e, ERR_MALFORMED, "key package without exactly one key");
		}
	}
	*out = bytes_of(first, (size_t)(end - first));
	return 0;
}

/* RFC 5652, section 6.1: a bare SignedData; OpenSSL reads it with its ContentInfo around it. */
static int
read_signed(struct bytes content, CMS_ContentInfo **out, struct err *e)
{
	CLEANUP(secret) struct buf whole = { 0 };
	size_t outer = der_begin(&whole, DER_SEQUENCE), explicit;

	der_put_oid(&whole, "1.2.840.113549.1.7.2");
	explicit = der_begin(&whole, DER_CONTEXT_CONS(0));
	buf_append_bytes(&whole, content);
	der_end(&whole, explicit);
	der_end(&whole, outer);
	if (buf_failed(&whole))
		return err_set(e, ERR_NOMEM, "key package: no memory");
	return read_cms(buf_bytes(&whole), NID_pkcs7_signed, out, e);
}

static int
verify_package(struct bytes content, struct buf *pkcs8, X509 **signer, struct err *e)
{
	CLEANUP(CMS_ContentInfo) CMS_ContentInfo *cms = NULL;
	CLEANUP(ASN1_OBJECT) ASN1_OBJECT *type = OBJ_txt2obj(EST_KEY_PACKAGE_OID, 1);
	CLEANUP(BIO) BIO *package = BIO_new(BIO_s_mem());
	STACK_OF(X509) *signers;
	struct bytes key = { 0 };

	if (package == NULL || type == NULL)
		return err_ossl(e, ERR_NOMEM, "key package");
	if (read_signed(content, &cms, e) != 0)
		return -1;
	if (OBJ_cmp(CMS_get0_eContentType(cms), type) != 0)
		return err_set(e, ERR_MALFORMED, "signed message that is not a key package");
	if (CMS_verify(cms, NULL, NULL, NULL, package, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY) != 1)
		return err_ossl(e, ERR_UNAUTHENTIC, "signature of the key package");
	if (only_key(mem_bytes(package), &key, e) != 0)
		return -1;
	signers = CMS_get0_signers(cms);
	if (sk_X509_num(signers) == 1 && X509_up_ref(sk_X509_value(signers, 0)) == 1)
		*signer = sk_X509_value(signers, 0);
	sk_X509_free(signers);
	if (*signer == NULL)
		return err_set(e, ERR_MALFORMED, "key package without exactly one signer");
	buf_append_bytes(pkcs8, key);
	return 0;
}

int
est_keygen_open(struct bytes envelope, const struct est_keygen_recipient *recipient, EVP_PKEY *recipient_key,
	struct buf *pkcs8, X509 **signer, struct err *e)
{
	CLEANUP(CMS_ContentInfo) CMS_ContentInfo *cms = NULL;
	CLEANUP(BIO) BIO *content = BIO_new(BIO_s_mem());
	CLEANUP(X509) X509 *found = NULL;
	int type;

	if (content == NULL)
		return err_ossl(e, ERR_NOMEM, "EnvelopedData");
	if (read_cms(envelope, NID_pkcs7_enveloped, &cms, e) != 0 ||
	    decrypt(cms, recipient, recipient_key, content, e) != 0)
		return -1;
	type = OBJ_obj2nid(CMS_get0_eContentType(cms));
	if (type == NID_pkcs7_data)
		buf_append_bytes(pkcs8, mem_bytes(content));
	else if (type != NID_pkcs7_signed)
		return err_set(e, ERR_MALFORMED, "encrypted content of an unexpected type");
	else if (verify_package(mem_bytes(content), pkcs8, &found, e) != 0)
		return -1;
	if (buf_failed(pkcs8))
		return err_set(e, ERR_NOMEM, "private key: no memory");
	*signer = found;
	found = NULL;
	return 0;
}
