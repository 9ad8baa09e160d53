#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "devsim/options.h"

struct values {
	const char *text;
	uint64_t number;
	double real;
	int64_t duration_s;
	int choice;
	bool flag, help;
	struct option_list list;
};

#define AT(field) offsetof(struct values, field)

static const struct option_spec specs[] = {
	{ .kind = OPTION_SECTION, .help = "heading" },
	{ "text", 't', OPTION_TEXT, NULL, AT(text), "T", "a text" },
	{ "number", 0, OPTION_NUMBER, NULL, AT(number), "N", "a number" },
	{ "rate", 0, OPTION_REAL, NULL, AT(real), "R", "a rate" },
	{ "wait", 0, OPTION_DURATION, "10m", AT(duration_s), "TIME", "how long" },
	{ "op", 0, OPTION_CHOICE, NULL, AT(choice), "one|two|three", "a choice" },
	{ "flag", 'f', OPTION_FLAG, NULL, AT(flag), NULL, "what it does" },
	{ "list", 0, OPTION_LIST, NULL, AT(list), "L", "a list" },
	{ 0 },
};

static int
parse(struct values *v, struct err *e, int argc, const char *const *args)
{
	char storage[40][32], *argv[40];
	int i;

	for (i = 0; i < argc; i++) {
		(void)snprintf(storage[i], sizeof storage[i], "%s", args[i]);
		argv[i] = storage[i];
	}
	i = options_parse(specs, v, argc, argv, &v->help, e);
	/* The text points into this frame: only whether it is there outlives it. */
	v->text = v->text == NULL ? NULL : "given";
	return i;
}

#define PARSE(v, e, ...) \
	parse(v, e, (int)(sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *)), \
		(const char *const[]){ __VA_ARGS__ })

static void
options_read_every_kind_both_ways(void **state)
{
	struct values v = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(PARSE(&v, &e, "--text", "a", "--number=12", "--rate", "2.5/s", "--op", "three", "-f", "--list",
		"x", "--list=y"), 0);
	assert_non_null(v.text);
	assert_int_equal(v.number, 12);
	assert_true(v.real > 2.4 && v.real < 2.6);
	assert_int_equal(v.choice, 2);
	assert_true(v.flag);
	assert_int_equal(v.list.count, 2);
	assert_false(v.help);
}

static void
options_let_a_bare_value_be_left_out(void **state)
{
	struct values v = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(PARSE(&v, &e, "--wait", "--flag"), 0);
	assert_true(v.flag);
	assert_int_equal(v.duration_s, 600);
	assert_int_equal(PARSE(&v, &e, "--wait", "30s"), 0);
	assert_int_equal(v.duration_s, 30);
	assert_int_equal(PARSE(&v, &e, "--wait=5m"), 0);
	assert_int_equal(v.duration_s, 300);
}

static void
assert_refused(const char *says, const char *option, const char *value)
{
	struct values v = { 0 };
	struct err e = { 0 };

	assert_int_equal(value == NULL ? PARSE(&v, &e, option) : PARSE(&v, &e, option, value), -1);
	assert_non_null(strstr(e.text, says));
}

static void
options_say_what_is_wrong(void **state)
{
	(void)state;
	assert_refused("unknown option --nope", "--nope", NULL);
	assert_refused("unknown option --tex", "--tex", "x");
	assert_refused("unknown option -x", "-x", NULL);
	assert_refused("unexpected argument", "loose", NULL);
	assert_refused("needs a value", "--text", NULL);
	assert_refused("not a number", "--number", "-1");
	assert_refused("not a number", "--number", "12x");
	assert_refused("not a number", "--number", "99999999999999999999");
	assert_refused("not a number like", "--rate", "fast");
	assert_refused("not a number like", "--rate", "nan");
	assert_refused("not a number like", "--rate", "1e300");
	assert_refused("none of one|two|three", "--op", "tw");
	assert_refused("takes no value", "--flag=yes", NULL);
	assert_refused("duration", "--wait=soon", NULL);
}

static void
options_limit_a_list(void **state)
{
	const char *args[OPTION_LIST_MAX + 1];
	struct values v = { 0 };
	struct err e = { 0 };
	int i;

	(void)state;
	for (i = 0; i <= OPTION_LIST_MAX; i++)
		args[i] = "--list=x";
	assert_int_equal(parse(&v, &e, OPTION_LIST_MAX, args), 0);
	v.list.count = 0;
	assert_int_equal(parse(&v, &e, OPTION_LIST_MAX + 1, args), -1);
	assert_int_equal(e.code, ERR_LIMIT);
}

static void
options_stop_at_help(void **state)
{
	struct values v = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(PARSE(&v, &e, "--flag", "--help", "--nope"), 0);
	assert_true(v.help);
}

static void
options_help_names_every_option_and_its_value(void **state)
{
	char text[600] = "";
	FILE *file = tmpfile();

	(void)state;
	assert_non_null(file);
	options_help(specs, file);
	rewind(file);
	text[fread(text, 1, sizeof text - 1, file)] = '\0';
	(void)fclose(file);
	assert_non_null(strstr(text, "heading:\n"));
	assert_non_null(strstr(text, "-f --flag "));
	assert_non_null(strstr(text, "--wait[=TIME]"));
	assert_non_null(strstr(text, "how long\n"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_read_every_kind_both_ways),
		cmocka_unit_test(options_let_a_bare_value_be_left_out),
		cmocka_unit_test(options_say_what_is_wrong),
		cmocka_unit_test(options_limit_a_list),
		cmocka_unit_test(options_stop_at_help),
		cmocka_unit_test(options_help_names_every_option_and_its_value),
	};

	return cmocka_run_group_tests_name("devsim/options", tests, NULL, NULL);
}
