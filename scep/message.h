/*
 * message.h - reading SCEP's pkiMessage (RFC 8894, section 3.2): CMS SignedData
 * around EnvelopedData, from untrusted octets, DER or BER.
 *
 * Three steps, because a refusal must be a signed answer to the right
 * transaction as early as possible:
 *   scep_message_parse   what it says it is; when that fails there is nobody to answer (HTTP 400)
 *   scep_message_verify  algorithms, signature, digest, signer
 *   scep_message_open    decryption
 * A failure of the second or third is told in a CertRep FAILURE.
 */
#ifndef SCEP_MESSAGE_H
#define SCEP_MESSAGE_H

#include "base/rsa.h"
#include "scep/scep.h"

/* One parsed pkiMessage; scep_message_free() at the end. */
struct scep_message {
	enum scep_type type;
	char transaction[SCEP_TRANSACTION_MAX + 1]; /* printable ASCII without control characters, never empty */
	uint8_t sender_nonce[SCEP_NONCE_MAX];
	size_t sender_nonce_len;
	uint8_t recipient_nonce[SCEP_NONCE_MAX];    /* CertRep only */
	size_t recipient_nonce_len;
	enum scep_status status;                    /* CertRep only */
	enum scep_fail fail;                        /* CertRep with FAILURE only */
	char fail_text[SCEP_FAIL_TEXT_MAX];         /* CertRep: failInfoText, escaped; "": none */
	X509 *signer;           /* the certificate in the message that the SignerInfo names; not verified by parse.
	                           NULL where nobody needs it (scep_message_decode()): of a request that brings one
	                           certificate, which names itself as issuer. After verify only when self_signed */
	STACK_OF(X509) *certs;  /* all certificates of the message, the signer among them; none without signer; never NULL */
	bool self_signed;       /* signer's issuer is its subject and its own key verifies it; set by verify */
	unsigned digest;        /* of the SignerInfo, one bit; 0: one we do not know */
	unsigned cipher;        /* of the envelope, one bit; 0: one we do not know, or there is no envelope */
	bool has_content;       /* there is an eContent that is not empty */
	struct scep_parts *parts; /* private */
};

/*
 * Decode one pkiMessage and nothing after it. Accepts indefinite lengths,
 * constructed OCTET STRINGs, version 1 certificates, long serial numbers and
 * either SignerInfo signature OID.
 *
 * ERR_LIMIT        longer than SCEP_MESSAGE_MAX, nested deeper than SCEP_DEPTH_MAX
 * ERR_MALFORMED    not SignedData with exactly one SignerInfo whose certificate is there; messageType,
 *                  transactionID or senderNonce missing, twice, empty, oversized or of another type;
 *                  for CertRep the same of pkiStatus, recipientNonce and (with FAILURE) failInfo;
 *                  content that is no EnvelopedData
 * ERR_UNSUPPORTED  a messageType outside enum scep_type (18, UpdateReq, among them)
 *
 * *out is the caller's; untouched on failure.
 */
MUST_USE int scep_message_parse(struct bytes der, struct scep_message **out, struct err *e);
void scep_message_free(struct scep_message *message); /* NULL is allowed */
DEFINE_CLEANUP(scep_message, struct scep_message *, scep_message_free);

/* Makes sure that signer and certs are there. ERR_MALFORMED, ERR_LIMIT, as parse. */
MUST_USE int scep_message_decode(struct scep_message *message, struct err *e);
/* The signer's SubjectPublicKeyInfo as DER, appended. */
MUST_USE int scep_message_key(const struct scep_message *message, struct buf *out, struct err *e);
/* The same, made ready; NULL: a key that is EVP's to use. As long as the message. */
const struct rsa_public *scep_message_get0_rsa(const struct scep_message *message);

/*
 * Verify: digest and cipher are in allowed; the contentType and messageDigest
 * attributes are there once and right; the signature is the signer's, whose
 * key is RSA and not weak (RFC 8894, section 2.3: "the ... key must be capable of both
 * signing and decryption"). Sets self_signed. On failure *fail is what a reply says.
 *
 * ERR_UNSUPPORTED  an algorithm, key type or size (badAlg)
 * ERR_UNAUTHENTIC  signature or digest wrong, attributes missing (badMessageCheck)
 */
MUST_USE int scep_message_verify(struct scep_message *message, unsigned allowed, enum scep_fail *fail,
	struct err *e);

/* One certificate and key that messages may be encrypted to. */
struct scep_recipient {
	X509 *cert;
	EVP_PKEY *key;
};

/*
 * Decrypt the envelope of a verified message with whichever recipient's own
 * RecipientInfo is in it, PKCS#1 v1.5 or OAEP; the content is appended to out.
 * Whatever goes wrong after the algorithms were accepted - no RecipientInfo of
 * ours, padding, key, content padding, empty content - is the one error
 * ERR_UNAUTHENTIC with one text, reached by the same work (RFC 3218: no padding
 * oracle): a key that cannot be had is replaced by one that stands in for it, which once
 * in 256 times leaves garbage instead of an error.
 *
 * A caller's answer must therefore be the same for ERR_UNAUTHENTIC and for content that it
 * cannot parse or prove (a PKCS#10 request that is none, or whose signature is wrong): anyone may change
 * another's envelope and sign it anew, and would read the plain text from the difference.
 *
 * ERR_BUG  not verified, no recipient, or one whose key is not RSA
 */
MUST_USE int scep_message_open(const struct scep_message *message, const struct scep_recipient *recipients,
	size_t count, struct buf *out, struct err *e);

/* A CertRep's nonce echoes what was sent; time does not matter. */
bool scep_nonce_matches(const struct scep_message *reply, struct bytes sent);

/* Contents of CertPoll (section 3.3.3) and of GetCert and GetCRL (section 3.3.4). Names are DER. */
struct scep_issuer_and_subject {
	X509_NAME *issuer, *subject;
};
MUST_USE int scep_issuer_and_subject_parse(struct bytes der, struct scep_issuer_and_subject *out, struct err *e);
void scep_issuer_and_subject_free(struct scep_issuer_and_subject *ias);

struct scep_issuer_and_serial {
	X509_NAME *issuer;
	char serial[SERIAL_HEX_MAX]; /* lower-case hexadecimal, as x509_serial_hex() writes it */
};
/* ERR_MALFORMED also for a serial number longer than 20 octets, or negative: nobody here issued it. */
MUST_USE int scep_issuer_and_serial_parse(struct bytes der, struct scep_issuer_and_serial *out, struct err *e);
void scep_issuer_and_serial_free(struct scep_issuer_and_serial *ias);

#endif
