/* Request bodies: Content-Length or chunks (RFC 9112, sections 6 and 7.1). */
#include "gateway/http/request.h"

static int
refuse(struct http_refusal *refusal, int status, const char *reason)
{
	*refusal = (struct http_refusal){ .status = status, .reason = reason };
	return -1;
}

void
http_body_start(struct http_body *b, const struct http_request *request, uint64_t max)
{
	*b = (struct http_body){ .state = HTTP_BODY_LENGTH, .left = request->length, .max = max };
	if (request->chunked)
		b->state = HTTP_BODY_SIZE;
	else if (request->length == 0)
		b->state = HTTP_BODY_DONE;
}

static int
hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int
feed_size(struct http_body *b, uint8_t c, struct http_refusal *refusal)
{
	int digit = hex_value(c);

	if (digit >= 0) {
		if (++b->digits > HTTP_CHUNK_DIGITS_MAX)
			return refuse(refusal, 400, "chunk size too long");
		b->left = b->left << 4 | (uint64_t)digit;
		return b->left > b->max - b->total ? refuse(refusal, 413, "request body too large") : 0;
	}
	if (b->digits == 0 || (c != '\r' && c != ';'))
		return refuse(refusal, 400, "malformed chunk size");
	b->state = c == '\r' ? HTTP_BODY_SIZE_LF : HTTP_BODY_EXTENSION;
	return 0;
}

static bool
is_control(uint8_t c)
{
	return (c < 0x20 && c != '\t') || c == 0x7f;
}

static int
feed_extension(struct http_body *b, uint8_t c, struct http_refusal *refusal)
{
	if (c == '\r') {
		b->state = HTTP_BODY_SIZE_LF;
		return 0;
	}
	if (is_control(c))
		return refuse(refusal, 400, "malformed chunk extension");
	if (++b->extensions > HTTP_EXTENSIONS_MAX)
		return refuse(refusal, 400, "chunk extensions too long");
	return 0;
}

static int
feed_lf(struct http_body *b, uint8_t c, enum http_body_state next, struct http_refusal *refusal)
{
	if (c != '\n')
		return refuse(refusal, 400, "CR without LF in the chunked body");
	b->state = next;
	return 0;
}

/* Trailer fields are checked for form and dropped. */
static int
feed_trailer(struct http_body *b, uint8_t c, struct http_refusal *refusal)
{
	if (++b->trailers > HTTP_TRAILERS_MAX)
		return refuse(refusal, 431, "trailer fields too large");
	if (b->state == HTTP_BODY_TRAILER_START && c == '\r') {
		b->state = HTTP_BODY_LAST_LF;
		return 0;
	}
	if (b->state == HTTP_BODY_TRAILER_VALUE) {
		if (c == '\r')
			b->state = HTTP_BODY_TRAILER_LF;
		else if (is_control(c))
			return refuse(refusal, 400, "malformed trailer field");
		return 0;
	}
	if (b->state == HTTP_BODY_TRAILER_NAME && c == ':') {
		b->state = HTTP_BODY_TRAILER_VALUE;
		return 0;
	}
	if (!http_is_token(bytes_of(&c, 1)))
		return refuse(refusal, 400, "malformed trailer field");
	b->state = HTTP_BODY_TRAILER_NAME;
	return 0;
}

/* One octet of framing. */
static int
feed_octet(struct http_body *b, uint8_t c, struct http_refusal *refusal)
{
	switch (b->state) {
	case HTTP_BODY_SIZE:
		return feed_size(b, c, refusal);
	case HTTP_BODY_EXTENSION:
		return feed_extension(b, c, refusal);
	case HTTP_BODY_SIZE_LF:
		return feed_lf(b, c, b->left == 0 ? HTTP_BODY_TRAILER_START : HTTP_BODY_DATA, refusal);
	case HTTP_BODY_DATA_CR:
		b->state = HTTP_BODY_DATA_LF;
		return c == '\r' ? 0 : refuse(refusal, 400, "chunk longer than its size");
	case HTTP_BODY_DATA_LF:
		b->digits = 0;
		return feed_lf(b, c, HTTP_BODY_SIZE, refusal);
	case HTTP_BODY_TRAILER_START:
	case HTTP_BODY_TRAILER_NAME:
	case HTTP_BODY_TRAILER_VALUE:
		return feed_trailer(b, c, refusal);
	case HTTP_BODY_TRAILER_LF:
		return feed_lf(b, c, HTTP_BODY_TRAILER_START, refusal);
	case HTTP_BODY_LAST_LF:
		return feed_lf(b, c, HTTP_BODY_DONE, refusal);
	case HTTP_BODY_LENGTH:
	case HTTP_BODY_DATA:
	case HTTP_BODY_DONE:
		break;
	}
	return 0;
}

static size_t
feed_data(struct http_body *b, struct bytes in, struct buf *out)
{
	size_t len = in.len < b->left ? in.len : (size_t)b->left;

	buf_append(out, in.at, len);
	b->left -= len;
	b->total += len;
	if (b->left == 0)
		b->state = b->state == HTTP_BODY_LENGTH ? HTTP_BODY_DONE : HTTP_BODY_DATA_CR;
	return len;
}

int
http_body_feed(struct http_body *b, struct bytes in, size_t *used, struct buf *out,
	struct http_refusal *refusal)
{
	size_t at = 0;

	while (at < in.len && b->state != HTTP_BODY_DONE) {
		if (b->state == HTTP_BODY_LENGTH || b->state == HTTP_BODY_DATA)
			at += feed_data(b, bytes_of(in.at + at, in.len - at), out);
		else if (feed_octet(b, in.at[at++], refusal) != 0)
			return -1;
	}
	*used = at;
	if (buf_failed(out))
		return refuse(refusal, 503, "no memory");
	return b->state == HTTP_BODY_DONE ? 1 : 0;
}
