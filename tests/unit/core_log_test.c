#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "gateway/core/log.h"

#define LINE_LIMIT 4096

static int saved = -1;
static FILE *file;

/* Standard error goes to a file until caught() reads it. */
static void
catch_stderr(void)
{
	file = tmpfile();
	assert_non_null(file);
	saved = dup(STDERR_FILENO);
	assert_true(saved >= 0);
	assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
}

/* What was written since; the caller frees it. */
static char *
caught(void)
{
	long size;
	char *text;

	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	(void)close(saved);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	size = ftell(file);
	assert_true(size >= 0);
	rewind(file);
	text = calloc(1, (size_t)size + 1);
	assert_non_null(text);
	assert_int_equal(fread(text, 1, (size_t)size, file), (size_t)size);
	(void)fclose(file);
	return text;
}

static char *
line_of(enum log_level level, const char *event, const struct log_field *fields, int count)
{
	catch_stderr();
	log_fields(level, event, fields, count);
	return caught();
}

static size_t
count_of(const char *text, const char *part)
{
	size_t n = 0;

	for (text = strstr(text, part); text != NULL; text = strstr(text + 1, part))
		n++;
	return n;
}

static void
log_writes_pairs_after_time_level_and_event(void **state)
{
	const struct log_field fields[] = { { "id", "9f2c" }, { "proto", "est" }, { "none", NULL }, { "ms", "41" } };
	char *text;

	(void)state;
	log_setup("text", "info");
	text = line_of(LOG_LEVEL_INFO, "enroll", fields, 4);
	assert_int_equal(strlen(text), strlen("2026-11-21T07:25:00Z info enroll id=9f2c proto=est ms=41\n"));
	assert_string_equal(text + 19, "Z info enroll id=9f2c proto=est ms=41\n");
	assert_int_equal(text[10], 'T');
	free(text);
}

static void
log_quotes_and_escapes_what_could_be_mistaken(void **state)
{
	const struct log_field fields[] = { { "a", "two words" }, { "b", "say \"hi\"\\" }, { "c", "" }, { "d", "x=y" },
		{ "e", "line\nbreak\x1b[31m" }, { "f", "gr\xc3\xbc\xc3\x9f" }, { "g", "\xff\xc2\x85" } };
	char *text;

	(void)state;
	log_setup("text", "info");
	text = line_of(LOG_LEVEL_WARN, "x", fields, 7);
	assert_string_equal(strstr(text, " a="), " a=\"two words\" b=\"say \\\"hi\\\"\\\\\" c=\"\" d=\"x=y\" "
		"e=\"line\\x0abreak\\x1b[31m\" f=\"gr\xc3\xbc\xc3\x9f\" g=\"\\xff\\xc2\\x85\"\n");
	free(text);
}

static void
log_json_lines_are_json(void **state)
{
	const struct log_field fields[] = { { "reason", "a \"b\"\n\t\\\x01\xff \xe2\x82\xac" }, { "ms", "41" } };
	json_t *json;
	char *text;

	(void)state;
	log_setup("json", "info");
	text = line_of(LOG_LEVEL_ERROR, "enroll", fields, 2);
	assert_int_equal(count_of(text, "\n"), 1);
	json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(json);
	assert_string_equal(json_string_value(json_object_get(json, "level")), "error");
	assert_string_equal(json_string_value(json_object_get(json, "event")), "enroll");
	assert_string_equal(json_string_value(json_object_get(json, "ms")), "41");
	assert_int_equal(strlen(json_string_value(json_object_get(json, "time"))), 20);
	assert_string_equal(json_string_value(json_object_get(json, "reason")),
		"a \"b\"\n\t\\\x01\xc3\xbf \xe2\x82\xac");
	json_decref(json);
	free(text);
}

/* Whatever comes in, a line is one line, within the limit, and still well formed. */
static void
log_bounds_its_lines(void **state)
{
	struct log_field fields[20];
	char huge[6000];
	json_t *json;
	char *text;
	int i;

	(void)state;
	memset(huge, '\x02', sizeof huge - 1);
	huge[sizeof huge - 1] = '\0';
	for (i = 0; i < 20; i++)
		fields[i] = (struct log_field){ "key", huge };
	log_setup("text", "info");
	text = line_of(LOG_LEVEL_INFO, "x", fields, 20);
	assert_true(strlen(text) <= LINE_LIMIT);
	assert_int_equal(count_of(text, "\n"), 1);
	assert_non_null(strstr(text, " cut=true\n"));
	free(text);
	memset(huge, 'a', sizeof huge - 1);
	log_setup("json", "info");
	text = line_of(LOG_LEVEL_INFO, "x", fields, 20);
	assert_true(strlen(text) <= LINE_LIMIT);
	assert_non_null(strstr(text, "aaa...\""));
	json = json_loads(text, 0, NULL);
	assert_non_null(json);
	assert_true(json_is_true(json_object_get(json, "cut")));
	json_decref(json);
	free(text);
}

/* Lines that end anywhere near the limit still have room for what closes them. */
static void
log_keeps_room_for_the_end_of_a_line(void **state)
{
	struct log_field fields[5];
	char value[1025];
	size_t len;
	char *text;
	int i;

	(void)state;
	log_setup("json", "info");
	for (len = 980; len < sizeof value; len++) {
		memset(value, 'a', len);
		value[len] = '\0';
		for (i = 0; i < 5; i++)
			fields[i] = (struct log_field){ "k", value };
		text = line_of(LOG_LEVEL_INFO, "x", fields, 5);
		assert_true(strlen(text) <= LINE_LIMIT);
		assert_string_equal(text + strlen(text) - 2, "}\n");
		free(text);
	}
}

static void
log_leaves_out_what_is_below_the_level(void **state)
{
	char *text;

	(void)state;
	log_setup("text", "warn");
	catch_stderr();
	log_text(LOG_LEVEL_INFO, "quiet", "no");
	log_text(LOG_LEVEL_WARN, "loud", "yes %d", 7);
	text = caught();
	assert_null(strstr(text, "quiet"));
	assert_non_null(strstr(text, " warn loud msg=\"yes 7\"\n"));
	free(text);
}

static void
log_setup_takes_unknown_words_for_text_and_info(void **state)
{
	char *text;

	(void)state;
	log_setup("xml", "loud");
	catch_stderr();
	log_text(LOG_LEVEL_DEBUG, "a", "1");
	log_text(LOG_LEVEL_INFO, "b", "2");
	text = caught();
	assert_int_equal(count_of(text, "\n"), 1);
	assert_non_null(strstr(text, " info b msg=2\n"));
	free(text);
}

static void
say(int n)
{
	log_rare(LOG_LEVEL_WARN, "rare", "n %d", n);
}

static void
log_rare_speaks_ten_times_a_minute_for_each_place(void **state)
{
	char *text;
	int i;

	(void)state;
	log_setup("text", "info");
	catch_stderr();
	for (i = 0; i < 25; i++)
		say(i);
	log_rare(LOG_LEVEL_WARN, "other", "here");
	text = caught();
	assert_int_equal(count_of(text, " warn rare "), 10);
	assert_non_null(strstr(text, "\"n 9\""));
	assert_null(strstr(text, "\"n 10\""));
	assert_int_equal(count_of(text, " warn other "), 1);
	free(text);
}

/* More places than slots: nobody is silenced for ever, and memory stays as it is. */
static void
log_rare_forgets_old_places_when_there_are_too_many(void **state)
{
	char *text;
	int i;

	(void)state;
	log_setup("text", "info");
	catch_stderr();
	for (i = 0; i < 500; i++)
		log_rare_at("generated.c", i, LOG_LEVEL_WARN, "place", "%d", i);
	text = caught();
	assert_int_equal(count_of(text, " warn place "), 500);
	free(text);
}

#define THREADS 4
#define LINES_EACH 200

static void *
writer(void *arg)
{
	const struct log_field fields[] = { { "who", arg }, { "text", "a value with spaces" } };
	int i;

	for (i = 0; i < LINES_EACH; i++) {
		log_setup(i % 2 == 0 ? "text" : "json", "info");
		log_fields(LOG_LEVEL_INFO, "thread", fields, 2);
	}
	return NULL;
}

static void
log_lines_of_many_threads_do_not_mix(void **state)
{
	static char names[THREADS][2] = { "a", "b", "c", "d" };
	pthread_t threads[THREADS];
	char *text, *line, *rest;
	size_t whole = 0;
	int i;

	(void)state;
	catch_stderr();
	/* Append mode, as a log file has: each write goes to the end. */
	assert_non_null(freopen(NULL, "a+", file));
	assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, writer, names[i]), 0);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	text = rest = caught();
	while ((line = strsep(&rest, "\n")) != NULL && line[0] != '\0') {
		size_t len = strlen(line);

		assert_int_equal(line[0] == '{' ? line[len - 1] == '}' : line[len - 1] == '"', 1);
		assert_int_equal(count_of(line, "a value with spaces"), 1);
		whole++;
	}
	assert_int_equal(whole, THREADS * LINES_EACH);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(log_writes_pairs_after_time_level_and_event),
		cmocka_unit_test(log_quotes_and_escapes_what_could_be_mistaken),
		cmocka_unit_test(log_json_lines_are_json),
		cmocka_unit_test(log_bounds_its_lines),
		cmocka_unit_test(log_keeps_room_for_the_end_of_a_line),
		cmocka_unit_test(log_leaves_out_what_is_below_the_level),
		cmocka_unit_test(log_setup_takes_unknown_words_for_text_and_info),
		cmocka_unit_test(log_rare_speaks_ten_times_a_minute_for_each_place),
		cmocka_unit_test(log_rare_forgets_old_places_when_there_are_too_many),
		cmocka_unit_test(log_lines_of_many_threads_do_not_mix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
