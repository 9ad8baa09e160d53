/* A CA that has changed its key: another generation's is known by its certificate, a stranger's is not. */
#define _GNU_SOURCE
#include <sys/stat.h>

#include <openssl/x509v3.h>

#include "tests/unit/core_issuer_second.h"

/* Takes the place of "second": with a key of its own, and the name the test gives it. */
struct maker {
	EVP_PKEY *key;
	X509 *cert;
};

static void
make_ca(struct rig *r, const char *name, struct maker *out)
{
	struct ca_make make = { .common_name = name, .organisation = "Example", .path_len = -1, .not_before_s = NOW - DAY,
		.not_after_s = NOW + 3650 * DAY };
	struct err e = { 0 };
	char path[160];
	FILE *file;

	out->key = make.key = make.issuer_key = EVP_EC_gen("P-256");
	if (ca_make_certificate(&make, &out->cert, &e) != 0)
		fail_msg("%s", e.text);
	(void)snprintf(path, sizeof path, "%s/ca/next.pem", r->dir);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(PEM_write_X509(file, out->cert), 1);
	assert_int_equal(fclose(file), 0);
	(void)snprintf(path, sizeof path, "%s/ca/next.key", r->dir);
	(void)unlink(path);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fchmod(fileno(file), 0600), 0);
	assert_int_equal(PEM_write_PrivateKey(file, out->key, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(file), 0);
}

static void
maker_free(struct maker *maker)
{
	X509_free(maker->cert);
	EVP_PKEY_free(maker->key);
}

/* The configuration of the fixture with another "second". */
static void
load_with(struct rig *r)
{
	static const char old[] = "certificate = \"ca/issuing.pem\"; key = \"ca/issuing.key\";\n          chain = [ \"ca/root.pem\" ]; } );";
	static const char new[] = "certificate = \"ca/next.pem\"; key = \"ca/next.key\"; } );";
	CLEANUP(buf) struct buf conf = { 0 };
	const char *at = strstr(rig_conf, old);

	assert_non_null(at);
	buf_append(&conf, (const uint8_t *)rig_conf, (size_t)(at - rig_conf));
	buf_append_text(&conf, new);
	buf_append_text(&conf, at + sizeof old - 1);
	rig_load(r, buf_text(&conf));
	rig_label(r, "");
	r->world->config->cas[0].wait_s = 0;
}

static struct rig *rig_of_judge;
static enum act next_act;

/* The service signs with the key of "second" by now. */
static int
issue_by_next(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	int result;

	(void)ca;
	fake_lock();
	fake.issues++;
	result = fake_make(rig_of_judge->world->cas[1].ca, request, next_act, out, e);
	fake_unlock();
	return result;
}

static void
next_generation(struct rig *r)
{
	struct config_ca *cas;
	struct maker maker;

	make_ca(r, "Example Issuing CA 2", &maker);
	load_with(r);
	maker_free(&maker);
	second_stands_in(r);
	cas = r->world->config->cas;
	cas[0].failover_count = 0;
	next_act = ISSUE;
	rig_of_judge = r;
	r->ca_ops.issue = issue_by_next;
}

static void
one_that_the_next_generation_signed_is_its_and_told_once(void **state)
{
	struct rig *r = *state;

	next_generation(r);
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	ask(r, ERR_NONE);
	assert_string_equal(r->result.ca, "second");
	assert_int_equal(rig_number(r, "SELECT count(*) FROM certificate WHERE ca = 'second'"), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM intent WHERE ca = 'issuing' AND state = 4"), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'ca.other_generation' AND subject = 'rtr-1'"
		" AND detail_json ->> 'ca' = 'issuing' AND detail_json ->> 'generation' = 'second'"), 1);
	rig_revoke(r, 1);
	assert_int_equal(step_all(r), 0);
	assert_int_equal(fake.revokes, 0);
	step_ca = 1;
	assert_int_equal(step_all(r), 0);
	assert_int_equal(second.revokes, 1);
	assert_string_equal(second.revoked, fake.made_serial);
}

static void
a_wrong_one_of_the_next_generation_is_revoked_by_it(void **state)
{
	struct rig *r = *state;

	next_generation(r);
	next_act = WRONG_NAME;
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(audits_of(r, "ca.quarantined"), 1);
	assert_int_equal(audits_of(r, "ca.other_generation"), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM request WHERE state = 3 AND reason = 'ca.verification'"), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM ca_revocation WHERE ca = 'second'"), 1);
	assert_int_equal(rig_certs(r), 0);
}

static void
what_the_chain_of_the_next_generation_does_not_allow_is_quarantined(void **state)
{
	X509_EXTENSION *extension = X509V3_EXT_nconf(NULL, NULL, "extendedKeyUsage", "codeSigning");
	struct rig *r = *state;

	next_generation(r);
	assert_int_equal(X509_add_ext(sk_X509_value(r->world->cas[1].ops->chain(r->world->cas[1].ca), 0), extension, -1), 1);
	X509_EXTENSION_free(extension);
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM request WHERE state = 3 AND reason = 'ca.verification' AND"
		" sentence LIKE '%is not among those of the CA certificate%'"), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM ca_revocation WHERE ca = 'second'"), 1);
	assert_int_equal(rig_certs(r), 0);
}

static void
what_a_stranger_signed_is_quarantined_and_says_whose_it_is(void **state)
{
	struct rig *r = *state;

	next_generation(r);
	/* Known here, and of the same name, but not this fleet's. */
	r->world->config->cas[1].group[0] = '\0';
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_QUARANTINED), 1);
	assert_int_equal(audits_of(r, "ca.quarantined"), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'ca.unknown_issuer'"
		" AND detail_json ->> 'alert' = 1 AND detail_json ->> 'reason' = 'ca.unknown_issuer'"
		" AND detail_json ->> 'sentence' LIKE '%CN=Example Issuing CA 2%'"
		" AND detail_json ->> 'sentence' LIKE '%authority key identifier: %'"
		" AND detail_json ->> 'sentence' NOT LIKE '%identifier: none%'"), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM request WHERE state = 3 AND reason = 'ca.unknown_issuer'"), 1);
	assert_int_equal(rig_certs(r), 0);
	/* The number may be anybody's: it is told, with what to do, and not revoked. */
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'ca.unknown_issuer' AND length(detail_json ->> 'serial') > 15"
		" AND detail_json ->> 'revocation' LIKE 'none: %by hand'"), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM ca_revocation"), 0);
	later_s(ISSUER_REVOKE_MAX_S);
	assert_int_equal(step_all(r), 0);
	assert_int_equal(fake.revokes, 0);
}

/* Like one of the CA's, but for its last octet: the key is known, and did not sign it. */
static int
issue_torn(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	assert_int_equal(fake_issue(ca, request, out, e), 0);
	out->cert.at[out->cert.len - 1] ^= 1;
	return 0;
}

static int
issue_no_certificate(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	assert_int_equal(fake_issue(ca, request, out, e), 0);
	out->cert.len = 7;
	return 0;
}

static void
is_told_and_not_revoked(struct rig *r, const char *action)
{
	char sql[320];

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_QUARANTINED), 1);
	(void)snprintf(sql, sizeof sql, "SELECT count(*) FROM audit WHERE action = '%s' AND detail_json ->> 'serial' = '%s' AND detail_json"
		" ->> 'alert' = 1", action, fake.made_serial);
	assert_int_equal(rig_number(r, sql), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM ca_revocation"), 0);
	assert_int_equal(rig_certs(r), 0);
}

static void
what_the_ca_did_not_sign_though_it_says_so_is_not_revoked(void **state)
{
	struct rig *r = *state;

	r->ca_ops.issue = issue_torn;
	is_told_and_not_revoked(r, "ca.unknown_issuer");
}

static void
the_number_of_what_is_no_certificate_is_not_revoked(void **state)
{
	struct rig *r = *state;

	r->ca_ops.issue = issue_no_certificate;
	is_told_and_not_revoked(r, "ca.quarantined");
}

/* An operator has given it up meanwhile: the alert comes all the same. */
static int
issue_given_up(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	struct rig *r = rig_of_judge;
	struct intent_end end = { .id = 1, .to = INTENT_FAILED, .reason = "ca.resolved", .sentence = "gone", .policy_version = "1",
		.actor = "operator:test", .audit = "ca.resolved", .now_s = NOW };
	bool done = false;

	assert_int_equal(r->ops.intents->end(r->gateway.store, &end, &done, e), 0);
	assert_true(done);
	return issue_torn(ca, request, out, e);
}

static void
what_a_stranger_signed_is_told_when_it_comes_too_late(void **state)
{
	struct rig *r = *state;

	rig_of_judge = r;
	r->ca_ops.issue = issue_given_up;
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_FAILED), 1);
	assert_int_equal(audits_of(r, "ca.unknown_issuer"), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM ca_revocation"), 0);
}

static void
a_strangers_name_is_told_as_printable_text_and_cut(void **state)
{
	struct rig *r = *state;
	struct issuer_job job = { .gateway = &r->gateway, .world = NULL, .now_s = NOW };
	static const char name[] = "\xc3\x9c\x1b]0;x\x07 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	struct ca_request approved = { 0 };
	const struct config_ca *by = NULL;
	const char *reason = NULL;
	struct buf der = { 0 };
	struct maker maker;
	struct err wrong = { 0 };
	bool other = true;
	struct cert_spec spec = { 0 };
	size_t i;

	make_ca(r, name, &maker);
	assert_int_equal(x509_to_der(maker.cert, &der, &wrong), 0);
	approved.spec = &spec;
	approved.now_s = NOW;
	job.world = r->world;
	job.ca = &r->world->cas[0];
	assert_int_equal(issuer_judge(&job, &approved, buf_bytes(&der), &by, &other, &reason, &wrong), 1);
	assert_string_equal(reason, "ca.unknown_issuer");
	assert_false(other);
	assert_null(by);
	for (i = 0; wrong.text[i] != '\0'; i++)
		assert_in_range((unsigned char)wrong.text[i], 0x20, 0x7e);
	assert_non_null(strstr(wrong.text, "authority key identifier: "));
	/* No certificate at all is a plain mistake of the CA's. */
	der.len = 7;
	assert_int_equal(issuer_judge(&job, &approved, buf_bytes(&der), &by, &other, &reason, &wrong), 1);
	assert_string_equal(reason, "ca.verification");
	assert_null(by);
	buf_free(&der);
	maker_free(&maker);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(one_that_the_next_generation_signed_is_its_and_told_once),
		test(a_wrong_one_of_the_next_generation_is_revoked_by_it),
		test(what_the_chain_of_the_next_generation_does_not_allow_is_quarantined),
		test(what_a_stranger_signed_is_quarantined_and_says_whose_it_is),
		test(what_the_ca_did_not_sign_though_it_says_so_is_not_revoked),
		test(the_number_of_what_is_no_certificate_is_not_revoked),
		test(what_a_stranger_signed_is_told_when_it_comes_too_late),
		test(a_strangers_name_is_told_as_printable_text_and_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
