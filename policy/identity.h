/*
 * identity.h - from a verified certificate to an asset anchor, by per-vendor rules.
 *
 * A Cisco SUDI says "PID:... SN:..." in serialNumber, others put the MAC in
 * the common name or a hardwareModuleName (RFC 4108, section 5) in a SAN
 * otherName. So a rule names a field and a pattern with one capture, and belongs
 * to one trust set: a manufacturer speaks for its own serials only.
 */
#ifndef POLICY_IDENTITY_H
#define POLICY_IDENTITY_H

#include "base/ossl.h"
#include "policy/record.h"

enum identity_field {
	IDENTITY_SUBJECT_SERIAL,   /* subject.serialNumber (2.5.4.5) */
	IDENTITY_SUBJECT_CN,
	IDENTITY_SUBJECT_UID,
	IDENTITY_SAN_DNS,
	IDENTITY_SAN_URI,
	IDENTITY_SAN_EMAIL,
	IDENTITY_SAN_HW_MODULE,    /* otherName id-on-hardwareModuleName: "<hwType dotted>:<hwSerialNum hex>" */
	IDENTITY_SAN_HW_SERIAL,    /* its hwSerialNum alone, where that is text; malformed where it is not */
	IDENTITY_SAN_PERMANENT_ID, /* otherName id-on-permanentIdentifier: its identifierValue */
	IDENTITY_CERT_SERIAL,      /* the certificate's own serial number, lower-case hex */
	IDENTITY_SPKI_SHA256,      /* lower-case hex */
};
const char *identity_field_name(enum identity_field field);
int identity_field_of(const char *name); /* -1: unknown */

#define IDENTITY_PATTERN_MAX 160
#define IDENTITY_RULES_MAX   1024

struct identity_rule {
	char name[REG_TEXT_MAX];
	char trust[REG_TEXT_MAX];            /* the trust set it belongs to; becomes the anchor's issuer */
	enum identity_field field;
	char pattern[IDENTITY_PATTERN_MAX];  /* POSIX extended regular expression over the whole value, one (group) */
	enum anchor_type anchor;
	bool fold_case;                      /* lower-case the captured value, and drop ":" "-" "." between hex pairs */
};

/* A compiled rule; identity_rules_free() at the end. Matching is thread-safe. */
struct identity_rules;
MUST_USE int identity_rules_new(const struct identity_rule *rules, size_t count, struct identity_rules **out,
	struct err *e); /* ERR_MALFORMED: which rule's pattern does not compile or has not one group */
void identity_rules_free(struct identity_rules *rules);

/*
 * The anchors a certificate proves, by every rule of this trust set whose field
 * is there and matches, normalised, each once. At most max; *count says how many
 * (0 is no error). More than max is ERR_LIMIT: a dropped anchor could hide that
 * the certificate names two assets. out is scratch on failure.
 * A field that occurs twice with different values, holds a NUL or is not clean
 * text is ERR_MALFORMED, and so is a captured value its anchor type cannot have.
 */
MUST_USE int identity_extract(const struct identity_rules *rules, const char *trust, const X509 *cert,
	struct anchor *out, size_t max, size_t *count, struct err *e);

/*
 * The same for names alone, such as those of a request that an MDM vouched for: rules that
 * read the certificate's serial number or key do not match. subject and sans may be NULL.
 */
MUST_USE int identity_extract_names(const struct identity_rules *rules, const char *trust, const X509_NAME *subject,
	const GENERAL_NAMES *sans, struct anchor *out, size_t max, size_t *count, struct err *e);

/*
 * Normalise an imported value the way the rules of that anchor type do (trim,
 * fold): ek_pub_sha256 and spki_sha256 become 64 lower-case hex digits, imei 14
 * to 16 digits, a hw_module of the form "<dotted>:<hex>" lower-case; the others
 * keep their case. ERR_MALFORMED: empty, or not what its type holds.
 */
MUST_USE int anchor_normalise(struct anchor *anchor, struct err *e);

/*
 * Fold an imported value as the rules of its issuer's trust set do: when every
 * rule there that gives this anchor type has fold_case. Else it stays as it is.
 */
void identity_fold(const struct identity_rules *rules, struct anchor *anchor);

#endif
