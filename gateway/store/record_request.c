#include "gateway/store/sqlite_internal.h"

/* The row of a request: what it is asked for, and its latest outcome. */

/* What a row keeps of its latest outcome, in the order of both statements that use it. */
static void
bind_outcome(struct query *q, const struct store_outcome *o)
{
	query_int(q, o->state);
	query_int(q, o->now_s);
	query_text_cut(q, o->profile, STORE_NAME_MAX);
	query_text_cut(q, o->protocol, FIELD_SIZE(struct request_row, protocol));
	query_text_cut(q, o->operation, FIELD_SIZE(struct request_row, operation));
	query_text_cut(q, o->peer, STORE_PEER_MAX);
	query_text_cut(q, o->proof, REG_VALUE_MAX);
	query_text_cut(q, o->reason, FIELD_SIZE(struct request_row, reason));
	query_text_cut(q, o->sentence, STORE_SENTENCE_MAX);
	query_text(q, o->transaction);
	query_sha256(q, o->spki_sha256);
	query_int(q, o->proof_kind);
	query_id(q, o->secret_id);
	query_id(q, o->proof_cert_id);
}

int
request_insert(struct tx *tx, const struct store_outcome *o, int64_t *id, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO request (asset_id, label, csr_sha256, attempt, created_s, tries, state, updated_s, profile,"
		" protocol, operation, peer, proof, reason, sentence, transaction_id, spki_sha256, proof_kind, secret_id,"
		" proof_cert_id) VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"
		" ?19)");
	CLEANUP(query) struct query der =
		query_of(tx->conn, "INSERT INTO request_csr (id, der) VALUES (?1, ?2)");

	query_int(&q, o->asset_id);
	query_text_cut(&q, o->label, STORE_NAME_MAX);
	query_sha256(&q, o->csr_sha256);
	query_int(&q, o->attempt);
	query_int(&q, o->now_s);
	bind_outcome(&q, o);
	if (query_run(&q, e) != 0)
		return -1;
	*id = sqlite3_last_insert_rowid(tx->conn->db);
	query_int(&der, *id);
	query_blob(&der, o->csr);
	return query_run(&der, e);
}

int
request_link(struct tx *tx, int64_t id, int64_t cert_id, int64_t decision_id, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(tx->conn, "UPDATE request SET cert_id = ?2, decision_id = ?3 WHERE id = ?1");

	query_int(&q, id);
	query_id(&q, cert_id);
	query_int(&q, decision_id);
	return query_run(&q, e);
}

int
request_update(struct tx *tx, int64_t id, const struct store_outcome *o, int64_t cert_id, int64_t decision_id,
	struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE request SET tries = tries + 1, state = ?2, updated_s = ?3, profile = ?4, protocol = ?5,"
		" operation = ?6, peer = ?7, proof = ?8, reason = ?9, sentence = ?10, transaction_id = ?11,"
		" spki_sha256 = ?12, proof_kind = ?13, secret_id = ?14, proof_cert_id = ?15, cert_id = ?16,"
		" decision_id = ?17 WHERE id = ?1");

	query_int(&q, id);
	bind_outcome(&q, o);
	query_id(&q, cert_id);
	query_int(&q, decision_id);
	return query_run(&q, e);
}

/* The row keeps what an operator decided; only the attempt is counted. */
int
request_touch(struct tx *tx, int64_t id, int64_t now_s, int64_t decision_id, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE request SET decision_id = ?2, tries = tries + 1, updated_s = ?3 WHERE id = ?1");

	query_int(&q, id);
	query_int(&q, decision_id);
	query_int(&q, now_s);
	return query_run(&q, e);
}
