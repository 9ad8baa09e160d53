#define _GNU_SOURCE
#include "gateway/http/server.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <civetweb.h>

#include "base/timefmt.h"
#include "gateway/core/expiry.h"
#include "gateway/core/issuer.h"
#include "gateway/core/log.h"
#include "gateway/core/metrics.h"
#include "gateway/core/work.h"
#include "gateway/http/exchange.h"
#include "scep/query.h"

#define REFUSAL_STATUS 400 /* and beyond */
#define ADMIN_WORKERS 2
#define WAKE_EVERY_MS 10

struct server {
	struct mg_context *context;
	struct gateway *gateway;
};

static const char *
reason_phrase(int status)
{
	const char *phrase = mg_get_response_code_text(NULL, status);

	return phrase == NULL ? "Unknown" : phrase;
}

/* connection: what is said of it to the front, which tells its own client something else. NULL: nothing. */
static int
answer(struct mg_connection *conn, int status, const char *connection, const char *content_type,
	const char *headers, struct bytes body)
{
	struct buf out = { 0 };

	buf_printf(&out, "HTTP/1.1 %d %s\r\n", status, reason_phrase(status));
	if (connection != NULL)
		buf_printf(&out, "Connection: %s\r\n", connection);
	if (content_type != NULL)
		buf_printf(&out, "Content-Type: %s\r\n", content_type);
	if (headers != NULL)
		buf_append_text(&out, headers);
	buf_printf(&out, "Content-Length: %zu\r\n\r\n", body.len);
	/* RFC 9110, section 9.3.2: "the server MUST NOT send content in the response" to HEAD. */
	if (strcmp(mg_get_request_info(conn)->request_method, "HEAD") != 0)
		buf_append_bytes(&out, body);
	if (buf_failed(&out) || mg_write(conn, out.at, out.len) != (int)out.len)
		mg_disable_connection_keep_alive(conn);
	buf_free_secret(&out); /* it may hold a key made for a device */
	return status;
}

/* CivetWeb's own refusals close without a word; these do not, and say so. */
int
server_answer(struct mg_connection *conn, int status, const char *content_type, const char *headers,
	struct bytes body)
{
	return answer(conn, status, status >= REFUSAL_STATUS ? "keep-alive" : NULL, content_type, headers, body);
}

int
server_answer_text(struct mg_connection *conn, int status, const char *headers, const char *text)
{
	CLEANUP(buf) struct buf body = { 0 };

	buf_append_text(&body, text);
	buf_append_u8(&body, '\n');
	return server_answer(conn, status, "text/plain", headers, buf_bytes(&body));
}

/* The label of a SCEP path as this configuration has it; false: SCEP does not live there. */
static bool
scep_label(const struct config *config, struct bytes path, char label[SCEP_LABEL_MAX + 1])
{
	const char *suffixes[CONFIG_LIST_MAX];
	struct err e;
	size_t i;

	for (i = 0; i < config->scep_suffixes.count; i++)
		suffixes[i] = config->scep_suffixes.at[i];
	return scep_path_parse(path, suffixes, config->scep_suffixes.count, label, &e) == 0;
}

bool
server_takes_long_target(struct bytes path)
{
	char label[SCEP_LABEL_MAX + 1];
	const struct config_label *found;
	struct world *world = world_get();
	bool takes = false;

	if (scep_label(world->config, path, label)) {
		found = config_label(world->config, label);
		takes = found != NULL && (found->protocols & PROTOCOL_SCEP) != 0;
	}
	world_put(world);
	return takes;
}

static int
route(struct exchange *x)
{
	const char *path = exchange_path(x);
	char label[SCEP_LABEL_MAX + 1];

	if (strncmp(path, EST_ROOT "/", sizeof EST_ROOT) == 0)
		return est_http_handle(x);
	if (strncmp(path, CRL_ROOT "/", sizeof CRL_ROOT) == 0)
		return crl_http_handle(x);
	if (scep_label(x->world->config, bytes_of_text(path), label))
		return scep_http_handle(x, label);
	return server_answer_text(x->conn, 404, NULL, "nothing lives here; EST is at " EST_ROOT ", SCEP at /scep");
}

static int
on_public_request(struct mg_connection *conn)
{
	struct server *server = mg_get_user_data(mg_get_context(conn));
	const char *handle = mg_get_header(conn, FRONT_HANDLE_HEADER);
	const struct conn_facts *facts = handle == NULL ? NULL : front_facts_get(handle);
	struct exchange x = { .gateway = server->gateway, .conn = conn, .facts = facts, .operation = "unknown" };
	struct world *world;
	int status;

	/* Not from our front: somebody found the loopback port, and is not to keep a worker. */
	if (facts == NULL) {
		mg_disable_connection_keep_alive(conn);
		return answer(conn, 403, "close", "text/plain", NULL, bytes_of_text("this port is not for you\n"));
	}
	x.now_s = time_now_s();
	x.began_us = time_monotonic_us();
	x.world = world = world_get();
	work_begin(server->gateway);
	status = route(&x);
	work_end(server->gateway);
	if (x.protocol != NULL)
		metric_request(x.protocol, x.operation, status, time_monotonic_us() - x.began_us);
	world_put(world);
	front_facts_put(facts);
	return status;
}

static int
on_civetweb_message(const struct mg_connection *conn, const char *message)
{
	(void)conn;
	log_rare(LOG_LEVEL_WARN, "civetweb", "%s", message);
	return 1;
}

static int
start(struct gateway *gateway, const char *address, int workers, int (*handler)(struct mg_connection *),
	struct server **out, struct err *e)
{
	char threads[16];
	const char *options[] = { "listening_ports", address, "num_threads", threads, "decode_url", "no",
		"decode_query_string", "no", "enable_auth_domain_check", "no", "max_request_size", "32768",
		"tcp_nodelay", "1", "listen_backlog", "4096", "enable_keep_alive", "yes",
		"keep_alive_timeout_ms", "2000000000", "request_timeout_ms", "30000", NULL };
	struct mg_callbacks callbacks = { .begin_request = handler, .log_message = on_civetweb_message };
	struct server *server = calloc(1, sizeof *server);

	if (server == NULL)
		return err_set(e, ERR_NOMEM, "no memory for the server");
	(void)snprintf(threads, sizeof threads, "%d", workers);
	server->gateway = gateway;
	(void)mg_init_library(0);
	server->context = mg_start(&callbacks, server, options);
	if (server->context == NULL) {
		free(server);
		return err_set(e, ERR_UPSTREAM, "cannot listen on %s", address);
	}
	*out = server;
	return 0;
}

int
server_start(struct gateway *gateway, int workers, struct server **out, int *port, struct err *e)
{
	struct mg_server_port ports[1];
	struct server *server = NULL;

	if (start(gateway, "127.0.0.1:0", workers, on_public_request, &server, e) != 0 || server == NULL)
		return -1;
	if (mg_get_server_ports(server->context, 1, ports) != 1) {
		server_stop(server);
		return err_set(e, ERR_BUG, "CivetWeb has no port");
	}
	*port = ports[0].port;
	*out = server;
	return 0;
}

/* CivetWeb's accepting thread looks for the end every two seconds, or when somebody connects. */
struct waker {
	struct sockaddr_in at;
	atomic_bool done;
};

static void *
wake(void *arg)
{
	const struct timespec pause = { .tv_nsec = WAKE_EVERY_MS * 1000000L };
	struct waker *waker = arg;

	while (!atomic_load(&waker->done)) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

		if (fd >= 0) {
			(void)connect(fd, (const struct sockaddr *)&waker->at, sizeof waker->at);
			(void)close(fd);
		}
		(void)nanosleep(&pause, NULL);
	}
	return NULL;
}

void
server_stop(struct server *server)
{
	struct waker waker = { .at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) } };
	struct mg_server_port ports[1];
	pthread_t thread;
	bool waking = false;

	if (server == NULL)
		return;
	if (mg_get_server_ports(server->context, 1, ports) == 1) {
		waker.at.sin_port = htons((in_port_t)ports[0].port);
		waking = pthread_create(&thread, NULL, wake, &waker) == 0;
	}
	mg_stop(server->context);
	atomic_store(&waker.done, true);
	if (waking)
		(void)pthread_join(thread, NULL);
	free(server);
}

/* What devices' requests found out: asking now would let whoever looks wait as long as a dead verifier's deadline. */
static void
say_verifiers(const struct world *world, struct buf *body)
{
	size_t i;

	for (i = 0; i < world->config->attester_count; i++) {
		int answered = atomic_load(&world->attesters[i].answered);

		if (world->attesters[i].verifier != NULL)
			buf_printf(body, "verifier %s: %s\n", world->config->attesters[i].name,
				answered == 0 ? "not asked yet" : answered > 0 ? "ok" : "its latest call brought no answer");
	}
}

/*
 * A CA that is down is degraded service, not a dead gateway: devices are told to come back. One elsewhere is not asked
 * now, for the same reason as a verifier: its breaker tells how the latest calls went.
 */
static void
say_ca(struct gateway *gateway, const struct world *world, const struct config_ca *config, struct buf *body)
{
	const struct world_ca *ca = world_ca_of(world, config->name);
	const char *name = config->name;
	enum guard_state guard;
	struct err e = { 0 };

	if (world_ca_is_valid(world, config, time_now_s(), &e) != 0)
		buf_printf(body, "ca %s: %s\n", name, e.text);
	else if (issuer_guard_state(gateway->issuer, name, &guard))
		buf_printf(body, "ca %s: %s\n", name, guard == GUARD_CLOSED ? "ok" : "its latest calls brought no answer");
	else
		buf_printf(body, "ca %s: %s\n", name, ca->ops->check(ca->ca, &e) == 0 ? "ok" : e.text);
}

static int
answer_ready(struct gateway *gateway, struct mg_connection *conn)
{
	struct world *world = world_get();
	struct store_read *read = NULL;
	struct store_stats stats;
	struct buf body = { 0 };
	struct err e = { 0 };
	bool store_up = gateway->store_ops->read_begin(gateway->store, &read, &e) == 0;
	size_t i;
	int status;

	gateway->store_ops->read_end(read);
	gateway->store_ops->stats(gateway->store, &stats);
	store_up = store_up && !stats.failing;
	buf_printf(&body, "store: %s\n", store_up ? "ok" : "failing");
	for (i = 0; i < world->config->ca_count; i++)
		say_ca(gateway, world, &world->config->cas[i], &body);
	say_verifiers(world, &body);
	world_put(world);
	status = server_answer(conn, store_up ? 200 : 503, "text/plain", NULL, buf_bytes(&body));
	buf_free(&body);
	return status;
}

static int
answer_metrics(struct gateway *gateway, struct mg_connection *conn)
{
	struct world *world;
	struct store_stats stats;
	struct buf body = { 0 };
	int status;

	gateway->store_ops->stats(gateway->store, &stats);
	if (gateway->refresh_metrics != NULL)
		gateway->refresh_metrics(gateway->refresh_arg);
	metric_set(METRIC_STORE_COMMITS_TOTAL, stats.commits);
	metric_set(METRIC_STORE_WRITES_TOTAL, stats.writes);
	metrics_render(&body);
	world = world_get();
	expiry_render(world, &body);
	issuer_metrics(gateway->issuer, &body);
	world_put(world);
	status = server_answer(conn, 200, "text/plain; version=0.0.4", NULL, buf_bytes(&body));
	buf_free(&body);
	return status;
}

static int
on_admin_request(struct mg_connection *conn)
{
	const struct mg_request_info *info = mg_get_request_info(conn);
	struct server *server = mg_get_user_data(mg_get_context(conn));

	if (strcmp(info->request_method, "GET") != 0)
		return server_answer_text(conn, 405, "Allow: GET\r\n", "only GET");
	if (strcmp(info->local_uri_raw, "/livez") == 0)
		return server_answer_text(conn, 200, NULL, "ok");
	if (strcmp(info->local_uri_raw, "/readyz") == 0)
		return answer_ready(server->gateway, conn);
	if (strcmp(info->local_uri_raw, "/metrics") == 0)
		return answer_metrics(server->gateway, conn);
	return server_answer_text(conn, 404, NULL, "here are /livez, /readyz and /metrics");
}

int
admin_server_start(struct gateway *gateway, const char *address, struct server **out, struct err *e)
{
	return start(gateway, address, ADMIN_WORKERS, on_admin_request, out, e);
}
