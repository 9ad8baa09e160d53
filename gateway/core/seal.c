#define _GNU_SOURCE
#include "gateway/core/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/kdf.h>

#include "gateway/outbound/secret.h"

#define KEY_LEN   32
#define NONCE_LEN 12
#define TAG_LEN   16

static const uint8_t magic[4] = { 'S', 'E', 'A', '1' };
#define HEAD_LEN (sizeof magic + NONCE_LEN)

struct seal {
	uint8_t key[KEY_LEN];
};

DEFINE_CLEANUP(EVP_CIPHER_CTX, EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free);

/* The whole key or no file: one that a crash cut short would make every start fail. */
static int
make_key(const char *path, struct err *e)
{
	uint8_t key[KEY_LEN];
	char temporary[4096];
	int fd, n = snprintf(temporary, sizeof temporary, "%s.new", path);
	bool written;

	if (n < 0 || (size_t)n >= sizeof temporary)
		return err_set(e, ERR_LIMIT, "%s: too long a name", path);
	if (random_octets(key, sizeof key, e) != 0)
		return -1;
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	written = fd >= 0 && write(fd, key, sizeof key) == (ssize_t)sizeof key && fsync(fd) == 0;
	OPENSSL_cleanse(key, sizeof key);
	if (fd >= 0)
		(void)close(fd);
	if (!written || rename(temporary, path) != 0)
		return err_set(e, ERR_UPSTREAM, "%s: %s", path, strerror(errno));
	return 0;
}

int
seal_load(const char *path, struct seal **out, struct err *e)
{
	CLEANUP(secret_buf) struct buf key = { 0 };
	struct seal *seal;

	if (access(path, F_OK) != 0 && errno == ENOENT && make_key(path, e) != 0)
		return -1;
	if (secret_read(path, KEY_LEN, KEY_LEN, &key, e) != 0)
		return -1;
	seal = calloc(1, sizeof *seal);
	if (seal == NULL)
		return err_set(e, ERR_NOMEM, "no memory for a key");
	memcpy(seal->key, key.at, KEY_LEN);
	*out = seal;
	return 0;
}

void
seal_free(struct seal *seal)
{
	if (seal == NULL)
		return;
	OPENSSL_cleanse(seal, sizeof *seal);
	free(seal);
}

bool
seal_is(struct bytes octets)
{
	return octets.len > HEAD_LEN + TAG_LEN && memcmp(octets.at, magic, sizeof magic) == 0;
}

int
seal_close(const struct seal *seal, struct bytes context, struct bytes plain, struct buf *out, struct err *e)
{
	CLEANUP(EVP_CIPHER_CTX) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t nonce[NONCE_LEN], tag[TAG_LEN], *text;
	int len = 0, last = 0;

	if (plain.len > INT32_MAX || context.len > INT32_MAX)
		return err_set(e, ERR_LIMIT, "too much to seal");
	if (random_octets(nonce, sizeof nonce, e) != 0)
		return -1;
	text = malloc(plain.len + 1);
	if (text == NULL || ctx == NULL || EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, seal->key, nonce) != 1 ||
	    EVP_EncryptUpdate(ctx, NULL, &len, context.at, (int)context.len) != 1 ||
	    EVP_EncryptUpdate(ctx, text, &len, plain.at, (int)plain.len) != 1 ||
	    EVP_EncryptFinal_ex(ctx, text + len, &last) != 1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, tag) != 1) {
		free(text);
		return err_ossl(e, ERR_BUG, "sealing");
	}
	buf_append(out, magic, sizeof magic);
	buf_append(out, nonce, sizeof nonce);
	buf_append(out, text, plain.len);
	buf_append(out, tag, sizeof tag);
	free(text);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory to seal") : 0;
}

int
seal_open(const struct seal *seal, struct bytes context, struct bytes sealed, struct buf *out, struct err *e)
{
	CLEANUP(EVP_CIPHER_CTX) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	size_t plain_len;
	uint8_t tag[TAG_LEN], *text;
	int len = 0, last = 0;

	if (!seal_is(sealed) || sealed.len > INT32_MAX || context.len > INT32_MAX)
		return err_set(e, ERR_UPSTREAM, "these octets were not sealed here");
	plain_len = sealed.len - HEAD_LEN - TAG_LEN;
	memcpy(tag, sealed.at + HEAD_LEN + plain_len, TAG_LEN);
	text = malloc(plain_len);
	if (text == NULL || ctx == NULL ||
	    EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, seal->key, sealed.at + sizeof magic) != 1 ||
	    EVP_DecryptUpdate(ctx, NULL, &len, context.at, (int)context.len) != 1 ||
	    EVP_DecryptUpdate(ctx, text, &len, sealed.at + HEAD_LEN, (int)plain_len) != 1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag) != 1 ||
	    EVP_DecryptFinal_ex(ctx, text + len, &last) != 1) {
		free(text);
		return err_ossl(e, ERR_UPSTREAM, "a stored request was sealed with another key, or was changed");
	}
	buf_append(out, text, plain_len);
	OPENSSL_cleanse(text, plain_len);
	free(text);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory to unseal") : 0;
}

int
seal_derive(const struct seal *seal, const char *purpose, uint8_t *out, size_t len, struct err *e)
{
	CLEANUP(EVP_PKEY_CTX) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);

	if (ctx == NULL || EVP_PKEY_derive_init(ctx) != 1 || EVP_PKEY_CTX_set_hkdf_md(ctx, ossl_sha256()) != 1 ||
	    EVP_PKEY_CTX_set1_hkdf_key(ctx, seal->key, KEY_LEN) != 1 ||
	    EVP_PKEY_CTX_add1_hkdf_info(ctx, (const unsigned char *)purpose, (int)strlen(purpose)) != 1 ||
	    EVP_PKEY_derive(ctx, out, &len) != 1)
		return err_ossl(e, ERR_BUG, "deriving a key");
	return 0;
}
