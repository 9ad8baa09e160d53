#include "policy/identity_field.h"

#include <string.h>

#include <openssl/asn1t.h>
#include <openssl/err.h>
#include <openssl/objects.h>

#include "base/text.h"

/* The template macros of openssl/asn1t.h want type names. */

/* RFC 4108, section 5: HardwareModuleName ::= SEQUENCE { hwType OBJECT IDENTIFIER, hwSerialNum OCTET STRING } */
typedef struct hw_module_name {
	ASN1_OBJECT *hw_type;
	ASN1_OCTET_STRING *hw_serial;
} HW_MODULE_NAME;

ASN1_SEQUENCE(HW_MODULE_NAME) = {
	ASN1_SIMPLE(HW_MODULE_NAME, hw_type, ASN1_OBJECT),
	ASN1_SIMPLE(HW_MODULE_NAME, hw_serial, ASN1_OCTET_STRING),
} static_ASN1_SEQUENCE_END(HW_MODULE_NAME)

/* RFC 4043, section 2: SEQUENCE { identifierValue UTF8String OPTIONAL, assigner OBJECT IDENTIFIER OPTIONAL } */
typedef struct permanent_id {
	ASN1_UTF8STRING *value;
	ASN1_OBJECT *assigner;
} PERMANENT_ID;

ASN1_SEQUENCE(PERMANENT_ID) = {
	ASN1_OPT(PERMANENT_ID, value, ASN1_UTF8STRING),
	ASN1_OPT(PERMANENT_ID, assigner, ASN1_OBJECT),
} static_ASN1_SEQUENCE_END(PERMANENT_ID)

static void
hw_module_name_free(HW_MODULE_NAME *name)
{
	ASN1_item_free((ASN1_VALUE *)name, ASN1_ITEM_rptr(HW_MODULE_NAME));
}

static void
permanent_id_free(PERMANENT_ID *id)
{
	ASN1_item_free((ASN1_VALUE *)id, ASN1_ITEM_rptr(PERMANENT_ID));
}

DEFINE_CLEANUP(hw_module_name, HW_MODULE_NAME *, hw_module_name_free);
DEFINE_CLEANUP(permanent_id, PERMANENT_ID *, permanent_id_free);

/* The value found so far; a second one must be the same. */
struct found {
	enum identity_field field;
	char *out;
	bool present;
};

static int
found_put(struct found *found, struct bytes value, struct err *e)
{
	const char *what = identity_field_name(found->field);
	char text[REG_VALUE_MAX];

	if (value.len == 0)
		return err_set(e, ERR_MALFORMED, "%s is empty", what);
	if (text_copy(text, sizeof text, value, what, e) != 0) {
		e->code = ERR_MALFORMED;
		return -1;
	}
	if (found->present && strcmp(found->out, text) != 0)
		return err_set(e, ERR_MALFORMED, "%s occurs twice with different values", what);
	memcpy(found->out, text, sizeof text);
	found->present = true;
	return 0;
}

static int
found_put_string(struct found *found, const ASN1_STRING *string, struct err *e)
{
	uint8_t *utf8 = NULL;
	int len = string == NULL ? -1 : ASN1_STRING_to_UTF8(&utf8, string);
	int rc;

	ERR_clear_error();
	if (len < 0)
		return err_set(e, ERR_MALFORMED, "%s is not a text", identity_field_name(found->field));
	rc = found_put(found, bytes_of(utf8, (size_t)len), e);
	OPENSSL_free(utf8);
	return rc;
}

static int
read_subject(const X509_NAME *subject, int nid, struct found *found, struct err *e)
{
	int at = -1;

	while (subject != NULL && (at = X509_NAME_get_index_by_NID(subject, nid, at)) >= 0)
		if (found_put_string(found, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), e) != 0)
			return -1;
	return 0;
}

static int
read_ia5(const ASN1_IA5STRING *string, struct found *found, struct err *e)
{
	struct bytes value = bytes_of(ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string));
	size_t i;

	for (i = 0; i < value.len; i++)
		if (value.at[i] >= 0x80)
			return err_set(e, ERR_MALFORMED, "%s is not ASCII", identity_field_name(found->field));
	return found_put(found, value, e);
}

/* Exactly one DER value inside an otherName; NULL otherwise. */
static void *
decode_other(const ASN1_TYPE *value, const ASN1_ITEM *item)
{
	const uint8_t *p, *end;
	ASN1_VALUE *decoded;

	if (value == NULL || value->type != V_ASN1_SEQUENCE || value->value.sequence == NULL)
		return NULL;
	p = ASN1_STRING_get0_data(value->value.sequence);
	end = p + ASN1_STRING_length(value->value.sequence);
	decoded = ASN1_item_d2i(NULL, &p, end - p, item);
	ERR_clear_error();
	if (decoded != NULL && p != end) {
		ASN1_item_free(decoded, item);
		return NULL;
	}
	return decoded;
}

static int
read_hw_module(const ASN1_TYPE *value, struct found *found, struct err *e)
{
	CLEANUP(hw_module_name) HW_MODULE_NAME *name = decode_other(value, ASN1_ITEM_rptr(HW_MODULE_NAME));
	char text[REG_VALUE_MAX];
	struct bytes serial;
	int n;

	if (name == NULL || name->hw_type == NULL || name->hw_serial == NULL)
		return err_set(e, ERR_MALFORMED, "hardwareModuleName does not decode");
	serial = bytes_of(ASN1_STRING_get0_data(name->hw_serial), (size_t)ASN1_STRING_length(name->hw_serial));
	if (found->field == IDENTITY_SAN_HW_SERIAL)
		return found_put(found, serial, e);
	n = OBJ_obj2txt(text, sizeof text, name->hw_type, 1);
	if (n <= 0 || serial.len == 0 || (size_t)n + 1 + 2 * serial.len >= sizeof text)
		return err_set(e, ERR_MALFORMED, "hardwareModuleName is empty or too long");
	text[n] = ':';
	hex_encode(serial, text + n + 1);
	return found_put(found, bytes_of_text(text), e);
}

static int
read_permanent_id(const X509_NAME *subject, const ASN1_TYPE *value, struct found *found, struct err *e)
{
	CLEANUP(permanent_id) PERMANENT_ID *id = decode_other(value, ASN1_ITEM_rptr(PERMANENT_ID));

	if (id == NULL)
		return err_set(e, ERR_MALFORMED, "permanentIdentifier does not decode");
	/* RFC 4043, section 2: without identifierValue, the subject's serialNumber is the value. */
	if (id->value == NULL)
		return read_subject(subject, NID_serialNumber, found, e);
	return found_put_string(found, id->value, e);
}

/* OpenSSL 3.0 has no number for hardwareModuleName, so both are known by their octets: 1.3.6.1.5.5.7.8.4 and .3. */
static const uint8_t hw_module_oid[] = { 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x08, 0x04 };
static const uint8_t permanent_id_oid[] = { 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x08, 0x03 };

static bool
oid_is(const ASN1_OBJECT *oid, struct bytes octets)
{
	return oid != NULL && bytes_equal(bytes_of(OBJ_get0_data(oid), OBJ_length(oid)), octets);
}

static int
read_other(const X509_NAME *subject, const OTHERNAME *other, struct found *found, struct err *e)
{
	if ((found->field == IDENTITY_SAN_HW_MODULE || found->field == IDENTITY_SAN_HW_SERIAL) &&
	    oid_is(other->type_id, bytes_of(hw_module_oid, sizeof hw_module_oid)))
		return read_hw_module(other->value, found, e);
	if (found->field == IDENTITY_SAN_PERMANENT_ID &&
	    oid_is(other->type_id, bytes_of(permanent_id_oid, sizeof permanent_id_oid)))
		return read_permanent_id(subject, other->value, found, e);
	return 0;
}

static int
read_san(const X509_NAME *subject, const GENERAL_NAME *san, struct found *found, struct err *e)
{
	enum identity_field field = found->field;

	if (san->type == GEN_DNS && field == IDENTITY_SAN_DNS)
		return read_ia5(san->d.dNSName, found, e);
	if (san->type == GEN_URI && field == IDENTITY_SAN_URI)
		return read_ia5(san->d.uniformResourceIdentifier, found, e);
	if (san->type == GEN_EMAIL && field == IDENTITY_SAN_EMAIL)
		return read_ia5(san->d.rfc822Name, found, e);
	if (san->type == GEN_OTHERNAME && san->d.otherName != NULL)
		return read_other(subject, san->d.otherName, found, e);
	return 0;
}

static int
decode_sans(struct identity_source *source, struct err *e)
{
	int critical = 0;

	source->decoded = X509_get_ext_d2i(source->cert, NID_subject_alt_name, &critical, NULL);
	ERR_clear_error();
	/* -1: there is none; NULL with anything else: it occurs twice or does not decode */
	if (source->decoded == NULL && critical != -1)
		return err_set(e, ERR_MALFORMED, "subjectAltName occurs twice or does not decode");
	source->sans = source->decoded;
	source->sans_read = true;
	return 0;
}

static int
read_sans(struct identity_source *source, struct found *found, struct err *e)
{
	int i;

	if (!source->sans_read && decode_sans(source, e) != 0)
		return -1;
	for (i = 0; i < sk_GENERAL_NAME_num(source->sans); i++)
		if (read_san(source->subject, sk_GENERAL_NAME_value(source->sans, i), found, e) != 0)
			return -1;
	return 0;
}

static int
read_serial(const X509 *cert, struct found *found, struct err *e)
{
	char hex[SERIAL_HEX_MAX];

	if (x509_serial_hex(cert, hex, e) != 0)
		return -1;
	return found_put(found, bytes_of_text(hex), e);
}

static int
read_spki(const X509 *cert, struct found *found, struct err *e)
{
	/* The key itself need not be one OpenSSL can use: an RSAES-OAEP endorsement key is not. */
	const X509_PUBKEY *key = X509_get_X509_PUBKEY(cert);
	uint8_t *der = NULL, hash[32];
	char hex[2 * sizeof hash + 1];
	int len = key == NULL ? -1 : i2d_X509_PUBKEY(key, &der);
	int rc;

	if (len <= 0)
		return err_ossl(e, ERR_MALFORMED, "the certificate's public key");
	rc = sha256(bytes_of(der, (size_t)len), hash, e);
	OPENSSL_free(der);
	if (rc != 0)
		return -1;
	hex_encode(bytes_of(hash, sizeof hash), hex);
	return found_put(found, bytes_of_text(hex), e);
}

static int
read_field(struct identity_source *source, struct found *found, struct err *e)
{
	switch (found->field) {
	case IDENTITY_SUBJECT_SERIAL:
		return read_subject(source->subject, NID_serialNumber, found, e);
	case IDENTITY_SUBJECT_CN:
		return read_subject(source->subject, NID_commonName, found, e);
	case IDENTITY_SUBJECT_UID:
		return read_subject(source->subject, NID_userId, found, e);
	case IDENTITY_SAN_DNS:
	case IDENTITY_SAN_URI:
	case IDENTITY_SAN_EMAIL:
	case IDENTITY_SAN_HW_MODULE:
	case IDENTITY_SAN_HW_SERIAL:
	case IDENTITY_SAN_PERMANENT_ID:
		return read_sans(source, found, e);
	case IDENTITY_CERT_SERIAL:
		return source->cert == NULL ? 0 : read_serial(source->cert, found, e);
	case IDENTITY_SPKI_SHA256:
		return source->cert == NULL ? 0 : read_spki(source->cert, found, e);
	}
	return err_set(e, ERR_BUG, "unknown identity field");
}

int
identity_field_read(struct identity_source *source, enum identity_field field, char out[REG_VALUE_MAX],
	bool *present, struct err *e)
{
	struct found found = { .field = field, .out = out };

	if (read_field(source, &found, e) != 0)
		return -1;
	*present = found.present;
	return 0;
}

struct identity_source
identity_source_of_cert(const X509 *cert)
{
	return (struct identity_source){ .cert = cert, .subject = X509_get_subject_name(cert) };
}

struct identity_source
identity_source_of_names(const X509_NAME *subject, const GENERAL_NAMES *sans)
{
	return (struct identity_source){ .subject = subject, .sans = sans, .sans_read = true };
}

void
identity_source_clear(struct identity_source *source)
{
	GENERAL_NAMES_free(source->decoded);
	*source = (struct identity_source){ 0 };
}
