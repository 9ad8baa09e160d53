/*
 * ca_fixture.h - a two-tier CA in a temporary folder, and a spec to issue by. For the ca_*_test programs.
 */
#ifndef TESTS_UNIT_CA_FIXTURE_H
#define TESTS_UNIT_CA_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/pem.h>

#include "gateway/ca/ca.h"

#define NOW_S  INT64_C(1790000000)
#define DAY_S  INT64_C(86400)
#define YEAR_S (365 * DAY_S)

struct fixture {
	char dir[64];
	EVP_PKEY *root_key, *issuing_key, *leaf_key;
	X509 *root, *issuing;
	char root_path[128], issuing_path[128], key_path[128];
	const char *chain[1];
	struct ca_settings settings;
	char eku[2][64];
	struct cert_spec spec;
	struct buf spki;
	struct ca_request request;
};

static inline EVP_PKEY *
key_make(const char *kind)
{
	EVP_PKEY *key;

	if (strncmp(kind, "RSA-", 4) == 0)
		key = EVP_RSA_gen((unsigned)atoi(kind + 4));
	else if (strcmp(kind, "Ed25519") == 0)
		key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	else
		key = EVP_EC_gen(kind);
	assert_non_null(key);
	return key;
}

static inline void
path_make(const struct fixture *f, const char *name, char out[128])
{
	assert_true(snprintf(out, 128, "%s/%s", f->dir, name) < 128);
}

static inline void
cert_write(const char *path, X509 *first, X509 *second)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(PEM_write_X509(file, first), 1);
	if (second != NULL)
		assert_int_equal(PEM_write_X509(file, second), 1);
	assert_int_equal(fclose(file), 0);
}

static inline void
key_write(const char *path, EVP_PKEY *key)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(PEM_write_PKCS8PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(file), 0);
}

static inline X509 *
ca_cert_make(const char *cn, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, int path_len)
{
	struct ca_make make = { .common_name = cn, .organisation = "Example Works", .key = key,
		.issuer = issuer, .issuer_key = issuer_key, .path_len = path_len,
		.not_before_s = NOW_S - YEAR_S, .not_after_s = NOW_S + 10 * YEAR_S };
	struct err e = { 0 };
	X509 *cert = NULL;

	if (ca_make_certificate(&make, &cert, &e) != 0)
		fail_msg("%s", e.text);
	return cert;
}

static inline void
spki_of(EVP_PKEY *key, struct buf *out)
{
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(key, &der);

	assert_true(len > 0);
	buf_clear(out);
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
}

static inline void
spec_make(struct fixture *f)
{
	f->spec = (struct cert_spec){
		.rdns = { { "2.5.4.6", "CH" }, { "2.5.4.10", "Zürcher Werke" }, { "2.5.4.3", "rtr-7" },
			{ "2.5.4.5", "SN-1234" } },
		.rdn_count = 4,
		.sans = { { SPEC_SAN_DNS, "rtr-7.example.net" }, { SPEC_SAN_URI, "urn:dev:sn:1234" },
			{ SPEC_SAN_IP, "192.0.2.7" }, { SPEC_SAN_IP, "2001:db8::7" },
			{ SPEC_SAN_EMAIL, "ops@example.net" } },
		.san_count = 5,
		.key_usage = USAGE_DIGITAL_SIGNATURE | USAGE_KEY_ENCIPHERMENT | USAGE_KEY_AGREEMENT,
		.eku = (const char (*)[64])f->eku,
		.eku_count = 2,
		.not_before_s = NOW_S - 300,
		.not_after_s = NOW_S + 90 * DAY_S,
	};
	strcpy(f->eku[0], "1.3.6.1.5.5.7.3.2");
	strcpy(f->eku[1], "1.3.6.1.5.5.7.3.1");
	f->request = (struct ca_request){ .spec = &f->spec, .spki = buf_bytes(&f->spki),
		.key_kind = KEY_EC_P256, .now_s = NOW_S };
}

/* Give the request another key to certify. */
static inline void
leaf_key_use(struct fixture *f, const char *name, enum key_kind kind)
{
	EVP_PKEY_free(f->leaf_key);
	f->leaf_key = key_make(name);
	spki_of(f->leaf_key, &f->spki);
	f->request.spki = buf_bytes(&f->spki);
	f->request.key_kind = kind;
}

static inline struct fixture *
fixture_make(const char *issuing_kind)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct err e;

	assert_non_null(f);
	assert_int_equal(ossl_init(&e), 0);
	assert_int_equal(key_init(&e), 0);
	strcpy(f->dir, "/tmp/ca-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	path_make(f, "root.pem", f->root_path);
	path_make(f, "issuing.pem", f->issuing_path);
	path_make(f, "issuing.key", f->key_path);
	f->root_key = key_make("P-256");
	f->issuing_key = key_make(issuing_kind);
	f->leaf_key = key_make("P-256");
	f->root = ca_cert_make("Test Root", f->root_key, NULL, NULL, 1);
	f->issuing = ca_cert_make("Test Issuing", f->issuing_key, f->root, f->root_key, 0);
	cert_write(f->root_path, f->root, NULL);
	cert_write(f->issuing_path, f->issuing, NULL);
	key_write(f->key_path, f->issuing_key);
	f->chain[0] = f->root_path;
	f->settings = (struct ca_settings){ .name = "plant", .type = "builtin", .certificate = f->issuing_path,
		.key = f->key_path, .chain = f->chain, .chain_count = 1,
		.crl_url = "http://pki.example.net/plant.crl", .ocsp_url = "http://ocsp.example.net/",
		.issuer_url = "http://pki.example.net/plant.cer" };
	spki_of(f->leaf_key, &f->spki);
	spec_make(f);
	return f;
}

static inline void
fixture_free(struct fixture *f)
{
	(void)unlink(f->root_path);
	(void)unlink(f->issuing_path);
	(void)unlink(f->key_path);
	assert_int_equal(rmdir(f->dir), 0);
	EVP_PKEY_free(f->root_key);
	EVP_PKEY_free(f->issuing_key);
	EVP_PKEY_free(f->leaf_key);
	X509_free(f->root);
	X509_free(f->issuing);
	buf_free(&f->spki);
	free(f);
}

static inline int
fixture_setup(void **state)
{
	*state = fixture_make("P-256");
	return 0;
}

static inline int
fixture_teardown(void **state)
{
	fixture_free(*state);
	return 0;
}

/* The call failed with this code and its text holds this part. */
static inline void
assert_failed(int result, const struct err *e, enum err_code code, const char *part)
{
	assert_int_equal(result, -1);
	if (e->code != code || strstr(e->text, part) == NULL)
		fail_msg("got %s \"%s\", wanted %s \"%s\"", err_code_name(e->code), e->text,
			err_code_name(code), part);
}

static inline struct ca *
opened(const struct fixture *f)
{
	struct ca *ca = NULL;
	struct err e = { 0 };

	if (ca_builtin.open(&f->settings, &ca, &e) != 0)
		fail_msg("%s", e.text);
	return ca;
}

static inline X509 *
issued(struct ca *ca, const struct ca_request *request, char serial[SERIAL_HEX_MAX])
{
	struct ca_answer answer = { 0 };
	struct err e = { 0 };
	X509 *cert = NULL;

	if (ca_builtin.issue(ca, request, &answer, &e) != 0)
		fail_msg("%s", e.text);
	assert_int_equal(answer.state, CA_ISSUED);
	assert_int_equal(x509_from_der(buf_bytes(&answer.cert), &cert, &e), 0);
	if (serial != NULL)
		memcpy(serial, answer.serial, SERIAL_HEX_MAX);
	ca_answer_free(&answer);
	return cert;
}

static inline X509 *
issued_once(const struct fixture *f)
{
	struct ca *ca = opened(f);
	X509 *cert = issued(ca, &f->request, NULL);

	ca_builtin.close(ca);
	return cert;
}

static inline void
assert_not_issued(const struct fixture *f, enum err_code code, const char *part)
{
	struct ca *ca = opened(f);
	struct ca_answer answer = { 0 };
	struct err e = { 0 };

	assert_failed(ca_builtin.issue(ca, &f->request, &answer, &e), &e, code, part);
	assert_null(answer.cert.at);
	ca_builtin.close(ca);
}

#endif
