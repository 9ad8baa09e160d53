/* Files of the later schemas, with rows in them, as this program takes them over. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "gateway/store/sqlite_internal.h"
#include "tests/unit/store_fixture.h"

static struct err why;

/* The file as the first migrations made it; for fixture_reopen(). */
static sqlite3 *
fixture_of_version(struct fixture *f, int version)
{
	sqlite3 *db = fixture_raw(f);

	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	for (int i = 0; i < version; i++)
		raw_run(db, store_migrations[i]);
	return db;
}

/* An asset with a good and a revoked certificate, and a request that waits; something in every table there was. */
static const char rows_of_version_8[] =
	"INSERT INTO owner VALUES (1, 'Net Ops', 0, 0, 0, '', 0, 'ann');"
	"INSERT INTO asset VALUES (1, 'rtr-1', 1, 'Acme', '', 'SN-1', '', '', '', 'a.csv', '', 3, 0, 0, 4, 1700, 1600, 0);"
	"INSERT INTO anchor VALUES (0, 'acme', 'rtr-1', 1, zeroblob(32));"
	"INSERT INTO transition VALUES (1, 1, 1700, 2, 3, 'operator:eve', '');"
	"INSERT INTO secret VALUES (1, 1, 1, '*', 'est', zeroblob(16), zeroblob(32), 1600, 0, 0, NULL);"
	"INSERT INTO request (id, asset_id, label, csr_sha256, attempt, created_s, state, profile, spki_sha256)"
	" VALUES (1, 1, 'routers', x'01', 0, 1650, 2, 'router', zeroblob(32)),"
	" (2, 1, 'routers', x'02', 0, 1651, 2, 'router', zeroblob(32)),"
	" (3, 1, 'routers', x'03', 0, 1652, 0, 'router', zeroblob(32));"
	"INSERT INTO request_csr VALUES (3, x'3000');"
	"INSERT INTO request_attestation VALUES (3, '{}');"
	"INSERT INTO challenge VALUES ('mdm', x'05', 1);"
	"INSERT INTO nonce VALUES (x'06', 1, 9000);"
	"INSERT INTO ak VALUES (x'07', 'tpm', 'ek', 1, 1, 9000);"
	"INSERT INTO policy VALUES ('v1', 1, 'text');"
	"INSERT INTO quota (owner_id, profile, most) VALUES (1, 'router', 5);"
	"INSERT INTO quota_place (asset_id, profile, owner_id, cert_until_s) VALUES (1, 'router', 1, 1800009000);"
	"INSERT INTO certificate (id, asset_id, request_id, ca, label, profile, serial, subject, sans, sha256,"
	" spki_sha256, not_before_s, not_after_s, status)"
	" VALUES (1, 1, 1, 'issuing', 'routers', 'router', '01', 'CN=a', '', zeroblob(32), zeroblob(32), 1, 1800009000, 1),"
	" (2, 1, 2, 'issuing', 'routers', 'router', '02', 'CN=a', '', zeroblob(32), zeroblob(32), 1, 1800009000, 0);"
	"INSERT INTO certificate_der VALUES (2, x'3001');"
	"UPDATE request SET cert_id = id WHERE id < 3;";

/* Beside them an intent that waits, one that is done, and a revocation that a CA has to be told. */
static const char rows_of_version_9[] =
	"INSERT INTO intent (id, request_id, number, ca, ca_request_id, state, spec_json, spki, key_kind, created_s, updated_s,"
	" next_try_s, tries, reference, certificate_id)"
	" VALUES (1, 2, 0, 'vault', 'gw-2-0', 4, '{}', x'30', 1, 1651, 1660, 0, 3, 'ref', 2),"
	" (2, 3, 0, 'vault', 'gw-3-0', 2, '{}', x'30', 1, 1652, 1661, 1700, 1, '', NULL);"
	"INSERT INTO ca_revocation (id, ca, serial, reason, created_s, next_try_s) VALUES (1, 'vault', '0a', 'lost', 1662, 1700);";

static void
expect_sound(struct fixture *f)
{
	struct request_row request;

	assert_int_equal(fixture_number(f, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
	assert_int_equal(fixture_number(f, "SELECT user_version FROM pragma_user_version"), 12);
	assert_int_equal(get_asset(f->store, "rtr-1").version, 4);
	assert_int_equal(get_cert(f->store, 1).status, CERT_REVOKED);
	assert_int_equal(get_cert(f->store, 2).not_after_s, 1800009000);
	request = get_request(f->store, 3);
	assert_int_equal(request.state, REQUEST_PENDING);
	assert_true(request.attested);
	assert_int_equal(fixture_number(f, "SELECT used FROM quota"), 1);
	assert_int_equal(fixture_number(f, "SELECT (SELECT count(*) FROM nonce) + (SELECT count(*) FROM ak)"
		" + (SELECT count(*) FROM challenge) + (SELECT count(*) FROM policy) + (SELECT count(*) FROM secret)"
		" + (SELECT count(*) FROM transition) + (SELECT count(*) FROM certificate_der)"), 7);
}

/* What a rollover needs works with certificates from before it could be seen. */
static void
expect_rollover(struct fixture *f)
{
	static const uint8_t top[1][32] = {{7}};
	struct rollover_bundle bundle = {.ca = "issuing", .sha256 = {9}, .certs = top, .cert_count = 1};
	struct rollover_given given = {.asset_id = 1, .ca = "issuing", .sha256 = {9}, .now_s = NOW};
	struct rollover_generation at = {.ca = "issuing", .top = {7}};
	struct store_read *read;
	int64_t devices = 0;
	bool recorded = false;

	assert_int_equal(ops->rollover->enter(f->store, &bundle, 1, NOW, &why), 0);
	assert_int_equal(ops->rollover->give(f->store, &given, &recorded, &why), 0);
	assert_true(recorded);
	read = begin(f->store);
	assert_int_equal(ops->rollover->count(read, &at, 1, NOW, &devices, &why), 0);
	ops->read_end(read);
	assert_int_equal(devices, 1);
	assert_int_equal(at.certificates, 1);
	assert_int_equal(at.know, 1);
	assert_int_equal(verify(f->store).bad_seq, 0);
}

static void
migration_from_version_8_keeps_every_row(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = fixture_of_version(f, 8);

	raw_run(db, rows_of_version_8);
	fixture_reopen(f, db);
	expect_sound(f);
	expect_rollover(f);
}

/* A certificate from before CAs elsewhere were known has no such CA to be told. */
static void
migration_from_version_8_lets_intents_and_revocations_be_used(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = fixture_of_version(f, 8);
	struct intent_new intent = {.ca = "vault", .spec_json = "{}", .spki = bytes_of("0", 1), .key_kind = 1};
	struct intent_row row;
	struct store_read *read;
	struct asset asset;
	struct sample s;

	raw_run(db, rows_of_version_8);
	fixture_reopen(f, db);
	asset = get_asset(f->store, "rtr-1");
	sample_fill(&s, &asset, 9, REQUEST_PENDING);
	s.o.intent = &intent;
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	read = begin(f->store);
	assert_int_equal(ops->intents->by_id(read, 1, &row, NULL, NULL, &why), 1);
	ops->read_end(read);
	assert_int_equal(row.state, INTENT_OPEN);
	assert_int_equal(ops->cert_revoke(f->store, 2, "lost", "operator:eve", NOW, &why), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM ca_revocation"), 0);
}

static void
migration_from_version_9_keeps_every_row(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = fixture_of_version(f, 9);
	struct intent_counts counts;
	struct store_read *read;
	struct intent_row row;

	raw_run(db, rows_of_version_8);
	raw_run(db, rows_of_version_9);
	fixture_reopen(f, db);
	expect_sound(f);
	read = begin(f->store);
	assert_int_equal(ops->intents->by_id(read, 1, &row, NULL, NULL, &why), 1);
	assert_int_equal(row.state, INTENT_DONE);
	assert_int_equal(row.cert_id, 2);
	assert_int_equal(row.tries, 3);
	assert_string_equal(row.reference, "ref");
	assert_int_equal(ops->intents->counts(read, "vault", &counts, &why), 0);
	ops->read_end(read);
	assert_int_equal(counts.in_state[INTENT_WAITING], 1);
	assert_int_equal(counts.revocations, 1);
	expect_rollover(f);
}

/* What is revoked from now on still reaches the CA that issued it. */
static void
migration_from_version_9_goes_on_telling_revocations(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = fixture_of_version(f, 9);

	raw_run(db, rows_of_version_8);
	raw_run(db, rows_of_version_9);
	fixture_reopen(f, db);
	assert_int_equal(ops->cert_revoke(f->store, 2, "lost", "operator:eve", NOW, &why), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM ca_revocation WHERE certificate_id = 2 AND state = 0"), 1);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(migration_from_version_8_keeps_every_row),
		STORE_TEST(migration_from_version_8_lets_intents_and_revocations_be_used),
		STORE_TEST(migration_from_version_9_keeps_every_row),
		STORE_TEST(migration_from_version_9_goes_on_telling_revocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
