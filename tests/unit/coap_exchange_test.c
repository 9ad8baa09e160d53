#include "tests/unit/coap_exchange_fixture.h"

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
coap_exchange_knows_the_duplicate_of_a_post_after_many_gets(void **state)
{
	struct world *w = *state;
	struct coaps_message first;
	int i;

	assert_int_equal(feed(w), COAPS_STEP_RUN);
	assert_true(answer_with(w, 204, pattern(300)));
	first = w->m;
	w->m.target = (struct coaps_target){ .method = COAPS_GET, .op = COAPS_OP_CRTS };
	for (i = 0; i < 3 * COAPS_PAST_MAX; i++) {
		w->now_ms += 1000;
		assert_int_equal(feed(w), COAPS_STEP_RUN);
		assert_true(answer_with(w, 205, pattern(30)));
	}
	w->m = first;
	assert_int_equal(again(w), COAPS_STEP_REPLAY);
	assert_int_equal(w->reply.code, 204);
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
	answer = (struct coaps_answer){ .code = 205, .max_age_s = COAPS_NO_STORE };
	assert_int_equal(feed(w), COAPS_STEP_RUN);
	assert_true(coaps_exchange_answer(w->x, w->run.ticket, &answer, w->now_ms, &w->reply));
	assert_int_equal(w->reply.max_age_s, COAPS_NO_STORE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(coap_exchange_runs_a_whole_request_and_answers_in_the_acknowledgement),
		TEST(coap_exchange_repeats_the_answer_to_a_duplicate_and_runs_nothing),
		TEST(coap_exchange_knows_the_duplicate_of_a_post_after_many_gets),
		TEST(coap_exchange_takes_the_same_id_with_another_token_for_another_message),
		TEST(coap_exchange_acknowledges_a_duplicate_of_what_still_runs),
		TEST(coap_exchange_answers_separately_after_an_empty_acknowledgement),
		TEST(coap_exchange_answers_a_non_confirmable_request_the_same_way_and_its_duplicate_not_at_all),
		TEST(coap_exchange_answers_400_to_a_block_of_the_wrong_length),
		TEST(coap_exchange_sends_an_errors_text_in_one_message_and_no_format),
		TEST(coap_exchange_runs_only_so_many_at_a_time),
		TEST(coap_exchange_passes_max_age_on),
	};

	return cmocka_run_group_tests_name("coap exchange", tests, NULL, NULL);
}
