/*
 * strict.h - is it DER? What BER allows and DER (X.690, sections 10 and 11) does not.
 *
 * OpenSSL's templates read BER. A request is signed, hashed and compared as
 * octets, so one request must have one encoding: this walk refuses the rest
 * before a template sees it, and bounds the depth at the same time.
 */
#ifndef EST_STRICT_H
#define EST_STRICT_H

#include "base/bytes.h"

#define EST_DER_DEPTH_MAX 24 /* a request with extensions is 8 deep */

/*
 * One value and nothing after it; every length definite and minimal, strings
 * primitive, sequences and sets constructed, booleans 00 or FF. The order
 * inside a SET OF is not checked: real clients send unsorted attributes.
 *
 * ERR_MALFORMED  not so
 * ERR_LIMIT      deeper than EST_DER_DEPTH_MAX
 */
MUST_USE int est_der_check(struct bytes der, struct err *e);

#endif
