/* Who has fetched the CA certificates, which generation a CA is, and what operators see of both. */
#define _GNU_SOURCE
#include "tests/unit/core_admin_fixture.h"

#include <sys/stat.h>

#include "gateway/core/metrics.h"
#include "gateway/core/rollover.h"

/* %s: the default label's CA, and that of the label "late". "new" is of another root. */
static const char rollover_conf[] =
	"listen = { https = [ \"127.0.0.1:0\" ]; };\n"
	"tls = { certificate = \"tls/server.pem\"; key = \"tls/server.key\"; };\n"
	"store = { path = \"registry.db\"; };\n"
	"cas = ( { name = \"old\"; group = \"fleet\"; certificate = \"ca/issuing.pem\"; key = \"ca/issuing.key\";\n"
	"          chain = [ \"ca/root.pem\" ]; },\n"
	"        { name = \"new\"; group = \"fleet\"; %scertificate = \"ca/new.pem\"; key = \"ca/new.key\"; },\n"
	"        { name = \"alone\"; certificate = \"ca/alone.pem\"; key = \"ca/alone.key\"; },\n"
	"        { name = \"apart\"; certificate = \"ca/apart.pem\"; key = \"ca/apart.key\"; } );\n"
	"trust = ( { name = \"acme\"; files = [ \"trust/acme.pem\" ]; } );\n"
	"identity = ( { name = \"acme-serial\"; trust = \"acme\"; field = \"subject_serial\"; } );\n"
	"profiles = ( { name = \"device\"; csr_names = \"ignore\"; lifetime = \"90d\"; renewal_window = \"90d\"; } );\n"
	"labels = ( { name = \"\"; profile = \"device\"; ca = \"%s\"; auth = [ \"certificate\", \"own\" ]; trust = [ \"acme\" ]; },\n"
	"           { name = \"late\"; profile = \"device\"; ca = \"%s\"; auth = [ \"certificate\", \"own\" ]; trust = [ \"acme\" ]; } );\n";
#define SUCCEEDS "succeeds = \"old\"; "

static void
write_ca(const struct rig *r, const char *name)
{
	struct ca_make make = { .common_name = name, .organisation = "Test", .path_len = -1, .not_before_s = NOW - 10 * DAY,
		.not_after_s = NOW + 3000 * DAY };
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen("P-256");
	CLEANUP(X509) X509 *cert = NULL;
	char path[160];
	struct err e;
	FILE *out;

	make.key = make.issuer_key = key;
	assert_int_equal(ca_make_certificate(&make, &cert, &e), 0);
	(void)snprintf(path, sizeof path, "%s/ca/%s.pem", r->dir, name);
	out = fopen(path, "w");
	assert_non_null(out);
	assert_int_equal(PEM_write_X509(out, cert), 1);
	assert_int_equal(fclose(out), 0);
	(void)snprintf(path, sizeof path, "%s/ca/%s.key", r->dir, name);
	out = fopen(path, "w");
	assert_non_null(out);
	assert_int_equal(fchmod(fileno(out), 0600), 0);
	assert_int_equal(PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(out), 0);
}

/* As a reload does it. */
static void
load(struct rig *r, const char *succeeds, const char *ca, const char *late)
{
	char text[sizeof rollover_conf + 100];
	struct err e = { 0 };

	(void)snprintf(text, sizeof text, rollover_conf, succeeds, ca, late);
	rig_load(r, text);
	rig_label(r, "");
	if (world_enter(&r->gateway, r->world, NOW, &e) != 0)
		fail_msg("%s", e.text);
}

static int
rollover_setup(void **state)
{
	struct rig *r;

	if (rig_setup(state) != 0)
		return -1;
	r = *state;
	write_ca(r, "new");
	write_ca(r, "alone");
	write_ca(r, "apart");
	load(r, "", "old", "old");
	return 0;
}

static int64_t
writes(const struct rig *r)
{
	struct store_stats stats;

	store_sqlite.stats(r->gateway.store, &stats);
	return stats.writes;
}

static void
fetch(struct rig *r, enum rollover_fetch what, X509 *cert, int64_t now_s)
{
	rollover_fetched(&r->gateway, r->world, r->request.label, what, cert, now_s);
}

static long long
fetches(const char *how, const char *known)
{
	CLEANUP(buf) struct buf out = { 0 };
	char name[128];
	const char *at;

	metrics_render(&out);
	(void)snprintf(name, sizeof name, "\nenrolld_ca_certificates_fetched_total{how=\"%s\",known=\"%s\"} ", how, known);
	at = strstr(buf_text(&out), name);
	return at == NULL ? 0 : atoll(at + strlen(name));
}

static void
a_device_that_proves_itself_is_remembered_with_what_it_fetched(void **state)
{
	struct rig *r = *state;
	CLEANUP(X509) X509 *own = rig_own(r);
	long long before = fetches("cacerts", "yes");

	fetch(r, FETCH_CACERTS, own, NOW + 5);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM trust_seen"), 1);
	assert_int_equal(rig_number(r, "SELECT asset_id FROM trust_seen WHERE ca = 'old'"), rig_asset_id(r, "rtr-1"));
	assert_int_equal(rig_number(r, "SELECT at_s FROM trust_seen WHERE how = 0"), NOW + 5);
	/* The chain, and the other CA of the group. */
	assert_int_equal(rig_number(r, "SELECT count(*) FROM trust_seen s JOIN bundle_cert c ON c.bundle_id = s.bundle_id"), 3);
	assert_int_equal(fetches("cacerts", "yes"), before + 1);
}

static int gives;

static int
count_write(struct store *store, const struct rollover_given *given, bool *recorded, struct err *e)
{
	gives++;
	return rollover_sqlite.give(store, given, recorded, e);
}

/* Whoever fetches again and again costs no disk anything, and the one who writes no time. */
static void
the_same_again_writes_nothing(void **state)
{
	struct rig *r = *state;
	struct rollover_ops counting = rollover_sqlite;
	CLEANUP(X509) X509 *own = rig_own(r);
	int64_t before;
	int i;

	counting.give = count_write;
	r->ops.rollover = &counting;
	gives = 0;
	fetch(r, FETCH_CACERTS, own, NOW);
	assert_int_equal(gives, 1);
	before = writes(r);
	for (i = 0; i < 20; i++)
		fetch(r, i % 2 == 0 ? FETCH_CACERTS : FETCH_CRTS, own, NOW + i);
	assert_int_equal(gives, 1);
	assert_int_equal(writes(r), before);
	assert_int_equal(rig_number(r, "SELECT at_s FROM trust_seen"), NOW);
}

static void
certificates_that_are_new_are_remembered_anew(void **state)
{
	struct rig *r = *state;
	CLEANUP(X509) X509 *own = rig_own(r);

	fetch(r, FETCH_CACERTS, own, NOW);
	load(r, "", "old", "old");
	fetch(r, FETCH_CACERTS, own, NOW + 1);
	assert_int_equal(rig_number(r, "SELECT at_s FROM trust_seen"), NOW);
	write_ca(r, "new");
	load(r, "", "old", "old");
	fetch(r, FETCH_CRTS, own, NOW + 2);
	assert_int_equal(rig_number(r, "SELECT at_s FROM trust_seen WHERE how = 1"), NOW + 2);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM trust_seen"), 1);
}

static void
nobody_we_know_is_counted_alone(void **state)
{
	struct rig *r = *state;
	CLEANUP(X509) X509 *own = rig_own(r);
	long long no = fetches("cacerts", "no"), yes = fetches("cacerts", "yes");
	int64_t before;

	rig_revoke(r, 1);
	before = writes(r);
	fetch(r, FETCH_CACERTS, NULL, NOW);
	fetch(r, FETCH_CACERTS, r->idevid, NOW); /* a manufacturer's: whose device it is, is for enrollment to find out */
	fetch(r, FETCH_CACERTS, own, NOW);       /* revoked */
	assert_int_equal(rig_number(r, "SELECT count(*) FROM trust_seen"), 0);
	assert_int_equal(writes(r), before);
	assert_int_equal(fetches("cacerts", "no"), no + 3);
	assert_int_equal(fetches("cacerts", "yes"), yes);
}

/* SCEP's answers hold an RA's certificate too, or what comes alone: not what /cacerts hands out. */
static void
what_scep_hands_out_is_counted_alone(void **state)
{
	struct rig *r = *state;
	CLEANUP(X509) X509 *own = rig_own(r);
	long long known = fetches("getcacert", "yes"), unknown = fetches("getnextcacert", "no");

	fetch(r, FETCH_GETCACERT, own, NOW);
	fetch(r, FETCH_GETNEXTCACERT, NULL, NOW);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM trust_seen"), 0);
	assert_int_equal(fetches("getcacert", "yes"), known + 1);
	assert_int_equal(fetches("getnextcacert", "no"), unknown + 1);
}

static int
no_snapshot(struct store *store, struct store_read **out, struct err *e)
{
	(void)store;
	(void)out;
	return err_set(e, ERR_UPSTREAM, "the disk is gone");
}

static int
no_write(struct store *store, const struct rollover_given *given, bool *recorded, struct err *e)
{
	(void)store;
	(void)given;
	(void)recorded;
	return err_set(e, ERR_UPSTREAM, "the disk is full");
}

/* A device gets its certificates whatever the store does. */
static void
a_store_that_fails_is_no_failure_of_the_fetch(void **state)
{
	struct rig *r = *state;
	struct rollover_ops broken = rollover_sqlite;
	CLEANUP(X509) X509 *own = rig_own(r);
	long long before = fetches("cacerts", "no");

	broken.give = no_write;
	r->ops.rollover = &broken;
	fetch(r, FETCH_CACERTS, own, NOW);
	r->ops.rollover = &rollover_sqlite;
	r->ops.read_begin = no_snapshot;
	fetch(r, FETCH_CACERTS, own, NOW);
	r->ops.read_begin = store_sqlite.read_begin;
	assert_int_equal(fetches("cacerts", "no"), before + 2);
	fetch(r, FETCH_CACERTS, own, NOW);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM trust_seen"), 1);
}

/* "a>b" is: b succeeds a; labels: which CAs they name; roles: of a, b, c, d by their first letter; newest: of each, "-" none. */
static void
roles_follow_from_labels_and_successors(void **state)
{
	static const struct {
		const char *succeeds, *labels, *roles, *newest;
	} cases[] = {
		{ "", "a", "isss", "----" },
		{ "a>b", "a", "inss", "----" },
		{ "a>b", "ab", "iiss", "b---" },
		{ "a>b", "b", "piss", "b---" },
		{ "a>b b>c", "a", "inss", "----" },
		{ "a>b b>c", "b", "pins", "b---" },
		{ "a>b b>c", "c", "ppis", "cc--" },
		{ "a>b b>c", "ac", "ipis", "cc--" },
		{ "b>a", "a", "ipss", "-a--" },
		{ "a>b b>c", "bc", "piis", "cc--" },
		{ "c>b b>a d>c", "a", "ippp", "-aaa" },
		{ "a>b b>a", "c", "ssis", "----" }, /* a circle, which a check would refuse */
	};
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct config_ca cas[4] = { 0 };
		struct config_label labels[2];
		struct config config = { .cas = cas, .ca_count = 4, .labels = labels, .label_count = strlen(cases[i].labels) };
		char roles[5] = "", newest[5] = "";
		const char *p;

		for (k = 0; k < 4; k++)
			cas[k].name[0] = (char)('a' + k);
		for (p = cases[i].succeeds; *p != '\0'; p += p[3] == ' ' ? 4 : 3)
			cas[p[2] - 'a'].succeeds[0] = p[0];
		memset(labels, 0, sizeof labels);
		for (k = 0; k < config.label_count; k++)
			labels[k].ca[0] = cases[i].labels[k];
		for (k = 0; k < 4; k++) {
			const struct config_ca *next = rollover_newest(&config, &cas[k]);

			roles[k] = rollover_role_name(rollover_role(&config, &cas[k]))[0];
			newest[k] = next == NULL ? '-' : next->name[0];
		}
		if (strcmp(roles, cases[i].roles) != 0 || strcmp(newest, cases[i].newest) != 0)
			fail_msg("%s, labels %s: roles %s, newest %s", cases[i].succeeds, cases[i].labels, roles, newest);
	}
}

static void
expect_row(size_t i, const char *ca, const char *role, int64_t certificates, int64_t know)
{
	assert_string_equal(text_of(row(i), "ca"), ca);
	assert_string_equal(text_of(row(i), "role"), role);
	assert_int_equal(number_of(row(i), "certificates"), certificates);
	assert_int_equal(number_of(row(i), "devices"), certificates);
	assert_int_equal(number_of(row(i), "know"), know);
}

static void
a_rollover_is_seen_from_beginning_to_end(void **state)
{
	struct rig *r = *state;
	CLEANUP(X509) X509 *own = rig_own(r);

	load(r, SUCCEEDS, "old", "old");
	good(r, "ca rollover", "{}");
	assert_int_equal(json_array_size(answer.rows), 2);
	expect_row(0, "old", "issuing", 1, 0);
	expect_row(1, "new", "next", 0, 0);
	assert_string_equal(text_of(row(0), "group"), "fleet");
	assert_int_equal(number_of(row(1), "group_devices"), 1);
	assert_string_equal(text_of(row(0), "last_end"), "2027-04-15T08:00:00Z");
	assert_true(json_is_null(json_object_get(row(1), "last_end")));
	assert_string_equal(text_of(row(1), "not_after"), "2035-04-03T08:00:00Z");
	good(r, "ca rollover", "{\"ca\": \"new\", \"behind\": true}");
	assert_int_equal(json_array_size(answer.rows), 0);

	fetch(r, FETCH_CACERTS, own, NOW);
	good(r, "ca rollover", "{\"ca\": \"new\"}");
	expect_row(0, "old", "issuing", 1, 1);
	expect_row(1, "new", "next", 0, 1);

	load(r, SUCCEEDS, "new", "old");
	good(r, "ca rollover", "{\"ca\": \"old\", \"behind\": true}");
	assert_int_equal(json_array_size(answer.rows), 1);
	assert_string_equal(text_of(row(0), "asset"), "rtr-1");
	assert_string_equal(text_of(row(0), "owner"), "Fleet");
	assert_string_equal(text_of(row(0), "ca"), "old");
	assert_string_equal(text_of(row(0), "not_after"), "2027-04-15T08:00:00Z");
	assert_string_equal(text_of(row(0), "knows_since"), "2027-01-15T08:00:00Z");

	load(r, SUCCEEDS, "new", "new");
	r->request.client_cert = own;
	r->request.op = ENROLL_RENEW;
	r->name = "";
	rig_new_csr(r);
	rig_expect(r, ERR_NONE);
	good(r, "ca rollover", "{\"ca\": \"old\", \"behind\": true}");
	assert_int_equal(json_array_size(answer.rows), 0);
	good(r, "ca rollover", "{\"ca\": \"old\"}");
	expect_row(1, "new", "issuing", 1, 1);
	assert_string_equal(text_of(row(0), "role"), "previous");
}

static void
a_ca_without_a_group_is_alone_and_told_only_by_name(void **state)
{
	struct rig *r = *state;

	good(r, "ca rollover", NULL);
	assert_int_equal(json_array_size(answer.rows), 2);
	assert_string_equal(text_of(row(0), "ca"), "old");
	good(r, "ca rollover", "{\"ca\": \"alone\"}");
	assert_int_equal(json_array_size(answer.rows), 1);
	expect_row(0, "alone", "standby", 0, 0);
	good(r, "ca rollover", "{\"ca\": \"alone\", \"behind\": true}");
	assert_int_equal(json_array_size(answer.rows), 0);
}

static void
who_is_behind_is_told_in_pages(void **state)
{
	struct rig *r = *state;
	CLEANUP(X509) X509 *other = rig_idevid(r, r->key, "SN2");
	CLEANUP(X509) X509 *own = rig_own(r);
	char args[80];

	fetch(r, FETCH_CACERTS, own, NOW); /* what comes is another one by then */
	write_ca(r, "new");
	r->request.client_cert = other;
	r->request.now_s = NOW + DAY;
	rig_new_csr(r);
	rig_expect(r, ERR_NONE);
	load(r, SUCCEEDS, "new", "new");
	good(r, "ca rollover", "{\"ca\": \"old\", \"behind\": true}");
	assert_int_equal(json_array_size(answer.rows), 2);
	good(r, "ca rollover", "{\"ca\": \"old\", \"behind\": true, \"limit\": 1}");
	assert_int_equal(json_array_size(answer.rows), 1);
	assert_string_equal(text_of(row(0), "asset"), "rtr-1");
	assert_true(json_is_null(json_object_get(row(0), "knows_since")));
	(void)snprintf(args, sizeof args, "{\"ca\": \"old\", \"behind\": true, \"after\": %lld}",
		(long long)number_of(row(0), "id"));
	good(r, "ca rollover", args);
	assert_int_equal(json_array_size(answer.rows), 1);
	assert_string_equal(text_of(row(0), "asset"), "rtr-2");
	assert_int_equal(run_with(r, "ca rollover", "{\"ca\": \"old\", \"behind\": true}", -1, 1), 0);
	assert_int_equal(json_array_size(answer.rows), 1);
}

/* More than the gateway reads at once, put there past it. */
static void
a_long_list_is_told_whole_and_once(void **state)
{
	static const char rows[] =
		"WITH RECURSIVE n (i) AS (SELECT 1001 UNION ALL SELECT i + 1 FROM n WHERE i < 2102)"
		" INSERT INTO asset SELECT i, 'bulk-' || i, 1, '', '', i, '', '', '', 'bulk', i, 4, 0, 0, 1, 1, 1, 0 FROM n;"
		"INSERT INTO request (id, asset_id, label, csr_sha256, attempt, created_s, state, cert_id)"
		" SELECT id, id, '', zeroblob(32), 0, 1, 2, id FROM asset WHERE source = 'bulk';"
		"INSERT INTO certificate (id, asset_id, request_id, ca, label, profile, serial, subject, sans, sha256, spki_sha256,"
		" not_before_s, not_after_s) SELECT id, id, id, 'old', '', 'device', 'ff' || id, '', '', zeroblob(32), zeroblob(32), 1,"
		" 1800000100 FROM asset WHERE source = 'bulk';";
	struct rig *r = *state;
	sqlite3 *db = NULL;
	size_t i;

	load(r, SUCCEEDS, "new", "new");
	assert_int_equal(sqlite3_open(r->db, &db), SQLITE_OK);
	if (sqlite3_exec(db, rows, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s", sqlite3_errmsg(db));
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	good(r, "ca rollover", "{\"ca\": \"old\", \"behind\": true}");
	assert_int_equal(json_array_size(answer.rows), 1102);
	for (i = 0; i < 1102; i++)
		assert_int_equal(number_of(row(i), "id"), 1001 + (int64_t)i);
	good(r, "ca rollover", "{\"ca\": \"old\", \"behind\": true, \"limit\": 1050}");
	assert_int_equal(json_array_size(answer.rows), 1050);
}

static void
mistakes_are_told(void **state)
{
	struct rig *r = *state;

	bad(r, "ca rollover", "{\"ca\": \"gone\"}", ERR_DENIED, "no CA \"gone\"");
	bad(r, "ca rollover", "{\"behind\": true}", ERR_MALFORMED, "name of a CA");
	bad(r, "ca rollover", "{\"ca\": \"old\", \"limit\": 1}", ERR_MALFORMED, "--behind");
	bad(r, "ca rollover", "{\"ca\": \"old\", \"after\": 1}", ERR_MALFORMED, "--behind");
	bad(r, "ca rollover", "{\"ca\": \"old\", \"behind\": \"yes\"}", ERR_MALFORMED, "true or false");
	bad(r, "ca rollover", "{\"ca\": 5}", ERR_MALFORMED, "text");
	bad(r, "ca rollover", "{\"group\": \"fleet\"}", ERR_MALFORMED, "no argument");
}

static void
an_asset_tells_which_cas_it_knows(void **state)
{
	struct rig *r = *state;
	CLEANUP(X509) X509 *own = rig_own(r);
	const json_t *knows;

	good(r, "asset show", "{\"tag\": \"rtr-1\"}");
	assert_int_equal(json_array_size(json_object_get(answer.result, "knows")), 0);
	fetch(r, FETCH_CRTS, own, NOW);
	good(r, "asset show", "{\"tag\": \"rtr-1\"}");
	knows = json_object_get(answer.result, "knows");
	assert_int_equal(json_array_size(knows), 2);
	assert_string_equal(text_of(json_array_get(knows, 0), "ca"), "old");
	assert_string_equal(text_of(json_array_get(knows, 1), "ca"), "new");
	assert_string_equal(text_of(json_array_get(knows, 1), "since"), "2027-01-15T08:00:00Z");
	assert_string_equal(text_of(json_array_get(knows, 1), "how"), "crts");
}

#define rollover_test(name) cmocka_unit_test_setup_teardown(name, rollover_setup, admin_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rollover_test(a_device_that_proves_itself_is_remembered_with_what_it_fetched),
		rollover_test(the_same_again_writes_nothing),
		rollover_test(certificates_that_are_new_are_remembered_anew),
		rollover_test(nobody_we_know_is_counted_alone),
		rollover_test(what_scep_hands_out_is_counted_alone),
		rollover_test(a_store_that_fails_is_no_failure_of_the_fetch),
		cmocka_unit_test(roles_follow_from_labels_and_successors),
		rollover_test(a_rollover_is_seen_from_beginning_to_end),
		rollover_test(a_ca_without_a_group_is_alone_and_told_only_by_name),
		rollover_test(who_is_behind_is_told_in_pages),
		rollover_test(a_long_list_is_told_whole_and_once),
		rollover_test(mistakes_are_told),
		rollover_test(an_asset_tells_which_cas_it_knows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
