#include "policy/rules.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "policy/rules_internal.h"

static const char *const action_names[] = {
	[RULE_REQUIRE] = "require",
	[RULE_PREFER] = "prefer",
	[RULE_APPROVE] = "approve",
	[RULE_ALLOW] = "allow",
	[RULE_DENY] = "deny",
};
#define ACTIONS (sizeof action_names / sizeof action_names[0])

static const char *const protocol_names[] = { [RULE_EST] = "est", [RULE_SCEP] = "scep", [RULE_COAP] = "coap" };
#define PROTOCOLS (sizeof protocol_names / sizeof protocol_names[0])

static int
index_of(const char *const *names, size_t count, const char *name)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return (int)i;
	return -1;
}

const char *
rule_action_name(enum rule_action action)
{
	return (unsigned)action < ACTIONS ? action_names[action] : "unknown";
}

int
rule_action_of(const char *name)
{
	return index_of(action_names, ACTIONS, name);
}

int
rule_protocol_of(const char *name)
{
	return index_of(protocol_names, PROTOCOLS, name);
}

static int
compare_names(const void *left, const void *right)
{
	const struct policy_rule *const *a = left, *const *b = right;

	return strcmp((*a)->name, (*b)->name);
}

static int
check_names(const struct policy_rule *rules, size_t count, struct err *e)
{
	const struct policy_rule **sorted;
	const char *twice = NULL;
	size_t i;

	for (i = 0; i < count; i++)
		if (memchr(rules[i].name, '\0', sizeof rules[i].name) == NULL || rules[i].name[0] == '\0' ||
		    !text_is_clean(bytes_of_text(rules[i].name)))
			return err_set(e, ERR_MALFORMED, "rule number %zu has no name, or one that is no text", i + 1);
	sorted = calloc(count, sizeof(const struct policy_rule *));
	if (sorted == NULL)
		return err_set(e, ERR_NOMEM, "no memory for %zu rules", count);
	for (i = 0; i < count; i++)
		sorted[i] = &rules[i];
	qsort(sorted, count, sizeof(const struct policy_rule *), compare_names);
	for (i = 1; i < count && twice == NULL; i++)
		if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
			twice = sorted[i]->name;
	free(sorted);
	if (twice != NULL)
		return err_set(e, ERR_MALFORMED, "rule %s: there are two of this name", twice);
	return 0;
}

static void
set_bit(uint64_t *set, size_t rule)
{
	set[rule / WORD_BITS] |= (uint64_t)1 << (rule % WORD_BITS);
}

static bool
list_is_wild(const struct rule_list *list)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		if (pattern_is_wild(list->at[i]))
			return true;
	return false;
}

/* All sets lie in one piece of memory. */
static void
place_sets(struct policy_rules *rules)
{
	uint64_t *at = rules->sets;
	size_t i, j;

	for (i = 0; i < RULE_BITS; i++)
		for (j = 0; j <= RULE_BITS_VALUES; j++, at += rules->words)
			rules->bits[i][j] = at;
	for (i = 0; i < RULE_FIELDS; i++) {
		rules->any[i] = at;
		rules->wild[i] = at + rules->words;
		at += 2 * rules->words;
	}
}

static void
fill_sets(struct policy_rules *rules, size_t rule)
{
	unsigned i, j;

	for (i = 0; i < RULE_BITS; i++) {
		unsigned mask = rule_bits_mask(&rules->rules[rule], (enum rule_bits)i);

		for (j = 0; j < RULE_BITS_VALUES; j++)
			if (mask == 0 || (mask & 1u << j) != 0)
				set_bit(rules->bits[i][j], rule);
		if (mask == 0)
			set_bit(rules->bits[i][RULE_BITS_VALUES], rule);
	}
	for (i = 0; i < RULE_FIELDS; i++) {
		const struct rule_list *list = rule_field_list(&rules->rules[rule], (enum rule_field)i);

		if (list->count == 0)
			set_bit(rules->any[i], rule);
		if (list->count == 0 || list_is_wild(list))
			set_bit(rules->wild[i], rule);
	}
}

static size_t
count_patterns(const struct policy_rule *rule)
{
	size_t found = 0;
	unsigned i;

	for (i = 0; i < RULE_FIELDS; i++)
		if (list_is_wild(rule_field_list(rule, (enum rule_field)i)))
			found += rule_field_list(rule, (enum rule_field)i)->count;
	return found;
}

/* Which patterns and prefixes are whose. Both counts, so that there is room for them. */
static void
place_lists(struct policy_rules *rules, size_t *patterns, size_t *prefixes)
{
	size_t i;

	*patterns = *prefixes = 0;
	for (i = 0; i < rules->count; i++) {
		rules->compiled[i].pattern_first = *patterns;
		rules->compiled[i].prefix_first = *prefixes;
		*patterns += count_patterns(&rules->rules[i]);
		*prefixes += rules->rules[i].addresses.count;
	}
	rules->prefix_count = *prefixes;
}

static int
compile_one(struct policy_rules *rules, size_t at, struct err *e)
{
	const struct policy_rule *rule = &rules->rules[at];
	struct compiled *compiled = &rules->compiled[at];
	size_t i, j;

	fill_sets(rules, at);
	for (i = 0; i < RULE_FIELDS; i++) {
		const struct rule_list *list = rule_field_list(rule, (enum rule_field)i);

		for (j = 0; j < list->count && list_is_wild(list); j++)
			pattern_make(&rules->patterns[compiled->pattern_first + compiled->pattern_count++],
				(enum rule_field)i, list->at[j]);
	}
	for (i = 0; i < rule->addresses.count; i++)
		if (prefix_parse(rule->addresses.at[i],
			    &rules->prefixes[compiled->prefix_first + compiled->prefix_count++], e) != 0)
			return -1;
	return rule->time[0] == '\0' ? 0 : window_parse(rule->time, &compiled->window, e);
}

#define SETS (RULE_BITS * (RULE_BITS_VALUES + 1) + 2 * (size_t)RULE_FIELDS)

static int
compile(struct policy_rules *rules, struct err *e)
{
	size_t patterns, prefixes, i;

	for (i = 0; i < rules->count; i++)
		if (rule_check(&rules->rules[i], e) != 0)
			return err_prefix(e, "rule %s", rules->rules[i].name);
	place_lists(rules, &patterns, &prefixes);
	rules->sets = calloc(SETS * rules->words, sizeof *rules->sets);
	rules->patterns = calloc(patterns + 1, sizeof *rules->patterns);
	rules->prefixes = calloc(prefixes + 1, sizeof *rules->prefixes);
	if (rules->sets == NULL || rules->patterns == NULL || rules->prefixes == NULL)
		return err_set(e, ERR_NOMEM, "no memory for %zu rules", rules->count);
	place_sets(rules);
	for (i = 0; i < rules->count; i++)
		if (compile_one(rules, i, e) != 0)
			return err_prefix(e, "rule %s", rules->rules[i].name);
	for (i = 0; i < RULE_FIELDS; i++)
		if (text_index_new(rules->rules, rules->count, (enum rule_field)i, &rules->texts[i], e) != 0)
			return -1;
	return 0;
}

static int
copy_and_compile(struct policy_rules *made, const struct policy_rule *rules, size_t count, struct err *e)
{
	made->rules = calloc(count, sizeof *made->rules);
	made->compiled = calloc(count, sizeof *made->compiled);
	if (made->rules == NULL || made->compiled == NULL)
		return err_set(e, ERR_NOMEM, "no memory for %zu rules", count);
	memcpy(made->rules, rules, count * sizeof *rules);
	made->count = count;
	made->words = (count + WORD_BITS - 1) / WORD_BITS;
	return compile(made, e);
}

int
policy_rules_new(const struct policy_rule *rules, size_t count, bool otherwise_allow, struct policy_rules **out,
	struct err *e)
{
	struct policy_rules *made;
	int result = 0;

	if (count > RULES_MAX)
		return err_set(e, ERR_LIMIT, "%zu rules; at most %d are allowed", count, RULES_MAX);
	if (count != 0 && check_names(rules, count, e) != 0)
		return -1;
	made = calloc(1, sizeof *made);
	if (made == NULL)
		return err_set(e, ERR_NOMEM, "no memory for rules");
	made->otherwise_allow = otherwise_allow;
	if (count != 0)
		result = copy_and_compile(made, rules, count, e);
	if (result != 0) {
		policy_rules_free(made);
		return -1;
	}
	*out = made;
	return 0;
}

void
policy_rules_free(struct policy_rules *rules)
{
	size_t i;

	if (rules == NULL)
		return;
	for (i = 0; i < RULE_FIELDS; i++)
		text_index_clear(&rules->texts[i]);
	free(rules->rules);
	free(rules->compiled);
	free(rules->sets);
	free(rules->patterns);
	free(rules->prefixes);
	free(rules);
}

size_t
policy_rules_count(const struct policy_rules *rules)
{
	return rules == NULL ? 0 : rules->count;
}

const struct policy_rule *
policy_rules_at(const struct policy_rules *rules, size_t at)
{
	return at < policy_rules_count(rules) ? &rules->rules[at] : NULL;
}
