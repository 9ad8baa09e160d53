/*
 * trust.h - is this client certificate good, and for which trust set?
 *
 * OpenSSL's handshake only asks for a certificate; the judgement is here, per
 * label, against the label's own anchor sets.
 */
#ifndef GATEWAY_CORE_TRUST_H
#define GATEWAY_CORE_TRUST_H

#include "gateway/core/config.h"

struct trust_sets; /* all sets of a configuration, loaded */

MUST_USE int trust_load(const struct config *config, struct trust_sets **out, struct err *e);
void trust_free(struct trust_sets *sets);

struct trust_verdict {
	char set[REG_TEXT_MAX]; /* the set whose anchor the chain reaches */
	bool expired;           /* the leaf is past notAfter; everything else is good */
	bool accept_expired;    /* ... and this set takes that */
};

/*
 * Verify leaf with the untrusted intermediates against the named sets, in
 * order, at now_s. The leaf must be an end-entity certificate (not a CA), v3 or
 * v1, whose EKU, when present, allows clientAuth or is one an IDevID may have.
 * Only the leaf may be expired, and that is reported, not decided. Not yet
 * valid is ERR_UNAUTHENTIC always. Where a set has CRLs the leaf's issuer must
 * have one that is not out of date, and the leaf must not be on it. chain may be
 * NULL.
 *
 * ERR_UNAUTHENTIC  no set vouches for it; the text says why the nearest one did not
 */
MUST_USE int trust_verify(const struct trust_sets *sets, const char (*names)[REG_TEXT_MAX], size_t name_count,
	X509 *leaf, const STACK_OF(X509) *chain, int64_t now_s, struct trust_verdict *out, struct err *e);

#endif
