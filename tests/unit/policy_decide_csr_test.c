#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/policy_decide_fixture.h"

static struct scene s;
static STACK_OF(X509_EXTENSION) *extensions;

static int
setup(void **state)
{
	(void)state;
	scene_set(&s);
	extensions = sk_X509_EXTENSION_new_null();
	return extensions != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	extension_stack_free(extensions);
	return 0;
}

/* An extension from its configuration text, or from octets. */
static void
add_extension(int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(extension);
	assert_true(sk_X509_EXTENSION_push(extensions, extension) > 0);
	s.csr.extensions = extensions;
}

static void
add_octets(const char *oid, bool critical, const uint8_t *der, size_t len)
{
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	X509_EXTENSION *extension;

	assert_int_equal(ASN1_OCTET_STRING_set(value, der, (int)len), 1);
	extension = X509_EXTENSION_create_by_OBJ(NULL, object, critical, value);
	assert_non_null(extension);
	assert_true(sk_X509_EXTENSION_push(extensions, extension) > 0);
	ASN1_OBJECT_free(object);
	ASN1_OCTET_STRING_free(value);
	s.csr.extensions = extensions;
}

static void
clear_extensions(void)
{
	while (sk_X509_EXTENSION_num(extensions) > 0)
		X509_EXTENSION_free(sk_X509_EXTENSION_pop(extensions));
}

static void
policy_decide_takes_only_the_profiles_keys(void **state)
{
	(void)state;
	s.csr.key = (struct key_facts){ .kind = KEY_EC_P384, .bits = 384 };
	assert_denied(&s, "csr.key");
	s.profile.keys[1] = (struct key_rule){ .kind = KEY_RSA, .bits_min = 2048, .bits_max = 3072 };
	s.profile.key_count = 2;
	s.csr.key = (struct key_facts){ .kind = KEY_RSA, .bits = 2047 };
	assert_denied(&s, "csr.key");
	s.csr.key.bits = 3073;
	assert_denied(&s, "csr.key");
	s.csr.key.bits = 3072;
	assert_allowed(&s);
	s.csr.key = (struct key_facts){ .kind = KEY_OTHER };
	s.profile.keys[0] = (struct key_rule){ .kind = KEY_OTHER };
	assert_denied(&s, "csr.key");
}

static void
policy_decide_ignores_the_key_for_keygen_only(void **state)
{
	(void)state;
	s.csr.key = (struct key_facts){ .kind = KEY_OTHER };
	s.csr.key_ignored = true;
	assert_denied(&s, "csr.key");
	s.in.op = POLICY_KEYGEN;
	assert_allowed(&s);
	s.profile.keygen.kind = KEY_OTHER;
	assert_denied(&s, "csr.key");
	s.profile.keygen.kind = KEY_EC_P256;
	s.csr.key_ignored = false;
	assert_denied(&s, "csr.key");
}

static void
policy_decide_denies_weak_and_foreign_keys(void **state)
{
	(void)state;
	s.csr.key.weak = "ROCA";
	assert_denied(&s, "csr.weak");
	assert_non_null(strstr(s.out.sentence, "ROCA"));
	s.csr.key.weak = NULL;
	s.csr.key_known_elsewhere = true;
	s.profile.allow_key_reuse = true;
	assert_denied(&s, "csr.reuse");
	assert_true(s.out.alert);
}

static void
policy_decide_takes_a_key_again_only_where_the_profile_lets_it(void **state)
{
	(void)state;
	s.csr.key_used_before = true;
	assert_denied(&s, "csr.reuse");
	assert_false(s.out.alert);
	s.profile.allow_key_reuse = true;
	assert_allowed(&s);
}

static void
policy_decide_takes_extensions_the_profile_gives_anyway(void **state)
{
	(void)state;
	add_extension(NID_basic_constraints, "critical,CA:FALSE");
	add_extension(NID_key_usage, "critical,digitalSignature");
	add_extension(NID_ext_key_usage, "clientAuth");
	assert_allowed(&s);
}

static void
policy_decide_denies_extensions_a_device_must_not_have(void **state)
{
	static const struct {
		int nid;
		const char *value;
	} cases[] = {
		{ NID_basic_constraints, "CA:TRUE" },
		{ NID_basic_constraints, "CA:TRUE,pathlen:0" },
		{ NID_key_usage, "keyCertSign" },
		{ NID_key_usage, "digitalSignature,cRLSign" },
		{ NID_key_usage, "digitalSignature,keyEncipherment" },
		{ NID_key_usage, "decipherOnly" },
		{ NID_ext_key_usage, "anyExtendedKeyUsage" },
		{ NID_ext_key_usage, "clientAuth,serverAuth" },
		{ NID_ext_key_usage, "1.3.6.1.4.1.99999.7" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		clear_extensions();
		add_extension(cases[i].nid, cases[i].value);
		assert_denied(&s, "csr.extensions");
	}
	/* Also where the profile's own list had it by mistake. */
	clear_extensions();
	s.profile.key_usage = 0xffff;
	strcpy(s.profile.eku[0], "2.5.29.37.0");
	add_extension(NID_key_usage, "keyCertSign");
	assert_denied(&s, "csr.extensions");
	clear_extensions();
	add_extension(NID_key_usage, "cRLSign");
	assert_denied(&s, "csr.extensions");
	clear_extensions();
	add_extension(NID_ext_key_usage, "anyExtendedKeyUsage");
	assert_denied(&s, "csr.extensions");
}

static void
policy_decide_denies_known_extensions_that_do_not_decode(void **state)
{
	static const uint8_t junk[] = { 0x30, 0x03, 0x01 };
	static const uint8_t trailing[] = { 0x30, 0x00, 0x00 };
	static const uint8_t long_bits[] = { 0x03, 0x04, 0x00, 0x80, 0x00, 0x80 };
	static const uint8_t empty[] = { 0x30, 0x00 };
	static const struct {
		const char *oid;
		const uint8_t *der;
		size_t len;
	} cases[] = {
		{ "2.5.29.19", junk, sizeof junk },
		{ "2.5.29.19", trailing, sizeof trailing },
		{ "2.5.29.19", junk, 0 },
		{ "2.5.29.15", junk, sizeof junk },
		{ "2.5.29.15", long_bits, sizeof long_bits },
		{ "2.5.29.37", junk, sizeof junk },
		{ "2.5.29.37", empty, sizeof empty },
		{ "2.5.29.17", junk, sizeof junk },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		clear_extensions();
		add_octets(cases[i].oid, false, cases[i].der, cases[i].len);
		assert_denied(&s, "csr.extensions");
		assert_non_null(strstr(s.out.sentence, "decode"));
	}
}

static void
policy_decide_ignores_unknown_extensions_unless_critical(void **state)
{
	static const uint8_t null[] = { 0x05, 0x00 };

	(void)state;
	add_octets("1.3.6.1.4.1.99999.1", false, null, sizeof null);
	assert_allowed(&s);
	assert_non_null(strstr(scene_rule(&s, "csr.extensions")->saw, "ignored: 1.3.6.1.4.1.99999.1"));
	add_octets("1.3.6.1.4.1.99999.2", true, null, sizeof null);
	assert_denied(&s, "csr.extensions");
	assert_non_null(strstr(s.out.sentence, "1.3.6.1.4.1.99999.2"));
}

static void
policy_decide_denies_repeated_and_too_many_extensions(void **state)
{
	static const uint8_t null[] = { 0x05, 0x00 };
	char oid[] = "1.3.6.1.4.1.99999.100";
	int i;

	(void)state;
	add_octets(oid, false, null, sizeof null);
	add_octets(oid, false, null, sizeof null);
	assert_denied(&s, "csr.extensions");
	clear_extensions();
	for (i = 0; i < 33; i++) {
		oid[sizeof oid - 3] = (char)('0' + i / 10);
		oid[sizeof oid - 2] = (char)('0' + i % 10);
		add_octets(oid, false, null, sizeof null);
	}
	assert_denied(&s, "csr.extensions");
	X509_EXTENSION_free(sk_X509_EXTENSION_pop(extensions));
	assert_allowed(&s);
}

static void
policy_decide_follows_the_labels_binding_rule(void **state)
{
	static const struct {
		enum binding_rule rule;
		bool absent, matches, differs, none;
	} table[] = {
		{ BINDING_VERIFY, true, true, false, true },
		{ BINDING_REQUIRE, false, true, false, false },
		{ BINDING_IGNORE, true, true, true, true },
		{ (enum binding_rule)7, false, false, false, false },
	};
	size_t i;
	int k;

	(void)state;
	for (i = 0; i < sizeof table / sizeof table[0]; i++) {
		const bool allowed[] = { table[i].absent, table[i].matches, table[i].differs, table[i].none };

		s.label.binding = table[i].rule;
		for (k = 0; k < 4; k++) {
			switch (k) {
			case 0:
				s.csr.binding = CSR_BINDING_ABSENT;
				break;
			case 1:
				s.csr.binding = CSR_BINDING_MATCHES;
				break;
			case 2:
				s.csr.binding = CSR_BINDING_DIFFERS;
				break;
			default:
				s.csr.binding = CSR_BINDING_NONE;
			}
			if (allowed[k])
				assert_allowed(&s);
			else
				assert_denied(&s, "csr.binding");
		}
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(policy_decide_takes_only_the_profiles_keys),
		TEST(policy_decide_ignores_the_key_for_keygen_only),
		TEST(policy_decide_denies_weak_and_foreign_keys),
		TEST(policy_decide_takes_a_key_again_only_where_the_profile_lets_it),
		TEST(policy_decide_takes_extensions_the_profile_gives_anyway),
		TEST(policy_decide_denies_extensions_a_device_must_not_have),
		TEST(policy_decide_denies_known_extensions_that_do_not_decode),
		TEST(policy_decide_ignores_unknown_extensions_unless_critical),
		TEST(policy_decide_denies_repeated_and_too_many_extensions),
		TEST(policy_decide_follows_the_labels_binding_rule),
	};

	return cmocka_run_group_tests_name("policy/decide: csr", tests, NULL, NULL);
}
