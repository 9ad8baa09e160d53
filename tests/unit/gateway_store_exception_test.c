#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"
#include "tests/unit/store_ownership_fixture.h"

static struct exception_row
row_of(const char *tag, const char *owner)
{
	struct exception_row row = {
		.waives = EXCEPTION_ATTESTATION,
		.label = "*",
		.reason = "no TPM on this board",
		.ticket = "CHG-17",
		.expires_s = NOW + DAY,
		.max_uses = 2,
	};

	(void)snprintf(row.asset_tag, sizeof row.asset_tag, "%s", tag);
	(void)snprintf(row.owner, sizeof row.owner, "%s", owner);
	return row;
}

#define REQUEST(row) ops->exception_request(f->store, &(row), EVE, NOW, NULL, NULL, &why)
#define SAY(id, yes, actor, state) ops->approval_decide(f->store, (id), (yes), "a reason", (actor), NOW, (state), &why)

/* Requested and approved; its id. */
static int64_t
grant(struct fixture *f, const struct exception_row *row)
{
	int64_t id = 0, approval = 0;

	assert_done(ops->exception_request(f->store, row, EVE, NOW, &id, &approval, &why));
	assert_done(SAY(approval, true, BOB, NULL));
	return id;
}

static int
in_force(struct fixture *f, const char *tag, const char *label, int64_t now_s, struct exception *first)
{
	struct store_read *read = begin(f->store);
	struct asset asset = {0};
	struct exception out[4] = {0};
	struct owner owner;
	int count;

	assert_done(ops->asset_by_tag(read, tag, &asset, &owner, &why));
	{
		struct err why = {0};

		count = ops->exceptions(read, &asset, label, now_s, out, 4, &why);
		assert_true(count >= 0);
	}
	ops->read_end(read);
	if (first != NULL)
		*first = out[0];
	return count;
}

static void
exception_is_in_force_once_another_operator_agrees(void **state)
{
	struct fixture *f = *state;
	enum approval_state what = APPROVAL_WAITING;
	struct exception_row row = row_of("rtr-1", "");
	struct exception got;
	int64_t id, approval;

	(void)add_asset(f->store, "rtr-1");
	assert_done(ops->exception_request(f->store, &row, EVE, NOW, &id, &approval, &why));
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW, NULL), 0);
	assert_denied(SAY(approval, true, EVE, NULL), "another operator");
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW, NULL), 0);
	assert_done(SAY(approval, true, BOB, &what));
	assert_int_equal(what, APPROVAL_USED);
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW, &got), 1);
	assert_int_equal(got.id, id);
	assert_int_equal(got.waives, EXCEPTION_ATTESTATION);
	assert_string_equal(got.ticket, "CHG-17");
	assert_string_equal(got.approved_by, BOB);
	assert_int_equal(got.expires_s, NOW + DAY);
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW + DAY, NULL), 0);
	assert_int_equal(audits(f, "exception.requested"), 1);
	assert_int_equal(audits(f, "exception.active"), 1);
	assert_int_equal(verify(f->store).bad_seq, 0);
}

static void
exception_refused_never_comes_into_force(void **state)
{
	struct fixture *f = *state;
	struct exception_row row = row_of("rtr-1", "");
	int64_t id, approval;

	(void)add_asset(f->store, "rtr-1");
	assert_done(ops->exception_request(f->store, &row, EVE, NOW, &id, &approval, &why));
	assert_done(SAY(approval, false, BOB, NULL));
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW, NULL), 0);
	assert_int_equal(audits(f, "exception.refused"), 1);
	assert_denied(ops->exception_revoke(f->store, id, "", EVE, NOW, &why), "is refused");
}

static void
exception_request_refuses_what_is_too_wide(void **state)
{
	struct fixture *f = *state;
	struct exception_row good = row_of("rtr-1", ""), row;

	(void)add_asset(f->store, "rtr-1");
	row = row_of("rtr-1", "Net Ops");
	assert_denied(REQUEST(row), "for an asset or for an owner");
	row = row_of("", "");
	assert_denied(REQUEST(row), "for an asset or for an owner");
	row = good, row.waives = 0;
	assert_denied(REQUEST(row), "what it waives");
	row = good, row.waives = 16;
	assert_denied(REQUEST(row), "what it waives");
	row = good, row.reason[0] = '\0';
	assert_denied(REQUEST(row), "reason and a ticket");
	row = good, row.ticket[0] = '\0';
	assert_denied(REQUEST(row), "reason and a ticket");
	row = good, row.expires_s = NOW;
	assert_denied(REQUEST(row), "within a year");
	row = good, row.expires_s = NOW + 367 * (int64_t)DAY;
	assert_denied(REQUEST(row), "within a year");
	row = good, row.max_uses = 0;
	assert_denied(REQUEST(row), "1 to 1000");
	row = good, row.max_uses = 1001;
	assert_denied(REQUEST(row), "1 to 1000");
	row = row_of("rtr-9", "");
	assert_denied(REQUEST(row), "no asset");
	row = row_of("", "Nobody");
	assert_denied(REQUEST(row), "no owner");
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM exception"), 0);
	row = good, row.expires_s = NOW + 365 * (int64_t)DAY, row.max_uses = 1000, row.waives = 15;
	assert_done(REQUEST(row));
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE action = 'exception.requested'"
		" AND json_extract(detail_json, '$.waives') = 'attestation, quota, rules, renewal-window'"), 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM approval WHERE detail ="
		" 'asset rtr-1, ticket CHG-17: waives attestation, quota, rules, renewal-window'"), 1);
}

static void
exception_is_its_assets_or_owners_and_its_labels(void **state)
{
	struct fixture *f = *state;
	struct exception_row row = row_of("rtr-1", "");

	(void)add_asset(f->store, "rtr-1");
	(void)add_asset(f->store, "rtr-2");
	(void)snprintf(row.label, sizeof row.label, "routers");
	(void)grant(f, &row);
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW, NULL), 1);
	assert_int_equal(in_force(f, "rtr-1", "phones", NOW, NULL), 0);
	assert_int_equal(in_force(f, "rtr-2", "routers", NOW, NULL), 0);
	row = row_of("", "Net Ops");
	(void)grant(f, &row);
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW, NULL), 2);
	assert_int_equal(in_force(f, "rtr-2", "phones", NOW, NULL), 1);
}

static void
raise_tier(struct fixture *f, const char *tag)
{
	struct import_record record = record_of(tag);
	struct import_summary sum;

	record.asset.tier = 3;
	assert_done(import_records(f->store, &record, 1, false, &sum, &why));
}

static void
exception_for_the_highest_tier_needs_two(void **state)
{
	struct fixture *f = *state;
	enum approval_state what = APPROVAL_USED;
	struct exception_row row = row_of("", "Net Ops");
	int64_t id, approval;

	(void)add_asset(f->store, "rtr-1");
	raise_tier(f, "rtr-2");
	assert_done(ops->exception_request(f->store, &row, EVE, NOW, &id, &approval, &why));
	assert_int_equal(fixture_number(f, "SELECT approvals_needed FROM exception"), 2);
	assert_done(SAY(approval, true, BOB, &what));
	assert_int_equal(what, APPROVAL_WAITING);
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW, NULL), 0);
	assert_denied(SAY(approval, true, BOB, NULL), "already");
	assert_done(SAY(approval, true, ANN, &what));
	assert_int_equal(what, APPROVAL_USED);
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW, NULL), 1);
	assert_int_equal(fixture_number(f, "SELECT approved_by = 'operator:bob, operator:ann' FROM exception"), 1);
	/* An asset of a lower tier needs one. */
	row = row_of("rtr-1", "");
	assert_done(REQUEST(row));
	assert_int_equal(fixture_number(f, "SELECT approvals_needed FROM exception WHERE id = 2"), 1);
	row = row_of("rtr-2", "");
	assert_done(REQUEST(row));
	assert_int_equal(fixture_number(f, "SELECT approvals_needed FROM exception WHERE id = 3"), 2);
}

static void
exception_needs_two_when_the_tier_rose_meanwhile(void **state)
{
	struct fixture *f = *state;
	enum approval_state what = APPROVAL_USED;
	struct exception_row row = row_of("rtr-1", "");
	int64_t approval;

	(void)add_asset(f->store, "rtr-1");
	assert_done(ops->exception_request(f->store, &row, EVE, NOW, NULL, &approval, &why));
	raise_tier(f, "rtr-1");
	assert_done(SAY(approval, true, BOB, &what));
	assert_int_equal(what, APPROVAL_WAITING);
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW, NULL), 0);
}

static enum store_recorded
use(struct fixture *f, const char *tag, int64_t exception, unsigned number, int64_t now_s)
{
	struct asset asset = get_asset(f->store, tag);
	enum store_recorded what = STORE_RECORDED;
	struct sample s;
	int64_t id;

	sample_fill(&s, &asset, number, REQUEST_ISSUED);
	s.o.now_s = now_s;
	s.o.exception_ids = &exception;
	s.o.exception_count = 1;
	assert_done(ops->record(f->store, &s.o, &what, &id, &why));
	return what;
}

static void
exception_is_good_for_so_many_uses(void **state)
{
	struct fixture *f = *state;
	struct exception_row row = row_of("rtr-1", "");
	int64_t id;

	(void)add_asset(f->store, "rtr-1");
	id = grant(f, &row);
	assert_int_equal(use(f, "rtr-1", id, 1, NOW), STORE_RECORDED);
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW, NULL), 1);
	assert_int_equal(use(f, "rtr-1", id, 2, NOW), STORE_RECORDED);
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW, NULL), 0);
	assert_int_equal(use(f, "rtr-1", id, 3, NOW), STORE_STALE);
	assert_int_equal(fixture_number(f, "SELECT uses FROM exception"), 2);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), 2);
}

static void
record_refuses_an_exception_that_is_not_in_force(void **state)
{
	struct fixture *f = *state;
	struct exception_row row = row_of("rtr-1", "");
	int64_t id, waiting;

	(void)add_asset(f->store, "rtr-1");
	(void)add_asset(f->store, "rtr-2");
	id = grant(f, &row);
	assert_done(ops->exception_request(f->store, &row, EVE, NOW, &waiting, NULL, &why));
	assert_int_equal(use(f, "rtr-2", id, 1, NOW), STORE_STALE);
	assert_int_equal(use(f, "rtr-1", waiting, 2, NOW), STORE_STALE);
	assert_int_equal(use(f, "rtr-1", id, 3, NOW + DAY), STORE_STALE);
	assert_int_equal(use(f, "rtr-1", 99, 4, NOW), STORE_STALE);
	assert_done(ops->exception_revoke(f->store, id, "over", BOB, NOW, &why));
	assert_int_equal(use(f, "rtr-1", id, 5, NOW), STORE_STALE);
	row.label[0] = 'x', row.label[1] = '\0';
	assert_int_equal(use(f, "rtr-1", grant(f, &row), 6, NOW), STORE_STALE);
	assert_int_equal(fixture_number(f, "SELECT sum(uses) FROM exception"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), 0);
}

static void
exception_is_not_counted_for_what_is_not_issued(void **state)
{
	struct fixture *f = *state;
	struct exception_row row = row_of("rtr-1", "");
	struct asset asset = add_asset(f->store, "rtr-1");
	int64_t id = grant(f, &row), twice[2] = {id, id};
	struct sample s;

	sample_fill(&s, &asset, 1, REQUEST_PENDING);
	s.o.exception_ids = twice;
	s.o.exception_count = 2;
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	assert_int_equal(fixture_number(f, "SELECT uses FROM exception"), 0);
	/* Named twice it is used once. */
	sample_fill(&s, &asset, 2, REQUEST_ISSUED);
	s.o.exception_ids = twice;
	s.o.exception_count = 2;
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	assert_int_equal(fixture_number(f, "SELECT uses FROM exception"), 1);
}

static void
exception_revoked_while_it_waits_cannot_be_approved(void **state)
{
	struct fixture *f = *state;
	struct exception_row row = row_of("rtr-1", "");
	int64_t id, approval;

	(void)add_asset(f->store, "rtr-1");
	assert_done(ops->exception_request(f->store, &row, EVE, NOW, &id, &approval, &why));
	assert_done(ops->exception_revoke(f->store, id, "no need", EVE, NOW, &why));
	assert_denied(SAY(approval, true, BOB, NULL), "is refused");
	assert_denied(ops->exception_revoke(f->store, id, "", EVE, NOW, &why), "is revoked");
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW, NULL), 0);
	assert_int_equal(audits(f, "exception.revoked"), 1);
}

static void
set_tier(struct fixture *f, const char *tag, int tier)
{
	struct import_record record = record_of(tag);
	struct import_summary sum;

	record.asset.tier = tier;
	assert_done(import_records(f->store, &record, 1, false, &sum, &why));
}

/* What one operator let pass at a time of less risk does not count at a time of more. */
static void
exception_by_one_operator_is_not_for_tier_3(void **state)
{
	struct fixture *f = *state;
	struct exception_row row = row_of("rtr-1", ""), all = row_of("", "Net Ops");
	int64_t id, owners, approval;

	(void)add_asset(f->store, "rtr-1");
	(void)add_asset(f->store, "rtr-2");
	id = grant(f, &row);
	owners = grant(f, &all);
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW, NULL), 2);
	set_tier(f, "rtr-1", 3);
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW, NULL), 0);
	assert_int_equal(use(f, "rtr-1", id, 1, NOW), STORE_STALE);
	assert_int_equal(use(f, "rtr-1", owners, 2, NOW), STORE_STALE);
	assert_int_equal(in_force(f, "rtr-2", "routers", NOW, NULL), 1);
	assert_int_equal(use(f, "rtr-2", owners, 3, NOW), STORE_RECORDED);
	/* Two are enough, also when one was asked for. */
	assert_done(ops->exception_request(f->store, &row, EVE, NOW, NULL, &approval, &why));
	assert_done(SAY(approval, true, BOB, NULL));
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW, NULL), 0);
	assert_done(SAY(approval, true, ANN, NULL));
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW, NULL), 1);
	set_tier(f, "rtr-1", 2);
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW, NULL), 3);
	assert_done(ops->exception_request(f->store, &row, EVE, NOW, &id, &approval, &why));
	set_tier(f, "rtr-1", 3);
	assert_done(SAY(approval, true, BOB, NULL));
	assert_done(SAY(approval, true, ANN, NULL));
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW, NULL), 2);
	assert_int_equal(use(f, "rtr-1", id, 4, NOW), STORE_RECORDED);
}

static void
exception_of_an_asset_ends_with_its_owner(void **state)
{
	struct fixture *f = *state;
	struct exception_row row = row_of("rtr-1", "");
	int64_t transfer, approval;

	(void)add_asset(f->store, "rtr-1");
	(void)grant(f, &row);
	assert_done(ops->exception_request(f->store, &row, EVE, NOW, NULL, &approval, &why));
	put_owner(f, "Field", OWNER_ACTIVE, "");
	assert_done(ops->transfer_offer(f->store, "rtr-1", "Field", "", EVE, NOW, NOW + DAY, &transfer, &why));
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW, NULL), 1);
	assert_done(ops->transfer_decide(f->store, transfer, TRANSFER_ACCEPTED, "", BOB, NOW, &why));
	assert_int_equal(in_force(f, "rtr-1", "routers", NOW, NULL), 0);
	assert_denied(SAY(approval, true, BOB, NULL), "is refused");
}

struct listed {
	int count;
	struct exception_row first;
};

static bool
take_exception(void *arg, const struct exception_row *row)
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

	assert_done(ops->exception_list(read, tag, open, now_s, take_exception, &l, &why));
	ops->read_end(read);
	return l;
}

static void
exception_list_tells_all_about_it(void **state)
{
	struct fixture *f = *state;
	struct exception_row row = row_of("rtr-1", "");
	struct listed l;

	(void)add_asset(f->store, "rtr-1");
	(void)grant(f, &row);
	row = row_of("", "Net Ops");
	assert_done(REQUEST(row));
	l = list(f, NULL, false, NOW);
	assert_int_equal(l.count, 2);
	assert_string_equal(l.first.owner, "Net Ops");
	assert_string_equal(l.first.asset_tag, "");
	assert_int_equal(l.first.state, EXCEPTION_REQUESTED);
	assert_string_equal(l.first.requested_by, EVE);
	l = list(f, "rtr-1", true, NOW);
	assert_int_equal(l.count, 1);
	assert_string_equal(l.first.asset_tag, "rtr-1");
	assert_string_equal(l.first.reason, "no TPM on this board");
	assert_string_equal(l.first.approved_by, BOB);
	assert_int_equal(l.first.max_uses, 2);
	assert_int_equal(l.first.approvals_needed, 1);
	assert_int_equal(list(f, NULL, true, NOW).count, 2);
	assert_int_equal(list(f, NULL, true, NOW + DAY).count, 0);
	assert_int_equal(list(f, NULL, false, NOW + DAY).count, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(exception_is_in_force_once_another_operator_agrees),
		STORE_TEST(exception_refused_never_comes_into_force),
		STORE_TEST(exception_request_refuses_what_is_too_wide),
		STORE_TEST(exception_is_its_assets_or_owners_and_its_labels),
		STORE_TEST(exception_for_the_highest_tier_needs_two),
		STORE_TEST(exception_needs_two_when_the_tier_rose_meanwhile),
		STORE_TEST(exception_is_good_for_so_many_uses),
		STORE_TEST(record_refuses_an_exception_that_is_not_in_force),
		STORE_TEST(exception_is_not_counted_for_what_is_not_issued),
		STORE_TEST(exception_revoked_while_it_waits_cannot_be_approved),
		STORE_TEST(exception_by_one_operator_is_not_for_tier_3),
		STORE_TEST(exception_of_an_asset_ends_with_its_owner),
		STORE_TEST(exception_list_tells_all_about_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
