#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/policy_decide_fixture.h"

/* What SCEP has and EST has not: an MDM that vouches for a device, transactions, renewals with free names. */

static struct scene s;

static void
scene_mdm(enum policy_op op)
{
	scene_set(&s);
	s.label.auth = AUTH_MDM;
	s.in.op = op;
	s.in.proof = (struct proof){ .kind = PROOF_MDM, .text = "challenge of intune" };
}

static void
policy_mdm_lets_a_device_enroll_that_it_vouched_for(void **state)
{
	(void)state;
	scene_mdm(POLICY_ENROLL);
	assert_allowed(&s);
	assert_string_equal(scene_rule(&s, "proof.present")->saw, "proof=MDM challenge challenge of intune");
	assert_string_equal(scene_rule(&s, "proof.allowed")->saw, "label takes mdm");
	assert_string_equal(s.out.spec.rdns[0].value, "rtr-7");
}

static void
policy_mdm_needs_a_label_that_takes_its_word(void **state)
{
	(void)state;
	scene_mdm(POLICY_ENROLL);
	s.label.auth = AUTH_CERTIFICATE | AUTH_SECRET | AUTH_OWN | AUTH_REGISTRAR;
	assert_denied(&s, "proof.allowed");
	assert_non_null(strstr(s.out.sentence, "MDM challenge"));
	assert_false(s.out.unauthentic);
	/* And that label takes nothing else. */
	scene_mdm(POLICY_ENROLL);
	s.in.proof.kind = PROOF_SECRET;
	assert_denied(&s, "proof.allowed");
}

/* Whatever stands in the fields that are about certificates of ours. */
static void
policy_mdm_presents_no_certificate_of_ours(void **state)
{
	(void)state;
	scene_mdm(POLICY_ENROLL);
	s.in.proof.cert_revoked = true;
	s.in.proof.cert_not_after_s = NOW - 1;
	assert_allowed(&s);
	assert_int_equal(scene_rule(&s, "proof.revoked")->verdict, VERDICT_SKIP);
	assert_int_equal(scene_rule(&s, "proof.expired")->verdict, VERDICT_SKIP);
	assert_int_equal(scene_rule(&s, "registrar.state")->verdict, VERDICT_SKIP);
}

static void
policy_mdm_does_not_renew(void **state)
{
	(void)state;
	scene_mdm(POLICY_RENEW);
	assert_denied(&s, "renewal.proof");
	assert_int_equal(scene_rule(&s, "renewal.window")->verdict, VERDICT_SKIP);
	assert_int_equal(scene_rule(&s, "renewal.identity")->verdict, VERDICT_SKIP);
}

static void
policy_mdm_is_bound_by_the_registry_and_by_the_profile(void **state)
{
	X509_NAME *name = X509_NAME_new();

	(void)state;
	scene_mdm(POLICY_ENROLL);
	s.in.asset_matches = 0;
	s.in.asset = NULL;
	s.in.owner = NULL;
	assert_denied(&s, "asset.known");
	assert_false(s.out.unauthentic);
	scene_mdm(POLICY_ENROLL);
	s.in.asset_matches = 2;
	assert_denied(&s, "asset.unique");
	scene_mdm(POLICY_ENROLL);
	s.asset.state = ASSET_LOST;
	assert_denied(&s, "asset.state");
	assert_true(s.out.alert);
	scene_mdm(POLICY_ENROLL);
	add_rdn(name, "CN", MBSTRING_UTF8, "rtr-8", -1);
	s.csr.subject = name;
	assert_denied(&s, "csr.names");
	X509_NAME_free(name);
}

static void
policy_transaction_of_another_key_is_not_shared(void **state)
{
	(void)state;
	scene_mdm(POLICY_ENROLL);
	s.in.transaction_request = 42;
	assert_denied(&s, "request.transaction");
	assert_string_equal(s.out.sentence, "the transaction is taken by request 42 for another key");
	assert_string_equal(scene_rule(&s, "request.transaction")->saw, "request=42");
	assert_false(s.out.alert);
	/* Nor by who waits for an operator's word. */
	s.label.approval = APPROVAL_MANUAL;
	assert_denied(&s, "request.transaction");
	/* A renewal is no exception. */
	scene_set(&s);
	scene_own(&s, POLICY_RENEW);
	s.profile.allow_subject_change = true;
	assert_allowed(&s);
	s.in.transaction_request = 42;
	assert_denied(&s, "request.transaction");
}

static void
policy_transaction_comes_after_what_is_wrong_with_the_request(void **state)
{
	(void)state;
	scene_mdm(POLICY_ENROLL);
	s.in.transaction_request = 42;
	s.csr.binding = CSR_BINDING_DIFFERS;
	assert_denied(&s, "csr.binding");
	assert_int_equal(scene_rule(&s, "request.transaction")->verdict, VERDICT_FAIL);
	scene_mdm(POLICY_ENROLL);
	assert_allowed(&s);
	assert_int_equal(scene_rule(&s, "request.transaction")->verdict, VERDICT_SKIP);
}

/* A device renews over SCEP with the CSR it was set up with. */
static void
policy_renewal_need_not_repeat_names_where_the_protocol_says_so(void **state)
{
	X509_NAME *current = X509_NAME_new(), *asked = X509_NAME_new(), *other = X509_NAME_new();
	GENERAL_NAMES *sans = sk_GENERAL_NAME_new_null();

	(void)state;
	add_rdn(current, "O", MBSTRING_UTF8, "Fleet", -1);
	add_rdn(current, "CN", MBSTRING_UTF8, "rtr-7", -1);
	add_san(sans, GEN_DNS, "rtr-7.example.net");
	add_rdn(asked, "CN", MBSTRING_UTF8, "SN7", -1); /* its serial number: its own, but not the certificate's */
	add_rdn(other, "CN", MBSTRING_UTF8, "rtr-8", -1);
	scene_set(&s);
	scene_own(&s, POLICY_RENEW);
	s.in.current_subject = current;
	s.in.current_sans = sans;
	s.csr.subject = asked;
	assert_denied(&s, "renewal.identity");
	s.in.renewal_names_free = true;
	assert_allowed(&s);
	assert_string_equal(s.out.spec.rdns[0].value, "rtr-7");
	/* Whose they are is asked all the same, and what the certificate becomes. */
	s.csr.subject = other;
	assert_denied(&s, "csr.names");
	s.csr.subject = NULL;
	s.in.current_subject = other;
	assert_denied(&s, "renewal.identity");
	X509_NAME_free(current);
	X509_NAME_free(asked);
	X509_NAME_free(other);
	GENERAL_NAMES_free(sans);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_mdm_lets_a_device_enroll_that_it_vouched_for),
		cmocka_unit_test(policy_mdm_needs_a_label_that_takes_its_word),
		cmocka_unit_test(policy_mdm_presents_no_certificate_of_ours),
		cmocka_unit_test(policy_mdm_does_not_renew),
		cmocka_unit_test(policy_mdm_is_bound_by_the_registry_and_by_the_profile),
		cmocka_unit_test(policy_transaction_of_another_key_is_not_shared),
		cmocka_unit_test(policy_renewal_need_not_repeat_names_where_the_protocol_says_so),
		cmocka_unit_test(policy_transaction_comes_after_what_is_wrong_with_the_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
