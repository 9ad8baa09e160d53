/*
 * The short way: when a CA has nothing to do, a request is recorded as sent at once, and a thread of the lane calls as soon as that is
 * committed. It saves a look into the store and a commit. Whatever is in the way, it is recorded as open, and waits its turn.
 */
#include <string.h>

#include "gateway/core/issuer_internal.h"

bool
lane_is_ahead(int64_t at_s, int64_t now_s, int64_t most_s)
{
	return now_s < at_s && at_s - now_s <= most_s;
}

/* Under lock. Nothing waits, nothing is due, nothing is wrong, and a thread is there. */
static bool
is_idle(const struct lane *lane, int64_t now_s)
{
	int i, busy = 0;

	for (i = 0; i < lane->thread_count; i++)
		busy += lane->busy[i] != 0;
	return lane->count == 0 && !lane->filling && !lane->look && !lane->hurry && !lane->moving && lane->move_s == 0 &&
		lane->kept_count == 0 && lane_is_ahead(lane->due_s, now_s, IDLE_S) && !lane_is_ahead(lane->closed_s, now_s, GUARD_BACKOFF_MAX_S) &&
		busy + lane->claims + lane->handed_count < lane->thread_count;
}

struct lane *
issuer_claim(struct issuer *issuer, const char *ca)
{
	int64_t now_s = issuer_now(issuer), at_s;
	struct lane *lane;
	bool mine;

	(void)pthread_mutex_lock(&issuer->lock);
	lane = issuer_lane(issuer, ca);
	mine = lane != NULL && !issuer->stopping && is_idle(lane, now_s) && ca_guard_state(lane->guard) == GUARD_CLOSED &&
		ca_guard_enter(lane->guard, true, now_s, &at_s);
	if (mine)
		lane->claims++;
	(void)pthread_mutex_unlock(&issuer->lock);
	return mine ? lane : NULL;
}

void
issuer_hand(struct lane *lane, int64_t intent_id)
{
	struct issuer *issuer = lane->issuer;

	(void)pthread_mutex_lock(&issuer->lock);
	lane->claims--;
	if (intent_id != 0)
		lane->handed[lane->handed_count++] = intent_id;
	else
		(void)ca_guard_leave(lane->guard, GUARD_GIVEN_BACK, issuer_now(issuer));
	lane_rouse(lane);
	(void)pthread_mutex_unlock(&issuer->lock);
}

void
lane_take_handed(struct lane *lane, int number, struct lane_job *out)
{
	*out = (struct lane_job){ .intent_id = lane->handed[0], .claimed = true };
	lane->handed_count--;
	memmove(lane->handed, lane->handed + 1, (size_t)lane->handed_count * sizeof lane->handed[0]);
	lane->busy[number] = out->intent_id;
}
