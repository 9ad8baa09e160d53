/* What CAs elsewhere have to hear of their certificates: see intent.h. Most of it enters by a trigger (schema.c). */
#include "gateway/store/sqlite_internal.h"

_Static_assert((int)UPSTREAM_GOOD == CERT_VALID && (int)UPSTREAM_REVOKED == CERT_REVOKED && (int)UPSTREAM_HELD == CERT_HELD,
	"the trigger copies a certificate's status");

/* One that this gateway has let out before is its holder's: an answer was meant for somebody else. */
int
intent_queue_revocation(struct tx *tx, const struct intent_end *end, const char *ca, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO ca_revocation (ca, serial, reason, cert, created_s, next_try_s)"
		" SELECT ?1, ?2, 'quarantined', ?3, ?4, 0"
		" WHERE NOT EXISTS (SELECT 1 FROM certificate WHERE serial = ?2 AND (ca = ?1 OR sha256 = ?5))"
		" ON CONFLICT DO NOTHING RETURNING 1");
	uint8_t digest[32];

	if (end->serial == NULL)
		return 0;
	if (sha256(end->cert, digest, e) != 0)
		return -1;
	query_text(&q, ca);
	query_text_cut(&q, end->serial, SERIAL_ANY_MAX);
	query_blob(&q, end->cert);
	query_int(&q, end->now_s);
	query_sha256(&q, digest);
	return query_row(&q, e);
}

struct words {
	const char *what, *done, *refused, *impossible;
};

static const struct words *
words_of(enum upstream wanted)
{
	static const struct words hold = {"hold", "ca.held", "ca.hold_refused", "ca.hold_impossible"},
		release = {"release", "ca.released", "ca.release_refused", "ca.release_impossible"},
		revocation = {"revocation", "ca.revoked", "", "ca.revoke_impossible"};

	switch (wanted) {
	case UPSTREAM_HELD:
		return &hold;
	case UPSTREAM_GOOD:
		return &release;
	case UPSTREAM_REVOKED:
	case UPSTREAM_UNSURE:
		break;
	}
	return &revocation;
}

static const char *
action_of(const struct revocation_step *s)
{
	const struct words *words = words_of(s->wanted);

	switch (s->to) {
	case REVOCATION_LATER:
		return words->refused;
	case REVOCATION_DONE:
		return words->done;
	case REVOCATION_IMPOSSIBLE:
		return words->impossible;
	case REVOCATION_SETTLED:
		break;
	}
	return "ca.settled";
}

/* What stands otherwise there than here is an alert: whoever asks that CA is told to let it in, or to keep it out. */
static bool
is_alert(const struct revocation_step *s)
{
	return s->to == REVOCATION_LATER || (s->to == REVOCATION_IMPOSSIBLE && s->wanted == UPSTREAM_HELD);
}

static int
tell_revocation(struct tx *tx, const struct revocation_step *s, const char *ca, const char *serial, struct err *e)
{
	CLEANUP(buf) struct buf detail = {0};

	json_open(&detail);
	json_text(&detail, "ca", ca);
	json_text(&detail, "serial", serial);
	if (s->to != REVOCATION_DONE)
		json_text(&detail, "reason", s->error);
	if (s->to == REVOCATION_SETTLED) {
		json_text(&detail, "wanted", words_of(s->wanted)->what);
		json_int(&detail, "not_after", s->ended_s);
	}
	if (is_alert(s))
		json_int(&detail, "alert", 1);
	json_close(&detail);
	return store_append(tx, s->now_s, "enrolld", action_of(s), serial, &detail, e);
}

/* 1: the first time of this hold or release, since the trigger forgets it with what was wanted before; 0: it is not, or something else is wanted. */
static int
note_refusal(struct tx *tx, const struct revocation_step *s, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE ca_revocation SET reason = ?3 WHERE id = ?1 AND wanted = ?2 AND wanted <> 1 AND state = 0 AND reason <> ?3 RETURNING 1");

	query_int(&q, s->id);
	query_int(&q, s->wanted);
	query_text(&q, REVOCATION_REFUSED);
	return query_row(&q, e);
}

/*
 * What was wanted may have changed during the call. Then what the CA was told counts, and the rest was set by the
 * trigger: it is due at once, unless what it was told is what is wanted now.
 */
static int
take_step(struct tx *tx, const struct revocation_step *s, enum upstream told, struct query *q, struct err *e)
{
	*q = query_of(tx->conn,
		"UPDATE ca_revocation SET told = ?3, state = CASE WHEN wanted = ?3 THEN 1 WHEN wanted = ?2 THEN ?4 ELSE 0 END,"
		" error = CASE wanted WHEN ?2 THEN ?5 ELSE error END, next_try_s = CASE wanted WHEN ?2 THEN ?6 ELSE next_try_s END,"
		" tries = tries + (wanted = ?2) WHERE id = ?1 AND state = 0 RETURNING ca, serial");
	query_int(q, s->id);
	query_int(q, s->wanted);
	query_int(q, told);
	query_int(q, s->to);
	query_text_cut(q, s->error, INTENT_ERROR_MAX);
	query_int(q, s->next_try_s);
	return query_row(q, e);
}

static int
revocation_job(struct tx *tx, void *arg, struct err *e)
{
	const struct revocation_step *s = arg;
	CLEANUP(query) struct query q = {0};
	char ca[INTENT_NAME_MAX], serial[SERIAL_ANY_MAX];
	int rc;

	rc = take_step(tx, s, s->to == REVOCATION_DONE ? s->wanted : s->told, &q, e);
	if (rc <= 0)
		return rc < 0 ? -1 : JOB_UNDO;
	query_get_text(&q, ca, sizeof ca);
	query_get_text(&q, serial, sizeof serial);
	rc = s->to != REVOCATION_LATER ? 1 : s->refused ? note_refusal(tx, s, e) : 0;
	return rc <= 0 ? rc : tell_revocation(tx, s, ca, serial, e);
}

int
intent_revocation_step(struct store *store, const struct revocation_step *step, struct err *e)
{
	struct revocation_step s = *step;

	return store_write(store, revocation_job, &s, e);
}

struct begin_write {
	int64_t id;
	enum upstream wanted;
	bool done;
};

static int
begin_job(struct tx *tx, void *arg, struct err *e)
{
	struct begin_write *w = arg;
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE ca_revocation SET told = 3 WHERE id = ?1 AND wanted = ?2 AND state = 0 RETURNING 1");
	int rc;

	query_int(&q, w->id);
	query_int(&q, w->wanted);
	rc = query_row(&q, e);
	w->done = rc == 1;
	return rc < 0 ? -1 : rc == 0 ? JOB_UNDO : 0;
}

int
intent_revocation_begin(struct store *store, int64_t id, enum upstream wanted, bool *done, struct err *e)
{
	struct begin_write w = {.id = id, .wanted = wanted};

	if (store_write(store, begin_job, &w, e) != 0)
		return -1;
	*done = w.done;
	return 0;
}
