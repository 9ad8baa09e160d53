/*
 * leaf.h - a certificate taken apart without decoding its public key.
 *
 * d2i_X509() decodes the key at once, which costs OpenSSL 3.0 0.3-0.5 ms for
 * an EC key; comparing a certificate with what was approved needs its octets
 * only. Inside gateway/ca only.
 */
#ifndef GATEWAY_CA_LEAF_H
#define GATEWAY_CA_LEAF_H

#include "gateway/ca/ca.h"
#include "gateway/ca/verifier.h"

/* RFC 5280, section 4.1. OpenSSL's template macros take a single word for a type, hence the typedefs. */
typedef struct {
	ASN1_INTEGER *version; /* NULL: v1 */
	ASN1_INTEGER *serial;
	X509_ALGOR *signature;
	ASN1_TYPE *issuer; /* a Name, its octets as they are */
	X509_VAL *validity;
	X509_NAME *subject;
	ASN1_TYPE *key; /* SubjectPublicKeyInfo, its octets as they are */
	ASN1_BIT_STRING *issuer_uid, *subject_uid;
	STACK_OF(X509_EXTENSION) *extensions;
	ASN1_ENCODING enc; /* the octets that are signed */
} LEAF_TBS;

typedef struct {
	LEAF_TBS *tbs;
	X509_ALGOR *algorithm;
	ASN1_BIT_STRING *signature;
} LEAF;

/* One DER certificate and nothing after it. *out is the caller's: leaf_free(). ERR_MALFORMED */
MUST_USE int leaf_parse(struct bytes der, LEAF **out, struct err *e);
void leaf_free(LEAF *leaf);
DEFINE_CLEANUP(leaf, LEAF *, leaf_free);

/* The octets of a whole SEQUENCE; len 0 when it is something else. */
struct bytes leaf_octets(const ASN1_TYPE *any);
bool leaf_has_key(const LEAF *leaf, struct bytes spki);
/* The certificate again, in DER, appended. ERR_NOMEM */
MUST_USE int leaf_encode(const LEAF *leaf, struct buf *out, struct err *e);

/* The lowest bit that is set. Of names that a spec has twice each meets one of a certificate's. */
static inline unsigned
leaf_lowest(unsigned bits)
{
	return bits & (0u - bits);
}

/* Subject, in RDNs of one attribute each and in any order, and subjectAltName hold what the spec names and nothing else. ERR_DENIED */
MUST_USE int leaf_names_check(const LEAF *leaf, const struct cert_spec *spec, struct err *e);
/* No extension twice, none that makes a CA or that nobody understands; usages as approved. ERR_DENIED */
MUST_USE int leaf_extensions_check(const LEAF *leaf, const struct ca_request *request, struct err *e);
/*
 * The one extension of this kind, decoded; NULL when there is none.
 * *out is the caller's, of the type that NID decodes to. ERR_DENIED when it does not decode.
 */
MUST_USE int leaf_extension(const LEAF *leaf, int nid, void **out, bool *critical, struct err *e);

/* ca_verify_issued(), with a verifier of the issuer's key, which serves when the certificate has its algorithm; NULL: none. */
MUST_USE int leaf_verify(struct bytes cert, const struct ca_request *request, X509 *issuer,
	const struct verifier *verifier, struct err *e);

#endif
