#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

#include "policy/decide_rules.h"
#include "policy/syntax.h"

#define KEY_USAGE_CERT_SIGN 5
#define KEY_USAGE_CRL_SIGN  6

/* The judgement on one CSR's extensions; why stays NULL as long as all is well. */
struct extensions {
	const struct profile *profile;
	const char *why;     /* the first objection; static */
	char oid[OID_TEXT_MAX]; /* what it is about, when that is not clear; else "" */
	char ignored[OID_TEXT_MAX]; /* the first unknown one */
	int ignored_count;
};

static void
object(struct extensions *x, const char *why, const ASN1_OBJECT *about)
{
	if (x->why != NULL)
		return;
	x->why = why;
	if (about == NULL || OBJ_obj2txt(x->oid, sizeof x->oid, about, 1) <= 0)
		x->oid[0] = '\0';
}

static struct bytes
value_of(X509_EXTENSION *extension)
{
	const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(extension);

	return bytes_of(ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
}

static void
judge_constraints(struct extensions *x, struct bytes value)
{
	const uint8_t *p = value.at;
	BASIC_CONSTRAINTS *constraints = d2i_BASIC_CONSTRAINTS(NULL, &p, (long)value.len);

	if (constraints == NULL || p != value.at + value.len)
		object(x, "basicConstraints does not decode", NULL);
	else if (constraints->ca)
		object(x, "it asks to be a CA", NULL);
	BASIC_CONSTRAINTS_free(constraints);
}

static void
judge_usage(struct extensions *x, struct bytes value)
{
	const uint8_t *p = value.at;
	ASN1_BIT_STRING *bits = d2i_ASN1_BIT_STRING(NULL, &p, (long)value.len);
	int bit;

	/* Nine bits are defined (RFC 5280, section 4.2.1.3). */
	if (bits == NULL || p != value.at + value.len || ASN1_STRING_length(bits) > 2)
		object(x, "keyUsage does not decode", NULL);
	for (bit = 0; x->why == NULL && bit < 16; bit++) {
		if (!ASN1_BIT_STRING_get_bit(bits, bit))
			continue;
		if (bit == KEY_USAGE_CERT_SIGN || bit == KEY_USAGE_CRL_SIGN)
			object(x, "it asks to sign certificates or CRLs", NULL);
		else if ((x->profile->key_usage & 1u << bit) == 0)
			object(x, "it asks for a key usage that the profile does not give", NULL);
	}
	ASN1_BIT_STRING_free(bits);
}

static bool
profile_has_eku(const struct profile *profile, const char *oid)
{
	size_t i;

	for (i = 0; i < profile->eku_count && i < PROFILE_NAMES_MAX; i++)
		if (strcmp(profile->eku[i], oid) == 0)
			return true;
	return false;
}

static void
judge_purpose(struct extensions *x, const ASN1_OBJECT *purpose)
{
	char oid[OID_TEXT_MAX];
	int n;

	if (OBJ_obj2nid(purpose) == NID_anyExtendedKeyUsage) {
		object(x, "it asks for every extended key usage", NULL);
		return;
	}
	n = OBJ_obj2txt(oid, sizeof oid, purpose, 1);
	if (n <= 0 || (size_t)n >= sizeof oid || !profile_has_eku(x->profile, oid))
		object(x, "it asks for an extended key usage that the profile does not give", purpose);
}

static void
judge_purposes(struct extensions *x, struct bytes value)
{
	const uint8_t *p = value.at;
	EXTENDED_KEY_USAGE *purposes = d2i_EXTENDED_KEY_USAGE(NULL, &p, (long)value.len);
	int i;

	if (purposes == NULL || p != value.at + value.len || sk_ASN1_OBJECT_num(purposes) == 0)
		object(x, "extendedKeyUsage does not decode or is empty", NULL);
	for (i = 0; x->why == NULL && i < sk_ASN1_OBJECT_num(purposes); i++)
		judge_purpose(x, sk_ASN1_OBJECT_value(purposes, i));
	EXTENDED_KEY_USAGE_free(purposes);
}

static void
judge_unknown(struct extensions *x, X509_EXTENSION *extension)
{
	const ASN1_OBJECT *type = X509_EXTENSION_get_object(extension);

	if (X509_EXTENSION_get_critical(extension)) {
		object(x, "it asks for a critical extension that is not known here", type);
		return;
	}
	if (x->ignored_count++ == 0)
		(void)OBJ_obj2txt(x->ignored, sizeof x->ignored, type, 1);
}

static void
judge(struct extensions *x, const struct csr_facts *csr, X509_EXTENSION *extension)
{
	switch (OBJ_obj2nid(X509_EXTENSION_get_object(extension))) {
	case NID_basic_constraints:
		judge_constraints(x, value_of(extension));
		return;
	case NID_key_usage:
		judge_usage(x, value_of(extension));
		return;
	case NID_ext_key_usage:
		judge_purposes(x, value_of(extension));
		return;
	case NID_subject_alt_name:
		/* Decoded by the caller; csr.names looks inside. */
		if (csr->sans == NULL)
			object(x, "subjectAltName does not decode", NULL);
		return;
	default:
		judge_unknown(x, extension);
	}
}

/* RFC 5280, section 4.2: "A certificate MUST NOT include more than one instance of a particular extension." */
static bool
occurs_before(const STACK_OF(X509_EXTENSION) *extensions, int at)
{
	const ASN1_OBJECT *type = X509_EXTENSION_get_object(sk_X509_EXTENSION_value(extensions, at));
	int i;

	for (i = 0; i < at; i++)
		if (OBJ_cmp(X509_EXTENSION_get_object(sk_X509_EXTENSION_value(extensions, i)), type) == 0)
			return true;
	return false;
}

static void
judge_all(struct extensions *x, const struct csr_facts *csr)
{
	int count = csr->extensions == NULL ? 0 : sk_X509_EXTENSION_num(csr->extensions);
	int i;

	if (count > CSR_EXTENSIONS_MAX) {
		object(x, "there are too many", NULL);
		return;
	}
	for (i = 0; x->why == NULL && i < count; i++) {
		X509_EXTENSION *extension = sk_X509_EXTENSION_value(csr->extensions, i);

		if (occurs_before(csr->extensions, i))
			object(x, "one of them occurs twice", X509_EXTENSION_get_object(extension));
		else
			judge(x, csr, extension);
	}
	ERR_clear_error();
}

/* Nothing is copied from a CSR's extensions, but a device that asks for what it must not have is refused. */
void
decide_extensions(struct decision_run *run)
{
	const struct csr_facts *csr = run->in->csr;
	struct extensions x = { .profile = run->in->profile };
	struct rule_result *r = rule_begin(run, "csr.extensions");
	int count = csr->extensions == NULL ? 0 : sk_X509_EXTENSION_num(csr->extensions);

	if (count > 0)
		judge_all(&x, csr);
	if (x.why != NULL) {
		rule_saw(r, "extensions=%d; %s%s%s", count, x.why, x.oid[0] == '\0' ? "" : ": ", x.oid);
		rule_fail(run, r, "the request's extensions: %s%s%s", x.why, x.oid[0] == '\0' ? "" : ": ", x.oid);
		return;
	}
	if (x.ignored_count > 0)
		rule_saw(r, "extensions=%d; ignored: %s%s", count, x.ignored,
			x.ignored_count > 1 ? " and others" : "");
	else
		rule_saw(r, "extensions=%d", count);
	rule_pass(r);
}
