/* A challenge as text: the number of a secret, a dash, the secret. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "gateway/core/enroll_internal.h"

#define SECRET "abcde-fghij-kmnpq-rstuv-wxyz23"

static void
refused(const char *text)
{
	const char *secret = "untouched";
	int64_t id = -7;

	if (challenge_split(text, &id, &secret) != -1)
		fail_msg("\"%s\" was taken", text);
	assert_int_equal(id, -7);
	assert_string_equal(secret, "untouched");
}

static void
challenge_is_split_as_it_was_written(void **state)
{
	static const int64_t ids[] = { 1, 42, INT64_C(999999999999999999) };
	char text[CHALLENGE_MAX];
	const char *secret;
	int64_t id;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof ids / sizeof ids[0]; i++) {
		challenge_text(ids[i], SECRET, text);
		assert_int_equal(challenge_split(text, &id, &secret), 0);
		assert_true(id == ids[i]);
		assert_string_equal(secret, SECRET);
		assert_ptr_equal(secret + strlen(secret), text + strlen(text));
	}
	challenge_text(42, SECRET, text);
	assert_string_equal(text, "42-" SECRET);
}

/* RFC 2985, section 5.4.1: "a PrintableString ... when possible". */
static void
challenge_fits_every_string_type(void **state)
{
	char text[CHALLENGE_MAX];

	(void)state;
	challenge_text(INT64_MAX, SECRET, text);
	assert_int_equal(strlen(text), 19 + 1 + strlen(SECRET));
	assert_int_equal(strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"), strlen(text));
}

static void
challenge_has_one_spelling(void **state)
{
	(void)state;
	refused("");
	refused("-");
	refused("1");
	refused("1-");
	refused("-" SECRET);
	refused(SECRET);
	refused("0-" SECRET);
	refused("01-" SECRET);
	refused("+1-" SECRET);
	refused(" 1-" SECRET);
	refused("1 -" SECRET);
	refused("1x-" SECRET);
	refused("1_" SECRET);
	refused("-1-" SECRET);
	refused("0x1-" SECRET);
}

static void
challenge_has_a_length(void **state)
{
	char text[80];
	const char *secret;
	int64_t id;

	(void)state;
	refused("1000000000000000000-" SECRET); /* nineteen digits may be too many for the number */
	refused("99999999999999999999999999999999-" SECRET);
	memset(text, 'a', sizeof text);
	memcpy(text, "1-", 2);
	text[CHALLENGE_MAX - 1] = '\0';
	assert_int_equal(challenge_split(text, &id, &secret), 0);
	text[CHALLENGE_MAX - 1] = 'a';
	text[CHALLENGE_MAX] = '\0';
	refused(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(challenge_is_split_as_it_was_written),
		cmocka_unit_test(challenge_fits_every_string_type),
		cmocka_unit_test(challenge_has_one_spelling),
		cmocka_unit_test(challenge_has_a_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
