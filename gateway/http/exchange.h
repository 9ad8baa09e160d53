/*
 * exchange.h - one request between CivetWeb and the pipeline: what the protocols' handlers share.
 *
 * A handler translates to the pipeline and back; it answers by server.h,
 * and returns the status it sent.
 */
#ifndef GATEWAY_HTTP_EXCHANGE_H
#define GATEWAY_HTTP_EXCHANGE_H

#include "gateway/core/enroll.h"
#include "gateway/core/outcome.h"
#include "gateway/http/front.h"
#include "gateway/http/server.h"

struct exchange {
	struct gateway *gateway;
	const struct world *world; /* the same from the first to the last line */
	struct mg_connection *conn;
	const struct conn_facts *facts;
	const struct config_label *label; /* NULL until the path named one */
	const char *protocol;      /* "est"; NULL: the path belongs to none, and nothing is counted */
	const char *operation;     /* the protocol's own word, for log, audit and metrics */
	int64_t now_s, began_us;
};

/* est_http.c: everything under /.well-known/est. */
#define EST_ROOT "/.well-known/est"
int est_http_handle(struct exchange *x);
/* scep_http.c: the paths that scep_path_parse() knows; label is what it found. */
int scep_http_handle(struct exchange *x, const char *label);
/* crl_http.c: /crl/<ca>.crl, the address that certificates may name as their CRL distribution point. */
#define CRL_ROOT "/crl"
int crl_http_handle(struct exchange *x);

/* CivetWeb's words for this request. Path and query as they came; the query is "" when there is none. */
const char *exchange_method(const struct exchange *x);
const char *exchange_path(const struct exchange *x);
const char *exchange_query(const struct exchange *x);
bool exchange_is_plain(const struct exchange *x); /* no TLS */

/* 405 with Allow; allow as "GET, POST". */
int exchange_wrong_method(const struct exchange *x, const char *allow);

/* The whole body, appended. ERR_MALFORMED when less came than was announced. */
MUST_USE int exchange_body(const struct exchange *x, struct buf *out, struct err *e);

/* A request for the pipeline with what is known of every one: protocol, operation, label, peer, time. */
struct enroll_request exchange_request(const struct exchange *x);

/* An outcome as an answer in one line of text. headers as in server_answer(). */
int exchange_refuse(const struct exchange *x, int status, const char *headers, const struct enroll_result *result);
/* "Retry-After: 30\r\n" */
#define EXCHANGE_HEADER_MAX 64
void exchange_retry_after(const struct enroll_result *result, char out[EXCHANGE_HEADER_MAX]);

/* The log line of one enrollment: see outcome.h. */
void exchange_log(const struct exchange *x, const struct enroll_result *result, const char *done, int status,
	const struct log_field *more, int more_count);

#endif
