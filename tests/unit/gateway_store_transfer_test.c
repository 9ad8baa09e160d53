#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"
#include "tests/unit/store_ownership_fixture.h"

static int64_t
offer(struct fixture *f, const char *tag)
{
	int64_t id = 0;

	assert_done(ops->transfer_offer(f->store, tag, "Field", "sold", EVE, NOW, NOW + DAY, &id, &why));
	return id;
}

#define DECIDE(id, to, actor, at) ops->transfer_decide(f->store, (id), (to), "a reason", (actor), (at), &why)
#define OFFER(tag, to, until) ops->transfer_offer(f->store, (tag), (to), "sold", EVE, NOW, (until), NULL, &why)

static void
transfer_offered_waits_and_its_asset_with_it(void **state)
{
	struct fixture *f = *state;
	struct asset before = add_asset(f->store, "rtr-1"), after;

	put_owner(f, "Field", OWNER_ACTIVE, "");
	assert_true(offer(f, "rtr-1") > 0);
	after = get_asset(f->store, "rtr-1");
	assert_int_equal(after.state, ASSET_TRANSFER_PENDING);
	assert_int_equal(after.version, before.version + 1);
	assert_string_equal(get_owner_of(f, "rtr-1").name, "Net Ops");
	assert_int_equal(audits(f, "transfer.offered"), 1);
	assert_int_equal(verify(f->store).bad_seq, 0);
}

static void
transfer_offer_refuses_what_cannot_be_given(void **state)
{
	struct fixture *f = *state;

	(void)add_asset(f->store, "rtr-1");
	put_owner(f, "Field", OWNER_ACTIVE, "");
	put_owner(f, "Gone", OWNER_SUSPENDED, "");
	assert_denied(OFFER("rtr-9", "Field", NOW + 1), "no asset rtr-9");
	assert_denied(OFFER("rtr-1", "Nobody", NOW + 1), "no owner Nobody");
	assert_denied(OFFER("rtr-1", "Net Ops", NOW + 1), "already");
	assert_denied(OFFER("rtr-1", "Gone", NOW + 1), "suspended");
	assert_denied(OFFER("rtr-1", "Field", NOW), "expires");
	assert_denied(OFFER("rtr-1", "Field", NOW + 400 * (int64_t)DAY), "expires");
	set_state(f, "rtr-1", ASSET_REPAIR);
	assert_denied(OFFER("rtr-1", "Field", NOW + 1), "cannot become");
	set_state(f, "rtr-1", ASSET_STAGED);
	put_owner(f, "Net Ops", OWNER_SUSPENDED, "");
	assert_denied(OFFER("rtr-1", "Field", NOW + 1), "suspended");
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM transfer"), 0);
}

static void
transfer_cannot_be_offered_twice(void **state)
{
	struct fixture *f = *state;

	(void)add_asset(f->store, "rtr-1");
	put_owner(f, "Field", OWNER_ACTIVE, "");
	(void)offer(f, "rtr-1");
	assert_denied(OFFER("rtr-1", "Field", NOW + 1), "already");
}

static void
put_secret(struct fixture *f, int64_t asset_id, int64_t expires_s)
{
	struct secret_row secret = {.asset_id = asset_id, .once = true, .label = "*", .protocol = "est",
		.created_s = NOW, .expires_s = expires_s};

	assert_done(ops->secret_put(f->store, &secret, EVE, NOW, NULL, &why));
}

/* What the old owner had on the device: two certificates, two secrets, a waiting and an approved request. */
static void
equip(struct fixture *f, int64_t requests[2])
{
	struct asset asset = get_asset(f->store, "rtr-1");
	struct sample s;

	(void)issue(f, "rtr-1", 1);
	(void)issue(f, "rtr-1", 2);
	put_secret(f, asset.id, 0);
	put_secret(f, asset.id, NOW + 5 * DAY);
	sample_fill(&s, &asset, 3, REQUEST_PENDING);
	requests[0] = record_as(f->store, &s.o, STORE_RECORDED);
	sample_fill(&s, &asset, 4, REQUEST_PENDING);
	requests[1] = record_as(f->store, &s.o, STORE_RECORDED);
	assert_done(ops->request_decide(f->store, requests[1], true, "yes", BOB, NOW, &why));
}

static void
transfer_accepted_ends_all_that_the_old_owner_had(void **state)
{
	struct fixture *f = *state;
	int64_t requests[2], id;
	struct asset asset;
	struct sample s;

	asset = add_asset(f->store, "rtr-1");
	put_owner(f, "Field", OWNER_ACTIVE, "");
	equip(f, requests);
	id = offer(f, "rtr-1");
	assert_int_equal(get_cert(f->store, 1).status, CERT_VALID);
	assert_done(DECIDE(id, TRANSFER_ACCEPTED, BOB, NOW + 9));
	assert_string_equal(get_owner_of(f, "rtr-1").name, "Field");
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_STAGED);
	assert_int_equal(get_cert(f->store, 1).status, CERT_REVOKED);
	assert_int_equal(get_cert(f->store, 2).revoked_s, NOW + 9);
	assert_string_equal(get_cert(f->store, 2).revoke_reason, "transferred");
	assert_int_equal(get_request(f->store, requests[0]).state, REQUEST_DENIED);
	assert_int_equal(get_request(f->store, requests[1]).state, REQUEST_DENIED);
	assert_int_equal(fixture_number(f, "SELECT max(expires_s) FROM secret"), NOW + 8);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM secret WHERE expires_s = 0"), 0);
	assert_int_equal(fixture_number(f, "SELECT json_extract(detail_json, '$.revoked') FROM audit"
		" WHERE action = 'transfer.accepted'"), 2);
	/* What was decided while the device was the old owner's is void. */
	sample_fill(&s, &asset, 5, REQUEST_ISSUED);
	(void)record_as(f->store, &s.o, STORE_STALE);
	(void)issue(f, "rtr-1", 6);
	assert_int_equal(verify(f->store).bad_seq, 0);
}

static void
transfer_leaves_other_assets_alone(void **state)
{
	struct fixture *f = *state;

	(void)add_asset(f->store, "rtr-1");
	put_secret(f, add_asset(f->store, "rtr-2").id, 0);
	put_owner(f, "Field", OWNER_ACTIVE, "");
	(void)issue(f, "rtr-2", 1);
	assert_done(DECIDE(offer(f, "rtr-1"), TRANSFER_ACCEPTED, BOB, NOW));
	assert_int_equal(get_cert(f->store, 1).status, CERT_VALID);
	assert_int_equal(fixture_number(f, "SELECT expires_s FROM secret"), 0);
	assert_string_equal(get_owner_of(f, "rtr-2").name, "Net Ops");
}

static void
transfer_is_not_accepted_by_who_offered_it(void **state)
{
	struct fixture *f = *state;
	int64_t id;

	(void)add_asset(f->store, "rtr-1");
	put_owner(f, "Field", OWNER_ACTIVE, "");
	id = offer(f, "rtr-1");
	assert_denied(DECIDE(id, TRANSFER_ACCEPTED, EVE, NOW), "does not accept");
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_TRANSFER_PENDING);
	assert_done(DECIDE(id, TRANSFER_ACCEPTED, BOB, NOW));
	assert_denied(DECIDE(id, TRANSFER_ACCEPTED, BOB, NOW), "is accepted");
	assert_denied(DECIDE(id, TRANSFER_CANCELLED, EVE, NOW), "is accepted");
	assert_denied(DECIDE(id + 1, TRANSFER_ACCEPTED, BOB, NOW), "no transfer");
}

static void
transfer_is_accepted_by_the_new_owners_operators_only(void **state)
{
	struct fixture *f = *state;
	int64_t id;

	(void)add_asset(f->store, "rtr-1");
	put_owner(f, "Field", OWNER_ACTIVE, "carl, ann ,annabel");
	id = offer(f, "rtr-1");
	assert_denied(DECIDE(id, TRANSFER_ACCEPTED, BOB, NOW), "may not decide");
	assert_denied(DECIDE(id, TRANSFER_ACCEPTED, "operator:an", NOW), "may not decide");
	assert_denied(DECIDE(id, TRANSFER_ACCEPTED, "operator:anna", NOW), "may not decide");
	assert_denied(DECIDE(id, TRANSFER_ACCEPTED, "operator:", NOW), "may not decide");
	assert_denied(DECIDE(id, TRANSFER_DECLINED, BOB, NOW), "may not decide");
	assert_done(DECIDE(id, TRANSFER_ACCEPTED, ANN, NOW));
}

static void
transfer_is_the_only_way_into_its_state(void **state)
{
	struct fixture *f = *state;

	(void)add_asset(f->store, "rtr-1");
	assert_denied(ops->asset_set_state(f->store, "rtr-1", ASSET_TRANSFER_PENDING, "", EVE, NOW, NULL, &why),
		"transfer offer");
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_STAGED);
}

static void
transfer_tells_what_the_asset_was_before(void **state)
{
	struct fixture *f = *state;
	int64_t id;

	(void)add_asset(f->store, "rtr-1");
	set_state(f, "rtr-1", ASSET_IN_STOCK);
	assert_int_equal(get_asset(f->store, "rtr-1").prior_state, ASSET_IN_STOCK);
	put_owner(f, "Field", OWNER_ACTIVE, "");
	id = offer(f, "rtr-1");
	assert_done(DECIDE(id, TRANSFER_DECLINED, BOB, NOW));
	set_state(f, "rtr-1", ASSET_STAGED);
	(void)offer(f, "rtr-1");
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_TRANSFER_PENDING);
	assert_int_equal(get_asset(f->store, "rtr-1").prior_state, ASSET_STAGED);
}

static void
transfer_is_not_accepted_when_an_owner_is_active_no_more(void **state)
{
	struct fixture *f = *state;
	int64_t id;

	(void)add_asset(f->store, "rtr-1");
	put_owner(f, "Field", OWNER_ACTIVE, "");
	id = offer(f, "rtr-1");
	assert_done(ops->owner_offboard(f->store, "Field", NOW + DAY, "", EVE, NOW, &why));
	assert_denied(DECIDE(id, TRANSFER_ACCEPTED, BOB, NOW), "Field is offboarding");
	put_owner(f, "Field", OWNER_ACTIVE, "");
	put_owner(f, "Net Ops", OWNER_SUSPENDED, "");
	assert_denied(DECIDE(id, TRANSFER_ACCEPTED, BOB, NOW), "Net Ops is suspended");
	put_owner(f, "Net Ops", OWNER_ACTIVE, "");
	assert_done(DECIDE(id, TRANSFER_ACCEPTED, BOB, NOW));
}

static void
transfer_declined_or_cancelled_brings_the_asset_back(void **state)
{
	struct fixture *f = *state;

	(void)add_asset(f->store, "rtr-1");
	put_owner(f, "Field", OWNER_ACTIVE, "");
	put_owner(f, "Net Ops", OWNER_ACTIVE, "eve,carl");
	(void)issue(f, "rtr-1", 1);
	set_state(f, "rtr-1", ASSET_DEPLOYED);
	assert_done(DECIDE(offer(f, "rtr-1"), TRANSFER_DECLINED, BOB, NOW));
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_DEPLOYED);
	set_state(f, "rtr-1", ASSET_IN_STOCK);
	assert_denied(DECIDE(offer(f, "rtr-1"), TRANSFER_CANCELLED, BOB, NOW), "may not decide");
	assert_done(DECIDE(2, TRANSFER_CANCELLED, "operator:carl", NOW));
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_IN_STOCK);
	assert_string_equal(get_owner_of(f, "rtr-1").name, "Net Ops");
	assert_int_equal(get_cert(f->store, 1).status, CERT_VALID);
	assert_int_equal(audits(f, "transfer.declined"), 1);
	assert_int_equal(audits(f, "transfer.cancelled"), 1);
}

static void
transfer_expires_and_brings_the_asset_back(void **state)
{
	struct fixture *f = *state;
	struct offboard_report report;
	int64_t id;

	(void)add_asset(f->store, "rtr-1");
	put_owner(f, "Field", OWNER_ACTIVE, "");
	set_state(f, "rtr-1", ASSET_DEPLOYED);
	id = offer(f, "rtr-1");
	sweep_all(f, NOW + DAY - 1, &report);
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_TRANSFER_PENDING);
	assert_denied(DECIDE(id, TRANSFER_ACCEPTED, BOB, NOW + DAY), "has expired");
	sweep_all(f, NOW + DAY, &report);
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_DEPLOYED);
	assert_int_equal(fixture_number(f, "SELECT state FROM transfer"), TRANSFER_EXPIRED);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE action = 'transfer.expired'"
		" AND actor = 'enrolld'"), 1);
	assert_denied(DECIDE(id, TRANSFER_ACCEPTED, BOB, NOW), "is expired");
}

/* A device that is reported stolen on its way must not come out of it by an acceptance, or by time. */
static void
transfer_ends_when_its_asset_is_moved_otherwise(void **state)
{
	struct fixture *f = *state;
	struct offboard_report report;
	int64_t id;

	(void)add_asset(f->store, "rtr-1");
	put_owner(f, "Field", OWNER_ACTIVE, "");
	id = offer(f, "rtr-1");
	set_state(f, "rtr-1", ASSET_STOLEN);
	assert_int_equal(audits(f, "transfer.cancelled"), 1);
	assert_denied(DECIDE(id, TRANSFER_ACCEPTED, BOB, NOW), "is cancelled");
	sweep_all(f, NOW + 2 * DAY, &report);
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_STOLEN);
}

static void
transfer_keeps_imports_from_moving_the_asset(void **state)
{
	struct fixture *f = *state;
	struct import_record record = record_of("rtr-1");
	struct import_summary sum;

	(void)add_asset(f->store, "rtr-1");
	put_owner(f, "Field", OWNER_ACTIVE, "");
	(void)offer(f, "rtr-1");
	(void)snprintf(record.asset.model, sizeof record.asset.model, "X9");
	assert_done(import_records(f->store, &record, 1, false, &sum, &why));
	assert_int_equal(sum.updated, 1);
	(void)snprintf(record.owner, sizeof record.owner, "Field");
	assert_denied(import_records(f->store, &record, 1, false, &sum, &why), "being transferred");
}

struct listed {
	int count;
	struct transfer_row first;
};

static bool
take_transfer(void *arg, const struct transfer_row *row)
{
	struct listed *l = arg;

	if (l->count++ == 0)
		l->first = *row;
	return true;
}

static struct listed
list(struct fixture *f, const char *tag, bool open, int64_t now_s)
{
	struct store_read *read = begin(f->store);
	struct listed l = {0};

	assert_done(ops->transfer_list(read, tag, open, now_s, take_transfer, &l, &why));
	ops->read_end(read);
	return l;
}

static void
transfer_list_tells_the_newest_first(void **state)
{
	struct fixture *f = *state;
	struct listed l;

	(void)add_asset(f->store, "rtr-1");
	(void)add_asset(f->store, "rtr-2");
	put_owner(f, "Field", OWNER_ACTIVE, "");
	assert_done(DECIDE(offer(f, "rtr-1"), TRANSFER_DECLINED, BOB, NOW + 3));
	(void)offer(f, "rtr-2");
	l = list(f, NULL, false, NOW);
	assert_int_equal(l.count, 2);
	assert_string_equal(l.first.asset_tag, "rtr-2");
	assert_string_equal(l.first.from_owner, "Net Ops");
	assert_string_equal(l.first.to_owner, "Field");
	assert_int_equal(l.first.prior_state, ASSET_STAGED);
	assert_int_equal(l.first.expires_s, NOW + DAY);
	assert_string_equal(l.first.offered_by, EVE);
	l = list(f, "rtr-1", false, NOW);
	assert_int_equal(l.count, 1);
	assert_int_equal(l.first.state, TRANSFER_DECLINED);
	assert_int_equal(l.first.decided_s, NOW + 3);
	assert_string_equal(l.first.decided_by, BOB);
	assert_int_equal(list(f, NULL, true, NOW).count, 1);
	assert_int_equal(list(f, "rtr-1", true, NOW).count, 0);
	assert_int_equal(list(f, NULL, true, NOW + DAY).count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(transfer_offered_waits_and_its_asset_with_it),
		STORE_TEST(transfer_offer_refuses_what_cannot_be_given),
		STORE_TEST(transfer_cannot_be_offered_twice),
		STORE_TEST(transfer_accepted_ends_all_that_the_old_owner_had),
		STORE_TEST(transfer_leaves_other_assets_alone),
		STORE_TEST(transfer_is_not_accepted_by_who_offered_it),
		STORE_TEST(transfer_is_accepted_by_the_new_owners_operators_only),
		STORE_TEST(transfer_is_the_only_way_into_its_state),
		STORE_TEST(transfer_tells_what_the_asset_was_before),
		STORE_TEST(transfer_is_not_accepted_when_an_owner_is_active_no_more),
		STORE_TEST(transfer_declined_or_cancelled_brings_the_asset_back),
		STORE_TEST(transfer_expires_and_brings_the_asset_back),
		STORE_TEST(transfer_ends_when_its_asset_is_moved_otherwise),
		STORE_TEST(transfer_keeps_imports_from_moving_the_asset),
		STORE_TEST(transfer_list_tells_the_newest_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
