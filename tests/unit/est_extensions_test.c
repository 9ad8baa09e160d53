#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "est/csr.h"
#include "tests/unit/est_make.h"

#define OID_SAN       "2.5.29.17"
#define OID_KEY_USAGE "2.5.29.15"

/* SEQUENCE { [2] "a.example" } */
static const uint8_t one_dns_name[] = { 0x30, 0x0b, 0x82, 0x09, 'a', '.', 'e', 'x', 'a', 'm', 'p', 'l', 'e' };

static EVP_PKEY *key;

static int
setup(void **state)
{
	struct err e;

	(void)state;
	if (ossl_init(&e) != 0 || key_init(&e) != 0)
		return -1;
	key = EVP_EC_gen("P-256");
	return key == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	(void)state;
	EVP_PKEY_free(key);
	return 0;
}

/* Frees attributes. */
static int
parse(struct buf *attributes, struct est_csr **out, struct err *e)
{
	struct buf der = { 0 };
	int rc;

	make_request(&der, key, attributes);
	rc = est_csr_parse(buf_bytes(&der), EST_CSR_PROVEN, out, e);
	buf_free(&der);
	buf_free(attributes);
	return rc;
}

static struct est_csr *
parsed(struct buf *attributes)
{
	struct est_csr *csr = NULL;
	struct err e = { 0 };

	if (parse(attributes, &csr, &e) != 0)
		fail_msg("%s", e.text);
	return csr;
}

static void
assert_refused(struct buf *attributes, enum err_code code)
{
	struct est_csr *csr = NULL;
	struct err e = { 0 };

	assert_int_equal(parse(attributes, &csr, &e), -1);
	assert_int_equal(e.code, code);
	assert_null(csr);
}

/* One extensionRequest of this OID that holds a subjectAltName with this value. */
static void
put_alt_name(struct buf *attributes, const char *oid, struct bytes value)
{
	struct buf extensions = { 0 };

	make_extension(&extensions, OID_SAN, value);
	make_extensions_attribute(attributes, oid, buf_bytes(&extensions));
	buf_free(&extensions);
}

static void
est_csr_alt_names_are_read(void **state)
{
	static const char *const forms[] = { OID_EXTENSIONS, OID_MS_EXTENSIONS };
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		CLEANUP(est_csr) struct est_csr *csr = NULL;
		CLEANUP(GENERAL_NAMES) GENERAL_NAMES *names = NULL;
		struct buf attributes = { 0 };
		struct err e;

		put_alt_name(&attributes, forms[i], bytes_of(one_dns_name, sizeof one_dns_name));
		csr = parsed(&attributes);
		assert_int_equal(est_csr_alt_names(csr, &names, &e), 0);
		assert_int_equal(sk_GENERAL_NAME_num(names), 1);
		assert_int_equal(sk_GENERAL_NAME_value(names, 0)->type, GEN_DNS);
	}
}

static void
est_csr_alt_names_are_null_without_the_extension(void **state)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	struct buf attributes = { 0 }, extensions = { 0 };
	GENERAL_NAMES *names = NULL;
	struct err e;

	(void)state;
	make_extension(&extensions, OID_KEY_USAGE, bytes_of("\x03\x02\x07\x80", 4));
	make_extensions_attribute(&attributes, OID_EXTENSIONS, buf_bytes(&extensions));
	buf_free(&extensions);
	csr = parsed(&attributes);
	assert_int_equal(est_csr_alt_names(csr, &names, &e), 0);
	assert_null(names);
}

static void
est_csr_alt_names_refuse_what_does_not_decode(void **state)
{
	static const struct bytes values[] = {
		{ NULL, 0 },
		{ (const uint8_t *)"\x30\x03\x82\x09", 4 },
		{ (const uint8_t *)"\x04\x01x", 3 },
	};
	struct buf longer = { 0 };
	size_t i;

	(void)state;
	buf_append(&longer, one_dns_name, sizeof one_dns_name);
	buf_append_u8(&longer, 0);
	for (i = 0; i <= 3; i++) {
		CLEANUP(est_csr) struct est_csr *csr = NULL;
		struct buf attributes = { 0 };
		GENERAL_NAMES *names = NULL;
		struct err e = { 0 };

		put_alt_name(&attributes, OID_EXTENSIONS, i == 3 ? buf_bytes(&longer) : values[i]);
		csr = parsed(&attributes);
		assert_int_equal(est_csr_alt_names(csr, &names, &e), -1);
		assert_int_equal(e.code, ERR_MALFORMED);
		assert_null(names);
	}
	buf_free(&longer);
}

/* est_csr_parse() refuses such a request already; a caller may hold extensions from elsewhere. */
static void
est_csr_alt_names_refuse_the_extension_twice(void **state)
{
	struct est_csr csr = { .extensions = sk_X509_EXTENSION_new_null() };
	GENERAL_NAMES *names = NULL;
	struct err e = { 0 };
	int i;

	(void)state;
	for (i = 0; i < 2; i++)
		sk_X509_EXTENSION_push(csr.extensions,
			X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:a.example"));
	assert_int_equal(est_csr_alt_names(&csr, &names, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	extension_stack_free(csr.extensions);
}

static void
est_csr_refuses_an_extension_twice(void **state)
{
	struct buf attributes = { 0 }, extensions = { 0 };

	(void)state;
	make_extension(&extensions, "2.5.29.19", bytes_of("\x30\x00", 2));
	make_extension(&extensions, OID_SAN, bytes_of(one_dns_name, sizeof one_dns_name));
	make_extension(&extensions, "2.5.29.19", bytes_of("\x30\x03\x01\x01\xff", 5));
	make_extensions_attribute(&attributes, OID_EXTENSIONS, buf_bytes(&extensions));
	buf_free(&extensions);
	assert_refused(&attributes, ERR_MALFORMED);
}

static void
est_csr_refuses_two_extension_requests(void **state)
{
	struct buf attributes = { 0 };
	struct bytes value = bytes_of(one_dns_name, sizeof one_dns_name);

	(void)state;
	put_alt_name(&attributes, OID_EXTENSIONS, value);
	put_alt_name(&attributes, OID_EXTENSIONS, value);
	assert_refused(&attributes, ERR_MALFORMED);
	put_alt_name(&attributes, OID_EXTENSIONS, value);
	put_alt_name(&attributes, OID_MS_EXTENSIONS, value);
	assert_refused(&attributes, ERR_MALFORMED);
}

static void
est_csr_refuses_an_extension_request_that_is_no_sequence_of_extensions(void **state)
{
	struct buf attributes = { 0 }, extensions = { 0 }, sequence = { 0 };

	(void)state;
	make_extension(&extensions, OID_KEY_USAGE, bytes_of("\x03\x02\x07\x80", 4));
	der_put(&sequence, DER_SEQUENCE, buf_bytes(&extensions));
	make_text_attribute(&attributes, OID_EXTENSIONS, DER_OCTET_STRING, buf_bytes(&sequence));
	buf_free(&extensions);
	buf_free(&sequence);
	assert_refused(&attributes, ERR_MALFORMED);
	make_text_attribute(&attributes, OID_EXTENSIONS, DER_SEQUENCE, bytes_of("\x02\x01\x00", 3));
	assert_refused(&attributes, ERR_MALFORMED);
}

static void
est_csr_refuses_more_extensions_than_the_limit(void **state)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	struct buf attributes = { 0 }, extensions = { 0 };
	char oid[32];
	int i;

	(void)state;
	for (i = 0; i < EST_CSR_EXTENSIONS_MAX; i++) {
		(void)snprintf(oid, sizeof oid, "1.2.3.%d", i);
		make_extension(&extensions, oid, bytes_of("\x05\x00", 2));
	}
	make_extensions_attribute(&attributes, OID_EXTENSIONS, buf_bytes(&extensions));
	csr = parsed(&attributes);
	assert_int_equal(sk_X509_EXTENSION_num(csr->extensions), EST_CSR_EXTENSIONS_MAX);
	make_extension(&extensions, "1.2.4", bytes_of("\x05\x00", 2));
	make_extensions_attribute(&attributes, OID_EXTENSIONS, buf_bytes(&extensions));
	assert_refused(&attributes, ERR_LIMIT);
	buf_free(&extensions);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(est_csr_alt_names_are_read),
		cmocka_unit_test(est_csr_alt_names_are_null_without_the_extension),
		cmocka_unit_test(est_csr_alt_names_refuse_what_does_not_decode),
		cmocka_unit_test(est_csr_alt_names_refuse_the_extension_twice),
		cmocka_unit_test(est_csr_refuses_an_extension_twice),
		cmocka_unit_test(est_csr_refuses_two_extension_requests),
		cmocka_unit_test(est_csr_refuses_an_extension_request_that_is_no_sequence_of_extensions),
		cmocka_unit_test(est_csr_refuses_more_extensions_than_the_limit),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
