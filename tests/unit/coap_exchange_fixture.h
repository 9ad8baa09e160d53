/*
 * coap_exchange_fixture.h - one session's state machine, and messages for it.
 */
#ifndef TESTS_UNIT_COAP_EXCHANGE_FIXTURE_H
#define TESTS_UNIT_COAP_EXCHANGE_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "coap/exchange.h"

static const struct coaps_exchange_limits limits = { .body_max = COAPS_BODY_MAX, .message_max = 1152 - 37 };

struct world {
	struct coaps_exchange *x;
	struct coaps_message m; /* the next message; id and token change by themselves */
	struct coaps_reply reply;
	struct coaps_run run;
	int64_t now_ms;
};

static inline int
setup(void **state)
{
	static struct world world;

	memset(&world, 0, sizeof world);
	world.x = coaps_exchange_new(&limits);
	world.now_ms = 1000;
	world.m.confirmable = true;
	world.m.id = 1;
	world.m.token_len = 1;
	world.m.content_format = world.m.accept = COAPS_FORMAT_NONE;
	world.m.target = (struct coaps_target){ .method = COAPS_POST, .op = COAPS_OP_SEN };
	*state = &world;
	return world.x == NULL ? -1 : 0;
}

static inline int
teardown(void **state)
{
	struct world *w = *state;

	coaps_exchange_free(w->x);
	return 0;
}

static inline struct bytes
pattern(size_t len)
{
	static uint8_t octets[COAPS_BODY_MAX];
	size_t i;

	for (i = 0; i < sizeof octets; i++)
		octets[i] = (uint8_t)(i * 11 + i / 253);
	return bytes_of(octets, len);
}

/* The same message once more. */
static inline enum coaps_step
again(struct world *w)
{
	memset(&w->reply, 0, sizeof w->reply);
	memset(&w->run, 0, sizeof w->run);
	return coaps_exchange_feed(w->x, &w->m, w->now_ms, &w->reply, &w->run);
}

static inline enum coaps_step
feed(struct world *w)
{
	w->m.id++;
	w->m.token[0]++;
	return again(w);
}

static inline enum coaps_step
feed_block(struct world *w, struct bytes body, uint32_t num, uint8_t szx)
{
	w->m.has_block1 = true;
	w->m.block1 = (struct coaps_block){ .num = num, .szx = szx };
	assert_true(coaps_body_slice(body, num, szx, &w->m.payload, &w->m.block1.more));
	return feed(w);
}

static inline enum coaps_step
ask_block(struct world *w, uint32_t num, uint8_t szx)
{
	w->m.has_block1 = false;
	w->m.payload = (struct bytes){ 0 };
	w->m.has_block2 = true;
	w->m.block2 = (struct coaps_block){ .num = num, .szx = szx };
	return feed(w);
}

static inline void
expect_run(struct world *w, struct bytes body)
{
	assert_int_equal(w->run.body.len, body.len);
	assert_true(bytes_equal(buf_bytes(&w->run.body), body));
	buf_free(&w->run.body);
}

static inline bool
answer_with(struct world *w, int code, struct bytes body)
{
	struct coaps_answer answer = { .code = code, .content_format = COAPS_FORMAT_CERTS };
	bool said;

	buf_append_bytes(&answer.body, body);
	memset(&w->reply, 0, sizeof w->reply);
	said = coaps_exchange_answer(w->x, w->run.ticket, &answer, w->now_ms, &w->reply);
	buf_free(&answer.body);
	return said;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
