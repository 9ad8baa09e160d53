#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/key.h"
#include "devsim/primes.h"

#define KEYS 5
#define BITS 2048

static void
primes_make_keys_that_work_and_differ(void **state)
{
	EVP_PKEY *keys[KEYS] = { 0 };
	struct primes *primes = NULL;
	struct err e = { 0 };
	size_t i, k;

	(void)state;
	assert_int_equal(primes_new(KEYS, BITS, &primes, &e), 0);
	assert_int_equal(primes_count(primes), 4); /* six pairs */
	for (i = 0; i < primes_count(primes); i++)
		assert_int_equal(primes_find(primes, i, &e), 0);
	for (i = 0; i < KEYS; i++) {
		CLEANUP(EVP_PKEY_CTX) EVP_PKEY_CTX *ctx = NULL;
		struct key_facts facts;

		if (primes_key(primes, i, &keys[i], &e) != 0)
			fail_msg("%s", e.text);
		key_facts_of(keys[i], &facts);
		assert_int_equal(facts.kind, KEY_RSA);
		assert_int_equal(facts.bits, BITS);
		assert_null(facts.weak);
		ctx = EVP_PKEY_CTX_new_from_pkey(NULL, keys[i], NULL);
		assert_int_equal(EVP_PKEY_check(ctx), 1);
		for (k = 0; k < i; k++)
			assert_int_equal(EVP_PKEY_eq(keys[i], keys[k]), 0);
	}
	for (i = 0; i < KEYS; i++)
		EVP_PKEY_free(keys[i]);
	primes_free(primes);
}

static void
primes_are_as_few_as_possible(void **state)
{
	static const struct {
		size_t keys, primes;
	} sizes[] = { { 1, 2 }, { 2, 3 }, { 3, 3 }, { 4, 4 }, { 10000, 142 } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct primes *primes = NULL;
		struct err e = { 0 };

		assert_int_equal(primes_new(sizes[i].keys, BITS, &primes, &e), 0);
		assert_int_equal(primes_count(primes), sizes[i].primes);
		primes_free(primes);
	}
	primes_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(primes_make_keys_that_work_and_differ),
		cmocka_unit_test(primes_are_as_few_as_possible),
	};
	struct err e = { 0 };

	if (ossl_init(&e) != 0 || key_init(&e) != 0)
		return 1;
	return cmocka_run_group_tests_name("devsim_primes", tests, NULL, NULL);
}
