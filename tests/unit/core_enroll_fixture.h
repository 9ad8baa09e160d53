/*
 * core_enroll_fixture.h - a whole gateway without its network: store, CA, trust and pipeline in a folder of its own.
 *
 * Each core_enroll_*test, and core_admin_test, includes it once. The tables of
 * functions of the store and the CA are copies, so that a test replaces single
 * functions; everything fails the running test by itself.
 */
#ifndef TESTS_UNIT_CORE_ENROLL_FIXTURE_H
#define TESTS_UNIT_CORE_ENROLL_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <sqlite3.h>

#include "gateway/core/enroll_internal.h"
#include "gateway/core/init.h"
#include "tests/unit/est_make.h"

#define NOW INT64_C(1800000000)
#define DAY INT64_C(86400)
#define MAX_FAILURES 3
#define LOCK_S 600

struct rig {
	char dir[64], db[80], conf[80];
	EVP_PKEY *maker_key, *key;
	X509 *maker;
	X509 *idevid;             /* of rtr-1, with key */
	struct world *world;
	struct gateway gateway;
	struct store_ops ops;     /* what the gateway calls */
	struct ca_ops ca_ops;
	struct est_binding binding;
	const char *name;         /* the common name that requests ask for; "": an empty subject */
	struct buf csr;
	struct enroll_request request;
	struct enroll_result result;
};

static const char rig_conf[] =
	"listen = { https = [ \"127.0.0.1:0\" ]; };\n"
	"tls = { certificate = \"tls/server.pem\"; key = \"tls/server.key\"; };\n"
	"store = { path = \"registry.db\"; };\n"
	"keygen = { master = \"keygen.master\"; };\n"
	"cas = ( { name = \"issuing\"; certificate = \"ca/issuing.pem\"; key = \"ca/issuing.key\";\n"
	"          chain = [ \"ca/root.pem\" ]; },\n"
	"        { name = \"second\"; certificate = \"ca/issuing.pem\"; key = \"ca/issuing.key\";\n"
	"          chain = [ \"ca/root.pem\" ]; } );\n"
	"trust = ( { name = \"acme\"; files = [ \"trust/acme.pem\" ]; },\n"
	"          { name = \"ours\"; files = [ \"ca/root.pem\", \"ca/issuing.pem\" ]; } );\n"
	"identity = ( { name = \"acme-serial\"; trust = \"acme\"; field = \"subject_serial\"; } );\n"
	"profiles = ( { name = \"device\"; subject = \"CN={tag},O={owner}\"; san = [ \"dns:{hostname}\" ];\n"
	"               csr_names = \"ignore\"; lifetime = \"90d\"; renewal_window = \"30d\"; },\n"
	"             { name = \"anytime\"; csr_names = \"ignore\"; lifetime = \"90d\"; renewal_window = \"90d\"; },\n"
	"             { name = \"rsa\"; csr_names = \"ignore\"; keygen = \"RSA:2048\"; } );\n"
	"labels = (\n"
	"  { name = \"\"; profile = \"device\"; ca = \"issuing\"; auth = [ \"certificate\", \"secret\", \"own\" ];\n"
	"    trust = [ \"acme\" ]; operations = [ \"enroll\", \"renew\", \"keygen\" ]; },\n"
	"  { name = \"guarded\"; profile = \"device\"; ca = \"issuing\"; auth = [ \"certificate\", \"own\" ];\n"
	"    trust = [ \"acme\" ]; approval = \"manual\"; retry_after = \"7s\"; operations = [ \"enroll\", \"renew\" ]; },\n"
	"  { name = \"second\"; profile = \"device\"; ca = \"second\"; auth = [ \"own\" ]; trust = [ \"acme\" ]; },\n"
	"  { name = \"roaming\"; profile = \"device\"; ca = \"second\"; auth = [ \"own\" ]; trust = [ \"ours\" ]; },\n"
	"  { name = \"graced\"; profile = \"device\"; ca = \"issuing\"; auth = [ \"own\" ]; expired_grace = \"10d\"; },\n"
	"  { name = \"anytime\"; profile = \"anytime\"; ca = \"issuing\"; auth = [ \"certificate\", \"own\" ];\n"
	"    trust = [ \"acme\" ]; },\n"
	"  { name = \"rsa\"; profile = \"rsa\"; ca = \"issuing\"; auth = [ \"certificate\" ]; trust = [ \"acme\" ];\n"
	"    operations = [ \"keygen\" ]; } );\n";

static inline void
rig_write(const struct rig *r, const char *name, const char *text)
{
	char path[160];
	FILE *out;

	(void)snprintf(path, sizeof path, "%s/%s", r->dir, name);
	out = fopen(path, "w");
	assert_non_null(out);
	assert_int_equal(fwrite(text, 1, strlen(text), out), strlen(text));
	assert_int_equal(fclose(out), 0);
}

/* A device's certificate by this maker. */
static inline X509 *
rig_idevid(const struct rig *r, EVP_PKEY *key, const char *serial)
{
	X509 *cert = X509_new();
	X509_NAME *name;
	X509_EXTENSION *ski;

	assert_non_null(cert);
	name = X509_get_subject_name(cert);
	assert_int_equal(X509_set_version(cert, X509_VERSION_3), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), 77), 1);
	assert_int_equal(X509_NAME_add_entry_by_txt(name, "serialNumber", V_ASN1_UTF8STRING, (const uint8_t *)serial, -1,
		-1, 0), 1);
	assert_int_equal(X509_set_issuer_name(cert, X509_get_subject_name(r->maker)), 1);
	assert_int_equal(X509_set_pubkey(cert, key), 1);
	assert_non_null(ASN1_TIME_set(X509_getm_notBefore(cert), NOW - 100 * DAY));
	assert_non_null(ASN1_TIME_set(X509_getm_notAfter(cert), NOW + 3650 * DAY));
	ski = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_key_identifier, "0102030405060708");
	assert_non_null(ski);
	assert_int_equal(X509_add_ext(cert, ski, -1), 1);
	X509_EXTENSION_free(ski);
	assert_true(X509_sign(cert, r->maker_key, EVP_sha256()) > 0);
	return cert;
}

static inline void
print_problem(void *arg, const char *text)
{
	(void)arg;
	print_error("%s\n", text);
}

static inline void
rig_load(struct rig *r, const char *conf)
{
	struct config *config = NULL;
	struct world *world = NULL;
	struct err e = { 0 };

	rig_write(r, "enrolld.conf", conf);
	assert_int_equal(config_load(r->conf, print_problem, NULL, &config), 0);
	if (world_load(config, &world, &e) != 0)
		fail_msg("%s", e.text);
	world->cas[0].ops = &r->ca_ops;
	world_swap(world);
	r->world = world;
}

struct rig_asset {
	const char *tag, *serial;
	enum asset_state state;
};
struct rig_assets {
	const struct rig_asset *at;
	size_t left;
};

static inline int
rig_next(void *arg, struct import_record *out, struct err *e)
{
	struct rig_assets *assets = arg;
	const struct rig_asset *from = assets->at;

	(void)e;
	if (assets->left == 0)
		return 0;
	assets->at++;
	assets->left--;
	*out = (struct import_record){ .asset = { .state = from->state }, .has_state = true, .anchor_count = 1 };
	(void)snprintf(out->asset.tag, sizeof out->asset.tag, "%s", from->tag);
	(void)snprintf(out->asset.hostname, sizeof out->asset.hostname, "%s.example.net", from->tag);
	(void)snprintf(out->asset.source, sizeof out->asset.source, "test");
	(void)snprintf(out->owner, sizeof out->owner, "Fleet");
	out->anchors[0].type = ANCHOR_IDEVID_SERIAL;
	(void)snprintf(out->anchors[0].issuer, sizeof out->anchors[0].issuer, "acme");
	(void)snprintf(out->anchors[0].value, sizeof out->anchors[0].value, "%s", from->serial);
	return 1;
}

static inline void
rig_import(struct rig *r)
{
	static const struct rig_asset all[] = { { "rtr-1", "SN1", ASSET_STAGED }, { "rtr-2", "SN2", ASSET_STAGED },
		{ "old-3", "SN3", ASSET_DECOMMISSIONED } };
	struct rig_assets assets = { all, sizeof all / sizeof all[0] };
	struct import_job job = { .next = rig_next, .arg = &assets, .actor = "operator:test", .source = "test",
		.now_s = NOW - DAY, .create_owners = true };
	struct import_summary sum;
	struct err e = { 0 };

	if (store_sqlite.import(r->gateway.store, &job, &sum, &e) != 0)
		fail_msg("%s", e.text);
}

/* A request of this key; attributes may be NULL. */
static inline void
rig_csr(struct rig *r, EVP_PKEY *key, const struct buf *attributes)
{
	struct buf spki = { 0 }, info = { 0 };

	make_spki(&spki, key);
	make_info(&info, 0, r->name, buf_bytes(&spki), attributes);
	buf_clear(&r->csr);
	make_signed(&r->csr, buf_bytes(&info), key);
	assert_false(buf_failed(&r->csr));
	buf_free(&spki);
	buf_free(&info);
	r->request.csr = buf_bytes(&r->csr);
}

static inline void
rig_new_csr(struct rig *r)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen("P-256");

	rig_csr(r, key, NULL);
}

static inline void
rig_label(struct rig *r, const char *name)
{
	r->request.label = config_label(r->world->config, name);
	assert_non_null(r->request.label);
}

/* Loads what init_directory() made and this fixture's own configuration. */
static inline void
rig_files(struct rig *r)
{
	struct ca_make make = { .common_name = "Acme root", .organisation = "Acme", .path_len = -1,
		.not_before_s = NOW - 1000 * DAY, .not_after_s = NOW + 8000 * DAY };
	struct init_options init = { .dir = r->dir, .port = 8443, .now_s = NOW - 1000 * DAY };
	struct err e = { 0 };
	char path[160];
	FILE *out;

	if (init_directory(&init, &e) != 0)
		fail_msg("%s", e.text);
	r->maker_key = make.key = make.issuer_key = EVP_EC_gen("P-256");
	assert_int_equal(ca_make_certificate(&make, &r->maker, &e), 0);
	(void)snprintf(path, sizeof path, "%s/trust/acme.pem", r->dir);
	out = fopen(path, "w");
	assert_non_null(out);
	assert_int_equal(PEM_write_X509(out, r->maker), 1);
	assert_int_equal(fclose(out), 0);
	rig_load(r, rig_conf);
}

static inline int
rig_setup(void **state)
{
	struct rig *r = calloc(1, sizeof *r);
	struct store_settings settings = { .readers = 4, .cache_kib = 1024 };
	struct err e = { 0 };
	char seal[96];

	assert_non_null(r);
	assert_int_equal(ossl_init(&e), 0);
	assert_int_equal(key_init(&e), 0);
	(void)snprintf(r->dir, sizeof r->dir, "/tmp/enroll-test-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	(void)snprintf(r->db, sizeof r->db, "%s/registry.db", r->dir);
	(void)snprintf(r->conf, sizeof r->conf, "%s/enrolld.conf", r->dir);
	r->name = "device-1";
	r->ops = store_sqlite;
	r->ca_ops = ca_builtin;
	rig_files(r);
	settings.path = r->db;
	assert_int_equal(store_sqlite.open(&settings, &r->gateway.store, &e), 0);
	(void)snprintf(seal, sizeof seal, "%s.key", r->db);
	assert_int_equal(seal_load(seal, &r->gateway.seal, &e), 0);
	r->gateway.store_ops = &r->ops;
	assert_int_equal(limiter_new(64, MAX_FAILURES, 3600, LOCK_S, &r->gateway.by_asset, &e), 0);
	assert_int_equal(limiter_new(64, 2 * MAX_FAILURES, 3600, LOCK_S, &r->gateway.by_address, &e), 0);
	rig_import(r);
	r->key = EVP_EC_gen("P-256");
	r->idevid = rig_idevid(r, r->key, "SN1");
	r->request = (struct enroll_request){ .protocol = "est", .operation = "simpleenroll", .client_cert = r->idevid,
		.peer = "192.0.2.7", .now_s = NOW };
	rig_label(r, "");
	rig_new_csr(r);
	*state = r;
	return 0;
}

static inline int
rig_teardown(void **state)
{
	struct rig *r = *state;
	char command[128];

	enroll_result_free(&r->result);
	store_sqlite.close(r->gateway.store);
	limiter_free(r->gateway.by_asset);
	limiter_free(r->gateway.by_address);
	seal_free(r->gateway.seal);
	world_swap(NULL);
	X509_free(r->idevid);
	X509_free(r->maker);
	EVP_PKEY_free(r->key);
	EVP_PKEY_free(r->maker_key);
	buf_free(&r->csr);
	(void)snprintf(command, sizeof command, "rm -rf '%s'", r->dir);
	free(r);
	return system(command);
}

/* One number from a query of the test's own. */
static inline int64_t
rig_number(const struct rig *r, const char *sql)
{
	sqlite3_stmt *st = NULL;
	sqlite3 *db = NULL;
	int64_t value;

	assert_int_equal(sqlite3_open_v2(r->db, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	(void)sqlite3_busy_timeout(db, 5000);
	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
		fail_msg("%s", sqlite3_errmsg(db));
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	value = sqlite3_column_int64(st, 0);
	(void)sqlite3_finalize(st);
	(void)sqlite3_close(db);
	return value;
}

static inline int64_t
rig_certs(const struct rig *r)
{
	return rig_number(r, "SELECT count(*) FROM certificate");
}

static inline void
rig_chain_holds(const struct rig *r)
{
	struct store_read *read = NULL;
	struct audit_report report;
	struct err e = { 0 };

	assert_int_equal(store_sqlite.read_begin(r->gateway.store, &read, &e), 0);
	assert_int_equal(store_sqlite.audit_verify(read, NULL, NULL, &report, &e), 0);
	store_sqlite.read_end(read);
	assert_int_equal(report.bad_seq, 0);
}

/* Enrolls, and holds whatever comes out to what a result may be. */
static inline void
rig_run(struct rig *r)
{
	enroll_result_free(&r->result);
	memset(&r->result, 0x5a, sizeof r->result); /* enroll_run() fills it whole */
	enroll_run(&r->gateway, r->world, &r->request, &r->result);
	rig_chain_holds(r);
	assert_non_null(r->result.public_text);
	if (r->result.code == ERR_NONE) {
		assert_true(r->result.cert.len > 0);
		return;
	}
	assert_int_equal(r->result.cert.len, 0);
	assert_null(r->result.cert.at);
	assert_int_equal(r->result.key.len, 0);
	assert_null(r->result.key.at);
	assert_false(r->result.replayed);
}

static inline void
rig_expect(struct rig *r, enum err_code code)
{
	rig_run(r);
	if (r->result.code != code)
		fail_msg("%s (%s): %s", err_code_name(r->result.code), r->result.reason, r->result.sentence);
}

/* The octets of the last certificate, kept beyond the next call. */
static inline struct buf
rig_take(struct rig *r)
{
	struct buf cert = r->result.cert;

	r->result.cert = (struct buf){ 0 };
	return cert;
}

static inline X509 *
rig_cert(const struct rig *r)
{
	X509 *cert = NULL;
	struct err e;

	assert_int_equal(x509_from_der(buf_bytes(&r->result.cert), &cert, &e), 0);
	return cert;
}

static inline void
rig_set_state(const struct rig *r, const char *tag, enum asset_state state)
{
	struct err e = { 0 };
	int64_t revoked;

	if (store_sqlite.asset_set_state(r->gateway.store, tag, state, "test", "operator:test", NOW, &revoked, &e) != 0)
		fail_msg("%s", e.text);
}

static inline void
rig_revoke(const struct rig *r, int64_t id)
{
	struct err e = { 0 };

	assert_int_equal(store_sqlite.cert_revoke(r->gateway.store, id, "lost", "operator:test", NOW, &e), 0);
}

static inline int64_t
rig_asset_id(const struct rig *r, const char *tag)
{
	char sql[96];

	(void)snprintf(sql, sizeof sql, "SELECT id FROM asset WHERE tag = '%s'", tag);
	return rig_number(r, sql);
}

/* A secret of rtr-1 as an operator's command stores it; expires_s 0: never. */
static inline int64_t
rig_secret(const struct rig *r, const char *secret, const char *label, const char *protocol, int64_t expires_s)
{
	struct secret_row row = { .asset_id = rig_asset_id(r, "rtr-1"), .once = true, .salt = "fifteen octets.",
		.created_s = NOW, .expires_s = expires_s };
	struct err e = { 0 };

	(void)snprintf(row.label, sizeof row.label, "%s", label);
	(void)snprintf(row.protocol, sizeof row.protocol, "%s", protocol);
	assert_int_equal(secret_hash(row.salt, secret, row.hash, &e), 0);
	assert_int_equal(store_sqlite.secret_put(r->gateway.store, &row, "operator:test", NOW, NULL, &e), 0);
	return rig_number(r, "SELECT max(id) FROM secret");
}

/* Asks with a secret instead of a certificate. */
static inline void
rig_use_secret(struct rig *r, const char *user, const char *secret)
{
	r->request.client_cert = NULL;
	r->request.user = user;
	r->request.secret = secret;
}

/* Enrolls with the manufacturer's certificate, and asks with what came of it from here on. The caller frees. */
static inline X509 *
rig_own(struct rig *r)
{
	X509 *own;

	rig_csr(r, r->key, NULL);
	rig_expect(r, ERR_NONE);
	own = rig_cert(r);
	r->request.client_cert = own;
	return own;
}

#endif
