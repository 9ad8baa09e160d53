/*
 * attestation.h - what a piece of evidence came to, as plain data.
 *
 * Verifiers (policy/attest/, gateway/verifier/) fill it; decide() judges by it; the store
 * keeps its short form. A check that did not run has not passed.
 */
#ifndef POLICY_ATTESTATION_H
#define POLICY_ATTESTATION_H

#include <stddef.h>

#include "policy/record.h"

enum attest_method {
	ATTEST_IDEVID = 0, /* the manufacturer's certificate in the handshake */
	ATTEST_TPM,        /* TPM 2.0 key certification */
	ATTEST_ANDROID,    /* Android key attestation */
	ATTEST_YUBIKEY,    /* YubiKey PIV attestation */
	ATTEST_EAR,        /* an external verifier's result */
	ATTEST_MDM,        /* an MDM's word */
};
#define ATTEST_METHODS 6
const char *attest_method_name(enum attest_method method); /* "idevid", "tpm", ... */
int attest_method_of(const char *name);                    /* -1: unknown */

#define ATTEST_CHECKS_MAX  24
#define ATTEST_CLAIMS_MAX  24
#define ATTEST_ANCHORS_MAX 4
#define ATTEST_SAW_MAX     96
#define ATTEST_PER_REQUEST_MAX 4

struct attest_check {
	const char *name;         /* static: "tpm.nonce" */
	bool passed;
	char saw[ATTEST_SAW_MAX]; /* escaped */
};

struct attest_claim { /* what the evidence says of the device, for people and for rules: "android.security_level", "tee" */
	char name[48];
	char value[128];  /* escaped */
};

struct attestation {
	enum attest_method method;
	char attester[REG_TEXT_MAX]; /* the configured attester that judged it; for IDEVID the trust set */
	bool valid;      /* every check below passed; false with no checks: there was nothing to judge */
	bool key_bound;  /* it speaks of the very key in the CSR */
	bool fresh;      /* it answers a nonce of ours, or the handshake did */
	struct anchor anchors[ATTEST_ANCHORS_MAX]; /* whom it speaks of; issuer is the attester's name */
	size_t anchor_count;
	bool of_asset;   /* one of the anchors is the asset's; filled by the gateway, who can look it up */
	bool identity_required; /* the attester's setting: without of_asset it does not count */
	struct attest_check checks[ATTEST_CHECKS_MAX];
	size_t check_count;
	struct attest_claim claims[ATTEST_CLAIMS_MAX];
	size_t claim_count;
	int64_t expires_s; /* the result's own end; 0: none */
	char policy[65];   /* the policy version that it was judged by; filled by the gateway */
};

/*
 * Append a check; the text is formatted into saw. Returns passed, so that a
 * verifier can go on or stop. A check past ATTEST_CHECKS_MAX makes the last one fail.
 */
bool attest_check(struct attestation *out, const char *name, bool passed, const char *fmt, ...) PRINTF(4, 5);
/* Append a claim; a full list drops it. value is escaped and cut. */
void attest_claim(struct attestation *out, const char *name, const char *fmt, ...) PRINTF(3, 4);
/* valid = there is a check, and none failed. The last thing a verifier does. */
void attest_conclude(struct attestation *out);

#endif
