#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "devsim/lossy.h"

#define MANY 100000

static void
lossy_reads_every_part_in_any_order(void **state)
{
	struct lossy lossy;
	struct err e;

	(void)state;
	assert_int_equal(lossy_parse("mtu=256,seed=9,drop=15,reorder=7,dup=5", &lossy, &e), 0);
	assert_int_equal(lossy.drop, 15);
	assert_int_equal(lossy.dup, 5);
	assert_int_equal(lossy.reorder, 7);
	assert_int_equal(lossy.mtu, 256);
	assert_int_equal(lossy.seed, 9);
	assert_int_equal(lossy_parse("", &lossy, &e), 0);
	assert_int_equal(lossy.drop + lossy.dup + lossy.reorder + lossy.mtu, 0);
}

static void
lossy_refuses_what_it_cannot_do(void **state)
{
	static const char *const bad[] = { "drop", "drop=", "drop=-1", "drop=101", "drop=x", "drop=1 ", "lose=5", "=5", "mtu=10",
		"mtu=70000", "seed=18446744073709551616", "drop=60,dup=30,reorder=20", "drop=5,,dup=5",
		"drop=0000000000000000000000000000000000000000000000000000000000000000000001" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct lossy lossy = { .drop = 77 };
		struct err e;

		if (lossy_parse(bad[i], &lossy, &e) == 0)
			fail_msg("\"%s\" was taken", bad[i]);
		assert_int_equal(e.code, ERR_MALFORMED);
		assert_int_equal(lossy.drop, 77);
	}
}

static void
lossy_loses_as_many_as_it_was_told(void **state)
{
	const struct lossy lossy = { .drop = 15, .dup = 5, .reorder = 10, .seed = 3 };
	unsigned counts[LOSSY_FATES] = { 0 };
	uint64_t n;

	(void)state;
	for (n = 0; n < MANY; n++)
		counts[lossy_decide(&lossy, 4, LOSSY_UP, n, 100)]++;
	assert_in_range(counts[LOSSY_DROP], MANY * 14 / 100, MANY * 16 / 100);
	assert_in_range(counts[LOSSY_DUPLICATE], MANY * 4 / 100, MANY * 6 / 100);
	assert_in_range(counts[LOSSY_LATE], MANY * 9 / 100, MANY * 11 / 100);
	assert_int_equal(counts[LOSSY_TOO_LONG], 0);
}

static void
lossy_decides_alike_for_the_same_seed_and_otherwise_for_another(void **state)
{
	const struct lossy one = { .drop = 50, .seed = 1 }, two = { .drop = 50, .seed = 2 };
	unsigned seeds = 0, flows = 0, directions = 0;
	uint64_t n;

	(void)state;
	for (n = 0; n < MANY; n++) {
		enum lossy_fate fate = lossy_decide(&one, 7, LOSSY_UP, n, 100);

		assert_int_equal(fate, lossy_decide(&one, 7, LOSSY_UP, n, 100));
		seeds += fate != lossy_decide(&two, 7, LOSSY_UP, n, 100);
		flows += fate != lossy_decide(&one, 8, LOSSY_UP, n, 100);
		directions += fate != lossy_decide(&one, 7, LOSSY_DOWN, n, 100);
	}
	assert_in_range(seeds, MANY * 48 / 100, MANY * 52 / 100);
	assert_in_range(flows, MANY * 48 / 100, MANY * 52 / 100);
	assert_in_range(directions, MANY * 48 / 100, MANY * 52 / 100);
}

static void
lossy_loses_every_datagram_longer_than_the_mtu_and_no_other(void **state)
{
	const struct lossy lossy = { .mtu = 256 };
	uint64_t n;

	(void)state;
	for (n = 0; n < 1000; n++) {
		assert_int_equal(lossy_decide(&lossy, 0, LOSSY_UP, n, 257), LOSSY_TOO_LONG);
		assert_int_equal(lossy_decide(&lossy, 0, LOSSY_UP, n, 256), LOSSY_PASS);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lossy_reads_every_part_in_any_order),
		cmocka_unit_test(lossy_refuses_what_it_cannot_do),
		cmocka_unit_test(lossy_loses_as_many_as_it_was_told),
		cmocka_unit_test(lossy_decides_alike_for_the_same_seed_and_otherwise_for_another),
		cmocka_unit_test(lossy_loses_every_datagram_longer_than_the_mtu_and_no_other),
	};

	return cmocka_run_group_tests_name("devsim/lossy", tests, NULL, NULL);
}
