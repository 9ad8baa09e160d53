#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "policy/template.h"

#define LIFETIME_MAX_S ((int64_t)200 * 366 * 86400)
#define SHOWN_MAX      80

/* Why a value is not fit for its place: "what: why". */
static int
unfit(struct err *e, const char *what, const char *value, const char *why)
{
	char shown[SHOWN_MAX];

	text_escape(shown, sizeof shown, bytes_of_text(value));
	return err_set(e, ERR_DENIED, "%s: \"%s\" %s", what, shown, why);
}

static int
check_country(char *value, struct err *e)
{
	bool letters = strlen(value) == 2;
	size_t i;

	for (i = 0; letters && i < 2; i++) {
		if (value[i] >= 'a' && value[i] <= 'z')
			value[i] = (char)(value[i] - 'a' + 'A');
		letters = value[i] >= 'A' && value[i] <= 'Z';
	}
	return letters ? 0 : unfit(e, "C", value, "is not a country code of two letters");
}

/* Normalises C and DC; e names the attribute type. */
static int
check_rdn(const struct attribute *attribute, const char *type, char *value, struct err *e)
{
	enum attribute_syntax syntax = attribute == NULL ? ATTRIBUTE_TEXT : attribute->syntax;

	if (!text_is_clean(bytes_of_text(value)))
		return unfit(e, type, value, "holds control characters or is not UTF-8");
	if (attribute != NULL && utf8_characters(value) > attribute->characters_max)
		return err_set(e, ERR_DENIED, "%s: %zu characters; at most %zu are allowed", type,
			utf8_characters(value), attribute->characters_max);
	switch (syntax) {
	case ATTRIBUTE_COUNTRY:
		return check_country(value, e);
	case ATTRIBUTE_PRINTABLE:
		return printable_is_valid(value) ? 0 : unfit(e, type, value, "is not a PrintableString");
	case ATTRIBUTE_DOMAIN:
		ascii_lower(value);
		return strchr(value, '.') == NULL && dns_is_name(value) ? 0 :
			unfit(e, type, value, "is not one label of a domain");
	case ATTRIBUTE_EMAIL:
		return email_is_valid(value) ? 0 : unfit(e, type, value, "is not a mail address");
	case ATTRIBUTE_TEXT:
		break;
	}
	/* A relying party that still reads host names from the common name would honour it there. */
	if (attribute != NULL && attribute->nid == NID_commonName && strchr(value, '*') != NULL)
		return unfit(e, type, value, "holds a wildcard");
	return 0;
}

static int
check_ip(char *value, size_t size, struct err *e)
{
	uint8_t octets[sizeof(struct in6_addr)];
	int family = strchr(value, ':') == NULL ? AF_INET : AF_INET6;
	char text[INET6_ADDRSTRLEN];

	if (inet_pton(family, value, octets) != 1 || inet_ntop(family, octets, text, sizeof text) == NULL)
		return unfit(e, "ip", value, "is not an IP address");
	(void)snprintf(value, size, "%s", text);
	return 0;
}

/* Normalises addresses and the case of domains. */
static int
check_san(enum spec_san_type type, char *value, size_t size, struct err *e)
{
	switch (type) {
	case SPEC_SAN_DNS:
		ascii_lower(value);
		return dns_is_name(value) ? 0 : unfit(e, "dns", value, "is not a DNS name");
	case SPEC_SAN_URI:
		return uri_is_valid(value) ? 0 : unfit(e, "uri", value, "is not a URI");
	case SPEC_SAN_IP:
		return check_ip(value, size, e);
	case SPEC_SAN_EMAIL:
		if (!email_is_valid(value))
			return unfit(e, "email", value, "is not a mail address");
		ascii_lower(strchr(value, '@'));
		return 0;
	}
	return err_set(e, ERR_BUG, "unknown SAN type");
}

static bool
has_rdn(const struct cert_spec *spec, const char *oid)
{
	size_t i;

	for (i = 0; i < spec->rdn_count; i++)
		if (strcmp(spec->rdns[i].oid, oid) == 0)
			return true;
	return false;
}

static int
fill_rdn(const char *type, struct bytes template, const struct template_values *values, struct cert_spec *spec,
	struct err *e)
{
	const struct attribute *attribute = attribute_of(type);
	const char *oid = attribute == NULL ? type : attribute->oid;
	struct template_result result;
	char value[REG_TEXT_MAX];

	if (!oid_is_dotted(oid) || strlen(oid) >= sizeof spec->rdns[0].oid)
		return err_set(e, ERR_MALFORMED, "unknown attribute type %s", type);
	if (template.len == 0)
		return err_set(e, ERR_MALFORMED, "%s= is empty", type);
	if (spec->rdn_count == SPEC_RDNS_MAX)
		return err_set(e, ERR_MALFORMED, "more than %d attributes", SPEC_RDNS_MAX);
	if (attribute != NULL && !attribute->repeats && has_rdn(spec, oid))
		return err_set(e, ERR_MALFORMED, "%s occurs twice", type);
	if (template_expand(template, values, false, value, sizeof value, &result, e) != 0)
		return err_prefix(e, "%s", type);
	if (result.missing && attribute != NULL && attribute->nid == NID_commonName)
		return err_set(e, ERR_DENIED, "%s: a field it is made of is empty in the registry", type);
	if (result.missing)
		return 0;
	/* What a country will be is not known before there is an asset. */
	if (!(values->sample && result.has_fields && attribute != NULL &&
		attribute->syntax == ATTRIBUTE_COUNTRY) && check_rdn(attribute, type, value, e) != 0)
		return -1;
	memcpy(spec->rdns[spec->rdn_count].oid, oid, strlen(oid) + 1);
	memcpy(spec->rdns[spec->rdn_count].value, value, strlen(value) + 1);
	spec->rdn_count++;
	return 0;
}

static int
fill_subject(const char *subject, const struct template_values *values, struct cert_spec *spec, struct err *e)
{
	struct cursor c = cursor_of(bytes_of_text(subject));
	char type[OID_TEXT_MAX];
	struct bytes template;
	int more;

	while ((more = template_next_rdn(&c, type, &template, e)) == 1)
		if (fill_rdn(type, template, values, spec, e) != 0) {
			more = -1;
			break;
		}
	return more == 0 ? 0 : err_prefix(e, "subject template");
}

static bool
has_san(const struct cert_spec *spec, enum spec_san_type type, const char *value)
{
	size_t i;

	for (i = 0; i < spec->san_count; i++)
		if (spec->sans[i].type == type && strcmp(spec->sans[i].value, value) == 0)
			return true;
	return false;
}

static int
fill_san(const char *san, const struct template_values *values, struct cert_spec *spec, struct err *e)
{
	struct template_result result;
	enum spec_san_type type;
	char value[TEMPLATE_MAX];
	struct bytes template;

	if (template_san_type(san, &type, &template, e) != 0 ||
	    template_expand(template, values, type == SPEC_SAN_URI, value, sizeof value, &result, e) != 0)
		return -1;
	if (result.missing || (values->sample && result.has_fields && type == SPEC_SAN_IP))
		return 0;
	if (check_san(type, value, sizeof value, e) != 0)
		return -1;
	if (has_san(spec, type, value))
		return 0;
	spec->sans[spec->san_count].type = type;
	memcpy(spec->sans[spec->san_count].value, value, strlen(value) + 1);
	spec->san_count++;
	return 0;
}

static int
fill_sans(const struct profile *profile, const struct template_values *values, struct cert_spec *spec,
	struct err *e)
{
	char shown[SHOWN_MAX];
	size_t i;

	if (profile->san_count > SPEC_SANS_MAX)
		return err_set(e, ERR_MALFORMED, "more than %d SAN templates", SPEC_SANS_MAX);
	for (i = 0; i < profile->san_count; i++)
		if (fill_san(profile->san[i], values, spec, e) != 0) {
			text_escape(shown, sizeof shown, bytes_of_text(profile->san[i]));
			return err_prefix(e, "SAN template \"%s\"", shown);
		}
	return 0;
}

int
profile_fill(const struct profile *profile, const struct asset *asset, const struct owner *owner, int64_t now_s,
	struct cert_spec *out, struct err *e)
{
	struct template_values values;

	template_values_of(&values, asset, owner);
	out->rdn_count = out->san_count = 0;
	if (profile->lifetime_s <= 0 || profile->lifetime_s > LIFETIME_MAX_S || profile->backdate_s < 0 ||
	    profile->backdate_s > now_s)
		return err_set(e, ERR_DENIED, "profile %s has no usable lifetime", profile->name);
	if (fill_subject(profile->subject, &values, out, e) != 0 || fill_sans(profile, &values, out, e) != 0)
		return -1;
	if (out->rdn_count == 0 && out->san_count == 0)
		return err_set(e, ERR_DENIED, "neither the subject nor a SAN template gives a name");
	out->key_usage = profile->key_usage;
	out->eku = profile->eku;
	out->eku_count = profile->eku_count;
	out->not_before_s = now_s - profile->backdate_s;
	out->not_after_s = now_s + profile->lifetime_s;
	return 0;
}

int
profile_check(const struct profile *profile, struct err *e)
{
	struct cert_spec spec = { .rdn_count = 0 };
	struct template_values values;

	template_values_sample(&values);
	if (profile->subject[0] == '\0' && profile->san_count == 0)
		return err_set(e, ERR_MALFORMED, "there is neither a subject nor a SAN template");
	if (fill_subject(profile->subject, &values, &spec, e) != 0 || fill_sans(profile, &values, &spec, e) != 0) {
		e->code = ERR_MALFORMED;
		return -1;
	}
	return 0;
}
