#include "gateway/store/sqlite_internal.h"

/* Attestation nonces, each good for one request, and what evidence came to. Without evidence nothing here is run. */

#define NONCE_SWEEP_ROWS 4 /* for each that comes: the table cannot grow faster than it shrinks */

static bool
needs_nonce(const struct store_outcome *o)
{
	return o->nonce_sha256 != NULL && (o->state == REQUEST_ISSUED || o->state == REQUEST_PENDING);
}

/* 1 and *id: the request that has the nonce; 0: none has; -1. */
static int
nonce_holder(struct conn *conn, const uint8_t sha256[32], int64_t *id, struct err *e)
{
	CLEANUP(query) struct query q = query_of(conn, "SELECT request_id FROM nonce WHERE sha256 = ?1");
	int rc;

	query_sha256(&q, sha256);
	rc = query_row(&q, e);
	if (rc == 1)
		*id = query_get_int(&q);
	return rc;
}

int
sqlite_nonce_request(struct store_read *read, const uint8_t sha256[32], int64_t *request_id, struct err *e)
{
	return nonce_holder(&read->conn, sha256, request_id, e);
}

int
evidence_claim_nonce(struct tx *tx, const struct store_outcome *o, int64_t request_id, struct err *e)
{
	int64_t holder = 0;
	int rc;

	if (!needs_nonce(o))
		return 0;
	rc = nonce_holder(tx->conn, o->nonce_sha256, &holder, e);
	if (rc < 0)
		return -1;
	return rc == 1 && holder != request_id ? CLAIM_LOST : 0;
}

/* 1: some are over, 0, -1. Deleting none costs far more than asking. */
static int
nonces_over(struct tx *tx, int64_t now_s, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn, "SELECT 1 FROM nonce WHERE expires_s < ?1 LIMIT 1");

	query_int(&q, now_s);
	return query_row(&q, e);
}

static int
sweep_nonces(struct tx *tx, int64_t now_s, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"DELETE FROM nonce WHERE sha256 IN"
		" (SELECT sha256 FROM nonce WHERE expires_s < ?1 ORDER BY expires_s LIMIT ?2)");

	query_int(&q, now_s);
	query_int(&q, NONCE_SWEEP_ROWS);
	return query_run(&q, e);
}

static int
keep_nonce(struct tx *tx, const struct store_outcome *o, int64_t request_id, struct err *e)
{
	/* It may be this very request's since it was pending. */
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO nonce (sha256, request_id, expires_s) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING");

	int rc = nonces_over(tx, o->now_s, e);

	if (rc == 1)
		rc = sweep_nonces(tx, o->now_s, e);
	if (rc < 0)
		return -1;
	query_sha256(&q, o->nonce_sha256);
	query_int(&q, request_id);
	query_int(&q, o->nonce_expires_s);
	return query_run(&q, e);
}

static int
keep_attestation(struct tx *tx, const struct store_outcome *o, int64_t request_id, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO request_attestation (id, json) VALUES (?1, ?2)"
		" ON CONFLICT (id) DO UPDATE SET json = excluded.json");

	query_int(&q, request_id);
	query_text(&q, o->attestation_json);
	return query_run(&q, e);
}

int
evidence_keep(struct tx *tx, const struct store_outcome *o, int64_t request_id, struct err *e)
{
	if (needs_nonce(o) && keep_nonce(tx, o, request_id, e) != 0)
		return -1;
	if (o->attestation_json == NULL || o->attestation_json[0] == '\0')
		return 0;
	return keep_attestation(tx, o, request_id, e);
}

int
sqlite_request_attestation(struct store_read *read, int64_t request_id, struct buf *out, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(&read->conn, "SELECT json FROM request_attestation WHERE id = ?1");
	int rc;

	query_int(&q, request_id);
	rc = query_row(&q, e);
	if (rc != 1)
		return rc;
	buf_append_text(out, query_get0_text(&q));
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "reading an attestation") : 1;
}
