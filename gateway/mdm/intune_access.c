/* Access to Intune: OAuth 2.0 client credentials (RFC 6749, section 4.4), and where the tenant's service is. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "gateway/mdm/answer.h"
#include "gateway/mdm/intune.h"

#define ENDPOINT_S 3600 /* tenants move rarely; one that moved also shows as a failed call */

/* name=value of a form (application/x-www-form-urlencoded), everything but unreserved characters encoded. */
static void
put_field(struct buf *out, const char *name, struct bytes value)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t i;

	buf_printf(out, "%s%s=", out->len == 0 ? "" : "&", name);
	for (i = 0; i < value.len; i++) {
		uint8_t c = value.at[i];

		if (isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~')
			buf_append_u8(out, c);
		else {
			buf_append_u8(out, '%');
			buf_append_u8(out, (uint8_t)digits[c >> 4]);
			buf_append_u8(out, (uint8_t)digits[c & 15]);
		}
	}
}

static int
token_refused(struct intune *intune, const struct outbound_answer *answer, struct err *e)
{
	char why[MDM_TEXT_MAX];
	struct buf *secret = &intune->common.secret;

	mdm_answer_token_error(buf_bytes(&answer->body), buf_text(secret), why);
	if (why[0] == '\0')
		return mdm_status_error(&intune->common, "token_url", answer, e);
	return err_set(e, ERR_UPSTREAM, "%s: no token (%s); check client_id and the secret", intune->common.name, why);
}

static int
fetch_token(struct intune *intune, const char *scope, int64_t ends_us, struct buf *out, int64_t *lifetime_s,
	struct err *e)
{
	static const struct outbound_header headers[] = { { "Content-Type", "application/x-www-form-urlencoded" },
		{ "Accept", "application/json" } };
	CLEANUP(secret_buf) struct buf form = { 0 };
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	struct outbound_request request = { .method = "POST", .path_or_url = intune->token_url, .headers = headers,
		.header_count = 2 };

	put_field(&form, "grant_type", bytes_of_text("client_credentials"));
	put_field(&form, "client_id", bytes_of_text(intune->client_id));
	put_field(&form, "client_secret", buf_bytes(&intune->common.secret));
	put_field(&form, "scope", bytes_of_text(scope));
	if (buf_failed(&form))
		return err_set(e, ERR_NOMEM, "%s: no memory for a request", intune->common.name);
	request.body = buf_bytes(&form);
	if (mdm_call(&intune->common, &request, ends_us, &answer, e) != 0)
		return -1;
	if (answer.status != 200)
		return token_refused(intune, &answer, e);
	if (mdm_answer_token(buf_bytes(&answer.body), out, lifetime_s, e) != 0)
		return err_prefix(e, "%s: token_url", intune->common.name);
	return 0;
}

int
intune_fetch_token(void *arg, int64_t ends_us, struct buf *out, int64_t *lifetime_s, struct err *e)
{
	struct intune *intune = arg;

	return fetch_token(intune, intune->scope, ends_us, out, lifetime_s, e);
}

int
intune_fetch_discovery_token(void *arg, int64_t ends_us, struct buf *out, int64_t *lifetime_s, struct err *e)
{
	struct intune *intune = arg;

	return fetch_token(intune, intune->discovery_scope, ends_us, out, lifetime_s, e);
}

int
intune_fetch_endpoint(void *arg, int64_t ends_us, struct buf *out, int64_t *lifetime_s, struct err *e)
{
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	struct intune *intune = arg;
	struct outbound_request request = { .method = "GET", .path_or_url = intune->discovery_url };
	char id[INTUNE_ID_MAX], what[INTUNE_ID_MAX + 48];

	if (intune_call(intune, &intune->discovery_token, &request, ends_us, &answer, id, e) != 0)
		return -1;
	(void)snprintf(what, sizeof what, "discovery_url, request %s,", id);
	if (answer.status != 200)
		return mdm_status_error(&intune->common, what, &answer, e);
	if (mdm_answer_endpoint(buf_bytes(&answer.body), intune->discovery_domain, intune->allow_plain, out, e) != 0)
		return err_prefix(e, "%s: discovery_url", intune->common.name);
	*lifetime_s = ENDPOINT_S;
	return 0;
}

/* A random UUID (RFC 9562, section 5.4). */
static int
make_id(char out[INTUNE_ID_MAX], struct err *e)
{
	uint8_t r[16];
	char hex[33];

	if (random_octets(r, sizeof r, e) != 0)
		return -1;
	r[6] = (uint8_t)((r[6] & 0x0f) | 0x40);
	r[8] = (uint8_t)((r[8] & 0x3f) | 0x80);
	hex_encode(bytes_of(r, sizeof r), hex);
	(void)snprintf(out, INTUNE_ID_MAX, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
	return 0;
}

static int
call_once(struct intune *intune, struct mdm_cache *token, struct outbound_request *request, int64_t ends_us,
	struct outbound_answer *out, const char *id, uint64_t *round, struct err *e)
{
	struct outbound_header headers[INTUNE_HEADERS_MAX + 4];
	CLEANUP(secret_buf) struct buf bearer = { 0 };
	struct outbound_request with = *request;
	size_t n = 0;

	buf_append_text(&bearer, "Bearer ");
	if (mdm_cache_get(token, ends_us, &bearer, round, e) != 0)
		return -1;
	if (request->header_count > INTUNE_HEADERS_MAX)
		return err_set(e, ERR_BUG, "%s: too many headers", intune->common.name);
	for (; n < request->header_count; n++)
		headers[n] = request->headers[n];
	headers[n++] = (struct outbound_header){ "Accept", "application/json" };
	headers[n++] = (struct outbound_header){ "User-Agent", intune->provider };
	headers[n++] = (struct outbound_header){ "client-request-id", id };
	headers[n++] = (struct outbound_header){ "Authorization", buf_text(&bearer) };
	with.headers = headers;
	with.header_count = n;
	return mdm_call(&intune->common, &with, ends_us, out, e);
}

int
intune_call(struct intune *intune, struct mdm_cache *token, struct outbound_request *request, int64_t ends_us,
	struct outbound_answer *out, char id[INTUNE_ID_MAX], struct err *e)
{
	uint64_t round = 0;

	if (make_id(id, e) != 0 || call_once(intune, token, request, ends_us, out, id, &round, e) != 0)
		return -1;
	if (out->status != 401)
		return 0;
	/* Revoked, or the service's clock is ahead of ours: not the device's fault. */
	mdm_cache_drop(token, round);
	outbound_answer_free(out);
	return call_once(intune, token, request, ends_us, out, id, &round, e);
}
