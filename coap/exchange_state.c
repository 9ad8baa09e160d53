#include "coap/exchange_state.h"

#include <stdlib.h>
#include <string.h>

struct coaps_exchange *
coaps_exchange_new(const struct coaps_exchange_limits *limits)
{
	struct coaps_exchange *x = calloc(1, sizeof *x);

	if (x != NULL)
		x->limits = *limits;
	return x;
}

void
coaps_exchange_upload_drop(struct coaps_exchange_upload *upload)
{
	coaps_upload_free(upload->blocks);
	*upload = (struct coaps_exchange_upload){ 0 };
}

void
coaps_exchange_download_drop(struct coaps_exchange_download *download)
{
	buf_free_secret(&download->body);
	*download = (struct coaps_exchange_download){ 0 };
}

void
coaps_past_drop(struct coaps_past *past)
{
	buf_free_secret(&past->payload);
	*past = (struct coaps_past){ 0 };
}

bool
coaps_target_equal(const struct coaps_target *a, const struct coaps_target *b)
{
	return a->method == b->method && a->op == b->op && strcmp(a->label, b->label) == 0;
}

/* The message stays known, so that its duplicate runs nothing; what it was answered is gone. */
static void
past_wipe(struct coaps_past *past)
{
	static const char why[] = "the answer is gone";

	buf_free_secret(&past->payload);
	past->payload = (struct buf){ 0 };
	past->secret = false;
	past->reply.code = 408;
	past->reply.content_format = COAPS_FORMAT_NONE;
	past->reply.max_age_s = 0;
	past->reply.has_block1 = past->reply.has_block2 = false;
	buf_append_text(&past->payload, why);
	past->reply.payload = buf_bytes(&past->payload);
}

void
coaps_exchange_wipe(struct coaps_exchange *x, const struct coaps_past *past)
{
	size_t i;

	for (i = 0; i < COAPS_PAST_MAX; i++)
		if (x->past[i].secret && x->past[i].offset < past->offset && !coaps_past_running(&x->past[i]) &&
		    coaps_target_equal(&x->past[i].target, &past->target))
			past_wipe(&x->past[i]);
}

void
coaps_exchange_wipe_sent(struct coaps_exchange *x, int64_t now_ms)
{
	size_t i;

	for (i = 0; i < COAPS_PAST_MAX; i++)
		if (x->past[i].secret && !coaps_past_running(&x->past[i]) &&
		    (x->past[i].state == PAST_SEPARATE || x->past[i].at_ms + COAPS_SECRET_MS <= now_ms))
			past_wipe(&x->past[i]);
}

size_t
coaps_exchange_forget(struct coaps_exchange *x)
{
	size_t dropped = 0;
	size_t i;

	for (i = 0; i < COAPS_UPLOADS_MAX; i++) {
		dropped += x->uploads[i].blocks != NULL;
		coaps_exchange_upload_drop(&x->uploads[i]);
	}
	coaps_exchange_download_drop(&x->download);
	return dropped;
}

void
coaps_exchange_free(struct coaps_exchange *x)
{
	size_t i;

	if (x == NULL)
		return;
	(void)coaps_exchange_forget(x);
	for (i = 0; i < COAPS_PAST_MAX; i++)
		coaps_past_drop(&x->past[i]);
	free(x);
}

bool
coaps_past_running(const struct coaps_past *past)
{
	return past->state == PAST_RUNNING || past->state == PAST_DELAYED;
}

size_t
coaps_exchange_expire(struct coaps_exchange *x, int64_t now_ms)
{
	size_t dropped = 0;
	size_t i;

	coaps_exchange_wipe_sent(x, now_ms);
	for (i = 0; i < COAPS_PAST_MAX; i++)
		if (!coaps_past_running(&x->past[i]) && x->past[i].at_ms + COAPS_PAST_MS <= now_ms)
			coaps_past_drop(&x->past[i]);
	for (i = 0; i < COAPS_UPLOADS_MAX; i++) {
		if (x->uploads[i].blocks == NULL || x->uploads[i].at_ms + COAPS_UPLOAD_IDLE_MS > now_ms)
			continue;
		coaps_exchange_upload_drop(&x->uploads[i]);
		dropped++;
	}
	if (x->download.present && x->download.at_ms + COAPS_ANSWER_IDLE_MS <= now_ms)
		coaps_exchange_download_drop(&x->download);
	return dropped;
}

size_t
coaps_exchange_held(const struct coaps_exchange *x)
{
	size_t held = x->download.body.cap;
	size_t i;

	for (i = 0; i < COAPS_UPLOADS_MAX; i++)
		held += x->uploads[i].blocks == NULL ? 0 : coaps_upload_held(x->uploads[i].blocks);
	return held;
}

int64_t
coaps_exchange_touched_ms(const struct coaps_exchange *x)
{
	return x->touched_ms;
}

void
coaps_exchange_touch(struct coaps_exchange *x, int64_t now_ms)
{
	x->touched_ms = now_ms;
}

bool
coaps_exchange_moving(const struct coaps_exchange *x, int64_t since_ms)
{
	size_t i;

	for (i = 0; i < COAPS_UPLOADS_MAX; i++)
		if (x->uploads[i].blocks != NULL && x->uploads[i].at_ms >= since_ms)
			return true;
	return x->download.present && x->download.at_ms >= since_ms;
}
