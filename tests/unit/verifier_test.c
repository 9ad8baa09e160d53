/* gateway/verifier against a server that speaks the challenge-response API over TLS. */
#define _GNU_SOURCE
#include "tests/unit/tls_server.h"

#include "gateway/verifier/verifier.h"
#include "tests/unit/ear_make.h"

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define SESSION    "7f3c2a1e-5b0d-11f0-9a44-000000000001"

struct fixture {
	struct certs certs;
	struct tls_server *server;
	EVP_PKEY *key;
	struct verifier_settings settings;
	struct verifier *verifier;
	struct verifier_evidence evidence;
	struct attestation got;
	struct err e;
	char url[128];
	/* what the verifier does; guarded by the server's lock */
	int begin_status, submit_status, polls; /* polls: so many times "processing" first */
	const char *location, *ear_status, *type, *state, *accept;
	bool hang, other_key;
	/* what it saw */
	char path[1024], body[256], content_type[256], bearer[256];
	int deleted;
};

static const struct bytes nonce = { (const uint8_t *)"0123456789abcdef", 16 };
static const struct bytes spki = { (const uint8_t *)"the request's key", 17 };

static void
put_session(struct fixture *f, struct reply *reply, const char *state)
{
	struct buf token = { 0 };
	char payload[1024];

	ear_payload(nonce, f->other_key ? bytes_of_text("another") : spki, EAR_NOW, f->ear_status, payload, sizeof payload);
	ear_token(f->key, "ES256", "{\"alg\":\"ES256\"}", payload, &token);
	(void)snprintf(reply->body, sizeof reply->body, "{\"status\":\"%s\",\"nonce\":\"AA==\"%s%s%s}", state,
		strcmp(state, "complete") == 0 ? ",\"result\":\"" : "", strcmp(state, "complete") == 0 ? buf_text(&token) : "",
		strcmp(state, "complete") == 0 ? "\"" : "");
	buf_free(&token);
}

static void
answer(struct tls_server *server, const struct seen *seen, struct reply *reply)
{
	struct fixture *f = server->arg;
	char value[256];

	reply->hang = f->hang;
	if (strncmp(seen->path, "/v1/newSession?", 15) == 0) {
		(void)snprintf(f->path, sizeof f->path, "%s", seen->path);
		(void)snprintf(f->bearer, sizeof f->bearer, "%s", seen_header(seen, "Authorization", value, sizeof value));
		reply->status = f->begin_status;
		(void)snprintf(reply->headers, sizeof reply->headers, "Location: %s\r\n", f->location);
		put_session(f, reply, "waiting");
		return;
	}
	if (strcmp(seen->path, "/v1/session/" SESSION) != 0) {
		reply->status = 404;
		return;
	}
	if (strcmp(seen->method, "DELETE") == 0) {
		f->deleted++;
		reply->status = 204;
		return;
	}
	if (strcmp(seen->method, "POST") == 0) {
		(void)snprintf(f->body, sizeof f->body, "%.200s", seen->body);
		(void)snprintf(f->content_type, sizeof f->content_type, "%s",
			seen_header(seen, "Content-Type", value, sizeof value));
		reply->status = f->polls > 0 ? 202 : f->submit_status;
	}
	put_session(f, reply, f->polls-- > 0 ? "processing" : f->state);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	certs_make(&f->certs);
	f->key = EVP_EC_gen("P-256");
	f->begin_status = 201;
	f->submit_status = 200;
	f->location = "session/" SESSION;
	f->ear_status = "2";
	f->state = "complete";
	f->server = server_start(certs_context(&f->certs, f->certs.server), answer, f);
	(void)snprintf(f->url, sizeof f->url, "%s/v1", f->server->url);
	f->settings = (struct verifier_settings){ .url = f->url, .ca = f->certs.ca_file, .deadline_s = 20,
		.ear = { .name = "lab", .keys = { f->key }, .key_count = 1, .worst = EAR_AFFIRMING } };
	f->evidence = (struct verifier_evidence){ .octets = bytes_of_text("evidence"),
		.media_type = "application/psa-attestation-token", .nonce = nonce, .spki = spki };
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	verifier_close(f->verifier);
	server_stop(f->server);
	certs_free(&f->certs);
	EVP_PKEY_free(f->key);
	free(f);
	return 0;
}

static void
open_verifier(struct fixture *f)
{
	if (verifier_open(&f->settings, &f->verifier, &f->e) != 0)
		fail_msg("%s", f->e.text);
}

static void
ask_ok(struct fixture *f)
{
	open_verifier(f);
	if (verifier_ask(f->verifier, &f->evidence, EAR_NOW, &f->got, &f->e) != 0)
		fail_msg("%s", f->e.text);
}

static void
ask_fails(struct fixture *f, const char *why)
{
	open_verifier(f);
	assert_int_equal(verifier_ask(f->verifier, &f->evidence, EAR_NOW, &f->got, &f->e), -1);
	assert_int_equal(f->e.code, ERR_UPSTREAM);
	if (strstr(f->e.text, why) == NULL)
		fail_msg("%s", f->e.text);
}

static void
verifier_gives_its_nonce_and_the_evidence_and_takes_the_result(void **state)
{
	struct fixture *f = *state;
	uint8_t session[EAR_SESSION_NONCE_LEN];
	struct buf wanted = { 0 };

	ask_ok(f);
	assert_true(f->got.valid && f->got.fresh && f->got.key_bound);
	assert_int_equal(ear_session_nonce(nonce, spki, session, &f->e), 0);
	buf_append_text(&wanted, "/v1/newSession?nonce=");
	base64url_encode(&wanted, bytes_of(session, sizeof session));
	assert_string_equal(f->path, buf_text(&wanted));
	assert_string_equal(f->body, "evidence");
	assert_string_equal(f->content_type, "application/psa-attestation-token");
	assert_string_equal(f->bearer, "");
	assert_int_equal(f->deleted, 1);
	buf_free(&wanted);
}

static void
verifier_asks_again_while_the_result_is_being_made(void **state)
{
	struct fixture *f = *state;

	f->polls = 3;
	ask_ok(f);
	assert_true(f->got.valid);
}

static void
verifier_tells_a_bad_result_as_a_failed_check_and_not_as_an_error(void **state)
{
	struct fixture *f = *state;

	f->ear_status = "96";
	ask_ok(f);
	assert_false(f->got.valid);
	assert_false(check_of(&f->got, "ear.status")->passed);
}

static void
verifier_result_for_another_key_does_not_count(void **state)
{
	struct fixture *f = *state;

	f->other_key = true;
	ask_ok(f);
	assert_false(f->got.valid || f->got.key_bound);
}

/* Whoever answers may not send us elsewhere: only the session's name is taken from Location. */
static void
verifier_takes_no_more_than_a_name_from_location(void **state)
{
	struct fixture *f = *state;

	f->location = "https://elsewhere.example/v1/session/" SESSION;
	ask_ok(f);
	assert_true(f->got.valid);
}

static void
verifier_refuses_a_location_that_names_no_session(void **state)
{
	static const char *const bad[] = { "session/", "session/..", "session/a%2fb", "session/a?b", "/" };
	struct fixture *f = *state;
	size_t i;

	open_verifier(f);
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		f->location = bad[i];
		assert_int_equal(verifier_ask(f->verifier, &f->evidence, EAR_NOW, &f->got, &f->e), -1);
		assert_int_equal(f->e.code, ERR_UPSTREAM);
		assert_non_null(strstr(f->e.text, "Location"));
	}
}

static void
verifier_says_what_to_check_when_the_service_refuses(void **state)
{
	struct fixture *f = *state;

	f->begin_status = 401;
	ask_fails(f, "secret_file");
	verifier_close(f->verifier);
	f->begin_status = 201;
	f->submit_status = 415;
	ask_fails(f, "media_type");
	verifier_close(f->verifier);
	f->submit_status = 302;
	ask_fails(f, "HTTP 302");
}

static void
verifier_fails_closed_when_the_session_fails(void **state)
{
	struct fixture *f = *state;

	f->state = "failed";
	ask_fails(f, "without a result");
}

static void
verifier_that_says_nothing_costs_no_more_than_the_deadline(void **state)
{
	struct fixture *f = *state;

	f->hang = true;
	f->settings.deadline_s = 1;
	ask_fails(f, " ms");
}

static void
verifier_that_never_finishes_costs_no_more_than_the_deadline(void **state)
{
	struct fixture *f = *state;

	f->polls = 1000;
	f->settings.deadline_s = 1;
	ask_fails(f, " ms");
}

static void
verifier_open_refuses_settings_that_would_trust_anybody(void **state)
{
	struct fixture *f = *state;

	f->settings.ear.key_count = 0;
	assert_int_equal(verifier_open(&f->settings, &f->verifier, &f->e), -1);
	assert_int_equal(f->e.code, ERR_MALFORMED);
	f->settings.ear.key_count = 1;
	f->settings.ca = NULL;
	assert_int_equal(verifier_open(&f->settings, &f->verifier, &f->e), -1);
	f->settings.ca = f->certs.ca_file;
	f->settings.deadline_s = 61;
	assert_int_equal(verifier_open(&f->settings, &f->verifier, &f->e), -1);
	f->settings.deadline_s = 60;
	f->settings.url = "http://192.0.2.1/v1";
	assert_int_equal(verifier_open(&f->settings, &f->verifier, &f->e), -1);
}

static void
verifier_sends_its_token_when_it_has_one(void **state)
{
	struct fixture *f = *state;
	char path[160];
	FILE *file;

	(void)snprintf(path, sizeof path, "%s.token", f->certs.ca_file);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs("s3cret\n", file) >= 0 && fclose(file) == 0);
	assert_int_equal(chmod(path, 0600), 0);
	f->settings.secret_file = path;
	ask_ok(f);
	assert_string_equal(f->bearer, "Bearer s3cret");
	assert_int_equal(unlink(path), 0);
}

static int
init(void **state)
{
	struct err e;

	(void)state;
	return ossl_init(&e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(verifier_gives_its_nonce_and_the_evidence_and_takes_the_result),
		test(verifier_asks_again_while_the_result_is_being_made),
		test(verifier_tells_a_bad_result_as_a_failed_check_and_not_as_an_error),
		test(verifier_result_for_another_key_does_not_count),
		test(verifier_takes_no_more_than_a_name_from_location),
		test(verifier_refuses_a_location_that_names_no_session),
		test(verifier_says_what_to_check_when_the_service_refuses),
		test(verifier_fails_closed_when_the_session_fails),
		test(verifier_that_says_nothing_costs_no_more_than_the_deadline),
		test(verifier_that_never_finishes_costs_no_more_than_the_deadline),
		test(verifier_open_refuses_settings_that_would_trust_anybody),
		test(verifier_sends_its_token_when_it_has_one),
	};

	return cmocka_run_group_tests(tests, init, NULL);
}
