#include "gateway/store/sqlite_internal.h"

#include <string.h>

#include "base/ossl.h"

static void
put_number(struct buf *b, uint64_t value, int octets)
{
	for (int shift = 8 * (octets - 1); shift >= 0; shift -= 8)
		buf_append_u8(b, (uint8_t)(value >> shift));
}

/* Every column with its length before it: no two different rows encode alike. */
static void
put_column(struct buf *b, struct bytes column)
{
	put_number(b, column.len, 4);
	buf_append_bytes(b, column);
}

static void
put_int_column(struct buf *b, int64_t value)
{
	put_number(b, 8, 4);
	put_number(b, (uint64_t)value, 8);
}

int
chain_hash(const uint8_t prev[32], const struct chain_row *row, struct buf *scratch, uint8_t out[32],
	struct err *e)
{
	buf_clear(scratch);
	buf_append(scratch, prev, 32);
	put_int_column(scratch, row->seq);
	put_int_column(scratch, row->at_s);
	put_column(scratch, row->actor);
	put_column(scratch, row->action);
	put_column(scratch, row->subject);
	put_column(scratch, row->detail);
	if (buf_failed(scratch))
		return err_set(e, ERR_NOMEM, "audit row");
	return sha256(buf_bytes(scratch), out, e);
}

int
chain_load(struct conn *conn, struct chain *out, struct err *e)
{
	CLEANUP(query) struct query q = query_of(conn, "SELECT seq, hash FROM audit_head WHERE one = 1");
	int rc = query_row(&q, e);

	if (rc != 1)
		return rc;
	out->seq = query_get_int(&q);
	query_get_blob(&q, out->hash, sizeof out->hash);
	return 1;
}

int
chain_save(struct tx *tx, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(tx->conn, "UPDATE audit_head SET seq = ?1, hash = ?2 WHERE one = 1");

	query_int(&q, tx->chain.seq);
	query_sha256(&q, tx->chain.hash);
	return query_run(&q, e);
}

static struct bytes
cut(const char *text, size_t size)
{
	return text == NULL ? bytes_of("", 0) : bytes_of(text, text_fit(text, size));
}

int
chain_append(struct tx *tx, int64_t now_s, const char *actor, const char *action, const char *subject,
	const char *detail_json, struct err *e)
{
	struct chain_row row = {
		.seq = tx->chain.seq + 1,
		.at_s = now_s,
		.actor = cut(actor, REG_VALUE_MAX),
		.action = cut(action, FIELD_SIZE(struct audit_row, action)),
		.subject = cut(subject, REG_VALUE_MAX),
		.detail = detail_json == NULL ? bytes_of_text("{}") : bytes_of_text(detail_json),
	};
	uint8_t hash[32];
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO audit (seq, at_s, actor, action, subject, detail_json, prev, hash)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");

	if (row.detail.len > STORE_JSON_MAX)
		return err_set(e, ERR_LIMIT, "audit detail of %zu octets", row.detail.len);
	if (chain_hash(tx->chain.hash, &row, &tx->scratch, hash, e) != 0)
		return -1;
	query_int(&q, row.seq);
	query_int(&q, row.at_s);
	query_text_cut(&q, actor, row.actor.len + 1);
	query_text_cut(&q, action, row.action.len + 1);
	query_text_cut(&q, subject, row.subject.len + 1);
	query_text(&q, (const char *)row.detail.at);
	query_sha256(&q, tx->chain.hash);
	query_sha256(&q, hash);
	if (query_run(&q, e) != 0)
		return -1;
	tx->chain.seq = row.seq;
	memcpy(tx->chain.hash, hash, sizeof hash);
	return 0;
}
