/*
 * bytes.h - untrusted octets, growable buffers, and a cursor that fails once.
 *
 * struct bytes borrows; struct buf owns. Nothing here keeps state between
 * calls, and every function may be called from any thread.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/* A borrowed run of octets. at may be NULL when len is 0. */
struct bytes {
	const uint8_t *at;
	size_t len;
};

struct bytes bytes_of(const void *at, size_t len);
struct bytes bytes_of_text(const char *text); /* without the final NUL */
bool bytes_equal(struct bytes a, struct bytes b);
/* Time depends on the lengths only, never on the contents. */
bool bytes_equal_secret(struct bytes a, struct bytes b);
bool bytes_equal_text(struct bytes a, const char *text);

/*
 * A growable buffer. Zero-initialise, buf_free() at the end. Once an
 * allocation fails, or the text would pass BUF_MAX, it is "failed" and every
 * later append does nothing: check buf_failed() once, at the end.
 */
#define BUF_MAX ((size_t)64 << 20)

struct buf {
	uint8_t *at;
	size_t len;
	size_t cap;
	bool failed;
};

void buf_append(struct buf *b, const void *at, size_t len);
void buf_append_bytes(struct buf *b, struct bytes bytes);
void buf_append_text(struct buf *b, const char *text);
void buf_append_u8(struct buf *b, uint8_t octet);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
void buf_clear(struct buf *b); /* keeps the memory, clears failed */
bool buf_failed(const struct buf *b);
struct bytes buf_bytes(const struct buf *b);
/* The contents as a C string inside the buffer; "" when failed. */
const char *buf_text(struct buf *b);
void buf_free(struct buf *b);       /* the struct itself stays the caller's */
void buf_free_secret(struct buf *b); /* overwrites the octets first */

static inline void
buf_auto(struct buf *b)
{
	buf_free(b);
}

/* Reads octets in order; after one failure every read fails. */
struct cursor {
	const uint8_t *at;
	const uint8_t *end;
	bool failed;
};

struct cursor cursor_of(struct bytes bytes);
uint8_t cursor_u8(struct cursor *c);
struct bytes cursor_take(struct cursor *c, size_t len);
/* Everything before the next stop octet, which is consumed and left out; fails if there is none. */
struct bytes cursor_until(struct cursor *c, uint8_t stop);
size_t cursor_left(const struct cursor *c);
/* Nothing failed and nothing is left. */
bool cursor_done(const struct cursor *c);

/* Lower-case hexadecimal; out needs 2*len+1 octets. */
void hex_encode(struct bytes in, char *out);
/* Exactly out_len octets from 2*out_len digits of either case. */
MUST_USE int hex_decode(struct bytes in, uint8_t *out, size_t out_len, struct err *e);

/*
 * Base64 (RFC 4648, section 4). Encoding: wrap is the line length with LF
 * after each full line and after the last (0: one line, no newline).
 * Decoding ignores CR, LF, space and tab, requires correct padding and zero
 * pad bits, and refuses any other octet (ERR_MALFORMED).
 */
void base64_encode(struct buf *out, struct bytes in, size_t wrap);
MUST_USE int base64_decode(struct bytes in, struct buf *out, struct err *e);
/* The URL alphabet without padding (RFC 7515, section 2). Decoding takes that and nothing else. */
void base64url_encode(struct buf *out, struct bytes in);
MUST_USE int base64url_decode(struct bytes in, struct buf *out, struct err *e);

#endif
