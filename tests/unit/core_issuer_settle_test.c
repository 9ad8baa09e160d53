/* "Not issued" right after a lost answer, and a clock that somebody sets: a minute is over when a minute has passed. */
#define _GNU_SOURCE
#include "tests/unit/core_issuer_fixture.h"

/* Its answer is lost, and the CA says that it has issued nothing. */
static void
lose(struct rig *r)
{
	fake_will(fake.issue, LOSE_UNSENT);
	fake_will(fake.reconcile, ABSENT);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	fake_will(fake.issue, ISSUE);
	assert_int_equal(intents_in(r, INTENT_UNKNOWN), 1);
}

static void
is_not_believed(struct rig *r)
{
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_UNKNOWN), 1);
	assert_int_equal(fake.issues, 1);
}

static void
is_believed(struct rig *r)
{
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_OPEN), 1);
	assert_int_equal(audits_of(r, "ca.absent"), 1);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.made_count, 1);
	ask(r, ERR_NONE);
}

static void
a_clock_that_is_set_forward_settles_nothing(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	later_s(3600);
	lose(r);
	later_s(ISSUER_RETRY_S);
	clock_is_set(3600);
	is_not_believed(r);
	later_s(ISSUER_SETTLE_S - 1);
	assert_int_equal(step_all(r), 0);
	later_s(1);
	is_believed(r);
}

static void
a_clock_that_is_set_between_two_looks_settles_nothing(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	later_s(3600);
	lose(r);
	later_s(ISSUER_RETRY_S);
	is_not_believed(r);
	later_s(10);
	clock_is_set(ISSUER_SETTLE_S - 10);
	is_not_believed(r);
	later_s(ISSUER_SETTLE_S);
	is_believed(r);
}

/* It is behind when the answer is lost, and right when the CA is asked: the two jumps together are none. */
static void
a_jump_does_not_hide_behind_the_one_before(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	later_s(3600);
	clock_is_set(-600);
	lose(r);
	later_s(ISSUER_RETRY_S);
	clock_is_set(600);
	is_not_believed(r);
	later_s(ISSUER_SETTLE_S);
	is_believed(r);
}

static void
a_clock_that_is_set_back_is_waited_for_no_longer_than_it_takes(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	later_s(3600);
	lose(r);
	later_s(ISSUER_SETTLE_S);
	clock_is_set(-10);
	is_not_believed(r);
	later_s(ISSUER_SETTLE_S);
	is_believed(r);
}

/* Nobody knows what the clock did meanwhile. */
static void
a_process_that_has_just_begun_believes_nothing_yet(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	lose(r);
	issuer_reopen(r);
	later_s(3600);
	issuer_open_idle(r);
	is_not_believed(r);
	later_s(ISSUER_SETTLE_S);
	is_believed(r);
}

static void
two_deadlines_are_longer_than_a_minute_by_either_clock(void **state)
{
	struct rig *r = *state;

	r->world->config->cas[0].deadline_s = 100;
	issuer_open_idle(r);
	later_s(3600);
	lose(r);
	clock_is_set(3600);
	issuer_see_clocks(r->gateway.issuer); /* as another job does */
	later_s(100);
	is_not_believed(r);
	later_s(199);
	assert_int_equal(step_all(r), 0);
	later_s(1);
	is_believed(r);
}

/* Both are whole seconds, one read after the other: that they differ by one is no jump. */
static void
a_second_more_or_less_is_no_jump(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	later_s(3600);
	lose(r);
	clock_is_set(2);
	later_s(ISSUER_SETTLE_S - 2);
	is_believed(r);
}

/* A lane without an issuer is none that has seen anything. */
static void
without_a_clock_to_look_at_nothing_is_believed(void **state)
{
	struct rig *r = *state;
	struct issuer *issuer;

	issuer_open_idle(r);
	later_s(3600);
	lose(r);
	later_s(ISSUER_SETTLE_S);
	issuer = r->gateway.issuer;
	r->gateway.issuer = NULL;
	is_not_believed(r);
	r->gateway.issuer = issuer;
}

/* The clock of this machine: it runs, and who has just begun has not seen it run. */
static void
the_steady_clock_of_the_machine_is_used_when_none_is_given(void **state)
{
	struct rig *r = *state;
	struct issuer_settings settings = { .gateway = &r->gateway, .waiters_max = 2 };
	struct err e = { 0 };

	r->ca_ops.remote = false;
	assert_int_equal(issuer_start(&settings, &r->gateway.issuer, &e), 0);
	r->ca_ops.remote = true;
	assert_true(r->gateway.issuer->together_s > 0);
	assert_true(issuer_clock_ran(r->gateway.issuer, 2));
	assert_false(issuer_clock_ran(r->gateway.issuer, 3600));
	r->gateway.issuer->together_s -= 3600;
	assert_true(issuer_clock_ran(r->gateway.issuer, 3600));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_clock_that_is_set_forward_settles_nothing),
		test(a_clock_that_is_set_between_two_looks_settles_nothing),
		test(a_jump_does_not_hide_behind_the_one_before),
		test(a_clock_that_is_set_back_is_waited_for_no_longer_than_it_takes),
		test(a_process_that_has_just_begun_believes_nothing_yet),
		test(two_deadlines_are_longer_than_a_minute_by_either_clock),
		test(a_second_more_or_less_is_no_jump),
		test(without_a_clock_to_look_at_nothing_is_believed),
		test(the_steady_clock_of_the_machine_is_used_when_none_is_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
