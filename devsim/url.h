/*
 * url.h - https://host[:port][/path] of a server, taken apart; for SCEP http:// too, coaps:// for EST over CoAP.
 */
#ifndef DEVSIM_URL_H
#define DEVSIM_URL_H

#include <stdbool.h>

#include "base/bytes.h"

#define URL_HOST_MAX 256
#define URL_BASE_MAX 256
#define URL_EST_BASE  "/.well-known/est"
#define URL_SCEP_BASE "/scep"

enum url_kind { URL_EST, URL_SCEP, URL_COAP };

struct url {
	char host[URL_HOST_MAX]; /* a name or an address, IPv6 without its brackets */
	char port[6];            /* "443", "80" with http, "5684" with coaps, when the URL names none */
	char base[URL_BASE_MAX]; /* the path without a slash at its end; URL_EST_BASE or URL_SCEP_BASE when there is none */
	bool is_ip;
	bool plain;              /* http:// */
	bool coap;               /* coaps:// */
};

/* The kind of a URL that may be of EST over HTTPS or CoAP: by its scheme. */
enum url_kind url_kind_est(const char *text);

/* ERR_MALFORMED: not https (nor http, with URL_SCEP; with URL_COAP not coaps), no host, a bad port, user information, a query or a fragment. */
MUST_USE int url_parse_as(enum url_kind kind, const char *text, struct url *out, struct err *e);
MUST_USE int url_parse(const char *text, struct url *out, struct err *e); /* URL_EST */

/* "host:port" as the Host header spells it, appended. */
void url_authority(const struct url *url, struct buf *out);

/* base + "/" + label + "/" + operation, appended; label may be "". */
void url_path(const struct url *url, const char *label, const char *operation, struct buf *out);

#endif
