#include "devsim/coapc_message.h"

#include <string.h>

#define VERSION        1
#define PAYLOAD_MARKER 0xff
#define EXTEND_8       13  /* RFC 7252, section 3.1: one octet follows, minus 13 */
#define EXTEND_16      14  /* two octets, minus 269 */
#define EXTEND_16_BASE 269
#define OPTION_MAX     65535

size_t
coapc_block_size(uint8_t szx)
{
	return (size_t)16 << szx;
}

/* Codes are three bits of class and five of detail. */
static int
code_of(uint8_t octet)
{
	return (octet >> 5) * 100 + (octet & 0x1f);
}

static uint8_t
code_octet(int code)
{
	return (uint8_t)(code / 100 << 5 | code % 100);
}

static uint32_t
read_extended(struct cursor *c, uint8_t nibble)
{
	uint32_t high;

	if (nibble < EXTEND_8)
		return nibble;
	if (nibble == EXTEND_8)
		return (uint32_t)cursor_u8(c) + EXTEND_8;
	if (nibble == EXTEND_16) {
		high = cursor_u8(c);
		return (high << 8 | cursor_u8(c)) + EXTEND_16_BASE;
	}
	c->failed = true;
	return 0;
}

bool
coapc_option_next(struct cursor *c, unsigned *number, struct bytes *value)
{
	uint32_t delta, length;
	uint8_t head;

	if (c->failed || cursor_left(c) == 0 || c->at[0] == PAYLOAD_MARKER)
		return false;
	head = cursor_u8(c);
	delta = read_extended(c, head >> 4);
	length = read_extended(c, head & 0x0f);
	*value = cursor_take(c, length);
	if (*number + delta > OPTION_MAX)
		c->failed = true;
	*number += delta;
	return !c->failed;
}

/* RFC 7252, section 3.2: big-endian, leading zero octets allowed. False: more than four octets. */
static bool
read_uint(struct bytes value, uint32_t *out)
{
	uint32_t number = 0;
	size_t i;

	if (value.len > 4)
		return false;
	for (i = 0; i < value.len; i++)
		number = number << 8 | value.at[i];
	*out = number;
	return true;
}

/* RFC 7959, section 2.2: "The value 7 for SZX [...] is reserved". */
static bool
read_block(struct bytes value, struct coapc_block *out)
{
	uint32_t number = 0;

	if (value.len > 3 || !read_uint(value, &number) || (number & 7) > COAPC_SZX_MAX)
		return false;
	*out = (struct coapc_block){ .num = number >> 4, .more = (number & 8) != 0, .szx = (uint8_t)(number & 7) };
	return true;
}

/* RFC 7252, section 5.4.6: the lowest bit marks what must not be passed over. */
static void
note_unknown(struct coapc_message *out, unsigned number)
{
	if ((number & 1) != 0 && out->critical == 0)
		out->critical = number;
}

static int
take_option(struct coapc_message *out, unsigned number, struct bytes value, struct err *e)
{
	uint32_t n = 0;
	bool good = true;

	switch (number) {
	case COAPC_ETAG:
		/* A length the option cannot have makes it unknown (section 5.4.3), and this one may be passed over. */
		if (value.len > 0 && value.len <= COAPC_ETAG_MAX)
			out->etag = value;
		break;
	case COAPC_CONTENT_FORMAT:
		good = value.len <= 2 && read_uint(value, &n);
		out->content_format = (int)n;
		break;
	case COAPC_MAX_AGE:
		if (read_uint(value, &n))
			out->max_age_s = n;
		break;
	case COAPC_BLOCK2:
		good = !out->has_block2 && read_block(value, &out->block2);
		out->has_block2 = true;
		break;
	case COAPC_BLOCK1:
		good = !out->has_block1 && read_block(value, &out->block1);
		out->has_block1 = true;
		break;
	default:
		note_unknown(out, number);
		break;
	}
	return good ? 0 : err_set(e, ERR_MALFORMED, "CoAP: option %u breaks its format", number);
}

static int
read_head(struct cursor *c, struct coapc_message *out, struct err *e)
{
	uint8_t first = cursor_u8(c), code = cursor_u8(c);
	unsigned high = cursor_u8(c);
	struct bytes token;

	out->type = (enum coapc_type)(first >> 4 & 3);
	out->code = code_of(code);
	out->id = (uint16_t)(high << 8 | cursor_u8(c));
	out->token_len = first & 0x0f;
	if (c->failed || first >> 6 != VERSION || out->token_len > COAPC_TOKEN_MAX)
		return err_set(e, ERR_MALFORMED, "CoAP: not a message of version 1");
	token = cursor_take(c, out->token_len);
	if (c->failed)
		return err_set(e, ERR_MALFORMED, "CoAP: the message ends within its token");
	memcpy(out->token, token.len == 0 ? out->token : token.at, token.len);
	/* Section 4.1: an Empty message has no token, no options and no payload. */
	if (out->code == COAPC_EMPTY && (out->token_len != 0 || cursor_left(c) != 0))
		return err_set(e, ERR_MALFORMED, "CoAP: an Empty message that is not empty");
	return 0;
}

int
coapc_message_decode(struct bytes in, struct coapc_message *out, struct err *e)
{
	struct coapc_message m = { .content_format = -1, .max_age_s = -1 };
	struct cursor c = cursor_of(in);
	struct bytes value = { 0 };
	unsigned number = 0;
	const uint8_t *begin;

	if (read_head(&c, &m, e) != 0)
		return -1;
	begin = c.at;
	while (coapc_option_next(&c, &number, &value))
		if (take_option(&m, number, value, e) != 0)
			return -1;
	if (c.failed)
		return err_set(e, ERR_MALFORMED, "CoAP: the message ends within an option");
	m.options = bytes_of(begin, (size_t)(c.at - begin));
	if (cursor_left(&c) > 0) {
		(void)cursor_u8(&c);
		m.payload = cursor_take(&c, cursor_left(&c));
		/* Section 3: "The presence of a marker followed by a zero-length payload MUST be processed as a message format error." */
		if (m.payload.len == 0)
			return err_set(e, ERR_MALFORMED, "CoAP: a payload marker without payload");
	}
	*out = m;
	return 0;
}

void
coapc_write_head(struct buf *out, enum coapc_type type, int code, uint16_t id, struct bytes token)
{
	buf_append_u8(out, (uint8_t)(VERSION << 6 | (unsigned)type << 4 | (unsigned)token.len));
	buf_append_u8(out, code_octet(code));
	buf_append_u8(out, (uint8_t)(id >> 8));
	buf_append_u8(out, (uint8_t)id);
	buf_append_bytes(out, token);
}

static uint8_t
nibble_of(size_t value)
{
	return (uint8_t)(value < EXTEND_8 ? value : value < EXTEND_16_BASE ? EXTEND_8 : EXTEND_16);
}

static void
write_extended(struct buf *out, size_t value)
{
	if (value >= EXTEND_16_BASE) {
		buf_append_u8(out, (uint8_t)((value - EXTEND_16_BASE) >> 8));
		buf_append_u8(out, (uint8_t)(value - EXTEND_16_BASE));
	} else if (value >= EXTEND_8)
		buf_append_u8(out, (uint8_t)(value - EXTEND_8));
}

void
coapc_write_option(struct buf *out, unsigned *last, unsigned number, struct bytes value)
{
	size_t delta = number - *last;

	buf_append_u8(out, (uint8_t)(nibble_of(delta) << 4 | nibble_of(value.len)));
	write_extended(out, delta);
	write_extended(out, value.len);
	buf_append_bytes(out, value);
	*last = number;
}

void
coapc_write_uint(struct buf *out, unsigned *last, unsigned number, uint32_t value)
{
	uint8_t octets[4] = { (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value };
	size_t skip = 0;

	/* RFC 7252, section 3.2: "A sender SHOULD represent the integer with as few bytes as possible". */
	while (skip < sizeof octets && octets[skip] == 0)
		skip++;
	coapc_write_option(out, last, number, bytes_of(octets + skip, sizeof octets - skip));
}

void
coapc_write_block(struct buf *out, unsigned *last, unsigned number, const struct coapc_block *block)
{
	coapc_write_uint(out, last, number, block->num << 4 | (block->more ? 8U : 0U) | block->szx);
}

void
coapc_write_payload(struct buf *out, struct bytes payload)
{
	if (payload.len == 0)
		return;
	buf_append_u8(out, PAYLOAD_MARKER);
	buf_append_bytes(out, payload);
}
