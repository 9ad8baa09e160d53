/* The issuer with its threads: outages, budgets, restarts. */
#define _GNU_SOURCE
#include <inttypes.h>

#include "tests/unit/core_issuer_threads_fixture.h"

#define DEVICES 12

static void
a_request_that_waits_a_little_gets_its_certificate_at_once(void **state)
{
	struct rig *r = *state;

	issuer_load(r, "wait = \"60s\"; ");
	issuer_open(r);
	ask(r, ERR_NONE);
	assert_int_equal(fake.issues, 1);
	assert_int_equal(rig_certs(r), 1);
	assert_int_equal(audits_of(r, "enroll.issued"), 1);
}

static void
a_refusal_that_comes_in_time_is_told_at_once_and_not_asked_for_again(void **state)
{
	struct rig *r = *state;

	issuer_load(r, "wait = \"60s\"; ");
	fake_will(fake.issue, REFUSE);
	issuer_open(r);
	ask(r, ERR_DENIED);
	assert_string_equal(r->result.reason, "ca.refused");
	assert_int_equal(fake.issues, 1);
}

static void
the_same_request_twice_at_once_is_issued_once(void **state)
{
	struct rig *r = *state;
	struct device devices[2] = { 0 };
	size_t i;

	issuer_load(r, "wait = \"60s\"; ");
	hold(true);
	issuer_open(r);
	for (i = 0; i < 2; i++)
		device_start(&devices[i], r);
	await_calls(&fake.inside, 1);
	hold(false);
	for (i = 0; i < 2; i++) {
		assert_int_equal(device_end(&devices[i]), ERR_NONE);
		assert_memory_equal(devices[i].result.cert.at, fake.made.at, fake.made.len);
		enroll_result_free(&devices[i].result);
	}
	assert_int_equal(fake.issues, 1);
	assert_int_equal(rig_certs(r), 1);
}

/* Two may wait (issuer_open()); the others are told to come back while the CA sits on the first. */
static void
requests_do_not_pile_up_behind_a_slow_ca(void **state)
{
	struct rig *r = *state;
	struct device devices[DEVICES] = { 0 };
	struct buf csrs[DEVICES] = { 0 };
	size_t i, pending = 0, issued = 0;

	issuer_load(r, "wait = \"60s\"; calls = 1; ");
	hold(true);
	issuer_open(r);
	for (i = 0; i < DEVICES; i++) {
		rig_new_csr(r);
		buf_append_bytes(&csrs[i], r->request.csr);
		r->request.csr = buf_bytes(&csrs[i]);
		device_start(&devices[i], r);
	}
	await_calls(&fake.inside, 1);
	await_end(r, "SELECT count(*) FROM intent", DEVICES);
	hold(false);
	for (i = 0; i < DEVICES; i++) {
		enum err_code code = device_end(&devices[i]);

		assert_true(code == ERR_PENDING || code == ERR_NONE);
		pending += code == ERR_PENDING;
		issued += code == ERR_NONE;
		enroll_result_free(&devices[i].result);
	}
	assert_true(pending >= 1);
	assert_true(issued <= DEVICES);
	await_end(r, "SELECT count(*) FROM intent WHERE state = 4", DEVICES);
	assert_int_equal(fake.issues, DEVICES);
	for (i = 0; i < DEVICES; i++)
		buf_free(&csrs[i]);
}

static void
after_an_outage_devices_are_served_oldest_first(void **state)
{
	struct rig *r = *state;
	char wanted[INTENT_CA_REQUEST_MAX];
	size_t i, calls;

	issuer_load(r, "wait = \"0s\"; calls = 1; ");
	fake_will(fake.issue, DOWN);
	issuer_open(r);
	for (i = 0; i < DEVICES; i++) {
		rig_new_csr(r);
		ask(r, ERR_PENDING);
	}
	await_calls(&fake.issues, GUARD_FAILURES);
	await_open_breaker(r);
	fake_will(fake.issue, ISSUE);
	fake_lock();
	calls = fake.issues; /* the breaker is open: nothing more comes while the clock stands still */
	fake_unlock();
	assert_int_equal(calls, GUARD_FAILURES);
	later_s(GUARD_BACKOFF_S);
	issuer_wake(r->gateway.issuer, NULL);
	await_end(r, "SELECT count(*) FROM intent WHERE state = 4", DEVICES);
	/* The first that gets through is the probe; the others follow in the order in which they came. */
	for (i = 1; i < DEVICES; i++) {
		int64_t now = 0, before = 0;

		(void)snprintf(wanted, sizeof wanted, "%s", fake.asked[calls + i]);
		assert_int_equal(sscanf(wanted, "gw-%" SCNd64, &now), 1);
		assert_int_equal(sscanf(fake.asked[calls + i - 1], "gw-%" SCNd64, &before), 1);
		if (i > 1)
			assert_true(now > before);
	}
	assert_int_equal(fake.issues, calls + DEVICES);
	assert_int_equal(rig_certs(r), DEVICES);
}

/* What was put off is not forgotten while others are served; the clock goes on by itself here. */
static void
one_that_was_put_off_comes_when_its_time_has_come(void **state)
{
	struct rig *r = *state;

	issuer_load(r, "wait = \"0s\"; calls = 1; ");
	fake.issue[0] = DOWN;
	issuer_open(r);
	ask(r, ERR_PENDING);
	await_calls(&fake.issues, 1);
	rig_new_csr(r);
	ask(r, ERR_PENDING);
	await_calls(&fake.issues, 2);
	await_end(r, "SELECT count(*) FROM intent WHERE state = 4", 1);
	later_s(ISSUER_RETRY_S); /* and nobody wakes the issuer */
	await_end(r, "SELECT count(*) FROM intent WHERE state = 4", 2);
}

static void
nobody_waits_for_a_ca_whose_breaker_is_open(void **state)
{
	struct rig *r = *state;
	CLEANUP(buf) struct buf text = { 0 };
	size_t i;

	issuer_load(r, "wait = \"0s\"; calls = 1; ");
	fake_will(fake.issue, DOWN);
	issuer_open(r);
	for (i = 0; i < GUARD_FAILURES; i++) {
		rig_new_csr(r);
		ask(r, ERR_PENDING);
	}
	await_calls(&fake.issues, GUARD_FAILURES);
	await_open_breaker(r);
	await_recorded(r);
	r->world->config->cas[0].wait_s = 86400; /* the test would not come to its end */
	rig_new_csr(r);
	ask(r, ERR_PENDING);
	issuer_metrics(r->gateway.issuer, &text);
	assert_non_null(strstr(buf_text(&text), "enrolld_ca_breaker_state{ca=\"issuing\"} 2\n"));
	assert_non_null(strstr(buf_text(&text), "enrolld_ca_intents{ca=\"issuing\",state=\"open\"} 6\n"));
	assert_non_null(strstr(buf_text(&text), "enrolld_ca_calls_total{ca=\"issuing\",outcome=\"unavailable\"} 5\n"));
}

static void
a_budget_spreads_a_wave(void **state)
{
	struct rig *r = *state;
	size_t i;

	issuer_load(r, "wait = \"0s\"; calls = 2; budget = 60; ");
	issuer_open(r);
	for (i = 0; i < 8; i++) {
		rig_new_csr(r);
		ask(r, ERR_PENDING);
	}
	for (i = 1; i <= 8; i++) {
		await_calls(&fake.issues, i);
		fake_lock();
		assert_true(fake.issues <= i + 1);
		fake_unlock();
		later_s(1);
		issuer_wake(r->gateway.issuer, NULL);
	}
	await_end(r, "SELECT count(*) FROM intent WHERE state = 4", 8);
}

static void
a_restart_with_a_call_under_way_issues_once(void **state)
{
	struct rig *r = *state;

	issuer_load(r, "wait = \"0s\"; ");
	fake_will(fake.issue, LOSE);
	issuer_open(r);
	ask(r, ERR_PENDING);
	await_calls(&fake.issues, 1);
	issuer_reopen(r);
	fake_will(fake.reconcile, SAME_AGAIN);
	later_s(ISSUER_RETRY_MAX_S);
	issuer_open(r);
	await_end(r, "SELECT count(*) FROM intent WHERE state = 4", 1);
	assert_int_equal(fake.made_count, 1);
	ask(r, ERR_NONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_request_that_waits_a_little_gets_its_certificate_at_once),
		test(a_refusal_that_comes_in_time_is_told_at_once_and_not_asked_for_again),
		test(the_same_request_twice_at_once_is_issued_once),
		test(requests_do_not_pile_up_behind_a_slow_ca),
		test(after_an_outage_devices_are_served_oldest_first),
		test(one_that_was_put_off_comes_when_its_time_has_come),
		test(nobody_waits_for_a_ca_whose_breaker_is_open),
		test(a_budget_spreads_a_wave),
		test(a_restart_with_a_call_under_way_issues_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
