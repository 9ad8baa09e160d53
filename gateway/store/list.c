#include "gateway/store/sqlite_internal.h"

/*
 * Every filter is a parameter of a constant text. The texts of one list differ
 * only in where SQLite starts looking: CROSS JOIN fixes that order.
 */

static int
limit_of(int limit)
{
	return limit > 0 ? limit : STORE_LIST_DEFAULT;
}

#define ASSET_TAIL \
	" AND a.id > ?1 AND (?2 IS NULL OR a.tag = ?2) AND (?3 IS NULL OR o.name = ?3)" \
	" AND (?4 < 0 OR a.state = ?4) ORDER BY a.id LIMIT ?5"
/* An asset's certificates are found through its requests; see schema.c. */
#define GOOD_CERTS \
	"FROM request r CROSS JOIN certificate c ON c.id = r.cert_id" \
	" WHERE r.asset_id = a.id AND c.status = 0 AND c.not_after_s > ?6"
#define ASSET_HEAD \
	"SELECT " ASSET_COLUMNS ", o.name," \
	" (SELECT count(*) " GOOD_CERTS "), (SELECT max(c.not_after_s) " GOOD_CERTS ")" \
	" FROM asset a CROSS JOIN owner o ON o.id = a.owner_id"

int
sqlite_asset_list(struct store_read *read, const struct asset_filter *filter, int64_t now_s, asset_cb cb,
	void *arg, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		filter->tag != NULL ? ASSET_HEAD " WHERE a.tag = ?2" ASSET_TAIL : ASSET_HEAD " WHERE 1" ASSET_TAIL);
	struct asset_summary row;
	int rc;

	query_int(&q, filter->after_id);
	query_text_or_null(&q, filter->tag);
	query_text_or_null(&q, filter->owner);
	query_int(&q, filter->state);
	query_int(&q, limit_of(filter->limit));
	query_int(&q, now_s);
	while ((rc = query_row(&q, e)) == 1) {
		row_asset(&q, &row.asset);
		query_get_text(&q, row.owner, sizeof row.owner);
		row.certs_valid = query_get_int(&q);
		row.next_expiry_s = query_get_int(&q);
		if (!cb(arg, &row))
			return 0;
	}
	return rc;
}

int
sqlite_anchor_list(struct store_read *read, int64_t asset_id, anchor_cb cb, void *arg, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT type, issuer, value FROM anchor WHERE asset_id = ?1 ORDER BY type, issuer, value");
	struct anchor row;
	int rc;

	query_int(&q, asset_id);
	while ((rc = query_row(&q, e)) == 1) {
		row.type = (enum anchor_type)query_get_int(&q);
		query_get_text(&q, row.issuer, sizeof row.issuer);
		query_get_text(&q, row.value, sizeof row.value);
		if (!cb(arg, &row))
			return 0;
	}
	return rc;
}

int
sqlite_owner_list(struct store_read *read, owner_cb cb, void *arg, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(&read->conn, "SELECT " OWNER_COLUMNS " FROM owner o ORDER BY o.id");
	struct owner row;
	int rc;

	while ((rc = query_row(&q, e)) == 1) {
		row_owner(&q, &row);
		if (!cb(arg, &row))
			return 0;
	}
	return rc;
}

#define CERT_TAIL \
	" AND c.id > ?1 AND (?2 IS NULL OR a.tag = ?2) AND (?3 IS NULL OR c.serial = ?3)" \
	" AND (?4 < 0 OR c.status = ?4) AND (?5 = 0 OR c.not_after_s < ?5) AND c.not_after_s >= ?7" \
	" AND (?8 IS NULL OR c.ca = ?8) ORDER BY c.id "
#define CERT_HEAD "SELECT " CERT_COLUMNS " FROM certificate c CROSS JOIN asset a ON a.id = c.asset_id"
/* One start of a list in both directions. */
#define CERT_TEXT(start, newest) ((newest) ? start CERT_TAIL "DESC LIMIT ?6" : start CERT_TAIL "LIMIT ?6")

const char *
sqlite_cert_list_text(const struct cert_filter *filter)
{
	bool newest = filter->newest;

	if (filter->serial != NULL)
		return CERT_TEXT(CERT_HEAD " WHERE c.serial = ?3", newest);
	if (filter->asset_tag != NULL)
		return CERT_TEXT("SELECT " CERT_COLUMNS " FROM asset a CROSS JOIN certificate c INDEXED BY certificate_asset"
			" ON c.asset_id = a.id WHERE a.tag = ?2", newest);
	if (filter->status > (int)CERT_VALID)
		return CERT_TEXT(CERT_HEAD " WHERE c.status <> 0 AND c.status = ?4", newest);
	if (filter->expires_before_s != 0)
		return CERT_TEXT("SELECT " CERT_COLUMNS " FROM certificate c INDEXED BY certificate_expiry"
			" CROSS JOIN asset a ON a.id = c.asset_id WHERE c.not_after_s < ?5", newest);
	return CERT_TEXT(CERT_HEAD " WHERE 1", newest);
}

int
sqlite_cert_list(struct store_read *read, const struct cert_filter *filter, cert_cb cb, void *arg, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn, sqlite_cert_list_text(filter));
	struct cert_row row;
	int rc;

	query_int(&q, filter->after_id);
	query_text_or_null(&q, filter->asset_tag);
	query_text_or_null(&q, filter->serial);
	query_int(&q, filter->status);
	query_int(&q, filter->expires_before_s);
	query_int(&q, limit_of(filter->limit));
	query_int(&q, filter->expires_after_s);
	query_text_or_null(&q, filter->ca);
	while ((rc = query_row(&q, e)) == 1) {
		row_cert(&q, &row);
		if (!cb(arg, &row))
			return 0;
	}
	return rc;
}

#define REQUEST_TAIL \
	" AND r.id > ?1 AND (?2 IS NULL OR a.tag = ?2) AND (?3 < 0 OR r.state = ?3) ORDER BY r.id LIMIT ?4"
#define REQUEST_HEAD "SELECT " REQUEST_COLUMNS " FROM request r CROSS JOIN asset a ON a.id = r.asset_id"

static const char *
request_list_text(const struct request_filter *filter)
{
	if (filter->asset_tag != NULL)
		return "SELECT " REQUEST_COLUMNS " FROM asset a CROSS JOIN request r ON r.asset_id = a.id"
		       " WHERE a.tag = ?2" REQUEST_TAIL;
	if (filter->state >= 0 && filter->state != (int)REQUEST_ISSUED)
		return REQUEST_HEAD " WHERE r.state <> 2 AND r.state = ?3" REQUEST_TAIL;
	return REQUEST_HEAD " WHERE 1" REQUEST_TAIL;
}

int
sqlite_request_list(struct store_read *read, const struct request_filter *filter, request_cb cb, void *arg,
	struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn, request_list_text(filter));
	struct request_row row;
	int rc;

	query_int(&q, filter->after_id);
	query_text_or_null(&q, filter->asset_tag);
	query_int(&q, filter->state);
	query_int(&q, limit_of(filter->limit));
	while ((rc = query_row(&q, e)) == 1) {
		row_request(&q, &row);
		if (!cb(arg, &row))
			return 0;
	}
	return rc;
}

static int
each_decision(struct query *q, decision_cb cb, void *arg, struct err *e)
{
	struct decision_row row;
	int rc;

	while ((rc = query_row(q, e)) == 1) {
		row_decision(q, &row);
		if (!cb(arg, &row))
			return 0;
	}
	return rc;
}

int
sqlite_decision_list(struct store_read *read, int64_t request_id, int64_t asset_id, int limit, decision_cb cb,
	void *arg, struct err *e)
{
	/* Every decision about an asset belongs to one of its requests; so no index on asset_id is needed. */
	CLEANUP(query) struct query q = query_of(&read->conn,
		request_id != 0 ?
			"SELECT " DECISION_COLUMNS " FROM decision d WHERE d.request_id = ?1"
			" ORDER BY d.id DESC LIMIT ?2" :
			"SELECT " DECISION_COLUMNS " FROM request r CROSS JOIN decision d ON d.request_id = r.id"
			" WHERE r.asset_id = ?1 ORDER BY d.id DESC LIMIT ?2");

	query_int(&q, request_id != 0 ? request_id : asset_id);
	query_int(&q, limit_of(limit));
	return each_decision(&q, cb, arg, e);
}

int
sqlite_decision_by_id(struct store_read *read, int64_t id, decision_cb cb, void *arg, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(&read->conn, "SELECT " DECISION_COLUMNS " FROM decision d WHERE d.id = ?1");

	query_int(&q, id);
	return each_decision(&q, cb, arg, e);
}
