#include "gateway/coap/est_coap.h"

#include <stdlib.h>

#include "gateway/core/log.h"
#include "gateway/core/metrics.h"

struct est_coap {
	struct coaps_server *server;
};

static void
log_library(int level, const char *text)
{
	log_rare(level <= 4 ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "libcoap", "%s", text);
}

static size_t
texts_of(const struct config_list *list, const char **out)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		out[i] = list->at[i];
	return list->count;
}

/* The chain without the leaf, borrowed; the caller frees the stack alone. */
static STACK_OF(X509) *
above_leaf(const struct world *world)
{
	STACK_OF(X509) *chain = sk_X509_dup(world->coap_certs);

	if (chain != NULL)
		(void)sk_X509_shift(chain);
	return chain;
}

int
est_coap_start(struct gateway *gateway, const struct world *world, struct est_coap **out, struct err *e)
{
	const struct config *config = world->config;
	const char *listen[CONFIG_LIST_MAX], *roots[CONFIG_LIST_MAX];
	struct coaps_settings settings = {
		.listen = listen,
		.listen_count = texts_of(&config->listen_coaps, listen),
		.roots = roots,
		.root_count = texts_of(&config->coap_roots, roots),
		.contexts = config->coap_contexts,
		.workers = config->threads_workers,
		.sessions = config->coap_sessions,
		.handshakes = config->coap_handshakes,
		.session_timeout_s = (int)config->coap_session_timeout_s,
		.mtu = config->coap_mtu,
		.body_max = config->limit_body < COAPS_BODY_MAX ? config->limit_body : COAPS_BODY_MAX,
		.queue_max = config->limit_queue,
		.handler = est_coap_handle,
		.arg = gateway,
		.log = log_library,
	};
	STACK_OF(X509) *chain;
	struct est_coap *coap;
	int result;

	if (settings.listen_count == 0)
		return 0;
	coap = calloc(1, sizeof *coap);
	chain = above_leaf(world);
	if (coap == NULL || chain == NULL) {
		free(coap);
		sk_X509_free(chain);
		return err_set(e, ERR_NOMEM, "no memory for CoAP");
	}
	settings.tls = (struct coaps_tls){ sk_X509_value(world->coap_certs, 0), world->coap_key, chain };
	result = coaps_server_start(&settings, &coap->server, e);
	sk_X509_free(chain);
	if (result != 0) {
		free(coap);
		return -1;
	}
	*out = coap;
	return 0;
}

int
est_coap_reload(struct est_coap *coap, const struct world *world, struct err *e)
{
	STACK_OF(X509) *chain;
	int result;

	if (coap == NULL || world->coap_certs == NULL)
		return 0;
	chain = above_leaf(world);
	if (chain == NULL)
		return err_set(e, ERR_NOMEM, "no memory for CoAP");
	result = coaps_server_reload(coap->server,
		&(struct coaps_tls){ sk_X509_value(world->coap_certs, 0), world->coap_key, chain }, e);
	sk_X509_free(chain);
	return result;
}

void
est_coap_stop(struct est_coap *coap, int64_t grace_s)
{
	if (coap == NULL)
		return;
	coaps_server_stop(coap->server, grace_s);
	free(coap);
}

int
est_coap_port(const struct est_coap *coap, size_t index)
{
	return coap == NULL ? 0 : coaps_server_port(coap->server, index);
}

void
est_coap_metrics(void *arg)
{
	const struct est_coap *coap = arg;
	struct coaps_stats stats;

	if (coap == NULL)
		return;
	coaps_server_stats(coap->server, &stats);
	metric_set(METRIC_COAP_SESSIONS_OPEN, stats.sessions);
	metric_set(METRIC_COAP_HANDSHAKES_TOTAL, stats.handshakes_total);
	metric_set(METRIC_COAP_HANDSHAKES_FAILED_TOTAL, stats.handshakes_failed_total);
	metric_set(METRIC_COAP_DUPLICATES_TOTAL, stats.duplicates_total);
	metric_set(METRIC_COAP_UPLOADS_DROPPED_TOTAL, stats.uploads_dropped_total);
	metric_set(METRIC_COAP_REFUSED_TOTAL, stats.refused_full_total);
}
