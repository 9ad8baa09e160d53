#include "est/csrattrs_template.h"

#include <openssl/asn1t.h>
#include <openssl/err.h>
#include <openssl/objects.h>

#include "base/key.h"

/* RFC 9908, section 3.4. (The macros want type names, hence the typedefs.) */
typedef struct {
	X509_ALGOR *algorithm;
	ASN1_BIT_STRING *key;
} KEY_TEMPLATE;

ASN1_SEQUENCE(KEY_TEMPLATE) = {
	ASN1_SIMPLE(KEY_TEMPLATE, algorithm, X509_ALGOR),
	ASN1_OPT(KEY_TEMPLATE, key, ASN1_BIT_STRING),
} static_ASN1_SEQUENCE_END(KEY_TEMPLATE)

typedef struct {
	ASN1_INTEGER *version;
	ASN1_STRING *subject; /* RDNSequenceTemplate as octets */
	KEY_TEMPLATE *key;
	STACK_OF(X509_ATTRIBUTE) *attributes;
} INFO_TEMPLATE;

ASN1_SEQUENCE(INFO_TEMPLATE) = {
	ASN1_SIMPLE(INFO_TEMPLATE, version, ASN1_INTEGER),
	ASN1_OPT(INFO_TEMPLATE, subject, ASN1_SEQUENCE),
	ASN1_IMP_OPT(INFO_TEMPLATE, key, KEY_TEMPLATE, 0),
	ASN1_IMP_SET_OF(INFO_TEMPLATE, attributes, X509_ATTRIBUTE, 1),
} static_ASN1_SEQUENCE_END(INFO_TEMPLATE)

typedef struct {
	ASN1_OBJECT *oid;
	ASN1_BOOLEAN critical;
	ASN1_OCTET_STRING *value;
} EXTENSION_TEMPLATE;

ASN1_SEQUENCE(EXTENSION_TEMPLATE) = {
	ASN1_SIMPLE(EXTENSION_TEMPLATE, oid, ASN1_OBJECT),
	ASN1_OPT(EXTENSION_TEMPLATE, critical, ASN1_FBOOLEAN),
	ASN1_OPT(EXTENSION_TEMPLATE, value, ASN1_OCTET_STRING),
} static_ASN1_SEQUENCE_END(EXTENSION_TEMPLATE)

static void
info_free(INFO_TEMPLATE *info)
{
	ASN1_item_free((ASN1_VALUE *)info, ASN1_ITEM_rptr(INFO_TEMPLATE));
}
DEFINE_CLEANUP(info, INFO_TEMPLATE *, info_free);

static void
extension_free(EXTENSION_TEMPLATE *extension)
{
	ASN1_item_free((ASN1_VALUE *)extension, ASN1_ITEM_rptr(EXTENSION_TEMPLATE));
}
DEFINE_CLEANUP(extension, EXTENSION_TEMPLATE *, extension_free);

/* Called for each demand of a template. value may be NULL; what is subject, key, extension or attribute. */
struct visitor {
	void (*demand)(struct visitor *v, const char *what, const ASN1_OBJECT *oid, const ASN1_TYPE *value,
		const char *detail);
	struct buf *out;
	const ASN1_OBJECT *wanted;
	bool found;
};

static bool
is_oid(const ASN1_OBJECT *object, const char *dotted)
{
	char text[128] = "";

	return OBJ_obj2txt(text, sizeof text, object, 1) > 0 && bytes_equal_text(bytes_of_text(text), dotted);
}

bool
csrattrs_is_template(const X509_ATTRIBUTE *attribute)
{
	/* The getter takes no pointer to const, and changes nothing. */
	union {
		const X509_ATTRIBUTE *in;
		X509_ATTRIBUTE *out;
	} same = { attribute };

	return is_oid(X509_ATTRIBUTE_get0_object(same.out), EST_OID_REQUEST_TEMPLATE);
}

static STACK_OF(ASN1_TYPE) *
any_of(const ASN1_TYPE *type, int tag)
{
	STACK_OF(ASN1_TYPE) *any = NULL;
	struct bytes der;
	const uint8_t *p;

	if (type->type != tag)
		return NULL;
	der = csrattrs_octets(type->value.asn1_string);
	p = der.at;
	any = tag == V_ASN1_SET ? d2i_ASN1_SET_ANY(NULL, &p, (long)der.len)
				: d2i_ASN1_SEQUENCE_ANY(NULL, &p, (long)der.len);
	ERR_clear_error();
	if (any != NULL && p != der.at + der.len) {
		any_stack_free(any);
		return NULL;
	}
	return any;
}

/* SingleAttributeTemplate ::= SEQUENCE { type OBJECT IDENTIFIER, value ANY OPTIONAL } */
static int
visit_pair(struct visitor *v, const ASN1_TYPE *pair, struct err *e)
{
	CLEANUP(any_stack) STACK_OF(ASN1_TYPE) *fields = any_of(pair, V_ASN1_SEQUENCE);
	int n = sk_ASN1_TYPE_num(fields);

	if (n < 1 || n > 2 || sk_ASN1_TYPE_value(fields, 0)->type != V_ASN1_OBJECT)
		return err_set(e, ERR_MALFORMED, "its subject");
	v->demand(v, "subject", sk_ASN1_TYPE_value(fields, 0)->value.object,
		n == 2 ? sk_ASN1_TYPE_value(fields, 1) : NULL, "");
	return 0;
}

static int
visit_rdn(struct visitor *v, const ASN1_TYPE *rdn, struct err *e)
{
	CLEANUP(any_stack) STACK_OF(ASN1_TYPE) *pairs = any_of(rdn, V_ASN1_SET);
	int i;

	if (sk_ASN1_TYPE_num(pairs) < 1)
		return err_set(e, ERR_MALFORMED, "its subject");
	for (i = 0; i < sk_ASN1_TYPE_num(pairs); i++)
		if (visit_pair(v, sk_ASN1_TYPE_value(pairs, i), e) != 0)
			return -1;
	return 0;
}

static int
visit_subject(struct visitor *v, ASN1_STRING *subject, struct err *e)
{
	ASN1_TYPE whole = { .type = V_ASN1_SEQUENCE, .value.sequence = subject };
	CLEANUP(any_stack) STACK_OF(ASN1_TYPE) *rdns = NULL;
	int i;

	if (subject == NULL)
		return 0;
	rdns = any_of(&whole, V_ASN1_SEQUENCE);
	if (rdns == NULL)
		return err_set(e, ERR_MALFORMED, "its subject");
	for (i = 0; i < sk_ASN1_TYPE_num(rdns); i++)
		if (visit_rdn(v, sk_ASN1_TYPE_value(rdns, i), e) != 0)
			return -1;
	return 0;
}

/* " of 3072 bits" when the placeholder is an RSA key; its octets alone say the size. */
static void
placeholder_text(const KEY_TEMPLATE *key, struct buf *out)
{
	struct bytes der = key->key == NULL ? bytes_of(NULL, 0) : csrattrs_octets(key->key);
	STACK_OF(ASN1_TYPE) *fields = NULL;
	const uint8_t *p = der.at;
	const ASN1_TYPE *modulus;

	if (der.len > 0)
		fields = d2i_ASN1_SEQUENCE_ANY(NULL, &p, (long)der.len);
	ERR_clear_error();
	modulus = sk_ASN1_TYPE_num(fields) == 2 ? sk_ASN1_TYPE_value(fields, 0) : NULL;
	if (modulus != NULL && modulus->type == V_ASN1_INTEGER) {
		BIGNUM *n = ASN1_INTEGER_to_BN(modulus->value.integer, NULL);

		if (n != NULL)
			buf_printf(out, " of %d bits", BN_num_bits(n));
		BN_free(n);
	}
	any_stack_free(fields);
}

static void
visit_key(struct visitor *v, const KEY_TEMPLATE *key)
{
	CLEANUP(buf) struct buf detail = { 0 };
	ASN1_TYPE parameter = { .type = V_ASN1_OBJECT };
	const ASN1_OBJECT *algorithm;
	const void *value;
	int type;

	if (key == NULL)
		return;
	X509_ALGOR_get0(&algorithm, &type, &value, key->algorithm);
	if (type == V_ASN1_OBJECT)
		parameter.value.object = key->algorithm->parameter->value.object;
	placeholder_text(key, &detail);
	v->demand(v, "key", algorithm, type == V_ASN1_OBJECT ? &parameter : NULL, buf_text(&detail));
}

static int
visit_extension(struct visitor *v, const ASN1_TYPE *type, struct err *e)
{
	CLEANUP(extension) EXTENSION_TEMPLATE *extension = NULL;
	ASN1_TYPE value = { .type = V_ASN1_OCTET_STRING };
	struct bytes der;
	const uint8_t *p;

	if (type->type != V_ASN1_SEQUENCE)
		return err_set(e, ERR_MALFORMED, "its extensions");
	der = csrattrs_octets(type->value.sequence);
	p = der.at;
	extension = (EXTENSION_TEMPLATE *)ASN1_item_d2i(NULL, &p, (long)der.len, ASN1_ITEM_rptr(EXTENSION_TEMPLATE));
	if (extension == NULL || p != der.at + der.len)
		return err_ossl(e, ERR_MALFORMED, "its extensions");
	value.value.octet_string = extension->value;
	v->demand(v, "extension", extension->oid, extension->value == NULL ? NULL : &value,
		extension->critical ? ", critical" : "");
	return 0;
}

static int
visit_extensions(struct visitor *v, X509_ATTRIBUTE *attribute, struct err *e)
{
	CLEANUP(any_stack) STACK_OF(ASN1_TYPE) *list = NULL;
	int i;

	if (X509_ATTRIBUTE_count(attribute) != 1)
		return err_set(e, ERR_MALFORMED, "its extensions have %d values, not one", X509_ATTRIBUTE_count(attribute));
	list = any_of(X509_ATTRIBUTE_get0_type(attribute, 0), V_ASN1_SEQUENCE);
	if (list == NULL)
		return err_set(e, ERR_MALFORMED, "its extensions");
	for (i = 0; i < sk_ASN1_TYPE_num(list); i++)
		if (visit_extension(v, sk_ASN1_TYPE_value(list, i), e) != 0)
			return -1;
	return 0;
}

static int
visit_attribute(struct visitor *v, X509_ATTRIBUTE *attribute, struct err *e)
{
	const ASN1_OBJECT *oid = X509_ATTRIBUTE_get0_object(attribute);

	if (is_oid(oid, EST_OID_EXTENSION_TEMPLATE) || OBJ_obj2nid(oid) == NID_ext_req)
		return visit_extensions(v, attribute, e);
	v->demand(v, "attribute", oid,
		X509_ATTRIBUTE_count(attribute) == 1 ? X509_ATTRIBUTE_get0_type(attribute, 0) : NULL, "");
	return 0;
}

static int
visit(struct visitor *v, X509_ATTRIBUTE *attribute, struct err *e)
{
	CLEANUP(info) INFO_TEMPLATE *info = NULL;
	struct bytes der;
	const uint8_t *p;
	int i;

	if (X509_ATTRIBUTE_count(attribute) != 1 ||
	    X509_ATTRIBUTE_get0_type(attribute, 0)->type != V_ASN1_SEQUENCE)
		return err_set(e, ERR_MALFORMED, "not one SEQUENCE");
	der = csrattrs_octets(X509_ATTRIBUTE_get0_type(attribute, 0)->value.sequence);
	p = der.at;
	info = (INFO_TEMPLATE *)ASN1_item_d2i(NULL, &p, (long)der.len, ASN1_ITEM_rptr(INFO_TEMPLATE));
	if (info == NULL || p != der.at + der.len)
		return err_ossl(e, ERR_MALFORMED, "it does not decode");
	/* RFC 9908, section 3.4: the version MUST be v1. */
	if (ASN1_INTEGER_get(info->version) != 0)
		return err_set(e, ERR_MALFORMED, "of a version other than 0");
	if (visit_subject(v, info->subject, e) != 0)
		return -1;
	visit_key(v, info->key);
	for (i = 0; i < sk_X509_ATTRIBUTE_num(info->attributes); i++)
		if (visit_attribute(v, sk_X509_ATTRIBUTE_value(info->attributes, i), e) != 0)
			return -1;
	return 0;
}

static void
print_demand(struct visitor *v, const char *what, const ASN1_OBJECT *oid, const ASN1_TYPE *value, const char *detail)
{
	buf_printf(v->out, "  %s ", what);
	csrattrs_print_object(oid, v->out);
	buf_append_text(v->out, detail);
	if (value != NULL) {
		buf_append_text(v->out, " = ");
		csrattrs_print_value(value, v->out);
	}
	buf_append_u8(v->out, '\n');
}

int
csrattrs_template_print(X509_ATTRIBUTE *attribute, struct buf *out, struct err *e)
{
	struct visitor v = { .demand = print_demand, .out = out };

	csrattrs_print_object(X509_ATTRIBUTE_get0_object(attribute), out);
	buf_append_u8(out, '\n');
	return visit(&v, attribute, e) != 0 ? err_prefix(e, "CSR attributes: the template") : 0;
}

static void
compare_demand(struct visitor *v, const char *what, const ASN1_OBJECT *oid, const ASN1_TYPE *value,
	const char *detail)
{
	(void)what;
	(void)value;
	(void)detail;
	v->found = v->found || OBJ_cmp(oid, v->wanted) == 0;
}

int
csrattrs_template_asks(X509_ATTRIBUTE *attribute, const ASN1_OBJECT *wanted)
{
	struct visitor v = { .demand = compare_demand, .wanted = wanted };
	struct err ignored;

	return visit(&v, attribute, &ignored) != 0 ? -1 : v.found;
}
