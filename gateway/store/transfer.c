#include "gateway/store/sqlite_internal.h"

#include <string.h>

#include "base/timefmt.h"

/*
 * Ownership moves in two steps by two people. What the old owner had on the
 * device ends with the second: certificates, secrets, open requests and
 * exceptions. The device's anchors stay: they are the device.
 */
#define TRANSFER_S_MAX ((int64_t)366 * 86400)

static const char *const actions[] = {
	[TRANSFER_OFFERED] = "transfer.offered",
	[TRANSFER_ACCEPTED] = "transfer.accepted",
	[TRANSFER_DECLINED] = "transfer.declined",
	[TRANSFER_CANCELLED] = "transfer.cancelled",
	[TRANSFER_EXPIRED] = "transfer.expired",
};

static int
check_active(const struct owner *owner, struct err *e)
{
	if (owner->status == OWNER_ACTIVE)
		return 0;
	return err_set(e, ERR_DENIED, "owner %s is %s; a transfer is between active owners", owner->name,
		owner_status_name(owner->status));
}

/* Offering. */

struct offer_write {
	const char *tag, *to_owner, *reason, *actor;
	int64_t now_s, expires_s, id;
};

static int
insert_transfer(struct tx *tx, struct offer_write *w, const struct asset_brief *asset, const struct owner *to,
	struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO transfer (asset_id, from_owner_id, to_owner_id, state, prior_state, reason, offered_by,"
		" offered_s, expires_s) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");

	query_int(&q, asset->id);
	query_int(&q, asset->owner_id);
	query_int(&q, to->id);
	query_int(&q, TRANSFER_OFFERED);
	query_int(&q, asset->state);
	query_text_cut(&q, w->reason, STORE_SENTENCE_MAX);
	query_text_cut(&q, w->actor, STORE_NAME_MAX);
	query_int(&q, w->now_s);
	query_int(&q, w->expires_s);
	if (query_run(&q, e) != 0)
		return -1;
	w->id = sqlite3_last_insert_rowid(tx->conn->db);
	return 0;
}

static int
check_offer(struct tx *tx, const struct offer_write *w, struct asset_brief *asset, struct owner *from,
	struct owner *to, struct err *e)
{
	if (w->expires_s <= w->now_s || w->expires_s - w->now_s > TRANSFER_S_MAX)
		return err_set(e, ERR_DENIED, "a transfer expires within a year from now");
	if (lookup_asset(tx, w->tag, asset, e) != 0 || lookup_owner(tx, w->to_owner, to, e) != 0 ||
		lookup_owner_by_id(tx, asset->owner_id, from, e) != 0)
		return -1;
	if (to->id == from->id)
		return err_set(e, ERR_DENIED, "asset %s belongs to %s already", asset->tag, to->name);
	if (check_active(from, e) != 0 || check_active(to, e) != 0)
		return -1;
	return asset_state_move(asset->state, ASSET_TRANSFER_PENDING, e);
}

static int
offer_job(struct tx *tx, void *arg, struct err *e)
{
	struct offer_write *w = arg;
	CLEANUP(buf) struct buf detail = {0};
	struct asset_brief asset;
	struct owner from, to;
	struct state_change change = {
		.to = ASSET_TRANSFER_PENDING,
		.reason = w->reason,
		.actor = w->actor,
		.now_s = w->now_s,
	};
	int64_t touched, lifted;

	if (check_offer(tx, w, &asset, &from, &to, e) != 0 || insert_transfer(tx, w, &asset, &to, e) != 0)
		return -1;
	change.asset_id = asset.id;
	change.from = asset.state;
	if (state_apply(tx, &change, &touched, &lifted, e) != 0)
		return -1;
	json_open(&detail);
	json_int(&detail, "transfer", w->id);
	json_text(&detail, "from", from.name);
	json_text(&detail, "to", to.name);
	json_text(&detail, "was", asset_state_name(asset.state));
	json_text(&detail, "reason", w->reason);
	json_int(&detail, "expires_s", w->expires_s);
	json_close(&detail);
	return store_append(tx, w->now_s, w->actor, actions[TRANSFER_OFFERED], asset.tag, &detail, e);
}

int
sqlite_transfer_offer(struct store *store, const char *tag, const char *to_owner, const char *reason,
	const char *actor, int64_t now_s, int64_t expires_s, int64_t *id, struct err *e)
{
	struct offer_write write = {tag, to_owner, reason, actor, now_s, expires_s, 0};

	if (store_write(store, offer_job, &write, e) != 0)
		return -1;
	if (id != NULL)
		*id = write.id;
	return 0;
}

/* Ending. */

struct transfer {
	int64_t id, from_owner_id, to_owner_id, expires_s;
	enum transfer_state state;
	enum asset_state prior;
	char offered_by[STORE_NAME_MAX];
	struct asset_brief asset;
};

struct ending {
	enum transfer_state to;
	const char *reason, *actor;
	int64_t now_s;
	/* what an acceptance has ended */
	int64_t revoked;
	struct rights_ended ended;
};

static int
load(struct tx *tx, int64_t id, struct transfer *out, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"SELECT id, from_owner_id, to_owner_id, expires_s, state, prior_state, offered_by, asset_id"
		" FROM transfer WHERE id = ?1");
	int rc;

	query_int(&q, id);
	rc = query_row(&q, e);
	if (rc == 0)
		return err_set(e, ERR_DENIED, "there is no transfer %lld", (long long)id);
	if (rc < 0)
		return -1;
	out->id = query_get_int(&q);
	out->from_owner_id = query_get_int(&q);
	out->to_owner_id = query_get_int(&q);
	out->expires_s = query_get_int(&q);
	out->state = (enum transfer_state)query_get_int(&q);
	out->prior = (enum asset_state)query_get_int(&q);
	query_get_text(&q, out->offered_by, sizeof out->offered_by);
	return lookup_asset_by_id(tx, query_get_int(&q), &out->asset, e);
}

static int
put_ended(struct tx *tx, const struct transfer *t, const struct ending *end, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE transfer SET state = ?2, decided_by = ?3, decided_s = ?4 WHERE id = ?1");

	query_int(&q, t->id);
	query_int(&q, end->to);
	query_text_cut(&q, end->actor, STORE_NAME_MAX);
	query_int(&q, end->now_s);
	return query_run(&q, e);
}

static int
give_to_new_owner(struct tx *tx, const struct transfer *t, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn, "UPDATE asset SET owner_id = ?2 WHERE id = ?1");

	query_int(&q, t->asset.id);
	query_int(&q, t->to_owner_id);
	return query_run(&q, e);
}

static int
revoke_certs(struct tx *tx, const struct transfer *t, struct ending *end, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE certificate SET status = 1, revoked_s = ?2, revoke_reason = 'transferred'"
		" WHERE id IN (SELECT cert_id FROM request WHERE asset_id = ?1) AND status <> 1");

	query_int(&q, t->asset.id);
	query_int(&q, end->now_s);
	if (query_run(&q, e) != 0)
		return -1;
	end->revoked = sqlite3_changes64(tx->conn->db);
	return 0;
}

static int
end_secrets(struct tx *tx, int64_t asset_id, int64_t now_s, int64_t *ended, struct err *e)
{
	/* A secret is good up to and with the second in which it expires. */
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE secret SET expires_s = ?2 - 1"
		" WHERE asset_id = ?1 AND (expires_s = 0 OR expires_s >= ?2) AND (once = 0 OR used_s = 0)");

	query_int(&q, asset_id);
	query_int(&q, now_s);
	if (query_run(&q, e) != 0)
		return -1;
	*ended = sqlite3_changes64(tx->conn->db);
	return 0;
}

static int
deny_open_requests(struct tx *tx, int64_t asset_id, const char *actor, int64_t now_s, int64_t *denied, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE request SET state = ?2, updated_s = ?3, reason = 'transferred',"
		" sentence = 'the device has another owner now', decided_by = ?4"
		" WHERE asset_id = ?1 AND state IN (?5, ?6)");

	query_int(&q, asset_id);
	query_int(&q, REQUEST_DENIED);
	query_int(&q, now_s);
	query_text_cut(&q, actor, STORE_NAME_MAX);
	query_int(&q, REQUEST_PENDING);
	query_int(&q, REQUEST_APPROVED);
	if (query_run(&q, e) != 0)
		return -1;
	*denied = sqlite3_changes64(tx->conn->db);
	return 0;
}

int
transfer_end_rights(struct tx *tx, int64_t asset_id, const char *actor, int64_t now_s, struct rights_ended *out,
	struct err *e)
{
	if (end_secrets(tx, asset_id, now_s, &out->secrets, e) != 0 ||
		deny_open_requests(tx, asset_id, actor, now_s, &out->requests, e) != 0)
		return -1;
	return exception_end_of_asset(tx, asset_id, &out->exceptions, e);
}

void
transfer_json_ended(struct buf *b, const struct rights_ended *ended)
{
	json_int(b, "secrets_ended", ended->secrets);
	json_int(b, "requests_denied", ended->requests);
	json_int(b, "exceptions_ended", ended->exceptions);
}

static int
hand_over(struct tx *tx, const struct transfer *t, struct ending *end, struct err *e)
{
	if (revoke_certs(tx, t, end, e) != 0 ||
		transfer_end_rights(tx, t->asset.id, end->actor, end->now_s, &end->ended, e) != 0)
		return -1;
	return quota_leave(tx, t->asset.id, e) != 0 ? -1 : give_to_new_owner(tx, t, e);
}

static int
append_ending(struct tx *tx, const struct transfer *t, const struct ending *end, struct err *e)
{
	CLEANUP(buf) struct buf detail = {0};
	struct owner owner;

	json_open(&detail);
	json_int(&detail, "transfer", t->id);
	if (lookup_owner_by_id(tx, t->from_owner_id, &owner, e) != 0)
		return -1;
	json_text(&detail, "from", owner.name);
	if (lookup_owner_by_id(tx, t->to_owner_id, &owner, e) != 0)
		return -1;
	json_text(&detail, "to", owner.name);
	json_text(&detail, "reason", end->reason);
	if (end->to == TRANSFER_ACCEPTED) {
		json_int(&detail, "revoked", end->revoked);
		transfer_json_ended(&detail, &end->ended);
	}
	json_close(&detail);
	return store_append(tx, end->now_s, end->actor, actions[end->to], t->asset.tag, &detail, e);
}

static int
finish(struct tx *tx, const struct transfer *t, struct ending *end, struct err *e)
{
	struct state_change change = {
		.asset_id = t->asset.id,
		.from = t->asset.state,
		.to = end->to == TRANSFER_ACCEPTED ? ASSET_STAGED : t->prior,
		.reason = end->reason,
		.actor = end->actor,
		.now_s = end->now_s,
	};
	int64_t touched, lifted;

	if (put_ended(tx, t, end, e) != 0)
		return -1;
	if (end->to == TRANSFER_ACCEPTED && hand_over(tx, t, end, e) != 0)
		return -1;
	/* It left on its own before; then it stays where it is. */
	if (t->asset.state == ASSET_TRANSFER_PENDING && state_apply(tx, &change, &touched, &lifted, e) != 0)
		return -1;
	return append_ending(tx, t, end, e);
}

static const char *
user_of(const char *actor)
{
	static const char prefix[] = "operator:";

	return strncmp(actor, prefix, sizeof prefix - 1) == 0 ? actor + sizeof prefix - 1 : actor;
}

/* Comma-separated, with blanks or without. */
static bool
names(const char *list, const char *user)
{
	size_t len = strlen(user);

	while (*list != '\0') {
		size_t end;

		list += strspn(list, ", ");
		end = strcspn(list, ",");
		while (end > 0 && list[end - 1] == ' ')
			end--;
		if (end > 0 && end == len && memcmp(list, user, len) == 0)
			return true;
		list += strcspn(list, ",");
	}
	return false;
}

static int
check_named(const struct owner *owner, const char *actor, struct err *e)
{
	if (owner->operators[0] == '\0' || names(owner->operators, user_of(actor)))
		return 0;
	return err_set(e, ERR_DENIED, "%s may not decide for owner %s", user_of(actor), owner->name);
}

static int
check_acceptance(const struct transfer *t, const struct owner *from, const struct owner *to, const char *actor,
	int64_t now_s, struct err *e)
{
	char when[TIME_TEXT_MAX];

	if (t->expires_s <= now_s) {
		time_text(t->expires_s, when);
		return err_set(e, ERR_DENIED, "transfer %lld has expired at %s", (long long)t->id, when);
	}
	if (t->asset.state != ASSET_TRANSFER_PENDING || t->asset.owner_id != t->from_owner_id)
		return err_set(e, ERR_DENIED, "asset %s is no longer what was offered", t->asset.tag);
	if (store_same_actor(t->offered_by, actor))
		return err_set(e, ERR_DENIED, "who offers a device does not accept it too");
	if (check_named(to, actor, e) != 0)
		return -1;
	return check_active(from, e) != 0 ? -1 : check_active(to, e);
}

static int
check_decision(struct tx *tx, const struct transfer *t, const struct ending *end, struct err *e)
{
	struct owner from, to;

	if (t->state != TRANSFER_OFFERED)
		return err_set(e, ERR_DENIED, "transfer %lld is %s", (long long)t->id, transfer_state_name(t->state));
	if (lookup_owner_by_id(tx, t->from_owner_id, &from, e) != 0 ||
		lookup_owner_by_id(tx, t->to_owner_id, &to, e) != 0)
		return -1;
	switch (end->to) {
	case TRANSFER_ACCEPTED:
		return check_acceptance(t, &from, &to, end->actor, end->now_s, e);
	case TRANSFER_DECLINED:
		return check_named(&to, end->actor, e);
	case TRANSFER_CANCELLED:
		return store_same_actor(t->offered_by, end->actor) ? 0 : check_named(&from, end->actor, e);
	case TRANSFER_OFFERED:
	case TRANSFER_EXPIRED:
		break;
	}
	return err_set(e, ERR_BUG, "a transfer is accepted, declined or cancelled");
}

struct decide_write {
	int64_t id;
	struct ending end;
};

static int
decide_job(struct tx *tx, void *arg, struct err *e)
{
	struct decide_write *w = arg;
	struct transfer t;

	if (load(tx, w->id, &t, e) != 0 || check_decision(tx, &t, &w->end, e) != 0)
		return -1;
	return finish(tx, &t, &w->end, e);
}

int
sqlite_transfer_decide(struct store *store, int64_t id, enum transfer_state to, const char *reason,
	const char *actor, int64_t now_s, struct err *e)
{
	struct decide_write write = {id, {.to = to, .reason = reason, .actor = actor, .now_s = now_s}};

	return store_write(store, decide_job, &write, e);
}

static int
next_where(struct query *q, struct tx *tx, struct transfer *out, struct err *e)
{
	int rc = query_row(q, e);
	int64_t id;

	if (rc != 1)
		return rc;
	id = query_get_int(q);
	query_end(q);
	return load(tx, id, out, e) != 0 ? -1 : 1;
}

/* Called from state_apply(); the asset is not in TRANSFER_PENDING any more. */
int
transfer_abandon(struct tx *tx, const struct state_change *change, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(tx->conn, "SELECT id FROM transfer WHERE asset_id = ?1 AND state = 0");
	struct ending end = {TRANSFER_CANCELLED, change->reason, change->actor, change->now_s, 0, {0}};
	struct transfer t;
	int rc;

	query_int(&q, change->asset_id);
	rc = next_where(&q, tx, &t, e);
	return rc == 1 ? finish(tx, &t, &end, e) : rc;
}

int
transfer_expire(struct tx *tx, int64_t now_s, int max, int *count, struct err *e)
{
	struct ending end = {TRANSFER_EXPIRED, "nobody accepted it in time", "enrolld", now_s, 0, {0}};
	struct transfer t;

	for (*count = 0; *count < max; (*count)++) {
		CLEANUP(query) struct query q = query_of(tx->conn,
			"SELECT id FROM transfer WHERE state = 0 AND expires_s <= ?1 ORDER BY expires_s LIMIT 1");
		int rc;

		query_int(&q, now_s);
		rc = next_where(&q, tx, &t, e);
		if (rc <= 0)
			return rc;
		if (finish(tx, &t, &end, e) != 0)
			return -1;
	}
	return 0;
}
