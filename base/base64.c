#include "base/bytes.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void
encode_group(const uint8_t *in, size_t n, char out[4])
{
	uint32_t v = (uint32_t)in[0] << 16;

	if (n > 1)
		v |= (uint32_t)in[1] << 8;
	if (n > 2)
		v |= in[2];
	out[0] = alphabet[v >> 18 & 63];
	out[1] = alphabet[v >> 12 & 63];
	out[2] = n > 1 ? alphabet[v >> 6 & 63] : '=';
	out[3] = n > 2 ? alphabet[v & 63] : '=';
}

void
base64_encode(struct buf *out, struct bytes in, size_t wrap)
{
	char chunk[1024];
	size_t n = 0, column = 0, i, k;

	for (i = 0; i < in.len; i += 3) {
		char group[4];

		encode_group(in.at + i, in.len - i < 3 ? in.len - i : 3, group);
		for (k = 0; k < 4; k++) {
			chunk[n++] = group[k];
			if (wrap != 0 && ++column == wrap) {
				chunk[n++] = '\n';
				column = 0;
			}
		}
		if (n > sizeof chunk - 8) {
			buf_append(out, chunk, n);
			n = 0;
		}
	}
	if (wrap != 0 && column != 0)
		chunk[n++] = '\n';
	buf_append(out, chunk, n);
}

static int
sextet(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

struct decoder {
	uint32_t bits;
	unsigned have; /* sextets collected of the present group, 0-3 */
	unsigned pads;
};

/* RFC 4648, section 3.5: pad bits that are not zero may be refused; they are. */
static int
decode_end(const struct decoder *d, struct buf *out, struct err *e)
{
	if (d->have + d->pads != 4 && d->have + d->pads != 0)
		return err_set(e, ERR_MALFORMED, "base64: the last group is incomplete");
	if (d->have == 2) {
		if ((d->bits & 0xf) != 0)
			return err_set(e, ERR_MALFORMED, "base64: pad bits are not zero");
		buf_append_u8(out, (uint8_t)(d->bits >> 4));
	} else if (d->have == 3) {
		if ((d->bits & 0x3) != 0)
			return err_set(e, ERR_MALFORMED, "base64: pad bits are not zero");
		buf_append_u8(out, (uint8_t)(d->bits >> 10));
		buf_append_u8(out, (uint8_t)(d->bits >> 2));
	}
	if (buf_failed(out))
		return err_set(e, ERR_NOMEM, "base64: no memory");
	return 0;
}

static void
decode_sextet(struct decoder *d, int s, struct buf *out)
{
	uint8_t three[3];

	d->bits = d->bits << 6 | (uint32_t)s;
	if (++d->have < 4)
		return;
	three[0] = (uint8_t)(d->bits >> 16);
	three[1] = (uint8_t)(d->bits >> 8);
	three[2] = (uint8_t)d->bits;
	buf_append(out, three, sizeof three);
	*d = (struct decoder){ 0 };
}

int
base64_decode(struct bytes in, struct buf *out, struct err *e)
{
	struct decoder d = { 0 };
	size_t i;

	for (i = 0; i < in.len; i++) {
		uint8_t c = in.at[i];
		int s = sextet(c);

		if (c == '\r' || c == '\n' || c == ' ' || c == '\t')
			continue;
		if (c == '=' && d.have >= 2 && d.have + d.pads < 4)
			d.pads++;
		else if (s < 0 || d.pads != 0)
			return err_set(e, ERR_MALFORMED, "base64: unexpected octet 0x%02x at %zu", c, i);
		else
			decode_sextet(&d, s, out);
	}
	return decode_end(&d, out, e);
}

void
base64url_encode(struct buf *out, struct bytes in)
{
	size_t from = out->len;

	base64_encode(out, in, 0);
	if (buf_failed(out))
		return;
	while (out->len > from && out->at[out->len - 1] == '=')
		out->len--;
	for (; from < out->len; from++) {
		if (out->at[from] == '+')
			out->at[from] = '-';
		else if (out->at[from] == '/')
			out->at[from] = '_';
	}
}

/* Nothing but the alphabet: no white space, no padding (RFC 7515, section 2: "with all trailing '=' characters omitted"). */
int
base64url_decode(struct bytes in, struct buf *out, struct err *e)
{
	struct decoder d = { 0 };
	size_t i;

	for (i = 0; i < in.len; i++) {
		uint8_t c = in.at[i];
		int s = c == '-' ? 62 : c == '_' ? 63 : c == '+' || c == '/' ? -1 : sextet(c);

		if (s < 0)
			return err_set(e, ERR_MALFORMED, "base64url: unexpected octet 0x%02x at %zu", c, i);
		decode_sextet(&d, s, out);
	}
	if (d.have == 1)
		return err_set(e, ERR_MALFORMED, "base64url: the last group is incomplete");
	d.pads = d.have == 0 ? 0 : 4 - d.have;
	return decode_end(&d, out, e);
}
