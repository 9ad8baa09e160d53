#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "policy/identity.h"

/* Anchors from names alone: those of a request that an MDM vouched for. */

struct names {
	X509_NAME *subject;
	GENERAL_NAMES *sans;
};

static int
setup(void **state)
{
	static struct names n;
	struct err e;

	n = (struct names){ X509_NAME_new(), sk_GENERAL_NAME_new_null() };
	*state = &n;
	return ossl_init(&e);
}

static int
teardown(void **state)
{
	struct names *n = *state;

	X509_NAME_free(n->subject);
	GENERAL_NAMES_free(n->sans);
	return 0;
}

static void
put_subject(struct names *n, const char *field, const char *value, int len)
{
	assert_int_equal(X509_NAME_add_entry_by_txt(n->subject, field, MBSTRING_UTF8, (const unsigned char *)value,
		len, -1, 0), 1);
}

static void
put_san(struct names *n, int type, const char *text, int len)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *string = ASN1_IA5STRING_new();

	assert_int_equal(ASN1_STRING_set(string, text, len), 1);
	GENERAL_NAME_set0_value(name, type, string);
	assert_true(sk_GENERAL_NAME_push(n->sans, name) > 0);
}

static struct identity_rule
rule_of(enum identity_field field, const char *pattern, bool fold)
{
	struct identity_rule rule = { .name = "r1", .trust = "intune", .field = field, .anchor = ANCHOR_MDM_ID,
		.fold_case = fold };

	strcpy(rule.pattern, pattern);
	return rule;
}

/* By one rule, under the name of an MDM; the count, or -1 with *e. */
static int
extract(const struct names *n, struct identity_rule rule, const char *mdm, struct anchor *out, struct err *e)
{
	struct identity_rules *rules = NULL;
	size_t count = 99;
	int rc;

	assert_int_equal(identity_rules_new(&rule, 1, &rules, e), 0);
	rc = identity_extract_names(rules, mdm, n->subject, n->sans, out, 4, &count, e);
	identity_rules_free(rules);
	if (rc != 0)
		assert_int_equal(count, 99);
	return rc == 0 ? (int)count : -1;
}

static void
policy_identity_names_give_what_a_certificate_of_the_same_names_gives(void **state)
{
	static const struct {
		enum identity_field field;
		const char *value;
	} fields[] = {
		{ IDENTITY_SUBJECT_SERIAL, "SN1" }, { IDENTITY_SUBJECT_CN, "rtr-7" }, { IDENTITY_SUBJECT_UID, "u7" },
		{ IDENTITY_SAN_DNS, "rtr-7.example" }, { IDENTITY_SAN_URI, "urn:dev:7" },
		{ IDENTITY_SAN_EMAIL, "rtr-7@example.net" },
	};
	struct names *n = *state;
	X509 *cert = X509_new();
	struct anchor anchor[4], of_cert[4];
	struct err e;

	put_subject(n, "serialNumber", "SN1", -1);
	put_subject(n, "CN", "rtr-7", -1);
	put_subject(n, "UID", "u7", -1);
	put_san(n, GEN_DNS, "rtr-7.example", 13);
	put_san(n, GEN_URI, "urn:dev:7", 9);
	put_san(n, GEN_EMAIL, "rtr-7@example.net", 17);
	assert_int_equal(X509_set_subject_name(cert, n->subject), 1);
	assert_int_equal(X509_add1_ext_i2d(cert, NID_subject_alt_name, n->sans, 0, X509V3_ADD_APPEND), 1);
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		struct identity_rule rule = rule_of(fields[i].field, "(.*)", false);
		struct identity_rules *rules = NULL;
		size_t count = 0;

		assert_int_equal(extract(n, rule, "intune", anchor, &e), 1);
		assert_string_equal(anchor[0].value, fields[i].value);
		assert_string_equal(anchor[0].issuer, "intune");
		assert_int_equal(anchor[0].type, ANCHOR_MDM_ID);
		assert_int_equal(identity_rules_new(&rule, 1, &rules, &e), 0);
		assert_int_equal(identity_extract(rules, "intune", cert, of_cert, 4, &count, &e), 0);
		assert_int_equal(count, 1);
		assert_memory_equal(&of_cert[0], &anchor[0], sizeof anchor[0]);
		identity_rules_free(rules);
	}
	X509_free(cert);
}

static void
policy_identity_names_have_neither_serial_number_nor_key(void **state)
{
	struct names *n = *state;
	struct anchor anchor[4];
	struct err e;

	put_subject(n, "CN", "rtr-7", -1);
	assert_int_equal(extract(n, rule_of(IDENTITY_CERT_SERIAL, "(.*)", false), "intune", anchor, &e), 0);
	assert_int_equal(extract(n, rule_of(IDENTITY_SPKI_SHA256, "(.*)", false), "intune", anchor, &e), 0);
}

static void
policy_identity_names_may_be_absent(void **state)
{
	struct names none = { .subject = NULL };
	struct names *n = *state;
	struct anchor anchor[4];
	struct err e;
	int field;

	for (field = IDENTITY_SUBJECT_SERIAL; field <= IDENTITY_SPKI_SHA256; field++) {
		struct identity_rule rule = rule_of((enum identity_field)field, "(.*)", false);

		assert_int_equal(extract(&none, rule, "intune", anchor, &e), 0);
		assert_int_equal(extract(n, rule, "intune", anchor, &e), 0);
	}
}

static void
policy_identity_names_are_read_by_that_mdms_rules_only(void **state)
{
	struct names *n = *state;
	struct anchor anchor[4];
	struct err e;

	put_subject(n, "CN", "AA:BB:01", -1);
	assert_int_equal(extract(n, rule_of(IDENTITY_SUBJECT_CN, "(.*)", false), "jamf", anchor, &e), 0);
	assert_int_equal(extract(n, rule_of(IDENTITY_SUBJECT_CN, "(AA)", false), "intune", anchor, &e), 0);
	assert_int_equal(extract(n, rule_of(IDENTITY_SUBJECT_CN, "(.*)", true), "intune", anchor, &e), 1);
	assert_string_equal(anchor[0].value, "aabb01");
}

static void
policy_identity_names_that_are_ambiguous_or_unclean_are_refused(void **state)
{
	struct names *n = *state;
	struct anchor anchor[4];
	struct err e = { .code = ERR_NONE };

	put_subject(n, "CN", "rtr-7", -1);
	put_subject(n, "CN", "rtr-8", -1);
	assert_int_equal(extract(n, rule_of(IDENTITY_SUBJECT_CN, "(.*)", false), "intune", anchor, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_non_null(strstr(e.text, "twice"));
	e.code = ERR_NONE;
	put_san(n, GEN_DNS, "a.example\0.evil", 15);
	assert_int_equal(extract(n, rule_of(IDENTITY_SAN_DNS, "(.*)", false), "intune", anchor, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	e.code = ERR_NONE;
	put_san(n, GEN_URI, "urn:dev:\xc3\xa9", 10);
	assert_int_equal(extract(n, rule_of(IDENTITY_SAN_URI, "(.*)", false), "intune", anchor, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	e.code = ERR_NONE;
	put_san(n, GEN_EMAIL, "", 0);
	assert_int_equal(extract(n, rule_of(IDENTITY_SAN_EMAIL, "(.*)", false), "intune", anchor, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
}

static void
policy_identity_names_never_lose_an_anchor(void **state)
{
	struct identity_rule two[2] = { rule_of(IDENTITY_SUBJECT_CN, "(.*)", false),
		rule_of(IDENTITY_SAN_DNS, "(.*)", false) };
	struct names *n = *state;
	struct identity_rules *rules = NULL;
	struct anchor anchor[2];
	size_t count = 99;
	struct err e = { .code = ERR_NONE };

	put_subject(n, "CN", "rtr-7", -1);
	put_san(n, GEN_DNS, "rtr-8", 5);
	assert_int_equal(identity_rules_new(two, 2, &rules, &e), 0);
	assert_int_equal(identity_extract_names(rules, "intune", n->subject, n->sans, anchor, 1, &count, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_int_equal(count, 99);
	assert_int_equal(identity_extract_names(rules, "intune", n->subject, n->sans, anchor, 2, &count, &e), 0);
	assert_int_equal(count, 2);
	identity_rules_free(rules);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(policy_identity_names_give_what_a_certificate_of_the_same_names_gives),
		TEST(policy_identity_names_have_neither_serial_number_nor_key),
		TEST(policy_identity_names_may_be_absent),
		TEST(policy_identity_names_are_read_by_that_mdms_rules_only),
		TEST(policy_identity_names_that_are_ambiguous_or_unclean_are_refused),
		TEST(policy_identity_names_never_lose_an_anchor),
	};

	return cmocka_run_group_tests_name("policy/identity_names", tests, NULL, NULL);
}
