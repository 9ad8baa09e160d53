#define _GNU_SOURCE
#include "gateway/core/limiter.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/ossl.h"

#define SLOTS_MAX    ((size_t)1 << 22)
#define FAILURES_MAX 1000
#define TIMES_MAX    ((size_t)1 << 24) /* slots * failures: 128 MiB of times */
#define SEED_OCTETS  32
#define NONE         0 /* slots count from 1, so that zeroed memory is an empty table */

/* Which list a slot is on. Slots of one state are forgiven in the order they came to it. */
enum slot_state { SLOT_FREE, SLOT_COUNTING, SLOT_LOCKED, SLOT_STATES };

struct slot {
	uint8_t digest[16]; /* of seed and key: the key itself is not kept */
	enum slot_state state;
	uint32_t before, after; /* neighbours in the list of its state */
	uint32_t next;          /* in the chain of its bucket */
	int failures;           /* times kept, oldest first */
	int64_t locked_s;       /* when the lock began */
};

struct list {
	uint32_t first, last;
};

struct limiter {
	pthread_mutex_t lock;
	uint8_t seed[SEED_OCTETS];
	size_t slot_count, bucket_count;
	uint32_t touched; /* slots up to this one were used before; the rest costs no memory yet */
	int max_failures;
	int64_t window_s, lock_s;
	struct slot *slots;
	uint32_t *buckets;
	int64_t *times; /* max_failures for each slot */
	struct list lists[SLOT_STATES];
};

static void
list_remove(struct limiter *l, uint32_t at)
{
	struct slot *s = &l->slots[at];
	struct list *list = &l->lists[s->state];

	if (s->before == NONE)
		list->first = s->after;
	else
		l->slots[s->before].after = s->after;
	if (s->after == NONE)
		list->last = s->before;
	else
		l->slots[s->after].before = s->before;
}

static void
list_append(struct limiter *l, uint32_t at, enum slot_state state)
{
	struct slot *s = &l->slots[at];
	struct list *list = &l->lists[state];

	s->state = state;
	s->before = list->last;
	s->after = NONE;
	if (list->last == NONE)
		list->first = at;
	else
		l->slots[list->last].after = at;
	list->last = at;
}

/* To the end of a state's list. */
static void
slot_move(struct limiter *l, uint32_t at, enum slot_state state)
{
	list_remove(l, at);
	list_append(l, at, state);
}

static int64_t *
slot_times(const struct limiter *l, uint32_t at)
{
	return l->times + (size_t)at * (size_t)l->max_failures;
}

static uint32_t *
bucket_of(const struct limiter *l, const uint8_t digest[16])
{
	uint64_t hash;

	memcpy(&hash, digest, sizeof hash);
	return &l->buckets[hash % l->bucket_count];
}

/* Forget a key; its slot is free again. */
static void
slot_drop(struct limiter *l, uint32_t at)
{
	uint32_t *link = bucket_of(l, l->slots[at].digest);

	while (*link != at)
		link = &l->slots[*link].next;
	*link = l->slots[at].next;
	slot_move(l, at, SLOT_FREE);
}

static int64_t
forgiven_at(const struct limiter *l, uint32_t at)
{
	const struct slot *s = &l->slots[at];

	if (s->state == SLOT_LOCKED)
		return s->locked_s + l->lock_s;
	return slot_times(l, at)[s->failures - 1] + l->window_s;
}

static uint32_t
slot_find(const struct limiter *l, const uint8_t digest[16])
{
	uint32_t at = *bucket_of(l, digest);

	while (at != NONE && memcmp(l->slots[at].digest, digest, 16) != 0)
		at = l->slots[at].next;
	return at;
}

/* A free slot, or that of the key nearest to being forgiven: one of two list heads. */
static uint32_t
slot_free_up(struct limiter *l)
{
	uint32_t counting = l->lists[SLOT_COUNTING].first, locked = l->lists[SLOT_LOCKED].first, at;

	if (l->lists[SLOT_FREE].first == NONE && l->touched < l->slot_count)
		list_append(l, ++l->touched, SLOT_FREE);
	if (l->lists[SLOT_FREE].first == NONE) {
		at = counting == NONE || (locked != NONE && forgiven_at(l, locked) < forgiven_at(l, counting)) ?
			locked : counting;
		slot_drop(l, at);
	}
	return l->lists[SLOT_FREE].first;
}

static uint32_t
slot_take(struct limiter *l, const uint8_t digest[16])
{
	uint32_t at = slot_free_up(l), *bucket = bucket_of(l, digest);

	memcpy(l->slots[at].digest, digest, 16);
	l->slots[at].failures = 0;
	l->slots[at].next = *bucket;
	*bucket = at;
	slot_move(l, at, SLOT_COUNTING);
	return at;
}

/* Seconds still locked. When the clock was set back, the lock began now: it never lasts longer than lock_s. */
static int64_t
locked_for(const struct limiter *l, uint32_t at, int64_t now_s)
{
	struct slot *s = &l->slots[at];
	int64_t left;

	if (s->state != SLOT_LOCKED)
		return 0;
	if (s->locked_s > now_s)
		s->locked_s = now_s;
	left = s->locked_s + l->lock_s - now_s;
	return left > 0 ? left : 0;
}

/* Failures that left the window are forgotten; none lies in the future. */
static void
slot_age(const struct limiter *l, uint32_t at, int64_t now_s)
{
	int64_t *times = slot_times(l, at);
	struct slot *s = &l->slots[at];
	int old = 0, i;

	for (i = 0; i < s->failures; i++)
		if (times[i] > now_s)
			times[i] = now_s;
	while (old < s->failures && times[old] <= now_s - l->window_s)
		old++;
	memmove(times, times + old, (size_t)(s->failures - old) * sizeof *times);
	s->failures -= old;
}

static int64_t
slot_fail(struct limiter *l, uint32_t at, int64_t now_s)
{
	struct slot *s = &l->slots[at];
	int64_t left = locked_for(l, at, now_s);

	/* Knocking does not prolong a lock: else one attempt per lock_s would keep a device out for ever. */
	if (left > 0)
		return left;
	if (s->state == SLOT_LOCKED)
		s->failures = 0;
	slot_age(l, at, now_s);
	slot_times(l, at)[s->failures++] = now_s;
	if (s->failures < l->max_failures) {
		slot_move(l, at, SLOT_COUNTING);
		return 0;
	}
	s->locked_s = now_s;
	slot_move(l, at, SLOT_LOCKED);
	return l->lock_s;
}

/* The seed makes the place of a key in the table a secret. */
static bool
digest_of(const struct limiter *l, struct bytes key, uint8_t out[16])
{
	CLEANUP(EVP_MD_CTX) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t whole[32];

	if (ctx == NULL || EVP_DigestInit_ex(ctx, ossl_sha256(), NULL) != 1 ||
	    EVP_DigestUpdate(ctx, l->seed, sizeof l->seed) != 1 || EVP_DigestUpdate(ctx, key.at, key.len) != 1 ||
	    EVP_DigestFinal_ex(ctx, whole, NULL) != 1)
		return false;
	memcpy(out, whole, 16);
	return true;
}

int64_t
limiter_check(struct limiter *limiter, struct bytes key, int64_t now_s)
{
	uint8_t digest[16];
	int64_t left = 0;
	uint32_t at;

	/* No digest for want of memory: nobody can be recognised, so everybody waits. */
	if (!digest_of(limiter, key, digest))
		return limiter->lock_s;
	(void)pthread_mutex_lock(&limiter->lock);
	at = slot_find(limiter, digest);
	if (at != NONE)
		left = locked_for(limiter, at, now_s);
	(void)pthread_mutex_unlock(&limiter->lock);
	return left;
}

int64_t
limiter_failed(struct limiter *limiter, struct bytes key, int64_t now_s)
{
	uint8_t digest[16];
	int64_t left;
	uint32_t at;

	if (!digest_of(limiter, key, digest))
		return limiter->lock_s;
	(void)pthread_mutex_lock(&limiter->lock);
	at = slot_find(limiter, digest);
	if (at == NONE)
		at = slot_take(limiter, digest);
	left = slot_fail(limiter, at, now_s);
	(void)pthread_mutex_unlock(&limiter->lock);
	return left;
}

void
limiter_passed(struct limiter *limiter, struct bytes key)
{
	uint8_t digest[16];
	uint32_t at;

	if (!digest_of(limiter, key, digest))
		return;
	(void)pthread_mutex_lock(&limiter->lock);
	at = slot_find(limiter, digest);
	if (at != NONE)
		slot_drop(limiter, at);
	(void)pthread_mutex_unlock(&limiter->lock);
}

int
limiter_new(size_t slots, int max_failures, int64_t window_s, int64_t lock_s, struct limiter **out, struct err *e)
{
	struct limiter *l;

	if (slots < 1 || slots > SLOTS_MAX || max_failures < 1 || max_failures > FAILURES_MAX ||
	    slots * (size_t)max_failures > TIMES_MAX || window_s < 1 || lock_s < 1)
		return err_set(e, ERR_LIMIT,
			"a limiter of %zu keys, %d failures in %lld s, then %lld s is out of range", slots,
			max_failures, (long long)window_s, (long long)lock_s);
	l = calloc(1, sizeof *l);
	if (l == NULL)
		return err_set(e, ERR_NOMEM, "limiter: no memory");
	(void)pthread_mutex_init(&l->lock, NULL);
	l->slot_count = slots;
	l->bucket_count = slots + slots / 2 + 1;
	l->max_failures = max_failures;
	l->window_s = window_s;
	l->lock_s = lock_s;
	l->slots = calloc(slots + 1, sizeof *l->slots);
	l->buckets = calloc(l->bucket_count, sizeof *l->buckets);
	l->times = calloc((slots + 1) * (size_t)max_failures, sizeof *l->times);
	if (l->slots == NULL || l->buckets == NULL || l->times == NULL) {
		limiter_free(l);
		return err_set(e, ERR_NOMEM, "limiter of %zu keys: no memory", slots);
	}
	if (random_octets(l->seed, sizeof l->seed, e) != 0) {
		limiter_free(l);
		return -1;
	}
	*out = l;
	return 0;
}

void
limiter_free(struct limiter *limiter)
{
	if (limiter == NULL)
		return;
	(void)pthread_mutex_destroy(&limiter->lock);
	free(limiter->slots);
	free(limiter->buckets);
	free(limiter->times);
	free(limiter);
}

size_t
limiter_address(const char *peer, uint8_t out[LIMITER_ADDRESS_MAX])
{
	struct in6_addr v6;
	size_t len;

	if (inet_pton(AF_INET, peer, out) == 1)
		return 4;
	if (inet_pton(AF_INET6, peer, &v6) == 1) {
		memcpy(out, v6.s6_addr, 8);
		return 8;
	}
	len = strnlen(peer, LIMITER_ADDRESS_MAX);
	memcpy(out, peer, len);
	return len;
}
