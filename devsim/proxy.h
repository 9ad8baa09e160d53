/*
 * proxy.h - a bad link between UDP clients and one server, in a thread of its own.
 *
 * Every client address is a flow, numbered in the order of appearance, with a
 * socket of its own towards the server. A flow that was silent for
 * PROXY_IDLE_S is forgotten.
 */
#ifndef DEVSIM_PROXY_H
#define DEVSIM_PROXY_H

#include <netdb.h>
#include <stdio.h>

#include "devsim/lossy.h"

#define PROXY_FLOWS_MAX 20000
#define PROXY_IDLE_S    600
#define PROXY_LATE_MS   50 /* a datagram waits at most this long for another one to pass it */

struct proxy_stats {
	uint64_t flows;
	uint64_t datagrams[2][LOSSY_FATES]; /* LOSSY_UP, LOSSY_DOWN */
};

struct proxy;

/*
 * Listen and begin. listen: what to bind to, the first address that works; to: the server, whose first address
 * that does not refuse is used; copied. trace: one line a datagram; NULL: none. ERR_UPSTREAM: no such socket.
 */
MUST_USE int proxy_start(const struct lossy *lossy, const struct addrinfo *listen, const struct addrinfo *to, FILE *trace,
	struct proxy **out, struct err *e);
int proxy_port(const struct proxy *proxy);
/* So far; from any thread. */
void proxy_stats(struct proxy *proxy, struct proxy_stats *out);
void proxy_stop(struct proxy *proxy); /* NULL is allowed */

#endif
