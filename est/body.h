/*
 * body.h - EST message bodies: lenient base64 in, the label's dialect out.
 *
 * RFC 8951, section 3: Content-Transfer-Encoding is never required of a
 * request and never believed; white space in base64 is ignored.
 */
#ifndef EST_BODY_H
#define EST_BODY_H

#include "base/ossl.h"

enum est_base64_style {
	EST_BASE64_SINGLE_LINE = 0, /* one line and LF: what strongSwan and Bouncy Castle read */
	EST_BASE64_WRAPPED,         /* LF after every 64: what libest reads */
};

/*
 * The DER inside a request body: base64 wrapped or not, CRLF or LF, with or
 * without final newline; a PEM "CERTIFICATE REQUEST" or "NEW CERTIFICATE
 * REQUEST" (Azure IoT Edge); or raw DER, known by its first octets, when
 * allow_der. The octets are appended to out.
 *
 * ERR_MALFORMED  none of these, or empty
 */
MUST_USE int est_body_decode(struct bytes body, bool allow_der, struct buf *out, struct err *e);

/* Base64 in the given style, appended to out. */
void est_body_encode(struct buf *out, struct bytes der, enum est_base64_style style);

/*
 * A degenerate certs-only CMS SignedData (RFC 7030, section 4.1.3; RFC 5272,
 * section 4.1) with these DER certificates in this order, appended to out as DER.
 */
MUST_USE int est_certs_encode(const struct bytes *certs, size_t count, struct buf *out, struct err *e);

/*
 * The reverse, for clients and upstream connectors: DER in, certificates out.
 * At most EST_CERTS_MAX; none is ERR_MALFORMED. *out is the caller's.
 */
#define EST_CERTS_MAX 64
MUST_USE int est_certs_decode(struct bytes der, STACK_OF(X509) **out, struct err *e);

/*
 * The same where only the octets are wanted: nothing is decoded, and out points into der. False: it is not such a message in
 * strict DER, or none or too many are in it; est_certs_decode() says what is wrong, or takes what BER allows.
 */
bool est_certs_find(struct bytes der, struct bytes out[EST_CERTS_MAX], size_t *count);

#endif
