/*
 * nonce.h - freshness for evidence: numbers we can tell again without having stored them.
 *
 * A nonce is time, random octets and a MAC over both and the label, so giving
 * one costs nothing that a flood could fill, and one survives a restart. That it is good once is the
 * store's business: it takes a nonce together with the request that carried it.
 */
#ifndef GATEWAY_CORE_NONCE_H
#define GATEWAY_CORE_NONCE_H

#include "base/bytes.h"

#define NONCE_LEN 32 /* within the 8-64 octets that evidence formats hold: a TPM without SHA-384 takes 34 */

struct nonces;
/* secret: at least 32 octets that stay the same as long as nonces shall hold. */
MUST_USE int nonces_new(struct bytes secret, struct nonces **out, struct err *e);
void nonces_free(struct nonces *nonces); /* NULL is allowed */

MUST_USE int nonce_make(const struct nonces *nonces, const char *label, int64_t now_s, uint8_t out[NONCE_LEN],
	struct err *e);
/*
 * Is it one of ours, for this label, not older than life_s and not from the future? *expires_s says until when.
 * ERR_DENIED says which; an empty one is none of ours.
 */
MUST_USE int nonce_check(const struct nonces *nonces, const char *label, struct bytes nonce, int64_t now_s,
	int64_t life_s, int64_t *expires_s, struct err *e);

#endif
