#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "policy/identity.h"

/* id-on-hardwareModuleName (RFC 4108, section 5) and id-on-permanentIdentifier (RFC 4043, section 2). */
#define HW_OID  "1.3.6.1.5.5.7.8.4"
#define PID_OID "1.3.6.1.5.5.7.8.3"

static EVP_PKEY *key;


static X509 *
cert_new(void)
{
	X509 *cert = X509_new();

	assert_non_null(cert);
	assert_int_equal(X509_set_version(cert, X509_VERSION_3), 1);
	assert_int_equal(ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), 0x0a1b2c), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), 0));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), 3600));
	assert_int_equal(X509_set_pubkey(cert, key), 1);
	return cert;
}

static void
add_subject(X509 *cert, const char *field, const char *value, int len)
{
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), field, MBSTRING_UTF8,
		(const unsigned char *)value, len, -1, 0), 1);
}

static void
add_sans(X509 *cert, GENERAL_NAMES *sans)
{
	assert_int_equal(X509_add1_ext_i2d(cert, NID_subject_alt_name, sans, 0, X509V3_ADD_APPEND), 1);
	GENERAL_NAMES_free(sans);
}

static void
push_ia5(GENERAL_NAMES *sans, int type, const char *text, int len)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *string = ASN1_IA5STRING_new();

	assert_int_equal(ASN1_STRING_set(string, text, len), 1);
	GENERAL_NAME_set0_value(name, type, string);
	assert_true(sk_GENERAL_NAME_push(sans, name) > 0);
}

static void
push_other(GENERAL_NAMES *sans, const char *oid, const uint8_t *der, size_t len)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_TYPE *value = ASN1_TYPE_new();
	ASN1_STRING *sequence = ASN1_STRING_type_new(V_ASN1_SEQUENCE);

	assert_int_equal(ASN1_STRING_set(sequence, der, (int)len), 1);
	ASN1_TYPE_set(value, V_ASN1_SEQUENCE, sequence);
	assert_int_equal(GENERAL_NAME_set0_othername(name, OBJ_txt2obj(oid, 1), value), 1);
	assert_true(sk_GENERAL_NAME_push(sans, name) > 0);
}

/* A certificate goes through its DER, as the ones from peers do. */
static X509 *
reparse(X509 *cert)
{
	CLEANUP(buf) struct buf der = { 0 };
	X509 *again = NULL;
	struct err e;

	assert_true(X509_sign(cert, key, ossl_sha256()) > 0);
	assert_int_equal(x509_to_der(cert, &der, &e), 0);
	assert_int_equal(x509_from_der(buf_bytes(&der), &again, &e), 0);
	X509_free(cert);
	return again;
}

static struct identity_rule
rule_of(enum identity_field field, const char *pattern, enum anchor_type anchor, bool fold)
{
	struct identity_rule rule = { .name = "r1", .trust = "acme", .field = field, .anchor = anchor,
		.fold_case = fold };

	strcpy(rule.pattern, pattern);
	return rule;
}

/* Extract by one rule; the count, or -1 with *e. */
static int
extract(X509 *cert, struct identity_rule rule, struct anchor *out, struct err *e)
{
	struct identity_rules *rules = NULL;
	size_t count = 99;
	int rc;

	assert_int_equal(identity_rules_new(&rule, 1, &rules, e), 0);
	rc = identity_extract(rules, "acme", cert, out, 4, &count, e);
	identity_rules_free(rules);
	return rc == 0 ? (int)count : -1;
}

static void
policy_identity_reads_a_serial_by_its_pattern(void **state)
{
	X509 *cert = cert_new();
	struct anchor anchor[4];
	struct err e;

	(void)state;
	add_subject(cert, "serialNumber", "PID:CHIMAY-U-AC SN:FDO27361XTF", -1);
	add_subject(cert, "CN", "CHIMAY", -1);
	cert = reparse(cert);
	assert_int_equal(extract(cert, rule_of(IDENTITY_SUBJECT_SERIAL, "PID:[^ ]+ SN:([A-Z0-9]+)",
		ANCHOR_IDEVID_SERIAL, false), anchor, &e), 1);
	assert_string_equal(anchor[0].value, "FDO27361XTF");
	assert_string_equal(anchor[0].issuer, "acme");
	assert_int_equal(anchor[0].type, ANCHOR_IDEVID_SERIAL);
	assert_int_equal(extract(cert, rule_of(IDENTITY_SUBJECT_UID, "(.*)", ANCHOR_IDEVID_SERIAL, false), anchor,
		&e), 0);
	X509_free(cert);
}

static void
policy_identity_pattern_must_match_the_whole_value(void **state)
{
	X509 *cert = cert_new();
	struct anchor anchor[4];
	struct err e;

	(void)state;
	add_subject(cert, "CN", "x-SN1-y", -1);
	cert = reparse(cert);
	assert_int_equal(extract(cert, rule_of(IDENTITY_SUBJECT_CN, "(SN1)", ANCHOR_MDM_ID, false), anchor, &e), 0);
	assert_int_equal(extract(cert, rule_of(IDENTITY_SUBJECT_CN, "x-(SN1)", ANCHOR_MDM_ID, false), anchor, &e), 0);
	assert_int_equal(extract(cert, rule_of(IDENTITY_SUBJECT_CN, "(SN1)-y", ANCHOR_MDM_ID, false), anchor, &e), 0);
	/* The first alternative alone would leave a rest behind. */
	assert_int_equal(extract(cert, rule_of(IDENTITY_SUBJECT_CN, "x-SN1|x-([A-Z0-9]*)-y", ANCHOR_MDM_ID, false),
		anchor, &e), 1);
	assert_string_equal(anchor[0].value, "SN1");
	X509_free(cert);
}

static void
policy_identity_rules_belong_to_their_trust_set_only(void **state)
{
	struct identity_rule rule = rule_of(IDENTITY_SUBJECT_CN, "(.*)", ANCHOR_IDEVID_SERIAL, false);
	X509 *cert = cert_new();
	struct identity_rules *rules = NULL;
	struct anchor anchor[4];
	size_t count = 99;
	struct err e;

	(void)state;
	add_subject(cert, "CN", "SN1", -1);
	cert = reparse(cert);
	assert_int_equal(identity_rules_new(&rule, 1, &rules, &e), 0);
	assert_int_equal(identity_extract(rules, "other", cert, anchor, 4, &count, &e), 0);
	assert_int_equal(count, 0);
	identity_rules_free(rules);
	X509_free(cert);
}

static void
policy_identity_refuses_two_different_values(void **state)
{
	X509 *cert = cert_new();
	struct anchor anchor[4];
	struct err e = { .code = ERR_NONE };

	(void)state;
	add_subject(cert, "CN", "SN1", -1);
	add_subject(cert, "CN", "SN1", -1);
	cert = reparse(cert);
	assert_int_equal(extract(cert, rule_of(IDENTITY_SUBJECT_CN, "(.*)", ANCHOR_MDM_ID, false), anchor, &e), 1);
	add_subject(cert, "CN", "SN2", -1);
	cert = reparse(cert);
	assert_int_equal(extract(cert, rule_of(IDENTITY_SUBJECT_CN, "(.*)", ANCHOR_MDM_ID, false), anchor, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_non_null(strstr(e.text, "twice"));
	X509_free(cert);
}

static void
policy_identity_refuses_a_nul_inside_a_value(void **state)
{
	X509 *cert = cert_new();
	GENERAL_NAMES *sans = sk_GENERAL_NAME_new_null();
	struct anchor anchor[4];
	struct err e = { .code = ERR_NONE };

	(void)state;
	add_subject(cert, "CN", "SN1\0evil", 8);
	push_ia5(sans, GEN_DNS, "a.example\0.evil", 15);
	add_sans(cert, sans);
	cert = reparse(cert);
	assert_int_equal(extract(cert, rule_of(IDENTITY_SUBJECT_CN, "(.*)", ANCHOR_MDM_ID, false), anchor, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	e.code = ERR_NONE;
	assert_int_equal(extract(cert, rule_of(IDENTITY_SAN_DNS, "(.*)", ANCHOR_MDM_ID, false), anchor, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	X509_free(cert);
}

static void
policy_identity_refuses_a_value_that_is_too_long_or_empty(void **state)
{
	X509 *cert = cert_new();
	GENERAL_NAMES *sans = sk_GENERAL_NAME_new_null();
	char text[REG_VALUE_MAX + 1];
	struct anchor anchor[4];
	struct err e = { .code = ERR_NONE };

	(void)state;
	memset(text, 'a', sizeof text);
	push_ia5(sans, GEN_URI, text, REG_VALUE_MAX);
	push_ia5(sans, GEN_EMAIL, "", 0);
	add_sans(cert, sans);
	cert = reparse(cert);
	assert_int_equal(extract(cert, rule_of(IDENTITY_SAN_URI, "(.*)", ANCHOR_MDM_ID, false), anchor, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_int_equal(extract(cert, rule_of(IDENTITY_SAN_EMAIL, "(.+)", ANCHOR_MDM_ID, false), anchor, &e), -1);
	X509_free(cert);
}

static void
policy_identity_reads_hardware_module_name(void **state)
{
	static const uint8_t good[] = { 0x30, 0x0e, 0x06, 0x07, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x09, 0x01, 0x04, 0x03,
		0xab, 'N', '9' };
	X509 *cert = cert_new();
	GENERAL_NAMES *sans = sk_GENERAL_NAME_new_null();
	struct anchor anchor[4];
	struct err e;

	(void)state;
	push_other(sans, HW_OID, good, sizeof good);
	add_sans(cert, sans);
	cert = reparse(cert);
	assert_int_equal(extract(cert, rule_of(IDENTITY_SAN_HW_MODULE, "(.*)", ANCHOR_HW_MODULE, false), anchor, &e),
		1);
	assert_string_equal(anchor[0].value, "1.3.6.1.4.1.9.1:ab4e39");
	assert_int_equal(extract(cert, rule_of(IDENTITY_SAN_HW_MODULE, "1\\.3\\.6\\.1\\.4\\.1\\.9\\.1:([0-9a-f]+)",
		ANCHOR_HW_MODULE, false), anchor, &e), 1);
	assert_string_equal(anchor[0].value, "ab4e39");
	X509_free(cert);
}

static void
policy_identity_refuses_broken_hardware_module_names(void **state)
{
	static const uint8_t no_serial[] = { 0x30, 0x09, 0x06, 0x07, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x09, 0x01 };
	static const uint8_t empty[] = { 0x30, 0x0b, 0x06, 0x07, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x09, 0x01, 0x04,
		0x00 };
	static const struct {
		const uint8_t *der;
		size_t len;
	} cases[] = { { no_serial, sizeof no_serial }, { empty, sizeof empty } };
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		X509 *cert = cert_new();
		GENERAL_NAMES *sans = sk_GENERAL_NAME_new_null();
		struct anchor anchor[4];
		struct err e = { .code = ERR_NONE };

		push_other(sans, HW_OID, cases[i].der, cases[i].len);
		add_sans(cert, sans);
		cert = reparse(cert);
		assert_int_equal(extract(cert, rule_of(IDENTITY_SAN_HW_MODULE, "(.*)", ANCHOR_HW_MODULE, false),
			anchor, &e), -1);
		assert_int_equal(e.code, ERR_MALFORMED);
		/* Nobody asks for that field: no reason to refuse the certificate. */
		assert_int_equal(extract(cert, rule_of(IDENTITY_SAN_DNS, "(.*)", ANCHOR_HW_MODULE, false), anchor, &e),
			0);
		X509_free(cert);
	}
}

static void
policy_identity_reads_permanent_identifier(void **state)
{
	static const uint8_t with[] = { 0x30, 0x05, 0x0c, 0x03, 'i', 'd', '7' };
	static const uint8_t without[] = { 0x30, 0x00 };
	X509 *cert = cert_new();
	GENERAL_NAMES *sans = sk_GENERAL_NAME_new_null();
	struct identity_rule rule = rule_of(IDENTITY_SAN_PERMANENT_ID, "(.*)", ANCHOR_MDM_ID, false);
	struct anchor anchor[4];
	struct err e;

	(void)state;
	push_other(sans, PID_OID, with, sizeof with);
	add_sans(cert, sans);
	cert = reparse(cert);
	assert_int_equal(extract(cert, rule, anchor, &e), 1);
	assert_string_equal(anchor[0].value, "id7");
	X509_free(cert);

	cert = cert_new();
	sans = sk_GENERAL_NAME_new_null();
	add_subject(cert, "serialNumber", "SN5", -1);
	push_other(sans, PID_OID, without, sizeof without);
	add_sans(cert, sans);
	cert = reparse(cert);
	assert_int_equal(extract(cert, rule, anchor, &e), 1);
	assert_string_equal(anchor[0].value, "SN5");
	X509_free(cert);
}

static void
policy_identity_refuses_two_alternative_name_extensions(void **state)
{
	X509 *cert = cert_new();
	struct anchor anchor[4];
	struct err e = { .code = ERR_NONE };
	int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		GENERAL_NAMES *sans = sk_GENERAL_NAME_new_null();

		push_ia5(sans, GEN_DNS, "a.example", 9);
		add_sans(cert, sans);
	}
	cert = reparse(cert);
	assert_int_equal(extract(cert, rule_of(IDENTITY_SAN_DNS, "(.*)", ANCHOR_MDM_ID, false), anchor, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	X509_free(cert);
}

static void
policy_identity_reads_serial_and_key_of_the_certificate(void **state)
{
	X509 *cert = reparse(cert_new());
	struct anchor anchor[4];
	uint8_t *der = NULL, hash[32];
	char hex[65];
	int len = i2d_PUBKEY(key, &der);
	struct err e;

	(void)state;
	assert_true(len > 0);
	assert_int_equal(sha256(bytes_of(der, (size_t)len), hash, &e), 0);
	OPENSSL_free(der);
	hex_encode(bytes_of(hash, sizeof hash), hex);
	assert_int_equal(extract(cert, rule_of(IDENTITY_SPKI_SHA256, "(.*)", ANCHOR_SPKI_SHA256, false), anchor, &e),
		1);
	assert_string_equal(anchor[0].value, hex);
	assert_int_equal(extract(cert, rule_of(IDENTITY_CERT_SERIAL, "(.*)", ANCHOR_IDEVID_SERIAL, false), anchor, &e),
		1);
	assert_string_equal(anchor[0].value, "0a1b2c");
	X509_free(cert);
}

static void
policy_identity_folds_where_the_rule_says_so(void **state)
{
	X509 *cert = cert_new();
	struct identity_rule rule = rule_of(IDENTITY_SUBJECT_CN, "(.*)", ANCHOR_IDEVID_SERIAL, true);
	struct anchor imported = { .type = ANCHOR_IDEVID_SERIAL, .issuer = "acme", .value = "0A-1B.2c:3D" };
	struct identity_rules *rules = NULL;
	struct anchor anchor[4];
	struct err e;

	(void)state;
	add_subject(cert, "CN", "0A:1B:2C:3D", -1);
	cert = reparse(cert);
	assert_int_equal(extract(cert, rule, anchor, &e), 1);
	assert_string_equal(anchor[0].value, "0a1b2c3d");
	assert_int_equal(identity_rules_new(&rule, 1, &rules, &e), 0);
	identity_fold(rules, &imported);
	assert_string_equal(imported.value, "0a1b2c3d");
	imported = (struct anchor){ .type = ANCHOR_IDEVID_SERIAL, .issuer = "acme", .value = "AA_BB-C" };
	identity_fold(rules, &imported);
	assert_string_equal(imported.value, "aa_bb-c");
	imported = (struct anchor){ .type = ANCHOR_IDEVID_SERIAL, .issuer = "other", .value = "AA:BB" };
	identity_fold(rules, &imported);
	assert_string_equal(imported.value, "AA:BB");
	identity_rules_free(rules);
	X509_free(cert);
}

static void
policy_identity_gives_each_anchor_once_and_never_drops_one(void **state)
{
	struct identity_rule rules_in[3];
	X509 *cert = cert_new();
	struct identity_rules *rules = NULL;
	struct anchor anchor[4];
	size_t count = 99;
	struct err e = { .code = ERR_NONE };

	(void)state;
	rules_in[0] = rule_of(IDENTITY_SUBJECT_CN, "(.*)", ANCHOR_MDM_ID, false);
	rules_in[1] = rule_of(IDENTITY_SUBJECT_CN, "(.+)", ANCHOR_MDM_ID, false);
	rules_in[2] = rule_of(IDENTITY_SUBJECT_SERIAL, "(.*)", ANCHOR_MDM_ID, false);
	add_subject(cert, "CN", "A", -1);
	add_subject(cert, "serialNumber", "B", -1);
	cert = reparse(cert);
	assert_int_equal(identity_rules_new(rules_in, 3, &rules, &e), 0);
	assert_int_equal(identity_extract(rules, "acme", cert, anchor, 4, &count, &e), 0);
	assert_int_equal(count, 2);
	count = 99;
	assert_int_equal(identity_extract(rules, "acme", cert, anchor, 1, &count, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_int_equal(count, 99);
	identity_rules_free(rules);
	X509_free(cert);
}

static void
policy_identity_rules_refuse_bad_patterns(void **state)
{
	static const char *const patterns[] = { "SN:[A-Z]+", "(SN):([0-9]+)", "(SN", "", "([a-z]+)\\1", "*(a)[" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
		struct identity_rule rule = rule_of(IDENTITY_SUBJECT_CN, patterns[i], ANCHOR_MDM_ID, false);
		struct identity_rules *rules = NULL;
		struct err e = { .code = ERR_NONE };

		assert_int_equal(identity_rules_new(&rule, 1, &rules, &e), -1);
		assert_int_equal(e.code, ERR_MALFORMED);
		assert_non_null(strstr(e.text, "r1"));
		assert_null(rules);
	}
}

static void
policy_identity_field_names_survive_a_round_trip(void **state)
{
	int i;

	(void)state;
	for (i = IDENTITY_SUBJECT_SERIAL; i <= IDENTITY_SPKI_SHA256; i++)
		assert_int_equal(identity_field_of(identity_field_name((enum identity_field)i)), i);
	assert_int_equal(identity_field_of("subject"), -1);
}

static int
init(void **state)
{
	struct err e;

	(void)state;
	key = EVP_EC_gen("P-256");
	return key != NULL && ossl_init(&e) == 0 ? 0 : -1;
}

static int
done(void **state)
{
	(void)state;
	EVP_PKEY_free(key);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_identity_reads_a_serial_by_its_pattern),
		cmocka_unit_test(policy_identity_pattern_must_match_the_whole_value),
		cmocka_unit_test(policy_identity_rules_belong_to_their_trust_set_only),
		cmocka_unit_test(policy_identity_refuses_two_different_values),
		cmocka_unit_test(policy_identity_refuses_a_nul_inside_a_value),
		cmocka_unit_test(policy_identity_refuses_a_value_that_is_too_long_or_empty),
		cmocka_unit_test(policy_identity_reads_hardware_module_name),
		cmocka_unit_test(policy_identity_refuses_broken_hardware_module_names),
		cmocka_unit_test(policy_identity_reads_permanent_identifier),
		cmocka_unit_test(policy_identity_refuses_two_alternative_name_extensions),
		cmocka_unit_test(policy_identity_reads_serial_and_key_of_the_certificate),
		cmocka_unit_test(policy_identity_folds_where_the_rule_says_so),
		cmocka_unit_test(policy_identity_gives_each_anchor_once_and_never_drops_one),
		cmocka_unit_test(policy_identity_rules_refuse_bad_patterns),
		cmocka_unit_test(policy_identity_field_names_survive_a_round_trip),
	};

	return cmocka_run_group_tests_name("policy/identity", tests, init, done);
}
