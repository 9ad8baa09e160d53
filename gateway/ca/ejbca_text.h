/* ejbca_text.h - how EJBCA's REST API writes names and certificates. Inside gateway/ca only. */
#ifndef GATEWAY_CA_EJBCA_TEXT_H
#define GATEWAY_CA_EJBCA_TEXT_H

#include "gateway/ca/remote.h"

/* A part of a path: RFC 3986, section 2.3: everything but unreserved characters is escaped. Appended. */
void ejbca_percent_put(struct buf *out, const char *text, size_t len);

/*
 * The DER of an object's "certificate": that is base64 of it when one is issued, and base64 of that text in the results of a search.
 * Appended. ERR_UPSTREAM: there is none; or an error of base64_decode().
 */
MUST_USE int ejbca_certificate_put(const json_t *object, struct buf *out, struct err *e);

#endif
