#include "policy/rules_internal.h"

#define NO_LABEL "(none)" /* as the audit shows it */

/* The facts, made ready to be compared. */
struct subject {
	struct folded texts[RULE_FIELDS];
	struct moment moment;
	bool has_address;
	struct address address;
};

/* One walk through the rules. */
struct walk {
	const struct policy_rules *rules;
	const struct rule_facts *facts;
	const struct subject *subject;
	struct rule_judgement *out;
	/* What is asked of 64 rules at once. */
	const uint64_t *bits[RULE_BITS];
	const uint64_t *base[RULE_FIELDS];
	const struct posting *posting[RULE_FIELDS], *posting_end[RULE_FIELDS];
};

static void
make_subject(const struct policy_rules *rules, const struct rule_facts *facts, struct subject *out)
{
	const struct asset *asset = facts->asset;

	fold(&out->texts[FIELD_LABEL], facts->label != NULL && facts->label[0] == '\0' ? NO_LABEL : facts->label);
	fold(&out->texts[FIELD_OWNER], facts->owner == NULL ? NULL : facts->owner->name);
	fold(&out->texts[FIELD_MANUFACTURER], asset == NULL ? NULL : asset->manufacturer);
	fold(&out->texts[FIELD_MODEL], asset == NULL ? NULL : asset->model);
	fold(&out->texts[FIELD_CLASS], asset == NULL ? NULL : asset->class_name);
	fold(&out->texts[FIELD_SITE], asset == NULL ? NULL : asset->site);
	out->moment = moment_of(facts->now_s);
	out->has_address = rules->prefix_count != 0 && address_parse(facts->peer, &out->address);
}

/* -1: unknown. */
static int
value_of(const struct rule_facts *facts, enum rule_bits bits)
{
	switch (bits) {
	case BITS_PROTOCOL:
		return facts->protocol;
	case BITS_OPERATION:
		return (int)facts->op;
	case BITS_PROOF:
		return facts->proof;
	case BITS_OWNER_KIND:
		return facts->owner == NULL ? -1 : (int)facts->owner->kind;
	case BITS_HOLDING:
		return facts->asset == NULL ? -1 : (int)facts->asset->holding;
	case BITS_TIER:
		return facts->asset == NULL ? -1 : facts->asset->tier;
	}
	return -1;
}

static void
begin(struct walk *w)
{
	const struct policy_rules *rules = w->rules;
	unsigned i;

	for (i = 0; i < RULE_BITS; i++) {
		int value = value_of(w->facts, (enum rule_bits)i);
		bool known = value >= 0 && value < RULE_BITS_VALUES;

		w->bits[i] = rules->bits[i][known ? (unsigned)value : RULE_BITS_VALUES];
	}
	for (i = 0; i < RULE_FIELDS; i++) {
		const struct folded *text = &w->subject->texts[i];
		const struct index_entry *entry = text_index_find(&rules->texts[i], text);

		w->base[i] = text->there ? rules->wild[i] : rules->any[i];
		w->posting[i] = entry == NULL ? NULL : rules->texts[i].postings + entry->first;
		w->posting_end[i] = entry == NULL ? NULL : w->posting[i] + entry->count;
	}
}

/* Which of 64 rules may match. Words are asked for in order. */
static uint64_t
candidates(struct walk *w, size_t word)
{
	uint64_t found = ~(uint64_t)0;
	unsigned i;

	for (i = 0; i < RULE_BITS; i++)
		found &= w->bits[i][word];
	for (i = 0; i < RULE_FIELDS; i++) {
		uint64_t named = w->base[i][word];

		if (w->posting[i] != w->posting_end[i] && w->posting[i]->word == word)
			named |= w->posting[i]++->bits;
		found &= named;
	}
	return found;
}

/* Patterns of one field stand together, and one of each field has to fit. */
static bool
patterns_fit(const struct policy_rules *rules, const struct compiled *compiled, const struct subject *subject)
{
	const struct pattern *p = rules->patterns + compiled->pattern_first, *end = p + compiled->pattern_count;

	while (p != end) {
		enum rule_field field = p->field;
		bool fits = false;

		for (; p != end && p->field == field; p++)
			fits = fits || pattern_fits(p, &subject->texts[field]);
		if (!fits)
			return false;
	}
	return true;
}

static bool
address_fits(const struct policy_rules *rules, const struct compiled *compiled, const struct subject *subject)
{
	size_t i;

	if (compiled->prefix_count == 0)
		return true;
	for (i = 0; subject->has_address && i < compiled->prefix_count; i++)
		if (prefix_holds(&rules->prefixes[compiled->prefix_first + i], &subject->address))
			return true;
	return false;
}

static bool
matches(const struct walk *w, size_t at)
{
	const struct compiled *compiled = &w->rules->compiled[at];

	return window_holds(&compiled->window, w->subject->moment) && address_fits(w->rules, compiled, w->subject) &&
		patterns_fit(w->rules, compiled, w->subject);
}

/* True: the walk ends here. */
static bool
deny(struct walk *w, size_t at, bool limit)
{
	struct rule_judgement *out = w->out;

	if (w->facts->waive) {
		if (!out->waived) {
			out->waived = true;
			out->waived_by = at;
			out->waived_limit = limit;
		}
		return false;
	}
	out->result = RULES_DENY;
	out->decided_by = at;
	out->limited = limit;
	return true;
}

static bool
demand(struct walk *w, size_t at)
{
	const struct policy_rule *rule = &w->rules->rules[at];
	struct rule_judgement *out = w->out;

	if (rule->action != RULE_REQUIRE && rule->action != RULE_PREFER)
		return false;
	if (out->demand_count == RULE_DEMANDS_MAX) {
		/* A demand that cannot be remembered would be one that is dropped. */
		out->result = RULES_DENY;
		out->decided_by = at;
		out->crowded = true;
		return true;
	}
	out->demands[out->demand_count++] = (struct rule_demand){ .rule = at,
		.required = rule->action == RULE_REQUIRE, .attesters = &rule->attesters };
	return false;
}

/* What a rule that matches does. True: the walk ends here. */
static bool
apply(struct walk *w, size_t at)
{
	const struct policy_rule *rule = &w->rules->rules[at];
	struct rule_judgement *out = w->out;

	if (out->matched_count < RULE_MATCHES_MAX)
		out->matched[out->matched_count] = at;
	out->matched_count++;
	if (rule->action == RULE_DENY)
		return deny(w, at, false);
	if (demand(w, at))
		return true;
	if (rule->lifetime_s != 0 && (out->lifetime_s == 0 || rule->lifetime_s < out->lifetime_s))
		out->lifetime_s = rule->lifetime_s;
	if (rule->action == RULE_APPROVE && !out->approve) {
		out->approve = true;
		out->approve_by = at;
	}
	if (rule->count != 0 && w->facts->room != NULL && !w->facts->room(w->facts->room_arg, at) &&
	    deny(w, at, true))
		return true;
	if (rule->action != RULE_ALLOW)
		return false;
	out->result = RULES_ALLOW;
	out->decided_by = at;
	return true;
}

static bool
walk(struct walk *w)
{
	size_t word, at;

	for (word = 0; word < w->rules->words; word++) {
		uint64_t found = candidates(w, word);

		for (at = word * WORD_BITS; found != 0; found >>= 1, at++) {
			for (; (found & 0xff) == 0; found >>= 8)
				at += 8;
			if ((found & 1) != 0 && matches(w, at) && apply(w, at)) {
				w->out->looked_at = at + 1;
				return true;
			}
		}
	}
	return false;
}

void
policy_rules_judge(const struct policy_rules *rules, const struct rule_facts *facts, struct rule_judgement *out)
{
	struct subject subject;
	struct walk w = { .rules = rules, .facts = facts, .subject = &subject, .out = out };

	*out = (struct rule_judgement){ .result = RULES_NONE };
	if (rules == NULL || rules->count == 0)
		return;
	make_subject(rules, facts, &subject);
	begin(&w);
	if (walk(&w))
		return;
	out->looked_at = rules->count;
	out->decided_by = rules->count;
	out->result = RULES_ALLOW;
	if (!rules->otherwise_allow && deny(&w, rules->count, false))
		out->result = RULES_DENY;
}
