/*
 * verifier.h - checking many signatures of one key.
 *
 * Inside gateway/ca only. A verifier never changes; every function may be
 * called from any thread.
 */
#ifndef GATEWAY_CA_VERIFIER_H
#define GATEWAY_CA_VERIFIER_H

#include "base/ossl.h"

struct verifier;

/* key needs its public part only, and is the caller's. *out: verifier_free(). ERR_NOMEM, ERR_BUG */
MUST_USE int verifier_new(EVP_PKEY *key, const EVP_MD *md, struct verifier **out, struct err *e);
void verifier_free(struct verifier *v); /* NULL is allowed */

/* It is for signatures of this algorithm (a NID), and no other. */
bool verifier_is_for(const struct verifier *v, int algorithm);

/* ECDSA in DER, RSA as PKCS#1 v1.5. ERR_DENIED: it is not the key's signature of these octets; ERR_NOMEM */
MUST_USE int verifier_check(const struct verifier *v, struct bytes text, struct bytes signature, struct err *e);

#endif
