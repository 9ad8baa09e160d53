/*
 * sightings.h - where assets were seen lately: one device cannot be in two places by turns.
 *
 * In memory, a fixed table: when it is full, who was seen longest ago makes
 * room. A place is a network of 24 bits (IPv4) or 48 (IPv6). Every function may be called from any thread.
 */
#ifndef GATEWAY_CORE_SIGHTINGS_H
#define GATEWAY_CORE_SIGHTINGS_H

#include <stdbool.h>

#include "base/bytes.h"

struct sightings;
MUST_USE int sightings_new(size_t assets, struct sightings **out, struct err *e);
void sightings_free(struct sightings *sightings); /* NULL is allowed */

/*
 * The asset is seen at peer (an address, with or without port). True when it was here before, then in another
 * place of the same address family, and all that within window_s: text says where. *tell is true for the first such
 * sighting within the window. An address that is none is no sighting.
 */
bool sightings_see(struct sightings *sightings, int64_t asset_id, const char *peer, int64_t now_s, int64_t window_s,
	char text[96], bool *tell);

#endif
