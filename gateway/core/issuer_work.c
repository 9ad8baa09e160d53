/*
 * One step of one intent: what its state calls for, the call to the CA, and what the answer means. Before a call goes out the
 * store knows of it; after it, whatever happens here, the store's state says at worst "unknown".
 */
#include <stdio.h>
#include <string.h>

#include "gateway/core/issuer_internal.h"
#include "gateway/core/log.h"
#include "gateway/core/replay.h"
#include "gateway/core/spec_json.h"

#define NARROW_S 60

struct work {
	struct issuer_job *job;
	const struct intent_ops *intents;
	struct intent_row row;
	struct request_row asked;
	struct kept_spec kept;
	struct cert_spec asked_spec; /* what the CA is asked for: see narrow() */
	struct buf spki, csr;
	struct ca_request request;
	struct ca_answer answer;
};

/*
 * CAs round times, to the minute some, and up as well as down: asked for a little less at both ends, they stay within
 * what was approved, which is what the answer is compared with.
 */
static void
narrow(struct work *w)
{
	const struct cert_spec *approved = &w->kept.spec;

	w->asked_spec = *approved;
	if (approved->not_after_s - w->job->now_s > 10 * NARROW_S)
		w->asked_spec.not_after_s -= NARROW_S;
	if (approved->not_before_s < w->job->now_s)
		w->asked_spec.not_before_s = approved->not_before_s + NARROW_S < w->job->now_s ?
			approved->not_before_s + NARROW_S : w->job->now_s;
}

static int
load(struct work *w, struct err *e)
{
	CLEANUP(buf) struct buf json = { 0 };
	struct gateway *gateway = w->job->gateway;
	struct store_read *read = NULL;
	int result;

	if (gateway->store_ops->read_begin(gateway->store, &read, e) != 0)
		return -1;
	result = w->intents->by_id(read, w->job->intent_id, &w->row, &json, &w->spki, e);
	if (result == 0)
		result = err_set(e, ERR_BUG, "there is no intent %lld", (long long)w->job->intent_id);
	if (result == 1)
		result = replay_load(gateway, read, w->row.request_id, &w->asked, &w->csr, e);
	gateway->store_ops->read_end(read);
	if (result != 0 || spec_from_json(buf_bytes(&json), &w->kept, e) != 0)
		return -1;
	narrow(w);
	w->request = (struct ca_request){ .spec = &w->asked_spec, .spki = buf_bytes(&w->spki),
		.key_kind = (enum key_kind)w->row.key_kind, .csr = buf_bytes(&w->csr), .now_s = w->job->now_s,
		.request_id = w->row.ca_request_id };
	memcpy(w->job->csr_sha256, w->row.csr_sha256, sizeof w->job->csr_sha256);
	return 0;
}

/* 1 done, 0 it was in another state by then (an operator's hand), -1. */
static int
step(struct work *w, enum intent_state to, int64_t next_try_s, const char *error, const char *audit, struct err *e)
{
	struct intent_step s = { .id = w->row.id, .from = w->row.state, .to = to, .error = error, .next_try_s = next_try_s,
		.called = to == INTENT_SENT || (w->row.state != INTENT_SENT && w->job->call != GUARD_NOT_MADE), .audit = audit,
		.now_s = w->job->now_s };
	bool done = false;

	if (w->answer.reference[0] != '\0')
		s.reference = w->answer.reference;
	if (w->intents->step(w->job->gateway->store, &s, &done, e) != 0)
		return -1;
	if (done)
		w->row.state = to;
	w->row.tries += s.called;
	w->job->next_try_s = next_try_s;
	return done;
}

static int
end(struct work *w, enum intent_state to, const char *reason, const char *sentence, const char *audit, bool revoke,
	struct err *e)
{
	struct intent_end s = { .id = w->row.id, .to = to, .reason = reason, .sentence = sentence, .audit = audit,
		.policy_version = w->job->world->config->version, .now_s = w->job->now_s };
	bool done = false;

	if (revoke) {
		s.serial = w->answer.serial;
		s.cert = buf_bytes(&w->answer.cert);
	}
	if (w->intents->end(w->job->gateway->store, &s, &done, e) != 0)
		return -1;
	w->job->over = done;
	w->job->next_try_s = revoke ? w->job->now_s : 0;
	log_text(to == INTENT_QUARANTINED ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "ca", "%s: %s: %s: %s: %s", w->row.ca,
		w->row.ca_request_id, intent_state_name(to), reason, sentence);
	return 0;
}

static int
quarantine(struct work *w, const char *reason, const char *sentence, bool revoke, struct err *e)
{
	w->job->outcome = CALL_QUARANTINED;
	return end(w, INTENT_QUARANTINED, reason, sentence, "ca.quarantined", revoke, e);
}

static int
later(struct work *w, enum intent_state to, const char *error, const char *audit, struct err *e)
{
	int64_t next_s = w->job->now_s + backoff_s(ISSUER_RETRY_S, w->row.tries, ISSUER_RETRY_MAX_S);

	return step(w, to, next_s, error, audit, e) < 0 ? -1 : 0;
}

/* Sent, and nobody knows: when the CA cannot be asked, it is an operator's. */
static int
unknown(struct work *w, const char *error, struct err *e)
{
	bool was = w->row.state == INTENT_UNKNOWN;

	w->job->outcome = CALL_UNKNOWN;
	if (!was)
		log_text(LOG_LEVEL_ERROR, "ca", "%s: %s: no answer, it may have been issued: %s", w->row.ca,
			w->row.ca_request_id, error);
	if (w->job->ca->ops->reconcile != NULL)
		return later(w, INTENT_UNKNOWN, error, was ? NULL : "ca.unknown", e);
	return step(w, INTENT_UNKNOWN, w->job->now_s + ISSUER_OPERATOR_S, error, was ? NULL : "ca.unknown", e) < 0 ? -1 : 0;
}

static int
came(struct work *w, struct err *e)
{
	const struct world_ca *ca = w->job->ca;
	struct decision why = { 0 };
	bool recorded = false;
	struct ca_request approved = w->request;
	struct err wrong = { 0 };

	approved.spec = &w->kept.spec;
	w->job->outcome = CALL_ISSUED;
	if (!ca->ops->verified && ca_verify_issued(buf_bytes(&w->answer.cert), &approved,
		sk_X509_value(ca->ops->chain(ca->ca), 0), &wrong) != 0)
		return quarantine(w, "ca.verification", wrong.text, true, e);
	if (issuer_finish(w->job, &w->row, &w->answer, &recorded, &why, &wrong) != 0) {
		/* The certificate is somebody's already: whose, the record says; it is not this request's to revoke. */
		if (wrong.code == ERR_BUG)
			return quarantine(w, "ca.duplicate", wrong.text, false, e);
		*e = wrong;
		return -1;
	}
	if (!recorded)
		return quarantine(w, why.reason, why.sentence, true, e);
	w->job->over = true;
	w->job->next_try_s = 0;
	log_text(LOG_LEVEL_INFO, "ca", "%s: %s: issued %s to %s", w->row.ca, w->row.ca_request_id, w->answer.serial,
		w->row.asset_tag);
	return 0;
}

static int64_t
poll_at(const struct work *w)
{
	int64_t in_s = w->answer.retry_s;

	if (in_s <= 0)
		in_s = backoff_s(ISSUER_RETRY_S, w->row.tries, ISSUER_RETRY_MAX_S);
	if (in_s > ISSUER_POLL_MAX_S)
		in_s = ISSUER_POLL_MAX_S;
	return w->job->now_s + (in_s < ISSUER_POLL_MIN_S ? ISSUER_POLL_MIN_S : in_s);
}

static int
answered(struct work *w, const struct err *said, struct err *e)
{
	w->job->call = GUARD_ANSWERED;
	switch (w->answer.state) {
	case CA_ISSUED:
		return came(w, e);
	case CA_WAITING:
		w->job->outcome = CALL_WAITING;
		return step(w, INTENT_WAITING, poll_at(w), NULL, NULL, e) < 0 ? -1 : 0;
	case CA_ABSENT:
		w->job->outcome = CALL_ABSENT;
		/* From reconcile() alone: now it may be sent again. */
		if (w->row.state == INTENT_UNKNOWN)
			return step(w, INTENT_OPEN, w->job->now_s, NULL, "ca.absent", e) < 0 ? -1 : 0;
		break;
	case CA_UNKNOWN:
		break;
	}
	w->job->call = GUARD_FAILED;
	return unknown(w, said->text, e);
}

/* The call failed, in a way that says something about the request itself, or nothing. */
static int
failed(struct work *w, const struct err *why, struct err *e)
{
	bool refused = why->code == ERR_DENIED || why->code == ERR_UNSUPPORTED;

	w->job->call = refused ? GUARD_ANSWERED : GUARD_FAILED;
	if (refused) {
		w->job->outcome = CALL_REFUSED;
		return end(w, INTENT_FAILED, "ca.refused", why->text, "ca.refused", false, e);
	}
	w->job->outcome = CALL_UNAVAILABLE;
	log_rare(LOG_LEVEL_WARN, "ca", "%s: %s", w->row.ca, why->text);
	/* ca.h: ERR_UPSTREAM says that it was not issued; of anything else that is not known. */
	if (w->row.state == INTENT_SENT)
		return why->code == ERR_UPSTREAM ? later(w, INTENT_OPEN, why->text, NULL, e) : unknown(w, why->text, e);
	return later(w, w->row.state, why->text, NULL, e);
}

/* 1 with *rc: the CA was called; 0: it is not to be; -1. */
static int
call(struct work *w, int *rc, struct err *said, struct err *e)
{
	const struct ca_ops *ops = w->job->ca->ops;
	struct ca *ca = w->job->ca->ca;
	struct decision why;
	bool allowed = true;
	int result;

	switch (w->row.state) {
	case INTENT_OPEN:
		if (w->job->now_s - w->row.updated_s > ISSUER_RECHECK_S &&
		    issuer_still_allowed(w->job, &w->row, &allowed, &why, e) != 0)
			return -1;
		if (!allowed)
			return end(w, INTENT_FAILED, why.reason, why.sentence, "ca.withdrawn", false, e);
		result = step(w, INTENT_SENT, w->job->now_s, NULL, NULL, e);
		if (result != 1)
			return result;
		*rc = ops->issue(ca, &w->request, &w->answer, said);
		return 1;
	case INTENT_WAITING:
		if (ops->poll == NULL)
			return unknown(w, "this connector cannot poll", e);
		*rc = ops->poll(ca, &w->request, w->row.reference, &w->answer, said);
		return 1;
	case INTENT_UNKNOWN:
		if (ops->reconcile == NULL)
			return unknown(w, w->row.error, e);
		*rc = ops->reconcile(ca, &w->request, w->row.reference, &w->answer, said);
		return 1;
	case INTENT_SENT: /* by a thread of this process whose outcome the store did not take */
		return unknown(w, "what the CA answered could not be recorded", e);
	case INTENT_DONE:
	case INTENT_FAILED:
	case INTENT_QUARANTINED:
		w->job->over = true;
		break;
	}
	return 0;
}

static void
work_clear(struct work *w)
{
	buf_free(&w->spki);
	buf_free_secret(&w->csr);
	ca_answer_free(&w->answer);
}

int
issuer_carry_out(struct issuer_job *job, struct err *e)
{
	struct work w = { .job = job, .intents = job->gateway->store_ops->intents };
	struct err said = { 0 };
	int result, rc = 0;

	*e = (struct err){ 0 };
	job->call = GUARD_NOT_MADE;
	job->next_try_s = job->now_s + ISSUER_RETRY_MAX_S; /* should the store not answer */
	result = load(&w, e);
	if (result == 0)
		result = call(&w, &rc, &said, e);
	if (result == 1) {
		job->counted = true;
		job->call = GUARD_ANSWERED;
		result = rc == 0 ? answered(&w, &said, e) : failed(&w, &said, e);
	}
	work_clear(&w);
	return result;
}

/*
 * RFC 5280, section 5.3.1: "the reason code CRL entry extension SHOULD be absent instead of using the unspecified (0)
 * reasonCode value". What left its owner's hands may be in somebody's; all else is not needed any more.
 */
static int
reason_of(const struct revocation_row *row)
{
	static const struct {
		const char *word;
		int code;
	} reasons[] = { { "superseded", 4 }, { "stolen", 1 }, { "lost", 1 }, { "compromise", 1 } };
	size_t i;

	for (i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
		if (strstr(row->reason, reasons[i].word) != NULL)
			return reasons[i].code;
	return 5; /* cessationOfOperation */
}

int
issuer_carry_out_revocation(struct issuer_job *job, struct err *e)
{
	const struct ca_ops *ops = job->ca->ops;
	struct revocation_step s = { .id = job->revocation.id, .to = REVOCATION_DONE, .now_s = job->now_s };
	struct err said = { 0 };
	int rc = ops->revoke == NULL ? err_set(&said, ERR_UNSUPPORTED, "this CA takes no revocations by its protocol")
				     : ops->revoke(job->ca->ca, job->revocation.serial, buf_bytes(&job->cert),
					       reason_of(&job->revocation), &said);

	job->call = ops->revoke == NULL ? GUARD_NOT_MADE : GUARD_ANSWERED;
	job->counted = ops->revoke != NULL;
	job->outcome = rc == 0 ? CALL_REVOKED : CALL_REVOKE_FAILED;
	job->next_try_s = 0;
	if (rc != 0) {
		bool never = said.code == ERR_UNSUPPORTED;

		job->call = never || said.code == ERR_DENIED ? job->call : GUARD_FAILED;
		s.to = never ? REVOCATION_IMPOSSIBLE : REVOCATION_LATER;
		s.error = said.text;
		s.next_try_s = never ? 0 : job->now_s + backoff_s(ISSUER_RETRY_S, job->revocation.tries + 1,
							ISSUER_REVOKE_MAX_S);
		job->next_try_s = s.next_try_s;
		log_rare(LOG_LEVEL_ERROR, "ca", "%s: revoking %s: %s", job->revocation.ca, job->revocation.serial, said.text);
	}
	return job->gateway->store_ops->intents->revocation_step(job->gateway->store, &s, e);
}
