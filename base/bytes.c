#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#define BUF_FIRST 1024 /* octets; most answers and records fit after growing once */

struct bytes
bytes_of(const void *at, size_t len)
{
	return (struct bytes){ .at = at, .len = len };
}

struct bytes
bytes_of_text(const char *text)
{
	return bytes_of(text, strlen(text));
}

bool
bytes_equal(struct bytes a, struct bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

bool
bytes_equal_secret(struct bytes a, struct bytes b)
{
	return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.at, b.at, a.len) == 0);
}

bool
bytes_equal_text(struct bytes a, const char *text)
{
	return bytes_equal(a, bytes_of_text(text));
}

static bool
buf_grow(struct buf *b, size_t more)
{
	size_t cap = b->cap == 0 ? BUF_FIRST : b->cap;
	uint8_t *at;

	if (b->failed)
		return false;
	if (more > BUF_MAX || b->len + more + 1 > BUF_MAX) {
		b->failed = true;
		return false;
	}
	if (b->len + more + 1 <= b->cap)
		return true;
	while (cap < b->len + more + 1)
		cap *= 2;
	at = malloc(cap);
	if (at == NULL) {
		b->failed = true;
		return false;
	}
	/* Not realloc(): it may leave a copy behind, and buf_free_secret() could not reach it. */
	if (b->at != NULL) {
		memcpy(at, b->at, b->len);
		OPENSSL_cleanse(b->at, b->cap);
		free(b->at);
	}
	b->at = at;
	b->cap = cap;
	return true;
}

/* Appending goes octet by octet in many places: mostly there is room. */
static inline bool
buf_reserve(struct buf *b, size_t more)
{
	if (more < b->cap - b->len && b->cap <= BUF_MAX && !b->failed)
		return true;
	return buf_grow(b, more);
}

void
buf_append(struct buf *b, const void *at, size_t len)
{
	if (len == 0 || !buf_reserve(b, len))
		return;
	memcpy(b->at + b->len, at, len);
	b->len += len;
}

void
buf_append_bytes(struct buf *b, struct bytes bytes)
{
	buf_append(b, bytes.at, bytes.len);
}

void
buf_append_text(struct buf *b, const char *text)
{
	buf_append(b, text, strlen(text));
}

void
buf_append_u8(struct buf *b, uint8_t octet)
{
	buf_append(b, &octet, 1);
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		b->failed = true;
	else if (buf_reserve(b, (size_t)n)) {
		(void)vsnprintf((char *)b->at + b->len, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
}

void
buf_clear(struct buf *b)
{
	b->len = 0;
	b->failed = false;
}

bool
buf_failed(const struct buf *b)
{
	return b->failed;
}

struct bytes
buf_bytes(const struct buf *b)
{
	return b->failed ? bytes_of(NULL, 0) : bytes_of(b->at, b->len);
}

const char *
buf_text(struct buf *b)
{
	if (!buf_reserve(b, 0))
		return "";
	b->at[b->len] = '\0';
	return (const char *)b->at;
}

void
buf_free(struct buf *b)
{
	free(b->at);
	*b = (struct buf){ 0 };
}

void
buf_free_secret(struct buf *b)
{
	if (b->at != NULL)
		OPENSSL_cleanse(b->at, b->cap);
	buf_free(b);
}

struct cursor
cursor_of(struct bytes bytes)
{
	static const uint8_t nothing;

	if (bytes.at == NULL)
		bytes = bytes_of(&nothing, 0);
	return (struct cursor){ .at = bytes.at, .end = bytes.at + bytes.len };
}

uint8_t
cursor_u8(struct cursor *c)
{
	struct bytes one = cursor_take(c, 1);

	return one.len == 1 ? one.at[0] : 0;
}

struct bytes
cursor_take(struct cursor *c, size_t len)
{
	struct bytes out = { c->at, len };

	if (c->failed || len > (size_t)(c->end - c->at)) {
		c->failed = true;
		return bytes_of(NULL, 0);
	}
	c->at += len;
	return out;
}

struct bytes
cursor_until(struct cursor *c, uint8_t stop)
{
	const uint8_t *p = NULL;
	struct bytes out;

	if (!c->failed && c->at != c->end)
		p = memchr(c->at, stop, (size_t)(c->end - c->at));
	if (p == NULL) {
		c->failed = true;
		return bytes_of(NULL, 0);
	}
	out = bytes_of(c->at, (size_t)(p - c->at));
	c->at = p + 1;
	return out;
}

size_t
cursor_left(const struct cursor *c)
{
	return c->failed ? 0 : (size_t)(c->end - c->at);
}

bool
cursor_done(const struct cursor *c)
{
	return !c->failed && c->at == c->end;
}

void
hex_encode(struct bytes in, char *out)
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	for (i = 0; i < in.len; i++) {
		*out++ = digits[in.at[i] >> 4];
		*out++ = digits[in.at[i] & 15];
	}
	*out = '\0';
}

static int
hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int
hex_decode(struct bytes in, uint8_t *out, size_t out_len, struct err *e)
{
	size_t i;

	if (in.len != 2 * out_len)
		return err_set(e, ERR_MALFORMED, "%zu hexadecimal digits where %zu belong",
			in.len, 2 * out_len);
	for (i = 0; i < in.len; i++)
		if (hex_digit(in.at[i]) < 0)
			return err_set(e, ERR_MALFORMED, "not a hexadecimal digit at octet %zu", i);
	for (i = 0; i < out_len; i++)
		out[i] = (uint8_t)(hex_digit(in.at[2 * i]) << 4 | hex_digit(in.at[2 * i + 1]));
	return 0;
}
