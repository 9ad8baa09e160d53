/*
 * template.h - from template text to a bound value. Internal to policy/.
 *
 * The template's structure is read from the template only; what a field holds
 * is appended as it is (or percent-encoded) and never read again.
 */
#ifndef POLICY_TEMPLATE_H
#define POLICY_TEMPLATE_H

#include "policy/profile.h"
#include "policy/syntax.h"

#define TEMPLATE_FIELDS 9

/* What the fields stand for; borrowed. */
struct template_values {
	const char *at[TEMPLATE_FIELDS];
	bool sample; /* placeholders, for checking a template without an asset */
};

void template_values_of(struct template_values *out, const struct asset *asset, const struct owner *owner);
/* Every field is "x". */
void template_values_sample(struct template_values *out);

struct template_result {
	bool has_fields;
	bool missing; /* a field is empty: nothing was bound */
};

/*
 * Expand one template into out. percent: field values are percent-encoded.
 *
 * ERR_MALFORMED  the template itself: an unknown field, a stray brace
 * ERR_DENIED     the result does not fit
 */
MUST_USE int template_expand(struct bytes text, const struct template_values *values, bool percent, char *out,
	size_t size, struct template_result *result, struct err *e);

/*
 * Take the next "TYPE=value" off a subject template: *type is the name or OID,
 * *value its template. 1, 0 at the end, or -1 with ERR_MALFORMED.
 */
MUST_USE int template_next_rdn(struct cursor *subject, char type[OID_TEXT_MAX], struct bytes *value, struct err *e);

/* Split "dns:..." at its first colon. ERR_MALFORMED: not dns, uri, ip or email. */
MUST_USE int template_san_type(const char *san, enum spec_san_type *type, struct bytes *value, struct err *e);

#endif
