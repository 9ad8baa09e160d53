/*
 * csr.h - certification requests (PKCS#10, RFC 2986) as a device would make them, good or bad.
 *
 * DER is written straight, not through OpenSSL's X509_REQ: a fleet makes tens
 * of thousands of them.
 */
#ifndef DEVSIM_CSR_H
#define DEVSIM_CSR_H

#include "base/ossl.h"

struct csr_spec {
	struct bytes subject;      /* DER Name; len 0: an empty one */
	struct bytes alt_names;    /* DER GeneralNames; len 0: no subjectAltName */
	const char *challenge;     /* challengePassword; NULL or "": none */
	bool ask_ca;               /* ask for basicConstraints CA:TRUE and keyCertSign */
	struct bytes decrypt_key_id;      /* DecryptKeyIdentifier; len 0: none */
	struct bytes asym_decrypt_key_id; /* AsymmetricDecryptKeyIdentifier; len 0: none */
	struct bytes evidence;     /* the value of id-aa-attestation, DER; len 0: none */
};

/*
 * A signed request as DER, appended. Signed with SHA-256, with SHA-384 or
 * SHA-512 for the larger curves.
 */
MUST_USE int csr_build(const struct csr_spec *spec, EVP_PKEY *key, struct buf *out, struct err *e);

/* "CN=router-7,O=acme" (RFC 4514, \ escapes the next character) as a DER Name, appended. */
MUST_USE int csr_subject(const char *text, struct buf *out, struct err *e);

/* "dns:host", "ip:192.0.2.1", "uri:urn:x", "email:a@b", each one GeneralName; all as DER GeneralNames, appended. */
MUST_USE int csr_alt_names(const char *const *names, size_t count, struct buf *out, struct err *e);

/* What a renewal repeats: the subject and the subjectAltName (may stay empty) of a certificate, appended. */
MUST_USE int csr_names_of(const X509 *cert, struct buf *subject, struct buf *alt_names, struct err *e);

#endif
