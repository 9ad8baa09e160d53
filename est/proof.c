#include "est/proof.h"

#include <openssl/asn1t.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

enum family { FAMILY_ECDSA, FAMILY_RSA, FAMILY_PSS, FAMILY_ED25519 };

static const struct scheme {
	int nid;
	enum family family;
	const EVP_MD *(*digest)(void); /* NULL: in the parameters, or none */
	enum est_proof_rule rule;      /* the least that takes it */
} schemes[] = {
	{ NID_ecdsa_with_SHA256, FAMILY_ECDSA, ossl_sha256, EST_PROOF_SHA2 },
	{ NID_ecdsa_with_SHA384, FAMILY_ECDSA, ossl_sha384, EST_PROOF_SHA2 },
	{ NID_ecdsa_with_SHA512, FAMILY_ECDSA, ossl_sha512, EST_PROOF_SHA2 },
	{ NID_sha256WithRSAEncryption, FAMILY_RSA, ossl_sha256, EST_PROOF_SHA2 },
	{ NID_sha384WithRSAEncryption, FAMILY_RSA, ossl_sha384, EST_PROOF_SHA2 },
	{ NID_sha512WithRSAEncryption, FAMILY_RSA, ossl_sha512, EST_PROOF_SHA2 },
	{ NID_rsassaPss, FAMILY_PSS, NULL, EST_PROOF_SHA2 },
	{ NID_ED25519, FAMILY_ED25519, NULL, EST_PROOF_SHA2 },
	{ NID_sha1WithRSAEncryption, FAMILY_RSA, EVP_sha1, EST_PROOF_SHA1 },
	{ NID_md5WithRSAEncryption, FAMILY_RSA, EVP_md5, EST_PROOF_MD5 },
};

/* What a verification needs beside key, signature and data. */
struct method {
	enum family family;
	const EVP_MD *digest;
	const EVP_MD *mask_digest; /* PSS */
	int salt_len;              /* PSS */
};

DEFINE_CLEANUP(RSA_PSS_PARAMS, RSA_PSS_PARAMS *, RSA_PSS_PARAMS_free);
DEFINE_CLEANUP(X509_ALGOR, X509_ALGOR *, X509_ALGOR_free);

#define PSS_SALT_DEFAULT 20 /* RFC 8017, appendix A.2.3 */
#define PSS_SALT_MAX     512

static const struct scheme *
scheme_of(int nid)
{
	size_t i;

	for (i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
		if (nid != NID_undef && schemes[i].nid == nid)
			return &schemes[i];
	return NULL;
}

static const EVP_MD *
sha2_of(const X509_ALGOR *algorithm)
{
	const ASN1_OBJECT *oid = NULL;

	if (algorithm == NULL)
		return NULL; /* the default is SHA-1 */
	X509_ALGOR_get0(&oid, NULL, NULL, algorithm);
	switch (OBJ_obj2nid(oid)) {
	case NID_sha256:
		return ossl_sha256();
	case NID_sha384:
		return ossl_sha384();
	case NID_sha512:
		return ossl_sha512();
	default:
		return NULL;
	}
}

/* The digest inside maskGenAlgorithm, NULL when that is not MGF1 with SHA-2. */
static const EVP_MD *
mask_digest_of(const X509_ALGOR *mask)
{
	CLEANUP(X509_ALGOR) X509_ALGOR *inner = NULL;

	if (mask == NULL || OBJ_obj2nid(mask->algorithm) != NID_mgf1 || mask->parameter == NULL ||
	    mask->parameter->type != V_ASN1_SEQUENCE)
		return NULL;
	inner = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(X509_ALGOR), mask->parameter);
	return sha2_of(inner);
}

static int
pss_method(const X509_ALGOR *algorithm, struct method *out, struct err *e)
{
	CLEANUP(RSA_PSS_PARAMS) RSA_PSS_PARAMS *pss = NULL;
	long salt = PSS_SALT_DEFAULT;

	if (algorithm->parameter != NULL && algorithm->parameter->type == V_ASN1_SEQUENCE)
		pss = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(RSA_PSS_PARAMS), algorithm->parameter);
	if (pss == NULL)
		return err_ossl(e, ERR_MALFORMED, "RSASSA-PSS parameters");
	out->digest = sha2_of(pss->hashAlgorithm);
	out->mask_digest = mask_digest_of(pss->maskGenAlgorithm);
	if (out->digest == NULL || out->mask_digest == NULL) {
		ERR_clear_error();
		return err_set(e, ERR_UNSUPPORTED, "RSASSA-PSS without SHA-2 is not accepted");
	}
	if (pss->saltLength != NULL)
		salt = ASN1_INTEGER_get(pss->saltLength);
	if (salt < 0 || salt > PSS_SALT_MAX)
		return err_set(e, ERR_MALFORMED, "RSASSA-PSS salt of %ld octets", salt);
	if (pss->trailerField != NULL && ASN1_INTEGER_get(pss->trailerField) != 1)
		return err_set(e, ERR_MALFORMED, "RSASSA-PSS trailer other than 1");
	out->salt_len = (int)salt;
	return 0;
}

static int
method_of(const X509_ALGOR *algorithm, enum est_proof_rule rule, struct method *out, struct err *e)
{
	const struct scheme *scheme = scheme_of(OBJ_obj2nid(algorithm->algorithm));
	char name[80] = "";

	if (scheme == NULL || scheme->rule > rule) {
		(void)OBJ_obj2txt(name, sizeof name, algorithm->algorithm, 0);
		return err_set(e, ERR_UNSUPPORTED, "signature algorithm %s is not accepted", name);
	}
	*out = (struct method){ .family = scheme->family };
	if (scheme->family == FAMILY_PSS)
		return pss_method(algorithm, out, e);
	/* RFC 4055 wants NULL, RFC 5758 and RFC 8410 want nothing; clients mix that up, and it means the same. */
	if (algorithm->parameter != NULL && algorithm->parameter->type != V_ASN1_NULL)
		return err_set(e, ERR_MALFORMED, "signature algorithm with unexpected parameters");
	if (scheme->digest != NULL)
		out->digest = scheme->digest();
	return 0;
}

static bool
fits(enum family family, enum key_kind kind)
{
	switch (kind) {
	case KEY_EC_P256:
	case KEY_EC_P384:
	case KEY_EC_P521:
		return family == FAMILY_ECDSA;
	case KEY_RSA:
		return family == FAMILY_RSA || family == FAMILY_PSS;
	case KEY_ED25519:
		return family == FAMILY_ED25519;
	case KEY_OTHER:
		break;
	}
	return false;
}

static bool
set_padding(EVP_PKEY_CTX *ctx, const struct method *method)
{
	if (method->family == FAMILY_ECDSA)
		return true;
	if (method->family == FAMILY_RSA)
		return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
			EVP_PKEY_CTX_set_signature_md(ctx, method->digest) == 1;
	return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
		EVP_PKEY_CTX_set_signature_md(ctx, method->digest) == 1 &&
		EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, method->mask_digest) == 1 &&
		EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, method->salt_len) == 1;
}

/*
 * Digest first, then verify: EVP_DigestVerify would look the digest up by
 * name again for every request.
 */
static bool
verify_digest(struct bytes data, const struct method *method, struct bytes signature, EVP_PKEY *key)
{
	CLEANUP(EVP_PKEY_CTX) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	return ctx != NULL && EVP_Digest(data.at, data.len, digest, &len, method->digest, NULL) == 1 &&
		EVP_PKEY_verify_init(ctx) == 1 && set_padding(ctx, method) &&
		EVP_PKEY_verify(ctx, signature.at, signature.len, digest, len) == 1;
}

static bool
verify_whole(struct bytes data, struct bytes signature, EVP_PKEY *key)
{
	CLEANUP(EVP_MD_CTX) EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	return ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
		EVP_DigestVerify(ctx, signature.at, signature.len, data.at, data.len) == 1;
}

static bool
verify(struct bytes data, const struct method *method, struct bytes signature, const struct est_proof_key *key)
{
	if (key->rsa != NULL)
		return method->family == FAMILY_RSA && rsa_public_verify(key->rsa, method->digest, data, signature);
	if (method->family == FAMILY_ED25519)
		return verify_whole(data, signature, key->key);
	return verify_digest(data, method, signature, key->key);
}

int
est_proof_check(struct bytes data, const X509_ALGOR *algorithm, struct bytes signature,
	const struct est_proof_key *key, enum est_proof_rule rule, struct err *e)
{
	struct method method = { 0 };

	if (method_of(algorithm, rule, &method, e) != 0)
		return -1;
	if (!fits(method.family, key->kind))
		return err_set(e, ERR_UNAUTHENTIC, "signature algorithm of another kind than the key");
	if (!verify(data, &method, signature, key)) {
		ERR_clear_error();
		return err_set(e, ERR_UNAUTHENTIC, "the signature does not prove possession of the key");
	}
	return 0;
}
