#define _GNU_SOURCE
#include "tests/unit/ca_fixture.h"

static void
ca_issue_refuses_what_no_leaf_may_have(void **state)
{
	static const struct {
		const char *oid, *part;
	} bad_eku[] = {
		{ "2.5.29.37.0", "asks for extended key usage 2.5.29.37.0" },
		{ "1.3.6.1.5.5.7.3.9", "asks for extended key usage 1.3.6.1.5.5.7.3.9" },
		{ "2.5.29.37.00", "is not an OID" }, { "", "is not an OID" }, { "clientAuth", "is not an OID" },
		{ "1..2", "is not an OID" }, { "1.3.", "is not an OID" }, { "3.1", "is not an OID" },
		{ "1.2.4294967296", "cannot be encoded" },
	};
	static const struct {
		enum spec_san_type type;
		const char *value;
	} bad_san[] = {
		{ SPEC_SAN_DNS, "*.example.net" }, { SPEC_SAN_DNS, "" }, { SPEC_SAN_DNS, "a..b" },
		{ SPEC_SAN_DNS, "a." }, { SPEC_SAN_DNS, ".a" }, { SPEC_SAN_DNS, "a b" }, { SPEC_SAN_DNS, "zürich" },
		{ SPEC_SAN_URI, "path/only" }, { SPEC_SAN_URI, "urn:" }, { SPEC_SAN_URI, "urn:a b" },
		{ SPEC_SAN_URI, "" }, { SPEC_SAN_IP, "192.0.2.256" }, { SPEC_SAN_IP, "" },
		{ SPEC_SAN_EMAIL, "nobody" }, { SPEC_SAN_EMAIL, "a@*.net" }, { SPEC_SAN_EMAIL, "@example.net" },
		{ SPEC_SAN_EMAIL, "a@b@c" },
	};
	struct fixture *f = *state;
	unsigned bit;
	size_t i;

	for (bit = 5; bit < 9; bit++) {
		f->spec.key_usage = USAGE_DIGITAL_SIGNATURE | 1u << bit;
		assert_not_issued(f, ERR_BUG, "only CAs have");
	}
	f->spec.key_usage = 0;
	assert_not_issued(f, ERR_BUG, "no key usage");
	spec_make(f);
	for (i = 0; i < sizeof bad_eku / sizeof bad_eku[0]; i++) {
		strcpy(f->eku[1], bad_eku[i].oid);
		assert_not_issued(f, ERR_BUG, bad_eku[i].part);
	}
	spec_make(f);
	for (i = 0; i < sizeof bad_san / sizeof bad_san[0]; i++) {
		f->spec.sans[1].type = bad_san[i].type;
		strcpy(f->spec.sans[1].value, bad_san[i].value);
		assert_not_issued(f, ERR_BUG, "is not a name a leaf may have");
	}
	spec_make(f);
	strcpy(f->spec.rdns[2].value, "*.example.net");
	assert_not_issued(f, ERR_BUG, "common name holds a wildcard");
	f->spec.rdn_count = f->spec.san_count = 0;
	assert_not_issued(f, ERR_BUG, "neither a subject nor a SAN");
	f->spec.rdn_count = SPEC_RDNS_MAX + 1;
	assert_not_issued(f, ERR_BUG, "more names than fit");
	spec_make(f);
	f->spec.not_after_s = f->spec.not_before_s;
	assert_not_issued(f, ERR_BUG, "ends before it begins");
}

static void
ca_issue_refuses_values_that_do_not_fit_their_attribute(void **state)
{
	struct fixture *f = *state;

	memset(f->spec.rdns[2].value, 'x', 65);
	assert_not_issued(f, ERR_DENIED, "commonName of 65 characters");
	spec_make(f);
	strcpy(f->spec.rdns[0].value, "CHE");
	assert_not_issued(f, ERR_DENIED, "countryName of 3 characters");
	strcpy(f->spec.rdns[0].value, "C");
	assert_not_issued(f, ERR_DENIED, "two letters");
	strcpy(f->spec.rdns[0].value, "C_");
	assert_not_issued(f, ERR_DENIED, "string type");
	f->spec.rdns[0].value[0] = '\0';
	assert_not_issued(f, ERR_BUG, "empty");
	strcpy(f->spec.rdns[0].value, "\n");
	assert_not_issued(f, ERR_BUG, "not clean");
	spec_make(f);
	strcpy(f->spec.rdns[0].oid, "CN");
	assert_not_issued(f, ERR_BUG, "not an OID");
}

static void
ca_issue_counts_characters_and_not_octets(void **state)
{
	struct fixture *f = *state;
	X509 *cert;
	int i;

	f->spec.rdns[2].value[0] = '\0';
	for (i = 0; i < 60; i++)
		strcat(f->spec.rdns[2].value, "é");
	cert = issued_once(f);
	X509_free(cert);
}

static void
ca_issue_refuses_a_key_that_is_not_what_was_approved(void **state)
{
	struct fixture *f = *state;
	struct buf loose = { 0 };

	f->request.key_kind = KEY_RSA;
	assert_not_issued(f, ERR_BUG, "not of the kind that was approved");
	f->request.key_kind = KEY_OTHER;
	assert_not_issued(f, ERR_DENIED, "can do none");
	leaf_key_use(f, "RSA-1024", KEY_RSA);
	assert_not_issued(f, ERR_BUG, "shorter than 2048");

	/* The same key with a length that DER would write shorter: 30 82 0122 becomes 30 83 000122. */
	leaf_key_use(f, "RSA-2048", KEY_RSA);
	buf_append(&loose, "\x30\x83\x00", 3);
	buf_append(&loose, f->spki.at + 2, f->spki.len - 2);
	f->request.spki = buf_bytes(&loose);
	assert_not_issued(f, ERR_MALFORMED, "");
	f->request.spki = bytes_of(f->spki.at, f->spki.len - 1);
	assert_not_issued(f, ERR_MALFORMED, "");
	f->request.spki = bytes_of(NULL, 0);
	assert_not_issued(f, ERR_MALFORMED, "");
	buf_free(&loose);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ca_issue_refuses_what_no_leaf_may_have),
		TEST(ca_issue_refuses_values_that_do_not_fit_their_attribute),
		TEST(ca_issue_counts_characters_and_not_octets),
		TEST(ca_issue_refuses_a_key_that_is_not_what_was_approved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
