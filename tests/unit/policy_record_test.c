#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "policy/record.h"

static void
policy_record_names_survive_a_round_trip(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < ASSET_STATES; i++)
		assert_int_equal(asset_state_of(asset_state_name((enum asset_state)i)), i);
	for (i = OWNER_INTERNAL; i <= OWNER_CUSTOMER; i++)
		assert_int_equal(owner_kind_of(owner_kind_name((enum owner_kind)i)), i);
	for (i = OWNER_ACTIVE; i <= OWNER_OFFBOARDED; i++)
		assert_int_equal(owner_status_of(owner_status_name((enum owner_status)i)), i);
	for (i = HOLDING_CORPORATE; i <= HOLDING_LEASED; i++)
		assert_int_equal(asset_holding_of(asset_holding_name((enum asset_holding)i)), i);
	for (i = ANCHOR_IDEVID_SERIAL; i <= ANCHOR_MDM_ID; i++)
		assert_int_equal(anchor_type_of(anchor_type_name((enum anchor_type)i)), i);
}

static void
policy_record_refuses_names_it_does_not_know(void **state)
{
	(void)state;
	assert_int_equal(asset_state_of(""), -1);
	assert_int_equal(asset_state_of("Deployed"), -1);
	assert_int_equal(asset_state_of("deployed "), -1);
	assert_int_equal(owner_kind_of("friend"), -1);
	assert_int_equal(owner_status_of("gone"), -1);
	assert_int_equal(asset_holding_of("stolen"), -1);
	assert_int_equal(anchor_type_of("secret"), -1);
}

static void
policy_record_names_a_value_outside_its_enum_unknown(void **state)
{
	(void)state;
	assert_string_equal(asset_state_name((enum asset_state)ASSET_STATES), "unknown");
	assert_string_equal(anchor_type_name((enum anchor_type)77), "unknown");
	assert_string_equal(owner_status_name((enum owner_status)4), "unknown");
}

static void
policy_state_rules_are_those_of_the_table(void **state)
{
	static const struct {
		enum asset_state state;
		struct state_rules rules;
	} table[] = {
		{ ASSET_ORDERED, { false, false, RENEWAL_NO, ENTRY_NOTHING, false, false } },
		{ ASSET_SHIPPED, { false, false, RENEWAL_NO, ENTRY_NOTHING, false, false } },
		{ ASSET_IN_STOCK, { false, true, RENEWAL_NO, ENTRY_NOTHING, false, false } },
		{ ASSET_STAGED, { true, false, RENEWAL_YES, ENTRY_NOTHING, false, false } },
		{ ASSET_DEPLOYED, { true, false, RENEWAL_YES, ENTRY_NOTHING, false, false } },
		{ ASSET_REPAIR, { false, false, RENEWAL_GRACE, ENTRY_NOTHING, false, false } },
		{ ASSET_QUARANTINED, { false, false, RENEWAL_NO, ENTRY_HOLD, false, false } },
		{ ASSET_TRANSFER_PENDING, { false, false, RENEWAL_YES, ENTRY_NOTHING, false, false } },
		{ ASSET_LOST, { false, false, RENEWAL_NO, ENTRY_REVOKE, true, false } },
		{ ASSET_STOLEN, { false, false, RENEWAL_NO, ENTRY_REVOKE, true, false } },
		{ ASSET_DECOMMISSIONED, { false, false, RENEWAL_NO, ENTRY_REVOKE, false, true } },
		{ ASSET_DISPOSED, { false, false, RENEWAL_NO, ENTRY_REVOKE, false, true } },
	};
	size_t i;

	(void)state;
	assert_int_equal(sizeof table / sizeof table[0], ASSET_STATES);
	for (i = 0; i < ASSET_STATES; i++) {
		const struct state_rules *got = asset_state_rules(table[i].state);

		assert_int_equal(got->enroll, table[i].rules.enroll);
		assert_int_equal(got->enroll_staging, table[i].rules.enroll_staging);
		assert_int_equal(got->renewal, table[i].rules.renewal);
		assert_int_equal(got->on_entry, table[i].rules.on_entry);
		assert_int_equal(got->alert, table[i].rules.alert);
		assert_int_equal(got->tombstone, table[i].rules.tombstone);
	}
}

static void
policy_state_outside_the_enum_permits_nothing(void **state)
{
	const struct state_rules *rules = asset_state_rules((enum asset_state)99);

	(void)state;
	assert_false(rules->enroll);
	assert_false(rules->enroll_staging);
	assert_int_equal(rules->renewal, RENEWAL_NO);
}

static void
policy_state_life_cycle_goes_from_order_to_disposal(void **state)
{
	static const enum asset_state life[] = { ASSET_ORDERED, ASSET_SHIPPED, ASSET_IN_STOCK, ASSET_STAGED,
		ASSET_DEPLOYED, ASSET_REPAIR, ASSET_DEPLOYED, ASSET_TRANSFER_PENDING, ASSET_QUARANTINED,
		ASSET_DEPLOYED, ASSET_LOST, ASSET_QUARANTINED, ASSET_DEPLOYED, ASSET_STOLEN, ASSET_DEPLOYED,
		ASSET_STOLEN, ASSET_QUARANTINED, ASSET_DECOMMISSIONED, ASSET_DISPOSED };
	struct err e;
	size_t i;

	(void)state;
	for (i = 1; i < sizeof life / sizeof life[0]; i++)
		assert_int_equal(asset_state_move(life[i - 1], life[i], &e), 0);
}

static void
assert_no_move(enum asset_state from, enum asset_state to)
{
	struct err e = { .code = ERR_NONE };

	assert_int_equal(asset_state_move(from, to, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
}

static void
policy_state_final_and_guarded_moves_are_refused(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < ASSET_STATES; i++) {
		assert_no_move((enum asset_state)i, (enum asset_state)i);
		assert_no_move(ASSET_DISPOSED, (enum asset_state)i);
		if (i != ASSET_DISPOSED)
			assert_no_move(ASSET_DECOMMISSIONED, (enum asset_state)i);
		if (i != ASSET_QUARANTINED && i != ASSET_DEPLOYED && i != ASSET_DECOMMISSIONED)
			assert_no_move(ASSET_STOLEN, (enum asset_state)i);
		/* Where a transfer ends is the transfer's own. */
		if (i != ASSET_QUARANTINED && i != ASSET_LOST && i != ASSET_STOLEN)
			assert_no_move(ASSET_TRANSFER_PENDING, (enum asset_state)i);
		if (i != ASSET_QUARANTINED && i != ASSET_DECOMMISSIONED && i != ASSET_STOLEN)
			assert_no_move(ASSET_LOST, (enum asset_state)i);
		if (i != ASSET_DECOMMISSIONED)
			assert_no_move((enum asset_state)i, ASSET_DISPOSED);
	}
	assert_no_move((enum asset_state)99, ASSET_STAGED);
	assert_no_move(ASSET_STAGED, (enum asset_state)99);
}

static void
policy_state_what_brings_a_stolen_asset_back_takes_two(void **state)
{
	int from, to;

	(void)state;
	for (from = 0; from < ASSET_STATES; from++)
		for (to = 0; to < ASSET_STATES; to++) {
			bool back = from == ASSET_STOLEN && to != ASSET_STOLEN && to != ASSET_DECOMMISSIONED &&
				to != ASSET_DISPOSED;

			assert_int_equal(asset_state_move_four_eyes((enum asset_state)from, (enum asset_state)to), back);
		}
	assert_true(asset_state_move_four_eyes(ASSET_STOLEN, (enum asset_state)99));
}

static void
policy_record_waivers_are_bits_with_names(void **state)
{
	static const struct {
		unsigned bit;
		const char *name;
	} table[] = { { EXCEPTION_ATTESTATION, "attestation" }, { EXCEPTION_QUOTA, "quota" },
		{ EXCEPTION_RULES, "rules" }, { EXCEPTION_RENEWAL_WINDOW, "renewal-window" } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof table / sizeof table[0]; i++) {
		assert_string_equal(exception_waiver_name(table[i].bit), table[i].name);
		assert_int_equal(exception_waiver_of(table[i].name), table[i].bit);
	}
	assert_int_equal(exception_waiver_of("state"), 0);
	assert_int_equal(exception_waiver_of(""), 0);
	assert_string_equal(exception_waiver_name(0), "unknown");
	assert_string_equal(exception_waiver_name(3), "unknown");
	assert_string_equal(exception_waiver_name(16), "unknown");
}

static void
policy_state_error_lists_the_allowed_moves(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(asset_state_move(ASSET_LOST, ASSET_DEPLOYED, &e), -1);
	assert_string_equal(e.text,
		"an asset that is lost cannot become deployed; allowed: quarantined, stolen, decommissioned");
	assert_int_equal(asset_state_move(ASSET_DISPOSED, ASSET_IN_STOCK, &e), -1);
	assert_non_null(strstr(e.text, "final"));
	assert_int_equal(asset_state_move(ASSET_STAGED, ASSET_STAGED, &e), -1);
	assert_non_null(strstr(e.text, "already"));
	assert_non_null(strstr(e.text, "deployed"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_record_names_survive_a_round_trip),
		cmocka_unit_test(policy_record_refuses_names_it_does_not_know),
		cmocka_unit_test(policy_record_names_a_value_outside_its_enum_unknown),
		cmocka_unit_test(policy_state_rules_are_those_of_the_table),
		cmocka_unit_test(policy_state_outside_the_enum_permits_nothing),
		cmocka_unit_test(policy_state_life_cycle_goes_from_order_to_disposal),
		cmocka_unit_test(policy_state_final_and_guarded_moves_are_refused),
		cmocka_unit_test(policy_state_what_brings_a_stolen_asset_back_takes_two),
		cmocka_unit_test(policy_record_waivers_are_bits_with_names),
		cmocka_unit_test(policy_state_error_lists_the_allowed_moves),
	};

	return cmocka_run_group_tests_name("policy/record", tests, NULL, NULL);
}
