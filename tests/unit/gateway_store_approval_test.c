#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"
#include "tests/unit/store_ownership_fixture.h"

static void
add_stolen(struct fixture *f, const char *tag)
{
	(void)add_asset(f->store, tag);
	set_state(f, tag, ASSET_STOLEN);
}

static int64_t
ask(struct fixture *f, const char *tag)
{
	int64_t id = 0;

	assert_done(ops->asset_ask_state(f->store, tag, ASSET_QUARANTINED, "found again", EVE, NOW, NOW + DAY, &id, &why));
	return id;
}

#define ASK(tag, to, until) \
	ops->asset_ask_state(f->store, (tag), (to), "found again", EVE, NOW, (until), NULL, &why)
#define SAY(id, yes, actor, at, state) \
	ops->approval_decide(f->store, (id), (yes), "a reason", (actor), (at), (state), &why)

static void
state_of_a_stolen_asset_needs_a_second_operator(void **state)
{
	struct fixture *f = *state;
	enum approval_state what = APPROVAL_WAITING;
	int64_t id;

	add_stolen(f, "rtr-1");
	assert_denied(ops->asset_set_state(f->store, "rtr-1", ASSET_QUARANTINED, "", EVE, NOW, NULL, &why),
		"needs a second operator");
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_STOLEN);
	id = ask(f, "rtr-1");
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_STOLEN);
	assert_done(SAY(id, true, BOB, NOW + 1, &what));
	assert_int_equal(what, APPROVAL_USED);
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_QUARANTINED);
	assert_int_equal(audits(f, "approval.asked"), 1);
	assert_int_equal(audits(f, "approval.given"), 1);
	assert_int_equal(audits(f, "approval.used"), 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE action = 'asset.state'"
		" AND json_extract(detail_json, '$.requested_by') = 'operator:eve'"), 1);
	assert_int_equal(verify(f->store).bad_seq, 0);
}

static void
approval_is_never_the_requesters_own(void **state)
{
	struct fixture *f = *state;
	int64_t id;

	add_stolen(f, "rtr-1");
	id = ask(f, "rtr-1");
	assert_denied(SAY(id, true, EVE, NOW, NULL), "another operator");
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_STOLEN);
}

/* The tables keep 79 octets of a name: the rest must not make two people of one. */
static void
approval_is_not_the_requesters_own_by_a_long_name_either(void **state)
{
	struct fixture *f = *state;
	char actor[100];
	int64_t id;

	add_stolen(f, "rtr-1");
	memset(actor, 'x', sizeof actor);
	memcpy(actor, "operator:", 9);
	memcpy(actor + 78, "\xc3\xa9tait", 7); /* é across the cut */
	assert_done(ops->asset_ask_state(f->store, "rtr-1", ASSET_QUARANTINED, "", actor, NOW, NOW + DAY, &id, &why));
	assert_denied(SAY(id, true, actor, NOW, NULL), "another operator");
}

static void
approval_refused_carries_nothing_out(void **state)
{
	struct fixture *f = *state;
	enum approval_state what = APPROVAL_WAITING;
	int64_t id;

	add_stolen(f, "rtr-1");
	id = ask(f, "rtr-1");
	assert_done(SAY(id, false, BOB, NOW, &what));
	assert_int_equal(what, APPROVAL_REFUSED);
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_STOLEN);
	assert_denied(SAY(id, true, ANN, NOW, NULL), "is refused");
	assert_int_equal(audits(f, "approval.refused"), 1);
	assert_int_equal(audits(f, "approval.used"), 0);
}

static void
approval_expires(void **state)
{
	struct fixture *f = *state;
	int64_t id;

	add_stolen(f, "rtr-1");
	id = ask(f, "rtr-1");
	assert_denied(SAY(id, true, BOB, NOW + DAY, NULL), "has expired");
	assert_denied(SAY(id + 1, true, BOB, NOW, NULL), "no approval");
	assert_denied(ASK("rtr-1", ASSET_QUARANTINED, NOW), "expires");
	assert_denied(ASK("rtr-1", ASSET_QUARANTINED, NOW + 400 * (int64_t)DAY), "expires");
}

static void
approval_is_of_the_move_that_was_asked_for(void **state)
{
	struct fixture *f = *state;
	int64_t id;

	add_stolen(f, "rtr-1");
	id = ask(f, "rtr-1");
	assert_denied(ASK("rtr-1", ASSET_QUARANTINED, NOW + 1), "waits for that already");
	set_state(f, "rtr-1", ASSET_DECOMMISSIONED);
	assert_denied(SAY(id, true, BOB, NOW, NULL), "is refused");
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_DECOMMISSIONED);
	assert_int_equal(audits(f, "approval.given"), 0);
}

/* Another operator would say yes to a theft that is over. */
static void
approval_does_not_outlive_the_state_it_was_asked_in(void **state)
{
	struct fixture *f = *state;
	int64_t back, quarantine;

	add_stolen(f, "rtr-1");
	quarantine = ask(f, "rtr-1");
	assert_done(ops->asset_ask_state(f->store, "rtr-1", ASSET_DEPLOYED, "found", EVE, NOW, NOW + DAY, &back, &why));
	assert_done(SAY(quarantine, true, BOB, NOW, NULL));
	assert_int_equal(fixture_number(f, "SELECT state FROM approval WHERE to_state = 6"), APPROVAL_USED);
	set_state(f, "rtr-1", ASSET_STOLEN);
	assert_denied(SAY(back, true, BOB, NOW, NULL), "is refused");
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_STOLEN);
	/* It can be asked for anew. */
	assert_done(ops->asset_ask_state(f->store, "rtr-1", ASSET_DEPLOYED, "found", EVE, NOW, NOW + DAY, &back, &why));
	assert_done(SAY(back, true, BOB, NOW, NULL));
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_DEPLOYED);
}

static void
approval_is_not_asked_for_where_none_is_needed(void **state)
{
	struct fixture *f = *state;

	(void)add_asset(f->store, "rtr-1");
	assert_denied(ASK("rtr-1", ASSET_DEPLOYED, NOW + 1), "needs no second operator");
	assert_denied(ASK("rtr-1", ASSET_DISPOSED, NOW + 1), "cannot become");
	assert_denied(ASK("rtr-9", ASSET_DEPLOYED, NOW + 1), "no asset rtr-9");
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM approval"), 0);
}

/* Imports. */

static int
import_large(struct fixture *f, const struct import_record *at, size_t count, bool create_owners, bool dry_run,
	int64_t now_s, struct import_summary *sum, struct err *e)
{
	struct records records = {at, count, 0};
	struct import_job job = {
		.next = records_next,
		.arg = &records,
		.actor = EVE,
		.source = "fleet.csv",
		.now_s = now_s,
		.dry_run = dry_run,
		.create_owners = create_owners,
		.large = 2,
		.approval_s = DAY,
	};

	memset(sum, 0, sizeof *sum);
	return ops->import(f->store, &job, sum, e);
}

struct fleet {
	struct import_record at[3];
	struct import_summary sum;
};

static struct fleet *
fleet_of(void)
{
	struct fleet *fleet = test_calloc(1, sizeof *fleet);

	fleet->at[0] = record_of("rtr-1");
	fleet->at[1] = record_of("rtr-2");
	fleet->at[2] = record_of("rtr-3");
	return fleet;
}

#define assert_waits(call) \
	do { \
		struct err why = {0}; \
		assert_int_equal((call), -1); \
		assert_int_equal(why.code, ERR_PENDING); \
	} while (0)
#define IMPORT(count, when) import_large(f, fleet->at, (count), true, false, (when), &fleet->sum, &why)

static void
import_of_many_waits_for_a_second_operator(void **state)
{
	struct fixture *f = *state;
	struct fleet *fleet = fleet_of();
	enum approval_state what;
	int64_t id;

	assert_waits(IMPORT(3, NOW));
	id = fleet->sum.approval_id;
	assert_true(id > 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM asset"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM owner"), 0);
	assert_waits(IMPORT(3, NOW));
	assert_int_equal(fleet->sum.approval_id, id);
	assert_int_equal(audits(f, "import.waits"), 1);
	assert_denied(SAY(id, true, EVE, NOW, NULL), "another operator");
	assert_done(SAY(id, true, BOB, NOW, &what));
	assert_int_equal(what, APPROVAL_GIVEN);
	assert_done(IMPORT(3, NOW));
	assert_int_equal(fleet->sum.added, 3);
	assert_int_equal(fleet->sum.owners_added, 1);
	assert_int_equal(audits(f, "approval.used"), 1);
	assert_int_equal(fixture_number(f, "SELECT state FROM approval"), APPROVAL_USED);
	/* It was for once. */
	assert_waits(IMPORT(3, NOW));
	assert_int_not_equal(fleet->sum.approval_id, id);
	assert_int_equal(verify(f->store).bad_seq, 0);
	test_free(fleet);
}

static void
import_of_few_or_on_trial_waits_for_nobody(void **state)
{
	struct fixture *f = *state;
	struct fleet *fleet = fleet_of();

	assert_done(IMPORT(2, NOW));
	assert_int_equal(fleet->sum.added, 2);
	assert_done(import_large(f, fleet->at, 3, true, true, NOW, &fleet->sum, &why));
	assert_int_equal(fleet->sum.added, 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM approval"), 0);
	test_free(fleet);
}

static void
import_approved_is_those_very_records_and_options(void **state)
{
	struct fixture *f = *state;
	struct fleet *fleet = fleet_of();
	int64_t id;

	put_owner(f, "Net Ops", OWNER_ACTIVE, "");
	assert_waits(IMPORT(3, NOW));
	id = fleet->sum.approval_id;
	assert_done(SAY(id, true, BOB, NOW, NULL));
	fleet->at[2].asset.tier = 3;
	assert_waits(IMPORT(3, NOW));
	fleet->at[2].asset.tier = 0;
	fleet->at[1].anchors[0].value[0] = 'x';
	assert_waits(IMPORT(3, NOW));
	fleet->at[1].anchors[0].value[0] = 'r';
	assert_waits(import_large(f, fleet->at, 3, false, false, NOW, &fleet->sum, &why));
	/* Given for a day from when it was asked for. */
	assert_waits(IMPORT(3, NOW + DAY));
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM asset"), 0);
	assert_done(IMPORT(3, NOW + DAY - 1));
	test_free(fleet);
}

static void
import_that_would_fail_is_told_before_anybody_is_asked(void **state)
{
	struct fixture *f = *state;
	struct fleet *fleet = fleet_of();

	assert_denied(import_large(f, fleet->at, 3, false, false, NOW, &fleet->sum, &why), "no owner");
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM approval"), 0);
	test_free(fleet);
}

struct listed {
	int count;
	struct approval_row first;
};

static bool
take_approval(void *arg, const struct approval_row *row)
{
	struct listed *l = arg;

	if (l->count++ == 0)
		l->first = *row;
	return true;
}

static struct listed
list(struct fixture *f, bool open, int64_t now_s)
{
	struct store_read *read = begin(f->store);
	struct listed l = {0};

	assert_done(ops->approval_list(read, open, now_s, take_approval, &l, &why));
	ops->read_end(read);
	return l;
}

static void
import_approval_tells_what_it_is_about(void **state)
{
	struct fixture *f = *state;
	struct fleet *fleet = fleet_of();
	struct listed l;

	assert_done(IMPORT(2, NOW));
	(void)snprintf(fleet->at[0].owner, sizeof fleet->at[0].owner, "Field");
	assert_waits(IMPORT(3, NOW));
	l = list(f, false, NOW);
	assert_int_equal(l.count, 1);
	assert_string_equal(l.first.kind, "import");
	assert_string_equal(l.first.subject, "fleet.csv");
	assert_string_equal(l.first.detail, "3 records, 1 moved between owners");
	assert_string_equal(l.first.requested_by, EVE);
	assert_int_equal(l.first.needed, 1);
	assert_int_equal(l.first.expires_s, NOW + DAY);
	test_free(fleet);
}

static void
approval_list_has_the_open_ones_on_request(void **state)
{
	struct fixture *f = *state;
	struct store_read *read;
	struct listed l = {0};
	int64_t first;

	add_stolen(f, "rtr-1");
	add_stolen(f, "rtr-2");
	first = ask(f, "rtr-1");
	(void)ask(f, "rtr-2");
	assert_string_equal(list(f, false, NOW).first.subject, "rtr-2");
	assert_string_equal(list(f, true, NOW).first.detail, "stolen -> quarantined");
	assert_int_equal(list(f, true, NOW).count, 2);
	assert_int_equal(list(f, true, NOW + DAY).count, 0);
	assert_done(SAY(first, true, BOB, NOW + 2, NULL));
	assert_int_equal(list(f, true, NOW).count, 1);
	assert_int_equal(list(f, false, NOW + DAY).count, 2);
	read = begin(f->store);
	assert_done(ops->approval_by_id(read, first, take_approval, &l, &why));
	ops->read_end(read);
	assert_int_equal(l.count, 1);
	assert_string_equal(l.first.decided_by, BOB);
	assert_int_equal(l.first.decided_s, NOW + 2);
	assert_int_equal(l.first.state, APPROVAL_USED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(state_of_a_stolen_asset_needs_a_second_operator),
		STORE_TEST(approval_is_never_the_requesters_own),
		STORE_TEST(approval_is_not_the_requesters_own_by_a_long_name_either),
		STORE_TEST(approval_refused_carries_nothing_out),
		STORE_TEST(approval_expires),
		STORE_TEST(approval_is_of_the_move_that_was_asked_for),
		STORE_TEST(approval_does_not_outlive_the_state_it_was_asked_in),
		STORE_TEST(approval_is_not_asked_for_where_none_is_needed),
		STORE_TEST(import_of_many_waits_for_a_second_operator),
		STORE_TEST(import_of_few_or_on_trial_waits_for_nobody),
		STORE_TEST(import_approved_is_those_very_records_and_options),
		STORE_TEST(import_that_would_fail_is_told_before_anybody_is_asked),
		STORE_TEST(import_approval_tells_what_it_is_about),
		STORE_TEST(approval_list_has_the_open_ones_on_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
