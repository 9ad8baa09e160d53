/*
 * tlv.h - strict DER (X.690) element by element, for structures whose octets are kept as they came.
 *
 * Internal. One-octet tags and definite, shortest lengths only; the rest is malformed. Nothing is copied.
 */
#ifndef POLICY_ATTEST_TLV_H
#define POLICY_ATTEST_TLV_H

#include "base/bytes.h"
#include "base/der.h"

struct tlv {
	uint8_t tag;
	struct bytes contents;
	struct bytes whole; /* tag and length too */
};

/* The next element. False: the cursor has failed, and *out is untouched. */
bool tlv_next(struct cursor *c, struct tlv *out);
/* The next element if it has this tag; otherwise the cursor fails. */
bool tlv_expect(struct cursor *c, uint8_t tag, struct tlv *out);
/* A cursor over the contents of the one element that in is; a failed cursor if it is not that. */
struct cursor tlv_only(struct bytes in, uint8_t tag);

#endif
