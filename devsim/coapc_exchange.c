#define _GNU_SOURCE
#include "devsim/coapc_exchange.h"

#include <stdlib.h>
#include <string.h>

#define TOKEN_LEN  4
#define SEEN_MAX   (sizeof((struct coapc_exchange *)0)->seen / sizeof(uint16_t))

/* splitmix64: nothing here is a secret; DTLS is what keeps strangers out. */
static uint64_t
next_random(struct coapc_exchange *x)
{
	uint64_t z = x->random += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

void
coapc_exchange_init(struct coapc_exchange *x, uint64_t seed)
{
	*x = (struct coapc_exchange){ .random = seed, .ack_timeout_us = COAPC_ACK_TIMEOUT_US };
	x->next_id = (uint16_t)next_random(x);
}

static void
forget_request(struct coapc_exchange *x)
{
	free(x->path);
	free(x->query);
	x->path = x->query = NULL;
	buf_clear(&x->body);
	buf_clear(&x->message);
	x->to_send = false;
	x->timer_us = 0;
}

void
coapc_exchange_reset(struct coapc_exchange *x)
{
	forget_request(x);
	buf_clear(&x->reply);
	x->seen_count = 0;
	x->state = COAPC_IDLE;
}

void
coapc_exchange_free(struct coapc_exchange *x)
{
	forget_request(x);
	buf_free(&x->body);
	buf_free(&x->message);
	buf_free(&x->reply);
	/* It may hold a private key that the server made. */
	buf_free_secret(&x->answer.body);
}

static void
fail(struct coapc_exchange *x)
{
	x->state = COAPC_FAILED;
	forget_request(x);
}

static void
token_octets(const struct coapc_exchange *x, uint8_t out[TOKEN_LEN])
{
	size_t i;

	for (i = 0; i < TOKEN_LEN; i++)
		out[i] = (uint8_t)(x->token >> 8 * i);
}

static void
write_path(struct coapc_exchange *x, unsigned *last)
{
	const char *at = x->path;

	while (*at != '\0') {
		size_t len = strcspn(at, "/");

		if (len > 0)
			coapc_write_option(&x->message, last, COAPC_URI_PATH, bytes_of(at, len));
		at += len + (at[len] == '/' ? 1 : 0);
	}
}

/* The request, or the part of it that comes next; or the question for the next block of the answer. */
static void
write_message(struct coapc_exchange *x)
{
	size_t left = x->body.len - x->offset, size = coapc_block_size(x->szx);
	struct coapc_block block1 = { .num = (uint32_t)(x->offset / size), .more = left > size, .szx = x->szx };
	struct coapc_block block2 = { .num = x->block2, .szx = x->szx2 };
	bool fetching = x->block2 > 0;
	uint8_t token[TOKEN_LEN];
	unsigned last = 0;

	x->token = next_random(x);
	x->id = x->next_id++;
	x->length = fetching ? 0 : left > size ? size : left;
	token_octets(x, token);
	buf_clear(&x->message);
	coapc_write_head(&x->message, COAPC_CON, x->code, x->id, bytes_of(token, sizeof token));
	write_path(x, &last);
	if (x->content_format >= 0 && !fetching)
		coapc_write_uint(&x->message, &last, COAPC_CONTENT_FORMAT, (uint32_t)x->content_format);
	if (x->query != NULL)
		coapc_write_option(&x->message, &last, COAPC_URI_QUERY, bytes_of_text(x->query));
	if (x->accept >= 0)
		coapc_write_uint(&x->message, &last, COAPC_ACCEPT, (uint32_t)x->accept);
	/* RFC 7959, section 3.3: the size of the answer's blocks is named with the last block of the request. */
	if (fetching || (x->ask_block2 && !block1.more))
		coapc_write_block(&x->message, &last, COAPC_BLOCK2, &block2);
	if (!fetching && (block1.more || block1.num > 0))
		coapc_write_block(&x->message, &last, COAPC_BLOCK1, &block1);
	if (x->length > 0)
		coapc_write_payload(&x->message, bytes_of(x->body.at + x->offset, x->length));
	x->to_send = true;
	x->acked = false;
	x->transmissions = 0;
	x->timer_us = 0;
	if (buf_failed(&x->message)) {
		(void)err_set(&x->err, ERR_NOMEM, "CoAP: no memory");
		fail(x);
	}
}

void
coapc_exchange_begin(struct coapc_exchange *x, const struct coapc_request *request)
{
	forget_request(x);
	if (x->answer.body.at != NULL)
		buf_free_secret(&x->answer.body);
	x->answer = (struct coapc_answer){ .content_format = -1, .max_age_s = -1 };
	x->err = (struct err){ 0 };
	x->code = request->code;
	x->content_format = request->content_format;
	x->accept = request->accept;
	x->path = strdup(request->path);
	x->query = request->query == NULL ? NULL : strdup(request->query);
	buf_append_bytes(&x->body, request->body);
	x->offset = 0;
	x->block2 = 0;
	x->szx = x->szx2 = request->szx;
	x->ask_block2 = request->szx < COAPC_SZX_MAX;
	x->etag_len = 0;
	x->state = COAPC_RUNNING;
	if (x->path == NULL || (request->query != NULL && x->query == NULL) || buf_failed(&x->body)) {
		(void)err_set(&x->err, ERR_NOMEM, "CoAP: no memory");
		fail(x);
		return;
	}
	write_message(x);
}

static void
trace(struct coapc_exchange *x, const char *mark, struct bytes message)
{
	if (x->trace != NULL)
		x->trace(x->trace_arg, mark, message);
}

/* RFC 7252, section 4.2: "the initial timeout is set to a random duration [...] between ACK_TIMEOUT and (ACK_TIMEOUT * ACK_RANDOM_FACTOR)", which is 1.5. */
static int64_t
first_timeout_us(struct coapc_exchange *x)
{
	uint64_t half = (uint64_t)x->ack_timeout_us / 2;

	return x->ack_timeout_us + (int64_t)(next_random(x) % (half + 1));
}

struct bytes
coapc_exchange_output(struct coapc_exchange *x, int64_t now_us)
{
	if (x->reply.len > 0) {
		struct bytes reply = buf_bytes(&x->reply);

		/* The octets stay where they are until the next reply. */
		x->reply.len = 0;
		trace(x, ">", reply);
		return reply;
	}
	if (x->state != COAPC_RUNNING || !x->to_send)
		return bytes_of(NULL, 0);
	x->to_send = false;
	x->sent++;
	if (x->transmissions++ == 0)
		x->timeout_us = first_timeout_us(x);
	else
		x->retransmitted++;
	x->timer_us = now_us + x->timeout_us;
	trace(x, x->transmissions == 1 ? ">" : "> again:", buf_bytes(&x->message));
	return buf_bytes(&x->message);
}

int64_t
coapc_exchange_timer_us(const struct coapc_exchange *x)
{
	return x->state == COAPC_RUNNING ? x->timer_us : 0;
}

void
coapc_exchange_tick(struct coapc_exchange *x, int64_t now_us)
{
	if (x->state != COAPC_RUNNING || x->timer_us == 0 || now_us < x->timer_us)
		return;
	if (x->transmissions > COAPC_MAX_RETRANSMIT) {
		(void)err_set(&x->err, ERR_UPSTREAM, "CoAP: no acknowledgement after %u transmissions", x->transmissions);
		fail(x);
		return;
	}
	x->timer_us = 0;
	x->timeout_us *= 2;
	x->to_send = true;
}

/* --- what comes ----------------------------------------------------------- */

static void
malformed(struct coapc_exchange *x, const char *what)
{
	(void)err_set(&x->err, ERR_MALFORMED, "CoAP: %s", what);
	fail(x);
}

static void
finish(struct coapc_exchange *x)
{
	if (buf_failed(&x->answer.body)) {
		(void)err_set(&x->err, ERR_NOMEM, "CoAP: no memory");
		fail(x);
		return;
	}
	x->state = COAPC_DONE;
	forget_request(x);
}

/* The answer to a block of the request that others follow; true: it is dealt with. */
static bool
take_upload(struct coapc_exchange *x, const struct coapc_message *m)
{
	bool more = x->offset + x->length < x->body.len;
	size_t size = coapc_block_size(x->szx);

	if (m->code == COAPC_CONTINUE) {
		if (!more || !m->has_block1 || m->block1.num != x->offset / size)
			malformed(x, "2.31 (Continue) for a block that was not sent, or that none follows");
		else {
			x->offset += x->length;
			/* RFC 7959, section 2.5: a smaller size "is the size that the client SHOULD use [...] in further requests". */
			if (m->block1.szx < x->szx)
				x->szx = m->block1.szx;
			write_message(x);
		}
		return true;
	}
	/* Section 2.9.3: a 4.13 with a smaller size asks to begin again with that. */
	if (m->code == COAPC_TOO_LARGE && m->has_block1 && m->block1.szx < x->szx) {
		x->szx = m->block1.szx;
		x->offset = 0;
		write_message(x);
		return true;
	}
	if (more && m->code / 100 == 2) {
		malformed(x, "success before the whole request was sent");
		return true;
	}
	return false;
}

static bool
etag_is_same(const struct coapc_exchange *x, const struct coapc_message *m)
{
	return bytes_equal(m->etag, bytes_of(x->etag, x->etag_len));
}

/* What the first message of the answer says holds for all of it. */
static void
take_part(struct coapc_exchange *x, const struct coapc_message *m)
{
	if (x->answer.blocks == 0) {
		x->etag_len = m->etag.len;
		if (m->etag.len > 0)
			memcpy(x->etag, m->etag.at, m->etag.len);
		x->answer.code = m->code;
		x->answer.content_format = m->content_format;
		x->answer.max_age_s = m->max_age_s;
	}
	buf_append_bytes(&x->answer.body, m->payload);
	x->answer.blocks++;
}

/* One block of the answer. */
static void
take_block(struct coapc_exchange *x, const struct coapc_message *m)
{
	size_t size = coapc_block_size(m->block2.szx);

	if (m->block2.num * size != x->answer.body.len || m->payload.len > size ||
	    (m->block2.more && m->payload.len != size) || (x->answer.blocks > 0 && m->code != x->answer.code)) {
		malformed(x, "a block that is not the one asked for");
		return;
	}
	/* RFC 7959, section 2.4: blocks of different representations must not be put together. */
	if (x->answer.blocks > 0 && !etag_is_same(x, m)) {
		malformed(x, "the answer changed between its blocks");
		return;
	}
	if (x->answer.body.len + m->payload.len > COAPC_BODY_MAX) {
		(void)err_set(&x->err, ERR_LIMIT, "CoAP: an answer of more than %zu octets", COAPC_BODY_MAX);
		fail(x);
		return;
	}
	take_part(x, m);
	if (!m->block2.more) {
		finish(x);
		return;
	}
	x->szx2 = m->block2.szx;
	x->block2 = m->block2.num + 1;
	write_message(x);
}

static void
take_response(struct coapc_exchange *x, const struct coapc_message *m, bool separate)
{
	x->timer_us = 0;
	x->to_send = false;
	x->answer.separate |= separate;
	if (m->critical != 0) {
		(void)err_set(&x->err, ERR_MALFORMED, "CoAP: the answer has the unknown critical option %u", m->critical);
		fail(x);
		return;
	}
	if (x->block2 == 0 && take_upload(x, m))
		return;
	if (m->has_block2) {
		take_block(x, m);
		return;
	}
	if (x->block2 > 0 && m->code / 100 == 2) {
		malformed(x, "a block without its number");
		return;
	}
	/* Without blocks, or an error halfway: this message is the answer. */
	buf_clear(&x->answer.body);
	x->answer.blocks = 0;
	take_part(x, m);
	finish(x);
}

static void
reply(struct coapc_exchange *x, enum coapc_type type, uint16_t id)
{
	buf_clear(&x->reply);
	coapc_write_head(&x->reply, type, COAPC_EMPTY, id, bytes_of(NULL, 0));
	if (buf_failed(&x->reply))
		buf_clear(&x->reply);
}

static bool
was_seen(const struct coapc_exchange *x, uint16_t id)
{
	size_t i;

	for (i = 0; i < x->seen_count && i < SEEN_MAX; i++)
		if (x->seen[i] == id)
			return true;
	return false;
}

static void
note_seen(struct coapc_exchange *x, uint16_t id)
{
	x->seen[x->seen_count % SEEN_MAX] = id;
	x->seen_count++;
}

static bool
is_ours(const struct coapc_exchange *x, const struct coapc_message *m)
{
	uint8_t token[TOKEN_LEN];

	token_octets(x, token);
	return x->state == COAPC_RUNNING && x->transmissions > 0 &&
		bytes_equal(bytes_of(m->token, m->token_len), bytes_of(token, sizeof token));
}

/* RFC 7252, section 4.2: an acknowledgement or a reset of the message under way. */
static void
take_acknowledgement(struct coapc_exchange *x, const struct coapc_message *m)
{
	bool current = x->state == COAPC_RUNNING && x->transmissions > 0 && m->id == x->id;

	if (!current || (m->code != COAPC_EMPTY && !is_ours(x, m))) {
		x->ignored++;
		return;
	}
	if (m->type == COAPC_RST) {
		(void)err_set(&x->err, ERR_UPSTREAM, "CoAP: the server reset the request");
		fail(x);
		return;
	}
	x->acked = true;
	x->to_send = false;
	x->timer_us = 0;
	if (m->code != COAPC_EMPTY)
		take_response(x, m, false);
}

void
coapc_exchange_input(struct coapc_exchange *x, struct bytes in)
{
	struct coapc_message m;
	struct err e;
	bool response;

	x->received++;
	trace(x, "<", in);
	if (coapc_message_decode(in, &m, &e) != 0) {
		x->ignored++;
		return;
	}
	response = m.code >= 200 && m.code < 600;
	if (m.type == COAPC_ACK || m.type == COAPC_RST) {
		if (m.code == COAPC_EMPTY || response)
			take_acknowledgement(x, &m);
		return;
	}
	if (response && is_ours(x, &m)) {
		/* Section 5.2.2: it also acknowledges the request, should the acknowledgement have been lost. */
		if (m.type == COAPC_CON) {
			reply(x, COAPC_ACK, m.id);
			note_seen(x, m.id);
		}
		take_response(x, &m, true);
		return;
	}
	x->ignored++;
	/* Section 4.2: what is confirmable and makes no sense here is rejected; a ping is answered the same way. */
	if (m.type == COAPC_CON)
		reply(x, response && was_seen(x, m.id) ? COAPC_ACK : COAPC_RST, m.id);
}
