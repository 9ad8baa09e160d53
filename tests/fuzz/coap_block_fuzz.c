/*
 * EST over CoAP, what a peer decides: a session's requests one after the other, and the parsers alone.
 *
 * The first octet says which. A session: its bounds hold after each message,
 * every body that runs is one that was sent, and an answer comes back in the slices of what was said.
 */
#include <stdlib.h>
#include <string.h>

#include "coap/exchange.h"
#include "coap/formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BODY_MAX 4096

static const char *const roots[] = { "/est", "/e/x" };

static void
demand(bool condition)
{
	if (!condition)
		abort();
}

static struct bytes
take_short(struct cursor *c)
{
	size_t len = cursor_u8(c);

	return cursor_take(c, len < cursor_left(c) ? len : cursor_left(c));
}

static void
fuzz_path(struct cursor *c)
{
	char label[EST_LABEL_MAX + 1];
	struct bytes segments[8];
	enum coaps_op op;
	size_t n = 0;
	struct err e;

	while (n < 8 && cursor_left(c) > 0)
		segments[n++] = take_short(c);
	if (coaps_path_parse(segments, n, roots, 2, &op, label, &e) != 0) {
		demand(e.code == ERR_UNSUPPORTED);
		return;
	}
	demand(op != COAPS_OP_NONE && bytes_equal_text(segments[n - 1], coaps_op_name(op)));
	demand(label[0] == '\0' || bytes_equal_text(segments[n - 2], label));
}

static void
fuzz_links(struct cursor *c)
{
	static const struct coaps_offer offers[] = { { "", COAPS_OFFER_ALL }, { "iot", 1U << COAPS_OP_SEN } };
	struct buf all = { 0 }, some = { 0 };

	coaps_links_write(&all, roots, 2, offers, 2, bytes_of(NULL, 0));
	coaps_links_write(&some, roots, 2, offers, 2, cursor_take(c, cursor_left(c)));
	demand(!buf_failed(&some) && some.len <= all.len);
	demand(some.len == 0 || some.at[0] == '<');
	buf_free(&all);
	buf_free(&some);
}

static void
fuzz_multipart(struct cursor *c)
{
	struct coaps_multipart parts, again;
	struct buf out = { 0 };
	struct err e;

	if (coaps_multipart_parse(cursor_take(c, cursor_left(c)), &parts, &e) != 0) {
		demand(e.code == ERR_MALFORMED);
		return;
	}
	coaps_multipart_write(&out, parts.key_format, parts.key, parts.cert_format, parts.cert);
	demand(coaps_multipart_parse(buf_bytes(&out), &again, &e) == 0);
	demand(bytes_equal(parts.key, again.key) && bytes_equal(parts.cert, again.cert));
	demand(parts.key_format == again.key_format && parts.cert_format == again.cert_format);
	buf_free(&out);
}

/* Options as on the wire, more or less: delta and length in one octet each. */
static size_t
take_options(struct cursor *c, struct coaps_option *options, size_t max)
{
	size_t count = cursor_u8(c) % 12, n = 0;
	unsigned number = 0;

	while (n < count && n < max && cursor_left(c) > 0) {
		number += cursor_u8(c) % 40;
		options[n++] = (struct coaps_option){ (uint16_t)number, take_short(c) };
	}
	return n;
}

static void
check_reply(const struct coaps_reply *reply)
{
	demand(reply->token_len <= COAPS_TOKEN_MAX);
	demand(reply->payload.len <= 1024);
	demand(reply->code == 0 || (reply->code >= 200 && reply->code < 600));
	demand(!reply->has_block2 || reply->payload.len <= coaps_block_size(reply->block2.szx));
	demand(!reply->has_block2 || !reply->block2.more ||
		reply->payload.len == coaps_block_size(reply->block2.szx));
	demand(reply->code != 0 || (reply->token_len == 0 && reply->payload.len == 0));
}

struct session {
	struct coaps_exchange *x;
	int64_t now_ms;
	uint32_t tickets[COAPS_RUNNING_MAX];
	size_t running;
};

static void
answer_one(struct session *s, uint8_t how)
{
	struct coaps_answer answer = { .content_format = COAPS_FORMAT_CERTS };
	struct coaps_reply reply;

	if (s->running == 0)
		return;
	answer.code = (how & 1) != 0 ? 204 : 403;
	answer.secret = (how & 2) != 0;
	while (answer.body.len < (size_t)how * 16)
		buf_append_u8(&answer.body, (uint8_t)(answer.body.len / 16));
	if ((how & 4) != 0 && coaps_exchange_delay(s->x, s->tickets[0], &reply))
		check_reply(&reply);
	demand(coaps_exchange_answer(s->x, s->tickets[0], &answer, s->now_ms, &reply));
	check_reply(&reply);
	/* Octet n of the body is n / 16: slices are what they say. */
	if (reply.code == 204 && reply.payload.len > 0)
		demand(reply.payload.at[0] == (reply.has_block2 ? reply.block2.num << reply.block2.szx & 0xff : 0));
	buf_free(&answer.body);
	s->running--;
	memmove(s->tickets, s->tickets + 1, s->running * sizeof s->tickets[0]);
}

static void
feed_one(struct session *s, struct cursor *c)
{
	struct coaps_option options[16];
	struct coaps_message m = { 0 };
	struct coaps_reply reply;
	struct coaps_run run;
	uint8_t head = cursor_u8(c);
	int code = 0, method = head & 7;
	size_t count;
	struct err e;

	m.confirmable = (head & 8) != 0;
	m.id = cursor_u8(c) & 15;
	m.token_len = head >> 4 & 7;
	memset(m.token, head, m.token_len);
	count = take_options(c, options, 16);
	m.payload = take_short(c);
	if (coaps_message_parse(method, options, count, roots, 2, &m, &code, &e) != 0) {
		demand(code == 400 || code == 402 || code == 404 || code == 405);
		return;
	}
	switch (coaps_exchange_feed(s->x, &m, s->now_ms, &reply, &run)) {
	case COAPS_STEP_RUN:
		demand(run.body.len <= BODY_MAX && s->running < COAPS_RUNNING_MAX);
		s->tickets[s->running++] = run.ticket;
		buf_free(&run.body);
		break;
	case COAPS_STEP_REPLY:
	case COAPS_STEP_REPLAY:
		check_reply(&reply);
		break;
	case COAPS_STEP_NOTHING:
		abort();
	case COAPS_STEP_DUPLICATE:
	default:
		break;
	}
}

static void
fuzz_session(struct cursor *c, size_t message_max)
{
	const struct coaps_exchange_limits limits = { .body_max = BODY_MAX, .message_max = message_max };
	struct session s = { .x = coaps_exchange_new(&limits) };

	while (s.x != NULL && cursor_left(c) > 0) {
		uint8_t what = cursor_u8(c);

		if ((what & 3) == 3)
			answer_one(&s, cursor_u8(c));
		else if (what == 0xfc)
			s.now_ms += 30000;
		else if (what == 0xf8)
			(void)coaps_exchange_expire(s.x, s.now_ms);
		else
			feed_one(&s, c);
		demand(coaps_exchange_held(s.x) <= COAPS_UPLOADS_MAX * (2 * BODY_MAX + 2048) + 16384);
	}
	coaps_exchange_free(s.x);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = cursor_of(bytes_of(data, size));

	switch (cursor_u8(&c)) {
	case 'p':
		fuzz_path(&c);
		break;
	case 'l':
		fuzz_links(&c);
		break;
	case 'm':
		fuzz_multipart(&c);
		break;
	case 's':
		fuzz_session(&c, 219);
		break;
	default:
		fuzz_session(&c, 1115);
		break;
	}
	return 0;
}
