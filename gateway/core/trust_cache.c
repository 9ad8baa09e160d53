#include "gateway/core/trust_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* 64 octets each; a newer chain takes the place of an older one with the same index. */
#define TRUST_CACHE_SLOTS 4096

struct slot {
	uint8_t key[32];
	struct trust_cached value;
	bool used;
};

struct trust_cache {
	pthread_mutex_t lock;
	struct slot slots[TRUST_CACHE_SLOTS];
};

int
trust_cache_new(struct trust_cache **out, struct err *e)
{
	struct trust_cache *cache = calloc(1, sizeof *cache);

	if (cache == NULL)
		return err_set(e, ERR_NOMEM, "trust cache: no memory");
	(void)pthread_mutex_init(&cache->lock, NULL);
	*out = cache;
	return 0;
}

void
trust_cache_free(struct trust_cache *cache)
{
	if (cache == NULL)
		return;
	(void)pthread_mutex_destroy(&cache->lock);
	free(cache);
}

/* The key is a SHA-256: any of its octets is as good as another. */
static struct slot *
slot_of(struct trust_cache *cache, const uint8_t key[32])
{
	return &cache->slots[((unsigned)key[0] << 8 | key[1]) % TRUST_CACHE_SLOTS];
}

bool
trust_cache_get(struct trust_cache *cache, const uint8_t key[32], int64_t now_s, struct trust_cached *out)
{
	const struct slot *slot = slot_of(cache, key);
	bool found;

	(void)pthread_mutex_lock(&cache->lock);
	found = slot->used && memcmp(slot->key, key, sizeof slot->key) == 0 && now_s >= slot->value.not_before_s &&
		now_s <= slot->value.not_after_s;
	if (found)
		*out = slot->value;
	(void)pthread_mutex_unlock(&cache->lock);
	return found;
}

void
trust_cache_put(struct trust_cache *cache, const uint8_t key[32], const struct trust_cached *value)
{
	struct slot *slot = slot_of(cache, key);

	(void)pthread_mutex_lock(&cache->lock);
	memcpy(slot->key, key, sizeof slot->key);
	slot->value = *value;
	slot->used = true;
	(void)pthread_mutex_unlock(&cache->lock);
}
