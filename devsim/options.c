#include "devsim/options.h"

#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"

#define HELP_COLUMN 30
#define HELP_WIDTH  100

static bool
is_last(const struct option_spec *spec)
{
	return spec->name == NULL && spec->help == NULL;
}

static const struct option_spec *
find(const struct option_spec *specs, const char *name, size_t len)
{
	for (; !is_last(specs); specs++)
		if (specs->name != NULL && strlen(specs->name) == len && memcmp(specs->name, name, len) == 0)
			return specs;
	return NULL;
}

static const struct option_spec *
find_letter(const struct option_spec *specs, char letter)
{
	for (; !is_last(specs); specs++)
		if (specs->name != NULL && specs->letter == letter)
			return specs;
	return NULL;
}

static int
put_number(const struct option_spec *spec, uint64_t *to, const char *text, struct err *e)
{
	char *end = NULL;
	unsigned long long n = text[0] >= '0' && text[0] <= '9' ? strtoull(text, &end, 10) : 0;

	if (end == NULL || *end != '\0' || n > INT64_MAX)
		return err_set(e, ERR_MALFORMED, "--%s: \"%.40s\" is not a number", spec->name, text);
	*to = n;
	return 0;
}

static int
put_real(const struct option_spec *spec, double *to, const char *text, struct err *e)
{
	char *end = NULL;
	double n = (text[0] >= '0' && text[0] <= '9') || text[0] == '.' ? strtod(text, &end) : -1;

	if (end == NULL || (*end != '\0' && strcmp(end, "/s") != 0) || !(n >= 0 && n < 1e9))
		return err_set(e, ERR_MALFORMED, "--%s: \"%.40s\" is not a number like 200 or 0.5", spec->name,
			text);
	*to = n;
	return 0;
}

static int
put_duration(const struct option_spec *spec, int64_t *to, const char *text, struct err *e)
{
	int64_t seconds;

	if (duration_parse(text, &seconds, e) != 0)
		return err_prefix(e, "--%s", spec->name);
	*to = seconds;
	return 0;
}

static int
put_choice(const struct option_spec *spec, int *to, const char *text, struct err *e)
{
	const char *choice = spec->value;
	size_t len = strlen(text);
	int index = 0;

	for (;; index++) {
		size_t choice_len = strcspn(choice, "|");

		if (choice_len == len && memcmp(choice, text, len) == 0)
			break;
		if (choice[choice_len] == '\0')
			return err_set(e, ERR_MALFORMED, "--%s: \"%.40s\" is none of %s", spec->name, text,
				spec->value);
		choice += choice_len + 1;
	}
	*to = index;
	return 0;
}

static int
put_list(const struct option_spec *spec, struct option_list *list, const char *text, struct err *e)
{
	if (list->count == OPTION_LIST_MAX)
		return err_set(e, ERR_LIMIT, "--%s: at most %d of them", spec->name, OPTION_LIST_MAX);
	list->at[list->count++] = text;
	return 0;
}

static int
put_value(const struct option_spec *spec, void *options, const char *text, struct err *e)
{
	void *to = (char *)options + spec->at;

	switch (spec->kind) {
	case OPTION_TEXT:
		*(const char **)to = text;
		return 0;
	case OPTION_NUMBER:
		return put_number(spec, to, text, e);
	case OPTION_REAL:
		return put_real(spec, to, text, e);
	case OPTION_DURATION:
		return put_duration(spec, to, text, e);
	case OPTION_CHOICE:
		return put_choice(spec, to, text, e);
	case OPTION_LIST:
		return put_list(spec, to, text, e);
	case OPTION_SECTION:
	case OPTION_FLAG:
		break;
	}
	return err_set(e, ERR_MALFORMED, "--%s takes no value", spec->name);
}

/* inline_value: the text after "=", or NULL; next: the following argument, or NULL. *took says that it was used. */
static int
put_option(const struct option_spec *spec, void *options, const char *inline_value, const char *next, bool *took,
	struct err *e)
{
	*took = false;
	if (inline_value != NULL)
		return put_value(spec, options, inline_value, e);
	if (spec->kind == OPTION_FLAG) {
		*(bool *)((char *)options + spec->at) = true;
		return 0;
	}
	if (spec->bare != NULL && (next == NULL || next[0] < '0' || next[0] > '9'))
		return put_value(spec, options, spec->bare, e);
	if (next == NULL)
		return err_set(e, ERR_MALFORMED, "--%s needs a value: %s", spec->name, spec->value);
	*took = true;
	return put_value(spec, options, next, e);
}

int
options_parse(const struct option_spec *specs, void *to, int argc, char **argv, bool *help, struct err *e)
{
	int i;

	*help = false;
	for (i = 0; i < argc; i++) {
		const struct option_spec *spec = NULL;
		const char *text = argv[i], *equals = NULL;
		bool took;

		if (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0) {
			*help = true;
			return 0;
		}
		if (text[0] == '-' && text[1] == '-') {
			equals = strchr(text, '=');
			spec = find(specs, text + 2, equals == NULL ? strlen(text + 2) : (size_t)(equals - text - 2));
		} else if (text[0] == '-' && text[1] != '\0' && text[2] == '\0')
			spec = find_letter(specs, text[1]);
		if (spec == NULL)
			return err_set(e, ERR_MALFORMED, text[0] == '-' ? "unknown option %.60s" :
				"unexpected argument \"%.60s\"", text);
		if (put_option(spec, to, equals == NULL ? NULL : equals + 1, i + 1 < argc ? argv[i + 1] : NULL,
		    &took, e) != 0)
			return -1;
		i += took ? 1 : 0;
	}
	return 0;
}

/* Words wrapped at HELP_WIDTH, continuation lines indented. */
static void
help_text(const char *text, size_t column, FILE *to)
{
	while (*text != '\0') {
		size_t len = strcspn(text, " ");

		if (column + len > HELP_WIDTH) {
			(void)fprintf(to, "\n%*s", HELP_COLUMN, "");
			column = HELP_COLUMN;
		}
		(void)fprintf(to, "%.*s", (int)len, text);
		column += len;
		text += len;
		if (*text == ' ') {
			(void)fputc(' ', to);
			column++;
			text++;
		}
	}
	(void)fputc('\n', to);
}

void
options_help(const struct option_spec *specs, FILE *to)
{
	for (; !is_last(specs); specs++) {
		char head[128];
		int n;

		if (specs->kind == OPTION_SECTION) {
			(void)fprintf(to, "\n%s:\n", specs->help);
			continue;
		}
		n = snprintf(head, sizeof head, "  %s%c%s--%s%s%s%s", specs->letter != 0 ? "-" : " ",
			specs->letter != 0 ? specs->letter : ' ', " ", specs->name,
			specs->bare != NULL ? "[=" : specs->value != NULL ? " " : "",
			specs->value != NULL ? specs->value : "", specs->bare != NULL ? "]" : "");
		if (n < HELP_COLUMN - 1)
			(void)fprintf(to, "%-*s", HELP_COLUMN, head);
		else
			(void)fprintf(to, "%s\n%*s", head, HELP_COLUMN, "");
		help_text(specs->help, HELP_COLUMN, to);
	}
}
