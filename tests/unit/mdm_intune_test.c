/* The Intune validator against a real HTTPS server that speaks as Intune does. */
#define _GNU_SOURCE
#include "tests/unit/mdm_fixture.h"

#define SUCCESS "{\"code\":\"Success\",\"errorDescription\":\"\"}"
#define THREADS 6

static void
open_intune(struct fixture *f)
{
	f->settings.token_url = f->token_url;
	f->settings.client_id = "app&id";
	f->settings.secret_file = f->secret_file;
	f->settings.provider = "enrolld test";
	if (f->action.body == NULL)
		f->action.body = SUCCESS;
	open_mdm(f, "intune");
}

static void
intune_asks_with_a_token_and_the_request_as_it_came(void **state)
{
	struct fixture *f = *state;
	char value[128];
	json_t *body;
	const json_t *request;

	open_intune(f);
	validate_ok(f, true, "Success");
	assert_string_equal(f->verdict.device, "");
	assert_string_equal(f->path, "/ScepActions/validateRequest");
	assert_string_equal(f->bearer, "Bearer token-1");
	assert_string_equal(f->token_body, "grant_type=client_credentials&client_id=app%26id&client_secret="
		"cl1ent%2Bsecret%2F%3D%26%25&scope=https%3A%2F%2Fapi.manage.microsoft.com%2F%2F.default");
	assert_string_equal(seen_header(&f->server->last, "api-version", value, sizeof value), "2018-02-20");
	assert_string_equal(seen_header(&f->server->last, "Content-Type", value, sizeof value), "application/json");
	assert_string_equal(seen_header(&f->server->last, "User-Agent", value, sizeof value), "enrolld test");
	assert_int_equal(strlen(seen_header(&f->server->last, "client-request-id", value, sizeof value)), 36);
	body = body_json(f);
	request = json_object_get(body, "request");
	assert_int_equal(json_object_size(request), 3);
	assert_member(request, "transactionId", f->request.transaction);
	assert_member(request, "callerInfo", "enrolld test");
	assert_octets_member(request, "certificateRequest", &f->csr);
	json_decref(body);
}

static void
intune_keeps_its_token(void **state)
{
	struct fixture *f = *state;
	int i;

	open_intune(f);
	for (i = 0; i < 4; i++)
		validate_ok(f, true, "Success");
	assert_int_equal(f->tokens, 1);
	assert_int_equal(server_count(f->server, &f->server->accepted), 1);
}

static void
intune_fetches_a_new_token_before_the_old_one_ends(void **state)
{
	struct fixture *f = *state;

	f->expires_s = 60;
	open_intune(f);
	validate_ok(f, true, "Success");
	validate_ok(f, true, "Success");
	assert_int_equal(f->tokens, 2);
	assert_string_equal(f->bearer, "Bearer token-2");
}

static void
intune_tries_once_more_when_its_token_is_refused(void **state)
{
	struct fixture *f = *state;

	open_intune(f);
	validate_ok(f, true, "Success");
	f->refuse_tokens = 1;
	validate_ok(f, true, "Success");
	assert_int_equal(f->tokens, 2);
	assert_string_equal(f->bearer, "Bearer token-2");
	f->refuse_tokens = 10;
	validate_fails(f, "HTTP 401");
	assert_int_equal(f->refuse_tokens, 8);
	assert_int_equal(f->tokens, 3);
}

struct caller {
	struct fixture *f;
	pthread_t thread;
	int rc;
	struct err e;
};

static void *
caller_run(void *arg)
{
	struct caller *caller = arg;
	struct mdm_verdict verdict;

	caller->rc = caller->f->ops->validate(caller->f->mdm, &caller->f->request, &verdict, &caller->e);
	return NULL;
}

static void
intune_fetches_one_token_for_all_that_wait(void **state)
{
	struct fixture *f = *state;
	struct caller callers[THREADS];
	int i;

	open_intune(f);
	/* Nobody is answered before all have begun. */
	(void)pthread_mutex_lock(&f->server->lock);
	for (i = 0; i < THREADS; i++) {
		callers[i] = (struct caller){ .f = f };
		assert_int_equal(pthread_create(&callers[i].thread, NULL, caller_run, &callers[i]), 0);
	}
	(void)pthread_mutex_unlock(&f->server->lock);
	for (i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
		if (callers[i].rc != 0)
			fail_msg("%s", callers[i].e.text);
	}
	assert_int_equal(f->tokens, 1);
	assert_int_equal(f->actions, THREADS);
}

static void
intune_tells_why_the_service_refused(void **state)
{
	static const char *const codes[] = { "ChallengeExpired", "ChallengeDecryptionError", "SubjectNameMismatch",
		"SomethingNew", "success", "Unknown" };
	struct fixture *f = *state;
	char body[256];
	size_t i;

	open_intune(f);
	for (i = 0; i < sizeof codes / sizeof codes[0]; i++) {
		(void)snprintf(body, sizeof body, "{\"code\":\"%s\",\"errorDescription\":\"because\\tof %s\"}", codes[i], codes[i]);
		now_say(f, &f->action, (struct saying){ .body = body });
		validate_ok(f, false, codes[i]);
		assert_non_null(strstr(f->verdict.text, "because\\x09of "));
	}
	now_say(f, &f->action, (struct saying){ .body = "{\"code\":\"Bad\",\"errorDescription\":\"it was " CHALLENGE "\"}" });
	validate_ok(f, false, "Bad");
	assert_string_equal(f->verdict.text, "(withheld)");
	now_say(f, &f->action, (struct saying){ .body = "{\"code\":\"Bad\",\"errorDescription\":\"began QWERTY.3Qk/one-tim\"}" });
	validate_ok(f, false, "Bad");
	assert_string_equal(f->verdict.text, "(withheld)");
}

static void
intune_fails_closed(void **state)
{
	static const struct {
		struct saying saying;
		const char *word;
	} cases[] = {
		{ { .body = "{\"errorDescription\":\"x\"}" }, "code" },
		{ { .body = "{\"code\":true}" }, "code" },
		{ { .body = "{\"code\":\"\"}" }, "code" },
		{ { .body = "{\"code\":\"Success\",\"code\":\"Success\"}" }, "no JSON" },
		{ { .body = "[\"Success\"]" }, "object" },
		{ { .body = "Success" }, "no JSON" },
		{ { .body = "" }, "empty" },
		{ { .status = 500, .body = SUCCESS }, "HTTP 500" },
		{ { .status = 202, .body = SUCCESS }, "HTTP 202" },
		{ { .status = 403, .body = SUCCESS }, "permissions" },
		{ { .status = 307, .body = SUCCESS, .headers = "Location: /ScepActions/validateRequest\r\n" }, "redirects" },
		{ { .status = 429, .headers = "Retry-After: 12\r\n" }, "wait 12 s" },
	};
	struct fixture *f = *state;
	size_t i;

	open_intune(f);
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		now_say(f, &f->action, cases[i].saying);
		validate_fails(f, cases[i].word);
	}
	now_say(f, &f->action, (struct saying){ .hang = true });
	f->settings.deadline_s = 1;
	open_intune(f);
	validate_fails(f, "deadline");
}

static void
intune_fails_closed_without_a_token(void **state)
{
	static const struct {
		struct saying saying;
		const char *word;
	} cases[] = {
		{ { .status = 401, .body = "{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000215: wrong\"}" },
			"invalid_client: AADSTS7000215: wrong" },
		{ { .status = 400, .body = "{\"error\":\"x\",\"error_description\":\"you said " SECRET "\"}" }, "(withheld)" },
		{ { .status = 500, .body = "oops" }, "HTTP 500" },
		{ { .body = "{\"access_token\":\"abc\"}" }, "Bearer" },
		{ { .body = "{\"token_type\":\"mac\",\"access_token\":\"abc\"}" }, "Bearer" },
		{ { .body = "{\"token_type\":\"Bearer\"}" }, "access_token" },
		{ { .body = "{\"token_type\":\"Bearer\",\"access_token\":\"a\\r\\nX: y\"}" }, "access_token" },
		{ { .body = "{\"token_type\":\"Bearer\",\"access_token\":\"abc\",\"expires_in\":-1}" }, "expires_in" },
	};
	struct fixture *f = *state;
	size_t i;

	open_intune(f);
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		now_say(f, &f->token, cases[i].saying);
		validate_fails(f, cases[i].word);
	}
	assert_int_equal(f->actions, 0);
	now_say(f, &f->token, (struct saying){ .body = "{\"token_type\":\"bearer\",\"access_token\":\"abc\",\"expires_in\":\"3599\"}" });
	validate_ok(f, true, "Success");
	assert_string_equal(f->bearer, "Bearer abc");
}

static void
intune_tells_what_was_issued(void **state)
{
	struct fixture *f = *state;
	char serial[SERIAL_HEX_MAX];
	uint8_t sha1[20];
	char hex[41];
	json_t *body;
	const json_t *told;
	size_t i;

	open_intune(f);
	assert_int_equal(f->ops->issued(f->mdm, &f->request, buf_bytes(&f->cert), &f->e), 0);
	assert_string_equal(f->path, "/ScepActions/successNotification");
	body = body_json(f);
	told = json_object_get(body, "notification");
	assert_int_equal(json_object_size(told), 9);
	assert_member(told, "transactionId", f->request.transaction);
	assert_octets_member(told, "certificateRequest", &f->csr);
	assert_int_equal(EVP_Digest(f->cert.at, f->cert.len, sha1, NULL, EVP_sha1(), NULL), 1);
	hex_encode(bytes_of(sha1, 20), hex);
	for (i = 0; hex[i] != '\0'; i++)
		if (hex[i] >= 'a')
			hex[i] = (char)(hex[i] - 'a' + 'A');
	assert_member(told, "certificateThumbprint", hex);
	assert_int_equal(x509_serial_hex(f->certs.client, serial, &f->e), 0);
	assert_member(told, "certificateSerialNumber", serial);
	assert_string_equal(json_string_value(json_object_get(told, "certificateExpirationDateUtc")) + 19, ".000Z");
	assert_member(told, "issuingCertificateAuthority", "CN=Test CA");
	assert_member(told, "certificateAuthority", "CN=Test CA");
	assert_member(told, "caConfiguration", "phones");
	assert_member(told, "callerInfo", "enrolld test");
	json_decref(body);
	now_say(f, &f->action, (struct saying){ .body = "{\"code\":\"BadThing\",\"errorDescription\":\"no\"}" });
	assert_int_equal(f->ops->issued(f->mdm, &f->request, buf_bytes(&f->cert), &f->e), -1);
	error_is(f, "BadThing");
}

static void
intune_tells_what_was_refused(void **state)
{
	struct fixture *f = *state;
	char longer[400];
	json_t *body;
	const json_t *told;

	memset(longer, 'x', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	open_intune(f);
	assert_int_equal(f->ops->refused(f->mdm, &f->request, &(struct mdm_refusal){ ERR_DENIED, longer }, &f->e), 0);
	assert_string_equal(f->path, "/ScepActions/failureNotification");
	body = body_json(f);
	told = json_object_get(body, "notification");
	assert_int_equal(json_object_size(told), 5);
	assert_octets_member(told, "certificateRequest", &f->csr);
	assert_int_equal(json_integer_value(json_object_get(told, "hResult")), (int32_t)(0xA0000000u + ERR_DENIED));
	assert_int_equal(json_string_length(json_object_get(told, "errorDescription")), 255);
	json_decref(body);
	assert_int_equal(f->ops->refused(f->mdm, &f->request, &(struct mdm_refusal){ ERR_UPSTREAM, NULL }, &f->e), 0);
	body = body_json(f);
	assert_member(json_object_get(body, "notification"), "errorDescription", "upstream");
	json_decref(body);
}

static void
intune_finds_its_service(void **state)
{
	struct fixture *f = *state;
	char list[512];

	(void)snprintf(list, sizeof list, "{\"value\":[{\"providerName\":\"Other\",\"uri\":\"https://other.example/\"},"
		"{\"providerName\":\"sceprequestvalidationfeservice\",\"uri\":\"%s/shard/7/\"}]}", f->server->url);
	f->discovery.body = list;
	f->settings.url = NULL;
	f->settings.discovery_url = f->discovery_url;
	f->settings.discovery_domain = "127.0.0.1";
	open_intune(f);
	validate_ok(f, true, "Success");
	validate_ok(f, true, "Success");
	assert_string_equal(f->path, "/shard/7/ScepActions/validateRequest");
	assert_int_equal(f->discoveries, 1);
	assert_int_equal(f->tokens, 2); /* one for Graph, one for Intune */
	assert_int_equal(f->ops->check(f->mdm, &f->e), 0);
	now_say(f, &f->action, (struct saying){ .status = 404 });
	validate_fails(f, "HTTP 404");
	now_say(f, &f->action, (struct saying){ .body = SUCCESS });
	validate_ok(f, true, "Success");
	assert_int_equal(f->discoveries, 2);
}

static void
intune_sends_no_token_to_a_host_outside_its_domain(void **state)
{
	struct fixture *f = *state;
	char list[512];

	(void)snprintf(list, sizeof list, "{\"value\":[{\"providerName\":\"ScepRequestValidationFEService\",\"uri\":\"%s/\"}]}",
		f->server->url);
	f->discovery.body = list;
	f->settings.url = NULL;
	f->settings.discovery_url = f->discovery_url;
	open_intune(f);
	validate_fails(f, "manage.microsoft.com");
	assert_int_equal(f->actions, 0);
	now_say(f, &f->discovery, (struct saying){ .body = "{\"value\":[]}" });
	validate_fails(f, "scep_challenge_provider");
	now_say(f, &f->discovery, (struct saying){ .status = 403 });
	validate_fails(f, "HTTP 403");
}

static void
intune_check_needs_a_token_and_a_connection(void **state)
{
	struct fixture *f = *state;

	open_intune(f);
	assert_int_equal(f->ops->check(f->mdm, &f->e), 0);
	assert_int_equal(f->tokens, 1);
	assert_int_equal(f->actions, 0);
	f->token = (struct saying){ .status = 400, .body = "{\"error\":\"unauthorized_client\"}" };
	open_intune(f);
	assert_int_equal(f->ops->check(f->mdm, &f->e), -1);
	error_is(f, "unauthorized_client");
}

static void
intune_open_checks_its_settings(void **state)
{
	struct fixture *f = *state;
	struct mdm_settings good;

	open_intune(f);
	good = f->settings;
	f->settings.token_url = NULL;
	open_fails(f, "intune", "token_url");
	f->settings = good;
	f->settings.token_url = "http://login.example/";
	open_fails(f, "intune", "https://");
	f->settings = good;
	f->settings.discovery_url = f->discovery_url;
	open_fails(f, "intune", "either");
	f->settings = good;
	f->settings.url = "https://127.0.0.1/?x";
	open_fails(f, "intune", "query");
	f->settings = good;
	f->settings.secret_file = NULL;
	open_fails(f, "intune", "secret_file");
	f->settings = good;
	f->settings.client_id = "";
	open_fails(f, "intune", "client_id");
	f->settings = good;
	f->settings.provider = "a\nb";
	open_fails(f, "intune", "provider");
	f->settings = good;
	assert_int_equal(chmod(f->secret_file, 0660), 0);
	open_fails(f, "intune", "chmod 600");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(intune_asks_with_a_token_and_the_request_as_it_came),
		test(intune_keeps_its_token),
		test(intune_fetches_a_new_token_before_the_old_one_ends),
		test(intune_tries_once_more_when_its_token_is_refused),
		test(intune_fetches_one_token_for_all_that_wait),
		test(intune_tells_why_the_service_refused),
		test(intune_fails_closed),
		test(intune_fails_closed_without_a_token),
		test(intune_tells_what_was_issued),
		test(intune_tells_what_was_refused),
		test(intune_finds_its_service),
		test(intune_sends_no_token_to_a_host_outside_its_domain),
		test(intune_check_needs_a_token_and_a_connection),
		test(intune_open_checks_its_settings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
