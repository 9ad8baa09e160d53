#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>

#include "policy/decide.h"
#include "tests/unit/store_fixture.h"

/* What a protocol with transactions and challenges of its own keeps with a request, and what races for it. */

static const uint8_t challenge[32] = {1, 2, 3}, other_challenge[32] = {4};

static void
fill(struct sample *s, const struct asset *asset, unsigned number, enum request_state state, const char *transaction)
{
	sample_fill(s, asset, number, state);
	s->o.protocol = "scep";
	s->o.transaction = transaction;
}

static int64_t
record_one(struct fixture *f, const struct asset *asset, unsigned number, enum request_state state,
	const char *transaction, enum store_recorded expected)
{
	struct sample s;

	fill(&s, asset, number, state, transaction);
	return record_as(f->store, &s.o, expected);
}

static int64_t
record_challenge(struct fixture *f, const struct asset *asset, unsigned number, enum request_state state,
	const uint8_t sha256[32], enum store_recorded expected)
{
	struct sample s;

	fill(&s, asset, number, state, NULL);
	s.o.challenge_sha256 = sha256;
	s.o.challenge_mdm = "fleet";
	return record_as(f->store, &s.o, expected);
}

/* The ids of a transaction's requests, as text. */
static void
expect_transaction(struct fixture *f, const char *label, const char *transaction, int max, const char *expected)
{
	struct store_read *read = begin(f->store);
	struct request_row rows[4];
	char text[64] = "";
	struct err e = {0};
	int count = ops->requests_of_transaction(read, label, transaction, rows, max, &e);

	if (count < 0)
		fail_msg("%s", e.text);
	ops->read_end(read);
	for (int i = 0; i < count; i++)
		(void)snprintf(text + strlen(text), sizeof text - strlen(text), "%lld ", (long long)rows[i].id);
	assert_string_equal(text, expected);
}

/* Whose the challenge is; 0: nobody's. */
static int64_t
holder_of(struct fixture *f, const char *mdm, const uint8_t sha256[32])
{
	struct store_read *read = begin(f->store);
	struct err e = {0};
	int64_t id = 0;

	if (ops->challenge_request(read, mdm, sha256, &id, &e) < 0)
		fail_msg("%s", e.text);
	ops->read_end(read);
	return id;
}

static int64_t
put_secret(struct fixture *f, int64_t asset_id)
{
	struct secret_row secret = {.asset_id = asset_id, .once = true, .label = "*", .protocol = "scep"};
	struct err e;
	int64_t id = 0;

	assert_int_equal(ops->secret_put(f->store, &secret, "operator:t", NOW, &id, &e), 0);
	return id;
}

static void
request_keeps_its_transaction_its_key_and_what_was_proven(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct sample s;
	struct request_row row;
	int64_t id;

	fill(&s, &asset, 1, REQUEST_PENDING, "9F+2c/=\" '\n");
	s.o.proof_kind = PROOF_SECRET;
	s.o.secret_id = put_secret(f, asset.id);
	id = record_as(f->store, &s.o, STORE_RECORDED);
	fixture_reopen(f, NULL);
	row = get_request(f->store, id);
	assert_string_equal(row.transaction, s.o.transaction);
	assert_memory_equal(row.spki_sha256, s.o.spki_sha256, 32);
	assert_int_equal(row.proof_kind, PROOF_SECRET);
	assert_int_equal(row.secret_id, s.o.secret_id);
	expect_transaction(f, "routers", s.o.transaction, 4, "1 ");
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE action = 'enroll.pending'"
					   " AND detail_json ->> 'transaction' = '9F+2c/=\" '''||char(10)"), 1);
}

static void
request_without_a_transaction_is_in_none(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");

	(void)record_one(f, &asset, 1, REQUEST_ISSUED, NULL, STORE_RECORDED);
	(void)record_one(f, &asset, 2, REQUEST_ISSUED, "", STORE_RECORDED);
	expect_transaction(f, "routers", "", 4, "");
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE detail_json ->> 'transaction' IS NOT NULL"),
		0);
}

static void
request_waits_with_its_secret_unspent_until_it_is_issued(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct sample s, late;
	int64_t id, secret = put_secret(f, asset.id);

	fill(&s, &asset, 1, REQUEST_PENDING, "T");
	s.o.secret_id = secret;
	id = record_as(f->store, &s.o, STORE_RECORDED);
	assert_int_equal(fixture_number(f, "SELECT used_s FROM secret"), 0);
	fill(&s, &asset, 1, REQUEST_ISSUED, "T");
	s.o.request_id = id;
	s.o.secret_id = get_request(f->store, id).secret_id;
	assert_int_equal(record_as(f->store, &s.o, STORE_RECORDED), id);
	assert_int_equal(fixture_number(f, "SELECT used_request_id FROM secret"), id);
	fill(&late, &asset, 2, REQUEST_ISSUED, "U");
	late.o.secret_id = secret;
	(void)record_as(f->store, &late.o, STORE_SPENT);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), 1);
}

static void
request_never_waits_with_the_secret_of_another_asset(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1"), other = add_asset(f->store, "rtr-2");
	struct sample s;
	enum store_recorded what;
	struct err e;
	int64_t id;

	fill(&s, &asset, 1, REQUEST_PENDING, "T");
	s.o.secret_id = put_secret(f, other.id);
	assert_int_equal(ops->record(f->store, &s.o, &what, &id, &e), -1);
	assert_int_equal(e.code, ERR_BUG);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM request"), 0);
}

static void
transaction_lists_its_requests_newest_first_without_denied_ones(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct sample s, first;

	fill(&first, &asset, 1, REQUEST_ISSUED, "T");
	(void)record_as(f->store, &first.o, STORE_RECORDED);
	(void)record_one(f, &asset, 2, REQUEST_DENIED, "T", STORE_RECORDED);
	fill(&s, &asset, 3, REQUEST_PENDING, "T");
	memcpy(s.o.spki_sha256, first.o.spki_sha256, 32);
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	fill(&s, &asset, 4, REQUEST_PENDING, "T");
	s.o.label = "phones";
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	(void)record_one(f, &asset, 5, REQUEST_PENDING, "t", STORE_RECORDED);
	expect_transaction(f, "routers", "T", 4, "3 1 ");
	expect_transaction(f, "routers", "T", 1, "3 ");
	expect_transaction(f, "routers", "T", 0, "");
	expect_transaction(f, "phones", "T", 4, "4 ");
	expect_transaction(f, "routers", "' OR 1 --", 4, "");
}

static void
transaction_that_another_key_took_meanwhile_is_decided_again(void **state)
{
	struct fixture *f = *state;
	struct asset one = add_asset(f->store, "rtr-1"), two = add_asset(f->store, "rtr-2");
	struct sample s;

	(void)record_one(f, &one, 1, REQUEST_PENDING, "T", STORE_RECORDED);
	(void)record_one(f, &one, 2, REQUEST_PENDING, "T", STORE_STALE);
	(void)record_one(f, &two, 3, REQUEST_ISSUED, "T", STORE_STALE);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM request"), 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), 0);
	/* The denial itself is recorded, and takes nothing. */
	(void)record_one(f, &two, 3, REQUEST_DENIED, "T", STORE_RECORDED);
	expect_transaction(f, "routers", "T", 4, "1 ");
	/* The request that has it goes on, and the same key may ask again in it. */
	fill(&s, &one, 1, REQUEST_ISSUED, "T");
	s.o.request_id = 1;
	assert_int_equal(record_as(f->store, &s.o, STORE_RECORDED), 1);
	fill(&s, &one, 4, REQUEST_ISSUED, "T");
	memcpy(s.o.spki_sha256, get_request(f->store, 1).spki_sha256, 32);
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	(void)record_one(f, &two, 5, REQUEST_ISSUED, "T", STORE_STALE);
	/* Another label has transactions of its own. */
	fill(&s, &two, 6, REQUEST_ISSUED, "T");
	s.o.label = "phones";
	(void)record_as(f->store, &s.o, STORE_RECORDED);
}

static void
transaction_of_a_denied_request_is_free_again(void **state)
{
	struct fixture *f = *state;
	struct asset one = add_asset(f->store, "rtr-1"), two = add_asset(f->store, "rtr-2");

	(void)record_one(f, &one, 1, REQUEST_DENIED, "T", STORE_RECORDED);
	(void)record_one(f, &two, 2, REQUEST_ISSUED, "T", STORE_RECORDED);
	/* And is not that request's when it comes back. */
	(void)record_one(f, &one, 1, REQUEST_ISSUED, "T", STORE_STALE);
	expect_transaction(f, "routers", "T", 4, "2 ");
}

/* Devices whose transaction id is made of something that stays, and whose key does not. */
static void
transaction_of_the_asset_itself_does_not_hinder_its_renewal(void **state)
{
	struct fixture *f = *state;
	struct asset one = add_asset(f->store, "rtr-1"), two = add_asset(f->store, "rtr-2");
	struct sample s;

	(void)record_one(f, &one, 1, REQUEST_ISSUED, "T", STORE_RECORDED);
	fill(&s, &two, 2, REQUEST_ISSUED, "T");
	s.o.renewal = true;
	(void)record_as(f->store, &s.o, STORE_STALE); /* it is another's */
	fill(&s, &one, 3, REQUEST_ISSUED, "T");
	(void)record_as(f->store, &s.o, STORE_STALE); /* no renewal */
	s.o.renewal = true;
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	expect_transaction(f, "routers", "T", 4, "2 1 ");
}

static void
transaction_id_that_is_too_long_is_refused_and_never_cut(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct sample s;
	char text[STORE_TRANSACTION_MAX + 1];
	enum store_recorded what;
	struct err e;
	int64_t id;

	fill(&s, &asset, 1, REQUEST_PENDING, NULL);
	memset(text, 'a', sizeof text);
	text[STORE_TRANSACTION_MAX] = '\0';
	s.o.transaction = text;
	assert_int_equal(ops->record(f->store, &s.o, &what, &id, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	text[STORE_TRANSACTION_MAX - 1] = '\0';
	id = record_as(f->store, &s.o, STORE_RECORDED);
	assert_string_equal(get_request(f->store, id).transaction, text);
	text[STORE_TRANSACTION_MAX - 1] = 'a';
	expect_transaction(f, "routers", text, 4, "");
}

static void
challenge_is_good_for_one_request_only(void **state)
{
	struct fixture *f = *state;
	struct asset one = add_asset(f->store, "rtr-1"), two = add_asset(f->store, "rtr-2");
	int64_t id = record_challenge(f, &one, 1, REQUEST_ISSUED, challenge, STORE_RECORDED);

	assert_int_equal(holder_of(f, "fleet", challenge), id);
	(void)record_challenge(f, &one, 2, REQUEST_ISSUED, challenge, STORE_SPENT);
	(void)record_challenge(f, &two, 3, REQUEST_PENDING, challenge, STORE_SPENT);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM request"), 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM decision"), 1);
	(void)record_challenge(f, &two, 3, REQUEST_ISSUED, other_challenge, STORE_RECORDED);
	(void)record_challenge(f, &two, 4, REQUEST_ISSUED, NULL, STORE_RECORDED);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM challenge"), 2);
}

static void
challenge_is_taken_by_waiting_and_stays_that_requests(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	int64_t id = record_challenge(f, &asset, 1, REQUEST_PENDING, challenge, STORE_RECORDED);
	struct sample s;

	assert_int_equal(holder_of(f, "fleet", challenge), id);
	(void)record_challenge(f, &asset, 2, REQUEST_ISSUED, challenge, STORE_SPENT);
	fill(&s, &asset, 1, REQUEST_PENDING, NULL);
	s.o.request_id = id;
	s.o.challenge_sha256 = challenge;
	s.o.challenge_mdm = "fleet";
	assert_int_equal(record_as(f->store, &s.o, STORE_RECORDED), id);
	fill(&s, &asset, 1, REQUEST_ISSUED, NULL);
	s.o.request_id = id;
	s.o.challenge_sha256 = challenge;
	s.o.challenge_mdm = "fleet";
	assert_int_equal(record_as(f->store, &s.o, STORE_RECORDED), id);
	assert_int_equal(holder_of(f, "fleet", challenge), id);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM challenge"), 1);
}

static void
challenge_is_its_services_whatever_the_label(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct sample s;

	(void)record_challenge(f, &asset, 1, REQUEST_ISSUED, challenge, STORE_RECORDED);
	fill(&s, &asset, 2, REQUEST_ISSUED, NULL);
	s.o.label = "phones";
	s.o.challenge_sha256 = challenge;
	s.o.challenge_mdm = "fleet";
	(void)record_as(f->store, &s.o, STORE_SPENT);
	s.o.challenge_mdm = "other";
	assert_int_equal(holder_of(f, "other", challenge), 0);
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	assert_int_equal(holder_of(f, "other", challenge), 2);
}

static void
challenge_is_not_burnt_by_what_comes_to_nothing(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1"), old = asset;

	(void)record_challenge(f, &asset, 1, REQUEST_DENIED, challenge, STORE_RECORDED);
	old.version--;
	(void)record_challenge(f, &old, 2, REQUEST_ISSUED, challenge, STORE_STALE);
	(void)record_challenge(f, NULL, 3, REQUEST_DENIED, challenge, STORE_RECORDED);
	assert_int_equal(holder_of(f, "fleet", challenge), 0);
	(void)record_challenge(f, &asset, 4, REQUEST_ISSUED, challenge, STORE_RECORDED);
}

#define RACERS 8

struct racer {
	pthread_t thread;
	pthread_barrier_t *start;
	struct fixture *f;
	struct sample s;
	enum store_recorded what;
	int rc;
};

static void *
race(void *arg)
{
	struct racer *r = arg;
	struct err e;
	int64_t id;

	(void)pthread_barrier_wait(r->start);
	r->rc = ops->record(r->f->store, &r->s.o, &r->what, &id, &e);
	return NULL;
}

/* All ask at once, each for a request of its own, and one comes through; how the others fare. */
static void
expect_one_winner(struct fixture *f, const char *transaction, const uint8_t sha256[32], enum store_recorded others)
{
	struct asset asset = add_asset(f->store, "rtr-1");
	static struct racer racers[RACERS];
	pthread_barrier_t start;
	int won = 0;

	assert_int_equal(pthread_barrier_init(&start, NULL, RACERS), 0);
	for (unsigned i = 0; i < RACERS; i++) {
		racers[i] = (struct racer){.start = &start, .f = f};
		fill(&racers[i].s, &asset, i + 1, REQUEST_ISSUED, transaction);
		racers[i].s.o.challenge_sha256 = sha256;
		racers[i].s.o.challenge_mdm = "fleet";
		assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
	}
	for (unsigned i = 0; i < RACERS; i++) {
		assert_int_equal(pthread_join(racers[i].thread, NULL), 0);
		assert_int_equal(racers[i].rc, 0);
		won += racers[i].what == STORE_RECORDED;
		if (racers[i].what != STORE_RECORDED)
			assert_int_equal(racers[i].what, others);
	}
	(void)pthread_barrier_destroy(&start);
	assert_int_equal(won, 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), 1);
}

static void
challenge_raced_for_by_many_is_one_requests(void **state)
{
	expect_one_winner(*state, NULL, challenge, STORE_SPENT);
}

static void
transaction_raced_for_by_many_keys_is_one_requests(void **state)
{
	expect_one_winner(*state, "T", NULL, STORE_STALE);
}

/* A registrar that is no longer what it was when the request was decided. */
static void
registrar_that_changed_meanwhile_asks_again(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1"), registrar = add_asset(f->store, "ra-1");
	struct sample s;
	struct err e;

	fill(&s, &registrar, 1, REQUEST_ISSUED, NULL);
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	fill(&s, &asset, 2, REQUEST_ISSUED, NULL);
	s.o.registrar_id = registrar.id;
	s.o.registrar_version = registrar.version;
	assert_int_equal(ops->cert_revoke(f->store, 1, "keyCompromise", "operator:t", NOW, &e), 0);
	(void)record_as(f->store, &s.o, STORE_STALE);
	s.o.registrar_version = get_asset(f->store, "ra-1").version;
	assert_int_equal(ops->asset_set_state(f->store, "ra-1", ASSET_STOLEN, "", "operator:t", NOW, NULL, &e), 0);
	(void)record_as(f->store, &s.o, STORE_STALE);
	s.o.registrar_id = 99;
	(void)record_as(f->store, &s.o, STORE_STALE);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), 1);
	s.o.registrar_id = registrar.id;
	s.o.registrar_version = get_asset(f->store, "ra-1").version;
	(void)record_as(f->store, &s.o, STORE_RECORDED);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(request_keeps_its_transaction_its_key_and_what_was_proven),
		STORE_TEST(request_without_a_transaction_is_in_none),
		STORE_TEST(request_waits_with_its_secret_unspent_until_it_is_issued),
		STORE_TEST(request_never_waits_with_the_secret_of_another_asset),
		STORE_TEST(transaction_lists_its_requests_newest_first_without_denied_ones),
		STORE_TEST(transaction_that_another_key_took_meanwhile_is_decided_again),
		STORE_TEST(transaction_of_a_denied_request_is_free_again),
		STORE_TEST(transaction_of_the_asset_itself_does_not_hinder_its_renewal),
		STORE_TEST(transaction_id_that_is_too_long_is_refused_and_never_cut),
		STORE_TEST(challenge_is_good_for_one_request_only),
		STORE_TEST(challenge_is_taken_by_waiting_and_stays_that_requests),
		STORE_TEST(challenge_is_its_services_whatever_the_label),
		STORE_TEST(challenge_is_not_burnt_by_what_comes_to_nothing),
		STORE_TEST(challenge_raced_for_by_many_is_one_requests),
		STORE_TEST(transaction_raced_for_by_many_keys_is_one_requests),
		STORE_TEST(registrar_that_changed_meanwhile_asks_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
