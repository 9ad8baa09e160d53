/*
 * SCEP over HTTP and HTTPS (RFC 8894, sections 3.5 and 4): which operation, by which
 * method. Messages are scep_pki.c's.
 */
#include <string.h>

#include "gateway/core/rollover.h"
#include "gateway/http/exchange.h"
#include "gateway/http/scep_pki.h"
#include "scep/query.h"

/* Bytes that never became a message. There is nobody to sign an answer for, so it is HTTP's to say. */
static int
refuse_query(struct exchange *x, enum scep_operation operation, const struct err *e)
{
	struct enroll_request request;

	if (e->code == ERR_NOMEM)
		return server_answer_text(x->conn, 500, NULL, "internal error");
	if (operation == SCEP_OP_PKI_OPERATION) {
		request = exchange_request(x);
		enroll_refuse(x->gateway, &request, e);
	}
	return server_answer_text(x->conn, e->code == ERR_LIMIT ? 414 : 400, NULL, e->text);
}

/*
 * RFC 8894, section 4.3: "when used with HTTP POST, the only OPERATION possible is "PKIOperation", so many CAs
 * don't check this value or even notice its absence." So it may be absent, but not wrong.
 */
static int
parse_query(const struct exchange *x, bool post, enum scep_operation *operation, struct buf *message, struct err *e)
{
	struct bytes query = bytes_of_text(exchange_query(x));

	if (!post || query.len != 0)
		return scep_query_parse(query, !post, operation, message, e);
	*operation = SCEP_OP_PKI_OPERATION;
	return 0;
}

/* Real clients send application/x-pki-message, octet-stream or a form's type: what the body is, it says itself. */
static int
take_post(struct exchange *x)
{
	CLEANUP(buf) struct buf body = { 0 };
	struct err e;

	if (exchange_body(x, &body, &e) != 0)
		return server_answer_text(x->conn, e.code == ERR_NOMEM ? 500 : 400, NULL, e.text);
	return scep_pki_operation(x, buf_bytes(&body));
}

static int
answer_ca_cert(struct exchange *x)
{
	const struct world_scep *scep = world_scep_of(x->world, x->label);

	rollover_fetched(x->gateway, x->world, x->label, FETCH_GETCACERT, x->facts->client_cert, x->now_s);
	return server_answer(x->conn, 200,
		scep->ca_cert_bundle ? "application/x-x509-ca-ra-cert" : "application/x-x509-ca-cert", NULL,
		buf_bytes(&scep->ca_cert));
}

static int
answer_next_ca_cert(struct exchange *x)
{
	const struct world_scep *scep = world_scep_of(x->world, x->label);

	if (scep->next.len == 0)
		return server_answer_text(x->conn, 404, NULL, "there is no next CA certificate");
	rollover_fetched(x->gateway, x->world, x->label, FETCH_GETNEXTCACERT, x->facts->client_cert, x->now_s);
	return server_answer(x->conn, 200, "application/x-x509-next-ca-cert", NULL, buf_bytes(&scep->next));
}

static int
answer_caps(struct exchange *x)
{
	return server_answer(x->conn, 200, "text/plain", NULL, buf_bytes(&world_scep_of(x->world, x->label)->caps));
}

static int
dispatch(struct exchange *x, enum scep_operation operation, bool post, struct bytes message)
{
	if (post && operation != SCEP_OP_PKI_OPERATION)
		return exchange_wrong_method(x, "GET");
	switch (operation) {
	case SCEP_OP_GET_CA_CAPS:
		return answer_caps(x);
	case SCEP_OP_GET_CA_CERT:
		return answer_ca_cert(x);
	case SCEP_OP_GET_NEXT_CA_CERT:
		return answer_next_ca_cert(x);
	case SCEP_OP_PKI_OPERATION:
		return post ? take_post(x) : scep_pki_operation(x, message);
	case SCEP_OP_NONE:
		break;
	}
	return server_answer_text(x->conn, 400, NULL, "no such SCEP operation");
}

int
scep_http_handle(struct exchange *x, const char *label)
{
	CLEANUP(buf) struct buf message = { 0 };
	enum scep_operation operation = SCEP_OP_NONE;
	bool post = strcmp(exchange_method(x), "POST") == 0;
	struct err e;
	int parsed;

	x->protocol = "scep";
	x->label = config_label(x->world->config, label);
	if (x->label == NULL || (x->label->protocols & PROTOCOL_SCEP) == 0)
		return server_answer_text(x->conn, 404, NULL, "no such label");
	if (!post && strcmp(exchange_method(x), "GET") != 0)
		return exchange_wrong_method(x, "GET, POST");
	parsed = parse_query(x, post, &operation, &message, &e);
	if (operation != SCEP_OP_NONE)
		x->operation = scep_operation_name(operation);
	if (parsed != 0)
		return refuse_query(x, operation, &e);
	return dispatch(x, operation, post, buf_bytes(&message));
}
