#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <openssl/ec.h>

#include "base/key.h"
#include "gateway/http/quickkeys.h"

static void
quick_keys_are_legacy_keys_that_equal_the_usual_ones(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen("P-256");
	CLEANUP(EVP_PKEY) EVP_PKEY *quick = NULL;
	CLEANUP(EVP_PKEY) EVP_PKEY *usual = NULL;
	CLEANUP(EVP_PKEY) EVP_PKEY *copied = NULL;
	struct key_facts facts;
	uint8_t spki[128], *end = spki;
	const uint8_t *p = spki;
	struct err e;
	int len;

	(void)state;
	assert_int_equal(key_init(&e), 0);
	len = i2d_PUBKEY(key, &end);
	assert_int_equal(quick_keys_enable(&e), 0);
	assert_int_equal(quick_keys_enable(&e), 0);
	quick = d2i_PUBKEY(NULL, &p, len);
	assert_non_null(quick);
	assert_null(EVP_PKEY_get0_provider(quick));
	key_facts_of(quick, &facts);
	assert_int_equal(facts.kind, KEY_EC_P256);
	assert_int_equal(key_from_spki(bytes_of(spki, (size_t)len), &copied, &facts, &e), 0);
	assert_int_equal(EVP_PKEY_eq(quick, copied), 1);
	quick_keys_disable();
	quick_keys_disable();
	p = spki;
	usual = d2i_PUBKEY(NULL, &p, len);
	assert_non_null(usual);
	assert_non_null(EVP_PKEY_get0_provider(usual));
	assert_int_equal(EVP_PKEY_eq(quick, usual), 1);
}

/* A point that is not on its curve: same length, last octet changed. */
static void
quick_keys_are_refused_off_their_curve(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen("P-256");
	CLEANUP(EVP_PKEY) EVP_PKEY *bad = NULL;
	uint8_t spki[128], *end = spki;
	const uint8_t *p = spki;
	struct err e;
	int len;

	(void)state;
	len = i2d_PUBKEY(key, &end);
	spki[len - 1] ^= 1;
	assert_int_equal(quick_keys_enable(&e), 0);
	bad = d2i_PUBKEY(NULL, &p, len);
	assert_null(bad);
	quick_keys_disable();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quick_keys_are_legacy_keys_that_equal_the_usual_ones),
		cmocka_unit_test(quick_keys_are_refused_off_their_curve),
	};
	struct err e;

	if (ossl_init(&e) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
