/*
 * The operator's rules: lines, in order, are action, name, labels, models, addresses, attesters, time, text, four
 * numbers (bits, lifetime, count, per), and then what is judged by them: label, model, peer, time.
 * Items of a list are separated by commas; a line that starts with "!" is a list with one item too many.
 */
#include <stdlib.h>
#include <string.h>

#include "policy/decide.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LINE_MAX  400
#define BEFORE    70   /* rules before it, so that sets have more words than one */
#define NAIVE_MAX 2000 /* steps of the second opinion on wildcards */

static void
must(bool condition)
{
	if (!condition)
		abort();
}

/* Nothing but NULs is changed: texts need not be clean. */
static void
take_line(struct cursor *c, char *out, size_t size)
{
	const uint8_t *end = cursor_left(c) == 0 ? NULL : memchr(c->at, '\n', cursor_left(c));
	size_t len = end == NULL ? cursor_left(c) : (size_t)(end - c->at);
	struct bytes line = cursor_take(c, len);

	if (end != NULL)
		(void)cursor_u8(c);
	if (line.len >= size)
		line.len = size - 1;
	if (line.len > 0)
		memcpy(out, line.at, line.len);
	out[line.len] = '\0';
}

static void
take_list(struct cursor *c, struct rule_list *out)
{
	char line[LINE_MAX], *at = line;

	take_line(c, line, sizeof line);
	if (line[0] == '!') {
		out->count = RULE_LIST_MAX + 1;
		return;
	}
	while (*at != '\0' && out->count < RULE_LIST_MAX) {
		size_t len = strcspn(at, ","), kept = len < RULE_TEXT_MAX ? len : RULE_TEXT_MAX - 1;

		memcpy(out->at[out->count], at, kept);
		out->at[out->count++][kept] = '\0';
		at += len + (at[len] == ',' ? 1 : 0);
	}
}

static int64_t
take_number(struct cursor *c)
{
	char line[LINE_MAX];

	take_line(c, line, sizeof line);
	return strtoll(line, NULL, 10);
}

static void
take_rule(struct cursor *c, struct policy_rule *rule)
{
	unsigned bits;

	*rule = (struct policy_rule){ .action = (enum rule_action)(take_number(c) & 7) };
	take_line(c, rule->name, sizeof rule->name);
	take_list(c, &rule->labels);
	take_list(c, &rule->models);
	take_list(c, &rule->addresses);
	take_list(c, &rule->attesters);
	take_line(c, rule->time, sizeof rule->time);
	take_line(c, rule->text, sizeof rule->text);
	bits = (unsigned)take_number(c);
	rule->tiers = bits & 31;
	rule->protocols = bits >> 5 & 15;
	rule->proofs = bits >> 9 & 127;
	rule->lifetime_s = take_number(c);
	rule->count = take_number(c);
	rule->per_s = take_number(c);
}

static bool
same(char a, char b)
{
	return a == b || (a >= 'A' && a <= 'Z' && a + 32 == b) || (b >= 'A' && b <= 'Z' && b + 32 == a);
}

/* A second opinion, written as one says it. 1, 0, or -1: too much to tell. */
static int
naive(const char *pattern, const char *text, int *steps)
{
	if (--*steps < 0)
		return -1;
	if (*pattern == '\0')
		return *text == '\0';
	if (*pattern == '*') {
		int rest = naive(pattern + 1, text, steps);

		return rest != 0 || *text == '\0' ? rest : naive(pattern, text + 1, steps);
	}
	if (*text == '\0' || (*pattern != '?' && !same(*pattern, *text)))
		return 0;
	return naive(pattern + 1, text + 1, steps);
}

static int
naive_any(const struct rule_list *list, const char *text)
{
	int result = list->count == 0, steps = NAIVE_MAX;
	size_t i;

	for (i = 0; i < list->count && result == 0; i++)
		result = naive(list->at[i], text, &steps);
	return result;
}

static void
check(const struct policy_rule *rule, const struct rule_judgement *got, const struct rule_facts *facts)
{
	bool plain = rule->addresses.count == 0 && rule->time[0] == '\0' && rule->tiers == 0 && rule->protocols == 0 &&
		rule->proofs == 0;
	int label = naive_any(&rule->labels, facts->label[0] == '\0' ? "(none)" : facts->label);
	int model = naive_any(&rule->models, facts->asset->model);

	must(got->matched_count <= 1 && got->looked_at >= 1);
	/* Deny by default, and by nothing less than an allow otherwise. */
	must((got->result == RULES_ALLOW) == (got->matched_count == 1 && rule->action == RULE_ALLOW));
	must(got->result != RULES_NONE && !got->limited && !got->waived);
	must(got->approve == (got->matched_count == 1 && rule->action == RULE_APPROVE));
	must(got->demand_count == (got->matched_count == 1 && rule->action <= RULE_PREFER ? 1u : 0u));
	if (label == 0 || model == 0)
		must(got->matched_count == 0);
	if (plain && label == 1 && model == 1)
		must(got->matched_count == 1);
}

/* Too large for the stack. */
static struct policy_rule many[BEFORE + 1];

static bool
same_judgement(const struct rule_judgement *a, const struct rule_judgement *b)
{
	return a->result == b->result && a->decided_by == b->decided_by && a->limited == b->limited &&
		a->crowded == b->crowded && a->waived == b->waived && a->approve == b->approve &&
		a->lifetime_s == b->lifetime_s && a->demand_count == b->demand_count &&
		a->matched_count == b->matched_count && a->looked_at == b->looked_at &&
		memcmp(a->matched, b->matched, sizeof a->matched) == 0;
}

static void
judge(const struct policy_rule *rules, size_t count, const struct rule_facts *facts, struct rule_judgement *out)
{
	struct policy_rules *made = NULL;
	struct rule_judgement again;
	struct err e;

	must(policy_rules_new(rules, count, false, &made, &e) == 0);
	policy_rules_judge(made, facts, out);
	policy_rules_judge(made, facts, &again);
	must(same_judgement(out, &again));
	policy_rules_free(made);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct asset asset;
	struct cursor c = cursor_of(bytes_of(data, size));
	struct policy_rule *rule = &many[BEFORE];
	struct owner owner = { .name = "o" };
	struct policy_rules *made = NULL;
	struct rule_judgement alone, among;
	char label[REG_TEXT_MAX], peer[LINE_MAX];
	struct rule_facts facts = { .label = label, .peer = peer, .asset = &asset, .owner = &owner };
	struct err e;
	size_t i;

	take_rule(&c, rule);
	take_line(&c, label, sizeof label);
	take_line(&c, asset.model, sizeof asset.model);
	take_line(&c, peer, sizeof peer);
	facts.now_s = take_number(&c);
	if (policy_rules_new(rule, 1, false, &made, &e) != 0) {
		must(made == NULL && e.code == ERR_MALFORMED && e.text[0] != '\0');
		return 0;
	}
	policy_rules_free(made);
	judge(rule, 1, &facts, &alone);
	check(rule, &alone, &facts);
	/* Other rules before it, which ask for a tier the asset has not, change nothing. */
	for (i = 0; i < BEFORE; i++) {
		many[i] = (struct policy_rule){ .action = RULE_DENY, .tiers = 1u << 3 };
		memset(many[i].name, 'a' + (int)(i % 26), i / 26 + RULE_TEXT_MAX / 2);
		if (strcmp(many[i].name, rule->name) == 0)
			return 0;
		many[i].models = rule->models;
	}
	judge(many, BEFORE + 1, &facts, &among);
	must(among.result == alone.result && among.matched_count == alone.matched_count);
	must(among.demand_count == alone.demand_count && among.lifetime_s == alone.lifetime_s);
	return 0;
}
