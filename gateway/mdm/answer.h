/*
 * answer.h - what services answer, read with suspicion.
 *
 * Pure: octets in, structures out. Every document is at most MDM_ANSWER_MAX
 * octets of JSON (RFC 8259), an object, nested at most JSON_DEPTH_MAX deep,
 * without a key twice. Anything else, and any field of another type than
 * expected, is ERR_UPSTREAM: no verdict was given. Outputs are untouched on
 * failure. Neither errors nor verdicts hold the challenge.
 */
#ifndef GATEWAY_MDM_ANSWER_H
#define GATEWAY_MDM_ANSWER_H

#include "gateway/mdm/mdm.h"

#define MDM_TOKEN_MAX      12000 /* octets of an access token */
#define MDM_TOKEN_S        300   /* lifetime of one that does not say */
#define MDM_TOKEN_S_MAX    86400
#define MDM_ENDPOINT_MAX   1024

/*
 * Intune: {"code": "...", "errorDescription": "..."}. "Success" allows, any other
 * code refuses. challenge: what must not come back in a text; NULL: nothing.
 */
MUST_USE int mdm_answer_intune(struct bytes body, const char *challenge, struct mdm_verdict *out, struct err *e);

/* Webhook: {"allow": bool, "data": {"device": "..."}, "error": {"code": "...", "message": "..."}}. */
MUST_USE int mdm_answer_webhook(struct bytes body, const char *challenge, struct mdm_verdict *out, struct err *e);

/* OAuth 2.0 (RFC 6749, section 5.1): the access token appended to out, and how long it lasts. */
MUST_USE int mdm_answer_token(struct bytes body, struct buf *out, int64_t *lifetime_s, struct err *e);

/* OAuth 2.0 (RFC 6749, section 5.2): "invalid_client: ..." escaped, without secret; "" when it is no such answer. */
void mdm_answer_token_error(struct bytes body, const char *secret, char out[MDM_TEXT_MAX]);

/*
 * Graph: {"value": [{"providerName": "...", "uri": "..."}, ...]}. The https:// URI of
 * the SCEP validation service, whose host must be domain or end in "."domain.
 */
MUST_USE int mdm_answer_endpoint(struct bytes body, const char *domain, bool allow_plain, struct buf *out, struct err *e);

#endif
