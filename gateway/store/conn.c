#define _GNU_SOURCE
#include "gateway/store/sqlite_internal.h"

#include <stdio.h>
#include <string.h>

int
conn_fail(struct conn *conn, int rc, struct err *e)
{
	enum err_code code = (rc & 0xff) == SQLITE_NOMEM ? ERR_NOMEM : ERR_UPSTREAM;

	if (conn->db == NULL)
		return err_set(e, code, "database: %s", sqlite3_errstr(rc));
	return err_set(e, code, "database: %s (%d)", sqlite3_errmsg(conn->db), rc);
}

int
conn_run(struct conn *conn, const char *sql, struct err *e)
{
	int rc = sqlite3_exec(conn->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : conn_fail(conn, rc, e);
}

/* A PRAGMA takes no parameters; the value is a checked number of ours. */
static int
set_cache(struct conn *conn, int cache_kib, struct err *e)
{
	char text[48];

	(void)snprintf(text, sizeof text, "PRAGMA cache_size = -%d", cache_kib);
	return conn_run(conn, text, e);
}

static int
set_wal(struct conn *conn, struct err *e)
{
	CLEANUP(query) struct query q = query_of(conn, "PRAGMA journal_mode = WAL");
	char mode[16] = "";
	int rc = query_row(&q, e);

	if (rc < 0)
		return -1;
	if (rc == 1)
		query_get_text(&q, mode, sizeof mode);
	if (strcmp(mode, "wal") != 0)
		return err_set(e, ERR_UPSTREAM, "database: no write-ahead log here (%s): a local disk is needed", mode);
	return 0;
}

static int
set_up(struct conn *conn, enum conn_role role, int cache_kib, struct err *e)
{
	int off = 0, on = 1;

	(void)sqlite3_extended_result_codes(conn->db, 1);
	(void)sqlite3_busy_timeout(conn->db, STORE_BUSY_MS);
	(void)sqlite3_db_config(conn->db, SQLITE_DBCONFIG_DEFENSIVE, on, NULL);
	(void)sqlite3_db_config(conn->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, off, NULL);
	(void)sqlite3_db_config(conn->db, SQLITE_DBCONFIG_DQS_DML, off, NULL);
	(void)sqlite3_db_config(conn->db, SQLITE_DBCONFIG_DQS_DDL, off, NULL);
	if (conn_run(conn,
		"PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0;"
		"PRAGMA synchronous = FULL;", e) != 0 || set_cache(conn, cache_kib, e) != 0)
		return -1;
	if (role == CONN_OFFLINE) /* the file may have been anywhere */
		return conn_run(conn, "PRAGMA query_only = ON; PRAGMA cell_size_check = ON", e);
	if (role == CONN_READER)
		return conn_run(conn, "PRAGMA query_only = ON", e);
	return set_wal(conn, e);
}

int
conn_open(struct conn *conn, const char *path, enum conn_role role, int cache_kib, struct err *e)
{
	int flags = role == CONN_WRITER ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
	int rc;

	memset(conn, 0, sizeof *conn);
	rc = sqlite3_open_v2(path, &conn->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc != SQLITE_OK) {
		(void)conn_fail(conn, rc, e);
		conn_close(conn);
		return -1;
	}
	if (set_up(conn, role, cache_kib, e) != 0) {
		conn_close(conn);
		return -1;
	}
	return 0;
}

void
conn_close(struct conn *conn)
{
	for (size_t i = 0; i < CONN_STATEMENTS; i++)
		(void)sqlite3_finalize(conn->cache[i].st);
	(void)sqlite3_close(conn->db);
	memset(conn, 0, sizeof *conn);
}

struct query
query_of(struct conn *conn, const char *sql)
{
	struct query q = {.conn = conn, .rc = SQLITE_FULL};
	size_t start = ((uintptr_t)sql >> 3) % CONN_STATEMENTS;

	for (size_t n = 0; n < CONN_STATEMENTS; n++) {
		size_t i = (start + n) % CONN_STATEMENTS;

		if (conn->cache[i].sql == NULL) {
			q.rc = sqlite3_prepare_v3(conn->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &q.st, NULL);
			if (q.rc != SQLITE_OK)
				return q;
			conn->cache[i].sql = sql;
			conn->cache[i].st = q.st;
			return q;
		}
		if (conn->cache[i].sql == sql) {
			/* A list's callback must not start the same list again. */
			q.rc = sqlite3_stmt_busy(conn->cache[i].st) ? SQLITE_MISUSE : SQLITE_OK;
			q.st = q.rc == SQLITE_OK ? conn->cache[i].st : NULL;
			return q;
		}
	}
	return q;
}

void
query_end(struct query *q)
{
	if (q->st != NULL)
		(void)sqlite3_reset(q->st);
	q->st = NULL;
}

void
query_int(struct query *q, int64_t value)
{
	if (q->rc == SQLITE_OK)
		q->rc = sqlite3_bind_int64(q->st, ++q->bound, value);
}

void
query_id(struct query *q, int64_t id)
{
	if (q->rc == SQLITE_OK)
		q->rc = id == 0 ? sqlite3_bind_null(q->st, ++q->bound) :
				  sqlite3_bind_int64(q->st, ++q->bound, id);
}

size_t
text_fit(const char *text, size_t size)
{
	size_t len = strnlen(text, size);

	if (len < size)
		return len;
	len = size - 1;
	while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
		len--;
	return len;
}

void
query_text_cut(struct query *q, const char *text, size_t size)
{
	const char *at = text == NULL ? "" : text;

	if (q->rc == SQLITE_OK)
		q->rc = sqlite3_bind_text64(q->st, ++q->bound, at, text_fit(at, size), SQLITE_STATIC, SQLITE_UTF8);
}

void
query_text(struct query *q, const char *text)
{
	query_text_cut(q, text, BUF_MAX);
}

void
query_text_or_null(struct query *q, const char *text)
{
	if (text != NULL)
		query_text(q, text);
	else if (q->rc == SQLITE_OK)
		q->rc = sqlite3_bind_null(q->st, ++q->bound);
}

void
query_blob(struct query *q, struct bytes bytes)
{
	if (q->rc != SQLITE_OK)
		return;
	if (bytes.len == 0)
		q->rc = sqlite3_bind_zeroblob(q->st, ++q->bound, 0);
	else
		q->rc = sqlite3_bind_blob64(q->st, ++q->bound, bytes.at, bytes.len, SQLITE_STATIC);
}

void
query_sha256(struct query *q, const uint8_t sha256[32])
{
	query_blob(q, bytes_of(sha256, 32));
}

int
query_row(struct query *q, struct err *e)
{
	if (q->rc == SQLITE_OK)
		q->rc = sqlite3_step(q->st);
	q->column = 0;
	if (q->rc == SQLITE_ROW) {
		q->rc = SQLITE_OK;
		return 1;
	}
	if (q->rc == SQLITE_DONE) {
		query_end(q);
		return 0;
	}
	if (q->rc == SQLITE_MISUSE)
		(void)err_set(e, ERR_BUG, "database: a statement is used inside itself");
	else
		(void)conn_fail(q->conn, q->rc, e);
	query_end(q);
	return -1;
}

int
query_run(struct query *q, struct err *e)
{
	int rc = query_row(q, e);

	query_end(q);
	return rc < 0 ? -1 : 0;
}

bool
query_conflicts(const struct query *q)
{
	return q->rc == SQLITE_CONSTRAINT_UNIQUE || q->rc == SQLITE_CONSTRAINT_PRIMARYKEY;
}

int64_t
query_get_int(struct query *q)
{
	return sqlite3_column_int64(q->st, q->column++);
}

const char *
query_get0_text(struct query *q)
{
	const unsigned char *text = sqlite3_column_text(q->st, q->column++);

	return text == NULL ? "" : (const char *)text;
}

void
query_get_text(struct query *q, char *out, size_t size)
{
	const char *text = query_get0_text(q);
	size_t len = text_fit(text, size);

	memcpy(out, text, len);
	out[len] = '\0';
}

struct bytes
query_get0_blob(struct query *q)
{
	const void *at = sqlite3_column_blob(q->st, q->column);
	int len = sqlite3_column_bytes(q->st, q->column++);

	return at == NULL ? bytes_of(NULL, 0) : bytes_of(at, (size_t)len);
}

void
query_get_blob(struct query *q, uint8_t *out, size_t size)
{
	struct bytes bytes = query_get0_blob(q);

	memset(out, 0, size);
	if (bytes.len == size)
		memcpy(out, bytes.at, size);
}
