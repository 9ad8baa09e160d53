/* RSA as OpenSSL's EVP does it: whatever one makes or takes, so does the other. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "base/der.h"
#include "base/rsa.h"

#define OCTETS 256

static EVP_PKEY *key;
static struct rsa_public *rsa;

static EVP_PKEY *
make_key(int bits, unsigned long exponent)
{
	CLEANUP(EVP_PKEY_CTX) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	BIGNUM *e = BN_new();
	EVP_PKEY *out = NULL;

	assert_int_equal(BN_set_word(e, exponent), 1);
	assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, bits), 1);
	assert_int_equal(EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e), 1);
	assert_int_equal(EVP_PKEY_keygen(ctx, &out), 1);
	BN_free(e);
	return out;
}

static void
put_spki(EVP_PKEY *of, struct buf *out)
{
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(of, &der);

	assert_true(len > 0);
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
}

static struct rsa_public *
prepared(EVP_PKEY *of)
{
	CLEANUP(buf) struct buf spki = { 0 };

	put_spki(of, &spki);
	return rsa_public_new(buf_bytes(&spki));
}

static int
setup(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(ossl_init(&e), 0);
	assert_int_equal(key_init(&e), 0);
	key = make_key(2048, 65537);
	rsa = prepared(key);
	assert_non_null(rsa);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rsa_public_free(rsa);
	EVP_PKEY_free(key);
	return 0;
}

static const EVP_MD *(*const digests[])(void) = { EVP_sha256, EVP_sha384, EVP_sha512, EVP_sha1, EVP_md5 };

static size_t
sign(EVP_PKEY *with, const EVP_MD *md, struct bytes data, uint8_t *out, size_t room)
{
	CLEANUP(EVP_MD_CTX) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t len = room;

	assert_int_equal(EVP_DigestSignInit(ctx, NULL, md, NULL, with), 1);
	assert_int_equal(EVP_DigestSign(ctx, out, &len, data.at, data.len), 1);
	return len;
}

/* A whole block of the caller's choice, raised to the private exponent. */
static void
sign_block(const uint8_t block[OCTETS], uint8_t out[OCTETS])
{
	CLEANUP(EVP_PKEY_CTX) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	size_t len = OCTETS;

	assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING), 1);
	assert_int_equal(EVP_PKEY_sign(ctx, out, &len, block, OCTETS), 1);
}

/* What was in a signature's block. */
static void
open_block(const uint8_t signature[OCTETS], uint8_t out[OCTETS])
{
	CLEANUP(EVP_PKEY_CTX) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	size_t len = OCTETS;

	assert_int_equal(EVP_PKEY_encrypt_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING), 1);
	assert_int_equal(EVP_PKEY_encrypt(ctx, out, &len, signature, OCTETS), 1);
}

static void
a_signature_of_each_digest_is_taken_and_one_of_another_hash_is_not(void **state)
{
	uint8_t hash[EVP_MAX_MD_SIZE], signature[OCTETS];
	size_t i, k, len;

	(void)state;
	for (i = 0; i < sizeof digests / sizeof digests[0]; i++) {
		const EVP_MD *md = digests[i]();

		memset(hash, (int)(i + 1), sizeof hash);
		len = (size_t)EVP_MD_get_size(md);
		assert_int_equal(sign(key, md, bytes_of(hash, len), signature, sizeof signature), OCTETS);
		assert_true(rsa_public_knows(md));
		for (k = 0; k < sizeof digests / sizeof digests[0]; k++)
			assert_int_equal(rsa_public_verify(rsa, digests[k](), bytes_of(hash, len), bytes_of(signature, OCTETS)),
				i == k);
		hash[len - 1] ^= 1;
		assert_false(rsa_public_verify(rsa, md, bytes_of(hash, len), bytes_of(signature, OCTETS)));
	}
	assert_false(rsa_public_knows(EVP_sha224()));
	assert_false(rsa_public_knows(NULL));
	assert_int_equal(sign(key, EVP_sha224(), bytes_of(hash, 32), signature, sizeof signature), OCTETS);
	assert_false(rsa_public_verify(rsa, EVP_sha224(), bytes_of(hash, 32), bytes_of(signature, OCTETS)));
}

static void
every_octet_of_the_block_counts(void **state)
{
	uint8_t hash[32] = { 7 }, signature[OCTETS], block[OCTETS], changed[OCTETS];
	size_t i;

	(void)state;
	(void)sign(key, ossl_sha256(), bytes_of(hash, 32), signature, sizeof signature);
	open_block(signature, block);
	sign_block(block, changed);
	assert_true(rsa_public_verify(rsa, ossl_sha256(), bytes_of(hash, 32), bytes_of(changed, OCTETS)));
	/* The first octet is 0: with any other the block may not be less than the modulus. */
	for (i = 1; i < OCTETS; i++) {
		block[i] ^= 1;
		sign_block(block, changed);
		assert_false(rsa_public_verify(rsa, ossl_sha256(), bytes_of(hash, 32), bytes_of(changed, OCTETS)));
		block[i] ^= 1;
	}
}

/* Bleichenbacher's forgery of 2006 and its kin: a short padding, and whatever one likes behind the digest. */
static void
octets_behind_the_digest_are_refused(void **state)
{
	uint8_t hash[32] = { 7 }, signature[OCTETS], block[OCTETS], forged[OCTETS] = { 0 };

	(void)state;
	(void)sign(key, ossl_sha256(), bytes_of(hash, 32), signature, sizeof signature);
	open_block(signature, block);
	memset(forged, 0xff, 10);
	forged[0] = 0;
	forged[1] = 1;
	memcpy(forged + 10, block + OCTETS - 52, 52); /* the 00, the DigestInfo */
	sign_block(forged, signature);
	assert_false(rsa_public_verify(rsa, ossl_sha256(), bytes_of(hash, 32), bytes_of(signature, OCTETS)));
}

/* RFC 8017, section 8.2.2, step 1, and 5.2.2, step 1: "If the signature representative s is not between 0 and n - 1" */
static void
a_signature_of_another_length_or_beyond_the_modulus_is_refused(void **state)
{
	uint8_t hash[32] = { 7 }, signature[OCTETS + 1] = { 0 }, modulus[OCTETS];
	BIGNUM *n = NULL, *s;

	(void)state;
	(void)sign(key, ossl_sha256(), bytes_of(hash, 32), signature + 1, OCTETS);
	assert_true(rsa_public_verify(rsa, ossl_sha256(), bytes_of(hash, 32), bytes_of(signature + 1, OCTETS)));
	assert_false(rsa_public_verify(rsa, ossl_sha256(), bytes_of(hash, 32), bytes_of(signature, OCTETS + 1)));
	assert_false(rsa_public_verify(rsa, ossl_sha256(), bytes_of(hash, 32), bytes_of(signature + 1, OCTETS - 1)));
	assert_false(rsa_public_verify(rsa, ossl_sha256(), bytes_of(hash, 32), bytes_of(NULL, 0)));
	assert_int_equal(EVP_PKEY_get_bn_param(key, "n", &n), 1);
	assert_int_equal(BN_bn2binpad(n, modulus, OCTETS), OCTETS);
	assert_false(rsa_public_verify(rsa, ossl_sha256(), bytes_of(hash, 32), bytes_of(modulus, OCTETS)));
	/* s + n has the same power; it only fits where the modulus leaves room. */
	s = BN_bin2bn(signature + 1, OCTETS, NULL);
	assert_int_equal(BN_add(s, s, n), 1);
	if (BN_num_bytes(s) == OCTETS) {
		assert_int_equal(BN_bn2binpad(s, modulus, OCTETS), OCTETS);
		assert_false(rsa_public_verify(rsa, ossl_sha256(), bytes_of(hash, 32), bytes_of(modulus, OCTETS)));
	}
	BN_free(s);
	BN_free(n);
}

static void
a_signature_of_another_key_is_refused(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *other = make_key(2048, 65537);
	uint8_t hash[32] = { 7 }, signature[OCTETS];

	(void)state;
	(void)sign(other, ossl_sha256(), bytes_of(hash, 32), signature, sizeof signature);
	assert_false(rsa_public_verify(rsa, ossl_sha256(), bytes_of(hash, 32), bytes_of(signature, OCTETS)));
}

static void
a_digest_too_long_for_a_short_key_is_refused(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *small = make_key(1024, 65537);
	struct rsa_public *short_one = prepared(small);
	uint8_t hash[64] = { 7 }, signature[128];

	(void)state;
	assert_non_null(short_one);
	(void)sign(small, ossl_sha512(), bytes_of(hash, 64), signature, sizeof signature);
	assert_true(rsa_public_verify(short_one, ossl_sha512(), bytes_of(hash, 64), bytes_of(signature, 128)));
	assert_false(rsa_public_verify(short_one, ossl_sha512(), bytes_of(hash, 63), bytes_of(signature, 128)));
	rsa_public_free(short_one);
}

static void
other_keys_are_left_to_evp(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *ec = EVP_EC_gen("P-256");
	CLEANUP(EVP_PKEY) EVP_PKEY *three = make_key(2048, 3);
	CLEANUP(EVP_PKEY) EVP_PKEY *large = make_key(2048, 0x100000001ul);

	(void)state;
	assert_null(prepared(ec));
	assert_null(prepared(three));
	assert_null(prepared(large));
	assert_int_equal(ERR_peek_error(), 0);
}

static void
what_is_encrypted_is_decrypted_and_padded_anew_each_time(void **state)
{
	CLEANUP(EVP_PKEY_CTX) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	uint8_t plain[OCTETS - 11], out[OCTETS], before[OCTETS] = { 0 }, back[OCTETS];
	size_t lengths[] = { 1, 16, 32, OCTETS - 11 }, i, len, back_len;
	struct err e;

	(void)state;
	memset(plain, 0x5c, sizeof plain);
	assert_int_equal(EVP_PKEY_decrypt_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING), 1);
	for (i = 0; i < 40; i++) {
		struct bytes text = bytes_of(plain, lengths[i % 4]);

		len = 0;
		assert_int_equal(rsa_public_encrypt(rsa, text, out, &len, &e), 0);
		assert_int_equal(len, OCTETS);
		assert_memory_not_equal(out, before, OCTETS);
		memcpy(before, out, OCTETS);
		back_len = sizeof back;
		assert_int_equal(EVP_PKEY_decrypt(ctx, back, &back_len, out, len), 1);
		assert_int_equal(back_len, text.len);
		assert_memory_equal(back, plain, text.len);
	}
	assert_int_equal(rsa_public_encrypt(rsa, bytes_of(before, OCTETS - 10), out, &len, &e), -1);
	assert_int_equal(e.code, ERR_BUG);
}

/* What certificates and requests are compared by. */
static void
a_key_is_its_own_octets_and_has_the_facts_that_others_find(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *small = make_key(1024, 65537);
	CLEANUP(EVP_PKEY) EVP_PKEY *decoded = NULL;
	CLEANUP(rsa_public) struct rsa_public *short_one = prepared(small);
	CLEANUP(buf) struct buf spki = { 0 };
	struct key_facts facts, looked = { 0 };
	struct bytes octets = { 0 };
	struct err e;

	(void)state;
	put_spki(small, &spki);
	assert_true(rsa_public_is(short_one, buf_bytes(&spki)));
	assert_false(rsa_public_is(rsa, buf_bytes(&spki)));
	assert_false(rsa_public_is(NULL, buf_bytes(&spki)));
	assert_int_equal(key_from_spki(buf_bytes(&spki), &decoded, &facts, &e), 0);
	assert_int_equal(rsa_public_facts(short_one)->kind, KEY_RSA);
	assert_int_equal(rsa_public_facts(short_one)->bits, facts.bits);
	assert_string_equal(rsa_public_facts(short_one)->weak, facts.weak);
	assert_true(rsa_public_look(buf_bytes(&spki), &octets, &looked));
	assert_int_equal(looked.bits, 1024);
	assert_string_equal(looked.weak, facts.weak);
	assert_int_equal(octets.at[0], DER_SEQUENCE);
	assert_ptr_equal(octets.at + octets.len, spki.at + spki.len);
	assert_null(rsa_public_facts(rsa)->weak);
}

static void
put_key(struct buf *out, struct bytes modulus, uint8_t unused, bool null)
{
	static const uint8_t exponent[] = { 1, 0, 1 };
	size_t outer = der_begin(out, DER_SEQUENCE), inner = der_begin(out, DER_SEQUENCE), pair;

	der_put_oid(out, "1.2.840.113549.1.1.1");
	if (null)
		der_put(out, 0x05, bytes_of(NULL, 0));
	der_end(out, inner);
	inner = der_begin(out, DER_BIT_STRING);
	buf_append_u8(out, unused);
	pair = der_begin(out, DER_SEQUENCE);
	der_put(out, DER_INTEGER, modulus);
	der_put(out, DER_INTEGER, bytes_of(exponent, sizeof exponent));
	der_end(out, pair);
	der_end(out, inner);
	der_end(out, outer);
}

/* Each differs from the first in one thing. */
static void
keys_in_other_spellings_are_left_to_evp(void **state)
{
	static const struct {
		size_t skip, len; /* of 00 00 ff ff ... ff */
		uint8_t last, unused;
		bool null, taken;
	} kinds[] = {
		{ 1, 257, 0xff, 0, true, true },
		{ 0, 258, 0xff, 0, true, false },  /* two zeros */
		{ 2, 256, 0xff, 0, true, false },  /* negative */
		{ 1, 257, 0xfe, 0, true, false },  /* even */
		{ 1, 257, 0xff, 1, true, false },  /* not whole octets */
		{ 1, 257, 0xff, 0, false, false }, /* no parameters */
		{ 1, 128, 0xff, 0, true, false },  /* 1016 bits */
		{ 1, 1025, 0xff, 0, true, true },
		{ 1, 1026, 0xff, 0, true, false }, /* 8200 bits */
	};
	uint8_t modulus[1100];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		CLEANUP(rsa_public) struct rsa_public *made = NULL;
		CLEANUP(buf) struct buf spki = { 0 };

		memset(modulus, 0xff, sizeof modulus);
		modulus[0] = modulus[1] = 0;
		modulus[kinds[i].skip + kinds[i].len - 1] = kinds[i].last;
		put_key(&spki, bytes_of(modulus + kinds[i].skip, kinds[i].len), kinds[i].unused, kinds[i].null);
		made = rsa_public_new(buf_bytes(&spki));
		assert_int_equal(made != NULL, kinds[i].taken);
		assert_null(rsa_public_new(bytes_of(spki.at, spki.len - 1)));
		buf_append_u8(&spki, 0);
		assert_null(rsa_public_new(buf_bytes(&spki)));
	}
	assert_null(rsa_public_new(bytes_of(NULL, 0)));
}

#define TEST(name) cmocka_unit_test(name)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_signature_of_each_digest_is_taken_and_one_of_another_hash_is_not),
		TEST(every_octet_of_the_block_counts),
		TEST(octets_behind_the_digest_are_refused),
		TEST(a_signature_of_another_length_or_beyond_the_modulus_is_refused),
		TEST(a_signature_of_another_key_is_refused),
		TEST(a_digest_too_long_for_a_short_key_is_refused),
		TEST(other_keys_are_left_to_evp),
		TEST(what_is_encrypted_is_decrypted_and_padded_anew_each_time),
		TEST(a_key_is_its_own_octets_and_has_the_facts_that_others_find),
		TEST(keys_in_other_spellings_are_left_to_evp),
	};

	return cmocka_run_group_tests_name("scep_rsa", tests, setup, teardown);
}
