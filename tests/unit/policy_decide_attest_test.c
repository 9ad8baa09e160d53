#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "tests/unit/policy_decide_fixture.h"

static struct scene s;
static struct policy_rules *compiled;
static struct exception waiver;
static struct attestation evidence[ATTEST_PER_REQUEST_MAX];

static int
teardown(void **state)
{
	(void)state;
	policy_rules_free(compiled);
	compiled = NULL;
	return 0;
}

/* One that demands evidence of these attesters, and one that allows; evidence is none yet. */
static void
scene_demand(enum rule_action action, const char *first, const char *second)
{
	struct policy_rule rules[2] = { { .name = "hardware", .action = action }, { .name = "all", .action = RULE_ALLOW } };
	struct err e;

	scene_set(&s);
	strcpy(rules[0].attesters.at[rules[0].attesters.count++], first);
	if (second != NULL)
		strcpy(rules[0].attesters.at[rules[0].attesters.count++], second);
	policy_rules_free(compiled);
	compiled = NULL;
	assert_int_equal(policy_rules_new(rules, 2, false, &compiled, &e), 0);
	s.in.rules = compiled;
	s.in.attestations = evidence;
}

/* Evidence that answers every question. */
static struct attestation *
add_evidence(enum attest_method method, const char *attester)
{
	struct attestation *a = &evidence[s.in.attestation_count++];

	*a = (struct attestation){ .method = method, .key_bound = true, .fresh = true, .of_asset = true,
		.identity_required = true };
	strcpy(a->attester, attester);
	(void)attest_check(a, "x.chain", true, "root");
	attest_conclude(a);
	return a;
}

static void
add_waiver(void)
{
	waiver = (struct exception){ .id = 5, .waives = EXCEPTION_ATTESTATION, .ticket = "TICKET-1",
		.expires_s = NOW + DAY };
	s.in.exceptions = &waiver;
	s.in.exception_count = 1;
}

static const char *const codes[] = { "attestation.present", "attestation.valid", "attestation.fresh",
	"attestation.key", "attestation.identity" };

static void
policy_decide_demands_the_evidence_that_a_rule_requires(void **state)
{
	(void)state;
	scene_demand(RULE_REQUIRE, "tpm-a", "ear-b");
	assert_denied(&s, "attestation.present");
	assert_string_equal(s.out.sentence, "rule hardware demands evidence by tpm-a or ear-b, and none came");
	assert_string_equal(scene_rule(&s, "attestation.present")->saw, "required=1 preferred=0 came=none");
	(void)add_evidence(ATTEST_TPM, "tpm-c"); /* somebody else's word */
	assert_denied(&s, "attestation.present");
	evidence[0].attester[0] = 'T';
	assert_denied(&s, "attestation.present");
	(void)add_evidence(ATTEST_EAR, "ear-b"); /* any one of them */
	assert_allowed(&s);
	assert_non_null(strstr(scene_rule(&s, "attestation.present")->saw, "came=Tpm-c,ear-b"));
	assert_string_equal(scene_rule(&s, "attestation.valid")->saw, "ear-b=yes");
	scene_demand(RULE_REQUIRE, "tpm-a", NULL);
	(void)add_evidence(ATTEST_TPM, "tpm-a");
	assert_allowed(&s);
}

static void
policy_decide_takes_what_was_not_judged_as_absent(void **state)
{
	(void)state;
	scene_demand(RULE_REQUIRE, "tpm-a", NULL);
	*add_evidence(ATTEST_TPM, "tpm-a") = (struct attestation){ .method = ATTEST_TPM, .attester = "tpm-a",
		.key_bound = true, .fresh = true, .of_asset = true };
	assert_denied(&s, "attestation.present");
	scene_demand(RULE_PREFER, "tpm-a", NULL);
	*add_evidence(ATTEST_TPM, "tpm-a") = (struct attestation){ .method = ATTEST_TPM, .attester = "tpm-a" };
	assert_allowed(&s);
}

/* Which questions are asked of which method, each unanswered in turn. */
static void
policy_decide_asks_each_method_its_questions(void **state)
{
	static const struct {
		enum attest_method method;
		bool fresh, key;
	} table[] = {
		{ ATTEST_IDEVID, false, false }, { ATTEST_TPM, true, true }, { ATTEST_ANDROID, true, true },
		{ ATTEST_YUBIKEY, false, true }, { ATTEST_EAR, true, true }, { ATTEST_MDM, false, false },
		{ (enum attest_method)ATTEST_METHODS, true, true },
	};
	static const enum rule_action actions[] = { RULE_REQUIRE, RULE_PREFER };
	size_t i, j;

	(void)state;
	for (i = 0; i < sizeof table / sizeof table[0]; i++)
		for (j = 0; j < 2; j++) {
			struct attestation *a;

			scene_demand(actions[j], "who", NULL);
			a = add_evidence(table[i].method, "who");
			assert_allowed(&s);
			a->valid = false;
			assert_denied(&s, "attestation.valid");
			a->valid = true;
			a->fresh = false;
			if (table[i].fresh)
				assert_denied(&s, "attestation.fresh");
			else
				assert_allowed(&s);
			a->fresh = true;
			a->key_bound = false;
			if (table[i].key)
				assert_denied(&s, "attestation.key");
			else
				assert_allowed(&s);
			a->key_bound = true;
			a->of_asset = false;
			assert_denied(&s, "attestation.identity");
			assert_non_null(strstr(s.out.sentence, "does not speak of rtr-7"));
			a->identity_required = false;
			assert_allowed(&s);
			a->of_asset = true;
			a->expires_s = NOW;
			assert_allowed(&s);
			a->expires_s = NOW - 1;
			assert_denied(&s, "attestation.fresh");
			assert_non_null(strstr(s.out.sentence, "ended on 2027-01-15T07:59:59Z"));
		}
}

static void
policy_decide_says_which_check_evidence_failed(void **state)
{
	struct attestation *a;

	(void)state;
	scene_demand(RULE_REQUIRE, "tpm-a", NULL);
	a = add_evidence(ATTEST_TPM, "tpm-a");
	(void)attest_check(a, "tpm.nonce", false, "00ff: not a nonce of ours");
	attest_conclude(a);
	a->fresh = false;
	assert_denied(&s, "attestation.valid");
	assert_string_equal(s.out.sentence,
		"the evidence judged by tpm-a is not valid: tpm.nonce: 00ff: not a nonce of ours");
	/* The other questions are asked all the same. */
	assert_int_equal(scene_rule(&s, "attestation.fresh")->verdict, VERDICT_FAIL);
	assert_int_equal(scene_rule(&s, "attestation.key")->verdict, VERDICT_PASS);
}

static void
policy_decide_lets_what_is_preferred_be_absent_but_not_wrong(void **state)
{
	size_t i;

	(void)state;
	scene_demand(RULE_PREFER, "tpm-a", NULL);
	assert_allowed(&s);
	assert_int_equal(scene_rule(&s, "attestation.present")->verdict, VERDICT_PASS);
	for (i = 1; i < sizeof codes / sizeof codes[0]; i++)
		assert_int_equal(scene_rule(&s, codes[i])->verdict, VERDICT_SKIP);
	add_evidence(ATTEST_TPM, "tpm-a")->valid = false;
	assert_denied(&s, "attestation.valid");
}

/* One statement may fit two attesters, of whom only one can know its roots. */
static void
policy_decide_is_content_with_one_good_word_of_several(void **state)
{
	(void)state;
	scene_demand(RULE_REQUIRE, "tpm-a", "tpm-b");
	add_evidence(ATTEST_TPM, "tpm-a")->valid = false;
	(void)add_evidence(ATTEST_TPM, "tpm-b");
	assert_allowed(&s);
	assert_string_equal(scene_rule(&s, "attestation.valid")->saw, "tpm-b=yes");
	/* When none is good, the one that came nearest is told. */
	evidence[1].of_asset = false;
	assert_denied(&s, "attestation.identity");
	assert_non_null(strstr(s.out.sentence, "tpm-b"));
	evidence[1].key_bound = false;
	assert_denied(&s, "attestation.key");
	assert_int_equal(scene_rule(&s, "attestation.identity")->verdict, VERDICT_FAIL);
}

static void
policy_decide_does_not_judge_by_evidence_that_no_rule_asks_for(void **state)
{
	(void)state;
	scene_demand(RULE_PREFER, "tpm-a", NULL);
	add_evidence(ATTEST_TPM, "tpm-x")->valid = false;
	assert_allowed(&s);
	assert_non_null(strstr(scene_rule(&s, "attestation.present")->saw, "came=tpm-x"));
	s.in.rules = NULL;
	assert_allowed(&s);
	assert_int_equal(scene_rule(&s, "attestation.present")->verdict, VERDICT_SKIP);
	assert_non_null(strstr(scene_rule(&s, "attestation.present")->saw, "came=tpm-x"));
}

static void
policy_decide_every_demand_has_to_be_met(void **state)
{
	struct policy_rule rules[3] = { { .name = "device", .action = RULE_REQUIRE },
		{ .name = "key", .action = RULE_REQUIRE }, { .name = "all", .action = RULE_ALLOW } };
	struct err e;

	(void)state;
	scene_demand(RULE_REQUIRE, "x", NULL);
	strcpy(rules[0].attesters.at[rules[0].attesters.count++], "acme");
	strcpy(rules[1].attesters.at[rules[1].attesters.count++], "tpm-a");
	policy_rules_free(compiled);
	assert_int_equal(policy_rules_new(rules, 3, false, &compiled, &e), 0);
	s.in.rules = compiled;
	(void)add_evidence(ATTEST_IDEVID, "acme");
	evidence[0].key_bound = evidence[0].fresh = false;
	assert_denied(&s, "attestation.present");
	assert_non_null(strstr(s.out.sentence, "rule key demands evidence by tpm-a"));
	(void)add_evidence(ATTEST_TPM, "tpm-a");
	assert_allowed(&s);
	assert_string_equal(scene_rule(&s, "attestation.key")->saw, "acme=not asked tpm-a=yes");
	evidence[1].key_bound = false;
	assert_denied(&s, "attestation.key");
	assert_string_equal(scene_rule(&s, "attestation.key")->saw, "acme=not asked tpm-a=no");
}

static void
policy_decide_no_evidence_speaks_of_a_key_that_is_made_here(void **state)
{
	(void)state;
	scene_demand(RULE_REQUIRE, "tpm-a", NULL);
	(void)add_evidence(ATTEST_TPM, "tpm-a");
	s.in.op = POLICY_KEYGEN;
	s.csr.key_ignored = true;
	assert_denied(&s, "attestation.key");
	assert_non_null(strstr(s.out.sentence, "made here"));
	evidence[0].method = ATTEST_IDEVID;
	assert_allowed(&s);
}

static void
policy_decide_exception_waives_evidence_and_says_so(void **state)
{
	size_t i;

	(void)state;
	scene_demand(RULE_REQUIRE, "tpm-a", NULL);
	add_waiver();
	assert_allowed(&s);
	assert_string_equal(scene_rule(&s, "attestation.present")->saw,
		"waived by exception 5 (TICKET-1): rule hardware demands evidence by tpm-a, and none came");
	assert_int_equal(s.out.exceptions_used, 1);
	*add_evidence(ATTEST_TPM, "tpm-a") = (struct attestation){ .method = ATTEST_TPM, .attester = "tpm-a",
		.identity_required = true, .check_count = 1, .checks = { { .name = "tpm.magic" } } };
	assert_allowed(&s);
	for (i = 1; i < sizeof codes / sizeof codes[0]; i++)
		assert_non_null(strstr(scene_rule(&s, codes[i])->saw, "waived by exception 5 (TICKET-1)"));
	waiver.waives = ~EXCEPTION_ATTESTATION;
	assert_denied(&s, "attestation.valid");
	waiver.waives = EXCEPTION_ATTESTATION;
	s.asset.state = ASSET_STOLEN;
	assert_denied(&s, "asset.state");
	assert_int_equal(scene_rule(&s, "attestation.valid")->verdict, VERDICT_FAIL);
	assert_int_equal(s.out.exceptions_used, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(policy_decide_demands_the_evidence_that_a_rule_requires, teardown),
		cmocka_unit_test_teardown(policy_decide_takes_what_was_not_judged_as_absent, teardown),
		cmocka_unit_test_teardown(policy_decide_asks_each_method_its_questions, teardown),
		cmocka_unit_test_teardown(policy_decide_says_which_check_evidence_failed, teardown),
		cmocka_unit_test_teardown(policy_decide_lets_what_is_preferred_be_absent_but_not_wrong, teardown),
		cmocka_unit_test_teardown(policy_decide_is_content_with_one_good_word_of_several, teardown),
		cmocka_unit_test_teardown(policy_decide_does_not_judge_by_evidence_that_no_rule_asks_for, teardown),
		cmocka_unit_test_teardown(policy_decide_every_demand_has_to_be_met, teardown),
		cmocka_unit_test_teardown(policy_decide_no_evidence_speaks_of_a_key_that_is_made_here, teardown),
		cmocka_unit_test_teardown(policy_decide_exception_waives_evidence_and_says_so, teardown),
	};

	return cmocka_run_group_tests_name("policy/decide: evidence", tests, NULL, NULL);
}
