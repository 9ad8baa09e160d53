#include <stdarg.h>
#include <string.h>

#include "base/timefmt.h"
#include "policy/decide_rules.h"

/* What evidence is asked, in this order. */
enum question { QUESTION_VALID, QUESTION_FRESH, QUESTION_KEY, QUESTION_IDENTITY };
#define QUESTIONS 4
#define ASK(question) (1u << QUESTION_##question)

/*
 * A manufacturer's certificate and an MDM's word are about the device and come with the connection or with a
 * challenge that is good once: they say nothing of the request's key. A YubiKey's statement holds no nonce; that
 * the key it speaks of is at hand now is what the request's own signature shows.
 */
static const unsigned asked[ATTEST_METHODS] = {
	[ATTEST_IDEVID] = ASK(VALID),
	[ATTEST_TPM] = ASK(VALID) | ASK(FRESH) | ASK(KEY),
	[ATTEST_ANDROID] = ASK(VALID) | ASK(FRESH) | ASK(KEY),
	[ATTEST_YUBIKEY] = ASK(VALID) | ASK(KEY),
	[ATTEST_EAR] = ASK(VALID) | ASK(FRESH) | ASK(KEY),
	[ATTEST_MDM] = ASK(VALID),
};

static bool
is_asked(const struct attestation *a, enum question question)
{
	/* Whom it speaks of is the attester's setting. */
	if (question == QUESTION_IDENTITY)
		return a->identity_required;
	/* Of a method nobody knows everything is asked. */
	return (unsigned)a->method >= ATTEST_METHODS || (asked[a->method] & 1u << question) != 0;
}

static bool
has_ended(const struct decision_run *run, const struct attestation *a)
{
	return a->expires_s != 0 && run->in->now_s > a->expires_s;
}

static bool
answers(const struct decision_run *run, const struct attestation *a, enum question question)
{
	bool ask = is_asked(a, question);

	switch (question) {
	case QUESTION_VALID:
		return a->valid;
	case QUESTION_FRESH:
		return !has_ended(run, a) && (!ask || a->fresh);
	case QUESTION_KEY:
		/* The request's key is not the one that is certified when the key is made here. */
		return !ask || (a->key_bound && !run->in->csr->key_ignored);
	case QUESTION_IDENTITY:
		return !ask || a->of_asset;
	}
	return false;
}

/* The first question it fails; QUESTIONS: none. */
static unsigned
rank(const struct decision_run *run, const struct attestation *a)
{
	unsigned i;

	for (i = 0; i < QUESTIONS; i++)
		if (!answers(run, a, (enum question)i))
			break;
	return i;
}

static bool
came(const struct attestation *a)
{
	return a->valid || a->check_count != 0;
}

static bool
is_named(const struct rule_list *attesters, const char *name)
{
	size_t i;

	for (i = 0; i < attesters->count && i < RULE_LIST_MAX; i++)
		if (strcmp(attesters->at[i], name) == 0)
			return true;
	return false;
}

/* The evidence that meets each demand, or comes nearest to it; NULL: none came. */
struct picks {
	const struct attestation *of[RULE_DEMANDS_MAX];
};

static const struct attestation *
pick(const struct decision_run *run, const struct rule_list *attesters)
{
	const struct attestation *best = NULL;
	size_t i;

	for (i = 0; i < run->in->attestation_count; i++) {
		const struct attestation *a = &run->in->attestations[i];

		if (came(a) && is_named(attesters, a->attester) && (best == NULL || rank(run, a) > rank(run, best)))
			best = a;
	}
	return best;
}

static void append(char *out, size_t size, const char *fmt, ...) PRINTF(3, 4);

static void
append(char *out, size_t size, const char *fmt, ...)
{
	size_t used = strlen(out);
	char more[RULE_TEXT_MAX * 2 + 32];
	va_list ap;

	va_start(ap, fmt);
	text_vformat(more, sizeof more, fmt, ap);
	va_end(ap);
	text_format(out + used, size - used, "%s", more);
}

static void
saw_demands(struct decision_run *run, struct rule_result *r)
{
	const struct rule_judgement *judgement = &run->out->judgement;
	size_t required = 0, shown = 0, i;

	for (i = 0; i < judgement->demand_count; i++)
		required += judgement->demands[i].required ? 1 : 0;
	rule_saw(r, "required=%zu preferred=%zu came=", required, judgement->demand_count - required);
	for (i = 0; i < run->in->attestation_count; i++)
		if (came(&run->in->attestations[i]))
			append(r->saw, sizeof r->saw, "%s%s", shown++ == 0 ? "" : ",",
				run->in->attestations[i].attester);
	if (shown == 0)
		append(r->saw, sizeof r->saw, "none");
}

static void
fail_present(struct decision_run *run, struct rule_result *r, const struct rule_demand *missing)
{
	char names[RULE_LIST_MAX * RULE_TEXT_MAX] = "";
	size_t i;

	for (i = 0; i < missing->attesters->count && i < RULE_LIST_MAX; i++)
		append(names, sizeof names, "%s%s", i == 0 ? "" : " or ", missing->attesters->at[i]);
	rule_fail_unless_waived(run, r, EXCEPTION_ATTESTATION, "rule %s demands evidence by %s, and none came",
		policy_rules_at(run->in->rules, missing->rule)->name, names);
}

static void
rule_present(struct decision_run *run, const struct picks *picks)
{
	const struct rule_judgement *judgement = &run->out->judgement;
	struct rule_result *r = rule_begin(run, "attestation.present");
	size_t i;

	saw_demands(run, r);
	if (judgement->demand_count == 0) {
		r->verdict = VERDICT_SKIP;
		return;
	}
	for (i = 0; i < judgement->demand_count; i++)
		if (judgement->demands[i].required && picks->of[i] == NULL) {
			fail_present(run, r, &judgement->demands[i]);
			return;
		}
	rule_pass(r);
}

static void
why_invalid(const struct attestation *a, char *out, size_t size)
{
	size_t i;

	for (i = 0; i < a->check_count && i < ATTEST_CHECKS_MAX; i++)
		if (!a->checks[i].passed) {
			text_format(out, size, "is not valid: %s: %s", a->checks[i].name, a->checks[i].saw);
			return;
		}
	text_format(out, size, "is not valid");
}

static void
why(const struct decision_run *run, const struct attestation *a, enum question question, char *out, size_t size)
{
	char end[TIME_TEXT_MAX];

	switch (question) {
	case QUESTION_VALID:
		why_invalid(a, out, size);
		return;
	case QUESTION_FRESH:
		time_text(a->expires_s, end);
		if (has_ended(run, a))
			text_format(out, size, "ended on %s", end);
		else
			text_format(out, size, "does not answer a nonce of ours");
		return;
	case QUESTION_KEY:
		text_format(out, size, "%s", run->in->csr->key_ignored ?
			"cannot speak of a key that is made here" : "does not speak of the request's key");
		return;
	case QUESTION_IDENTITY:
		text_format(out, size, "does not speak of %s", run->in->asset->tag);
		return;
	}
	text_format(out, size, "does not answer");
}

static void
rule_question(struct decision_run *run, const struct picks *picks, const char *name, enum question question)
{
	const struct rule_judgement *judgement = &run->out->judgement;
	const struct attestation *bad = NULL;
	struct rule_result *r = rule_begin(run, name);
	char text[sizeof run->out->sentence];
	bool ask = false;
	size_t i;

	for (i = 0; i < judgement->demand_count; i++) {
		const struct attestation *a = picks->of[i];
		bool good;

		if (a == NULL)
			continue;
		good = answers(run, a, question);
		ask = ask || is_asked(a, question) || !good;
		append(r->saw, sizeof r->saw, "%s%s=%s", r->saw[0] == '\0' ? "" : " ", a->attester,
			!good ? "no" : is_asked(a, question) ? "yes" : "not asked");
		if (!good && bad == NULL)
			bad = a;
	}
	if (r->saw[0] == '\0')
		rule_skip(r, "no evidence that a rule asks for");
	else if (bad != NULL) {
		why(run, bad, question, text, sizeof text);
		rule_fail_unless_waived(run, r, EXCEPTION_ATTESTATION, "the evidence judged by %s %s", bad->attester,
			text);
	} else
		r->verdict = ask ? VERDICT_PASS : VERDICT_SKIP;
}

void
decide_attest(struct decision_run *run)
{
	const struct rule_judgement *judgement = &run->out->judgement;
	struct picks picks = { .of = { NULL } };
	size_t i;

	for (i = 0; i < judgement->demand_count; i++)
		picks.of[i] = pick(run, judgement->demands[i].attesters);
	rule_present(run, &picks);
	rule_question(run, &picks, "attestation.valid", QUESTION_VALID);
	rule_question(run, &picks, "attestation.fresh", QUESTION_FRESH);
	rule_question(run, &picks, "attestation.key", QUESTION_KEY);
	rule_question(run, &picks, "attestation.identity", QUESTION_IDENTITY);
}
