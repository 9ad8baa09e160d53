#include "policy_attest_android_fixture.h"

static struct leaf_scene scene;

static int
setup(void **state)
{
	(void)state;
	scene_init(&scene, ATTEST_ANDROID);
	scene.settings.android_level_min = 1;
	scene.settings.android_locked = true;
	scene.settings.android_os_min = 140000;
	scene.settings.android_patch_min = 202610;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	scene_clear(&scene);
	return 0;
}

static void
make(const struct description_wish *wish)
{
	CLEANUP(buf) struct buf value = { 0 };

	buf_clear(&scene.leaf_extensions);
	put_description(&value, wish);
	scene_put_extension(&scene.leaf_extensions, OID_DESCRIPTION, buf_bytes(&value));
	scene_make(&scene, EVIDENCE_ANDROID);
}

static struct attestation
judged(const struct description_wish *wish)
{
	make(wish);
	return scene_judge(&scene, &attest_android);
}

static void
assert_fails(const struct description_wish *wish, const char *name)
{
	struct attestation out = judged(wish);

	assert_only_failed(&out, (const char *const[]){ name, NULL });
}

static void
policy_android_accepts_a_hardware_key_with_our_nonce(void **state)
{
	static const int versions[] = { 1, 2, 3, 4, 100, 200, 300, 400 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof versions / sizeof versions[0]; i++) {
		struct description_wish wish = good_phone();
		struct attestation out;

		wish.version = versions[i];
		out = judged(&wish);
		assert_good(&out);
		assert_true(out.fresh);
		assert_int_equal(out.method, ATTEST_ANDROID);
	}
}

static void
policy_android_tells_what_the_phone_says_of_itself(void **state)
{
	struct description_wish wish = good_phone();
	struct attestation out;

	(void)state;
	wish.hardware.second_imei = "356938035643817";
	out = judged(&wish);
	assert_good(&out);
	assert_int_equal(out.anchor_count, 3);
	assert_int_equal(out.anchors[0].type, ANCHOR_IDEVID_SERIAL);
	assert_string_equal(out.anchors[0].value, "ZY22ABCDEF");
	assert_string_equal(out.anchors[0].issuer, "maker");
	assert_int_equal(out.anchors[1].type, ANCHOR_IMEI);
	assert_string_equal(out.anchors[1].value, "356938035643809");
	assert_string_equal(out.anchors[2].value, "356938035643817");
	assert_claim(&out, "android.security_level", "tee");
	assert_claim(&out, "android.locked", "yes");
	assert_claim(&out, "android.boot_state", "verified");
	assert_claim(&out, "android.os_version", "150000");
	assert_claim(&out, "android.patch_level", "202611");
	assert_claim(&out, "android.model", "Phone 9");
}

static void
policy_android_needs_no_identity_and_no_certain_order(void **state)
{
	struct description_wish wish = good_phone();
	struct attestation out;

	(void)state;
	wish.hardware.serial = wish.hardware.imei = NULL;
	wish.hardware.unordered = true;
	out = judged(&wish);
	assert_good(&out);
	assert_int_equal(out.anchor_count, 0);
}

/* An app fills the other list with what it likes. */
static void
policy_android_takes_no_identity_from_the_list_that_software_enforces(void **state)
{
	struct description_wish wish = good_phone();
	struct attestation out;

	(void)state;
	wish.hardware.serial = wish.hardware.imei = NULL;
	wish.software.serial = "STOLEN1";
	wish.software.imei = "356938035643809";
	out = judged(&wish);
	assert_good(&out);
	assert_int_equal(out.anchor_count, 0);
}

static void
policy_android_refuses_a_nonce_that_is_not_ours(void **state)
{
	struct description_wish wish = good_phone();

	(void)state;
	wish.challenge = bytes_of_text("somebody else's nonce");
	assert_fails(&wish, "android.nonce");
	wish.challenge = bytes_of(NULL, 0);
	assert_fails(&wish, "android.nonce");
	wish.challenge = bytes_of(our_nonce, 7);
	assert_fails(&wish, "android.nonce");
	wish = good_phone();
	scene.in.is_nonce = NULL;
	assert_fails(&wish, "android.nonce");
}

static bool
is_any_nonce(void *arg, struct bytes nonce)
{
	(void)arg;
	(void)nonce;
	return true;
}

/* Whoever keeps the nonces is not even asked. */
static void
policy_android_refuses_a_nonce_that_is_too_short_or_too_long(void **state)
{
	static const uint8_t octets[ATTEST_NONCE_MAX + 1];
	struct description_wish wish = good_phone();

	(void)state;
	scene.in.is_nonce = is_any_nonce;
	wish.challenge = bytes_of(octets, ATTEST_NONCE_MIN - 1);
	assert_fails(&wish, "android.nonce");
	wish.challenge = bytes_of(octets, ATTEST_NONCE_MAX + 1);
	assert_fails(&wish, "android.nonce");
	wish.challenge = bytes_of(octets, ATTEST_NONCE_MAX);
	assert_true(judged(&wish).valid);
}

/* Evidence borrowed from a phone, for a key in software. */
static void
policy_android_refuses_another_key_than_the_requests(void **state)
{
	struct description_wish wish = good_phone();

	(void)state;
	scene.in.spki = spki_der(scene.other_key, &scene.spki);
	assert_fails(&wish, "android.key");
	scene.in.spki = bytes_of_text("no key");
	assert_fails(&wish, "android.key");
}

static void
policy_android_refuses_a_level_below_the_minimum(void **state)
{
	struct description_wish wish = good_phone();

	(void)state;
	wish.level = 0;
	assert_fails(&wish, "android.level");
	wish = good_phone();
	wish.key_level = 0;
	wish.software.purpose = 2;
	wish.software.origin = 0;
	assert_fails(&wish, "android.level");
	scene.settings.android_level_min = 2;
	wish = good_phone();
	wish.level = 2;
	assert_fails(&wish, "android.level");
	wish.key_level = 2;
	assert_true(judged(&wish).valid);
}

static void
policy_android_refuses_unlocked_and_unverified_phones(void **state)
{
	struct description_wish wish = good_phone();
	int boot;

	(void)state;
	wish.hardware.locked = 0;
	assert_fails(&wish, "android.boot");
	for (boot = 1; boot <= 4; boot++) {
		wish = good_phone();
		wish.hardware.boot_state = boot;
		assert_fails(&wish, "android.boot");
	}
	wish = good_phone();
	wish.hardware.locked = -1;
	assert_fails(&wish, "android.boot");
	wish.software.locked = 1;
	wish.software.boot_state = 0;
	assert_fails(&wish, "android.boot");
	scene.settings.android_locked = false;
	assert_true(judged(&wish).valid);
}

static void
policy_android_refuses_old_systems(void **state)
{
	struct description_wish wish = good_phone();

	(void)state;
	wish.hardware.os_version = 130000;
	assert_fails(&wish, "android.os");
	wish.hardware.os_version = -1;
	wish.software.os_version = 150000;
	assert_fails(&wish, "android.os");
	wish = good_phone();
	wish.hardware.patch_level = 202609;
	assert_fails(&wish, "android.patch");
	wish.hardware.patch_level = 20200101;
	assert_fails(&wish, "android.patch");
	wish.hardware.patch_level = -1;
	wish.software.patch_level = 202611;
	assert_fails(&wish, "android.patch");
	scene.settings.android_os_min = scene.settings.android_patch_min = 0;
	assert_true(judged(&wish).valid);
}

static void
policy_android_refuses_keys_that_were_not_generated_there(void **state)
{
	struct description_wish wish = good_phone();
	int origin;

	(void)state;
	for (origin = 1; origin <= 5; origin++) {
		wish.hardware.origin = origin;
		assert_fails(&wish, "android.origin");
	}
	wish.hardware.origin = -1;
	wish.software.origin = 0;
	assert_fails(&wish, "android.origin");
}

static void
policy_android_refuses_keys_that_may_not_sign(void **state)
{
	static const int purposes[] = { 0, 3, 7, -1 };
	struct description_wish wish = good_phone();
	size_t i;

	(void)state;
	wish.software.purpose = 2;
	for (i = 0; i < sizeof purposes / sizeof purposes[0]; i++) {
		wish.hardware.purpose = purposes[i];
		assert_fails(&wish, "android.purpose");
	}
}

static void
policy_android_reads_a_software_keys_own_list(void **state)
{
	struct description_wish wish = good_phone();

	(void)state;
	scene.settings.android_level_min = 0;
	wish.level = wish.key_level = 0;
	wish.software.purpose = 2;
	wish.software.origin = 0;
	assert_true(judged(&wish).valid);
	wish.software.origin = 2;
	assert_fails(&wish, "android.origin");
}

static void
policy_android_refuses_identifiers_that_are_none(void **state)
{
	struct description_wish wish = good_phone();

	(void)state;
	wish.hardware.imei = "not an imei";
	assert_fails(&wish, "android.identity");
	wish = good_phone();
	wish.hardware.serial = "A\nB";
	assert_fails(&wish, "android.identity");
}

static void
policy_android_refuses_a_description_it_cannot_read(void **state)
{
	struct description_wish wish = good_phone();

	(void)state;
	wish.version = 5;
	assert_fails(&wish, "android.description");
	wish = good_phone();
	wish.level = 3;
	assert_fails(&wish, "android.description");
	wish = good_phone();
	wish.rest = true;
	assert_fails(&wish, "android.description");
	wish = good_phone();
	wish.hardware.twice = 702;
	assert_fails(&wish, "android.description");
	wish = good_phone();
	wish.software.twice = 503;
	assert_fails(&wish, "android.description");
	wish = good_phone();
	wish.hardware.serial = "";
	assert_fails(&wish, "android.description");
	wish.hardware.serial = "a serial number that is so much longer than any serial number there is";
	assert_fails(&wish, "android.description");
}

static void
policy_android_refuses_a_leaf_with_no_description_or_two(void **state)
{
	struct description_wish wish = good_phone();
	CLEANUP(buf) struct buf value = { 0 };
	struct attestation out;

	(void)state;
	scene_make(&scene, EVIDENCE_ANDROID);
	out = scene_judge(&scene, &attest_android);
	assert_only_failed(&out, (const char *const[]){ "android.description", NULL });
	put_description(&value, &wish);
	scene_put_extension(&scene.leaf_extensions, OID_DESCRIPTION, buf_bytes(&value));
	scene_put_extension(&scene.leaf_extensions, OID_DESCRIPTION, buf_bytes(&value));
	scene_make(&scene, EVIDENCE_ANDROID);
	out = scene_judge(&scene, &attest_android);
	assert_only_failed(&out, (const char *const[]){ "android.description", NULL });
	assert_string_equal(check_named(&out, "android.description")->saw, "the leaf has more than one");
}

/* An attested key has signed a certificate of its own, whose description is an invention. */
static void
policy_android_refuses_a_chain_that_an_attested_key_has_extended(void **state)
{
	struct description_wish wish = good_phone();
	CLEANUP(buf) struct buf value = { 0 };
	struct attestation out;

	(void)state;
	put_description(&value, &wish);
	scene_put_extension(&scene.middle_extensions, OID_DESCRIPTION, buf_bytes(&value));
	assert_fails(&wish, "android.extended");
	/* With a certificate that is not a CA's, the chain ends there already. */
	scene.middle.is_ca = false;
	out = judged(&wish);
	assert_only_failed(&out, (const char *const[]){ "android.chain", NULL });
}

static void
policy_android_refuses_chains_out_of_their_time(void **state)
{
	struct description_wish wish = good_phone();

	(void)state;
	scene.in.now_s = NOW_S + 2 * DAY_S;
	assert_fails(&wish, "android.chain");
	scene.in.now_s = NOW_S - 2 * DAY_S;
	assert_fails(&wish, "android.chain");
	scene.in.now_s = NOW_S;
	scene.leaf.to_s = NOW_S - 60;
	assert_fails(&wish, "android.chain");
	scene.leaf.to_s = 0;
	scene.middle.from_s = NOW_S + 60;
	assert_fails(&wish, "android.chain");
	scene.middle.from_s = 0;
	assert_true(judged(&wish).valid);
}

static void
policy_android_refuses_chains_to_other_roots(void **state)
{
	struct description_wish wish = good_phone();

	(void)state;
	scene_trust(&scene, scene.other_root);
	assert_fails(&wish, "android.chain");
	scene_trust(&scene, NULL);
	assert_fails(&wish, "android.chain");
	scene_trust(&scene, scene.root);
	scene.leaf.issuer_key = scene.other_key;
	assert_fails(&wish, "android.chain");
}

static void
policy_android_refuses_statements_and_bundles_of_another_form(void **state)
{
	struct description_wish wish = good_phone();
	struct attestation out;

	(void)state;
	buf_clear(&scene.stmt);
	buf_append(&scene.stmt, "\x04\x00", 2);
	assert_fails(&wish, "android.statement");
	buf_clear(&scene.stmt);
	buf_append(&scene.stmt, "\x05\x00", 2);
	make(&wish);
	scene.in.statement = 1;
	out = scene_judge(&scene, &attest_android);
	assert_only_failed(&out, (const char *const[]){ "android.statement", NULL });
	scene.in.statement = 0;
	scene.evidence.cert_count = 0;
	out = scene_judge(&scene, &attest_android);
	assert_only_failed(&out, (const char *const[]){ "android.certificate", NULL });
	scene.evidence.cert_count = 1;
	out = scene_judge(&scene, &attest_android);
	assert_only_failed(&out, (const char *const[]){ "android.chain", NULL });
}

static void
policy_android_refuses_a_leaf_with_any_octet_changed(void **state)
{
	struct description_wish wish = good_phone();

	(void)state;
	make(&wish);
	assert_every_octet_of_the_leaf_counts(&scene, &attest_android);
	assert_true(scene_judge(&scene, &attest_android).valid);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(policy_android_accepts_a_hardware_key_with_our_nonce),
		TEST(policy_android_tells_what_the_phone_says_of_itself),
		TEST(policy_android_needs_no_identity_and_no_certain_order),
		TEST(policy_android_takes_no_identity_from_the_list_that_software_enforces),
		TEST(policy_android_refuses_a_nonce_that_is_not_ours),
		TEST(policy_android_refuses_a_nonce_that_is_too_short_or_too_long),
		TEST(policy_android_refuses_another_key_than_the_requests),
		TEST(policy_android_refuses_a_level_below_the_minimum),
		TEST(policy_android_refuses_unlocked_and_unverified_phones),
		TEST(policy_android_refuses_old_systems),
		TEST(policy_android_refuses_keys_that_were_not_generated_there),
		TEST(policy_android_refuses_keys_that_may_not_sign),
		TEST(policy_android_reads_a_software_keys_own_list),
		TEST(policy_android_refuses_identifiers_that_are_none),
		TEST(policy_android_refuses_a_description_it_cannot_read),
		TEST(policy_android_refuses_a_leaf_with_no_description_or_two),
		TEST(policy_android_refuses_a_chain_that_an_attested_key_has_extended),
		TEST(policy_android_refuses_chains_out_of_their_time),
		TEST(policy_android_refuses_chains_to_other_roots),
		TEST(policy_android_refuses_statements_and_bundles_of_another_form),
		TEST(policy_android_refuses_a_leaf_with_any_octet_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
