/*
 * The threads that ask CAs: a lane for each CA, so that a slow one holds up nobody else. The store says what is due; what is kept
 * here is only who is at work on what.
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

#define LANE_REVOCATIONS  8
#define IDLE_S            30 /* the longest without a look: what the sweep revokes waits so long at most */
#define STORE_RETRY_S     5

struct lane_thread {
	struct lane *lane;
	int number;
};

static int64_t
now_of(const struct issuer *issuer)
{
	return issuer->settings.now_s == NULL ? time_now_s() : issuer->settings.now_s(issuer->settings.now_arg);
}

/* What is due, oldest first; read without the lock. */
struct filling {
	struct lane_job jobs[LANE_JOBS];
	size_t count, most;
	int64_t busy[LANE_THREADS_MAX];
	bool hurry;
	int64_t now_s, due_s;
};

static bool
is_busy(const struct filling *f, int64_t id)
{
	size_t i;

	for (i = 0; i < LANE_THREADS_MAX; i++)
		if (f->busy[i] == id)
			return true;
	return false;
}

static bool
take_revocation(void *arg, const struct revocation_row *row, struct bytes cert)
{
	struct filling *f = arg;
	struct lane_job *job = &f->jobs[f->count];

	if (is_busy(f, -row->id))
		return true;
	*job = (struct lane_job){ .revoke = true, .revocation = *row };
	buf_append_bytes(&job->cert, cert);
	f->count++;
	return f->count < LANE_REVOCATIONS;
}

static bool
take_intent(void *arg, const struct intent_row *row)
{
	struct filling *f = arg;

	if (is_busy(f, row->id) || (row->next_try_s > f->now_s && row->state != INTENT_OPEN))
		return true;
	f->jobs[f->count++] = (struct lane_job){ .intent_id = row->id, .issues = row->state == INTENT_OPEN };
	return f->count < LANE_JOBS;
}

static int
read_due(const struct gateway *gateway, const char *ca, struct filling *f, struct err *e)
{
	const struct intent_ops *intents = gateway->store_ops->intents;
	struct intent_filter filter = { .ca = ca, .active = true, .due_s = f->hurry ? 0 : f->now_s,
		.limit = LANE_JOBS + LANE_THREADS_MAX };
	struct store_read *read = NULL;
	int64_t at_s = 0;
	int result;

	if (gateway->store_ops->read_begin(gateway->store, &read, e) != 0)
		return -1;
	result = intents->revocations(read, ca, f->now_s, LANE_REVOCATIONS + LANE_THREADS_MAX, take_revocation, f, e);
	if (result == 0)
		result = intents->list(read, &filter, take_intent, f, e);
	/* When these are done it is time for the next look, which finds what else there is. */
	f->due_s = f->count != 0 ? f->now_s : f->now_s + IDLE_S;
	if (result == 0 && f->count == 0)
		result = intents->next(read, ca, &at_s, e);
	/* What is due and at work already hides what comes after it, until it is done: finished(). */
	if (result == 1 && at_s > f->now_s && at_s < f->due_s)
		f->due_s = at_s;
	gateway->store_ops->read_end(read);
	return result < 0 ? -1 : 0;
}

/* With the lock; without it while the store is read. */
static void
fill(struct lane *lane, struct filling *f)
{
	struct issuer *issuer = lane->issuer;
	struct err e = { 0 };
	int result;

	lane->filling = true;
	lane->look = false;
	f->count = 0;
	f->hurry = lane->hurry;
	f->now_s = now_of(issuer);
	lane->due_s = f->now_s + IDLE_S;
	memcpy(f->busy, lane->busy, sizeof f->busy);
	(void)pthread_mutex_unlock(&issuer->lock);
	result = read_due(issuer->settings.gateway, lane->ca, f, &e);
	if (result != 0)
		log_rare(LOG_LEVEL_ERROR, "ca", "%s: %s", lane->ca, e.text);
	(void)pthread_mutex_lock(&issuer->lock);
	memcpy(lane->jobs, f->jobs, f->count * sizeof f->jobs[0]);
	lane->first = 0;
	lane->count = f->count;
	lane->hurry = result == 0 ? false : lane->hurry;
	if (result != 0)
		f->due_s = f->now_s + STORE_RETRY_S;
	if (f->due_s < lane->due_s) /* a thread that finished meanwhile may know of something earlier */
		lane->due_s = f->due_s;
	lane->filling = false;
	(void)pthread_cond_broadcast(&issuer->work);
}

static void
wait_until(struct issuer *issuer, int64_t at_s)
{
	int64_t in_s = at_s - now_of(issuer);
	struct timespec until = issuer_monotonic(in_s < 1 ? 1000 : in_s > IDLE_S ? IDLE_S * 1000 : in_s * 1000);

	(void)pthread_cond_timedwait(&issuer->work, &issuer->lock, &until);
}

/* Under lock. */
static void
drop_jobs(struct lane *lane)
{
	for (; lane->count > 0; lane->count--)
		buf_free(&lane->jobs[lane->first++].cert);
}

/* What was taken from the store before an outage is not the oldest any more by its end. */
static void
refused(struct lane *lane, int64_t at_s)
{
	if (ca_guard_state(lane->guard) == GUARD_CLOSED) {
		wait_until(lane->issuer, at_s);
		return;
	}
	drop_jobs(lane);
	lane->look = true;
	lane->closed_s = at_s;
}

/* false: it is time to stop. */
static bool
next_job(struct lane *lane, int number, struct filling *f, struct lane_job *out)
{
	struct issuer *issuer = lane->issuer;
	bool found = false;
	int64_t at_s = 0;

	(void)pthread_mutex_lock(&issuer->lock);
	while (!issuer->stopping && !found) {
		int64_t now_s = now_of(issuer);

		if (now_s < lane->closed_s)
			wait_until(issuer, lane->closed_s);
		else if (lane->count == 0 && !lane->filling && (lane->look || now_s >= lane->due_s))
			fill(lane, f);
		else if (lane->count == 0)
			wait_until(issuer, lane->due_s);
		else if (!ca_guard_enter(lane->guard, lane->jobs[lane->first].issues, now_s, &at_s))
			refused(lane, at_s);
		else {
			*out = lane->jobs[lane->first++];
			lane->count--;
			lane->busy[number] = out->revoke ? -out->revocation.id : out->intent_id;
			found = true;
		}
	}
	(void)pthread_mutex_unlock(&issuer->lock);
	return found;
}

/* Under lock. */
static void
tell(struct issuer *issuer, const uint8_t csr_sha256[32])
{
	struct issuer_ticket *ticket;

	for (ticket = issuer->tickets; ticket != NULL; ticket = ticket->next)
		if (memcmp(ticket->csr_sha256, csr_sha256, 32) == 0)
			ticket->told = true;
	(void)pthread_cond_broadcast(&issuer->told);
}

static void
finished(struct lane *lane, int number, const struct issuer_job *job)
{
	struct issuer *issuer = lane->issuer;
	bool back = ca_guard_leave(lane->guard, job->call, now_of(issuer));

	(void)pthread_mutex_lock(&issuer->lock);
	lane->busy[number] = 0;
	lane->look = lane->look || lane->count == 0;
	if (job->counted)
		lane->calls[job->outcome]++;
	if (back) {
		drop_jobs(lane);
		lane->hurry = lane->look = true;
		lane->closed_s = 0;
		log_text(LOG_LEVEL_INFO, "ca", "%s answers again", lane->ca);
	}
	if (job->next_try_s != 0 && job->next_try_s < lane->due_s)
		lane->due_s = job->next_try_s;
	if (job->over)
		tell(issuer, job->csr_sha256);
	(void)pthread_cond_broadcast(&issuer->work);
	(void)pthread_mutex_unlock(&issuer->lock);
}

static void
carry_out(struct lane *lane, const struct config_ca *config, const struct world *world, struct lane_job *what,
	struct issuer_job *job)
{
	struct err e = { 0 };
	int result;

	ca_guard_set(lane->guard, config->calls, config->budget);
	job->world = world;
	job->ca = world_ca_of(world, lane->ca);
	job->revoke = what->revoke;
	job->intent_id = what->intent_id;
	job->revocation = what->revocation;
	job->cert = what->cert;
	result = what->revoke ? issuer_carry_out_revocation(job, &e) : issuer_carry_out(job, &e);
	if (result != 0)
		log_rare(LOG_LEVEL_ERROR, "ca", "%s: %s", lane->ca, e.text);
}

/* The CA as it is configured now: it may have gone since. */
static void
do_job(struct lane *lane, int number, struct lane_job *what)
{
	struct issuer *issuer = lane->issuer;
	struct world *world = world_get();
	const struct config_ca *config = world == NULL ? NULL : config_ca(world->config, lane->ca);
	struct issuer_job job = { .gateway = issuer->settings.gateway, .now_s = now_of(issuer), .call = GUARD_NOT_MADE };

	job.next_try_s = job.now_s + IDLE_S;
	if (config != NULL)
		carry_out(lane, config, world, what, &job);
	finished(lane, number, &job);
	buf_free(&what->cert);
	world_put(world);
}

static void *
lane_thread(void *arg)
{
	struct lane_thread *self = arg;
	struct filling *f = calloc(1, sizeof *f);
	struct lane_job job;

	while (f != NULL && next_job(self->lane, self->number, f, &job))
		do_job(self->lane, self->number, &job);
	free(f);
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
	lane->thread_count++;
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
	lane->look = true;
	(void)snprintf(lane->ca, sizeof lane->ca, "%s", config->name);
	(void)pthread_mutex_lock(&issuer->lock);
	issuer->lanes[issuer->lane_count++] = lane;
	(void)pthread_mutex_unlock(&issuer->lock);
	return lane;
}

static int
refresh_lane(struct issuer *issuer, const struct config_ca *config, struct err *e)
{
	struct lane *lane = issuer_lane(issuer, config->name);
	int calls = config->calls > LANE_THREADS_MAX ? LANE_THREADS_MAX : config->calls;

	if (lane == NULL)
		lane = add_lane(issuer, config, e);
	if (lane == NULL)
		return -1;
	ca_guard_set(lane->guard, config->calls, config->budget);
	while (lane->thread_count < calls)
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
	world_put(world);
	issuer_wake(issuer, NULL);
	return result;
}

int
issuer_start(const struct issuer_settings *settings, struct issuer **out, struct err *e)
{
	struct issuer *issuer = calloc(1, sizeof *issuer);
	pthread_condattr_t attr;
	int64_t adopted = 0;

	if (issuer == NULL)
		return err_set(e, ERR_NOMEM, "no memory to ask CAs");
	issuer->settings = *settings;
	(void)pthread_mutex_init(&issuer->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&issuer->work, &attr);
	(void)pthread_cond_init(&issuer->told, &attr);
	(void)pthread_condattr_destroy(&attr);
	if (settings->gateway->store_ops->intents->adopt(settings->gateway->store, now_of(issuer), &adopted, e) != 0 ||
	    issuer_refresh(issuer, e) != 0) {
		issuer_stop(issuer);
		return -1;
	}
	if (adopted != 0)
		log_text(LOG_LEVEL_WARN, "ca", "%lld requests were being sent when the gateway stopped: unknown",
			(long long)adopted);
	*out = issuer;
	return 0;
}

static void
lane_free(struct lane *lane)
{
	drop_jobs(lane);
	ca_guard_free(lane->guard);
	free(lane);
}

void
issuer_stop(struct issuer *issuer)
{
	size_t i;
	int k;

	if (issuer == NULL)
		return;
	(void)pthread_mutex_lock(&issuer->lock);
	issuer->stopping = true;
	(void)pthread_cond_broadcast(&issuer->work);
	(void)pthread_cond_broadcast(&issuer->told);
	(void)pthread_mutex_unlock(&issuer->lock);
	for (i = 0; i < issuer->lane_count; i++) {
		for (k = 0; k < issuer->lanes[i]->thread_count; k++)
			(void)pthread_join(issuer->lanes[i]->threads[k], NULL);
		lane_free(issuer->lanes[i]);
	}
	(void)pthread_cond_destroy(&issuer->work);
	(void)pthread_cond_destroy(&issuer->told);
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
		if (ca == NULL || strcmp(issuer->lanes[i]->ca, ca) == 0)
			issuer->lanes[i]->look = true;
	(void)pthread_cond_broadcast(&issuer->work);
	(void)pthread_mutex_unlock(&issuer->lock);
}
