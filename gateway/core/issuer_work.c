/*
 * One step of one intent: what its state calls for, the call to the CA, and what the answer means. Before a call goes out the
 * store knows of it; after it, whatever happens here, the store's state says at worst "unknown".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/core/issuer_internal.h"
#include "gateway/core/log.h"
#include "gateway/core/replay.h"
#include "gateway/core/rule_limits.h"
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
	const struct config_ca *config; /* of the CA that is called */
	/* What the call came to. */
	int rc;
	struct err said;
	struct ca_answer answer;
};

const struct config_ca *
issuer_job_config(const struct issuer_job *job)
{
	return &job->world->config->cas[job->ca - job->world->cas];
}

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

/* ca.h: what a CA is told that asks at once, and what came() finds. */
static int
accepts(void *arg, struct bytes cert, struct err *e)
{
	struct work *w = arg;
	struct ca_request approved = w->request;
	const struct config_ca *by = NULL;
	const char *reason = "";
	bool other = false;

	approved.spec = &w->kept.spec;
	return issuer_judge(w->job, &approved, cert, &by, &other, &reason, e) == 0 ? 0 : -1;
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
		.request_id = w->row.ca_request_id, .accepts = accepts, .accepts_arg = w };
	memcpy(w->job->csr_sha256, w->row.csr_sha256, sizeof w->job->csr_sha256);
	w->job->request_id = w->row.request_id;
	w->job->vouched = w->asked.proof_kind == PROOF_MDM;
	return 0;
}

/* The end, for the limits of rules. */
static void
settle(const struct work *w, bool used)
{
	struct rule_limits_key key = { .asset = w->row.asset_tag, .label = w->row.label, .csr_sha256 = w->row.csr_sha256 };

	rule_limits_settle(w->job->gateway->rule_limits, &key, used);
}

/* 1 done, 0 it was in another state by then (an operator's hand), or another CA's, -1. */
static int
step(struct work *w, enum intent_state to, int64_t next_try_s, const char *error, const char *audit, struct err *e)
{
	struct intent_step s = { .id = w->row.id, .ca = w->config->name, .from = w->row.state, .to = to, .error = error, .next_try_s = next_try_s,
		.called = to == INTENT_SENT || (w->row.state != INTENT_SENT && w->job->call != GUARD_NOT_MADE), .audit = audit,
		.now_s = w->job->now_s };
	bool done = false;

	if (w->answer.reference[0] != '\0')
		s.reference = w->answer.reference;
	else if (to == INTENT_SENT) /* an earlier attempt's says nothing about this one */
		s.reference = "";
	if (w->intents->step(w->job->gateway->store, &s, &done, e) != 0)
		return -1;
	if (done)
		w->row.state = to;
	w->row.tries += s.called;
	w->job->next_try_s = next_try_s;
	return done;
}

/*
 * What came, when something did, is revoked there unless it is somebody's whom this gateway has given it to. by: whose key signed it; NULL: of
 * none that is known here. Then the number in it may be another's, and is only told.
 */
static int
end(struct work *w, enum intent_state to, const char *reason, const char *sentence, const char *audit, const struct config_ca *by,
	struct err *e)
{
	struct intent_end s = { .id = w->row.id, .to = to, .reason = reason, .sentence = sentence, .audit = audit,
		.policy_version = w->job->world->config->version, .now_s = w->job->now_s };
	bool done = false;

	if (to == INTENT_QUARANTINED) {
		s.ca = by == NULL ? w->config->name : by->name;
		s.unproven = by == NULL;
		s.serial = w->answer.serial;
		s.cert = buf_bytes(&w->answer.cert);
	}
	if (w->intents->end(w->job->gateway->store, &s, &done, e) != 0)
		return -1;
	w->job->over = true; /* by this, or by other hands */
	w->job->next_try_s = by != NULL ? w->job->now_s : 0;
	if (!done) {
		log_text(LOG_LEVEL_WARN, "ca", "%s: %s: over already, so this came too late: %s: %s", w->config->name,
			w->row.ca_request_id, reason, sentence);
		return 0;
	}
	w->job->refused = true;
	settle(w, false);
	log_text(to == INTENT_QUARANTINED ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "ca", "%s: %s: %s: %s: %s%s", w->config->name,
		w->row.ca_request_id, intent_state_name(to), reason, sentence, s.unproven ? "; it is not revoked" : "");
	return 0;
}

static int
quarantine(struct work *w, const char *reason, const char *sentence, const struct config_ca *by, struct err *e)
{
	bool nobodys = strcmp(reason, "ca.unknown_issuer") == 0;

	w->job->outcome = nobodys ? CALL_UNKNOWN_ISSUER : CALL_QUARANTINED;
	return end(w, INTENT_QUARANTINED, reason, sentence, nobodys ? reason : "ca.quarantined", by, e);
}

/* After a call in vain. A CA may ask for more patience than is ours (Retry-After), not for less. */
static int64_t
retry_at(const struct work *w)
{
	int64_t in_s = backoff_s(ISSUER_RETRY_S, w->row.tries, ISSUER_RETRY_MAX_S), asked_s = w->answer.retry_s;

	if (asked_s > ISSUER_POLL_MAX_S)
		asked_s = ISSUER_POLL_MAX_S;
	return w->job->now_s + (asked_s > in_s ? asked_s : in_s);
}

static int
later(struct work *w, enum intent_state to, const char *error, const char *audit, struct err *e)
{
	return step(w, to, retry_at(w), error, audit, e) < 0 ? -1 : 0;
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
settle_what_came(struct work *w, struct err *e)
{
	struct ca_request approved = w->request;
	const struct config_ca *by = w->config;
	struct intent_row asked = w->row;
	struct decision why = { 0 };
	struct err wrong = { 0 };
	const char *reason = "";
	bool recorded = false, other = false;
	int result;

	approved.spec = &w->kept.spec;
	w->job->outcome = CALL_ISSUED;
	result = issuer_judge(w->job, &approved, buf_bytes(&w->answer.cert), &by, &other, &reason, &wrong);
	if (result == 1)
		return quarantine(w, reason, wrong.text, by, e);
	if (result == 0) {
		(void)snprintf(asked.ca, sizeof asked.ca, "%.79s", by->name);
		result = issuer_finish(w->job, &asked, &w->answer, &recorded, &why, &wrong);
		/* It gave this one before, or its number: whose that is, the record says. */
		if (result != 0 && wrong.code == ERR_BUG)
			return quarantine(w, "ca.duplicate", wrong.text, by, e);
	}
	if (result != 0) {
		*e = wrong;
		return -1;
	}
	if (!recorded)
		return quarantine(w, why.reason, why.sentence, by, e);
	settle(w, true);
	w->job->over = true;
	w->job->next_try_s = 0;
	log_text(LOG_LEVEL_INFO, "ca", "%s: %s: issued %s to %s", by->name, w->row.ca_request_id, w->answer.serial,
		w->row.asset_tag);
	if (other)
		issuer_tell_generation(w->job, &w->row, by, w->answer.serial);
	w->job->given = w->answer.cert;
	w->job->given_by = by->name;
	w->answer.cert = (struct buf){ 0 };
	return 0;
}

/* One, and sometimes another of the same key. When the store takes the first and not the other, that alone is kept. */
static int
came(struct work *w, struct err *e)
{
	int result = w->answer.cert.len == 0 ? 0 : settle_what_came(w, e);

	if (result == 0 && w->answer.second.len != 0) {
		buf_free(&w->answer.cert);
		memcpy(w->answer.serial, w->answer.second_serial, sizeof w->answer.serial);
		result = issuer_tell_second(w->job, &w->row, &w->answer, e);
		w->job->next_try_s = w->job->now_s;
	}
	return result;
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

/*
 * From reconcile() alone. What was sent a moment ago may still be under way there, or be worked on: so soon, "not issued" may mean
 * "not yet". Each look is a step, so that updated_s is the last one before this. A clock that was set forward makes a moment look like an hour,
 * and what a former life saw it do nobody knows: this process must have seen as long a time pass.
 */
static int
absent(struct work *w, struct err *e)
{
	int64_t settled_s = 2 * w->config->deadline_s > ISSUER_SETTLE_S ? 2 * w->config->deadline_s : ISSUER_SETTLE_S;

	if (w->job->now_s - w->row.updated_s < settled_s || !issuer_clock_ran(w->job->gateway->issuer, settled_s))
		return step(w, INTENT_UNKNOWN, w->job->now_s + settled_s, "the CA has not issued it so far", NULL, e) < 0 ? -1 : 0;
	return step(w, INTENT_OPEN, w->job->now_s, NULL, "ca.absent", e) < 0 ? -1 : 0;
}

static int
answered(struct work *w, struct err *e)
{
	switch (w->answer.state) {
	case CA_ISSUED:
		return came(w, e);
	case CA_WAITING:
		w->job->outcome = CALL_WAITING;
		return step(w, INTENT_WAITING, poll_at(w), NULL, NULL, e) < 0 ? -1 : 0;
	case CA_ABSENT:
		w->job->outcome = CALL_ABSENT;
		if (w->row.state == INTENT_UNKNOWN)
			return absent(w, e);
		break;
	case CA_UNKNOWN:
		break;
	}
	return unknown(w, w->said.text, e);
}

/*
 * Asked for, in vain. Some CAs are asked by sending the request again, so an operator's word that it was not issued, which came during
 * this call, was about the time before it: nobody sends it before somebody has looked once more.
 */
static int
still_unknown(struct work *w, const char *error, struct err *e)
{
	int64_t next_s = retry_at(w);
	int result = step(w, INTENT_UNKNOWN, next_s, error, NULL, e);

	if (result == 0) {
		w->row.state = INTENT_OPEN;
		result = step(w, INTENT_UNKNOWN, next_s, error, "ca.unknown", e);
	}
	return result < 0 ? -1 : 0;
}

static bool
was_refused(const struct work *w)
{
	return w->said.code == ERR_DENIED || w->said.code == ERR_UNSUPPORTED;
}

/* The call failed, in a way that says something about the request itself, or nothing. */
static int
failed(struct work *w, struct err *e)
{
	const struct err *why = &w->said;
	bool refused = was_refused(w);

	/* Who only asks what became of it is refused an answer, not the certificate: it may be there. */
	if (refused && w->row.state != INTENT_UNKNOWN) {
		w->job->outcome = CALL_REFUSED;
		return end(w, INTENT_FAILED, "ca.refused", why->text, "ca.refused", NULL, e);
	}
	w->job->outcome = CALL_UNAVAILABLE;
	log_rare(LOG_LEVEL_WARN, "ca", "%s: %s", w->config->name, why->text);
	/* ca.h: ERR_UPSTREAM says that it was not issued; of anything else that is not known. */
	if (w->row.state == INTENT_SENT)
		return why->code == ERR_UPSTREAM ? later(w, INTENT_OPEN, why->text, NULL, e) : unknown(w, why->text, e);
	return w->row.state == INTENT_UNKNOWN ? still_unknown(w, why->text, e) : later(w, w->row.state, why->text, NULL, e);
}

static enum guard_call
guard_call_of(const struct work *w)
{
	struct err e;

	if (w->rc == 0)
		return w->answer.state == CA_UNKNOWN || (w->answer.state == CA_ABSENT && w->row.state != INTENT_UNKNOWN) ?
			GUARD_FAILED : GUARD_ANSWERED;
	if (was_refused(w))
		return GUARD_ANSWERED;
	/* It may issue others, though it cannot tell of this one: these come first, as the oldest, and would keep the breaker open. */
	return w->row.state == INTENT_UNKNOWN && w->job->ca->ops->check(w->job->ca->ca, &e) == 0 ? GUARD_REACHED : GUARD_FAILED;
}

/* 1: the CA was called; 0: it is not to be; -1. */
static int
call(struct work *w, struct err *e)
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
			return end(w, INTENT_FAILED, why.reason, why.sentence, "ca.withdrawn", NULL, e);
		result = step(w, INTENT_SENT, w->job->now_s, NULL, NULL, e);
		if (result != 1)
			return result;
		w->rc = issuer_ask(w->job, &w->request, &w->answer, &w->said);
		return 1;
	case INTENT_WAITING:
		if (ops->poll == NULL)
			return unknown(w, "this connector cannot poll", e);
		w->rc = ops->poll(ca, &w->request, w->row.reference, &w->answer, &w->said);
		return 1;
	case INTENT_UNKNOWN:
		if (ops->reconcile == NULL)
			return unknown(w, w->row.error, e);
		w->rc = ops->reconcile(ca, &w->request, w->row.reference, &w->answer, &w->said);
		return 1;
	case INTENT_SENT:
		if (w->job->claimed) {
			w->rc = issuer_ask(w->job, &w->request, &w->answer, &w->said);
			return 1;
		}
		/* By a thread of this process whose outcome the store did not take. */
		return unknown(w, "what the CA answered could not be recorded", e);
	case INTENT_DONE:
	case INTENT_FAILED:
	case INTENT_QUARANTINED:
		w->job->over = true;
		break;
	}
	return 0;
}

/* What a call came to earlier, that the store did not take. 1: it is still of use, 0: it is not. */
static int
take_kept(struct work *w)
{
	struct issuer_kept *kept = w->job->kept;
	bool issued = kept->rc == 0 && kept->answer.state == CA_ISSUED;

	w->rc = kept->rc;
	w->said = kept->said;
	w->answer = kept->answer;
	kept->answer = (struct ca_answer){ 0 };
	/* A certificate is there, whatever has become of the intent; all else an operator's hand has overtaken. */
	return issued || (w->row.state == kept->state && strcmp(w->row.ca, w->config->name) == 0);
}

static void
drop_kept(struct issuer_job *job)
{
	issuer_kept_free(job->kept);
	job->kept = NULL;
}

/* To be tried again with what is known: see issuer_keep.c. Without memory the log alone has it. */
static void
keep(struct work *w, enum intent_state state)
{
	struct issuer_kept *kept = w->job->kept != NULL ? w->job->kept : calloc(1, sizeof *kept);

	if (w->job->kept == NULL && w->rc == 0 && w->answer.state == CA_ISSUED)
		log_text(LOG_LEVEL_ERROR, "ca", "%s: %s: it issued %s, which could not be recorded yet", w->config->name,
			w->row.ca_request_id, w->answer.serial);
	if (kept == NULL)
		return;
	kept->answered = true;
	kept->state = state;
	kept->rc = w->rc;
	kept->said = w->said;
	kept->answer = w->answer;
	w->answer = (struct ca_answer){ 0 };
	w->job->kept = kept;
}

static void
work_clear(struct work *w)
{
	buf_free(&w->spki);
	buf_free_secret(&w->csr);
	ca_answer_free(&w->answer);
}

static int
told(struct work *w, enum intent_state state, struct err *e)
{
	int result = w->rc == 0 ? answered(w, e) : failed(w, e);

	if (result != 0)
		keep(w, state);
	else
		drop_kept(w->job);
	return result;
}

int
issuer_carry_out(struct issuer_job *job, struct err *e)
{
	struct work w = { .job = job, .intents = job->gateway->store_ops->intents, .config = issuer_job_config(job) };
	int result;

	*e = (struct err){ 0 };
	issuer_see_clocks(job->gateway->issuer);
	job->call = GUARD_NOT_MADE;
	job->next_try_s = job->now_s + ISSUER_RETRY_MAX_S; /* should the store not answer */
	result = load(&w, e);
	if (result == 0 && job->kept != NULL) {
		enum intent_state state = job->kept->state;

		result = take_kept(&w) == 1 ? told(&w, state, e) : 0;
		if (result == 0)
			drop_kept(job);
	} else if (result == 0 && strcmp(w.row.ca, w.config->name) == 0) {
		result = call(&w, e);
		job->counted = result == 1;
		if (result == 1) {
			job->call = guard_call_of(&w);
			if (job->called != NULL)
				job->called(job);
			result = told(&w, w.row.state, e);
		}
	}
	work_clear(&w);
	return result;
}

/* Should the store not take it, it is unknown: somebody asks the CA, or an operator does. */
void
issuer_unsend(const struct issuer_job *job)
{
	struct intent_step step = { .id = job->intent_id, .from = INTENT_SENT, .to = INTENT_OPEN, .next_try_s = job->now_s,
		.now_s = job->now_s };
	struct err e;
	bool done;

	if (job->gateway->store_ops->intents->step(job->gateway->store, &step, &done, &e) != 0)
		log_rare(LOG_LEVEL_ERROR, "ca", "intent %lld was not sent, and could not be recorded so: %s", (long long)job->intent_id, e.text);
}
