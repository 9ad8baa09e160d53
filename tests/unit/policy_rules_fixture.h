/*
 * policy_rules_fixture.h - one request, and rules to judge it by.
 */
#ifndef POLICY_RULES_FIXTURE_H
#define POLICY_RULES_FIXTURE_H

#include <stdlib.h>
#include <string.h>

#include "policy/decide.h"

#define MONDAY 1784505600 /* 2026-07-20T00:00:00Z */
#define HOUR   3600

struct case_facts {
	struct asset asset;
	struct owner owner;
	struct rule_facts facts;
};

static inline void
facts_set(struct case_facts *c)
{
	*c = (struct case_facts){
		.asset = { .id = 1, .tag = "rtr-7", .manufacturer = "ACME Corp", .model = "X200-A", .class_name = "router",
			.site = "Ulm", .tier = 2, .holding = HOLDING_LEASED },
		.owner = { .id = 2, .name = "Fleet", .kind = OWNER_PARTNER },
	};
	c->facts = (struct rule_facts){ .protocol = RULE_COAP, .label = "office", .op = POLICY_RENEW,
		.proof = PROOF_OWN, .asset = &c->asset, .owner = &c->owner, .peer = "10.1.2.3:5000",
		.now_s = MONDAY + 10 * HOUR };
}

static inline struct policy_rule
rule_of(const char *name, enum rule_action action)
{
	struct policy_rule rule = { .action = action };

	strcpy(rule.name, name);
	if (action == RULE_REQUIRE || action == RULE_PREFER) {
		strcpy(rule.attesters.at[0], "tpm");
		rule.attesters.count = 1;
	}
	return rule;
}

static inline void
list_add(struct rule_list *list, const char *text)
{
	strcpy(list->at[list->count++], text);
}

static inline struct policy_rules *
rules_of(const struct policy_rule *rules, size_t count, bool otherwise_allow)
{
	struct policy_rules *made = NULL;
	struct err e;

	if (policy_rules_new(rules, count, otherwise_allow, &made, &e) != 0)
		fail_msg("%s", e.text);
	return made;
}

static inline void
assert_mistake(const struct policy_rule *rule, const char *text)
{
	struct policy_rules *made = NULL;
	struct err e = { .code = ERR_NONE };

	assert_int_equal(policy_rules_new(rule, 1, false, &made, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_null(made);
	if (strstr(e.text, text) == NULL || strstr(e.text, rule->name) == NULL)
		fail_msg("\"%s\" does not say \"%s\" of %s", e.text, text, rule->name);
}

#endif
