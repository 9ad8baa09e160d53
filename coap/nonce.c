/*
 * Freshness for evidence (draft-ietf-lamps-attestation-freshness, "CDDL Representation" and
 * "EST over Secure CoAP"): "All map keys are text strings."
 */
#include "coap/formats.h"

#include <string.h>

#include <cbor.h>

#include "coap/item.h"

#define HEAD_MAX      9 /* RFC 8949, section 3: an initial octet and at most eight more */
#define NONCE_MEMBERS 2

static void
write_text(struct buf *out, const char *text)
{
	unsigned char head[HEAD_MAX];

	buf_append(out, head, cbor_encode_string_start(strlen(text), head, sizeof head));
	buf_append_text(out, text);
}

/* In the order of RFC 8949, section 4.2.1. */
void
coaps_nonce_write(struct buf *out, struct bytes nonce, int64_t life_s)
{
	unsigned char head[HEAD_MAX];

	buf_append(out, head, cbor_encode_map_start(NONCE_MEMBERS, head, sizeof head));
	write_text(out, "nonce");
	buf_append(out, head, cbor_encode_bytestring_start(nonce.len, head, sizeof head));
	buf_append_bytes(out, nonce);
	write_text(out, "expiry");
	buf_append(out, head, cbor_encode_uint((uint64_t)life_s, head, sizeof head));
}

/* What a request may hold. */
struct wishes {
	bool has_len, has_type, has_info;
	size_t len;
};

/* "dotted-decimal-oid": numbers with a dot between each two. */
static bool
is_dotted(struct bytes text)
{
	bool after_digit = false;
	size_t i;

	for (i = 0; i < text.len; i++) {
		bool digit = text.at[i] >= '0' && text.at[i] <= '9';

		if (!digit && (text.at[i] != '.' || !after_digit))
			return false;
		after_digit = digit;
	}
	return after_digit;
}

static int
take_len(struct bytes *body, struct wishes *w, struct err *e)
{
	struct coaps_item value;

	if (coaps_item_read(body, &value, e) != 0)
		return -1;
	if (value.kind != COAPS_ITEM_NUMBER || value.number < COAPS_NONCE_MIN || value.number > COAPS_NONCE_MAX)
		return err_set(e, ERR_MALFORMED, "\"len\" is no number from %d to %d", COAPS_NONCE_MIN, COAPS_NONCE_MAX);
	w->len = (size_t)value.number;
	return 0;
}

static int
take_type(struct bytes *body, struct err *e)
{
	struct coaps_item value;

	if (coaps_item_read(body, &value, e) != 0)
		return -1;
	if (value.kind != COAPS_ITEM_TEXT || !is_dotted(value.octets))
		return err_set(e, ERR_MALFORMED, "\"type\" is no object identifier in dotted decimal notation");
	return 0;
}

static int
take_member(struct bytes *body, struct bytes key, struct wishes *w, struct err *e)
{
	bool *has = bytes_equal_text(key, "len") ? &w->has_len : bytes_equal_text(key, "type") ? &w->has_type :
		bytes_equal_text(key, "reqInfo") ? &w->has_info : NULL;

	/* RFC 8949, section 5.6: "Multiple entries with the same key" are not valid. Of others we do not know what they mean. */
	if (has != NULL && *has)
		return err_set(e, ERR_MALFORMED, "a member comes twice");
	if (has != NULL)
		*has = true;
	if (has == &w->has_len)
		return take_len(body, w, e);
	return has == &w->has_type ? take_type(body, e) : coaps_item_skip(body, e);
}

int
coaps_nonce_request_parse(struct bytes body, size_t *len, struct err *e)
{
	struct wishes w = { 0 };
	struct coaps_item map, key;
	uint64_t n;

	if (coaps_item_read(&body, &map, e) != 0)
		return -1;
	if (map.kind != COAPS_ITEM_MAP)
		return err_set(e, ERR_MALFORMED, "the body is not a CBOR map");
	for (n = 0; map.open || n < map.number; n++) {
		if (coaps_item_read(&body, &key, e) != 0)
			return -1;
		if (map.open && key.kind == COAPS_ITEM_BREAK)
			break;
		if (key.kind != COAPS_ITEM_TEXT || key.open)
			return err_set(e, ERR_MALFORMED, "a key of the map is not a text of one piece");
		if (take_member(&body, key.octets, &w, e) != 0)
			return -1;
	}
	if (body.len != 0)
		return err_set(e, ERR_MALFORMED, "%zu octets after the map", body.len);
	if (w.has_info && !w.has_type)
		return err_set(e, ERR_MALFORMED, "\"reqInfo\" without the \"type\" that says what it is");
	*len = w.len;
	return 0;
}
