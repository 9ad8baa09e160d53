#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/ossl.h"
#include "base/text.h"

static void
text_is_clean_takes_utf8_and_no_control_characters(void **state)
{
	static const char *const good[] = { "", "plain", "caf\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xc2\xa0",
		"\xed\x9f\xbf", "\xee\x80\x80", "\xf4\x8f\xbf\xbf" };
	static const char *const bad[] = { "\x01", "a\nb", "\x7f", "\xc2\x80", "\xc2\x9f", "\x80", "\xc3", "\xc0\xaf",
		"\xc1\x81", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf0\x80\x80\xaf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
		"\xe2\x82", "\xf0\x9f\x98", "\xff" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof good / sizeof good[0]; i++)
		if (!text_is_clean(bytes_of_text(good[i])))
			fail_msg("refused good text %zu", i);
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (text_is_clean(bytes_of_text(bad[i])))
			fail_msg("accepted bad text %zu", i);
	assert_false(text_is_clean(bytes_of("a\0b", 3)));
}

static void
text_copy_checks_size_and_contents(void **state)
{
	char out[4] = "old";
	struct err e = { 0 };

	(void)state;
	assert_int_equal(text_copy(out, sizeof out, bytes_of_text("abcd"), "name", &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_int_equal(text_copy(out, sizeof out, bytes_of_text("a\n"), "name", &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_non_null(strstr(e.text, "name"));
	assert_string_equal(out, "old");
	assert_int_equal(text_copy(out, sizeof out, bytes_of_text("abc"), "name", &e), 0);
	assert_string_equal(out, "abc");
	assert_int_equal(text_copy(out, sizeof out, bytes_of(NULL, 0), "name", &e), 0);
	assert_string_equal(out, "");
}

static void
text_escape_never_splits_an_escape(void **state)
{
	char out[10];

	(void)state;
	text_escape(out, sizeof out, bytes_of("a\n\\\xff", 4));
	assert_string_equal(out, "a\\x0a\\x5c");
	text_escape(out, sizeof out, bytes_of_text("abcdefghijkl"));
	assert_string_equal(out, "abcdefghi");
	text_escape(out, 1, bytes_of_text("abc"));
	assert_string_equal(out, "");
}

static void
text_mend_end_takes_half_characters_off(void **state)
{
	static const char *const texts[][2] = {
		{ "", "" },
		{ "abc", "abc" },
		{ "caf\xc3\xa9", "caf\xc3\xa9" },
		{ "caf\xc3", "caf" },
		{ "x\xe2\x82\xac", "x\xe2\x82\xac" },
		{ "x\xe2\x82", "x" },
		{ "x\xe2", "x" },
		{ "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
		{ "\xf0\x9f\x98", "" },
	};
	char text[16];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		strcpy(text, texts[i][0]);
		text_mend_end(text);
		assert_string_equal(text, texts[i][1]);
	}
}

static void
text_is_name_allows_what_labels_need(void **state)
{
	char longest[66];

	(void)state;
	memset(longest, 'a', sizeof longest);
	longest[64] = '\0';
	assert_true(text_is_name("factory-7_A.b"));
	assert_true(text_is_name(longest));
	longest[64] = 'a';
	longest[65] = '\0';
	assert_false(text_is_name(longest));
	assert_false(text_is_name(""));
	assert_false(text_is_name("a b"));
	assert_false(text_is_name("a/b"));
	assert_false(text_is_name("caf\xc3\xa9"));
}

static void
err_set_keeps_one_line_of_whole_characters(void **state)
{
	char text[ERR_TEXT_MAX + 8];
	struct err e;

	(void)state;
	assert_int_equal(err_set(&e, ERR_DENIED, "a\nb\x7f%d", 7), -1);
	assert_string_equal(e.text, "a?b?7");
	assert_int_equal(e.code, ERR_DENIED);
	memset(text, 'x', sizeof text);
	strcpy(text + ERR_TEXT_MAX - 2, "\xc3\xa9");
	(void)err_set(&e, ERR_DENIED, "%s", text);
	assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 2);
	assert_true(text_is_clean(bytes_of_text(e.text)));
}

static void
err_prefix_keeps_the_code_and_what_fits(void **state)
{
	char text[ERR_TEXT_MAX];
	struct err e;

	(void)state;
	memset(text, 'x', sizeof text);
	text[200] = '\0';
	(void)err_set(&e, ERR_LIMIT, "%s", text);
	assert_int_equal(err_prefix(&e, "line %d", 3), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_memory_equal(e.text, "line 3: xxx", 11);
	assert_int_equal(strlen(e.text), 208);
	(void)err_prefix(&e, "%s", text);
	assert_true(strlen(e.text) < ERR_TEXT_MAX);
}

static void
err_code_names_differ(void **state)
{
	int a, b;

	(void)state;
	for (a = ERR_NONE; a <= ERR_BUG; a++)
		for (b = ERR_NONE; b < a; b++)
			assert_string_not_equal(err_code_name((enum err_code)a), err_code_name((enum err_code)b));
}

/* Names come from peers' certificates and go to logs and terminals. */
static void
x509_name_text_is_clean_and_whole(void **state)
{
	CLEANUP(X509_NAME) X509_NAME *name = X509_NAME_new();
	char text[64], small[8];

	(void)state;
	assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
		(const uint8_t *)"a\nb\xc2\x9b" "1m", -1, -1, 0), 1);
	x509_name_text(name, text, sizeof text);
	assert_true(text_is_clean(bytes_of_text(text)));
	assert_memory_equal(text, "CN=a", 4);
	X509_NAME_free(name);
	name = X509_NAME_new();
	assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)"caf\xc3\xa9", -1, -1,
		0), 1);
	x509_name_text(name, text, sizeof text);
	assert_string_equal(text, "CN=caf\xc3\xa9");
	x509_name_text(name, small, sizeof small);
	assert_string_equal(small, "CN=caf");
	x509_name_text(NULL, text, sizeof text);
	assert_string_equal(text, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_clean_takes_utf8_and_no_control_characters),
		cmocka_unit_test(text_copy_checks_size_and_contents),
		cmocka_unit_test(text_escape_never_splits_an_escape),
		cmocka_unit_test(text_mend_end_takes_half_characters_off),
		cmocka_unit_test(text_is_name_allows_what_labels_need),
		cmocka_unit_test(err_set_keeps_one_line_of_whole_characters),
		cmocka_unit_test(err_prefix_keeps_the_code_and_what_fits),
		cmocka_unit_test(err_code_names_differ),
		cmocka_unit_test(x509_name_text_is_clean_and_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
