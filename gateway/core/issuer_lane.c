/*
 * What the threads of a lane do. The store says what is due; what is kept here is only who is at work on what, and what the store did
 * not take.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "gateway/core/issuer_internal.h"
#include "gateway/core/log.h"

#define LANE_REVOCATIONS  8
#define SKIP_MAX          (LANE_JOBS / 2 + LANE_THREADS_MAX + LANE_KEPT_MAX) /* all that begin_filling() can find */

/* What is due, oldest first; read without the lock. */
struct filling {
	struct lane_job jobs[LANE_JOBS];
	size_t count;
	int64_t skip[SKIP_MAX]; /* at work, or kept */
	size_t skip_count;
	bool hurry, full, more; /* more: than was taken is due */
	bool claims;            /* some were out, or handed and not taken: what is sent is theirs, and may be more by the end of the look */
	int64_t now_s, due_s;
};

static bool
is_skipped(const struct filling *f, int64_t id)
{
	size_t i;

	for (i = 0; i < f->skip_count; i++)
		if (f->skip[i] == id)
			return true;
	return false;
}

static bool
take_revocation(void *arg, const struct revocation_row *row, struct bytes cert)
{
	struct filling *f = arg;
	struct lane_job *job = &f->jobs[f->count];

	if (is_skipped(f, -row->id))
		return true;
	*job = (struct lane_job){ .revoke = true, .revocation = *row };
	buf_append_bytes(&job->cert, cert);
	f->count++;
	f->more = f->count >= LANE_REVOCATIONS;
	return !f->more;
}

static bool
take_intent(void *arg, const struct intent_row *row)
{
	struct filling *f = arg;

	if (is_skipped(f, row->id) || (lane_is_ahead(row->next_try_s, f->now_s, INTENT_TRY_MAX_S) && row->state != INTENT_OPEN))
		return true;
	f->jobs[f->count++] = (struct lane_job){ .intent_id = row->id, .issues = row->state == INTENT_OPEN,
		.sent = row->state == INTENT_SENT };
	f->more = f->more || f->count == LANE_JOBS;
	return f->count < LANE_JOBS;
}

static int
read_due(const struct gateway *gateway, const char *ca, struct filling *f, struct err *e)
{
	const struct intent_ops *intents = gateway->store_ops->intents;
	int skipped = (int)f->skip_count;
	/* In a hurry comes what was put off here; what is further ahead than that the CA itself has put off. */
	struct intent_filter filter = { .ca = ca, .active = true, .due_s = f->hurry ? f->now_s + ISSUER_RETRY_MAX_S : f->now_s,
		.limit = LANE_JOBS + skipped };
	struct store_read *read = NULL;
	int64_t at_s = 0;
	int result;

	if (gateway->store_ops->read_begin(gateway->store, &read, e) != 0)
		return -1;
	result = intents->revocations(read, ca, f->now_s, LANE_REVOCATIONS + skipped, take_revocation, f, e);
	if (result == 0)
		result = intents->list(read, &filter, take_intent, f, e);
	/* When these are done it is time for the next look, which finds what else there is. */
	f->due_s = f->more ? f->now_s : f->now_s + IDLE_S;
	if (result == 0 && !f->more)
		result = intents->next(read, ca, &at_s, e);
	/* What is due and at work, or about to be, hides what comes after it: the next look comes soon. */
	if (result == 1 && at_s < f->due_s)
		f->due_s = at_s > f->now_s ? at_s : f->now_s + ISSUER_LOOK_S;
	gateway->store_ops->read_end(read);
	return result < 0 ? -1 : 0;
}

/* Under lock. */
static void
begin_filling(struct lane *lane, struct filling *f)
{
	const struct issuer_kept *kept;
	size_t i;

	lane->filling = true;
	lane->look = f->more = false;
	f->hurry = lane->hurry;
	f->claims = lane->claims + lane->handed_count > 0;
	f->now_s = lane->filled_s = issuer_now(lane->issuer);
	lane->due_s = f->now_s + IDLE_S;
	f->count = lane_take_kept(lane, f->now_s, f->jobs, LANE_JOBS / 2);
	f->skip_count = 0;
	for (i = 0; i < f->count; i++)
		f->skip[f->skip_count++] = f->jobs[i].intent_id;
	for (i = 0; i < LANE_THREADS_MAX; i++)
		if (lane->busy[i] != 0)
			f->skip[f->skip_count++] = lane->busy[i];
	for (kept = lane->kept; kept != NULL && f->skip_count < SKIP_MAX; kept = kept->next)
		f->skip[f->skip_count++] = kept->id;
	f->full = lane->kept_count >= LANE_KEPT_MAX;
}

/* Under lock: the jobs found become the lane's. */
static void
take_found(struct lane *lane, struct filling *f)
{
	size_t i;

	lane->first = lane->count = 0;
	for (i = 0; i < f->count; i++)
		if (f->jobs[i].sent && f->claims)
			f->due_s = f->due_s < f->now_s + ISSUER_LOOK_S ? f->due_s : f->now_s + ISSUER_LOOK_S;
		else
			lane->jobs[lane->count++] = f->jobs[i];
}

/* With the lock; without it while the store is read. */
static void
fill(struct lane *lane, struct filling *f)
{
	struct issuer *issuer = lane->issuer;
	struct err e = { 0 };
	size_t i;
	int result = 0;

	begin_filling(lane, f);
	f->due_s = f->now_s + ISSUER_STORE_S;
	(void)pthread_mutex_unlock(&issuer->lock);
	if (!f->full)
		result = read_due(issuer->settings.gateway, lane->ca, f, &e);
	if (result != 0)
		log_rare(LOG_LEVEL_ERROR, "ca", "%s: %s", lane->ca, e.text);
	(void)pthread_mutex_lock(&issuer->lock);
	take_found(lane, f);
	lane->hurry = result == 0 ? false : lane->hurry;
	if (result != 0)
		f->due_s = f->now_s + ISSUER_STORE_S;
	if (lane_kept_due(lane) < f->due_s)
		f->due_s = lane_kept_due(lane);
	if (f->due_s < lane->due_s) /* a thread that finished meanwhile may know of something earlier */
		lane->due_s = f->due_s;
	lane->filling = false;
	/* The others take the rest, and look once more when something came meanwhile. */
	for (i = lane->look ? 0 : 1; i < lane->count + (lane->look ? 1 : 0); i++)
		lane_rouse(lane);
}

void
lane_drop_jobs(struct lane *lane)
{
	for (; lane->count > 0; lane->count--) {
		struct lane_job *job = &lane->jobs[lane->first++];

		buf_free(&job->cert);
		if (job->kept != NULL)
			lane_keep(lane, job->kept);
	}
}

/* What was taken from the store before an outage is not the oldest any more by its end. */
static void
refused(struct lane *lane, int64_t at_s)
{
	bool closed = ca_guard_state(lane->guard) == GUARD_CLOSED;
	int64_t again_s = lane->filled_s + IDLE_S < lane_kept_due(lane) ? lane->filled_s + IDLE_S : lane_kept_due(lane);

	if (at_s == 0) {
		lane_wait_until(lane, lane_kept_due(lane));
		return;
	}
	/* A budget may hold them up for an hour: what the store has to learn, and revocations, which it lists first, do not wait behind them. */
	if (closed && !lane->look && again_s > issuer_now(lane->issuer)) {
		lane_wait_until(lane, at_s < again_s ? at_s : again_s);
		return;
	}
	lane_drop_jobs(lane);
	lane->look = true;
	lane->closed_s = closed ? 0 : at_s;
}

/* With the lock; without it while the store works. What was taken from the store may be another lane's by the end. */
static void
move_out(struct lane *lane, int64_t now_s)
{
	struct issuer *issuer = lane->issuer;
	struct world *world;
	struct err e = { 0 };
	bool gone = lane->gone;
	int64_t moved = 0;

	lane->move_s = 0;
	if (!gone && ca_guard_state(lane->guard) == GUARD_CLOSED)
		return;
	lane->moving = true;
	(void)pthread_mutex_unlock(&issuer->lock);
	world = world_get();
	if (world != NULL)
		moved = gone ? issuer_rehome(issuer, world, &e) : issuer_fail_over(issuer, world, lane->ca, &e);
	world_put(world);
	if (moved < 0)
		log_rare(LOG_LEVEL_ERROR, "ca", "%s: %s", lane->ca, e.text);
	(void)pthread_mutex_lock(&issuer->lock);
	lane->moving = false;
	if (moved < 0)
		lane->move_s = now_s + ISSUER_STORE_S;
	if (moved > 0) {
		lane_drop_jobs(lane);
		lane->look = true;
	}
}

/*
 * Nothing is to be asked now. Is it to be looked at? While the breaker is open, since nobody else would notice that it is back; and
 * after a failure, when others could be asked: one request alone would need half a minute to open the breaker.
 */
static bool
wants_look(const struct lane *lane, int64_t now_s, int64_t *at_s)
{
	if (lane->filling)
		return false;
	if (ca_guard_state(lane->guard) != GUARD_CLOSED)
		return true;
	if (!lane->stand_ins || !lane->doubtful)
		return false;
	*at_s = lane->probe_s;
	return now_s >= lane->probe_s;
}

/* true: it is looked at now. */
static bool
may_probe(struct lane *lane, int64_t now_s, struct lane_job *out)
{
	int64_t at_s = lane->due_s;
	bool may = wants_look(lane, now_s, &at_s) && ca_guard_enter(lane->guard, false, now_s, &at_s);

	if (may) {
		*out = (struct lane_job){ .probe = true };
		lane->probe_s = now_s + ISSUER_LOOK_S;
	} else
		lane_wait_until(lane, at_s < lane->due_s ? at_s : lane->due_s);
	return may;
}

/* Under lock. */
static void
take_job(struct lane *lane, int number, struct lane_job *out)
{
	*out = lane->jobs[lane->first++];
	lane->count--;
	lane->busy[number] = out->revoke ? -out->revocation.id : out->intent_id;
}

/* false: it is time to stop. */
static bool
next_job(struct lane *lane, int number, struct filling *f, struct lane_job *out)
{
	struct issuer *issuer = lane->issuer;
	bool found = false;
	int64_t at_s = 0;

	(void)pthread_mutex_lock(&issuer->lock);
	/* What is sent already, by the store, is sent before the end. */
	while ((!issuer->stopping || lane->claims + lane->handed_count > 0) && !found) {
		int64_t now_s = issuer_now(issuer);
		bool is_due = !lane_is_ahead(lane->due_s, now_s, IDLE_S);
		bool kept = lane->count != 0 ? lane->jobs[lane->first].kept != NULL : lane_kept_due(lane) <= now_s;

		if (lane->handed_count > 0) {
			lane_take_handed(lane, number, out);
			found = true;
		} else if (issuer->stopping)
			lane_wait_until(lane, now_s + 1);
		else if (lane->move_s != 0 && now_s >= lane->move_s && !lane->moving)
			move_out(lane, now_s);
		else if (lane_is_ahead(lane->closed_s, now_s, GUARD_BACKOFF_MAX_S) && !kept)
			lane_wait_until(lane, lane->closed_s < lane_kept_due(lane) ? lane->closed_s : lane_kept_due(lane));
		else if (lane->count == 0 && !lane->filling && (lane->look || kept || is_due))
			fill(lane, f);
		else if (lane->count == 0)
			found = may_probe(lane, now_s, out);
		else if (!kept && !ca_guard_enter(lane->guard, lane->jobs[lane->first].issues, now_s, &at_s))
			refused(lane, at_s);
		else {
			take_job(lane, number, out);
			found = true;
		}
	}
	/* Somebody who stays sees to what comes due during this call. */
	if (found)
		lane_keep_watch(lane);
	(void)pthread_mutex_unlock(&issuer->lock);
	return found;
}

/* Under lock. It answers again: what was put off comes in its order, and others may have something for it. */
static void
is_back(struct lane *lane)
{
	struct issuer *issuer = lane->issuer;
	size_t i;

	lane_drop_jobs(lane);
	lane->hurry = lane->look = true;
	lane->closed_s = 0;
	for (i = 0; i < issuer->lane_count; i++)
		issuer->lanes[i]->move_s = 1;
	issuer_wake_all(issuer);
	log_text(LOG_LEVEL_INFO, "ca", "%s answers again", lane->ca);
}

/* The call is over, and somebody else may call; what came of it is not recorded yet. */
static void
leave(struct issuer_job *job)
{
	struct lane *lane = job->called_arg;
	struct issuer *issuer = lane->issuer;
	/* What was withdrawn, or was somebody else's by then, has asked for nothing: the next need not wait for its share. */
	enum guard_call call = job->call == GUARD_NOT_MADE && job->budgeted ? GUARD_GIVEN_BACK : job->call;
	bool back = ca_guard_leave(lane->guard, call, issuer_now(issuer));

	job->called = NULL;
	(void)pthread_mutex_lock(&issuer->lock);
	if (back)
		is_back(lane);
	if (job->call != GUARD_NOT_MADE)
		lane->doubtful = job->call == GUARD_FAILED;
	/* Who was refused meanwhile, because of this one, asks once more. */
	if (lane->count != 0 || lane->closed_s != 0)
		lane_rouse(lane);
	lane->closed_s = 0;
	(void)pthread_mutex_unlock(&issuer->lock);
}

/*
 * Under lock. What was open when its CA went has gone to its label's; this became open since: recorded by a request of the world before,
 * or called for by then, in vain.
 */
static void
note_gone(struct lane *lane, bool gone, int64_t now_s)
{
	if (gone && !lane->gone)
		lane->move_s = 1;
	else if (gone && lane->move_s == 0) /* what another thread is about to see to is not put off */
		lane->move_s = now_s + ISSUER_STORE_S;
	lane->gone = gone;
}

static void
finished(struct lane *lane, int number, struct issuer_job *job)
{
	struct issuer *issuer = lane->issuer;

	if (job->called != NULL)
		leave(job);
	(void)pthread_mutex_lock(&issuer->lock);
	if (job->call == GUARD_FAILED) /* and by now the store says so */
		lane->move_s = 1;
	note_gone(lane, job->ca == NULL, job->now_s);
	if (job->counted)
		lane->calls[job->outcome]++;
	if (job->kept != NULL)
		lane_keep(lane, job->kept);
	if (job->next_try_s != 0 && job->next_try_s < lane->due_s) {
		lane->due_s = job->next_try_s;
		lane_keep_watch(lane); /* this thread may be in its next call by then */
	}
	if (job->over)
		issuer_tell(issuer, job);
	lane->busy[number] = job->untold ? lane->busy[number] : 0;
	(void)pthread_mutex_unlock(&issuer->lock);
}

/* The CA is not kept waiting, and neither is who waits for the certificate; only this thread is busy. */
static void
tell_mdm(struct lane *lane, int number, const struct issuer_job *job)
{
	issuer_tell_mdm(job);
	(void)pthread_mutex_lock(&lane->issuer->lock);
	lane->busy[number] = 0;
	(void)pthread_mutex_unlock(&lane->issuer->lock);
}

/* What came of it is in no other place when the store did not take it. Without memory it is left alone for a while, in its lane. */
static void
keep_for_later(struct lane *lane, const struct lane_job *what, struct issuer_job *job)
{
	if (job->kept == NULL)
		job->kept = calloc(1, sizeof *job->kept);
	if (job->kept == NULL)
		return;
	job->kept->id = what->revoke ? -what->revocation.id : what->intent_id;
	job->kept->until_s = job->next_try_s = issuer_now(lane->issuer) + ISSUER_STORE_S;
}

static void
look_at(const struct lane *lane, struct issuer_job *job)
{
	struct err e = { 0 };

	job->call = job->ca->ops->check(job->ca->ca, &e) == 0 ? GUARD_REACHED : GUARD_FAILED;
	job->next_try_s = 0;
	if (job->call == GUARD_FAILED)
		log_rare(LOG_LEVEL_WARN, "ca", "%s still does not answer: %s", lane->ca, e.text);
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
	if (what->probe) {
		look_at(lane, job);
		return;
	}
	job->revoke = what->revoke;
	job->revocation = what->revocation;
	job->cert = what->cert;
	result = what->revoke ? issuer_carry_out_revocation(job, &e) : issuer_carry_out(job, &e);
	if (result == 0)
		return;
	log_rare(LOG_LEVEL_ERROR, "ca", "%s: %s", lane->ca, e.text);
	keep_for_later(lane, what, job);
}

/* The CA as it is configured now: it may have gone since. */
static void
do_job(struct lane *lane, int number, struct lane_job *what)
{
	struct issuer *issuer = lane->issuer;
	struct world *world = world_get();
	const struct config_ca *config = world == NULL ? NULL : config_ca(world->config, lane->ca);
	struct issuer_job job = { .gateway = issuer->settings.gateway, .now_s = issuer_now(issuer), .call = GUARD_NOT_MADE,
		.intent_id = what->intent_id, .budgeted = what->issues || what->claimed, .claimed = what->claimed, .kept = what->kept,
		.called = what->kept == NULL ? leave : NULL, .called_arg = lane };

	job.next_try_s = job.now_s + IDLE_S;
	if (config != NULL)
		carry_out(lane, config, world, what, &job);
	else if (what->probe) {
		/* Nobody is there to look at: as if it did not answer, so that the next look comes later and later. */
		job.call = GUARD_FAILED;
		job.next_try_s = 0;
	} else
		keep_for_later(lane, what, &job);
	if (what->claimed && job.call == GUARD_NOT_MADE)
		issuer_unsend(&job);
	finished(lane, number, &job);
	if (job.untold)
		tell_mdm(lane, number, &job);
	buf_free(&job.given);
	buf_free(&what->cert);
	world_put(world);
}

void
lane_run(struct lane *lane, int number)
{
	struct filling *f = calloc(1, sizeof *f);
	struct lane_job job;

	while (f != NULL && next_job(lane, number, f, &job))
		do_job(lane, number, &job);
	free(f);
}
