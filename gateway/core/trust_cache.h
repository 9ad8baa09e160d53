/*
 * trust_cache.h - chains that were verified lately, so that a device on a kept
 * connection, or one that polls, does not cost the signatures again.
 *
 * Only good verdicts are kept, and only for the time in which every certificate
 * of the chain is valid. The cache belongs to one struct trust_sets: a reload
 * begins with an empty one. Every function may be called from any thread.
 */
#ifndef GATEWAY_CORE_TRUST_CACHE_H
#define GATEWAY_CORE_TRUST_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct trust_cache;

struct trust_cached {
	size_t set;                       /* index of the set that vouched */
	int64_t not_before_s, not_after_s; /* when the whole chain is valid */
};

MUST_USE int trust_cache_new(struct trust_cache **out, struct err *e);
void trust_cache_free(struct trust_cache *cache); /* NULL is allowed */

/* key: a digest of the leaf and of the sets it was asked for. */
bool trust_cache_get(struct trust_cache *cache, const uint8_t key[32], int64_t now_s, struct trust_cached *out);
void trust_cache_put(struct trust_cache *cache, const uint8_t key[32], const struct trust_cached *value);

#endif
