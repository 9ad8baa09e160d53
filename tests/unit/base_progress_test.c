#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/progress.h"

#define SECOND_US 1000000

static void
assert_line(const char *want, uint64_t done, uint64_t total, int64_t elapsed_us, size_t width)
{
	CLEANUP(buf) struct buf line = { 0 };

	progress_format(&line, "enrolling", done, total, elapsed_us, width);
	assert_string_equal(buf_text(&line), want);
}

static void
progress_shows_share_rate_and_time_left(void **state)
{
	(void)state;
	assert_line("enrolling   25 %  500/2000  50/s  ETA 0:30", 500, 2000, 10 * SECOND_US, 0);
}

static void
progress_without_total_counts_only(void **state)
{
	(void)state;
	assert_line("enrolling  500  50/s  in 0:10", 500, 0, 10 * SECOND_US, 0);
}

static void
progress_that_has_not_moved_knows_no_eta(void **state)
{
	(void)state;
	assert_line("enrolling    0 %  0/10  0/s  ETA -", 0, 10, SECOND_US, 0);
}

static void
progress_past_its_total_stays_at_the_total(void **state)
{
	(void)state;
	assert_line("enrolling  100 %  10/10  5.0/s  in 0:02", 12, 10, 2 * SECOND_US, 0);
}

static void
progress_bar_fills_the_width_but_for_the_last_column(void **state)
{
	CLEANUP(buf) struct buf line = { 0 };

	(void)state;
	progress_format(&line, "x", 5, 10, SECOND_US, 60);
	assert_int_equal(strlen(buf_text(&line)), 59);
	assert_non_null(strstr(buf_text(&line), "#."));
}

static void
progress_bar_is_left_out_where_it_does_not_fit(void **state)
{
	CLEANUP(buf) struct buf line = { 0 };

	(void)state;
	progress_format(&line, "x", 5, 10, SECOND_US, 20);
	assert_null(strchr(buf_text(&line), '['));
}

static void
progress_clock_has_hours_from_an_hour_on(void **state)
{
	char text[24];

	(void)state;
	progress_clock_text(59 * 60 + 59, text);
	assert_string_equal(text, "59:59");
	progress_clock_text(3 * 3600 + 5 * 60 + 9, text);
	assert_string_equal(text, "3:05:09");
	progress_clock_text(-1, text);
	assert_string_equal(text, "-");
}

static void
progress_into_a_file_is_silent_for_a_short_job(void **state)
{
	struct progress progress;
	FILE *file = tmpfile();

	(void)state;
	assert_non_null(file);
	progress_begin(&progress, file, false, "work", 3);
	assert_int_equal(progress.style, PROGRESS_LINES);
	progress_update(&progress, 1);
	progress_end(&progress, 3);
	assert_int_equal(ftell(file), 0);
	(void)fclose(file);
}

static void
progress_into_a_file_writes_whole_lines_when_they_are_due(void **state)
{
	struct progress progress;
	char text[200] = "";
	FILE *file = tmpfile();

	(void)state;
	assert_non_null(file);
	progress_begin(&progress, file, false, "work", 3);
	progress.began_us -= 100 * SECOND_US;
	progress.shown_us = progress.began_us;
	progress_update(&progress, 1);
	progress_end(&progress, 3);
	rewind(file);
	assert_non_null(fgets(text, sizeof text, file));
	assert_non_null(strstr(text, "1/3"));
	assert_non_null(fgets(text, sizeof text, file));
	assert_non_null(strstr(text, "100 %  3/3"));
	assert_null(strchr(text, '\r'));
	(void)fclose(file);
}

static void
progress_that_is_quiet_writes_nothing(void **state)
{
	struct progress progress;
	FILE *file = tmpfile();

	(void)state;
	assert_non_null(file);
	progress_begin(&progress, file, true, "work", 3);
	progress.began_us -= 100 * SECOND_US;
	progress.shown_us = progress.began_us;
	progress_update(&progress, 1);
	progress_end(&progress, 3);
	assert_int_equal(ftell(file), 0);
	(void)fclose(file);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(progress_shows_share_rate_and_time_left),
		cmocka_unit_test(progress_without_total_counts_only),
		cmocka_unit_test(progress_that_has_not_moved_knows_no_eta),
		cmocka_unit_test(progress_past_its_total_stays_at_the_total),
		cmocka_unit_test(progress_bar_fills_the_width_but_for_the_last_column),
		cmocka_unit_test(progress_bar_is_left_out_where_it_does_not_fit),
		cmocka_unit_test(progress_clock_has_hours_from_an_hour_on),
		cmocka_unit_test(progress_into_a_file_is_silent_for_a_short_job),
		cmocka_unit_test(progress_into_a_file_writes_whole_lines_when_they_are_due),
		cmocka_unit_test(progress_that_is_quiet_writes_nothing),
	};

	return cmocka_run_group_tests_name("base/progress", tests, NULL, NULL);
}
