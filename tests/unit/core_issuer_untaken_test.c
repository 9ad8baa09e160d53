/* What a CA elsewhere refuses by words: of a hold or its end somebody is told once, and of a certificate that has ended nothing is owed. */
#define _GNU_SOURCE
#include "tests/unit/core_issuer_hold.h"

#define LATE (DAY + 1) /* after the certificate's end */
#define REFUSED "SELECT count(*) FROM ca_revocation WHERE state = 0 AND reason = 'refused'"
#define WAITS "SELECT count(*) FROM ca_revocation WHERE state = 0"

static void
tell_later(struct rig *r, enum err_code fails)
{
	later_s(ISSUER_REVOKE_MAX_S);
	at_ca.fails = fails;
	tell(r);
}

static int64_t
alerts_of(const struct rig *r, const char *action)
{
	char sql[640];

	(void)snprintf(sql, sizeof sql, "SELECT count(*) FROM audit WHERE action = '%s' AND subject = '%s' AND detail_json ->> 'alert' = 1"
		" AND detail_json ->> 'ca' = 'issuing' AND detail_json ->> 'reason' = 'the CA says so'", action, fake.made_serial);
	assert_int_equal(audits_of(r, action), rig_number(r, sql));
	return rig_number(r, sql);
}

static void
a_hold_that_the_ca_refuses_is_an_alert_once(void **state)
{
	struct rig *r = *state;
	size_t i;

	enroll(r);
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	at_ca.fails = ERR_DENIED;
	tell(r);
	assert_int_equal(alerts_of(r, "ca.hold_refused"), 1);
	assert_int_equal(rig_number(r, REFUSED), 1);
	for (i = 0; i < 3; i++)
		tell_later(r, ERR_DENIED);
	assert_int_equal(at_ca.calls, 4);
	assert_int_equal(alerts_of(r, "ca.hold_refused"), 1);
	/* An outage between two refusals makes no new one of the second. */
	tell_later(r, ERR_UPSTREAM);
	assert_int_equal(rig_number(r, REFUSED), 1);
	tell_later(r, ERR_DENIED);
	assert_int_equal(alerts_of(r, "ca.hold_refused"), 1);
	tell_later(r, ERR_NONE);
	assert_int_equal(at_ca.is, UPSTREAM_HELD);
	assert_int_equal(audits_of(r, "ca.held"), 1);
	assert_int_equal(rig_number(r, REFUSED), 0);
}

/* The first answer that says something. */
static void
a_hold_that_is_refused_after_an_outage_is_an_alert(void **state)
{
	struct rig *r = *state;

	enroll(r);
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	at_ca.fails = ERR_UPSTREAM;
	tell(r);
	tell_later(r, ERR_PENDING);
	assert_int_equal(audits_of(r, "ca.hold_refused"), 0);
	assert_int_equal(rig_number(r, REFUSED), 0);
	tell_later(r, ERR_DENIED);
	assert_int_equal(alerts_of(r, "ca.hold_refused"), 1);
}

static void
a_release_that_the_ca_refuses_is_an_alert_once(void **state)
{
	struct rig *r = *state;

	enroll(r);
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	tell(r);
	rig_set_state(r, "rtr-1", ASSET_STAGED);
	at_ca.fails = ERR_DENIED;
	tell(r);
	tell_later(r, ERR_DENIED);
	assert_int_equal(alerts_of(r, "ca.release_refused"), 1);
	assert_int_equal(rig_number(r, REFUSED), 1);
	assert_int_equal(audits_of(r, "ca.hold_refused"), 0);
	tell_later(r, ERR_NONE);
	assert_int_equal(audits_of(r, "ca.released"), 1);
}

/* Somebody has mended nothing, and the asset is put into quarantine once more. */
static void
another_hold_that_is_refused_is_another_alert(void **state)
{
	struct rig *r = *state;

	enroll(r);
	at_ca.fails = ERR_DENIED;
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	tell(r);
	rig_set_state(r, "rtr-1", ASSET_STAGED);
	assert_int_equal(rig_number(r, REFUSED), 0);
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	tell(r);
	assert_int_equal(alerts_of(r, "ca.hold_refused"), 2);
}

static void
a_revocation_that_the_ca_refuses_is_no_refused_hold(void **state)
{
	struct rig *r = *state;

	enroll(r);
	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	at_ca.fails = ERR_DENIED;
	tell(r);
	tell_later(r, ERR_DENIED);
	assert_int_equal(at_ca.calls, 2);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action LIKE 'ca.%'"), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM ca_revocation WHERE state = 0 AND reason = 'stolen'"), 1);
}

static void
advance_to(int64_t at_s)
{
	assert_true(at_s > fake.now_s);
	atomic_store(&fake.now_s, at_s);
}

static int64_t
settled(const struct rig *r, const char *wanted)
{
	char sql[640];

	(void)snprintf(sql, sizeof sql, "SELECT count(*) FROM audit WHERE action = 'ca.settled' AND subject = '%s'"
		" AND detail_json ->> 'wanted' = '%s' AND detail_json ->> 'reason' = 'the CA says so' AND detail_json ->> 'alert' IS NULL"
		" AND detail_json ->> 'not_after' = %lld", fake.made_serial, wanted, (long long)fake.made_to);
	assert_int_equal(audits_of(r, "ca.settled"), rig_number(r, sql));
	return rig_number(r, sql);
}

static void
a_revocation_that_is_refused_after_the_certificates_end_is_settled(void **state)
{
	struct rig *r = *state;
	struct issuer_job job;
	struct err e = { 0 };

	enroll(r);
	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	at_ca.fails = ERR_DENIED;
	tell(r);
	advance_to(fake.made_to - 1);
	tell(r);
	/* Ended here, and perhaps not yet for whoever relies on it. */
	advance_to(fake.made_to + DAY);
	tell(r);
	assert_int_equal(at_ca.calls, 3);
	assert_int_equal(rig_number(r, WAITS), 1);
	assert_int_equal(audits_of(r, "ca.settled"), 0);
	later_s(ISSUER_REVOKE_MAX_S);
	job = job_of(r);
	assert_int_equal(issuer_carry_out_revocation(&job, &e), 0);
	buf_free(&job.cert);
	assert_int_equal(job.call, GUARD_ANSWERED);
	assert_int_equal(job.outcome, CALL_REVOKE_FAILED);
	assert_int_equal(job.next_try_s, 0);
	assert_int_equal(settled(r, "revocation"), 1);
	assert_int_equal(rig_number(r, WAITS), 0);
	tell_later(r, ERR_DENIED);
	assert_int_equal(at_ca.calls, 4);
	assert_int_equal(audits_of(r, "ca.revoked"), 0);
	assert_int_equal(rig_number(r, "SELECT told FROM ca_revocation"), UPSTREAM_GOOD);
}

static void
an_outage_or_a_lost_answer_settles_nothing(void **state)
{
	static const enum err_code codes[] = { ERR_UPSTREAM, ERR_PENDING, ERR_NOMEM, ERR_BUG };
	struct rig *r = *state;
	size_t i;

	enroll(r);
	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	advance_to(fake.made_to + LATE);
	for (i = 0; i < sizeof codes / sizeof codes[0]; i++) {
		tell_later(r, codes[i]);
		assert_int_equal(at_ca.calls, i + 1);
		assert_int_equal(rig_number(r, WAITS), 1);
	}
	assert_int_equal(audits_of(r, "ca.settled"), 0);
	tell_later(r, ERR_DENIED);
	assert_int_equal(settled(r, "revocation"), 1);
}

static void
a_revocation_that_the_ca_takes_after_the_certificates_end_is_one(void **state)
{
	struct rig *r = *state;

	enroll(r);
	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	advance_to(fake.made_to + LATE);
	tell(r);
	assert_int_equal(at_ca.is, UPSTREAM_REVOKED);
	assert_int_equal(audits_of(r, "ca.revoked"), 1);
	assert_int_equal(audits_of(r, "ca.settled"), 0);
}

static void
a_ca_that_takes_no_revocations_says_so_whatever_has_ended(void **state)
{
	struct rig *r = *state;

	enroll(r);
	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	advance_to(fake.made_to + LATE);
	at_ca.fails = ERR_UNSUPPORTED;
	tell(r);
	assert_int_equal(audits_of(r, "ca.revoke_impossible"), 1);
	assert_int_equal(audits_of(r, "ca.settled"), 0);
}

/* Nothing is known of its end. */
static void
a_revocation_of_what_cannot_be_read_is_never_settled(void **state)
{
	static const char *const ders[] = { "", "0\x82" };
	struct rig *r = *state;
	size_t i;

	enroll(r);
	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	advance_to(fake.made_to + LATE);
	at_ca.fails = ERR_DENIED;
	for (i = 0; i < sizeof ders / sizeof ders[0]; i++) {
		struct issuer_job job = job_of(r);
		struct err e = { 0 };

		buf_clear(&job.cert);
		buf_append_text(&job.cert, ders[i]);
		assert_int_equal(issuer_carry_out_revocation(&job, &e), 0);
		buf_free(&job.cert);
		assert_true(job.next_try_s > fake.now_s);
		assert_int_equal(rig_number(r, WAITS), 1);
		later_s(ISSUER_REVOKE_MAX_S);
	}
	assert_int_equal(audits_of(r, "ca.settled"), 0);
}

/* It was never on hold there, so nothing is to be released either. */
static void
a_hold_that_is_refused_after_the_certificates_end_is_settled_without_an_alert(void **state)
{
	struct rig *r = *state;

	enroll(r);
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	advance_to(fake.made_to + LATE);
	at_ca.fails = ERR_DENIED;
	tell(r);
	assert_int_equal(settled(r, "hold"), 1);
	assert_int_equal(audits_of(r, "ca.hold_refused"), 0);
	rig_set_state(r, "rtr-1", ASSET_STAGED);
	tell_later(r, ERR_DENIED);
	assert_int_equal(at_ca.calls, 1);
}

static void
a_release_that_is_refused_after_the_certificates_end_is_settled(void **state)
{
	struct rig *r = *state;

	enroll(r);
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	tell(r);
	rig_set_state(r, "rtr-1", ASSET_STAGED);
	at_ca.fails = ERR_DENIED;
	tell(r);
	assert_int_equal(alerts_of(r, "ca.release_refused"), 1);
	advance_to(fake.made_to + LATE);
	tell(r);
	assert_int_equal(settled(r, "release"), 1);
	assert_int_equal(rig_number(r, WAITS), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_hold_that_the_ca_refuses_is_an_alert_once),
		test(a_hold_that_is_refused_after_an_outage_is_an_alert),
		test(a_release_that_the_ca_refuses_is_an_alert_once),
		test(another_hold_that_is_refused_is_another_alert),
		test(a_revocation_that_the_ca_refuses_is_no_refused_hold),
		test(a_revocation_that_is_refused_after_the_certificates_end_is_settled),
		test(an_outage_or_a_lost_answer_settles_nothing),
		test(a_revocation_that_the_ca_takes_after_the_certificates_end_is_one),
		test(a_ca_that_takes_no_revocations_says_so_whatever_has_ended),
		test(a_revocation_of_what_cannot_be_read_is_never_settled),
		test(a_hold_that_is_refused_after_the_certificates_end_is_settled_without_an_alert),
		test(a_release_that_is_refused_after_the_certificates_end_is_settled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
