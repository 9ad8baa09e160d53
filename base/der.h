/*
 * der.h - writing DER (X.690) into a buffer, straight.
 *
 * For what this project encodes itself on the hot path. Reading untrusted DER
 * goes through OpenSSL's templates, never through here.
 */
#ifndef BASE_DER_H
#define BASE_DER_H

#include "base/bytes.h"

#define DER_BOOLEAN      0x01
#define DER_INTEGER      0x02
#define DER_BIT_STRING   0x03
#define DER_OCTET_STRING 0x04
#define DER_OID          0x06
#define DER_UTF8_STRING  0x0c
#define DER_PRINTABLE_STRING 0x13
#define DER_IA5_STRING   0x16
#define DER_SEQUENCE     0x30
#define DER_SET          0x31
#define DER_CONTEXT(n)   ((uint8_t)(0x80 | (n)))        /* implicit, primitive */
#define DER_CONTEXT_CONS(n) ((uint8_t)(0xa0 | (n)))     /* constructed */

/* Opens a value and returns a mark for der_end(), which writes the length. */
size_t der_begin(struct buf *b, uint8_t tag);
void der_end(struct buf *b, size_t mark);

/* A whole value at once. */
void der_put(struct buf *b, uint8_t tag, struct bytes contents);
/* A non-negative INTEGER from big-endian octets: leading zeros dropped, a sign octet added when needed. */
void der_put_integer(struct buf *b, struct bytes magnitude);
void der_put_bool(struct buf *b, int value);
/* An OBJECT IDENTIFIER from dotted text that is known good ("2.5.29.15"); a bad one fails the buffer. */
void der_put_oid(struct buf *b, const char *dotted);
/* UTCTime through 2049, GeneralizedTime after (RFC 5280, section 4.1.2.5). */
void der_put_time(struct buf *b, int64_t at_s);

#endif
