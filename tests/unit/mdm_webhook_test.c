/* The webhook validator against a real HTTPS server. */
#define _GNU_SOURCE
#include "tests/unit/mdm_fixture.h"

static void
webhook_sends_what_the_service_needs(void **state)
{
	struct fixture *f = *state;
	json_t *body;

	f->action.body = "{\"allow\":true,\"data\":{\"device\":\"Ger\xc3\xa4t 7\"}}";
	open_mdm(f, "webhook");
	validate_ok(f, true, "allowed");
	assert_string_equal(f->verdict.device, "Ger\xc3\xa4t 7");
	assert_string_equal(f->bearer, "");
	body = body_json(f);
	assert_member(body, "protocol", "scep");
	assert_member(body, "label", "phones");
	assert_member(body, "transaction", f->request.transaction);
	assert_member(body, "challenge", CHALLENGE);
	assert_octets_member(body, "csr", &f->csr);
	json_decref(body);
}

static void
webhook_shows_its_bearer_token(void **state)
{
	struct fixture *f = *state;

	f->action.body = "{\"allow\":true}";
	f->settings.secret_file = f->secret_file;
	open_mdm(f, "webhook");
	validate_ok(f, true, "allowed");
	assert_string_equal(f->verdict.device, "");
	assert_string_equal(f->bearer, "Bearer " SECRET);
}

static void
webhook_tells_a_refusal_with_its_reason(void **state)
{
	struct fixture *f = *state;

	f->action.body = "{\"allow\":false,\"error\":{\"code\":\"used\",\"message\":\"second use\\n\"}}";
	open_mdm(f, "webhook");
	validate_ok(f, false, "used");
	assert_string_equal(f->verdict.text, "second use\\x0a");
	now_say(f, &f->action, (struct saying){ .body = "{\"allow\":false}" });
	validate_ok(f, false, "denied");
	now_say(f, &f->action, (struct saying){ .body = "{\"allow\":false,\"error\":{\"message\":\"" CHALLENGE "?\"}}" });
	validate_ok(f, false, "denied");
	assert_string_equal(f->verdict.text, "(withheld)");
}

static void
webhook_fails_closed(void **state)
{
	static const struct {
		struct saying saying;
		const char *word;
	} cases[] = {
		{ { .body = "{}" }, "allow" },
		{ { .body = "{\"allow\":\"true\"}" }, "allow" },
		{ { .body = "{\"allow\":1}" }, "allow" },
		{ { .body = "" }, "empty" },
		{ { .body = "yes" }, "no JSON" },
		{ { .body = "{\"allow\":true" }, "no JSON" },
		{ { .status = 500, .body = "{\"allow\":true}" }, "HTTP 500" },
		{ { .status = 201, .body = "{\"allow\":true}" }, "HTTP 201" },
		{ { .status = 204 }, "HTTP 204" },
		{ { .status = 401, .body = "{\"allow\":true}" }, "credentials" },
		{ { .status = 302, .headers = "Location: https://127.0.0.1:1/\r\n" }, "redirects" },
		{ { .status = 503, .headers = "Retry-After: 30\r\n" }, "wait 30 s" },
	};
	struct fixture *f = *state;
	size_t i;

	open_mdm(f, "webhook");
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		now_say(f, &f->action, cases[i].saying);
		validate_fails(f, cases[i].word);
	}
}

static void
webhook_fails_closed_at_the_deadline_and_without_trust(void **state)
{
	struct fixture *f = *state;

	f->settings.deadline_s = 1;
	open_mdm(f, "webhook");
	f->action.hang = true;
	validate_fails(f, "deadline");
	f->settings.ca = f->certs.other_file;
	f->settings.deadline_s = 20;
	open_mdm(f, "webhook");
	validate_fails(f, "not trusted");
	server_stop(f->server);
	f->server = NULL;
	f->settings.ca = f->certs.ca_file;
	open_mdm(f, "webhook");
	validate_fails(f, "connection refused");
}

static void
webhook_tells_what_was_issued(void **state)
{
	struct fixture *f = *state;
	json_t *body;
	char serial[SERIAL_HEX_MAX];

	f->settings.notify_url = f->notify_url;
	open_mdm(f, "webhook");
	assert_int_equal(f->ops->issued(f->mdm, &f->request, buf_bytes(&f->cert), &f->e), 0);
	assert_string_equal(f->path, "/told");
	body = body_json(f);
	assert_member(body, "event", "issued");
	assert_member(body, "transaction", f->request.transaction);
	assert_member(body, "issuer", "CN=Test CA");
	assert_octets_member(body, "certificate", &f->cert);
	assert_octets_member(body, "csr", &f->csr);
	assert_null(json_object_get(body, "challenge"));
	assert_int_equal(x509_serial_hex(f->certs.client, serial, &f->e), 0);
	assert_member(body, "serial", serial); /* digits only, so case does not show */
	json_decref(body);
	now_say(f, &f->action, (struct saying){ .status = 500 });
	assert_int_equal(f->ops->issued(f->mdm, &f->request, buf_bytes(&f->cert), &f->e), -1);
	error_is(f, "HTTP 500");
	assert_int_equal(f->ops->issued(f->mdm, &f->request, bytes_of("nonsense", 8), &f->e), -1);
}

static void
webhook_tells_what_was_refused(void **state)
{
	struct fixture *f = *state;
	const struct mdm_refusal why = { ERR_DENIED, "the profile wants \"P-256\"" };
	json_t *body;

	f->settings.notify_url = f->notify_url;
	open_mdm(f, "webhook");
	now_say(f, &f->action, (struct saying){ .status = 204 });
	assert_int_equal(f->ops->refused(f->mdm, &f->request, &why, &f->e), 0);
	body = body_json(f);
	assert_member(body, "event", "refused");
	assert_member(json_object_get(body, "error"), "code", "denied");
	assert_member(json_object_get(body, "error"), "message", why.text);
	json_decref(body);
}

static void
webhook_without_notify_url_tells_nobody(void **state)
{
	struct fixture *f = *state;

	open_mdm(f, "webhook");
	assert_int_equal(f->ops->issued(f->mdm, &f->request, buf_bytes(&f->cert), &f->e), 0);
	assert_int_equal(f->ops->refused(f->mdm, &f->request, &(struct mdm_refusal){ ERR_BUG, NULL }, &f->e), 0);
	assert_int_equal(server_count(f->server, &f->server->requests), 0);
}

static void
webhook_check_asks_about_no_device(void **state)
{
	struct fixture *f = *state;

	open_mdm(f, "webhook");
	assert_int_equal(f->ops->check(f->mdm, &f->e), 0);
	assert_int_equal(server_count(f->server, &f->server->requests), 0);
	f->settings.ca = f->certs.other_file;
	open_mdm(f, "webhook");
	assert_int_equal(f->ops->check(f->mdm, &f->e), -1);
	error_is(f, "not trusted");
}

static void
webhook_refuses_requests_that_miss_something(void **state)
{
	struct fixture *f = *state;
	const struct mdm_request good = f->request;

	open_mdm(f, "webhook");
	f->request.challenge = NULL;
	assert_int_equal(f->ops->validate(f->mdm, &f->request, &f->verdict, &f->e), -1);
	f->request = good;
	f->request.transaction = "";
	assert_int_equal(f->ops->validate(f->mdm, &f->request, &f->verdict, &f->e), -1);
	f->request = good;
	f->request.csr.len = 0;
	assert_int_equal(f->ops->validate(f->mdm, &f->request, &f->verdict, &f->e), -1);
	assert_int_equal(server_count(f->server, &f->server->requests), 0);
}

static void
webhook_open_checks_its_settings(void **state)
{
	struct fixture *f = *state;
	const struct mdm_settings good = f->settings;

	f->settings.url = NULL;
	open_fails(f, "webhook", "URL");
	f->settings = good;
	f->settings.name = "a b";
	open_fails(f, "webhook", "name");
	f->settings = good;
	f->settings.ca = NULL;
	open_fails(f, "webhook", "CA file");
	f->settings = good;
	f->settings.deadline_s = MDM_DEADLINE_MAX_S + 1;
	open_fails(f, "webhook", "deadline");
	f->settings = good;
	f->settings.notify_url = "http://example.org/";
	open_fails(f, "webhook", "notify_url");
	f->settings = good;
	f->settings.secret_file = f->secret_file;
	assert_int_equal(chmod(f->secret_file, 0644), 0);
	open_fails(f, "webhook", "chmod 600");
	assert_null(mdm_ops_of("jamf"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(webhook_sends_what_the_service_needs),
		test(webhook_shows_its_bearer_token),
		test(webhook_tells_a_refusal_with_its_reason),
		test(webhook_fails_closed),
		test(webhook_fails_closed_at_the_deadline_and_without_trust),
		test(webhook_tells_what_was_issued),
		test(webhook_tells_what_was_refused),
		test(webhook_without_notify_url_tells_nobody),
		test(webhook_check_asks_about_no_device),
		test(webhook_refuses_requests_that_miss_something),
		test(webhook_open_checks_its_settings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
