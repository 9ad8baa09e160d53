#include "gateway/store/sqlite_internal.h"

/* Which key an anchor came with first: the same identity with another key is a clone, or a new board. */

int
sqlite_anchor_key(struct store_read *read, const struct anchor *anchor, uint8_t spki[32], struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT spki_sha256 FROM anchor WHERE type = ?1 AND issuer = ?2 AND value = ?3"
		" AND spki_sha256 IS NOT NULL");
	int rc;

	query_int(&q, anchor->type);
	query_text(&q, anchor->issuer);
	query_text(&q, anchor->value);
	rc = query_row(&q, e);
	if (rc == 1)
		query_get_blob(&q, spki, 32);
	return rc;
}

/*
 * Once in an anchor's life. With a certificate the asset's version rises then: whoever
 * was judged at the same moment with another key, when none was known, is judged
 * again. Not with a request that waits: what is recorded of it next may rest on the
 * same judgement.
 */
int
anchor_key_remember(struct tx *tx, const struct store_outcome *o, struct err *e)
{
	CLEANUP(query) struct query q = {0};

	if (o->anchor == NULL || o->anchor_spki == NULL || o->state == REQUEST_DENIED)
		return 0;
	q = query_of(tx->conn,
		"UPDATE anchor SET spki_sha256 = ?5 WHERE type = ?1 AND issuer = ?2 AND value = ?3 AND asset_id = ?4"
		" AND spki_sha256 IS NULL");
	query_int(&q, o->anchor->type);
	query_text(&q, o->anchor->issuer);
	query_text(&q, o->anchor->value);
	query_int(&q, o->asset_id);
	query_sha256(&q, o->anchor_spki);
	if (query_run(&q, e) != 0)
		return -1;
	if (sqlite3_changes64(tx->conn->db) == 0 || o->state != REQUEST_ISSUED)
		return 0;
	return store_bump(tx, o->asset_id, e);
}

struct forget_write {
	const char *tag, *reason, *actor;
	int64_t now_s;
};

static int
forget(struct tx *tx, int64_t asset_id, int64_t *count, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE anchor SET spki_sha256 = NULL WHERE asset_id = ?1 AND spki_sha256 IS NOT NULL");

	query_int(&q, asset_id);
	if (query_run(&q, e) != 0)
		return -1;
	*count = sqlite3_changes64(tx->conn->db);
	return 0;
}

static int
forget_job(struct tx *tx, void *arg, struct err *e)
{
	const struct forget_write *w = arg;
	CLEANUP(buf) struct buf detail = {0};
	struct asset_brief asset;
	int64_t count;

	if (lookup_asset(tx, w->tag, &asset, e) != 0 || forget(tx, asset.id, &count, e) != 0 ||
		store_bump(tx, asset.id, e) != 0)
		return -1;
	json_open(&detail);
	json_int(&detail, "anchors", count);
	json_text(&detail, "reason", w->reason);
	json_close(&detail);
	return store_append(tx, w->now_s, w->actor, "anchor.key_forgotten", asset.tag, &detail, e);
}

int
sqlite_anchor_forget_key(struct store *store, const char *tag, const char *reason, const char *actor, int64_t now_s,
	struct err *e)
{
	struct forget_write write = {tag, reason, actor, now_s};

	return store_write(store, forget_job, &write, e);
}
