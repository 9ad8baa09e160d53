#define _GNU_SOURCE
/* What the certificates above a leaf allow it: by its own issuing certificate it would be right. */
#include "tests/unit/ca_verify_fixture.h"

#include "gateway/ca/remote.h"

/* Read anew: OpenSSL keeps what it found in the extensions before. */
static void
constrain(X509 **cert, const char *name, const char *value, EVP_PKEY *issuer_key)
{
	CLEANUP(buf) struct buf der = { 0 };
	struct err e = { 0 };

	ext_add(*cert, name, value);
	assert_true(X509_sign(*cert, issuer_key, EVP_sha256()) > 0);
	assert_int_equal(x509_to_der(*cert, &der, &e), 0);
	X509_free(*cert);
	assert_int_equal(x509_from_der(buf_bytes(&der), cert, &e), 0);
}

static void
by_issuing(struct fixture *f, const char *name, const char *value)
{
	constrain(&f->issuing, name, value, f->root_key);
}

static void
by_root(struct fixture *f, const char *name, const char *value)
{
	constrain(&f->root, name, value, f->root_key);
}

/* Whether it is constrained at all, into *made. */
static int
check(const struct fixture *f, X509 *cert, bool *made, struct err *e)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	CLEANUP(buf) struct buf der = { 0 };
	struct path path = { 0 };
	int result;

	assert_true(sk_X509_push(chain, f->issuing) == 1 && sk_X509_push(chain, f->root) == 2);
	assert_int_equal(path_open(chain, &path, e), 0);
	*made = path.store != NULL;
	sign(f, cert);
	assert_int_equal(x509_to_der(cert, &der, e), 0);
	assert_int_equal(ca_verify_issued(buf_bytes(&der), &f->request, f->issuing, e), 0);
	result = path_check(&path, buf_bytes(&der), e);
	path_close(&path);
	sk_X509_free(chain);
	X509_free(cert);
	return result;
}

static void
allowed(const struct fixture *f)
{
	struct err e = { 0 };
	bool made;

	if (check(f, good(f), &made, &e) != 0)
		fail_msg("%s", e.text);
	assert_true(made);
}

static void
refused(const struct fixture *f, const char *part)
{
	struct err e = { 0 };
	bool made;

	assert_failed(check(f, good(f), &made, &e), &e, ERR_DENIED, part);
	assert_true(made);
}

static void
path_is_not_looked_at_where_nothing_constrains(void **state)
{
	struct fixture *f = *state;
	struct path path = { 0 };
	struct err e = { 0 };
	bool made = true;

	assert_int_equal(check(f, good(f), &made, &e), 0);
	assert_false(made);
	assert_int_equal(path_check(&path, bytes_of_text("no certificate"), &e), 0);
}

static void
path_refuses_a_name_that_the_issuing_certificate_does_not_permit(void **state)
{
	struct fixture *f = *state;

	by_issuing(f, "nameConstraints", "critical,permitted;DNS:other.example");
	refused(f, "permitted subtree violation");
}

static void
path_allows_the_names_that_are_permitted(void **state)
{
	struct fixture *f = *state;

	by_issuing(f, "nameConstraints", "critical,permitted;DNS:example.net,permitted;IP:192.0.2.0/255.255.255.0,"
		"permitted;IP:2001:db8:0:0:0:0:0:0/ffff:ffff:0:0:0:0:0:0,permitted;email:example.net");
	allowed(f);
}

static void
path_refuses_a_name_that_the_root_excludes(void **state)
{
	struct fixture *f = *state;

	by_root(f, "nameConstraints", "critical,excluded;IP:192.0.2.0/255.255.255.0");
	refused(f, "excluded subtree violation");
}

static void
path_refuses_a_usage_that_a_certificate_above_has_not(void **state)
{
	struct fixture *f = *state;

	by_issuing(f, "extendedKeyUsage", "serverAuth,clientAuth");
	allowed(f);
	by_root(f, "extendedKeyUsage", "clientAuth,emailProtection");
	refused(f, "extended key usage 1.3.6.1.5.5.7.3.1 is not among those of the CA certificate");
}

static void
path_allows_every_usage_below_any_usage(void **state)
{
	struct fixture *f = *state;

	by_issuing(f, "extendedKeyUsage", "codeSigning,anyExtendedKeyUsage");
	allowed(f);
}

/* A file "next" may hold no more than the certificate that is to come. */
static void
path_takes_the_last_certificate_for_granted_and_nothing_that_is_none(void **state)
{
	struct fixture *f = *state;
	STACK_OF(X509) *chain = sk_X509_new_null();
	CLEANUP(buf) struct buf der = { 0 };
	struct path path = { 0 };
	struct err e = { 0 };
	X509 *cert = good(f);

	by_issuing(f, "extendedKeyUsage", "serverAuth,clientAuth");
	sign(f, cert);
	assert_int_equal(x509_to_der(cert, &der, &e), 0);
	X509_free(cert);
	assert_true(sk_X509_push(chain, f->issuing) == 1);
	assert_int_equal(path_open(chain, &path, &e), 0);
	assert_int_equal(path_check(&path, buf_bytes(&der), &e), 0);
	assert_failed(path_check(&path, bytes_of_text("no certificate"), &e), &e, ERR_DENIED, "certificate");
	path_close(&path);
	sk_X509_free(chain);
}

static void
path_reads_no_clock(void **state)
{
	struct fixture *f = *state;

	assert_non_null(ASN1_TIME_set(X509_getm_notBefore(f->root), 1));
	assert_non_null(ASN1_TIME_set(X509_getm_notAfter(f->root), 2));
	by_root(f, "extendedKeyUsage", "serverAuth,clientAuth");
	allowed(f);
}

static void
path_is_valid_as_long_as_all_of_its_certificates(void **state)
{
	struct fixture *f = *state;
	STACK_OF(X509) *chain = sk_X509_new_null();
	struct path path = { 0 };
	struct err e = { 0 };

	assert_non_null(ASN1_TIME_set(X509_getm_notAfter(f->root), NOW_S + DAY_S));
	assert_non_null(ASN1_TIME_set(X509_getm_notBefore(f->issuing), NOW_S));
	assert_true(sk_X509_push(chain, f->issuing) == 1 && sk_X509_push(chain, f->root) == 2);
	assert_int_equal(path_open(chain, &path, &e), 0);
	assert_int_equal(path_is_valid(&path, NOW_S + DAY_S, &e), 0);
	assert_failed(path_is_valid(&path, NOW_S + DAY_S + 1, &e), &e, ERR_UPSTREAM, "ended at 2026-");
	assert_int_equal(path_is_valid(&path, NOW_S - CLOCKS_DIFFER_S, &e), 0);
	assert_failed(path_is_valid(&path, NOW_S - CLOCKS_DIFFER_S - 1, &e), &e, ERR_UPSTREAM, "not valid before 2026-");
	path_close(&path);
	sk_X509_free(chain);
}

static void
path_counts_for_the_builtin_ca_too(void **state)
{
	struct fixture *f = *state;
	struct ca_answer answer = { 0 };
	struct err e = { 0 };
	struct ca *ca;

	by_issuing(f, "nameConstraints", "critical,permitted;DNS:other.example");
	cert_write(f->issuing_path, f->issuing, NULL);
	ca = opened(f);
	assert_failed(ca_builtin.issue(ca, &f->request, &answer, &e), &e, ERR_DENIED, "permitted subtree violation");
	assert_null(answer.cert.at);
	f->spec.sans[0] = f->spec.sans[--f->spec.san_count]; /* without the only DNS name, the subject having none */
	f->spec.rdn_count = 2;
	assert_int_equal(ca_builtin.issue(ca, &f->request, &answer, &e), 0);
	ca_answer_free(&answer);
	ca_builtin.close(ca);
}

static void
path_counts_for_cas_elsewhere(void **state)
{
	struct fixture *f = *state;
	struct ca_settings settings = { .name = "plant", .type = "est", .certificate = f->issuing_path, .chain = f->chain, .chain_count = 1,
		.url = "https://127.0.0.1:9", .tls_ca = f->root_path };
	CLEANUP(buf) struct buf der = { 0 };
	struct remote remote = { 0 };
	struct ca *ca = (void *)&remote;
	struct err e = { 0 };
	X509 *cert = good(f);

	sign(f, cert);
	assert_int_equal(x509_to_der(cert, &der, &e), 0);
	if (remote_open(&remote, &settings, &e) != 0 || remote_verify(ca, buf_bytes(&der), &f->request, &e) != 0)
		fail_msg("%s", e.text);
	remote_close(&remote);
	remote = (struct remote){ 0 };
	by_issuing(f, "nameConstraints", "critical,permitted;DNS:other.example");
	cert_write(f->issuing_path, f->issuing, NULL);
	assert_int_equal(remote_open(&remote, &settings, &e), 0);
	assert_failed(remote_verify(ca, buf_bytes(&der), &f->request, &e), &e, ERR_DENIED,
		"not what was approved: the chain does not hold with it: permitted subtree violation");
	remote_close(&remote);
	X509_free(cert);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(path_is_not_looked_at_where_nothing_constrains),
		TEST(path_refuses_a_name_that_the_issuing_certificate_does_not_permit),
		TEST(path_allows_the_names_that_are_permitted),
		TEST(path_refuses_a_name_that_the_root_excludes),
		TEST(path_refuses_a_usage_that_a_certificate_above_has_not),
		TEST(path_allows_every_usage_below_any_usage),
		TEST(path_takes_the_last_certificate_for_granted_and_nothing_that_is_none),
		TEST(path_reads_no_clock),
		TEST(path_is_valid_as_long_as_all_of_its_certificates),
		TEST(path_counts_for_the_builtin_ca_too),
		TEST(path_counts_for_cas_elsewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
