#include <openssl/err.h>
#include <openssl/rsa.h>

#include "base/key.h"
#include "scep/read.h"

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
facts_of(const struct scep_message *message, struct key_facts *out, struct err *e)
{
	EVP_PKEY *key;

	if (message->parts->key != NULL) {
		*out = *rsa_public_facts(message->parts->key);
		return 0;
	}
	key = X509_get0_pubkey(message->signer);
	if (key == NULL) {
		ERR_clear_error();
		return err_set(e, ERR_UNSUPPORTED, "the signer's key cannot be decoded");
	}
	key_facts_of(key, out);
	return 0;
}

static int
check_key(const struct scep_message *message, struct err *e)
{
	struct key_facts facts = { 0 };
	char text[24];

	if (facts_of(message, &facts, e) != 0)
		return -1;
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

/* 1 when signature is that of data, 0 when not, -1 *e. */
static int
verify_by_evp(EVP_PKEY *key, const EVP_MD *md, struct bytes data, struct bytes signature, struct err *e)
{
	CLEANUP(EVP_PKEY_CTX) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	bool good;

	if (ctx == NULL || EVP_Digest(data.at, data.len, hash, &len, md, NULL) != 1 || EVP_PKEY_verify_init(ctx) != 1 ||
	    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) != 1 || EVP_PKEY_CTX_set_signature_md(ctx, md) != 1)
		return err_ossl(e, ERR_BUG, "SCEP signature");
	good = EVP_PKEY_verify(ctx, signature.at, signature.len, hash, len) == 1;
	ERR_clear_error();
	return good ? 1 : 0;
}

static int
check_signature(const struct scep_message *message, struct err *e)
{
	CLEANUP(buf) struct buf attributes = { 0 };
	const EVP_MD *md = scep_digest(message->digest);
	const SCEP_SIGNER *signer = signer_of(message);
	const struct rsa_public *rsa = message->parts->key;
	struct bytes signature = scep_string_bytes(signer->signature);
	int good;

	if (scep_attributes_encode(signer->attributes, &attributes, e) != 0)
		return -1;
	if (rsa != NULL && rsa_public_knows(md))
		good = rsa_public_verify(rsa, md, buf_bytes(&attributes), signature);
	else
		good = verify_by_evp(X509_get0_pubkey(message->signer), md, buf_bytes(&attributes), signature, e);
	if (good == 0)
		return err_set(e, ERR_UNAUTHENTIC, "the signature is not the signer's");
	return good < 0 ? -1 : 0;
}

static bool
is_self_signed(const struct scep_message *message)
{
	const struct scep_plain *plain = &message->parts->plain;
	X509 *cert = message->signer;
	bool is;

	if (cert == NULL)
		return rsa_public_verify(message->parts->key, plain->digest, plain->tbs, plain->signature);
	is = X509_NAME_cmp(X509_get_issuer_name(cert), X509_get_subject_name(cert)) == 0 &&
		X509_verify(cert, X509_get0_pubkey(cert)) == 1;
	ERR_clear_error();
	return is;
}

int
scep_message_verify(struct scep_message *message, unsigned allowed, enum scep_fail *fail, struct err *e)
{
	if (check_algorithms(message, allowed, e) != 0 || check_key(message, e) != 0)
		return refuse(fail, SCEP_BAD_ALG);
	if (check_content(message, e) != 0 || check_signature(message, e) != 0)
		return refuse(fail, SCEP_BAD_MESSAGE_CHECK);
	message->self_signed = is_self_signed(message);
	/* It is judged as what it says it is, then: somebody's certificate. */
	if (!message->self_signed && scep_message_decode(message, e) != 0) {
		e->code = ERR_UNAUTHENTIC;
		return refuse(fail, SCEP_BAD_MESSAGE_CHECK);
	}
	message->parts->verified = true;
	return 0;
}
