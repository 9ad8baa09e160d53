#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/der.h"
#include "est/strict.h"

static enum err_code
check(const char *octets, size_t len)
{
	struct err e = { 0 };

	return est_der_check(bytes_of(octets, len), &e) == 0 ? ERR_NONE : e.code;
}

/* For literals: their final NUL is no part of it. */
#define CHECK(literal) check(literal, sizeof(literal) - 1)

static void
est_der_check_accepts_der(void **state)
{
	(void)state;
	assert_int_equal(CHECK("\x05\x00"), ERR_NONE);
	assert_int_equal(CHECK("\x30\x00"), ERR_NONE);
	assert_int_equal(CHECK("\x30\x05\x02\x01\x00\x31\x00"), ERR_NONE);
	assert_int_equal(CHECK("\x30\x06\x01\x01\xff\x01\x01\x00"), ERR_NONE);
	assert_int_equal(CHECK("\x30\x07\xa0\x05\x30\x03\x80\x01x"), ERR_NONE);
	assert_int_equal(CHECK("\xbf\x1f\x00"), ERR_NONE);
}

static void
est_der_check_refuses_indefinite_lengths_at_any_depth(void **state)
{
	(void)state;
	assert_int_equal(CHECK("\x30\x80\x00\x00"), ERR_MALFORMED);
	assert_int_equal(CHECK("\x30\x04\x30\x80\x00\x00"), ERR_MALFORMED);
	assert_int_equal(CHECK("\x30\x02\x00\x00"), ERR_MALFORMED);
}

static void
est_der_check_refuses_lengths_and_tags_that_are_not_minimal(void **state)
{
	(void)state;
	assert_int_equal(CHECK("\x04\x81\x01x"), ERR_MALFORMED);
	assert_int_equal(CHECK("\x04\x82\x00\x01x"), ERR_MALFORMED);
	assert_int_equal(CHECK("\x30\x04\x04\x81\x01x"), ERR_MALFORMED);
	assert_int_equal(CHECK("\x9f\x1e\x00"), ERR_MALFORMED);
}

static void
est_der_check_refuses_constructed_strings_and_primitive_sequences(void **state)
{
	(void)state;
	assert_int_equal(CHECK("\x24\x03\x04\x01x"), ERR_MALFORMED);
	assert_int_equal(CHECK("\x23\x04\x03\x02\x00x"), ERR_MALFORMED);
	assert_int_equal(CHECK("\x2c\x03\x0c\x01x"), ERR_MALFORMED);
	assert_int_equal(CHECK("\x10\x00"), ERR_MALFORMED);
	assert_int_equal(CHECK("\x11\x00"), ERR_MALFORMED);
}

static void
est_der_check_refuses_booleans_other_than_00_and_ff(void **state)
{
	(void)state;
	assert_int_equal(CHECK("\x01\x01\x01"), ERR_MALFORMED);
	assert_int_equal(CHECK("\x01\x00"), ERR_MALFORMED);
	assert_int_equal(CHECK("\x01\x02\xff\xff"), ERR_MALFORMED);
}

static void
est_der_check_refuses_lengths_past_the_end_and_octets_after_it(void **state)
{
	(void)state;
	assert_int_equal(CHECK(""), ERR_MALFORMED);
	assert_int_equal(CHECK("\x30"), ERR_MALFORMED);
	assert_int_equal(CHECK("\x30\x01"), ERR_MALFORMED);
	assert_int_equal(CHECK("\x30\x02\x04\x01"), ERR_MALFORMED);
	assert_int_equal(CHECK("\x05\x00\x00"), ERR_MALFORMED);
	assert_int_equal(CHECK("\x30\x84\xff\xff\xff\xff\x00"), ERR_MALFORMED);
}

static void
est_der_check_refuses_nesting_past_its_limit(void **state)
{
	struct buf deep = { 0 };
	struct err e = { 0 };
	int i;

	(void)state;
	for (i = EST_DER_DEPTH_MAX - 2; i >= 0; i--) {
		buf_append_u8(&deep, 0x30);
		buf_append_u8(&deep, (uint8_t)(2 * i));
	}
	assert_int_equal(est_der_check(buf_bytes(&deep), &e), 0);
	buf_clear(&deep);
	for (i = EST_DER_DEPTH_MAX - 1; i >= 0; i--) {
		buf_append_u8(&deep, 0x30);
		buf_append_u8(&deep, (uint8_t)(2 * i));
	}
	assert_int_equal(est_der_check(buf_bytes(&deep), &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	buf_free(&deep);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(est_der_check_accepts_der),
		cmocka_unit_test(est_der_check_refuses_indefinite_lengths_at_any_depth),
		cmocka_unit_test(est_der_check_refuses_lengths_and_tags_that_are_not_minimal),
		cmocka_unit_test(est_der_check_refuses_constructed_strings_and_primitive_sequences),
		cmocka_unit_test(est_der_check_refuses_booleans_other_than_00_and_ff),
		cmocka_unit_test(est_der_check_refuses_lengths_past_the_end_and_octets_after_it),
		cmocka_unit_test(est_der_check_refuses_nesting_past_its_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
