#define _GNU_SOURCE
/* The connector to step-ca: one-time tokens, what it sends, and what it makes of answers. */
#include "tests/unit/ca_remote_fixture.h"

#include <openssl/ecdsa.h>

#define USED_MAX 8

static struct {
	EVP_PKEY *key;
	bool other_key;
	char used[USED_MAX][80]; /* jti */
	size_t used_count;
	char header[512], claims[2000];
	json_t *last;
	char path[1024];
	bool lose;        /* a request with a fresh token never arrives */
	int burnt_status; /* 0: certify; else use the token up and answer this */
} api;

/* RFC 7515, section 5.2, by hand. */
static void
verify_token(const char *token)
{
	const char *dot = strchr(token, '.'), *end = strrchr(token, '.');
	struct buf header = { 0 }, claims = { 0 }, raw = { 0 };
	ECDSA_SIG *parts = ECDSA_SIG_new();
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t *der = NULL;
	struct err e;
	int len;

	assert_true(dot != NULL && end > dot && parts != NULL && ctx != NULL);
	assert_int_equal(base64url_decode(bytes_of(token, (size_t)(dot - token)), &header, &e), 0);
	assert_int_equal(base64url_decode(bytes_of(dot + 1, (size_t)(end - dot - 1)), &claims, &e), 0);
	assert_int_equal(base64url_decode(bytes_of_text(end + 1), &raw, &e), 0);
	assert_int_equal(raw.len, 64);
	assert_int_equal(ECDSA_SIG_set0(parts, BN_bin2bn(raw.at, 32, NULL), BN_bin2bn(raw.at + 32, 32, NULL)), 1);
	len = i2d_ECDSA_SIG(parts, &der);
	assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, api.key), 1);
	assert_int_equal(EVP_DigestVerify(ctx, der, (size_t)len, (const uint8_t *)token, (size_t)(end - token)), 1);
	(void)snprintf(api.header, sizeof api.header, "%s", buf_text(&header));
	(void)snprintf(api.claims, sizeof api.claims, "%s", buf_text(&claims));
	OPENSSL_free(der);
	ECDSA_SIG_free(parts);
	EVP_MD_CTX_free(ctx);
	buf_free(&header);
	buf_free(&claims);
	buf_free(&raw);
}

/* false: the token was used before. */
static bool
use_token(bool note)
{
	json_t *claims = json_loads(api.claims, 0, NULL);
	char id[80];
	size_t i;

	assert_non_null(claims);
	(void)snprintf(id, sizeof id, "%s", member(claims, "jti"));
	json_decref(claims);
	for (i = 0; i < api.used_count; i++)
		if (strcmp(api.used[i], id) == 0)
			return false;
	assert_true(api.used_count < USED_MAX);
	if (note)
		(void)snprintf(api.used[api.used_count++], sizeof api.used[0], "%s", id);
	return true;
}

static void
service(struct tls_server *server, const struct seen *seen, struct reply *reply)
{
	struct fixture *f = server->arg;
	char pem[4000];

	(void)snprintf(api.path, sizeof api.path, "%s", seen->path);
	if (strcmp(seen->path, "/health") == 0) {
		reply_json(reply, 200, json_pack("{s:s}", "status", "ok"));
		return;
	}
	json_decref(api.last);
	api.last = seen_json(seen);
	verify_token(member(api.last, "ott"));
	if (!use_token(!api.lose)) {
		reply_json(reply, 401, json_pack("{s:i, s:s}", "status", 401, "message", "The request lacked authorization."));
		return;
	}
	if (api.lose) {
		reply->raw = "";
		return;
	}
	if (api.burnt_status != 0) {
		reply_json(reply, api.burnt_status, json_pack("{s:s}", "message", "not this time"));
		return;
	}
	if (strcmp(seen->path, "/1.0/revoke") == 0) {
		reply_json(reply, 200, json_pack("{s:s}", "status", "ok"));
		return;
	}
	assert_string_equal(seen->path, "/1.0/sign");
	service_certify(f, api.other_key ? f->certs.other_key : f->device_key, pem, sizeof pem);
	reply_json(reply, 201, json_pack("{s:s, s:s}", "crt", pem, "ca", "x"));
}

static int
stepca_setup(void **state)
{
	struct fixture *f;
	static char path[128];

	memset(&api, 0, sizeof api);
	if (fixture_setup(state) != 0)
		return -1;
	f = *state;
	api.key = fixture_key();
	pem_write(&f->certs, "provisioner.key", NULL, api.key, path);
	f->settings.secret_file = NULL;
	f->settings.key_file = path;
	f->settings.profile = "gate@example.net";
	return 0;
}

static int
stepca_teardown(void **state)
{
	int rc = fixture_teardown(state);

	json_decref(api.last);
	EVP_PKEY_free(api.key);
	return rc;
}

#define stepca_test(name) cmocka_unit_test_setup_teardown(name, stepca_setup, stepca_teardown)

static void
open_stepca(struct fixture *f)
{
	open_ca(f, "stepca", service);
}

static void
stepca_tokens_allow_one_request_its_names_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	struct buf fingerprint = { 0 };
	char audience[128];
	uint8_t digest[32];
	json_t *claims, *header;

	f->settings.user = "key-1";
	open_stepca(f);
	issue_ok(f);
	claims = json_loads(api.claims, 0, NULL);
	header = json_loads(api.header, 0, NULL);
	assert_true(claims != NULL && header != NULL);
	assert_string_equal(member(header, "alg"), "ES256");
	assert_string_equal(member(header, "kid"), "key-1");
	(void)snprintf(audience, sizeof audience, "%s/1.0/sign", f->server->url);
	assert_string_equal(member(claims, "aud"), audience);
	assert_string_equal(member(claims, "iss"), "gate@example.net");
	assert_string_equal(member(claims, "sub"), SUBJECT);
	assert_string_equal(member(json_object_get(claims, "subject"), "serialNumber"), "SN-1234");
	assert_int_equal(json_array_size(json_object_get(claims, "sans")), 5);
	assert_int_equal(json_integer_value(json_object_get(claims, "exp")), NOW_S + 300);
	assert_int_equal(sha256(f->request.csr, digest, &f->e), 0);
	base64url_encode(&fingerprint, bytes_of(digest, sizeof digest));
	assert_string_equal(member(json_object_get(claims, "cnf"), "x5rt#S256"), buf_text(&fingerprint));
	assert_string_equal(member(api.last, "notBefore"), "2026-09-21T14:08:20Z");
	assert_string_equal(member(api.last, "notAfter"), "2026-12-20T14:13:20Z");
	buf_free(&fingerprint);
	json_decref(claims);
	json_decref(header);
}

static void
stepca_names_a_key_by_its_thumbprint(void **state)
{
	struct fixture *f = *state;
	char first[512];

	open_stepca(f);
	issue_ok(f);
	(void)snprintf(first, sizeof first, "%s", api.header);
	assert_non_null(strstr(first, "\"kid\":\""));
	assert_int_equal(strcspn(strstr(first, "\"kid\":\"") + 7, "\""), 43);
	f->request.request_id = "gw-18-0";
	issue_ok(f);
	assert_string_equal(api.header, first);
}

static void
stepca_in_trouble_is_told_apart(void **state)
{
	struct fixture *f = *state;

	open_stepca(f);
	hostile_answers(f, "stepca", 201, "{\"crt\":\"none\"}");
}

static void
stepca_certificates_of_another_key_are_left_alone_and_ours_is_unknown(void **state)
{
	struct fixture *f = *state;

	open_stepca(f);
	api.other_key = true;
	issue_unknown(f, f->serial);
	assert_int_equal(f->server->requests, 1);
}

static void
stepca_refusals_carry_its_words(void **state)
{
	struct fixture *f = *state;

	open_stepca(f);
	now_hostile(f, reply_of(403, "{\"status\":403,\"message\":\"requested duration is more than authorized\"}"));
	issue_fails(f, ERR_DENIED, "requested duration");
	f->always_hostile = true;
	now_hostile(f, reply_of(401, "{\"status\":401,\"message\":\"lacked authorization\"}"));
	issue_fails(f, ERR_UPSTREAM, "credentials");
	assert_int_equal(f->server->requests, 3);
	f->always_hostile = false;
	now_hostile(f, (struct reply){ 0 });
}

/* It used the token up and issued nothing; the request comes again, and is no duplicate. */
static void
stepca_issues_with_another_token_after_one_that_was_used_in_vain(void **state)
{
	struct fixture *f = *state;

	open_stepca(f);
	api.burnt_status = 503;
	issue_fails(f, ERR_UPSTREAM, "503");
	api.burnt_status = 0;
	issue_ok(f);
	assert_int_equal(f->server->requests, 3);
	assert_int_equal(api.used_count, 2);
	assert_string_not_equal(api.used[0], api.used[1]);
}

static void
reconcile_fails(struct fixture *f, const char *reference, const char *word)
{
	struct ca_answer answer = { .state = CA_WAITING };

	assert_int_equal(f->ops->reconcile(f->ca, &f->request, reference, &answer, &f->e), -1);
	assert_int_equal(answer.state, CA_WAITING);
	error_is(f, ERR_UPSTREAM, word);
}

static void
stepca_reconciles_a_request_that_never_arrived_by_issuing_it_then(void **state)
{
	struct fixture *f = *state;

	open_stepca(f);
	now_hostile(f, (struct reply){ .raw = "" });
	issue_unknown(f, f->server->url);
	assert_string_equal(f->answer.reference, "0");
	if (f->ops->reconcile(f->ca, &f->request, f->answer.reference, &f->answer, &f->e) != 0)
		fail_msg("%s", f->e.text);
	answer_is_issued(f);
	reconcile_fails(f, "", "the request's token was used");
	assert_int_equal(f->made, 1);
}

/* Certified, and the answer was lost: nothing that is sent again can certify it a second time. */
static void
stepca_never_issues_twice_for_one_request(void **state)
{
	struct fixture *f = *state;

	open_stepca(f);
	issue_ok(f);
	f->request.now_s += 100; /* another token, with the same name */
	reconcile_fails(f, NULL, "look for the subject there");
	assert_int_equal(f->made, 1);
}

static void
stepca_reconciles_by_the_token_that_was_sent_last(void **state)
{
	struct fixture *f = *state;
	struct ca_answer unknown;

	open_stepca(f);
	api.burnt_status = 503;
	issue_fails(f, ERR_UPSTREAM, "503");
	api.burnt_status = 500;
	issue_unknown(f, "500");
	assert_int_equal(strlen(f->answer.reference), 32);
	unknown = f->answer;
	api.burnt_status = 0;
	reconcile_fails(f, unknown.reference, "the request's token was used");
	assert_int_equal(f->made, 0);
}

static void
stepca_issues_by_reconciling_with_the_second_token_when_that_one_never_arrived(void **state)
{
	struct fixture *f = *state;
	char reference[CA_REFERENCE_MAX];

	open_stepca(f);
	api.burnt_status = 503;
	issue_fails(f, ERR_UPSTREAM, "503");
	api.burnt_status = 0;
	api.lose = true;
	issue_unknown(f, f->server->url);
	memcpy(reference, f->answer.reference, sizeof reference);
	api.lose = false;
	if (f->ops->reconcile(f->ca, &f->request, reference, &f->answer, &f->e) != 0)
		fail_msg("%s", f->e.text);
	answer_is_issued(f);
	assert_int_equal(f->made, 1);
}

static void
stepca_knows_a_request_that_it_refuses_when_asked_again_to_be_absent(void **state)
{
	struct fixture *f = *state;

	open_stepca(f);
	api.burnt_status = 403;
	assert_int_equal(f->ops->reconcile(f->ca, &f->request, "", &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_ABSENT);
	f->request.request_id = "gw-19-0";
	now_hostile(f, reply_of(404, "<html>no such page</html>")); /* a proxy's own word */
	reconcile_fails(f, "", "404");
	now_hostile(f, reply_of(503, "{}"));
	reconcile_fails(f, "", "503");
	now_hostile(f, reply_of(500, "{}"));
	reconcile_fails(f, "", "500");
	now_hostile(f, (struct reply){ .raw = "" });
	reconcile_fails(f, "", f->server->url);
	now_hostile(f, reply_of(201, "{}"));
	reconcile_fails(f, "", "no certificate that can be read");
	f->request.request_id = "gw-20-0";
	api.burnt_status = 0;
	api.other_key = true;
	reconcile_fails(f, "", "another key");
}

static void
stepca_token_names_cannot_be_guessed(void **state)
{
	struct fixture *f = *state;
	char path[128], first[80];
	EVP_PKEY *other = fixture_key();

	open_stepca(f);
	issue_ok(f);
	memcpy(first, api.used[0], sizeof first);
	EVP_PKEY_free(api.key);
	api.key = other;
	pem_write(&f->certs, "other.key", NULL, other, path);
	f->settings.key_file = path;
	open_stepca(f);
	issue_ok(f);
	assert_int_equal(f->server->requests, 2); /* with the first key's name there would be a third */
	assert_int_equal(strlen(first), 64);
	assert_string_not_equal(first, api.used[1]);
}

static void
stepca_revokes_by_decimal_serial(void **state)
{
	struct fixture *f = *state;
	json_t *claims;

	open_stepca(f);
	assert_int_equal(f->ops->revoke(f->ca, "ff10", bytes_of(NULL, 0), 4, NOW_S, &f->e), 0);
	assert_string_equal(api.path, "/1.0/revoke");
	assert_string_equal(member(api.last, "serial"), "65296");
	assert_int_equal(json_integer_value(json_object_get(api.last, "reasonCode")), 4);
	assert_true(json_is_true(json_object_get(api.last, "passive")));
	claims = json_loads(api.claims, 0, NULL);
	assert_string_equal(member(claims, "sub"), "65296");
	assert_non_null(strstr(member(claims, "aud"), "/1.0/revoke"));
	assert_int_equal(json_integer_value(json_object_get(claims, "iat")), NOW_S);
	json_decref(claims);
	now_hostile(f, reply_of(400, "{\"message\":\"certificate with serial number '65296' is already revoked\"}"));
	assert_int_equal(f->ops->revoke(f->ca, "ff10", bytes_of(NULL, 0), 4, NOW_S, &f->e), 0);
	now_hostile(f, reply_of(501, "{\"message\":\"no persistence layer configured\"}"));
	assert_int_equal(f->ops->revoke(f->ca, "ff10", bytes_of(NULL, 0), 4, NOW_S, &f->e), -1);
	error_is(f, ERR_UNSUPPORTED, "database");
	now_hostile(f, reply_of(500, "{}"));
	assert_int_equal(f->ops->revoke(f->ca, "ff10", bytes_of(NULL, 0), 4, NOW_S, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "500");
	assert_int_equal(f->ops->revoke(f->ca, "ff10", bytes_of(NULL, 0), 6, NOW_S, &f->e), -1);
	error_is(f, ERR_UNSUPPORTED, "hold");
}

static void
stepca_is_well_when_it_says_so(void **state)
{
	struct fixture *f = *state;

	open_stepca(f);
	assert_int_equal(f->ops->check(f->ca, &f->e), 0);
	now_hostile(f, reply_of(200, "{\"status\":\"starting\"}"));
	assert_int_equal(f->ops->check(f->ca, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "well");
	now_hostile(f, reply_of(500, "{\"status\":\"ok\"}"));
	assert_int_equal(f->ops->check(f->ca, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "500");
}

static void
stepca_settings_say_what_to_set(void **state)
{
	struct fixture *f = *state;
	EVP_PKEY *rsa = EVP_RSA_gen(2048);
	char path[128];

	assert_non_null(rsa);
	pem_write(&f->certs, "rsa.key", NULL, rsa, path);
	EVP_PKEY_free(rsa);
	f->settings.key_file = path;
	open_fails(f, "stepca", "EC P-256");
	f->settings.key_file = NULL;
	open_fails(f, "stepca", "key_file (the provisioner's private key) is missing");
	f->settings.key_file = "/nonexistent/key";
	open_fails(f, "stepca", "/nonexistent/key");
	f->settings.profile = "";
	open_fails(f, "stepca", "profile (the provisioner's name) is missing");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		stepca_test(stepca_tokens_allow_one_request_its_names_and_nothing_else),
		stepca_test(stepca_names_a_key_by_its_thumbprint),
		stepca_test(stepca_in_trouble_is_told_apart),
		stepca_test(stepca_certificates_of_another_key_are_left_alone_and_ours_is_unknown),
		stepca_test(stepca_refusals_carry_its_words),
		stepca_test(stepca_issues_with_another_token_after_one_that_was_used_in_vain),
		stepca_test(stepca_reconciles_a_request_that_never_arrived_by_issuing_it_then),
		stepca_test(stepca_never_issues_twice_for_one_request),
		stepca_test(stepca_reconciles_by_the_token_that_was_sent_last),
		stepca_test(stepca_issues_by_reconciling_with_the_second_token_when_that_one_never_arrived),
		stepca_test(stepca_knows_a_request_that_it_refuses_when_asked_again_to_be_absent),
		stepca_test(stepca_token_names_cannot_be_guessed),
		stepca_test(stepca_revokes_by_decimal_serial),
		stepca_test(stepca_is_well_when_it_says_so),
		stepca_test(stepca_settings_say_what_to_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
