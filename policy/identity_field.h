/*
 * identity_field.h - one identity field of a certificate, or of names alone, as clean text. Internal to policy/.
 */
#ifndef POLICY_IDENTITY_FIELD_H
#define POLICY_IDENTITY_FIELD_H

#include "policy/identity.h"

#define IDENTITY_FIELDS (IDENTITY_SPKI_SHA256 + 1)

/* What is being read; a certificate's SAN is decoded at most once. Free with identity_source_clear(). */
struct identity_source {
	const X509 *cert;          /* NULL: names alone */
	const X509_NAME *subject;  /* borrowed; NULL: none */
	const GENERAL_NAMES *sans; /* NULL: none, or not read yet */
	GENERAL_NAMES *decoded;    /* the certificate's, owned; sans is the same */
	bool sans_read;
};

struct identity_source identity_source_of_cert(const X509 *cert);
struct identity_source identity_source_of_names(const X509_NAME *subject, const GENERAL_NAMES *sans);
void identity_source_clear(struct identity_source *source);

/*
 * Read one field. *present says whether it is there; names alone have neither serial number nor key.
 *
 * ERR_MALFORMED  two different values, an empty or too long one, or not clean text
 */
MUST_USE int identity_field_read(struct identity_source *source, enum identity_field field,
	char out[REG_VALUE_MAX], bool *present, struct err *e);

/* Lower-case ASCII, and ":" "-" "." dropped where two hex digits stand on either side; in place. */
void anchor_fold(char *value);

#endif
