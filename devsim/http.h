/*
 * http.h - HTTP/1.1 answers, read piece by piece; pure.
 */
#ifndef DEVSIM_HTTP_H
#define DEVSIM_HTTP_H

#include "base/bytes.h"

#define HTTP_HEAD_MAX 65536
#define HTTP_BODY_MAX ((size_t)16 << 20)

enum http_state {
	HTTP_HEAD,
	HTTP_BODY_LENGTH,     /* Content-Length: left octets to come */
	HTTP_BODY_CLOSE,      /* neither length nor chunks: until the connection ends */
	HTTP_CHUNK_SIZE,
	HTTP_CHUNK_DATA,
	HTTP_CHUNK_END,       /* the CRLF after a chunk */
	HTTP_TRAILER,
	HTTP_DONE,
};

struct http_answer {
	enum http_state state;
	int status;
	bool keep_alive; /* the connection may carry another request */
	struct buf head; /* status line and fields, as received */
	struct buf body; /* transfer coding removed */
	uint64_t left;
	struct buf line; /* of chunk sizes and trailers */
};

void http_answer_clear(struct http_answer *answer); /* ready for the next one; keeps the memory */
void http_answer_free(struct http_answer *answer);  /* the struct itself stays the caller's */

/*
 * Feed received octets; *used says how many belonged to this answer.
 * state is HTTP_DONE when it is complete. 1xx answers are skipped.
 * ERR_MALFORMED or ERR_LIMIT: the peer does not speak HTTP/1.1.
 */
MUST_USE int http_answer_feed(struct http_answer *answer, struct bytes in, size_t *used, struct err *e);
/* The connection ended: completes an answer that lasts until then; anything else is ERR_MALFORMED. */
MUST_USE int http_answer_end(struct http_answer *answer, struct err *e);

/* The first field of that name without blanks around it; len 0: absent. Case does not matter. */
struct bytes http_field(const struct http_answer *answer, const char *name);

/* Retry-After in seconds from now: delta-seconds or a date (RFC 9110, section 10.2.3); -1: absent or neither. */
int64_t http_retry_after_s(const struct http_answer *answer, int64_t now_s);

/* A parameter of a media type ("boundary", "smime-type") without quotes, copied; false: absent or too long. */
bool http_parameter(struct bytes content_type, const char *name, char *out, size_t size);
/* Whether a field value names this media type, parameters aside. */
bool http_type_is(struct bytes content_type, const char *type);

#endif
