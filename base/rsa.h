/*
 * rsa.h - RSA public keys that are met once, made ready for several operations.
 *
 * A device's key verifies its request, its message and its own certificate, and an answer is encrypted to it.
 * Through EVP each of these costs 17 microseconds with 2048 bits, and as much again until there is such a key;
 * 11 of them are the arithmetic. It works with OpenSSL's numbers, and takes exactly what OpenSSL takes.
 *
 * Prepared keys are not changed: any thread may use one.
 */
#ifndef BASE_RSA_H
#define BASE_RSA_H

#include "base/key.h"

struct rsa_public;

/*
 * The key of a SubjectPublicKeyInfo: rsaEncryption with NULL (RFC 3279, section 2.3.1), in DER. NULL for what is
 * key_from_spki()'s to judge: another kind or spelling, an exponent other than 65537, an even modulus or
 * one of less than RSA_BITS_MIN or more than RSA_BITS_MAX bits, or no memory. The result is the caller's.
 */
struct rsa_public *rsa_public_new(struct bytes spki);
void rsa_public_free(struct rsa_public *rsa); /* NULL is allowed */
DEFINE_CLEANUP(rsa_public, struct rsa_public *, rsa_public_free);

/* Only looks: the RSAPublicKey in such a SubjectPublicKeyInfo, and its facts. False where rsa_public_new() has nothing. */
bool rsa_public_look(struct bytes spki, struct bytes *key, struct key_facts *facts);

/* Is it the key of that SubjectPublicKeyInfo, octet by octet? NULL is nobody's. */
bool rsa_public_is(const struct rsa_public *rsa, struct bytes spki);
/* As key_from_spki() tells them. */
const struct key_facts *rsa_public_facts(const struct rsa_public *rsa);

/*
 * RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2.2): is signature that of data, with this digest?
 * SHA-256, 384, 512, SHA-1 or MD5; false for any other.
 */
bool rsa_public_verify(const struct rsa_public *rsa, const EVP_MD *md, struct bytes data, struct bytes signature);
/* Can it judge signatures with this digest? */
bool rsa_public_knows(const EVP_MD *md);

/* RSAES-PKCS1-v1_5 (section 7.2.1). out holds the modulus's octets; *len tells how many. */
MUST_USE int rsa_public_encrypt(const struct rsa_public *rsa, struct bytes plain, uint8_t *out, size_t *len,
	struct err *e);

#endif
