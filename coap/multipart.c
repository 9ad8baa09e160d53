#include "coap/formats.h"

#include <cbor.h>

/* RFC 9148, section 4.8: "a CBOR array with four items". */
#define MULTIPART_ITEMS 4
#define CBOR_HEAD_MAX   9 /* RFC 8949, section 3: an initial octet and at most eight more */

static void
write_part(struct buf *out, int format, struct bytes body)
{
	unsigned char head[CBOR_HEAD_MAX];

	buf_append(out, head, cbor_encode_uint((uint64_t)format, head, sizeof head));
	buf_append(out, head, cbor_encode_bytestring_start(body.len, head, sizeof head));
	buf_append_bytes(out, body);
}

void
coaps_multipart_write(struct buf *out, int key_format, struct bytes key, int cert_format, struct bytes cert)
{
	unsigned char head[CBOR_HEAD_MAX];

	buf_append(out, head, cbor_encode_array_start(MULTIPART_ITEMS, head, sizeof head));
	write_part(out, key_format, key);
	write_part(out, cert_format, cert);
}

/* What one item of the input was. */
struct item {
	enum { ITEM_OTHER = 0, ITEM_ARRAY, ITEM_NUMBER, ITEM_OCTETS } kind;
	uint64_t number; /* or the array's count */
	struct bytes octets;
};

static void
on_number(struct item *item, uint64_t number)
{
	item->kind = ITEM_NUMBER;
	item->number = number;
}

static void
on_uint8(void *context, uint8_t number)
{
	on_number(context, number);
}

static void
on_uint16(void *context, uint16_t number)
{
	on_number(context, number);
}

static void
on_uint32(void *context, uint32_t number)
{
	on_number(context, number);
}

static void
on_uint64(void *context, uint64_t number)
{
	on_number(context, number);
}

static void
on_octets(void *context, cbor_data at, size_t len)
{
	struct item *item = context;

	item->kind = ITEM_OCTETS;
	item->octets = bytes_of(at, len);
}

static void
on_array(void *context, size_t count)
{
	struct item *item = context;

	item->kind = ITEM_ARRAY;
	item->number = count;
}

/* The next item, which takes its octets off *body. */
static int
read_item(struct bytes *body, struct item *out, struct err *e)
{
	struct cbor_callbacks callbacks = cbor_empty_callbacks;
	struct cbor_decoder_result result;
	struct item item = { 0 };

	callbacks.uint8 = on_uint8;
	callbacks.uint16 = on_uint16;
	callbacks.uint32 = on_uint32;
	callbacks.uint64 = on_uint64;
	callbacks.byte_string = on_octets;
	callbacks.array_start = on_array;
	result = cbor_stream_decode(body->at, body->len, &callbacks, &item);
	if (result.status != CBOR_DECODER_FINISHED || result.read == 0 || result.read > body->len)
		return err_set(e, ERR_MALFORMED, "the multipart body is not CBOR");
	*body = bytes_of(body->at + result.read, body->len - result.read);
	*out = item;
	return 0;
}

static int
read_part(struct bytes *body, struct coaps_multipart *parts, struct err *e)
{
	struct item format, octets;

	if (read_item(body, &format, e) != 0 || read_item(body, &octets, e) != 0)
		return -1;
	if (format.kind != ITEM_NUMBER || octets.kind != ITEM_OCTETS || octets.octets.len == 0)
		return err_set(e, ERR_MALFORMED, "a part is not a format and its octets");
	if ((format.number == COAPS_FORMAT_KEY || format.number == COAPS_FORMAT_KEY_CMS) && parts->key.len == 0) {
		parts->key_format = (int)format.number;
		parts->key = octets.octets;
		return 0;
	}
	if ((format.number == COAPS_FORMAT_CERTS || format.number == COAPS_FORMAT_CERT) && parts->cert.len == 0) {
		parts->cert_format = (int)format.number;
		parts->cert = octets.octets;
		return 0;
	}
	return err_set(e, ERR_MALFORMED, "the parts are not one key and one certificate");
}

/* RFC 9148, section 4.8: "do not have to be in a particular order". */
int
coaps_multipart_parse(struct bytes body, struct coaps_multipart *out, struct err *e)
{
	struct coaps_multipart parts = { 0 };
	struct item array;

	if (body.len == 0 || read_item(&body, &array, e) != 0)
		return err_set(e, ERR_MALFORMED, "the multipart body is not CBOR");
	if (array.kind != ITEM_ARRAY || array.number != MULTIPART_ITEMS)
		return err_set(e, ERR_MALFORMED, "the multipart body is not an array of four items");
	if (read_part(&body, &parts, e) != 0 || read_part(&body, &parts, e) != 0)
		return -1;
	if (body.len != 0)
		return err_set(e, ERR_MALFORMED, "%zu octets after the multipart body", body.len);
	*out = parts;
	return 0;
}
