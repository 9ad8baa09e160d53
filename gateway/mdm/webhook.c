/* A service of one's own: one POST that asks, one that tells (README.md, "Webhook"). */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "base/jsontext.h"
#include "gateway/mdm/answer.h"
#include "gateway/mdm/mdm_internal.h"

struct webhook {
	struct mdm common; /* first: a struct mdm is one of these */
	char *notify_url;  /* NULL: nobody is told */
	struct buf bearer; /* "Bearer ..."; empty: none */
};

static void webhook_close(struct mdm *mdm);
DEFINE_CLEANUP(mdm, struct mdm *, webhook_close);

static struct webhook *
webhook_of(struct mdm *mdm)
{
	return (struct webhook *)mdm;
}

static int
webhook_open(const struct mdm_settings *settings, struct mdm **out, struct err *e)
{
	CLEANUP(mdm) struct mdm *mdm = calloc(1, sizeof(struct webhook));
	struct webhook *hook;

	if (mdm == NULL)
		return err_set(e, ERR_NOMEM, "no memory for a webhook");
	hook = webhook_of(mdm);
	if (mdm_common_open(mdm, settings, settings->url, e) != 0)
		return -1;
	if (settings->notify_url != NULL) {
		if (mdm_url_check(mdm, settings, "notify_url", settings->notify_url, e) != 0)
			return -1;
		hook->notify_url = strdup(settings->notify_url);
		if (hook->notify_url == NULL)
			return err_set(e, ERR_NOMEM, "no memory for a webhook");
	}
	if (mdm->secret.len != 0) {
		buf_append_text(&hook->bearer, "Bearer ");
		buf_append_bytes(&hook->bearer, buf_bytes(&mdm->secret));
		(void)buf_text(&hook->bearer);
		if (buf_failed(&hook->bearer))
			return err_set(e, ERR_NOMEM, "no memory for a webhook");
	}
	*out = mdm;
	mdm = NULL;
	return 0;
}

static void
webhook_close(struct mdm *mdm)
{
	if (mdm == NULL)
		return;
	mdm_common_close(mdm);
	buf_free_secret(&webhook_of(mdm)->bearer);
	free(webhook_of(mdm)->notify_url);
	free(mdm);
}

/* url NULL: the one that asks. */
static int
post(struct mdm *mdm, const char *url, struct buf *body, struct outbound_answer *out, struct err *e)
{
	const struct outbound_header headers[] = { { "Content-Type", "application/json" }, { "Accept", "application/json" },
		{ "Authorization", (const char *)webhook_of(mdm)->bearer.at } };
	struct outbound_request request = { .method = "POST", .path_or_url = url, .headers = headers,
		.header_count = webhook_of(mdm)->bearer.len != 0 ? 3 : 2, .body = buf_bytes(body) };

	if (buf_failed(body))
		return err_set(e, ERR_NOMEM, "%s: no memory for a request", mdm->name);
	return mdm_call(mdm, &request, mdm_ends_us(mdm), out, e);
}

static void
put_request(struct buf *body, const char *event, const struct mdm_request *request)
{
	buf_append_u8(body, '{');
	json_put_pair(body, "protocol", "scep");
	json_put_pair(body, "event", event);
	json_put_pair(body, "label", request->label);
	json_put_pair(body, "transaction", request->transaction);
	mdm_put_octets(body, "csr", request->csr);
}

static int
webhook_validate(struct mdm *mdm, const struct mdm_request *request, struct mdm_verdict *out, struct err *e)
{
	CLEANUP(secret_buf) struct buf body = { 0 };
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };

	if (mdm_request_check(mdm, request, e) != 0)
		return -1;
	if (request->challenge == NULL)
		return err_set(e, ERR_MALFORMED, "%s: a request without challenge", mdm->name);
	put_request(&body, NULL, request);
	json_put_pair(&body, "challenge", request->challenge);
	buf_append_u8(&body, '}');
	if (post(mdm, NULL, &body, &answer, e) != 0)
		return -1;
	if (answer.status != 200)
		return mdm_status_error(mdm, "the webhook", &answer, e);
	if (mdm_answer_webhook(buf_bytes(&answer.body), request->challenge, out, e) != 0)
		return err_prefix(e, "%s", mdm->name);
	return 0;
}

static int
notify(struct mdm *mdm, struct buf *body, struct err *e)
{
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };

	buf_append_u8(body, '}');
	if (post(mdm, webhook_of(mdm)->notify_url, body, &answer, e) != 0)
		return -1;
	return answer.status >= 200 && answer.status < 300 ? 0 : mdm_status_error(mdm, "the notification", &answer, e);
}

static int
webhook_issued(struct mdm *mdm, const struct mdm_request *request, struct bytes cert, struct err *e)
{
	CLEANUP(secret_buf) struct buf body = { 0 };
	struct mdm_cert facts;

	if (mdm_request_check(mdm, request, e) != 0 || mdm_cert_read(cert, &facts, e) != 0)
		return -1;
	if (webhook_of(mdm)->notify_url == NULL)
		return 0;
	put_request(&body, "issued", request);
	mdm_put_octets(&body, "certificate", cert);
	json_put_pair(&body, "sha256", facts.sha256);
	json_put_pair(&body, "serial", facts.serial);
	json_put_pair(&body, "not_after", facts.not_after);
	json_put_pair(&body, "issuer", facts.issuer);
	return notify(mdm, &body, e);
}

static int
webhook_refused(struct mdm *mdm, const struct mdm_request *request, const struct mdm_refusal *why, struct err *e)
{
	CLEANUP(secret_buf) struct buf body = { 0 };

	if (mdm_request_check(mdm, request, e) != 0)
		return -1;
	if (webhook_of(mdm)->notify_url == NULL)
		return 0;
	put_request(&body, "refused", request);
	buf_append_text(&body, ",\"error\":{");
	json_put_pair(&body, "code", err_code_name(why->code));
	json_put_pair(&body, "message", why->text == NULL ? "" : why->text);
	buf_append_u8(&body, '}');
	return notify(mdm, &body, e);
}

/* A connection, so that the service is not asked about a device that does not exist. */
static int
webhook_check(struct mdm *mdm, struct err *e)
{
	return outbound_reach(mdm->client, NULL, e);
}

const struct mdm_ops mdm_webhook = {
	.type = "webhook",
	.open = webhook_open,
	.validate = webhook_validate,
	.issued = webhook_issued,
	.refused = webhook_refused,
	.check = webhook_check,
	.close = webhook_close,
};
