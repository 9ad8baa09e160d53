/* What an operator can say of a request that waits at its CA. */
#define _GNU_SOURCE
#include "tests/unit/core_issuer_hand.h"

/* The CA makes it wait, and made it meanwhile. */
static void
one_waits(struct rig *r)
{
	fake_will(fake.issue, WAIT);
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_WAITING), 1);
}

static int
record_fails(struct store *store, const struct store_outcome *outcome, enum store_recorded *what, int64_t *request_id, struct err *e)
{
	(void)store;
	(void)outcome;
	(void)what;
	(void)request_id;
	return err_set(e, ERR_UPSTREAM, "disk full");
}

static int
issue_apart(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	int result = fake_make(ca, request, ISSUE, out, e);

	ca_answer_free(out);
	*out = (struct ca_answer){ .state = CA_WAITING, .retry_s = 5, .reference = "ref-1" };
	return result;
}

static void
one_that_waits_there_is_handed_in_too(void **state)
{
	struct rig *r = *state;

	r->ca_ops.issue = issue_apart;
	one_waits(r);
	hand_in_well(r, buf_bytes(&fake.made), "done");
	assert_int_equal(rig_certs(r), 1);
	ask(r, ERR_NONE);
}

static void
one_that_waits_is_waiting_as_before_when_it_could_not_be_recorded(void **state)
{
	struct rig *r = *state;

	r->ca_ops.issue = issue_apart;
	one_waits(r);
	r->ops.record = record_fails;
	assert_int_equal(hand_in(r, buf_bytes(&fake.made)), -1);
	assert_int_equal(intents_in(r, INTENT_WAITING), 1);
	assert_int_equal(audits_of(r, "ca.unknown"), 0);
	r->ops.record = store_sqlite.record;
	assert_int_equal(hand_in(r, buf_bytes(&fake.made)), 0);
	assert_string_equal(text_of(answer.result, "state"), "done");
	assert_int_equal(rig_certs(r), 1);
}

/* Sent again, it might be made twice: that it was refused there is the CA's to say, in its answer to a poll. */
static void
one_that_waits_is_given_up_and_not_called_absent(void **state)
{
	struct rig *r = *state;

	one_waits(r);
	bad(r, "ca resolve", "{\"id\": 1, \"absent\": true}", ERR_DENIED, "--failed");
	assert_int_equal(intents_in(r, INTENT_WAITING), 1);
	good(r, "ca resolve", "{\"id\": 1, \"failed\": true}");
	assert_int_equal(intents_in(r, INTENT_FAILED), 1);
	later_s(ISSUER_POLL_MAX_S);
	assert_int_equal(step_all(r), 0);
	assert_int_equal(fake.polls, 0);
}

/* A clock that was ahead (no battery, a wrong host) and is set right does not put anything off for as long as it was ahead. */
static void
what_waits_is_polled_after_the_clock_went_back(void **state)
{
	struct rig *r = *state;
	int64_t right = fake.now_s;

	later_s(30 * DAY);
	fake_will(fake.poll, WAIT);
	one_waits(r);
	atomic_store(&fake.now_s, right);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.polls, 1);
}

static void
a_revocation_is_told_after_the_clock_went_back(void **state)
{
	struct rig *r = *state;
	int64_t right = fake.now_s;

	fake_will(fake.issue, ISSUE);
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	rig_revoke(r, 1);
	fake.revoke_down = true;
	later_s(30 * DAY);
	assert_int_equal(step_all(r), 0);
	fake.revoke_down = false;
	atomic_store(&fake.now_s, right);
	assert_int_equal(step_all(r), 0);
	assert_int_equal(fake.revokes, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_that_waits_there_is_handed_in_too),
		TEST(one_that_waits_is_waiting_as_before_when_it_could_not_be_recorded),
		TEST(one_that_waits_is_given_up_and_not_called_absent),
		TEST(what_waits_is_polled_after_the_clock_went_back),
		TEST(a_revocation_is_told_after_the_clock_went_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
