#include "scep/rsa.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "base/key.h"

#define EXPONENT          65537
#define EXPONENT_SQUARES  16 /* 65537 is 2 to the 16th, plus 1 */
#define OCTETS_MAX        (RSA_BITS_MAX / 8)
#define PADDING_MIN       8  /* octets between the two marks, in both kinds of block */
#define BLOCK_MARKS       3  /* 00 and 01 or 02 before them, 00 after */

struct scep_rsa {
	BIGNUM *modulus;
	BN_MONT_CTX *mont;
	size_t octets;
};

DEFINE_CLEANUP(BIGNUM, BIGNUM *, BN_clear_free);
DEFINE_CLEANUP(BN_CTX, BN_CTX *, BN_CTX_free);

/* DigestInfo up to the digest (RFC 8017, section 9.2, note 1). */
static const struct prefix {
	unsigned digest;
	uint8_t len, hash_len, der[20];
} prefixes[] = {
	{ SCEP_SHA256, 19, 32,
		{ 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
			0x04, 0x20 } },
	{ SCEP_SHA384, 19, 48,
		{ 0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00,
			0x04, 0x30 } },
	{ SCEP_SHA512, 19, 64,
		{ 0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00,
			0x04, 0x40 } },
	{ SCEP_SHA1, 15, 20,
		{ 0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14 } },
	{ SCEP_MD5, 18, 16,
		{ 0x30, 0x20, 0x30, 0x0c, 0x06, 0x08, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x05, 0x05, 0x00, 0x04,
			0x10 } },
};

/* Where a key keeps it. Written by scep_rsa_init() before there are threads. */
static int place = -1;

static void
kept_free(void *parent, void *kept, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
	(void)parent;
	(void)data;
	(void)index;
	(void)argl;
	(void)argp;
	scep_rsa_free(kept);
}

/* A copy of the key makes its own. */
static int
kept_copy(CRYPTO_EX_DATA *to, const CRYPTO_EX_DATA *from, void **kept, int index, long argl, void *argp)
{
	(void)to;
	(void)from;
	(void)index;
	(void)argl;
	(void)argp;
	*kept = NULL;
	return 1;
}

int
scep_rsa_init(struct err *e)
{
	if (place < 0)
		place = CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_EVP_PKEY, 0, NULL, NULL, kept_copy, kept_free);
	return place < 0 ? err_ossl(e, ERR_NOMEM, "a place for prepared keys") : 0;
}

void
scep_rsa_free(struct scep_rsa *rsa)
{
	if (rsa == NULL)
		return;
	BN_free(rsa->modulus);
	BN_MONT_CTX_free(rsa->mont);
	free(rsa);
}

/* The modulus, NULL when key is not RSA with our exponent. */
static BIGNUM *
modulus_of(EVP_PKEY *key)
{
	uint8_t octets[OCTETS_MAX];
	uint64_t exponent = 0;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_N, octets, sizeof octets),
		OSSL_PARAM_construct_uint64(OSSL_PKEY_PARAM_RSA_E, &exponent),
		OSSL_PARAM_construct_end(),
	};
	BIGNUM *modulus = NULL;

	if (EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) >= RSA_BITS_MIN &&
	    EVP_PKEY_get_bits(key) <= RSA_BITS_MAX && EVP_PKEY_get_params(key, params) == 1 &&
	    OSSL_PARAM_modified(&params[0]) && OSSL_PARAM_modified(&params[1]) && exponent == EXPONENT)
		(void)OSSL_PARAM_get_BN(&params[0], &modulus);
	return modulus;
}

static bool
prepare(struct scep_rsa *rsa, EVP_PKEY *key)
{
	CLEANUP(BN_CTX) BN_CTX *ctx = BN_CTX_new();

	rsa->modulus = modulus_of(key);
	rsa->mont = BN_MONT_CTX_new();
	if (ctx == NULL || rsa->modulus == NULL || rsa->mont == NULL || !BN_is_odd(rsa->modulus) ||
	    BN_num_bits(rsa->modulus) != EVP_PKEY_get_bits(key) || BN_MONT_CTX_set(rsa->mont, rsa->modulus, ctx) != 1)
		return false;
	rsa->octets = (size_t)BN_num_bytes(rsa->modulus);
	return true;
}

struct scep_rsa *
scep_rsa_new(EVP_PKEY *key)
{
	struct scep_rsa *rsa = calloc(1, sizeof *rsa);

	if (rsa != NULL && !prepare(rsa, key)) {
		scep_rsa_free(rsa);
		rsa = NULL;
	}
	ERR_clear_error();
	return rsa;
}

struct scep_rsa *
scep_rsa_keep(EVP_PKEY *key)
{
	struct scep_rsa *rsa = scep_rsa_get0(key);

	if (rsa != NULL || place < 0)
		return rsa;
	rsa = scep_rsa_new(key);
	if (rsa != NULL && EVP_PKEY_set_ex_data(key, place, rsa) == 1)
		return rsa;
	scep_rsa_free(rsa);
	ERR_clear_error();
	return NULL;
}

struct scep_rsa *
scep_rsa_get0(const EVP_PKEY *key)
{
	return place < 0 ? NULL : EVP_PKEY_get_ex_data(key, place);
}

/* x to the 65537th modulo the modulus, x being less than that, as rsa->octets octets. */
static bool
power(const struct scep_rsa *rsa, struct bytes x, uint8_t *out)
{
	CLEANUP(BIGNUM) BIGNUM *base = BN_bin2bn(x.at, (int)x.len, NULL);
	CLEANUP(BIGNUM) BIGNUM *product = BN_new();
	CLEANUP(BN_CTX) BN_CTX *ctx = BN_CTX_new();
	int i;

	if (base == NULL || product == NULL || ctx == NULL || BN_ucmp(base, rsa->modulus) >= 0 ||
	    BN_to_montgomery(product, base, rsa->mont, ctx) != 1)
		return false;
	for (i = 0; i < EXPONENT_SQUARES; i++)
		if (BN_mod_mul_montgomery(product, product, product, rsa->mont, ctx) != 1)
			return false;
	/* Of a factor in Montgomery's form and one that is not, the product is not. */
	return BN_mod_mul_montgomery(product, product, base, rsa->mont, ctx) == 1 &&
		BN_bn2binpad(product, out, (int)rsa->octets) == (int)rsa->octets;
}

static const struct prefix *
prefix_of(unsigned digest)
{
	size_t i;

	for (i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
		if (prefixes[i].digest == digest)
			return &prefixes[i];
	return NULL;
}

bool
scep_rsa_knows(unsigned digest)
{
	return prefix_of(digest) != NULL;
}

/* The block is made and compared, not taken apart: nothing in it can be overlooked (RFC 8017, section 8.2.2, step 4). */
bool
scep_rsa_verify(const struct scep_rsa *rsa, unsigned digest, struct bytes hash, struct bytes signature)
{
	const struct prefix *prefix = prefix_of(digest);
	uint8_t expected[OCTETS_MAX], found[OCTETS_MAX];
	size_t tail;
	bool good;

	if (prefix == NULL || hash.len != prefix->hash_len || signature.len != rsa->octets)
		return false;
	tail = (size_t)prefix->len + hash.len;
	if (rsa->octets < tail + PADDING_MIN + BLOCK_MARKS)
		return false;
	memset(expected, 0xff, rsa->octets);
	expected[0] = 0;
	expected[1] = 1;
	expected[rsa->octets - tail - 1] = 0;
	memcpy(expected + rsa->octets - tail, prefix->der, prefix->len);
	memcpy(expected + rsa->octets - hash.len, hash.at, hash.len);
	good = power(rsa, signature, found) && memcmp(found, expected, rsa->octets) == 0;
	ERR_clear_error();
	return good;
}

/* Random octets without a zero among them. */
static int
random_padding(uint8_t *out, size_t len, struct err *e)
{
	size_t i;

	if (random_octets(out, len, e) != 0)
		return -1;
	for (i = 0; i < len; i++)
		while (out[i] == 0)
			if (random_octets(out + i, 1, e) != 0)
				return -1;
	return 0;
}

int
scep_rsa_encrypt(const struct scep_rsa *rsa, struct bytes plain, uint8_t *out, size_t *len, struct err *e)
{
	uint8_t block[OCTETS_MAX];
	size_t padding;
	bool done;

	if (rsa->octets < plain.len + PADDING_MIN + BLOCK_MARKS)
		return err_set(e, ERR_BUG, "too much to encrypt with RSA");
	padding = rsa->octets - plain.len - BLOCK_MARKS;
	block[0] = 0;
	block[1] = 2;
	if (random_padding(block + 2, padding, e) != 0)
		return -1;
	block[2 + padding] = 0;
	memcpy(block + BLOCK_MARKS + padding, plain.at, plain.len);
	done = power(rsa, bytes_of(block, rsa->octets), out);
	OPENSSL_cleanse(block, sizeof block);
	if (!done)
		return err_ossl(e, ERR_NOMEM, "encrypting with RSA");
	*len = rsa->octets;
	return 0;
}
