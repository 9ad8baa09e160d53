#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/ear_make.h"

#define HEADER(alg) "{\"alg\":\"" alg "\",\"typ\":\"JWT\"}"

static EVP_PKEY *key, *other;
static const struct bytes nonce = { (const uint8_t *)"0123456789abcdef", 16 };
static const struct bytes spki = { (const uint8_t *)"the request's key", 17 };
static struct attestation got;

static struct ear_settings
settings_of(EVP_PKEY *pinned)
{
	struct ear_settings s = { .name = "lab", .keys = { pinned }, .key_count = 1, .worst = EAR_AFFIRMING };

	return s;
}

static void
judge(const struct ear_settings *settings, struct bytes token)
{
	struct err e = { 0 };

	if (ear_verify(settings, token, nonce, spki, EAR_NOW, &got, &e) != 0)
		fail_msg("%s", e.text);
}

static void
judge_payload(const struct ear_settings *settings, const char *payload)
{
	struct buf token = { 0 };

	ear_token(key, "ES256", HEADER("ES256"), payload, &token);
	judge(settings, buf_bytes(&token));
	buf_free(&token);
}

/* Only this check failed. */
static void
assert_only(const char *name)
{
	size_t i;

	assert_false(got.valid);
	assert_non_null(check_of(&got, name));
	for (i = 0; i < got.check_count; i++)
		if (got.checks[i].passed != (strcmp(got.checks[i].name, name) != 0))
			fail_msg("%s: passed is %d (%s)", got.checks[i].name, got.checks[i].passed, got.checks[i].saw);
}

static void
ear_takes_a_result_of_now_for_this_key(void **state)
{
	struct ear_settings s = settings_of(key);
	char payload[1024];

	(void)state;
	(void)snprintf(s.identity_claim, sizeof s.identity_claim, "%s",
		"submods.board.ear.veraison.annotated-evidence.instance-id");
	s.identity_anchor = ANCHOR_IDEVID_SERIAL;
	ear_payload(nonce, spki, EAR_NOW - 5, "\"affirming\"", payload, sizeof payload);
	judge_payload(&s, payload);
	assert_true(got.valid && got.fresh && got.key_bound);
	assert_int_equal(got.method, ATTEST_EAR);
	assert_string_equal(got.attester, "lab");
	assert_int_equal(got.anchor_count, 1);
	assert_string_equal(got.anchors[0].issuer, "lab");
	assert_string_equal(got.anchors[0].value, "SN-7");
	assert_int_equal(got.claim_count, 1);
	assert_string_equal(got.claims[0].name, "ear.board");
	assert_string_equal(got.claims[0].value, "affirming");
	assert_int_equal(got.expires_s, EAR_NOW - 5 + 600);
}

/* Nothing that a failed result says of key, time or device is there for anybody to build on. */
static void
ear_that_failed_says_nothing(void **state)
{
	struct ear_settings s = settings_of(key);
	char payload[1024];

	(void)state;
	(void)snprintf(s.identity_claim, sizeof s.identity_claim, "%s",
		"submods.board.ear.veraison.annotated-evidence.instance-id");
	s.identity_anchor = ANCHOR_IDEVID_SERIAL;
	ear_payload(nonce, spki, EAR_NOW - 5, "\"contraindicated\"", payload, sizeof payload);
	judge_payload(&s, payload);
	assert_only("ear.status");
	assert_false(got.fresh || got.key_bound);
	assert_int_equal(got.anchor_count, 0);
}

static void
ear_takes_every_algorithm_of_the_pinned_keys(void **state)
{
	static const struct { const char *algorithm, *header; int kind; } all[] = {
		{ "ES256", HEADER("ES256"), 0 }, { "ES384", HEADER("ES384"), 1 }, { "EdDSA", HEADER("EdDSA"), 2 },
		{ "RS256", HEADER("RS256"), 3 }, { "RS384", HEADER("RS384"), 3 }, { "PS256", HEADER("PS256"), 3 },
		{ "PS384", HEADER("PS384"), 3 },
	};
	EVP_PKEY *keys[4] = { EVP_EC_gen("P-256"), EVP_EC_gen("P-384"), EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"),
		EVP_RSA_gen(2048) };
	char payload[1024];
	size_t i;

	(void)state;
	ear_payload(nonce, spki, EAR_NOW, "2", payload, sizeof payload);
	for (i = 0; i < sizeof all / sizeof all[0]; i++) {
		struct ear_settings s = settings_of(keys[all[i].kind]);
		struct buf token = { 0 };

		ear_token(keys[all[i].kind], all[i].algorithm, all[i].header, payload, &token);
		judge(&s, buf_bytes(&token));
		if (!got.valid)
			fail_msg("%s: %s", all[i].algorithm, got.checks[0].saw);
		buf_free(&token);
	}
	for (i = 0; i < 4; i++)
		EVP_PKEY_free(keys[i]);
}

static void
ear_refuses_a_result_that_no_pinned_key_signed(void **state)
{
	struct ear_settings s = settings_of(other);
	char payload[1024];

	(void)state;
	ear_payload(nonce, spki, EAR_NOW, "2", payload, sizeof payload);
	judge_payload(&s, payload);
	assert_only("ear.signature");
	s.key_count = 0;
	judge_payload(&s, payload);
	assert_only("ear.algorithm");
}

/* RFC 8725, section 3.1: "Libraries MUST enable the caller to specify a supported set of algorithms and MUST NOT use any other". */
static void
ear_refuses_algorithms_that_the_pinned_key_does_not_have(void **state)
{
	static const char *const headers[] = { HEADER("none"), HEADER("HS256"), HEADER("ES384"), HEADER("RS256"),
		HEADER("ES256K"), HEADER("es256"), "{\"typ\":\"JWT\"}", "{\"alg\":5}" };
	struct ear_settings s = settings_of(key);
	char payload[1024];
	size_t i;

	(void)state;
	ear_payload(nonce, spki, EAR_NOW, "2", payload, sizeof payload);
	for (i = 0; i < sizeof headers / sizeof headers[0]; i++) {
		struct buf token = { 0 };

		ear_token(key, "ES256", headers[i], payload, &token);
		judge(&s, buf_bytes(&token));
		/* ES384 with a P-256 signature has the wrong length for its own reasons. */
		if (got.valid || (check_of(&got, "ear.algorithm") == NULL && check_of(&got, "ear.signature") == NULL))
			fail_msg("%s", headers[i]);
		buf_free(&token);
	}
}

static void
ear_refuses_what_is_no_token(void **state)
{
	static const char *const bad[] = { "", ".", "..", "a.b", "e30.e30", "e30..e30", "e30.e30.", "!.e30.e30",
		"e30=.e30.AA", "W10.e30.AA", "eyJhbGciOiJFUzI1NiIsImNyaXQiOlsiYjY0Il19.e30.AA" };
	struct ear_settings s = settings_of(key);
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		judge(&s, bytes_of_text(bad[i]));
		if (got.valid || got.check_count != 1)
			fail_msg("\"%s\": %zu checks", bad[i], got.check_count);
	}
}

static void
ear_refuses_a_payload_that_says_a_claim_twice(void **state)
{
	struct ear_settings s = settings_of(key);

	(void)state;
	judge_payload(&s, "{\"iat\":1,\"iat\":2}");
	assert_only("ear.form");
	judge_payload(&s, "[]");
	assert_only("ear.form");
}

static void
ear_refuses_another_nonce_and_another_key(void **state)
{
	struct ear_settings s = settings_of(key);
	struct bytes older = { (const uint8_t *)"fedcba9876543210", 16 }, thief = { (const uint8_t *)"another key", 11 };
	char payload[1024];

	(void)state;
	ear_payload(older, spki, EAR_NOW, "2", payload, sizeof payload);
	judge_payload(&s, payload);
	assert_false(got.valid || got.fresh || got.key_bound);
	assert_false(check_of(&got, "ear.nonce")->passed);
	ear_payload(nonce, thief, EAR_NOW, "2", payload, sizeof payload);
	judge_payload(&s, payload);
	assert_false(got.valid || got.fresh || got.key_bound);
	assert_false(check_of(&got, "ear.key")->passed);
}

/* An empty nonce is never accepted implicitly: not even by a token that has none either. */
static void
ear_never_passes_without_a_nonce_of_ours(void **state)
{
	struct ear_settings s = settings_of(key);
	struct buf token = { 0 };
	struct err e = { 0 };
	char payload[256];

	(void)state;
	(void)snprintf(payload, sizeof payload, "{\"iat\":%d,\"submods\":{\"a\":{\"ear.status\":2}}}", EAR_NOW);
	ear_token(key, "ES256", HEADER("ES256"), payload, &token);
	assert_int_equal(ear_verify(&s, buf_bytes(&token), bytes_of(NULL, 0), spki, EAR_NOW, &got, &e), 0);
	assert_only("ear.nonce");
	judge(&s, buf_bytes(&token));
	assert_false(got.valid || got.fresh);
	buf_free(&token);
}

static void
ear_refuses_a_result_that_is_old_early_or_ended(void **state)
{
	struct ear_settings s = settings_of(key);
	char payload[1024];

	(void)state;
	ear_payload(nonce, spki, EAR_NOW - 301, "2", payload, sizeof payload);
	judge_payload(&s, payload);
	assert_only("ear.issued");
	ear_payload(nonce, spki, EAR_NOW + 61, "2", payload, sizeof payload);
	judge_payload(&s, payload);
	assert_only("ear.issued");
	s.age_max_s = 3600;
	ear_payload(nonce, spki, EAR_NOW - 600, "2", payload, sizeof payload);
	judge_payload(&s, payload);
	assert_only("ear.expires");
	ear_payload(nonce, spki, EAR_NOW - 599, "2", payload, sizeof payload);
	judge_payload(&s, payload);
	assert_true(got.valid);
}

static void
ear_refuses_another_issuer(void **state)
{
	struct ear_settings s = settings_of(key);
	char payload[1024];

	(void)state;
	ear_payload(nonce, spki, EAR_NOW, "2", payload, sizeof payload);
	(void)snprintf(s.issuer, sizeof s.issuer, "somebody");
	judge_payload(&s, payload);
	assert_only("ear.issuer");
	(void)snprintf(s.issuer, sizeof s.issuer, "verifier");
	judge_payload(&s, payload);
	assert_true(got.valid);
}

static void
ear_takes_no_status_but_the_ones_asked_for(void **state)
{
	static const struct { const char *status; bool strict, lenient; } all[] = {
		{ "2", true, true }, { "\"affirming\"", true, true }, { "32", false, true }, { "\"warning\"", false, true },
		{ "96", false, false }, { "\"contraindicated\"", false, false }, { "0", false, false },
		{ "\"none\"", false, false }, { "3", false, false }, { "null", false, false }, { "true", false, false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof all / sizeof all[0]; i++) {
		struct ear_settings s = settings_of(key);
		char payload[1024];

		ear_payload(nonce, spki, EAR_NOW, all[i].status, payload, sizeof payload);
		judge_payload(&s, payload);
		assert_int_equal(got.valid, all[i].strict);
		s.worst = EAR_WARNING;
		judge_payload(&s, payload);
		if (got.valid != all[i].lenient)
			fail_msg("%s", all[i].status);
	}
}

static void
ear_wants_each_submod_that_is_named(void **state)
{
	struct ear_settings s = settings_of(key);
	char payload[1024];

	(void)state;
	s.submod_count = 1;
	(void)snprintf(s.submods[0], sizeof s.submods[0], "firmware");
	ear_payload(nonce, spki, EAR_NOW, "2", payload, sizeof payload);
	judge_payload(&s, payload);
	assert_only("ear.status");
	(void)snprintf(s.submods[0], sizeof s.submods[0], "board");
	judge_payload(&s, payload);
	assert_true(got.valid);
}

static void
ear_never_passes_a_token_with_one_octet_changed(void **state)
{
	struct ear_settings s = settings_of(key);
	struct buf token = { 0 };
	char payload[1024];
	size_t i;

	(void)state;
	ear_payload(nonce, spki, EAR_NOW, "2", payload, sizeof payload);
	ear_token(key, "ES256", HEADER("ES256"), payload, &token);
	for (i = 0; i < token.len; i++) {
		uint8_t was = token.at[i];

		token.at[i] = was == 'A' ? 'B' : 'A';
		judge(&s, buf_bytes(&token));
		if (got.valid)
			fail_msg("octet %zu", i);
		token.at[i] = was;
	}
	judge(&s, buf_bytes(&token));
	assert_true(got.valid);
	buf_free(&token);
}

static int
make_keys(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(ossl_init(&e), 0);
	key = EVP_EC_gen("P-256");
	other = EVP_EC_gen("P-256");
	return key == NULL || other == NULL;
}

static int
free_keys(void **state)
{
	(void)state;
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ear_takes_a_result_of_now_for_this_key),
		cmocka_unit_test(ear_that_failed_says_nothing),
		cmocka_unit_test(ear_takes_every_algorithm_of_the_pinned_keys),
		cmocka_unit_test(ear_refuses_a_result_that_no_pinned_key_signed),
		cmocka_unit_test(ear_refuses_algorithms_that_the_pinned_key_does_not_have),
		cmocka_unit_test(ear_refuses_what_is_no_token),
		cmocka_unit_test(ear_refuses_a_payload_that_says_a_claim_twice),
		cmocka_unit_test(ear_refuses_another_nonce_and_another_key),
		cmocka_unit_test(ear_never_passes_without_a_nonce_of_ours),
		cmocka_unit_test(ear_refuses_a_result_that_is_old_early_or_ended),
		cmocka_unit_test(ear_refuses_another_issuer),
		cmocka_unit_test(ear_takes_no_status_but_the_ones_asked_for),
		cmocka_unit_test(ear_wants_each_submod_that_is_named),
		cmocka_unit_test(ear_never_passes_a_token_with_one_octet_changed),
	};

	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
