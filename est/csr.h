/*
 * csr.h - a PKCS#10 certification request (RFC 2986) from untrusted octets.
 *
 * Nothing here opens a socket or a file, reads a clock, logs, or keeps state;
 * every function may be called from any thread.
 */
#ifndef EST_CSR_H
#define EST_CSR_H

#include "base/rsa.h"

#define EST_CSR_MAX        32768 /* octets of DER */
#define EST_CSR_ATTRS_MAX  32
#define EST_CSR_EXTENSIONS_MAX 64
#define EST_KEY_ID_MAX     255   /* DecryptKeyIdentifier and its asymmetric sibling */
#define EST_CHALLENGE_MAX  8192  /* octets; RFC 2985, section 5.4.1 says 255, but Intune's have about two thousand */

struct est_csr_source; /* the decoded octets that the fields below point into; private */

/* A decoded, self-consistent request. Read it freely; free it with est_csr_free(). */
struct est_csr {
	struct bytes der;     /* as received; a copy this struct owns */
	struct bytes spki;    /* SubjectPublicKeyInfo, inside der or owned with it */
	EVP_PKEY *key;        /* NULL when it was not needed: with EST_CSR_IGNORE_KEY, and for nearly all RSA keys */
	struct key_facts facts;
	X509_NAME *subject;   /* may have no entries; never NULL */
	STACK_OF(X509_EXTENSION) *extensions; /* from extensionRequest; may be NULL */
	struct bytes challenge;   /* estIdentityLinking (RFC 7894), else challengePassword, in UTF-8; len 0: absent */
	struct bytes decrypt_key_id;      /* DecryptKeyIdentifier (RFC 7030, section 4.4.1.1); len 0: absent */
	struct bytes asym_decrypt_key_id; /* AsymmetricDecryptKeyIdentifier (section 4.4.1.2); len 0: absent */
	struct bytes attestation; /* the one value of id-aa-attestation, a DER SEQUENCE, as long as this struct lives;
	                             len 0: absent. More than one attribute or value is ERR_MALFORMED */
	uint8_t sha256[32];      /* of der */
	uint8_t spki_sha256[32]; /* of spki; zero with EST_CSR_IGNORE_KEY */
	struct est_csr_source *source;
};

enum est_csr_mode {
	EST_CSR_PROVEN = 0, /* the signature must prove possession of the key (RFC 7030, section 3.4) */
	/* Serverkeygen (RFC 7030, section 4.4.1): the server makes the key, so key and signature are
	   neither decoded nor verified. */
	EST_CSR_IGNORE_KEY,
	/* As PROVEN, and RSA signatures with SHA-1, or with SHA-1 and MD5, count too: for SCEP labels whose devices
	   know nothing else. What they prove is possession, which a collision does not help to forge. */
	EST_CSR_PROVEN_SHA1,
	EST_CSR_PROVEN_MD5,
	/* As PROVEN, but the signature is not looked at: for octets that were proven when they were stored. */
	EST_CSR_STORED,
};

/*
 * Decode one DER PKCS#10 request.
 *
 * der    base64 already removed; borrowed, not kept
 * out    on success owned by the caller; untouched on failure
 *
 * ERR_MALFORMED    not one DER PKCS#10 (BER is refused), octets left over, a duplicate or
 *                  empty attribute that must be single, a duplicate extension, or not version 0
 * ERR_LIMIT        longer than EST_CSR_MAX, too deep, too many attributes or extensions,
 *                  a challenge or key identifier that is too long
 * ERR_UNSUPPORTED  key or signature algorithm nobody should use (MD5, SHA-1 unless mode takes them, tiny RSA)
 * ERR_UNAUTHENTIC  its signature does not prove possession of its key
 */
MUST_USE int est_csr_parse(struct bytes der, enum est_csr_mode mode, struct est_csr **out, struct err *e);
/* The same; known is a key that is ready already and may be the request's, or NULL. */
MUST_USE int est_csr_parse_known(struct bytes der, enum est_csr_mode mode, const struct rsa_public *known,
	struct est_csr **out, struct err *e);
void est_csr_free(struct est_csr *csr); /* NULL is allowed */
DEFINE_CLEANUP(est_csr, struct est_csr *, est_csr_free);

/*
 * The subjectAltName of the request's extensions, NULL when it has none.
 * *out is the caller's. ERR_MALFORMED when the extension does not decode or
 * stands there twice.
 */
MUST_USE int est_csr_alt_names(const struct est_csr *csr, GENERAL_NAMES **out, struct err *e);

#endif
