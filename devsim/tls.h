/*
 * tls.h - the client side of TLS and DTLS: one configuration for many connections to one server.
 */
#ifndef DEVSIM_TLS_H
#define DEVSIM_TLS_H

#include <openssl/ssl.h>

#include "devsim/url.h"
#include "est/bind.h"

enum tls_version { TLS_ANY, TLS_1_2, TLS_1_3 };
#define TLS_VERSION_CHOICES "any|1.2|1.3"

/* DTLS 1.2 (RFC 9148, section 3). */
#define DTLS_SUITE_CHOICES "any|ccm8|gcm"
#define DTLS_GROUP_CHOICES "P-256|X25519" /* P-256 is always offered: the certificates are of that curve */
#define DTLS_MTU_DEFAULT   1152 /* RFC 7252, section 4.6: octets of a datagram when nothing is known about the path */
#define DTLS_MTU_MIN       228  /* what OpenSSL can do */

struct tls_options {
	int version;        /* enum tls_version */
	const char *cacert; /* PEM file of trust anchors for the server; NULL only with insecure */
	bool insecure;      /* the server is not verified at all */

	/* For coaps:// alone. */
	int suite, group;   /* indices into DTLS_SUITE_CHOICES, DTLS_GROUP_CHOICES */
	uint64_t mtu;       /* octets of a datagram in the handshake */
	int64_t timer_us;   /* until a flight is repeated the first time */
};

struct tls;

MUST_USE int tls_new(const struct tls_options *options, const struct url *url, struct tls **out, struct err *e);
void tls_free(struct tls *tls);
DEFINE_CLEANUP(tls, struct tls *, tls_free);

/*
 * A connection object for the socket, which it does not own; with DTLS it is
 * connected. Sends the server's name when it has one. From any thread. NULL with *e set: no memory.
 */
SSL *tls_connection(struct tls *tls, int fd, struct err *e);

/* Why an SSL call failed, in a sentence; clears the error queue; returns -1. */
int tls_error(SSL *ssl, int rc, const char *phase, struct err *e);

/* "P-256", "x25519", ...; "" when unknown. */
const char *tls_group_name(SSL *ssl);

/* The channel bindings of an established connection: tls-unique up to (D)TLS 1.2, the exporter on TLS 1.3. */
void tls_binding(SSL *ssl, struct est_binding *out);

#endif
