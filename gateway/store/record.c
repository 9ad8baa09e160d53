#define _GNU_SOURCE
#include "gateway/store/sqlite_internal.h"

#include <string.h>

/* What an enrollment attempt comes to, in one transaction; nothing here decides, it only refuses what has changed. */
struct recording {
	const struct store_outcome *o;
	enum store_recorded what;
	int64_t request_id; /* of the row; 0 until it is there */
	bool is_new; /* ... it was not there before */
	enum request_state was; /* the row's state before; of no meaning for a new one */
	int64_t decision_id;
	int64_t cert_id;
	int64_t owner_id;
	struct quota_claim quota;
};

/* JOB_UNDO with the reason for the caller. */
static int
give_up(struct recording *r, enum store_recorded what)
{
	r->what = what;
	return JOB_UNDO;
}

static int
check_limits(const struct store_outcome *o, struct err *e)
{
	if (o->csr.len > STORE_DER_MAX || o->cert.len > STORE_DER_MAX)
		return err_set(e, ERR_LIMIT, "a request or certificate of more than %d octets", STORE_DER_MAX);
	if (o->rules_json != NULL && text_fit(o->rules_json, STORE_JSON_MAX + 2) > STORE_JSON_MAX)
		return err_set(e, ERR_LIMIT, "rules of more than %d octets", STORE_JSON_MAX);
	if (o->attestation_json != NULL && text_fit(o->attestation_json, STORE_JSON_MAX + 2) > STORE_JSON_MAX)
		return err_set(e, ERR_LIMIT, "evidence of more than %d octets", STORE_JSON_MAX);
	/* Cut to fit, two of them could become one. */
	if (o->transaction != NULL && strnlen(o->transaction, STORE_TRANSACTION_MAX) == STORE_TRANSACTION_MAX)
		return err_set(e, ERR_LIMIT, "a transaction id of more than %d octets", STORE_TRANSACTION_MAX - 1);
	if (o->state != REQUEST_ISSUED && o->state != REQUEST_PENDING && o->state != REQUEST_DENIED)
		return err_set(e, ERR_BUG, "an enrollment cannot come to \"%s\"", request_state_name(o->state));
	if (o->state == REQUEST_ISSUED && (o->asset_id == 0 || o->cert.len == 0 || o->serial == NULL))
		return err_set(e, ERR_BUG, "issued without an asset or a certificate");
	return 0;
}

/*
 * The asset's version says nothing about its owner. A certificate for one who was
 * suspended meanwhile or is leaving, or whose contract or grace now ends before
 * it, is decided afresh.
 */
static bool
owner_changed(const struct store_outcome *o, enum owner_status status, int64_t contract_end_s, int64_t offboard_end_s)
{
	if (o->state != REQUEST_ISSUED)
		return false;
	if (status != OWNER_ACTIVE && (status != OWNER_OFFBOARDING || !o->renewal))
		return true;
	if (status == OWNER_OFFBOARDING && offboard_end_s != 0 && o->not_after_s > offboard_end_s)
		return true;
	return contract_end_s != 0 && o->not_after_s > contract_end_s;
}

static int
check_version(struct tx *tx, struct recording *r, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"SELECT a.version, o.id, o.status, o.contract_end_s, o.offboard_end_s"
		" FROM asset a JOIN owner o ON o.id = a.owner_id"
		" WHERE a.id = ?1");
	enum owner_status status;
	int64_t contract_end_s;
	int rc;

	query_int(&q, r->o->asset_id);
	rc = query_row(&q, e);
	if (rc < 0)
		return -1;
	if (rc == 0 || query_get_int(&q) != r->o->asset_version)
		return give_up(r, STORE_STALE);
	r->owner_id = query_get_int(&q);
	status = (enum owner_status)query_get_int(&q);
	contract_end_s = query_get_int(&q);
	if (owner_changed(r->o, status, contract_end_s, query_get_int(&q)))
		return give_up(r, STORE_STALE);
	return 0;
}

/* Two assets with one key, at the same time: each was decided before the other was recorded. */
static int
check_key(struct tx *tx, struct recording *r, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"SELECT 1 FROM certificate WHERE " CERT_OF_KEY("?1") " AND asset_id <> ?2 LIMIT 1");
	int rc;

	if (r->o->state != REQUEST_ISSUED)
		return 0;
	query_sha256(&q, r->o->spki_sha256);
	query_int(&q, r->o->asset_id);
	rc = query_row(&q, e);
	return rc == 1 ? give_up(r, STORE_STALE) : rc;
}

static int
find_request(struct tx *tx, struct recording *r, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"SELECT id, state FROM request"
		" WHERE asset_id = ?1 AND label = ?2 AND csr_sha256 = ?3 AND attempt = ?4");
	int rc;

	query_int(&q, r->o->asset_id);
	query_text_cut(&q, r->o->label, STORE_NAME_MAX);
	query_sha256(&q, r->o->csr_sha256);
	query_int(&q, r->o->attempt);
	rc = query_row(&q, e);
	if (rc < 0)
		return -1;
	if (rc == 1) {
		r->request_id = query_get_int(&q);
		r->was = (enum request_state)query_get_int(&q);
	}
	return 0;
}

/* Whether this outcome may go on with the row that is there. */
static int
check_request(struct tx *tx, struct recording *r, struct err *e)
{
	const struct store_outcome *o = r->o;

	if (find_request(tx, r, e) != 0)
		return -1;
	if (o->request_id != 0 && o->request_id != r->request_id)
		return err_set(e, ERR_BUG, "request %lld is not this one", (long long)o->request_id);
	if (r->request_id == 0)
		return 0;
	/* A row that policy denied is nobody's answer: whoever comes next goes on with it. */
	if (r->was == REQUEST_ISSUED || (o->request_id == 0 && r->was != REQUEST_DENIED))
		return give_up(r, STORE_EXISTS);
	/* An operator refused it while it was being decided. */
	if (r->was == REQUEST_REFUSED && o->state != REQUEST_DENIED)
		return give_up(r, STORE_EXISTS);
	return 0;
}

static int
check_secret(struct tx *tx, struct recording *r, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(tx->conn, "SELECT once, used_s FROM secret WHERE id = ?1 AND asset_id = ?2");
	bool once;
	int rc;

	if (r->o->secret_id == 0)
		return 0;
	query_int(&q, r->o->secret_id);
	query_int(&q, r->o->asset_id);
	rc = query_row(&q, e);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return err_set(e, ERR_BUG, "secret %lld is not this asset's", (long long)r->o->secret_id);
	once = query_get_int(&q) != 0;
	if (once && query_get_int(&q) != 0 && r->o->state == REQUEST_ISSUED)
		return give_up(r, STORE_SPENT);
	return 0;
}

/* What else it claims; see claim.c, exception.c, quota.c, evidence.c. */
static int
check_claims(struct tx *tx, struct recording *r, struct err *e)
{
	int rc = claim_registrar(tx, r->o, e);

	if (rc == 0)
		rc = claim_transaction(tx, r->o, r->request_id, e);
	if (rc == 0)
		rc = exception_claim(tx, r->o, r->owner_id, e);
	if (rc == 0)
		rc = quota_claim(tx, r->o, r->owner_id, &r->quota, e);
	if (rc == CLAIM_LOST)
		return give_up(r, STORE_STALE);
	if (rc == 0)
		rc = claim_challenge(tx, r->o, r->request_id, e);
	if (rc == 0)
		rc = evidence_claim_nonce(tx, r->o, r->request_id, e);
	return rc == CLAIM_LOST ? give_up(r, STORE_SPENT) : rc;
}

static int
spend_secret(struct tx *tx, const struct recording *r, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE secret SET used_s = ?2, used_request_id = ?3 WHERE id = ?1 AND once = 1");

	query_int(&q, r->o->secret_id);
	query_int(&q, r->o->now_s);
	query_int(&q, r->request_id);
	return query_run(&q, e);
}

static const char *
outcome_text(const struct store_outcome *o)
{
	return request_state_name(o->state);
}

static int
insert_decision(struct tx *tx, struct recording *r, struct err *e)
{
	const struct store_outcome *o = r->o;
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO decision (at_s, request_id, asset_id, asset_version, policy_version, csr_sha256,"
		" outcome, reason, sentence, rules_json) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)");

	query_int(&q, o->now_s);
	query_id(&q, r->request_id);
	query_id(&q, o->asset_id);
	query_int(&q, o->asset_version);
	query_text_cut(&q, o->policy_version, FIELD_SIZE(struct decision_row, policy_version));
	query_sha256(&q, o->csr_sha256);
	query_text(&q, outcome_text(o));
	query_text_cut(&q, o->reason, FIELD_SIZE(struct decision_row, reason));
	query_text_cut(&q, o->sentence, STORE_SENTENCE_MAX);
	query_text(&q, o->rules_json == NULL ? "[]" : o->rules_json);
	if (query_run(&q, e) != 0)
		return -1;
	r->decision_id = sqlite3_last_insert_rowid(tx->conn->db);
	return 0;
}

static int
insert_cert_row(struct tx *tx, struct recording *r, struct err *e)
{
	const struct store_outcome *o = r->o;
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO certificate (asset_id, request_id, ca, label, profile, serial, subject, sans, sha256,"
		" spki_sha256, not_before_s, not_after_s, replaces_id)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)");

	query_int(&q, o->asset_id);
	query_int(&q, r->request_id);
	query_text_cut(&q, o->ca, STORE_NAME_MAX);
	query_text_cut(&q, o->label, STORE_NAME_MAX);
	query_text_cut(&q, o->profile, STORE_NAME_MAX);
	query_text_cut(&q, o->serial, SERIAL_HEX_MAX);
	query_text_cut(&q, o->subject, STORE_SUBJECT_MAX);
	query_text_cut(&q, o->sans, STORE_SUBJECT_MAX);
	query_sha256(&q, o->cert_sha256);
	query_sha256(&q, o->spki_sha256);
	query_int(&q, o->not_before_s);
	query_int(&q, o->not_after_s);
	query_id(&q, o->replaces_id);
	if (query_run(&q, e) == 0) {
		r->cert_id = sqlite3_last_insert_rowid(tx->conn->db);
		return 0;
	}
	if (query_conflicts(&q))
		return err_set(e, ERR_BUG, "CA %s gave serial %s, or this very certificate, before",
			o->ca == NULL ? "?" : o->ca, o->serial);
	return -1;
}

static int
insert_cert(struct tx *tx, struct recording *r, struct err *e)
{
	CLEANUP(query) struct query der = {0};

	if (insert_cert_row(tx, r, e) != 0)
		return -1;
	der = query_of(tx->conn, "INSERT INTO certificate_der (id, der) VALUES (?1, ?2)");
	query_int(&der, r->cert_id);
	query_blob(&der, r->o->cert);
	return query_run(&der, e);
}

/* The certificate that is renewed must be this asset's. */
static int
check_replaced(struct tx *tx, const struct store_outcome *o, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(tx->conn, "SELECT 1 FROM certificate WHERE id = ?1 AND asset_id = ?2");
	int rc;

	query_int(&q, o->replaces_id);
	query_int(&q, o->asset_id);
	rc = query_row(&q, e);
	if (rc == 0)
		return err_set(e, ERR_DENIED, "certificate %lld is not of %s", (long long)o->replaces_id,
			o->asset_tag == NULL ? "this asset" : o->asset_tag);
	return rc < 0 ? -1 : 0;
}

static int
revoke_replaced(struct tx *tx, const struct store_outcome *o, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE certificate SET status = 1, revoked_s = ?2, revoke_reason = 'superseded'"
		" WHERE id = ?1 AND status <> 1");

	query_int(&q, o->replaces_id);
	query_int(&q, o->now_s);
	if (query_run(&q, e) != 0)
		return -1;
	return store_bump(tx, o->asset_id, e);
}

static int
issue(struct tx *tx, struct recording *r, struct err *e)
{
	const struct store_outcome *o = r->o;

	if (o->replaces_id != 0 && check_replaced(tx, o, e) != 0)
		return -1;
	if (insert_cert(tx, r, e) != 0)
		return -1;
	if (o->secret_id != 0 && spend_secret(tx, r, e) != 0)
		return -1;
	if (o->replaces_id != 0 && o->supersede)
		return revoke_replaced(tx, o, e);
	return 0;
}

static bool
operator_decided(const struct recording *r)
{
	if (r->o->request_id == 0)
		return false;
	return r->was == REQUEST_REFUSED || (r->was == REQUEST_APPROVED && r->o->state == REQUEST_PENDING);
}

static int
finish_request(struct tx *tx, const struct recording *r, struct err *e)
{
	if (r->is_new)
		return request_link(tx, r->request_id, r->cert_id, r->decision_id, e);
	if (operator_decided(r))
		return request_touch(tx, r->request_id, r->o->now_s, r->decision_id, e);
	return request_update(tx, r->request_id, r->o, r->cert_id, r->decision_id, e);
}

static void
describe(struct buf *detail, const struct recording *r)
{
	const struct store_outcome *o = r->o;
	char hex[65];

	json_open(detail);
	if (r->request_id != 0)
		json_int(detail, "request", r->request_id);
	json_int(detail, "decision", r->decision_id);
	json_text(detail, "reason", o->reason);
	json_text(detail, "sentence", o->sentence);
	json_text(detail, "protocol", o->protocol);
	json_text(detail, "operation", o->operation);
	json_text(detail, "label", o->label);
	json_text(detail, "peer", o->peer);
	json_text(detail, "proof", o->proof);
	if (o->transaction != NULL && o->transaction[0] != '\0')
		json_text(detail, "transaction", o->transaction);
	hex_encode(bytes_of(o->csr_sha256, 32), hex);
	json_text(detail, "csr_sha256", hex);
	if (o->alert)
		json_int(detail, "alert", 1);
	if (r->cert_id != 0) {
		json_int(detail, "certificate", r->cert_id);
		json_text(detail, "ca", o->ca);
		json_text(detail, "serial", o->serial);
		hex_encode(bytes_of(o->cert_sha256, 32), hex);
		json_text(detail, "cert_sha256", hex);
		if (o->secret_id != 0)
			json_int(detail, "secret", o->secret_id);
		if (o->replaces_id != 0)
			json_int(detail, o->supersede ? "supersedes" : "replaces", o->replaces_id);
	}
	json_close(detail);
}

static int
append_audit(struct tx *tx, const struct recording *r, struct err *e)
{
	CLEANUP(buf) struct buf actor = {0}, action = {0}, detail = {0};
	const struct store_outcome *o = r->o;
	bool known = o->asset_id != 0 && o->asset_tag != NULL;

	buf_printf(&actor, "device:%s", known ? o->asset_tag : "?");
	buf_printf(&action, "enroll.%s", outcome_text(o));
	describe(&detail, r);
	if (buf_failed(&actor) || buf_failed(&action) || buf_failed(&detail))
		return err_set(e, ERR_NOMEM, "audit row");
	return chain_append(tx, o->now_s, buf_text(&actor), buf_text(&action), known ? o->asset_tag : o->peer,
		buf_text(&detail), e);
}

/* What a CA elsewhere is asked for, or has given: intent.c. */
static int
keep_intent(struct tx *tx, struct recording *r, struct err *e)
{
	int rc = intent_make(tx, r->o, r->request_id, e);

	if (rc == 0)
		rc = intent_fulfil(tx, r->o, r->request_id, r->cert_id, e);
	return rc == CLAIM_LOST ? give_up(r, STORE_EXISTS) : rc;
}

/* Ownership's part: see the files that check_claims() names. */
static int
keep_claims(struct tx *tx, const struct recording *r, struct err *e)
{
	if (exception_count(tx, r->o, e) != 0 || quota_keep(tx, r->o, &r->quota, r->request_id, e) != 0 ||
		evidence_keep(tx, r->o, r->request_id, e) != 0)
		return -1;
	return anchor_key_remember(tx, r->o, e);
}

static int
record_known(struct tx *tx, struct recording *r, struct err *e)
{
	int rc = check_version(tx, r, e);

	if (rc == 0)
		rc = check_request(tx, r, e);
	if (rc == 0)
		rc = check_secret(tx, r, e);
	if (rc == 0)
		rc = check_key(tx, r, e);
	if (rc == 0)
		rc = check_claims(tx, r, e);
	r->is_new = r->request_id == 0;
	if (rc == 0 && r->is_new)
		rc = request_insert(tx, r->o, &r->request_id, e);
	if (rc == 0)
		rc = insert_decision(tx, r, e);
	if (rc == 0 && r->o->state == REQUEST_ISSUED)
		rc = issue(tx, r, e);
	if (rc == 0)
		rc = claim_keep_challenge(tx, r->o, r->request_id, e);
	if (rc == 0)
		rc = finish_request(tx, r, e);
	if (rc == 0)
		rc = keep_intent(tx, r, e);
	return rc == 0 ? keep_claims(tx, r, e) : rc;
}

static int
record_job(struct tx *tx, void *arg, struct err *e)
{
	struct recording *r = arg;
	int rc;

	*r = (struct recording){.o = r->o, .what = STORE_RECORDED};
	rc = check_limits(r->o, e);
	if (rc == 0)
		rc = r->o->asset_id == 0 ? insert_decision(tx, r, e) : record_known(tx, r, e);
	return rc == 0 ? append_audit(tx, r, e) : rc;
}

int
sqlite_record(struct store *store, const struct store_outcome *outcome, enum store_recorded *what,
	int64_t *request_id, struct err *e)
{
	struct recording r = {.o = outcome};

	if (store_write(store, record_job, &r, e) != 0)
		return -1;
	*what = r.what;
	*request_id = r.request_id;
	return 0;
}
