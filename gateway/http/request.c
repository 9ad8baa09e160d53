#include "gateway/http/request.h"

#include <string.h>

static int
refuse(struct http_refusal *refusal, int status, const char *reason)
{
	*refusal = (struct http_refusal){ .status = status, .reason = reason };
	return -1;
}

/* More than limit octets and still no end: of the request line, or of the fields after it? */
static int
refuse_length(struct bytes in, struct http_refusal *refusal)
{
	if (memchr(in.at, '\n', in.len) == NULL)
		return refuse(refusal, 414, "request line too long");
	return refuse(refusal, 431, "request header too large");
}

int
http_head_scan(struct bytes in, size_t limit, size_t *scanned, size_t *head_len,
	struct http_refusal *refusal)
{
	const uint8_t *lf;

	if (in.len == 0)
		return 0;
	/* Nothing that begins otherwise becomes a request: a TLS hello on the plain port need not time out. */
	if (in.at[0] != '\r' && !http_is_token(bytes_of(in.at, 1)))
		return refuse(refusal, 400, "not an HTTP request");
	while (*scanned < in.len && (lf = memchr(in.at + *scanned, '\n', in.len - *scanned)) != NULL) {
		size_t at = (size_t)(lf - in.at);

		if (at == 0 || in.at[at - 1] != '\r')
			return refuse(refusal, 400, "a line ends in LF without CR");
		*scanned = at + 1;
		if (at + 1 > limit)
			return refuse_length(bytes_of(in.at, at), refusal);
		if (at >= 3 && in.at[at - 2] == '\n') {
			*head_len = at + 1;
			return 1;
		}
	}
	*scanned = in.len;
	return in.len > limit ? refuse_length(in, refusal) : 0;
}

/* RFC 3986 host and port characters; the handler sees nothing else. */
static bool
is_authority(struct bytes in)
{
	size_t i;

	if (in.len == 0 || in.len > HTTP_HOST_MAX)
		return false;
	for (i = 0; i < in.len; i++) {
		uint8_t c = in.at[i];

		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
			continue;
		if (c == '\0' || strchr("-._~%!$&'()*+,;=:[]", c) == NULL)
			return false;
	}
	return true;
}

static int
take_host(struct http_request *r, struct bytes value, struct http_refusal *refusal)
{
	if (!is_authority(value))
		return refuse(refusal, 400, "malformed Host");
	/* RFC 9112, section 3.2.2: with an absolute-form target "the origin server MUST ignore the received Host". */
	if (r->host.len == 0)
		r->host = value;
	return 0;
}

static int
take_length(struct http_request *r, struct bytes value, struct http_refusal *refusal)
{
	if (http_decimal(value, &r->length) != 0)
		return refuse(refusal, 400, "malformed Content-Length");
	r->has_length = true;
	return 0;
}

static int
take_coding(struct http_request *r, struct bytes value, struct http_refusal *refusal)
{
	if (r->minor == 0)
		return refuse(refusal, 400, "Transfer-Encoding in HTTP/1.0");
	if (!http_name_is(value, "chunked"))
		return refuse(refusal, 501, "only the chunked transfer coding is supported");
	r->chunked = true;
	return 0;
}

static int
take_connection(struct http_request *r, struct bytes value, struct http_refusal *refusal)
{
	(void)refusal;
	r->close = r->close || http_list_has(value, "close");
	r->keep_alive = r->keep_alive || http_list_has(value, "keep-alive");
	return 0;
}

static int
take_expect(struct http_request *r, struct bytes value, struct http_refusal *refusal)
{
	/* RFC 9110, section 10.1.1: "A server that receives a 100-continue expectation in an HTTP/1.0 request
	 * MUST ignore that expectation." */
	if (r->minor == 0)
		return 0;
	if (!http_name_is(value, "100-continue"))
		return refuse(refusal, 417, "unknown expectation");
	r->expect_continue = true;
	return 0;
}

/* Fields that mean something here or may come only once. */
static const struct known_field {
	const char *name;
	bool once;
	int (*take)(struct http_request *r, struct bytes value, struct http_refusal *refusal);
} known_fields[] = {
	{ "host", true, take_host },
	{ "content-length", true, take_length },
	{ "transfer-encoding", true, take_coding },
	{ "expect", true, take_expect },
	{ "connection", false, take_connection },
	{ "authorization", true, NULL },
	{ "content-type", true, NULL },
	{ "content-transfer-encoding", true, NULL },
};

static int
take_field(struct http_request *r, struct http_field *field, struct http_refusal *refusal)
{
	size_t i;

	field->forward = !http_name_is_ours(field->name) && !http_name_is(field->name, "host");
	for (i = 0; i < sizeof known_fields / sizeof known_fields[0]; i++) {
		const struct known_field *known = &known_fields[i];

		if (!http_name_is(field->name, known->name))
			continue;
		if (known->once && (r->seen & 1u << i) != 0)
			return refuse(refusal, 400, "a header field that may come once came twice");
		r->seen |= 1u << i;
		return known->take == NULL ? 0 : known->take(r, field->value, refusal);
	}
	return 0;
}

static int
parse_fields(struct cursor *c, struct http_request *r, struct http_refusal *refusal)
{
	struct bytes line;

	for (;;) {
		if (http_line_next(c, &line) != 0)
			return refuse(refusal, 400, "malformed header line");
		if (line.len == 0)
			break;
		if (line.at[0] == ' ' || line.at[0] == '\t')
			return refuse(refusal, 400, "folded header line");
		if (r->field_count == HTTP_HEADERS_MAX)
			return refuse(refusal, 431, "too many header fields");
		if (http_field_split(line, &r->fields[r->field_count]) != 0)
			return refuse(refusal, 400, "malformed header field");
		if (take_field(r, &r->fields[r->field_count], refusal) != 0)
			return -1;
		r->field_count++;
	}
	return cursor_done(c) ? 0 : refuse(refusal, 400, "octets after the header");
}

static bool
has_scheme(struct bytes target, const char *scheme)
{
	return target.len > strlen(scheme) && http_name_is(bytes_of(target.at, strlen(scheme)), scheme);
}

/* What comes before the path of an absolute-form target: "http://" and the authority. 0 when it has neither. */
static size_t
scheme_length(struct bytes target)
{
	if (has_scheme(target, "http://"))
		return strlen("http://");
	return has_scheme(target, "https://") ? strlen("https://") : 0;
}

static size_t
authority_end(struct bytes target, size_t from)
{
	while (from < target.len && target.at[from] != '/' && target.at[from] != '?')
		from++;
	return from;
}

/* RFC 9112, section 3.2: origin-form, or absolute-form, which "a server MUST accept". */
static int
parse_target(struct bytes target, size_t target_max, struct http_request *r, struct http_refusal *refusal)
{
	size_t i, skip;

	if (target.len > target_max)
		return refuse(refusal, 414, "request target too long");
	for (i = 0; i < target.len; i++)
		if (target.at[i] <= 0x20 || target.at[i] >= 0x7f || target.at[i] == '#')
			return refuse(refusal, 400, "malformed request target");
	if (target.len != 0 && target.at[0] == '/') {
		r->target = target;
		return 0;
	}
	skip = scheme_length(target);
	if (skip == 0)
		return refuse(refusal, 400, "request target is neither a path nor an http URI");
	i = authority_end(target, skip);
	r->host = bytes_of(target.at + skip, i - skip);
	if (!is_authority(r->host))
		return refuse(refusal, 400, "malformed authority in the request target");
	r->target = bytes_of(target.at + i, target.len - i);
	return 0;
}

size_t
http_target_limit(struct bytes in, bool (*takes_long)(struct bytes path))
{
	size_t empty_line = in.len >= 2 && in.at[0] == '\r' && in.at[1] == '\n' ? 2 : 0;
	struct cursor c = cursor_of(bytes_of(in.at + empty_line, in.len - empty_line));
	struct bytes rest, path;
	size_t skip;
	const uint8_t *end;

	if (takes_long == NULL || !bytes_equal_text(cursor_until(&c, ' '), "GET"))
		return HTTP_TARGET_MAX;
	rest = cursor_take(&c, cursor_left(&c) < HTTP_TARGET_MAX ? cursor_left(&c) : HTTP_TARGET_MAX);
	if (rest.len == 0 || memchr(rest.at, ' ', rest.len) != NULL)
		return HTTP_TARGET_MAX; /* it ends there */
	skip = scheme_length(rest);
	if (skip != 0)
		skip = authority_end(rest, skip);
	path = bytes_of(rest.at + skip, rest.len - skip);
	end = path.len == 0 ? NULL : memchr(path.at, '?', path.len);
	if (end == NULL)
		return HTTP_TARGET_MAX;
	path.len = (size_t)(end - path.at);
	return takes_long(path) ? HTTP_TARGET_LONG_MAX : HTTP_TARGET_MAX;
}

static int
parse_version(struct bytes version, struct http_request *r, struct http_refusal *refusal)
{
	if (version.len != strlen("HTTP/1.1") || memcmp(version.at, "HTTP/", 5) != 0 || version.at[6] != '.' ||
		version.at[5] < '0' || version.at[5] > '9' || version.at[7] < '0' || version.at[7] > '9')
		return refuse(refusal, 400, "malformed request line");
	if (version.at[5] != '1' || version.at[7] > '1')
		return refuse(refusal, 505, "only HTTP/1.0 and HTTP/1.1 are served");
	r->minor = version.at[7] - '0';
	return 0;
}

/* RFC 9110, section 9.1: a method that is not recognized is answered 501; whether one fits is the handler's matter. */
static bool
is_known_method(struct bytes method)
{
	static const char *const known[] = { "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH" };
	size_t i;

	for (i = 0; i < sizeof known / sizeof known[0]; i++)
		if (bytes_equal_text(method, known[i]))
			return true;
	return false;
}

static int
parse_request_line(struct cursor *c, size_t target_max, struct http_request *r, struct http_refusal *refusal)
{
	struct bytes line, target;
	struct cursor words;

	if (http_line_next(c, &line) != 0)
		return refuse(refusal, 400, "malformed request line");
	if (line.len == 0 && http_line_next(c, &line) != 0)
		return refuse(refusal, 400, "malformed request line");
	words = cursor_of(line);
	r->method = cursor_until(&words, ' ');
	target = cursor_until(&words, ' ');
	if (words.failed || !http_is_token(r->method))
		return refuse(refusal, 400, "malformed request line");
	if (!is_known_method(r->method))
		return refuse(refusal, 501, "unknown method");
	if (parse_version(cursor_take(&words, cursor_left(&words)), r, refusal) != 0)
		return -1;
	return parse_target(target, target_max, r, refusal);
}

int
http_head_parse(struct bytes head, size_t target_max, uint64_t body_max, struct http_request *out,
	struct http_refusal *refusal)
{
	struct cursor c = cursor_of(head);

	memset(out, 0, sizeof *out);
	if (parse_request_line(&c, target_max, out, refusal) != 0)
		return -1;
	if (parse_fields(&c, out, refusal) != 0)
		return -1;
	/* RFC 9112, section 3.2: "A server MUST respond with a 400 status code to any HTTP/1.1 request message
	 * that lacks a Host header field". known_fields[0] is Host. */
	if (out->minor == 1 && (out->seen & 1u) == 0)
		return refuse(refusal, 400, "no Host");
	/* The handler gets a Host in any case, and CivetWeb would drop the last field silently. */
	if ((out->seen & 1u) == 0 && out->field_count == HTTP_HEADERS_MAX)
		return refuse(refusal, 431, "too many header fields");
	if (out->chunked && out->has_length)
		return refuse(refusal, 400, "both Content-Length and Transfer-Encoding");
	if (out->length > body_max)
		return refuse(refusal, 413, "request body too large");
	return 0;
}

bool
http_request_persists(const struct http_request *r)
{
	return !r->close && (r->minor == 1 || r->keep_alive);
}

/* Inside a value a tab means what a space does (RFC 9110, section 5.5), and CivetWeb refuses tabs. */
static void
append_value(struct buf *out, struct bytes value)
{
	size_t at = out->len;

	buf_append_bytes(out, value);
	for (; at < out->len; at++)
		if (out->at[at] == '\t')
			out->at[at] = ' ';
}

void
http_request_rebuild(const struct http_request *r, struct buf *out, size_t *line_len)
{
	size_t i, before = out->len;

	buf_append_bytes(out, r->method);
	buf_append_text(out, r->target.len == 0 || r->target.at[0] != '/' ? " /" : " ");
	buf_append_bytes(out, r->target);
	buf_append_text(out, " HTTP/1.1\r\n");
	*line_len = out->len - before;
	buf_append_text(out, "Host: ");
	buf_append_bytes(out, r->host.len == 0 ? bytes_of_text("localhost") : r->host);
	buf_append_text(out, "\r\n");
	for (i = 0; i < r->field_count; i++) {
		if (!r->fields[i].forward)
			continue;
		buf_append_bytes(out, r->fields[i].name);
		buf_append_text(out, ": ");
		append_value(out, r->fields[i].value);
		buf_append_text(out, "\r\n");
	}
	buf_append_text(out, "\r\n");
}
