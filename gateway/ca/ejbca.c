/* EJBCA's REST API over mutual TLS (README.md, "ejbca"). */
#define _GNU_SOURCE
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/hmac.h>

#include "base/text.h"
#include "gateway/ca/ejbca_text.h"

#define API          "/ejbca/ejbca-rest-api/v1/certificate"
#define WAIT_S       60 /* between two looks at an approval, when the service names no time */
#define FOUND_MAX    10 /* certificates of one request that are looked at */
#define NAME_MAX_LEN 200
#define PASSWORD_MAX (2 * EVP_MAX_MD_SIZE + 1)

struct ca {
	struct remote remote;
	char *profile, *end_entity_profile, *authority;
	char issuer[3 * 512]; /* its DN, percent-encoded */
};

static void
ejbca_close(struct ca *ca)
{
	remote_close(&ca->remote);
	free(ca->profile);
	free(ca->end_entity_profile);
	free(ca->authority);
	free(ca);
}

static int
name_issuer(struct ca *ca, struct err *e)
{
	const X509_NAME *name = X509_get_subject_name(sk_X509_value(ca->remote.chain, 0));
	CLEANUP(BIO) BIO *text = BIO_new(BIO_s_mem());
	CLEANUP(buf) struct buf out = { 0 };
	char *at = NULL;
	long len;

	if (text == NULL || X509_NAME_print_ex(text, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) < 0)
		return err_ossl(e, ERR_NOMEM, "the issuer's name");
	len = BIO_get_mem_data(text, &at);
	ejbca_percent_put(&out, at, len < 0 ? 0 : (size_t)len);
	if (buf_failed(&out) || out.len >= sizeof ca->issuer)
		return err_set(e, ERR_LIMIT, "%s: the issuer's name is too long for a URL", ca->remote.name);
	(void)snprintf(ca->issuer, sizeof ca->issuer, "%s", buf_text(&out));
	return 0;
}

static int
copy(const struct ca *ca, const char *what, const char *from, char **to, struct err *e)
{
	if (remote_need(&ca->remote, what, from, e) != 0)
		return -1;
	if (strlen(from) > NAME_MAX_LEN || !text_is_clean(bytes_of_text(from)))
		return err_set(e, ERR_MALFORMED, "%s: %s is too long or not UTF-8", ca->remote.name, what);
	*to = strdup(from);
	return *to == NULL ? err_set(e, ERR_NOMEM, "no memory for a CA") : 0;
}

static int
open_parts(struct ca *ca, const struct ca_settings *settings, struct err *e)
{
	if (remote_need(&ca->remote, "client_cert (EJBCA knows its administrators by certificate)", settings->client_cert,
		    e) != 0 ||
	    remote_need(&ca->remote, "client_key", settings->client_key, e) != 0 ||
	    remote_need(&ca->remote, "secret_file (what enrollment codes are made from)", settings->secret_file, e) != 0)
		return -1;
	if (copy(ca, "profile (the certificate profile)", settings->profile, &ca->profile, e) != 0 ||
	    copy(ca, "end_entity_profile", settings->end_entity_profile, &ca->end_entity_profile, e) != 0 ||
	    copy(ca, "authority (the CA's name there)", settings->authority, &ca->authority, e) != 0 ||
	    name_issuer(ca, e) != 0)
		return -1;
	return 0;
}

static int
ejbca_open(const struct ca_settings *settings, struct ca **out, struct err *e)
{
	static const struct remote_kind kind = { sizeof(struct ca), false, open_parts, ejbca_close };

	return remote_make(&kind, settings, out, e);
}

/* The enrollment code of one request's end entity: nobody else's, and found again after a restart. */
static int
password_make(const struct ca *ca, const struct ca_request *request, char out[PASSWORD_MAX], struct err *e)
{
	struct bytes secret = buf_bytes(&ca->remote.secret);
	uint8_t mac[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (request->request_id == NULL)
		return err_set(e, ERR_BUG, "%s: a request without a name", ca->remote.name);
	if (HMAC(ossl_sha256(), secret.at, (int)secret.len, (const uint8_t *)request->request_id,
		    strlen(request->request_id), mac, &len) == NULL)
		return err_ossl(e, ERR_BUG, "HMAC");
	hex_encode(bytes_of(mac, len), out);
	OPENSSL_cleanse(mac, sizeof mac);
	return 0;
}

/*
 * A status that is no success. 0: whether it did what was asked is not known. What an operator mends there is no
 * refusal of the device. *retry_s: as remote_status() has it.
 */
static int
judge(const struct ca *ca, const struct outbound_answer *answer, int64_t *retry_s, struct err *e)
{
	struct err none;
	CLEANUP(json) json_t *body = remote_json(&ca->remote, answer, &none);

	*retry_s = 0;
	if (answer->status == 403)
		return err_set(e, ERR_UPSTREAM, "%s: HTTP 403; the role of our client certificate may not do this there",
			ca->remote.name);
	if (answer->status == 404)
		return err_set(e, ERR_UPSTREAM, "%s: HTTP 404; is \"REST Certificate Management\" enabled there?", ca->remote.name);
	return remote_status(&ca->remote, answer, remote_text(body, "error_message"), retry_s, e) < 0 ? -1 : 0;
}

/* A 200 or 201. */
static int
take(const struct ca *ca, const struct ca_request *request, const struct outbound_answer *answer, struct ca_answer *out,
	struct err *e)
{
	CLEANUP(json) json_t *body = remote_json(&ca->remote, answer, e);
	CLEANUP(buf) struct buf der = { 0 };
	struct err none;

	if (body == NULL)
		return remote_unknown(out, "");
	if (ejbca_certificate_put(body, &der, &none) != 0)
		buf_clear(&der);
	return remote_issued_der(&ca->remote, buf_bytes(&der), request, "", out, e);
}

/* A 202 names the approval in a sentence: its last number. */
static int
wait_for_approval(const struct ca *ca, const struct outbound_answer *answer, const char *known, struct ca_answer *out)
{
	struct err none;
	CLEANUP(json) json_t *body = remote_json(&ca->remote, answer, &none);
	const char *words = remote_text(body, "error_message");
	size_t end = words == NULL ? 0 : strlen(words), begin;

	while (end > 0 && !isdigit((unsigned char)words[end - 1]))
		end--;
	for (begin = end; begin > 0 && isdigit((unsigned char)words[begin - 1]); begin--)
		continue;
	*out = (struct ca_answer){ .state = CA_WAITING,
		.retry_s = answer->retry_after_s == 0 ? WAIT_S : answer->retry_after_s };
	if (known[0] != '\0')
		(void)snprintf(out->reference, sizeof out->reference, "%s", known);
	else if (end - begin >= 1 && end - begin <= 20)
		(void)snprintf(out->reference, sizeof out->reference, "%.*s", (int)(end - begin), words + begin);
	return 0;
}

/* What came of a call that issues. */
static int
conclude(const struct ca *ca, const struct ca_request *request, const struct outbound_answer *answer, const char *known,
	struct ca_answer *out, struct err *e)
{
	if (answer->status == 200 || answer->status == 201)
		return take(ca, request, answer, out, e);
	if (answer->status == 202)
		return wait_for_approval(ca, answer, known, out);
	return judge(ca, answer, &out->retry_s, e) < 0 ? -1 : remote_unknown(out, "");
}

static int
ejbca_issue(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	CLEANUP(buf) struct buf csr = { 0 };
	CLEANUP(json) json_t *document = NULL;
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	struct remote_json_call call = { .method = "POST", .path = API "/pkcs10enroll" };
	char password[PASSWORD_MAX];
	int rc;

	if (remote_csr_pem(&ca->remote, request, &csr, e) != 0 || password_make(ca, request, password, e) != 0)
		return -1;
	document = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "certificate_request", buf_text(&csr),
		"certificate_profile_name", ca->profile, "end_entity_profile_name", ca->end_entity_profile,
		"certificate_authority_name", ca->authority, "username", request->request_id, "password", password,
		"include_chain", 0);
	call.document = document;
	rc = remote_json_once(&ca->remote, &call, &answer, e);
	if (rc == 0)
		remote_hide(&answer, bytes_of_text(password));
	OPENSSL_cleanse(password, sizeof password);
	if (rc != 0)
		return rc < 0 ? -1 : remote_unknown(out, "");
	return conclude(ca, request, &answer, "", out, e);
}

/* The results of a search for these; *body is the caller's. user NULL: whoever's. */
static int
search(struct ca *ca, const char *user, int max, json_t **body, int64_t *retry_s, struct err *e)
{
	CLEANUP(json) json_t *criteria = json_pack("[{s:s, s:s, s:s}, {s:s, s:s, s:s}]", "property", "CA", "value",
		ca->authority, "operation", "EQUAL", "property", "END_ENTITY_PROFILE", "value", ca->end_entity_profile,
		"operation", "EQUAL");
	CLEANUP(json) json_t *document = NULL;
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	struct remote_json_call call = { .method = "POST", .path = API "/search" };

	if (criteria != NULL && user != NULL && json_array_append_new(criteria, json_pack("{s:s, s:s, s:s}", "property",
		"QUERY", "value", user, "operation", "EQUAL")) != 0)
		return err_set(e, ERR_NOMEM, "%s: no memory for a search", ca->remote.name);
	document = json_pack("{s:i, s:O}", "max_number_of_results", max, "criteria", criteria);
	call.document = document;
	if (remote_json_again(&ca->remote, &call, &answer, e) != 0)
		return -1;
	if (answer.status != 200) {
		(void)judge(ca, &answer, retry_s, e);
		e->code = ERR_UPSTREAM; /* that a search is refused says nothing of the request */
		return -1;
	}
	*body = remote_json(&ca->remote, &answer, e);
	if (*body == NULL || json_is_array(json_object_get(*body, "certificates")))
		return *body == NULL ? -1 : 0;
	json_decref(*body);
	*body = NULL;
	return err_set(e, ERR_UPSTREAM, "%s: its search found nothing that is a list", ca->remote.name);
}

/*
 * A search shows revoked certificates, too: somebody there took it for one that nobody has, which is what they are told to look for.
 * It must not go to a device. Only a clear word counts.
 */
static bool
is_revoked(struct ca *ca, const char *serial)
{
	CLEANUP(json) json_t *body = NULL;
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	CLEANUP(buf) struct buf path = { 0 };
	struct remote_json_call call = { .method = "GET" };
	struct err none;

	buf_printf(&path, API "/%s/%s/revocationstatus", ca->issuer, serial);
	call.path = buf_text(&path);
	if (buf_failed(&path) || remote_json_again(&ca->remote, &call, &answer, &none) != 0 || answer.status != 200)
		return false;
	body = remote_json(&ca->remote, &answer, &none);
	return json_is_true(json_object_get(body, "revoked"));
}

/*
 * What a search found of the request's key, and another one when there are more. 1; 0: none; -1: it is revoked there.
 */
static int
take_found(struct ca *ca, const json_t *list, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	struct ca_answer good = { .state = CA_ABSENT }, taken = { 0 };
	int result = 0;
	size_t i;

	for (i = 0; i < json_array_size(list) && i < FOUND_MAX && good.second.len == 0; i++) {
		CLEANUP(buf) struct buf der = { 0 };
		struct err none;

		if (ejbca_certificate_put(json_array_get(list, i), &der, &none) != 0 ||
		    remote_take_der(&ca->remote, buf_bytes(&der), request, &taken, &none) != 0)
			continue;
		if (is_revoked(ca, taken.serial)) {
			result = err_set(e, ERR_UPSTREAM, "%s: it has issued %s for user %s, and it is revoked there; give the request up",
				ca->remote.name, taken.serial, request->request_id);
			ca_answer_free(&taken);
		} else if (good.state != CA_ISSUED)
			good = taken;
		else
			ca_answer_add(&good, &taken);
	}
	if (good.state != CA_ISSUED)
		return result;
	*out = good;
	return 1;
}

/*
 * 0 with CA_ISSUED or CA_ABSENT. Results that we may not see are left out there without a word, so nothing found
 * means nothing unless other certificates of the same CA and profile are shown to us.
 */
static int
look_for(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	CLEANUP(json) json_t *found = NULL;
	CLEANUP(json) json_t *others = NULL;
	const json_t *list;
	int taken;

	if (request->request_id == NULL)
		return err_set(e, ERR_BUG, "%s: a request without a name", ca->remote.name);
	if (search(ca, request->request_id, FOUND_MAX, &found, &out->retry_s, e) != 0)
		return -1;
	list = json_object_get(found, "certificates");
	taken = take_found(ca, list, request, out, e);
	if (taken != 0)
		return taken < 0 ? -1 : 0;
	if (json_array_size(list) != 0)
		return err_set(e, ERR_UPSTREAM, "%s: what it has for user %s is of another key; look there", ca->remote.name,
			request->request_id);
	if (search(ca, NULL, 1, &others, &out->retry_s, e) != 0)
		return -1;
	if (json_array_size(json_object_get(others, "certificates")) == 0)
		return err_set(e, ERR_UPSTREAM, "%s: it shows us no certificate at all, so none for user %s says nothing; may our "
			"role view end entities and certificates there?", ca->remote.name, request->request_id);
	*out = (struct ca_answer){ .state = CA_ABSENT };
	return 0;
}

static int
ejbca_reconcile(struct ca *ca, const struct ca_request *request, const char *reference, struct ca_answer *out,
	struct err *e)
{
	if (look_for(ca, request, out, e) != 0)
		return -1;
	/* The approval is there still, and sent again the request would be a second one: finalizing tells. */
	if (out->state == CA_ABSENT && reference != NULL && reference[0] != '\0') {
		*out = (struct ca_answer){ .state = CA_WAITING, .retry_s = WAIT_S };
		(void)snprintf(out->reference, sizeof out->reference, "%s", reference);
	}
	return 0;
}

/* Without the approval's number: until the search finds something. */
static int
poll_by_name(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	if (look_for(ca, request, out, e) != 0)
		return -1;
	if (out->state == CA_ABSENT)
		*out = (struct ca_answer){ .state = CA_WAITING, .retry_s = WAIT_S };
	return 0;
}

/*
 * It refuses to finalize. That is what it says, too, of an approval that was finalized before, by a call whose answer nobody got (the
 * process ended): there is a certificate then. So it is believed only when a search that works finds none.
 */
static int
refused(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	struct ca_answer found = { 0 };
	struct err none;

	if (look_for(ca, request, &found, &none) != 0) {
		out->retry_s = found.retry_s;
		e->code = ERR_UPSTREAM;
		return -1;
	}
	if (found.state != CA_ISSUED)
		return -1;
	*out = found;
	return 0;
}

static int
ejbca_poll(struct ca *ca, const struct ca_request *request, const char *reference, struct ca_answer *out,
	struct err *e)
{
	CLEANUP(json) json_t *document = NULL;
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	struct remote_json_call call = { .method = "POST" };
	char path[128], password[PASSWORD_MAX];
	size_t len = strlen(reference);
	int rc;

	if (len == 0)
		return poll_by_name(ca, request, out, e);
	if (len > 20 || strspn(reference, "0123456789") != len)
		return err_set(e, ERR_BUG, "%s: a reference that is no number", ca->remote.name);
	if (password_make(ca, request, password, e) != 0)
		return -1;
	(void)snprintf(path, sizeof path, API "/%s/finalize", reference);
	document = json_pack("{s:s, s:s}", "password", password, "response_format", "DER");
	call.path = path;
	call.document = document;
	rc = remote_json_once(&ca->remote, &call, &answer, e);
	if (rc == 0)
		remote_hide(&answer, bytes_of_text(password));
	OPENSSL_cleanse(password, sizeof password);
	if (rc != 0)
		return rc < 0 ? -1 : remote_unknown(out, "");
	rc = conclude(ca, request, &answer, reference, out, e);
	return rc != 0 && e->code == ERR_DENIED ? refused(ca, request, out, e) : rc;
}

/*
 * Is the certificate what `reason` makes of it, though the call said something else? What is done already is answered with 409, and so is
 * the release of what is not on hold: that may be good, or revoked for good. 1; 0: no, or it cannot be told; -1.
 */
static int
is_so(struct ca *ca, const char *serial, int reason, int said, struct err *e)
{
	CLEANUP(json) json_t *body = NULL;
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	CLEANUP(buf) struct buf path = { 0 };
	struct remote_json_call call = { .method = "GET" };
	const char *why;
	bool held;

	buf_printf(&path, API "/%s/%s/revocationstatus", ca->issuer, serial);
	call.path = buf_text(&path);
	if (buf_failed(&path))
		return err_set(e, ERR_NOMEM, "%s: no memory for a request", ca->remote.name);
	if (remote_json_again(&ca->remote, &call, &answer, e) != 0)
		return -1;
	body = answer.status == 200 ? remote_json(&ca->remote, &answer, e) : NULL;
	if (!json_is_boolean(json_object_get(body, "revoked"))) /* it does not say; 409 is "already revoked" by its documentation */
		return said == 409 && reason != CRL_REASON_REMOVE_FROM_CRL;
	if (!json_is_true(json_object_get(body, "revoked")))
		return reason == CRL_REASON_REMOVE_FROM_CRL;
	why = remote_text(body, "revocation_reason");
	held = why != NULL && strcmp(why, "CERTIFICATE_HOLD") == 0;
	if (reason == CRL_REASON_REMOVE_FROM_CRL && !held)
		return err_set(e, ERR_UNSUPPORTED, "%s: it is revoked there for good, so it cannot be released", ca->remote.name);
	return reason == CRL_REASON_CERTIFICATE_HOLD || (reason != CRL_REASON_REMOVE_FROM_CRL && !held);
}

static int
ejbca_revoke(struct ca *ca, const char *serial, struct bytes cert, int reason, int64_t now_s, struct err *e)
{
	static const char *const reasons[] = { "UNSPECIFIED", "KEY_COMPROMISE", "CA_COMPROMISE", "AFFILIATION_CHANGED",
		"SUPERSEDED", "CESSATION_OF_OPERATION", "CERTIFICATE_HOLD", NULL, "REMOVE_FROM_CRL", "PRIVILEGES_WITHDRAWN",
		"AA_COMPROMISE" };
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	CLEANUP(buf) struct buf path = { 0 };
	struct remote_json_call call = { .method = "PUT" };
	char decimal[REMOTE_DECIMAL_MAX];
	int64_t retry_s;
	int so;

	(void)cert;
	(void)now_s;
	if (reason < 0 || (size_t)reason >= sizeof reasons / sizeof reasons[0] || reasons[reason] == NULL)
		return err_set(e, ERR_MALFORMED, "%s: there is no reason %d", ca->remote.name, reason);
	if (remote_serial_decimal(serial, decimal, e) != 0)
		return -1;
	buf_printf(&path, API "/%s/%s/revoke?reason=%s", ca->issuer, serial, reasons[reason]);
	call.path = buf_text(&path);
	if (buf_failed(&path))
		return err_set(e, ERR_NOMEM, "%s: no memory for a request", ca->remote.name);
	if (remote_json_again(&ca->remote, &call, &answer, e) != 0)
		return -1;
	if (answer.status == 200 || answer.status == 204)
		return 0;
	/* 202: each call may ask for another approval; 400: one is asked for already. */
	so = answer.status == 409 || answer.status == 202 || answer.status == 400 ? is_so(ca, serial, reason, answer.status, e) :
		0;
	if (so != 0)
		return so < 0 ? -1 : 0;
	if (answer.status == 202)
		return err_set(e, ERR_PENDING, "%s: it waits for an approval there", ca->remote.name);
	(void)judge(ca, &answer, &retry_s, e);
	return -1;
}

static int
ejbca_check(struct ca *ca, struct err *e)
{
	CLEANUP(json) json_t *body = NULL;
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	struct remote_json_call call = { .method = "GET", .path = API "/status" };
	int64_t retry_s;
	const char *text;

	if (remote_json_again(&ca->remote, &call, &answer, e) != 0)
		return -1;
	if (answer.status != 200) {
		(void)judge(ca, &answer, &retry_s, e);
		e->code = ERR_UPSTREAM;
		return -1;
	}
	body = remote_json(&ca->remote, &answer, e);
	if (body == NULL)
		return -1;
	text = remote_text(body, "status");
	if (text == NULL || strcmp(text, "OK") != 0)
		return err_set(e, ERR_UPSTREAM, "%s: it does not say that it is well", ca->remote.name);
	return 0;
}

const struct ca_ops ca_ejbca = {
	.type = "ejbca",
	.remote = true,
	.open = ejbca_open,
	.issue = ejbca_issue,
	.poll = ejbca_poll,
	.reconcile = ejbca_reconcile,
	.revoke = ejbca_revoke,
	.holds = true,
	.check = ejbca_check,
	.chain = remote_chain,
	.verify = remote_verify,
	.close = ejbca_close,
};
