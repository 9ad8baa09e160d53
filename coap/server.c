#define _GNU_SOURCE
#include "coap/context.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* What a setting of 0 means. */
#define WORKERS_DEFAULT         4
#define SESSIONS_DEFAULT        1000
#define HANDSHAKES_DEFAULT      5000
#define SESSION_TIMEOUT_DEFAULT 60
#define MTU_DEFAULT             1152
#define QUEUE_DEFAULT           256
#define SEPARATE_MS_DEFAULT     1000 /* well below the 2 seconds after which a client sends again */
#define LATE_MS_DEFAULT         10000

struct coaps_server {
	struct coaps_common common;
	struct coaps_address listen[COAPS_LISTEN_MAX];
	size_t listen_count;
	struct coaps_context *contexts[COAPS_CONTEXTS_MAX];
	size_t context_count;
	char **roots;
};

static int
cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof set, &set) != 0)
		return 1;
	return CPU_COUNT(&set) > COAPS_CONTEXTS_MAX ? COAPS_CONTEXTS_MAX : CPU_COUNT(&set);
}

static int
or_default(int value, int otherwise)
{
	return value == 0 ? otherwise : value;
}

static int
take_numbers(struct coaps_settings *s, struct err *e)
{
	s->contexts = or_default(s->contexts, cores());
	s->workers = or_default(s->workers, WORKERS_DEFAULT);
	s->sessions = or_default(s->sessions, SESSIONS_DEFAULT);
	s->handshakes = or_default(s->handshakes, HANDSHAKES_DEFAULT);
	s->session_timeout_s = or_default(s->session_timeout_s, SESSION_TIMEOUT_DEFAULT);
	s->mtu = or_default(s->mtu, MTU_DEFAULT);
	s->body_max = or_default(s->body_max, COAPS_BODY_MAX);
	s->queue_max = or_default(s->queue_max, QUEUE_DEFAULT);
	s->separate_ms = or_default(s->separate_ms, SEPARATE_MS_DEFAULT);
	s->late_ms = or_default(s->late_ms, LATE_MS_DEFAULT);
	if (s->contexts < 0 || s->contexts > COAPS_CONTEXTS_MAX)
		return err_set(e, ERR_LIMIT, "%d CoAP contexts: 1 to %d", s->contexts, COAPS_CONTEXTS_MAX);
	if (s->mtu < COAPS_MTU_MIN || s->mtu > COAPS_RECEIVE_MAX)
		return err_set(e, ERR_LIMIT, "a CoAP MTU of %d: %d to %d", s->mtu, COAPS_MTU_MIN, COAPS_RECEIVE_MAX);
	if (s->body_max < 0 || s->body_max > COAPS_BODY_MAX)
		return err_set(e, ERR_LIMIT, "CoAP bodies of %d octets: at most %d", s->body_max, COAPS_BODY_MAX);
	if (s->workers < 0 || s->sessions < 0 || s->handshakes < 0 || s->session_timeout_s < 0 || s->queue_max < 0 ||
	    s->separate_ms < 0 || s->late_ms < 0)
		return err_set(e, ERR_LIMIT, "a CoAP setting below zero");
	return 0;
}

/* A copy of the names in one piece of memory, which free() frees. NULL: no memory. */
static char **
names_copy(const char *const *names, size_t count)
{
	size_t octets = (count + 1) * sizeof(char *);
	char **copy;
	char *at;
	size_t i;

	for (i = 0; i < count; i++)
		octets += strlen(names[i]) + 1;
	copy = malloc(octets);
	if (copy == NULL)
		return NULL;
	at = (char *)(copy + count + 1);
	for (i = 0; i < count; i++) {
		copy[i] = at;
		at = stpcpy(at, names[i]) + 1;
	}
	copy[count] = NULL;
	return copy;
}

static int
take_names(struct coaps_server *server, struct err *e)
{
	struct coaps_settings *s = &server->common.settings;
	size_t i;

	for (i = 0; i < s->root_count; i++) {
		size_t len = strlen(s->roots[i]);

		if (len < 2 || len > COAPS_ROOT_MAX || s->roots[i][0] != '/' || s->roots[i][len - 1] == '/')
			return err_set(e, ERR_MALFORMED, "a CoAP root begins with \"/\", and holds 2 to %d octets",
				COAPS_ROOT_MAX);
	}
	server->roots = names_copy(s->roots, s->root_count);
	if (server->roots == NULL)
		return err_set(e, ERR_NOMEM, "CoAP settings");
	s->roots = (const char *const *)server->roots;
	return 0;
}

static int
take_addresses(struct coaps_server *server, struct err *e)
{
	struct coaps_settings *s = &server->common.settings;
	size_t i;

	if (s->listen_count == 0 || s->listen_count > COAPS_LISTEN_MAX)
		return err_set(e, ERR_LIMIT, "%zu CoAP addresses: 1 to %d", s->listen_count, COAPS_LISTEN_MAX);
	for (i = 0; i < s->listen_count; i++)
		if (coaps_address_parse(s->listen[i], &server->listen[i], e) != 0 ||
		    coaps_address_probe(&server->listen[i], s->listen[i], e) != 0)
			return -1;
	server->listen_count = s->listen_count;
	s->listen = NULL;
	s->listen_count = 0;
	return 0;
}

static void
server_free(struct coaps_server *server)
{
	size_t i;

	coaps_pool_close(server->common.pool);
	for (i = 0; i < server->context_count; i++)
		coaps_context_free(server->contexts[i]);
	coaps_pool_free(server->common.pool);
	coaps_policy_unref(server->common.policy);
	(void)pthread_mutex_destroy(&server->common.policy_lock);
	free(server->roots);
	free(server);
}

static int
make_contexts(struct coaps_server *server, struct err *e)
{
	size_t count = (size_t)server->common.settings.contexts;

	/* One after the other, and all sockets before the first datagram is read: each peer keeps its socket. */
	while (server->context_count < count) {
		if (coaps_context_new(&server->common, server->listen, server->listen_count,
			&server->contexts[server->context_count], e) != 0)
			return -1;
		server->context_count++;
	}
	return 0;
}

static int
start(struct coaps_server *server, struct err *e)
{
	struct coaps_common *common = &server->common;
	const struct coaps_settings *s = &common->settings;
	size_t i;

	if (take_numbers(&common->settings, e) != 0 || take_names(server, e) != 0 ||
	    coaps_policy_new(&common->settings.tls, &common->policy, e) != 0 || take_addresses(server, e) != 0 ||
	    make_contexts(server, e) != 0 ||
	    coaps_pool_new(s->workers, s->queue_max, s->handler, s->arg, coaps_job_done, &common->pool, e) != 0)
		return -1;
	for (i = 0; i < server->context_count; i++)
		if (coaps_context_start(server->contexts[i], e) != 0)
			return -1;
	common->settings.tls = (struct coaps_tls){ 0 };
	return 0;
}

static void
stop_contexts(struct coaps_server *server, int64_t grace_s)
{
	size_t i;

	atomic_store(&server->common.stop_began_ms, coaps_now_ms());
	atomic_store(&server->common.stop_by_ms, coaps_now_ms() + grace_s * 1000);
	atomic_store(&server->common.stopping, true);
	for (i = 0; i < server->context_count; i++)
		coaps_context_wake(server->contexts[i]);
	for (i = 0; i < server->context_count; i++)
		coaps_context_join(server->contexts[i]);
}

int
coaps_server_start(const struct coaps_settings *settings, struct coaps_server **out, struct err *e)
{
	struct coaps_server *server = calloc(1, sizeof *server);
	sigset_t all, before;
	int failed;

	if (server == NULL)
		return err_set(e, ERR_NOMEM, "CoAP server");
	server->common.settings = *settings;
	(void)pthread_mutex_init(&server->common.policy_lock, NULL);
	coaps_log_setup();
	coaps_log_to(settings->log);
	/* Signals are the caller's: the threads inherit an empty hand. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	failed = start(server, e);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	coaps_log_to(NULL);
	if (failed != 0) {
		stop_contexts(server, 0);
		server_free(server);
		return -1;
	}
	*out = server;
	return 0;
}

int
coaps_server_port(const struct coaps_server *server, size_t index)
{
	return index < server->listen_count ? coaps_address_port(&server->listen[index]) : -1;
}

int
coaps_server_reload(struct coaps_server *server, const struct coaps_tls *tls, struct err *e)
{
	struct coaps_common *common = &server->common;
	struct coaps_policy *policy, *old;

	if (coaps_policy_new(tls, &policy, e) != 0)
		return -1;
	(void)pthread_mutex_lock(&common->policy_lock);
	old = common->policy;
	common->policy = policy;
	(void)pthread_mutex_unlock(&common->policy_lock);
	coaps_policy_unref(old);
	return 0;
}

void
coaps_server_stats(const struct coaps_server *server, struct coaps_stats *out)
{
	const struct coaps_common *common = &server->common;

	*out = (struct coaps_stats){
		.sessions = atomic_load(&common->sessions),
		.handshakes_total = atomic_load(&common->handshakes),
		.handshakes_failed_total = atomic_load(&common->handshakes_failed),
		.requests_total = atomic_load(&common->requests),
		.duplicates_total = atomic_load(&common->duplicates),
		.uploads_dropped_total = atomic_load(&common->uploads_dropped),
		.refused_full_total = atomic_load(&common->refused_full),
		.superseded_total = atomic_load(&common->superseded),
	};
}

void
coaps_server_stop(struct coaps_server *server, int64_t grace_s)
{
	if (server == NULL)
		return;
	stop_contexts(server, grace_s);
	server_free(server);
}
