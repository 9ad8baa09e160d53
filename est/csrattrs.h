/*
 * csrattrs.h - the CSR Attributes answer (RFC 7030, section 4.5.2; RFC 8951, section 4).
 *
 * CsrAttrs ::= SEQUENCE SIZE (0..MAX) OF AttrOrOID
 * AttrOrOID ::= CHOICE { oid OBJECT IDENTIFIER, attribute Attribute }
 */
#ifndef EST_CSRATTRS_H
#define EST_CSRATTRS_H

#include "base/ossl.h"

#define EST_CSRATTRS_MAX 64 /* entries */

/*
 * Encode the attributes a label asks for, each a text of one of these forms:
 *   "challengePassword", "1.2.840.113549.1.9.7"    an OID alone, by name or dotted
 *   "ecPublicKey=secp384r1"                        an attribute with OID values, comma-separated
 *   "extensionRequest=subjectAltName,keyUsage"     the same
 *   "1.3.6.1.1.1.1.22=utf8:text"                   an attribute with one UTF8String
 * Appended to out as DER (0 entries: an empty SEQUENCE). ERR_MALFORMED names
 * the entry that is none of these.
 */
MUST_USE int est_csrattrs_encode(const char *const *entries, size_t count, struct buf *out, struct err *e);

/*
 * Decode for people (devsim): one line of text per entry, names where OpenSSL
 * knows them, appended to out. ERR_MALFORMED when it is not one DER CsrAttrs;
 * ERR_LIMIT past EST_CSRATTRS_MAX entries.
 */
MUST_USE int est_csrattrs_decode(struct bytes der, struct buf *out, struct err *e);

/*
 * Whether an entry is this OID (dotted) or an attribute of this type, for
 * clients that obey. OIDs that are only values do not count. Malformed input is "no".
 */
bool est_csrattrs_asks(struct bytes der, const char *dotted);

#endif
