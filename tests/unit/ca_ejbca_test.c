#define _GNU_SOURCE
/* The connector to EJBCA: enrolling, approvals, searching, revoking, and what it makes of answers. */
#include "tests/unit/ca_remote_fixture.h"

static struct {
	bool other_key, waiting, no_number;
	bool blind;          /* a search shows nothing */
	bool others;         /* there are certificates of other requests */
	char user[64], password[200], certificate[4000];
	json_t *last;
	char method[16], path[1024];
	size_t searches;
	int revoke_status;   /* of the answer to a revocation; 0: 200 */
	const char *standing; /* what it says of a certificate when asked; NULL: 404 */
} api;

/* base64 of DER out of PEM. */
static void
certify(struct fixture *f, char *out, size_t size)
{
	char pem[4000];
	const char *at, *end;
	size_t len = 0;

	service_certify(f, api.other_key ? f->certs.other_key : f->device_key, pem, sizeof pem);
	at = strchr(pem, '\n') + 1;
	end = strstr(pem, "-----END");
	for (; at < end; at++)
		if (*at != '\n' && len + 1 < size)
			out[len++] = *at;
	out[len] = '\0';
}

static void
give_certificate(struct fixture *f, struct reply *reply)
{
	certify(f, api.certificate, sizeof api.certificate);
	reply_json(reply, 201, json_pack("{s:s, s:s}", "certificate", api.certificate, "response_format", "DER"));
}

static void
serve_search(struct reply *reply)
{
	const json_t *criteria = json_object_get(api.last, "criteria");
	json_t *list = json_array();
	struct buf twice = { 0 };
	size_t i;
	const char *user = NULL;

	api.searches++;
	for (i = 0; i < json_array_size(criteria); i++) {
		const json_t *one = json_array_get(criteria, i);

		assert_string_equal(member(one, "operation"), "EQUAL");
		if (strcmp(member(one, "property"), "QUERY") == 0)
			user = member(one, "value");
	}
	assert_string_equal(member(json_array_get(criteria, 0), "value"), "Plant CA");
	if (!api.blind && user != NULL && strcmp(user, api.user) == 0 && api.certificate[0] != '\0') {
		base64_encode(&twice, bytes_of_text(api.certificate), 0);
		assert_int_equal(json_array_append_new(list, json_pack("{s:s}", "certificate", buf_text(&twice))), 0);
	}
	if (!api.blind && user == NULL && api.others)
		assert_int_equal(json_array_append_new(list, json_pack("{s:s}", "certificate", "x")), 0);
	buf_free(&twice);
	reply_json(reply, 200, json_pack("{s:o, s:b}", "certificates", list, "more_results", 0));
}

static void
service(struct tls_server *server, const struct seen *seen, struct reply *reply)
{
	struct fixture *f = server->arg;
	const char *at = seen->path + strlen("/ejbca/ejbca-rest-api/v1/certificate");

	assert_int_equal(strncmp(seen->path, "/ejbca/ejbca-rest-api/v1/certificate/", 37), 0);
	(void)snprintf(api.path, sizeof api.path, "%s", at);
	(void)snprintf(api.method, sizeof api.method, "%s", seen->method);
	if (seen->body_len != 0) {
		json_decref(api.last);
		api.last = seen_json(seen);
	}
	if (strcmp(at, "/search") == 0)
		serve_search(reply);
	else if (strcmp(at, "/status") == 0)
		reply_json(reply, 200, json_pack("{s:s, s:s}", "status", "OK", "revision", "EJBCA"));
	else if (strstr(at, "/revoke?") != NULL)
		reply_json(reply, api.revoke_status == 0 ? 200 : api.revoke_status, json_pack("{s:s}", "error_message", "as you know"));
	else if (strstr(at, "/revocationstatus") != NULL)
		reply_json(reply, api.standing == NULL ? 404 : 200, json_loads(api.standing == NULL ? "{}" : api.standing, 0, NULL));
	else if (api.waiting)
		reply_json(reply, 202, json_pack("{s:i, s:s}", "error_code", 202, "error_message",
			api.no_number ? "Approval is needed." : "Approval is needed, request 1234567890."));
	else
		give_certificate(f, reply);
	if (strcmp(at, "/pkcs10enroll") == 0) {
		(void)snprintf(api.user, sizeof api.user, "%s", member(api.last, "username"));
		(void)snprintf(api.password, sizeof api.password, "%s", member(api.last, "password"));
	}
}

static int
ejbca_setup(void **state)
{
	struct fixture *f;

	memset(&api, 0, sizeof api);
	if (fixture_setup(state) != 0)
		return -1;
	f = *state;
	f->settings.client_cert = f->certs.client_file;
	f->settings.client_key = f->certs.client_key;
	f->settings.profile = "DEVICE";
	f->settings.end_entity_profile = "DEVICE_EE";
	f->settings.authority = "Plant CA";
	return 0;
}

static int
ejbca_teardown(void **state)
{
	int rc = fixture_teardown(state);

	json_decref(api.last);
	return rc;
}

#define ejbca_test(name) cmocka_unit_test_setup_teardown(name, ejbca_setup, ejbca_teardown)

static void
ejbca_enrolls_an_end_entity_named_after_the_request(void **state)
{
	struct fixture *f = *state;
	char first[200];

	open_ca(f, "ejbca", service);
	issue_ok(f);
	assert_string_equal(api.path, "/pkcs10enroll");
	assert_string_equal(api.user, "gw-17-0");
	assert_string_equal(member(api.last, "certificate_profile_name"), "DEVICE");
	assert_string_equal(member(api.last, "end_entity_profile_name"), "DEVICE_EE");
	assert_string_equal(member(api.last, "certificate_authority_name"), "Plant CA");
	assert_int_equal(strlen(api.password), 64);
	memcpy(first, api.password, sizeof first);
	f->request.request_id = "gw-18-0";
	issue_ok(f);
	assert_string_not_equal(api.password, first);
}

static void
ejbca_in_trouble_is_told_apart(void **state)
{
	struct fixture *f = *state;

	open_ca(f, "ejbca", service);
	hostile_answers(f, "ejbca", 201, "{\"certificate\":\"bm9uZQ==\"}");
}

static void
ejbca_refusals_carry_its_words_and_an_operators_part_is_no_refusal(void **state)
{
	struct fixture *f = *state;

	open_ca(f, "ejbca", service);
	now_hostile(f, reply_of(400, "{\"error_code\":400,\"error_message\":\"Wrong number of DN fields\"}"));
	issue_fails(f, ERR_DENIED, "Wrong number of DN fields");
	now_hostile(f, reply_of(403, "{\"error_code\":403}"));
	issue_fails(f, ERR_UPSTREAM, "role");
	now_hostile(f, reply_of(404, "<html>"));
	issue_fails(f, ERR_UPSTREAM, "REST");
}

static void
ejbca_certificates_of_another_key_are_left_alone_and_ours_is_unknown(void **state)
{
	struct fixture *f = *state;

	open_ca(f, "ejbca", service);
	api.other_key = true;
	issue_unknown(f, f->serial);
	assert_int_equal(f->server->requests, 1);
}

static void
ejbca_waits_for_an_approval_and_finalizes_it(void **state)
{
	struct fixture *f = *state;
	char reference[CA_REFERENCE_MAX], password[200];

	open_ca(f, "ejbca", service);
	api.waiting = true;
	assert_int_equal(f->ops->issue(f->ca, &f->request, &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_WAITING);
	assert_string_equal(f->answer.reference, "1234567890");
	assert_int_equal(f->answer.retry_s, 60);
	memcpy(reference, f->answer.reference, sizeof reference);
	memcpy(password, api.password, sizeof password);
	f->hostile = reply_of(202, "{\"error_code\":202,\"error_message\":\"Still at step 1 of 2.\"}");
	(void)snprintf(f->hostile.headers, sizeof f->hostile.headers, "Retry-After: 7\r\n");
	open_ca(f, "ejbca", service); /* the gateway was started anew meanwhile */
	assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_WAITING);
	assert_string_equal(f->answer.reference, "1234567890");
	assert_int_equal(f->answer.retry_s, 7);
	api.waiting = false;
	assert_int_equal(f->ops->poll(f->ca, &f->request, reference, &f->answer, &f->e), 0);
	answer_is_issued(f);
	assert_string_equal(api.path, "/1234567890/finalize");
	assert_string_equal(member(api.last, "password"), password);
}

/* The process ended before the answer to the first finalize was recorded; the approval is used up. */
static void
ejbca_finds_what_an_earlier_poll_finalized(void **state)
{
	struct fixture *f = *state;

	open_ca(f, "ejbca", service);
	certify(f, api.certificate, sizeof api.certificate);
	(void)snprintf(api.user, sizeof api.user, "%s", f->request.request_id);
	now_hostile(f, reply_of(400, "{\"error_message\":\"approval was finalized\"}"));
	assert_int_equal(f->ops->poll(f->ca, &f->request, "12", &f->answer, &f->e), 0);
	answer_is_issued(f);
}

static void
ejbca_polls_are_refused_lost_and_never_a_path_of_their_own(void **state)
{
	struct fixture *f = *state;

	open_ca(f, "ejbca", service);
	api.others = true;
	now_hostile(f, reply_of(400, "{\"error_message\":\"rejected by an administrator\"}"));
	assert_int_equal(f->ops->poll(f->ca, &f->request, "12", &f->answer, &f->e), -1);
	error_is(f, ERR_DENIED, "rejected by an administrator");
	now_hostile(f, (struct reply){ .raw = "" });
	assert_int_equal(f->ops->poll(f->ca, &f->request, "12", &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_UNKNOWN);
	assert_int_equal(f->ops->poll(f->ca, &f->request, "../../x", &f->answer, &f->e), -1);
	error_is(f, ERR_BUG, "no number");
}

/* Nobody can tell whether an earlier poll finalized it: there may be a certificate. */
static void
ejbca_a_refusal_to_finalize_is_not_believed_without_a_search(void **state)
{
	struct fixture *f = *state;

	open_ca(f, "ejbca", service);
	certify(f, api.certificate, sizeof api.certificate);
	(void)snprintf(api.user, sizeof api.user, "%s", f->request.request_id);
	api.blind = true;
	now_hostile(f, reply_of(400, "{\"error_message\":\"approval was finalized\"}"));
	assert_int_equal(f->ops->poll(f->ca, &f->request, "12", &f->answer, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "approval was finalized");
}

static void
ejbca_an_approval_that_is_open_is_not_asked_for_once_more(void **state)
{
	struct fixture *f = *state;

	open_ca(f, "ejbca", service);
	api.others = true;
	assert_int_equal(f->ops->reconcile(f->ca, &f->request, "12", &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_WAITING);
	assert_string_equal(f->answer.reference, "12");
	assert_true(f->answer.retry_s > 0);
}

static void
ejbca_looks_for_an_approval_without_a_number_by_name(void **state)
{
	struct fixture *f = *state;

	open_ca(f, "ejbca", service);
	api.waiting = api.no_number = api.others = true;
	assert_int_equal(f->ops->issue(f->ca, &f->request, &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_WAITING);
	assert_string_equal(f->answer.reference, "");
	assert_int_equal(f->ops->poll(f->ca, &f->request, "", &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_WAITING);
	assert_true(f->answer.retry_s > 0);
	certify(f, api.certificate, sizeof api.certificate);
	assert_int_equal(f->ops->poll(f->ca, &f->request, "", &f->answer, &f->e), 0);
	answer_is_issued(f);
}

static void
ejbca_finds_what_was_issued_when_the_answer_was_lost(void **state)
{
	struct fixture *f = *state;

	open_ca(f, "ejbca", service);
	issue_ok(f);
	ca_answer_free(&f->answer);
	if (f->ops->reconcile(f->ca, &f->request, "", &f->answer, &f->e) != 0)
		fail_msg("%s", f->e.text);
	answer_is_issued(f);
	assert_int_equal(f->made, 1);
	assert_int_equal(api.searches, 1);
}

static void
reconcile_fails(struct fixture *f, const char *word)
{
	struct ca_answer answer = { .state = CA_WAITING };

	assert_int_equal(f->ops->reconcile(f->ca, &f->request, "", &answer, &f->e), -1);
	assert_int_equal(answer.state, CA_WAITING);
	error_is(f, ERR_UPSTREAM, word);
}

/* EJBCA leaves out what our role may not see, so an empty list alone proves nothing. */
static void
ejbca_knows_nothing_is_there_only_when_it_may_see(void **state)
{
	struct fixture *f = *state;

	open_ca(f, "ejbca", service);
	reconcile_fails(f, "may our role view");
	api.others = true;
	assert_int_equal(f->ops->reconcile(f->ca, &f->request, "", &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_ABSENT);
	issue_ok(f);
	api.blind = true;
	reconcile_fails(f, "may our role view");
}

static void
ejbca_searches_that_fail_leave_it_open(void **state)
{
	struct fixture *f = *state;

	open_ca(f, "ejbca", service);
	api.others = true;
	now_hostile(f, reply_of(400, "{\"error_message\":\"unknown CA\"}"));
	reconcile_fails(f, "unknown CA");
	now_hostile(f, reply_of(200, "{\"certificates\":{}}"));
	reconcile_fails(f, "a list");
	now_hostile(f, reply_of(200, "garbage"));
	reconcile_fails(f, "no JSON object");
	api.other_key = true;
	certify(f, api.certificate, sizeof api.certificate);
	(void)snprintf(api.user, sizeof api.user, "gw-17-0");
	reconcile_fails(f, "another key");
	api.other_key = false;
	certify(f, api.certificate, sizeof api.certificate);
	api.standing = "{\"revoked\": true}"; /* by an operator, who found what nobody had */
	reconcile_fails(f, "revoked there");
}

static void
ejbca_revokes_by_issuer_and_serial(void **state)
{
	struct fixture *f = *state;

	open_ca(f, "ejbca", service);
	assert_int_equal(f->ops->revoke(f->ca, "0a1b", bytes_of(NULL, 0), 1, NOW_S, &f->e), 0);
	assert_string_equal(api.method, "PUT");
	assert_string_equal(api.path, "/CN%3DTest%20Issuing%2CO%3DExample%20Works/0a1b/revoke?reason=KEY_COMPROMISE");
	assert_int_equal(f->ops->revoke(f->ca, "0a1b", bytes_of(NULL, 0), 6, NOW_S, &f->e), 0);
	assert_non_null(strstr(api.path, "CERTIFICATE_HOLD"));
	assert_int_equal(f->ops->revoke(f->ca, "0a1b", bytes_of(NULL, 0), 7, NOW_S, &f->e), -1);
	error_is(f, ERR_MALFORMED, "reason 7");
	assert_int_equal(f->ops->revoke(f->ca, "0a1b/../..", bytes_of(NULL, 0), 1, NOW_S, &f->e), -1);
	now_hostile(f, reply_of(409, "{\"error_code\":409}"));
	assert_int_equal(f->ops->revoke(f->ca, "0a1b", bytes_of(NULL, 0), 1, NOW_S, &f->e), 0);
	now_hostile(f, reply_of(500, "{}"));
	assert_int_equal(f->ops->revoke(f->ca, "0a1b", bytes_of(NULL, 0), 1, NOW_S, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "500");
}

#define GOOD  "{\"revoked\":false,\"revocation_reason\":\"NOT_REVOKED\"}"
#define HELD  "{\"revoked\":true,\"revocation_reason\":\"CERTIFICATE_HOLD\"}"
#define ENDED "{\"revoked\":true,\"revocation_reason\":\"KEY_COMPROMISE\"}"
enum { REVOKE = 1, HOLD = 6, RELEASE = 8 };

static int
hold_or_revoke(struct fixture *f, int reason, int status, const char *standing)
{
	api.revoke_status = status;
	api.standing = standing;
	return f->ops->revoke(f->ca, "0a1b", bytes_of(NULL, 0), reason, NOW_S, &f->e);
}

static void
ejbca_holds_and_releases(void **state)
{
	struct fixture *f = *state;

	open_ca(f, "ejbca", service);
	assert_true(f->ops->holds);
	assert_int_equal(hold_or_revoke(f, HOLD, 200, NULL), 0);
	assert_non_null(strstr(api.path, "/0a1b/revoke?reason=CERTIFICATE_HOLD"));
	assert_int_equal(hold_or_revoke(f, RELEASE, 200, NULL), 0);
	assert_non_null(strstr(api.path, "/0a1b/revoke?reason=REMOVE_FROM_CRL"));
}

/* The release of what is not on hold, and the revocation of what is, are refused with the same 409 as what is done already. */
static void
ejbca_is_asked_what_a_conflict_means(void **state)
{
	struct fixture *f = *state;

	open_ca(f, "ejbca", service);
	assert_int_equal(hold_or_revoke(f, HOLD, 409, HELD), 0);
	assert_string_equal(api.path, "/CN%3DTest%20Issuing%2CO%3DExample%20Works/0a1b/revocationstatus");
	assert_int_equal(hold_or_revoke(f, HOLD, 409, ENDED), 0);
	assert_int_equal(hold_or_revoke(f, HOLD, 409, GOOD), -1);
	error_is(f, ERR_DENIED, "as you know");
	assert_int_equal(hold_or_revoke(f, RELEASE, 409, GOOD), 0);
	assert_int_equal(hold_or_revoke(f, RELEASE, 409, HELD), -1);
	error_is(f, ERR_DENIED, "as you know");
	assert_int_equal(hold_or_revoke(f, RELEASE, 409, ENDED), -1);
	error_is(f, ERR_UNSUPPORTED, "for good");
	assert_int_equal(hold_or_revoke(f, REVOKE, 409, ENDED), 0);
	assert_int_equal(hold_or_revoke(f, REVOKE, 409, HELD), -1);
	error_is(f, ERR_DENIED, "as you know");
}

static void
ejbca_that_does_not_say_more_is_believed_that_it_is_revoked(void **state)
{
	struct fixture *f = *state;

	open_ca(f, "ejbca", service);
	assert_int_equal(hold_or_revoke(f, HOLD, 409, NULL), 0);
	assert_int_equal(hold_or_revoke(f, REVOKE, 409, "{}"), 0);
	assert_int_equal(hold_or_revoke(f, RELEASE, 409, NULL), -1);
	error_is(f, ERR_DENIED, "as you know");
	assert_int_equal(hold_or_revoke(f, HOLD, 400, NULL), -1);
	error_is(f, ERR_DENIED, "as you know");
}

/* Each call may ask its approvers again; that it is done shows in the certificate alone. */
static void
ejbca_whose_approvers_take_their_time_is_waited_for(void **state)
{
	struct fixture *f = *state;

	open_ca(f, "ejbca", service);
	assert_int_equal(hold_or_revoke(f, HOLD, 202, GOOD), -1);
	error_is(f, ERR_PENDING, "approval");
	assert_int_equal(hold_or_revoke(f, HOLD, 400, GOOD), -1);
	error_is(f, ERR_DENIED, "as you know");
	assert_int_equal(hold_or_revoke(f, HOLD, 202, HELD), 0);
	assert_int_equal(hold_or_revoke(f, HOLD, 400, HELD), 0);
	assert_int_equal(hold_or_revoke(f, REVOKE, 202, HELD), -1);
	error_is(f, ERR_PENDING, "approval");
	assert_int_equal(hold_or_revoke(f, REVOKE, 202, NULL), -1);
	error_is(f, ERR_PENDING, "approval");
}

static void
ejbca_is_well_when_it_says_so(void **state)
{
	struct fixture *f = *state;

	open_ca(f, "ejbca", service);
	assert_int_equal(f->ops->check(f->ca, &f->e), 0);
	assert_string_equal(api.path, "/status");
	now_hostile(f, reply_of(200, "{\"status\":\"DOWN\"}"));
	assert_int_equal(f->ops->check(f->ca, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "well");
	now_hostile(f, reply_of(403, "{}"));
	assert_int_equal(f->ops->check(f->ca, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "role");
}

static void
ejbca_settings_say_what_to_set(void **state)
{
	struct fixture *f = *state;

	f->settings.authority = NULL;
	open_fails(f, "ejbca", "authority (the CA's name there) is missing");
	f->settings.end_entity_profile = NULL;
	open_fails(f, "ejbca", "end_entity_profile is missing");
	f->settings.profile = NULL;
	open_fails(f, "ejbca", "profile (the certificate profile) is missing");
	f->settings.secret_file = NULL;
	open_fails(f, "ejbca", "secret_file");
	f->settings.client_cert = f->settings.client_key = NULL;
	open_fails(f, "ejbca", "client_cert");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		ejbca_test(ejbca_enrolls_an_end_entity_named_after_the_request),
		ejbca_test(ejbca_in_trouble_is_told_apart),
		ejbca_test(ejbca_refusals_carry_its_words_and_an_operators_part_is_no_refusal),
		ejbca_test(ejbca_certificates_of_another_key_are_left_alone_and_ours_is_unknown),
		ejbca_test(ejbca_waits_for_an_approval_and_finalizes_it),
		ejbca_test(ejbca_finds_what_an_earlier_poll_finalized),
		ejbca_test(ejbca_a_refusal_to_finalize_is_not_believed_without_a_search),
		ejbca_test(ejbca_an_approval_that_is_open_is_not_asked_for_once_more),
		ejbca_test(ejbca_polls_are_refused_lost_and_never_a_path_of_their_own),
		ejbca_test(ejbca_looks_for_an_approval_without_a_number_by_name),
		ejbca_test(ejbca_finds_what_was_issued_when_the_answer_was_lost),
		ejbca_test(ejbca_knows_nothing_is_there_only_when_it_may_see),
		ejbca_test(ejbca_searches_that_fail_leave_it_open),
		ejbca_test(ejbca_revokes_by_issuer_and_serial),
		ejbca_test(ejbca_holds_and_releases),
		ejbca_test(ejbca_is_asked_what_a_conflict_means),
		ejbca_test(ejbca_that_does_not_say_more_is_believed_that_it_is_revoked),
		ejbca_test(ejbca_whose_approvers_take_their_time_is_waited_for),
		ejbca_test(ejbca_is_well_when_it_says_so),
		ejbca_test(ejbca_settings_say_what_to_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
