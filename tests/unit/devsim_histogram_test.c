#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "devsim/histogram.h"

static int
setup(void **state)
{
	*state = calloc(2, sizeof(struct histogram));
	return *state == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	free(*state);
	return 0;
}

static void
assert_near(uint64_t got, uint64_t want)
{
	assert_true(got >= want);
	assert_true(got - want <= want / 60 + 1);
}

static void
histogram_quantiles_are_at_most_a_bucket_too_high(void **state)
{
	struct histogram *h = *state;
	int64_t i;

	for (i = 1; i <= 100000; i++)
		histogram_add(h, i);
	assert_near(histogram_quantile(h, 0.5), 50000);
	assert_near(histogram_quantile(h, 0.9), 90000);
	assert_near(histogram_quantile(h, 0.999), 99900);
	assert_int_equal(histogram_quantile(h, 1), 100000);
	assert_int_equal(h->min_us, 1);
	assert_int_equal(h->max_us, 100000);
	assert_true(histogram_mean(h) > 50000 && histogram_mean(h) < 50001);
}

static void
histogram_is_exact_for_small_values(void **state)
{
	struct histogram *h = *state;
	int64_t i;

	for (i = 0; i < 10; i++)
		histogram_add(h, i);
	assert_int_equal(histogram_quantile(h, 0.1), 0);
	assert_int_equal(histogram_quantile(h, 0.5), 4);
	assert_int_equal(histogram_quantile(h, 0.51), 5);
}

static void
histogram_of_nothing_is_zero(void **state)
{
	struct histogram *h = *state;

	assert_int_equal(histogram_quantile(h, 0.99), 0);
	assert_true(histogram_mean(h) <= 0);
}

static void
histogram_takes_any_value(void **state)
{
	struct histogram *h = *state;

	histogram_add(h, -5);
	histogram_add(h, INT64_MAX);
	assert_int_equal(h->count, 2);
	assert_int_equal(h->min_us, 0);
	assert_int_equal(histogram_quantile(h, 0.5), 0);
	assert_true(histogram_quantile(h, 1) > 0);
}

static void
histogram_merge_equals_adding_everything_to_one(void **state)
{
	struct histogram *both = *state, *one = both + 1;
	int64_t i;

	for (i = 1; i <= 1000; i++)
		histogram_add(i % 2 == 0 ? both : one, i * 7);
	histogram_merge(both, one);
	assert_int_equal(both->count, 1000);
	assert_int_equal(both->min_us, 7);
	assert_int_equal(both->max_us, 7000);
	assert_near(histogram_quantile(both, 0.5), 3500);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(histogram_quantiles_are_at_most_a_bucket_too_high, setup, teardown),
		cmocka_unit_test_setup_teardown(histogram_is_exact_for_small_values, setup, teardown),
		cmocka_unit_test_setup_teardown(histogram_of_nothing_is_zero, setup, teardown),
		cmocka_unit_test_setup_teardown(histogram_takes_any_value, setup, teardown),
		cmocka_unit_test_setup_teardown(histogram_merge_equals_adding_everything_to_one, setup, teardown),
	};

	return cmocka_run_group_tests_name("devsim/histogram", tests, NULL, NULL);
}
