/*
 * One call to a CMP server: the context, the transport, and the look at what was issued.
 */
#include "gateway/ca/cmp.h"

#include <string.h>

#include <openssl/err.h>

#define CONTENT_TYPE "application/pkixcmp"

/* OpenSSL would write to stderr. */
static int
no_log(const char *function, const char *file, int line, OSSL_CMP_severity level, const char *message)
{
	(void)function;
	(void)file;
	(void)line;
	(void)level;
	(void)message;
	return 1;
}

/*
 * What must not happen twice is sent once: the request to issue. Polls, confirmations and revocations may
 * be repeated on another connection, should a kept one turn out to be dead.
 */
static enum cmp_sent
send_octets(struct cmp_exchange *x, struct bytes body, bool once, struct outbound_answer *out)
{
	struct outbound_header headers[] = { { "Content-Type", CONTENT_TYPE }, { "Accept", CONTENT_TYPE } };
	struct outbound_request request = { .method = "POST", .headers = headers, .header_count = 2, .body = body };
	int result;

	if (once)
		result = remote_call_once(&x->ca->remote, &request, out, &x->why);
	else
		result = outbound_call(x->ca->remote.client, &request, out, &x->why) == 0 ? 0 : 1;
	if (result != 0)
		return result < 0 ? CMP_NOT_SENT : CMP_LOST;
	/* RFC 6712: a status that is none of success may come with a PKIMessage that says more. */
	if (strcmp(out->content_type, CONTENT_TYPE) == 0)
		return CMP_ANSWERED;
	if (out->status == 200) {
		(void)err_set(&x->why, ERR_UPSTREAM, "%s: its answer is \"%s\" and not " CONTENT_TYPE, x->ca->remote.name,
			out->content_type);
		return CMP_LOST;
	}
	return remote_status(&x->ca->remote, out, NULL, &x->retry_s, &x->why) == 1 ? CMP_LOST : CMP_STATUS;
}

/*
 * An answer to a poll. RFC 4210 has the last answer echo the pollReq's nonce, RFC 9483, section 4.4, that of the
 * first request; OpenSSL knows the one of the message that it believes to have sent.
 */
static int
take_poll_answer(struct cmp_exchange *x, const OSSL_CMP_MSG *answer)
{
	const ASN1_OCTET_STRING *echo = OSSL_CMP_HDR_get0_recipNonce(OSSL_CMP_MSG_get0_header(answer));
	const struct cmp_nonce *first = &x->ticket.first;

	if (OSSL_CMP_MSG_get_bodytype(answer) == CMP_BODY_POLL_REP) {
		x->sent = CMP_LOST;
		if (OSSL_CMP_validate_msg(x->ctx, answer) != 1)
			return err_ossl(&x->why, ERR_UPSTREAM, "its answer to a poll");
		if (cmp_message_check_after(answer, &x->check_after_s, &x->why) == 0)
			x->sent = CMP_POLL;
		return -1;
	}
	if (echo != NULL && first->len != 0 && ASN1_STRING_length(echo) == (int)first->len &&
	    memcmp(ASN1_STRING_get0_data(echo), first->at, first->len) == 0 &&
	    OSSL_CMP_CTX_set1_senderNonce(x->ctx, echo) != 1)
		return err_ossl(&x->why, ERR_NOMEM, "nonce");
	return 0;
}

/* The message that really goes out for the one that OpenSSL wrote. */
static int
encode(struct cmp_exchange *x, const OSSL_CMP_MSG *request, bool first, struct buf *out)
{
	CLEANUP(cmp_message) OSSL_CMP_MSG *poll = NULL;

	if (!first || !x->polling) {
		if (first && cmp_message_nonce(request, &x->ticket.first, &x->why) != 0)
			return -1;
		return cmp_message_encode(request, out, &x->why);
	}
	if (cmp_message_as_poll(x->ctx, request, &x->ticket.theirs, &poll, &x->why) != 0)
		return -1;
	x->last_type = CMP_BODY_POLL_REQ;
	return cmp_message_encode(poll, out, &x->why);
}

static OSSL_CMP_MSG *
transfer(OSSL_CMP_CTX *ctx, const OSSL_CMP_MSG *request)
{
	struct cmp_exchange *x = OSSL_CMP_CTX_get_transfer_cb_arg(ctx);
	CLEANUP(cmp_message) OSSL_CMP_MSG *answer = NULL;
	CLEANUP(buf) struct buf body = { 0 };
	struct outbound_answer http = { 0 };
	bool first = x->messages++ == 0;
	OSSL_CMP_MSG *given;

	x->sent = CMP_NOT_SENT;
	x->last_type = OSSL_CMP_MSG_get_bodytype(request);
	if (encode(x, request, first, &body) != 0)
		return NULL;
	x->sent = send_octets(x, buf_bytes(&body), x->last_type == CMP_BODY_P10CR, &http);
	if (x->sent == CMP_ANSWERED && (cmp_message_decode(buf_bytes(&http.body), &answer, &x->why) != 0 ||
	    cmp_message_nonce(answer, &x->ticket.theirs, &x->why) != 0))
		x->sent = CMP_LOST;
	buf_clear(&x->last);
	buf_append_bytes(&x->last, buf_bytes(&http.body));
	outbound_answer_free(&http);
	if (x->sent != CMP_ANSWERED)
		return NULL;
	x->last_answer = OSSL_CMP_MSG_get_bodytype(answer);
	if (first && x->polling && take_poll_answer(x, answer) != 0)
		return NULL;
	given = answer;
	answer = NULL;
	return given;
}

/* The CA is told what the caller will do: what is refused here is revoked there, and must not reach a device. */
static int
accepts(struct cmp_exchange *x)
{
	const struct ca_request *request = x->request;

	if (request->accepts != NULL)
		return request->accepts(request->accepts_arg, buf_bytes(&x->cert), &x->why);
	return ca_verify_issued(buf_bytes(&x->cert), request, sk_X509_value(x->ca->remote.chain, 0), &x->why);
}

/*
 * What OpenSSL's client asks before it confirms (section 5.3.18). A certificate that is not what was approved is
 * refused here, so that the CA knows; the caller gets it all the same, to keep it and to revoke it.
 */
static int
confirm(OSSL_CMP_CTX *ctx, X509 *cert, int fail_info, const char **text)
{
	struct cmp_exchange *x = OSSL_CMP_CTX_get_certConf_cb_arg(ctx);

	buf_clear(&x->cert);
	if (x509_to_der(cert, &x->cert, &x->why) != 0) {
		*text = "no memory";
		return 1 << OSSL_CMP_PKIFAILUREINFO_systemFailure;
	}
	if (fail_info == 0 && accepts(x) == 0) {
		x->accepted = true;
		return 0;
	}
	*text = "the certificate is not what was approved";
	return fail_info != 0 ? fail_info : 1 << OSSL_CMP_PKIFAILUREINFO_incorrectData;
}

static bool
set_protection(OSSL_CMP_CTX *ctx, const struct ca *ca)
{
	if (ca->by_secret)
		return OSSL_CMP_CTX_set1_referenceValue(ctx, ca->reference.at, (int)ca->reference.len) == 1 &&
			OSSL_CMP_CTX_set1_secretValue(ctx, ca->remote.secret.at, (int)ca->remote.secret.len) == 1;
	if (X509_STORE_up_ref(ca->signers) != 1)
		return false;
	if (OSSL_CMP_CTX_set0_trustedStore(ctx, ca->signers) != 1) {
		X509_STORE_free(ca->signers);
		return false;
	}
	return OSSL_CMP_CTX_set1_cert(ctx, sk_X509_value(ca->own, 0)) == 1 && OSSL_CMP_CTX_set1_pkey(ctx, ca->key) == 1 &&
		OSSL_CMP_CTX_set1_extraCertsOut(ctx, ca->own) == 1 && OSSL_CMP_CTX_set1_untrusted(ctx, ca->remote.chain) == 1;
}

static bool
set_transaction(struct cmp_exchange *x)
{
	ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
	bool set = id != NULL && ASN1_OCTET_STRING_set(id, x->ticket.id, CMP_ID_OCTETS) == 1 &&
		OSSL_CMP_CTX_set1_transactionID(x->ctx, id) == 1;

	ASN1_OCTET_STRING_free(id);
	return set;
}

static bool
set_request(struct cmp_exchange *x)
{
	const uint8_t *at = x->request->csr.at;
	CLEANUP(X509_REQ) X509_REQ *csr = d2i_X509_REQ(NULL, &at, (long)x->request->csr.len);

	return csr != NULL && OSSL_CMP_CTX_set1_p10CSR(x->ctx, csr) == 1 &&
		OSSL_CMP_CTX_set_certConf_cb(x->ctx, confirm) == 1 && OSSL_CMP_CTX_set_certConf_cb_arg(x->ctx, x) == 1;
}

int
cmp_exchange_begin(struct cmp_exchange *x, struct err *e)
{
	X509 *issuer = sk_X509_value(x->ca->remote.chain, 0);

	x->ctx = OSSL_CMP_CTX_new(NULL, NULL);
	if (x->ctx == NULL || OSSL_CMP_CTX_set_log_cb(x->ctx, no_log) != 1 ||
	    OSSL_CMP_CTX_set_log_verbosity(x->ctx, 0) != 1 || OSSL_CMP_CTX_set_transfer_cb(x->ctx, transfer) != 1 ||
	    OSSL_CMP_CTX_set_transfer_cb_arg(x->ctx, x) != 1 ||
	    /* 0: no end; with one, OpenSSL would cut checkAfter to what is left of it. */
	    OSSL_CMP_CTX_set_option(x->ctx, OSSL_CMP_OPT_TOTAL_TIMEOUT, 0) != 1 ||
	    /* A server that cannot tell who we are cannot protect its refusal; TLS says whose it is. */
	    OSSL_CMP_CTX_set_option(x->ctx, OSSL_CMP_OPT_UNPROTECTED_ERRORS, 1) != 1 ||
	    OSSL_CMP_CTX_set1_recipient(x->ctx, X509_get_subject_name(issuer)) != 1 ||
	    !set_protection(x->ctx, x->ca) || !set_transaction(x) || (x->request != NULL && !set_request(x)))
		return err_ossl(e, ERR_NOMEM, "CMP context");
	return 0;
}

void
cmp_exchange_end(struct cmp_exchange *x)
{
	OSSL_CMP_CTX_free(x->ctx);
	buf_free(&x->cert);
	buf_free(&x->last);
	ERR_clear_error();
	*x = (struct cmp_exchange){ 0 };
}
