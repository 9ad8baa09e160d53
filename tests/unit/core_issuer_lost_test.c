/* What could be lost, or sent twice: the store fails, an operator or a reload comes between, a CA answers too early. */
#define _GNU_SOURCE
#include "tests/unit/core_issuer_second.h"

#include "gateway/core/rule_limits.h"

static _Atomic bool record_down;
static _Atomic int refusals; /* of the store */

static int
record_sometimes(struct store *store, const struct store_outcome *outcome, enum store_recorded *what, int64_t *request_id,
	struct err *e)
{
	if (outcome->state == REQUEST_ISSUED && record_down) {
		refusals++;
		return err_set(e, ERR_UPSTREAM, "disk full");
	}
	return store_sqlite.record(store, outcome, what, request_id, e);
}

static void
a_certificate_that_could_not_be_recorded_is_kept_and_nobody_is_asked_again(void **state)
{
	struct rig *r = *state;

	r->ops.record = record_sometimes;
	r->ca_ops.reconcile = NULL; /* as with most CAs: it could not be asked for */
	record_down = true;
	issuer_open(r);
	ask(r, ERR_PENDING);
	/* The lane tries again and again, and each time the store refuses. */
	while (refusals < 3) {
		later_s(1);
		issuer_wake(r->gateway.issuer, NULL);
		(void)sched_yield();
	}
	record_down = false;
	await_later(r, "SELECT count(*) FROM intent WHERE state = 4", 1);
	assert_int_equal(fake.issues, 1);
	assert_int_equal(fake.made_count, 1);
	assert_int_equal(audits_of(r, "ca.unknown"), 0);
	ask(r, ERR_NONE);
	assert_memory_equal(r->result.cert.at, fake.made.at, fake.made.len);
}

static void
a_certificate_that_is_kept_does_not_wait_behind_the_budget(void **state)
{
	struct rig *r = *state;
	const struct lane *lane;
	size_t i, taken = 0;

	issuer_load(r, "wait = \"0s\"; calls = 1; budget = 1; ");
	r->ops.record = record_sometimes;
	refusals = 0;
	record_down = true;
	issuer_open(r);
	lane = r->gateway.issuer->lanes[0];
	ask(r, ERR_PENDING);
	while (refusals == 0)
		(void)sched_yield();
	for (i = 0; i < 3; i++) {
		rig_new_csr(r);
		ask(r, ERR_PENDING);
	}
	while (taken == 0) {
		(void)pthread_mutex_lock(&r->gateway.issuer->lock);
		taken = lane->count;
		(void)pthread_mutex_unlock(&r->gateway.issuer->lock);
	}
	record_down = false;
	later_s(ISSUER_STORE_S); /* far less than a minute */
	issuer_wake(r->gateway.issuer, NULL);
	await(r, "SELECT count(*) FROM intent WHERE state = 4", 1);
	assert_int_equal(fake.issues, 1);
}

static void
a_revocation_does_not_wait_behind_the_budget(void **state)
{
	struct rig *r = *state;
	const struct lane *lane;
	size_t i, taken = 0;

	issuer_load(r, "wait = \"0s\"; calls = 1; budget = 1; ");
	issuer_open(r);
	lane = r->gateway.issuer->lanes[0];
	ask(r, ERR_PENDING);
	await(r, "SELECT count(*) FROM intent WHERE state = 4", 1);
	for (i = 0; i < 3; i++) {
		rig_new_csr(r);
		ask(r, ERR_PENDING);
	}
	while (taken == 0) {
		(void)pthread_mutex_lock(&r->gateway.issuer->lock);
		taken = lane->count;
		(void)pthread_mutex_unlock(&r->gateway.issuer->lock);
	}
	rig_revoke(r, 1);
	issuer_wake(r->gateway.issuer, NULL);
	await(r, "SELECT count(*) FROM ca_revocation WHERE state = 1", 1);
	assert_int_equal(fake.issues, 1);
}

static int (*end_really)(struct store *store, const struct intent_end *end, bool *done, struct err *e);
static _Atomic bool end_down;

static int
end_sometimes(struct store *store, const struct intent_end *end, bool *done, struct err *e)
{
	return end_down ? err_set(e, ERR_UPSTREAM, "disk full") : end_really(store, end, done, e);
}

static void
a_quarantine_that_could_not_be_recorded_is_kept(void **state)
{
	struct rig *r = *state;
	struct intent_ops intents = *r->ops.intents;

	end_really = intents.end;
	intents.end = end_sometimes;
	r->ops.intents = &intents;
	end_down = true;
	fake_will(fake.issue, WRONG_NAME);
	issuer_open(r);
	ask(r, ERR_PENDING);
	await(r, "SELECT count(*) FROM intent WHERE state = 1", 1);
	end_down = false;
	await_later(r, "SELECT count(*) FROM ca_revocation WHERE state = 1", 1);
	assert_string_equal(fake.revoked[0], fake.made_serial);
	assert_int_equal(fake.issues, 1);
	issuer_stop(r->gateway.issuer);
	r->gateway.issuer = NULL;
}

static struct rig *rig_of_reconcile;

/* An operator gives it up while the CA is being asked, and it had issued it. */
static int
reconcile_too_late(struct ca *ca, const struct ca_request *request, const char *reference, struct ca_answer *out, struct err *e)
{
	struct rig *r = rig_of_reconcile;
	struct intent_end end = { .id = 1, .to = INTENT_FAILED, .reason = "ca.resolved", .sentence = "gone", .policy_version = "1",
		.actor = "operator:test", .audit = "ca.resolved", .now_s = NOW };
	bool done = false;

	assert_int_equal(r->ops.intents->end(r->gateway.store, &end, &done, e), 0);
	assert_true(done);
	fake_will(fake.reconcile, SAME_AGAIN);
	return fake_reconcile(ca, request, reference, out, e);
}

static void
one_that_comes_after_an_operator_gave_it_up_is_revoked_there(void **state)
{
	struct rig *r = *state;

	rig_of_reconcile = r;
	r->ca_ops.reconcile = reconcile_too_late;
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	fake_will(fake.issue, LOSE);
	assert_int_equal(step_all(r), 1);
	later_s(ISSUER_RETRY_MAX_S);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(rig_certs(r), 0);
	assert_int_equal(audits_of(r, "ca.quarantined"), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE detail_json ->> 'alert' = 1"), 1);
	assert_int_equal(step_all(r), 0);
	assert_int_equal(fake.revokes, 1);
	assert_string_equal(fake.revoked[0], fake.made_serial);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM request WHERE reason = 'ca.resolved'"), 1);
}

/* An operator says that it was not issued, while asking for it issues it, and that answer is lost, too. */
static int
reconcile_crossed(struct ca *ca, const struct ca_request *request, const char *reference, struct ca_answer *out, struct err *e)
{
	struct rig *r = rig_of_reconcile;
	struct intent_step absent = { .id = 1, .from = INTENT_UNKNOWN, .to = INTENT_OPEN, .next_try_s = NOW, .actor = "operator:test",
		.audit = "ca.resolved", .now_s = NOW };
	bool done = false;

	assert_int_equal(r->ops.intents->step(r->gateway.store, &absent, &done, e), 0);
	fake_will(fake.reconcile, LOSE);
	assert_int_equal(fake_reconcile(ca, request, reference, out, e), 0);
	return err_set(e, ERR_UPSTREAM, "no answer");
}

static void
an_operators_word_that_crossed_a_lost_answer_is_asked_for_again(void **state)
{
	struct rig *r = *state;

	rig_of_reconcile = r;
	r->ca_ops.reconcile = reconcile_crossed;
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	fake_will(fake.issue, LOSE_UNSENT);
	assert_int_equal(step_all(r), 1);
	fake_will(fake.issue, ISSUE);
	later_s(ISSUER_RETRY_MAX_S);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.made_count, 1);
	assert_int_equal(intents_in(r, INTENT_UNKNOWN), 1);
	r->ca_ops.reconcile = fake_reconcile;
	fake_will(fake.reconcile, SAME_AGAIN);
	later_s(ISSUER_RETRY_MAX_S);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.made_count, 1);
	ask(r, ERR_NONE);
}

static void
who_only_asks_and_is_refused_does_not_take_it_for_refused(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	fake_will(fake.issue, LOSE);
	fake_will(fake.reconcile, REFUSE);
	assert_int_equal(step_all(r), 1);
	later_s(ISSUER_RETRY_MAX_S);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_UNKNOWN), 1);
	fake_will(fake.reconcile, SAME_AGAIN);
	later_s(ISSUER_RETRY_MAX_S);
	assert_int_equal(step_all(r), 1);
	ask(r, ERR_NONE);
}

static void
not_issued_is_believed_when_what_was_sent_has_settled(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	fake_will(fake.issue, LOSE_UNSENT);
	fake_will(fake.reconcile, ABSENT);
	assert_int_equal(step_all(r), 1);
	later_s(ISSUER_RETRY_S);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_UNKNOWN), 1);
	later_s(ISSUER_SETTLE_S - 1);
	assert_int_equal(step_all(r), 0);
	fake_will(fake.issue, ISSUE);
	later_s(1);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_OPEN), 1);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.made_count, 1);
	ask(r, ERR_NONE);
}

/* A breaker that opened for these would be kept open by them: they are the oldest, and come first. */
static void
a_ca_that_answers_and_cannot_tell_is_not_down(void **state)
{
	struct rig *r = *state;
	struct issuer_job job = { .gateway = &r->gateway, .world = r->world, .ca = &r->world->cas[0], .intent_id = 1,
		.now_s = NOW + ISSUER_RETRY_MAX_S };
	struct err e = { 0 };

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	fake_will(fake.issue, LOSE_UNSENT);
	fake_will(fake.reconcile, DOWN);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(issuer_carry_out(&job, &e), 0);
	assert_int_equal(fake.reconciles, 1);
	assert_int_equal(job.call, GUARD_REACHED);
	fake.check_down = true;
	assert_int_equal(issuer_carry_out(&job, &e), 0);
	assert_int_equal(job.call, GUARD_FAILED);
	assert_int_equal(intents_in(r, INTENT_UNKNOWN), 1);
}

/* What is known of the attempt before would be taken for this one's, should the process end now. */
static void
what_is_sent_again_begins_without_the_reference_of_the_first_time(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	fake_will(fake.issue, LOSE_UNSENT);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(rig_number(r, "SELECT reference = 'ref-1' FROM intent"), 1);
	fake_will(fake.reconcile, ABSENT);
	later_s(ISSUER_RETRY_MAX_S);
	assert_int_equal(step_all(r), 1);
	fake_will(fake.issue, DOWN);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.issues, 2);
	assert_int_equal(rig_number(r, "SELECT reference = '' FROM intent"), 1);
}

/* The same as a lane that took it from the store before it went to another. */
static void
one_that_went_to_another_ca_is_not_sent_by_the_first(void **state)
{
	struct rig *r = *state;
	struct issuer_job job = { .gateway = &r->gateway, .world = r->world, .ca = &r->world->cas[0], .now_s = NOW, .intent_id = 1 };
	struct intent_moved one = { .id = 1, .to = "second" };
	struct intent_move move = { .from = "issuing", .list = &one, .count = 1, .why = "test", .now_s = NOW };
	struct intent_step unknown = { .id = 1, .from = INTENT_OPEN, .to = INTENT_UNKNOWN, .now_s = NOW };
	struct err e = { 0 };
	bool done = false;
	size_t moved = 0;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(r->ops.intents->move(r->gateway.store, &move, &moved, &e), 0);
	assert_int_equal(issuer_carry_out(&job, &e), 0);
	assert_int_equal(fake.issues, 0);
	assert_int_equal(job.call, GUARD_NOT_MADE);
	assert_int_equal(intents_in(r, INTENT_OPEN), 1);
	/* Nor is the first asked what became of it there. */
	assert_int_equal(r->ops.intents->step(r->gateway.store, &unknown, &done, &e), 0);
	assert_true(done);
	assert_int_equal(issuer_carry_out(&job, &e), 0);
	assert_int_equal(fake.reconciles, 0);
}

static int (*step_really)(struct store *store, const struct intent_step *step, bool *done, struct err *e);

/* ... between the look at it and the step. */
static int
step_after_move(struct store *store, const struct intent_step *step, bool *done, struct err *e)
{
	struct intent_moved one = { .id = step->id, .to = "second" };
	struct intent_move move = { .from = "issuing", .list = &one, .count = 1, .why = "test", .now_s = NOW };
	size_t moved = 0;

	assert_int_equal(store_sqlite.intents->move(store, &move, &moved, e), 0);
	return step_really(store, step, done, e);
}

static void
one_that_goes_to_another_ca_at_the_last_moment_is_not_sent_by_the_first(void **state)
{
	struct rig *r = *state;
	struct intent_ops intents = *r->ops.intents;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	step_really = intents.step;
	intents.step = step_after_move;
	r->ops.intents = &intents;
	assert_int_equal(step_all(r), 1);
	r->ops.intents = store_sqlite.intents;
	assert_int_equal(fake.issues, 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM intent WHERE ca = 'second' AND state = 0"), 1);
}

#define LIMIT_CONF "rules = ( { name = \"few\"; action = \"allow\"; count = 1; per = \"1d\"; } );\n"

/* One certificate a day; what comes past it is denied. */
static void
limited(struct rig *r)
{
	CLEANUP(buf) struct buf conf = { 0 };
	struct err e = { 0 };

	buf_append_text(&conf, rig_conf);
	buf_append_text(&conf, LIMIT_CONF);
	rig_load(r, buf_text(&conf));
	rig_label(r, "");
	r->world->config->cas[0].wait_s = 0;
	assert_int_equal(rule_limits_new(&r->gateway.rule_limits, &e), 0);
}

static void
a_limit_gets_back_what_the_ca_refused(void **state)
{
	struct rig *r = *state;

	limited(r);
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	rig_new_csr(r);
	ask(r, ERR_DENIED); /* the limit is full: one is being asked for */
	assert_string_equal(r->result.reason, "policy.rules");
	fake_will(fake.issue, REFUSE);
	assert_int_equal(step_all(r), 1);
	fake_will(fake.issue, ISSUE);
	rig_new_csr(r);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	ask(r, ERR_NONE);
	rig_new_csr(r);
	ask(r, ERR_DENIED); /* a certificate stays counted */
	rule_limits_free(r->gateway.rule_limits);
	r->gateway.rule_limits = NULL;
}

static void
a_limit_gets_nothing_back_for_what_a_former_life_counted(void **state)
{
	struct rig *r = *state;
	struct err e = { 0 };

	limited(r);
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	rule_limits_free(r->gateway.rule_limits);
	assert_int_equal(rule_limits_new(&r->gateway.rule_limits, &e), 0);
	issuer_reopen(r);
	issuer_open_idle(r);
	rig_new_csr(r);
	ask(r, ERR_PENDING);
	fake_will(fake.issue, REFUSE);
	fake.issue[1] = WAIT;
	assert_int_equal(step_all(r), 2); /* the first is refused: this life never counted it */
	rig_new_csr(r);
	ask(r, ERR_DENIED);
	rule_limits_free(r->gateway.rule_limits);
	r->gateway.rule_limits = NULL;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_certificate_that_could_not_be_recorded_is_kept_and_nobody_is_asked_again),
		test(a_certificate_that_is_kept_does_not_wait_behind_the_budget),
		test(a_revocation_does_not_wait_behind_the_budget),
		test(a_quarantine_that_could_not_be_recorded_is_kept),
		test(one_that_comes_after_an_operator_gave_it_up_is_revoked_there),
		test(an_operators_word_that_crossed_a_lost_answer_is_asked_for_again),
		test(who_only_asks_and_is_refused_does_not_take_it_for_refused),
		test(not_issued_is_believed_when_what_was_sent_has_settled),
		test(a_ca_that_answers_and_cannot_tell_is_not_down),
		test(what_is_sent_again_begins_without_the_reference_of_the_first_time),
		test(one_that_went_to_another_ca_is_not_sent_by_the_first),
		test(one_that_goes_to_another_ca_at_the_last_moment_is_not_sent_by_the_first),
		test(a_limit_gets_back_what_the_ca_refused),
		test(a_limit_gets_nothing_back_for_what_a_former_life_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
