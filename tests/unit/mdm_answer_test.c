/* What services answer, as tables: every document that is not exactly right gives no verdict. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsontext.h"
#include "gateway/mdm/answer.h"

#define CHALLENGE "0123456789abcdefghij"

static struct err e;

static void
no_verdict(int rc, const struct mdm_verdict *verdict)
{
	static const struct mdm_verdict untouched = { .code = "untouched" };

	assert_int_equal(rc, -1);
	assert_int_equal(e.code, ERR_UPSTREAM);
	assert_memory_equal(verdict, &untouched, sizeof untouched);
	assert_null(strstr(e.text, CHALLENGE));
}

static void
intune_fails(struct bytes body)
{
	struct mdm_verdict verdict = { .code = "untouched" };

	no_verdict(mdm_answer_intune(body, CHALLENGE, &verdict, &e), &verdict);
}

static void
webhook_fails(struct bytes body)
{
	struct mdm_verdict verdict = { .code = "untouched" };

	no_verdict(mdm_answer_webhook(body, CHALLENGE, &verdict, &e), &verdict);
}

static void
answers_that_are_no_object_give_no_verdict(void **state)
{
	static const char *const bad[] = { "", " ", "null", "true", "\"Success\"", "[]", "{", "{]", "{\"code\":\"Success\"} {}",
		"{\"code\":\"Success\"", "{\"code\":\"Succ\\u0000ess\"}", "{\"code\":\"\xff\"}", "{\"code\":\"Success\",}",
		"{'code':'Success'}", "{\"code\":\"Success\",\"code\":\"Success\"}", "{\"allow\":true,\"allow\":true}",
		"{\"allow\":tru}", "\xef\xbb\xbf{\"allow\":true}", "{\"" CHALLENGE "\":" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		intune_fails(bytes_of_text(bad[i]));
		webhook_fails(bytes_of_text(bad[i]));
	}
	intune_fails(bytes_of("{\"code\":\"Success\"}\0", 19));
}

static void
nest(struct buf *out, size_t depth)
{
	size_t i;

	buf_append_text(out, "{\"allow\":true,\"code\":\"Success\",\"x\":");
	for (i = 1; i < depth; i++)
		buf_append_u8(out, '[');
	for (i = 1; i < depth; i++)
		buf_append_u8(out, ']');
	buf_append_text(out, depth > 1 ? "}" : "0}");
}

static void
answers_nested_too_deep_or_too_long_give_no_verdict(void **state)
{
	struct buf body = { 0 };
	struct mdm_verdict verdict;

	(void)state;
	nest(&body, JSON_DEPTH_MAX);
	assert_int_equal(mdm_answer_intune(buf_bytes(&body), NULL, &verdict, &e), 0);
	buf_clear(&body);
	nest(&body, JSON_DEPTH_MAX + 1);
	intune_fails(buf_bytes(&body));
	webhook_fails(buf_bytes(&body));
	assert_non_null(strstr(e.text, "deeper"));
	buf_clear(&body);
	buf_append_text(&body, "{\"code\":\"Success\",\"allow\":true,\"x\":\"[[[[[[[[[[[[[[[[[[[[[\\\"[[[\"}");
	assert_int_equal(mdm_answer_intune(buf_bytes(&body), NULL, &verdict, &e), 0);
	while (body.len <= MDM_ANSWER_MAX)
		buf_append_u8(&body, ' ');
	intune_fails(buf_bytes(&body));
	assert_non_null(strstr(e.text, "longer"));
	buf_free(&body);
}

static void
intune_codes_are_escaped_and_cut(void **state)
{
	struct mdm_verdict verdict;
	char body[600];

	(void)state;
	assert_int_equal(mdm_answer_intune(bytes_of_text("{\"code\":\"Success\",\"errorDescription\":null}"), NULL, &verdict, &e), 0);
	assert_true(verdict.allowed);
	assert_int_equal(mdm_answer_intune(bytes_of_text("{\"code\":\"a\\nb\\u202e\"}"), NULL, &verdict, &e), 0);
	assert_false(verdict.allowed);
	assert_string_equal(verdict.code, "a\\x0ab\\xe2\\x80\\xae");
	(void)snprintf(body, sizeof body, "{\"code\":\"Success%0400d\",\"errorDescription\":\"%0100d\"}", 0, 0);
	assert_int_equal(mdm_answer_intune(bytes_of_text(body), NULL, &verdict, &e), 0);
	assert_false(verdict.allowed);
	assert_int_equal(strlen(verdict.code), MDM_CODE_MAX - 1);
	intune_fails(bytes_of_text("{\"code\":\"Success\",\"errorDescription\":{}}"));
	intune_fails(bytes_of_text("{\"code\":null}"));
	intune_fails(bytes_of_text("{\"Code\":\"Success\"}"));
}

static void
webhook_fields_of_other_types_give_no_verdict(void **state)
{
	static const char *const bad[] = { "{\"allow\":null}", "{\"allow\":\"true\"}", "{\"allow\":1}", "{\"allow\":[true]}",
		"{\"Allow\":true}", "{\"data\":{}}", "{\"allow\":true,\"data\":[]}", "{\"allow\":true,\"data\":\"x\"}",
		"{\"allow\":true,\"data\":{\"device\":7}}", "{\"allow\":true,\"error\":{}}", "{\"allow\":true,\"error\":\"x\"}",
		"{\"allow\":false,\"error\":\"x\"}", "{\"allow\":false,\"error\":{\"code\":7}}", "{\"allow\":false,\"error\":{\"message\":[]}}" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
		webhook_fails(bytes_of_text(bad[i]));
}

static void
webhook_devices_are_taken_whole_or_not_at_all(void **state)
{
	struct mdm_verdict verdict;
	char body[400];

	(void)state;
	(void)snprintf(body, sizeof body, "{\"allow\":true,\"data\":{\"device\":\"%0*d\"},\"error\":null}", MDM_DEVICE_MAX - 1, 0);
	assert_int_equal(mdm_answer_webhook(bytes_of_text(body), CHALLENGE, &verdict, &e), 0);
	assert_int_equal(strlen(verdict.device), MDM_DEVICE_MAX - 1);
	(void)snprintf(body, sizeof body, "{\"allow\":true,\"data\":{\"device\":\"%0*d\"}}", MDM_DEVICE_MAX, 0);
	webhook_fails(bytes_of_text(body));
	webhook_fails(bytes_of_text("{\"allow\":true,\"data\":{\"device\":\"\"}}"));
	webhook_fails(bytes_of_text("{\"allow\":true,\"data\":{\"device\":\"a\\nb\"}}"));
	webhook_fails(bytes_of_text("{\"allow\":true,\"data\":{\"device\":\"x" CHALLENGE "\"}}"));
	assert_int_equal(mdm_answer_webhook(bytes_of_text("{\"allow\":true,\"data\":null}"), CHALLENGE, &verdict, &e), 0);
	assert_string_equal(verdict.device, "");
	/* A short challenge inside a longer id is chance; the id itself is not. */
	assert_int_equal(mdm_answer_webhook(bytes_of_text("{\"allow\":true,\"data\":{\"device\":\"SN-12\"}}"), "12", &verdict, &e), 0);
	assert_int_equal(mdm_answer_webhook(bytes_of_text("{\"allow\":true,\"data\":{\"device\":\"12\"}}"), "12", &verdict, &e), -1);
}

static void
texts_that_repeat_a_part_of_the_challenge_are_withheld(void **state)
{
	struct mdm_verdict verdict;

	(void)state;
	assert_int_equal(mdm_answer_webhook(bytes_of_text("{\"allow\":false,\"error\":{\"code\":\"no\",\"message\":\"abcdefgh-ij\"}}"),
		CHALLENGE, &verdict, &e), 0);
	assert_string_equal(verdict.text, "abcdefgh-ij");
	assert_int_equal(mdm_answer_webhook(bytes_of_text("{\"allow\":false,\"error\":{\"code\":\"456789abcdef\",\"message\":\"..9abcdefghij\"}}"),
		CHALLENGE, &verdict, &e), 0);
	assert_string_equal(verdict.code, "(withheld)");
	assert_string_equal(verdict.text, "..9abcdefghij");
	assert_int_equal(mdm_answer_intune(bytes_of_text("{\"code\":\"no\",\"errorDescription\":\"..89abcdefghij\"}"), CHALLENGE,
		&verdict, &e), 0);
	assert_string_equal(verdict.text, "(withheld)");
	assert_int_equal(mdm_answer_intune(bytes_of_text("{\"code\":\"no\",\"errorDescription\":\"pw is pw1\"}"), "pw1", &verdict, &e), 0);
	assert_string_equal(verdict.text, "(withheld)");
}

static void
token_lifetimes_come_as_numbers_strings_or_not_at_all(void **state)
{
	static const struct {
		const char *expires;
		int64_t lifetime_s; /* -1: refused */
	} cases[] = { { "", MDM_TOKEN_S }, { ",\"expires_in\":3599", 3599 }, { ",\"expires_in\":\"3599\"", 3599 },
		{ ",\"expires_in\":0", 0 }, { ",\"expires_in\":99999999999", MDM_TOKEN_S_MAX }, { ",\"expires_in\":null", MDM_TOKEN_S },
		{ ",\"expires_in\":-1", -1 }, { ",\"expires_in\":\"\"", -1 }, { ",\"expires_in\":\"1e3\"", -1 },
		{ ",\"expires_in\":\"1234567890\"", -1 }, { ",\"expires_in\":1.5", -1 }, { ",\"expires_in\":true", -1 },
		{ ",\"expires_in\":99999999999999999999", -1 } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf token = { 0 };
		int64_t lifetime_s = -7;
		char body[200];
		int rc;

		(void)snprintf(body, sizeof body, "{\"token_type\":\"Bearer\",\"access_token\":\"abc\"%s}", cases[i].expires);
		rc = mdm_answer_token(bytes_of_text(body), &token, &lifetime_s, &e);
		assert_int_equal(rc, cases[i].lifetime_s < 0 ? -1 : 0);
		assert_int_equal(lifetime_s, cases[i].lifetime_s < 0 ? -7 : cases[i].lifetime_s);
		assert_string_equal(buf_text(&token), rc == 0 ? "abc" : "");
		buf_free(&token);
	}
}

static void
tokens_that_no_header_can_hold_are_refused(void **state)
{
	static const char *const bad[] = { "\"\"", "\"a b\"", "\"a\\r\\nb\"", "\"\xc3\xa4\"", "7", "null", "\"a\\u007f\"" };
	struct buf token = { 0 };
	struct buf body = { 0 };
	int64_t lifetime_s;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		buf_clear(&body);
		buf_printf(&body, "{\"token_type\":\"Bearer\",\"access_token\":%s}", bad[i]);
		assert_int_equal(mdm_answer_token(buf_bytes(&body), &token, &lifetime_s, &e), -1);
	}
	buf_clear(&body);
	buf_printf(&body, "{\"token_type\":\"Bearer\",\"access_token\":\"%0*d\"}", MDM_TOKEN_MAX + 1, 0);
	assert_int_equal(mdm_answer_token(buf_bytes(&body), &token, &lifetime_s, &e), -1);
	assert_int_equal(token.len, 0);
	buf_free(&body);
}

static void
endpoints_outside_the_domain_are_refused(void **state)
{
	static const struct {
		const char *uri;
		bool good;
	} cases[] = {
		{ "https://fef.msua01.manage.microsoft.com/Svc/", true },
		{ "https://MANAGE.microsoft.com", true },
		{ "https://evilmanage.microsoft.com/", false },
		{ "https://manage.microsoft.com.evil.example/", false },
		{ "https://manage.microsoft.com@evil.example/", false },
		{ "https://evil.example/manage.microsoft.com", false },
		{ "https://evil.example#manage.microsoft.com", false },
		{ "https://evil.example?.manage.microsoft.com", false },
		{ "https://fef.manage.microsoft.com/?x=", false },
		{ "http://fef.manage.microsoft.com/", false },
		{ "//fef.manage.microsoft.com/", false },
		{ "https://", false },
		{ "", false },
		{ "https://fef.manage.microsoft.com\\u000a/", false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf out = { 0 };
		char body[300];

		(void)snprintf(body, sizeof body, "{\"value\":[7,{\"providerName\":\"ScepRequestValidationFEService\",\"uri\":\"%s\"}]}",
			cases[i].uri);
		if ((mdm_answer_endpoint(bytes_of_text(body), "manage.microsoft.com", false, &out, &e) == 0) != cases[i].good)
			fail_msg("%s", cases[i].uri);
		assert_true(out.len == 0 || out.at[out.len - 1] != '/');
		assert_int_equal(out.len != 0, cases[i].good);
		buf_free(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_that_are_no_object_give_no_verdict),
		cmocka_unit_test(answers_nested_too_deep_or_too_long_give_no_verdict),
		cmocka_unit_test(intune_codes_are_escaped_and_cut),
		cmocka_unit_test(webhook_fields_of_other_types_give_no_verdict),
		cmocka_unit_test(webhook_devices_are_taken_whole_or_not_at_all),
		cmocka_unit_test(texts_that_repeat_a_part_of_the_challenge_are_withheld),
		cmocka_unit_test(token_lifetimes_come_as_numbers_strings_or_not_at_all),
		cmocka_unit_test(tokens_that_no_header_can_hold_are_refused),
		cmocka_unit_test(endpoints_outside_the_domain_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
