#define _GNU_SOURCE
/* The connector to Vault: what a real one (make test-peers) answers where its documentation says little. */
#include "tests/unit/ca_remote_fixture.h"

#include <openssl/ui.h>

#define ROLE_PATH "/v1/pki/sign/device"

static struct {
	json_t *last;
	size_t revocations;
	bool unstored; /* it knows no serial number */
	bool anothers; /* nor who issued the certificate */
} api;

static void
serve_revoke(json_t *body, struct reply *reply)
{
	api.revocations++;
	if (api.unstored && json_object_get(body, "certificate") == NULL)
		reply_json(reply, 400, json_pack("{s:[s]}", "errors", "certificate with serial 0a:1b not found."));
	else if (api.anothers)
		reply_json(reply, 500, json_pack("{s:[s]}", "errors", "unable to verify signature on presented cert"));
	else
		reply_json(reply, 200, json_pack("{s:{s:i, s:s}}", "data", "revocation_time", 1, "state", "revoked"));
}

static void
service(struct tls_server *server, const struct seen *seen, struct reply *reply)
{
	struct fixture *f = server->arg;
	char pem[4000];

	json_decref(api.last);
	api.last = seen_json(seen);
	if (strstr(seen->path, "/revoke") != NULL) {
		serve_revoke(api.last, reply);
		return;
	}
	service_certify(f, f->device_key, pem, sizeof pem);
	reply_json(reply, 200, json_pack("{s:{s:s}}", "data", "certificate", pem));
}

static int
setup(void **state)
{
	struct fixture *f;
	int rc = fixture_setup(state);

	memset(&api, 0, sizeof api);
	f = *state;
	f->settings.profile = "device";
	open_ca(f, "vault", service);
	return rc;
}

static int
teardown(void **state)
{
	int rc = fixture_teardown(state);

	json_decref(api.last);
	return rc;
}

#define vault_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void
vault_takes_a_uri_with_a_comma_for_one_name(void **state)
{
	static const char uri[] = "urn:dev:ops:32473-a,b";
	struct fixture *f = *state;
	struct cert_spec *spec = &f->spec;
	const json_t *uris;

	assert_true(spec->san_count < SPEC_SANS_MAX);
	spec->sans[spec->san_count].type = SPEC_SAN_URI;
	(void)snprintf(spec->sans[spec->san_count++].value, sizeof spec->sans[0].value, "%s", uri);
	issue_ok(f);
	uris = json_object_get(api.last, "uri_sans");
	assert_int_equal(json_array_size(uris), 2);
	assert_string_equal(json_string_value(json_array_get(uris, 1)), uri);
}

static void
vault_without_such_a_role_is_an_operators_matter(void **state)
{
	struct fixture *f = *state;

	now_hostile(f, reply_of(400, "{\"errors\":[\"unknown role: device\"]}"));
	issue_fails(f, ERR_UPSTREAM, "unknown role");
	now_hostile(f, reply_of(400, "{\"errors\":[\"common name unknown role: not allowed by this role\"]}"));
	issue_fails(f, ERR_DENIED, "not allowed");
}

static void
vault_that_says_what_it_lacks_before_it_signs_has_issued_nothing(void **state)
{
	struct fixture *f = *state;

	now_hostile(f, reply_of(500, "{\"errors\":[\"local node not active but active cluster node not found\"]}"));
	issue_fails(f, ERR_UPSTREAM, "active cluster node not found");
	now_hostile(f, reply_of(500, "{\"errors\":[\"1 error occurred:\\n\\t* could not fetch the CA certificate "
		"(was one set?): no default issuer currently configured\\n\\n\"]}"));
	issue_fails(f, ERR_UPSTREAM, "could not fetch the CA certificate");
	now_hostile(f, reply_of(500, "{\"errors\":[\"internal error\"]}"));
	issue_unknown(f, "internal error");
}

/* A standby node that passed the request on and lost the active node answers like one that never did. */
static void
vault_standby_that_may_have_passed_it_on_leaves_it_unknown(void **state)
{
	struct fixture *f = *state;

	f->hostile = reply_of(307, "");
	(void)snprintf(f->hostile.headers, sizeof f->hostile.headers, "Location: https://node-2.example:8200" ROLE_PATH "\r\n");
	issue_unknown(f, "https://node-2.example:8200" ROLE_PATH);
	now_hostile(f, reply_of(307, ""));
	issue_unknown(f, "307");
	now_hostile(f, reply_of(503, "{\"errors\":[\"no active Vault instance found\"]}"));
	issue_unknown(f, "it names none");
	now_hostile(f, reply_of(503, "{\"errors\":[\"Vault is sealed\"]}"));
	issue_fails(f, ERR_UPSTREAM, "Vault is sealed");
}

static void
vault_revokes_what_it_has_not_stored_by_the_certificate(void **state)
{
	static const uint8_t der[] = { 0x30, 0x03, 0x02, 0x01, 0x05 };
	struct fixture *f = *state;

	api.unstored = true;
	assert_int_equal(f->ops->revoke(f->ca, "0a1b", bytes_of(der, sizeof der), 1, NOW_S, &f->e), 0);
	assert_int_equal(api.revocations, 2);
	assert_string_equal(member(api.last, "certificate"), "-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n");
	assert_null(json_object_get(api.last, "serial_number"));
	assert_int_equal(f->ops->revoke(f->ca, "0a1b", bytes_of(NULL, 0), 1, NOW_S, &f->e), -1);
	error_is(f, ERR_DENIED, "not found");
	assert_int_equal(api.revocations, 3);
	api.anothers = true;
	assert_int_equal(f->ops->revoke(f->ca, "0a1b", bytes_of(der, sizeof der), 1, NOW_S, &f->e), -1);
	error_is(f, ERR_DENIED, "not found");
	assert_int_equal(api.revocations, 5);
	api.anothers = api.unstored = false;
	assert_int_equal(f->ops->revoke(f->ca, "0a1b", bytes_of(der, sizeof der), 1, NOW_S, &f->e), 0);
	assert_string_equal(member(api.last, "serial_number"), "0a:1b");
	assert_int_equal(api.revocations, 6);
}

static void
vault_that_lets_nobody_in_now_is_not_told_as_a_wrong_secret(void **state)
{
	struct fixture *f = *state;

	f->settings.auth = "approle";
	f->settings.user = "role-1";
	open_ca(f, "vault", service);
	now_hostile(f, reply_of(503, "{\"errors\":[\"Vault is sealed\"]}"));
	issue_fails(f, ERR_UPSTREAM, "HTTP 503 to /v1/auth/approle/login; nobody is let in now");
	now_hostile(f, reply_of(307, ""));
	issue_fails(f, ERR_UPSTREAM, "HTTP 307 to /v1/auth/approle/login; nobody is let in now");
	now_hostile(f, reply_of(400, "{\"errors\":[\"invalid role or secret ID\"]}"));
	issue_fails(f, ERR_UPSTREAM, "check user and secret_file");
}

static int asked;

static int
ask(UI *ui)
{
	(void)ui;
	asked++;
	return 0;
}

/* OpenSSL would ask for it at the terminal, or at stdin, past every deadline and with signal handlers of its own. */
static void
vault_that_answers_with_an_encrypted_certificate_is_not_waited_for(void **state)
{
	static const char pem[] = "-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\n"
		"DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nMIIBAAAA\n-----END CERTIFICATE-----\n";
	UI_METHOD *terminal = UI_create_method("a terminal");
	struct fixture *f = *state;
	struct reply reply = { 0 };

	assert_non_null(terminal);
	assert_int_equal(UI_method_set_opener(terminal, ask), 0);
	UI_set_default_method(terminal);
	reply_json(&reply, 200, json_pack("{s:{s:s}}", "data", "certificate", pem));
	now_hostile(f, reply);
	issue_unknown(f, "no certificate that can be read");
	UI_set_default_method(UI_OpenSSL());
	UI_destroy_method(terminal);
	assert_int_equal(asked, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		vault_test(vault_takes_a_uri_with_a_comma_for_one_name),
		vault_test(vault_without_such_a_role_is_an_operators_matter),
		vault_test(vault_that_says_what_it_lacks_before_it_signs_has_issued_nothing),
		vault_test(vault_standby_that_may_have_passed_it_on_leaves_it_unknown),
		vault_test(vault_revokes_what_it_has_not_stored_by_the_certificate),
		vault_test(vault_that_lets_nobody_in_now_is_not_told_as_a_wrong_secret),
		vault_test(vault_that_answers_with_an_encrypted_certificate_is_not_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
