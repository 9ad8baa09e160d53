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
 * "idevid_serial:acme:FDO27361XTF". Defaults are for new assets: of a known one a column that is not there (JSON:
 * no such key, or null; with a map: nothing came of it) changes nothing, nor does an empty state, holding or tier. An
 * empty text in a column that is there empties it. An unknown column is an error, but where a map
 * (import_map.h) says what another system's columns are: there it is ignored, and counted.
 */
#ifndef POLICY_IMPORT_H
#define POLICY_IMPORT_H

#include "base/bytes.h"
#include "policy/import_map.h"
#include "policy/record.h"

#define IMPORT_LINE_MAX 16384
#define IMPORT_ANCHORS_MAX 8
#define IMPORT_COLUMNS_MAX 256

/* Columns that a line may do without. */
#define IMPORT_MANUFACTURER 1u
#define IMPORT_MODEL 2u
#define IMPORT_SERIAL 4u
#define IMPORT_CLASS 8u
#define IMPORT_SITE 16u
#define IMPORT_HOSTNAME 32u
#define IMPORT_HOLDING 64u
#define IMPORT_TIER 128u
#define IMPORT_SOURCE 256u
#define IMPORT_SOURCE_KEY 512u
#define IMPORT_OPTIONAL 1023u

struct import_record {
	struct asset asset;           /* id, owner_id, version and times are 0 */
	char owner[REG_TEXT_MAX];
	bool has_state;               /* the line names a state */
	unsigned absent;              /* IMPORT_*: the line says nothing of these; a known asset keeps them as they are */
	struct anchor anchors[IMPORT_ANCHORS_MAX];
	size_t anchor_count;
	int64_t line;                 /* where it began, from 1 */
};

enum import_format { IMPORT_CSV, IMPORT_JSONL };

struct import_reader;
MUST_USE int import_reader_new(enum import_format format, const char *source, struct import_reader **out,
	struct err *e); /* source: the default for assets that name none */
void import_reader_free(struct import_reader *reader);
/* Before the first line: columns are another system's. The map is borrowed until the reader is freed. */
void import_reader_use(struct import_reader *reader, const struct import_map *map);
/* With a map: columns that nothing was made of, as the file spells them, in order; at most max of them to names
   (borrowed from the reader). How many there are in all. */
size_t import_reader_ignored(const struct import_reader *reader, const char **names, size_t max);

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
/*
 * The same files as bare fields, for other tables: CSV only. *have says that a record is complete; its fields are read
 * with import_reader_field() until the next line is fed (empty past the last). A header is a record like the others here.
 */
MUST_USE int import_reader_fields(struct import_reader *reader, struct bytes line, bool *have, size_t *count,
	struct err *e);
struct bytes import_reader_field(const struct import_reader *reader, size_t at);
/* After the last line: an unfinished quoted field or a missing header is an error. */
MUST_USE int import_reader_end(struct import_reader *reader, struct err *e);

#endif
