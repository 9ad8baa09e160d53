/*
 * spec_json.h - what was approved for a certificate, as text that the store keeps with an intent, and back.
 */
#ifndef GATEWAY_CORE_SPEC_JSON_H
#define GATEWAY_CORE_SPEC_JSON_H

#include "policy/profile.h"

/* A specification that holds everything itself: the spec's eku points into it, so it is not copied. */
struct kept_spec {
	struct cert_spec spec;
	char eku[PROFILE_NAMES_MAX][64];
};

MUST_USE int spec_to_json(const struct cert_spec *spec, struct buf *out, struct err *e);
/* ERR_BUG: it is not what spec_to_json() wrote. */
MUST_USE int spec_from_json(struct bytes json, struct kept_spec *out, struct err *e);

#endif
