/*
 * tls_server.h - an HTTPS/1.1 server on 127.0.0.1 with certificates made at run time. For tests of outbound calls.
 *
 * A thread accepts, a thread per connection answers. What to answer is the
 * test's function; special replies break rules that real servers break.
 */
#ifndef TESTS_UNIT_TLS_SERVER_H
#define TESTS_UNIT_TLS_SERVER_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "tests/unit/tls_certs.h"

#define SERVER_REQUEST_MAX (2 << 20)
#define SERVER_CONNECTIONS_MAX 64

struct seen {
	char method[16], path[1024];
	char head[16384]; /* request line and headers, NUL-terminated */
	char body[40000]; /* its beginning, NUL-terminated */
	size_t body_len;
};

struct reply {
	int status;
	char body[8192];
	size_t body_len;    /* of octets that are no text; 0: up to the NUL */
	char headers[1024]; /* whole lines, each with CR LF */
	const char *raw;    /* sent instead of all that, then the connection is closed */
	size_t raw_repeat;  /* raw's last copy count: 0 or 1 send it once */
	const char *raw_tail; /* after the copies */
	bool hang;          /* nothing is sent until the server stops or the client goes */
	bool close;         /* the connection is closed after the answer, without saying so */
	const char *glued;  /* sent in one TLS record with the body; the connection is kept */
	const char *unasked; /* sent after the answer, in a piece of its own; the connection is kept */
};

struct tls_server;
typedef void answer_fn(struct tls_server *server, const struct seen *seen, struct reply *reply);

struct connection {
	struct tls_server *server;
	pthread_t thread;
	int fd;
};

struct tls_server {
	SSL_CTX *ctx; /* NULL: plain HTTP */
	answer_fn *answer;
	void *arg;
	int fd, port, stop[2];
	char url[64];
	pthread_t thread;
	pthread_mutex_t lock;   /* guards what follows */
	pthread_cond_t changed;
	size_t accepted, requests, closed, unasked, resumed;
	struct connection connections[SERVER_CONNECTIONS_MAX];
	struct seen last;
};

/* Value of a header of the last request, or "". */
static inline const char *
seen_header(const struct seen *seen, const char *name, char *out, size_t size)
{
	const char *at = seen->head;
	size_t len = strlen(name), n;

	out[0] = '\0';
	while ((at = strstr(at, "\r\n")) != NULL) {
		at += 2;
		if (strncasecmp(at, name, len) != 0 || at[len] != ':')
			continue;
		at += len + 1 + strspn(at + len + 1, " ");
		n = strcspn(at, "\r");
		assert_true(n < size);
		memcpy(out, at, n);
		out[n] = '\0';
		break;
	}
	return out;
}

/* Octets from the connection; 0: it ended. SSL NULL: plain. */
static inline int
channel_read(SSL *ssl, int fd, char *at, size_t size)
{
	if (ssl != NULL)
		return SSL_read(ssl, at, (int)size);
	return (int)recv(fd, at, size, 0);
}

static inline bool
channel_write(SSL *ssl, int fd, const char *at, size_t len)
{
	while (len != 0) {
		int n = ssl != NULL ? SSL_write(ssl, at, (int)len) : (int)send(fd, at, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

static inline bool
seen_read(SSL *ssl, int fd, struct seen *seen)
{
	static const char length_name[] = "Content-Length";
	char *in = calloc(1, SERVER_REQUEST_MAX);
	size_t len = 0, head = 0, want = 0;
	char value[32];
	bool done = false;
	int n;

	while (in != NULL && !done && len < SERVER_REQUEST_MAX - 1 &&
	       (n = channel_read(ssl, fd, in + len, SERVER_REQUEST_MAX - 1 - len)) > 0) {
		len += (size_t)n;
		if (head == 0 && strstr(in, "\r\n\r\n") != NULL) {
			head = (size_t)(strstr(in, "\r\n\r\n") - in) + 4;
			(void)snprintf(seen->head, sizeof seen->head, "%.*s", (int)head, in);
			(void)sscanf(seen->head, "%15s %1023s", seen->method, seen->path);
			want = (size_t)atol(seen_header(seen, length_name, value, sizeof value));
		}
		done = head != 0 && len >= head + want;
	}
	if (done) {
		size_t kept = want < sizeof seen->body ? want : sizeof seen->body - 1;

		memcpy(seen->body, in + head, kept);
		seen->body[kept] = '\0';
		seen->body_len = want;
	}
	free(in);
	return done;
}

static inline bool
reply_write(SSL *ssl, int fd, const struct reply *reply)
{
	size_t len = reply->body_len != 0 ? reply->body_len : strlen(reply->body), i;
	char head[2048], both[sizeof reply->body + 1024];
	int n, m;

	if (reply->raw != NULL) {
		for (i = 0; i == 0 || i < reply->raw_repeat; i++)
			if (!channel_write(ssl, fd, reply->raw, strlen(reply->raw)))
				return false;
		if (reply->raw_tail != NULL)
			(void)channel_write(ssl, fd, reply->raw_tail, strlen(reply->raw_tail));
		return false;
	}
	n = snprintf(head, sizeof head, "HTTP/1.1 %d Status\r\nContent-Length: %zu\r\n%s\r\n", reply->status,
		len, reply->headers);
	if (reply->glued != NULL) {
		m = snprintf(both, sizeof both, "%.*s%s", (int)len, reply->body, reply->glued);
		return channel_write(ssl, fd, head, (size_t)n) && channel_write(ssl, fd, both, (size_t)m);
	}
	return channel_write(ssl, fd, head, (size_t)n) && channel_write(ssl, fd, reply->body, len) &&
		!reply->close;
}

/* Until the client goes or the server stops. */
static inline void
hang_on(struct tls_server *server, int fd)
{
	struct pollfd wait[2] = { { .fd = fd, .events = POLLIN }, { .fd = server->stop[0], .events = POLLIN } };

	(void)poll(wait, 2, -1);
}

static inline void
serve(struct tls_server *server, SSL *ssl, int fd)
{
	struct seen *seen = calloc(1, sizeof *seen);
	struct reply *reply = calloc(1, sizeof *reply);
	bool more = seen != NULL && reply != NULL;

	while (more && seen_read(ssl, fd, seen)) {
		*reply = (struct reply){ .status = 200 };
		(void)pthread_mutex_lock(&server->lock);
		server->last = *seen;
		server->requests++;
		server->answer(server, seen, reply); /* under the lock: a test's function may count */
		(void)pthread_cond_broadcast(&server->changed);
		(void)pthread_mutex_unlock(&server->lock);
		if (reply->hang)
			hang_on(server, fd);
		more = !reply->hang && reply_write(ssl, fd, reply);
		if (more && reply->unasked != NULL) {
			more = channel_write(ssl, fd, reply->unasked, strlen(reply->unasked));
			(void)pthread_mutex_lock(&server->lock);
			server->unasked++;
			(void)pthread_cond_broadcast(&server->changed);
			(void)pthread_mutex_unlock(&server->lock);
		}
	}
	free(seen);
	free(reply);
}

static inline void *
connection_run(void *arg)
{
	struct connection *connection = arg;
	struct tls_server *server = connection->server;
	SSL *ssl = server->ctx == NULL ? NULL : SSL_new(server->ctx);

	if (ssl != NULL)
		(void)SSL_set_fd(ssl, connection->fd);
	if (ssl == NULL || SSL_accept(ssl) == 1) {
		(void)pthread_mutex_lock(&server->lock);
		server->resumed += ssl != NULL && SSL_session_reused(ssl) == 1;
		(void)pthread_mutex_unlock(&server->lock);
		serve(server, ssl, connection->fd);
	}
	if (ssl != NULL) {
		(void)SSL_shutdown(ssl);
		SSL_free(ssl);
	}
	(void)shutdown(connection->fd, SHUT_RDWR);
	(void)pthread_mutex_lock(&server->lock);
	server->closed++;
	(void)pthread_cond_broadcast(&server->changed);
	(void)pthread_mutex_unlock(&server->lock);
	return NULL;
}

static inline void *
server_run(void *arg)
{
	struct tls_server *server = arg;
	struct pollfd wait[2] = { { .fd = server->fd, .events = POLLIN }, { .fd = server->stop[0], .events = POLLIN } };

	while (poll(wait, 2, -1) > 0 && wait[1].revents == 0) {
		int fd = accept(server->fd, NULL, NULL);
		struct connection *connection;

		if (fd < 0)
			continue;
		(void)pthread_mutex_lock(&server->lock);
		connection = server->accepted < SERVER_CONNECTIONS_MAX ? &server->connections[server->accepted++] : NULL;
		if (connection != NULL)
			*connection = (struct connection){ .server = server, .fd = fd };
		(void)pthread_mutex_unlock(&server->lock);
		if (connection == NULL || pthread_create(&connection->thread, NULL, connection_run, connection) != 0)
			abort();
	}
	return NULL;
}

/* ctx NULL: plain HTTP. The server takes ctx. */
static inline struct tls_server *
server_start(SSL_CTX *ctx, answer_fn *answer, void *arg)
{
	struct tls_server *server = calloc(1, sizeof *server);
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof at;

	assert_non_null(server);
	(void)signal(SIGPIPE, SIG_IGN);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server->ctx = ctx;
	server->answer = answer;
	server->arg = arg;
	server->fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_true(server->fd >= 0);
	assert_int_equal(bind(server->fd, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(listen(server->fd, 64), 0);
	assert_int_equal(getsockname(server->fd, (struct sockaddr *)&at, &len), 0);
	server->port = ntohs(at.sin_port);
	(void)snprintf(server->url, sizeof server->url, "%s://127.0.0.1:%d", ctx == NULL ? "http" : "https", server->port);
	assert_int_equal(pipe(server->stop), 0);
	assert_int_equal(pthread_mutex_init(&server->lock, NULL), 0);
	assert_int_equal(pthread_cond_init(&server->changed, NULL), 0);
	assert_int_equal(pthread_create(&server->thread, NULL, server_run, server), 0);
	return server;
}

static inline void
server_stop(struct tls_server *server)
{
	size_t i;

	if (server == NULL)
		return;
	assert_int_equal(write(server->stop[1], "x", 1), 1);
	assert_int_equal(pthread_join(server->thread, NULL), 0);
	for (i = 0; i < server->accepted; i++)
		(void)shutdown(server->connections[i].fd, SHUT_RDWR);
	for (i = 0; i < server->accepted; i++) {
		assert_int_equal(pthread_join(server->connections[i].thread, NULL), 0);
		(void)close(server->connections[i].fd);
	}
	(void)close(server->fd);
	(void)close(server->stop[0]);
	(void)close(server->stop[1]);
	(void)pthread_mutex_destroy(&server->lock);
	(void)pthread_cond_destroy(&server->changed);
	SSL_CTX_free(server->ctx);
	free(server);
}

static inline size_t
server_count(struct tls_server *server, const size_t *which)
{
	size_t n;

	(void)pthread_mutex_lock(&server->lock);
	n = *which;
	(void)pthread_mutex_unlock(&server->lock);
	return n;
}

/* Returns when *which has reached count; a failure takes the test's own time limit. */
static inline void
server_wait(struct tls_server *server, const size_t *which, size_t count)
{
	(void)pthread_mutex_lock(&server->lock);
	while (*which < count)
		(void)pthread_cond_wait(&server->changed, &server->lock);
	(void)pthread_mutex_unlock(&server->lock);
}

#endif
