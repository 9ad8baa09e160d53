/*
 * devsim enroll over HTTPS (RFC 7030): what is sent, and what an answer holds.
 */
#include <string.h>

#include "base/timefmt.h"
#include "devsim/devsim.h"
#include "devsim/enroll.h"

static int
exchange(struct enroll_run *run, enum enroll_choice choice, struct err *e)
{
	static const enum est_op ops[] = { [CHOICE_CACERTS] = EST_OP_CACERTS, [CHOICE_CSRATTRS] = EST_OP_CSRATTRS,
		[CHOICE_ENROLL] = EST_OP_SIMPLEENROLL, [CHOICE_REENROLL] = EST_OP_SIMPLEREENROLL,
		[CHOICE_KEYGEN] = EST_OP_SERVERKEYGEN };
	CLEANUP(buf) struct buf body = { 0 };
	struct est_request request = { .op = ops[choice] };

	if (strcmp(est_op_method(request.op), "POST") == 0) {
		base64_encode(&body, buf_bytes(&run->csr), 0);
		request.body = buf_bytes(&body);
	}
	if (run->authorization.len != 0)
		request.authorization = buf_text(&run->authorization);
	if (client_exchange(&run->client, &request, e) != 0)
		return -1;
	run->status = run->client.conn.answer.status;
	run->retry_after_s = http_retry_after_s(&run->client.conn.answer, time_now_s());
	answer_reason(&run->client.conn.answer, run->reason, sizeof run->reason);
	return 0;
}

static int
judge(struct enroll_run *run, struct err *e)
{
	int code = status_exit(run->status);

	if (code == DEVSIM_PENDING)
		(void)err_set(e, ERR_PENDING, "pending: HTTP 202, ask again in %lld s", (long long)run->retry_after_s);
	else if (code != DEVSIM_OK)
		(void)err_set(e, code == DEVSIM_REFUSED ? ERR_DENIED : ERR_UPSTREAM, "HTTP %d%s%s", run->status,
			run->reason[0] == '\0' ? "" : ": ", run->reason);
	return code;
}

/* RFC 7030, section 4.5.2: 204 and 404 say that there are no attributes to ask for. */
static bool
no_attributes(const struct enroll_run *run)
{
	return run->status == 204 || run->status == 404;
}

static int
certs(struct enroll_run *run, STACK_OF(X509) **out, struct err *e)
{
	if (run->status != 200)
		return err_set(e, ERR_MALFORMED, "an empty answer where certificates belong");
	return answer_certs(&run->client.conn.answer, out, e);
}

static int
attributes(struct enroll_run *run, struct buf *der, struct err *e)
{
	return answer_octets(&run->client.conn.answer, "application/csrattrs", der, e);
}

const struct enroll_transport enroll_http = {
	.exchange = exchange,
	.judge = judge,
	.no_attributes = no_attributes,
	.certs = certs,
	.attributes = attributes,
	.keygen = enroll_open_keygen,
};
