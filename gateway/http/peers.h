/*
 * peers.h - how many connections each address holds.
 *
 * An IPv4 address counts as itself, IPv6 by its /64: one subscriber has that
 * many addresses. Thread-safe; memory is fixed by the connection limit.
 */
#ifndef GATEWAY_HTTP_PEERS_H
#define GATEWAY_HTTP_PEERS_H

#include <sys/socket.h>

#include "base/bytes.h"

struct peers;

struct peer_key {
	uint64_t address; /* never 0 for a counted peer */
};

/* connections: how many are counted at once at most. */
MUST_USE int peers_new(size_t connections, struct peers **out, struct err *e);
void peers_free(struct peers *peers); /* NULL is allowed */

struct peer_key peer_key_of(const struct sockaddr_storage *address);
/* "192.0.2.7", "2001:db8::7"; an IPv4-mapped address as IPv4. with_port: "192.0.2.7:443", "[2001:db8::7]:443". */
void peer_text(const struct sockaddr_storage *address, bool with_port, char *out, size_t size);

/* false, and not counted, when the address holds max already. */
bool peers_enter(struct peers *peers, struct peer_key key, int max);
void peers_leave(struct peers *peers, struct peer_key key);

#endif
