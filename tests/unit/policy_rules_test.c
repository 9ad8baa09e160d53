#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "tests/unit/policy_rules_fixture.h"

static void
policy_rules_names_survive_a_round_trip(void **state)
{
	static const char *const actions[] = { "require", "prefer", "approve", "allow", "deny" };
	int i;

	(void)state;
	for (i = RULE_REQUIRE; i <= RULE_DENY; i++) {
		assert_string_equal(rule_action_name((enum rule_action)i), actions[i]);
		assert_int_equal(rule_action_of(actions[i]), i);
	}
	assert_int_equal(rule_action_of("Deny"), -1);
	assert_string_equal(rule_action_name((enum rule_action)5), "unknown");
	assert_int_equal(rule_protocol_of("est"), RULE_EST);
	assert_int_equal(rule_protocol_of("scep"), RULE_SCEP);
	assert_int_equal(rule_protocol_of("coap"), RULE_COAP);
	assert_int_equal(rule_protocol_of("http"), -1);
}

static void
policy_rules_are_copied_and_found_by_place(void **state)
{
	struct policy_rule rules[2] = { rule_of("a", RULE_DENY), rule_of("b", RULE_ALLOW) };
	struct policy_rules *made = rules_of(rules, 2, false);

	(void)state;
	strcpy(rules[1].name, "gone");
	assert_int_equal(policy_rules_count(made), 2);
	assert_string_equal(policy_rules_at(made, 1)->name, "b");
	assert_null(policy_rules_at(made, 2));
	assert_null(policy_rules_at(NULL, 0));
	assert_int_equal(policy_rules_count(NULL), 0);
	policy_rules_free(made);
	policy_rules_free(NULL);
	made = rules_of(NULL, 0, false);
	assert_int_equal(policy_rules_count(made), 0);
	policy_rules_free(made);
}

static void
policy_rules_refuse_names_that_do_not_tell_rules_apart(void **state)
{
	struct policy_rule rules[3] = { rule_of("a", RULE_ALLOW), rule_of("b", RULE_DENY), rule_of("a", RULE_DENY) };
	struct policy_rules *made = NULL;
	struct err e;

	(void)state;
	assert_int_equal(policy_rules_new(rules, 3, false, &made, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_non_null(strstr(e.text, "rule a: there are two"));
	rules[2].name[0] = '\0';
	assert_int_equal(policy_rules_new(rules, 3, false, &made, &e), -1);
	assert_non_null(strstr(e.text, "rule number 3"));
	strcpy(rules[2].name, "c\n");
	assert_int_equal(policy_rules_new(rules, 3, false, &made, &e), -1);
	memset(rules[2].name, 'c', sizeof rules[2].name);
	assert_int_equal(policy_rules_new(rules, 3, false, &made, &e), -1);
	strcpy(rules[2].name, "A"); /* names keep their case */
	policy_rules_free(rules_of(rules, 3, false));
}

static void
policy_rules_are_so_many_and_no_more(void **state)
{
	struct policy_rule *many = calloc(RULES_MAX + 1, sizeof *many);
	struct policy_rules *made = NULL;
	struct err e;
	size_t i;

	(void)state;
	assert_non_null(many);
	for (i = 0; i <= RULES_MAX; i++) {
		many[i].action = RULE_DENY;
		(void)snprintf(many[i].name, sizeof many[i].name, "r%zu", i);
	}
	assert_int_equal(policy_rules_new(many, RULES_MAX + 1, false, &made, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	policy_rules_free(rules_of(many, RULES_MAX, false));
	free(many);
}

static void
policy_rules_refuse_lists_with_mistakes(void **state)
{
	static const size_t lists[] = { offsetof(struct policy_rule, labels), offsetof(struct policy_rule, owners),
		offsetof(struct policy_rule, manufacturers), offsetof(struct policy_rule, models),
		offsetof(struct policy_rule, classes), offsetof(struct policy_rule, sites),
		offsetof(struct policy_rule, addresses), offsetof(struct policy_rule, attesters) };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		struct policy_rule rule = rule_of("bad", RULE_REQUIRE);
		struct rule_list *list = (struct rule_list *)(void *)((char *)&rule + lists[i]);

		list->count = 2;
		strcpy(list->at[0], "10.0.0.1");
		list->at[1][0] = '\0';
		assert_mistake(&rule, "an empty text");
		strcpy(list->at[1], "10.0.0.2");
		policy_rules_free(rules_of(&rule, 1, false));
		strcpy(list->at[1], "a\x7f");
		assert_mistake(&rule, "control characters");
		memset(list->at[1], 'a', sizeof list->at[1]);
		assert_mistake(&rule, "longer");
		list->count = RULE_LIST_MAX + 1;
		assert_mistake(&rule, "at most 8");
	}
}

static void
policy_rules_refuse_bits_without_a_meaning(void **state)
{
	static const struct {
		size_t at;
		unsigned good, bad;
		const char *what;
	} table[] = {
		{ offsetof(struct policy_rule, protocols), 7, 8, "protocol" },
		{ offsetof(struct policy_rule, operations), 7, 9, "operation" },
		{ offsetof(struct policy_rule, proofs), 63, 64, "proof" },
		{ offsetof(struct policy_rule, owner_kinds), 7, 8, "kind of owner" },
		{ offsetof(struct policy_rule, holdings), 7, 1u << 31, "holding" },
		{ offsetof(struct policy_rule, tiers), 15, 16, "tier" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct policy_rule rule = rule_of("bad", RULE_DENY);
		unsigned *bits = (unsigned *)(void *)((char *)&rule + table[i].at);

		*bits = table[i].good;
		policy_rules_free(rules_of(&rule, 1, false));
		*bits = table[i].bad;
		assert_mistake(&rule, table[i].what);
	}
}

static void
policy_rules_refuse_actions_with_what_is_not_theirs(void **state)
{
	struct policy_rule rule;
	int i;

	(void)state;
	for (i = RULE_REQUIRE; i <= RULE_DENY; i++) {
		rule = rule_of("bad", (enum rule_action)i);
		policy_rules_free(rules_of(&rule, 1, false));
		rule.attesters.count = rule.attesters.count == 0 ? 1 : 0;
		strcpy(rule.attesters.at[0], "tpm");
		assert_mistake(&rule, i <= RULE_PREFER ? "names no attester" : "takes no attesters");
		rule = rule_of("bad", (enum rule_action)i);
		strcpy(rule.text, "go away");
		if (i == RULE_DENY)
			policy_rules_free(rules_of(&rule, 1, false));
		else
			assert_mistake(&rule, "takes no text");
		rule = rule_of("bad", (enum rule_action)i);
		rule.lifetime_s = 60;
		if (i != RULE_DENY)
			policy_rules_free(rules_of(&rule, 1, false));
		else
			assert_mistake(&rule, "deny takes no lifetime");
		rule = rule_of("bad", (enum rule_action)i);
		rule.count = 1;
		rule.per_s = 60;
		if (i != RULE_DENY)
			policy_rules_free(rules_of(&rule, 1, false));
		else
			assert_mistake(&rule, "deny takes no limit");
	}
	rule = rule_of("bad", (enum rule_action)(RULE_DENY + 1));
	assert_mistake(&rule, "unknown action");
	rule = rule_of("bad", RULE_DENY);
	strcpy(rule.text, "line\nbreak");
	assert_mistake(&rule, "control characters");
	memset(rule.text, 'x', sizeof rule.text);
	assert_mistake(&rule, "longer");
}

static void
policy_rules_refuse_half_a_limit(void **state)
{
	struct policy_rule rule = rule_of("bad", RULE_ALLOW);

	(void)state;
	rule.count = 5;
	assert_mistake(&rule, "without the time");
	rule.count = 0;
	rule.per_s = 5;
	assert_mistake(&rule, "without the count");
	rule.count = -1;
	assert_mistake(&rule, "negative");
	rule.count = 1;
	rule.per_s = -1;
	assert_mistake(&rule, "negative");
	rule = rule_of("bad", RULE_ALLOW);
	rule.lifetime_s = -1;
	assert_mistake(&rule, "negative");
	rule.lifetime_s = INT64_MAX;
	assert_mistake(&rule, "out of reach");
}

static void
policy_rules_refuse_addresses_that_are_none(void **state)
{
	static const struct {
		const char *text, *wrong;
	} table[] = {
		{ "10.1.0.0/33", "from 0 to 32" }, { "10.1.0.0/", "length" }, { "10.1.0.0/-1", "length" },
		{ "10.0.0.0/08", "length" }, { "10.1.0.0/1 ", "length" }, { "10.1.0.0/16/16", "length" },
		{ "2001:db8::/129", "from 0 to 128" }, { "10.1/16", "no address" }, { "/16", "no address" },
		{ "router.example.net", "no address" }, { "10.1.2.3/16", "past its length" },
		{ "10.0.0.0/7", "" }, { "10.128.0.0/8", "past its length" }, { "2001:db8::1/64", "past its length" },
		{ "2001:db8:1::/32", "past its length" }, { "::ffff:10.1.2.3/112", "past its length" },
		{ "::ffff:10.1.0.0/112", "" }, { "::ffff:0:0/95", "past its length" }, { "fe80::1%eth0", "no address" },
		{ "0.0.0.0/0", "" }, { "::/0", "" }, { "192.0.2.7", "" }, { "192.0.2.7/32", "" }, { "2001:db8::/32", "" },
		{ "2001:db8::8000:0:0:0/65", "" }, { "::1/128", "" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct policy_rule rule = rule_of("bad", RULE_DENY);

		list_add(&rule.addresses, table[i].text);
		if (table[i].wrong[0] != '\0')
			assert_mistake(&rule, table[i].wrong);
		else
			policy_rules_free(rules_of(&rule, 1, false));
	}
}

static void
policy_rules_refuse_times_that_are_none(void **state)
{
	static const struct {
		const char *text, *wrong;
	} table[] = {
		{ "Mon-Fri 08:00-18:00", "" }, { "sat,SUN", "" }, { "22:00-06:00", "" }, { "Fri-Mon", "" },
		{ "Mon,Wed-Thu 00:00-24:00", "" }, { "Mon", "" }, { "Mon 22:00-00:00", "" },
		{ "Monday", "no day" }, { "Mo", "no day" }, { "Mon,", "no day" }, { "Mon-", "no day" }, { "-Mon", "no day" },
		{ " ", "no day" }, { "Mon, Tue", "no day" }, { "Mon-Wed,Tue", "named twice" }, { "Mon,Mon", "named twice" },
		{ "Mon ", "no time" }, { "Mon  08:00-18:00", "no time" }, { "08:00", "without an end" },
		{ "08:00-", "no time" }, { "8:00-18:00", "no time" }, { "08:00-18:60", "no time of the day" },
		{ "08:00-24:01", "no time of the day" }, { "24:00-06:00", "24:00" }, { "08:00-08:00", "begins when it ends" },
		{ "08:00-18:00 ", "left over" }, { "08:00-18:00,20:00-21:00", "left over" }, { "08:00-18:00 Mon", "left over" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct policy_rule rule = rule_of("bad", RULE_DENY);

		strcpy(rule.time, table[i].text);
		if (table[i].wrong[0] != '\0')
			assert_mistake(&rule, table[i].wrong);
		else
			policy_rules_free(rules_of(&rule, 1, false));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_rules_names_survive_a_round_trip),
		cmocka_unit_test(policy_rules_are_copied_and_found_by_place),
		cmocka_unit_test(policy_rules_refuse_names_that_do_not_tell_rules_apart),
		cmocka_unit_test(policy_rules_are_so_many_and_no_more),
		cmocka_unit_test(policy_rules_refuse_lists_with_mistakes),
		cmocka_unit_test(policy_rules_refuse_bits_without_a_meaning),
		cmocka_unit_test(policy_rules_refuse_actions_with_what_is_not_theirs),
		cmocka_unit_test(policy_rules_refuse_half_a_limit),
		cmocka_unit_test(policy_rules_refuse_addresses_that_are_none),
		cmocka_unit_test(policy_rules_refuse_times_that_are_none),
	};

	return cmocka_run_group_tests_name("policy/rules", tests, NULL, NULL);
}
