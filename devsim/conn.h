/*
 * conn.h - one HTTPS, HTTP or CoAP-over-DTLS connection as a state machine that never blocks.
 *
 * The caller waits for what conn_step() asks for, in poll() for one device or
 * in epoll for a fleet, and steps again; over datagrams also when conn_due()
 * says so. Deadlines are absolute and the caller's to enforce with conn_expire().
 */
#ifndef DEVSIM_CONN_H
#define DEVSIM_CONN_H

#include <netdb.h>
#include <stdatomic.h>

#include "devsim/coapc_exchange.h"
#include "devsim/device.h"
#include "devsim/http.h"
#include "devsim/tls.h"

/* Where connections go: every address of one host. */
struct target {
	struct url url;
	struct addrinfo *addresses;
	struct addrinfo *through;  /* a proxy on this machine that datagrams go to instead; NULL: none */
	unsigned sources;          /* loopback only: bind to this many addresses 127.0.1.1 .. in turn; 0: do not bind */
	atomic_uint next_source;
};

/* Resolve the URL's host. ERR_UPSTREAM: no such host. */
MUST_USE int target_open(struct target *target, const struct url *url, struct err *e);
void target_close(struct target *target);

enum conn_state {
	CONN_CLOSED = 0,
	CONN_CONNECTING,
	CONN_HANDSHAKE,
	CONN_READY,     /* established; nothing under way */
	CONN_SENDING,
	CONN_RECEIVING,
	CONN_ANSWERED,  /* answer is complete; conn_send() may follow when answer.keep_alive */
	CONN_BROKEN,    /* err says why */
};

enum conn_want { CONN_WANT_NOTHING, CONN_WANT_READ, CONN_WANT_WRITE };

struct conn {
	enum conn_state state;
	struct target *target;
	struct tls *tls;                /* NULL: plain HTTP, and no device is shown */
	const struct device *device;    /* borrowed; NULL: no client certificate */
	const struct addrinfo *address; /* the one being tried */
	int fd;
	uint64_t sockets;               /* made so far: another number says that fd is a new one to watch */
	SSL *ssl;
	struct buf out;                 /* HTTP: the request; the caller fills it before conn_send() */
	size_t sent;
	struct http_answer answer;
	struct coapc_exchange coap;     /* CoAP: the caller begins a request in it before conn_send() */
	uint64_t answers;               /* complete ones on this connection */
	/*
	 * TCP came up: a failure after that is not a failure to connect. Over datagrams: the server has
	 * spoken; it becomes false again when an exchange ends without an answer, and may be tried again.
	 */
	bool connected;
	int64_t timer_us;               /* datagrams: when to repeat something; 0: nothing */
	int64_t deadline_us;
	int64_t ready_us;               /* when the handshake was done; plain: when TCP came up */
	struct err err;
};

void conn_init(struct conn *conn, struct target *target, struct tls *tls);
void conn_free(struct conn *conn);

/* Begin to connect as this device. Closes what was open. The state is CONN_CONNECTING, or CONN_BROKEN at once. */
void conn_open(struct conn *conn, const struct device *device, int64_t deadline_us);
/* Begin to send conn->out, or what conn->coap has begun; conn_reusable() before. */
void conn_send(struct conn *conn, int64_t deadline_us);
/* Go as far as possible without waiting. */
enum conn_want conn_step(struct conn *conn);
/* Whether a request can be sent on it. */
bool conn_reusable(const struct conn *conn);
/* Whether there is something to repeat: step. */
bool conn_due(const struct conn *conn, int64_t now_us);
/* When conn_due() or conn_expire() will have something to say. */
int64_t conn_wake_us(const struct conn *conn);
/* Past its deadline a connection breaks; true when it just did. */
bool conn_expire(struct conn *conn, int64_t now_us);
/* close_notify when it makes sense, then close. */
void conn_close(struct conn *conn);

/* A server that went away before the first octet of an answer, on a connection that served one before. */
bool conn_stale(const struct conn *conn);

#endif
