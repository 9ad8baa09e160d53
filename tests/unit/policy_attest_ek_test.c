/* EK certificates: whose word it is that a key is an endorsement key. */
#include "policy_attest_certs.h"

#include "policy/attest/credential.h"

#define EKU_OF_EK "2.23.133.8.1"

static EVP_PKEY *rsa, *rsa1024, *ec, *root_key;
static X509 *root;
static struct attest_settings settings = { .name = "tpms" };

static int
make_keys(void **state)
{
	struct err e;

	(void)state;
	if (ossl_init(&e) != 0 || key_init(&e) != 0)
		return -1;
	rsa = EVP_RSA_gen(2048);
	rsa1024 = EVP_RSA_gen(1024);
	ec = EVP_EC_gen("P-256");
	root_key = EVP_EC_gen("P-256");
	root = cert_make(&(struct cert_wish){ .cn = "TPM maker", .key = root_key, .is_ca = true });
	settings.roots = sk_X509_new_null();
	return sk_X509_push(settings.roots, root) > 0 ? 0 : -1;
}

static int
free_keys(void **state)
{
	(void)state;
	sk_X509_free(settings.roots);
	X509_free(root);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(rsa1024);
	EVP_PKEY_free(ec);
	EVP_PKEY_free(root_key);
	return 0;
}

static X509 *
ek_cert(EVP_PKEY *key, const char *usage, const char *key_usage)
{
	return cert_make(&(struct cert_wish){ .cn = "EK", .key = key, .issuer = root, .issuer_key = root_key,
		.usage = usage, .key_usage = key_usage });
}

/* The same key as RSAES-OAEP, which OpenSSL cannot decode, and signed anew. */
static void
make_oaep(X509 *cert)
{
	X509_PUBKEY *info = X509_get_X509_PUBKEY(cert);
	const uint8_t *bits;
	uint8_t *copy;
	int len;

	assert_int_equal(X509_PUBKEY_get0_param(NULL, &bits, &len, NULL, info), 1);
	copy = OPENSSL_memdup(bits, (size_t)len);
	assert_int_equal(X509_PUBKEY_set0_param(info, OBJ_nid2obj(NID_rsaesOaep), V_ASN1_UNDEF, NULL, copy, len), 1);
	assert_true(X509_sign(cert, root_key, EVP_sha256()) > 0);
}

/* failed NULL: it passes, as this key. Takes the certificate. */
static void
judge(X509 *cert, int64_t now_s, const char *failed, EVP_PKEY *wanted)
{
	CLEANUP(buf) struct buf buf = { 0 };
	struct attestation out = { .check_count = 0 };
	struct bytes der = cert_der(cert, &buf);
	EVP_PKEY *ek = NULL;
	char hex[65] = "", right[65];
	struct err e;
	int rc = attest_ek_chain(&settings, &der, 1, now_s, &ek, hex, &out);

	if ((rc == 0) != (failed == NULL)) {
		print_checks(&out);
		fail_msg("%d", rc);
	}
	attest_conclude(&out);
	assert_int_equal(out.valid, failed == NULL);
	if (failed == NULL) {
		assert_int_equal(EVP_PKEY_eq(ek, wanted), 1);
		assert_int_equal(tpm_ek_digest(wanted, right, &e), 0);
		assert_string_equal(hex, right);
	} else {
		assert_string_equal(out.checks[out.check_count - 1].name, failed);
		assert_true(ek == NULL && hex[0] == '\0');
	}
	EVP_PKEY_free(ek);
	X509_free(cert);
}

static void
attest_ek_chain_takes_rsa_and_ec_keys(void **state)
{
	(void)state;
	judge(ek_cert(rsa, EKU_OF_EK, "keyEncipherment"), NOW_S, NULL, rsa);
	judge(ek_cert(ec, EKU_OF_EK, "keyAgreement"), NOW_S, NULL, ec);
	judge(ek_cert(ec, EKU_OF_EK, NULL), NOW_S, NULL, ec);
}

static void
attest_ek_chain_takes_oaep_keys_which_attest_chain_refuses(void **state)
{
	CLEANUP(buf) struct buf buf = { 0 };
	struct attestation out = { .check_count = 0 };
	X509 *cert = ek_cert(rsa, EKU_OF_EK, NULL), *leaf = NULL;
	struct bytes der;

	(void)state;
	make_oaep(cert);
	der = cert_der(cert, &buf);
	assert_int_equal(attest_chain(&settings, "tpm.ak", &der, 1, NOW_S, &leaf, &out), -1);
	assert_null(leaf);
	judge(cert, NOW_S, NULL, rsa);
}

static void
attest_ek_chain_refuses_certificates_out_of_time_and_of_others(void **state)
{
	X509 *cert = ek_cert(rsa, EKU_OF_EK, NULL);

	(void)state;
	make_oaep(cert);
	judge(cert, NOW_S + 2 * DAY_S, "tpm.ek.chain", NULL);
	judge(ek_cert(rsa, EKU_OF_EK, NULL), NOW_S - 2 * DAY_S, "tpm.ek.chain", NULL);
	judge(cert_make(&(struct cert_wish){ .cn = "EK", .key = rsa, .usage = EKU_OF_EK }), NOW_S, "tpm.ek.chain", NULL);
	cert = ek_cert(rsa, EKU_OF_EK, NULL);
	assert_true(X509_sign(cert, root_key, EVP_sha1()) > 0);
	judge(cert, NOW_S, "tpm.ek.chain", NULL);
	cert = ek_cert(rsa, EKU_OF_EK, NULL);
	assert_true(X509_sign(cert, ec, EVP_sha256()) > 0);
	judge(cert, NOW_S, "tpm.ek.chain", NULL);
	cert = ek_cert(rsa, EKU_OF_EK, NULL);
	make_oaep(cert);
	assert_true(X509_sign(cert, ec, EVP_sha256()) > 0);
	judge(cert, NOW_S, "tpm.ek.chain", NULL);
}

static void
attest_ek_chain_refuses_weak_keys(void **state)
{
	X509 *cert = ek_cert(rsa1024, EKU_OF_EK, NULL);

	(void)state;
	make_oaep(cert);
	judge(cert, NOW_S, "tpm.ek.certificate", NULL);
	judge(ek_cert(rsa1024, EKU_OF_EK, NULL), NOW_S, "tpm.ek.certificate", NULL);
}

static void
attest_ek_chain_refuses_keys_that_are_for_something_else(void **state)
{
	(void)state;
	judge(ek_cert(rsa, "serverAuth", "keyEncipherment"), NOW_S, "tpm.ek.usage", NULL);
	judge(ek_cert(rsa, "2.23.133.8.3", NULL), NOW_S, "tpm.ek.usage", NULL);
	judge(ek_cert(rsa, NULL, NULL), NOW_S, "tpm.ek.usage", NULL);
	judge(ek_cert(rsa, NULL, "digitalSignature"), NOW_S, "tpm.ek.usage", NULL);
	judge(ek_cert(rsa, NULL, "digitalSignature,keyEncipherment"), NOW_S, "tpm.ek.usage", NULL);
}

static void
attest_ek_chain_takes_makers_without_the_extended_usage(void **state)
{
	(void)state;
	judge(ek_cert(rsa, NULL, "keyEncipherment"), NOW_S, NULL, rsa);
	judge(ek_cert(ec, NULL, "keyAgreement"), NOW_S, NULL, ec);
}

static void
attest_ops_of_knows_what_is_judged_here(void **state)
{
	(void)state;
	assert_ptr_equal(attest_ops_of(ATTEST_TPM), &attest_tpm);
	assert_ptr_equal(attest_ops_of(ATTEST_ANDROID), &attest_android);
	assert_ptr_equal(attest_ops_of(ATTEST_YUBIKEY), &attest_yubikey);
	assert_null(attest_ops_of(ATTEST_EAR));
	assert_null(attest_ops_of(ATTEST_IDEVID));
	assert_null(attest_ops_of(ATTEST_MDM));
	assert_string_equal(attest_tpm.statement_type, EVIDENCE_TPM_CERTIFY);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attest_ek_chain_takes_rsa_and_ec_keys),
		cmocka_unit_test(attest_ek_chain_takes_oaep_keys_which_attest_chain_refuses),
		cmocka_unit_test(attest_ek_chain_refuses_certificates_out_of_time_and_of_others),
		cmocka_unit_test(attest_ek_chain_refuses_weak_keys),
		cmocka_unit_test(attest_ek_chain_refuses_keys_that_are_for_something_else),
		cmocka_unit_test(attest_ek_chain_takes_makers_without_the_extended_usage),
		cmocka_unit_test(attest_ops_of_knows_what_is_judged_here),
	};

	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
