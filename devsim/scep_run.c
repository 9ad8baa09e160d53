/*
 * devsim scep: the conversation with the server.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/timefmt.h"
#include "devsim/devsim.h"
#include "devsim/scep.h"
#include "est/body.h"

static int
malformed(int failed)
{
	return failed == 0 ? DEVSIM_OK : DEVSIM_MALFORMED;
}

/* Before anything secret is encrypted to it: is it the server's? */
static int
check_server(const struct scep_run *run, struct err *e)
{
	int i;

	if (run->anchors == NULL)
		return 0;
	for (i = 0; i < sk_X509_num(run->server.recipients); i++)
		if (chain_check(sk_X509_value(run->server.recipients, i), run->server.certs, run->anchors, e) != 0)
			return err_prefix(e, "GetCACert");
	return 0;
}

static int
fetch_server(struct scep_run *run, struct err *e)
{
	int code = scep_fetch(&run->client, &run->server, e);

	return code == DEVSIM_OK ? malformed(check_server(run, e)) : code;
}

static int
fetch_caps(struct scep_run *run, struct err *e)
{
	struct scep_http request = { .operation = SCEP_OP_GET_CA_CAPS };
	int code = scep_exchange(&run->client, &request, e);

	if (code == DEVSIM_OK)
		buf_append_bytes(&run->server.caps_text, buf_bytes(&run->client.conn.answer.body));
	return code;
}

static int
take_cacert(struct scep_run *run, struct err *e)
{
	run->certs = X509_chain_up_ref(run->server.certs);
	return run->certs == NULL ? err_ossl(e, ERR_NOMEM, "certificates") : 0;
}

/* Section 4.7.1: "Clients MUST validate the signature on the message before trusting any of its contents." */
static int
open_next(struct scep_run *run, struct err *e)
{
	const struct http_answer *answer = &run->client.conn.answer;
	CLEANUP(X509) X509 *signer = NULL;
	CLEANUP(buf) struct buf inside = { 0 };
	bool known = false;
	int i;

	if (!http_type_is(http_field(answer, "Content-Type"), "application/x-x509-next-ca-cert"))
		return err_set(e, ERR_MALFORMED, "the answer is no application/x-x509-next-ca-cert");
	if (scep_next_open(buf_bytes(&answer->body), &inside, &signer, e) != 0)
		return -1;
	for (i = 0; i < sk_X509_num(run->server.certs); i++)
		known = known || X509_cmp(sk_X509_value(run->server.certs, i), signer) == 0;
	if (!known)
		return err_set(e, ERR_UNAUTHENTIC, "the next CA certificate is signed by nobody that GetCACert named");
	return est_certs_decode(buf_bytes(&inside), &run->certs, e);
}

static int
fetch_next(struct scep_run *run, struct err *e)
{
	struct scep_http request = { .operation = SCEP_OP_GET_NEXT_CA_CERT };
	int code = scep_exchange(&run->client, &request, e);

	return code == DEVSIM_OK ? malformed(open_next(run, e)) : code;
}

/* Send run->message and read what comes back. */
static int
operate(struct scep_run *run, struct err *e)
{
	struct scep_http request = { .operation = SCEP_OP_PKI_OPERATION, .message = buf_bytes(&run->message),
		.get = run->options.get || !run->server.caps.post };
	struct scep_expected expected = { .server = &run->server,
		.allowed = SCEP_ALGORITHMS_DEFAULT | run->digest | run->cipher, .transaction = run->transaction,
		.nonce = bytes_of(run->nonce, sizeof run->nonce), .recipient = scep_signer(run),
		.recipient_key = scep_signer_key(run) };
	int code = scep_exchange(&run->client, &request, e);

	if (code != DEVSIM_OK)
		return code;
	if (scep_reply_read(&run->client.conn.answer, &expected, &run->reply, e) != 0)
		return DEVSIM_MALFORMED;
	run->replied = true;
	return scep_reply_exit(&run->reply, e);
}

static void
sleep_s(int64_t seconds)
{
	struct timespec t = { .tv_sec = seconds };

	while (nanosleep(&t, &t) != 0 && errno == EINTR)
		;
}

/* Ask again: true, and how soon. A server that is down is asked with the same message, for it may have it already. */
static bool
may_ask_again(const struct scep_run *run, int code, int64_t until_us, int64_t *pause_s)
{
	int64_t retry_s = http_retry_after_s(&run->client.conn.answer, time_now_s());
	bool down = code == DEVSIM_SERVER && run->client.conn.answer.status == 503;

	*pause_s = down && retry_s > 0 ? retry_s : run->options.every_s;
	return run->options.wait_s > 0 && (code == DEVSIM_PENDING || down) &&
		time_monotonic_us() + *pause_s * 1000000 <= until_us;
}

static int
operate_until_done(struct scep_run *run, struct err *e)
{
	int64_t until_us = time_monotonic_us() + run->options.wait_s * 1000000, pause_s;
	CLEANUP(buf) struct buf poll = { 0 };
	int code = operate(run, e);

	while (may_ask_again(run, code, until_us, &pause_s)) {
		if (run->options.verbose)
			(void)fprintf(stderr, "* %s; asking again in %lld s\n", e->text, (long long)pause_s);
		sleep_s(pause_s);
		run->polls++;
		if (code == DEVSIM_PENDING && !run->options.resend) {
			buf_clear(&poll);
			if (scep_make_poll(run, &poll, e) != 0 ||
			    scep_make_message(run, SCEP_CERT_POLL, buf_bytes(&poll), e) != 0)
				return DEVSIM_LOCAL;
		}
		code = operate(run, e);
	}
	return code;
}

/* The answer holds a certificate for our key, and it chains to what we trust. */
static int
take_issued(struct scep_run *run, struct err *e)
{
	if (est_certs_decode(buf_bytes(&run->reply.content), &run->certs, e) != 0)
		return err_prefix(e, "answer");
	run->issued = certs_with_key(run->certs, buf_bytes(&run->spki));
	if (run->issued == NULL)
		return err_set(e, ERR_MALFORMED, "the issued certificate is for another key than the request's");
	if (run->anchors == NULL)
		return 0;
	/* A server may leave the chain out: it named it in GetCACert. */
	return chain_check(run->issued, sk_X509_num(run->certs) > 1 ? run->certs : run->server.certs, run->anchors, e);
}

static int
run_enroll(struct scep_run *run, struct err *e)
{
	enum scep_type type = run->options.choice == SCEP_RENEW && !run->options.as_pkcsreq ? SCEP_RENEWAL_REQ :
		SCEP_PKCS_REQ;
	CLEANUP(buf) struct buf poll = { 0 };
	bool polling = run->options.choice == SCEP_POLL;
	int code;

	if (scep_make_request(run, e) != 0)
		return e->code == ERR_MALFORMED || e->code == ERR_UNSUPPORTED ? DEVSIM_USAGE : DEVSIM_LOCAL;
	if (polling && scep_make_poll(run, &poll, e) != 0)
		return DEVSIM_LOCAL;
	if (scep_make_message(run, polling ? SCEP_CERT_POLL : type, buf_bytes(polling ? &poll : &run->csr), e) != 0)
		return DEVSIM_LOCAL;
	code = operate_until_done(run, e);
	return code == DEVSIM_OK ? malformed(take_issued(run, e)) : code;
}

/* The CertRep is the RA's word; that the CRL is the CA's, it has to say itself. */
static int
take_crl(struct scep_run *run, struct err *e)
{
	if (scep_crl_decode(buf_bytes(&run->reply.content), &run->crl, e) != 0)
		return -1;
	if (run->server.ca != NULL && X509_CRL_verify(run->crl, X509_get0_pubkey(run->server.ca)) != 1)
		return err_ossl(e, ERR_UNAUTHENTIC, "the CRL is not signed by the CA that GetCACert named");
	return 0;
}

static int
take_answer(struct scep_run *run, struct err *e)
{
	if (run->options.choice == SCEP_GETCRL)
		return take_crl(run, e);
	if (est_certs_decode(buf_bytes(&run->reply.content), &run->certs, e) != 0)
		return -1;
	run->issued = sk_X509_value(run->certs, 0);
	return 0;
}

static int
run_question(struct scep_run *run, struct err *e)
{
	CLEANUP(buf) struct buf content = { 0 };
	int code;

	if (scep_make_question(run, &content, e) != 0 || scep_make_message(run,
		run->options.choice == SCEP_GETCRL ? SCEP_GET_CRL : SCEP_GET_CERT, buf_bytes(&content), e) != 0)
		return DEVSIM_LOCAL;
	code = operate(run, e);
	return code == DEVSIM_OK ? malformed(take_answer(run, e)) : code;
}

int
scep_request(struct scep_run *run, struct err *e)
{
	const struct scep_options *o = &run->options;
	int code;

	if (o->choice == SCEP_CAPS)
		return fetch_caps(run, e);
	code = fetch_server(run, e);
	if (code != DEVSIM_OK)
		return code;
	if (o->choice == SCEP_CACERT)
		return take_cacert(run, e) == 0 ? DEVSIM_OK : DEVSIM_LOCAL;
	if (o->choice == SCEP_NEXTCACERT)
		return fetch_next(run, e);
	if (scep_choose(o->digest, o->cipher, &run->server.caps, &run->digest, &run->cipher, e) != 0)
		return DEVSIM_USAGE;
	return o->choice == SCEP_GETCERT || o->choice == SCEP_GETCRL ? run_question(run, e) : run_enroll(run, e);
}
