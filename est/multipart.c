#include "est/keygen.h"

#include <string.h>
#include <strings.h>

#define BOUNDARY_MAX      70 /* RFC 2046, section 5.1.1 */
#define PART_HEADERS_MAX  16
#define BODY_MAX          (1 << 20)

static const char key_type[] = "application/pkcs8";
static const char cms_type[] = "application/pkcs7-mime";
static const char key_smime[] = "server-generated-key";

static void
put_part(struct buf *out, const char *boundary, const char *type, struct bytes contents,
	enum est_base64_style style)
{
	/* RFC 8951 took Content-Transfer-Encoding away; libest and Bouncy Castle still need it. */
	buf_printf(out, "--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: base64\r\n\r\n", boundary, type);
	est_body_encode(out, contents, style);
	buf_append_text(out, "\r\n");
}

void
est_keygen_multipart(struct buf *out, const char *boundary, struct bytes key, bool encrypted,
	struct bytes certs, enum est_base64_style style)
{
	put_part(out, boundary,
		encrypted ? "application/pkcs7-mime; smime-type=server-generated-key" : key_type, key, style);
	put_part(out, boundary, "application/pkcs7-mime; smime-type=certs-only", certs, style);
	buf_printf(out, "--%s--\r\n", boundary);
}

/* One line without its LF or CRLF; the last may lack both. False at the end. */
static bool
next_line(struct cursor *c, struct bytes *out)
{
	struct cursor before = *c;
	struct bytes line;

	if (cursor_left(c) == 0)
		return false;
	line = cursor_until(c, '\n');
	if (c->failed) {
		*c = before;
		line = cursor_take(c, cursor_left(&before));
	}
	if (line.len > 0 && line.at[line.len - 1] == '\r')
		line.len--;
	*out = line;
	return true;
}

enum line_kind { LINE_PLAIN, LINE_DELIMITER, LINE_CLOSE };

/* RFC 2046, section 5.1.1: two hyphens, the boundary, perhaps two hyphens, perhaps white space. */
static enum line_kind
kind_of(struct bytes line, const char *boundary)
{
	size_t n = strlen(boundary);
	bool close;

	while (line.len > 0 && (line.at[line.len - 1] == ' ' || line.at[line.len - 1] == '\t'))
		line.len--;
	if (line.len < 2 + n || memcmp(line.at, "--", 2) != 0 || memcmp(line.at + 2, boundary, n) != 0)
		return LINE_PLAIN;
	close = line.len == n + 4 && memcmp(line.at + 2 + n, "--", 2) == 0;
	if (close)
		return LINE_CLOSE;
	return line.len == n + 2 ? LINE_DELIMITER : LINE_PLAIN;
}

static bool
starts_with(struct bytes text, const char *start)
{
	size_t n = strlen(start);

	return text.len >= n && strncasecmp((const char *)text.at, start, n) == 0;
}

static bool
contains(struct bytes text, const char *what)
{
	size_t i;

	for (i = 0; i < text.len; i++)
		if (starts_with(bytes_of(text.at + i, text.len - i), what))
			return true;
	return false;
}

/* The value of a Content-Type header line, without white space before it. */
static bool
content_type(struct bytes line, struct bytes *out)
{
	static const char name[] = "Content-Type:";

	if (!starts_with(line, name))
		return false;
	line = bytes_of(line.at + sizeof name - 1, line.len - (sizeof name - 1));
	while (line.len > 0 && (line.at[0] == ' ' || line.at[0] == '\t'))
		line = bytes_of(line.at + 1, line.len - 1);
	*out = line;
	return true;
}

struct part {
	struct bytes type;
	struct bytes text;
};

/* Reads one part's headers and text; c stands after its delimiter line, and after the next one at the end. */
static int
read_part(struct cursor *c, const char *boundary, struct part *out, bool *last, struct err *e)
{
	enum line_kind kind = LINE_PLAIN;
	struct bytes line = { 0 };
	const uint8_t *start;
	int headers = 0;

	*out = (struct part){ 0 };
	while (next_line(c, &line) && line.len > 0) {
		struct bytes type = { 0 };

		if (++headers > PART_HEADERS_MAX || kind_of(line, boundary) != LINE_PLAIN)
			return err_set(e, ERR_MALFORMED, "multipart: a part without an end of its headers");
		if (!content_type(line, &type))
			continue;
		if (out->type.len > 0)
			return err_set(e, ERR_MALFORMED, "multipart: Content-Type stands there twice");
		out->type = type;
	}
	start = c->at;
	do {
		out->text = bytes_of(start, (size_t)(c->at - start));
		if (!next_line(c, &line))
			return err_set(e, ERR_MALFORMED, "multipart: the last delimiter is missing");
		kind = kind_of(line, boundary);
	} while (kind == LINE_PLAIN);
	*last = kind == LINE_CLOSE;
	return 0;
}

/* What the parts of a body decode to; the key is a secret. */
struct contents {
	struct buf key;
	struct buf certs;
	bool encrypted;
};

static void
contents_auto(struct contents *contents)
{
	buf_free_secret(&contents->key);
	buf_free(&contents->certs);
}

static int
decode_part(const struct part *part, struct contents *out, struct err *e)
{
	bool plain_key = starts_with(part->type, key_type);
	bool cms = starts_with(part->type, cms_type);
	bool encrypted = cms && contains(part->type, key_smime);
	struct buf *into = plain_key || encrypted ? &out->key : &out->certs;

	if (!plain_key && !cms)
		return err_set(e, ERR_MALFORMED, "multipart: a part of another type");
	if (into->len > 0)
		return err_set(e, ERR_MALFORMED, "multipart: two parts of the same type");
	if (into == &out->key)
		out->encrypted = encrypted;
	return est_body_decode(part->text, false, into, e);
}

static int
decode_parts(struct cursor *c, const char *boundary, struct contents *out, struct err *e)
{
	struct part part = { 0 };
	struct bytes line = { 0 };
	bool last = false;

	/* RFC 2046, section 5.1.1: what stands before the first delimiter "is to be ignored". */
	do {
		if (!next_line(c, &line))
			return err_set(e, ERR_MALFORMED, "multipart: no part begins with this boundary");
	} while (kind_of(line, boundary) != LINE_DELIMITER);
	while (!last)
		if (read_part(c, boundary, &part, &last, e) != 0 || decode_part(&part, out, e) != 0)
			return -1;
	if (out->key.len == 0 || out->certs.len == 0)
		return err_set(e, ERR_MALFORMED, "multipart: %s is missing",
			out->key.len == 0 ? "the key" : "the certificate");
	return 0;
}

int
est_keygen_split(struct bytes body, const char *boundary, struct buf *key, bool *encrypted, struct buf *certs,
	struct err *e)
{
	CLEANUP(contents) struct contents contents = { 0 };
	struct cursor c = cursor_of(body);
	size_t boundary_len = strlen(boundary), key_mark = key->len, certs_mark = certs->len;

	if (boundary_len == 0 || boundary_len > BOUNDARY_MAX)
		return err_set(e, ERR_MALFORMED, "multipart: boundary of %zu characters", boundary_len);
	if (body.len > BODY_MAX)
		return err_set(e, ERR_LIMIT, "multipart: body of %zu octets", body.len);
	if (decode_parts(&c, boundary, &contents, e) != 0)
		return -1;
	buf_append_bytes(key, buf_bytes(&contents.key));
	buf_append_bytes(certs, buf_bytes(&contents.certs));
	if (buf_failed(key) || buf_failed(certs)) {
		key->len = key_mark;
		certs->len = certs_mark;
		return err_set(e, ERR_NOMEM, "multipart: no memory");
	}
	*encrypted = contents.encrypted;
	return 0;
}
