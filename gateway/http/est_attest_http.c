/*
 * Before evidence can be made: a nonce to put into it (draft-ietf-lamps-attestation-freshness), and
 * an attestation key bound to its TPM. JSON in and out, octets in base64url without padding.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <civetweb.h>
#include <jansson.h>

#include "base/jsontext.h"
#include "gateway/http/est_attest_http.h"

#define FRESHNESS_TYPE "application/est-attestation-freshness+json"
#define JSON_TYPE "application/json"
#define LEN_MIN 8
#define LEN_MAX 64

static bool
is_type(const char *type, const char *wanted)
{
	size_t len = type == NULL ? 0 : strcspn(type, "; \t");

	return len == strlen(wanted) && strncasecmp(type, wanted, len) == 0;
}

/* The body as one JSON object; NULL after answering why not. */
static json_t *
take_object(struct exchange *x, const char *type, int *status)
{
	CLEANUP(buf) struct buf body = { 0 };
	char accept[96];
	json_t *object;
	struct err e;

	if (!is_type(mg_get_header(x->conn, "Content-Type"), type)) {
		(void)snprintf(accept, sizeof accept, "Accept: %s\r\n", type);
		*status = server_answer_text(x->conn, 415, accept, "the body is of another type");
		return NULL;
	}
	if (exchange_body(x, &body, &e) != 0) {
		*status = server_answer_text(x->conn, e.code == ERR_NOMEM ? 500 : 400, NULL, e.text);
		return NULL;
	}
	object = json_is_shallow(buf_bytes(&body)) ?
		json_loadb((const char *)body.at, body.len, JSON_REJECT_DUPLICATES, NULL) : NULL;
	if (json_is_object(object))
		return object;
	json_decref(object);
	*status = server_answer_text(x->conn, 400, NULL, "the body is not a JSON object");
	return NULL;
}

static int
answer_json(struct exchange *x, const char *type, struct buf *body)
{
	if (buf_failed(body))
		return server_answer_text(x->conn, 500, NULL, "internal error");
	return server_answer(x->conn, 200, type, "Cache-Control: no-store\r\n", buf_bytes(body));
}

static void
put_octets(struct buf *out, const char *key, struct bytes octets)
{
	buf_printf(out, "\"%s\":\"", key);
	base64url_encode(out, octets);
	buf_append_text(out, "\",");
}

static int
give_nonce(struct exchange *x)
{
	CLEANUP(buf) struct buf body = { 0 };
	uint8_t nonce[NONCE_LEN];
	int64_t life_s;
	struct err e;

	if (enroll_nonce(x->gateway, x->world, x->label, x->now_s, nonce, &life_s, &e) != 0)
		return e.code == ERR_UNSUPPORTED ? server_answer_text(x->conn, 404, NULL, e.text) :
			server_answer_text(x->conn, 503, "Retry-After: 30\r\n", "temporarily unavailable");
	buf_append_u8(&body, '{');
	put_octets(&body, "nonce", bytes_of(nonce, sizeof nonce));
	buf_printf(&body, "\"expiry\":%lld}", (long long)life_s);
	return answer_json(x, FRESHNESS_TYPE, &body);
}

/* The draft, on the nonce request: "len" is 8 to 64; "unable or unwilling to deliver the requested nonce": 503. */
static int
check_wishes(struct exchange *x, const json_t *wishes)
{
	const json_t *len = json_object_get(wishes, "len"), *type = json_object_get(wishes, "type");

	if ((len != NULL && (!json_is_integer(len) || json_integer_value(len) < LEN_MIN || json_integer_value(len) > LEN_MAX)) ||
	    (type != NULL && !json_is_string(type)) || (type == NULL && json_object_get(wishes, "reqInfo") != NULL))
		return server_answer(x->conn, 400, NULL, NULL, bytes_of(NULL, 0));
	if (len != NULL && json_integer_value(len) != NONCE_LEN)
		return server_answer_text(x->conn, 503, NULL, "nonces have another length here; ask for none");
	return 0;
}

int
est_nonce_handle(struct exchange *x)
{
	bool post = strcmp(exchange_method(x), "POST") == 0;
	json_t *wishes;
	int status = 0;

	if (!post && strcmp(exchange_method(x), "GET") != 0)
		return exchange_wrong_method(x, "GET, POST");
	if (!post || !world_wants_of(x->world, x->label)->evidence)
		return give_nonce(x);
	wishes = take_object(x, FRESHNESS_TYPE, &status);
	if (wishes == NULL)
		return status;
	status = check_wishes(x, wishes);
	json_decref(wishes);
	return status != 0 ? status : give_nonce(x);
}

/* A member of octets, appended; absent is empty. */
static int
take_octets(const json_t *object, const char *key, struct buf *out, struct err *e)
{
	const json_t *value = json_object_get(object, key);

	if (value == NULL)
		return 0;
	if (!json_is_string(value))
		return err_set(e, ERR_MALFORMED, "\"%s\" is not a text", key);
	if (base64url_decode(bytes_of(json_string_value(value), json_string_length(value)), out, e) != 0)
		return err_prefix(e, "\"%s\"", key);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for the request") : 0;
}

static int
answer_error(struct exchange *x, const struct err *e)
{
	char retry[EXCHANGE_HEADER_MAX] = "Retry-After: 30\r\n";

	switch (e->code) {
	case ERR_MALFORMED:
		return server_answer_text(x->conn, 400, NULL, e->text);
	case ERR_UNSUPPORTED:
		return server_answer_text(x->conn, world_wants_of(x->world, x->label)->binding ? 400 : 404, NULL, e->text);
	case ERR_UNAUTHENTIC:
	case ERR_DENIED:
		return server_answer_text(x->conn, 403, NULL, "refused by policy");
	case ERR_LIMIT:
		return server_answer_text(x->conn, 429, retry, "too many attempts or too large");
	case ERR_UPSTREAM:
		return server_answer_text(x->conn, 503, retry, "temporarily unavailable");
	case ERR_NONE:
	case ERR_PENDING:
	case ERR_NOMEM:
	case ERR_BUG:
		break;
	}
	return server_answer_text(x->conn, 500, NULL, "internal error");
}

static int
answer_bound(struct exchange *x, const struct enroll_tpm_bind *bind)
{
	CLEANUP(buf) struct buf body = { 0 };

	buf_append_u8(&body, '{');
	if (bind->token.len == 0) {
		put_octets(&body, "blob", buf_bytes(&bind->out_blob));
		put_octets(&body, "secret", buf_bytes(&bind->out_secret));
		put_octets(&body, "token", buf_bytes(&bind->out_token));
	}
	buf_printf(&body, "\"expiry\":%lld}", (long long)(bind->expires_s - x->now_s));
	return answer_json(x, JSON_TYPE, &body);
}

/* What the object holds goes through the pipeline. */
static int
run(struct exchange *x, struct enroll_tpm_bind *bind)
{
	struct enroll_request request = exchange_request(x);
	struct err e = { 0 };

	if (enroll_tpm_bind(x->gateway, x->world, &request, bind, &e) != 0) {
		log_rare(LOG_LEVEL_INFO, "tpm-bind", "refused for %s: %s", x->facts->peer, e.text);
		return answer_error(x, &e);
	}
	if (bind->token.len != 0)
		log_text(LOG_LEVEL_INFO, "tpm-bind", "an attestation key of %s is bound", bind->asset_tag);
	return answer_bound(x, bind);
}

int
est_tpm_bind_handle(struct exchange *x)
{
	struct buf ek = { 0 }, ak = { 0 }, token = { 0 }, answer = { 0 };
	struct enroll_tpm_bind bind = { .expires_s = 0 };
	struct err e = { 0 };
	int status = 0;
	json_t *object;

	if (!world_wants_of(x->world, x->label)->binding)
		return server_answer_text(x->conn, 404, NULL, "no attester of this label takes bound attestation keys");
	object = take_object(x, JSON_TYPE, &status);
	if (object == NULL)
		return status;
	if (take_octets(object, "ek", &ek, &e) != 0 || take_octets(object, "ak", &ak, &e) != 0 ||
	    take_octets(object, "token", &token, &e) != 0 || take_octets(object, "answer", &answer, &e) != 0)
		status = answer_error(x, &e);
	else {
		bind.ek = buf_bytes(&ek);
		bind.ak = buf_bytes(&ak);
		bind.token = buf_bytes(&token);
		bind.answer = buf_bytes(&answer);
		status = run(x, &bind);
	}
	json_decref(object);
	buf_free(&ek);
	buf_free(&ak);
	buf_free(&token);
	buf_free_secret(&answer);
	buf_free(&bind.out_blob);
	buf_free(&bind.out_secret);
	buf_free(&bind.out_token);
	return status;
}
