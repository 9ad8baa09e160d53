#define _GNU_SOURCE
#include "gateway/store/sqlite_internal.h"

#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define TICK_MS 100
#define GATHER_TURNS_MAX 8
#define LONELY_COMMITS 7 /* without asking again whether anybody else is there */

/*
 * Group commit. Callers put a job on the queue and sleep; the one thread here
 * takes all that is queued, runs it in one transaction and wakes its callers
 * after the commit. While it waits for the disk or for the processor the next
 * batch gathers, so the busier it is, the fewer commits a write costs, and
 * nothing waits for a timer.
 */
struct job { /* on the stack of the caller, who waits */
	job_fn fn;
	void *arg;
	tick_fn tick; /* set: a long job, alone in its transaction */
	int rc;
	struct err err;
	sem_t finished; /* each its own: with one lock for all, whoever is woken would wait for it at once */
	struct job *next;
};

static int
tx_begin(struct tx *tx, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn, "BEGIN IMMEDIATE");

	int rc;

	if (query_run(&q, e) != 0)
		return -1;
	rc = chain_load(tx->conn, &tx->chain, e);
	if (rc == 0)
		return err_set(e, ERR_UPSTREAM, "the audit chain has lost its head: verify it");
	return rc < 0 ? -1 : 0;
}

static void
tx_rollback(struct tx *tx)
{
	CLEANUP(query) struct query q = {0};
	struct err ignored;

	if (sqlite3_get_autocommit(tx->conn->db) != 0)
		return;
	q = query_of(tx->conn, "ROLLBACK");
	(void)query_run(&q, &ignored);
}

static int
tx_commit(struct tx *tx, struct err *e)
{
	CLEANUP(query) struct query q = {0};

	if (chain_save(tx, e) != 0)
		return -1;
	q = query_of(tx->conn, "COMMIT");
	return query_run(&q, e);
}

static int
tx_step(struct tx *tx, const char *sql, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn, sql);

	return query_run(&q, e);
}

/* -1: the whole transaction is lost; SQLite rolls back by itself after some full disks and I/O errors. */
static int
run_one(struct tx *tx, struct job *job, struct err *e)
{
	job->rc = job->fn(tx, job->arg, &job->err);
	if (sqlite3_get_autocommit(tx->conn->db) == 0)
		return 0;
	if (job->rc >= 0)
		return err_set(e, ERR_UPSTREAM, "database: the transaction was rolled back");
	*e = job->err;
	return -1;
}

/* One job in a savepoint: its failure takes back its own work only. -1 as above. */
static int
run_guarded(struct tx *tx, struct job *job, struct err *e)
{
	struct chain before = tx->chain;

	if (tx_step(tx, "SAVEPOINT job", e) != 0 || run_one(tx, job, e) != 0)
		return -1;
	if (job->rc != 0) {
		tx->chain = before;
		if (tx_step(tx, "ROLLBACK TO job", e) != 0)
			return -1;
	}
	return tx_step(tx, "RELEASE job", e);
}

/* *kept: how many jobs have written something that stays. */
static int
run_all_guarded(struct tx *tx, struct job *batch, int *kept, struct err *e)
{
	*kept = 0;
	for (struct job *job = batch; job != NULL; job = job->next) {
		if (run_guarded(tx, job, e) != 0)
			return -1;
		*kept += job->rc == 0;
	}
	return 0;
}

#define SPOILED 1

/*
 * Savepoints cost a copy of every page, and jobs nearly always fail before
 * they write, if they do. So the first run goes without: SPOILED says that a
 * failed job has left something, and the batch must be run again, guarded.
 */
static int
run_all(struct tx *tx, struct job *batch, int *kept, struct err *e)
{
	*kept = 0;
	for (struct job *job = batch; job != NULL; job = job->next) {
		int64_t before = sqlite3_total_changes64(tx->conn->db);

		if (run_one(tx, job, e) != 0)
			return -1;
		*kept += job->rc == 0;
		if (job->rc != 0 && sqlite3_total_changes64(tx->conn->db) != before)
			return SPOILED;
	}
	return 0;
}

static int
run_jobs(struct tx *tx, struct job *batch, int *kept, struct err *e)
{
	int rc = run_all(tx, batch, kept, e);

	if (rc != SPOILED || batch->next == NULL) /* one alone is rolled back with its transaction */
		return rc < 0 ? -1 : 0;
	tx_rollback(tx);
	return tx_begin(tx, e) == 0 ? run_all_guarded(tx, batch, kept, e) : -1;
}

/* True unless the database refused; then every job has failed: one may have built on another's work. */
static bool
run_batch(struct writer *writer, struct job *batch, int *kept)
{
	struct tx tx = {.conn = &writer->conn};
	struct err e;
	bool ok;

	ok = tx_begin(&tx, &e) == 0 && run_jobs(&tx, batch, kept, &e) == 0 &&
		(*kept == 0 || tx_commit(&tx, &e) == 0);
	if (!ok || *kept == 0)
		tx_rollback(&tx);
	buf_free(&tx.scratch);
	if (ok)
		return true;
	*kept = 0;
	e.code = ERR_UPSTREAM;
	for (struct job *job = batch; job != NULL; job = job->next) {
		job->rc = -1;
		job->err = e;
	}
	return false;
}

/* Up to STORE_BATCH_MAX jobs off the queue, in order; one that wants to be alone makes its own batch. */
static struct job *
take_batch(struct writer *writer)
{
	struct job *batch = writer->first, *last = batch;
	int count = 1;

	while (last->tick == NULL && last->next != NULL && last->next->tick == NULL && count < STORE_BATCH_MAX) {
		last = last->next;
		count++;
	}
	writer->first = last->next;
	if (writer->first == NULL)
		writer->last = NULL;
	last->next = NULL;
	writer->queued -= count;
	return batch;
}

/* Under the lock. */
static void
count_batch(struct writer *writer, const struct job *batch, bool ok, int kept)
{
	writer->failing = !ok;
	writer->writes += kept;
	writer->commits += kept > 0;
	for (const struct job *job = batch; job != NULL; job = job->next)
		if (job->rc < 0 && job->err.code == ERR_UPSTREAM)
			writer->failing = true;
}

static void
wake_callers(struct job *batch)
{
	struct job *next;

	for (struct job *job = batch; job != NULL; job = next) {
		next = job->next; /* the job is gone once its caller is awake */
		(void)sem_post(&job->finished);
	}
}

/* Millisecond by millisecond: SQLite's own handler soon sleeps too long to meet a gap between readers. */
static int
wait_for_readers(void *arg, int tries)
{
	const struct timespec a_while = {.tv_nsec = 1000000};

	(void)arg;
	if (tries >= STORE_WAL_WAIT_MS)
		return 0;
	(void)nanosleep(&a_while, NULL);
	return 1;
}

/*
 * After the callers were told, so that nobody's answer waits for it. A passive
 * checkpoint never gets to the log's end while readers come without a pause;
 * so a log that has grown long is worth a wait for them. One that reads for
 * long is not waited for: the log grows, and the attempts come ever later. A
 * failure shows at the next commit.
 */
static void
checkpoint(struct writer *writer)
{
	sqlite3 *db = writer->conn.db;
	bool patient = writer->wal_pages >= STORE_WAL_PAGES_MAX;

	if (writer->wal_pages < writer->wal_next)
		return;
	if (patient)
		(void)sqlite3_busy_handler(db, wait_for_readers, NULL);
	(void)sqlite3_wal_checkpoint_v2(db, NULL, patient ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE,
		NULL, NULL);
	(void)sqlite3_busy_timeout(db, STORE_BUSY_MS);
	writer->wal_next = writer->wal_pages + (patient ? writer->wal_pages / 2 : STORE_WAL_PAGES);
}

static int
note_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct writer *writer = arg;

	(void)db;
	(void)name;
	if (pages < writer->wal_pages) /* the log began anew */
		writer->wal_next = STORE_WAL_PAGES;
	writer->wal_pages = pages;
	return SQLITE_OK;
}

/*
 * Where threads compete for the processor, the writer would be given it as soon
 * as the first job is there, and commit that one alone. So it lets the others
 * run first, as long as that brings more: a commit costs as much as ten writes.
 * On a processor that has nothing else to do this takes a microsecond. Where
 * only strangers have, it would cost each write a few milliseconds for nothing;
 * hence *lonely. Under the lock, which is let go meanwhile.
 */
static void
gather(struct writer *writer, int *lonely)
{
	int turn, before = 0;

	if (writer->queued == 1 && *lonely > 0) {
		(*lonely)--;
		return;
	}
	for (turn = 0; turn < GATHER_TURNS_MAX && writer->queued > before && writer->queued < STORE_BATCH_MAX; turn++) {
		before = writer->queued;
		(void)pthread_mutex_unlock(&writer->lock);
		(void)sched_yield();
		(void)pthread_mutex_lock(&writer->lock);
	}
	*lonely = writer->queued == 1 ? LONELY_COMMITS : 0;
}

static void *
writer_main(void *arg)
{
	struct writer *writer = arg;
	int lonely = 0;

	(void)pthread_mutex_lock(&writer->lock);
	for (;;) {
		struct job *batch;
		int kept = 0;
		bool ok;

		while (writer->first == NULL && !writer->stopping)
			(void)pthread_cond_wait(&writer->work, &writer->lock);
		if (writer->first == NULL)
			break;
		gather(writer, &lonely);
		batch = take_batch(writer);
		(void)pthread_mutex_unlock(&writer->lock);
		ok = run_batch(writer, batch, &kept);
		(void)pthread_mutex_lock(&writer->lock);
		count_batch(writer, batch, ok, kept);
		(void)pthread_mutex_unlock(&writer->lock);
		wake_callers(batch);
		checkpoint(writer);
		(void)pthread_mutex_lock(&writer->lock);
	}
	(void)pthread_mutex_unlock(&writer->lock);
	return NULL;
}

int
writer_start(struct writer *writer, struct err *e)
{
	sigset_t all, before;
	int rc;

	writer->wal_next = STORE_WAL_PAGES;
	(void)sqlite3_wal_hook(writer->conn.db, note_wal, writer);
	/* Signals belong to the program's own threads. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&writer->thread, NULL, writer_main, writer);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != 0)
		return err_set(e, ERR_UPSTREAM, "database: no thread to write with: %s", strerror(rc));
	writer->started = true;
	return 0;
}

void
writer_stop(struct writer *writer)
{
	bool started;

	(void)pthread_mutex_lock(&writer->lock);
	started = writer->started;
	writer->started = false;
	writer->stopping = true;
	(void)pthread_cond_signal(&writer->work);
	(void)pthread_mutex_unlock(&writer->lock);
	if (started)
		(void)pthread_join(writer->thread, NULL);
}

static int
enqueue(struct writer *writer, struct job *job, struct err *e)
{
	if (writer->stopping)
		return err_set(e, ERR_UPSTREAM, "database: closing");
	if (writer->queued >= STORE_QUEUE_MAX)
		return err_set(e, ERR_LIMIT, "database: %d writes are waiting", writer->queued);
	if (writer->last == NULL)
		writer->first = job;
	else
		writer->last->next = job;
	writer->last = job;
	writer->queued++;
	(void)pthread_cond_signal(&writer->work);
	return 0;
}

/*
 * False when, for a long job, the time to tell how far it is has come first. A
 * clock that is set meanwhile puts that off or brings it early, nothing more.
 */
static bool
wait_a_while(struct job *job)
{
	struct timespec until;
	int rc;

	do {
		if (job->tick == NULL)
			rc = sem_wait(&job->finished);
		else {
			(void)clock_gettime(CLOCK_REALTIME, &until);
			until.tv_nsec += TICK_MS * 1000000L;
			if (until.tv_nsec >= 1000000000L) {
				until.tv_nsec -= 1000000000L;
				until.tv_sec++;
			}
			rc = sem_timedwait(&job->finished, &until);
		}
	} while (rc != 0 && errno == EINTR);
	return rc == 0;
}

int
writer_call(struct writer *writer, job_fn fn, void *arg, tick_fn tick, struct err *e)
{
	struct job job = {.fn = fn, .arg = arg, .tick = tick};
	int rc;

	(void)sem_init(&job.finished, 0, 0);
	(void)pthread_mutex_lock(&writer->lock);
	rc = enqueue(writer, &job, e);
	(void)pthread_mutex_unlock(&writer->lock);
	while (rc == 0 && !wait_a_while(&job))
		job.tick(job.arg);
	(void)sem_destroy(&job.finished);
	if (rc != 0)
		return -1;
	if (job.rc < 0)
		*e = job.err;
	return job.rc < 0 ? -1 : 0;
}
