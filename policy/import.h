/*
 * import.h - assets from CSV (RFC 4180) and JSON Lines, one record at a time.
 *
 * The reader is fed lines and gives records; it opens nothing. Errors name
 * the line and the column.
 *
 * Columns / keys: tag (required), owner (required), manufacturer, model, serial,
 * class, state (default "staged"), holding (default "corporate"), tier (default 0), site,
 * hostname, source, source_key, and any number of anchors: "anchor" columns (may
 * repeat; JSON: an array) of the form "type:issuer:value", for example
 * "idevid_serial:acme:FDO27361XTF". An unknown column is an error.
 */
#ifndef POLICY_IMPORT_H
#define POLICY_IMPORT_H

#include "base/bytes.h"
#include "policy/record.h"

#define IMPORT_LINE_MAX 16384
#define IMPORT_ANCHORS_MAX 8
#define IMPORT_COLUMNS_MAX 64

struct import_record {
	struct asset asset;           /* id, owner_id, version and times are 0 */
	char owner[REG_TEXT_MAX];
	bool has_state;               /* the line names a state */
	struct anchor anchors[IMPORT_ANCHORS_MAX];
	size_t anchor_count;
	int64_t line;                 /* where it began, from 1 */
};

enum import_format { IMPORT_CSV, IMPORT_JSONL };

struct import_reader;
MUST_USE int import_reader_new(enum import_format format, const char *source, struct import_reader **out,
	struct err *e); /* source: the default for assets that name none */
void import_reader_free(struct import_reader *reader);

/*
 * Feed one line without its newline (a quoted CSV field may span lines). *have
 * says whether *out was filled: the CSV header, blank lines and unfinished
 * quoted fields give none. Errors: "line 17, column tier: ...". After one the
 * next line may be fed all the same, to collect what else is wrong.
 *
 * A CR at the end of a line and a byte order mark before the first are dropped,
 * white space at a field's ends too (in a tag it is an error). A newline inside
 * a quoted manufacturer, model, class or site becomes a space; elsewhere it is
 * refused like every control character, and so are marks that change the
 * direction of text. Anchors are normalised (identity.h);
 * identity_fold() is the caller's, who knows the rules.
 */
MUST_USE int import_reader_feed(struct import_reader *reader, struct bytes line, struct import_record *out,
	bool *have, struct err *e);
/* After the last line: an unfinished quoted field or a missing header is an error. */
MUST_USE int import_reader_end(struct import_reader *reader, struct err *e);

#endif
