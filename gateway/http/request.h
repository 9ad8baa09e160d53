/*
 * request.h - HTTP/1.1 requests, strictly (RFC 9112): octets in, structures out.
 *
 * Nothing here opens a socket, reads a clock, logs or keeps state between
 * calls; every function may be called from any thread. What is ambiguous is
 * refused: bare LF, folded lines, space before a colon, two lengths.
 */
#ifndef GATEWAY_HTTP_REQUEST_H
#define GATEWAY_HTTP_REQUEST_H

#include "base/bytes.h"

/* CivetWeb silently ignores headers beyond 64, and the rebuilt head adds two. */
#define HTTP_HEADERS_MAX 62
#define HTTP_TARGET_MAX 4096       /* octets of a request target */
#define HTTP_TARGET_LONG_MAX 25088 /* of one that carries a message: SCEP by GET */
#define HTTP_HOST_MAX 262          /* a DNS name, a colon and a port, in brackets or not */
#define HTTP_CHUNK_DIGITS_MAX 8    /* of one chunk's size */
#define HTTP_EXTENSIONS_MAX 256    /* octets of chunk extensions, all chunks together */
#define HTTP_TRAILERS_MAX 1024     /* octets of trailer fields */

/* Why a request is not served: the status to answer and one static line. */
struct http_refusal {
	int status;
	const char *reason;
};

struct http_field {
	struct bytes name, value;
	bool forward; /* goes on to the handler */
};

/* A parsed head; everything in it borrows from the octets that were parsed. */
struct http_request {
	struct bytes method;
	struct bytes target;      /* path and query; "/" is implied when it does not begin with one */
	struct bytes host;        /* of the absolute-form target, else of Host; len 0: HTTP/1.0 without */
	int minor;                /* HTTP/1.minor */
	struct http_field fields[HTTP_HEADERS_MAX];
	size_t field_count;
	unsigned seen;            /* which of the fields that may come once did */
	bool has_length, chunked;
	uint64_t length;
	bool close, keep_alive;   /* the Connection options */
	bool expect_continue;
};

/*
 * Has the whole head arrived? *scanned is the caller's note of how far the
 * last call looked, 0 at first. limit: octets of head at most.
 *
 * Returns 1 with *head_len set (final empty line included), 0 when more is
 * needed, -1 with *refusal set.
 */
int http_head_scan(struct bytes in, size_t limit, size_t *scanned, size_t *head_len,
	struct http_refusal *refusal);

/*
 * How long may the target of the head be that begins like this? Of a GET whose
 * path is one of those that takes_long() knows, HTTP_TARGET_LONG_MAX; else HTTP_TARGET_MAX. Only the query makes
 * a target long, so HTTP_TARGET_MAX octets more than the method's are enough of it to tell. NULL: no path is.
 */
size_t http_target_limit(struct bytes in, bool (*takes_long)(struct bytes path));

/*
 * Parse a head that http_head_scan() found complete. One empty line before
 * the request line is ignored (RFC 9112, section 2.2).
 *
 * Returns 0, or -1 with *refusal set: 400 413 414 417 431 501 505.
 */
MUST_USE int http_head_parse(struct bytes head, size_t target_max, uint64_t body_max, struct http_request *out,
	struct http_refusal *refusal);

/* Does the connection outlive this request? */
bool http_request_persists(const struct http_request *request);

/*
 * The head for the handler, appended to out: the request line as HTTP/1.1,
 * Host, the fields that go on, and the empty line. Fields of the caller's own
 * belong after the first *line_len octets of it.
 */
void http_request_rebuild(const struct http_request *request, struct buf *out, size_t *line_len);

/* The body's framing, fed in whatever pieces arrive. */
enum http_body_state {
	HTTP_BODY_LENGTH, /* the rest of Content-Length octets */
	HTTP_BODY_SIZE,
	HTTP_BODY_EXTENSION,
	HTTP_BODY_SIZE_LF,
	HTTP_BODY_DATA,
	HTTP_BODY_DATA_CR,
	HTTP_BODY_DATA_LF,
	HTTP_BODY_TRAILER_START,
	HTTP_BODY_TRAILER_NAME,
	HTTP_BODY_TRAILER_VALUE,
	HTTP_BODY_TRAILER_LF,
	HTTP_BODY_LAST_LF,
	HTTP_BODY_DONE,
};

struct http_body {
	enum http_body_state state;
	uint64_t left;  /* octets of this chunk, or of the body */
	uint64_t total, max;
	unsigned digits;
	size_t extensions, trailers;
};

/* max: octets of body, enforced while reading. */
void http_body_start(struct http_body *body, const struct http_request *request, uint64_t max);

/*
 * Take what belongs to the body from in and append its contents to out.
 * *used says how much of in that was; the rest is the next request's.
 *
 * Returns 1 when the body is complete, 0 when more is needed, -1 with *refusal set.
 */
int http_body_feed(struct http_body *body, struct bytes in, size_t *used, struct buf *out,
	struct http_refusal *refusal);

/* Shared with the answer's reader. */
bool http_name_is(struct bytes name, const char *lower); /* ignoring case */
bool http_is_token(struct bytes in);
/* One field line without its CRLF. -1: not "token: value" without control characters. */
int http_field_split(struct bytes line, struct http_field *out);
/* The next line without its CRLF; -1 when there is none or it ends in a bare LF. */
int http_line_next(struct cursor *c, struct bytes *line);
/* Up to 18 decimal digits and nothing else. */
int http_decimal(struct bytes in, uint64_t *out);
/* Calls back for "a, b" lists: true when one of the options is this one, ignoring case. */
bool http_list_has(struct bytes list, const char *lower);
/* Connection, Transfer-Encoding and the like (RFC 9110, section 7.6.1), and X-Front-*. */
bool http_name_is_ours(struct bytes name);

#endif
