/* The connector to a SCEP server, against one made of the scep library. */
#define _GNU_SOURCE
#include "tests/unit/ca_scep_server.h"

static void
scep_sends_the_devices_request_and_asks_about_the_server_once(void **state)
{
	struct fixture *f = *state;
	uint8_t hash[32];
	char text[65];

	open_scep(f);
	issue_ok(f);
	issue_ok(f);
	assert_int_equal(api.caps_count, 1);
	assert_int_equal(api.types[0], SCEP_PKCS_REQ);
	assert_int_equal(api.digest, SCEP_SHA256);
	assert_int_equal(api.cipher, SCEP_AES128);
	assert_int_equal(sha256(bytes_of_text("gw-17-0"), hash, &f->e), 0);
	hex_encode(bytes_of(hash, sizeof hash), text);
	assert_string_equal(api.transaction, text);
	f->request.now_s += 601;
	issue_ok(f);
	assert_int_equal(api.caps_count, 2);
}

static void
scep_signs_by_the_configured_certificate(void **state)
{
	struct fixture *f = *state;
	char cert[128], key[128];

	open_scep(f);
	pem_write(&f->certs, "own.pem", api.ra, NULL, cert);
	pem_write(&f->certs, "own.key", NULL, api.ra_key, key);
	f->settings.client_cert = cert;
	f->settings.client_key = key;
	reopen(f, "scep");
	issue_ok(f);
	assert_int_equal(X509_cmp(api.seen_signer, api.ra), 0);
	f->settings.client_cert = f->certs.client_file;
	f->settings.client_key = f->certs.client_key;
	open_fails(f, "scep", "RSA");
}

static void
scep_waits_and_polls_after_a_restart(void **state)
{
	struct fixture *f = *state;
	char reference[CA_REFERENCE_MAX];

	api.wait = 2;
	open_scep(f);
	assert_int_equal(f->ops->issue(f->ca, &f->request, &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_WAITING);
	assert_true(f->answer.retry_s > 0);
	(void)snprintf(reference, sizeof reference, "%s", f->answer.reference);
	reopen(f, "scep");
	assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_WAITING);
	assert_int_equal(api.types[1], SCEP_CERT_POLL);
	now_hostile(f, reply_of(500, ""));
	assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_WAITING);
	assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	answer_is_issued(f);
	assert_string_equal(api.transaction, reference);
	assert_int_equal(f->ops->poll(f->ca, &f->request, "", &f->answer, &f->e), -1);
	error_is(f, ERR_BUG, "no transaction");
}

static void
scep_waits(struct fixture *f, char reference[CA_REFERENCE_MAX])
{
	api.wait = 1;
	open_scep(f);
	assert_int_equal(f->ops->issue(f->ca, &f->request, &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_WAITING);
	(void)snprintf(reference, CA_REFERENCE_MAX, "%s", f->answer.reference);
}

static void
scep_a_poll_that_http_refuses_is_no_refusal_of_the_request(void **state)
{
	struct fixture *f = *state;
	char reference[CA_REFERENCE_MAX];

	scep_waits(f, reference);
	now_hostile(f, reply_of(403, ""));
	assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "403");
}

/* The certificate went to a poll whose answer nobody got, and the server has forgotten it. */
static void
scep_what_waited_and_is_known_no_more_is_neither_refused_nor_absent(void **state)
{
	struct fixture *f = *state;
	char reference[CA_REFERENCE_MAX];

	scep_waits(f, reference);
	api.status = SCEP_FAILURE;
	api.fail = SCEP_BAD_CERT_ID;
	assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_UNKNOWN);
	error_is(f, ERR_UPSTREAM, "badCertId");
	(void)snprintf(reference, sizeof reference, "%s", f->answer.reference);
	assert_int_equal(f->ops->reconcile(f->ca, &f->request, reference, &f->answer, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "badCertId");
	api.status = SCEP_SUCCESS;
	assert_int_equal(f->ops->reconcile(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	answer_is_issued(f);
}

static void
scep_finds_what_a_lost_answer_left(void **state)
{
	struct fixture *f = *state;
	char reference[CA_REFERENCE_MAX];

	open_scep(f);
	prime(f);
	now_hostile(f, (struct reply){ .raw = "" });
	issue_unknown(f, f->server->url);
	(void)snprintf(reference, sizeof reference, "%s", f->answer.reference);
	api.status = SCEP_FAILURE;
	api.fail = SCEP_BAD_REQUEST;
	assert_int_equal(f->ops->reconcile(f->ca, &f->request, reference, &f->answer, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "badRequest");
	api.fail = SCEP_BAD_CERT_ID;
	assert_int_equal(f->ops->reconcile(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_ABSENT);
	now_hostile(f, reply_of(500, ""));
	assert_int_equal(f->ops->reconcile(f->ca, &f->request, reference, &f->answer, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "500");
	api.status = SCEP_SUCCESS;
	assert_int_equal(f->ops->reconcile(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	answer_is_issued(f);
	/* The gateway died before it could keep the reference. */
	ca_answer_free(&f->answer);
	assert_int_equal(f->ops->reconcile(f->ca, &f->request, "", &f->answer, &f->e), 0);
	answer_is_issued(f);
	assert_string_equal(api.transaction, reference);
}

static void
scep_refusals_are_told_apart(void **state)
{
	struct fixture *f = *state;

	open_scep(f);
	api.status = SCEP_FAILURE;
	api.fail = SCEP_BAD_REQUEST;
	issue_fails(f, ERR_DENIED, "badRequest: not today");
	api.fail = SCEP_BAD_MESSAGE_CHECK;
	issue_fails(f, ERR_UPSTREAM, "badMessageCheck");
	api.fail = SCEP_BAD_TIME;
	issue_fails(f, ERR_UPSTREAM, "badTime");
}

static void
scep_in_trouble_is_told_apart(void **state)
{
	struct fixture *f = *state;

	open_scep(f);
	prime(f);
	std_hostile(f, "scep", MEDIA);
	f->made = 0;
	buf_free(&api.cert);
	f->settings.deadline_ms = f->settings.connect_ms = 3000;
	reopen(f, "scep");
	prime(f);
	now_hostile(f, (struct reply){ .hang = true });
	issue_unknown(f, "deadline");
	assert_int_equal(f->made, 0);
}

static void
scep_believes_only_answers_of_its_own(void **state)
{
	struct fixture *f = *state;

	open_scep(f);
	api.wrong_nonce = true;
	issue_unknown(f, "recipientNonce");
	api.wrong_nonce = false;
	api.wrong_transaction = true;
	issue_unknown(f, "another transaction");
	api.wrong_transaction = false;
	api.signer = ra_make(f, f->issuing, f->issuing_key);
	issue_unknown(f, "signed by nobody");
	X509_free(api.signer);
	api.signer = NULL;
	api.digest = SCEP_SHA1;
	issue_unknown(f, "sha1");
	api.digest = SCEP_SHA256;
	api.cipher = SCEP_3DES;
	issue_unknown(f, "is not accepted");
}

/* Ours may have been made as well: CertPoll asks for it, and after a SUCCESS "there is none" says nothing. */
static void
scep_a_certificate_of_another_key_leaves_it_open(void **state)
{
	struct fixture *f = *state;
	char reference[CA_REFERENCE_MAX];

	open_scep(f);
	api.other_key = true;
	issue_unknown(f, "another key");
	assert_non_null(strstr(f->e.text, f->serial));
	assert_null(f->ops->revoke);
	(void)snprintf(reference, sizeof reference, "%s", f->answer.reference);
	assert_int_equal(f->ops->reconcile(f->ca, &f->request, reference, &f->answer, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "another key");
	assert_int_equal(api.types[api.type_count - 1], SCEP_CERT_POLL);
	api.status = SCEP_FAILURE;
	api.fail = SCEP_BAD_CERT_ID;
	assert_int_equal(f->ops->reconcile(f->ca, &f->request, reference, &f->answer, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "badCertId");
	api.status = SCEP_SUCCESS;
	api.other_key = false;
	buf_free(&api.cert);
	assert_int_equal(f->ops->reconcile(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	answer_is_issued(f);
}

static void
scep_a_poll_that_gives_a_certificate_of_another_key_does_not_end_it(void **state)
{
	struct fixture *f = *state;
	char reference[CA_REFERENCE_MAX];

	scep_waits(f, reference);
	api.other_key = true;
	assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_UNKNOWN);
	error_is(f, ERR_UPSTREAM, f->serial);
}

static void
scep_a_success_without_a_certificate_leaves_it_open(void **state)
{
	struct fixture *f = *state;
	char reference[CA_REFERENCE_MAX];

	open_scep(f);
	api.no_certs = true;
	issue_unknown(f, "answer");
	(void)snprintf(reference, sizeof reference, "%s", f->answer.reference);
	api.status = SCEP_FAILURE;
	api.fail = SCEP_BAD_CERT_ID;
	assert_int_equal(f->ops->reconcile(f->ca, &f->request, reference, &f->answer, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "badCertId");
}

static void
scep_sends_nothing_to_a_server_that_is_not_the_configured_one(void **state)
{
	struct fixture *f = *state;

	open_scep(f);
	api.leave_out_issuing = true;
	issue_fails(f, ERR_UPSTREAM, "configured certificate");
	api.leave_out_issuing = false;
	X509_free(api.ra);
	api.ra = ra_make(f, f->certs.other_ca, f->certs.other_key);
	issue_fails(f, ERR_UPSTREAM, "no RSA certificate");
	api.caps = "AES\nSHA-256\n";
	issue_fails(f, ERR_UPSTREAM, "POST");
	api.caps = "DES3\nSHA-1\nPOSTPKIOperation\n";
	issue_fails(f, ERR_UPSTREAM, "legacy");
	now_hostile(f, reply_of(404, ""));
	issue_fails(f, ERR_UPSTREAM, "404");
	assert_int_equal(api.type_count, 0);
}

static void
scep_old_algorithms_need_to_be_asked_for(void **state)
{
	struct fixture *f = *state;

	f->settings.auth = "legacy";
	api.caps = "DES3\nSHA-1\nPOSTPKIOperation\n";
	open_scep(f);
	issue_ok(f);
	assert_int_equal(api.digest, SCEP_SHA1);
	assert_int_equal(api.cipher, SCEP_3DES);
	api.cipher = SCEP_DES;
	issue_ok(f);
	api.digest = SCEP_MD5;
	issue_unknown(f, "md5");
}

static void
scep_settings_are_checked(void **state)
{
	struct fixture *f = *state;

	open_scep(f);
	f->settings.auth = "basic";
	open_fails(f, "scep", "auth is");
	f->settings.auth = NULL;
	f->settings.secret_file = f->secret_file;
	open_fails(f, "scep", "the device signed");
	f->settings.secret_file = NULL;
	f->settings.profile = "a&operation=x";
	open_fails(f, "scep", "CA identifier");
	f->settings.profile = NULL;
	f->settings.url = "https://127.0.0.1/scep?x=1";
	open_fails(f, "scep", "query");
}

#define scep_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		scep_test(scep_sends_the_devices_request_and_asks_about_the_server_once),
		scep_test(scep_signs_by_the_configured_certificate),
		scep_test(scep_waits_and_polls_after_a_restart),
		scep_test(scep_a_poll_that_http_refuses_is_no_refusal_of_the_request),
		scep_test(scep_what_waited_and_is_known_no_more_is_neither_refused_nor_absent),
		scep_test(scep_finds_what_a_lost_answer_left),
		scep_test(scep_refusals_are_told_apart),
		scep_test(scep_in_trouble_is_told_apart),
		scep_test(scep_believes_only_answers_of_its_own),
		scep_test(scep_a_certificate_of_another_key_leaves_it_open),
		scep_test(scep_a_poll_that_gives_a_certificate_of_another_key_does_not_end_it),
		scep_test(scep_a_success_without_a_certificate_leaves_it_open),
		scep_test(scep_sends_nothing_to_a_server_that_is_not_the_configured_one),
		scep_test(scep_old_algorithms_need_to_be_asked_for),
		scep_test(scep_settings_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
