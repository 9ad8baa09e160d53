#include "devsim/keys.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "devsim/files.h"

#define RSA_SPEC_MIN 1024
#define RSA_SPEC_MAX 8192
#define PEM_WIDTH    64

DEFINE_CLEANUP(pkcs8, PKCS8_PRIV_KEY_INFO *, PKCS8_PRIV_KEY_INFO_free);

static const char *const curves[] = { "P-256", "P-384", "P-521" };

int
key_spec_parse(const char *text, struct key_spec *out, struct err *e)
{
	struct key_spec spec = { 0 };
	char *end = NULL;
	size_t i;

	for (i = 0; i < sizeof curves / sizeof curves[0]; i++)
		if (strncmp(text, "ec:", 3) == 0 && strcmp(text + 3, curves[i]) == 0) {
			memcpy(spec.curve, curves[i], 6);
			*out = spec;
			return 0;
		}
	if (strncmp(text, "rsa:", 4) == 0 && text[4] >= '1' && text[4] <= '9') {
		long bits = strtol(text + 4, &end, 10);

		spec.algorithm = KEY_ALGORITHM_RSA;
		if (*end == '\0' && bits >= RSA_SPEC_MIN && bits <= RSA_SPEC_MAX) {
			spec.bits = (int)bits;
			*out = spec;
			return 0;
		}
	}
	return err_set(e, ERR_MALFORMED, "key \"%.40s\" is none of " KEY_SPEC_HELP, text);
}

int
key_spec_of(EVP_PKEY *key, struct key_spec *out, struct err *e)
{
	struct key_spec spec = { .bits = EVP_PKEY_get_bits(key) };

	if (EVP_PKEY_is_a(key, "RSA"))
		spec.algorithm = KEY_ALGORITHM_RSA;
	else if (EVP_PKEY_is_a(key, "EC") && (spec.bits == 256 || spec.bits == 384 || spec.bits == 521))
		memcpy(spec.curve, spec.bits == 256 ? "P-256" : spec.bits == 384 ? "P-384" : "P-521", 6);
	else
		return err_set(e, ERR_UNSUPPORTED, "a key that is neither RSA nor EC on a NIST curve");
	*out = spec;
	return 0;
}

int
key_make(const struct key_spec *spec, EVP_PKEY **out, struct err *e)
{
	EVP_PKEY *key = spec->algorithm == KEY_ALGORITHM_RSA ? EVP_RSA_gen((unsigned)spec->bits) :
		EVP_EC_gen(spec->curve);

	if (key == NULL)
		return err_ossl(e, ERR_BUG, "making a key");
	*out = key;
	return 0;
}

void
pem_encode(struct buf *out, const char *label, struct bytes der)
{
	buf_printf(out, "-----BEGIN %s-----\n", label);
	base64_encode(out, der, PEM_WIDTH);
	buf_printf(out, "-----END %s-----\n", label);
}

int
key_to_pem(const EVP_PKEY *key, struct buf *out, struct err *e)
{
	CLEANUP(pkcs8) PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
	uint8_t *der = NULL;
	int len = info == NULL ? -1 : i2d_PKCS8_PRIV_KEY_INFO(info, &der);

	if (len <= 0)
		return err_ossl(e, ERR_BUG, "encoding a private key");
	pem_encode(out, "PRIVATE KEY", bytes_of(der, (size_t)len));
	OPENSSL_clear_free(der, (size_t)len);
	if (buf_failed(out))
		return err_set(e, ERR_NOMEM, "encoding a private key: no memory");
	return 0;
}

int
key_save(const char *path, const EVP_PKEY *key, struct err *e)
{
	struct buf pem = { 0 };
	int rc = key_to_pem(key, &pem, e);

	if (rc == 0)
		rc = file_write(path, buf_bytes(&pem), FILE_MODE_SECRET, e);
	buf_free_secret(&pem);
	return rc;
}

int
key_load(const char *path, EVP_PKEY **out, struct err *e)
{
	CLEANUP(BIO) BIO *in = BIO_new_file(path, "r");
	EVP_PKEY *key;

	if (in == NULL) {
		ERR_clear_error();
		return err_set(e, ERR_UPSTREAM, "%s: cannot be read", path);
	}
	/* An empty password: never ask on the terminal. */
	key = PEM_read_bio_PrivateKey(in, NULL, NULL, (void *)(uintptr_t) "");
	if (key == NULL)
		return err_ossl(e, ERR_MALFORMED, path);
	*out = key;
	return 0;
}

int
key_from_pkcs8(struct bytes der, EVP_PKEY **out, struct err *e)
{
	CLEANUP(pkcs8) PKCS8_PRIV_KEY_INFO *info = NULL;
	const uint8_t *at = der.at;
	EVP_PKEY *key;

	if (der.len == 0 || der.len > BUF_MAX)
		return err_set(e, ERR_MALFORMED, "private key of %zu octets", der.len);
	info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)der.len);
	if (info == NULL)
		return err_ossl(e, ERR_MALFORMED, "private key (PKCS#8)");
	if (at != der.at + der.len)
		return err_set(e, ERR_MALFORMED, "octets after the private key");
	key = EVP_PKCS82PKEY(info);
	if (key == NULL)
		return err_ossl(e, ERR_MALFORMED, "private key (PKCS#8)");
	*out = key;
	return 0;
}

int
key_spki(const EVP_PKEY *key, struct buf *out, struct err *e)
{
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(key, &der);

	if (len <= 0)
		return err_ossl(e, ERR_BUG, "encoding a public key");
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	if (buf_failed(out))
		return err_set(e, ERR_NOMEM, "encoding a public key: no memory");
	return 0;
}
