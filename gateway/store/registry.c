#include "gateway/store/sqlite_internal.h"

#include "base/timefmt.h"

/* Operators' writes. Each is one job and leaves one audit row. */

int
store_bump(struct tx *tx, int64_t asset_id, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(tx->conn, "UPDATE asset SET version = version + 1 WHERE id = ?1");

	query_int(&q, asset_id);
	return query_run(&q, e);
}

/* Owners. */

struct owner_write {
	const struct owner *owner;
	const char *actor;
	int64_t now_s;
};

/* 1: the owner is leaving, and when is known; 0, -1. */
static int
is_leaving(struct tx *tx, const char *name, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"SELECT 1 FROM owner WHERE name = ?1 AND status = 2 AND offboard_end_s <> 0");

	query_text(&q, name);
	return query_row(&q, e);
}

/* An owner that leaves without an end would go on renewing for ever. */
static int
check_leaving(struct tx *tx, const struct owner *o, struct err *e)
{
	int rc;

	if (o->status != OWNER_OFFBOARDING || o->offboard_end_s != 0)
		return 0;
	rc = is_leaving(tx, o->name, e);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	return err_set(e, ERR_DENIED, "an owner begins to leave with \"owner offboard\", which says when its grace ends");
}

static int
owner_job(struct tx *tx, void *arg, struct err *e)
{
	const struct owner_write *w = arg;
	const struct owner *o = w->owner;
	CLEANUP(buf) struct buf detail = {0};
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO owner (name, kind, status, contract_end_s, contact, offboard_end_s, operators)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
		" ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, status = excluded.status,"
		" contract_end_s = excluded.contract_end_s, contact = excluded.contact, operators = excluded.operators,"
		/* 2: offboarding. Its end stays unless another is told; owner_offboard() is where it comes from. */
		" offboard_end_s = CASE WHEN excluded.status <> 2 THEN 0 WHEN excluded.offboard_end_s <> 0"
		" THEN excluded.offboard_end_s ELSE offboard_end_s END");

	if (check_leaving(tx, o, e) != 0)
		return -1;
	query_text(&q, o->name);
	query_int(&q, o->kind);
	query_int(&q, o->status);
	query_int(&q, o->contract_end_s);
	query_text(&q, o->contact);
	query_int(&q, o->status == OWNER_OFFBOARDING ? o->offboard_end_s : 0);
	query_text(&q, o->operators);
	if (query_run(&q, e) != 0)
		return -1;
	json_open(&detail);
	json_text(&detail, "kind", owner_kind_name(o->kind));
	json_text(&detail, "status", owner_status_name(o->status));
	json_int(&detail, "contract_end_s", o->contract_end_s);
	json_text(&detail, "contact", o->contact);
	if (o->operators[0] != '\0')
		json_text(&detail, "operators", o->operators);
	json_close(&detail);
	return store_append(tx, w->now_s, w->actor, "owner.put", o->name, &detail, e);
}

int
sqlite_owner_put(struct store *store, const struct owner *owner, const char *actor, int64_t now_s,
	struct err *e)
{
	struct owner_write write = {owner, actor, now_s};

	if (owner->name[0] == '\0')
		return err_set(e, ERR_DENIED, "an owner needs a name");
	return store_write(store, owner_job, &write, e);
}

/* States of assets. */

struct state_write {
	struct state_change change;
	const char *tag;
	int64_t touched;
};

/* What is not for one operator's hand: the contract's word for a move that needs two, and an offer's own state. */
static int
check_one_operator(enum asset_state from, enum asset_state to, struct err *e)
{
	if (to == ASSET_TRANSFER_PENDING)
		return err_set(e, ERR_DENIED, "an asset becomes %s by an offer to another owner: use \"transfer offer\"",
			asset_state_name(to));
	if (!asset_state_move_four_eyes(from, to))
		return 0;
	return err_set(e, ERR_DENIED, "needs a second operator: from %s to %s", asset_state_name(from),
		asset_state_name(to));
}

static int
state_job(struct tx *tx, void *arg, struct err *e)
{
	struct state_write *w = arg;
	CLEANUP(buf) struct buf detail = {0};
	struct asset_brief asset;
	int64_t lifted;

	if (lookup_asset(tx, w->tag, &asset, e) != 0 || asset_state_move(asset.state, w->change.to, e) != 0 ||
		check_one_operator(asset.state, w->change.to, e) != 0)
		return -1;
	w->change.asset_id = asset.id;
	w->change.from = asset.state;
	if (state_apply(tx, &w->change, &w->touched, &lifted, e) != 0)
		return -1;
	json_open(&detail);
	json_text(&detail, "from", asset_state_name(w->change.from));
	json_text(&detail, "to", asset_state_name(w->change.to));
	json_text(&detail, "reason", w->change.reason);
	json_int(&detail, asset_state_rules(w->change.to)->on_entry == ENTRY_HOLD ? "held" : "revoked",
		w->touched);
	if (lifted > 0)
		json_int(&detail, "no_longer_held", lifted);
	json_close(&detail);
	return store_append(tx, w->change.now_s, w->change.actor, "asset.state", w->tag, &detail, e);
}

int
sqlite_asset_set_state(struct store *store, const char *tag, enum asset_state to, const char *reason,
	const char *actor, int64_t now_s, int64_t *revoked, struct err *e)
{
	struct state_write write = {
		.change = {.to = to, .reason = reason, .actor = actor, .now_s = now_s},
		.tag = tag,
	};

	if (store_write(store, state_job, &write, e) != 0)
		return -1;
	if (revoked != NULL)
		*revoked = write.touched;
	return 0;
}

/* Secrets. */

struct secret_write {
	const struct secret_row *secret;
	const char *actor;
	int64_t now_s;
	int64_t id; /* of the new row */
};

static int
insert_secret(struct tx *tx, const struct secret_row *s, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO secret (asset_id, once, label, protocol, salt, hash, created_s, expires_s, used_s)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0)");

	query_int(&q, s->asset_id);
	query_int(&q, s->once);
	query_text(&q, s->label);
	query_text(&q, s->protocol);
	query_blob(&q, bytes_of(s->salt, sizeof s->salt));
	query_blob(&q, bytes_of(s->hash, sizeof s->hash));
	query_int(&q, s->created_s);
	query_int(&q, s->expires_s);
	return query_run(&q, e);
}

static int
secret_job(struct tx *tx, void *arg, struct err *e)
{
	struct secret_write *w = arg;
	const struct secret_row *s = w->secret;
	CLEANUP(buf) struct buf detail = {0};
	struct asset_brief asset;

	if (lookup_asset_by_id(tx, s->asset_id, &asset, e) != 0 || insert_secret(tx, s, e) != 0)
		return -1;
	w->id = sqlite3_last_insert_rowid(tx->conn->db);
	json_open(&detail);
	json_int(&detail, "secret", w->id);
	json_int(&detail, "once", s->once);
	json_text(&detail, "label", s->label);
	json_text(&detail, "protocol", s->protocol);
	json_int(&detail, "expires_s", s->expires_s);
	json_close(&detail);
	return store_append(tx, w->now_s, w->actor, "secret.new", asset.tag, &detail, e);
}

int
sqlite_secret_put(struct store *store, const struct secret_row *secret, const char *actor, int64_t now_s,
	int64_t *id, struct err *e)
{
	struct secret_write write = {.secret = secret, .actor = actor, .now_s = now_s};

	if (store_write(store, secret_job, &write, e) != 0)
		return -1;
	if (id != NULL)
		*id = write.id;
	return 0;
}

/* Requests that wait for an operator. */

struct decide_write {
	int64_t id;
	bool approve;
	const char *reason, *actor;
	int64_t now_s;
};

static int
find_pending(struct tx *tx, int64_t id, char tag[REG_TEXT_MAX], struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"SELECT r.state, a.tag FROM request r JOIN asset a ON a.id = r.asset_id WHERE r.id = ?1");
	enum request_state state;
	int rc;

	query_int(&q, id);
	rc = query_row(&q, e);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return err_set(e, ERR_DENIED, "there is no request %lld", (long long)id);
	state = (enum request_state)query_get_int(&q);
	query_get_text(&q, tag, REG_TEXT_MAX);
	if (state != REQUEST_PENDING)
		return err_set(e, ERR_DENIED, "request %lld is %s; only a pending one can be decided",
			(long long)id, request_state_name(state));
	return 0;
}

static int
put_decided(struct tx *tx, const struct decide_write *w, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE request SET state = ?2, updated_s = ?3, reason = ?4, sentence = ?5, decided_by = ?6"
		" WHERE id = ?1");

	query_int(&q, w->id);
	query_int(&q, w->approve ? REQUEST_APPROVED : REQUEST_REFUSED);
	query_int(&q, w->now_s);
	query_text(&q, w->approve ? "request.approved" : "request.refused");
	query_text_cut(&q, w->reason, STORE_SENTENCE_MAX);
	query_text_cut(&q, w->actor, STORE_NAME_MAX);
	return query_run(&q, e);
}

static int
decide_job(struct tx *tx, void *arg, struct err *e)
{
	const struct decide_write *w = arg;
	CLEANUP(buf) struct buf detail = {0};
	char tag[REG_TEXT_MAX];

	if (find_pending(tx, w->id, tag, e) != 0 || put_decided(tx, w, e) != 0)
		return -1;
	if (!w->approve && quota_release(tx, w->id, e) != 0)
		return -1;
	json_open(&detail);
	json_int(&detail, "request", w->id);
	json_text(&detail, "reason", w->reason);
	json_close(&detail);
	return store_append(tx, w->now_s, w->actor, w->approve ? "request.approved" : "request.refused", tag, &detail,
		e);
}

int
sqlite_request_decide(struct store *store, int64_t id, bool approve, const char *reason, const char *actor,
	int64_t now_s, struct err *e)
{
	struct decide_write write = {id, approve, reason, actor, now_s};

	return store_write(store, decide_job, &write, e);
}

/* Certificates. */

struct revoke_write {
	int64_t id;
	const char *reason, *actor;
	int64_t now_s;
};

struct revoked {
	int64_t asset_id;
	char tag[REG_TEXT_MAX];
	char ca[STORE_NAME_MAX];
	char serial[SERIAL_HEX_MAX];
};

static int
find_unrevoked(struct tx *tx, int64_t id, struct revoked *out, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"SELECT c.status, c.revoked_s, c.asset_id, a.tag, c.ca, c.serial"
		" FROM certificate c JOIN asset a ON a.id = c.asset_id WHERE c.id = ?1");
	char when[TIME_TEXT_MAX];
	bool revoked;
	int rc;

	query_int(&q, id);
	rc = query_row(&q, e);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return err_set(e, ERR_DENIED, "there is no certificate %lld", (long long)id);
	revoked = query_get_int(&q) == CERT_REVOKED;
	time_text(query_get_int(&q), when);
	out->asset_id = query_get_int(&q);
	query_get_text(&q, out->tag, sizeof out->tag);
	query_get_text(&q, out->ca, sizeof out->ca);
	query_get_text(&q, out->serial, sizeof out->serial);
	if (revoked)
		return err_set(e, ERR_DENIED, "certificate %lld is revoked since %s", (long long)id, when);
	return 0;
}

static int
put_revoked(struct tx *tx, const struct revoke_write *w, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE certificate SET status = 1, revoked_s = ?2, revoke_reason = ?3 WHERE id = ?1");

	query_int(&q, w->id);
	query_int(&q, w->now_s);
	query_text_cut(&q, w->reason, FIELD_SIZE(struct cert_row, revoke_reason));
	return query_run(&q, e);
}

static int
revoke_job(struct tx *tx, void *arg, struct err *e)
{
	const struct revoke_write *w = arg;
	CLEANUP(buf) struct buf detail = {0};
	struct revoked cert;

	if (find_unrevoked(tx, w->id, &cert, e) != 0 || put_revoked(tx, w, e) != 0 ||
		store_bump(tx, cert.asset_id, e) != 0 || quota_settle(tx, cert.asset_id, e) != 0)
		return -1;
	json_open(&detail);
	json_int(&detail, "certificate", w->id);
	json_text(&detail, "ca", cert.ca);
	json_text(&detail, "serial", cert.serial);
	json_text(&detail, "reason", w->reason);
	json_close(&detail);
	return store_append(tx, w->now_s, w->actor, "cert.revoked", cert.tag, &detail, e);
}

int
sqlite_cert_revoke(struct store *store, int64_t id, const char *reason, const char *actor, int64_t now_s,
	struct err *e)
{
	struct revoke_write write = {id, reason, actor, now_s};

	return store_write(store, revoke_job, &write, e);
}
