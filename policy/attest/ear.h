/*
 * ear.h - an Attestation Result from an external verifier: EAR as a signed JWT (RFC 7519, JWS compact form).
 *
 * Pure: the token and the verifier's pinned keys in, an attestation out.
 */
#ifndef POLICY_ATTEST_EAR_H
#define POLICY_ATTEST_EAR_H

#include "base/ossl.h"
#include "policy/attestation.h"
#include "policy/identity.h"

#define EAR_TOKEN_MAX   65536
#define EAR_KEYS_MAX    8
#define EAR_NONCE_MAX   64
#define EAR_SESSION_NONCE_LEN 48
#define EAR_SUBMODS_MAX 8

enum ear_status { EAR_NONE = 0, EAR_AFFIRMING = 2, EAR_WARNING = 32, EAR_CONTRAINDICATED = 96 };
int ear_status_of(const char *name); /* "affirming", ...; -1: unknown */

struct ear_settings {
	char name[REG_TEXT_MAX];          /* the attester's; the anchors' issuer */
	EVP_PKEY *keys[EAR_KEYS_MAX];     /* pinned: ES256, ES384, EdDSA, RS256/PS256 by the key's own kind; borrowed */
	size_t key_count;
	enum ear_status worst;            /* AFFIRMING, or WARNING to take that too */
	char submods[EAR_SUBMODS_MAX][REG_TEXT_MAX]; /* must be there with such a status; none named: every one that is there */
	size_t submod_count;
	char issuer[REG_TEXT_MAX];        /* "iss"; "": any */
	int64_t age_max_s;                /* iat may be this old; 0: 300 */
	char identity_claim[REG_TEXT_MAX]; /* dotted path to a text claim that names the device, "submods.x.ear.veraison.annotated-evidence.instance-id"; "": none */
	enum anchor_type identity_anchor;
};

/*
 * What the session with the verifier begins with, and so what the evidence has to hold:
 * SHA-384(nonce || SHA-256(spki)). So one value says both that the result is of now and that it is of this
 * key. Its 48 octets need no padding in base64, about which verifiers' versions differ. nonce: 1-EAR_NONCE_MAX octets, else ERR_MALFORMED.
 */
MUST_USE int ear_session_nonce(struct bytes nonce, struct bytes spki,
	uint8_t out[EAR_SESSION_NONCE_LEN], struct err *e);

/*
 * Judge a token. nonce: the one we gave to the device; len 0 never passes. spki: the CSR's key, DER.
 * Checks in order: ear.form, ear.algorithm or ear.signature, ear.nonce ear.key ear.issued ear.expires ear.issuer
 * ear.status. Always fills *out; -1: ERR_NOMEM, ERR_BUG.
 */
MUST_USE int ear_verify(const struct ear_settings *settings, struct bytes token, struct bytes nonce,
	struct bytes spki, int64_t now_s, struct attestation *out, struct err *e);

#endif
