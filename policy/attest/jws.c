#include "policy/attest/jws.h"

#include <stdio.h>
#include <string.h>

#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "base/jsontext.h"
#include "base/key.h"

#define HEADER_MAX 4096 /* octets of base64url */

DEFINE_CLEANUP(json, json_t *, json_decref);
DEFINE_CLEANUP(ECDSA_SIG, ECDSA_SIG *, ECDSA_SIG_free);

struct algorithm {
	const char *name;
	enum key_kind kind;
	const EVP_MD *(*digest)(void); /* NULL: the algorithm's own */
	int padding;                   /* RSA */
	size_t half;                   /* octets of r and of s; 0: the signature is as OpenSSL has it */
};

static const struct algorithm algorithms[] = {
	{ "ES256", KEY_EC_P256, ossl_sha256, 0, 32 },
	{ "ES384", KEY_EC_P384, ossl_sha384, 0, 48 },
	{ "EdDSA", KEY_ED25519, NULL, 0, 0 },
	{ "RS256", KEY_RSA, ossl_sha256, RSA_PKCS1_PADDING, 0 },
	{ "RS384", KEY_RSA, ossl_sha384, RSA_PKCS1_PADDING, 0 },
	{ "PS256", KEY_RSA, ossl_sha256, RSA_PKCS1_PSS_PADDING, 0 },
	{ "PS384", KEY_RSA, ossl_sha384, RSA_PKCS1_PSS_PADDING, 0 },
};

/* One part of the three, decoded, as a JSON object. */
static int
read_object(struct bytes text, const char *what, json_t **out, struct err *e)
{
	CLEANUP(buf) struct buf octets = { 0 };
	json_error_t why;
	json_t *object;

	if (base64url_decode(text, &octets, e) != 0)
		return err_prefix(e, "%s", what);
	/* RFC 7519, section 4: claim names "MUST be unique". */
	object = !json_is_shallow(buf_bytes(&octets)) ? NULL :
		json_loadb((const char *)octets.at, octets.len, JSON_REJECT_DUPLICATES, &why);
	if (object == NULL || !json_is_object(object)) {
		json_decref(object);
		return err_set(e, ERR_MALFORMED, "the %s is no JSON object", what);
	}
	*out = object;
	return 0;
}

/* RFC 7515, section 4.1.11: a "crit" that is not understood makes the whole invalid. Nothing of it is understood here. */
static int
read_header(struct bytes text, const struct algorithm **out, struct jws_failure *why, struct err *e)
{
	CLEANUP(json) json_t *header = NULL;
	const char *name;
	size_t i;

	*out = &algorithms[0];
	if (text.len > HEADER_MAX)
		return err_set(e, ERR_MALFORMED, "a header of %zu octets", text.len);
	if (read_object(text, "header", &header, e) != 0)
		return -1;
	if (json_object_get(header, "crit") != NULL)
		return err_set(e, ERR_MALFORMED, "the header has \"crit\"");
	name = json_string_value(json_object_get(header, "alg"));
	for (i = 0; name != NULL && i < sizeof algorithms / sizeof algorithms[0]; i++)
		if (strcmp(algorithms[i].name, name) == 0) {
			*out = &algorithms[i];
			(void)snprintf(why->algorithm, sizeof why->algorithm, "%s", name);
			return 0;
		}
	why->step = JWS_ALGORITHM;
	return err_set(e, ERR_UNSUPPORTED, "its algorithm is none of ours");
}

/* RFC 7518, section 3.4: R and S as octets of the curve's length, one after the other. */
static int
to_der(struct bytes raw, size_t half, struct buf *out, struct err *e)
{
	CLEANUP(ECDSA_SIG) ECDSA_SIG *sig = ECDSA_SIG_new();
	unsigned char *der = NULL;
	BIGNUM *r, *s;
	int len;

	if (raw.len != 2 * half)
		return err_set(e, ERR_UNAUTHENTIC, "a signature of %zu octets", raw.len);
	r = BN_bin2bn(raw.at, (int)half, NULL);
	s = BN_bin2bn(raw.at + half, (int)half, NULL);
	if (sig == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(sig, r, s) != 1) {
		BN_free(r);
		BN_free(s);
		return err_ossl(e, ERR_NOMEM, "signature");
	}
	len = i2d_ECDSA_SIG(sig, &der);
	if (len > 0)
		buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	return len > 0 && !buf_failed(out) ? 0 : err_ossl(e, ERR_NOMEM, "signature");
}

static bool
verifies(const struct algorithm *algorithm, EVP_PKEY *key, struct bytes data, struct bytes signature)
{
	CLEANUP(EVP_MD_CTX) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *parameters = NULL;

	if (ctx == NULL || EVP_DigestVerifyInit(ctx, &parameters,
				   algorithm->digest == NULL ? NULL : algorithm->digest(), NULL, key) != 1)
		return false;
	if (algorithm->padding != 0 && EVP_PKEY_CTX_set_rsa_padding(parameters, algorithm->padding) != 1)
		return false;
	/* RFC 7518, section 3.5: the salt has the digest's length. */
	if (algorithm->padding == RSA_PKCS1_PSS_PADDING &&
	    EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) != 1)
		return false;
	return EVP_DigestVerify(ctx, signature.at, signature.len, data.at, data.len) == 1;
}

static int
check_signature(const struct algorithm *algorithm, EVP_PKEY *const *keys, size_t key_count, struct bytes data,
	struct bytes text, struct jws_failure *why, struct err *e)
{
	CLEANUP(buf) struct buf raw = { 0 };
	CLEANUP(buf) struct buf der = { 0 };
	size_t i, fit = 0;

	if (base64url_decode(text, &raw, e) != 0)
		return err_prefix(e, "signature");
	why->step = JWS_SIGNATURE;
	if (algorithm->half != 0 && to_der(buf_bytes(&raw), algorithm->half, &der, e) != 0)
		return -1;
	for (i = 0; i < key_count; i++) {
		struct key_facts facts;

		key_facts_of(keys[i], &facts);
		if (facts.kind != algorithm->kind)
			continue;
		fit++;
		if (verifies(algorithm, keys[i], data, buf_bytes(algorithm->half != 0 ? &der : &raw)))
			return 0;
	}
	ERR_clear_error();
	if (fit != 0)
		return err_set(e, ERR_UNAUTHENTIC, "no pinned key made this %s signature", algorithm->name);
	why->step = JWS_ALGORITHM;
	return err_set(e, ERR_UNSUPPORTED, "there is no pinned key for %s", algorithm->name);
}

int
jws_open(struct bytes token, EVP_PKEY *const *keys, size_t key_count, json_t **payload, struct jws_failure *why,
	struct err *e)
{
	struct cursor c = cursor_of(token);
	struct bytes header = cursor_until(&c, '.');
	struct bytes claims = cursor_until(&c, '.');
	struct bytes signature = bytes_of(c.at, cursor_left(&c));
	const struct algorithm *algorithm = NULL;

	*why = (struct jws_failure){ .step = JWS_FORM };
	if (c.failed || header.len == 0 || claims.len == 0 || signature.len == 0)
		return err_set(e, ERR_MALFORMED, "it is not three parts with dots between them");
	if (read_header(header, &algorithm, why, e) != 0 ||
	    check_signature(algorithm, keys, key_count, bytes_of(token.at, header.len + 1 + claims.len), signature, why, e) != 0)
		return -1;
	why->step = JWS_FORM;
	return read_object(claims, "payload", payload, e);
}
