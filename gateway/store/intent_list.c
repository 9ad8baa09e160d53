/* What is asked of CAs elsewhere, read: see intent.h. */
#include "gateway/store/sqlite_internal.h"

#define INTENT_COLUMNS \
	"i.id, i.request_id, a.tag, r.label, r.csr_sha256, i.ca, i.ca_request_id, i.state, i.reference, i.created_s, i.updated_s," \
	" i.next_try_s, i.tries, i.certificate_id, i.key_kind, i.error"
#define INTENT_TABLES " FROM intent i CROSS JOIN request r ON r.id = i.request_id CROSS JOIN asset a ON a.id = r.asset_id"

static void
row_intent(struct query *q, struct intent_row *out)
{
	out->id = query_get_int(q);
	out->request_id = query_get_int(q);
	query_get_text(q, out->asset_tag, sizeof out->asset_tag);
	query_get_text(q, out->label, sizeof out->label);
	query_get_blob(q, out->csr_sha256, sizeof out->csr_sha256);
	query_get_text(q, out->ca, sizeof out->ca);
	query_get_text(q, out->ca_request_id, sizeof out->ca_request_id);
	out->state = (enum intent_state)query_get_int(q);
	query_get_text(q, out->reference, sizeof out->reference);
	out->created_s = query_get_int(q);
	out->updated_s = query_get_int(q);
	out->next_try_s = query_get_int(q);
	out->tries = query_get_int(q);
	out->cert_id = query_get_int(q);
	out->key_kind = (int)query_get_int(q);
	query_get_text(q, out->error, sizeof out->error);
}

int
intent_by_id(struct store_read *read, int64_t id, struct intent_row *out, struct buf *spec, struct buf *spki, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT " INTENT_COLUMNS ", i.spec_json, i.spki" INTENT_TABLES " WHERE i.id = ?1");
	int rc;

	query_int(&q, id);
	rc = query_row(&q, e);
	if (rc != 1)
		return rc;
	row_intent(&q, out);
	if (spec != NULL)
		buf_append_text(spec, query_get0_text(&q));
	if (spki != NULL)
		buf_append_bytes(spki, query_get0_blob(&q));
	if ((spec != NULL && buf_failed(spec)) || (spki != NULL && buf_failed(spki)))
		return err_set(e, ERR_NOMEM, "reading an intent");
	return 1;
}

int
intent_of_request(struct store_read *read, int64_t request_id, struct intent_row *out, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT " INTENT_COLUMNS INTENT_TABLES " WHERE i.request_id = ?1 ORDER BY i.number DESC LIMIT 1");
	int rc;

	query_int(&q, request_id);
	rc = query_row(&q, e);
	if (rc == 1)
		row_intent(&q, out);
	return rc;
}

#define LIST_TAIL " AND i.id > ?1 AND (?2 IS NULL OR i.ca = ?2) AND (?3 = 0 OR i.next_try_s <= ?3 OR i.next_try_s > ?3 + ?5) ORDER BY i.id LIMIT ?4"

static const char *
list_text(const struct intent_filter *filter)
{
	if (!filter->active)
		return "SELECT " INTENT_COLUMNS INTENT_TABLES " WHERE 1" LIST_TAIL;
	if (filter->ca != NULL)
		return "SELECT " INTENT_COLUMNS INTENT_TABLES " WHERE i.state < 4 AND i.ca = ?2" LIST_TAIL;
	return "SELECT " INTENT_COLUMNS INTENT_TABLES " WHERE i.state < 4" LIST_TAIL;
}

int
intent_list(struct store_read *read, const struct intent_filter *filter, intent_cb cb, void *arg, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn, list_text(filter));
	struct intent_row row;
	int rc;

	query_int(&q, filter->after_id);
	query_text_or_null(&q, filter->ca);
	query_int(&q, filter->due_s);
	query_int(&q, filter->limit > 0 ? filter->limit : STORE_LIST_DEFAULT);
	query_int(&q, INTENT_TRY_MAX_S);
	while ((rc = query_row(&q, e)) == 1) {
		row_intent(&q, &row);
		if (!cb(arg, &row))
			return 0;
	}
	return rc;
}

int
intent_next(struct store_read *read, const char *ca, int64_t *at_s, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT min(t), count(t) FROM (SELECT min(next_try_s) t FROM intent WHERE state < 4 AND state <> 1 AND ca = ?1"
		" UNION ALL SELECT min(next_try_s) FROM ca_revocation WHERE state = 0 AND ca = ?1)");

	query_text(&q, ca);
	if (query_row(&q, e) != 1)
		return -1;
	*at_s = query_get_int(&q);
	return query_get_int(&q) > 0;
}

static int
count_unheld(struct store_read *read, const char *ca, int64_t *out, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(&read->conn, "SELECT count(*) FROM ca_revocation WHERE state = 2 AND wanted = 2 AND ca = ?1");

	query_text(&q, ca);
	if (query_row(&q, e) != 1)
		return -1;
	*out = query_get_int(&q);
	return 0;
}

static int
count_revocations(struct store_read *read, const char *ca, struct intent_counts *out, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT sum(wanted = 1), sum(wanted = 2), sum(wanted = 0), sum(wanted <> 1 AND reason = ?2) FROM ca_revocation"
		" WHERE state = 0 AND ca = ?1");

	query_text(&q, ca);
	query_text(&q, REVOCATION_REFUSED);
	if (query_row(&q, e) != 1)
		return -1;
	out->revocations = query_get_int(&q);
	out->holds = query_get_int(&q);
	out->releases = query_get_int(&q);
	out->refused = query_get_int(&q);
	return count_unheld(read, ca, &out->unheld, e);
}

int
intent_counts(struct store_read *read, const char *ca, struct intent_counts *out, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT state, count(*) FROM intent WHERE state < 4 AND ca = ?1 GROUP BY state");
	int rc;

	*out = (struct intent_counts){0};
	query_text(&q, ca);
	while ((rc = query_row(&q, e)) == 1) {
		int64_t state = query_get_int(&q);

		out->in_state[state] = query_get_int(&q);
	}
	return rc < 0 ? -1 : count_revocations(read, ca, out, e);
}

int
intent_cas(struct store_read *read, intent_ca_cb cb, void *arg, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT ca FROM intent WHERE state < 4 UNION SELECT ca FROM ca_revocation WHERE state = 0");
	char ca[INTENT_NAME_MAX];
	int rc;

	while ((rc = query_row(&q, e)) == 1) {
		query_get_text(&q, ca, sizeof ca);
		if (!cb(arg, ca))
			return 0;
	}
	return rc;
}

int
intent_revocations(struct store_read *read, const char *ca, int64_t due_s, int limit, revocation_cb cb, void *arg,
	struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT v.id, v.ca, v.serial, v.reason, v.certificate_id, v.created_s, v.next_try_s, v.tries, v.error,"
		" v.wanted, v.told, coalesce(v.cert, d.der) FROM ca_revocation v LEFT JOIN certificate_der d ON d.id = v.certificate_id"
		" WHERE v.state = 0 AND v.ca = ?1 AND (v.next_try_s <= ?2 OR v.next_try_s > ?2 + ?4) ORDER BY v.id LIMIT ?3");
	struct revocation_row row;
	int rc;

	query_text(&q, ca);
	query_int(&q, due_s);
	query_int(&q, limit);
	query_int(&q, INTENT_TRY_MAX_S);
	while ((rc = query_row(&q, e)) == 1) {
		row.id = query_get_int(&q);
		query_get_text(&q, row.ca, sizeof row.ca);
		query_get_text(&q, row.serial, sizeof row.serial);
		query_get_text(&q, row.reason, sizeof row.reason);
		row.cert_id = query_get_int(&q);
		row.created_s = query_get_int(&q);
		row.next_try_s = query_get_int(&q);
		row.tries = query_get_int(&q);
		query_get_text(&q, row.error, sizeof row.error);
		row.wanted = (enum upstream)query_get_int(&q);
		row.told = (enum upstream)query_get_int(&q);
		if (!cb(arg, &row, query_get0_blob(&q)))
			return 0;
	}
	return rc;
}
