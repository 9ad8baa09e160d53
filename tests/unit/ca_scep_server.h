/*
 * ca_scep_server.h - a SCEP server made of the scep library, as the service of ca_std_fixture.h. One program, one server.
 */
#ifndef TESTS_UNIT_CA_SCEP_SERVER_H
#define TESTS_UNIT_CA_SCEP_SERVER_H

#include "tests/unit/ca_std_fixture.h"

#include "est/body.h"
#include "scep/build.h"
#include "scep/message.h"

#define MEDIA "application/x-pki-message"

static struct {
	const char *caps;
	EVP_PKEY *ra_key;
	X509 *ra;              /* what GetCACert names beside the issuing certificate */
	bool leave_out_issuing, other_key, no_certs, wrong_nonce, wrong_transaction;
	X509 *signer;          /* instead of ra */
	unsigned digest, cipher;
	int wait;
	enum scep_status status;
	enum scep_fail fail;
	enum scep_type types[32];
	size_t type_count, caps_count;
	char transaction[SCEP_TRANSACTION_MAX + 1];
	X509 *seen_signer;
	struct buf cert;
} api;

static inline X509 *
ra_make(struct fixture *f, X509 *issuer, EVP_PKEY *issuer_key)
{
	X509 *cert = cert_make(&(struct cert_wish){ .cn = "RA", .days = 5 }, api.ra_key, issuer, issuer_key);

	(void)f;
	extension_add(cert, issuer, NID_key_usage, "critical,digitalSignature,keyEncipherment");
	assert_true(X509_sign(cert, issuer_key, EVP_sha256()) > 0);
	return cert;
}

static inline void
answer_certs(struct fixture *f, struct reply *reply)
{
	CLEANUP(buf) struct buf ra = { 0 }, issuing = { 0 }, message = { 0 };
	struct bytes certs[2];

	assert_int_equal(x509_to_der(api.ra, &ra, &f->e), 0);
	assert_int_equal(x509_to_der(f->issuing, &issuing, &f->e), 0);
	certs[0] = buf_bytes(&ra);
	certs[1] = buf_bytes(&issuing);
	assert_int_equal(est_certs_encode(certs, api.leave_out_issuing ? 1 : 2, &message, &f->e), 0);
	reply_octets(reply, "application/x-x509-ca-ra-cert", buf_bytes(&message));
}

/* The certificate as certs-only, made at the first time. */
static inline void
content_make(struct fixture *f, struct buf *out)
{
	struct bytes one;

	if (api.no_certs) {
		buf_append_text(out, "none");
		return;
	}
	if (api.cert.len == 0 && api.other_key)
		service_issue_other(f, &api.cert);
	else if (api.cert.len == 0)
		service_issue(f, &api.cert);
	one = buf_bytes(&api.cert);
	assert_int_equal(est_certs_encode(&one, 1, out, &f->e), 0);
}

static inline void
answer_message(struct fixture *f, struct scep_message *message, struct reply *reply)
{
	STACK_OF(X509) *recipients = sk_X509_new_null();
	CLEANUP(buf) struct buf content = { 0 }, out = { 0 };
	struct scep_build build = { .type = SCEP_CERT_REP, .transaction = message->transaction,
		.recipient_nonce = bytes_of(message->sender_nonce, message->sender_nonce_len), .status = api.status,
		.fail = api.fail, .fail_text = "not today", .digest = api.digest, .cipher = api.cipher,
		.signer = api.signer != NULL ? api.signer : api.ra, .signer_key = api.ra_key, .recipients = recipients };
	uint8_t wrong[16] = { 1 };

	if (api.status == SCEP_SUCCESS && api.wait > 0) {
		api.wait--;
		build.status = SCEP_PENDING;
	}
	if (build.status == SCEP_SUCCESS) {
		content_make(f, &content);
		build.content = buf_bytes(&content);
	}
	if (api.wrong_nonce)
		build.recipient_nonce = bytes_of(wrong, sizeof wrong);
	if (api.wrong_transaction)
		build.transaction = "somebody-else";
	assert_true(sk_X509_push(recipients, message->signer) > 0);
	if (scep_build(&build, &out, &f->e) != 0)
		fail_msg("%s", f->e.text);
	sk_X509_free(recipients);
	reply_octets(reply, MEDIA, buf_bytes(&out));
}

static inline void
operation(struct fixture *f, const struct seen *seen, struct reply *reply)
{
	CLEANUP(scep_message) struct scep_message *message = NULL;
	struct scep_recipient ra = { .cert = api.ra, .key = api.ra_key };
	CLEANUP(buf) struct buf content = { 0 };
	enum scep_fail fail;

	assert_string_equal(seen->method, "POST");
	if (scep_message_parse(bytes_of(seen->body, seen->body_len), &message, &f->e) != 0 ||
	    scep_message_verify(message, SCEP_ALGORITHMS_DEFAULT | SCEP_ALGORITHMS_LEGACY, &fail, &f->e) != 0 ||
	    scep_message_decode(message, &f->e) != 0 || scep_message_open(message, &ra, 1, &content, &f->e) != 0)
		fail_msg("%s", f->e.text);
	if (message->type == SCEP_PKCS_REQ)
		assert_true(bytes_equal(buf_bytes(&content), buf_bytes(&f->csr)));
	assert_true(api.type_count < sizeof api.types / sizeof api.types[0]);
	api.types[api.type_count++] = message->type;
	api.digest = api.digest != 0 ? api.digest : message->digest;
	api.cipher = api.cipher != 0 ? api.cipher : message->cipher;
	(void)snprintf(api.transaction, sizeof api.transaction, "%s", message->transaction);
	X509_free(api.seen_signer);
	api.seen_signer = X509_dup(message->signer);
	answer_message(f, message, reply);
}

static inline void
service(struct tls_server *server, const struct seen *seen, struct reply *reply)
{
	struct fixture *f = server->arg;

	if (strcmp(seen->path, "/scep?operation=GetCACaps&message=plant") == 0) {
		api.caps_count++;
		*reply = reply_of(200, api.caps);
	} else if (strcmp(seen->path, "/scep?operation=GetCACert&message=plant") == 0) {
		answer_certs(f, reply);
	} else {
		assert_string_equal(seen->path, "/scep?operation=PKIOperation");
		operation(f, seen, reply);
	}
}

static inline void
open_scep(struct fixture *f)
{
	static char url[128];

	if (api.ra == NULL)
		api.ra = ra_make(f, f->issuing, f->issuing_key);
	(void)snprintf(url, sizeof url, "%s/scep", f->server->url);
	f->settings.url = url;
	f->settings.profile = "plant";
	f->settings.secret_file = NULL;
	f->request.now_s = (int64_t)time(NULL);
	open_ca(f, "scep", service);
}

/* GetCACaps and GetCACert are behind us: the next request is the one that issues. */
static inline void
prime(struct fixture *f)
{
	issue_ok(f);
	f->made = 0;
	buf_free(&api.cert);
}

static inline int
setup(void **state)
{
	struct err e;

	memset(&api, 0, sizeof api);
	api.caps = "AES\nPOSTPKIOperation\nSHA-256\nSHA-1\nDES3\n";
	assert_int_equal(scep_init(&e), 0);
	api.ra_key = EVP_RSA_gen(2048);
	assert_non_null(api.ra_key);
	return fixture_setup(state);
}

static inline int
teardown(void **state)
{
	X509_free(api.ra);
	X509_free(api.signer);
	X509_free(api.seen_signer);
	EVP_PKEY_free(api.ra_key);
	buf_free(&api.cert);
	return fixture_teardown(state);
}

#endif
