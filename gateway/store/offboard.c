#include "gateway/store/sqlite_internal.h"

/*
 * An owner leaves: new enrollments end at once, renewals when the grace is
 * over, and then every certificate of its assets is revoked, some assets at a
 * time. The row in "offboard" says how far that is, so it survives a restart.
 */

struct offboard_write {
	const char *name, *reason, *actor;
	int64_t end_s, now_s;
};

static int
put_offboarding(struct tx *tx, int64_t owner_id, int64_t end_s, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(tx->conn, "UPDATE owner SET status = ?2, offboard_end_s = ?3 WHERE id = ?1");

	query_int(&q, owner_id);
	query_int(&q, OWNER_OFFBOARDING);
	query_int(&q, end_s);
	return query_run(&q, e);
}

static int
offboard_job(struct tx *tx, void *arg, struct err *e)
{
	const struct offboard_write *w = arg;
	CLEANUP(buf) struct buf detail = {0};
	struct owner owner;

	if (lookup_owner(tx, w->name, &owner, e) != 0)
		return -1;
	if (owner.status == OWNER_OFFBOARDED)
		return err_set(e, ERR_DENIED, "owner %s has left already", owner.name);
	if (put_offboarding(tx, owner.id, w->end_s, e) != 0)
		return -1;
	json_open(&detail);
	json_text(&detail, "was", owner_status_name(owner.status));
	json_int(&detail, "end_s", w->end_s);
	json_text(&detail, "reason", w->reason);
	json_close(&detail);
	return store_append(tx, w->now_s, w->actor, "owner.offboarding", owner.name, &detail, e);
}

int
sqlite_owner_offboard(struct store *store, const char *name, int64_t end_s, const char *reason, const char *actor,
	int64_t now_s, struct err *e)
{
	struct offboard_write write = {name, reason, actor, end_s, now_s};

	if (end_s < now_s)
		return err_set(e, ERR_DENIED, "an owner's grace does not end in the past");
	return store_write(store, offboard_job, &write, e);
}

/* Its grace has ended. Nothing is renewed from here on. */
static int
begin(struct tx *tx, int64_t owner_id, struct err *e)
{
	CLEANUP(query) struct query owner =
		query_of(tx->conn, "UPDATE owner SET status = ?2, offboard_end_s = 0 WHERE id = ?1");
	CLEANUP(query) struct query row = query_of(tx->conn,
		"INSERT INTO offboard (owner_id, after_id, assets, revoked) VALUES (?1, 0, 0, 0)"
		" ON CONFLICT (owner_id) DO UPDATE SET after_id = 0, assets = 0, revoked = 0");

	query_int(&owner, owner_id);
	query_int(&owner, OWNER_OFFBOARDED);
	if (query_run(&owner, e) != 0)
		return -1;
	query_int(&row, owner_id);
	return query_run(&row, e);
}

/* *all: none is left that has not begun. */
static int
begin_ended(struct tx *tx, int64_t now_s, int max, bool *all, struct err *e)
{
	int rc = 1;

	for (int n = 0; n < max && rc == 1; n++) {
		CLEANUP(query) struct query q = query_of(tx->conn,
			"SELECT id FROM owner WHERE status = 2 AND offboard_end_s > 0 AND offboard_end_s <= ?1 LIMIT 1");
		int64_t id;

		query_int(&q, now_s);
		rc = query_row(&q, e);
		if (rc != 1)
			break;
		id = query_get_int(&q);
		query_end(&q);
		if (begin(tx, id, e) != 0)
			return -1;
	}
	*all = rc == 0;
	return rc < 0 ? -1 : 0;
}

struct leaving {
	int64_t owner_id, after_id, assets, revoked;
	enum owner_status status;
	char name[REG_TEXT_MAX];
};

/* 1: one that is being revoked, 0: none, -1. */
static int
next_leaving(struct tx *tx, struct leaving *out, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"SELECT f.owner_id, f.after_id, f.assets, f.revoked, o.status, o.name"
		" FROM offboard f CROSS JOIN owner o ON o.id = f.owner_id ORDER BY f.owner_id LIMIT 1");
	int rc = query_row(&q, e);

	if (rc != 1)
		return rc;
	out->owner_id = query_get_int(&q);
	out->after_id = query_get_int(&q);
	out->assets = query_get_int(&q);
	out->revoked = query_get_int(&q);
	out->status = (enum owner_status)query_get_int(&q);
	query_get_text(&q, out->name, sizeof out->name);
	return 1;
}

static int
revoke_asset(struct tx *tx, int64_t asset_id, int64_t now_s, int64_t *revoked, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE certificate SET status = 1, revoked_s = ?2, revoke_reason = 'offboarded'"
		" WHERE id IN (SELECT cert_id FROM request WHERE asset_id = ?1) AND status <> 1");

	query_int(&q, asset_id);
	query_int(&q, now_s);
	if (query_run(&q, e) != 0)
		return -1;
	*revoked = sqlite3_changes64(tx->conn->db);
	if (quota_leave(tx, asset_id, e) != 0)
		return -1;
	return *revoked == 0 ? 0 : store_bump(tx, asset_id, e);
}

static int
append_asset(struct tx *tx, const struct leaving *l, const char *tag, int64_t now_s, int64_t revoked, struct err *e)
{
	CLEANUP(buf) struct buf detail = {0};

	json_open(&detail);
	json_text(&detail, "owner", l->name);
	json_int(&detail, "revoked", revoked);
	json_close(&detail);
	return store_append(tx, now_s, "enrolld", "asset.offboarded", tag, &detail, e);
}

/* 1: one asset is done, 0: there are no more, -1. */
static int
next_asset(struct tx *tx, struct leaving *l, int64_t now_s, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"SELECT id, tag FROM asset INDEXED BY asset_owner WHERE owner_id = ?1 AND id > ?2 ORDER BY id LIMIT 1");
	char tag[REG_TEXT_MAX];
	int64_t revoked;
	int rc;

	query_int(&q, l->owner_id);
	query_int(&q, l->after_id);
	rc = query_row(&q, e);
	if (rc != 1)
		return rc;
	l->after_id = query_get_int(&q);
	query_get_text(&q, tag, sizeof tag);
	query_end(&q);
	if (revoke_asset(tx, l->after_id, now_s, &revoked, e) != 0)
		return -1;
	l->assets++;
	l->revoked += revoked;
	return revoked > 0 && append_asset(tx, l, tag, now_s, revoked, e) != 0 ? -1 : 1;
}

static int
save(struct tx *tx, const struct leaving *l, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE offboard SET after_id = ?2, assets = ?3, revoked = ?4 WHERE owner_id = ?1");

	query_int(&q, l->owner_id);
	query_int(&q, l->after_id);
	query_int(&q, l->assets);
	query_int(&q, l->revoked);
	return query_run(&q, e);
}

static int
drop(struct tx *tx, const struct leaving *l, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn, "DELETE FROM offboard WHERE owner_id = ?1");

	query_int(&q, l->owner_id);
	return query_run(&q, e);
}

static int
finish(struct tx *tx, const struct leaving *l, int64_t now_s, struct err *e)
{
	CLEANUP(buf) struct buf detail = {0};

	json_open(&detail);
	json_int(&detail, "assets", l->assets);
	json_int(&detail, "revoked", l->revoked);
	json_close(&detail);
	return drop(tx, l, e) != 0 ? -1 : store_append(tx, now_s, "enrolld", "owner.offboarded", l->name, &detail, e);
}

int
offboard_step(struct tx *tx, int64_t now_s, int max, struct offboard_report *report, bool *more, struct err *e)
{
	struct leaving l;
	bool all;
	int rc;

	if (begin_ended(tx, now_s, max, &all, e) != 0)
		return -1;
	*more = !all;
	while ((rc = next_leaving(tx, &l, e)) == 1) {
		struct leaving before = l;
		int assets = 1;

		/* An operator took the owner back meanwhile: what is revoked stays so, the rest is let be. */
		if (l.status != OWNER_OFFBOARDED) {
			if (drop(tx, &l, e) != 0)
				return -1;
			continue;
		}
		while (max > 0 && (assets = next_asset(tx, &l, now_s, e)) == 1)
			max--;
		if (assets < 0)
			return -1;
		report->assets += l.assets - before.assets;
		report->revoked += l.revoked - before.revoked;
		if (assets == 1) {
			*more = true;
			return save(tx, &l, e);
		}
		if (finish(tx, &l, now_s, e) != 0)
			return -1;
		report->owners++;
	}
	return rc;
}
