/*
 * Request paths: an accepted one names an operation, and its label is one that
 * the same path with the decoded label leads to again.
 */
#include <stdlib.h>
#include <string.h>

#include "est/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
demand(bool condition)
{
	if (!condition)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct est_route route = { 0 }, again = { 0 };
	struct buf path = { 0 };
	struct err e;

	if (est_path_parse(bytes_of(data, size), &route, &e) != 0) {
		demand(e.code == ERR_UNSUPPORTED);
		return 0;
	}
	demand(route.op != EST_OP_NONE && strchr(route.label, '/') == NULL);
	demand(est_op_of(bytes_of_text(route.label)) == EST_OP_NONE);
	buf_printf(&path, "/.well-known/est%s%s/%s", route.label[0] == '\0' ? "" : "/", route.label,
		est_op_name(route.op));
	demand(est_path_parse(buf_bytes(&path), &again, &e) == 0);
	demand(again.op == route.op && strcmp(again.label, route.label) == 0);
	buf_free(&path);
	return 0;
}
