/*
 * key.h - public keys from untrusted bytes, quickly, and what is wrong with them.
 *
 * OpenSSL 3.0 spends 0.3-0.5 ms in its decoder chain on each EC public key;
 * key_from_spki() copies a template key instead and sets the point, which
 * OpenSSL checks to be on the curve.
 */
#ifndef BASE_KEY_H
#define BASE_KEY_H

#include "base/ossl.h"

enum key_kind {
	KEY_OTHER = 0,
	KEY_RSA,
	KEY_EC_P256,
	KEY_EC_P384,
	KEY_EC_P521,
	KEY_ED25519,
};

#define RSA_BITS_MIN 1024  /* below this a key is refused outright: ERR_UNSUPPORTED */
#define RSA_BITS_MAX 8192  /* above this verification is a denial of service */

struct key_facts {
	enum key_kind kind;
	int bits;           /* modulus or field size */
	const char *weak;   /* NULL, or why nobody should certify it (static text) */
};

/* Make the template keys, before any thread; once more after the way OpenSSL decodes keys was changed. */
MUST_USE int key_init(struct err *e);

/*
 * Decode a SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7): one DER value,
 * nothing after it. *out and *facts are the caller's.
 *
 * ERR_MALFORMED    not a public key, or a point off its curve
 * ERR_UNSUPPORTED  an algorithm, curve or size nobody should use
 */
MUST_USE int key_from_spki(struct bytes spki, EVP_PKEY **out, struct key_facts *facts, struct err *e);

/* The facts of a key that is already decoded. weak: small or even modulus, exponent < 65537 or even, ROCA. */
void key_facts_of(EVP_PKEY *key, struct key_facts *facts);
/* The part of that which an RSA modulus alone tells. */
const char *key_modulus_weakness(const BIGNUM *n);

/* "RSA-2048", "EC P-256", ...; out holds 24 octets. */
void key_text(const struct key_facts *facts, char out[24]);

#endif
