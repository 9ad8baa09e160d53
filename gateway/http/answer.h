/*
 * answer.h - HTTP answers: reading CivetWeb's, writing the client's. Pure, like request.h.
 */
#ifndef GATEWAY_HTTP_ANSWER_H
#define GATEWAY_HTTP_ANSWER_H

#include "gateway/http/request.h"

#define ANSWER_HEAD_MAX 8192
#define ANSWER_BODY_MAX ((size_t)16 << 20)

enum answer_framing {
	ANSWER_EMPTY,   /* no body: HEAD, 204, 304, or a length of 0 */
	ANSWER_LENGTH,
	ANSWER_TO_EOF,  /* CivetWeb's own error pages: no length, then it closes */
};

/* A backend's answer head; the octets it was parsed from are needed to copy it. */
struct answer_head {
	int status;
	size_t head_len;
	enum answer_framing framing;
	size_t length;    /* of the body that follows */
	bool has_length;
	size_t told_length; /* Content-Length as sent, for HEAD */
	bool close;       /* the backend will close */
	bool keep;        /* the backend says that it will not */
};

/*
 * Read an answer's head from what has arrived. is_head: the request was HEAD.
 *
 * Returns 1 when it is whole, 0 when more is needed, -1 when it cannot be
 * understood (interim answers and transfer codings included: handlers send neither).
 */
int answer_head_read(struct bytes in, bool is_head, struct answer_head *out);

/* How the connection to the client goes on. */
enum answer_connection {
	ANSWER_CLOSE,
	ANSWER_KEEP,       /* HTTP/1.1: nothing needs to be said */
	ANSWER_KEEP_1_0,   /* HTTP/1.0 with keep-alive */
};

/* Append the client's head and body. in: what answer_head_read() saw, and the whole body after it. */
void answer_copy(const struct answer_head *head, struct bytes in, enum answer_connection connection,
	struct buf *out);

/* Append an answer of the front's own: one line of text. retry_after_s: 0 for none. */
void answer_text(int status, const char *text, int retry_after_s, bool is_head,
	enum answer_connection connection, struct buf *out);

#endif
