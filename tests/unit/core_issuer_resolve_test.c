/* What an operator found at a CA that cannot be asked: taken as its answer, or refused without a trace. */
#define _GNU_SOURCE
#include "tests/unit/core_issuer_hand.h"

static void
what_an_operator_found_is_issued_and_the_device_gets_it(void **state)
{
	CLEANUP(buf) struct buf pem = { 0 };
	struct rig *r = *state;

	one_lost(r, ISSUE);
	put_made(&pem);
	hand_in_well(r, buf_bytes(&pem), "done");
	assert_string_equal(text_of(answer.result, "sentence"), "");
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'enroll.issued' AND subject = 'rtr-1'"), 1);
	assert_int_equal(step_all(r), 0);
	ask(r, ERR_NONE);
	assert_memory_equal(r->result.cert.at, fake.made.at, fake.made.len);
	assert_int_equal(rig_certs(r), 1);
	assert_int_equal(fake.issues, 1);
	assert_int_equal(fake.revokes, 0);
	assert_int_equal(hand_in(r, buf_bytes(&pem)), -1);
	assert_non_null(strstr(answer.e.text, "is done"));
}

static void
der_is_taken_too(void **state)
{
	struct rig *r = *state;

	one_lost(r, ISSUE);
	hand_in_well(r, buf_bytes(&fake.made), "done");
	ask(r, ERR_NONE);
}

static void
of_several_the_one_of_the_requests_key_is_taken(void **state)
{
	CLEANUP(buf) struct buf pem = { 0 };
	struct rig *r = *state;

	one_lost(r, ISSUE);
	buf_append_text(&pem, "subject=the CA\n");
	put_pem(&pem, sk_X509_value(r->world->cas[0].ops->chain(r->world->cas[0].ca), 0));
	put_made(&pem);
	hand_in_well(r, buf_bytes(&pem), "done");
}

static void
one_of_another_key_is_refused(void **state)
{
	struct rig *r = *state;

	one_lost(r, WRONG_KEY);
	hand_in_badly(r, buf_bytes(&fake.made), ERR_DENIED, "is of another key than the request");
}

static void
one_of_the_key_that_no_known_ca_signed_is_refused(void **state)
{
	CLEANUP(buf) struct buf pem = { 0 };
	struct rig *r = *state;

	rig_csr(r, r->key, NULL);
	one_lost(r, ISSUE);
	put_pem(&pem, r->idevid);
	hand_in_badly(r, buf_bytes(&pem), ERR_DENIED, "no key that is known here signed it");
}

static void
what_is_no_certificate_is_refused(void **state)
{
	CLEANUP(buf) struct buf large = { 0 };
	struct rig *r = *state;
	size_t i;

	one_lost(r, ISSUE);
	hand_in_badly(r, bytes_of_text("serial 17, subject rtr-1\n"), ERR_MALFORMED, "no certificate in the file");
	hand_in_badly(r, bytes_of_text(""), ERR_MALFORMED, "is empty");
	for (i = 0; i <= ISSUER_FOUND_MAX; i++)
		buf_append_u8(&large, '\n');
	put_made(&large);
	hand_in_badly(r, buf_bytes(&large), ERR_LIMIT, "more than 65536 octets");
}

static void
one_that_has_ended_is_refused(void **state)
{
	struct rig *r = *state;
	struct issuer_found found = { .intent_id = 1, .actor = "operator:test", .why = "" };
	struct err e = { 0 };

	one_lost(r, ISSUE);
	found.file = buf_bytes(&fake.made);
	found.now_s = fake.made_to;
	assert_int_equal(issuer_resolve(&r->gateway, r->world, &found, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
	assert_non_null(strstr(e.text, "has ended"));
	assert_int_equal(rig_number(r, UNCHANGED), 1);
	found.now_s--;
	assert_int_equal(issuer_resolve(&r->gateway, r->world, &found, &e), 0);
	assert_int_equal(found.state, INTENT_DONE);
}

static void
one_of_a_ca_that_is_not_configured_any_more_is_refused(void **state)
{
	struct rig *r = *state;

	one_lost(r, ISSUE);
	r->ca_ops.remote = false;
	hand_in_badly(r, buf_bytes(&fake.made), ERR_DENIED, "CA issuing is not one elsewhere");
	r->ca_ops.remote = true;
	(void)snprintf(r->world->config->cas[0].name, sizeof r->world->config->cas[0].name, "gone");
	hand_in_badly(r, buf_bytes(&fake.made), ERR_DENIED, "CA issuing is not one elsewhere");
}

/* Whatever a connector promises of its own answers: this one it has never seen. */
static void
what_is_not_what_was_approved_is_quarantined(void **state)
{
	struct rig *r = *state;

	one_lost(r, WRONG_NAME);
	r->ca_ops.verified = true;
	hand_in_well(r, buf_bytes(&fake.made), "quarantined");
	assert_non_null(strstr(text_of(answer.result, "sentence"), "not what was approved"));
	assert_int_equal(rig_certs(r), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM request WHERE state = 3 AND reason = 'ca.verification'"), 1);
	assert_int_equal(audits_of(r, "ca.quarantined"), 1);
	assert_int_equal(step_all(r), 0);
	assert_int_equal(fake.revokes, 1);
	assert_string_equal(fake.revoked[0], fake.made_serial);
}

static void
one_for_an_asset_that_was_stolen_meanwhile_is_quarantined(void **state)
{
	struct rig *r = *state;

	one_lost(r, ISSUE);
	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	hand_in_well(r, buf_bytes(&fake.made), "quarantined");
	assert_int_equal(rig_certs(r), 0);
	assert_int_equal(step_all(r), 0);
	assert_int_equal(fake.revokes, 1);
}

static void
one_that_is_recorded_already_is_refused(void **state)
{
	CLEANUP(buf) struct buf first = { 0 };
	struct rig *r = *state;
	int fd;

	rig_csr(r, r->key, NULL);
	one_lost(r, ISSUE);
	hand_in_well(r, buf_bytes(&fake.made), "done");
	buf_append_bytes(&first, buf_bytes(&fake.made));
	/* Another request of the same key. */
	rig_csr(r, r->key, NULL);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	fd = file_of(r, buf_bytes(&first));
	assert_int_equal(run_with(r, "ca resolve", "{\"id\": 2}", fd, -1), -1);
	assert_int_equal(close(fd), 0);
	assert_non_null(strstr(answer.e.text, "is recorded here already, for request 1 of rtr-1"));
	assert_int_equal(intents_in(r, INTENT_UNKNOWN), 1);
	assert_int_equal(audits_of(r, "ca.resolved"), 1);
}

static int (*step_really)(struct store *store, const struct intent_step *step, bool *done, struct err *e);
static struct rig *rig_of_step;

static struct intent_ops
hooked(struct rig *r, int (*hook)(struct store *store, const struct intent_step *step, bool *done, struct err *e))
{
	struct intent_ops intents = *r->ops.intents;

	step_really = intents.step;
	rig_of_step = r;
	intents.step = hook;
	return intents;
}

/* Another operator gives it up between the look at it and the step. */
static int
step_after_failed(struct store *store, const struct intent_step *step, bool *done, struct err *e)
{
	struct intent_end end = { .id = step->id, .to = INTENT_FAILED, .reason = "ca.resolved", .sentence = "gone", .policy_version = "1",
		.actor = "operator:other", .audit = "ca.resolved", .now_s = NOW };

	assert_int_equal(rig_of_step->ops.intents->end(store, &end, done, e), 0);
	return step_really(store, step, done, e);
}

static void
who_comes_second_changes_nothing(void **state)
{
	struct rig *r = *state;
	struct intent_ops intents;

	one_lost(r, ISSUE);
	intents = hooked(r, step_after_failed);
	r->ops.intents = &intents;
	assert_int_equal(hand_in(r, buf_bytes(&fake.made)), -1);
	assert_int_equal(answer.e.code, ERR_DENIED);
	assert_non_null(strstr(answer.e.text, "has just changed"));
	assert_int_equal(intents_in(r, INTENT_FAILED), 1);
	assert_int_equal(rig_certs(r), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'ca.resolved' AND actor = 'operator:other'"), 1);
	assert_int_equal(audits_of(r, "ca.resolved"), 1);
}

/* The lane had asked the CA before, and comes back with the same certificate in between. */
static int
step_before_lane(struct store *store, const struct intent_step *step, bool *done, struct err *e)
{
	struct rig *r = rig_of_step;
	struct issuer_job job = { .gateway = &r->gateway, .world = r->world, .ca = &r->world->cas[0], .now_s = NOW, .intent_id = 1 };
	int result;

	assert_int_equal(step_really(store, step, done, e), 0);
	assert_true(*done);
	job.kept = calloc(1, sizeof *job.kept);
	assert_non_null(job.kept);
	*job.kept = (struct issuer_kept){ .id = 1, .answered = true, .state = INTENT_UNKNOWN };
	fake_give(&job.kept->answer);
	result = issuer_carry_out(&job, e);
	buf_free(&job.given);
	return result;
}

static void
what_the_lane_records_meanwhile_stays(void **state)
{
	struct rig *r = *state;
	struct intent_ops intents;

	one_lost(r, ISSUE);
	intents = hooked(r, step_before_lane);
	r->ops.intents = &intents;
	hand_in_well(r, buf_bytes(&fake.made), "done");
	assert_int_equal(rig_certs(r), 1);
	assert_int_equal(audits_of(r, "ca.quarantined"), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM ca_revocation"), 0);
	ask(r, ERR_NONE);
}

/* It asks what became of it while it is being handed in: that says nothing against it. */
static int
step_before_absent(struct store *store, const struct intent_step *step, bool *done, struct err *e)
{
	struct intent_step absent = { .id = step->id, .ca = "issuing", .from = INTENT_UNKNOWN, .to = INTENT_OPEN, .audit = "ca.absent", .now_s = NOW };
	bool reopened = true;

	assert_int_equal(step_really(store, step, done, e), 0);
	assert_int_equal(step_really(store, &absent, &reopened, e), 0);
	assert_false(reopened);
	return 0;
}

static void
it_is_not_sent_again_while_it_is_being_handed_in(void **state)
{
	struct rig *r = *state;
	struct intent_ops intents;

	one_lost(r, ISSUE);
	intents = hooked(r, step_before_absent);
	r->ops.intents = &intents;
	hand_in_well(r, buf_bytes(&fake.made), "done");
	assert_int_equal(audits_of(r, "ca.absent"), 0);
}

#define ROUNDS 8

/* The lane asks the CA, which can be asked by now, while an operator hands the same in: in whatever order. */
static void
beside_the_lane_it_is_recorded_once(void **state)
{
	struct rig *r = *state;
	int64_t i;

	lost_act = ISSUE;
	r->ca_ops.issue = issue_and_lose;
	fake_will(fake.reconcile, SAME_AGAIN);
	issuer_open(r);
	for (i = 1; i <= ROUNDS; i++) {
		char args[32];
		int fd;

		rig_new_csr(r);
		ask(r, ERR_PENDING);
		await(r, "SELECT count(*) FROM intent WHERE state = 3", 1);
		(void)snprintf(args, sizeof args, "{\"id\": %d}", (int)i);
		fd = file_of(r, buf_bytes(&fake.made));
		later_s(ISSUER_RETRY_S);
		issuer_wake(r->gateway.issuer, NULL);
		if (run_with(r, "ca resolve", args, fd, -1) != 0)
			assert_int_equal(answer.e.code, ERR_DENIED);
		else
			assert_string_equal(text_of(answer.result, "state"), "done");
		assert_int_equal(close(fd), 0);
		await(r, "SELECT count(*) FROM intent WHERE state = 4", i);
		ask(r, ERR_NONE);
		assert_memory_equal(r->result.cert.at, fake.made.at, fake.made.len);
	}
	assert_int_equal(rig_certs(r), ROUNDS);
	assert_int_equal(fake.issues, ROUNDS);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM ca_revocation"), 0);
	assert_int_equal(audits_of(r, "ca.quarantined"), 0);
}

static bool record_down;

static int
record_sometimes(struct store *store, const struct store_outcome *outcome, enum store_recorded *what, int64_t *request_id,
	struct err *e)
{
	if (outcome->state == REQUEST_ISSUED && record_down)
		return err_set(e, ERR_UPSTREAM, "disk full");
	return store_sqlite.record(store, outcome, what, request_id, e);
}

static void
what_could_not_be_recorded_is_unknown_as_before_and_can_be_handed_in_again(void **state)
{
	struct rig *r = *state;

	one_lost(r, ISSUE);
	r->ops.record = record_sometimes;
	record_down = true;
	assert_int_equal(hand_in(r, buf_bytes(&fake.made)), -1);
	assert_string_equal(answer.e.text, "disk full");
	assert_int_equal(rig_number(r, UNCHANGED), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'ca.unknown' AND detail_json ->> 'reason' = 'disk full'"), 1);
	record_down = false;
	assert_int_equal(hand_in(r, buf_bytes(&fake.made)), 0);
	assert_string_equal(text_of(answer.result, "state"), "done");
	assert_int_equal(rig_certs(r), 1);
}

static void
who_waits_for_it_is_told(void **state)
{
	struct rig *r = *state;
	struct issuer_ticket *ticket;
	uint8_t digest[32];
	struct err e = { 0 };

	one_lost(r, ISSUE);
	assert_int_equal(sha256(r->request.csr, digest, &e), 0);
	ticket = issuer_ticket_new(r->gateway.issuer, digest);
	assert_non_null(ticket);
	assert_false(issuer_ticket_wait(ticket, "issuing", 0, 0));
	hand_in_well(r, buf_bytes(&fake.made), "done");
	assert_true(issuer_ticket_wait(ticket, "issuing", 0, 0));
	issuer_ticket_free(ticket);
}

static void
a_file_beside_another_word_is_refused(void **state)
{
	struct rig *r = *state;
	int fd;

	one_lost(r, ISSUE);
	fd = file_of(r, buf_bytes(&fake.made));
	assert_int_equal(run_with(r, "ca resolve", "{\"id\": 1, \"absent\": true}", fd, -1), -1);
	assert_int_equal(answer.e.code, ERR_MALFORMED);
	assert_int_equal(run_with(r, "ca resolve", "{\"id\": 1, \"failed\": true}", fd, -1), -1);
	assert_int_equal(answer.e.code, ERR_MALFORMED);
	assert_int_equal(close(fd), 0);
	assert_int_equal(rig_number(r, UNCHANGED), 1);
}


int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_an_operator_found_is_issued_and_the_device_gets_it),
		TEST(der_is_taken_too),
		TEST(of_several_the_one_of_the_requests_key_is_taken),
		TEST(one_of_another_key_is_refused),
		TEST(one_of_the_key_that_no_known_ca_signed_is_refused),
		TEST(what_is_no_certificate_is_refused),
		TEST(one_that_has_ended_is_refused),
		TEST(one_of_a_ca_that_is_not_configured_any_more_is_refused),
		TEST(what_is_not_what_was_approved_is_quarantined),
		TEST(one_for_an_asset_that_was_stolen_meanwhile_is_quarantined),
		TEST(one_that_is_recorded_already_is_refused),
		TEST(who_comes_second_changes_nothing),
		TEST(what_the_lane_records_meanwhile_stays),
		TEST(it_is_not_sent_again_while_it_is_being_handed_in),
		TEST(beside_the_lane_it_is_recorded_once),
		TEST(what_could_not_be_recorded_is_unknown_as_before_and_can_be_handed_in_again),
		TEST(who_waits_for_it_is_told),
		TEST(a_file_beside_another_word_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
