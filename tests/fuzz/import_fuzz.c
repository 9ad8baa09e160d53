/*
 * Import files: the first octet chooses CSV or JSON Lines, the rest is the file.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "policy/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool condition)
{
	if (!condition)
		abort();
}

static void
check(const struct import_record *record)
{
	size_t i;

	must(record->asset.tag[0] != '\0' && record->owner[0] != '\0');
	must(text_is_clean(bytes_of_text(record->asset.tag)) && strchr(record->asset.tag, '/') == NULL);
	must(text_is_clean(bytes_of_text(record->asset.site)));
	must(record->asset.tier >= 0 && record->asset.tier <= 3);
	must((unsigned)record->asset.state < ASSET_STATES);
	must(record->anchor_count <= IMPORT_ANCHORS_MAX);
	for (i = 0; i < record->anchor_count; i++)
		must(record->anchors[i].value[0] != '\0' && record->anchors[i].issuer[0] != '\0');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct import_reader *reader = NULL;
	struct cursor c;
	struct err e;

	if (size == 0 || import_reader_new(data[0] % 2 == 0 ? IMPORT_CSV : IMPORT_JSONL, "fuzz", &reader, &e) != 0)
		return 0;
	c = cursor_of(bytes_of(data + 1, size - 1));
	while (cursor_left(&c) > 0) {
		const uint8_t *end = memchr(c.at, '\n', cursor_left(&c));
		size_t len = end == NULL ? cursor_left(&c) : (size_t)(end - c.at);
		struct import_record record;
		bool have = false;

		if (import_reader_feed(reader, cursor_take(&c, len), &record, &have, &e) == 0 && have)
			check(&record);
		if (end != NULL)
			(void)cursor_u8(&c);
	}
	if (import_reader_end(reader, &e) != 0)
		must(e.text[0] != '\0');
	import_reader_free(reader);
	return 0;
}
