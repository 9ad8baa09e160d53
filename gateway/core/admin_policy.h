/*
 * admin_policy.h - one made-up request, decided: what `enrollctl policy test` runs line by line.
 */
#ifndef GATEWAY_CORE_ADMIN_POLICY_H
#define GATEWAY_CORE_ADMIN_POLICY_H

#include <jansson.h>

#include "gateway/core/world.h"
#include "policy/decide.h"

/*
 * fields: texts by name, as in enrollctl(1); *expected and *reason ("": any) are what the line expects. ERR_MALFORMED
 * names the field.
 */
MUST_USE int made_up_decide(const struct world *world, const json_t *fields, int64_t now_s, struct decision *out,
	enum outcome *expected, const char **reason, struct err *e);

#endif
