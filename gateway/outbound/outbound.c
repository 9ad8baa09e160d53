#include "gateway/outbound/outbound.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/ssl.h>

#include "base/text.h"
#include "gateway/outbound/outbound_internal.h"

/* Where an answer goes while it comes in. */
struct sink {
	struct buf body;
	size_t limit;
	size_t head; /* octets of status lines and headers, interim answers among them */
	enum outbound_stop stop;
	CURL *handle;
	const SSL *tls; /* of the connection it comes by, libcurl's; NULL: plain */
};

static inline void
sink_auto(struct sink *sink)
{
	buf_free_secret(&sink->body);
}

/* Options are set until one fails. */
struct setup {
	CURL *handle;
	CURLcode code;
};

static void
set_long(struct setup *s, CURLoption option, long value)
{
	if (s->code == CURLE_OK)
		s->code = curl_easy_setopt(s->handle, option, value);
}

static void
set_text(struct setup *s, CURLoption option, const char *value)
{
	if (s->code == CURLE_OK)
		s->code = curl_easy_setopt(s->handle, option, value);
}

static void
set_pointer(struct setup *s, CURLoption option, void *value)
{
	if (s->code == CURLE_OK)
		s->code = curl_easy_setopt(s->handle, option, value);
}

/* Borrowed until the transfer is over. */
static void
set_blob(struct setup *s, CURLoption option, const struct buf *octets)
{
	struct curl_blob blob = { .data = octets->at, .len = octets->len, .flags = CURL_BLOB_NOCOPY };

	if (s->code == CURLE_OK)
		s->code = curl_easy_setopt(s->handle, option, &blob);
}

/* A list of headers; the copies that libcurl reads are overwritten. */
static void
headers_auto(struct curl_slist **list)
{
	struct curl_slist *at;

	for (at = *list; at != NULL; at = at->next)
		OPENSSL_cleanse(at->data, strlen(at->data));
	curl_slist_free_all(*list);
}

static size_t
take_body(char *at, size_t size, size_t count, void *arg)
{
	struct sink *sink = arg;
	size_t len = size * count;

	if (len > sink->limit - sink->body.len) {
		sink->stop = STOP_BODY;
		return 0;
	}
	buf_append(&sink->body, at, len);
	if (buf_failed(&sink->body)) {
		sink->stop = STOP_NOMEM;
		return 0;
	}
	return len;
}

/* libcurl tells while an answer comes in, and not afterwards. */
static const SSL *
tls_of(CURL *handle)
{
	const struct curl_tlssessioninfo *info = NULL;

	if (curl_easy_getinfo(handle, CURLINFO_TLS_SSL_PTR, &info) != CURLE_OK || info == NULL ||
	    info->backend != CURLSSLBACKEND_OPENSSL)
		return NULL;
	return info->internals;
}

/*
 * What stood in one TLS record with the end of the answer has left the socket, where pool.c looks, and waits in OpenSSL for the
 * next request.
 */
static bool
has_rest(const struct sink *sink)
{
	curl_socket_t fd = CURL_SOCKET_BAD;

	if (sink->tls == NULL || curl_easy_getinfo(sink->handle, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
	    fd == CURL_SOCKET_BAD) /* closed, and its SSL gone with it */
		return false;
	return SSL_has_pending(sink->tls) == 1;
}

static size_t
take_head(char *at, size_t size, size_t count, void *arg)
{
	struct sink *sink = arg;
	size_t len = size * count;

	(void)at;
	sink->tls = tls_of(sink->handle);
	if (len > OUTBOUND_HEAD_MAX - sink->head) {
		sink->stop = STOP_HEAD;
		return 0;
	}
	sink->head += len;
	return len;
}

/* An easy handle that was reset follows nothing, trusts what the system trusts and reads the environment: say everything. */
static void
set_rules(struct setup *s, const struct outbound *client, int64_t deadline_ms)
{
	set_text(s, CURLOPT_PROTOCOLS_STR, client->allow_plain ? "http,https" : "https");
	set_long(s, CURLOPT_FOLLOWLOCATION, 0);
	set_text(s, CURLOPT_PROXY, ""); /* not NULL, which would ask the environment */
	set_text(s, CURLOPT_NOPROXY, "*");
	set_long(s, CURLOPT_NETRC, CURL_NETRC_IGNORED);
	set_long(s, CURLOPT_NOSIGNAL, 1);
	set_long(s, CURLOPT_QUICK_EXIT, 1); /* a deadline does not wait for a resolver that hangs */
	set_long(s, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	set_long(s, CURLOPT_MAXAGE_CONN, OUTBOUND_IDLE_S);
	set_long(s, CURLOPT_CONNECTTIMEOUT_MS, (long)(client->connect_ms < deadline_ms ? client->connect_ms : deadline_ms));
	set_long(s, CURLOPT_TIMEOUT_MS, (long)deadline_ms);
	set_text(s, CURLOPT_USERAGENT, "enrolld");
	set_long(s, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
	set_long(s, CURLOPT_SSL_VERIFYPEER, 1);
	set_long(s, CURLOPT_SSL_VERIFYHOST, 2);
	if (client->trust.len != 0) {
		set_blob(s, CURLOPT_CAINFO_BLOB, &client->trust);
		set_text(s, CURLOPT_CAINFO, NULL); /* what Debian's libcurl would read: all that the system trusts */
		set_text(s, CURLOPT_CAPATH, NULL);
	}
	if (client->cert.len != 0) {
		set_blob(s, CURLOPT_SSLCERT_BLOB, &client->cert);
		set_blob(s, CURLOPT_SSLKEY_BLOB, &client->key);
		set_text(s, CURLOPT_KEYPASSWD, ""); /* nobody sits at a terminal */
	}
}

static size_t
give_body(char *at, size_t size, size_t count, void *arg)
{
	struct cursor *body = arg;
	size_t room = size * count, left = cursor_left(body);
	struct bytes part = cursor_take(body, left < room ? left : room);

	if (part.len != 0)
		memcpy(at, part.at, part.len);
	return part.len;
}

/* libcurl begins anew on another connection only when it can give the body again from its start. */
static int
refuse_rewind(void *arg, curl_off_t offset, int origin)
{
	(void)arg;
	(void)offset;
	(void)origin;
	return CURL_SEEKFUNC_FAIL;
}

static void
set_body_once(struct setup *s, struct cursor *body)
{
	if (s->code == CURLE_OK)
		s->code = curl_easy_setopt(s->handle, CURLOPT_READFUNCTION, give_body);
	if (s->code == CURLE_OK)
		s->code = curl_easy_setopt(s->handle, CURLOPT_SEEKFUNCTION, refuse_rewind);
	set_pointer(s, CURLOPT_READDATA, body);
}

static bool
is_token(const char *text)
{
	static const char others[] = "!#$%&'*+-.^_`|~"; /* RFC 9110, section 5.6.2 */
	size_t i;

	for (i = 0; text[i] != '\0'; i++)
		if (!isalnum((unsigned char)text[i]) && strchr(others, text[i]) == NULL)
			return false;
	return i >= 1 && i <= 64;
}

/* One line of printable ASCII: what a value holds cannot become a header of its own. */
static int
check_header(const struct outbound *client, const struct outbound_header *header, struct err *e)
{
	size_t i;

	if (!is_token(header->name))
		return err_set(e, ERR_MALFORMED, "%s: a header with a malformed name", client->name);
	for (i = 0; header->value[i] != '\0'; i++)
		if ((unsigned char)header->value[i] < 0x20 || (unsigned char)header->value[i] > 0x7e)
			return err_set(e, ERR_MALFORMED, "%s: the header %s would hold control or non-ASCII characters",
				client->name, header->name);
	if (i < 1 || i > OUTBOUND_HEADER_MAX)
		return err_set(e, ERR_MALFORMED, "%s: the header %s would be empty or longer than %d octets", client->name,
			header->name, OUTBOUND_HEADER_MAX);
	return 0;
}

static int
make_headers(const struct outbound *client, const struct outbound_request *request, struct curl_slist **list,
	struct err *e)
{
	size_t i;

	if (request->header_count > OUTBOUND_HEADERS_MAX)
		return err_set(e, ERR_MALFORMED, "%s: more than %d headers", client->name, OUTBOUND_HEADERS_MAX);
	for (i = 0; i <= request->header_count; i++) {
		struct buf line = { 0 };
		struct curl_slist *longer = NULL;

		if (i < request->header_count && check_header(client, &request->headers[i], e) != 0)
			return -1;
		if (i < request->header_count)
			buf_printf(&line, "%s: %s", request->headers[i].name, request->headers[i].value);
		else
			buf_append_text(&line, "Expect:"); /* no 100-continue: it costs a round trip, or a second of waiting */
		(void)buf_text(&line);
		if (!buf_failed(&line))
			longer = curl_slist_append(*list, buf_text(&line));
		buf_free_secret(&line);
		if (longer == NULL)
			return err_set(e, ERR_NOMEM, "%s: no memory for headers", client->name);
		*list = longer;
	}
	return 0;
}

static void
set_request(struct setup *s, const struct outbound_request *request, struct curl_slist *headers, struct cursor *body)
{
	bool has_body = request->body.at != NULL;

	set_pointer(s, CURLOPT_HTTPHEADER, headers);
	if (strcmp(request->method, "HEAD") == 0)
		set_long(s, CURLOPT_NOBODY, 1);
	else if (strcmp(request->method, "GET") == 0 && !has_body)
		set_long(s, CURLOPT_HTTPGET, 1);
	else {
		if (has_body || strcmp(request->method, "POST") == 0) {
			set_long(s, CURLOPT_POST, 1);
			if (request->once && has_body)
				set_body_once(s, body);
			else
				set_text(s, CURLOPT_POSTFIELDS, has_body ? (const char *)request->body.at : "");
			if (s->code == CURLE_OK)
				s->code = curl_easy_setopt(s->handle, CURLOPT_POSTFIELDSIZE_LARGE,
					(curl_off_t)request->body.len);
		}
		set_text(s, CURLOPT_CUSTOMREQUEST, request->method);
	}
}

static void
set_sink(struct setup *s, struct sink *sink)
{
	if (s->code == CURLE_OK)
		s->code = curl_easy_setopt(s->handle, CURLOPT_WRITEFUNCTION, take_body);
	if (s->code == CURLE_OK)
		s->code = curl_easy_setopt(s->handle, CURLOPT_HEADERFUNCTION, take_head);
	if (s->code == CURLE_OK)
		s->code = curl_easy_setopt(s->handle, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)sink->limit);
	set_pointer(s, CURLOPT_WRITEDATA, sink);
	set_pointer(s, CURLOPT_HEADERDATA, sink);
}

/* "Application/JSON; charset=utf-8" is "application/json". */
static void
take_type(CURL *handle, char *out, size_t size)
{
	const char *type = NULL;
	size_t i;

	out[0] = '\0';
	if (curl_easy_getinfo(handle, CURLINFO_CONTENT_TYPE, &type) != CURLE_OK || type == NULL)
		return;
	text_escape(out, size, bytes_of(type, strcspn(type, "; \t")));
	for (i = 0; out[i] != '\0'; i++)
		out[i] = (char)tolower((unsigned char)out[i]);
}

/* The last answer's, exactly as it stands there: libcurl's own reading of it would resolve it to a URL. */
static void
take_location(CURL *handle, char *out, size_t size)
{
	struct curl_header *header = NULL;

	out[0] = '\0';
	if (curl_easy_header(handle, "Location", 0, CURLH_HEADER, -1, &header) != CURLHE_OK || header == NULL ||
	    strlen(header->value) >= size)
		return;
	text_escape(out, size, bytes_of_text(header->value));
}

static void
take_answer(CURL *handle, struct sink *sink, struct outbound_answer *out)
{
	long status = 0;
	curl_off_t retry_s = 0;

	*out = (struct outbound_answer){ .body = sink->body };
	sink->body = (struct buf){ 0 };
	(void)curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
	(void)curl_easy_getinfo(handle, CURLINFO_RETRY_AFTER, &retry_s);
	out->status = (int)status;
	out->retry_after_s = retry_s < 0 ? 0 : retry_s > OUTBOUND_RETRY_MAX_S ? OUTBOUND_RETRY_MAX_S : retry_s;
	take_type(handle, out->content_type, sizeof out->content_type);
	take_location(handle, out->location, sizeof out->location);
}

static int64_t
deadline_of(const struct outbound *client, const struct outbound_request *request)
{
	return request->deadline_ms >= 1 && request->deadline_ms < client->deadline_ms ? request->deadline_ms :
		client->deadline_ms;
}

/* The head goes out in one piece with what precedes the body: once it has left us, the service may have acted. */
static bool
was_sent(CURL *handle)
{
	long octets = 0;

	return curl_easy_getinfo(handle, CURLINFO_REQUEST_SIZE, &octets) != CURLE_OK || octets > 0;
}

/* reach: connect only. Whether the handle's connections can be used again is in *keep. */
static int
perform(const struct outbound *client, CURL *handle, const struct outbound_request *request, bool reach,
	struct outbound_answer *out, bool *keep, struct err *e)
{
	CLEANUP(buf) struct buf url = { 0 };
	CLEANUP(headers) struct curl_slist *headers = NULL;
	CLEANUP(sink) struct sink sink = { .limit = client->answer_max, .handle = handle };
	struct cursor body = cursor_of(request->body);
	struct setup setup = { .handle = handle };
	char detail[CURL_ERROR_SIZE] = "";
	int64_t deadline_ms = deadline_of(client, request);

	*keep = true; /* nothing was sent yet */
	if (outbound_url_put(client, request->path_or_url, &url, e) != 0 ||
	    make_headers(client, request, &headers, e) != 0)
		return -1;
	set_rules(&setup, client, deadline_ms);
	set_text(&setup, CURLOPT_URL, buf_text(&url));
	set_pointer(&setup, CURLOPT_ERRORBUFFER, detail);
	set_request(&setup, request, headers, &body);
	set_sink(&setup, &sink);
	set_long(&setup, CURLOPT_CONNECT_ONLY, reach ? 1 : 0);
	if (setup.code != CURLE_OK)
		return err_set(e, setup.code == CURLE_OUT_OF_MEMORY ? ERR_NOMEM : ERR_BUG, "%s: libcurl refuses an option: %s",
			client->name, curl_easy_strerror(setup.code));
	setup.code = curl_easy_perform(handle);
	*keep = setup.code == CURLE_OK && !reach && !has_rest(&sink);
	if (request->sent != NULL)
		*request->sent = was_sent(handle);
	if (setup.code != CURLE_OK)
		return outbound_failure(client, handle, setup.code, sink.stop, detail, deadline_ms, e);
	if (!reach)
		take_answer(handle, &sink, out);
	return 0;
}

int
outbound_call(struct outbound *client, const struct outbound_request *request, struct outbound_answer *out,
	struct err *e)
{
	CURL *handle = NULL;
	bool keep;
	int rc;

	if (request->sent != NULL)
		*request->sent = false;
	if (outbound_pool_take(client, &handle, e) != 0)
		return -1;
	rc = perform(client, handle, request, false, out, &keep, e);
	outbound_pool_give(client, handle, keep);
	return rc;
}

int
outbound_reach(struct outbound *client, const char *url, struct err *e)
{
	struct outbound_request request = { .method = "GET", .path_or_url = url };
	struct outbound_answer none;
	CURL *handle = NULL;
	bool keep;
	int rc;

	if (outbound_pool_take(client, &handle, e) != 0)
		return -1;
	rc = perform(client, handle, &request, true, &none, &keep, e);
	outbound_pool_give(client, handle, false);
	return rc;
}

void
outbound_answer_free(struct outbound_answer *answer)
{
	if (answer == NULL)
		return;
	buf_free_secret(&answer->body);
	*answer = (struct outbound_answer){ 0 };
}
