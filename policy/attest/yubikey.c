/*
 * yubikey.c - YubiKey PIV attestation: a certificate for the slot's key, signed by the device's own key (slot f9),
 * whose certificate leads to Yubico's roots.
 *
 * The attestation holds no nonce: it is the same octets each time and says
 * only that the key was made in the device, and cannot leave it. Fresh is
 * therefore what that very key signs now. The statement says which:
 *   NULL           no more than that; fresh stays false
 *   OCTET STRING   a nonce of ours. It stands in the request, which the attested
 *                  key has signed, so the device has had the nonce: fresh.
 * This holds for requests whose signature was verified over the key in spki
 * only; for others (serverkeygen) evidence about a key means nothing anyway.
 *
 * Identity rules are not applied: the leaf's subject names the slot. The
 * anchor is the device's serial number, in decimal as it is printed on it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/tlv.h"
#include "policy/attest/leaf.h"

#define OID_FIRMWARE    "1.3.6.1.4.1.41482.3.3" /* three octets, as they are */
#define OID_SERIAL      "1.3.6.1.4.1.41482.3.7" /* an INTEGER */
#define OID_POLICY      "1.3.6.1.4.1.41482.3.8" /* two octets: PIN policy, touch policy */
#define OID_FORM_FACTOR "1.3.6.1.4.1.41482.3.9" /* one octet */
#define FORM_MASK       0x0f
#define FORM_FIPS       0x80
#define SERIAL_OCTETS_MAX 8
#define FIRMWARE_PARTS  3

struct device {
	uint8_t firmware[FIRMWARE_PARTS];
	uint8_t pin, touch;
	bool has_form;
	uint8_t form;
	bool has_serial;
	uint64_t serial;
};

/* Policies by number; strength says which satisfy which minimum. Biometric ones ask for the PIN where a finger fails. */
struct policy {
	const char *name;
	int strength;
};

static const struct policy pin_policies[] = { { "default", 0 }, { "never", 1 }, { "once", 2 }, { "always", 3 },
	{ "match once", 2 }, { "match always", 3 } };
static const struct policy touch_policies[] = { { "default", 0 }, { "never", 1 }, { "always", 3 }, { "cached", 2 } };

#define PIN_POLICIES   ((int)(sizeof pin_policies / sizeof pin_policies[0]))
#define TOUCH_POLICIES ((int)(sizeof touch_policies / sizeof touch_policies[0]))

static const char *
policy_name(const struct policy *policies, int count, int policy)
{
	return policy < count ? policies[policy].name : "unknown";
}

/* An unknown policy, and an unknown minimum, satisfies nothing. */
static bool
satisfies(const struct policy *policies, int count, int policy, int minimum)
{
	return policy < count && minimum > 0 && minimum < count &&
		policies[policy].strength >= policies[minimum].strength;
}

static bool
read_serial(struct bytes der, struct device *out)
{
	struct cursor c = tlv_only(der, DER_INTEGER);
	size_t left = cursor_left(&c);

	if (c.failed || left == 0 || left > SERIAL_OCTETS_MAX || (c.at[0] & 0x80) != 0)
		return false;
	out->serial = 0;
	while (cursor_left(&c) > 0)
		out->serial = out->serial << 8 | cursor_u8(&c);
	out->has_serial = true;
	return true;
}

/* Firmware and policies are in every attestation; serial number and form factor are not in old ones. */
static const char *
read_device(const X509 *leaf, struct device *out)
{
	struct bytes firmware = { 0 }, policy = { 0 }, serial = { 0 }, form = { 0 };
	int has_serial, has_form;

	if (attest_leaf_extension(leaf, OID_FIRMWARE, &firmware) != 1 || firmware.len != sizeof out->firmware)
		return "no firmware version";
	if (attest_leaf_extension(leaf, OID_POLICY, &policy) != 1 || policy.len != 2)
		return "no PIN and touch policy";
	has_serial = attest_leaf_extension(leaf, OID_SERIAL, &serial);
	if (has_serial < 0 || (has_serial == 1 && !read_serial(serial, out)))
		return "the serial number is none";
	has_form = attest_leaf_extension(leaf, OID_FORM_FACTOR, &form);
	if (has_form < 0 || (has_form == 1 && form.len != 1))
		return "the form factor is none";
	memcpy(out->firmware, firmware.at, sizeof out->firmware);
	out->pin = policy.at[0];
	out->touch = policy.at[1];
	out->has_form = has_form == 1;
	out->form = out->has_form ? form.at[0] : 0;
	return NULL;
}

/* "5.7.0"; false when the setting is nothing like it. */
static bool
parse_firmware(const char *text, uint8_t out[FIRMWARE_PARTS])
{
	size_t i;

	for (i = 0; i < FIRMWARE_PARTS; i++) {
		size_t digits = strspn(text, "0123456789");
		unsigned long part = strtoul(text, NULL, 10);

		if (digits == 0 || digits > 3 || part > UINT8_MAX || text[digits] != (i == FIRMWARE_PARTS - 1 ? '\0' : '.'))
			return false;
		out[i] = (uint8_t)part;
		text += digits + 1;
	}
	return true;
}

static void
check_device(const struct attest_settings *settings, const struct device *device, struct attestation *out)
{
	const uint8_t *is = device->firmware;
	uint8_t minimum[FIRMWARE_PARTS];

	if (settings->yubikey_firmware_min[0] != '\0')
		attest_check(out, "yubikey.firmware", parse_firmware(settings->yubikey_firmware_min, minimum) &&
				memcmp(is, minimum, sizeof minimum) >= 0,
			"%d.%d.%d; at least %s is demanded", is[0], is[1], is[2], settings->yubikey_firmware_min);
	if (settings->yubikey_pin_min != 0)
		attest_check(out, "yubikey.pin", satisfies(pin_policies, PIN_POLICIES, device->pin, settings->yubikey_pin_min),
			"%s", policy_name(pin_policies, PIN_POLICIES, device->pin));
	if (settings->yubikey_touch_min != 0)
		attest_check(out, "yubikey.touch",
			satisfies(touch_policies, TOUCH_POLICIES, device->touch, settings->yubikey_touch_min), "%s",
			policy_name(touch_policies, TOUCH_POLICIES, device->touch));
}

static void
take_identity(const struct attest_settings *settings, const struct device *device, struct attestation *out)
{
	char text[24];
	struct err why;

	if (!device->has_serial)
		return;
	(void)snprintf(text, sizeof text, "%llu", (unsigned long long)device->serial);
	attest_claim(out, "yubikey.serial", "%s", text);
	if (!leaf_anchor(settings, ANCHOR_IDEVID_SERIAL, bytes_of_text(text), out, &why))
		attest_check(out, "yubikey.identity", false, "%s", why.text);
}

/* The subject is "CN=YubiKey PIV Attestation 9a". */
static void
claim_slot(const X509 *leaf, struct attestation *out)
{
	static const char before[] = "CN=YubiKey PIV Attestation ";
	char subject[64];

	x509_name_text(X509_get_subject_name(leaf), subject, sizeof subject);
	if (strncmp(subject, before, sizeof before - 1) == 0)
		attest_claim(out, "yubikey.slot", "%s", subject + sizeof before - 1);
}

static void
claim(const X509 *leaf, const struct device *device, struct attestation *out)
{
	static const char *const forms[] = { "unknown", "USB-A keychain", "USB-A nano", "USB-C keychain", "USB-C nano",
		"USB-C and Lightning", "USB-A biometric", "USB-C biometric" };
	unsigned form = device->form & FORM_MASK;

	claim_slot(leaf, out);
	attest_claim(out, "yubikey.firmware", "%d.%d.%d", device->firmware[0], device->firmware[1], device->firmware[2]);
	attest_claim(out, "yubikey.pin_policy", "%s", policy_name(pin_policies, PIN_POLICIES, device->pin));
	attest_claim(out, "yubikey.touch_policy", "%s", policy_name(touch_policies, TOUCH_POLICIES, device->touch));
	if (!device->has_form)
		return;
	attest_claim(out, "yubikey.form_factor", "%s", form < sizeof forms / sizeof forms[0] ? forms[form] : forms[0]);
	attest_claim(out, "yubikey.fips", "%s", (device->form & FORM_FIPS) != 0 ? "yes" : "no");
}

static void
judge(const struct attest_settings *settings, const struct attest_input *in, X509 *leaf, struct attestation *out)
{
	struct device device = { .pin = 0 };
	const char *wrong = read_device(leaf, &device);

	if (!attest_check(out, "yubikey.extensions", wrong == NULL, "%s", wrong == NULL ? "present" : wrong))
		return;
	(void)leaf_check_key(leaf, in->spki, "yubikey.key", out);
	check_device(settings, &device, out);
	take_identity(settings, &device, out);
	claim(leaf, &device, out);
}

/* See above. A nonce that another key than the attested one has signed proves nothing, but then yubikey.key fails. */
static void
check_nonce(const struct attest_input *in, struct attestation *out)
{
	struct cursor c = tlv_only(leaf_statement(in), DER_OCTET_STRING);

	if (c.failed)
		return;
	(void)leaf_check_nonce(in, bytes_of(c.at, cursor_left(&c)), "yubikey.nonce", out);
}

static int
verify(const struct attest_settings *settings, const struct attest_input *in, struct attestation *out, struct err *e)
{
	CLEANUP(X509) X509 *leaf = NULL;
	struct bytes statement = leaf_statement(in);
	struct cursor nonce = tlv_only(statement, DER_OCTET_STRING);
	bool null = leaf_is_null(statement);

	(void)e;
	leaf_begin(settings, out);
	if (attest_check(out, "yubikey.statement", null || !nonce.failed, "%s",
		    null ? "NULL: no nonce, so it is not fresh" : nonce.failed ? "neither NULL nor a nonce" : "a nonce") &&
	    attest_chain(settings, "yubikey", in->evidence->certs, in->evidence->cert_count, in->now_s, &leaf, out) == 0) {
		judge(settings, in, leaf, out);
		check_nonce(in, out);
	}
	leaf_conclude(out);
	return 0;
}

const struct attest_ops attest_yubikey = {
	.method = ATTEST_YUBIKEY,
	.statement_type = EVIDENCE_YUBIKEY,
	.verify = verify,
};
