/* From received octets to a complete request. */
#include "gateway/http/front_internal.h"

#include <string.h>

#include "gateway/core/log.h"

static void
consume(struct buf *in, size_t len)
{
	in->len -= len;
	if (in->len != 0)
		memmove(in->at, in->at + len, in->len);
}

/* A request that breaks the rules ends its connection: nobody knows where the next one would begin. */
static void
refuse(struct conn *conn, const struct http_refusal *refusal)
{
	const struct conn_facts *facts = conn_facts_of(conn);

	log_rare(LOG_LEVEL_INFO, "http refused", "%s: %d %s", facts == NULL ? "?" : facts->peer,
		refusal->status, refusal->reason);
	conn_answer_text(conn, refusal->status, refusal->reason, true);
}

/* RFC 9110, section 10.1.1: the client waits for this before it sends the body. */
static void
say_continue(struct conn *conn)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

	if (wire_write(conn, (const uint8_t *)text, sizeof text - 1) == (ssize_t)(sizeof text - 1))
		return;
	/* A client that takes not even this many octets is not served: an empty answer, and the end. */
	conn->broken = true;
	conn->close_after = true;
	buf_clear(&conn->out);
	conn->out_at = 0;
	conn->state = CONN_ANSWER;
}

/*
 * The limit of this head: a long target has room of its own beside the fields. Asked once for a request, as soon
 * as it is longer than the ordinary limits: the path has arrived by then.
 */
static size_t
head_limit(struct conn *conn)
{
	const struct front_settings *settings = &conn->loop->front->settings;
	size_t usual = (size_t)settings->header_max, limit;

	if (conn->target_max == 0 && (conn->in.len > usual || conn->in.len > HTTP_TARGET_MAX))
		conn->target_max = http_target_limit(buf_bytes(&conn->in), settings->takes_long_target);
	if (conn->target_max <= HTTP_TARGET_MAX)
		return usual;
	limit = usual + conn->target_max;
	return limit < FRONT_HEADER_MAX ? limit : FRONT_HEADER_MAX;
}

static bool
parse_head(struct conn *conn)
{
	const struct front_settings *settings = &conn->loop->front->settings;
	struct http_refusal refusal;
	struct http_request request;
	size_t head_len;
	int found = http_head_scan(buf_bytes(&conn->in), head_limit(conn), &conn->scanned, &head_len, &refusal);

	if (found == 0)
		return false;
	if (found < 0 || http_head_parse(bytes_of(conn->in.at, head_len),
				 conn->target_max == 0 ? HTTP_TARGET_MAX : conn->target_max,
				 (uint64_t)settings->body_max, &request, &refusal) != 0) {
		refuse(conn, &refusal);
		return true;
	}
	conn->requests++;
	conn->is_head = bytes_equal_text(request.method, "HEAD");
	conn->http10 = request.minor == 0;
	conn->persists = http_request_persists(&request) &&
		(settings->requests_per_connection <= 0 || conn->requests < settings->requests_per_connection);
	buf_clear(&conn->head);
	http_request_rebuild(&request, &conn->head, &conn->line_len);
	http_body_start(&conn->body, &request, (uint64_t)settings->body_max);
	consume(&conn->in, head_len);
	buf_clear(&conn->content);
	conn->state = CONN_BODY;
	if (conn->body.state == HTTP_BODY_DONE)
		backend_submit(conn);
	else if (request.expect_continue && conn->in.len == 0)
		say_continue(conn);
	return true;
}

static bool
parse_body(struct conn *conn)
{
	struct http_refusal refusal;
	size_t used = 0;
	int done = http_body_feed(&conn->body, buf_bytes(&conn->in), &used, &conn->content, &refusal);

	if (done < 0) {
		refuse(conn, &refusal);
		return true;
	}
	consume(&conn->in, used);
	if (done == 0)
		return false;
	backend_submit(conn);
	return true;
}

bool
conn_parse(struct conn *conn)
{
	switch (conn->state) {
	case CONN_IDLE:
		if (conn->in.len == 0)
			return false;
		conn->state = CONN_HEAD;
		conn->scanned = conn->target_max = 0;
		/* Of the request before; an answer to half a head must not go by them. */
		conn->persists = conn->http10 = conn->is_head = false;
		return true;
	case CONN_HEAD:
		return parse_head(conn);
	case CONN_BODY:
		return parse_body(conn);
	case CONN_HANDSHAKE:
	case CONN_QUEUED:
	case CONN_BUSY:
	case CONN_ANSWER:
	case CONN_LINGER:
		break;
	}
	return false;
}
