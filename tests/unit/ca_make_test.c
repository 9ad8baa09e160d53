#define _GNU_SOURCE
#include "tests/unit/ca_fixture.h"

static struct ca_make
made(const struct fixture *f)
{
	return (struct ca_make){ .common_name = "Sub", .organisation = "Example Works", .key = f->leaf_key,
		.issuer = f->root, .issuer_key = f->root_key, .path_len = 0, .not_before_s = NOW_S,
		.not_after_s = NOW_S + YEAR_S };
}

static void
assert_refused(const struct ca_make *make, const char *part)
{
	struct err e = { 0 };
	X509 *cert = NULL;

	assert_failed(ca_make_certificate(make, &cert, &e), &e, ERR_MALFORMED, part);
	assert_null(cert);
}

static void
ca_make_gives_a_root_that_signed_itself(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(X509_verify(f->root, f->root_key), 1);
	assert_int_equal(X509_self_signed(f->root, 1), 1);
	assert_int_equal(X509_get_version(f->root), X509_VERSION_3);
	assert_int_equal(X509_check_ca(f->root), 1);
	assert_int_equal(X509_get_pathlen(f->root), 1);
	assert_int_equal(X509_get_key_usage(f->root), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
	assert_int_equal(X509_get_serialNumber(f->root)->length, 16);
}

static void
ca_make_gives_a_sub_ca_that_names_its_issuer(void **state)
{
	struct fixture *f = *state;
	struct ca_make make = made(f);
	int64_t before, after;
	struct err e = { 0 };
	X509 *cert = NULL;
	char name[100];

	make.path_len = -1;
	make.not_after_s = INT64_C(253402300799);
	assert_int_equal(ca_make_certificate(&make, &cert, &e), 0);
	assert_int_equal(X509_verify(cert, f->root_key), 1);
	assert_int_equal(X509_check_issued(f->root, cert), X509_V_OK);
	assert_int_equal(ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(cert),
		X509_get0_subject_key_id(f->root)), 0);
	assert_int_equal(X509_get_pathlen(cert), -1);
	assert_int_equal(x509_validity(cert, &before, &after, &e), 0);
	assert_int_equal(before, NOW_S);
	assert_int_equal(after, INT64_C(253402300799));
	x509_name_text(X509_get_subject_name(cert), name, sizeof name);
	assert_string_equal(name, "CN=Sub,O=Example Works");
	X509_free(cert);
}

static void
ca_make_refuses_what_makes_no_ca(void **state)
{
	struct fixture *f = *state;
	struct ca_make make = made(f);

	make.common_name = "";
	assert_refused(&make, "needs a common name");
	make = made(f);
	make.not_after_s = make.not_before_s;
	assert_refused(&make, "ends before it begins");
	make = made(f);
	make.path_len = -2;
	assert_refused(&make, "path length");
	make = made(f);
	make.issuer_key = f->leaf_key;
	assert_refused(&make, "not its certificate's");
	make.issuer_key = NULL;
	assert_refused(&make, "not its certificate's");
	make = made(f);
	make.common_name = "a common name that is longer than the sixty-four characters of X.520";
	assert_refused(&make, "CN");
}

static void
ca_make_refuses_an_issuer_that_is_no_ca(void **state)
{
	struct fixture *f = *state;
	struct ca_make make = made(f);
	struct ca *ca = opened(f);
	X509 *leaf = issued(ca, &f->request, NULL);

	make.issuer = leaf;
	make.issuer_key = f->leaf_key;
	assert_refused(&make, "the issuer is not a CA");
	X509_free(leaf);
	ca_builtin.close(ca);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ca_make_gives_a_root_that_signed_itself),
		TEST(ca_make_gives_a_sub_ca_that_names_its_issuer),
		TEST(ca_make_refuses_what_makes_no_ca),
		TEST(ca_make_refuses_an_issuer_that_is_no_ca),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
