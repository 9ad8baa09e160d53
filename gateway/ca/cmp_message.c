/*
 * CMP messages as DER: what OpenSSL's client keeps to itself, and a pollReq that outlives a restart.
 */
#include "gateway/ca/cmp.h"

#include <string.h>

#include <openssl/asn1t.h>
#include <openssl/err.h>

/* RFC 4210, section 5.1.1. The template macros take a single word for a type, hence the typedefs. */
typedef struct {
	ASN1_INTEGER *pvno;
	GENERAL_NAME *sender, *recipient;
	ASN1_GENERALIZEDTIME *time;
	X509_ALGOR *protection;
	ASN1_OCTET_STRING *sender_kid, *recipient_kid, *transaction, *sender_nonce, *recipient_nonce;
	STACK_OF(ASN1_UTF8STRING) *text;
	STACK_OF(ASN1_TYPE) *info;
} CMP_HEAD;

typedef struct {
	CMP_HEAD *head;
	ASN1_TYPE *body; /* a CHOICE of context tags, its octets as they are */
	ASN1_BIT_STRING *protection;
	STACK_OF(ASN1_TYPE) *certs;
} CMP_PARTS;

ASN1_SEQUENCE(CMP_HEAD) = {
	ASN1_SIMPLE(CMP_HEAD, pvno, ASN1_INTEGER),
	ASN1_SIMPLE(CMP_HEAD, sender, GENERAL_NAME),
	ASN1_SIMPLE(CMP_HEAD, recipient, GENERAL_NAME),
	ASN1_EXP_OPT(CMP_HEAD, time, ASN1_GENERALIZEDTIME, 0),
	ASN1_EXP_OPT(CMP_HEAD, protection, X509_ALGOR, 1),
	ASN1_EXP_OPT(CMP_HEAD, sender_kid, ASN1_OCTET_STRING, 2),
	ASN1_EXP_OPT(CMP_HEAD, recipient_kid, ASN1_OCTET_STRING, 3),
	ASN1_EXP_OPT(CMP_HEAD, transaction, ASN1_OCTET_STRING, 4),
	ASN1_EXP_OPT(CMP_HEAD, sender_nonce, ASN1_OCTET_STRING, 5),
	ASN1_EXP_OPT(CMP_HEAD, recipient_nonce, ASN1_OCTET_STRING, 6),
	ASN1_EXP_SEQUENCE_OF_OPT(CMP_HEAD, text, ASN1_UTF8STRING, 7),
	ASN1_EXP_SEQUENCE_OF_OPT(CMP_HEAD, info, ASN1_ANY, 8),
} static_ASN1_SEQUENCE_END(CMP_HEAD)

ASN1_SEQUENCE(CMP_PARTS) = {
	ASN1_SIMPLE(CMP_PARTS, head, CMP_HEAD),
	ASN1_SIMPLE(CMP_PARTS, body, ASN1_ANY),
	ASN1_EXP_OPT(CMP_PARTS, protection, ASN1_BIT_STRING, 0),
	ASN1_EXP_SEQUENCE_OF_OPT(CMP_PARTS, certs, ASN1_ANY, 1),
} static_ASN1_SEQUENCE_END(CMP_PARTS)

/* PollRepContent ::= SEQUENCE OF SEQUENCE { certReqId INTEGER, checkAfter INTEGER, reason PKIFreeText OPTIONAL } */
typedef struct {
	ASN1_INTEGER *request_id, *check_after;
	STACK_OF(ASN1_UTF8STRING) *reason;
} CMP_POLL_REPLY;
DEFINE_STACK_OF(CMP_POLL_REPLY)

typedef struct {
	STACK_OF(CMP_POLL_REPLY) *replies;
} CMP_POLL_BODY;

ASN1_SEQUENCE(CMP_POLL_REPLY) = {
	ASN1_SIMPLE(CMP_POLL_REPLY, request_id, ASN1_INTEGER),
	ASN1_SIMPLE(CMP_POLL_REPLY, check_after, ASN1_INTEGER),
	ASN1_SEQUENCE_OF_OPT(CMP_POLL_REPLY, reason, ASN1_UTF8STRING),
} static_ASN1_SEQUENCE_END(CMP_POLL_REPLY)

ASN1_ITEM_TEMPLATE(CMP_POLL_BODY) =
	ASN1_EX_TEMPLATE_TYPE(ASN1_TFLG_SEQUENCE_OF, 0, replies, CMP_POLL_REPLY)
static_ASN1_ITEM_TEMPLATE_END(CMP_POLL_BODY)

static void
parts_free(CMP_PARTS *parts)
{
	ASN1_item_free((ASN1_VALUE *)parts, ASN1_ITEM_rptr(CMP_PARTS));
}
DEFINE_CLEANUP(parts, CMP_PARTS *, parts_free);

static void
replies_free(STACK_OF(CMP_POLL_REPLY) *replies)
{
	ASN1_item_free((ASN1_VALUE *)replies, ASN1_ITEM_rptr(CMP_POLL_BODY));
}
DEFINE_CLEANUP(replies, STACK_OF(CMP_POLL_REPLY) *, replies_free);

int
cmp_message_decode(struct bytes der, OSSL_CMP_MSG **out, struct err *e)
{
	const uint8_t *at = der.at;
	OSSL_CMP_MSG *message;

	message = der.len == 0 ? NULL : d2i_OSSL_CMP_MSG(NULL, &at, (long)der.len);
	if (message == NULL)
		return err_ossl(e, ERR_UPSTREAM, "the answer is no PKIMessage");
	if (at != der.at + der.len) {
		OSSL_CMP_MSG_free(message);
		return err_set(e, ERR_UPSTREAM, "octets after the PKIMessage");
	}
	*out = message;
	return 0;
}

int
cmp_message_encode(const OSSL_CMP_MSG *message, struct buf *out, struct err *e)
{
	uint8_t *der = NULL;
	int len = i2d_OSSL_CMP_MSG(message, &der);

	if (len <= 0)
		return err_ossl(e, ERR_NOMEM, "PKIMessage");
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for a PKIMessage") : 0;
}

static int
parts_of(const OSSL_CMP_MSG *message, CMP_PARTS **out, struct err *e)
{
	CLEANUP(buf) struct buf der = { 0 };
	const uint8_t *at;

	if (cmp_message_encode(message, &der, e) != 0)
		return -1;
	at = der.at;
	*out = (CMP_PARTS *)ASN1_item_d2i(NULL, &at, (long)der.len, ASN1_ITEM_rptr(CMP_PARTS));
	return *out == NULL ? err_ossl(e, ERR_UPSTREAM, "PKIMessage") : 0;
}

int
cmp_message_nonce(const OSSL_CMP_MSG *message, struct cmp_nonce *out, struct err *e)
{
	CLEANUP(parts) CMP_PARTS *parts = NULL;
	const ASN1_OCTET_STRING *nonce;
	int len;

	if (parts_of(message, &parts, e) != 0)
		return -1;
	*out = (struct cmp_nonce){ 0 };
	nonce = parts->head->sender_nonce;
	len = nonce == NULL ? 0 : ASN1_STRING_length(nonce);
	if (len > 0 && len <= CMP_NONCE_MAX) {
		out->len = (size_t)len;
		memcpy(out->at, ASN1_STRING_get0_data(nonce), out->len);
	}
	return 0;
}

/* [25] { SEQUENCE OF { SEQUENCE { certReqId -1 } } }: a p10cr has none, and -1 stands for it. */
static ASN1_TYPE *
poll_body(void)
{
	static const uint8_t der[] = { 0xb9, 0x07, 0x30, 0x05, 0x30, 0x03, 0x02, 0x01, 0xff };
	const uint8_t *at = der;

	return d2i_ASN1_TYPE(NULL, &at, sizeof der);
}

static int
set_poll(CMP_PARTS *parts, const struct cmp_nonce *theirs, struct err *e)
{
	ASN1_OCTET_STRING *nonce = ASN1_OCTET_STRING_new();

	ASN1_TYPE_free(parts->body);
	parts->body = poll_body();
	if (nonce == NULL || parts->body == NULL ||
	    ASN1_OCTET_STRING_set(nonce, theirs->at, (int)theirs->len) != 1) {
		ASN1_OCTET_STRING_free(nonce);
		return err_ossl(e, ERR_NOMEM, "pollReq");
	}
	ASN1_OCTET_STRING_free(parts->head->recipient_nonce);
	parts->head->recipient_nonce = nonce;
	return 0;
}

int
cmp_message_as_poll(OSSL_CMP_CTX *ctx, const OSSL_CMP_MSG *request, const struct cmp_nonce *theirs,
	OSSL_CMP_MSG **out, struct err *e)
{
	CLEANUP(cmp_message) OSSL_CMP_MSG *poll = NULL;
	CLEANUP(parts) CMP_PARTS *parts = NULL;
	uint8_t *der = NULL;
	int len, result;

	if (parts_of(request, &parts, e) != 0 || set_poll(parts, theirs, e) != 0)
		return -1;
	len = ASN1_item_i2d((const ASN1_VALUE *)parts, &der, ASN1_ITEM_rptr(CMP_PARTS));
	if (len <= 0)
		return err_ossl(e, ERR_NOMEM, "pollReq");
	result = cmp_message_decode(bytes_of(der, (size_t)len), &poll, e);
	OPENSSL_free(der);
	/* The transaction stays as it is; this is the public function that protects a message again. */
	if (result != 0 || OSSL_CMP_MSG_update_transactionID(ctx, poll) != 1)
		return err_ossl(e, ERR_BUG, "pollReq");
	*out = poll;
	poll = NULL;
	return 0;
}

int
cmp_message_check_after(const OSSL_CMP_MSG *message, int64_t *seconds, struct err *e)
{
	CLEANUP(replies) STACK_OF(CMP_POLL_REPLY) *replies = NULL;
	CLEANUP(parts) CMP_PARTS *parts = NULL;
	const ASN1_STRING *body;
	const uint8_t *at;
	long len = 0;
	int tag = 0, kind = 0;
	int64_t after;

	if (parts_of(message, &parts, e) != 0)
		return -1;
	body = parts->body->value.asn1_string;
	at = ASN1_STRING_get0_data(body);
	/* The explicit tag's header, and within it PollRepContent. */
	if ((ASN1_get_object(&at, &len, &tag, &kind, ASN1_STRING_length(body)) & 0x80) != 0 || tag != CMP_BODY_POLL_REP)
		return err_set(e, ERR_UPSTREAM, "the answer is no pollRep");
	replies = (STACK_OF(CMP_POLL_REPLY) *)ASN1_item_d2i(NULL, &at, len, ASN1_ITEM_rptr(CMP_POLL_BODY));
	if (sk_CMP_POLL_REPLY_num(replies) != 1 ||
	    ASN1_INTEGER_get_int64(&after, sk_CMP_POLL_REPLY_value(replies, 0)->check_after) != 1 || after < 0)
		return err_ossl(e, ERR_UPSTREAM, "pollRep");
	*seconds = after;
	return 0;
}
