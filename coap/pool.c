#include "coap/pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct coaps_pool {
	pthread_mutex_t lock;
	pthread_cond_t ready;
	struct coaps_work *first, **last;
	int queued, queue_max;
	bool closed;
	coaps_handler handler;
	void *arg;
	void (*done)(struct coaps_work *work);
	pthread_t *threads;
	int thread_count;
};

static struct coaps_work *
take(struct coaps_pool *pool)
{
	struct coaps_work *work;

	(void)pthread_mutex_lock(&pool->lock);
	while (pool->first == NULL && !pool->closed)
		(void)pthread_cond_wait(&pool->ready, &pool->lock);
	work = pool->closed ? NULL : pool->first;
	if (work != NULL) {
		pool->first = work->next;
		if (pool->first == NULL)
			pool->last = &pool->first;
		pool->queued--;
		work->next = NULL;
	}
	(void)pthread_mutex_unlock(&pool->lock);
	return work;
}

static void *
run(void *arg)
{
	struct coaps_pool *pool = arg;
	struct coaps_work *work;

	while ((work = take(pool)) != NULL) {
		pool->handler(pool->arg, &work->request, &work->answer);
		pool->done(work);
	}
	return NULL;
}

int
coaps_pool_new(int workers, int queue_max, coaps_handler handler, void *arg, void (*done)(struct coaps_work *work),
	struct coaps_pool **out, struct err *e)
{
	struct coaps_pool *pool = calloc(1, sizeof *pool);
	int failed = 0;

	if (pool == NULL)
		return err_set(e, ERR_NOMEM, "CoAP workers");
	(void)pthread_mutex_init(&pool->lock, NULL);
	(void)pthread_cond_init(&pool->ready, NULL);
	pool->last = &pool->first;
	pool->queue_max = queue_max;
	pool->handler = handler;
	pool->arg = arg;
	pool->done = done;
	pool->threads = calloc((size_t)workers, sizeof *pool->threads);
	while (pool->threads != NULL && failed == 0 && pool->thread_count < workers) {
		failed = pthread_create(&pool->threads[pool->thread_count], NULL, run, pool);
		pool->thread_count += failed == 0;
	}
	if (pool->threads == NULL || failed != 0) {
		(void)err_set(e, pool->threads == NULL ? ERR_NOMEM : ERR_UPSTREAM, "CoAP workers: %s",
			failed == 0 ? "no memory" : strerror(failed));
		coaps_pool_close(pool);
		coaps_pool_free(pool);
		return -1;
	}
	*out = pool;
	return 0;
}

bool
coaps_pool_put(struct coaps_pool *pool, struct coaps_work *work)
{
	bool taken;

	(void)pthread_mutex_lock(&pool->lock);
	taken = !pool->closed && pool->queued < pool->queue_max;
	if (taken) {
		work->next = NULL;
		*pool->last = work;
		pool->last = &work->next;
		pool->queued++;
		(void)pthread_cond_signal(&pool->ready);
	}
	(void)pthread_mutex_unlock(&pool->lock);
	return taken;
}

void
coaps_pool_close(struct coaps_pool *pool)
{
	struct coaps_work *left;
	int i;

	if (pool == NULL)
		return;
	(void)pthread_mutex_lock(&pool->lock);
	pool->closed = true;
	left = pool->first;
	pool->first = NULL;
	pool->last = &pool->first;
	pool->queued = 0;
	(void)pthread_cond_broadcast(&pool->ready);
	(void)pthread_mutex_unlock(&pool->lock);
	while (left != NULL) {
		struct coaps_work *work = left;

		left = work->next;
		work->next = NULL;
		pool->done(work);
	}
	for (i = 0; i < pool->thread_count; i++)
		(void)pthread_join(pool->threads[i], NULL);
	pool->thread_count = 0;
}

void
coaps_pool_free(struct coaps_pool *pool)
{
	if (pool == NULL)
		return;
	free(pool->threads);
	(void)pthread_cond_destroy(&pool->ready);
	(void)pthread_mutex_destroy(&pool->lock);
	free(pool);
}
