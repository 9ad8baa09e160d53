#include "gateway/store/sqlite_internal.h"

/*
 * What a request lays claim to beside its asset. Looked at again where it is
 * recorded: it was decided on a snapshot, and others were too. Nothing here
 * costs a request that has no such claim, as those over EST.
 */

/* The registrar's state, owner and certificates all raise its version. */
int
claim_registrar(struct tx *tx, const struct store_outcome *o, struct err *e)
{
	CLEANUP(query) struct query q = {0};
	int rc;

	if (o->registrar_id == 0)
		return 0;
	q = query_of(tx->conn, "SELECT 1 FROM asset WHERE id = ?1 AND version = ?2");
	query_int(&q, o->registrar_id);
	query_int(&q, o->registrar_version);
	rc = query_row(&q, e);
	if (rc < 0)
		return -1;
	return rc == 0 ? CLAIM_LOST : 0;
}

int
claim_transaction(struct tx *tx, const struct store_outcome *o, int64_t request_id, struct err *e)
{
	CLEANUP(query) struct query q = {0};
	int rc;

	if (o->transaction == NULL || o->transaction[0] == '\0' || o->state == REQUEST_DENIED)
		return 0;
	q = query_of(tx->conn,
		"SELECT 1 FROM request INDEXED BY request_transaction"
		" WHERE label = ?1 AND transaction_id = ?2 AND transaction_id <> '' AND state <> ?3"
		" AND spki_sha256 <> ?4 AND id <> ?5 AND asset_id <> ?6 LIMIT 1");
	query_text_cut(&q, o->label, STORE_NAME_MAX);
	query_text(&q, o->transaction);
	query_int(&q, REQUEST_DENIED);
	query_sha256(&q, o->spki_sha256);
	query_int(&q, request_id);
	query_int(&q, o->renewal ? o->asset_id : 0);
	rc = query_row(&q, e);
	if (rc < 0)
		return -1;
	return rc == 1 ? CLAIM_LOST : 0;
}

static bool
needs_challenge(const struct store_outcome *o)
{
	return o->challenge_sha256 != NULL && (o->state == REQUEST_ISSUED || o->state == REQUEST_PENDING);
}

/* 1 and *id: the request that has the challenge; 0: none has; -1. */
static int
challenge_holder(struct tx *tx, const struct store_outcome *o, int64_t *id, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(tx->conn, "SELECT request_id FROM challenge WHERE mdm = ?1 AND sha256 = ?2");
	int rc;

	query_text_cut(&q, o->challenge_mdm, STORE_NAME_MAX);
	query_sha256(&q, o->challenge_sha256);
	rc = query_row(&q, e);
	if (rc == 1)
		*id = query_get_int(&q);
	return rc;
}

int
claim_challenge(struct tx *tx, const struct store_outcome *o, int64_t request_id, struct err *e)
{
	int64_t holder = 0;
	int rc;

	if (!needs_challenge(o))
		return 0;
	rc = challenge_holder(tx, o, &holder, e);
	if (rc < 0)
		return -1;
	return rc == 1 && holder != request_id ? CLAIM_LOST : 0;
}

int
claim_keep_challenge(struct tx *tx, const struct store_outcome *o, int64_t request_id, struct err *e)
{
	CLEANUP(query) struct query q = {0};

	if (!needs_challenge(o))
		return 0;
	/* It may be this very request's since it was pending; no other's, as claim_challenge() saw. */
	q = query_of(tx->conn,
		"INSERT INTO challenge (mdm, sha256, request_id) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING");
	query_text_cut(&q, o->challenge_mdm, STORE_NAME_MAX);
	query_sha256(&q, o->challenge_sha256);
	query_int(&q, request_id);
	return query_run(&q, e);
}
