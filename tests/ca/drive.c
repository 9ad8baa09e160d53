#define _GNU_SOURCE
/*
 * drive - one CA connector by itself, against a CA that somebody else wrote.
 *
 * usage: drive SETTING=VALUE... COMMAND [ARGUMENT...]
 *
 *   check                          is it well?
 *   issue CSR ID                   CSR: a PEM file; ID: ca_request.request_id
 *   poll CSR ID REFERENCE
 *   reconcile CSR ID REFERENCE
 *   revoke SERIAL REASON [CERT]    CERT: a PEM file
 *   bench THREADS COUNT FILE KIND  issue() so often, by so many threads, each of which is one line of FILE: its requests' common
 *                                  name; KIND of keys: "ec", one for each request, or "rsa", one for each line
 *
 * Settings are those of struct ca_settings (chain more than once) and what is approved: cn=, o=, ou=, sn=, dns=, uri=, ip=,
 * email= (the last four more than once), eku= dotted, lifetime= and backdate= in seconds. Prints the state, what
 * ca_verify_below() says and the certificate; exits with 0, or 1 and "error CODE: TEXT".
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/pem.h>

#include "base/key.h"
#include "base/timefmt.h"
#include "gateway/ca/ca.h"
#include "gateway/http/quickkeys.h"
#include "scep/scep.h"

#define CHAIN_MAX 8
#define BENCH_THREADS_MAX 64
#define BENCH_TEXT_MAX 128

struct drive {
	struct ca_settings settings;
	const char *chain[CHAIN_MAX];
	struct cert_spec spec;
	char eku[1][64];
	int64_t lifetime_s, backdate_s;
	struct buf csr, spki;
	struct ca_request request;
	const struct ca_ops *ops;
	struct ca *ca;
};

static int
fail(const struct err *e)
{
	printf("error %s: %s\n", err_code_name(e->code), e->text);
	return 1;
}

static int
usage(const char *what)
{
	fprintf(stderr, "drive: %s (see the head of tests/ca/drive.c)\n", what);
	return 2;
}

static bool
set_text(struct drive *d, const char *name, const char *value)
{
	const struct {
		const char *name;
		const char **to;
	} texts[] = { { "name", &d->settings.name }, { "type", &d->settings.type }, { "certificate", &d->settings.certificate },
		{ "url", &d->settings.url }, { "tls_ca", &d->settings.tls_ca }, { "client_cert", &d->settings.client_cert },
		{ "client_key", &d->settings.client_key }, { "secret_file", &d->settings.secret_file },
		{ "profile", &d->settings.profile }, { "end_entity_profile", &d->settings.end_entity_profile },
		{ "authority", &d->settings.authority }, { "user", &d->settings.user }, { "key_file", &d->settings.key_file },
		{ "key", &d->settings.key }, { "auth", &d->settings.auth } };
	size_t i;

	for (i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (strcmp(texts[i].name, name) == 0) {
			*texts[i].to = value;
			return true;
		}
	return false;
}

static bool
set_spec(struct drive *d, const char *name, const char *value)
{
	static const struct {
		const char *name, *oid;
	} rdns[] = { { "cn", "2.5.4.3" }, { "o", "2.5.4.10" }, { "ou", "2.5.4.11" }, { "sn", "2.5.4.5" } };
	static const char *const sans[] = { "dns", "uri", "ip", "email" }; /* as enum spec_san_type */
	size_t i;

	for (i = 0; i < sizeof rdns / sizeof rdns[0]; i++)
		if (strcmp(rdns[i].name, name) == 0 && d->spec.rdn_count < SPEC_RDNS_MAX) {
			(void)snprintf(d->spec.rdns[d->spec.rdn_count].oid, sizeof d->spec.rdns[0].oid, "%s", rdns[i].oid);
			(void)snprintf(d->spec.rdns[d->spec.rdn_count++].value, sizeof d->spec.rdns[0].value, "%s", value);
			return true;
		}
	for (i = 0; i < sizeof sans / sizeof sans[0]; i++)
		if (strcmp(sans[i], name) == 0 && d->spec.san_count < SPEC_SANS_MAX) {
			d->spec.sans[d->spec.san_count].type = (enum spec_san_type)i;
			(void)snprintf(d->spec.sans[d->spec.san_count++].value, sizeof d->spec.sans[0].value, "%s", value);
			return true;
		}
	return false;
}

static bool
set(struct drive *d, const char *name, const char *value)
{
	if (set_text(d, name, value) || set_spec(d, name, value))
		return true;
	if (strcmp(name, "chain") == 0 && d->settings.chain_count < CHAIN_MAX)
		d->chain[d->settings.chain_count++] = value;
	else if (strcmp(name, "allow_plain") == 0)
		d->settings.allow_plain = true;
	else if (strcmp(name, "deadline_ms") == 0)
		d->settings.deadline_ms = atoll(value);
	else if (strcmp(name, "calls_max") == 0)
		d->settings.calls_max = (size_t)atoll(value);
	else if (strcmp(name, "eku") == 0)
		(void)snprintf(d->eku[0], sizeof d->eku[0], "%s", value);
	else if (strcmp(name, "lifetime") == 0)
		d->lifetime_s = atoll(value);
	else if (strcmp(name, "backdate") == 0)
		d->backdate_s = atoll(value);
	else
		return false;
	return true;
}

static void
set_defaults(struct drive *d)
{
	d->settings.name = "peer";
	d->settings.chain = d->chain;
	d->lifetime_s = 86400;
	d->backdate_s = 600;
	(void)snprintf(d->eku[0], sizeof d->eku[0], "1.3.6.1.5.5.7.3.2");
}

static void
set_usage(struct drive *d)
{
	d->spec.key_usage = USAGE_DIGITAL_SIGNATURE;
	d->spec.eku = (const char (*)[64])d->eku;
	d->spec.eku_count = 1;
	d->spec.not_before_s = time_now_s() - d->backdate_s;
	d->spec.not_after_s = time_now_s() + d->lifetime_s;
}

/* The request's octets, and the key it proves. */
static int
read_csr(struct drive *d, const char *path, const char *id, struct err *e)
{
	FILE *file = fopen(path, "r");
	X509_REQ *req = file == NULL ? NULL : PEM_read_X509_REQ(file, NULL, NULL, NULL);
	uint8_t *der = NULL, *key = NULL;
	int len = req == NULL ? 0 : i2d_X509_REQ(req, &der);
	int key_len = req == NULL ? 0 : i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(req), &key);
	CLEANUP(EVP_PKEY) EVP_PKEY *decoded = NULL;
	struct key_facts facts;

	if (file != NULL)
		(void)fclose(file);
	if (len > 0 && key_len > 0) {
		buf_append(&d->csr, der, (size_t)len);
		buf_append(&d->spki, key, (size_t)key_len);
	}
	OPENSSL_free(der);
	OPENSSL_free(key);
	X509_REQ_free(req);
	if (d->csr.len == 0)
		return err_set(e, ERR_MALFORMED, "%s is no PEM request", path);
	if (key_from_spki(buf_bytes(&d->spki), &decoded, &facts, e) != 0)
		return -1;
	set_usage(d);
	d->request = (struct ca_request){ .spec = &d->spec, .spki = buf_bytes(&d->spki), .key_kind = facts.kind,
		.csr = buf_bytes(&d->csr), .now_s = time_now_s(), .request_id = id };
	return 0;
}

static int
show(struct drive *d, struct ca_answer *answer, struct err *e)
{
	static const char *const states[] = { "issued", "waiting", "unknown", "absent" }; /* as enum ca_state */
	X509 *cert = NULL;

	printf("state %s\nreference %s\n", states[answer->state], answer->reference);
	if (answer->state == CA_UNKNOWN)
		printf("because %s\n", e->text);
	if (answer->state != CA_ISSUED)
		return 0;
	printf("serial %s\n", answer->serial);
	if ((d->ops->verify != NULL ? d->ops->verify(d->ca, buf_bytes(&answer->cert), &d->request, e) :
		ca_verify_below(buf_bytes(&answer->cert), &d->request, d->ops->chain(d->ca), e)) == 0)
		printf("verify ok\n");
	else
		printf("verify %s: %s\n", err_code_name(e->code), e->text);
	if (x509_from_der(buf_bytes(&answer->cert), &cert, e) != 0)
		return fail(e);
	(void)PEM_write_X509(stdout, cert);
	X509_free(cert);
	return 0;
}

static int
run_request(struct drive *d, char **argv, int argc, struct err *e)
{
	struct ca_answer answer = { 0 };
	int rc;

	if (argc < 3 || (strcmp(argv[0], "issue") != 0 && argc < 4))
		return usage("an argument is missing");
	if (read_csr(d, argv[1], argv[2], e) != 0)
		return fail(e);
	if (strcmp(argv[0], "issue") == 0)
		rc = d->ops->issue(d->ca, &d->request, &answer, e);
	else if (strcmp(argv[0], "poll") == 0 && d->ops->poll != NULL)
		rc = d->ops->poll(d->ca, &d->request, argv[3], &answer, e);
	else if (strcmp(argv[0], "reconcile") == 0 && d->ops->reconcile != NULL)
		rc = d->ops->reconcile(d->ca, &d->request, argv[3], &answer, e);
	else
		return usage("this connector cannot do that");
	rc = rc != 0 ? fail(e) : show(d, &answer, e);
	ca_answer_free(&answer);
	return rc;
}

static int
run_revoke(struct drive *d, char **argv, int argc, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	CLEANUP(buf) struct buf der = { 0 };

	if (argc < 3)
		return usage("revoke SERIAL REASON");
	if (d->ops->revoke == NULL)
		return usage("this connector cannot revoke");
	if (argc > 3 && (x509_load_file(argv[3], &certs, e) != 0 || x509_to_der(sk_X509_value(certs, 0), &der, e) != 0))
		return fail(e);
	if (d->ops->revoke(d->ca, argv[1], buf_bytes(&der), atoi(argv[2]), time_now_s(), e) != 0)
		return fail(e);
	printf("revoked\n");
	return 0;
}

/* One request of a bench: everything is made before the clock starts. */
struct bench_request {
	struct cert_spec spec;
	struct buf csr, spki;
	struct ca_request request;
	char id[64];
	double took_ms;
};

struct bench {
	struct drive *d;
	long threads, count;
	char tags[BENCH_THREADS_MAX][BENCH_TEXT_MAX];
	EVP_PKEY *keys[BENCH_THREADS_MAX]; /* NULL: a new one for each request */
	struct bench_request *requests;
	atomic_long next_thread, failures;
	char first_failure[256];
};

static double
seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* number: tells requests apart. */
static bool
bench_csr(struct bench_request *r, EVP_PKEY *key, const char *tag, const char *number)
{
	X509_REQ *req = X509_REQ_new();
	X509_NAME *name = X509_NAME_new();
	uint8_t *der = NULL, *spki = NULL;
	int len = 0, spki_len = 0;

	(void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)tag, -1, -1, 0);
	(void)X509_REQ_add1_attr_by_NID(req, NID_pkcs9_unstructuredName, MBSTRING_ASC, (const unsigned char *)number, -1);
	if (key != NULL && X509_REQ_set_subject_name(req, name) == 1 && X509_REQ_set_pubkey(req, key) == 1 &&
	    X509_REQ_sign(req, key, EVP_sha256()) > 0) {
		len = i2d_X509_REQ(req, &der);
		spki_len = i2d_PUBKEY(key, &spki);
		buf_append(&r->csr, der, len > 0 ? (size_t)len : 0);
		buf_append(&r->spki, spki, spki_len > 0 ? (size_t)spki_len : 0);
	}
	OPENSSL_free(der);
	OPENSSL_free(spki);
	X509_NAME_free(name);
	X509_REQ_free(req);
	return len > 0 && spki_len > 0;
}

static bool
bench_request(struct bench *b, long i)
{
	struct bench_request *r = &b->requests[i];
	struct drive *d = b->d;
	EVP_PKEY *own = b->keys[i % b->threads], *key = own == NULL ? EVP_EC_gen("P-256") : own;
	bool made;

	(void)snprintf(r->id, sizeof r->id, "bench-%ld-%ld", (long)getpid(), i);
	made = bench_csr(r, key, b->tags[i % b->threads], r->id);
	if (own == NULL)
		EVP_PKEY_free(key);
	if (!made)
		return false;
	r->spec = d->spec;
	(void)snprintf(r->spec.rdns[r->spec.rdn_count].oid, sizeof r->spec.rdns[0].oid, "2.5.4.3");
	(void)snprintf(r->spec.rdns[r->spec.rdn_count++].value, sizeof r->spec.rdns[0].value, "%s", b->tags[i % b->threads]);
	r->request = (struct ca_request){ .spec = &r->spec, .spki = buf_bytes(&r->spki), .key_kind = own == NULL ? KEY_EC_P256 : KEY_RSA,
		.csr = buf_bytes(&r->csr), .now_s = time_now_s(), .request_id = r->id };
	return true;
}

static void *
bench_thread(void *arg)
{
	struct bench *b = arg;
	long i = atomic_fetch_add(&b->next_thread, 1);

	for (; i < b->count; i += b->threads) {
		struct ca_answer answer = { 0 };
		struct err e = { 0 };
		double began = seconds();
		int rc = b->d->ops->issue(b->d->ca, &b->requests[i].request, &answer, &e);

		b->requests[i].took_ms = (seconds() - began) * 1000;
		if ((rc != 0 || answer.state != CA_ISSUED) && atomic_fetch_add(&b->failures, 1) == 0)
			(void)snprintf(b->first_failure, sizeof b->first_failure, "%s", rc != 0 ? e.text : "not issued at once");
		ca_answer_free(&answer);
	}
	return NULL;
}

static bool
bench_names(struct bench *b, const char *path)
{
	FILE *file = fopen(path, "r");
	char line[2 * BENCH_TEXT_MAX];
	long i;

	for (i = 0; file != NULL && i < b->threads && fgets(line, sizeof line, file) != NULL; i++)
		if (sscanf(line, "%127[^\r\n]", b->tags[i]) != 1)
			break;
	if (file != NULL)
		(void)fclose(file);
	return i == b->threads;
}

static int
by_time(const void *a, const void *b)
{
	double x = ((const struct bench_request *)a)->took_ms, y = ((const struct bench_request *)b)->took_ms;

	return (x > y) - (x < y);
}

static void
bench_run(struct bench *b)
{
	pthread_t threads[BENCH_THREADS_MAX];
	double began = seconds(), took;
	long i, made = 0;

	for (i = 0; i < b->threads && pthread_create(&threads[i], NULL, bench_thread, b) == 0; i++)
		made++;
	for (i = 0; i < made; i++)
		(void)pthread_join(threads[i], NULL);
	took = seconds() - began;
	qsort(b->requests, (size_t)b->count, sizeof *b->requests, by_time);
	printf("{\"ops\": %ld, \"failures\": %ld, \"first_failure\": \"%s\", \"seconds\": %.3f, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n",
		b->count, (long)b->failures, b->first_failure, took, b->requests[b->count / 2].took_ms,
		b->requests[b->count * 99 / 100].took_ms);
}

/* Its two lines of JSON and the go-ahead between them are as tests/bench/load.c has them. */
static int
run_bench(struct drive *d, char **argv, int argc, struct err *e)
{
	static struct bench b;
	long i;

	if (argc < 5)
		return usage("bench THREADS COUNT FILE KIND");
	b.d = d;
	b.threads = atol(argv[1]);
	b.count = atol(argv[2]);
	if (b.threads < 1 || b.threads > BENCH_THREADS_MAX || b.count < b.threads || d->spec.rdn_count == SPEC_RDNS_MAX)
		return usage("1 to 64 threads, and no fewer requests");
	b.requests = calloc((size_t)b.count, sizeof *b.requests);
	if (b.requests == NULL || !bench_names(&b, argv[3]))
		return usage(argv[3]);
	set_usage(d);
	for (i = 0; i < b.threads && strcmp(argv[4], "rsa") == 0; i++)
		b.keys[i] = EVP_RSA_gen(2048);
	for (i = 0; i < b.count; i++)
		if (!bench_request(&b, i))
			return fail(e);
	/* As enrolld does; these requests could not be signed any more. */
	if (quick_keys_enable(e) != 0 || key_init(e) != 0)
		return fail(e);
	printf("{\"ready\": true}\n");
	(void)fflush(stdout);
	if (getchar() != EOF)
		bench_run(&b);
	for (i = 0; i < b.count; i++) {
		buf_free(&b.requests[i].csr);
		buf_free(&b.requests[i].spki);
	}
	for (i = 0; i < b.threads; i++)
		EVP_PKEY_free(b.keys[i]);
	free(b.requests);
	return b.failures != 0;
}

static int
run(struct drive *d, char **argv, int argc)
{
	struct err e = { 0 };

	if (argc < 1)
		return usage("no command");
	d->ops = d->settings.type == NULL ? NULL : ca_ops_of(d->settings.type);
	if (d->ops == NULL)
		return usage("type= names no connector");
	if (ossl_init(&e) != 0 || key_init(&e) != 0 || scep_init(&e) != 0 || d->ops->open(&d->settings, &d->ca, &e) != 0)
		return fail(&e);
	if (strcmp(argv[0], "revoke") == 0)
		return run_revoke(d, argv, argc, &e);
	if (strcmp(argv[0], "bench") == 0)
		return run_bench(d, argv, argc, &e);
	if (strcmp(argv[0], "check") != 0)
		return run_request(d, argv, argc, &e);
	if (d->ops->check(d->ca, &e) != 0)
		return fail(&e);
	printf("well\n");
	return 0;
}

int
main(int argc, char **argv)
{
	static struct drive d;
	int i, rc;

	(void)signal(SIGPIPE, SIG_IGN);
	set_defaults(&d);
	for (i = 1; i < argc && strchr(argv[i], '=') != NULL; i++) {
		char *equals = strchr(argv[i], '=');

		*equals = '\0';
		if (!set(&d, argv[i], equals + 1))
			return usage(argv[i]);
	}
	rc = run(&d, argv + i, argc - i);
	if (d.ca != NULL)
		d.ops->close(d.ca);
	buf_free(&d.csr);
	buf_free(&d.spki);
	return rc;
}
