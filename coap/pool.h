/*
 * pool.h - workers that run whole requests, and the queue before them.
 */
#ifndef COAP_POOL_H
#define COAP_POOL_H

#include "coap/coaps.h"

/* What a worker is given; the first member of what the caller really has. */
struct coaps_work {
	struct coaps_work *next; /* the pool's, then whose done() it was given to */
	struct coaps_request request;
	struct coaps_answer answer;
};

struct coaps_pool;

/*
 * handler(arg, ...) runs on one of the threads, then done(work), on the same one.
 * ERR_NOMEM, ERR_UPSTREAM: no threads.
 */
MUST_USE int coaps_pool_new(int workers, int queue_max, coaps_handler handler, void *arg,
	void (*done)(struct coaps_work *work), struct coaps_pool **out, struct err *e);
/* False: the queue is full, or the pool is closed. */
bool coaps_pool_put(struct coaps_pool *pool, struct coaps_work *work);
/*
 * What waits is given to done() unanswered; what runs is waited for; the threads
 * end. NULL is allowed. coaps_pool_free() after it, when nobody can put any more.
 */
void coaps_pool_close(struct coaps_pool *pool);
void coaps_pool_free(struct coaps_pool *pool); /* NULL is allowed */

#endif
