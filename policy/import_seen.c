/* The columns of a file that comes with a map, so that an operator learns which of them were left aside. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "policy/import_mapped.h"

struct import_seen {
	size_t count;
	struct {
		char name[IMPORT_SHOWN_MAX]; /* as it is spelt, escaped */
		char folded[MAP_NAME_MAX];
		bool read;
	} columns[IMPORT_COLUMNS_MAX];
};

void
import_seen_free(struct import_seen *seen)
{
	free(seen);
}

int
import_seen_column(struct import_reader *reader, struct bytes name, struct err *e)
{
	struct import_seen *seen = reader->seen;
	char folded[MAP_NAME_MAX] = { 0 };
	size_t i;

	if (seen == NULL)
		seen = reader->seen = calloc(1, sizeof *seen);
	if (seen == NULL)
		return err_set(e, ERR_NOMEM, "no memory for columns");
	import_map_fold(name, folded);
	for (i = 0; i < seen->count; i++)
		if (strcmp(seen->columns[i].folded, folded) == 0)
			return (int)i;
	if (seen->count == IMPORT_COLUMNS_MAX)
		return err_set(e, ERR_LIMIT, "more than %d columns", IMPORT_COLUMNS_MAX);
	text_escape(seen->columns[seen->count].name, sizeof seen->columns[0].name, name);
	memcpy(seen->columns[seen->count].folded, folded, sizeof folded);
	seen->columns[seen->count].read = import_map_reads(reader->map, folded);
	return (int)seen->count++;
}

const char *
import_seen_folded(const struct import_reader *reader, size_t column)
{
	return reader->seen->columns[column].folded;
}

bool
import_seen_read(const struct import_reader *reader, size_t column)
{
	return reader->seen->columns[column].read;
}

size_t
import_reader_ignored(const struct import_reader *reader, const char **names, size_t max)
{
	size_t count = 0, i;

	for (i = 0; reader->seen != NULL && i < reader->seen->count; i++) {
		if (reader->seen->columns[i].read)
			continue;
		if (count < max)
			names[count] = reader->seen->columns[i].name;
		count++;
	}
	return count;
}
