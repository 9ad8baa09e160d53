#define _GNU_SOURCE
#include "devsim/http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/timefmt.h"

#define LINE_MAX_OCTETS 4096

void
http_answer_clear(struct http_answer *answer)
{
	buf_clear(&answer->head);
	buf_clear(&answer->body);
	buf_clear(&answer->line);
	answer->state = HTTP_HEAD;
	answer->status = 0;
	answer->keep_alive = false;
	answer->left = 0;
}

void
http_answer_free(struct http_answer *answer)
{
	buf_free(&answer->head);
	buf_free(&answer->body);
	buf_free(&answer->line);
}

static struct bytes
trim(struct bytes text)
{
	while (text.len > 0 && (text.at[0] == ' ' || text.at[0] == '\t'))
		text = bytes_of(text.at + 1, text.len - 1);
	while (text.len > 0 && strchr(" \t\r\n", text.at[text.len - 1]) != NULL && text.at[text.len - 1] != '\0')
		text.len--;
	return text;
}

static bool
same_text(struct bytes a, const char *b)
{
	return a.len == strlen(b) && strncasecmp((const char *)a.at, b, a.len) == 0;
}

struct bytes
http_field(const struct http_answer *answer, const char *name)
{
	struct cursor c = cursor_of(buf_bytes(&answer->head));
	size_t len = strlen(name);

	while (cursor_left(&c) > 0) {
		struct bytes line = cursor_until(&c, '\n');

		if (line.len > len && line.at[len] == ':' && same_text(bytes_of(line.at, len), name))
			return trim(bytes_of(line.at + len + 1, line.len - len - 1));
	}
	return bytes_of(NULL, 0);
}

/* Decimal digits and nothing else. */
static int
parse_decimal(struct bytes text, uint64_t *out)
{
	uint64_t n = 0;
	size_t i;

	if (text.len == 0 || text.len > 18)
		return -1;
	for (i = 0; i < text.len; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return -1;
		n = n * 10 + (uint64_t)(text.at[i] - '0');
	}
	*out = n;
	return 0;
}

static int
parse_status(struct http_answer *answer, struct err *e)
{
	const uint8_t *at = answer->head.at;
	uint64_t status;

	if (answer->head.len < 14 || memcmp(at, "HTTP/1.", 7) != 0 || at[8] != ' ' ||
	    parse_decimal(bytes_of(at + 9, 3), &status) != 0 || status < 100 || status > 599)
		return err_set(e, ERR_MALFORMED, "the answer does not begin like HTTP/1.1");
	answer->status = (int)status;
	answer->keep_alive = at[7] == '1' && !same_text(http_field(answer, "Connection"), "close");
	return 0;
}

static int
begin_body(struct http_answer *answer, struct err *e)
{
	struct bytes coding = http_field(answer, "Transfer-Encoding");
	struct bytes length = http_field(answer, "Content-Length");

	if (parse_status(answer, e) != 0)
		return -1;
	if (answer->status < 200) {
		buf_clear(&answer->head);
		return 0;
	}
	if (answer->status == 204 || answer->status == 304)
		answer->state = HTTP_DONE;
	else if (same_text(coding, "chunked"))
		answer->state = HTTP_CHUNK_SIZE;
	else if (coding.len != 0)
		return err_set(e, ERR_MALFORMED, "transfer coding other than chunked");
	else if (length.len != 0) {
		if (parse_decimal(length, &answer->left) != 0)
			return err_set(e, ERR_MALFORMED, "Content-Length is not a number");
		if (answer->left > HTTP_BODY_MAX)
			return err_set(e, ERR_LIMIT, "an answer of more than %zu octets", HTTP_BODY_MAX);
		answer->state = answer->left == 0 ? HTTP_DONE : HTTP_BODY_LENGTH;
	} else {
		answer->keep_alive = false;
		answer->state = HTTP_BODY_CLOSE;
	}
	return 0;
}

/* Takes octets through the next LF into b. *whole: the line is complete. */
static int
take_line(struct buf *b, struct bytes in, size_t limit, size_t *used, bool *whole, struct err *e)
{
	const uint8_t *lf = memchr(in.at, '\n', in.len);
	size_t len = lf == NULL ? in.len : (size_t)(lf - in.at) + 1;

	if (b->len + len > limit)
		return err_set(e, ERR_LIMIT, "a line or head of the answer is longer than %zu octets", limit);
	buf_append(b, in.at, len);
	*used = len;
	*whole = lf != NULL;
	return 0;
}

static int
feed_head(struct http_answer *answer, struct bytes in, size_t *used, struct err *e)
{
	struct buf *head = &answer->head;
	bool whole;

	if (take_line(head, in, HTTP_HEAD_MAX, used, &whole, e) != 0)
		return -1;
	if (!whole || head->failed)
		return 0;
	/* A blank line: the LF just taken follows another LF, with CR between or not. */
	if (head->len >= 3 && (head->at[head->len - 2] == '\n' ||
	    (head->at[head->len - 2] == '\r' && head->at[head->len - 3] == '\n')))
		return begin_body(answer, e);
	return 0;
}

static int
chunk_size(struct http_answer *answer, struct err *e)
{
	char *end = NULL;
	const char *text = buf_text(&answer->line);
	unsigned long long size = strtoull(text, &end, 16);

	if (strchr("0123456789abcdefABCDEF", text[0]) == NULL || text[0] == '\0' || strchr("; \t\r\n", *end) == NULL)
		return err_set(e, ERR_MALFORMED, "a chunk size is not hexadecimal");
	if (size > HTTP_BODY_MAX || answer->body.len + size > HTTP_BODY_MAX)
		return err_set(e, ERR_LIMIT, "an answer of more than %zu octets", HTTP_BODY_MAX);
	answer->left = size;
	answer->state = size == 0 ? HTTP_TRAILER : HTTP_CHUNK_DATA;
	return 0;
}

static int
feed_line(struct http_answer *answer, struct bytes in, size_t *used, struct err *e)
{
	struct bytes text;
	bool whole;
	int rc = 0;

	if (take_line(&answer->line, in, LINE_MAX_OCTETS, used, &whole, e) != 0)
		return -1;
	if (!whole)
		return 0;
	text = trim(buf_bytes(&answer->line));
	if (answer->state == HTTP_CHUNK_SIZE)
		rc = chunk_size(answer, e);
	else if (answer->state == HTTP_CHUNK_END && text.len != 0)
		rc = err_set(e, ERR_MALFORMED, "a chunk is longer than its size");
	else if (answer->state == HTTP_CHUNK_END)
		answer->state = HTTP_CHUNK_SIZE;
	else if (text.len == 0)
		answer->state = HTTP_DONE;
	buf_clear(&answer->line);
	return rc;
}

static void
feed_data(struct http_answer *answer, struct bytes in, size_t *used)
{
	size_t len = answer->state == HTTP_BODY_CLOSE || in.len < answer->left ? in.len : (size_t)answer->left;

	buf_append(&answer->body, in.at, len);
	*used = len;
	if (answer->state == HTTP_BODY_CLOSE)
		return;
	answer->left -= len;
	if (answer->left == 0)
		answer->state = answer->state == HTTP_CHUNK_DATA ? HTTP_CHUNK_END : HTTP_DONE;
}

int
http_answer_feed(struct http_answer *answer, struct bytes in, size_t *used, struct err *e)
{
	size_t n = 0, total = 0;

	while (total < in.len && answer->state != HTTP_DONE) {
		struct bytes rest = bytes_of(in.at + total, in.len - total);

		if (answer->state == HTTP_HEAD) {
			if (feed_head(answer, rest, &n, e) != 0)
				return -1;
		} else if (answer->state == HTTP_CHUNK_SIZE || answer->state == HTTP_CHUNK_END ||
			answer->state == HTTP_TRAILER) {
			if (feed_line(answer, rest, &n, e) != 0)
				return -1;
		} else
			feed_data(answer, rest, &n);
		total += n;
		if (answer->body.len > HTTP_BODY_MAX)
			return err_set(e, ERR_LIMIT, "an answer of more than %zu octets", HTTP_BODY_MAX);
	}
	if (buf_failed(&answer->head) || buf_failed(&answer->body) || buf_failed(&answer->line))
		return err_set(e, ERR_NOMEM, "answer: no memory");
	*used = total;
	return 0;
}

int
http_answer_end(struct http_answer *answer, struct err *e)
{
	if (answer->state == HTTP_BODY_CLOSE)
		answer->state = HTTP_DONE;
	if (answer->state == HTTP_DONE)
		return 0;
	return err_set(e, ERR_MALFORMED, "the connection ended in the middle of an answer");
}

int64_t
http_retry_after_s(const struct http_answer *answer, int64_t now_s)
{
	struct bytes value = http_field(answer, "Retry-After");
	struct tm tm = { 0 };
	char text[64];
	const char *end;
	uint64_t n;

	if (parse_decimal(value, &n) == 0)
		return (int64_t)n;
	if (value.len == 0 || value.len >= sizeof text)
		return -1;
	memcpy(text, value.at, value.len);
	text[value.len] = '\0';
	end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	if (end == NULL || *end != '\0')
		return -1;
	return time_from_utc(&tm) > now_s ? time_from_utc(&tm) - now_s : 0;
}

static struct bytes
next_part(struct cursor *c)
{
	const uint8_t *start = c->at;
	bool quoted = false;

	for (; c->at < c->end && (quoted || *c->at != ';'); c->at++)
		if (*c->at == '"')
			quoted = !quoted;
	return trim(bytes_of(start, (size_t)(c->at - start)));
}

bool
http_type_is(struct bytes content_type, const char *type)
{
	struct cursor c = cursor_of(content_type);

	return same_text(next_part(&c), type);
}

bool
http_parameter(struct bytes content_type, const char *name, char *out, size_t size)
{
	struct cursor c = cursor_of(content_type);
	size_t len = strlen(name);

	for (;;) {
		struct bytes part = next_part(&c), value;

		if (part.len > len && part.at[len] == '=' && same_text(bytes_of(part.at, len), name)) {
			value = trim(bytes_of(part.at + len + 1, part.len - len - 1));
			if (value.len >= 2 && value.at[0] == '"' && value.at[value.len - 1] == '"')
				value = bytes_of(value.at + 1, value.len - 2);
			if (value.len >= size)
				return false;
			memcpy(out, value.at, value.len);
			out[value.len] = '\0';
			return true;
		}
		if (c.at == c.end)
			return false;
		c.at++;
	}
}
