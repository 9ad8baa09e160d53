/*
 * cache.h - one value that is fetched when needed, kept while it is good, and fetched by one thread at a time.
 *
 * For access tokens and discovered endpoints: the others wait for the thread
 * that fetches and share its result, also when it is a failure, so that a
 * service in trouble gets one request and not one per device.
 */
#ifndef GATEWAY_MDM_CACHE_H
#define GATEWAY_MDM_CACHE_H

#include <pthread.h>

#include "base/bytes.h"

/* Fetch until ends_us (time_monotonic_us()): the value appended to out, and how long it may be used (0: only now). */
typedef int mdm_cache_fill(void *arg, int64_t ends_us, struct buf *out, int64_t *lifetime_s, struct err *e);

struct mdm_cache {
	const char *name;        /* starts an error text; borrowed */
	mdm_cache_fill *fill;
	void *arg;
	pthread_mutex_t lock;    /* guards what follows */
	pthread_cond_t changed;
	bool filling;
	uint64_t rounds;         /* fetches that ended; names the value, too */
	int result;              /* of the last one */
	struct err error;
	struct buf value;
	int64_t good_until_us;   /* 0: nothing is kept */
};

MUST_USE int mdm_cache_init(struct mdm_cache *cache, const char *name, mdm_cache_fill *fill, void *arg, struct err *e);
void mdm_cache_free(struct mdm_cache *cache); /* one that is all zeros is allowed */

/* The value, appended to out; *round is for mdm_cache_drop(). Errors of fill, or ERR_UPSTREAM at ends_us. */
MUST_USE int mdm_cache_get(struct mdm_cache *cache, int64_t ends_us, struct buf *out, uint64_t *round, struct err *e);

/* The value of this round did not work. A newer one stays. */
void mdm_cache_drop(struct mdm_cache *cache, uint64_t round);

#endif
