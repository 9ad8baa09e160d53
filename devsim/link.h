/*
 * link.h - --lossy: a bad link inside this program, between its devices and the server.
 */
#ifndef DEVSIM_LINK_H
#define DEVSIM_LINK_H

#include <jansson.h>

#include "devsim/conn.h"
#include "devsim/proxy.h"

#define LINK_HELP "drop=15,dup=5,reorder=5,mtu=256,seed=1, each optional: per cent of the datagrams each way, " \
	"the longest datagram that passes, where the dice begin"

/* Put a proxy in front of the target, which has been opened. The caller stops it after the last connection. */
MUST_USE int link_open(struct target *target, const struct lossy *lossy, FILE *trace, struct proxy **out, struct err *e);

/* What became of the datagrams, in a line, or as an object: a new reference. */
void link_print(const struct proxy_stats *stats, FILE *to);
json_t *link_json(const struct proxy_stats *stats);

#endif
