/*
 * tls.h - the front's TLS: one SSL_CTX, built whole, swapped whole, and what a handshake proved.
 *
 * Client certificates are asked for and not judged: the handshake proves that
 * the client holds the key, and the pipeline verifies the chain once, against
 * the anchors of the label it came for.
 */
#ifndef GATEWAY_HTTP_TLS_H
#define GATEWAY_HTTP_TLS_H

#include <openssl/ssl.h>

#include "gateway/http/front.h"

#define TLS_CHAIN_OCTETS_MAX (64 * 1024) /* a client's Certificate message */
#define TLS_CHAIN_DEPTH_MAX 10           /* certificates in it */
#define TLS_HELLO_OCTETS_MAX (16 * 1024) /* before the ClientHello is complete */
#define TLS_HANDSHAKE_OCTETS_MAX (TLS_CHAIN_OCTETS_MAX + 32 * 1024)

DEFINE_CLEANUP(SSL_CTX, SSL_CTX *, SSL_CTX_free);

/* ERR_UPSTREAM or ERR_UNSUPPORTED names the file or setting. *out is the caller's. */
MUST_USE int tls_context_new(const struct front_settings *settings, SSL_CTX **out, struct err *e);

/* Has the client sent more than a handshake can need at this point? */
bool tls_handshake_is_absurd(SSL *ssl);

/* After the handshake: certificate, chain, fingerprint, channel bindings, version and cipher. */
MUST_USE int tls_facts(SSL *ssl, struct conn_facts *facts, struct err *e);

#endif
