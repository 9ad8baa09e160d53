/*
 * Android's KeyDescription, alone and in a leaf that the verifier trusts: once with every demand, once with none.
 */
#include "attested.h"

#include "policy/attest/android_description.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct attested attested;

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct attest_settings lax = { .name = "lax", .method = ATTEST_ANDROID };
	static const struct attest_settings strict = { .name = "strict", .method = ATTEST_ANDROID, .android_level_min = 1,
		.android_locked = true, .android_os_min = 140000, .android_patch_min = 202601 };
	struct android_description description = { .decoded = NULL };
	struct err e = { 0 };
	X509 *cert;

	attested_init(&attested);
	if (size > EVIDENCE_OCTETS_MAX)
		return 0;
	if (android_description_parse(bytes_of(data, size), &description, &e) != 0)
		demand(description.decoded == NULL && (e.code == ERR_MALFORMED || e.code == ERR_UNSUPPORTED));
	else
		demand(description.level >= 0 && description.level < ANDROID_LEVELS &&
			description.hardware.serial.len <= ANDROID_TEXT_MAX);
	android_description_clear(&description);
	demand(ERR_peek_error() == 0);
	/* Without a description that decodes there is nothing to judge. */
	if (e.code != ERR_NONE)
		return 0;
	cert = attested_cert(&attested);
	attested_extend(cert, EVIDENCE_ANDROID, bytes_of(data, size));
	X509_up_ref(cert);
	attested_judge(&attested, cert, bytes_of("\x05\x00", 2), &lax, &attest_android);
	attested_judge(&attested, cert, bytes_of("\x05\x00", 2), &strict, &attest_android);
	return 0;
}
