#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "gateway/store/sqlite_internal.h"
#include "tests/unit/store_fixture.h"
#include "tests/unit/store_ownership_fixture.h"

/* The file as migrations 1 to 5 made it; for fixture_reopen(). */
static sqlite3 *
fixture_of_version_5(struct fixture *f)
{
	sqlite3 *db = fixture_raw(f);

	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	for (int i = 0; i < 5; i++)
		raw_run(db, store_migrations[i]);
	return db;
}

/* Two owners, one leaving; an asset with a good, an ended and a revoked certificate; a request that waits. */
static const char rows_of_version_5[] =
	"INSERT INTO owner VALUES (1, 'Net Ops', 0, 0, 0, 'ops@example'), (2, 'Field', 1, 2, 0, '');"
	"INSERT INTO asset VALUES (1, 'rtr-1', 1, 'Acme', '', 'SN-1', '', '', '', 'a.csv', '', 3, 0, 3, 4, 1700, 1600, 0);"
	"INSERT INTO asset VALUES (2, 'rtr-2', 1, 'Acme', '', 'SN-2', '', '', '', 'a.csv', '', 7, 0, 0, 2, 1800, 1600, 0);"
	"INSERT INTO anchor VALUES (0, 'acme', 'rtr-1', 1), (0, 'acme', 'rtr-2', 2);"
	"INSERT INTO request (id, asset_id, label, csr_sha256, attempt, created_s, state, profile, spki_sha256)"
	" VALUES (1, 1, 'routers', x'01', 0, 1650, 2, 'router', zeroblob(32)),"
	" (2, 1, 'routers', x'02', 0, 1651, 2, 'router', zeroblob(32)),"
	" (3, 2, 'routers', x'03', 0, 1652, 2, 'router', zeroblob(32)),"
	" (4, 1, 'routers', zeroblob(32), 0, 1653, 0, 'router', zeroblob(32));"
	"INSERT INTO certificate (id, asset_id, request_id, ca, label, profile, serial, subject, sans, sha256,"
	" spki_sha256, not_before_s, not_after_s, status)"
	" VALUES (1, 1, 1, 'issuing', 'routers', 'router', '01', 'CN=a', '', x'01', x'01', 1, 1800009000, 0),"
	" (2, 1, 2, 'issuing', 'routers', 'router', '02', 'CN=a', '', x'02', x'02', 1, 9000, 0),"
	" (3, 2, 3, 'issuing', 'routers', 'router', '03', 'CN=b', '', x'03', x'03', 1, 1800009000, 1);"
	"UPDATE request SET cert_id = id WHERE id < 4;";

static void
migration_from_version_5_keeps_every_row(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = fixture_of_version_5(f);
	struct owner owner;

	raw_run(db, rows_of_version_5);
	fixture_reopen(f, db);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
	owner = get_owner_of(f, "rtr-1");
	assert_string_equal(owner.contact, "ops@example");
	assert_string_equal(owner.operators, "");
	assert_int_equal(owner.offboard_end_s, 0);
	assert_int_equal(get_asset(f->store, "rtr-1").version, 4);
	assert_int_equal(get_cert(f->store, 1).not_after_s, 1800009000);
	assert_false(get_request(f->store, 4).attested);
	assert_int_equal(get_request(f->store, 4).state, REQUEST_PENDING);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM anchor WHERE spki_sha256 IS NULL"), 2);
}

static void
migration_from_version_5_lets_all_of_ownership_be_used(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = fixture_of_version_5(f);
	struct exception_row row = {.asset_tag = "rtr-1", .label = "*", .waives = EXCEPTION_QUOTA, .reason = "r",
		.ticket = "t", .expires_s = NOW + DAY, .max_uses = 1};
	struct offboard_report report;
	struct asset asset;
	struct sample s;

	raw_run(db, rows_of_version_5);
	fixture_reopen(f, db);
	/* Certificates from before count in a quota. */
	assert_done(ops->quota_put(f->store, "Net Ops", "router", 1, EVE, NOW, &why));
	assert_int_equal(fixture_number(f, "SELECT used FROM quota"), 1);
	assert_done(ops->exception_request(f->store, &row, EVE, NOW, NULL, NULL, &why));
	assert_int_equal(fixture_number(f, "SELECT approvals_needed FROM exception"), 2);
	/* A request that waited through the upgrade goes on, with what it did not know then. */
	asset = get_asset(f->store, "rtr-1");
	sample_fill(&s, &asset, 9, REQUEST_ISSUED);
	memset(s.o.csr_sha256, 0, 32);
	s.o.request_id = 4;
	s.o.quota = true;
	s.o.attestation_json = "{}";
	assert_int_equal(record_as(f->store, &s.o, STORE_RECORDED), 4);
	assert_true(get_request(f->store, 4).attested);
	/* One who was leaving has no end yet; now there is one. */
	assert_done(ops->owner_offboard(f->store, "Field", NOW, "", EVE, NOW, &why));
	sweep_all(f, NOW, &report);
	assert_int_equal(report.owners, 1);
	/* An asset that was in a transfer by name only has a way out. */
	set_state(f, "rtr-2", ASSET_QUARANTINED);
	assert_int_equal(verify(f->store).bad_seq, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(migration_from_version_5_keeps_every_row),
		STORE_TEST(migration_from_version_5_lets_all_of_ownership_be_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
