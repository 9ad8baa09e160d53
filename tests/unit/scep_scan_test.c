/* The look at the octets before a decoder sees them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "scep/read.h"

static int
scan(const char *octets, size_t len, enum err_code *code)
{
	/* A block of exactly this size, so that AddressSanitizer sees the first octet past it. */
	uint8_t *exact = malloc(len == 0 ? 1 : len);
	struct err e = { 0 };
	int result;

	memcpy(exact, octets, len);
	result = scep_scan(bytes_of(exact, len), &e);
	free(exact);
	*code = e.code;
	return result;
}

#define GOOD(text) \
	do { \
		enum err_code code; \
		assert_int_equal(scan(text, sizeof text - 1, &code), 0); \
	} while (0)
#define BAD(text) \
	do { \
		enum err_code code; \
		assert_int_equal(scan(text, sizeof text - 1, &code), -1); \
		assert_int_equal(code, ERR_MALFORMED); \
	} while (0)

static void
scep_scan_takes_one_value_of_any_length_form(void **state)
{
	(void)state;
	GOOD("\x05\x00");
	GOOD("\x04\x03\x00\x00\x00");
	GOOD("\x30\x00");
	GOOD("\x30\x80\x00\x00");
	GOOD("\x30\x80\x05\x00\x00\x00");
	GOOD("\x30\x04\x30\x80\x00\x00");
	GOOD("\x30\x80\x30\x02\x05\x00\x24\x80\x04\x01x\x00\x00\x00\x00");
	GOOD("\x30\x81\x02\x05\x00"); /* longer than need be */
	GOOD("\xa0\x84\x00\x00\x00\x02\x05\x00");
	GOOD("\x7f\x81\x01\x02\x05\x00"); /* a tag of two octets */
}

static void
scep_scan_refuses_what_is_not_one_value(void **state)
{
	(void)state;
	BAD("");
	BAD("\x30");
	BAD("\x30\x01");
	BAD("\x30\x02\x05");
	BAD("\x30\x02\x05\x00\x00");
	BAD("\x05\x00\x05\x00");
	BAD("\x30\x80\x00\x00\x00");
	BAD("\x30\x03\x04\x02x"); /* longer than what it stands in */
	BAD("\x30\x02\x30\x80\x00\x00"); /* the end is outside */
	BAD("\x30\x84\xff\xff\xff\xff");
	BAD("\x30\x88\x7f\xff\xff\xff\xff\xff\xff\xff");
	BAD("\x30\x89\x01\x00\x00\x00\x00\x00\x00\x00\x00");
	BAD("\x1f\xff\xff\xff\xff\xff\xff\xff\x7f\x00");
}

static void
scep_scan_refuses_end_of_contents_where_nothing_ends(void **state)
{
	(void)state;
	BAD("\x00\x00");
	BAD("\x30\x02\x00\x00");
	BAD("\x30\x80\x00\x01\x00\x00\x00"); /* with contents */
	BAD("\x30\x06\x30\x80\x00\x02\x05\x00");
	BAD("\x30\x80\x20\x00\x00\x00");     /* constructed */
	BAD("\x30\x80\x20\x00");
	BAD("\x30\x80\x05\x00");             /* missing */
	BAD("\x30\x80\x30\x80\x00\x00");     /* one of two missing */
	BAD("\x04\x80\x00\x00");             /* a primitive of indefinite length */
}

/* depth constructed values, the innermost empty. */
static int
nested(size_t depth, bool indefinite, enum err_code *code)
{
	struct buf b = { 0 };
	size_t i;
	int result;

	for (i = 0; i < depth; i++) {
		buf_append_u8(&b, 0x30);
		buf_append_u8(&b, indefinite ? 0x80 : (uint8_t)(2 * (depth - 1 - i)));
	}
	for (i = 0; i < depth && indefinite; i++)
		buf_append(&b, "\0", 2);
	result = scan((const char *)b.at, b.len, code);
	buf_free(&b);
	return result;
}

static void
scep_scan_stops_at_the_depth_that_is_allowed(void **state)
{
	enum err_code code;
	int indefinite;

	(void)state;
	for (indefinite = 0; indefinite < 2; indefinite++) {
		assert_int_equal(nested(SCEP_DEPTH_MAX, indefinite, &code), 0);
		assert_int_equal(nested(SCEP_DEPTH_MAX + 1, indefinite, &code), -1);
		assert_int_equal(code, ERR_LIMIT);
	}
	/* A bomb: nothing but openings, none of them ever closed. */
	assert_int_equal(nested(20000, true, &code), -1);
	assert_int_equal(code, ERR_LIMIT);
}

static void
scep_scan_stops_at_the_length_that_is_allowed(void **state)
{
	char *octets = calloc(1, SCEP_MESSAGE_MAX + 1);
	enum err_code code;
	size_t contents = SCEP_MESSAGE_MAX - 5;

	(void)state;
	octets[0] = 0x04;
	octets[1] = (char)0x83;
	octets[2] = (char)(contents >> 16);
	octets[3] = (char)(contents >> 8);
	octets[4] = (char)contents;
	assert_int_equal(scan(octets, SCEP_MESSAGE_MAX, &code), 0);
	assert_int_equal(scan(octets, SCEP_MESSAGE_MAX + 1, &code), -1);
	assert_int_equal(code, ERR_LIMIT);
	free(octets);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scep_scan_takes_one_value_of_any_length_form),
		cmocka_unit_test(scep_scan_refuses_what_is_not_one_value),
		cmocka_unit_test(scep_scan_refuses_end_of_contents_where_nothing_ends),
		cmocka_unit_test(scep_scan_stops_at_the_depth_that_is_allowed),
		cmocka_unit_test(scep_scan_stops_at_the_length_that_is_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
