#include "gateway/store/sqlite_internal.h"

#define APPLICATION_ID 1701737068 /* "enrl"; the first migration writes it */

static int
pragma_int(struct conn *conn, const char *sql, int64_t *out, struct err *e)
{
	CLEANUP(query) struct query q = query_of(conn, sql);
	int rc = query_row(&q, e);

	if (rc < 0)
		return -1;
	*out = rc == 0 ? 0 : query_get_int(&q);
	return 0;
}

/* An unknown file is left alone: it may be somebody's. */
static int
check_ours(struct conn *conn, int64_t version, struct err *e)
{
	int64_t application, tables;

	if (pragma_int(conn, "PRAGMA application_id", &application, e) != 0 ||
		pragma_int(conn, "SELECT count(*) FROM sqlite_schema", &tables, e) != 0)
		return -1;
	if (application == APPLICATION_ID || (version == 0 && application == 0 && tables == 0))
		return 0;
	return err_set(e, ERR_UNSUPPORTED, "the file is a database, but not enrolld's");
}

static int64_t
newest_version(void)
{
	int64_t n = 0;

	while (store_migrations[n] != NULL)
		n++;
	return n;
}

static int
check_version(struct conn *conn, int64_t *version, struct err *e)
{
	if (pragma_int(conn, "PRAGMA user_version", version, e) != 0)
		return -1;
	if (check_ours(conn, *version, e) != 0)
		return -1;
	if (*version < 0 || *version > newest_version())
		return err_set(e, ERR_UNSUPPORTED,
			"the database has schema %lld and this program knows up to %lld: use a newer program",
			(long long)*version, (long long)newest_version());
	return 0;
}

static int
migrate_one(struct conn *conn, const char *text, struct err *e)
{
	struct err ignored;

	if (conn_run(conn, "BEGIN IMMEDIATE", e) != 0)
		return -1;
	if (conn_run(conn, text, e) == 0 && conn_run(conn, "COMMIT", e) == 0)
		return 0;
	if (sqlite3_get_autocommit(conn->db) == 0)
		(void)conn_run(conn, "ROLLBACK", &ignored);
	return -1;
}

int
store_migrate(struct conn *conn, struct err *e)
{
	int64_t version;

	if (check_version(conn, &version, e) != 0)
		return -1;
	for (; store_migrations[version] != NULL; version++)
		if (migrate_one(conn, store_migrations[version], e) != 0)
			return err_prefix(e, "migration %lld", (long long)version + 1);
	return 0;
}

int
store_schema_check(struct conn *conn, struct err *e)
{
	int64_t version;

	if (check_version(conn, &version, e) != 0)
		return -1;
	if (version < newest_version())
		return err_set(e, ERR_UNSUPPORTED,
			"the database has schema %lld, older than this program's %lld: start enrolld on it once",
			(long long)version, (long long)newest_version());
	return 0;
}
