/*
 * facts.h - how a handler finds the facts of its request's connection; the inside of front_facts_get().
 *
 * The registry is the process's, behind one lock: handlers run on CivetWeb's
 * threads and know no front. A handle is 128 random bits, so that no client
 * can name another's request, and a slot number, so that finding it is O(1).
 */
#ifndef GATEWAY_HTTP_FACTS_H
#define GATEWAY_HTTP_FACTS_H

#include "gateway/http/front.h"

#define FACTS_HANDLE_SIZE 41 /* 32 + 8 hexadecimal digits and the final NUL */
#define FACTS_SLOTS_MAX 65536 /* requests in flight in the process */

/* Empty facts with one reference; fill before anyone else sees them. NULL: no memory. */
struct conn_facts *facts_new(void);

/* A handle for one request. The registry takes a reference of its own. */
MUST_USE int facts_register(const struct conn_facts *facts, char handle[FACTS_HANDLE_SIZE], struct err *e);
/* The request is answered: the handle means nothing from here on. Unknown handles and "" are ignored. */
void facts_remove(const char *handle);

/* How many handles are registered. */
size_t facts_count(void);

#endif
