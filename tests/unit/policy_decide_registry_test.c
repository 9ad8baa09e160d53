#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/policy_decide_fixture.h"

static struct scene s;
static struct exception waiver;

static void
add_waiver(unsigned waives)
{
	waiver = (struct exception){ .id = 5, .waives = waives, .ticket = "TICKET-1", .expires_s = NOW + DAY };
	s.in.exceptions = &waiver;
	s.in.exception_count = 1;
}

static void
scene_renewal(void)
{
	scene_set(&s);
	scene_own(&s, POLICY_RENEW);
	s.profile.allow_subject_change = true;
}

static void
policy_decide_denies_a_clone_when_it_is_to(void **state)
{
	static const struct {
		bool key, place, key_denies, place_denies, denied;
	} table[] = {
		{ true, false, true, false, true }, { true, false, false, true, false }, { false, true, false, true, true },
		{ false, true, true, false, false }, { true, true, false, true, true }, { true, true, true, false, true },
		{ true, true, false, false, false }, { false, false, true, true, false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof table / sizeof table[0]; i++) {
		bool seen = table[i].key || table[i].place;

		scene_set(&s);
		if (table[i].key)
			strcpy(s.in.clone_key, "came with key 00ff before");
		if (table[i].place)
			strcpy(s.in.clone_place, "seen in two networks");
		s.in.clone_key_denies = table[i].key_denies;
		s.in.clone_place_denies = table[i].place_denies;
		if (table[i].denied)
			assert_denied(&s, "identity.clone");
		else
			assert_allowed(&s);
		assert_int_equal(s.out.clone, seen);
		assert_int_equal(s.out.alert, seen);
		assert_int_equal(strstr(scene_rule(&s, "identity.clone")->saw, "key 00ff") != NULL, table[i].key);
		assert_int_equal(strstr(scene_rule(&s, "identity.clone")->saw, "two networks") != NULL, table[i].place);
	}
	assert_non_null(strstr(scene_rule(&s, "identity.clone")->saw, "nothing"));
	scene_set(&s);
	strcpy(s.in.clone_place, "seen in two networks");
	s.in.clone_place_denies = true;
	add_waiver(~0u); /* which nothing waives */
	assert_denied(&s, "identity.clone");
	assert_string_equal(s.out.sentence, "rtr-7 seems to be cloned: seen in two networks");
	s.in.asset_matches = 0;
	assert_denied(&s, "asset.known");
	assert_int_equal(scene_rule(&s, "identity.clone")->verdict, VERDICT_SKIP);
}

static void
policy_decide_counts_an_asset_that_asks_into_its_owners_quota(void **state)
{
	(void)state;
	scene_set(&s);
	s.in.quota_limit = 0;
	s.in.quota_used = 100;
	assert_allowed(&s); /* there is none */
	s.in.has_quota = true;
	assert_denied(&s, "owner.quota");
	s.in.quota_limit = 101;
	assert_allowed(&s);
	assert_string_equal(scene_rule(&s, "owner.quota")->saw, "others=100 limit=101");
	s.in.quota_limit = 100;
	assert_denied(&s, "owner.quota");
	assert_string_equal(s.out.sentence,
		"100 other assets of the owner Fleet hold a certificate of profile router, and its quota is 100");
	s.in.quota_limit = 0;
	s.in.quota_used = 0;
	assert_denied(&s, "owner.quota");
	scene_renewal();
	s.in.has_quota = true;
	assert_denied(&s, "owner.quota");
	add_waiver(EXCEPTION_QUOTA);
	assert_allowed(&s);
	assert_non_null(strstr(scene_rule(&s, "owner.quota")->saw, "waived by exception 5 (TICKET-1)"));
	assert_int_equal(s.out.exceptions_used, 1);
	waiver.waives = ~EXCEPTION_QUOTA;
	assert_denied(&s, "owner.quota");
}

static void
policy_decide_lets_who_has_a_place_in_the_quota_keep_it(void **state)
{
	(void)state;
	scene_renewal();
	s.in.has_quota = true;
	s.in.quota_used = 2;
	s.in.quota_limit = 1;
	assert_denied(&s, "owner.quota");
	s.in.quota_held = true;
	assert_allowed(&s);
	assert_string_equal(scene_rule(&s, "owner.quota")->saw, "others=2 limit=1, it has a place");
	s.in.quota_held = false;
	s.in.quota_limit = 3;
	assert_allowed(&s);
}

static void
policy_decide_renews_an_offered_asset_as_it_was_before_the_offer(void **state)
{
	unsigned prior;

	(void)state;
	for (prior = 0; prior < ASSET_STATES; prior++) {
		scene_renewal();
		s.asset.state = ASSET_TRANSFER_PENDING;
		s.asset.prior_state = (enum asset_state)prior;
		if (prior == ASSET_STAGED || prior == ASSET_DEPLOYED || prior == ASSET_TRANSFER_PENDING)
			assert_allowed(&s);
		else
			assert_denied(&s, "asset.state");
	}
	scene_renewal();
	s.asset.state = ASSET_TRANSFER_PENDING;
	s.asset.prior_state = ASSET_IN_STOCK;
	assert_denied(&s, "asset.state");
	assert_string_equal(s.out.sentence, "rtr-7 was in_stock when it was offered: its certificates are not renewed");
	assert_string_equal(scene_rule(&s, "asset.state")->saw, "state=transfer_pending, offered from in_stock");
	/* Of any other state it says nothing. */
	s.asset.state = ASSET_DEPLOYED;
	assert_allowed(&s);
}

static void
policy_decide_renews_for_a_leaving_owner_until_its_grace_ends(void **state)
{
	(void)state;
	scene_renewal();
	s.owner.status = OWNER_OFFBOARDING;
	assert_allowed(&s); /* no end is known */
	assert_int_equal(s.out.spec.not_after_s, NOW + 90 * DAY);
	s.in.offboarding_end_s = NOW + 20 * DAY;
	assert_allowed(&s);
	assert_int_equal(s.out.spec.not_after_s, NOW + 20 * DAY);
	assert_non_null(strstr(scene_rule(&s, "owner.status")->saw, "cut to it"));
	s.owner.contract_end_s = NOW + 15 * DAY;
	assert_allowed(&s);
	assert_int_equal(s.out.spec.not_after_s, NOW + 15 * DAY);
	assert_null(strstr(scene_rule(&s, "owner.status")->saw, "cut to it"));
	s.owner.contract_end_s = 0;
	s.in.offboarding_end_s = NOW + 200 * DAY;
	assert_allowed(&s);
	assert_int_equal(s.out.spec.not_after_s, NOW + 90 * DAY);
	s.in.offboarding_end_s = NOW - 1;
	assert_denied(&s, "owner.status");
	assert_string_equal(s.out.sentence, "the owner Fleet is leaving, and its grace ended on 2027-01-15T07:59:59Z");
	/* New enrollments end at once. */
	scene_set(&s);
	s.owner.status = OWNER_OFFBOARDING;
	s.in.offboarding_end_s = NOW + 20 * DAY;
	assert_denied(&s, "owner.status");
	/* Of an owner that stays the end means nothing. */
	s.owner.status = OWNER_ACTIVE;
	assert_allowed(&s);
	assert_int_equal(s.out.spec.not_after_s, NOW + 90 * DAY);
}

static void
policy_decide_exception_opens_the_renewal_window(void **state)
{
	(void)state;
	scene_renewal();
	s.in.proof.cert_not_after_s = NOW + 60 * DAY;
	assert_denied(&s, "renewal.window");
	add_waiver(EXCEPTION_RENEWAL_WINDOW);
	assert_allowed(&s);
	assert_non_null(strstr(scene_rule(&s, "renewal.window")->saw, "waived by exception 5 (TICKET-1): it is too early"));
	waiver.waives = ~EXCEPTION_RENEWAL_WINDOW;
	assert_denied(&s, "renewal.window");
	s.asset.state = ASSET_LOST;
	waiver.waives = ~0u;
	assert_denied(&s, "asset.state");
	assert_int_equal(scene_rule(&s, "renewal.window")->verdict, VERDICT_FAIL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_decide_denies_a_clone_when_it_is_to),
		cmocka_unit_test(policy_decide_counts_an_asset_that_asks_into_its_owners_quota),
		cmocka_unit_test(policy_decide_lets_who_has_a_place_in_the_quota_keep_it),
		cmocka_unit_test(policy_decide_renews_an_offered_asset_as_it_was_before_the_offer),
		cmocka_unit_test(policy_decide_renews_for_a_leaving_owner_until_its_grace_ends),
		cmocka_unit_test(policy_decide_exception_opens_the_renewal_window),
	};

	return cmocka_run_group_tests_name("policy/decide: ownership", tests, NULL, NULL);
}
