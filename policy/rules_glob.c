#include <string.h>

#include "policy/rules_internal.h"

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Letters have the lower half for themselves; that two characters share a bit only costs time. */
static uint64_t
character_bit(char c)
{
	unsigned octet = (unsigned char)c;

	return (uint64_t)1 << ((octet >= 0x60 ? 0 : 32) + (octet & 31));
}

void
fold(struct folded *out, const char *text)
{
	size_t i;

	out->there = text != NULL;
	out->holds = 0;
	out->len = 0;
	for (i = 0; text != NULL && i < sizeof out->text - 1 && text[i] != '\0'; i++) {
		out->text[i] = lower(text[i]);
		out->holds |= character_bit(out->text[i]);
		out->len = i + 1;
	}
	out->text[out->len] = '\0';
}

uint32_t
fold_hash(const char *folded, size_t len)
{
	uint32_t hash = 2166136261u; /* FNV-1a: the texts are the operator's own */
	size_t i;

	for (i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)folded[i]) * 16777619u;
	return hash;
}

bool
pattern_is_wild(const char *text)
{
	return strpbrk(text, "*?") != NULL;
}

void
pattern_make(struct pattern *out, enum rule_field field, const char *text)
{
	size_t i;

	*out = (struct pattern){ .field = field };
	for (i = 0; i < sizeof out->text - 1 && text[i] != '\0'; i++) {
		out->text[i] = lower(text[i]);
		if (text[i] == '*')
			continue;
		out->len_min++;
		if (text[i] != '?')
			out->needs |= character_bit(out->text[i]);
	}
}

/* One way back at a time: only the last star's choice can matter. */
static bool
glob(const char *pattern, const char *text)
{
	const char *star = NULL, *tried = NULL;

	while (*text != '\0') {
		if (*pattern == '*') {
			star = ++pattern;
			tried = text;
		} else if (*pattern == '?' || (*pattern != '\0' && *pattern == *text)) {
			pattern++;
			text++;
		} else if (star != NULL) {
			pattern = star;
			text = ++tried;
		} else
			return false;
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

bool
pattern_fits(const struct pattern *pattern, const struct folded *text)
{
	if (text->len < pattern->len_min || (pattern->needs & ~text->holds) != 0)
		return false;
	return glob(pattern->text, text->text);
}
