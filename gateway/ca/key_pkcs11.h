/*
 * key_pkcs11.h - private keys that stay in a token (PKCS#11), by libp11. Inside gateway/ca only.
 *
 * A module is loaded once per process and stays loaded: C_Initialize and
 * C_Finalize are the process's, not a key's. The process may not fork after that.
 */
#ifndef GATEWAY_CA_KEY_PKCS11_H
#define GATEWAY_CA_KEY_PKCS11_H

#include "gateway/ca/ca.h"

#define PKCS11_URI_MAX     1024 /* octets of a URI */
#define PKCS11_VALUE_MAX   256  /* octets of one of its values */
#define PKCS11_MODULES_MAX 4

/*
 * The parts of a "pkcs11:" URI (RFC 7512) that name a key here. token, and object or id or both, must be there, and
 * module-path and pin-source in the query; "pin-source=file:/path", a path alone, "credential:NAME" or "env:NAME".
 */
struct pkcs11_uri {
	char token[PKCS11_VALUE_MAX], object[PKCS11_VALUE_MAX]; /* "": not named */
	uint8_t id[PKCS11_VALUE_MAX];
	size_t id_len;
	char module[PKCS11_VALUE_MAX], pin_source[PKCS11_VALUE_MAX];
};

/* ERR_MALFORMED, ERR_LIMIT; ERR_UNSUPPORTED for an attribute that is not one of these, pin-value among them. */
MUST_USE int pkcs11_uri_parse(const char *uri, struct pkcs11_uri *out, struct err *e);

/*
 * The key of key_open(): the token is found by its label, logged into once, and exactly one of its private keys fits.
 * The PIN is as secret_file_read() wants it. Any number of threads may sign with the key.
 * ERR_UPSTREAM says what was not found, or what the token said.
 */
MUST_USE int key_pkcs11_open(const char *uri, EVP_PKEY **out, struct err *e);

#endif
