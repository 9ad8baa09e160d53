#include "est/keygen.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "base/der.h"

#define RSA_MADE_MIN 2048
#define RSA_MADE_MAX 4096
#define KEK_ID_MAX   255
#define PKCS8_MAX    8192

DEFINE_CLEANUP(PKCS8_PRIV_KEY_INFO, PKCS8_PRIV_KEY_INFO *, PKCS8_PRIV_KEY_INFO_free);
DEFINE_CLEANUP(ASN1_OBJECT, ASN1_OBJECT *, ASN1_OBJECT_free);

static void
secret_auto(struct buf *b)
{
	buf_free_secret(b);
}

int
est_keygen_make(enum key_kind kind, int bits, EVP_PKEY **out, struct err *e)
{
	EVP_PKEY *key = NULL;

	if (kind == KEY_EC_P256)
		key = EVP_EC_gen(SN_X9_62_prime256v1);
	else if (kind == KEY_EC_P384)
		key = EVP_EC_gen(SN_secp384r1);
	else if (kind == KEY_RSA && bits >= RSA_MADE_MIN && bits <= RSA_MADE_MAX)
		key = EVP_RSA_gen((unsigned)bits);
	else
		return err_set(e, ERR_UNSUPPORTED, "keys of this kind are not made here");
	if (key == NULL)
		return err_ossl(e, ERR_BUG, "making a key");
	*out = key;
	return 0;
}

int
est_keygen_pkcs8(const EVP_PKEY *key, struct buf *out, struct err *e)
{
	CLEANUP(PKCS8_PRIV_KEY_INFO) PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
	uint8_t *der = NULL;
	int len;

	if (info == NULL)
		return err_ossl(e, ERR_BUG, "private key as PKCS#8");
	len = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
	if (len <= 0)
		return err_ossl(e, ERR_BUG, "private key as PKCS#8");
	buf_append(out, der, (size_t)len);
	OPENSSL_clear_free(der, (size_t)len);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "private key: no memory") : 0;
}

/* Appends the message's DER, and overwrites the copy made on the way. */
static int
append_cms(CMS_ContentInfo *cms, struct buf *out, struct err *e)
{
	uint8_t *der = NULL;
	int len = i2d_CMS_ContentInfo(cms, &der);

	if (len <= 0)
		return err_ossl(e, ERR_BUG, "encoding CMS");
	buf_append(out, der, (size_t)len);
	OPENSSL_clear_free(der, (size_t)len);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "CMS: no memory") : 0;
}

/* What a ContentInfo holds inside: past its SEQUENCE header, its OID and its [0] header. */
static int
inner_content(struct bytes content_info, struct bytes *out, struct err *e)
{
	const uint8_t *p = content_info.at, *end = content_info.at + content_info.len;
	long len = 0;
	int tag = 0, class = 0, i;

	for (i = 0; i < 3; i++) {
		if ((ASN1_get_object(&p, &len, &tag, &class, end - p) & 0x80) != 0)
			return err_ossl(e, ERR_BUG, "own CMS");
		if (tag == V_ASN1_OBJECT && class == V_ASN1_UNIVERSAL)
			p += len;
	}
	*out = bytes_of(p, (size_t)(end - p));
	return 0;
}

static int
sign_octets(CMS_ContentInfo *cms, struct bytes package, X509 *signer, EVP_PKEY *signer_key, struct err *e)
{
	CLEANUP(BIO) BIO *in = BIO_new_mem_buf(package.at, (int)package.len);
	CLEANUP(ASN1_OBJECT) ASN1_OBJECT *type = OBJ_txt2obj(EST_KEY_PACKAGE_OID, 1);

	/* The signing time is OpenSSL's: the one clock that is read in this folder. */
	if (in == NULL || type == NULL || CMS_set1_eContentType(cms, type) != 1 ||
	    CMS_add1_signer(cms, signer, signer_key, ossl_sha256(), CMS_BINARY | CMS_NOSMIMECAP) == NULL ||
	    CMS_final(cms, in, NULL, CMS_BINARY) != 1)
		return err_ossl(e, ERR_BUG, "signing the key package");
	return 0;
}

static void
cleanse_content(CMS_ContentInfo *cms)
{
	ASN1_OCTET_STRING **content = CMS_get0_content(cms);

	if (content != NULL && *content != NULL && (*content)->data != NULL)
		OPENSSL_cleanse((*content)->data, (size_t)(*content)->length);
}

/* The key as an AsymmetricKeyPackage of one (RFC 5958, section 2), in a whole SignedData message. */
static int
sign_package(struct bytes pkcs8, X509 *signer, EVP_PKEY *signer_key, struct buf *out, struct err *e)
{
	CLEANUP(CMS_ContentInfo) CMS_ContentInfo *cms = NULL;
	CLEANUP(secret) struct buf package = { 0 };
	int rc;

	der_put(&package, DER_SEQUENCE, pkcs8);
	if (buf_failed(&package))
		return err_set(e, ERR_NOMEM, "key package: no memory");
	cms = CMS_sign(NULL, NULL, NULL, NULL, CMS_PARTIAL | CMS_BINARY);
	if (cms == NULL)
		return err_ossl(e, ERR_NOMEM, "key package");
	rc = sign_octets(cms, buf_bytes(&package), signer, signer_key, e);
	if (rc == 0)
		rc = append_cms(cms, out, e);
	cleanse_content(cms);
	return rc;
}

/*
 * RFC 7030, section 4.4.1.2: a certificate's key "MUST either explicitly
 * support keyTransport or keyAgreement or its use MUST be unrestricted".
 */
static int
check_recipient(X509 *cert, struct key_facts *facts, struct err *e)
{
	EVP_PKEY *key = X509_get0_pubkey(cert);
	uint32_t usage = X509_get_key_usage(cert); /* all ones without the extension */
	uint32_t needed;

	if (key == NULL)
		return err_ossl(e, ERR_UNSUPPORTED, "the recipient's key");
	key_facts_of(key, facts);
	needed = facts->kind == KEY_RSA ? KU_KEY_ENCIPHERMENT : KU_KEY_AGREEMENT;
	if (facts->kind == KEY_OTHER || facts->kind == KEY_ED25519)
		return err_set(e, ERR_UNSUPPORTED, "nothing can be encrypted to the recipient's key");
	if (facts->weak != NULL)
		return err_set(e, ERR_UNSUPPORTED, "the recipient's key is weak: %s", facts->weak);
	if ((usage & needed) == 0)
		return err_set(e, ERR_UNSUPPORTED, "the recipient's certificate does not permit %s",
			facts->kind == KEY_RSA ? "keyEncipherment" : "keyAgreement");
	return 0;
}

static int
add_cert(CMS_ContentInfo *cms, X509 *cert, struct err *e)
{
	struct key_facts facts = { 0 };
	CMS_RecipientInfo *info;
	EVP_PKEY_CTX *ctx;
	bool good;

	if (check_recipient(cert, &facts, e) != 0)
		return -1;
	info = CMS_add1_recipient_cert(cms, cert, CMS_KEY_PARAM);
	ctx = info == NULL ? NULL : CMS_RecipientInfo_get0_pkey_ctx(info);
	if (ctx == NULL)
		return err_ossl(e, ERR_UNSUPPORTED, "encrypting to the recipient's certificate");
	/* OpenSSL's defaults are PKCS #1 v1.5 for RSA, and SHA-1 in the key derivation of both. */
	if (facts.kind == KEY_RSA)
		good = EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
			EVP_PKEY_CTX_set_rsa_oaep_md(ctx, ossl_sha256()) == 1;
	else
		good = EVP_PKEY_CTX_set_ecdh_kdf_md(ctx, ossl_sha256()) == 1;
	return good ? 0 : err_ossl(e, ERR_UNSUPPORTED, "encrypting to the recipient's key");
}

static int
add_kek(CMS_ContentInfo *cms, struct bytes kek, struct bytes kek_id, struct err *e)
{
	uint8_t *key, *id;

	if (kek.len != 16 && kek.len != 24 && kek.len != 32)
		return err_set(e, ERR_BUG, "key-encryption key of %zu octets", kek.len);
	if (kek_id.len == 0 || kek_id.len > KEK_ID_MAX)
		return err_set(e, ERR_BUG, "key identifier of %zu octets", kek_id.len);
	key = OPENSSL_memdup(kek.at, kek.len);
	id = OPENSSL_memdup(kek_id.at, kek_id.len);
	/* On success both belong to the message, which overwrites the key. */
	if (key == NULL || id == NULL ||
	    CMS_add0_recipient_key(cms, NID_undef, key, kek.len, id, kek_id.len, NULL, NULL, NULL) == NULL) {
		OPENSSL_clear_free(key, kek.len);
		OPENSSL_free(id);
		return err_ossl(e, ERR_BUG, "encrypting to the shared key");
	}
	return 0;
}

static int
encrypt(struct bytes content, int content_nid, const struct est_keygen_recipient *recipient, struct buf *out,
	struct err *e)
{
	CLEANUP(CMS_ContentInfo) CMS_ContentInfo *cms = NULL;
	CLEANUP(BIO) BIO *in = BIO_new_mem_buf(content.at, (int)content.len);

	cms = CMS_encrypt(NULL, NULL, EVP_aes_256_cbc(), CMS_PARTIAL | CMS_BINARY);
	if (in == NULL || cms == NULL || CMS_set1_eContentType(cms, OBJ_nid2obj(content_nid)) != 1)
		return err_ossl(e, ERR_NOMEM, "EnvelopedData");
	if (recipient->cert != NULL) {
		if (add_cert(cms, recipient->cert, e) != 0)
			return -1;
	} else if (add_kek(cms, recipient->kek, recipient->kek_id, e) != 0)
		return -1;
	if (CMS_final(cms, in, NULL, CMS_BINARY) != 1)
		return err_ossl(e, ERR_BUG, "encrypting the key");
	return append_cms(cms, out, e);
}

int
est_keygen_envelop(struct bytes pkcs8, const struct est_keygen_recipient *recipient, X509 *signer,
	EVP_PKEY *signer_key, struct buf *out, struct err *e)
{
	CLEANUP(secret) struct buf signed_message = { 0 };
	struct bytes content = { 0 };

	if (pkcs8.len == 0 || pkcs8.len > PKCS8_MAX)
		return err_set(e, ERR_BUG, "private key of %zu octets", pkcs8.len);
	if ((recipient->cert != NULL) == (recipient->kek.len != 0))
		return err_set(e, ERR_BUG, "a private key needs exactly one recipient");
	if (signer == NULL)
		return encrypt(pkcs8, NID_pkcs7_data, recipient, out, e);
	if (sign_package(pkcs8, signer, signer_key, &signed_message, e) != 0)
		return -1;
	/* RFC 5652, section 6.1: the encrypted octets are the SignedData itself, without a ContentInfo around it. */
	if (inner_content(buf_bytes(&signed_message), &content, e) != 0)
		return -1;
	return encrypt(content, NID_pkcs7_signed, recipient, out, e);
}
