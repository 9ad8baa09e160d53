#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devsim/challenges.h"

static void
assert_is(const struct challenges *list, size_t index, const char *tag, const char *text)
{
	assert_true(index < list->count);
	assert_string_equal(list->at[index].tag, tag);
	assert_string_equal((const char *)list->at[index].text.at, text);
}

static void
challenges_parse_reads_lines(void **state)
{
	static const char text[] = "tag,challenge\r\nrtr-1,12-abc\r\n\n# a remark, with a comma\n  rtr-2 ,\t13-d,e \nrtr-3,14-f";
	struct challenges list = { 0 };
	struct err e = { 0 };

	(void)state;
	if (challenges_parse(bytes_of_text(text), &list, &e) != 0)
		fail_msg("%s", e.text);
	assert_int_equal(list.count, 3);
	assert_is(&list, 0, "rtr-1", "12-abc");
	assert_is(&list, 1, "rtr-2", "13-d,e");
	assert_is(&list, 2, "rtr-3", "14-f");
	challenges_free(&list);
	assert_int_equal(challenges_parse(bytes_of(NULL, 0), &list, &e), 0);
	assert_int_equal(list.count, 0);
}

static void
challenges_parse_names_the_bad_line(void **state)
{
	static const char *const bad[] = { "a,1\nb\n", "a,1\nb,\n", "a,1\n,2\n", "a,1\nb/c,2\n", "a,1\nb\x01,2\n", "a,1\n,\n" };
	char longest[DEVICE_NAME_MAX + 8] = "a,1\n";
	size_t i;

	(void)state;
	for (i = 0; i <= sizeof bad / sizeof bad[0]; i++) {
		struct challenges untouched = { 0 };
		struct err e = { 0 };
		const char *text = longest;

		if (i < sizeof bad / sizeof bad[0])
			text = bad[i];
		else {
			memset(longest + 4, 'x', DEVICE_NAME_MAX);
			memcpy(longest + 4 + DEVICE_NAME_MAX, ",2", 3);
		}
		assert_int_equal(challenges_parse(bytes_of_text(text), &untouched, &e), -1);
		assert_memory_equal(e.text, "line 2: ", 8);
		assert_int_equal(untouched.count, 0);
	}
}

static void
put_file(const char *dir, const char *name, const char *text)
{
	char path[512];
	FILE *f;

	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void
drop_file(const char *dir, const char *name)
{
	char path[512];

	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	assert_int_equal(unlink(path), 0);
}

static void
challenges_read_takes_a_folder_or_a_file(void **state)
{
	char dir[] = "/tmp/devsim-challenges-XXXXXX", path[512];
	struct challenges list = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(challenges_read(dir, 0, &list, &e), -1); /* nothing in it */
	put_file(dir, "rtr-2.challenge", " 13-b \nsecond line\n");
	put_file(dir, "rtr-1", "12-a");
	put_file(dir, ".hidden", "");
	if (challenges_read(dir, 0, &list, &e) != 0)
		fail_msg("%s", e.text);
	assert_int_equal(list.count, 2);
	assert_is(&list, 0, "rtr-1", "12-a");
	assert_is(&list, 1, "rtr-2", "13-b");
	challenges_free(&list);
	put_file(dir, "empty", "\n");
	assert_int_equal(challenges_read(dir, 0, &list, &e), -1);
	assert_non_null(strstr(e.text, "empty"));
	drop_file(dir, "empty");
	put_file(dir, "list.csv", "x,1\ny,2\nz,3\n");
	(void)snprintf(path, sizeof path, "%s/list.csv", dir);
	assert_int_equal(challenges_read(path, 2, &list, &e), 0);
	assert_int_equal(list.count, 2);
	assert_is(&list, 1, "y", "2");
	challenges_free(&list);
	drop_file(dir, "list.csv");
	drop_file(dir, "rtr-2.challenge");
	drop_file(dir, "rtr-1");
	drop_file(dir, ".hidden");
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(challenges_read(path, 0, &list, &e), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(challenges_parse_reads_lines),
		cmocka_unit_test(challenges_parse_names_the_bad_line),
		cmocka_unit_test(challenges_read_takes_a_folder_or_a_file),
	};

	return cmocka_run_group_tests_name("devsim_challenges", tests, NULL, NULL);
}
