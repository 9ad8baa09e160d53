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
		if (rc == 0)
			remote_hide(answer, bytes_of_text(header.value));
		if (rc != 0 || answer->status != 403)
			return rc;
		vault_token_drop(&ca->token, round);
		if (tries == 2)
			return 0;
		outbound_answer_free(answer);
	}
}

/* A text would be cut at commas, which URIs may have. */
static json_t *
sans_json(const struct cert_spec *spec, enum spec_san_type type)
{
	CLEANUP(json) json_t *names = json_array();
	size_t i;

	for (i = 0; i < spec->san_count; i++)
		if (spec->sans[i].type == type && json_array_append_new(names, json_string(spec->sans[i].value)) != 0)
			return NULL;
	return json_incref(names);
}

/* "not_after", since "ttl" counts from the service's own clock; it knows no notBefore. */
static json_t *
request_json(const struct ca *ca, const struct ca_request *request, struct err *e)
{
	CLEANUP(buf) struct buf csr = { 0 }, names = { 0 };
	const struct cert_spec *spec = request->spec;
	json_t *document;

	if (remote_csr_pem(&ca->remote, request, &csr, e) != 0)
		return NULL;
	remote_sans(spec, SPEC_SAN_DNS, &names);
	remote_sans(spec, SPEC_SAN_EMAIL, &names);
	document = json_pack("{s:s, s:s*, s:s*, s:s, s:o, s:o, s:o, s:b, s:s}", "csr", buf_text(&csr),
		"common_name", remote_common_name(spec), "serial_number", remote_rdn(spec, "2.5.4.5"),
		"alt_names", buf_text(&names), "uri_sans", sans_json(spec, SPEC_SAN_URI), "ip_sans", sans_json(spec, SPEC_SAN_IP),
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

static bool
begins(const char *words, const char *with)
{
	return words != NULL && strncmp(words, with, strlen(with)) == 0;
}

/* What it looks for before it signs: while its nodes choose the active one, and without an issuer. */
static bool
has_not_begun(const char *words)
{
	static const char one[] = "1 error occurred:\n\t* ";

	return begins(words, "local node not active but active cluster node not found") ||
		(begins(words, one) && begins(words + strlen(one), "could not fetch the CA certificate"));
}

static bool
ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/*
 * A standby node passes requests on. When that comes to nothing, for whatever cause and at whatever time, it says where the
 * active node is, or that there is none: the active one may have had the request.
 */
static bool
is_standbys(const struct ca *ca, const struct outbound_answer *answer, const char *words)
{
	if (answer->status == 503)
		return begins(words, "no active Vault instance found");
	return answer->status == 307 && (answer->location[0] == '\0' || ends_with(answer->location, ca->sign_path));
}

/*
 * A status that is no success. 0: whether it did what was asked is not known. What an operator mends there (a token's
 * policy, a mount's or role's name, a node that serves nobody) is no refusal of the device. *retry_s: as remote_status() has it.
 */
static int
judge(const struct ca *ca, const struct outbound_answer *answer, int64_t *retry_s, struct err *e)
{
	const char *name = ca->remote.name, *words;
	struct err none;
	CLEANUP(json) json_t *body = remote_json(&ca->remote, answer, &none);
	int rc;

	words = words_of(body);
	switch (answer->status) {
	case 403:
		return err_set(e, ERR_UPSTREAM, "%s: HTTP 403; the token is not good, or its policy lacks \"update\" on %s", name,
			ca->sign_path + strlen("/v1/"));
	case 404:
		return err_set(e, ERR_UPSTREAM, "%s: HTTP 404; is a PKI engine mounted at the path in authority?", name);
	case 412:
	case 472:
	case 473:
		return err_set(e, ERR_UPSTREAM, "%s: HTTP %d, this node does not serve us now", name, answer->status);
	default:
		break;
	}
	rc = remote_status(&ca->remote, answer, words, retry_s, e) < 0 ? -1 : 0;
	if (answer->status == 400 && begins(words, "unknown role: "))
		e->code = ERR_UPSTREAM;
	if (answer->status == 500 && has_not_begun(words))
		return -1;
	if (!is_standbys(ca, answer, words))
		return rc;
	(void)err_set(e, ERR_UPSTREAM, "%s: HTTP %d, a standby node could not pass it on; whether the active one (%s) has it is "
		"not known", name, answer->status, answer->location[0] == '\0' ? "it names none" : answer->location);
	return 0;
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
		return judge(ca, &answer, &out->retry_s, e) < 0 ? -1 : remote_unknown(out, "");
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

static json_t *
certificate_json(struct bytes cert)
{
	CLEANUP(buf) struct buf pem = { 0 };

	buf_append_text(&pem, "-----BEGIN CERTIFICATE-----\n");
	base64_encode(&pem, cert, 64);
	buf_append_text(&pem, "-----END CERTIFICATE-----\n");
	return buf_failed(&pem) ? NULL : json_pack("{s:s}", "certificate", buf_text(&pem));
}

static int
revoke(struct ca *ca, const json_t *document, struct err *e)
{
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	int64_t retry_s;

	if (call(ca, ca->revoke_path, document, false, &answer, e) != 0)
		return -1;
	if (answer.status == 200 || answer.status == 204)
		return 0;
	if (answer.status == 403)
		return err_set(e, ERR_UPSTREAM, "%s: HTTP 403; the token is not good, or its policy lacks \"update\" on %s",
			ca->remote.name, ca->revoke_path + strlen("/v1/"));
	(void)judge(ca, &answer, &retry_s, e);
	return -1;
}

/*
 * It keeps no reasons, and answers for one that is revoked already as it did the first time. What a role with no_store
 * issued it knows by no serial number: the certificate is shown to it.
 */
static int
vault_revoke(struct ca *ca, const char *serial, struct bytes cert, int reason, int64_t now_s, struct err *e)
{
	CLEANUP(buf) struct buf text = { 0 };
	CLEANUP(json) json_t *by_serial = NULL, *by_cert = NULL;
	char decimal[REMOTE_DECIMAL_MAX];
	struct err again;

	(void)now_s;
	if (remote_reason_check(&ca->remote, reason, e) != 0 || remote_serial_decimal(serial, decimal, e) != 0)
		return -1;
	/* A negative one is kept there without its sign, and the one that reads so may be another's. */
	if (serial[0] == '-') {
		(void)err_set(e, ERR_DENIED, "%s: it keeps no negative serial numbers", ca->remote.name);
	} else {
		serial_put(&text, serial);
		by_serial = json_pack("{s:s}", "serial_number", buf_text(&text));
		if (revoke(ca, by_serial, e) == 0)
			return 0;
	}
	if (e->code != ERR_DENIED || cert.len == 0)
		return -1;
	by_cert = certificate_json(cert);
	return revoke(ca, by_cert, &again);
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
	.verify = remote_verify,
	.close = vault_close,
};
