/* An attestation result from outside: the token as it comes, and the payload behind a good signature. */
#include <stdlib.h>

#include "tests/unit/ear_make.h"

static EVP_PKEY *key;
static const struct bytes nonce = { (const uint8_t *)"0123456789abcdef", 16 };
static const struct bytes spki = { (const uint8_t *)"key", 3 };

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len);

static void
judge(const struct ear_settings *settings, struct bytes token, bool may_pass)
{
	static struct attestation out;
	struct err e;

	if (ear_verify(settings, token, nonce, spki, EAR_NOW, &out, &e) != 0)
		abort();
	if (out.valid && (!may_pass || !out.fresh || !out.key_bound || out.check_count < 6))
		abort();
	if (out.check_count > ATTEST_CHECKS_MAX || out.claim_count > ATTEST_CLAIMS_MAX || out.anchor_count > 1)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	static struct ear_settings settings = { .name = "fuzz", .worst = EAR_WARNING,
		.identity_claim = "submods.a.b.c", .identity_anchor = ANCHOR_IDEVID_SERIAL };
	struct buf token = { 0 };
	char *payload;
	struct err e;

	if (key == NULL) {
		if (ossl_init(&e) != 0 || (key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")) == NULL)
			abort();
		settings.keys[0] = key;
		settings.key_count = 1;
	}
	judge(&settings, bytes_of(at, len), false); /* nobody guesses a signature */
	payload = malloc(len + 1);
	if (payload == NULL)
		return 0;
	memcpy(payload, at, len);
	payload[len] = '\0';
	ear_token(key, "EdDSA", "{\"alg\":\"EdDSA\"}", payload, &token);
	judge(&settings, buf_bytes(&token), true);
	free(payload);
	buf_free(&token);
	return 0;
}
