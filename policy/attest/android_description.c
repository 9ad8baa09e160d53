#include "policy/attest/android_description.h"

#include <openssl/asn1t.h>
#include <openssl/err.h>

/*
 * KeyDescription ::= SEQUENCE {
 *   attestationVersion INTEGER, attestationSecurityLevel ENUMERATED,
 *   keymasterVersion INTEGER, keymasterSecurityLevel ENUMERATED,
 *   attestationChallenge OCTET STRING, uniqueId OCTET STRING,
 *   softwareEnforced AuthorizationList, hardwareEnforced AuthorizationList }
 *
 * (The macros want type names, hence the typedefs. The lists stay octets: see parse_list().)
 */
typedef struct {
	ASN1_INTEGER *version;
	ASN1_ENUMERATED *level;
	ASN1_INTEGER *key_version;
	ASN1_ENUMERATED *key_level;
	ASN1_OCTET_STRING *challenge;
	ASN1_OCTET_STRING *unique_id;
	ASN1_STRING *software;
	ASN1_STRING *hardware;
} KEY_DESCRIPTION;

ASN1_SEQUENCE(KEY_DESCRIPTION) = {
	ASN1_SIMPLE(KEY_DESCRIPTION, version, ASN1_INTEGER),
	ASN1_SIMPLE(KEY_DESCRIPTION, level, ASN1_ENUMERATED),
	ASN1_SIMPLE(KEY_DESCRIPTION, key_version, ASN1_INTEGER),
	ASN1_SIMPLE(KEY_DESCRIPTION, key_level, ASN1_ENUMERATED),
	ASN1_SIMPLE(KEY_DESCRIPTION, challenge, ASN1_OCTET_STRING),
	ASN1_SIMPLE(KEY_DESCRIPTION, unique_id, ASN1_OCTET_STRING),
	ASN1_SIMPLE(KEY_DESCRIPTION, software, ASN1_SEQUENCE),
	ASN1_SIMPLE(KEY_DESCRIPTION, hardware, ASN1_SEQUENCE),
} static_ASN1_SEQUENCE_END(KEY_DESCRIPTION)

/* RootOfTrust ::= SEQUENCE { verifiedBootKey, deviceLocked, verifiedBootState, verifiedBootHash (from version 3) } */
typedef struct {
	ASN1_OCTET_STRING *boot_key;
	ASN1_BOOLEAN locked;
	ASN1_ENUMERATED *boot_state;
	ASN1_OCTET_STRING *boot_hash;
} ROOT_OF_TRUST;

ASN1_SEQUENCE(ROOT_OF_TRUST) = {
	ASN1_SIMPLE(ROOT_OF_TRUST, boot_key, ASN1_OCTET_STRING),
	ASN1_SIMPLE(ROOT_OF_TRUST, locked, ASN1_BOOLEAN),
	ASN1_SIMPLE(ROOT_OF_TRUST, boot_state, ASN1_ENUMERATED),
	ASN1_OPT(ROOT_OF_TRUST, boot_hash, ASN1_OCTET_STRING),
} static_ASN1_SEQUENCE_END(ROOT_OF_TRUST)

static void
root_of_trust_free(ROOT_OF_TRUST *root)
{
	ASN1_item_free((ASN1_VALUE *)root, ASN1_ITEM_rptr(ROOT_OF_TRUST));
}
DEFINE_CLEANUP(root_of_trust, ROOT_OF_TRUST *, root_of_trust_free);

/* The values of purpose (KeyPurpose) and of the tags of an AuthorizationList. */
#define PURPOSE_SIGN 2
enum tag {
	TAG_PURPOSE = 1,
	TAG_ORIGIN = 702,
	TAG_ROOT_OF_TRUST = 704,
	TAG_OS_VERSION = 705,
	TAG_OS_PATCH_LEVEL = 706,
	TAG_ID_BRAND = 710,
	TAG_ID_SERIAL = 713,
	TAG_ID_IMEI = 714,
	TAG_ID_MANUFACTURER = 716,
	TAG_ID_MODEL = 717,
	TAG_VENDOR_PATCH_LEVEL = 718,
	TAG_BOOT_PATCH_LEVEL = 719,
	TAG_ID_SECOND_IMEI = 723,
};
#define TAG_MAX 1023 /* the schema's largest is 724 */

static struct bytes
octets_of(const ASN1_STRING *string)
{
	return bytes_of(ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string));
}

/* One DER value of this type and nothing after it; NULL otherwise. */
static void *
decode(struct bytes der, const ASN1_ITEM *item)
{
	const uint8_t *p = der.at;
	ASN1_VALUE *value = ASN1_item_d2i(NULL, &p, (long)der.len, item);

	ERR_clear_error();
	if (value != NULL && p != der.at + der.len) {
		ASN1_item_free(value, item);
		return NULL;
	}
	return value;
}

static bool
read_number(struct bytes der, int64_t *out)
{
	ASN1_INTEGER *integer = decode(der, ASN1_ITEM_rptr(ASN1_INTEGER));
	int64_t number = -1;
	bool good = integer != NULL && ASN1_INTEGER_get_int64(&number, integer) == 1 && number >= 0;

	ASN1_INTEGER_free(integer);
	ERR_clear_error();
	if (good)
		*out = number;
	return good;
}

/* An OCTET STRING: short form of its length, as no identifier is longer. */
static bool
read_text(struct bytes der, struct bytes *out)
{
	struct cursor c = cursor_of(der);
	struct bytes text;

	if (cursor_u8(&c) != V_ASN1_OCTET_STRING)
		return false;
	text = cursor_take(&c, cursor_u8(&c));
	if (!cursor_done(&c) || text.len == 0 || text.len > ANDROID_TEXT_MAX)
		return false;
	*out = text;
	return true;
}

static void
integer_set_free(STACK_OF(ASN1_TYPE) *set)
{
	sk_ASN1_TYPE_pop_free(set, ASN1_TYPE_free);
}
DEFINE_CLEANUP(integer_set, STACK_OF(ASN1_TYPE) *, integer_set_free);

/* SET OF INTEGER */
static bool
read_purpose(struct bytes der, struct android_list *out)
{
	const uint8_t *p = der.at;
	CLEANUP(integer_set) STACK_OF(ASN1_TYPE) *set = d2i_ASN1_SET_ANY(NULL, &p, (long)der.len);
	int i;

	ERR_clear_error();
	if (set == NULL || p != der.at + der.len)
		return false;
	for (i = 0; i < sk_ASN1_TYPE_num(set); i++) {
		const ASN1_TYPE *purpose = sk_ASN1_TYPE_value(set, i);
		int64_t number = -1;

		if (purpose->type != V_ASN1_INTEGER ||
		    ASN1_INTEGER_get_int64(&number, purpose->value.integer) != 1) {
			ERR_clear_error();
			return false;
		}
		out->signs = out->signs || number == PURPOSE_SIGN;
	}
	out->has_purpose = true;
	return true;
}

static bool
read_root(struct bytes der, struct android_list *out)
{
	CLEANUP(root_of_trust) ROOT_OF_TRUST *root = decode(der, ASN1_ITEM_rptr(ROOT_OF_TRUST));
	int64_t state = -1;

	if (root == NULL || ASN1_ENUMERATED_get_int64(&state, root->boot_state) != 1) {
		ERR_clear_error();
		return false;
	}
	out->has_root = true;
	out->locked = root->locked > 0;
	out->boot_state = state;
	return true;
}

static bool
read_entry(int tag, struct bytes der, struct android_list *out)
{
	switch (tag) {
	case TAG_PURPOSE:
		return read_purpose(der, out);
	case TAG_ORIGIN:
		return read_number(der, &out->origin);
	case TAG_ROOT_OF_TRUST:
		return read_root(der, out);
	case TAG_OS_VERSION:
		return read_number(der, &out->os_version);
	case TAG_OS_PATCH_LEVEL:
		return read_number(der, &out->patch_level);
	case TAG_VENDOR_PATCH_LEVEL:
		return read_number(der, &out->vendor_patch_level);
	case TAG_BOOT_PATCH_LEVEL:
		return read_number(der, &out->boot_patch_level);
	case TAG_ID_BRAND:
		return read_text(der, &out->brand);
	case TAG_ID_SERIAL:
		return read_text(der, &out->serial);
	case TAG_ID_IMEI:
		return read_text(der, &out->imei);
	case TAG_ID_SECOND_IMEI:
		return read_text(der, &out->second_imei);
	case TAG_ID_MANUFACTURER:
		return read_text(der, &out->manufacturer);
	case TAG_ID_MODEL:
		return read_text(der, &out->model);
	default:
		return true;
	}
}

/*
 * An AuthorizationList is a SEQUENCE of some fifty OPTIONAL fields under EXPLICIT tags, which grows with each
 * version and which some devices do not keep in order. So it is walked field by field.
 */
static int
parse_list(const ASN1_STRING *list, struct android_list *out, struct err *e)
{
	uint8_t seen[(TAG_MAX + 8) / 8] = { 0 };
	struct bytes der = octets_of(list);
	const uint8_t *p = der.at, *end = der.at + der.len;
	int tag, class;
	long len;

	*out = (struct android_list){ .origin = -1, .boot_state = -1, .os_version = -1, .patch_level = -1,
		.vendor_patch_level = -1, .boot_patch_level = -1 };
	/* The list's own header: d2i has seen that it is a SEQUENCE which fills the octets. */
	if (ASN1_get_object(&p, &len, &tag, &class, end - p) != V_ASN1_CONSTRUCTED || len != end - p)
		return err_set(e, ERR_MALFORMED, "an authorization list");
	while (p < end) {
		int form = ASN1_get_object(&p, &len, &tag, &class, end - p);

		/* Anything else in the form is an error or an indefinite length. */
		if (form != V_ASN1_CONSTRUCTED || class != V_ASN1_CONTEXT_SPECIFIC || tag < 1 || tag > TAG_MAX) {
			ERR_clear_error();
			return err_set(e, ERR_MALFORMED, "an authorization list");
		}
		if ((seen[tag / 8] & 1u << tag % 8) != 0)
			return err_set(e, ERR_MALFORMED, "tag %d stands twice in an authorization list", tag);
		seen[tag / 8] |= (uint8_t)(1u << tag % 8);
		if (!read_entry(tag, bytes_of(p, (size_t)len), out))
			return err_set(e, ERR_MALFORMED, "tag %d of an authorization list", tag);
		p += len;
	}
	return 0;
}

static bool
is_known_version(int64_t version)
{
	static const int64_t known[] = { 1, 2, 3, 4, 100, 200, 300, 400 };
	size_t i;

	for (i = 0; i < sizeof known / sizeof known[0]; i++)
		if (version == known[i])
			return true;
	return false;
}

static bool
read_level(const ASN1_ENUMERATED *level, int64_t *out)
{
	return ASN1_ENUMERATED_get_int64(out, level) == 1 && *out >= ANDROID_SOFTWARE && *out < ANDROID_LEVELS;
}

static int
take(const KEY_DESCRIPTION *decoded, struct android_description *out, struct err *e)
{
	if (ASN1_INTEGER_get_int64(&out->version, decoded->version) != 1 || !is_known_version(out->version)) {
		ERR_clear_error();
		return err_set(e, ERR_UNSUPPORTED, "version %lld is unknown", (long long)out->version);
	}
	if (!read_level(decoded->level, &out->level) || !read_level(decoded->key_level, &out->key_level)) {
		ERR_clear_error();
		return err_set(e, ERR_MALFORMED, "an unknown security level");
	}
	out->challenge = octets_of(decoded->challenge);
	if (parse_list(decoded->software, &out->software, e) != 0 ||
	    parse_list(decoded->hardware, &out->hardware, e) != 0)
		return -1;
	return 0;
}

int
android_description_parse(struct bytes value, struct android_description *out, struct err *e)
{
	KEY_DESCRIPTION *decoded = decode(value, ASN1_ITEM_rptr(KEY_DESCRIPTION));
	struct android_description description = { .version = -1, .decoded = decoded };

	if (decoded == NULL)
		return err_set(e, ERR_MALFORMED, "it does not decode");
	if (take(decoded, &description, e) != 0) {
		android_description_clear(&description);
		return -1;
	}
	*out = description;
	return 0;
}

void
android_description_clear(struct android_description *description)
{
	ASN1_item_free(description->decoded, ASN1_ITEM_rptr(KEY_DESCRIPTION));
	description->decoded = NULL;
}
