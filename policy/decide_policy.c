#include <string.h>

#include "base/timefmt.h"
#include "policy/decide_rules.h"

#define NAMES_MAX 120 /* of the rules that matched, as shown */

/* A label's certificate that was got at a laxer label first would be one without that label's demands. */
static bool
is_new_to_label(const struct decide_input *in)
{
	if (in->op != POLICY_RENEW || in->label == NULL ||
	    (in->proof.kind != PROOF_OWN && in->proof.kind != PROOF_REGISTRAR))
		return false;
	return strcmp(in->proof.cert_label, in->label->name) != 0;
}

static bool
is_matched(const struct rule_judgement *judgement, size_t rule)
{
	size_t i;

	for (i = 0; i < judgement->matched_count && i < RULE_MATCHES_MAX; i++)
		if (judgement->matched[i] == rule)
			return true;
	return false;
}

/* false: there are too many. */
static bool
add_demand(struct rule_judgement *out, const struct rule_demand *demand)
{
	size_t i;

	for (i = 0; i < out->demand_count; i++)
		if (out->demands[i].rule == demand->rule)
			return true;
	if (out->demand_count == RULE_DEMANDS_MAX)
		return false;
	out->demands[out->demand_count++] = *demand;
	return true;
}

static void
add_denial(struct rule_judgement *out, const struct rule_judgement *more, bool crowded)
{
	if (out->result == RULES_DENY || (more->result != RULES_DENY && !crowded))
		return;
	out->result = RULES_DENY;
	out->decided_by = more->decided_by;
	out->limited = more->limited;
	out->crowded = more->crowded || crowded;
}

/* Both hold: what either denies is denied, what either asks is asked. */
static void
add_judgement(struct rule_judgement *out, const struct rule_judgement *more)
{
	bool room = true;
	size_t i;

	for (i = 0; i < more->demand_count; i++)
		room = add_demand(out, &more->demands[i]) && room;
	add_denial(out, more, !room);
	if (!out->waived && more->waived) {
		out->waived = true;
		out->waived_by = more->waived_by;
		out->waived_limit = more->waived_limit;
	}
	if (!out->approve && more->approve) {
		out->approve = true;
		out->approve_by = more->approve_by;
	}
	if (more->lifetime_s != 0 && (out->lifetime_s == 0 || more->lifetime_s < out->lifetime_s))
		out->lifetime_s = more->lifetime_s;
	for (i = 0; i < more->matched_count && i < RULE_MATCHES_MAX; i++) {
		if (is_matched(out, more->matched[i]))
			continue;
		if (out->matched_count < RULE_MATCHES_MAX)
			out->matched[out->matched_count] = more->matched[i];
		out->matched_count++;
	}
	if (more->looked_at > out->looked_at)
		out->looked_at = more->looked_at;
}

void
decide_rules(const struct decide_input *in, struct rule_judgement *out)
{
	struct rule_facts facts = in->facts;
	struct rule_judgement first;

	*out = (struct rule_judgement){ .result = RULES_NONE };
	if (!has_one_asset(in))
		return;
	facts.label = in->label == NULL ? NULL : in->label->name;
	facts.op = in->op;
	facts.proof = (int)in->proof.kind;
	facts.asset = in->asset;
	facts.owner = in->owner;
	facts.now_s = in->now_s;
	facts.waive = find_exception(in, 0, EXCEPTION_RULES) != NULL;
	policy_rules_judge(in->rules, &facts, out);
	if (out->result == RULES_NONE || !is_new_to_label(in))
		return;
	facts.op = POLICY_ENROLL;
	policy_rules_judge(in->rules, &facts, &first);
	add_judgement(out, &first);
}

/* Why the rule at this place denies; past the last one nothing allows. */
static void
denial_text(const struct decision_run *run, size_t by, bool limit, char *out, size_t size)
{
	const struct policy_rule *rule = policy_rules_at(run->in->rules, by);
	char per[TIME_TEXT_MAX];

	if (rule == NULL)
		text_format(out, size, "no rule allows it");
	else if (limit) {
		duration_text(rule->per_s, per);
		text_format(out, size, "the limit of rule %s is reached: %lld certificates in %s", rule->name,
			(long long)rule->count, per);
	} else if (rule->text[0] != '\0')
		text_format(out, size, "%s", rule->text);
	else
		text_format(out, size, "denied by rule %s", rule->name);
}

/* "a, b, c"; what does not fit is counted. */
static void
matched_text(const struct decision_run *run, char out[NAMES_MAX])
{
	const struct rule_judgement *judgement = &run->out->judgement;
	size_t used = 0, i;

	out[0] = '\0';
	for (i = 0; i < judgement->matched_count; i++) {
		const struct policy_rule *rule = i < RULE_MATCHES_MAX ?
			policy_rules_at(run->in->rules, judgement->matched[i]) : NULL;
		char name[RULE_TEXT_MAX + 2];

		text_format(name, sizeof name, "%s%s", i == 0 ? "" : ", ", rule == NULL ? "" : rule->name);
		/* 16: room for the count of those that are left out. */
		if (rule == NULL || used + strlen(name) + 16 >= NAMES_MAX) {
			text_format(out + used, NAMES_MAX - used, " and %zu more", judgement->matched_count - i);
			return;
		}
		text_format(out + used, NAMES_MAX - used, "%s", name);
		used += strlen(name);
	}
}

static void
saw_rules(struct decision_run *run, struct rule_result *r)
{
	const struct rule_judgement *judgement = &run->out->judgement;
	const struct policy_rule *rule = policy_rules_at(run->in->rules, judgement->decided_by);
	const char *what = judgement->result == RULES_ALLOW ? "allowed" : "denied";
	char names[NAMES_MAX];

	matched_text(run, names);
	rule_saw(r, "%s by %s%s; matched %s%s", what, rule == NULL ? "default" : "rule ",
		rule == NULL ? "" : rule->name, judgement->matched_count == 0 ? "none" : "", names);
}

void
decide_policy(struct decision_run *run)
{
	const struct rule_judgement *judgement = &run->out->judgement;
	struct rule_result *r = rule_begin(run, "policy.rules");
	const struct exception *exception;
	char why[sizeof run->out->sentence];

	if (judgement->result == RULES_NONE) {
		rule_skip(r, run->one_asset ? "there are no rules" : "no asset");
		return;
	}
	saw_rules(run, r);
	if (judgement->crowded)
		rule_fail(run, r, "more than %d rules demand evidence at once", RULE_DEMANDS_MAX);
	else if (judgement->result == RULES_DENY) {
		denial_text(run, judgement->decided_by, judgement->limited, why, sizeof why);
		rule_fail(run, r, "%s", why);
	} else if (judgement->waived) {
		denial_text(run, judgement->waived_by, judgement->waived_limit, why, sizeof why);
		exception = find_exception(run->in, run->out->exceptions_used, EXCEPTION_RULES);
		if (exception == NULL)
			rule_fail(run, r, "%s", why);
		else
			rule_waive(run, r, exception, why);
	} else
		rule_pass(r);
}

static const char *
did(enum rule_action action)
{
	switch (action) {
	case RULE_REQUIRE:
		return "demands evidence";
	case RULE_PREFER:
		return "asks for evidence";
	case RULE_APPROVE:
		return "wants an approval";
	case RULE_ALLOW:
		return "allows";
	case RULE_DENY:
		break;
	}
	return "denies";
}

bool
decision_rule(const struct decision *decision, const struct policy_rules *rules, size_t i, struct rule_told *out)
{
	const struct rule_judgement *judgement = &decision->judgement;
	size_t at = i < judgement->matched_count && i < RULE_MATCHES_MAX ? judgement->matched[i] : 0;
	const struct policy_rule *rule;

	if (rules == NULL || judgement->result == RULES_NONE || i >= judgement->matched_count || i >= RULE_MATCHES_MAX)
		return false;
	rule = policy_rules_at(rules, at);
	if (rule == NULL)
		return false;
	text_format(out->name, sizeof out->name, "rule %s", rule->name);
	out->verdict = rule->action == RULE_DENY ? VERDICT_FAIL : VERDICT_PASS;
	out->did = did(rule->action);
	if (judgement->result == RULES_DENY && judgement->limited && judgement->decided_by == at) {
		out->verdict = VERDICT_FAIL;
		out->did = "its limit is reached";
	} else if (judgement->waived && judgement->waived_by == at) {
		out->verdict = VERDICT_SKIP;
		out->did = judgement->waived_limit ? "its limit is reached, and waived" : "denies, and is waived";
	}
	return true;
}
