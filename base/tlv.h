/*
 * tlv.h - strict DER (X.690) element by element, in place: for structures whose octets are compared, hashed or kept as they came.
 *
 * One-octet tags and definite, shortest lengths of up to three octets only; the rest is malformed. Nothing is copied. What the
 * octets mean is for OpenSSL's templates.
 */
#ifndef BASE_TLV_H
#define BASE_TLV_H

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

/*
 * Takes the element at the front of *from, when it has this tag: its contents, and all of it. contents and all may be NULL. False:
 * something else is there, and nothing is touched.
 */
bool tlv_take(struct bytes *from, uint8_t tag, struct bytes *contents, struct bytes *all);

#endif
