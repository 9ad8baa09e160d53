#include "gateway/store/sqlite_internal.h"

/*
 * Who of an owner's assets may hold certificates of one profile. An asset has
 * a place until its certificate ends, or while its request waits; a place
 * whose time is over does not count, and goes when somebody counts. Rows are
 * counted by triggers, so nothing here depends on how many there are. Without
 * a quota, all of it is a lookup in an empty table.
 */
#define QUOTA_SWEEP_ROWS 64

struct numbers {
	int64_t most;
	int64_t used; /* places that are not over yet, of this asset too */
	int64_t over; /* places that are */
};

/* 1 and *out, 0: no quota, -1. */
static int
find_quota(struct conn *conn, int64_t owner_id, const char *profile, int64_t now_s, struct numbers *out, struct err *e)
{
	CLEANUP(query) struct query q = query_of(conn,
		"SELECT t.most, t.used, (SELECT count(*) FROM quota_place p WHERE p.owner_id = ?1 AND p.profile = ?2"
		" AND p.until_s <= ?3) FROM quota t WHERE t.owner_id = ?1 AND t.profile = ?2");
	int rc;

	query_int(&q, owner_id);
	query_text_cut(&q, profile, STORE_NAME_MAX);
	query_int(&q, now_s);
	rc = query_row(&q, e);
	if (rc == 1) {
		out->most = query_get_int(&q);
		out->used = query_get_int(&q);
		out->over = query_get_int(&q);
		out->used -= out->over;
	}
	return rc;
}

/* 1: the asset has a place that is not over, 0, -1. */
static int
has_place(struct conn *conn, int64_t asset_id, const char *profile, int64_t now_s, struct err *e)
{
	CLEANUP(query) struct query q = query_of(conn,
		"SELECT 1 FROM quota_place WHERE asset_id = ?1 AND profile = ?2 AND until_s > ?3");

	query_int(&q, asset_id);
	query_text_cut(&q, profile, STORE_NAME_MAX);
	query_int(&q, now_s);
	return query_row(&q, e);
}

int
sqlite_quota(struct store_read *read, int64_t owner_id, const char *profile, int64_t asset_id, int64_t now_s,
	int64_t *limit, int64_t *used, bool *held, struct err *e)
{
	struct numbers n;
	int rc = find_quota(&read->conn, owner_id, profile, now_s, &n, e), own;

	if (rc != 1)
		return rc;
	own = has_place(&read->conn, asset_id, profile, now_s, e);
	if (own < 0)
		return -1;
	*limit = n.most;
	*used = n.used - own;
	*held = own == 1;
	return 1;
}

int
quota_claim(struct tx *tx, const struct store_outcome *o, int64_t owner_id, struct quota_claim *claim, struct err *e)
{
	struct numbers n;
	int rc;

	claim->owner_id = 0;
	if (!o->quota || o->state == REQUEST_DENIED)
		return 0;
	rc = find_quota(tx->conn, owner_id, o->profile, o->now_s, &n, e);
	if (rc != 1)
		return rc;
	claim->owner_id = owner_id;
	claim->sweep = n.over > 0;
	if (n.used < n.most)
		return 0;
	/* It keeps what it has, also when the limit was lowered below that. */
	rc = has_place(tx->conn, o->asset_id, o->profile, o->now_s, e);
	if (rc < 0)
		return -1;
	return rc == 1 ? 0 : CLAIM_LOST;
}

/* A few at a time: each request that takes a place clears more than it takes. */
static int
sweep_one(struct tx *tx, int64_t owner_id, const char *profile, int64_t now_s, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"DELETE FROM quota_place WHERE profile = ?2 AND asset_id IN (SELECT asset_id FROM quota_place"
		" WHERE owner_id = ?1 AND profile = ?2 AND until_s <= ?3 ORDER BY until_s LIMIT ?4)");

	query_int(&q, owner_id);
	query_text_cut(&q, profile, STORE_NAME_MAX);
	query_int(&q, now_s);
	query_int(&q, QUOTA_SWEEP_ROWS);
	return query_run(&q, e);
}

static int
put_place(struct tx *tx, const struct store_outcome *o, int64_t owner_id, int64_t request_id, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO quota_place (asset_id, profile, owner_id, cert_until_s, hold_until_s, hold_request_id)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (asset_id, profile) DO UPDATE SET"
		" cert_until_s = max(cert_until_s, excluded.cert_until_s),"
		" hold_until_s = CASE WHEN ?6 IS NOT NULL THEN max(hold_until_s, ?5)"
		" WHEN hold_request_id IS ?7 THEN 0 ELSE hold_until_s END,"
		" hold_request_id = CASE WHEN ?6 IS NOT NULL THEN ?6"
		" WHEN hold_request_id IS ?7 THEN NULL ELSE hold_request_id END");
	bool issued = o->state == REQUEST_ISSUED;

	query_int(&q, o->asset_id);
	query_text_cut(&q, o->profile, STORE_NAME_MAX);
	query_int(&q, owner_id);
	query_int(&q, issued ? o->not_after_s : 0);
	query_int(&q, issued ? 0 : o->now_s + o->quota_hold_s);
	query_id(&q, issued ? 0 : request_id);
	query_int(&q, request_id);
	return query_run(&q, e);
}

int
quota_keep(struct tx *tx, const struct store_outcome *o, const struct quota_claim *claim, int64_t request_id,
	struct err *e)
{
	if (o->state == REQUEST_DENIED)
		return o->request_id == 0 ? 0 : quota_release(tx, request_id, e);
	if (claim->owner_id == 0)
		return 0;
	if (claim->sweep && sweep_one(tx, claim->owner_id, o->profile, o->now_s, e) != 0)
		return -1;
	if (put_place(tx, o, claim->owner_id, request_id, e) != 0)
		return -1;
	/* What it superseded may have had a longer life. */
	return o->state == REQUEST_ISSUED && o->supersede ? quota_settle(tx, o->asset_id, e) : 0;
}

static int
drop_empty(struct tx *tx, int64_t asset_id, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(tx->conn, "DELETE FROM quota_place WHERE asset_id = ?1 AND until_s = 0");

	query_int(&q, asset_id);
	return query_run(&q, e);
}

/* 1 and *asset_id when a place was held for it. Another of its requests that waits goes on holding it. */
static int
pass_hold_on(struct tx *tx, int64_t request_id, int64_t *asset_id, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE quota_place SET hold_request_id = (SELECT max(r.id) FROM request r"
		" WHERE r.asset_id = quota_place.asset_id AND r.profile = quota_place.profile AND r.state IN (0, 1)"
		" AND r.id <> ?1)"
		" WHERE asset_id = (SELECT asset_id FROM request WHERE id = ?1) AND hold_request_id = ?1"
		" RETURNING asset_id");
	int rc;

	query_int(&q, request_id);
	rc = query_row(&q, e);
	if (rc == 1)
		*asset_id = query_get_int(&q);
	return rc;
}

int
quota_release(struct tx *tx, int64_t request_id, struct err *e)
{
	CLEANUP(query) struct query q = {0};
	int64_t asset_id;
	int rc = pass_hold_on(tx, request_id, &asset_id, e);

	if (rc != 1)
		return rc;
	q = query_of(tx->conn,
		"UPDATE quota_place SET hold_until_s = 0 WHERE asset_id = ?1 AND hold_request_id IS NULL");
	query_int(&q, asset_id);
	return query_run(&q, e) != 0 ? -1 : drop_empty(tx, asset_id, e);
}

int
quota_settle(struct tx *tx, int64_t asset_id, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE quota_place SET cert_until_s = coalesce((SELECT max(c.not_after_s) FROM request r"
		" CROSS JOIN certificate c ON c.id = r.cert_id WHERE r.asset_id = quota_place.asset_id"
		" AND c.status <> 1 AND c.profile = quota_place.profile), 0) WHERE asset_id = ?1");

	query_int(&q, asset_id);
	if (query_run(&q, e) != 0)
		return -1;
	return sqlite3_changes64(tx->conn->db) == 0 ? 0 : drop_empty(tx, asset_id, e);
}

int
quota_leave(struct tx *tx, int64_t asset_id, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn, "DELETE FROM quota_place WHERE asset_id = ?1");

	query_int(&q, asset_id);
	return query_run(&q, e);
}

#define FILL_COLUMNS "INSERT INTO quota_place (asset_id, profile, owner_id, cert_until_s) SELECT "
#define FILL_CERTS \
	" CROSS JOIN request r ON r.asset_id = a.id CROSS JOIN certificate c ON c.id = r.cert_id" \
	" WHERE c.profile = t.profile AND c.status <> 1"

int
quota_fill(struct tx *tx, int64_t asset_id, int64_t now_s, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		FILL_COLUMNS "a.id, t.profile, t.owner_id, max(c.not_after_s)"
		" FROM asset a CROSS JOIN quota t ON t.owner_id = a.owner_id" FILL_CERTS
		" AND a.id = ?1 AND c.not_after_s > ?2 GROUP BY t.profile");

	query_int(&q, asset_id);
	query_int(&q, now_s);
	return query_run(&q, e);
}

int
quota_sweep(struct tx *tx, int64_t now_s, int max, int *count, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"DELETE FROM quota_place WHERE (asset_id, profile) IN (SELECT p.asset_id, p.profile FROM quota t"
		" CROSS JOIN quota_place p ON p.owner_id = t.owner_id AND p.profile = t.profile"
		" AND p.until_s <= ?1 LIMIT ?2)");

	query_int(&q, now_s);
	query_int(&q, max);
	if (query_run(&q, e) != 0)
		return -1;
	*count = (int)sqlite3_changes64(tx->conn->db);
	return 0;
}

/* Setting one. */

struct quota_write {
	const char *owner, *profile, *actor;
	int64_t limit, now_s;
	int64_t owner_id, was; /* -1: there was none */
};

static int
find_limit(struct tx *tx, struct quota_write *w, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(tx->conn, "SELECT most FROM quota WHERE owner_id = ?1 AND profile = ?2");
	int rc;

	query_int(&q, w->owner_id);
	query_text(&q, w->profile);
	rc = query_row(&q, e);
	w->was = rc == 1 ? query_get_int(&q) : -1;
	return rc < 0 ? -1 : 0;
}

static int
put_limit(struct tx *tx, const struct quota_write *w, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO quota (owner_id, profile, most) VALUES (?1, ?2, ?3)"
		" ON CONFLICT (owner_id, profile) DO UPDATE SET most = excluded.most");

	query_int(&q, w->owner_id);
	query_text(&q, w->profile);
	query_int(&q, w->limit);
	return query_run(&q, e);
}

/* Every asset of the owner that has a certificate of the profile now. */
static int
fill_owner(struct tx *tx, const struct quota_write *w, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		FILL_COLUMNS "a.id, t.profile, t.owner_id, max(c.not_after_s)"
		" FROM quota t CROSS JOIN asset a INDEXED BY asset_owner ON a.owner_id = t.owner_id" FILL_CERTS
		" AND t.owner_id = ?1 AND t.profile = ?2 AND c.not_after_s > ?3 GROUP BY a.id");

	query_int(&q, w->owner_id);
	query_text(&q, w->profile);
	query_int(&q, w->now_s);
	return query_run(&q, e);
}

static int
drop_quota(struct tx *tx, const struct quota_write *w, struct err *e)
{
	CLEANUP(query) struct query places =
		query_of(tx->conn, "DELETE FROM quota_place WHERE owner_id = ?1 AND profile = ?2");
	CLEANUP(query) struct query quota =
		query_of(tx->conn, "DELETE FROM quota WHERE owner_id = ?1 AND profile = ?2");

	query_int(&places, w->owner_id);
	query_text(&places, w->profile);
	if (query_run(&places, e) != 0)
		return -1;
	query_int(&quota, w->owner_id);
	query_text(&quota, w->profile);
	return query_run(&quota, e);
}

static int
apply(struct tx *tx, const struct quota_write *w, struct err *e)
{
	if (w->limit < 0 && w->was < 0)
		return err_set(e, ERR_DENIED, "owner %s has no quota for %s", w->owner, w->profile);
	if (w->limit < 0)
		return drop_quota(tx, w, e);
	if (put_limit(tx, w, e) != 0)
		return -1;
	return w->was < 0 ? fill_owner(tx, w, e) : 0;
}

static int
quota_job(struct tx *tx, void *arg, struct err *e)
{
	struct quota_write *w = arg;
	CLEANUP(buf) struct buf detail = {0};
	struct owner owner;
	struct numbers n;
	int rc;

	if (lookup_owner(tx, w->owner, &owner, e) != 0)
		return -1;
	w->owner_id = owner.id;
	if (find_limit(tx, w, e) != 0 || apply(tx, w, e) != 0)
		return -1;
	rc = find_quota(tx->conn, w->owner_id, w->profile, w->now_s, &n, e);
	if (rc < 0)
		return -1;
	json_open(&detail);
	json_text(&detail, "profile", w->profile);
	json_int(&detail, "limit", w->limit);
	if (w->was >= 0)
		json_int(&detail, "was", w->was);
	if (rc == 1)
		json_int(&detail, "used", n.used);
	json_close(&detail);
	return store_append(tx, w->now_s, w->actor, "quota.set", w->owner, &detail, e);
}

static void
no_tick(void *arg)
{
	(void)arg;
}

int
sqlite_quota_put(struct store *store, const char *owner, const char *profile, int64_t limit, const char *actor,
	int64_t now_s, struct err *e)
{
	struct quota_write write = {owner, profile, actor, limit, now_s, 0, -1};

	if (profile[0] == '\0' || text_fit(profile, STORE_NAME_MAX) != text_fit(profile, STORE_SUBJECT_MAX))
		return err_set(e, ERR_DENIED, "a quota is for a profile, by its name");
	if (limit < -1)
		return err_set(e, ERR_DENIED, "a quota of %lld assets", (long long)limit);
	if (store->read_only)
		return err_set(e, ERR_UPSTREAM, "database: opened for reading only");
	/* Long for an owner with very many assets: alone in its transaction. */
	return writer_call(&store->writer, quota_job, &write, no_tick, e);
}

int
sqlite_quota_list(struct store_read *read, const char *owner, int64_t now_s, quota_cb cb, void *arg, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT o.name, t.profile, t.most, t.used - (SELECT count(*) FROM quota_place p"
		" WHERE p.owner_id = t.owner_id AND p.profile = t.profile AND p.until_s <= ?2)"
		" FROM quota t CROSS JOIN owner o ON o.id = t.owner_id WHERE ?1 IS NULL OR o.name = ?1"
		" ORDER BY o.name, t.profile");
	struct quota_row row;
	int rc;

	query_text_or_null(&q, owner);
	query_int(&q, now_s);
	while ((rc = query_row(&q, e)) == 1) {
		query_get_text(&q, row.owner, sizeof row.owner);
		query_get_text(&q, row.profile, sizeof row.profile);
		row.limit = query_get_int(&q);
		row.used = query_get_int(&q);
		if (!cb(arg, &row))
			return 0;
	}
	return rc;
}
