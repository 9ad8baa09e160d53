#include "est/csrattrs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/asn1t.h>
#include <openssl/err.h>

#include "base/der.h"
#include "base/text.h"
#include "est/csrattrs_template.h"
#include "est/strict.h"

#define ENTRY_TEXT_MAX 256
#define OID_TEXT_MAX   128
#define VALUES_MAX     32
#define NUMBER_DIGITS_MAX 9
#define VALUE_HEX_MAX  64 /* octets of a value that is shown as hexadecimal */

/* Names that OpenSSL does not know, or spells otherwise than the RFCs. */
static const struct {
	const char *name, *dotted;
} aliases[] = {
	{ "extensionRequest", "1.2.840.113549.1.9.14" },
	{ "ecPublicKey", "1.2.840.10045.2.1" },
	{ "ecdsaWithSHA256", "1.2.840.10045.4.3.2" },
	{ "ecdsaWithSHA384", "1.2.840.10045.4.3.3" },
	{ "ecdsaWithSHA512", "1.2.840.10045.4.3.4" },
	{ "secp256r1", "1.2.840.10045.3.1.7" },
	{ "macAddress", "1.3.6.1.1.1.1.22" },
	{ "decryptKeyIdentifier", "1.2.840.113549.1.9.16.2.37" },
	{ "asymmetricDecryptKeyIdentifier", "1.2.840.113549.1.9.16.2.54" },
	{ "otpChallenge", "1.2.840.113549.1.9.16.2.56" },
	{ "revocationChallenge", "1.2.840.113549.1.9.16.2.57" },
	{ "estIdentityLinking", "1.2.840.113549.1.9.16.2.58" },
	{ "attestation", EST_OID_ATTESTATION },
	{ "certificationRequestInfoTemplate", EST_OID_REQUEST_TEMPLATE },
	{ "extensionReqTemplate", EST_OID_EXTENSION_TEMPLATE },
};

#define ALIASES (sizeof aliases / sizeof aliases[0])

/* OpenSSL also reads "1.2.", "1 2" and "01.2" as dotted text. */
static bool
is_spelled(const ASN1_OBJECT *object, const char *dotted)
{
	char canonical[OID_TEXT_MAX] = "";

	(void)OBJ_obj2txt(canonical, sizeof canonical, object, 1);
	return strcmp(canonical, dotted) == 0;
}

/* NULL when the text is neither a known name nor dotted. */
static ASN1_OBJECT *
object_of(struct bytes text)
{
	char name[OID_TEXT_MAX];
	ASN1_OBJECT *object;
	size_t i;

	if (text.len == 0 || text.len >= sizeof name)
		return NULL;
	memcpy(name, text.at, text.len);
	name[text.len] = '\0';
	for (i = 0; i < ALIASES; i++)
		if (strcmp(name, aliases[i].name) == 0)
			return OBJ_txt2obj(aliases[i].dotted, 1);
	object = OBJ_txt2obj(name, 0);
	ERR_clear_error();
	if (object != NULL && name[0] >= '0' && name[0] <= '9' && !is_spelled(object, name)) {
		ASN1_OBJECT_free(object);
		return NULL;
	}
	return object;
}

static int
put_object(const ASN1_OBJECT *object, struct buf *out, struct err *e)
{
	uint8_t *der = NULL;
	int len = i2d_ASN1_OBJECT(object, &der);

	if (len <= 0)
		return err_ossl(e, ERR_BUG, "encoding an OID");
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	return 0;
}

static int
put_attribute(const X509_ATTRIBUTE *attribute, struct buf *out, struct err *e)
{
	uint8_t *der = NULL;
	int len = i2d_X509_ATTRIBUTE(attribute, &der); /* sorts the SET OF, as DER wants */

	if (len <= 0)
		return err_ossl(e, ERR_BUG, "encoding an attribute");
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	return 0;
}

static int
add_text(X509_ATTRIBUTE *attribute, struct bytes text, struct err *e)
{
	if (text.len == 0 || !text_is_clean(text))
		return err_set(e, ERR_MALFORMED, "the text after utf8: is empty or not clean");
	if (X509_ATTRIBUTE_set1_data(attribute, V_ASN1_UTF8STRING, text.at, (int)text.len) != 1)
		return err_ossl(e, ERR_NOMEM, "attribute value");
	return 0;
}

/* RFC 9908, section 3.2: an RSA key's size is an INTEGER below rsaEncryption. */
static int
add_number(X509_ATTRIBUTE *attribute, const char *text, struct err *e)
{
	ASN1_INTEGER *number = ASN1_INTEGER_new();
	size_t digits = strspn(text, "0123456789");
	int rc = 0;

	if (digits == 0 || digits > NUMBER_DIGITS_MAX || text[digits] != '\0')
		rc = err_set(e, ERR_MALFORMED, "the text after int: is not a number of at most %d digits",
			NUMBER_DIGITS_MAX);
	else if (number == NULL || ASN1_INTEGER_set_uint64(number, strtoul(text, NULL, 10)) != 1 ||
	    X509_ATTRIBUTE_set1_data(attribute, V_ASN1_INTEGER, number, -1) != 1)
		rc = err_ossl(e, ERR_NOMEM, "attribute value");
	ASN1_INTEGER_free(number);
	return rc;
}

/* Comma-separated OIDs. */
static int
add_objects(X509_ATTRIBUTE *attribute, struct bytes list, struct err *e)
{
	struct cursor c = cursor_of(list);
	size_t count = 0;
	bool last;

	do {
		CLEANUP(ASN1_OBJECT) ASN1_OBJECT *value = NULL;
		struct cursor before = c;
		struct bytes text = cursor_until(&c, ',');

		last = c.failed;
		if (last)
			text = bytes_of(before.at, cursor_left(&before));
		value = object_of(text);
		if (value == NULL)
			return err_set(e, ERR_MALFORMED, "value %zu is not an OID or its name", count + 1);
		if (++count > VALUES_MAX)
			return err_set(e, ERR_LIMIT, "more than %d values", VALUES_MAX);
		if (X509_ATTRIBUTE_set1_data(attribute, V_ASN1_OBJECT, value, -1) != 1)
			return err_ossl(e, ERR_NOMEM, "attribute value");
	} while (!last);
	return 0;
}

static int
add_values(X509_ATTRIBUTE *attribute, const char *values, struct err *e)
{
	if (strncmp(values, "utf8:", 5) == 0)
		return add_text(attribute, bytes_of_text(values + 5), e);
	if (strncmp(values, "int:", 4) == 0)
		return add_number(attribute, values + 4, e);
	return add_objects(attribute, bytes_of_text(values), e);
}

static int
put_entry(const char *entry, struct buf *out, struct err *e)
{
	CLEANUP(ASN1_OBJECT) ASN1_OBJECT *type = NULL;
	CLEANUP(X509_ATTRIBUTE) X509_ATTRIBUTE *attribute = NULL;
	const char *equals = strchr(entry, '=');
	size_t type_len = equals == NULL ? strlen(entry) : (size_t)(equals - entry);
	const char *values = equals == NULL ? "" : equals + 1;

	if (strlen(entry) > ENTRY_TEXT_MAX)
		return err_set(e, ERR_MALFORMED, "longer than %d octets", ENTRY_TEXT_MAX);
	type = object_of(bytes_of(entry, type_len));
	if (type == NULL)
		return err_set(e, ERR_MALFORMED, "not an OID or its name");
	if (equals == NULL)
		return put_object(type, out, e);
	attribute = X509_ATTRIBUTE_create_by_OBJ(NULL, type, 0, NULL, 0);
	if (attribute == NULL)
		return err_ossl(e, ERR_NOMEM, "attribute");
	if (csrattrs_is_template(attribute))
		return err_set(e, ERR_MALFORMED, "no list of values makes a template");
	return add_values(attribute, values, e) != 0 ? -1 : put_attribute(attribute, out, e);
}

int
est_csrattrs_template(const struct est_csr_template *template, const char *const *entries, size_t count,
	struct buf *out, struct err *e)
{
	size_t before = out->len, mark, i;

	if (count > EST_CSRATTRS_MAX)
		return err_set(e, ERR_LIMIT, "%zu attributes; at most %d are allowed", count, EST_CSRATTRS_MAX);
	mark = der_begin(out, DER_SEQUENCE);
	if (template != NULL && csrattrs_template_put(template, out, e) != 0) {
		out->len = before;
		return -1;
	}
	for (i = 0; i < count; i++)
		if (put_entry(entries[i], out, e) != 0) {
			out->len = before;
			return err_prefix(e, "\"%.60s\"", entries[i]);
		}
	der_end(out, mark);
	if (buf_failed(out)) {
		out->len = before;
		return err_set(e, ERR_NOMEM, "attributes: no memory");
	}
	return 0;
}

int
est_csrattrs_encode(const char *const *entries, size_t count, struct buf *out, struct err *e)
{
	return est_csrattrs_template(NULL, entries, count, out, e);
}

static int
read_entries(struct bytes der, STACK_OF(ASN1_TYPE) **out, struct err *e)
{
	CLEANUP(any_stack) STACK_OF(ASN1_TYPE) *any = NULL;
	const uint8_t *p = der.at;

	if (est_der_check(der, e) != 0)
		return err_prefix(e, "CSR attributes");
	any = d2i_ASN1_SEQUENCE_ANY(NULL, &p, (long)der.len);
	if (any == NULL || p != der.at + der.len)
		return err_ossl(e, ERR_MALFORMED, "CSR attributes");
	if (sk_ASN1_TYPE_num(any) > EST_CSRATTRS_MAX)
		return err_set(e, ERR_LIMIT, "%d CSR attributes; at most %d are allowed", sk_ASN1_TYPE_num(any),
			EST_CSRATTRS_MAX);
	*out = any;
	any = NULL;
	return 0;
}

static int
read_attribute(const ASN1_TYPE *entry, X509_ATTRIBUTE **out, struct err *e)
{
	CLEANUP(X509_ATTRIBUTE) X509_ATTRIBUTE *attribute = NULL;
	const ASN1_STRING *octets;
	const uint8_t *p, *end;

	if (entry->type != V_ASN1_SEQUENCE)
		return err_set(e, ERR_MALFORMED, "CSR attributes: neither an OID nor an attribute");
	octets = entry->value.sequence;
	p = ASN1_STRING_get0_data(octets);
	end = p + ASN1_STRING_length(octets);
	attribute = d2i_X509_ATTRIBUTE(NULL, &p, ASN1_STRING_length(octets));
	if (attribute == NULL || p != end)
		return err_ossl(e, ERR_MALFORMED, "CSR attributes: an attribute");
	*out = attribute;
	attribute = NULL;
	return 0;
}

void
csrattrs_print_object(const ASN1_OBJECT *object, struct buf *out)
{
	char text[OID_TEXT_MAX] = "", dotted[OID_TEXT_MAX] = "";
	size_t i;

	(void)OBJ_obj2txt(dotted, sizeof dotted, object, 1);
	for (i = 0; i < ALIASES; i++)
		if (strcmp(dotted, aliases[i].dotted) == 0) {
			buf_append_text(out, aliases[i].name);
			return;
		}
	(void)OBJ_obj2txt(text, sizeof text, object, 0);
	buf_append_text(out, text);
	ERR_clear_error();
}

void
csrattrs_print_value(const ASN1_TYPE *value, struct buf *out)
{
	char text[4 * ENTRY_TEXT_MAX] = "", hex[2 * VALUE_HEX_MAX + 1];
	struct bytes octets;

	if (value->type == V_ASN1_OBJECT) {
		csrattrs_print_object(value->value.object, out);
		return;
	}
	if (value->type == V_ASN1_NULL || value->type == V_ASN1_BOOLEAN) {
		buf_append_text(out, ASN1_tag2str(value->type));
		return;
	}
	octets = bytes_of(ASN1_STRING_get0_data(value->value.asn1_string),
		(size_t)ASN1_STRING_length(value->value.asn1_string));
	switch (value->type) {
	case V_ASN1_UTF8STRING:
	case V_ASN1_PRINTABLESTRING:
	case V_ASN1_IA5STRING:
		text_escape(text, sizeof text, octets);
		buf_printf(out, "\"%s\"", text);
		return;
	default:
		hex_encode(bytes_of(octets.at, octets.len < VALUE_HEX_MAX ? octets.len : VALUE_HEX_MAX), hex);
		buf_printf(out, "%s(%s%s)", ASN1_tag2str(value->type), hex,
			octets.len > VALUE_HEX_MAX ? "..." : "");
		return;
	}
}

/* RFC 9908, section 3.4 speaks of one template; of two, nobody could say which counts. */
static int
print_template(X509_ATTRIBUTE *attribute, size_t *templates, struct buf *out, struct err *e)
{
	if (++*templates > 1)
		return err_set(e, ERR_MALFORMED, "CSR attributes: more than one template");
	return csrattrs_template_print(attribute, out, e);
}

static int
print_entry(const ASN1_TYPE *entry, size_t *templates, struct buf *out, struct err *e)
{
	CLEANUP(X509_ATTRIBUTE) X509_ATTRIBUTE *attribute = NULL;
	int i;

	if (entry->type == V_ASN1_OBJECT)
		csrattrs_print_object(entry->value.object, out);
	else {
		if (read_attribute(entry, &attribute, e) != 0)
			return -1;
		if (csrattrs_is_template(attribute))
			return print_template(attribute, templates, out, e);
		csrattrs_print_object(X509_ATTRIBUTE_get0_object(attribute), out);
		for (i = 0; i < X509_ATTRIBUTE_count(attribute); i++) {
			buf_append_text(out, i == 0 ? " = " : ", ");
			csrattrs_print_value(X509_ATTRIBUTE_get0_type(attribute, i), out);
		}
	}
	buf_append_u8(out, '\n');
	return 0;
}

int
est_csrattrs_decode(struct bytes der, struct buf *out, struct err *e)
{
	CLEANUP(any_stack) STACK_OF(ASN1_TYPE) *any = NULL;
	size_t before = out->len, templates = 0;
	int i;

	if (read_entries(der, &any, e) != 0)
		return -1;
	for (i = 0; i < sk_ASN1_TYPE_num(any); i++)
		if (print_entry(sk_ASN1_TYPE_value(any, i), &templates, out, e) != 0) {
			out->len = before;
			return -1;
		}
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "CSR attributes: no memory") : 0;
}

/* 1 yes, 0 no, -1 malformed. *in_template says whose answer it is. */
static int
entry_asks(const ASN1_TYPE *entry, const ASN1_OBJECT *wanted, bool *in_template)
{
	CLEANUP(X509_ATTRIBUTE) X509_ATTRIBUTE *attribute = NULL;
	struct err ignored;

	*in_template = false;
	if (entry->type == V_ASN1_OBJECT)
		return OBJ_cmp(entry->value.object, wanted) == 0;
	if (read_attribute(entry, &attribute, &ignored) != 0)
		return -1;
	*in_template = csrattrs_is_template(attribute);
	if (*in_template)
		return csrattrs_template_asks(attribute, wanted);
	return OBJ_cmp(X509_ATTRIBUTE_get0_object(attribute), wanted) == 0;
}

/* RFC 9908, section 4: a client that understands the template uses it alone and ignores the other elements. */
bool
est_csrattrs_asks(struct bytes der, const char *dotted)
{
	CLEANUP(any_stack) STACK_OF(ASN1_TYPE) *any = NULL;
	CLEANUP(ASN1_OBJECT) ASN1_OBJECT *wanted = OBJ_txt2obj(dotted, 1);
	bool entries_ask = false, template_asks = false, in_template;
	size_t templates = 0;
	struct err ignored;
	int i;

	if (wanted == NULL || read_entries(der, &any, &ignored) != 0) {
		ERR_clear_error();
		return false;
	}
	for (i = 0; i < sk_ASN1_TYPE_num(any); i++) {
		int asks = entry_asks(sk_ASN1_TYPE_value(any, i), wanted, &in_template);

		if (asks < 0)
			return false;
		templates += in_template;
		if (in_template)
			template_asks = asks == 1;
		else
			entries_ask = entries_ask || asks == 1;
	}
	return templates == 0 ? entries_ask : templates == 1 && template_asks;
}
