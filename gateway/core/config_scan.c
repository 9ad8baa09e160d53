#include "gateway/core/config_scan.h"

#include <limits.h>
#include <string.h>

static bool
is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool
is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '*';
}

static uint8_t
octet_at(struct bytes b, size_t i)
{
	return i < b.len ? b.at[i] : 0;
}

size_t
config_scan_include(const struct config_scan *scan, struct bytes rest, char name[CONFIG_PATH_MAX])
{
	static const char word[] = "@include";
	size_t i = 0, from;

	if (scan->in != SCAN_PLAIN)
		return 0;
	while (is_blank(octet_at(rest, i)))
		i++;
	if (rest.len - i < sizeof word || memcmp(rest.at + i, word, sizeof word - 1) != 0)
		return 0;
	i += sizeof word - 1;
	while (is_blank(octet_at(rest, i)))
		i++;
	if (octet_at(rest, i) != '"')
		return 0;
	from = ++i;
	while (octet_at(rest, i) >= 0x20 && rest.at[i] != '"' && rest.at[i] != '\\')
		i++;
	if (octet_at(rest, i) != '"' || i - from >= CONFIG_PATH_MAX)
		return 0;
	memcpy(name, rest.at + from, i - from);
	name[i - from] = '\0';
	i++;
	while (is_blank(octet_at(rest, i)))
		i++;
	if (i < rest.len && rest.at[i] != '\n')
		return 0;
	return i < rest.len ? i + 1 : i;
}

/* A number's digits are copied; past 32 bits, where libconfig would wrap around, INT_MAX stands for them. */
static size_t
copy_number(struct bytes rest, struct config_source *source)
{
	bool hex = octet_at(rest, 0) == '0' && (octet_at(rest, 1) == 'x' || octet_at(rest, 1) == 'X');
	size_t i = hex ? 2 : 0;
	uint64_t value = 0;

	for (; i < rest.len; i++) {
		uint8_t c = rest.at[i];
		uint8_t lower = (uint8_t)(c | 0x20);

		if (is_digit(c))
			value = value * (hex ? 16 : 10) + (uint64_t)(c - '0');
		else if (hex && lower >= 'a' && lower <= 'f')
			value = value * 16 + (uint64_t)(lower - 'a') + 10;
		else
			break;
		if (value > INT_MAX)
			value = (uint64_t)INT_MAX + 1;
	}
	if (value > INT_MAX)
		buf_printf(&source->text, "%d", INT_MAX);
	else
		buf_append(&source->text, rest.at, i);
	return i;
}

static size_t
step_plain(struct config_scan *scan, struct bytes rest, struct config_source *source)
{
	uint8_t c = rest.at[0], next = octet_at(rest, 1);

	if (is_digit(c) && !scan->word) {
		scan->word = true;
		return copy_number(rest, source);
	}
	scan->word = is_letter(c) || (scan->word && (is_digit(c) || c == '-' || c == '.'));
	if (c == '"')
		scan->in = SCAN_TEXT;
	else if (c == '#' || (c == '/' && next == '/'))
		scan->in = SCAN_LINE_COMMENT;
	else if (c == '/' && next == '*')
		scan->in = SCAN_COMMENT;
	if (scan->in != SCAN_PLAIN)
		scan->opened = source->lines + 1;
	if (c == '@') {
		config_source_report(source, source->lines + 1,
			"\"@\" begins nothing but @include \"file\", alone on its line");
		source->broken = true;
	}
	return scan->in == SCAN_COMMENT ? 2 : 1;
}

static size_t
step_text(struct config_scan *scan, struct bytes rest, struct config_source *source)
{
	if (rest.at[0] == '"')
		scan->in = SCAN_PLAIN;
	if (rest.at[0] != '\\')
		return 1;
	if (octet_at(rest, 1) == 'x' && octet_at(rest, 2) == '0' && octet_at(rest, 3) == '0') {
		config_source_report(source, source->lines + 1, "a text cannot hold \\x00");
		source->broken = true;
	}
	/* The newline after a final backslash is left to the line counter. */
	return rest.len > 1 && rest.at[1] != '\n' ? 2 : 1;
}

/* How many octets the next one takes along; numbers have copied themselves. */
static size_t
step(struct config_scan *scan, struct bytes rest, struct config_source *source, bool *copied)
{
	*copied = false;
	switch (scan->in) {
	case SCAN_PLAIN:
		*copied = is_digit(rest.at[0]) && !scan->word;
		return step_plain(scan, rest, source);
	case SCAN_TEXT:
		return step_text(scan, rest, source);
	case SCAN_COMMENT:
		if (rest.at[0] != '*' || octet_at(rest, 1) != '/')
			return 1;
		scan->in = SCAN_PLAIN;
		return 2;
	case SCAN_LINE_COMMENT:
		break;
	}
	return 1;
}

size_t
config_scan_line(struct config_scan *scan, struct bytes rest, struct config_source *source)
{
	size_t i = 0;

	while (i < rest.len && rest.at[i] != '\n' && !source->broken) {
		bool copied;
		size_t n = step(scan, bytes_of(rest.at + i, rest.len - i), source, &copied);

		if (!copied)
			buf_append(&source->text, rest.at + i, n);
		if (memchr(rest.at + i, 0, n) != NULL) {
			config_source_report(source, source->lines + 1, "a NUL octet: this is not a text file");
			source->broken = true;
		}
		i += n;
	}
	buf_append_u8(&source->text, '\n');
	source->lines++;
	scan->line++;
	scan->word = false;
	if (scan->in == SCAN_LINE_COMMENT)
		scan->in = SCAN_PLAIN;
	return i < rest.len ? i + 1 : i;
}

void
config_scan_end(const struct config_scan *scan, struct config_source *source)
{
	if (source->broken || scan->in == SCAN_PLAIN)
		return;
	config_source_report(source, scan->opened, scan->in == SCAN_TEXT ?
		"this text has no closing quotation mark" : "this comment is never closed");
	source->broken = true;
}
