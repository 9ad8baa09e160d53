/* policy_decide_rules.h - a scene judged by the operator's rules, and an exception. For policy_decide_*_test. */
#ifndef TESTS_UNIT_POLICY_DECIDE_RULES_H
#define TESTS_UNIT_POLICY_DECIDE_RULES_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/policy_decide_fixture.h"

static struct scene s;
static struct policy_rules *compiled;
static struct exception waiver;

static inline int
teardown(void **state)
{
	(void)state;
	policy_rules_free(compiled);
	compiled = NULL;
	return 0;
}

static inline struct policy_rule
rule_of(const char *name, enum rule_action action)
{
	struct policy_rule rule = { .action = action };

	strcpy(rule.name, name);
	return rule;
}

/* Judge by these from now on. */
static inline void
use_rules(const struct policy_rule *rules, size_t count, bool otherwise_allow)
{
	struct err e;

	policy_rules_free(compiled);
	compiled = NULL;
	if (policy_rules_new(rules, count, otherwise_allow, &compiled, &e) != 0)
		fail_msg("%s", e.text);
	s.in.rules = compiled;
	s.in.facts = (struct rule_facts){ .protocol = RULE_EST, .peer = "192.0.2.7:4711" };
}

static inline void
use_waiver(unsigned waives)
{
	waiver = (struct exception){ .id = 5, .waives = waives, .ticket = "TICKET-1", .expires_s = NOW + DAY };
	s.in.exceptions = &waiver;
	s.in.exception_count = 1;
}

static inline void
assert_waived(const char *rule)
{
	assert_allowed(&s);
	assert_int_equal(scene_rule(&s, rule)->verdict, VERDICT_PASS);
	assert_non_null(strstr(scene_rule(&s, rule)->saw, "waived by exception 5 (TICKET-1)"));
	assert_int_equal(s.out.exceptions_used, 1);
}

#endif
