/* JSON written straight into a buffer, read back by jansson. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include <jansson.h>

#include "base/jsontext.h"

static void
assert_written(const char *text, const char *expected)
{
	struct buf out = { 0 };

	json_put_text(&out, text);
	assert_string_equal(buf_text(&out), expected);
	buf_free(&out);
}

static void
json_text_is_quoted(void **state)
{
	(void)state;
	assert_written("", "\"\"");
	assert_written("plain ~ text", "\"plain ~ text\"");
	assert_written("a\"b\\c/", "\"a\\\"b\\\\c/\"");
}

static void
json_text_escapes_control_characters(void **state)
{
	(void)state;
	assert_written("\n\t\x01\x1f\x7f", "\"\\u000a\\u0009\\u0001\\u001f\\u007f\"");
}

static void
json_text_keeps_utf8_and_spells_out_what_is_not(void **state)
{
	(void)state;
	assert_written("Z\xc3\xbcrich \xf0\x9f\x98\x80", "\"Z\xc3\xbcrich \xf0\x9f\x98\x80\"");
	assert_written("Z\xfcrich", "\"Z\\u00fcrich\"");
	assert_written("cut \xc3", "\"cut \\u00c3\"");
	assert_written("\xed\xa0\x80", "\"\\u00ed\\u00a0\\u0080\""); /* a surrogate */
	assert_written("\xc2\x85", "\"\\u00c2\\u0085\"");             /* a C1 control */
}

static void
every_octet_makes_json_that_others_read(void **state)
{
	struct buf out = { 0 };
	char text[3] = "x";
	json_t *read;
	int c;

	(void)state;
	for (c = 1; c < 256; c++) {
		text[1] = (char)c;
		buf_clear(&out);
		json_put_text(&out, text);
		read = json_loads(buf_text(&out), JSON_DECODE_ANY, NULL);
		assert_non_null(read);
		assert_int_equal(json_string_value(read)[0], 'x');
		json_decref(read);
	}
	buf_free(&out);
}

static void
pairs_put_commas_between_them_and_leave_out_null(void **state)
{
	struct buf out = { 0 };

	(void)state;
	buf_append_u8(&out, '{');
	json_put_pair(&out, "nothing", NULL);
	json_put_pair(&out, "a", "1{");
	json_put_pair(&out, "nothing", NULL);
	json_put_int(&out, "b\"", INT64_MIN);
	json_put_int(&out, "c", INT64_MAX);
	buf_append_u8(&out, '}');
	assert_string_equal(buf_text(&out),
		"{\"a\":\"1{\",\"b\\\"\":-9223372036854775808,\"c\":9223372036854775807}");
	buf_free(&out);
}

/* jansson would recurse 2048 levels deep, on a stack of 100 KiB. */
static void
json_from_outside_is_shallow_or_not_read_at_all(void **state)
{
	struct buf text = { 0 };
	size_t i;

	(void)state;
	assert_true(json_is_shallow(bytes_of_text("{\"a\":[[1],[2],{\"b\":\"[[[[[[[[[[[[[[[[[[[[\"}]}")));
	assert_true(json_is_shallow(bytes_of_text("\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[\"")));
	assert_true(json_is_shallow(bytes_of_text("]]]]]]]]]]]]]]]]]]]]]]]]]")));
	for (i = 0; i < JSON_DEPTH_MAX; i++)
		buf_append_u8(&text, i % 2 == 0 ? '[' : '{');
	assert_true(json_is_shallow(buf_bytes(&text)));
	buf_append_u8(&text, '[');
	assert_false(json_is_shallow(buf_bytes(&text)));
	buf_free(&text);
	assert_false(json_is_shallow(bytes_of_text("\"\",[[[[[[[[[[[[[[[[[")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_text_is_quoted),
		cmocka_unit_test(json_text_escapes_control_characters),
		cmocka_unit_test(json_text_keeps_utf8_and_spells_out_what_is_not),
		cmocka_unit_test(every_octet_makes_json_that_others_read),
		cmocka_unit_test(json_from_outside_is_shallow_or_not_read_at_all),
		cmocka_unit_test(pairs_put_commas_between_them_and_leave_out_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
