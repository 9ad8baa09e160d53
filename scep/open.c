#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "scep/read.h"

#define RSA_OCTETS_MAX 2048 /* of a recipient's modulus */
#define TEXT_FAILED "the envelope cannot be decrypted"

DEFINE_CLEANUP(EVP_CIPHER_CTX, EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free);
DEFINE_CLEANUP(RSA_OAEP_PARAMS, RSA_OAEP_PARAMS *, RSA_OAEP_PARAMS_free);
DEFINE_CLEANUP(X509_ALGOR, X509_ALGOR *, X509_ALGOR_free);

/* How a content key is encrypted. */
struct transport {
	int padding;
	const EVP_MD *digest, *mask_digest; /* OAEP */
};

/* What is decrypted with what. */
struct attempt {
	EVP_PKEY *key;
	struct transport transport;
	struct bytes encrypted;
};

void
scep_envelope_free(struct scep_envelope *envelope)
{
	if (envelope == NULL)
		return;
	scep_enveloped_free(envelope->tree);
	free(envelope);
}

/* RFC 3370, section 5 and RFC 3565, section 4.1: the parameters are the IV. */
static void
take_cipher(struct scep_envelope *envelope)
{
	const X509_ALGOR *algorithm = envelope->tree->encrypted->algorithm;
	unsigned bit = scep_cipher_of(algorithm->algorithm);
	const EVP_CIPHER *cipher = scep_cipher(bit);

	if (algorithm->parameter == NULL || algorithm->parameter->type != V_ASN1_OCTET_STRING)
		return;
	envelope->iv = scep_string_bytes(algorithm->parameter->value.octet_string);
	if (cipher == NULL || envelope->iv.len == (size_t)EVP_CIPHER_get_iv_length(cipher))
		envelope->cipher = bit;
}

int
scep_envelope_parse(struct bytes ber, struct scep_envelope **out, struct err *e)
{
	CLEANUP(scep_envelope) struct scep_envelope *envelope = calloc(1, sizeof *envelope);

	if (envelope == NULL)
		return err_set(e, ERR_NOMEM, "envelope: no memory");
	envelope->tree = scep_enveloped_decode(ber, e);
	if (envelope->tree == NULL)
		return -1;
	/* RFC 8894, section 3.2.2: "contentType in encryptedContentInfo MUST be data ({pkcs-7 1})." */
	if (OBJ_obj2nid(envelope->tree->encrypted->type) != NID_pkcs7_data)
		return err_set(e, ERR_MALFORMED, "the encrypted content is not data");
	if (sk_SCEP_RECIPIENT_num(envelope->tree->recipients) > SCEP_RECIPIENTS_MAX)
		return err_set(e, ERR_LIMIT, "%d recipients; at most %d are allowed",
			sk_SCEP_RECIPIENT_num(envelope->tree->recipients), SCEP_RECIPIENTS_MAX);
	take_cipher(envelope);
	*out = envelope;
	envelope = NULL;
	return 0;
}

/*
 * SHA-1 is OAEP's default, whatever a label allows elsewhere: nothing in OAEP
 * rests on collisions. MD5 nobody uses there.
 */
static const EVP_MD *
oaep_digest(const X509_ALGOR *algorithm)
{
	unsigned bit = algorithm == NULL ? SCEP_SHA1 : scep_digest_of(algorithm->algorithm);

	return bit == SCEP_MD5 ? NULL : scep_digest(bit);
}

static const EVP_MD *
mask_digest(const X509_ALGOR *mask)
{
	CLEANUP(X509_ALGOR) X509_ALGOR *inner = NULL;

	if (mask == NULL)
		return scep_digest(SCEP_SHA1);
	if (OBJ_obj2nid(mask->algorithm) != NID_mgf1 || mask->parameter == NULL ||
	    mask->parameter->type != V_ASN1_SEQUENCE)
		return NULL;
	inner = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(X509_ALGOR), mask->parameter);
	return inner == NULL ? NULL : oaep_digest(inner);
}

static bool
label_is_empty(const X509_ALGOR *source)
{
	return source == NULL ||
		(OBJ_obj2nid(source->algorithm) == NID_pSpecified && source->parameter != NULL &&
			source->parameter->type == V_ASN1_OCTET_STRING &&
			ASN1_STRING_length(source->parameter->value.octet_string) == 0);
}

/* RFC 8017, appendix A.2.1. */
static bool
oaep_of(const X509_ALGOR *algorithm, struct transport *out)
{
	CLEANUP(RSA_OAEP_PARAMS) RSA_OAEP_PARAMS *oaep = NULL;

	if (algorithm->parameter == NULL || algorithm->parameter->type == V_ASN1_NULL)
		oaep = RSA_OAEP_PARAMS_new(); /* the defaults */
	else if (algorithm->parameter->type == V_ASN1_SEQUENCE)
		oaep = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(RSA_OAEP_PARAMS), algorithm->parameter);
	if (oaep == NULL || !label_is_empty(oaep->pSourceFunc))
		return false;
	*out = (struct transport){ RSA_PKCS1_OAEP_PADDING, oaep_digest(oaep->hashFunc),
		mask_digest(oaep->maskGenFunc) };
	return out->digest != NULL && out->mask_digest != NULL;
}

static bool
transport_of(const X509_ALGOR *algorithm, struct transport *out)
{
	int nid = OBJ_obj2nid(algorithm->algorithm);

	if (nid == NID_rsaesOaep)
		return oaep_of(algorithm, out);
	*out = (struct transport){ .padding = RSA_PKCS1_PADDING };
	return nid == NID_rsaEncryption;
}

/* The first RecipientInfo that is for one of us, and whose octets an RSA operation can take. */
static bool
find_ours(const SCEP_ENVELOPED *tree, const struct scep_recipient *recipients, size_t count, struct attempt *out)
{
	int at, n = sk_SCEP_RECIPIENT_num(tree->recipients);
	size_t i;

	for (at = 0; at < n; at++) {
		const SCEP_RECIPIENT *info = sk_SCEP_RECIPIENT_value(tree->recipients, at);

		for (i = 0; i < count && info->type == 0; i++) {
			const SCEP_KEY_TRANSPORT *t = info->by.transport;

			if (!scep_cert_is(t->id, recipients[i].cert) ||
			    ASN1_STRING_length(t->key) != EVP_PKEY_get_size(recipients[i].key) ||
			    !transport_of(t->algorithm, &out->transport))
				continue;
			out->key = recipients[i].key;
			out->encrypted = scep_string_bytes(t->key);
			return true;
		}
	}
	return false;
}

static bool
set_transport(EVP_PKEY_CTX *ctx, const struct transport *transport)
{
	return EVP_PKEY_CTX_set_rsa_padding(ctx, transport->padding) == 1 &&
		(transport->padding != RSA_PKCS1_OAEP_PADDING ||
			(EVP_PKEY_CTX_set_rsa_oaep_md(ctx, transport->digest) == 1 &&
				EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, transport->mask_digest) == 1));
}

/* 0xff when both are equal, else 0x00, without a branch. */
static uint8_t
mask_if_equal(size_t a, size_t b)
{
	size_t different = a ^ b;

	return (uint8_t)(((different | (0 - different)) >> (8 * sizeof different - 1)) - 1);
}

/*
 * The content key, or, when there is none of the right length, a key that
 * stands in for it: always the same for the same encrypted octets, so that
 * asking again tells nothing either. OpenSSL's own check of the padding, and
 * what it puts into its error queue, do not branch on the plain text; the
 * choice here does not. (CMS_decrypt() chooses at random and with a branch.)
 */
static int
unwrap(const struct attempt *attempt, bool ours, uint8_t *key, size_t key_len, struct err *e)
{
	CLEANUP(EVP_PKEY_CTX) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(attempt->key, NULL);
	uint8_t seed[SCEP_SECRET_LEN + RSA_OCTETS_MAX], plain[RSA_OCTETS_MAX] = { 0 }, stand_in[32];
	size_t len = sizeof plain, i;
	volatile uint8_t mask;
	int result;

	if (ctx == NULL || key_len > sizeof stand_in || attempt->encrypted.len > RSA_OCTETS_MAX)
		return err_ossl(e, ERR_BUG, "decryption with a SCEP key");
	memcpy(seed, scep_secret().at, SCEP_SECRET_LEN);
	memcpy(seed + SCEP_SECRET_LEN, attempt->encrypted.at, attempt->encrypted.len);
	if (sha256(bytes_of(seed, SCEP_SECRET_LEN + attempt->encrypted.len), stand_in, e) != 0)
		return -1;
	OPENSSL_cleanse(seed, SCEP_SECRET_LEN);
	if (EVP_PKEY_decrypt_init(ctx) != 1 || !set_transport(ctx, &attempt->transport))
		return err_ossl(e, ERR_BUG, "decryption with a SCEP key");
	result = EVP_PKEY_decrypt(ctx, plain, &len, attempt->encrypted.at, attempt->encrypted.len);
	ERR_clear_error();
	mask = (uint8_t)(mask_if_equal((size_t)result, 1) & mask_if_equal(len, key_len) &
		mask_if_equal((size_t)ours, 1));
	for (i = 0; i < key_len; i++)
		key[i] = (uint8_t)((plain[i] & mask) | (stand_in[i] & (uint8_t)~mask));
	OPENSSL_cleanse(plain, sizeof plain);
	OPENSSL_cleanse(stand_in, sizeof stand_in);
	return 0;
}

/* The plain octets, their length in *len; false when the padding is wrong or nothing is left. */
static bool
decrypt(const struct scep_envelope *envelope, const EVP_CIPHER *cipher, const uint8_t *key, uint8_t *plain, size_t *len)
{
	CLEANUP(EVP_CIPHER_CTX) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	struct bytes in = scep_string_bytes(envelope->tree->encrypted->octets);
	int first = 0, last = 0;
	bool good;

	good = ctx != NULL && EVP_DecryptInit_ex(ctx, cipher, NULL, key, envelope->iv.at) == 1 &&
		EVP_DecryptUpdate(ctx, plain, &first, in.at, (int)in.len) == 1 &&
		EVP_DecryptFinal_ex(ctx, plain + first, &last) == 1;
	ERR_clear_error();
	*len = good ? (size_t)(first + last) : 0;
	return *len != 0;
}

static int
decrypt_content(const struct scep_envelope *envelope, const EVP_CIPHER *cipher, const uint8_t *key, struct buf *out,
	struct err *e)
{
	size_t room = scep_string_bytes(envelope->tree->encrypted->octets).len + EVP_MAX_BLOCK_LENGTH, len = 0;
	uint8_t *plain = malloc(room);
	bool good;

	if (plain == NULL)
		return err_set(e, ERR_NOMEM, "envelope: no memory");
	good = decrypt(envelope, cipher, key, plain, &len);
	if (good)
		buf_append(out, plain, len);
	OPENSSL_cleanse(plain, room);
	free(plain);
	if (!good)
		return err_set(e, ERR_UNAUTHENTIC, TEXT_FAILED);
	if (buf_failed(out))
		return err_set(e, ERR_NOMEM, "envelope: no memory");
	return 0;
}

static bool
recipients_are_usable(const struct scep_recipient *recipients, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (!EVP_PKEY_is_a(recipients[i].key, "RSA") || EVP_PKEY_get_size(recipients[i].key) < 1 ||
		    EVP_PKEY_get_size(recipients[i].key) > RSA_OCTETS_MAX)
			return false;
	return count != 0;
}

int
scep_envelope_open(const struct scep_envelope *envelope, const struct scep_recipient *recipients, size_t count,
	struct buf *out, struct err *e)
{
	const EVP_CIPHER *cipher = scep_cipher(envelope->cipher);
	uint8_t nothing[RSA_OCTETS_MAX] = { 0 }, key[EVP_MAX_KEY_LENGTH];
	struct attempt attempt = { 0 };
	bool ours;
	int result;

	if (cipher == NULL)
		return err_set(e, ERR_UNSUPPORTED, "the cipher of the envelope is not available");
	if (!recipients_are_usable(recipients, count))
		return err_set(e, ERR_BUG, "a SCEP recipient without an RSA key");
	ours = find_ours(envelope->tree, recipients, count, &attempt);
	if (!ours) {
		/* The same work as for a message to us; smaller than every modulus of that size. */
		attempt.key = recipients[0].key;
		attempt.transport.padding = RSA_PKCS1_PADDING;
		attempt.encrypted = bytes_of(nothing, (size_t)EVP_PKEY_get_size(attempt.key));
		memset(nothing + 1, 0x5a, attempt.encrypted.len - 1);
	}
	if (unwrap(&attempt, ours, key, (size_t)EVP_CIPHER_get_key_length(cipher), e) != 0)
		return -1;
	result = decrypt_content(envelope, cipher, key, out, e);
	OPENSSL_cleanse(key, sizeof key);
	return result;
}

int
scep_message_open(const struct scep_message *message, const struct scep_recipient *recipients, size_t count,
	struct buf *out, struct err *e)
{
	if (!message->parts->verified)
		return err_set(e, ERR_BUG, "an envelope is opened before its message is verified");
	if (message->parts->envelope == NULL)
		return err_set(e, ERR_UNAUTHENTIC, TEXT_FAILED);
	return scep_envelope_open(message->parts->envelope, recipients, count, out, e);
}
