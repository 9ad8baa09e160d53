/* The connector by CMP against a server made of OpenSSL's own server half. */
#define _GNU_SOURCE
#include "tests/unit/ca_cmp_server.h"

static void
cmp_issues_by_a_secret_and_confirms(void **state)
{
	struct fixture *f = *state;

	open_cmp(f, true);
	issue_ok(f);
	assert_int_equal(api.types[0], P10CR);
	assert_int_equal(api.types[1], CERT_CONF);
	assert_int_equal(api.confirmed, 1);
	assert_int_equal(ca_verify_issued(buf_bytes(&f->answer.cert), &f->request, f->issuing, &f->e), 0);
}

static void
cmp_issues_by_signature_and_confirms(void **state)
{
	struct fixture *f = *state;

	open_cmp(f, false);
	issue_ok(f);
	assert_int_equal(api.confirmed, 1);
}

/* The CA may have the first one in progress when somebody says that it did not issue. */
static void
cmp_gives_each_attempt_a_transaction_of_its_own(void **state)
{
	struct fixture *f = *state;
	uint8_t first[16];

	open_cmp(f, true);
	api.hostile_at = CERT_CONF;
	api.hostile = reply_of(500, "");
	issue_unknown(f, "confirmation is not known");
	memcpy(first, api.transaction, sizeof first);
	issue_ok(f);
	assert_memory_not_equal(api.transaction, first, sizeof first);
}

static void
cmp_waits_and_polls_after_a_restart(bool by_secret, struct fixture *f)
{
	char reference[CA_REFERENCE_MAX];

	api.wait = 3;
	open_cmp(f, by_secret);
	assert_int_equal(f->ops->issue(f->ca, &f->request, &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_WAITING);
	assert_int_equal(f->answer.retry_s, 7);
	(void)snprintf(reference, sizeof reference, "%s", f->answer.reference);
	open_ca(f, "cmp", service);
	if (f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e) != 0)
		fail_msg("%s", f->e.text);
	assert_int_equal(f->answer.state, CA_WAITING);
	assert_int_equal(f->answer.retry_s, 7);
	(void)snprintf(reference, sizeof reference, "%s", f->answer.reference);
	open_ca(f, "cmp", service);
	if (f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e) != 0)
		fail_msg("%s", f->e.text);
	if (f->answer.state != CA_ISSUED)
		fail_msg("state %d: %s", f->answer.state, f->e.text);
	answer_is_issued(f);
	assert_int_equal(f->made, 1);
	assert_int_equal(api.confirmed, 1);
	assert_int_equal(api.types[api.type_count - 2], POLL_REQ);
	assert_int_equal(api.types[api.type_count - 1], CERT_CONF);
}

static void
cmp_polls_by_secret_in_a_process_that_never_asked(void **state)
{
	cmp_waits_and_polls_after_a_restart(true, *state);
}

static void
cmp_polls_by_signature_in_a_process_that_never_asked(void **state)
{
	cmp_waits_and_polls_after_a_restart(false, *state);
}

static void
cmp_a_lost_poll_is_asked_again(void **state)
{
	struct fixture *f = *state;
	char reference[CA_REFERENCE_MAX];

	api.wait = 2;
	open_cmp(f, true);
	assert_int_equal(f->ops->issue(f->ca, &f->request, &f->answer, &f->e), 0);
	(void)snprintf(reference, sizeof reference, "%s", f->answer.reference);
	now_hostile(f, reply_of(500, ""));
	assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_WAITING);
	assert_string_equal(f->answer.reference, reference);
	now_hostile(f, reply_of(404, "")); /* by whoever stands before it */
	assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "404");
	assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	answer_is_issued(f);
	assert_int_equal(f->ops->poll(f->ca, &f->request, "nonsense", &f->answer, &f->e), -1);
	assert_int_equal(f->e.code, ERR_BUG);
}

/* The certificate went to a poll whose answer nobody got: the CA has nothing that waits, and issued all the same. */
static void
cmp_an_error_to_a_poll_is_no_refusal_of_the_request(void **state)
{
	struct fixture *f = *state;
	char reference[CA_REFERENCE_MAX];

	api.wait = 2;
	open_cmp(f, true);
	assert_int_equal(f->ops->issue(f->ca, &f->request, &f->answer, &f->e), 0);
	(void)snprintf(reference, sizeof reference, "%s", f->answer.reference);
	assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	answer_is_issued(f);
	ca_answer_free(&f->answer);
	assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_UNKNOWN);
	error_is(f, ERR_UPSTREAM, "poll");
}

static void
cmp_an_answer_to_a_poll_that_nobody_protected_changes_nothing(void **state)
{
	struct fixture *f = *state;
	char reference[CA_REFERENCE_MAX], other[128];

	api.wait = 5;
	open_cmp(f, true);
	assert_int_equal(f->ops->issue(f->ca, &f->request, &f->answer, &f->e), 0);
	(void)snprintf(reference, sizeof reference, "%s", f->answer.reference);
	/* The server takes what it is sent, and protects by a secret that is not ours. */
	(void)OSSL_CMP_SRV_CTX_set_accept_unprotected(api.srv, 1);
	file_make(&f->certs.folder, "other", "ffffffffffffffff\n", 0600, other);
	f->settings.secret_file = other;
	open_ca(f, "cmp", service);
	assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	assert_int_equal(api.types[api.type_count - 1], POLL_REQ);
	assert_int_equal(f->answer.state, CA_WAITING);
	assert_string_equal(f->answer.reference, reference);
	assert_int_equal(f->answer.retry_s, 1);
}

static void
cmp_refusals_are_told_apart(void **state)
{
	struct fixture *f = *state;

	open_cmp(f, true);
	api.fail = OSSL_CMP_PKIFAILUREINFO_badCertTemplate;
	api.words = "no \x07 such name";
	issue_fails(f, ERR_DENIED, "no \\x07 such name");
	api.fail = OSSL_CMP_PKIFAILUREINFO_systemUnavail;
	issue_fails(f, ERR_UPSTREAM, "cannot work now");
	api.fail = OSSL_CMP_PKIFAILUREINFO_notAuthorized;
	issue_fails(f, ERR_UPSTREAM, "credentials");
	api.fail = OSSL_CMP_PKIFAILUREINFO_transactionIdInUse;
	issue_unknown(f, "this transaction before");
	assert_int_equal(f->made, 0);
}

static void
cmp_in_trouble_is_told_apart(void **state)
{
	struct fixture *f = *state;

	open_cmp(f, true);
	std_hostile(f, "cmp", MEDIA);
	f->made = 0;
	f->settings.deadline_ms = f->settings.connect_ms = 1000;
	open_ca(f, "cmp", service);
	now_hostile(f, (struct reply){ .hang = true });
	issue_unknown(f, "deadline");
	assert_int_equal(strlen(f->answer.reference), 32 + 1 + 1 + 32);
}

static void
cmp_a_lost_confirmation_leaves_it_open(void **state)
{
	struct fixture *f = *state;

	open_cmp(f, true);
	api.hostile_at = CERT_CONF;
	api.hostile = reply_of(500, "");
	issue_unknown(f, "confirmation is not known");
	api.hostile_at = CERT_CONF;
	api.hostile = reply_of(503, "");
	issue_unknown(f, "confirmation is not known");
}

/* Ours may have been made as well, and CMP cannot be asked for it: an operator looks. */
static void
cmp_refuses_a_certificate_of_another_key_and_revokes_nothing(void **state)
{
	struct fixture *f = *state;

	open_cmp(f, true);
	api.other_key = true;
	issue_unknown(f, "another key");
	assert_non_null(strstr(f->e.text, f->serial));
	assert_int_not_equal(f->answer.reference[0], '\0');
	assert_int_equal(api.refused, 1);
	assert_int_equal(api.confirmed, 0);
	assert_int_equal(api.revoked, 0);
	assert_null(f->ops->reconcile);
}

static void
cmp_a_poll_that_gives_a_certificate_of_another_key_does_not_end_it(void **state)
{
	struct fixture *f = *state;
	char reference[CA_REFERENCE_MAX];

	api.wait = 2;
	open_cmp(f, true);
	assert_int_equal(f->ops->issue(f->ca, &f->request, &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_WAITING);
	(void)snprintf(reference, sizeof reference, "%s", f->answer.reference);
	api.other_key = true;
	assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_UNKNOWN);
	error_is(f, ERR_UPSTREAM, f->serial);
	assert_int_equal(api.refused, 1);
	assert_int_equal(api.revoked, 0);
}

static void
cmp_tells_the_ca_of_a_certificate_that_was_not_approved(void **state)
{
	struct fixture *f = *state;
	struct cert_spec other = f->spec;

	open_cmp(f, true);
	/* The service issues by f->request's spec when asked; what was approved is another one. */
	other.san_count = 1;
	{
		struct ca_request approved = f->request;

		approved.spec = &other;
		assert_int_equal(f->ops->issue(f->ca, &approved, &f->answer, &f->e), 0);
	}
	answer_is_issued(f);
	assert_int_equal(api.refused, 1);
	assert_int_equal(api.confirmed, 0);
}

static void
cmp_believes_neither_a_wrong_secret_nor_a_devices_signature(void **state)
{
	struct fixture *f = *state;
	char other[128];

	open_cmp(f, true);
	file_make(&f->certs.folder, "other", "ffffffffffffffff\n", 0600, other);
	f->settings.secret_file = other;
	open_ca(f, "cmp", service);
	issue_fails(f, ERR_UPSTREAM, "does not prove");
	assert_int_equal(f->made, 0);
	signer_make(f, "1.3.6.1.5.5.7.3.2");
	open_cmp(f, false);
	issue_unknown(f, "answer");
}

static void
cmp_revokes_by_serial_number(void **state)
{
	struct fixture *f = *state;

	open_cmp(f, true);
	if (f->ops->revoke(f->ca, "0a1b2c", bytes_of(NULL, 0), 1, NOW_S, &f->e) != 0)
		fail_msg("%s", f->e.text);
	assert_int_equal(api.revoked, 1);
	assert_string_equal(api.revoked_serial, "0a1b2c");
	api.already_revoked = true;
	assert_int_equal(f->ops->revoke(f->ca, "0a1b2c", bytes_of(NULL, 0), 1, NOW_S, &f->e), 0);
	api.already_revoked = false;
	api.fail = OSSL_CMP_PKIFAILUREINFO_badCertId;
	assert_int_equal(f->ops->revoke(f->ca, "0a1b2d", bytes_of(NULL, 0), 1, NOW_S, &f->e), -1);
	error_is(f, ERR_DENIED, "badCertId");
	now_hostile(f, reply_of(500, ""));
	assert_int_equal(f->ops->revoke(f->ca, "0a1b2d", bytes_of(NULL, 0), 1, NOW_S, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "500");
	assert_int_equal(f->ops->revoke(f->ca, "zz", bytes_of(NULL, 0), 1, NOW_S, &f->e), -1);
	assert_int_equal(f->ops->revoke(f->ca, "0a", bytes_of(NULL, 0), 77, NOW_S, &f->e), -1);
	assert_int_equal(f->e.code, ERR_UNSUPPORTED);
}

static void
cmp_settings_are_checked(void **state)
{
	struct fixture *f = *state;

	open_cmp(f, true);
	f->settings.auth = "password";
	open_fails(f, "cmp", "auth is");
	f->settings.auth = "secret";
	f->settings.user = NULL;
	open_fails(f, "cmp", "user");
	f->settings.auth = "signature";
	f->settings.client_cert = f->certs.ca_file;
	f->settings.client_key = NULL;
	open_fails(f, "cmp", "key file");
}

#define cmp_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmp_test(cmp_issues_by_a_secret_and_confirms),
		cmp_test(cmp_issues_by_signature_and_confirms),
		cmp_test(cmp_gives_each_attempt_a_transaction_of_its_own),
		cmp_test(cmp_polls_by_secret_in_a_process_that_never_asked),
		cmp_test(cmp_polls_by_signature_in_a_process_that_never_asked),
		cmp_test(cmp_a_lost_poll_is_asked_again),
		cmp_test(cmp_an_error_to_a_poll_is_no_refusal_of_the_request),
		cmp_test(cmp_an_answer_to_a_poll_that_nobody_protected_changes_nothing),
		cmp_test(cmp_refusals_are_told_apart),
		cmp_test(cmp_in_trouble_is_told_apart),
		cmp_test(cmp_a_lost_confirmation_leaves_it_open),
		cmp_test(cmp_refuses_a_certificate_of_another_key_and_revokes_nothing),
		cmp_test(cmp_a_poll_that_gives_a_certificate_of_another_key_does_not_end_it),
		cmp_test(cmp_tells_the_ca_of_a_certificate_that_was_not_approved),
		cmp_test(cmp_believes_neither_a_wrong_secret_nor_a_devices_signature),
		cmp_test(cmp_revokes_by_serial_number),
		cmp_test(cmp_settings_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
