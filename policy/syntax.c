#include "policy/syntax.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS  "0123456789"
#define ARC_MAX ((1L << 28) - 1)
#define EMAIL_LOCAL_MAX 64

bool
oid_is_dotted(const char *text)
{
	const char *p = text;
	size_t arcs = 0;
	long first = 0;

	if (strlen(text) >= OID_TEXT_MAX)
		return false;
	for (;; p++) {
		size_t digits = strspn(p, DIGITS);
		long arc;

		if (digits == 0 || digits > 9 || (digits > 1 && p[0] == '0'))
			return false;
		arc = strtol(p, NULL, 10);
		if (arc > ARC_MAX || (arcs == 0 && arc > 2) || (arcs == 1 && first < 2 && arc > 39))
			return false;
		if (arcs++ == 0)
			first = arc;
		p += digits;
		if (*p == '\0')
			return arcs >= 2;
		if (*p != '.')
			return false;
	}
}

static bool
is_label(const char *at, size_t len)
{
	return len >= 1 && len <= DNS_LABEL_MAX && strspn(at, LETTERS DIGITS "-") >= len && at[0] != '-' &&
		at[len - 1] != '-';
}

bool
dns_is_name(const char *text)
{
	struct in_addr address;
	const char *p = text;

	if (strlen(text) > DNS_NAME_MAX || inet_pton(AF_INET, text, &address) == 1)
		return false;
	for (;;) {
		size_t len = strcspn(p, ".");

		if (!is_label(p, len))
			return false;
		if (p[len] == '\0')
			return true;
		p += len + 1;
	}
}

bool
uri_is_valid(const char *text)
{
	static const char hex[] = DIGITS "abcdefABCDEF";
	size_t scheme = strspn(text, LETTERS DIGITS "+-.");
	const char *p = text + scheme;

	if (scheme == 0 || strchr(LETTERS, text[0]) == NULL || p[0] != ':' || p[1] == '\0')
		return false;
	for (; *p != '\0'; p++) {
		if (*p == '%') {
			if (strspn(p + 1, hex) < 2)
				return false;
		} else if (strchr(LETTERS DIGITS "-._~:/?#[]@!$&'()+,;=", *p) == NULL)
			return false;
	}
	return true;
}

bool
email_is_valid(const char *text)
{
	const char *at = strchr(text, '@');
	size_t local = at == NULL ? 0 : (size_t)(at - text), i;

	if (local == 0 || local > EMAIL_LOCAL_MAX || text[0] == '.' || at[-1] == '.')
		return false;
	if (strspn(text, LETTERS DIGITS "!#$%&'+-/=?^_`{|}~.") != local)
		return false;
	for (i = 1; i < local; i++)
		if (text[i] == '.' && text[i - 1] == '.')
			return false;
	return dns_is_name(at + 1);
}

bool
printable_is_valid(const char *text)
{
	return strspn(text, LETTERS DIGITS " '()+,-./:=?") == strlen(text);
}

bool
ascii_is_all(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text >= 0x80)
			return false;
	return true;
}

void
ascii_lower(char *text)
{
	for (; *text != '\0'; text++)
		if (*text >= 'A' && *text <= 'Z')
			*text = (char)(*text - 'A' + 'a');
}

size_t
utf8_characters(const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		if (((unsigned char)*text & 0xc0) != 0x80)
			n++;
	return n;
}

static const struct attribute attributes[] = {
	{ "CN", "2.5.4.3", NID_commonName, 64, ATTRIBUTE_TEXT, false },
	{ "O", "2.5.4.10", NID_organizationName, 64, ATTRIBUTE_TEXT, false },
	{ "OU", "2.5.4.11", NID_organizationalUnitName, 64, ATTRIBUTE_TEXT, true },
	{ "L", "2.5.4.7", NID_localityName, 128, ATTRIBUTE_TEXT, false },
	{ "ST", "2.5.4.8", NID_stateOrProvinceName, 128, ATTRIBUTE_TEXT, false },
	{ "C", "2.5.4.6", NID_countryName, 2, ATTRIBUTE_COUNTRY, false },
	{ "serialNumber", "2.5.4.5", NID_serialNumber, 64, ATTRIBUTE_PRINTABLE, false },
	{ "title", "2.5.4.12", NID_title, 64, ATTRIBUTE_TEXT, false },
	{ "UID", "0.9.2342.19200300.100.1.1", NID_userId, 256, ATTRIBUTE_TEXT, false },
	{ "DC", "0.9.2342.19200300.100.1.25", NID_domainComponent, DNS_LABEL_MAX, ATTRIBUTE_DOMAIN, true },
	{ "emailAddress", "1.2.840.113549.1.9.1", NID_pkcs9_emailAddress, 255, ATTRIBUTE_EMAIL, true },
};
#define ATTRIBUTES (sizeof attributes / sizeof attributes[0])

const struct attribute *
attribute_of(const char *type)
{
	size_t i;

	for (i = 0; i < ATTRIBUTES; i++)
		if (strcmp(attributes[i].name, type) == 0 || strcmp(attributes[i].oid, type) == 0)
			return &attributes[i];
	return NULL;
}

const struct attribute *
attribute_of_nid(int nid)
{
	size_t i;

	for (i = 0; i < ATTRIBUTES; i++)
		if (attributes[i].nid == nid)
			return &attributes[i];
	return NULL;
}
