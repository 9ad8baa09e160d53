/*
 * The extensions of a YubiKey's attestation, and its statement: each a length octet and that many octets.
 */
#include "attested.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct attested attested;

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const oids[] = { "1.3.6.1.4.1.41482.3.3", "1.3.6.1.4.1.41482.3.7", "1.3.6.1.4.1.41482.3.8",
		"1.3.6.1.4.1.41482.3.9" };
	struct attest_settings settings = { .name = "yubico", .method = ATTEST_YUBIKEY };
	struct cursor c = cursor_of(bytes_of(data, size));
	uint8_t demands = cursor_u8(&c);
	X509 *cert;
	size_t i;

	attested_init(&attested);
	settings.yubikey_pin_min = demands & 3;
	settings.yubikey_touch_min = demands >> 2 & 3;
	if ((demands & 0x10) != 0)
		memcpy(settings.yubikey_firmware_min, "5.7.0", 6);
	cert = attested_cert(&attested);
	for (i = 0; i < sizeof oids / sizeof oids[0]; i++) {
		struct bytes value = cursor_take(&c, cursor_u8(&c));

		if (!c.failed)
			attested_extend(cert, oids[i], value);
	}
	attested_judge(&attested, cert, c.failed ? bytes_of("\x05\x00", 2) : bytes_of(c.at, cursor_left(&c)), &settings,
		&attest_yubikey);
	return 0;
}
