#include "est/body.h"

#include <string.h>

/* RFC 7468, section 7: the second is what old encoders write. */
static const char *const pem_labels[] = { "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST" };

#define WRAP_COLUMNS 64

static bool
is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct bytes
trim(struct bytes in)
{
	while (in.len > 0 && is_space(in.at[0])) {
		in.at++;
		in.len--;
	}
	while (in.len > 0 && is_space(in.at[in.len - 1]))
		in.len--;
	return in;
}

/* Takes a line like "-----BEGIN X-----" from the front or the end; false when it is not there. */
static bool
take_line(struct bytes *in, const char *what, const char *label, bool at_end)
{
	struct buf line = { 0 };
	bool there;

	buf_printf(&line, "-----%s %s-----", what, label);
	there = !buf_failed(&line) && in->len >= line.len &&
		memcmp(at_end ? in->at + in->len - line.len : in->at, line.at, line.len) == 0;
	if (there) {
		in->len -= line.len;
		if (!at_end)
			in->at += line.len;
	}
	buf_free(&line);
	return there;
}

/* The base64 between the lines of a PEM request; in is trimmed and starts with a dash. */
static int
pem_contents(struct bytes in, struct bytes *out, struct err *e)
{
	size_t i;

	for (i = 0; i < sizeof pem_labels / sizeof pem_labels[0]; i++) {
		if (!take_line(&in, "BEGIN", pem_labels[i], false))
			continue;
		if (!take_line(&in, "END", pem_labels[i], true))
			return err_set(e, ERR_MALFORMED, "PEM without its END line");
		*out = in;
		return 0;
	}
	return err_set(e, ERR_MALFORMED, "PEM of something that is not a certificate request");
}

/* A SEQUENCE with a length that fits. No base64 of a SEQUENCE starts with '0', it starts with 'M'. */
static bool
looks_like_der(struct bytes body)
{
	return body.len >= 2 && body.at[0] == 0x30 &&
		(body.at[1] >= 0x80 || (size_t)body.at[1] + 2 == body.len);
}

int
est_body_decode(struct bytes body, bool allow_der, struct buf *out, struct err *e)
{
	size_t mark = out->len;
	struct bytes text;

	if (looks_like_der(body)) {
		if (!allow_der)
			return err_set(e, ERR_MALFORMED, "the body is DER; base64 is expected");
		buf_append_bytes(out, body);
		return buf_failed(out) ? err_set(e, ERR_NOMEM, "body: no memory") : 0;
	}
	text = trim(body);
	if (text.len > 0 && text.at[0] == '-' && pem_contents(text, &text, e) != 0)
		return -1;
	if (base64_decode(text, out, e) != 0) {
		out->len = mark;
		return err_prefix(e, "body");
	}
	if (out->len == mark)
		return err_set(e, ERR_MALFORMED, "the body is empty");
	return 0;
}

void
est_body_encode(struct buf *out, struct bytes der, enum est_base64_style style)
{
	switch (style) {
	case EST_BASE64_WRAPPED:
		base64_encode(out, der, WRAP_COLUMNS);
		return;
	case EST_BASE64_SINGLE_LINE:
		break;
	}
	base64_encode(out, der, 0);
	buf_append_u8(out, '\n');
}
