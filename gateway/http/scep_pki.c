/*
 * PKIOperation (RFC 8894, sections 3 and 4.3 to 4.6): translates pkiMessages
 * to the pipeline, and outcomes to CertReps.
 */
#include "gateway/http/scep_pki.h"

#include <stdio.h>
#include <string.h>

#include "gateway/http/scep_content.h"
#include "scep/build.h"

#define UPSTREAM_RETRY_S 30

struct pki {
	struct exchange *x;
	const struct world_ra *ra;
	struct scep_message *message;
	struct buf content;          /* decrypted; holds the challenge */
	struct buf poll_key;         /* whose possession a self-signed signer proved */
	STACK_OF(X509) *others;      /* the message's certificates but the signer; borrows them */
	struct enroll_request request;
	struct enroll_result result;
	enum scep_fail fail;         /* when the result is one that FAILURE tells */
	const char *done;            /* what a success is called in the log */
	struct buf reply;            /* what a SUCCESS carries: certs-only or a CRL */
};

/* An outcome of our own, before or beside the pipeline's. */
static void
conclude(struct pki *p, const struct err *e, enum scep_fail fail, const char *public_text)
{
	p->result.code = e->code;
	p->result.public_text = public_text;
	p->fail = fail;
	if (e->code == ERR_UPSTREAM)
		p->result.retry_after_s = UPSTREAM_RETRY_S;
	(void)snprintf(p->result.reason, sizeof p->result.reason, "%s", err_code_name(e->code));
	(void)snprintf(p->result.sentence, sizeof p->result.sentence, "%s", e->text);
}

/* The same, of bytes that the pipeline never saw: one audit row. */
static void
refuse(struct pki *p, const struct err *e, enum scep_fail fail, const char *public_text)
{
	conclude(p, e, fail, public_text);
	enroll_refuse(p->x->gateway, &p->request, e);
}

/*
 * Anybody can put a signature of his own around an envelope that he caught, and change its octets: CBC lets him
 * choose some of them. So whatever is wrong before the content vouches for itself is one answer, be it padding, key,
 * structure or a name that nobody here bears. Two answers would tell him octet by octet what is inside (RFC 3218).
 */
static void
refuse_content(struct pki *p, const struct err *e)
{
	refuse(p, e, SCEP_BAD_MESSAGE_CHECK, "message check failed");
}

static void
translate(struct pki *p)
{
	const char *reason = p->result.reason;

	p->fail = p->result.code == ERR_UNSUPPORTED ? SCEP_BAD_ALG : SCEP_BAD_REQUEST;
	/* "No certificate could be identified matching the provided criteria" */
	if (strcmp(reason, "certificate.unknown") == 0 || strcmp(reason, "request.unknown") == 0)
		p->fail = SCEP_BAD_CERT_ID;
}

/* Cisco's VPN wants the CA's certificate beside the new one, Juniper forbids it. */
static int
issuers(const struct pki *p)
{
	return p->x->label->scep_chain ? 1 : 0;
}

/* The certificate just issued, polled for or fetched, encoded. */
static void
take_result(struct pki *p, int above)
{
	struct err e;

	translate(p);
	if (p->result.code == ERR_NONE &&
		outcome_certs(p->x->world, p->x->label, &p->result, above, &p->reply, &e) != 0)
		conclude(p, &e, SCEP_BAD_REQUEST, "internal error");
}

/*
 * Is the content the signer's to send? RFC 8894, section 2.3: "The self-signed certificate SHOULD use the same
 * subject name and key as in the PKCS #10 request." With its key in it, it is; another subject is harmless, and old
 * IOS has one. With a certificate's signature, the request's own has to vouch for every octet of it.
 */
static int
check_request(struct pki *p, struct err *e)
{
	struct bytes der = buf_bytes(&p->content);
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	CLEANUP(buf) struct buf key = { 0 };

	if (!p->message->self_signed)
		return est_csr_parse_known(der, p->request.csr_mode, p->request.known_key, &csr, e);
	if (scep_content_csr_key(der, &key, e) != 0)
		return -1;
	if (!bytes_equal(buf_bytes(&key), buf_bytes(&p->poll_key)))
		return err_set(e, ERR_UNAUTHENTIC, "the self-signed signer has another key than the request");
	return 0;
}

/* Section 3.3.1: PKCSReq and RenewalReq. */
static void
enroll(struct pki *p)
{
	struct err e;

	if (check_request(p, &e) != 0) {
		refuse_content(p, &e);
		return;
	}
	if (p->message->self_signed && p->message->type == SCEP_RENEWAL_REQ) {
		(void)err_set(&e, ERR_DENIED, "a RenewalReq signed by a self-signed certificate");
		refuse(p, &e, SCEP_BAD_REQUEST, "refused by policy");
		return;
	}
	p->request.csr = buf_bytes(&p->content);
	p->request.op = p->message->type == SCEP_RENEWAL_REQ ? ENROLL_RENEW : ENROLL_EITHER;
	p->request.challenge = true;
	enroll_run(p->x->gateway, p->x->world, &p->request, &p->result);
	take_result(p, issuers(p));
}

static bool
names(const X509_NAME *name, const X509 *cert)
{
	return X509_NAME_cmp(name, X509_get_subject_name(cert)) == 0 || X509_NAME_cmp(name, X509_get_issuer_name(cert)) == 0;
}

/* Is it the name of a CA or RA that clients of this label know? Nobody makes it out of other octets by chance. */
static int
check_issuer(const struct pki *p, const X509_NAME *name, struct err *e)
{
	bool known = names(name, p->ra->cert) || world_knows_name(p->x->world, p->x->label, name);
	size_t r;

	for (r = 0; r < p->ra->recipient_count; r++)
		known = known || names(name, p->ra->recipients[r].cert);
	return known ? 0 : err_set(e, ERR_DENIED, "its issuer is another CA, unknown to this label");
}

/* Section 3.3.3. The issuer is the RA's subject with some clients and the CA's with others. */
static void
poll(struct pki *p)
{
	struct scep_issuer_and_subject id = { 0 };
	struct err e;

	if (scep_issuer_and_subject_parse(buf_bytes(&p->content), &id, &e) != 0 ||
		check_issuer(p, id.issuer, &e) != 0)
		refuse_content(p, &e);
	else {
		enroll_poll(p->x->gateway, p->x->world, &p->request, buf_bytes(&p->poll_key), &p->result);
		take_result(p, issuers(p));
	}
	scep_issuer_and_subject_free(&id);
}

/* Section 4.5: the certificate that was asked for, and no other. */
static void
fetch(struct pki *p, const struct scep_issuer_and_serial *id)
{
	p->done = "found";
	enroll_fetch(p->x->gateway, p->x->world, &p->request, buf_bytes(&p->poll_key), id->issuer, id->serial,
		&p->result);
	take_result(p, 0);
}

/* Section 4.6. Revocation lists are for everyone, so it does not matter who asks. */
static void
revocations(struct pki *p, const struct scep_issuer_and_serial *id)
{
	CLEANUP(buf) struct buf crl = { 0 };
	struct err e;

	p->done = "found";
	(void)snprintf(p->result.reason, sizeof p->result.reason, "ok");
	if (enroll_crl_of(p->x->gateway, p->x->world, p->x->label, id->issuer, id->serial, p->x->now_s, &crl, &e) == 0) {
		if (scep_crl_encode(buf_bytes(&crl), &p->reply, &e) != 0)
			conclude(p, &e, SCEP_BAD_REQUEST, "internal error");
	} else if (e.code == ERR_DENIED)
		conclude(p, &e, SCEP_BAD_CERT_ID, "not an issuer of this service");
	else
		conclude(p, &e, SCEP_BAD_REQUEST, e.code == ERR_UNSUPPORTED ? "no revocation list here" :
			e.code == ERR_UPSTREAM ? "temporarily unavailable" : "internal error");
}

static void
by_serial(struct pki *p)
{
	struct scep_issuer_and_serial id = { 0 };
	struct err e;

	if (scep_issuer_and_serial_parse(buf_bytes(&p->content), &id, &e) != 0 || check_issuer(p, id.issuer, &e) != 0)
		refuse_content(p, &e);
	else if (p->message->type == SCEP_GET_CRL)
		revocations(p, &id);
	else
		fetch(p, &id);
	scep_issuer_and_serial_free(&id);
}

/* Devices sign the request with what they sign the message with. */
static enum est_csr_mode
csr_mode(unsigned allowed)
{
	if ((allowed & SCEP_MD5) != 0)
		return EST_CSR_PROVEN_MD5;
	return (allowed & SCEP_SHA1) != 0 ? EST_CSR_PROVEN_SHA1 : EST_CSR_PROVEN;
}

/* Who asks: the holder of a certificate, which the pipeline judges, or of a key alone. */
static int
identify(struct pki *p, struct err *e)
{
	const struct scep_message *m = p->message;
	int i;

	p->request.transaction = m->transaction;
	p->request.csr_mode = csr_mode(p->x->label->scep_algorithms);
	p->request.known_key = scep_message_get0_rsa(m);
	p->request.renewal_names_free = true; /* RFC 8894 has no such rule, and devices repeat what they were set up with */
	if (m->self_signed)
		return scep_message_key(m, &p->poll_key, e);
	p->others = sk_X509_new_null();
	for (i = 0; p->others != NULL && i < sk_X509_num(m->certs); i++)
		if (X509_cmp(sk_X509_value(m->certs, i), m->signer) != 0 &&
			sk_X509_push(p->others, sk_X509_value(m->certs, i)) == 0)
			return err_ossl(e, ERR_NOMEM, "certificates of the message");
	p->request.client_cert = m->signer;
	p->request.client_chain = p->others;
	return 0;
}

static void
ask(struct pki *p)
{
	struct err e;

	switch (p->message->type) {
	case SCEP_PKCS_REQ:
	case SCEP_RENEWAL_REQ:
		enroll(p);
		return;
	case SCEP_CERT_POLL:
		poll(p);
		return;
	case SCEP_GET_CERT:
	case SCEP_GET_CRL:
		by_serial(p);
		return;
	case SCEP_CERT_REP: /* refused when it was read */
		break;
	}
	(void)err_set(&e, ERR_BUG, "message type %d", (int)p->message->type);
	conclude(p, &e, SCEP_BAD_REQUEST, "internal error");
}

/* A label may say so in so many words; who does so is to see each use. */
static void
warn_insecure(const struct pki *p)
{
	const struct scep_message *m = p->message;
	const struct log_field fields[] = {
		{ "label", p->x->label->policy.name },
		{ "peer", p->x->facts->peer },
		{ "op", p->x->operation },
		{ "transaction", m->transaction },
		{ "digest", scep_algorithm_name(m->digest) },
		{ "cipher", m->cipher == 0 ? NULL : scep_algorithm_name(m->cipher) },
		{ "msg", "an insecure algorithm, which scep_legacy lets in" },
	};

	if (((m->digest | m->cipher) & SCEP_ALGORITHMS_CISCO) != 0)
		log_fields(LOG_LEVEL_WARN, "insecure", fields, (int)(sizeof fields / sizeof fields[0]));
}

/* Verify, identify, decrypt, ask. The result and fail say what came of it. */
static void
serve(struct pki *p)
{
	struct scep_message *m = p->message;
	enum scep_fail fail = SCEP_BAD_MESSAGE_CHECK;
	struct err e;

	if (scep_message_verify(m, p->x->label->scep_algorithms, &fail, &e) != 0) {
		refuse(p, &e, fail, fail == SCEP_BAD_ALG ? "algorithm not allowed" : "message check failed");
		return;
	}
	warn_insecure(p);
	/* Before anything is decrypted: what comes after that takes as little time as can be, so that it tells little. */
	if (identify(p, &e) != 0) {
		conclude(p, &e, SCEP_BAD_REQUEST, "internal error");
		return;
	}
	if (scep_message_open(m, p->ra->recipients, p->ra->recipient_count, &p->content, &e) != 0) {
		refuse_content(p, &e);
		return;
	}
	ask(p);
}

/* The algorithms of the request, which the client surely knows; unless they were what is refused. */
static unsigned
reply_digest(const struct pki *p)
{
	unsigned digest = p->message->digest & p->x->label->scep_algorithms;

	return digest == 0 ? SCEP_SHA256 : digest;
}

static int
build_reply(struct pki *p, enum scep_status status, struct buf *out, struct err *e)
{
	const struct scep_message *m = p->message;
	char text[OUTCOME_TEXT_MAX];
	struct scep_build build = {
		.type = SCEP_CERT_REP,
		.transaction = m->transaction,
		.recipient_nonce = bytes_of(m->sender_nonce, m->sender_nonce_len),
		.status = status,
		.fail = p->fail,
		.digest = reply_digest(p),
		.cipher = m->cipher,
		.signer = p->ra->cert,
		.signer_key = p->ra->key,
		.to = m,
	};

	if (status == SCEP_SUCCESS)
		build.content = buf_bytes(&p->reply);
	if (status == SCEP_FAILURE) {
		outcome_public_text(&p->result, text);
		build.fail_text = text;
	}
	return scep_build(&build, out, e);
}

static int
answer_cert_rep(struct pki *p, enum scep_status status)
{
	CLEANUP(buf) struct buf out = { 0 };
	struct err e;

	if (build_reply(p, status, &out, &e) != 0 || buf_failed(&out)) {
		log_rare(LOG_LEVEL_ERROR, "scep", "a CertRep could not be made: %s", e.text);
		return server_answer_text(p->x->conn, 500, NULL, "internal error");
	}
	return server_answer(p->x->conn, 200, "application/x-pki-message", NULL, buf_bytes(&out));
}

static int
answer_later(struct pki *p)
{
	char header[EXCHANGE_HEADER_MAX];

	exchange_retry_after(&p->result, header);
	return exchange_refuse(p->x, 503, header, &p->result);
}

/*
 * Every decision is a CertRep with HTTP 200. A CA or a registry that does not answer is none: after a FAILURE a client
 * makes a new key or gives up, PENDING would promise a request that is not recorded, and SCEP has no word for
 * "again later". HTTP has, and clients try again after it as after any server that is down.
 */
static int
answer(struct pki *p)
{
	switch (p->result.code) {
	case ERR_NONE:
		return answer_cert_rep(p, SCEP_SUCCESS);
	case ERR_PENDING:
		return answer_cert_rep(p, SCEP_PENDING);
	case ERR_UPSTREAM:
		return answer_later(p);
	case ERR_MALFORMED:
	case ERR_UNSUPPORTED:
	case ERR_UNAUTHENTIC:
	case ERR_DENIED:
	case ERR_LIMIT:
		return answer_cert_rep(p, SCEP_FAILURE);
	case ERR_NOMEM:
	case ERR_BUG:
		break;
	}
	return exchange_refuse(p->x, 500, NULL, &p->result);
}

/* 0: it is a message that a client may send. */
static int
read_message(struct pki *p, struct bytes der, struct err *e)
{
	if (p->ra == NULL)
		return err_set(e, ERR_BUG, "label \"%s\" has no RA", p->x->label->policy.name);
	if (der.len > SCEP_MESSAGE_MAX)
		return err_set(e, ERR_LIMIT, "a message of %zu octets; at most %d are allowed", der.len, SCEP_MESSAGE_MAX);
	if (scep_message_parse(der, &p->message, e) != 0)
		return -1;
	p->x->operation = scep_type_name(p->message->type);
	p->request.operation = p->x->operation;
	if (p->message->type == SCEP_CERT_REP)
		return err_set(e, ERR_MALFORMED, "a CertRep is an answer, not a request");
	return 0;
}

/* Without a transaction there is no CertRep. */
static int
answer_unreadable(struct pki *p, const struct err *e)
{
	refuse(p, e, SCEP_BAD_REQUEST, "malformed request");
	if (e->code == ERR_NOMEM || e->code == ERR_BUG)
		return server_answer_text(p->x->conn, 500, NULL, "internal error");
	return server_answer_text(p->x->conn, e->code == ERR_LIMIT ? 413 : 400, NULL, e->text);
}

static void
log_operation(const struct pki *p, int status)
{
	const struct scep_message *m = p->message;
	bool failed = m != NULL && status == 200 && p->result.code != ERR_NONE && p->result.code != ERR_PENDING;
	const struct log_field more[] = {
		{ "transaction", m == NULL ? NULL : m->transaction },
		{ "digest", m == NULL ? NULL : scep_algorithm_name(m->digest) },
		{ "cipher", m == NULL || m->cipher == 0 ? NULL : scep_algorithm_name(m->cipher) },
		{ "fail", failed ? scep_fail_name(p->fail) : NULL },
	};

	exchange_log(p->x, &p->result, p->done, status, more, (int)(sizeof more / sizeof more[0]));
}

int
scep_pki_operation(struct exchange *x, struct bytes der)
{
	struct pki p = { .x = x, .request = exchange_request(x), .done = "issued",
		.ra = world_ra_of(x->world, x->label->scep_ra) };
	struct err e;
	int status;

	if (read_message(&p, der, &e) != 0)
		status = answer_unreadable(&p, &e);
	else {
		serve(&p);
		status = answer(&p);
	}
	log_operation(&p, status);
	enroll_result_free(&p.result);
	sk_X509_free(p.others);
	scep_message_free(p.message);
	buf_free_secret(&p.content);
	buf_free(&p.poll_key);
	buf_free(&p.reply);
	return status;
}
