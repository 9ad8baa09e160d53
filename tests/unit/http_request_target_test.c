#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "gateway/http/request.h"

static void
append_times(struct buf *text, const char *piece, size_t times)
{
	while (times-- > 0)
		buf_append_text(text, piece);
}

static bool
is_scep(struct bytes path)
{
	return bytes_equal_text(path, "/scep");
}

static size_t
target_limit(const char *begin, size_t query_len)
{
	CLEANUP(buf) struct buf text = { 0 };

	buf_append_text(&text, begin);
	append_times(&text, "q", query_len);
	return http_target_limit(buf_bytes(&text), is_scep);
}

static void
http_request_targets_are_long_on_known_paths_only(void **state)
{
	static const char *const usual[] = { "POST /scep?", "HEAD /scep?", "GET /scepx?", "GET /a?/scep?", "GET scep?",
		"GET http://a/b?/scep?", "GET /scep", "GET /scep? HTTP/1.1\r\nX: ", "GET", " GET /scep?", "\r\nPOST /scep?",
		"GET /scep%3F", "GET ftp://a/scep?", "GET /scep#?" };
	static const char *const longer[] = { "GET /scep?", "\r\nGET /scep?", "GET http://a/scep?", "GET HTTPS://[::1]:80/scep?" };
	CLEANUP(buf) struct buf far = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof usual / sizeof usual[0]; i++)
		if (target_limit(usual[i], 5000) != HTTP_TARGET_MAX)
			fail_msg("long: %s", usual[i]);
	for (i = 0; i < sizeof longer / sizeof longer[0]; i++)
		if (target_limit(longer[i], 5000) != HTTP_TARGET_LONG_MAX)
			fail_msg("not long: %s", longer[i]);
	assert_int_equal(http_target_limit(bytes_of_text("GET /scep?q"), NULL), HTTP_TARGET_MAX);
	buf_append_text(&far, "GET http://");
	append_times(&far, "a", HTTP_TARGET_MAX);
	buf_append_text(&far, "/scep?");
	assert_int_equal(http_target_limit(buf_bytes(&far), is_scep), HTTP_TARGET_MAX);
}

static void
http_request_target_limit_holds_to_the_octet(void **state)
{
	CLEANUP(buf) struct buf text = { 0 };
	struct http_refusal refusal = { 0 };
	struct http_request request;

	(void)state;
	buf_append_text(&text, "GET /scep?");
	append_times(&text, "q", HTTP_TARGET_LONG_MAX - strlen("/scep?"));
	buf_append_text(&text, " HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(http_head_parse(buf_bytes(&text), HTTP_TARGET_LONG_MAX, 0, &request, &refusal), 0);
	assert_int_equal(request.target.len, HTTP_TARGET_LONG_MAX);
	assert_int_equal(http_head_parse(buf_bytes(&text), HTTP_TARGET_LONG_MAX - 1, 0, &request, &refusal), -1);
	assert_int_equal(refusal.status, 414);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(http_request_targets_are_long_on_known_paths_only),
		cmocka_unit_test(http_request_target_limit_holds_to_the_octet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
