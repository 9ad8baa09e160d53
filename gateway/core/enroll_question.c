/*
 * An external verifier is asked between two rounds, without a snapshot, as an
 * MDM is: without its answer nothing is issued.
 */
#include "gateway/core/enroll_question.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/asn1t.h>
#include <openssl/err.h>

#include "gateway/core/metrics.h"

struct question {
	size_t attester;
	struct buf nonce, evidence;
	bool answered;
	struct attestation answer;
};

void
attempt_question_free(struct question *question)
{
	if (question == NULL)
		return;
	buf_free(&question->nonce);
	buf_free(&question->evidence);
	free(question);
}

static bool
append_octets(const ASN1_TYPE *value, struct buf *out)
{
	if (value == NULL || value->type != V_ASN1_OCTET_STRING)
		return false;
	buf_append(out, ASN1_STRING_get0_data(value->value.octet_string),
		(size_t)ASN1_STRING_length(value->value.octet_string));
	return !buf_failed(out);
}

int
question_parse(struct bytes stmt, struct buf *nonce, struct buf *evidence, struct err *e)
{
	const uint8_t *at = stmt.at;
	ASN1_SEQUENCE_ANY *parts = stmt.len > EVIDENCE_OCTETS_MAX ? NULL : d2i_ASN1_SEQUENCE_ANY(NULL, &at, (long)stmt.len);
	bool good = parts != NULL && at == stmt.at + stmt.len && sk_ASN1_TYPE_num(parts) == 2 &&
		append_octets(sk_ASN1_TYPE_value(parts, 0), nonce) && append_octets(sk_ASN1_TYPE_value(parts, 1), evidence);

	sk_ASN1_TYPE_pop_free(parts, ASN1_TYPE_free);
	ERR_clear_error();
	if (!good)
		return err_set(e, ERR_MALFORMED, "the statement is not a SEQUENCE of two OCTET STRINGs, nonce and evidence");
	if (nonce->len > QUESTION_NONCE_MAX || evidence->len == 0 || evidence->len > VERIFIER_EVIDENCE_MAX)
		return err_set(e, ERR_MALFORMED, "a nonce of %zu octets and evidence of %zu", nonce->len, evidence->len);
	return 0;
}

enum question_state
question_prepare(struct attempt *a, size_t attester, struct bytes stmt, struct nonce_asker *asker,
	struct attestation *out, struct err *e)
{
	struct question *q = a->question;

	if (q != NULL && q->attester != attester)
		return QUESTION_ANSWERED; /* there was nothing for this one */
	if (q == NULL) {
		a->question = q = calloc(1, sizeof *q);
		if (q == NULL) {
			(void)err_set(e, ERR_NOMEM, "no memory for a question");
			return QUESTION_FAILED;
		}
		q->attester = attester;
		if (question_parse(stmt, &q->nonce, &q->evidence, e) != 0)
			return QUESTION_FAILED;
	}
	/* In each round: the nonce may have been taken meanwhile. */
	if (!attempt_is_nonce(asker, buf_bytes(&q->nonce))) {
		if (asker->failed)
			*e = asker->e;
		(void)attest_check(out, "ear.nonce", false, "%s", asker->why);
		attest_conclude(out);
		return asker->failed ? QUESTION_FAILED : QUESTION_ANSWERED;
	}
	if (a->explaining) {
		(void)attest_check(out, "ear.asked", false, "the verifier is not asked for an explanation");
		attest_conclude(out);
		return QUESTION_ANSWERED;
	}
	if (!q->answered)
		return QUESTION_ASK;
	*out = q->answer;
	return QUESTION_ANSWERED;
}

static int
ask(struct attempt *a, struct question *q, struct err *e)
{
	const struct config_attester *config = &a->world->config->attesters[q->attester];
	const struct verifier_evidence evidence = {
		.octets = buf_bytes(&q->evidence),
		.media_type = config->media_type,
		.nonce = buf_bytes(&q->nonce),
		.spki = a->csr->spki,
	};
	int result;

	if (!attempt_may_call(a->gateway))
		return err_set(e, ERR_UPSTREAM, "verifier %s: %d calls are under way", config->name, a->gateway->mdm_calls_max);
	result = verifier_ask(a->world->attesters[q->attester].verifier, &evidence, a->request->now_s, &q->answer, e);
	attempt_called(a->gateway);
	atomic_store(&a->world->attesters[q->attester].answered, result == 0 ? 1 : -1);
	return result == 0 ? 0 : err_prefix(e, "verifier %s", config->name);
}

int
attempt_ask_verifier(struct attempt *a, struct err *e)
{
	if (a->question == NULL || a->question->answered)
		return err_set(e, ERR_BUG, "there is nothing to ask a verifier");
	if (ask(a, a->question, e) != 0) {
		metric_add(METRIC_VERIFIER_FAILED_TOTAL, 1);
		return -1;
	}
	a->question->answered = true;
	return 0;
}
