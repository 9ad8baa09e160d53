/* A CA that names the time when it wants to be asked again (Retry-After) with its "not now". */
#define _GNU_SOURCE
#include "tests/unit/core_issuer_threads_fixture.h"

#define OTHERS 5

static int64_t asked_s; /* by the first call */

static int
issue_busy(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	int result = fake_issue(ca, request, out, e);

	if (result != 0)
		out->retry_s = asked_s;
	asked_s = 0;
	return result;
}

static int
reconcile_busy(struct ca *ca, const struct ca_request *request, const char *reference, struct ca_answer *out, struct err *e)
{
	int result = fake_reconcile(ca, request, reference, out, e);

	if (result != 0)
		out->retry_s = asked_s;
	return result;
}

static void
one_is_put_off(struct rig *r, int64_t retry_s)
{
	asked_s = retry_s;
	r->ca_ops.issue = issue_busy;
	fake.issue[0] = DOWN;
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.issues, 1);
	assert_int_equal(intents_in(r, INTENT_OPEN), 1);
}

static void
comes_after(struct rig *r, int64_t s)
{
	later_s(s - 1);
	assert_int_equal(step_all(r), 0);
	later_s(1);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.issues, 2);
	assert_int_equal(rig_certs(r), 1);
}

static void
a_busy_ca_is_left_alone_as_long_as_it_asks(void **state)
{
	struct rig *r = *state;

	one_is_put_off(r, 900);
	comes_after(r, 900);
}

static void
no_ca_puts_off_for_more_than_an_hour(void **state)
{
	struct rig *r = *state;

	one_is_put_off(r, 86400);
	comes_after(r, ISSUER_POLL_MAX_S);
}

/* The first backoff is one or two seconds. */
static void
no_ca_hurries_what_is_put_off(void **state)
{
	struct rig *r = *state;

	one_is_put_off(r, -5);
	assert_int_equal(step_all(r), 0);
	later_s(ISSUER_RETRY_S);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(rig_certs(r), 1);
}

static void
what_is_looked_for_is_put_off_as_well(void **state)
{
	struct rig *r = *state;

	r->ca_ops.reconcile = reconcile_busy;
	fake.issue[0] = LOSE;
	fake_will(fake.reconcile, SAME_AGAIN);
	fake.reconcile[0] = DOWN;
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	later_s(ISSUER_RETRY_MAX_S);
	asked_s = 700;
	assert_int_equal(step_all(r), 1);
	later_s(699);
	assert_int_equal(step_all(r), 0);
	later_s(1);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.reconciles, 2);
	assert_int_equal(rig_certs(r), 1);
}

/* After an outage comes at once what the gateway has put off. */
static void
one_that_the_ca_has_put_off_does_not_come_with_the_others(void **state)
{
	struct rig *r = *state;
	size_t i;

	issuer_load(r, "wait = \"0s\"; calls = 1; ");
	asked_s = 2000;
	r->ca_ops.issue = issue_busy;
	fake_will(fake.issue, DOWN);
	issuer_open(r);
	ask(r, ERR_PENDING);
	await_calls(&fake.issues, 1);
	for (i = 0; i < OTHERS; i++) {
		rig_new_csr(r);
		ask(r, ERR_PENDING);
	}
	await_calls(&fake.issues, GUARD_FAILURES);
	await_open_breaker(r);
	fake_will(fake.issue, ISSUE);
	later_s(GUARD_BACKOFF_S);
	issuer_wake(r->gateway.issuer, NULL);
	await_end(r, "SELECT count(*) FROM intent WHERE state = 4", OTHERS);
	later_s(1000);
	issuer_wake(r->gateway.issuer, NULL);
	await_recorded(r);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM intent WHERE state = 4"), OTHERS);
	later_s(1000);
	issuer_wake(r->gateway.issuer, NULL);
	await_end(r, "SELECT count(*) FROM intent WHERE state = 4", OTHERS + 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_busy_ca_is_left_alone_as_long_as_it_asks),
		test(no_ca_puts_off_for_more_than_an_hour),
		test(no_ca_hurries_what_is_put_off),
		test(what_is_looked_for_is_put_off_as_well),
		test(one_that_the_ca_has_put_off_does_not_come_with_the_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
