/*
 * Who of a lane's threads sleeps, and who is woken. One keeps watch: it wakes when something comes due. The others wait to be called,
 * so that a request wakes one thread, and nobody has to be woken to keep watch while that one calls its CA.
 */
#define _GNU_SOURCE
#include "gateway/core/issuer_internal.h"

static void
sleep_until(struct lane *lane, pthread_cond_t *cond, int64_t at_s)
{
	int64_t in_s = at_s - issuer_now(lane->issuer);
	struct timespec until = issuer_monotonic(in_s < 1 ? 1000 : in_s > IDLE_S ? IDLE_S * 1000 : in_s * 1000);

	(void)pthread_cond_timedwait(cond, &lane->issuer->lock, &until);
}

void
lane_wait_until(struct lane *lane, int64_t at_s)
{
	if (!lane->watched) {
		lane->watched = true;
		lane->watch_s = at_s;
		sleep_until(lane, &lane->watch, at_s);
		lane->watched = false;
		return;
	}
	lane->idle++;
	sleep_until(lane, &lane->work, at_s < lane->watch_s ? at_s : INT64_MAX);
	lane->idle--;
	/* Whoever is awake looks at what there is, so it does not matter whose call this one takes for its own. */
	if (lane->called > 0)
		lane->called--;
}

void
lane_rouse(struct lane *lane)
{
	if (lane->called < lane->idle) {
		lane->called++;
		(void)pthread_cond_signal(&lane->work);
	} else
		(void)pthread_cond_signal(&lane->watch);
}

void
lane_rouse_all(struct lane *lane)
{
	lane->called = lane->idle;
	(void)pthread_cond_broadcast(&lane->work);
	(void)pthread_cond_signal(&lane->watch);
}

void
lane_keep_watch(struct lane *lane)
{
	if (lane->watched && lane->watch_s > lane->due_s)
		(void)pthread_cond_signal(&lane->watch);
	else if (!lane->watched && lane->called < lane->idle)
		lane_rouse(lane);
}
