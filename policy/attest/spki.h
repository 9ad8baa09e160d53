/*
 * spki.h - the one spelling of a key's SubjectPublicKeyInfo by which it is known: rsaEncryption with NULL, or
 * id-ecPublicKey with a named curve and an uncompressed point.
 *
 * Internal.
 */
#ifndef POLICY_ATTEST_SPKI_H
#define POLICY_ATTEST_SPKI_H

#include "base/key.h"

/* Big-endian numbers. A failed buffer says that there was no memory. */
void spki_put_rsa(struct buf *b, struct bytes modulus, struct bytes exponent);
/* kind: KEY_EC_P256, KEY_EC_P384. Coordinates of at most the field's size; shorter ones are filled up. */
void spki_put_ec(struct buf *b, enum key_kind kind, struct bytes x, struct bytes y);
/* Of an RSA, P-256 or P-384 key; ERR_UNSUPPORTED for others. */
MUST_USE int spki_put_key(struct buf *b, EVP_PKEY *key, struct err *e);

#define SPKI_FIELD_MAX 48
/* Octets of a coordinate; 0: no such curve here. */
size_t spki_field_len(enum key_kind kind);
/* The point's coordinates, spki_field_len() octets each. Returns that length, or -1. */
MUST_USE int spki_point(EVP_PKEY *key, uint8_t x[SPKI_FIELD_MAX], uint8_t y[SPKI_FIELD_MAX], struct err *e);

#endif
