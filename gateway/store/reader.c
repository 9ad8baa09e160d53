#include "gateway/store/sqlite_internal.h"

#include <stdlib.h>
#include <string.h>

int
pool_open(struct pool *pool, const char *path, enum conn_role role, int count, int cache_kib, struct err *e)
{
	pool->reads = calloc((size_t)count, sizeof *pool->reads);
	if (pool->reads == NULL)
		return err_set(e, ERR_NOMEM, "%d database readers", count);
	for (; pool->count < count; pool->count++) {
		struct store_read *read = &pool->reads[pool->count];

		if (conn_open(&read->conn, path, role, cache_kib, e) != 0)
			return -1;
		read->pool = pool;
		read->next = pool->idle;
		pool->idle = read;
	}
	return 0;
}

void
pool_close(struct pool *pool)
{
	(void)pthread_mutex_lock(&pool->lock);
	while (pool->out > 0)
		(void)pthread_cond_wait(&pool->returned, &pool->lock);
	(void)pthread_mutex_unlock(&pool->lock);
	for (int i = 0; i < pool->count; i++)
		conn_close(&pool->reads[i].conn);
	free(pool->reads);
}

static struct store_read *
take(struct pool *pool)
{
	struct store_read *read;

	(void)pthread_mutex_lock(&pool->lock);
	while (pool->idle == NULL)
		(void)pthread_cond_wait(&pool->returned, &pool->lock);
	read = pool->idle;
	pool->idle = read->next;
	pool->out++;
	(void)pthread_mutex_unlock(&pool->lock);
	return read;
}

static void
give_back(struct store_read *read)
{
	struct pool *pool = read->pool;

	(void)pthread_mutex_lock(&pool->lock);
	read->next = pool->idle;
	pool->idle = read;
	pool->out--;
	/* pool_close() and callers in take() may both be waiting. */
	(void)pthread_cond_broadcast(&pool->returned);
	(void)pthread_mutex_unlock(&pool->lock);
}

int
sqlite_read_begin(struct store *store, struct store_read **out, struct err *e)
{
	struct store_read *read = take(&store->pool);
	struct query q = query_of(&read->conn, "BEGIN");

	if (query_run(&q, e) != 0) {
		give_back(read);
		return -1;
	}
	*out = read;
	return 0;
}

void
sqlite_read_end(struct store_read *read)
{
	struct query q;
	struct err ignored;

	if (read == NULL)
		return;
	if (sqlite3_get_autocommit(read->conn.db) == 0) {
		q = query_of(&read->conn, "COMMIT");
		(void)query_run(&q, &ignored);
	}
	give_back(read);
}

/* Takes the first row of an asset query and finishes it. */
static int
one_asset(struct query *q, struct asset *asset, struct owner *owner, struct err *e)
{
	int rc = query_row(q, e);

	if (rc != 1)
		return rc;
	row_asset(q, asset);
	row_owner(q, owner);
	return 1;
}

#define FROM_ASSET " FROM asset a JOIN owner o ON o.id = a.owner_id"

int
sqlite_asset_by_anchor(struct store_read *read, const struct anchor *anchor, struct asset *asset,
	struct owner *owner, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT " ASSET_COLUMNS ", " OWNER_COLUMNS " FROM anchor n JOIN asset a ON a.id = n.asset_id"
		" JOIN owner o ON o.id = a.owner_id WHERE n.type = ?1 AND n.issuer = ?2 AND n.value = ?3");

	query_int(&q, anchor->type);
	query_text(&q, anchor->issuer);
	query_text(&q, anchor->value);
	return one_asset(&q, asset, owner, e);
}

int
sqlite_asset_by_tag(struct store_read *read, const char *tag, struct asset *asset, struct owner *owner,
	struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT " ASSET_COLUMNS ", " OWNER_COLUMNS FROM_ASSET " WHERE a.tag = ?1");

	query_text(&q, tag);
	return one_asset(&q, asset, owner, e);
}

int
sqlite_asset_by_id(struct store_read *read, int64_t id, struct asset *asset, struct owner *owner, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT " ASSET_COLUMNS ", " OWNER_COLUMNS FROM_ASSET " WHERE a.id = ?1");

	query_int(&q, id);
	return one_asset(&q, asset, owner, e);
}

#define FROM_CERT " FROM certificate c JOIN asset a ON a.id = c.asset_id"

static int
one_cert(struct query *q, struct cert_row *out, struct err *e)
{
	int rc = query_row(q, e);

	if (rc == 1)
		row_cert(q, out);
	return rc;
}

int
sqlite_cert_by_serial(struct store_read *read, const char *serial, const uint8_t sha256[32],
	struct cert_row *out, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(&read->conn, "SELECT " CERT_COLUMNS FROM_CERT " WHERE c.serial = ?1 AND c.sha256 = ?2");

	query_text(&q, serial);
	query_sha256(&q, sha256);
	return one_cert(&q, out, e);
}

int
sqlite_cert_by_id(struct store_read *read, int64_t id, struct cert_row *out, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn, "SELECT " CERT_COLUMNS FROM_CERT " WHERE c.id = ?1");

	query_int(&q, id);
	return one_cert(&q, out, e);
}

static int
one_blob(struct query *q, int64_t id, struct buf *out, struct err *e)
{
	int rc;

	query_int(q, id);
	rc = query_row(q, e);
	if (rc != 1)
		return rc;
	buf_append_bytes(out, query_get0_blob(q));
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "reading DER") : 1;
}

int
sqlite_cert_der(struct store_read *read, int64_t id, struct buf *out, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn, "SELECT der FROM certificate_der WHERE id = ?1");

	return one_blob(&q, id, out, e);
}

#define FROM_REQUEST " FROM request r JOIN asset a ON a.id = r.asset_id"

static int
one_request(struct query *q, struct request_row *out, struct err *e)
{
	int rc = query_row(q, e);

	if (rc == 1)
		row_request(q, out);
	return rc;
}

int
sqlite_request_find(struct store_read *read, int64_t asset_id, const char *label, const uint8_t csr_sha256[32],
	struct request_row *out, struct err *e)
{
	/* In the index's order and the request first: nothing is sorted, and for a new request nothing else is read. */
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT " REQUEST_COLUMNS " FROM request r CROSS JOIN asset a ON a.id = r.asset_id"
		" WHERE r.asset_id = ?1 AND r.label = ?2 AND r.csr_sha256 = ?3 ORDER BY r.attempt DESC");
	struct request_row row;
	int found = 0, rc;

	query_int(&q, asset_id);
	query_text(&q, label);
	query_sha256(&q, csr_sha256);
	/* The newest that was not denied, else the newest. */
	while ((rc = query_row(&q, e)) == 1) {
		row_request(&q, &row);
		if (found == 0 || row.state != REQUEST_DENIED)
			*out = row;
		found = 1;
		if (row.state != REQUEST_DENIED)
			break;
	}
	return rc < 0 ? -1 : found;
}

int
sqlite_request_by_id(struct store_read *read, int64_t id, struct request_row *out, struct buf *csr,
	struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(&read->conn, "SELECT " REQUEST_COLUMNS FROM_REQUEST " WHERE r.id = ?1");
	CLEANUP(query) struct query der = {0};
	int rc;

	query_int(&q, id);
	rc = one_request(&q, out, e);
	if (rc != 1 || csr == NULL)
		return rc;
	der = query_of(&read->conn, "SELECT der FROM request_csr WHERE id = ?1");
	return one_blob(&der, id, csr, e) < 0 ? -1 : 1;
}

int
sqlite_requests_of_transaction(struct store_read *read, const char *label, const char *transaction,
	struct request_row *out, int max, struct err *e)
{
	/* The term with '' is the index's own: SQLite uses a partial index only where the query repeats it. */
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT " REQUEST_COLUMNS " FROM request r INDEXED BY request_transaction"
		" CROSS JOIN asset a ON a.id = r.asset_id"
		" WHERE r.label = ?1 AND r.transaction_id = ?2 AND r.transaction_id <> '' AND r.state <> ?3"
		" ORDER BY r.id DESC LIMIT ?4");
	int count = 0, rc = 0;

	query_text(&q, label);
	query_text(&q, transaction);
	query_int(&q, REQUEST_DENIED);
	query_int(&q, max < 0 ? 0 : max);
	while (count < max && (rc = query_row(&q, e)) == 1)
		row_request(&q, &out[count++]);
	return rc < 0 ? -1 : count;
}

int
sqlite_challenge_request(struct store_read *read, const char *mdm, const uint8_t sha256[32],
	int64_t *request_id, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(&read->conn, "SELECT request_id FROM challenge WHERE mdm = ?1 AND sha256 = ?2");
	int rc;

	query_text(&q, mdm);
	query_sha256(&q, sha256);
	rc = query_row(&q, e);
	if (rc == 1)
		*request_id = query_get_int(&q);
	return rc;
}

int
sqlite_key_use(struct store_read *read, const uint8_t spki_sha256[32], int64_t asset_id, bool *elsewhere,
	bool *before, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT max(asset_id <> ?2), max(asset_id = ?2) FROM certificate WHERE " CERT_OF_KEY("?1"));

	query_sha256(&q, spki_sha256);
	query_int(&q, asset_id);
	if (query_row(&q, e) < 0)
		return -1;
	*elsewhere = query_get_int(&q) != 0;
	*before = query_get_int(&q) != 0;
	return 0;
}

int
sqlite_secret_by_id(struct store_read *read, int64_t id, struct secret_row *out, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(&read->conn, "SELECT " SECRET_COLUMNS " FROM secret WHERE id = ?1");
	int rc;

	query_int(&q, id);
	rc = query_row(&q, e);
	if (rc == 1)
		row_secret(&q, out);
	return rc;
}

int
sqlite_secrets(struct store_read *read, int64_t asset_id, const char *protocol, struct secret_row *out, int max,
	struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT " SECRET_COLUMNS " FROM secret WHERE asset_id = ?1 AND protocol = ?2"
		" ORDER BY id DESC LIMIT ?3");
	int count = 0, rc = 0;

	query_int(&q, asset_id);
	query_text(&q, protocol);
	query_int(&q, max < 0 ? 0 : max);
	while (count < max && (rc = query_row(&q, e)) == 1)
		row_secret(&q, &out[count++]);
	return rc < 0 ? -1 : count;
}
