#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/err.h"
#include "base/timefmt.h"

static void
time_text_and_time_parse_are_inverse(void **state)
{
	static const struct {
		int64_t at_s;
		const char *text;
	} times[] = {
		{ 0, "1970-01-01T00:00:00Z" },
		{ -1, "1969-12-31T23:59:59Z" },
		{ 951782400, "2000-02-29T00:00:00Z" },
		{ 1795245900, "2026-11-21T07:25:00Z" },
		{ 253402300799, "9999-12-31T23:59:59Z" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof times / sizeof times[0]; i++) {
		char text[TIME_TEXT_MAX];
		struct err e = { 0 };
		int64_t at_s = 7;

		time_text(times[i].at_s, text);
		assert_string_equal(text, times[i].text);
		assert_int_equal(time_parse(text, &at_s, &e), 0);
		assert_int_equal(at_s, times[i].at_s);
	}
}

static void
time_text_is_empty_outside_its_range(void **state)
{
	static const int64_t bad[] = { INT64_MIN, INT64_MAX, 253402300800, -67768036191676800 };
	char text[TIME_TEXT_MAX];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		memset(text, 'x', sizeof text);
		time_text(bad[i], text);
		assert_string_equal(text, "");
	}
}

static void
time_parse_takes_a_date_alone(void **state)
{
	struct err e;
	int64_t at_s = 0;

	(void)state;
	assert_int_equal(time_parse("2000-02-29", &at_s, &e), 0);
	assert_int_equal(at_s, 951782400);
}

static void
time_parse_refuses_everything_else(void **state)
{
	static const char *const bad[] = { "", "2030", "2030-12", "2030-13-01", "2030-00-10", "2030-02-30", "2001-02-29",
		"2030-2-1", " 2030-02-01", "2030-02-01 ", "2030-02-01T", "2030-02-01T00:00:00", "2030-02-01T24:00:00Z",
		"2030-02-01T00:00:00Zx", "2030-02-01T00:00Z", "2030-02-01T00:60:00Z", "2030-02-01 00:00:00Z", "now",
		"2030-02-01T00:00:00+01:00", "2030/02/01" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct err e = { 0 };
		int64_t at_s = 7;

		if (time_parse(bad[i], &at_s, &e) == 0)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(e.code, ERR_MALFORMED);
		assert_int_equal(at_s, 7);
	}
}

static void
duration_parse_knows_its_units(void **state)
{
	static const struct {
		const char *text;
		int64_t seconds;
	} durations[] = {
		{ "0", 0 },
		{ "45", 45 },
		{ "45s", 45 },
		{ "30m", 1800 },
		{ "12h", 43200 },
		{ "90d", 7776000 },
		{ "2w", 1209600 },
		{ "73200d", 6324480000 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof durations / sizeof durations[0]; i++) {
		struct err e;
		int64_t seconds = -1;

		assert_int_equal(duration_parse(durations[i].text, &seconds, &e), 0);
		assert_int_equal(seconds, durations[i].seconds);
	}
}

static void
duration_parse_refuses_everything_else(void **state)
{
	static const char *const bad[] = { "", "d", "-1d", "+1d", " 1d", "1 d", "1.5h", "1x", "1dd", "1d1h", "1D", "0x10",
		"73201d", "999999999999999999999", "9223372036854775807w" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct err e = { 0 };
		int64_t seconds = 7;

		if (duration_parse(bad[i], &seconds, &e) == 0)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(e.code, ERR_MALFORMED);
		assert_int_equal(seconds, 7);
	}
}

static void
duration_text_uses_the_largest_unit_that_divides(void **state)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} durations[] = { { 7776000, "90d" }, { 1209600, "14d" }, { 43200, "12h" }, { 5400, "90m" }, { 61, "61s" },
		{ 0, "0s" } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof durations / sizeof durations[0]; i++) {
		char text[TIME_TEXT_MAX];

		duration_text(durations[i].seconds, text);
		assert_string_equal(text, durations[i].text);
	}
}

static void
the_monotonic_clock_does_not_go_back(void **state)
{
	int64_t first = time_monotonic_us();

	(void)state;
	assert_true(time_monotonic_us() >= first);
	assert_true(time_now_s() > 1700000000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(time_text_and_time_parse_are_inverse),
		cmocka_unit_test(time_text_is_empty_outside_its_range),
		cmocka_unit_test(time_parse_takes_a_date_alone),
		cmocka_unit_test(time_parse_refuses_everything_else),
		cmocka_unit_test(duration_parse_knows_its_units),
		cmocka_unit_test(duration_parse_refuses_everything_else),
		cmocka_unit_test(duration_text_uses_the_largest_unit_that_divides),
		cmocka_unit_test(the_monotonic_clock_does_not_go_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
