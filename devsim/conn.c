#define _GNU_SOURCE
#include "devsim/conn_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "base/timefmt.h"

#define READ_CHUNK   16384
#define SOURCE_FIRST 0x7f000101 /* 127.0.1.1 */

int
target_open(struct target *target, const struct url *url, struct err *e)
{
	struct addrinfo hints = { .ai_socktype = url->coap ? SOCK_DGRAM : SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	int rc = getaddrinfo(url->host, url->port, &hints, &target->addresses);

	if (rc != 0)
		return err_set(e, ERR_UPSTREAM, "%s: %s", url->host, gai_strerror(rc));
	target->url = *url;
	return 0;
}

void
target_close(struct target *target)
{
	if (target->addresses != NULL)
		freeaddrinfo(target->addresses);
	if (target->through != NULL)
		freeaddrinfo(target->through);
	target->addresses = target->through = NULL;
}

void
conn_init(struct conn *conn, struct target *target, struct tls *tls)
{
	uint64_t seed = 0;
	struct err e;

	*conn = (struct conn){ .target = target, .tls = tls, .fd = -1 };
	/* Without it connections merely number their messages alike. */
	if (random_octets((uint8_t *)&seed, sizeof seed, &e) != 0)
		seed = 0;
	coapc_exchange_init(&conn->coap, seed);
}

void
conn_close(struct conn *conn)
{
	if (conn->ssl != NULL) {
		if (conn->state == CONN_READY || conn->state == CONN_ANSWERED)
			(void)SSL_shutdown(conn->ssl);
		SSL_free(conn->ssl);
		ERR_clear_error();
		conn->ssl = NULL;
	}
	if (conn->fd >= 0)
		(void)close(conn->fd);
	conn->fd = -1;
	conn->state = CONN_CLOSED;
}

void
conn_free(struct conn *conn)
{
	conn_close(conn);
	buf_free_secret(&conn->out);
	coapc_exchange_free(&conn->coap);
	http_answer_free(&conn->answer);
}

enum conn_want
conn_broken(struct conn *conn)
{
	conn->state = CONN_BROKEN;
	return CONN_WANT_NOTHING;
}

/* Many connections from one address run into limits per address, theirs and ours; loopback has more. */
static void
bind_source(struct conn *conn)
{
	struct sockaddr_in from = { .sin_family = AF_INET };
	unsigned n = conn->target->sources;
	int one = 1;

	if (n == 0 || conn->address->ai_family != AF_INET)
		return;
	from.sin_addr.s_addr = htonl(SOURCE_FIRST + atomic_fetch_add(&conn->target->next_source, 1) % n);
	(void)setsockopt(conn->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
	(void)bind(conn->fd, (const struct sockaddr *)&from, sizeof from);
}

/* Try addresses from conn->address on until one connects or is under way. */
static void
connect_next(struct conn *conn)
{
	int one = 1;

	for (; conn->address != NULL; conn->address = conn->address->ai_next) {
		if (conn->fd >= 0)
			(void)close(conn->fd);
		conn->fd = socket(conn->address->ai_family, conn->address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (conn->fd < 0) {
			(void)err_set(&conn->err, ERR_UPSTREAM, "socket: %s", strerror(errno));
			continue;
		}
		conn->sockets++;
		if (conn->address->ai_socktype == SOCK_STREAM)
			(void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		bind_source(conn);
		if (connect(conn->fd, conn->address->ai_addr, conn->address->ai_addrlen) == 0 ||
		    errno == EINPROGRESS) {
			conn->state = CONN_CONNECTING;
			return;
		}
		(void)err_set(&conn->err, ERR_UPSTREAM, "connect: %s", strerror(errno));
	}
	(void)conn_broken(conn);
}

void
conn_open(struct conn *conn, const struct device *device, int64_t deadline_us)
{
	conn_close(conn);
	conn->device = device;
	conn->deadline_us = deadline_us;
	conn->answers = 0;
	conn->connected = false;
	conn->err = (struct err){ 0 };
	coapc_exchange_reset(&conn->coap);
	conn->address = conn->target->through != NULL ? conn->target->through : conn->target->addresses;
	connect_next(conn);
}

static int
use_device(SSL *ssl, const struct device *device, struct err *e)
{
	if (device == NULL || device->cert == NULL)
		return 0;
	if (SSL_use_cert_and_key(ssl, device->cert, device->key, device->chain, 1) != 1)
		return err_ossl(e, ERR_MALFORMED, "client certificate");
	return 0;
}

static enum conn_want
step_connecting(struct conn *conn)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof peer, error_len = sizeof(int);
	int error = 0;

	if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &error_len) != 0)
		error = errno;
	if (error == 0 && getpeername(conn->fd, (struct sockaddr *)&peer, &len) != 0)
		return CONN_WANT_WRITE;
	if (error != 0) {
		(void)err_set(&conn->err, ERR_UPSTREAM, "connect: %s", strerror(error));
		conn->address = conn->address->ai_next;
		connect_next(conn);
		return conn->state == CONN_CONNECTING ? CONN_WANT_WRITE : CONN_WANT_NOTHING;
	}
	conn->connected = !conn->target->url.coap;
	if (conn->tls == NULL) {
		conn->state = CONN_READY;
		conn->ready_us = time_monotonic_us();
		return CONN_WANT_NOTHING;
	}
	conn->ssl = tls_connection(conn->tls, conn->fd, &conn->err);
	if (conn->ssl == NULL || use_device(conn->ssl, conn->device, &conn->err) != 0)
		return conn_broken(conn);
	conn->state = CONN_HANDSHAKE;
	return conn_step(conn);
}

/* What an SSL call that did not succeed waits for; CONN_WANT_NOTHING: it failed. */
enum conn_want
conn_ssl_want(struct conn *conn, int rc, const char *phase)
{
	int reason = SSL_get_error(conn->ssl, rc);

	if (reason == SSL_ERROR_WANT_READ)
		return CONN_WANT_READ;
	if (reason == SSL_ERROR_WANT_WRITE)
		return CONN_WANT_WRITE;
	(void)tls_error(conn->ssl, rc, phase, &conn->err);
	return CONN_WANT_NOTHING;
}

static enum conn_want
step_handshake(struct conn *conn)
{
	enum conn_want want;
	int rc;

	ERR_clear_error();
	errno = 0;
	rc = conn->target->url.coap ? conn_coap_handshake(conn) : SSL_do_handshake(conn->ssl);
	if (rc == 1) {
		conn->connected = true;
		conn->state = CONN_READY;
		conn->ready_us = time_monotonic_us();
		return CONN_WANT_NOTHING;
	}
	want = conn_ssl_want(conn, rc, conn->target->url.coap ? "DTLS handshake" : "TLS handshake");
	if (want == CONN_WANT_NOTHING && conn_coap_refused(conn)) {
		SSL_free(conn->ssl);
		conn->ssl = NULL;
		conn->address = conn->address->ai_next;
		connect_next(conn);
		return conn->state == CONN_CONNECTING ? conn_step(conn) : CONN_WANT_NOTHING;
	}
	return want == CONN_WANT_NOTHING ? conn_broken(conn) : want;
}

void
conn_send(struct conn *conn, int64_t deadline_us)
{
	conn->deadline_us = deadline_us;
	conn->sent = 0;
	http_answer_clear(&conn->answer);
	conn->state = conn->target->url.coap ? CONN_RECEIVING : CONN_SENDING;
	if (buf_failed(&conn->out)) {
		(void)err_set(&conn->err, ERR_NOMEM, "request: no memory");
		(void)conn_broken(conn);
	}
}

/* The same of a plain socket. */
static enum conn_want
socket_want(struct conn *conn, ssize_t rc, enum conn_want want, const char *phase)
{
	if (rc < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return want;
	(void)err_set(&conn->err, ERR_UPSTREAM, "%s: %s", phase,
		rc == 0 ? "the server closed the connection" : strerror(errno));
	return CONN_WANT_NOTHING;
}

/* Octets that came; 0: *want says what to wait for, or that the connection ended. */
static size_t
receive(struct conn *conn, uint8_t *at, size_t size, enum conn_want *want)
{
	ssize_t n;

	ERR_clear_error();
	errno = 0;
	if (conn->ssl != NULL) {
		n = SSL_read(conn->ssl, at, (int)size);
		if (n <= 0)
			*want = conn_ssl_want(conn, (int)n, "answer");
	} else {
		do
			n = recv(conn->fd, at, size, 0);
		while (n < 0 && errno == EINTR);
		if (n <= 0)
			*want = socket_want(conn, n, CONN_WANT_READ, "answer");
	}
	return n > 0 ? (size_t)n : 0;
}

static size_t
transmit(struct conn *conn, const uint8_t *at, size_t len, enum conn_want *want)
{
	ssize_t n;

	ERR_clear_error();
	errno = 0;
	if (conn->ssl != NULL) {
		n = SSL_write(conn->ssl, at, (int)len);
		if (n <= 0)
			*want = conn_ssl_want(conn, (int)n, "request");
	} else {
		do
			n = send(conn->fd, at, len, MSG_NOSIGNAL);
		while (n < 0 && errno == EINTR);
		if (n <= 0)
			*want = socket_want(conn, n, CONN_WANT_WRITE, "request");
	}
	return n > 0 ? (size_t)n : 0;
}

static enum conn_want
step_receiving(struct conn *conn)
{
	uint8_t chunk[READ_CHUNK];

	while (conn->state == CONN_RECEIVING) {
		enum conn_want want = CONN_WANT_NOTHING;
		size_t used, n = receive(conn, chunk, sizeof chunk, &want);

		if (n > 0) {
			if (http_answer_feed(&conn->answer, bytes_of(chunk, n), &used, &conn->err) != 0)
				return conn_broken(conn);
		} else {
			if (want != CONN_WANT_NOTHING)
				return want;
			if (conn->answer.state == HTTP_HEAD && conn->answer.head.len == 0)
				return conn_broken(conn);
			if (http_answer_end(&conn->answer, &conn->err) != 0)
				return conn_broken(conn);
		}
		if (conn->answer.state == HTTP_DONE) {
			conn->answers++;
			conn->state = CONN_ANSWERED;
		}
	}
	return CONN_WANT_NOTHING;
}

static enum conn_want
step_sending(struct conn *conn)
{
	while (conn->sent < conn->out.len) {
		enum conn_want want = CONN_WANT_NOTHING;
		size_t n = transmit(conn, conn->out.at + conn->sent, conn->out.len - conn->sent, &want);

		if (n > 0) {
			conn->sent += n;
			continue;
		}
		if (want != CONN_WANT_NOTHING)
			return want;
		/* A server that refuses early answers, then closes: the answer may be there to read. */
		break;
	}
	conn->state = CONN_RECEIVING;
	return step_receiving(conn);
}

enum conn_want
conn_step(struct conn *conn)
{
	switch (conn->state) {
	case CONN_CONNECTING:
		return step_connecting(conn);
	case CONN_HANDSHAKE:
		return step_handshake(conn);
	case CONN_SENDING:
		return step_sending(conn);
	case CONN_RECEIVING:
		return conn->target->url.coap ? conn_coap_step(conn) : step_receiving(conn);
	case CONN_CLOSED:
	case CONN_READY:
	case CONN_ANSWERED:
	case CONN_BROKEN:
		break;
	}
	return CONN_WANT_NOTHING;
}

bool
conn_expire(struct conn *conn, int64_t now_us)
{
	static const char *const phases[] = { "", "connect", "handshake", "", "request", "answer", "", "" };

	if (phases[conn->state][0] == '\0' || now_us < conn->deadline_us)
		return false;
	(void)err_set(&conn->err, ERR_UPSTREAM, "%s: timed out", phases[conn->state]);
	if (conn->target->url.coap)
		conn->connected = false;
	(void)conn_broken(conn);
	return true;
}

bool
conn_stale(const struct conn *conn)
{
	return conn->state == CONN_BROKEN && conn->answers > 0 && conn->answer.head.len == 0 &&
		conn->coap.answer.code == COAPC_EMPTY && conn->err.code == ERR_UPSTREAM;
}

bool
conn_reusable(const struct conn *conn)
{
	return conn->state == CONN_READY ||
		(conn->state == CONN_ANSWERED && (conn->target->url.coap || conn->answer.keep_alive));
}
