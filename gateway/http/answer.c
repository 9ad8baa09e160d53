#include "gateway/http/answer.h"

#include <string.h>

/* The length of the head at the start of in; 0: not whole yet. */
static size_t
head_length(struct bytes in)
{
	size_t i;

	for (i = 3; i < in.len; i++) {
		const uint8_t *lf = memchr(in.at + i, '\n', in.len - i);

		if (lf == NULL)
			break;
		i = (size_t)(lf - in.at);
		if (memcmp(lf - 3, "\r\n\r\n", 4) == 0)
			return i + 1;
	}
	return 0;
}

/* "HTTP/1.1 200 OK" */
static int
read_status(struct bytes line, int *status)
{
	uint64_t number;

	if (line.len < strlen("HTTP/1.1 200") || memcmp(line.at, "HTTP/1.", 7) != 0 || line.at[8] != ' ' ||
		http_decimal(bytes_of(line.at + 9, 3), &number) != 0 || number < 200 || number > 599)
		return -1;
	if (line.len > 12 && line.at[12] != ' ')
		return -1;
	*status = (int)number;
	return 0;
}

static int
read_field(struct bytes line, struct answer_head *out)
{
	struct http_field field;
	uint64_t length;

	if (http_field_split(line, &field) != 0)
		return -1;
	if (http_name_is(field.name, "connection")) {
		out->close = out->close || http_list_has(field.value, "close");
		out->keep = out->keep || http_list_has(field.value, "keep-alive");
	}
	if (http_name_is(field.name, "transfer-encoding"))
		return -1;
	if (!http_name_is(field.name, "content-length"))
		return 0;
	if (out->has_length || http_decimal(field.value, &length) != 0 || length > ANSWER_BODY_MAX)
		return -1;
	out->has_length = true;
	out->told_length = (size_t)length;
	return 0;
}

int
answer_head_read(struct bytes in, bool is_head, struct answer_head *out)
{
	struct answer_head head = { .head_len = head_length(in) };
	struct cursor c = cursor_of(bytes_of(in.at, head.head_len));
	struct bytes line;

	if (head.head_len == 0)
		return in.len > ANSWER_HEAD_MAX ? -1 : 0;
	if (http_line_next(&c, &line) != 0 || read_status(line, &head.status) != 0)
		return -1;
	while (cursor_left(&c) > 2)
		if (http_line_next(&c, &line) != 0 || read_field(line, &head) != 0)
			return -1;
	head.length = head.told_length;
	head.framing = head.has_length ? ANSWER_LENGTH : ANSWER_TO_EOF;
	if (is_head || head.status == 204 || head.status == 304 || (head.has_length && head.length == 0)) {
		head.framing = ANSWER_EMPTY;
		head.length = 0;
	}
	if (head.framing == ANSWER_TO_EOF && !head.close)
		return -1;
	*out = head;
	return 1;
}

static void
finish_head(enum answer_connection connection, struct buf *out)
{
	if (connection == ANSWER_CLOSE)
		buf_append_text(out, "Connection: close\r\n");
	else if (connection == ANSWER_KEEP_1_0)
		buf_append_text(out, "Connection: keep-alive\r\n");
	buf_append_text(out, "\r\n");
}

void
answer_copy(const struct answer_head *head, struct bytes in, enum answer_connection connection,
	struct buf *out)
{
	struct cursor c = cursor_of(bytes_of(in.at, head->head_len));
	struct bytes body = bytes_of(in.at + head->head_len, in.len - head->head_len);
	struct bytes line;
	struct http_field field;

	if (http_line_next(&c, &line) != 0)
		return;
	buf_append_text(out, "HTTP/1.1");
	buf_append(out, line.at + 8, line.len - 8);
	buf_append_text(out, "\r\n");
	while (cursor_left(&c) > 2) {
		if (http_line_next(&c, &line) != 0 || http_field_split(line, &field) != 0)
			return;
		if (http_name_is_ours(field.name))
			continue;
		buf_append_bytes(out, line);
		buf_append_text(out, "\r\n");
	}
	/* RFC 9110, section 8.6: no Content-Length in a 204. A HEAD answer tells the length GET's would have. */
	if (head->status != 204 && (head->has_length || head->framing == ANSWER_TO_EOF))
		buf_printf(out, "Content-Length: %zu\r\n", head->has_length ? head->told_length : body.len);
	finish_head(connection, out);
	if (head->framing != ANSWER_EMPTY)
		buf_append_bytes(out, body);
}

static const char *
status_phrase(int status)
{
	static const struct {
		int status;
		const char *phrase;
	} phrases[] = {
		{ 400, "Bad Request" },
		{ 408, "Request Timeout" },
		{ 413, "Content Too Large" },
		{ 414, "URI Too Long" },
		{ 417, "Expectation Failed" },
		{ 431, "Request Header Fields Too Large" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 505, "HTTP Version Not Supported" },
	};
	size_t i;

	for (i = 0; i < sizeof phrases / sizeof phrases[0]; i++)
		if (phrases[i].status == status)
			return phrases[i].phrase;
	return "Error";
}

void
answer_text(int status, const char *text, int retry_after_s, bool is_head,
	enum answer_connection connection, struct buf *out)
{
	buf_printf(out, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n",
		status, status_phrase(status), strlen(text) + 1);
	if (retry_after_s > 0)
		buf_printf(out, "Retry-After: %d\r\n", retry_after_s);
	finish_head(connection, out);
	if (!is_head)
		buf_printf(out, "%s\n", text);
}
