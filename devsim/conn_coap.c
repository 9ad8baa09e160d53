/*
 * A connection over datagrams: DTLS, and the exchange on top of it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/time.h>

#include <openssl/err.h>

#include "base/timefmt.h"
#include "devsim/conn_internal.h"

#define SECOND_US 1000000

static void
note_handshake_timer(struct conn *conn)
{
	struct timeval left;

	conn->timer_us = 0;
	if (DTLSv1_get_timeout(conn->ssl, &left) == 1)
		conn->timer_us = time_monotonic_us() + (int64_t)left.tv_sec * SECOND_US + left.tv_usec;
}

/*
 * The server's mind is made up: it sent a fatal alert, or its certificate does not please. Anything else may come of
 * datagrams that were lost, or that a server which began anew sent twice, and be otherwise next time.
 */
static bool
is_final(const SSL *ssl)
{
	return ERR_GET_REASON(ERR_peek_error()) >= SSL_AD_REASON_OFFSET ||
		(SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE && SSL_get_verify_result(ssl) != X509_V_OK);
}

int
conn_coap_handshake(struct conn *conn)
{
	int rc = (int)DTLSv1_handle_timeout(conn->ssl);

	if (rc < 0)
		return rc;
	rc = SSL_do_handshake(conn->ssl);
	conn->connected = rc != 1 && SSL_get_error(conn->ssl, rc) == SSL_ERROR_SSL && is_final(conn->ssl);
	note_handshake_timer(conn);
	return rc;
}

bool
conn_coap_refused(const struct conn *conn)
{
	return conn->target->url.coap && !conn->connected && conn->address->ai_next != NULL;
}

/* What the exchange has to send goes out at once: a datagram that finds no room is as good as lost. */
static bool
flush(struct conn *conn, int64_t now_us)
{
	struct bytes datagram;
	int n;

	while ((datagram = coapc_exchange_output(&conn->coap, now_us)).len > 0) {
		ERR_clear_error();
		errno = 0;
		n = SSL_write(conn->ssl, datagram.at, (int)datagram.len);
		if (n <= 0 && conn_ssl_want(conn, n, "request") == CONN_WANT_NOTHING)
			return false;
	}
	return true;
}

static enum conn_want
lost(struct conn *conn)
{
	conn->connected = conn->err.code != ERR_UPSTREAM;
	return conn_broken(conn);
}

enum conn_want
conn_coap_step(struct conn *conn)
{
	int64_t now_us = time_monotonic_us();
	uint8_t chunk[COAPC_MESSAGE_MAX];
	enum conn_want want;
	int n;

	coapc_exchange_tick(&conn->coap, now_us);
	for (;;) {
		if (!flush(conn, now_us))
			return lost(conn);
		if (conn->coap.state == COAPC_FAILED) {
			conn->err = conn->coap.err;
			return lost(conn);
		}
		if (conn->coap.state == COAPC_DONE) {
			conn->answers++;
			conn->state = CONN_ANSWERED;
			return CONN_WANT_NOTHING;
		}
		ERR_clear_error();
		errno = 0;
		n = SSL_read(conn->ssl, chunk, sizeof chunk);
		if (n <= 0)
			break;
		coapc_exchange_input(&conn->coap, bytes_of(chunk, (size_t)n));
	}
	want = conn_ssl_want(conn, n, "answer");
	if (want == CONN_WANT_NOTHING)
		return lost(conn);
	conn->timer_us = coapc_exchange_timer_us(&conn->coap);
	return want;
}

static bool
is_waiting(const struct conn *conn)
{
	return conn->target->url.coap && (conn->state == CONN_HANDSHAKE || conn->state == CONN_RECEIVING);
}

bool
conn_due(const struct conn *conn, int64_t now_us)
{
	return is_waiting(conn) && conn->timer_us != 0 && now_us >= conn->timer_us;
}

int64_t
conn_wake_us(const struct conn *conn)
{
	return is_waiting(conn) && conn->timer_us != 0 && conn->timer_us < conn->deadline_us ? conn->timer_us :
		conn->deadline_us;
}
