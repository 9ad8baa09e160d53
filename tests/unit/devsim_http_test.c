#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "devsim/http.h"

static void
http_answer_auto(struct http_answer *answer)
{
	http_answer_free(answer);
}

/* Feeds the text in pieces of this size; returns what the last feed said. */
static int
feed(struct http_answer *answer, const char *text, size_t piece, size_t *used, struct err *e)
{
	size_t len = strlen(text), at = 0, n;

	*used = 0;
	while (at < len && answer->state != HTTP_DONE) {
		if (http_answer_feed(answer, bytes_of(text + at, len - at < piece ? len - at : piece), &n, e) != 0)
			return -1;
		at += n;
		*used += n;
	}
	return 0;
}

static void
assert_answer(const char *text, int status, const char *body, bool keep_alive, size_t left_over)
{
	size_t piece;

	for (piece = 1; piece <= 64; piece++) {
		CLEANUP(http_answer) struct http_answer answer = { 0 };
		struct err e = { 0 };
		size_t used;

		assert_int_equal(feed(&answer, text, piece, &used, &e), 0);
		assert_int_equal(answer.state, HTTP_DONE);
		assert_int_equal(answer.status, status);
		assert_string_equal(buf_text(&answer.body), body);
		assert_int_equal(answer.keep_alive, keep_alive);
		assert_int_equal(strlen(text) - used, left_over);
	}
}

static void
http_reads_a_body_by_its_length_in_any_pieces(void **state)
{
	(void)state;
	assert_answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1", 200, "hello", true, 8);
	assert_answer("HTTP/1.1 202 Accepted\ncontent-length: 0\n\n", 202, "", true, 0);
	assert_answer("HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", 403, "no", false, 0);
	assert_answer("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", false, 0);
	assert_answer("HTTP/1.1 204 Nothing\r\n\r\n", 204, "", true, 0);
}

static void
http_reads_chunks_with_extensions_and_trailers(void **state)
{
	(void)state;
	assert_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		"4\r\nWiki\r\n6;name=value\r\npedia \r\nB\r\nin chunks.\n\r\n0\r\nX-Trailer: 1\r\n\r\n",
		200, "Wikipedia in chunks.\n", true, 0);
}

static void
http_skips_interim_answers(void **state)
{
	(void)state;
	assert_answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, "x", true, 0);
}

static void
http_reads_to_the_end_without_a_length(void **state)
{
	CLEANUP(http_answer) struct http_answer answer = { 0 };
	struct err e = { 0 };
	size_t used;

	(void)state;
	assert_int_equal(feed(&answer, "HTTP/1.1 200 OK\r\n\r\nall of it", 4, &used, &e), 0);
	assert_int_equal(answer.state, HTTP_BODY_CLOSE);
	assert_int_equal(http_answer_end(&answer, &e), 0);
	assert_string_equal(buf_text(&answer.body), "all of it");
	assert_false(answer.keep_alive);
}

static void
assert_refused(const char *text, enum err_code code)
{
	CLEANUP(http_answer) struct http_answer answer = { 0 };
	struct err e = { 0 };
	size_t used;
	int rc = feed(&answer, text, 16, &used, &e);

	if (rc == 0)
		rc = http_answer_end(&answer, &e);
	assert_int_equal(rc, -1);
	assert_int_equal(e.code, code);
}

static void
http_refuses_what_is_not_an_answer(void **state)
{
	(void)state;
	assert_refused("SSH-2.0-OpenSSH_9.2p1\r\n\r\n", ERR_MALFORMED);
	assert_refused("HTTP/1.1 20 OK\r\n\r\n", ERR_MALFORMED);
	assert_refused("HTTP/1.1 999 OK\r\n\r\n", ERR_MALFORMED);
	assert_refused("HTTP/1.1 200 OK\r\nContent-Length: 5abc\r\n\r\n", ERR_MALFORMED);
	assert_refused("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", ERR_MALFORMED);
	assert_refused("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", ERR_LIMIT);
	assert_refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", ERR_MALFORMED);
	assert_refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", ERR_MALFORMED);
	assert_refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", ERR_MALFORMED);
	assert_refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n", ERR_MALFORMED);
	assert_refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n", ERR_LIMIT);
	assert_refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nffffffffffffffff\r\n", ERR_LIMIT);
	assert_refused("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", ERR_MALFORMED);
}

static void
http_limits_the_head(void **state)
{
	CLEANUP(http_answer) struct http_answer answer = { 0 };
	static char line[1001];
	struct err e = { 0 };
	size_t used, i;
	int rc = 0;

	(void)state;
	memset(line, 'a', 1000);
	for (i = 0; i < HTTP_HEAD_MAX / 1000 + 1 && rc == 0; i++)
		rc = http_answer_feed(&answer, bytes_of_text(line), &used, &e);
	assert_int_equal(rc, -1);
	assert_int_equal(e.code, ERR_LIMIT);
}

static void
http_finds_fields_whatever_their_case(void **state)
{
	CLEANUP(http_answer) struct http_answer answer = { 0 };
	struct err e = { 0 };
	size_t used;

	(void)state;
	assert_int_equal(feed(&answer, "HTTP/1.1 202 A\r\nretry-AFTER:  120 \r\nX-Retry-After: 7\r\n"
		"Content-Length: 0\r\n\r\n", 99, &used, &e), 0);
	assert_true(bytes_equal_text(http_field(&answer, "Retry-After"), "120"));
	assert_int_equal(http_field(&answer, "Retry").len, 0);
	assert_int_equal(http_retry_after_s(&answer, 0), 120);
}

static int64_t
retry_after(const char *value, int64_t now_s)
{
	CLEANUP(http_answer) struct http_answer answer = { 0 };

	buf_printf(&answer.head, "HTTP/1.1 202 A\r\nRetry-After: %s\r\n\r\n", value);
	return http_retry_after_s(&answer, now_s);
}

static void
http_retry_after_may_be_a_date(void **state)
{
	(void)state;
	assert_int_equal(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784111777 - 60), 60);
	assert_int_equal(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784111777 + 60), 0);
	assert_int_equal(retry_after("soon", 0), -1);
	assert_int_equal(retry_after("-5", 0), -1);
}

static void
http_media_types_have_parameters(void **state)
{
	struct bytes type = bytes_of_text("Multipart/Mixed ; x=1; boundary=\"a;b c\"");
	char value[16];

	(void)state;
	assert_true(http_type_is(type, "multipart/mixed"));
	assert_false(http_type_is(type, "multipart/mix"));
	assert_true(http_parameter(type, "boundary", value, sizeof value));
	assert_string_equal(value, "a;b c");
	assert_false(http_parameter(type, "bound", value, sizeof value));
	assert_false(http_parameter(type, "boundary", value, 4));
	assert_false(http_parameter(bytes_of(NULL, 0), "boundary", value, sizeof value));
}

static void
http_answer_can_be_read_again_after_clear(void **state)
{
	CLEANUP(http_answer) struct http_answer answer = { 0 };
	struct err e = { 0 };
	size_t used;

	(void)state;
	assert_int_equal(feed(&answer, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", 99, &used, &e), 0);
	http_answer_clear(&answer);
	assert_int_equal(feed(&answer, "HTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nb", 99, &used, &e), 0);
	assert_int_equal(answer.status, 404);
	assert_string_equal(buf_text(&answer.body), "b");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(http_reads_a_body_by_its_length_in_any_pieces),
		cmocka_unit_test(http_reads_chunks_with_extensions_and_trailers),
		cmocka_unit_test(http_skips_interim_answers),
		cmocka_unit_test(http_reads_to_the_end_without_a_length),
		cmocka_unit_test(http_refuses_what_is_not_an_answer),
		cmocka_unit_test(http_limits_the_head),
		cmocka_unit_test(http_finds_fields_whatever_their_case),
		cmocka_unit_test(http_retry_after_may_be_a_date),
		cmocka_unit_test(http_media_types_have_parameters),
		cmocka_unit_test(http_answer_can_be_read_again_after_clear),
	};

	return cmocka_run_group_tests_name("devsim/http", tests, NULL, NULL);
}
