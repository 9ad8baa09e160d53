/* Which CA certificates devices were given, and how far a group of CAs is, as the store keeps and counts it. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"

#define DAY 86400

static struct err why;

/* A digest that is nothing but this octet. */
static void
digest_of(uint8_t octet, uint8_t out[32])
{
	memset(out, octet, 32);
}

/* A bundle whose digest and certificates are octets. */
static int
enter(struct fixture *f, const char *ca, uint8_t sha256, const char *certs)
{
	uint8_t digests[ROLLOVER_CERTS_MAX + 1][32];
	struct rollover_bundle bundle = {.ca = ca, .certs = (const uint8_t(*)[32])digests, .cert_count = strlen(certs)};

	digest_of(sha256, bundle.sha256);
	for (size_t i = 0; i < bundle.cert_count && i < sizeof digests / sizeof digests[0]; i++)
		digest_of((uint8_t)certs[i], digests[i]);
	return ops->rollover->enter(f->store, &bundle, 1, NOW, &why);
}

static int
give(struct fixture *f, const struct asset *asset, const char *ca, uint8_t sha256, int64_t now_s, bool *recorded)
{
	struct rollover_given given = {.asset_id = asset->id, .ca = ca, .how = 1, .now_s = now_s};

	digest_of(sha256, given.sha256);
	return ops->rollover->give(f->store, &given, recorded, &why);
}

static void
given(struct fixture *f, const struct asset *asset, const char *ca, uint8_t sha256, int64_t now_s)
{
	bool recorded = false;

	if (give(f, asset, ca, sha256, now_s, &recorded) != 0)
		fail_msg("%s", why.text);
	assert_true(recorded);
}

static int
has(struct fixture *f, const struct asset *asset, const char *ca, uint8_t sha256)
{
	struct store_read *read = begin(f->store);
	uint8_t digest[32];
	int result;

	digest_of(sha256, digest);
	result = ops->rollover->has(read, asset->id, ca, digest, &why);
	ops->read_end(read);
	return result;
}

static void
rollover_enters_each_bundle_once_and_tells_the_audit(void **state)
{
	struct fixture *f = *state;
	int64_t before = verify(f->store).rows;

	assert_int_equal(enter(f, "old", 1, "aba"), 0);
	assert_int_equal(enter(f, "old", 1, "aba"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM bundle"), 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM bundle_cert"), 2);
	assert_int_equal(verify(f->store).rows, before + 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE action = 'ca.certificates' AND subject = 'old'"), 1);
	assert_int_equal(enter(f, "new", 1, "aba"), 0);
	assert_int_equal(enter(f, "old", 2, "b"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM bundle"), 3);
	assert_int_equal(verify(f->store).bad_seq, 0);
}

static void
rollover_refuses_a_bundle_of_too_many_certificates(void **state)
{
	struct fixture *f = *state;
	char certs[ROLLOVER_CERTS_MAX + 2];

	for (size_t i = 0; i < sizeof certs; i++)
		certs[i] = (char)(i + 1);
	certs[ROLLOVER_CERTS_MAX] = '\0';
	assert_int_equal(enter(f, "old", 1, certs), 0);
	certs[ROLLOVER_CERTS_MAX] = '~';
	certs[ROLLOVER_CERTS_MAX + 1] = '\0';
	assert_int_equal(enter(f, "old", 2, certs), -1);
	assert_int_equal(why.code, ERR_LIMIT);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM bundle"), 1);
}

static void
rollover_keeps_the_latest_bundle_of_an_asset_for_each_ca(void **state)
{
	struct fixture *f = *state;
	struct asset one = add_asset(f->store, "rtr-1"), two = add_asset(f->store, "rtr-2");

	assert_int_equal(enter(f, "old", 1, "a"), 0);
	assert_int_equal(enter(f, "old", 2, "ab"), 0);
	assert_int_equal(enter(f, "new", 3, "ab"), 0);
	assert_int_equal(has(f, &one, "old", 1), 0);
	given(f, &one, "old", 1, NOW);
	given(f, &one, "new", 3, NOW + 5);
	assert_int_equal(has(f, &one, "old", 1), 1);
	assert_int_equal(has(f, &one, "old", 2), 0);
	assert_int_equal(has(f, &one, "new", 3), 1);
	assert_int_equal(has(f, &one, "new", 1), 0);
	assert_int_equal(has(f, &two, "old", 1), 0);
	given(f, &one, "old", 2, NOW + 9);
	assert_int_equal(has(f, &one, "old", 1), 0);
	assert_int_equal(has(f, &one, "old", 2), 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM trust_seen"), 2);
	assert_int_equal(fixture_number(f, "SELECT at_s FROM trust_seen WHERE ca = 'old'"), NOW + 9);
	assert_int_equal(fixture_number(f, "SELECT how FROM trust_seen WHERE ca = 'old'"), 1);
}

/* What a device has is known since it first got it, however often it asks; and a fetch is no row of the audit. */
static void
rollover_records_the_same_bundle_once(void **state)
{
	struct fixture *f = *state;
	struct asset one = add_asset(f->store, "rtr-1");
	int64_t before;
	bool recorded = true;

	assert_int_equal(enter(f, "old", 1, "a"), 0);
	before = verify(f->store).rows;
	given(f, &one, "old", 1, NOW);
	assert_int_equal(give(f, &one, "old", 1, NOW + 9, &recorded), 0);
	assert_false(recorded);
	assert_int_equal(fixture_number(f, "SELECT at_s FROM trust_seen"), NOW);
	assert_int_equal(verify(f->store).rows, before);
}

static void
rollover_refuses_a_bundle_that_was_never_entered(void **state)
{
	struct fixture *f = *state;
	struct asset one = add_asset(f->store, "rtr-1");
	bool recorded = false;

	assert_int_equal(enter(f, "old", 1, "a"), 0);
	assert_int_equal(give(f, &one, "old", 2, NOW, &recorded), -1);
	assert_int_equal(why.code, ERR_DENIED);
	assert_int_equal(give(f, &one, "new", 1, NOW, &recorded), -1);
	assert_int_equal(why.code, ERR_DENIED);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM trust_seen"), 0);
}

/* The certificates as text, by the CA that was asked for: "new:a new:b old:a ". */
static bool
append_known(void *arg, const struct rollover_known *row)
{
	char *text = arg, piece[ROLLOVER_NAME_MAX + 16];

	(void)snprintf(piece, sizeof piece, "%s:%c@%d ", row->ca, row->cert_sha256[31], (int)(row->at_s - NOW));
	strcat(text, piece);
	return strlen(text) < 60;
}

static void
rollover_tells_the_certificates_that_an_asset_has(void **state)
{
	struct fixture *f = *state;
	struct asset one = add_asset(f->store, "rtr-1"), two = add_asset(f->store, "rtr-2");
	struct store_read *read;
	char text[80] = "";

	assert_int_equal(enter(f, "old", 1, "a"), 0);
	assert_int_equal(enter(f, "new", 3, "ba"), 0);
	given(f, &one, "old", 1, NOW + 1);
	given(f, &one, "new", 3, NOW + 2);
	given(f, &two, "old", 1, NOW + 3);
	read = begin(f->store);
	assert_int_equal(ops->rollover->known(read, one.id, append_known, text, &why), 0);
	ops->read_end(read);
	assert_string_equal(text, "new:a@2 new:b@2 old:a@1 ");
}

static unsigned numbers;

/* A certificate of this asset; its id. */
static int64_t
issue(struct fixture *f, const char *tag, const char *label, const char *ca, int64_t not_after_s)
{
	struct asset asset = get_asset(f->store, tag);
	struct sample s;

	sample_fill(&s, &asset, ++numbers, REQUEST_ISSUED);
	s.o.label = label;
	s.o.ca = ca;
	s.o.not_after_s = not_after_s;
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	return fixture_number(f, "SELECT max(id) FROM certificate");
}

static void
take_back(struct fixture *f, int64_t id)
{
	assert_int_equal(ops->cert_revoke(f->store, id, "lost", "operator:test", NOW, &why), 0);
}

static void
count(struct fixture *f, struct rollover_generation *at, size_t n, int64_t *devices)
{
	struct store_read *read = begin(f->store);

	for (size_t i = 0; i < n; i++)
		at[i].certificates = at[i].devices = at[i].know = at[i].last_end_s = 99; /* whatever it was */
	if (ops->rollover->count(read, at, n, NOW, devices, &why) != 0)
		fail_msg("%s", why.text);
	ops->read_end(read);
}

static void
rollover_counts_what_is_valid_and_who_knows_it(void **state)
{
	struct fixture *f = *state;
	struct rollover_generation at[3] = {{.ca = "old"}, {.ca = "new"}, {.ca = "idle"}};
	struct asset one = add_asset(f->store, "rtr-1"), two = add_asset(f->store, "rtr-2"), three = add_asset(f->store, "rtr-3");
	struct asset stranger = add_asset(f->store, "rtr-4");
	int64_t devices = -1;

	digest_of('a', at[0].top);
	digest_of('b', at[1].top);
	digest_of('c', at[2].top);
	(void)issue(f, "rtr-1", "routers", "old", NOW + 10 * DAY);
	(void)issue(f, "rtr-1", "lab", "old", NOW + 20 * DAY);
	(void)issue(f, "rtr-1", "routers", "new", NOW + 40 * DAY);
	(void)issue(f, "rtr-2", "routers", "old", NOW + 30 * DAY);
	take_back(f, issue(f, "rtr-2", "routers", "old", NOW + 99 * DAY));
	(void)issue(f, "rtr-3", "routers", "old", NOW); /* it has just ended */
	(void)issue(f, "rtr-4", "routers", "elsewhere", NOW + 99 * DAY);
	assert_int_equal(enter(f, "old", 1, "a"), 0);
	assert_int_equal(enter(f, "old", 2, "ab"), 0);
	assert_int_equal(enter(f, "new", 3, "ab"), 0);
	given(f, &one, "old", 2, NOW);
	given(f, &one, "new", 3, NOW); /* twice the same device */
	given(f, &two, "old", 1, NOW);
	given(f, &three, "old", 2, NOW); /* nothing of it is valid */
	given(f, &stranger, "new", 3, NOW); /* nor of the group */
	count(f, at, 3, &devices);
	assert_int_equal(devices, 2);
	assert_int_equal(at[0].certificates, 3);
	assert_int_equal(at[0].devices, 2);
	assert_int_equal(at[0].know, 2);
	assert_int_equal(at[0].last_end_s, NOW + 99 * DAY); /* until then a list has to say that it is revoked */
	assert_int_equal(at[1].certificates, 1);
	assert_int_equal(at[1].devices, 1);
	assert_int_equal(at[1].know, 1);
	assert_int_equal(at[1].last_end_s, NOW + 40 * DAY);
	assert_int_equal(at[2].certificates + at[2].devices + at[2].know + at[2].last_end_s, 0);
}

static void
rollover_counts_no_more_generations_than_it_has_room_for(void **state)
{
	struct fixture *f = *state;
	struct rollover_generation at[ROLLOVER_GENERATIONS_MAX + 1];
	struct store_read *read = begin(f->store);
	int64_t devices;

	memset(at, 0, sizeof at);
	for (size_t i = 0; i <= ROLLOVER_GENERATIONS_MAX; i++)
		at[i].ca = "ca";
	assert_int_equal(ops->rollover->count(read, at, ROLLOVER_GENERATIONS_MAX, NOW, &devices, &why), 0);
	assert_int_equal(ops->rollover->count(read, at, ROLLOVER_GENERATIONS_MAX + 1, NOW, &devices, &why), -1);
	assert_int_equal(why.code, ERR_LIMIT);
	ops->read_end(read);
}

struct listed {
	char text[400]; /* "rtr-1/label " ... */
	struct rollover_behind last;
};

static bool
append_behind(void *arg, const struct rollover_behind *row)
{
	struct listed *l = arg;
	char piece[200];

	(void)snprintf(piece, sizeof piece, "%.60s/%.60s ", row->asset_tag, row->label);
	strcat(l->text, piece);
	l->last = *row;
	return true;
}

/* Those behind that have certificates of "old", with 'b' as what follows; the list as text. */
static struct listed
behind(struct fixture *f, const char *ca, int64_t after_id, int limit)
{
	struct rollover_late late[2] = {{.ca = "older"}, {.ca = ca}};
	struct rollover_behind_filter filter = {.late = late, .late_count = 2, .after_id = after_id, .limit = limit,
		.now_s = NOW};
	struct store_read *read = begin(f->store);
	struct listed listed = {.text = ""};

	digest_of('b', late[0].newest);
	digest_of('b', late[1].newest);
	if (ops->rollover->behind(read, &filter, append_behind, &listed, &why) != 0)
		fail_msg("%s", why.text);
	ops->read_end(read);
	return listed;
}

static void
rollover_lists_whose_newest_certificate_is_behind_the_most_urgent_first(void **state)
{
	struct fixture *f = *state;
	struct listed l;
	int64_t id;

	for (int i = 1; i <= 6; i++) {
		char tag[16];

		(void)snprintf(tag, sizeof tag, "rtr-%d", i);
		(void)add_asset(f->store, tag);
	}
	(void)issue(f, "rtr-1", "routers", "old", NOW + 20 * DAY);
	id = issue(f, "rtr-2", "routers", "older", NOW + 10 * DAY);
	(void)issue(f, "rtr-3", "routers", "old", NOW + 5 * DAY); /* renewed by now */
	(void)issue(f, "rtr-3", "routers", "new", NOW + 50 * DAY);
	(void)issue(f, "rtr-3", "lab", "old", NOW + 30 * DAY);   /* but not at this label */
	(void)issue(f, "rtr-4", "routers", "old", NOW - DAY);     /* it has ended */
	take_back(f, issue(f, "rtr-5", "routers", "old", NOW + 7 * DAY));
	(void)issue(f, "rtr-6", "routers", "new", NOW + 8 * DAY);
	l = behind(f, "old", 0, 0);
	assert_string_equal(l.text, "rtr-2/routers rtr-1/routers rtr-3/lab ");
	assert_string_equal(l.last.owner, "Net Ops");
	assert_string_equal(l.last.ca, "old");
	assert_int_equal(l.last.not_after_s, NOW + 30 * DAY);
	assert_int_equal(strlen(l.last.serial), 10);
	/* In pages, also behind one that has left the list meanwhile. */
	l = behind(f, "old", 0, 1);
	assert_string_equal(l.text, "rtr-2/routers ");
	assert_int_equal(l.last.id, id);
	take_back(f, id);
	l = behind(f, "old", id, 1);
	assert_string_equal(l.text, "rtr-1/routers ");
	assert_string_equal(behind(f, "old", l.last.id, 0).text, "rtr-3/lab ");
	assert_string_equal(behind(f, "nobody's", 0, 0).text, "");
	/* The renewal comes to nothing: the older certificate is in use again. */
	take_back(f, fixture_number(f, "SELECT id FROM certificate WHERE ca = 'new' AND not_after_s = 1800000000 + 50 * 86400"));
	assert_string_equal(behind(f, "old", 0, 0).text, "rtr-3/routers rtr-1/routers rtr-3/lab ");
}

static void
rollover_pages_through_certificates_that_end_together(void **state)
{
	struct fixture *f = *state;
	int64_t after = 0;

	for (int i = 1; i <= 3; i++) {
		char tag[16], expected[32];

		(void)snprintf(tag, sizeof tag, "rtr-%d", i);
		(void)add_asset(f->store, tag);
		(void)issue(f, tag, "routers", "old", NOW + DAY);
		(void)snprintf(expected, sizeof expected, "%s/routers ", tag);
		assert_string_equal(behind(f, "old", after, 1).text, expected);
		after = behind(f, "old", after, 1).last.id;
	}
	assert_string_equal(behind(f, "old", after, 1).text, "");
}

static void
rollover_tells_since_when_one_that_is_behind_knows_what_follows(void **state)
{
	struct fixture *f = *state;
	struct asset one = add_asset(f->store, "rtr-1");

	(void)issue(f, "rtr-1", "routers", "old", NOW + 20 * DAY);
	assert_int_equal(enter(f, "old", 1, "a"), 0);
	assert_int_equal(enter(f, "old", 2, "ab"), 0);
	assert_int_equal(behind(f, "old", 0, 0).last.knows_s, 0);
	given(f, &one, "old", 1, NOW + 3);
	assert_int_equal(behind(f, "old", 0, 0).last.knows_s, 0);
	given(f, &one, "old", 2, NOW + 4);
	assert_int_equal(behind(f, "old", 0, 0).last.knows_s, NOW + 4);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(rollover_enters_each_bundle_once_and_tells_the_audit),
		STORE_TEST(rollover_refuses_a_bundle_of_too_many_certificates),
		STORE_TEST(rollover_keeps_the_latest_bundle_of_an_asset_for_each_ca),
		STORE_TEST(rollover_records_the_same_bundle_once),
		STORE_TEST(rollover_refuses_a_bundle_that_was_never_entered),
		STORE_TEST(rollover_tells_the_certificates_that_an_asset_has),
		STORE_TEST(rollover_counts_what_is_valid_and_who_knows_it),
		STORE_TEST(rollover_counts_no_more_generations_than_it_has_room_for),
		STORE_TEST(rollover_lists_whose_newest_certificate_is_behind_the_most_urgent_first),
		STORE_TEST(rollover_pages_through_certificates_that_end_together),
		STORE_TEST(rollover_tells_since_when_one_that_is_behind_knows_what_follows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
