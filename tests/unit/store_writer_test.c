#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "gateway/store/sqlite_internal.h"
#include "tests/unit/store_fixture.h"

/* A job that holds the writer until the test lets it go. */
struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool entered, open;
};

static int
gate_job(struct tx *tx, void *arg, struct err *e)
{
	struct gate *gate = arg;

	(void)tx;
	(void)e;
	(void)pthread_mutex_lock(&gate->lock);
	gate->entered = true;
	(void)pthread_cond_broadcast(&gate->changed);
	while (!gate->open)
		(void)pthread_cond_wait(&gate->changed, &gate->lock);
	(void)pthread_mutex_unlock(&gate->lock);
	return JOB_UNDO;
}

/* One caller in a thread of its own. */
struct call {
	struct store *store;
	job_fn fn;
	void *arg;
	int rc;
	struct err e;
	pthread_t thread;
};

static void *
call_main(void *arg)
{
	struct call *call = arg;

	call->rc = store_write(call->store, call->fn, call->arg, &call->e);
	return NULL;
}

static void
call_start(struct call *call, struct store *store, job_fn fn, void *arg)
{
	*call = (struct call){.store = store, .fn = fn, .arg = arg};
	assert_int_equal(pthread_create(&call->thread, NULL, call_main, call), 0);
}

static void
call_join(struct call *call)
{
	assert_int_equal(pthread_join(call->thread, NULL), 0);
}

static void
gate_close(struct gate *gate, struct call *call, struct store *store)
{
	*gate = (struct gate){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
	call_start(call, store, gate_job, gate);
	(void)pthread_mutex_lock(&gate->lock);
	while (!gate->entered)
		(void)pthread_cond_wait(&gate->changed, &gate->lock);
	(void)pthread_mutex_unlock(&gate->lock);
}

static void
gate_open(struct gate *gate, struct call *call)
{
	(void)pthread_mutex_lock(&gate->lock);
	gate->open = true;
	(void)pthread_cond_broadcast(&gate->changed);
	(void)pthread_mutex_unlock(&gate->lock);
	call_join(call);
}

static void
wait_for_queue(struct store *store, int count)
{
	struct store_stats stats;

	do {
		ops->stats(store, &stats);
		(void)sched_yield();
	} while (stats.queue != count);
}

/* Writes a row, then fails in the way that *arg says. */
static int
row_then(struct tx *tx, void *arg, struct err *e)
{
	const int *rc = arg;

	if (chain_append(tx, NOW, "enrolld", "test", "row", "{}", e) != 0)
		return -1;
	if (*rc < 0)
		return err_set(e, ERR_DENIED, "this one only");
	return *rc;
}

static void
writer_shares_one_commit_among_those_who_wait(void **state)
{
	struct fixture *f = *state;
	struct call gate_call, calls[20];
	struct store_stats before, after;
	struct gate gate;
	int keep = 0;

	gate_close(&gate, &gate_call, f->store);
	ops->stats(f->store, &before);
	for (int i = 0; i < 20; i++)
		call_start(&calls[i], f->store, row_then, &keep);
	wait_for_queue(f->store, 20);
	gate_open(&gate, &gate_call);
	for (int i = 0; i < 20; i++) {
		call_join(&calls[i]);
		assert_int_equal(calls[i].rc, 0);
	}
	ops->stats(f->store, &after);
	assert_int_equal(after.writes - before.writes, 20);
	assert_int_equal(after.commits - before.commits, 1);
	assert_int_equal(verify(f->store).rows, 20);
}

static void
writer_undoes_a_failing_job_and_no_other(void **state)
{
	struct fixture *f = *state;
	struct call gate_call, calls[9];
	int ways[] = {0, -1, JOB_UNDO};
	struct audit_report report;
	struct gate gate;

	gate_close(&gate, &gate_call, f->store);
	for (int i = 0; i < 9; i++)
		call_start(&calls[i], f->store, row_then, &ways[i % 3]);
	wait_for_queue(f->store, 9);
	gate_open(&gate, &gate_call);
	for (int i = 0; i < 9; i++) {
		call_join(&calls[i]);
		assert_int_equal(calls[i].rc, i % 3 == 1 ? -1 : 0);
		if (i % 3 == 1)
			assert_string_equal(calls[i].e.text, "this one only");
	}
	report = verify(f->store);
	assert_int_equal(report.rows, 3);
	assert_int_equal(report.bad_seq, 0);
}

/* As a full disk or I/O error may: the transaction of the whole batch is gone. */
static int
lose_transaction(struct tx *tx, void *arg, struct err *e)
{
	(void)arg;
	(void)conn_run(tx->conn, "ROLLBACK", e);
	return 0;
}

static void
writer_fails_the_whole_batch_when_the_transaction_is_lost(void **state)
{
	struct fixture *f = *state;
	struct call gate_call, calls[5];
	struct store_stats stats;
	struct gate gate;
	struct err e;
	int keep = 0;

	gate_close(&gate, &gate_call, f->store);
	for (int i = 0; i < 5; i++)
		call_start(&calls[i], f->store, i == 3 ? lose_transaction : row_then, &keep);
	wait_for_queue(f->store, 5);
	gate_open(&gate, &gate_call);
	for (int i = 0; i < 5; i++) {
		call_join(&calls[i]);
		assert_int_equal(calls[i].rc, -1);
		assert_int_equal(calls[i].e.code, ERR_UPSTREAM);
	}
	ops->stats(f->store, &stats);
	assert_true(stats.failing);
	assert_int_equal(verify(f->store).rows, 0);
	assert_int_equal(store_write(f->store, row_then, &keep, &e), 0);
	assert_int_equal(verify(f->store).rows, 1);
	ops->stats(f->store, &stats);
	assert_false(stats.failing);
}

static void
writer_alone_also_notices_a_lost_transaction(void **state)
{
	struct fixture *f = *state;
	struct err e;

	assert_int_equal(store_write(f->store, lose_transaction, NULL, &e), -1);
	assert_int_equal(e.code, ERR_UPSTREAM);
}

static void
writer_refuses_more_than_its_queue_holds(void **state)
{
	struct fixture *f = *state;
	struct call gate_call, *call = calloc(1, sizeof *call);
	struct gate gate;
	struct err e;
	int keep = 0;

	assert_non_null(call);
	gate_close(&gate, &gate_call, f->store);
	/* A queue that is full without 4096 threads. */
	(void)pthread_mutex_lock(&f->store->writer.lock);
	f->store->writer.queued += STORE_QUEUE_MAX - 1;
	(void)pthread_mutex_unlock(&f->store->writer.lock);
	call_start(call, f->store, row_then, &keep);
	wait_for_queue(f->store, STORE_QUEUE_MAX);
	assert_int_equal(store_write(f->store, row_then, &keep, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	(void)pthread_mutex_lock(&f->store->writer.lock);
	f->store->writer.queued -= STORE_QUEUE_MAX - 1;
	(void)pthread_mutex_unlock(&f->store->writer.lock);
	gate_open(&gate, &gate_call);
	call_join(call);
	assert_int_equal(call->rc, 0);
	free(call);
}

static void *
stop_main(void *arg)
{
	writer_stop(arg);
	return NULL;
}

static void
writer_finishes_its_queue_when_closed_and_takes_no_more(void **state)
{
	struct fixture *f = *state;
	struct call gate_call, calls[4];
	struct gate gate;
	pthread_t stopper;
	struct err e;
	bool stopping = false;
	int keep = 0;

	gate_close(&gate, &gate_call, f->store);
	for (int i = 0; i < 4; i++)
		call_start(&calls[i], f->store, row_then, &keep);
	wait_for_queue(f->store, 4);
	assert_int_equal(pthread_create(&stopper, NULL, stop_main, &f->store->writer), 0);
	while (!stopping) {
		(void)pthread_mutex_lock(&f->store->writer.lock);
		stopping = f->store->writer.stopping;
		(void)pthread_mutex_unlock(&f->store->writer.lock);
	}
	assert_int_equal(store_write(f->store, row_then, &keep, &e), -1);
	assert_int_equal(e.code, ERR_UPSTREAM);
	gate_open(&gate, &gate_call);
	for (int i = 0; i < 4; i++) {
		call_join(&calls[i]);
		assert_int_equal(calls[i].rc, 0);
	}
	assert_int_equal(pthread_join(stopper, NULL), 0);
	assert_int_equal(verify(f->store).rows, 4);
}

#define THREADS 8
#define EACH 40

struct crowd {
	struct store *store;
	struct asset asset;
	unsigned number;
};

/* Writes its own requests, and one that all others write too. */
static void *
crowd_main(void *arg)
{
	struct crowd *c = arg;
	enum store_recorded what;
	struct store_read *read;
	struct request_row row;
	struct sample s;
	struct err e;
	int64_t id;

	for (unsigned i = 0; i < EACH; i++) {
		sample_fill(&s, &c->asset, c->number * EACH + i + 1, REQUEST_ISSUED);
		assert_int_equal(ops->record(c->store, &s.o, &what, &id, &e), 0);
		assert_int_equal(what, STORE_RECORDED);
		read = begin(c->store);
		assert_int_equal(ops->request_find(read, c->asset.id, "routers", s.o.csr_sha256, &row, &e), 1);
		assert_int_equal(row.id, id);
		ops->read_end(read);
		sample_fill(&s, &c->asset, 1000000 + i, REQUEST_ISSUED);
		assert_int_equal(ops->record(c->store, &s.o, &what, &id, &e), 0);
	}
	return NULL;
}

static void
writer_serves_many_threads_at_once(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct crowd crowd[THREADS];
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		crowd[i] = (struct crowd){f->store, asset, i};
		assert_int_equal(pthread_create(&threads[i], NULL, crowd_main, &crowd[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	/* Each thread's own, and of the contested ones one each. */
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), THREADS * EACH + EACH);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM request"), THREADS * EACH + EACH);
	assert_int_equal(verify(f->store).bad_seq, 0);
	assert_int_equal(verify(f->store).rows, THREADS * EACH + EACH + 1);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

struct reader {
	struct store *store;
	atomic_bool *stop;
	pthread_t thread;
};

#define LOOKUPS 300 /* a snapshot lives as long as some commits take */

/* Snapshots that overlap, so that at every moment one is open. */
static void *
reader_main(void *arg)
{
	struct reader *r = arg;
	struct store_read *old = begin(r->store), *fresh;
	struct owner owner;
	struct asset asset;
	struct err e;

	while (!atomic_load(r->stop)) {
		fresh = begin(r->store);
		for (int i = 0; i < LOOKUPS; i++)
			(void)ops->asset_by_tag(fresh, "rtr-1", &asset, &owner, &e);
		ops->read_end(old);
		old = fresh;
	}
	ops->read_end(old);
	return NULL;
}

#define BIG_ROW (200 << 10)

/* The file keeps the size that the log once had. */
static void
writer_keeps_the_log_short_while_others_read_without_a_pause(void **state)
{
	struct fixture *f = *state;
	struct reader reader = {.store = f->store};
	char path[sizeof f->path + 4], *detail = calloc(1, BIG_ROW + 1);
	atomic_bool stop = false;
	struct stat st;
	struct err e;

	assert_non_null(detail);
	(void)memset(detail, 'x', BIG_ROW);
	(void)snprintf(path, sizeof path, "%s-wal", f->path);
	reader.stop = &stop;
	assert_int_equal(pthread_create(&reader.thread, NULL, reader_main, &reader), 0);
	/* Five times what makes the writer wait for the reader. */
	for (size_t done = 0; done < (size_t)5 * STORE_WAL_PAGES_MAX * 4096; done += BIG_ROW)
		assert_int_equal(ops->audit(f->store, NOW, "test", "test", "", detail, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	atomic_store(&stop, true);
	(void)pthread_join(reader.thread, NULL);
	free(detail);
	assert_in_range((uintmax_t)st.st_size, 1, (uintmax_t)5 * STORE_WAL_PAGES_MAX * 4096 / 2);
	assert_int_equal(verify(f->store).bad_seq, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(writer_shares_one_commit_among_those_who_wait),
		STORE_TEST(writer_undoes_a_failing_job_and_no_other),
		STORE_TEST(writer_fails_the_whole_batch_when_the_transaction_is_lost),
		STORE_TEST(writer_alone_also_notices_a_lost_transaction),
		STORE_TEST(writer_refuses_more_than_its_queue_holds),
		STORE_TEST(writer_finishes_its_queue_when_closed_and_takes_no_more),
		STORE_TEST(writer_serves_many_threads_at_once),
		STORE_TEST(writer_keeps_the_log_short_while_others_read_without_a_pause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
