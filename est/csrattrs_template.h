/*
 * csrattrs_template.h - RFC 9908's CertificationRequestInfoTemplate, read, and what csrattrs.c shares for it. Internal to est/.
 */
#ifndef EST_CSRATTRS_TEMPLATE_H
#define EST_CSRATTRS_TEMPLATE_H

#include "est/csrattrs.h"

DEFINE_CLEANUP(ASN1_OBJECT, ASN1_OBJECT *, ASN1_OBJECT_free);
DEFINE_CLEANUP(X509_ATTRIBUTE, X509_ATTRIBUTE *, X509_ATTRIBUTE_free);

static inline void
any_stack_free(STACK_OF(ASN1_TYPE) *any)
{
	sk_ASN1_TYPE_pop_free(any, ASN1_TYPE_free);
}
DEFINE_CLEANUP(any_stack, STACK_OF(ASN1_TYPE) *, any_stack_free);

/* The octets of a value that is kept whole: a SEQUENCE, or any string. */
static inline struct bytes
csrattrs_octets(const ASN1_STRING *s)
{
	return bytes_of(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
}

/* csrattrs_encode.c: the attribute, appended to out. ERR_MALFORMED, ERR_LIMIT. */
MUST_USE int csrattrs_template_put(const struct est_csr_template *template, struct buf *out, struct err *e);

/* csrattrs.c: a name people know, else dotted text; a value. Both appended to out. */
void csrattrs_print_object(const ASN1_OBJECT *object, struct buf *out);
void csrattrs_print_value(const ASN1_TYPE *value, struct buf *out);

/* csrattrs_template.c. Is this attribute a template? */
bool csrattrs_is_template(const X509_ATTRIBUTE *attribute);

/*
 * The template in an attribute, as lines of text for people, appended to out.
 * ERR_MALFORMED: not exactly one value, or not a template of version 0.
 */
MUST_USE int csrattrs_template_print(X509_ATTRIBUTE *attribute, struct buf *out, struct err *e);

/* Whether it asks for this: an RDN type, the key's algorithm, an extension, an attribute. 1 yes, 0 no, -1 malformed. */
int csrattrs_template_asks(X509_ATTRIBUTE *attribute, const ASN1_OBJECT *wanted);

#endif
