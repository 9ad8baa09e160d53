/* mdm_fixture.h - an MDM service made of the TLS test server, a request with its challenge, and settings. For mdm_*_test. */
#ifndef TESTS_UNIT_MDM_FIXTURE_H
#define TESTS_UNIT_MDM_FIXTURE_H

#include "tests/unit/tls_server.h"

#include <jansson.h>

#include "gateway/mdm/mdm.h"

#define CHALLENGE "GAwYzu.3Qk/one-time~challenge"
#define SECRET    "cl1ent+secret/=&%"
#define test(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

/* What the service says next. status 0: 200. */
struct saying {
	int status;
	const char *body;
	const char *headers;
	bool hang;
};

struct fixture {
	struct certs certs;
	struct tls_server *server;
	struct buf csr, cert;
	struct mdm_settings settings;
	struct mdm_request request;
	const struct mdm_ops *ops;
	struct mdm *mdm;
	struct mdm_verdict verdict;
	struct err e;
	char url[64], secret_file[128], token_url[128], discovery_url[128], notify_url[128];
	/* guarded by the server's lock */
	struct saying token, discovery, action;
	int tokens;          /* given */
	int expires_s;
	int refuse_tokens;   /* so many next actions answer 401 */
	size_t actions, discoveries;
	char token_body[40000], bearer[256], path[1024], body[40000];
};

static inline void
say(const struct saying *saying, struct reply *reply)
{
	reply->status = saying->status == 0 ? 200 : saying->status;
	reply->hang = saying->hang;
	(void)snprintf(reply->body, sizeof reply->body, "%s", saying->body == NULL ? "" : saying->body);
	(void)snprintf(reply->headers, sizeof reply->headers, "%s", saying->headers == NULL ? "" : saying->headers);
}

static inline void
answer_service(struct tls_server *server, const struct seen *seen, struct reply *reply)
{
	struct fixture *f = server->arg;

	if (strcmp(seen->path, "/token") == 0) {
		(void)snprintf(f->token_body, sizeof f->token_body, "%s", seen->body);
		say(&f->token, reply);
		if (f->token.body == NULL)
			(void)snprintf(reply->body, sizeof reply->body,
				"{\"token_type\":\"Bearer\",\"expires_in\":%d,\"access_token\":\"token-%d\"}", f->expires_s, f->tokens + 1);
		f->tokens++;
		return;
	}
	(void)seen_header(seen, "Authorization", f->bearer, sizeof f->bearer);
	if (strcmp(seen->path, "/graph") == 0) {
		f->discoveries++;
		say(&f->discovery, reply);
		return;
	}
	(void)snprintf(f->path, sizeof f->path, "%s", seen->path);
	(void)snprintf(f->body, sizeof f->body, "%s", seen->body);
	f->actions++;
	if (f->refuse_tokens > 0) {
		f->refuse_tokens--;
		reply->status = 401;
		return;
	}
	say(&f->action, reply);
}

/* A PKCS#10 request that holds the challenge, and some certificate. */
static inline void
octets_make(struct fixture *f)
{
	X509_REQ *req = X509_REQ_new();
	unsigned char *der = NULL;
	struct err e;
	int len;

	assert_non_null(req);
	assert_int_equal(X509_REQ_set_pubkey(req, f->certs.key), 1);
	assert_int_equal(X509_REQ_add1_attr_by_NID(req, NID_pkcs9_challengePassword, MBSTRING_ASC,
		(const unsigned char *)CHALLENGE, -1), 1);
	assert_true(X509_REQ_sign(req, f->certs.key, EVP_sha256()) > 0);
	len = i2d_X509_REQ(req, &der);
	assert_true(len > 0);
	buf_append(&f->csr, der, (size_t)len);
	OPENSSL_free(der);
	X509_REQ_free(req);
	assert_int_equal(x509_to_der(f->certs.client, &f->cert, &e), 0);
}

static inline int
fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	certs_make(&f->certs);
	octets_make(f);
	f->server = server_start(certs_context(&f->certs, f->certs.server), answer_service, f);
	(void)snprintf(f->url, sizeof f->url, "%s", f->server->url);
	(void)snprintf(f->token_url, sizeof f->token_url, "%s/token", f->server->url);
	(void)snprintf(f->discovery_url, sizeof f->discovery_url, "%s/graph", f->server->url);
	(void)snprintf(f->notify_url, sizeof f->notify_url, "%s/told", f->server->url);
	f->expires_s = 3600;
	f->settings = (struct mdm_settings){ .name = "test", .url = f->url, .ca = f->certs.ca_file, .deadline_s = 20 };
	f->request = (struct mdm_request){ .transaction = "tid=+/\"1", .csr = buf_bytes(&f->csr), .challenge = CHALLENGE,
		.label = "phones" };
	file_make(&f->certs.folder, "secret", SECRET "\n", 0600, f->secret_file);
	*state = f;
	return 0;
}

static inline int
fixture_teardown(void **state)
{
	struct fixture *f = *state;

	if (f->ops != NULL)
		f->ops->close(f->mdm);
	server_stop(f->server);
	buf_free(&f->csr);
	buf_free(&f->cert);
	certs_free(&f->certs);
	free(f);
	return 0;
}

static inline void
open_mdm(struct fixture *f, const char *type)
{
	if (f->ops != NULL)
		f->ops->close(f->mdm);
	f->mdm = NULL;
	f->ops = mdm_ops_of(type);
	assert_non_null(f->ops);
	if (f->ops->open(&f->settings, &f->mdm, &f->e) != 0)
		fail_msg("%s", f->e.text);
}

static inline void
open_fails(struct fixture *f, const char *type, const char *word)
{
	struct mdm *mdm = NULL;

	assert_int_equal(mdm_ops_of(type)->open(&f->settings, &mdm, &f->e), -1);
	assert_null(mdm);
	if (strstr(f->e.text, word) == NULL)
		fail_msg("%s", f->e.text);
}

/* Tell the server what to say; calls under way see it whole. */
static inline void
now_say(struct fixture *f, struct saying *which, struct saying what)
{
	(void)pthread_mutex_lock(&f->server->lock);
	*which = what;
	(void)pthread_mutex_unlock(&f->server->lock);
}

static inline void
validate_ok(struct fixture *f, bool allowed, const char *code)
{
	if (f->ops->validate(f->mdm, &f->request, &f->verdict, &f->e) != 0)
		fail_msg("%s", f->e.text);
	assert_int_equal(f->verdict.allowed, allowed);
	assert_string_equal(f->verdict.code, code);
	assert_null(strstr(f->verdict.text, CHALLENGE));
}

static inline void
error_is(struct fixture *f, const char *word)
{
	if (f->e.code != ERR_UPSTREAM || strstr(f->e.text, word) == NULL || strstr(f->e.text, "mdm test") == NULL ||
	    strstr(f->e.text, CHALLENGE) != NULL || strstr(f->e.text, SECRET) != NULL || strstr(f->e.text, "token-") != NULL)
		fail_msg("%s: %s", err_code_name(f->e.code), f->e.text);
}

/* No verdict: the output is untouched and the sentence holds this word. */
static inline void
validate_fails(struct fixture *f, const char *word)
{
	struct mdm_verdict verdict, before;

	memset(&before, 0x5a, sizeof before);
	verdict = before;
	assert_int_equal(f->ops->validate(f->mdm, &f->request, &verdict, &f->e), -1);
	assert_memory_equal(&verdict, &before, sizeof before);
	error_is(f, word);
}

/* The last action's body as JSON; json_decref() at the end. */
static inline json_t *
body_json(struct fixture *f)
{
	json_error_t where;
	json_t *root = json_loads(f->body, JSON_REJECT_DUPLICATES, &where);

	if (root == NULL)
		fail_msg("%s", where.text);
	return root;
}

static inline void
assert_member(const json_t *object, const char *key, const char *expected)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_string(value) || strcmp(json_string_value(value), expected) != 0)
		fail_msg("%s: %s", key, json_is_string(value) ? json_string_value(value) : "absent");
}

static inline void
assert_octets_member(const json_t *object, const char *key, const struct buf *expected)
{
	struct buf octets = { 0 };
	struct err e;
	const json_t *value = json_object_get(object, key);

	assert_true(json_is_string(value));
	assert_int_equal(base64_decode(bytes_of_text(json_string_value(value)), &octets, &e), 0);
	assert_true(bytes_equal(buf_bytes(&octets), buf_bytes(expected)));
	buf_free(&octets);
}

#endif
