#include "gateway/store/sqlite_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/timefmt.h"

/*
 * What one operator asks for and others say yes to. The last yes that is
 * needed carries it out in its own transaction, on the world as it is then;
 * an import is only let in, and comes again by itself.
 */
#define APPROVAL_S_MAX ((int64_t)366 * 86400)
#define KIND_STATE "asset.state"
#define KIND_EXCEPTION "exception"

struct approval {
	int64_t id, expires_s, asset_id, exception_id;
	enum approval_state state;
	enum asset_state from, to;
	int needed;
	char kind[FIELD_SIZE(struct approval_row, kind)];
	char subject[REG_VALUE_MAX];
	char reason[STORE_SENTENCE_MAX];
	char requested_by[STORE_NAME_MAX];
	char decided_by[STORE_SENTENCE_MAX];
};

int
approval_put(struct tx *tx, const struct approval_ask *ask, int64_t *id, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO approval (kind, subject, detail, reason, requested_by, needed, requested_s, expires_s,"
		" asset_id, from_state, to_state, exception_id, digest)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)");

	query_text(&q, ask->kind);
	query_text_cut(&q, ask->subject, REG_VALUE_MAX);
	query_text_cut(&q, ask->detail, STORE_SENTENCE_MAX);
	query_text_cut(&q, ask->reason, STORE_SENTENCE_MAX);
	query_text_cut(&q, ask->actor, STORE_NAME_MAX);
	query_int(&q, ask->needed);
	query_int(&q, ask->now_s);
	query_int(&q, ask->expires_s);
	query_id(&q, ask->asset_id);
	query_int(&q, ask->from);
	query_int(&q, ask->to);
	query_id(&q, ask->exception_id);
	if (ask->digest != NULL)
		query_sha256(&q, ask->digest);
	else
		query_id(&q, 0);
	if (query_run(&q, e) != 0)
		return -1;
	*id = sqlite3_last_insert_rowid(tx->conn->db);
	return 0;
}

/* Asking for a change of state. */

struct ask_write {
	const char *tag, *reason, *actor;
	enum asset_state to;
	int64_t now_s, expires_s, id;
};

/* 1 when the same move waits already, 0, -1. */
static int
asked_already(struct tx *tx, const struct ask_write *w, int64_t asset_id, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"SELECT id FROM approval WHERE state < 2 AND state = 0 AND asset_id = ?1 AND to_state = ?2"
		" AND expires_s > ?3 LIMIT 1");
	int rc;

	query_int(&q, asset_id);
	query_int(&q, w->to);
	query_int(&q, w->now_s);
	rc = query_row(&q, e);
	if (rc == 1)
		return err_set(e, ERR_DENIED, "approval %lld waits for that already", (long long)query_get_int(&q));
	return rc;
}

static int
ask_job(struct tx *tx, void *arg, struct err *e)
{
	struct ask_write *w = arg;
	CLEANUP(buf) struct buf detail = {0};
	char text[80];
	struct approval_ask ask = {
		.kind = KIND_STATE,
		.detail = text,
		.reason = w->reason,
		.actor = w->actor,
		.needed = 1,
		.now_s = w->now_s,
		.expires_s = w->expires_s,
		.to = w->to,
	};
	struct asset_brief asset;

	if (lookup_asset(tx, w->tag, &asset, e) != 0 || asset_state_move(asset.state, w->to, e) != 0)
		return -1;
	if (!asset_state_move_four_eyes(asset.state, w->to))
		return err_set(e, ERR_DENIED, "from %s to %s needs no second operator", asset_state_name(asset.state),
			asset_state_name(w->to));
	if (asked_already(tx, w, asset.id, e) != 0)
		return -1;
	(void)snprintf(text, sizeof text, "%s -> %s", asset_state_name(asset.state), asset_state_name(w->to));
	ask.subject = asset.tag;
	ask.asset_id = asset.id;
	ask.from = asset.state;
	if (approval_put(tx, &ask, &w->id, e) != 0)
		return -1;
	json_open(&detail);
	json_int(&detail, "approval", w->id);
	json_text(&detail, "kind", KIND_STATE);
	json_text(&detail, "what", text);
	json_text(&detail, "reason", w->reason);
	json_int(&detail, "expires_s", w->expires_s);
	json_close(&detail);
	return store_append(tx, w->now_s, w->actor, "approval.asked", asset.tag, &detail, e);
}

int
sqlite_asset_ask_state(struct store *store, const char *tag, enum asset_state to, const char *reason,
	const char *actor, int64_t now_s, int64_t expires_s, int64_t *id, struct err *e)
{
	struct ask_write write = {tag, reason, actor, to, now_s, expires_s, 0};

	if (expires_s <= now_s || expires_s - now_s > APPROVAL_S_MAX)
		return err_set(e, ERR_DENIED, "an approval expires within a year from now");
	if (store_write(store, ask_job, &write, e) != 0)
		return -1;
	if (id != NULL)
		*id = write.id;
	return 0;
}

/* Deciding. */

static int
load(struct tx *tx, int64_t id, struct approval *out, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"SELECT id, expires_s, asset_id, exception_id, state, from_state, to_state, needed, kind, subject, reason,"
		" requested_by, decided_by FROM approval WHERE id = ?1");
	int rc;

	query_int(&q, id);
	rc = query_row(&q, e);
	if (rc == 0)
		return err_set(e, ERR_DENIED, "there is no approval %lld", (long long)id);
	if (rc < 0)
		return -1;
	out->id = query_get_int(&q);
	out->expires_s = query_get_int(&q);
	out->asset_id = query_get_int(&q);
	out->exception_id = query_get_int(&q);
	out->state = (enum approval_state)query_get_int(&q);
	out->from = (enum asset_state)query_get_int(&q);
	out->to = (enum asset_state)query_get_int(&q);
	out->needed = (int)query_get_int(&q);
	query_get_text(&q, out->kind, sizeof out->kind);
	query_get_text(&q, out->subject, sizeof out->subject);
	query_get_text(&q, out->reason, sizeof out->reason);
	query_get_text(&q, out->requested_by, sizeof out->requested_by);
	query_get_text(&q, out->decided_by, sizeof out->decided_by);
	return 0;
}

struct vote {
	int64_t id;
	bool approve;
	const char *reason, *actor;
	int64_t now_s;
	enum approval_state state; /* what it comes to */
	int given;
};

static int
check_voter(const struct approval *a, const struct vote *v, struct err *e)
{
	char when[TIME_TEXT_MAX];

	if (a->state != APPROVAL_WAITING)
		return err_set(e, ERR_DENIED, "approval %lld is %s", (long long)a->id, approval_state_name(a->state));
	if (a->expires_s <= v->now_s) {
		time_text(a->expires_s, when);
		return err_set(e, ERR_DENIED, "approval %lld has expired at %s", (long long)a->id, when);
	}
	if (store_same_actor(a->requested_by, v->actor))
		return err_set(e, ERR_DENIED, "another operator has to decide what %s asked for", a->requested_by);
	return 0;
}

static int
put_vote(struct tx *tx, const struct vote *v, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO approval_vote (approval_id, actor, approves, reason, at_s) VALUES (?1, ?2, ?3, ?4, ?5)"
		" ON CONFLICT DO NOTHING");

	query_int(&q, v->id);
	query_text_cut(&q, v->actor, STORE_NAME_MAX);
	query_int(&q, v->approve);
	query_text_cut(&q, v->reason, STORE_SENTENCE_MAX);
	query_int(&q, v->now_s);
	if (query_run(&q, e) != 0)
		return -1;
	if (sqlite3_changes64(tx->conn->db) == 0)
		return err_set(e, ERR_DENIED, "%s has given their word on approval %lld already", v->actor,
			(long long)v->id);
	return 0;
}

static int
count_votes(struct tx *tx, struct vote *v, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(tx->conn, "SELECT count(*) FROM approval_vote WHERE approval_id = ?1 AND approves = 1");

	query_int(&q, v->id);
	if (query_row(&q, e) < 0)
		return -1;
	v->given = (int)query_get_int(&q);
	return 0;
}

static void
add_name(struct approval *a, const char *actor)
{
	size_t len = strlen(a->decided_by);

	(void)snprintf(a->decided_by + len, sizeof a->decided_by - len, "%s%.*s", len == 0 ? "" : ", ",
		(int)text_fit(actor, STORE_NAME_MAX), actor);
}

static int
put_decided(struct tx *tx, const struct approval *a, const struct vote *v, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE approval SET state = ?2, decided_by = ?3, decided_s = ?4, needed = ?5 WHERE id = ?1");

	query_int(&q, a->id);
	query_int(&q, v->state);
	query_text_cut(&q, a->decided_by, STORE_SENTENCE_MAX);
	query_int(&q, v->now_s);
	query_int(&q, a->needed);
	return query_run(&q, e);
}

static int
append_vote(struct tx *tx, const struct approval *a, const struct vote *v, struct err *e)
{
	CLEANUP(buf) struct buf detail = {0};

	json_open(&detail);
	json_int(&detail, "approval", a->id);
	json_text(&detail, "kind", a->kind);
	json_text(&detail, "requested_by", a->requested_by);
	json_text(&detail, "reason", v->reason);
	json_int(&detail, "given", v->given);
	json_int(&detail, "needed", a->needed);
	json_close(&detail);
	return store_append(tx, v->now_s, v->actor, v->approve ? "approval.given" : "approval.refused", a->subject,
		&detail, e);
}

static int
append_used(struct tx *tx, int64_t id, const char *kind, const char *subject, const char *actor, int64_t now_s,
	struct err *e)
{
	CLEANUP(buf) struct buf detail = {0};

	json_open(&detail);
	json_int(&detail, "approval", id);
	json_text(&detail, "kind", kind);
	json_close(&detail);
	return store_append(tx, now_s, actor, "approval.used", subject, &detail, e);
}

/* Approved was one move from one state; from another it would be another. */
static int
carry_out_state(struct tx *tx, const struct approval *a, const struct vote *v, struct err *e)
{
	CLEANUP(buf) struct buf detail = {0};
	struct state_change change = {
		.asset_id = a->asset_id,
		.from = a->from,
		.to = a->to,
		.reason = a->reason,
		.actor = v->actor,
		.now_s = v->now_s,
	};
	struct asset_brief asset;
	int64_t touched, lifted;

	if (lookup_asset_by_id(tx, a->asset_id, &asset, e) != 0)
		return -1;
	if (asset.state != a->from)
		return err_set(e, ERR_DENIED, "asset %s is %s by now; it was %s when this was asked for", asset.tag,
			asset_state_name(asset.state), asset_state_name(a->from));
	if (asset_state_move(a->from, a->to, e) != 0 || state_apply(tx, &change, &touched, &lifted, e) != 0)
		return -1;
	json_open(&detail);
	json_text(&detail, "from", asset_state_name(a->from));
	json_text(&detail, "to", asset_state_name(a->to));
	json_text(&detail, "reason", a->reason);
	json_int(&detail, "approval", a->id);
	json_text(&detail, "requested_by", a->requested_by);
	json_close(&detail);
	return store_append(tx, v->now_s, v->actor, "asset.state", asset.tag, &detail, e);
}

static int
carry_out(struct tx *tx, const struct approval *a, struct vote *v, struct err *e)
{
	bool exception = strcmp(a->kind, KIND_EXCEPTION) == 0;
	int rc;

	if (v->state == APPROVAL_REFUSED)
		return exception ? exception_decide(tx, a->exception_id, NULL, v->actor, v->now_s, e) : 0;
	if (!exception && strcmp(a->kind, KIND_STATE) != 0)
		return 0;
	v->state = APPROVAL_USED;
	rc = exception ? exception_decide(tx, a->exception_id, a->decided_by, v->actor, v->now_s, e) :
			 carry_out_state(tx, a, v, e);
	return rc != 0 ? -1 : append_used(tx, a->id, a->kind, a->subject, v->actor, v->now_s, e);
}

static int
vote_job(struct tx *tx, void *arg, struct err *e)
{
	struct vote *v = arg;
	struct approval a;
	int needed = 1;

	if (load(tx, v->id, &a, e) != 0 || check_voter(&a, v, e) != 0)
		return -1;
	if (a.exception_id != 0 && exception_needs(tx, a.exception_id, &needed, e) != 0)
		return -1;
	if (needed > a.needed)
		a.needed = needed;
	if (put_vote(tx, v, e) != 0 || count_votes(tx, v, e) != 0)
		return -1;
	v->state = APPROVAL_WAITING;
	if (!v->approve)
		v->state = APPROVAL_REFUSED;
	else if (v->given >= a.needed)
		v->state = APPROVAL_GIVEN;
	add_name(&a, v->actor);
	if (append_vote(tx, &a, v, e) != 0)
		return -1;
	if (v->state != APPROVAL_WAITING && carry_out(tx, &a, v, e) != 0)
		return -1;
	return put_decided(tx, &a, v, e);
}

int
sqlite_approval_decide(struct store *store, int64_t id, bool approve, const char *reason, const char *actor,
	int64_t now_s, enum approval_state *state, struct err *e)
{
	struct vote vote = {.id = id, .approve = approve, .reason = reason, .actor = actor, .now_s = now_s};

	if (store_write(store, vote_job, &vote, e) != 0)
		return -1;
	if (state != NULL)
		*state = vote.state;
	return 0;
}

/* For imports and exceptions. */

static int
put_state(struct tx *tx, int64_t id, enum approval_state state, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn, "UPDATE approval SET state = ?2 WHERE id = ?1");

	query_int(&q, id);
	query_int(&q, state);
	return query_run(&q, e);
}

int
approval_drop_exception(struct tx *tx, int64_t exception_id, const char *actor, int64_t now_s, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE approval SET state = ?2, decided_by = ?3, decided_s = ?4"
		" WHERE state < 2 AND state = 0 AND exception_id = ?1");

	query_int(&q, exception_id);
	query_int(&q, APPROVAL_REFUSED);
	query_text_cut(&q, actor, STORE_NAME_MAX);
	query_int(&q, now_s);
	return query_run(&q, e);
}

/*
 * Also when the asset is back in that state by now: what was asked for in its first theft says nothing of the
 * second. The one that is being carried out is among them; it is put down as used after this.
 */
int
approval_drop_state(struct tx *tx, const struct state_change *change, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE approval SET state = ?2, decided_by = ?3, decided_s = ?4"
		" WHERE state < 2 AND state = 0 AND asset_id = ?1 AND exception_id IS NULL");

	query_int(&q, change->asset_id);
	query_int(&q, APPROVAL_REFUSED);
	query_text_cut(&q, change->actor, STORE_NAME_MAX);
	query_int(&q, change->now_s);
	return query_run(&q, e);
}

int
approval_of_digest(struct tx *tx, const uint8_t digest[32], int64_t now_s, int64_t *id, enum approval_state *state,
	struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"SELECT id, state FROM approval WHERE digest = ?1 AND state IN (?2, ?3) AND expires_s > ?4"
		" ORDER BY state DESC, id DESC LIMIT 1"); /* given rather than waiting */
	int rc;

	query_sha256(&q, digest);
	query_int(&q, APPROVAL_WAITING);
	query_int(&q, APPROVAL_GIVEN);
	query_int(&q, now_s);
	rc = query_row(&q, e);
	if (rc == 1) {
		*id = query_get_int(&q);
		*state = (enum approval_state)query_get_int(&q);
	}
	return rc;
}

int
approval_use(struct tx *tx, int64_t id, const char *subject, const char *actor, int64_t now_s, struct err *e)
{
	return put_state(tx, id, APPROVAL_USED, e) != 0 ? -1 :
		append_used(tx, id, "import", subject, actor, now_s, e);
}
