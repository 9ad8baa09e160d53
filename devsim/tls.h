/*
 * tls.h - the client side of TLS: one configuration for many connections to one server.
 */
#ifndef DEVSIM_TLS_H
#define DEVSIM_TLS_H

#include <openssl/ssl.h>

#include "devsim/url.h"
#include "est/bind.h"

enum tls_version { TLS_ANY, TLS_1_2, TLS_1_3 };
#define TLS_VERSION_CHOICES "any|1.2|1.3"

struct tls_options {
	int version;        /* enum tls_version */
	const char *cacert; /* PEM file of trust anchors for the server; NULL only with insecure */
	bool insecure;      /* the server is not verified at all */
};

struct tls;

MUST_USE int tls_new(const struct tls_options *options, const struct url *url, struct tls **out, struct err *e);
void tls_free(struct tls *tls);
DEFINE_CLEANUP(tls, struct tls *, tls_free);

/*
 * A connection object for the socket, which it does not own. Sends the
 * server's name when it has one. From any thread. NULL with *e set: no memory.
 */
SSL *tls_connection(struct tls *tls, int fd, struct err *e);

/* Why an SSL call failed, in a sentence; clears the error queue; returns -1. */
int tls_error(SSL *ssl, int rc, const char *phase, struct err *e);

/* The channel bindings of an established connection: tls-unique up to TLS 1.2, the exporter on TLS 1.3. */
void tls_binding(SSL *ssl, struct est_binding *out);

#endif
