/*
 * bind.h - addresses, and several sockets on one UDP port.
 */
#ifndef COAP_BIND_H
#define COAP_BIND_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "coap/coaps.h"

struct coaps_address {
	socklen_t size;
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} as;
};

/* "[::]:5684", "127.0.0.1:0"; numbers only. ERR_MALFORMED. */
MUST_USE int coaps_address_parse(const char *text, struct coaps_address *out, struct err *e);
/*
 * Nobody has the port yet; port 0 is replaced by a free one. ERR_UPSTREAM with the reason. Sockets
 * that share a port do not notice one another, so this asks before they are made.
 */
MUST_USE int coaps_address_probe(struct coaps_address *address, const char *text, struct err *e);
int coaps_address_port(const struct coaps_address *address);
/* "192.0.2.7" or "2001:db8::7", without the port; an IPv4 address in IPv6 form as IPv4. */
void coaps_address_text(const struct sockaddr *address, char *out, size_t size);

/*
 * libcoap 4.3 makes its sockets itself and sets no SO_REUSEPORT. While this
 * is on, what the calling thread binds gets it: bind.c has a bind() that looks here and is the system's
 * otherwise, for this thread and all others.
 */
void coaps_bind_shared(bool on);

#endif
