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

/*
 * Ownership: who may take over what, what may be waived, how much, and whose
 * word it needs. asset_owner costs an enrollment nothing: an asset seldom
 * changes hands.
 */
static const char SCHEMA_6_OWNERSHIP[] =
	"ALTER TABLE owner ADD COLUMN offboard_end_s INTEGER NOT NULL DEFAULT 0;" /* 0: not offboarding, or no end known */
	"ALTER TABLE owner ADD COLUMN operators TEXT NOT NULL DEFAULT '';"
	"CREATE INDEX owner_offboarding ON owner (offboard_end_s) WHERE status = 2;"
	"CREATE INDEX asset_owner ON asset (owner_id);"
	"CREATE INDEX asset_tier_3 ON asset (owner_id) WHERE tier = 3;"
	/* How far the revocations of an owner that has left are. */
	"CREATE TABLE offboard ("
	" owner_id INTEGER PRIMARY KEY REFERENCES owner (id),"
	" after_id INTEGER NOT NULL," /* of its assets: done up to here */
	" assets INTEGER NOT NULL,"
	" revoked INTEGER NOT NULL"
	") STRICT;"

	"CREATE TABLE transfer ("
	" id INTEGER PRIMARY KEY,"
	" asset_id INTEGER NOT NULL REFERENCES asset (id),"
	" from_owner_id INTEGER NOT NULL REFERENCES owner (id),"
	" to_owner_id INTEGER NOT NULL REFERENCES owner (id),"
	" state INTEGER NOT NULL,"
	" prior_state INTEGER NOT NULL,"
	" reason TEXT NOT NULL,"
	" offered_by TEXT NOT NULL,"
	" decided_by TEXT NOT NULL DEFAULT '',"
	" offered_s INTEGER NOT NULL,"
	" expires_s INTEGER NOT NULL,"
	" decided_s INTEGER NOT NULL DEFAULT 0"
	") STRICT;"
	"CREATE INDEX transfer_asset ON transfer (asset_id);"
	"CREATE UNIQUE INDEX transfer_one ON transfer (asset_id) WHERE state = 0;"
	"CREATE INDEX transfer_open ON transfer (expires_s) WHERE state = 0;"

	"CREATE TABLE exception ("
	" id INTEGER PRIMARY KEY,"
	" asset_id INTEGER REFERENCES asset (id),"
	" owner_id INTEGER REFERENCES owner (id),"
	" label TEXT NOT NULL,"
	" waives INTEGER NOT NULL,"
	" reason TEXT NOT NULL CHECK (reason <> ''),"
	" ticket TEXT NOT NULL CHECK (ticket <> ''),"
	" state INTEGER NOT NULL,"
	" requested_by TEXT NOT NULL,"
	" approved_by TEXT NOT NULL DEFAULT '',"
	" approvals_needed INTEGER NOT NULL,"
	" created_s INTEGER NOT NULL,"
	" expires_s INTEGER NOT NULL CHECK (expires_s > 0),"
	" max_uses INTEGER NOT NULL CHECK (max_uses > 0),"
	" uses INTEGER NOT NULL DEFAULT 0 CHECK (uses <= max_uses),"
	" CHECK ((asset_id IS NULL) <> (owner_id IS NULL))"
	") STRICT;"
	"CREATE INDEX exception_asset ON exception (asset_id) WHERE asset_id IS NOT NULL;"
	"CREATE INDEX exception_owner ON exception (owner_id) WHERE owner_id IS NOT NULL;"

	"CREATE TABLE approval ("
	" id INTEGER PRIMARY KEY,"
	" kind TEXT NOT NULL,"
	" subject TEXT NOT NULL,"
	" detail TEXT NOT NULL,"
	" reason TEXT NOT NULL,"
	" state INTEGER NOT NULL DEFAULT 0,"
	" requested_by TEXT NOT NULL,"
	" decided_by TEXT NOT NULL DEFAULT '',"
	" needed INTEGER NOT NULL,"
	" requested_s INTEGER NOT NULL,"
	" expires_s INTEGER NOT NULL,"
	" decided_s INTEGER NOT NULL DEFAULT 0,"
	" asset_id INTEGER REFERENCES asset (id)," /* asset.state, and the three below */
	" from_state INTEGER,"
	" to_state INTEGER,"
	" exception_id INTEGER REFERENCES exception (id),"
	" digest BLOB" /* import: of its records and options */
	") STRICT;"
	"CREATE INDEX approval_digest ON approval (digest) WHERE digest IS NOT NULL;"
	"CREATE INDEX approval_open ON approval (state) WHERE state < 2;"
	"CREATE TABLE approval_vote ("
	" approval_id INTEGER NOT NULL REFERENCES approval (id),"
	" actor TEXT NOT NULL,"
	" approves INTEGER NOT NULL,"
	" reason TEXT NOT NULL,"
	" at_s INTEGER NOT NULL,"
	" PRIMARY KEY (approval_id, actor)"
	") STRICT, WITHOUT ROWID;"

	/* used counts the rows of quota_place, so that nothing has to; the triggers keep it. */
	"CREATE TABLE quota ("
	" owner_id INTEGER NOT NULL REFERENCES owner (id),"
	" profile TEXT NOT NULL,"
	" most INTEGER NOT NULL CHECK (most >= 0),"
	" used INTEGER NOT NULL DEFAULT 0,"
	" PRIMARY KEY (owner_id, profile)"
	") STRICT, WITHOUT ROWID;"
	"CREATE TABLE quota_place ("
	" asset_id INTEGER NOT NULL REFERENCES asset (id),"
	" profile TEXT NOT NULL,"
	" owner_id INTEGER NOT NULL,"
	" cert_until_s INTEGER NOT NULL DEFAULT 0," /* by a certificate; 0: none */
	" hold_until_s INTEGER NOT NULL DEFAULT 0," /* for a request that waits; 0: none */
	" hold_request_id INTEGER REFERENCES request (id),"
	" until_s INTEGER NOT NULL GENERATED ALWAYS AS (max(cert_until_s, hold_until_s)) STORED,"
	" PRIMARY KEY (asset_id, profile),"
	" FOREIGN KEY (owner_id, profile) REFERENCES quota (owner_id, profile)"
	") STRICT, WITHOUT ROWID;"
	"CREATE INDEX quota_place_until ON quota_place (owner_id, profile, until_s);"
	"CREATE TRIGGER quota_place_taken AFTER INSERT ON quota_place BEGIN"
	" UPDATE quota SET used = used + 1 WHERE owner_id = new.owner_id AND profile = new.profile; END;"
	"CREATE TRIGGER quota_place_freed AFTER DELETE ON quota_place BEGIN"
	" UPDATE quota SET used = used - 1 WHERE owner_id = old.owner_id AND profile = old.profile; END;"

	"PRAGMA user_version = 6;";

/* What is kept of evidence, and of the rules that judged it. */
static const char SCHEMA_7_EVIDENCE[] =
	/* The key that an anchor came with first. */
	"ALTER TABLE anchor ADD COLUMN spki_sha256 BLOB;"
	"CREATE TABLE nonce ("
	" sha256 BLOB NOT NULL PRIMARY KEY,"
	" request_id INTEGER NOT NULL REFERENCES request (id),"
	" expires_s INTEGER NOT NULL"
	") STRICT, WITHOUT ROWID;"
	"CREATE INDEX nonce_expiry ON nonce (expires_s);"
	"CREATE TABLE request_attestation ("
	" id INTEGER PRIMARY KEY REFERENCES request (id),"
	" json TEXT NOT NULL"
	") STRICT;"
	"CREATE TABLE ak ("
	" spki_sha256 BLOB NOT NULL,"
	" attester TEXT NOT NULL,"
	" ek_sha256 TEXT NOT NULL,"
	" asset_id INTEGER NOT NULL REFERENCES asset (id),"
	" bound_s INTEGER NOT NULL,"
	" expires_s INTEGER NOT NULL,"
	" PRIMARY KEY (spki_sha256, attester)"
	") STRICT, WITHOUT ROWID;"
	"CREATE INDEX ak_expiry ON ak (expires_s);"
	"CREATE TABLE policy ("
	" version TEXT NOT NULL PRIMARY KEY,"
	" at_s INTEGER NOT NULL,"
	" text TEXT NOT NULL"
	") STRICT, WITHOUT ROWID;"

	"PRAGMA user_version = 7;";

/*
 * Speed. The index of keys is the one that gets a random key with every certificate: of each digest its first
 * octets are enough to find the few rows it may be, and a page holds three times as many of them.
 */
static const char SCHEMA_8_SHORT_KEYS[] =
	"DROP INDEX certificate_spki;"
	"CREATE INDEX certificate_key ON certificate (substr(spki_sha256, 1, 8));" /* CERT_OF_KEY */
	"PRAGMA user_version = 8;";

/* CAs elsewhere: see intent.h. */
static const char SCHEMA_9_INTENTS[] =
	"CREATE TABLE intent ("
	" id INTEGER PRIMARY KEY,"
	" request_id INTEGER NOT NULL REFERENCES request (id),"
	" number INTEGER NOT NULL," /* among the request's, from 0 */
	" ca TEXT NOT NULL,"
	" ca_request_id TEXT NOT NULL UNIQUE,"
	" state INTEGER NOT NULL DEFAULT 0,"
	" reference TEXT NOT NULL DEFAULT '',"
	" spec_json TEXT NOT NULL,"
	" spki BLOB NOT NULL,"
	" key_kind INTEGER NOT NULL,"
	" created_s INTEGER NOT NULL,"
	" updated_s INTEGER NOT NULL,"
	" next_try_s INTEGER NOT NULL,"
	" tries INTEGER NOT NULL DEFAULT 0,"
	" error TEXT NOT NULL DEFAULT '',"
	" certificate_id INTEGER REFERENCES certificate (id),"
	" UNIQUE (request_id, number)"
	") STRICT;"
	/* Those that are over, by far the most, are in neither. */
	"CREATE UNIQUE INDEX intent_active_request ON intent (request_id) WHERE state < 4;"
	"CREATE INDEX intent_active ON intent (ca, id) WHERE state < 4;"
	"CREATE INDEX intent_certificate ON intent (certificate_id) WHERE certificate_id IS NOT NULL;"
	"CREATE TABLE ca_revocation ("
	" id INTEGER PRIMARY KEY,"
	" ca TEXT NOT NULL,"
	" serial TEXT NOT NULL,"
	" reason TEXT NOT NULL,"
	" certificate_id INTEGER REFERENCES certificate (id)," /* NULL: it was never let out */
	" cert BLOB," /* of one that was never let out */
	" state INTEGER NOT NULL DEFAULT 0," /* enum revocation_end */
	" created_s INTEGER NOT NULL,"
	" next_try_s INTEGER NOT NULL,"
	" tries INTEGER NOT NULL DEFAULT 0,"
	" error TEXT NOT NULL DEFAULT '',"
	" UNIQUE (ca, serial)"
	") STRICT;"
	"CREATE INDEX ca_revocation_waiting ON ca_revocation (ca, id) WHERE state = 0;"
	/* Whatever revokes a certificate: none is forgotten. */
	"CREATE TRIGGER certificate_revoked_elsewhere AFTER UPDATE OF status ON certificate"
	" WHEN new.status = 1 AND old.status <> 1 AND EXISTS (SELECT 1 FROM intent WHERE certificate_id = new.id) BEGIN"
	" INSERT INTO ca_revocation (ca, serial, reason, certificate_id, created_s, next_try_s)"
	" VALUES (new.ca, new.serial, coalesce(new.revoke_reason, ''), new.id, coalesce(new.revoked_s, 0), 0)"
	" ON CONFLICT DO NOTHING; END;"
	"PRAGMA user_version = 9;";

/*
 * Which CA certificates devices have: see rollover.h. Of trust_seen a report reads all rows, a fetch one, and a write comes once
 * for each device and bundle: an index by bundle would be written for nothing. Bundles are few.
 */
static const char SCHEMA_10_ROLLOVER[] =
	"CREATE TABLE bundle ("
	" id INTEGER PRIMARY KEY,"
	" ca TEXT NOT NULL,"
	" sha256 BLOB NOT NULL,"
	" made_s INTEGER NOT NULL,"
	" UNIQUE (ca, sha256)"
	") STRICT;"
	"CREATE TABLE bundle_cert ("
	" bundle_id INTEGER NOT NULL REFERENCES bundle (id),"
	" cert_sha256 BLOB NOT NULL,"
	" PRIMARY KEY (bundle_id, cert_sha256)"
	") STRICT, WITHOUT ROWID;"
	"CREATE TABLE trust_seen ("
	" asset_id INTEGER NOT NULL REFERENCES asset (id),"
	" ca TEXT NOT NULL,"
	" bundle_id INTEGER NOT NULL REFERENCES bundle (id),"
	" at_s INTEGER NOT NULL,"
	" how INTEGER NOT NULL,"
	" PRIMARY KEY (asset_id, ca)"
	") STRICT, WITHOUT ROWID;"
	"PRAGMA user_version = 10;";

/*
 * Holds and their ends, told like revocations: one row for a certificate, with what it is to be at its CA and what that was told
 * last (enum upstream), so that state 1 says "nothing is to be told". What is on hold already is told now.
 */
static const char SCHEMA_11_HOLDS[] =
	"ALTER TABLE ca_revocation ADD COLUMN wanted INTEGER NOT NULL DEFAULT 1;"
	"ALTER TABLE ca_revocation ADD COLUMN told INTEGER NOT NULL DEFAULT 0;"
	"UPDATE ca_revocation SET told = 1 WHERE state = 1;"
	"INSERT INTO ca_revocation (ca, serial, reason, certificate_id, wanted, created_s, next_try_s)"
	" SELECT ca, serial, '', id, 2, revoked_s, 0 FROM certificate c"
	" WHERE status <> 0 AND status = 2 AND EXISTS (SELECT 1 FROM intent WHERE certificate_id = c.id) ON CONFLICT DO NOTHING;"
	"CREATE INDEX ca_revocation_unheld ON ca_revocation (ca) WHERE state = 2 AND wanted = 2;"
	"DROP TRIGGER certificate_revoked_elsewhere;"
	/* Whatever changes it; a revocation is final. */
	"CREATE TRIGGER certificate_elsewhere AFTER UPDATE OF status ON certificate"
	" WHEN new.status <> old.status AND EXISTS (SELECT 1 FROM intent WHERE certificate_id = new.id) BEGIN"
	" INSERT INTO ca_revocation (ca, serial, reason, certificate_id, wanted, state, created_s, next_try_s)"
	" VALUES (new.ca, new.serial, '', new.id, 0, 1, coalesce(new.revoked_s, 0), 0) ON CONFLICT DO NOTHING;"
	" UPDATE ca_revocation SET wanted = new.status, reason = coalesce(new.revoke_reason, ''), state = (told = new.status),"
	" next_try_s = 0, tries = 0, error = '' WHERE ca = new.ca AND serial = new.serial AND wanted <> 1; END;"
	"PRAGMA user_version = 11;";

/* Speed. A device that renews each day has a thousand certificates after three years; its newest is looked for. */
static const char SCHEMA_12_OF_ASSET[] =
	"CREATE INDEX certificate_asset ON certificate (asset_id);"
	"PRAGMA user_version = 12;";

const char *const store_migrations[] = {
	SCHEMA_1_REGISTRY,
	SCHEMA_2_ENROLLMENT,
	SCHEMA_3_AUDIT,
	SCHEMA_4_LOCKED_SERIALS,
	SCHEMA_5_TRANSACTIONS,
	SCHEMA_6_OWNERSHIP,
	SCHEMA_7_EVIDENCE,
	SCHEMA_8_SHORT_KEYS,
	SCHEMA_9_INTENTS,
	SCHEMA_10_ROLLOVER,
	SCHEMA_11_HOLDS,
	SCHEMA_12_OF_ASSET,
	NULL,
};
