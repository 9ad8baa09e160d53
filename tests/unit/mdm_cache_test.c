/* The cache of tokens: one fetch at a time, shared, and no waiting past a deadline. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/timefmt.h"
#include "gateway/mdm/cache.h"

#define LONG_US INT64_C(20000000)

struct source {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int begun, open;  /* fetches begun, and allowed to end */
	int64_t lifetime_s;
	bool fails;
};

static int
fetch(void *arg, int64_t ends_us, struct buf *out, int64_t *lifetime_s, struct err *e)
{
	struct source *source = arg;
	bool fails;

	(void)ends_us;
	(void)pthread_mutex_lock(&source->lock);
	buf_printf(out, "value-%d", ++source->begun);
	(void)pthread_cond_broadcast(&source->changed);
	while (source->open < source->begun)
		(void)pthread_cond_wait(&source->changed, &source->lock);
	*lifetime_s = source->lifetime_s;
	fails = source->fails;
	(void)pthread_mutex_unlock(&source->lock);
	return fails ? err_set(e, ERR_UPSTREAM, "no value") : 0;
}

static void
source_open(struct source *source, int count)
{
	(void)pthread_mutex_lock(&source->lock);
	source->open = count;
	(void)pthread_cond_broadcast(&source->changed);
	(void)pthread_mutex_unlock(&source->lock);
}

static void
source_await(struct source *source, int begun)
{
	(void)pthread_mutex_lock(&source->lock);
	while (source->begun < begun)
		(void)pthread_cond_wait(&source->changed, &source->lock);
	(void)pthread_mutex_unlock(&source->lock);
}

struct getter {
	struct mdm_cache *cache;
	pthread_t thread;
	int rc;
	struct buf value;
	uint64_t round;
	struct err e;
};

static void *
getter_run(void *arg)
{
	struct getter *getter = arg;

	getter->rc = mdm_cache_get(getter->cache, time_monotonic_us() + LONG_US, &getter->value, &getter->round, &getter->e);
	return NULL;
}

static void
cache_gives(struct mdm_cache *cache, const char *expected, uint64_t *round)
{
	struct buf value = { 0 };
	struct err e;

	assert_int_equal(mdm_cache_get(cache, time_monotonic_us() + LONG_US, &value, round, &e), 0);
	assert_string_equal(buf_text(&value), expected);
	buf_free(&value);
}

static void
cache_keeps_a_value_until_it_is_dropped(void **state)
{
	struct source source = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 100, 3600, false };
	struct mdm_cache cache;
	uint64_t first, second;
	struct err e;

	(void)state;
	assert_int_equal(mdm_cache_init(&cache, "test", fetch, &source, &e), 0);
	cache_gives(&cache, "value-1", &first);
	cache_gives(&cache, "value-1", &second);
	assert_int_equal(first, second);
	mdm_cache_drop(&cache, first);
	cache_gives(&cache, "value-2", &second);
	mdm_cache_drop(&cache, first); /* an old one: somebody was slow */
	cache_gives(&cache, "value-2", &second);
	mdm_cache_free(&cache);
}

static void
cache_uses_a_short_lived_value_once(void **state)
{
	struct source source = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 100, 60, false };
	struct mdm_cache cache;
	uint64_t round;
	struct err e;

	(void)state;
	assert_int_equal(mdm_cache_init(&cache, "test", fetch, &source, &e), 0);
	cache_gives(&cache, "value-1", &round);
	cache_gives(&cache, "value-2", &round);
	mdm_cache_free(&cache);
}

static void
cache_does_not_wait_past_the_deadline_for_another_thread(void **state)
{
	struct source source = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 3600, false };
	struct mdm_cache cache;
	struct getter getter = { .cache = &cache };
	struct buf value = { 0 };
	uint64_t round;
	struct err e;

	(void)state;
	assert_int_equal(mdm_cache_init(&cache, "test", fetch, &source, &e), 0);
	assert_int_equal(pthread_create(&getter.thread, NULL, getter_run, &getter), 0);
	source_await(&source, 1);
	assert_int_equal(mdm_cache_get(&cache, time_monotonic_us() + 20000, &value, &round, &e), -1);
	assert_int_equal(e.code, ERR_UPSTREAM);
	assert_int_equal(value.len, 0);
	source_open(&source, 1);
	assert_int_equal(pthread_join(getter.thread, NULL), 0);
	assert_int_equal(getter.rc, 0);
	assert_string_equal(buf_text(&getter.value), "value-1");
	buf_free(&getter.value);
	mdm_cache_free(&cache);
}

static void
cache_asks_again_after_a_failure(void **state)
{
	struct source source = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 100, 3600, true };
	struct mdm_cache cache;
	struct buf value = { 0 };
	uint64_t round;
	struct err e;

	(void)state;
	assert_int_equal(mdm_cache_init(&cache, "test", fetch, &source, &e), 0);
	assert_int_equal(mdm_cache_get(&cache, time_monotonic_us() + LONG_US, &value, &round, &e), -1);
	assert_string_equal(e.text, "no value");
	assert_int_equal(value.len, 0);
	source.fails = false;
	cache_gives(&cache, "value-2", &round);
	mdm_cache_free(&cache);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cache_keeps_a_value_until_it_is_dropped),
		cmocka_unit_test(cache_uses_a_short_lived_value_once),
		cmocka_unit_test(cache_does_not_wait_past_the_deadline_for_another_thread),
		cmocka_unit_test(cache_asks_again_after_a_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
