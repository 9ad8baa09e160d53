/*
 * android_description.h - Android's KeyDescription, the extension 1.3.6.1.4.1.11129.2.1.17 of an attested key.
 *
 * Internal. Octets in, plain data out; what of it is enough is android.c's business.
 */
#ifndef POLICY_ATTEST_ANDROID_DESCRIPTION_H
#define POLICY_ATTEST_ANDROID_DESCRIPTION_H

#include "base/ossl.h"

#define ANDROID_TEXT_MAX 64 /* octets of an identifier */

enum android_level { ANDROID_SOFTWARE = 0, ANDROID_TEE = 1, ANDROID_STRONGBOX = 2 };
#define ANDROID_LEVELS 3

/* An AuthorizationList, reduced to what matters. Numbers that are absent are -1. */
struct android_list {
	bool has_purpose, signs;     /* Purpose SIGN is among its purposes */
	int64_t origin;              /* 0: generated in there */
	bool has_root;               /* rootOfTrust is there: */
	bool locked;
	int64_t boot_state;          /* 0: verified */
	int64_t os_version, patch_level, vendor_patch_level, boot_patch_level;
	struct bytes brand, manufacturer, model; /* len 0: absent, as below */
	struct bytes serial, imei, second_imei;
};

struct android_description {
	int64_t version;
	int64_t level, key_level;    /* of the attestation, and of the key; 0-2 */
	struct bytes challenge;
	struct android_list software, hardware;
	void *decoded;               /* private: owns what the bytes above point into */
};

/*
 * value: the extension's contents, DER. Tags nobody here knows are passed over, in any
 * order (devices differ from the schema there), but none may occur twice.
 *
 * ERR_MALFORMED    not a KeyDescription, or octets left over
 * ERR_UNSUPPORTED  a version nobody here has read the schema of
 */
MUST_USE int android_description_parse(struct bytes value, struct android_description *out, struct err *e);
void android_description_clear(struct android_description *description);

static inline void
android_description_auto(struct android_description *description)
{
	android_description_clear(description);
}

#endif
