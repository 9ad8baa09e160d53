#include "tests/unit/coap_exchange_fixture.h"

#include "coap/exchange_state.h"

static void
coap_exchange_puts_blocks_with_new_tokens_together(void **state)
{
	struct world *w = *state;
	struct bytes body = pattern(399);
	uint32_t num;

	w->m.content_format = COAPS_FORMAT_CSR;
	w->m.accept = COAPS_FORMAT_CERTS;
	for (num = 0; num < 6; num++) {
		assert_int_equal(feed_block(w, body, num, 2), COAPS_STEP_REPLY);
		assert_int_equal(w->reply.code, 231);
		assert_true(w->reply.has_block1 && w->reply.block1.num == num && w->reply.block1.more);
		assert_int_equal(w->reply.block1.szx, 2);
		assert_int_equal(again(w), COAPS_STEP_REPLAY);
		assert_int_equal(w->reply.code, 231);
		/* What the first block said need not be said again. */
		w->m.content_format = w->m.accept = COAPS_FORMAT_NONE;
	}
	assert_int_equal(feed_block(w, body, 6, 2), COAPS_STEP_RUN);
	assert_int_equal(w->run.content_format, COAPS_FORMAT_CSR);
	assert_int_equal(w->run.accept, COAPS_FORMAT_CERTS);
	expect_run(w, body);
	assert_int_equal(coaps_exchange_held(w->x), 0);
	assert_true(answer_with(w, 204, pattern(639)));
	/* Who sends blocks of 64 octets gets blocks of 64 octets (RFC 9148, appendix B.2). */
	assert_true(w->reply.has_block1 && w->reply.block1.num == 6 && !w->reply.block1.more);
	assert_true(w->reply.has_block2 && w->reply.block2.num == 0 && w->reply.block2.more && w->reply.block2.szx == 2);
	assert_true(bytes_equal(w->reply.payload, pattern(64)));
	for (num = 1; num < 10; num++) {
		assert_int_equal(ask_block(w, num, 2), COAPS_STEP_REPLY);
		assert_int_equal(w->reply.code, 204);
		assert_int_equal(w->reply.content_format, COAPS_FORMAT_CERTS);
		assert_false(w->reply.has_block1);
		assert_int_equal(w->reply.block2.num, num);
		assert_int_equal(w->reply.block2.more, num < 9);
		assert_true(bytes_equal(w->reply.payload, bytes_of(pattern(639).at + 64 * (size_t)num, num < 9 ? 64 : 63)));
	}
	assert_int_equal(ask_block(w, 10, 2), COAPS_STEP_REPLY);
	assert_int_equal(w->reply.code, 400);
}

static void
coap_exchange_wants_block_0_first(void **state)
{
	struct world *w = *state;

	assert_int_equal(feed_block(w, pattern(300), 1, 2), COAPS_STEP_REPLY);
	assert_int_equal(w->reply.code, 408);
	assert_int_equal(coaps_exchange_held(w->x), 0);
}

static void
coap_exchange_begins_anew_with_another_block_0(void **state)
{
	struct world *w = *state;
	uint8_t other[130];

	memset(other, 0x5a, sizeof other);
	assert_int_equal(feed_block(w, pattern(300), 0, 2), COAPS_STEP_REPLY);
	assert_int_equal(feed_block(w, pattern(300), 1, 2), COAPS_STEP_REPLY);
	assert_int_equal(feed_block(w, bytes_of(other, sizeof other), 0, 2), COAPS_STEP_REPLY);
	assert_int_equal(w->reply.code, 231);
	assert_int_equal(feed_block(w, bytes_of(other, sizeof other), 2, 2), COAPS_STEP_REPLY);
	assert_int_equal(w->reply.code, 408);
	assert_int_equal(feed_block(w, bytes_of(other, sizeof other), 1, 2), COAPS_STEP_REPLY);
	assert_int_equal(feed_block(w, bytes_of(other, sizeof other), 2, 2), COAPS_STEP_RUN);
	expect_run(w, bytes_of(other, sizeof other));
}

static void
coap_exchange_keeps_bodies_of_two_targets_apart_and_drops_the_older_of_three(void **state)
{
	struct world *w = *state;
	struct bytes body = pattern(100);

	assert_int_equal(feed_block(w, body, 0, 2), COAPS_STEP_REPLY);
	w->now_ms++;
	w->m.target.op = COAPS_OP_SREN;
	assert_int_equal(feed_block(w, pattern(90), 0, 2), COAPS_STEP_REPLY);
	w->m.target.op = COAPS_OP_SEN;
	assert_int_equal(feed_block(w, body, 1, 2), COAPS_STEP_RUN);
	expect_run(w, body);
	w->now_ms++;
	assert_int_equal(feed_block(w, body, 0, 2), COAPS_STEP_REPLY);
	w->now_ms++;
	memcpy(w->m.target.label, "iot", 4);
	assert_int_equal(feed_block(w, body, 0, 2), COAPS_STEP_REPLY);
	assert_int_equal(feed_block(w, body, 1, 2), COAPS_STEP_RUN);
	expect_run(w, body);
	memset(w->m.target.label, 0, sizeof w->m.target.label);
	w->m.target.op = COAPS_OP_SREN;
	assert_int_equal(feed_block(w, pattern(90), 1, 2), COAPS_STEP_REPLY);
	assert_int_equal(w->reply.code, 408);
}

static void
coap_exchange_refuses_a_block_of_another_format(void **state)
{
	struct world *w = *state;

	w->m.content_format = COAPS_FORMAT_CSR;
	assert_int_equal(feed_block(w, pattern(100), 0, 2), COAPS_STEP_REPLY);
	w->m.content_format = COAPS_FORMAT_CERT;
	assert_int_equal(feed_block(w, pattern(100), 1, 2), COAPS_STEP_REPLY);
	assert_int_equal(w->reply.code, 408);
}

static void
coap_exchange_answers_413_and_how_much_it_takes(void **state)
{
	struct world *w = *state;
	uint32_t num;

	for (num = 0; num < 64; num++) {
		assert_int_equal(feed_block(w, pattern(COAPS_BODY_MAX), num == 63 ? 62 : num, 6), COAPS_STEP_REPLY);
		assert_int_equal(w->reply.code, 231);
	}
	w->m.block1 = (struct coaps_block){ .num = 64, .more = true, .szx = 6 };
	assert_int_equal(feed(w), COAPS_STEP_REPLY);
	assert_int_equal(w->reply.code, 413);
	assert_true(w->reply.has_size1 && w->reply.size1 == COAPS_BODY_MAX && !w->reply.has_block1);
	assert_true(bytes_equal_text(w->reply.payload, "a body has at most 65536 octets"));
	assert_int_equal(coaps_exchange_held(w->x), 0);
}

static void
coap_exchange_drops_what_is_abandoned(void **state)
{
	struct world *w = *state;

	assert_int_equal(feed_block(w, pattern(3000), 0, 6), COAPS_STEP_REPLY);
	assert_true(coaps_exchange_held(w->x) >= 1024);
	assert_true(coaps_exchange_moving(w->x, w->now_ms));
	assert_false(coaps_exchange_moving(w->x, w->now_ms + 1));
	w->now_ms += COAPS_UPLOAD_IDLE_MS - 1;
	assert_int_equal(coaps_exchange_expire(w->x, w->now_ms), 0);
	assert_int_equal(feed_block(w, pattern(3000), 1, 6), COAPS_STEP_REPLY);
	assert_int_equal(w->reply.code, 231);
	w->now_ms += COAPS_UPLOAD_IDLE_MS;
	assert_int_equal(coaps_exchange_expire(w->x, w->now_ms), 1);
	assert_int_equal(coaps_exchange_held(w->x), 0);
	assert_int_equal(feed_block(w, pattern(3000), 2, 6), COAPS_STEP_REPLY);
	assert_int_equal(w->reply.code, 408);
}

static void
coap_exchange_drops_an_answer_nobody_fetches(void **state)
{
	struct world *w = *state;

	assert_int_equal(feed(w), COAPS_STEP_RUN);
	assert_true(answer_with(w, 204, pattern(3000)));
	assert_true(coaps_exchange_held(w->x) >= 3000);
	w->now_ms += COAPS_ANSWER_IDLE_MS;
	assert_int_equal(coaps_exchange_expire(w->x, w->now_ms), 0);
	assert_int_equal(coaps_exchange_held(w->x), 0);
	/* What a POST did is not done again for a late block. */
	assert_int_equal(ask_block(w, 1, 6), COAPS_STEP_REPLY);
	assert_int_equal(w->reply.code, 408);
}

static void
coap_exchange_asks_again_for_a_late_block_of_a_get(void **state)
{
	struct world *w = *state;

	w->m.target = (struct coaps_target){ .method = COAPS_GET, .op = COAPS_OP_CRTS };
	assert_int_equal(ask_block(w, 2, 5), COAPS_STEP_RUN);
	assert_true(answer_with(w, 205, pattern(1600)));
	assert_true(w->reply.has_block2 && w->reply.block2.num == 2 && w->reply.block2.more);
	assert_true(bytes_equal(w->reply.payload, bytes_of(pattern(1600).at + 1024, 512)));
	assert_int_equal(ask_block(w, 3, 5), COAPS_STEP_REPLY);
	assert_int_equal(w->reply.payload.len, 64);
	assert_false(w->reply.block2.more);
}

/* The end of another nonce would be as good as none, and nobody would see it. */
static void
coap_exchange_makes_no_other_nonce_for_a_late_block(void **state)
{
	struct world *w = *state;

	w->m.target = (struct coaps_target){ .method = COAPS_GET, .op = COAPS_OP_NONCE };
	assert_int_equal(ask_block(w, 1, 1), COAPS_STEP_REPLY);
	assert_int_equal(w->reply.code, 408);
	assert_int_equal(ask_block(w, 0, 1), COAPS_STEP_RUN);
	assert_true(answer_with(w, 205, pattern(51)));
	assert_int_equal(ask_block(w, 1, 1), COAPS_STEP_REPLY);
	assert_int_equal(w->reply.code, 205);
	assert_true(bytes_equal(w->reply.payload, bytes_of(pattern(51).at + 32, 19)));
	(void)coaps_exchange_expire(w->x, w->now_ms + COAPS_ANSWER_IDLE_MS);
	assert_int_equal(ask_block(w, 1, 1), COAPS_STEP_REPLY);
	assert_int_equal(w->reply.code, 408);
}

static void
coap_exchange_cuts_to_the_clients_size_and_to_the_mtu(void **state)
{
	const struct coaps_exchange_limits thin = { .body_max = COAPS_BODY_MAX, .message_max = 256 - 37 };
	struct world *w = *state;

	w->m.target = (struct coaps_target){ .method = COAPS_GET, .op = COAPS_OP_CRTS };
	assert_int_equal(ask_block(w, 0, 1), COAPS_STEP_RUN);
	assert_true(answer_with(w, 205, pattern(40)));
	assert_true(w->reply.has_block2 && w->reply.block2.szx == 1 && w->reply.block2.more);
	assert_int_equal(w->reply.payload.len, 32);
	/* Who asks for blocks is told that there is one. */
	assert_int_equal(ask_block(w, 0, 6), COAPS_STEP_RUN);
	assert_true(answer_with(w, 205, pattern(40)));
	assert_true(w->reply.has_block2 && !w->reply.block2.more);

	coaps_exchange_free(w->x);
	w->x = coaps_exchange_new(&thin);
	assert_int_equal(ask_block(w, 0, 6), COAPS_STEP_RUN);
	assert_true(answer_with(w, 205, pattern(640)));
	assert_true(w->reply.has_block2 && w->reply.block2.szx == 3 && w->reply.block2.num == 0);
	assert_int_equal(w->reply.payload.len, 128);
	assert_int_equal(ask_block(w, 1, 3), COAPS_STEP_REPLY);
	assert_int_equal(w->reply.block2.num, 1);
	/* A client that insists on its size gets the octets it means. */
	assert_int_equal(ask_block(w, 1, 4), COAPS_STEP_REPLY);
	assert_true(w->reply.block2.num == 2 && w->reply.block2.szx == 3);
	assert_true(bytes_equal(w->reply.payload, bytes_of(pattern(640).at + 256, 128)));
}

/* POST /skg, answered with a key of 1500 octets in two blocks. */
static void
make_key(struct world *w)
{
	struct coaps_answer answer = { .code = 204, .content_format = COAPS_FORMAT_MULTIPART, .secret = true };

	w->m.target.op = COAPS_OP_SKG;
	assert_int_equal(feed(w), COAPS_STEP_RUN);
	buf_append_bytes(&answer.body, pattern(1500));
	assert_true(coaps_exchange_answer(w->x, w->run.ticket, &answer, w->now_ms, &w->reply));
	assert_null(answer.body.at);
}

/* The message that is fed again finds its answer wiped, and runs nothing. */
static void
expect_wiped(struct world *w)
{
	assert_int_equal(again(w), COAPS_STEP_REPLAY);
	assert_int_equal(w->reply.code, 408);
	assert_true(bytes_equal_text(w->reply.payload, "the answer is gone"));
	assert_false(w->reply.has_block2);
}

static void
coap_exchange_forgets_a_secret_with_its_last_block(void **state)
{
	struct world *w = *state;

	make_key(w);
	assert_true(coaps_exchange_held(w->x) >= 1500);
	assert_int_equal(ask_block(w, 1, 6), COAPS_STEP_REPLY);
	assert_int_equal(w->reply.payload.len, 1500 - 1024);
	assert_int_equal(coaps_exchange_held(w->x), 0);
	/* The last block may have been lost: the same message gets it again. */
	assert_int_equal(again(w), COAPS_STEP_REPLAY);
	assert_true(bytes_equal(w->reply.payload, bytes_of(pattern(1500).at + 1024, 476)));
	/* For as long as a client may send again (RFC 7252, section 4.8.2), and no longer. */
	w->now_ms += COAPS_SECRET_MS;
	(void)coaps_exchange_expire(w->x, w->now_ms);
	expect_wiped(w);
}

static void
coap_exchange_wipes_a_secrets_block_when_the_next_one_is_asked_for(void **state)
{
	struct world *w = *state;
	struct coaps_message first;

	make_key(w);
	first = w->m;
	assert_int_equal(again(w), COAPS_STEP_REPLAY);
	assert_int_equal(w->reply.payload.len, 1024);
	assert_int_equal(ask_block(w, 1, 6), COAPS_STEP_REPLY);
	w->m = first;
	expect_wiped(w);
}

/* Its retransmission is libcoap's: here nobody needs it. */
static void
coap_exchange_wipes_a_secret_that_went_out_by_itself(void **state)
{
	struct coaps_answer answer = { .code = 204, .content_format = COAPS_FORMAT_MULTIPART, .secret = true };
	struct world *w = *state;
	size_t i, held = 0;

	assert_int_equal(feed(w), COAPS_STEP_RUN);
	assert_true(coaps_exchange_delay(w->x, w->run.ticket, &w->reply));
	buf_append_bytes(&answer.body, pattern(300));
	assert_true(coaps_exchange_answer(w->x, w->run.ticket, &answer, w->now_ms, &w->reply));
	assert_int_equal(w->reply.payload.len, 300);
	(void)coaps_exchange_expire(w->x, w->now_ms);
	for (i = 0; i < COAPS_PAST_MAX; i++)
		held += w->x->past[i].payload.len >= 300;
	assert_int_equal(held, 0);
	assert_int_equal(again(w), COAPS_STEP_REPLAY);
	assert_int_equal(w->reply.code, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(coap_exchange_puts_blocks_with_new_tokens_together),
		TEST(coap_exchange_wants_block_0_first),
		TEST(coap_exchange_begins_anew_with_another_block_0),
		TEST(coap_exchange_keeps_bodies_of_two_targets_apart_and_drops_the_older_of_three),
		TEST(coap_exchange_refuses_a_block_of_another_format),
		TEST(coap_exchange_answers_413_and_how_much_it_takes),
		TEST(coap_exchange_drops_what_is_abandoned),
		TEST(coap_exchange_drops_an_answer_nobody_fetches),
		TEST(coap_exchange_asks_again_for_a_late_block_of_a_get),
		TEST(coap_exchange_makes_no_other_nonce_for_a_late_block),
		TEST(coap_exchange_cuts_to_the_clients_size_and_to_the_mtu),
		TEST(coap_exchange_forgets_a_secret_with_its_last_block),
		TEST(coap_exchange_wipes_a_secrets_block_when_the_next_one_is_asked_for),
		TEST(coap_exchange_wipes_a_secret_that_went_out_by_itself),
	};

	return cmocka_run_group_tests_name("coap exchange blocks", tests, NULL, NULL);
}
