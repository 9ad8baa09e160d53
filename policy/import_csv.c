#include <string.h>

#include "base/text.h"
#include "policy/import_mapped.h"

/*
 * One record (RFC 4180, section 2) may come in several lines. Its characters
 * go to reader->record; field_end[] says where each finished field ends there.
 */

static int
field_finish(struct import_reader *reader, struct err *e)
{
	if (reader->field_count == IMPORT_COLUMNS_MAX)
		return err_set(e, ERR_LIMIT, "more than %d fields", IMPORT_COLUMNS_MAX);
	reader->field_end[reader->field_count++] = reader->record.len;
	return 0;
}

/* Up to the closing quote, or to the end of the line, where the field stays open. */
static void
read_quoted(struct import_reader *reader, struct cursor *c)
{
	while (cursor_left(c) > 0) {
		uint8_t octet = cursor_u8(c);

		if (octet == '"') {
			if (cursor_left(c) == 0 || *c->at != '"') {
				reader->in_quotes = false;
				return;
			}
			(void)cursor_u8(c);
		}
		buf_append_u8(&reader->record, octet);
	}
}

static int
read_plain(struct import_reader *reader, struct cursor *c, bool *more, struct err *e)
{
	while (cursor_left(c) > 0) {
		uint8_t octet = cursor_u8(c);

		if (octet == ',') {
			*more = true;
			break;
		}
		if (octet == '"')
			return err_set(e, ERR_MALFORMED,
				"field %zu: a quote inside a field that does not begin with one",
				reader->field_count + 1);
		buf_append_u8(&reader->record, octet);
	}
	return field_finish(reader, e);
}

/* *more: a comma followed. A field that stays open for the next line is not finished. */
static int
read_field(struct import_reader *reader, struct cursor *c, bool *more, struct err *e)
{
	*more = false;
	if (!reader->in_quotes) {
		if (cursor_left(c) == 0 || *c->at != '"')
			return read_plain(reader, c, more, e);
		(void)cursor_u8(c);
		reader->in_quotes = true;
	}
	read_quoted(reader, c);
	if (reader->in_quotes)
		return 0;
	if (cursor_left(c) > 0) {
		if (cursor_u8(c) != ',')
			return err_set(e, ERR_MALFORMED, "field %zu: text after the closing quote",
				reader->field_count + 1);
		*more = true;
	}
	return field_finish(reader, e);
}

static int
read_line(struct import_reader *reader, struct bytes line, struct err *e)
{
	struct cursor c = cursor_of(line);
	bool more = true;

	if (reader->in_quotes)
		buf_append_u8(&reader->record, '\n');
	while (more)
		if (read_field(reader, &c, &more, e) != 0)
			return -1;
	if (reader->record.len > IMPORT_LINE_MAX)
		return err_set(e, ERR_LIMIT, "a record of more than %d octets; is a closing quote missing?",
			IMPORT_LINE_MAX);
	return buf_failed(&reader->record) ? err_set(e, ERR_NOMEM, "no memory") : 0;
}

static struct bytes
field_at(const struct import_reader *reader, size_t at)
{
	size_t from = at == 0 ? 0 : reader->field_end[at - 1];

	/* The buffer has no octets at all when every field is empty. */
	if (reader->field_end[at] == from)
		return bytes_of(NULL, 0);
	return bytes_of(reader->record.at + from, reader->field_end[at] - from);
}

static bool
has_column(const struct import_reader *reader, enum import_column column)
{
	size_t i;

	for (i = 0; i < reader->column_count; i++)
		if (reader->columns[i] == column)
			return true;
	return false;
}

/* Another system's: a column that is used must be there once. */
static int
read_their_header(struct import_reader *reader, struct err *e)
{
	size_t i;
	int column;

	for (i = 0; i < reader->field_count; i++) {
		column = import_seen_column(reader, field_at(reader, i), e);
		if (column < 0)
			return -1;
		if ((size_t)column < i && import_seen_read(reader, (size_t)column))
			return err_set(e, ERR_MALFORMED, "column %s: it occurs twice",
				import_seen_folded(reader, (size_t)column));
		reader->their_columns[i] = (size_t)column;
	}
	reader->column_count = reader->field_count;
	reader->has_header = true;
	return 0;
}

static int
read_header(struct import_reader *reader, struct err *e)
{
	enum import_column column;
	size_t i;

	if (reader->map != NULL)
		return read_their_header(reader, e);
	reader->column_count = 0;
	for (i = 0; i < reader->field_count; i++) {
		if (import_column_of(field_at(reader, i), &column, e) != 0)
			return -1;
		if (column != COLUMN_ANCHOR && has_column(reader, column))
			return err_set(e, ERR_MALFORMED, "column %s: it occurs twice", import_column_name(column));
		reader->columns[reader->column_count++] = column;
	}
	if (!has_column(reader, COLUMN_TAG) || !has_column(reader, COLUMN_OWNER))
		return err_set(e, ERR_MALFORMED, "the header has no column %s",
			has_column(reader, COLUMN_TAG) ? "owner" : "tag");
	reader->has_header = true;
	return 0;
}

static struct bytes
their_text(void *arg, const char *folded)
{
	const struct import_reader *reader = arg;
	size_t i;

	for (i = 0; i < reader->field_count; i++)
		if (strcmp(import_seen_folded(reader, reader->their_columns[i]), folded) == 0)
			return field_at(reader, i);
	return bytes_of(NULL, 0);
}

static int
read_record(struct import_reader *reader, struct import_record *out, struct err *e)
{
	struct import_record record = { .line = reader->record_line, .absent = IMPORT_OPTIONAL };
	struct map_fields fields = { their_text, reader };
	size_t i;

	if (reader->field_count != reader->column_count)
		return err_set(e, ERR_MALFORMED, "%zu fields, but the header has %zu", reader->field_count,
			reader->column_count);
	if (reader->map != NULL && import_map_apply(reader->map, &fields, &record, e) != 0)
		return -1;
	for (i = 0; reader->map == NULL && i < reader->field_count; i++)
		if (import_set(&record, reader->columns[i], field_at(reader, i), e) != 0)
			return -1;
	if (import_finish(reader, &record, e) != 0)
		return -1;
	*out = record;
	return 0;
}

struct bytes
import_reader_field(const struct import_reader *reader, size_t at)
{
	return at < reader->field_count ? field_at(reader, at) : bytes_of(NULL, 0);
}

int
import_csv_fields(struct import_reader *reader, struct bytes line, bool *have, struct err *e)
{
	*have = false;
	if (!reader->in_quotes) {
		if (line.len == 0)
			return 0;
		buf_clear(&reader->record);
		reader->field_count = 0;
		reader->record_line = reader->line;
	}
	if (read_line(reader, line, e) != 0) {
		reader->in_quotes = false;
		return -1;
	}
	*have = !reader->in_quotes;
	return 0;
}

int
import_csv_feed(struct import_reader *reader, struct bytes line, struct import_record *out, bool *have, struct err *e)
{
	int rc = import_csv_fields(reader, line, have, e);
	bool complete = *have;

	*have = false;
	if (rc != 0 || !complete)
		return rc;
	if (!reader->has_header)
		return read_header(reader, e);
	rc = read_record(reader, out, e);
	*have = rc == 0;
	return rc;
}
