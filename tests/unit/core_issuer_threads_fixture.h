/*
 * core_issuer_threads_fixture.h - the issuer with its threads, and devices in threads of their own. Every wait is for an event: a call that
 * has come in, a row that is there.
 */
#ifndef TESTS_UNIT_CORE_ISSUER_THREADS_FIXTURE_H
#define TESTS_UNIT_CORE_ISSUER_THREADS_FIXTURE_H

#include <sched.h>

#include "tests/unit/core_issuer_fixture.h"

/* Until the condition holds; the CA's and the issuer's events wake it. */
static inline void
await_calls(const size_t *count, size_t at_least)
{
	fake_lock();
	while (*count < at_least)
		(void)pthread_cond_wait(&fake.changed, &fake.lock);
	fake_unlock();
}

static inline void
hold(bool held)
{
	fake_lock();
	fake.held = held;
	fake_unlock();
}

/* The clock stands still until then: it would open as of a later time, and stay open. */
static inline void
await_open_breaker(struct rig *r)
{
	enum guard_state guard = GUARD_CLOSED;

	while (guard != GUARD_OPEN) {
		assert_true(issuer_guard_state(r->gateway.issuer, "issuing", &guard));
		(void)sched_yield();
	}
}

/* The intent is over: a ticket tells it. */
static inline void
await_end(struct rig *r, const char *sql, int64_t wanted)
{
	while (rig_number(r, sql) != wanted)
		(void)sched_yield();
}

/* What came of the calls so far is recorded: the breaker knows of it before. */
static inline void
await_recorded(struct rig *r)
{
	struct issuer *issuer = r->gateway.issuer;
	const struct lane *lane = issuer->lanes[0];
	bool busy = true;
	int i;

	while (busy) {
		(void)pthread_mutex_lock(&issuer->lock);
		for (busy = false, i = 0; i < lane->thread_count; i++)
			busy = busy || lane->busy[i] != 0;
		(void)pthread_mutex_unlock(&issuer->lock);
		(void)sched_yield();
	}
}

/* So many requests wait on their tickets. */
static inline void
await_waiting(struct rig *r, int count)
{
	struct issuer *issuer = r->gateway.issuer;
	int waiting = 0;

	while (waiting < count) {
		(void)pthread_mutex_lock(&issuer->lock);
		waiting = issuer->waiting;
		(void)pthread_mutex_unlock(&issuer->lock);
		(void)sched_yield();
	}
}

/* One device with one request, in a thread of its own. */
struct device {
	struct rig *rig;
	struct enroll_request request;
	struct enroll_result result;
	pthread_t thread;
};

static inline void *
device_thread(void *arg)
{
	struct device *device = arg;

	enroll_run(&device->rig->gateway, device->rig->world, &device->request, &device->result);
	return NULL;
}

static inline void
device_start(struct device *device, struct rig *r)
{
	device->rig = r;
	device->request = r->request;
	device->request.now_s = fake.now_s;
	assert_int_equal(pthread_create(&device->thread, NULL, device_thread, device), 0);
}

static inline enum err_code
device_end(struct device *device)
{
	assert_int_equal(pthread_join(device->thread, NULL), 0);
	return device->result.code;
}

#endif
