#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"

#define ROWS 6

/* A chain of rows 1 to ROWS, and the file in a plain connection without the guards. */
static sqlite3 *
chain_in_raw_hands(struct fixture *f)
{
	char subject[24];
	struct err e;
	sqlite3 *db;

	for (int i = 1; i <= ROWS; i++) {
		(void)snprintf(subject, sizeof subject, "thing-%d", i);
		assert_int_equal(ops->audit(f->store, NOW + i, "operator:eve", "test", subject, "{\"a\":1}", &e), 0);
	}
	db = fixture_raw(f);
	raw_run(db, "DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete");
	return db;
}

static void
expect_bad(struct fixture *f, sqlite3 *db, int64_t seq, const char *problem)
{
	struct audit_report report;

	fixture_reopen(f, db);
	report = verify(f->store);
	assert_int_equal(report.bad_seq, seq);
	if (strstr(report.problem, problem) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", report.problem, problem);
}

static void
audit_chain_holds_as_written(void **state)
{
	struct fixture *f = *state;
	struct audit_report report;

	fixture_reopen(f, chain_in_raw_hands(f));
	report = verify(f->store);
	assert_int_equal(report.bad_seq, 0);
	assert_int_equal(report.rows, ROWS);
	assert_string_equal(report.problem, "");
}

static void
audit_chain_of_no_rows_holds(void **state)
{
	struct fixture *f = *state;
	uint8_t zero[32] = {0};
	struct audit_report report = verify(f->store);

	assert_int_equal(report.bad_seq, 0);
	assert_int_equal(report.rows, 0);
	assert_memory_equal(report.head, zero, 32);
}

/* The encoding is a promise to other verifiers: this is the one in README.md, written out. */
static void
audit_chain_encodes_as_documented(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf) struct buf b = {0};
	uint8_t hash[32];
	struct err e;

	assert_int_equal(ops->audit(f->store, 258, "ab", "c", "", "{}", &e), 0);
	for (int i = 0; i < 32; i++)
		buf_append_u8(&b, 0);
	buf_append(&b, "\0\0\0\x08\0\0\0\0\0\0\0\x01", 12);
	buf_append(&b, "\0\0\0\x08\0\0\0\0\0\0\x01\x02", 12);
	buf_append(&b, "\0\0\0\x02" "ab", 6);
	buf_append(&b, "\0\0\0\x01" "c", 5);
	buf_append(&b, "\0\0\0\0", 4);
	buf_append(&b, "\0\0\0\x02{}", 6);
	assert_int_equal(sha256(buf_bytes(&b), hash, &e), 0);
	assert_memory_equal(verify(f->store).head, hash, 32);
}

static void
audit_finds_every_edited_column(void **state)
{
	static const char *const edits[] = {
		"UPDATE audit SET at_s = at_s + 1 WHERE seq = 3",
		"UPDATE audit SET actor = 'operator:eva' WHERE seq = 3",
		"UPDATE audit SET action = 'tess' WHERE seq = 3",
		"UPDATE audit SET subject = 'thing-4' WHERE seq = 3",
		"UPDATE audit SET detail_json = '{\"a\":2}' WHERE seq = 3",
		"UPDATE audit SET prev = zeroblob(32) WHERE seq = 3",
		"UPDATE audit SET hash = zeroblob(32) WHERE seq = 3",
		"UPDATE audit SET hash = x'00' WHERE seq = 3",
		/* Octets moved from one column to its neighbour. */
		"UPDATE audit SET action = 'tes', subject = 'tthing-3' WHERE seq = 3",
		"UPDATE audit SET detail_json = detail_json || printf('%0100000d', 0) WHERE seq = 3",
	};
	struct fixture *f = *state;
	sqlite3 *db = chain_in_raw_hands(f);

	for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
		raw_run(db, "CREATE TABLE kept AS SELECT * FROM audit WHERE seq = 3");
		raw_run(db, edits[i]);
		expect_bad(f, db, 3, "row 3 was edited");
		db = fixture_raw(f);
		raw_run(db, "DELETE FROM audit WHERE seq = 3; INSERT INTO audit SELECT * FROM kept; DROP TABLE kept");
	}
	fixture_reopen(f, db);
	assert_int_equal(verify(f->store).bad_seq, 0);
}

static void
audit_finds_a_row_removed_from_the_middle(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = chain_in_raw_hands(f);

	raw_run(db, "DELETE FROM audit WHERE seq = 3");
	expect_bad(f, db, 3, "row 3 is missing");
}

static void
audit_finds_a_removed_row_whose_gap_was_closed(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = chain_in_raw_hands(f);

	raw_run(db, "DELETE FROM audit WHERE seq = 3; UPDATE audit SET seq = -(seq - 1) WHERE seq > 3;"
		    "UPDATE audit SET seq = -seq WHERE seq < 0");
	expect_bad(f, db, 3, "row 3 was edited"); /* its number is part of its hash */
}

static void
audit_finds_the_first_row_removed(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = chain_in_raw_hands(f);

	raw_run(db, "DELETE FROM audit WHERE seq = 1");
	expect_bad(f, db, 1, "row 1 is missing");
}

static void
audit_finds_the_last_row_removed(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = chain_in_raw_hands(f);

	raw_run(db, "DELETE FROM audit WHERE seq = 6");
	expect_bad(f, db, 6, "row 6 is missing");
}

static void
audit_finds_all_rows_removed(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = chain_in_raw_hands(f);

	raw_run(db, "DELETE FROM audit");
	expect_bad(f, db, 1, "row 1 is missing");
}

static void
audit_finds_a_row_put_in_after_the_end(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = chain_in_raw_hands(f);

	raw_run(db, "INSERT INTO audit SELECT 7, at_s, actor, action, subject, detail_json, hash, zeroblob(32)"
		    " FROM audit WHERE seq = 6");
	expect_bad(f, db, 7, "row 7 was edited");
}

/* A row with a right hash, computed by the intruder, but unknown to the head. */
static void
audit_finds_a_well_made_row_after_the_end(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = chain_in_raw_hands(f);

	raw_run(db, "UPDATE audit_head SET seq = 5, hash = (SELECT hash FROM audit WHERE seq = 5)");
	expect_bad(f, db, 6, "row 6 was put in");
}

static void
audit_finds_a_row_put_in_before_the_first(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = chain_in_raw_hands(f);

	raw_run(db, "INSERT INTO audit SELECT 0, at_s, actor, action, subject, detail_json, prev, hash"
		    " FROM audit WHERE seq = 1");
	expect_bad(f, db, 1, "row 0 was put in");
}

static void
audit_finds_two_rows_that_changed_places(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = chain_in_raw_hands(f);

	raw_run(db, "UPDATE audit SET seq = -3 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 4;"
		    "UPDATE audit SET seq = 4 WHERE seq = -3");
	expect_bad(f, db, 3, "row 3 was edited");
}

/* Row 3 as another gateway with the same number wrote it: right in itself, but not here. */
static void
audit_finds_a_row_of_another_chain(void **state)
{
	struct fixture *f = *state, *other;
	void *other_state = NULL;
	char attach[160];
	struct err e;
	sqlite3 *db;

	assert_int_equal(fixture_setup(&other_state), 0);
	other = other_state;
	if (other == NULL)
		return;
	assert_int_equal(ops->audit(other->store, 1, "a", "b", "c", "{}", &e), 0);
	assert_int_equal(sqlite3_close(chain_in_raw_hands(other)), SQLITE_OK);
	db = chain_in_raw_hands(f);
	(void)snprintf(attach, sizeof attach, "ATTACH '%s' AS other", other->path);
	raw_run(db, attach);
	raw_run(db, "DELETE FROM audit WHERE seq = 3; INSERT INTO audit SELECT * FROM other.audit WHERE seq = 3");
	expect_bad(f, db, 3, "row 3 does not follow");
	other->store = fixture_open(other->path, false);
	(void)fixture_teardown(&other_state);
}

static void
audit_finds_a_head_that_was_changed_or_lost(void **state)
{
	struct fixture *f = *state;
	struct err e;
	sqlite3 *db = chain_in_raw_hands(f);

	raw_run(db, "UPDATE audit_head SET hash = zeroblob(32)");
	expect_bad(f, db, ROWS, "is not the one the chain's head names");
	db = fixture_raw(f);
	raw_run(db, "DELETE FROM audit_head");
	expect_bad(f, db, 1, "head is missing");
	assert_int_equal(ops->audit(f->store, NOW, "a", "b", "c", "{}", &e), -1);
	assert_int_equal(e.code, ERR_UPSTREAM);
}

static void
audit_rows_and_decisions_refuse_accidents(void **state)
{
	static const char *const accidents[] = {
		"DELETE FROM audit",
		"UPDATE audit SET actor = ''",
		"DELETE FROM decision",
		"UPDATE decision SET outcome = ''",
	};
	struct fixture *f = *state;
	struct sample s;
	sqlite3 *db;

	sample_fill(&s, NULL, 1, REQUEST_DENIED);
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	db = fixture_raw(f);
	for (size_t i = 0; i < sizeof accidents / sizeof accidents[0]; i++)
		assert_int_equal(sqlite3_exec(db, accidents[i], NULL, NULL, NULL), SQLITE_CONSTRAINT);
	fixture_reopen(f, db);
}

static bool
collect(void *arg, const struct audit_row *row)
{
	char *text = arg;

	(void)snprintf(text + strlen(text), 64 - strlen(text), "%lld:%s ", (long long)row->seq, row->subject);
	return row->seq != 5;
}

static void
audit_list_pages_and_gives_the_newest(void **state)
{
	struct fixture *f = *state;
	char text[64] = "";
	struct store_read *read;
	struct err e;

	fixture_reopen(f, chain_in_raw_hands(f));
	read = begin(f->store);
	assert_int_equal(ops->audit_list(read, 1, 2, false, collect, text, &e), 0);
	assert_string_equal(text, "2:thing-2 3:thing-3 ");
	text[0] = '\0';
	assert_int_equal(ops->audit_list(read, 0, 3, true, collect, text, &e), 0);
	assert_string_equal(text, "4:thing-4 5:thing-5 "); /* the callback stopped it */
	text[0] = '\0';
	assert_int_equal(ops->audit_list(read, 5, 3, true, collect, text, &e), 0);
	assert_string_equal(text, "6:thing-6 ");
	ops->read_end(read);
}

static bool
same_detail(void *arg, const struct audit_row *row)
{
	assert_string_equal(row->detail_json, arg);
	return true;
}

static void
audit_details_escape_what_devices_send(void **state)
{
	struct fixture *f = *state;
	char expected[] = "{\"decision\":1,\"reason\":\"asset.state\",\"sentence\":\"a \\\"quoted\\\" \\\\ sentence\","
			  "\"protocol\":\"est\",\"operation\":\"simpleenroll\",\"label\":\"\\u000a\","
			  "\"peer\":\"192.0.2.7\",\"proof\":\"\\u00ff\","
			  "\"csr_sha256\":\"0000000000000000000000000000000000000000000000000000000000000000\","
			  "\"alert\":1}";
	struct store_read *read;
	struct sample s;
	struct err e;

	sample_fill(&s, NULL, 1, REQUEST_DENIED);
	memset(s.o.csr_sha256, 0, 32);
	s.o.sentence = "a \"quoted\" \\ sentence";
	s.o.label = "\n";
	s.o.proof = "\xff";
	s.o.alert = true;
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	read = begin(f->store);
	assert_int_equal(ops->audit_list(read, 0, 1, false, same_detail, expected, &e), 0);
	ops->read_end(read);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(audit_chain_holds_as_written),
		STORE_TEST(audit_chain_of_no_rows_holds),
		STORE_TEST(audit_chain_encodes_as_documented),
		STORE_TEST(audit_finds_every_edited_column),
		STORE_TEST(audit_finds_a_row_removed_from_the_middle),
		STORE_TEST(audit_finds_a_removed_row_whose_gap_was_closed),
		STORE_TEST(audit_finds_the_first_row_removed),
		STORE_TEST(audit_finds_the_last_row_removed),
		STORE_TEST(audit_finds_all_rows_removed),
		STORE_TEST(audit_finds_a_row_put_in_after_the_end),
		STORE_TEST(audit_finds_a_well_made_row_after_the_end),
		STORE_TEST(audit_finds_a_row_put_in_before_the_first),
		STORE_TEST(audit_finds_two_rows_that_changed_places),
		STORE_TEST(audit_finds_a_row_of_another_chain),
		STORE_TEST(audit_finds_a_head_that_was_changed_or_lost),
		STORE_TEST(audit_rows_and_decisions_refuse_accidents),
		STORE_TEST(audit_list_pages_and_gives_the_newest),
		STORE_TEST(audit_details_escape_what_devices_send),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
