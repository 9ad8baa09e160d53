#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"
#include "tests/unit/store_ownership_fixture.h"

#define OFFBOARD(name, end, at) ops->owner_offboard(f->store, (name), (end), "contract over", EVE, (at), &why)

static void
owner_put_keeps_operators_and_the_end_of_the_grace(void **state)
{
	struct fixture *f = *state;
	struct owner owner;

	(void)add_asset(f->store, "rtr-1");
	put_owner(f, "Net Ops", OWNER_ACTIVE, "ann,carl");
	assert_string_equal(get_owner_of(f, "rtr-1").operators, "ann,carl");
	assert_int_equal(get_owner_of(f, "rtr-1").offboard_end_s, 0);
	assert_done(OFFBOARD("Net Ops", NOW + DAY, NOW));
	owner = get_owner_of(f, "rtr-1");
	assert_int_equal(owner.status, OWNER_OFFBOARDING);
	assert_int_equal(owner.offboard_end_s, NOW + DAY);
	assert_string_equal(owner.operators, "ann,carl");
	/* Another contact, from somebody who does not know of the end. */
	put_owner(f, "Net Ops", OWNER_OFFBOARDING, "ann");
	assert_int_equal(get_owner_of(f, "rtr-1").offboard_end_s, NOW + DAY);
	put_owner(f, "Net Ops", OWNER_ACTIVE, "");
	assert_int_equal(get_owner_of(f, "rtr-1").offboard_end_s, 0);
	assert_string_equal(get_owner_of(f, "rtr-1").operators, "");
}

static void
owner_offboard_refuses_what_makes_no_sense(void **state)
{
	struct fixture *f = *state;

	put_owner(f, "Field", OWNER_OFFBOARDED, "");
	put_owner(f, "Net Ops", OWNER_ACTIVE, "");
	assert_denied(OFFBOARD("Nobody", NOW + 1, NOW), "no owner");
	assert_denied(OFFBOARD("Field", NOW + 1, NOW), "has left");
	assert_denied(OFFBOARD("Net Ops", NOW - 1, NOW), "in the past");
	assert_int_equal(audits(f, "owner.offboarding"), 0);
}

static void
record_refuses_what_a_leaving_owner_may_not_have(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct sample s;

	sample_fill(&s, &asset, 1, REQUEST_ISSUED);
	assert_done(OFFBOARD("Net Ops", s.o.not_after_s, NOW));
	(void)record_as(f->store, &s.o, STORE_STALE);
	s.o.renewal = true;
	s.o.not_after_s++;
	(void)record_as(f->store, &s.o, STORE_STALE);
	s.o.not_after_s--;
	(void)record_as(f->store, &s.o, STORE_RECORDED);
}

static void
sweep_revokes_what_a_gone_owner_has(void **state)
{
	struct fixture *f = *state;
	struct import_record other = record_of("tab-1");
	struct offboard_report report;
	struct import_summary sum;
	struct asset before;

	(void)add_asset(f->store, "rtr-1");
	(void)add_asset(f->store, "rtr-2");
	(void)add_asset(f->store, "rtr-3");
	(void)snprintf(other.owner, sizeof other.owner, "Field");
	assert_done(import_records(f->store, &other, 1, false, &sum, &why));
	(void)issue(f, "rtr-1", 1);
	(void)issue(f, "rtr-1", 2);
	(void)issue(f, "rtr-2", 3);
	(void)issue(f, "tab-1", 4);
	set_state(f, "rtr-2", ASSET_QUARANTINED);
	assert_done(OFFBOARD("Net Ops", NOW + DAY, NOW));
	before = get_asset(f->store, "rtr-1");
	sweep_all(f, NOW + DAY - 1, &report);
	assert_int_equal(report.owners, 0);
	assert_int_equal(get_cert(f->store, 1).status, CERT_VALID);
	sweep_all(f, NOW + DAY, &report);
	assert_int_equal(report.owners, 1);
	assert_int_equal(report.assets, 3);
	assert_int_equal(report.revoked, 3);
	for (int64_t id = 1; id <= 3; id++) {
		assert_int_equal(get_cert(f->store, id).status, CERT_REVOKED);
		assert_string_equal(get_cert(f->store, id).revoke_reason, "offboarded");
		assert_int_equal(get_cert(f->store, id).revoked_s, NOW + DAY);
	}
	assert_int_equal(get_cert(f->store, 4).status, CERT_VALID);
	assert_int_equal(get_owner_of(f, "rtr-1").status, OWNER_OFFBOARDED);
	assert_true(get_asset(f->store, "rtr-1").version > before.version);
	assert_int_equal(audits(f, "asset.offboarded"), 2);
	assert_int_equal(audits(f, "owner.offboarded"), 1);
	assert_int_equal(fixture_number(f, "SELECT json_extract(detail_json, '$.revoked') FROM audit"
		" WHERE action = 'owner.offboarded'"), 3);
	assert_int_equal(fixture_number(f, "SELECT json_extract(detail_json, '$.assets') FROM audit"
		" WHERE action = 'owner.offboarded'"), 3);
	sweep_all(f, NOW + 2 * DAY, &report);
	assert_int_equal(report.owners, 0);
	assert_int_equal(verify(f->store).bad_seq, 0);
}

#define FLEET 450

/* Several steps, and a restart between two of them. */
static void
sweep_goes_on_where_it_was_after_a_restart(void **state)
{
	struct fixture *f = *state;
	struct import_record *fleet = test_calloc(FLEET, sizeof *fleet);
	struct offboard_report report, rest;
	struct import_summary sum;
	bool more = false;
	char tag[16];

	for (int i = 0; i < FLEET; i++) {
		(void)snprintf(tag, sizeof tag, "d-%d", i);
		fleet[i] = record_of(tag);
	}
	assert_done(import_records(f->store, fleet, FLEET, false, &sum, &why));
	test_free(fleet);
	(void)issue(f, "d-0", 1);
	(void)issue(f, "d-449", 2);
	assert_done(OFFBOARD("Net Ops", NOW, NOW));
	assert_done(ops->sweep(f->store, NOW, &report, &more, &why));
	assert_true(more);
	assert_int_equal(report.owners, 0);
	assert_true(report.assets < FLEET);
	assert_int_equal(report.revoked, 1);
	assert_int_equal(get_owner_of(f, "d-0").status, OWNER_OFFBOARDED);
	fixture_reopen(f, NULL);
	sweep_all(f, NOW, &rest);
	assert_int_equal(rest.owners, 1);
	assert_int_equal(report.assets + rest.assets, FLEET);
	assert_int_equal(rest.revoked, 1);
	assert_int_equal(fixture_number(f, "SELECT json_extract(detail_json, '$.assets') FROM audit"
		" WHERE action = 'owner.offboarded'"), FLEET);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM offboard"), 0);
}

#define OWNERS 201

static void
sweep_comes_to_the_end_of_many_owners(void **state)
{
	struct fixture *f = *state;
	struct offboard_report report;
	char name[16];

	for (int i = 0; i < OWNERS; i++) {
		(void)snprintf(name, sizeof name, "o-%d", i);
		put_owner(f, name, OWNER_ACTIVE, "");
		assert_done(OFFBOARD(name, NOW, NOW));
	}
	sweep_all(f, NOW, &report);
	assert_int_equal(report.owners, OWNERS);
	assert_int_equal(audits(f, "owner.offboarded"), OWNERS);
}

static void
sweep_of_nothing_writes_nothing(void **state)
{
	struct fixture *f = *state;
	struct offboard_report report = {9, 9, 9, 9};
	struct store_stats before, after;
	bool more = true;

	(void)add_asset(f->store, "rtr-1");
	ops->stats(f->store, &before);
	assert_done(ops->sweep(f->store, NOW, &report, &more, &why));
	assert_false(more);
	assert_int_equal(report.owners + report.assets + report.revoked, 0);
	ops->stats(f->store, &after);
	assert_int_equal(after.commits, before.commits);
}

static void
sweep_lets_an_owner_be_who_was_taken_back(void **state)
{
	struct fixture *f = *state;
	struct offboard_report report;

	(void)add_asset(f->store, "rtr-1");
	(void)issue(f, "rtr-1", 1);
	assert_done(OFFBOARD("Net Ops", NOW + DAY, NOW));
	put_owner(f, "Net Ops", OWNER_ACTIVE, "");
	sweep_all(f, NOW + 2 * DAY, &report);
	assert_int_equal(report.owners, 0);
	assert_int_equal(get_cert(f->store, 1).status, CERT_VALID);
	assert_int_equal(get_owner_of(f, "rtr-1").status, OWNER_ACTIVE);
}

static void
owner_put_lets_nobody_leave_without_an_end(void **state)
{
	struct fixture *f = *state;
	struct owner owner = {.name = "Net Ops", .status = OWNER_OFFBOARDING};

	(void)add_asset(f->store, "rtr-1");
	assert_denied(ops->owner_put(f->store, &owner, EVE, NOW, &why), "owner offboard");
	assert_int_equal(get_owner_of(f, "rtr-1").status, OWNER_ACTIVE);
	put_owner(f, "Net Ops", OWNER_OFFBOARDED, "");
	assert_denied(ops->owner_put(f->store, &owner, EVE, NOW, &why), "owner offboard");
	memcpy(owner.name, "New", sizeof "New");
	assert_denied(ops->owner_put(f->store, &owner, EVE, NOW, &why), "owner offboard");
	owner.offboard_end_s = NOW + DAY;
	assert_done(ops->owner_put(f->store, &owner, EVE, NOW, &why));
}

/* What was put so before it was refused stays until somebody names an end. */
static void
sweep_needs_an_end_to_the_grace(void **state)
{
	struct fixture *f = *state;
	struct offboard_report report;
	sqlite3 *db;

	(void)add_asset(f->store, "rtr-1");
	db = fixture_raw(f);
	raw_run(db, "UPDATE owner SET status = 2");
	fixture_reopen(f, db);
	sweep_all(f, NOW + 9999 * (int64_t)DAY, &report);
	assert_int_equal(report.owners, 0);
	assert_int_equal(get_owner_of(f, "rtr-1").status, OWNER_OFFBOARDING);
}

static void
sweep_tells_how_many_transfers_expired(void **state)
{
	struct fixture *f = *state;
	struct offboard_report report;
	bool more;

	(void)add_asset(f->store, "rtr-1");
	put_owner(f, "Field", OWNER_ACTIVE, "");
	assert_done(ops->transfer_offer(f->store, "rtr-1", "Field", "", EVE, NOW, NOW + DAY, NULL, &why));
	assert_done(ops->sweep(f->store, NOW, &report, &more, &why));
	assert_int_equal(report.transfers, 0);
	assert_done(ops->sweep(f->store, NOW + DAY, &report, &more, &why));
	assert_int_equal(report.transfers, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(owner_put_keeps_operators_and_the_end_of_the_grace),
		STORE_TEST(owner_offboard_refuses_what_makes_no_sense),
		STORE_TEST(record_refuses_what_a_leaving_owner_may_not_have),
		STORE_TEST(sweep_revokes_what_a_gone_owner_has),
		STORE_TEST(sweep_goes_on_where_it_was_after_a_restart),
		STORE_TEST(sweep_comes_to_the_end_of_many_owners),
		STORE_TEST(sweep_of_nothing_writes_nothing),
		STORE_TEST(sweep_lets_an_owner_be_who_was_taken_back),
		STORE_TEST(owner_put_lets_nobody_leave_without_an_end),
		STORE_TEST(sweep_needs_an_end_to_the_grace),
		STORE_TEST(sweep_tells_how_many_transfers_expired),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
