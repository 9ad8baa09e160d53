/* An MDM vouched for the device, and what the CA did is not known: the MDM is told once of the end that an operator makes. */
#define _GNU_SOURCE
#include "tests/unit/core_issuer_mdm.h"
#include "tests/unit/core_issuer_hand.h"

static void
give_up(struct rig *r)
{
	good(r, "ca resolve", "{\"id\": 1, \"failed\": true, \"reason\": \"not worth it\"}");
	assert_string_equal(text_of(answer.result, "state"), "failed");
}

static void
the_mdm_is_told_that_an_operator_gave_it_up(void **state)
{
	struct rig *r = *state;

	begin(r, "wait = \"0s\"; ");
	one_lost(r, ISSUE);
	is_told(0, 0);
	give_up(r);
	is_told(0, 1);
	bad(r, "ca resolve", "{\"id\": 1, \"failed\": true}", ERR_DENIED, "is failed");
	is_told(0, 1);
}

static void
the_mdm_is_told_that_one_which_waits_at_its_ca_was_given_up(void **state)
{
	struct rig *r = *state;

	begin(r, "wait = \"0s\"; ");
	fake_will(fake.issue, WAIT);
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_WAITING), 1);
	give_up(r);
	is_told(0, 1);
}

static void
the_mdm_is_told_of_the_certificate_that_an_operator_handed_in(void **state)
{
	struct rig *r = *state;

	begin(r, "wait = \"0s\"; ");
	one_lost(r, ISSUE);
	assert_int_equal(hand_in(r, buf_bytes(&fake.made)), 0);
	assert_string_equal(text_of(answer.result, "state"), "done");
	is_told(1, 0);
	ask(r, ERR_NONE);
	is_told(1, 0);
}

static void
the_mdm_is_told_that_what_an_operator_handed_in_was_not_approved(void **state)
{
	struct rig *r = *state;

	begin(r, "wait = \"0s\"; ");
	one_lost(r, WRONG_NAME);
	assert_int_equal(hand_in(r, buf_bytes(&fake.made)), 0);
	assert_string_equal(text_of(answer.result, "state"), "quarantined");
	is_told(0, 1);
}

/* It goes on: there is no end to tell of before there is one. */
static void
the_mdm_is_not_told_that_it_is_sent_again(void **state)
{
	struct rig *r = *state;

	begin(r, "wait = \"0s\"; ");
	one_lost(r, ISSUE);
	good(r, "ca resolve", "{\"id\": 1, \"absent\": true}");
	is_told(0, 0);
}

/* Its request was given up while the device waited for it: whoever recorded it tells of it. */
static void
the_mdm_is_told_once_when_the_device_waits_for_what_is_given_up(void **state)
{
	struct rig *r = *state;
	struct device device = { 0 };

	begin(r, "wait = \"60s\"; ");
	r->ca_ops.reconcile = NULL;
	fake_will(fake.issue, LOSE_UNSENT);
	issuer_open(r);
	device_start(&device, r);
	await_waiting(r, 1);
	await_end(r, "SELECT count(*) FROM intent WHERE state = 3", 1);
	give_up(r);
	assert_int_equal(device_end(&device), ERR_DENIED);
	enroll_result_free(&device.result);
	is_told(0, 1);
}

/* Two operators, and the second one's word comes while the first one's is being written. */
static int
end_after_another(struct store *store, const struct intent_end *end, bool *done, struct err *e)
{
	struct intent_end first = *end;

	first.actor = "operator:other";
	assert_int_equal(store_sqlite.intents->end(store, &first, done, e), 0);
	assert_true(*done);
	return store_sqlite.intents->end(store, end, done, e);
}

static void
who_comes_second_tells_no_mdm(void **state)
{
	struct rig *r = *state;
	struct intent_ops intents = *r->ops.intents;

	begin(r, "wait = \"0s\"; ");
	one_lost(r, ISSUE);
	intents.end = end_after_another;
	r->ops.intents = &intents;
	bad(r, "ca resolve", "{\"id\": 1, \"failed\": true}", ERR_DENIED, "has just changed");
	is_told(0, 0);
}

static void
no_mdm_is_told_of_what_it_did_not_vouch_for(void **state)
{
	struct rig *r = *state;
	struct enroll_request by_certificate = r->request;

	begin(r, "wait = \"0s\"; ");
	r->world->config->labels[0].policy.auth |= AUTH_CERTIFICATE;
	by_certificate.label = r->request.label;
	r->request = by_certificate;
	rig_csr(r, r->key, NULL);
	one_lost(r, ISSUE);
	give_up(r);
	is_told(0, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_mdm_is_told_that_an_operator_gave_it_up),
		TEST(the_mdm_is_told_that_one_which_waits_at_its_ca_was_given_up),
		TEST(the_mdm_is_told_of_the_certificate_that_an_operator_handed_in),
		TEST(the_mdm_is_told_that_what_an_operator_handed_in_was_not_approved),
		TEST(the_mdm_is_not_told_that_it_is_sent_again),
		TEST(the_mdm_is_told_once_when_the_device_waits_for_what_is_given_up),
		TEST(who_comes_second_tells_no_mdm),
		TEST(no_mdm_is_told_of_what_it_did_not_vouch_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
