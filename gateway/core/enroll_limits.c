/*
 * Rules with a limit: which let this request through, and one certificate less for each when the CA is asked.
 */
#include "gateway/core/enroll_internal.h"
#include "gateway/core/rule_limits.h"

bool
attempt_room(void *attempt, size_t rule)
{
	struct attempt *a = attempt;
	size_t i;

	/* The same certificate once more is none more. */
	if (a->replay || a->afresh != NULL)
		return true;
	for (i = 0; i < a->limited_count && a->limited[i] != rule; i++)
		;
	if (i == RULE_MATCHES_MAX)
		return false;
	a->limited[i] = rule;
	if (i == a->limited_count)
		a->limited_count++;
	return rule_limits_room(a->gateway->rule_limits, policy_rules_at(a->world->policy, rule), a->request->now_s);
}

bool
attempt_take_limits(struct attempt *a)
{
	/* An exception lets one through past a full limit: then only those with room are counted. */
	bool waived = a->decision.judgement.waived;
	size_t i;

	a->limited_taken = 0;
	for (i = 0; i < a->limited_count; i++) {
		const struct policy_rule *rule = policy_rules_at(a->world->policy, a->limited[i]);

		if (rule_limits_take(a->gateway->rule_limits, rule, a->request->now_s))
			a->limited[a->limited_taken++] = a->limited[i];
		else if (!waived) {
			attempt_give_back_limits(a);
			return false;
		}
	}
	return true;
}

void
attempt_give_back_limits(struct attempt *a)
{
	for (; a->limited_taken > 0; a->limited_taken--)
		rule_limits_give_back(a->gateway->rule_limits,
			policy_rules_at(a->world->policy, a->limited[a->limited_taken - 1]), a->request->now_s);
}
