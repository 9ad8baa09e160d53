/*
 * sweep.h - what time ends: transfers nobody accepted, owners whose grace is over, places held for nothing.
 *
 * The store knows what has ended; this asks it at the start and each minute, logs a
 * line when an owner has left, and counts.
 */
#ifndef GATEWAY_CORE_SWEEP_H
#define GATEWAY_CORE_SWEEP_H

#include "gateway/core/world.h"

#define SWEEP_EVERY_S 60

struct sweep;

/* The gateway must outlive it. The first sweep is done when it returns; one that fails is logged, and tried again. */
MUST_USE int sweep_start(struct gateway *gateway, struct sweep **out, struct err *e);
void sweep_stop(struct sweep *sweep); /* waits for the one under way; NULL is allowed */

/* Once, now, in the caller's thread. */
MUST_USE int sweep_once(const struct gateway *gateway, int64_t now_s, struct err *e);

#endif
