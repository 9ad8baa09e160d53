/*
 * One input is what a client sends, in pieces; the first octet says how long the pieces are.
 * What the parser accepts is rebuilt, and the rebuilt head must be accepted again and mean the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/http/answer.h"
#include "gateway/http/request.h"

#define HEAD_LIMIT 4096
#define BODY_LIMIT 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool holds)
{
	if (!holds)
		abort();
}

/* The end of the head must not depend on the pieces it came in. */
static int
scan_in_pieces(struct bytes in, size_t step, size_t *head_len)
{
	struct http_refusal refusal;
	size_t scanned = 0, seen = 0;
	int found = 0;

	while (seen < in.len && found == 0) {
		seen = seen + step < in.len ? seen + step : in.len;
		found = http_head_scan(bytes_of(in.at, seen), HEAD_LIMIT, &scanned, head_len, &refusal);
	}
	return found;
}

static void
check_rebuilt(const struct http_request *request)
{
	struct buf head = { 0 };
	struct http_request again;
	struct http_refusal refusal;
	size_t line_len, i;

	http_request_rebuild(request, &head, &line_len);
	require(!buf_failed(&head) && line_len < head.len);
	require(http_head_parse(buf_bytes(&head), HTTP_TARGET_LONG_MAX, BODY_LIMIT, &again, &refusal) == 0);
	require(bytes_equal(request->method, again.method));
	require(!again.has_length && !again.chunked && !again.expect_continue);
	for (i = 0; i < again.field_count; i++)
		require(!http_name_is_ours(again.fields[i].name));
	buf_free(&head);
}

static struct bytes asked;

static bool
note_path(struct bytes path)
{
	asked = path;
	return true;
}

/* Before the whole target is there, its path is known already, and it is the one that the parser finds later. */
static void
check_target(struct bytes in, const struct http_request *request)
{
	struct bytes target = request->target, begin = bytes_of(in.at, (size_t)(target.at - in.at) + target.len);
	const uint8_t *query = target.len == 0 ? NULL : memchr(target.at, '?', target.len);
	bool get = bytes_equal_text(request->method, "GET");

	if (target.len == 0)
		return;
	require((http_target_limit(begin, note_path) == HTTP_TARGET_LONG_MAX) == (get && query != NULL));
	if (get && query != NULL)
		require(bytes_equal(asked, bytes_of(target.at, (size_t)(query - target.at))));
}

static void
check_body(const struct http_request *request, struct bytes in, size_t step)
{
	struct buf whole = { 0 }, pieces = { 0 };
	struct http_body a, b;
	struct http_refusal refusal;
	size_t used = 0, at = 0;
	int one, many = 0;

	http_body_start(&a, request, BODY_LIMIT);
	one = http_body_feed(&a, in, &used, &whole, &refusal);
	require(one < 0 || (used <= in.len && whole.len <= BODY_LIMIT));
	http_body_start(&b, request, BODY_LIMIT);
	do {
		size_t took = 0, len = in.len - at < step ? in.len - at : step;

		many = http_body_feed(&b, bytes_of(in.at + at, len), &took, &pieces, &refusal);
		at += took;
	} while (many == 0 && at < in.len);
	require(one == many);
	require(one < 0 || (at == used && bytes_equal(buf_bytes(&whole), buf_bytes(&pieces))));
	buf_free(&whole);
	buf_free(&pieces);
}

static void
check_answer(struct bytes in)
{
	struct answer_head head;
	struct buf out = { 0 };

	if (answer_head_read(in, false, &head) == 1) {
		require(head.head_len <= in.len);
		answer_copy(&head, in, ANSWER_CLOSE, &out);
		require(out.len != 0);
	}
	buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_request request;
	struct http_refusal refusal = { 0 };
	size_t step, scanned = 0, head_len = 0, pieces_len = 0;
	struct bytes in;
	int found;

	if (size == 0)
		return 0;
	step = (size_t)data[0] + 1;
	in = bytes_of(data + 1, size - 1);
	check_answer(in);
	require(http_target_limit(in, NULL) == HTTP_TARGET_MAX);
	/* Octets that were never scanned must not hurt either. */
	if (http_head_parse(in, HTTP_TARGET_MAX, BODY_LIMIT, &request, &refusal) != 0)
		require(refusal.status >= 400);
	found = http_head_scan(in, HEAD_LIMIT, &scanned, &head_len, &refusal);
	require(found != 1 || (head_len <= in.len && head_len <= HEAD_LIMIT));
	if (scan_in_pieces(in, step, &pieces_len) == 1)
		require(found == 1 && head_len == pieces_len);
	if (found != 1)
		return 0;
	if (http_head_parse(bytes_of(in.at, head_len), HTTP_TARGET_MAX, BODY_LIMIT, &request, &refusal) != 0) {
		require(refusal.status >= 400 && refusal.reason != NULL);
		return 0;
	}
	check_target(in, &request);
	check_rebuilt(&request);
	check_body(&request, bytes_of(in.at + head_len, in.len - head_len), step);
	return 0;
}
