/*
 * fleet_lane.h - one lane: a batch of operations of one device, step by step.
 *
 * A lane belongs to one worker thread; it never blocks.
 */
#ifndef DEVSIM_FLEET_LANE_H
#define DEVSIM_FLEET_LANE_H

#include "devsim/fleet.h"

enum lane_state {
	LANE_WAITING,  /* until wake_us */
	LANE_OPENING,  /* connecting */
	LANE_EXCHANGE, /* a request is under way */
	LANE_FINISHED,
};

struct lane {
	struct fleet *fleet;
	struct fleet_stats *stats;
	enum lane_state state;
	struct conn conn;
	uint64_t watched;          /* conn.sockets when the worker last asked epoll to watch */
	bool in_batch;
	uint64_t batch, step;      /* step: operations of the batch begun before this one */
	uint64_t operation;
	size_t device;             /* index; meaningless without devices */
	int64_t wake_us;
	int64_t intended_us;       /* when the operation should have begun */
	int64_t opened_us;
	uint64_t attempts;         /* to connect, for this operation */
	bool reopened;             /* the operation already moved from a stale connection to a fresh one */
	struct prepared late;      /* a request the pool had no more of */
	struct err err;            /* what stopped the lane for good: memory */
};

void lane_init(struct lane *lane, struct fleet *fleet, struct fleet_stats *stats);
void lane_free(struct lane *lane);

/* Take the first operation. */
void lane_start(struct lane *lane);
/* Something happened on the connection, or its deadline passed: go on as far as possible. */
void lane_drive(struct lane *lane);
/* wake_us has come. */
void lane_wake(struct lane *lane);

#endif
