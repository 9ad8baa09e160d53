#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include <openssl/asn1.h>
#include <openssl/objects.h>

#include "base/der.h"

static void
der_end_writes_the_shortest_length_and_moves_the_contents(void **state)
{
	static uint8_t contents[70000];
	static const size_t lengths[] = { 0, 1, 127, 128, 255, 256, 65535, 65536 };
	size_t i;

	(void)state;
	memset(contents, 0x5a, sizeof contents);
	for (i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		struct buf out = { 0 };
		const uint8_t *p;
		long len = 0;
		int tag = 0, class = 0;

		der_put(&out, DER_OCTET_STRING, bytes_of(contents, lengths[i]));
		p = out.at;
		assert_int_equal(ASN1_get_object(&p, &len, &tag, &class, (long)out.len), 0);
		assert_int_equal(tag, V_ASN1_OCTET_STRING);
		assert_int_equal(len, lengths[i]);
		assert_int_equal(out.len, ASN1_object_size(0, (int)lengths[i], V_ASN1_OCTET_STRING));
		assert_int_equal(out.at + out.len - p, lengths[i]);
		assert_memory_equal(p, contents, lengths[i]);
		buf_free(&out);
	}
}

static void
der_values_nest(void **state)
{
	struct buf out = { 0 };
	size_t outer = der_begin(&out, DER_SEQUENCE), inner = der_begin(&out, DER_CONTEXT_CONS(3)), i;

	(void)state;
	for (i = 0; i < 100; i++)
		der_put_bool(&out, i % 2 == 0);
	der_end(&out, inner);
	der_end(&out, outer);
	assert_int_equal(out.len, 4 + 4 + 300);
	assert_memory_equal(out.at, "\x30\x82\x01\x30\xa3\x82\x01\x2c", 8);
	buf_free(&out);
}

static void
assert_integer(const char *magnitude, size_t len, const char *expected, size_t expected_len)
{
	struct buf out = { 0 };

	der_put_integer(&out, bytes_of(magnitude, len));
	assert_true(bytes_equal(buf_bytes(&out), bytes_of(expected, expected_len)));
	buf_free(&out);
}

static void
der_put_integer_is_minimal_and_never_negative(void **state)
{
	(void)state;
	assert_integer("", 0, "\x02\x01\x00", 3);
	assert_integer("\0", 1, "\x02\x01\x00", 3);
	assert_integer("\0\0\x7f", 3, "\x02\x01\x7f", 3);
	assert_integer("\x80", 1, "\x02\x02\x00\x80", 4);
	assert_integer("\0\xff\x01", 3, "\x02\x03\x00\xff\x01", 5);
}

static void
der_put_bool_uses_ff(void **state)
{
	struct buf out = { 0 };

	(void)state;
	der_put_bool(&out, 2);
	der_put_bool(&out, 0);
	assert_true(bytes_equal(buf_bytes(&out), bytes_of("\x01\x01\xff\x01\x01\x00", 6)));
	buf_free(&out);
}

static void
der_put_oid_agrees_with_openssl(void **state)
{
	static const char *const oids[] = { "2.5.29.15", "1.2.840.113549.1.1.11", "0.9.2342.19200300.100.1.1",
		"2.16.840.1.101.2.1.2.78.5", "2.999.1", "1.3.6.1.4.1.311.20.2.2", "1.2.268435455" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof oids / sizeof oids[0]; i++) {
		ASN1_OBJECT *object = OBJ_txt2obj(oids[i], 1);
		struct buf out = { 0 };
		uint8_t *der = NULL;
		int len = i2d_ASN1_OBJECT(object, &der);

		der_put_oid(&out, oids[i]);
		assert_true(bytes_equal(buf_bytes(&out), bytes_of(der, (size_t)len)));
		OPENSSL_free(der);
		ASN1_OBJECT_free(object);
		buf_free(&out);
	}
}

static void
der_put_oid_fails_the_buffer_for_a_bad_text(void **state)
{
	static const char *const bad[] = { "", "1", "1.", ".1", "1.2.", "1.2.x", "1..2", "1.2.268435456", "3.1", "1.40",
		"-1.2", "1.-2", "1. 2", "+1.2" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct buf out = { 0 };

		der_put_oid(&out, bad[i]);
		if (!buf_failed(&out))
			fail_msg("accepted: %s", bad[i]);
		buf_free(&out);
	}
}

static void
assert_time(int64_t at_s, const char *expected)
{
	struct buf out = { 0 };

	der_put_time(&out, at_s);
	assert_true(bytes_equal_text(buf_bytes(&out), expected));
	buf_free(&out);
}

/* RFC 5280, section 4.1.2.5: "through the year 2049 as UTCTime ... in 2050 or later ... as GeneralizedTime". */
static void
der_put_time_changes_form_in_2050(void **state)
{
	(void)state;
	assert_time(0, "\x17\x0d"
		       "700101000000Z");
	assert_time(951782400, "\x17\x0d"
			       "000229000000Z");
	assert_time(2524607999, "\x17\x0d"
				"491231235959Z");
	assert_time(2524608000, "\x18\x0f"
				"20500101000000Z");
	assert_time(253402300799, "\x18\x0f"
				  "99991231235959Z");
}

static void
der_put_time_fails_the_buffer_outside_its_range(void **state)
{
	static const int64_t bad[] = { -1, INT64_MIN, 253402300800, INT64_MAX };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct buf out = { 0 };

		der_put_time(&out, bad[i]);
		assert_true(buf_failed(&out));
		buf_free(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(der_end_writes_the_shortest_length_and_moves_the_contents),
		cmocka_unit_test(der_values_nest),
		cmocka_unit_test(der_put_integer_is_minimal_and_never_negative),
		cmocka_unit_test(der_put_bool_uses_ff),
		cmocka_unit_test(der_put_oid_agrees_with_openssl),
		cmocka_unit_test(der_put_oid_fails_the_buffer_for_a_bad_text),
		cmocka_unit_test(der_put_time_changes_form_in_2050),
		cmocka_unit_test(der_put_time_fails_the_buffer_outside_its_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
