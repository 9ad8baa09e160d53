/*
 * Another EST server as the CA (RFC 7030), the gateway being its registration authority.
 *
 * simpleenroll only: the device's own request goes upstream as it came, and the gateway vouches for it with a
 * certificate that has id-kp-cmcRA (section 3.7). EST has no name for a request but the request itself, so asking
 * again is sending the identical one again.
 */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "est/body.h"
#include "gateway/ca/certs_only.h"

#define REFERENCE_PREFIX "csr-"
#define REFERENCE_LEN    (sizeof REFERENCE_PREFIX + 64)
#define RETRY_MIN_S      1
#define RETRY_DEFAULT_S  60 /* a 202 without Retry-After, which section 4.2.3 demands */

struct ca {
	struct remote remote;
	struct buf path;          /* of simpleenroll */
	struct buf authorization; /* value of the header; empty: none */
};

static void
est_close(struct ca *ca)
{
	remote_close(&ca->remote);
	buf_free(&ca->path);
	buf_free_secret(&ca->authorization);
	free(ca);
}
/* RFC 7617: "user:password" in base64. */
static void
put_basic(struct ca *ca, const char *user)
{
	CLEANUP(secret_buf) struct buf both = { 0 };

	buf_printf(&both, "%s:", user);
	buf_append_bytes(&both, buf_bytes(&ca->remote.secret));
	buf_append_text(&ca->authorization, "Basic ");
	base64_encode(&ca->authorization, buf_bytes(&both), 0);
	ca->authorization.failed = ca->authorization.failed || buf_failed(&both);
}

static int
open_parts(struct ca *ca, const struct ca_settings *settings, struct err *e)
{
	bool with_user = settings->user != NULL && settings->user[0] != '\0';

	if (with_user != (ca->remote.secret.len != 0))
		return err_set(e, ERR_MALFORMED, "%s: user and secret_file belong together", ca->remote.name);
	if (!with_user && remote_need(&ca->remote, "client_cert", settings->client_cert, e) != 0)
		return -1;
	buf_append_text(&ca->path, "/.well-known/est/");
	if (settings->profile != NULL && settings->profile[0] != '\0')
		buf_printf(&ca->path, "%s/", settings->profile);
	buf_append_text(&ca->path, "simpleenroll");
	if (with_user)
		put_basic(ca, settings->user);
	buf_append_u8(&ca->path, 0);
	if (with_user)
		buf_append_u8(&ca->authorization, 0);
	if (buf_failed(&ca->path) || buf_failed(&ca->authorization))
		return err_set(e, ERR_NOMEM, "%s: no memory", ca->remote.name);
	return 0;
}

static int
est_open(const struct ca_settings *settings, struct ca **out, struct err *e)
{
	static const struct remote_kind kind = { sizeof(struct ca), false, open_parts, est_close };

	return remote_make(&kind, settings, out, e);
}

/* What stands for a request: its own octets' digest. */
static int
reference_of(const struct ca *ca, const struct ca_request *request, char out[REFERENCE_LEN], struct err *e)
{
	uint8_t hash[32];

	if (remote_need_csr(&ca->remote, request, e) != 0 || sha256(request->csr, hash, e) != 0)
		return -1;
	memcpy(out, REFERENCE_PREFIX, sizeof REFERENCE_PREFIX - 1);
	hex_encode(bytes_of(hash, sizeof hash), out + sizeof REFERENCE_PREFIX - 1);
	out[REFERENCE_LEN - 1] = '\0';
	return 0;
}

/* As remote_call_once(). */
static int
post(struct ca *ca, struct bytes csr, struct outbound_answer *out, struct err *e)
{
	CLEANUP(buf) struct buf body = { 0 };
	struct outbound_header headers[] = {
		{ "Content-Type", "application/pkcs10" },
		{ "Content-Transfer-Encoding", "base64" },
		{ "Accept", "application/pkcs7-mime" },
		{ "Authorization", (const char *)ca->authorization.at },
	};
	struct outbound_request request = { .method = "POST", .path_or_url = (const char *)ca->path.at, .headers = headers,
		.header_count = ca->authorization.len == 0 ? 3 : 4 };

	est_body_encode(&body, csr, EST_BASE64_SINGLE_LINE);
	if (buf_failed(&body))
		return err_set(e, ERR_NOMEM, "%s: no memory for a request", ca->remote.name);
	request.body = buf_bytes(&body);
	return remote_call_once(&ca->remote, &request, out, e);
}

/* Returns 1 when there is nothing to read a certificate from. */
static int
take_certs(struct ca *ca, const struct outbound_answer *answer, const struct ca_request *request,
	struct ca_answer *out, struct err *e)
{
	CLEANUP(buf) struct buf der = { 0 };

	if (strcmp(answer->content_type, "application/pkcs7-mime") != 0) {
		(void)err_set(e, ERR_UPSTREAM, "%s: its answer is \"%s\" and not application/pkcs7-mime", ca->remote.name,
			answer->content_type);
		return 1;
	}
	if (est_body_decode(buf_bytes(&answer->body), true, &der, e) != 0) {
		e->code = ERR_UPSTREAM;
		(void)err_prefix(e, "%s: its answer", ca->remote.name);
		return 1;
	}
	return certs_only_take(&ca->remote, buf_bytes(&der), request, out, e);
}

static int
wait_for(struct ca_answer *out, const struct outbound_answer *answer, const char *reference)
{
	*out = (struct ca_answer){ .state = CA_WAITING };
	out->retry_s = answer->retry_after_s == 0 ? RETRY_DEFAULT_S : answer->retry_after_s;
	if (out->retry_s < RETRY_MIN_S)
		out->retry_s = RETRY_MIN_S;
	(void)snprintf(out->reference, sizeof out->reference, "%s", reference);
	return 0;
}

/*
 * Not the words of the server that has the request: its label is not there (now), or somebody else answers in its place. An EST
 * server that refuses a request says 400 or 403 (RFC 7030, section 4.2.3).
 */
static bool
is_elsewhere(int status)
{
	return status == 404 || status == 405 || status == 410 || status == 421;
}

static int
est_issue(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	struct outbound_answer answer = { 0 };
	char reference[REFERENCE_LEN];
	int result;

	if (reference_of(ca, request, reference, e) != 0)
		return -1;
	result = post(ca, request->csr, &answer, e);
	if (result != 0)
		return result < 0 ? -1 : remote_unknown(out, reference);
	if (answer.status == 202)
		result = wait_for(out, &answer, reference);
	else if (answer.status == 200)
		result = take_certs(ca, &answer, request, out, e);
	else
		result = remote_status(&ca->remote, &answer, NULL, &out->retry_s, e);
	if (result < 0 && is_elsewhere(answer.status))
		e->code = ERR_UPSTREAM;
	/* Nothing says that certificates of other keys were meant for us, so ours may have been made and lost. */
	if (result < 0 && answer.status == 200) {
		e->code = ERR_UPSTREAM;
		result = 1;
	}
	outbound_answer_free(&answer);
	return result > 0 ? remote_unknown(out, reference) : result;
}

static int
check_reference(const struct ca *ca, const struct ca_request *request, const char *reference, struct err *e)
{
	char own[REFERENCE_LEN];

	if (reference_of(ca, request, own, e) != 0)
		return -1;
	if (strcmp(own, reference) != 0)
		return err_set(e, ERR_BUG, "%s: this is not the request that was sent", ca->remote.name);
	return 0;
}

/* "The client repeats the initial enrollment request" (section 4.2.3): octet for octet what was sent first. */
static int
est_poll(struct ca *ca, const struct ca_request *request, const char *reference, struct ca_answer *out, struct err *e)
{
	return check_reference(ca, request, reference, e) != 0 ? -1 : est_issue(ca, request, out, e);
}

/*
 * The identical request again: a server that keeps what it answered gives the same certificate, one that does not
 * issues a second one, and the first is never released. A refusal now says nothing about the first time.
 */
static int
est_reconcile(struct ca *ca, const struct ca_request *request, const char *reference, struct ca_answer *out,
	struct err *e)
{
	struct ca_answer answer = { 0 };

	/* None: the gateway died before it could record one. */
	if (reference[0] != '\0' && check_reference(ca, request, reference, e) != 0)
		return -1;
	if (est_issue(ca, request, &answer, e) != 0) {
		e->code = e->code == ERR_NOMEM ? ERR_NOMEM : ERR_UPSTREAM;
		out->retry_s = answer.retry_s;
		return -1;
	}
	if (answer.state == CA_UNKNOWN) {
		e->code = ERR_UPSTREAM;
		return -1;
	}
	*out = answer;
	return 0;
}

const struct ca_ops ca_est = {
	.type = "est",
	.remote = true,
	.open = est_open,
	.issue = est_issue,
	.poll = est_poll,
	.reconcile = est_reconcile,
	.check = remote_reach,
	.chain = remote_chain,
	.verify = remote_verify,
	.close = est_close,
};
