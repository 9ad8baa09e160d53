/* The parts of enrolld, wired: see process.h. */
#define _GNU_SOURCE
#include "gateway/process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/timefmt.h"
#include "gateway/coap/est_coap.h"
#include "gateway/core/enroll.h"
#include "gateway/core/issuer.h"
#include "gateway/core/log.h"
#include "gateway/core/metrics.h"
#include "gateway/core/rule_limits.h"
#include "gateway/core/sightings.h"
#include "gateway/core/sweep.h"
#include "gateway/http/control.h"
#include "gateway/http/front.h"
#include "gateway/http/quickkeys.h"
#include "gateway/http/server.h"

#define LIMITER_SLOTS 65536
/* A fleet of a thousand devices behind one address may knock without credentials first; 600 rows a minute are 0.5 GB a day. */
#define SIGHTING_SLOTS 65536 /* assets whose latest places are remembered */
#define STRANGER_SLOTS 16384
#define STRANGER_ROWS  600
#define STRANGER_S     60

/* Everything that runs; stop() takes it down in reverse. */
struct process {
	struct gateway gateway;
	struct server *server, *admin;
	struct front *front;
	struct est_coap *coap;
	struct sweep *sweep;
	sem_t work;
	struct control *control;
	int lock;
};

static void
print_problem(void *arg, const char *text)
{
	(void)arg;
	(void)fprintf(stderr, "%s\n", text);
}

struct addresses {
	const char *https[CONFIG_LIST_MAX], *http[CONFIG_LIST_MAX];
};

static struct front_settings
front_settings_of(const struct config *config, struct addresses *listen)
{
	size_t i;

	for (i = 0; i < config->listen_https.count; i++)
		listen->https[i] = config->listen_https.at[i];
	for (i = 0; i < config->listen_http.count; i++)
		listen->http[i] = config->listen_http.at[i];
	return (struct front_settings){
		.listen = listen->https,
		.listen_count = config->listen_https.count,
		.tls = config->listen_https.count != 0,
		.listen_plain = listen->http,
		.listen_plain_count = config->listen_http.count,
		.takes_long_target = server_takes_long_target,
		.certificate = config->tls_certificate,
		.key = config->tls_key,
		.min_version = config->tls_min_version,
		.groups = config->tls_groups,
		.loops = config->threads_loops,
		.workers = config->threads_workers,
		.connections = config->limit_connections,
		.connections_per_address = config->limit_connections_per_address,
		.header_max = config->limit_header,
		.body_max = config->limit_body,
		.queue_max = config->limit_queue,
		.queue_age_s = config->limit_queue_age_s,
		.handshake_s = config->limit_handshake_s,
		.header_s = config->limit_header_s,
		.body_s = config->limit_body_s,
		.idle_s = config->limit_idle_s,
		.requests_per_connection = config->limit_requests_per_connection,
	};
}

/* A stale instance would silently share the port and the database: one process for each store. */
static int
take_lock(struct process *p, const struct config *config, struct err *e)
{
	char path[CONFIG_PATH_MAX + 8];

	if (config->lock_file[0] != '\0')
		(void)snprintf(path, sizeof path, "%s", config->lock_file);
	else
		(void)snprintf(path, sizeof path, "%s.lock", config->store_path);
	p->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (p->lock < 0)
		return err_set(e, ERR_UPSTREAM, "%s: %s", path, strerror(errno));
	if (flock(p->lock, LOCK_EX | LOCK_NB) != 0)
		return err_set(e, ERR_UPSTREAM, "%s: another enrolld serves this store", path);
	return 0;
}

/* What the policy needs beside the store; nonces given out before a restart stay good. */
static int
open_policy(struct gateway *gateway, struct err *e)
{
	uint8_t secret[32];
	int result = seal_derive(gateway->seal, "nonces", secret, sizeof secret, e);

	if (result == 0)
		result = nonces_new(bytes_of(secret, sizeof secret), &gateway->nonces, e);
	OPENSSL_cleanse(secret, sizeof secret);
	if (result != 0 || sightings_new(SIGHTING_SLOTS, &gateway->sightings, e) != 0)
		return -1;
	return rule_limits_new(&gateway->rule_limits, e);
}

static int
open_state(struct process *p, const struct config *config, struct err *e)
{
	char seal[CONFIG_PATH_MAX + 8];
	struct store_settings store = { .path = config->store_path,
		.readers = config->store_readers,
		.cache_kib = config->store_cache_kib };

	p->gateway.store_ops = store_ops_of(config->store_type);
	if (p->gateway.store_ops == NULL)
		return err_set(e, ERR_UNSUPPORTED, "store.type: no \"%s\"", config->store_type);
	if (take_lock(p, config, e) != 0 || p->gateway.store_ops->open(&store, &p->gateway.store, e) != 0)
		return -1;
	if (limiter_new(LIMITER_SLOTS, config->limit_auth_failures, config->limit_auth_window_s,
		    config->limit_auth_lock_s, &p->gateway.by_asset, e) != 0)
		return -1;
	if (limiter_new(STRANGER_SLOTS, STRANGER_ROWS, STRANGER_S, STRANGER_S, &p->gateway.strangers, e) != 0)
		return -1;
	(void)snprintf(seal, sizeof seal, "%s.key", config->store_path);
	if (crl_cache_new(&p->gateway.crls, e) != 0 || seal_load(seal, &p->gateway.seal, e) != 0 ||
	    open_policy(&p->gateway, e) != 0)
		return -1;
	/* A worker that waits for an MDM serves nobody; the other half goes on. */
	if (sem_init(&p->work, 0, (unsigned)config->threads_workers) != 0)
		return err_set(e, ERR_BUG, "semaphore: %s", strerror(errno));
	p->gateway.work = &p->work;
	p->gateway.mdm_calls_max = config->threads_workers < 2 ? 1 : config->threads_workers / 2;
	return limiter_new(LIMITER_SLOTS, config->limit_auth_failures, config->limit_auth_window_s,
		config->limit_auth_lock_s, &p->gateway.by_address, e);
}

static void
log_addresses(const struct process *p, const struct front_settings *settings, const struct config *config)
{
	const struct front *front = p->front;
	size_t i, https = settings->listen_count;

	for (i = 0; i < https; i++)
		log_text(LOG_LEVEL_INFO, "listen", "%s, port %d", settings->listen[i], front_port(front, i));
	for (i = 0; i < settings->listen_plain_count; i++)
		log_text(LOG_LEVEL_INFO, "listen", "%s, port %d, plain HTTP: SCEP and revocation lists",
			settings->listen_plain[i], front_port(front, https + i));
	for (i = 0; i < config->listen_coaps.count; i++)
		log_text(LOG_LEVEL_INFO, "listen", "%s, UDP port %d, CoAP over DTLS", config->listen_coaps.at[i],
			est_coap_port(p->coap, i));
}

/* A worker that waits for a CA elsewhere serves nobody; the other half goes on. */
static int
start_issuer(struct process *p, const struct config *config, struct err *e)
{
	struct issuer_settings settings = { .gateway = &p->gateway,
		.waiters_max = config->threads_workers < 2 ? 1 : config->threads_workers / 2 };

	return issuer_start(&settings, &p->gateway.issuer, e);
}

static int
start(struct process *p, struct config *config, struct err *e)
{
	struct addresses listen;
	struct front_settings front = front_settings_of(config, &listen);
	struct world *world = NULL;

	if (open_state(p, config, e) != 0) {
		config_free(config);
		return -1;
	}
	if (world_load(config, &world, e) != 0)
		return -1;
	world_swap(world);
	if (world_enter(&p->gateway, world, time_now_s(), e) != 0)
		return -1;
	if (sweep_start(&p->gateway, &p->sweep, e) != 0 || start_issuer(p, config, e) != 0)
		return -1;
	if (server_start(&p->gateway, config->threads_workers, &p->server, &front.backend_port, e) != 0 ||
	    front_start(&front, &p->front, e) != 0 || est_coap_start(&p->gateway, world, &p->coap, e) != 0)
		return -1;
	p->gateway.refresh_metrics = est_coap_metrics;
	p->gateway.refresh_arg = p->coap;
	if (config->listen_admin[0] != '\0' && admin_server_start(&p->gateway, config->listen_admin, &p->admin, e) != 0)
		return -1;
	if (config->control_socket[0] != '\0' &&
	    control_start(&p->gateway, config->control_socket, config->control_mode, config->control_group,
		    &p->control, e) != 0)
		return -1;
	log_addresses(p, &front, config);
	log_text(LOG_LEVEL_INFO, "ready", "enrolld %s, policy %.12s", ENROLLD_VERSION, config->version);
	return 0;
}

static void
stop(struct process *p, int64_t grace_s)
{
	control_stop(p->control);
	if (p->front != NULL)
		front_stop(p->front, grace_s);
	server_stop(p->server);
	server_stop(p->admin); /* it asks the next for its figures */
	est_coap_stop(p->coap, grace_s);
	sweep_stop(p->sweep);
	issuer_stop(p->gateway.issuer);
	if (p->gateway.store != NULL)
		p->gateway.store_ops->close(p->gateway.store);
	limiter_free(p->gateway.by_asset);
	limiter_free(p->gateway.by_address);
	limiter_free(p->gateway.strangers);
	crl_cache_free(p->gateway.crls);
	nonces_free(p->gateway.nonces);
	sightings_free(p->gateway.sightings);
	rule_limits_free(p->gateway.rule_limits);
	seal_free(p->gateway.seal);
	world_swap(NULL);
	if (p->lock >= 0)
		(void)close(p->lock);
}

static void
log_problem(void *arg, const char *text)
{
	(void)arg;
	log_text(LOG_LEVEL_ERROR, "config", "%s", text);
}

/* All or nothing: whatever cannot be loaded leaves the present configuration in force. */
static int
reload(struct process *p, const char *path, struct err *e)
{
	struct addresses listen;
	struct front_settings front;
	struct config *config = NULL;
	struct world *world = NULL;

	if (config_load(path, log_problem, NULL, &config) != 0)
		return err_set(e, ERR_MALFORMED, "%s has mistakes; the former configuration stays in force", path);
	front = front_settings_of(config, &listen);
	if (world_load(config, &world, e) != 0)
		return -1;
	if (world_enter(&p->gateway, world, time_now_s(), e) != 0 || front_reload_tls(p->front, &front, e) != 0 ||
	    est_coap_reload(p->coap, world, e) != 0) {
		world_put(world);
		return -1;
	}
	log_setup(config->log_format, config->log_level);
	world_swap(world);
	if (issuer_refresh(p->gateway.issuer, e) != 0)
		log_text(LOG_LEVEL_ERROR, "reload", "%s", e->text);
	return 0;
}

static void
wait_for_signals(struct process *p, const char *path, const sigset_t *signals)
{
	struct err e = { 0 };
	int number = 0;

	while (sigwait(signals, &number) == 0 && number == SIGHUP) {
		if (reload(p, path, &e) == 0) {
			metric_add(METRIC_RELOADS_TOTAL, 1);
			log_text(LOG_LEVEL_INFO, "reload", "%s is in force", path);
		} else {
			metric_add(METRIC_RELOADS_FAILED_TOTAL, 1);
			log_text(LOG_LEVEL_ERROR, "reload", "%s", e.text);
		}
	}
	log_text(LOG_LEVEL_INFO, "stop", "signal %d: finishing what is under way", number);
}

/* A key of the ordinary kind would be converted at each use: the templates are made anew, the others are read later. */
static void
prepare_keys(const struct config *config)
{
	struct err e;

	if (config->tls_quick_keys && (quick_keys_enable(&e) != 0 || key_init(&e) != 0))
		log_text(LOG_LEVEL_WARN, "start", "%s; serving without", e.text);
}

int
process_serve(const char *path)
{
	struct process p = { .lock = -1 };
	struct config *config = NULL;
	struct err e = { 0 };
	sigset_t signals;
	int64_t grace_s;
	int status = 0;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGHUP);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)pthread_sigmask(SIG_BLOCK, &signals, NULL); /* inherited by every thread */
	if (config_load(path, print_problem, NULL, &config) != 0)
		return 1;
	metrics_start(ENROLLD_VERSION, time_now_s());
	log_setup(config->log_format, config->log_level);
	prepare_keys(config);
	grace_s = config->stop_grace_s;
	if (start(&p, config, &e) != 0) {
		log_text(LOG_LEVEL_ERROR, "start", "%s", e.text);
		status = 1;
	} else
		wait_for_signals(&p, path, &signals);
	stop(&p, grace_s);
	return status;
}
