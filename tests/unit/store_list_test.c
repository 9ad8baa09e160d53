#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"

/* Ids in the order they came, as text; stops after a given one. */
struct seen {
	char text[96];
	int64_t stop_at;
};

static bool
note(struct seen *seen, int64_t id)
{
	size_t n = strlen(seen->text);

	(void)snprintf(seen->text + n, sizeof seen->text - n, "%lld ", (long long)id);
	return id != seen->stop_at;
}

static bool
note_asset(void *arg, const struct asset_summary *row)
{
	return note(arg, row->asset.id);
}

static bool
note_cert(void *arg, const struct cert_row *row)
{
	return note(arg, row->id);
}

static bool
note_request(void *arg, const struct request_row *row)
{
	return note(arg, row->id);
}

static bool
note_decision(void *arg, const struct decision_row *row)
{
	assert_string_equal(row->rules_json, "[{\"rule\":\"asset.state\"}]");
	assert_string_equal(row->policy_version, "v1");
	return note(arg, row->id);
}

/* Assets 1 to 4 of two owners, 3 and 4 deployed; certificates 1 to 4, of 1, 1, 2, 3; a denied and a pending request of 3. */
static void
fill(struct fixture *f)
{
	static const unsigned owner_of_cert[] = {0, 0, 1, 2};
	struct import_record r[4];
	struct import_summary sum;
	struct asset asset;
	struct sample s;
	struct err e;
	char tag[24];

	for (unsigned i = 0; i < 4; i++) {
		(void)snprintf(tag, sizeof tag, "rtr-%u", i + 1);
		r[i] = record_of(tag);
		r[i].asset.state = i < 2 ? ASSET_STAGED : ASSET_DEPLOYED;
		(void)snprintf(r[i].owner, sizeof r[i].owner, "%s", i % 2 == 0 ? "even" : "odd");
	}
	assert_int_equal(import_records(f->store, r, 4, false, &sum, &e), 0);
	for (unsigned i = 0; i < 4; i++) {
		asset = get_asset(f->store, r[owner_of_cert[i]].asset.tag);
		sample_fill(&s, &asset, i + 1, REQUEST_ISSUED);
		s.o.not_after_s = NOW + 100 * (4 - (int)i);
		(void)record_as(f->store, &s.o, STORE_RECORDED);
	}
	sample_fill(&s, &asset, 5, REQUEST_DENIED);
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	sample_fill(&s, &asset, 6, REQUEST_PENDING);
	(void)record_as(f->store, &s.o, STORE_RECORDED);
}

static void
expect_assets(struct fixture *f, struct asset_filter filter, int64_t stop_at, const char *expected)
{
	struct seen seen = {.stop_at = stop_at};
	struct store_read *read = begin(f->store);
	struct err e = {0};

	if (ops->asset_list(read, &filter, NOW, note_asset, &seen, &e) != 0)
		fail_msg("%s", e.text);
	ops->read_end(read);
	assert_string_equal(seen.text, expected);
}

static void
list_of_assets_filters_and_pages(void **state)
{
	struct fixture *f = *state;

	fill(f);
	expect_assets(f, (struct asset_filter){.state = -1}, 0, "1 2 3 4 ");
	expect_assets(f, (struct asset_filter){.state = -1}, 2, "1 2 ");
	expect_assets(f, (struct asset_filter){.state = -1, .limit = 2}, 0, "1 2 ");
	expect_assets(f, (struct asset_filter){.state = -1, .limit = 2, .after_id = 2}, 0, "3 4 ");
	expect_assets(f, (struct asset_filter){.state = -1, .tag = "rtr-3"}, 0, "3 ");
	expect_assets(f, (struct asset_filter){.state = ASSET_STAGED, .tag = "rtr-3"}, 0, "");
	expect_assets(f, (struct asset_filter){.state = -1, .owner = "odd"}, 0, "2 4 ");
	expect_assets(f, (struct asset_filter){.state = ASSET_DEPLOYED}, 0, "3 4 ");
	expect_assets(f, (struct asset_filter){.state = ASSET_DEPLOYED, .owner = "odd"}, 0, "4 ");
}

struct summaries {
	struct asset_summary rows[4];
	int count;
};

static bool
keep_summary(void *arg, const struct asset_summary *row)
{
	struct summaries *s = arg;

	s->rows[s->count++] = *row;
	return true;
}

static void
list_of_assets_counts_certificates_that_are_good_now(void **state)
{
	struct fixture *f = *state;
	struct asset_filter filter = {.state = -1};
	struct summaries s = {.count = 0};
	struct store_read *read;
	struct err e;

	fill(f);
	read = begin(f->store);
	assert_int_equal(ops->asset_list(read, &filter, NOW, keep_summary, &s, &e), 0);
	assert_int_equal(s.rows[0].certs_valid, 2);
	assert_int_equal(s.rows[0].next_expiry_s, NOW + 400);
	assert_string_equal(s.rows[0].owner, "even");
	assert_int_equal(s.rows[3].certs_valid, 0);
	assert_int_equal(s.rows[3].next_expiry_s, 0);
	ops->read_end(read);
	assert_int_equal(ops->cert_revoke(f->store, 1, "x", "o", NOW, &e), 0);
	read = begin(f->store);
	s.count = 0;
	assert_int_equal(ops->asset_list(read, &filter, NOW + 200, keep_summary, &s, &e), 0);
	ops->read_end(read);
	assert_int_equal(s.rows[0].certs_valid, 1);
	assert_int_equal(s.rows[0].next_expiry_s, NOW + 300);
	assert_int_equal(s.rows[1].certs_valid, 0); /* expired by then */
}

static void
expect_certs(struct fixture *f, struct cert_filter filter, const char *expected)
{
	struct seen seen = {.stop_at = 0};
	struct store_read *read = begin(f->store);
	struct err e = {0};

	if (ops->cert_list(read, &filter, note_cert, &seen, &e) != 0)
		fail_msg("%s", e.text);
	ops->read_end(read);
	assert_string_equal(seen.text, expected);
}

static void
list_of_certificates_filters_and_pages(void **state)
{
	struct fixture *f = *state;
	struct err e;

	fill(f);
	assert_int_equal(ops->cert_revoke(f->store, 2, "x", "o", NOW, &e), 0);
	expect_certs(f, (struct cert_filter){.status = -1}, "1 2 3 4 ");
	expect_certs(f, (struct cert_filter){.status = -1, .after_id = 1, .limit = 2}, "2 3 ");
	expect_certs(f, (struct cert_filter){.status = -1, .asset_tag = "rtr-1"}, "1 2 ");
	expect_certs(f, (struct cert_filter){.status = -1, .asset_tag = "rtr-1", .after_id = 1}, "2 ");
	expect_certs(f, (struct cert_filter){.status = CERT_VALID, .asset_tag = "rtr-1"}, "1 ");
	expect_certs(f, (struct cert_filter){.status = -1, .serial = "0100000003"}, "3 ");
	expect_certs(f, (struct cert_filter){.status = CERT_REVOKED}, "2 ");
	expect_certs(f, (struct cert_filter){.status = CERT_REVOKED, .after_id = 2}, "");
	expect_certs(f, (struct cert_filter){.status = CERT_HELD}, "");
	expect_certs(f, (struct cert_filter){.status = -1, .expires_before_s = NOW + 300}, "3 4 ");
	expect_certs(f, (struct cert_filter){.status = -1, .expires_before_s = NOW + 401, .limit = 2}, "1 2 ");
	expect_certs(f, (struct cert_filter){.status = CERT_REVOKED, .expires_before_s = NOW + 300}, "");
}

static void
list_of_certificates_begins_at_the_newest_when_asked(void **state)
{
	struct fixture *f = *state;
	struct err e;

	fill(f);
	expect_certs(f, (struct cert_filter){.status = -1, .newest = true}, "4 3 2 1 ");
	expect_certs(f, (struct cert_filter){.status = -1, .newest = true, .limit = 1}, "4 ");
	expect_certs(f, (struct cert_filter){.status = -1, .newest = true, .after_id = 2}, "4 3 ");
	expect_certs(f, (struct cert_filter){.status = -1, .newest = true, .asset_tag = "rtr-1"}, "2 1 ");
	expect_certs(f, (struct cert_filter){.status = -1, .newest = true, .asset_tag = "rtr-1", .limit = 1}, "2 ");
	expect_certs(f, (struct cert_filter){.status = -1, .newest = true, .expires_before_s = NOW + 301}, "4 3 2 ");
	expect_certs(f, (struct cert_filter){.status = -1, .newest = true, .serial = "0100000003"}, "3 ");
	for (int64_t id = 1; id < 3; id++)
		assert_int_equal(ops->cert_revoke(f->store, id, "x", "o", NOW, &e), 0);
	expect_certs(f, (struct cert_filter){.status = CERT_REVOKED, .newest = true}, "2 1 ");
	expect_certs(f, (struct cert_filter){.status = CERT_VALID, .newest = true, .asset_tag = "rtr-1"}, "");
}

/* What a revocation list is made of: one CA's, revoked, and not yet ended. */
static void
list_of_certificates_is_of_one_ca_and_of_those_not_ended(void **state)
{
	struct fixture *f = *state;
	struct asset asset;
	struct sample s;
	struct err e;

	fill(f);
	asset = get_asset(f->store, "rtr-4");
	sample_fill(&s, &asset, 7, REQUEST_ISSUED);
	s.o.ca = "second";
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	expect_certs(f, (struct cert_filter){.status = -1, .ca = "second"}, "5 ");
	expect_certs(f, (struct cert_filter){.status = -1, .ca = "issuing"}, "1 2 3 4 ");
	expect_certs(f, (struct cert_filter){.status = -1, .ca = "third"}, "");
	expect_certs(f, (struct cert_filter){.status = -1, .ca = "second", .serial = "0100000003"}, "");
	expect_certs(f, (struct cert_filter){.status = -1, .expires_after_s = NOW + 300}, "1 2 5 ");
	expect_certs(f, (struct cert_filter){.status = -1, .expires_after_s = NOW + 301, .expires_before_s = NOW + 401},
		"1 ");
	for (int64_t id = 1; id < 6; id += 2)
		assert_int_equal(ops->cert_revoke(f->store, id, "x", "o", NOW, &e), 0);
	expect_certs(f, (struct cert_filter){.status = CERT_REVOKED, .ca = "issuing"}, "1 3 ");
	expect_certs(f, (struct cert_filter){.status = CERT_REVOKED, .ca = "issuing", .expires_after_s = NOW + 300},
		"1 ");
}

static void
expect_requests(struct fixture *f, struct request_filter filter, const char *expected)
{
	struct seen seen = {.stop_at = 0};
	struct store_read *read = begin(f->store);
	struct err e = {0};

	if (ops->request_list(read, &filter, note_request, &seen, &e) != 0)
		fail_msg("%s", e.text);
	ops->read_end(read);
	assert_string_equal(seen.text, expected);
}

static void
list_of_requests_filters_and_pages(void **state)
{
	struct fixture *f = *state;

	fill(f);
	expect_requests(f, (struct request_filter){.state = -1}, "1 2 3 4 5 6 ");
	expect_requests(f, (struct request_filter){.state = -1, .limit = 1, .after_id = 4}, "5 ");
	expect_requests(f, (struct request_filter){.state = REQUEST_ISSUED}, "1 2 3 4 ");
	expect_requests(f, (struct request_filter){.state = REQUEST_PENDING}, "6 ");
	expect_requests(f, (struct request_filter){.state = REQUEST_PENDING, .after_id = 6}, "");
	expect_requests(f, (struct request_filter){.state = -1, .asset_tag = "rtr-3"}, "4 5 6 ");
	expect_requests(f, (struct request_filter){.state = REQUEST_DENIED, .asset_tag = "rtr-3"}, "5 ");
}

static void
list_of_decisions_is_of_a_request_or_of_an_asset(void **state)
{
	struct fixture *f = *state;
	struct seen seen = {.stop_at = 0};
	struct store_read *read;
	struct sample s;
	struct err e;
	struct asset asset;

	fill(f);
	asset = get_asset(f->store, "rtr-3");
	sample_fill(&s, &asset, 5, REQUEST_DENIED);
	s.o.request_id = 5;
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	read = begin(f->store);
	assert_int_equal(ops->decision_list(read, 5, 0, 0, note_decision, &seen, &e), 0);
	assert_string_equal(seen.text, "7 5 ");
	seen.text[0] = '\0';
	assert_int_equal(ops->decision_list(read, 0, asset.id, 3, note_decision, &seen, &e), 0);
	assert_string_equal(seen.text, "7 6 5 ");
	seen.text[0] = '\0';
	assert_int_equal(ops->decision_by_id(read, 2, note_decision, &seen, &e), 0);
	assert_int_equal(ops->decision_by_id(read, 99, note_decision, &seen, &e), 0);
	assert_string_equal(seen.text, "2 ");
	ops->read_end(read);
}

struct nested {
	struct store_read *read;
	struct err e;
	int same, lookup;
};

static bool
list_again(void *arg, const struct asset_summary *row)
{
	struct nested *n = arg;
	struct asset_filter filter = {.state = -1};
	struct seen seen = {.stop_at = 0};
	struct asset asset;
	struct owner owner;

	n->same = ops->asset_list(n->read, &filter, NOW, note_asset, &seen, &n->e);
	n->lookup = ops->asset_by_id(n->read, row->asset.id, &asset, &owner, &(struct err){0});
	return true;
}

static void
list_may_look_up_in_its_callback_but_not_list_the_same(void **state)
{
	struct fixture *f = *state;
	struct asset_filter filter = {.state = -1};
	struct nested n = {.read = begin(f->store)};
	struct err e;

	ops->read_end(n.read);
	fill(f);
	n.read = begin(f->store);
	assert_int_equal(ops->asset_list(n.read, &filter, NOW, list_again, &n, &e), 0);
	assert_int_equal(n.same, -1);
	assert_int_equal(n.e.code, ERR_BUG);
	assert_int_equal(n.lookup, 1);
	ops->read_end(n.read);
}

static void
list_gives_no_blob_and_no_row_for_an_unknown_id(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf) struct buf der = {0};
	struct store_read *read = begin(f->store);
	struct request_row request;
	struct cert_row cert;
	struct err e;

	assert_int_equal(ops->cert_by_id(read, 1, &cert, &e), 0);
	assert_int_equal(ops->cert_der(read, 1, &der, &e), 0);
	assert_int_equal(ops->request_by_id(read, 1, &request, &der, &e), 0);
	assert_int_equal(der.len, 0);
	ops->read_end(read);
	ops->read_end(NULL);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(list_of_assets_filters_and_pages),
		STORE_TEST(list_of_assets_counts_certificates_that_are_good_now),
		STORE_TEST(list_of_certificates_filters_and_pages),
		STORE_TEST(list_of_certificates_begins_at_the_newest_when_asked),
		STORE_TEST(list_of_certificates_is_of_one_ca_and_of_those_not_ended),
		STORE_TEST(list_of_requests_filters_and_pages),
		STORE_TEST(list_of_decisions_is_of_a_request_or_of_an_asset),
		STORE_TEST(list_may_look_up_in_its_callback_but_not_list_the_same),
		STORE_TEST(list_gives_no_blob_and_no_row_for_an_unknown_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
