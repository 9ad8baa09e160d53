/*
 * attest.h - verifiers of evidence behind one interface. Pure: no socket, file, clock or log.
 *
 * A verifier answers four questions, and each check it made is named in the
 * result: whose word is it (chain to the attester's own roots), of which key
 * (key_bound), is it of now (fresh), and of which device (anchors). What is
 * demanded of whom is the policy's business, not a verifier's.
 *
 * Chains are checked here against now_s, with a store per attester, without
 * X509_V_FLAG_X509_STRICT (YubiKey's fail it). "Parsed does not mean
 * non-empty": a certificate whose key does not decode is a failed check.
 *
 * Every function may be called from any thread, except new and free.
 */
#ifndef POLICY_ATTEST_ATTEST_H
#define POLICY_ATTEST_ATTEST_H

#include "policy/attest/evidence.h"
#include "policy/attestation.h"
#include "policy/identity.h"

#define ATTEST_NONCE_MIN 8
#define ATTEST_NONCE_MAX 64

/* Settings of one attester, from the configuration. Numbers of 0 and empty texts demand nothing. */
struct attest_settings {
	char name[REG_TEXT_MAX];
	enum attest_method method; /* ATTEST_TPM, ATTEST_ANDROID, ATTEST_YUBIKEY */
	STACK_OF(X509) *roots;     /* borrowed until free; an empty set trusts nobody */
	const struct identity_rules *rules; /* borrowed until free; rules whose trust is this attester's name; may be NULL */
	/* tpm */
	bool tpm_ak_by_certificate; /* an AK certificate that leads to roots counts */
	bool tpm_ak_by_binding;     /* an AK bound to an EK before (see attest_input.ak) counts */
	/* android */
	int android_level_min;      /* 0 software, 1 trusted environment, 2 StrongBox; of attestation and key both */
	bool android_locked;        /* the bootloader is locked and the boot state verified */
	int64_t android_os_min;     /* osVersion as in the extension, e.g. 140000 */
	int64_t android_patch_min;  /* osPatchLevel, e.g. 202611 */
	/* yubikey */
	int yubikey_pin_min;        /* 0 any, 1 never, 2 once, 3 always */
	int yubikey_touch_min;      /* 0 any, 1 never, 2 always, 3 cached */
	char yubikey_firmware_min[16]; /* "5.7.0" */
};

/* An AK that ActivateCredential has bound to an EK before, as the store has it. */
struct attest_ak {
	uint8_t spki_sha256[32];   /* of the AK, which also is found by it */
	char ek_sha256[65];        /* hex: becomes the anchor ek_pub_sha256 */
};

struct attest_input {
	const struct evidence *evidence;
	size_t statement;          /* which of its statements */
	struct bytes spki;         /* the CSR's SubjectPublicKeyInfo, DER: the key that is to be certified */
	/* The nonce this evidence has to carry: 8-64 octets. len 0: nothing is known to compare with, which never
	   passes. Whether a nonce in the evidence is one of ours is asked through is_nonce. */
	bool (*is_nonce)(void *arg, struct bytes nonce);
	void *nonce_arg;
	/* An AK by its public key's SHA-256 (of the DER SPKI): 1 found, 0 none, -1 error (counts as none). May be NULL. */
	int (*find_ak)(void *arg, const uint8_t spki_sha256[32], struct attest_ak *out);
	void *ak_arg;
	int64_t now_s;
};

struct attest_ops {
	enum attest_method method;
	const char *statement_type; /* the statement it judges, dotted */
	/* Always fills *out; bad evidence is a failed check, not an error. -1: ERR_NOMEM, ERR_BUG only. */
	MUST_USE int (*verify)(const struct attest_settings *settings, const struct attest_input *in,
		struct attestation *out, struct err *e);
};

extern const struct attest_ops attest_tpm, attest_android, attest_yubikey;
const struct attest_ops *attest_ops_of(enum attest_method method); /* NULL: judged elsewhere */

/*
 * Build and check a chain: certs[0] is the leaf, the rest are untrusted
 * intermediates in any order. *leaf is the caller's, on success and only then.
 * Which step failed stands in the checks, whose names begin with prefix ("tpm.ak": "tpm.ak.chain").
 * 0 passed, -1 a check failed.
 *
 * Checks in order: prefix.certificate (all decode, and the leaf's key does), prefix.chain. Names are static, so they are
 * listed in chain.c by prefix; with a prefix that is not there both steps have the name prefix.
 */
MUST_USE int attest_chain(const struct attest_settings *settings, const char *prefix, const struct bytes *certs,
	size_t count, int64_t now_s, X509 **leaf, struct attestation *out);

/*
 * The same for the certificate of an EK, before a credential is made for it: OpenSSL has no key for RSAES-OAEP, so that
 * attest_chain() refuses it. *ek and ek_sha256 as from tpm_ek_key(). Checks in order: tpm.ek.certificate tpm.ek.chain
 * tpm.ek.usage (EKU 2.23.133.8.1; where there is no EKU: keyEncipherment or keyAgreement, and no signing).
 */
MUST_USE int attest_ek_chain(const struct attest_settings *settings, const struct bytes *certs, size_t count,
	int64_t now_s, EVP_PKEY **ek, char ek_sha256[65], struct attestation *out);

#endif
