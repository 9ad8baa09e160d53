/*
 * The SETTINGS part of enrolld.conf(5): mdoc macros from the table.
 */
#include <string.h>

#include "gateway/core/config_reader.h"

#define LINE_COLUMNS 60

/* What kind of value it is, for readers of the manual. */
static const char *
type_text(enum config_type type)
{
	switch (type) {
	case TYPE_TEXT:
		return "text";
	case TYPE_NAME:
	case TYPE_LABEL:
		return "name";
	case TYPE_PATH:
		return "path";
	case TYPE_KEY:
		return "private key";
	case TYPE_SECRET:
		return "secret";
	case TYPE_MODE:
		return "octal permissions";
	case TYPE_BOOL:
		return "true or false";
	case TYPE_INT:
	case TYPE_LONG:
		return "integer";
	case TYPE_SIZE:
	case TYPE_KIB:
		return "size";
	case TYPE_DURATION:
		return "duration";
	case TYPE_WORD:
	case TYPE_CHOICE:
	case TYPE_SWITCH:
	case TYPE_FIELD:
	case TYPE_ANCHOR:
		return "word";
	case TYPE_KEY_RULE:
		return "key";
	case TYPE_FLAGS:
	case TYPE_KEY_USAGE:
	case TYPE_EKUS:
	case TYPE_ALGORITHMS:
		return "list of words";
	case TYPE_NUMBERS:
		return "list of integers";
	case TYPE_TEXTS:
		return "list of texts";
	case TYPE_NAMES:
		return "list of names";
	case TYPE_PATHS:
		return "list of paths";
	case TYPE_KEYS:
		return "list of private keys";
	case TYPE_KEY_RULES:
		return "list of keys";
	}
	return "";
}

/* One word, so that roff takes it for text: no macro, no escape, no quoted argument. */
static void
put_word(FILE *out, const char *word, size_t len, bool first)
{
	size_t i;

	if (first && (word[0] == '.' || word[0] == '\''))
		(void)fputs("\\&", out);
	for (i = 0; i < len; i++)
		if (word[i] == '\\')
			(void)fputs("\\e", out);
		else if (word[i] == '"')
			(void)fputs("\\(dq", out);
		else
			(void)fputc(word[i], out);
}

/* Words into lines; every sentence begins one, as mdoc wants it. */
static void
put_text(FILE *out, const char *text)
{
	size_t column = 0, len;

	for (; *text != '\0'; text += len + strspn(text + len, " ")) {
		len = strcspn(text, " ");
		if (column != 0 && (column + len > LINE_COLUMNS || text[-2] == '.')) {
			(void)fputc('\n', out);
			column = 0;
		} else if (column != 0)
			(void)fputc(' ', out);
		put_word(out, text, len, column == 0);
		column += len + 1;
	}
	(void)fputc('\n', out);
}

/* The words of a macro's argument: all of them on its line. */
static void
put_literal(FILE *out, const char *text)
{
	(void)fputs(".Li ", out);
	put_word(out, text, strlen(text), true);
	(void)fputc('\n', out);
}

static void
put_range(FILE *out, const struct config_row *row)
{
	char least[TIME_TEXT_MAX], most[TIME_TEXT_MAX];
	bool bits = config_type_is_list(row->type) && row->count_offset == 0 && row->type != TYPE_NUMBERS;

	if (row->max == 0 || row->type == TYPE_MODE || bits)
		return;
	config_number_text(row->type, row->min, least);
	config_number_text(row->type, row->max, most);
	if (row->type == TYPE_NUMBERS)
		(void)fprintf(out, "Each from %s to %s.\n", least, most);
	else if (config_type_is_list(row->type))
		(void)fprintf(out, "Holds from %s to %s.\n", least, most);
	else
		(void)fprintf(out, "From %s to %s.\n", least, most);
}

static void
put_choices(FILE *out, const struct config_row *row)
{
	const char *choice;
	int i;

	for (i = 0; (choice = config_choice(row, i)) != NULL; i++)
		(void)fprintf(out, "%s\n.Cm %s%s", i == 0 ? "One of" : "", choice[0] == '\0' ? "\\(dq\\(dq" : choice,
			config_choice(row, i + 1) == NULL ? " .\n" : " ,");
}

static void
put_row(FILE *out, const struct config_row *row)
{
	(void)fprintf(out, ".It Ic %s Pq %s\n", row->key, type_text(row->type));
	put_text(out, row->doc);
	if (!config_type_is_list(row->type))
		put_choices(out, row);
	put_range(out, row);
	if (row->fallback == NULL)
		(void)fputs("Must be set.\n", out);
	else {
		(void)fputs("Default:\n", out);
		put_literal(out, row->fallback);
	}
}

void
config_print_manual(FILE *out)
{
	size_t i, n;

	for (i = 0; i < SECTION_COUNT; i++) {
		const struct config_section *section = &config_sections[i];

		(void)fprintf(out, ".Ss %s%s\n", section->name, section->entry_size == 0 ? "" : " (a list of groups)");
		put_text(out, section->doc);
		(void)fputs(".Bl -tag -width Ds\n", out);
		for (n = 0; n < section->row_count; n++)
			put_row(out, &section->rows[n]);
		(void)fputs(".El\n", out);
	}
}
