#include "gateway/store/sqlite_internal.h"

#include <stdio.h>
#include <string.h>

#define EXCEPTION_S_MAX ((int64_t)366 * 86400) /* a year ahead, leap years too */
#define EXCEPTION_USES_MAX 1000
#define EXCEPTION_WAIVES_ALL \
	(EXCEPTION_ATTESTATION | EXCEPTION_QUOTA | EXCEPTION_RULES | EXCEPTION_RENEWAL_WINDOW)

/* Asking for one. */

struct exception_write {
	const struct exception_row *row;
	const char *actor;
	int64_t now_s;
	int64_t asset_id, owner_id; /* one of them is 0 */
	char subject[REG_TEXT_MAX];
	int needed;
	int64_t id, approval_id;
};

static int
check_row(const struct exception_row *row, int64_t now_s, struct err *e)
{
	bool asset = row->asset_id != 0 || row->asset_tag[0] != '\0';

	if (asset == (row->owner[0] != '\0'))
		return err_set(e, ERR_DENIED, "an exception is for an asset or for an owner");
	if (row->waives == 0 || (row->waives & ~EXCEPTION_WAIVES_ALL) != 0)
		return err_set(e, ERR_DENIED, "an exception names what it waives");
	if (row->reason[0] == '\0' || row->ticket[0] == '\0')
		return err_set(e, ERR_DENIED, "an exception needs a reason and a ticket");
	if (row->expires_s <= now_s || row->expires_s - now_s > EXCEPTION_S_MAX)
		return err_set(e, ERR_DENIED, "an exception expires within a year from now");
	if (row->max_uses < 1 || row->max_uses > EXCEPTION_USES_MAX)
		return err_set(e, ERR_DENIED, "an exception is good for 1 to %d uses", EXCEPTION_USES_MAX);
	return 0;
}

static int
find_scope(struct tx *tx, struct exception_write *w, struct err *e)
{
	struct asset_brief asset;
	struct owner owner;

	w->asset_id = 0;
	w->owner_id = 0;
	if (w->row->owner[0] != '\0') {
		if (lookup_owner(tx, w->row->owner, &owner, e) != 0)
			return -1;
		w->owner_id = owner.id;
		memcpy(w->subject, owner.name, sizeof w->subject);
		return 0;
	}
	if ((w->row->asset_tag[0] != '\0' ? lookup_asset(tx, w->row->asset_tag, &asset, e) :
			lookup_asset_by_id(tx, w->row->asset_id, &asset, e)) != 0)
		return -1;
	w->asset_id = asset.id;
	memcpy(w->subject, asset.tag, sizeof w->subject);
	return 0;
}

static int
needs(struct tx *tx, int64_t asset_id, int64_t owner_id, int *out, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"SELECT EXISTS (SELECT 1 FROM asset WHERE id = ?1 AND tier = 3)"
		" OR EXISTS (SELECT 1 FROM asset INDEXED BY asset_tier_3 WHERE owner_id = ?2 AND tier = 3)");

	query_int(&q, asset_id);
	query_int(&q, owner_id);
	if (query_row(&q, e) < 0)
		return -1;
	*out = query_get_int(&q) != 0 ? 2 : 1;
	return 0;
}

static int
insert_exception(struct tx *tx, struct exception_write *w, struct err *e)
{
	const struct exception_row *row = w->row;
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO exception (asset_id, owner_id, label, waives, reason, ticket, state, requested_by,"
		" approvals_needed, created_s, expires_s, max_uses)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)");

	query_id(&q, w->asset_id);
	query_id(&q, w->owner_id);
	query_text(&q, row->label[0] == '\0' ? "*" : row->label);
	query_int(&q, row->waives);
	query_text(&q, row->reason);
	query_text(&q, row->ticket);
	query_int(&q, EXCEPTION_REQUESTED);
	query_text_cut(&q, w->actor, STORE_NAME_MAX);
	query_int(&q, w->needed);
	query_int(&q, w->now_s);
	query_int(&q, row->expires_s);
	query_int(&q, row->max_uses);
	if (query_run(&q, e) != 0)
		return -1;
	w->id = sqlite3_last_insert_rowid(tx->conn->db);
	return 0;
}

static void
put_waivers(struct buf *out, unsigned waives)
{
	const char *between = "";

	for (unsigned bit = 1; bit <= EXCEPTION_WAIVES_ALL; bit <<= 1)
		if ((waives & bit) != 0) {
			buf_printf(out, "%s%s", between, exception_waiver_name(bit));
			between = ", ";
		}
}

static int
ask_approval(struct tx *tx, struct exception_write *w, struct err *e)
{
	CLEANUP(buf) struct buf detail = {0};
	char subject[24];
	struct approval_ask ask = {
		.kind = "exception",
		.subject = subject,
		.reason = w->row->reason,
		.actor = w->actor,
		.needed = w->needed,
		.now_s = w->now_s,
		.expires_s = w->row->expires_s,
		.exception_id = w->id,
	};

	(void)snprintf(subject, sizeof subject, "%lld", (long long)w->id);
	buf_printf(&detail, "%s %s, ticket %s: waives ", w->asset_id != 0 ? "asset" : "owner", w->subject,
		w->row->ticket);
	put_waivers(&detail, w->row->waives);
	if (buf_failed(&detail))
		return err_set(e, ERR_NOMEM, "approval");
	ask.detail = buf_text(&detail);
	return approval_put(tx, &ask, &w->approval_id, e);
}

static int
request_job(struct tx *tx, void *arg, struct err *e)
{
	struct exception_write *w = arg;
	CLEANUP(buf) struct buf detail = {0}, waives = {0};

	put_waivers(&waives, w->row->waives);
	if (find_scope(tx, w, e) != 0 || needs(tx, w->asset_id, w->owner_id, &w->needed, e) != 0 ||
		insert_exception(tx, w, e) != 0 || ask_approval(tx, w, e) != 0)
		return -1;
	json_open(&detail);
	json_int(&detail, "exception", w->id);
	json_int(&detail, "approval", w->approval_id);
	json_text(&detail, "waives", buf_text(&waives));
	json_text(&detail, "label", w->row->label[0] == '\0' ? "*" : w->row->label);
	json_text(&detail, "reason", w->row->reason);
	json_text(&detail, "ticket", w->row->ticket);
	json_int(&detail, "expires_s", w->row->expires_s);
	json_int(&detail, "max_uses", w->row->max_uses);
	json_int(&detail, "approvals_needed", w->needed);
	json_close(&detail);
	return store_append(tx, w->now_s, w->actor, "exception.requested", w->subject, &detail, e);
}

int
sqlite_exception_request(struct store *store, const struct exception_row *row, const char *actor, int64_t now_s,
	int64_t *id, int64_t *approval_id, struct err *e)
{
	struct exception_write write = {.row = row, .actor = actor, .now_s = now_s};

	if (check_row(row, now_s, e) != 0 || store_write(store, request_job, &write, e) != 0)
		return -1;
	if (id != NULL)
		*id = write.id;
	if (approval_id != NULL)
		*approval_id = write.approval_id;
	return 0;
}

/* Deciding and ending. */

struct found {
	int64_t id, asset_id, owner_id, expires_s;
	enum exception_state state;
	char subject[REG_TEXT_MAX];
};

static int
find(struct tx *tx, int64_t id, struct found *out, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"SELECT x.id, x.asset_id, x.owner_id, x.expires_s, x.state, coalesce(a.tag, o.name)"
		" FROM exception x LEFT JOIN asset a ON a.id = x.asset_id LEFT JOIN owner o ON o.id = x.owner_id"
		" WHERE x.id = ?1");
	int rc;

	query_int(&q, id);
	rc = query_row(&q, e);
	if (rc == 0)
		return err_set(e, ERR_DENIED, "there is no exception %lld", (long long)id);
	if (rc < 0)
		return -1;
	out->id = query_get_int(&q);
	out->asset_id = query_get_int(&q);
	out->owner_id = query_get_int(&q);
	out->expires_s = query_get_int(&q);
	out->state = (enum exception_state)query_get_int(&q);
	query_get_text(&q, out->subject, sizeof out->subject);
	return 0;
}

int
exception_needs(struct tx *tx, int64_t id, int *out, struct err *e)
{
	struct found x;

	return find(tx, id, &x, e) != 0 ? -1 : needs(tx, x.asset_id, x.owner_id, out, e);
}

static int
put_exception_state(struct tx *tx, int64_t id, enum exception_state state, const char *approved_by, struct err *e)
{
	/* What it needs from now on is what it got: more than it was asked with, when the risk had risen until then. */
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE exception SET state = ?2, approved_by = coalesce(?3, approved_by), approvals_needed ="
		" max(approvals_needed, CASE WHEN ?3 IS NULL THEN 0 ELSE (SELECT count(*) FROM approval p"
		" CROSS JOIN approval_vote v ON v.approval_id = p.id WHERE p.state = 0 AND p.state < 2"
		" AND p.exception_id = ?1 AND v.approves = 1) END) WHERE id = ?1");

	query_int(&q, id);
	query_int(&q, state);
	query_text_or_null(&q, approved_by);
	return query_run(&q, e);
}

int
exception_decide(struct tx *tx, int64_t id, const char *approved_by, const char *actor, int64_t now_s, struct err *e)
{
	CLEANUP(buf) struct buf detail = {0};
	struct found x;

	if (find(tx, id, &x, e) != 0)
		return -1;
	if (x.state != EXCEPTION_REQUESTED)
		return err_set(e, ERR_DENIED, "exception %lld is %s", (long long)id, exception_state_name(x.state));
	if (put_exception_state(tx, id, approved_by != NULL ? EXCEPTION_ACTIVE : EXCEPTION_REFUSED, approved_by, e) != 0)
		return -1;
	json_open(&detail);
	json_int(&detail, "exception", id);
	if (approved_by != NULL)
		json_text(&detail, "approved_by", approved_by);
	json_close(&detail);
	return store_append(tx, now_s, actor, approved_by != NULL ? "exception.active" : "exception.refused", x.subject,
		&detail, e);
}

struct revoke_write {
	int64_t id;
	const char *reason, *actor;
	int64_t now_s;
};

static int
revoke_job(struct tx *tx, void *arg, struct err *e)
{
	const struct revoke_write *w = arg;
	CLEANUP(buf) struct buf detail = {0};
	struct found x;

	if (find(tx, w->id, &x, e) != 0)
		return -1;
	if (x.state != EXCEPTION_REQUESTED && x.state != EXCEPTION_ACTIVE)
		return err_set(e, ERR_DENIED, "exception %lld is %s", (long long)w->id, exception_state_name(x.state));
	if (put_exception_state(tx, w->id, EXCEPTION_REVOKED, NULL, e) != 0 ||
		approval_drop_exception(tx, w->id, w->actor, w->now_s, e) != 0)
		return -1;
	json_open(&detail);
	json_int(&detail, "exception", w->id);
	json_text(&detail, "reason", w->reason);
	json_close(&detail);
	return store_append(tx, w->now_s, w->actor, "exception.revoked", x.subject, &detail, e);
}

int
sqlite_exception_revoke(struct store *store, int64_t id, const char *reason, const char *actor, int64_t now_s,
	struct err *e)
{
	struct revoke_write write = {id, reason, actor, now_s};

	return store_write(store, revoke_job, &write, e);
}

static int
drop_approvals_of_asset(struct tx *tx, int64_t asset_id, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE approval SET state = ?2 WHERE state = 0"
		" AND exception_id IN (SELECT id FROM exception WHERE asset_id = ?1 AND state = ?3)");

	query_int(&q, asset_id);
	query_int(&q, APPROVAL_REFUSED);
	query_int(&q, EXCEPTION_REVOKED);
	return query_run(&q, e);
}

/* Its owner's people gave it their word, not the next owner's. */
int
exception_end_of_asset(struct tx *tx, int64_t asset_id, int64_t *ended, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE exception SET state = ?2 WHERE asset_id = ?1 AND state IN (?3, ?4)");

	query_int(&q, asset_id);
	query_int(&q, EXCEPTION_REVOKED);
	query_int(&q, EXCEPTION_REQUESTED);
	query_int(&q, EXCEPTION_ACTIVE);
	if (query_run(&q, e) != 0)
		return -1;
	*ended = sqlite3_changes64(tx->conn->db);
	return *ended == 0 ? 0 : drop_approvals_of_asset(tx, asset_id, e);
}
