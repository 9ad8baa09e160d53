/*
 * policy_attest_certs.h - keys, and certificates with given ends and usages, for tests of evidence.
 */
#ifndef TESTS_UNIT_POLICY_ATTEST_CERTS_H
#define TESTS_UNIT_POLICY_ATTEST_CERTS_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/key.h"
#include "policy/attest/attest.h"

#define NOW_S 1800000000 /* 2027-01-15 */
#define DAY_S 86400

struct cert_wish {
	const char *cn;
	EVP_PKEY *key;
	X509 *issuer;          /* NULL: self-signed */
	EVP_PKEY *issuer_key;
	bool is_ca;
	const char *usage;     /* extendedKeyUsage as in openssl.cnf; NULL: none */
	const char *key_usage; /* likewise */
	int64_t from_s, to_s;  /* 0: a day before, a day after NOW_S */
};

static inline void
cert_extension(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(extension);
	assert_int_equal(X509_add_ext(cert, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

static inline X509 *
cert_make(const struct cert_wish *wish)
{
	static long serial;
	X509 *cert = X509_new();
	EVP_PKEY *signer = wish->issuer_key == NULL ? wish->key : wish->issuer_key;

	assert_int_equal(X509_set_version(cert, X509_VERSION_3), 1);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
	ASN1_TIME_set(X509_getm_notBefore(cert), wish->from_s == 0 ? NOW_S - DAY_S : wish->from_s);
	ASN1_TIME_set(X509_getm_notAfter(cert), wish->to_s == 0 ? NOW_S + DAY_S : wish->to_s);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8, (const uint8_t *)wish->cn, -1,
		-1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(wish->issuer == NULL ? cert : wish->issuer));
	X509_set_pubkey(cert, wish->key);
	cert_extension(cert, NID_basic_constraints, wish->is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
	if (wish->usage != NULL)
		cert_extension(cert, NID_ext_key_usage, wish->usage);
	if (wish->key_usage != NULL)
		cert_extension(cert, NID_key_usage, wish->key_usage);
	assert_true(X509_sign(cert, signer, EVP_sha256()) > 0);
	return cert;
}

static inline struct bytes
cert_der(const X509 *cert, struct buf *out)
{
	struct err e;

	buf_clear(out);
	assert_int_equal(x509_to_der(cert, out, &e), 0);
	return buf_bytes(out);
}

static inline struct bytes
spki_der(EVP_PKEY *key, struct buf *out)
{
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(key, &der);

	assert_true(len > 0);
	buf_clear(out);
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	return buf_bytes(out);
}

/* NULL: no such check was made. */
static inline const struct attest_check *
check_named(const struct attestation *out, const char *name)
{
	size_t i;

	for (i = 0; i < out->check_count; i++)
		if (strcmp(out->checks[i].name, name) == 0)
			return &out->checks[i];
	return NULL;
}

static inline void
print_checks(const struct attestation *out)
{
	size_t i;

	for (i = 0; i < out->check_count; i++)
		print_message("%s %s: %s\n", out->checks[i].passed ? "pass" : "FAIL", out->checks[i].name,
			out->checks[i].saw);
}

/* Exactly these failed; the list ends with NULL. */
static inline void
assert_only_failed(const struct attestation *out, const char *const *names)
{
	size_t i, failed = 0, wanted = 0;

	for (i = 0; i < out->check_count; i++)
		failed += !out->checks[i].passed;
	for (; names[wanted] != NULL; wanted++) {
		const struct attest_check *check = check_named(out, names[wanted]);

		if (check == NULL || check->passed) {
			print_checks(out);
			fail_msg("%s has not failed", names[wanted]);
		}
	}
	if (failed != wanted) {
		print_checks(out);
		fail_msg("%zu checks failed, not %zu", failed, wanted);
	}
	assert_false(out->valid || out->fresh || out->key_bound);
	assert_int_equal(out->anchor_count, 0);
}

#endif
