#include "gateway/core/ca_guard.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/ossl.h"

#define MINUTE 60

struct ca_guard {
	pthread_mutex_t lock;
	int calls_max, calls;
	int64_t budget;
	int64_t credit, credit_s; /* in sixtieths of a certificate, so that a second's share is whole; as of when */
	enum guard_state state;
	int failures;             /* in a row */
	bool lost[GUARD_LATEST];  /* a ring: which of the latest calls brought no answer; false where there was none yet */
	int next, lost_count;     /* the oldest of them; how many are true */
	bool flaky;               /* it opened for the share: some answer, and what was asked before is no news */
	int64_t rounds;           /* how often it opened since it was closed */
	int64_t open_until_s;
};

const char *
guard_state_name(enum guard_state state)
{
	static const char *const names[] = { [GUARD_CLOSED] = "closed", [GUARD_HALF_OPEN] = "half-open",
		[GUARD_OPEN] = "open" };

	return names[state];
}

int64_t
backoff_s(int64_t base_s, int64_t tries, int64_t max_s)
{
	int64_t whole_s = base_s;
	uint32_t random = 0;
	struct err e;

	for (; tries > 1 && whole_s < max_s; tries--)
		whole_s *= 2;
	if (whole_s > max_s)
		whole_s = max_s;
	/* Without a random number it is the whole. */
	if (random_octets((uint8_t *)&random, sizeof random, &e) != 0)
		return whole_s;
	whole_s -= (int64_t)(random % (uint32_t)(whole_s / 2 + 1));
	return whole_s < 1 ? 1 : whole_s;
}

int
ca_guard_new(struct ca_guard **out, struct err *e)
{
	struct ca_guard *guard = calloc(1, sizeof *guard);

	if (guard == NULL)
		return err_set(e, ERR_NOMEM, "no memory for a CA's breaker");
	(void)pthread_mutex_init(&guard->lock, NULL);
	guard->calls_max = 1;
	*out = guard;
	return 0;
}

void
ca_guard_free(struct ca_guard *guard)
{
	if (guard == NULL)
		return;
	(void)pthread_mutex_destroy(&guard->lock);
	free(guard);
}

void
ca_guard_set(struct ca_guard *guard, int calls, int64_t budget)
{
	(void)pthread_mutex_lock(&guard->lock);
	guard->calls_max = calls;
	if (guard->budget != budget) {
		guard->budget = budget;
		guard->credit = MINUTE;
	}
	(void)pthread_mutex_unlock(&guard->lock);
}

/* A certificate's worth of credit, or when there will be. Under lock. */
static bool
has_credit(struct ca_guard *guard, int64_t now_s, int64_t *at_s)
{
	int64_t most = guard->budget * GUARD_BURST_S > MINUTE ? guard->budget * GUARD_BURST_S : MINUTE;

	if (guard->budget == 0)
		return true;
	/* A clock that went back gives nothing, and begins anew. */
	if (now_s > guard->credit_s && guard->credit_s != 0)
		guard->credit += (now_s - guard->credit_s > MINUTE ? MINUTE : now_s - guard->credit_s) * guard->budget;
	guard->credit_s = now_s;
	if (guard->credit > most)
		guard->credit = most;
	if (guard->credit >= MINUTE)
		return true;
	*at_s = now_s + (MINUTE - guard->credit + guard->budget - 1) / guard->budget;
	return false;
}

bool
ca_guard_enter(struct ca_guard *guard, bool issues, int64_t now_s, int64_t *at_s)
{
	bool may = false;

	(void)pthread_mutex_lock(&guard->lock);
	*at_s = now_s + 1;
	/* The one that probes says soon what the others may do; so does one that is under way. */
	if (guard->state == GUARD_OPEN && now_s < guard->open_until_s && guard->open_until_s - now_s <= GUARD_BACKOFF_MAX_S)
		*at_s = guard->open_until_s;
	else if (guard->state != GUARD_HALF_OPEN && guard->calls >= guard->calls_max)
		*at_s = 0;
	else if (guard->state != GUARD_HALF_OPEN && (!issues || has_credit(guard, now_s, at_s))) {
		may = true;
		guard->calls++;
		if (issues && guard->budget != 0)
			guard->credit -= MINUTE;
		if (guard->state == GUARD_OPEN)
			guard->state = GUARD_HALF_OPEN;
	}
	(void)pthread_mutex_unlock(&guard->lock);
	return may;
}

/* Under lock. */
static void
open_breaker(struct ca_guard *guard, int64_t now_s)
{
	guard->state = GUARD_OPEN;
	guard->flaky = guard->failures < GUARD_FAILURES;
	guard->rounds++;
	guard->open_until_s = now_s + backoff_s(GUARD_BACKOFF_S, guard->rounds, GUARD_BACKOFF_MAX_S);
}

/* Under lock. */
static bool
is_down(const struct ca_guard *guard)
{
	return guard->failures >= GUARD_FAILURES || guard->lost_count >= GUARD_LOST;
}

/* Under lock. Its oldest makes room. */
static void
note(struct ca_guard *guard, bool lost)
{
	guard->lost_count += (int)lost - (int)guard->lost[guard->next];
	guard->lost[guard->next] = lost;
	guard->next = (guard->next + 1) % GUARD_LATEST;
}

/* Under lock. true: it was not closed, and is now. The share begins anew: the calls before say nothing of a CA that is back. */
static bool
close_breaker(struct ca_guard *guard)
{
	if (guard->state == GUARD_CLOSED || (guard->state == GUARD_OPEN && guard->flaky))
		return false;
	guard->state = GUARD_CLOSED;
	memset(guard->lost, 0, sizeof guard->lost);
	guard->lost_count = 0;
	return true;
}

bool
ca_guard_leave(struct ca_guard *guard, enum guard_call call, int64_t now_s)
{
	bool back = false;

	(void)pthread_mutex_lock(&guard->lock);
	guard->calls--;
	switch (call) {
	case GUARD_ANSWERED:
		back = close_breaker(guard);
		note(guard, false);
		guard->failures = 0;
		if (guard->state == GUARD_CLOSED)
			guard->rounds = 0;
		break;
	case GUARD_REACHED:
		back = close_breaker(guard);
		guard->failures = back ? GUARD_FAILURES - 1 : guard->failures;
		break;
	case GUARD_FAILED:
		guard->failures++;
		note(guard, true);
		if (guard->state == GUARD_HALF_OPEN || (guard->state == GUARD_CLOSED && is_down(guard)))
			open_breaker(guard, now_s);
		break;
	case GUARD_GIVEN_BACK:
	case GUARD_NOT_MADE:
		if (call == GUARD_GIVEN_BACK && guard->budget != 0)
			guard->credit += MINUTE;
		if (guard->state == GUARD_HALF_OPEN) {
			guard->state = GUARD_OPEN;
			guard->open_until_s = now_s;
		}
		break;
	}
	(void)pthread_mutex_unlock(&guard->lock);
	return back;
}

enum guard_state
ca_guard_state(struct ca_guard *guard)
{
	enum guard_state state;

	(void)pthread_mutex_lock(&guard->lock);
	state = guard->state;
	(void)pthread_mutex_unlock(&guard->lock);
	return state;
}
