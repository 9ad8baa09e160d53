/* The connector to another EST server: what it sends, and what it makes of answers. */
#define _GNU_SOURCE
#include "tests/unit/ca_std_fixture.h"

#include "est/body.h"

#define MEDIA "application/pkcs7-mime"

static struct {
	bool other_key, with_chain;
	int wait; /* answers of 202 before there is a certificate */
	char path[1024];
	struct buf first; /* the first request's octets, kept as a server does that gives the same again */
	struct buf cert;
} api;

static void
answer_certs(struct fixture *f, struct reply *reply)
{
	CLEANUP(buf) struct buf message = { 0 }, body = { 0 }, issuing = { 0 };
	struct bytes certs[2];

	assert_int_equal(x509_to_der(f->issuing, &issuing, &f->e), 0);
	certs[0] = api.with_chain ? buf_bytes(&issuing) : buf_bytes(&api.cert);
	certs[1] = buf_bytes(&api.cert);
	assert_int_equal(est_certs_encode(certs, api.with_chain ? 2 : 1, &message, &f->e), 0);
	est_body_encode(&body, buf_bytes(&message), EST_BASE64_WRAPPED);
	reply_octets(reply, "application/pkcs7-mime; smime-type=certs-only", buf_bytes(&body));
}

static void
service(struct tls_server *server, const struct seen *seen, struct reply *reply)
{
	struct fixture *f = server->arg;
	CLEANUP(buf) struct buf csr = { 0 };
	char value[80];

	assert_string_equal(seen->method, "POST");
	assert_string_equal(seen_header(seen, "Content-Type", value, sizeof value), "application/pkcs10");
	(void)snprintf(api.path, sizeof api.path, "%s", seen->path);
	assert_int_equal(est_body_decode(bytes_of(seen->body, seen->body_len), false, &csr, &f->e), 0);
	assert_true(bytes_equal(buf_bytes(&csr), buf_bytes(&f->csr)));
	if (api.wait > 0) {
		api.wait--;
		*reply = reply_of(202, "later");
		(void)snprintf(reply->headers, sizeof reply->headers, "Retry-After: 17\r\n");
		return;
	}
	if (api.cert.len == 0 && api.other_key)
		service_issue_other(f, &api.cert);
	else if (api.cert.len == 0)
		service_issue(f, &api.cert);
	answer_certs(f, reply);
}

static void
open_est(struct fixture *f)
{
	buf_free(&api.cert);
	memset(&api, 0, sizeof api);
	f->settings.secret_file = NULL;
	f->settings.client_cert = f->certs.client_file;
	f->settings.client_key = f->certs.client_key;
	f->settings.profile = "factory";
	open_ca(f, "est", service);
}

static int
teardown(void **state)
{
	buf_free(&api.cert);
	return fixture_teardown(state);
}

static void
est_sends_the_devices_own_request_to_the_label(void **state)
{
	struct fixture *f = *state;

	open_est(f);
	issue_ok(f);
	assert_string_equal(api.path, "/.well-known/est/factory/simpleenroll");
	f->settings.profile = NULL;
	reopen(f, "est");
	issue_ok(f);
	assert_string_equal(api.path, "/.well-known/est/simpleenroll");
}

static void
est_takes_the_requests_certificate_from_a_chain(void **state)
{
	struct fixture *f = *state;

	open_est(f);
	api.with_chain = true;
	issue_ok(f);
}

static void
est_waits_and_sends_the_identical_request_again(void **state)
{
	struct fixture *f = *state;
	char reference[CA_REFERENCE_MAX];

	open_est(f);
	api.wait = 2;
	assert_int_equal(f->ops->issue(f->ca, &f->request, &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_WAITING);
	assert_int_equal(f->answer.retry_s, 17);
	(void)snprintf(reference, sizeof reference, "%s", f->answer.reference);
	reopen(f, "est");
	assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_WAITING);
	assert_string_equal(f->answer.reference, reference);
	assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	answer_is_issued(f);
	reference[10] = reference[10] == '0' ? '1' : '0';
	assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), -1);
	error_is(f, ERR_BUG, "not the request");
}

/* An upstream that is installed anew has somebody else answering for a minute: what waits there is still there. */
static void
est_waits_on_when_nobody_knows_the_label(void **state)
{
	static const int odd[] = { 404, 405, 410, 421 };
	struct fixture *f = *state;
	char reference[CA_REFERENCE_MAX];
	size_t i;

	open_est(f);
	api.wait = 1;
	assert_int_equal(f->ops->issue(f->ca, &f->request, &f->answer, &f->e), 0);
	(void)snprintf(reference, sizeof reference, "%s", f->answer.reference);
	for (i = 0; i < sizeof odd / sizeof odd[0]; i++) {
		now_hostile(f, reply_of(odd[i], "<html>not here</html>"));
		assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), -1);
		error_is(f, ERR_UPSTREAM, "it refuses");
	}
	now_hostile(f, reply_of(403, "no"));
	assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), -1);
	error_is(f, ERR_DENIED, "it refuses");
	assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	answer_is_issued(f);
}

static void
est_finds_what_a_lost_answer_left(void **state)
{
	struct fixture *f = *state;
	char reference[CA_REFERENCE_MAX];

	open_est(f);
	now_hostile(f, (struct reply){ .raw = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nMII" });
	issue_unknown(f, "broke off");
	(void)snprintf(reference, sizeof reference, "%s", f->answer.reference);
	now_hostile(f, reply_of(400, "this key has a certificate"));
	assert_int_equal(f->ops->reconcile(f->ca, &f->request, reference, &f->answer, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "400");
	now_hostile(f, reply_of(500, ""));
	assert_int_equal(f->ops->reconcile(f->ca, &f->request, reference, &f->answer, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "500");
	assert_int_equal(f->ops->reconcile(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	answer_is_issued(f);
	assert_int_equal(f->made, 1);
	/* The gateway died before it could keep the reference. */
	ca_answer_free(&f->answer);
	assert_int_equal(f->ops->reconcile(f->ca, &f->request, "", &f->answer, &f->e), 0);
	answer_is_issued(f);
}

static void
est_in_trouble_is_told_apart(void **state)
{
	struct fixture *f = *state;

	open_est(f);
	std_hostile(f, "est", MEDIA);
}

static void
est_takes_no_certificate_of_another_key(void **state)
{
	struct fixture *f = *state;

	char serial[SERIAL_HEX_MAX];
	X509 *made;

	open_est(f);
	api.other_key = true;
	issue_unknown(f, "another key");
	/* Whose chain came with it is not asked about: the text has the other device's number. */
	api.with_chain = true;
	ca_answer_free(&f->answer);
	issue_unknown(f, "another key");
	assert_int_equal(x509_from_der(buf_bytes(&api.cert), &made, &f->e), 0);
	assert_int_equal(x509_serial_hex(made, serial, &f->e), 0);
	X509_free(made);
	ca_answer_free(&f->answer);
	issue_unknown(f, serial);
}

static void
est_silent_refused_and_untrusted_servers(void **state)
{
	struct fixture *f = *state;
	char url[64];
	int taken;

	open_est(f);
	f->settings.deadline_ms = f->settings.connect_ms = 1000;
	reopen(f, "est");
	now_hostile(f, (struct reply){ .hang = true });
	issue_unknown(f, "deadline");
	f->settings.deadline_ms = f->settings.connect_ms = 20000;
	taken = refusing_url(url);
	f->settings.url = url;
	reopen(f, "est");
	issue_fails(f, ERR_UPSTREAM, "refused");
	(void)close(taken);
	f->settings.url = f->server->url;
	f->settings.tls_ca = f->certs.other_file;
	reopen(f, "est");
	issue_fails(f, ERR_UPSTREAM, "not trusted");
	assert_int_equal(f->ops->check(f->ca, &f->e), -1);
	assert_int_equal(f->made, 0);
}

static void
est_authenticates_by_password_when_told_so(void **state)
{
	struct fixture *f = *state;
	char value[120];

	open_est(f);
	f->settings.client_cert = f->settings.client_key = NULL;
	open_fails(f, "est", "client_cert");
	f->settings.user = "gateway";
	open_fails(f, "est", "secret_file");
	f->settings.secret_file = f->secret_file;
	reopen(f, "est");
	issue_ok(f);
	assert_string_equal(seen_header(&f->server->last, "Authorization", value, sizeof value),
		"Basic Z2F0ZXdheTowMDExMjIzMzQ0NTU2Njc3ODg5OWFhYmJjY2RkZWVmZg==");
}

static void
est_cannot_send_a_request_that_was_made_here(void **state)
{
	struct fixture *f = *state;

	open_est(f);
	f->request.csr = bytes_of(NULL, 0);
	issue_fails(f, ERR_UNSUPPORTED, "own request");
	assert_null(f->ops->revoke);
}

#define est_test(name) cmocka_unit_test_setup_teardown(name, fixture_setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		est_test(est_sends_the_devices_own_request_to_the_label),
		est_test(est_takes_the_requests_certificate_from_a_chain),
		est_test(est_waits_and_sends_the_identical_request_again),
		est_test(est_waits_on_when_nobody_knows_the_label),
		est_test(est_finds_what_a_lost_answer_left),
		est_test(est_in_trouble_is_told_apart),
		est_test(est_takes_no_certificate_of_another_key),
		est_test(est_silent_refused_and_untrusted_servers),
		est_test(est_authenticates_by_password_when_told_so),
		est_test(est_cannot_send_a_request_that_was_made_here),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
