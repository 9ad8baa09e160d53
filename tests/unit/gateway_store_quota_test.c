#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"
#include "tests/unit/store_ownership_fixture.h"

#define HOLD 3600

static void
set_quota(struct fixture *f, int64_t limit)
{
	assert_done(ops->quota_put(f->store, "Net Ops", "router", limit, EVE, NOW, &why));
}

static void
add_assets(struct fixture *f, int count)
{
	char tag[16];

	for (int i = 1; i <= count; i++) {
		(void)snprintf(tag, sizeof tag, "rtr-%d", i);
		(void)add_asset(f->store, tag);
	}
}

static enum store_recorded
try_at(struct fixture *f, const char *tag, unsigned number, enum request_state to, int64_t now_s, int64_t *id)
{
	struct asset asset = get_asset(f->store, tag);
	enum store_recorded what = STORE_RECORDED;
	struct sample s;

	sample_fill(&s, &asset, number, to);
	s.o.now_s = now_s;
	s.o.quota = true;
	s.o.quota_hold_s = HOLD;
	if (*id != 0)
		s.o.request_id = *id;
	assert_done(ops->record(f->store, &s.o, &what, id, &why));
	return what;
}

static enum store_recorded
try(struct fixture *f, const char *tag, unsigned number, enum request_state to)
{
	int64_t id = 0;

	return try_at(f, tag, number, to, NOW, &id);
}

/* How many others than rtr-1 have a place; -1: there is no quota. */
static int64_t
others(struct fixture *f, int64_t now_s)
{
	struct asset asset = get_asset(f->store, "rtr-1");
	struct store_read *read = begin(f->store);
	int64_t limit = 0, used = -2;
	struct err e = {0};
	bool held = false;
	int rc = ops->quota(read, asset.owner_id, "router", asset.id, now_s, &limit, &used, &held, &e);

	ops->read_end(read);
	assert_int_not_equal(rc, -1);
	return rc == 0 ? -1 : used;
}

static void
quota_lets_so_many_assets_have_a_certificate(void **state)
{
	struct fixture *f = *state;

	add_assets(f, 3);
	assert_int_equal(others(f, NOW), -1);
	set_quota(f, 2);
	assert_int_equal(others(f, NOW), 0);
	assert_int_equal(try(f, "rtr-1", 1, REQUEST_ISSUED), STORE_RECORDED);
	assert_int_equal(others(f, NOW), 0);
	assert_int_equal(try(f, "rtr-2", 2, REQUEST_ISSUED), STORE_RECORDED);
	assert_int_equal(others(f, NOW), 1);
	assert_int_equal(try(f, "rtr-3", 3, REQUEST_ISSUED), STORE_STALE);
	assert_int_equal(try(f, "rtr-3", 3, REQUEST_PENDING), STORE_STALE);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), 2);
	/* Who has a place has it for any number of certificates. */
	assert_int_equal(try(f, "rtr-2", 4, REQUEST_ISSUED), STORE_RECORDED);
	assert_int_equal(audits(f, "quota.set"), 1);
	assert_int_equal(verify(f->store).bad_seq, 0);
}

static void
quota_of_none_lets_nobody_in(void **state)
{
	struct fixture *f = *state;

	add_assets(f, 1);
	set_quota(f, 0);
	assert_int_equal(try(f, "rtr-1", 1, REQUEST_ISSUED), STORE_STALE);
}

static void
quota_is_of_one_owner_and_one_profile(void **state)
{
	struct fixture *f = *state;
	struct import_record record = record_of("tab-1");
	struct asset asset;
	struct import_summary sum;
	struct sample s;

	add_assets(f, 2);
	(void)snprintf(record.owner, sizeof record.owner, "Field");
	assert_done(import_records(f->store, &record, 1, false, &sum, &why));
	set_quota(f, 1);
	assert_int_equal(try(f, "rtr-1", 1, REQUEST_ISSUED), STORE_RECORDED);
	assert_int_equal(try(f, "tab-1", 2, REQUEST_ISSUED), STORE_RECORDED);
	asset = get_asset(f->store, "rtr-2");
	sample_fill(&s, &asset, 3, REQUEST_ISSUED);
	s.o.quota = true;
	s.o.profile = "switch";
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	/* Waived, it is neither asked nor counted. */
	sample_fill(&s, &asset, 4, REQUEST_ISSUED);
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	assert_int_equal(others(f, NOW), 0);
}

static void
quota_place_ends_with_the_certificate(void **state)
{
	struct fixture *f = *state;
	int64_t id = 0;

	add_assets(f, 2);
	set_quota(f, 1);
	assert_int_equal(try(f, "rtr-2", 1, REQUEST_ISSUED), STORE_RECORDED);
	assert_int_equal(others(f, NOW + 86399), 1);
	assert_int_equal(try_at(f, "rtr-1", 2, REQUEST_ISSUED, NOW + 86399, &id), STORE_STALE);
	assert_int_equal(others(f, NOW + 86400), 0);
	assert_int_equal(try_at(f, "rtr-1", 2, REQUEST_PENDING, NOW + 86400, &id), STORE_RECORDED);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM quota_place"), 1);
	assert_int_equal(fixture_number(f, "SELECT used FROM quota"), 1);
}

static void
quota_place_is_free_once_the_last_certificate_is_revoked(void **state)
{
	struct fixture *f = *state;

	add_assets(f, 2);
	set_quota(f, 1);
	assert_int_equal(try(f, "rtr-2", 1, REQUEST_ISSUED), STORE_RECORDED);
	assert_int_equal(try(f, "rtr-2", 2, REQUEST_ISSUED), STORE_RECORDED);
	assert_done(ops->cert_revoke(f->store, 1, "lost key", EVE, NOW, &why));
	assert_int_equal(others(f, NOW), 1);
	assert_done(ops->cert_revoke(f->store, 2, "lost key", EVE, NOW, &why));
	assert_int_equal(others(f, NOW), 0);
	assert_int_equal(try(f, "rtr-1", 3, REQUEST_ISSUED), STORE_RECORDED);
	assert_int_equal(fixture_number(f, "SELECT used FROM quota"), 1);
	/* So is one whose asset was lost; but not one that is held. */
	set_state(f, "rtr-1", ASSET_QUARANTINED);
	assert_int_equal(try(f, "rtr-2", 4, REQUEST_ISSUED), STORE_STALE);
	set_state(f, "rtr-1", ASSET_LOST);
	assert_int_equal(try(f, "rtr-2", 4, REQUEST_ISSUED), STORE_RECORDED);
}

static void
quota_place_ends_with_what_superseded_a_longer_certificate(void **state)
{
	struct fixture *f = *state;
	struct asset asset;
	struct sample s;

	add_assets(f, 2);
	set_quota(f, 1);
	assert_int_equal(try(f, "rtr-2", 1, REQUEST_ISSUED), STORE_RECORDED);
	asset = get_asset(f->store, "rtr-2");
	sample_fill(&s, &asset, 2, REQUEST_ISSUED);
	s.o.quota = true;
	s.o.not_after_s = NOW + 60;
	s.o.replaces_id = 1;
	s.o.supersede = true;
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	assert_int_equal(others(f, NOW + 59), 1);
	assert_int_equal(others(f, NOW + 60), 0);
}

static void
quota_place_is_held_for_a_request_that_waits(void **state)
{
	struct fixture *f = *state;
	int64_t id = 0;

	add_assets(f, 2);
	set_quota(f, 1);
	assert_int_equal(try_at(f, "rtr-2", 1, REQUEST_PENDING, NOW, &id), STORE_RECORDED);
	assert_int_equal(others(f, NOW), 1);
	assert_int_equal(try(f, "rtr-1", 2, REQUEST_ISSUED), STORE_STALE);
	assert_int_equal(others(f, NOW + HOLD - 1), 1);
	assert_int_equal(others(f, NOW + HOLD), 0);
	/* Each time it asks it is held anew, and in the end it is the certificate's. */
	assert_int_equal(try_at(f, "rtr-2", 1, REQUEST_PENDING, NOW + 60, &id), STORE_RECORDED);
	assert_int_equal(others(f, NOW + HOLD), 1);
	assert_int_equal(try_at(f, "rtr-2", 1, REQUEST_ISSUED, NOW + 90, &id), STORE_RECORDED);
	assert_int_equal(fixture_number(f, "SELECT until_s FROM quota_place"), NOW + 86400);
	assert_int_equal(fixture_number(f, "SELECT hold_request_id IS NULL AND hold_until_s = 0 FROM quota_place"), 1);
}

static void
quota_place_is_free_when_the_request_is_denied(void **state)
{
	struct fixture *f = *state;
	int64_t id = 0, refused = 0;

	add_assets(f, 2);
	set_quota(f, 1);
	assert_int_equal(try_at(f, "rtr-2", 1, REQUEST_PENDING, NOW, &id), STORE_RECORDED);
	assert_int_equal(try_at(f, "rtr-2", 1, REQUEST_DENIED, NOW, &id), STORE_RECORDED);
	assert_int_equal(others(f, NOW), 0);
	assert_int_equal(try_at(f, "rtr-2", 2, REQUEST_PENDING, NOW, &refused), STORE_RECORDED);
	assert_int_equal(others(f, NOW), 1);
	assert_done(ops->request_decide(f->store, refused, false, "no", BOB, NOW, &why));
	assert_int_equal(others(f, NOW), 0);
	assert_int_equal(fixture_number(f, "SELECT used FROM quota"), 0);
}

static void
quota_place_is_kept_when_it_was_for_more_than_the_denied_request(void **state)
{
	struct fixture *f = *state;
	int64_t one = 0, two = 0, three = 0;

	add_assets(f, 2);
	set_quota(f, 1);
	assert_int_equal(try_at(f, "rtr-2", 1, REQUEST_PENDING, NOW, &one), STORE_RECORDED);
	assert_int_equal(try_at(f, "rtr-2", 2, REQUEST_PENDING, NOW, &two), STORE_RECORDED);
	assert_int_equal(try_at(f, "rtr-2", 2, REQUEST_DENIED, NOW, &two), STORE_RECORDED);
	assert_int_equal(others(f, NOW), 1);
	assert_int_equal(try_at(f, "rtr-2", 1, REQUEST_ISSUED, NOW, &one), STORE_RECORDED);
	assert_int_equal(try_at(f, "rtr-2", 3, REQUEST_PENDING, NOW, &three), STORE_RECORDED);
	assert_int_equal(try_at(f, "rtr-2", 3, REQUEST_DENIED, NOW, &three), STORE_RECORDED);
	assert_int_equal(others(f, NOW), 1);
	assert_int_equal(fixture_number(f, "SELECT until_s FROM quota_place"), NOW + 86400);
}

static void
quota_set_later_counts_what_is_valid_then(void **state)
{
	struct fixture *f = *state;
	struct asset asset;
	struct sample s;

	add_assets(f, 5);
	asset = get_asset(f->store, "rtr-5");
	sample_fill(&s, &asset, 8, REQUEST_ISSUED);
	s.o.profile = "switch";
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	assert_int_equal(try(f, "rtr-2", 1, REQUEST_ISSUED), STORE_RECORDED);
	assert_int_equal(try(f, "rtr-2", 2, REQUEST_ISSUED), STORE_RECORDED);
	assert_int_equal(try(f, "rtr-3", 3, REQUEST_ISSUED), STORE_RECORDED);
	assert_int_equal(try(f, "rtr-4", 4, REQUEST_ISSUED), STORE_RECORDED);
	assert_done(ops->cert_revoke(f->store, 5, "lost key", EVE, NOW, &why));
	set_quota(f, 2);
	assert_int_equal(others(f, NOW), 2);
	assert_int_equal(try(f, "rtr-1", 5, REQUEST_ISSUED), STORE_STALE);
	/* Lowered, nobody loses a place; raised, there is room again. */
	set_quota(f, 1);
	assert_int_equal(others(f, NOW), 2);
	assert_int_equal(try(f, "rtr-3", 6, REQUEST_ISSUED), STORE_RECORDED);
	set_quota(f, 3);
	assert_int_equal(try(f, "rtr-1", 5, REQUEST_ISSUED), STORE_RECORDED);
	set_quota(f, -1);
	assert_int_equal(others(f, NOW), -1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM quota_place"), 0);
	assert_int_equal(try(f, "rtr-4", 7, REQUEST_ISSUED), STORE_RECORDED);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM quota_place"), 0);
	assert_done(ops->quota_put(f->store, "Net Ops", "router", 9, EVE, NOW + 86400, &why));
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM quota_place"), 0);
}

static void
quota_put_refuses_nonsense(void **state)
{
	struct fixture *f = *state;

	add_assets(f, 1);
	assert_denied(ops->quota_put(f->store, "Nobody", "router", 1, EVE, NOW, &why), "no owner");
	assert_denied(ops->quota_put(f->store, "Net Ops", "router", -1, EVE, NOW, &why), "no quota");
	assert_denied(ops->quota_put(f->store, "Net Ops", "router", -2, EVE, NOW, &why), "-2");
	assert_denied(ops->quota_put(f->store, "Net Ops", "", 1, EVE, NOW, &why), "name");
	assert_int_equal(audits(f, "quota.set"), 0);
}

static void
quota_place_goes_when_the_owner_changes(void **state)
{
	struct fixture *f = *state;
	struct import_record record = record_of("rtr-2");
	struct import_summary sum;
	int64_t id;

	add_assets(f, 3);
	set_quota(f, 2);
	assert_int_equal(try(f, "rtr-2", 1, REQUEST_ISSUED), STORE_RECORDED);
	assert_int_equal(try(f, "rtr-3", 2, REQUEST_ISSUED), STORE_RECORDED);
	put_owner(f, "Field", OWNER_ACTIVE, "");
	assert_done(ops->quota_put(f->store, "Field", "router", 0, EVE, NOW, &why));
	assert_done(ops->transfer_offer(f->store, "rtr-3", "Field", "", EVE, NOW, NOW + 9, &id, &why));
	assert_int_equal(others(f, NOW), 2);
	assert_done(ops->transfer_decide(f->store, id, TRANSFER_ACCEPTED, "", BOB, NOW, &why));
	assert_int_equal(others(f, NOW), 1);
	/* Moved by an import its certificate stays good, and counts at the new owner's, room or not. */
	(void)snprintf(record.owner, sizeof record.owner, "Field");
	assert_done(import_records(f->store, &record, 1, false, &sum, &why));
	assert_int_equal(others(f, NOW), 0);
	assert_int_equal(fixture_number(f, "SELECT used FROM quota q JOIN owner o ON o.id = q.owner_id"
		" WHERE o.name = 'Field'"), 1);
	assert_int_equal(try(f, "rtr-3", 3, REQUEST_ISSUED), STORE_STALE);
	assert_int_equal(fixture_number(f, "SELECT sum(used) - (SELECT count(*) FROM quota_place) FROM quota"), 0);
}

static bool
take_quota(void *arg, const struct quota_row *row)
{
	*(struct quota_row *)arg = *row;
	return true;
}

static void
quota_list_and_sweep_leave_out_what_has_ended(void **state)
{
	struct fixture *f = *state;
	struct offboard_report report;
	struct store_read *read;
	struct quota_row row = {0};

	add_assets(f, 2);
	set_quota(f, 5);
	assert_int_equal(try(f, "rtr-1", 1, REQUEST_ISSUED), STORE_RECORDED);
	assert_int_equal(try(f, "rtr-2", 2, REQUEST_PENDING), STORE_RECORDED);
	read = begin(f->store);
	assert_done(ops->quota_list(read, NULL, NOW, take_quota, &row, &why));
	assert_string_equal(row.owner, "Net Ops");
	assert_string_equal(row.profile, "router");
	assert_int_equal(row.limit, 5);
	assert_int_equal(row.used, 2);
	assert_done(ops->quota_list(read, "Net Ops", NOW + HOLD, take_quota, &row, &why));
	assert_int_equal(row.used, 1);
	row.limit = 77;
	assert_done(ops->quota_list(read, "Field", NOW, take_quota, &row, &why));
	assert_int_equal(row.limit, 77);
	ops->read_end(read);
	sweep_all(f, NOW + HOLD, &report);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM quota_place"), 1);
	assert_int_equal(fixture_number(f, "SELECT used FROM quota"), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(quota_lets_so_many_assets_have_a_certificate),
		STORE_TEST(quota_of_none_lets_nobody_in),
		STORE_TEST(quota_is_of_one_owner_and_one_profile),
		STORE_TEST(quota_place_ends_with_the_certificate),
		STORE_TEST(quota_place_is_free_once_the_last_certificate_is_revoked),
		STORE_TEST(quota_place_ends_with_what_superseded_a_longer_certificate),
		STORE_TEST(quota_place_is_held_for_a_request_that_waits),
		STORE_TEST(quota_place_is_free_when_the_request_is_denied),
		STORE_TEST(quota_place_is_kept_when_it_was_for_more_than_the_denied_request),
		STORE_TEST(quota_set_later_counts_what_is_valid_then),
		STORE_TEST(quota_put_refuses_nonsense),
		STORE_TEST(quota_place_goes_when_the_owner_changes),
		STORE_TEST(quota_list_and_sweep_leave_out_what_has_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
