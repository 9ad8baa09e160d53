/*
 * A device's wishes for a nonce over CoAP: a length within bounds or a refusal, and what is passed over is passed over
 * whole. The first octet says which.
 */
#include <stdlib.h>

#include "coap/formats.h"
#include "coap/item.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
demand(bool condition)
{
	if (!condition)
		abort();
}

static void
fuzz_skip(struct bytes body)
{
	struct bytes left = body, again;
	struct err e = { 0 };

	if (coaps_item_skip(&left, &e) != 0) {
		demand(e.code == ERR_MALFORMED);
		return;
	}
	demand(left.len < body.len && left.at + left.len == body.at + body.len);
	/* The same octets alone are the same item; one octet less is none. */
	again = bytes_of(body.at, body.len - left.len);
	demand(coaps_item_skip(&again, &e) == 0 && again.len == 0);
	again = bytes_of(body.at, body.len - left.len - 1);
	demand(coaps_item_skip(&again, &e) != 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = cursor_of(bytes_of(data, size));
	uint8_t what = cursor_u8(&c);
	struct bytes body = cursor_take(&c, cursor_left(&c));
	struct err e = { 0 };
	size_t len = 0;

	if (what == 's')
		fuzz_skip(body);
	else if (coaps_nonce_request_parse(body, &len, &e) != 0)
		demand(e.code == ERR_MALFORMED && len == 0);
	else
		demand(len == 0 || (len >= COAPS_NONCE_MIN && len <= COAPS_NONCE_MAX));
	return 0;
}
