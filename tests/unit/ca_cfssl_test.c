#define _GNU_SOURCE
/* The connector to cfssl: what it sends, and what it makes of answers. */
#include "tests/unit/ca_remote_fixture.h"

#include <openssl/hmac.h>

static struct {
	bool other_key;
	char inner[4000];
} api;

/* The HMAC is over the very octets of the request. */
static void
check_token(const json_t *body)
{
	struct buf token = { 0 }, inner = { 0 };
	uint8_t key[16], mac[32];
	unsigned len = 0;
	struct err e;

	assert_int_equal(hex_decode(bytes_of_text(SECRET), key, sizeof key, &e), 0);
	assert_int_equal(base64_decode(bytes_of_text(member(body, "token")), &token, &e), 0);
	assert_int_equal(base64_decode(bytes_of_text(member(body, "request")), &inner, &e), 0);
	assert_non_null(HMAC(EVP_sha256(), key, sizeof key, inner.at, inner.len, mac, &len));
	assert_true(bytes_equal(buf_bytes(&token), bytes_of(mac, len)));
	(void)snprintf(api.inner, sizeof api.inner, "%s", buf_text(&inner));
	buf_free(&token);
	buf_free(&inner);
}

static void
service(struct tls_server *server, const struct seen *seen, struct reply *reply)
{
	struct fixture *f = server->arg;
	json_t *body = seen_json(seen);
	char pem[4000];

	assert_string_equal(seen->method, "POST");
	if (strcmp(seen->path, "/api/v1/cfssl/authsign") == 0) {
		check_token(body);
		service_certify(f, api.other_key ? f->certs.other_key : f->device_key, pem, sizeof pem);
		reply_json(reply, 200, json_pack("{s:b, s:{s:s}, s:[]}", "success", 1, "result", "certificate", pem, "errors"));
	} else if (strcmp(seen->path, "/api/v1/cfssl/info") == 0) {
		BIO *bio = BIO_new(BIO_s_mem());

		assert_int_equal(PEM_write_bio_X509(bio, f->issuing), 1);
		(void)BIO_write(bio, "", 1);
		{
			char *at = NULL;

			(void)BIO_get_mem_data(bio, &at);
			reply_json(reply, 200, json_pack("{s:b, s:{s:s}}", "success", 1, "result", "certificate", at));
		}
		BIO_free(bio);
	} else {
		assert_string_equal(seen->path, "/api/v1/cfssl/revoke");
		reply_json(reply, 200, json_pack("{s:b, s:{}}", "success", 1, "result"));
	}
	json_decref(body);
}

static void
open_cfssl(struct fixture *f)
{
	memset(&api, 0, sizeof api);
	f->settings.profile = "device";
	open_ca(f, "cfssl", service);
}

static void
cfssl_sends_what_was_approved_with_an_hmac_over_it(void **state)
{
	struct fixture *f = *state;
	json_t *inner;
	const json_t *subject, *hosts;

	open_cfssl(f);
	issue_ok(f);
	inner = json_loads(api.inner, 0, NULL);
	assert_non_null(inner);
	subject = json_object_get(inner, "subject");
	hosts = json_object_get(inner, "hosts");
	assert_string_equal(member(inner, "profile"), "device");
	assert_string_equal(member(subject, "CN"), SUBJECT);
	assert_string_equal(member(subject, "serialnumber"), "SN-1234");
	assert_string_equal(member(json_array_get(json_object_get(subject, "names"), 0), "O"), "Zürcher \"Werke\"");
	assert_int_equal(json_array_size(hosts), 5);
	assert_string_equal(json_string_value(json_array_get(hosts, 1)), "urn:dev:sn:1234");
	assert_string_equal(member(inner, "not_after"), "2026-12-20T14:13:20Z");
	assert_non_null(strstr(member(inner, "certificate_request"), "BEGIN CERTIFICATE REQUEST"));
	json_decref(inner);
}

static void
cfssl_in_trouble_is_told_apart(void **state)
{
	struct fixture *f = *state;

	open_cfssl(f);
	hostile_answers(f, "cfssl", 200, "{\"success\":true,\"result\":{\"certificate\":\"none\"}}");
}

static void
cfssl_refusals_carry_its_words_and_a_wrong_key_is_ours_to_mend(void **state)
{
	struct fixture *f = *state;

	open_cfssl(f);
	now_hostile(f, reply_of(400, "{\"success\":false,\"errors\":[{\"code\":5,\"message\":\"policy \\u0007says no\"}]}"));
	issue_fails(f, ERR_DENIED, "policy \\x07says no");
	now_hostile(f, reply_of(200, "{\"success\":false,\"errors\":[{\"code\":5,\"message\":\"policy says no\"}]}"));
	issue_fails(f, ERR_DENIED, "policy says no");
	now_hostile(f, reply_of(500, "{\"success\":false,\"errors\":[{\"code\":5,\"message\":\"disk full\"}]}"));
	issue_fails(f, ERR_UPSTREAM, "disk full");
	now_hostile(f, reply_of(400, "{\"success\":false,\"errors\":[{\"code\":5,\"message\":\"invalid token\"}]}"));
	issue_fails(f, ERR_UPSTREAM, "secret_file");
	now_hostile(f, reply_of(400, "{\"success\":false,\"errors\":[{\"code\":5,\"message\":\"you are " SECRET "\"}]}"));
	issue_fails(f, ERR_DENIED, "400");
}

static void
cfssl_certificates_of_another_key_are_left_alone_and_ours_is_unknown(void **state)
{
	struct fixture *f = *state;

	open_cfssl(f);
	api.other_key = true;
	issue_unknown(f, "another key");
	assert_non_null(strstr(f->e.text, f->serial));
	assert_int_equal(f->server->requests, 1);
}

static void
cfssl_revokes_by_decimal_serial_and_authority(void **state)
{
	struct fixture *f = *state;
	json_t *body;

	open_cfssl(f);
	assert_int_equal(f->ops->revoke(f->ca, "ff10", bytes_of(NULL, 0), 4, NOW_S, &f->e), 0);
	body = seen_json(&f->server->last);
	assert_string_equal(member(body, "serial"), "65296");
	assert_string_equal(member(body, "reason"), "4");
	assert_int_equal(strlen(member(body, "authority_key_id")), 40);
	json_decref(body);
	assert_int_equal(f->ops->revoke(f->ca, "ff10", bytes_of(NULL, 0), 6, NOW_S, &f->e), -1);
	error_is(f, ERR_UNSUPPORTED, "hold");
	assert_int_equal(f->ops->revoke(f->ca, "ff10", bytes_of(NULL, 0), 7, NOW_S, &f->e), -1);
	error_is(f, ERR_MALFORMED, "reason 7");
	now_hostile(f, reply_of(400, "{\"errors\":[{\"message\":\"certificate not found\"}]}"));
	assert_int_equal(f->ops->revoke(f->ca, "ff10", bytes_of(NULL, 0), 4, NOW_S, &f->e), 0);
	body = seen_json(&f->server->last);
	assert_string_equal(member(body, "authority_key_id"), ""); /* where version 1.2 keeps it */
	json_decref(body);
	now_hostile(f, reply_of(400, "{\"errors\":[{\"message\":\"no such thing\"}]}"));
	assert_int_equal(f->ops->revoke(f->ca, "ff10", bytes_of(NULL, 0), 4, NOW_S, &f->e), -1);
	error_is(f, ERR_DENIED, "no such thing");
	now_hostile(f, reply_of(404, "404 page not found"));
	assert_int_equal(f->ops->revoke(f->ca, "ff10", bytes_of(NULL, 0), 0, NOW_S, &f->e), -1);
	error_is(f, ERR_UNSUPPORTED, "-db-config");
	now_hostile(f, reply_of(200, "{\"success\":false}"));
	assert_int_equal(f->ops->revoke(f->ca, "ff10", bytes_of(NULL, 0), 0, NOW_S, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "did not revoke");
}

static void
cfssl_is_well_when_it_issues_with_the_configured_certificate(void **state)
{
	struct fixture *f = *state;

	open_cfssl(f);
	if (f->ops->check(f->ca, &f->e) != 0)
		fail_msg("%s", f->e.text);
	now_hostile(f, reply_of(404, "{\"success\":false}"));
	assert_int_equal(f->ops->check(f->ca, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "does not tell its certificate");
	f->settings.certificate = f->root_file;
	f->settings.chain_count = 0;
	open_cfssl(f);
	assert_int_equal(f->ops->check(f->ca, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "Test Issuing");
	assert_int_equal(sk_X509_num(f->ops->chain(f->ca)), 1);
}

static void
cfssl_settings_say_what_to_set(void **state)
{
	struct fixture *f = *state;
	char path[128];

	f->settings.secret_file = file_make(&f->certs.folder, "short", "00ff\n", 0600, path);
	open_fails(f, "cfssl", "hexadecimal");
	f->settings.secret_file = file_make(&f->certs.folder, "text", "zz112233445566778899aabbccddeeff\n", 0600, path);
	open_fails(f, "cfssl", "hexadecimal");
	f->settings.secret_file = file_make(&f->certs.folder, "open", SECRET "\n", 0644, path);
	open_fails(f, "cfssl", "chmod 600");
	f->settings.secret_file = NULL;
	open_fails(f, "cfssl", "secret_file is missing");
	f->settings.url = NULL;
	open_fails(f, "cfssl", "url is missing");
	f->settings.url = "http://127.0.0.1:1";
	open_fails(f, "cfssl", "http");
	f->settings.certificate = NULL;
	open_fails(f, "cfssl", "certificate");
}

static void
cfssl_wants_the_devices_own_request(void **state)
{
	struct fixture *f = *state;

	open_cfssl(f);
	f->request.csr = bytes_of(NULL, 0);
	issue_fails(f, ERR_UNSUPPORTED, "own request");
	assert_int_equal(f->server->requests, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(cfssl_sends_what_was_approved_with_an_hmac_over_it),
		test(cfssl_in_trouble_is_told_apart),
		test(cfssl_refusals_carry_its_words_and_a_wrong_key_is_ours_to_mend),
		test(cfssl_certificates_of_another_key_are_left_alone_and_ours_is_unknown),
		test(cfssl_revokes_by_decimal_serial_and_authority),
		test(cfssl_is_well_when_it_issues_with_the_configured_certificate),
		test(cfssl_settings_say_what_to_set),
		test(cfssl_wants_the_devices_own_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
