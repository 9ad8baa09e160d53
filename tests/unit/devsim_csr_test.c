#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/key.h"
#include "devsim/csr.h"
#include "devsim/keys.h"

/* OpenSSL reads what was written here by hand: an independent witness. */
static X509_REQ *
build(const struct csr_spec *spec, const char *kind)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	CLEANUP(buf) struct buf der = { 0 };
	CLEANUP(buf) struct buf again = { 0 };
	struct key_spec key_spec;
	struct err e = { 0 };
	const uint8_t *at;
	uint8_t *encoded = NULL;
	X509_REQ *req;
	int len;

	assert_int_equal(key_spec_parse(kind, &key_spec, &e), 0);
	assert_int_equal(key_make(&key_spec, &key, &e), 0);
	assert_int_equal(csr_build(spec, key, &der, &e), 0);
	at = der.at;
	req = d2i_X509_REQ(NULL, &at, (long)der.len);
	assert_non_null(req);
	assert_ptr_equal(at, der.at + der.len);
	assert_int_equal(X509_REQ_verify(req, key), 1);
	/* DER has one encoding: OpenSSL's own must be the same octets. The first call drops what it remembers. */
	assert_true(i2d_re_X509_REQ_tbs(req, NULL) > 0);
	len = i2d_X509_REQ(req, &encoded);
	assert_true(len > 0);
	buf_append(&again, encoded, (size_t)len);
	OPENSSL_free(encoded);
	assert_true(bytes_equal(buf_bytes(&again), buf_bytes(&der)));
	return req;
}

static void
csr_is_signed_with_every_kind_of_key(void **state)
{
	static const char *const kinds[] = { "ec:P-256", "ec:P-384", "ec:P-521", "rsa:2048" };
	struct csr_spec spec = { .challenge = NULL };
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++) {
		CLEANUP(X509_REQ) X509_REQ *req = build(&spec, kinds[i]);
		const X509_ALGOR *algorithm;
		int parameters;

		X509_REQ_get0_signature(req, NULL, &algorithm);
		X509_ALGOR_get0(NULL, &parameters, NULL, algorithm);
		assert_int_equal(parameters, i == 3 ? V_ASN1_NULL : V_ASN1_UNDEF);
	}
}

static void
csr_carries_subject_and_names(void **state)
{
	static const char *const names[] = { "dns:a.example", "ip:192.0.2.1", "ip:2001:db8::1", "uri:urn:x:1",
		"email:a@b.example" };
	CLEANUP(buf) struct buf subject = { 0 };
	CLEANUP(buf) struct buf alt = { 0 };
	CLEANUP(extension_stack) STACK_OF(X509_EXTENSION) *extensions = NULL;
	CLEANUP(X509_REQ) X509_REQ *req = NULL;
	GENERAL_NAMES *found;
	struct csr_spec spec = { 0 };
	struct err e = { 0 };
	char text[128];

	(void)state;
	assert_int_equal(csr_subject("CN=a\\,b,O=acme", &subject, &e), 0);
	assert_int_equal(csr_alt_names(names, 5, &alt, &e), 0);
	spec.subject = buf_bytes(&subject);
	spec.alt_names = buf_bytes(&alt);
	req = build(&spec, "ec:P-256");
	x509_name_text(X509_REQ_get_subject_name(req), text, sizeof text);
	assert_string_equal(text, "CN=a\\,b,O=acme");
	extensions = X509_REQ_get_extensions(req);
	found = X509V3_get_d2i(extensions, NID_subject_alt_name, NULL, NULL);
	assert_int_equal(sk_GENERAL_NAME_num(found), 5);
	assert_int_equal(sk_GENERAL_NAME_value(found, 2)->d.iPAddress->length, 16);
	assert_int_equal(sk_GENERAL_NAME_value(found, 3)->type, GEN_URI);
	GENERAL_NAMES_free(found);
}

static void
assert_attribute(X509_REQ *req, const char *oid, int type, const char *value)
{
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
	int at = X509_REQ_get_attr_by_OBJ(req, object, -1);
	const ASN1_TYPE *found;

	ASN1_OBJECT_free(object);
	assert_true(at >= 0);
	found = X509_ATTRIBUTE_get0_type(X509_REQ_get_attr(req, at), 0);
	assert_non_null(found);
	assert_int_equal(ASN1_TYPE_get(found), type);
	if (value != NULL)
		assert_true(bytes_equal_text(bytes_of(ASN1_STRING_get0_data(found->value.asn1_string),
			(size_t)ASN1_STRING_length(found->value.asn1_string)), value));
}

static void
csr_carries_challenge_and_key_identifiers(void **state)
{
	struct csr_spec spec = { .challenge = "c29tZSB2YWx1ZQ==", .decrypt_key_id = bytes_of_text("kek-1"),
		.asym_decrypt_key_id = bytes_of_text("key-2") };
	CLEANUP(X509_REQ) X509_REQ *req = build(&spec, "ec:P-256");

	(void)state;
	assert_attribute(req, "1.2.840.113549.1.9.7", V_ASN1_PRINTABLESTRING, "c29tZSB2YWx1ZQ==");
	assert_attribute(req, "1.2.840.113549.1.9.16.2.37", V_ASN1_OCTET_STRING, "kek-1");
	assert_attribute(req, "1.2.840.113549.1.9.16.2.54", V_ASN1_OCTET_STRING, "key-2");
	assert_attribute(req, "1.2.840.113549.1.9.15", V_ASN1_SEQUENCE, NULL);
	assert_int_equal(X509_REQ_get_attr_count(req), 4);
}

static void
csr_without_wishes_has_no_attributes(void **state)
{
	struct csr_spec spec = { .challenge = "" };
	CLEANUP(X509_REQ) X509_REQ *req = build(&spec, "ec:P-256");

	(void)state;
	assert_int_equal(X509_REQ_get_attr_count(req), 0);
	assert_int_equal(X509_NAME_entry_count(X509_REQ_get_subject_name(req)), 0);
}

static void
csr_can_ask_to_be_a_ca(void **state)
{
	struct csr_spec spec = { .ask_ca = true };
	CLEANUP(X509_REQ) X509_REQ *req = build(&spec, "ec:P-256");
	CLEANUP(extension_stack) STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(req);
	BASIC_CONSTRAINTS *found = X509V3_get_d2i(extensions, NID_basic_constraints, NULL, NULL);

	(void)state;
	assert_non_null(found);
	assert_true(found->ca);
	BASIC_CONSTRAINTS_free(found);
}

static void
csr_refuses_names_it_cannot_write(void **state)
{
	static const char *const subjects[] = { "router", "CN", "=x", "NoSuchType=x", ",CN=x", "C=too long" };
	static const char *const names[] = { "host", "ip:1.2.3", "dns", "DNS:x" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
		CLEANUP(buf) struct buf out = { 0 };
		struct err e = { 0 };

		assert_int_equal(csr_subject(subjects[i], &out, &e), -1);
		assert_int_equal(e.code, ERR_MALFORMED);
	}
	for (i = 0; i < sizeof names / sizeof names[0]; i++) {
		CLEANUP(buf) struct buf out = { 0 };
		struct err e = { 0 };

		assert_int_equal(csr_alt_names(&names[i], 1, &out, &e), -1);
	}
}

static void
key_specs_name_what_can_be_made(void **state)
{
	static const char *const bad[] = { "", "ec", "ec:P-257", "EC:P-256", "rsa:", "rsa:512", "rsa:2048x", "rsa:99999",
		"rsa:-2048", "ed25519" };
	struct key_spec spec = { 0 };
	struct err e = { 0 };
	size_t i;

	(void)state;
	assert_int_equal(key_spec_parse("rsa:3072", &spec, &e), 0);
	assert_int_equal(spec.bits, 3072);
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(key_spec_parse(bad[i], &spec, &e), -1);
}

static void
key_survives_pem_and_pkcs8(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	CLEANUP(EVP_PKEY) EVP_PKEY *again = NULL;
	CLEANUP(buf) struct buf pem = { 0 };
	CLEANUP(buf) struct buf der = { 0 };
	struct key_spec spec;
	struct err e = { 0 };
	const char *text;

	(void)state;
	assert_int_equal(key_spec_parse("ec:P-384", &spec, &e), 0);
	assert_int_equal(key_make(&spec, &key, &e), 0);
	assert_int_equal(key_to_pem(key, &pem, &e), 0);
	text = buf_text(&pem);
	assert_int_equal(strncmp(text, "-----BEGIN PRIVATE KEY-----\n", 28), 0);
	assert_int_equal(base64_decode(bytes_of(text + 28, (size_t)(strstr(text, "-----END") - text - 28)), &der, &e), 0);
	assert_int_equal(key_from_pkcs8(buf_bytes(&der), &again, &e), 0);
	assert_int_equal(EVP_PKEY_eq(key, again), 1);
	buf_append_u8(&der, 0);
	EVP_PKEY_free(again);
	again = NULL;
	assert_int_equal(key_from_pkcs8(buf_bytes(&der), &again, &e), -1);
}

static int
start(void **state)
{
	struct err e;

	(void)state;
	return ossl_init(&e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(csr_is_signed_with_every_kind_of_key),
		cmocka_unit_test(csr_carries_subject_and_names),
		cmocka_unit_test(csr_carries_challenge_and_key_identifiers),
		cmocka_unit_test(csr_without_wishes_has_no_attributes),
		cmocka_unit_test(csr_can_ask_to_be_a_ca),
		cmocka_unit_test(csr_refuses_names_it_cannot_write),
		cmocka_unit_test(key_specs_name_what_can_be_made),
		cmocka_unit_test(key_survives_pem_and_pkcs8),
	};

	return cmocka_run_group_tests_name("devsim/csr", tests, start, NULL);
}
