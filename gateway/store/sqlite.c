#define _GNU_SOURCE
#include "gateway/store/sqlite_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * The file holds salted secrets and everyone's requests: nobody else's to
 * read. Made here, because SQLite would use the umask; its log files inherit
 * the mode. An existing file is not opened: closing it again would drop the
 * locks of another store in this process.
 */
static int
create_file(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd >= 0)
		return close(fd);
	if (errno == EEXIST)
		return 0;
	return err_set(e, ERR_UPSTREAM, "creating the database %s: %s", path, strerror(errno));
}

static void
sqlite_close(struct store *store)
{
	if (store == NULL)
		return;
	writer_stop(&store->writer);
	pool_close(&store->pool);
	conn_close(&store->writer.conn);
	(void)pthread_mutex_destroy(&store->writer.lock);
	(void)pthread_cond_destroy(&store->writer.work);
	(void)pthread_mutex_destroy(&store->pool.lock);
	(void)pthread_cond_destroy(&store->pool.returned);
	free(store);
}

DEFINE_CLEANUP(store, struct store *, sqlite_close);

static int
open_writer(struct store *store, const struct store_settings *settings, int cache_kib, struct err *e)
{
	if (create_file(settings->path, e) != 0)
		return -1;
	if (conn_open(&store->writer.conn, settings->path, CONN_WRITER, cache_kib, e) != 0)
		return -1;
	if (store_migrate(&store->writer.conn, e) != 0)
		return -1;
	return writer_start(&store->writer, e);
}

static int
sqlite_open(const struct store_settings *settings, struct store **out, struct err *e)
{
	CLEANUP(store) struct store *store = calloc(1, sizeof *store);
	int cache = settings->cache_kib > 0 ? settings->cache_kib : STORE_CACHE_KIB_DEFAULT;
	int readers = settings->readers > 0 ? settings->readers : 1;

	if (store == NULL)
		return err_set(e, ERR_NOMEM, "opening the database");
	/* Statistics that nobody reads, behind a lock that every allocation takes; too late, it is refused. */
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	(void)pthread_mutex_init(&store->writer.lock, NULL);
	(void)pthread_cond_init(&store->writer.work, NULL);
	(void)pthread_mutex_init(&store->pool.lock, NULL);
	(void)pthread_cond_init(&store->pool.returned, NULL);
	store->read_only = settings->read_only;
	if (readers > STORE_READERS_MAX)
		return err_set(e, ERR_LIMIT, "%d database readers; at most %d", readers, STORE_READERS_MAX);
	if (!store->read_only && open_writer(store, settings, cache, e) != 0)
		return err_prefix(e, "%s", settings->path);
	if (pool_open(&store->pool, settings->path, store->read_only ? CONN_OFFLINE : CONN_READER, readers,
		    cache / 8 + 1, e) != 0)
		return err_prefix(e, "%s", settings->path);
	if (store->read_only && store_schema_check(&store->pool.idle->conn, e) != 0)
		return err_prefix(e, "%s", settings->path);
	*out = store;
	store = NULL;
	return 0;
}

static void
sqlite_stats(struct store *store, struct store_stats *out)
{
	struct writer *writer = &store->writer;

	(void)pthread_mutex_lock(&writer->lock);
	out->commits = writer->commits;
	out->writes = writer->writes;
	out->queue = writer->queued;
	out->failing = writer->failing;
	(void)pthread_mutex_unlock(&writer->lock);
}

int
store_write(struct store *store, job_fn fn, void *arg, struct err *e)
{
	if (store->read_only)
		return err_set(e, ERR_UPSTREAM, "database: opened for reading only");
	return writer_call(&store->writer, fn, arg, NULL, e);
}

const struct store_ops store_sqlite = {
	.name = "sqlite",
	.intents = &intent_sqlite,
	.rollover = &rollover_sqlite,
	.open = sqlite_open,
	.close = sqlite_close,
	.stats = sqlite_stats,
	.read_begin = sqlite_read_begin,
	.read_end = sqlite_read_end,
	.asset_by_anchor = sqlite_asset_by_anchor,
	.asset_by_tag = sqlite_asset_by_tag,
	.asset_by_id = sqlite_asset_by_id,
	.cert_by_serial = sqlite_cert_by_serial,
	.cert_by_id = sqlite_cert_by_id,
	.cert_der = sqlite_cert_der,
	.request_find = sqlite_request_find,
	.request_by_id = sqlite_request_by_id,
	.requests_of_transaction = sqlite_requests_of_transaction,
	.challenge_request = sqlite_challenge_request,
	.request_attestation = sqlite_request_attestation,
	.nonce_request = sqlite_nonce_request,
	.anchor_key = sqlite_anchor_key,
	.exceptions = sqlite_exceptions,
	.quota = sqlite_quota,
	.ak_find = sqlite_ak_find,
	.policy_text = sqlite_policy_text,
	.key_use = sqlite_key_use,
	.secret_by_id = sqlite_secret_by_id,
	.secrets = sqlite_secrets,
	.asset_list = sqlite_asset_list,
	.anchor_list = sqlite_anchor_list,
	.owner_list = sqlite_owner_list,
	.transfer_list = sqlite_transfer_list,
	.exception_list = sqlite_exception_list,
	.quota_list = sqlite_quota_list,
	.approval_list = sqlite_approval_list,
	.approval_by_id = sqlite_approval_by_id,
	.cert_list = sqlite_cert_list,
	.request_list = sqlite_request_list,
	.decision_list = sqlite_decision_list,
	.decision_by_id = sqlite_decision_by_id,
	.audit_list = sqlite_audit_list,
	.audit_verify = sqlite_audit_verify,
	.record = sqlite_record,
	.audit = sqlite_audit,
	.owner_put = sqlite_owner_put,
	.asset_set_state = sqlite_asset_set_state,
	.asset_ask_state = sqlite_asset_ask_state,
	.asset_quarantine = sqlite_asset_quarantine,
	.anchor_forget_key = sqlite_anchor_forget_key,
	.transfer_offer = sqlite_transfer_offer,
	.transfer_decide = sqlite_transfer_decide,
	.exception_request = sqlite_exception_request,
	.exception_revoke = sqlite_exception_revoke,
	.quota_put = sqlite_quota_put,
	.approval_decide = sqlite_approval_decide,
	.owner_offboard = sqlite_owner_offboard,
	.sweep = sqlite_sweep,
	.ak_bind = sqlite_ak_bind,
	.policy_put = sqlite_policy_put,
	.secret_put = sqlite_secret_put,
	.request_decide = sqlite_request_decide,
	.cert_revoke = sqlite_cert_revoke,
	.import = sqlite_import,
};
