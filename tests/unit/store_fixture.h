/*
 * store_fixture.h - a store in a folder of its own, and records to put into it.
 *
 * Include after cmocka.h. Everything here fails the running test by itself.
 */
#ifndef TESTS_UNIT_STORE_FIXTURE_H
#define TESTS_UNIT_STORE_FIXTURE_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/ossl.h"
#include "gateway/store/store.h"

#define NOW 1800000000

struct fixture {
	char folder[64];
	char path[96];
	struct store *store;
};

static const struct store_ops *const ops = &store_sqlite;

static inline struct store *
fixture_open(const char *path, bool read_only)
{
	struct store_settings settings = {.path = path, .readers = 2, .cache_kib = 1024, .read_only = read_only};
	struct store *store = NULL;
	struct err e = {0};

	if (ops->open(&settings, &store, &e) != 0)
		fail_msg("open: %s", e.text);
	return store;
}

static inline int
fixture_setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct fixture *f;
	struct err e;

	if (ossl_init(&e) != 0 || (f = calloc(1, sizeof *f)) == NULL)
		return -1;
	*state = f;
	(void)snprintf(f->folder, sizeof f->folder, "%.40s/store-XXXXXX", tmp == NULL ? "/tmp" : tmp);
	if (mkdtemp(f->folder) == NULL)
		return -1;
	(void)snprintf(f->path, sizeof f->path, "%s/registry.db", f->folder);
	f->store = fixture_open(f->path, false);
	return 0;
}

static inline void
fixture_remove_folder(const char *folder)
{
	DIR *dir = opendir(folder);
	char path[400];

	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
		(void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
		if (entry->d_name[0] != '.')
			(void)unlink(path);
	}
	if (dir != NULL)
		(void)closedir(dir);
	(void)rmdir(folder);
}

static inline int
fixture_teardown(void **state)
{
	struct fixture *f = *state;

	ops->close(f->store);
	fixture_remove_folder(f->folder);
	free(f);
	return 0;
}

/* Closes the store, hands its file to a plain connection, and opens it again with fixture_reopen(). */
static inline sqlite3 *
fixture_raw(struct fixture *f)
{
	sqlite3 *db = NULL;

	ops->close(f->store);
	f->store = NULL;
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	return db;
}

static inline void
raw_run(sqlite3 *db, const char *sql)
{
	char *why = NULL;

	if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
		fail_msg("%s: %s", sql, why);
}

static inline void
fixture_reopen(struct fixture *f, sqlite3 *db)
{
	if (db != NULL)
		assert_int_equal(sqlite3_close(db), SQLITE_OK);
	if (f->store != NULL)
		ops->close(f->store);
	f->store = fixture_open(f->path, false);
}

/* One number from a query of the test's own. */
static inline int64_t
fixture_number(struct fixture *f, const char *sql)
{
	sqlite3_stmt *st = NULL;
	sqlite3 *db = NULL;
	int64_t value;

	assert_int_equal(sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	(void)sqlite3_busy_timeout(db, 5000);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	value = sqlite3_column_int64(st, 0);
	(void)sqlite3_finalize(st);
	(void)sqlite3_close(db);
	return value;
}

static inline struct store_read *
begin(struct store *store)
{
	struct store_read *read = NULL;
	struct err e = {0};

	if (ops->read_begin(store, &read, &e) != 0)
		fail_msg("read_begin: %s", e.text);
	return read;
}

/* Imports records from an array. */
struct records {
	const struct import_record *at;
	size_t count, next;
};

static inline int
records_next(void *arg, struct import_record *out, struct err *e)
{
	struct records *r = arg;

	(void)e;
	if (r->next == r->count)
		return 0;
	*out = r->at[r->next++];
	out->line = (int64_t)r->next;
	return 1;
}

static inline int
import_records(struct store *store, const struct import_record *at, size_t count, bool dry_run,
	struct import_summary *sum, struct err *e)
{
	struct records records = {at, count, 0};
	struct import_job job = {
		.next = records_next,
		.arg = &records,
		.actor = "operator:test",
		.source = "assets.csv",
		.now_s = NOW,
		.dry_run = dry_run,
		.create_owners = true,
	};

	memset(sum, 0, sizeof *sum);
	return ops->import(store, &job, sum, e);
}

static inline struct import_record
record_of(const char *tag)
{
	struct import_record r;

	memset(&r, 0, sizeof r);
	(void)snprintf(r.asset.tag, sizeof r.asset.tag, "%s", tag);
	(void)snprintf(r.asset.manufacturer, sizeof r.asset.manufacturer, "Acme");
	(void)snprintf(r.asset.serial, sizeof r.asset.serial, "SN-%.100s", tag);
	(void)snprintf(r.asset.source, sizeof r.asset.source, "assets.csv");
	(void)snprintf(r.owner, sizeof r.owner, "Net Ops");
	r.asset.state = ASSET_STAGED;
	r.anchor_count = 1;
	r.anchors[0].type = ANCHOR_IDEVID_SERIAL;
	(void)snprintf(r.anchors[0].issuer, sizeof r.anchors[0].issuer, "acme");
	(void)snprintf(r.anchors[0].value, sizeof r.anchors[0].value, "%.100s", tag);
	return r;
}

static inline struct asset
get_asset(struct store *store, const char *tag)
{
	struct store_read *read = begin(store);
	struct owner owner;
	struct asset asset;
	struct err e = {0};

	if (ops->asset_by_tag(read, tag, &asset, &owner, &e) != 1)
		fail_msg("no asset %s: %s", tag, e.text);
	ops->read_end(read);
	return asset;
}

static inline struct asset
add_asset(struct store *store, const char *tag)
{
	struct import_record record = record_of(tag);
	struct import_summary sum;
	struct err e = {0};

	if (import_records(store, &record, 1, false, &sum, &e) != 0)
		fail_msg("import: %s", e.text);
	return get_asset(store, tag);
}

/* An outcome with its own texts; number makes CSR, key, serial and certificate distinct. */
struct sample {
	struct store_outcome o;
	char tag[REG_TEXT_MAX], serial[SERIAL_HEX_MAX];
	uint8_t csr[24], cert[24];
};

static inline void
sample_fill(struct sample *s, const struct asset *asset, unsigned number, enum request_state state)
{
	struct err e;

	memset(s, 0, sizeof *s);
	(void)snprintf(s->tag, sizeof s->tag, "%s", asset == NULL ? "" : asset->tag);
	(void)snprintf(s->serial, sizeof s->serial, "01%08x", number);
	(void)snprintf((char *)s->csr, sizeof s->csr, "csr %u", number);
	(void)snprintf((char *)s->cert, sizeof s->cert, "certificate %u", number);
	s->o = (struct store_outcome){
		.now_s = NOW,
		.asset_id = asset == NULL ? 0 : asset->id,
		.asset_version = asset == NULL ? 0 : asset->version,
		.asset_tag = s->tag,
		.label = "routers",
		.profile = "router",
		.protocol = "est",
		.operation = "simpleenroll",
		.peer = "192.0.2.7",
		.proof = "idevid acme",
		.csr = bytes_of(s->csr, sizeof s->csr),
		.state = state,
		.reason = state == REQUEST_DENIED ? "asset.state" : "ok",
		.sentence = "a sentence",
		.rules_json = "[{\"rule\":\"asset.state\"}]",
		.policy_version = "v1",
	};
	assert_int_equal(sha256(s->o.csr, s->o.csr_sha256, &e), 0);
	memcpy(s->o.spki_sha256, s->o.csr_sha256, 32);
	s->o.spki_sha256[0] ^= 1;
	if (state != REQUEST_ISSUED)
		return;
	s->o.cert = bytes_of(s->cert, sizeof s->cert);
	s->o.ca = "issuing";
	s->o.serial = s->serial;
	s->o.subject = "CN=device";
	s->o.sans = "dns:device.example";
	assert_int_equal(sha256(s->o.cert, s->o.cert_sha256, &e), 0);
	s->o.not_before_s = NOW - 60;
	s->o.not_after_s = NOW + 86400;
}

/* Records and expects what; the request's id. */
static inline int64_t
record_as(struct store *store, const struct store_outcome *o, enum store_recorded expected)
{
	enum store_recorded what = STORE_RECORDED;
	int64_t id = 0;
	struct err e = {0};

	if (ops->record(store, o, &what, &id, &e) != 0)
		fail_msg("record: %s", e.text);
	assert_int_equal(what, expected);
	return id;
}

static inline struct request_row
get_request(struct store *store, int64_t id)
{
	struct store_read *read = begin(store);
	struct request_row row;
	struct err e = {0};

	if (ops->request_by_id(read, id, &row, NULL, &e) != 1)
		fail_msg("no request: %s", e.text);
	ops->read_end(read);
	return row;
}

static inline struct cert_row
get_cert(struct store *store, int64_t id)
{
	struct store_read *read = begin(store);
	struct cert_row row;
	struct err e = {0};

	if (ops->cert_by_id(read, id, &row, &e) != 1)
		fail_msg("no certificate: %s", e.text);
	ops->read_end(read);
	return row;
}

static inline struct audit_report
verify(struct store *store)
{
	struct store_read *read = begin(store);
	struct audit_report report;
	struct err e = {0};

	if (ops->audit_verify(read, NULL, NULL, &report, &e) != 0)
		fail_msg("audit_verify: %s", e.text);
	ops->read_end(read);
	return report;
}

#endif
