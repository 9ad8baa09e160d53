/*
 * rsa.h - RSA public keys that are met once, made ready for several operations. Nobody outside this folder includes it.
 *
 * A signer's key verifies the message and its own certificate, and the answer's content key is encrypted
 * to it. Through EVP each of these costs 17 microseconds with 2048 bits, and 7 more for a key of another library context;
 * 11 of them are the arithmetic. It works with OpenSSL's numbers, and takes exactly what OpenSSL takes.
 */
#ifndef SCEP_RSA_H
#define SCEP_RSA_H

#include "scep/internal.h"

struct scep_rsa;

/* Before there are threads. 0, or -1 with *e set. */
MUST_USE int scep_rsa_init(struct err *e);

/*
 * NULL for what is EVP's to do: a key of another kind, an exponent other than 65537, an even modulus or one of less
 * than RSA_BITS_MIN or more than RSA_BITS_MAX bits, or no memory. The result is the caller's.
 */
struct scep_rsa *scep_rsa_new(EVP_PKEY *key);
void scep_rsa_free(struct scep_rsa *rsa); /* NULL is allowed */

/* Kept with its key and freed with it, by the only thread that has the key; found again, NULL when there is none. */
struct scep_rsa *scep_rsa_keep(EVP_PKEY *key);
struct scep_rsa *scep_rsa_get0(const EVP_PKEY *key);

/* Can it judge signatures with this digest? One of those that scep_digest() knows. */
bool scep_rsa_knows(unsigned digest);
/* RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2.2): is signature that of hash, which was made with digest? */
bool scep_rsa_verify(const struct scep_rsa *rsa, unsigned digest, struct bytes hash, struct bytes signature);

/* RSAES-PKCS1-v1_5 (section 7.2.1). out holds the modulus's octets; *len tells how many. */
MUST_USE int scep_rsa_encrypt(const struct scep_rsa *rsa, struct bytes plain, uint8_t *out, size_t *len, struct err *e);

#endif
