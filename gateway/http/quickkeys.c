/* ENGINE and EVP_PKEY_METHOD are deprecated since OpenSSL 3.0; this file is the only one that uses them. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "gateway/http/quickkeys.h"

#include <openssl/ec.h>
#include <openssl/engine.h>
#include <openssl/err.h>

#define ENGINE_NAME "enrolld-builtin-ec"

static ENGINE *engine;

static int
offer(ENGINE *asked, EVP_PKEY_METHOD **out, const int **nids, int nid)
{
	static const int only[] = { EVP_PKEY_EC };

	(void)asked;
	if (out == NULL) {
		*nids = only;
		return 1;
	}
	/* OpenSSL's own static table, which nobody writes to or frees; the interface has no const. */
	*out = nid == EVP_PKEY_EC ? (EVP_PKEY_METHOD *)(uintptr_t)EVP_PKEY_meth_find(EVP_PKEY_EC) : NULL;
	return *out != NULL;
}

void
quick_keys_disable(void)
{
	if (engine != NULL) {
		ENGINE_unregister_pkey_meths(engine);
		(void)ENGINE_free(engine);
	}
	engine = NULL;
	ERR_clear_error();
}

static bool
install(void)
{
	engine = ENGINE_new();
	return engine != NULL && ENGINE_set_id(engine, ENGINE_NAME) == 1 && ENGINE_set_name(engine, ENGINE_NAME) == 1 &&
		ENGINE_set_pkey_meths(engine, offer) == 1 && ENGINE_register_pkey_meths(engine) == 1;
}

static bool
signs(EVP_PKEY *private_key, EVP_PKEY *public_key)
{
	CLEANUP(EVP_MD_CTX) EVP_MD_CTX *sign = EVP_MD_CTX_new();
	CLEANUP(EVP_MD_CTX) EVP_MD_CTX *verify = EVP_MD_CTX_new();
	static const uint8_t text[] = "quick";
	uint8_t signature[256];
	size_t len = sizeof signature;

	return EVP_DigestSignInit(sign, NULL, ossl_sha256(), NULL, private_key) == 1 &&
		EVP_DigestSign(sign, signature, &len, text, sizeof text) == 1 &&
		EVP_DigestVerifyInit(verify, NULL, ossl_sha256(), NULL, public_key) == 1 &&
		EVP_DigestVerify(verify, signature, len, text, sizeof text) == 1;
}

/* What the gateway does with EC keys: decode, verify, sign with a key loaded earlier, copy a template, make one. */
static const char *
try_out(EVP_PKEY *earlier, struct bytes spki, struct bytes point)
{
	const uint8_t *p = spki.at;
	CLEANUP(EVP_PKEY) EVP_PKEY *decoded = d2i_PUBKEY(NULL, &p, (long)spki.len);
	CLEANUP(EVP_PKEY) EVP_PKEY *copy = EVP_PKEY_dup(earlier);
	CLEANUP(EVP_PKEY) EVP_PKEY *made = EVP_EC_gen(SN_X9_62_prime256v1);

	if (decoded == NULL || EVP_PKEY_get0_provider(decoded) != NULL)
		return "EC public keys are still decoded the slow way";
	if (!signs(earlier, decoded))
		return "signing with a key loaded earlier";
	if (copy == NULL || EVP_PKEY_set1_encoded_public_key(copy, point.at, point.len) != 1 ||
		EVP_PKEY_eq(copy, decoded) != 1)
		return "copying a template key";
	if (made == NULL || !signs(made, made))
		return "making a key";
	return NULL;
}

int
quick_keys_enable(struct err *e)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	uint8_t *spki = NULL, *point = NULL;
	const char *failed = "installing it";
	int spki_len;
	size_t point_len;

	if (engine != NULL)
		return 0;
	key = EVP_EC_gen(SN_X9_62_prime256v1);
	spki_len = key == NULL ? -1 : i2d_PUBKEY(key, &spki);
	point_len = key == NULL ? 0 : EVP_PKEY_get1_encoded_public_key(key, &point);
	if (spki_len > 0 && point_len > 0 && install())
		failed = try_out(key, bytes_of(spki, (size_t)spki_len), bytes_of(point, point_len));
	OPENSSL_free(spki);
	OPENSSL_free(point);
	ERR_clear_error();
	if (failed == NULL)
		return 0;
	quick_keys_disable();
	return err_set(e, ERR_UNSUPPORTED, "quick EC keys: %s", failed);
}
