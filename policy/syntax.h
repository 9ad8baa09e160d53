/*
 * syntax.h - what a name in a certificate may look like. Internal to policy/.
 *
 * Arguments are NUL-terminated; nothing is changed unless it says so.
 */
#ifndef POLICY_SYNTAX_H
#define POLICY_SYNTAX_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/objects.h>

#include "base/bytes.h"

#define DNS_LABEL_MAX 63
#define DNS_NAME_MAX  253
#define OID_TEXT_MAX  64 /* with the final NUL */

/* Dotted decimal, 2 arcs or more, each at most 2^28 - 1, without leading zeros, shorter than OID_TEXT_MAX. */
bool oid_is_dotted(const char *text);

/* Letters, digits and inner hyphens (RFC 1034, section 3.5); no wildcard, no final dot, not an IPv4 address. */
bool dns_is_name(const char *text);
/* A scheme, a colon and at least one more of the characters of RFC 3986, section 2; "%" only before two hex digits. */
bool uri_is_valid(const char *text);
/* local@domain, the local part a dot-atom (RFC 5322, section 3.2.3), the domain a DNS name. */
bool email_is_valid(const char *text);
/* The characters of PrintableString (X.680). */
bool printable_is_valid(const char *text);
bool ascii_is_all(const char *text);
void ascii_lower(char *text);
/* The number of characters of a UTF-8 text. */
size_t utf8_characters(const char *text);

enum attribute_syntax {
	ATTRIBUTE_TEXT,      /* any clean UTF-8 */
	ATTRIBUTE_PRINTABLE,
	ATTRIBUTE_COUNTRY,   /* two letters */
	ATTRIBUTE_DOMAIN,    /* one DNS label */
	ATTRIBUTE_EMAIL,
};

/* What is known about one attribute type of a distinguished name. */
struct attribute {
	const char *name; /* "CN" */
	const char *oid;  /* dotted */
	int nid;
	size_t characters_max; /* upper bound (RFC 5280, appendix A.1) */
	enum attribute_syntax syntax;
	bool repeats;     /* may stand in one name more than once */
};

/* By name or dotted OID; NULL: not one of ours. */
const struct attribute *attribute_of(const char *type);
const struct attribute *attribute_of_nid(int nid);

#endif
