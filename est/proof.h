/*
 * proof.h - does a signature over octets prove possession of a key?
 *
 * Which algorithms count is decided here and nowhere else: ECDSA, RSA PKCS #1
 * v1.5 and RSASSA-PSS with SHA-256/384/512, and Ed25519.
 */
#ifndef EST_PROOF_H
#define EST_PROOF_H

#include "base/key.h"

/*
 * data        the signed octets, exactly as received
 * algorithm   as it stands beside the signature
 *
 * ERR_UNSUPPORTED  an algorithm nobody should use (SHA-1, MD5) or an unknown one
 * ERR_MALFORMED    its parameters make no sense
 * ERR_UNAUTHENTIC  it is of another kind than the key, or the signature is wrong
 */
MUST_USE int est_proof_check(struct bytes data, const X509_ALGOR *algorithm, struct bytes signature,
	EVP_PKEY *key, const struct key_facts *facts, struct err *e);

#endif
