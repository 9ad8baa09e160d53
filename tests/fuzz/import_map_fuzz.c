/* A map up to the first NUL, then a file that is read by it: CSV or JSON Lines, by the first octet. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "policy/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
read_file(struct import_reader *reader, struct bytes text)
{
	const char *names[4];
	struct import_record record;
	struct err e;
	bool have;

	while (text.len > 0) {
		const uint8_t *newline = memchr(text.at, '\n', text.len);
		size_t len = newline == NULL ? text.len : (size_t)(newline - text.at);

		if (import_reader_feed(reader, bytes_of(text.at, len), &record, &have, &e) == 0 && have &&
		    (record.asset.tag[0] == '\0' || record.owner[0] == '\0'))
			abort();
		text.at += len + (newline != NULL);
		text.len -= len + (newline != NULL);
	}
	if (import_reader_ignored(reader, names, 4) > IMPORT_COLUMNS_MAX)
		abort();
	if (import_reader_end(reader, &e) != 0 && e.text[0] == '\0')
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nul = size < 2 ? NULL : memchr(data + 1, 0, size - 1);
	struct import_reader *reader = NULL;
	struct import_map *map = NULL;
	struct err e;

	if (nul == NULL || import_map_new(bytes_of(data + 1, (size_t)(nul - data) - 1), "Us", "acme", &map, &e) != 0)
		return 0;
	if (import_reader_new(data[0] % 2 == 0 ? IMPORT_CSV : IMPORT_JSONL, "fuzz", &reader, &e) == 0) {
		import_reader_use(reader, map);
		read_file(reader, bytes_of(nul + 1, size - (size_t)(nul - data) - 1));
	}
	import_reader_free(reader);
	import_map_free(map);
	return 0;
}
