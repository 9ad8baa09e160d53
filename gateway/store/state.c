#include "gateway/store/sqlite_internal.h"

bool
state_locked(enum asset_state state)
{
	switch (state) {
	case ASSET_LOST:
	case ASSET_STOLEN:
	case ASSET_QUARANTINED:
	case ASSET_DECOMMISSIONED:
	case ASSET_DISPOSED:
		return true;
	case ASSET_ORDERED:
	case ASSET_SHIPPED:
	case ASSET_IN_STOCK:
	case ASSET_STAGED:
	case ASSET_DEPLOYED:
	case ASSET_REPAIR:
	case ASSET_TRANSFER_PENDING:
		break;
	}
	return false;
}

static int
put_state(struct tx *tx, const struct state_change *change, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE asset SET state = ?2, state_since_s = ?3, locked = ?4, version = version + 1 WHERE id = ?1");

	query_int(&q, change->asset_id);
	query_int(&q, change->to);
	query_int(&q, change->now_s);
	query_int(&q, state_locked(change->to));
	return query_run(&q, e);
}

static int
put_transition(struct tx *tx, const struct state_change *change, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO transition (asset_id, at_s, from_state, to_state, actor, reason)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6)");

	query_int(&q, change->asset_id);
	query_int(&q, change->now_s);
	query_int(&q, change->from);
	query_int(&q, change->to);
	query_text_cut(&q, change->actor, REG_VALUE_MAX);
	query_text_cut(&q, change->reason, STORE_SENTENCE_MAX);
	return query_run(&q, e);
}

/* Through the index of requests; see schema.c. */
#define OF_ASSET "id IN (SELECT cert_id FROM request WHERE asset_id = ?1)"

/* Expired ones too: a label may let them renew. */
static int
revoke_all(struct tx *tx, const struct state_change *change, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE certificate SET status = 1, revoked_s = ?2, revoke_reason = ?3"
		" WHERE " OF_ASSET " AND status <> 1");

	query_int(&q, change->asset_id);
	query_int(&q, change->now_s);
	query_text(&q, asset_state_name(change->to));
	return query_run(&q, e);
}

static int
hold_all(struct tx *tx, const struct state_change *change, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(tx->conn, "UPDATE certificate SET status = 2, revoked_s = ?2 WHERE " OF_ASSET " AND status = 0");

	query_int(&q, change->asset_id);
	query_int(&q, change->now_s);
	return query_run(&q, e);
}

static int
lift_holds(struct tx *tx, const struct state_change *change, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(tx->conn, "UPDATE certificate SET status = 0, revoked_s = 0 WHERE " OF_ASSET " AND status = 2");

	query_int(&q, change->asset_id);
	return query_run(&q, e);
}

/* Back in service, by whatever way: what the quarantine held is good again. */
static bool
in_service(enum asset_state state)
{
	return state == ASSET_STAGED || state == ASSET_DEPLOYED;
}

static int
on_entry(struct tx *tx, const struct state_change *change, int64_t *touched, int64_t *lifted, struct err *e)
{
	int rc = 0;

	switch (asset_state_rules(change->to)->on_entry) {
	case ENTRY_REVOKE:
		rc = revoke_all(tx, change, e);
		*touched = sqlite3_changes64(tx->conn->db);
		if (rc == 0 && *touched > 0)
			rc = quota_settle(tx, change->asset_id, e);
		break;
	case ENTRY_HOLD:
		rc = hold_all(tx, change, e);
		*touched = sqlite3_changes64(tx->conn->db);
		break;
	case ENTRY_NOTHING:
		if (!in_service(change->to))
			break;
		rc = lift_holds(tx, change, e);
		*lifted = sqlite3_changes64(tx->conn->db);
		break;
	}
	return rc;
}

int
state_apply(struct tx *tx, const struct state_change *change, int64_t *touched, int64_t *lifted, struct err *e)
{
	*touched = 0;
	*lifted = 0;
	if (put_state(tx, change, e) != 0 || put_transition(tx, change, e) != 0 ||
		approval_drop_state(tx, change, e) != 0)
		return -1;
	if (change->from == ASSET_TRANSFER_PENDING && transfer_abandon(tx, change, e) != 0)
		return -1;
	return on_entry(tx, change, touched, lifted, e);
}
