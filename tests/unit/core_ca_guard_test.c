#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "gateway/core/ca_guard.h"

#define NOW INT64_C(1800000000)

static int
setup(void **state)
{
	struct ca_guard *guard = NULL;
	struct err e;

	assert_int_equal(ca_guard_new(&guard, &e), 0);
	ca_guard_set(guard, 2, 0);
	*state = guard;
	return 0;
}

static int
teardown(void **state)
{
	ca_guard_free(*state);
	return 0;
}

static bool
enter(struct ca_guard *guard, bool issues, int64_t now_s)
{
	int64_t at_s = 0;
	bool may = ca_guard_enter(guard, issues, now_s, &at_s);

	assert_true(at_s > now_s);
	return may;
}

static void
fail_times(struct ca_guard *guard, int times, int64_t now_s)
{
	for (; times > 0; times--) {
		assert_true(enter(guard, true, now_s));
		assert_false(ca_guard_leave(guard, GUARD_FAILED, now_s));
	}
}

static void
core_ca_guard_opens_after_failures_in_a_row_only(void **state)
{
	struct ca_guard *guard = *state;

	fail_times(guard, GUARD_FAILURES - 1, NOW);
	assert_true(enter(guard, true, NOW));
	assert_false(ca_guard_leave(guard, GUARD_ANSWERED, NOW));
	fail_times(guard, GUARD_FAILURES - 1, NOW);
	assert_int_equal(ca_guard_state(guard), GUARD_CLOSED);
	fail_times(guard, 1, NOW);
	assert_int_equal(ca_guard_state(guard), GUARD_OPEN);
	assert_false(enter(guard, true, NOW));
	assert_false(enter(guard, false, NOW));
}

static void
core_ca_guard_lets_one_through_when_it_has_waited(void **state)
{
	struct ca_guard *guard = *state;
	int64_t at_s = 0, again_s = 0;

	fail_times(guard, GUARD_FAILURES, NOW);
	assert_false(ca_guard_enter(guard, true, NOW, &at_s));
	assert_in_range(at_s - NOW, (GUARD_BACKOFF_S + 1) / 2, GUARD_BACKOFF_S);
	assert_false(enter(guard, true, at_s - 1));
	assert_true(enter(guard, true, at_s));
	assert_int_equal(ca_guard_state(guard), GUARD_HALF_OPEN);
	assert_false(enter(guard, true, at_s)); /* though two calls are allowed */
	assert_false(ca_guard_leave(guard, GUARD_FAILED, at_s));
	assert_false(ca_guard_enter(guard, true, at_s, &again_s));
	assert_in_range(again_s - at_s, GUARD_BACKOFF_S, 2 * GUARD_BACKOFF_S);
	assert_true(enter(guard, true, again_s));
	assert_true(ca_guard_leave(guard, GUARD_ANSWERED, again_s));
	assert_int_equal(ca_guard_state(guard), GUARD_CLOSED);
	assert_true(enter(guard, true, again_s));
	assert_true(enter(guard, true, again_s));
}

static void
core_ca_guard_learns_nothing_from_a_call_that_was_not_made(void **state)
{
	struct ca_guard *guard = *state;
	int64_t at_s = 0;

	fail_times(guard, GUARD_FAILURES, NOW);
	assert_false(ca_guard_enter(guard, true, NOW, &at_s));
	assert_true(enter(guard, true, at_s));
	assert_false(ca_guard_leave(guard, GUARD_NOT_MADE, at_s));
	assert_int_equal(ca_guard_state(guard), GUARD_OPEN);
	assert_true(enter(guard, true, at_s));
}

static void
core_ca_guard_believes_a_look_as_far_as_the_next_call(void **state)
{
	struct ca_guard *guard = *state;
	int64_t at_s = 0, again_s = 0;
	int i;

	fail_times(guard, GUARD_FAILURES, NOW);
	assert_false(ca_guard_enter(guard, true, NOW, &at_s));
	assert_true(enter(guard, false, at_s));
	assert_true(ca_guard_leave(guard, GUARD_REACHED, at_s));
	assert_int_equal(ca_guard_state(guard), GUARD_CLOSED);
	/* One failure is enough now, and the next look comes later than the first did. */
	fail_times(guard, 1, at_s);
	assert_int_equal(ca_guard_state(guard), GUARD_OPEN);
	assert_false(ca_guard_enter(guard, true, at_s, &again_s));
	assert_in_range(again_s - at_s, GUARD_BACKOFF_S, 2 * GUARD_BACKOFF_S);
	for (i = 0; i < 2; i++) {
		at_s = again_s;
		assert_true(enter(guard, false, at_s));
		assert_true(ca_guard_leave(guard, GUARD_REACHED, at_s));
		fail_times(guard, 1, at_s);
		assert_false(ca_guard_enter(guard, true, at_s, &again_s));
	}
	assert_true(again_s - at_s >= 4 * GUARD_BACKOFF_S);
	/* An answer makes it whole. */
	assert_true(enter(guard, true, again_s));
	assert_true(ca_guard_leave(guard, GUARD_ANSWERED, again_s));
	fail_times(guard, GUARD_FAILURES - 1, again_s);
	assert_int_equal(ca_guard_state(guard), GUARD_CLOSED);
	/* A look at one that is well forgives nothing. */
	assert_true(enter(guard, false, again_s));
	assert_false(ca_guard_leave(guard, GUARD_REACHED, again_s));
	fail_times(guard, 1, again_s);
	assert_int_equal(ca_guard_state(guard), GUARD_OPEN);
}

static void
core_ca_guard_allows_so_many_calls_at_once(void **state)
{
	struct ca_guard *guard = *state;
	int64_t at_s = NOW;

	assert_true(enter(guard, true, NOW));
	assert_true(enter(guard, false, NOW));
	assert_false(ca_guard_enter(guard, false, NOW, &at_s));
	assert_int_equal(at_s, 0); /* no time will do: one of the two has to leave */
	assert_false(ca_guard_leave(guard, GUARD_ANSWERED, NOW));
	assert_true(enter(guard, false, NOW));
}

static int
issued_until(struct ca_guard *guard, int64_t now_s)
{
	int count = 0;

	while (enter(guard, true, now_s)) {
		(void)ca_guard_leave(guard, GUARD_ANSWERED, now_s);
		assert_true(count++ < 1000);
	}
	return count;
}

static void
core_ca_guard_spreads_certificates_over_the_minute(void **state)
{
	struct ca_guard *guard = *state;
	int count, s;

	ca_guard_set(guard, 2, 30);
	count = issued_until(guard, NOW);
	assert_int_equal(count, 1);
	for (s = 1; s <= 60; s++)
		count += issued_until(guard, NOW + s);
	assert_int_equal(count, 31);
	/* A quiet hour saves up a few, not an hour's. */
	assert_int_equal(issued_until(guard, NOW + 3660), 30 * GUARD_BURST_S / 60);
	/* What asks for no certificate is not counted. */
	assert_true(enter(guard, false, NOW + 3660));
}

static void
core_ca_guard_says_when_there_is_room_again(void **state)
{
	struct ca_guard *guard = *state;
	int64_t at_s = 0;

	ca_guard_set(guard, 2, 2);
	assert_int_equal(issued_until(guard, NOW), 1);
	assert_false(ca_guard_enter(guard, true, NOW, &at_s));
	assert_int_equal(at_s, NOW + 30);
	assert_false(enter(guard, true, NOW + 29));
	assert_true(enter(guard, true, NOW + 30));
}

static void
core_ca_guard_backs_off_further_each_time_and_never_past_the_most(void **state)
{
	int64_t tries;

	(void)state;
	for (tries = 0; tries < 40; tries++) {
		int64_t whole_s = tries < 2 ? 2 : tries < 9 ? INT64_C(2) << (tries - 1) : 300;

		if (whole_s > 300)
			whole_s = 300;
		assert_in_range(backoff_s(2, tries, 300), whole_s / 2, whole_s);
	}
}

/* Calls of which `lost` in each `of` bring no answer, the last of them answered, until the breaker is not closed; at most `most`. The count. */
static int
calls_until_open(struct ca_guard *guard, int lost, int of, int most, int64_t now_s)
{
	int count = 0;

	while (count < most && ca_guard_state(guard) == GUARD_CLOSED) {
		bool good = count % of >= lost;

		assert_true(enter(guard, true, now_s));
		assert_false(ca_guard_leave(guard, good ? GUARD_ANSWERED : GUARD_FAILED, now_s));
		count++;
	}
	return count;
}

static void
core_ca_guard_opens_for_a_ca_that_answers_one_call_in_five(void **state)
{
	struct ca_guard *guard = *state;

	/* Four in a row are lost each time, never five. */
	assert_int_equal(calls_until_open(guard, 4, 5, 1000, NOW), 12);
	assert_int_equal(ca_guard_state(guard), GUARD_OPEN);
	assert_false(enter(guard, true, NOW));
}

static void
core_ca_guard_opens_for_a_ca_that_answers_every_other_call(void **state)
{
	struct ca_guard *guard = *state;

	assert_int_equal(calls_until_open(guard, 1, 2, 1000, NOW), 2 * GUARD_LOST - 1);
	assert_int_equal(ca_guard_state(guard), GUARD_OPEN);
}

static void
core_ca_guard_stays_closed_when_one_call_in_three_is_lost(void **state)
{
	struct ca_guard *guard = *state;

	assert_int_equal(calls_until_open(guard, 1, 3, 999, NOW), 999);
	assert_int_equal(ca_guard_state(guard), GUARD_CLOSED);
}

static void
core_ca_guard_forgets_what_is_longer_ago_than_the_latest_calls(void **state)
{
	struct ca_guard *guard = *state;
	int i;

	assert_int_equal(calls_until_open(guard, 1, 2, 2 * GUARD_LOST - 2, NOW), 2 * GUARD_LOST - 2);
	for (i = 0; i < 2; i++) {
		assert_true(enter(guard, true, NOW));
		assert_false(ca_guard_leave(guard, GUARD_ANSWERED, NOW));
	}
	/* Nine of twenty; the oldest of them makes room for this one. */
	fail_times(guard, 1, NOW);
	assert_int_equal(ca_guard_state(guard), GUARD_CLOSED);
	/* A look at one that is well is no call. */
	assert_true(enter(guard, false, NOW));
	assert_false(ca_guard_leave(guard, GUARD_REACHED, NOW));
	fail_times(guard, 1, NOW);
	assert_int_equal(ca_guard_state(guard), GUARD_OPEN);
}

static void
core_ca_guard_begins_anew_after_one_that_answered_now_and_then_is_back(void **state)
{
	struct ca_guard *guard = *state;
	int64_t at_s = 0;

	assert_int_equal(calls_until_open(guard, 1, 2, 1000, NOW), 2 * GUARD_LOST - 1);
	assert_false(ca_guard_enter(guard, true, NOW, &at_s));
	assert_in_range(at_s - NOW, (GUARD_BACKOFF_S + 1) / 2, GUARD_BACKOFF_S);
	assert_true(enter(guard, true, at_s));
	assert_int_equal(ca_guard_state(guard), GUARD_HALF_OPEN);
	assert_true(ca_guard_leave(guard, GUARD_ANSWERED, at_s));
	assert_int_equal(ca_guard_state(guard), GUARD_CLOSED);
	/* What was lost before does not count any more: so many again, no fewer. */
	assert_int_equal(calls_until_open(guard, 1, 3, 999, at_s), 999);
	assert_int_equal(calls_until_open(guard, 4, 5, 1000, at_s), 7);
	assert_int_equal(ca_guard_state(guard), GUARD_OPEN);
}

static void
core_ca_guard_does_not_believe_an_answer_from_before_a_share_opened_it(void **state)
{
	struct ca_guard *guard = *state;
	int64_t at_s = 0;

	assert_true(enter(guard, true, NOW)); /* under way all the time */
	assert_int_equal(calls_until_open(guard, 1, 2, 1000, NOW), 2 * GUARD_LOST - 1);
	assert_false(ca_guard_leave(guard, GUARD_ANSWERED, NOW));
	assert_int_equal(ca_guard_state(guard), GUARD_OPEN);
	assert_false(ca_guard_enter(guard, true, NOW, &at_s));
	assert_true(enter(guard, true, at_s));
	assert_false(ca_guard_leave(guard, GUARD_FAILED, at_s));
	assert_int_equal(ca_guard_state(guard), GUARD_OPEN);
}

static void
core_ca_guard_gives_the_share_of_what_asked_for_nothing_to_the_next(void **state)
{
	struct ca_guard *guard = *state;

	ca_guard_set(guard, 2, 1);
	assert_true(enter(guard, true, NOW));
	assert_false(ca_guard_leave(guard, GUARD_GIVEN_BACK, NOW));
	assert_true(enter(guard, true, NOW));
	assert_false(ca_guard_leave(guard, GUARD_NOT_MADE, NOW));
	assert_false(enter(guard, true, NOW));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(core_ca_guard_opens_after_failures_in_a_row_only),
		TEST(core_ca_guard_lets_one_through_when_it_has_waited),
		TEST(core_ca_guard_learns_nothing_from_a_call_that_was_not_made),
		TEST(core_ca_guard_believes_a_look_as_far_as_the_next_call),
		TEST(core_ca_guard_opens_for_a_ca_that_answers_one_call_in_five),
		TEST(core_ca_guard_opens_for_a_ca_that_answers_every_other_call),
		TEST(core_ca_guard_stays_closed_when_one_call_in_three_is_lost),
		TEST(core_ca_guard_forgets_what_is_longer_ago_than_the_latest_calls),
		TEST(core_ca_guard_begins_anew_after_one_that_answered_now_and_then_is_back),
		TEST(core_ca_guard_does_not_believe_an_answer_from_before_a_share_opened_it),
		TEST(core_ca_guard_gives_the_share_of_what_asked_for_nothing_to_the_next),
		TEST(core_ca_guard_allows_so_many_calls_at_once),
		TEST(core_ca_guard_spreads_certificates_over_the_minute),
		TEST(core_ca_guard_says_when_there_is_room_again),
		TEST(core_ca_guard_backs_off_further_each_time_and_never_past_the_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
