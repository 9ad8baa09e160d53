/*
 * enroll_question.h - what an external verifier is asked about one request, and what it said.
 */
#ifndef GATEWAY_CORE_ENROLL_QUESTION_H
#define GATEWAY_CORE_ENROLL_QUESTION_H

#include "gateway/core/enroll_internal.h"

enum question_state {
	QUESTION_ANSWERED, /* out is filled */
	QUESTION_ASK,      /* attempt_ask_verifier() first */
	QUESTION_FAILED,   /* *e */
};

/*
 * A statement for the attester of this number. One whose nonce is not good is judged here, without a call. At most
 * one question is asked for a request; while explaining none is.
 */
enum question_state question_prepare(struct attempt *a, size_t attester, struct bytes stmt, struct nonce_asker *asker,
	struct attestation *out, struct err *e);

#endif
