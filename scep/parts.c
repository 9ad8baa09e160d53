#include <openssl/asn1t.h>
#include <openssl/err.h>

#include "scep/read.h"

ASN1_SEQUENCE(SCEP_ISSUER_SERIAL) = {
	ASN1_SIMPLE(SCEP_ISSUER_SERIAL, issuer, X509_NAME),
	ASN1_SIMPLE(SCEP_ISSUER_SERIAL, serial, ASN1_INTEGER),
} static_ASN1_SEQUENCE_END(SCEP_ISSUER_SERIAL)

/* SignerIdentifier and RecipientIdentifier (RFC 5652, sections 5.3 and 6.2.1). */
ASN1_CHOICE(SCEP_CERT_ID) = {
	ASN1_SIMPLE(SCEP_CERT_ID, by.issuer_serial, SCEP_ISSUER_SERIAL),
	ASN1_IMP(SCEP_CERT_ID, by.key_id, ASN1_OCTET_STRING, 0),
} static_ASN1_CHOICE_END(SCEP_CERT_ID)

ASN1_SEQUENCE(SCEP_SIGNER) = {
	ASN1_SIMPLE(SCEP_SIGNER, version, ASN1_INTEGER),
	ASN1_SIMPLE(SCEP_SIGNER, id, SCEP_CERT_ID),
	ASN1_SIMPLE(SCEP_SIGNER, digest, X509_ALGOR),
	ASN1_IMP_SET_OF_OPT(SCEP_SIGNER, attributes, X509_ATTRIBUTE, 0),
	ASN1_SIMPLE(SCEP_SIGNER, algorithm, X509_ALGOR),
	ASN1_SIMPLE(SCEP_SIGNER, signature, ASN1_OCTET_STRING),
	ASN1_IMP_SET_OF_OPT(SCEP_SIGNER, unsigned_attributes, X509_ATTRIBUTE, 1),
} static_ASN1_SEQUENCE_END(SCEP_SIGNER)

ASN1_SEQUENCE(SCEP_CONTENT) = {
	ASN1_SIMPLE(SCEP_CONTENT, type, ASN1_OBJECT),
	ASN1_EXP_OPT(SCEP_CONTENT, octets, ASN1_OCTET_STRING, 0),
} static_ASN1_SEQUENCE_END(SCEP_CONTENT)

/* SignedData (RFC 5652, section 5.1). Certificates and CRLs stay as they are until they are counted. */
ASN1_SEQUENCE(SCEP_SIGNED) = {
	ASN1_SIMPLE(SCEP_SIGNED, version, ASN1_INTEGER),
	ASN1_SET_OF(SCEP_SIGNED, digests, X509_ALGOR),
	ASN1_SIMPLE(SCEP_SIGNED, content, SCEP_CONTENT),
	ASN1_IMP_SET_OF_OPT(SCEP_SIGNED, certs, ASN1_ANY, 0),
	ASN1_IMP_SET_OF_OPT(SCEP_SIGNED, crls, ASN1_ANY, 1),
	ASN1_SET_OF(SCEP_SIGNED, signers, SCEP_SIGNER),
} static_ASN1_SEQUENCE_END(SCEP_SIGNED)

ASN1_SEQUENCE(SCEP_KEY_TRANSPORT) = {
	ASN1_SIMPLE(SCEP_KEY_TRANSPORT, version, ASN1_INTEGER),
	ASN1_SIMPLE(SCEP_KEY_TRANSPORT, id, SCEP_CERT_ID),
	ASN1_SIMPLE(SCEP_KEY_TRANSPORT, algorithm, X509_ALGOR),
	ASN1_SIMPLE(SCEP_KEY_TRANSPORT, key, ASN1_OCTET_STRING),
} static_ASN1_SEQUENCE_END(SCEP_KEY_TRANSPORT)

/* RFC 5652, section 6.2: key agreement, key encryption keys, passwords and others may stand beside ours. */
ASN1_CHOICE(SCEP_RECIPIENT) = {
	ASN1_SIMPLE(SCEP_RECIPIENT, by.transport, SCEP_KEY_TRANSPORT),
	ASN1_IMP(SCEP_RECIPIENT, by.other, ASN1_SEQUENCE, 1),
	ASN1_IMP(SCEP_RECIPIENT, by.other, ASN1_SEQUENCE, 2),
	ASN1_IMP(SCEP_RECIPIENT, by.other, ASN1_SEQUENCE, 3),
	ASN1_IMP(SCEP_RECIPIENT, by.other, ASN1_SEQUENCE, 4),
} static_ASN1_CHOICE_END(SCEP_RECIPIENT)

ASN1_SEQUENCE(SCEP_ENCRYPTED) = {
	ASN1_SIMPLE(SCEP_ENCRYPTED, type, ASN1_OBJECT),
	ASN1_SIMPLE(SCEP_ENCRYPTED, algorithm, X509_ALGOR),
	ASN1_IMP_OPT(SCEP_ENCRYPTED, octets, ASN1_OCTET_STRING, 0),
} static_ASN1_SEQUENCE_END(SCEP_ENCRYPTED)

ASN1_SEQUENCE(SCEP_ENVELOPED) = {
	ASN1_SIMPLE(SCEP_ENVELOPED, version, ASN1_INTEGER),
	ASN1_IMP_OPT(SCEP_ENVELOPED, originator, ASN1_SEQUENCE, 0),
	ASN1_SET_OF(SCEP_ENVELOPED, recipients, SCEP_RECIPIENT),
	ASN1_SIMPLE(SCEP_ENVELOPED, encrypted, SCEP_ENCRYPTED),
	ASN1_IMP_SET_OF_OPT(SCEP_ENVELOPED, unprotected, X509_ATTRIBUTE, 1),
} static_ASN1_SEQUENCE_END(SCEP_ENVELOPED)

/* ContentInfo (RFC 5652, section 3), of the one type that may stand in each place. */
typedef struct {
	ASN1_OBJECT *type;
	SCEP_SIGNED *content;
} SIGNED_INFO;

ASN1_SEQUENCE(SIGNED_INFO) = {
	ASN1_SIMPLE(SIGNED_INFO, type, ASN1_OBJECT),
	ASN1_EXP(SIGNED_INFO, content, SCEP_SIGNED, 0),
} static_ASN1_SEQUENCE_END(SIGNED_INFO)

typedef struct {
	ASN1_OBJECT *type;
	SCEP_ENVELOPED *content;
} ENVELOPED_INFO;

ASN1_SEQUENCE(ENVELOPED_INFO) = {
	ASN1_SIMPLE(ENVELOPED_INFO, type, ASN1_OBJECT),
	ASN1_EXP(ENVELOPED_INFO, content, SCEP_ENVELOPED, 0),
} static_ASN1_SEQUENCE_END(ENVELOPED_INFO)

/* Encodes what [0] IMPLICIT SET OF decoded; as a SEQUENCE OF, so that nothing is sorted. */
ASN1_ITEM_TEMPLATE(SIGNED_ATTRIBUTES) = ASN1_EX_TEMPLATE_TYPE(
	ASN1_TFLG_SEQUENCE_OF | ASN1_TFLG_IMPTAG | ASN1_TFLG_UNIVERSAL, V_ASN1_SET, SIGNED_ATTRIBUTES, X509_ATTRIBUTE)
static_ASN1_ITEM_TEMPLATE_END(SIGNED_ATTRIBUTES)

static void
signed_info_free(SIGNED_INFO *info)
{
	ASN1_item_free((ASN1_VALUE *)info, ASN1_ITEM_rptr(SIGNED_INFO));
}
DEFINE_CLEANUP(signed_info, SIGNED_INFO *, signed_info_free);

static void
enveloped_info_free(ENVELOPED_INFO *info)
{
	ASN1_item_free((ASN1_VALUE *)info, ASN1_ITEM_rptr(ENVELOPED_INFO));
}
DEFINE_CLEANUP(enveloped_info, ENVELOPED_INFO *, enveloped_info_free);

/* NULL with *e set. */
static void *
decode(struct bytes ber, const ASN1_ITEM *item, const char *what, struct err *e)
{
	const uint8_t *p = ber.at;
	ASN1_VALUE *value;

	if (scep_scan(ber, e) != 0) {
		(void)err_prefix(e, "%s", what);
		return NULL;
	}
	value = ASN1_item_d2i(NULL, &p, (long)ber.len, item);
	if (value != NULL && p == ber.at + ber.len)
		return value;
	ASN1_item_free(value, item);
	(void)err_ossl(e, ERR_MALFORMED, what);
	return NULL;
}

SCEP_SIGNED *
scep_signed_decode(struct bytes ber, struct err *e)
{
	CLEANUP(signed_info) SIGNED_INFO *info = decode(ber, ASN1_ITEM_rptr(SIGNED_INFO), "SignedData", e);
	SCEP_SIGNED *data;

	if (info == NULL)
		return NULL;
	if (OBJ_obj2nid(info->type) != NID_pkcs7_signed) {
		(void)err_set(e, ERR_MALFORMED, "content type is not signedData");
		return NULL;
	}
	data = info->content;
	info->content = NULL;
	return data;
}

void
scep_signed_free(SCEP_SIGNED *data)
{
	ASN1_item_free((ASN1_VALUE *)data, ASN1_ITEM_rptr(SCEP_SIGNED));
}

SCEP_ENVELOPED *
scep_enveloped_decode(struct bytes ber, struct err *e)
{
	CLEANUP(enveloped_info) ENVELOPED_INFO *info = decode(ber, ASN1_ITEM_rptr(ENVELOPED_INFO),
		"EnvelopedData", e);
	SCEP_ENVELOPED *data;

	if (info == NULL)
		return NULL;
	if (OBJ_obj2nid(info->type) != NID_pkcs7_enveloped) {
		(void)err_set(e, ERR_MALFORMED, "content type is not envelopedData");
		return NULL;
	}
	data = info->content;
	info->content = NULL;
	return data;
}

void
scep_enveloped_free(SCEP_ENVELOPED *data)
{
	ASN1_item_free((ASN1_VALUE *)data, ASN1_ITEM_rptr(SCEP_ENVELOPED));
}

SCEP_ISSUER_SERIAL *
scep_issuer_serial_decode(struct bytes ber, struct err *e)
{
	return decode(ber, ASN1_ITEM_rptr(SCEP_ISSUER_SERIAL), "issuerAndSerialNumber", e);
}

void
scep_issuer_serial_free(SCEP_ISSUER_SERIAL *id)
{
	ASN1_item_free((ASN1_VALUE *)id, ASN1_ITEM_rptr(SCEP_ISSUER_SERIAL));
}

bool
scep_cert_is(const SCEP_CERT_ID *id, X509 *cert)
{
	const ASN1_OCTET_STRING *key_id;

	if (id->type == SCEP_ID_ISSUER_SERIAL)
		return ASN1_INTEGER_cmp(id->by.issuer_serial->serial, X509_get0_serialNumber(cert)) == 0 &&
			X509_NAME_cmp(id->by.issuer_serial->issuer, X509_get_issuer_name(cert)) == 0;
	key_id = X509_get0_subject_key_id(cert);
	return key_id != NULL && ASN1_OCTET_STRING_cmp(id->by.key_id, key_id) == 0;
}

struct bytes
scep_string_bytes(const ASN1_STRING *string)
{
	if (string == NULL)
		return bytes_of(NULL, 0);
	return bytes_of(ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string));
}

int
scep_attributes_encode(STACK_OF(X509_ATTRIBUTE) *attributes, struct buf *out, struct err *e)
{
	uint8_t *der = NULL;
	int len = ASN1_item_i2d((const ASN1_VALUE *)attributes, &der, ASN1_ITEM_rptr(SIGNED_ATTRIBUTES));

	if (len <= 0)
		return err_ossl(e, ERR_NOMEM, "signed attributes");
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	if (buf_failed(out))
		return err_set(e, ERR_NOMEM, "signed attributes: no memory");
	return 0;
}
