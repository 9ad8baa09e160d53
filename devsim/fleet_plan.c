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

#include "devsim/csr.h"
#include "devsim/fleet.h"
#include "devsim/files.h"

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

int
fleet_load(struct fleet *fleet, struct err *e)
{
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

int
fleet_make_request(const struct fleet *fleet, const struct device *device, const char *challenge,
	struct prepared *out, struct err *e)
{
	CLEANUP(buf) struct buf subject = { 0 };
	CLEANUP(buf) struct buf names = { 0 };
	CLEANUP(buf) struct buf der = { 0 };
	struct csr_spec spec = { .challenge = challenge };
	char common_name[DEVICE_NAME_MAX + 8];

	(void)snprintf(common_name, sizeof common_name, "CN=%s", device->name);
	/* RFC 7030, section 4.2.2: a renewal repeats subject and subjectAltName. */
	if ((fleet->options.op == FLEET_REENROLL ? csr_names_of(device->cert, &subject, &names, e) :
		csr_subject(common_name, &subject, e)) != 0)
		return -1;
	if ((out->key == NULL && key_make(&fleet->key_spec, &out->key, e) != 0) ||
	    (out->spki.len == 0 && key_spki(out->key, &out->spki, e) != 0))
		return -1;
	spec.subject = buf_bytes(&subject);
	spec.alt_names = buf_bytes(&names);
	if (csr_build(&spec, out->key, &der, e) != 0)
		return -1;
	buf_clear(&out->body);
	base64_encode(&out->body, buf_bytes(&der), 0);
	return buf_failed(&out->body) ? err_set(e, ERR_NOMEM, "request: no memory") : 0;
}

void
prepared_free(struct prepared *prepared)
{
	EVP_PKEY_free(prepared->key);
	buf_free(&prepared->body);
	buf_free(&prepared->spki);
	*prepared = (struct prepared){ 0 };
}

static int
prepare_one(struct fleet *fleet, size_t index, struct err *e)
{
	struct prepared *p = &fleet->pool[index];
	size_t batch = index / fleet->options.keep_alive;

	if (fleet->options.bind) {
		if (key_make(&fleet->key_spec, &p->key, e) != 0)
			return -1;
		return key_spki(p->key, &p->spki, e);
	}
	if (fleet_make_request(fleet, &fleet->devices[batch % fleet->device_count], "", p, e) != 0)
		return -1;
	if (fleet->options.out == NULL) {
		EVP_PKEY_free(p->key);
		p->key = NULL;
	}
	return 0;
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
	device_names_free(&fleet->names);
	fleet_stats_free(&fleet->total);
	tls_free(fleet->tls);
	target_close(&fleet->target);
}
