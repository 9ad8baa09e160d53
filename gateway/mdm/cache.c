#define _GNU_SOURCE
#include "gateway/mdm/cache.h"

#include <errno.h>
#include <time.h>

#include "base/timefmt.h"

/* A value is not used in its last minute: a request that carries it takes time, and clocks differ. */
#define MARGIN_S 60

int
mdm_cache_init(struct mdm_cache *cache, const char *name, mdm_cache_fill *fill, void *arg, struct err *e)
{
	pthread_condattr_t monotonic;
	bool made;

	*cache = (struct mdm_cache){ 0 };
	if (pthread_condattr_init(&monotonic) != 0)
		return err_set(e, ERR_NOMEM, "no memory for a cache");
	made = pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 &&
		pthread_cond_init(&cache->changed, &monotonic) == 0;
	(void)pthread_condattr_destroy(&monotonic);
	if (!made)
		return err_set(e, ERR_NOMEM, "no memory for a cache");
	(void)pthread_mutex_init(&cache->lock, NULL);
	cache->name = name;
	cache->arg = arg;
	cache->fill = fill; /* says that there is something to free */
	return 0;
}

void
mdm_cache_free(struct mdm_cache *cache)
{
	if (cache->fill == NULL)
		return;
	(void)pthread_cond_destroy(&cache->changed);
	(void)pthread_mutex_destroy(&cache->lock);
	buf_free_secret(&cache->value);
	cache->fill = NULL;
}

/* Called and returns with the lock held, which is free while the fetch runs. */
static void
fill(struct mdm_cache *cache, int64_t ends_us)
{
	struct buf value = { 0 };
	int64_t lifetime_s = 0;
	struct err error = { 0 };
	int result;

	cache->filling = true;
	(void)pthread_mutex_unlock(&cache->lock);
	result = cache->fill(cache->arg, ends_us, &value, &lifetime_s, &error);
	(void)pthread_mutex_lock(&cache->lock);
	buf_free_secret(&cache->value);
	if (result == 0)
		cache->value = value;
	else
		buf_free_secret(&value);
	cache->good_until_us = result == 0 && lifetime_s > MARGIN_S ?
		time_monotonic_us() + (lifetime_s - MARGIN_S) * 1000000 : 0;
	cache->result = result;
	cache->error = error;
	cache->rounds++;
	cache->filling = false;
	(void)pthread_cond_broadcast(&cache->changed);
}

/* false: ends_us has come first. */
static bool
wait_for_other(struct mdm_cache *cache, int64_t ends_us)
{
	struct timespec until = { .tv_sec = (time_t)(ends_us / 1000000), .tv_nsec = (long)(ends_us % 1000000) * 1000 };
	uint64_t round = cache->rounds;

	while (cache->rounds == round)
		if (pthread_cond_timedwait(&cache->changed, &cache->lock, &until) == ETIMEDOUT && cache->rounds == round)
			return false;
	return true;
}

int
mdm_cache_get(struct mdm_cache *cache, int64_t ends_us, struct buf *out, uint64_t *round, struct err *e)
{
	int rc = 0;

	(void)pthread_mutex_lock(&cache->lock);
	if (cache->good_until_us == 0 || time_monotonic_us() >= cache->good_until_us) {
		if (!cache->filling)
			fill(cache, ends_us);
		else if (!wait_for_other(cache, ends_us))
			rc = err_set(e, ERR_UPSTREAM, "%s: the deadline passed while another request fetched a token or an address",
				cache->name);
		if (rc == 0 && cache->result != 0) {
			*e = cache->error;
			rc = -1;
		}
	}
	if (rc == 0) {
		buf_append_bytes(out, buf_bytes(&cache->value));
		*round = cache->rounds;
	}
	(void)pthread_mutex_unlock(&cache->lock);
	if (rc == 0 && buf_failed(out))
		return err_set(e, ERR_NOMEM, "no memory for a token");
	return rc;
}

void
mdm_cache_drop(struct mdm_cache *cache, uint64_t round)
{
	(void)pthread_mutex_lock(&cache->lock);
	if (cache->rounds == round)
		cache->good_until_us = 0;
	(void)pthread_mutex_unlock(&cache->lock);
}
