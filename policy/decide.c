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

void
text_vformat(char *out, size_t size, const char *fmt, va_list ap)
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
	text_vformat(out, size, fmt, ap);
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
	text_vformat(result->saw, sizeof result->saw, fmt, ap);
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
	text_vformat(run->out->sentence, sizeof run->out->sentence, fmt, ap);
	va_end(ap);
}

bool
has_one_asset(const struct decide_input *in)
{
	return in->asset_matches == 1 && in->asset != NULL && in->owner != NULL;
}

/* Nothing waives anything for an asset whose certificates are revoked with its state. */
const struct exception *
find_exception(const struct decide_input *in, unsigned used, unsigned waives)
{
	const struct exception *found = NULL;
	size_t i;

	if (!has_one_asset(in) || (unsigned)in->asset->state >= ASSET_STATES ||
	    asset_state_rules(in->asset->state)->on_entry == ENTRY_REVOKE)
		return NULL;
	for (i = 0; i < in->exception_count && i < EXCEPTIONS_MAX; i++) {
		if ((in->exceptions[i].waives & waives) == 0 || in->exceptions[i].expires_s <= in->now_s)
			continue;
		/* One that is used already costs no further use. */
		if ((used & 1u << i) != 0)
			return &in->exceptions[i];
		if (found == NULL)
			found = &in->exceptions[i];
	}
	return found;
}

void
rule_waive(struct decision_run *run, struct rule_result *result, const struct exception *exception, const char *why)
{
	run->out->exceptions_used |= 1u << (exception - run->in->exceptions);
	rule_saw(result, "waived by exception %lld (%s): %s", (long long)exception->id, exception->ticket, why);
	result->verdict = VERDICT_PASS;
}

void
rule_fail_unless_waived(struct decision_run *run, struct rule_result *result, unsigned waives, const char *fmt, ...)
{
	const struct exception *exception = find_exception(run->in, run->out->exceptions_used, waives);
	char why[sizeof run->out->sentence];
	va_list ap;

	va_start(ap, fmt);
	text_vformat(why, sizeof why, fmt, ap);
	va_end(ap);
	if (exception == NULL)
		rule_fail(run, result, "%s", why);
	else
		rule_waive(run, result, exception, why);
}

/* notAfter is as early as any of these wants it. */
static void
cut_validity(struct decision_run *run)
{
	const struct decide_input *in = run->in;
	struct cert_spec *spec = &run->out->spec;
	int64_t lifetime_s = run->out->judgement.lifetime_s;

	/* A certificate never outlives the contract it was issued under, ... */
	if (run->contract_runs && in->owner->contract_end_s != 0 && spec->not_after_s > in->owner->contract_end_s)
		spec->not_after_s = in->owner->contract_end_s;
	/* ... nor an owner that is leaving. */
	if (in->owner->status == OWNER_OFFBOARDING && !run->leaving_ended && in->offboarding_end_s != 0 &&
	    spec->not_after_s > in->offboarding_end_s)
		spec->not_after_s = in->offboarding_end_s;
	if (lifetime_s != 0 && lifetime_s < spec->not_after_s - in->now_s)
		spec->not_after_s = in->now_s + lifetime_s;
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
	cut_validity(run);
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
	const struct rule_judgement *judgement = &run->out->judgement;
	struct rule_result *r = rule_begin(run, "approval");
	const char *given = run->in->approved ? "approved" : "needed and not given";

	switch (run->in->label->approval) {
	case APPROVAL_NONE:
		if (!judgement->approve) {
			rule_saw(r, "not needed");
			rule_pass(r);
			return;
		}
		rule_saw(r, "%s; wanted by rule %s", given,
			policy_rules_at(run->in->rules, judgement->approve_by)->name);
		break;
	case APPROVAL_MANUAL:
		rule_saw(r, "%s", given);
		break;
	default:
		rule_fail(run, r, "the label's approval rule is unknown");
		return;
	}
	r->verdict = run->in->approved ? VERDICT_PASS : VERDICT_WAIT;
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
	run.one_asset = has_one_asset(in);
	run.contract_runs = run.one_asset &&
		(in->owner->contract_end_s == 0 || in->now_s <= in->owner->contract_end_s);
	run.leaving_ended = run.one_asset && in->owner->status == OWNER_OFFBOARDING && in->offboarding_end_s != 0 &&
		in->now_s > in->offboarding_end_s;
	decide_rules(in, &out->judgement);
	fill(&run);
	decide_proof(&run);
	decide_asset(&run);
	decide_policy(&run);
	decide_attest(&run);
	decide_renewal(&run);
	decide_csr(&run);
	rule_profile_fill(&run);
	decide_identity(&run);
	rule_approval(&run);
	conclude(&run);
}
