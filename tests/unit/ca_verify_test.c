#define _GNU_SOURCE
#include "tests/unit/ca_verify_fixture.h"

#include "base/der.h"

static void
ca_verify_accepts_what_was_approved_from_another_ca(void **state)
{
	struct fixture *f = *state;
	X509 *cert = good(f);

	ext_add(cert, "authorityInfoAccess", "OCSP;URI:http://ocsp.example.net/");
	ext_add(cert, "certificatePolicies", "DER:3007300506032a0304");
	ext_add(cert, "1.2.3.4.5.6", "ASN1:UTF8String:a private note");
	assert_accepted(f, cert);
	cert = good(f);
	ext_drop(cert, NID_basic_constraints); /* FALSE by default */
	ext_swap(cert, NID_subject_alt_name, "subjectAltName", "critical,DNS:RTR-7.Example.NET,URI:urn:dev:sn:1234,"
		"IP:192.0.2.7,IP:2001:db8::7,email:ops@example.net");
	assert_accepted(f, cert);
	cert = good(f);
	ext_swap(cert, NID_key_usage, "keyUsage", "critical,digitalSignature,keyAgreement,keyEncipherment");
	assert_accepted(f, cert); /* approved, if of no use to an EC key */
	cert = good(f);
	assert_non_null(ASN1_TIME_set(X509_getm_notBefore(cert), NOW_S));
	assert_non_null(ASN1_TIME_set(X509_getm_notAfter(cert), NOW_S + DAY_S));
	assert_accepted(f, cert);
}

static void
ca_verify_accepts_what_the_builtin_ca_gives(void **state)
{
	struct fixture *f = *state;
	struct ca *ca = opened(f);
	struct ca_answer answer = { 0 };
	struct err e = { 0 };

	assert_int_equal(ca_builtin.issue(ca, &f->request, &answer, &e), 0);
	assert_int_equal(ca_verify_issued(buf_bytes(&answer.cert), &f->request, f->issuing, &e), 0);
	ca_answer_free(&answer);
	ca_builtin.close(ca);
}

static void
ca_verify_knows_the_signatures_of_every_kind_of_issuer(void **state)
{
	static const char *const kinds[] = { "P-384", "RSA-2048", "Ed25519" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		struct fixture *f = fixture_make(kinds[i]);
		X509 *cert = good(f);
		struct err e = { 0 };

		assert_true(X509_sign(cert, f->issuing_key, i == 2 ? NULL : EVP_sha512()) > 0);
		if (verify(f, cert, &e) != 0)
			fail_msg("%s: %s", kinds[i], e.text);
		X509_free(cert);
		fixture_free(f);
	}
}

static void
ca_verify_refuses_another_key(void **state)
{
	struct fixture *f = *state;
	X509 *cert = good(f);

	assert_int_equal(X509_set_pubkey(cert, f->root_key), 1);
	assert_refused(f, cert, "another key");
	f->request.spki = bytes_of(NULL, 0);
	assert_refused(f, good(f), "another key");
}

static void
ca_verify_refuses_a_signature_that_is_not_the_issuers(void **state)
{
	struct fixture *f = *state;
	const ASN1_BIT_STRING *signature = NULL;
	X509 *cert = good(f);
	struct err e = { 0 };

	assert_true(X509_sign(cert, f->root_key, EVP_sha256()) > 0);
	assert_failed(verify(f, cert, &e), &e, ERR_DENIED, "its signature is not the issuer's");
	sign(f, cert);
	assert_int_equal(verify(f, cert, &e), 0);
	X509_get0_signature(&signature, NULL, cert);
	signature->data[10] ^= 1;
	assert_failed(verify(f, cert, &e), &e, ERR_DENIED, "its signature is not the issuer's");
	X509_free(cert);
}

static void
ca_verify_refuses_weak_and_unfit_signature_algorithms(void **state)
{
	struct fixture *f = *state;
	struct fixture *rsa = fixture_make("RSA-2048");
	X509 *cert = good(f);
	struct err e = { 0 };

	assert_true(X509_sign(cert, f->issuing_key, EVP_sha1()) > 0);
	assert_failed(verify(f, cert, &e), &e, ERR_DENIED, "algorithm is not acceptable");
	X509_free(cert);
	cert = good(rsa);
	sign(rsa, cert);
	rsa->request.spki = buf_bytes(&rsa->spki);
	X509_free(rsa->issuing);
	rsa->issuing = ca_cert_make("Test Issuing", rsa->root_key, NULL, NULL, 0);
	assert_failed(verify(rsa, cert, &e), &e, ERR_DENIED, "does not fit the issuer's key");
	X509_free(cert);
	fixture_free(rsa);
}

static void
ca_verify_refuses_two_signature_algorithms(void **state)
{
	struct fixture *f = *state;
	const X509_ALGOR *outer = NULL;
	X509 *cert = good(f);
	struct err e = { 0 };
	X509_ALGOR *copy;

	sign(f, cert);
	X509_get0_signature(NULL, &outer, cert);
	memcpy(&copy, &outer, sizeof copy);
	assert_int_equal(X509_ALGOR_set0(copy, OBJ_nid2obj(NID_ecdsa_with_SHA384), V_ASN1_UNDEF, NULL), 1);
	assert_failed(verify(f, cert, &e), &e, ERR_DENIED, "two signature algorithms");
	X509_free(cert);
}

static void
ca_verify_refuses_another_issuer(void **state)
{
	struct fixture *f = *state;
	X509 *cert = good(f);

	assert_int_equal(X509_set_issuer_name(cert, X509_get_subject_name(f->root)), 1);
	assert_refused(f, cert, "another issuer");
	cert = good(f);
	ext_add(cert, "authorityKeyIdentifier", "DER:3016801400112233445566778899aabbccddeeff00112233");
	assert_refused(f, cert, "authorityKeyIdentifier is not the issuer's");
}

static void
ca_verify_compares_issuer_names_as_names(void **state)
{
	struct fixture *f = *state;
	X509_NAME *name = X509_NAME_new();
	X509 *cert = good(f);

	/* RFC 5280, section 7.1: string types and case do not count. */
	assert_int_equal(X509_NAME_add_entry_by_txt(name, "O", V_ASN1_PRINTABLESTRING,
		(const unsigned char *)"EXAMPLE works", -1, -1, 0), 1);
	assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", V_ASN1_PRINTABLESTRING,
		(const unsigned char *)"Test Issuing", -1, -1, 0), 1);
	assert_int_equal(X509_set_issuer_name(cert, name), 1);
	assert_accepted(f, cert);
	X509_NAME_free(name);
}

static void
ca_verify_refuses_versions_before_3(void **state)
{
	struct fixture *f = *state;
	X509 *cert = good(f);

	assert_int_equal(X509_set_version(cert, X509_VERSION_1), 1);
	assert_refused(f, cert, "not a version 3");
	cert = good(f);
	assert_int_equal(X509_set_version(cert, X509_VERSION_2), 1);
	assert_refused(f, cert, "not a version 3");
}

/* A certificate with an issuerUniqueID, which OpenSSL cannot make: its octets are spliced in and signed. */
static void
ca_verify_refuses_unique_identifiers(void **state)
{
	static const uint8_t unique[] = { DER_CONTEXT(1), 2, 0, 0x42 };
	CLEANUP(EVP_MD_CTX) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	CLEANUP(buf) struct buf tbs = { 0 };
	CLEANUP(buf) struct buf der = { 0 };
	struct fixture *f = *state;
	X509 *cert = good(f);
	uint8_t *octets = NULL, *spki, signature[80];
	struct err e = { 0 };
	size_t mark, inner, len = sizeof signature, head = 4; /* 30 82 LL LL */
	int whole;

	sign(f, cert);
	whole = i2d_re_X509_tbs(cert, &octets);
	assert_true(whole > 255);
	spki = memmem(octets, (size_t)whole, f->spki.at, f->spki.len);
	assert_non_null(spki);
	spki += f->spki.len;
	mark = der_begin(&tbs, DER_SEQUENCE);
	buf_append(&tbs, octets + head, (size_t)(spki - octets) - head);
	buf_append(&tbs, unique, sizeof unique);
	buf_append(&tbs, spki, (size_t)(octets + whole - spki));
	der_end(&tbs, mark);
	assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, f->issuing_key), 1);
	assert_int_equal(EVP_DigestSign(ctx, signature, &len, tbs.at, tbs.len), 1);
	mark = der_begin(&der, DER_SEQUENCE);
	buf_append_bytes(&der, buf_bytes(&tbs));
	inner = der_begin(&der, DER_SEQUENCE);
	der_put_oid(&der, "1.2.840.10045.4.3.2");
	der_end(&der, inner);
	inner = der_begin(&der, DER_BIT_STRING);
	buf_append_u8(&der, 0);
	buf_append(&der, signature, len);
	der_end(&der, inner);
	der_end(&der, mark);
	assert_failed(ca_verify_issued(buf_bytes(&der), &f->request, f->issuing, &e), &e, ERR_DENIED,
		"unique identifier");
	OPENSSL_free(octets);
	X509_free(cert);
}

static void
ca_verify_refuses_bad_serial_numbers(void **state)
{
	uint8_t octets[65] = { 0x7f, 1 };
	struct fixture *f = *state;
	X509 *cert = good(f);

	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), 0), 1);
	assert_refused(f, cert, "serial number is zero");
	cert = good(f);
	serial_put(cert, octets, 16);
	X509_get_serialNumber(cert)->type = V_ASN1_NEG_INTEGER;
	assert_refused(f, cert, "serial number is negative: -7f010000");
	cert = good(f);
	serial_put(cert, octets, 5);
	assert_refused(f, cert, "7f01000000 has 5 octets; fewer than 6");
	cert = good(f);
	serial_put(cert, octets, 21);
	assert_refused(f, cert, "longer than 20 octets: 7f010000");
	octets[0] = 0x80;
	cert = good(f);
	serial_put(cert, octets, 20); /* needs a sign octet, the 21st */
	assert_refused(f, cert, "longer than 20 octets: 80010000");
	octets[0] = 0x7f;
	cert = good(f);
	serial_put(cert, octets, 65);
	assert_refused(f, cert, "65 octets: 7f01000000000000000000000000000000000000...");
	cert = good(f);
	serial_put(cert, octets, 20);
	assert_accepted(f, cert);
}

/* CA/Browser Forum: "at least 64 bits of output from a CSPRNG", which may begin with zeros, and with a one, which takes a ninth octet. */
static void
ca_verify_accepts_all_but_few_of_random_64_bit_serial_numbers(void **state)
{
	static const uint8_t random[] = { 0xff, 0xed, 0xcb, 0xa9, 0x87, 0x65, 0x43, 0x21 };
	struct fixture *f = *state;
	int zeros;

	for (zeros = 0; zeros <= 2; zeros++) {
		X509 *cert = good(f);

		serial_put(cert, random + zeros, (int)sizeof random - zeros);
		assert_accepted(f, cert);
	}
}

static void
ca_verify_refuses_more_time_than_approved(void **state)
{
	struct fixture *f = *state;
	X509 *cert = good(f);

	assert_non_null(ASN1_TIME_set(X509_getm_notAfter(cert), f->spec.not_after_s + 1));
	assert_refused(f, cert, "valid beyond the approved");
	cert = good(f);
	assert_non_null(ASN1_TIME_set(X509_getm_notBefore(cert), f->spec.not_before_s - 1));
	assert_refused(f, cert, "valid before the approved");
	cert = good(f);
	assert_non_null(ASN1_TIME_set(X509_getm_notAfter(cert), NOW_S));
	assert_refused(f, cert, "expired already");
}

static void
ca_verify_refuses_what_is_not_valid_yet(void **state)
{
	struct fixture *f = *state;
	X509 *cert = good(f);

	assert_non_null(ASN1_TIME_set(X509_getm_notBefore(cert), NOW_S + 300));
	assert_accepted(f, cert); /* its clock is ahead of ours */
	cert = good(f);
	assert_non_null(ASN1_TIME_set(X509_getm_notBefore(cert), NOW_S + 301));
	assert_refused(f, cert, "not valid before");
}

static void
ca_verify_refuses_whatever_an_expired_issuer_signed(void **state)
{
	struct fixture *f = *state;

	assert_non_null(ASN1_TIME_set(X509_getm_notAfter(f->issuing), NOW_S - 1));
	assert_true(X509_sign(f->issuing, f->root_key, EVP_sha256()) > 0);
	assert_refused(f, good(f), "issuing certificate is not valid now");
}

/* The SAN as approved, and behind it, in the same OCTET STRING, one that other readers may find. */
static void
ca_verify_refuses_octets_behind_an_extension(void **state)
{
	static const int kinds[] = { NID_subject_alt_name, NID_key_usage, NID_ext_key_usage, NID_basic_constraints };
	static const uint8_t more[] = { 0x30, 0x06, 0x82, 0x04, 'e', 'v', 'i', 'l' };
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		X509 *cert = good(f);
		X509_EXTENSION *extension = X509_get_ext(cert, X509_get_ext_by_NID(cert, kinds[i], -1));
		ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_dup(X509_EXTENSION_get_data(extension));
		CLEANUP(buf) struct buf octets = { 0 };

		buf_append(&octets, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
		buf_append(&octets, more, sizeof more);
		assert_int_equal(ASN1_OCTET_STRING_set(value, octets.at, (int)octets.len), 1);
		assert_int_equal(X509_EXTENSION_set_data(extension, value), 1);
		ASN1_OCTET_STRING_free(value);
		assert_refused(f, cert, "octets after it");
	}
}

static void
ca_verify_refuses_names_and_usages_by_other_extensions(void **state)
{
	struct fixture *f = *state;
	X509 *cert = good(f);

	ext_add(cert, "1.3.6.1.4.1.311.21.10", "DER:300c300a06082b06010505070303"); /* codeSigning, to Windows */
	assert_refused(f, cert, "application policy 1.3.6.1.5.5.7.3.3 was not approved");
	cert = good(f);
	ext_add(cert, "1.3.6.1.4.1.311.21.10", "DER:300c300a06082b060105050703020500"); /* and something behind it */
	assert_refused(f, cert, "cannot be read");
	cert = good(f);
	ext_add(cert, "1.3.6.1.4.1.311.21.10", "DER:300c300a06082b06010505070302"); /* ADCS repeats what is in the EKU */
	assert_accepted(f, cert);
	cert = good(f);
	ext_add(cert, "1.3.6.1.4.1.311.25.2", "DER:3010a00e060a2b0601040182371902010400");
	assert_refused(f, cert, "a name or a usage that was not approved");
	cert = good(f);
	ext_add(cert, "nsCertType", "sslCA");
	assert_refused(f, cert, "a name or a usage that was not approved");
}

static void
ca_verify_refuses_octets_that_are_no_certificate(void **state)
{
	CLEANUP(buf) struct buf der = { 0 };
	struct fixture *f = *state;
	struct err e = { 0 };
	X509 *cert = good(f);
	size_t i;

	sign(f, cert);
	assert_int_equal(x509_to_der(cert, &der, &e), 0);
	for (i = 0; i < der.len; i++)
		assert_int_equal(ca_verify_issued(bytes_of(der.at, i), &f->request, f->issuing, &e), -1);
	buf_append_u8(&der, 0);
	assert_failed(ca_verify_issued(buf_bytes(&der), &f->request, f->issuing, &e), &e, ERR_DENIED,
		"octets after the certificate");
	X509_free(cert);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ca_verify_accepts_what_was_approved_from_another_ca),
		TEST(ca_verify_accepts_what_the_builtin_ca_gives),
		cmocka_unit_test(ca_verify_knows_the_signatures_of_every_kind_of_issuer),
		TEST(ca_verify_refuses_another_key),
		TEST(ca_verify_refuses_a_signature_that_is_not_the_issuers),
		TEST(ca_verify_refuses_weak_and_unfit_signature_algorithms),
		TEST(ca_verify_refuses_two_signature_algorithms),
		TEST(ca_verify_refuses_another_issuer),
		TEST(ca_verify_compares_issuer_names_as_names),
		TEST(ca_verify_refuses_versions_before_3),
		TEST(ca_verify_refuses_unique_identifiers),
		TEST(ca_verify_refuses_bad_serial_numbers),
		TEST(ca_verify_accepts_all_but_few_of_random_64_bit_serial_numbers),
		TEST(ca_verify_refuses_more_time_than_approved),
		TEST(ca_verify_refuses_what_is_not_valid_yet),
		TEST(ca_verify_refuses_whatever_an_expired_issuer_signed),
		TEST(ca_verify_refuses_octets_behind_an_extension),
		TEST(ca_verify_refuses_names_and_usages_by_other_extensions),
		TEST(ca_verify_refuses_octets_that_are_no_certificate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
