#include "policy/name_set.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

#include "base/text.h"

static uint8_t
lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

bool
bytes_equal_nocase(struct bytes a, struct bytes b)
{
	size_t i;

	if (a.len != b.len)
		return false;
	for (i = 0; i < a.len; i++)
		if (lower(a.at[i]) != lower(b.at[i]))
			return false;
	return true;
}

/* RFC 5321, section 2.4: the local part's case is the receiver's business, the domain has none. */
static bool
mail_equal(struct bytes a, struct bytes b)
{
	size_t domain = a.len;

	if (a.len != b.len)
		return false;
	while (domain > 0 && a.at[domain - 1] != '@')
		domain--;
	return bytes_equal(bytes_of(a.at, domain), bytes_of(b.at, domain)) &&
		bytes_equal_nocase(bytes_of(a.at + domain, a.len - domain), bytes_of(b.at + domain, b.len - domain));
}

size_t
rdn_set_count(const struct rdn_set *set)
{
	int n;

	if (set->spec != NULL)
		return set->spec->rdn_count;
	n = set->name == NULL ? 0 : X509_NAME_entry_count(set->name);
	return n < 0 ? 0 : (size_t)n;
}

static bool
entry_oid(const X509_NAME_ENTRY *entry, struct rdn_value *out)
{
	const ASN1_OBJECT *type = X509_NAME_ENTRY_get_object(entry);
	int n;

	out->attribute = attribute_of_nid(OBJ_obj2nid(type));
	if (out->attribute != NULL) {
		out->oid = out->attribute->oid;
		return true;
	}
	n = OBJ_obj2txt(out->own_oid, sizeof out->own_oid, type, 1);
	out->oid = out->own_oid;
	return n > 0 && (size_t)n < sizeof out->own_oid;
}

static bool
entry_text(const X509_NAME_ENTRY *entry, struct rdn_value *out)
{
	const ASN1_STRING *data = X509_NAME_ENTRY_get_data(entry);
	int type = data == NULL ? V_ASN1_UNDEF : ASN1_STRING_type(data);
	int n;

	if (data == NULL)
		return false;
	if (type == V_ASN1_UTF8STRING || type == V_ASN1_PRINTABLESTRING || type == V_ASN1_IA5STRING ||
	    type == V_ASN1_NUMERICSTRING || type == V_ASN1_VISIBLESTRING) {
		out->text = bytes_of(ASN1_STRING_get0_data(data), (size_t)ASN1_STRING_length(data));
		return true;
	}
	n = ASN1_STRING_to_UTF8(&out->own_text, data);
	ERR_clear_error();
	if (n < 0)
		return false;
	out->text = bytes_of(out->own_text, (size_t)n);
	return true;
}

bool
rdn_set_at(const struct rdn_set *set, size_t at, struct rdn_value *out)
{
	const X509_NAME_ENTRY *entry;

	out->own_text = NULL;
	out->text = bytes_of(NULL, 0);
	if (set->spec != NULL) {
		out->oid = set->spec->rdns[at].oid;
		out->attribute = attribute_of(out->oid);
		out->text = bytes_of_text(set->spec->rdns[at].value);
		return true;
	}
	entry = X509_NAME_get_entry(set->name, (int)at);
	return entry != NULL && entry_oid(entry, out) && entry_text(entry, out);
}

void
rdn_value_clear(struct rdn_value *value)
{
	OPENSSL_free(value->own_text);
	value->own_text = NULL;
}

bool
rdn_value_equal(const struct rdn_value *a, const struct rdn_value *b)
{
	if (strcmp(a->oid, b->oid) != 0)
		return false;
	if (a->attribute == NULL)
		return bytes_equal(a->text, b->text);
	switch (a->attribute->syntax) {
	case ATTRIBUTE_COUNTRY:
	case ATTRIBUTE_DOMAIN:
		return bytes_equal_nocase(a->text, b->text);
	case ATTRIBUTE_EMAIL:
		return mail_equal(a->text, b->text);
	case ATTRIBUTE_TEXT:
	case ATTRIBUTE_PRINTABLE:
		break;
	}
	return bytes_equal(a->text, b->text);
}

static bool
rdn_set_has(const struct rdn_set *set, const struct rdn_value *wanted)
{
	size_t count = rdn_set_count(set), i;
	bool equal = false;

	for (i = 0; !equal && i < count; i++) {
		struct rdn_value value;

		equal = rdn_set_at(set, i, &value) && rdn_value_equal(&value, wanted);
		rdn_value_clear(&value);
	}
	return equal;
}

bool
rdn_set_within(const struct rdn_set *a, const struct rdn_set *b, size_t *first)
{
	size_t count = rdn_set_count(a);
	bool found = true;

	for (*first = 0; *first < count; (*first)++) {
		struct rdn_value value;

		found = rdn_set_at(a, *first, &value) && rdn_set_has(b, &value);
		rdn_value_clear(&value);
		if (!found)
			return false;
	}
	return true;
}

bool
rdn_set_equal(const struct rdn_set *a, const struct rdn_set *b)
{
	size_t first;

	return rdn_set_within(a, b, &first) && rdn_set_within(b, a, &first);
}

size_t
san_set_count(const struct san_set *set)
{
	int n;

	if (set->spec != NULL)
		return set->spec->san_count;
	n = set->names == NULL ? 0 : sk_GENERAL_NAME_num(set->names);
	return n < 0 ? 0 : (size_t)n;
}

static bool
spec_san_at(const struct cert_spec *spec, size_t at, struct san_value *out)
{
	const char *text = spec->sans[at].value;
	bool v6 = strchr(text, ':') != NULL;

	out->type = spec->sans[at].type;
	out->value = bytes_of_text(text);
	if (out->type != SPEC_SAN_IP)
		return true;
	out->value = bytes_of(out->address, v6 ? 16 : 4);
	return inet_pton(v6 ? AF_INET6 : AF_INET, text, out->address) == 1;
}

bool
san_set_at(const struct san_set *set, size_t at, struct san_value *out)
{
	const ASN1_STRING *string = NULL;
	const GENERAL_NAME *name;

	if (set->spec != NULL)
		return spec_san_at(set->spec, at, out);
	name = sk_GENERAL_NAME_value(set->names, (int)at);
	if (name == NULL)
		return false;
	switch (name->type) {
	case GEN_DNS:
		out->type = SPEC_SAN_DNS;
		string = name->d.dNSName;
		break;
	case GEN_URI:
		out->type = SPEC_SAN_URI;
		string = name->d.uniformResourceIdentifier;
		break;
	case GEN_IPADD:
		out->type = SPEC_SAN_IP;
		string = name->d.iPAddress;
		break;
	case GEN_EMAIL:
		out->type = SPEC_SAN_EMAIL;
		string = name->d.rfc822Name;
		break;
	default:
		return false;
	}
	if (string == NULL)
		return false;
	out->value = bytes_of(ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string));
	return true;
}

static bool
san_value_equal(const struct san_value *a, const struct san_value *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case SPEC_SAN_DNS:
		return bytes_equal_nocase(a->value, b->value);
	case SPEC_SAN_EMAIL:
		return mail_equal(a->value, b->value);
	case SPEC_SAN_URI:
	case SPEC_SAN_IP:
		return bytes_equal(a->value, b->value);
	}
	return false;
}

bool
san_set_within(const struct san_set *a, const struct san_set *b, size_t *first)
{
	size_t count = san_set_count(a), other = san_set_count(b), i;

	for (*first = 0; *first < count; (*first)++) {
		struct san_value wanted, value;
		bool found = false;

		if (!san_set_at(a, *first, &wanted))
			return false;
		for (i = 0; !found && i < other; i++)
			found = san_set_at(b, i, &value) && san_value_equal(&value, &wanted);
		if (!found)
			return false;
	}
	return true;
}

bool
san_set_equal(const struct san_set *a, const struct san_set *b)
{
	size_t first;

	return san_set_within(a, b, &first) && san_set_within(b, a, &first);
}

void
rdn_set_show(const struct rdn_set *set, size_t at, char *out, size_t size)
{
	struct rdn_value value;
	char text[REG_TEXT_MAX];

	if (rdn_set_at(set, at, &value)) {
		text_escape(text, sizeof text, value.text);
		(void)snprintf(out, size, "%s=%s", value.attribute == NULL ? value.oid : value.attribute->name, text);
	} else
		(void)snprintf(out, size, "an unreadable attribute");
	rdn_value_clear(&value);
}

void
san_set_show(const struct san_set *set, size_t at, char *out, size_t size)
{
	static const char *const types[] = { "dns", "uri", "ip", "email" };
	struct san_value value;
	char text[REG_TEXT_MAX];

	if (!san_set_at(set, at, &value)) {
		(void)snprintf(out, size, "a SAN of a type that is never given");
		return;
	}
	if (value.type != SPEC_SAN_IP)
		text_escape(text, sizeof text, value.value);
	else if ((value.value.len != 4 && value.value.len != 16) ||
	    inet_ntop(value.value.len == 16 ? AF_INET6 : AF_INET, value.value.at, text, sizeof text) == NULL)
		(void)snprintf(text, sizeof text, "of %zu octets", value.value.len);
	(void)snprintf(out, size, "%s:%s", types[value.type], text);
}
