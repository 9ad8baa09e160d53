/*
 * A stored request decided once more, because its certificate has come: the asset may have been stolen, the owner
 * gone, the policy changed since it was asked for.
 */
#include <stdio.h>
#include <string.h>

#include "gateway/core/enroll_internal.h"
#include "gateway/core/issuer_internal.h"
#include "gateway/core/replay.h"

#define ROUNDS_MAX 8

struct round {
	struct request_row row;
	struct buf csr;
	struct store_read *read;
	struct replay replay;
};

static void
round_clear(struct gateway *gateway, struct round *round)
{
	if (round->replay.attempt != NULL)
		round->replay.attempt->read = NULL;
	replay_close(&round->replay);
	gateway->store_ops->read_end(round->read);
	round->read = NULL;
	buf_free_secret(&round->csr);
}

static void
refuse(struct decision *why, const char *reason, const char *sentence)
{
	*why = (struct decision){ .outcome = OUTCOME_DENIED };
	(void)snprintf(why->reason, sizeof why->reason, "%s", reason);
	(void)snprintf(why->sentence, sizeof why->sentence, "%.*s", (int)sizeof why->sentence - 1, sentence);
}

/* The decision into *why; the attempt stays for recording. */
static int
decide_round(const struct issuer_job *job, const struct intent_row *intent, struct round *round, struct decision *why,
	struct err *e)
{
	int result = job->gateway->store_ops->read_begin(job->gateway->store, &round->read, e);

	if (result == 0)
		result = replay_load(job->gateway, round->read, intent->request_id, &round->row, &round->csr, e);
	if (result != 0)
		return -1;
	if (round->row.state != REQUEST_PENDING && round->row.state != REQUEST_APPROVED) {
		refuse(why, "request.state", "");
		(void)snprintf(why->sentence, sizeof why->sentence, "the request is %s by now",
			request_state_name(round->row.state));
		return 0;
	}
	result = replay_open(job->gateway, job->world, round->read, &round->row, buf_bytes(&round->csr), job->now_s,
		&round->replay, e);
	if (result == 0) {
		round->replay.attempt->finishing = true;
		round->replay.request.csr_mode = EST_CSR_STORED;
		result = replay_run(&round->replay, e);
	}
	if (result == 0)
		*why = round->replay.attempt->decision;
	else if (replay_is_verdict(e->code)) {
		refuse(why, err_code_name(e->code), e->text);
		result = 0;
	}
	return result;
}

/* 1: go round again, 0: *recorded, or *why; -1. */
static int
record_round(const struct intent_row *intent, struct round *round, struct ca_answer *answer, bool *recorded,
	struct decision *why, struct err *e)
{
	struct attempt *a = round->replay.attempt;
	enum store_recorded what = STORE_STALE;
	int result;

	a->read = NULL;
	a->gateway->store_ops->read_end(round->read);
	round->read = NULL;
	a->intent = *intent;
	a->intent_id = intent->id;
	a->secret_id = round->row.secret_id; /* what proved it is spent now */
	a->answer = *answer;
	result = attempt_record(a, REQUEST_ISSUED, &what, e);
	a->answer = (struct ca_answer){ 0 };
	if (result != 0)
		return -1;
	*recorded = what == STORE_RECORDED;
	if (what == STORE_SPENT)
		refuse(why, "secret.spent", "what proved it has been used by another request");
	return what == STORE_STALE || what == STORE_EXISTS;
}

static int
one_round(const struct issuer_job *job, const struct intent_row *intent, struct ca_answer *answer, bool *recorded,
	struct decision *why, struct err *e)
{
	struct round round = { 0 };
	int result = decide_round(job, intent, &round, why, e);

	if (result == 0 && why->outcome == OUTCOME_ALLOWED && answer != NULL)
		result = record_round(intent, &round, answer, recorded, why, e);
	round_clear(job->gateway, &round);
	return result;
}

int
issuer_finish(const struct issuer_job *job, const struct intent_row *intent, struct ca_answer *answer, bool *recorded,
	struct decision *why, struct err *e)
{
	int result = 1, i;

	*recorded = false;
	for (i = 0; i < ROUNDS_MAX && result == 1; i++)
		result = one_round(job, intent, answer, recorded, why, e);
	if (result == 1)
		return err_set(e, ERR_UPSTREAM, "the registry kept changing while a certificate was recorded");
	if (result == 0 && !*recorded && why->outcome != OUTCOME_DENIED)
		why->outcome = OUTCOME_DENIED; /* an approval that is asked for by now comes too late */
	return result;
}

int
issuer_still_allowed(const struct issuer_job *job, const struct intent_row *intent, bool *allowed, struct decision *why,
	struct err *e)
{
	bool recorded = false;
	int result = one_round(job, intent, NULL, &recorded, why, e);

	*allowed = result == 0 && why->outcome == OUTCOME_ALLOWED;
	return result;
}
