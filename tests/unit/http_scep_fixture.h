/*
 * http_scep_fixture.h - the front, CivetWeb and the handlers as they are, before a pipeline that only notes what it is asked.
 */
#ifndef TESTS_UNIT_HTTP_SCEP_FIXTURE_H
#define TESTS_UNIT_HTTP_SCEP_FIXTURE_H

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <openssl/rsa.h>

#include "gateway/core/enroll.h"
#include "gateway/core/rollover.h"
#include "gateway/http/front.h"
#include "gateway/http/server.h"
#include "scep/build.h"
#include "scep/query.h"
#include "tests/unit/scep_build_fixture.h"

#define NOW_LABELS 4
#define PATIENCE_S 20

/* What the pipeline is to say, and what it was asked. */
struct stub {
	struct enroll_result says; /* cert: borrowed */
	struct err crl_error;      /* code ERR_NONE: the list is made */
	int runs, polls, fetches, crls, refusals;
	int handed_out[FETCH_GETNEXTCACERT + 1];
	struct err refused;
	char protocol[16], operation[32], transaction[SCEP_TRANSACTION_MAX + 1], peer[64], serial[SERIAL_HEX_MAX];
	enum enroll_op op;
	bool challenge, by_certificate, signer_in_chain;
	int chain;
	struct buf csr, poll_key;
};

static struct stub stub;
static pthread_mutex_t stub_lock = PTHREAD_MUTEX_INITIALIZER; /* workers write it, between a request and its answer */

static struct {
	struct party ra, ca, device, other, issued; /* issued: a certificate of ca for the device's key */
	struct buf issued_der, csr, crl;
	struct config config;
	struct config_label labels[NOW_LABELS];
	struct config_ca cas[1];
	struct world world;
	struct world_ca world_cas[1];
	struct world_ra world_ras[1];
	struct world_scep scep[NOW_LABELS];
	STACK_OF(X509) *chain;
	struct server *server;
	struct front *front;
	int port;
} here;

struct world *
world_get(void)
{
	return &here.world;
}

void
world_put(struct world *world)
{
	(void)world;
}

const struct world_ca *
world_ca_of(const struct world *world, const char *name)
{
	(void)name;
	return &world->cas[0];
}

int
world_ca_is_valid(const struct world *world, const struct config_ca *ca, int64_t now_s, struct err *e)
{
	(void)world;
	(void)ca;
	(void)now_s;
	(void)e;
	return 0;
}

const STACK_OF(X509) *
world_chain_of(const struct world *world, const struct config_label *label, const char *ca_name, struct bytes cert)
{
	(void)world;
	(void)label;
	(void)ca_name;
	(void)cert;
	return here.chain;
}

bool
world_knows_name(const struct world *world, const struct config_label *label, const X509_NAME *name)
{
	(void)world;
	(void)label;
	return X509_NAME_cmp(name, X509_get_subject_name(here.ca.cert)) == 0;
}

void
rollover_fetched(struct gateway *gateway, const struct world *world, const struct config_label *label,
	enum rollover_fetch what, X509 *client_cert, int64_t now_s)
{
	(void)gateway;
	(void)world;
	(void)label;
	(void)now_s;
	(void)pthread_mutex_lock(&stub_lock);
	if (client_cert == NULL) /* these tests speak HTTP without TLS */
		stub.handed_out[what]++;
	(void)pthread_mutex_unlock(&stub_lock);
}

const struct world_ra *
world_ra_of(const struct world *world, const char *name)
{
	return strcmp(name, "ra") == 0 ? &world->ras[0] : NULL;
}

const struct world_scep *
world_scep_of(const struct world *world, const struct config_label *label)
{
	return &world->scep[label - world->config->labels];
}

const struct buf *
world_csrattrs_of(const struct world *world, const struct config_label *label)
{
	static const struct buf none;

	(void)world;
	(void)label;
	return &none;
}

const struct world_wants *
world_wants_of(const struct world *world, const struct config_label *label)
{
	static const struct world_wants nothing;

	(void)world;
	(void)label;
	return &nothing;
}

int
enroll_nonce(struct gateway *gateway, const struct world *world, const struct config_label *label, int64_t now_s,
	uint8_t out[NONCE_LEN], int64_t *life_s, struct err *e)
{
	(void)gateway;
	(void)world;
	(void)label;
	(void)now_s;
	(void)out;
	(void)life_s;
	return err_set(e, ERR_UNSUPPORTED, "no nonces here");
}

int
enroll_tpm_bind(struct gateway *gateway, const struct world *world, const struct enroll_request *request,
	struct enroll_tpm_bind *bind, struct err *e)
{
	(void)gateway;
	(void)world;
	(void)request;
	(void)bind;
	return err_set(e, ERR_UNSUPPORTED, "no binding here");
}

const struct config_label *
config_label(const struct config *config, const char *name)
{
	size_t i;

	for (i = 0; i < config->label_count; i++)
		if (strcmp(config->labels[i].policy.name, name) == 0)
			return &config->labels[i];
	return NULL;
}

const struct config_ca *
config_ca(const struct config *config, const char *name)
{
	return strcmp(name, config->cas[0].name) == 0 ? &config->cas[0] : NULL;
}

static void
note(const struct enroll_request *request, struct bytes poll_key)
{
	int i;

	(void)snprintf(stub.protocol, sizeof stub.protocol, "%s", request->protocol);
	(void)snprintf(stub.operation, sizeof stub.operation, "%s", request->operation);
	(void)snprintf(stub.peer, sizeof stub.peer, "%s", request->peer);
	(void)snprintf(stub.transaction, sizeof stub.transaction, "%s",
		request->transaction == NULL ? "none" : request->transaction);
	stub.op = request->op;
	stub.challenge = request->challenge;
	stub.by_certificate = request->client_cert != NULL;
	stub.chain = request->client_chain == NULL ? 0 : sk_X509_num(request->client_chain);
	for (i = 0; i < stub.chain; i++)
		if (X509_cmp(sk_X509_value(request->client_chain, i), request->client_cert) == 0)
			stub.signer_in_chain = true;
	buf_append_bytes(&stub.csr, request->csr);
	buf_append_bytes(&stub.poll_key, poll_key);
}

static void
say_result(struct enroll_result *out)
{
	*out = stub.says;
	out->cert = (struct buf){ 0 };
	if (out->code == ERR_NONE)
		buf_append_bytes(&out->cert, buf_bytes(&here.issued_der));
}

void
enroll_run(struct gateway *gateway, const struct world *world, const struct enroll_request *request,
	struct enroll_result *out)
{
	(void)gateway;
	(void)world;
	(void)pthread_mutex_lock(&stub_lock);
	stub.runs++;
	note(request, bytes_of(NULL, 0));
	say_result(out);
	(void)pthread_mutex_unlock(&stub_lock);
}

void
enroll_poll(struct gateway *gateway, const struct world *world, const struct enroll_request *request,
	struct bytes poll_key, struct enroll_result *out)
{
	(void)gateway;
	(void)world;
	(void)pthread_mutex_lock(&stub_lock);
	stub.polls++;
	note(request, poll_key);
	say_result(out);
	(void)pthread_mutex_unlock(&stub_lock);
}

void
enroll_fetch(struct gateway *gateway, const struct world *world, const struct enroll_request *request,
	struct bytes poll_key, const X509_NAME *issuer, const char *serial, struct enroll_result *out)
{
	(void)gateway;
	(void)world;
	(void)issuer;
	(void)pthread_mutex_lock(&stub_lock);
	stub.fetches++;
	note(request, poll_key);
	(void)snprintf(stub.serial, sizeof stub.serial, "%s", serial);
	say_result(out);
	(void)pthread_mutex_unlock(&stub_lock);
}

int
enroll_crl(struct gateway *gateway, const struct world *world, const char *ca_name, int64_t now_s, struct buf *out,
	struct err *e)
{
	(void)gateway;
	(void)world;
	(void)now_s;
	(void)ca_name;
	(void)pthread_mutex_lock(&stub_lock);
	stub.crls++;
	*e = stub.crl_error;
	(void)pthread_mutex_unlock(&stub_lock);
	if (e->code != ERR_NONE)
		return -1;
	buf_append_bytes(out, buf_bytes(&here.crl));
	return 0;
}

int
enroll_crl_of(struct gateway *gateway, const struct world *world, const struct config_label *label, const X509_NAME *issuer,
	const char *serial, int64_t now_s, struct buf *out, struct err *e)
{
	(void)label;
	(void)pthread_mutex_lock(&stub_lock);
	(void)snprintf(stub.serial, sizeof stub.serial, "%s", serial);
	(void)pthread_mutex_unlock(&stub_lock);
	if (X509_NAME_cmp(issuer, X509_get_subject_name(here.ca.cert)) != 0)
		return err_set(e, ERR_DENIED, "a revocation list of another CA");
	return enroll_crl(gateway, world, "issuing", now_s, out, e);
}

void
enroll_refuse(struct gateway *gateway, const struct enroll_request *request, const struct err *why)
{
	(void)gateway;
	(void)pthread_mutex_lock(&stub_lock);
	stub.refusals++;
	stub.refused = *why;
	(void)snprintf(stub.operation, sizeof stub.operation, "%s", request->operation);
	(void)pthread_mutex_unlock(&stub_lock);
}

void
enroll_result_free(struct enroll_result *result)
{
	buf_free(&result->cert);
}

static void
stub_reset(enum err_code code, const char *reason)
{
	buf_free(&stub.csr);
	buf_free(&stub.poll_key);
	stub = (struct stub){ .says = { .code = code, .public_text = "the category", .retry_after_s = 7, .request_id = 42 } };
	(void)snprintf(stub.says.reason, sizeof stub.says.reason, "%s", reason);
	(void)snprintf(stub.says.sentence, sizeof stub.says.sentence, "a sentence for the log only");
}

static const STACK_OF(X509) *
chain_of(const struct ca *ca)
{
	(void)ca;
	return here.chain;
}

static int
crl_of(struct ca *ca, const struct ca_revoked *revoked, size_t count, int64_t number, int64_t now_s, int64_t next_s,
	struct buf *out, struct err *e)
{
	(void)ca;
	(void)revoked;
	(void)count;
	(void)number;
	(void)now_s;
	(void)next_s;
	(void)out;
	return err_set(e, ERR_BUG, "not asked here");
}

static struct ca_ops here_ca_ops = { .type = "stub", .crl = crl_of, .chain = chain_of };

static inline void
make_issued(void)
{
	X509 *cert;

	make_party(&here.issued, here.device.key, "device", 4711);
	cert = here.issued.cert;
	(void)EVP_PKEY_up_ref(here.device.key);
	assert_true(X509_set_issuer_name(cert, X509_get_subject_name(here.ca.cert)) == 1);
	assert_true(X509_sign(cert, here.ca.key, EVP_sha256()) > 0);
}

/* A request for key; the subject is not the self-signed signer's, as with old IOS. */
static inline void
make_csr(EVP_PKEY *key, struct buf *out)
{
	X509_REQ *req = X509_REQ_new();
	uint8_t *der = NULL;
	int len;

	assert_true(X509_REQ_set_pubkey(req, key) == 1);
	assert_true(X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "CN", MBSTRING_ASC,
			    (const uint8_t *)"router.example", -1, -1, 0) == 1);
	assert_true(X509_REQ_sign(req, key, EVP_sha256()) > 0);
	len = i2d_X509_REQ(req, &der);
	assert_true(len > 0);
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	X509_REQ_free(req);
}

static inline void
make_crl_der(void)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
	uint8_t *der = NULL;
	int len;

	assert_true(X509_CRL_set_issuer_name(crl, X509_get_subject_name(here.ca.cert)) == 1);
	assert_true(X509_CRL_set1_lastUpdate(crl, now) == 1 && X509_CRL_sign(crl, here.ca.key, EVP_sha256()) > 0);
	len = i2d_X509_CRL(crl, &der);
	assert_true(len > 0);
	buf_append(&here.crl, der, (size_t)len);
	OPENSSL_free(der);
	ASN1_TIME_free(now);
	X509_CRL_free(crl);
}

static inline void
make_label(size_t i, const char *name, unsigned protocols, unsigned algorithms)
{
	struct config_label *label = &here.labels[i];

	(void)snprintf(label->policy.name, sizeof label->policy.name, "%s", name);
	(void)snprintf(label->ca, sizeof label->ca, "issuing");
	(void)snprintf(label->scep_ra, sizeof label->scep_ra, "ra");
	label->protocols = protocols;
	label->scep_algorithms = algorithms;
	buf_printf(&here.scep[i].caps, "AES\nlabel %s\n", name);
	buf_append_text(&here.scep[i].ca_cert, "the certificate");
}

static inline void
make_world(void)
{
	make_label(0, "", PROTOCOL_SCEP, SCEP_ALGORITHMS_DEFAULT);
	make_label(1, "cisco", PROTOCOL_SCEP, SCEP_ALGORITHMS_DEFAULT | SCEP_ALGORITHMS_LEGACY | SCEP_ALGORITHMS_CISCO);
	make_label(2, "only-est", PROTOCOL_EST, SCEP_ALGORITHMS_DEFAULT);
	make_label(3, "bundle", PROTOCOL_EST | PROTOCOL_SCEP, SCEP_ALGORITHMS_DEFAULT);
	here.labels[3].scep_chain = true;
	here.scep[3].ca_cert_bundle = true;
	buf_append_text(&here.scep[3].next, "the next one");
	(void)snprintf(here.cas[0].name, sizeof here.cas[0].name, "issuing");
	(void)snprintf(here.config.scep_suffixes.at[0], sizeof here.config.scep_suffixes.at[0], "/cgi-bin/pkiclient.exe");
	here.config.scep_suffixes.count = 1;
	here.config.labels = here.labels;
	here.config.label_count = NOW_LABELS;
	here.config.cas = here.cas;
	here.config.ca_count = 1;
	here.world_cas[0].ops = &here_ca_ops;
	here.world_ras[0] = (struct world_ra){ .cert = here.ra.cert, .key = here.ra.key, .decrypt_cert = here.ra.cert,
		.recipients = { { .cert = here.ra.cert, .key = here.ra.key } }, .recipient_count = 1 };
	here.world = (struct world){ .config = &here.config, .cas = here.world_cas, .ras = here.world_ras,
		.scep = here.scep };
	here.chain = sk_X509_new_null();
	assert_true(sk_X509_push(here.chain, here.ca.cert) == 1);
}

static int
scep_open(void **state)
{
	static const char *const listen[] = { "127.0.0.1:0" };
	struct front_settings settings = { .listen_plain = listen, .listen_plain_count = 1,
		.takes_long_target = server_takes_long_target, .loops = 1, .workers = 2, .connections = 100,
		.connections_per_address = 100, .header_max = 4096, .body_max = 100000, .queue_max = 64, .queue_age_s = 60,
		.handshake_s = 60, .header_s = 60, .body_s = 60, .idle_s = 60 };
	static struct gateway gateway;
	struct err e;

	(void)state;
	if (ossl_init(&e) != 0 || key_init(&e) != 0 || scep_init(&e) != 0)
		return -1;
	make_party(&here.ra, EVP_RSA_gen(2048), "ra", 10);
	make_party(&here.ca, EVP_EC_gen("P-256"), "issuing", 11);
	make_party(&here.device, EVP_RSA_gen(2048), "device", 12);
	make_party(&here.other, EVP_RSA_gen(2048), "other", 13);
	make_issued();
	make_csr(here.device.key, &here.csr);
	make_crl_der();
	make_world();
	if (x509_to_der(here.issued.cert, &here.issued_der, &e) != 0 ||
		server_start(&gateway, 2, &here.server, &settings.backend_port, &e) != 0 ||
		front_start(&settings, &here.front, &e) != 0)
		return -1;
	here.port = front_port(here.front, 0);
	return 0;
}

static int
scep_close(void **state)
{
	size_t i;

	(void)state;
	front_stop(here.front, 1);
	server_stop(here.server);
	for (i = 0; i < NOW_LABELS; i++) {
		buf_free(&here.scep[i].caps);
		buf_free(&here.scep[i].ca_cert);
		buf_free(&here.scep[i].next);
	}
	sk_X509_free(here.chain);
	free_party(&here.ra);
	free_party(&here.ca);
	free_party(&here.device);
	free_party(&here.other);
	free_party(&here.issued);
	buf_free(&here.issued_der);
	buf_free(&here.csr);
	buf_free(&here.crl);
	stub_reset(ERR_NONE, "");
	return 0;
}

#endif
