/*
 * csrattrs.h - the CSR Attributes answer (RFC 7030, section 4.5.2; RFC 8951, section 4; RFC 9908).
 *
 * CsrAttrs ::= SEQUENCE SIZE (0..MAX) OF AttrOrOID
 * AttrOrOID ::= CHOICE { oid OBJECT IDENTIFIER, attribute Attribute }
 */
#ifndef EST_CSRATTRS_H
#define EST_CSRATTRS_H

#include "base/key.h"

#define EST_CSRATTRS_MAX 64 /* entries */

#define EST_OID_ATTESTATION        "1.2.840.113549.1.9.16.2.59" /* id-aa-attestation */
#define EST_OID_REQUEST_TEMPLATE   "1.2.840.113549.1.9.16.2.61" /* id-aa-certificationRequestInfoTemplate */
#define EST_OID_EXTENSION_TEMPLATE "1.2.840.113549.1.9.16.2.62" /* id-aa-extensionReqTemplate */

/*
 * Encode the attributes a label asks for, each a text of one of these forms:
 *   "challengePassword", "1.2.840.113549.1.9.7"    an OID alone, by name or dotted
 *   "attestation"                                  evidence is asked for (id-aa-attestation)
 *   "ecPublicKey=secp384r1"                        an attribute with OID values, comma-separated
 *   "extensionRequest=subjectAltName,keyUsage"     the same
 *   "rsaEncryption=int:3072"                       an attribute with one INTEGER (RFC 9908, section 3.2)
 *   "1.3.6.1.1.1.1.22=utf8:text"                   an attribute with one UTF8String
 * Appended to out as DER (0 entries: an empty SEQUENCE). ERR_MALFORMED names
 * the entry that is none of these.
 */
MUST_USE int est_csrattrs_encode(const char *const *entries, size_t count, struct buf *out, struct err *e);

#define EST_TEMPLATE_LIST_MAX 32

/* Kinds of subject alternative names. */
#define EST_SAN_EMAIL 1u
#define EST_SAN_DNS   2u
#define EST_SAN_URI   4u
#define EST_SAN_IP    8u

/* What a request should hold, as plain data. OIDs are dotted. All texts are borrowed; zero demands nothing. */
struct est_csr_template {
	struct est_template_rdn {
		const char *oid;
		const char *value; /* UTF-8; NULL: the client fills it in */
	} subject[EST_TEMPLATE_LIST_MAX]; /* one attribute each, in order */
	size_t subject_count;
	enum key_kind key;         /* KEY_OTHER: any */
	int rsa_bits;              /* KEY_RSA: 0, or the modulus's size from RSA_BITS_MIN to RSA_BITS_MAX */
	unsigned sans;             /* EST_SAN_*, one name of each kind, which the client fills in */
	unsigned key_usage;        /* bits as in RFC 5280, section 4.2.1.3: bit 0 (1u) is digitalSignature */
	const char *eku[EST_TEMPLATE_LIST_MAX];
	size_t eku_count;
	const char *extensions[EST_TEMPLATE_LIST_MAX]; /* others, whose values the client knows */
	size_t extension_count;
	const char *attributes[EST_TEMPLATE_LIST_MAX]; /* of the request: challengePassword's OID, EST_OID_ATTESTATION */
	size_t attribute_count;
};

/*
 * One CsrAttrs with a CertificationRequestInfoTemplate (RFC 9908, section 3.4) and, for
 * clients that do not know those, entries as above behind it. Clients that do ignore the
 * entries, so whatever counts stands in both. template NULL: as est_csrattrs_encode().
 * Extensions are an extensionRequest when every value is known, else an extensionReqTemplate.
 *
 * ERR_MALFORMED  a bad entry or OID, or a value that is no text   ERR_LIMIT  more than the limits above
 */
MUST_USE int est_csrattrs_template(const struct est_csr_template *template, const char *const *entries, size_t count,
	struct buf *out, struct err *e);

/*
 * Decode for people (devsim): one line of text per entry, names where OpenSSL
 * knows them, appended to out; a template is one line and an indented one for each demand.
 * ERR_MALFORMED when it is not one DER CsrAttrs, or a template in it is none; ERR_LIMIT past EST_CSRATTRS_MAX entries.
 */
MUST_USE int est_csrattrs_decode(struct bytes der, struct buf *out, struct err *e);

/*
 * Whether an entry is this OID (dotted) or an attribute of this type, for
 * clients that obey. OIDs that are only values do not count. Malformed input is "no".
 * Where there is a template it alone counts: the types of its subject, its key's
 * algorithm, its extensions and its attributes.
 */
bool est_csrattrs_asks(struct bytes der, const char *dotted);

#endif
