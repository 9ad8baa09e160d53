#define _GNU_SOURCE
#include "tests/unit/ca_fixture.h"

static void
assert_not_opened(const struct fixture *f, enum err_code code, const char *part)
{
	struct ca *ca = NULL;
	struct err e = { 0 };

	assert_failed(ca_builtin.open(&f->settings, &ca, &e), &e, code, part);
	assert_null(ca);
	assert_non_null(strstr(e.text, "CA \"plant\""));
}

static void
ca_open_gives_the_chain_in_order(void **state)
{
	struct fixture *f = *state;
	struct ca *ca = opened(f);
	const STACK_OF(X509) *chain = ca_builtin.chain(ca);

	assert_int_equal(sk_X509_num(chain), 2);
	assert_int_equal(X509_cmp(sk_X509_value(chain, 0), f->issuing), 0);
	assert_int_equal(X509_cmp(sk_X509_value(chain, 1), f->root), 0);
	ca_builtin.close(ca);
}

static void
ca_open_takes_a_self_signed_issuer_alone(void **state)
{
	struct fixture *f = *state;
	X509 *cert;

	key_write(f->key_path, f->root_key);
	f->settings.certificate = f->root_path;
	f->settings.chain_count = 0;
	cert = issued_once(f);
	assert_int_equal(X509_verify(cert, f->root_key), 1);
	X509_free(cert);
}

static void
ca_open_refuses_a_key_of_another_certificate(void **state)
{
	struct fixture *f = *state;

	key_write(f->key_path, f->root_key);
	assert_not_opened(f, ERR_MALFORMED, "the key is not the issuing certificate's");
	assert_int_equal(chmod(f->key_path, 0644), 0);
	assert_not_opened(f, ERR_UPSTREAM, "chmod 600");
	f->settings.key = NULL;
	assert_not_opened(f, ERR_MALFORMED, "has no key");
}

static void
ca_open_refuses_keys_a_ca_should_not_have(void **state)
{
	static const char *const kinds[] = { "P-521", "Ed25519", "RSA-1024", "RSA-4608" };
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		EVP_PKEY *key = key_make(kinds[i]);
		X509 *cert = ca_cert_make("Odd", key, f->root, f->root_key, 0);

		key_write(f->key_path, key);
		cert_write(f->issuing_path, cert, NULL);
		assert_not_opened(f, ERR_UNSUPPORTED, "cannot issue with a key of kind");
		X509_free(cert);
		EVP_PKEY_free(key);
	}
}

static void
ca_open_refuses_a_chain_that_does_not_hold(void **state)
{
	struct fixture *f = *state;
	EVP_PKEY *key = key_make("P-256");
	X509 *other = ca_cert_make("Test Root", key, NULL, NULL, 1);
	X509 *stranger = ca_cert_make("Stranger", key, NULL, NULL, 1);

	f->settings.chain_count = 0;
	assert_not_opened(f, ERR_MALFORMED, "the chain ends below its root: add the certificate of \"CN=Test Root");
	f->settings.chain_count = 1;
	cert_write(f->root_path, other, NULL); /* the same name, another key */
	assert_not_opened(f, ERR_MALFORMED, "the chain does not hold");
	cert_write(f->root_path, stranger, NULL);
	assert_not_opened(f, ERR_MALFORMED, "the chain does not hold");
	cert_write(f->root_path, stranger, f->root); /* one too many in between */
	assert_not_opened(f, ERR_MALFORMED, "certificate 2 of the chain is not the issuer of the one before it");
	cert_write(f->root_path, f->root, NULL);
	cert_write(f->issuing_path, f->issuing, f->root);
	assert_not_opened(f, ERR_MALFORMED, "holds 2 certificates");
	assert_int_equal(unlink(f->issuing_path), 0);
	assert_not_opened(f, ERR_UPSTREAM, "cannot be read");
	X509_free(other);
	X509_free(stranger);
	EVP_PKEY_free(key);
}

static void
ca_open_respects_the_path_length_of_its_root(void **state)
{
	struct fixture *f = *state;
	X509 *root = ca_cert_make("Test Root", f->root_key, NULL, NULL, 0);
	X509 *middle = ca_cert_make("Middle", f->leaf_key, root, f->root_key, -1);
	X509 *issuing = ca_cert_make("Test Issuing", f->issuing_key, middle, f->leaf_key, -1);

	cert_write(f->issuing_path, issuing, NULL);
	cert_write(f->root_path, middle, root);
	assert_not_opened(f, ERR_MALFORMED, "path length");
	/* The issuing certificate has a length of one for its leaves. */
	X509_free(issuing);
	issuing = ca_cert_make("Test Issuing", f->issuing_key, root, f->root_key, 0);
	cert_write(f->issuing_path, issuing, NULL);
	cert_write(f->root_path, root, NULL);
	assert_not_opened(f, ERR_MALFORMED, "the path length (0) of certificate \"CN=Test Root");
	X509_free(root);
	X509_free(middle);
	X509_free(issuing);
}

/* The issuing certificate again, without one of its extensions. */
static void
issuing_write_without(struct fixture *f, int nid)
{
	X509 *copy = X509_dup(f->issuing);

	X509_EXTENSION_free(X509_delete_ext(copy, X509_get_ext_by_NID(copy, nid, -1)));
	assert_true(X509_sign(copy, f->root_key, EVP_sha256()) > 0);
	cert_write(f->issuing_path, copy, NULL);
	X509_free(copy);
}

static void
ca_open_refuses_a_certificate_that_may_not_issue(void **state)
{
	struct fixture *f = *state;

	issuing_write_without(f, NID_basic_constraints);
	assert_not_opened(f, ERR_MALFORMED, "is not a CA's (basicConstraints)");
	issuing_write_without(f, NID_key_usage);
	assert_not_opened(f, ERR_MALFORMED, "may not sign certificates (keyUsage)");
	issuing_write_without(f, NID_subject_key_identifier);
	assert_not_opened(f, ERR_MALFORMED, "no subjectKeyIdentifier");
}

static void
ca_open_refuses_urls_nobody_can_fetch(void **state)
{
	struct fixture *f = *state;

	f->settings.crl_url = "plant.crl";
	assert_not_opened(f, ERR_MALFORMED, "crl_url \"plant.crl\" is not an http URL");
	f->settings.crl_url = NULL;
	f->settings.ocsp_url = "http://ocsp.example.net/ x";
	assert_not_opened(f, ERR_MALFORMED, "ocsp_url holds a space");
	f->settings.ocsp_url = NULL;
	f->settings.issuer_url = "ldap://x";
	assert_not_opened(f, ERR_MALFORMED, "issuer_url");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ca_open_gives_the_chain_in_order),
		TEST(ca_open_takes_a_self_signed_issuer_alone),
		TEST(ca_open_refuses_a_key_of_another_certificate),
		TEST(ca_open_refuses_keys_a_ca_should_not_have),
		TEST(ca_open_refuses_a_chain_that_does_not_hold),
		TEST(ca_open_respects_the_path_length_of_its_root),
		TEST(ca_open_refuses_a_certificate_that_may_not_issue),
		TEST(ca_open_refuses_urls_nobody_can_fetch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
