#include "gateway/ca/leaf.h"

#include <assert.h>
#include <string.h>

#include "gateway/ca/tbs.h"

#define LEAF_EXTENSIONS_MAX 64

/* keyUsage bits that only CAs and old key agreements have: keyCertSign and up (RFC 5280, section 4.2.1.3). */
#define FIRST_FOREIGN_BIT 5
#define OID_SHOWN 80

static_assert(PROFILE_NAMES_MAX <= 32, "purposes met are bits of an unsigned");

static X509_EXTENSION *
find(const LEAF *leaf, int nid)
{
	int i = X509v3_get_ext_by_NID(leaf->tbs->extensions, nid, -1);

	return i < 0 ? NULL : X509v3_get_ext(leaf->tbs->extensions, i);
}

int
leaf_extension(const LEAF *leaf, int nid, void **out, bool *critical, struct err *e)
{
	X509_EXTENSION *extension = find(leaf, nid);
	void *decoded = NULL;

	if (extension != NULL) {
		const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(extension);
		const ASN1_ITEM *item = ASN1_ITEM_ptr(X509V3_EXT_get_nid(nid)->it);
		const uint8_t *at = ASN1_STRING_get0_data(value), *end = at + ASN1_STRING_length(value);

		decoded = ASN1_item_d2i(NULL, &at, end - at, item);
		if (decoded == NULL)
			return err_ossl(e, ERR_DENIED, OBJ_nid2sn(nid));
		/* X509V3_EXT_d2i() leaves alone what stands behind, and others may read it. */
		if (at != end) {
			ASN1_item_free(decoded, item);
			return err_set(e, ERR_DENIED, "extension %s has octets after it", OBJ_nid2sn(nid));
		}
		*critical = X509_EXTENSION_get_critical(extension) == 1;
	}
	*out = decoded;
	return 0;
}

/* Extensions that belong to CAs only; in a leaf OpenSSL's verifier would let them pass. */
static bool
is_foreign(int nid)
{
	return nid == NID_name_constraints || nid == NID_policy_constraints || nid == NID_policy_mappings ||
		nid == NID_inhibit_any_policy || nid == NID_proxyCertInfo;
}

/* szOID_NTDS_CA_SECURITY_EXT: Windows maps a certificate to the account whose SID it holds ([MS-WCCE], section 2.2.2.7.7.4). */
static const uint8_t windows_account[] = { 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x19, 0x02 };
/* szOID_APPLICATION_CERT_POLICIES: taken by Windows for extended key usages ([MS-WCCE], section 2.2.2.7.7.3); ADCS repeats those there. */
static const uint8_t application_policies[] = { 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x15, 0x0a };

static bool
is_type(const ASN1_OBJECT *type, const uint8_t *octets, size_t len)
{
	return bytes_equal(bytes_of(OBJ_get0_data(type), OBJ_length(type)), bytes_of(octets, len));
}

/* Names and usages by other means than those that are compared; they are read without being critical. */
static bool
is_another_name_or_usage(const ASN1_OBJECT *type, int nid)
{
	return nid == NID_netscape_cert_type || nid == NID_subject_directory_attributes ||
		is_type(type, windows_account, sizeof windows_account);
}

static bool
may_be_critical(int nid)
{
	return nid == NID_basic_constraints || nid == NID_key_usage || nid == NID_ext_key_usage ||
		nid == NID_subject_alt_name || nid == NID_certificate_policies ||
		nid == NID_crl_distribution_points;
}

static const char *
extension_problem(const LEAF *leaf, int i)
{
	X509_EXTENSION *extension = X509v3_get_ext(leaf->tbs->extensions, i);
	const ASN1_OBJECT *type = X509_EXTENSION_get_object(extension);
	int nid = OBJ_obj2nid(type);

	if (X509v3_get_ext_by_OBJ(leaf->tbs->extensions, type, i) >= 0)
		return "stands there twice";
	if (is_foreign(nid))
		return "does not belong in a leaf";
	if (is_another_name_or_usage(type, nid))
		return "gives a name or a usage that was not approved";
	if (X509_EXTENSION_get_critical(extension) == 1 && !may_be_critical(nid))
		return "is critical and was not approved";
	return NULL;
}

static int
each_check(const LEAF *leaf, struct err *e)
{
	int count = X509v3_get_ext_count(leaf->tbs->extensions), i;
	const char *problem = NULL;
	char oid[80];

	if (count > LEAF_EXTENSIONS_MAX)
		return err_set(e, ERR_DENIED, "%d extensions", count);
	for (i = 0; i < count; i++) {
		problem = extension_problem(leaf, i);
		if (problem == NULL)
			continue;
		(void)OBJ_obj2txt(oid, sizeof oid,
			X509_EXTENSION_get_object(X509v3_get_ext(leaf->tbs->extensions, i)), 1);
		return err_set(e, ERR_DENIED, "extension %s %s", oid, problem);
	}
	return 0;
}

static int
basic_constraints_check(const LEAF *leaf, struct err *e)
{
	BASIC_CONSTRAINTS *basic;
	void *decoded = NULL;
	bool critical, ca, path;

	if (leaf_extension(leaf, NID_basic_constraints, &decoded, &critical, e) != 0)
		return -1;
	basic = decoded;
	if (basic == NULL)
		return 0;
	ca = basic->ca != 0;
	path = basic->pathlen != NULL;
	BASIC_CONSTRAINTS_free(basic);
	if (ca || path)
		return err_set(e, ERR_DENIED, "basicConstraints make it a CA certificate");
	return 0;
}

/* Without keyUsage a key may be used for anything, so it must be there. */
static int
key_usage_check(const LEAF *leaf, const struct ca_request *request, struct err *e)
{
	unsigned needed = spec_usage(request->spec, request->key_kind), found = 0;
	ASN1_BIT_STRING *bits;
	void *decoded = NULL;
	bool critical, foreign;
	int i;

	if (leaf_extension(leaf, NID_key_usage, &decoded, &critical, e) != 0)
		return -1;
	bits = decoded;
	if (bits == NULL)
		return err_set(e, ERR_DENIED, "keyUsage is missing");
	for (i = 0; i < FIRST_FOREIGN_BIT; i++)
		if (ASN1_BIT_STRING_get_bit(bits, i) == 1)
			found |= 1u << i;
	foreign = false;
	for (i = FIRST_FOREIGN_BIT; i < 8 * ASN1_STRING_length(bits); i++)
		foreign = foreign || ASN1_BIT_STRING_get_bit(bits, i) == 1;
	ASN1_BIT_STRING_free(bits);
	if (foreign)
		return err_set(e, ERR_DENIED, "keyUsage has a bit that leaves never have");
	if ((found & ~request->spec->key_usage) != 0)
		return err_set(e, ERR_DENIED, "keyUsage 0x%x where 0x%x was approved", found,
			request->spec->key_usage);
	if ((needed & ~found) != 0)
		return err_set(e, ERR_DENIED, "keyUsage 0x%x lacks some of the approved 0x%x", found, needed);
	return 0;
}

/* Which of the approved ones it is; 0: none. Its text is in oid. */
static unsigned
usage_bit(const ASN1_OBJECT *usage, const struct cert_spec *spec, char oid[OID_SHOWN])
{
	unsigned bits = 0;
	size_t k;

	(void)OBJ_obj2txt(oid, OID_SHOWN, usage, 1);
	for (k = 0; k < spec->eku_count; k++)
		if (strcmp(spec->eku[k], oid) == 0)
			bits |= 1u << k;
	return bits;
}

static int
purposes_check(const EXTENDED_KEY_USAGE *usage, const struct cert_spec *spec, struct err *e)
{
	unsigned met = 0, left = ~0u;
	char oid[OID_SHOWN];
	size_t k;
	int i;

	for (i = 0; i < sk_ASN1_OBJECT_num(usage); i++) {
		unsigned found = usage_bit(sk_ASN1_OBJECT_value(usage, i), spec, oid);

		if (found == 0)
			return err_set(e, ERR_DENIED, "extended key usage %s was not approved", oid);
		if ((found & left) == 0)
			return err_set(e, ERR_DENIED, "extended key usage %s stands there twice", oid);
		met |= found;
		left &= ~leaf_lowest(found & left);
	}
	for (k = 0; k < spec->eku_count; k++)
		if ((met & 1u << k) == 0)
			return err_set(e, ERR_DENIED, "extended key usage %s is missing", spec->eku[k]);
	return 0;
}

static int
extended_key_usage_check(const LEAF *leaf, const struct cert_spec *spec, struct err *e)
{
	EXTENDED_KEY_USAGE *usage;
	void *decoded = NULL;
	bool critical;
	int result;

	if (leaf_extension(leaf, NID_ext_key_usage, &decoded, &critical, e) != 0)
		return -1;
	usage = decoded;
	if (spec->eku_count > PROFILE_NAMES_MAX)
		result = err_set(e, ERR_BUG, "the spec has more extended key usages than fit");
	else if (usage != NULL && sk_ASN1_OBJECT_num(usage) == 0)
		result = err_set(e, ERR_DENIED, "extendedKeyUsage is empty");
	else
		result = purposes_check(usage, spec, e);
	EXTENDED_KEY_USAGE_free(usage);
	return result;
}

/* CertificatePolicies by syntax. */
static int
policies_check(struct bytes value, const struct cert_spec *spec, struct err *e)
{
	const uint8_t *p = value.at;
	CERTIFICATEPOLICIES *policies = d2i_CERTIFICATEPOLICIES(NULL, &p, (long)value.len);
	char oid[OID_SHOWN] = "";
	int i, count = sk_POLICYINFO_num(policies);
	bool odd = policies == NULL || p != value.at + value.len;

	for (i = 0; !odd && i < count; i++)
		if (usage_bit(sk_POLICYINFO_value(policies, i)->policyid, spec, oid) == 0)
			break;
	CERTIFICATEPOLICIES_free(policies);
	if (odd)
		return err_set(e, ERR_DENIED, "its application policies cannot be read");
	return i >= count ? 0 : err_set(e, ERR_DENIED, "application policy %s was not approved", oid);
}

static int
application_policies_check(const LEAF *leaf, const struct cert_spec *spec, struct err *e)
{
	int count = X509v3_get_ext_count(leaf->tbs->extensions), i;

	for (i = 0; i < count; i++) {
		X509_EXTENSION *extension = X509v3_get_ext(leaf->tbs->extensions, i);
		const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(extension);

		if (is_type(X509_EXTENSION_get_object(extension), application_policies, sizeof application_policies) &&
		    policies_check(bytes_of(ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value)), spec, e) != 0)
			return -1;
	}
	return 0;
}

int
leaf_extensions_check(const LEAF *leaf, const struct ca_request *request, struct err *e)
{
	if (each_check(leaf, e) != 0 || basic_constraints_check(leaf, e) != 0 ||
	    key_usage_check(leaf, request, e) != 0)
		return -1;
	if (extended_key_usage_check(leaf, request->spec, e) != 0)
		return -1;
	return application_policies_check(leaf, request->spec, e);
}
