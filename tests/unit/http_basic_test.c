/* HTTP Basic credentials (RFC 7617). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/bytes.h"
#include "gateway/http/basic.h"

static struct basic_credentials out;

/* Parses "Basic " and the base64 of these octets. */
static bool
parse(const void *at, size_t len)
{
	struct buf header = { 0 };
	bool good;

	buf_append_text(&header, "Basic ");
	base64_encode(&header, bytes_of(at, len), 0);
	memset(&out, 0x5a, sizeof out);
	good = basic_parse(buf_text(&header), &out);
	buf_free(&header);
	return good;
}

static bool
parse_text(const char *text)
{
	return parse(text, strlen(text));
}

/* Not one octet of what was there stays: not even of a user whose secret was too long. */
static void
assert_nothing(bool good)
{
	static const struct basic_credentials none;

	assert_false(good);
	assert_memory_equal(&out, &none, sizeof none);
}

static bool
header(const char *value)
{
	memset(&out, 0x5a, sizeof out);
	return basic_parse(value, &out);
}

static void
basic_splits_at_the_first_colon(void **state)
{
	(void)state;
	assert_true(parse_text("rtr-1:se:cr:et"));
	assert_string_equal(out.user, "rtr-1");
	assert_string_equal(out.secret, "se:cr:et");
	assert_true(parse_text(":s"));
	assert_string_equal(out.user, "");
	assert_string_equal(out.secret, "s");
	assert_true(parse_text("u:"));
	assert_string_equal(out.secret, "");
}

static void
basic_takes_the_example_of_the_rfc(void **state)
{
	(void)state;
	assert_true(header("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")); /* RFC 7617, section 2 */
	assert_string_equal(out.user, "Aladdin");
	assert_string_equal(out.secret, "open sesame");
	assert_true(header("bAsIc QWxhZGRpbjpvcGVuIHNlc2FtZQ==")); /* "the scheme name is case-insensitive" */
	assert_true(parse_text("test:123\xc2\xa3")); /* section 2.1, in UTF-8 */
	assert_string_equal(out.secret, "123\xc2\xa3");
}

static void
basic_refuses_what_is_not_basic(void **state)
{
	(void)state;
	assert_nothing(header(NULL));
	assert_nothing(header(""));
	assert_nothing(header("Basic"));
	assert_nothing(header("Basic "));
	assert_nothing(header("BasicQWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
	assert_nothing(header("Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
	assert_nothing(header(" Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
}

static void
basic_refuses_what_is_not_base64(void **state)
{
	(void)state;
	assert_nothing(header("Basic rtr-1:secret"));
	assert_nothing(header("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ="));
	assert_nothing(header("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==, Basic QTpC"));
}

static void
basic_refuses_credentials_without_a_colon(void **state)
{
	(void)state;
	assert_nothing(parse_text("rtr-1"));
}

/* "The user-id and password MUST NOT contain any control characters" (RFC 7617, section 2). */
static void
basic_refuses_control_characters_and_broken_utf8(void **state)
{
	(void)state;
	assert_nothing(parse("rtr\0:secret", 11));
	assert_nothing(parse("rtr:sec\0ret", 11));
	assert_nothing(parse_text("rtr\n:secret"));
	assert_nothing(parse_text("rtr:secret\x7f"));
	assert_nothing(parse_text("rtr:secret\xc2\x85"));
	assert_nothing(parse_text("rtr:\xff"));
	assert_nothing(parse_text("r\xc3:secret"));
}

static void
basic_holds_its_limits_to_the_octet(void **state)
{
	char text[2 * BASIC_MAX + 2];

	(void)state;
	memset(text, 'a', sizeof text);
	text[BASIC_MAX - 1] = ':';
	assert_true(parse(text, 2 * BASIC_MAX - 1));
	assert_int_equal(strlen(out.user), BASIC_MAX - 1);
	assert_int_equal(strlen(out.secret), BASIC_MAX - 1);
	assert_nothing(parse(text, 2 * BASIC_MAX)); /* the secret is one too long */
	text[BASIC_MAX - 1] = 'a';
	text[BASIC_MAX] = ':';
	assert_nothing(parse(text, BASIC_MAX + 4)); /* the user is */
}

/* White space in base64 is skipped, so that only the header's own limit ends this one. */
static void
basic_does_not_decode_endless_headers(void **state)
{
	char text[4 * BASIC_MAX + 2];

	(void)state;
	memset(text, ' ', sizeof text);
	memcpy(text, "Basic QTpC", 10);
	text[4 * BASIC_MAX] = '\0';
	assert_true(header(text));
	text[4 * BASIC_MAX] = ' ';
	text[4 * BASIC_MAX + 1] = '\0';
	assert_nothing(header(text));
}

static void
assert_challenge(const char *realm, const char *expected)
{
	char line[BASIC_CHALLENGE_MAX];

	basic_challenge(realm, line);
	assert_string_equal(line, expected);
}

static void
basic_challenge_quotes_the_realm(void **state)
{
	(void)state;
	assert_challenge("devices", "WWW-Authenticate: Basic realm=\"devices\"\r\n");
	assert_challenge("", "WWW-Authenticate: Basic realm=\"\"\r\n");
	assert_challenge("the \"new\" C:\\", "WWW-Authenticate: Basic realm=\"the \\\"new\\\" C:\\\\\"\r\n");
	assert_challenge("a\r\nX: b\x7f", "WWW-Authenticate: Basic realm=\"aX: b\"\r\n");
	assert_challenge("\xc3\xa9", "WWW-Authenticate: Basic realm=\"\xc3\xa9\"\r\n");
}

static void
basic_challenge_is_whole_however_long_the_realm(void **state)
{
	char realm[2 * BASIC_CHALLENGE_MAX], line[BASIC_CHALLENGE_MAX];

	(void)state;
	memset(realm, '"', sizeof realm);
	realm[sizeof realm - 1] = '\0';
	basic_challenge(realm, line);
	assert_true(strlen(line) < sizeof line);
	assert_string_equal(line + strlen(line) - strlen("\\\"\"\r\n"), "\\\"\"\r\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(basic_splits_at_the_first_colon),
		cmocka_unit_test(basic_takes_the_example_of_the_rfc),
		cmocka_unit_test(basic_refuses_what_is_not_basic),
		cmocka_unit_test(basic_refuses_what_is_not_base64),
		cmocka_unit_test(basic_refuses_credentials_without_a_colon),
		cmocka_unit_test(basic_refuses_control_characters_and_broken_utf8),
		cmocka_unit_test(basic_holds_its_limits_to_the_octet),
		cmocka_unit_test(basic_does_not_decode_endless_headers),
		cmocka_unit_test(basic_challenge_quotes_the_realm),
		cmocka_unit_test(basic_challenge_is_whole_however_long_the_realm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
