#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sys/stat.h>

#include "tests/unit/store_fixture.h"

static mode_t
mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 0777;
}

static void
store_file_and_its_logs_are_its_owners_only(void **state)
{
	struct fixture *f = *state;
	char wal[128], shm[128];

	(void)snprintf(wal, sizeof wal, "%s-wal", f->path);
	(void)snprintf(shm, sizeof shm, "%s-shm", f->path);
	assert_int_equal(mode_of(f->path), 0600);
	assert_int_equal(mode_of(wal), 0600);
	assert_int_equal(mode_of(shm), 0600);
}

static int
try_open(const char *path, bool read_only, struct err *e)
{
	struct store_settings settings = {.path = path, .readers = 1, .cache_kib = 256, .read_only = read_only};
	struct store *store = NULL;
	int rc = ops->open(&settings, &store, e);

	if (rc == 0)
		ops->close(store);
	return rc;
}

static void
store_refuses_the_schema_of_a_newer_program(void **state)
{
	struct fixture *f = *state;
	struct err e;
	sqlite3 *db = fixture_raw(f);

	raw_run(db, "PRAGMA user_version = 9999");
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_int_equal(try_open(f->path, false, &e), -1);
	assert_int_equal(e.code, ERR_UNSUPPORTED);
	assert_non_null(strstr(e.text, "9999"));
}

static void
store_refuses_a_database_of_somebody_else(void **state)
{
	struct fixture *f = *state;
	char path[128];
	struct err e;
	sqlite3 *db = NULL;

	(void)snprintf(path, sizeof path, "%s/photos.db", f->folder);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	raw_run(db, "CREATE TABLE photo (id INTEGER PRIMARY KEY)");
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_int_equal(try_open(path, false, &e), -1);
	assert_int_equal(e.code, ERR_UNSUPPORTED);
}

static void
store_refuses_a_file_that_is_no_database(void **state)
{
	struct fixture *f = *state;
	char path[128];
	struct err e;
	FILE *file;

	(void)snprintf(path, sizeof path, "%s/noise.db", f->folder);
	file = fopen(path, "w");
	assert_non_null(file);
	for (int i = 0; i < 500; i++)
		(void)fputs("this is not a database ", file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(try_open(path, false, &e), -1);
	assert_int_equal(e.code, ERR_UPSTREAM);
}

static void
store_says_which_folder_is_missing(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(try_open("/nonexistent/enrolld.db", false, &e), -1);
	assert_int_equal(e.code, ERR_UPSTREAM);
	assert_non_null(strstr(e.text, "/nonexistent/enrolld.db"));
}

static void
store_opened_for_reading_reads_and_never_writes(void **state)
{
	struct fixture *f = *state;
	struct err e;

	(void)add_asset(f->store, "rtr-1");
	ops->close(f->store);
	f->store = fixture_open(f->path, true);
	assert_int_equal(get_asset(f->store, "rtr-1").version, 1);
	assert_int_equal(verify(f->store).bad_seq, 0);
	assert_int_equal(ops->audit(f->store, NOW, "enrolld", "test", "x", "{}", &e), -1);
	assert_int_equal(e.code, ERR_UPSTREAM);
}

static void
store_opened_for_reading_does_not_migrate(void **state)
{
	struct fixture *f = *state;
	struct err e;
	sqlite3 *db = fixture_raw(f);

	raw_run(db, "PRAGMA user_version = 2");
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_int_equal(try_open(f->path, true, &e), -1);
	assert_int_equal(e.code, ERR_UNSUPPORTED);
}

static void
store_writes_in_wal_mode(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = fixture_raw(f);
	sqlite3_stmt *st = NULL;

	assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA journal_mode", -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(st, 0), "wal");
	(void)sqlite3_finalize(st);
	(void)sqlite3_close(db);
}

static void
store_is_found_by_its_name(void **state)
{
	(void)state;
	assert_ptr_equal(store_ops_of("sqlite"), &store_sqlite);
	assert_null(store_ops_of("sqlit"));
	assert_null(store_ops_of(""));
}

static void
store_states_have_names_that_lead_back(void **state)
{
	(void)state;
	for (int i = REQUEST_PENDING; i <= (int)REQUEST_REFUSED; i++)
		assert_int_equal(request_state_of(request_state_name((enum request_state)i)), i);
	assert_int_equal(request_state_of("lost"), -1);
	assert_string_equal(cert_status_name(CERT_HELD), "held");
	assert_string_equal(request_state_name((enum request_state)77), "unknown");
}

static void
store_snapshot_does_not_see_later_writes(void **state)
{
	struct fixture *f = *state;
	struct asset asset, again;
	struct owner owner;
	struct store_read *read;
	struct err e;

	(void)add_asset(f->store, "rtr-1");
	read = begin(f->store);
	assert_int_equal(ops->asset_by_tag(read, "rtr-1", &asset, &owner, &e), 1);
	assert_int_equal(ops->asset_set_state(f->store, "rtr-1", ASSET_DEPLOYED, "", "operator:t", NOW, NULL, &e), 0);
	assert_int_equal(ops->asset_by_id(read, asset.id, &again, &owner, &e), 1);
	assert_int_equal(again.state, ASSET_STAGED);
	ops->read_end(read);
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_DEPLOYED);
}

static void
store_survives_being_closed_and_opened_again(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct sample s;
	int64_t id;

	sample_fill(&s, &asset, 1, REQUEST_ISSUED);
	id = record_as(f->store, &s.o, STORE_RECORDED);
	fixture_reopen(f, NULL);
	assert_int_equal(get_request(f->store, id).state, REQUEST_ISSUED);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(store_file_and_its_logs_are_its_owners_only),
		STORE_TEST(store_refuses_the_schema_of_a_newer_program),
		STORE_TEST(store_refuses_a_database_of_somebody_else),
		STORE_TEST(store_refuses_a_file_that_is_no_database),
		STORE_TEST(store_says_which_folder_is_missing),
		STORE_TEST(store_opened_for_reading_reads_and_never_writes),
		STORE_TEST(store_opened_for_reading_does_not_migrate),
		STORE_TEST(store_writes_in_wal_mode),
		STORE_TEST(store_is_found_by_its_name),
		STORE_TEST(store_states_have_names_that_lead_back),
		STORE_TEST(store_snapshot_does_not_see_later_writes),
		STORE_TEST(store_survives_being_closed_and_opened_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
