/*
 * dtls_server.h - a DTLS 1.2 server on 127.0.0.1 that answers one session at a time by a script. For tests of CoAP clients.
 *
 * Sockets and handshake are OpenSSL's alone: one thread, blocking, with timeouts for repeated flights.
 */
#ifndef TESTS_UNIT_DTLS_SERVER_H
#define TESTS_UNIT_DTLS_SERVER_H

#include "tests/unit/tls_certs.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#define DTLS_SERVER_POLL_MS 20
#define DTLS_SERVER_MTU     228

struct dtls_server;

/* One message came. Returns false to end the session without a word. */
typedef bool dtls_answer_fn(struct dtls_server *server, SSL *ssl, struct bytes message);

struct dtls_server {
	SSL_CTX *ctx;
	dtls_answer_fn *answer;
	void *arg;
	int fd;
	uint16_t port;
	char url[64];
	atomic_bool stop;
	atomic_uint sessions, messages;
	pthread_mutex_t lock; /* held while answer runs; a test that looks at what it left takes it, too */
	pthread_t thread;
};

static inline void
dtls_server_listen(struct dtls_server *server)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(server->port) };
	socklen_t len = sizeof at;
	int one = 1;

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server->fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_true(server->fd >= 0);
	assert_int_equal(setsockopt(server->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), 0);
	assert_int_equal(bind(server->fd, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(getsockname(server->fd, (struct sockaddr *)&at, &len), 0);
	server->port = ntohs(at.sin_port);
}

/* Waits for a datagram, or until it is time to stop. */
static inline bool
dtls_server_wait(struct dtls_server *server)
{
	struct pollfd p = { .fd = server->fd, .events = POLLIN };

	while (!atomic_load(&server->stop))
		if (poll(&p, 1, DTLS_SERVER_POLL_MS) > 0)
			return true;
	return false;
}

static inline bool
dtls_server_accept(struct dtls_server *server, SSL *ssl)
{
	struct pollfd p = { .fd = server->fd, .events = POLLIN };
	int rc;

	while ((rc = SSL_accept(ssl)) != 1) {
		if (SSL_get_error(ssl, rc) != SSL_ERROR_WANT_READ || atomic_load(&server->stop))
			return false;
		(void)poll(&p, 1, DTLS_SERVER_POLL_MS);
		(void)DTLSv1_handle_timeout(ssl);
	}
	atomic_fetch_add(&server->sessions, 1);
	return true;
}

static inline void
dtls_server_session(struct dtls_server *server, SSL *ssl)
{
	uint8_t message[16384];
	bool more = dtls_server_accept(server, ssl);
	int n;

	while (more) {
		n = SSL_read(ssl, message, sizeof message);
		if (n <= 0 && SSL_get_error(ssl, n) != SSL_ERROR_WANT_READ)
			return;
		if (n <= 0 && !dtls_server_wait(server))
			return;
		if (n <= 0)
			continue;
		atomic_fetch_add(&server->messages, 1);
		(void)pthread_mutex_lock(&server->lock);
		more = server->answer(server, ssl, bytes_of(message, (size_t)n));
		(void)pthread_mutex_unlock(&server->lock);
	}
}

/* What begins a session is a handshake record of epoch 0; anything else is of one that has ended. */
static inline bool
dtls_server_greets(const uint8_t *record, ssize_t len)
{
	return len >= 5 && record[0] == SSL3_RT_HANDSHAKE && record[3] == 0 && record[4] == 0;
}

/* The socket belongs to one peer while its session lasts; a new one on the same port follows it. */
static inline void *
dtls_server_run(void *arg)
{
	struct dtls_server *server = arg;

	while (dtls_server_wait(server)) {
		struct sockaddr_storage peer = { 0 };
		socklen_t len = sizeof peer;
		uint8_t record[16];
		ssize_t got = recvfrom(server->fd, record, sizeof record, MSG_PEEK, (struct sockaddr *)&peer, &len);
		BIO *bio;
		SSL *ssl;

		if (!dtls_server_greets(record, got) || connect(server->fd, (struct sockaddr *)&peer, len) != 0) {
			(void)!recv(server->fd, record, sizeof record, MSG_DONTWAIT);
			continue;
		}
		bio = BIO_new_dgram(server->fd, BIO_NOCLOSE);
		ssl = SSL_new(server->ctx);
		if (bio == NULL || ssl == NULL)
			abort();
		(void)BIO_ctrl_set_connected(bio, &peer);
		SSL_set_bio(ssl, bio, bio);
		(void)SSL_set_options(ssl, SSL_OP_NO_QUERY_MTU);
		(void)SSL_set_mtu(ssl, DTLS_SERVER_MTU);
		(void)BIO_socket_nbio(server->fd, 1);
		dtls_server_session(server, ssl);
		SSL_free(ssl);
		(void)close(server->fd);
		dtls_server_listen(server);
	}
	return NULL;
}

static inline void
dtls_server_start(struct dtls_server *server, const struct certs *c, dtls_answer_fn *answer, void *arg)
{
	*server = (struct dtls_server){ .answer = answer, .arg = arg };
	server->ctx = SSL_CTX_new(DTLS_server_method());
	assert_non_null(server->ctx);
	/* OpenSSL's own list has no CCM8. */
	assert_int_equal(SSL_CTX_set_cipher_list(server->ctx, "ECDHE-ECDSA-AES128-CCM8:ECDHE-ECDSA-AES128-GCM-SHA256"), 1);
	assert_int_equal(SSL_CTX_use_certificate(server->ctx, c->server), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(server->ctx, c->key), 1);
	assert_int_equal(SSL_CTX_load_verify_locations(server->ctx, c->ca_file, NULL), 1);
	SSL_CTX_set_verify(server->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	dtls_server_listen(server);
	(void)snprintf(server->url, sizeof server->url, "coaps://127.0.0.1:%u", (unsigned)server->port);
	assert_int_equal(pthread_mutex_init(&server->lock, NULL), 0);
	assert_int_equal(pthread_create(&server->thread, NULL, dtls_server_run, server), 0);
}

static inline void
dtls_server_stop(struct dtls_server *server)
{
	atomic_store(&server->stop, true);
	assert_int_equal(pthread_join(server->thread, NULL), 0);
	(void)close(server->fd);
	(void)pthread_mutex_destroy(&server->lock);
	SSL_CTX_free(server->ctx);
}

#endif
