#define _GNU_SOURCE
#include "tests/unit/ca_fixture.h"

#include <dlfcn.h>
#include <sys/wait.h>

#include "gateway/ca/crl.h"

#define NEXT_S (NOW_S + DAY_S)

/* In front of OpenSSL's: a key whose signatures are wrong, as after a fault in memory. */
static bool faulty;

int
EVP_DigestSign(EVP_MD_CTX *ctx, unsigned char *signature, size_t *len, const unsigned char *tbs, size_t tbs_len)
{
	int (*real)(EVP_MD_CTX *, unsigned char *, size_t *, const unsigned char *, size_t);
	int result;

	*(void **)&real = dlsym(RTLD_NEXT, "EVP_DigestSign");
	result = real(ctx, signature, len, tbs, tbs_len);
	if (faulty && signature != NULL && result == 1)
		signature[*len - 1] ^= 1;
	return result;
}

static void
crl_make(const struct fixture *f, const struct ca_revoked *revoked, size_t count, int64_t number, struct buf *out)
{
	struct ca *ca = opened(f);
	struct err e = { 0 };

	if (ca_builtin.crl(ca, revoked, count, number, NOW_S, NEXT_S, out, &e) != 0)
		fail_msg("%s", e.text);
	ca_builtin.close(ca);
}

static X509_CRL *
crl_decode(const struct buf *der)
{
	const uint8_t *p = der->at;
	X509_CRL *crl = d2i_X509_CRL(NULL, &p, (long)der->len);

	assert_non_null(crl);
	assert_ptr_equal(p, der->at + der->len);
	return crl;
}

static X509_CRL *
crl_of(const struct fixture *f, const struct ca_revoked *revoked, size_t count, int64_t number)
{
	CLEANUP(buf) struct buf der = { 0 };

	crl_make(f, revoked, count, number, &der);
	return crl_decode(&der);
}

static void
assert_crl_fails(const struct fixture *f, const struct ca_revoked *revoked, size_t count, int64_t number, int64_t next_s,
	enum err_code code, const char *part)
{
	struct ca *ca = opened(f);
	CLEANUP(buf) struct buf out = { 0 };
	struct err e = { 0 };

	buf_append_text(&out, "before");
	assert_failed(ca_builtin.crl(ca, revoked, count, number, NOW_S, next_s, &out, &e), &e, code, part);
	assert_string_equal(buf_text(&out), "before");
	ca_builtin.close(ca);
}

static int64_t
time_of(const ASN1_TIME *time)
{
	struct tm tm;

	assert_int_equal(ASN1_TIME_to_tm(time, &tm), 1);
	return (int64_t)timegm(&tm);
}

/* OpenSSL's own verifier, at its strictest, with a list for every CA of the chain; its error, or X509_V_OK. */
static int
chain_error(const struct fixture *f, X509 *cert, X509_CRL *crl)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	STACK_OF(X509) *middle = sk_X509_new_null();
	STACK_OF(X509_CRL) *crls = sk_X509_CRL_new_null();
	int error;

	assert_int_equal(X509_STORE_add_cert(store, f->root), 1);
	assert_true(sk_X509_push(middle, f->issuing) > 0);
	assert_true(sk_X509_CRL_push(crls, crl) > 0);
	assert_int_equal(X509_STORE_CTX_init(ctx, store, cert, middle), 1);
	X509_STORE_CTX_set0_crls(ctx, crls);
	X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx), NOW_S);
	X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx), X509_V_FLAG_X509_STRICT | X509_V_FLAG_CRL_CHECK);
	error = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
	X509_STORE_CTX_free(ctx);
	sk_X509_CRL_free(crls);
	sk_X509_free(middle);
	X509_STORE_free(store);
	return error;
}

static void
ca_crl_without_revoked_certificates_is_empty_and_signed(void **state)
{
	static const char *const kinds[] = { "P-256", "P-384", "RSA-2048" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		struct fixture *f = fixture_make(kinds[i]);
		X509_CRL *crl = crl_of(f, NULL, 0, 0);

		assert_int_equal(X509_CRL_verify(crl, f->issuing_key), 1);
		assert_int_not_equal(X509_CRL_verify(crl, f->root_key), 1);
		assert_null(X509_CRL_get_REVOKED(crl));
		assert_int_equal(X509_CRL_get_version(crl), X509_CRL_VERSION_2);
		assert_int_equal(X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(f->issuing)), 0);
		assert_int_equal(time_of(X509_CRL_get0_lastUpdate(crl)), NOW_S);
		assert_int_equal(time_of(X509_CRL_get0_nextUpdate(crl)), NEXT_S);
		X509_CRL_free(crl);
		fixture_free(f);
	}
}

static void
ca_crl_lists_what_is_revoked_and_says_what_is_held(void **state)
{
	static const struct ca_revoked revoked[] = {
		{ .serial = "7f000000000000000000000000000001", .revoked_s = NOW_S - 60 },
		{ .serial = "80ff", .revoked_s = NOW_S - DAY_S, .held = true },
		{ .serial = "ffffffffffffffffffffffffffffffffffffffff", .revoked_s = 2600000000 },
	};
	struct fixture *f = *state;
	X509_CRL *crl = crl_of(f, revoked, 3, 5);
	size_t i;

	assert_int_equal(X509_CRL_verify(crl, f->issuing_key), 1);
	assert_int_equal(sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl)), 3);
	for (i = 0; i < 3; i++) {
		BIGNUM *number = NULL;
		ASN1_INTEGER *serial;
		X509_REVOKED *entry = NULL;
		ASN1_ENUMERATED *reason;
		int critical = 0;

		assert_true(BN_hex2bn(&number, revoked[i].serial) > 0);
		serial = BN_to_ASN1_INTEGER(number, NULL);
		assert_int_equal(X509_CRL_get0_by_serial(crl, &entry, serial), 1);
		assert_int_equal(ASN1_INTEGER_cmp(X509_REVOKED_get0_serialNumber(entry), serial), 0);
		assert_int_equal(time_of(X509_REVOKED_get0_revocationDate(entry)), revoked[i].revoked_s);
		reason = X509_REVOKED_get_ext_d2i(entry, NID_crl_reason, &critical, NULL);
		assert_int_equal(reason != NULL, revoked[i].held);
		assert_int_equal(critical, revoked[i].held ? 0 : -1);
		if (reason != NULL)
			assert_int_equal(ASN1_ENUMERATED_get(reason), CRL_REASON_CERTIFICATE_HOLD);
		ASN1_ENUMERATED_free(reason);
		ASN1_INTEGER_free(serial);
		BN_free(number);
	}
	X509_CRL_free(crl);
}

static void
ca_crl_has_number_and_key_identifier_and_no_other_extension(void **state)
{
	static const int64_t numbers[] = { 0, 127, 128, 1790000000, INT64_MAX };
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		X509_CRL *crl = crl_of(f, NULL, 0, numbers[i]);
		AUTHORITY_KEYID *authority;
		ASN1_INTEGER *number;
		int critical = 0;
		int64_t value = -1;

		assert_int_equal(X509_CRL_get_ext_count(crl), 2);
		number = X509_CRL_get_ext_d2i(crl, NID_crl_number, &critical, NULL);
		assert_non_null(number);
		assert_int_equal(critical, 0);
		assert_int_equal(ASN1_INTEGER_get_int64(&value, number), 1);
		assert_true(value == numbers[i]);
		authority = X509_CRL_get_ext_d2i(crl, NID_authority_key_identifier, &critical, NULL);
		assert_non_null(authority);
		assert_int_equal(critical, 0);
		assert_int_equal(ASN1_OCTET_STRING_cmp(authority->keyid, X509_get0_subject_key_id(f->issuing)), 0);
		AUTHORITY_KEYID_free(authority);
		ASN1_INTEGER_free(number);
		X509_CRL_free(crl);
	}
}

static void
ca_crl_is_what_a_der_encoder_would_write(void **state)
{
	static const struct ca_revoked revoked[] = { { .serial = "01", .revoked_s = NOW_S, .held = true },
		{ .serial = "80", .revoked_s = NOW_S } };
	struct fixture *f = *state;
	CLEANUP(buf) struct buf der = { 0 };
	X509_CRL *crl;
	uint8_t *again = NULL;
	int len;

	crl_make(f, revoked, 2, 5, &der);
	crl = crl_decode(&der);
	assert_true(i2d_re_X509_CRL_tbs(crl, &again) > 0);
	OPENSSL_free(again);
	again = NULL;
	len = i2d_X509_CRL(crl, &again);
	assert_true(bytes_equal(bytes_of(again, (size_t)len), buf_bytes(&der)));
	OPENSSL_free(again);
	X509_CRL_free(crl);
}

static void
ca_crl_is_appended_to_what_is_there(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf) struct buf out = { 0 };
	const uint8_t *p;
	X509_CRL *crl;

	buf_append_text(&out, "before");
	crl_make(f, NULL, 0, 1, &out);
	assert_memory_equal(out.at, "before", 6);
	p = out.at + 6;
	crl = d2i_X509_CRL(NULL, &p, (long)out.len - 6);
	assert_non_null(crl);
	assert_ptr_equal(p, out.at + out.len);
	X509_CRL_free(crl);
}

/* What relying parties do with it. */
static void
ca_crl_makes_verifiers_refuse_the_revoked_certificate_only(void **state)
{
	struct fixture *f = *state;
	struct ca *ca = opened(f);
	struct ca_revoked revoked = { .revoked_s = NOW_S - 60 };
	X509 *good = issued(ca, &f->request, NULL), *bad = issued(ca, &f->request, revoked.serial);
	X509_CRL *crl = crl_of(f, &revoked, 1, 1);

	assert_int_equal(chain_error(f, good, crl), X509_V_OK);
	assert_int_equal(chain_error(f, bad, crl), X509_V_ERR_CERT_REVOKED);
	X509_CRL_free(crl);
	revoked.held = true;
	crl = crl_of(f, &revoked, 1, 2);
	assert_int_equal(chain_error(f, good, crl), X509_V_OK);
	assert_int_equal(chain_error(f, bad, crl), X509_V_ERR_CERT_REVOKED);
	X509_CRL_free(crl);
	X509_free(good);
	X509_free(bad);
	ca_builtin.close(ca);
}

/* The openssl program's output of "crl", which must end well. */
static void
openssl_crl(const struct fixture *f, const char *crl_path, char *out, size_t size)
{
	char command[512];
	size_t len;
	FILE *pipe;
	int status;

	assert_true(snprintf(command, sizeof command,
		"openssl crl -inform DER -in %s -CAfile %s -verify -noout -text -nameopt RFC2253 2>&1", crl_path,
		f->issuing_path) < (int)sizeof command);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	len = fread(out, 1, size - 1, pipe);
	out[len] = '\0';
	status = pclose(pipe);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("%s", out);
}

static void
ca_crl_is_understood_by_the_openssl_program(void **state)
{
	static const struct ca_revoked revoked[] = { { .serial = "4a01", .revoked_s = NOW_S - 60 },
		{ .serial = "4a02", .revoked_s = NOW_S - 30, .held = true } };
	static const char *const said[] = { "verify OK", "Version 2 (0x1)", "Issuer: CN=Test Issuing,O=Example Works",
		"Last Update: Sep 21 14:13:20 2026 GMT", "Next Update: Sep 22 14:13:20 2026 GMT", "X509v3 CRL Number: \n",
		"X509v3 Authority Key Identifier", "Serial Number: 4A01", "Serial Number: 4A02", "Certificate Hold" };
	struct fixture *f = *state;
	CLEANUP(buf) struct buf der = { 0 };
	char path[128], out[4096];
	FILE *file;
	size_t i;

	path_make(f, "list.crl", path);
	crl_make(f, revoked, 2, 4711, &der);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(der.at, 1, der.len, file), der.len);
	assert_int_equal(fclose(file), 0);
	openssl_crl(f, path, out, sizeof out);
	assert_int_equal(unlink(path), 0);
	for (i = 0; i < sizeof said / sizeof said[0]; i++)
		if (strstr(out, said[i]) == NULL)
			fail_msg("no \"%s\" in %s", said[i], out);
	assert_non_null(strstr(out, "4711"));
	assert_ptr_equal(strstr(strstr(out, "Certificate Hold") + 1, "Certificate Hold"), NULL);
}

static void
ca_crl_refuses_what_is_no_serial_number(void **state)
{
	static const char *const serials[] = { "", "4", "4a0", "4g", "0x4a", "-1" };
	struct fixture *f = *state;
	struct ca_revoked revoked[2] = { { .serial = "01", .revoked_s = NOW_S }, { .revoked_s = NOW_S } };
	size_t i;

	for (i = 0; i < sizeof serials / sizeof serials[0]; i++) {
		strcpy(revoked[1].serial, serials[i]);
		assert_crl_fails(f, revoked, 2, 1, NEXT_S, ERR_MALFORMED, "serial number");
	}
	memset(revoked[1].serial, '1', sizeof revoked[1].serial); /* and no end */
	assert_crl_fails(f, revoked, 2, 1, NEXT_S, ERR_MALFORMED, "serial number");
}

static void
ca_crl_refuses_numbers_and_times_that_cannot_be(void **state)
{
	struct ca_revoked revoked = { .serial = "01", .revoked_s = -1 };
	struct fixture *f = *state;

	assert_crl_fails(f, NULL, 0, -1, NEXT_S, ERR_BUG, "number -1");
	assert_crl_fails(f, NULL, 0, 1, NOW_S, ERR_BUG, "good for 0 s");
	assert_crl_fails(f, NULL, 0, 1, NOW_S - 1, ERR_BUG, "good for -1 s");
	assert_crl_fails(f, NULL, 0, 1, INT64_C(253402300800), ERR_BUG, "cannot be encoded"); /* the year 10000 */
	assert_crl_fails(f, &revoked, 1, 1, NEXT_S, ERR_BUG, "cannot be encoded");
}

static void
ca_crl_refuses_more_entries_than_a_list_can_hold(void **state)
{
	struct fixture *f = *state;
	struct ca_revoked one = { .serial = "01", .revoked_s = NOW_S };

	assert_crl_fails(f, &one, CRL_ENTRIES_MAX + 1, 1, NEXT_S, ERR_LIMIT, "1000001");
}

/* RFC 5280, section 4.2.1.3: cRLSign is what a certificate needs for verifying signatures on revocation lists. */
static void
ca_crl_is_not_signed_by_a_certificate_that_may_not(void **state)
{
	struct fixture *f = *state;
	int at = X509_get_ext_by_NID(f->issuing, NID_key_usage, -1);
	ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();

	X509_EXTENSION_free(X509_delete_ext(f->issuing, at));
	assert_int_equal(ASN1_BIT_STRING_set_bit(usage, 5, 1), 1); /* keyCertSign alone */
	assert_int_equal(X509_add1_ext_i2d(f->issuing, NID_key_usage, usage, 1, X509V3_ADD_DEFAULT), 1);
	ASN1_BIT_STRING_free(usage);
	assert_true(X509_sign(f->issuing, f->root_key, ossl_sha256()) > 0);
	cert_write(f->issuing_path, f->issuing, NULL);
	assert_crl_fails(f, NULL, 0, 1, NEXT_S, ERR_UNSUPPORTED, "may not sign revocation lists");
}

static void
ca_crl_with_a_faulty_signature_is_withheld(void **state)
{
	struct fixture *f = *state;

	faulty = true;
	assert_crl_fails(f, NULL, 0, 1, NEXT_S, ERR_BUG, "withheld");
	faulty = false;
	X509_CRL_free(crl_of(f, NULL, 0, 1));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ca_crl_without_revoked_certificates_is_empty_and_signed),
		TEST(ca_crl_lists_what_is_revoked_and_says_what_is_held),
		TEST(ca_crl_has_number_and_key_identifier_and_no_other_extension),
		TEST(ca_crl_is_what_a_der_encoder_would_write),
		TEST(ca_crl_is_appended_to_what_is_there),
		TEST(ca_crl_makes_verifiers_refuse_the_revoked_certificate_only),
		TEST(ca_crl_is_understood_by_the_openssl_program),
		TEST(ca_crl_refuses_what_is_no_serial_number),
		TEST(ca_crl_refuses_numbers_and_times_that_cannot_be),
		TEST(ca_crl_refuses_more_entries_than_a_list_can_hold),
		TEST(ca_crl_is_not_signed_by_a_certificate_that_may_not),
		TEST(ca_crl_with_a_faulty_signature_is_withheld),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
