#include "policy_attest_leaf.h"

#define OID_FIRMWARE "1.3.6.1.4.1.41482.3.3"
#define OID_SERIAL   "1.3.6.1.4.1.41482.3.7"
#define OID_POLICY   "1.3.6.1.4.1.41482.3.8"
#define OID_FORM     "1.3.6.1.4.1.41482.3.9"

#define SERIAL_16909060 bytes_of("\x02\x04\x01\x02\x03\x04", 6)

static struct leaf_scene scene;

static int
setup(void **state)
{
	(void)state;
	scene_init(&scene, ATTEST_YUBIKEY);
	scene.middle.cn = "Yubico PIV Attestation";
	scene.leaf.cn = "YubiKey PIV Attestation 9a";
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	scene_clear(&scene);
	return 0;
}

/* Values of len 0 are left out. */
static void
make(struct bytes firmware, struct bytes serial, struct bytes policy, struct bytes form)
{
	const struct {
		const char *oid;
		struct bytes value;
	} extensions[] = { { OID_FIRMWARE, firmware }, { OID_SERIAL, serial }, { OID_POLICY, policy }, { OID_FORM, form } };
	size_t i;

	buf_clear(&scene.leaf_extensions);
	for (i = 0; i < sizeof extensions / sizeof extensions[0]; i++)
		if (extensions[i].value.len > 0)
			scene_put_extension(&scene.leaf_extensions, extensions[i].oid, extensions[i].value);
	scene_make(&scene, EVIDENCE_YUBIKEY);
}

/* Firmware 5.7.1, PIN once, touch never, USB-C keychain, FIPS. */
static struct attestation
judged(void)
{
	make(bytes_of("\x05\x07\x01", 3), SERIAL_16909060, bytes_of("\x02\x01", 2), bytes_of("\x83", 1));
	return scene_judge(&scene, &attest_yubikey);
}

static struct attestation
judged_with_policy(uint8_t pin, uint8_t touch)
{
	const uint8_t policy[] = { pin, touch };

	make(bytes_of("\x05\x07\x01", 3), SERIAL_16909060, bytes_of(policy, 2), bytes_of("\x83", 1));
	return scene_judge(&scene, &attest_yubikey);
}

static void
assert_failed(const struct attestation *out, const char *name)
{
	assert_only_failed(out, (const char *const[]){ name, NULL });
}

static void
state_nonce(struct bytes nonce)
{
	buf_clear(&scene.stmt);
	der_put(&scene.stmt, DER_OCTET_STRING, nonce);
}

/* The same octets each time: the key lives in the device, and nothing says since when. */
static void
policy_yubikey_accepts_an_attested_key_and_does_not_call_it_fresh(void **state)
{
	struct attestation out = judged();

	(void)state;
	assert_good(&out);
	assert_false(out.fresh);
	assert_string_equal(check_named(&out, "yubikey.statement")->saw, "NULL: no nonce, so it is not fresh");
	assert_null(check_named(&out, "yubikey.nonce"));
	assert_int_equal(out.anchor_count, 1);
	assert_int_equal(out.anchors[0].type, ANCHOR_IDEVID_SERIAL);
	assert_string_equal(out.anchors[0].value, "16909060");
	assert_string_equal(out.anchors[0].issuer, "maker");
	assert_claim(&out, "yubikey.slot", "9a");
	assert_claim(&out, "yubikey.serial", "16909060");
	assert_claim(&out, "yubikey.firmware", "5.7.1");
	assert_claim(&out, "yubikey.pin_policy", "once");
	assert_claim(&out, "yubikey.touch_policy", "never");
	assert_claim(&out, "yubikey.form_factor", "USB-C keychain");
	assert_claim(&out, "yubikey.fips", "yes");
}

/* The nonce stands in the request, which the attested key has signed. */
static void
policy_yubikey_is_fresh_with_our_nonce_in_the_statement(void **state)
{
	struct attestation out;

	(void)state;
	state_nonce(OUR_NONCE);
	out = judged();
	assert_good(&out);
	assert_true(out.fresh);
}

static void
policy_yubikey_refuses_a_nonce_that_is_not_ours(void **state)
{
	struct attestation out;

	(void)state;
	state_nonce(bytes_of_text("somebody else's nonce"));
	out = judged();
	assert_failed(&out, "yubikey.nonce");
	state_nonce(bytes_of(NULL, 0));
	out = judged();
	assert_failed(&out, "yubikey.nonce");
	state_nonce(OUR_NONCE);
	scene.in.is_nonce = NULL;
	out = judged();
	assert_failed(&out, "yubikey.nonce");
}

static void
policy_yubikey_refuses_other_statements(void **state)
{
	static const struct bytes statements[] = {
		{ (const uint8_t *)"\x30\x00", 2 },
		{ (const uint8_t *)"\x05\x00\x05\x00", 4 },
		{ (const uint8_t *)"\x04\x02\x01", 3 },
		{ (const uint8_t *)"\x04\x00\x00", 3 },
		{ NULL, 0 },
	};
	struct attestation out;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof statements / sizeof statements[0]; i++) {
		buf_clear(&scene.stmt);
		buf_append_bytes(&scene.stmt, statements[i]);
		out = judged();
		assert_failed(&out, "yubikey.statement");
	}
}

static void
policy_yubikey_refuses_another_key_than_the_requests(void **state)
{
	struct attestation out;

	(void)state;
	scene.in.spki = spki_der(scene.other_key, &scene.spki);
	out = judged();
	assert_failed(&out, "yubikey.key");
	state_nonce(OUR_NONCE);
	out = judged();
	assert_failed(&out, "yubikey.key");
}

static void
policy_yubikey_compares_firmware_part_by_part(void **state)
{
	static const struct {
		const char *minimum;
		bool passes;
	} cases[] = { { "5.7.1", true }, { "5.7.0", true }, { "4.99.99", true }, { "5.7.2", false }, { "5.10.0", false },
		{ "6.0.0", false }, { "5.7", false }, { "5.7.1.0", false }, { "5.7.x", false }, { "5.7.256", false },
		{ "5..1", false }, { "-1.0.0", false } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct attestation out;

		strcpy(scene.settings.yubikey_firmware_min, cases[i].minimum);
		out = judged();
		if (cases[i].passes)
			assert_good(&out);
		else
			assert_failed(&out, "yubikey.firmware");
	}
}

static void
policy_yubikey_demands_a_pin_policy_at_least_as_strict(void **state)
{
	/* default, never, once, always, match once, match always, unknown; by minimum 1 to 3 */
	static const bool passes[3][7] = { { false, true, true, true, true, true, false },
		{ false, false, true, true, true, true, false }, { false, false, false, true, false, true, false } };
	int minimum, pin;

	(void)state;
	for (minimum = 1; minimum <= 3; minimum++)
		for (pin = 0; pin < 7; pin++) {
			struct attestation out;

			scene.settings.yubikey_pin_min = minimum;
			out = judged_with_policy((uint8_t)pin, 1);
			if (passes[minimum - 1][pin])
				assert_good(&out);
			else
				assert_failed(&out, "yubikey.pin");
		}
}

/* A touch that is remembered for 15 seconds is less than one each time, though its number is larger. */
static void
policy_yubikey_demands_a_touch_policy_at_least_as_strict(void **state)
{
	/* default, never, always, cached, unknown; by minimum never, always, cached */
	static const bool passes[3][5] = { { false, true, true, true, false }, { false, false, true, false, false },
		{ false, false, true, true, false } };
	int minimum, touch;

	(void)state;
	for (minimum = 1; minimum <= 3; minimum++)
		for (touch = 0; touch < 5; touch++) {
			struct attestation out;

			scene.settings.yubikey_touch_min = minimum;
			out = judged_with_policy(2, (uint8_t)touch);
			if (passes[minimum - 1][touch])
				assert_good(&out);
			else
				assert_failed(&out, "yubikey.touch");
		}
}

static void
policy_yubikey_demands_nothing_that_is_not_set(void **state)
{
	struct attestation out = judged_with_policy(0, 200);

	(void)state;
	assert_good(&out);
	assert_claim(&out, "yubikey.touch_policy", "unknown");
	make(bytes_of("\x04\x03\x00", 3), bytes_of(NULL, 0), bytes_of("\x01\x01", 2), bytes_of(NULL, 0));
	out = scene_judge(&scene, &attest_yubikey);
	assert_good(&out);
	assert_int_equal(out.anchor_count, 0);
}

static void
policy_yubikey_refuses_extensions_it_cannot_read(void **state)
{
	static const struct {
		struct bytes firmware, serial, policy, form;
	} bad[] = {
		{ { NULL, 0 }, { NULL, 0 }, { (const uint8_t *)"\x01\x01", 2 }, { NULL, 0 } },
		{ { (const uint8_t *)"\x05\x07", 2 }, { NULL, 0 }, { (const uint8_t *)"\x01\x01", 2 }, { NULL, 0 } },
		{ { (const uint8_t *)"\x05\x07\x01", 3 }, { NULL, 0 }, { NULL, 0 }, { NULL, 0 } },
		{ { (const uint8_t *)"\x05\x07\x01", 3 }, { NULL, 0 }, { (const uint8_t *)"\x01\x01\x01", 3 }, { NULL, 0 } },
		{ { (const uint8_t *)"\x05\x07\x01", 3 }, { (const uint8_t *)"\x02\x00", 2 }, { (const uint8_t *)"\x01\x01", 2 },
			{ NULL, 0 } },
		{ { (const uint8_t *)"\x05\x07\x01", 3 }, { (const uint8_t *)"\x02\x01\xff", 3 },
			{ (const uint8_t *)"\x01\x01", 2 }, { NULL, 0 } },
		{ { (const uint8_t *)"\x05\x07\x01", 3 }, { (const uint8_t *)"\x02\x09\x01\x01\x01\x01\x01\x01\x01\x01\x01", 11 },
			{ (const uint8_t *)"\x01\x01", 2 }, { NULL, 0 } },
		{ { (const uint8_t *)"\x05\x07\x01", 3 }, { (const uint8_t *)"\x04\x01\x01", 3 },
			{ (const uint8_t *)"\x01\x01", 2 }, { NULL, 0 } },
		{ { (const uint8_t *)"\x05\x07\x01", 3 }, { NULL, 0 }, { (const uint8_t *)"\x01\x01", 2 },
			{ (const uint8_t *)"\x01\x01", 2 } },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct attestation out;

		make(bad[i].firmware, bad[i].serial, bad[i].policy, bad[i].form);
		out = scene_judge(&scene, &attest_yubikey);
		assert_failed(&out, "yubikey.extensions");
	}
}

/* Which of two serial numbers it is would be anybody's guess. */
static void
policy_yubikey_refuses_an_extension_that_stands_twice(void **state)
{
	struct attestation out;

	(void)state;
	(void)judged();
	scene_put_extension(&scene.leaf_extensions, OID_SERIAL, bytes_of("\x02\x01\x07", 3));
	scene_make(&scene, EVIDENCE_YUBIKEY);
	out = scene_judge(&scene, &attest_yubikey);
	assert_false(out.valid);
	assert_int_equal(out.anchor_count, 0);
}

/* Slot f9 can be overwritten with one's own key and certificate. */
static void
policy_yubikey_refuses_an_attestation_key_of_the_owners_own(void **state)
{
	struct attestation out;

	(void)state;
	scene.middle.issuer = scene.other_root;
	scene.middle.issuer_key = scene.other_key;
	out = judged();
	assert_failed(&out, "yubikey.chain");
}

static void
policy_yubikey_refuses_chains_to_other_roots_and_foreign_signatures(void **state)
{
	struct attestation out;

	(void)state;
	scene_trust(&scene, scene.other_root);
	out = judged();
	assert_failed(&out, "yubikey.chain");
	scene_trust(&scene, NULL);
	out = judged();
	assert_failed(&out, "yubikey.chain");
	scene_trust(&scene, scene.root);
	scene.leaf.issuer_key = scene.other_key;
	out = judged();
	assert_failed(&out, "yubikey.chain");
}

/* A slot's key signs what its owner likes, a certificate for a software key, too. */
static void
policy_yubikey_refuses_a_leaf_that_a_slots_key_has_signed(void **state)
{
	struct attestation out;

	(void)state;
	scene.middle.is_ca = false;
	out = judged();
	assert_failed(&out, "yubikey.chain");
}

static void
policy_yubikey_refuses_chains_out_of_their_time(void **state)
{
	struct attestation out;

	(void)state;
	scene.in.now_s = NOW_S + 2 * DAY_S;
	out = judged();
	assert_failed(&out, "yubikey.chain");
	scene.in.now_s = NOW_S - 2 * DAY_S;
	out = judged();
	assert_failed(&out, "yubikey.chain");
	scene.in.now_s = NOW_S;
	scene.middle.to_s = NOW_S - 60;
	out = judged();
	assert_failed(&out, "yubikey.chain");
}

static void
policy_yubikey_refuses_bundles_without_certificates(void **state)
{
	struct attestation out;

	(void)state;
	(void)judged();
	scene.evidence.cert_count = 0;
	out = scene_judge(&scene, &attest_yubikey);
	assert_failed(&out, "yubikey.certificate");
	scene.evidence.cert_count = 1;
	out = scene_judge(&scene, &attest_yubikey);
	assert_failed(&out, "yubikey.chain");
}

static void
policy_yubikey_refuses_a_leaf_with_any_octet_changed(void **state)
{
	(void)state;
	state_nonce(OUR_NONCE);
	assert_true(judged().valid);
	assert_every_octet_of_the_leaf_counts(&scene, &attest_yubikey);
	assert_true(scene_judge(&scene, &attest_yubikey).valid);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(policy_yubikey_accepts_an_attested_key_and_does_not_call_it_fresh),
		TEST(policy_yubikey_is_fresh_with_our_nonce_in_the_statement),
		TEST(policy_yubikey_refuses_a_nonce_that_is_not_ours),
		TEST(policy_yubikey_refuses_other_statements),
		TEST(policy_yubikey_refuses_another_key_than_the_requests),
		TEST(policy_yubikey_compares_firmware_part_by_part),
		TEST(policy_yubikey_demands_a_pin_policy_at_least_as_strict),
		TEST(policy_yubikey_demands_a_touch_policy_at_least_as_strict),
		TEST(policy_yubikey_demands_nothing_that_is_not_set),
		TEST(policy_yubikey_refuses_extensions_it_cannot_read),
		TEST(policy_yubikey_refuses_an_extension_that_stands_twice),
		TEST(policy_yubikey_refuses_an_attestation_key_of_the_owners_own),
		TEST(policy_yubikey_refuses_chains_to_other_roots_and_foreign_signatures),
		TEST(policy_yubikey_refuses_a_leaf_that_a_slots_key_has_signed),
		TEST(policy_yubikey_refuses_chains_out_of_their_time),
		TEST(policy_yubikey_refuses_bundles_without_certificates),
		TEST(policy_yubikey_refuses_a_leaf_with_any_octet_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
