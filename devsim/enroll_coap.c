/*
 * devsim enroll over CoAP (RFC 9148): what is sent, and what an answer holds.
 */
#include <string.h>

#include "devsim/devsim.h"
#include "devsim/enroll.h"

static int
exchange(struct enroll_run *run, enum enroll_choice choice, struct err *e)
{
	static const enum coaps_op ops[] = { [CHOICE_CACERTS] = COAPS_OP_CRTS, [CHOICE_CSRATTRS] = COAPS_OP_ATT,
		[CHOICE_ENROLL] = COAPS_OP_SEN, [CHOICE_REENROLL] = COAPS_OP_SREN, [CHOICE_KEYGEN] = COAPS_OP_SKG,
		[CHOICE_SKC] = COAPS_OP_SKC, [CHOICE_DISCOVER] = COAPS_OP_NONE };
	const struct coapc_answer *answer = &run->client.conn.coap.answer;
	CLEANUP(buf) struct buf path = { 0 };
	struct coapc_request request;

	coapc_est_request(&run->options.client.coap, &run->client.target.url, run->options.client.label, ops[choice],
		buf_bytes(&run->csr), &path, &request);
	if (client_coap(&run->client, &request, e) != 0)
		return -1;
	run->status = answer->code;
	run->retry_after_s = answer->code == 503 ? coapc_est_retry_s(answer) : -1;
	coapc_est_reason(answer, run->reason, sizeof run->reason);
	return 0;
}

static int
judge(struct enroll_run *run, struct err *e)
{
	return coapc_est_exit(&run->client.conn.coap.answer, e);
}

/* RFC 9148, section 4.5: "4.04 is used when the resource is not available for the client." */
static bool
no_attributes(const struct enroll_run *run)
{
	return run->status == 404;
}

static int
certs(struct enroll_run *run, STACK_OF(X509) **out, struct err *e)
{
	const struct coapc_answer *answer = &run->client.conn.coap.answer;

	return coapc_est_certs(answer->content_format, buf_bytes(&answer->body), out, e);
}

static int
attributes(struct enroll_run *run, struct buf *der, struct err *e)
{
	struct bytes octets = { 0 };

	if (coapc_est_octets(&run->client.conn.coap.answer, COAPS_FORMAT_CSRATTRS, &octets, e) != 0)
		return -1;
	buf_append_bytes(der, octets);
	return 0;
}

static int
keygen(struct enroll_run *run, struct err *e)
{
	/* RFC 9148, table 3: /skc has a single certificate where /skg has PKCS #7. */
	int format = run->options.choice == CHOICE_SKC ? COAPS_FORMAT_CERT : COAPS_FORMAT_CERTS;
	struct coaps_multipart parts = { 0 };
	struct bytes body = { 0 };

	if (coapc_est_octets(&run->client.conn.coap.answer, COAPS_FORMAT_MULTIPART, &body, e) != 0 ||
	    coaps_multipart_parse(body, &parts, e) != 0)
		return -1;
	if (parts.cert_format != format)
		return err_set(e, ERR_MALFORMED, "the certificate is of Content-Format %d where %d belongs",
			parts.cert_format, format);
	if (coapc_est_certs(parts.cert_format, parts.cert, &run->certs, e) != 0)
		return -1;
	run->key_was_encrypted = parts.key_format == COAPS_FORMAT_KEY_CMS;
	return enroll_take_key(run, parts.key, e);
}

int
enroll_coap_links(struct enroll_run *run, struct err *e)
{
	const struct coapc_answer *answer = &run->client.conn.coap.answer;
	struct bytes links = { 0 };

	/* Nothing that fits the question may come without saying what it is. */
	if (answer->body.len == 0)
		return 0;
	if (coapc_est_octets(answer, COAPS_FORMAT_LINKS, &links, e) != 0)
		return -1;
	buf_append_bytes(&run->links, links);
	return 0;
}

const struct enroll_transport enroll_coap = {
	.exchange = exchange,
	.judge = judge,
	.no_attributes = no_attributes,
	.certs = certs,
	.attributes = attributes,
	.keygen = keygen,
};
