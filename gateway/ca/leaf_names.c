#include "gateway/ca/leaf.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "gateway/ca/tbs.h"

#define SHOWN_MAX 100

static_assert(SPEC_RDNS_MAX <= 32 && SPEC_SANS_MAX <= 32, "names met are bits of an unsigned");

static void
show(char out[SHOWN_MAX], struct bytes value)
{
	text_escape(out, SHOWN_MAX, value);
}

/* The first of the spec's attributes that is this one and was not met before; rdn_count: none. */
static size_t
spec_rdn_of(const struct cert_spec *spec, unsigned met, const X509_NAME_ENTRY *entry)
{
	char oid[64];
	uint8_t *utf8 = NULL;
	size_t k = spec->rdn_count;
	int len;

	(void)OBJ_obj2txt(oid, sizeof oid, X509_NAME_ENTRY_get_object(entry), 1);
	len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
	if (len < 0)
		return k;
	for (k = 0; k < spec->rdn_count; k++)
		if ((met & 1u << k) == 0 && strcmp(spec->rdns[k].oid, oid) == 0 &&
		    bytes_equal_text(bytes_of(utf8, (size_t)len), spec->rdns[k].value))
			break;
	OPENSSL_free(utf8);
	return k;
}

static int
subject_check(const X509_NAME *subject, const struct cert_spec *spec, struct err *e)
{
	int count = X509_NAME_entry_count(subject), i;
	char text[SHOWN_MAX];
	unsigned met = 0;
	size_t k;

	for (i = 0; i < count; i++) {
		const X509_NAME_ENTRY *entry = X509_NAME_get_entry(subject, i);
		const ASN1_STRING *data = X509_NAME_ENTRY_get_data(entry);

		/* RFC 5280 knows no other kind of name; the rest of an RDN is easily overlooked. */
		if (i > 0 && X509_NAME_ENTRY_set(entry) == X509_NAME_ENTRY_set(X509_NAME_get_entry(subject, i - 1)))
			return err_set(e, ERR_DENIED, "two of its subject attributes are in one RDN");
		k = spec_rdn_of(spec, met, entry);
		if (k == spec->rdn_count) {
			show(text, bytes_of(ASN1_STRING_get0_data(data), (size_t)ASN1_STRING_length(data)));
			return err_set(e, ERR_DENIED, "subject attribute \"%s\" was not approved", text);
		}
		met |= 1u << k;
	}
	for (k = 0; k < spec->rdn_count; k++)
		if ((met & 1u << k) == 0)
			return err_set(e, ERR_DENIED, "subject attribute \"%s\" is missing", spec->rdns[k].value);
	return 0;
}

/* The name's own octets; len 0 for a kind that no spec can hold. */
static struct bytes
san_octets(const GENERAL_NAME *name)
{
	const ASN1_STRING *s;

	switch (name->type) {
	case GEN_DNS:
	case GEN_URI:
	case GEN_EMAIL:
		s = name->d.ia5;
		break;
	case GEN_IPADD:
		s = name->d.iPAddress;
		break;
	default:
		return bytes_of(NULL, 0);
	}
	return bytes_of(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
}

/* RFC 5280, section 7.2: DNS names compare without regard to case. */
static bool
dns_equal(struct bytes found, const char *wanted)
{
	return found.len == strlen(wanted) && memchr(found.at, '\0', found.len) == NULL &&
		strncasecmp((const char *)found.at, wanted, found.len) == 0;
}

static bool
san_is(const GENERAL_NAME *name, enum spec_san_type type, const char *value)
{
	struct bytes found = san_octets(name);
	uint8_t address[16];

	if (found.len == 0)
		return false;
	switch (type) {
	case SPEC_SAN_DNS:
		return name->type == GEN_DNS && dns_equal(found, value);
	case SPEC_SAN_URI:
		return name->type == GEN_URI && bytes_equal_text(found, value);
	case SPEC_SAN_EMAIL:
		return name->type == GEN_EMAIL && bytes_equal_text(found, value);
	case SPEC_SAN_IP:
		return name->type == GEN_IPADD &&
			bytes_equal(found, bytes_of(address, spec_address(value, address)));
	}
	return false;
}

/* The names of the spec that this is: a CSR may name one twice, in upper and lower case. */
static unsigned
spec_sans_of(const struct cert_spec *spec, const GENERAL_NAME *name)
{
	unsigned bits = 0;
	size_t k;

	for (k = 0; k < spec->san_count; k++)
		if (san_is(name, spec->sans[k].type, spec->sans[k].value))
			bits |= 1u << k;
	return bits;
}

static int
sans_check(const GENERAL_NAMES *names, const struct cert_spec *spec, struct err *e)
{
	int count = names == NULL ? 0 : sk_GENERAL_NAME_num(names), i;
	unsigned met = 0, left = ~0u;
	char text[SHOWN_MAX];
	size_t k;

	for (i = 0; i < count; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		unsigned bits = spec_sans_of(spec, name);

		if ((bits & left) == 0) {
			show(text, san_octets(name));
			return err_set(e, ERR_DENIED, "alternative name \"%s\" (kind %d) %s", text, name->type,
				bits == 0 ? "was not approved" : "stands there twice");
		}
		met |= bits;
		left &= ~leaf_lowest(bits & left);
	}
	for (k = 0; k < spec->san_count; k++)
		if ((met & 1u << k) == 0)
			return err_set(e, ERR_DENIED, "alternative name \"%.100s\" is missing",
				spec->sans[k].value);
	return 0;
}

int
leaf_names_check(const LEAF *leaf, const struct cert_spec *spec, struct err *e)
{
	CLEANUP(GENERAL_NAMES) GENERAL_NAMES *names = NULL;
	void *decoded = NULL;
	bool critical = false;

	if (spec->rdn_count > SPEC_RDNS_MAX || spec->san_count > SPEC_SANS_MAX)
		return err_set(e, ERR_BUG, "the spec has more names than fit");
	if (subject_check(leaf->tbs->subject, spec, e) != 0 ||
	    leaf_extension(leaf, NID_subject_alt_name, &decoded, &critical, e) != 0)
		return -1;
	names = decoded;
	if (sans_check(names, spec, e) != 0)
		return -1;
	if (names != NULL && X509_NAME_entry_count(leaf->tbs->subject) == 0 && !critical)
		return err_set(e, ERR_DENIED,
			"the subject is empty and subjectAltName is not critical (RFC 5280, section 4.2.1.6)");
	return 0;
}
