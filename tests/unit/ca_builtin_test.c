#define _GNU_SOURCE
#include "tests/unit/ca_fixture.h"

#include <pthread.h>

#define THREADS 4
#define PER_THREAD 25

/* OpenSSL's own verifier, at its strictest, at a time of our choice. */
static void
assert_chain_holds(const struct fixture *f, X509 *cert)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	STACK_OF(X509) *middle = sk_X509_new_null();

	assert_int_equal(X509_STORE_add_cert(store, f->root), 1);
	assert_true(sk_X509_push(middle, f->issuing) > 0);
	assert_int_equal(X509_STORE_CTX_init(ctx, store, cert, middle), 1);
	X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx), NOW_S);
	X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx), X509_V_FLAG_X509_STRICT);
	X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(ctx), 2);
	if (X509_verify_cert(ctx) != 1)
		fail_msg("%s", X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	sk_X509_free(middle);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
}

static int
critical_of(const X509 *cert, int nid)
{
	int i = X509_get_ext_by_NID(cert, nid, -1);

	assert_true(i >= 0);
	assert_int_equal(X509_get_ext_by_NID(cert, nid, i), -1);
	return X509_EXTENSION_get_critical(X509_get_ext(cert, i));
}

static void
assert_printed(X509 *cert, int nid, const char *wanted)
{
	int i = X509_get_ext_by_NID(cert, nid, -1);
	BIO *out = BIO_new(BIO_s_mem());
	char *text = NULL;
	long len;

	assert_true(i >= 0);
	assert_int_equal(X509V3_EXT_print(out, X509_get_ext(cert, i), 0, 0), 1);
	len = BIO_get_mem_data(out, &text);
	if ((size_t)len < strlen(wanted) || strncmp(text, wanted, strlen(wanted)) != 0)
		fail_msg("%.*s", (int)len, text);
	BIO_free(out);
}

static int
string_type(X509 *cert, int nid)
{
	X509_NAME *name = X509_get_subject_name(cert);
	int i = X509_NAME_get_index_by_NID(name, nid, -1);

	assert_true(i >= 0);
	return ASN1_STRING_type(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i)));
}

static void
ca_issue_gives_what_the_spec_says(void **state)
{
	struct fixture *f = *state;
	X509 *cert = issued_once(f);
	int64_t before, after;
	char name[200];
	struct err e;

	assert_chain_holds(f, cert);
	assert_int_equal(X509_get_version(cert), X509_VERSION_3);
	assert_int_equal(x509_validity(cert, &before, &after, &e), 0);
	assert_int_equal(before, f->spec.not_before_s);
	assert_int_equal(after, f->spec.not_after_s);
	x509_name_text(X509_get_subject_name(cert), name, sizeof name);
	assert_string_equal(name, "serialNumber=SN-1234,CN=rtr-7,O=Zürcher Werke,C=CH");
	assert_int_equal(X509_NAME_cmp(X509_get_issuer_name(cert), X509_get_subject_name(f->issuing)), 0);
	assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(cert), f->leaf_key), 1);
	assert_int_equal(X509_get_signature_nid(cert), NID_ecdsa_with_SHA256);
	assert_printed(cert, NID_subject_alt_name, "DNS:rtr-7.example.net, URI:urn:dev:sn:1234, "
		"IP Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:7, email:ops@example.net");
	assert_printed(cert, NID_ext_key_usage, "TLS Web Client Authentication, TLS Web Server Authentication");
	assert_printed(cert, NID_key_usage, "Digital Signature, Key Agreement");
	assert_printed(cert, NID_basic_constraints, "CA:FALSE");
	assert_printed(cert, NID_crl_distribution_points, "Full Name:\n  URI:http://pki.example.net/plant.crl");
	assert_printed(cert, NID_info_access,
		"OCSP - URI:http://ocsp.example.net/\nCA Issuers - URI:http://pki.example.net/plant.cer");
	assert_int_equal(X509_get_ext_count(cert), 8);
	assert_int_equal(critical_of(cert, NID_basic_constraints), 1);
	assert_int_equal(critical_of(cert, NID_key_usage), 1);
	assert_int_equal(critical_of(cert, NID_ext_key_usage), 0);
	assert_int_equal(critical_of(cert, NID_subject_alt_name), 0);
	X509_free(cert);
}

static void
ca_issue_writes_canonical_der(void **state)
{
	struct fixture *f = *state;
	struct ca *ca = opened(f);
	struct ca_answer answer = { 0 };
	struct err e = { 0 };
	uint8_t *again = NULL;
	X509 *cert = NULL;
	int len;

	assert_int_equal(ca_builtin.issue(ca, &f->request, &answer, &e), 0);
	assert_int_equal(x509_from_der(buf_bytes(&answer.cert), &cert, &e), 0);
	len = i2d_re_X509_tbs(cert, &again);
	assert_true(len > 0);
	OPENSSL_free(again);
	again = NULL;
	len = i2d_X509(cert, &again);
	assert_true(bytes_equal(bytes_of(again, (size_t)len), buf_bytes(&answer.cert)));
	OPENSSL_free(again);
	X509_free(cert);
	ca_answer_free(&answer);
	ca_builtin.close(ca);
}

static void
ca_issue_uses_the_string_types_of_rfc_5280(void **state)
{
	struct fixture *f = *state;
	X509 *cert;

	strcpy(f->spec.rdns[4].oid, "0.9.2342.19200300.100.1.25");
	strcpy(f->spec.rdns[4].value, "example");
	strcpy(f->spec.rdns[5].oid, "1.2.840.113549.1.9.1");
	strcpy(f->spec.rdns[5].value, "a@example.net");
	f->spec.rdn_count = 6;
	cert = issued_once(f);
	assert_int_equal(string_type(cert, NID_countryName), V_ASN1_PRINTABLESTRING);
	assert_int_equal(string_type(cert, NID_serialNumber), V_ASN1_PRINTABLESTRING);
	assert_int_equal(string_type(cert, NID_commonName), V_ASN1_UTF8STRING);
	assert_int_equal(string_type(cert, NID_organizationName), V_ASN1_UTF8STRING);
	assert_int_equal(string_type(cert, NID_domainComponent), V_ASN1_IA5STRING);
	assert_int_equal(string_type(cert, NID_pkcs9_emailAddress), V_ASN1_IA5STRING);
	X509_free(cert);
	strcpy(f->spec.rdns[3].value, "SN_1234"); /* "_" is not in PrintableString */
	cert = issued_once(f);
	assert_int_equal(string_type(cert, NID_serialNumber), V_ASN1_UTF8STRING);
	X509_free(cert);
}

static void
ca_issue_identifies_keys_as_rfc_7093_says(void **state)
{
	struct fixture *f = *state;
	X509 *cert = issued_once(f);
	const ASN1_BIT_STRING *key = X509_get0_pubkey_bitstr(cert);
	const ASN1_OCTET_STRING *own = X509_get0_subject_key_id(cert);
	uint8_t digest[32];
	struct err e;

	assert_int_equal(sha256(bytes_of(key->data, (size_t)key->length), digest, &e), 0);
	assert_true(bytes_equal(bytes_of(own->data, (size_t)own->length), bytes_of(digest, 20)));
	assert_int_equal(ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(cert),
		X509_get0_subject_key_id(f->issuing)), 0);
	X509_free(cert);
}

static void
ca_issue_never_repeats_a_serial_and_always_fills_16_octets(void **state)
{
	struct fixture *f = *state;
	struct ca *ca = opened(f);
	char serial[20][SERIAL_HEX_MAX], own[SERIAL_HEX_MAX];
	struct err e;
	int i, k;

	for (i = 0; i < 20; i++) {
		X509 *cert = issued(ca, &f->request, serial[i]);

		assert_int_equal(strlen(serial[i]), 32);
		assert_true(serial[i][0] >= '4' && serial[i][0] <= '7');
		assert_int_equal(x509_serial_hex(cert, own, &e), 0);
		assert_string_equal(own, serial[i]);
		for (k = 0; k < i; k++)
			assert_string_not_equal(serial[i], serial[k]);
		X509_free(cert);
	}
	ca_builtin.close(ca);
}

static void
ca_issue_works_with_every_kind_of_issuing_key(void **state)
{
	static const struct {
		const char *kind;
		int nid;
	} kinds[] = {
		{ "P-384", NID_ecdsa_with_SHA384 },
		{ "RSA-2048", NID_sha256WithRSAEncryption },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		struct fixture *f = fixture_make(kinds[i].kind);
		X509 *cert = issued_once(f);

		assert_int_equal(X509_get_signature_nid(cert), kinds[i].nid);
		assert_chain_holds(f, cert);
		X509_free(cert);
		fixture_free(f);
	}
}

static void
ca_issue_gives_each_kind_of_key_only_usages_it_can_do(void **state)
{
	static const struct {
		const char *name;
		enum key_kind kind;
		uint32_t usage;
	} kinds[] = {
		{ "RSA-2048", KEY_RSA, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT | KU_DATA_ENCIPHERMENT },
		{ "P-256", KEY_EC_P256, KU_DIGITAL_SIGNATURE | KU_KEY_AGREEMENT },
		{ "P-384", KEY_EC_P384, KU_DIGITAL_SIGNATURE | KU_KEY_AGREEMENT },
		{ "P-521", KEY_EC_P521, KU_DIGITAL_SIGNATURE | KU_KEY_AGREEMENT },
		{ "Ed25519", KEY_ED25519, KU_DIGITAL_SIGNATURE },
	};
	struct fixture *f = *state;
	size_t i;

	f->spec.key_usage |= USAGE_DATA_ENCIPHERMENT;
	for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		X509 *cert;

		leaf_key_use(f, kinds[i].name, kinds[i].kind);
		cert = issued_once(f);
		assert_int_equal(X509_get_key_usage(cert), kinds[i].usage);
		assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(cert), f->leaf_key), 1);
		assert_chain_holds(f, cert);
		X509_free(cert);
	}
	f->spec.key_usage = USAGE_KEY_ENCIPHERMENT;
	assert_not_issued(f, ERR_DENIED, "can do none of the profile's key usages");
}

static void
ca_issue_makes_the_san_critical_when_the_subject_is_empty(void **state)
{
	struct fixture *f = *state;
	X509 *cert;

	f->spec.rdn_count = 0;
	cert = issued_once(f);
	assert_int_equal(critical_of(cert, NID_subject_alt_name), 1);
	assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(cert)), 0);
	assert_chain_holds(f, cert);
	X509_free(cert);
}

static void
ca_issue_leaves_out_what_was_not_asked_for(void **state)
{
	struct fixture *f = *state;
	X509 *cert;

	f->spec.san_count = 0;
	f->spec.eku_count = 0;
	f->settings.crl_url = f->settings.ocsp_url = f->settings.issuer_url = NULL;
	cert = issued_once(f);
	assert_int_equal(X509_get_ext_count(cert), 4);
	assert_int_equal(X509_get_ext_by_NID(cert, NID_subject_alt_name, -1), -1);
	assert_int_equal(X509_get_ext_by_NID(cert, NID_ext_key_usage, -1), -1);
	X509_free(cert);
}

/* What the records say must be what the certificate says, not what was approved. */
static void
assert_answer_tells(struct fixture *f, int64_t before, int64_t after)
{
	struct ca_answer answer = { 0 };
	struct ca *ca = NULL;
	struct err e;

	assert_int_equal(ca_builtin.open(&f->settings, &ca, &e), 0);
	assert_int_equal(ca_builtin.issue(ca, &f->request, &answer, &e), 0);
	assert_int_equal(answer.not_before_s, before);
	assert_int_equal(answer.not_after_s, after);
	ca_answer_free(&answer);
	ca_builtin.close(ca);
}

static void
ca_issue_never_outlives_the_issuing_certificate(void **state)
{
	struct fixture *f = *state;
	int64_t before, after;
	struct err e;
	X509 *cert;

	f->spec.not_before_s = NOW_S - 2 * YEAR_S;
	f->spec.not_after_s = NOW_S + 50 * YEAR_S;
	cert = issued_once(f);
	assert_int_equal(x509_validity(cert, &before, &after, &e), 0);
	assert_int_equal(after, NOW_S + 10 * YEAR_S);
	assert_int_equal(before, NOW_S - YEAR_S);
	X509_free(cert);
	assert_answer_tells(f, before, after);

	f->spec.not_before_s = NOW_S + 10 * YEAR_S;
	assert_not_issued(f, ERR_UPSTREAM, "the issuing certificate ends at");
	f->spec.not_before_s = NOW_S;
	f->request.now_s = NOW_S + 10 * YEAR_S;
	assert_not_issued(f, ERR_UPSTREAM, "the issuing certificate ends at");
	f->request.now_s = NOW_S - YEAR_S - 1;
	assert_not_issued(f, ERR_UPSTREAM, "is not valid before");
}

struct worker {
	struct ca *ca;
	const struct fixture *f;
	char serial[PER_THREAD][SERIAL_HEX_MAX];
	int failed;
};

static void *
work(void *arg)
{
	struct worker *w = arg;
	int i;

	for (i = 0; i < PER_THREAD; i++) {
		struct ca_answer answer = { 0 };
		struct err e;

		if (ca_builtin.issue(w->ca, &w->f->request, &answer, &e) != 0 || ca_builtin.check(w->ca, &e) != 0)
			w->failed++;
		memcpy(w->serial[i], answer.serial, SERIAL_HEX_MAX);
		ca_answer_free(&answer);
	}
	return NULL;
}

static void
ca_issue_serves_many_threads_at_once(void **state)
{
	struct fixture *f = *state;
	struct ca *ca = opened(f);
	struct worker *workers = calloc(THREADS, sizeof *workers);
	pthread_t threads[THREADS];
	int i;

	for (i = 0; i < THREADS; i++) {
		workers[i].ca = ca;
		workers[i].f = f;
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(workers[i].failed, 0);
		assert_string_not_equal(workers[i].serial[0], workers[(i + 1) % THREADS].serial[0]);
	}
	free(workers);
	ca_builtin.close(ca);
}

static void
ca_builtin_answers_the_rest_of_the_interface(void **state)
{
	struct fixture *f = *state;
	struct ca *ca = opened(f);
	struct err e = { 0 };

	assert_ptr_equal(ca_ops_of("builtin"), &ca_builtin);
	assert_null(ca_ops_of("nosuch"));
	assert_int_equal(ca_builtin.check(ca, &e), 0);
	/* It answers at once, and the store's record is its revocation. */
	assert_true(!ca_builtin.remote && ca_builtin.poll == NULL && ca_builtin.reconcile == NULL && ca_builtin.revoke == NULL);
	ca_answer_free(NULL);
	ca_builtin.close(NULL);
	ca_builtin.close(ca);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ca_issue_gives_what_the_spec_says),
		TEST(ca_issue_writes_canonical_der),
		TEST(ca_issue_uses_the_string_types_of_rfc_5280),
		TEST(ca_issue_identifies_keys_as_rfc_7093_says),
		TEST(ca_issue_never_repeats_a_serial_and_always_fills_16_octets),
		cmocka_unit_test(ca_issue_works_with_every_kind_of_issuing_key),
		TEST(ca_issue_gives_each_kind_of_key_only_usages_it_can_do),
		TEST(ca_issue_makes_the_san_critical_when_the_subject_is_empty),
		TEST(ca_issue_leaves_out_what_was_not_asked_for),
		TEST(ca_issue_never_outlives_the_issuing_certificate),
		TEST(ca_issue_serves_many_threads_at_once),
		TEST(ca_builtin_answers_the_rest_of_the_interface),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
