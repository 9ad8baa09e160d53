/*
 * tlv.h - the outline of DER, in place: without a copy, a tree or a decoder.
 *
 * For octets that are compared or hashed as they are. What they mean is for OpenSSL's templates.
 */
#ifndef BASE_TLV_H
#define BASE_TLV_H

#include "base/bytes.h"

/*
 * Takes the value at the front of *from, when its identifier octet is that (base/der.h names them): its contents, and
 * all of it. A definite length in as few octets as it takes (X.690, section 10.1), inside *from. False: something else is
 * there, and nothing is touched. contents and all may be NULL.
 */
bool tlv_take(struct bytes *from, uint8_t identifier, struct bytes *contents, struct bytes *all);

#endif
