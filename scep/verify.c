#include <openssl/err.h>
#include <openssl/rsa.h>

#include "base/key.h"
#include "scep/read.h"
#include "scep/rsa.h"

#define ASN1_UNUSED_BITS 0x07 /* how many, in the flags of a BIT STRING */

static int
refuse(enum scep_fail *fail, enum scep_fail with)
{
	*fail = with;
	return -1;
}

static const SCEP_SIGNER *
signer_of(const struct scep_message *message)
{
	return sk_SCEP_SIGNER_value(message->parts->tree->signers, 0);
}

/* The name of what we do not know is the peer's object identifier. */
static int
refuse_algorithm(const char *what, const ASN1_OBJECT *oid, struct err *e)
{
	char name[80] = "";

	(void)OBJ_obj2txt(name, sizeof name, oid, 0);
	ERR_clear_error();
	return err_set(e, ERR_UNSUPPORTED, "%s %s is not accepted", what, name);
}

/* RFC 3370, section 2.1 and 3.2: absent or NULL, and both mean the same. */
static bool
has_no_parameters(const X509_ALGOR *algorithm)
{
	return algorithm->parameter == NULL || algorithm->parameter->type == V_ASN1_NULL;
}

static int
check_algorithms(const struct scep_message *message, unsigned allowed, struct err *e)
{
	const SCEP_SIGNER *signer = signer_of(message);

	if ((message->digest & allowed) == 0 || scep_digest(message->digest) == NULL ||
	    !has_no_parameters(signer->digest))
		return refuse_algorithm("digest", signer->digest->algorithm, e);
	if (!scep_signature_fits(signer->algorithm->algorithm, message->digest) ||
	    !has_no_parameters(signer->algorithm))
		return refuse_algorithm("signature algorithm", signer->algorithm->algorithm, e);
	if (message->has_content &&
	    ((message->cipher & allowed) == 0 || scep_cipher(message->cipher) == NULL))
		return refuse_algorithm("cipher", message->parts->envelope->tree->encrypted->algorithm->algorithm, e);
	return 0;
}

static int
check_key(EVP_PKEY *key, struct err *e)
{
	struct key_facts facts = { 0 };
	char text[24];

	if (key == NULL) {
		ERR_clear_error();
		return err_set(e, ERR_UNSUPPORTED, "the signer's key cannot be decoded");
	}
	key_facts_of(key, &facts);
	key_text(&facts, text);
	if (facts.kind != KEY_RSA)
		return err_set(e, ERR_UNSUPPORTED, "the signer's key is %s; SCEP needs RSA", text);
	if (facts.bits < RSA_BITS_MIN || facts.bits > RSA_BITS_MAX)
		return err_set(e, ERR_UNSUPPORTED, "the signer's key is %s; %d to %d bits are accepted", text,
			RSA_BITS_MIN, RSA_BITS_MAX);
	if (facts.weak != NULL)
		return err_set(e, ERR_UNSUPPORTED, "the signer's key is weak: %s", facts.weak);
	return 0;
}

/* RFC 5652, section 11.1 and 11.2: each "MUST be a signed attribute" with "a single attribute value". */
static int
check_content(const struct scep_message *message, struct err *e)
{
	const struct scep_attributes *attributes = &message->parts->attributes;
	struct bytes content = scep_string_bytes(message->parts->tree->content->octets);
	const ASN1_TYPE *type = NULL, *digest = NULL;
	uint8_t is[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (scep_attribute_get(attributes, SCEP_ATTRIBUTE_CONTENT_TYPE, &type, e) != 0 ||
	    scep_attribute_get(attributes, SCEP_ATTRIBUTE_MESSAGE_DIGEST, &digest, e) != 0) {
		e->code = ERR_UNAUTHENTIC;
		return -1;
	}
	if (OBJ_obj2nid(type->value.object) != NID_pkcs7_data)
		return err_set(e, ERR_UNAUTHENTIC, "contentType is not data");
	if (EVP_Digest(content.at, content.len, is, &len, scep_digest(message->digest), NULL) != 1)
		return err_ossl(e, ERR_BUG, "digest of the content");
	if (!bytes_equal(scep_string_bytes(digest->value.octet_string), bytes_of(is, len)))
		return err_set(e, ERR_UNAUTHENTIC, "messageDigest is not the content's digest");
	return 0;
}

/* 1 when signature is that of hash, 0 when not, -1 *e. */
static int
verify_by_evp(EVP_PKEY *key, const EVP_MD *md, struct bytes hash, struct bytes signature, struct err *e)
{
	CLEANUP(EVP_PKEY_CTX) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	bool good;

	if (ctx == NULL || EVP_PKEY_verify_init(ctx) != 1 ||
	    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) != 1 || EVP_PKEY_CTX_set_signature_md(ctx, md) != 1)
		return err_ossl(e, ERR_BUG, "SCEP signature");
	good = EVP_PKEY_verify(ctx, signature.at, signature.len, hash.at, hash.len) == 1;
	ERR_clear_error();
	return good ? 1 : 0;
}

static int
check_signature(const struct scep_message *message, EVP_PKEY *key, struct err *e)
{
	CLEANUP(buf) struct buf attributes = { 0 };
	const EVP_MD *md = scep_digest(message->digest);
	const SCEP_SIGNER *signer = signer_of(message);
	const struct scep_rsa *rsa = scep_rsa_keep(key);
	struct bytes signature = scep_string_bytes(signer->signature);
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	int good;

	if (scep_attributes_encode(signer->attributes, &attributes, e) != 0)
		return -1;
	if (EVP_Digest(attributes.at, attributes.len, hash, &len, md, NULL) != 1)
		return err_ossl(e, ERR_BUG, "SCEP signature");
	if (rsa != NULL && scep_rsa_knows(message->digest))
		good = scep_rsa_verify(rsa, message->digest, bytes_of(hash, len), signature);
	else
		good = verify_by_evp(key, md, bytes_of(hash, len), signature, e);
	if (good == 0)
		return err_set(e, ERR_UNAUTHENTIC, "the signature is not the signer's");
	return good < 0 ? -1 : 0;
}

/* The tbsCertificate, octet by octet as it was signed; len 0 for lengths that DER has not. */
static struct bytes
tbs_of(struct bytes cert)
{
	const uint8_t *outer = cert.at, *inner;
	long len = 0;
	int tag = 0, class = 0;

	if (ASN1_get_object(&outer, &len, &tag, &class, (long)cert.len) != V_ASN1_CONSTRUCTED)
		return bytes_of(NULL, 0);
	inner = outer;
	if (ASN1_get_object(&inner, &len, &tag, &class, len) != V_ASN1_CONSTRUCTED)
		return bytes_of(NULL, 0);
	return bytes_of(outer, (size_t)(inner - outer) + (size_t)len);
}

/* X509_verify() of what nearly every signer is: RSA with a digest that we know. 1, 0, or -1: it is for that function. */
static int
verify_quickly(const struct scep_message *message, const struct scep_rsa *rsa)
{
	const ASN1_BIT_STRING *signature = NULL;
	const X509_ALGOR *algorithm = NULL;
	struct bytes tbs = tbs_of(message->parts->signer);
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned len = 0, digest;

	X509_get0_signature(&signature, &algorithm, message->signer);
	digest = scep_signature_digest(algorithm->algorithm);
	if (rsa == NULL || tbs.len == 0 || digest == 0 || !scep_rsa_knows(digest) ||
	    (signature->flags & ASN1_UNUSED_BITS) != 0 ||
	    X509_ALGOR_cmp(algorithm, X509_get0_tbs_sigalg(message->signer)) != 0 ||
	    EVP_Digest(tbs.at, tbs.len, hash, &len, scep_digest(digest), NULL) != 1)
		return -1;
	return scep_rsa_verify(rsa, digest, bytes_of(hash, len), scep_string_bytes(signature));
}

static bool
is_self_signed(const struct scep_message *message, EVP_PKEY *key)
{
	X509 *cert = message->signer;
	int is = 0;

	if (X509_NAME_cmp(X509_get_issuer_name(cert), X509_get_subject_name(cert)) == 0) {
		is = verify_quickly(message, scep_rsa_get0(key));
		if (is < 0)
			is = X509_verify(cert, key);
	}
	ERR_clear_error();
	return is == 1;
}

int
scep_message_verify(struct scep_message *message, unsigned allowed, enum scep_fail *fail, struct err *e)
{
	EVP_PKEY *key = X509_get0_pubkey(message->signer);

	if (check_algorithms(message, allowed, e) != 0 || check_key(key, e) != 0)
		return refuse(fail, SCEP_BAD_ALG);
	if (check_content(message, e) != 0 || check_signature(message, key, e) != 0)
		return refuse(fail, SCEP_BAD_MESSAGE_CHECK);
	message->self_signed = is_self_signed(message, key);
	message->parts->verified = true;
	return 0;
}
