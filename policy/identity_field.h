/*
 * identity_field.h - one identity field of a certificate as clean text. Internal to policy/.
 */
#ifndef POLICY_IDENTITY_FIELD_H
#define POLICY_IDENTITY_FIELD_H

#include "policy/identity.h"

#define IDENTITY_FIELDS (IDENTITY_SPKI_SHA256 + 1)

/* A certificate being read; the SAN is decoded at most once. Free with identity_source_clear(). */
struct identity_source {
	const X509 *cert;
	GENERAL_NAMES *sans;
	bool sans_read;
};

void identity_source_clear(struct identity_source *source);

/*
 * Read one field. *present says whether the certificate has it.
 *
 * ERR_MALFORMED  two different values, an empty or too long one, or not clean text
 */
MUST_USE int identity_field_read(struct identity_source *source, enum identity_field field,
	char out[REG_VALUE_MAX], bool *present, struct err *e);

/* Lower-case ASCII, and ":" "-" "." dropped where two hex digits stand on either side; in place. */
void anchor_fold(char *value);

#endif
