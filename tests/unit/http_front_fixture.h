/*
 * http_front_fixture.h - a CivetWeb that echoes, a front before it, and blunt clients; shared by the http_front tests.
 */
#ifndef TESTS_UNIT_HTTP_FRONT_FIXTURE_H
#define TESTS_UNIT_HTTP_FRONT_FIXTURE_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <civetweb.h>

#include "gateway/http/facts.h"
#include "gateway/http/front.h"

#define WORKERS 4
#define PATIENCE_MS 20000 /* how long a test waits for what must come */
#define BIG_OCTETS (4 << 20)

/* What /hold waits for, and how many do. */
struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int waiting, open;
};

struct fixture {
	struct mg_context *civet;
	int backend_port;
	struct gate gate;
	struct front *front;
	int port;
	char witnessed[64]; /* the peer of the last /witness */
};

static struct fixture fixture = { .gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0 } };

/* false: the patience is over, so that a failing test does not wait for ever. */
static inline bool
gate_wait(struct gate *gate, const struct timespec *until)
{
	return pthread_cond_timedwait(&gate->changed, &gate->lock, until) == 0;
}

static inline struct timespec
patience_from_now(void)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_MS / 1000;
	return until;
}

static inline void
gate_pass(struct gate *gate)
{
	struct timespec until = patience_from_now();

	(void)pthread_mutex_lock(&gate->lock);
	gate->waiting++;
	(void)pthread_cond_broadcast(&gate->changed);
	while (gate->open == 0 && gate_wait(gate, &until))
		continue;
	if (gate->open != 0)
		gate->open--;
	gate->waiting--;
	(void)pthread_mutex_unlock(&gate->lock);
}

/* Let count handlers through. */
static inline void
gate_open(int count)
{
	(void)pthread_mutex_lock(&fixture.gate.lock);
	fixture.gate.open += count;
	(void)pthread_cond_broadcast(&fixture.gate.changed);
	(void)pthread_mutex_unlock(&fixture.gate.lock);
}

static inline void
gate_await(int count)
{
	struct timespec until = patience_from_now();
	bool enough;

	(void)pthread_mutex_lock(&fixture.gate.lock);
	while (fixture.gate.waiting < count && gate_wait(&fixture.gate, &until))
		continue;
	enough = fixture.gate.waiting >= count;
	(void)pthread_mutex_unlock(&fixture.gate.lock);
	assert_true(enough);
}

static inline void
describe(const struct conn_facts *facts, struct buf *out)
{
	char hex[2 * EST_BINDING_MAX + 1];

	if (facts == NULL) {
		buf_append_text(out, "facts none\n");
		return;
	}
	buf_printf(out, "peer %s\nlocal %s\ntls %s\n", facts->peer, facts->local, facts->tls_version);
	hex_encode(bytes_of(facts->client_sha256, sizeof facts->client_sha256), hex);
	buf_printf(out, "client %s\n", facts->client_cert == NULL ? "none" : hex);
	buf_printf(out, "chain %d\n", facts->client_chain == NULL ? 0 : sk_X509_num(facts->client_chain));
	hex_encode(bytes_of(facts->binding.unique, facts->binding.unique_len), hex);
	buf_printf(out, "unique %s\n", hex);
	hex_encode(bytes_of(facts->binding.exporter, facts->binding.exporter_len), hex);
	buf_printf(out, "exporter %s\n", hex);
}

static inline void
echo(struct mg_connection *conn, const struct mg_request_info *info, struct buf *out)
{
	const struct conn_facts *facts = front_facts_get(mg_get_header(conn, FRONT_HANDLE_HEADER));
	char piece[4096];
	int i, n;

	buf_printf(out, "%s %s %s\n", info->request_method, info->request_uri,
		info->query_string == NULL ? "-" : info->query_string);
	for (i = 0; i < info->num_headers; i++)
		if (strcmp(info->http_headers[i].name, FRONT_HANDLE_HEADER) != 0)
			buf_printf(out, "%s: %s\n", info->http_headers[i].name, info->http_headers[i].value);
	describe(facts, out);
	if (facts != NULL && strcmp(info->request_uri, "/witness") == 0) {
		(void)pthread_mutex_lock(&fixture.gate.lock);
		(void)snprintf(fixture.witnessed, sizeof fixture.witnessed, "%s", facts->peer);
		(void)pthread_mutex_unlock(&fixture.gate.lock);
	}
	front_facts_put(facts);
	buf_append_text(out, "body ");
	while ((n = mg_read(conn, piece, sizeof piece)) > 0)
		buf_append(out, piece, (size_t)n);
	buf_append_text(out, "\n");
}

/* "/status?404": that status, kept alive in so many words; the body names the front's own port. */
static inline int
answer_status(struct mg_connection *conn, const struct mg_request_info *info)
{
	int status = info->query_string == NULL ? 200 : atoi(info->query_string);
	CLEANUP(buf) struct buf answer = { 0 };
	char body[16];

	(void)snprintf(body, sizeof body, "%d\n", info->remote_port);
	buf_printf(&answer, "HTTP/1.1 %d X\r\nConnection: keep-alive\r\nContent-Length: %zu\r\n\r\n%s", status,
		strlen(body), body);
	(void)mg_write(conn, answer.at, answer.len);
	return status;
}

static inline int
handle(struct mg_connection *conn)
{
	const struct mg_request_info *info = mg_get_request_info(conn);
	CLEANUP(buf) struct buf out = { 0 };
	CLEANUP(buf) struct buf answer = { 0 };
	static const char silent_end[] = "HTTP/1.1 404 No\r\nContent-Length: 3\r\n\r\nno\n";
	size_t i;

	if (strcmp(info->request_uri, "/missing") == 0) {
		(void)mg_send_http_error(conn, 404, "%s", "nothing here");
		return 404;
	}
	if (strcmp(info->request_uri, "/status") == 0)
		return answer_status(conn, info);
	if (strcmp(info->request_uri, "/hold") == 0)
		gate_pass(&fixture.gate);
	if (strcmp(info->request_uri, "/big") == 0)
		for (i = 0; i < BIG_OCTETS / 16; i++)
			buf_append(&out, "0123456789abcdef", 16);
	else
		echo(conn, info, &out);
	if (strcmp(info->request_uri, "/closes") == 0) {
		/* without a word of it: there is no Connection: close in the answer */
		mg_disable_connection_keep_alive(conn);
		return mg_write(conn, silent_end, strlen(silent_end));
	}
	buf_printf(&answer, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", out.len);
	if (strcmp(info->request_method, "HEAD") != 0)
		buf_append_bytes(&answer, buf_bytes(&out));
	(void)mg_write(conn, answer.at, answer.len);
	return 200;
}

static inline void
front_down(void)
{
	front_stop(fixture.front, 1);
	fixture.front = NULL;
}

static inline void
front_up(const struct front_settings *settings)
{
	struct err e;

	front_down(); /* of a test that failed */
	if (front_start(settings, &fixture.front, &e) != 0)
		fail_msg("%s", e.text);
	fixture.port = front_port(fixture.front, 0);
}

static inline int
fixture_open(void **state)
{
	const char *options[] = { "listening_ports", "127.0.0.1:0", "num_threads", "4", "decode_url", "no",
		"decode_query_string", "no", "enable_auth_domain_check", "no", "max_request_size", "32768",
		"tcp_nodelay", "1", "enable_keep_alive", "yes", "keep_alive_timeout_ms", "3600000", NULL };
	const struct mg_callbacks callbacks = { .begin_request = handle };
	struct mg_server_port port;
	struct err e;

	(void)state;
	if (ossl_init(&e) != 0)
		return -1;
	(void)mg_init_library(0);
	fixture.civet = mg_start(&callbacks, NULL, options);
	if (fixture.civet == NULL || mg_get_server_ports(fixture.civet, 1, &port) != 1)
		return -1;
	fixture.backend_port = port.port;
	return 0;
}

static inline int
fixture_close(void **state)
{
	(void)state;
	gate_open(WORKERS * 100); /* a failed test may have left some waiting */
	front_down();
	mg_stop(fixture.civet);
	return 0;
}

static inline struct front_settings
settings_for_tests(void)
{
	static const char *const listen_on[] = { "127.0.0.1:0" };

	return (struct front_settings){ .listen = listen_on, .listen_count = 1, .loops = 2,
		.backend_port = fixture.backend_port, .workers = WORKERS, .connections = 100,
		.connections_per_address = 100, .header_max = 4096, .body_max = 4096, .queue_max = 64,
		.queue_age_s = 60, .handshake_s = 60, .header_s = 60, .body_s = 60, .idle_s = 60 };
}

static inline int
dial_port(int port)
{
	const struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static inline int
dial(void)
{
	return dial_port(fixture.port);
}

static inline void
say(int fd, const char *text)
{
	size_t at = 0, len = strlen(text);

	while (at < len) {
		ssize_t n = send(fd, text + at, len - at, MSG_NOSIGNAL);

		assert_true(n > 0);
		at += (size_t)n;
	}
}

static inline bool
wait_readable(int fd, int timeout_ms)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	return poll(&poll_fd, 1, timeout_ms) == 1;
}

/* One octet; false: the end, or a reset. */
static inline bool
hear_octet(int fd, char *out)
{
	if (!wait_readable(fd, PATIENCE_MS))
		fail_msg("nothing was said in time");
	return recv(fd, out, 1, 0) == 1;
}

/* One answer, framed by its Content-Length; "" at the end of the connection. The caller frees. */
static inline char *
hear(int fd, bool no_body)
{
	CLEANUP(buf) struct buf in = { 0 };
	size_t length = 0;
	const char *field;
	char octet;

	while (in.len < 4 || memcmp(in.at + in.len - 4, "\r\n\r\n", 4) != 0) {
		if (!hear_octet(fd, &octet))
			return strdup(buf_text(&in));
		buf_append_u8(&in, (uint8_t)octet);
	}
	field = strstr(buf_text(&in), "Content-Length: ");
	if (field != NULL && !no_body)
		length = strtoul(field + strlen("Content-Length: "), NULL, 10);
	for (; length > 0; length--) {
		assert_true(hear_octet(fd, &octet));
		buf_append_u8(&in, (uint8_t)octet);
	}
	return strdup(buf_text(&in));
}

/* The peer closed or reset, whatever it said before. */
static inline void
assert_ends(int fd)
{
	char noise[2048];

	do {
		if (!wait_readable(fd, PATIENCE_MS))
			fail_msg("not closed in time");
	} while (recv(fd, noise, sizeof noise, 0) > 0);
}

/* The peer closed, and said nothing before. */
static inline void
assert_ended(int fd)
{
	char octet;

	assert_false(hear_octet(fd, &octet));
}

/* Hears one answer, which begins with this status line and holds this text. */
static inline void
assert_heard(int fd, const char *status, const char *text)
{
	char *answer = hear(fd, false);

	if (strncmp(answer, status, strlen(status)) != 0 || strstr(answer, text) == NULL)
		fail_msg("expected \"%s\" and \"%s\" in: %s", status, text, answer);
	free(answer);
}

#endif
