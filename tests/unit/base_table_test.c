#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/table.h"

static const struct table_column two[] = { { "NAME", TABLE_LEFT, 0 }, { "N", TABLE_RIGHT, 0 } };

static void
assert_table(const struct table *table, const char *want)
{
	CLEANUP(buf) struct buf out = { 0 };
	struct err e = { 0 };

	assert_int_equal(table_format(table, &out, &e), 0);
	assert_string_equal(buf_text(&out), want);
}

static void
table_aligns_left_and_right(void **state)
{
	CLEANUP(table) struct table *table = table_new(two, 2);

	(void)state;
	table_cell(table, "router");
	table_cellf(table, "%d", 7);
	table_cell(table, "x");
	table_cellf(table, "%d", 1234);
	assert_int_equal(table_rows(table), 2);
	assert_table(table, "NAME       N\nrouter     7\nx       1234\n");
}

static void
table_counts_columns_not_octets(void **state)
{
	CLEANUP(table) struct table *table = table_new(two, 2);

	(void)state;
	table_cell(table, "M\xc3\xbcnchen");
	table_cell(table, "1");
	table_cell(table, "\xe6\x9d\xb1\xe4\xba\xac");
	table_cell(table, "2");
	assert_table(table, "NAME     N\nM\xc3\xbcnchen  1\n\xe6\x9d\xb1\xe4\xba\xac     2\n");
}

static void
table_width_of_wide_combining_and_broken_text(void **state)
{
	(void)state;
	assert_int_equal(text_columns(bytes_of_text("\xe6\x9d\xb1")), 2);
	assert_int_equal(text_columns(bytes_of_text("e\xcc\x81")), 1);
	assert_int_equal(text_columns(bytes_of_text("\xff\xfe")), 2);
	assert_int_equal(text_columns(bytes_of_text("\xc3")), 1);
	assert_int_equal(text_columns(bytes_of_text("\xe0\x80\x80")), 3);
}

static void
table_replaces_what_would_move_the_cursor(void **state)
{
	CLEANUP(table) struct table *table = table_new(two, 2);

	(void)state;
	table_cell(table, "a\033[2Jb\r\n");
	table_cell(table, "\xc2\x9b");
	assert_table(table, "NAME      N\na?[2Jb??  ?\n");
}

static void
table_cuts_long_cells_with_an_ellipsis(void **state)
{
	static const struct table_column one[] = { { "T", TABLE_LEFT, 5 } };
	CLEANUP(table) struct table *table = table_new(one, 1);

	(void)state;
	table_cell(table, "12345");
	table_cell(table, "123456");
	table_cell(table, "\xe6\x9d\xb1\xe4\xba\xac\xe6\x9d\xb1");
	assert_table(table, "T\n12345\n1234\xe2\x80\xa6\n\xe6\x9d\xb1\xe4\xba\xac\xe2\x80\xa6\n");
}

static void
table_leaves_no_blanks_at_line_ends(void **state)
{
	static const struct table_column columns[] = { { "A", TABLE_LEFT, 0 }, { "B", TABLE_LEFT, 0 } };
	CLEANUP(table) struct table *table = table_new(columns, 2);

	(void)state;
	table_cell(table, "long");
	table_cell(table, NULL);
	table_cell(table, "");
	table_cell(table, "");
	assert_table(table, "A     B\nlong\n\n");
}

static void
table_leaves_an_unfinished_row_out(void **state)
{
	CLEANUP(table) struct table *table = table_new(two, 2);

	(void)state;
	table_cell(table, "a very long name");
	assert_int_equal(table_rows(table), 0);
	assert_table(table, "NAME  N\n");
}

static void
table_refuses_no_columns_and_too_many(void **state)
{
	(void)state;
	assert_null(table_new(two, 0));
	assert_null(table_new(two, TABLE_COLUMNS_MAX + 1));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_aligns_left_and_right),
		cmocka_unit_test(table_counts_columns_not_octets),
		cmocka_unit_test(table_width_of_wide_combining_and_broken_text),
		cmocka_unit_test(table_replaces_what_would_move_the_cursor),
		cmocka_unit_test(table_cuts_long_cells_with_an_ellipsis),
		cmocka_unit_test(table_leaves_no_blanks_at_line_ends),
		cmocka_unit_test(table_leaves_an_unfinished_row_out),
		cmocka_unit_test(table_refuses_no_columns_and_too_many),
	};

	return cmocka_run_group_tests_name("base/table", tests, NULL, NULL);
}
