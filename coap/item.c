#include "coap/item.h"

#include <cbor.h>

static void
set(void *context, enum coaps_item_kind kind, bool open, uint64_t number)
{
	struct coaps_item *item = context;

	item->kind = kind;
	item->open = open;
	item->number = number;
}

static void
on_uint8(void *context, uint8_t number)
{
	set(context, COAPS_ITEM_NUMBER, false, number);
}

static void
on_uint16(void *context, uint16_t number)
{
	set(context, COAPS_ITEM_NUMBER, false, number);
}

static void
on_uint32(void *context, uint32_t number)
{
	set(context, COAPS_ITEM_NUMBER, false, number);
}

static void
on_uint64(void *context, uint64_t number)
{
	set(context, COAPS_ITEM_NUMBER, false, number);
}

static void
on_octets(void *context, cbor_data at, size_t len)
{
	set(context, COAPS_ITEM_OCTETS, false, 0);
	((struct coaps_item *)context)->octets = bytes_of(at, len);
}

static void
on_text(void *context, cbor_data at, size_t len)
{
	set(context, COAPS_ITEM_TEXT, false, 0);
	((struct coaps_item *)context)->octets = bytes_of(at, len);
}

static void
on_array(void *context, size_t count)
{
	set(context, COAPS_ITEM_ARRAY, false, count);
}

static void
on_map(void *context, size_t count)
{
	set(context, COAPS_ITEM_MAP, false, count);
}

static void
on_tag(void *context, uint64_t number)
{
	set(context, COAPS_ITEM_TAG, false, number);
}

static void
on_open_octets(void *context)
{
	set(context, COAPS_ITEM_OCTETS, true, 0);
}

static void
on_open_text(void *context)
{
	set(context, COAPS_ITEM_TEXT, true, 0);
}

static void
on_open_array(void *context)
{
	set(context, COAPS_ITEM_ARRAY, true, 0);
}

static void
on_open_map(void *context)
{
	set(context, COAPS_ITEM_MAP, true, 0);
}

static void
on_break(void *context)
{
	set(context, COAPS_ITEM_BREAK, false, 0);
}

int
coaps_item_read(struct bytes *body, struct coaps_item *out, struct err *e)
{
	struct cbor_callbacks callbacks = cbor_empty_callbacks;
	struct cbor_decoder_result result;
	struct coaps_item item = { 0 };

	callbacks.uint8 = on_uint8;
	callbacks.uint16 = on_uint16;
	callbacks.uint32 = on_uint32;
	callbacks.uint64 = on_uint64;
	callbacks.byte_string = on_octets;
	callbacks.byte_string_start = on_open_octets;
	callbacks.string = on_text;
	callbacks.string_start = on_open_text;
	callbacks.array_start = on_array;
	callbacks.indef_array_start = on_open_array;
	callbacks.map_start = on_map;
	callbacks.indef_map_start = on_open_map;
	callbacks.tag = on_tag;
	callbacks.indef_break = on_break;
	if (body->len == 0)
		return err_set(e, ERR_MALFORMED, "the body ends where an item begins");
	result = cbor_stream_decode(body->at, body->len, &callbacks, &item);
	if (result.status != CBOR_DECODER_FINISHED || result.read == 0 || result.read > body->len)
		return err_set(e, ERR_MALFORMED, "the body is not CBOR, or ends within an item");
	*body = bytes_of(body->at + result.read, body->len - result.read);
	*out = item;
	return 0;
}

static bool
is_string(const struct coaps_item *item)
{
	return item->kind == COAPS_ITEM_OCTETS || item->kind == COAPS_ITEM_TEXT;
}

static bool
has_members(const struct coaps_item *item)
{
	return item->open || item->kind == COAPS_ITEM_ARRAY || item->kind == COAPS_ITEM_MAP || item->kind == COAPS_ITEM_TAG;
}

/* How many items follow one that is not open. Each has an octet at least, so that more than there are is no number to trust. */
static int
count_members(const struct coaps_item *item, struct bytes body, uint64_t *out, struct err *e)
{
	if (item->kind == COAPS_ITEM_TAG)
		*out = 1;
	else if (item->open)
		*out = 0;
	else if (item->number > body.len)
		return err_set(e, ERR_MALFORMED, "the body ends within an item");
	else
		*out = item->kind == COAPS_ITEM_MAP ? 2 * item->number : item->number;
	return 0;
}

static int
skip_members(struct bytes *body, const struct coaps_item *item, unsigned depth, struct err *e)
{
	uint64_t count = 0, n;

	if (depth == 0)
		return err_set(e, ERR_MALFORMED, "CBOR of more than %d levels", COAPS_ITEM_DEPTH_MAX);
	if (count_members(item, *body, &count, e) != 0)
		return -1;
	for (n = 0; item->open || n < count; n++) {
		struct coaps_item member;

		if (coaps_item_read(body, &member, e) != 0)
			return -1;
		if (member.kind == COAPS_ITEM_BREAK && item->open && (item->kind != COAPS_ITEM_MAP || n % 2 == 0))
			return 0;
		/* RFC 8949, section 3.2.3: the pieces are strings of the same type, and of definite length. */
		if (member.kind == COAPS_ITEM_BREAK || (is_string(item) && (member.kind != item->kind || member.open)))
			return err_set(e, ERR_MALFORMED, "CBOR with a member that does not belong where it is");
		if (has_members(&member) && skip_members(body, &member, depth - 1, e) != 0)
			return -1;
	}
	return 0;
}

int
coaps_item_skip(struct bytes *body, struct err *e)
{
	struct coaps_item item;

	if (coaps_item_read(body, &item, e) != 0)
		return -1;
	if (item.kind == COAPS_ITEM_BREAK)
		return err_set(e, ERR_MALFORMED, "CBOR with a break where nothing is open");
	return has_members(&item) ? skip_members(body, &item, COAPS_ITEM_DEPTH_MAX, e) : 0;
}
