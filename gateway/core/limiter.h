/*
 * limiter.h - how often a wrong secret may be tried, per key (an asset, an address).
 *
 * A fixed table: memory is bounded, and when it is full the entry nearest to
 * being forgiven makes room. Keys are hashed with a random seed, so that a peer
 * cannot aim for a collision.
 */
#ifndef GATEWAY_CORE_LIMITER_H
#define GATEWAY_CORE_LIMITER_H

#include "base/bytes.h"

struct limiter;

/* slots: how many keys at most. max_failures within window_s lock a key for lock_s. */
MUST_USE int limiter_new(size_t slots, int max_failures, int64_t window_s, int64_t lock_s, struct limiter **out,
	struct err *e);
void limiter_free(struct limiter *limiter);

/* Seconds until the key may try again; 0: now. */
int64_t limiter_check(struct limiter *limiter, struct bytes key, int64_t now_s);
/* A failure; returns like limiter_check(). */
int64_t limiter_failed(struct limiter *limiter, struct bytes key, int64_t now_s);
/* A success: the key is forgiven. */
void limiter_passed(struct limiter *limiter, struct bytes key);

/*
 * What an address is counted by: an IPv4 address whole, of an IPv6 address the
 * network of 64 bits, in which a peer may choose freely (RFC 4291, section 2.5.4). peer is its
 * text; anything else counts by its first octets. Returns how many of out are used.
 */
#define LIMITER_ADDRESS_MAX 16
size_t limiter_address(const char *peer, uint8_t out[LIMITER_ADDRESS_MAX]);

#endif
