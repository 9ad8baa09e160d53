/*
 * rule_limits.h - how many certificates a rule has let through lately, by the rule's name.
 *
 * In memory: a reload goes on counting, a start begins anew. Time is counted
 * in 64 parts of the rule's window, so that a certificate counts for at most
 * a 32nd of it longer than it should, never shorter. Every function may be called from any thread.
 */
#ifndef GATEWAY_CORE_RULE_LIMITS_H
#define GATEWAY_CORE_RULE_LIMITS_H

#include "policy/rules.h"

struct rule_limits;
MUST_USE int rule_limits_new(struct rule_limits **out, struct err *e);
void rule_limits_free(struct rule_limits *limits); /* NULL is allowed */

/* Is there room for one more? limits NULL, or a rule without a limit: always. A full table: no. */
bool rule_limits_room(struct rule_limits *limits, const struct policy_rule *rule, int64_t now_s);
/* Takes the room for one; false when there is none. */
bool rule_limits_take(struct rule_limits *limits, const struct policy_rule *rule, int64_t now_s);
/* Gives one back that was taken at now_s and not used. */
void rule_limits_give_back(struct rule_limits *limits, const struct policy_rule *rule, int64_t now_s);

#endif
