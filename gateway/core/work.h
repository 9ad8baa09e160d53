/*
 * work.h - how many requests are at work at one time, whatever protocol they came by.
 *
 * Each listener has threads of its own; together they hold no more requests
 * than threads.workers, so that one protocol's rush is not added to another's.
 */
#ifndef GATEWAY_CORE_WORK_H
#define GATEWAY_CORE_WORK_H

#include "gateway/core/world.h"

/* Waits for a place. */
void work_begin(struct gateway *gateway);
void work_end(struct gateway *gateway);

#endif
