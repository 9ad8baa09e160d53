/*
 * evidence.h - the attestation attribute of a CSR (id-aa-attestation, 1.2.840.113549.1.9.16.2.59).
 *
 * AttestationBundle ::= SEQUENCE {
 *   attestations  SEQUENCE SIZE (1..MAX) OF SEQUENCE { type OBJECT IDENTIFIER, stmt ANY },
 *   certs         SEQUENCE SIZE (1..MAX) OF Certificate OPTIONAL }
 *
 * Octets in, borrowed octets out. Hostile until a verifier has judged it.
 */
#ifndef POLICY_ATTEST_EVIDENCE_H
#define POLICY_ATTEST_EVIDENCE_H

#include "base/bytes.h"
#include "base/ossl.h"

#define EVIDENCE_OID            "1.2.840.113549.1.9.16.2.59"
#define EVIDENCE_OCTETS_MAX     24576
#define EVIDENCE_STATEMENTS_MAX 4
#define EVIDENCE_CERTS_MAX      10
#define EVIDENCE_OID_MAX        64

/* Statement types. Android and YubiKey have no statement but NULL: the chain in certs says it all, leaf first. */
#define EVIDENCE_TPM_CERTIFY "2.23.133.20.1"            /* Tcg-attest-certify, see tpm.c */
#define EVIDENCE_ANDROID     "1.3.6.1.4.1.11129.2.1.17"
#define EVIDENCE_YUBIKEY     "1.3.6.1.4.1.41482.3.1"
/*
 * The AK's own public area, where no AK certificate tells it: an AK that is bound to its EK by ActivateCredential has
 * none, and TPMS_ATTEST names its signer by a hash only. draft-ietf-lamps-csr-attestation has no place for it, so it
 * travels as a second statement of this type (an OID from a UUID, X.667, section 7): stmt is OCTET STRING with TPMT_PUBLIC.
 * At most one in a bundle; it goes for every TPM statement beside it.
 */
#define EVIDENCE_TPM_AK      "2.25.54889779483990965155073606603512342294"

struct evidence_statement {
	char type[EVIDENCE_OID_MAX]; /* dotted */
	struct bytes stmt;           /* the whole DER value */
};

/* Everything points into the attribute's octets. */
struct evidence {
	struct evidence_statement statements[EVIDENCE_STATEMENTS_MAX];
	size_t statement_count;      /* at least 1 */
	struct bytes certs[EVIDENCE_CERTS_MAX]; /* DER each, as sent */
	size_t cert_count;
};

/*
 * attribute: the one value of the attribute, DER.
 * ERR_MALFORMED  not of this form, octets left over, no statement, an empty certs list
 * ERR_LIMIT      longer or more than the limits above
 */
MUST_USE int evidence_parse(struct bytes attribute, struct evidence *out, struct err *e);
/* The reverse, for clients and tests: DER appended to out. */
MUST_USE int evidence_encode(const struct evidence *evidence, struct buf *out, struct err *e);

/* Tcg-attest-certify ::= SEQUENCE { tpmSAttest OCTET STRING, signature OCTET STRING, tpmTPublic OCTET STRING OPTIONAL }
   in TPM wire form (TPMS_ATTEST, TPMT_SIGNATURE, TPMT_PUBLIC), without the TPM2B size in front; some clients
   send TPM2B_ATTEST and TPM2B_PUBLIC, and parsing takes such a size off. */
struct evidence_tpm {
	struct bytes attest, signature, public_area; /* public_area.len 0: absent */
};
MUST_USE int evidence_tpm_parse(struct bytes stmt, struct evidence_tpm *out, struct err *e);
MUST_USE int evidence_tpm_encode(const struct evidence_tpm *tpm, struct buf *out, struct err *e);

/* The one of EVIDENCE_TPM_AK: the AK's TPMT_PUBLIC, with or without its size in front, as above. */
MUST_USE int evidence_tpm_ak_parse(struct bytes stmt, struct bytes *public_area, struct err *e);
MUST_USE int evidence_tpm_ak_encode(struct bytes public_area, struct buf *out, struct err *e);

#endif
