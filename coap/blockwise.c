#include "coap/blockwise.h"

#include <stdlib.h>
#include <string.h>

#define UNIT      16 /* the smallest block, so every block but the last covers whole units */
#define UNITS_MAX (COAPS_BODY_MAX / UNIT)

struct coaps_upload {
	struct buf body;
	uint8_t have[UNITS_MAX / 8]; /* a bit per unit */
	size_t have_units;
	size_t total; /* once the last block has come */
	bool ended;
	bool broken;
};

/* RFC 7959, section 2.2: NUM in all but the last four bits, then M, then SZX. */
int
coaps_block_decode(struct bytes value, struct coaps_block *out, struct err *e)
{
	uint32_t number = 0;
	size_t i;

	if (value.len > 3)
		return err_set(e, ERR_MALFORMED, "a block option of %zu octets", value.len);
	for (i = 0; i < value.len; i++)
		number = number << 8 | value.at[i];
	/* "The value 7 for SZX [...] is reserved, i.e., MUST NOT be sent and MUST lead to a 4.00 Bad Request". */
	if ((number & 7) > COAPS_SZX_MAX)
		return err_set(e, ERR_MALFORMED, "a block of the reserved size");
	*out = (struct coaps_block){
		.num = number >> 4,
		.more = (number & 8) != 0,
		.szx = (uint8_t)(number & 7),
	};
	return 0;
}

size_t
coaps_block_encode(const struct coaps_block *block, uint8_t out[3])
{
	uint32_t number = block->num << 4 | (block->more ? 8U : 0U) | block->szx;
	size_t len = number == 0 ? 0 : number < 1U << 8 ? 1 : number < 1U << 16 ? 2 : 3;
	size_t i;

	for (i = 0; i < len; i++)
		out[i] = (uint8_t)(number >> 8 * (len - 1 - i));
	return len;
}

size_t
coaps_block_size(uint8_t szx)
{
	return (size_t)UNIT << szx;
}

uint8_t
coaps_block_fit(size_t room)
{
	uint8_t szx = 0;

	while (szx < COAPS_SZX_MAX && coaps_block_size((uint8_t)(szx + 1)) <= room)
		szx++;
	return szx;
}

struct coaps_upload *
coaps_upload_new(void)
{
	return calloc(1, sizeof(struct coaps_upload));
}

void
coaps_upload_free(struct coaps_upload *upload)
{
	if (upload == NULL)
		return;
	buf_free_secret(&upload->body);
	free(upload);
}

bool
coaps_upload_has_first(const struct coaps_upload *upload)
{
	return (upload->have[0] & 1) != 0;
}

bool
coaps_upload_broken(const struct coaps_upload *upload)
{
	return upload->broken;
}

struct buf
coaps_upload_take(struct coaps_upload *upload)
{
	struct buf body = upload->body;

	upload->body = (struct buf){ 0 };
	return body;
}

size_t
coaps_upload_held(const struct coaps_upload *upload)
{
	return sizeof *upload + upload->body.cap;
}

static bool
has_unit(const struct coaps_upload *upload, size_t unit)
{
	return (upload->have[unit / 8] >> (unit % 8) & 1) != 0;
}

/* Makes the body at least this long; what is between is zero until its block comes. */
static bool
reach(struct coaps_upload *upload, size_t end)
{
	static const uint8_t zeros[1024];

	while (upload->body.len < end && !buf_failed(&upload->body)) {
		size_t missing = end - upload->body.len;

		buf_append(&upload->body, zeros, missing < sizeof zeros ? missing : sizeof zeros);
	}
	return !buf_failed(&upload->body);
}

/* False when a unit is there already and says something else. */
static bool
place(struct coaps_upload *upload, size_t offset, struct bytes payload)
{
	size_t at;

	for (at = 0; at < payload.len; at += UNIT) {
		size_t len = payload.len - at < UNIT ? payload.len - at : UNIT;
		size_t unit = (offset + at) / UNIT;

		if (has_unit(upload, unit)) {
			if (memcmp(upload->body.at + offset + at, payload.at + at, len) != 0)
				return false;
			continue;
		}
		memcpy(upload->body.at + offset + at, payload.at + at, len);
		upload->have[unit / 8] = (uint8_t)(upload->have[unit / 8] | 1U << unit % 8);
		upload->have_units++;
	}
	return true;
}

enum coaps_upload_verdict
coaps_upload_put(struct coaps_upload *upload, const struct coaps_block *block, struct bytes payload, size_t body_max)
{
	size_t size = coaps_block_size(block->szx);
	size_t offset = (size_t)block->num * size;
	size_t end = offset + payload.len;

	/* RFC 7959, section 2.2: a block that is not the last one is exactly as long as it says. */
	if (payload.len > size || (block->more && payload.len != size))
		return COAPS_UPLOAD_BAD;
	if (end > body_max || end > COAPS_BODY_MAX)
		return COAPS_UPLOAD_TOO_LARGE;
	if (upload->ended ? (end > upload->total || (!block->more && end != upload->total))
			  : (!block->more && end < upload->body.len)) {
		upload->broken = true;
		return COAPS_UPLOAD_INCOMPLETE;
	}
	if (!reach(upload, end))
		return COAPS_UPLOAD_NOMEM;
	if (!place(upload, offset, payload)) {
		upload->broken = true;
		return COAPS_UPLOAD_INCOMPLETE;
	}
	if (!block->more) {
		upload->ended = true;
		upload->total = end;
	}
	/* Only the last block is answered with the answer, also when one before it comes after it. */
	if (block->more)
		return COAPS_UPLOAD_CONTINUE;
	/*
	 * RFC 7959, section 2.9.2: 4.08 when the last block has come and others have not. Those that
	 * are here are kept: a client may send only what is missing, and the last one again.
	 */
	return upload->have_units == (upload->total + UNIT - 1) / UNIT ? COAPS_UPLOAD_COMPLETE
								       : COAPS_UPLOAD_INCOMPLETE;
}

bool
coaps_body_slice(struct bytes body, uint32_t num, uint8_t szx, struct bytes *out, bool *more)
{
	size_t size = coaps_block_size(szx);
	size_t offset = (size_t)num * size;

	if (offset >= body.len && num != 0)
		return false;
	*more = body.len - offset > size;
	*out = bytes_of(body.len == 0 ? NULL : body.at + offset, *more ? size : body.len - offset);
	return true;
}
