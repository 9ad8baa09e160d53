#include "gateway/store/sqlite_internal.h"

/* Exceptions in force, their uses, and the list. */

/* One operator's word is not enough for an asset of tier 3, also when it became one after it was given. */
#define IN_FORCE \
	"x.state = 1 AND x.expires_s > ?4 AND x.uses < x.max_uses AND (x.label = '*' OR x.label = ?3)" \
	" AND (x.approvals_needed > 1 OR NOT EXISTS (SELECT 1 FROM asset WHERE id = ?1 AND tier = 3))"
#define FORCE_COLUMNS "SELECT x.id, x.waives, x.ticket, x.approved_by, x.expires_s FROM exception x "

int
sqlite_exceptions(struct store_read *read, const struct asset *asset, const char *label, int64_t now_s,
	struct exception *out, int max, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		FORCE_COLUMNS "WHERE x.asset_id = ?1 AND " IN_FORCE
		" UNION ALL " FORCE_COLUMNS "WHERE x.owner_id = ?2 AND " IN_FORCE " LIMIT ?5");
	int count = 0, rc = 0;

	query_int(&q, asset->id);
	query_int(&q, asset->owner_id);
	query_text(&q, label);
	query_int(&q, now_s);
	query_int(&q, max < 0 ? 0 : max);
	while (count < max && (rc = query_row(&q, e)) == 1) {
		out[count].id = query_get_int(&q);
		out[count].waives = (unsigned)query_get_int(&q);
		query_get_text(&q, out[count].ticket, sizeof out[count].ticket);
		query_get_text(&q, out[count].approved_by, sizeof out[count].approved_by);
		out[count].expires_s = query_get_int(&q);
		count++;
	}
	return rc < 0 ? -1 : count;
}

static bool
repeats(const struct store_outcome *o, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (o->exception_ids[k] == o->exception_ids[i])
			return true;
	return false;
}

/* Each is still in force, and this asset's or its owner's. */
int
exception_claim(struct tx *tx, const struct store_outcome *o, int64_t owner_id, struct err *e)
{
	if (o->state != REQUEST_ISSUED)
		return 0;
	for (size_t i = 0; i < o->exception_count; i++) {
		CLEANUP(query) struct query q = query_of(tx->conn,
			"SELECT 1 FROM exception x WHERE x.id = ?5 AND (x.asset_id = ?1 OR x.owner_id = ?2) AND " IN_FORCE);
		int rc;

		query_int(&q, o->asset_id);
		query_int(&q, owner_id);
		query_text(&q, o->label);
		query_int(&q, o->now_s);
		query_int(&q, o->exception_ids[i]);
		rc = query_row(&q, e);
		if (rc != 1)
			return rc < 0 ? -1 : CLAIM_LOST;
	}
	return 0;
}

int
exception_count(struct tx *tx, const struct store_outcome *o, struct err *e)
{
	if (o->state != REQUEST_ISSUED)
		return 0;
	for (size_t i = 0; i < o->exception_count; i++) {
		CLEANUP(query) struct query q =
			query_of(tx->conn, "UPDATE exception SET uses = uses + 1 WHERE id = ?1");

		if (repeats(o, i))
			continue;
		query_int(&q, o->exception_ids[i]);
		if (query_run(&q, e) != 0)
			return -1;
	}
	return 0;
}

#define EXCEPTION_TEXT(where) \
	"SELECT x.id, x.asset_id, a.tag, o.name, x.label, x.waives, x.reason, x.ticket, x.state, x.requested_by," \
	" x.approved_by, x.approvals_needed, x.created_s, x.expires_s, x.max_uses, x.uses FROM " where \
	" LEFT JOIN owner o ON o.id = x.owner_id WHERE (?1 IS NULL OR a.tag = ?1) AND (?2 = 0 OR" \
	" (x.state IN (0, 1) AND x.expires_s > ?3 AND x.uses < x.max_uses)) ORDER BY x.id DESC LIMIT ?4"

static void
row_exception(struct query *q, struct exception_row *out)
{
	out->id = query_get_int(q);
	out->asset_id = query_get_int(q);
	query_get_text(q, out->asset_tag, sizeof out->asset_tag);
	query_get_text(q, out->owner, sizeof out->owner);
	query_get_text(q, out->label, sizeof out->label);
	out->waives = (unsigned)query_get_int(q);
	query_get_text(q, out->reason, sizeof out->reason);
	query_get_text(q, out->ticket, sizeof out->ticket);
	out->state = (enum exception_state)query_get_int(q);
	query_get_text(q, out->requested_by, sizeof out->requested_by);
	query_get_text(q, out->approved_by, sizeof out->approved_by);
	out->approvals_needed = (int)query_get_int(q);
	out->created_s = query_get_int(q);
	out->expires_s = query_get_int(q);
	out->max_uses = query_get_int(q);
	out->uses = query_get_int(q);
}

int
sqlite_exception_list(struct store_read *read, const char *asset_tag, bool open, int64_t now_s, exception_cb cb,
	void *arg, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn, asset_tag != NULL ?
		EXCEPTION_TEXT("asset a CROSS JOIN exception x ON x.asset_id = a.id AND a.tag = ?1") :
		EXCEPTION_TEXT("exception x LEFT JOIN asset a ON a.id = x.asset_id"));
	struct exception_row row;
	int rc;

	query_text_or_null(&q, asset_tag);
	query_int(&q, open);
	query_int(&q, now_s);
	query_int(&q, STORE_LIST_DEFAULT);
	while ((rc = query_row(&q, e)) == 1) {
		row_exception(&q, &row);
		if (!cb(arg, &row))
			return 0;
	}
	return rc;
}
