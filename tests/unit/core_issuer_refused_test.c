/* A CA that refuses is not asked by each repetition. */
#define _GNU_SOURCE
#include "tests/unit/core_issuer_fixture.h"

static void
refused_once(struct rig *r)
{
	issuer_open_idle(r);
	fake_will(fake.issue, REFUSE);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
}

static void
a_refusal_denies_the_request_and_the_next_one_is_a_new_question(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	fake_will(fake.issue, REFUSE);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_FAILED), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM request WHERE state = 3 AND reason = 'ca.refused'"), 1);
	assert_int_equal(audits_of(r, "ca.refused"), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM decision WHERE reason = 'ca.refused' AND request_id = 1"), 1);
	fake_will(fake.issue, ISSUE);
	later_s(60);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	assert_memory_equal(fake.asked[1], "gw-1-1-", 7);
	ask(r, ERR_NONE);
}

static void
a_repetition_soon_after_is_told_why_from_the_record(void **state)
{
	struct rig *r = *state;
	int64_t audited;
	int i;

	refused_once(r);
	audited = rig_number(r, "SELECT count(*) FROM audit");
	for (i = 0; i < 3; i++) {
		ask(r, ERR_DENIED);
		assert_string_equal(r->result.reason, "ca.refused");
		assert_string_equal(r->result.sentence, "template says no");
		assert_int_equal(r->result.request_id, 1);
	}
	later_s(59);
	ask(r, ERR_DENIED);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM intent"), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit"), audited);
	assert_int_equal(step_all(r), 0);
	assert_int_equal(fake.issues, 1);
}

static void
it_asks_once_more_when_retry_after_has_passed(void **state)
{
	struct rig *r = *state;

	refused_once(r);
	later_s(60);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.issues, 2);
	/* Counted from the latest refusal. */
	later_s(59);
	ask(r, ERR_DENIED);
	fake_will(fake.issue, ISSUE);
	later_s(1);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	ask(r, ERR_NONE);
}

static void
another_request_of_the_device_goes_to_the_ca_at_once(void **state)
{
	struct rig *r = *state;

	refused_once(r);
	rig_new_csr(r);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.issues, 2);
}

static void
what_is_not_allowed_any_more_says_so(void **state)
{
	struct rig *r = *state;

	refused_once(r);
	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	ask(r, ERR_DENIED);
	assert_string_equal(r->result.reason, "asset.state");
}

/* An operator who gave it up has not refused it: the device may begin again. */
static void
one_that_an_operator_gave_up_begins_again_at_once(void **state)
{
	struct rig *r = *state;
	struct intent_end end = { .id = 1, .to = INTENT_FAILED, .reason = "ca.resolved", .sentence = "gone", .policy_version = "1",
		.actor = "operator:test", .audit = "ca.resolved", .now_s = NOW };
	struct err e = { 0 };
	bool done = false;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(r->ops.intents->end(r->gateway.store, &end, &done, &e), 0);
	assert_true(done);
	ask(r, ERR_PENDING);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM intent"), 2);
}

/* A clock that was set back does not shut a device out. */
static void
a_refusal_of_the_future_holds_nobody_back(void **state)
{
	struct rig *r = *state;

	refused_once(r);
	later_s(-3600);
	ask(r, ERR_PENDING);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_refusal_denies_the_request_and_the_next_one_is_a_new_question),
		test(a_repetition_soon_after_is_told_why_from_the_record),
		test(it_asks_once_more_when_retry_after_has_passed),
		test(another_request_of_the_device_goes_to_the_ca_at_once),
		test(what_is_not_allowed_any_more_says_so),
		test(one_that_an_operator_gave_up_begins_again_at_once),
		test(a_refusal_of_the_future_holds_nobody_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
