#include "base/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define GAP      2
#define ELLIPSIS "\xe2\x80\xa6"

struct table {
	struct table_column columns[TABLE_COLUMNS_MAX];
	size_t count;
	struct buf text;   /* every cell, clean, NUL after each */
	size_t cells;
};

struct range {
	uint32_t first, last;
};

/* Marks that take no column of their own. */
static const struct range combining[] = { { 0x0300, 0x036f }, { 0x0483, 0x0489 }, { 0x0591, 0x05bd },
	{ 0x0610, 0x061a }, { 0x064b, 0x065f }, { 0x0900, 0x0902 }, { 0x093a, 0x093a }, { 0x093c, 0x093c },
	{ 0x0941, 0x0948 }, { 0x094d, 0x094d }, { 0x0e31, 0x0e31 }, { 0x0e34, 0x0e3a }, { 0x0e47, 0x0e4e },
	{ 0x1ab0, 0x1aff }, { 0x1dc0, 0x1dff }, { 0x200b, 0x200f }, { 0x202a, 0x202e }, { 0x2060, 0x206f },
	{ 0x20d0, 0x20f0 }, { 0xfe00, 0xfe0f }, { 0xfe20, 0xfe2f }, { 0xfeff, 0xfeff }, { 0xe0100, 0xe01ef } };

/* East Asian Wide and Fullwidth (Unicode Standard Annex 11), and emoji. */
static const struct range wide[] = { { 0x1100, 0x115f }, { 0x2329, 0x232a }, { 0x2e80, 0x303e },
	{ 0x3041, 0x33ff }, { 0x3400, 0x4dbf }, { 0x4e00, 0x9fff }, { 0xa000, 0xa4cf }, { 0xa960, 0xa97f },
	{ 0xac00, 0xd7a3 }, { 0xf900, 0xfaff }, { 0xfe30, 0xfe6f }, { 0xff01, 0xff60 }, { 0xffe0, 0xffe6 },
	{ 0x1f300, 0x1f64f }, { 0x1f680, 0x1f6ff }, { 0x1f900, 0x1f9ff }, { 0x20000, 0x3fffd } };

static bool
within(uint32_t c, const struct range *ranges, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	return false;
}

static size_t
character_columns(uint32_t c)
{
	if (within(c, combining, sizeof combining / sizeof combining[0]))
		return 0;
	return within(c, wide, sizeof wide / sizeof wide[0]) ? 2 : 1;
}

/* One character from the front of text; U+FFFD for a control, and for an octet that begins none. */
static uint32_t
next_character(struct bytes text, size_t *len)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint8_t lead = text.at[0];
	size_t want = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2, i;
	uint32_t c = want == 1 ? lead : (uint32_t)(lead & (0xff >> (want + 1)));

	*len = 1;
	if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4 || want > text.len)
		return 0xfffd;
	for (i = 1; i < want; i++) {
		if ((text.at[i] & 0xc0) != 0x80)
			return 0xfffd;
		c = c << 6 | (text.at[i] & 0x3f);
	}
	if (c < least[want] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0xfffd;
	*len = want;
	return c < 0x20 || (c >= 0x7f && c < 0xa0) ? 0xfffd : c;
}

size_t
text_columns(struct bytes text)
{
	size_t columns = 0, len;

	while (text.len > 0) {
		columns += character_columns(next_character(text, &len));
		text = bytes_of(text.at + len, text.len - len);
	}
	return columns;
}

static void
append_clean(struct buf *out, struct bytes text, size_t columns_max)
{
	size_t total = text_columns(text), used = 0, len;
	bool cut = columns_max != 0 && total > columns_max;

	while (text.len > 0) {
		uint32_t c = next_character(text, &len);
		size_t columns = character_columns(c);

		if (cut && used + columns > columns_max - 1)
			break;
		if (c == 0xfffd)
			buf_append_u8(out, '?');
		else
			buf_append(out, text.at, len);
		used += columns;
		text = bytes_of(text.at + len, text.len - len);
	}
	if (cut)
		buf_append_text(out, ELLIPSIS);
}

struct table *
table_new(const struct table_column *columns, size_t count)
{
	struct table *table;

	if (count == 0 || count > TABLE_COLUMNS_MAX)
		return NULL;
	table = calloc(1, sizeof *table);
	if (table == NULL)
		return NULL;
	memcpy(table->columns, columns, count * sizeof *columns);
	table->count = count;
	return table;
}

void
table_free(struct table *table)
{
	if (table == NULL)
		return;
	buf_free(&table->text);
	free(table);
}

void
table_cell(struct table *table, const char *text)
{
	append_clean(&table->text, bytes_of_text(text == NULL ? "" : text),
		table->columns[table->cells % table->count].width_max);
	buf_append_u8(&table->text, '\0');
	table->cells++;
}

void
table_cellf(struct table *table, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	table_cell(table, text);
}

size_t
table_rows(const struct table *table)
{
	return table->cells / table->count;
}

static void
pad(struct buf *line, size_t columns)
{
	while (columns-- > 0)
		buf_append_u8(line, ' ');
}

static void
format_cell(const struct table *table, size_t column, const char *text, size_t width, struct buf *out)
{
	size_t columns = text_columns(bytes_of_text(text));
	size_t fill = columns < width ? width - columns : 0;
	bool last = column + 1 == table->count;

	if (table->columns[column].align == TABLE_RIGHT)
		pad(out, fill);
	buf_append_text(out, text);
	if (table->columns[column].align == TABLE_LEFT && !last)
		pad(out, fill);
	if (last)
		buf_append_u8(out, '\n');
	else
		pad(out, GAP);
}

/* Blanks before a newline come from empty cells at the end of a row. */
static void
trim_line(struct buf *out)
{
	size_t len = out->len;

	if (out->failed || len == 0)
		return;
	len--;
	while (len > 0 && out->at[len - 1] == ' ')
		len--;
	out->at[len] = '\n';
	out->len = len + 1;
}

int
table_format(const struct table *table, struct buf *out, struct err *e)
{
	size_t width[TABLE_COLUMNS_MAX], i, cells = table_rows(table) * table->count;
	const char *text = (const char *)table->text.at;

	if (table->text.failed)
		return err_set(e, ERR_NOMEM, "table: no memory");
	for (i = 0; i < table->count; i++)
		width[i] = text_columns(bytes_of_text(table->columns[i].title));
	for (i = 0; i < cells; i++, text += strlen(text) + 1) {
		size_t columns = text_columns(bytes_of_text(text));

		if (columns > width[i % table->count])
			width[i % table->count] = columns;
	}
	for (i = 0; i < table->count; i++)
		format_cell(table, i, table->columns[i].title, width[i], out);
	text = (const char *)table->text.at;
	for (i = 0; i < cells; i++, text += strlen(text) + 1) {
		format_cell(table, i % table->count, text, width[i % table->count], out);
		if (i % table->count == table->count - 1)
			trim_line(out);
	}
	if (buf_failed(out))
		return err_set(e, ERR_NOMEM, "table: no memory");
	return 0;
}

int
table_print(const struct table *table, FILE *to, struct err *e)
{
	CLEANUP(buf) struct buf out = { 0 };

	if (table_format(table, &out, e) != 0)
		return -1;
	if (fwrite(out.at, 1, out.len, to) != out.len)
		return err_set(e, ERR_UPSTREAM, "writing a table failed");
	return 0;
}
