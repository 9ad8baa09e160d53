#include "gateway/store/sqlite_internal.h"

/* What a policy version said, so that an old decision can be replayed with its own rules. */

#define POLICY_TEXT_MAX ((size_t)16 << 20)

int
sqlite_policy_text(struct store_read *read, const char *version, struct buf *out, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn, "SELECT text FROM policy WHERE version = ?1");
	int rc;

	query_text(&q, version);
	rc = query_row(&q, e);
	if (rc != 1)
		return rc;
	buf_append_text(out, query_get0_text(&q));
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "reading a policy") : 1;
}

struct policy_write {
	const char *version, *text;
	int64_t now_s;
};

static int
policy_job(struct tx *tx, void *arg, struct err *e)
{
	const struct policy_write *w = arg;
	CLEANUP(buf) struct buf detail = {0};
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO policy (version, at_s, text) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING");

	query_text(&q, w->version);
	query_int(&q, w->now_s);
	query_text(&q, w->text);
	if (query_run(&q, e) != 0)
		return -1;
	if (sqlite3_changes64(tx->conn->db) == 0)
		return JOB_UNDO;
	json_open(&detail);
	json_int(&detail, "octets", (int64_t)text_fit(w->text, POLICY_TEXT_MAX));
	json_close(&detail);
	return store_append(tx, w->now_s, "enrolld", "policy.kept", w->version, &detail, e);
}

int
sqlite_policy_put(struct store *store, const char *version, const char *text, int64_t now_s, struct err *e)
{
	struct policy_write write = {version, text, now_s};

	if (version[0] == '\0' || text_fit(version, FIELD_SIZE(struct decision_row, policy_version) + 1) >=
			FIELD_SIZE(struct decision_row, policy_version))
		return err_set(e, ERR_BUG, "a policy version of no or too many octets");
	if (text_fit(text, POLICY_TEXT_MAX) != text_fit(text, POLICY_TEXT_MAX + 1))
		return err_set(e, ERR_LIMIT, "a policy of more than %zu octets", POLICY_TEXT_MAX - 1);
	return store_write(store, policy_job, &write, e);
}
