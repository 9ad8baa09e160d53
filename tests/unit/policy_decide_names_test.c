#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/policy_decide_fixture.h"

static struct scene s;
static X509_NAME *subject;
static GENERAL_NAMES *sans;

static int
setup(void **state)
{
	(void)state;
	scene_set(&s);
	subject = X509_NAME_new();
	sans = sk_GENERAL_NAME_new_null();
	return subject != NULL && sans != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	X509_NAME_free(subject);
	GENERAL_NAMES_free(sans);
	return 0;
}

static void
policy_decide_takes_the_assets_own_names(void **state)
{
	(void)state;
	s.csr.subject = subject;
	assert_allowed(&s);
	add_rdn(subject, "CN", MBSTRING_UTF8, "rtr-7", -1);
	add_rdn(subject, "O", V_ASN1_BMPSTRING, "\0F\0l\0e\0e\0t", 10);
	s.csr.sans = sans;
	add_san(sans, GEN_DNS, "RTR-7.example.net");
	assert_allowed(&s);
	add_rdn(subject, "CN", MBSTRING_UTF8, "SN7", -1);
	add_rdn(subject, "CN", MBSTRING_UTF8, "RTR-7.EXAMPLE.NET", -1);
	assert_allowed(&s);
}

static void
policy_decide_denies_names_of_others(void **state)
{
	static const struct {
		const char *field, *value;
		int len;
	} cases[] = {
		{ "CN", "rtr-8", -1 },
		{ "CN", "rtr-7\0.evil", 11 },
		{ "CN", "RTR-7", -1 },
		{ "CN", "*.example.net", -1 },
		{ "O", "rtr-7", -1 },
		{ "O", "fleet", -1 },
		{ "OU", "Fleet", -1 },
		{ "serialNumber", "SN7", -1 },
		{ "1.3.6.1.4.1.99999.1", "rtr-7", -1 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		X509_NAME *name = X509_NAME_new();
		ASN1_OBJECT *type = OBJ_txt2obj(cases[i].field, 0);

		assert_int_equal(X509_NAME_add_entry_by_OBJ(name, type, V_ASN1_UTF8STRING,
			(const unsigned char *)cases[i].value, cases[i].len, -1, 0), 1);
		s.csr.subject = name;
		assert_denied(&s, "csr.names");
		X509_NAME_free(name);
		ASN1_OBJECT_free(type);
	}
}

static void
policy_decide_denies_alternative_names_of_others(void **state)
{
	static const struct {
		int type;
		const char *value;
	} cases[] = {
		{ GEN_DNS, "rtr-8.example.net" },
		{ GEN_DNS, "*.example.net" },
		{ GEN_DNS, "rtr-7" },
		{ GEN_URI, "rtr-7.example.net" },
		{ GEN_IPADD, "10.0.0.2" },
		{ GEN_IPADD, "2001:db8::1" },
		{ GEN_EMAIL, "a@rtr-7.example.net" },
		{ GEN_RID, "1.2.3.4" },
	};
	size_t i;

	(void)state;
	strcpy(s.profile.san[1], "ip:10.0.0.1");
	s.profile.san_count = 2;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		s.csr.sans = sk_GENERAL_NAME_new_null();
		add_san(s.csr.sans, GEN_DNS, "rtr-7.example.net");
		add_san(s.csr.sans, GEN_IPADD, "10.0.0.1");
		assert_allowed(&s);
		add_san(s.csr.sans, cases[i].type, cases[i].value);
		assert_denied(&s, "csr.names");
		GENERAL_NAMES_free(s.csr.sans);
	}
}

static void
policy_decide_denies_an_address_of_odd_length(void **state)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();

	(void)state;
	assert_int_equal(ASN1_OCTET_STRING_set(octets, (const unsigned char *)"\x0a", 1), 1);
	GENERAL_NAME_set0_value(name, GEN_IPADD, octets);
	assert_true(sk_GENERAL_NAME_push(sans, name) > 0);
	s.csr.sans = sans;
	assert_denied(&s, "csr.names");
	assert_non_null(strstr(s.out.sentence, "1 octets"));
}

static void
policy_decide_denies_more_names_than_anybody_has(void **state)
{
	int i;

	(void)state;
	s.csr.sans = sans;
	for (i = 0; i < 64; i++)
		add_san(sans, GEN_DNS, "rtr-7.example.net");
	assert_allowed(&s);
	add_san(sans, GEN_DNS, "rtr-7.example.net");
	assert_denied(&s, "csr.names");
}

static void
policy_decide_replaces_names_where_the_profile_says_so(void **state)
{
	(void)state;
	add_rdn(subject, "CN", MBSTRING_UTF8, "factory default", -1);
	s.csr.subject = subject;
	assert_denied(&s, "csr.names");
	s.profile.csr_names = CSR_NAMES_IGNORE;
	assert_allowed(&s);
	assert_string_equal(s.out.spec.rdns[0].value, "rtr-7");
}

/* A certificate with the names the templates give, its CN a PrintableString. */
static void
scene_renewal(void)
{
	scene_own(&s, POLICY_RENEW);
	add_rdn(subject, "O", V_ASN1_UTF8STRING, "Fleet", -1);
	add_rdn(subject, "CN", V_ASN1_PRINTABLESTRING, "rtr-7", -1);
	add_san(sans, GEN_DNS, "rtr-7.example.net");
	s.in.current_subject = subject;
	s.in.current_sans = sans;
	assert_allowed(&s);
}

static void
policy_decide_renewal_keeps_subject_and_alternative_names(void **state)
{
	(void)state;
	scene_renewal();
	strcpy(s.asset.hostname, "rtr-8.example.net");
	assert_denied(&s, "renewal.identity");
	s.asset.hostname[0] = '\0';
	assert_denied(&s, "renewal.identity");
	strcpy(s.asset.hostname, "rtr-7.example.net");
	strcpy(s.owner.name, "Other");
	assert_denied(&s, "renewal.identity");
	s.profile.allow_subject_change = true;
	assert_allowed(&s);
	s.profile.allow_subject_change = false;
	strcpy(s.owner.name, "Fleet");
	strcpy(s.profile.subject, "CN={tag}");
	assert_denied(&s, "renewal.identity");
	strcpy(s.profile.subject, "CN={tag},O={owner}");
	s.in.current_sans = NULL;
	assert_denied(&s, "renewal.identity");
	s.in.current_sans = sans;
	s.in.current_subject = NULL;
	assert_denied(&s, "renewal.identity");
}

/* The CN may be the serial for csr.names, but RFC 7030, section 4.2.2 wants the certificate's own here. */
static void
policy_decide_renewal_request_names_what_the_certificate_names(void **state)
{
	X509_NAME *asked = X509_NAME_new();
	GENERAL_NAMES *empty = sk_GENERAL_NAME_new_null();

	(void)state;
	scene_renewal();
	s.csr.subject = subject;
	s.csr.sans = sans;
	assert_allowed(&s);
	s.csr.subject = asked;
	s.csr.sans = empty;
	assert_allowed(&s);
	add_rdn(asked, "CN", MBSTRING_UTF8, "rtr-7", -1);
	assert_denied(&s, "renewal.identity");
	add_rdn(asked, "O", MBSTRING_UTF8, "Fleet", -1);
	assert_allowed(&s);
	add_rdn(asked, "CN", MBSTRING_UTF8, "SN7", -1);
	assert_denied(&s, "renewal.identity");
	/* Where the profile replaces names, the request's must be the certificate's all the same. */
	s.profile.csr_names = CSR_NAMES_IGNORE;
	assert_denied(&s, "renewal.identity");
	s.csr.subject = NULL;
	assert_allowed(&s);
	add_san(empty, GEN_DNS, "rtr-8.example.net");
	assert_denied(&s, "renewal.identity");
	X509_NAME_free(asked);
	GENERAL_NAMES_free(empty);
}

static void
policy_decide_renewal_without_the_certificates_names_is_denied(void **state)
{
	(void)state;
	scene_renewal();
	s.profile.subject[0] = '\0';
	s.in.current_subject = NULL;
	assert_denied(&s, "renewal.identity");
}

static void
policy_decide_denies_a_wildcard_even_as_an_assets_own_name(void **state)
{
	(void)state;
	strcpy(s.profile.subject, "O={owner}");
	strcpy(s.asset.serial, "*");
	add_rdn(subject, "CN", MBSTRING_UTF8, "*", -1);
	s.csr.subject = subject;
	assert_denied(&s, "csr.names");
	assert_non_null(strstr(s.out.sentence, "wildcard"));
	s.csr.subject = NULL;
	s.csr.sans = sans;
	add_san(sans, GEN_DNS, "*.example.net");
	assert_denied(&s, "csr.names");
	assert_non_null(strstr(s.out.sentence, "wildcard"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(policy_decide_takes_the_assets_own_names),
		TEST(policy_decide_denies_names_of_others),
		TEST(policy_decide_denies_alternative_names_of_others),
		TEST(policy_decide_denies_an_address_of_odd_length),
		TEST(policy_decide_denies_more_names_than_anybody_has),
		TEST(policy_decide_replaces_names_where_the_profile_says_so),
		TEST(policy_decide_renewal_keeps_subject_and_alternative_names),
		TEST(policy_decide_renewal_request_names_what_the_certificate_names),
		TEST(policy_decide_renewal_without_the_certificates_names_is_denied),
		TEST(policy_decide_denies_a_wildcard_even_as_an_assets_own_name),
	};

	return cmocka_run_group_tests_name("policy/decide: names", tests, NULL, NULL);
}
