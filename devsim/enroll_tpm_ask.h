/*
 * enroll_tpm_ask.h - questions before the request: JSON over the open connection.
 *
 * Internal to devsim enroll with a TPM.
 */
#ifndef DEVSIM_ENROLL_TPM_ASK_H
#define DEVSIM_ENROLL_TPM_ASK_H

#include <jansson.h>

#include "base/timefmt.h"
#include "devsim/enroll.h"

/*
 * Send body (NULL: none, a GET) and take the answer, an object that is the caller's. When the server says
 * no, run->tpm.refused says what that means. Connects again if the server has closed the connection.
 */
MUST_USE int enroll_tpm_ask(struct enroll_run *run, enum est_op op, const json_t *body, const char *type, json_t **out,
	struct err *e);
/* A member in base64url, appended. ERR_MALFORMED when it is missing. */
MUST_USE int enroll_tpm_octets(const json_t *object, const char *key, struct buf *out, struct err *e);
/* ... and the reverse. */
MUST_USE int enroll_tpm_set(json_t *object, const char *key, struct bytes octets, struct err *e);

#endif
