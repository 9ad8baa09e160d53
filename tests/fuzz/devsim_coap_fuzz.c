/*
 * CoAP messages as a client reads them: one that is read can be written again and says the same; and an exchange that
 * gets such messages, with the id and token it waits for put in, stays within its bounds.
 */
#include <stdlib.h>
#include <string.h>

#include "devsim/coapc_exchange.h"

#define ROUNDS_MAX 64
#define SPLIT      0xc0 /* between datagrams: an octet no message begins with */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
demand(bool condition)
{
	if (!condition)
		abort();
}

static void
rewrite(const struct coapc_message *m)
{
	struct cursor c = cursor_of(m->options);
	struct coapc_message again;
	struct bytes value = { 0 };
	struct buf out = { 0 };
	unsigned number = 0, last = 0;
	struct err e;

	coapc_write_head(&out, m->type, m->code, m->id, bytes_of(m->token, m->token_len));
	while (coapc_option_next(&c, &number, &value))
		coapc_write_option(&out, &last, number, value);
	demand(!c.failed && cursor_left(&c) == 0);
	coapc_write_payload(&out, m->payload);
	demand(coapc_message_decode(buf_bytes(&out), &again, &e) == 0);
	demand(again.type == m->type && again.code == m->code && again.id == m->id && again.token_len == m->token_len &&
		memcmp(again.token, m->token, m->token_len) == 0);
	demand(bytes_equal(again.payload, m->payload) && again.content_format == m->content_format &&
		again.max_age_s == m->max_age_s && again.critical == m->critical);
	demand(again.has_block1 == m->has_block1 && again.has_block2 == m->has_block2 &&
		(!m->has_block2 || (again.block2.num == m->block2.num && again.block2.szx == m->block2.szx)));
	buf_free(&out);
}

/* Id and token of what the client sent last, in place of those of the datagram when it has room for them. */
static void
aim(const struct coapc_exchange *x, uint8_t *datagram, size_t len)
{
	size_t i;

	if (len < 4)
		return;
	datagram[2] = (uint8_t)(x->id >> 8);
	datagram[3] = (uint8_t)x->id;
	if ((datagram[0] & 0x0f) == 4 && len >= 8)
		for (i = 0; i < 4; i++)
			datagram[4 + i] = (uint8_t)(x->token >> 8 * i);
}

static void
converse(uint8_t *data, size_t size)
{
	const struct coapc_request request = { .code = COAPC_POST, .path = "/est/sen", .content_format = 286, .accept = -1,
		.body = bytes_of(data, size < 100 ? size : 100), .szx = 1 };
	struct coapc_exchange x;
	unsigned round;
	int64_t now_us = 1;

	coapc_exchange_init(&x, 1);
	coapc_exchange_begin(&x, &request);
	for (round = 0; size > 0 && round < ROUNDS_MAX; round++) {
		const uint8_t *split = memchr(data, SPLIT, size);
		size_t len = split == NULL ? size : (size_t)(split - data);
		uint8_t *datagram = malloc(len + 1);

		demand(datagram != NULL);
		while (coapc_exchange_output(&x, now_us).len > 0)
			continue;
		memcpy(datagram, data, len);
		aim(&x, datagram, len);
		coapc_exchange_input(&x, bytes_of(datagram, len));
		free(datagram);
		now_us += 1000000;
		coapc_exchange_tick(&x, now_us);
		demand(x.answer.body.len <= COAPC_BODY_MAX &&
			(x.state != COAPC_RUNNING || x.offset + x.length <= x.body.len));
		demand((x.state == COAPC_FAILED) == (x.err.code != ERR_NONE));
		data += len + (split == NULL ? 0 : 1);
		size -= len + (split == NULL ? 0 : 1);
	}
	coapc_exchange_free(&x);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + 1);
	struct coapc_message m;
	struct err e = { 0 };

	demand(copy != NULL);
	if (coapc_message_decode(bytes_of(data, size), &m, &e) == 0)
		rewrite(&m);
	else
		demand(e.code == ERR_MALFORMED);
	if (size > 0)
		memcpy(copy, data, size);
	converse(copy, size);
	free(copy);
	return 0;
}
