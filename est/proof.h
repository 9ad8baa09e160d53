/*
 * proof.h - does a signature over octets prove possession of a key?
 *
 * Which algorithms count is decided here and nowhere else: ECDSA, RSA PKCS #1
 * v1.5 and RSASSA-PSS with SHA-256/384/512, and Ed25519; where the caller says
 * so, RSA PKCS #1 v1.5 with SHA-1, or with SHA-1 and MD5.
 */
#ifndef EST_PROOF_H
#define EST_PROOF_H

#include "base/rsa.h"

enum est_proof_rule { EST_PROOF_SHA2 = 0, EST_PROOF_SHA1, EST_PROOF_MD5 };

/* The key, as whichever of the two there is. rsa does not do RSASSA-PSS. */
struct est_proof_key {
	const struct rsa_public *rsa;
	EVP_PKEY *key;
	enum key_kind kind;
};

/*
 * data        the signed octets, exactly as received
 * algorithm   as it stands beside the signature
 *
 * rule        what counts beside SHA-2
 *
 * ERR_UNSUPPORTED  an algorithm the rule does not take, or an unknown one
 * ERR_MALFORMED    its parameters make no sense
 * ERR_UNAUTHENTIC  it is of another kind than the key, or the signature is wrong
 */
MUST_USE int est_proof_check(struct bytes data, const X509_ALGOR *algorithm, struct bytes signature,
	const struct est_proof_key *key, enum est_proof_rule rule, struct err *e);

#endif
