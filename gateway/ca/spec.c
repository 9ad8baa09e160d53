#define _GNU_SOURCE
#include "gateway/ca/tbs.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

#include "base/text.h"

#define DNS_NAME_MAX  253
#define DNS_LABEL_MAX 63

#define USAGE_ALL (USAGE_DIGITAL_SIGNATURE | USAGE_NON_REPUDIATION | USAGE_KEY_ENCIPHERMENT | \
	USAGE_DATA_ENCIPHERMENT | USAGE_KEY_AGREEMENT)

/*
 * Attributes with a string type or an upper bound of their own (RFC 5280,
 * appendix A.1); every other one is a UTF8String.
 */
static const struct attribute {
	const char *oid;
	const char *name;
	uint8_t tag;
	bool only_tag; /* no other string type will do */
	size_t max;    /* characters */
} attributes[] = {
	{ "2.5.4.3", "commonName", DER_UTF8_STRING, false, 64 },
	{ "2.5.4.5", "serialNumber", DER_PRINTABLE_STRING, false, 64 },
	{ "2.5.4.6", "countryName", DER_PRINTABLE_STRING, true, 2 },
	{ "2.5.4.10", "organizationName", DER_UTF8_STRING, false, 64 },
	{ "2.5.4.11", "organizationalUnitName", DER_UTF8_STRING, false, 64 },
	{ "2.5.4.12", "title", DER_UTF8_STRING, false, 64 },
	{ "2.5.4.46", "dnQualifier", DER_PRINTABLE_STRING, true, 64 },
	{ "0.9.2342.19200300.100.1.25", "domainComponent", DER_IA5_STRING, true, DNS_LABEL_MAX },
	{ "1.2.840.113549.1.9.1", "emailAddress", DER_IA5_STRING, true, 255 },
};

static const struct attribute *
attribute_of(const char *oid)
{
	size_t i;

	for (i = 0; i < sizeof attributes / sizeof attributes[0]; i++)
		if (strcmp(attributes[i].oid, oid) == 0)
			return &attributes[i];
	return NULL;
}

/* X.680, section 41.4: the characters of PrintableString. */
static bool
is_printable(const char *value)
{
	for (; *value != '\0'; value++)
		if (!isalnum((unsigned char)*value) && strchr(" '()+,-./:=?", *value) == NULL)
			return false;
	return true;
}

/* Visible ASCII without the space. */
static bool
is_graphic(const char *value)
{
	for (; *value != '\0'; value++)
		if (*value <= 0x20 || *value >= 0x7f)
			return false;
	return true;
}

static bool
is_ascii(const char *value)
{
	for (; *value != '\0'; value++)
		if ((unsigned char)*value >= 0x80)
			return false;
	return true;
}

static bool
fits_tag(uint8_t tag, const char *value)
{
	if (tag == DER_PRINTABLE_STRING)
		return is_printable(value);
	return tag != DER_IA5_STRING || is_ascii(value);
}

uint8_t
spec_string_tag(const char *oid, const char *value)
{
	const struct attribute *a = attribute_of(oid);

	return a != NULL && fits_tag(a->tag, value) ? a->tag : DER_UTF8_STRING;
}

static size_t
utf8_characters(const char *value)
{
	size_t n = 0;

	for (; *value != '\0'; value++)
		n += ((unsigned char)*value & 0xc0) != 0x80;
	return n;
}

/* "1.3.6.1", one spelling for each OID: "2.5.29.37.00" would slip past a comparison of texts. */
static bool
is_dotted(const char *oid)
{
	const char *p;

	if (oid[0] < '0' || oid[0] > '2' || oid[1] != '.')
		return false;
	for (p = oid + 1; *p == '.';) {
		const char *arc = ++p;

		while (isdigit((unsigned char)*p))
			p++;
		if (p == arc || (*arc == '0' && p != arc + 1))
			return false;
	}
	return *p == '\0';
}

static int
check_rdn(const char *oid, const char *value, struct err *e)
{
	const struct attribute *a = attribute_of(oid);

	if (!is_dotted(oid))
		return err_set(e, ERR_BUG, "subject attribute type \"%.31s\" is not an OID", oid);
	if (value[0] == '\0' || !text_is_clean(bytes_of_text(value)))
		return err_set(e, ERR_BUG, "subject attribute %s is empty or not clean text", oid);
	/* Relying parties that still read host names from the common name would honour it there. */
	if (strcmp(oid, "2.5.4.3") == 0 && strchr(value, '*') != NULL)
		return err_set(e, ERR_BUG, "the common name holds a wildcard");
	if (a == NULL)
		return 0;
	if (utf8_characters(value) > a->max)
		return err_set(e, ERR_DENIED, "%s of %zu characters; RFC 5280 allows %zu", a->name,
			utf8_characters(value), a->max);
	if (a->only_tag && !fits_tag(a->tag, value))
		return err_set(e, ERR_DENIED, "%s has characters that its string type does not allow", a->name);
	if (strcmp(oid, "2.5.4.6") == 0 && strlen(value) != 2)
		return err_set(e, ERR_DENIED, "countryName is not a code of two letters");
	return 0;
}

static bool
dns_ok(const char *name)
{
	size_t label = 0;
	const char *p;

	if (strlen(name) > DNS_NAME_MAX)
		return false;
	for (p = name; *p != '\0'; p++) {
		if (*p == '.') {
			if (label == 0)
				return false;
			label = 0;
		} else if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_')
			return false;
		else if (++label > DNS_LABEL_MAX)
			return false;
	}
	return label != 0;
}

/* RFC 5280, section 4.2.1.6: "The name MUST NOT be a relative URI". */
static bool
uri_ok(const char *uri)
{
	size_t n = 0;

	if (!is_graphic(uri) || !isalpha((unsigned char)uri[0]))
		return false;
	while (isalnum((unsigned char)uri[n]) || (uri[n] != '\0' && strchr("+-.", uri[n]) != NULL))
		n++;
	return uri[n] == ':' && uri[n + 1] != '\0';
}

static bool
email_ok(const char *email)
{
	const char *at = strchr(email, '@');

	return is_graphic(email) && at != NULL && at != email && strchr(at + 1, '@') == NULL &&
		dns_ok(at + 1);
}

size_t
spec_address(const char *text, uint8_t out[16])
{
	if (inet_pton(AF_INET, text, out) == 1)
		return 4;
	return inet_pton(AF_INET6, text, out) == 1 ? 16 : 0;
}

static bool
san_ok(enum spec_san_type type, const char *value)
{
	uint8_t address[16];

	switch (type) {
	case SPEC_SAN_DNS:
		return dns_ok(value);
	case SPEC_SAN_URI:
		return uri_ok(value);
	case SPEC_SAN_EMAIL:
		return email_ok(value);
	case SPEC_SAN_IP:
		return spec_address(value, address) != 0;
	}
	return false;
}

static int
check_names(const struct cert_spec *spec, struct err *e)
{
	size_t i;

	if (spec->rdn_count > SPEC_RDNS_MAX || spec->san_count > SPEC_SANS_MAX)
		return err_set(e, ERR_BUG, "the spec has more names than fit");
	if (spec->rdn_count == 0 && spec->san_count == 0)
		return err_set(e, ERR_BUG, "the spec has neither a subject nor a SAN");
	for (i = 0; i < spec->rdn_count; i++)
		if (check_rdn(spec->rdns[i].oid, spec->rdns[i].value, e) != 0)
			return -1;
	for (i = 0; i < spec->san_count; i++)
		if (!san_ok(spec->sans[i].type, spec->sans[i].value))
			return err_set(e, ERR_BUG, "SAN \"%.100s\" is not a name a leaf may have",
				spec->sans[i].value);
	return 0;
}

unsigned
spec_usage(const struct cert_spec *spec, enum key_kind kind)
{
	unsigned usage = spec->key_usage;

	switch (kind) {
	case KEY_RSA:
		return usage & ~(unsigned)USAGE_KEY_AGREEMENT;
	case KEY_EC_P256:
	case KEY_EC_P384:
	case KEY_EC_P521:
		/* RFC 8813, section 3: keyEncipherment and dataEncipherment MUST NOT be present. */
		return usage & ~(unsigned)(USAGE_KEY_ENCIPHERMENT | USAGE_DATA_ENCIPHERMENT);
	case KEY_ED25519:
		return usage & (USAGE_DIGITAL_SIGNATURE | USAGE_NON_REPUDIATION);
	case KEY_OTHER:
		break;
	}
	return 0;
}

static int
check_usages(const struct ca_request *request, struct err *e)
{
	static const char *const never[] = {
		"2.5.29.37.0",       /* anyExtendedKeyUsage */
		"1.3.6.1.5.5.7.3.9", /* id-kp-OCSPSigning: would speak for this CA (RFC 6960, section 4.2.2.2) */
	};
	const struct cert_spec *spec = request->spec;
	size_t i, k;

	if ((spec->key_usage & ~(unsigned)USAGE_ALL) != 0)
		return err_set(e, ERR_BUG, "the spec asks for a key usage that only CAs have (0x%x)",
			spec->key_usage);
	if (spec->key_usage == 0)
		return err_set(e, ERR_BUG, "the spec has no key usage: without one a key may be used for anything");
	if (spec_usage(spec, request->key_kind) == 0)
		return err_set(e, ERR_DENIED, "a key of this kind can do none of the profile's key usages");
	if (spec->eku_count > PROFILE_NAMES_MAX)
		return err_set(e, ERR_BUG, "the spec has more extended key usages than fit");
	for (i = 0; i < spec->eku_count; i++) {
		if (!is_dotted(spec->eku[i]))
			return err_set(e, ERR_BUG, "extended key usage \"%.60s\" is not an OID", spec->eku[i]);
		for (k = 0; k < sizeof never / sizeof never[0]; k++)
			if (strcmp(spec->eku[i], never[k]) == 0)
				return err_set(e, ERR_BUG, "the spec asks for extended key usage %s", never[k]);
	}
	return 0;
}

int
spec_check(const struct ca_request *request, struct err *e)
{
	const struct cert_spec *spec = request->spec;

	if (check_names(spec, e) != 0 || check_usages(request, e) != 0)
		return -1;
	if (spec->not_before_s < 0 || spec->not_after_s <= spec->not_before_s)
		return err_set(e, ERR_BUG, "the spec's validity ends before it begins");
	return 0;
}
