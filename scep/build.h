/*
 * build.h - writing SCEP's pkiMessage (RFC 8894, section 3.2), for the gateway's
 * answers and for clients' requests.
 */
#ifndef SCEP_BUILD_H
#define SCEP_BUILD_H

#include "scep/scep.h"

struct scep_message;

struct scep_build {
	enum scep_type type;
	const char *transaction;       /* 1 to SCEP_TRANSACTION_MAX characters; PrintableString */
	struct bytes sender_nonce;     /* len 0: a fresh one of SCEP_NONCE_LEN octets is made */
	struct bytes recipient_nonce;  /* CertRep: the request's senderNonce */
	enum scep_status status;       /* CertRep */
	enum scep_fail fail;           /* CertRep with FAILURE */
	const char *fail_text;         /* CertRep with FAILURE: failInfoText (section 3.2.1.4.1), UTF-8; NULL: none */
	unsigned digest, cipher;       /* one bit each */
	bool oaep;                     /* key transport by RSAES-OAEP; false: PKCS#1 v1.5 */
	X509 *signer;                  /* its certificate goes along, exactly as it is */
	EVP_PKEY *signer_key;
	STACK_OF(X509) *recipients;    /* RSA certificates; the content is encrypted to all of them */
	const struct scep_message *to; /* or, without recipients, to who signed this message, which was verified; not oaep */
	struct bytes content;          /* what is encrypted; len 0: the message has a zero-length eContent and
	                                  no envelope, which is what every client takes for PENDING and FAILURE */
	uint8_t *made_nonce;           /* NULL, or SCEP_NONCE_LEN octets that get the fresh nonce */
};

/*
 * The message as DER, appended to out. The SignerInfo names rsaEncryption as
 * its signature algorithm, which strongSwan requires; signed attributes are
 * contentType, messageDigest and SCEP's own, without signingTime or SMIMECapabilities.
 *
 * ERR_UNSUPPORTED  a recipient or signer whose key is not RSA; DES without the legacy provider
 */
MUST_USE int scep_build(const struct scep_build *build, struct buf *out, struct err *e);

/* Contents, appended as DER. CertPoll (section 3.3.3); GetCert and GetCRL (section 3.3.4). */
MUST_USE int scep_issuer_and_subject_encode(const X509_NAME *issuer, const X509_NAME *subject, struct buf *out,
	struct err *e);
MUST_USE int scep_issuer_and_serial_encode(const X509 *cert, struct buf *out, struct err *e);

/* A degenerate SignedData with one CRL (section 4.6.1), DER in, DER appended. And the reverse, for clients. */
MUST_USE int scep_crl_encode(struct bytes crl, struct buf *out, struct err *e);
MUST_USE int scep_crl_decode(struct bytes der, X509_CRL **out, struct err *e);

/*
 * GetNextCACert (section 4.7.1): "a Signed-Data object protected by the current
 * CA certificate", whose content is a certs-only SignedData with the next one. signer
 * signs with SHA-256 and goes along. DER appended. Open verifies the signature by
 * the certificate inside, which becomes *signer; whom to trust is the caller's question.
 */
MUST_USE int scep_next_encode(struct bytes certs_only, X509 *signer, EVP_PKEY *key, struct buf *out,
	struct err *e);
MUST_USE int scep_next_open(struct bytes der, struct buf *certs_only, X509 **signer, struct err *e);

#endif
