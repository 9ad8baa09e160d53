#define _GNU_SOURCE
#include "devsim/client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "base/timefmt.h"

#define SECOND_US    1000000
#define BACKOFF_MS   100
#define BACKOFF_MAX  2000
#define POLL_MAX_MS  60000
#define TRACE_LINE_MAX 160 /* SCEP by GET has a whole message in one */

/* Waits until the connection reaches state, breaks, or its deadline passes. */
static int
wait_for(struct conn *conn, enum conn_state state, struct err *e)
{
	enum conn_want want = conn_step(conn);

	while (conn->state != state && conn->state != CONN_BROKEN) {
		struct pollfd p = { .fd = conn->fd, .events = want == CONN_WANT_WRITE ? POLLOUT : POLLIN };
		int64_t left_ms = (conn_wake_us(conn) - time_monotonic_us()) / 1000 + 1;

		if (poll(&p, 1, left_ms < 0 ? 0 : left_ms > POLL_MAX_MS ? POLL_MAX_MS : (int)left_ms) < 0 &&
		    errno != EINTR)
			return err_set(e, ERR_BUG, "poll: %s", strerror(errno));
		if (!conn_expire(conn, time_monotonic_us()))
			want = conn_step(conn);
	}
	if (conn->state == state)
		return 0;
	*e = conn->err;
	return -1;
}

static void
trace_message(void *arg, const char *mark, struct bytes message)
{
	coapc_message_print(arg, mark, message);
}

/* What CoAP needs before there is a connection. */
static int
settle_coap(struct client *client, struct client_options *options, struct err *e)
{
	if (options->coap.lossy != NULL && lossy_parse(options->coap.lossy, &client->lossy, e) != 0)
		return err_prefix(e, "--lossy");
	if (coapc_options_settle(&options->coap, client->lossy.mtu, e) != 0)
		return -1;
	options->tls.mtu = options->coap.mtu;
	/* A quicker link than the RFC's 2 seconds for CoAP is a quicker one than OpenSSL's second for DTLS. */
	options->tls.timer_us = coapc_ack_timeout_us(&options->coap) / 2;
	return 0;
}

static void
use_coap(struct client *client)
{
	client->conn.coap.ack_timeout_us = coapc_ack_timeout_us(&client->options->coap);
	if (client->options->trace != NULL) {
		client->conn.coap.trace = trace_message;
		client->conn.coap.trace_arg = client->options->trace;
	}
}

int
client_open(struct client *client, struct client_options *options, struct err *e)
{
	struct url url;

	*client = (struct client){ .options = options };
	conn_init(&client->conn, &client->target, NULL);
	if (url_parse_as(options->kind, options->url, &url, e) != 0 ||
	    (url.coap && settle_coap(client, options, e) != 0) ||
	    (!url.plain && tls_new(&options->tls, &url, &client->tls, e) != 0))
		return -1;
	conn_init(&client->conn, &client->target, client->tls);
	use_coap(client);
	if (target_open(&client->target, &url, e) != 0)
		return -1;
	return options->coap.lossy == NULL ? 0 :
		link_open(&client->target, &client->lossy, options->trace, &client->link, e);
}

void
client_close(struct client *client)
{
	conn_free(&client->conn);
	proxy_stop(client->link);
	tls_free(client->tls);
	target_close(&client->target);
}

static void
trace_connection(const struct client *client)
{
	FILE *to = client->options->trace;
	SSL *ssl = client->conn.ssl;
	char name[256] = "";

	if (to == NULL)
		return;
	if (ssl == NULL) {
		(void)fprintf(to, "* connected to %s port %s, without TLS\n", client->target.url.host,
			client->target.url.port);
		return;
	}
	if (SSL_get0_peer_certificate(ssl) != NULL)
		x509_name_text(X509_get_subject_name(SSL_get0_peer_certificate(ssl)), name, sizeof name);
	(void)fprintf(to, "* connected to %s port %s, %s %s %s\n* server certificate: %s%s\n", client->target.url.host,
		client->target.url.port, SSL_get_version(ssl), SSL_get_cipher_name(ssl), tls_group_name(ssl), name,
		client->options->tls.insecure ? " (NOT verified)" : "");
	if (client->conn.device != NULL && client->conn.device->cert != NULL) {
		x509_name_text(X509_get_subject_name(client->conn.device->cert), name, sizeof name);
		(void)fprintf(to, "* client certificate: %s\n", name);
	}
}

static void
pause_ms(int64_t ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	while (nanosleep(&t, &t) != 0 && errno == EINTR)
		;
}

int
client_connect(struct client *client, const struct device *device, struct err *e)
{
	struct conn *conn = &client->conn;
	int64_t backoff_ms = BACKOFF_MS;
	uint64_t attempt;

	for (attempt = 0;; attempt++) {
		conn_open(conn, device, time_monotonic_us() + client->options->timeout_s * SECOND_US);
		if (wait_for(conn, CONN_READY, e) == 0) {
			trace_connection(client);
			return 0;
		}
		/* Only a failure to connect is tried again: what the server said stands. */
		if (conn->connected || attempt == client->options->retries)
			return -1;
		if (client->options->trace != NULL)
			(void)fprintf(client->options->trace, "* %s; trying again\n", e->text);
		pause_ms(backoff_ms);
		backoff_ms = backoff_ms * 2 < BACKOFF_MAX ? backoff_ms * 2 : BACKOFF_MAX;
	}
}

bool
client_connected(const struct client *client)
{
	return conn_reusable(&client->conn);
}

/* One line a header field, the secret of Authorization left out. */
static void
trace_head(FILE *to, const char *mark, struct bytes head)
{
	struct cursor c = cursor_of(head);

	while (cursor_left(&c) > 0) {
		struct bytes line = cursor_until(&c, '\n');
		size_t i;

		if (line.len > 0 && line.at[line.len - 1] == '\r')
			line.len--;
		if (line.len == 0)
			break;
		if (line.len > 14 && strncasecmp((const char *)line.at, "Authorization:", 14) == 0) {
			(void)fprintf(to, "%s Authorization: (not shown)\n", mark);
			continue;
		}
		(void)fprintf(to, "%s ", mark);
		for (i = 0; i < line.len && i < TRACE_LINE_MAX; i++)
			(void)fputc(line.at[i] >= 0x20 && line.at[i] < 0x7f ? line.at[i] : '?', to);
		(void)fputs(line.len > TRACE_LINE_MAX ? "...\n" : "\n", to);
	}
}

int
client_exchange(struct client *client, struct est_request *request, struct err *e)
{
	request->url = &client->target.url;
	request->label = client->options->label;
	buf_clear(&client->conn.out);
	est_request_write(request, &client->conn.out);
	return client_transact(client, e);
}

int
client_transact(struct client *client, struct err *e)
{
	struct conn *conn = &client->conn;

	if (client->options->trace != NULL)
		trace_head(client->options->trace, ">", buf_bytes(&conn->out));
	conn_send(conn, time_monotonic_us() + client->options->timeout_s * SECOND_US);
	if (wait_for(conn, CONN_ANSWERED, e) != 0)
		return -1;
	if (client->options->trace != NULL)
		trace_head(client->options->trace, "<", buf_bytes(&conn->answer.head));
	return 0;
}

int
client_coap(struct client *client, const struct coapc_request *request, struct err *e)
{
	struct conn *conn = &client->conn;

	coapc_exchange_begin(&conn->coap, request);
	conn_send(conn, time_monotonic_us() + client->options->timeout_s * SECOND_US);
	return wait_for(conn, CONN_ANSWERED, e);
}
