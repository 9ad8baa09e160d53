#include "gateway/store/sqlite_internal.h"

#define APPROVAL_COLUMNS \
	"SELECT id, kind, subject, detail, reason, state, requested_by, decided_by, needed, requested_s, expires_s," \
	" decided_s FROM approval WHERE "

static int
each_approval(struct query *q, approval_cb cb, void *arg, struct err *e)
{
	struct approval_row row;
	int rc;

	while ((rc = query_row(q, e)) == 1) {
		row.id = query_get_int(q);
		query_get_text(q, row.kind, sizeof row.kind);
		query_get_text(q, row.subject, sizeof row.subject);
		query_get_text(q, row.detail, sizeof row.detail);
		query_get_text(q, row.reason, sizeof row.reason);
		row.state = (enum approval_state)query_get_int(q);
		query_get_text(q, row.requested_by, sizeof row.requested_by);
		query_get_text(q, row.decided_by, sizeof row.decided_by);
		row.needed = (int)query_get_int(q);
		row.requested_s = query_get_int(q);
		row.expires_s = query_get_int(q);
		row.decided_s = query_get_int(q);
		if (!cb(arg, &row))
			return 0;
	}
	return rc;
}

int
sqlite_approval_list(struct store_read *read, bool open, int64_t now_s, approval_cb cb, void *arg, struct err *e)
{
	/* Below 2: waiting, or given and not used yet; the term is the index's own. */
	CLEANUP(query) struct query q = query_of(&read->conn, open ?
		APPROVAL_COLUMNS "state < 2 AND expires_s > ?1 ORDER BY id DESC LIMIT ?2" :
		APPROVAL_COLUMNS "?1 = ?1 ORDER BY id DESC LIMIT ?2");

	query_int(&q, now_s);
	query_int(&q, STORE_LIST_DEFAULT);
	return each_approval(&q, cb, arg, e);
}

int
sqlite_approval_by_id(struct store_read *read, int64_t id, approval_cb cb, void *arg, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn, APPROVAL_COLUMNS "id = ?1");

	query_int(&q, id);
	return each_approval(&q, cb, arg, e);
}
