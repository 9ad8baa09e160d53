#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/ossl.h"
#include "gateway/core/nonce.h"

#define NOW INT64_C(1800000000)
#define LIFE 300

static const uint8_t secret[32] = "a secret that stays the same ...";

static struct nonces *
made_of(const uint8_t *octets)
{
	struct nonces *nonces = NULL;
	struct err e;

	assert_int_equal(nonces_new(bytes_of(octets, 32), &nonces, &e), 0);
	return nonces;
}

static int
checked(const struct nonces *nonces, const char *label, const uint8_t *nonce, size_t len, int64_t now_s, struct err *e)
{
	int64_t expires_s = -1;
	int result = nonce_check(nonces, label, bytes_of(nonce, len), now_s, LIFE, &expires_s, e);

	assert_int_equal(expires_s, result == 0 ? NOW + LIFE : -1);
	return result;
}

static void
nonce_is_good_from_when_it_was_given_to_the_end_of_its_life(void **state)
{
	struct nonces *nonces = made_of(secret);
	uint8_t nonce[NONCE_LEN];
	struct err e;

	(void)state;
	assert_int_equal(nonce_make(nonces, "lab", NOW, nonce, &e), 0);
	assert_int_equal(checked(nonces, "lab", nonce, NONCE_LEN, NOW, &e), 0);
	assert_int_equal(checked(nonces, "lab", nonce, NONCE_LEN, NOW + LIFE, &e), 0);
	assert_int_equal(checked(nonces, "lab", nonce, NONCE_LEN, NOW + LIFE + 1, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
	assert_non_null(strstr(e.text, "301 s old"));
	assert_int_equal(checked(nonces, "lab", nonce, NONCE_LEN, NOW - 1, &e), -1);
	assert_non_null(strstr(e.text, "future"));
	nonces_free(nonces);
}

static void
nonce_of_another_label_is_none_of_this_one(void **state)
{
	struct nonces *nonces = made_of(secret);
	uint8_t nonce[NONCE_LEN];
	struct err e;

	(void)state;
	assert_int_equal(nonce_make(nonces, "lab", NOW, nonce, &e), 0);
	assert_int_equal(checked(nonces, "", nonce, NONCE_LEN, NOW, &e), -1);
	assert_int_equal(checked(nonces, "bal", nonce, NONCE_LEN, NOW, &e), -1);
	assert_int_equal(checked(nonces, "la", nonce, NONCE_LEN, NOW, &e), -1);
	assert_int_equal(checked(nonces, "labs", nonce, NONCE_LEN, NOW, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
	nonces_free(nonces);
}

static void
nonce_changed_in_any_bit_is_none_of_ours(void **state)
{
	struct nonces *nonces = made_of(secret);
	uint8_t nonce[NONCE_LEN];
	struct err e;
	size_t i;

	(void)state;
	assert_int_equal(nonce_make(nonces, "lab", NOW, nonce, &e), 0);
	for (i = 0; i < 8 * sizeof nonce; i++) {
		nonce[i / 8] ^= (uint8_t)(1u << i % 8);
		assert_int_equal(checked(nonces, "lab", nonce, NONCE_LEN, NOW, &e), -1);
		nonce[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	for (i = 0; i < NONCE_LEN; i++)
		assert_int_equal(checked(nonces, "lab", nonce, i, NOW, &e), -1);
	assert_int_equal(checked(nonces, "lab", NULL, 0, NOW, &e), -1);
	assert_int_equal(checked(nonces, "lab", nonce, NONCE_LEN, NOW, &e), 0);
	nonces_free(nonces);
}

static void
nonce_holds_as_long_as_the_secret_is_the_same(void **state)
{
	struct nonces *nonces = made_of(secret), *again = made_of(secret), *others;
	uint8_t nonce[NONCE_LEN], other[NONCE_LEN], changed[32];
	struct err e;

	(void)state;
	memcpy(changed, secret, sizeof changed);
	changed[31] ^= 1;
	others = made_of(changed);
	assert_int_equal(nonce_make(nonces, "lab", NOW, nonce, &e), 0);
	assert_int_equal(nonce_make(nonces, "lab", NOW, other, &e), 0);
	assert_memory_not_equal(nonce, other, sizeof nonce);
	assert_int_equal(checked(again, "lab", nonce, NONCE_LEN, NOW, &e), 0);
	assert_int_equal(checked(others, "lab", nonce, NONCE_LEN, NOW, &e), -1);
	nonces_free(nonces);
	nonces_free(again);
	nonces_free(others);
	nonces_free(NULL);
}

static void
nonces_refuse_a_short_secret(void **state)
{
	struct nonces *nonces = NULL;
	struct err e;

	(void)state;
	assert_int_equal(nonces_new(bytes_of(secret, 31), &nonces, &e), -1);
	assert_null(nonces);
}

static int
init(void **state)
{
	struct err e;

	(void)state;
	return ossl_init(&e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nonce_is_good_from_when_it_was_given_to_the_end_of_its_life),
		cmocka_unit_test(nonce_of_another_label_is_none_of_this_one),
		cmocka_unit_test(nonce_changed_in_any_bit_is_none_of_ours),
		cmocka_unit_test(nonce_holds_as_long_as_the_secret_is_the_same),
		cmocka_unit_test(nonces_refuse_a_short_secret),
	};

	return cmocka_run_group_tests(tests, init, NULL);
}
