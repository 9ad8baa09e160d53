/* A CA that made two certificates of one key: the device has one, and the other is told, and revoked there when the CA made it. */
#define _GNU_SOURCE
#include "tests/unit/core_issuer_fixture.h"

static enum { BY_THE_CA, BY_A_STRANGER, KNOWN } kind; /* who signed the other one; KNOWN: it was let out before */
static char other[SERIAL_ANY_MAX];
static struct buf before;
static char before_serial[SERIAL_ANY_MAX];

/* By its number alone: its key would be another's. */
static void
sign_by_nobody(struct buf *cert)
{
	cert->at[cert->len - 1] ^= 1;
}

static int
issue_two(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	struct ca_answer more = { 0 };

	assert_int_equal(fake_issue(ca, request, out, e), 0);
	if (kind == KNOWN) {
		buf_append_bytes(&more.cert, buf_bytes(&before));
		memcpy(more.serial, before_serial, sizeof more.serial);
	} else
		assert_int_equal(ca_builtin.issue(ca, request, &more, e), 0);
	if (kind == BY_A_STRANGER)
		sign_by_nobody(&more.cert);
	memcpy(other, more.serial, sizeof other);
	ca_answer_add(out, &more);
	assert_string_equal(out->second_serial, other);
	return 0;
}

static void
asked_for(struct rig *r)
{
	r->ca_ops.issue = issue_two;
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
}

/* Alerts that name the other one, as of this CA. */
static int64_t
told(const struct rig *r, const char *ca, const char *more)
{
	char sql[320];

	(void)snprintf(sql, sizeof sql, "SELECT count(*) FROM audit WHERE action = 'ca.duplicate' AND subject = 'rtr-1' AND detail_json ->> 'alert'"
		" = 1 AND detail_json ->> 'serial' = '%s' AND detail_json ->> 'ca' = '%s'%s", other, ca, more);
	return rig_number(r, sql);
}

static int
teardown(void **state)
{
	buf_free(&before);
	return issuer_teardown(state);
}

static void
the_first_is_the_devices_and_the_other_is_revoked(void **state)
{
	struct rig *r = *state;

	kind = BY_THE_CA;
	asked_for(r);
	assert_int_equal(intents_in(r, INTENT_DONE), 1);
	assert_int_equal(told(r, "issuing", ""), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM ca_revocation"), 1);
	ask(r, ERR_NONE);
	assert_memory_equal(r->result.cert.at, fake.made.at, fake.made.len);
	assert_int_equal(rig_certs(r), 1);
	(void)step_all(r);
	assert_int_equal(fake.revokes, 1);
	assert_string_equal(fake.revoked[0], other);
	assert_string_not_equal(other, fake.made_serial);
	rig_chain_holds(r);
}

static void
one_that_nobody_known_signed_is_told_and_not_revoked(void **state)
{
	struct rig *r = *state;

	kind = BY_A_STRANGER;
	asked_for(r);
	assert_int_equal(told(r, "issuing", " AND detail_json ->> 'revocation' LIKE 'none: %by hand'"), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM ca_revocation"), 0);
	ask(r, ERR_NONE);
}

static void
when_neither_is_let_out_both_are_revoked(void **state)
{
	struct rig *r = *state;

	kind = BY_THE_CA;
	fake_will(fake.issue, WRONG_NAME);
	asked_for(r);
	assert_int_equal(intents_in(r, INTENT_QUARANTINED), 1);
	assert_int_equal(audits_of(r, "ca.quarantined"), 1);
	assert_int_equal(told(r, "issuing", ""), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM ca_revocation"), 2);
	assert_int_equal(rig_certs(r), 0);
}

/* The same, or a renewal's with the key of before: it is its holder's. */
static void
one_that_was_let_out_before_stays_its_holders(void **state)
{
	struct rig *r = *state;

	r->ca_ops.issue = fake_issue;
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	buf_append_bytes(&before, buf_bytes(&fake.made));
	memcpy(before_serial, fake.made_serial, sizeof before_serial);
	rig_new_csr(r);
	kind = KNOWN;
	r->ca_ops.issue = issue_two;
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(rig_certs(r), 2);
	assert_int_equal(audits_of(r, "ca.duplicate"), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM ca_revocation"), 0);
}

static int (*end_really)(struct store *store, const struct intent_end *end, bool *done, struct err *e);
static bool end_down;
static const char *only; /* for this reason; NULL: for any */

static int
end_sometimes(struct store *store, const struct intent_end *end, bool *done, struct err *e)
{
	return end_down && (only == NULL || strcmp(end->reason, only) == 0) ? err_set(e, ERR_UPSTREAM, "disk full") : end_really(store, end, done, e);
}

/* As a lane does it: what is kept is handed in again, and nobody is called. */
static void
another_that_the_store_did_not_take_is_told_later(void **state)
{
	struct rig *r = *state;
	struct intent_ops intents = *r->ops.intents;
	struct issuer_job job = { .gateway = &r->gateway, .world = r->world, .ca = &r->world->cas[0], .now_s = NOW, .intent_id = 1 };
	struct issuer_job again = job;
	struct err e = { 0 };

	end_really = intents.end;
	intents.end = end_sometimes;
	r->ops.intents = &intents;
	end_down = true;
	kind = BY_THE_CA;
	r->ca_ops.issue = issue_two;
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(issuer_carry_out(&job, &e), -1);
	assert_non_null(job.kept);
	assert_true(job.over);
	assert_true(job.given.len != 0);
	assert_string_equal(job.kept->answer.serial, other); /* what the log says, should the process end now */
	assert_int_equal(intents_in(r, INTENT_DONE), 1);
	buf_free(&job.given);
	end_down = false;
	again.kept = job.kept;
	if (issuer_carry_out(&again, &e) != 0)
		fail_msg("%s", e.text);
	assert_null(again.kept);
	assert_false(again.over); /* whoever waits, or vouched, was told the first time */
	assert_int_equal(fake.issues, 1);
	assert_int_equal(told(r, "issuing", ""), 1);
	assert_int_equal(audits_of(r, "ca.quarantined"), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM ca_revocation"), 1);
	assert_int_equal(rig_certs(r), 1);
	r->ops.intents = store_sqlite.intents;
}

/* ... though the first one is in quarantine, not with a device. */
static void
told_later(struct rig *r, const char *reason, const char *serial)
{
	struct intent_ops intents = *r->ops.intents;
	struct issuer_job job = { .gateway = &r->gateway, .world = r->world, .ca = &r->world->cas[0], .now_s = NOW, .intent_id = 1 };
	struct issuer_job again = job;
	struct err e = { 0 };

	end_really = intents.end;
	intents.end = end_sometimes;
	r->ops.intents = &intents;
	end_down = true;
	only = reason;
	kind = BY_THE_CA;
	fake_will(fake.issue, WRONG_NAME);
	r->ca_ops.issue = issue_two;
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(issuer_carry_out(&job, &e), -1);
	assert_string_equal(job.kept->answer.serial, serial);
	end_down = false;
	only = NULL;
	again.kept = job.kept;
	assert_int_equal(issuer_carry_out(&again, &e), 0);
	assert_int_equal(audits_of(r, "ca.quarantined"), 1);
	assert_int_equal(told(r, "issuing", ""), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM ca_revocation"), 2);
	r->ops.intents = store_sqlite.intents;
}

static void
both_that_the_store_did_not_take_are_told_later(void **state)
{
	told_later(*state, NULL, fake.made_serial);
}

static void
of_two_in_vain_the_one_that_the_store_took_is_told_once(void **state)
{
	told_later(*state, "ca.duplicate", other);
}

#undef test
#define test(name) cmocka_unit_test_setup_teardown(name, issuer_setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(the_first_is_the_devices_and_the_other_is_revoked),
		test(one_that_nobody_known_signed_is_told_and_not_revoked),
		test(when_neither_is_let_out_both_are_revoked),
		test(one_that_was_let_out_before_stays_its_holders),
		test(another_that_the_store_did_not_take_is_told_later),
		test(both_that_the_store_did_not_take_are_told_later),
		test(of_two_in_vain_the_one_that_the_store_took_is_told_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
