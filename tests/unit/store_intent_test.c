/* Intents, and the queue of revocations, by the store's own operations. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"

static const struct intent_ops *intents;

static int
setup(void **state)
{
	intents = ops->intents;
	return fixture_setup(state);
}

static const uint8_t spki[] = "a key";

/* A request of this number that waits for a CA; the intent's id. */
static int64_t
make(struct fixture *f, const struct asset *asset, unsigned number, const char *ca, const char *instead_of)
{
	struct intent_new intent = {.ca = ca, .instead_of = instead_of, .spec_json = "{\"v\":1}", .spki = {spki, sizeof spki},
		.key_kind = 2};
	struct store_read *read;
	struct intent_row row;
	struct sample s;
	struct err e = {0};
	int64_t request;

	sample_fill(&s, asset, number, REQUEST_PENDING);
	s.o.intent = &intent;
	request = record_as(f->store, &s.o, STORE_RECORDED);
	read = begin(f->store);
	assert_int_equal(intents->of_request(read, request, &row, &e), 1);
	ops->read_end(read);
	return row.id;
}

static struct intent_row
get(struct fixture *f, int64_t id)
{
	struct store_read *read = begin(f->store);
	struct intent_row row;
	struct err e = {0};

	if (intents->by_id(read, id, &row, NULL, NULL, &e) != 1)
		fail_msg("no intent: %s", e.text);
	ops->read_end(read);
	return row;
}

static bool
step(struct fixture *f, int64_t id, const char *ca, enum intent_state from, enum intent_state to)
{
	struct intent_step s = {.id = id, .ca = ca, .from = from, .to = to, .called = to == INTENT_SENT, .now_s = NOW + 5,
		.next_try_s = NOW + 9, .error = "why", .reference = to == INTENT_UNKNOWN ? "ref-1" : NULL};
	struct err e = {0};
	bool done = false;

	if (intents->step(f->store, &s, &done, &e) != 0)
		fail_msg("step: %s", e.text);
	return done;
}

static bool
end(struct fixture *f, int64_t id, enum intent_state to, const char *serial, const char *cert, const char *ca)
{
	struct intent_end s = {.id = id, .to = to, .reason = "ca.test", .sentence = "a sentence", .policy_version = "v1",
		.audit = "ca.ended", .serial = serial, .cert = cert == NULL ? (struct bytes){0} : bytes_of_text(cert), .ca = ca,
		.now_s = NOW + 7};
	struct err e = {0};
	bool done = false;

	if (intents->end(f->store, &s, &done, &e) != 0)
		fail_msg("end: %s", e.text);
	return done;
}

static size_t
move(struct fixture *f, const char *from, struct intent_moved *list, size_t count)
{
	struct intent_move m = {.from = from, .list = list, .count = count, .why = "it is down", .now_s = NOW + 3};
	struct err e = {0};
	size_t moved = 99;

	if (intents->move(f->store, &m, &moved, &e) != 0)
		fail_msg("move: %s", e.text);
	return moved;
}

static int64_t
audits(struct fixture *f, const char *where)
{
	char sql[320];

	(void)snprintf(sql, sizeof sql, "SELECT count(*) FROM audit WHERE %s", where);
	return fixture_number(f, sql);
}

static void
store_intent_tells_what_it_was_made_for(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct buf spec = {0}, key = {0};
	struct store_read *read;
	struct intent_row row;
	struct err e = {0};
	int64_t id = make(f, &asset, 1, "north", NULL);

	read = begin(f->store);
	assert_int_equal(intents->by_id(read, id, &row, &spec, &key, &e), 1);
	assert_string_equal(row.ca, "north");
	assert_string_equal(row.label, "routers");
	assert_string_equal(row.asset_tag, "rtr-1");
	assert_memory_equal(row.ca_request_id, "gw-1-0-", 7);
	assert_int_equal(row.state, INTENT_OPEN);
	assert_int_equal(row.next_try_s, NOW);
	assert_int_equal(row.key_kind, 2);
	assert_string_equal(buf_text(&spec), "{\"v\":1}");
	assert_memory_equal(key.at, spki, sizeof spki);
	assert_int_equal(intents->of_request(read, id, &row, &e), 1);
	assert_int_equal(intents->of_request(read, id + 1, &row, &e), 0);
	ops->read_end(read);
	assert_int_equal(audits(f, "action = 'ca.failover'"), 0);
	buf_free(&spec);
	buf_free(&key);
}

static void
store_intent_made_for_another_ca_than_the_labels_says_so(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");

	make(f, &asset, 1, "south", "north");
	assert_int_equal(audits(f, "action = 'ca.failover' AND actor = 'enrolld' AND subject = 'rtr-1'"
		" AND detail_json ->> 'from' = 'north' AND detail_json ->> 'to' = 'south' AND detail_json ->> 'intent' = 1"
		" AND detail_json ->> 'request' = 1 AND detail_json ->> 'ca_request' LIKE 'gw-1-0-%'"), 1);
	assert_int_equal(verify(f->store).bad_seq, 0);
}

static void
store_intent_step_is_taken_from_the_state_and_the_ca_it_was_seen_in_only(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	int64_t id = make(f, &asset, 1, "north", NULL);
	struct intent_row row;

	assert_false(step(f, id, "north", INTENT_SENT, INTENT_UNKNOWN));
	assert_false(step(f, id, "south", INTENT_OPEN, INTENT_SENT));
	assert_int_equal(get(f, id).tries, 0);
	assert_true(step(f, id, "north", INTENT_OPEN, INTENT_SENT));
	assert_true(step(f, id, NULL, INTENT_SENT, INTENT_UNKNOWN));
	row = get(f, id);
	assert_int_equal(row.tries, 1);
	assert_string_equal(row.reference, "ref-1");
	assert_string_equal(row.error, "why");
	assert_int_equal(row.updated_s, NOW + 5);
}

static void
store_intent_does_not_end_by_a_step(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct intent_step s = {.id = make(f, &asset, 1, "north", NULL), .from = INTENT_OPEN, .to = INTENT_DONE};
	struct err e = {0};
	bool done = false;

	assert_int_equal(intents->step(f->store, &s, &done, &e), -1);
	assert_int_equal(e.code, ERR_BUG);
}

static void
store_intent_move_takes_the_open_ones_of_that_ca(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct intent_moved list[5] = {{.to = "south"}, {.to = "south"}, {.to = "south"}, {.to = "east"}, {.id = 77, .to = "south"}};
	struct intent_row row;
	size_t i;

	for (i = 0; i < 4; i++)
		list[i].id = make(f, &asset, (unsigned)i, i == 2 ? "west" : "north", NULL);
	/* The first was unknown, and is certainly not issued; the second is unknown. */
	assert_true(step(f, list[0].id, NULL, INTENT_OPEN, INTENT_SENT));
	assert_true(step(f, list[0].id, NULL, INTENT_SENT, INTENT_UNKNOWN));
	assert_true(step(f, list[0].id, NULL, INTENT_UNKNOWN, INTENT_OPEN));
	assert_true(step(f, list[1].id, NULL, INTENT_OPEN, INTENT_SENT));
	assert_int_equal(move(f, "north", list, 5), 2);
	for (i = 0; i < 5; i++)
		assert_int_equal(list[i].moved, i == 0 || i == 3);
	row = get(f, list[0].id);
	assert_string_equal(row.ca, "south");
	assert_string_equal(row.reference, ""); /* it was the other one's */
	assert_string_equal(row.error, "it is down");
	assert_int_equal(row.tries, 0);
	assert_int_equal(row.next_try_s, NOW + 3);
	assert_int_equal(row.updated_s, NOW + 5); /* when it was decided last */
	assert_int_equal(row.state, INTENT_OPEN);
	assert_string_equal(get(f, list[1].id).ca, "north");
	assert_string_equal(get(f, list[2].id).ca, "west");
	assert_string_equal(get(f, list[3].id).ca, "east");
	assert_int_equal(audits(f, "action = 'ca.failover'"), 2);
	assert_int_equal(audits(f, "action = 'ca.failover' AND actor = 'enrolld' AND detail_json ->> 'from' = 'north'"
		" AND detail_json ->> 'to' = 'east' AND detail_json ->> 'intent' = 4 AND detail_json ->> 'reason' = 'it is down'"), 1);
	assert_int_equal(verify(f->store).bad_seq, 0);
}

static void
store_intent_move_of_nothing_writes_nothing(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct intent_moved list[2] = {{.id = make(f, &asset, 1, "north", NULL), .to = "south"}, {.id = 0}};
	int64_t rows = audits(f, "1");

	assert_int_equal(move(f, "west", list, 1), 0);
	assert_int_equal(move(f, "north", list, 0), 0);
	assert_int_equal(audits(f, "1"), rows);
}

static void
store_intent_end_denies_the_request_and_queues_what_came(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	int64_t id = make(f, &asset, 1, "north", NULL);

	assert_true(end(f, id, INTENT_QUARANTINED, "0a", "a certificate", NULL));
	assert_int_equal(get(f, id).state, INTENT_QUARANTINED);
	assert_int_equal(get_request(f->store, id).state, REQUEST_DENIED);
	assert_string_equal(get_request(f->store, id).reason, "ca.test");
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM ca_revocation WHERE ca = 'north' AND serial = '0a' AND state = 0"), 1);
	assert_int_equal(audits(f, "action = 'ca.ended' AND detail_json ->> 'alert' = 1 AND detail_json ->> 'serial' = '0a'"), 1);
	assert_false(end(f, id, INTENT_FAILED, NULL, NULL, NULL));
	assert_int_equal(audits(f, "action = 'ca.ended'"), 1);
}

static void
store_intent_that_is_over_still_queues_what_comes_late(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	int64_t id = make(f, &asset, 1, "north", NULL);

	assert_true(end(f, id, INTENT_FAILED, NULL, NULL, NULL));
	assert_false(end(f, id, INTENT_QUARANTINED, "0b", "late", "south"));
	assert_int_equal(get(f, id).state, INTENT_FAILED);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM ca_revocation WHERE ca = 'south' AND serial = '0b'"), 1);
	assert_int_equal(audits(f, "action = 'ca.ended'"), 2);
	/* Once. */
	assert_false(end(f, id, INTENT_QUARANTINED, "0b", "late", "south"));
	assert_int_equal(audits(f, "action = 'ca.ended'"), 2);
}

static void
store_intent_end_does_not_revoke_what_was_let_out(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	int64_t id = make(f, &asset, 1, "north", NULL);
	struct sample issued;
	struct err e = {0};

	sample_fill(&issued, &asset, 2, REQUEST_ISSUED);
	issued.o.cert = bytes_of_text((const char *)issued.cert);
	assert_int_equal(sha256(issued.o.cert, issued.o.cert_sha256, &e), 0);
	record_as(f->store, &issued.o, STORE_RECORDED);
	/* The very certificate, under the name of another generation. */
	assert_true(end(f, id, INTENT_QUARANTINED, issued.serial, NULL, "issuing"));
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM ca_revocation"), 0);
	id = make(f, &asset, 3, "north", NULL);
	assert_true(end(f, id, INTENT_QUARANTINED, issued.serial, (const char *)issued.cert, "north"));
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM ca_revocation"), 0);
	/* Another one with that number, by another CA. */
	id = make(f, &asset, 4, "north", NULL);
	assert_true(end(f, id, INTENT_QUARANTINED, issued.serial, "another", "north"));
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM ca_revocation WHERE ca = 'north'"), 1);
}

static void
store_intent_adopt_makes_what_was_being_sent_unknown(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	int64_t sent = make(f, &asset, 1, "north", NULL), open = make(f, &asset, 2, "north", NULL), count = 9;
	struct err e = {0};

	assert_true(step(f, sent, NULL, INTENT_OPEN, INTENT_SENT));
	assert_int_equal(intents->adopt(f->store, NOW + 50, &count, &e), 0);
	assert_int_equal(count, 1);
	assert_int_equal(get(f, sent).state, INTENT_UNKNOWN);
	assert_int_equal(get(f, sent).next_try_s, NOW + 50);
	assert_int_equal(get(f, open).state, INTENT_OPEN);
	assert_int_equal(audits(f, "action = 'ca.unknown'"), 1);
}

struct seen {
	int64_t ids[8];
	size_t count;
};

static bool
see(void *arg, const struct intent_row *row)
{
	struct seen *seen = arg;

	seen->ids[seen->count++] = row->id;
	return seen->count < 8;
}

static void
store_intent_list_and_counts_are_by_ca_state_and_time(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct intent_filter due = {.ca = "north", .active = true, .due_s = NOW + 1};
	int64_t a = make(f, &asset, 1, "north", NULL), b = make(f, &asset, 2, "north", NULL), at_s = 0;
	struct intent_counts counts;
	struct seen seen = {.count = 0};
	struct store_read *read;
	struct err e = {0};

	make(f, &asset, 3, "south", NULL);
	assert_true(end(f, make(f, &asset, 4, "north", NULL), INTENT_FAILED, NULL, NULL, NULL));
	assert_true(step(f, a, NULL, INTENT_OPEN, INTENT_WAITING)); /* not due before NOW + 9 */
	read = begin(f->store);
	assert_int_equal(intents->list(read, &due, see, &seen, &e), 0);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.ids[0], b);
	assert_int_equal(intents->counts(read, "north", &counts, &e), 0);
	assert_int_equal(counts.in_state[INTENT_OPEN], 1);
	assert_int_equal(counts.in_state[INTENT_WAITING], 1);
	assert_int_equal(intents->next(read, "north", &at_s, &e), 1);
	assert_int_equal(at_s, NOW);
	assert_int_equal(intents->next(read, "west", &at_s, &e), 0);
	ops->read_end(read);
}

static void
store_intent_revocation_is_tried_until_it_is_done(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct revocation_step later = {.id = 1, .wanted = UPSTREAM_REVOKED, .to = REVOCATION_LATER, .error = "down",
		.next_try_s = NOW + 60, .now_s = NOW};
	struct revocation_step done = {.id = 1, .wanted = UPSTREAM_REVOKED, .to = REVOCATION_DONE, .now_s = NOW};
	struct err e = {0};

	assert_true(end(f, make(f, &asset, 1, "north", NULL), INTENT_QUARANTINED, "0c", "x", NULL));
	assert_int_equal(intents->revocation_step(f->store, &later, &e), 0);
	assert_int_equal(fixture_number(f, "SELECT tries FROM ca_revocation WHERE next_try_s > 0 AND error = 'down'"), 1);
	assert_int_equal(audits(f, "action LIKE 'ca.revoke%'"), 0);
	assert_int_equal(intents->revocation_step(f->store, &done, &e), 0);
	assert_int_equal(intents->revocation_step(f->store, &done, &e), 0);
	assert_int_equal(audits(f, "action = 'ca.revoked' AND subject = '0c'"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(store_intent_tells_what_it_was_made_for),
		TEST(store_intent_made_for_another_ca_than_the_labels_says_so),
		TEST(store_intent_step_is_taken_from_the_state_and_the_ca_it_was_seen_in_only),
		TEST(store_intent_does_not_end_by_a_step),
		TEST(store_intent_move_takes_the_open_ones_of_that_ca),
		TEST(store_intent_move_of_nothing_writes_nothing),
		TEST(store_intent_end_denies_the_request_and_queues_what_came),
		TEST(store_intent_that_is_over_still_queues_what_comes_late),
		TEST(store_intent_end_does_not_revoke_what_was_let_out),
		TEST(store_intent_adopt_makes_what_was_being_sent_unknown),
		TEST(store_intent_list_and_counts_are_by_ca_state_and_time),
		TEST(store_intent_revocation_is_tried_until_it_is_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
