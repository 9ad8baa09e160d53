/*
 * ca_remote_fixture.h - a CA made of the TLS test server, with its own chain and key, and a request for it. For the tests
 * of connectors that speak HTTP.
 */
#ifndef TESTS_UNIT_CA_REMOTE_FIXTURE_H
#define TESTS_UNIT_CA_REMOTE_FIXTURE_H

#include "tests/unit/tls_server.h"

#include <fcntl.h>

#include <jansson.h>

#include "gateway/ca/remote.h"

#define NOW_S   INT64_C(1790000000)
#define DAY_S   INT64_C(86400)
#define SECRET  "00112233445566778899aabbccddeeff"
#define SUBJECT "rtr-7"
#define test(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

struct fixture {
	struct certs certs; /* the service's TLS, and certs.key: the device's, too */
	EVP_PKEY *issuing_key, *device_key;
	X509 *root, *issuing;
	char issuing_file[128], root_file[128], secret_file[128];
	const char *chain[1];
	struct buf csr, spki;
	char eku[1][64];
	struct cert_spec spec;
	struct ca_request request;
	struct ca_settings settings;
	struct tls_server *server;
	const struct ca_ops *ops;
	struct ca *ca;
	struct ca_answer answer;
	struct err e;
	/* guarded by the server's lock */
	answer_fn *service;  /* plays the API */
	struct reply hostile; /* said instead, once, when status or raw or hang or close says so */
	bool always_hostile;
	char serial[SERIAL_ANY_MAX]; /* of the last certificate it made */
	size_t made;
};

static inline EVP_PKEY *
fixture_key(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");

	assert_non_null(key);
	return key;
}

static inline X509 *
fixture_ca(const char *cn, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key)
{
	struct ca_make make = { .common_name = cn, .organisation = "Example Works", .key = key, .issuer = issuer,
		.issuer_key = issuer_key, .path_len = -1, .not_before_s = NOW_S - 365 * DAY_S,
		.not_after_s = NOW_S + 3650 * DAY_S };
	struct err e = { 0 };
	X509 *cert = NULL;

	if (ca_make_certificate(&make, &cert, &e) != 0)
		fail_msg("%s", e.text);
	return cert;
}

static inline void
request_make(struct fixture *f)
{
	X509_REQ *req = X509_REQ_new();
	X509_NAME *name = X509_NAME_new();
	unsigned char *der = NULL;
	int len;

	assert_true(req != NULL && name != NULL);
	assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)SUBJECT, -1, -1, 0), 1);
	assert_int_equal(X509_REQ_set_subject_name(req, name), 1);
	assert_int_equal(X509_REQ_set_pubkey(req, f->device_key), 1);
	assert_true(X509_REQ_sign(req, f->device_key, EVP_sha256()) > 0);
	len = i2d_X509_REQ(req, &der);
	assert_true(len > 0);
	buf_append(&f->csr, der, (size_t)len);
	OPENSSL_free(der);
	der = NULL;
	len = i2d_PUBKEY(f->device_key, &der);
	assert_true(len > 0);
	buf_append(&f->spki, der, (size_t)len);
	OPENSSL_free(der);
	X509_REQ_free(req);
	X509_NAME_free(name);
	f->spec = (struct cert_spec){
		.rdns = { { "2.5.4.10", "Zürcher \"Werke\"" }, { "2.5.4.3", SUBJECT }, { "2.5.4.5", "SN-1234" } }, .rdn_count = 3,
		.sans = { { SPEC_SAN_DNS, "rtr-7.example.net" }, { SPEC_SAN_URI, "urn:dev:sn:1234" },
			{ SPEC_SAN_IP, "192.0.2.7" }, { SPEC_SAN_IP, "2001:db8::7" }, { SPEC_SAN_EMAIL, "ops@example.net" } },
		.san_count = 5, .key_usage = USAGE_DIGITAL_SIGNATURE, .eku = (const char (*)[64])f->eku, .eku_count = 1,
		.not_before_s = NOW_S - 300, .not_after_s = NOW_S + 90 * DAY_S };
	(void)snprintf(f->eku[0], sizeof f->eku[0], "1.3.6.1.5.5.7.3.2");
	f->request = (struct ca_request){ .spec = &f->spec, .spki = buf_bytes(&f->spki), .key_kind = KEY_EC_P256,
		.csr = buf_bytes(&f->csr), .now_s = NOW_S, .request_id = "gw-17-0" };
}

/* A certificate of this key by the service's CA, as PEM; f->serial names it. */
static inline void
service_certify(struct fixture *f, EVP_PKEY *key, char *out, size_t size)
{
	X509 *cert = cert_make(&(struct cert_wish){ .cn = SUBJECT, .days = 5 }, key, f->issuing, f->issuing_key);
	BIO *bio = BIO_new(BIO_s_mem());
	char *at = NULL;
	long len;

	assert_non_null(bio);
	assert_int_equal(PEM_write_bio_X509(bio, cert), 1);
	len = BIO_get_mem_data(bio, &at);
	assert_true(len > 0 && (size_t)len < size);
	memcpy(out, at, (size_t)len);
	out[len] = '\0';
	assert_int_equal(x509_serial_hex(cert, f->serial, &f->e), 0);
	BIO_free(bio);
	X509_free(cert);
	f->made++;
}

/* A JSON object into the reply; the object is taken. */
static inline void
reply_json(struct reply *reply, int status, json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT);

	assert_non_null(text);
	assert_true(strlen(text) < sizeof reply->body);
	(void)snprintf(reply->body, sizeof reply->body, "%s", text);
	(void)snprintf(reply->headers, sizeof reply->headers, "Content-Type: application/json\r\n");
	reply->status = status;
	free(text);
	json_decref(object);
}

static inline json_t *
seen_json(const struct seen *seen)
{
	json_t *body = json_loads(seen->body, JSON_REJECT_DUPLICATES, NULL);

	assert_non_null(body);
	return body;
}

static inline const char *
member(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text == NULL ? "(none)" : text;
}

static inline bool
is_hostile(const struct reply *reply)
{
	return reply->status != 0 || reply->raw != NULL || reply->hang || reply->close;
}

static inline void
fixture_answer(struct tls_server *server, const struct seen *seen, struct reply *reply)
{
	struct fixture *f = server->arg;

	if (!is_hostile(&f->hostile)) {
		f->service(server, seen, reply);
		return;
	}
	*reply = f->hostile;
	if (!f->always_hostile)
		f->hostile = (struct reply){ 0 };
}

static inline int
fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	certs_make(&f->certs);
	assert_int_equal(key_init(&f->e), 0);
	f->issuing_key = fixture_key();
	f->device_key = fixture_key();
	f->root = fixture_ca("Test Root", f->certs.ca_key, NULL, NULL);
	f->issuing = fixture_ca("Test Issuing", f->issuing_key, f->root, f->certs.ca_key);
	pem_write(&f->certs, "issuing.pem", f->issuing, NULL, f->issuing_file);
	pem_write(&f->certs, "root.pem", f->root, NULL, f->root_file);
	file_make(&f->certs.folder, "secret", SECRET "\n", 0600, f->secret_file);
	request_make(f);
	f->server = server_start(certs_context(&f->certs, f->certs.server), fixture_answer, f);
	f->chain[0] = f->root_file;
	f->settings = (struct ca_settings){ .name = "plant", .certificate = f->issuing_file, .chain = f->chain,
		.chain_count = 1, .url = f->server->url, .tls_ca = f->certs.ca_file, .secret_file = f->secret_file,
		.connect_ms = 20000, .deadline_ms = 20000 };
	*state = f;
	return 0;
}

static inline int
fixture_teardown(void **state)
{
	struct fixture *f = *state;

	ca_answer_free(&f->answer);
	if (f->ops != NULL)
		f->ops->close(f->ca);
	server_stop(f->server);
	buf_free(&f->csr);
	buf_free(&f->spki);
	EVP_PKEY_free(f->issuing_key);
	EVP_PKEY_free(f->device_key);
	X509_free(f->root);
	X509_free(f->issuing);
	certs_free(&f->certs);
	free(f);
	return 0;
}

static inline void
open_ca(struct fixture *f, const char *type, answer_fn *service)
{
	f->service = service;
	if (f->ops != NULL)
		f->ops->close(f->ca);
	f->ca = NULL;
	f->ops = ca_ops_of(type);
	assert_non_null(f->ops);
	assert_true(f->ops->remote);
	assert_false(f->ops->verified);
	if (f->ops->open(&f->settings, &f->ca, &f->e) != 0)
		fail_msg("%s", f->e.text);
}

static inline void
open_fails(struct fixture *f, const char *type, const char *word)
{
	struct ca *ca = NULL;

	assert_int_equal(ca_ops_of(type)->open(&f->settings, &ca, &f->e), -1);
	assert_null(ca);
	if (strstr(f->e.text, word) == NULL || strncmp(f->e.text, "ca plant: ", 10) != 0)
		fail_msg("\"%s\" does not say \"%s\"", f->e.text, word);
}

/* Who reads the text learns no secret. */
static inline void
error_is(struct fixture *f, enum err_code code, const char *word)
{
	if (f->e.code != code || strstr(f->e.text, word) == NULL || strncmp(f->e.text, "ca plant", 8) != 0 ||
	    strstr(f->e.text, SECRET) != NULL || strstr(f->e.text, "token-") != NULL)
		fail_msg("got %s \"%s\", wanted %s \"%s\"", err_code_name(f->e.code), f->e.text, err_code_name(code), word);
}

/* The one certificate that the service made last. */
static inline void
answer_is_issued(struct fixture *f)
{
	X509 *cert = NULL;

	assert_int_equal(f->answer.state, CA_ISSUED);
	assert_string_equal(f->answer.serial, f->serial);
	assert_int_equal(x509_from_der(buf_bytes(&f->answer.cert), &cert, &f->e), 0);
	assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(cert), f->device_key), 1);
	assert_true(f->answer.not_before_s < f->answer.not_after_s);
	X509_free(cert);
}

static inline void
issue_ok(struct fixture *f)
{
	ca_answer_free(&f->answer);
	if (f->ops->issue(f->ca, &f->request, &f->answer, &f->e) != 0)
		fail_msg("%s", f->e.text);
	if (f->answer.state != CA_ISSUED)
		fail_msg("state %d", f->answer.state);
	answer_is_issued(f);
}

static inline void
issue_fails(struct fixture *f, enum err_code code, const char *word)
{
	struct ca_answer answer = { .state = CA_WAITING };

	if (f->ops->issue(f->ca, &f->request, &answer, &f->e) != -1)
		fail_msg("state %d, wanted \"%s\"", answer.state, word);
	assert_int_equal(answer.state, CA_WAITING);
	assert_null(answer.cert.at);
	error_is(f, code, word);
}

static inline void
issue_unknown(struct fixture *f, const char *word)
{
	ca_answer_free(&f->answer);
	if (f->ops->issue(f->ca, &f->request, &f->answer, &f->e) != 0)
		fail_msg("%s", f->e.text);
	if (f->answer.state != CA_UNKNOWN)
		fail_msg("state %d, wanted unknown: \"%s\"", f->answer.state, word);
	assert_null(f->answer.cert.at);
	error_is(f, ERR_UPSTREAM, word);
}

static inline void
now_hostile(struct fixture *f, struct reply reply)
{
	(void)pthread_mutex_lock(&f->server->lock);
	f->hostile = reply;
	(void)pthread_mutex_unlock(&f->server->lock);
}

static inline struct reply
reply_of(int status, const char *body)
{
	struct reply reply = { .status = status };

	(void)snprintf(reply.body, sizeof reply.body, "%s", body);
	return reply;
}

/* The service is busy, and names a time or none. */
static inline void
issue_put_off(struct fixture *f, int status, const char *retry_after, int64_t retry_s)
{
	struct reply reply = reply_of(status, "{}");
	struct ca_answer answer = { 0 };

	if (retry_after != NULL)
		(void)snprintf(reply.headers, sizeof reply.headers, "Retry-After: %s\r\n", retry_after);
	now_hostile(f, reply);
	assert_int_equal(f->ops->issue(f->ca, &f->request, &answer, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "busy");
	assert_int_equal(answer.retry_s, retry_s);
	assert_null(answer.cert.at);
}

/* A port of 127.0.0.1 where nobody listens; close() the result at the end. */
static inline int
refusing_url(char url[64])
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof at;
	int taken = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(taken, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(getsockname(taken, (struct sockaddr *)&at, &len), 0);
	(void)snprintf(url, 64, "https://127.0.0.1:%d", ntohs(at.sin_port));
	return taken;
}

/*
 * What every connector must make of a service in trouble. type is open and works; success: a status and a body that say
 * "issued" without a certificate.
 */
static inline void
hostile_answers(struct fixture *f, const char *type, int success, const char *body)
{
	static const char long_head[] = "HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n";
	char url[64];
	int taken;

	now_hostile(f, reply_of(500, "{}"));
	issue_unknown(f, "500");
	now_hostile(f, reply_of(502, "<html>bad gateway</html>"));
	issue_unknown(f, "502");
	now_hostile(f, reply_of(503, "{}"));
	issue_fails(f, ERR_UPSTREAM, "503");
	now_hostile(f, reply_of(429, "{}"));
	issue_fails(f, ERR_UPSTREAM, "429");
	issue_put_off(f, 429, "77", 77);
	issue_put_off(f, 503, "78", 78);
	issue_put_off(f, 503, NULL, 0);
	issue_put_off(f, 408, "79", 0);
	now_hostile(f, reply_of(400, "{}"));
	issue_fails(f, ERR_DENIED, "400");
	now_hostile(f, reply_of(303, ""));
	issue_unknown(f, "303");
	f->hostile = reply_of(307, "");
	(void)snprintf(f->hostile.headers, sizeof f->hostile.headers, "Location: https://elsewhere.example/\r\n");
	issue_fails(f, ERR_UPSTREAM, "https://elsewhere.example/");
	now_hostile(f, reply_of(success, "garbage"));
	issue_unknown(f, "no JSON object");
	now_hostile(f, reply_of(success, "[]"));
	issue_unknown(f, "no JSON object");
	now_hostile(f, reply_of(success, body));
	issue_unknown(f, "no ");
	now_hostile(f, (struct reply){ .raw = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"resu" });
	issue_unknown(f, "broke off");
	now_hostile(f, (struct reply){ .raw = "" });
	issue_unknown(f, f->server->url);
	now_hostile(f, (struct reply){ .raw = long_head, .raw_tail = "{" });
	issue_unknown(f, "longer than");
	f->settings.deadline_ms = f->settings.connect_ms = 1000;
	open_ca(f, type, f->service);
	now_hostile(f, (struct reply){ .hang = true });
	issue_unknown(f, "deadline");
	f->settings.deadline_ms = f->settings.connect_ms = 20000;
	taken = refusing_url(url);
	f->settings.url = url;
	open_ca(f, type, f->service);
	issue_fails(f, ERR_UPSTREAM, "refused");
	(void)close(taken);
	f->settings.url = f->server->url;
	f->settings.tls_ca = f->certs.other_file;
	open_ca(f, type, f->service);
	issue_fails(f, ERR_UPSTREAM, "not trusted");
	f->settings.tls_ca = f->certs.ca_file;
	open_ca(f, type, f->service);
	assert_int_equal(f->made, 0);
	issue_ok(f);
	assert_int_equal(f->made, 1);
}

#endif
