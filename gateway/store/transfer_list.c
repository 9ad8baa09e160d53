#include "gateway/store/sqlite_internal.h"

#define TRANSFER_TEXT(where) \
	"SELECT t.id, t.asset_id, a.tag, f.name, o.name, t.state, t.prior_state, t.reason, t.offered_by," \
	" t.decided_by, t.offered_s, t.expires_s, t.decided_s FROM " where \
	" JOIN owner f ON f.id = t.from_owner_id JOIN owner o ON o.id = t.to_owner_id" \
	" WHERE (?1 IS NULL OR a.tag = ?1) AND (?2 = 0 OR (t.state = 0 AND t.expires_s > ?3))" \
	" ORDER BY t.id DESC LIMIT ?4"

int
sqlite_transfer_list(struct store_read *read, const char *asset_tag, bool open, int64_t now_s, transfer_cb cb,
	void *arg, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn, asset_tag != NULL ?
		TRANSFER_TEXT("asset a CROSS JOIN transfer t ON t.asset_id = a.id AND a.tag = ?1") :
		TRANSFER_TEXT("transfer t CROSS JOIN asset a ON a.id = t.asset_id"));
	struct transfer_row row;
	int rc;

	query_text_or_null(&q, asset_tag);
	query_int(&q, open);
	query_int(&q, now_s);
	query_int(&q, STORE_LIST_DEFAULT);
	while ((rc = query_row(&q, e)) == 1) {
		row.id = query_get_int(&q);
		row.asset_id = query_get_int(&q);
		query_get_text(&q, row.asset_tag, sizeof row.asset_tag);
		query_get_text(&q, row.from_owner, sizeof row.from_owner);
		query_get_text(&q, row.to_owner, sizeof row.to_owner);
		row.state = (enum transfer_state)query_get_int(&q);
		row.prior_state = (enum asset_state)query_get_int(&q);
		query_get_text(&q, row.reason, sizeof row.reason);
		query_get_text(&q, row.offered_by, sizeof row.offered_by);
		query_get_text(&q, row.decided_by, sizeof row.decided_by);
		row.offered_s = query_get_int(&q);
		row.expires_s = query_get_int(&q);
		row.decided_s = query_get_int(&q);
		if (!cb(arg, &row))
			return 0;
	}
	return rc;
}
