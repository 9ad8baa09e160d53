#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/policy_decide_fixture.h"

static struct scene s;
static struct asset registrar;

static void
scene_registrar(enum policy_op op)
{
	scene_set(&s);
	registrar = (struct asset){ .id = 9, .tag = "ra-1", .owner_id = 2, .state = ASSET_DEPLOYED };
	s.label.auth = AUTH_REGISTRAR;
	s.in.op = op;
	s.in.proof = (struct proof){ .kind = PROOF_REGISTRAR, .text = "registrar ra-1 for rtr-7", .cert_id = 5,
		.cert_not_after_s = NOW + 10 * DAY, .cert_profile = "registrar" };
	s.in.registrar = &registrar;
}

static void
assert_denied_by(const char *reason)
{
	decide(&s.in, &s.out);
	assert_int_equal(s.out.outcome, OUTCOME_DENIED);
	assert_string_equal(s.out.reason, reason);
}

static void
policy_registrar_enrolls_for_a_device(void **state)
{
	(void)state;
	scene_registrar(POLICY_ENROLL);
	decide(&s.in, &s.out);
	assert_int_equal(s.out.outcome, OUTCOME_ALLOWED);
	assert_string_equal(s.out.spec.rdns[0].value, "rtr-7");
}

static void
policy_registrar_needs_a_label_that_takes_registrars(void **state)
{
	(void)state;
	scene_registrar(POLICY_ENROLL);
	s.label.auth = AUTH_CERTIFICATE | AUTH_SECRET | AUTH_OWN;
	assert_denied_by("proof.allowed");
}

static void
policy_registrar_speaks_for_others_only_in_a_good_state(void **state)
{
	static const enum asset_state bad[] = { ASSET_ORDERED, ASSET_IN_STOCK, ASSET_REPAIR, ASSET_QUARANTINED,
		ASSET_LOST, ASSET_STOLEN, ASSET_DECOMMISSIONED };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		scene_registrar(POLICY_ENROLL);
		registrar.state = bad[i];
		assert_denied_by("registrar.state");
	}
	scene_registrar(POLICY_ENROLL);
	s.in.registrar = NULL;
	assert_denied_by("registrar.state");
}

static void
policy_registrar_does_not_outlive_its_own_certificate(void **state)
{
	(void)state;
	scene_registrar(POLICY_ENROLL);
	s.in.proof.cert_revoked = true;
	assert_denied_by("proof.revoked");
	scene_registrar(POLICY_ENROLL);
	s.in.proof.cert_not_after_s = NOW - 1;
	s.label.expired_grace_s = 30 * DAY; /* for devices */
	assert_denied_by("proof.expired");
}

static void
policy_registrar_is_bound_by_the_state_of_the_device(void **state)
{
	(void)state;
	scene_registrar(POLICY_ENROLL);
	s.asset.state = ASSET_STOLEN;
	assert_denied_by("asset.state");
	scene_registrar(POLICY_ENROLL);
	s.in.asset_matches = 0;
	s.in.asset = NULL;
	s.in.owner = NULL;
	assert_denied_by("asset.known");
}

static void
policy_registrar_renews_what_the_device_has_and_in_its_window(void **state)
{
	(void)state;
	scene_registrar(POLICY_RENEW);
	s.profile.allow_subject_change = true; /* the names are another test's matter */
	assert_denied_by("renewal.proof");
	s.in.registrar_for_not_after_s = NOW + 31 * DAY;
	assert_denied_by("renewal.window");
	s.in.registrar_for_not_after_s = NOW + 29 * DAY;
	decide(&s.in, &s.out);
	assert_int_equal(s.out.outcome, OUTCOME_ALLOWED);
}

static void
policy_registrar_renewal_keeps_the_names_of_the_device(void **state)
{
	X509_NAME *name = X509_NAME_new();

	(void)state;
	scene_registrar(POLICY_RENEW);
	s.in.registrar_for_not_after_s = NOW + DAY;
	assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)"other", -1, -1, 0),
		1);
	s.in.current_subject = name;
	assert_denied_by("renewal.identity");
	X509_NAME_free(name);
}

/* The device wrote its challenge for another connection, or for none. */
static void
policy_registrar_passes_a_binding_on_unless_one_is_required(void **state)
{
	(void)state;
	scene_registrar(POLICY_ENROLL);
	s.csr.binding = CSR_BINDING_DIFFERS;
	decide(&s.in, &s.out);
	assert_int_equal(s.out.outcome, OUTCOME_ALLOWED);
	s.label.binding = BINDING_REQUIRE;
	assert_denied_by("csr.binding");
}

static void
policy_registrar_speaks_for_its_own_owners_devices_only(void **state)
{
	(void)state;
	scene_registrar(POLICY_ENROLL);
	registrar.owner_id = 3;
	assert_denied_by("registrar.state");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_registrar_speaks_for_its_own_owners_devices_only),
		cmocka_unit_test(policy_registrar_enrolls_for_a_device),
		cmocka_unit_test(policy_registrar_needs_a_label_that_takes_registrars),
		cmocka_unit_test(policy_registrar_speaks_for_others_only_in_a_good_state),
		cmocka_unit_test(policy_registrar_does_not_outlive_its_own_certificate),
		cmocka_unit_test(policy_registrar_is_bound_by_the_state_of_the_device),
		cmocka_unit_test(policy_registrar_renews_what_the_device_has_and_in_its_window),
		cmocka_unit_test(policy_registrar_renewal_keeps_the_names_of_the_device),
		cmocka_unit_test(policy_registrar_passes_a_binding_on_unless_one_is_required),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
