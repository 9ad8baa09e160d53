/*
 * tbs.h - a leaf's TBSCertificate (RFC 5280, section 4.1.2) as DER, written straight.
 *
 * Inside gateway/ca only. Nothing here keeps state; every function may be
 * called from any thread.
 */
#ifndef GATEWAY_CA_TBS_H
#define GATEWAY_CA_TBS_H

#include "base/der.h"
#include "gateway/ca/ca.h"

#define CA_SERIAL_OCTETS 16
#define CA_KEY_ID_OCTETS 20

/* What all certificates of one CA have in common, encoded once. */
struct tbs_common {
	struct buf signature;  /* AlgorithmIdentifier */
	struct buf issuer;     /* Name */
	struct buf key_id;     /* the authorityKeyIdentifier extension */
	struct buf extensions; /* it again, cRLDistributionPoints, authorityInfoAccess */
};
MUST_USE int tbs_common_make(struct tbs_common *common, X509 *issuer, const struct ca_settings *settings,
	struct err *e);
void tbs_common_free(struct tbs_common *common);

/* What is chosen for one certificate besides its spec. */
struct tbs_choice {
	uint8_t serial[CA_SERIAL_OCTETS];
	int64_t not_before_s, not_after_s;
};

/* Append one TBSCertificate. The request must have passed spec_check(). */
MUST_USE int tbs_put(struct buf *out, const struct tbs_common *common, const struct ca_request *request,
	const struct tbs_choice *choice, struct err *e);

/*
 * A 0 and a 1, so that it is positive and always CA_SERIAL_OCTETS long, 38 bits of the time, 88 random bits. In the
 * order of time, because whoever keeps certificates by serial number then adds to one place and not all over.
 */
MUST_USE int tbs_serial(int64_t now_s, uint8_t out[CA_SERIAL_OCTETS], struct err *e);

/* Leftmost 160 bits of SHA-256 of the public key's BIT STRING contents (RFC 7093, section 2, method 1). */
MUST_USE int tbs_key_id(struct bytes public_key, uint8_t out[CA_KEY_ID_OCTETS], struct err *e);

/*
 * Defence in depth: whatever policy let through, a leaf never gets a CA's key
 * usage, anyExtendedKeyUsage or OCSP signing, a wildcard, or no name at all.
 *
 * ERR_BUG     the spec asks for something no leaf may have
 * ERR_DENIED  the registry's values do not fit a certificate (too long, wrong
 *             characters), or the key can do none of the usages
 */
MUST_USE int spec_check(const struct ca_request *request, struct err *e);

/* The spec's key usages without those a key of this kind cannot do (RFC 8410, RFC 8813, RFC 3279). */
unsigned spec_usage(const struct cert_spec *spec, enum key_kind kind);

/* The DER string type of an attribute's value: DER_PRINTABLE_STRING, DER_IA5_STRING or DER_UTF8_STRING. */
uint8_t spec_string_tag(const char *oid, const char *value);

/*
 * The BIT STRING contents of a SubjectPublicKeyInfo that is one DER value of
 * this kind. ERR_MALFORMED when it is not DER, ERR_BUG when it is another kind
 * or weak.
 */
MUST_USE int spki_contents(struct bytes spki, enum key_kind kind, struct buf *scratch, struct bytes *out,
	struct err *e);

/* The octets of an address from its text: 4 or 16; 0 when it is none. */
size_t spec_address(const char *text, uint8_t out[16]);

#endif
