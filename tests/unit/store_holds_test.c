/* What a CA elsewhere has to hear of a certificate: holds, their ends, revocations, and what comes of them when more than one follows. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/store_holds.h"

static void
store_holds_and_releases_are_told_in_turn(void **state)
{
	struct fixture *f = *state;

	expect_nothing_due(f);
	become(f, ASSET_QUARANTINED);
	assert_int_equal(counts(f).holds, 1);
	assert_int_equal(counts(f).revocations, 0);
	tell(f, UPSTREAM_HELD);
	expect_nothing_due(f);
	assert_int_equal(counts(f).holds, 0);
	become(f, ASSET_STAGED);
	assert_int_equal(counts(f).releases, 1);
	assert_int_equal(due(f).told, UPSTREAM_HELD);
	tell(f, UPSTREAM_GOOD);
	expect_nothing_due(f);
	become(f, ASSET_QUARANTINED);
	tell(f, UPSTREAM_HELD);
	assert_int_equal(audits(f, "action = 'ca.held' AND subject = '0100000001' AND detail_json ->> 'ca' = 'issuing'"), 2);
	assert_int_equal(audits(f, "action = 'ca.released'"), 1);
	assert_int_equal(audits(f, "action = 'ca.revoked'"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM ca_revocation"), 1);
}

static void
store_hold_that_ended_before_it_was_told_is_not_told(void **state)
{
	struct fixture *f = *state;

	become(f, ASSET_QUARANTINED);
	become(f, ASSET_STAGED);
	expect_nothing_due(f);
	assert_int_equal(counts(f).releases, 0);
	assert_int_equal(audits(f, "action LIKE 'ca.%'"), 0);
}

static void
store_hold_that_was_refused_and_ended_is_not_told(void **state)
{
	struct fixture *f = *state;
	struct revocation_row row;

	become(f, ASSET_QUARANTINED);
	row = due(f);
	assert_true(begin_to_tell(f, &row));
	end_telling(f, &row, REVOCATION_LATER, UPSTREAM_GOOD);
	expect_nothing_due(f); /* not before its time */
	assert_int_equal(counts(f).holds, 1);
	become(f, ASSET_STAGED);
	expect_nothing_due(f);
	assert_int_equal(counts(f).releases, 0);
}

/* A crash, or no answer: it may have arrived. */
static void
store_hold_that_may_have_been_told_is_released(void **state)
{
	struct fixture *f = *state;
	struct revocation_row row;

	become(f, ASSET_QUARANTINED);
	row = due(f);
	assert_true(begin_to_tell(f, &row));
	fixture_reopen(f, NULL);
	become(f, ASSET_STAGED);
	assert_int_equal(due(f).told, UPSTREAM_UNSURE);
	tell(f, UPSTREAM_GOOD);
	expect_nothing_due(f);
}

static void
store_release_that_may_have_been_told_is_held_again(void **state)
{
	struct fixture *f = *state;
	struct revocation_row row;

	become(f, ASSET_QUARANTINED);
	tell(f, UPSTREAM_HELD);
	become(f, ASSET_STAGED);
	row = due(f);
	assert_true(begin_to_tell(f, &row));
	end_telling(f, &row, REVOCATION_LATER, UPSTREAM_UNSURE);
	become(f, ASSET_QUARANTINED);
	tell(f, UPSTREAM_HELD);
	expect_nothing_due(f);
}

static void
store_hold_that_ended_during_the_call_is_released_after_it(void **state)
{
	struct fixture *f = *state;
	struct revocation_row row;

	become(f, ASSET_QUARANTINED);
	row = due(f);
	assert_true(begin_to_tell(f, &row));
	become(f, ASSET_STAGED);
	end_telling(f, &row, REVOCATION_DONE, UPSTREAM_GOOD);
	assert_int_equal(due(f).told, UPSTREAM_HELD);
	assert_int_equal(due(f).tries, 0);
	tell(f, UPSTREAM_GOOD);
	/* On and off again during one call: what it told is what is wanted. */
	become(f, ASSET_QUARANTINED);
	row = due(f);
	assert_true(begin_to_tell(f, &row));
	become(f, ASSET_STAGED);
	become(f, ASSET_QUARANTINED);
	end_telling(f, &row, REVOCATION_DONE, UPSTREAM_GOOD);
	expect_nothing_due(f);
}

static void
store_what_is_not_wanted_any_more_is_not_begun(void **state)
{
	struct fixture *f = *state;
	struct revocation_row row;

	become(f, ASSET_QUARANTINED);
	row = due(f);
	become(f, ASSET_STAGED);
	assert_false(begin_to_tell(f, &row));
	become(f, ASSET_QUARANTINED);
	become(f, ASSET_STOLEN);
	assert_false(begin_to_tell(f, &row));
}

static void
store_hold_is_overtaken_by_a_revocation(void **state)
{
	struct fixture *f = *state;
	struct revocation_row row;

	become(f, ASSET_QUARANTINED);
	row = due(f);
	assert_true(begin_to_tell(f, &row));
	end_telling(f, &row, REVOCATION_LATER, UPSTREAM_UNSURE);
	become(f, ASSET_STOLEN);
	row = due(f);
	assert_int_equal(row.wanted, UPSTREAM_REVOKED);
	assert_string_equal(row.reason, "stolen");
	assert_int_equal(counts(f).revocations, 1);
	assert_int_equal(counts(f).holds, 0);
	tell(f, UPSTREAM_REVOKED);
	expect_nothing_due(f);
	assert_int_equal(audits(f, "action = 'ca.revoked'"), 1);
	assert_int_equal(audits(f, "action = 'ca.held'"), 0);
}

static void
store_hold_that_was_told_is_revoked_for_good(void **state)
{
	struct fixture *f = *state;

	become(f, ASSET_QUARANTINED);
	tell(f, UPSTREAM_HELD);
	become(f, ASSET_STOLEN);
	assert_int_equal(due(f).told, UPSTREAM_HELD);
	tell(f, UPSTREAM_REVOKED);
	expect_nothing_due(f);
	assert_int_equal(fixture_number(f, "SELECT told FROM ca_revocation"), UPSTREAM_REVOKED);
}

/* Whatever a later hand writes into the certificate's row. */
static void
store_revocation_is_final(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db;

	become(f, ASSET_QUARANTINED);
	become(f, ASSET_STOLEN);
	tell(f, UPSTREAM_REVOKED);
	db = fixture_raw(f);
	raw_run(db, "UPDATE certificate SET status = 0");
	raw_run(db, "UPDATE certificate SET status = 2");
	fixture_reopen(f, db);
	expect_nothing_due(f);
	assert_int_equal(fixture_number(f, "SELECT wanted FROM ca_revocation"), UPSTREAM_REVOKED);
}

static void
store_hold_that_is_impossible_is_said_once_and_does_not_stop_a_revocation(void **state)
{
	struct fixture *f = *state;
	struct revocation_row row;

	become(f, ASSET_QUARANTINED);
	row = due(f);
	end_telling(f, &row, REVOCATION_IMPOSSIBLE, row.told);
	end_telling(f, &row, REVOCATION_IMPOSSIBLE, row.told);
	expect_nothing_due(f);
	assert_int_equal(audits(f, "action = 'ca.hold_impossible' AND detail_json ->> 'alert' = 1 AND detail_json ->> 'reason' = 'why'"), 1);
	assert_int_equal(counts(f).unheld, 1);
	assert_int_equal(counts(f).holds, 0);
	become(f, ASSET_STAGED);
	expect_nothing_due(f);
	assert_int_equal(counts(f).unheld, 0);
	become(f, ASSET_QUARANTINED);
	row = due(f);
	end_telling(f, &row, REVOCATION_IMPOSSIBLE, row.told);
	become(f, ASSET_STOLEN);
	tell(f, UPSTREAM_REVOKED);
	assert_int_equal(counts(f).unheld, 0);
}

static void
store_holds_of_the_built_in_ca_are_nobodys_to_hear(void **state)
{
	struct fixture *f = *state;
	struct asset asset = get_asset(f->store, "rtr-1");
	struct sample s;

	sample_fill(&s, &asset, 2, REQUEST_ISSUED);
	record_as(f->store, &s.o, STORE_RECORDED);
	become(f, ASSET_QUARANTINED);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate WHERE status = 2"), 2);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM ca_revocation"), 1);
}

/* --- migration 10 -> 11 --- */

/* Certificates of CAs elsewhere, as they stand: one on hold, one good, one that is revoked; and one on hold of our own CA. */
static const char rows_of_version_10[] =
	"INSERT INTO owner (id, name, kind, status, contract_end_s, contact) VALUES (1, 'Net Ops', 0, 0, 0, '');"
	"INSERT INTO asset VALUES (1, 'rtr-1', 1, 'Acme', '', 'SN-1', '', '', '', 'a.csv', '', 6, 0, 0, 4, 1700, 1600, 1);"
	"INSERT INTO request (id, asset_id, label, csr_sha256, attempt, created_s, state, profile, spki_sha256)"
	" VALUES (1, 1, 'routers', x'01', 0, 1650, 2, 'router', zeroblob(32)),"
	" (2, 1, 'routers', x'02', 0, 1651, 2, 'router', zeroblob(32)), (3, 1, 'routers', x'03', 0, 1652, 2, 'router', zeroblob(32)),"
	" (4, 1, 'routers', x'04', 0, 1653, 2, 'router', zeroblob(32));"
	"INSERT INTO certificate (id, asset_id, request_id, ca, label, profile, serial, subject, sans, sha256,"
	" spki_sha256, not_before_s, not_after_s, status, revoked_s, revoke_reason)"
	" VALUES (1, 1, 1, 'issuing', 'routers', 'router', '01', 'CN=a', '', zeroblob(32), zeroblob(32), 1, 1800009000, 2, 1700, ''),"
	" (2, 1, 2, 'issuing', 'routers', 'router', '02', 'CN=a', '', zeroblob(32), zeroblob(32), 1, 1800009000, 0, 0, ''),"
	" (3, 1, 3, 'issuing', 'routers', 'router', '03', 'CN=a', '', zeroblob(32), zeroblob(32), 1, 1800009000, 1, 1700, 'lost'),"
	" (4, 1, 4, 'own', 'routers', 'router', '04', 'CN=a', '', zeroblob(32), zeroblob(32), 1, 1800009000, 2, 1700, '');"
	"INSERT INTO certificate_der VALUES (1, x'3001'), (2, x'3002'), (3, x'3003'), (4, x'3004');"
	"UPDATE request SET cert_id = id;"
	"INSERT INTO intent (id, request_id, number, ca, ca_request_id, state, spec_json, spki, key_kind, created_s, updated_s,"
	" next_try_s, certificate_id) VALUES (1, 1, 0, 'issuing', 'gw-1-0', 4, '{}', x'30', 1, 1651, 1660, 0, 1),"
	" (2, 2, 0, 'issuing', 'gw-2-0', 4, '{}', x'30', 1, 1651, 1660, 0, 2),"
	" (3, 3, 0, 'issuing', 'gw-3-0', 4, '{}', x'30', 1, 1651, 1660, 0, 3);"
	"INSERT INTO ca_revocation (id, ca, serial, reason, certificate_id, cert, state, created_s, next_try_s, tries, error)"
	" VALUES (5, 'issuing', '03', 'lost', 3, NULL, 0, 1700, 1800, 4, 'down'),"
	" (6, 'issuing', '0a', 'quarantined', NULL, x'3005', 1, 1701, 0, 1, ''),"
	" (7, 'issuing', '0b', 'quarantined', NULL, x'3006', 2, 1702, 0, 1, 'no such call');";

static void
open_version_10(struct fixture *f)
{
	sqlite3 *db = fixture_raw(f);

	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	for (int i = 0; i < 10; i++)
		raw_run(db, store_migrations[i]);
	raw_run(db, rows_of_version_10);
	fixture_reopen(f, db);
}

static void
migration_from_version_10_keeps_what_was_told_and_what_waits(void **state)
{
	struct fixture *f = *state;

	open_version_10(f);
	assert_int_equal(fixture_number(f, "SELECT user_version FROM pragma_user_version"), 12);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM ca_revocation WHERE id = 5 AND serial = '03' AND reason = 'lost'"
		" AND certificate_id = 3 AND state = 0 AND next_try_s = 1800 AND tries = 4 AND error = 'down' AND wanted = 1 AND told = 0"), 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM ca_revocation WHERE id = 6 AND cert = x'3005' AND state = 1"
		" AND wanted = 1 AND told = 1"), 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM ca_revocation WHERE id = 7 AND state = 2 AND error = 'no such call'"
		" AND wanted = 1 AND told = 0"), 1);
}

static void
migration_from_version_10_tells_what_is_on_hold_already(void **state)
{
	struct fixture *f = *state;

	open_version_10(f);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM ca_revocation"), 4);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM ca_revocation WHERE serial = '01' AND certificate_id = 1"
		" AND wanted = 2 AND told = 0 AND state = 0"), 1);
	assert_int_equal(counts(f).holds, 1);
	assert_int_equal(counts(f).revocations, 1);
	become(f, ASSET_STAGED);
	assert_int_equal(counts(f).holds, 0);
	become(f, ASSET_STOLEN);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM ca_revocation WHERE state = 0 AND wanted = 1"), 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(store_holds_and_releases_are_told_in_turn),
		TEST(store_hold_that_ended_before_it_was_told_is_not_told),
		TEST(store_hold_that_was_refused_and_ended_is_not_told),
		TEST(store_hold_that_may_have_been_told_is_released),
		TEST(store_release_that_may_have_been_told_is_held_again),
		TEST(store_hold_that_ended_during_the_call_is_released_after_it),
		TEST(store_what_is_not_wanted_any_more_is_not_begun),
		TEST(store_hold_is_overtaken_by_a_revocation),
		TEST(store_hold_that_was_told_is_revoked_for_good),
		TEST(store_revocation_is_final),
		TEST(store_hold_that_is_impossible_is_said_once_and_does_not_stop_a_revocation),
		TEST(store_holds_of_the_built_in_ca_are_nobodys_to_hear),
		TEST(migration_from_version_10_keeps_what_was_told_and_what_waits),
		TEST(migration_from_version_10_tells_what_is_on_hold_already),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
