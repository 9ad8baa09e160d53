#include "policy/decide.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/timefmt.h"
#include "policy/decide_rules.h"

const char *
outcome_name(enum outcome outcome)
{
	switch (outcome) {
	case OUTCOME_DENIED:
		return "denied";
	case OUTCOME_PENDING:
		return "pending";
	case OUTCOME_ALLOWED:
		return "allowed";
	}
	return "unknown";
}

const char *
verdict_name(enum verdict verdict)
{
	switch (verdict) {
	case VERDICT_PASS:
		return "pass";
	case VERDICT_FAIL:
		return "fail";
	case VERDICT_SKIP:
		return "skip";
	case VERDICT_WAIT:
		return "wait";
	}
	return "unknown";
}

static void format(char *out, size_t size, const char *fmt, va_list ap) PRINTF(3, 0);

static void
format(char *out, size_t size, const char *fmt, va_list ap)
{
	int n = vsnprintf(out, size, fmt, ap);
	size_t end = size - 1;

	if (n < 0) {
		out[0] = '\0';
		return;
	}
	if ((size_t)n < size)
		return;
	while (end > 0 && ((unsigned char)out[end - 1] & 0xc0) == 0x80)
		end--;
	/* out[end - 1] leads the last character, which may be cut short. */
	if (end > 0 && (unsigned char)out[end - 1] >= 0x80)
		out[end - 1] = '\0';
}

void
text_format(char *out, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format(out, size, fmt, ap);
	va_end(ap);
}

struct rule_result *
rule_begin(struct decision_run *run, const char *rule)
{
	struct decision *out = run->out;
	/* The rules are fewer than the places; a later rule too many overwrites the last and has denied. */
	size_t at = out->rule_count < DECISION_RULES_MAX ? out->rule_count++ : DECISION_RULES_MAX - 1;

	out->rules[at].rule = rule;
	out->rules[at].verdict = VERDICT_FAIL;
	out->rules[at].saw[0] = '\0';
	return &out->rules[at];
}

void
rule_saw(struct rule_result *result, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format(result->saw, sizeof result->saw, fmt, ap);
	va_end(ap);
}

void
rule_pass(struct rule_result *result)
{
	result->verdict = VERDICT_PASS;
}

void
rule_skip(struct rule_result *result, const char *why)
{
	result->verdict = VERDICT_SKIP;
	text_format(result->saw, sizeof result->saw, "%s", why);
}

void
rule_fail(struct decision_run *run, struct rule_result *result, const char *fmt, ...)
{
	va_list ap;

	result->verdict = VERDICT_FAIL;
	if (run->out->reason[0] != '\0')
		return;
	text_format(run->out->reason, sizeof run->out->reason, "%s", result->rule);
	va_start(ap, fmt);
	format(run->out->sentence, sizeof run->out->sentence, fmt, ap);
	va_end(ap);
}

/* The templates are filled early, because csr.names compares with the result; profile.fill reports it. */
static void
fill(struct decision_run *run)
{
	const struct decide_input *in = run->in;
	struct cert_spec *spec = &run->out->spec;

	if (!run->one_asset)
		return;
	if (profile_fill(in->profile, in->asset, in->owner, in->now_s, spec, &run->fill_err) != 0)
		return;
	/* A certificate never outlives the contract it was issued under. */
	if (run->contract_runs && in->owner->contract_end_s != 0 && spec->not_after_s > in->owner->contract_end_s)
		spec->not_after_s = in->owner->contract_end_s;
	run->filled = true;
}

static void
rule_profile_fill(struct decision_run *run)
{
	struct rule_result *r = rule_begin(run, "profile.fill");
	const struct cert_spec *spec = &run->out->spec;
	char until[TIME_TEXT_MAX];

	if (!run->one_asset) {
		rule_skip(r, "no asset");
		return;
	}
	if (!run->filled) {
		rule_saw(r, "%s", run->fill_err.text);
		rule_fail(run, r, "profile %s cannot be filled: %s", run->in->profile->name, run->fill_err.text);
		return;
	}
	time_text(spec->not_after_s, until);
	rule_saw(r, "profile=%s attributes=%zu sans=%zu until=%s", run->in->profile->name, spec->rdn_count,
		spec->san_count, until);
	rule_pass(r);
}

static void
rule_approval(struct decision_run *run)
{
	struct rule_result *r = rule_begin(run, "approval");

	switch (run->in->label->approval) {
	case APPROVAL_NONE:
		rule_saw(r, "not needed");
		rule_pass(r);
		return;
	case APPROVAL_MANUAL:
		rule_saw(r, run->in->approved ? "approved" : "needed and not given");
		r->verdict = run->in->approved ? VERDICT_PASS : VERDICT_WAIT;
		return;
	}
	rule_fail(run, r, "the label's approval rule is unknown");
}

static bool
any(const struct decision *decision, enum verdict verdict)
{
	size_t i;

	for (i = 0; i < decision->rule_count; i++)
		if (decision->rules[i].verdict == verdict)
			return true;
	return false;
}

static void
conclude(struct decision_run *run)
{
	struct decision *out = run->out;
	const struct decide_input *in = run->in;

	if (any(out, VERDICT_FAIL) || !run->one_asset || !run->filled) {
		out->outcome = OUTCOME_DENIED;
		if (out->reason[0] == '\0') {
			text_format(out->reason, sizeof out->reason, "internal");
			text_format(out->sentence, sizeof out->sentence, "a rule did not rule");
		}
		out->spec = (struct cert_spec){ .rdn_count = 0 };
		return;
	}
	if (any(out, VERDICT_WAIT)) {
		out->outcome = OUTCOME_PENDING;
		text_format(out->reason, sizeof out->reason, "approval");
		text_format(out->sentence, sizeof out->sentence, "%s waits for an operator's approval",
			in->asset->tag);
		return;
	}
	out->outcome = OUTCOME_ALLOWED;
	text_format(out->reason, sizeof out->reason, "ok");
	text_format(out->sentence, sizeof out->sentence, "%s may have a certificate of profile %s", in->asset->tag,
		in->profile->name);
}

void
decide(const struct decide_input *in, struct decision *out)
{
	struct decision_run run = { .in = in, .out = out };

	*out = (struct decision){ .outcome = OUTCOME_DENIED };
	if (in->label == NULL || in->profile == NULL || in->csr == NULL) {
		rule_fail(&run, rule_begin(&run, "label.operation"), "there is no label, profile or request");
		return;
	}
	run.one_asset = in->asset_matches == 1 && in->asset != NULL && in->owner != NULL;
	run.contract_runs = run.one_asset &&
		(in->owner->contract_end_s == 0 || in->now_s <= in->owner->contract_end_s);
	fill(&run);
	decide_proof(&run);
	decide_asset(&run);
	decide_renewal(&run);
	decide_csr(&run);
	rule_profile_fill(&run);
	decide_identity(&run);
	rule_approval(&run);
	conclude(&run);
}
