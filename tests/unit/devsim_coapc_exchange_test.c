#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "devsim/coapc_exchange.h"

#define SECOND 1000000
#define SEED   7
#define SZX_64 2

/* A client with one request under way, and the last message it sent. */
struct talk {
	struct coapc_exchange x;
	struct buf sent;
	struct coapc_message m;
	int64_t now_us;
	uint8_t body[1000];
};

static void
talk_auto(struct talk *t)
{
	coapc_exchange_free(&t->x);
	buf_free(&t->sent);
}

/* Takes the next message that goes out; false: there is none. */
static bool
next(struct talk *t)
{
	struct bytes out = coapc_exchange_output(&t->x, t->now_us);
	struct err e;

	buf_clear(&t->sent);
	buf_append_bytes(&t->sent, out);
	if (out.len == 0)
		return false;
	assert_int_equal(coapc_message_decode(buf_bytes(&t->sent), &t->m, &e), 0);
	return true;
}

static void
begin(struct talk *t, int code, size_t body_len, uint8_t szx)
{
	size_t i;

	for (i = 0; i < sizeof t->body; i++)
		t->body[i] = (uint8_t)(i * 7);
	coapc_exchange_init(&t->x, SEED);
	coapc_exchange_begin(&t->x, &(struct coapc_request){ .code = code, .path = "/est/sen",
		.content_format = code == COAPC_POST ? 286 : -1, .accept = -1, .body = bytes_of(t->body, body_len), .szx = szx });
	assert_int_equal(t->x.state, COAPC_RUNNING);
	assert_true(next(t));
}

struct said {
	enum coapc_type type;
	int code;
	const struct coapc_block *block1, *block2;
	const char *etag;
	struct bytes payload;
	unsigned option; /* one more, empty */
	bool other_token, other_id;
};

static void
say(struct talk *t, const struct said *s)
{
	CLEANUP(buf) struct buf out = { 0 };
	struct bytes token = bytes_of(s->other_token ? (const uint8_t *)"????" : t->m.token, t->m.token_len);
	unsigned last = 0;

	coapc_write_head(&out, s->type, s->code, (uint16_t)(t->m.id + (s->other_id ? 100 : 0)),
		s->code == COAPC_EMPTY ? bytes_of(NULL, 0) : token);
	if (s->etag != NULL)
		coapc_write_option(&out, &last, COAPC_ETAG, bytes_of_text(s->etag));
	if (s->option != 0)
		coapc_write_option(&out, &last, s->option, bytes_of(NULL, 0));
	if (s->payload.len > 0 && s->code < 400)
		coapc_write_uint(&out, &last, COAPC_CONTENT_FORMAT, 281);
	if (s->code == 503)
		coapc_write_uint(&out, &last, COAPC_MAX_AGE, 17);
	if (s->block2 != NULL)
		coapc_write_block(&out, &last, COAPC_BLOCK2, s->block2);
	if (s->block1 != NULL)
		coapc_write_block(&out, &last, COAPC_BLOCK1, s->block1);
	coapc_write_payload(&out, s->payload);
	coapc_exchange_input(&t->x, buf_bytes(&out));
}

static void
say_empty(struct talk *t, enum coapc_type type)
{
	say(t, &(struct said){ .type = type });
}

/* 2.31 for the block that was sent last. */
static void
say_continue(struct talk *t, uint8_t szx)
{
	const struct coapc_block block = { t->m.block1.num, t->m.block1.more, szx };

	say(t, &(struct said){ COAPC_ACK, COAPC_CONTINUE, .block1 = &block });
}

static void
exchange_repeats_a_message_by_the_schedule_of_rfc_7252(void **state)
{
	CLEANUP(talk) struct talk t = { .now_us = 100 * SECOND };
	CLEANUP(buf) struct buf first = { 0 };
	int64_t began_us = t.now_us, wait_us, last_us = 0;
	unsigned i;

	(void)state;
	begin(&t, COAPC_POST, 20, COAPC_SZX_MAX);
	buf_append_bytes(&first, buf_bytes(&t.sent));
	for (i = 0; i < COAPC_MAX_RETRANSMIT; i++) {
		wait_us = coapc_exchange_timer_us(&t.x) - t.now_us;
		if (i == 0)
			assert_in_range(wait_us, 2 * SECOND, 3 * SECOND);
		else
			assert_int_equal(wait_us, 2 * last_us);
		last_us = wait_us;
		coapc_exchange_tick(&t.x, t.now_us + wait_us - 1);
		assert_false(next(&t));
		t.now_us += wait_us;
		coapc_exchange_tick(&t.x, t.now_us);
		assert_true(next(&t));
		assert_true(bytes_equal(buf_bytes(&t.sent), buf_bytes(&first)));
	}
	/* MAX_TRANSMIT_WAIT. */
	t.now_us = coapc_exchange_timer_us(&t.x);
	assert_in_range(t.now_us - began_us, 62 * SECOND, 93 * SECOND);
	coapc_exchange_tick(&t.x, t.now_us);
	assert_int_equal(t.x.state, COAPC_FAILED);
	assert_int_equal(t.x.err.code, ERR_UPSTREAM);
	assert_int_equal(t.x.retransmitted, COAPC_MAX_RETRANSMIT);
	assert_int_equal(coapc_exchange_timer_us(&t.x), 0);
}

static void
exchange_spreads_the_first_timeout(void **state)
{
	int64_t least = INT64_MAX, most = 0;
	uint64_t seed;

	(void)state;
	for (seed = 0; seed < 200; seed++) {
		CLEANUP(talk) struct talk t = { 0 };
		int64_t wait_us;

		coapc_exchange_init(&t.x, seed);
		coapc_exchange_begin(&t.x, &(struct coapc_request){ .code = COAPC_GET, .path = "/x", .content_format = -1,
			.accept = -1, .szx = 6 });
		assert_true(next(&t));
		wait_us = coapc_exchange_timer_us(&t.x);
		assert_in_range(wait_us, 2 * SECOND, 3 * SECOND);
		least = wait_us < least ? wait_us : least;
		most = wait_us > most ? wait_us : most;
	}
	assert_true(least < 2 * SECOND + SECOND / 10 && most > 3 * SECOND - SECOND / 10);
}

static void
exchange_takes_a_piggybacked_answer(void **state)
{
	CLEANUP(talk) struct talk t = { 0 };

	(void)state;
	begin(&t, COAPC_GET, 0, COAPC_SZX_MAX);
	assert_int_equal(t.m.code, COAPC_GET);
	say(&t, &(struct said){ COAPC_ACK, COAPC_CONTENT, .payload = bytes_of_text("certificates") });
	assert_int_equal(t.x.state, COAPC_DONE);
	assert_int_equal(t.x.answer.code, COAPC_CONTENT);
	assert_int_equal(t.x.answer.content_format, 281);
	assert_int_equal(t.x.answer.max_age_s, -1);
	assert_false(t.x.answer.separate);
	assert_true(bytes_equal_text(buf_bytes(&t.x.answer.body), "certificates"));
	assert_false(next(&t));
}

static void
exchange_waits_for_a_separate_answer_and_acknowledges_each_repetition(void **state)
{
	CLEANUP(talk) struct talk t = { 0 };
	struct coapc_message request;
	unsigned i;

	(void)state;
	begin(&t, COAPC_POST, 20, COAPC_SZX_MAX);
	request = t.m;
	say_empty(&t, COAPC_ACK);
	assert_int_equal(t.x.state, COAPC_RUNNING);
	assert_int_equal(coapc_exchange_timer_us(&t.x), 0);
	for (i = 0; i < 3; i++) {
		t.m = request;
		say(&t, &(struct said){ COAPC_CON, COAPC_CHANGED, .payload = bytes_of_text("it"), .other_id = true });
		assert_int_equal(t.x.state, COAPC_DONE);
		assert_true(next(&t));
		assert_int_equal(t.m.type, COAPC_ACK);
		assert_int_equal(t.m.code, COAPC_EMPTY);
		assert_int_equal(t.m.id, (uint16_t)(request.id + 100));
	}
	assert_true(t.x.answer.separate);
	assert_true(bytes_equal_text(buf_bytes(&t.x.answer.body), "it"));
}

static void
exchange_takes_a_separate_answer_whose_acknowledgement_was_lost(void **state)
{
	CLEANUP(talk) struct talk t = { 0 };

	(void)state;
	begin(&t, COAPC_POST, 20, COAPC_SZX_MAX);
	say(&t, &(struct said){ COAPC_NON, 503, .other_id = true });
	assert_int_equal(t.x.state, COAPC_DONE);
	assert_int_equal(t.x.answer.code, 503);
	assert_int_equal(t.x.answer.max_age_s, 17);
	/* Non-confirmable: nothing to acknowledge. */
	assert_false(next(&t));
}

static void
exchange_rejects_what_is_not_for_it(void **state)
{
	CLEANUP(talk) struct talk t = { 0 };
	struct coapc_message request;

	(void)state;
	begin(&t, COAPC_GET, 0, COAPC_SZX_MAX);
	request = t.m;
	say(&t, &(struct said){ COAPC_CON, COAPC_CONTENT, .payload = bytes_of_text("x"), .other_token = true });
	assert_true(next(&t));
	assert_int_equal(t.m.type, COAPC_RST);
	t.m = request;
	say_empty(&t, COAPC_CON); /* a ping */
	assert_true(next(&t));
	assert_int_equal(t.m.type, COAPC_RST);
	t.m = request;
	say(&t, &(struct said){ COAPC_NON, COAPC_CONTENT, .payload = bytes_of_text("x"), .other_token = true });
	say(&t, &(struct said){ COAPC_ACK, COAPC_CONTENT, .payload = bytes_of_text("x"), .other_token = true });
	say(&t, &(struct said){ COAPC_ACK, COAPC_CONTENT, .payload = bytes_of_text("x"), .other_id = true });
	say(&t, &(struct said){ COAPC_ACK, .other_id = true });
	coapc_exchange_input(&t.x, bytes_of_text("nonsense"));
	assert_false(next(&t));
	assert_int_equal(t.x.state, COAPC_RUNNING);
	assert_int_not_equal(coapc_exchange_timer_us(&t.x), 0);
	say_empty(&t, COAPC_RST);
	assert_int_equal(t.x.state, COAPC_FAILED);
	assert_int_equal(t.x.err.code, ERR_UPSTREAM);
}

/* Sends everything in blocks; what arrived is compared with the body. */
static size_t
upload(struct talk *t, uint8_t then_szx)
{
	CLEANUP(buf) struct buf got = { 0 };
	uint64_t tokens[64];
	size_t messages = 0, i;

	for (;;) {
		uint64_t token = 0;

		assert_true(t->m.has_block1);
		assert_int_equal(t->m.block1.num * coapc_block_size(t->m.block1.szx), got.len);
		assert_int_equal(t->m.content_format, 286);
		memcpy(&token, t->m.token, t->m.token_len);
		for (i = 0; i < messages; i++)
			assert_true(tokens[i] != token);
		assert_true(messages < 64);
		tokens[messages++] = token;
		buf_append_bytes(&got, t->m.payload);
		if (!t->m.block1.more)
			break;
		assert_int_equal(t->m.payload.len, coapc_block_size(t->m.block1.szx));
		say_continue(t, then_szx);
		assert_true(next(t));
	}
	assert_true(bytes_equal(buf_bytes(&got), bytes_of(t->body, got.len)));
	return messages;
}

static void
exchange_sends_a_body_in_blocks_each_with_its_own_token(void **state)
{
	CLEANUP(talk) struct talk t = { 0 };

	(void)state;
	begin(&t, COAPC_POST, 300, SZX_64);
	assert_false(t.m.has_block2);
	assert_int_equal(upload(&t, SZX_64), 5);
	/* The size of the answer's blocks is asked for with the last one. */
	assert_true(t.m.has_block2);
	assert_int_equal(t.m.block2.szx, SZX_64);
	assert_int_equal(t.m.payload.len, 300 - 4 * 64);
	say(&t, &(struct said){ COAPC_ACK, COAPC_CHANGED, .block1 = &t.m.block1, .payload = bytes_of_text("done") });
	assert_int_equal(t.x.state, COAPC_DONE);
}

static void
exchange_sends_a_body_that_fits_one_block_without_the_option(void **state)
{
	CLEANUP(talk) struct talk t = { 0 };

	(void)state;
	begin(&t, COAPC_POST, 64, SZX_64);
	assert_false(t.m.has_block1);
	assert_int_equal(t.m.payload.len, 64);
}

static void
exchange_goes_on_in_the_smaller_blocks_a_server_asks_for(void **state)
{
	CLEANUP(talk) struct talk t = { 0 };

	(void)state;
	begin(&t, COAPC_POST, 300, SZX_64);
	/* 64 octets as one block, then 16 each: (300 - 64) / 16 more. */
	assert_int_equal(upload(&t, 0), 1 + 15);
}

static void
exchange_begins_again_when_a_block_is_too_large(void **state)
{
	CLEANUP(talk) struct talk t = { 0 };
	const struct coapc_block hint = { 0, true, 1 };

	(void)state;
	begin(&t, COAPC_POST, 300, SZX_64);
	say(&t, &(struct said){ COAPC_ACK, COAPC_TOO_LARGE, .block1 = &hint });
	assert_int_equal(t.x.state, COAPC_RUNNING);
	assert_true(next(&t));
	assert_int_equal(t.m.block1.num, 0);
	assert_int_equal(upload(&t, 1), 10);
}

static void
exchange_takes_a_refusal_in_the_middle_of_a_body(void **state)
{
	CLEANUP(talk) struct talk t = { 0 };

	(void)state;
	begin(&t, COAPC_POST, 300, SZX_64);
	say_continue(&t, SZX_64);
	assert_true(next(&t));
	say(&t, &(struct said){ COAPC_ACK, COAPC_TOO_LARGE, .payload = bytes_of_text("too long") });
	assert_int_equal(t.x.state, COAPC_DONE);
	assert_int_equal(t.x.answer.code, COAPC_TOO_LARGE);
	assert_true(bytes_equal_text(buf_bytes(&t.x.answer.body), "too long"));
}

static void
exchange_refuses_success_before_the_body_was_sent(void **state)
{
	static const struct coapc_block second = { 1, true, SZX_64 };
	static const struct said wrong[] = {
		{ COAPC_ACK, COAPC_CHANGED, .payload = { (const uint8_t *)"x", 1 } },
		{ COAPC_ACK, COAPC_CONTINUE, .block1 = NULL },     /* for which block? */
		{ COAPC_ACK, COAPC_CONTINUE, .block1 = &second },  /* not the one that was sent */
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		CLEANUP(talk) struct talk t = { 0 };

		begin(&t, COAPC_POST, 300, SZX_64);
		say(&t, &wrong[i]);
		assert_int_equal(t.x.state, COAPC_FAILED);
		assert_int_equal(t.x.err.code, ERR_MALFORMED);
	}
}

/* The server's answer to the question for a block, from the body, in blocks of szx. */
static void
say_block(struct talk *t, size_t total, uint8_t szx, const char *etag)
{
	size_t size = coapc_block_size(szx), at = t->m.block2.num * coapc_block_size(t->m.block2.szx);
	size_t len = total - at < size ? total - at : size;
	struct coapc_block block = { (uint32_t)(at / size), at + len < total, szx };

	say(t, &(struct said){ COAPC_ACK, COAPC_CONTENT, .block2 = &block, .etag = etag, .payload = bytes_of(t->body + at, len) });
}

static void
exchange_fetches_an_answer_block_by_block_in_the_size_the_server_chooses(void **state)
{
	static const size_t totals[] = { 1, 16, 17, 64, 1000 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof totals / sizeof totals[0]; i++) {
		CLEANUP(talk) struct talk t = { 0 };

		begin(&t, COAPC_GET, 0, SZX_64);
		assert_true(t.m.has_block2);
		while (t.x.state == COAPC_RUNNING) {
			say_block(&t, totals[i], 0, "tag");
			if (t.x.state == COAPC_RUNNING) {
				assert_true(next(&t));
				assert_int_equal(t.m.block2.szx, 0);
				assert_int_equal(t.m.payload.len, 0);
			}
		}
		assert_int_equal(t.x.state, COAPC_DONE);
		assert_int_equal(t.x.answer.content_format, 281);
		assert_int_equal(t.x.answer.blocks, (totals[i] + 15) / 16);
		assert_true(bytes_equal(buf_bytes(&t.x.answer.body), bytes_of(t.body, totals[i])));
	}
}

static void
exchange_asks_for_further_blocks_without_repeating_the_body(void **state)
{
	CLEANUP(talk) struct talk t = { 0 };

	(void)state;
	begin(&t, COAPC_POST, 40, SZX_64);
	say_block(&t, 100, SZX_64, NULL);
	assert_true(next(&t));
	assert_int_equal(t.m.code, COAPC_POST);
	assert_int_equal(t.m.block2.num, 1);
	assert_false(t.m.has_block1);
	assert_int_equal(t.m.content_format, -1);
	assert_int_equal(t.m.payload.len, 0);
}

static void
exchange_takes_an_error_in_the_middle_of_an_answer(void **state)
{
	CLEANUP(talk) struct talk t = { 0 };

	(void)state;
	begin(&t, COAPC_GET, 0, SZX_64);
	say_block(&t, 200, SZX_64, NULL);
	assert_true(next(&t));
	say(&t, &(struct said){ COAPC_ACK, 408, .payload = bytes_of_text("gone") });
	assert_int_equal(t.x.state, COAPC_DONE);
	assert_int_equal(t.x.answer.code, 408);
	assert_true(bytes_equal_text(buf_bytes(&t.x.answer.body), "gone"));
}

static void
exchange_refuses_blocks_that_do_not_belong_together(void **state)
{
	static const struct coapc_block second = { 1, true, SZX_64 }, third = { 2, true, SZX_64 };
	const struct said wrong[] = {
		{ COAPC_ACK, COAPC_CONTENT, .block2 = &third, .etag = "tag", .payload = { (const uint8_t[64]){ 0 }, 64 } },
		{ COAPC_ACK, COAPC_CONTENT, .block2 = &second, .etag = "tag", .payload = { (const uint8_t[64]){ 0 }, 63 } },
		{ COAPC_ACK, COAPC_CONTENT, .block2 = &second, .etag = "other", .payload = { (const uint8_t[64]){ 0 }, 64 } },
		{ COAPC_ACK, COAPC_CHANGED, .block2 = &second, .etag = "tag", .payload = { (const uint8_t[64]){ 0 }, 64 } },
		{ COAPC_ACK, COAPC_CONTENT, .payload = { (const uint8_t[64]){ 0 }, 64 } },
		{ COAPC_ACK, COAPC_CONTENT, .block2 = &second, .etag = "tag", .payload = { (const uint8_t[64]){ 0 }, 64 },
			.option = 9 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		CLEANUP(talk) struct talk t = { 0 };

		begin(&t, COAPC_GET, 0, SZX_64);
		say_block(&t, 500, SZX_64, "tag");
		assert_true(next(&t));
		say(&t, &wrong[i]);
		if (t.x.state != COAPC_FAILED)
			fail_msg("answer %zu was taken", i);
		assert_int_equal(t.x.err.code, ERR_MALFORMED);
	}
}

static void
exchange_bounds_an_answer(void **state)
{
	CLEANUP(talk) struct talk t = { 0 };
	uint8_t block[1024] = { 0 };
	struct coapc_block said = { 0, true, COAPC_SZX_MAX };

	(void)state;
	begin(&t, COAPC_GET, 0, COAPC_SZX_MAX);
	while (t.x.state == COAPC_RUNNING) {
		say(&t, &(struct said){ COAPC_ACK, COAPC_CONTENT, .block2 = &said, .payload = bytes_of(block, sizeof block) });
		said.num++;
		if (t.x.state == COAPC_RUNNING)
			assert_true(next(&t));
	}
	assert_int_equal(t.x.state, COAPC_FAILED);
	assert_int_equal(t.x.err.code, ERR_LIMIT);
	assert_int_equal(said.num, COAPC_BODY_MAX / sizeof block + 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exchange_repeats_a_message_by_the_schedule_of_rfc_7252),
		cmocka_unit_test(exchange_spreads_the_first_timeout),
		cmocka_unit_test(exchange_takes_a_piggybacked_answer),
		cmocka_unit_test(exchange_waits_for_a_separate_answer_and_acknowledges_each_repetition),
		cmocka_unit_test(exchange_takes_a_separate_answer_whose_acknowledgement_was_lost),
		cmocka_unit_test(exchange_rejects_what_is_not_for_it),
		cmocka_unit_test(exchange_sends_a_body_in_blocks_each_with_its_own_token),
		cmocka_unit_test(exchange_sends_a_body_that_fits_one_block_without_the_option),
		cmocka_unit_test(exchange_goes_on_in_the_smaller_blocks_a_server_asks_for),
		cmocka_unit_test(exchange_begins_again_when_a_block_is_too_large),
		cmocka_unit_test(exchange_takes_a_refusal_in_the_middle_of_a_body),
		cmocka_unit_test(exchange_refuses_success_before_the_body_was_sent),
		cmocka_unit_test(exchange_fetches_an_answer_block_by_block_in_the_size_the_server_chooses),
		cmocka_unit_test(exchange_asks_for_further_blocks_without_repeating_the_body),
		cmocka_unit_test(exchange_takes_an_error_in_the_middle_of_an_answer),
		cmocka_unit_test(exchange_refuses_blocks_that_do_not_belong_together),
		cmocka_unit_test(exchange_bounds_an_answer),
	};

	return cmocka_run_group_tests_name("devsim/coapc_exchange", tests, NULL, NULL);
}
