/*
 * The clock on the wall is set, by hand or by NTP: an hour may pass in a second. Who must not believe that a minute has passed when it has
 * not asks here: a clock that nobody sets has run as long, with the other beside it.
 */
#define _GNU_SOURCE
#include <time.h>

#include "gateway/core/issuer_internal.h"

#define PARTED_S 2 /* both are read as whole seconds, one after the other */

/* It goes on while the machine sleeps. */
static int64_t
steady_now(const struct issuer *issuer)
{
	struct timespec at;

	if (issuer->settings.steady_s != NULL)
		return issuer->settings.steady_s(issuer->settings.now_arg);
	(void)clock_gettime(CLOCK_BOOTTIME, &at);
	return at.tv_sec;
}

/* Under lock. What time it is, and since when the two have run together. */
static int64_t
see(struct issuer *issuer)
{
	int64_t now_s = steady_now(issuer), ahead_s = issuer_now(issuer) - now_s, parted_s = ahead_s - issuer->ahead_s;

	/* Backwards, too: what was written in between would look older than it is when the clock is set forward again. */
	if (parted_s > PARTED_S || parted_s < -PARTED_S || issuer->together_s == 0) {
		issuer->ahead_s = ahead_s;
		issuer->together_s = now_s;
	}
	return now_s;
}

void
issuer_see_clocks(struct issuer *issuer)
{
	if (issuer == NULL)
		return;
	(void)pthread_mutex_lock(&issuer->lock);
	(void)see(issuer);
	(void)pthread_mutex_unlock(&issuer->lock);
}

bool
issuer_clock_ran(struct issuer *issuer, int64_t for_s)
{
	bool ran;

	if (issuer == NULL)
		return false;
	(void)pthread_mutex_lock(&issuer->lock);
	ran = see(issuer) - issuer->together_s >= for_s - PARTED_S;
	(void)pthread_mutex_unlock(&issuer->lock);
	return ran;
}
