/*
 * leaf.h - what verifiers of certificate-borne evidence have in common: the leaf's extensions, and its key.
 *
 * Internal.
 */
#ifndef POLICY_ATTEST_LEAF_H
#define POLICY_ATTEST_LEAF_H

#include "policy/attest/attest.h"

/* The whole DER of the statement to judge; len 0: there is none. */
struct bytes leaf_statement(const struct attest_input *in);
bool leaf_is_null(struct bytes der); /* a DER NULL */

/* Clears *out for this attester's verdict. */
void leaf_begin(const struct attest_settings *settings, struct attestation *out);
/* The verdict. Evidence that failed a check is of no key, not fresh, and speaks of nobody. */
void leaf_conclude(struct attestation *out);

/*
 * The contents of an extension's OCTET STRING, borrowed from the certificate.
 * 1: there, once. 0: absent. -1: there more than once, or the certificate has none that decode.
 */
int attest_leaf_extension(const X509 *cert, const char *dotted, struct bytes *out);

/* The check that the leaf's key is the request's, however either encodes it; sets key_bound. Returns whether it passed. */
bool leaf_check_key(X509 *leaf, struct bytes spki, const char *name, struct attestation *out);

/* The check that this is a nonce of ours; sets fresh. */
bool leaf_check_nonce(const struct attest_input *in, struct bytes nonce, const char *name, struct attestation *out);

/*
 * An anchor from text the evidence holds, normalised; the issuer is the attester's name.
 * False: it is not what its type holds, and *why says so.
 */
bool leaf_anchor(const struct attest_settings *settings, enum anchor_type type, struct bytes value,
	struct attestation *out, struct err *why);

#endif
