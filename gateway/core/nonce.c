/*
 * 8 octets of time, 8 random ones, and 16 of HMAC-SHA-256 over the label and
 * both. The time is ours to read again; nobody else can make one.
 */
#include "gateway/core/nonce.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/hmac.h>

#include "base/ossl.h"

#define TIME_LEN   8
#define RANDOM_LEN 8
#define MAC_LEN    16
#define SECRET_MIN 32
#define LABEL_MAX  128

_Static_assert(TIME_LEN + RANDOM_LEN + MAC_LEN == NONCE_LEN, "NONCE_LEN");

struct nonces {
	uint8_t key[32];
};

int
nonces_new(struct bytes secret, struct nonces **out, struct err *e)
{
	static const char purpose[] = "enrolld attestation nonce";
	struct nonces *nonces;

	if (secret.len < SECRET_MIN || secret.len > INT32_MAX)
		return err_set(e, ERR_BUG, "%zu octets are no secret for nonces", secret.len);
	nonces = calloc(1, sizeof *nonces);
	if (nonces == NULL)
		return err_set(e, ERR_NOMEM, "no memory for nonces");
	if (HMAC(ossl_sha256(), secret.at, (int)secret.len, (const uint8_t *)purpose, sizeof purpose, nonces->key, NULL) ==
	    NULL) {
		free(nonces);
		return err_ossl(e, ERR_BUG, "key of nonces");
	}
	*out = nonces;
	return 0;
}

void
nonces_free(struct nonces *nonces)
{
	if (nonces == NULL)
		return;
	OPENSSL_cleanse(nonces, sizeof *nonces);
	free(nonces);
}

static int
mac(const struct nonces *nonces, const char *label, const uint8_t *head, uint8_t out[32], struct err *e)
{
	uint8_t text[TIME_LEN + RANDOM_LEN + LABEL_MAX];
	size_t len = strlen(label);

	if (len > LABEL_MAX)
		return err_set(e, ERR_BUG, "a label of %zu octets", len);
	memcpy(text, head, TIME_LEN + RANDOM_LEN); /* of fixed length, so that where the label begins is beyond doubt */
	memcpy(text + TIME_LEN + RANDOM_LEN, label, len);
	if (HMAC(ossl_sha256(), nonces->key, sizeof nonces->key, text, TIME_LEN + RANDOM_LEN + len, out, NULL) == NULL)
		return err_ossl(e, ERR_BUG, "nonce");
	return 0;
}

int
nonce_make(const struct nonces *nonces, const char *label, int64_t now_s, uint8_t out[NONCE_LEN], struct err *e)
{
	uint8_t nonce[NONCE_LEN], digest[32];
	size_t i;

	for (i = 0; i < TIME_LEN; i++)
		nonce[i] = (uint8_t)((uint64_t)now_s >> (56 - 8 * i));
	if (random_octets(nonce + TIME_LEN, RANDOM_LEN, e) != 0 || mac(nonces, label, nonce, digest, e) != 0)
		return -1;
	memcpy(nonce + TIME_LEN + RANDOM_LEN, digest, MAC_LEN);
	memcpy(out, nonce, sizeof nonce);
	return 0;
}

int
nonce_check(const struct nonces *nonces, const char *label, struct bytes nonce, int64_t now_s, int64_t life_s,
	int64_t *expires_s, struct err *e)
{
	uint8_t digest[32];
	uint64_t made = 0;
	int64_t age_s;
	size_t i;

	if (nonce.len != NONCE_LEN)
		return err_set(e, ERR_DENIED, "a nonce of %zu octets is none of ours", nonce.len);
	if (mac(nonces, label, nonce.at, digest, e) != 0)
		return -1;
	if (!bytes_equal_secret(bytes_of(digest, MAC_LEN), bytes_of(nonce.at + TIME_LEN + RANDOM_LEN, MAC_LEN)))
		return err_set(e, ERR_DENIED, "the nonce was not given out here for this label");
	for (i = 0; i < TIME_LEN; i++)
		made = made << 8 | nonce.at[i];
	age_s = now_s - (int64_t)made;
	if (age_s < 0)
		return err_set(e, ERR_DENIED, "the nonce is from the future");
	if (age_s > life_s)
		return err_set(e, ERR_DENIED, "the nonce is %lld s old, past its life of %lld s", (long long)age_s,
			(long long)life_s);
	*expires_s = (int64_t)made + life_s;
	return 0;
}
