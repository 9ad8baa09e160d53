/*
 * expiry.h - when the gateway's own certificates end, for /metrics: what ends unseen stops a fleet.
 */
#ifndef GATEWAY_CORE_EXPIRY_H
#define GATEWAY_CORE_EXPIRY_H

#include "gateway/core/world.h"

/* One gauge for each certificate this world serves with: CAs, RAs, TLS, CoAP. Appended in Prometheus' text format. */
void expiry_render(const struct world *world, struct buf *out);

#endif
