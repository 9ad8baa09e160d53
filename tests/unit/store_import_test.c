#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"

static void
import_ok(struct fixture *f, const struct import_record *at, size_t count, struct import_summary *sum)
{
	struct err e = {0};

	if (import_records(f->store, at, count, false, sum, &e) != 0)
		fail_msg("import: %s", e.text);
}

/* The import fails, says text, and has changed nothing. */
static void
import_bad(struct fixture *f, const struct import_record *at, size_t count, const char *text)
{
	int64_t rows = verify(f->store).rows, assets = fixture_number(f, "SELECT count(*) FROM asset"),
		versions = fixture_number(f, "SELECT ifnull(sum(version), 0) FROM asset");
	struct import_summary sum;
	struct err e = {0};

	assert_int_equal(import_records(f->store, at, count, false, &sum, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
	if (strstr(e.text, text) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", e.text, text);
	assert_int_equal(verify(f->store).rows, rows);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM asset"), assets);
	assert_int_equal(fixture_number(f, "SELECT ifnull(sum(version), 0) FROM asset"), versions);
	assert_int_equal(sum.added, 0);
}

static void
set_state(struct fixture *f, const char *tag, enum asset_state to)
{
	struct err e = {0};

	if (ops->asset_set_state(f->store, tag, to, "", "operator:eve", NOW, NULL, &e) != 0)
		fail_msg("set_state: %s", e.text);
}

static void
set_text(char *out, size_t size, const char *text)
{
	(void)snprintf(out, size, "%s", text);
}

static void
import_adds_updates_and_leaves_unchanged(void **state)
{
	struct fixture *f = *state;
	struct import_record r[] = {record_of("rtr-1"), record_of("rtr-2"), record_of("rtr-3")};
	struct import_summary sum;

	import_ok(f, r, 2, &sum);
	assert_int_equal(sum.added, 2);
	assert_int_equal(sum.owners_added, 1);
	import_ok(f, r, 2, &sum);
	assert_int_equal(sum.unchanged, 2);
	assert_int_equal(get_asset(f->store, "rtr-1").version, 1);
	set_text(r[1].asset.site, sizeof r[1].asset.site, "Berlin");
	import_ok(f, r, 3, &sum);
	assert_int_equal(sum.added, 1);
	assert_int_equal(sum.updated, 1);
	assert_int_equal(sum.unchanged, 1);
	assert_int_equal(sum.owners_added, 0);
	assert_int_equal(get_asset(f->store, "rtr-2").version, 2);
	assert_string_equal(get_asset(f->store, "rtr-2").site, "Berlin");
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE action = 'import'"), 3);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE subject = 'assets.csv'"
					   " AND detail_json ->> 'added' = 1 AND detail_json ->> 'unchanged' = 1"), 1);
}

static void
import_keeps_every_field(void **state)
{
	struct fixture *f = *state;
	struct import_record r = record_of("rtr-1");
	struct import_summary sum;
	struct asset got;

	set_text(r.asset.model, sizeof r.asset.model, "M1");
	set_text(r.asset.class_name, sizeof r.asset.class_name, "router");
	set_text(r.asset.site, sizeof r.asset.site, "Z\xc3\xbcrich");
	set_text(r.asset.hostname, sizeof r.asset.hostname, "r1.example");
	set_text(r.asset.source, sizeof r.asset.source, "cmdb");
	memset(r.asset.source_key, 'k', sizeof r.asset.source_key - 1); /* as long as it can be */
	r.asset.holding = HOLDING_LEASED;
	r.asset.tier = 3;
	r.asset.state = ASSET_DEPLOYED;
	import_ok(f, &r, 1, &sum);
	got = get_asset(f->store, "rtr-1");
	r.asset.id = got.id;
	r.asset.owner_id = got.owner_id;
	r.asset.version = 1;
	r.asset.created_s = r.asset.state_since_s = NOW;
	assert_memory_equal(&got.id, &r.asset.id, sizeof got.id);
	assert_string_equal(got.manufacturer, "Acme");
	assert_string_equal(got.model, "M1");
	assert_string_equal(got.serial, "SN-rtr-1");
	assert_string_equal(got.class_name, "router");
	assert_string_equal(got.site, "Z\xc3\xbcrich");
	assert_string_equal(got.hostname, "r1.example");
	assert_string_equal(got.source, "cmdb");
	assert_string_equal(got.source_key, r.asset.source_key);
	assert_int_equal(got.holding, HOLDING_LEASED);
	assert_int_equal(got.tier, 3);
	assert_int_equal(got.state, ASSET_DEPLOYED);
	assert_int_equal(got.state_since_s, NOW);
	assert_int_equal(got.created_s, NOW);
}

static void
import_of_a_dry_run_counts_and_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct import_record r[] = {record_of("rtr-1"), record_of("rtr-2")};
	struct import_summary sum;
	struct err e;

	assert_int_equal(import_records(f->store, r, 2, true, &sum, &e), 0);
	assert_int_equal(sum.added, 2);
	assert_int_equal(sum.owners_added, 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM asset"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM owner"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit"), 0);
	memcpy(&r[1], &r[0], sizeof r[0]);
	r[1].asset.tier = 2;
	assert_int_equal(import_records(f->store, r, 2, true, &sum, &e), -1);
}

static void
import_is_all_or_nothing_and_names_the_line(void **state)
{
	struct fixture *f = *state;
	struct import_record r[] = {record_of("rtr-1"), record_of("rtr-2")};

	r[1].anchors[0] = r[0].anchors[0];
	import_bad(f, r, 2, "line 2");
	import_bad(f, r, 2, "anchor idevid_serial:acme:rtr-1 of asset rtr-2 belongs to rtr-1");
}

static int
failing_next(void *arg, struct import_record *out, struct err *e)
{
	int *calls = arg;

	if (++*calls == 3)
		return err_set(e, ERR_MALFORMED, "line 3, column tier: not a number");
	*out = record_of(*calls == 1 ? "rtr-1" : "rtr-2");
	return 1;
}

static void
import_is_undone_when_its_source_fails(void **state)
{
	struct fixture *f = *state;
	int calls = 0;
	struct import_job job = {.next = failing_next, .arg = &calls, .actor = "operator:t", .source = "s",
		.now_s = NOW, .create_owners = true};
	struct import_summary sum;
	struct err e;

	assert_int_equal(ops->import(f->store, &job, &sum, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_string_equal(e.text, "line 3, column tier: not a number");
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM asset"), 0);
}

static void
import_refuses_an_unknown_owner_unless_told_to_create(void **state)
{
	struct fixture *f = *state;
	struct import_record r = record_of("rtr-1");
	struct records records = {&r, 1, 0};
	struct import_job job = {.next = records_next, .arg = &records, .actor = "operator:t", .source = "s",
		.now_s = NOW};
	struct import_summary sum;
	struct err e;

	assert_int_equal(ops->import(f->store, &job, &sum, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
	assert_string_equal(e.text, "line 1: there is no owner Net Ops; --create-owners adds those that are missing");
}

static void
import_finds_an_asset_by_its_source_key_and_renames_it(void **state)
{
	struct fixture *f = *state;
	struct import_record r = record_of("rtr-1"), other = record_of("rtr-2");
	struct import_summary sum;

	set_text(r.asset.source_key, sizeof r.asset.source_key, "4711");
	import_ok(f, &r, 1, &sum);
	set_text(r.asset.tag, sizeof r.asset.tag, "core-1");
	import_ok(f, &r, 1, &sum);
	assert_int_equal(sum.updated, 1);
	assert_int_equal(get_asset(f->store, "core-1").id, 1);
	import_ok(f, &other, 1, &sum);
	set_text(other.asset.source_key, sizeof other.asset.source_key, "4711");
	import_bad(f, &other, 1, "source assets.csv, key 4711 is asset core-1, not rtr-2");
}

static bool
list_anchor(void *arg, const struct anchor *row)
{
	char *text = arg;

	(void)snprintf(text + strlen(text), 64 - strlen(text), "%s=%s ", row->issuer, row->value);
	return true;
}

static void
expect_anchors(struct fixture *f, int64_t id, const char *expected)
{
	struct store_read *read = begin(f->store);
	char text[64] = "";
	struct err e;

	assert_int_equal(ops->anchor_list(read, id, list_anchor, text, &e), 0);
	assert_string_equal(text, expected);
	ops->read_end(read);
}

static void
import_replaces_anchors_when_a_record_names_any(void **state)
{
	struct fixture *f = *state;
	struct import_record r = record_of("rtr-1");
	struct import_summary sum;

	r.anchor_count = 3;
	r.anchors[1] = r.anchors[2] = r.anchors[0]; /* said twice is said once */
	set_text(r.anchors[2].value, sizeof r.anchors[2].value, "second");
	import_ok(f, &r, 1, &sum);
	expect_anchors(f, 1, "acme=rtr-1 acme=second ");
	import_ok(f, &r, 1, &sum);
	assert_int_equal(sum.unchanged, 1);
	r.anchor_count = 0;
	import_ok(f, &r, 1, &sum);
	assert_int_equal(sum.unchanged, 1);
	expect_anchors(f, 1, "acme=rtr-1 acme=second ");
	r.anchor_count = 2; /* the same one twice, and the other no more */
	import_ok(f, &r, 1, &sum);
	assert_int_equal(sum.updated, 1);
	expect_anchors(f, 1, "acme=rtr-1 ");
	r.anchor_count = 1;
	set_text(r.anchors[0].value, sizeof r.anchors[0].value, "third");
	import_ok(f, &r, 1, &sum);
	assert_int_equal(sum.updated, 1);
	expect_anchors(f, 1, "acme=third ");
	assert_int_equal(get_asset(f->store, "rtr-1").version, 3);
}

static void
import_moves_states_by_the_rules_and_does_what_they_say_on_entry(void **state)
{
	struct fixture *f = *state;
	struct import_record r = record_of("rtr-1");
	struct asset asset = add_asset(f->store, "rtr-1");
	struct import_summary sum;
	struct sample s;

	sample_fill(&s, &asset, 1, REQUEST_ISSUED);
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	r.asset.state = ASSET_DECOMMISSIONED; /* a default, not said by the line */
	import_ok(f, &r, 1, &sum);
	assert_int_equal(sum.unchanged, 1);
	r.has_state = true;
	r.asset.state = ASSET_ORDERED;
	import_bad(f, &r, 1, "asset rtr-1");
	r.asset.state = ASSET_DECOMMISSIONED;
	import_ok(f, &r, 1, &sum);
	assert_int_equal(sum.updated, 1);
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_DECOMMISSIONED);
	assert_int_equal(get_cert(f->store, 1).status, CERT_REVOKED);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM transition"), 1);
}

static void
import_never_moves_an_asset_out_of_a_locked_state(void **state)
{
	static const enum asset_state locked[] = {ASSET_LOST, ASSET_STOLEN, ASSET_QUARANTINED, ASSET_DECOMMISSIONED};
	struct fixture *f = *state;
	char tag[16];

	for (size_t i = 0; i < sizeof locked / sizeof locked[0]; i++) {
		struct import_record r;
		struct import_summary sum;

		(void)snprintf(tag, sizeof tag, "rtr-%zu", i);
		(void)add_asset(f->store, tag);
		set_state(f, tag, locked[i]);
		r = record_of(tag);
		r.has_state = true;
		import_bad(f, &r, 1, asset_state_name(locked[i]));
		r.asset.state = ASSET_DISPOSED;
		import_bad(f, &r, 1, asset_state_name(locked[i]));
		r.asset.state = locked[i];
		import_ok(f, &r, 1, &sum);
		assert_int_equal(sum.unchanged, 1);
		set_text(r.asset.site, sizeof r.asset.site, "store room");
		import_ok(f, &r, 1, &sum);
		assert_int_equal(sum.updated, 1);
	}
}

static void
import_never_brings_a_tombstone_back_under_another_name(void **state)
{
	struct fixture *f = *state;
	struct import_record r = record_of("rtr-1"), again = record_of("rtr-1");

	set_text(r.asset.source_key, sizeof r.asset.source_key, "1");
	import_ok(f, &r, 1, &(struct import_summary){0});
	set_state(f, "rtr-1", ASSET_DECOMMISSIONED);
	set_text(again.asset.tag, sizeof again.asset.tag, "new-1");
	import_bad(f, &again, 1, "serial SN-rtr-1 of asset new-1 is that of rtr-1, which is decommissioned");
	set_text(again.asset.serial, sizeof again.asset.serial, "another");
	import_bad(f, &again, 1, "belongs to rtr-1");
	/* Nor by renaming it, giving it another serial, or taking its anchors away. */
	set_text(again.asset.source_key, sizeof again.asset.source_key, "1");
	import_bad(f, &again, 1, "keeps its tag");
	again = r;
	set_text(again.asset.serial, sizeof again.asset.serial, "another");
	import_bad(f, &again, 1, "keeps its tag");
	again = r;
	set_text(again.anchors[0].value, sizeof again.anchors[0].value, "another");
	import_bad(f, &again, 1, "keeps its anchors");
}

static void
import_knows_a_tombstones_serial_in_any_spelling_of_its_manufacturer(void **state)
{
	static const char *const spellings[] = {"ACME", "acme", ""};
	struct fixture *f = *state;
	struct import_record r;

	(void)add_asset(f->store, "rtr-1");
	set_state(f, "rtr-1", ASSET_DECOMMISSIONED);
	for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
		r = record_of("new-1");
		set_text(r.asset.manufacturer, sizeof r.asset.manufacturer, spellings[i]);
		set_text(r.asset.serial, sizeof r.asset.serial, "sn-RTR-1");
		import_bad(f, &r, 1, "is that of rtr-1, which is decommissioned");
	}
	/* Serials are unique only per manufacturer. */
	set_text(r.asset.manufacturer, sizeof r.asset.manufacturer, "Emca");
	import_ok(f, &r, 1, &(struct import_summary){0});
}

static void
import_gives_a_locked_asset_no_other_owner(void **state)
{
	struct fixture *f = *state;
	struct import_record r = record_of("rtr-1");

	import_ok(f, &r, 1, &(struct import_summary){0});
	set_text(r.owner, sizeof r.owner, "Somebody Else");
	set_state(f, "rtr-1", ASSET_QUARANTINED);
	import_bad(f, &r, 1, "and owner");
	set_state(f, "rtr-1", ASSET_STAGED);
	import_ok(f, &r, 1, &(struct import_summary){0});
}

static void
import_audits_each_asset_whose_rights_it_changes(void **state)
{
	struct fixture *f = *state;
	struct import_record r = record_of("rtr-1");
	int64_t rows;

	import_ok(f, &r, 1, &(struct import_summary){0});
	rows = verify(f->store).rows;
	set_text(r.asset.hostname, sizeof r.asset.hostname, "r1"); /* not worth a row of its own */
	import_ok(f, &r, 1, &(struct import_summary){0});
	assert_int_equal(verify(f->store).rows, rows + 1);
	set_text(r.owner, sizeof r.owner, "Lab \"7\"");
	set_text(r.anchors[0].value, sizeof r.anchors[0].value, "another");
	r.has_state = true;
	r.asset.state = ASSET_DEPLOYED;
	import_ok(f, &r, 1, &(struct import_summary){0});
	assert_int_equal(verify(f->store).rows, rows + 3);
	assert_int_equal(verify(f->store).bad_seq, 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE action = 'asset.import'"
		" AND actor = 'operator:test' AND subject = 'rtr-1'"
		" AND detail_json ->> 'from' = 'staged' AND detail_json ->> 'to' = 'deployed'"
		" AND detail_json ->> 'new_owner' = 'Lab \"7\"' AND detail_json ->> 'anchors_replaced' = 1"
		" AND detail_json ->> 'line' = 1"), 1);
}

static void
import_refuses_lines_that_contradict_each_other(void **state)
{
	struct fixture *f = *state;
	struct import_record r[] = {record_of("rtr-1"), record_of("rtr-1")};
	struct import_summary sum;

	r[1].asset.tier = 2;
	import_bad(f, r, 2, "line 2: asset rtr-1 stands differently in an earlier line");
	r[1].asset.tier = 0;
	import_ok(f, r, 2, &sum);
	assert_int_equal(sum.added, 1);
	assert_int_equal(sum.unchanged, 1);
}

static void
note_progress(void *arg, int64_t done)
{
	struct records *records = arg;

	assert_true(done >= 0 && done <= (int64_t)records->count);
	if (done == (int64_t)records->count)
		records->next = SIZE_MAX; /* seen */
}

static void
import_of_many_tells_its_progress(void **state)
{
	enum { MANY = 3000 };
	struct fixture *f = *state;
	struct import_record *r = calloc(MANY, sizeof *r);
	struct records records = {r, MANY, 0};
	struct import_job job = {.next = records_next, .progress = note_progress, .arg = &records, .actor = "o",
		.source = "s", .now_s = NOW, .create_owners = true};
	struct import_summary sum;
	struct err e;
	char tag[16];

	assert_non_null(r);
	for (unsigned i = 0; i < MANY; i++) {
		(void)snprintf(tag, sizeof tag, "dev-%u", i);
		r[i] = record_of(tag);
	}
	assert_int_equal(ops->import(f->store, &job, &sum, &e), 0);
	assert_int_equal(sum.added, MANY);
	assert_true(records.next == SIZE_MAX);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM anchor"), MANY);
	free(r);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(import_adds_updates_and_leaves_unchanged),
		STORE_TEST(import_keeps_every_field),
		STORE_TEST(import_of_a_dry_run_counts_and_leaves_nothing),
		STORE_TEST(import_is_all_or_nothing_and_names_the_line),
		STORE_TEST(import_is_undone_when_its_source_fails),
		STORE_TEST(import_refuses_an_unknown_owner_unless_told_to_create),
		STORE_TEST(import_finds_an_asset_by_its_source_key_and_renames_it),
		STORE_TEST(import_replaces_anchors_when_a_record_names_any),
		STORE_TEST(import_moves_states_by_the_rules_and_does_what_they_say_on_entry),
		STORE_TEST(import_never_moves_an_asset_out_of_a_locked_state),
		STORE_TEST(import_knows_a_tombstones_serial_in_any_spelling_of_its_manufacturer),
		STORE_TEST(import_gives_a_locked_asset_no_other_owner),
		STORE_TEST(import_audits_each_asset_whose_rights_it_changes),
		STORE_TEST(import_never_brings_a_tombstone_back_under_another_name),
		STORE_TEST(import_refuses_lines_that_contradict_each_other),
		STORE_TEST(import_of_many_tells_its_progress),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
