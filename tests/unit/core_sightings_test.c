#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "gateway/core/rule_limits.h"
#include "gateway/core/sightings.h"

#define NOW INT64_C(1800000000)
#define WINDOW 60

struct seen {
	int64_t asset_id;
	const char *peer;
	int64_t after_s;
	bool twice;
};

static void
follow(const struct seen *list, size_t count)
{
	struct sightings *sightings = NULL;
	char text[96];
	bool tell;
	struct err e;
	size_t i;

	assert_int_equal(sightings_new(1024, &sightings, &e), 0);
	for (i = 0; i < count; i++)
		if (sightings_see(sightings, list[i].asset_id, list[i].peer, NOW + list[i].after_s, WINDOW, text, &tell) !=
		    list[i].twice)
			fail_msg("sighting %zu at %s: %s", i, list[i].peer, list[i].twice ? "not seen" : text);
	sightings_free(sightings);
}

#define FOLLOW(list) follow(list, sizeof(list) / sizeof((list)[0]))

static void
sightings_tell_of_an_asset_in_two_networks_by_turns(void **state)
{
	static const struct seen v4[] = { { 1, "192.0.2.7", 0, false }, { 1, "198.51.100.7", 10, false },
		{ 1, "192.0.2.9", 20, true } };
	static const struct seen v6[] = { { 1, "2001:db8:1::7", 0, false }, { 1, "[2001:db8:2::7]:443", 10, false },
		{ 1, "2001:db8:1:ffff::9", 20, true } };
	static const struct seen mapped[] = { { 1, "::ffff:192.0.2.7", 0, false }, { 1, "198.51.100.7:1234", 10, false },
		{ 1, "192.0.2.9", 20, true } };

	(void)state;
	FOLLOW(v4);
	FOLLOW(v6);
	FOLLOW(mapped);
}

static void
sightings_let_a_device_move(void **state)
{
	static const struct seen once[] = { { 1, "192.0.2.7", 0, false }, { 1, "198.51.100.7", 1, false },
		{ 1, "198.51.100.8", 2, false }, { 1, "203.0.113.7", 3, false }, { 1, "198.51.100.7", WINDOW + 3, false } };
	static const struct seen slowly[] = { { 1, "192.0.2.7", 0, false }, { 1, "198.51.100.7", 30, false },
		{ 1, "192.0.2.7", WINDOW + 1, false } };
	static const struct seen within[] = { { 1, "192.0.2.7", 0, false }, { 1, "192.0.2.200", 1, false },
		{ 1, "192.0.2.7", 2, false } };

	(void)state;
	FOLLOW(once);
	FOLLOW(slowly);
	FOLLOW(within);
}

static void
sightings_take_a_second_address_family_for_another_way_out(void **state)
{
	static const struct seen dual[] = { { 1, "192.0.2.7", 0, false }, { 1, "2001:db8:1::7", 1, false },
		{ 1, "192.0.2.7", 2, false }, { 1, "2001:db8:1::8", 3, false }, { 1, "198.51.100.7", 4, false },
		{ 1, "2001:db8:1::7", 5, false }, { 1, "192.0.2.7", 6, true } };

	(void)state;
	FOLLOW(dual);
}

static void
sightings_keep_assets_apart_and_ignore_what_is_no_address(void **state)
{
	static const struct seen apart[] = { { 1, "192.0.2.7", 0, false }, { 2, "198.51.100.7", 1, false },
		{ 1, "192.0.2.7", 2, false }, { 1, "a unix socket", 3, false }, { 1, "", 4, false }, { 1, NULL, 5, false },
		{ 1, "192.0.2.7", 6, false } };

	(void)state;
	FOLLOW(apart);
}

static void
sightings_are_told_once_in_a_window_and_survive_a_crowd(void **state)
{
	struct sightings *sightings = NULL;
	char text[96], peer[32];
	bool tell;
	struct err e;
	int64_t i;

	(void)state;
	assert_int_equal(sightings_new(64, &sightings, &e), 0);
	(void)sightings_see(sightings, 1, "192.0.2.7", NOW, WINDOW, text, &tell);
	(void)sightings_see(sightings, 1, "198.51.100.7", NOW + 1, WINDOW, text, &tell);
	assert_true(sightings_see(sightings, 1, "192.0.2.7", NOW + 2, WINDOW, text, &tell));
	assert_true(tell);
	assert_string_equal(text, "in 192.0.2.0/24 and 198.51.100.0/24 by turns");
	assert_true(sightings_see(sightings, 1, "198.51.100.7", NOW + 3, WINDOW, text, &tell));
	assert_false(tell);
	for (i = 2; i < 5000; i++) {
		(void)snprintf(peer, sizeof peer, "10.%d.%d.1", (int)(i / 256), (int)(i % 256));
		assert_false(sightings_see(sightings, i, peer, NOW + 4, WINDOW, text, &tell));
	}
	sightings_free(sightings);
	sightings_free(NULL);
}

/* ---- limits of rules */

static struct rule_limits *
limits_new(void)
{
	struct rule_limits *limits = NULL;
	struct err e;

	assert_int_equal(rule_limits_new(&limits, &e), 0);
	return limits;
}

static void
rule_limits_have_room_for_so_many_within_the_time(void **state)
{
	const struct policy_rule rule = { .name = "few", .count = 2, .per_s = 3600 };
	struct rule_limits *limits = limits_new();

	(void)state;
	assert_true(rule_limits_take(limits, &rule, NOW));
	assert_true(rule_limits_room(limits, &rule, NOW + 10));
	assert_true(rule_limits_take(limits, &rule, NOW + 1800));
	assert_false(rule_limits_room(limits, &rule, NOW + 1800));
	assert_false(rule_limits_take(limits, &rule, NOW + 3599));
	/* The first one leaves the window at the latest a 32nd of it late. */
	assert_true(rule_limits_take(limits, &rule, NOW + 3600 + 3600 / 32));
	assert_false(rule_limits_room(limits, &rule, NOW + 3600 + 3600 / 32));
	assert_true(rule_limits_room(limits, &rule, NOW + 1000000));
	rule_limits_free(limits);
}

static void
rule_limits_take_back_what_was_not_used(void **state)
{
	const struct policy_rule rule = { .name = "few", .count = 1, .per_s = 60 };
	struct rule_limits *limits = limits_new();

	(void)state;
	assert_true(rule_limits_take(limits, &rule, NOW));
	rule_limits_give_back(limits, &rule, NOW);
	assert_true(rule_limits_take(limits, &rule, NOW + 1));
	assert_false(rule_limits_room(limits, &rule, NOW + 2));
	/* Nothing comes back twice. */
	rule_limits_give_back(limits, &rule, NOW + 1);
	rule_limits_give_back(limits, &rule, NOW + 1);
	assert_true(rule_limits_take(limits, &rule, NOW + 2));
	assert_false(rule_limits_take(limits, &rule, NOW + 2));
	rule_limits_free(limits);
}

static void
rule_limits_go_by_the_name_of_the_rule(void **state)
{
	const struct policy_rule few = { .name = "few", .count = 1, .per_s = 60 };
	const struct policy_rule other = { .name = "other", .count = 1, .per_s = 60 };
	const struct policy_rule more = { .name = "few", .count = 2, .per_s = 7200 };
	const struct policy_rule any = { .name = "any" };
	struct rule_limits *limits = limits_new();
	int i;

	(void)state;
	/* A reload between taking and giving back. */
	assert_true(rule_limits_take(limits, &few, NOW));
	assert_true(rule_limits_room(limits, &more, NOW + 500));
	rule_limits_give_back(limits, &few, NOW);
	assert_true(rule_limits_take(limits, &few, NOW + 500));
	rule_limits_give_back(limits, &few, NOW + 500);
	assert_true(rule_limits_take(limits, &few, NOW));
	assert_true(rule_limits_take(limits, &other, NOW));
	/* The same rule after a reload, with another limit: what was counted counts. */
	assert_true(rule_limits_take(limits, &more, NOW));
	assert_false(rule_limits_take(limits, &more, NOW + 3600));
	for (i = 0; i < 100; i++)
		assert_true(rule_limits_take(limits, &any, NOW));
	assert_true(rule_limits_take(NULL, &few, NOW));
	rule_limits_free(limits);
	rule_limits_free(NULL);
}

static void
rule_limits_are_not_fooled_by_a_clock_that_was_set_back(void **state)
{
	const struct policy_rule rule = { .name = "few", .count = 1, .per_s = 3600 };
	struct rule_limits *limits = limits_new();

	(void)state;
	assert_true(rule_limits_take(limits, &rule, NOW));
	assert_false(rule_limits_take(limits, &rule, NOW - 86400));
	assert_false(rule_limits_take(limits, &rule, NOW + 1));
	rule_limits_free(limits);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sightings_tell_of_an_asset_in_two_networks_by_turns),
		cmocka_unit_test(sightings_let_a_device_move),
		cmocka_unit_test(sightings_take_a_second_address_family_for_another_way_out),
		cmocka_unit_test(sightings_keep_assets_apart_and_ignore_what_is_no_address),
		cmocka_unit_test(sightings_are_told_once_in_a_window_and_survive_a_crowd),
		cmocka_unit_test(rule_limits_have_room_for_so_many_within_the_time),
		cmocka_unit_test(rule_limits_take_back_what_was_not_used),
		cmocka_unit_test(rule_limits_go_by_the_name_of_the_rule),
		cmocka_unit_test(rule_limits_are_not_fooled_by_a_clock_that_was_set_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
