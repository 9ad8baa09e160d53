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

#include "base/key.h"
#include "scep/rsa.h"

#define OCTETS 256

static EVP_PKEY *key;
static struct scep_rsa *rsa;

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

static int
setup(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(ossl_init(&e), 0);
	assert_int_equal(key_init(&e), 0);
	assert_int_equal(scep_init(&e), 0);
	key = make_key(2048, 65537);
	rsa = scep_rsa_new(key);
	assert_non_null(rsa);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	scep_rsa_free(rsa);
	EVP_PKEY_free(key);
	return 0;
}

static const unsigned digests[] = { SCEP_SHA256, SCEP_SHA384, SCEP_SHA512, SCEP_SHA1, SCEP_MD5 };

static size_t
sign(EVP_PKEY *with, const EVP_MD *md, struct bytes hash, uint8_t *out, size_t room)
{
	CLEANUP(EVP_PKEY_CTX) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(with, NULL);
	size_t len = room;

	assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING), 1);
	if (md != NULL)
		assert_int_equal(EVP_PKEY_CTX_set_signature_md(ctx, md), 1);
	assert_int_equal(EVP_PKEY_sign(ctx, out, &len, hash.at, hash.len), 1);
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
		const EVP_MD *md = scep_digest(digests[i]);

		memset(hash, (int)(i + 1), sizeof hash);
		len = (size_t)EVP_MD_get_size(md);
		assert_int_equal(sign(key, md, bytes_of(hash, len), signature, sizeof signature), OCTETS);
		assert_true(scep_rsa_knows(digests[i]));
		for (k = 0; k < sizeof digests / sizeof digests[0]; k++)
			assert_int_equal(scep_rsa_verify(rsa, digests[k], bytes_of(hash, len), bytes_of(signature, OCTETS)),
				i == k);
		hash[len - 1] ^= 1;
		assert_false(scep_rsa_verify(rsa, digests[i], bytes_of(hash, len), bytes_of(signature, OCTETS)));
	}
	assert_false(scep_rsa_knows(SCEP_SHA256 | SCEP_SHA1));
	assert_false(scep_rsa_knows(0));
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
	assert_true(scep_rsa_verify(rsa, SCEP_SHA256, bytes_of(hash, 32), bytes_of(changed, OCTETS)));
	/* The first octet is 0: with any other the block may not be less than the modulus. */
	for (i = 1; i < OCTETS; i++) {
		block[i] ^= 1;
		sign_block(block, changed);
		assert_false(scep_rsa_verify(rsa, SCEP_SHA256, bytes_of(hash, 32), bytes_of(changed, OCTETS)));
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
	assert_false(scep_rsa_verify(rsa, SCEP_SHA256, bytes_of(hash, 32), bytes_of(signature, OCTETS)));
}

/* RFC 8017, section 8.2.2, step 1, and 5.2.2, step 1: "If the signature representative s is not between 0 and n - 1" */
static void
a_signature_of_another_length_or_beyond_the_modulus_is_refused(void **state)
{
	uint8_t hash[32] = { 7 }, signature[OCTETS + 1] = { 0 }, modulus[OCTETS];
	BIGNUM *n = NULL, *s;

	(void)state;
	(void)sign(key, ossl_sha256(), bytes_of(hash, 32), signature + 1, OCTETS);
	assert_true(scep_rsa_verify(rsa, SCEP_SHA256, bytes_of(hash, 32), bytes_of(signature + 1, OCTETS)));
	assert_false(scep_rsa_verify(rsa, SCEP_SHA256, bytes_of(hash, 32), bytes_of(signature, OCTETS + 1)));
	assert_false(scep_rsa_verify(rsa, SCEP_SHA256, bytes_of(hash, 32), bytes_of(signature + 1, OCTETS - 1)));
	assert_false(scep_rsa_verify(rsa, SCEP_SHA256, bytes_of(hash, 32), bytes_of(NULL, 0)));
	assert_int_equal(EVP_PKEY_get_bn_param(key, "n", &n), 1);
	assert_int_equal(BN_bn2binpad(n, modulus, OCTETS), OCTETS);
	assert_false(scep_rsa_verify(rsa, SCEP_SHA256, bytes_of(hash, 32), bytes_of(modulus, OCTETS)));
	/* s + n has the same power; it only fits where the modulus leaves room. */
	s = BN_bin2bn(signature + 1, OCTETS, NULL);
	assert_int_equal(BN_add(s, s, n), 1);
	if (BN_num_bytes(s) == OCTETS) {
		assert_int_equal(BN_bn2binpad(s, modulus, OCTETS), OCTETS);
		assert_false(scep_rsa_verify(rsa, SCEP_SHA256, bytes_of(hash, 32), bytes_of(modulus, OCTETS)));
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
	assert_false(scep_rsa_verify(rsa, SCEP_SHA256, bytes_of(hash, 32), bytes_of(signature, OCTETS)));
}

static void
a_digest_too_long_for_a_short_key_is_refused(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *small = make_key(1024, 65537);
	struct scep_rsa *short_one = scep_rsa_new(small);
	uint8_t hash[64] = { 7 }, signature[128];

	(void)state;
	assert_non_null(short_one);
	(void)sign(small, ossl_sha512(), bytes_of(hash, 64), signature, sizeof signature);
	assert_true(scep_rsa_verify(short_one, SCEP_SHA512, bytes_of(hash, 64), bytes_of(signature, 128)));
	assert_false(scep_rsa_verify(short_one, SCEP_SHA512, bytes_of(hash, 63), bytes_of(signature, 128)));
	scep_rsa_free(short_one);
}

static void
other_keys_are_left_to_evp(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *ec = EVP_EC_gen("P-256");
	CLEANUP(EVP_PKEY) EVP_PKEY *three = make_key(2048, 3);
	CLEANUP(EVP_PKEY) EVP_PKEY *large = make_key(2048, 0x100000001ul);

	(void)state;
	assert_null(scep_rsa_new(ec));
	assert_null(scep_rsa_new(three));
	assert_null(scep_rsa_new(large));
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
		assert_int_equal(scep_rsa_encrypt(rsa, text, out, &len, &e), 0);
		assert_int_equal(len, OCTETS);
		assert_memory_not_equal(out, before, OCTETS);
		memcpy(before, out, OCTETS);
		back_len = sizeof back;
		assert_int_equal(EVP_PKEY_decrypt(ctx, back, &back_len, out, len), 1);
		assert_int_equal(back_len, text.len);
		assert_memory_equal(back, plain, text.len);
	}
	assert_int_equal(scep_rsa_encrypt(rsa, bytes_of(before, OCTETS - 10), out, &len, &e), -1);
	assert_int_equal(e.code, ERR_BUG);
}

static void
a_kept_one_is_found_with_its_key_and_not_with_a_copy(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *mine = make_key(2048, 65537);
	CLEANUP(EVP_PKEY) EVP_PKEY *copy = NULL;
	const struct scep_rsa *kept;

	(void)state;
	assert_null(scep_rsa_get0(mine));
	kept = scep_rsa_keep(mine);
	assert_non_null(kept);
	assert_ptr_equal(scep_rsa_get0(mine), kept);
	assert_ptr_equal(scep_rsa_keep(mine), kept);
	copy = EVP_PKEY_dup(mine);
	assert_non_null(copy);
	assert_null(scep_rsa_get0(copy));
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
		TEST(a_kept_one_is_found_with_its_key_and_not_with_a_copy),
	};

	return cmocka_run_group_tests_name("scep_rsa", tests, setup, teardown);
}
