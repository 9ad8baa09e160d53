/* The quick verification says what OpenSSL's own says, of good signatures and of every kind of bad one. */
#define _GNU_SOURCE
#include "tests/unit/ca_fixture.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>

#include "base/key.h"
#include "gateway/ca/verifier.h"

#define SIGNATURE_MAX 512
#define ROUNDS 64

static const uint8_t text[] = "what is signed";

static int
setup(void **state)
{
	struct err e;

	(void)state;
	return ossl_init(&e) | key_init(&e);
}

static struct verifier *
verifier_of(EVP_PKEY *key, const EVP_MD *md)
{
	struct verifier *v = NULL;
	struct err e;

	assert_int_equal(verifier_new(key, md, &v, &e), 0);
	return v;
}

static struct bytes
sign(EVP_PKEY *key, const EVP_MD *md, uint8_t out[SIGNATURE_MAX])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t len = SIGNATURE_MAX;

	assert_int_equal(EVP_DigestSignInit(ctx, NULL, md, NULL, key), 1);
	assert_int_equal(EVP_DigestSign(ctx, out, &len, text, sizeof text), 1);
	EVP_MD_CTX_free(ctx);
	return bytes_of(out, len);
}

static bool
openssl_accepts(EVP_PKEY *key, struct bytes signature)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool accepts;

	assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, ossl_sha256(), NULL, key), 1);
	accepts = EVP_DigestVerify(ctx, signature.at, signature.len, text, sizeof text) == 1;
	EVP_MD_CTX_free(ctx);
	return accepts;
}

static bool
accepts(const struct verifier *v, struct bytes signature)
{
	struct err e = { 0 };

	if (verifier_check(v, bytes_of(text, sizeof text), signature, &e) == 0)
		return true;
	assert_int_equal(e.code, ERR_DENIED);
	return false;
}

static void
verifier_accepts_what_its_key_signed(void **state)
{
	static const char *const kinds[] = { "P-256", "P-384", "RSA-2048" };
	uint8_t raw[SIGNATURE_MAX];
	size_t i;
	int n;

	(void)state;
	for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		EVP_PKEY *key = key_make(kinds[i]), *other = key_make(kinds[i]);
		struct verifier *v = verifier_of(key, ossl_sha256());

		for (n = 0; n < ROUNDS; n++)
			assert_true(accepts(v, sign(key, ossl_sha256(), raw)));
		assert_false(accepts(v, sign(other, ossl_sha256(), raw)));
		assert_false(accepts(v, sign(key, ossl_sha384(), raw)));
		verifier_free(v);
		EVP_PKEY_free(key);
		EVP_PKEY_free(other);
	}
}

static void
verifier_refuses_each_changed_bit(void **state)
{
	EVP_PKEY *key = key_make("P-256");
	struct verifier *v = verifier_of(key, ossl_sha256());
	uint8_t raw[SIGNATURE_MAX], changed[sizeof text];
	struct bytes signature = sign(key, ossl_sha256(), raw);
	struct err e = { 0 };
	size_t bit;

	(void)state;
	for (bit = 0; bit < 8 * signature.len; bit++) {
		raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(openssl_accepts(key, signature));
		assert_false(accepts(v, signature));
		raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (bit = 0; bit < 8 * sizeof text; bit++) {
		memcpy(changed, text, sizeof text);
		changed[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(verifier_check(v, bytes_of(changed, sizeof changed), signature, &e), -1);
	}
	assert_true(accepts(v, signature));
	verifier_free(v);
	EVP_PKEY_free(key);
}

static void
verifier_refuses_cut_and_lengthened_signatures(void **state)
{
	EVP_PKEY *key = key_make("P-256");
	struct verifier *v = verifier_of(key, ossl_sha256());
	uint8_t raw[SIGNATURE_MAX] = { 0 };
	struct bytes signature = sign(key, ossl_sha256(), raw);
	size_t len;

	(void)state;
	for (len = 0; len < SIGNATURE_MAX; len++)
		assert_int_equal(accepts(v, bytes_of(raw, len)), len == signature.len);
	verifier_free(v);
	EVP_PKEY_free(key);
}

/* r and s by name: "r" and "s" of a good signature, numbers, or "n", the order of the group, added to them. */
static BIGNUM *
number(const char *name, const ECDSA_SIG *good, const BIGNUM *order)
{
	BIGNUM *x = name[0] == 'r' ? BN_dup(ECDSA_SIG_get0_r(good)) :
		name[0] == 's'     ? BN_dup(ECDSA_SIG_get0_s(good)) :
		name[0] == 'n'     ? BN_dup(order) :
				     BN_new();

	assert_non_null(x);
	if (name[0] >= '0' && name[0] <= '9')
		assert_int_equal(BN_set_word(x, (BN_ULONG)(name[0] - '0')), 1);
	if (name[1] == '+')
		assert_int_equal(BN_add(x, x, order), 1);
	if (name[1] == '-')
		assert_int_equal(BN_sub(x, order, x), 1);
	if (name[1] == '!')
		BN_set_negative(x, 1);
	return x;
}

static void
verifier_refuses_numbers_out_of_range(void **state)
{
	static const char *const cases[][2] = { { "0", "s" }, { "r", "0" }, { "0", "0" }, { "n", "s" }, { "r", "n" },
		{ "n", "n" }, { "r+", "s" }, { "r", "s+" }, { "r!", "s" }, { "r", "s!" }, { "1", "1" }, { "s", "r" },
		{ "r-", "s" }, { "1", "s" }, { "r", "1" } };
	EC_GROUP *curve = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EVP_PKEY *key = key_make("P-256");
	struct verifier *v = verifier_of(key, ossl_sha256());
	uint8_t raw[SIGNATURE_MAX], made[SIGNATURE_MAX], *q;
	struct bytes signature = sign(key, ossl_sha256(), raw);
	const uint8_t *p = signature.at;
	ECDSA_SIG *good = d2i_ECDSA_SIG(NULL, &p, (long)signature.len);
	size_t i;
	int len;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ECDSA_SIG *bad = ECDSA_SIG_new();

		assert_int_equal(ECDSA_SIG_set0(bad, number(cases[i][0], good, EC_GROUP_get0_order(curve)),
					 number(cases[i][1], good, EC_GROUP_get0_order(curve))), 1);
		q = made;
		len = i2d_ECDSA_SIG(bad, &q);
		if (len > 0 && accepts(v, bytes_of(made, (size_t)len)))
			fail_msg("(%s, %s) was accepted", cases[i][0], cases[i][1]);
		ECDSA_SIG_free(bad);
	}
	ECDSA_SIG_free(good);
	EC_GROUP_free(curve);
	verifier_free(v);
	EVP_PKEY_free(key);
}

/* (r, -s) is the other signature that every ECDSA signature has: valid, and valid here too. */
static void
verifier_agrees_with_openssl_about_the_negated_signature(void **state)
{
	EC_GROUP *curve = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EVP_PKEY *key = key_make("P-256");
	struct verifier *v = verifier_of(key, ossl_sha256());
	uint8_t raw[SIGNATURE_MAX], made[SIGNATURE_MAX], *q = made;
	struct bytes signature = sign(key, ossl_sha256(), raw);
	const uint8_t *p = signature.at;
	ECDSA_SIG *good = d2i_ECDSA_SIG(NULL, &p, (long)signature.len), *negated = ECDSA_SIG_new();
	int len;

	(void)state;
	assert_int_equal(ECDSA_SIG_set0(negated, BN_dup(ECDSA_SIG_get0_r(good)),
				 number("s-", good, EC_GROUP_get0_order(curve))), 1);
	len = i2d_ECDSA_SIG(negated, &q);
	assert_true(len > 0);
	assert_true(openssl_accepts(key, bytes_of(made, (size_t)len)));
	assert_true(accepts(v, bytes_of(made, (size_t)len)));
	ECDSA_SIG_free(good);
	ECDSA_SIG_free(negated);
	EC_GROUP_free(curve);
	verifier_free(v);
	EVP_PKEY_free(key);
}

/* Certificates of such CAs were refused before there were verifiers for them, and are. */
static void
verifier_is_for_no_algorithm_that_certificates_may_not_have(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *pss = NULL;
	EVP_PKEY *rsa = key_make("RSA-2048");
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);
	struct verifier *v;

	(void)state;
	assert_non_null(ctx);
	assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048), 1);
	assert_int_equal(EVP_PKEY_keygen(ctx, &pss), 1);
	EVP_PKEY_CTX_free(ctx);
	v = verifier_of(pss, ossl_sha256());
	assert_false(verifier_is_for(v, NID_rsassaPss));
	verifier_free(v);
	v = verifier_of(rsa, ossl_sha256());
	assert_true(verifier_is_for(v, NID_sha256WithRSAEncryption));
	assert_false(verifier_is_for(v, NID_rsassaPss));
	verifier_free(v);
	EVP_PKEY_free(rsa);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verifier_accepts_what_its_key_signed),
		cmocka_unit_test(verifier_refuses_each_changed_bit),
		cmocka_unit_test(verifier_refuses_cut_and_lengthened_signatures),
		cmocka_unit_test(verifier_refuses_numbers_out_of_range),
		cmocka_unit_test(verifier_is_for_no_algorithm_that_certificates_may_not_have),
		cmocka_unit_test(verifier_agrees_with_openssl_about_the_negated_signature),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
