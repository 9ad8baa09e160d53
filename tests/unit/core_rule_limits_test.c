#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "gateway/core/rule_limits.h"

#define NOW INT64_C(1800000000)

static const struct policy_rule rule = { .name = "few", .count = 2, .per_s = 6400 };
static const struct policy_rule *const rules[] = { &rule };
static const uint8_t csr[32] = { 1, 2, 3 }, other_csr[32] = { 1, 2, 4 };
static const struct rule_limits_key key = { "rtr-1", "fleet", csr };

static int
setup(void **state)
{
	struct rule_limits *limits = NULL;
	struct err e;

	assert_int_equal(rule_limits_new(&limits, &e), 0);
	*state = limits;
	return 0;
}

static int
teardown(void **state)
{
	rule_limits_free(*state);
	return 0;
}

static void
fill(struct rule_limits *limits, int64_t now_s)
{
	while (rule_limits_take(limits, &rule, now_s))
		;
}

static void
core_rule_limits_give_back_what_was_held_for_an_end_without_certificate(void **state)
{
	struct rule_limits *limits = *state;

	fill(limits, NOW);
	assert_true(rule_limits_hold(limits, &key, rules, 1, NOW));
	rule_limits_settle(limits, &key, false);
	assert_true(rule_limits_take(limits, &rule, NOW + 1));
	assert_false(rule_limits_take(limits, &rule, NOW + 1));
	/* Once. */
	rule_limits_settle(limits, &key, false);
	assert_false(rule_limits_take(limits, &rule, NOW + 1));
}

static void
core_rule_limits_keep_what_came_to_a_certificate(void **state)
{
	struct rule_limits *limits = *state;

	fill(limits, NOW);
	assert_true(rule_limits_hold(limits, &key, rules, 1, NOW));
	rule_limits_settle(limits, &key, true);
	rule_limits_settle(limits, &key, false);
	assert_false(rule_limits_take(limits, &rule, NOW));
}

static void
core_rule_limits_give_nothing_back_for_what_is_not_held(void **state)
{
	struct rule_limits *limits = *state;
	struct rule_limits_key others[] = { { "rtr-2", "fleet", csr }, { "rtr-1", "guests", csr }, { "rtr-1", "fleet", other_csr } };
	size_t i;

	fill(limits, NOW);
	assert_true(rule_limits_hold(limits, &key, rules, 1, NOW));
	for (i = 0; i < sizeof others / sizeof others[0]; i++)
		rule_limits_settle(limits, &others[i], false);
	assert_false(rule_limits_take(limits, &rule, NOW));
	assert_false(rule_limits_hold(limits, &others[0], rules, 0, NOW));
}

static void
core_rule_limits_give_nothing_back_that_has_left_the_window(void **state)
{
	struct rule_limits *limits = *state;

	assert_true(rule_limits_take(limits, &rule, NOW));
	assert_true(rule_limits_hold(limits, &key, rules, 1, NOW));
	fill(limits, NOW + 6500);
	assert_false(rule_limits_take(limits, &rule, NOW + 6500));
	rule_limits_settle(limits, &key, false);
	assert_false(rule_limits_take(limits, &rule, NOW + 6500));
}

static void
core_rule_limits_give_back_across_a_change_of_the_window(void **state)
{
	struct rule_limits *limits = *state;
	struct policy_rule longer = rule;

	longer.per_s = 64000;
	fill(limits, NOW);
	assert_true(rule_limits_hold(limits, &key, rules, 1, NOW));
	assert_false(rule_limits_take(limits, &longer, NOW + 6000));
	rule_limits_settle(limits, &key, false);
	assert_true(rule_limits_take(limits, &longer, NOW + 6000));
	assert_false(rule_limits_take(limits, &longer, NOW + 6000));
}

static void
core_rule_limits_without_a_table_hold_nothing(void **state)
{
	(void)state;
	assert_false(rule_limits_hold(NULL, &key, rules, 1, NOW));
	rule_limits_settle(NULL, &key, false);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(core_rule_limits_give_back_what_was_held_for_an_end_without_certificate),
		TEST(core_rule_limits_keep_what_came_to_a_certificate),
		TEST(core_rule_limits_give_nothing_back_for_what_is_not_held),
		TEST(core_rule_limits_give_nothing_back_that_has_left_the_window),
		TEST(core_rule_limits_give_back_across_a_change_of_the_window),
		TEST(core_rule_limits_without_a_table_hold_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
