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
/* Gives one back that was taken at now_s and not used. What has left the window by now is nobody's any more. */
void rule_limits_give_back(struct rule_limits *limits, const struct policy_rule *rule, int64_t now_s);

/*
 * What was taken for a request whose end comes later, by other hands: held until somebody tells the end. Of what a former life took
 * this one knows nothing, and counts nothing: nothing is given back twice.
 */
#define LIMITS_HELD_MAX 65536 /* past it they are not held, and so not given back */
struct rule_limits_key {
	const char *asset, *label;
	const uint8_t *csr_sha256; /* 32 octets */
};
/* rules: taken at now_s. false: nothing is held. */
bool rule_limits_hold(struct rule_limits *limits, const struct rule_limits_key *key, const struct policy_rule *const *rules,
	size_t count, int64_t now_s);
/* The end of one that is held by this key, if there is one. used: it came to a certificate; else what was taken is given back. */
void rule_limits_settle(struct rule_limits *limits, const struct rule_limits_key *key, bool used);

#endif
