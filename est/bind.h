/*
 * bind.h - linking identity and proof of possession (RFC 7030, section 3.5).
 *
 * tls-unique exists up to TLS 1.2 (RFC 5929, section 3); on TLS 1.3 the
 * exporter value of RFC 9266 takes its place. The CSR carries the base64 of
 * the value as challengePassword or estIdentityLinking.
 */
#ifndef EST_BIND_H
#define EST_BIND_H

#include "base/bytes.h"

#define EST_BINDING_MAX 64

/* What the TLS connection offers; a length of 0 means "does not exist here". */
struct est_binding {
	uint8_t unique[EST_BINDING_MAX]; /* tls-unique: the client's first Finished; full handshake with EMS only */
	size_t unique_len;
	uint8_t exporter[32];            /* EXPORTER-Channel-Binding, empty context */
	size_t exporter_len;
};

enum est_binding_verdict {
	EST_BINDING_ABSENT,  /* the CSR has no challenge */
	EST_BINDING_MATCHES,
	EST_BINDING_DIFFERS, /* the CSR has one, and it is not this connection's */
};

/* challenge: from the CSR, base64 text with or without newline. */
enum est_binding_verdict est_binding_check(const struct est_binding *binding, struct bytes challenge);

/* For clients: the base64 text to put in the CSR; the exporter's on TLS 1.3, else tls-unique. Empty: none. */
void est_binding_text(const struct est_binding *binding, struct buf *out);

#endif
