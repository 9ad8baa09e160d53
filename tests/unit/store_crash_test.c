#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "gateway/store/sqlite_internal.h"
#include "tests/unit/store_fixture.h"

#define ROUNDS 8
#define ASSETS 4
#define RECORDERS 3
#define RELEASED_MAX 4096

/* Told to the parent through a pipe once record() has returned: released. */
struct released {
	unsigned number;
	int64_t asset_id, request_id;
};

struct recorder {
	struct store *store;
	struct asset assets[ASSETS];
	int out;
	unsigned first;
};

/* Records until the process is killed. A write shorter than PIPE_BUF is whole or not at all. */
static void *
recorder_main(void *arg)
{
	const struct recorder *r = arg;
	struct released told;

	for (unsigned n = r->first;; n++) {
		enum store_recorded what;
		struct sample s;
		struct err e;

		sample_fill(&s, &r->assets[n % ASSETS], n, REQUEST_ISSUED);
		if (ops->record(r->store, &s.o, &what, &told.request_id, &e) != 0 || what != STORE_RECORDED)
			_exit(1);
		told.number = n;
		told.asset_id = s.o.asset_id;
		if (write(r->out, &told, sizeof told) != (ssize_t)sizeof told)
			_exit(2);
	}
	return NULL;
}

/* Several threads, so that batches of one and of several records are killed, and checkpoints of the log too. */
static void
child_main(const char *path, int out, unsigned first)
{
	struct recorder recorders[RECORDERS];
	struct store *store = fixture_open(path, false);
	sqlite3 *db = NULL;
	pthread_t thread;
	char tag[16];

	if (sqlite3_open(path, &db) != SQLITE_OK)
		_exit(4);
	for (unsigned i = 0; i < RECORDERS; i++) {
		recorders[i] = (struct recorder){.store = store, .out = out, .first = first + i * 10000};
		for (unsigned k = 0; k < ASSETS; k++) {
			(void)snprintf(tag, sizeof tag, "rtr-%u", k);
			recorders[i].assets[k] = get_asset(store, tag);
		}
		if (pthread_create(&thread, NULL, recorder_main, &recorders[i]) != 0)
			_exit(3);
	}
	for (;;)
		(void)sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

static void
expect_recorded(struct fixture *f, const struct released *told)
{
	struct store_read *read = begin(f->store);
	struct asset asset = {.id = told->asset_id};
	struct request_row row;
	struct cert_row cert;
	struct sample s;
	struct err e;

	sample_fill(&s, &asset, told->number, REQUEST_ISSUED);
	assert_int_equal(ops->cert_by_serial(read, s.o.serial, s.o.cert_sha256, &cert, &e), 1);
	assert_int_equal(cert.request_id, told->request_id);
	assert_int_equal(ops->request_find(read, told->asset_id, "routers", s.o.csr_sha256, &row, &e), 1);
	assert_int_equal(row.cert_id, cert.id);
	assert_int_equal(row.state, REQUEST_ISSUED);
	ops->read_end(read);
	/* The device asks again after the crash: the same certificate, never a second one. */
	s.o.asset_version = 1;
	(void)record_as(f->store, &s.o, STORE_EXISTS);
}

static void
expect_whole(struct fixture *f)
{
	assert_int_equal(verify(f->store).bad_seq, 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM request WHERE state <> 2 OR cert_id IS NULL"), 0);
	assert_int_equal(fixture_number(f, "SELECT (SELECT count(*) FROM request) - (SELECT count(*) FROM certificate)"), 0);
	assert_int_equal(
		fixture_number(f, "SELECT (SELECT count(*) FROM certificate) - (SELECT count(*) FROM certificate_der)"), 0);
	assert_int_equal(
		fixture_number(f, "SELECT (SELECT count(*) FROM certificate) - (SELECT count(*) FROM decision)"), 0);
	assert_int_equal(fixture_number(f, "SELECT (SELECT count(*) FROM certificate)"
					   " - (SELECT count(*) FROM audit WHERE action = 'enroll.issued')"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate c JOIN request r ON r.id = c.request_id"
					   " WHERE r.cert_id <> c.id OR r.asset_id <> c.asset_id"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
}

/* Reads some of what the child tells, kills it wherever it is by then, and reads the rest. */
static size_t
kill_one_child(struct fixture *f, struct released *told, size_t max, unsigned first)
{
	size_t count = 0, enough;
	uint16_t dice;
	int ends[2], status;
	struct err e;
	pid_t pid;

	assert_int_equal(random_octets((uint8_t *)&dice, sizeof dice, &e), 0);
	enough = 1 + dice % 400;
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)close(ends[0]);
		child_main(f->path, ends[1], first);
	}
	(void)close(ends[1]);
	while (count < max && read(ends[0], &told[count], sizeof told[0]) == (ssize_t)sizeof told[0])
		if (++count == enough)
			(void)kill(pid, SIGKILL);
	(void)close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	return count;
}

static void
store_killed_at_any_moment_has_every_released_certificate_once(void **state)
{
	struct fixture *f = *state;
	struct released *told = calloc(RELEASED_MAX, sizeof *told);
	char tag[16];

	assert_non_null(told);
	for (unsigned i = 0; i < ASSETS; i++) {
		(void)snprintf(tag, sizeof tag, "rtr-%u", i);
		(void)add_asset(f->store, tag);
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		size_t count;

		ops->close(f->store);
		f->store = NULL;
		count = kill_one_child(f, told, RELEASED_MAX, 1 + round * 100000);
		fixture_reopen(f, NULL);
		assert_true(count > 0);
		for (size_t i = 0; i < count; i++)
			expect_recorded(f, &told[i]);
		expect_whole(f);
	}
	free(told);
}

/* Issues until the store refuses; how many it took. */
static unsigned
issue_until_refused(struct fixture *f, const struct asset *asset, unsigned first, struct err *e)
{
	char rules[4000];
	enum store_recorded what;
	struct sample s;
	int64_t id;

	memset(rules, ' ', sizeof rules);
	memcpy(rules + sizeof rules - 3, "[]", 3);
	for (unsigned n = first; n < first + 5000; n++) {
		sample_fill(&s, asset, n, REQUEST_ISSUED);
		s.o.rules_json = rules;
		if (ops->record(f->store, &s.o, &what, &id, e) != 0)
			return n;
		assert_int_equal(what, STORE_RECORDED);
	}
	fail_msg("the disk never became full");
	return 0;
}

static int
limit_pages(struct tx *tx, void *arg, struct err *e)
{
	const char *sql = arg;

	return conn_run(tx->conn, sql, e);
}

static void
store_with_a_full_disk_refuses_and_recovers(void **state)
{
	static char few[] = "PRAGMA max_page_count = 120", many[] = "PRAGMA max_page_count = 100000";
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct store_stats stats;
	struct sample s;
	struct err e = {0};
	unsigned refused;

	assert_int_equal(store_write(f->store, limit_pages, few, &e), 0);
	refused = issue_until_refused(f, &asset, 1, &e);
	assert_int_equal(e.code, ERR_UPSTREAM);
	ops->stats(f->store, &stats);
	assert_true(stats.failing);
	expect_whole(f);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), refused - 1);
	assert_int_equal(store_write(f->store, limit_pages, many, &e), 0);
	sample_fill(&s, &asset, refused, REQUEST_ISSUED);
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	ops->stats(f->store, &stats);
	assert_false(stats.failing);
	expect_whole(f);
}

/* The same with the write itself refused by the kernel, in the log and in the database. */
static void
store_whose_writes_fail_refuses_and_recovers(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct rlimit before, small = {.rlim_cur = 1 << 20};
	struct sample s;
	struct err e = {0};
	unsigned refused;

	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	refused = issue_until_refused(f, &asset, 1, &e);
	assert_int_equal(e.code, ERR_UPSTREAM);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	expect_whole(f);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), refused - 1);
	sample_fill(&s, &asset, refused, REQUEST_ISSUED);
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	fixture_reopen(f, NULL);
	expect_whole(f);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), refused);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(store_killed_at_any_moment_has_every_released_certificate_once),
		STORE_TEST(store_with_a_full_disk_refuses_and_recovers),
		STORE_TEST(store_whose_writes_fail_refuses_and_recovers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
