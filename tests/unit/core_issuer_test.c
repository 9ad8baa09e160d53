/* A CA elsewhere, one step at a time: what the device is told, what the CA has issued, what is written down. */
#define _GNU_SOURCE
#include "tests/unit/core_issuer_fixture.h"

static void
a_request_waits_is_issued_and_is_then_answered(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_string_equal(r->result.reason, "ca");
	assert_true(r->result.retry_after_s >= 60 && r->result.retry_after_s <= 90);
	assert_int_equal(intents_in(r, INTENT_OPEN), 1);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.issues, 1);
	assert_memory_equal(fake.asked[0], "gw-1-0-", 7);
	assert_int_equal(intents_in(r, INTENT_DONE), 1);
	assert_int_equal(audits_of(r, "enroll.issued"), 1);
	ask(r, ERR_NONE);
	assert_memory_equal(r->result.cert.at, fake.made.at, fake.made.len);
	assert_int_equal(rig_certs(r), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM certificate c JOIN request q USING (spki_sha256) WHERE c.ca = 'issuing'"), 1);
	assert_int_equal(step_all(r), 0);
}

static void
the_same_request_again_is_not_sent_again(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	ask(r, ERR_PENDING);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM intent"), 1);
	fake_will(fake.issue, WAIT);
	assert_int_equal(step_all(r), 1);
	ask(r, ERR_PENDING);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM intent"), 1);
	assert_int_equal(step_all(r), 0);
	assert_int_equal(fake.issues, 1);
}

static void
one_that_the_ca_lets_wait_is_polled_when_it_said(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	fake_will(fake.issue, WAIT);
	fake_will(fake.poll, WAIT);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_WAITING), 1);
	later_s(29);
	assert_int_equal(step_all(r), 0);
	later_s(1);
	assert_int_equal(step_all(r), 1);
	fake_will(fake.poll, ISSUE);
	later_s(30);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.polls, 2);
	ask(r, ERR_NONE);
}

static void
a_poll_that_fails_is_made_again_and_nothing_is_sent(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	fake_will(fake.issue, WAIT);
	fake_will(fake.poll, DOWN);
	assert_int_equal(step_all(r), 1);
	later_s(30);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_WAITING), 1);
	fake_will(fake.poll, ISSUE);
	later_s(ISSUER_RETRY_MAX_S);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.issues, 1);
	ask(r, ERR_NONE);
}

static void
a_lost_answer_is_found_again(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	fake_will(fake.issue, LOSE);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_UNKNOWN), 1);
	assert_int_equal(audits_of(r, "ca.unknown"), 1);
	ask(r, ERR_PENDING);
	/* That it cannot be told now is no reason to send it again. */
	fake_will(fake.reconcile, DOWN);
	later_s(ISSUER_RETRY_MAX_S);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_UNKNOWN), 1);
	fake_will(fake.reconcile, SAME_AGAIN);
	later_s(ISSUER_RETRY_MAX_S);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.issues, 1);
	assert_int_equal(fake.made_count, 1);
	assert_int_equal(audits_of(r, "ca.unknown"), 1);
	ask(r, ERR_NONE);
	assert_memory_equal(r->result.cert.at, fake.made.at, fake.made.len);
}

static void
what_the_ca_has_certainly_not_issued_is_sent_again_by_the_same_name(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	fake_will(fake.issue, LOSE_UNSENT);
	fake_will(fake.reconcile, ABSENT);
	assert_int_equal(step_all(r), 1);
	fake_will(fake.issue, ISSUE);
	later_s(ISSUER_RETRY_MAX_S);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_OPEN), 1);
	assert_int_equal(audits_of(r, "ca.absent"), 1);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.issues, 2);
	assert_string_equal(fake.asked[0], fake.asked[1]);
	assert_int_equal(fake.made_count, 1);
	ask(r, ERR_NONE);
}

static void
without_a_way_to_ask_an_operator_decides(void **state)
{
	struct rig *r = *state;
	struct intent_step absent = { .id = 1, .from = INTENT_UNKNOWN, .to = INTENT_OPEN, .actor = "operator:test",
		.audit = "ca.resolved", .now_s = NOW };
	struct err e = { 0 };
	bool done = false;

	r->ca_ops.reconcile = NULL;
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	fake_will(fake.issue, LOSE_UNSENT);
	assert_int_equal(step_all(r), 1);
	fake_will(fake.issue, ISSUE);
	later_s(ISSUER_OPERATOR_S - 1);
	assert_int_equal(step_all(r), 0);
	later_s(1);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.issues, 1);
	ask(r, ERR_PENDING);
	assert_int_equal(r->ops.intents->step(r->gateway.store, &absent, &done, &e), 0);
	assert_true(done);
	assert_int_equal(audits_of(r, "ca.resolved"), 1);
	assert_int_equal(r->ops.intents->step(r->gateway.store, &absent, &done, &e), 0);
	assert_false(done);
	assert_int_equal(step_all(r), 1);
	ask(r, ERR_NONE);
	assert_int_equal(fake.made_count, 1);
}

static void
what_was_being_sent_when_the_process_died_is_unknown_and_issued_once(void **state)
{
	struct rig *r = *state;
	struct intent_step sent = { .id = 1, .from = INTENT_OPEN, .to = INTENT_SENT, .called = true, .now_s = NOW };
	struct err e = { 0 };
	bool done = false;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	/* As far as it got: written down, perhaps sent. */
	assert_int_equal(r->ops.intents->step(r->gateway.store, &sent, &done, &e), 0);
	assert_true(done);
	issuer_reopen(r);
	issuer_open_idle(r);
	assert_int_equal(intents_in(r, INTENT_UNKNOWN), 1);
	assert_int_equal(audits_of(r, "ca.unknown"), 1);
	ask(r, ERR_PENDING);
	fake_will(fake.reconcile, ISSUE); /* it had arrived */
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.issues, 0);
	ask(r, ERR_NONE);
	assert_int_equal(rig_certs(r), 1);
}

static void
what_had_not_been_sent_when_the_process_died_is_sent(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	issuer_reopen(r);
	issuer_open_idle(r);
	assert_int_equal(intents_in(r, INTENT_OPEN), 1);
	assert_int_equal(step_all(r), 1);
	ask(r, ERR_NONE);
}

static int
record_fails(struct store *store, const struct store_outcome *outcome, enum store_recorded *what, int64_t *request_id,
	struct err *e)
{
	(void)store;
	(void)outcome;
	(void)what;
	(void)request_id;
	return err_set(e, ERR_UPSTREAM, "disk full");
}

static void
a_certificate_that_could_not_be_recorded_is_found_again(void **state)
{
	struct rig *r = *state;
	struct issuer_job job = { .gateway = &r->gateway, .world = r->world, .ca = &r->world->cas[0], .now_s = NOW,
		.intent_id = 1 };
	struct err e = { 0 };

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	r->ops.record = record_fails;
	assert_int_equal(issuer_carry_out(&job, &e), -1);
	assert_int_equal(intents_in(r, INTENT_SENT), 1);
	issuer_kept_free(job.kept); /* the process has died since */
	r->ops.record = store_sqlite.record;
	fake_will(fake.reconcile, SAME_AGAIN);
	assert_int_equal(step_all(r), 1); /* sent, and nobody sends it: unknown */
	later_s(ISSUER_RETRY_MAX_S);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.made_count, 1);
	ask(r, ERR_NONE);
}

static void
a_ca_that_is_down_is_asked_again_later(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	fake_will(fake.issue, DOWN);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_OPEN), 1);
	assert_int_equal(step_all(r), 0);
	fake_will(fake.issue, ISSUE);
	later_s(ISSUER_RETRY_S);
	assert_int_equal(step_all(r), 1);
	ask(r, ERR_NONE);
}

/* What came is not what was approved: not let out, revoked there, told. */
static void
expect_quarantine(struct rig *r, enum act act)
{
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	fake_will(fake.issue, act);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_QUARANTINED), 1);
	assert_int_equal(rig_certs(r), 0);
	assert_int_equal(audits_of(r, "ca.quarantined"), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE detail_json ->> 'alert' = 1"), 1);
	fake.revoke_down = true;
	assert_int_equal(step_all(r), 0);
	assert_int_equal(fake.revokes, 0);
	fake.revoke_down = false;
	later_s(ISSUER_REVOKE_MAX_S);
	assert_int_equal(step_all(r), 0);
	assert_int_equal(fake.revokes, 1);
	assert_string_equal(fake.revoked[0], fake.made_serial);
	assert_int_equal(audits_of(r, "ca.revoked"), 1);
	later_s(ISSUER_REVOKE_MAX_S);
	assert_int_equal(step_all(r), 0);
	assert_int_equal(fake.revokes, 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM request WHERE state = 3"), 1);
}

static void
a_certificate_for_another_key_is_quarantined(void **state)
{
	expect_quarantine(*state, WRONG_KEY);
}

static void
a_certificate_with_another_name_is_quarantined(void **state)
{
	expect_quarantine(*state, WRONG_NAME);
}

static void
a_certificate_that_lives_too_long_is_quarantined(void **state)
{
	expect_quarantine(*state, TOO_LONG);
}

static void
a_certificate_for_an_asset_that_was_stolen_meanwhile_is_revoked(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	fake_will(fake.issue, WAIT);
	assert_int_equal(step_all(r), 1);
	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	later_s(30);
	fake_will(fake.poll, ISSUE);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_QUARANTINED), 1);
	assert_int_equal(rig_certs(r), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM request WHERE state = 3 AND reason = 'asset.state'"), 1);
	assert_int_equal(step_all(r), 0);
	assert_string_equal(fake.revoked[0], fake.made_serial);
	ask(r, ERR_DENIED);
}

static void
an_asset_that_was_stolen_before_anything_was_sent_costs_no_call(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	later_s(ISSUER_RECHECK_S + 1);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.issues, 0);
	assert_int_equal(intents_in(r, INTENT_FAILED), 1);
	assert_int_equal(audits_of(r, "ca.withdrawn"), 1);
}

static void
what_an_operator_refused_meanwhile_is_revoked_and_stays_refused(void **state)
{
	struct rig *r = *state;
	struct err e = { 0 };

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(store_sqlite.request_decide(r->gateway.store, 1, false, "no", "operator:test", NOW, &e), 0);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_QUARANTINED), 1);
	assert_int_equal(rig_certs(r), 0);
	assert_int_equal(rig_number(r, "SELECT state FROM request"), REQUEST_REFUSED);
	assert_int_equal(step_all(r), 0);
	assert_int_equal(fake.revokes, 1);
}

static void
an_approved_request_is_asked_for_and_its_approval_stands(void **state)
{
	struct rig *r = *state;
	struct err e = { 0 };

	issuer_open_idle(r);
	rig_label(r, "guarded");
	ask(r, ERR_PENDING);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM intent"), 0);
	assert_int_equal(store_sqlite.request_decide(r->gateway.store, 1, true, "", "operator:test", NOW, &e), 0);
	ask(r, ERR_PENDING);
	assert_int_equal(intents_in(r, INTENT_OPEN), 1);
	later_s(ISSUER_RECHECK_S + 1);
	assert_int_equal(step_all(r), 1);
	ask(r, ERR_NONE);
}

static void
a_once_secret_is_spent_by_the_certificate_and_not_before(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	rig_secret(r, "abcde-fghij-kmnpq-rstuv-wxyz22", "*", "est", 0);
	rig_use_secret(r, "rtr-1", "abcde-fghij-kmnpq-rstuv-wxyz22");
	ask(r, ERR_PENDING);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM secret WHERE used_s <> 0"), 0);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM secret WHERE used_request_id = 1"), 1);
	ask(r, ERR_NONE);
}

static void
a_renewal_replaces_and_what_is_revoked_here_is_revoked_there(void **state)
{
	struct rig *r = *state;
	X509 *own;

	r->name = "";
	issuer_open_idle(r);
	rig_csr(r, r->key, NULL);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	ask(r, ERR_NONE);
	own = rig_cert(r);
	r->request.client_cert = own;
	r->request.op = ENROLL_RENEW;
	r->request.operation = "simplereenroll";
	rig_new_csr(r);
	later_s(61 * DAY);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	ask(r, ERR_NONE);
	assert_int_equal(rig_number(r, "SELECT replaces_id FROM certificate WHERE id = 2"), 1);
	rig_revoke(r, 1);
	assert_int_equal(step_all(r), 0);
	assert_int_equal(fake.revokes, 1);
	/* Whatever revokes: here, that the asset is retired. */
	rig_set_state(r, "rtr-1", ASSET_DEPLOYED);
	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	assert_int_equal(step_all(r), 0);
	assert_int_equal(fake.revokes, 2);
	X509_free(own);
}

static void
a_ca_that_takes_no_revocations_is_asked_no_more(void **state)
{
	struct rig *r = *state;

	r->ca_ops.revoke = NULL;
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	fake_will(fake.issue, WRONG_NAME);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(step_all(r), 0);
	assert_int_equal(audits_of(r, "ca.revoke_impossible"), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM ca_revocation WHERE state = 0"), 0);
}

static void
an_answer_that_was_meant_for_another_takes_nothing_from_it(void **state)
{
	struct rig *r = *state;
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *other = rig_idevid(r, key, "SN2");

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	ask(r, ERR_NONE);
	r->request.client_cert = other;
	rig_csr(r, key, NULL);
	ask(r, ERR_PENDING);
	fake_will(fake.issue, SAME_AGAIN);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_QUARANTINED), 1);
	assert_int_equal(step_all(r), 0);
	assert_int_equal(fake.revokes, 0);
	assert_int_equal(rig_certs(r), 1);
	X509_free(other);
}

static void
a_built_in_ca_is_asked_in_the_request_itself(void **state)
{
	struct rig *r = *state;

	r->ca_ops = ca_builtin;
	ask(r, ERR_NONE);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM intent"), 0);
	assert_int_equal(audits_of(r, "enroll.issued"), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_request_waits_is_issued_and_is_then_answered),
		test(the_same_request_again_is_not_sent_again),
		test(one_that_the_ca_lets_wait_is_polled_when_it_said),
		test(a_poll_that_fails_is_made_again_and_nothing_is_sent),
		test(a_lost_answer_is_found_again),
		test(what_the_ca_has_certainly_not_issued_is_sent_again_by_the_same_name),
		test(without_a_way_to_ask_an_operator_decides),
		test(what_was_being_sent_when_the_process_died_is_unknown_and_issued_once),
		test(what_had_not_been_sent_when_the_process_died_is_sent),
		test(a_certificate_that_could_not_be_recorded_is_found_again),
		test(a_ca_that_is_down_is_asked_again_later),
		test(a_certificate_for_another_key_is_quarantined),
		test(a_certificate_with_another_name_is_quarantined),
		test(a_certificate_that_lives_too_long_is_quarantined),
		test(a_certificate_for_an_asset_that_was_stolen_meanwhile_is_revoked),
		test(an_asset_that_was_stolen_before_anything_was_sent_costs_no_call),
		test(what_an_operator_refused_meanwhile_is_revoked_and_stays_refused),
		test(an_approved_request_is_asked_for_and_its_approval_stands),
		test(a_once_secret_is_spent_by_the_certificate_and_not_before),
		test(a_renewal_replaces_and_what_is_revoked_here_is_revoked_there),
		test(a_ca_that_takes_no_revocations_is_asked_no_more),
		test(an_answer_that_was_meant_for_another_takes_nothing_from_it),
		test(a_built_in_ca_is_asked_in_the_request_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
