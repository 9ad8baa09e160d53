/*
 * The pipeline, once: authenticate, decide, issue, record, in rounds. A round
 * is repeated when the store says that the world changed between reading and
 * writing; nothing has left the gateway by then.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsontext.h"
#include "gateway/core/enroll.h"
#include "gateway/core/enroll_internal.h"
#include "gateway/core/issuer.h"
#include "gateway/core/metrics.h"

#define ROUNDS_MAX 8
#define UPSTREAM_RETRY_S 30

static const char *
public_text(enum err_code code)
{
	switch (code) {
	case ERR_NONE:
		return "issued";
	case ERR_MALFORMED:
		return "malformed request";
	case ERR_UNSUPPORTED:
		return "unsupported algorithm or operation";
	case ERR_UNAUTHENTIC:
		return "authentication required";
	case ERR_DENIED:
		return "refused by policy";
	case ERR_PENDING:
		return "pending";
	case ERR_UPSTREAM:
		return "temporarily unavailable";
	case ERR_LIMIT:
		return "too many attempts or too large";
	case ERR_NOMEM:
	case ERR_BUG:
		break;
	}
	return "internal error";
}

void
attempt_conclude(struct attempt *a, enum err_code code, const char *reason, const char *sentence)
{
	struct enroll_result *result = a->result;

	result->code = code;
	result->public_text = public_text(code);
	(void)snprintf(result->reason, sizeof result->reason, "%s", reason);
	(void)snprintf(result->sentence, sizeof result->sentence, "%s", sentence);
	if (code == ERR_PENDING)
		result->retry_after_s = a->request->label->retry_after_s;
	else if (code == ERR_UPSTREAM && result->retry_after_s == 0)
		result->retry_after_s = UPSTREAM_RETRY_S;
	if (a->asset_matches == 1)
		(void)snprintf(result->asset_tag, sizeof result->asset_tag, "%s", a->asset.tag);
	(void)snprintf(result->proof, sizeof result->proof, "%s", a->proof.text);
}

static void
fail(struct attempt *a, const struct err *e)
{
	if (e->code == ERR_UNAUTHENTIC && a->secret_used_by != 0)
		attempt_wrong_secret(a, NULL);
	attempt_conclude(a, e->code, a->refusal != NULL ? a->refusal : err_code_name(e->code), e->text);
	attempt_audit_failure(a, e);
}

/* A queue of writes that is full is the gateway's trouble; ERR_LIMIT would tell the device that it is its own. */
static int
store_full(struct err *e)
{
	if (e->code == ERR_LIMIT)
		e->code = ERR_UPSTREAM;
	return -1;
}

/* 1: go round again, 0: concluded. */
static int
after_record(enum store_recorded what)
{
	switch (what) {
	case STORE_RECORDED:
		return 0;
	case STORE_EXISTS:
	case STORE_STALE:
	case STORE_SPENT:
		break;
	}
	return 1;
}

static int
issue_and_record(struct attempt *a, struct err *e)
{
	enum store_recorded what;
	int again;

	/* Another request has just taken what room a rule had left: the next round says so. */
	if (!attempt_take_limits(a))
		return 1;
	if (attempt_make_key(a, e) != 0 || attempt_issue(a, e) != 0)
		return -1;
	if (a->answer.state != CA_ISSUED) {
		a->result->retry_after_s = a->answer.retry_s;
		return err_set(e, ERR_UPSTREAM, "the CA asked to wait");
	}
	if (attempt_record(a, REQUEST_ISSUED, &what, e) != 0)
		return store_full(e);
	again = after_record(what);
	if (again == 0) {
		a->result->cert = a->answer.cert;
		a->answer.cert = (struct buf){ 0 };
		attempt_conclude(a, ERR_NONE, a->decision.reason, a->decision.sentence);
	}
	return again;
}

static void
end_read(struct attempt *a)
{
	a->gateway->store_ops->read_end(a->read);
	a->read = NULL;
}

/* Who got the certificate again, and from where. */
static int
audit_replay(struct attempt *a, struct err *e)
{
	CLEANUP(buf) struct buf detail = { 0 };
	char actor[REG_VALUE_MAX];

	(void)snprintf(actor, sizeof actor, "device:%s", a->asset.tag);
	buf_append_u8(&detail, '{');
	json_put_int(&detail, "request", a->existing.id);
	json_put_int(&detail, "certificate", a->existing.cert_id);
	json_put_pair(&detail, "serial", a->issued.serial);
	json_put_pair(&detail, "protocol", a->request->protocol);
	json_put_pair(&detail, "operation", a->request->operation);
	json_put_pair(&detail, "label", a->request->label->policy.name);
	json_put_pair(&detail, "peer", a->request->peer);
	json_put_pair(&detail, "proof", a->proof.text);
	buf_append_u8(&detail, '}');
	if (buf_failed(&detail))
		return err_set(e, ERR_NOMEM, "no memory to record the answer");
	return a->gateway->store_ops->audit(a->gateway->store, a->request->now_s, actor, "enroll.replayed",
		a->asset.tag, buf_text(&detail), e);
}

static int
replay(struct attempt *a, struct err *e)
{
	int found = a->gateway->store_ops->cert_der(a->read, a->existing.cert_id, &a->result->cert, e);

	if (found != 1)
		return found < 0 ? -1 : err_set(e, ERR_BUG, "certificate %lld is not in the store",
						(long long)a->existing.cert_id);
	end_read(a);
	if (audit_replay(a, e) != 0)
		return store_full(e);
	(void)snprintf(a->result->ca, sizeof a->result->ca, "%s", a->issued.ca);
	a->result->replayed = true;
	a->result->request_id = a->existing.id;
	attempt_conclude(a, ERR_NONE, "ok", "the certificate of the earlier identical request");
	return 0;
}

static int
not_issued(struct attempt *a, enum request_state state, enum err_code code, struct err *e)
{
	enum store_recorded what;
	int again;

	if (attempt_record(a, state, &what, e) != 0)
		return store_full(e);
	again = after_record(what);
	if (again == 0)
		attempt_conclude(a, code, a->decision.reason, a->decision.sentence);
	return again;
}

static int
carry_out(struct attempt *a, struct err *e)
{
	int result;

	if (a->has_existing && a->existing.state == REQUEST_REFUSED)
		return err_set(e, ERR_DENIED, "an operator refused this request: %.150s", a->existing.sentence);
	switch (a->decision.outcome) {
	case OUTCOME_ALLOWED:
		if (a->replay)
			return replay(a, e);
		if (attempt_is_elsewhere(a))
			return attempt_ask_elsewhere(a, e);
		result = issue_and_record(a, e);
		if (result != 0)
			attempt_give_back_limits(a);
		return result;
	case OUTCOME_PENDING:
		return not_issued(a, REQUEST_PENDING, ERR_PENDING, e);
	case OUTCOME_DENIED:
		break;
	}
	return not_issued(a, REQUEST_DENIED, a->decision.unauthentic ? ERR_UNAUTHENTIC : ERR_DENIED, e);
}

/* The snapshot ends before anything is written, so that readers stay free; only a replay reads on. */
static int
one_round(struct attempt *a, struct err *e)
{
	const struct store_ops *ops = a->gateway->store_ops;
	int result;

	if (ops->read_begin(a->gateway->store, &a->read, e) != 0)
		return -1;
	result = attempt_authenticate(a, e);
	if (result == 1) {
		end_read(a);
		return attempt_ask_mdm(a, e) == 0 ? 1 : -1;
	}
	if (result == 0)
		result = attempt_decide(a, e);
	if (result == 1) {
		end_read(a);
		return attempt_ask_verifier(a, e) == 0 ? 1 : -1;
	}
	if (result == 0)
		result = attempt_find_intent(a, e);
	if (result == 0 && !(a->replay && a->decision.outcome == OUTCOME_ALLOWED))
		end_read(a);
	if (result == 0)
		result = carry_out(a, e);
	end_read(a);
	return result;
}

struct attempt *
attempt_begin(struct gateway *gateway, const struct world *world, const struct enroll_request *request,
	struct enroll_result *out)
{
	struct attempt *a = calloc(1, sizeof *a);

	*out = (struct enroll_result){ 0 };
	if (a == NULL) {
		out->code = ERR_NOMEM;
		out->public_text = public_text(ERR_NOMEM);
		(void)snprintf(out->reason, sizeof out->reason, "%s", err_code_name(ERR_NOMEM));
		return NULL;
	}
	a->gateway = gateway;
	a->world = world;
	a->request = request;
	a->result = out;
	/* A refusal of bytes that nobody could read has no label's world. */
	a->profile = world == NULL ? NULL : config_profile(world->config, request->label->profile);
	if (request->peer != NULL)
		a->peer_net_len = limiter_address(request->peer, a->peer_net);
	return a;
}

void
attempt_free(struct attempt *a)
{
	if (a == NULL)
		return;
	est_csr_free(a->csr);
	GENERAL_NAMES_free(a->csr_sans);
	GENERAL_NAMES_free(a->current_sans);
	X509_free(a->renewed);
	free(a->attestations);
	EVP_PKEY_free(a->made_key);
	buf_free(&a->made_spki);
	ca_answer_free(&a->answer);
	attempt_question_free(a->question);
	issuer_ticket_free(a->ticket);
	free(a);
}

static void
count_outcome(struct attempt *a)
{
	const struct enroll_result *out = a->result;
	const struct rule_judgement *judgement = &a->decision.judgement;
	size_t i;

	metric_decision(out->code == ERR_NONE ? "issued" : err_code_name(out->code), out->reason);
	for (i = 0; i < a->attestation_count && !a->attested_before; i++)
		metric_attestation(attest_method_name(a->attestations[i].method), a->attestations[i].valid);
	if (strcmp(out->reason, "policy.rules") == 0 && judgement->result == RULES_DENY)
		metric_rule_denial(judgement->decided_by < policy_rules_count(a->world->policy) ?
			policy_rules_at(a->world->policy, judgement->decided_by)->name : "otherwise");
}

void
attempt_run(struct attempt *a)
{
	struct enroll_result *out = a->result;
	struct err e = { 0 };
	int round, again = 1;

	if (sha256(a->request->csr, a->csr_sha256, &e) != 0)
		again = -1;
	for (round = 0; again == 1 && round < ROUNDS_MAX; round++)
		again = one_round(a, &e);
	if (again == 1)
		again = err_set(&e, ERR_UPSTREAM, "the registry kept changing while this was decided");
	if (again < 0)
		fail(a, &e);
	/* A round before may have made them; nothing but a success carries any. */
	if (out->code != ERR_NONE) {
		buf_free(&out->cert);
		buf_free_secret(&out->key);
	}
	attempt_tell_of_clone(a);
	count_outcome(a);
	attempt_tell_mdm(a);
}

void
enroll_run(struct gateway *gateway, const struct world *world, const struct enroll_request *request,
	struct enroll_result *out)
{
	struct attempt *a = attempt_begin(gateway, world, request, out);

	if (a != NULL)
		attempt_run(a);
	attempt_free(a);
}

void
enroll_refuse(struct gateway *gateway, const struct enroll_request *request, const struct err *why)
{
	struct enroll_result result;
	struct attempt *a = attempt_begin(gateway, NULL, request, &result);

	if (a != NULL)
		attempt_audit_failure(a, why);
	attempt_free(a);
	metric_decision(err_code_name(why->code), err_code_name(why->code));
}

void
enroll_result_free(struct enroll_result *result)
{
	buf_free(&result->cert);
	buf_free_secret(&result->key);
}
