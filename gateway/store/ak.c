#include "gateway/store/sqlite_internal.h"

#include <stdio.h>
#include <string.h>

/*
 * Attestation keys that proved to live beside an endorsement key, each under the
 * attester whose roots vouched for that one. The binding is worth what the endorsement
 * key's anchor is worth, by the same attester's word: when that goes to another asset,
 * or from all, the binding says nothing any more.
 */
#define AK_FROM \
	"SELECT k.spki_sha256, k.ek_sha256, k.asset_id, k.bound_s, k.expires_s, k.attester FROM ak k" \
	" WHERE k.spki_sha256 = ?1 AND k.expires_s > ?2 AND EXISTS (SELECT 1 FROM anchor n" \
	" WHERE n.asset_id = k.asset_id AND n.type = ?3 AND n.issuer = k.attester" \
	" AND n.value = k.ek_sha256 COLLATE NOCASE)"

static int
take_row(struct query *q, struct ak_row *out, struct err *e)
{
	int rc = query_row(q, e);

	if (rc != 1)
		return rc;
	query_get_blob(q, out->spki_sha256, sizeof out->spki_sha256);
	query_get_text(q, out->ek_sha256, sizeof out->ek_sha256);
	out->asset_id = query_get_int(q);
	out->bound_s = query_get_int(q);
	out->expires_s = query_get_int(q);
	query_get_text(q, out->attester, sizeof out->attester);
	return 1;
}

static int
find(struct conn *conn, const uint8_t spki_sha256[32], const char *attester, int64_t now_s, struct ak_row *out,
	struct err *e)
{
	CLEANUP(query) struct query q = query_of(conn, AK_FROM " AND k.attester = ?4");

	query_sha256(&q, spki_sha256);
	query_int(&q, now_s);
	query_int(&q, ANCHOR_EK_PUB_SHA256);
	query_text(&q, attester);
	return take_row(&q, out, e);
}

int
sqlite_ak_find(struct store_read *read, const uint8_t spki_sha256[32], const char *attester, int64_t now_s,
	struct ak_row *out, struct err *e)
{
	return find(&read->conn, spki_sha256, attester, now_s, out, e);
}

struct ak_write {
	const struct ak_row *row;
	const char *actor;
	int64_t now_s;
};

static int
check_anchor(struct tx *tx, const struct ak_row *row, const char *tag, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"SELECT 1 FROM anchor WHERE asset_id = ?1 AND type = ?2 AND value = ?3 COLLATE NOCASE AND issuer = ?4");
	int rc;

	query_int(&q, row->asset_id);
	query_int(&q, ANCHOR_EK_PUB_SHA256);
	query_text(&q, row->ek_sha256);
	query_text(&q, row->attester);
	rc = query_row(&q, e);
	if (rc == 0)
		return err_set(e, ERR_DENIED, "asset %s has no such endorsement key", tag);
	return rc < 0 ? -1 : 0;
}

/* A key lives in one TPM: whose it is by now, by whatever attester, it stays while that is true. */
static int
check_free(struct tx *tx, const struct ak_write *w, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn, AK_FROM " AND k.asset_id <> ?4 LIMIT 1");
	struct ak_row other;
	int rc;

	query_sha256(&q, w->row->spki_sha256);
	query_int(&q, w->now_s);
	query_int(&q, ANCHOR_EK_PUB_SHA256);
	query_int(&q, w->row->asset_id);
	rc = take_row(&q, &other, e);
	if (rc == 1)
		return err_set(e, ERR_DENIED, "the attestation key is bound to another asset");
	return rc;
}

/* The same answer once more: 1. */
static int
is_done(struct tx *tx, const struct ak_write *w, struct err *e)
{
	struct ak_row now;
	int rc = find(tx->conn, w->row->spki_sha256, w->row->attester, w->now_s, &now, e);

	return rc < 0 ? -1 : rc == 1 && now.asset_id == w->row->asset_id && now.bound_s >= w->row->bound_s &&
		strcmp(now.ek_sha256, w->row->ek_sha256) == 0;
}

static int
put_ak(struct tx *tx, const struct ak_write *w, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO ak (spki_sha256, ek_sha256, asset_id, bound_s, expires_s, attester)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
		" ON CONFLICT (spki_sha256, attester) DO UPDATE SET ek_sha256 = excluded.ek_sha256,"
		" asset_id = excluded.asset_id, bound_s = excluded.bound_s, expires_s = excluded.expires_s");

	query_sha256(&q, w->row->spki_sha256);
	query_text(&q, w->row->ek_sha256);
	query_int(&q, w->row->asset_id);
	query_int(&q, w->row->bound_s);
	query_int(&q, w->row->expires_s);
	query_text(&q, w->row->attester);
	return query_run(&q, e);
}

static int
bind_job(struct tx *tx, void *arg, struct err *e)
{
	const struct ak_write *w = arg;
	CLEANUP(buf) struct buf detail = {0};
	struct asset_brief asset;
	char hex[65];
	int done;

	if (lookup_asset_by_id(tx, w->row->asset_id, &asset, e) != 0 || check_anchor(tx, w->row, asset.tag, e) != 0 ||
		check_free(tx, w, e) != 0)
		return -1;
	done = is_done(tx, w, e);
	if (done != 0)
		return done < 0 ? -1 : 0;
	if (put_ak(tx, w, e) != 0)
		return -1;
	hex_encode(bytes_of(w->row->spki_sha256, 32), hex);
	json_open(&detail);
	json_text(&detail, "ak_sha256", hex);
	json_text(&detail, "ek_sha256", w->row->ek_sha256);
	json_text(&detail, "attester", w->row->attester);
	json_int(&detail, "expires_s", w->row->expires_s);
	json_close(&detail);
	return store_append(tx, w->now_s, w->actor, "ak.bound", asset.tag, &detail, e);
}

int
sqlite_ak_bind(struct store *store, const struct ak_row *row, const char *actor, int64_t now_s, struct err *e)
{
	struct ak_write write = {row, actor, now_s};

	if (row->ek_sha256[0] == '\0' || row->attester[0] == '\0' || row->bound_s == 0 || row->expires_s <= now_s)
		return err_set(e, ERR_BUG, "an attestation key without an endorsement key, an attester or a time");
	return store_write(store, bind_job, &write, e);
}

int
ak_sweep(struct tx *tx, int64_t now_s, int max, int *count, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"DELETE FROM ak WHERE (spki_sha256, attester) IN"
		" (SELECT spki_sha256, attester FROM ak WHERE expires_s <= ?1 LIMIT ?2)");

	query_int(&q, now_s);
	query_int(&q, max);
	if (query_run(&q, e) != 0)
		return -1;
	*count = (int)sqlite3_changes64(tx->conn->db);
	return 0;
}
