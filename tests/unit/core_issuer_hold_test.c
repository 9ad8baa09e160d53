#define _GNU_SOURCE
/* Holds at a CA elsewhere: what it is told when an asset goes into quarantine and comes out of it, whatever becomes of the calls. */
#include "tests/unit/core_issuer_hold.h"

static void
a_ca_is_told_of_a_hold_its_end_and_a_revocation(void **state)
{
	struct rig *r = *state;

	enroll(r);
	tell(r);
	assert_int_equal(at_ca.calls, 0);
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	tell(r);
	expect_reason(0, 6);
	assert_int_equal(at_ca.is, UPSTREAM_HELD);
	rig_set_state(r, "rtr-1", ASSET_STAGED);
	tell(r);
	expect_reason(1, 8);
	assert_int_equal(at_ca.is, UPSTREAM_GOOD);
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	tell(r);
	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	tell(r);
	expect_reason(3, 1);
	assert_int_equal(at_ca.is, UPSTREAM_REVOKED);
	tell(r);
	assert_int_equal(at_ca.calls, 4);
	assert_int_equal(audits_of(r, "ca.held"), 2);
	assert_int_equal(audits_of(r, "ca.released"), 1);
	assert_int_equal(audits_of(r, "ca.revoked"), 1);
}

static void
a_ca_that_cannot_end_a_hold_is_told_of_none(void **state)
{
	struct rig *r = *state;

	enroll(r);
	r->ca_ops.holds = false;
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	tell(r);
	tell(r);
	assert_int_equal(at_ca.calls, 0);
	assert_int_equal(audits_of(r, "ca.hold_impossible"), 1);
	rig_set_state(r, "rtr-1", ASSET_STAGED);
	tell(r);
	assert_int_equal(at_ca.calls, 0);
	assert_int_equal(audits_of(r, "ca.release_impossible"), 0);
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	tell(r);
	expect_reason(0, 1);
}

static void
a_ca_without_revocations_is_told_of_no_hold(void **state)
{
	struct rig *r = *state;

	enroll(r);
	r->ca_ops.revoke = NULL;
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	tell(r);
	assert_int_equal(audits_of(r, "ca.hold_impossible"), 1);
	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	tell(r);
	assert_int_equal(audits_of(r, "ca.revoke_impossible"), 1);
}

/* No answer, then a release before anybody tried again: the CA may have the hold. */
static void
a_hold_whose_answer_was_lost_is_released(void **state)
{
	struct rig *r = *state;

	enroll(r);
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	at_ca.fails = ERR_UPSTREAM;
	at_ca.arrives = true;
	tell(r);
	assert_int_equal(at_ca.is, UPSTREAM_HELD);
	rig_set_state(r, "rtr-1", ASSET_STAGED);
	at_ca.fails = ERR_NONE;
	tell(r);
	expect_reason(1, 8);
	assert_int_equal(at_ca.is, UPSTREAM_GOOD);
}

static int (*step_really)(struct store *store, const struct revocation_step *step, struct err *e);
static bool step_down;

static int
step_sometimes(struct store *store, const struct revocation_step *step, struct err *e)
{
	return step_down ? err_set(e, ERR_UPSTREAM, "disk full") : step_really(store, step, e);
}

/* The CA has it, and the process dies before the store does. */
static void
a_hold_that_a_crash_cut_off_is_told_again_or_released(void **state)
{
	struct rig *r = *state;
	struct intent_ops intents = *r->ops.intents;
	struct issuer_job job;
	struct err e = { 0 };

	enroll(r);
	step_really = intents.revocation_step;
	intents.revocation_step = step_sometimes;
	r->ops.intents = &intents;
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	step_down = true;
	job = job_of(r);
	assert_int_equal(issuer_carry_out_revocation(&job, &e), -1);
	buf_free(&job.cert);
	assert_int_equal(at_ca.is, UPSTREAM_HELD);
	issuer_reopen(r);
	step_down = false;
	issuer_open_idle(r);
	rig_set_state(r, "rtr-1", ASSET_STAGED);
	tell(r);
	expect_reason(1, 8);
	assert_int_equal(at_ca.is, UPSTREAM_GOOD);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM ca_revocation WHERE state = 1"), 1);
}

static int
begin_never(struct store *store, int64_t id, enum upstream wanted, bool *done, struct err *e)
{
	(void)store;
	(void)id;
	(void)wanted;
	(void)done;
	return err_set(e, ERR_UPSTREAM, "disk full");
}

static void
a_hold_is_not_told_before_the_store_knows_of_it(void **state)
{
	struct rig *r = *state;
	struct intent_ops intents = *r->ops.intents;
	struct issuer_job job;
	struct err e = { 0 };

	enroll(r);
	intents.revocation_begin = begin_never;
	r->ops.intents = &intents;
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	job = job_of(r);
	assert_int_equal(issuer_carry_out_revocation(&job, &e), -1);
	buf_free(&job.cert);
	assert_int_equal(job.call, GUARD_NOT_MADE);
	assert_int_equal(at_ca.calls, 0);
}

static void
a_hold_that_ended_while_it_was_queued_is_not_told(void **state)
{
	struct rig *r = *state;
	struct issuer_job job;
	struct err e = { 0 };

	enroll(r);
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	job = job_of(r);
	rig_set_state(r, "rtr-1", ASSET_STAGED);
	assert_int_equal(issuer_carry_out_revocation(&job, &e), 0);
	buf_free(&job.cert);
	assert_int_equal(job.call, GUARD_NOT_MADE);
	assert_false(job.counted);
	assert_int_equal(job.next_try_s, fake.now_s); /* look at once: something else may be wanted */
	tell(r);
	assert_int_equal(at_ca.calls, 0);
}

/* A refusal says that nothing has changed there. */
static void
a_hold_that_the_ca_refuses_is_tried_later_and_not_released(void **state)
{
	struct rig *r = *state;

	enroll(r);
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	at_ca.fails = ERR_DENIED;
	tell(r);
	tell(r);
	assert_int_equal(at_ca.calls, 1);
	later_s(ISSUER_REVOKE_MAX_S);
	tell(r);
	expect_reason(1, 6);
	rig_set_state(r, "rtr-1", ASSET_STAGED);
	at_ca.fails = ERR_NONE;
	tell(r);
	assert_int_equal(at_ca.calls, 2);
}

/* By CMP it is asked in more than one message: the first may have done it, and the last be refused. */
static void
a_hold_after_a_refused_release_is_told(void **state)
{
	struct rig *r = *state;

	enroll(r);
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	tell(r);
	rig_set_state(r, "rtr-1", ASSET_STAGED);
	at_ca.fails = ERR_DENIED;
	at_ca.arrives = true;
	tell(r);
	assert_int_equal(at_ca.is, UPSTREAM_GOOD);
	at_ca.fails = ERR_NONE;
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	tell(r);
	expect_reason(2, 6);
	assert_int_equal(at_ca.is, UPSTREAM_HELD);
}

/* Nobody answers for the CA's approvers: it is well, and may hold it at any time. */
static void
a_hold_that_waits_for_an_approval_there_is_no_failure_of_the_ca(void **state)
{
	struct rig *r = *state;
	struct issuer_job job;
	struct err e = { 0 };

	enroll(r);
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	at_ca.fails = ERR_PENDING;
	job = job_of(r);
	assert_int_equal(issuer_carry_out_revocation(&job, &e), 0);
	buf_free(&job.cert);
	assert_int_equal(job.call, GUARD_ANSWERED);
	assert_int_equal(job.outcome, CALL_REVOKE_FAILED);
	assert_true(job.next_try_s > fake.now_s);
	at_ca.is = UPSTREAM_HELD; /* approved */
	at_ca.fails = ERR_NONE;
	rig_set_state(r, "rtr-1", ASSET_STAGED);
	tell(r);
	assert_int_equal(at_ca.is, UPSTREAM_GOOD);
}

/* Our role there may not revoke: what is to be issued does not wait for somebody to mend that. */
static void
a_revocation_that_is_not_taken_is_no_failure_of_a_ca_that_is_there(void **state)
{
	static const enum guard_call call[] = { GUARD_REACHED, GUARD_FAILED };
	static const enum asset_state to[] = { ASSET_QUARANTINED, ASSET_STOLEN };
	struct rig *r = *state;
	struct issuer_job job;
	struct err e = { 0 };
	size_t i, k;

	enroll(r);
	at_ca.fails = ERR_UPSTREAM;
	for (i = 0; i < 2; i++) {
		rig_set_state(r, "rtr-1", to[i]);
		for (k = 0; k < 2; k++) {
			fake.check_down = k == 1;
			job = job_of(r);
			assert_int_equal(issuer_carry_out_revocation(&job, &e), 0);
			buf_free(&job.cert);
			assert_int_equal(job.call, call[k]);
			assert_int_equal(job.outcome, CALL_REVOKE_FAILED);
			later_s(ISSUER_REVOKE_MAX_S);
		}
	}
}

static void
a_release_that_is_impossible_is_said_once(void **state)
{
	struct rig *r = *state;

	enroll(r);
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	tell(r);
	rig_set_state(r, "rtr-1", ASSET_STAGED);
	at_ca.fails = ERR_UNSUPPORTED;
	tell(r);
	tell(r);
	assert_int_equal(at_ca.calls, 2);
	assert_int_equal(audits_of(r, "ca.release_impossible"), 1);
}

static void
await_number(struct rig *r, const char *sql, int64_t number)
{
	struct timespec tick = { .tv_nsec = 1000000 };

	while (rig_number(r, sql) != number)
		(void)nanosleep(&tick, NULL);
}

static void
await_metric(struct rig *r, const char *line)
{
	struct timespec tick = { .tv_nsec = 1000000 };
	struct buf metrics = { 0 };

	for (; strstr(buf_text(&metrics), line) == NULL; (void)nanosleep(&tick, NULL)) {
		buf_clear(&metrics);
		issuer_metrics(r->gateway.issuer, &metrics);
	}
	buf_free(&metrics);
}

static void
a_lane_tells_holds_as_they_come_and_counts_them(void **state)
{
	static const enum asset_state to[] = { ASSET_QUARANTINED, ASSET_STAGED, ASSET_QUARANTINED, ASSET_STOLEN };
	static const enum upstream is[] = { UPSTREAM_HELD, UPSTREAM_GOOD, UPSTREAM_HELD, UPSTREAM_REVOKED };
	struct rig *r = *state;
	size_t i;

	memset(&at_ca, 0, sizeof at_ca);
	r->ca_ops.revoke = locked;
	r->ca_ops.holds = true;
	issuer_open(r);
	ask(r, ERR_PENDING);
	await_number(r, "SELECT count(*) FROM intent WHERE state = 4", 1);
	for (i = 0; i < sizeof to / sizeof to[0]; i++) {
		rig_set_state(r, "rtr-1", to[i]);
		issuer_wake(r->gateway.issuer, NULL);
		await_ca(is[i]);
		await_number(r, "SELECT count(*) FROM ca_revocation WHERE state = 1", 1);
	}
	await_metric(r, "outcome=\"held\"} 2\n");
	await_metric(r, "outcome=\"released\"} 1\n");
	await_metric(r, "outcome=\"revoked\"} 1\n");
	issuer_stop(r->gateway.issuer);
	r->gateway.issuer = NULL;
	assert_int_equal(at_ca.calls, 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_ca_is_told_of_a_hold_its_end_and_a_revocation),
		test(a_ca_that_cannot_end_a_hold_is_told_of_none),
		test(a_ca_without_revocations_is_told_of_no_hold),
		test(a_hold_whose_answer_was_lost_is_released),
		test(a_hold_that_a_crash_cut_off_is_told_again_or_released),
		test(a_hold_is_not_told_before_the_store_knows_of_it),
		test(a_hold_that_ended_while_it_was_queued_is_not_told),
		test(a_hold_that_the_ca_refuses_is_tried_later_and_not_released),
		test(a_hold_after_a_refused_release_is_told),
		test(a_hold_that_waits_for_an_approval_there_is_no_failure_of_the_ca),
		test(a_revocation_that_is_not_taken_is_no_failure_of_a_ca_that_is_there),
		test(a_release_that_is_impossible_is_said_once),
		test(a_lane_tells_holds_as_they_come_and_counts_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
