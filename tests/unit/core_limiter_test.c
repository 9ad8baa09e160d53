#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>

#include "base/ossl.h"
#include "gateway/core/limiter.h"

#define WINDOW_S 60
#define LOCK_S   300
#define NOW_S    INT64_C(1790000000)
#define THREADS  4

static struct limiter *
made(size_t slots, int max_failures)
{
	struct limiter *l = NULL;
	struct err e = { 0 };

	assert_int_equal(ossl_init(&e), 0);
	if (limiter_new(slots, max_failures, WINDOW_S, LOCK_S, &l, &e) != 0)
		fail_msg("%s", e.text);
	return l;
}

static int64_t
failed_at(struct limiter *l, const char *key, int64_t at_s)
{
	return limiter_failed(l, bytes_of_text(key), NOW_S + at_s);
}

static int64_t
checked_at(struct limiter *l, const char *key, int64_t at_s)
{
	return limiter_check(l, bytes_of_text(key), NOW_S + at_s);
}

static void
limiter_locks_a_key_after_too_many_failures(void **state)
{
	struct limiter *l = made(16, 3);

	(void)state;
	assert_int_equal(checked_at(l, "a", 0), 0);
	assert_int_equal(failed_at(l, "a", 0), 0);
	assert_int_equal(failed_at(l, "a", 1), 0);
	assert_int_equal(checked_at(l, "a", 1), 0);
	assert_int_equal(failed_at(l, "a", 2), LOCK_S);
	assert_int_equal(checked_at(l, "a", 2), LOCK_S);
	assert_int_equal(checked_at(l, "a", 2 + LOCK_S - 1), 1);
	assert_int_equal(checked_at(l, "a", 2 + LOCK_S), 0);
	assert_int_equal(checked_at(l, "b", 2), 0);
	limiter_free(l);
}

static void
limiter_starts_afresh_after_a_lock(void **state)
{
	struct limiter *l = NULL;
	struct err e = { 0 };

	/* The lock is shorter than the window, so that the window cannot have forgotten the failures. */
	(void)state;
	assert_int_equal(ossl_init(&e), 0);
	assert_int_equal(limiter_new(16, 2, WINDOW_S, 10, &l, &e), 0);
	assert_int_equal(failed_at(l, "a", 0), 0);
	assert_int_equal(failed_at(l, "a", 0), 10);
	assert_int_equal(failed_at(l, "a", 10), 0);
	assert_int_equal(failed_at(l, "a", 10), 10);
	limiter_free(l);
}

static void
limiter_does_not_prolong_a_lock_by_knocking(void **state)
{
	struct limiter *l = made(16, 1);

	(void)state;
	assert_int_equal(failed_at(l, "a", 0), LOCK_S);
	assert_int_equal(failed_at(l, "a", 100), LOCK_S - 100);
	assert_int_equal(checked_at(l, "a", LOCK_S), 0);
	limiter_free(l);
}

static void
limiter_forgets_failures_that_left_the_window(void **state)
{
	struct limiter *l = made(16, 3);

	(void)state;
	assert_int_equal(failed_at(l, "a", 0), 0);
	assert_int_equal(failed_at(l, "a", 50), 0);
	assert_int_equal(failed_at(l, "a", WINDOW_S), 0); /* the first is gone */
	assert_int_equal(failed_at(l, "a", WINDOW_S + 1), LOCK_S);
	limiter_free(l);
}

static void
limiter_counts_across_the_borders_of_windows(void **state)
{
	struct limiter *l = made(16, 5);
	int i;

	/* A window fixed at the first failure would take eight of these in two seconds. */
	(void)state;
	assert_int_equal(failed_at(l, "a", 0), 0);
	for (i = 0; i < 3; i++)
		assert_int_equal(failed_at(l, "a", 59), 0);
	assert_int_equal(failed_at(l, "a", 60), 0);
	assert_int_equal(failed_at(l, "a", 60), LOCK_S);
	limiter_free(l);
}

static void
limiter_forgives_after_a_success(void **state)
{
	struct limiter *l = made(16, 2);

	(void)state;
	assert_int_equal(failed_at(l, "a", 0), 0);
	limiter_passed(l, bytes_of_text("a"));
	limiter_passed(l, bytes_of_text("nobody"));
	assert_int_equal(failed_at(l, "a", 0), 0);
	assert_int_equal(failed_at(l, "a", 0), LOCK_S);
	limiter_passed(l, bytes_of_text("a"));
	assert_int_equal(checked_at(l, "a", 0), 0);
	limiter_free(l);
}

static void
limiter_never_locks_longer_when_the_clock_is_set_back(void **state)
{
	struct limiter *l = made(16, 2);

	(void)state;
	assert_int_equal(failed_at(l, "a", 100000), 0);
	assert_int_equal(failed_at(l, "a", 0), LOCK_S);
	assert_int_equal(failed_at(l, "b", 100000), 0);
	assert_int_equal(failed_at(l, "b", 100000), LOCK_S);
	assert_int_equal(checked_at(l, "b", 0), LOCK_S);
	assert_int_equal(checked_at(l, "b", LOCK_S), 0);
	limiter_free(l);
	l = made(16, 3);
	assert_int_equal(failed_at(l, "a", 100000), 0);
	assert_int_equal(failed_at(l, "a", 0), 0); /* both count from here now */
	assert_int_equal(failed_at(l, "a", WINDOW_S), 0);
	assert_int_equal(failed_at(l, "a", WINDOW_S), 0);
	limiter_free(l);
}

static void
limiter_makes_room_by_forgiving_the_nearest(void **state)
{
	struct limiter *l = made(3, 2);

	(void)state;
	assert_int_equal(failed_at(l, "locked", 0), 0);
	assert_int_equal(failed_at(l, "locked", 0), LOCK_S); /* forgiven at 300 */
	assert_int_equal(failed_at(l, "old", 10), 0);        /* at 70 */
	assert_int_equal(failed_at(l, "new", 20), 0);        /* at 80 */
	assert_int_equal(failed_at(l, "one more", 20), 0);   /* "old" goes */
	assert_int_equal(checked_at(l, "locked", 20), LOCK_S - 20);
	assert_int_equal(failed_at(l, "new", 21), LOCK_S);   /* still counted */
	assert_int_equal(failed_at(l, "old", 22), 0);        /* "one more" goes; "old" was forgotten */
	assert_int_equal(failed_at(l, "old", 22), LOCK_S);
	assert_int_equal(failed_at(l, "last", 23), 0);       /* all are locked: the oldest lock goes */
	assert_int_equal(checked_at(l, "locked", 23), 0);
	assert_int_equal(checked_at(l, "new", 23), LOCK_S - 2);
	limiter_free(l);
}

static void
limiter_stays_whole_under_a_flood_of_keys(void **state)
{
	struct limiter *l = made(64, 3);
	char key[32];
	int i;

	(void)state;
	for (i = 0; i < 20000; i++) {
		(void)snprintf(key, sizeof key, "192.0.2.%d", i % 300);
		(void)failed_at(l, key, i / 100);
		if (i % 7 == 0)
			limiter_passed(l, bytes_of_text(key));
	}
	assert_int_equal(failed_at(l, "a", 1000000), 0);
	assert_int_equal(failed_at(l, "a", 1000000), 0);
	assert_int_equal(failed_at(l, "a", 1000000), LOCK_S);
	limiter_free(l);
}

static void
limiter_tells_keys_with_common_beginnings_apart(void **state)
{
	struct limiter *l = made(16, 1);

	(void)state;
	assert_int_equal(limiter_failed(l, bytes_of("a\0b", 3), NOW_S), LOCK_S);
	assert_int_equal(limiter_check(l, bytes_of("a\0c", 3), NOW_S), 0);
	assert_int_equal(limiter_check(l, bytes_of("a", 1), NOW_S), 0);
	assert_int_equal(limiter_check(l, bytes_of(NULL, 0), NOW_S), 0);
	assert_int_equal(limiter_check(l, bytes_of("a\0b", 3), NOW_S), LOCK_S);
	limiter_free(l);
}

static void *
knock(void *arg)
{
	char key[16];
	int i;

	for (i = 0; i < 2000; i++) {
		(void)snprintf(key, sizeof key, "k%d", i % 50);
		(void)limiter_failed(arg, bytes_of_text(key), NOW_S + i);
		(void)limiter_check(arg, bytes_of_text(key), NOW_S + i);
		if (i % 3 == 0)
			limiter_passed(arg, bytes_of_text(key));
	}
	return NULL;
}

static void
limiter_serves_many_threads_at_once(void **state)
{
	struct limiter *l = made(32, 3);
	pthread_t threads[THREADS];
	int i;

	(void)state;
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, knock, l), 0);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (i = 0; i < 3; i++)
		(void)failed_at(l, "k1", 1000000);
	assert_int_equal(checked_at(l, "k1", 1000000), LOCK_S);
	limiter_free(l);
}

static void
limiter_refuses_sizes_that_make_no_sense(void **state)
{
	struct limiter *l = NULL;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(limiter_new(0, 3, 60, 60, &l, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_int_equal(limiter_new(16, 0, 60, 60, &l, &e), -1);
	assert_int_equal(limiter_new(16, 3, 0, 60, &l, &e), -1);
	assert_int_equal(limiter_new(16, 3, 60, 0, &l, &e), -1);
	assert_int_equal(limiter_new((size_t)1 << 40, 3, 60, 60, &l, &e), -1);
	assert_int_equal(limiter_new((size_t)1 << 22, 1000, 60, 60, &l, &e), -1);
	assert_null(l);
	limiter_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limiter_locks_a_key_after_too_many_failures),
		cmocka_unit_test(limiter_starts_afresh_after_a_lock),
		cmocka_unit_test(limiter_does_not_prolong_a_lock_by_knocking),
		cmocka_unit_test(limiter_forgets_failures_that_left_the_window),
		cmocka_unit_test(limiter_counts_across_the_borders_of_windows),
		cmocka_unit_test(limiter_forgives_after_a_success),
		cmocka_unit_test(limiter_never_locks_longer_when_the_clock_is_set_back),
		cmocka_unit_test(limiter_makes_room_by_forgiving_the_nearest),
		cmocka_unit_test(limiter_stays_whole_under_a_flood_of_keys),
		cmocka_unit_test(limiter_tells_keys_with_common_beginnings_apart),
		cmocka_unit_test(limiter_serves_many_threads_at_once),
		cmocka_unit_test(limiter_refuses_sizes_that_make_no_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
