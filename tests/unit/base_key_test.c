#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include "base/der.h"
#include "base/key.h"
#include "tests/unit/est_make.h"

#define P256_HEAD 26 /* octets of a P-256 SubjectPublicKeyInfo before its point */

static int
setup(void **state)
{
	struct err e;

	(void)state;
	return ossl_init(&e) != 0 || key_init(&e) != 0 || key_init(&e) != 0;
}

static enum err_code
verdict(struct bytes spki, struct key_facts *facts)
{
	EVP_PKEY *key = NULL;
	struct err e = { 0 };
	int rc = key_from_spki(spki, &key, facts, &e);

	assert_int_equal(key != NULL, rc == 0);
	EVP_PKEY_free(key);
	return rc == 0 ? ERR_NONE : e.code;
}

/* Frees the key. */
static enum err_code
verdict_of(EVP_PKEY *key, struct key_facts *facts)
{
	struct buf spki = { 0 };
	enum err_code code;

	assert_non_null(key);
	make_spki(&spki, key);
	code = verdict(buf_bytes(&spki), facts);
	EVP_PKEY_free(key);
	buf_free(&spki);
	return code;
}

static void
key_from_spki_decodes_the_supported_kinds(void **state)
{
	static const struct {
		const char *type, *curve, *text;
		enum key_kind kind;
	} kinds[] = {
		{ "EC", "P-256", "EC P-256", KEY_EC_P256 },
		{ "EC", "P-384", "EC P-384", KEY_EC_P384 },
		{ "EC", "P-521", "EC P-521", KEY_EC_P521 },
		{ "ED25519", NULL, "Ed25519", KEY_ED25519 },
		{ "RSA", NULL, "RSA-2048", KEY_RSA },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		EVP_PKEY *made = strcmp(kinds[i].type, "RSA") == 0 ? EVP_RSA_gen(2048)
				 : kinds[i].curve != NULL         ? EVP_EC_gen(kinds[i].curve)
								  : EVP_PKEY_Q_keygen(NULL, NULL, kinds[i].type);
		EVP_PKEY *key = NULL;
		struct buf spki = { 0 };
		struct key_facts facts;
		struct err e = { 0 };
		char text[24];

		make_spki(&spki, made);
		assert_int_equal(key_from_spki(buf_bytes(&spki), &key, &facts, &e), 0);
		assert_int_equal(EVP_PKEY_eq(key, made), 1);
		assert_int_equal(facts.kind, kinds[i].kind);
		assert_null(facts.weak);
		key_text(&facts, text);
		assert_string_equal(text, kinds[i].text);
		EVP_PKEY_free(key);
		EVP_PKEY_free(made);
		buf_free(&spki);
	}
}

static void
key_from_spki_gives_no_private_key(void **state)
{
	EVP_PKEY *made = EVP_EC_gen("P-256"), *key = NULL;
	struct buf spki = { 0 };
	struct key_facts facts;
	BIGNUM *secret = NULL;
	struct err e;

	(void)state;
	make_spki(&spki, made);
	assert_int_equal(key_from_spki(buf_bytes(&spki), &key, &facts, &e), 0);
	assert_int_equal(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &secret), 0);
	EVP_PKEY_free(key);
	EVP_PKEY_free(made);
	buf_free(&spki);
}

static void
key_from_spki_refuses_points_off_the_curve(void **state)
{
	static const char *const curves[] = { "P-256", "P-384", "P-521" };
	struct key_facts facts;
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		EVP_PKEY *made = EVP_EC_gen(curves[i]);
		struct buf spki = { 0 };

		make_spki(&spki, made);
		spki.at[spki.len - 1] ^= 1;
		assert_int_equal(verdict(buf_bytes(&spki), &facts), ERR_MALFORMED);
		EVP_PKEY_free(made);
		buf_free(&spki);
	}
}

/* RFC 5480, section 2.2: 04, 02 or 03; anything else in the first octet is rejected. */
static void
key_from_spki_refuses_hybrid_points(void **state)
{
	EVP_PKEY *made = EVP_EC_gen("P-256");
	struct buf spki = { 0 };
	struct key_facts facts;

	(void)state;
	make_spki(&spki, made);
	spki.at[P256_HEAD] = (uint8_t)(0x06 | (spki.at[spki.len - 1] & 1));
	assert_int_equal(verdict(buf_bytes(&spki), &facts), ERR_MALFORMED);
	EVP_PKEY_free(made);
	buf_free(&spki);
}

static void
key_from_spki_refuses_curves_that_are_spelled_out(void **state)
{
	EVP_PKEY *made = EVP_EC_gen("P-256");
	struct key_facts facts;

	(void)state;
	assert_int_equal(EVP_PKEY_set_utf8_string_param(made, OSSL_PKEY_PARAM_EC_ENCODING, "explicit"), 1);
	assert_int_equal(verdict_of(made, &facts), ERR_UNSUPPORTED);
}

static void
key_from_spki_refuses_other_curves_and_algorithms(void **state)
{
	struct key_facts facts;

	(void)state;
	assert_int_equal(verdict_of(EVP_EC_gen("secp256k1"), &facts), ERR_UNSUPPORTED);
	assert_int_equal(verdict_of(EVP_EC_gen("P-224"), &facts), ERR_UNSUPPORTED);
	assert_int_equal(verdict_of(EVP_PKEY_Q_keygen(NULL, NULL, "X25519"), &facts), ERR_UNSUPPORTED);
	assert_int_equal(verdict_of(EVP_PKEY_Q_keygen(NULL, NULL, "ED448"), &facts), ERR_UNSUPPORTED);
}

static void
key_from_spki_refuses_what_is_not_one_key(void **state)
{
	static uint8_t zeros[8193];
	EVP_PKEY *made = EVP_EC_gen("P-256"), *rsa = EVP_RSA_gen(2048);
	struct buf spki = { 0 }, rsa_spki = { 0 };
	struct key_facts facts;

	(void)state;
	make_spki(&spki, made);
	make_spki(&rsa_spki, rsa);
	assert_int_equal(verdict(bytes_of(NULL, 0), &facts), ERR_MALFORMED);
	assert_int_equal(verdict(bytes_of(zeros, sizeof zeros), &facts), ERR_MALFORMED);
	assert_int_equal(verdict(bytes_of("\x30\x00", 2), &facts), ERR_MALFORMED);
	assert_int_equal(verdict(bytes_of(spki.at, spki.len - 1), &facts), ERR_MALFORMED);
	buf_append_u8(&spki, 0);
	assert_int_equal(verdict(buf_bytes(&spki), &facts), ERR_MALFORMED);
	buf_append_u8(&rsa_spki, 0);
	assert_int_equal(verdict(buf_bytes(&rsa_spki), &facts), ERR_MALFORMED);
	EVP_PKEY_free(made);
	EVP_PKEY_free(rsa);
	buf_free(&spki);
	buf_free(&rsa_spki);
}

/* An RSA public key from its numbers. */
static void
put_rsa(struct buf *spki, const BIGNUM *n, const BIGNUM *exponent)
{
	static const uint8_t algorithm[] = { 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01,
		0x01, 0x05, 0x00 };
	size_t outer = der_begin(spki, DER_SEQUENCE), bits, key;
	uint8_t octets[2048];

	buf_append(spki, algorithm, sizeof algorithm);
	bits = der_begin(spki, DER_BIT_STRING);
	buf_append_u8(spki, 0);
	key = der_begin(spki, DER_SEQUENCE);
	der_put_integer(spki, bytes_of(octets, (size_t)BN_bn2bin(n, octets)));
	der_put_integer(spki, bytes_of(octets, (size_t)BN_bn2bin(exponent, octets)));
	der_end(spki, key);
	der_end(spki, bits);
	der_end(spki, outer);
}

static const char *
weakness(const BIGNUM *n, const BIGNUM *exponent)
{
	struct buf spki = { 0 };
	struct key_facts facts = { 0 };

	put_rsa(&spki, n, exponent);
	assert_int_equal(verdict(buf_bytes(&spki), &facts), ERR_NONE);
	buf_free(&spki);
	return facts.weak;
}

static void
key_facts_say_what_is_weak_about_an_rsa_key(void **state)
{
	BIGNUM *n = BN_new(), *small = BN_new(), *even = BN_new(), *f4 = BN_new(), *three = BN_new(), *huge = BN_new();

	(void)state;
	BN_rand(n, 2048, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD);
	BN_rand(small, 1536, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD);
	BN_copy(even, n);
	BN_sub_word(even, 1);
	BN_set_word(f4, 65537);
	BN_set_word(three, 3);
	BN_set_bit(huge, 65);
	BN_set_bit(huge, 0);
	assert_null(weakness(n, f4));
	assert_non_null(strstr(weakness(small, f4), "2048"));
	assert_non_null(strstr(weakness(even, f4), "even"));
	assert_non_null(strstr(weakness(n, three), "65537"));
	assert_non_null(strstr(weakness(n, huge), "64 bits"));
	BN_free(n);
	BN_free(small);
	BN_free(even);
	BN_free(f4);
	BN_free(three);
	BN_free(huge);
}

static void
key_from_spki_bounds_the_size_of_rsa_keys(void **state)
{
	static const int refused[] = { 1023, 8193 };
	static const int taken[] = { 1024, 8192 };
	BIGNUM *n = BN_new(), *f4 = BN_new();
	struct key_facts facts;
	size_t i;

	(void)state;
	BN_set_word(f4, 65537);
	for (i = 0; i < 4; i++) {
		struct buf spki = { 0 };

		BN_rand(n, i < 2 ? refused[i] : taken[i - 2], BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD);
		put_rsa(&spki, n, f4);
		assert_int_equal(verdict(buf_bytes(&spki), &facts), i < 2 ? ERR_UNSUPPORTED : ERR_NONE);
		buf_free(&spki);
	}
	BN_free(n);
	BN_free(f4);
}

/* The quick way is for the usual form; others are as good or bad as OpenSSL says. */
static void
key_from_spki_takes_rsa_keys_in_unusual_forms(void **state)
{
	static const uint8_t bare[] = { 0x30, 0x0b, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01 };
	EVP_PKEY *made = EVP_RSA_gen(2048), *key = NULL;
	struct buf usual = { 0 }, unusual = { 0 };
	struct key_facts facts = { 0 };
	struct err e;
	size_t mark;

	(void)state;
	make_spki(&usual, made);
	mark = der_begin(&unusual, DER_SEQUENCE);
	buf_append(&unusual, bare, sizeof bare); /* no NULL behind the algorithm */
	buf_append(&unusual, usual.at + 19, usual.len - 19);
	der_end(&unusual, mark);
	assert_int_equal(key_from_spki(buf_bytes(&unusual), &key, &facts, &e), 0);
	assert_int_equal(EVP_PKEY_eq(key, made), 1);
	assert_int_equal(facts.kind, KEY_RSA);
	assert_int_equal(facts.bits, 2048);
	assert_null(facts.weak);
	EVP_PKEY_free(key);
	usual.at[19] = DER_OCTET_STRING;
	assert_int_equal(verdict(buf_bytes(&usual), &facts), ERR_MALFORMED);
	EVP_PKEY_free(made);
	buf_free(&usual);
	buf_free(&unusual);
}

/* A modulus in the subgroup of 65537 modulo every prime that is looked at: 65537^x mod M, as in CVE-2017-15361. */
static void
key_facts_recognise_the_roca_structure(void **state)
{
	static const BN_ULONG primes[] = { 11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157 };
	BIGNUM *m = BN_new(), *n = BN_new(), *f4 = BN_new(), *x = BN_new();
	BN_CTX *ctx = BN_CTX_new();
	const char *weak;
	size_t i;

	(void)state;
	BN_one(m);
	for (i = 0; i < sizeof primes / sizeof primes[0]; i++)
		BN_mul_word(m, primes[i]);
	BN_set_word(f4, 65537);
	BN_set_word(x, 123457);
	BN_mod_exp(x, f4, x, m, ctx); /* a member of every subgroup */
	BN_rand(n, 2049 - BN_num_bits(m), BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ANY);
	BN_mul(n, n, m, ctx);
	BN_add(n, n, x);
	if (!BN_is_odd(n))
		BN_add(n, n, m);
	weak = weakness(n, f4);
	assert_non_null(weak);
	assert_non_null(strstr(weak, "ROCA"));
	BN_free(m);
	BN_free(n);
	BN_free(f4);
	BN_free(x);
	BN_CTX_free(ctx);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(key_from_spki_decodes_the_supported_kinds),
		cmocka_unit_test(key_from_spki_gives_no_private_key),
		cmocka_unit_test(key_from_spki_refuses_points_off_the_curve),
		cmocka_unit_test(key_from_spki_refuses_hybrid_points),
		cmocka_unit_test(key_from_spki_refuses_curves_that_are_spelled_out),
		cmocka_unit_test(key_from_spki_refuses_other_curves_and_algorithms),
		cmocka_unit_test(key_from_spki_refuses_what_is_not_one_key),
		cmocka_unit_test(key_facts_say_what_is_weak_about_an_rsa_key),
		cmocka_unit_test(key_from_spki_bounds_the_size_of_rsa_keys),
		cmocka_unit_test(key_from_spki_takes_rsa_keys_in_unusual_forms),
		cmocka_unit_test(key_facts_recognise_the_roca_structure),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
