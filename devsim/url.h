/*
 * url.h - https://host[:port][/path] of an EST server, taken apart.
 */
#ifndef DEVSIM_URL_H
#define DEVSIM_URL_H

#include <stdbool.h>

#include "base/bytes.h"

#define URL_HOST_MAX 256
#define URL_BASE_MAX 256
#define URL_EST_BASE "/.well-known/est"

struct url {
	char host[URL_HOST_MAX]; /* a name or an address, IPv6 without its brackets */
	char port[6];            /* "443" when the URL names none */
	char base[URL_BASE_MAX]; /* the path without a slash at its end; URL_EST_BASE when the URL has none */
	bool is_ip;
};

/* ERR_MALFORMED: not https, no host, a bad port, user information, a query or a fragment. */
MUST_USE int url_parse(const char *text, struct url *out, struct err *e);

/* "host:port" as the Host header spells it, appended. */
void url_authority(const struct url *url, struct buf *out);

/* base + "/" + label + "/" + operation, appended; label may be "". */
void url_path(const struct url *url, const char *label, const char *operation, struct buf *out);

#endif
