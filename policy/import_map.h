/*
 * import_map.h - another system's export as assets: which of its columns is which of ours, and what its words mean.
 *
 * A map is text, one statement a line; "#" begins a comment line:
 *
 *   Serial number = serial              their column = ours
 *   tag := {Site}-{Name}                ours, from a template: {their column}, or text alone as a default;
 *                                       {$owner} and {$issuer} are what the operator names
 *   state: Active = deployed            what their word means; "*" is any other, nothing behind "=" leaves it out
 *   anchor := idevid_serial:{$issuer}:{Serial number}
 *
 * Of several statements for one of our columns the first that gives a text counts; each "anchor" adds one. A
 * template whose column is empty, or not there, gives nothing. A word that no statement names stays as it is, and
 * must then be one of ours. Their columns' names are compared by their letters and digits alone, case does not
 * matter: "Serial number" is "serial_number" and "serialNumber". A name with "=" or ":" in it is put in quotes.
 *
 * Immutable once made; any thread may use it. It opens nothing.
 */
#ifndef POLICY_IMPORT_MAP_H
#define POLICY_IMPORT_MAP_H

#include "base/bytes.h"

#define IMPORT_MAP_TEXT_MAX  32768 /* octets of a map */
#define IMPORT_MAP_LINES_MAX 256   /* statements in it */

struct import_map;

/* The text of a map that comes with the gateway ("netbox", "intune", "servicenow"); NULL: there is none of that name. */
const char *import_map_builtin(const char *name);
/* Their names, "intune, netbox, servicenow", for messages. */
const char *import_map_builtins(void);

/*
 * owner and issuer fill {$owner} and {$issuer}; "" for none. *out is the caller's. ERR_MALFORMED names the line of
 * the map; ERR_LIMIT: too long.
 */
MUST_USE int import_map_new(struct bytes text, const char *owner, const char *issuer, struct import_map **out,
	struct err *e);
void import_map_free(struct import_map *map); /* NULL is allowed */

#endif
