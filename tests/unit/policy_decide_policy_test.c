#include <stdlib.h>

#include "base/text.h"
#include "tests/unit/policy_decide_rules.h"

static void
policy_decide_denies_by_the_operators_rule_with_its_words(void **state)
{
	struct policy_rule rules[2] = { rule_of("no-routers", RULE_DENY), rule_of("rest", RULE_ALLOW) };

	(void)state;
	scene_set(&s);
	strcpy(rules[0].text, "routers are bought elsewhere");
	use_rules(rules, 2, false);
	assert_denied(&s, "policy.rules");
	assert_string_equal(s.out.sentence, "routers are bought elsewhere");
	assert_string_equal(scene_rule(&s, "policy.rules")->saw, "denied by rule no-routers; matched no-routers");
	assert_int_equal(s.out.judgement.decided_by, 0);
	assert_int_equal(s.out.judgement.result, RULES_DENY);
	rules[0].text[0] = '\0';
	use_rules(rules, 2, false);
	assert_denied(&s, "policy.rules");
	assert_string_equal(s.out.sentence, "denied by rule no-routers");
	use_rules(rules + 1, 1, false);
	assert_allowed(&s);
	assert_string_equal(scene_rule(&s, "policy.rules")->saw, "allowed by rule rest; matched rest");
	assert_int_equal(s.out.judgement.result, RULES_ALLOW);
}

static void
policy_decide_denies_what_no_rule_allows(void **state)
{
	struct policy_rule rule = rule_of("ask", RULE_APPROVE);

	(void)state;
	scene_set(&s);
	s.in.approved = true;
	use_rules(&rule, 1, false);
	assert_denied(&s, "policy.rules");
	assert_string_equal(s.out.sentence, "no rule allows it");
	assert_string_equal(scene_rule(&s, "policy.rules")->saw, "denied by default; matched ask");
	use_rules(&rule, 1, true);
	assert_allowed(&s);
	rule.tiers = 1u << 3;
	use_rules(&rule, 1, true);
	assert_allowed(&s);
	assert_string_equal(scene_rule(&s, "policy.rules")->saw, "allowed by default; matched none");
	use_rules(NULL, 0, false);
	assert_allowed(&s);
	assert_int_equal(scene_rule(&s, "policy.rules")->verdict, VERDICT_SKIP);
}

/* Every fact a rule may ask for comes from the decision's own input. */
static void
policy_decide_gives_rules_its_own_facts(void **state)
{
	struct policy_rule rule = rule_of("all", RULE_ALLOW);
	struct asset other = { .tier = 3 };

	(void)state;
	scene_set(&s);
	s.asset.tier = 2;
	rule.protocols = 1u << RULE_EST;
	rule.operations = 1u << POLICY_ENROLL;
	rule.proofs = 1u << PROOF_CERTIFICATE;
	rule.tiers = 1u << 2;
	strcpy(rule.time, "Fri 08:00-09:00"); /* which NOW is, and the time below is not */
	strcpy(rule.labels.at[rule.labels.count++], "office");
	strcpy(rule.owners.at[rule.owners.count++], "fleet");
	strcpy(rule.addresses.at[rule.addresses.count++], "192.0.2.0/24");
	use_rules(&rule, 1, false);
	s.in.facts.label = "home";
	s.in.facts.op = POLICY_RENEW;
	s.in.facts.proof = PROOF_MDM;
	s.in.facts.asset = &other;
	s.in.facts.now_s = 0;
	assert_allowed(&s);
	s.in.facts.peer = "198.51.100.1";
	assert_denied(&s, "policy.rules");
	s.in.facts.peer = "192.0.2.1";
	s.in.facts.protocol = RULE_SCEP;
	assert_denied(&s, "policy.rules");
	s.in.facts.protocol = RULE_EST;
	s.in.facts.waive = true; /* not the caller's to say */
	strcpy(s.owner.name, "Other");
	assert_denied(&s, "policy.rules");
}

static void
policy_decide_rules_never_widen_what_the_others_deny(void **state)
{
	struct policy_rule rule = rule_of("all", RULE_ALLOW);

	(void)state;
	scene_set(&s);
	use_rules(&rule, 1, false);
	s.asset.state = ASSET_QUARANTINED;
	assert_denied(&s, "asset.state");
	assert_int_equal(scene_rule(&s, "policy.rules")->verdict, VERDICT_PASS);
	s.in.asset_matches = 0;
	s.in.asset = NULL;
	s.in.owner = NULL;
	assert_denied(&s, "asset.known");
	assert_int_equal(scene_rule(&s, "policy.rules")->verdict, VERDICT_SKIP);
}

static void
policy_decide_waits_when_a_rule_wants_an_approval(void **state)
{
	struct policy_rule rules[2] = { rule_of("ask", RULE_APPROVE), rule_of("all", RULE_ALLOW) };

	(void)state;
	scene_set(&s);
	use_rules(rules, 2, false);
	decide(&s.in, &s.out);
	assert_int_equal(s.out.outcome, OUTCOME_PENDING);
	assert_int_equal(scene_rule(&s, "approval")->verdict, VERDICT_WAIT);
	assert_string_equal(scene_rule(&s, "approval")->saw, "needed and not given; wanted by rule ask");
	s.in.approved = true;
	assert_allowed(&s);
	/* An approval does not reach over a rule that denies. */
	rules[1].action = RULE_DENY;
	use_rules(rules, 2, false);
	assert_denied(&s, "policy.rules");
}

static void
policy_decide_cuts_the_certificate_to_the_shortest_life_a_rule_names(void **state)
{
	struct policy_rule rules[2] = { rule_of("short", RULE_APPROVE), rule_of("all", RULE_ALLOW) };

	(void)state;
	scene_set(&s);
	s.in.approved = true;
	rules[0].lifetime_s = 7 * DAY;
	rules[1].lifetime_s = 14 * DAY;
	use_rules(rules, 2, false);
	assert_allowed(&s);
	assert_int_equal(s.out.spec.not_after_s, NOW + 7 * DAY);
	s.owner.contract_end_s = NOW + 3 * DAY;
	assert_allowed(&s);
	assert_int_equal(s.out.spec.not_after_s, NOW + 3 * DAY);
	assert_non_null(strstr(scene_rule(&s, "owner.contract")->saw, "cut"));
	s.owner.contract_end_s = NOW + 10 * DAY;
	assert_allowed(&s);
	assert_int_equal(s.out.spec.not_after_s, NOW + 7 * DAY);
	assert_null(strstr(scene_rule(&s, "owner.contract")->saw, "cut"));
	rules[0].lifetime_s = rules[1].lifetime_s = 900 * DAY; /* never longer than the profile says */
	s.owner.contract_end_s = 0;
	use_rules(rules, 2, false);
	assert_allowed(&s);
	assert_int_equal(s.out.spec.not_after_s, NOW + 90 * DAY);
}

static bool
no_room(void *arg, size_t rule)
{
	assert_ptr_equal(arg, &s);
	assert_int_equal(rule, 1);
	return false;
}

static void
policy_decide_says_which_limit_is_reached(void **state)
{
	struct policy_rule rules[2] = { rule_of("ask", RULE_APPROVE), rule_of("pilot", RULE_ALLOW) };

	(void)state;
	scene_set(&s);
	rules[1].count = 25;
	rules[1].per_s = 12 * 3600;
	use_rules(rules, 2, true);
	s.in.facts.room = no_room;
	s.in.facts.room_arg = &s;
	assert_denied(&s, "policy.rules");
	assert_string_equal(s.out.sentence, "the limit of rule pilot is reached: 25 certificates in 12h");
	assert_true(s.out.judgement.limited);
}

static void
policy_decide_denies_more_demands_than_it_remembers_whatever_is_waived(void **state)
{
	struct policy_rule rules[RULE_DEMANDS_MAX + 1];
	size_t i;

	(void)state;
	scene_set(&s);
	for (i = 0; i <= RULE_DEMANDS_MAX; i++) {
		rules[i] = rule_of("r", RULE_PREFER);
		rules[i].name[1] = (char)('a' + i);
		strcpy(rules[i].attesters.at[rules[i].attesters.count++], "tpm");
	}
	use_rules(rules, RULE_DEMANDS_MAX, true);
	assert_allowed(&s);
	use_rules(rules, RULE_DEMANDS_MAX + 1, true);
	assert_denied(&s, "policy.rules");
	assert_string_equal(s.out.sentence, "more than 8 rules demand evidence at once");
	use_waiver(~0u);
	assert_denied(&s, "policy.rules");
	assert_int_equal(s.out.exceptions_used, 0);
}

static void
policy_decide_shows_long_names_of_rules_cut(void **state)
{
	struct policy_rule rules[6];
	size_t i, j;

	(void)state;
	scene_set(&s);
	for (i = 0; i < 6; i++) {
		rules[i] = rule_of("", i == 5 ? RULE_ALLOW : RULE_APPROVE);
		rules[i].name[0] = (char)('a' + i);
		for (j = 1; j < 59; j += 2)
			memcpy(rules[i].name + j, "\xc3\xbc", 3);
	}
	use_rules(rules, 6, false);
	s.in.approved = true;
	assert_allowed(&s);
	assert_non_null(strstr(scene_rule(&s, "policy.rules")->saw, "matched a\xc3\xbc"));
	assert_non_null(strstr(scene_rule(&s, "policy.rules")->saw, " and 5 more"));
	assert_true(text_is_clean(bytes_of_text(scene_rule(&s, "policy.rules")->saw)));
}

static void
policy_decide_exception_waives_a_rule_that_denies(void **state)
{
	struct policy_rule rules[2] = { rule_of("no", RULE_DENY), rule_of("all", RULE_ALLOW) };

	(void)state;
	scene_set(&s);
	strcpy(rules[0].text, "closed");
	use_rules(rules, 2, false);
	use_waiver(EXCEPTION_RULES);
	assert_waived("policy.rules");
	assert_non_null(strstr(scene_rule(&s, "policy.rules")->saw, "closed"));
	assert_int_equal(s.out.judgement.decided_by, 1);
	/* For want of an allow. */
	use_rules(rules, 1, false);
	assert_waived("policy.rules");
	/* One that is not needed is not used. */
	use_rules(rules + 1, 1, false);
	assert_allowed(&s);
	assert_int_equal(s.out.exceptions_used, 0);
	use_rules(rules, 2, false);
	waiver.waives = EXCEPTION_ATTESTATION | EXCEPTION_QUOTA | EXCEPTION_RENEWAL_WINDOW;
	assert_denied(&s, "policy.rules");
	assert_int_equal(s.out.exceptions_used, 0);
}

/* What would have been asked further down is asked all the same. */
static void
policy_decide_exception_for_rules_waives_no_evidence(void **state)
{
	struct policy_rule rules[4] = { rule_of("no", RULE_DENY), rule_of("tpm", RULE_REQUIRE),
		rule_of("ask", RULE_APPROVE), rule_of("all", RULE_ALLOW) };

	(void)state;
	scene_set(&s);
	strcpy(rules[1].attesters.at[rules[1].attesters.count++], "tpm");
	use_rules(rules, 4, false);
	use_waiver(EXCEPTION_RULES);
	assert_denied(&s, "attestation.present");
	waiver.waives |= EXCEPTION_ATTESTATION;
	decide(&s.in, &s.out);
	assert_int_equal(s.out.outcome, OUTCOME_PENDING);
	assert_int_equal(s.out.exceptions_used, 1);
}

/* For whoever gathers the evidence before there is a decision. */
static void
policy_decide_rules_says_beforehand_what_decide_will_judge(void **state)
{
	struct policy_rule rules[3] = { rule_of("no", RULE_DENY), rule_of("tpm", RULE_REQUIRE), rule_of("all", RULE_ALLOW) };
	struct rule_judgement before;

	(void)state;
	scene_set(&s);
	strcpy(rules[1].attesters.at[rules[1].attesters.count++], "tpm");
	strcpy(rules[0].labels.at[rules[0].labels.count++], "office");
	use_rules(rules, 3, false);
	decide_rules(&s.in, &before);
	assert_int_equal(before.result, RULES_DENY);
	use_waiver(EXCEPTION_RULES);
	decide_rules(&s.in, &before);
	assert_int_equal(before.result, RULES_ALLOW);
	assert_int_equal(before.demand_count, 1);
	decide(&s.in, &s.out);
	assert_int_equal(s.out.judgement.decided_by, before.decided_by);
	s.asset.state = ASSET_STOLEN;
	decide_rules(&s.in, &before);
	assert_int_equal(before.result, RULES_DENY);
	s.in.owner = NULL;
	decide_rules(&s.in, &before);
	assert_int_equal(before.result, RULES_NONE);
	scene_set(&s);
	use_rules(rules, 3, false);
	s.in.label = NULL;
	decide_rules(&s.in, &before);
	assert_int_equal(before.result, RULES_ALLOW);
}

static void
policy_decide_exception_never_reaches_an_asset_that_is_gone(void **state)
{
	static const enum asset_state gone[] = { ASSET_LOST, ASSET_STOLEN, ASSET_DECOMMISSIONED, ASSET_DISPOSED,
		(enum asset_state)ASSET_STATES };
	struct policy_rule rule = rule_of("no", RULE_DENY);
	size_t i;

	(void)state;
	for (i = 0; i < sizeof gone / sizeof gone[0]; i++) {
		scene_set(&s);
		use_rules(&rule, 1, false);
		use_waiver(~0u);
		s.in.has_quota = true;
		s.asset.state = gone[i];
		assert_denied(&s, "asset.state");
		assert_int_equal(scene_rule(&s, "policy.rules")->verdict, VERDICT_FAIL);
		assert_int_equal(scene_rule(&s, "owner.quota")->verdict, VERDICT_FAIL);
		assert_int_equal(s.out.exceptions_used, 0);
	}
	s.asset.state = ASSET_QUARANTINED; /* which denies by itself, whatever is waived */
	assert_denied(&s, "asset.state");
	assert_int_equal(scene_rule(&s, "policy.rules")->verdict, VERDICT_PASS);
}

static void
policy_decide_exception_ends_in_time(void **state)
{
	struct policy_rule rule = rule_of("no", RULE_DENY);

	(void)state;
	scene_set(&s);
	use_rules(&rule, 1, false);
	use_waiver(EXCEPTION_RULES);
	waiver.expires_s = NOW + 1;
	assert_waived("policy.rules");
	waiver.expires_s = NOW;
	assert_denied(&s, "policy.rules");
	waiver.expires_s = 0;
	assert_denied(&s, "policy.rules");
}

static void
policy_decide_uses_as_few_exceptions_as_it_can(void **state)
{
	struct policy_rule rule = rule_of("no", RULE_DENY);
	struct exception many[40];
	size_t i;

	(void)state;
	scene_set(&s);
	use_rules(&rule, 1, false);
	s.in.has_quota = true;
	for (i = 0; i < 40; i++)
		many[i] = (struct exception){ .id = (int64_t)i, .ticket = "T", .expires_s = NOW + DAY };
	s.in.exceptions = many;
	s.in.exception_count = 40;
	many[2].waives = EXCEPTION_RULES;
	many[3].waives = EXCEPTION_QUOTA | EXCEPTION_RULES;
	assert_allowed(&s);
	assert_int_equal(s.out.exceptions_used, 1u << 3); /* the quota comes first, and its exception does for both */
	many[3].waives = EXCEPTION_QUOTA;
	assert_allowed(&s);
	assert_int_equal(s.out.exceptions_used, 1u << 3 | 1u << 2);
	many[2].waives = 0;
	many[31].waives = EXCEPTION_RULES;
	assert_allowed(&s);
	assert_int_equal(s.out.exceptions_used, 1u << 31 | 1u << 3);
	many[31].waives = 0;
	many[32].waives = EXCEPTION_RULES; /* has no bit to be recorded by */
	assert_denied(&s, "policy.rules");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(policy_decide_denies_by_the_operators_rule_with_its_words, teardown),
		cmocka_unit_test_teardown(policy_decide_denies_what_no_rule_allows, teardown),
		cmocka_unit_test_teardown(policy_decide_gives_rules_its_own_facts, teardown),
		cmocka_unit_test_teardown(policy_decide_rules_never_widen_what_the_others_deny, teardown),
		cmocka_unit_test_teardown(policy_decide_waits_when_a_rule_wants_an_approval, teardown),
		cmocka_unit_test_teardown(policy_decide_cuts_the_certificate_to_the_shortest_life_a_rule_names, teardown),
		cmocka_unit_test_teardown(policy_decide_says_which_limit_is_reached, teardown),
		cmocka_unit_test_teardown(policy_decide_denies_more_demands_than_it_remembers_whatever_is_waived, teardown),
		cmocka_unit_test_teardown(policy_decide_shows_long_names_of_rules_cut, teardown),
		cmocka_unit_test_teardown(policy_decide_exception_waives_a_rule_that_denies, teardown),
		cmocka_unit_test_teardown(policy_decide_exception_for_rules_waives_no_evidence, teardown),
		cmocka_unit_test_teardown(policy_decide_rules_says_beforehand_what_decide_will_judge, teardown),
		cmocka_unit_test_teardown(policy_decide_exception_never_reaches_an_asset_that_is_gone, teardown),
		cmocka_unit_test_teardown(policy_decide_exception_ends_in_time, teardown),
		cmocka_unit_test_teardown(policy_decide_uses_as_few_exceptions_as_it_can, teardown),
	};

	return cmocka_run_group_tests_name("policy/decide: rules and exceptions", tests, NULL, NULL);
}
