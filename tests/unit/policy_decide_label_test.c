#include <stdio.h>

#include "tests/unit/policy_decide_rules.h"

/* What a label demands of the first certificate is not got around by renewing another label's. */
static void
policy_decide_judges_a_renewal_of_another_labels_certificate_as_a_first_one_too(void **state)
{
	struct policy_rule rules[3] = { rule_of("renewals", RULE_ALLOW), rule_of("evidence", RULE_REQUIRE), rule_of("rest", RULE_ALLOW) };
	struct rule_judgement judgement;

	(void)state;
	scene_set(&s);
	scene_own(&s, POLICY_RENEW);
	s.profile.allow_subject_change = true; /* there is no certificate whose names could be kept */
	rules[0].operations = 1u << POLICY_RENEW;
	rules[1].operations = 1u << POLICY_ENROLL;
	rules[1].lifetime_s = DAY;
	strcpy(rules[1].attesters.at[rules[1].attesters.count++], "tpm");
	use_rules(rules, 3, false);
	assert_allowed(&s);
	strcpy(s.in.proof.cert_label, "lobby");
	assert_denied(&s, "attestation.present");
	decide_rules(&s.in, &judgement);
	assert_int_equal(judgement.result, RULES_ALLOW);
	assert_int_equal(judgement.demand_count, 1);
	assert_int_equal(judgement.demands[0].rule, 1);
	assert_int_equal(judgement.lifetime_s, DAY);
	assert_int_equal(judgement.matched_count, 3);
	rules[1].action = RULE_APPROVE;
	rules[1].attesters.count = 0;
	use_rules(rules, 3, false);
	decide(&s.in, &s.out);
	assert_int_equal(s.out.outcome, OUTCOME_PENDING);
	rules[1].action = RULE_DENY;
	rules[1].lifetime_s = 0;
	use_rules(rules, 3, false);
	assert_denied(&s, "policy.rules");
	assert_int_equal(s.out.judgement.decided_by, 1);
	use_waiver(EXCEPTION_RULES);
	assert_waived("policy.rules");
	s.in.exception_count = 0;
	s.in.proof.kind = PROOF_REGISTRAR;
	decide_rules(&s.in, &judgement);
	assert_int_equal(judgement.result, RULES_DENY);
	strcpy(s.in.proof.cert_label, "office");
	decide_rules(&s.in, &judgement);
	assert_int_equal(judgement.result, RULES_ALLOW);
}

static void
policy_decide_counts_the_demands_of_both_operations_together(void **state)
{
	struct policy_rule rules[RULE_DEMANDS_MAX + 1];
	struct rule_judgement judgement;
	size_t i;

	(void)state;
	scene_set(&s);
	scene_own(&s, POLICY_RENEW);
	for (i = 0; i <= RULE_DEMANDS_MAX; i++) {
		rules[i] = rule_of("", RULE_REQUIRE);
		(void)snprintf(rules[i].name, sizeof rules[i].name, "rule-%zu", i);
		rules[i].operations = 1u << (i < 5 ? POLICY_RENEW : POLICY_ENROLL);
		strcpy(rules[i].attesters.at[rules[i].attesters.count++], "tpm");
	}
	strcpy(s.in.proof.cert_label, "lobby");
	use_rules(rules, RULE_DEMANDS_MAX, true);
	decide_rules(&s.in, &judgement);
	assert_false(judgement.crowded);
	assert_int_equal(judgement.demand_count, RULE_DEMANDS_MAX);
	use_rules(rules, RULE_DEMANDS_MAX + 1, true);
	decide_rules(&s.in, &judgement);
	assert_true(judgement.crowded);
	assert_int_equal(judgement.result, RULES_DENY);
}

static void
assert_told(size_t i, const char *name, enum verdict verdict, const char *did)
{
	struct rule_told told;

	assert_true(decision_rule(&s.out, compiled, i, &told));
	assert_string_equal(told.name, name);
	assert_int_equal(told.verdict, verdict);
	assert_string_equal(told.did, did);
}

/* A record tells each rule that matched; what it does not tell did not match. */
static void
policy_decide_tells_each_rule_that_matched(void **state)
{
	struct policy_rule rules[4] = { rule_of("word", RULE_APPROVE), rule_of("other", RULE_DENY), rule_of("no", RULE_DENY),
		rule_of("rest", RULE_ALLOW) };
	struct rule_told told;

	(void)state;
	scene_set(&s);
	strcpy(rules[1].labels.at[rules[1].labels.count++], "elsewhere");
	use_rules(rules, 4, false);
	decide(&s.in, &s.out);
	assert_told(0, "rule word", VERDICT_PASS, "wants an approval");
	assert_told(1, "rule no", VERDICT_FAIL, "denies");
	assert_false(decision_rule(&s.out, compiled, 2, &told));
	use_waiver(EXCEPTION_RULES);
	decide(&s.in, &s.out);
	assert_told(1, "rule no", VERDICT_SKIP, "denies, and is waived");
	assert_told(2, "rule rest", VERDICT_PASS, "allows");
	assert_false(decision_rule(&s.out, compiled, 3, &told));
	assert_false(decision_rule(&s.out, NULL, 0, &told));
	s.in.rules = NULL;
	decide(&s.in, &s.out);
	assert_false(decision_rule(&s.out, compiled, 0, &told));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(policy_decide_judges_a_renewal_of_another_labels_certificate_as_a_first_one_too, teardown),
		cmocka_unit_test_teardown(policy_decide_tells_each_rule_that_matched, teardown),
		cmocka_unit_test_teardown(policy_decide_counts_the_demands_of_both_operations_together, teardown),
	};

	return cmocka_run_group_tests_name("policy/decide: labels and rules", tests, NULL, NULL);
}
