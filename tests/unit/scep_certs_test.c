/* Certificates of messages are what x509_from_der() makes of them, only sooner. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include <openssl/provider.h>
#include <openssl/rsa.h>

#include "scep/read.h"

static EVP_PKEY *rsa, *ec;

static int
setup(void **state)
{
	struct err e;

	(void)state;
	if (ossl_init(&e) != 0 || (scep_init(&e) != 0 && e.code != ERR_UNSUPPORTED))
		return -1;
	rsa = EVP_RSA_gen(2048);
	ec = EVP_EC_gen("P-256");
	return rsa == NULL || ec == NULL;
}

static int
teardown(void **state)
{
	(void)state;
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ec);
	return 0;
}

static void
put_certificate(struct buf *der, EVP_PKEY *key, EVP_PKEY *signer, const char *issuer)
{
	X509 *cert = X509_new();
	X509_NAME *name = X509_NAME_new();
	struct err e;

	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), 4711), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), 0));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), 3600));
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
		(const uint8_t *)"router", -1, -1, 0), 1);
	assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)issuer, -1, -1, 0), 1);
	assert_int_equal(X509_set_issuer_name(cert, name), 1);
	assert_int_equal(X509_set_pubkey(cert, key), 1);
	assert_true(X509_sign(cert, signer, EVP_sha256()) > 0);
	assert_int_equal(x509_to_der(cert, der, &e), 0);
	X509_NAME_free(name);
	X509_free(cert);
}

static const char *
provider_of(const X509 *cert)
{
	return OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(X509_get0_pubkey(cert)));
}

/* Decodes it both ways, and leaves it to the caller. */
static X509 *
decode(EVP_PKEY *key, EVP_PKEY *signer, const char *issuer)
{
	struct buf der = { 0 }, again = { 0 };
	X509 *cert = NULL, *usual = NULL;
	struct err e;

	put_certificate(&der, key, signer, issuer);
	assert_int_equal(scep_cert_decode(buf_bytes(&der), &cert, &e), 0);
	assert_int_equal(x509_from_der(buf_bytes(&der), &usual, &e), 0);
	assert_int_equal(X509_cmp(cert, usual), 0);
	assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(cert), X509_get0_pubkey(usual)), 1);
	assert_int_equal(x509_to_der(cert, &again, &e), 0);
	assert_true(bytes_equal(buf_bytes(&again), buf_bytes(&der)));
	X509_free(usual);
	buf_free(&der);
	buf_free(&again);
	return cert;
}

static void
scep_cert_decode_hurries_with_rsa_keys_of_self_signed_certificates(void **state)
{
	X509 *cert = decode(rsa, rsa, "router");

	(void)state;
	assert_string_equal(provider_of(cert), "few");
	assert_int_equal(X509_verify(cert, X509_get0_pubkey(cert)), 1);
	assert_int_equal(X509_verify(cert, rsa), 1);
	X509_free(cert);
}

/* Another's signature below the same name twice: not verified by its own key. */
static void
scep_cert_decode_leaves_judging_to_others(void **state)
{
	EVP_PKEY *other = EVP_RSA_gen(2048);
	X509 *cert = decode(rsa, other, "router");

	(void)state;
	assert_int_not_equal(X509_verify(cert, X509_get0_pubkey(cert)), 1);
	assert_int_equal(X509_verify(cert, other), 1);
	X509_free(cert);
	EVP_PKEY_free(other);
}

/* They go on to the pipeline, which verifies chains with every kind of key. */
static void
scep_cert_decode_takes_its_time_for_all_others(void **state)
{
	X509 *issued = decode(rsa, ec, "a CA"), *elliptic = decode(ec, ec, "router");

	(void)state;
	assert_string_equal(provider_of(issued), "default");
	assert_int_equal(X509_verify(issued, ec), 1);
	assert_string_equal(provider_of(elliptic), "default");
	assert_int_equal(X509_verify(elliptic, X509_get0_pubkey(elliptic)), 1);
	X509_free(issued);
	X509_free(elliptic);
}

/* Signatures by it, and encryption to it, in the library context of everything else. */
static void
a_key_decoded_in_a_hurry_works_everywhere(void **state)
{
	static const uint8_t secret[16] = "sixteen octets.";
	X509 *cert = decode(rsa, rsa, "router");
	static const int paddings[] = { RSA_PKCS1_PADDING, RSA_PKCS1_OAEP_PADDING };
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		EVP_PKEY_CTX *in = EVP_PKEY_CTX_new_from_pkey(NULL, X509_get0_pubkey(cert), NULL);
		EVP_PKEY_CTX *out = EVP_PKEY_CTX_new(rsa, NULL);
		uint8_t encrypted[256], plain[256];
		size_t len = sizeof encrypted, plain_len = sizeof plain;

		assert_int_equal(EVP_PKEY_encrypt_init(in), 1);
		assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(in, paddings[i]), 1);
		assert_int_equal(EVP_PKEY_encrypt(in, encrypted, &len, secret, sizeof secret), 1);
		assert_int_equal(EVP_PKEY_decrypt_init(out), 1);
		assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(out, paddings[i]), 1);
		assert_int_equal(EVP_PKEY_decrypt(out, plain, &plain_len, encrypted, len), 1);
		assert_true(bytes_equal(bytes_of(plain, plain_len), bytes_of(secret, sizeof secret)));
		EVP_PKEY_CTX_free(in);
		EVP_PKEY_CTX_free(out);
	}
	X509_free(cert);
}

static void
scep_cert_decode_refuses_what_is_not_one_certificate(void **state)
{
	struct buf der = { 0 };
	X509 *cert = NULL;
	struct err e;

	(void)state;
	put_certificate(&der, rsa, rsa, "router");
	assert_int_equal(scep_cert_decode(bytes_of(NULL, 0), &cert, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_int_equal(scep_cert_decode(bytes_of(der.at, der.len - 1), &cert, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	buf_append_u8(&der, 0);
	assert_int_equal(scep_cert_decode(buf_bytes(&der), &cert, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_non_null(strstr(e.text, "after the certificate"));
	assert_null(cert);
	buf_free(&der);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scep_cert_decode_hurries_with_rsa_keys_of_self_signed_certificates),
		cmocka_unit_test(scep_cert_decode_leaves_judging_to_others),
		cmocka_unit_test(scep_cert_decode_takes_its_time_for_all_others),
		cmocka_unit_test(a_key_decoded_in_a_hurry_works_everywhere),
		cmocka_unit_test(scep_cert_decode_refuses_what_is_not_one_certificate),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
