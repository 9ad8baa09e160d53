/*
 * keys.h - private keys of devices: made, saved, loaded.
 */
#ifndef DEVSIM_KEYS_H
#define DEVSIM_KEYS_H

#include "base/ossl.h"

enum key_algorithm { KEY_ALGORITHM_EC, KEY_ALGORITHM_RSA };

struct key_spec {
	enum key_algorithm algorithm;
	char curve[8]; /* "P-256" */
	int bits;      /* RSA */
};

#define KEY_SPEC_DEFAULT "ec:P-256"
#define KEY_SPEC_HELP    "ec:P-256, ec:P-384, ec:P-521, rsa:2048 .. rsa:8192"

/* "ec:P-384", "rsa:3072". RSA from 1024 bits, so that a gateway can be seen to refuse it. */
MUST_USE int key_spec_parse(const char *text, struct key_spec *out, struct err *e);
/* The spec of a key like this one. */
MUST_USE int key_spec_of(EVP_PKEY *key, struct key_spec *out, struct err *e);

MUST_USE int key_make(const struct key_spec *spec, EVP_PKEY **out, struct err *e);

/* PKCS#8 PEM, appended. */
MUST_USE int key_to_pem(const EVP_PKEY *key, struct buf *out, struct err *e);
MUST_USE int key_save(const char *path, const EVP_PKEY *key, struct err *e);
MUST_USE int key_load(const char *path, EVP_PKEY **out, struct err *e);
/* One DER PrivateKeyInfo (RFC 5958) and nothing after it. */
MUST_USE int key_from_pkcs8(struct bytes der, EVP_PKEY **out, struct err *e);

/* The SubjectPublicKeyInfo, appended as DER. */
MUST_USE int key_spki(const EVP_PKEY *key, struct buf *out, struct err *e);

/* "-----BEGIN <label>-----", base64, "-----END <label>-----", appended. */
void pem_encode(struct buf *out, const char *label, struct bytes der);

#endif
