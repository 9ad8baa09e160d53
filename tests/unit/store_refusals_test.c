/* What a CA elsewhere refuses by words: told of once, counted, and given up with the certificate's end. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/store_holds.h"

static void
refuse(struct fixture *f, const struct revocation_row *row, enum revocation_end to)
{
	struct revocation_step s = {.id = row->id, .wanted = row->wanted, .told = row->told, .to = to, .error = "not by you",
		.refused = true, .ended_s = NOW - 100, .next_try_s = NOW, .now_s = NOW};
	struct err e = {0};

	if (ops->intents->revocation_step(f->store, &s, &e) != 0)
		fail_msg("step: %s", e.text);
}

static void
store_refused_hold_is_counted_and_an_alert_until_it_is_taken(void **state)
{
	struct fixture *f = *state;
	struct revocation_row row;
	int i;

	become(f, ASSET_QUARANTINED);
	row = due(f);
	assert_string_equal(row.reason, "");
	assert_int_equal(counts(f).refused, 0);
	for (i = 0; i < 2; i++) {
		assert_true(begin_to_tell(f, &row));
		refuse(f, &row, REVOCATION_LATER);
		assert_int_equal(counts(f).refused, 1);
		assert_int_equal(counts(f).holds, 1);
		assert_int_equal(audits(f, "action = 'ca.hold_refused' AND subject = '0100000001' AND detail_json ->> 'alert' = 1"
			" AND detail_json ->> 'ca' = 'issuing' AND detail_json ->> 'reason' = 'not by you'"), 1);
	}
	assert_string_equal(due(f).reason, REVOCATION_REFUSED);
	assert_int_equal(due(f).tries, 2);
	tell(f, UPSTREAM_HELD);
	assert_int_equal(counts(f).refused, 0);
	assert_int_equal(audits(f, "action LIKE 'ca.%'"), 2);
}

static void
store_refusal_of_what_is_not_wanted_any_more_is_no_alert(void **state)
{
	struct fixture *f = *state;
	struct revocation_row row;

	become(f, ASSET_QUARANTINED);
	row = due(f);
	assert_true(begin_to_tell(f, &row));
	row = due(f); /* after a crash: it may have been told */
	assert_int_equal(row.told, UPSTREAM_UNSURE);
	become(f, ASSET_STAGED);
	refuse(f, &row, REVOCATION_LATER);
	assert_int_equal(counts(f).releases, 1);
	assert_int_equal(counts(f).refused, 0);
	become(f, ASSET_QUARANTINED);
	become(f, ASSET_STOLEN);
	refuse(f, &row, REVOCATION_LATER);
	assert_int_equal(audits(f, "action LIKE 'ca.%'"), 0);
	assert_int_equal(counts(f).refused, 0);
	row = due(f);
	assert_string_equal(row.reason, "stolen");
	refuse(f, &row, REVOCATION_LATER);
	assert_int_equal(audits(f, "action LIKE 'ca.%'"), 0);
	assert_string_equal(due(f).reason, "stolen");
	assert_int_equal(counts(f).refused, 0);
}

static void
store_settled_revocation_is_not_told_again(void **state)
{
	struct fixture *f = *state;
	struct revocation_row row;

	become(f, ASSET_STOLEN);
	row = due(f);
	refuse(f, &row, REVOCATION_SETTLED);
	expect_nothing_due(f);
	refuse(f, &row, REVOCATION_SETTLED);
	assert_int_equal(counts(f).revocations, 0);
	assert_int_equal(audits(f, "action = 'ca.settled' AND subject = '0100000001' AND detail_json ->> 'wanted' = 'revocation'"
		" AND detail_json ->> 'reason' = 'not by you' AND detail_json ->> 'not_after' = 1799999900"), 1);
	assert_int_equal(audits(f, "action LIKE 'ca.%'"), 1);
	assert_int_equal(fixture_number(f, "SELECT told FROM ca_revocation"), UPSTREAM_GOOD);
}

static void
store_settled_hold_does_not_stop_what_comes_after_it(void **state)
{
	struct fixture *f = *state;
	struct revocation_row row;

	become(f, ASSET_QUARANTINED);
	row = due(f);
	refuse(f, &row, REVOCATION_SETTLED);
	expect_nothing_due(f);
	assert_int_equal(counts(f).unheld, 0);
	become(f, ASSET_STAGED);
	expect_nothing_due(f);
	become(f, ASSET_QUARANTINED);
	become(f, ASSET_STOLEN);
	tell(f, UPSTREAM_REVOKED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(store_refused_hold_is_counted_and_an_alert_until_it_is_taken),
		TEST(store_refusal_of_what_is_not_wanted_any_more_is_no_alert),
		TEST(store_settled_revocation_is_not_told_again),
		TEST(store_settled_hold_does_not_stop_what_comes_after_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
