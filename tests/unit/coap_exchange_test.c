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

static int
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

static int
teardown(void **state)
{
	struct world *w = *state;

	coaps_exchange_free(w->x);
	return 0;
}

static struct bytes
pattern(size_t len)
{
	static uint8_t octets[COAPS_BODY_MAX];
	size_t i;

	for (i = 0; i < sizeof octets; i++)
		octets[i] = (uint8_t)(i * 11 + i / 253);
	return bytes_of(octets, len);
}

/* The same message once more. */
static enum coaps_step
again(struct world *w)
{
	memset(&w->reply, 0, sizeof w->reply);
	memset(&w->run, 0, sizeof w->run);
	return coaps_exchange_feed(w->x, &w->m, w->now_ms, &w->reply, &w->run);
}

static enum coaps_step
feed(struct world *w)
{
	w->m.id++;
	w->m.token[0]++;
	return again(w);
}

static enum coaps_step
feed_block(struct world *w, struct bytes body, uint32_t num, uint8_t szx)
{
	w->m.has_block1 = true;
	w->m.block1 = (struct coaps_block){ .num = num, .szx = szx };
	assert_true(coaps_body_slice(body, num, szx, &w->m.payload, &w->m.block1.more));
	return feed(w);
}

static enum coaps_step
ask_block(struct world *w, uint32_t num, uint8_t szx)
{
	w->m.has_block1 = false;
	w->m.payload = (struct bytes){ 0 };
	w->m.has_block2 = true;
	w->m.block2 = (struct coaps_block){ .num = num, .szx = szx };
	return feed(w);
}

static void
expect_run(struct world *w, struct bytes body)
{
	assert_int_equal(w->run.body.len, body.len);
	assert_true(bytes_equal(buf_bytes(&w->run.body), body));
	buf_free(&w->run.body);
}

static bool
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

static void
coap_exchange_runs_a_whole_request_and_answers_in_the_acknowledgement(void **state)
{
	struct world *w = *state;

	w->m.payload = pattern(100);
	w->m.content_format = COAPS_FORMAT_CSR;
	assert_int_equal(feed(w), COAPS_STEP_RUN);
	assert_int_equal(w->run.content_format, COAPS_FORMAT_CSR);
	expect_run(w, pattern(100));
	assert_true(answer_with(w, 204, pattern(500)));
	assert_int_equal(w->reply.as, COAPS_SEND_ACK);
	assert_int_equal(w->reply.id, w->m.id);
	assert_int_equal(w->reply.token_len, 1);
	assert_int_equal(w->reply.token[0], w->m.token[0]);
	assert_int_equal(w->reply.code, 204);
	assert_int_equal(w->reply.content_format, COAPS_FORMAT_CERTS);
	assert_false(w->reply.has_block1 || w->reply.has_block2);
	assert_true(bytes_equal(w->reply.payload, pattern(500)));
	/* A ticket is good for one answer. */
	assert_false(answer_with(w, 204, pattern(5)));
}

static void
coap_exchange_repeats_the_answer_to_a_duplicate_and_runs_nothing(void **state)
{
	struct world *w = *state;

	assert_int_equal(feed(w), COAPS_STEP_RUN);
	assert_true(answer_with(w, 204, pattern(300)));
	w->now_ms += COAPS_PAST_MS - 1;
	assert_int_equal(again(w), COAPS_STEP_REPLAY);
	assert_int_equal(w->reply.as, COAPS_SEND_ACK);
	assert_int_equal(w->reply.id, w->m.id);
	assert_int_equal(w->reply.code, 204);
	assert_true(bytes_equal(w->reply.payload, pattern(300)));
	/* After EXCHANGE_LIFETIME the message id may be somebody else's. */
	w->now_ms += 2;
	assert_int_equal(again(w), COAPS_STEP_RUN);
}

static void
coap_exchange_takes_the_same_id_with_another_token_for_another_message(void **state)
{
	struct world *w = *state;

	assert_int_equal(feed(w), COAPS_STEP_RUN);
	assert_true(answer_with(w, 204, pattern(3)));
	w->m.token[0]++;
	assert_int_equal(again(w), COAPS_STEP_RUN);
}

static void
coap_exchange_acknowledges_a_duplicate_of_what_still_runs(void **state)
{
	struct world *w = *state;
	uint32_t ticket;

	assert_int_equal(feed(w), COAPS_STEP_RUN);
	ticket = w->run.ticket;
	assert_int_equal(again(w), COAPS_STEP_REPLAY);
	assert_int_equal(w->reply.code, 0);
	assert_int_equal(w->reply.token_len, 0);
	w->run.ticket = ticket;
	/* It is acknowledged: the answer needs a message of its own. */
	assert_false(coaps_exchange_delay(w->x, ticket, &w->reply));
	assert_true(answer_with(w, 204, pattern(3)));
	assert_int_equal(w->reply.as, COAPS_SEND_CON);
}

static void
coap_exchange_answers_separately_after_an_empty_acknowledgement(void **state)
{
	struct world *w = *state;
	uint32_t ticket;

	assert_int_equal(feed(w), COAPS_STEP_RUN);
	ticket = w->run.ticket;
	assert_true(coaps_exchange_delay(w->x, ticket, &w->reply));
	assert_int_equal(w->reply.as, COAPS_SEND_ACK);
	assert_int_equal(w->reply.id, w->m.id);
	assert_int_equal(w->reply.code, 0);
	assert_int_equal(w->reply.token_len, 0);
	assert_false(coaps_exchange_delay(w->x, ticket, &w->reply));
	assert_int_equal(again(w), COAPS_STEP_REPLAY);
	assert_int_equal(w->reply.code, 0);
	w->run.ticket = ticket;
	assert_true(answer_with(w, 204, pattern(2000)));
	assert_int_equal(w->reply.as, COAPS_SEND_CON);
	assert_int_equal(w->reply.token[0], w->m.token[0]);
	assert_int_equal(w->reply.code, 204);
	assert_true(w->reply.has_block2 && w->reply.block2.more && w->reply.block2.num == 0);
	/* RFC 7252, section 4.2: each duplicate is acknowledged; the answer is on its way by itself. */
	assert_int_equal(again(w), COAPS_STEP_REPLAY);
	assert_int_equal(w->reply.as, COAPS_SEND_ACK);
	assert_int_equal(w->reply.code, 0);
}

static void
coap_exchange_answers_a_non_confirmable_request_the_same_way_and_its_duplicate_not_at_all(void **state)
{
	struct world *w = *state;

	w->m.confirmable = false;
	assert_int_equal(feed(w), COAPS_STEP_RUN);
	assert_false(coaps_exchange_delay(w->x, w->run.ticket, &w->reply));
	assert_true(answer_with(w, 204, pattern(3)));
	assert_int_equal(w->reply.as, COAPS_SEND_NON);
	assert_int_equal(again(w), COAPS_STEP_DUPLICATE);
}

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
	assert_int_equal(coaps_exchange_held(w->x), 0);
}

static void
coap_exchange_answers_400_to_a_block_of_the_wrong_length(void **state)
{
	struct world *w = *state;

	w->m.has_block1 = true;
	w->m.block1 = (struct coaps_block){ .num = 0, .more = true, .szx = 2 };
	w->m.payload = pattern(63);
	assert_int_equal(feed(w), COAPS_STEP_REPLY);
	assert_int_equal(w->reply.code, 400);
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

static void
coap_exchange_sends_an_errors_text_in_one_message_and_no_format(void **state)
{
	struct world *w = *state;

	assert_int_equal(feed(w), COAPS_STEP_RUN);
	assert_true(answer_with(w, 403, pattern(3000)));
	assert_int_equal(w->reply.code, 403);
	assert_int_equal(w->reply.content_format, COAPS_FORMAT_NONE);
	assert_int_equal(w->reply.payload.len, 1024);
	assert_false(w->reply.has_block2);
	assert_int_equal(coaps_exchange_held(w->x), 0);
}

static void
coap_exchange_forgets_a_secret_with_its_last_block(void **state)
{
	struct coaps_answer answer = { .code = 204, .content_format = COAPS_FORMAT_MULTIPART, .secret = true };
	struct world *w = *state;

	w->m.target.op = COAPS_OP_SKG;
	assert_int_equal(feed(w), COAPS_STEP_RUN);
	buf_append_bytes(&answer.body, pattern(1500));
	assert_true(coaps_exchange_answer(w->x, w->run.ticket, &answer, w->now_ms, &w->reply));
	assert_null(answer.body.at);
	assert_true(coaps_exchange_held(w->x) >= 1500);
	assert_int_equal(ask_block(w, 1, 6), COAPS_STEP_REPLY);
	assert_int_equal(w->reply.payload.len, 1500 - 1024);
	assert_int_equal(coaps_exchange_held(w->x), 0);
	/* The last block may have been lost: the same message gets it again. */
	assert_int_equal(again(w), COAPS_STEP_REPLAY);
	assert_true(bytes_equal(w->reply.payload, bytes_of(pattern(1500).at + 1024, 476)));
}

static void
coap_exchange_runs_only_so_many_at_a_time(void **state)
{
	struct world *w = *state;
	uint32_t tickets[COAPS_RUNNING_MAX];
	size_t i;

	for (i = 0; i < COAPS_RUNNING_MAX; i++) {
		assert_int_equal(feed(w), COAPS_STEP_RUN);
		tickets[i] = w->run.ticket;
	}
	/* Others come and go; what runs is never forgotten. */
	for (i = 0; i < 3 * COAPS_PAST_MAX; i++) {
		w->now_ms++;
		assert_int_equal(feed(w), COAPS_STEP_REPLY);
		assert_int_equal(w->reply.code, 503);
		assert_int_equal(w->reply.max_age_s, COAPS_BUSY_MAX_AGE_S);
	}
	(void)coaps_exchange_expire(w->x, w->now_ms + 2 * COAPS_PAST_MS);
	for (i = 0; i < COAPS_RUNNING_MAX; i++) {
		w->run.ticket = tickets[i];
		assert_true(answer_with(w, 204, pattern(10)));
		assert_int_equal(w->reply.id, 2 + i);
	}
	assert_int_equal(feed(w), COAPS_STEP_RUN);
}

static void
coap_exchange_passes_max_age_on(void **state)
{
	struct coaps_answer answer = { .code = 503, .max_age_s = 90 };
	struct world *w = *state;

	assert_int_equal(feed(w), COAPS_STEP_RUN);
	assert_true(coaps_exchange_answer(w->x, w->run.ticket, &answer, w->now_ms, &w->reply));
	assert_int_equal(w->reply.code, 503);
	assert_int_equal(w->reply.max_age_s, 90);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(coap_exchange_runs_a_whole_request_and_answers_in_the_acknowledgement),
		TEST(coap_exchange_repeats_the_answer_to_a_duplicate_and_runs_nothing),
		TEST(coap_exchange_takes_the_same_id_with_another_token_for_another_message),
		TEST(coap_exchange_acknowledges_a_duplicate_of_what_still_runs),
		TEST(coap_exchange_answers_separately_after_an_empty_acknowledgement),
		TEST(coap_exchange_answers_a_non_confirmable_request_the_same_way_and_its_duplicate_not_at_all),
		TEST(coap_exchange_puts_blocks_with_new_tokens_together),
		TEST(coap_exchange_wants_block_0_first),
		TEST(coap_exchange_begins_anew_with_another_block_0),
		TEST(coap_exchange_keeps_bodies_of_two_targets_apart_and_drops_the_older_of_three),
		TEST(coap_exchange_refuses_a_block_of_another_format),
		TEST(coap_exchange_answers_413_and_how_much_it_takes),
		TEST(coap_exchange_answers_400_to_a_block_of_the_wrong_length),
		TEST(coap_exchange_drops_what_is_abandoned),
		TEST(coap_exchange_drops_an_answer_nobody_fetches),
		TEST(coap_exchange_asks_again_for_a_late_block_of_a_get),
		TEST(coap_exchange_cuts_to_the_clients_size_and_to_the_mtu),
		TEST(coap_exchange_sends_an_errors_text_in_one_message_and_no_format),
		TEST(coap_exchange_forgets_a_secret_with_its_last_block),
		TEST(coap_exchange_runs_only_so_many_at_a_time),
		TEST(coap_exchange_passes_max_age_on),
	};

	return cmocka_run_group_tests_name("coap exchange", tests, NULL, NULL);
}
