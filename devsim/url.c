#define _GNU_SOURCE
#include "devsim/url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

#define SCHEME       "https://"
#define PLAIN_SCHEME "http://"
#define COAP_SCHEME  "coaps://"

static int
parse_port(const char *at, size_t len, struct url *out, struct err *e)
{
	char *end = NULL;
	unsigned long port;

	if (len == 0 || len >= sizeof out->port || strspn(at, "0123456789") < len)
		return err_set(e, ERR_MALFORMED, "URL: \"%.*s\" is not a port", (int)len, at);
	memcpy(out->port, at, len);
	out->port[len] = '\0';
	port = strtoul(out->port, &end, 10);
	if (port == 0 || port > 65535)
		return err_set(e, ERR_MALFORMED, "URL: port %s is not between 1 and 65535", out->port);
	return 0;
}

static int
parse_host(const char *at, size_t len, struct url *out, struct err *e)
{
	uint8_t address[16];

	if (len == 0)
		return err_set(e, ERR_MALFORMED, "URL: it names no host");
	if (text_copy(out->host, sizeof out->host, bytes_of(at, len), "URL: host", e) != 0)
		return -1;
	out->is_ip = inet_pton(AF_INET, out->host, address) == 1 || inet_pton(AF_INET6, out->host, address) == 1;
	if (!out->is_ip && strcspn(out->host, " @:[]%\"") != len)
		return err_set(e, ERR_MALFORMED, "URL: \"%.80s\" is not a host name", out->host);
	return 0;
}

/* RFC 7252, section 12.7: 5684 for coaps. */
static const char *
default_port(const struct url *url)
{
	return url->coap ? "5684" : url->plain ? "80" : "443";
}

static int
parse_authority(const char *at, size_t len, struct url *out, struct err *e)
{
	const char *close = at[0] == '[' ? memchr(at, ']', len) : NULL;
	const char *host = at, *colon;
	size_t host_len;

	if (at[0] == '[') {
		if (close == NULL)
			return err_set(e, ERR_MALFORMED, "URL: \"[\" without \"]\"");
		host = at + 1;
		host_len = (size_t)(close - host);
		colon = close + 1 < at + len ? close + 1 : NULL;
		if (colon != NULL && *colon != ':')
			return err_set(e, ERR_MALFORMED, "URL: something between \"]\" and the port");
	} else {
		colon = memchr(at, ':', len);
		host_len = colon == NULL ? len : (size_t)(colon - at);
	}
	(void)snprintf(out->port, sizeof out->port, "%s", default_port(out));
	if (colon != NULL && parse_port(colon + 1, (size_t)(at + len - colon - 1), out, e) != 0)
		return -1;
	return parse_host(host, host_len, out, e);
}

static bool
begins_with(const char *text, const char *scheme)
{
	return strncasecmp(text, scheme, strlen(scheme)) == 0;
}

enum url_kind
url_kind_est(const char *text)
{
	return begins_with(text, COAP_SCHEME) ? URL_COAP : URL_EST;
}

/* What follows the scheme; NULL: another one than this kind of server has. */
static const char *
skip_scheme(enum url_kind kind, const char *text, struct url *out)
{
	out->plain = kind == URL_SCEP && begins_with(text, PLAIN_SCHEME);
	out->coap = kind == URL_COAP && begins_with(text, COAP_SCHEME);
	if (out->plain)
		return text + sizeof PLAIN_SCHEME - 1;
	if (out->coap)
		return text + sizeof COAP_SCHEME - 1;
	return kind != URL_COAP && begins_with(text, SCHEME) ? text + sizeof SCHEME - 1 : NULL;
}

int
url_parse_as(enum url_kind kind, const char *text, struct url *out, struct err *e)
{
	struct url url = { 0 };
	const char *authority = skip_scheme(kind, text, &url), *path;
	size_t len, path_len;

	if (authority == NULL)
		return err_set(e, ERR_MALFORMED, "URL: \"%.80s\" does not begin with %s%s", text,
			kind == URL_COAP ? COAP_SCHEME : SCHEME, kind == URL_SCEP ? " or http://" : "");
	len = strcspn(authority, "/?#");
	path = authority + len;
	path_len = strlen(path);
	if (strcspn(path, "?# ") != path_len)
		return err_set(e, ERR_MALFORMED, "URL: a query, fragment or blank does not belong here");
	if (len == 0)
		return err_set(e, ERR_MALFORMED, "URL: it names no host");
	if (parse_authority(authority, len, &url, e) != 0)
		return -1;
	while (path_len > 0 && path[path_len - 1] == '/')
		path_len--;
	if (path_len == 0)
		(void)snprintf(url.base, sizeof url.base, "%s", kind == URL_SCEP ? URL_SCEP_BASE : URL_EST_BASE);
	else if (text_copy(url.base, sizeof url.base, bytes_of(path, path_len), "URL: path", e) != 0)
		return -1;
	*out = url;
	return 0;
}

int
url_parse(const char *text, struct url *out, struct err *e)
{
	return url_parse_as(URL_EST, text, out, e);
}

void
url_authority(const struct url *url, struct buf *out)
{
	bool bracket = url->is_ip && strchr(url->host, ':') != NULL;

	buf_printf(out, "%s%s%s", bracket ? "[" : "", url->host, bracket ? "]" : "");
	if (strcmp(url->port, default_port(url)) != 0)
		buf_printf(out, ":%s", url->port);
}

void
url_path(const struct url *url, const char *label, const char *operation, struct buf *out)
{
	buf_printf(out, "%s/%s%s%s", url->base, label, label[0] == '\0' ? "" : "/", operation);
}
