#define _GNU_SOURCE
/*
 * A CA behind a SCEP server (RFC 8894): ADCS by NDES, micromdm's scepserver, another enrolld.
 *
 * The gateway is the client: it signs and decrypts as registration authority, and the device's own PKCS#10 is what
 * it encloses. That request is signed by the device, so nothing can be added to it, a challengePassword least of all.
 */
#include "gateway/ca/scep_up.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

#include "gateway/ca/certs_only.h"

#define CONTENT_TYPE  "application/x-pki-message"
#define RETRY_S       60 /* PENDING names no time */
#define TRANSACTION   65
#define ANSWERED      "polled-" /* before a transaction that was answered with PENDING or SUCCESS: "not there" is no such word then */

static void
scep_close(struct ca *ca)
{
	remote_close(&ca->remote);
	scep_peer_free(&ca->peer);
	X509_free(ca->own);
	EVP_PKEY_free(ca->key);
	free(ca->url);
	free(ca->identifier);
	if (ca->locked)
		(void)pthread_mutex_destroy(&ca->lock);
	free(ca);
}
/* --- open ----------------------------------------------------------------- */

static int
open_identity(struct ca *ca, const struct ca_settings *settings, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;

	if (settings->client_cert == NULL)
		return 0;
	if (remote_signer(&ca->remote, settings, &certs, &ca->key, e) != 0)
		return -1;
	ca->own = sk_X509_shift(certs);
	if (!EVP_PKEY_is_a(ca->key, "RSA"))
		return err_set(e, ERR_MALFORMED, "%s: client_key must be an RSA key: SCEP encrypts to it", ca->remote.name);
	return 0;
}

static int
open_parts(struct ca *ca, const struct ca_settings *settings, struct err *e)
{
	bool legacy = settings->auth != NULL && strcmp(settings->auth, "legacy") == 0;

	if (settings->auth != NULL && !legacy)
		return err_set(e, ERR_MALFORMED, "%s: auth is \"legacy\" or nothing", ca->remote.name);
	if (settings->secret_file != NULL)
		return err_set(e, ERR_MALFORMED, "%s: secret_file has no place here: a challenge would be in the request, "
			"which the device signed", ca->remote.name);
	if (strpbrk(settings->url, "?#") != NULL)
		return err_set(e, ERR_MALFORMED, "%s: url has a query, and SCEP makes its own", ca->remote.name);
	if (settings->profile != NULL && strspn(settings->profile, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		"0123456789-._~") != strlen(settings->profile))
		return err_set(e, ERR_MALFORMED, "%s: profile is a CA identifier of letters, digits and -._~", ca->remote.name);
	ca->allowed = SCEP_ALGORITHMS_DEFAULT | (legacy ? SCEP_ALGORITHMS_LEGACY : 0);
	/* scepserver 2.1 answers with SHA-1 and single DES whatever was asked; what it hides is a certificate, no secret. */
	ca->believed = ca->allowed | (legacy ? SCEP_DES : 0);
	ca->url = strdup(settings->url);
	ca->identifier = settings->profile == NULL ? NULL : strdup(settings->profile);
	ca->locked = pthread_mutex_init(&ca->lock, NULL) == 0;
	if (ca->url == NULL || (settings->profile != NULL && ca->identifier == NULL) || !ca->locked)
		return err_set(e, ERR_NOMEM, "%s: no memory", ca->remote.name);
	return open_identity(ca, settings, e);
}

static int
scep_open(const struct ca_settings *settings, struct ca **out, struct err *e)
{
	static const struct remote_kind kind = { sizeof(struct ca), true, open_parts, scep_close };

	return remote_make(&kind, settings, out, e);
}

/* --- one message and its answer ------------------------------------------------ */

struct exchange {
	struct ca *ca;
	struct scep_peer peer;
	char transaction[SCEP_TRANSACTION_MAX + 1];
	uint8_t nonce[SCEP_NONCE_LEN];
	struct buf message;
	struct buf content; /* of a SUCCESS */
	int64_t retry_s;    /* HTTP's word on when to ask again; 0: none */
};

static void
exchange_end(struct exchange *x)
{
	scep_peer_free(&x->peer);
	buf_free(&x->message);
	buf_free(&x->content);
}

static int
build(struct exchange *x, enum scep_type type, struct bytes content, struct err *e)
{
	STACK_OF(X509) *recipients = sk_X509_new_null();
	struct scep_build message = { .type = type, .transaction = x->transaction, .digest = x->peer.digest,
		.cipher = x->peer.cipher, .signer = x->ca->own, .signer_key = x->ca->key, .recipients = recipients,
		.content = content, .made_nonce = x->nonce };
	int result;

	if (recipients == NULL || sk_X509_push(recipients, x->peer.recipient) <= 0) {
		sk_X509_free(recipients);
		return err_ossl(e, ERR_NOMEM, "SCEP message");
	}
	result = scep_build(&message, &x->message, e);
	sk_X509_free(recipients);
	return result;
}

static bool
is_known(const struct exchange *x, const X509 *signer)
{
	int i;

	for (i = 0; i < sk_X509_num(x->peer.certs); i++)
		if (X509_cmp(sk_X509_value(x->peer.certs, i), signer) == 0)
			return true;
	return false;
}

/* Section 3.2.1.5: "MUST verify that the recipientNonce of the reply matches the senderNonce it sent". */
static int
check(struct exchange *x, struct scep_message *reply, struct err *e)
{
	enum scep_fail fail;

	if (reply->type != SCEP_CERT_REP)
		return err_set(e, ERR_UPSTREAM, "it is a %s and no CertRep", scep_type_name(reply->type));
	if (strcmp(reply->transaction, x->transaction) != 0)
		return err_set(e, ERR_UPSTREAM, "it is of another transaction");
	if (!scep_nonce_matches(reply, bytes_of(x->nonce, sizeof x->nonce)))
		return err_set(e, ERR_UPSTREAM, "its recipientNonce is not the one that was sent");
	if (!is_known(x, reply->signer))
		return err_set(e, ERR_UPSTREAM, "it is signed by nobody that GetCACert names");
	return scep_message_verify(reply, x->ca->believed, &fail, e);
}

static int
read_reply(struct exchange *x, const struct outbound_answer *http, struct scep_message **out, struct err *e)
{
	CLEANUP(scep_message) struct scep_message *reply = NULL;
	struct scep_recipient own = { .cert = x->ca->own, .key = x->ca->key };

	if (strcmp(http->content_type, CONTENT_TYPE) != 0)
		return err_set(e, ERR_UPSTREAM, "it is \"%s\" and not " CONTENT_TYPE, http->content_type);
	if (scep_message_parse(buf_bytes(&http->body), &reply, e) != 0 || check(x, reply, e) != 0 ||
	    (reply->status == SCEP_SUCCESS && scep_message_open(reply, &own, 1, &x->content, e) != 0))
		return -1;
	*out = reply;
	reply = NULL;
	return 0;
}

/* 0: *out is a reply to believe. 1: whatever came tells nothing. -1: not sent, or HTTP refused. */
static int
converse(struct exchange *x, enum scep_type type, struct bytes content, struct scep_message **out, struct err *e)
{
	struct outbound_header headers[] = { { "Content-Type", CONTENT_TYPE }, { "Accept", "*/*" } };
	struct outbound_request request = { .method = "POST", .headers = headers, .header_count = 2 };
	CLEANUP(buf) struct buf url = { 0 };
	struct outbound_answer http = { 0 };
	int result;

	buf_printf(&url, "%s?operation=PKIOperation", x->ca->url);
	request.path_or_url = buf_text(&url);
	if (buf_failed(&url))
		return err_set(e, ERR_NOMEM, "%s: no memory", x->ca->remote.name);
	if (build(x, type, content, e) != 0)
		return -1;
	request.body = buf_bytes(&x->message);
	result = remote_call_once(&x->ca->remote, &request, &http, e);
	if (result == 0 && http.status != 200)
		result = remote_status(&x->ca->remote, &http, NULL, &x->retry_s, e);
	else if (result == 0 && read_reply(x, &http, out, e) != 0) {
		e->code = ERR_UPSTREAM;
		(void)err_prefix(e, "%s: its answer", x->ca->remote.name);
		result = 1;
	}
	outbound_answer_free(&http);
	return result;
}

/* --- requests -------------------------------------------------------------------- */

/* Named after the request, so that asking again needs nothing that a restart could lose. */
static int
name_transaction(const struct ca_request *request, char out[TRANSACTION], struct err *e)
{
	struct bytes of = request->request_id != NULL ? bytes_of_text(request->request_id) : request->spki;
	uint8_t hash[32];

	if (sha256(of, hash, e) != 0)
		return -1;
	hex_encode(bytes_of(hash, sizeof hash), out);
	out[TRANSACTION - 1] = '\0';
	return 0;
}

static int
begin(struct exchange *x, const struct ca_request *request, struct err *e)
{
	if (remote_need_csr(&x->ca->remote, request, e) != 0 || scep_identity(x->ca, request->now_s, e) != 0)
		return -1;
	if (scep_peer_get(x->ca, request->now_s, &x->peer, e) == 0)
		return 0;
	x->retry_s = x->peer.retry_s;
	return -1;
}

/* Section 3.2.1.4. A server that cannot read us, or whose clock is elsewhere, has decided nothing. */
static int
failure(const struct exchange *x, const struct scep_message *reply, struct err *e)
{
	bool ours = reply->fail == SCEP_BAD_MESSAGE_CHECK || reply->fail == SCEP_BAD_TIME || reply->fail == SCEP_BAD_ALG;

	return err_set(e, ours ? ERR_UPSTREAM : ERR_DENIED, "%s: FAILURE, %s%s%s", x->ca->remote.name,
		scep_fail_name(reply->fail), reply->fail_text[0] == '\0' ? "" : ": ", reply->fail_text);
}

/*
 * The server is done with the request, and what it gives is not ours: of another key, or nothing that can be read. That it answers us is
 * proven; whether it made ours as well is not. It is left alone, since it may be somebody's good one, and CertPoll asks for ours.
 */
static int
unknown(const struct exchange *x, struct ca_answer *out, struct err *e)
{
	char reference[sizeof ANSWERED + SCEP_TRANSACTION_MAX];

	e->code = ERR_UPSTREAM;
	(void)snprintf(reference, sizeof reference, ANSWERED "%s", x->transaction);
	return remote_unknown(out, reference);
}

static int
judge(struct exchange *x, const struct scep_message *reply, const struct ca_request *request, struct ca_answer *out,
	struct err *e)
{
	switch (reply->status) {
	case SCEP_SUCCESS:
		return certs_only_take(&x->ca->remote, buf_bytes(&x->content), request, out, e) == 0 ? 0 : unknown(x, out, e);
	case SCEP_PENDING:
		*out = (struct ca_answer){ .state = CA_WAITING, .retry_s = RETRY_S };
		(void)snprintf(out->reference, sizeof out->reference, "%s", x->transaction);
		return 0;
	case SCEP_FAILURE:
		break;
	}
	return failure(x, reply, e);
}

static int
scep_issue(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	CLEANUP(scep_message) struct scep_message *reply = NULL;
	struct exchange x = { .ca = ca };
	int result;

	result = name_transaction(request, x.transaction, e);
	if (result == 0)
		result = begin(&x, request, e);
	if (result == 0)
		result = converse(&x, SCEP_PKCS_REQ, request->csr, &reply, e);
	if (reply != NULL)
		result = judge(&x, reply, request, out, e);
	if (result > 0)
		result = remote_unknown(out, x.transaction);
	else if (result < 0)
		out->retry_s = x.retry_s;
	exchange_end(&x);
	return result;
}

/* CertPoll's content (section 3.3.3): the issuer's name and the request's subject. */
static int
poll_content(const struct ca *ca, const struct ca_request *request, struct buf *out, struct err *e)
{
	const uint8_t *at = request->csr.at;
	CLEANUP(X509_REQ) X509_REQ *csr = d2i_X509_REQ(NULL, &at, (long)request->csr.len);

	if (csr == NULL)
		return err_ossl(e, ERR_BUG, "PKCS#10 request");
	return scep_issuer_and_subject_encode(X509_get_subject_name(sk_X509_value(ca->remote.chain, 0)),
		X509_REQ_get_subject_name(csr), out, e);
}

static int
ask_again(struct exchange *x, const struct ca_request *request, const char *reference, struct scep_message **reply,
	struct err *e)
{
	CLEANUP(buf) struct buf content = { 0 };

	if (reference[0] == '\0' || strlen(reference) >= sizeof x->transaction)
		return err_set(e, ERR_BUG, "%s: \"%.40s\" is no transaction", x->ca->remote.name, reference);
	(void)snprintf(x->transaction, sizeof x->transaction, "%s", reference);
	if (begin(x, request, e) != 0 || poll_content(x->ca, request, &content, e) != 0)
		return -1;
	return converse(x, SCEP_CERT_POLL, buf_bytes(&content), reply, e);
}

static bool
is_gone(const struct scep_message *reply)
{
	return reply != NULL && reply->status == SCEP_FAILURE && reply->fail == SCEP_BAD_CERT_ID;
}

/*
 * A poll that was lost may be sent again: it asks for nothing new. What HTTP refuses is refused by whoever answers there, and a server
 * that forgets what it delivered knows nothing of it: a certificate may have gone to a poll whose answer nobody got.
 */
static int
scep_poll(struct ca *ca, const struct ca_request *request, const char *reference, struct ca_answer *out, struct err *e)
{
	CLEANUP(scep_message) struct scep_message *reply = NULL;
	struct exchange x = { .ca = ca };
	int result = ask_again(&x, request, reference, &reply, e);

	if (is_gone(reply)) {
		(void)failure(&x, reply, e);
		result = unknown(&x, out, e);
	} else if (reply != NULL)
		result = judge(&x, reply, request, out, e);
	else if (result < 0 && e->code == ERR_DENIED)
		e->code = ERR_UPSTREAM;
	if (result > 0) {
		*out = (struct ca_answer){ .state = CA_WAITING, .retry_s = RETRY_S };
		(void)snprintf(out->reference, sizeof out->reference, "%s", reference);
		result = 0;
	} else if (result < 0)
		out->retry_s = x.retry_s;
	exchange_end(&x);
	return result;
}

/*
 * CertPoll finds what a lost answer left, where the server keeps it. badCertId is "No certificate could be
 * identified matching the provided criteria" (section 3.2.1.4): it has none. Any other refusal says nothing about it.
 */
static int
scep_reconcile(struct ca *ca, const struct ca_request *request, const char *reference, struct ca_answer *out,
	struct err *e)
{
	CLEANUP(scep_message) struct scep_message *reply = NULL;
	struct ca_answer answer = { .state = CA_UNKNOWN };
	struct exchange x = { .ca = ca };
	char own[TRANSACTION];
	bool answered = strncmp(reference, ANSWERED, sizeof ANSWERED - 1) == 0;
	int result = name_transaction(request, own, e);

	if (result == 0) /* no reference: the gateway died before it could record one */
		result = ask_again(&x, request, reference[0] == '\0' ? own : reference + (answered ? sizeof ANSWERED - 1 : 0), &reply, e);
	if (is_gone(reply) && !answered)
		answer.state = CA_ABSENT;
	else if (reply != NULL)
		result = judge(&x, reply, request, &answer, e);
	exchange_end(&x);
	if (result == 0 && answer.state != CA_UNKNOWN) {
		*out = answer;
		return 0;
	}
	out->retry_s = x.retry_s;
	e->code = e->code == ERR_NOMEM || e->code == ERR_BUG ? e->code : ERR_UPSTREAM;
	return -1;
}

const struct ca_ops ca_scep = {
	.type = "scep",
	.remote = true,
	.open = scep_open,
	.issue = scep_issue,
	.poll = scep_poll,
	.reconcile = scep_reconcile,
	.check = remote_reach,
	.chain = remote_chain,
	.verify = remote_verify,
	.close = scep_close,
};
