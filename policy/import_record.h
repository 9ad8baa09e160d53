/*
 * import_record.h - what both import formats share: columns into a record. Internal to policy/.
 */
#ifndef POLICY_IMPORT_RECORD_H
#define POLICY_IMPORT_RECORD_H

#include "policy/import.h"

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
	/* CSV only */
	bool has_header;
	enum import_column columns[IMPORT_COLUMNS_MAX];
	size_t column_count;
	struct buf record;    /* the fields of the record so far, unquoted, one after the other */
	size_t field_end[IMPORT_COLUMNS_MAX];
	size_t field_count;   /* finished fields */
	bool in_quotes;
	int64_t record_line;  /* where the record began */
};

/* Set one column from its text; an empty text is as good as none. Errors say "column <name>: ...". */
MUST_USE int import_set(struct import_record *record, enum import_column column, struct bytes value, struct err *e);

/* Required columns and defaults. */
MUST_USE int import_finish(const struct import_reader *reader, struct import_record *record, struct err *e);

/* Each feeds one line, without byte order mark, final CR, or "line N". */
MUST_USE int import_csv_feed(struct import_reader *reader, struct bytes line, struct import_record *out, bool *have,
	struct err *e);
MUST_USE int import_json_feed(struct import_reader *reader, struct bytes line, struct import_record *out, bool *have,
	struct err *e);

#endif
