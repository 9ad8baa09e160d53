#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "scep/read.h"

/* What a peer's attribute must be, in the order of enum scep_attribute. */
static const struct kind {
	const char *name;
	int type;
} kinds[SCEP_ATTRIBUTES] = {
	[SCEP_ATTRIBUTE_CONTENT_TYPE] = { "contentType", V_ASN1_OBJECT },
	[SCEP_ATTRIBUTE_MESSAGE_DIGEST] = { "messageDigest", V_ASN1_OCTET_STRING },
	[SCEP_ATTRIBUTE_TRANSACTION] = { "transactionID", V_ASN1_PRINTABLESTRING },
	[SCEP_ATTRIBUTE_MESSAGE_TYPE] = { "messageType", V_ASN1_PRINTABLESTRING },
	[SCEP_ATTRIBUTE_STATUS] = { "pkiStatus", V_ASN1_PRINTABLESTRING },
	[SCEP_ATTRIBUTE_FAIL] = { "failInfo", V_ASN1_PRINTABLESTRING },
	[SCEP_ATTRIBUTE_FAIL_TEXT] = { "failInfoText", V_ASN1_UTF8STRING },
	[SCEP_ATTRIBUTE_SENDER_NONCE] = { "senderNonce", V_ASN1_OCTET_STRING },
	[SCEP_ATTRIBUTE_RECIPIENT_NONCE] = { "recipientNonce", V_ASN1_OCTET_STRING },
};

void
scep_attributes_find(const STACK_OF(X509_ATTRIBUTE) *attributes, struct scep_attributes *out)
{
	int i, n = sk_X509_ATTRIBUTE_num(attributes); /* -1 when there are none */
	unsigned which;

	*out = (struct scep_attributes){ 0 };
	for (i = 0; i < n; i++) {
		X509_ATTRIBUTE *attribute = sk_X509_ATTRIBUTE_value(attributes, i);
		const ASN1_OBJECT *oid = X509_ATTRIBUTE_get0_object(attribute);
		struct bytes is = bytes_of(OBJ_get0_data(oid), OBJ_length(oid));

		for (which = 0; which < SCEP_ATTRIBUTES; which++)
			if (bytes_equal(is, scep_attribute_oid((enum scep_attribute)which)))
				break;
		if (which == SCEP_ATTRIBUTES)
			continue;
		if (out->at[which] != NULL)
			out->twice |= 1u << which;
		out->at[which] = attribute;
	}
}

int
scep_attribute_get(const struct scep_attributes *attributes, enum scep_attribute which, const ASN1_TYPE **out,
	struct err *e)
{
	X509_ATTRIBUTE *attribute = attributes->at[which];
	const ASN1_TYPE *value;

	if (attribute == NULL)
		return err_set(e, ERR_MALFORMED, "there is no %s", kinds[which].name);
	if ((attributes->twice & 1u << which) != 0)
		return err_set(e, ERR_MALFORMED, "%s stands there twice", kinds[which].name);
	if (X509_ATTRIBUTE_count(attribute) != 1)
		return err_set(e, ERR_MALFORMED, "%s has %d values; it must have one", kinds[which].name,
			X509_ATTRIBUTE_count(attribute));
	value = X509_ATTRIBUTE_get0_type(attribute, 0);
	if (value->type != kinds[which].type)
		return err_set(e, ERR_MALFORMED, "%s is of ASN.1 type %d instead of %d", kinds[which].name,
			value->type, kinds[which].type);
	*out = value;
	return 0;
}

/* For those whose value is some kind of string. */
static int
get_octets(const struct scep_attributes *attributes, enum scep_attribute which, struct bytes *out, struct err *e)
{
	const ASN1_TYPE *value = NULL;

	if (scep_attribute_get(attributes, which, &value, e) != 0)
		return -1;
	*out = scep_string_bytes(value->value.asn1_string);
	return 0;
}

/* A number as one of these texts and no other ("019", "+19", "19 "). Returns its place, or count. */
static size_t
find_text(struct bytes text, const char *const *texts, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (bytes_equal_text(text, texts[i]))
			break;
	return i;
}

/* "Message types not defined above MUST be treated as errors" (section 3.2.1.2). */
static int
read_type(const struct scep_attributes *attributes, enum scep_type *out, struct err *e)
{
	static const char *const texts[] = { "3", "17", "19", "20", "21", "22" };
	static const enum scep_type types[] = { SCEP_CERT_REP, SCEP_RENEWAL_REQ, SCEP_PKCS_REQ, SCEP_CERT_POLL,
		SCEP_GET_CERT, SCEP_GET_CRL };
	struct bytes text = { 0 };
	char shown[32];
	size_t i;

	if (get_octets(attributes, SCEP_ATTRIBUTE_MESSAGE_TYPE, &text, e) != 0)
		return -1;
	if (text.len == 0)
		return err_set(e, ERR_MALFORMED, "messageType is empty");
	i = find_text(text, texts, sizeof texts / sizeof texts[0]);
	if (i == sizeof texts / sizeof texts[0]) {
		text_escape(shown, sizeof shown, text);
		return err_set(e, ERR_UNSUPPORTED, "messageType \"%s\"", shown);
	}
	*out = types[i];
	return 0;
}

/* It goes into a database, a log and the answer: what could break a line there is no name of a transaction. */
static int
read_transaction(const struct scep_attributes *attributes, char out[SCEP_TRANSACTION_MAX + 1], struct err *e)
{
	struct bytes text = { 0 };
	size_t i;

	if (get_octets(attributes, SCEP_ATTRIBUTE_TRANSACTION, &text, e) != 0)
		return -1;
	if (text.len == 0 || text.len > SCEP_TRANSACTION_MAX)
		return err_set(e, ERR_MALFORMED, "transactionID of %zu characters; 1 to %d are allowed", text.len,
			SCEP_TRANSACTION_MAX);
	for (i = 0; i < text.len; i++)
		if (text.at[i] < 0x20 || text.at[i] > 0x7e)
			return err_set(e, ERR_MALFORMED, "transactionID with octet %02x", text.at[i]);
	memcpy(out, text.at, text.len);
	out[text.len] = '\0';
	return 0;
}

static int
read_nonce(const struct scep_attributes *attributes, enum scep_attribute which, uint8_t out[SCEP_NONCE_MAX],
	size_t *len, struct err *e)
{
	struct bytes nonce = { 0 };

	if (get_octets(attributes, which, &nonce, e) != 0)
		return -1;
	if (nonce.len < SCEP_NONCE_MIN || nonce.len > SCEP_NONCE_MAX)
		return err_set(e, ERR_MALFORMED, "%s of %zu octets; %d to %d are allowed", kinds[which].name,
			nonce.len, SCEP_NONCE_MIN, SCEP_NONCE_MAX);
	memcpy(out, nonce.at, nonce.len);
	*len = nonce.len;
	return 0;
}

static int
read_fail(const struct scep_attributes *attributes, struct scep_message *message, struct err *e)
{
	static const char *const texts[] = { "0", "1", "2", "3", "4" };
	static const enum scep_fail fails[] = { SCEP_BAD_ALG, SCEP_BAD_MESSAGE_CHECK, SCEP_BAD_REQUEST,
		SCEP_BAD_TIME, SCEP_BAD_CERT_ID };
	struct bytes text = { 0 };
	size_t i;

	if (get_octets(attributes, SCEP_ATTRIBUTE_FAIL, &text, e) != 0)
		return -1;
	i = find_text(text, texts, sizeof texts / sizeof texts[0]);
	if (i == sizeof texts / sizeof texts[0])
		return err_set(e, ERR_MALFORMED, "failInfo is none of RFC 8894");
	message->fail = fails[i];
	if (attributes->at[SCEP_ATTRIBUTE_FAIL_TEXT] == NULL)
		return 0;
	if (get_octets(attributes, SCEP_ATTRIBUTE_FAIL_TEXT, &text, e) != 0)
		return -1;
	text_escape(message->fail_text, sizeof message->fail_text, text);
	return 0;
}

static int
read_reply(const struct scep_attributes *attributes, struct scep_message *message, struct err *e)
{
	static const char *const texts[] = { "0", "2", "3" };
	static const enum scep_status statuses[] = { SCEP_SUCCESS, SCEP_FAILURE, SCEP_PENDING };
	struct bytes text = { 0 };
	size_t i;

	if (get_octets(attributes, SCEP_ATTRIBUTE_STATUS, &text, e) != 0)
		return -1;
	i = find_text(text, texts, sizeof texts / sizeof texts[0]);
	if (i == sizeof texts / sizeof texts[0])
		return err_set(e, ERR_MALFORMED, "pkiStatus is none of RFC 8894");
	message->status = statuses[i];
	if (read_nonce(attributes, SCEP_ATTRIBUTE_RECIPIENT_NONCE, message->recipient_nonce,
		    &message->recipient_nonce_len, e) != 0)
		return -1;
	return message->status == SCEP_FAILURE ? read_fail(attributes, message, e) : 0;
}

int
scep_attributes_read(const struct scep_attributes *attributes, struct scep_message *message, struct err *e)
{
	if (read_type(attributes, &message->type, e) != 0 ||
	    read_transaction(attributes, message->transaction, e) != 0 ||
	    read_nonce(attributes, SCEP_ATTRIBUTE_SENDER_NONCE, message->sender_nonce, &message->sender_nonce_len,
		    e) != 0)
		return -1;
	return message->type == SCEP_CERT_REP ? read_reply(attributes, message, e) : 0;
}
