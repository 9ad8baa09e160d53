/* What is asked of CAs elsewhere, written: see intent.h. Reading is in intent_list.c, revocations are in intent_revoke.c. */
#include "gateway/store/sqlite_internal.h"

#include <string.h>

static const char *const states[] = {
	[INTENT_OPEN] = "open",
	[INTENT_SENT] = "sent",
	[INTENT_WAITING] = "waiting",
	[INTENT_UNKNOWN] = "unknown",
	[INTENT_DONE] = "done",
	[INTENT_FAILED] = "failed",
	[INTENT_QUARANTINED] = "quarantined",
};

const char *
intent_state_name(enum intent_state state)
{
	return states[state];
}

/* How many the request has had. */
static int
next_number(struct tx *tx, int64_t request_id, int64_t *out, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"SELECT coalesce(max(number) + 1, 0), coalesce(sum(state < 4), 0) FROM intent WHERE request_id = ?1");

	query_int(&q, request_id);
	if (query_row(&q, e) != 1)
		return -1;
	*out = query_get_int(&q);
	return query_get_int(&q) != 0 ? CLAIM_LOST : 0;
}

/* What audit rows tell of an intent. */
struct told {
	int64_t request_id;
	char ca[INTENT_NAME_MAX], ca_request_id[INTENT_CA_REQUEST_MAX], tag[REG_TEXT_MAX];
};

/* From one CA to another, and why. */
static int
tell_failover(struct tx *tx, int64_t now_s, const char *actor, const struct told *told, int64_t id, const char *from,
	const char *to, const char *why, struct err *e)
{
	CLEANUP(buf) struct buf detail = {0};

	json_open(&detail);
	json_int(&detail, "intent", id);
	json_int(&detail, "request", told->request_id);
	json_text(&detail, "from", from);
	json_text(&detail, "to", to);
	json_text(&detail, "ca_request", told->ca_request_id);
	json_text(&detail, "reason", why);
	json_close(&detail);
	return store_append(tx, now_s, actor == NULL ? "enrolld" : actor, "ca.failover", told->tag, &detail, e);
}

static int
tell_instead(struct tx *tx, const struct store_outcome *o, int64_t request_id, const char *name, struct err *e)
{
	struct told told = {.request_id = request_id};

	(void)snprintf(told.ca_request_id, sizeof told.ca_request_id, "%s", name);
	(void)snprintf(told.tag, sizeof told.tag, "%s", o->asset_tag == NULL ? "" : o->asset_tag);
	return tell_failover(tx, o->now_s, NULL, &told, sqlite3_last_insert_rowid(tx->conn->db), o->intent->instead_of,
		o->intent->ca, "it does not answer", e);
}

/*
 * Another gateway may ask the same CA, and a store that was set back to a backup counts again what it counted before: without chance
 * in it the name would be of two requests, and the CA would refuse the second, or find the first one's certificate for it.
 */
static int
make_name(int64_t request_id, int64_t number, char out[INTENT_CA_REQUEST_MAX], struct err *e)
{
	uint8_t chance[6];
	char hex[2 * sizeof chance + 1];

	if (random_octets(chance, sizeof chance, e) != 0)
		return -1;
	hex_encode(bytes_of(chance, sizeof chance), hex);
	(void)snprintf(out, INTENT_CA_REQUEST_MAX, "gw-%lld-%lld-%s", (long long)request_id, (long long)number, hex);
	return 0;
}

int
intent_make(struct tx *tx, const struct store_outcome *o, int64_t request_id, struct err *e)
{
	CLEANUP(query) struct query q = {0};
	char name[INTENT_CA_REQUEST_MAX];
	int64_t number = 0;
	int rc;

	if (o->intent == NULL)
		return 0;
	if (o->state != REQUEST_PENDING || strlen(o->intent->spec_json) > INTENT_JSON_MAX)
		return err_set(e, ERR_BUG, "an intent of a request that does not wait, or too large a one");
	rc = next_number(tx, request_id, &number, e);
	if (rc != 0)
		return rc;
	if (make_name(request_id, number, name, e) != 0)
		return -1;
	q = query_of(tx->conn,
		"INSERT INTO intent (request_id, number, ca, ca_request_id, spec_json, spki, key_kind, created_s, updated_s,"
		" next_try_s, state, tries) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?8, ?9, ?9)");
	query_int(&q, request_id);
	query_int(&q, number);
	query_text_cut(&q, o->intent->ca, INTENT_NAME_MAX);
	query_text(&q, name);
	query_text(&q, o->intent->spec_json);
	query_blob(&q, o->intent->spki);
	query_int(&q, o->intent->key_kind);
	query_int(&q, o->now_s);
	query_int(&q, o->intent->sent ? INTENT_SENT : INTENT_OPEN);
	if (query_run(&q, e) != 0)
		return -1;
	if (o->intent->id != NULL)
		*o->intent->id = sqlite3_last_insert_rowid(tx->conn->db);
	return o->intent->instead_of == NULL ? 0 : tell_instead(tx, o, request_id, name, e);
}

int
intent_fulfil(struct tx *tx, const struct store_outcome *o, int64_t request_id, int64_t cert_id, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE intent SET state = 4, certificate_id = ?3, updated_s = ?4, error = ''"
		" WHERE id = ?1 AND request_id = ?2 AND state < 4 RETURNING 1");
	int rc;

	if (o->intent_id == 0)
		return 0;
	if (o->state != REQUEST_ISSUED)
		return err_set(e, ERR_BUG, "an intent is fulfilled by a certificate only");
	query_int(&q, o->intent_id);
	query_int(&q, request_id);
	query_int(&q, cert_id);
	query_int(&q, o->now_s);
	rc = query_row(&q, e);
	if (rc < 0)
		return -1;
	return rc == 0 ? CLAIM_LOST : 0;
}

static int
find_told(struct tx *tx, int64_t id, struct told *out, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"SELECT i.request_id, i.ca, i.ca_request_id, a.tag FROM intent i JOIN request r ON r.id = i.request_id"
		" JOIN asset a ON a.id = r.asset_id WHERE i.id = ?1");
	int rc;

	query_int(&q, id);
	rc = query_row(&q, e);
	if (rc != 1)
		return rc < 0 ? -1 : err_set(e, ERR_DENIED, "there is no intent %lld", (long long)id);
	out->request_id = query_get_int(&q);
	query_get_text(&q, out->ca, sizeof out->ca);
	query_get_text(&q, out->ca_request_id, sizeof out->ca_request_id);
	query_get_text(&q, out->tag, sizeof out->tag);
	return 0;
}

static void
tell(struct buf *detail, int64_t id, const struct told *told, const char *reason)
{
	json_open(detail);
	json_int(detail, "intent", id);
	json_int(detail, "request", told->request_id);
	json_text(detail, "ca", told->ca);
	json_text(detail, "ca_request", told->ca_request_id);
	json_text(detail, "reason", reason);
}

struct step_write {
	const struct intent_step *step;
	bool done;
};

static int
take_step(struct tx *tx, const struct intent_step *s, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE intent SET state = ?3, reference = coalesce(?4, reference), error = ?5, next_try_s = ?6,"
		" tries = tries + ?7, updated_s = ?8 WHERE id = ?1 AND state = ?2 AND ca = coalesce(?9, ca) RETURNING 1");

	query_int(&q, s->id);
	query_int(&q, s->from);
	query_int(&q, s->to);
	query_text_or_null(&q, s->reference);
	query_text_cut(&q, s->error, INTENT_ERROR_MAX);
	query_int(&q, s->next_try_s);
	query_int(&q, s->called);
	query_int(&q, s->now_s);
	query_text_or_null(&q, s->ca);
	return query_row(&q, e);
}

static int
step_job(struct tx *tx, void *arg, struct err *e)
{
	struct step_write *w = arg;
	const struct intent_step *s = w->step;
	CLEANUP(buf) struct buf detail = {0};
	struct told told = {0};
	int rc;

	w->done = false;
	if (s->from >= INTENT_DONE || s->to >= INTENT_DONE)
		return err_set(e, ERR_BUG, "an intent does not end by a step");
	rc = take_step(tx, s, e);
	if (rc <= 0)
		return rc < 0 ? -1 : JOB_UNDO;
	w->done = true;
	if (s->audit == NULL)
		return 0;
	if (find_told(tx, s->id, &told, e) != 0)
		return -1;
	tell(&detail, s->id, &told, s->error);
	if (s->serial != NULL)
		json_text(&detail, "serial", s->serial);
	json_close(&detail);
	return store_append(tx, s->now_s, s->actor == NULL ? "enrolld" : s->actor, s->audit, told.tag, &detail, e);
}

static int
intent_step_write(struct store *store, const struct intent_step *step, bool *done, struct err *e)
{
	struct step_write w = {.step = step};

	if (store_write(store, step_job, &w, e) != 0)
		return -1;
	*done = w.done;
	return 0;
}

struct move_write {
	const struct intent_move *move;
	size_t moved;
};

/* What was decided long ago stays so old: it is decided once more before it is sent. */
static int
move_one(struct tx *tx, const struct intent_move *m, struct intent_moved *one, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE intent SET ca = ?3, reference = '', error = ?4, next_try_s = ?5, tries = 0"
		" WHERE id = ?1 AND ca = ?2 AND state = 0 RETURNING 1");

	query_int(&q, one->id);
	query_text(&q, m->from);
	query_text_cut(&q, one->to, INTENT_NAME_MAX);
	query_text_cut(&q, m->why, INTENT_ERROR_MAX);
	query_int(&q, m->now_s);
	return query_row(&q, e);
}

static int
move_job(struct tx *tx, void *arg, struct err *e)
{
	struct move_write *w = arg;
	const struct intent_move *m = w->move;
	struct told told = {0};
	size_t i;
	int rc;

	w->moved = 0;
	for (i = 0; i < m->count; i++) {
		rc = move_one(tx, m, &m->list[i], e);
		m->list[i].moved = rc == 1;
		if (rc == 0)
			continue;
		if (rc < 0 || find_told(tx, m->list[i].id, &told, e) != 0 ||
			tell_failover(tx, m->now_s, m->actor, &told, m->list[i].id, m->from, m->list[i].to, m->why, e) != 0)
			return -1;
		w->moved++;
	}
	return w->moved == 0 ? JOB_UNDO : 0;
}

static int
intent_move_write(struct store *store, const struct intent_move *move, size_t *moved, struct err *e)
{
	struct move_write w = {.move = move};

	if (store_write(store, move_job, &w, e) != 0)
		return -1;
	*moved = w.moved;
	return 0;
}

struct end_write {
	const struct intent_end *end;
	bool done;
};

static int
finish(struct tx *tx, const struct intent_end *end, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE intent SET state = ?2, error = ?3, updated_s = ?4 WHERE id = ?1 AND state < 4 RETURNING 1");

	query_int(&q, end->id);
	query_int(&q, end->to);
	query_text_cut(&q, end->sentence, INTENT_ERROR_MAX);
	query_int(&q, end->now_s);
	return query_row(&q, e);
}

static int
end_decision(struct tx *tx, const struct intent_end *end, int64_t request_id, int64_t *id, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO decision (at_s, request_id, asset_id, asset_version, policy_version, csr_sha256, outcome, reason,"
		" sentence, rules_json) SELECT ?1, r.id, r.asset_id, a.version, ?3, r.csr_sha256, 'denied', ?4, ?5, ?6"
		" FROM request r JOIN asset a ON a.id = r.asset_id WHERE r.id = ?2");

	query_int(&q, end->now_s);
	query_int(&q, request_id);
	query_text_cut(&q, end->policy_version, FIELD_SIZE(struct decision_row, policy_version));
	query_text_cut(&q, end->reason, FIELD_SIZE(struct decision_row, reason));
	query_text_cut(&q, end->sentence, STORE_SENTENCE_MAX);
	query_text(&q, end->rules_json == NULL ? "[]" : end->rules_json);
	if (query_run(&q, e) != 0)
		return -1;
	*id = sqlite3_last_insert_rowid(tx->conn->db);
	return 0;
}

/* What an operator refused stays refused. */
static int
end_request(struct tx *tx, const struct intent_end *end, int64_t request_id, struct err *e)
{
	CLEANUP(query) struct query q = {0};
	int64_t decision = 0;

	if (end_decision(tx, end, request_id, &decision, e) != 0)
		return -1;
	q = query_of(tx->conn,
		"UPDATE request SET state = 3, updated_s = ?2, reason = ?3, sentence = ?4, decision_id = ?5"
		" WHERE id = ?1 AND state IN (0, 1)");
	query_int(&q, request_id);
	query_int(&q, end->now_s);
	query_text_cut(&q, end->reason, FIELD_SIZE(struct request_row, reason));
	query_text_cut(&q, end->sentence, STORE_SENTENCE_MAX);
	query_int(&q, decision);
	return query_run(&q, e) != 0 ? -1 : quota_release(tx, request_id, e);
}

static int
end_job(struct tx *tx, void *arg, struct err *e)
{
	struct end_write *w = arg;
	const struct intent_end *end = w->end;
	CLEANUP(buf) struct buf detail = {0};
	struct told told = {0};
	int rc;

	w->done = false;
	if ((end->to != INTENT_FAILED && end->to != INTENT_QUARANTINED) || end->cert.len > STORE_DER_MAX)
		return err_set(e, ERR_BUG, "an intent cannot end like this");
	rc = finish(tx, end, e);
	if (rc < 0 || find_told(tx, end->id, &told, e) != 0)
		return -1;
	w->done = rc == 1;
	rc = end->unproven ? end->serial != NULL : intent_queue_revocation(tx, end, end->ca == NULL ? told.ca : end->ca, e);
	if (rc < 0 || (w->done && end_request(tx, end, told.request_id, e) != 0))
		return -1;
	/* Over by other hands, and a certificate that was never let out came all the same: nobody else knows of it. */
	if (!w->done && rc == 0)
		return JOB_UNDO;
	tell(&detail, end->id, &told, end->reason);
	json_text(&detail, "sentence", end->sentence);
	if (end->serial != NULL)
		json_text(&detail, "serial", end->serial);
	if (end->unproven && end->serial != NULL)
		json_text(&detail, "revocation", "none: the number may be another certificate's; if the CA made this one, revoke it there by hand");
	if (end->to == INTENT_QUARANTINED)
		json_int(&detail, "alert", 1);
	json_close(&detail);
	return store_append(tx, end->now_s, end->actor == NULL ? "enrolld" : end->actor, end->audit, told.tag, &detail, e);
}

static int
intent_end_write(struct store *store, const struct intent_end *end, bool *done, struct err *e)
{
	struct end_write w = {.end = end};

	if (store_write(store, end_job, &w, e) != 0)
		return -1;
	*done = w.done;
	return 0;
}

struct adopt_write {
	int64_t now_s, count;
};

/* 1 with *id, 0 when there is none left, -1. */
static int
adopt_one(struct tx *tx, int64_t now_s, int64_t *id, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE intent SET state = 3, next_try_s = ?1, updated_s = ?1 WHERE id ="
		" (SELECT min(id) FROM intent WHERE state = 1 AND state < 4) RETURNING id");
	int rc;

	query_int(&q, now_s);
	rc = query_row(&q, e);
	if (rc == 1)
		*id = query_get_int(&q);
	return rc;
}

static int
adopt_job(struct tx *tx, void *arg, struct err *e)
{
	struct adopt_write *w = arg;
	int64_t id;
	int rc;

	w->count = 0;
	while ((rc = adopt_one(tx, w->now_s, &id, e)) == 1) {
		CLEANUP(buf) struct buf detail = {0};
		struct told told = {0};

		if (find_told(tx, id, &told, e) != 0)
			return -1;
		tell(&detail, id, &told, "the gateway stopped while it was being sent");
		json_close(&detail);
		if (store_append(tx, w->now_s, "enrolld", "ca.unknown", told.tag, &detail, e) != 0)
			return -1;
		w->count++;
	}
	return rc;
}

static int
intent_adopt(struct store *store, int64_t now_s, int64_t *count, struct err *e)
{
	struct adopt_write w = {.now_s = now_s};

	if (store_write(store, adopt_job, &w, e) != 0)
		return -1;
	*count = w.count;
	return 0;
}

const struct intent_ops intent_sqlite = {
	.by_id = intent_by_id,
	.of_request = intent_of_request,
	.list = intent_list,
	.next = intent_next,
	.counts = intent_counts,
	.cas = intent_cas,
	.revocations = intent_revocations,
	.step = intent_step_write,
	.end = intent_end_write,
	.move = intent_move_write,
	.adopt = intent_adopt,
	.revocation_begin = intent_revocation_begin,
	.revocation_step = intent_revocation_step,
};
