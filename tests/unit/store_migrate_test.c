#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "gateway/store/sqlite_internal.h"
#include "policy/decide.h"
#include "tests/unit/store_fixture.h"

/* The file as the first migrations made it and later ones have not seen it; for fixture_reopen(). */
static sqlite3 *
fixture_old(struct fixture *f, int version)
{
	sqlite3 *db = fixture_raw(f);

	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	for (int i = 0; i < version; i++)
		raw_run(db, store_migrations[i]);
	return db;
}

/* Files out there were made by these very texts. */
static void
migration_once_released_never_changes(void **state)
{
	static const char *const released[] = {
		"e39233068821a05de82f6df2c9d8036a413496390c9de0041c99157d88dc4ec3",
		"9700db64488bb12eb91ebe743828c64939c252f98958cdf0229ead767f43901f",
		"c0d577f1f5550d50ded8c4363ede13f4ba6c3aaeb97f82d8fb8a20178d2385d5",
		"a7ee615dc0ca9ceea9090d07ffdbfcb1be46a0516ec9a5c19cbb91a5b459d2c4",
		"49fea837a4585d4a1a0afd1e0b1bd89c27c1d3590755ccbec76cd54da3746647",
		"d352a6519f37bd36ed6286a3621466a37c89c592cb5e0420a550c9f84999948b",
		"07bc0d75cd302664b41280f2a239287a10b803c95c8acc9bf4659d01bb4f3446",
		"af59447904f7f9a76cba88b73027633c32010ba7feaecc59b68b367d9d8b70c9",
		"4a5e0139998069c9a65fd9a25830c451985388b67df3c2f033fc85a3225d96e5",
		"8116c056d20f73a83c6e5482d493b1c50eb4c41ccfb4b66e1a78cbccb39f5fd0",
		"9843c872c49225fd9a478ed9613482f97c64e072481b3990d5b8c0ab585e2f4a",
		"02334e58531197fa68e94b1daeb2dd4ff3f2ecb21bdcb3614c193be62b17c287",
	};
	uint8_t digest[32];
	char hex[65];
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof released / sizeof released[0]; i++) {
		assert_int_equal(sha256(bytes_of_text(store_migrations[i]), digest, &e), 0);
		hex_encode(bytes_of(digest, sizeof digest), hex);
		assert_string_equal(hex, released[i]);
	}
}

static void
migration_is_resumed_where_it_stopped(void **state)
{
	struct fixture *f = *state;

	fixture_reopen(f, fixture_old(f, 2));
	(void)add_asset(f->store, "rtr-1");
	assert_int_equal(verify(f->store).rows, 1);
}

static void
migration_that_fails_halfway_is_undone(void **state)
{
	struct fixture *f = *state;
	struct store_settings settings = {.path = f->path, .readers = 1, .cache_kib = 256};
	struct store *store = NULL;
	struct err e;
	sqlite3 *db = fixture_old(f, 2);

	/* Of what the third migration makes, one trigger is there already. */
	raw_run(db, "CREATE TRIGGER decision_no_delete BEFORE DELETE ON decision BEGIN SELECT 1; END");
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_int_equal(ops->open(&settings, &store, &e), -1);
	assert_non_null(strstr(e.text, "migration 3"));
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM sqlite_schema WHERE name = 'audit'"), 0);
	assert_int_equal(fixture_number(f, "SELECT user_version FROM pragma_user_version"), 2);
}

/* An issued, a pending and a denied request of asset 1, three certificates: good, held, held and moved on. */
static const char rows_of_version_4[] =
	"INSERT INTO owner VALUES (1, 'Net Ops', 0, 0, 0, '');"
	"INSERT INTO asset VALUES (1, 'rtr-1', 1, 'Acme', '', 'SN-1', '', '', '', 'a.csv', '', 3, 0, 0, 4, 1700, 1600, 0);"
	"INSERT INTO asset VALUES (2, 'rtr-2', 1, 'Acme', '', 'SN-2', '', '', '', 'a.csv', '', 6, 0, 0, 2, 1800, 1600, 1);"
	"INSERT INTO asset VALUES (3, 'rtr-3', 1, 'Acme', '', 'SN-3', '', '', '', 'a.csv', '', 2, 0, 0, 3, 1900, 1600, 0);"
	"INSERT INTO transition VALUES (1, 3, 1750, 3, 6, 'operator:eve', ''), (2, 3, 1900, 6, 2, 'operator:eve', '');"
	"INSERT INTO secret VALUES (1, 1, 1, '*', 'est', zeroblob(16), zeroblob(32), 1600, 0, 0, NULL);"
	"INSERT INTO request (id, asset_id, label, csr_sha256, attempt, created_s, state, cert_id, proof, tries)"
	" VALUES (1, 1, 'routers', zeroblob(32), 0, 1650, 2, NULL, 'idevid acme', 7),"
	" (2, 1, 'routers', randomblob(32), 0, 1651, 0, NULL, 'secret of rtr-1', 1),"
	" (3, 1, 'routers', randomblob(32), 0, 1652, 3, NULL, '', 1),"
	" (4, 2, 'routers', randomblob(32), 0, 1653, 2, NULL, '', 1),"
	" (5, 3, 'routers', randomblob(32), 0, 1654, 2, NULL, '', 1);"
	"INSERT INTO request_csr VALUES (1, x'3000');"
	"INSERT INTO certificate (id, asset_id, request_id, ca, label, profile, serial, subject, sans, sha256,"
	" spki_sha256, not_before_s, not_after_s, status)"
	" VALUES (1, 1, 1, 'issuing', 'routers', 'router', '01', 'CN=a', '', zeroblob(32), zeroblob(32), 1, 9000, 0),"
	" (2, 2, 4, 'issuing', 'routers', 'router', '02', 'CN=b', '', randomblob(32), zeroblob(32), 1, 9000, 2),"
	" (3, 3, 5, 'issuing', 'routers', 'router', '03', 'CN=c', '', randomblob(32), zeroblob(32), 1, 9000, 2);"
	"UPDATE request SET cert_id = 1 WHERE id = 1;"
	"UPDATE request SET cert_id = 2 WHERE id = 4;"
	"UPDATE request SET cert_id = 3 WHERE id = 5;";

static void
migration_from_version_4_keeps_every_row(void **state)
{
	static const uint8_t zeros[32];
	struct fixture *f = *state;
	sqlite3 *db = fixture_old(f, 4);
	struct request_row row;
	CLEANUP(buf) struct buf csr = {0};
	struct store_read *read;
	struct err e;

	raw_run(db, rows_of_version_4);
	fixture_reopen(f, db);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
	read = begin(f->store);
	assert_int_equal(ops->request_by_id(read, 1, &row, &csr, &e), 1);
	assert_int_equal(csr.len, 2);
	assert_int_equal(row.state, REQUEST_ISSUED);
	assert_int_equal(row.cert_id, 1);
	assert_int_equal(row.tries, 7);
	assert_string_equal(row.proof, "idevid acme");
	assert_string_equal(row.transaction, "");
	assert_memory_equal(row.spki_sha256, zeros, 32);
	assert_int_equal(row.proof_kind, PROOF_NONE);
	assert_int_equal(row.secret_id, 0);
	assert_int_equal(ops->requests_of_transaction(read, "routers", "", &row, 1, &e), 0);
	ops->read_end(read);
	assert_int_equal(get_request(f->store, 2).state, REQUEST_PENDING);
	assert_int_equal(get_request(f->store, 3).state, REQUEST_DENIED);
	assert_int_equal(get_asset(f->store, "rtr-2").version, 2);
}

static void
migration_from_version_4_tells_since_when_certificates_are_held(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = fixture_old(f, 4);

	raw_run(db, rows_of_version_4);
	fixture_reopen(f, db);
	assert_int_equal(get_cert(f->store, 1).revoked_s, 0);
	assert_int_equal(get_cert(f->store, 2).revoked_s, 1800);
	assert_int_equal(get_cert(f->store, 3).revoked_s, 1750);
}

/* A request that waited through the upgrade goes on, now with a transaction. */
static void
migration_from_version_4_lets_waiting_requests_go_on(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = fixture_old(f, 4);
	struct request_row row;
	struct asset asset;
	struct sample s;

	raw_run(db, rows_of_version_4);
	fixture_reopen(f, db);
	asset = get_asset(f->store, "rtr-1");
	row = get_request(f->store, 2);
	sample_fill(&s, &asset, 9, REQUEST_ISSUED);
	memcpy(s.o.csr_sha256, row.csr_sha256, 32);
	s.o.request_id = 2;
	s.o.secret_id = 1;
	s.o.transaction = "T-1";
	assert_int_equal(record_as(f->store, &s.o, STORE_RECORDED), 2);
	row = get_request(f->store, 2);
	assert_int_equal(row.state, REQUEST_ISSUED);
	assert_string_equal(row.transaction, "T-1");
	assert_int_equal(row.secret_id, 1);
	assert_int_equal(fixture_number(f, "SELECT used_request_id FROM secret WHERE id = 1"), 2);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

/* Without the index every enrollment would read every certificate. */
static void
migration_leaves_an_index_that_finds_the_certificates_of_a_key(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = fixture_old(f, 5);
	sqlite3_stmt *st = NULL;

	fixture_reopen(f, db);
	db = fixture_raw(f);
	assert_int_equal(sqlite3_prepare_v2(db, "EXPLAIN QUERY PLAN SELECT 1 FROM certificate WHERE " CERT_OF_KEY("?1"), -1,
		&st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(st, 3), "SEARCH certificate USING INDEX certificate_key (<expr>=?)");
	assert_int_equal(sqlite3_step(st), SQLITE_DONE);
	(void)sqlite3_finalize(st);
	fixture_reopen(f, db);
}

/* Without it every certificate that a device ever had would be read and sorted to find the newest. */
static void
migration_leaves_an_index_that_finds_the_newest_certificate_of_an_asset(void **state)
{
	const struct cert_filter newest = { .asset_tag = "rtr-1", .status = CERT_VALID, .newest = true, .limit = 1 };
	struct fixture *f = *state;
	sqlite3 *db = fixture_old(f, 11);
	sqlite3_stmt *st = NULL;
	char text[2048];
	bool by_index = false;

	fixture_reopen(f, db);
	db = fixture_raw(f);
	(void)snprintf(text, sizeof text, "EXPLAIN QUERY PLAN %s", sqlite_cert_list_text(&newest));
	assert_int_equal(sqlite3_prepare_v2(db, text, -1, &st, NULL), SQLITE_OK);
	while (sqlite3_step(st) == SQLITE_ROW) {
		const char *step = (const char *)sqlite3_column_text(st, 3);

		by_index = by_index || strstr(step, "SEARCH c USING INDEX certificate_asset (asset_id=?") == step;
		assert_null(strstr(step, "ORDER BY"));
		assert_null(strstr(step, "SCAN"));
	}
	assert_true(by_index);
	(void)sqlite3_finalize(st);
	fixture_reopen(f, db);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(migration_once_released_never_changes),
		STORE_TEST(migration_is_resumed_where_it_stopped),
		STORE_TEST(migration_that_fails_halfway_is_undone),
		STORE_TEST(migration_from_version_4_keeps_every_row),
		STORE_TEST(migration_from_version_4_tells_since_when_certificates_are_held),
		STORE_TEST(migration_from_version_4_lets_waiting_requests_go_on),
		STORE_TEST(migration_leaves_an_index_that_finds_the_certificates_of_a_key),
		STORE_TEST(migration_leaves_an_index_that_finds_the_newest_certificate_of_an_asset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
