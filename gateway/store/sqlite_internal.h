/*
 * sqlite_internal.h - what the files of the SQLite store share; nobody else includes it.
 *
 * Three layers: struct conn and struct query (a connection with its prepared
 * statements), struct writer (the one thread that writes) and struct pool (the
 * connections that read). A conn is used by one thread at a time; who holds it
 * is settled under the writer's or the pool's lock.
 */
#ifndef GATEWAY_STORE_SQLITE_INTERNAL_H
#define GATEWAY_STORE_SQLITE_INTERNAL_H

#include <pthread.h>

#include <sqlite3.h>

#include "gateway/store/store.h"

#define STORE_QUEUE_MAX 4096       /* writes waiting; past it ERR_LIMIT */
#define STORE_BATCH_MAX 256        /* writes in one commit */
#define STORE_BUSY_MS 5000         /* how long to wait for another process's lock */
#define STORE_READERS_MAX 256
#define STORE_CACHE_KIB_DEFAULT 8192
#define STORE_WAL_PAGES 4000       /* checkpoint when the log holds more */
#define STORE_WAL_PAGES_MAX 8000   /* then wait for the readers, so that the log begins anew */
#define STORE_WAL_WAIT_MS 200      /* how long */
#define STORE_WAL_KEEP (64 << 20)  /* octets of log file kept after a checkpoint */
#define STORE_JSON_MAX (256 << 10) /* rules_json and detail_json */
#define STORE_DER_MAX (1 << 20)    /* a CSR or certificate */
#define STORE_LIST_DEFAULT 1000    /* rows when a filter names no limit */
#define STORE_PROGRESS_ROWS 1000
#define CONN_STATEMENTS 256        /* slots of the statement cache; a power of two */

#define FIELD_SIZE(type, field) sizeof(((type *)0)->field)

/* conn.c: a connection, and prepared statements found again by the address of their text. */
struct conn {
	sqlite3 *db;
	struct {
		const char *sql;
		sqlite3_stmt *st;
	} cache[CONN_STATEMENTS];
};

enum conn_role { CONN_WRITER, CONN_READER, CONN_OFFLINE };

MUST_USE int conn_open(struct conn *conn, const char *path, enum conn_role role, int cache_kib, struct err *e);
void conn_close(struct conn *conn);
/* Runs a constant text without parameters. */
int conn_run(struct conn *conn, const char *sql, struct err *e);
/* Fills *e from the connection's latest error; returns -1. */
int conn_fail(struct conn *conn, int rc, struct err *e);

/*
 * One use of a cached statement: values are bound in order, then columns of a
 * row are taken in order. A failure sticks and is told by query_row or
 * query_run. Bound texts and blobs are borrowed until the statement is done.
 * sql must be a constant: its address is its key.
 */
struct query {
	struct conn *conn;
	sqlite3_stmt *st;
	int bound, column, rc;
};

struct query query_of(struct conn *conn, const char *sql);
void query_int(struct query *q, int64_t value);
void query_id(struct query *q, int64_t id); /* 0 becomes NULL */
void query_text(struct query *q, const char *text); /* NULL becomes "" */
void query_text_or_null(struct query *q, const char *text);
void query_text_cut(struct query *q, const char *text, size_t size); /* to fit size octets with the NUL */
void query_blob(struct query *q, struct bytes bytes);
void query_sha256(struct query *q, const uint8_t sha256[32]);
/* 1: a row, 0: no more, -1: *e is set. */
MUST_USE int query_row(struct query *q, struct err *e);
/* For statements without rows. */
int query_run(struct query *q, struct err *e);
bool query_conflicts(const struct query *q); /* the failure was a uniqueness constraint */
void query_end(struct query *q);

static inline void
query_auto(struct query *q)
{
	query_end(q);
}

int64_t query_get_int(struct query *q); /* NULL reads as 0 */
void query_get_text(struct query *q, char *out, size_t size);
const char *query_get0_text(struct query *q); /* until the next row */
void query_get_blob(struct query *q, uint8_t *out, size_t size); /* zeros when its length differs */
struct bytes query_get0_blob(struct query *q);

/* The length of text cut to fit size octets with the NUL, at a character's boundary. */
size_t text_fit(const char *text, size_t size);

/* migrate.c, schema.c */
extern const char *const store_migrations[]; /* ends with NULL; each text sets user_version itself */
MUST_USE int store_migrate(struct conn *conn, struct err *e);
/* For read-only use: ERR_UNSUPPORTED unless the schema is this program's. */
MUST_USE int store_schema_check(struct conn *conn, struct err *e);

/* chain.c: the audit chain's head travels with a transaction. */
struct chain {
	int64_t seq;
	uint8_t hash[32];
};

struct tx {
	struct conn *conn;
	struct chain chain;
	struct buf scratch; /* the encoding of the row being hashed */
};

struct chain_row {
	int64_t seq, at_s;
	struct bytes actor, action, subject, detail;
};

/* hash = SHA-256(prev || encoding of the row); README.md has the encoding. */
MUST_USE int chain_hash(const uint8_t prev[32], const struct chain_row *row, struct buf *scratch,
	uint8_t out[32], struct err *e);
/* 1 and *out; 0 when the head is gone; -1. */
MUST_USE int chain_load(struct conn *conn, struct chain *out, struct err *e);
MUST_USE int chain_save(struct tx *tx, struct err *e);
MUST_USE int chain_append(struct tx *tx, int64_t now_s, const char *actor, const char *action,
	const char *subject, const char *detail_json, struct err *e);

/* json.c: an object, member by member; the texts may be anything. */
void json_open(struct buf *b);
void json_int(struct buf *b, const char *key, int64_t value);
void json_text(struct buf *b, const char *key, const char *value);
void json_close(struct buf *b);

/*
 * writer.c: a job runs in the writer's thread inside a transaction that it
 * shares with others. 0 keeps what it wrote; -1 undoes it, with *e set;
 * JOB_UNDO undoes it and is no error. When another of its batch fails after
 * writing, a job is undone and called once more: it must set what it tells
 * its caller afresh each time.
 */
#define JOB_UNDO 1
typedef int (*job_fn)(struct tx *tx, void *arg, struct err *e);
/* For a job that is long: called now and then in the thread that waits for it. */
typedef void (*tick_fn)(void *arg);

struct job;
struct writer {
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_t thread;
	bool started, stopping;      /* under lock, with all below */
	struct job *first, *last;
	int queued;
	int64_t commits, writes;
	bool failing;
	struct conn conn;            /* the thread's own */
	int wal_pages, wal_next;     /* the thread's own: in the log now, and when to checkpoint */
};

MUST_USE int writer_start(struct writer *writer, struct err *e);
void writer_stop(struct writer *writer); /* finishes what is queued; later jobs get ERR_UPSTREAM */
/* tick: NULL, or the job is long and gets a transaction of its own. */
int writer_call(struct writer *writer, job_fn fn, void *arg, tick_fn tick, struct err *e);

/* reader.c: idle connections, taken for the length of a snapshot. */
struct store_read {
	struct conn conn;
	struct pool *pool;
	struct store_read *next; /* of the idle ones */
};

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t returned;
	struct store_read *reads, *idle;
	int count, out;
};

MUST_USE int pool_open(struct pool *pool, const char *path, enum conn_role role, int count, int cache_kib,
	struct err *e);
void pool_close(struct pool *pool); /* waits until every snapshot has ended */

struct store {
	struct writer writer;
	struct pool pool;
	bool read_only;
};

/* Hands the job to the writer; ERR_UPSTREAM on a read-only store. */
int store_write(struct store *store, job_fn fn, void *arg, struct err *e);

/* row.c: columns in the order that the row functions take them. */
/* 7: transfer_pending, the only state that has one; without a transfer it reads as the first, which allows nothing. */
#define PRIOR_STATE \
	"CASE a.state WHEN 7 THEN (SELECT prior_state FROM transfer WHERE asset_id = a.id AND state = 0) ELSE a.state END"
#define ASSET_COLUMNS \
	"a.id, a.tag, a.owner_id, a.manufacturer, a.model, a.serial, a.class, a.site, a.hostname, a.source, " \
	"a.source_key, a.state, " PRIOR_STATE ", a.holding, a.tier, a.version, a.state_since_s, a.created_s"
#define OWNER_COLUMNS "o.id, o.name, o.kind, o.status, o.contract_end_s, o.contact, o.offboard_end_s, o.operators"
#define CERT_COLUMNS \
	"c.id, c.asset_id, c.request_id, a.tag, c.ca, c.label, c.profile, c.serial, c.subject, c.sans, " \
	"c.sha256, c.spki_sha256, c.not_before_s, c.not_after_s, c.status, c.revoked_s, c.revoke_reason, " \
	"c.replaces_id"
/* Certificates of a key, by the index certificate_key: SQLite uses it where the query repeats its expression. */
#define CERT_OF_KEY(digest) "substr(spki_sha256, 1, 8) = substr(" digest ", 1, 8) AND spki_sha256 = " digest
#define REQUEST_COLUMNS \
	"r.id, r.asset_id, a.tag, r.label, r.profile, r.protocol, r.operation, r.csr_sha256, r.spki_sha256, " \
	"r.transaction_id, r.attempt, r.state, r.cert_id, r.decision_id, r.tries, r.created_s, r.updated_s, " \
	"r.peer, r.proof, r.proof_kind, EXISTS (SELECT 1 FROM request_attestation t WHERE t.id = r.id)," \
	" r.secret_id, r.proof_cert_id, r.reason, r.sentence, r.decided_by"
#define SECRET_COLUMNS \
	"id, asset_id, once, label, protocol, salt, hash, created_s, expires_s, used_s, used_request_id"
#define DECISION_COLUMNS \
	"d.id, d.at_s, d.request_id, d.asset_id, d.asset_version, d.policy_version, d.csr_sha256, d.outcome, " \
	"d.reason, d.sentence, d.rules_json"

void row_asset(struct query *q, struct asset *out);
void row_owner(struct query *q, struct owner *out);
void row_cert(struct query *q, struct cert_row *out);
void row_request(struct query *q, struct request_row *out);
void row_decision(struct query *q, struct decision_row *out); /* rules_json: until the next row */
void row_secret(struct query *q, struct secret_row *out);

/* state.c: a change of state and what it does to the asset's certificates. */
struct state_change {
	int64_t asset_id;
	enum asset_state from, to;
	const char *reason, *actor;
	int64_t now_s;
};
/* *touched: certificates revoked or held; *lifted: certificates no longer held. */
MUST_USE int state_apply(struct tx *tx, const struct state_change *change, int64_t *touched, int64_t *lifted,
	struct err *e);
/* An asset in this state keeps its identity and leaves it only by an operator's own hand. */
bool state_locked(enum asset_state state);

/* lookup.c: what writes look up first; ERR_DENIED when it is not there. */
struct asset_brief {
	int64_t id, owner_id;
	enum asset_state state;
	int tier;
	char tag[REG_TEXT_MAX];
};
MUST_USE int lookup_asset(struct tx *tx, const char *tag, struct asset_brief *out, struct err *e);
MUST_USE int lookup_asset_by_id(struct tx *tx, int64_t id, struct asset_brief *out, struct err *e);
MUST_USE int lookup_owner(struct tx *tx, const char *name, struct owner *out, struct err *e);
MUST_USE int lookup_owner_by_id(struct tx *tx, int64_t id, struct owner *out, struct err *e);
/* An audit row whose detail was built in a buffer. */
MUST_USE int store_append(struct tx *tx, int64_t now_s, const char *actor, const char *action,
	const char *subject, struct buf *detail, struct err *e);

/* stored: as the tables keep a name, cut to STORE_NAME_MAX. */
bool store_same_actor(const char *stored, const char *actor);

/* transfer.c. What the old owner had on an asset, beside its certificates: open requests, secrets, exceptions. */
struct rights_ended {
	int64_t secrets, requests, exceptions;
};
MUST_USE int transfer_end_rights(struct tx *tx, int64_t asset_id, const char *actor, int64_t now_s,
	struct rights_ended *out, struct err *e);
void transfer_json_ended(struct buf *b, const struct rights_ended *ended);
/* An asset that leaves TRANSFER_PENDING by another way ends its transfer. */
MUST_USE int transfer_abandon(struct tx *tx, const struct state_change *change, struct err *e);
/* Brings back at most max assets whose transfer's time has ended; *count: how many. */
MUST_USE int transfer_expire(struct tx *tx, int64_t now_s, int max, int *count, struct err *e);

/* quota.c: an asset's place among those of its owner that may hold a certificate of a profile. */
struct quota_claim {
	int64_t owner_id; /* 0: nothing is claimed */
	bool sweep;       /* there are places that are over */
};
/* *claim for quota_keep(); CLAIM_LOST when there is no room. */
MUST_USE int quota_claim(struct tx *tx, const struct store_outcome *o, int64_t owner_id, struct quota_claim *claim,
	struct err *e);
MUST_USE int quota_keep(struct tx *tx, const struct store_outcome *o, const struct quota_claim *claim,
	int64_t request_id, struct err *e);
/* A request that waited waits no more. */
MUST_USE int quota_release(struct tx *tx, int64_t request_id, struct err *e);
/* Certificates of the asset were revoked: places without one go. */
MUST_USE int quota_settle(struct tx *tx, int64_t asset_id, struct err *e);
/* The asset leaves its owner; quota_fill() after it has the new one, when its certificates stay good. */
MUST_USE int quota_leave(struct tx *tx, int64_t asset_id, struct err *e);
MUST_USE int quota_fill(struct tx *tx, int64_t asset_id, int64_t now_s, struct err *e);
MUST_USE int quota_sweep(struct tx *tx, int64_t now_s, int max, int *count, struct err *e);

/* exception.c */
MUST_USE int exception_claim(struct tx *tx, const struct store_outcome *o, int64_t owner_id, struct err *e);
MUST_USE int exception_count(struct tx *tx, const struct store_outcome *o, struct err *e);
/* How many operators must agree: it is riskier now than when it was asked for, perhaps. */
MUST_USE int exception_needs(struct tx *tx, int64_t id, int *out, struct err *e);
/* approved_by: NULL refuses it. */
MUST_USE int exception_decide(struct tx *tx, int64_t id, const char *approved_by, const char *actor, int64_t now_s,
	struct err *e);
MUST_USE int exception_end_of_asset(struct tx *tx, int64_t asset_id, int64_t *ended, struct err *e);

/* approval.c */
struct approval_ask {
	const char *kind, *subject, *detail, *reason, *actor;
	int needed;
	int64_t now_s, expires_s;
	int64_t asset_id;      /* asset.state; 0: none */
	enum asset_state from, to;
	int64_t exception_id;  /* exception; 0: none */
	const uint8_t *digest; /* import; NULL: none */
};
MUST_USE int approval_put(struct tx *tx, const struct approval_ask *ask, int64_t *id, struct err *e);
/* What waits for an exception that is no more waits no more. */
MUST_USE int approval_drop_exception(struct tx *tx, int64_t exception_id, const char *actor, int64_t now_s,
	struct err *e);
/* In force for these records, a given one rather than one that waits: 1 with *id and *state, 0 none, -1. */
MUST_USE int approval_of_digest(struct tx *tx, const uint8_t digest[32], int64_t now_s, int64_t *id,
	enum approval_state *state, struct err *e);
/* The asset leaves the state from which a move was asked for: what waits is refused. */
MUST_USE int approval_drop_state(struct tx *tx, const struct state_change *change, struct err *e);
/* GIVEN to USED, with its audit row. */
MUST_USE int approval_use(struct tx *tx, int64_t id, const char *subject, const char *actor, int64_t now_s,
	struct err *e);

/* offboard.c: the next of those that have left; at most max assets. *more: there is more to do. */
MUST_USE int offboard_step(struct tx *tx, int64_t now_s, int max, struct offboard_report *report, bool *more,
	struct err *e);

/* evidence.c: nonces, and what evidence came to. */
MUST_USE int evidence_claim_nonce(struct tx *tx, const struct store_outcome *o, int64_t request_id, struct err *e);
MUST_USE int evidence_keep(struct tx *tx, const struct store_outcome *o, int64_t request_id, struct err *e);
/* anchor_key.c */
MUST_USE int anchor_key_remember(struct tx *tx, const struct store_outcome *o, struct err *e);
/* ak.c: bindings that have ended. */
MUST_USE int ak_sweep(struct tx *tx, int64_t now_s, int max, int *count, struct err *e);

/*
 * intent.c. CLAIM_LOST: the request has one that is not over; the one to fulfil is over. With neither in the
 * outcome they do nothing.
 */
MUST_USE int intent_make(struct tx *tx, const struct store_outcome *o, int64_t request_id, struct err *e);
MUST_USE int intent_fulfil(struct tx *tx, const struct store_outcome *o, int64_t request_id, int64_t cert_id,
	struct err *e);
/* intent_revoke.c. 1: it waits to be revoked now; 0: none came, it waits already, or it is its holder's; -1. */
MUST_USE int intent_queue_revocation(struct tx *tx, const struct intent_end *end, const char *ca, struct err *e);
int intent_revocation_begin(struct store *store, int64_t id, enum upstream wanted, bool *done, struct err *e);
int intent_revocation_step(struct store *store, const struct revocation_step *step, struct err *e);
/* intent_list.c: for the table of operations. */
int intent_by_id(struct store_read *read, int64_t id, struct intent_row *out, struct buf *spec, struct buf *spki,
	struct err *e);
int intent_of_request(struct store_read *read, int64_t request_id, struct intent_row *out, struct err *e);
int intent_list(struct store_read *read, const struct intent_filter *filter, intent_cb cb, void *arg, struct err *e);
int intent_next(struct store_read *read, const char *ca, int64_t *at_s, struct err *e);
int intent_cas(struct store_read *read, intent_ca_cb cb, void *arg, struct err *e);
int intent_counts(struct store_read *read, const char *ca, struct intent_counts *out, struct err *e);
int intent_revocations(struct store_read *read, const char *ca, int64_t due_s, int limit, revocation_cb cb, void *arg,
	struct err *e);

/* rollover_report.c: for the table of operations. */
int rollover_count(struct store_read *read, struct rollover_generation *at, size_t count, int64_t now_s, int64_t *devices,
	struct err *e);
int rollover_behind_list(struct store_read *read, const struct rollover_behind_filter *filter, rollover_behind_cb cb, void *arg,
	struct err *e);

/*
 * claim.c: what an outcome holds beside its asset. 0 when it may, or CLAIM_LOST
 * when somebody else has it or it changed meanwhile, or -1. request_id: of the row that is there, or 0.
 */
#define CLAIM_LOST 1
MUST_USE int claim_registrar(struct tx *tx, const struct store_outcome *o, struct err *e);
MUST_USE int claim_transaction(struct tx *tx, const struct store_outcome *o, int64_t request_id, struct err *e);
MUST_USE int claim_challenge(struct tx *tx, const struct store_outcome *o, int64_t request_id, struct err *e);
/* Once the request has its row: its challenge is no other's from now on. */
MUST_USE int claim_keep_challenge(struct tx *tx, const struct store_outcome *o, int64_t request_id, struct err *e);

/*
 * record_request.c: the row of a request. Inserted whole, so that no index is written twice; only its
 * decision and certificate have no rows of their own yet, and are named by request_link(). cert_id 0: none.
 */
MUST_USE int request_insert(struct tx *tx, const struct store_outcome *o, int64_t *id, struct err *e);
MUST_USE int request_link(struct tx *tx, int64_t id, int64_t cert_id, int64_t decision_id, struct err *e);
MUST_USE int request_update(struct tx *tx, int64_t id, const struct store_outcome *o, int64_t cert_id,
	int64_t decision_id, struct err *e);
MUST_USE int request_touch(struct tx *tx, int64_t id, int64_t now_s, int64_t decision_id, struct err *e);

/* registry.c: what was decided about the asset on its old version is stale now. */
MUST_USE int store_bump(struct tx *tx, int64_t asset_id, struct err *e);

/* The operations, by file. */
int sqlite_read_begin(struct store *store, struct store_read **out, struct err *e);
void sqlite_read_end(struct store_read *read);
int sqlite_asset_by_anchor(struct store_read *read, const struct anchor *anchor, struct asset *asset,
	struct owner *owner, struct err *e);
int sqlite_asset_by_tag(struct store_read *read, const char *tag, struct asset *asset, struct owner *owner,
	struct err *e);
int sqlite_asset_by_id(struct store_read *read, int64_t id, struct asset *asset, struct owner *owner,
	struct err *e);
int sqlite_cert_by_serial(struct store_read *read, const char *serial, const uint8_t sha256[32],
	struct cert_row *out, struct err *e);
int sqlite_cert_by_id(struct store_read *read, int64_t id, struct cert_row *out, struct err *e);
int sqlite_cert_der(struct store_read *read, int64_t id, struct buf *out, struct err *e);
int sqlite_request_find(struct store_read *read, int64_t asset_id, const char *label,
	const uint8_t csr_sha256[32], struct request_row *out, struct err *e);
int sqlite_request_by_id(struct store_read *read, int64_t id, struct request_row *out, struct buf *csr,
	struct err *e);
int sqlite_requests_of_transaction(struct store_read *read, const char *label, const char *transaction,
	struct request_row *out, int max, struct err *e);
int sqlite_challenge_request(struct store_read *read, const char *mdm, const uint8_t sha256[32],
	int64_t *request_id, struct err *e);
int sqlite_secret_by_id(struct store_read *read, int64_t id, struct secret_row *out, struct err *e);
int sqlite_key_use(struct store_read *read, const uint8_t spki_sha256[32], int64_t asset_id, bool *elsewhere,
	bool *before, struct err *e);
int sqlite_secrets(struct store_read *read, int64_t asset_id, const char *protocol, struct secret_row *out,
	int max, struct err *e);

int sqlite_asset_list(struct store_read *read, const struct asset_filter *filter, int64_t now_s, asset_cb cb,
	void *arg, struct err *e);
int sqlite_anchor_list(struct store_read *read, int64_t asset_id, anchor_cb cb, void *arg, struct err *e);
int sqlite_owner_list(struct store_read *read, owner_cb cb, void *arg, struct err *e);
const char *sqlite_cert_list_text(const struct cert_filter *filter);
int sqlite_cert_list(struct store_read *read, const struct cert_filter *filter, cert_cb cb, void *arg,
	struct err *e);
int sqlite_request_list(struct store_read *read, const struct request_filter *filter, request_cb cb, void *arg,
	struct err *e);
int sqlite_decision_list(struct store_read *read, int64_t request_id, int64_t asset_id, int limit,
	decision_cb cb, void *arg, struct err *e);
int sqlite_decision_by_id(struct store_read *read, int64_t id, decision_cb cb, void *arg, struct err *e);

int sqlite_audit_list(struct store_read *read, int64_t after_seq, int limit, bool newest, audit_cb cb,
	void *arg, struct err *e);
int sqlite_audit_verify(struct store_read *read, void (*progress)(void *, int64_t, int64_t), void *arg,
	struct audit_report *out, struct err *e);
int sqlite_audit(struct store *store, int64_t now_s, const char *actor, const char *action,
	const char *subject, const char *detail_json, struct err *e);

int sqlite_record(struct store *store, const struct store_outcome *outcome, enum store_recorded *what,
	int64_t *request_id, struct err *e);
int sqlite_owner_put(struct store *store, const struct owner *owner, const char *actor, int64_t now_s,
	struct err *e);
int sqlite_asset_set_state(struct store *store, const char *tag, enum asset_state to, const char *reason,
	const char *actor, int64_t now_s, int64_t *revoked, struct err *e);
int sqlite_secret_put(struct store *store, const struct secret_row *secret, const char *actor, int64_t now_s,
	int64_t *id, struct err *e);
int sqlite_request_decide(struct store *store, int64_t id, bool approve, const char *reason,
	const char *actor, int64_t now_s, struct err *e);
int sqlite_cert_revoke(struct store *store, int64_t id, const char *reason, const char *actor, int64_t now_s,
	struct err *e);
int sqlite_import(struct store *store, const struct import_job *job, struct import_summary *out,
	struct err *e);

int sqlite_request_attestation(struct store_read *read, int64_t request_id, struct buf *out, struct err *e);
int sqlite_nonce_request(struct store_read *read, const uint8_t sha256[32], int64_t *request_id, struct err *e);
int sqlite_anchor_key(struct store_read *read, const struct anchor *anchor, uint8_t spki[32], struct err *e);
int sqlite_exceptions(struct store_read *read, const struct asset *asset, const char *label, int64_t now_s,
	struct exception *out, int max, struct err *e);
int sqlite_quota(struct store_read *read, int64_t owner_id, const char *profile, int64_t asset_id, int64_t now_s,
	int64_t *limit, int64_t *used, bool *held, struct err *e);
int sqlite_ak_find(struct store_read *read, const uint8_t spki_sha256[32], const char *attester, int64_t now_s, struct ak_row *out,
	struct err *e);
int sqlite_policy_text(struct store_read *read, const char *version, struct buf *out, struct err *e);
int sqlite_transfer_list(struct store_read *read, const char *asset_tag, bool open, int64_t now_s, transfer_cb cb,
	void *arg, struct err *e);
int sqlite_exception_list(struct store_read *read, const char *asset_tag, bool open, int64_t now_s, exception_cb cb,
	void *arg, struct err *e);
int sqlite_quota_list(struct store_read *read, const char *owner, int64_t now_s, quota_cb cb, void *arg,
	struct err *e);
int sqlite_approval_list(struct store_read *read, bool open, int64_t now_s, approval_cb cb, void *arg,
	struct err *e);
int sqlite_approval_by_id(struct store_read *read, int64_t id, approval_cb cb, void *arg, struct err *e);
int sqlite_asset_ask_state(struct store *store, const char *tag, enum asset_state to, const char *reason,
	const char *actor, int64_t now_s, int64_t expires_s, int64_t *id, struct err *e);
int sqlite_asset_quarantine(struct store *store, int64_t asset_id, const char *reason, int64_t now_s,
	struct err *e);
int sqlite_anchor_forget_key(struct store *store, const char *tag, const char *reason, const char *actor,
	int64_t now_s, struct err *e);
int sqlite_transfer_offer(struct store *store, const char *tag, const char *to_owner, const char *reason,
	const char *actor, int64_t now_s, int64_t expires_s, int64_t *id, struct err *e);
int sqlite_transfer_decide(struct store *store, int64_t id, enum transfer_state to, const char *reason,
	const char *actor, int64_t now_s, struct err *e);
int sqlite_exception_request(struct store *store, const struct exception_row *row, const char *actor, int64_t now_s,
	int64_t *id, int64_t *approval_id, struct err *e);
int sqlite_exception_revoke(struct store *store, int64_t id, const char *reason, const char *actor, int64_t now_s,
	struct err *e);
int sqlite_quota_put(struct store *store, const char *owner, const char *profile, int64_t limit, const char *actor,
	int64_t now_s, struct err *e);
int sqlite_approval_decide(struct store *store, int64_t id, bool approve, const char *reason, const char *actor,
	int64_t now_s, enum approval_state *state, struct err *e);
int sqlite_owner_offboard(struct store *store, const char *name, int64_t end_s, const char *reason,
	const char *actor, int64_t now_s, struct err *e);
int sqlite_sweep(struct store *store, int64_t now_s, struct offboard_report *report, bool *more, struct err *e);
int sqlite_ak_bind(struct store *store, const struct ak_row *row, const char *actor, int64_t now_s, struct err *e);
int sqlite_policy_put(struct store *store, const char *version, const char *text, int64_t now_s, struct err *e);

#endif
