/*
 * cmp_service.h - OpenSSL's server half of CMP (RFC 4210): what the CA of these tests (cmp_ca.c) and the server inside
 * unit tests (tests/unit/ca_cmp_server.h) share. An OSSL_CMP_SRV_CTX knows one transaction at a time.
 */
#ifndef TESTS_CA_CMP_SERVICE_H
#define TESTS_CA_CMP_SERVICE_H

#include <stdio.h>
#include <string.h>

#include <openssl/cmp.h>
#include <openssl/err.h>

#include "base/ossl.h"

#define CMP_MEDIA "application/pkixcmp"

/* Choices of PKIBody (section 5.1.2). */
enum { P10CR = 4, ERROR_MESSAGE = 23, CERT_CONF = 24, POLL_REQ = 25 };

/* Context tags of PKIHeader (section 5.1.1). */
enum { HEAD_SENDER_KID = 2, HEAD_TRANSACTION = 4, HEAD_SENDER_NONCE = 5 };

static inline int
cmp_silent(const char *function, const char *file, int line, OSSL_CMP_severity level, const char *message)
{
	(void)function;
	(void)file;
	(void)line;
	(void)level;
	(void)message;
	return 1;
}

static inline int
cmp_general(OSSL_CMP_SRV_CTX *srv, const OSSL_CMP_MSG *req, const STACK_OF(OSSL_CMP_ITAV) *in, STACK_OF(OSSL_CMP_ITAV) **out)
{
	(void)srv;
	(void)req;
	(void)in;
	(void)out;
	return 0;
}

static inline void
cmp_told_error(OSSL_CMP_SRV_CTX *srv, const OSSL_CMP_MSG *req, const OSSL_CMP_PKISI *status, const ASN1_INTEGER *code,
	const OSSL_CMP_PKIFREETEXT *details)
{
	(void)srv;
	(void)req;
	(void)status;
	(void)code;
	(void)details;
}

struct cmp_callbacks {
	OSSL_CMP_SRV_cert_request_cb_t certify;
	OSSL_CMP_SRV_rr_cb_t revoke;
	OSSL_CMP_SRV_certConf_cb_t confirm;
	OSSL_CMP_SRV_pollReq_cb_t poll;
};

/* A server that writes nothing to stderr; NULL: no memory. arg is OSSL_CMP_SRV_CTX_get0_custom_ctx(). */
static inline OSSL_CMP_SRV_CTX *
cmp_service_new(void *arg, const struct cmp_callbacks *callbacks)
{
	OSSL_CMP_SRV_CTX *srv = OSSL_CMP_SRV_CTX_new(NULL, NULL);

	if (srv == NULL || OSSL_CMP_SRV_CTX_init(srv, arg, callbacks->certify, callbacks->revoke, cmp_general, cmp_told_error,
	    callbacks->confirm, callbacks->poll) != 1 ||
	    OSSL_CMP_CTX_set_log_cb(OSSL_CMP_SRV_CTX_get0_cmp_ctx(srv), cmp_silent) != 1) {
		OSSL_CMP_SRV_CTX_free(srv);
		return NULL;
	}
	return srv;
}

/* One PKIMessage and nothing after it, the caller's; NULL: it is none. */
static inline OSSL_CMP_MSG *
cmp_service_decode(struct bytes der)
{
	const uint8_t *at = der.at;
	OSSL_CMP_MSG *message = d2i_OSSL_CMP_MSG(NULL, &at, (long)der.len);

	if (message != NULL && at == der.at + der.len)
		return message;
	OSSL_CMP_MSG_free(message);
	ERR_clear_error();
	return NULL;
}

/* What the server says to it, appended as DER. false: nothing at all. */
static inline bool
cmp_service_answer(OSSL_CMP_SRV_CTX *srv, const OSSL_CMP_MSG *request, struct buf *out)
{
	OSSL_CMP_MSG *answer = OSSL_CMP_SRV_process_request(srv, request);
	uint8_t *der = NULL;
	int len = answer == NULL ? 0 : i2d_OSSL_CMP_MSG(answer, &der);

	if (len > 0)
		buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	OSSL_CMP_MSG_free(answer);
	ERR_clear_error();
	return len > 0;
}

/* Does it accept the certificate that it got? NULL stands for "accepted" (section 5.3.18). */
static inline bool
cmp_accepts(const OSSL_CMP_PKISI *status)
{
	char text[OSSL_CMP_PKISI_BUFLEN] = "";

	if (status != NULL)
		(void)OSSL_CMP_snprint_PKIStatusInfo(status, text, sizeof text);
	return strstr(text, "rejection") == NULL;
}

static inline OSSL_CMP_PKISI *
cmp_reject(int failure, const char *words)
{
	return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_rejection, 1 << failure, words);
}

/* As x509_serial_hex() has it. */
static inline void
cmp_serial_hex(const ASN1_INTEGER *serial, char out[SERIAL_HEX_MAX])
{
	int len = ASN1_STRING_length(serial);

	out[0] = '\0';
	if (2 * len < SERIAL_HEX_MAX)
		hex_encode(bytes_of(ASN1_STRING_get0_data(serial), (size_t)len), out);
	out[2 * len < SERIAL_HEX_MAX ? 2 * len : 0] = '\0';
}

/*
 * reasonCode (RFC 5280, section 5.3.1) among the crlEntryDetails of an rr, which OpenSSL's server half does not tell; -1: none.
 * Where it stands: OID 2.5.29.21, and an OCTET STRING with an ENUMERATED of one octet.
 */
static inline int
cmp_reason(struct bytes message)
{
	static const uint8_t known[] = { 0x06, 0x03, 0x55, 0x1d, 0x15, 0x04, 0x03, 0x0a, 0x01 };
	size_t i;

	for (i = 0; i + sizeof known < message.len; i++)
		if (memcmp(message.at + i, known, sizeof known) == 0)
			return message.at[i + sizeof known];
	return -1;
}

/* Steps into the next element, or over it. false: there is none. */
static inline bool
cmp_next(struct bytes *left, bool into, int *tag, struct bytes *content)
{
	const uint8_t *at = left->at;
	long len = 0;
	int kind = 0;

	if (left->len == 0 || (ASN1_get_object(&at, &len, tag, &kind, (long)left->len) & 0x80) != 0) {
		ERR_clear_error();
		return false;
	}
	*content = bytes_of(at, (size_t)len);
	left->len -= into ? (size_t)(at - left->at) : (size_t)(at - left->at) + (size_t)len;
	left->at = into ? at : at + len;
	return true;
}

/* The octets of a member of PKIHeader that OpenSSL 3.0 has no function for; len 0: it is not there. */
static inline struct bytes
cmp_head(struct bytes message, int wanted)
{
	struct bytes content = { 0 }, none = { 0 };
	int i, tag = 0;

	if (!cmp_next(&message, true, &tag, &content) || !cmp_next(&message, true, &tag, &content))
		return none;
	message = content;
	for (i = 0; i < 3; i++) /* pvno, sender, recipient */
		if (!cmp_next(&message, false, &tag, &content))
			return none;
	while (cmp_next(&message, false, &tag, &content))
		if (tag == wanted)
			return cmp_next(&content, true, &tag, &none) ? none : bytes_of(NULL, 0);
	return bytes_of(NULL, 0);
}

/* The choice of PKIBody; -1: no message. */
static inline int
cmp_body(struct bytes message)
{
	struct bytes content = { 0 };
	int tag = 0;

	return cmp_next(&message, true, &tag, &content) && cmp_next(&message, false, &tag, &content) &&
		cmp_next(&message, false, &tag, &content) ? tag : -1;
}

#endif
