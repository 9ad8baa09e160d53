/* What CAs elsewhere have to revoke: see intent.h. Most of it enters by a trigger (schema.c). */
#include "gateway/store/sqlite_internal.h"

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
	query_text_cut(&q, end->serial, SERIAL_HEX_MAX);
	query_blob(&q, end->cert);
	query_int(&q, end->now_s);
	query_sha256(&q, digest);
	return query_row(&q, e);
}

static int
tell_revocation(struct tx *tx, const struct revocation_step *s, const char *ca, const char *serial, struct err *e)
{
	CLEANUP(buf) struct buf detail = {0};

	json_open(&detail);
	json_text(&detail, "ca", ca);
	json_text(&detail, "serial", serial);
	if (s->to == REVOCATION_IMPOSSIBLE)
		json_text(&detail, "reason", s->error);
	json_close(&detail);
	return store_append(tx, s->now_s, "enrolld", s->to == REVOCATION_DONE ? "ca.revoked" : "ca.revoke_impossible", serial,
		&detail, e);
}

static int
revocation_job(struct tx *tx, void *arg, struct err *e)
{
	const struct revocation_step *s = arg;
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE ca_revocation SET state = ?2, error = ?3, next_try_s = ?4, tries = tries + 1"
		" WHERE id = ?1 AND state = 0 RETURNING ca, serial");
	char ca[INTENT_NAME_MAX], serial[SERIAL_HEX_MAX];
	int rc;

	query_int(&q, s->id);
	query_int(&q, s->to);
	query_text_cut(&q, s->error, INTENT_ERROR_MAX);
	query_int(&q, s->next_try_s);
	rc = query_row(&q, e);
	if (rc <= 0)
		return rc < 0 ? -1 : JOB_UNDO;
	query_get_text(&q, ca, sizeof ca);
	query_get_text(&q, serial, sizeof serial);
	return s->to == REVOCATION_LATER ? 0 : tell_revocation(tx, s, ca, serial, e);
}

int
intent_revocation_step(struct store *store, const struct revocation_step *step, struct err *e)
{
	struct revocation_step s = *step;

	return store_write(store, revocation_job, &s, e);
}
