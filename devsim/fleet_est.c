/*
 * A fleet that speaks EST (RFC 7030).
 */
#include "devsim/csr.h"
#include "devsim/fleet_protocol.h"

static int
check(const struct fleet_options *o, struct err *e)
{
	if (o->challenges != NULL || o->get || o->oaep || o->unopened || o->digest != 0 || o->cipher != 0)
		return err_set(e, ERR_MALFORMED,
			"--challenges, --digest, --cipher, --oaep, --get and --unopened belong to --protocol scep");
	return 0;
}

static int
make(const struct fleet *fleet, size_t device, const char *binding, struct prepared *out, struct err *e)
{
	CLEANUP(buf) struct buf subject = { 0 };
	CLEANUP(buf) struct buf names = { 0 };
	CLEANUP(buf) struct buf der = { 0 };
	struct csr_spec spec = { .challenge = binding };

	if (fleet_make_names(fleet, &fleet->devices[device], &subject, &names, e) != 0 ||
	    fleet_make_key(fleet, out, e) != 0)
		return -1;
	spec.subject = buf_bytes(&subject);
	spec.alt_names = buf_bytes(&names);
	if (csr_build(&spec, out->key, &der, e) != 0)
		return -1;
	buf_clear(&out->body);
	base64_encode(&out->body, buf_bytes(&der), 0);
	return buf_failed(&out->body) ? err_set(e, ERR_NOMEM, "request: no memory") : 0;
}

static void
write_request(const struct fleet *fleet, const struct prepared *prepared, bool close, struct conn *conn)
{
	static const enum est_op ops[] = { [FLEET_ENROLL] = EST_OP_SIMPLEENROLL,
		[FLEET_REENROLL] = EST_OP_SIMPLEREENROLL, [FLEET_CACERTS] = EST_OP_CACERTS };
	struct est_request request = { .url = &fleet->target.url, .label = fleet->options.client.label,
		.op = ops[fleet->options.op], .close = close };

	if (prepared != NULL)
		request.body = buf_bytes(&prepared->body);
	buf_clear(&conn->out);
	est_request_write(&request, &conn->out);
}

static enum fleet_outcome
judge(const struct fleet *fleet, size_t device, const struct prepared *prepared, const struct conn *conn,
	struct buf *issued, struct err *e)
{
	const struct http_answer *answer = &conn->answer;

	(void)device;
	if (answer->status != 200)
		return fleet_judge_status(answer, e);
	if (answer_octets(answer, "application/pkcs7-mime", issued, e) != 0)
		return FLEET_FAILED;
	if (fleet->options.op == FLEET_CACERTS || fleet_holds_key(prepared, buf_bytes(issued)))
		return FLEET_OK;
	(void)err_set(e, ERR_MALFORMED, "the answer has no certificate for the key of the request");
	return FLEET_FAILED;
}

const struct fleet_protocol fleet_est = {
	.name = "est",
	.url = URL_EST,
	.client_certificate = true,
	.check = check,
	.make = make,
	.write = write_request,
	.judge = judge,
};
