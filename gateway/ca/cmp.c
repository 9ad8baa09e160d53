/*
 * A CA that speaks CMP (RFC 4210, profile RFC 9483): p10cr, pollReq, certConf, rr.
 *
 * The device's request goes upstream as it came. Certificates are confirmed explicitly: "how long it intends to
 * wait for the certificate confirmation before revoking the certificate" (section 5.1.1.2) then
 * bounds what a lost answer can leave behind.
 */
#include "gateway/ca/cmp.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

#include "base/text.h"
#include "gateway/ca/certs_only.h"

#define RETRY_MIN_S 1
#define RETRY_MAX_S 86400
#define WORDS_SHOWN 120
#define OID_CMC_CA  "1.3.6.1.5.5.7.3.27"

/* --- open ----------------------------------------------------------------- */

static void
cmp_close(struct ca *ca)
{
	remote_close(&ca->remote);
	buf_free(&ca->reference);
	x509_stack_free(ca->own);
	EVP_PKEY_free(ca->key);
	X509_STORE_free(ca->signers);
	free(ca);
}

/*
 * The devices' certificates lead to the same CA, and none of them may speak for it: the CA's own does, and those
 * with the extended key usages of CAs and registration authorities (RFC 6402, section 2.10).
 */
static int
signer_check(int ok, X509_STORE_CTX *store)
{
	X509 *cert = X509_STORE_CTX_get_current_cert(store);

	if (ok != 1 || X509_STORE_CTX_get_error_depth(store) != 0)
		return ok;
	if (X509_check_ca(cert) == 1 || x509_has_usage(cert, OID_CMC_CA) || x509_has_usage(cert, OID_CMC_RA))
		return 1;
	X509_STORE_CTX_set_error(store, X509_V_ERR_INVALID_PURPOSE);
	return 0;
}

static int
open_signature(struct ca *ca, const struct ca_settings *settings, struct err *e)
{
	int i;

	if (remote_signer(&ca->remote, settings, &ca->own, &ca->key, e) != 0 || cmp_key_fit(&ca->key, e) != 0)
		return -1;
	ca->signers = X509_STORE_new();
	if (ca->signers == NULL)
		return err_ossl(e, ERR_NOMEM, "CMP");
	for (i = 0; i < sk_X509_num(ca->remote.chain); i++)
		if (X509_STORE_add_cert(ca->signers, sk_X509_value(ca->remote.chain, i)) != 1)
			return err_ossl(e, ERR_NOMEM, "CMP");
	X509_STORE_set_verify_cb(ca->signers, signer_check);
	return 0;
}

static int
open_secret(struct ca *ca, const struct ca_settings *settings, struct err *e)
{
	if (remote_need(&ca->remote, "user", settings->user, e) != 0 ||
	    remote_need(&ca->remote, "secret_file", settings->secret_file, e) != 0)
		return -1;
	ca->by_secret = true;
	buf_append_text(&ca->reference, settings->user);
	return buf_failed(&ca->reference) ? err_set(e, ERR_NOMEM, "%s: no memory", ca->remote.name) : 0;
}

static int
open_parts(struct ca *ca, const struct ca_settings *settings, struct err *e)
{
	bool signature = settings->auth == NULL ? settings->secret_file == NULL : strcmp(settings->auth, "signature") == 0;

	if (settings->auth != NULL && !signature && strcmp(settings->auth, "secret") != 0)
		return err_set(e, ERR_MALFORMED, "%s: auth is \"secret\" or \"signature\"", ca->remote.name);
	return signature ? open_signature(ca, settings, e) : open_secret(ca, settings, e);
}

static int
cmp_open(const struct ca_settings *settings, struct ca **out, struct err *e)
{
	static const struct remote_kind kind = { sizeof(struct ca), true, open_parts, cmp_close };

	return remote_make(&kind, settings, out, e);
}

/* --- tickets ---------------------------------------------------------------- */

void
cmp_ticket_write(const struct cmp_ticket *ticket, char out[CA_REFERENCE_MAX])
{
	char id[2 * CMP_ID_OCTETS + 1], theirs[2 * CMP_NONCE_MAX + 1], first[2 * CMP_NONCE_MAX + 1];

	hex_encode(bytes_of(ticket->id, sizeof ticket->id), id);
	hex_encode(bytes_of(ticket->theirs.at, ticket->theirs.len), theirs);
	hex_encode(bytes_of(ticket->first.at, ticket->first.len), first);
	(void)snprintf(out, CA_REFERENCE_MAX, "%s:%s:%s", id, theirs, first);
}

static int
read_nonce(struct bytes text, struct cmp_nonce *out, struct err *e)
{
	out->len = text.len / 2;
	if (text.len > 2 * CMP_NONCE_MAX)
		return err_set(e, ERR_BUG, "nonce");
	return hex_decode(text, out->at, out->len, e);
}

int
cmp_ticket_read(const char *text, struct cmp_ticket *out, struct err *e)
{
	struct cursor c = cursor_of(bytes_of_text(text));
	struct cmp_ticket ticket = { 0 };
	struct bytes id = cursor_until(&c, ':'), theirs = cursor_until(&c, ':');
	struct bytes first = cursor_take(&c, cursor_left(&c));

	if (c.failed || hex_decode(id, ticket.id, sizeof ticket.id, e) != 0 || read_nonce(theirs, &ticket.theirs, e) != 0 ||
	    read_nonce(first, &ticket.first, e) != 0)
		return err_set(e, ERR_BUG, "\"%.40s\" is no reference to a CMP transaction", text);
	*out = ticket;
	return 0;
}

/* --- outcomes ----------------------------------------------------------------- */

static bool
failed_with(const struct cmp_exchange *x, int bit)
{
	return (OSSL_CMP_CTX_get_failInfoCode(x->ctx) & (1 << bit)) != 0;
}

/* The CA's own words, escaped. */
static void
words_of(const struct cmp_exchange *x, char out[WORDS_SHOWN + 1])
{
	char text[OSSL_CMP_PKISI_BUFLEN] = "";

	if (OSSL_CMP_CTX_snprint_PKIStatus(x->ctx, text, sizeof text) == NULL)
		(void)snprintf(text, sizeof text, "no words");
	text_escape(out, WORDS_SHOWN + 1, bytes_of_text(text));
}

/*
 * OpenSSL takes a refusal that nobody protected; it is one by whoever answers there, and a wrong secret of ours is
 * answered that way. It is never the CA's last word on a request.
 */
static bool
is_protected(const struct cmp_exchange *x)
{
	CLEANUP(cmp_message) OSSL_CMP_MSG *answer = NULL;
	struct err ignored;
	bool held;

	held = cmp_message_decode(buf_bytes(&x->last), &answer, &ignored) == 0 && OSSL_CMP_validate_msg(x->ctx, answer) == 1;
	ERR_clear_error();
	return held;
}

/*
 * RFC 4210, section 5.2.3: what a rejection means for trying again. 1: whether something was issued is open. An error message
 * answers a poll, not the request: the CA may have answered that before, to a poll whose answer nobody got.
 */
static int
rejection(const struct cmp_exchange *x, struct err *e)
{
	static const int ours[] = { OSSL_CMP_PKIFAILUREINFO_badMessageCheck, OSSL_CMP_PKIFAILUREINFO_badTime,
		OSSL_CMP_PKIFAILUREINFO_wrongAuthority, OSSL_CMP_PKIFAILUREINFO_wrongIntegrity,
		OSSL_CMP_PKIFAILUREINFO_signerNotTrusted, OSSL_CMP_PKIFAILUREINFO_notAuthorized };
	static const int later[] = { OSSL_CMP_PKIFAILUREINFO_systemUnavail, OSSL_CMP_PKIFAILUREINFO_systemFailure };
	char words[WORDS_SHOWN + 1];
	size_t i;

	words_of(x, words);
	if (failed_with(x, OSSL_CMP_PKIFAILUREINFO_transactionIdInUse)) {
		(void)err_set(e, ERR_UPSTREAM, "%s: it has had this transaction before: %s", x->ca->remote.name, words);
		return 1;
	}
	for (i = 0; i < sizeof ours / sizeof ours[0]; i++)
		if (failed_with(x, ours[i]))
			return err_set(e, ERR_UPSTREAM, "%s: it does not accept our credentials or clock: %s",
				x->ca->remote.name, words);
	for (i = 0; i < sizeof later / sizeof later[0]; i++)
		if (failed_with(x, later[i]))
			return err_set(e, ERR_UPSTREAM, "%s: it cannot work now: %s", x->ca->remote.name, words);
	if (!is_protected(x))
		return err_set(e, ERR_UPSTREAM, "%s: it refuses, and does not prove that it is the CA; check our secret or "
			"certificate: %s", x->ca->remote.name, words);
	if (x->polling && x->last_answer == CMP_BODY_ERROR) {
		(void)err_set(e, ERR_UPSTREAM, "%s: it does not know what we poll for: %s", x->ca->remote.name, words);
		return 1;
	}
	return err_set(e, ERR_DENIED, "%s: it refuses: %s", x->ca->remote.name, words);
}

/* Every text begins with the CA's name. */
static int
name(const struct ca *ca, struct err *e)
{
	if (strncmp(e->text, ca->remote.name, strlen(ca->remote.name)) != 0)
		(void)err_prefix(e, "%s", ca->remote.name);
	return -1;
}

/* 0 with nothing usable: CA_UNKNOWN; *e keeps why. */
static int
unknown(struct cmp_exchange *x, struct ca_answer *out)
{
	char reference[CA_REFERENCE_MAX];

	cmp_ticket_write(&x->ticket, reference);
	return remote_unknown(out, reference);
}

static int
wait_for(struct cmp_exchange *x, struct ca_answer *out)
{
	*out = (struct ca_answer){ .state = CA_WAITING, .retry_s = x->check_after_s };
	if (out->retry_s < RETRY_MIN_S)
		out->retry_s = RETRY_MIN_S;
	if (out->retry_s > RETRY_MAX_S)
		out->retry_s = RETRY_MAX_S;
	cmp_ticket_write(&x->ticket, out->reference);
	return 0;
}

/*
 * A certificate came. Of another key: whoever mixed up certificates may have made ours as well, and CMP has no way to ask for it. Our
 * refusal in certConf is all that is said, since a CA that gives one certificate twice gives somebody's good one, which a
 * revocation would take away. Refused for anything else: the CA was told, and the caller has it to keep and to revoke. Accepted
 * without an answer to the confirmation: the CA may take it back.
 */
static int
judge_cert(struct cmp_exchange *x, bool complete, struct ca_answer *out, struct err *e)
{
	char reference[CA_REFERENCE_MAX];

	cmp_ticket_write(&x->ticket, reference);
	(void)remote_issued_der(&x->ca->remote, buf_bytes(&x->cert), x->request, reference, out, e);
	if (out->state == CA_ISSUED && x->accepted && !complete) {
		(void)err_set(e, ERR_UPSTREAM, "%s: it issued %s, and how it took our confirmation is not known",
			x->ca->remote.name, out->serial);
		ca_answer_free(out);
		return unknown(x, out);
	}
	return 0;
}

/* When OpenSSL's client gave up. 1: whether something was issued is open. */
static int
judge_failure(struct cmp_exchange *x, struct err *e)
{
	*e = x->why;
	switch (x->sent) {
	case CMP_NOTHING:
		return err_ossl(e, ERR_BUG, "CMP request");
	case CMP_STATUS:
		/* Without a PKIMessage it is no answer to a poll: what waits there waits on, or is issued. */
		if (x->polling && e->code == ERR_DENIED)
			e->code = ERR_UPSTREAM;
		return x->messages > 1 ? 1 : -1;
	case CMP_NOT_SENT:
		return x->messages > 1 ? 1 : -1;
	case CMP_LOST:
	case CMP_POLL:
		return 1;
	case CMP_ANSWERED:
		break;
	}
	if (OSSL_CMP_CTX_get_status(x->ctx) == OSSL_CMP_PKISTATUS_rejection)
		return rejection(x, e);
	(void)err_ossl(e, ERR_UPSTREAM, "its answer");
	return 1;
}

static int
run(struct cmp_exchange *x, struct ca_answer *out, struct err *e)
{
	int check_after = 0, result;

	if (cmp_exchange_begin(x, e) != 0)
		return -1;
	result = OSSL_CMP_try_certreq(x->ctx, OSSL_CMP_P10CR, NULL, &check_after);
	if (result < 0) {
		x->check_after_s = check_after;
		return wait_for(x, out);
	}
	if (x->cert.len != 0)
		return judge_cert(x, result == 1, out, e);
	if (x->sent == CMP_POLL)
		return wait_for(x, out);
	result = judge_failure(x, e);
	(void)name(x->ca, e);
	if (result == 1)
		return unknown(x, out);
	out->retry_s = x->retry_s;
	return -1;
}

/*
 * Section 5.1.1: "a given client MUST NOT have more than one transaction with the same transactionID in progress", and the CA may
 * have an earlier attempt's, whose answer was lost, in progress still when somebody said that it was not issued.
 */
static int
cmp_issue(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	struct cmp_exchange x = { .ca = ca, .request = request };
	int result;

	if (remote_need_csr(&ca->remote, request, e) != 0 || random_octets(x.ticket.id, sizeof x.ticket.id, e) != 0)
		return -1;
	result = run(&x, out, e);
	cmp_exchange_end(&x);
	return result;
}

/* A poll that was lost may be sent again: it asks for nothing new. */
static int
cmp_poll(struct ca *ca, const struct ca_request *request, const char *reference, struct ca_answer *out, struct err *e)
{
	struct cmp_exchange x = { .ca = ca, .request = request, .polling = true };
	int result;

	if (remote_need_csr(&ca->remote, request, e) != 0 || cmp_ticket_read(reference, &x.ticket, e) != 0)
		return -1;
	result = run(&x, out, e);
	if (result == 0 && out->state == CA_UNKNOWN && x.messages == 1 && x.sent == CMP_LOST) {
		*out = (struct ca_answer){ .state = CA_WAITING, .retry_s = RETRY_MIN_S };
		(void)snprintf(out->reference, sizeof out->reference, "%s", reference);
	}
	cmp_exchange_end(&x);
	return result;
}

/* --- revocation ----------------------------------------------------------------- */

/* OpenSSL 3.0 takes issuer and serial number from a certificate only, and wants a whole one: the issuer's own, renamed. */
static int
set_revoked(struct cmp_exchange *x, const char *serial, struct err *e)
{
	X509 *issuing = sk_X509_value(x->ca->remote.chain, 0);
	CLEANUP(X509) X509 *cert = X509_dup(issuing);
	BIGNUM *number = NULL;
	bool set;

	set = cert != NULL && BN_hex2bn(&number, serial) == (int)strlen(serial) &&
		BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL &&
		X509_set_issuer_name(cert, X509_get_subject_name(issuing)) == 1 &&
		OSSL_CMP_CTX_set1_oldCert(x->ctx, cert) == 1;
	BN_free(number);
	return set ? 0 : err_ossl(e, ERR_MALFORMED, "serial number");
}

/* *already: it says that it is revoked (RFC 4210, section 5.2.3: certRevoked), and proves that it is the CA. */
static int
revoked(struct cmp_exchange *x, bool *already, struct err *e)
{
	*already = x->sent == CMP_ANSWERED && failed_with(x, OSSL_CMP_PKIFAILUREINFO_certRevoked) && is_protected(x);
	if (*already)
		return 0;
	if (x->sent == CMP_ANSWERED && OSSL_CMP_CTX_get_status(x->ctx) == OSSL_CMP_PKISTATUS_rejection) {
		(void)rejection(x, e);
		return -1;
	}
	*e = x->why;
	if (x->sent == CMP_ANSWERED || x->sent == CMP_NOTHING)
		return err_ossl(e, ERR_UPSTREAM, "revocation");
	return -1;
}

static int
send_rr(struct ca *ca, const char *serial, int reason, bool *already, struct err *e)
{
	struct cmp_exchange x = { .ca = ca };
	int result = -1;

	*already = false;
	if (random_octets(x.ticket.id, sizeof x.ticket.id, e) == 0 && cmp_exchange_begin(&x, e) == 0 &&
	    set_revoked(&x, serial, e) == 0) {
		if (OSSL_CMP_CTX_set_option(x.ctx, OSSL_CMP_OPT_REVOCATION_REASON, reason) != 1)
			(void)err_ossl(e, ERR_UNSUPPORTED, "reason of revocation");
		else
			result = OSSL_CMP_exec_RR_ses(x.ctx) == 1 ? 0 : revoked(&x, already, e);
	}
	cmp_exchange_end(&x);
	return result == 0 ? 0 : name(ca, e);
}

/*
 * certRevoked to a release: it is not on hold. Either it is good, since a hold never arrived or an earlier release did, or it is revoked for
 * good; there is no message that asks. A hold tells, which a good certificate takes, and which is ended at once. certRevoked to that hold
 * may be its own doing, when it was sent again over another connection: the release tells.
 */
static int
release_for_sure(struct ca *ca, const char *serial, struct err *e)
{
	bool revoked_before, already;

	if (send_rr(ca, serial, CRL_REASON_CERTIFICATE_HOLD, &revoked_before, e) != 0 ||
	    send_rr(ca, serial, CRL_REASON_REMOVE_FROM_CRL, &already, e) != 0)
		return -1;
	if (!already)
		return 0;
	return revoked_before ? err_set(e, ERR_UNSUPPORTED, "%s: it is revoked there for good, so it cannot be released", ca->remote.name) :
		err_set(e, ERR_UPSTREAM, "%s: it holds the certificate and does not release it", ca->remote.name);
}

static int
cmp_revoke(struct ca *ca, const char *serial, struct bytes cert, int reason, int64_t now_s, struct err *e)
{
	bool already;

	(void)cert;
	(void)now_s;
	if (send_rr(ca, serial, reason, &already, e) != 0)
		return -1;
	return already && reason == CRL_REASON_REMOVE_FROM_CRL ? release_for_sure(ca, serial, e) : 0;
}

const struct ca_ops ca_cmp = {
	.type = "cmp",
	.remote = true,
	.open = cmp_open,
	.issue = cmp_issue,
	.poll = cmp_poll,
	.revoke = cmp_revoke,
	.holds = true,
	.check = remote_reach,
	.chain = remote_chain,
	.verify = remote_verify,
	.close = cmp_close,
};
