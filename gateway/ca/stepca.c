/* smallstep's step-ca, by one-time tokens of a JWK provisioner (README.md, "stepca"). */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "gateway/ca/remote.h"
#include "gateway/ca/stepca_token.h"

#define TOKEN_S 300
#define FIRST   "0" /* the generation of a request's token, unless that one was used up by an attempt that came to nothing */
#define SIGN    "/1.0/sign"
#define REVOKE  "/1.0/revoke"

struct ca {
	struct remote remote;
	EVP_PKEY *key;
	struct stepca_signer signer;
	char *provisioner;
	char *url; /* without a slash at the end: tokens name what they are for */
};

static void
stepca_close(struct ca *ca)
{
	remote_close(&ca->remote);
	EVP_PKEY_free(ca->key);
	OPENSSL_cleanse(ca->signer.secret, sizeof ca->signer.secret);
	free(ca->provisioner);
	free(ca->url);
	free(ca);
}

static int
open_parts(struct ca *ca, const struct ca_settings *settings, struct err *e)
{
	size_t len;

	if (remote_need(&ca->remote, "profile (the provisioner's name)", settings->profile, e) != 0 ||
	    remote_need(&ca->remote, "key_file (the provisioner's private key)", settings->key_file, e) != 0)
		return -1;
	if (key_open(settings->key_file, &ca->key, e) != 0 ||
	    stepca_signer_init(&ca->signer, ca->key, settings->user, e) != 0)
		return err_prefix(e, "%s", ca->remote.name);
	ca->provisioner = strdup(settings->profile);
	ca->url = strdup(settings->url);
	if (ca->provisioner == NULL || ca->url == NULL)
		return err_set(e, ERR_NOMEM, "no memory for a CA");
	for (len = strlen(ca->url); len > 0 && ca->url[len - 1] == '/'; len--)
		ca->url[len - 1] = '\0';
	return 0;
}

static int
stepca_open(const struct ca_settings *settings, struct ca **out, struct err *e)
{
	static const struct remote_kind kind = { sizeof(struct ca), false, open_parts, stepca_close };

	return remote_make(&kind, settings, out, e);
}

/* What every token claims; the caller adds to it. NULL: no memory. */
static json_t *
claims_of(const struct ca *ca, const char *path, const char *subject, const char *id, int64_t now_s)
{
	CLEANUP(buf) struct buf audience = { 0 };

	buf_printf(&audience, "%s%s", ca->url, path);
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "iss", ca->provisioner, "aud", buf_text(&audience), "sub", subject,
		"jti", id, "iat", (json_int_t)now_s, "exp", (json_int_t)(now_s + TOKEN_S));
}

/* The approved subject as a claim of its own, for certificate templates: step-ca's own takes the common name alone. */
static json_t *
subject_json(const struct cert_spec *spec)
{
	static const struct {
		const char *oid, *name;
	} known[] = { { "2.5.4.3", "commonName" }, { "2.5.4.5", "serialNumber" }, { "2.5.4.6", "country" },
		{ "2.5.4.7", "locality" }, { "2.5.4.8", "province" }, { "2.5.4.10", "organization" },
		{ "2.5.4.11", "organizationalUnit" } };
	CLEANUP(json) json_t *subject = json_object();
	json_t *out;
	size_t i;

	for (i = 0; i < sizeof known / sizeof known[0]; i++) {
		const char *value = remote_rdn(spec, known[i].oid);

		if (value != NULL && json_object_set_new(subject, known[i].name, json_string(value)) != 0)
			return NULL;
	}
	out = subject;
	subject = NULL;
	return out;
}

/* The subject and names that step-ca is to allow, and the one CSR they are allowed for (RFC 7800, section 3.1). */
static json_t *
sign_claims(const struct ca *ca, const struct ca_request *request, const char *generation, struct err *e)
{
	CLEANUP(buf) struct buf fingerprint = { 0 };
	const struct cert_spec *spec = request->spec;
	const char *subject = remote_common_name(spec);
	char id[STEPCA_ID_MAX];
	uint8_t digest[32];
	json_t *claims;

	if (subject == NULL && spec->san_count != 0)
		subject = spec->sans[0].value;
	if (subject == NULL) {
		(void)err_set(e, ERR_UNSUPPORTED, "%s: it certifies nothing without a common name or an alternative name",
			ca->remote.name);
		return NULL;
	}
	if (sha256(request->csr, digest, e) != 0 ||
	    stepca_token_id(&ca->signer, request->request_id, generation, id, e) != 0)
		return NULL;
	base64url_encode(&fingerprint, bytes_of(digest, sizeof digest));
	claims = claims_of(ca, SIGN, subject, id, request->now_s);
	if (claims == NULL || json_object_set_new(claims, "sans", remote_names_json(spec)) != 0 ||
	    json_object_set_new(claims, "subject", subject_json(spec)) != 0 ||
	    json_object_set_new(claims, "cnf", json_pack("{s:s}", "x5rt#S256", buf_text(&fingerprint))) != 0) {
		json_decref(claims);
		(void)err_set(e, ERR_NOMEM, "%s: no memory for a token", ca->remote.name);
		return NULL;
	}
	return claims;
}

/* One attempt with the token of this generation. 0, 1 or -1 as remote_call_once(). */
static int
send_request(struct ca *ca, const struct ca_request *request, const char *generation, struct outbound_answer *answer,
	struct err *e)
{
	CLEANUP(buf) struct buf csr = { 0 };
	CLEANUP(secret_buf) struct buf token = { 0 };
	CLEANUP(json) json_t *claims = NULL;
	CLEANUP(json) json_t *document = NULL;
	struct remote_json_call call = { .method = "POST", .path = SIGN };
	int rc;

	if (request->request_id == NULL)
		return err_set(e, ERR_BUG, "%s: a request without a name", ca->remote.name);
	if (remote_csr_pem(&ca->remote, request, &csr, e) != 0)
		return -1;
	claims = sign_claims(ca, request, generation, e);
	if (claims == NULL || stepca_token_sign(&ca->signer, claims, &token, e) != 0)
		return -1;
	document = json_pack("{s:s, s:s, s:o, s:o}", "csr", buf_text(&csr), "ott", buf_text(&token),
		"notBefore", remote_time_json(request->spec->not_before_s),
		"notAfter", remote_time_json(request->spec->not_after_s));
	call.document = document;
	rc = remote_json_once(&ca->remote, &call, answer, e);
	if (rc == 0)
		remote_hide(answer, buf_bytes(&token));
	return rc;
}

static bool
is_success(const struct outbound_answer *answer)
{
	return answer->status == 200 || answer->status == 201;
}

/* As remote_status(), with the service's own sentence. */
static int
status(const struct ca *ca, const struct outbound_answer *answer, int64_t *retry_s, struct err *e)
{
	struct err none;
	CLEANUP(json) json_t *body = remote_json(&ca->remote, answer, &none);

	return remote_status(&ca->remote, answer, remote_text(body, "message"), retry_s, e);
}

static int
take(const struct ca *ca, const struct ca_request *request, const struct outbound_answer *answer, const char *generation,
	struct ca_answer *out, struct err *e)
{
	CLEANUP(json) json_t *body = remote_json(&ca->remote, answer, e);

	if (body == NULL)
		return remote_unknown(out, generation);
	return remote_issued_pem(&ca->remote, remote_text(body, "crt"), request, generation, out, e);
}

/*
 * step-ca answers 401 for a token that is not good and for one that was used before, so the first token of a request may
 * be one that an earlier attempt used up in vain: then there is another.
 */
static int
stepca_issue(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	char generation[33] = FIRST;
	uint8_t random[16];
	int rc = send_request(ca, request, generation, &answer, e);

	if (rc == 0 && answer.status == 401) {
		outbound_answer_free(&answer);
		if (random_octets(random, sizeof random, e) != 0)
			return -1;
		hex_encode(bytes_of(random, sizeof random), generation);
		rc = send_request(ca, request, generation, &answer, e);
	}
	if (rc != 0)
		return rc < 0 ? -1 : remote_unknown(out, generation);
	if (is_success(&answer))
		return take(ca, request, &answer, generation, out, e);
	return status(ca, &answer, &out->retry_s, e) < 0 ? -1 : remote_unknown(out, generation);
}

/* The request once more with its token: when the first never arrived, this one issues; otherwise it cannot. */
static int
stepca_reconcile(struct ca *ca, const struct ca_request *request, const char *reference, struct ca_answer *out,
	struct err *e)
{
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	CLEANUP(json) json_t *body = NULL;
	const char *generation = reference == NULL || reference[0] == '\0' ? FIRST : reference;
	struct ca_answer taken = { 0 };
	struct err none;
	int rc = send_request(ca, request, generation, &answer, e);

	if (rc != 0)
		return -1;
	if (is_success(&answer)) {
		rc = take(ca, request, &answer, generation, &taken, e);
		if (rc == 0 && taken.state == CA_ISSUED)
			*out = taken;
		return rc == 0 && taken.state == CA_ISSUED ? 0 : -1;
	}
	if (answer.status == 401)
		return err_set(e, ERR_UPSTREAM, "%s: the request's token was used (or our key is refused): it may have issued, and "
			"cannot be asked; look for the subject there, and revoke what nobody has", ca->remote.name);
	rc = status(ca, &answer, &out->retry_s, e);
	if (rc == 0 || e->code != ERR_DENIED)
		return -1;
	body = remote_json(&ca->remote, &answer, &none);
	if (remote_text(body, "message") == NULL) { /* a proxy's refusal says nothing about the first time */
		e->code = ERR_UPSTREAM;
		return -1;
	}
	*out = (struct ca_answer){ .state = CA_ABSENT }; /* the token was fresh, and is used up now */
	return 0;
}

static json_t *
revoke_claims(const struct ca *ca, const char *serial, int64_t now_s, struct err *e)
{
	uint8_t random[16];
	char id[33];
	json_t *claims;

	if (random_octets(random, sizeof random, e) != 0)
		return NULL;
	hex_encode(bytes_of(random, sizeof random), id);
	claims = claims_of(ca, REVOKE, serial, id, now_s);
	if (claims == NULL)
		(void)err_set(e, ERR_NOMEM, "%s: no memory for a token", ca->remote.name);
	return claims;
}

static int
stepca_revoke(struct ca *ca, const char *serial, struct bytes cert, int reason, int64_t now_s, struct err *e)
{
	CLEANUP(secret_buf) struct buf token = { 0 };
	CLEANUP(json) json_t *claims = NULL;
	CLEANUP(json) json_t *document = NULL;
	CLEANUP(json) json_t *body = NULL;
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	struct remote_json_call call = { .method = "POST", .path = REVOKE };
	char decimal[REMOTE_DECIMAL_MAX];
	const char *words;
	int64_t retry_s;
	struct err none;

	(void)cert;
	if (remote_reason_check(&ca->remote, reason, e) != 0 || remote_serial_decimal(serial, decimal, e) != 0)
		return -1;
	claims = revoke_claims(ca, decimal, now_s, e);
	if (claims == NULL || stepca_token_sign(&ca->signer, claims, &token, e) != 0)
		return -1;
	document = json_pack("{s:s, s:s, s:i, s:b}", "serial", decimal, "ott", buf_text(&token), "reasonCode", reason,
		"passive", 1);
	call.document = document;
	if (remote_json_again(&ca->remote, &call, &answer, e) != 0)
		return -1;
	remote_hide(&answer, buf_bytes(&token));
	body = remote_json(&ca->remote, &answer, &none);
	words = remote_text(body, "message");
	if (answer.status == 200 || (words != NULL && strstr(words, "is already revoked") != NULL))
		return 0;
	if (answer.status == 501)
		return err_set(e, ERR_UNSUPPORTED, "%s: it cannot revoke; give it a database (\"db\" in ca.json)", ca->remote.name);
	(void)status(ca, &answer, &retry_s, e);
	return -1;
}

static int
stepca_check(struct ca *ca, struct err *e)
{
	CLEANUP(json) json_t *body = NULL;
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	struct remote_json_call call = { .method = "GET", .path = "/health" };
	const char *text;

	if (remote_json_again(&ca->remote, &call, &answer, e) != 0)
		return -1;
	body = remote_json(&ca->remote, &answer, e);
	if (body == NULL)
		return -1;
	text = remote_text(body, "status");
	if (answer.status != 200 || text == NULL || strcmp(text, "ok") != 0)
		return err_set(e, ERR_UPSTREAM, "%s: HTTP %d, it does not say that it is well", ca->remote.name, answer.status);
	return 0;
}

const struct ca_ops ca_stepca = {
	.type = "stepca",
	.remote = true,
	.open = stepca_open,
	.issue = stepca_issue,
	.reconcile = stepca_reconcile,
	.revoke = stepca_revoke,
	.check = stepca_check,
	.chain = remote_chain,
	.verify = remote_verify,
	.close = stepca_close,
};
