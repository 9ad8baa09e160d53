#include "gateway/http/front_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <openssl/err.h>

#include "gateway/core/log.h"

/*
 * One read(2) for each call of libssl. It goes on by itself as long as records without data come (key updates,
 * refused renegotiations), and a client that never stops sending them would keep the loop from everyone else.
 */
static long
take_turns(BIO *bio, int operation, const char *data, size_t len, int argi, long argl, int result, size_t *done)
{
	struct conn *conn = (struct conn *)(void *)BIO_get_callback_arg(bio);

	(void)data;
	(void)len;
	(void)argi;
	(void)argl;
	(void)done;
	if (operation != BIO_CB_READ)
		return result;
	if (!conn->may_read) {
		BIO_set_retry_read(bio); /* the socket stays readable, so the loop comes back */
		return -1;
	}
	conn->may_read = false;
	return result;
}

/* The context is taken when the client speaks first, so that a reload reaches connections that still waited. */
static int
start_tls(struct conn *conn)
{
	SSL_CTX *ctx = front_tls_get(conn->loop->front);

	conn->ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	if (conn->ssl == NULL || SSL_set_fd(conn->ssl, conn->fd) != 1) {
		ERR_clear_error();
		return WIRE_BROKEN;
	}
	BIO_set_callback_ex(SSL_get_rbio(conn->ssl), take_turns);
	BIO_set_callback_arg(SSL_get_rbio(conn->ssl), (char *)conn);
	SSL_set_accept_state(conn->ssl);
	return 0;
}

static int
wire_error(struct conn *conn, int result)
{
	switch (SSL_get_error(conn->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return WIRE_AGAIN;
	case SSL_ERROR_WANT_WRITE:
		(void)event_add(&conn->writable, NULL);
		return WIRE_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return WIRE_END;
	default:
		conn->broken = true;
		return WIRE_BROKEN;
	}
}

static void
log_failure(const struct conn *conn)
{
	unsigned long number = ERR_peek_error();
	const char *reason = number == 0 ? NULL : ERR_reason_error_string(number);
	char peer[64];

	peer_text(&conn->address, false, peer, sizeof peer);
	log_rare(LOG_LEVEL_INFO, "handshake", "%s: %s", peer, reason == NULL ? "the client went away" : reason);
}

int
wire_handshake(struct conn *conn)
{
	int result, on = 1;

	if (conn->ssl == NULL && start_tls(conn) != 0)
		return WIRE_BROKEN;
	ERR_clear_error();
	conn->may_read = true;
	result = SSL_accept(conn->ssl);
	if (result == 1) {
		/* A client without TCP_NODELAY holds its request back until its Finished is acknowledged. */
		(void)setsockopt(conn->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
		conn->heard = BIO_number_read(SSL_get_rbio(conn->ssl));
		return 1;
	}
	if (wire_error(conn, result) == WIRE_AGAIN && !tls_handshake_is_absurd(conn->ssl))
		return WIRE_AGAIN;
	log_failure(conn);
	ERR_clear_error();
	conn->broken = true;
	return WIRE_BROKEN;
}

static ssize_t
socket_result(struct conn *conn, ssize_t n)
{
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
		return WIRE_AGAIN;
	conn->broken = true;
	return WIRE_BROKEN;
}

ssize_t
wire_read(struct conn *conn, uint8_t *out, size_t size)
{
	uint64_t octets;
	int n;

	if (conn->ssl == NULL)
		return socket_result(conn, recv(conn->fd, out, size, 0));
	ERR_clear_error();
	conn->may_read = true;
	n = SSL_read(conn->ssl, out, (int)size);
	octets = BIO_number_read(SSL_get_rbio(conn->ssl));
	if (n > 0) {
		conn->heard = octets;
		return n;
	}
	n = wire_error(conn, n);
	if (n != WIRE_AGAIN || octets - conn->heard <= SILENCE_OCTETS_MAX)
		return n;
	conn->broken = true;
	return WIRE_BROKEN;
}

ssize_t
wire_write(struct conn *conn, const uint8_t *at, size_t len)
{
	int n;

	if (conn->ssl == NULL)
		return socket_result(conn, send(conn->fd, at, len, MSG_NOSIGNAL));
	ERR_clear_error();
	n = SSL_write(conn->ssl, at, len > INT32_MAX ? INT32_MAX : (int)len);
	return n > 0 ? n : wire_error(conn, n);
}

bool
wire_has_more(const struct conn *conn)
{
	return conn->ssl != NULL && SSL_has_pending(conn->ssl) == 1;
}

void
wire_finish(struct conn *conn)
{
	if (conn->ssl != NULL && !conn->broken && SSL_is_init_finished(conn->ssl)) {
		ERR_clear_error();
		(void)SSL_shutdown(conn->ssl);
		ERR_clear_error();
	}
	(void)shutdown(conn->fd, SHUT_WR);
}
