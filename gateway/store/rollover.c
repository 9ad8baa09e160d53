/* Which CA certificates devices were given: see rollover.h. Reports are in rollover_report.c. */
#include "gateway/store/sqlite_internal.h"

struct enter_write {
	const struct rollover_bundle *bundles;
	size_t count;
	int64_t now_s;
};

/* 1 with *id, 0 when it is known already, -1. */
static int
insert_bundle(struct tx *tx, const struct rollover_bundle *bundle, int64_t now_s, int64_t *id, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO bundle (ca, sha256, made_s) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING RETURNING id");
	int rc;

	query_text(&q, bundle->ca);
	query_sha256(&q, bundle->sha256);
	query_int(&q, now_s);
	rc = query_row(&q, e);
	if (rc == 1)
		*id = query_get_int(&q);
	return rc;
}

static int
insert_cert(struct tx *tx, int64_t bundle_id, const uint8_t sha256[32], struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO bundle_cert (bundle_id, cert_sha256) VALUES (?1, ?2) ON CONFLICT DO NOTHING");

	query_int(&q, bundle_id);
	query_sha256(&q, sha256);
	return query_run(&q, e);
}

static int
tell_bundle(struct tx *tx, const struct rollover_bundle *bundle, int64_t now_s, struct err *e)
{
	CLEANUP(buf) struct buf detail = {0};
	char hex[65];

	hex_encode(bytes_of(bundle->sha256, 32), hex);
	json_open(&detail);
	json_text(&detail, "sha256", hex);
	json_int(&detail, "certificates", (int64_t)bundle->cert_count);
	json_close(&detail);
	return store_append(tx, now_s, "enrolld", "ca.certificates", bundle->ca, &detail, e);
}

static int
enter_job(struct tx *tx, void *arg, struct err *e)
{
	const struct enter_write *w = arg;
	int64_t id = 0;
	size_t i, k;
	bool any = false;

	for (i = 0; i < w->count; i++) {
		int rc = insert_bundle(tx, &w->bundles[i], w->now_s, &id, e);

		if (rc < 0)
			return -1;
		if (rc == 0)
			continue;
		any = true;
		for (k = 0; k < w->bundles[i].cert_count; k++)
			if (insert_cert(tx, id, w->bundles[i].certs[k], e) != 0)
				return -1;
		if (tell_bundle(tx, &w->bundles[i], w->now_s, e) != 0)
			return -1;
	}
	return any ? 0 : JOB_UNDO;
}

static int
rollover_enter(struct store *store, const struct rollover_bundle *bundles, size_t count, int64_t now_s, struct err *e)
{
	struct enter_write write = {bundles, count, now_s};
	size_t i;

	for (i = 0; i < count; i++) {
		if (bundles[i].cert_count > ROLLOVER_CERTS_MAX)
			return err_set(e, ERR_LIMIT, "CA \"%.80s\": %zu certificates to hand out; at most %d", bundles[i].ca,
				bundles[i].cert_count, ROLLOVER_CERTS_MAX);
		if (text_fit(bundles[i].ca, ROLLOVER_NAME_MAX + 1) >= ROLLOVER_NAME_MAX)
			return err_set(e, ERR_BUG, "a CA's name of too many octets");
	}
	return store_write(store, enter_job, &write, e);
}

/* Is that the bundle the asset has? 1, 0, -1. */
static int
find_given(struct conn *conn, int64_t asset_id, const char *ca, const uint8_t sha256[32], struct err *e)
{
	CLEANUP(query) struct query q = query_of(conn,
		"SELECT 1 FROM trust_seen s JOIN bundle b ON b.id = s.bundle_id"
		" WHERE s.asset_id = ?1 AND s.ca = ?2 AND b.sha256 = ?3 AND b.ca = s.ca");

	query_int(&q, asset_id);
	query_text(&q, ca);
	query_sha256(&q, sha256);
	return query_row(&q, e);
}

static int
rollover_has(struct store_read *read, int64_t asset_id, const char *ca, const uint8_t sha256[32], struct err *e)
{
	return find_given(&read->conn, asset_id, ca, sha256, e);
}

struct give_write {
	const struct rollover_given *given;
	bool recorded;
};

static int
find_bundle(struct tx *tx, const struct rollover_given *given, int64_t *id, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn, "SELECT id FROM bundle WHERE ca = ?1 AND sha256 = ?2");
	int rc;

	query_text(&q, given->ca);
	query_sha256(&q, given->sha256);
	rc = query_row(&q, e);
	if (rc == 1)
		*id = query_get_int(&q);
	if (rc == 0)
		return err_set(e, ERR_DENIED, "CA \"%.80s\": no such certificates are known to be handed out", given->ca);
	return rc < 0 ? -1 : 0;
}

/* Two connections of one device may come here at once. */
static int
give_job(struct tx *tx, void *arg, struct err *e)
{
	struct give_write *w = arg;
	const struct rollover_given *given = w->given;
	CLEANUP(query) struct query q = {0};
	int64_t bundle_id = 0;
	int rc;

	w->recorded = false;
	rc = find_given(tx->conn, given->asset_id, given->ca, given->sha256, e);
	if (rc != 0)
		return rc < 0 ? -1 : JOB_UNDO;
	if (find_bundle(tx, given, &bundle_id, e) != 0)
		return -1;
	q = query_of(tx->conn,
		"INSERT INTO trust_seen (asset_id, ca, bundle_id, at_s, how) VALUES (?1, ?2, ?3, ?4, ?5)"
		" ON CONFLICT (asset_id, ca) DO UPDATE SET bundle_id = excluded.bundle_id, at_s = excluded.at_s,"
		" how = excluded.how");
	query_int(&q, given->asset_id);
	query_text(&q, given->ca);
	query_int(&q, bundle_id);
	query_int(&q, given->now_s);
	query_int(&q, given->how);
	w->recorded = query_run(&q, e) == 0;
	return w->recorded ? 0 : -1;
}

static int
rollover_give(struct store *store, const struct rollover_given *given, bool *recorded, struct err *e)
{
	struct give_write write = {.given = given};

	if (store_write(store, give_job, &write, e) != 0)
		return -1;
	*recorded = write.recorded;
	return 0;
}

static int
rollover_known(struct store_read *read, int64_t asset_id, rollover_known_cb cb, void *arg, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT s.ca, s.how, s.at_s, c.cert_sha256 FROM trust_seen s CROSS JOIN bundle_cert c ON c.bundle_id = s.bundle_id"
		" WHERE s.asset_id = ?1 ORDER BY s.ca");
	struct rollover_known row;
	int rc;

	query_int(&q, asset_id);
	while ((rc = query_row(&q, e)) == 1) {
		query_get_text(&q, row.ca, sizeof row.ca);
		row.how = (int)query_get_int(&q);
		row.at_s = query_get_int(&q);
		query_get_blob(&q, row.cert_sha256, sizeof row.cert_sha256);
		if (!cb(arg, &row))
			return 0;
	}
	return rc;
}

const struct rollover_ops rollover_sqlite = {
	.enter = rollover_enter,
	.has = rollover_has,
	.give = rollover_give,
	.known = rollover_known,
	.count = rollover_count,
	.behind = rollover_behind_list,
};
