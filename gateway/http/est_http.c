/*
 * EST over HTTPS: translates to the pipeline and back (RFC 7030 with RFC 8951).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <civetweb.h>

#include "est/keygen.h"
#include "est/path.h"
#include "gateway/core/rollover.h"
#include "gateway/http/basic.h"
#include "gateway/http/est_attest_http.h"

static const char *
transfer_encoding(const struct config_label *label)
{
	return label->transfer_encoding_header ? "Content-Transfer-Encoding: base64\r\n" : NULL;
}

static int
answer_der(struct exchange *x, const char *content_type, struct bytes der)
{
	CLEANUP(buf) struct buf body = { 0 };

	est_body_encode(&body, der, x->label->base64);
	if (buf_failed(&body))
		return server_answer_text(x->conn, 500, NULL, "internal error");
	return server_answer(x->conn, 200, content_type, transfer_encoding(x->label), buf_bytes(&body));
}

/* RFC 7030, section 4.1.3: the type of /cacerts has no parameter; the one of an enrollment has. */
static int
answer_cacerts(struct exchange *x)
{
	const struct world_ca *ca = world_ca_of(x->world, x->label->ca);

	rollover_fetched(x->gateway, x->world, x->label, FETCH_CACERTS, x->facts->client_cert, x->now_s);
	return answer_der(x,
		x->label->content_type == CONTENT_TYPE_EVERYWHERE ? "application/pkcs7-mime; smime-type=certs-only" :
								    "application/pkcs7-mime",
		buf_bytes(&ca->cacerts));
}

/* RFC 7030, section 4.5.2: 204 or 404 when nothing is asked for; Bouncy Castle wants the body empty. */
static int
answer_csrattrs(struct exchange *x)
{
	const struct buf *attrs = world_csrattrs_of(x->world, x->label);

	if (attrs->len == 0)
		return server_answer(x->conn, 204, NULL, NULL, bytes_of(NULL, 0));
	return answer_der(x, "application/csrattrs", buf_bytes(attrs));
}

static int
answer_keygen(struct exchange *x, const struct enroll_result *result, struct bytes certs)
{
	CLEANUP(buf) struct buf body = { 0 };
	uint8_t random[15];
	char boundary[2 * sizeof random + 1], type[96];
	struct err e;
	int status;

	if (random_octets(random, sizeof random, &e) != 0)
		return server_answer_text(x->conn, 500, NULL, "internal error");
	hex_encode(bytes_of(random, sizeof random), boundary);
	est_keygen_multipart(&body, boundary, buf_bytes(&result->key), result->key_encrypted, certs,
		x->label->base64);
	if (buf_failed(&body))
		return server_answer_text(x->conn, 500, NULL, "internal error");
	(void)snprintf(type, sizeof type, "multipart/mixed; boundary=%s", boundary);
	status = server_answer(x->conn, 200, type, NULL, buf_bytes(&body));
	if (!result->key_encrypted)
		OPENSSL_cleanse(body.at, body.len);
	return status;
}

/* RFC 7030, section 4.2.3: the issued certificate; with its chain where the label says so. */
static int
answer_issued(struct exchange *x, enum est_op op, const struct enroll_result *result)
{
	CLEANUP(buf) struct buf certs = { 0 };
	struct err e;

	if (outcome_certs(x->world, x->label, result, x->label->include_chain ? EST_CERTS_MAX : 0, &certs, &e) != 0)
		return server_answer_text(x->conn, 500, NULL, "internal error");
	if (op == EST_OP_SERVERKEYGEN)
		return answer_keygen(x, result, buf_bytes(&certs));
	return answer_der(x,
		x->label->content_type == CONTENT_TYPE_PLAIN ? "application/pkcs7-mime" :
							       "application/pkcs7-mime; smime-type=certs-only",
		buf_bytes(&certs));
}

/* Bouncy Castle's HTTP authentication fails when this answer has a body. */
static int
answer_unauthentic(struct exchange *x)
{
	char header[BASIC_CHALLENGE_MAX];

	basic_challenge(x->label->realm, header);
	return server_answer(x->conn, 401, NULL, header, bytes_of(NULL, 0));
}

static int
answer_result(struct exchange *x, enum est_op op, const struct enroll_result *result)
{
	char headers[EXCHANGE_HEADER_MAX];

	exchange_retry_after(result, headers);
	switch (result->code) {
	case ERR_NONE:
		return answer_issued(x, op, result);
	case ERR_PENDING:
		/* RFC 7030, section 4.2.3: 202 with Retry-After; clients want the body empty. */
		return server_answer(x->conn, 202, NULL, headers, bytes_of(NULL, 0));
	case ERR_MALFORMED:
	case ERR_UNSUPPORTED:
		return server_answer_text(x->conn, 400, NULL, result->sentence);
	case ERR_UNAUTHENTIC:
		return answer_unauthentic(x);
	case ERR_DENIED:
		return exchange_refuse(x, 403, NULL, result);
	case ERR_LIMIT:
		return exchange_refuse(x, result->retry_after_s > 0 ? 429 : 413,
			result->retry_after_s > 0 ? headers : NULL, result);
	case ERR_UPSTREAM:
		return exchange_refuse(x, 503, headers, result);
	case ERR_NOMEM:
	case ERR_BUG:
		break;
	}
	return exchange_refuse(x, 500, NULL, result);
}

static enum enroll_op
enroll_op_of(enum est_op op)
{
	switch (op) {
	case EST_OP_SIMPLEREENROLL:
		return ENROLL_RENEW;
	case EST_OP_SERVERKEYGEN:
		return ENROLL_KEYGEN;
	case EST_OP_SIMPLEENROLL:
	case EST_OP_CACERTS:
	case EST_OP_CSRATTRS:
	case EST_OP_NONCE:
	case EST_OP_TPM_BIND:
	case EST_OP_NONE:
		break;
	}
	return ENROLL_NEW;
}

static int
run(struct exchange *x, enum est_op op, struct bytes csr)
{
	struct enroll_request request = exchange_request(x);
	struct basic_credentials basic;
	struct enroll_result result;
	int status;

	request.op = enroll_op_of(op);
	request.csr = csr;
	request.client_cert = x->facts->client_cert;
	request.client_chain = x->facts->client_chain;
	request.binding = &x->facts->binding;
	if (basic_parse(mg_get_header(x->conn, "Authorization"), &basic)) {
		request.user = basic.user;
		request.secret = basic.secret;
	}
	enroll_run(x->gateway, x->world, &request, &result);
	OPENSSL_cleanse(&basic, sizeof basic);
	status = answer_result(x, op, &result);
	exchange_log(x, &result, "issued", status, NULL, 0);
	enroll_result_free(&result);
	return status;
}

/* The type without its parameters; RFC 7030, section 4.2.1: application/pkcs10. */
static bool
is_pkcs10(const char *type)
{
	static const char wanted[] = "application/pkcs10";
	size_t len = type == NULL ? 0 : strcspn(type, "; \t");

	return len == sizeof wanted - 1 && strncasecmp(type, wanted, len) == 0;
}

static void
audit_malformed(const struct exchange *x, const struct err *why)
{
	struct enroll_request request = exchange_request(x);

	request.client_cert = x->facts->client_cert;
	enroll_refuse(x->gateway, &request, why);
}

static int
answer_enrollment(struct exchange *x, enum est_op op)
{
	CLEANUP(buf) struct buf body = { 0 };
	CLEANUP(buf) struct buf csr = { 0 };
	struct err e;

	if (x->label->require_content_type && !is_pkcs10(mg_get_header(x->conn, "Content-Type"))) {
		(void)err_set(&e, ERR_MALFORMED, "the body must be application/pkcs10");
		audit_malformed(x, &e);
		return server_answer_text(x->conn, 415, "Accept: application/pkcs10\r\n", e.text);
	}
	if (exchange_body(x, &body, &e) != 0)
		return server_answer_text(x->conn, e.code == ERR_NOMEM ? 500 : 400, NULL, e.text);
	if (est_body_decode(buf_bytes(&body), x->label->accept_der, &csr, &e) != 0) {
		audit_malformed(x, &e);
		return server_answer_text(x->conn, 400, NULL, e.text);
	}
	return run(x, op, buf_bytes(&csr));
}

static int
dispatch(struct exchange *x, enum est_op op)
{
	if (op == EST_OP_NONCE)
		return est_nonce_handle(x); /* by either method */
	if (strcmp(exchange_method(x), est_op_method(op)) != 0)
		return exchange_wrong_method(x, est_op_method(op));
	switch (op) {
	case EST_OP_CACERTS:
		return answer_cacerts(x);
	case EST_OP_CSRATTRS:
		return answer_csrattrs(x);
	case EST_OP_SIMPLEENROLL:
	case EST_OP_SIMPLEREENROLL:
	case EST_OP_SERVERKEYGEN:
		return answer_enrollment(x, op);
	case EST_OP_TPM_BIND:
		return est_tpm_bind_handle(x);
	case EST_OP_NONCE:
	case EST_OP_NONE:
		break;
	}
	return server_answer_text(x->conn, 404, NULL, "no such EST operation");
}

int
est_http_handle(struct exchange *x)
{
	struct est_route route;
	struct err e;

	x->protocol = "est";
	x->operation = "unknown";
	/* RFC 7030, section 3.3: "HTTPS MUST be used." */
	if (exchange_is_plain(x))
		return server_answer_text(x->conn, 403, NULL,
			"EST is served over HTTPS only: use https and the port of an address in listen.https");
	if (est_path_parse(bytes_of_text(exchange_path(x)), &route, &e) != 0)
		return server_answer_text(x->conn, 404, NULL, e.text);
	x->operation = est_op_name(route.op);
	x->label = config_label(x->world->config, route.label);
	if (x->label == NULL || (x->label->protocols & PROTOCOL_EST) == 0)
		return server_answer_text(x->conn, 404, NULL, "no such label");
	return dispatch(x, route.op);
}
