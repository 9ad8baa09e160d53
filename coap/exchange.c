#include "coap/exchange_state.h"

#include <string.h>

static struct coaps_past *
past_find(struct coaps_exchange *x, const struct coaps_message *m)
{
	size_t i;

	for (i = 0; i < COAPS_PAST_MAX; i++) {
		struct coaps_past *past = &x->past[i];

		if (past->state != PAST_FREE && past->reply.id == m->id && past->confirmable == m->confirmable &&
		    past->reply.token_len == m->token_len && memcmp(past->reply.token, m->token, m->token_len) == 0)
			return past;
	}
	return NULL;
}

/* Which of two gives way: what can be done again, then the older. */
static bool
gives_way(const struct coaps_past *past, const struct coaps_past *other)
{
	if (other == NULL || past->ran != other->ran)
		return other == NULL || other->ran;
	return past->at_ms < other->at_ms;
}

/* A place for a new message: a free one, or one that is answered. There are more than COAPS_RUNNING_MAX. */
static struct coaps_past *
past_take(struct coaps_exchange *x, const struct coaps_message *m, int64_t now_ms)
{
	struct coaps_past *oldest = NULL;
	size_t i;

	for (i = 0; i < COAPS_PAST_MAX; i++) {
		struct coaps_past *past = &x->past[i];

		if (past->state == PAST_FREE) {
			oldest = past;
			break;
		}
		if (!coaps_past_running(past) && gives_way(past, oldest))
			oldest = past;
	}
	if (oldest == NULL)
		return NULL;
	coaps_past_drop(oldest);
	oldest->at_ms = now_ms;
	oldest->confirmable = m->confirmable;
	oldest->has_block1 = m->has_block1;
	oldest->has_block2 = m->has_block2;
	oldest->block1 = m->block1;
	oldest->block2 = m->block2;
	oldest->target = m->target;
	oldest->accept = m->accept;
	oldest->reply.as = m->confirmable ? COAPS_SEND_ACK : COAPS_SEND_NON;
	oldest->reply.id = m->id;
	oldest->reply.content_format = COAPS_FORMAT_NONE;
	memcpy(oldest->reply.token, m->token, m->token_len);
	oldest->reply.token_len = m->token_len;
	return oldest;
}

/* RFC 7252, section 4.1: an empty message has neither token nor options. */
static void
empty_ack(const struct coaps_past *past, struct coaps_reply *reply)
{
	*reply = (struct coaps_reply){ .as = COAPS_SEND_ACK, .id = past->reply.id, .content_format = COAPS_FORMAT_NONE };
}

/* The answer that past remembers, to send now. */
static enum coaps_step
say(struct coaps_past *past, struct coaps_reply *reply)
{
	if (buf_failed(&past->payload)) {
		past->reply.code = 500;
		past->reply.content_format = COAPS_FORMAT_NONE;
		past->reply.has_block2 = false;
		buf_clear(&past->payload);
	}
	past->reply.payload = buf_bytes(&past->payload);
	*reply = past->reply;
	/* A separate answer is retransmitted by itself; its request's duplicates get what was promised. */
	past->state = past->reply.as == COAPS_SEND_CON ? PAST_SEPARATE : PAST_ANSWERED;
	return COAPS_STEP_REPLY;
}

static enum coaps_step
say_code(struct coaps_past *past, int code, const char *why, struct coaps_reply *reply)
{
	past->reply.code = code;
	past->reply.content_format = COAPS_FORMAT_NONE;
	buf_append_text(&past->payload, why);
	return say(past, reply);
}

/* RFC 7252, section 5.9.2.9: "The response SHOULD include a Size1 Option". */
static enum coaps_step
say_too_large(const struct coaps_exchange *x, struct coaps_past *past, struct coaps_reply *reply)
{
	past->reply.has_size1 = true;
	past->reply.size1 = (uint32_t)x->limits.body_max;
	buf_printf(&past->payload, "a body has at most %zu octets", x->limits.body_max);
	return say_code(past, 413, "", reply);
}

/* RFC 7252, section 4.2: a duplicate of a confirmable message is acknowledged again, with the same answer. */
static enum coaps_step
repeat(struct coaps_past *past, struct coaps_reply *reply)
{
	if (!past->confirmable)
		return COAPS_STEP_DUPLICATE;
	switch (past->state) {
	case PAST_ANSWERED:
		*reply = past->reply;
		return COAPS_STEP_REPLAY;
	case PAST_RUNNING:
		past->state = PAST_DELAYED;
		empty_ack(past, reply);
		return COAPS_STEP_REPLAY;
	case PAST_DELAYED:
	case PAST_SEPARATE:
		empty_ack(past, reply);
		return COAPS_STEP_REPLAY;
	case PAST_FREE:
	default:
		return COAPS_STEP_DUPLICATE;
	}
}

/* A later block may leave out what the first one said; it cannot say something else. */
static bool
format_agrees(int known, int said)
{
	return said == COAPS_FORMAT_NONE || said == known;
}

static uint8_t
szx_for(const struct coaps_exchange *x, const struct coaps_past *past)
{
	uint8_t szx = coaps_block_fit(x->limits.message_max - COAPS_HEADER_MAX);

	/* RFC 7959, section 2.4: the client's size or a smaller one. Who sends small blocks wants small ones. */
	if (past->has_block2 && past->block2.szx < szx)
		szx = past->block2.szx;
	if (!past->has_block2 && past->has_block1 && past->block1.szx < szx)
		szx = past->block1.szx;
	return szx;
}

/* Puts the block of an answer's body that past asks for into its reply. */
static enum coaps_step
say_slice(struct coaps_exchange *x, struct coaps_past *past, struct bytes body, struct coaps_reply *reply)
{
	uint8_t asked = past->has_block2 ? past->block2.szx : COAPS_SZX_MAX;
	uint8_t szx = szx_for(x, past);
	uint32_t num = past->has_block2 ? past->block2.num : 0;
	struct bytes slice;
	bool more;

	/* The same octets in smaller blocks have larger numbers. */
	if (num > 0)
		num <<= asked - szx;
	past->offset = (size_t)num * coaps_block_size(szx);
	if (!coaps_body_slice(body, num, szx, &slice, &more))
		return say_code(past, 400, "no such block", reply);
	if (more || past->has_block2) {
		past->reply.has_block2 = true;
		past->reply.block2 = (struct coaps_block){ .num = num, .more = more, .szx = szx };
	}
	buf_append_bytes(&past->payload, slice);
	return say(past, reply);
}

static enum coaps_step
continue_download(struct coaps_exchange *x, struct coaps_past *past, int64_t now_ms, struct coaps_reply *reply)
{
	struct coaps_exchange_download *d = &x->download;

	d->at_ms = now_ms;
	past->secret = d->secret;
	past->reply.code = d->code;
	past->reply.content_format = d->content_format;
	past->reply.max_age_s = d->max_age_s;
	(void)say_slice(x, past, buf_bytes(&d->body), reply);
	/* Who asks for a block has those before it. */
	if (d->secret)
		coaps_exchange_wipe(x, past);
	/* When its last block goes out a secret goes; a retransmitted request finds that block in past. */
	if (d->secret && reply->has_block2 && !reply->block2.more)
		coaps_exchange_download_drop(d);
	return COAPS_STEP_REPLY;
}

static enum coaps_step
run_body(struct coaps_exchange *x, struct coaps_past *past, const struct coaps_message *m, struct buf *body,
	struct coaps_reply *reply, struct coaps_run *run)
{
	size_t running = 0;
	size_t i;

	for (i = 0; i < COAPS_PAST_MAX; i++)
		running += coaps_past_running(&x->past[i]);
	if (running >= COAPS_RUNNING_MAX || buf_failed(body)) {
		buf_free_secret(body);
		past->reply.max_age_s = COAPS_BUSY_MAX_AGE_S;
		return say_code(past, 503, "one at a time", reply);
	}
	past->state = PAST_RUNNING;
	past->ran = m->target.method == COAPS_POST;
	past->ticket = ++x->next_ticket;
	*run = (struct coaps_run){
		.ticket = past->ticket,
		.content_format = m->content_format,
		.accept = m->accept,
		.body = *body,
	};
	return COAPS_STEP_RUN;
}

/* The upload this block belongs to, or a new one for block 0; NULL: neither. */
static struct coaps_exchange_upload *
upload_find(struct coaps_exchange *x, const struct coaps_message *m)
{
	struct coaps_exchange_upload *oldest = &x->uploads[0];
	size_t i;

	for (i = 0; i < COAPS_UPLOADS_MAX; i++) {
		struct coaps_exchange_upload *upload = &x->uploads[i];

		if (upload->blocks != NULL && coaps_target_equal(&upload->target, &m->target)) {
			/* RFC 7959, section 2.5: a new sequence "simply overwrites the context". */
			if (m->block1.num == 0 && coaps_upload_has_first(upload->blocks))
				coaps_exchange_upload_drop(upload);
			else
				return upload;
		}
		if (oldest->blocks != NULL && (upload->blocks == NULL || upload->at_ms < oldest->at_ms))
			oldest = upload;
	}
	if (m->block1.num != 0)
		return NULL;
	coaps_exchange_upload_drop(oldest);
	oldest->blocks = coaps_upload_new();
	oldest->target = m->target;
	oldest->content_format = m->content_format;
	oldest->accept = m->accept;
	return oldest->blocks == NULL ? NULL : oldest;
}

static enum coaps_step
refuse_block(struct coaps_exchange *x, struct coaps_exchange_upload *upload, struct coaps_past *past,
	enum coaps_upload_verdict verdict, struct coaps_reply *reply)
{
	bool keep = verdict == COAPS_UPLOAD_INCOMPLETE && !coaps_upload_broken(upload->blocks);

	if (!keep)
		coaps_exchange_upload_drop(upload);
	switch (verdict) {
	case COAPS_UPLOAD_BAD:
		return say_code(past, 400, "the block's length is not its size", reply);
	case COAPS_UPLOAD_TOO_LARGE:
		return say_too_large(x, past, reply);
	case COAPS_UPLOAD_NOMEM:
		past->reply.max_age_s = COAPS_BUSY_MAX_AGE_S;
		return say_code(past, 503, "", reply);
	case COAPS_UPLOAD_INCOMPLETE:
	case COAPS_UPLOAD_CONTINUE:
	case COAPS_UPLOAD_COMPLETE:
	default:
		return say_code(past, 408, keep ? "blocks are missing" : "the blocks contradict each other", reply);
	}
}

static enum coaps_step
take_block(struct coaps_exchange *x, struct coaps_past *past, const struct coaps_message *m, int64_t now_ms,
	struct coaps_reply *reply, struct coaps_run *run)
{
	struct coaps_exchange_upload *upload = upload_find(x, m);
	struct coaps_message whole = *m;
	enum coaps_upload_verdict verdict;
	struct buf body;

	/* RFC 7959, section 2.9.2: also when a restarted server, or time, has lost the beginning. */
	if (upload == NULL || !format_agrees(upload->content_format, m->content_format) ||
	    !format_agrees(upload->accept, m->accept))
		return say_code(past, 408, "begin with block 0", reply);
	upload->at_ms = now_ms;
	past->reply.has_block1 = true;
	past->reply.block1 = m->block1;
	verdict = coaps_upload_put(upload->blocks, &m->block1, m->payload, x->limits.body_max);
	if (verdict == COAPS_UPLOAD_CONTINUE)
		return say_code(past, 231, "", reply);
	if (verdict != COAPS_UPLOAD_COMPLETE) {
		past->reply.has_block1 = false;
		return refuse_block(x, upload, past, verdict, reply);
	}
	whole.content_format = upload->content_format;
	past->accept = whole.accept = upload->accept;
	body = coaps_upload_take(upload->blocks);
	coaps_exchange_upload_drop(upload);
	return run_body(x, past, &whole, &body, reply, run);
}

enum coaps_step
coaps_exchange_feed(struct coaps_exchange *x, const struct coaps_message *m, int64_t now_ms, struct coaps_reply *reply,
	struct coaps_run *run)
{
	struct coaps_past *past = past_find(x, m);
	struct buf body = { 0 };

	x->touched_ms = now_ms;
	coaps_exchange_wipe_sent(x, now_ms);
	if (past != NULL && (coaps_past_running(past) || past->at_ms + COAPS_PAST_MS > now_ms))
		return repeat(past, reply);
	if (past != NULL)
		coaps_past_drop(past);
	past = past_take(x, m, now_ms);
	if (past == NULL)
		return COAPS_STEP_NOTHING;
	if (m->has_block1)
		return take_block(x, past, m, now_ms, reply, run);
	if (m->has_block2 && m->block2.num > 0) {
		if (x->download.present && coaps_target_equal(&x->download.target, &m->target) &&
		    format_agrees(x->download.accept, m->accept))
			return continue_download(x, past, now_ms, reply);
		/*
		 * A GET may be asked again; what a POST has done is not done again for a late block, and
		 * the end of one nonce does not belong to the beginning of another.
		 */
		if (m->target.method != COAPS_GET || m->target.op == COAPS_OP_NONCE)
			return say_code(past, 408, "the answer is gone", reply);
	}
	if (m->payload.len > x->limits.body_max)
		return say_too_large(x, past, reply);
	buf_append_bytes(&body, m->payload);
	return run_body(x, past, m, &body, reply, run);
}

static struct coaps_past *
running_find(struct coaps_exchange *x, uint32_t ticket)
{
	size_t i;

	for (i = 0; i < COAPS_PAST_MAX; i++)
		if (coaps_past_running(&x->past[i]) && x->past[i].ticket == ticket)
			return &x->past[i];
	return NULL;
}

bool
coaps_exchange_delay(struct coaps_exchange *x, uint32_t ticket, struct coaps_reply *reply)
{
	struct coaps_past *past = running_find(x, ticket);

	if (past == NULL || past->state != PAST_RUNNING || !past->confirmable)
		return false;
	past->state = PAST_DELAYED;
	empty_ack(past, reply);
	return true;
}

/* An error's text is one block at most; the rest is cut. */
static void
say_error(struct coaps_exchange *x, struct coaps_past *past, const struct coaps_answer *answer,
	struct coaps_reply *reply)
{
	struct bytes text = buf_bytes(&answer->body);
	size_t room = coaps_block_size(szx_for(x, past));

	buf_append(&past->payload, text.at, text.len < room ? text.len : room);
	(void)say(past, reply);
}

bool
coaps_exchange_answer(struct coaps_exchange *x, uint32_t ticket, struct coaps_answer *answer, int64_t now_ms,
	struct coaps_reply *reply)
{
	struct coaps_past *past = running_find(x, ticket);
	struct coaps_exchange_download *d = &x->download;

	if (past == NULL) {
		buf_free_secret(&answer->body);
		return false;
	}
	past->at_ms = now_ms;
	if (past->state == PAST_DELAYED)
		past->reply.as = COAPS_SEND_CON;
	past->reply.has_block1 = past->has_block1;
	past->reply.block1 = past->block1;
	past->reply.code = answer->code;
	past->reply.max_age_s = answer->max_age_s;
	if (answer->code >= 300) {
		say_error(x, past, answer, reply);
		buf_free_secret(&answer->body);
		return true;
	}
	past->secret = answer->secret;
	past->reply.content_format = answer->body.len > 0 ? answer->content_format : COAPS_FORMAT_NONE;
	(void)say_slice(x, past, buf_bytes(&answer->body), reply);
	if (!reply->has_block2 || !reply->block2.more) {
		buf_free_secret(&answer->body);
		return true;
	}
	coaps_exchange_download_drop(d);
	*d = (struct coaps_exchange_download){
		.present = true,
		.secret = answer->secret,
		.target = past->target,
		.accept = past->accept,
		.code = answer->code,
		.content_format = past->reply.content_format,
		.max_age_s = answer->max_age_s,
		.at_ms = now_ms,
		.body = answer->body,
	};
	answer->body = (struct buf){ 0 };
	return true;
}
