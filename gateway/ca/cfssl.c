/* cfssl's API, "authsign": a request with an HMAC over it (README.md, "cfssl"). */
#define _GNU_SOURCE
#include "gateway/ca/remote.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/hmac.h>

#define KEY_OCTETS_MAX 64
#define KEY_OCTETS_MIN 16
#define INVALID_TOKEN  "invalid token"
#define NOT_FOUND      "certificate not found"

struct ca {
	struct remote remote;
	char *profile;             /* NULL: the service's default */
	uint8_t key[KEY_OCTETS_MAX];
	size_t key_len;
	char authority_key_id[2 * EVP_MAX_MD_SIZE + 1]; /* what revoke() names the CA by; "": none */
};

static void
cfssl_close(struct ca *ca)
{
	remote_close(&ca->remote);
	OPENSSL_cleanse(ca->key, sizeof ca->key);
	free(ca->profile);
	free(ca);
}

/* Hexadecimal, as cfssl's own "auth_keys" hold it. */
static int
read_key(struct ca *ca, struct err *e)
{
	struct err why;

	ca->key_len = ca->remote.secret.len / 2;
	if (ca->key_len < KEY_OCTETS_MIN || ca->key_len > KEY_OCTETS_MAX ||
	    hex_decode(buf_bytes(&ca->remote.secret), ca->key, ca->key_len, &why) != 0)
		return err_set(e, ERR_MALFORMED, "%s: secret_file must hold the key of the service's auth_keys, %d to %d octets "
			"in hexadecimal", ca->remote.name, KEY_OCTETS_MIN, KEY_OCTETS_MAX);
	return 0;
}

static void
name_authority(struct ca *ca)
{
	const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(sk_X509_value(ca->remote.chain, 0));

	if (id != NULL && ASN1_STRING_length(id) <= EVP_MAX_MD_SIZE)
		hex_encode(bytes_of(ASN1_STRING_get0_data(id), (size_t)ASN1_STRING_length(id)), ca->authority_key_id);
}

static int
open_parts(struct ca *ca, const struct ca_settings *settings, struct err *e)
{
	if (remote_need(&ca->remote, "secret_file", settings->secret_file, e) != 0 || read_key(ca, e) != 0)
		return -1;
	if (settings->profile != NULL && (ca->profile = strdup(settings->profile)) == NULL)
		return err_set(e, ERR_NOMEM, "no memory for a CA");
	name_authority(ca);
	return 0;
}

static int
cfssl_open(const struct ca_settings *settings, struct ca **out, struct err *e)
{
	static const struct remote_kind kind = { sizeof(struct ca), false, open_parts, cfssl_close };

	return remote_make(&kind, settings, out, e);
}

/* cfssl's names of attribute types; it knows no others. */
static json_t *
subject_json(const struct cert_spec *spec)
{
	static const struct {
		const char *oid, *name;
	} known[] = { { "2.5.4.6", "C" }, { "2.5.4.8", "ST" }, { "2.5.4.7", "L" }, { "2.5.4.10", "O" },
		{ "2.5.4.11", "OU" } };
	CLEANUP(json) json_t *name = json_object();
	const char *common_name = remote_common_name(spec), *serial = remote_rdn(spec, "2.5.4.5");
	size_t i;

	for (i = 0; i < sizeof known / sizeof known[0]; i++) {
		const char *value = remote_rdn(spec, known[i].oid);

		if (value != NULL && json_object_set_new(name, known[i].name, json_string(value)) != 0)
			return NULL;
	}
	return json_pack("{s:s*, s:s*, s:[O]}", "CN", common_name, "serialnumber", serial, "names", name);
}

/* The inner document, which the HMAC is over. */
static int
put_request(const struct ca *ca, const struct ca_request *request, struct buf *out, struct err *e)
{
	CLEANUP(buf) struct buf csr = { 0 };
	CLEANUP(json) json_t *document = NULL;
	char *text = NULL;

	if (remote_csr_pem(&ca->remote, request, &csr, e) != 0)
		return -1;
	document = json_pack("{s:s, s:o, s:o, s:s*, s:o, s:o}", "certificate_request", buf_text(&csr),
		"hosts", remote_names_json(request->spec), "subject", subject_json(request->spec), "profile", ca->profile,
		"not_before", remote_time_json(request->spec->not_before_s),
		"not_after", remote_time_json(request->spec->not_after_s));
	text = document == NULL ? NULL : json_dumps(document, JSON_COMPACT);
	if (text == NULL)
		return err_set(e, ERR_NOMEM, "%s: no memory for a request", ca->remote.name);
	buf_append_text(out, text);
	free(text);
	return 0;
}

static json_t *
signed_request(const struct ca *ca, const struct ca_request *request, struct err *e)
{
	CLEANUP(buf) struct buf inner = { 0 }, token = { 0 }, encoded = { 0 };
	uint8_t mac[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	json_t *document;

	if (put_request(ca, request, &inner, e) != 0)
		return NULL;
	if (HMAC(ossl_sha256(), ca->key, (int)ca->key_len, inner.at, inner.len, mac, &len) == NULL) {
		(void)err_ossl(e, ERR_BUG, "HMAC");
		return NULL;
	}
	base64_encode(&token, bytes_of(mac, len), 0);
	base64_encode(&encoded, buf_bytes(&inner), 0);
	document = json_pack("{s:s, s:s}", "token", buf_text(&token), "request", buf_text(&encoded));
	if (document == NULL)
		(void)err_set(e, ERR_NOMEM, "%s: no memory for a request", ca->remote.name);
	return document;
}

/* The first of "errors", which every refusal holds; NULL: none. */
static const char *
words_of(const json_t *body)
{
	return remote_text(json_array_get(json_object_get(body, "errors"), 0), "message");
}

/* What an answer without a certificate means. 0: CA_UNKNOWN */
static int
judge(const struct ca *ca, const struct outbound_answer *answer, const json_t *body, struct ca_answer *out,
	struct err *e)
{
	const char *words = words_of(body);

	if (words != NULL && strstr(words, INVALID_TOKEN) != NULL)
		return err_set(e, ERR_UPSTREAM, "%s: it does not accept our HMAC; compare secret_file with the auth_keys of profile "
			"\"%s\" there", ca->remote.name, ca->profile == NULL ? "default" : ca->profile);
	/* It hands a certificate out with "success": true only. */
	if (answer->status >= 500 && json_is_false(json_object_get(body, "success"))) {
		(void)remote_status(&ca->remote, answer, words, &out->retry_s, e);
		return -1;
	}
	return remote_status(&ca->remote, answer, words, &out->retry_s, e) < 0 ? -1 : remote_unknown(out, "");
}

static int
cfssl_issue(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	CLEANUP(json) json_t *document = signed_request(ca, request, e);
	CLEANUP(json) json_t *body = NULL;
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	struct remote_json_call call = { .method = "POST", .path = "/api/v1/cfssl/authsign", .document = document };
	struct err none;
	int rc;

	if (document == NULL)
		return -1;
	rc = remote_json_once(&ca->remote, &call, &answer, e);
	if (rc != 0)
		return rc < 0 ? -1 : remote_unknown(out, "");
	if (answer.status != 200) {
		body = remote_json(&ca->remote, &answer, &none);
		return judge(ca, &answer, body, out, e);
	}
	body = remote_json(&ca->remote, &answer, e);
	if (body == NULL)
		return remote_unknown(out, "");
	if (json_is_false(json_object_get(body, "success"))) {
		answer.status = 400;
		return judge(ca, &answer, body, out, e);
	}
	return remote_issued_pem(&ca->remote, remote_text(json_object_get(body, "result"), "certificate"), request, "", out, e);
}

/* 0: revoked. 1: it has no such certificate. */
static int
revoke_as(struct ca *ca, const char *decimal, const char *authority, int reason, struct err *e)
{
	CLEANUP(json) json_t *document = NULL;
	CLEANUP(json) json_t *body = NULL;
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	struct remote_json_call call = { .method = "POST", .path = "/api/v1/cfssl/revoke" };
	char code[16];
	const char *words;
	int64_t retry_s = 0;

	/* It knows the reasons by number but for the one that says nothing. */
	if (reason == 0)
		(void)snprintf(code, sizeof code, "unspecified");
	else
		(void)snprintf(code, sizeof code, "%d", reason);
	document = json_pack("{s:s, s:s, s:s}", "serial", decimal, "authority_key_id", authority, "reason", code);
	call.document = document;
	if (remote_json_again(&ca->remote, &call, &answer, e) != 0)
		return -1;
	if (answer.status == 404)
		return err_set(e, ERR_UNSUPPORTED, "%s: it cannot revoke; start it with -db-config", ca->remote.name);
	body = remote_json(&ca->remote, &answer, e);
	words = words_of(body);
	if (answer.status == 200 && body != NULL && json_is_true(json_object_get(body, "success")))
		return 0;
	if (answer.status == 200)
		return err_set(e, ERR_UPSTREAM, "%s: it did not revoke", ca->remote.name);
	(void)remote_status(&ca->remote, &answer, words, &retry_s, e);
	return words != NULL && strstr(words, NOT_FOUND) != NULL ? 1 : -1;
}

/*
 * Wants a database there (-db-config), and gives no error for one that is revoked already. Version 1.2, which Debian
 * has, records its certificates under an empty authority.
 */
static int
cfssl_revoke(struct ca *ca, const char *serial, struct bytes cert, int reason, int64_t now_s, struct err *e)
{
	char decimal[REMOTE_DECIMAL_MAX];
	int rc;

	(void)cert;
	(void)now_s;
	if (remote_reason_check(&ca->remote, reason, e) != 0 || remote_serial_decimal(serial, decimal, e) != 0)
		return -1;
	rc = revoke_as(ca, decimal, ca->authority_key_id, reason, e);
	if (rc == 1 && ca->authority_key_id[0] != '\0')
		rc = revoke_as(ca, decimal, "", reason, e);
	return rc == 0 ? 0 : -1;
}

/* cfssl has no health call; this one needs its CA to be loaded, and tells which it is. */
static int
cfssl_check(struct ca *ca, struct err *e)
{
	CLEANUP(json) json_t *document = json_pack("{s:s, s:s*}", "label", "", "profile", ca->profile);
	CLEANUP(json) json_t *body = NULL;
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	struct remote_json_call call = { .method = "POST", .path = "/api/v1/cfssl/info", .document = document };
	const char *pem;

	if (remote_json_again(&ca->remote, &call, &answer, e) != 0)
		return -1;
	body = remote_json(&ca->remote, &answer, e);
	if (body == NULL)
		return -1;
	pem = remote_text(json_object_get(body, "result"), "certificate");
	if (answer.status != 200 || pem == NULL)
		return err_set(e, ERR_UPSTREAM, "%s: HTTP %d, it does not tell its certificate; does profile \"%s\" exist there?",
			ca->remote.name, answer.status, ca->profile == NULL ? "default" : ca->profile);
	return remote_is_issuer(&ca->remote, pem, e);
}

const struct ca_ops ca_cfssl = {
	.type = "cfssl",
	.remote = true,
	.open = cfssl_open,
	.issue = cfssl_issue,
	.revoke = cfssl_revoke,
	.check = cfssl_check,
	.chain = remote_chain,
	.verify = remote_verify,
	.close = cfssl_close,
};
