#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/text.h"
#include "policy/attestation.h"

static struct attestation a;

static void
policy_attestation_methods_survive_a_round_trip(void **state)
{
	static const char *const names[ATTEST_METHODS] = { "idevid", "tpm", "android", "yubikey", "ear", "mdm" };
	int i;

	(void)state;
	for (i = 0; i < ATTEST_METHODS; i++) {
		assert_string_equal(attest_method_name((enum attest_method)i), names[i]);
		assert_int_equal(attest_method_of(names[i]), i);
	}
	assert_int_equal(attest_method_of("TPM"), -1);
	assert_int_equal(attest_method_of(""), -1);
	assert_string_equal(attest_method_name((enum attest_method)ATTEST_METHODS), "unknown");
}

static void
policy_attestation_is_valid_when_every_check_passed(void **state)
{
	(void)state;
	a = (struct attestation){ .valid = true };
	attest_conclude(&a);
	assert_false(a.valid); /* nothing was judged */
	assert_true(attest_check(&a, "tpm.magic", true, "%s", "ff544347"));
	attest_conclude(&a);
	assert_true(a.valid);
	assert_string_equal(a.checks[0].name, "tpm.magic");
	assert_string_equal(a.checks[0].saw, "ff544347");
	assert_false(attest_check(&a, "tpm.nonce", false, "%d octets", 3));
	assert_true(attest_check(&a, "tpm.key", true, "same"));
	attest_conclude(&a);
	assert_false(a.valid);
	assert_int_equal(a.check_count, 3);
	assert_string_equal(a.checks[1].saw, "3 octets");
	assert_false(a.checks[1].passed);
}

static void
policy_attestation_with_too_many_checks_is_not_valid(void **state)
{
	int i;

	(void)state;
	a = (struct attestation){ .valid = false };
	for (i = 0; i < ATTEST_CHECKS_MAX; i++)
		assert_true(attest_check(&a, "x", true, "%d", i));
	attest_conclude(&a);
	assert_true(a.valid);
	assert_false(attest_check(&a, "y", true, "one more"));
	attest_conclude(&a);
	assert_false(a.valid);
	assert_int_equal(a.check_count, ATTEST_CHECKS_MAX);
	assert_string_equal(a.checks[ATTEST_CHECKS_MAX - 1].name, "x");
	a.checks[ATTEST_CHECKS_MAX - 1].passed = true;
	a.check_count = ATTEST_CHECKS_MAX + 1;
	attest_conclude(&a);
	assert_false(a.valid);
}

static void
policy_attestation_escapes_and_cuts_what_devices_say(void **state)
{
	char text[300];

	(void)state;
	a = (struct attestation){ .valid = false };
	(void)attest_check(&a, "x", true, "line\nof \xff octets");
	assert_string_equal(a.checks[0].saw, "line\\x0aof \\xff octets");
	(void)attest_check(&a, "x", true, "%s", "clean \xc3\xbc, and \\x0a stays as it is");
	assert_string_equal(a.checks[1].saw, "clean \xc3\xbc, and \\x0a stays as it is");
	memset(text, 'u', 94);
	memcpy(text + 94, "\xc3\xbc", 3);
	(void)attest_check(&a, "x", true, "%s", text);
	assert_int_equal(strlen(a.checks[2].saw), 94);
	assert_true(text_is_clean(bytes_of_text(a.checks[2].saw)));
	attest_claim(&a, "model\x01", "%s", "Pixel\x02");
	assert_string_equal(a.claims[0].name, "model\\x01");
	assert_string_equal(a.claims[0].value, "Pixel\\x02");
	memset(text, 'v', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	attest_claim(&a, text, "%s", text);
	assert_int_equal(strlen(a.claims[1].name), sizeof a.claims[1].name - 1);
	assert_int_equal(strlen(a.claims[1].value), sizeof a.claims[1].value - 1);
}

static void
policy_attestation_drops_claims_past_the_last_place(void **state)
{
	int i;

	(void)state;
	a = (struct attestation){ .valid = false };
	for (i = 0; i < ATTEST_CLAIMS_MAX + 5; i++)
		attest_claim(&a, "n", "%d", i);
	assert_int_equal(a.claim_count, ATTEST_CLAIMS_MAX);
	assert_string_equal(a.claims[ATTEST_CLAIMS_MAX - 1].value, "23");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_attestation_methods_survive_a_round_trip),
		cmocka_unit_test(policy_attestation_is_valid_when_every_check_passed),
		cmocka_unit_test(policy_attestation_with_too_many_checks_is_not_valid),
		cmocka_unit_test(policy_attestation_escapes_and_cuts_what_devices_say),
		cmocka_unit_test(policy_attestation_drops_claims_past_the_last_place),
	};

	return cmocka_run_group_tests_name("policy/attestation", tests, NULL, NULL);
}
