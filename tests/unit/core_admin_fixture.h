/*
 * core_admin_fixture.h - operators' commands called as the control socket calls them.
 */
#ifndef TESTS_UNIT_CORE_ADMIN_FIXTURE_H
#define TESTS_UNIT_CORE_ADMIN_FIXTURE_H

#include "tests/unit/core_enroll_fixture.h"

#include <fcntl.h>

#include "gateway/core/admin.h"

/* What came of the last command. */
struct answer {
	json_t *rows, *result;
	int progress;
	int rows_until_gone; /* -1: the operator stays */
	struct err e;
};
static struct answer answer;
static const char *admin_actor = "operator:test"; /* who calls */

static inline bool
take_line(void *arg, json_t *line)
{
	json_t *row = json_object_get(line, "row");
	struct answer *a = arg;

	assert_non_null(line);
	if (json_object_get(line, "progress") != NULL)
		a->progress++;
	else {
		assert_true(json_is_object(row));
		assert_int_equal(json_array_append(a->rows, row), 0);
	}
	json_decref(line);
	return a->rows_until_gone < 0 || (int)json_array_size(a->rows) < a->rows_until_gone;
}

static inline int
run_with(struct rig *r, const char *command, const char *args, int fd, int rows_until_gone)
{
	struct admin_call call = { .gateway = &r->gateway, .actor = admin_actor, .fd = fd, .now_s = NOW,
		.emit = take_line, .emit_arg = &answer };
	int result;

	json_decref(answer.rows);
	json_decref(answer.result);
	answer = (struct answer){ .rows = json_array(), .rows_until_gone = rows_until_gone };
	call.args = args == NULL ? NULL : json_loads(args, 0, NULL);
	if (args != NULL)
		assert_non_null(call.args);
	result = admin_run(command, &call, &answer.e);
	json_decref(call.args);
	answer.result = call.result;
	rig_chain_holds(r);
	return result;
}

/* The same as another operator. */
static inline int
run_as(struct rig *r, const char *actor, const char *command, const char *args)
{
	int result;

	admin_actor = actor;
	result = run_with(r, command, args, -1, -1);
	admin_actor = "operator:test";
	return result;
}

static inline void
good(struct rig *r, const char *command, const char *args)
{
	if (run_with(r, command, args, -1, -1) != 0)
		fail_msg("%s %s: %s", command, args == NULL ? "" : args, answer.e.text);
}

/* Refused with this code; part is in the text. */
static inline void
bad(struct rig *r, const char *command, const char *args, enum err_code code, const char *part)
{
	assert_int_equal(run_with(r, command, args, -1, -1), -1);
	if (answer.e.code != code || strstr(answer.e.text, part) == NULL)
		fail_msg("%s %s: %s: %s", command, args, err_code_name(answer.e.code), answer.e.text);
}

static inline const char *
text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text == NULL ? "" : text;
}

static inline const json_t *
row(size_t i)
{
	assert_in_range(i, 0, json_array_size(answer.rows) - 1);
	return json_array_get(answer.rows, i);
}

static inline int64_t
number_of(const json_t *object, const char *key)
{
	assert_true(json_is_integer(json_object_get(object, key)));
	return json_integer_value(json_object_get(object, key));
}

/* A file with this text, open for reading, and without a name. */
static inline int
file_of(struct rig *r, struct bytes text)
{
	char path[160];
	int fd;

	(void)snprintf(path, sizeof path, "%s/passed", r->dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text.at, text.len), text.len);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	(void)unlink(path);
	return fd;
}

static inline int
with_file(struct rig *r, const char *command, const char *args, const char *text)
{
	int fd = file_of(r, bytes_of_text(text)), result = run_with(r, command, args, fd, -1);

	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC); /* still open, still ours */
	assert_int_equal(close(fd), 0);
	return result;
}

static inline int
admin_teardown(void **state)
{
	json_decref(answer.rows);
	json_decref(answer.result);
	answer = (struct answer){ .rows = NULL };
	return rig_teardown(state);
}

#define test(name) cmocka_unit_test_setup_teardown(name, rig_setup, admin_teardown)

#endif
