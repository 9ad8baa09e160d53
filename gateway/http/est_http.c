/*
 * EST over HTTPS: translates to the pipeline and back (RFC 7030 with RFC 8951).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <civetweb.h>

#include "base/text.h"
#include "base/timefmt.h"
#include "est/keygen.h"
#include "est/path.h"
#include "gateway/core/enroll.h"
#include "gateway/core/log.h"
#include "gateway/core/metrics.h"
#include "gateway/http/basic.h"
#include "gateway/http/front.h"
#include "gateway/http/server.h"

struct est_exchange {
	struct gateway *gateway;
	struct world *world;
	struct mg_connection *conn;
	const struct conn_facts *facts;
	const struct config_label *label;
	struct est_route route;
	int64_t now_s;
	int64_t began_us;
};

static const char *
transfer_encoding(const struct config_label *label)
{
	return label->transfer_encoding_header ? "Content-Transfer-Encoding: base64\r\n" : NULL;
}

static int
answer_der(struct est_exchange *x, const char *content_type, struct bytes der)
{
	CLEANUP(buf) struct buf body = { 0 };

	est_body_encode(&body, der, x->label->base64);
	if (buf_failed(&body))
		return server_answer_text(x->conn, 500, NULL, "internal error");
	return server_answer(x->conn, 200, content_type, transfer_encoding(x->label), buf_bytes(&body));
}

/* RFC 7030, section 4.1.3: the type of /cacerts has no parameter; the one of an enrollment has. */
static int
answer_cacerts(struct est_exchange *x)
{
	const struct world_ca *ca = world_ca_of(x->world, x->label->ca);

	return answer_der(x,
		x->label->content_type == CONTENT_TYPE_EVERYWHERE ? "application/pkcs7-mime; smime-type=certs-only" :
								    "application/pkcs7-mime",
		buf_bytes(&ca->cacerts));
}

/* RFC 7030, section 4.5.2: 204 or 404 when nothing is asked for; Bouncy Castle wants the body empty. */
static int
answer_csrattrs(struct est_exchange *x)
{
	const struct buf *attrs = world_csrattrs_of(x->world, x->label);

	if (attrs->len == 0)
		return server_answer(x->conn, 204, NULL, NULL, bytes_of(NULL, 0));
	return answer_der(x, "application/csrattrs", buf_bytes(attrs));
}

/* The issued certificate (RFC 7030, section 4.2.3), with its chain where the label says so. */
static int
encode_certs(struct est_exchange *x, struct bytes cert, struct buf *out, struct err *e)
{
	const struct world_ca *ca = world_ca_of(x->world, x->label->ca);
	const STACK_OF(X509) *chain = ca->ops->chain(ca->ca);
	struct buf ders[EST_CERTS_MAX] = { 0 };
	struct bytes certs[EST_CERTS_MAX] = { cert };
	int count = x->label->include_chain ? sk_X509_num(chain) : 0, i, result = 0;

	for (i = 0; i < count && i + 1 < EST_CERTS_MAX && result == 0; i++) {
		result = x509_to_der(sk_X509_value(chain, i), &ders[i], e);
		certs[i + 1] = buf_bytes(&ders[i]);
	}
	if (result == 0)
		result = est_certs_encode(certs, (size_t)i + 1, out, e);
	while (i-- > 0)
		buf_free(&ders[i]);
	return result;
}

static int
answer_keygen(struct est_exchange *x, const struct enroll_result *result, struct bytes certs)
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

static int
answer_issued(struct est_exchange *x, const struct enroll_result *result)
{
	CLEANUP(buf) struct buf certs = { 0 };
	struct err e;

	if (encode_certs(x, buf_bytes(&result->cert), &certs, &e) != 0)
		return server_answer_text(x->conn, 500, NULL, "internal error");
	if (x->route.op == EST_OP_SERVERKEYGEN)
		return answer_keygen(x, result, buf_bytes(&certs));
	return answer_der(x,
		x->label->content_type == CONTENT_TYPE_PLAIN ? "application/pkcs7-mime" :
							       "application/pkcs7-mime; smime-type=certs-only",
		buf_bytes(&certs));
}

static int
answer_refused(struct est_exchange *x, int status, const char *headers, const struct enroll_result *result)
{
	char text[ERR_TEXT_MAX + 64];

	if (result->request_id != 0)
		(void)snprintf(text, sizeof text, "%s (request %lld)", result->public_text,
			(long long)result->request_id);
	else
		(void)snprintf(text, sizeof text, "%s", result->public_text);
	return server_answer_text(x->conn, status, headers, text);
}

static int
answer_result(struct est_exchange *x, const struct enroll_result *result)
{
	char headers[REG_TEXT_MAX + 64];

	(void)snprintf(headers, sizeof headers, "Retry-After: %lld\r\n", (long long)result->retry_after_s);
	switch (result->code) {
	case ERR_NONE:
		return answer_issued(x, result);
	case ERR_PENDING:
		/* RFC 7030, section 4.2.3: 202 with Retry-After; clients want the body empty. */
		return server_answer(x->conn, 202, NULL, headers, bytes_of(NULL, 0));
	case ERR_MALFORMED:
	case ERR_UNSUPPORTED:
		return server_answer_text(x->conn, 400, NULL, result->sentence);
	case ERR_UNAUTHENTIC:
		(void)snprintf(headers, sizeof headers, "WWW-Authenticate: Basic realm=\"%s\"\r\n", x->label->realm);
		/* Bouncy Castle's HTTP authentication fails when this answer has a body. */
		return server_answer(x->conn, 401, NULL, headers, bytes_of(NULL, 0));
	case ERR_DENIED:
		return answer_refused(x, 403, NULL, result);
	case ERR_LIMIT:
		return answer_refused(x, result->retry_after_s > 0 ? 429 : 413,
			result->retry_after_s > 0 ? headers : NULL, result);
	case ERR_UPSTREAM:
		return answer_refused(x, 503, headers, result);
	case ERR_NOMEM:
	case ERR_BUG:
		break;
	}
	return answer_refused(x, 500, NULL, result);
}

static void
log_enrollment(const struct est_exchange *x, const struct enroll_result *result, int status)
{
	char id[24], ms[24], http[8];
	struct log_field fields[] = {
		{ "id", id },
		{ "proto", "est" },
		{ "op", est_op_name(x->route.op) },
		{ "label", x->route.label },
		{ "peer", x->facts->peer },
		{ "device", result->asset_tag[0] == '\0' ? NULL : result->asset_tag },
		{ "proof", result->proof[0] == '\0' ? NULL : result->proof },
		{ "ca", x->label->ca },
		{ "result", result->code == ERR_NONE ? (result->replayed ? "replayed" : "issued") :
						       err_code_name(result->code) },
		{ "reason", result->reason },
		{ "why", result->code == ERR_NONE ? NULL : result->sentence },
		{ "status", http },
		{ "ms", ms },
	};

	(void)snprintf(id, sizeof id, "%lld", (long long)result->request_id);
	(void)snprintf(http, sizeof http, "%d", status);
	(void)snprintf(ms, sizeof ms, "%.1f", (double)(time_monotonic_us() - x->began_us) / 1000.0);
	log_fields(result->code == ERR_BUG || result->code == ERR_NOMEM ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO,
		"enroll", fields, (int)(sizeof fields / sizeof fields[0]));
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
	case EST_OP_NONE:
		break;
	}
	return ENROLL_NEW;
}

static int
run(struct est_exchange *x, struct bytes csr)
{
	struct basic_credentials basic;
	struct enroll_result result;
	struct enroll_request request = {
		.protocol = "est",
		.operation = est_op_name(x->route.op),
		.op = enroll_op_of(x->route.op),
		.label = x->label,
		.csr = csr,
		.client_cert = x->facts->client_cert,
		.client_chain = x->facts->client_chain,
		.binding = &x->facts->binding,
		.peer = x->facts->peer,
		.now_s = x->now_s,
	};
	int status;

	if (basic_parse(mg_get_header(x->conn, "Authorization"), &basic)) {
		request.user = basic.user;
		request.secret = basic.secret;
	}
	enroll_run(x->gateway, x->world, &request, &result);
	OPENSSL_cleanse(&basic, sizeof basic);
	status = answer_result(x, &result);
	log_enrollment(x, &result, status);
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

static int
read_body(struct mg_connection *conn, struct buf *out)
{
	const struct mg_request_info *info = mg_get_request_info(conn);
	char chunk[8192];
	int n;

	while (info->content_length > (long long)out->len &&
		(n = mg_read(conn, chunk, sizeof chunk)) > 0)
		buf_append(out, chunk, (size_t)n);
	return buf_failed(out) || info->content_length != (long long)out->len ? -1 : 0;
}

static void
audit_malformed(const struct est_exchange *x, const struct err *why)
{
	struct enroll_request request = {
		.protocol = "est",
		.operation = est_op_name(x->route.op),
		.label = x->label,
		.client_cert = x->facts->client_cert,
		.peer = x->facts->peer,
		.now_s = x->now_s,
	};

	enroll_refuse(x->gateway, &request, why);
}

static int
answer_enrollment(struct est_exchange *x)
{
	CLEANUP(buf) struct buf body = { 0 };
	CLEANUP(buf) struct buf csr = { 0 };
	struct err e;

	if (x->label->require_content_type && !is_pkcs10(mg_get_header(x->conn, "Content-Type"))) {
		(void)err_set(&e, ERR_MALFORMED, "the body must be application/pkcs10");
		audit_malformed(x, &e);
		return server_answer_text(x->conn, 415, "Accept: application/pkcs10\r\n", e.text);
	}
	if (read_body(x->conn, &body) != 0)
		return server_answer_text(x->conn, 400, NULL, "the body is shorter than announced");
	if (est_body_decode(buf_bytes(&body), x->label->accept_der, &csr, &e) != 0) {
		audit_malformed(x, &e);
		return server_answer_text(x->conn, 400, NULL, e.text);
	}
	return run(x, buf_bytes(&csr));
}

static int
dispatch(struct est_exchange *x)
{
	char allow[32];

	if (strcmp(mg_get_request_info(x->conn)->request_method, est_op_method(x->route.op)) != 0) {
		(void)snprintf(allow, sizeof allow, "Allow: %s\r\n", est_op_method(x->route.op));
		return server_answer_text(x->conn, 405, allow, "wrong method for this operation");
	}
	switch (x->route.op) {
	case EST_OP_CACERTS:
		return answer_cacerts(x);
	case EST_OP_CSRATTRS:
		return answer_csrattrs(x);
	case EST_OP_SIMPLEENROLL:
	case EST_OP_SIMPLEREENROLL:
	case EST_OP_SERVERKEYGEN:
		return answer_enrollment(x);
	case EST_OP_NONE:
		break;
	}
	return server_answer_text(x->conn, 404, NULL, "no such EST operation");
}

int
est_http_handle(struct gateway *gateway, struct mg_connection *conn, const struct conn_facts *facts)
{
	struct est_exchange x = {
		.gateway = gateway,
		.conn = conn,
		.facts = facts,
		.now_s = time_now_s(),
		.began_us = time_monotonic_us(),
	};
	struct err e;
	int status;

	if (est_path_parse(bytes_of_text(mg_get_request_info(conn)->local_uri_raw), &x.route, &e) != 0) {
		metric_request("est", "unknown", 404, time_monotonic_us() - x.began_us);
		return server_answer_text(conn, 404, NULL, e.text);
	}
	x.world = world_get();
	x.label = config_label(x.world->config, x.route.label);
	if (x.label == NULL)
		status = server_answer_text(conn, 404, NULL, "no such label");
	else
		status = dispatch(&x);
	world_put(x.world);
	metric_request("est", est_op_name(x.route.op), status, time_monotonic_us() - x.began_us);
	return status;
}
