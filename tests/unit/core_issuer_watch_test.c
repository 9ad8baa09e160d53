/* Who of a lane's threads is woken: as many as there is something to do, and the one that keeps watch last. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "gateway/core/issuer_internal.h"

#define THREADS 4
#define NOW_S   INT64_C(1800000000)

struct sleepers {
	struct gateway gateway;
	struct issuer issuer;
	struct lane lane;
	pthread_cond_t changed;
	pthread_t threads[THREADS];
	int awake; /* threads that have slept and are done; under the issuer's lock */
};

static int64_t
still(void *arg)
{
	(void)arg;
	return NOW_S;
}

static void *
sleep_once(void *arg)
{
	struct sleepers *s = arg;

	(void)pthread_mutex_lock(&s->issuer.lock);
	lane_wait_until(&s->lane, s->lane.due_s);
	s->awake++;
	(void)pthread_cond_broadcast(&s->changed);
	(void)pthread_mutex_unlock(&s->issuer.lock);
	return NULL;
}

/* All are asleep, one of them on watch, and the lock is held. */
static void
begin(struct sleepers *s)
{
	size_t i;
	int asleep = 0;

	memset(s, 0, sizeof *s);
	(void)pthread_mutex_init(&s->issuer.lock, NULL);
	(void)pthread_cond_init(&s->changed, NULL);
	s->gateway.store_ops = &store_sqlite;
	s->issuer.settings.gateway = &s->gateway;
	s->issuer.settings.now_s = still;
	s->lane.issuer = &s->issuer;
	s->lane.due_s = NOW_S + IDLE_S;
	issuer_cond_init(&s->lane.work);
	issuer_cond_init(&s->lane.watch);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&s->threads[i], NULL, sleep_once, s), 0);
	for (;;) {
		(void)pthread_mutex_lock(&s->issuer.lock);
		asleep = s->lane.idle + s->lane.watched;
		if (asleep == THREADS)
			return;
		(void)pthread_mutex_unlock(&s->issuer.lock);
	}
}

static void
await_awake(struct sleepers *s, int count)
{
	while (s->awake < count)
		(void)pthread_cond_wait(&s->changed, &s->issuer.lock);
}

static void
end(struct sleepers *s)
{
	size_t i;

	lane_rouse_all(&s->lane);
	(void)pthread_mutex_unlock(&s->issuer.lock);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(s->threads[i], NULL), 0);
	assert_int_equal(s->awake, THREADS);
	assert_int_equal(s->lane.idle, 0);
	assert_int_equal(s->lane.called, 0);
	assert_false(s->lane.watched);
	(void)pthread_cond_destroy(&s->lane.work);
	(void)pthread_cond_destroy(&s->lane.watch);
	(void)pthread_cond_destroy(&s->changed);
	(void)pthread_mutex_destroy(&s->issuer.lock);
}

static void
watch_is_kept_while_others_are_called(void **state)
{
	struct sleepers s;
	int i;

	(void)state;
	begin(&s);
	for (i = 1; i < THREADS; i++) {
		lane_rouse(&s.lane);
		await_awake(&s, i);
		assert_true(s.lane.watched);
		assert_int_equal(s.lane.idle, THREADS - 1 - i);
		assert_int_equal(s.lane.called, 0);
		lane_keep_watch(&s.lane); /* there is one: nobody is woken for it */
	}
	lane_rouse(&s.lane);
	await_awake(&s, THREADS);
	assert_false(s.lane.watched);
	end(&s);
}

/* Nobody has got the lock between: each call is for another thread. */
static void
calls_that_come_at_once_wake_as_many(void **state)
{
	struct sleepers s;

	(void)state;
	begin(&s);
	lane_rouse(&s.lane);
	lane_rouse(&s.lane);
	assert_int_equal(s.lane.called, 2);
	await_awake(&s, 2);
	assert_true(s.lane.watched);
	assert_int_equal(s.lane.idle, THREADS - 1 - 2);
	lane_rouse(&s.lane);
	lane_rouse(&s.lane); /* more than wait to be called */
	await_awake(&s, THREADS);
	end(&s);
}

static void
watch_that_would_wake_too_late_is_woken(void **state)
{
	struct sleepers s;

	(void)state;
	begin(&s);
	s.lane.due_s = NOW_S + 1;
	lane_keep_watch(&s.lane);
	await_awake(&s, 1);
	assert_false(s.lane.watched);
	assert_int_equal(s.lane.idle, THREADS - 1);
	end(&s);
}

/* Who kept watch has something to do: one of the others is called to take over. */
static void
watch_is_taken_over(void **state)
{
	struct sleepers s;

	(void)state;
	begin(&s);
	(void)pthread_cond_signal(&s.lane.watch);
	await_awake(&s, 1);
	assert_false(s.lane.watched);
	lane_keep_watch(&s.lane);
	lane_keep_watch(&s.lane);
	assert_true(s.lane.called >= 1);
	await_awake(&s, 2);
	end(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(watch_is_kept_while_others_are_called),
		cmocka_unit_test(calls_that_come_at_once_wake_as_many),
		cmocka_unit_test(watch_that_would_wake_too_late_is_woken),
		cmocka_unit_test(watch_is_taken_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
