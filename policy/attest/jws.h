/*
 * jws.h - JSON Web Signature in compact form (RFC 7515), verified with pinned keys.
 */
#ifndef POLICY_ATTEST_JWS_H
#define POLICY_ATTEST_JWS_H

#include <jansson.h>

#include "base/ossl.h"

struct jws_failure {
	enum { JWS_FORM, JWS_ALGORITHM, JWS_SIGNATURE } step;
	char algorithm[16]; /* the header's, when it is one of ours */
};

/*
 * token: "header.payload.signature", each base64url. The algorithm has to be one that a pinned key's own kind
 * allows (ES256 P-256, ES384 P-384, EdDSA Ed25519, RS256, RS384, PS256, PS384 RSA), so "none" and HMAC with a public key never pass. A header with
 * "crit", "b64", a key or a certificate in it gains nothing: crit is refused, the others are not looked at.
 *
 * *payload is the caller's. ERR_MALFORMED (why->step FORM: also when the payload is no JSON object), ERR_UNSUPPORTED (ALGORITHM),
 * ERR_UNAUTHENTIC (SIGNATURE), ERR_NOMEM.
 */
MUST_USE int jws_open(struct bytes token, EVP_PKEY *const *keys, size_t key_count, json_t **payload,
	struct jws_failure *why, struct err *e);

#endif
