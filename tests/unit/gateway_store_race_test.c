#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>

#include "tests/unit/store_fixture.h"
#include "tests/unit/store_ownership_fixture.h"

/* Several threads go for what there is one of, again and again; each time exactly one has it. */
#define RACERS 2
#define ROUNDS 40

struct racer {
	struct store *store;
	pthread_barrier_t *start;
	struct sample sample;
	enum store_recorded what;
	int rc;
	pthread_t thread;
};

static void *
race(void *arg)
{
	struct racer *r = arg;
	struct err e;
	int64_t id;

	(void)pthread_barrier_wait(r->start);
	r->rc = ops->record(r->store, &r->sample.o, &r->what, &id, &e);
	return NULL;
}

/* How many were recorded; the others got lost. */
static int
run(struct racer racers[RACERS], struct store *store, enum store_recorded lost)
{
	pthread_barrier_t start;
	int won = 0;

	assert_int_equal(pthread_barrier_init(&start, NULL, RACERS), 0);
	for (int i = 0; i < RACERS; i++) {
		racers[i].store = store;
		racers[i].start = &start;
		assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
	}
	for (int i = 0; i < RACERS; i++)
		assert_int_equal(pthread_join(racers[i].thread, NULL), 0);
	assert_int_equal(pthread_barrier_destroy(&start), 0);
	for (int i = 0; i < RACERS; i++) {
		assert_int_equal(racers[i].rc, 0);
		if (racers[i].what == STORE_RECORDED)
			won++;
		else
			assert_int_equal(racers[i].what, lost);
	}
	return won;
}

/* Each racer its own asset, which no round before has seen. */
static void
line_up(struct fixture *f, struct racer racers[RACERS], int round)
{
	struct asset asset;
	char tag[32];

	for (int i = 0; i < RACERS; i++) {
		(void)snprintf(tag, sizeof tag, "d-%d-%d", round, i);
		asset = add_asset(f->store, tag);
		sample_fill(&racers[i].sample, &asset, (unsigned)(round * RACERS + i), REQUEST_ISSUED);
	}
}

static void
last_place_of_a_quota_goes_to_one(void **state)
{
	struct fixture *f = *state;
	struct racer racers[RACERS];

	(void)add_asset(f->store, "rtr-1");
	for (int round = 1; round <= ROUNDS; round++) {
		assert_done(ops->quota_put(f->store, "Net Ops", "router", round, EVE, NOW, &why));
		line_up(f, racers, round);
		for (int i = 0; i < RACERS; i++)
			racers[i].sample.o.quota = true;
		assert_int_equal(run(racers, f->store, STORE_STALE), 1);
	}
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), ROUNDS);
	assert_int_equal(fixture_number(f, "SELECT used FROM quota"), ROUNDS);
	assert_int_equal(verify(f->store).bad_seq, 0);
}

static void
last_use_of_an_exception_goes_to_one(void **state)
{
	struct fixture *f = *state;
	struct exception_row row = {.owner = "Net Ops", .label = "*", .waives = EXCEPTION_QUOTA, .reason = "a race",
		.ticket = "CHG-1", .expires_s = NOW + DAY, .max_uses = 1};
	struct racer racers[RACERS];
	int64_t id, approval;

	(void)add_asset(f->store, "rtr-1");
	for (int round = 1; round <= ROUNDS; round++) {
		assert_done(ops->exception_request(f->store, &row, EVE, NOW, &id, &approval, &why));
		assert_done(ops->approval_decide(f->store, approval, true, "", BOB, NOW, NULL, &why));
		line_up(f, racers, round);
		for (int i = 0; i < RACERS; i++) {
			racers[i].sample.o.exception_ids = &id;
			racers[i].sample.o.exception_count = 1;
		}
		assert_int_equal(run(racers, f->store, STORE_STALE), 1);
	}
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM exception WHERE uses = 1"), ROUNDS);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), ROUNDS);
}

static void
nonce_goes_to_one(void **state)
{
	struct fixture *f = *state;
	struct racer racers[RACERS];
	uint8_t nonce[32] = {7};

	for (int round = 1; round <= ROUNDS; round++) {
		nonce[1] = (uint8_t)round;
		line_up(f, racers, round);
		for (int i = 0; i < RACERS; i++) {
			racers[i].sample.o.nonce_sha256 = nonce;
			racers[i].sample.o.nonce_expires_s = NOW + 300;
		}
		assert_int_equal(run(racers, f->store, STORE_SPENT), 1);
	}
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM nonce"), ROUNDS);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), ROUNDS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(last_place_of_a_quota_goes_to_one),
		STORE_TEST(last_use_of_an_exception_goes_to_one),
		STORE_TEST(nonce_goes_to_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
