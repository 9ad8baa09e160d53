#include "gateway/store/import_internal.h"

#include <string.h>

static bool
same_anchor(const struct anchor *a, const struct anchor *b)
{
	return a->type == b->type && strcmp(a->issuer, b->issuer) == 0 && strcmp(a->value, b->value) == 0;
}

static bool
repeats(const struct import_record *rec, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (same_anchor(&rec->anchors[k], &rec->anchors[i]))
			return true;
	return false;
}

/* 1: the asset has this anchor, 0: nobody has, -1: another has, or failure. */
static int
holds_anchor(struct tx *tx, const struct anchor *anchor, int64_t id, const char *tag, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"SELECT a.id, a.tag FROM anchor n JOIN asset a ON a.id = n.asset_id"
		" WHERE n.type = ?1 AND n.issuer = ?2 AND n.value = ?3");
	int rc;

	query_int(&q, anchor->type);
	query_text(&q, anchor->issuer);
	query_text(&q, anchor->value);
	rc = query_row(&q, e);
	if (rc != 1 || query_get_int(&q) == id)
		return rc;
	return err_set(e, ERR_DENIED, "anchor %s:%s:%s of asset %s belongs to %s", anchor_type_name(anchor->type),
		anchor->issuer, anchor->value, tag, query_get0_text(&q));
}

static int
count_anchors(struct tx *tx, int64_t id, int64_t *out, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn, "SELECT count(*) FROM anchor WHERE asset_id = ?1");

	query_int(&q, id);
	if (query_row(&q, e) < 0)
		return -1;
	*out = query_get_int(&q);
	return 0;
}

static bool
keeps(const struct import_record *rec, const struct anchor *anchor)
{
	for (size_t i = 0; i < rec->anchor_count; i++)
		if (same_anchor(&rec->anchors[i], anchor))
			return true;
	return false;
}

/* 1 and *out: an anchor that the record does not name; 0: none; -1. */
static int
next_unnamed(struct tx *tx, const struct import_record *rec, int64_t id, struct anchor *out, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(tx->conn, "SELECT type, issuer, value FROM anchor WHERE asset_id = ?1");
	int rc;

	query_int(&q, id);
	while ((rc = query_row(&q, e)) == 1) {
		out->type = (enum anchor_type)query_get_int(&q);
		query_get_text(&q, out->issuer, sizeof out->issuer);
		query_get_text(&q, out->value, sizeof out->value);
		if (!keeps(rec, out))
			return 1;
	}
	return rc;
}

static int
delete_anchor(struct tx *tx, const struct anchor *anchor, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(tx->conn, "DELETE FROM anchor WHERE type = ?1 AND issuer = ?2 AND value = ?3");

	query_int(&q, anchor->type);
	query_text(&q, anchor->issuer);
	query_text(&q, anchor->value);
	return query_run(&q, e);
}

/* One that stays keeps what is known of it: the key it came with. */
int
import_replace_anchors(struct tx *tx, const struct import_record *rec, int64_t id, struct err *e)
{
	struct anchor unnamed;
	int rc;

	while ((rc = next_unnamed(tx, rec, id, &unnamed, e)) == 1)
		if (delete_anchor(tx, &unnamed, e) != 0)
			return -1;
	if (rc < 0)
		return -1;
	for (size_t i = 0; i < rec->anchor_count; i++) {
		CLEANUP(query) struct query q = query_of(tx->conn,
			"INSERT INTO anchor (type, issuer, value, asset_id) VALUES (?1, ?2, ?3, ?4)"
			" ON CONFLICT (type, issuer, value) DO NOTHING");

		query_int(&q, rec->anchors[i].type);
		query_text(&q, rec->anchors[i].issuer);
		query_text(&q, rec->anchors[i].value);
		query_int(&q, id);
		if (query_run(&q, e) != 0)
			return -1;
	}
	return 0;
}

int
import_compare_anchors(struct tx *tx, const struct import_record *rec, int64_t id, bool locked, bool *changed,
	struct err *e)
{
	int64_t has, common = 0, added = 0;

	*changed = false;
	if (rec->anchor_count == 0)
		return 0;
	for (size_t i = 0; i < rec->anchor_count; i++) {
		int rc = holds_anchor(tx, &rec->anchors[i], id, rec->asset.tag, e);

		if (rc < 0)
			return -1;
		if (repeats(rec, i))
			continue;
		common += rc;
		added += !rc;
	}
	if (count_anchors(tx, id, &has, e) != 0)
		return -1;
	if (locked && common < has)
		return err_set(e, ERR_DENIED, "asset %s keeps its anchors in its present state", rec->asset.tag);
	*changed = added > 0 || common < has;
	return 0;
}
