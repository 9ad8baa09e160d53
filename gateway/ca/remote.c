#define _GNU_SOURCE
#include "gateway/ca/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/jsontext.h"
#include "base/text.h"
#include "base/timefmt.h"
#include "gateway/ca/chain.h"
#include "gateway/ca/leaf.h"

#define WORDS_SHOWN 120

int
remote_open(struct remote *remote, const struct ca_settings *settings, struct err *e)
{
	struct outbound_settings client = { .name = remote->name, .base_url = settings->url, .ca_file = settings->tls_ca,
		.allow_plain = settings->allow_plain, .cert_file = settings->client_cert, .key_file = settings->client_key,
		.connect_ms = settings->connect_ms == 0 ? CA_CONNECT_MS : settings->connect_ms,
		.deadline_ms = settings->deadline_ms == 0 ? CA_DEADLINE_MS : settings->deadline_ms,
		.answer_max = REMOTE_ANSWER_MAX,
		.calls_max = settings->calls_max == 0 ? REMOTE_CALLS_MAX : settings->calls_max };

	(void)snprintf(remote->name, sizeof remote->name, "ca %s", settings->name);
	remote->deadline_ms = client.deadline_ms;
	if (client.connect_ms > client.deadline_ms)
		client.connect_ms = client.deadline_ms;
	if (ca_chain_load(settings, &remote->chain, e) != 0 || ca_chain_check(remote->chain, e) != 0)
		return err_prefix(e, "%s", remote->name);
	if (path_open(remote->chain, &remote->path, e) != 0)
		return err_prefix(e, "%s", remote->name);
	if (verifier_new(X509_get0_pubkey(sk_X509_value(remote->chain, 0)), ossl_sha256(), &remote->verifier, e) != 0)
		ERR_clear_error(); /* a key that does not sign with SHA-256: see remote_verify() */
	if (settings->secret_file != NULL && secret_file_read(settings->secret_file, &remote->secret, e) != 0)
		return err_prefix(e, "%s", remote->name);
	return remote_need(remote, "url", settings->url, e) != 0 ? -1 : outbound_open(&client, &remote->client, e);
}

int
remote_make(const struct remote_kind *kind, const struct ca_settings *settings, struct ca **out, struct err *e)
{
	struct ca_settings transport = *settings;
	struct ca *ca = calloc(1, kind->size);

	if (ca == NULL)
		return err_set(e, ERR_NOMEM, "no memory for a CA");
	if (kind->signs && settings->client_key != NULL && strncasecmp(settings->client_key, "pkcs11:", 7) == 0)
		transport.client_cert = transport.client_key = NULL;
	if (remote_open((void *)ca, &transport, e) != 0 || kind->parts(ca, settings, e) != 0) {
		kind->close(ca);
		return -1;
	}
	*out = ca;
	return 0;
}

void
remote_close(struct remote *remote)
{
	outbound_close(remote->client);
	verifier_free(remote->verifier);
	path_close(&remote->path);
	buf_free_secret(&remote->secret);
	x509_stack_free(remote->chain);
}

const STACK_OF(X509) *
remote_chain(const struct ca *ca)
{
	const struct remote *remote = (const void *)ca;

	return remote->chain;
}

int
remote_verify(const struct ca *ca, struct bytes cert, const struct ca_request *request, struct err *e)
{
	const struct remote *remote = (const void *)ca;

	if (leaf_verify(cert, request, sk_X509_value(remote->chain, 0), remote->verifier, e) != 0 ||
	    path_check_at(&remote->path, cert, request->now_s, e) != 0)
		return err_prefix(e, "the CA's certificate is not what was approved");
	return 0;
}

int
remote_reach(struct ca *ca, struct err *e)
{
	struct remote *remote = (void *)ca;

	return outbound_reach(remote->client, NULL, e);
}

int
remote_signer(const struct remote *remote, const struct ca_settings *settings, STACK_OF(X509) **certs, EVP_PKEY **key,
	struct err *e)
{
	if (remote_need(remote, "client_cert", settings->client_cert, e) != 0 ||
	    remote_need(remote, "client_key", settings->client_key, e) != 0)
		return -1;
	if (x509_load_file(settings->client_cert, certs, e) != 0 || key_open(settings->client_key, key, e) != 0)
		return err_prefix(e, "%s", remote->name);
	if (X509_check_private_key(sk_X509_value(*certs, 0), *key) == 1)
		return 0;
	ERR_clear_error();
	return err_set(e, ERR_MALFORMED, "%s: client_key is not client_cert's", remote->name);
}

int
remote_need(const struct remote *remote, const char *what, const char *setting, struct err *e)
{
	if (setting == NULL || setting[0] == '\0')
		return err_set(e, ERR_MALFORMED, "%s: %s is missing", remote->name, what);
	return 0;
}

int
remote_reason_check(const struct remote *remote, int reason, struct err *e)
{
	if (reason < 0 || reason > 10 || reason == 7) /* RFC 5280, section 5.3.1: value 7 is not used */
		return err_set(e, ERR_MALFORMED, "%s: there is no reason %d", remote->name, reason);
	if (reason == CRL_REASON_CERTIFICATE_HOLD || reason == CRL_REASON_REMOVE_FROM_CRL)
		return err_set(e, ERR_UNSUPPORTED, "%s: it cannot hold a certificate and release it again; revoke for good",
			remote->name);
	return 0;
}

int
remote_call_once(struct remote *remote, struct outbound_request *request, struct outbound_answer *out, struct err *e)
{
	struct outbound_request once = *request;
	bool sent = false;

	once.once = true;
	once.sent = &sent;
	if (outbound_call(remote->client, &once, out, e) == 0)
		return 0;
	return sent ? 1 : -1;
}

static int
take_leaf(const struct remote *remote, const LEAF *leaf, const struct ca_request *request, struct ca_answer *out,
	struct err *e)
{
	struct ca_answer answer = { .state = CA_ISSUED };

	if (asn1_serial_hex(leaf->tbs->serial, answer.serial, e) != 0)
		return err_prefix(e, "%s: the certificate it sent", remote->name);
	if (asn1_time_s(leaf->tbs->validity->notBefore, &answer.not_before_s) != 0 ||
	    asn1_time_s(leaf->tbs->validity->notAfter, &answer.not_after_s) != 0)
		return err_set(e, ERR_MALFORMED, "%s: the certificate it sent: its validity is not a time", remote->name);
	if (!leaf_has_key(leaf, request->spki))
		return err_set(e, ERR_DENIED, "%s: it sent a certificate of another key, serial number %s; find out whose it is",
			remote->name, answer.serial);
	if (leaf_encode(leaf, &answer.cert, e) != 0) {
		buf_free(&answer.cert);
		return -1;
	}
	*out = answer;
	return 0;
}

int
remote_take_der(const struct remote *remote, struct bytes der, const struct ca_request *request, struct ca_answer *out,
	struct err *e)
{
	CLEANUP(leaf) LEAF *leaf = NULL;

	if (leaf_parse(der, &leaf, e) != 0) {
		e->code = e->code == ERR_NOMEM ? ERR_NOMEM : ERR_DENIED;
		return err_prefix(e, "%s: what it sent is no certificate", remote->name);
	}
	return take_leaf(remote, leaf, request, out, e);
}

static X509 *
read_pem(struct bytes pem)
{
	CLEANUP(BIO) BIO *bio = pem.len > REMOTE_ANSWER_MAX ? NULL : BIO_new_mem_buf(pem.at, (int)pem.len);
	X509 *cert = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, pem_no_password, NULL);

	if (cert == NULL)
		ERR_clear_error();
	return cert;
}

int
remote_is_issuer(const struct remote *remote, const char *pem, struct err *e)
{
	CLEANUP(X509) X509 *cert = read_pem(bytes_of_text(pem));
	char name[80];

	if (cert != NULL && X509_cmp(cert, sk_X509_value(remote->chain, 0)) == 0)
		return 0;
	if (cert == NULL)
		return err_set(e, ERR_UPSTREAM, "%s: the certificate it says it issues with is none", remote->name);
	x509_name_text(X509_get_subject_name(cert), name, sizeof name);
	return err_set(e, ERR_UPSTREAM, "%s: it issues with another certificate (\"%s\") than the configured one", remote->name,
		name);
}

/* Nothing in such an answer says which request it is for: one that does not fit may be another's, and ours be lost. */
int
remote_issued_der(const struct remote *remote, struct bytes der, const struct ca_request *request,
	const char *reference, struct ca_answer *out, struct err *e)
{
	CLEANUP(leaf) LEAF *leaf = NULL;

	if (leaf_parse(der, &leaf, e) != 0)
		(void)err_set(e, ERR_UPSTREAM, "%s: it says that it issued, and sent no certificate that can be read", remote->name);
	else if (take_leaf(remote, leaf, request, out, e) == 0)
		return 0;
	e->code = ERR_UPSTREAM;
	return remote_unknown(out, reference);
}

int
remote_issued_pem(const struct remote *remote, const char *pem, const struct ca_request *request,
	const char *reference, struct ca_answer *out, struct err *e)
{
	size_t len = pem == NULL ? 0 : strlen(pem);
	CLEANUP(BIO) BIO *bio = len == 0 || len > REMOTE_ANSWER_MAX ? NULL : BIO_new_mem_buf(pem, (int)len);
	uint8_t *der = NULL;
	long der_len = 0;
	int result;

	if (bio == NULL || PEM_bytes_read_bio(&der, &der_len, NULL, PEM_STRING_X509, bio, pem_no_password, NULL) != 1)
		ERR_clear_error();
	result = remote_issued_der(remote, bytes_of(der, (size_t)der_len), request, reference, out, e);
	OPENSSL_free(der);
	return result;
}

static int
append_json(const char *at, size_t len, void *out)
{
	buf_append(out, at, len);
	return 0;
}

/* 0, 1 or -1 as remote_call_once(). */
static int
call_json(struct remote *remote, const struct remote_json_call *call, bool once, struct outbound_answer *out,
	struct err *e)
{
	CLEANUP(secret_buf) struct buf body = { 0 };
	struct outbound_header headers[3] = { { "Accept", "application/json" } };
	struct outbound_request request = { .method = call->method, .path_or_url = call->path, .headers = headers,
		.header_count = 1 };

	if (call->document == NULL && strcmp(call->method, "POST") == 0)
		return err_set(e, ERR_NOMEM, "%s: no memory for a request", remote->name);
	if (call->header != NULL)
		headers[request.header_count++] = *call->header;
	if (call->document != NULL) {
		if (json_dump_callback(call->document, append_json, &body, JSON_COMPACT) != 0 || buf_failed(&body))
			return err_set(e, ERR_NOMEM, "%s: no memory for a request", remote->name);
		headers[request.header_count++] = (struct outbound_header){ "Content-Type", "application/json" };
		request.body = buf_bytes(&body);
	}
	return once ? remote_call_once(remote, &request, out, e) : outbound_call(remote->client, &request, out, e);
}

int
remote_json_once(struct remote *remote, const struct remote_json_call *call, struct outbound_answer *out, struct err *e)
{
	return call_json(remote, call, true, out, e);
}

int
remote_json_again(struct remote *remote, const struct remote_json_call *call, struct outbound_answer *out, struct err *e)
{
	return call_json(remote, call, false, out, e);
}

const char *
remote_text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

json_t *
remote_json(const struct remote *remote, const struct outbound_answer *answer, struct err *e)
{
	json_t *body = !json_is_shallow(buf_bytes(&answer->body)) ? NULL :
		json_loadb((const char *)answer->body.at, answer->body.len, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(body))
		return body;
	json_decref(body);
	(void)err_set(e, ERR_UPSTREAM, "%s: its answer (HTTP %d) is no JSON object", remote->name, answer->status);
	return NULL;
}

int
remote_unknown(struct ca_answer *out, const char *reference)
{
	*out = (struct ca_answer){ .state = CA_UNKNOWN };
	(void)snprintf(out->reference, sizeof out->reference, "%s", reference);
	return 0;
}

bool
remote_holds_secret(const struct remote *remote, const char *words)
{
	return remote->secret.len != 0 && memmem(words, strlen(words), remote->secret.at, remote->secret.len) != NULL;
}

void
remote_hide(struct outbound_answer *answer, struct bytes secret)
{
	uint8_t *at = answer->body.at, *found;
	size_t left = answer->body.len;

	while (secret.len != 0 && left >= secret.len && (found = memmem(at, left, secret.at, secret.len)) != NULL) {
		memset(found, '*', secret.len);
		left -= (size_t)(found - at) + secret.len;
		at = found + secret.len;
	}
}

/*
 * Envoy's 503 for a connection to the service that ended: "upstream connect error or disconnect/reset before headers. reset
 * reason: connection termination". The service had the request, unless it could not be connected to.
 */
static bool
was_cut_off(const struct outbound_answer *answer)
{
	static const char cut[] = "disconnect/reset before headers", unconnected[] = "connection failure";
	struct bytes body = buf_bytes(&answer->body);

	return answer->status == 503 && body.len != 0 && memmem(body.at, body.len, cut, sizeof cut - 1) != NULL &&
		memmem(body.at, body.len, unconnected, sizeof unconnected - 1) == NULL;
}

int
remote_status(const struct remote *remote, const struct outbound_answer *answer, const char *words, int64_t *retry_s,
	struct err *e)
{
	char shown[WORDS_SHOWN + 1];

	text_escape(shown, sizeof shown, words == NULL || remote_holds_secret(remote, words) ? bytes_of_text("") :
		bytes_of_text(words));
	/* RFC 9110, section 10.2.3, and RFC 6585, section 4: what else Retry-After stands on is no word on when to send it again. */
	*retry_s = answer->status == 429 || answer->status == 503 ? answer->retry_after_s : 0;
	switch (was_cut_off(answer) ? 0 : answer->status) {
	case 301:
	case 307:
	case 308:
		return err_set(e, ERR_UPSTREAM, "%s: HTTP %d, it is elsewhere; nothing follows a redirect: set url to %s",
			remote->name, answer->status, answer->location[0] == '\0' ? "where it is" : answer->location);
	case 401:
		return err_set(e, ERR_UPSTREAM, "%s: HTTP 401; check our credentials there: %s", remote->name, shown);
	case 408:
	case 425:
	case 429:
	case 503:
		return err_set(e, ERR_UPSTREAM, "%s: HTTP %d, it is busy: %s", remote->name, answer->status, shown);
	default:
		break;
	}
	if (answer->status >= 400 && answer->status < 500)
		return err_set(e, ERR_DENIED, "%s: HTTP %d, it refuses: %s", remote->name, answer->status, shown);
	(void)err_set(e, ERR_UPSTREAM, "%s: HTTP %d, and whether it issued is not known: %s", remote->name, answer->status,
		shown);
	return 1;
}

const char *
remote_rdn(const struct cert_spec *spec, const char *oid)
{
	size_t i;

	for (i = 0; i < spec->rdn_count; i++)
		if (strcmp(spec->rdns[i].oid, oid) == 0)
			return spec->rdns[i].value;
	return NULL;
}

const char *
remote_common_name(const struct cert_spec *spec)
{
	return remote_rdn(spec, "2.5.4.3");
}

json_t *
remote_names_json(const struct cert_spec *spec)
{
	CLEANUP(json) json_t *names = json_array();
	json_t *out;
	size_t i;

	for (i = 0; i < spec->san_count; i++)
		if (json_array_append_new(names, json_string(spec->sans[i].value)) != 0)
			return NULL;
	out = names;
	names = NULL;
	return out;
}

json_t *
remote_time_json(int64_t at_s)
{
	char text[TIME_TEXT_MAX];

	time_text(at_s, text);
	return json_string(text);
}

int
remote_serial_decimal(const char *hex, char out[REMOTE_DECIMAL_MAX], struct err *e)
{
	BIGNUM *number = NULL;
	char *text = NULL;
	const char *digits = hex + (hex[0] == '-');
	size_t len = strlen(digits);

	if (len == 0 || len >= SERIAL_ANY_MAX - 1 || strspn(digits, "0123456789abcdefABCDEF") != len)
		return err_set(e, ERR_MALFORMED, "a serial number that is no hexadecimal text");
	if (BN_hex2bn(&number, hex) != 0)
		text = BN_bn2dec(number);
	BN_free(number);
	if (text == NULL)
		return err_ossl(e, ERR_NOMEM, "a serial number");
	(void)snprintf(out, REMOTE_DECIMAL_MAX, "%s", text);
	OPENSSL_free(text);
	return 0;
}

void
remote_sans(const struct cert_spec *spec, enum spec_san_type type, struct buf *out)
{
	size_t i;

	for (i = 0; i < spec->san_count; i++) {
		if (spec->sans[i].type != type)
			continue;
		if (out->len != 0)
			buf_append_u8(out, ',');
		buf_append_text(out, spec->sans[i].value);
	}
}

int
remote_need_csr(const struct remote *remote, const struct ca_request *request, struct err *e)
{
	if (request->csr.len == 0)
		return err_set(e, ERR_UNSUPPORTED, "%s: it wants the device's own request, and a key made here has none",
			remote->name);
	return 0;
}

int
remote_csr_pem(const struct remote *remote, const struct ca_request *request, struct buf *out, struct err *e)
{
	if (remote_need_csr(remote, request, e) != 0)
		return -1;
	buf_append_text(out, "-----BEGIN CERTIFICATE REQUEST-----\n");
	base64_encode(out, request->csr, 64);
	buf_append_text(out, "-----END CERTIFICATE REQUEST-----\n");
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for a request") : 0;
}
