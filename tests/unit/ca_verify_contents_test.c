#define _GNU_SOURCE
#include "tests/unit/ca_verify_fixture.h"

static void
ca_verify_refuses_ca_certificates(void **state)
{
	struct fixture *f = *state;
	X509 *cert = good(f);

	ext_swap(cert, NID_basic_constraints, "basicConstraints", "critical,CA:TRUE");
	assert_refused(f, cert, "make it a CA");
	cert = good(f);
	ext_swap(cert, NID_basic_constraints, "basicConstraints", "CA:FALSE,pathlen:0");
	assert_refused(f, cert, "make it a CA");
	cert = good(f);
	ext_swap(cert, NID_basic_constraints, "basicConstraints", "DER:0500");
	assert_refused(f, cert, "basicConstraints");
}

static void
ca_verify_refuses_other_key_usages(void **state)
{
	static const char *const foreign[] = { "keyCertSign", "cRLSign", "encipherOnly", "decipherOnly" };
	struct fixture *f = *state;
	char usage[80];
	X509 *cert;
	size_t i;

	for (i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
		cert = good(f);
		(void)snprintf(usage, sizeof usage, "critical,digitalSignature,keyAgreement,%s", foreign[i]);
		ext_swap(cert, NID_key_usage, "keyUsage", usage);
		assert_refused(f, cert, "a bit that leaves never have");
	}
	cert = good(f);
	ext_swap(cert, NID_key_usage, "keyUsage", "critical,digitalSignature,keyAgreement,nonRepudiation");
	assert_refused(f, cert, "keyUsage 0x13 where 0x15");
	cert = good(f);
	ext_swap(cert, NID_key_usage, "keyUsage", "critical,digitalSignature");
	assert_refused(f, cert, "lacks some of the approved");
	cert = good(f);
	ext_drop(cert, NID_key_usage);
	assert_refused(f, cert, "keyUsage is missing");
}

static void
ca_verify_refuses_other_extended_key_usages(void **state)
{
	struct fixture *f = *state;
	X509 *cert = good(f);

	ext_swap(cert, NID_ext_key_usage, "extendedKeyUsage", "serverAuth,clientAuth,anyExtendedKeyUsage");
	assert_refused(f, cert, "extended key usage 2.5.29.37.0 was not approved");
	cert = good(f);
	ext_swap(cert, NID_ext_key_usage, "extendedKeyUsage", "clientAuth");
	assert_refused(f, cert, "1.3.6.1.5.5.7.3.1 is missing");
	cert = good(f);
	ext_drop(cert, NID_ext_key_usage);
	assert_refused(f, cert, "is missing");
	cert = good(f);
	ext_swap(cert, NID_ext_key_usage, "extendedKeyUsage", "DER:3000");
	assert_refused(f, cert, "extendedKeyUsage is empty");
	f->spec.eku_count = 0;
	assert_refused(f, good(f), "was not approved");
}

static void
ca_verify_refuses_an_extended_key_usage_twice(void **state)
{
	struct fixture *f = *state;
	X509 *cert = good(f);

	ext_swap(cert, NID_ext_key_usage, "extendedKeyUsage", "clientAuth,serverAuth,clientAuth");
	assert_refused(f, cert, "extended key usage 1.3.6.1.5.5.7.3.2 stands there twice");
}

/* CAs put them into an order of their own, most often the reverse. */
static void
ca_verify_takes_the_rdns_in_any_order(void **state)
{
	struct fixture *f = *state;
	X509 *cert = good(f);
	X509_NAME *name = X509_get_subject_name(cert);
	X509_NAME_ENTRY *entry = X509_NAME_delete_entry(name, 0);

	assert_int_equal(X509_NAME_add_entry(name, entry, -1, 0), 1);
	X509_NAME_ENTRY_free(entry);
	assert_accepted(f, cert);
}

static void
ca_verify_refuses_two_attributes_in_one_rdn(void **state)
{
	struct fixture *f = *state;
	X509 *cert = good(f);
	X509_NAME *name = X509_get_subject_name(cert);
	X509_NAME_ENTRY *entry = X509_NAME_delete_entry(name, 0);

	assert_int_equal(X509_NAME_add_entry(name, entry, 1, 1), 1); /* to the one that is there */
	X509_NAME_ENTRY_free(entry);
	assert_int_equal(X509_NAME_entry_count(name), 4);
	assert_refused(f, cert, "in one RDN");
}

static void
ca_verify_refuses_a_name_more_often_than_approved(void **state)
{
	struct fixture *f = *state;
	X509 *cert = good(f);

	ext_swap(cert, NID_subject_alt_name, "subjectAltName", GOOD_SAN ",DNS:RTR-7.example.net");
	assert_refused(f, cert, "\"RTR-7.example.net\" (kind 2) stands there twice");
	cert = good(f);
	ext_swap(cert, NID_subject_alt_name, "subjectAltName", GOOD_SAN ",IP:192.0.2.7");
	assert_refused(f, cert, "(kind 7) stands there twice");
	/* As the request may have it; a CA may leave one out. */
	f->spec.sans[f->spec.san_count++] = f->spec.sans[0];
	cert = good(f);
	ext_swap(cert, NID_subject_alt_name, "subjectAltName", GOOD_SAN ",DNS:RTR-7.example.net");
	assert_accepted(f, cert);
	assert_accepted(f, good(f));
	cert = good(f);
	ext_swap(cert, NID_subject_alt_name, "subjectAltName", GOOD_SAN ",DNS:RTR-7.example.net,DNS:rtr-7.example.net");
	assert_refused(f, cert, "stands there twice");
}

static void
ca_verify_refuses_other_subjects(void **state)
{
	struct fixture *f = *state;
	X509 *cert = good(f);

	rdn_add(cert, "OU", "Admins");
	assert_refused(f, cert, "\"Admins\" was not approved");
	cert = good(f);
	rdn_add(cert, "CN", "rtr-8");
	assert_refused(f, cert, "\"rtr-8\" was not approved");
	cert = good(f);
	rdn_add(cert, "CN", "rtr-7");
	assert_refused(f, cert, "\"rtr-7\" was not approved");
	cert = good(f);
	X509_NAME_ENTRY_free(X509_NAME_delete_entry(X509_get_subject_name(cert), 0));
	assert_refused(f, cert, "\"rtr-7\" is missing");
	cert = good(f);
	assert_int_equal(ASN1_STRING_set(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(X509_get_subject_name(cert),
		0)), "rtr-7\0x", 7), 1);
	assert_refused(f, cert, "rtr-7\\x00x\" was not approved");
}

static void
ca_verify_refuses_other_alternative_names(void **state)
{
	static const struct {
		const char *san, *part;
	} cases[] = {
		{ GOOD_SAN ",DNS:other.example.net", "\"other.example.net\" (kind 2) was not approved" },
		{ GOOD_SAN ",DNS:rtr-7", "\"rtr-7\" (kind 2) was not approved" },
		{ GOOD_SAN ",DNS:*.example.net", "was not approved" },
		{ GOOD_SAN ",URI:rtr-7.example.net", "(kind 6) was not approved" },
		{ GOOD_SAN ",IP:192.0.2.8", "(kind 7) was not approved" },
		{ GOOD_SAN ",RID:1.2.3", "(kind 8) was not approved" },
		{ GOOD_SAN ",otherName:1.2.3.4;UTF8:x", "(kind 0) was not approved" },
		{ "DNS:rtr-7.example.net,URI:urn:dev:sn:1234,IP:192.0.2.7,IP:2001:db8::7",
			"\"ops@example.net\" is missing" },
		{ "DNS:rtr-7.example.net,URI:urn:dev:sn:1234,IP:192.0.2.7,email:ops@example.net",
			"\"2001:db8::7\" is missing" },
	};
	struct fixture *f = *state;
	X509 *cert;
	size_t i;

	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		cert = good(f);
		ext_swap(cert, NID_subject_alt_name, "subjectAltName", cases[i].san);
		assert_refused(f, cert, cases[i].part);
	}
	cert = good(f);
	ext_drop(cert, NID_subject_alt_name);
	assert_refused(f, cert, "\"rtr-7.example.net\" is missing");
	cert = good(f);
	while (X509_NAME_entry_count(X509_get_subject_name(cert)) > 0)
		X509_NAME_ENTRY_free(X509_NAME_delete_entry(X509_get_subject_name(cert), 0));
	f->spec.rdn_count = 0;
	assert_refused(f, cert, "subjectAltName is not critical");
}

static void
ca_verify_refuses_a_name_with_a_nul_in_it(void **state)
{
	struct fixture *f = *state;
	X509 *cert = good(f);

	/* dNSName "rtr-7.example.net\0.evil", alone */
	ext_swap(cert, NID_subject_alt_name, "subjectAltName",
		"DER:301982177274722d372e6578616d706c652e6e6574002e6576696c");
	f->spec.san_count = 1;
	assert_refused(f, cert, "rtr-7.example.net\\x00.evil\" (kind 2) was not approved");
}

static void
ca_verify_refuses_extensions_that_do_not_belong(void **state)
{
	struct fixture *f = *state;
	X509 *cert = good(f);

	ext_add(cert, "nameConstraints", "permitted;DNS:example.net");
	assert_refused(f, cert, "2.5.29.30 does not belong in a leaf");
	cert = good(f);
	ext_add(cert, "1.2.3.4.5.6", "critical,ASN1:NULL");
	assert_refused(f, cert, "1.2.3.4.5.6 is critical and was not approved");
	cert = good(f);
	ext_add(cert, "keyUsage", "digitalSignature");
	assert_refused(f, cert, "2.5.29.15 stands there twice");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ca_verify_refuses_ca_certificates),
		TEST(ca_verify_refuses_other_key_usages),
		TEST(ca_verify_refuses_other_extended_key_usages),
		TEST(ca_verify_refuses_an_extended_key_usage_twice),
		TEST(ca_verify_takes_the_rdns_in_any_order),
		TEST(ca_verify_refuses_two_attributes_in_one_rdn),
		TEST(ca_verify_refuses_a_name_more_often_than_approved),
		TEST(ca_verify_refuses_other_subjects),
		TEST(ca_verify_refuses_other_alternative_names),
		TEST(ca_verify_refuses_a_name_with_a_nul_in_it),
		TEST(ca_verify_refuses_extensions_that_do_not_belong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
