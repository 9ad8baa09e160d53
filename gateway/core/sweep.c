#define _GNU_SOURCE
#include "gateway/core/sweep.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/timefmt.h"
#include "gateway/core/log.h"
#include "gateway/core/metrics.h"

#define SWEEP_STEPS_MAX 100000 /* calls in one sweep; the next one goes on where it stopped */

struct sweep {
	const struct gateway *gateway;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping; /* under lock */
};

static void
tell(const struct offboard_report *sum)
{
	char numbers[4][24];
	const struct log_field fields[] = { { "owners_left", numbers[0] }, { "assets", numbers[1] },
		{ "revoked", numbers[2] }, { "transfers_expired", numbers[3] } };

	if (sum->owners == 0 && sum->assets == 0 && sum->revoked == 0 && sum->transfers == 0)
		return;
	metric_add(METRIC_OFFBOARDED_OWNERS_TOTAL, sum->owners);
	metric_add(METRIC_OFFBOARDED_CERTIFICATES_TOTAL, sum->revoked);
	(void)snprintf(numbers[0], sizeof numbers[0], "%lld", (long long)sum->owners);
	(void)snprintf(numbers[1], sizeof numbers[1], "%lld", (long long)sum->assets);
	(void)snprintf(numbers[2], sizeof numbers[2], "%lld", (long long)sum->revoked);
	(void)snprintf(numbers[3], sizeof numbers[3], "%lld", (long long)sum->transfers);
	log_fields(LOG_LEVEL_INFO, "sweep", fields, 4);
}

int
sweep_once(const struct gateway *gateway, int64_t now_s, struct err *e)
{
	struct offboard_report sum = { 0 }, step = { 0 };
	bool more = true;
	int result = 0, i;

	for (i = 0; more && result == 0 && i < SWEEP_STEPS_MAX; i++) {
		more = false;
		result = gateway->store_ops->sweep(gateway->store, now_s, &step, &more, e);
		if (result != 0)
			break;
		sum.owners += step.owners;
		sum.assets += step.assets;
		sum.revoked += step.revoked;
		sum.transfers += step.transfers;
	}
	tell(&sum);
	return result;
}

static void
sweep_logged(const struct sweep *sweep)
{
	struct err e;

	if (sweep_once(sweep->gateway, time_now_s(), &e) == 0)
		return;
	metric_add(METRIC_SWEEPS_FAILED_TOTAL, 1);
	log_rare(LOG_LEVEL_ERROR, "sweep", "%s", e.text);
}

/* False: it is time to stop. */
static bool
wait_a_while(struct sweep *sweep)
{
	struct timespec until;
	bool stopping;
	int rc = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += SWEEP_EVERY_S;
	(void)pthread_mutex_lock(&sweep->lock);
	while (!sweep->stopping && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&sweep->wake, &sweep->lock, &until);
	stopping = sweep->stopping;
	(void)pthread_mutex_unlock(&sweep->lock);
	return !stopping;
}

static void *
sweep_thread(void *arg)
{
	struct sweep *sweep = arg;

	while (wait_a_while(sweep))
		sweep_logged(sweep);
	return NULL;
}

int
sweep_start(struct gateway *gateway, struct sweep **out, struct err *e)
{
	struct sweep *sweep = calloc(1, sizeof *sweep);
	pthread_condattr_t attr;
	int rc;

	if (sweep == NULL)
		return err_set(e, ERR_NOMEM, "no memory to sweep");
	sweep->gateway = gateway;
	(void)pthread_mutex_init(&sweep->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&sweep->wake, &attr);
	(void)pthread_condattr_destroy(&attr);
	sweep_logged(sweep);
	rc = pthread_create(&sweep->thread, NULL, sweep_thread, sweep);
	if (rc != 0) {
		free(sweep);
		return err_set(e, ERR_NOMEM, "no thread to sweep: %s", strerror(rc));
	}
	*out = sweep;
	return 0;
}

void
sweep_stop(struct sweep *sweep)
{
	if (sweep == NULL)
		return;
	(void)pthread_mutex_lock(&sweep->lock);
	sweep->stopping = true;
	(void)pthread_cond_signal(&sweep->wake);
	(void)pthread_mutex_unlock(&sweep->lock);
	(void)pthread_join(sweep->thread, NULL);
	(void)pthread_cond_destroy(&sweep->wake);
	(void)pthread_mutex_destroy(&sweep->lock);
	free(sweep);
}
