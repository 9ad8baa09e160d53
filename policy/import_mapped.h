/*
 * import_mapped.h - a record by its map. Internal to policy/.
 */
#ifndef POLICY_IMPORT_MAPPED_H
#define POLICY_IMPORT_MAPPED_H

#include "policy/import_map.h"
#include "policy/import_record.h"

#define MAP_NAME_MAX 80

/* A column's name as it is compared: its letters and digits, small; other than ASCII as it is. Cut to fit. */
void import_map_fold(struct bytes name, char out[MAP_NAME_MAX]);

/* Does a statement of the map read this column (a folded name)? */
bool import_map_reads(const struct import_map *map, const char *folded);

/* Where a record's texts come from: the text of the column of that (folded) name; len 0 when there is none. */
struct map_fields {
	struct bytes (*text_of)(void *arg, const char *folded);
	void *arg;
};

/* Fill a record. Errors say "column <ours>: ...". */
MUST_USE int import_map_apply(const struct import_map *map, const struct map_fields *fields,
	struct import_record *record, struct err *e);

#endif
