/*
 * formats.h - paths, links and bodies of EST over CoAP (RFC 9148): pure functions.
 */
#ifndef COAP_FORMATS_H
#define COAP_FORMATS_H

#include "coap/coaps.h"

/*
 * A request's path, its Uri-Path segments in order, below one of the roots
 * (each as segments joined by "/"; "/.well-known/est" always): [label] and operation. ERR_UNSUPPORTED: 4.04.
 */
MUST_USE int coaps_path_parse(const struct bytes *segments, size_t count, const char *const *roots,
	size_t root_count, enum coaps_op *op, char label[EST_LABEL_MAX + 1], struct err *e);

/* What discovery says of one label. */
struct coaps_offer {
	const char *label; /* "" for the default one */
	unsigned ops;      /* bits 1U << enum coaps_op; COAPS_OFFER_ALL */
};
#define COAPS_OFFER_ALL 0xfeU

/*
 * The answer to GET /.well-known/core (RFC 6690; RFC 9148, section 4.1), filtered by
 * the query, empty or "rt=ace.est*" or "rt=ace.est.sen" or "href=...": links for each label under each root, the default
 * root after the others, appended. At most COAPS_BODY_MAX octets of whole links.
 * The link of a nonce has no rt: the draft registers none, and "ace.est.*" are RFC 9148's.
 */
void coaps_links_write(struct buf *out, const char *const *roots, size_t root_count,
	const struct coaps_offer *offers, size_t offer_count, struct bytes query);

/*
 * application/multipart-core (RFC 8710; RFC 9148, section 4.8): a CBOR array of
 * format and octets twice, key first. Appended; the caller overwrites it when key is a secret.
 */
void coaps_multipart_write(struct buf *out, int key_format, struct bytes key, int cert_format, struct bytes cert);
/* The reverse, for clients: borrowed from body. ERR_MALFORMED. */
struct coaps_multipart {
	int key_format, cert_format;
	struct bytes key, cert;
};
MUST_USE int coaps_multipart_parse(struct bytes body, struct coaps_multipart *out, struct err *e);

/* --- freshness of evidence (draft-ietf-lamps-attestation-freshness) ------ */

#define COAPS_NONCE_MIN 8  /* octets */
#define COAPS_NONCE_MAX 64

/* The answer, a CBOR map { "nonce": octets, "expiry": seconds }. Appended. */
void coaps_nonce_write(struct buf *out, struct bytes nonce, int64_t life_s);
/*
 * The body of a POST: a CBOR map { ? "len", ? "type", ? "reqInfo" }. Members it does not name are passed over, and so
 * is what "reqInfo" holds. *len is the length asked for, 0: any. ERR_MALFORMED: 4.00. libcbor 0.8
 * does not know tags 6 to 20, and what has one is malformed.
 */
MUST_USE int coaps_nonce_request_parse(struct bytes body, size_t *len, struct err *e);

#endif
