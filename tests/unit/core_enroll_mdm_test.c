/* Challenges that an MDM vouches for: asked once, good once, told what became of them. */
#define _GNU_SOURCE
#include "tests/unit/core_enroll_fixture.h"

#define CHALLENGE "3f9aQ+challenge+of+an+MDM"

/* The service: what it says, and what it was told. */
static struct service {
	struct mdm_verdict verdict;
	bool down, deaf;
	int asked, issued, refused;
	char challenge[64];
} service;

static int
validate(struct mdm *mdm, const struct mdm_request *request, struct mdm_verdict *out, struct err *e)
{
	(void)mdm;
	service.asked++;
	(void)snprintf(service.challenge, sizeof service.challenge, "%s", request->challenge);
	if (service.down)
		return err_set(e, ERR_UPSTREAM, "connection refused");
	*out = service.verdict;
	return 0;
}

static int
issued(struct mdm *mdm, const struct mdm_request *request, struct bytes cert, struct err *e)
{
	(void)mdm;
	assert_non_null(request->transaction);
	assert_true(cert.len > 0);
	service.issued++;
	return service.deaf ? err_set(e, ERR_UPSTREAM, "no answer") : 0;
}

static int
refused(struct mdm *mdm, const struct mdm_request *request, const struct mdm_refusal *why, struct err *e)
{
	(void)mdm;
	(void)request;
	(void)e;
	assert_non_null(why->text);
	service.refused++;
	return 0;
}

static int
one_record(void *arg, struct import_record *out, struct err *e)
{
	bool *given = arg;

	(void)e;
	if (*given)
		return 0;
	*given = true;
	*out = (struct import_record){ .asset = { .state = ASSET_DEPLOYED, .tag = "mac-7", .source = "mdm" },
		.has_state = true, .owner = "Fleet", .anchor_count = 1 };
	out->anchors[0] = (struct anchor){ .type = ANCHOR_MDM_ID, .issuer = "fleet", .value = "DEV-7" };
	return 1;
}

static struct mdm_ops fake;
static struct config_label label;

static int
setup(void **state)
{
	static char conf[8192];
	struct import_job job = { .next = one_record, .actor = "operator:test", .source = "mdm", .now_s = NOW - DAY };
	struct import_summary sum;
	bool given = false;
	struct err e = { 0 };
	struct rig *r;

	if (rig_setup(state) != 0)
		return -1;
	r = *state;
	(void)snprintf(conf, sizeof conf, "%s%s", rig_conf,
		"mdms = ( { name = \"fleet\"; type = \"webhook\"; url = \"https://127.0.0.1:1/\"; ca = \"ca/root.pem\"; } );\n");
	rig_load(r, conf);
	service = (struct service){ .verdict = { .allowed = true, .code = "Success", .device = "DEV-7" } };
	fake = *r->world->mdms[0].ops;
	fake.validate = validate;
	fake.issued = issued;
	fake.refused = refused;
	r->world->mdms[0].ops = &fake;
	job.arg = &given;
	if (store_sqlite.import(r->gateway.store, &job, &sum, &e) != 0)
		fail_msg("%s", e.text);
	rig_label(r, "");
	label = *r->request.label;
	label.policy.auth = AUTH_MDM | AUTH_OWN;
	(void)snprintf(label.scep_mdm, sizeof label.scep_mdm, "fleet");
	r->request = (struct enroll_request){ .protocol = "scep", .operation = "PKCSReq", .op = ENROLL_EITHER,
		.label = &label, .challenge = true, .renewal_names_free = true, .transaction = "T1", .peer = "192.0.2.7",
		.now_s = NOW };
	return 0;
}

static void
ask(struct rig *r, EVP_PKEY *key, const char *challenge)
{
	struct buf attributes = { 0 };

	make_text_attribute(&attributes, "1.2.840.113549.1.9.7", 0x13, bytes_of_text(challenge));
	rig_csr(r, key, &attributes);
	buf_free(&attributes);
}

static void
a_challenge_the_mdm_allows_issues_for_the_device_it_names(void **state)
{
	struct rig *r = *state;

	ask(r, r->key, CHALLENGE);
	rig_expect(r, ERR_NONE);
	assert_string_equal(r->result.asset_tag, "mac-7");
	assert_string_equal(r->result.proof, "challenge of fleet DEV-7");
	assert_string_equal(service.challenge, CHALLENGE);
	assert_int_equal(service.asked, 1);
	assert_int_equal(service.issued, 1);
	assert_int_equal(service.refused, 0);
}

static void
the_same_request_is_answered_again_without_asking(void **state)
{
	struct rig *r = *state;
	struct buf first;

	ask(r, r->key, CHALLENGE);
	rig_expect(r, ERR_NONE);
	first = rig_take(r);
	service.verdict.allowed = false;
	rig_expect(r, ERR_NONE);
	assert_true(r->result.replayed);
	assert_true(bytes_equal(buf_bytes(&first), buf_bytes(&r->result.cert)));
	assert_int_equal(service.asked, 1);
	assert_int_equal(service.issued, 1);
	buf_free(&first);
}

static void
a_used_challenge_is_refused_for_another_request(void **state)
{
	struct rig *r = *state;
	CLEANUP(EVP_PKEY) EVP_PKEY *other = EVP_EC_gen("P-256");

	ask(r, r->key, CHALLENGE);
	rig_expect(r, ERR_NONE);
	ask(r, other, CHALLENGE);
	r->request.transaction = "T2";
	rig_expect(r, ERR_UNAUTHENTIC);
	assert_int_equal(service.asked, 1);
	assert_int_equal(rig_certs(r), 1);
}

static void
a_challenge_the_mdm_refuses_is_refused(void **state)
{
	struct rig *r = *state;

	service.verdict = (struct mdm_verdict){ .code = "ChallengeExpired" };
	ask(r, r->key, CHALLENGE);
	rig_expect(r, ERR_UNAUTHENTIC);
	assert_non_null(strstr(r->result.sentence, "ChallengeExpired"));
	assert_null(strstr(r->result.sentence, CHALLENGE));
	assert_int_equal(service.issued + service.refused, 0);
	assert_int_equal(rig_certs(r), 0);
}

static void
an_mdm_that_does_not_answer_issues_nothing_and_spends_nothing(void **state)
{
	struct rig *r = *state;

	service.down = true;
	ask(r, r->key, CHALLENGE);
	rig_expect(r, ERR_UPSTREAM);
	assert_true(r->result.retry_after_s > 0);
	assert_int_equal(rig_certs(r), 0);
	service.down = false;
	rig_expect(r, ERR_NONE);
}

static void
more_calls_than_are_allowed_are_told_to_come_back(void **state)
{
	struct rig *r = *state;

	r->gateway.mdm_calls_max = 2;
	atomic_store(&r->gateway.mdm_calls, 2);
	ask(r, r->key, CHALLENGE);
	rig_expect(r, ERR_UPSTREAM);
	assert_int_equal(service.asked, 0);
	assert_int_equal(atomic_load(&r->gateway.mdm_calls), 2);
	atomic_store(&r->gateway.mdm_calls, 1);
	rig_expect(r, ERR_NONE);
	assert_int_equal(atomic_load(&r->gateway.mdm_calls), 1);
}

static void
a_device_the_registry_does_not_know_is_refused_and_the_mdm_told(void **state)
{
	struct rig *r = *state;

	(void)snprintf(service.verdict.device, sizeof service.verdict.device, "DEV-8");
	ask(r, r->key, CHALLENGE);
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.reason, "asset.known");
	assert_int_equal(service.refused, 1);
	assert_int_equal(service.issued, 0);
}

static void
a_device_that_is_stolen_is_refused_whatever_the_mdm_says(void **state)
{
	struct rig *r = *state;

	rig_set_state(r, "mac-7", ASSET_STOLEN);
	ask(r, r->key, CHALLENGE);
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.reason, "asset.state");
	assert_int_equal(service.refused, 1);
}

static void
a_notification_that_fails_is_recorded_and_takes_nothing_back(void **state)
{
	struct rig *r = *state;

	service.deaf = true;
	ask(r, r->key, CHALLENGE);
	rig_expect(r, ERR_NONE);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'mdm.untold'"), 1);
}

static void
the_challenge_is_not_in_the_store(void **state)
{
	struct rig *r = *state;

	service.verdict = (struct mdm_verdict){ .code = "no" };
	ask(r, r->key, CHALLENGE);
	rig_expect(r, ERR_UNAUTHENTIC);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE detail_json LIKE '%" CHALLENGE "%'"), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE detail_json LIKE '%refused the challenge%'"), 1);
}

static void
without_a_device_the_requests_names_tell_who_it_is(void **state)
{
	struct rig *r = *state;

	service.verdict.device[0] = '\0';
	ask(r, r->key, CHALLENGE);
	rig_expect(r, ERR_DENIED); /* no rule reads them */
	assert_string_equal(r->result.reason, "asset.known");
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_challenge_the_mdm_allows_issues_for_the_device_it_names),
		TEST(the_same_request_is_answered_again_without_asking),
		TEST(a_used_challenge_is_refused_for_another_request),
		TEST(a_challenge_the_mdm_refuses_is_refused),
		TEST(an_mdm_that_does_not_answer_issues_nothing_and_spends_nothing),
		TEST(more_calls_than_are_allowed_are_told_to_come_back),
		TEST(a_device_the_registry_does_not_know_is_refused_and_the_mdm_told),
		TEST(a_device_that_is_stolen_is_refused_whatever_the_mdm_says),
		TEST(a_notification_that_fails_is_recorded_and_takes_nothing_back),
		TEST(the_challenge_is_not_in_the_store),
		TEST(without_a_device_the_requests_names_tell_who_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
