/* Values at the front of octets, as DER writes them and in no other way. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/der.h"
#include "base/tlv.h"

static void
tlv_take_takes_values_one_after_the_other(void **state)
{
	static const uint8_t der[] = { DER_INTEGER, 1, 7, DER_OCTET_STRING, 0 };
	struct bytes rest = bytes_of(der, sizeof der), contents, all;

	(void)state;
	assert_false(tlv_take(&rest, DER_OCTET_STRING, &contents, &all));
	assert_ptr_equal(rest.at, der);
	assert_true(tlv_take(&rest, DER_INTEGER, &contents, &all));
	assert_true(contents.at == der + 2 && contents.len == 1);
	assert_true(all.at == der && all.len == 3);
	assert_true(tlv_take(&rest, DER_OCTET_STRING, &contents, NULL));
	assert_int_equal(contents.len, 0);
	assert_int_equal(rest.len, 0);
	assert_false(tlv_take(&rest, DER_OCTET_STRING, NULL, NULL));
}

static void
tlv_take_reads_every_length_that_der_writes(void **state)
{
	static const size_t lengths[] = { 0, 1, 127, 128, 255, 256, 65535, 65536, 100000 };
	static const uint8_t zeros[100000];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		CLEANUP(buf) struct buf der = { 0 };
		struct bytes rest, contents, all;

		der_put(&der, DER_OCTET_STRING, bytes_of(zeros, lengths[i]));
		rest = buf_bytes(&der);
		assert_true(tlv_take(&rest, DER_OCTET_STRING, &contents, &all));
		assert_int_equal(contents.len, lengths[i]);
		assert_true(rest.len == 0 && all.len == der.len);
		rest = bytes_of(der.at, der.len - 1);
		assert_false(tlv_take(&rest, DER_OCTET_STRING, &contents, &all));
	}
}

static void
tlv_take_refuses_lengths_that_der_does_not_write(void **state)
{
	static const struct {
		uint8_t len, at[8];
	} bad[] = {
		{ 1, { DER_OCTET_STRING } },
		{ 4, { DER_OCTET_STRING, 0x80, 0, 0 } },          /* indefinite */
		{ 4, { DER_OCTET_STRING, 0x81, 1, 7 } },          /* one octet would do */
		{ 5, { DER_OCTET_STRING, 0x82, 0, 1, 7 } },
		{ 3, { DER_OCTET_STRING, 0x82, 1 } },             /* cut short */
		{ 7, { DER_OCTET_STRING, 0x84, 0, 0, 0, 1, 7 } },
		{ 8, { DER_OCTET_STRING, 0x84, 1, 0, 0, 0, 7, 7 } }, /* more than there ever is */
		{ 3, { DER_OCTET_STRING, 0xff, 7 } },
		{ 2, { DER_OCTET_STRING, 1 } },
	};
	/* A zero in front, where the second form is right otherwise. */
	uint8_t zero[4 + 128] = { DER_OCTET_STRING, 0x82, 0, 128 };
	struct bytes padded = bytes_of(zero, sizeof zero);
	size_t i;

	(void)state;
	assert_false(tlv_take(&padded, DER_OCTET_STRING, NULL, NULL));
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct bytes rest = bytes_of(bad[i].at, bad[i].len);

		assert_false(tlv_take(&rest, DER_OCTET_STRING, NULL, NULL));
		assert_int_equal(rest.len, bad[i].len);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tlv_take_takes_values_one_after_the_other),
		cmocka_unit_test(tlv_take_reads_every_length_that_der_writes),
		cmocka_unit_test(tlv_take_refuses_lengths_that_der_does_not_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
