/*
 * rules_internal.h - rules as judging sees them. Internal to policy/.
 *
 * What is cheap to ask of every rule at once is kept as sets of rules, one bit a rule: the bit sets of the
 * configuration, and the texts without wildcards. The few rules that are left are
 * asked for the rest: wildcards, addresses, times.
 */
#ifndef POLICY_RULES_INTERNAL_H
#define POLICY_RULES_INTERNAL_H

#include "policy/decide.h"
#include "policy/rules.h"

/* Where a rule's texts come from. */
enum rule_field { FIELD_LABEL, FIELD_OWNER, FIELD_MANUFACTURER, FIELD_MODEL, FIELD_CLASS, FIELD_SITE };
#define RULE_FIELDS 6
const struct rule_list *rule_field_list(const struct policy_rule *rule, enum rule_field field);

/* Where a rule's bits come from. */
enum rule_bits { BITS_PROTOCOL, BITS_OPERATION, BITS_PROOF, BITS_OWNER_KIND, BITS_HOLDING, BITS_TIER };
#define RULE_BITS        6
#define RULE_BITS_VALUES 6 /* the most values any of them has */
unsigned rule_bits_mask(const struct policy_rule *rule, enum rule_bits bits);

/* A text in lower case, with what tells quickly that a pattern cannot fit. */
struct folded {
	bool there;
	size_t len;
	uint64_t holds; /* which characters it holds, by a small hash */
	char text[REG_TEXT_MAX];
};
void fold(struct folded *out, const char *text); /* NULL: not there */
uint32_t fold_hash(const char *folded, size_t len);

struct pattern {
	enum rule_field field;
	size_t len_min;
	uint64_t needs;
	char text[RULE_TEXT_MAX]; /* in lower case */
};
bool pattern_is_wild(const char *text);
void pattern_make(struct pattern *out, enum rule_field field, const char *text);
/* Asked only where the text is there. */
bool pattern_fits(const struct pattern *pattern, const struct folded *text);

struct address {
	bool v6;
	uint64_t high, low; /* v4: low alone */
};
struct prefix {
	struct address at;
	uint64_t high_mask, low_mask;
};
MUST_USE int prefix_parse(const char *text, struct prefix *out, struct err *e);
bool address_parse(const char *peer, struct address *out);
bool prefix_holds(const struct prefix *prefix, const struct address *address);

#define WEEK_DAYS   7
#define DAY_MINUTES 1440

struct window {
	unsigned days;     /* bit 0 is Monday; 0: no window, any time */
	unsigned from, to; /* minutes; to <= from: past midnight */
};
MUST_USE int window_parse(const char *text, struct window *out, struct err *e);
struct moment {
	unsigned day, minute;
};
struct moment moment_of(int64_t now_s);
bool window_holds(const struct window *window, struct moment moment);

/* Which rules name a text, 64 rules a word; only words that are not 0. */
struct posting {
	size_t word;
	uint64_t bits;
};
struct index_entry {
	char text[RULE_TEXT_MAX]; /* "": a free place */
	size_t first, count;      /* of its postings */
};
struct text_index {
	struct index_entry *entries;
	size_t size; /* a power of two, or 0 */
	struct posting *postings;
};
MUST_USE int text_index_new(const struct policy_rule *rules, size_t count, enum rule_field field,
	struct text_index *out, struct err *e);
void text_index_clear(struct text_index *index);
/* NULL when no rule names it. */
const struct index_entry *text_index_find(const struct text_index *index, const struct folded *text);

/* What is wrong with one rule, on its own. ERR_MALFORMED. */
MUST_USE int rule_check(const struct policy_rule *rule, struct err *e);

struct compiled {
	struct window window;
	size_t pattern_first, pattern_count; /* those of one field stand together */
	size_t prefix_first, prefix_count;
};

#define WORD_BITS 64u

struct policy_rules {
	struct policy_rule *rules; /* as configured */
	struct compiled *compiled;
	size_t count;
	bool otherwise_allow;
	size_t words; /* of one set */
	/* Rules that do not mind the value; where no rule can name it these are the rules that do not ask, and so
	   is the last set, for values that nobody knows. */
	uint64_t *bits[RULE_BITS][RULE_BITS_VALUES + 1];
	uint64_t *any[RULE_FIELDS];  /* rules that do not ask for this text */
	uint64_t *wild[RULE_FIELDS]; /* ... and those that have to be asked one by one */
	uint64_t *sets;              /* where all of these lie */
	struct text_index texts[RULE_FIELDS];
	struct pattern *patterns;
	struct prefix *prefixes;
	size_t prefix_count;
};

#endif
