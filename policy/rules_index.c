#include <stdlib.h>
#include <string.h>

#include "policy/rules_internal.h"

const struct rule_list *
rule_field_list(const struct policy_rule *rule, enum rule_field field)
{
	switch (field) {
	case FIELD_LABEL:
		return &rule->labels;
	case FIELD_OWNER:
		return &rule->owners;
	case FIELD_MANUFACTURER:
		return &rule->manufacturers;
	case FIELD_MODEL:
		return &rule->models;
	case FIELD_CLASS:
		return &rule->classes;
	case FIELD_SITE:
		break;
	}
	return &rule->sites;
}

/* One text of one rule, on its way into the index. */
struct mention {
	struct folded text;
	size_t rule;
};

static int
compare(const void *left, const void *right)
{
	const struct mention *a = left, *b = right;
	int order = strcmp(a->text.text, b->text.text);

	if (order != 0)
		return order;
	return a->rule < b->rule ? -1 : a->rule > b->rule;
}

/* A list that holds a wildcard is asked as a whole, so none of it comes in here. */
static bool
is_plain(const struct rule_list *list)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		if (pattern_is_wild(list->at[i]))
			return false;
	return true;
}

static size_t
collect(const struct policy_rule *rules, size_t count, enum rule_field field, struct mention *out)
{
	size_t found = 0, i, j;

	for (i = 0; i < count; i++) {
		const struct rule_list *list = rule_field_list(&rules[i], field);

		for (j = 0; j < list->count && is_plain(list); j++, found++)
			if (out != NULL) {
				fold(&out[found].text, list->at[j]);
				out[found].rule = i;
			}
	}
	return found;
}

static struct index_entry *
place(const struct text_index *index, const char *text, size_t len)
{
	size_t at = fold_hash(text, len) & (index->size - 1);

	/* At least half of the places are free. */
	while (index->entries[at].text[0] != '\0' && strcmp(index->entries[at].text, text) != 0)
		at = (at + 1) & (index->size - 1);
	return &index->entries[at];
}

static void
fill(struct text_index *index, const struct mention *mentions, size_t count)
{
	struct index_entry *entry = NULL;
	size_t used = 0, i;

	for (i = 0; i < count; i++) {
		const struct folded *text = &mentions[i].text;
		size_t word = mentions[i].rule / WORD_BITS;
		uint64_t bit = (uint64_t)1 << (mentions[i].rule % WORD_BITS);

		if (entry == NULL || strcmp(entry->text, text->text) != 0) {
			entry = place(index, text->text, text->len);
			memcpy(entry->text, text->text, text->len + 1);
			entry->first = used;
		}
		if (entry->count == 0 || index->postings[used - 1].word != word) {
			index->postings[used++] = (struct posting){ .word = word };
			entry->count++;
		}
		index->postings[used - 1].bits |= bit;
	}
}

int
text_index_new(const struct policy_rule *rules, size_t count, enum rule_field field, struct text_index *out,
	struct err *e)
{
	size_t found = collect(rules, count, field, NULL);
	struct text_index index = { .size = 2 };
	struct mention *mentions;

	*out = (struct text_index){ .size = 0 };
	if (found == 0)
		return 0;
	while (index.size < found * 2)
		index.size *= 2;
	mentions = calloc(found, sizeof *mentions);
	index.entries = calloc(index.size, sizeof *index.entries);
	index.postings = calloc(found, sizeof *index.postings);
	if (mentions == NULL || index.entries == NULL || index.postings == NULL) {
		free(mentions);
		text_index_clear(&index);
		return err_set(e, ERR_NOMEM, "no memory for %zu texts of rules", found);
	}
	(void)collect(rules, count, field, mentions);
	qsort(mentions, found, sizeof *mentions, compare);
	fill(&index, mentions, found);
	free(mentions);
	*out = index;
	return 0;
}

void
text_index_clear(struct text_index *index)
{
	free(index->entries);
	free(index->postings);
	*index = (struct text_index){ .size = 0 };
}

const struct index_entry *
text_index_find(const struct text_index *index, const struct folded *text)
{
	const struct index_entry *entry;

	if (index->size == 0 || !text->there || text->len == 0 || text->len >= RULE_TEXT_MAX)
		return NULL;
	entry = place(index, text->text, text->len);
	return entry->count == 0 ? NULL : entry;
}
