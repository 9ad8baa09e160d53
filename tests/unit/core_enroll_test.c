#define _GNU_SOURCE
/* The pipeline's ordinary ways: issuing, repeating, waiting for approval, refusing, explaining. */
#include "tests/unit/core_enroll_fixture.h"

static void
enroll_issues_what_the_registry_says(void **state)
{
	struct rig *r = *state;
	char subject[256];
	X509 *cert;

	rig_expect(r, ERR_NONE);
	assert_string_equal(r->result.asset_tag, "rtr-1");
	assert_string_equal(r->result.reason, "ok");
	assert_string_equal(r->result.proof, "idevid_serial acme SN1");
	assert_int_equal(r->result.key.len, 0);
	cert = rig_cert(r);
	x509_name_text(X509_get_subject_name(cert), subject, sizeof subject);
	assert_non_null(strstr(subject, "CN=rtr-1"));
	assert_null(strstr(subject, "device-1")); /* what the CSR asked for */
	assert_int_equal(X509_check_host(cert, "rtr-1.example.net", 0, 0, NULL), 1);
	X509_free(cert);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM request WHERE state = 2 AND tries = 1"), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM decision WHERE outcome = 'issued'"), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'enroll.issued' AND "
		"actor = 'device:rtr-1'"), 1);
}

static void
the_same_request_gets_the_same_octets_and_one_row(void **state)
{
	struct rig *r = *state;
	struct buf first;

	rig_expect(r, ERR_NONE);
	first = rig_take(r);
	r->request.now_s += 59 * DAY; /* the last day before renewal is due */
	rig_expect(r, ERR_NONE);
	assert_true(r->result.replayed);
	assert_true(bytes_equal(buf_bytes(&first), buf_bytes(&r->result.cert)));
	assert_int_equal(rig_certs(r), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'enroll.replayed' AND "
		"actor = 'device:rtr-1' AND detail_json LIKE '%192.0.2.7%'"), 1);
	buf_free(&first);
}

static void
when_due_for_renewal_the_same_request_is_a_new_attempt(void **state)
{
	struct rig *r = *state;
	struct buf first;

	rig_expect(r, ERR_NONE);
	first = rig_take(r);
	r->request.now_s += 60 * DAY;
	rig_expect(r, ERR_NONE);
	assert_false(r->result.replayed);
	assert_false(bytes_equal(buf_bytes(&first), buf_bytes(&r->result.cert)));
	assert_int_equal(rig_number(r, "SELECT count(*) FROM request WHERE attempt = 1 AND state = 2"), 1);
	buf_free(&first);
}

static void
a_certificate_cut_short_by_a_contract_is_repeated_all_the_same(void **state)
{
	struct rig *r = *state;
	struct owner owner = { .name = "Fleet", .contract_end_s = NOW + 10 * DAY };
	struct err e;

	assert_int_equal(store_sqlite.owner_put(r->gateway.store, &owner, "operator:test", NOW, &e), 0);
	rig_expect(r, ERR_NONE);
	rig_expect(r, ERR_NONE);
	assert_true(r->result.replayed);
	assert_int_equal(rig_certs(r), 1);
}

static void
after_revocation_the_same_request_is_a_new_attempt(void **state)
{
	struct rig *r = *state;

	rig_expect(r, ERR_NONE);
	rig_revoke(r, 1);
	rig_expect(r, ERR_NONE);
	assert_false(r->result.replayed);
	assert_int_equal(rig_certs(r), 2);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM certificate WHERE status = 0"), 1);
}

static void
a_decommissioned_asset_is_denied_and_recorded(void **state)
{
	struct rig *r = *state;

	X509_free(r->idevid);
	r->request.client_cert = r->idevid = rig_idevid(r, r->key, "SN3");
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.reason, "asset.state");
	assert_true(r->result.request_id > 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM request WHERE state = 3"), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'enroll.denied'"), 1);
	assert_int_equal(rig_certs(r), 0);
}

static void
a_quarantined_asset_does_not_get_its_old_certificate_again(void **state)
{
	struct rig *r = *state;

	rig_expect(r, ERR_NONE);
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.reason, "asset.state");
}

static void
an_identity_the_registry_does_not_know_is_denied_without_a_request(void **state)
{
	struct rig *r = *state;

	X509_free(r->idevid);
	r->request.client_cert = r->idevid = rig_idevid(r, r->key, "SN999");
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.reason, "asset.known");
	assert_string_equal(r->result.asset_tag, "");
	assert_int_equal(r->result.request_id, 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM request"), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM decision"), 1);
}

static void
a_long_identity_is_cut_between_characters(void **state)
{
	struct rig *r = *state;
	char serial[140] = "";
	int i;

	/* "a" and two-octet letters: the 100 octets that are kept end in the middle of one. */
	strcpy(serial, "a");
	for (i = 0; i < 60; i++)
		strcat(serial, "ü");
	X509_free(r->idevid);
	r->request.client_cert = r->idevid = rig_idevid(r, r->key, serial);
	rig_expect(r, ERR_DENIED);
	assert_true(strlen(r->result.proof) > 100);
	assert_int_equal((uint8_t)r->result.proof[strlen(r->result.proof) - 1], 0xbc);
}

static void
nobody_is_unauthentic_and_leaves_one_audit_row(void **state)
{
	struct rig *r = *state;

	r->request.client_cert = NULL;
	rig_expect(r, ERR_UNAUTHENTIC);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'enroll.refused' AND "
		"actor = 'peer:192.0.2.7' AND subject = ''"), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM decision"), 0);
}

static void
octets_that_are_no_request_are_malformed(void **state)
{
	struct rig *r = *state;

	r->request.csr.len--;
	rig_expect(r, ERR_MALFORMED);
	r->request.csr.len = 0;
	rig_expect(r, ERR_MALFORMED);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'enroll.refused' AND "
		"subject = 'rtr-1'"), 2);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM request"), 0);
}

/* A password would not mend it: 401 is for those who are not known. */
static void
a_request_signed_by_another_key_is_malformed(void **state)
{
	struct rig *r = *state;

	r->csr.at[r->csr.len - 1] ^= 1;
	rig_expect(r, ERR_MALFORMED);
	assert_int_equal(rig_certs(r), 0);
}

static void
a_key_of_another_asset_is_refused(void **state)
{
	struct rig *r = *state;
	X509 *other = rig_idevid(r, r->key, "SN2");

	rig_expect(r, ERR_NONE);
	r->request.client_cert = other;
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.reason, "csr.reuse");
	X509_free(other);
}

static void
a_guarded_label_waits_and_then_issues(void **state)
{
	struct rig *r = *state;
	struct err e;
	int64_t id;

	rig_label(r, "guarded");
	rig_expect(r, ERR_PENDING);
	assert_int_equal(r->result.retry_after_s, 7);
	id = r->result.request_id;
	rig_expect(r, ERR_PENDING);
	assert_int_equal(r->result.request_id, id);
	assert_int_equal(rig_number(r, "SELECT tries FROM request"), 2);
	assert_int_equal(store_sqlite.request_decide(r->gateway.store, id, true, "", "operator:o", NOW, &e), 0);
	rig_expect(r, ERR_NONE);
	assert_int_equal(r->result.request_id, id);
	rig_expect(r, ERR_NONE);
	assert_true(r->result.replayed);
	rig_new_csr(r);
	rig_expect(r, ERR_PENDING); /* an approval is for one request */
	assert_int_equal(rig_certs(r), 1);
}

static void
an_approval_does_not_outlive_the_certificate_it_led_to(void **state)
{
	struct rig *r = *state;
	struct err e;

	rig_label(r, "guarded");
	rig_expect(r, ERR_PENDING);
	assert_int_equal(store_sqlite.request_decide(r->gateway.store, r->result.request_id, true, "", "operator:o", NOW,
		&e), 0);
	rig_expect(r, ERR_NONE);
	rig_revoke(r, 1);
	rig_expect(r, ERR_PENDING);
	assert_int_equal(rig_certs(r), 1);
}

static void
what_an_operator_refused_stays_refused(void **state)
{
	struct rig *r = *state;
	struct err e;

	rig_label(r, "guarded");
	rig_expect(r, ERR_PENDING);
	assert_int_equal(store_sqlite.request_decide(r->gateway.store, r->result.request_id, false, "no", "operator:o",
		NOW, &e), 0);
	rig_expect(r, ERR_DENIED);
	rig_expect(r, ERR_DENIED);
	assert_int_equal(rig_certs(r), 0);
	assert_int_equal(rig_number(r, "SELECT state FROM request"), REQUEST_REFUSED);
}

/* Everything of a table that could change, as one number. */
static int64_t
store_print(const struct rig *r)
{
	return rig_number(r, "SELECT (SELECT count(*) FROM audit) * 1000000 + (SELECT count(*) FROM request) * 10000 + "
		"(SELECT count(*) FROM decision) * 100 + (SELECT total(version) + total(tries) FROM asset, request)");
}

static void
explain_says_what_would_be_and_changes_nothing(void **state)
{
	struct rig *r = *state;
	static struct decision decision;
	struct err e = { 0 };
	int64_t before;

	rig_expect(r, ERR_NONE);
	before = store_print(r);
	rig_new_csr(r);
	assert_int_equal(enroll_explain(&r->gateway, r->world, &r->request, "rtr-1", PROOF_CERTIFICATE, &decision, &e), 0);
	assert_int_equal(decision.outcome, OUTCOME_ALLOWED);
	assert_int_equal(enroll_explain(&r->gateway, r->world, &r->request, "old-3", PROOF_SECRET, &decision, &e), 0);
	assert_int_equal(decision.outcome, OUTCOME_DENIED);
	r->request.op = ENROLL_RENEW;
	assert_int_equal(enroll_explain(&r->gateway, r->world, &r->request, "rtr-1", PROOF_OWN, &decision, &e), 0);
	assert_string_equal(decision.reason, "renewal.window");
	assert_int_equal(enroll_explain(&r->gateway, r->world, &r->request, "rtr-2", PROOF_OWN, &decision, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
	assert_int_equal(enroll_explain(&r->gateway, r->world, &r->request, "none", PROOF_SECRET, &decision, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
	assert_int_equal(store_print(r), before);
	assert_int_equal(rig_certs(r), 1);
}

static void
a_broken_message_leaves_an_audit_row(void **state)
{
	struct rig *r = *state;
	struct err why;

	(void)err_set(&why, ERR_MALFORMED, "not base64");
	enroll_refuse(&r->gateway, &r->request, &why);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'enroll.refused' AND "
		"detail_json LIKE '%not base64%'"), 1);
	rig_chain_holds(r);
}

#define test(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(enroll_issues_what_the_registry_says),
		test(the_same_request_gets_the_same_octets_and_one_row),
		test(when_due_for_renewal_the_same_request_is_a_new_attempt),
		test(a_certificate_cut_short_by_a_contract_is_repeated_all_the_same),
		test(after_revocation_the_same_request_is_a_new_attempt),
		test(a_decommissioned_asset_is_denied_and_recorded),
		test(a_quarantined_asset_does_not_get_its_old_certificate_again),
		test(an_identity_the_registry_does_not_know_is_denied_without_a_request),
		test(a_long_identity_is_cut_between_characters),
		test(nobody_is_unauthentic_and_leaves_one_audit_row),
		test(octets_that_are_no_request_are_malformed),
		test(a_request_signed_by_another_key_is_malformed),
		test(a_key_of_another_asset_is_refused),
		test(a_guarded_label_waits_and_then_issues),
		test(an_approval_does_not_outlive_the_certificate_it_led_to),
		test(what_an_operator_refused_stays_refused),
		test(explain_says_what_would_be_and_changes_nothing),
		test(a_broken_message_leaves_an_audit_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
