#define _GNU_SOURCE
/* The connector to HashiCorp Vault and OpenBao: tokens, what it sends, and what it makes of answers. */
#include "tests/unit/ca_remote_fixture.h"

#include "gateway/ca/vault_token.h"

static struct {
	bool other_key;
	int lease_s, logins, renewals;
	bool renewable, refuse_renewal, refuse_login;
	char good[64];       /* the token that works */
	char role[64], secret[64];
	size_t calls;        /* with a token that works */
	json_t *last;        /* what was asked for */
	char path[1024];
} api;

static void
give_token(struct reply *reply, int number)
{
	(void)snprintf(api.good, sizeof api.good, "token-%d", number);
	reply_json(reply, 200, json_pack("{s:{s:s, s:i, s:b}}", "auth", "client_token", api.good, "lease_duration", api.lease_s,
		"renewable", api.renewable));
}

static void
serve_login(const struct seen *seen, struct reply *reply)
{
	json_t *body = seen_json(seen);

	(void)snprintf(api.role, sizeof api.role, "%s", member(body, strstr(seen->path, "approle") ? "role_id" : "name"));
	(void)snprintf(api.secret, sizeof api.secret, "%s", member(body, "secret_id"));
	json_decref(body);
	api.logins++;
	if (api.refuse_login)
		reply_json(reply, 400, json_pack("{s:[s]}", "errors", "invalid secret id " SECRET));
	else
		give_token(reply, api.logins);
}

static void
service(struct tls_server *server, const struct seen *seen, struct reply *reply)
{
	struct fixture *f = server->arg;
	char token[128], pem[4000];

	if (strstr(seen->path, "/login") != NULL) {
		serve_login(seen, reply);
		return;
	}
	(void)seen_header(seen, "X-Vault-Token", token, sizeof token);
	if (strcmp(token, api.good) != 0) {
		reply_json(reply, 403, json_pack("{s:[s]}", "errors", "permission denied"));
		return;
	}
	if (strcmp(seen->path, "/v1/auth/token/renew-self") == 0) {
		api.renewals++;
		if (api.refuse_renewal)
			reply_json(reply, 403, json_pack("{s:[s]}", "errors", "permission denied"));
		else
			give_token(reply, api.logins);
		return;
	}
	api.calls++;
	json_decref(api.last);
	api.last = seen_json(seen);
	(void)snprintf(api.path, sizeof api.path, "%s", seen->path);
	if (strstr(seen->path, "/revoke") != NULL) {
		reply_json(reply, 200, json_pack("{s:{s:i}}", "data", "revocation_time", 1));
		return;
	}
	service_certify(f, api.other_key ? f->certs.other_key : f->device_key, pem, sizeof pem);
	reply_json(reply, 200, json_pack("{s:{s:s, s:s}}", "data", "certificate", pem, "serial_number", "0a:0b"));
}

static int
vault_setup(void **state)
{
	memset(&api, 0, sizeof api);
	api.lease_s = 3600;
	(void)snprintf(api.good, sizeof api.good, "%s", SECRET);
	return fixture_setup(state);
}

static int
vault_teardown(void **state)
{
	int rc = fixture_teardown(state);

	json_decref(api.last);
	return rc;
}

#define vault_test(name) cmocka_unit_test_setup_teardown(name, vault_setup, vault_teardown)

static void
open_vault(struct fixture *f, const char *auth)
{
	f->settings.profile = "device";
	f->settings.auth = auth;
	f->settings.user = auth == NULL ? NULL : "role-1";
	open_ca(f, "vault", service);
}

/* names ends with NULL */
static void
list_is(const char *key, const char *const *names)
{
	const json_t *list = json_object_get(api.last, key);
	size_t i;

	for (i = 0; names[i] != NULL; i++)
		assert_string_equal(json_string_value(json_array_get(list, i)), names[i]);
	assert_int_equal(json_array_size(list), i);
}

static void
vault_sends_what_was_approved_to_the_role(void **state)
{
	struct fixture *f = *state;

	f->settings.authority = "ns1/pki_int";
	open_vault(f, NULL);
	issue_ok(f);
	assert_string_equal(api.path, "/v1/ns1/pki_int/sign/device");
	assert_string_equal(member(api.last, "common_name"), SUBJECT);
	assert_string_equal(member(api.last, "serial_number"), "SN-1234");
	assert_string_equal(member(api.last, "alt_names"), "rtr-7.example.net,ops@example.net");
	list_is("uri_sans", (const char *const[]){ "urn:dev:sn:1234", NULL });
	list_is("ip_sans", (const char *const[]){ "192.0.2.7", "2001:db8::7", NULL });
	assert_string_equal(member(api.last, "not_after"), "2026-12-20T14:13:20Z");
	assert_true(json_is_true(json_object_get(api.last, "exclude_cn_from_sans")));
	assert_null(json_object_get(api.last, "ttl"));
	assert_non_null(strstr(member(api.last, "csr"), "BEGIN CERTIFICATE REQUEST"));
}

static void
vault_in_trouble_is_told_apart(void **state)
{
	struct fixture *f = *state;

	open_vault(f, NULL);
	hostile_answers(f, "vault", 200, "{\"data\":{\"certificate\":\"none\"}}");
}

static void
vault_refusals_carry_its_words_and_an_operators_part_is_no_refusal(void **state)
{
	static const int ours[] = { 404, 412, 472, 473 };
	struct fixture *f = *state;
	size_t i;

	open_vault(f, NULL);
	now_hostile(f, reply_of(400, "{\"errors\":[\"subject not allowed by this role\"]}"));
	issue_fails(f, ERR_DENIED, "subject not allowed by this role");
	now_hostile(f, reply_of(503, "{\"errors\":[\"Vault is sealed\"]}"));
	issue_fails(f, ERR_UPSTREAM, "Vault is sealed");
	for (i = 0; i < sizeof ours / sizeof ours[0]; i++) {
		now_hostile(f, reply_of(ours[i], "{\"errors\":[]}"));
		issue_fails(f, ERR_UPSTREAM, "HTTP 4");
	}
}

static void
vault_certificates_of_another_key_are_left_alone_and_ours_is_unknown(void **state)
{
	struct fixture *f = *state;

	open_vault(f, NULL);
	api.other_key = true;
	issue_unknown(f, f->serial);
	assert_int_equal(api.calls, 1);
}

static void
vault_reads_a_token_that_an_agent_wrote_anew(void **state)
{
	struct fixture *f = *state;
	char path[128];

	open_vault(f, "token");
	issue_ok(f);
	(void)snprintf(api.good, sizeof api.good, "token-new");
	issue_fails(f, ERR_UPSTREAM, "403");
	(void)file_make(&f->certs.folder, "secret", "token-new\n", 0600, path);
	issue_ok(f);
	assert_int_equal(api.calls, 2);
}

static void
vault_reads_a_credential_anew(void **state)
{
	struct fixture *f = *state;
	char path[128];

	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", f->certs.folder.path, 1), 0);
	f->settings.secret_file = "credential:secret";
	open_vault(f, "token");
	issue_ok(f);
	(void)snprintf(api.good, sizeof api.good, "token-new");
	(void)file_make(&f->certs.folder, "secret", "token-new\n", 0400, path);
	issue_ok(f);
	assert_int_equal(api.calls, 2);
	assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

static void
vault_logs_in_once_and_keeps_the_token(void **state)
{
	struct fixture *f = *state;

	open_vault(f, "approle");
	assert_int_equal(f->server->requests, 0);
	issue_ok(f);
	issue_ok(f);
	assert_int_equal(api.logins, 1);
	assert_string_equal(api.role, "role-1");
	assert_string_equal(api.secret, SECRET);
}

/* A token of a login is in no file, and one that answers in the middle may repeat what it was sent. */
static void
vault_shows_no_token_that_the_service_repeats(void **state)
{
	struct fixture *f = *state;
	struct reply echo = { 0 };

	open_vault(f, "approle");
	issue_ok(f);
	reply_json(&echo, 400, json_pack("{s:[s]}", "errors", "bad header X-Vault-Token: token-1, and token-1"));
	now_hostile(f, echo);
	issue_fails(f, ERR_DENIED, "bad header X-Vault-Token: *******, and *******");
}

static void
vault_logs_in_again_when_the_token_was_revoked_there(void **state)
{
	struct fixture *f = *state;

	open_vault(f, "approle");
	issue_ok(f);
	(void)snprintf(api.good, sizeof api.good, "gone");
	issue_ok(f);
	assert_int_equal(api.logins, 2);
	assert_int_equal(api.calls, 2);
}

/* A token by itself, whose clock a test can turn on. */
struct holder {
	struct remote remote;
	struct vault_token token;
};

static void
holder_open(struct fixture *f, struct holder *h)
{
	*h = (struct holder){ 0 };
	f->service = service;
	f->settings.auth = "approle";
	f->settings.user = "role-1";
	assert_int_equal(remote_open(&h->remote, &f->settings, &f->e), 0);
	assert_int_equal(vault_token_open(&h->token, &h->remote, &f->settings, &f->e), 0);
}

static void
holder_close(struct holder *h)
{
	vault_token_close(&h->token);
	remote_close(&h->remote);
}

static void
token_is(struct fixture *f, struct holder *h, const char *expected)
{
	struct buf out = { 0 };
	uint64_t round;

	if (vault_token_get(&h->token, &out, &round, &f->e) != 0)
		fail_msg("%s", f->e.text);
	assert_string_equal(buf_text(&out), expected);
	buf_free(&out);
}

static void
vault_renews_a_token_before_its_lease_ends(void **state)
{
	struct fixture *f = *state;
	struct holder h;

	api.renewable = true;
	holder_open(f, &h);
	token_is(f, &h, "token-1");
	assert_true(h.token.renew_us < h.token.ends_us);
	h.token.renew_us = 1;
	token_is(f, &h, "token-1");
	assert_int_equal(api.renewals, 1);
	token_is(f, &h, "token-1");
	assert_int_equal(api.renewals, 1);
	assert_int_equal(api.logins, 1);
	holder_close(&h);
}

static void
vault_logs_in_when_a_token_cannot_be_renewed_or_has_ended(void **state)
{
	struct fixture *f = *state;
	struct holder h;

	api.renewable = api.refuse_renewal = true;
	holder_open(f, &h);
	token_is(f, &h, "token-1");
	h.token.renew_us = 1;
	token_is(f, &h, "token-2");
	assert_int_equal(api.renewals, 1);
	h.token.renew_us = h.token.ends_us = 1;
	token_is(f, &h, "token-3");
	assert_int_equal(api.renewals, 1);
	holder_close(&h);
}

static void
vault_keeps_a_token_that_is_still_good_when_no_other_is_to_be_had(void **state)
{
	struct fixture *f = *state;
	struct holder h;
	struct buf out = { 0 };
	uint64_t round;

	holder_open(f, &h);
	token_is(f, &h, "token-1");
	api.refuse_login = true;
	h.token.renew_us = 1;
	token_is(f, &h, "token-1");
	assert_int_equal(api.logins, 2);
	token_is(f, &h, "token-1"); /* the next try is not now */
	assert_int_equal(api.logins, 2);
	h.token.renew_us = h.token.ends_us = 1;
	assert_int_equal(vault_token_get(&h.token, &out, &round, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "login");
	assert_int_equal(out.len, 0);
	holder_close(&h);
}

static void *
get_token(void *arg)
{
	struct holder *h = arg;
	struct buf out = { 0 };
	uint64_t round = 0;
	struct err e;
	void *got = vault_token_get(&h->token, &out, &round, &e) == 0 && round == 1 ? arg : NULL;

	buf_free(&out);
	return got;
}

static void
vault_lets_one_thread_log_in_for_all(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[6];
	struct holder h;
	void *got;
	size_t i;

	holder_open(f, &h);
	for (i = 0; i < sizeof threads / sizeof threads[0]; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, get_token, &h), 0);
	for (i = 0; i < sizeof threads / sizeof threads[0]; i++) {
		assert_int_equal(pthread_join(threads[i], &got), 0);
		assert_ptr_equal(got, &h);
	}
	assert_int_equal(api.logins, 1);
	holder_close(&h);
}

static void
vault_tells_that_it_was_not_let_in_and_no_secret(void **state)
{
	struct fixture *f = *state;

	open_vault(f, "approle");
	api.refuse_login = true;
	issue_fails(f, ERR_UPSTREAM, "/v1/auth/approle/login");
	assert_int_equal(api.calls, 0);
	now_hostile(f, reply_of(200, "{\"auth\":{\"client_token\":\"a\\nb\"}}"));
	issue_fails(f, ERR_UPSTREAM, "no usable token");
	f->always_hostile = true; /* a login may be sent again on a fresh connection */
	now_hostile(f, (struct reply){ .raw = "" });
	issue_fails(f, ERR_UPSTREAM, f->server->url);
}

static void
vault_lets_certificates_log_in(void **state)
{
	struct fixture *f = *state;

	f->settings.secret_file = NULL;
	f->settings.client_cert = f->certs.client_file;
	f->settings.client_key = f->certs.client_key;
	open_vault(f, "cert");
	issue_ok(f);
	assert_string_equal(api.role, "role-1");
	assert_int_equal(api.logins, 1);
}

static void
vault_revokes_by_serial_in_pairs(void **state)
{
	struct fixture *f = *state;

	open_vault(f, NULL);
	assert_int_equal(f->ops->revoke(f->ca, "0a1b2c", bytes_of(NULL, 0), 1, NOW_S, &f->e), 0);
	assert_string_equal(api.path, "/v1/pki/revoke");
	assert_string_equal(member(api.last, "serial_number"), "0a:1b:2c");
	assert_int_equal(f->ops->revoke(f->ca, "a1b", bytes_of(NULL, 0), 1, NOW_S, &f->e), 0);
	assert_string_equal(member(api.last, "serial_number"), "0a:1b");
	assert_int_equal(f->ops->revoke(f->ca, "0a", bytes_of(NULL, 0), 6, NOW_S, &f->e), -1);
	error_is(f, ERR_UNSUPPORTED, "hold");
	assert_int_equal(f->ops->revoke(f->ca, "0a/../x", bytes_of(NULL, 0), 0, NOW_S, &f->e), -1);
	now_hostile(f, reply_of(400, "{\"errors\":[\"certificate with serial 0a not found\"]}"));
	assert_int_equal(f->ops->revoke(f->ca, "0a", bytes_of(NULL, 0), 0, NOW_S, &f->e), -1);
	error_is(f, ERR_DENIED, "not found");
	assert_int_equal(f->ops->revoke(f->ca, "-7f01", bytes_of(NULL, 0), 1, NOW_S, &f->e), -1);
	error_is(f, ERR_DENIED, "no negative serial numbers");
	assert_int_equal(f->ops->revoke(f->ca, "-7f01", bytes_of_text("cert"), 1, NOW_S, &f->e), 0);
	assert_string_equal(member(api.last, "serial_number"), "(none)");
	assert_string_not_equal(member(api.last, "certificate"), "(none)");
}

static void
vault_health_follows_its_status(void **state)
{
	static const struct {
		int status;
		const char *word; /* NULL: well */
	} rows[] = { { 200, NULL }, { 429, NULL }, { 473, NULL }, { 472, "secondary" }, { 501, "not initialized" },
		{ 503, "sealed" }, { 500, "HTTP 500" } };
	struct fixture *f = *state;
	size_t i;

	open_vault(f, NULL);
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		now_hostile(f, reply_of(rows[i].status, "{}"));
		if (rows[i].word == NULL)
			assert_int_equal(f->ops->check(f->ca, &f->e), 0);
		else {
			assert_int_equal(f->ops->check(f->ca, &f->e), -1);
			error_is(f, ERR_UPSTREAM, rows[i].word);
		}
	}
	assert_string_equal(f->server->last.path, "/v1/sys/health");
}

static void
vault_settings_say_what_to_set(void **state)
{
	struct fixture *f = *state;

	open_fails(f, "vault", "profile (the role) is missing");
	f->settings.profile = "../sys";
	open_fails(f, "vault", "a role's name");
	f->settings.profile = "device";
	f->settings.authority = "/pki";
	open_fails(f, "vault", "mount");
	f->settings.authority = "a/../sys";
	open_fails(f, "vault", "mount");
	f->settings.authority = NULL;
	f->settings.auth = "ldap";
	open_fails(f, "vault", "token, approle or cert");
	f->settings.auth = "approle";
	open_fails(f, "vault", "role_id");
	f->settings.auth = "cert";
	open_fails(f, "vault", "client_cert");
	f->settings.auth = "approle";
	f->settings.secret_file = NULL;
	open_fails(f, "vault", "secret_id");
	f->settings.auth = NULL;
	open_fails(f, "vault", "it holds the token");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		vault_test(vault_sends_what_was_approved_to_the_role),
		vault_test(vault_in_trouble_is_told_apart),
		vault_test(vault_refusals_carry_its_words_and_an_operators_part_is_no_refusal),
		vault_test(vault_certificates_of_another_key_are_left_alone_and_ours_is_unknown),
		vault_test(vault_reads_a_token_that_an_agent_wrote_anew),
		vault_test(vault_reads_a_credential_anew),
		vault_test(vault_logs_in_once_and_keeps_the_token),
		vault_test(vault_shows_no_token_that_the_service_repeats),
		vault_test(vault_logs_in_again_when_the_token_was_revoked_there),
		vault_test(vault_renews_a_token_before_its_lease_ends),
		vault_test(vault_logs_in_when_a_token_cannot_be_renewed_or_has_ended),
		vault_test(vault_keeps_a_token_that_is_still_good_when_no_other_is_to_be_had),
		vault_test(vault_lets_one_thread_log_in_for_all),
		vault_test(vault_tells_that_it_was_not_let_in_and_no_secret),
		vault_test(vault_lets_certificates_log_in),
		vault_test(vault_revokes_by_serial_in_pairs),
		vault_test(vault_health_follows_its_status),
		vault_test(vault_settings_say_what_to_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
