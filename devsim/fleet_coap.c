/*
 * A fleet that speaks EST over CoAP (RFC 9148).
 */
#include "devsim/csr.h"
#include "devsim/devsim.h"
#include "devsim/fleet_protocol.h"
#include "est/body.h"

static int
check(const struct fleet_options *o, struct err *e)
{
	if (o->challenges != NULL || o->get || o->oaep || o->unopened || o->digest != 0 || o->cipher != 0)
		return err_set(e, ERR_MALFORMED,
			"--challenges, --digest, --cipher, --oaep, --get and --unopened belong to --protocol scep");
	if (o->slow != 0)
		return err_set(e, ERR_MALFORMED, "--slow: datagrams come whole");
	if (o->devices == NULL)
		return err_set(e, ERR_MALFORMED, "--devices DIR is needed: over CoAP every client shows a certificate");
	if (o->client.tls.version != TLS_ANY)
		return err_set(e, ERR_MALFORMED, "--tls: coaps:// is DTLS 1.2");
	return 0;
}

static int
make(const struct fleet *fleet, size_t device, const char *binding, struct prepared *out, struct err *e)
{
	CLEANUP(buf) struct buf subject = { 0 };
	CLEANUP(buf) struct buf names = { 0 };
	struct csr_spec spec = { .challenge = binding };

	if (fleet_make_names(fleet, &fleet->devices[device], &subject, &names, e) != 0 ||
	    fleet_make_key(fleet, out, e) != 0)
		return -1;
	spec.subject = buf_bytes(&subject);
	spec.alt_names = buf_bytes(&names);
	buf_clear(&out->body);
	return csr_build(&spec, out->key, &out->body, e);
}

static void
write_request(const struct fleet *fleet, const struct prepared *prepared, bool close, struct conn *conn)
{
	static const enum coaps_op ops[] = { [FLEET_ENROLL] = COAPS_OP_SEN, [FLEET_REENROLL] = COAPS_OP_SREN,
		[FLEET_CACERTS] = COAPS_OP_CRTS };
	CLEANUP(buf) struct buf path = { 0 };
	struct coapc_request request;

	(void)close; /* CoAP has no word for it: close_notify says so afterwards */
	coapc_est_request(&fleet->options.client.coap, &fleet->target.url, fleet->options.client.label,
		ops[fleet->options.op], prepared == NULL ? bytes_of(NULL, 0) : buf_bytes(&prepared->body), &path, &request);
	coapc_exchange_begin(&conn->coap, &request);
}

/* What is kept is a certs-only message, whatever came. */
static int
take_certs(const struct coapc_answer *answer, struct buf *issued, struct err *e)
{
	struct bytes body = buf_bytes(&answer->body);

	if (answer->content_format == COAPS_FORMAT_CERT)
		return est_certs_encode(&body, 1, issued, e);
	if (coapc_est_octets(answer, COAPS_FORMAT_CERTS, &body, e) != 0)
		return -1;
	buf_append_bytes(issued, body);
	return 0;
}

static enum fleet_outcome
judge(const struct fleet *fleet, size_t device, const struct prepared *prepared, const struct conn *conn,
	struct buf *issued, struct err *e)
{
	const struct coapc_answer *answer = &conn->coap.answer;
	int code = coapc_est_exit(answer, e);

	(void)device;
	if (code != DEVSIM_OK)
		return code == DEVSIM_PENDING ? FLEET_PENDING : code == DEVSIM_REFUSED ? FLEET_REFUSED : FLEET_FAILED;
	if (take_certs(answer, issued, e) != 0)
		return FLEET_FAILED;
	if (fleet->options.op == FLEET_CACERTS || fleet_holds_key(prepared, buf_bytes(issued)))
		return FLEET_OK;
	(void)err_set(e, ERR_MALFORMED, "the answer has no certificate for the key of the request");
	return FLEET_FAILED;
}

const struct fleet_protocol fleet_coap = {
	.name = "coap",
	.url = URL_COAP,
	.client_certificate = true,
	.check = check,
	.make = make,
	.write = write_request,
	.judge = judge,
};
