/*
 * import_record.h - what both import formats share: columns into a record. Internal to policy/.
 */
#ifndef POLICY_IMPORT_RECORD_H
#define POLICY_IMPORT_RECORD_H

#include "policy/import.h"
#include "policy/import_map.h"

#define IMPORT_SHOWN_MAX 48

enum import_column {
	COLUMN_TAG,
	COLUMN_OWNER,
	COLUMN_MANUFACTURER,
	COLUMN_MODEL,
	COLUMN_SERIAL,
	COLUMN_CLASS,
	COLUMN_STATE,
	COLUMN_HOLDING,
	COLUMN_TIER,
	COLUMN_SITE,
	COLUMN_HOSTNAME,
	COLUMN_SOURCE,
	COLUMN_SOURCE_KEY,
	COLUMN_ANCHOR,
};
#define IMPORT_COLUMN_KINDS (COLUMN_ANCHOR + 1)

const char *import_column_name(enum import_column column);
/* ERR_MALFORMED: unknown; the text suggests the nearest name. */
MUST_USE int import_column_of(struct bytes name, enum import_column *out, struct err *e);

/* One CSV file or JSON Lines stream being read. */
struct import_reader {
	enum import_format format;
	char source[REG_TEXT_MAX];
	int64_t line;         /* of the line being fed, from 1 */
	const struct import_map *map; /* NULL: the columns are ours */
	struct import_seen *seen;     /* with a map: the file's columns */
	/* CSV only */
	bool has_header;
	enum import_column columns[IMPORT_COLUMNS_MAX];
	size_t their_columns[IMPORT_COLUMNS_MAX]; /* with a map */
	size_t column_count;
	struct buf record;    /* the fields of the record so far, unquoted, one after the other */
	size_t field_end[IMPORT_COLUMNS_MAX];
	size_t field_count;   /* finished fields */
	bool in_quotes;
	int64_t record_line;  /* where the record began */
};

/* Set one column from its text; an empty text is as good as none. Errors say "column <name>: ...". */
/* It counts as there even when it is empty, where empty is a value. A record begins with IMPORT_OPTIONAL absent. */
MUST_USE int import_set(struct import_record *record, enum import_column column, struct bytes value, struct err *e);

/* With a map. Their columns as they come (import_seen.c). */
struct import_seen;
void import_seen_free(struct import_seen *seen);
/* The column of this name: its number; a new one is remembered. -1 *e. */
int import_seen_column(struct import_reader *reader, struct bytes name, struct err *e);
const char *import_seen_folded(const struct import_reader *reader, size_t column);
bool import_seen_read(const struct import_reader *reader, size_t column); /* does the map read it? */

/* Required columns and defaults. */
MUST_USE int import_finish(const struct import_reader *reader, struct import_record *record, struct err *e);

/* Each feeds one line, without byte order mark, final CR, or "line N". */
MUST_USE int import_csv_feed(struct import_reader *reader, struct bytes line, struct import_record *out, bool *have,
	struct err *e);
/* One line's fields; *have: the record is complete. */
MUST_USE int import_csv_fields(struct import_reader *reader, struct bytes line, bool *have, struct err *e);
MUST_USE int import_json_feed(struct import_reader *reader, struct bytes line, struct import_record *out, bool *have,
	struct err *e);

#endif
