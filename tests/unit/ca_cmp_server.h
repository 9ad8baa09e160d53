/*
 * ca_cmp_server.h - a CMP server made of OpenSSL's own server half, as the service of ca_std_fixture.h. One program, one server.
 */
#ifndef TESTS_UNIT_CA_CMP_SERVER_H
#define TESTS_UNIT_CA_CMP_SERVER_H

#include "tests/unit/ca_std_fixture.h"

#include "tests/ca/cmp_service.h"

#define MEDIA CMP_MEDIA

static struct {
	OSSL_CMP_SRV_CTX *srv;
	bool by_secret;
	bool other_key, wrong_spec;
	int wait;              /* polls before there is a certificate */
	int fail;              /* bit of PKIFailureInfo; -1: none */
	const char *words;
	int hostile_at;        /* a message of this type gets the answer below, once */
	struct reply hostile;
	X509 *signer;          /* of the server's messages */
	EVP_PKEY *signer_key;
	OSSL_CMP_MSG *kept;    /* the request that waits */
	int types[32];
	size_t type_count, confirmed, refused, revoked;
	char revoked_serial[SERIAL_HEX_MAX];
	bool already_revoked;
	uint8_t transaction[16];
} api;

static inline OSSL_CMP_PKISI *
certify(OSSL_CMP_SRV_CTX *srv, const OSSL_CMP_MSG *req, int id, const OSSL_CRMF_MSG *crm, const X509_REQ *p10cr,
	X509 **cert_out, STACK_OF(X509) **chain_out, STACK_OF(X509) **ca_pubs)
{
	struct fixture *f = OSSL_CMP_SRV_CTX_get0_custom_ctx(srv);
	CLEANUP(buf) struct buf cert = { 0 };

	(void)id;
	(void)crm;
	(void)p10cr;
	(void)chain_out;
	(void)ca_pubs;
	if (api.fail >= 0)
		return cmp_reject(api.fail, api.words);
	if (api.wait > 0) {
		OSSL_CMP_MSG_free(api.kept);
		api.kept = OSSL_CMP_MSG_dup(req);
		return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_waiting, 0, NULL);
	}
	if (api.other_key)
		service_issue_other(f, &cert);
	else
		service_issue(f, &cert);
	assert_int_equal(x509_from_der(buf_bytes(&cert), cert_out, &f->e), 0);
	return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_accepted, 0, NULL);
}

static inline OSSL_CMP_PKISI *
on_revoke(OSSL_CMP_SRV_CTX *srv, const OSSL_CMP_MSG *req, const X509_NAME *issuer, const ASN1_INTEGER *serial)
{
	struct fixture *f = OSSL_CMP_SRV_CTX_get0_custom_ctx(srv);

	(void)req;
	assert_int_equal(X509_NAME_cmp(issuer, X509_get_subject_name(f->issuing)), 0);
	cmp_serial_hex(serial, api.revoked_serial);
	api.revoked++;
	if (api.already_revoked)
		return cmp_reject(OSSL_CMP_PKIFAILUREINFO_certRevoked, NULL);
	if (api.fail >= 0)
		return cmp_reject(api.fail, api.words);
	return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_accepted, 0, NULL);
}

static inline int
confirmation(OSSL_CMP_SRV_CTX *srv, const OSSL_CMP_MSG *req, int id, const ASN1_OCTET_STRING *hash,
	const OSSL_CMP_PKISI *status)
{
	(void)srv;
	(void)req;
	(void)id;
	(void)hash;
	if (cmp_accepts(status))
		api.confirmed++;
	else
		api.refused++;
	return 1;
}

static inline int
polled(OSSL_CMP_SRV_CTX *srv, const OSSL_CMP_MSG *req, int id, OSSL_CMP_MSG **request, int64_t *check_after)
{
	(void)srv;
	(void)req;
	(void)id;
	*request = NULL;
	*check_after = 7;
	if (api.kept == NULL)
		return 0;
	if (--api.wait > 0)
		return 1;
	*request = api.kept;
	api.kept = NULL;
	return 1;
}

static inline void
note(const OSSL_CMP_MSG *message)
{
	const ASN1_OCTET_STRING *id = OSSL_CMP_HDR_get0_transactionID(OSSL_CMP_MSG_get0_header(message));

	assert_non_null(id);
	assert_int_equal(ASN1_STRING_length(id), 16);
	memcpy(api.transaction, ASN1_STRING_get0_data(id), 16);
	assert_true(api.type_count < sizeof api.types / sizeof api.types[0]);
	api.types[api.type_count++] = OSSL_CMP_MSG_get_bodytype(message);
}

static inline void
service(struct tls_server *server, const struct seen *seen, struct reply *reply)
{
	CLEANUP(buf) struct buf answer = { 0 };
	OSSL_CMP_MSG *request;
	char value[80];

	(void)server;
	assert_string_equal(seen_header(seen, "Content-Type", value, sizeof value), MEDIA);
	assert_string_equal(seen->path, "/cmp/p/plant");
	request = cmp_service_decode(bytes_of(seen->body, seen->body_len));
	assert_non_null(request);
	note(request);
	if (api.hostile_at == OSSL_CMP_MSG_get_bodytype(request)) {
		*reply = api.hostile;
		api.hostile_at = -1;
		OSSL_CMP_MSG_free(request);
		return;
	}
	assert_true(cmp_service_answer(api.srv, request, &answer));
	OSSL_CMP_MSG_free(request);
	reply_octets(reply, MEDIA, buf_bytes(&answer));
}

/* The server's half; our answers are signed by its CA, or by whom api.signer names. */
static inline void
server_make(struct fixture *f)
{
	static const struct cmp_callbacks callbacks = { certify, on_revoke, confirmation, polled };
	OSSL_CMP_CTX *ctx;
	X509_STORE *store = X509_STORE_new();

	OSSL_CMP_SRV_CTX_free(api.srv);
	api.srv = cmp_service_new(f, &callbacks);
	assert_true(api.srv != NULL && store != NULL);
	ctx = OSSL_CMP_SRV_CTX_get0_cmp_ctx(api.srv);
	assert_int_equal(X509_STORE_add_cert(store, f->certs.ca), 1);
	if (api.by_secret) {
		assert_int_equal(OSSL_CMP_CTX_set1_secretValue(ctx, (const unsigned char *)SECRET, (int)strlen(SECRET)), 1);
		assert_int_equal(OSSL_CMP_CTX_set1_referenceValue(ctx, (const unsigned char *)"ca", 2), 1);
		X509_STORE_free(store);
		return;
	}
	assert_int_equal(OSSL_CMP_CTX_set0_trustedStore(ctx, store), 1);
	assert_int_equal(OSSL_CMP_CTX_set1_cert(ctx, api.signer != NULL ? api.signer : f->issuing), 1);
	assert_int_equal(OSSL_CMP_CTX_set1_pkey(ctx, api.signer != NULL ? api.signer_key : f->issuing_key), 1);
}

/* Who signs for the server: a certificate of its CA with an extended key usage, or none. */
static inline void
signer_make(struct fixture *f, const char *usage)
{
	api.signer = cert_make(&(struct cert_wish){ .cn = "signer", .days = 5 }, f->certs.key, f->issuing, f->issuing_key);
	api.signer_key = f->certs.key;
	if (usage != NULL)
		extension_add(api.signer, f->issuing, NID_ext_key_usage, usage);
	assert_true(X509_sign(api.signer, f->issuing_key, EVP_sha256()) > 0);
}

static inline void
open_cmp(struct fixture *f, bool by_secret)
{
	static char url[128];

	api.by_secret = by_secret;
	if (!by_secret && api.signer == NULL)
		signer_make(f, "1.3.6.1.5.5.7.3.28");
	server_make(f);
	(void)snprintf(url, sizeof url, "%s/cmp/p/plant", f->server->url);
	f->settings.url = url;
	f->settings.auth = by_secret ? "secret" : "signature";
	f->settings.user = by_secret ? "gateway" : NULL;
	f->settings.secret_file = by_secret ? f->secret_file : NULL;
	f->settings.client_cert = by_secret ? NULL : f->certs.client_file;
	f->settings.client_key = by_secret ? NULL : f->certs.client_key;
	open_ca(f, "cmp", service);
}

static inline int
setup(void **state)
{
	memset(&api, 0, sizeof api);
	api.fail = -1;
	api.hostile_at = -1;
	return fixture_setup(state);
}

static inline int
teardown(void **state)
{
	struct fixture *f = *state;

	server_stop(f->server);
	OSSL_CMP_SRV_CTX_free(api.srv);
	OSSL_CMP_MSG_free(api.kept);
	X509_free(api.signer);
	f->server = NULL;
	return fixture_teardown(state);
}

#endif
