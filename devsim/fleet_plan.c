/*
 * What is made before the clock starts: devices read, keys and requests made,
 * so that the measurement is of the server and not of this program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "devsim/files.h"
#include "devsim/fleet_protocol.h"

#define PARALLEL_MAX  16
#define POOL_DEFAULT  20000
#define POOL_MAX      2000000
#define WATCH_NS      20000000

/* One piece of work for each index, spread over the processors. */
struct parallel {
	struct fleet *fleet;
	int (*work)(struct fleet *fleet, size_t index, struct err *e);
	size_t count;
	atomic_size_t next, done, running;
	atomic_bool failed;
	pthread_mutex_t lock;
	struct err err; /* of the first that failed */
};

static void *
parallel_main(void *arg)
{
	struct parallel *p = arg;
	size_t i;

	while (!atomic_load(&p->failed) && (i = atomic_fetch_add(&p->next, 1)) < p->count) {
		struct err e = { 0 };

		if (p->work(p->fleet, i, &e) != 0) {
			(void)pthread_mutex_lock(&p->lock);
			if (!atomic_exchange(&p->failed, true))
				p->err = e;
			(void)pthread_mutex_unlock(&p->lock);
		}
		atomic_fetch_add(&p->done, 1);
	}
	atomic_fetch_sub(&p->running, 1);
	return NULL;
}

static void
watch(struct parallel *p, const char *what)
{
	struct timespec pause = { .tv_nsec = WATCH_NS };
	struct progress progress;

	progress_begin(&progress, stderr, p->fleet->options.quiet, what, p->count);
	while (atomic_load(&p->running) > 0) {
		(void)nanosleep(&pause, NULL);
		progress_update(&progress, atomic_load(&p->done));
	}
	progress_end(&progress, atomic_load(&p->done));
}

static int
run_parallel(struct fleet *fleet, const char *what, size_t count,
	int (*work)(struct fleet *fleet, size_t index, struct err *e), struct err *e)
{
	struct parallel p = { .fleet = fleet, .work = work, .count = count };
	pthread_t threads[PARALLEL_MAX];
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	size_t want = cores < 1 ? 1 : cores > PARALLEL_MAX ? PARALLEL_MAX : (size_t)cores, started = 0, i;

	(void)pthread_mutex_init(&p.lock, NULL);
	atomic_store(&p.running, want);
	for (i = 0; i < want; i++)
		if (pthread_create(&threads[started], NULL, parallel_main, &p) == 0)
			started++;
		else
			atomic_fetch_sub(&p.running, 1);
	if (started == 0) {
		atomic_store(&p.running, 1);
		(void)parallel_main(&p);
	}
	watch(&p, what);
	for (i = 0; i < started; i++)
		(void)pthread_join(threads[i], NULL);
	(void)pthread_mutex_destroy(&p.lock);
	if (!atomic_load(&p.failed))
		return 0;
	*e = p.err;
	return -1;
}

static int
load_one(struct fleet *fleet, size_t index, struct err *e)
{
	char stem[FILE_PATH_MAX];

	if (file_path(stem, e, "%s/%s.pem", fleet->names.dir, fleet->names.at[index]) != 0)
		return -1;
	return device_load_stem(stem, &fleet->devices[index], e);
}

/* Devices that have nothing yet but a name and a challenge. */
static int
load_challenges(struct fleet *fleet, struct err *e)
{
	size_t i;

	if (challenges_read(fleet->options.challenges, fleet->options.count, &fleet->challenges, e) != 0)
		return -1;
	fleet->devices = calloc(fleet->challenges.count, sizeof *fleet->devices);
	if (fleet->devices == NULL)
		return err_set(e, ERR_NOMEM, "devices: no memory");
	fleet->device_count = fleet->challenges.count;
	for (i = 0; i < fleet->device_count; i++)
		memcpy(fleet->devices[i].name, fleet->challenges.at[i].tag, sizeof fleet->devices[i].name);
	return 0;
}

int
fleet_load(struct fleet *fleet, struct err *e)
{
	if (fleet->options.challenges != NULL)
		return load_challenges(fleet, e);
	if (fleet->options.devices == NULL)
		return 0;
	if (device_names_read(fleet->options.devices, fleet->options.count, &fleet->names, e) != 0)
		return -1;
	fleet->devices = calloc(fleet->names.count, sizeof *fleet->devices);
	if (fleet->devices == NULL)
		return err_set(e, ERR_NOMEM, "devices: no memory");
	fleet->device_count = fleet->names.count;
	return run_parallel(fleet, "reading devices", fleet->device_count, load_one, e);
}

void
prepared_free(struct prepared *prepared)
{
	EVP_PKEY_free(prepared->key);
	buf_free(&prepared->body);
	buf_free(&prepared->spki);
	X509_free(prepared->signer);
	*prepared = (struct prepared){ 0 };
}

static int
find_prime(struct fleet *fleet, size_t index, struct err *e)
{
	return primes_find(fleet->primes, index, e);
}

static int
prepare_one(struct fleet *fleet, size_t index, struct err *e)
{
	struct prepared *p = &fleet->pool[index];
	size_t batch = index / fleet->options.keep_alive;

	if (fleet->primes != NULL && primes_key(fleet->primes, index, &p->key, e) != 0)
		return -1;
	/* What is bound to a connection can be signed only when there is one. */
	if (fleet->options.bind)
		return fleet_make_key(fleet, p, e);
	if (fleet->protocol->make(fleet, batch % fleet->device_count, "", p, e) != 0)
		return -1;
	if (!fleet->keep_keys && fleet->options.out == NULL) {
		EVP_PKEY_free(p->key);
		p->key = NULL;
	}
	return 0;
}

static int
prepare_primes(struct fleet *fleet, struct err *e)
{
	if (!fleet->options.shared_primes)
		return 0;
	if (primes_new(fleet->pool_count, fleet->key_spec.bits, &fleet->primes, e) != 0)
		return -1;
	return run_parallel(fleet, "finding primes", primes_count(fleet->primes), find_prime, e);
}

/* How many operations there will be, or a guess when only time limits them. */
static uint64_t
pool_size(const struct fleet *fleet)
{
	const struct fleet_options *o = &fleet->options;
	uint64_t guess = POOL_DEFAULT;

	if (o->pool != 0)
		guess = o->pool;
	else if (fleet->operations != 0)
		guess = fleet->operations;
	else if (o->rate > 0)
		guess = (uint64_t)(o->rate * (double)o->duration_s) + o->concurrency;
	return guess < POOL_MAX ? guess : POOL_MAX;
}

int
fleet_prepare(struct fleet *fleet, struct err *e)
{
	const struct fleet_options *o = &fleet->options;

	if (o->operations != 0)
		fleet->operations = o->operations;
	else if (o->duration_s == 0)
		fleet->operations = fleet->device_count * o->keep_alive;
	fleet->batches = (fleet->operations + o->keep_alive - 1) / o->keep_alive;
	if (o->op == FLEET_CACERTS)
		return 0;
	fleet->pool_count = (size_t)pool_size(fleet);
	fleet->pool = calloc(fleet->pool_count, sizeof *fleet->pool);
	if (fleet->pool == NULL)
		return err_set(e, ERR_NOMEM, "requests: no memory");
	if (prepare_primes(fleet, e) != 0)
		return -1;
	return run_parallel(fleet, "making requests", fleet->pool_count, prepare_one, e);
}

void
fleet_free(struct fleet *fleet)
{
	size_t i;

	for (i = 0; i < fleet->device_count; i++)
		device_free(&fleet->devices[i]);
	free(fleet->devices);
	for (i = 0; i < fleet->pool_count; i++)
		prepared_free(&fleet->pool[i]);
	free(fleet->pool);
	if (fleet->protocol != NULL && fleet->protocol->close != NULL)
		fleet->protocol->close(fleet);
	primes_free(fleet->primes);
	challenges_free(&fleet->challenges);
	device_names_free(&fleet->names);
	fleet_stats_free(&fleet->total);
	proxy_stop(fleet->link);
	tls_free(fleet->tls);
	target_close(&fleet->target);
}
