#include <stdio.h>
#include <string.h>

#include "base/jsontext.h"
#include "base/text.h"
#include "gateway/core/enroll_internal.h"
#include "gateway/core/log.h"

static void
put_rule(struct buf *out, const char *rule, enum verdict verdict, const char *saw)
{
	buf_append_text(out, out->len == 1 ? "[" : ",[");
	json_put_text(out, rule);
	buf_append_u8(out, ',');
	json_put_text(out, verdict_name(verdict));
	buf_append_u8(out, ',');
	json_put_text(out, saw);
	buf_append_u8(out, ']');
}

/* [["asset.state","pass","state=deployed"], ...]: short, because there is one for every request. */
static void
rules_json(const struct decision *decision, const struct policy_rules *rules, struct buf *out)
{
	struct rule_told told;
	size_t i;

	buf_append_u8(out, '[');
	for (i = 0; i < decision->rule_count; i++)
		put_rule(out, decision->rules[i].rule, decision->rules[i].verdict, decision->rules[i].saw);
	for (i = 0; decision_rule(decision, rules, i, &told); i++)
		put_rule(out, told.name, told.verdict, told.did);
	buf_append_u8(out, ']');
}

static void
subject_text(const struct cert_spec *spec, struct buf *out)
{
	static const struct {
		const char *oid, *name;
	} known[] = { { "2.5.4.3", "CN" }, { "2.5.4.5", "serialNumber" }, { "2.5.4.6", "C" }, { "2.5.4.7", "L" },
		{ "2.5.4.8", "ST" }, { "2.5.4.10", "O" }, { "2.5.4.11", "OU" },
		{ "0.9.2342.19200300.100.1.1", "UID" }, { "0.9.2342.19200300.100.1.25", "DC" },
		{ "1.2.840.113549.1.9.1", "emailAddress" } };
	size_t i, k;

	for (i = 0; i < spec->rdn_count; i++) {
		const char *name = spec->rdns[i].oid;

		for (k = 0; k < sizeof known / sizeof known[0]; k++)
			if (strcmp(known[k].oid, name) == 0)
				name = known[k].name;
		if (i != 0)
			buf_append_u8(out, ',');
		buf_append_text(out, name);
		buf_append_u8(out, '=');
		buf_append_text(out, spec->rdns[i].value);
	}
}

static void
sans_text(const struct cert_spec *spec, struct buf *out)
{
	static const char *const names[] = {
		[SPEC_SAN_DNS] = "dns:", [SPEC_SAN_URI] = "uri:", [SPEC_SAN_IP] = "ip:", [SPEC_SAN_EMAIL] = "email:"
	};
	size_t i;

	for (i = 0; i < spec->san_count; i++) {
		if (i != 0)
			buf_append_text(out, ", ");
		buf_append_text(out, names[spec->sans[i].type]);
		buf_append_text(out, spec->sans[i].value);
	}
}

static void
fill_request(const struct attempt *a, struct store_outcome *out)
{
	const struct enroll_request *request = a->request;

	out->now_s = request->now_s;
	out->label = request->label->policy.name;
	out->profile = a->profile->name;
	out->protocol = request->protocol;
	out->operation = request->operation;
	out->peer = request->peer;
	out->proof = a->proof.text;
	out->proof_kind = (int)a->proof.kind;
	out->transaction = a->request->transaction;
	out->renewal = a->op == ENROLL_RENEW;
	if (a->has_registrar) {
		out->registrar_id = a->registrar.id;
		out->registrar_version = a->registrar.version;
	}
	out->secret_id = a->secret_id;
	if (a->challenge_once)
		out->challenge_sha256 = a->challenge_sha256;
	out->challenge_mdm = request->label->scep_mdm;
	if (a->proof.kind == PROOF_OWN)
		out->proof_cert_id = a->proof.cert_id;
	out->csr = request->csr;
	memcpy(out->csr_sha256, a->csr_sha256, sizeof out->csr_sha256);
	out->reason = a->decision.reason;
	out->sentence = a->decision.sentence;
	out->policy_version = a->world->config->version;
	out->alert = a->decision.alert;
	if (a->csr != NULL)
		memcpy(out->spki_sha256, a->csr->spki_sha256, sizeof out->spki_sha256);
	if (a->asset_matches != 1)
		return;
	out->asset_id = a->asset.id;
	out->asset_version = a->asset.version;
	out->asset_tag = a->asset.tag;
	if (!a->has_existing)
		return;
	/* An answered request is history: the same CSR begins a new attempt. */
	if (a->existing.state == REQUEST_ISSUED)
		out->attempt = a->existing.attempt + 1;
	else {
		out->attempt = a->existing.attempt;
		out->request_id = a->existing.id;
	}
}

/* What of the policy's findings is written down with the outcome. */
static int
fill_policy(const struct attempt *a, struct store_outcome *out, int64_t *exception_ids, struct buf *evidence, struct err *e)
{
	bool waived = false;
	size_t i;

	if (a->nonce_used) {
		out->nonce_sha256 = a->nonce_sha256;
		out->nonce_expires_s = a->nonce_expires_s;
	}
	if (a->attestation_count != 0) {
		attestations_json(a->attestations, a->attestation_count, evidence);
		out->attestation_json = buf_text(evidence);
	}
	if (a->has_proof_anchor && a->asset_matches == 1 && a->proof.kind == PROOF_CERTIFICATE) {
		out->anchor = &a->proof_anchor;
		out->anchor_spki = a->proof_spki;
	}
	for (i = 0; i < a->exception_count; i++) {
		if ((a->decision.exceptions_used & 1u << i) == 0 || a->exceptions[i].id == 0)
			continue;
		exception_ids[out->exception_count++] = a->exceptions[i].id;
		waived = waived || (a->exceptions[i].waives & EXCEPTION_QUOTA) != 0;
	}
	out->exception_ids = exception_ids;
	/* An exception that waives a full quota lets one more in; a quota with room is used as ever. */
	out->quota = !(a->quota_full && waived);
	out->quota_hold_s = a->world->config->approval_life_s;
	return buf_failed(evidence) ? err_set(e, ERR_NOMEM, "no memory to record what evidence came to") : 0;
}

static int
fill_certificate(const struct attempt *a, struct store_outcome *out, struct err *e)
{
	out->cert = buf_bytes(&a->answer.cert);
	out->ca = a->intent_id != 0 ? a->intent.ca : a->request->label->ca;
	(void)snprintf(a->result->ca, sizeof a->result->ca, "%s", out->ca);
	out->serial = a->answer.serial;
	/* The certificate's own dates: a CA near its end cuts what was approved. */
	out->not_before_s = a->answer.not_before_s;
	out->not_after_s = a->answer.not_after_s;
	if (a->op == ENROLL_RENEW)
		out->replaces_id = a->proof.kind == PROOF_REGISTRAR ? a->renewed_id : a->proof.cert_id;
	if (a->op == ENROLL_KEYGEN) {
		if (sha256(buf_bytes(&a->made_spki), out->spki_sha256, e) != 0)
			return -1;
		/* The first answer's private key is gone with the lost answer; so is its certificate. */
		if (a->has_existing && a->existing.state == REQUEST_ISSUED) {
			out->replaces_id = a->existing.cert_id;
			out->supersede = true;
		}
	}
	return sha256(out->cert, out->cert_sha256, e);
}

/* A request that carries its challenge is stored so that nobody reads the challenge there. */
static int
seal_request(const struct attempt *a, struct store_outcome *out, struct buf *sealed, struct err *e)
{
	if (!a->request->challenge && a->polled == NULL)
		return 0;
	if (a->gateway->seal == NULL)
		return err_set(e, ERR_BUG, "there is no key to seal requests with");
	if (seal_close(a->gateway->seal, bytes_of(a->csr_sha256, sizeof a->csr_sha256), out->csr, sealed, e) != 0)
		return -1;
	out->csr = buf_bytes(sealed);
	return 0;
}

int
attempt_record(struct attempt *a, enum request_state state, enum store_recorded *what, struct err *e)
{
	CLEANUP(buf) struct buf rules = { 0 };
	CLEANUP(buf) struct buf subject = { 0 };
	CLEANUP(buf) struct buf sans = { 0 };
	CLEANUP(buf) struct buf sealed = { 0 };
	CLEANUP(buf) struct buf evidence = { 0 };
	int64_t exception_ids[sizeof a->exceptions / sizeof a->exceptions[0]];
	struct store_outcome out = { .state = state, .intent = a->new_intent, .intent_id = a->intent_id };

	fill_request(a, &out);
	if (fill_policy(a, &out, exception_ids, &evidence, e) != 0)
		return -1;
	rules_json(&a->decision, a->world->policy, &rules);
	subject_text(&a->decision.spec, &subject);
	sans_text(&a->decision.spec, &sans);
	out.rules_json = buf_text(&rules);
	out.subject = buf_text(&subject);
	out.sans = buf_text(&sans);
	if (buf_failed(&rules) || buf_failed(&subject) || buf_failed(&sans))
		return err_set(e, ERR_NOMEM, "no memory to record the decision");
	if (seal_request(a, &out, &sealed, e) != 0 || (state == REQUEST_ISSUED && fill_certificate(a, &out, e) != 0))
		return -1;
	return a->gateway->store_ops->record(a->gateway->store, &out, what, &a->result->request_id, e);
}

/*
 * A peer that proves nothing could fill the disk with rows about itself. Past
 * the limit its refusals are in the metrics and, now and then, in the log.
 */
static bool
too_many_from_stranger(const struct attempt *a)
{
	struct bytes key = bytes_of(a->peer_net, a->peer_net_len);

	if (a->proof.kind != PROOF_NONE || a->gateway->strangers == NULL)
		return false;
	if (limiter_check(a->gateway->strangers, key, a->request->now_s) == 0) {
		(void)limiter_failed(a->gateway->strangers, key, a->request->now_s);
		return false;
	}
	log_rare(LOG_LEVEL_WARN, "audit", "%s is refused so often that not every time is recorded", a->request->peer);
	return true;
}

void
attempt_audit_failure(struct attempt *a, const struct err *why)
{
	CLEANUP(buf) struct buf detail = { 0 };
	char actor[REG_VALUE_MAX], hash[65];
	struct err e;

	if (too_many_from_stranger(a))
		return;
	if (a->asset_matches == 1 && a->proof.kind != PROOF_NONE)
		(void)snprintf(actor, sizeof actor, "device:%s", a->asset.tag);
	else
		(void)snprintf(actor, sizeof actor, "peer:%s", a->request->peer);
	hex_encode(bytes_of(a->csr_sha256, 32), hash);
	buf_append_u8(&detail, '{');
	json_put_pair(&detail, "code", err_code_name(why->code));
	json_put_pair(&detail, "reason", why->text);
	json_put_pair(&detail, "protocol", a->request->protocol);
	json_put_pair(&detail, "operation", a->request->operation);
	json_put_pair(&detail, "label", a->request->label->policy.name);
	json_put_pair(&detail, "peer", a->request->peer);
	json_put_pair(&detail, "user", a->request->user);
	json_put_pair(&detail, "proof", a->proof.text);
	json_put_pair(&detail, "transaction", a->request->transaction);
	if (a->request->csr.len != 0)
		json_put_pair(&detail, "csr_sha256", hash);
	buf_append_u8(&detail, '}');
	if (a->gateway->store_ops->audit(a->gateway->store, a->request->now_s, actor, "enroll.refused",
		    a->asset_matches == 1 ? a->asset.tag : "", buf_text(&detail), &e) != 0)
		log_rare(LOG_LEVEL_ERROR, "audit", "a refusal could not be recorded: %s", e.text);
}
