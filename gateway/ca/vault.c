/* The PKI secrets engine of HashiCorp Vault and OpenBao (README.md, "vault"). */
#include <stdlib.h>
#include <string.h>

#include "gateway/ca/vault_token.h"

#define PATH_PART_MAX 200
#define DEFAULT_MOUNT "pki"

struct ca {
	struct remote remote;
	struct vault_token token;
	char sign_path[2 * PATH_PART_MAX + 16], revoke_path[PATH_PART_MAX + 16];
};

static void
vault_close(struct ca *ca)
{
	vault_token_close(&ca->token);
	remote_close(&ca->remote);
	free(ca);
}

static bool
is_path(const char *text)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/";
	size_t len = strlen(text);

	return len >= 1 && len < PATH_PART_MAX && strspn(text, allowed) == len && text[0] != '/' && text[len - 1] != '/' &&
		strstr(text, "..") == NULL;
}

static int
open_parts(struct ca *ca, const struct ca_settings *settings, struct err *e)
{
	const char *mount = settings->authority == NULL ? DEFAULT_MOUNT : settings->authority;

	if (remote_need(&ca->remote, "profile (the role)", settings->profile, e) != 0)
		return -1;
	if (!is_path(mount))
		return err_set(e, ERR_MALFORMED, "%s: authority is the mount's path, as in \"pki\"", ca->remote.name);
	if (!is_path(settings->profile) || strchr(settings->profile, '/') != NULL)
		return err_set(e, ERR_MALFORMED, "%s: profile is a role's name: letters, digits, \".\", \"_\" and \"-\"",
			ca->remote.name);
	(void)snprintf(ca->sign_path, sizeof ca->sign_path, "/v1/%s/sign/%s", mount, settings->profile);
	(void)snprintf(ca->revoke_path, sizeof ca->revoke_path, "/v1/%s/revoke", mount);
	return vault_token_open(&ca->token, &ca->remote, settings, e);
}

static int
vault_open(const struct ca_settings *settings, struct ca **out, struct err *e)
{
	static const struct remote_kind kind = { sizeof(struct ca), false, open_parts, vault_close };

	return remote_make(&kind, settings, out, e);
}

/*
 * A call with the token, made again once with a new one when it is refused: a refused token has done nothing. once:
 * it issues. 0, 1 or -1 as remote_call_once().
 */
static int
call(struct ca *ca, const char *path, const json_t *document, bool once, struct outbound_answer *answer, struct err *e)
{
	int tries, rc;

	for (tries = 1;; tries++) {
		CLEANUP(secret_buf) struct buf token = { 0 };
		struct outbound_header header = { .name = "X-Vault-Token" };
		struct remote_json_call what = { .method = "POST", .path = path, .header = &header, .document = document };
		uint64_t round = 0;

		if (vault_token_get(&ca->token, &token, &round, e) != 0)
			return -1;
		header.value = buf_text(&token);
		rc = once ? remote_json_once(&ca->remote, &what, answer, e) : remote_json_again(&ca->remote, &what, answer, e);
		if (rc != 0 || answer->status != 403)
			return rc;
		vault_token_drop(&ca->token, round);
		if (tries == 2)
			return 0;
		outbound_answer_free(answer);
	}
}

/* "not_after", since "ttl" counts from the service's own clock; it knows no notBefore. */
static json_t *
request_json(const struct ca *ca, const struct ca_request *request, struct err *e)
{
	CLEANUP(buf) struct buf csr = { 0 }, names = { 0 }, uris = { 0 }, addresses = { 0 };
	const struct cert_spec *spec = request->spec;
	json_t *document;

	if (remote_csr_pem(&ca->remote, request, &csr, e) != 0)
		return NULL;
	remote_sans(spec, SPEC_SAN_DNS, &names);
	remote_sans(spec, SPEC_SAN_EMAIL, &names);
	remote_sans(spec, SPEC_SAN_URI, &uris);
	remote_sans(spec, SPEC_SAN_IP, &addresses);
	document = json_pack("{s:s, s:s*, s:s*, s:s, s:s, s:s, s:o, s:b, s:s}", "csr", buf_text(&csr),
		"common_name", remote_common_name(spec), "serial_number", remote_rdn(spec, "2.5.4.5"),
		"alt_names", buf_text(&names), "uri_sans", buf_text(&uris), "ip_sans", buf_text(&addresses),
		"not_after", remote_time_json(spec->not_after_s), "exclude_cn_from_sans", 1, "format", "pem");
	if (document == NULL)
		(void)err_set(e, ERR_NOMEM, "%s: no memory for a request", ca->remote.name);
	return document;
}

static const char *
words_of(const json_t *body)
{
	return json_string_value(json_array_get(json_object_get(body, "errors"), 0));
}

/*
 * A status that is no success. 0: whether it did what was asked is not known. What an operator mends there (a token's
 * policy, a mount's name, a node that serves nobody) is no refusal of the device.
 */
static int
judge(const struct ca *ca, const struct outbound_answer *answer, struct err *e)
{
	struct err none;
	CLEANUP(json) json_t *body = remote_json(&ca->remote, answer, &none);
	int64_t retry_s = 0;

	switch (answer->status) {
	case 403:
		return err_set(e, ERR_UPSTREAM, "%s: HTTP 403; the token is not good, or its policy lacks \"update\" on %s",
			ca->remote.name, ca->sign_path + strlen("/v1/"));
	case 404:
		return err_set(e, ERR_UPSTREAM, "%s: HTTP 404; is a PKI engine mounted at the path in authority, with the role "
			"in profile?", ca->remote.name);
	case 412:
	case 472:
	case 473:
		return err_set(e, ERR_UPSTREAM, "%s: HTTP %d, this node does not serve us now", ca->remote.name, answer->status);
	default:
		break;
	}
	return remote_status(&ca->remote, answer, words_of(body), &retry_s, e) < 0 ? -1 : 0;
}

static int
vault_issue(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	CLEANUP(json) json_t *document = request_json(ca, request, e);
	CLEANUP(json) json_t *body = NULL;
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	int rc;

	if (document == NULL)
		return -1;
	rc = call(ca, ca->sign_path, document, true, &answer, e);
	if (rc != 0)
		return rc < 0 ? -1 : remote_unknown(out, "");
	if (answer.status != 200)
		return judge(ca, &answer, e) < 0 ? -1 : remote_unknown(out, "");
	body = remote_json(&ca->remote, &answer, e);
	if (body == NULL)
		return remote_unknown(out, "");
	return remote_issued_pem(&ca->remote, remote_text(json_object_get(body, "data"), "certificate"), request, "", out, e);
}

/* "ab:cd:ef" */
static void
serial_put(struct buf *out, const char *hex)
{
	size_t len = strlen(hex), i;

	if (len % 2 != 0)
		buf_append_u8(out, '0');
	for (i = 0; i < len; i++) {
		buf_append_u8(out, (uint8_t)hex[i]);
		if (i + 1 < len && (len - i) % 2 != 0)
			buf_append_u8(out, ':');
	}
}

/* It keeps no reasons, and answers for one that is revoked already as it did the first time. */
static int
vault_revoke(struct ca *ca, const char *serial, struct bytes cert, int reason, int64_t now_s, struct err *e)
{
	CLEANUP(buf) struct buf text = { 0 };
	CLEANUP(json) json_t *document = NULL;
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	char decimal[REMOTE_DECIMAL_MAX];

	(void)cert;
	(void)now_s;
	if (remote_reason_check(&ca->remote, reason, e) != 0 || remote_serial_decimal(serial, decimal, e) != 0)
		return -1;
	serial_put(&text, serial);
	document = json_pack("{s:s}", "serial_number", buf_text(&text));
	if (call(ca, ca->revoke_path, document, false, &answer, e) != 0)
		return -1;
	if (answer.status == 200 || answer.status == 204)
		return 0;
	if (answer.status == 403)
		return err_set(e, ERR_UPSTREAM, "%s: HTTP 403; the token is not good, or its policy lacks \"update\" on %s",
			ca->remote.name, ca->revoke_path + strlen("/v1/"));
	(void)judge(ca, &answer, e);
	return -1;
}

/* Standby nodes (429, 473) pass requests on. */
static int
vault_check(struct ca *ca, struct err *e)
{
	CLEANUP(secret_buf) struct buf token = { 0 };
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	struct remote_json_call health = { .method = "GET", .path = "/v1/sys/health" };
	const char *name = ca->remote.name;
	uint64_t round = 0;

	if (remote_json_again(&ca->remote, &health, &answer, e) != 0)
		return -1;
	switch (answer.status) {
	case 200:
	case 429:
	case 473:
		return vault_token_get(&ca->token, &token, &round, e);
	case 472:
		return err_set(e, ERR_UPSTREAM, "%s: it is a disaster recovery secondary, which issues nothing", name);
	case 501:
		return err_set(e, ERR_UPSTREAM, "%s: it is not initialized", name);
	case 503:
		return err_set(e, ERR_UPSTREAM, "%s: it is sealed", name);
	default:
		return err_set(e, ERR_UPSTREAM, "%s: HTTP %d to /v1/sys/health", name, answer.status);
	}
}

const struct ca_ops ca_vault = {
	.type = "vault",
	.remote = true,
	.open = vault_open,
	.issue = vault_issue,
	.revoke = vault_revoke,
	.check = vault_check,
	.chain = remote_chain,
	.close = vault_close,
};
