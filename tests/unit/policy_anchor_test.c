#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "policy/identity.h"

#define HEX64 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void
policy_anchor_is_normalised_by_its_type(void **state)
{
	static const struct {
		enum anchor_type type;
		const char *in, *out;
	} cases[] = {
		{ ANCHOR_IDEVID_SERIAL, "  FDO27361xtf\t", "FDO27361xtf" },
		{ ANCHOR_MDM_ID, "Ab-Cd", "Ab-Cd" },
		{ ANCHOR_SPKI_SHA256, "00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff", HEX64 },
		{ ANCHOR_EK_PUB_SHA256, "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:"
			"00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF", HEX64 },
		{ ANCHOR_IMEI, "35-209900-176148-1", "352099001761481" },
		{ ANCHOR_HW_MODULE, "1.3.6.1.4.1.9.1:AB4E39", "1.3.6.1.4.1.9.1:ab4e39" },
		{ ANCHOR_HW_MODULE, "Model:XYZ", "Model:XYZ" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct anchor anchor = { .type = cases[i].type, .issuer = "acme" };
		struct err e;

		strcpy(anchor.value, cases[i].in);
		assert_int_equal(anchor_normalise(&anchor, &e), 0);
		assert_string_equal(anchor.value, cases[i].out);
		assert_int_equal(anchor_normalise(&anchor, &e), 0);
		assert_string_equal(anchor.value, cases[i].out);
	}
}

static void
policy_anchor_refuses_what_its_type_cannot_hold(void **state)
{
	static const struct {
		enum anchor_type type;
		const char *in;
	} cases[] = {
		{ ANCHOR_IDEVID_SERIAL, "" },
		{ ANCHOR_IDEVID_SERIAL, " \t " },
		{ ANCHOR_IDEVID_SERIAL, "a\nb" },
		{ ANCHOR_IDEVID_SERIAL, "\xff" },
		{ ANCHOR_SPKI_SHA256, "0011" },
		{ ANCHOR_SPKI_SHA256, HEX64 "00" },
		{ ANCHOR_SPKI_SHA256, HEX64 "g" },
		{ ANCHOR_EK_PUB_SHA256, "g0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff" },
		{ ANCHOR_IMEI, "1234567890123" },
		{ ANCHOR_IMEI, "12345678901234567" },
		{ ANCHOR_IMEI, "35209900176148X" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct anchor anchor = { .type = cases[i].type, .issuer = "acme" };
		struct err e = { .code = ERR_NONE };

		strcpy(anchor.value, cases[i].in);
		assert_int_equal(anchor_normalise(&anchor, &e), -1);
		assert_int_equal(e.code, ERR_MALFORMED);
		assert_string_equal(anchor.value, cases[i].in);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_anchor_is_normalised_by_its_type),
		cmocka_unit_test(policy_anchor_refuses_what_its_type_cannot_hold),
	};

	return cmocka_run_group_tests_name("policy/anchor", tests, NULL, NULL);
}
