/*
 * ca_verify_fixture.h - certificates of another CA, right and wrong. For the ca_verify_*test programs.
 *
 * They are made with OpenSSL's own X509 functions, so that the checker is not
 * tested against its sibling, the writer.
 */
#ifndef TESTS_UNIT_CA_VERIFY_FIXTURE_H
#define TESTS_UNIT_CA_VERIFY_FIXTURE_H

#include "tests/unit/ca_fixture.h"
#include "gateway/ca/leaf.h"
#include "gateway/ca/verifier.h"

static inline void
ext_add(X509 *cert, const char *name, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_nconf(NULL, NULL, name, value);

	assert_non_null(extension);
	assert_int_equal(X509_add_ext(cert, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

static inline void
ext_drop(X509 *cert, int nid)
{
	int i = X509_get_ext_by_NID(cert, nid, -1);

	assert_true(i >= 0);
	X509_EXTENSION_free(X509_delete_ext(cert, i));
}

static inline void
ext_swap(X509 *cert, int nid, const char *name, const char *value)
{
	ext_drop(cert, nid);
	ext_add(cert, name, value);
}

static inline void
rdn_add(X509 *cert, const char *name, const char *value)
{
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), name, MBSTRING_UTF8,
		(const unsigned char *)value, -1, -1, 0), 1);
}

static inline void
serial_put(X509 *cert, const uint8_t *octets, int len)
{
	assert_int_equal(ASN1_STRING_set(X509_get_serialNumber(cert), octets, len), 1);
}

#define GOOD_SAN "DNS:rtr-7.example.net,URI:urn:dev:sn:1234,IP:192.0.2.7,IP:2001:db8::7,email:ops@example.net"

/* The certificate that the fixture's spec approves, unsigned; order and string types are another CA's. */
static inline X509 *
good(const struct fixture *f)
{
	static const uint8_t serial[] = { 0x51, 2, 3, 4, 5, 6, 7, 8 };
	X509 *cert = X509_new();

	assert_int_equal(X509_set_version(cert, X509_VERSION_3), 1);
	serial_put(cert, serial, sizeof serial);
	rdn_add(cert, "CN", "rtr-7");
	rdn_add(cert, "serialNumber", "SN-1234");
	rdn_add(cert, "O", "Zürcher Werke");
	rdn_add(cert, "C", "CH");
	assert_int_equal(X509_set_issuer_name(cert, X509_get_subject_name(f->issuing)), 1);
	assert_int_equal(X509_set_pubkey(cert, f->leaf_key), 1);
	assert_non_null(ASN1_TIME_set(X509_getm_notBefore(cert), f->spec.not_before_s));
	assert_non_null(ASN1_TIME_set(X509_getm_notAfter(cert), f->spec.not_after_s));
	ext_add(cert, "basicConstraints", "critical,CA:FALSE");
	ext_add(cert, "keyUsage", "critical,digitalSignature,keyAgreement");
	ext_add(cert, "extendedKeyUsage", "serverAuth,clientAuth");
	ext_add(cert, "subjectAltName", GOOD_SAN);
	return cert;
}

static inline int
verify(const struct fixture *f, X509 *cert, struct err *e)
{
	CLEANUP(buf) struct buf der = { 0 };
	struct verifier *verifier = NULL;
	struct err other;
	int result;

	assert_int_equal(x509_to_der(cert, &der, e), 0);
	result = ca_verify_issued(buf_bytes(&der), &f->request, f->issuing, e);
	/* With a key that was prepared for SHA-256 before it says the same. */
	if (verifier_new(X509_get0_pubkey(f->issuing), ossl_sha256(), &verifier, &other) == 0)
		assert_int_equal(leaf_verify(buf_bytes(&der), &f->request, f->issuing, verifier, &other), result);
	verifier_free(verifier);
	return result;
}

static inline void
sign(const struct fixture *f, X509 *cert)
{
	assert_true(X509_sign(cert, f->issuing_key, EVP_sha256()) > 0);
}

static inline void
assert_accepted(const struct fixture *f, X509 *cert)
{
	struct err e = { 0 };

	sign(f, cert);
	if (verify(f, cert, &e) != 0)
		fail_msg("%s", e.text);
	X509_free(cert);
}

static inline void
assert_refused(const struct fixture *f, X509 *cert, const char *part)
{
	struct err e = { 0 };

	sign(f, cert);
	assert_failed(verify(f, cert, &e), &e, ERR_DENIED, part);
	assert_non_null(strstr(e.text, "not what was approved"));
	X509_free(cert);
}

#endif
