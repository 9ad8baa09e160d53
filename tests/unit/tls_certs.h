/*
 * tls_certs.h - a CA, server and client certificates, and their files in a temporary folder. For tests of outbound calls.
 */
#ifndef TESTS_UNIT_TLS_CERTS_H
#define TESTS_UNIT_TLS_CERTS_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "base/ossl.h"

struct folder {
	char path[64];
};

static inline void
folder_make(struct folder *f)
{
	(void)snprintf(f->path, sizeof f->path, "/tmp/outbound_test.XXXXXX");
	assert_non_null(mkdtemp(f->path));
}

static inline void
folder_remove(const struct folder *f)
{
	char command[96];

	(void)snprintf(command, sizeof command, "rm -rf '%s'", f->path);
	assert_int_equal(system(command), 0);
}

/* A file with this text and mode; its path is in out. */
static inline const char *
file_make(const struct folder *f, const char *name, const char *text, mode_t mode, char out[128])
{
	FILE *file;

	assert_true(snprintf(out, 128, "%s/%s", f->path, name) < 128);
	file = fopen(out, "w");
	assert_non_null(file);
	assert_int_equal(fchmod(fileno(file), mode), 0);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	return out;
}

struct cert_wish {
	const char *cn;
	const char *san;    /* "IP:127.0.0.1,DNS:localhost"; NULL: none */
	bool ca;
	long days;          /* from now; negative: expired */
};

static inline void
extension_add(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *extension;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(extension);
	assert_int_equal(X509_add_ext(cert, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

/* issuer NULL: self-signed. */
static inline X509 *
cert_make(const struct cert_wish *wish, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key)
{
	X509 *cert = X509_new();
	X509_NAME *name = X509_NAME_new();
	static long serial = 0x1000;

	assert_non_null(cert);
	assert_non_null(name);
	assert_int_equal(X509_set_version(cert, 2), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial), 1);
	assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)wish->cn, -1, -1, 0), 1);
	assert_int_equal(X509_set_subject_name(cert, name), 1);
	assert_int_equal(X509_set_issuer_name(cert, issuer == NULL ? name : X509_get_subject_name(issuer)), 1);
	X509_NAME_free(name);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), -10 * 86400L));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), wish->days * 86400L));
	assert_int_equal(X509_set_pubkey(cert, key), 1);
	extension_add(cert, issuer == NULL ? cert : issuer, NID_basic_constraints, wish->ca ? "critical,CA:TRUE" : "CA:FALSE");
	if (wish->san != NULL)
		extension_add(cert, issuer, NID_subject_alt_name, wish->san);
	assert_true(X509_sign(cert, issuer_key, EVP_sha256()) > 0);
	return cert;
}

/* Two CAs that know nothing of each other, and a server certificate of the first one. */
struct certs {
	struct folder folder;
	EVP_PKEY *key; /* everybody's: what is tested here is trust, not keys */
	EVP_PKEY *ca_key, *other_key;
	X509 *ca, *other_ca, *server, *client;
	char ca_file[128], other_file[128], client_file[128], client_key[128];
};

static inline void
pem_write(const struct certs *c, const char *name, X509 *cert, EVP_PKEY *key, char out[128])
{
	FILE *file;

	assert_true(snprintf(out, 128, "%s/%s", c->folder.path, name) < 128);
	file = fopen(out, "w");
	assert_non_null(file);
	assert_int_equal(fchmod(fileno(file), 0600), 0);
	if (cert != NULL)
		assert_int_equal(PEM_write_X509(file, cert), 1);
	if (key != NULL)
		assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(file), 0);
}

static inline void
certs_make(struct certs *c)
{
	struct err e = { 0 };

	*c = (struct certs){ 0 };
	assert_int_equal(ossl_init(&e), 0);
	folder_make(&c->folder);
	c->key = EVP_EC_gen("P-256");
	c->ca_key = EVP_EC_gen("P-256");
	c->other_key = EVP_EC_gen("P-256");
	assert_true(c->key != NULL && c->ca_key != NULL && c->other_key != NULL);
	c->ca = cert_make(&(struct cert_wish){ .cn = "Test CA", .ca = true, .days = 10 }, c->ca_key, NULL, c->ca_key);
	c->other_ca = cert_make(&(struct cert_wish){ .cn = "Other CA", .ca = true, .days = 10 }, c->other_key, NULL, c->other_key);
	c->server = cert_make(&(struct cert_wish){ .cn = "server", .san = "IP:127.0.0.1", .days = 5 }, c->key, c->ca, c->ca_key);
	c->client = cert_make(&(struct cert_wish){ .cn = "gateway", .days = 5 }, c->key, c->ca, c->ca_key);
	pem_write(c, "ca.pem", c->ca, NULL, c->ca_file);
	pem_write(c, "other.pem", c->other_ca, NULL, c->other_file);
	pem_write(c, "client.pem", c->client, NULL, c->client_file);
	pem_write(c, "client.key", NULL, c->key, c->client_key);
}

static inline void
certs_free(struct certs *c)
{
	folder_remove(&c->folder);
	X509_free(c->ca);
	X509_free(c->other_ca);
	X509_free(c->server);
	X509_free(c->client);
	EVP_PKEY_free(c->key);
	EVP_PKEY_free(c->ca_key);
	EVP_PKEY_free(c->other_key);
}

/* A server context with this certificate, whose key is c->key. */
static inline SSL_CTX *
certs_context(const struct certs *c, X509 *cert)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	assert_non_null(ctx);
	assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, c->key), 1);
	return ctx;
}

#endif
