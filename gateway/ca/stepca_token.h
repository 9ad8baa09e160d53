/*
 * stepca_token.h - one-time tokens for smallstep's step-ca: JWTs (RFC 7519) signed with ES256. Inside gateway/ca only.
 *
 * Everything here may be called from any thread; a signer never changes.
 */
#ifndef GATEWAY_CA_STEPCA_TOKEN_H
#define GATEWAY_CA_STEPCA_TOKEN_H

#include <jansson.h>

#include "base/key.h"

#define STEPCA_KID_MAX 128
#define STEPCA_ID_MAX  65

struct stepca_signer {
	EVP_PKEY *key;            /* EC P-256, the provisioner's; borrowed */
	char kid[STEPCA_KID_MAX];
	uint8_t secret[32];       /* made from the key: see stepca_token_id() */
};

/* kid NULL: the key's thumbprint (RFC 7638), which is what step names keys by. ERR_MALFORMED: no P-256 key, a kid too long. */
MUST_USE int stepca_signer_init(struct stepca_signer *signer, EVP_PKEY *key, const char *kid, struct err *e);

/*
 * The jti of a request's token: always the same, so that a request which is sent again cannot issue twice, and known
 * to nobody else: step-ca notes a jti as used before it looks at the token's signature.
 */
MUST_USE int stepca_token_id(const struct stepca_signer *signer, const char *request_id, const char *generation,
	char out[STEPCA_ID_MAX], struct err *e);

/* The compact serialization (RFC 7515, section 3.1) appended to out. */
MUST_USE int stepca_token_sign(const struct stepca_signer *signer, const json_t *claims, struct buf *out, struct err *e);

#endif
