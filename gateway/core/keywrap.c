/*
 * Key-wrap keys for encrypted server-side key generation are derived, not
 * stored: HMAC over the asset and the key id with the master octets. An id
 * carries a tag only this gateway can make, so an id that was never given out
 * is refused instead of wrapping to a key nobody holds.
 */
#include <string.h>

#include <openssl/hmac.h>

#include "gateway/core/enroll_internal.h"

#define TAG_LEN 8

static int
mac(const struct buf *master, const char *purpose, int64_t asset_id, struct bytes tail, uint8_t out[32],
	struct err *e)
{
	uint8_t text[96];
	size_t len = strlen(purpose) + 1, i;

	if (master->len == 0)
		return err_set(e, ERR_UNSUPPORTED, "key wrapping is not configured (keygen.master)");
	if (len + 8 + tail.len > sizeof text)
		return err_set(e, ERR_BUG, "key wrapping input is too long");
	memcpy(text, purpose, len);
	for (i = 0; i < 8; i++)
		text[len++] = (uint8_t)((uint64_t)asset_id >> (56 - 8 * i));
	memcpy(text + len, tail.at, tail.len);
	len += tail.len;
	if (HMAC(ossl_sha256(), master->at, (int)master->len, text, len, out, NULL) == NULL)
		return err_ossl(e, ERR_BUG, "key wrapping");
	return 0;
}

int
keywrap_derive(const struct buf *master, int64_t asset_id, struct bytes key_id, uint8_t key[KEYWRAP_KEY_LEN],
	struct err *e)
{
	uint8_t tag[32];

	if (key_id.len != KEYWRAP_ID_LEN)
		return err_set(e, ERR_MALFORMED, "DecryptKeyIdentifier of %zu octets; ours have %d", key_id.len,
			KEYWRAP_ID_LEN);
	if (mac(master, "enrolld keywrap id", asset_id, bytes_of(key_id.at, KEYWRAP_ID_LEN - TAG_LEN), tag, e) != 0)
		return -1;
	if (!bytes_equal_secret(bytes_of(tag, TAG_LEN), bytes_of(key_id.at + KEYWRAP_ID_LEN - TAG_LEN, TAG_LEN)))
		return err_set(e, ERR_MALFORMED, "DecryptKeyIdentifier was not given out for this asset");
	return mac(master, "enrolld keywrap key", asset_id, key_id, key, e);
}

int
keywrap_new_id(const struct buf *master, int64_t asset_id, uint8_t id[KEYWRAP_ID_LEN], struct err *e)
{
	uint8_t tag[32];

	if (random_octets(id, KEYWRAP_ID_LEN - TAG_LEN, e) != 0 ||
	    mac(master, "enrolld keywrap id", asset_id, bytes_of(id, KEYWRAP_ID_LEN - TAG_LEN), tag, e) != 0)
		return -1;
	memcpy(id + KEYWRAP_ID_LEN - TAG_LEN, tag, TAG_LEN);
	return 0;
}

int
secret_hash(const uint8_t salt[16], const char *secret, uint8_t out[32], struct err *e)
{
	if (HMAC(ossl_sha256(), salt, 16, (const uint8_t *)secret, strlen(secret), out, NULL) == NULL)
		return err_ossl(e, ERR_BUG, "hashing a secret");
	return 0;
}
