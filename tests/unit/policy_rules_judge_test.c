#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "tests/unit/policy_rules_fixture.h"

static struct case_facts c;
static struct rule_judgement got;

static void
judge(const struct policy_rule *rules, size_t count, bool otherwise_allow)
{
	struct policy_rules *made = rules_of(rules, count, otherwise_allow);

	policy_rules_judge(made, &c.facts, &got);
	policy_rules_free(made);
}

static void
policy_rules_none_judge_nothing(void **state)
{
	(void)state;
	facts_set(&c);
	policy_rules_judge(NULL, &c.facts, &got);
	assert_int_equal(got.result, RULES_NONE);
	judge(NULL, 0, false);
	assert_int_equal(got.result, RULES_NONE);
	assert_int_equal(got.matched_count, 0);
}

static void
policy_rules_deny_by_default(void **state)
{
	struct policy_rule rules[2] = { rule_of("a", RULE_ALLOW), rule_of("b", RULE_APPROVE) };

	(void)state;
	facts_set(&c);
	list_add(&rules[0].labels, "home");
	judge(rules, 2, false);
	assert_int_equal(got.result, RULES_DENY);
	assert_int_equal(got.decided_by, 2);
	assert_int_equal(got.looked_at, 2);
	assert_int_equal(got.matched_count, 1);
	assert_false(got.limited);
	judge(rules, 2, true);
	assert_int_equal(got.result, RULES_ALLOW);
	assert_int_equal(got.decided_by, 2);
	assert_true(got.approve);
}

static void
policy_rules_first_allow_or_deny_decides_and_stops(void **state)
{
	struct policy_rule rules[4] = { rule_of("a", RULE_REQUIRE), rule_of("b", RULE_ALLOW), rule_of("c", RULE_DENY),
		rule_of("d", RULE_APPROVE) };

	(void)state;
	facts_set(&c);
	judge(rules, 4, false);
	assert_int_equal(got.result, RULES_ALLOW);
	assert_int_equal(got.decided_by, 1);
	assert_int_equal(got.looked_at, 2);
	assert_int_equal(got.matched_count, 2);
	assert_int_equal(got.matched[0], 0);
	assert_int_equal(got.matched[1], 1);
	assert_false(got.approve);
	list_add(&rules[1].labels, "home");
	judge(rules, 4, true);
	assert_int_equal(got.result, RULES_DENY);
	assert_int_equal(got.decided_by, 2);
	assert_int_equal(got.looked_at, 3);
	assert_int_equal(got.demand_count, 1); /* what came before still holds */
}

static void
policy_rules_collect_demands_in_order(void **state)
{
	struct policy_rule rules[3] = { rule_of("a", RULE_PREFER), rule_of("b", RULE_REQUIRE), rule_of("c", RULE_ALLOW) };
	struct policy_rules *made;

	(void)state;
	facts_set(&c);
	list_add(&rules[1].attesters, "ear");
	made = rules_of(rules, 3, false);
	policy_rules_judge(made, &c.facts, &got);
	assert_int_equal(got.demand_count, 2);
	assert_int_equal(got.demands[0].rule, 0);
	assert_false(got.demands[0].required);
	assert_int_equal(got.demands[1].rule, 1);
	assert_true(got.demands[1].required);
	assert_string_equal(got.demands[1].attesters->at[1], "ear");
	policy_rules_free(made);
}

static void
policy_rules_deny_more_demands_than_are_remembered(void **state)
{
	struct policy_rule rules[RULE_DEMANDS_MAX + 2];
	size_t i;

	(void)state;
	facts_set(&c);
	for (i = 0; i <= RULE_DEMANDS_MAX; i++) {
		rules[i] = rule_of("", RULE_REQUIRE);
		(void)snprintf(rules[i].name, sizeof rules[i].name, "r%zu", i);
	}
	rules[RULE_DEMANDS_MAX] = rule_of("last", RULE_ALLOW);
	judge(rules, RULE_DEMANDS_MAX + 1, false);
	assert_int_equal(got.result, RULES_ALLOW);
	assert_int_equal(got.demand_count, RULE_DEMANDS_MAX);
	assert_false(got.crowded);
	rules[RULE_DEMANDS_MAX] = rule_of("one more", RULE_REQUIRE);
	rules[RULE_DEMANDS_MAX + 1] = rule_of("last", RULE_ALLOW);
	judge(rules, RULE_DEMANDS_MAX + 2, true);
	assert_int_equal(got.result, RULES_DENY);
	assert_true(got.crowded);
	assert_int_equal(got.decided_by, RULE_DEMANDS_MAX);
	c.facts.waive = true;
	judge(rules, RULE_DEMANDS_MAX + 2, true);
	assert_int_equal(got.result, RULES_DENY);
	assert_true(got.crowded);
}

static void
policy_rules_name_the_first_that_wants_approval_and_the_shortest_life(void **state)
{
	struct policy_rule rules[5] = { rule_of("a", RULE_APPROVE), rule_of("b", RULE_APPROVE),
		rule_of("c", RULE_PREFER), rule_of("d", RULE_ALLOW), rule_of("e", RULE_ALLOW) };

	(void)state;
	facts_set(&c);
	rules[3].action = RULE_APPROVE;
	judge(rules, 5, false);
	assert_int_equal(got.approve_by, 0);
	rules[3].action = RULE_ALLOW;
	list_add(&rules[0].labels, "home");
	rules[0].lifetime_s = 1;
	rules[1].lifetime_s = 500;
	rules[2].lifetime_s = 300;
	rules[3].lifetime_s = 400;
	judge(rules, 4, false);
	assert_true(got.approve);
	assert_int_equal(got.approve_by, 1);
	assert_int_equal(got.lifetime_s, 300);
	rules[3].lifetime_s = 200;
	judge(rules, 4, false);
	assert_int_equal(got.lifetime_s, 200);
	rules[1].lifetime_s = rules[2].lifetime_s = rules[3].lifetime_s = 0;
	judge(rules, 4, false);
	assert_int_equal(got.lifetime_s, 0);
}

/* Rule number *full has no room. */
static bool
room(void *arg, size_t rule)
{
	return rule != *(const size_t *)arg;
}

static void
policy_rules_with_a_limit_deny_when_it_is_reached(void **state)
{
	static const enum rule_action actions[] = { RULE_REQUIRE, RULE_PREFER, RULE_APPROVE, RULE_ALLOW };
	size_t full, i;

	(void)state;
	facts_set(&c);
	for (i = 0; i < 4; i++) {
		struct policy_rule rules[2] = { rule_of("a", actions[i]), rule_of("b", RULE_ALLOW) };

		facts_set(&c);
		rules[0].count = 5;
		rules[0].per_s = 60;
		judge(rules, 2, false);
		assert_int_equal(got.result, RULES_ALLOW); /* nobody counts: there is room */
		c.facts.room = room;
		c.facts.room_arg = &full;
		full = 1;                                  /* b has no limit, so nobody asks */
		judge(rules, 2, false);
		assert_int_equal(got.result, RULES_ALLOW);
		full = 0;
		judge(rules, 2, true);
		assert_int_equal(got.result, RULES_DENY);
		assert_true(got.limited);
		assert_int_equal(got.decided_by, 0);
		assert_int_equal(got.looked_at, 1);
		/* What the rule demands holds all the same, for whoever waives its limit. */
		assert_int_equal(got.demand_count, actions[i] <= RULE_PREFER ? 1 : 0);
		list_add(&rules[0].labels, "home");        /* a rule that does not match is not full either */
		judge(rules, 2, false);
		assert_int_equal(got.result, RULES_ALLOW);
	}
}

static void
policy_rules_that_are_waived_are_noted_and_judging_goes_on(void **state)
{
	struct policy_rule rules[4] = { rule_of("a", RULE_DENY), rule_of("b", RULE_DENY), rule_of("c", RULE_REQUIRE),
		rule_of("d", RULE_ALLOW) };
	size_t full = 3;

	(void)state;
	facts_set(&c);
	c.facts.waive = true;
	judge(rules, 4, false);
	assert_int_equal(got.result, RULES_ALLOW);
	assert_true(got.waived);
	assert_int_equal(got.waived_by, 0);
	assert_false(got.waived_limit);
	assert_int_equal(got.decided_by, 3);
	assert_int_equal(got.demand_count, 1);
	assert_int_equal(got.matched_count, 4);
	/* For want of an allow. */
	judge(rules + 2, 1, false);
	assert_int_equal(got.result, RULES_ALLOW);
	assert_true(got.waived);
	assert_int_equal(got.waived_by, 1);
	assert_int_equal(got.demand_count, 1);
	/* Nothing to waive. */
	judge(rules + 2, 2, false);
	assert_false(got.waived);
	judge(rules + 2, 1, true);
	assert_false(got.waived);
	/* A limit. */
	rules[3].count = 1;
	rules[3].per_s = 60;
	list_add(&rules[0].labels, "home");
	list_add(&rules[1].labels, "home");
	c.facts.room = room;
	c.facts.room_arg = &full;
	judge(rules, 4, false);
	assert_int_equal(got.result, RULES_ALLOW);
	assert_true(got.waived && got.waived_limit);
	assert_int_equal(got.waived_by, 3);
}

static void
policy_rules_remember_so_many_matches_and_count_the_rest(void **state)
{
	struct policy_rule *many = calloc(RULE_MATCHES_MAX + 10, sizeof *many);
	size_t i;

	(void)state;
	assert_non_null(many);
	facts_set(&c);
	for (i = 0; i < RULE_MATCHES_MAX + 10; i++) {
		many[i] = rule_of("", RULE_APPROVE);
		(void)snprintf(many[i].name, sizeof many[i].name, "r%zu", i);
	}
	judge(many, RULE_MATCHES_MAX + 10, true);
	assert_int_equal(got.matched_count, RULE_MATCHES_MAX + 10);
	assert_int_equal(got.matched[RULE_MATCHES_MAX - 1], RULE_MATCHES_MAX - 1);
	free(many);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_rules_none_judge_nothing),
		cmocka_unit_test(policy_rules_deny_by_default),
		cmocka_unit_test(policy_rules_first_allow_or_deny_decides_and_stops),
		cmocka_unit_test(policy_rules_collect_demands_in_order),
		cmocka_unit_test(policy_rules_deny_more_demands_than_are_remembered),
		cmocka_unit_test(policy_rules_name_the_first_that_wants_approval_and_the_shortest_life),
		cmocka_unit_test(policy_rules_with_a_limit_deny_when_it_is_reached),
		cmocka_unit_test(policy_rules_that_are_waived_are_noted_and_judging_goes_on),
		cmocka_unit_test(policy_rules_remember_so_many_matches_and_count_the_rest),
	};

	return cmocka_run_group_tests_name("policy/rules judging", tests, NULL, NULL);
}
