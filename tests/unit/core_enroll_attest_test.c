/*
 * Evidence in the pipeline, with a clock of our own and a verifier that believes what the statement says.
 */
#define _GNU_SOURCE
#include "tests/unit/core_enroll_fixture.h"

#include "base/der.h"
#include "gateway/core/enroll_question.h"
#include "gateway/core/rule_limits.h"

#define LABEL_CONF                                                                                          \
	"attesters = ( { name = \"keys\"; method = \"yubikey\"; roots = [ \"trust/acme.pem\" ]; } );\n"         \
	"rules = ( { name = \"need\"; action = \"require\"; labels = [ \"guarded\", \"anytime\" ];\n"            \
	"            attesters = [ \"keys\" ]; },\n"                                                            \
	"          { name = \"few\"; action = \"allow\"; labels = [ \"anytime\" ]; count = 1; per = \"1d\"; },\n" \
	"          { name = \"all\"; action = \"allow\"; } );\n"

static int verified;

/* The statement is the nonce; the asset is rtr-1, whose anchor is the manufacturer's. */
static int
believe(const struct attest_settings *settings, const struct attest_input *in, struct attestation *out, struct err *e)
{
	struct bytes stmt = in->evidence->statements[in->statement].stmt;

	(void)e;
	verified++;
	*out = (struct attestation){ .method = ATTEST_YUBIKEY, .anchor_count = 1, .key_bound = true };
	(void)snprintf(out->attester, sizeof out->attester, "%s", settings->name);
	out->anchors[0] = (struct anchor){ .type = ANCHOR_IDEVID_SERIAL, .issuer = "acme", .value = "SN1" };
	out->fresh = attest_check(out, "test.nonce", in->is_nonce(in->nonce_arg, bytes_of(stmt.at + 2, stmt.len - 2)), "x");
	attest_conclude(out);
	return 0;
}

static const struct attest_ops believing = { ATTEST_YUBIKEY, EVIDENCE_YUBIKEY, believe };

static int
setup(void **state)
{
	CLEANUP(buf) struct buf conf = { 0 };
	uint8_t secret[32] = { 1 };
	struct err e = { 0 };
	struct rig *r;

	assert_int_equal(rig_setup(state), 0);
	r = *state;
	buf_append_text(&conf, rig_conf);
	buf_append_text(&conf, LABEL_CONF);
	rig_load(r, buf_text(&conf));
	rig_label(r, "");
	r->world->attesters[0].ops = &believing;
	assert_int_equal(nonces_new(bytes_of(secret, sizeof secret), &r->gateway.nonces, &e), 0);
	assert_int_equal(rule_limits_new(&r->gateway.rule_limits, &e), 0);
	verified = 0;
	return 0;
}

static int
teardown(void **state)
{
	struct rig *r = *state;

	nonces_free(r->gateway.nonces);
	rule_limits_free(r->gateway.rule_limits);
	return rig_teardown(state);
}

/* A request with this nonce in its evidence. */
static void
request_with(struct rig *r, struct bytes nonce)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen("P-256");
	CLEANUP(buf) struct buf attribute = { 0 };
	size_t whole, set, outer, list, one;

	whole = der_begin(&attribute, DER_SEQUENCE);
	der_put_oid(&attribute, EVIDENCE_OID);
	set = der_begin(&attribute, DER_SET);
	outer = der_begin(&attribute, DER_SEQUENCE);
	list = der_begin(&attribute, DER_SEQUENCE);
	one = der_begin(&attribute, DER_SEQUENCE);
	der_put_oid(&attribute, EVIDENCE_YUBIKEY);
	der_put(&attribute, DER_OCTET_STRING, nonce);
	der_end(&attribute, one);
	der_end(&attribute, list);
	der_end(&attribute, outer);
	der_end(&attribute, set);
	der_end(&attribute, whole);
	rig_csr(r, key, &attribute);
}

static void
request_fresh(struct rig *r)
{
	uint8_t nonce[NONCE_LEN];
	int64_t life_s;
	struct err e = { 0 };

	if (enroll_nonce(&r->gateway, r->world, r->request.label, r->request.now_s, nonce, &life_s, &e) != 0)
		fail_msg("%s", e.text);
	assert_int_equal(life_s, 300);
	request_with(r, bytes_of(nonce, sizeof nonce));
}

static void
approve(struct rig *r)
{
	struct err e = { 0 };

	if (store_sqlite.request_decide(r->gateway.store, r->result.request_id, true, "ok", "operator:test",
		    r->request.now_s, &e) != 0)
		fail_msg("%s", e.text);
}

static void
expect_denied(struct rig *r, const char *reason)
{
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.reason, reason);
}

static void
request_that_waits_is_not_judged_again(void **state)
{
	struct rig *r = *state;

	rig_label(r, "guarded");
	request_fresh(r);
	rig_expect(r, ERR_PENDING);
	assert_int_equal(verified, 1);
	r->request.now_s += DAY; /* its nonce ended long ago */
	rig_expect(r, ERR_PENDING);
	approve(r);
	rig_expect(r, ERR_NONE);
	assert_int_equal(verified, 1);
	r->request.now_s += DAY; /* the answer was lost */
	rig_expect(r, ERR_NONE);
	assert_true(r->result.replayed);
	r->request.now_s += 20 * DAY; /* past what evidence holds for */
	rig_expect(r, ERR_NONE);
	assert_true(r->result.replayed);
	assert_int_equal(verified, 1);
}

static void
request_that_waits_is_judged_again_by_another_policy(void **state)
{
	struct rig *r = *state;

	rig_label(r, "guarded");
	request_fresh(r);
	rig_expect(r, ERR_PENDING);
	approve(r);
	r->world->config->version[0] ^= 1;
	rig_expect(r, ERR_NONE);
	assert_int_equal(verified, 2);
}

static void
evidence_of_an_older_policy_ends_with_its_nonce(void **state)
{
	struct rig *r = *state;

	rig_label(r, "guarded");
	request_fresh(r);
	rig_expect(r, ERR_PENDING);
	approve(r);
	r->request.now_s += DAY; /* nor could it be judged again */
	r->world->config->version[0] ^= 1;
	expect_denied(r, "attestation.valid");
	assert_int_equal(verified, 2);
}

static void
evidence_of_a_request_that_waits_too_long_ends(void **state)
{
	struct rig *r = *state;

	rig_label(r, "guarded");
	request_fresh(r);
	rig_expect(r, ERR_PENDING);
	approve(r);
	r->request.now_s += r->world->config->approval_life_s + 1;
	expect_denied(r, "attestation.valid");
	assert_int_equal(verified, 2);
}

static void
nonce_past_its_life_is_refused(void **state)
{
	struct rig *r = *state;

	rig_label(r, "guarded");
	request_fresh(r);
	r->request.now_s += 301;
	expect_denied(r, "attestation.valid");
}

static void
nonce_is_taken_by_a_request_that_waits(void **state)
{
	struct rig *r = *state;
	uint8_t nonce[NONCE_LEN];
	struct err e = { 0 };

	rig_label(r, "guarded");
	assert_int_equal(nonce_make(r->gateway.nonces, "guarded", NOW, nonce, &e), 0);
	request_with(r, bytes_of(nonce, sizeof nonce));
	rig_expect(r, ERR_PENDING);
	request_with(r, bytes_of(nonce, sizeof nonce));
	expect_denied(r, "attestation.valid");
	assert_int_equal(rig_number(r, "SELECT count(*) FROM nonce"), 1);
}

static void
evidence_that_speaks_of_another_asset_is_refused(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen("P-256");
	struct rig *r = *state;
	X509 *mine = r->idevid, *other = rig_idevid(r, key, "SN2");

	rig_label(r, "guarded");
	r->request.client_cert = other;
	request_fresh(r);
	expect_denied(r, "attestation.valid");
	assert_non_null(strstr(r->result.sentence, "rtr-1"));
	r->request.client_cert = mine;
	X509_free(other);
}

static void
label_without_rules_for_evidence_gives_no_nonces_and_looks_at_none(void **state)
{
	struct rig *r = *state;
	uint8_t nonce[NONCE_LEN];
	int64_t life_s;
	struct err e = { 0 };

	assert_int_equal(enroll_nonce(&r->gateway, r->world, r->request.label, NOW, nonce, &life_s, &e), -1);
	assert_int_equal(e.code, ERR_UNSUPPORTED);
	request_with(r, bytes_of("whatever", 8));
	rig_expect(r, ERR_NONE);
	assert_int_equal(verified, 0);
}

static int
refuse_to_issue(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	(void)ca;
	(void)request;
	(void)out;
	return err_set(e, ERR_UPSTREAM, "the CA is away");
}

static void
limit_is_given_back_when_nothing_was_issued_and_a_replay_takes_none(void **state)
{
	struct rig *r = *state;

	rig_label(r, "anytime");
	request_fresh(r);
	r->ca_ops.issue = refuse_to_issue;
	rig_expect(r, ERR_UPSTREAM);
	r->ca_ops.issue = ca_builtin.issue;
	rig_expect(r, ERR_NONE);
	rig_expect(r, ERR_NONE);
	assert_true(r->result.replayed);
	request_fresh(r);
	expect_denied(r, "policy.rules");
	r->request.now_s += 2 * DAY;
	request_fresh(r);
	rig_expect(r, ERR_NONE);
}

static int
one_exception(struct store_read *read, const struct asset *asset, const char *label, int64_t now_s, struct exception *out,
	int max, struct err *e)
{
	(void)read;
	(void)asset;
	(void)label;
	(void)max;
	(void)e;
	out[0] = (struct exception){ .id = 0, .waives = EXCEPTION_RULES, .expires_s = now_s + DAY, .ticket = "CHG-2" };
	return 1;
}

static void
exception_from_the_rules_still_wants_the_evidence(void **state)
{
	struct rig *r = *state;

	rig_label(r, "anytime");
	request_fresh(r);
	rig_expect(r, ERR_NONE);
	r->ops.exceptions = one_exception;
	rig_new_csr(r);
	expect_denied(r, "attestation.present");
	request_fresh(r);
	rig_expect(r, ERR_NONE);
	assert_int_equal(verified, 2);
}

static int
nonce_store_is_away(struct store_read *read, const uint8_t sha256_[32], int64_t *id, struct err *e)
{
	(void)read;
	(void)sha256_;
	(void)id;
	return err_set(e, ERR_UPSTREAM, "disk on fire");
}

static void
nonce_that_cannot_be_looked_up_refuses_for_now(void **state)
{
	struct rig *r = *state;

	rig_label(r, "guarded");
	request_fresh(r);
	r->ops.nonce_request = nonce_store_is_away;
	rig_expect(r, ERR_UPSTREAM);
	r->ops.nonce_request = store_sqlite.nonce_request;
	rig_expect(r, ERR_PENDING);
}

static void
attestations_come_back_as_they_were_kept(void **state)
{
	struct attestation in[2] = { { .method = ATTEST_TPM, .key_bound = true, .fresh = true, .of_asset = true,
		.identity_required = true, .expires_s = NOW, .anchor_count = 1 }, { .method = ATTEST_MDM } }, out[2];
	CLEANUP(buf) struct buf json = { 0 };
	size_t count = 0;
	struct err e = { 0 };

	(void)state;
	(void)snprintf(in[0].attester, sizeof in[0].attester, "tpm");
	(void)snprintf(in[0].policy, sizeof in[0].policy, "v1");
	in[0].anchors[0] = (struct anchor){ .type = ANCHOR_EK_PUB_SHA256, .issuer = "tpm", .value = "ab\"cd" };
	(void)attest_check(&in[0], "tpm.nonce", true, "ok");
	attest_claim(&in[0], "tpm.maker", "Acme \"X\"");
	attest_conclude(&in[0]);
	(void)attest_check(&in[1], "mdm.challenge", false, "refused");
	attest_conclude(&in[1]);
	attestations_json(in, 2, &json);
	if (attestations_from_json(buf_bytes(&json), out, 2, &count, &e) != 0)
		fail_msg("%s: %s", e.text, buf_text(&json));
	assert_int_equal(count, 2);
	assert_true(out[0].valid && out[0].key_bound && out[0].fresh && out[0].of_asset && out[0].identity_required);
	assert_int_equal(out[0].expires_s, NOW);
	assert_string_equal(out[0].policy, "v1");
	assert_string_equal(out[0].anchors[0].value, "ab\"cd");
	assert_string_equal(out[0].claims[0].value, "Acme \"X\"");
	assert_false(out[1].valid);
	assert_non_null(strstr(out[1].checks[0].saw, "mdm.challenge: refused"));
	assert_int_equal(attestations_from_json(buf_bytes(&json), out, 1, &count, &e), -1);
	assert_int_equal(attestations_from_json(bytes_of_text("{}"), out, 2, &count, &e), -1);
	assert_int_equal(attestations_from_json(bytes_of_text("[{\"method\":\"psychic\"}]"), out, 2, &count, &e), -1);
}

static int
parse_question(const char *hex)
{
	CLEANUP(buf) struct buf nonce = { 0 };
	CLEANUP(buf) struct buf evidence = { 0 };
	uint8_t octets[64];
	size_t len = strlen(hex) / 2;
	struct err e = { 0 };
	int result;

	assert_int_equal(hex_decode(bytes_of_text(hex), octets, len, &e), 0);
	result = question_parse(bytes_of(octets, len), &nonce, &evidence, &e);
	if (result == 0)
		assert_int_equal(evidence.len, 2);
	else
		assert_int_equal(e.code, ERR_MALFORMED);
	return result;
}

static void
statement_for_a_verifier_is_two_octet_strings(void **state)
{
	(void)state;
	assert_int_equal(parse_question("30080402aabb0402ccdd"), 0);
	assert_int_equal(parse_question("30060400" "0402ccdd"), 0); /* the nonce is judged later */
	assert_int_equal(parse_question("30060402aabb0400"), -1);
	assert_int_equal(parse_question("30040402aabb"), -1);
	assert_int_equal(parse_question("300c0402aabb0402ccdd0402eeff"), -1);
	assert_int_equal(parse_question("30080402aabb0c026363"), -1);
	assert_int_equal(parse_question("30080402aabb0402ccdd00"), -1);
	assert_int_equal(parse_question("0402aabb"), -1);
	assert_int_equal(parse_question(""), -1);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RIG(request_that_waits_is_not_judged_again),
		WITH_RIG(request_that_waits_is_judged_again_by_another_policy),
		WITH_RIG(evidence_of_an_older_policy_ends_with_its_nonce),
		WITH_RIG(evidence_of_a_request_that_waits_too_long_ends),
		WITH_RIG(nonce_past_its_life_is_refused),
		WITH_RIG(nonce_is_taken_by_a_request_that_waits),
		WITH_RIG(evidence_that_speaks_of_another_asset_is_refused),
		WITH_RIG(label_without_rules_for_evidence_gives_no_nonces_and_looks_at_none),
		WITH_RIG(limit_is_given_back_when_nothing_was_issued_and_a_replay_takes_none),
		WITH_RIG(exception_from_the_rules_still_wants_the_evidence),
		WITH_RIG(nonce_that_cannot_be_looked_up_refuses_for_now),
		cmocka_unit_test(attestations_come_back_as_they_were_kept),
		cmocka_unit_test(statement_for_a_verifier_is_two_octet_strings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
