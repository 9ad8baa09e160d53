#include "coap/formats.h"

#include <cbor.h>

#include "coap/item.h"

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

static int
read_part(struct bytes *body, struct coaps_multipart *parts, struct err *e)
{
	struct coaps_item format, octets;

	if (coaps_item_read(body, &format, e) != 0 || coaps_item_read(body, &octets, e) != 0)
		return -1;
	if (format.kind != COAPS_ITEM_NUMBER || octets.kind != COAPS_ITEM_OCTETS || octets.octets.len == 0)
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
	struct coaps_item array;

	if (coaps_item_read(&body, &array, e) != 0)
		return -1;
	if (array.kind != COAPS_ITEM_ARRAY || array.number != MULTIPART_ITEMS)
		return err_set(e, ERR_MALFORMED, "the multipart body is not an array of four items");
	if (read_part(&body, &parts, e) != 0 || read_part(&body, &parts, e) != 0)
		return -1;
	if (body.len != 0)
		return err_set(e, ERR_MALFORMED, "%zu octets after the multipart body", body.len);
	*out = parts;
	return 0;
}
