#include "policy/import_mapped.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define TEMPLATE_TEXT_MAX 256
#define WORD_MAX 64
#define PART_OWNER  "$owner"
#define PART_ISSUER "$issuer"

/* "their column = ours" is a template of that one column. */
struct statement {
	enum import_column to;
	char text[TEMPLATE_TEXT_MAX];
};

struct meaning {
	enum import_column of;
	char theirs[WORD_MAX]; /* "*": any other */
	char ours[WORD_MAX];   /* "": left out */
};

struct import_map {
	char owner[REG_TEXT_MAX], issuer[REG_TEXT_MAX];
	struct statement statements[IMPORT_MAP_LINES_MAX];
	size_t statement_count;
	struct meaning meanings[IMPORT_MAP_LINES_MAX];
	size_t meaning_count;
};

static uint8_t
small(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static bool
counts(uint8_t c)
{
	return c >= 0x80 || (c >= '0' && c <= '9') || (small(c) >= 'a' && small(c) <= 'z');
}

void
import_map_fold(struct bytes name, char out[MAP_NAME_MAX])
{
	size_t n = 0, i;

	for (i = 0; i < name.len && n + 1 < MAP_NAME_MAX; i++)
		if (counts(name.at[i]))
			out[n++] = (char)small(name.at[i]);
	out[n] = '\0';
}

static struct bytes
trimmed(struct bytes b)
{
	while (b.len > 0 && (b.at[0] == ' ' || b.at[0] == '\t')) {
		b.at++;
		b.len--;
	}
	while (b.len > 0 && strchr(" \t\r\n", b.at[b.len - 1]) != NULL && b.at[b.len - 1] != '\0')
		b.len--;
	return b;
}

/* The next {part} of a template from *at on: its text in *part, and what stands before it in *before. False: none is left. */
static bool
next_part(const char **at, struct bytes *before, struct bytes *part)
{
	const char *open = strchr(*at, '{'), *close = open == NULL ? NULL : strchr(open, '}');

	if (close == NULL) {
		*before = bytes_of_text(*at);
		*at += strlen(*at);
		return false;
	}
	*before = bytes_of((const uint8_t *)*at, (size_t)(open - *at));
	*part = bytes_of((const uint8_t *)open + 1, (size_t)(close - open) - 1);
	*at = close + 1;
	return true;
}

static int
check_template(const char *text, struct err *e)
{
	struct bytes before, part;
	char folded[MAP_NAME_MAX];
	const char *at = text;

	while (next_part(&at, &before, &part)) {
		import_map_fold(part, folded);
		if (folded[0] == '\0')
			return err_set(e, ERR_MALFORMED, "\"{%.*s}\" names no column", (int)part.len,
				(const char *)part.at);
		if (part.at[0] == '$' && !bytes_equal_text(part, PART_OWNER) && !bytes_equal_text(part, PART_ISSUER))
			return err_set(e, ERR_MALFORMED, "\"{%.*s}\" is neither {" PART_OWNER "} nor {" PART_ISSUER "}",
				(int)part.len, (const char *)part.at);
	}
	if (memchr(before.at, '{', before.len) != NULL)
		return err_set(e, ERR_MALFORMED, "a \"{\" is not closed");
	return 0;
}

static int
add_statement(struct import_map *map, enum import_column to, struct bytes text, struct err *e)
{
	struct statement *s = &map->statements[map->statement_count];

	if (map->statement_count == IMPORT_MAP_LINES_MAX)
		return err_set(e, ERR_LIMIT, "more than %d statements", IMPORT_MAP_LINES_MAX);
	s->to = to;
	if (text.len == 0)
		return err_set(e, ERR_MALFORMED, "nothing is given to %s", import_column_name(to));
	if (text_copy(s->text, sizeof s->text, text, "the text", e) != 0 || check_template(s->text, e) != 0)
		return -1;
	map->statement_count++;
	return 0;
}

/* their column = ours */
static int
add_column(struct import_map *map, struct bytes theirs, enum import_column to, struct err *e)
{
	char text[TEMPLATE_TEXT_MAX];

	if (theirs.len >= 2 && theirs.at[0] == '"' && theirs.at[theirs.len - 1] == '"')
		theirs = bytes_of(theirs.at + 1, theirs.len - 2);
	if (theirs.len + 3 > sizeof text || memchr(theirs.at, '{', theirs.len) != NULL ||
	    memchr(theirs.at, '}', theirs.len) != NULL)
		return err_set(e, ERR_MALFORMED, "a column's name has no braces and at most %zu octets", sizeof text - 3);
	text[0] = '{';
	memcpy(text + 1, theirs.at, theirs.len);
	text[theirs.len + 1] = '}';
	text[theirs.len + 2] = '\0';
	return add_statement(map, to, bytes_of_text(text), e);
}

/* ours: their word = our word */
static int
add_meaning(struct import_map *map, enum import_column of, struct bytes theirs, struct bytes ours, struct err *e)
{
	struct meaning *m = &map->meanings[map->meaning_count];

	if (map->meaning_count == IMPORT_MAP_LINES_MAX)
		return err_set(e, ERR_LIMIT, "more than %d statements", IMPORT_MAP_LINES_MAX);
	if (theirs.len == 0)
		return err_set(e, ERR_MALFORMED, "which word of theirs?");
	m->of = of;
	if (text_copy(m->theirs, sizeof m->theirs, theirs, "their word", e) != 0 ||
	    text_copy(m->ours, sizeof m->ours, ours, "our word", e) != 0)
		return -1;
	map->meaning_count++;
	return 0;
}

static size_t
position(struct bytes line, uint8_t c)
{
	const uint8_t *found = line.len == 0 ? NULL : memchr(line.at, c, line.len);

	return found == NULL ? line.len : (size_t)(found - line.at);
}

static struct bytes
behind(struct bytes line, size_t at)
{
	return trimmed(bytes_of(line.at + at, line.len - at));
}

static int
parse_statement(struct import_map *map, struct bytes line, struct err *e)
{
	size_t colon = position(line, ':'), equals;
	enum import_column column;
	struct bytes word;
	bool quoted = line.at[0] == '"';

	if (!quoted && colon < line.len && (position(line, '=') == colon + 1 || position(line, '=') > colon)) {
		if (import_column_of(trimmed(bytes_of(line.at, colon)), &column, e) != 0)
			return -1;
		if (colon + 1 < line.len && line.at[colon + 1] == '=')
			return add_statement(map, column, behind(line, colon + 2), e);
		word = behind(line, colon + 1);
		equals = position(word, '=');
		if (equals == word.len)
			return err_set(e, ERR_MALFORMED, "\"%s: their word = our word\" wants a \"=\"",
				import_column_name(column));
		return add_meaning(map, column, trimmed(bytes_of(word.at, equals)), behind(word, equals + 1), e);
	}
	for (equals = line.len; equals > 0 && line.at[equals - 1] != '='; equals--)
		;
	if (equals == 0)
		return err_set(e, ERR_MALFORMED, "not \"their column = our column\"");
	if (import_column_of(behind(line, equals), &column, e) != 0)
		return -1;
	return add_column(map, trimmed(bytes_of(line.at, equals - 1)), column, e);
}

static int
parse(struct import_map *map, struct bytes text, struct err *e)
{
	int number = 0;

	while (text.len > 0) {
		size_t end = position(text, '\n');
		struct bytes line = trimmed(bytes_of(text.at, end));

		number++;
		text.at += end + (end < text.len);
		text.len -= end + (end < text.len);
		if (line.len == 0 || line.at[0] == '#')
			continue;
		if (parse_statement(map, line, e) != 0)
			return err_prefix(e, "the map's line %d", number);
	}
	return 0;
}

static bool
gives(const struct import_map *map, enum import_column column)
{
	size_t i;

	for (i = 0; i < map->statement_count; i++)
		if (map->statements[i].to == column)
			return true;
	return false;
}

int
import_map_new(struct bytes text, const char *owner, const char *issuer, struct import_map **out, struct err *e)
{
	struct import_map *map;

	if (text.len > IMPORT_MAP_TEXT_MAX)
		return err_set(e, ERR_LIMIT, "a map of more than %d octets", IMPORT_MAP_TEXT_MAX);
	map = calloc(1, sizeof *map);
	if (map == NULL)
		return err_set(e, ERR_NOMEM, "no memory for the map");
	if (text_copy(map->owner, sizeof map->owner, bytes_of_text(owner), "the owner", e) != 0 ||
	    text_copy(map->issuer, sizeof map->issuer, bytes_of_text(issuer), "the issuer", e) != 0 ||
	    parse(map, text, e) != 0) {
		free(map);
		return -1;
	}
	if (!gives(map, COLUMN_TAG) || !gives(map, COLUMN_OWNER)) {
		(void)err_set(e, ERR_MALFORMED, "the map gives no %s", gives(map, COLUMN_TAG) ? "owner" : "tag");
		free(map);
		return -1;
	}
	*out = map;
	return 0;
}

void
import_map_free(struct import_map *map)
{
	free(map);
}

bool
import_map_reads(const struct import_map *map, const char *folded)
{
	struct bytes before, part;
	char name[MAP_NAME_MAX];
	size_t i;

	for (i = 0; i < map->statement_count; i++) {
		const char *at = map->statements[i].text;

		while (next_part(&at, &before, &part)) {
			import_map_fold(part, name);
			if (part.at[0] != '$' && strcmp(name, folded) == 0)
				return true;
		}
	}
	return false;
}

/* The statement's text for this record; empty when one of its columns is. */
static int
expand(const struct import_map *map, const char *template, const struct map_fields *fields, struct buf *out,
	struct err *e)
{
	struct bytes before, part, text;
	char name[MAP_NAME_MAX];

	buf_clear(out);
	while (next_part(&template, &before, &part)) {
		buf_append(out, before.at, before.len);
		import_map_fold(part, name);
		if (part.at[0] == '$')
			text = bytes_of_text(bytes_equal_text(part, PART_OWNER) ? map->owner : map->issuer);
		else
			text = trimmed(fields->text_of(fields->arg, name));
		if (text.len == 0) {
			buf_clear(out);
			return 0;
		}
		buf_append(out, text.at, text.len);
	}
	buf_append(out, before.at, before.len);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for a field") : 0;
}

static bool
same_word(struct bytes a, const char *b)
{
	size_t i;

	for (i = 0; i < a.len; i++)
		if (b[i] == '\0' || small(a.at[i]) != small((uint8_t)b[i]))
			return false;
	return b[i] == '\0';
}

static struct bytes
meaning_of(const struct import_map *map, enum import_column column, struct bytes theirs)
{
	const struct meaning *other = NULL;
	size_t i;

	for (i = 0; i < map->meaning_count; i++) {
		const struct meaning *m = &map->meanings[i];

		if (m->of != column)
			continue;
		if (same_word(theirs, m->theirs))
			return bytes_of_text(m->ours);
		if (strcmp(m->theirs, "*") == 0)
			other = m;
	}
	return other == NULL ? theirs : bytes_of_text(other->ours);
}

int
import_map_apply(const struct import_map *map, const struct map_fields *fields, struct import_record *record,
	struct err *e)
{
	CLEANUP(buf) struct buf text = { 0 };
	bool has[IMPORT_COLUMN_KINDS] = { false };
	struct bytes value;
	size_t i;

	for (i = 0; i < map->statement_count; i++) {
		const struct statement *s = &map->statements[i];

		if (has[s->to] && s->to != COLUMN_ANCHOR)
			continue;
		if (expand(map, s->text, fields, &text, e) != 0)
			return -1;
		value = text.len == 0 ? bytes_of(NULL, 0) : trimmed(buf_bytes(&text));
		if (value.len == 0)
			continue;
		value = meaning_of(map, s->to, value);
		has[s->to] = true;
		if (import_set(record, s->to, value, e) != 0)
			return -1;
	}
	if (record->owner[0] == '\0' && map->owner[0] == '\0')
		return err_set(e, ERR_MALFORMED, "column owner: the line names none; --owner gives one to such lines");
	return 0;
}
