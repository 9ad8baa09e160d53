#include "gateway/store/sqlite_internal.h"

#include <string.h>

#define BRIEF_COLUMNS "id, owner_id, state, tier, tag"

static void
row_brief(struct query *q, struct asset_brief *out)
{
	out->id = query_get_int(q);
	out->owner_id = query_get_int(q);
	out->state = (enum asset_state)query_get_int(q);
	out->tier = (int)query_get_int(q);
	query_get_text(q, out->tag, sizeof out->tag);
}

int
lookup_asset(struct tx *tx, const char *tag, struct asset_brief *out, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(tx->conn, "SELECT " BRIEF_COLUMNS " FROM asset WHERE tag = ?1");
	int rc;

	query_text(&q, tag);
	rc = query_row(&q, e);
	if (rc == 0)
		return err_set(e, ERR_DENIED, "there is no asset %s", tag);
	if (rc == 1)
		row_brief(&q, out);
	return rc < 0 ? -1 : 0;
}

int
lookup_asset_by_id(struct tx *tx, int64_t id, struct asset_brief *out, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(tx->conn, "SELECT " BRIEF_COLUMNS " FROM asset WHERE id = ?1");
	int rc;

	query_int(&q, id);
	rc = query_row(&q, e);
	if (rc == 0)
		return err_set(e, ERR_DENIED, "there is no asset with the id %lld", (long long)id);
	if (rc == 1)
		row_brief(&q, out);
	return rc < 0 ? -1 : 0;
}

int
lookup_owner(struct tx *tx, const char *name, struct owner *out, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(tx->conn, "SELECT " OWNER_COLUMNS " FROM owner o WHERE o.name = ?1");
	int rc;

	query_text(&q, name);
	rc = query_row(&q, e);
	if (rc == 0)
		return err_set(e, ERR_DENIED, "there is no owner %s", name);
	if (rc == 1)
		row_owner(&q, out);
	return rc < 0 ? -1 : 0;
}

int
lookup_owner_by_id(struct tx *tx, int64_t id, struct owner *out, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(tx->conn, "SELECT " OWNER_COLUMNS " FROM owner o WHERE o.id = ?1");
	int rc;

	query_int(&q, id);
	rc = query_row(&q, e);
	if (rc == 0)
		return err_set(e, ERR_DENIED, "there is no owner with the id %lld", (long long)id);
	if (rc == 1)
		row_owner(&q, out);
	return rc < 0 ? -1 : 0;
}

int
store_append(struct tx *tx, int64_t now_s, const char *actor, const char *action, const char *subject,
	struct buf *detail, struct err *e)
{
	if (buf_failed(detail))
		return err_set(e, ERR_NOMEM, "audit row");
	return chain_append(tx, now_s, actor, action, subject, buf_text(detail), e);
}

bool
store_same_actor(const char *stored, const char *actor)
{
	size_t len = text_fit(actor, STORE_NAME_MAX);

	return strlen(stored) == len && memcmp(stored, actor, len) == 0;
}
