/*
 * dtls.h - the DTLS policy of new sessions (RFC 9148, section 3): immutable, shared by reference.
 */
#ifndef COAP_DTLS_H
#define COAP_DTLS_H

#include <openssl/ssl.h>

#include "coap/coaps.h"

#define COAPS_CHAIN_OCTETS_MAX 16384 /* a client's Certificate message */

struct coaps_policy;

/* ERR_UNSUPPORTED: the key is not EC P-256, or not the certificate's. */
MUST_USE int coaps_policy_new(const struct coaps_tls *tls, struct coaps_policy **out, struct err *e);
struct coaps_policy *coaps_policy_ref(struct coaps_policy *policy);
void coaps_policy_unref(struct coaps_policy *policy); /* NULL is allowed */

/*
 * Set up a connection whose ClientHello has just come, from within OpenSSL's
 * callback for it. A client certificate is required, and any is accepted: who
 * it is and whether that suffices is decided upstream. mtu: octets of a datagram.
 *
 * False: the handshake ends here. RFC 7627 (extended master secret) is not
 * optional: without it tls-unique would bind to nothing (RFC 9148, section 9.1).
 */
bool coaps_policy_apply(const struct coaps_policy *policy, SSL *ssl, int mtu);

/* Who is at the other end, after the handshake; shared by reference. NULL: no memory, or no certificate. */
struct coaps_identity;
struct coaps_identity *coaps_identity_new(SSL *ssl, const char *address);
struct coaps_identity *coaps_identity_ref(struct coaps_identity *identity);
void coaps_identity_unref(struct coaps_identity *identity); /* NULL is allowed */
const struct coaps_peer *coaps_identity_peer(const struct coaps_identity *identity);

#endif
