/*
 * The threads that ask CAs: a lane for each CA, so that a slow one holds up nobody else. What a thread does is in issuer_lane.c.
 */
#define _GNU_SOURCE
#include "gateway/core/issuer.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/timefmt.h"
#include "gateway/core/issuer_internal.h"
#include "gateway/core/log.h"

struct lane_thread {
	struct lane *lane;
	int number;
};

int64_t
issuer_now(const struct issuer *issuer)
{
	return issuer->settings.now_s == NULL ? time_now_s() : issuer->settings.now_s(issuer->settings.now_arg);
}

static void *
lane_thread(void *arg)
{
	struct lane_thread *self = arg;

	lane_run(self->lane, self->number);
	free(self);
	return NULL;
}

static int
add_thread(struct lane *lane, struct err *e)
{
	struct lane_thread *self = calloc(1, sizeof *self);
	int rc;

	if (self == NULL)
		return err_set(e, ERR_NOMEM, "no memory to ask CA %s", lane->ca);
	self->lane = lane;
	self->number = lane->thread_count;
	rc = pthread_create(&lane->threads[lane->thread_count], NULL, lane_thread, self);
	if (rc != 0) {
		free(self);
		return err_set(e, ERR_NOMEM, "no thread to ask CA %s: %s", lane->ca, strerror(rc));
	}
	(void)pthread_mutex_lock(&lane->issuer->lock);
	lane->thread_count++;
	(void)pthread_mutex_unlock(&lane->issuer->lock);
	return 0;
}

/* NULL *e. */
static struct lane *
add_lane(struct issuer *issuer, const struct config_ca *config, struct err *e)
{
	struct lane *lane = issuer->lane_count == LANES_MAX ? NULL : calloc(1, sizeof *lane);

	if (lane == NULL || ca_guard_new(&lane->guard, e) != 0) {
		free(lane);
		(void)err_set(e, ERR_LIMIT, "CA %s: no memory to ask it, or more than %d CAs elsewhere", config->name, LANES_MAX);
		return NULL;
	}
	lane->issuer = issuer;
	issuer_cond_init(&lane->work);
	issuer_cond_init(&lane->watch);
	lane->look = true;
	(void)snprintf(lane->ca, sizeof lane->ca, "%s", config->name);
	(void)pthread_mutex_lock(&issuer->lock);
	lane->number = issuer->lane_count;
	issuer->lanes[issuer->lane_count++] = lane;
	(void)pthread_mutex_unlock(&issuer->lock);
	return lane;
}

static int
refresh_lane(struct issuer *issuer, const struct config_ca *config, struct err *e)
{
	struct lane *lane = issuer_lane(issuer, config->name);
	int threads = 2 * config->calls > LANE_THREADS_MAX ? LANE_THREADS_MAX : 2 * config->calls;

	if (lane == NULL)
		lane = add_lane(issuer, config, e);
	if (lane == NULL)
		return -1;
	ca_guard_set(lane->guard, config->calls, config->budget);
	(void)pthread_mutex_lock(&issuer->lock);
	lane->stand_ins = config->failover_count != 0;
	(void)pthread_mutex_unlock(&issuer->lock);
	while (lane->thread_count < threads)
		if (add_thread(lane, e) != 0)
			return -1;
	return 0;
}

int
issuer_refresh(struct issuer *issuer, struct err *e)
{
	struct world *world = world_get();
	int result = 0;
	size_t i;

	for (i = 0; world != NULL && i < world->config->ca_count && result == 0; i++)
		if (world->cas[i].ops->remote)
			result = refresh_lane(issuer, &world->config->cas[i], e);
	if (result == 0 && world != NULL)
		result = issuer_rehome(issuer, world, e);
	world_put(world);
	issuer_wake(issuer, NULL);
	return result;
}

int
issuer_start(const struct issuer_settings *settings, struct issuer **out, struct err *e)
{
	struct issuer *issuer = calloc(1, sizeof *issuer);
	int64_t adopted = 0;

	*out = issuer;
	if (issuer == NULL)
		return err_set(e, ERR_NOMEM, "no memory to ask CAs");
	issuer->settings = *settings;
	(void)pthread_mutex_init(&issuer->lock, NULL);
	issuer_see_clocks(issuer);
	if (settings->gateway->store_ops->intents->adopt(settings->gateway->store, issuer_now(issuer), &adopted, e) != 0 ||
	    issuer_refresh(issuer, e) != 0) {
		issuer_stop(issuer);
		*out = NULL;
		return -1;
	}
	if (adopted != 0)
		log_text(LOG_LEVEL_WARN, "ca", "%lld requests were being sent when the gateway stopped: unknown",
			(long long)adopted);
	return 0;
}

/* What was issued and never recorded is in no other place: the log has it when the process ends. */
static void
drop_kept(struct lane *lane)
{
	struct issuer_kept *kept;

	while ((kept = lane->kept) != NULL) {
		lane->kept = kept->next;
		if (kept->answered && kept->rc == 0 && kept->answer.state == CA_ISSUED)
			log_text(LOG_LEVEL_ERROR, "ca", "%s: it issued %s for intent %lld, which could not be recorded: revoke it there",
				lane->ca, kept->answer.serial, (long long)kept->id);
		issuer_kept_free(kept);
	}
}

static void
lane_free(struct lane *lane)
{
	lane_drop_jobs(lane);
	drop_kept(lane);
	ca_guard_free(lane->guard);
	(void)pthread_cond_destroy(&lane->work);
	(void)pthread_cond_destroy(&lane->watch);
	free(lane);
}

void
issuer_wake_all(struct issuer *issuer)
{
	size_t i;

	for (i = 0; i < issuer->lane_count; i++)
		lane_rouse_all(issuer->lanes[i]);
}

void
issuer_stop(struct issuer *issuer)
{
	struct issuer_ticket *ticket;
	size_t i;
	int k;

	if (issuer == NULL)
		return;
	(void)pthread_mutex_lock(&issuer->lock);
	issuer->stopping = true;
	issuer_wake_all(issuer);
	for (ticket = issuer->tickets; ticket != NULL; ticket = ticket->next)
		(void)pthread_cond_signal(&ticket->news);
	(void)pthread_mutex_unlock(&issuer->lock);
	for (i = 0; i < issuer->lane_count; i++) {
		for (k = 0; k < issuer->lanes[i]->thread_count; k++)
			(void)pthread_join(issuer->lanes[i]->threads[k], NULL);
		lane_free(issuer->lanes[i]);
	}
	(void)pthread_mutex_destroy(&issuer->lock);
	free(issuer);
}

void
issuer_wake(struct issuer *issuer, const char *ca)
{
	size_t i;

	if (issuer == NULL)
		return;
	(void)pthread_mutex_lock(&issuer->lock);
	for (i = 0; i < issuer->lane_count; i++)
		if (ca == NULL || strcmp(issuer->lanes[i]->ca, ca) == 0) {
			issuer->lanes[i]->look = true;
			issuer->lanes[i]->move_s = 1;
			lane_rouse(issuer->lanes[i]);
		}
	if (ca == NULL) /* settings may be others */
		issuer_wake_all(issuer);
	(void)pthread_mutex_unlock(&issuer->lock);
}
