#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "gateway/http/answer.h"
#include "gateway/http/request.h"

#define BODY_MAX 64
#define HEAD_LIMIT 8192

/* Scan and parse a whole head; the status of its refusal, or 0. */
static int
parse(const char *text, struct http_request *out)
{
	struct http_refusal refusal = { 0 };
	size_t scanned = 0, head_len = 0;
	int found = http_head_scan(bytes_of_text(text), HEAD_LIMIT, &scanned, &head_len, &refusal);

	if (found < 0)
		return refusal.status;
	if (found == 0)
		return -1;
	if (http_head_parse(bytes_of(text, head_len), HTTP_TARGET_MAX, BODY_MAX, out, &refusal) != 0)
		return refusal.status;
	return 0;
}

static void
assert_refused(int status, const char *text)
{
	struct http_request request;
	int got = parse(text, &request);

	if (got != status)
		fail_msg("%d instead of %d for: %s", got, status, text);
}

static void
assert_bytes(struct bytes got, const char *expected)
{
	if (!bytes_equal_text(got, expected))
		fail_msg("\"%.*s\" instead of \"%s\"", (int)got.len, (const char *)got.at, expected);
}

static void
assert_rebuilt(const char *text, const char *expected)
{
	CLEANUP(buf) struct buf out = { 0 };
	struct http_request request;
	size_t line_len = 0;

	assert_int_equal(parse(text, &request), 0);
	http_request_rebuild(&request, &out, &line_len);
	assert_string_equal(buf_text(&out), expected);
	assert_int_equal(line_len, strstr(expected, "\r\n") + 2 - expected);
}

static void
http_request_reads_a_plain_post(void **state)
{
	struct http_request request;

	(void)state;
	assert_int_equal(parse("POST /.well-known/est/simpleenroll?a=%2B HTTP/1.1\r\nHost: est.example:8443\r\n"
			       "Content-Length: 5\r\n\r\nhello",
				 &request),
		0);
	assert_bytes(request.method, "POST");
	assert_bytes(request.target, "/.well-known/est/simpleenroll?a=%2B");
	assert_bytes(request.host, "est.example:8443");
	assert_true(request.has_length);
	assert_int_equal(request.length, 5);
	assert_true(http_request_persists(&request));
}

static void
http_request_is_rebuilt_without_what_concerns_only_the_connection(void **state)
{
	(void)state;
	assert_rebuilt("POST /x HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, x\r\nKeep-Alive: 1\r\nTE: gzip\r\n"
		       "Trailer: z\r\nUpgrade: h2c\r\nProxy-Connection: close\r\nTransfer-Encoding: Chunked\r\n"
		       "Expect: 100-Continue\r\nContent-Type:  text/plain \t\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n\r\n");
}

static void
http_request_is_rebuilt_with_spaces_for_tabs(void **state)
{
	(void)state;
	assert_rebuilt("GET / HTTP/1.1\r\nHost: a\r\nX:\t a\tb \t c\t\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nX: a b   c\r\n\r\n");
}

static void
http_request_loses_the_clients_own_front_headers(void **state)
{
	(void)state;
	assert_rebuilt("GET / HTTP/1.1\r\nx-FRONT-id: 1234\r\nHost: a\r\nX-Front-Peer: b\r\nX-Fronts: c\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nX-Fronts: c\r\n\r\n");
}

static void
http_request_takes_absolute_targets_and_their_host(void **state)
{
	(void)state;
	assert_rebuilt("GET http://real.example:80/a?b HTTP/1.1\r\nHost: other\r\n\r\n",
		"GET /a?b HTTP/1.1\r\nHost: real.example:80\r\n\r\n");
	assert_rebuilt("GET HTTPS://[2001:db8::1]?q HTTP/1.1\r\nHost: other\r\n\r\n",
		"GET /?q HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n");
	assert_refused(400, "GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_refused(400, "GET ftp://a/b HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_refused(400, "GET http://u\"@a/b HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void
http_request_keeps_the_connection_as_the_version_says(void **state)
{
	struct http_request request;

	(void)state;
	assert_int_equal(parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, CLOSE\r\n\r\n", &request), 0);
	assert_false(http_request_persists(&request));
	assert_int_equal(parse("GET / HTTP/1.0\r\n\r\n", &request), 0);
	assert_false(http_request_persists(&request));
	assert_int_equal(parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", &request), 0);
	assert_true(http_request_persists(&request));
	assert_int_equal(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", &request), 0);
	assert_false(http_request_persists(&request));
}

static void
http_request_ignores_one_empty_line_before_it(void **state)
{
	(void)state;
	assert_rebuilt("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_refused(400, "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void
http_request_refuses_malformed_request_lines(void **state)
{
	static const char *const lines[] = { "GET  / HTTP/1.1", "GET /", "GET / HTTP/1.1 ", "GET / http/1.1",
		"GET / HTTP/1", "GET / HTTP/1.x", "GET /a b HTTP/1.1", "GET * HTTP/1.1", "G(T / HTTP/1.1",
		"GET /\x7f HTTP/1.1", "GET /\xc3\xa4 HTTP/1.1", "GET /a#b HTTP/1.1", "GET \t/ HTTP/1.1",
		"GET a HTTP/1.1" };
	char text[128];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		(void)snprintf(text, sizeof text, "%s\r\nHost: a\r\n\r\n", lines[i]);
		assert_refused(400, text);
	}
	assert_refused(400, " GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_refused(400, "\x16\x03\x01\x02");
	assert_refused(505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n");
	assert_refused(505, "GET / HTTP/1.2\r\nHost: a\r\n\r\n");
	assert_refused(501, "AVERYLONGMETHODNAME / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_refused(501, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_refused(501, "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_refused(501, "get / HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void
http_request_refuses_ambiguous_framing(void **state)
{
	static const char *const fields[] = { "Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5, 5",
		"Content-Length: +5", "Content-Length: 5abc", "Content-Length: ", "Content-Length: -1",
		"Content-Length: 0x5", "Content-Length: 1234567890123456789",
		"Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding : chunked",
		"Content-Length : 5", " folded: x", "a: b\r\n\tc", "a: b\nc: d", "a: b\rc", "a: \x01", "nocolon",
		": x", "a(b: c", "a: b\r\n \r\nc: d" };
	char text[256];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		(void)snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", fields[i]);
		assert_refused(400, text);
	}
	assert_refused(400, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
	assert_refused(501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n");
	assert_refused(501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n");
}

static void
http_request_wants_exactly_one_good_host(void **state)
{
	(void)state;
	assert_refused(400, "GET / HTTP/1.1\r\n\r\n");
	assert_refused(400, "GET http://a/ HTTP/1.1\r\n\r\n");
	assert_refused(400, "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n");
	assert_refused(400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n");
	assert_refused(400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n");
	assert_refused(400, "GET / HTTP/1.1\r\nHost:\r\n\r\n");
	assert_rebuilt("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

static void
http_request_refuses_second_credentials_and_types(void **state)
{
	(void)state;
	assert_refused(400, "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\nauthorization: y\r\n\r\n");
	assert_refused(400, "GET / HTTP/1.1\r\nHost: a\r\nContent-Type: x\r\nContent-type: x\r\n\r\n");
}

static void
http_request_allows_octets_beyond_ascii_in_values_only(void **state)
{
	struct http_request request;

	(void)state;
	assert_int_equal(parse("GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xa4\tb\r\n\r\n", &request), 0);
	assert_refused(400, "GET / HTTP/1.1\r\nHost: a\r\nX\xc3\xa4: b\r\n\r\n");
}

static void
http_request_answers_only_the_known_expectation(void **state)
{
	struct http_request request;

	(void)state;
	assert_int_equal(parse("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", &request), 0);
	assert_true(request.expect_continue);
	assert_int_equal(parse("POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", &request), 0);
	assert_false(request.expect_continue);
	assert_refused(417, "POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n");
}

static void
http_request_limits_are_enforced(void **state)
{
	CLEANUP(buf) struct buf text = { 0 };
	struct http_refusal refusal = { 0 };
	size_t scanned = 0, head_len;
	int i;

	(void)state;
	assert_refused(413, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65\r\n\r\n");
	buf_append_text(&text, "GET / HTTP/1.1\r\nHost: a\r\n");
	for (i = 1; i < HTTP_HEADERS_MAX; i++)
		buf_append_text(&text, "A: b\r\n");
	buf_append_text(&text, "\r\n");
	assert_refused(0, buf_text(&text));
	text.len -= 2;
	buf_append_text(&text, "A: b\r\n\r\n");
	assert_refused(431, buf_text(&text));
	buf_clear(&text);
	buf_append_text(&text, "GET / HTTP/1.0\r\n"); /* without a Host one is added, and it counts */
	for (i = 1; i < HTTP_HEADERS_MAX; i++)
		buf_append_text(&text, "A: b\r\n");
	buf_append_text(&text, "\r\n");
	assert_refused(0, buf_text(&text));
	text.len -= 2;
	buf_append_text(&text, "A: b\r\n\r\n");
	assert_refused(431, buf_text(&text));

	assert_int_equal(http_head_scan(bytes_of_text("GET /aaaaaaaaaaaaaa"), 8, &scanned, &head_len, &refusal), -1);
	assert_int_equal(refusal.status, 414);
	scanned = 0;
	assert_int_equal(http_head_scan(bytes_of_text("G / H\r\nA: bbbb"), 8, &scanned, &head_len, &refusal), -1);
	assert_int_equal(refusal.status, 431);
	scanned = 0;
	assert_int_equal(http_head_scan(bytes_of_text("G / H\r\nA: bbbb\r\n\r\n"), 8, &scanned, &head_len, &refusal),
		-1);
	assert_int_equal(refusal.status, 431);

	buf_clear(&text);
	buf_append_text(&text, "GET /");
	for (i = 0; i < HTTP_TARGET_MAX; i++)
		buf_append_u8(&text, 'a');
	buf_append_text(&text, " HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_refused(414, buf_text(&text));
}

static void
http_request_head_is_found_octet_by_octet(void **state)
{
	static const char text[] = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
	struct http_refusal refusal = { 0 };
	size_t scanned = 0, head_len = 0, end = strlen(text) - strlen("rest"), i;

	(void)state;
	for (i = 0; i < end; i++)
		assert_int_equal(http_head_scan(bytes_of(text, i), HEAD_LIMIT, &scanned, &head_len, &refusal), 0);
	assert_int_equal(http_head_scan(bytes_of(text, end), HEAD_LIMIT, &scanned, &head_len, &refusal), 1);
	assert_int_equal(head_len, end);
}

/* Feed a body in pieces of step octets; the refusal's status, 0 for complete, -1 for more needed. */
static int
feed(bool chunked, uint64_t length, const char *text, size_t step, struct buf *out, size_t *used)
{
	const struct http_request request = { .chunked = chunked, .length = length, .has_length = !chunked };
	struct http_refusal refusal = { 0 };
	struct http_body body;
	size_t at = 0, len = strlen(text);
	int done = 0;

	http_body_start(&body, &request, BODY_MAX);
	while (at < len && done == 0) {
		size_t took = 0;

		done = http_body_feed(&body, bytes_of(text + at, len - at < step ? len - at : step), &took, out,
			&refusal);
		if (done < 0)
			return refusal.status;
		at += took;
	}
	*used = at;
	return done == 1 ? 0 : -1;
}

static void
assert_chunks(int status, const char *text, const char *contents)
{
	size_t step;

	for (step = 1; step < 64; step *= 3) {
		CLEANUP(buf) struct buf out = { 0 };
		size_t used = 0;
		int got = feed(true, 0, text, step, &out, &used);

		if (got != status)
			fail_msg("%d instead of %d for: %s", got, status, text);
		if (status == 0)
			assert_string_equal(buf_text(&out), contents);
	}
}

static void
http_body_takes_content_length_octets_and_no_more(void **state)
{
	CLEANUP(buf) struct buf out = { 0 };
	size_t used = 0;

	(void)state;
	assert_int_equal(feed(false, 5, "helloGET /", 64, &out, &used), 0);
	assert_int_equal(used, 5);
	assert_string_equal(buf_text(&out), "hello");
}

static void
http_body_takes_well_formed_chunks(void **state)
{
	CLEANUP(buf) struct buf out = { 0 };
	size_t used = 0;

	(void)state;
	assert_chunks(0, "5\r\nhello\r\n0\r\n\r\n", "hello");
	assert_chunks(0, "0\r\n\r\n", "");
	assert_chunks(0, "3\r\nabc\r\n00002;a=\"b c\"\r\nde\r\n000;x\r\nTrail: er\r\nA:\r\n\r\n", "abcde");
	assert_chunks(0, "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789");
	assert_int_equal(feed(true, 0, "1\r\nx\r\n0\r\n\r\nGET /", 64, &out, &used), 0);
	assert_int_equal(used, strlen("1\r\nx\r\n0\r\n\r\n"));
}

static void
http_body_refuses_malformed_chunks(void **state)
{
	(void)state;
	assert_chunks(400, "x\r\n", NULL);
	assert_chunks(400, "\r\nhello", NULL);
	assert_chunks(400, "5\nhello\r\n0\r\n\r\n", NULL);
	assert_chunks(400, "5\r\rhello", NULL);
	assert_chunks(400, "5 \r\nhello\r\n", NULL);
	assert_chunks(400, "+5\r\nhello\r\n", NULL);
	assert_chunks(400, "0x5\r\nhello\r\n", NULL);
	assert_chunks(400, "-1\r\nhello\r\n", NULL);
	assert_chunks(400, "5\r\nhello0\r\n\r\n", NULL);
	assert_chunks(400, "5\r\nhello\n0\r\n\r\n", NULL);
	assert_chunks(400, "5\r\nhello\rx", NULL);
	assert_chunks(400, "5\r\nhellox\n0\r\n\r\n", NULL);
	assert_chunks(400, "000000000\r\n\r\n", NULL);
	assert_chunks(400, "5;a\nb\r\nhello\r\n", NULL);
	assert_chunks(400, "5;a\rb\r\nhello\r\n", NULL);
	assert_chunks(400, "0\r\n folded\r\n\r\n", NULL);
	assert_chunks(400, "0\r\nno colon\r\n\r\n", NULL);
	assert_chunks(400, "0\r\na\r\n\r\n", NULL);
	assert_chunks(400, "0\r\na: \x01\r\n\r\n", NULL);
	assert_chunks(400, "0\r\na: b\n\r\n", NULL);
	assert_chunks(400, "0\r\n\rx", NULL);
	assert_chunks(-1, "5\r\nhello\r\n0\r\n", NULL);
}

static void
http_body_limits_are_enforced_while_reading(void **state)
{
	CLEANUP(buf) struct buf text = { 0 };
	int i;

	(void)state;
	assert_chunks(413, "41\r\n", NULL);
	assert_chunks(413, "ffffffff\r\n", NULL);
	for (i = 0; i < BODY_MAX; i++)
		buf_append_text(&text, "1\r\nx\r\n");
	buf_append_text(&text, "1\r\nx\r\n");
	assert_chunks(413, buf_text(&text), NULL);

	buf_clear(&text);
	buf_append_text(&text, "1;");
	for (i = 0; i <= HTTP_EXTENSIONS_MAX; i++)
		buf_append_u8(&text, 'e');
	assert_chunks(400, buf_text(&text), NULL);

	buf_clear(&text);
	buf_append_text(&text, "0\r\n");
	for (i = 0; i <= HTTP_TRAILERS_MAX / 4; i++)
		buf_append_text(&text, "A: b\r\n");
	assert_chunks(431, buf_text(&text), NULL);
}

static void
http_answer_is_copied_without_its_hop_by_hop_fields(void **state)
{
	static const char in[] = "HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\nRetry-After: 9\r\nConnection: close\r\n"
				 "Keep-Alive: x\r\nX-Front-Id: secret\r\n\r\nabc";
	CLEANUP(buf) struct buf out = { 0 };
	struct answer_head head;

	(void)state;
	assert_int_equal(answer_head_read(bytes_of_text(in), false, &head), 1);
	assert_true(head.close);
	answer_copy(&head, bytes_of_text(in), ANSWER_KEEP, &out);
	assert_string_equal(buf_text(&out), "HTTP/1.1 202 Accepted\r\nRetry-After: 9\r\nContent-Length: 3\r\n\r\nabc");
	buf_clear(&out);
	answer_copy(&head, bytes_of_text(in), ANSWER_CLOSE, &out);
	assert_non_null(strstr(buf_text(&out), "\r\nConnection: close\r\n\r\nabc"));
}

static void
http_answer_without_a_body_has_none(void **state)
{
	static const char none[] = "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
	static const char head_only[] = "HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n";
	CLEANUP(buf) struct buf out = { 0 };
	struct answer_head head;

	(void)state;
	assert_int_equal(answer_head_read(bytes_of_text(none), false, &head), 1);
	assert_int_equal(head.framing, ANSWER_EMPTY);
	answer_copy(&head, bytes_of_text(none), ANSWER_KEEP, &out);
	assert_string_equal(buf_text(&out), "HTTP/1.1 204 No Content\r\n\r\n");
	assert_int_equal(answer_head_read(bytes_of_text(head_only), true, &head), 1);
	assert_int_equal(head.length, 0);
	buf_clear(&out);
	answer_copy(&head, bytes_of_text(head_only), ANSWER_KEEP, &out);
	assert_string_equal(buf_text(&out), head_only);
}

static void
http_answer_is_refused_when_its_end_cannot_be_known(void **state)
{
	static const char *const bad[] = { "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 20\r\n\r\n",
		"ICY 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "HTTP/1.1 200 OK\r\nbad line\r\n\r\n" };
	struct answer_head head;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(answer_head_read(bytes_of_text(bad[i]), false, &head), -1);
	assert_int_equal(answer_head_read(bytes_of_text("HTTP/1.1 200 OK\r\nConte"), false, &head), 0);
	assert_int_equal(
		answer_head_read(bytes_of_text("HTTP/1.1 404 No\r\nConnection: close\r\n\r\n"), false, &head), 1);
	assert_int_equal(head.framing, ANSWER_TO_EOF);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(http_request_reads_a_plain_post),
		cmocka_unit_test(http_request_is_rebuilt_without_what_concerns_only_the_connection),
		cmocka_unit_test(http_request_is_rebuilt_with_spaces_for_tabs),
		cmocka_unit_test(http_request_loses_the_clients_own_front_headers),
		cmocka_unit_test(http_request_takes_absolute_targets_and_their_host),
		cmocka_unit_test(http_request_keeps_the_connection_as_the_version_says),
		cmocka_unit_test(http_request_ignores_one_empty_line_before_it),
		cmocka_unit_test(http_request_refuses_malformed_request_lines),
		cmocka_unit_test(http_request_refuses_ambiguous_framing),
		cmocka_unit_test(http_request_wants_exactly_one_good_host),
		cmocka_unit_test(http_request_refuses_second_credentials_and_types),
		cmocka_unit_test(http_request_allows_octets_beyond_ascii_in_values_only),
		cmocka_unit_test(http_request_answers_only_the_known_expectation),
		cmocka_unit_test(http_request_limits_are_enforced),
		cmocka_unit_test(http_request_head_is_found_octet_by_octet),
		cmocka_unit_test(http_body_takes_content_length_octets_and_no_more),
		cmocka_unit_test(http_body_takes_well_formed_chunks),
		cmocka_unit_test(http_body_refuses_malformed_chunks),
		cmocka_unit_test(http_body_limits_are_enforced_while_reading),
		cmocka_unit_test(http_answer_is_copied_without_its_hop_by_hop_fields),
		cmocka_unit_test(http_answer_without_a_body_has_none),
		cmocka_unit_test(http_answer_is_refused_when_its_end_cannot_be_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
