#include "gateway/store/sqlite_internal.h"

/*
 * A migration, once released, never changes; a new one goes to the end. Each
 * runs in a transaction and leaves its own number in user_version.
 *
 * Integers stand for enums in the order of their headers. Two kinds of index
 * are told apart: those whose keys grow with time stay in cache, those with
 * random keys cost a page read and written per insert at any size; so there
 * are only the three that a lookup on the request path needs (certificate's
 * serial and spki, and request_key). The certificates of an asset are
 * found through its requests: each has one, whose cert_id names it.
 */
static const char SCHEMA_1_REGISTRY[] =
	"PRAGMA application_id = 1701737068;" /* "enrl" */

	"CREATE TABLE owner ("
	" id INTEGER PRIMARY KEY,"
	" name TEXT NOT NULL UNIQUE,"
	" kind INTEGER NOT NULL,"
	" status INTEGER NOT NULL,"
	" contract_end_s INTEGER NOT NULL," /* 0: none */
	" contact TEXT NOT NULL"
	") STRICT;"

	"CREATE TABLE asset ("
	" id INTEGER PRIMARY KEY,"
	" tag TEXT NOT NULL UNIQUE,"
	" owner_id INTEGER NOT NULL REFERENCES owner (id),"
	" manufacturer TEXT NOT NULL,"
	" model TEXT NOT NULL,"
	" serial TEXT NOT NULL,"
	" class TEXT NOT NULL,"
	" site TEXT NOT NULL,"
	" hostname TEXT NOT NULL,"
	" source TEXT NOT NULL,"
	" source_key TEXT NOT NULL,"
	" state INTEGER NOT NULL,"
	" holding INTEGER NOT NULL,"
	" tier INTEGER NOT NULL,"
	" version INTEGER NOT NULL,"
	" state_since_s INTEGER NOT NULL,"
	" created_s INTEGER NOT NULL,"
	" locked INTEGER NOT NULL" /* lost, stolen, quarantined, decommissioned, disposed */
	") STRICT;"
	"CREATE UNIQUE INDEX asset_source ON asset (source, source_key) WHERE source_key <> '';"
	"CREATE INDEX asset_locked ON asset (manufacturer, serial) WHERE locked = 1;"

	"CREATE TABLE anchor ("
	" type INTEGER NOT NULL,"
	" issuer TEXT NOT NULL,"
	" value TEXT NOT NULL,"
	" asset_id INTEGER NOT NULL REFERENCES asset (id),"
	" PRIMARY KEY (type, issuer, value)"
	") STRICT, WITHOUT ROWID;"
	"CREATE INDEX anchor_asset ON anchor (asset_id);"

	"CREATE TABLE transition ("
	" id INTEGER PRIMARY KEY,"
	" asset_id INTEGER NOT NULL REFERENCES asset (id),"
	" at_s INTEGER NOT NULL,"
	" from_state INTEGER NOT NULL,"
	" to_state INTEGER NOT NULL,"
	" actor TEXT NOT NULL,"
	" reason TEXT NOT NULL"
	") STRICT;"
	"CREATE INDEX transition_asset ON transition (asset_id);"

	"CREATE TABLE secret ("
	" id INTEGER PRIMARY KEY,"
	" asset_id INTEGER NOT NULL REFERENCES asset (id),"
	" once INTEGER NOT NULL,"
	" label TEXT NOT NULL,"
	" protocol TEXT NOT NULL,"
	" salt BLOB NOT NULL,"
	" hash BLOB NOT NULL,"
	" created_s INTEGER NOT NULL,"
	" expires_s INTEGER NOT NULL," /* 0: never */
	" used_s INTEGER NOT NULL,"    /* 0: not yet */
	" used_request_id INTEGER REFERENCES request (id)"
	") STRICT;"
	"CREATE INDEX secret_asset ON secret (asset_id);"

	"PRAGMA user_version = 1;";

static const char SCHEMA_2_ENROLLMENT[] =
	"CREATE TABLE request ("
	" id INTEGER PRIMARY KEY,"
	" asset_id INTEGER NOT NULL REFERENCES asset (id),"
	" label TEXT NOT NULL,"
	" csr_sha256 BLOB NOT NULL,"
	" attempt INTEGER NOT NULL,"
	" created_s INTEGER NOT NULL,"
	" state INTEGER NOT NULL DEFAULT 0,"
	" cert_id INTEGER REFERENCES certificate (id),"
	" decision_id INTEGER REFERENCES decision (id),"
	" tries INTEGER NOT NULL DEFAULT 0,"
	" updated_s INTEGER NOT NULL DEFAULT 0,"
	" profile TEXT NOT NULL DEFAULT '',"
	" protocol TEXT NOT NULL DEFAULT '',"
	" operation TEXT NOT NULL DEFAULT '',"
	" peer TEXT NOT NULL DEFAULT '',"
	" proof TEXT NOT NULL DEFAULT '',"
	" reason TEXT NOT NULL DEFAULT '',"
	" sentence TEXT NOT NULL DEFAULT '',"
	" decided_by TEXT NOT NULL DEFAULT ''"
	") STRICT;"
	"CREATE UNIQUE INDEX request_key ON request (asset_id, label, csr_sha256, attempt);"
	/* Issued requests, nearly all of them, are left out. */
	"CREATE INDEX request_open ON request (state) WHERE state <> 2;"
	"CREATE TABLE request_csr ("
	" id INTEGER PRIMARY KEY REFERENCES request (id),"
	" der BLOB NOT NULL"
	") STRICT;"

	"CREATE TABLE certificate ("
	" id INTEGER PRIMARY KEY,"
	" asset_id INTEGER NOT NULL REFERENCES asset (id),"
	" request_id INTEGER NOT NULL REFERENCES request (id),"
	" ca TEXT NOT NULL,"
	" label TEXT NOT NULL,"
	" profile TEXT NOT NULL,"
	" serial TEXT NOT NULL,"
	" subject TEXT NOT NULL,"
	" sans TEXT NOT NULL,"
	" sha256 BLOB NOT NULL,"
	" spki_sha256 BLOB NOT NULL,"
	" not_before_s INTEGER NOT NULL,"
	" not_after_s INTEGER NOT NULL,"
	" status INTEGER NOT NULL DEFAULT 0,"
	" revoked_s INTEGER NOT NULL DEFAULT 0,"
	" revoke_reason TEXT NOT NULL DEFAULT '',"
	" replaces_id INTEGER REFERENCES certificate (id)"
	") STRICT;"
	"CREATE UNIQUE INDEX certificate_serial ON certificate (serial, ca);"
	"CREATE INDEX certificate_spki ON certificate (spki_sha256, asset_id);"
	"CREATE INDEX certificate_expiry ON certificate (not_after_s);"
	"CREATE INDEX certificate_unusual ON certificate (status) WHERE status <> 0;"
	/* Apart, so that lists read rows and not blobs. */
	"CREATE TABLE certificate_der ("
	" id INTEGER PRIMARY KEY REFERENCES certificate (id),"
	" der BLOB NOT NULL"
	") STRICT;"

	"CREATE TABLE decision ("
	" id INTEGER PRIMARY KEY,"
	" at_s INTEGER NOT NULL,"
	" request_id INTEGER REFERENCES request (id)," /* NULL: no asset was found */
	" asset_id INTEGER REFERENCES asset (id),"
	" asset_version INTEGER NOT NULL,"
	" policy_version TEXT NOT NULL,"
	" csr_sha256 BLOB NOT NULL,"
	" outcome TEXT NOT NULL,"
	" reason TEXT NOT NULL,"
	" sentence TEXT NOT NULL,"
	" rules_json TEXT NOT NULL"
	") STRICT;"
	"CREATE INDEX decision_request ON decision (request_id) WHERE request_id IS NOT NULL;"

	"PRAGMA user_version = 2;";

static const char SCHEMA_3_AUDIT[] =
	"CREATE TABLE audit ("
	" seq INTEGER PRIMARY KEY,"
	" at_s INTEGER NOT NULL,"
	" actor TEXT NOT NULL,"
	" action TEXT NOT NULL,"
	" subject TEXT NOT NULL,"
	" detail_json TEXT NOT NULL,"
	" prev BLOB NOT NULL,"
	" hash BLOB NOT NULL"
	") STRICT;"
	/* The last row's number and hash once more: a removed tail shows. */
	"CREATE TABLE audit_head ("
	" one INTEGER PRIMARY KEY CHECK (one = 1),"
	" seq INTEGER NOT NULL,"
	" hash BLOB NOT NULL"
	") STRICT;"
	"INSERT INTO audit_head (one, seq, hash) VALUES (1, 0, zeroblob(32));"

	/* Against accidents; against intent there is the chain. */
	"CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN"
	" SELECT raise(ABORT, 'audit rows do not change'); END;"
	"CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN"
	" SELECT raise(ABORT, 'audit rows are not deleted'); END;"
	"CREATE TRIGGER decision_no_update BEFORE UPDATE ON decision BEGIN"
	" SELECT raise(ABORT, 'decisions do not change'); END;"
	"CREATE TRIGGER decision_no_delete BEFORE DELETE ON decision BEGIN"
	" SELECT raise(ABORT, 'decisions are not deleted'); END;"

	"PRAGMA user_version = 3;";

/* A retired device's serial is told in any spelling of its manufacturer. */
static const char SCHEMA_4_LOCKED_SERIALS[] =
	"DROP INDEX asset_locked;"
	"CREATE INDEX asset_locked ON asset (serial COLLATE NOCASE) WHERE locked = 1;"
	"PRAGMA user_version = 4;";

/*
 * What protocols with transactions of their own need (SCEP). Requests without
 * one, all of EST, are left out of the index. Held certificates tell since when.
 */
static const char SCHEMA_5_TRANSACTIONS[] =
	"ALTER TABLE request ADD COLUMN transaction_id TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE request ADD COLUMN spki_sha256 BLOB NOT NULL DEFAULT x'';" /* empty: from before */
	"ALTER TABLE request ADD COLUMN proof_kind INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE request ADD COLUMN secret_id INTEGER REFERENCES secret (id);"
	"ALTER TABLE request ADD COLUMN proof_cert_id INTEGER REFERENCES certificate (id);"
	"CREATE INDEX request_transaction ON request (label, transaction_id) WHERE transaction_id <> '';"

	/* Challenges that an MDM vouched for, each good for one request. */
	"CREATE TABLE challenge ("
	" mdm TEXT NOT NULL,"
	" sha256 BLOB NOT NULL,"
	" request_id INTEGER NOT NULL REFERENCES request (id),"
	" PRIMARY KEY (mdm, sha256)"
	") STRICT, WITHOUT ROWID;"

	/* Held in quarantine (state 6), which the asset may have left for another state out of service. */
	"UPDATE certificate SET revoked_s = coalesce("
	" (SELECT max(t.at_s) FROM transition t WHERE t.asset_id = certificate.asset_id AND t.to_state = 6),"
	" (SELECT a.state_since_s FROM asset a WHERE a.id = certificate.asset_id)) WHERE status <> 0 AND status = 2;"

	"PRAGMA user_version = 5;";

const char *const store_migrations[] = {
	SCHEMA_1_REGISTRY,
	SCHEMA_2_ENROLLMENT,
	SCHEMA_3_AUDIT,
	SCHEMA_4_LOCKED_SERIALS,
	SCHEMA_5_TRANSACTIONS,
	NULL,
};
