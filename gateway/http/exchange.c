#include "gateway/http/exchange.h"

#include <stdio.h>
#include <string.h>

#include <civetweb.h>


const char *
exchange_method(const struct exchange *x)
{
	return mg_get_request_info(x->conn)->request_method;
}

const char *
exchange_path(const struct exchange *x)
{
	return mg_get_request_info(x->conn)->local_uri_raw;
}

const char *
exchange_query(const struct exchange *x)
{
	const char *query = mg_get_request_info(x->conn)->query_string;

	return query == NULL ? "" : query;
}

bool
exchange_is_plain(const struct exchange *x)
{
	return x->facts->tls_version[0] == '\0';
}

int
exchange_wrong_method(const struct exchange *x, const char *allow)
{
	char header[EXCHANGE_HEADER_MAX];

	(void)snprintf(header, sizeof header, "Allow: %s\r\n", allow);
	return server_answer_text(x->conn, 405, header, "wrong method for this operation");
}

int
exchange_body(const struct exchange *x, struct buf *out, struct err *e)
{
	const struct mg_request_info *info = mg_get_request_info(x->conn);
	size_t before = out->len;
	char chunk[8192];
	int n;

	while (info->content_length > (long long)(out->len - before) &&
		(n = mg_read(x->conn, chunk, sizeof chunk)) > 0)
		buf_append(out, chunk, (size_t)n);
	if (buf_failed(out))
		return err_set(e, ERR_NOMEM, "no memory for the body");
	if (info->content_length != (long long)(out->len - before))
		return err_set(e, ERR_MALFORMED, "the body is shorter than announced");
	return 0;
}

struct enroll_request
exchange_request(const struct exchange *x)
{
	return (struct enroll_request){
		.protocol = x->protocol,
		.operation = x->operation,
		.label = x->label,
		.peer = x->facts->peer,
		.now_s = x->now_s,
	};
}

int
exchange_refuse(const struct exchange *x, int status, const char *headers, const struct enroll_result *result)
{
	char text[OUTCOME_TEXT_MAX];

	outcome_public_text(result, text);
	return server_answer_text(x->conn, status, headers, text);
}

void
exchange_retry_after(const struct enroll_result *result, char out[EXCHANGE_HEADER_MAX])
{
	(void)snprintf(out, EXCHANGE_HEADER_MAX, "Retry-After: %lld\r\n", (long long)result->retry_after_s);
}

void
exchange_log(const struct exchange *x, const struct enroll_result *result, const char *done, int status,
	const struct log_field *more, int more_count)
{
	const struct outcome_log line = {
		.protocol = x->protocol,
		.operation = x->operation,
		.peer = x->facts->peer,
		.done = done,
		.label = x->label,
		.status = status,
		.began_us = x->began_us,
		.more = more,
		.more_count = more_count,
	};

	outcome_log(&line, result);
}
