/*
 * front.h - the public sockets, TLS and plain: strict HTTP/1.1 framing, limits; complete requests out.
 *
 * Event loops (libevent, one thread each) own every TCP connection. A
 * connection costs no worker until its request is complete; then the request
 * is rebuilt and sent to CivetWeb on a kept-alive loopback connection, and
 * the answer comes back the same way. See README.md for why.
 */
#ifndef GATEWAY_HTTP_FRONT_H
#define GATEWAY_HTTP_FRONT_H

#include "base/ossl.h"
#include "est/bind.h"

/* The request header that carries the facts' handle to the handler; the front strips clients' own X-Front-*. */
#define FRONT_HANDLE_HEADER "X-Front-Id"

/* What the front knows about the connection a request came on. Immutable, reference-counted. */
struct conn_facts {
	X509 *client_cert;            /* NULL: none presented */
	STACK_OF(X509) *client_chain; /* as sent, without the leaf; may be NULL */
	uint8_t client_sha256[32];
	struct est_binding binding;
	char peer[64];                /* "192.0.2.7" or "2001:db8::7", without the port */
	char local[64];               /* "192.0.2.1:8443" */
	char tls_version[16];         /* "TLSv1.3"; "": plain */
	char tls_cipher[48];
};

/* The facts of a request by its handle header's value; NULL: no such request. Give back with front_facts_put(). */
const struct conn_facts *front_facts_get(const char *handle);
void front_facts_put(const struct conn_facts *facts);

/* Octets of a request's head at most, in any case: what CivetWeb reads, less the lines that the front adds. */
#define FRONT_HEADER_MAX 32256

struct front_settings {
	const char *const *listen;    /* "[::]:8443", "0.0.0.0:0"; port 0 picks one */
	size_t listen_count;
	bool tls;                     /* spoken on those */
	const char *const *listen_plain; /* and these are plain in any case */
	size_t listen_plain_count;
	bool (*takes_long_target)(struct bytes path); /* HTTP_TARGET_LONG_MAX for GETs of it; any thread. NULL: none */
	const char *certificate, *key; /* PEM chain file; key URI for key_open() */
	const char *min_version;      /* "1.2" or "1.3" */
	const char *groups;           /* "X25519:P-256:P-384" */
	int loops;                    /* 0: one per core */
	int backend_port;             /* CivetWeb on 127.0.0.1 */
	int workers;                  /* requests in flight at most, over all loops */
	int connections, connections_per_address;
	int header_max, body_max;     /* octets */
	int queue_max;
	int64_t queue_age_s, handshake_s, header_s, body_s, idle_s;
	int requests_per_connection;
};

struct front;

/* Binds every address or none. ERR_UPSTREAM says which and why. */
MUST_USE int front_start(const struct front_settings *settings, struct front **out, struct err *e);
/* The port a listener got, in the order of settings->listen, then settings->listen_plain. */
int front_port(const struct front *front, size_t index);
/* New certificate, key, version and groups for new handshakes; on failure the old stay. No connection is dropped. */
MUST_USE int front_reload_tls(struct front *front, const struct front_settings *settings, struct err *e);
/* Stop accepting, finish what is under way within grace_s, then close. */
void front_stop(struct front *front, int64_t grace_s);

#endif
