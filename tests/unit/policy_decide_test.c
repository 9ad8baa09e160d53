#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/text.h"
#include "tests/unit/policy_decide_fixture.h"

static struct scene s;
static X509_NAME *subject;
static GENERAL_NAMES *sans;

static void
push_dns(GENERAL_NAMES *names, const char *text)
{
	GENERAL_NAME *name = a2i_GENERAL_NAME(NULL, NULL, NULL, GEN_DNS, text, 0);

	assert_non_null(name);
	assert_true(sk_GENERAL_NAME_push(names, name) > 0);
}

/* The names the fixture's templates give. */
static int
init(void **state)
{
	(void)state;
	subject = X509_NAME_new();
	sans = sk_GENERAL_NAME_new_null();
	X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, (const unsigned char *)"Fleet", -1, -1, 0);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)"rtr-7", -1, -1, 0);
	push_dns(sans, "rtr-7.example.net");
	return 0;
}

static int
done(void **state)
{
	(void)state;
	X509_NAME_free(subject);
	GENERAL_NAMES_free(sans);
	return 0;
}

static void
scene_renewal(void)
{
	scene_set(&s);
	scene_own(&s, POLICY_RENEW);
	s.in.current_subject = subject;
	s.in.current_sans = sans;
}

static void
policy_decide_allows_a_known_device_and_shows_every_rule(void **state)
{
	static const char *const rules[] = { "label.operation", "proof.present", "proof.allowed", "proof.revoked",
		"proof.expired", "registrar.state", "asset.known", "asset.unique", "identity.clone", "asset.state",
		"asset.class", "owner.status", "owner.contract", "owner.quota", "policy.rules", "attestation.present",
		"attestation.valid", "attestation.fresh", "attestation.key", "attestation.identity",
		"renewal.proof", "renewal.window", "csr.key", "csr.weak", "csr.reuse", "csr.extensions", "csr.names",
		"csr.binding", "request.transaction", "profile.fill", "renewal.identity", "approval" };
	size_t i;

	(void)state;
	scene_set(&s);
	assert_allowed(&s);
	assert_int_equal(s.out.rule_count, sizeof rules / sizeof rules[0]);
	for (i = 0; i < s.out.rule_count; i++) {
		assert_string_equal(s.out.rules[i].rule, rules[i]);
		assert_true(s.out.rules[i].saw[0] != '\0');
		assert_true(s.out.rules[i].verdict == VERDICT_PASS || s.out.rules[i].verdict == VERDICT_SKIP);
	}
	assert_string_equal(s.out.spec.rdns[0].value, "rtr-7");
	assert_int_equal(s.out.spec.not_after_s, NOW + 90 * DAY);
	assert_string_equal(outcome_name(s.out.outcome), "allowed");
	assert_string_equal(verdict_name(VERDICT_WAIT), "wait");
}

static void
policy_decide_shows_every_rule_for_a_renewal_too(void **state)
{
	static const char *const skipped[] = { "registrar.state", "request.transaction", "asset.class", "owner.quota",
		"policy.rules", "attestation.present", "attestation.valid", "attestation.fresh", "attestation.key",
		"attestation.identity" };
	size_t i, j;

	(void)state;
	scene_renewal();
	assert_allowed(&s);
	assert_int_equal(s.out.rule_count, 32);
	for (i = 0; i < s.out.rule_count; i++) {
		enum verdict wanted = VERDICT_PASS;

		for (j = 0; j < sizeof skipped / sizeof skipped[0]; j++)
			if (strcmp(s.out.rules[i].rule, skipped[j]) == 0)
				wanted = VERDICT_SKIP;
		assert_int_equal(s.out.rules[i].verdict, wanted);
	}
}

static void
policy_decide_denies_when_label_profile_or_request_is_missing(void **state)
{
	(void)state;
	scene_set(&s);
	s.in.label = NULL;
	assert_denied(&s, "label.operation");
	scene_set(&s);
	s.in.profile = NULL;
	assert_denied(&s, "label.operation");
	scene_set(&s);
	s.in.csr = NULL;
	assert_denied(&s, "label.operation");
}

static void
policy_decide_denies_an_operation_the_label_does_not_offer(void **state)
{
	(void)state;
	scene_set(&s);
	s.label.operations = 1u << POLICY_RENEW;
	assert_denied(&s, "label.operation");
	assert_false(s.out.unauthentic);
	scene_set(&s);
	s.in.op = (enum policy_op)9;
	assert_denied(&s, "label.operation");
}

static void
policy_decide_without_proof_is_unauthentic(void **state)
{
	(void)state;
	scene_set(&s);
	s.in.proof = (struct proof){ .kind = PROOF_NONE };
	s.in.asset_matches = 0;
	s.in.asset = NULL;
	s.in.owner = NULL;
	assert_denied(&s, "proof.present");
	assert_true(s.out.unauthentic);
	assert_false(s.out.alert);
	assert_int_equal(scene_rule(&s, "asset.known")->verdict, VERDICT_SKIP);
	/* Even when the caller hands an asset over by mistake. */
	scene_set(&s);
	s.in.proof.kind = PROOF_NONE;
	assert_denied(&s, "proof.present");
	scene_set(&s);
	s.in.proof.kind = (enum proof_kind)7;
	assert_denied(&s, "proof.present");
}

static void
policy_decide_denies_proof_the_label_does_not_take(void **state)
{
	(void)state;
	scene_set(&s);
	s.label.auth = AUTH_SECRET | AUTH_OWN;
	assert_denied(&s, "proof.allowed");
	assert_false(s.out.unauthentic);
	s.in.proof.kind = PROOF_SECRET;
	assert_allowed(&s);
	s.label.auth = AUTH_CERTIFICATE;
	assert_denied(&s, "proof.allowed");
	scene_renewal();
	s.label.auth = AUTH_CERTIFICATE | AUTH_SECRET;
	assert_denied(&s, "proof.allowed");
}

static void
policy_decide_denies_renewal_with_a_revoked_certificate(void **state)
{
	(void)state;
	scene_renewal();
	s.in.proof.cert_revoked = true;
	assert_denied(&s, "proof.revoked");
	scene_set(&s);
	scene_own(&s, POLICY_ENROLL);
	assert_allowed(&s);
	s.in.proof.cert_revoked = true;
	assert_denied(&s, "proof.revoked");
}

static void
policy_decide_takes_an_expired_certificate_within_the_grace_only(void **state)
{
	(void)state;
	scene_renewal();
	s.in.proof.cert_not_after_s = NOW;
	assert_allowed(&s);
	s.in.proof.cert_not_after_s = NOW - 1;
	assert_denied(&s, "proof.expired");
	s.label.expired_grace_s = DAY;
	assert_allowed(&s);
	s.in.proof.cert_not_after_s = NOW - DAY;
	assert_allowed(&s);
	s.in.proof.cert_not_after_s = NOW - DAY - 1;
	assert_denied(&s, "proof.expired");
}

static void
policy_decide_denies_nobody_and_everybody(void **state)
{
	(void)state;
	scene_set(&s);
	s.in.asset_matches = 0;
	assert_denied(&s, "asset.known");
	s.in.asset_matches = -1;
	assert_denied(&s, "asset.known");
	s.in.asset_matches = 2;
	assert_denied(&s, "asset.unique");
	assert_non_null(strstr(s.out.sentence, "2 assets"));
	s.in.asset_matches = 1;
	s.in.asset = NULL;
	assert_denied(&s, "asset.unique");
	scene_set(&s);
	s.in.owner = NULL;
	assert_denied(&s, "asset.unique");
}

static void
policy_decide_follows_the_state_table(void **state)
{
	static const struct {
		enum asset_state state;
		bool enroll, staging, renew, alert;
	} table[] = {
		{ ASSET_ORDERED, false, false, false, false },
		{ ASSET_SHIPPED, false, false, false, false },
		{ ASSET_IN_STOCK, false, true, false, false },
		{ ASSET_STAGED, true, true, true, false },
		{ ASSET_DEPLOYED, true, true, true, false },
		{ ASSET_REPAIR, false, false, true, false },
		{ ASSET_QUARANTINED, false, false, false, false },
		{ ASSET_TRANSFER_PENDING, false, false, true, false },
		{ ASSET_LOST, false, false, false, true },
		{ ASSET_STOLEN, false, false, false, true },
		{ ASSET_DECOMMISSIONED, false, false, false, false },
		{ ASSET_DISPOSED, false, false, false, false },
		{ (enum asset_state)ASSET_STATES, false, false, false, false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof table / sizeof table[0]; i++) {
		int op;

		for (op = 0; op < 4; op++) {
			bool allowed = op == 0 ? table[i].renew : op == 1 ? table[i].staging : table[i].enroll;

			if (op == 0)
				scene_renewal();
			else
				scene_set(&s);
			s.profile.staging = op == 1;
			if (op == 3) {
				s.in.op = POLICY_KEYGEN;
				s.csr.key_ignored = true;
			}
			s.asset.state = table[i].state;
			s.asset.prior_state = ASSET_DEPLOYED;
			if (allowed)
				assert_allowed(&s);
			else
				assert_denied(&s, "asset.state");
			assert_int_equal(s.out.alert, table[i].alert);
		}
	}
}

static void
policy_decide_alerts_for_a_stolen_asset_whatever_fails_first(void **state)
{
	(void)state;
	scene_renewal();
	s.in.proof.cert_revoked = true;
	s.asset.state = ASSET_STOLEN;
	assert_denied(&s, "proof.revoked");
	assert_true(s.out.alert);
	assert_int_equal(scene_rule(&s, "asset.state")->verdict, VERDICT_FAIL);
}

static void
policy_decide_ends_renewals_in_repair_after_the_grace(void **state)
{
	(void)state;
	scene_renewal();
	s.asset.state = ASSET_REPAIR;
	s.asset.state_since_s = NOW - 7 * DAY;
	assert_allowed(&s);
	s.asset.state_since_s = NOW - 7 * DAY - 1;
	assert_denied(&s, "asset.state");
}

static void
policy_decide_follows_the_owners_status(void **state)
{
	static const struct {
		enum owner_status status;
		bool enroll, renew;
	} table[] = {
		{ OWNER_ACTIVE, true, true },
		{ OWNER_SUSPENDED, false, false },
		{ OWNER_OFFBOARDING, false, true },
		{ OWNER_OFFBOARDED, false, false },
		{ (enum owner_status)9, false, false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof table / sizeof table[0]; i++) {
		scene_set(&s);
		s.owner.status = table[i].status;
		if (table[i].enroll)
			assert_allowed(&s);
		else
			assert_denied(&s, "owner.status");
		scene_renewal();
		s.owner.status = table[i].status;
		if (table[i].renew)
			assert_allowed(&s);
		else
			assert_denied(&s, "owner.status");
	}
	scene_set(&s);
	s.owner.id = 3;
	assert_denied(&s, "owner.status");
}

static void
policy_decide_never_lets_a_certificate_outlive_the_contract(void **state)
{
	(void)state;
	scene_set(&s);
	s.owner.contract_end_s = NOW + 5 * DAY;
	assert_allowed(&s);
	assert_int_equal(s.out.spec.not_after_s, NOW + 5 * DAY);
	assert_non_null(strstr(scene_rule(&s, "owner.contract")->saw, "cut"));
	s.owner.contract_end_s = NOW + 500 * DAY;
	assert_allowed(&s);
	assert_int_equal(s.out.spec.not_after_s, NOW + 90 * DAY);
	assert_null(strstr(scene_rule(&s, "owner.contract")->saw, "cut"));
	s.owner.contract_end_s = NOW - 1;
	assert_denied(&s, "owner.contract");
	assert_null(strstr(scene_rule(&s, "owner.contract")->saw, "cut"));
	scene_renewal();
	s.owner.contract_end_s = NOW - 1;
	assert_denied(&s, "owner.contract");
}

static void
policy_decide_renews_only_with_the_certificate_being_renewed(void **state)
{
	(void)state;
	scene_renewal();
	s.in.proof.kind = PROOF_CERTIFICATE;
	assert_denied(&s, "renewal.proof");
	s.in.proof.kind = PROOF_SECRET;
	assert_denied(&s, "renewal.proof");
}

static void
policy_decide_opens_the_renewal_window_in_time(void **state)
{
	(void)state;
	scene_renewal();
	s.in.proof.cert_not_after_s = NOW + 30 * DAY;
	assert_allowed(&s);
	s.in.proof.cert_not_after_s = NOW + 30 * DAY + 1;
	assert_denied(&s, "renewal.window");
	/* A new enrollment with an own certificate has no window. */
	scene_own(&s, POLICY_ENROLL);
	s.in.proof.cert_not_after_s = NOW + 80 * DAY;
	assert_allowed(&s);
}

static void
policy_decide_waits_for_approval_and_then_allows(void **state)
{
	(void)state;
	scene_set(&s);
	s.label.approval = APPROVAL_MANUAL;
	decide(&s.in, &s.out);
	assert_int_equal(s.out.outcome, OUTCOME_PENDING);
	assert_string_equal(s.out.reason, "approval");
	assert_int_equal(scene_rule(&s, "approval")->verdict, VERDICT_WAIT);
	assert_int_equal(s.out.spec.rdn_count, 2);
	s.in.approved = true;
	assert_allowed(&s);
	/* No approval reaches over a rule that fails. */
	s.asset.state = ASSET_LOST;
	assert_denied(&s, "asset.state");
	s.in.approved = false;
	assert_denied(&s, "asset.state");
	s.asset.state = ASSET_DEPLOYED;
	s.label.approval = (enum approval_rule)5;
	assert_denied(&s, "approval");
}

static void
policy_decide_first_failure_decides_and_later_rules_still_run(void **state)
{
	(void)state;
	scene_set(&s);
	s.asset.state = ASSET_QUARANTINED;
	s.owner.status = OWNER_SUSPENDED;
	s.csr.key.kind = KEY_RSA;
	s.csr.key.weak = "bad";
	assert_denied(&s, "asset.state");
	assert_int_equal(scene_rule(&s, "owner.status")->verdict, VERDICT_FAIL);
	assert_int_equal(scene_rule(&s, "csr.key")->verdict, VERDICT_FAIL);
	assert_int_equal(scene_rule(&s, "csr.weak")->verdict, VERDICT_FAIL);
	assert_int_equal(scene_rule(&s, "csr.names")->verdict, VERDICT_PASS);
	assert_non_null(strstr(s.out.sentence, "quarantined"));
}

static void
policy_decide_denies_what_the_profile_cannot_fill(void **state)
{
	(void)state;
	scene_set(&s);
	strcpy(s.asset.hostname, "*.example.net");
	assert_denied(&s, "profile.fill");
	assert_int_equal(scene_rule(&s, "csr.names")->verdict, VERDICT_SKIP);
	assert_non_null(strstr(scene_rule(&s, "profile.fill")->saw, "dns:{hostname}"));
}

static void
policy_decide_texts_never_end_in_half_a_character(void **state)
{
	size_t i;

	(void)state;
	scene_set(&s);
	for (i = 0; i < 63; i++) {
		memcpy(s.asset.tag + 2 * i, "\xc3\xbc", 3);
		memcpy(s.owner.name + 2 * i, "\xc3\xbc", 3);
	}
	s.asset.state = ASSET_STOLEN;
	for (i = 0; i < 2; i++) {
		size_t at;

		memset(s.in.proof.text, 'x', i);
		for (at = i; at + 2 < sizeof s.in.proof.text; at += 2)
			memcpy(s.in.proof.text + at, "\xc3\xbc", 3);
		decide(&s.in, &s.out);
		assert_true(strlen(scene_rule(&s, "proof.present")->saw) > 150);
		assert_true(text_is_clean(bytes_of_text(s.out.sentence)));
		assert_true(text_is_clean(bytes_of_text(scene_rule(&s, "proof.present")->saw)));
		assert_true(text_is_clean(bytes_of_text(scene_rule(&s, "owner.status")->saw)));
	}
}

static void
policy_decide_gives_a_profile_to_its_classes_only(void **state)
{
	(void)state;
	scene_set(&s);
	(void)strcpy(s.profile.classes[0], "registrar");
	(void)strcpy(s.profile.classes[1], "gateway");
	s.profile.class_count = 2;
	assert_denied(&s, "asset.class");
	(void)strcpy(s.asset.class_name, "router");
	assert_denied(&s, "asset.class");
	(void)strcpy(s.asset.class_name, "gateway");
	assert_allowed(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_decide_gives_a_profile_to_its_classes_only),
		cmocka_unit_test(policy_decide_allows_a_known_device_and_shows_every_rule),
		cmocka_unit_test(policy_decide_shows_every_rule_for_a_renewal_too),
		cmocka_unit_test(policy_decide_denies_when_label_profile_or_request_is_missing),
		cmocka_unit_test(policy_decide_denies_an_operation_the_label_does_not_offer),
		cmocka_unit_test(policy_decide_without_proof_is_unauthentic),
		cmocka_unit_test(policy_decide_denies_proof_the_label_does_not_take),
		cmocka_unit_test(policy_decide_denies_renewal_with_a_revoked_certificate),
		cmocka_unit_test(policy_decide_takes_an_expired_certificate_within_the_grace_only),
		cmocka_unit_test(policy_decide_denies_nobody_and_everybody),
		cmocka_unit_test(policy_decide_follows_the_state_table),
		cmocka_unit_test(policy_decide_alerts_for_a_stolen_asset_whatever_fails_first),
		cmocka_unit_test(policy_decide_ends_renewals_in_repair_after_the_grace),
		cmocka_unit_test(policy_decide_follows_the_owners_status),
		cmocka_unit_test(policy_decide_never_lets_a_certificate_outlive_the_contract),
		cmocka_unit_test(policy_decide_renews_only_with_the_certificate_being_renewed),
		cmocka_unit_test(policy_decide_opens_the_renewal_window_in_time),
		cmocka_unit_test(policy_decide_waits_for_approval_and_then_allows),
		cmocka_unit_test(policy_decide_first_failure_decides_and_later_rules_still_run),
		cmocka_unit_test(policy_decide_denies_what_the_profile_cannot_fill),
		cmocka_unit_test(policy_decide_texts_never_end_in_half_a_character),
	};

	return cmocka_run_group_tests_name("policy/decide", tests, init, done);
}
