#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"
#include "tests/unit/store_ownership_fixture.h"

/* With the word of a second operator for what is large, or moves assets. */
static int
guarded(struct fixture *f, const struct import_record *at, size_t count, bool dry_run, struct import_summary *sum,
	struct err *e)
{
	struct records records = {at, count, 0};
	struct import_job job = {
		.next = records_next,
		.arg = &records,
		.actor = EVE,
		.source = "assets.csv",
		.now_s = NOW,
		.dry_run = dry_run,
		.create_owners = true,
		.large = 10,
	};

	memset(sum, 0, sizeof *sum);
	return ops->import(f->store, &job, sum, e);
}

#define GUARDED(at, count) guarded(f, (at), (count), false, &sum, &why)
#define SAY(id, yes, actor) ops->approval_decide(f->store, (id), (yes), "a reason", (actor), NOW, NULL, &why)
#define assert_waits(call) \
	do { \
		struct err why = {0}; \
		assert_int_equal((call), -1); \
		assert_int_equal(why.code, ERR_PENDING); \
	} while (0)

static struct import_record
record_for(const char *tag, const char *owner)
{
	struct import_record record = record_of(tag);

	(void)snprintf(record.owner, sizeof record.owner, "%s", owner);
	return record;
}

static void
import_that_moves_an_asset_between_owners_waits_for_a_second_operator(void **state)
{
	struct fixture *f = *state;
	struct import_record at[2] = {record_for("rtr-1", "Net Ops"), record_for("rtr-2", "Net Ops")};
	struct import_summary sum;
	int64_t approval, assets;

	assert_done(GUARDED(at, 2));
	assert_int_equal(sum.added, 2);
	at[0].asset.tier = 1;
	assert_done(GUARDED(at, 2));
	assert_int_equal(sum.updated, 1);
	at[0].asset.tier = 2;
	at[1] = record_for("rtr-2", "Field");
	assert_done(guarded(f, at, 2, true, &sum, &why));
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM approval"), 0);
	assert_waits(GUARDED(at, 2));
	approval = sum.approval_id;
	assert_int_not_equal(approval, 0);
	assert_waits(GUARDED(at, 2));
	assert_int_equal(sum.approval_id, approval);
	assert_int_equal(get_asset(f->store, "rtr-1").tier, 1);
	assert_string_equal(get_owner_of(f, "rtr-2").name, "Net Ops");
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM owner WHERE name = 'Field'"), 0);
	assert_int_equal(fixture_number(f, "SELECT detail = '2 records, 1 moved between owners' FROM approval"), 1);
	assert_denied(SAY(approval, true, EVE), "another operator");
	assert_done(SAY(approval, true, BOB));
	assert_done(GUARDED(at, 2));
	assert_int_equal(sum.updated, 2);
	assert_int_equal(sum.owners_added, 1);
	assert_string_equal(get_owner_of(f, "rtr-2").name, "Field");
	assert_int_equal(audits(f, "approval.used"), 1);
	/* Used up; and what moves nothing needs none. */
	assets = fixture_number(f, "SELECT sum(version) FROM asset");
	assert_done(GUARDED(at, 2));
	assert_int_equal(sum.unchanged, 2);
	assert_int_equal(fixture_number(f, "SELECT sum(version) FROM asset"), assets);
	at[1] = record_for("rtr-2", "Net Ops");
	assert_waits(GUARDED(at, 2));
	assert_int_not_equal(sum.approval_id, approval);
}

static void
import_of_another_owner_ends_what_the_old_one_had(void **state)
{
	struct fixture *f = *state;
	struct import_record record = record_for("rtr-1", "Field");
	struct asset asset = add_asset(f->store, "rtr-1");
	struct exception_row row = {.waives = EXCEPTION_RULES, .asset_tag = "rtr-1", .label = "*", .reason = "r",
		.ticket = "t", .expires_s = NOW + DAY, .max_uses = 1};
	struct secret_row secret = {.asset_id = asset.id, .label = "*", .protocol = "est", .created_s = NOW};
	struct import_summary sum;
	struct sample s;
	int64_t request, approval;

	(void)issue(f, "rtr-1", 1);
	sample_fill(&s, &asset, 2, REQUEST_PENDING);
	request = record_as(f->store, &s.o, STORE_RECORDED);
	assert_done(ops->request_decide(f->store, request, true, "", BOB, NOW, &why));
	assert_done(ops->secret_put(f->store, &secret, EVE, NOW, NULL, &why));
	assert_done(ops->exception_request(f->store, &row, EVE, NOW, NULL, &approval, &why));
	assert_done(SAY(approval, true, BOB));
	assert_done(import_records(f->store, &record, 1, false, &sum, &why));
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM request WHERE state IN (0, 1)"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM request WHERE reason = 'transferred'"), 1);
	assert_int_equal(fixture_number(f, "SELECT expires_s FROM secret"), NOW - 1);
	assert_int_equal(fixture_number(f, "SELECT state FROM exception"), EXCEPTION_REVOKED);
	/* The device is the same, and its certificates stay. */
	assert_int_equal(fixture_number(f, "SELECT status FROM certificate"), CERT_VALID);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE action = 'asset.import'"
					   " AND detail_json ->> 'old_owner' = 'Net Ops' AND detail_json ->> 'new_owner' = 'Field'"
					   " AND detail_json ->> 'secrets_ended' = 1 AND detail_json ->> 'requests_denied' = 1"
					   " AND detail_json ->> 'exceptions_ended' = 1"), 1);
}

static void
import_leaves_alone_what_the_line_does_not_have(void **state)
{
	struct fixture *f = *state;
	struct import_record record = record_of("rtr-1");
	struct import_summary sum;
	struct asset was, is;

	record.asset.tier = 3;
	record.asset.holding = HOLDING_LEASED;
	(void)snprintf(record.asset.class_name, sizeof record.asset.class_name, "router");
	(void)snprintf(record.asset.model, sizeof record.asset.model, "M1");
	(void)snprintf(record.asset.site, sizeof record.asset.site, "Lab");
	(void)snprintf(record.asset.hostname, sizeof record.asset.hostname, "r1.example");
	(void)snprintf(record.asset.source_key, sizeof record.asset.source_key, "17");
	assert_done(import_records(f->store, &record, 1, false, &sum, &why));
	was = get_asset(f->store, "rtr-1");
	memset(&record.asset, 0, sizeof record.asset);
	(void)snprintf(record.asset.tag, sizeof record.asset.tag, "rtr-1");
	(void)snprintf(record.asset.source, sizeof record.asset.source, "other.csv");
	record.absent = IMPORT_OPTIONAL;
	assert_done(import_records(f->store, &record, 1, false, &sum, &why));
	assert_int_equal(sum.unchanged, 1);
	is = get_asset(f->store, "rtr-1");
	assert_int_equal(is.version, was.version);
	assert_int_equal(is.tier, 3);
	assert_string_equal(is.hostname, "r1.example");
	assert_string_equal(is.source, "assets.csv");
	assert_string_equal(is.source_key, "17");
	/* Each column that is there changes, and no other. */
	record.absent = IMPORT_OPTIONAL & ~IMPORT_TIER;
	assert_done(import_records(f->store, &record, 1, false, &sum, &why));
	is = get_asset(f->store, "rtr-1");
	assert_int_equal(is.tier, 0);
	assert_int_equal(is.holding, HOLDING_LEASED);
	assert_string_equal(is.class_name, "router");
	assert_string_equal(is.serial, "SN-rtr-1");
	record.absent = IMPORT_OPTIONAL & ~(IMPORT_TIER | IMPORT_CLASS);
	assert_done(import_records(f->store, &record, 1, false, &sum, &why));
	is = get_asset(f->store, "rtr-1");
	assert_string_equal(is.class_name, "");
	assert_string_equal(is.site, "Lab");
	assert_string_equal(is.model, "M1");
}

static void
import_tells_the_audit_what_rules_read(void **state)
{
	struct fixture *f = *state;
	struct import_record record = record_of("rtr-1");
	struct import_summary sum;

	(void)snprintf(record.asset.class_name, sizeof record.asset.class_name, "router");
	assert_done(import_records(f->store, &record, 1, false, &sum, &why));
	assert_int_equal(audits(f, "asset.import"), 0);
	(void)snprintf(record.asset.hostname, sizeof record.asset.hostname, "other.example");
	assert_done(import_records(f->store, &record, 1, false, &sum, &why));
	assert_int_equal(audits(f, "asset.import"), 0);
	record.asset.tier = 2;
	record.asset.holding = HOLDING_PERSONAL;
	(void)snprintf(record.asset.class_name, sizeof record.asset.class_name, "switch");
	(void)snprintf(record.asset.model, sizeof record.asset.model, "M2");
	(void)snprintf(record.asset.site, sizeof record.asset.site, "Lab");
	assert_done(import_records(f->store, &record, 1, false, &sum, &why));
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE action = 'asset.import'"
					   " AND detail_json ->> 'tier' = 2 AND detail_json ->> 'tier_was' = 0"
					   " AND detail_json ->> 'holding' = 'personal' AND detail_json ->> 'holding_was' = 'corporate'"
					   " AND detail_json ->> 'class' = 'switch' AND detail_json ->> 'class_was' = 'router'"
					   " AND detail_json ->> 'model' = 'M2' AND detail_json ->> 'model_was' = ''"
					   " AND detail_json ->> 'site' = 'Lab' AND detail_json ->> 'site_was' = ''"), 1);
	record.asset.tier = 1;
	assert_done(import_records(f->store, &record, 1, false, &sum, &why));
	assert_int_equal(audits(f, "asset.import"), 2);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE detail_json ->> 'class' IS NOT NULL"), 1);
}

static void
import_offers_nothing_to_another_owner(void **state)
{
	struct fixture *f = *state;
	struct import_record record = record_of("rtr-1");
	struct import_summary sum;

	record.has_state = true;
	record.asset.state = ASSET_TRANSFER_PENDING;
	assert_denied(import_records(f->store, &record, 1, false, &sum, &why), "transfer offer");
	(void)add_asset(f->store, "rtr-1");
	assert_denied(import_records(f->store, &record, 1, false, &sum, &why), "transfer offer");
	put_owner(f, "Field", OWNER_ACTIVE, "");
	assert_done(ops->transfer_offer(f->store, "rtr-1", "Field", "", EVE, NOW, NOW + DAY, NULL, &why));
	assert_done(import_records(f->store, &record, 1, false, &sum, &why));
	assert_int_equal(sum.unchanged, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(import_that_moves_an_asset_between_owners_waits_for_a_second_operator),
		STORE_TEST(import_of_another_owner_ends_what_the_old_one_had),
		STORE_TEST(import_leaves_alone_what_the_line_does_not_have),
		STORE_TEST(import_tells_the_audit_what_rules_read),
		STORE_TEST(import_offers_nothing_to_another_owner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
