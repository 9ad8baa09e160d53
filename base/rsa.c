#include "base/rsa.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/err.h>

#include "base/der.h"
#include "base/tlv.h"

#define EXPONENT_SQUARES  16 /* 65537 is 2 to the 16th, plus 1 */
#define OCTETS_MAX        (RSA_BITS_MAX / 8)
#define PADDING_MIN       8  /* octets between the two marks, in both kinds of block */
#define BLOCK_MARKS       3  /* 00 and 01 or 02 before them, 00 after */

struct rsa_public {
	BIGNUM *modulus;
	BN_MONT_CTX *mont;
	size_t octets;
	struct key_facts facts;
	struct buf spki;
};

DEFINE_CLEANUP(BIGNUM, BIGNUM *, BN_clear_free);
DEFINE_CLEANUP(BN_CTX, BN_CTX *, BN_CTX_free);

/* DigestInfo up to the digest (RFC 8017, section 9.2, note 1). */
static const struct prefix {
	int nid;
	uint8_t len, hash_len, der[20];
} prefixes[] = {
	{ NID_sha256, 19, 32,
		{ 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
			0x04, 0x20 } },
	{ NID_sha384, 19, 48,
		{ 0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00,
			0x04, 0x30 } },
	{ NID_sha512, 19, 64,
		{ 0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00,
			0x04, 0x40 } },
	{ NID_sha1, 15, 20,
		{ 0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14 } },
	{ NID_md5, 18, 16,
		{ 0x30, 0x20, 0x30, 0x0c, 0x06, 0x08, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x05, 0x05, 0x00, 0x04,
			0x10 } },
};

void
rsa_public_free(struct rsa_public *rsa)
{
	if (rsa == NULL)
		return;
	BN_free(rsa->modulus);
	BN_MONT_CTX_free(rsa->mont);
	buf_free(&rsa->spki);
	free(rsa);
}

/* RSAPublicKey (RFC 8017, appendix A.1.1) in its SubjectPublicKeyInfo, and the magnitude of the modulus. */
static bool
find_modulus(struct bytes spki, struct bytes *whole, struct bytes *modulus)
{
	static const uint8_t algorithm[] = { DER_SEQUENCE, 13, DER_OID, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01,
		0x01, 0x05, 0 };
	static const uint8_t exponent[] = { DER_INTEGER, 3, 1, 0, 1 };
	struct bytes outer, named, string, key;

	if (!tlv_take(&spki, DER_SEQUENCE, &outer, NULL) || spki.len != 0 ||
	    !tlv_take(&outer, DER_SEQUENCE, NULL, &named) || !bytes_equal(named, bytes_of(algorithm, sizeof algorithm)) ||
	    !tlv_take(&outer, DER_BIT_STRING, &string, NULL) || outer.len != 0 || string.len == 0 || string.at[0] != 0)
		return false;
	string = bytes_of(string.at + 1, string.len - 1);
	*whole = string;
	if (!tlv_take(&string, DER_SEQUENCE, &key, NULL) || string.len != 0 ||
	    !tlv_take(&key, DER_INTEGER, modulus, NULL) || !bytes_equal(key, bytes_of(exponent, sizeof exponent)))
		return false;
	/* Not negative, and no more zeros than the sign takes. */
	if (modulus->len < 2 || modulus->at[0] > 0x7f || (modulus->at[0] == 0 && modulus->at[1] < 0x80))
		return false;
	if (modulus->at[0] == 0)
		*modulus = bytes_of(modulus->at + 1, modulus->len - 1);
	return modulus->len >= RSA_BITS_MIN / 8 && modulus->len <= OCTETS_MAX;
}

static bool
facts_of(const BIGNUM *modulus, struct key_facts *facts)
{
	*facts = (struct key_facts){ .kind = KEY_RSA, .bits = BN_num_bits(modulus),
		.weak = key_modulus_weakness(modulus) };
	return facts->bits >= RSA_BITS_MIN && BN_is_odd(modulus);
}

bool
rsa_public_look(struct bytes spki, struct bytes *key, struct key_facts *facts)
{
	CLEANUP(BIGNUM) BIGNUM *n = NULL;
	struct bytes modulus;

	if (!find_modulus(spki, key, &modulus))
		return false;
	n = BN_bin2bn(modulus.at, (int)modulus.len, NULL);
	return n != NULL && facts_of(n, facts);
}

static bool
prepare(struct rsa_public *rsa, struct bytes spki)
{
	CLEANUP(BN_CTX) BN_CTX *ctx = NULL;
	struct bytes whole, modulus;

	if (!find_modulus(spki, &whole, &modulus))
		return false;
	ctx = BN_CTX_new();
	rsa->modulus = BN_bin2bn(modulus.at, (int)modulus.len, NULL);
	rsa->mont = BN_MONT_CTX_new();
	if (ctx == NULL || rsa->modulus == NULL || rsa->mont == NULL || !facts_of(rsa->modulus, &rsa->facts) ||
	    BN_MONT_CTX_set(rsa->mont, rsa->modulus, ctx) != 1)
		return false;
	rsa->octets = modulus.len;
	buf_append_bytes(&rsa->spki, spki);
	return !buf_failed(&rsa->spki);
}

struct rsa_public *
rsa_public_new(struct bytes spki)
{
	struct rsa_public *rsa = calloc(1, sizeof *rsa);

	if (rsa != NULL && prepare(rsa, spki))
		return rsa;
	rsa_public_free(rsa);
	ERR_clear_error();
	return NULL;
}

bool
rsa_public_is(const struct rsa_public *rsa, struct bytes spki)
{
	return rsa != NULL && bytes_equal(buf_bytes(&rsa->spki), spki);
}

const struct key_facts *
rsa_public_facts(const struct rsa_public *rsa)
{
	return &rsa->facts;
}

/* x to the 65537th modulo the modulus, x being less than that, as rsa->octets octets. */
static bool
power(const struct rsa_public *rsa, struct bytes x, uint8_t *out)
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
prefix_of(const EVP_MD *md)
{
	int nid = md == NULL ? NID_undef : EVP_MD_get_type(md);
	size_t i;

	for (i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
		if (nid != NID_undef && prefixes[i].nid == nid)
			return &prefixes[i];
	return NULL;
}

bool
rsa_public_knows(const EVP_MD *md)
{
	return prefix_of(md) != NULL;
}

/* The block is made and compared, not taken apart: nothing in it can be overlooked (RFC 8017, section 8.2.2, step 4). */
bool
rsa_public_verify(const struct rsa_public *rsa, const EVP_MD *md, struct bytes data, struct bytes signature)
{
	const struct prefix *prefix = prefix_of(md);
	uint8_t expected[OCTETS_MAX], found[OCTETS_MAX];
	unsigned hash_len = 0;
	size_t tail;
	bool good;

	if (prefix == NULL || signature.len != rsa->octets)
		return false;
	tail = (size_t)prefix->len + prefix->hash_len;
	if (rsa->octets < tail + PADDING_MIN + BLOCK_MARKS)
		return false;
	memset(expected, 0xff, rsa->octets);
	expected[0] = 0;
	expected[1] = 1;
	expected[rsa->octets - tail - 1] = 0;
	memcpy(expected + rsa->octets - tail, prefix->der, prefix->len);
	good = EVP_Digest(data.at, data.len, expected + rsa->octets - prefix->hash_len, &hash_len, md, NULL) == 1 &&
		hash_len == prefix->hash_len && power(rsa, signature, found) && memcmp(found, expected, rsa->octets) == 0;
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
rsa_public_encrypt(const struct rsa_public *rsa, struct bytes plain, uint8_t *out, size_t *len, struct err *e)
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
