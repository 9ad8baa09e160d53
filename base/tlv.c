#include "base/tlv.h"

#define TAG_NUMBER_LONG 0x1f /* the number follows in further octets (X.690, section 8.1.2.4) */
#define LENGTH_OCTETS_MAX 3  /* 16 MiB: more than anything that is read here */

/* X.690, section 10.1: "The definite form of length encoding shall be used, encoded in the minimum number of octets." */
static size_t
read_length(struct cursor *c)
{
	uint8_t first = cursor_u8(c);
	size_t count = first & 0x7fu, length = 0, i;

	if (first < 0x80)
		return first;
	if (count == 0 || count > LENGTH_OCTETS_MAX) {
		c->failed = true;
		return 0;
	}
	for (i = 0; i < count; i++)
		length = length << 8 | cursor_u8(c);
	if (length < 0x80 || length >> (8 * (count - 1)) == 0)
		c->failed = true;
	return length;
}

bool
tlv_next(struct cursor *c, struct tlv *out)
{
	const uint8_t *start = c->at;
	uint8_t tag = cursor_u8(c);
	size_t length = read_length(c);
	struct bytes contents;

	if ((tag & TAG_NUMBER_LONG) == TAG_NUMBER_LONG)
		c->failed = true;
	contents = cursor_take(c, length);
	if (c->failed)
		return false;
	*out = (struct tlv){ tag, contents, bytes_of(start, (size_t)(c->at - start)) };
	return true;
}

bool
tlv_expect(struct cursor *c, uint8_t tag, struct tlv *out)
{
	struct tlv found;

	if (!tlv_next(c, &found))
		return false;
	if (found.tag != tag) {
		c->failed = true;
		return false;
	}
	*out = found;
	return true;
}

struct cursor
tlv_only(struct bytes in, uint8_t tag)
{
	struct cursor outer = cursor_of(in), inner;
	struct tlv element = { 0 };
	bool there = tlv_expect(&outer, tag, &element) && cursor_done(&outer);

	inner = cursor_of(element.contents);
	inner.failed = !there;
	return inner;
}

bool
tlv_take(struct bytes *from, uint8_t tag, struct bytes *contents, struct bytes *all)
{
	struct cursor c = cursor_of(*from);
	struct tlv found;

	if (!tlv_expect(&c, tag, &found))
		return false;
	if (contents != NULL)
		*contents = found.contents;
	if (all != NULL)
		*all = found.whole;
	*from = bytes_of(from->at + found.whole.len, from->len - found.whole.len);
	return true;
}
