#include "policy/import.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "policy/import_record.h"

static const uint8_t byte_order_mark[] = { 0xef, 0xbb, 0xbf };

int
import_reader_new(enum import_format format, const char *source, struct import_reader **out, struct err *e)
{
	struct import_reader *reader = calloc(1, sizeof *reader);

	if (reader == NULL)
		return err_set(e, ERR_NOMEM, "import: no memory");
	reader->format = format;
	if (text_copy(reader->source, sizeof reader->source, bytes_of_text(source), "the source's name", e) != 0) {
		free(reader);
		return -1;
	}
	*out = reader;
	return 0;
}

void
import_reader_free(struct import_reader *reader)
{
	if (reader == NULL)
		return;
	buf_free(&reader->record);
	import_seen_free(reader->seen);
	free(reader);
}

void
import_reader_use(struct import_reader *reader, const struct import_map *map)
{
	reader->map = map;
}

static struct bytes
bare(const struct import_reader *reader, struct bytes line)
{
	if (reader->line == 1 && line.len >= sizeof byte_order_mark &&
	    memcmp(line.at, byte_order_mark, sizeof byte_order_mark) == 0)
		line = bytes_of(line.at + sizeof byte_order_mark, line.len - sizeof byte_order_mark);
	if (line.len > 0 && line.at[line.len - 1] == '\r')
		line.len--;
	return line;
}

static int
feed(struct import_reader *reader, struct bytes line, struct import_record *out, bool *have, struct err *e)
{
	line = bare(reader, line);
	switch (reader->format) {
	case IMPORT_CSV:
		return import_csv_feed(reader, line, out, have, e);
	case IMPORT_JSONL:
		return import_json_feed(reader, line, out, have, e);
	}
	return err_set(e, ERR_BUG, "unknown format");
}

int
import_reader_feed(struct import_reader *reader, struct bytes line, struct import_record *out, bool *have,
	struct err *e)
{
	char what[ERR_TEXT_MAX];
	int64_t at;

	reader->line++;
	*have = false;
	if (line.len > IMPORT_LINE_MAX)
		return err_set(e, ERR_LIMIT, "line %lld: longer than %d octets", (long long)reader->line,
			IMPORT_LINE_MAX);
	if (feed(reader, line, out, have, e) == 0)
		return 0;
	/* A record of several lines is named by its first. */
	at = reader->record_line;
	memcpy(what, e->text, sizeof what);
	return err_set(e, e->code, "line %lld%s %.200s", (long long)at,
		strncmp(what, "column ", 7) == 0 ? "," : ":", what);
}

int
import_reader_fields(struct import_reader *reader, struct bytes line, bool *have, size_t *count, struct err *e)
{
	reader->line++;
	*have = false;
	reader->has_header = true;
	if (line.len > IMPORT_LINE_MAX)
		return err_set(e, ERR_LIMIT, "line %lld: longer than %d octets", (long long)reader->line, IMPORT_LINE_MAX);
	if (import_csv_fields(reader, bare(reader, line), have, e) != 0)
		return err_prefix(e, "line %lld", (long long)reader->record_line);
	*count = reader->field_count;
	return 0;
}

int
import_reader_end(struct import_reader *reader, struct err *e)
{
	if (reader->in_quotes)
		return err_set(e, ERR_MALFORMED, "line %lld: a quote is not closed", (long long)reader->record_line);
	if (reader->format == IMPORT_CSV && !reader->has_header)
		return err_set(e, ERR_MALFORMED, "there is no header line");
	return 0;
}
