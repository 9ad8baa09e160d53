#include <ctype.h>
#include <string.h>

#include "gateway/outbound/outbound_internal.h"

DEFINE_CLEANUP(url, CURLU *, curl_url_cleanup);
DEFINE_CLEANUP(part, char *, curl_free);

/* libcurl's own parser, so that what is checked and what is connected to cannot differ. */
static int
parse(const char *url, CURLU **out, struct err *e)
{
	CLEANUP(url) CURLU *parsed = NULL;
	CURLUcode code;
	size_t i;

	for (i = 0; url[i] != '\0'; i++)
		if ((unsigned char)url[i] <= 0x20 || (unsigned char)url[i] >= 0x7f)
			return err_set(e, ERR_MALFORMED, "a URL holds blanks, control or non-ASCII characters");
	if (i > OUTBOUND_URL_MAX)
		return err_set(e, ERR_MALFORMED, "a URL is longer than %d octets", OUTBOUND_URL_MAX);
	parsed = curl_url();
	if (parsed == NULL)
		return err_set(e, ERR_NOMEM, "no memory for a URL");
	code = curl_url_set(parsed, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME);
	if (code == CURLUE_OUT_OF_MEMORY)
		return err_set(e, ERR_NOMEM, "no memory for a URL");
	if (code != CURLUE_OK)
		/* Not the text itself: a user and password may be in it, and where is not known. */
		return err_set(e, ERR_MALFORMED, "a URL that cannot be read (%s); write https://host[:port]/path", curl_url_strerror(code));
	*out = parsed;
	parsed = NULL;
	return 0;
}

static bool
has_part(CURLU *parsed, CURLUPart which)
{
	CLEANUP(part) char *text = NULL;

	return curl_url_get(parsed, which, &text, 0) == CURLUE_OK;
}

static bool
is_loopback(const char *host)
{
	return strcmp(host, "127.0.0.1") == 0 || strcmp(host, "[::1]") == 0;
}

static int
check_parsed(CURLU *parsed, bool allow_plain, struct err *e)
{
	CLEANUP(part) char *scheme = NULL;
	CLEANUP(part) char *host = NULL;

	if (curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
	    curl_url_get(parsed, CURLUPART_HOST, &host, 0) != CURLUE_OK || host[0] == '\0')
		return err_set(e, ERR_MALFORMED, "a URL needs a scheme and a host: https://host/path");
	if (has_part(parsed, CURLUPART_USER) || has_part(parsed, CURLUPART_PASSWORD))
		return err_set(e, ERR_MALFORMED, "the URL for %.100s holds a user or password; use a secret file", host);
	if (has_part(parsed, CURLUPART_FRAGMENT))
		return err_set(e, ERR_MALFORMED, "the URL for %.100s ends in a fragment (#...)", host);
	if (strcmp(scheme, "https") == 0)
		return 0;
	if (strcmp(scheme, "http") != 0)
		return err_set(e, ERR_MALFORMED, "the URL for %.100s begins with %.20s://; only https:// is allowed", host, scheme);
	if (!allow_plain)
		return err_set(e, ERR_MALFORMED, "the URL for %.100s is plain http://; write https://", host);
	if (!is_loopback(host))
		return err_set(e, ERR_MALFORMED, "plain http:// is for 127.0.0.1 and [::1] only, not for %.100s", host);
	return 0;
}

int
outbound_url_check(const char *url, bool allow_plain, struct err *e)
{
	CLEANUP(url) CURLU *parsed = NULL;

	if (parse(url, &parsed, e) != 0)
		return -1;
	return check_parsed(parsed, allow_plain, e);
}

int
outbound_url_host(const char *url, char *out, size_t size, struct err *e)
{
	CLEANUP(url) CURLU *parsed = NULL;
	CLEANUP(part) char *host = NULL;
	size_t i;

	if (parse(url, &parsed, e) != 0)
		return -1;
	if (curl_url_get(parsed, CURLUPART_HOST, &host, 0) != CURLUE_OK || host[0] == '\0')
		return err_set(e, ERR_MALFORMED, "a URL without a host");
	if (strlen(host) >= size)
		return err_set(e, ERR_LIMIT, "a host name of %zu octets", strlen(host));
	for (i = 0; host[i] != '\0'; i++)
		out[i] = (char)tolower((unsigned char)host[i]);
	out[i] = '\0';
	return 0;
}

int
outbound_url_put(const struct outbound *client, const char *path_or_url, struct buf *out, struct err *e)
{
	if (path_or_url == NULL || path_or_url[0] == '\0')
		buf_append_text(out, client->base_url);
	else if (path_or_url[0] != '/')
		buf_append_text(out, path_or_url);
	else if (client->has_query)
		return err_set(e, ERR_MALFORMED, "%s: its URL ends in a query, so no path can follow", client->name);
	else {
		buf_append_text(out, client->base_url);
		buf_append_text(out, path_or_url);
	}
	(void)buf_text(out);
	if (buf_failed(out))
		return err_set(e, ERR_NOMEM, "%s: no memory for a URL", client->name);
	if (outbound_url_check(buf_text(out), client->allow_plain, e) != 0)
		return err_prefix(e, "%s", client->name);
	return 0;
}
