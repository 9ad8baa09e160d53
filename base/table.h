/*
 * table.h - aligned text tables for people.
 *
 * Cells are UTF-8; widths are counted in terminal columns, so that combining
 * marks take none and East Asian wide characters two. Control characters and
 * malformed octets become '?': what a peer sent cannot move the cursor.
 */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stdio.h>

#include "base/bytes.h"

enum table_align { TABLE_LEFT, TABLE_RIGHT };

#define TABLE_COLUMNS_MAX 32

struct table_column {
	const char *title; /* static text */
	enum table_align align;
	size_t width_max;  /* longer cells are cut and end in "…"; 0: no limit */
};

struct table;

/* A table of count columns (at most TABLE_COLUMNS_MAX), which are copied. NULL: no memory or too many. */
struct table *table_new(const struct table_column *columns, size_t count);
void table_free(struct table *table);
DEFINE_CLEANUP(table, struct table *, table_free);

/* The next cell, left to right; after the last column a new row begins. The text is copied; NULL is "". */
void table_cell(struct table *table, const char *text);
void table_cellf(struct table *table, const char *fmt, ...) PRINTF(2, 3);

size_t table_rows(const struct table *table); /* complete ones */

/*
 * Titles, then the rows, two blanks between columns, no blanks at line ends.
 * Appended to out; table_print() writes to a stream instead. Cells of an
 * unfinished row are left out. ERR_NOMEM when memory ran out on the way.
 */
MUST_USE int table_format(const struct table *table, struct buf *out, struct err *e);
MUST_USE int table_print(const struct table *table, FILE *to, struct err *e);

/* Terminal columns a text takes. */
size_t text_columns(struct bytes text);

#endif
