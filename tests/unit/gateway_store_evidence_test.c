#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"
#include "tests/unit/store_ownership_fixture.h"

static const uint8_t nonce_a[32] = {1}, nonce_b[32] = {2};
static const uint8_t key_a[32] = {0xa}, key_b[32] = {0xb};

static void
with_nonce(struct sample *s, const struct asset *asset, unsigned number, enum request_state to, const uint8_t *nonce)
{
	sample_fill(s, asset, number, to);
	s->o.nonce_sha256 = nonce;
	s->o.nonce_expires_s = NOW + 300;
}

static int64_t
nonce_holder(struct fixture *f, const uint8_t nonce[32])
{
	struct store_read *read = begin(f->store);
	struct err e = {0};
	int64_t id = 0;
	int rc = ops->nonce_request(read, nonce, &id, &e);

	ops->read_end(read);
	assert_int_not_equal(rc, -1);
	assert_int_equal(rc, id != 0);
	return id;
}

static void
nonce_is_good_for_one_request(void **state)
{
	struct fixture *f = *state;
	struct asset one = add_asset(f->store, "rtr-1"), two = add_asset(f->store, "rtr-2");
	struct sample s;
	int64_t id;

	with_nonce(&s, &one, 1, REQUEST_DENIED, nonce_a);
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	assert_int_equal(nonce_holder(f, nonce_a), 0);
	with_nonce(&s, &one, 2, REQUEST_PENDING, nonce_a);
	id = record_as(f->store, &s.o, STORE_RECORDED);
	assert_int_equal(nonce_holder(f, nonce_a), id);
	with_nonce(&s, &one, 3, REQUEST_ISSUED, nonce_a);
	(void)record_as(f->store, &s.o, STORE_SPENT);
	with_nonce(&s, &two, 4, REQUEST_PENDING, nonce_a);
	(void)record_as(f->store, &s.o, STORE_SPENT);
	with_nonce(&s, &two, 4, REQUEST_PENDING, nonce_b);
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	/* The one that has it goes on with it. */
	with_nonce(&s, &one, 2, REQUEST_ISSUED, nonce_a);
	s.o.request_id = id;
	assert_int_equal(record_as(f->store, &s.o, STORE_RECORDED), id);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), 1);
}

static void
nonce_goes_once_it_proves_nothing(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	uint8_t nonces[7][32] = {{0}};
	struct sample s;

	for (unsigned i = 0; i < 7; i++) {
		nonces[i][5] = (uint8_t)(i + 1);
		with_nonce(&s, &asset, i, REQUEST_PENDING, nonces[i]);
		(void)record_as(f->store, &s.o, STORE_RECORDED);
	}
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM nonce"), 7);
	with_nonce(&s, &asset, 8, REQUEST_PENDING, nonce_a);
	s.o.now_s = NOW + 300;
	s.o.nonce_expires_s = NOW + 600;
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM nonce"), 8);
	with_nonce(&s, &asset, 9, REQUEST_PENDING, nonce_b);
	s.o.now_s = NOW + 301;
	s.o.nonce_expires_s = NOW + 601;
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM nonce"), 5);
	assert_int_not_equal(nonce_holder(f, nonce_a), 0);
}

static void
attestation_is_kept_with_its_request(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	CLEANUP(buf) struct buf out = {0};
	struct store_read *read;
	struct sample s;
	struct err e;
	int64_t plain, id;

	sample_fill(&s, &asset, 1, REQUEST_ISSUED);
	plain = record_as(f->store, &s.o, STORE_RECORDED);
	sample_fill(&s, &asset, 2, REQUEST_PENDING);
	s.o.attestation_json = "{\"tpm\":1}";
	id = record_as(f->store, &s.o, STORE_RECORDED);
	assert_false(get_request(f->store, plain).attested);
	assert_true(get_request(f->store, id).attested);
	/* A poll without evidence leaves it, one with some renews it. */
	s.o.request_id = id;
	s.o.attestation_json = "";
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	assert_true(get_request(f->store, id).attested);
	s.o.attestation_json = "{\"tpm\":2}";
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	read = begin(f->store);
	assert_int_equal(ops->request_attestation(read, plain, &out, &e), 0);
	assert_int_equal(ops->request_attestation(read, id, &out, &e), 1);
	ops->read_end(read);
	assert_string_equal(buf_text(&out), "{\"tpm\":2}");
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM request_attestation"), 1);
}

static void
attestation_has_a_limit(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	size_t size = (256 << 10) + 2;
	char *json = test_malloc(size);
	enum store_recorded what;
	struct err e = {0};
	struct sample s;
	int64_t id;

	memset(json, '1', size);
	json[size - 1] = '\0';
	sample_fill(&s, &asset, 1, REQUEST_PENDING);
	s.o.attestation_json = json;
	assert_int_equal(ops->record(f->store, &s.o, &what, &id, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	json[size - 2] = '\0';
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	test_free(json);
}

static struct anchor
anchor_of(const char *tag)
{
	return record_of(tag).anchors[0];
}

/* Which of the keys above the anchor came with: 'a', 'b', or '-'. */
static int
known_key(struct fixture *f, const char *tag)
{
	struct anchor anchor = anchor_of(tag);
	struct store_read *read = begin(f->store);
	uint8_t spki[32] = {0};
	struct err e = {0};
	int rc = ops->anchor_key(read, &anchor, spki, &e);

	ops->read_end(read);
	assert_int_not_equal(rc, -1);
	if (rc == 0)
		return '-';
	return memcmp(spki, key_a, 32) == 0 ? 'a' : memcmp(spki, key_b, 32) == 0 ? 'b' : '?';
}

static enum store_recorded
come_with(struct fixture *f, const struct asset *asset, const struct anchor *anchor, const uint8_t *key,
	unsigned number, enum request_state to)
{
	enum store_recorded what = STORE_RECORDED;
	struct sample s;
	int64_t id;

	sample_fill(&s, asset, number, to);
	s.o.anchor = anchor;
	s.o.anchor_spki = key;
	assert_done(ops->record(f->store, &s.o, &what, &id, &why));
	return what;
}

static void
anchor_remembers_the_key_it_came_with_first(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1"), before;
	struct anchor anchor = anchor_of("rtr-1");

	assert_int_equal(known_key(f, "rtr-1"), '-');
	assert_int_equal(come_with(f, &asset, &anchor, key_a, 1, REQUEST_DENIED), STORE_RECORDED);
	assert_int_equal(known_key(f, "rtr-1"), '-');
	assert_int_equal(come_with(f, &asset, &anchor, key_a, 2, REQUEST_ISSUED), STORE_RECORDED);
	assert_int_equal(known_key(f, "rtr-1"), 'a');
	/* Decided at the same moment with another key, when none was known: decided again. */
	assert_int_equal(come_with(f, &asset, &anchor, key_b, 3, REQUEST_ISSUED), STORE_STALE);
	before = get_asset(f->store, "rtr-1");
	assert_int_equal(come_with(f, &before, &anchor, key_b, 3, REQUEST_ISSUED), STORE_RECORDED);
	assert_int_equal(known_key(f, "rtr-1"), 'a');
	assert_int_equal(get_asset(f->store, "rtr-1").version, before.version);
}

/* An intent before a CA is asked, and the certificate after it, rest on one judgement. */
static void
anchor_remembers_the_key_of_a_request_that_waits(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct anchor anchor = anchor_of("rtr-1");
	struct sample s;

	assert_int_equal(come_with(f, &asset, &anchor, key_a, 1, REQUEST_PENDING), STORE_RECORDED);
	assert_int_equal(known_key(f, "rtr-1"), 'a');
	sample_fill(&s, &asset, 1, REQUEST_ISSUED);
	s.o.request_id = 1;
	s.o.anchor = &anchor;
	s.o.anchor_spki = key_a;
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	assert_int_equal(get_asset(f->store, "rtr-1").version, asset.version);
}

static void
anchor_of_another_asset_remembers_nothing(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct anchor other = anchor_of("rtr-2");

	(void)add_asset(f->store, "rtr-2");
	assert_int_equal(come_with(f, &asset, &other, key_a, 1, REQUEST_ISSUED), STORE_RECORDED);
	assert_int_equal(known_key(f, "rtr-2"), '-');
}

static void
anchor_forgets_its_key_by_an_operators_word(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct anchor anchor = anchor_of("rtr-1");

	assert_int_equal(come_with(f, &asset, &anchor, key_a, 1, REQUEST_PENDING), STORE_RECORDED);
	assert_done(ops->anchor_forget_key(f->store, "rtr-1", "new board", EVE, NOW, &why));
	assert_int_equal(known_key(f, "rtr-1"), '-');
	asset = get_asset(f->store, "rtr-1");
	assert_int_equal(come_with(f, &asset, &anchor, key_b, 2, REQUEST_ISSUED), STORE_RECORDED);
	assert_int_equal(known_key(f, "rtr-1"), 'b');
	assert_denied(ops->anchor_forget_key(f->store, "rtr-9", "", EVE, NOW, &why), "no asset");
	assert_int_equal(audits(f, "anchor.key_forgotten"), 1);
}

static void
import_of_more_anchors_keeps_what_the_old_ones_came_with(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct import_record record = record_of("rtr-1");
	struct anchor anchor = anchor_of("rtr-1");
	struct import_summary sum;

	assert_int_equal(come_with(f, &asset, &anchor, key_a, 1, REQUEST_ISSUED), STORE_RECORDED);
	record.anchors[1] = record.anchors[0];
	record.anchors[1].type = ANCHOR_HW_MODULE;
	record.anchor_count = 2;
	assert_done(import_records(f->store, &record, 1, false, &sum, &why));
	assert_int_equal(known_key(f, "rtr-1"), 'a');
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM anchor"), 2);
	record.anchors[0] = record.anchors[1];
	record.anchor_count = 1;
	assert_done(import_records(f->store, &record, 1, false, &sum, &why));
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM anchor"), 1);
	assert_int_equal(known_key(f, "rtr-1"), '-');
}

#define EK "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static struct asset
add_with_ek(struct fixture *f, const char *tag, const char *ek)
{
	struct import_record record = record_of(tag);
	struct import_summary sum;

	record.anchors[0].type = ANCHOR_EK_PUB_SHA256;
	(void)snprintf(record.anchors[0].issuer, sizeof record.anchors[0].issuer, "%s", "tpm");
	(void)snprintf(record.anchors[0].value, sizeof record.anchors[0].value, "%s", ek);
	assert_done(import_records(f->store, &record, 1, false, &sum, &why));
	return get_asset(f->store, tag);
}

static struct ak_row
ak_of(const uint8_t *key, int64_t asset_id)
{
	struct ak_row row = {.attester = "tpm", .ek_sha256 = EK, .asset_id = asset_id, .bound_s = NOW, .expires_s = NOW + DAY};

	memcpy(row.spki_sha256, key, 32);
	return row;
}

/* The asset that the key is bound to; 0: none. */
static int64_t
bound_to(struct fixture *f, const uint8_t *key, int64_t now_s)
{
	struct store_read *read = begin(f->store);
	struct ak_row row = {0};
	struct err e = {0};
	int rc = ops->ak_find(read, key, "tpm", now_s, &row, &e);

	ops->read_end(read);
	assert_int_not_equal(rc, -1);
	return rc == 1 ? row.asset_id : 0;
}

#define BIND(row, at) ops->ak_bind(f->store, &(row), "enrolld", (at), &why)

static void
ak_is_bound_to_the_asset_that_has_the_endorsement_key(void **state)
{
	struct fixture *f = *state;
	struct asset one = add_with_ek(f, "lap-1", EK), two = add_asset(f->store, "lap-2");
	struct ak_row row = ak_of(key_a, two.id);
	struct offboard_report report;

	assert_denied(BIND(row, NOW), "no such endorsement key");
	row.asset_id = one.id;
	assert_done(BIND(row, NOW));
	assert_int_equal(bound_to(f, key_a, NOW), one.id);
	assert_int_equal(bound_to(f, key_b, NOW), 0);
	assert_int_equal(bound_to(f, key_a, NOW + DAY), 0);
	assert_int_equal(audits(f, "ak.bound"), 1);
	/* The same answer once more changes nothing and is nothing to tell; a later one does. */
	row.expires_s = NOW + 2 * DAY;
	assert_done(BIND(row, NOW));
	assert_int_equal(bound_to(f, key_a, NOW + DAY), 0);
	assert_int_equal(audits(f, "ak.bound"), 1);
	row.bound_s = NOW + 1;
	assert_done(BIND(row, NOW + 1));
	assert_int_equal(audits(f, "ak.bound"), 2);
	assert_int_equal(bound_to(f, key_a, NOW + DAY), one.id);
	sweep_all(f, NOW + 2 * DAY, &report);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM ak"), 0);
}

/* Each attester has roots of its own: what a laxer one took is nothing to the others. */
static void
ak_is_bound_under_one_attester(void **state)
{
	struct fixture *f = *state;
	struct asset one = add_with_ek(f, "lap-1", EK);
	struct ak_row row = ak_of(key_a, one.id);
	struct import_record record = record_of("lap-1");
	struct import_summary sum;

	(void)snprintf(row.attester, sizeof row.attester, "%s", "lab");
	assert_denied(BIND(row, NOW), "no such endorsement key");
	record.anchor_count = 2;
	record.anchors[0] = (struct anchor){.type = ANCHOR_EK_PUB_SHA256, .issuer = "tpm", .value = EK};
	record.anchors[1] = (struct anchor){.type = ANCHOR_EK_PUB_SHA256, .issuer = "lab", .value = EK};
	assert_done(import_records(f->store, &record, 1, false, &sum, &why));
	assert_done(BIND(row, NOW));
	assert_int_equal(bound_to(f, key_a, NOW), 0);
	(void)snprintf(row.attester, sizeof row.attester, "%s", "tpm");
	assert_done(BIND(row, NOW));
	assert_int_equal(bound_to(f, key_a, NOW), one.id);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM ak"), 2);
}

/* Somebody with a TPM of their own must not take over the key of another device. */
static void
ak_that_is_bound_is_not_another_assets(void **state)
{
	static const char other_ek[] = "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
	struct fixture *f = *state;
	struct asset one = add_with_ek(f, "lap-1", EK), two = add_with_ek(f, "lap-2", other_ek);
	struct ak_row row = ak_of(key_a, one.id), theirs = ak_of(key_a, two.id);

	memcpy(theirs.ek_sha256, other_ek, sizeof other_ek);
	assert_done(BIND(row, NOW));
	assert_denied(BIND(theirs, NOW), "another asset");
	assert_int_equal(bound_to(f, key_a, NOW), one.id);
	theirs.expires_s += DAY;
	assert_done(BIND(theirs, NOW + DAY));
	assert_int_equal(bound_to(f, key_a, NOW + DAY), two.id);
}

static void
ak_is_worth_nothing_once_the_endorsement_key_is_elsewhere(void **state)
{
	struct fixture *f = *state;
	struct asset one = add_with_ek(f, "lap-1", EK), two;
	struct ak_row row = ak_of(key_a, one.id);

	assert_done(BIND(row, NOW));
	(void)add_asset(f->store, "lap-1");
	assert_int_equal(bound_to(f, key_a, NOW), 0);
	two = add_with_ek(f, "lap-2", EK);
	assert_int_equal(bound_to(f, key_a, NOW), 0);
	row.asset_id = two.id;
	assert_done(BIND(row, NOW));
	assert_int_equal(bound_to(f, key_a, NOW), two.id);
}

static void
policy_text_is_kept_as_it_was_first_put(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf) struct buf out = {0};
	struct store_read *read;
	char version[66];
	struct err e;

	assert_done(ops->policy_put(f->store, "v1", "rules {}", NOW, &why));
	assert_done(ops->policy_put(f->store, "v1", "other", NOW, &why));
	read = begin(f->store);
	assert_int_equal(ops->policy_text(read, "v2", &out, &e), 0);
	assert_int_equal(ops->policy_text(read, "v1", &out, &e), 1);
	ops->read_end(read);
	assert_string_equal(buf_text(&out), "rules {}");
	assert_int_equal(audits(f, "policy.kept"), 1);
	memset(version, 'v', sizeof version);
	version[65] = '\0';
	assert_int_equal(ops->policy_put(f->store, version, "", NOW, &e), -1);
	assert_int_equal(e.code, ERR_BUG);
	version[64] = '\0';
	assert_done(ops->policy_put(f->store, version, "", NOW, &why));
}

static int
quarantine(struct fixture *f, int64_t id)
{
	struct err e = {0};

	return ops->asset_quarantine(f->store, id, "two places at once", NOW, &e);
}

static void
quarantine_holds_what_a_clone_has(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct sample s;

	(void)issue(f, "rtr-1", 1);
	assert_int_equal(quarantine(f, asset.id), 1);
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_QUARANTINED);
	assert_int_equal(get_cert(f->store, 1).status, CERT_HELD);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE action = 'asset.quarantined'"
		" AND actor = 'enrolld'"), 1);
	sample_fill(&s, &asset, 2, REQUEST_ISSUED);
	(void)record_as(f->store, &s.o, STORE_STALE);
	assert_int_equal(quarantine(f, asset.id), 0);
	assert_int_equal(audits(f, "asset.not_quarantined"), 1);
	assert_int_equal(quarantine(f, 99), -1);
}

static void
quarantine_follows_the_table_of_states(void **state)
{
	struct fixture *f = *state;
	struct import_record record = record_of("rtr-1");
	struct import_summary sum;

	record.asset.state = ASSET_ORDERED;
	assert_done(import_records(f->store, &record, 1, false, &sum, &why));
	assert_int_equal(quarantine(f, get_asset(f->store, "rtr-1").id), 0);
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_ORDERED);
}

/* From quarantine one operator could bring it back into use. */
static void
quarantine_is_no_way_out_of_lost_or_stolen(void **state)
{
	struct fixture *f = *state;
	struct asset one = add_asset(f->store, "rtr-1"), two = add_asset(f->store, "rtr-2");

	set_state(f, "rtr-1", ASSET_STOLEN);
	set_state(f, "rtr-2", ASSET_LOST);
	assert_int_equal(quarantine(f, one.id), 0);
	assert_int_equal(quarantine(f, two.id), 0);
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_STOLEN);
	assert_int_equal(get_asset(f->store, "rtr-2").state, ASSET_LOST);
	assert_int_equal(audits(f, "asset.not_quarantined"), 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(nonce_is_good_for_one_request),
		STORE_TEST(nonce_goes_once_it_proves_nothing),
		STORE_TEST(attestation_is_kept_with_its_request),
		STORE_TEST(attestation_has_a_limit),
		STORE_TEST(anchor_remembers_the_key_it_came_with_first),
		STORE_TEST(anchor_remembers_the_key_of_a_request_that_waits),
		STORE_TEST(anchor_of_another_asset_remembers_nothing),
		STORE_TEST(anchor_forgets_its_key_by_an_operators_word),
		STORE_TEST(import_of_more_anchors_keeps_what_the_old_ones_came_with),
		STORE_TEST(ak_is_bound_to_the_asset_that_has_the_endorsement_key),
		STORE_TEST(ak_is_bound_under_one_attester),
		STORE_TEST(ak_that_is_bound_is_not_another_assets),
		STORE_TEST(ak_is_worth_nothing_once_the_endorsement_key_is_elsewhere),
		STORE_TEST(policy_text_is_kept_as_it_was_first_put),
		STORE_TEST(quarantine_holds_what_a_clone_has),
		STORE_TEST(quarantine_follows_the_table_of_states),
		STORE_TEST(quarantine_is_no_way_out_of_lost_or_stolen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
