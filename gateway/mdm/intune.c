/* Microsoft Intune's SCEP validation for third-party CAs (README.md, "Intune"). */
#define _GNU_SOURCE
#include "gateway/mdm/intune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsontext.h"
#include "base/text.h"
#include "gateway/mdm/answer.h"

#define API_VERSION     "2018-02-20"
#define DESCRIPTION_MAX 255 /* Microsoft's documentation of SendFailureNotification: "Max length = 255 chars" */

static const char default_scope[] = "https://api.manage.microsoft.com//.default";
static const char default_discovery_scope[] = "https://graph.microsoft.com/.default";
static const char default_domain[] = "manage.microsoft.com";

static void intune_close(struct mdm *mdm);
DEFINE_CLEANUP(mdm, struct mdm *, intune_close);

static struct intune *
intune_of(struct mdm *mdm)
{
	return (struct intune *)mdm;
}

static int
check_settings(const struct mdm *mdm, const struct mdm_settings *s, struct err *e)
{
	if (mdm_url_check(mdm, s, "token_url", s->token_url, e) != 0)
		return -1;
	if (s->discovery_url != NULL && mdm_url_check(mdm, s, "discovery_url", s->discovery_url, e) != 0)
		return -1;
	if ((s->url == NULL) == (s->discovery_url == NULL))
		return err_set(e, ERR_MALFORMED, "%s: set either url or discovery_url", mdm->name);
	if (s->url != NULL && strchr(s->url, '?') != NULL)
		return err_set(e, ERR_MALFORMED, "%s: url ends in a query, so no action can follow", mdm->name);
	if (s->client_id == NULL || s->client_id[0] == '\0' || s->secret_file == NULL)
		return err_set(e, ERR_MALFORMED, "%s: client_id and secret_file are needed", mdm->name);
	if (s->provider == NULL || s->provider[0] == '\0' || strlen(s->provider) > 200 ||
	    !text_is_clean(bytes_of_text(s->provider)))
		return err_set(e, ERR_MALFORMED, "%s: provider must say who we are in 1 to 200 characters", mdm->name);
	return 0;
}

static bool
copy(const char *from, const char *otherwise, char **to)
{
	const char *text = from == NULL ? otherwise : from;

	*to = text == NULL ? NULL : strdup(text);
	return text == NULL || *to != NULL;
}

static int
intune_open(const struct mdm_settings *settings, struct mdm **out, struct err *e)
{
	CLEANUP(mdm) struct mdm *mdm = calloc(1, sizeof(struct intune));
	const char *url = settings->discovery_url == NULL ? settings->url : settings->discovery_url;
	struct intune *intune;

	if (mdm == NULL)
		return err_set(e, ERR_NOMEM, "no memory for Intune");
	intune = intune_of(mdm);
	if (mdm_common_open(mdm, settings, url, e) != 0 || check_settings(mdm, settings, e) != 0)
		return -1;
	intune->allow_plain = settings->allow_plain;
	if (!copy(settings->token_url, NULL, &intune->token_url) || !copy(settings->client_id, NULL, &intune->client_id) ||
	    !copy(settings->scope, default_scope, &intune->scope) || !copy(settings->provider, NULL, &intune->provider) ||
	    !copy(settings->discovery_url, NULL, &intune->discovery_url) ||
	    !copy(settings->discovery_scope, default_discovery_scope, &intune->discovery_scope) ||
	    !copy(settings->discovery_domain, default_domain, &intune->discovery_domain))
		return err_set(e, ERR_NOMEM, "no memory for Intune");
	if (mdm_cache_init(&intune->token, mdm->name, intune_fetch_token, intune, e) != 0 ||
	    mdm_cache_init(&intune->discovery_token, mdm->name, intune_fetch_discovery_token, intune, e) != 0 ||
	    mdm_cache_init(&intune->endpoint, mdm->name, intune_fetch_endpoint, intune, e) != 0)
		return -1;
	*out = mdm;
	mdm = NULL;
	return 0;
}

static void
intune_close(struct mdm *mdm)
{
	struct intune *intune;

	if (mdm == NULL)
		return;
	intune = intune_of(mdm);
	mdm_cache_free(&intune->token);
	mdm_cache_free(&intune->discovery_token);
	mdm_cache_free(&intune->endpoint);
	mdm_common_close(mdm);
	free(intune->token_url);
	free(intune->client_id);
	free(intune->scope);
	free(intune->provider);
	free(intune->discovery_url);
	free(intune->discovery_scope);
	free(intune->discovery_domain);
	free(intune);
}

/* The URL of an action, or with action "" the service's own. *round names what was discovered. */
static int
put_url(struct intune *intune, const char *action, int64_t ends_us, struct buf *out, uint64_t *round, struct err *e)
{
	*round = 0;
	if (intune->discovery_url != NULL && mdm_cache_get(&intune->endpoint, ends_us, out, round, e) != 0)
		return -1;
	buf_append_text(out, action);
	(void)buf_text(out);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "%s: no memory for a URL", intune->common.name) : 0;
}

/* POST an action and read "code". body is whole. */
static int
act(struct intune *intune, const char *action, struct buf *body, const char *challenge, struct mdm_verdict *out,
	struct err *e)
{
	static const struct outbound_header headers[] = { { "Content-Type", "application/json" },
		{ "api-version", API_VERSION } };
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	CLEANUP(buf) struct buf url = { 0 };
	struct outbound_request request = { .method = "POST", .headers = headers, .header_count = 2 };
	int64_t ends_us = mdm_ends_us(&intune->common);
	uint64_t round;
	char id[INTUNE_ID_MAX], what[INTUNE_ID_MAX + 48];
	int rc;

	if (buf_failed(body))
		return err_set(e, ERR_NOMEM, "%s: no memory for a request", intune->common.name);
	request.body = buf_bytes(body);
	if (put_url(intune, action, ends_us, &url, &round, e) != 0)
		return -1;
	request.path_or_url = buf_text(&url);
	rc = intune_call(intune, &intune->token, &request, ends_us, &answer, id, e);
	if (intune->discovery_url != NULL && (rc != 0 || answer.status != 200))
		mdm_cache_drop(&intune->endpoint, round); /* perhaps the tenant moved */
	if (rc != 0)
		return -1;
	(void)snprintf(what, sizeof what, "%s, request %s,", strrchr(action, '/') + 1, id);
	if (answer.status != 200)
		return mdm_status_error(&intune->common, what, &answer, e);
	if (mdm_answer_intune(buf_bytes(&answer.body), challenge, out, e) != 0)
		return err_prefix(e, "%s: %s", intune->common.name, what);
	return 0;
}

static int
intune_validate(struct mdm *mdm, const struct mdm_request *request, struct mdm_verdict *out, struct err *e)
{
	CLEANUP(secret_buf) struct buf body = { 0 };

	if (mdm_request_check(mdm, request, e) != 0)
		return -1;
	buf_append_text(&body, "{\"request\":{");
	json_put_pair(&body, "transactionId", request->transaction);
	mdm_put_octets(&body, "certificateRequest", request->csr);
	json_put_pair(&body, "callerInfo", intune_of(mdm)->provider);
	buf_append_text(&body, "}}");
	return act(intune_of(mdm), "/ScepActions/validateRequest", &body, request->challenge, out, e);
}

static int
notify(struct mdm *mdm, const char *action, struct buf *body, const struct mdm_request *request, struct err *e)
{
	struct mdm_verdict verdict;

	json_put_pair(body, "callerInfo", intune_of(mdm)->provider);
	buf_append_text(body, "}}");
	if (act(intune_of(mdm), action, body, request->challenge, &verdict, e) != 0)
		return -1;
	if (!verdict.allowed)
		return err_set(e, ERR_UPSTREAM, "%s: the notification was refused: %s: %s", mdm->name, verdict.code, verdict.text);
	return 0;
}

static int
intune_issued(struct mdm *mdm, const struct mdm_request *request, struct bytes cert, struct err *e)
{
	CLEANUP(secret_buf) struct buf body = { 0 };
	struct mdm_cert facts;
	char expires[TIME_TEXT_MAX + 8];

	if (mdm_request_check(mdm, request, e) != 0 || mdm_cert_read(cert, &facts, e) != 0)
		return -1;
	/* "YYYY-MM-DDThh:mm:ss.sssTZD" is what Intune wants. */
	(void)stpcpy(stpcpy(expires, facts.not_after) - 1, ".000Z");
	buf_append_text(&body, "{\"notification\":{");
	json_put_pair(&body, "transactionId", request->transaction);
	mdm_put_octets(&body, "certificateRequest", request->csr);
	json_put_pair(&body, "certificateThumbprint", facts.sha1);
	json_put_pair(&body, "certificateSerialNumber", facts.serial);
	json_put_pair(&body, "certificateExpirationDateUtc", expires);
	json_put_pair(&body, "issuingCertificateAuthority", facts.issuer);
	json_put_pair(&body, "caConfiguration", request->label);
	json_put_pair(&body, "certificateAuthority", facts.issuer);
	return notify(mdm, "/ScepActions/successNotification", &body, request, e);
}

/* An HRESULT ([MS-ERREF], section 2.1): failure, defined by the customer, facility 0, our own number. */
static int32_t
hresult(enum err_code code)
{
	return INT32_MIN + 0x20000000 + (int32_t)code;
}

static int
intune_refused(struct mdm *mdm, const struct mdm_request *request, const struct mdm_refusal *why, struct err *e)
{
	CLEANUP(secret_buf) struct buf body = { 0 };
	char text[DESCRIPTION_MAX + 1];
	const char *from = why->text == NULL || why->text[0] == '\0' ? err_code_name(why->code) : why->text;

	if (mdm_request_check(mdm, request, e) != 0)
		return -1;
	text_escape(text, sizeof text, bytes_of_text(from));
	buf_append_text(&body, "{\"notification\":{");
	json_put_pair(&body, "transactionId", request->transaction);
	mdm_put_octets(&body, "certificateRequest", request->csr);
	json_put_int(&body, "hResult", hresult(why->code));
	json_put_pair(&body, "errorDescription", text);
	return notify(mdm, "/ScepActions/failureNotification", &body, request, e);
}

static int
intune_check(struct mdm *mdm, struct err *e)
{
	CLEANUP(secret_buf) struct buf token = { 0 };
	CLEANUP(buf) struct buf url = { 0 };
	int64_t ends_us = mdm_ends_us(mdm);
	uint64_t round;

	if (mdm_cache_get(&intune_of(mdm)->token, ends_us, &token, &round, e) != 0 ||
	    put_url(intune_of(mdm), "", ends_us, &url, &round, e) != 0)
		return -1;
	return outbound_reach(mdm->client, buf_text(&url), e);
}

const struct mdm_ops mdm_intune = {
	.type = "intune",
	.open = intune_open,
	.validate = intune_validate,
	.issued = intune_issued,
	.refused = intune_refused,
	.check = intune_check,
	.close = intune_close,
};
