/* Two CAs of one trust group, with the issuer's threads: who is asked when the first does not answer, and who is not. */
#define _GNU_SOURCE
#include "tests/unit/core_issuer_second.h"
#include "tests/unit/core_issuer_threads_fixture.h"

#define DEVICES 8
#define DONE_BY_SECOND "SELECT count(*) FROM certificate WHERE ca = 'second'"

/* The first is down, and its breaker open: so many devices wait for it. Nobody looks at it while the clock stands still. */
static void
first_is_down(struct rig *r, size_t count)
{
	second_stands_in(r);
	fake_will(fake.issue, DOWN);
	both_looks_fail(true, false);
	issuer_open(r);
	wave(r, count);
}

static void
what_was_not_sent_goes_to_the_stand_in_and_is_issued_once(void **state)
{
	struct rig *r = *state;
	CLEANUP(buf) struct buf text = { 0 };

	second_stands_in(r);
	fake_will(fake.issue, DOWN);
	both_looks_fail(true, false);
	second.ops.remote = false;
	issuer_open_idle(r); /* nobody calls before all of them wait */
	second.ops.remote = true;
	wave(r, DEVICES);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM intent WHERE ca = 'issuing' AND state = 0"), DEVICES);
	issuer_stop(r->gateway.issuer);
	issuer_open(r);
	await(r, DONE_BY_SECOND, DEVICES);
	assert_int_equal(rig_certs(r), DEVICES);
	assert_int_equal(second.issues, DEVICES);
	assert_int_equal(fake.made_count, 0);
	assert_int_equal(audits_of(r, "ca.failover"), DEVICES);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'ca.failover' AND actor = 'enrolld'"
		" AND subject = 'rtr-1' AND detail_json ->> 'from' = 'issuing' AND detail_json ->> 'to' = 'second'"
		" AND detail_json ->> 'reason' = 'it does not answer' AND detail_json ->> 'intent' > 0"), DEVICES);
	issuer_metrics(r->gateway.issuer, &text);
	assert_non_null(strstr(buf_text(&text), "enrolld_ca_failovers_total{from=\"issuing\",to=\"second\"} 8\n"));
	rig_chain_holds(r);
}

static void
new_requests_go_to_the_stand_in_at_once_and_to_the_first_when_it_is_back(void **state)
{
	struct rig *r = *state;
	size_t asked;

	first_is_down(r, GUARD_FAILURES);
	await(r, DONE_BY_SECOND, GUARD_FAILURES);
	asked = fake.issues; /* looks at it count as well */
	assert_true(asked >= 1 && asked <= GUARD_FAILURES);
	wave(r, 1);
	await(r, DONE_BY_SECOND, GUARD_FAILURES + 1);
	assert_int_equal(fake.issues, asked);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'ca.failover' AND detail_json ->> 'request' = 6"), 1);
	/* Nothing is asked of the first any more: that it is back is seen by looking at it. */
	fake_will(fake.issue, ISSUE);
	both_looks_fail(false, false);
	await_guard(r, "issuing", GUARD_CLOSED);
	wave(r, 1);
	await(r, "SELECT count(*) FROM certificate WHERE ca = 'issuing'", 1);
	assert_int_equal(second.issues, GUARD_FAILURES + 1);
}

static void
a_request_waits_for_the_one_that_is_asked(void **state)
{
	struct rig *r = *state;

	first_is_down(r, GUARD_FAILURES);
	await(r, DONE_BY_SECOND, GUARD_FAILURES);
	r->world->config->cas[1].wait_s = 60;
	rig_new_csr(r);
	ask(r, ERR_NONE);
	assert_string_equal(r->result.ca, "second");
}

/* One alone would need half a minute to open the breaker: the first is looked at. */
static void
one_request_alone_does_not_wait_for_others_to_fail(void **state)
{
	struct rig *r = *state;
	size_t i;

	first_is_down(r, 1);
	for (i = 1; i < GUARD_FAILURES; i++) {
		fake_lock();
		while (fake.issues + fake.checks < i + 1) /* the request's own second try may come before a look */
			(void)pthread_cond_wait(&fake.changed, &fake.lock);
		fake_unlock();
		later_s(ISSUER_LOOK_S);
		issuer_wake(r->gateway.issuer, NULL);
	}
	await(r, DONE_BY_SECOND, 1);
	assert_true(fake.now_s - NOW < GUARD_FAILURES);
}

static void
what_was_sent_and_is_unknown_stays_where_it_is(void **state)
{
	struct rig *r = *state;

	second_stands_in(r);
	fake_will(fake.issue, DOWN);
	fake.issue[0] = LOSE;
	fake.issue[1] = WAIT;
	fake_will(fake.reconcile, DOWN);
	both_looks_fail(true, false);
	r->world->config->cas[0].calls = 1;
	issuer_open(r);
	wave(r, DEVICES);
	await(r, DONE_BY_SECOND, DEVICES - 2);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM intent WHERE ca = 'issuing' AND state IN (2, 3)"), 2);
	assert_int_equal(audits_of(r, "ca.failover"), DEVICES - 2);
	/* The first had issued one of them, and is asked for it. */
	fake_will(fake.reconcile, SAME_AGAIN);
	fake_will(fake.poll, ISSUE);
	both_looks_fail(false, false);
	await_later(r, "SELECT count(*) FROM certificate WHERE ca = 'issuing'", 2);
	assert_int_equal(rig_certs(r), DEVICES);
	assert_int_equal(fake.made_count, 2);
}

static void
nothing_goes_back_and_nothing_goes_in_circles(void **state)
{
	struct rig *r = *state;

	/* Both name each other: the list is that of the label's CA all the same. */
	second_stands_in(r);
	(void)snprintf(r->world->config->cas[1].failover[0], REG_TEXT_MAX, "issuing");
	r->world->config->cas[1].failover_count = 1;
	second.act = DOWN;
	fake_will(fake.issue, DOWN);
	both_looks_fail(true, true);
	issuer_open(r);
	wave(r, GUARD_FAILURES);
	await(r, "SELECT count(*) FROM intent WHERE ca = 'second'", GUARD_FAILURES);
	await_guard(r, "second", GUARD_OPEN);
	fake_will(fake.issue, ISSUE);
	both_looks_fail(false, true);
	await_guard(r, "issuing", GUARD_CLOSED);
	wave(r, 1);
	await(r, "SELECT count(*) FROM certificate WHERE ca = 'issuing'", 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM intent WHERE ca = 'second' AND state < 2"), GUARD_FAILURES);
	assert_int_equal(audits_of(r, "ca.failover"), GUARD_FAILURES);
	second_acts(ISSUE);
	both_looks_fail(false, false);
	await_later(r, DONE_BY_SECOND, GUARD_FAILURES);
	assert_int_equal(audits_of(r, "ca.failover"), GUARD_FAILURES);
}

static void
with_nobody_to_stand_in_they_wait(void **state)
{
	struct rig *r = *state;
	enum guard_state guard = GUARD_CLOSED;

	second_stands_in(r);
	r->world->config->cas[1].group[0] = '\0'; /* another fleet's */
	fake_will(fake.issue, DOWN);
	both_looks_fail(true, false);
	issuer_open(r);
	wave(r, GUARD_FAILURES);
	await_guard(r, "issuing", GUARD_OPEN);
	wave(r, 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM intent WHERE ca = 'issuing'"), GUARD_FAILURES + 1);
	fake_will(fake.issue, ISSUE);
	both_looks_fail(false, false);
	await_later(r, "SELECT count(*) FROM certificate WHERE ca = 'issuing'", GUARD_FAILURES + 1);
	assert_int_equal(second.issues, 0);
	assert_true(issuer_guard_state(r->gateway.issuer, "second", &guard));
	assert_int_equal(audits_of(r, "ca.failover"), 0);
}

static void
a_name_that_is_no_ca_any_more_is_passed_over(void **state)
{
	struct rig *r = *state;
	struct config_ca *first = &r->world->config->cas[0];

	second_stands_in(r);
	(void)snprintf(first->failover[0], REG_TEXT_MAX, "vanished");
	(void)snprintf(first->failover[1], REG_TEXT_MAX, "second");
	first->failover_count = 2;
	fake_will(fake.issue, DOWN);
	both_looks_fail(true, false);
	issuer_open(r);
	wave(r, GUARD_FAILURES);
	await(r, DONE_BY_SECOND, GUARD_FAILURES);
}

static void
what_waits_for_a_ca_that_was_taken_out_goes_to_its_labels(void **state)
{
	struct rig *r = *state;
	struct intent_moved one = { .id = 1, .to = "vanished" };
	struct intent_move move = { .from = "issuing", .list = &one, .count = 1, .why = "test", .now_s = NOW };
	struct err e = { 0 };
	size_t moved = 0;

	issuer_open_idle(r);
	wave(r, 2);
	assert_int_equal(r->ops.intents->move(r->gateway.store, &move, &moved, &e), 0);
	assert_int_equal(moved, 1);
	issuer_stop(r->gateway.issuer);
	issuer_open(r);
	await(r, "SELECT count(*) FROM certificate WHERE ca = 'issuing'", 2);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'ca.failover'"
		" AND detail_json ->> 'from' = 'vanished' AND detail_json ->> 'to' = 'issuing'"), 1);
}

static struct rig *reloading;

/* A reload comes between the choice of the CA and what is recorded of it. */
static int
record_and_reload(struct store *store, const struct store_outcome *outcome, enum store_recorded *what, int64_t *request_id, struct err *e)
{
	struct config *config = reloading->world->config;
	struct intent_new intent = *outcome->intent;
	struct store_outcome before = *outcome;

	intent.ca = "issuing"; /* its world is the one before, whose names stay */
	before.intent = &intent;
	(void)pthread_mutex_lock(&reloading->gateway.issuer->lock);
	(void)snprintf(config->cas[0].name, sizeof config->cas[0].name, "renamed");
	(void)snprintf(config->labels[0].ca, sizeof config->labels[0].ca, "second");
	(void)pthread_mutex_unlock(&reloading->gateway.issuer->lock);
	reloading->ops.record = store_sqlite.record;
	assert_int_equal(issuer_rehome(reloading->gateway.issuer, reloading->world, e), 0);
	return store_sqlite.record(store, &before, what, request_id, e);
}

/* Its first look is over: what comes now is claimed, and nobody has to wake it by a name that is another's by then. */
static void
await_first_look(struct issuer *issuer)
{
	const struct lane *lane = issuer_lane(issuer, "issuing");
	bool looked = false;

	while (!looked) {
		(void)pthread_mutex_lock(&issuer->lock);
		looked = !lane->look && !lane->filling && lane->due_s > fake.now_s;
		(void)pthread_mutex_unlock(&issuer->lock);
	}
}

/* Nothing of its was open when it went. */
static void
what_becomes_open_when_its_ca_has_gone_goes_to_its_labels_too(void **state)
{
	struct rig *r = *state;

	second_stands_in(r);
	r->world->config->cas[0].failover_count = 0;
	issuer_open(r);
	await_first_look(r->gateway.issuer);
	reloading = r;
	r->ops.record = record_and_reload;
	rig_new_csr(r);
	r->request.now_s = fake.now_s;
	rig_run(r);
	await(r, DONE_BY_SECOND, 1);
	assert_int_equal(fake.issues, 0);
	assert_int_equal(second.issues, 1);
}

/* As one does with a CA that is dead. */
static void
a_ca_that_is_taken_out_while_its_breaker_is_open_is_looked_at_seldom(void **state)
{
	struct rig *r = *state;
	struct issuer *issuer;
	enum guard_state guard = GUARD_CLOSED;
	bool looked = false;
	int64_t at_s = 0;
	size_t i, kept;

	issuer_load(r, "wait = \"0s\"; calls = 1; ");
	fake_will(fake.issue, DOWN);
	issuer_open(r);
	issuer = r->gateway.issuer;
	for (i = 0; i < GUARD_FAILURES; i++) {
		rig_new_csr(r);
		ask(r, ERR_PENDING);
	}
	while (guard != GUARD_OPEN)
		assert_true(issuer_guard_state(issuer, "issuing", &guard));
	await_recorded(r); /* nobody reads the name any more */
	(void)pthread_mutex_lock(&issuer->lock);
	(void)snprintf(r->world->config->cas[0].name, sizeof r->world->config->cas[0].name, "renamed");
	(void)pthread_mutex_unlock(&issuer->lock);
	later_s(GUARD_BACKOFF_S);
	issuer_wake(issuer, NULL);
	while (!looked) {
		(void)pthread_mutex_lock(&issuer->lock);
		looked = issuer->lanes[0]->probe_s == fake.now_s + ISSUER_LOOK_S && ca_guard_state(issuer->lanes[0]->guard) == GUARD_OPEN;
		(void)pthread_mutex_unlock(&issuer->lock);
	}
	(void)pthread_mutex_lock(&issuer->lock);
	kept = issuer->lanes[0]->kept_count;
	looked = !ca_guard_enter(issuer->lanes[0]->guard, false, fake.now_s, &at_s);
	(void)pthread_mutex_unlock(&issuer->lock);
	/* Its open requests were left alone; the look itself leaves nothing, and is not made again at once. */
	assert_true(kept <= GUARD_FAILURES);
	assert_true(looked);
}

static void
a_refusal_is_an_answer_and_nobody_else_is_asked(void **state)
{
	struct rig *r = *state;

	second_stands_in(r);
	fake_will(fake.issue, REFUSE);
	issuer_open(r);
	wave(r, GUARD_FAILURES + 1);
	await(r, "SELECT count(*) FROM intent WHERE state = 5", GUARD_FAILURES + 1);
	assert_int_equal(second.issues, 0);
}

static void
the_one_that_issued_is_told_of_the_revocation(void **state)
{
	struct rig *r = *state;

	first_is_down(r, GUARD_FAILURES);
	await(r, DONE_BY_SECOND, GUARD_FAILURES);
	rig_revoke(r, 1);
	issuer_wake(r->gateway.issuer, NULL);
	await(r, "SELECT count(*) FROM ca_revocation WHERE ca = 'second' AND state = 1", 1);
	assert_int_equal(second.revokes, 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM ca_revocation"), 1);
	assert_int_equal(fake.revokes, 0);
}

static void
one_that_is_reached_and_still_fails_costs_one_call(void **state)
{
	struct rig *r = *state;
	size_t asked;

	first_is_down(r, GUARD_FAILURES);
	await(r, DONE_BY_SECOND, GUARD_FAILURES);
	asked = fake.issues;
	both_looks_fail(false, false);
	await_guard(r, "issuing", GUARD_CLOSED);
	wave(r, 1);
	await(r, DONE_BY_SECOND, GUARD_FAILURES + 1);
	assert_int_equal(fake.issues, asked + 1);
	await_guard(r, "issuing", GUARD_OPEN);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(what_was_not_sent_goes_to_the_stand_in_and_is_issued_once),
		test(new_requests_go_to_the_stand_in_at_once_and_to_the_first_when_it_is_back),
		test(a_request_waits_for_the_one_that_is_asked),
		test(one_request_alone_does_not_wait_for_others_to_fail),
		test(what_was_sent_and_is_unknown_stays_where_it_is),
		test(nothing_goes_back_and_nothing_goes_in_circles),
		test(with_nobody_to_stand_in_they_wait),
		test(a_name_that_is_no_ca_any_more_is_passed_over),
		test(what_waits_for_a_ca_that_was_taken_out_goes_to_its_labels),
		test(what_becomes_open_when_its_ca_has_gone_goes_to_its_labels_too),
		test(a_ca_that_is_taken_out_while_its_breaker_is_open_is_looked_at_seldom),
		test(a_refusal_is_an_answer_and_nobody_else_is_asked),
		test(the_one_that_issued_is_told_of_the_revocation),
		test(one_that_is_reached_and_still_fails_costs_one_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
