/*
 * internal.h - what the files of this folder share, read and written. Nobody else includes it.
 */
#ifndef SCEP_INTERNAL_H
#define SCEP_INTERNAL_H

#include "scep/build.h"

/*
 * What scep_init() fetched, for exactly one bit. NULL for anything else, and for
 * DES without the legacy provider. DES comes from a library context of its own:
 * EVP_EncryptInit_ex() takes it as any other cipher, while the rest of the process cannot name it.
 */
const EVP_MD *scep_digest(unsigned digest);
const EVP_CIPHER *scep_cipher(unsigned cipher);

/* Signed attributes (RFC 8894, section 3.2.1; RFC 5652, section 11). */
enum scep_attribute {
	SCEP_ATTRIBUTE_CONTENT_TYPE,
	SCEP_ATTRIBUTE_MESSAGE_DIGEST,
	SCEP_ATTRIBUTE_TRANSACTION,
	SCEP_ATTRIBUTE_MESSAGE_TYPE,
	SCEP_ATTRIBUTE_STATUS,
	SCEP_ATTRIBUTE_FAIL,
	SCEP_ATTRIBUTE_FAIL_TEXT,
	SCEP_ATTRIBUTE_SENDER_NONCE,
	SCEP_ATTRIBUTE_RECIPIENT_NONCE,
};
/* The contents octets of its OBJECT IDENTIFIER. */
struct bytes scep_attribute_oid(enum scep_attribute attribute);

/* Writing (encode.c); what cannot be encoded fails the buffer. */
void scep_put_algorithm(struct buf *out, int nid, bool null_parameters);
void scep_put_name(struct buf *out, const X509_NAME *name);
void scep_put_issuer_and_serial(struct buf *out, const X509 *cert);
/* One DER SEQUENCE and nothing after it, by its outer length alone. */
bool scep_is_one_sequence(struct bytes der);

/* EnvelopedData in its ContentInfo, appended (envelope.c). */
MUST_USE int scep_envelop(const struct scep_build *build, struct buf *out, struct err *e);

/* Equal but for the case of ASCII letters (query.c). */
bool scep_same_but_case(struct bytes a, struct bytes b);

#endif
