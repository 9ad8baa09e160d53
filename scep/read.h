/*
 * read.h - the parts of CMS (RFC 5652) as SCEP reads them. Tests include it too; nobody outside this folder does.
 */
#ifndef SCEP_READ_H
#define SCEP_READ_H

#include "base/rsa.h"
#include "scep/internal.h"
#include "scep/message.h"

/* The bit of an object identifier, 0 for one we do not know. A cipher is one in CBC mode. */
unsigned scep_digest_of(const ASN1_OBJECT *oid);
unsigned scep_cipher_of(const ASN1_OBJECT *oid);
/* rsaEncryption, or the shaXWithRSAEncryption of that digest. */
bool scep_signature_fits(const ASN1_OBJECT *oid, unsigned digest);
/* The digest of a shaXWithRSAEncryption, of which these are the contents octets; NULL for anything else. */
const EVP_MD *scep_signature_digest(struct bytes oid);

/*
 * A look at the octets before a decoder sees them: one BER value and nothing after it,
 * nested no deeper than SCEP_DEPTH_MAX, lengths that fit in each other. Linear in the length.
 */
MUST_USE int scep_scan(struct bytes ber, struct err *e);

/*
 * What is needed of a certificate that names itself as issuer and has an RSA key, as most signers of requests do: nobody
 * trusts it, so nothing else in it counts. All of it points into the certificate.
 */
struct scep_plain {
	struct bytes tbs;               /* what is signed */
	struct bytes name, serial;      /* issuer and subject, both; DER */
	struct bytes spki;
	const EVP_MD *digest;           /* of the signature */
	struct bytes signature;
};
/* False: it is something else, or spelled in another way, and is for x509_from_der(). */
bool scep_plain_read(struct bytes der, struct scep_plain *out);

/*
 * The parts of CMS (RFC 5652) that SCEP needs, read through OpenSSL's templates (parts.c). Its CMS
 * decoder would decode every certificate, CRL and kind of recipient there is before anything
 * could be counted. (The macros want type names, hence the typedefs.)
 */
typedef struct {
	X509_NAME *issuer;
	ASN1_INTEGER *serial;
} SCEP_ISSUER_SERIAL;

typedef struct {
	int type; /* SCEP_ID_* */
	union {
		SCEP_ISSUER_SERIAL *issuer_serial;
		ASN1_OCTET_STRING *key_id;
	} by;
} SCEP_CERT_ID;
enum { SCEP_ID_ISSUER_SERIAL, SCEP_ID_KEY_ID };

typedef struct {
	ASN1_INTEGER *version;
	SCEP_CERT_ID *id;
	X509_ALGOR *digest;
	STACK_OF(X509_ATTRIBUTE) *attributes;
	X509_ALGOR *algorithm;
	ASN1_OCTET_STRING *signature;
	STACK_OF(X509_ATTRIBUTE) *unsigned_attributes;
} SCEP_SIGNER;
DEFINE_STACK_OF(SCEP_SIGNER)

typedef struct {
	ASN1_OBJECT *type;
	ASN1_OCTET_STRING *octets;
} SCEP_CONTENT;

typedef struct {
	ASN1_INTEGER *version;
	STACK_OF(X509_ALGOR) *digests;
	SCEP_CONTENT *content;
	STACK_OF(ASN1_TYPE) *certs;
	STACK_OF(ASN1_TYPE) *crls;
	STACK_OF(SCEP_SIGNER) *signers;
} SCEP_SIGNED;

typedef struct {
	ASN1_INTEGER *version;
	SCEP_CERT_ID *id;
	X509_ALGOR *algorithm;
	ASN1_OCTET_STRING *key;
} SCEP_KEY_TRANSPORT;

typedef struct {
	int type; /* 0: key transport; the rest is nothing we can do */
	union {
		SCEP_KEY_TRANSPORT *transport;
		ASN1_STRING *other;
	} by;
} SCEP_RECIPIENT;
DEFINE_STACK_OF(SCEP_RECIPIENT)

typedef struct {
	ASN1_OBJECT *type;
	X509_ALGOR *algorithm;
	ASN1_OCTET_STRING *octets;
} SCEP_ENCRYPTED;

typedef struct {
	ASN1_INTEGER *version;
	ASN1_STRING *originator;
	STACK_OF(SCEP_RECIPIENT) *recipients;
	SCEP_ENCRYPTED *encrypted;
	STACK_OF(X509_ATTRIBUTE) *unprotected;
} SCEP_ENVELOPED;

/* A ContentInfo of that type and nothing after it, scanned first. NULL with *e set: ERR_MALFORMED, ERR_LIMIT. */
SCEP_SIGNED *scep_signed_decode(struct bytes ber, struct err *e);
void scep_signed_free(SCEP_SIGNED *data);
DEFINE_CLEANUP(scep_signed, SCEP_SIGNED *, scep_signed_free);
SCEP_ENVELOPED *scep_enveloped_decode(struct bytes ber, struct err *e);
void scep_enveloped_free(SCEP_ENVELOPED *data);
DEFINE_CLEANUP(scep_enveloped, SCEP_ENVELOPED *, scep_enveloped_free);
/* IssuerAndSerialNumber alone, and nothing after it, scanned first. */
SCEP_ISSUER_SERIAL *scep_issuer_serial_decode(struct bytes ber, struct err *e);
void scep_issuer_serial_free(SCEP_ISSUER_SERIAL *id);
DEFINE_CLEANUP(scep_issuer_serial, SCEP_ISSUER_SERIAL *, scep_issuer_serial_free);

bool scep_cert_is(const SCEP_CERT_ID *id, X509 *cert);
struct bytes scep_string_bytes(const ASN1_STRING *string); /* NULL: empty */

/*
 * "A separate encoding of the signedAttrs field is performed for message digest calculation. The
 * IMPLICIT [0] tag in the signedAttrs is not used for the DER encoding, rather an EXPLICIT SET OF tag
 * is used" (RFC 5652, section 5.4), in the order received, because clients sign it so. Appended to out.
 */
MUST_USE int scep_attributes_encode(STACK_OF(X509_ATTRIBUTE) *attributes, struct buf *out, struct err *e);

/* Signed attributes by kind (signed.c). */
#define SCEP_ATTRIBUTES (SCEP_ATTRIBUTE_RECIPIENT_NONCE + 1)
struct scep_attributes {
	X509_ATTRIBUTE *at[SCEP_ATTRIBUTES]; /* borrowed */
	unsigned twice;                 /* 1u << enum scep_attribute */
};
void scep_attributes_find(const STACK_OF(X509_ATTRIBUTE) *attributes, struct scep_attributes *out);
/* The one value of the type that attribute must have: ERR_MALFORMED when missing, twice, or of another type. */
MUST_USE int scep_attribute_get(const struct scep_attributes *attributes, enum scep_attribute which,
	const ASN1_TYPE **out, struct err *e);
/* Everything of message that stands in attributes: type, transaction, nonces, and for CertRep the rest. */
MUST_USE int scep_attributes_read(const struct scep_attributes *attributes, struct scep_message *message,
	struct err *e);

/* A decoded envelope. */
struct scep_envelope {
	SCEP_ENVELOPED *tree;
	unsigned cipher; /* one bit; 0: one we do not know, or its parameters are not an IV */
	struct bytes iv;
};
MUST_USE int scep_envelope_parse(struct bytes ber, struct scep_envelope **out, struct err *e);
void scep_envelope_free(struct scep_envelope *envelope);
DEFINE_CLEANUP(scep_envelope, struct scep_envelope *, scep_envelope_free);
/* scep_message_open() without the message around it. */
MUST_USE int scep_envelope_open(const struct scep_envelope *envelope, const struct scep_recipient *recipients,
	size_t count, struct buf *out, struct err *e);
/* Fixed octets of this process that no peer knows, for keys that stand in for those that cannot be had. */
#define SCEP_SECRET_LEN 32
struct bytes scep_secret(void);

struct scep_parts {
	SCEP_SIGNED *tree;
	struct scep_envelope *envelope; /* NULL: none */
	struct scep_attributes attributes;
	struct scep_plain plain; /* tbs.len 0: the signer is decoded */
	struct rsa_public *key;  /* the signer's, made ready; NULL: EVP's to use */
	bool verified;
};

#endif
