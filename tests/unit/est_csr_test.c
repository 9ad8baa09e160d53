#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "est/csr.h"
#include "tests/unit/est_make.h"

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

static void
assert_refused(struct bytes der, enum est_csr_mode mode, enum err_code code)
{
	struct est_csr *csr = NULL;
	struct err e = { 0 };

	assert_int_equal(est_csr_parse(der, mode, &csr, &e), -1);
	assert_int_equal(e.code, code);
	assert_null(csr);
	assert_true(e.text[0] != '\0');
}

static struct est_csr *
parsed(struct bytes der)
{
	struct est_csr *csr = NULL;
	struct err e = { 0 };

	if (est_csr_parse(der, EST_CSR_PROVEN, &csr, &e) != 0)
		fail_msg("%s", e.text);
	return csr;
}

/* Frees attributes. */
static void
assert_attributes_refused(struct buf *attributes, enum err_code code)
{
	struct buf der = { 0 };

	make_request(&der, key, attributes);
	assert_refused(buf_bytes(&der), EST_CSR_PROVEN, code);
	assert_refused(buf_bytes(&der), EST_CSR_IGNORE_KEY, code);
	buf_free(&der);
	buf_free(attributes);
}

static struct est_csr *
parsed_with(struct buf *attributes)
{
	struct buf der = { 0 };
	struct est_csr *csr;

	make_request(&der, key, attributes);
	csr = parsed(buf_bytes(&der));
	buf_free(&der);
	buf_free(attributes);
	return csr;
}

static void
est_csr_reads_what_openssl_writes(void **state)
{
	CLEANUP(X509_REQ) X509_REQ *req = X509_REQ_new();
	STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	uint8_t *der = NULL, expected[32];
	struct err e;
	int len;

	(void)state;
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "CN", MBSTRING_UTF8,
		(const uint8_t *)"widget", -1, -1, 0), 1);
	sk_X509_EXTENSION_push(extensions, X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:a.example"));
	sk_X509_EXTENSION_push(extensions, X509V3_EXT_conf_nid(NULL, NULL, NID_key_usage, "digitalSignature"));
	assert_int_equal(X509_REQ_add_extensions(req, extensions), 1);
	extension_stack_free(extensions);
	assert_int_equal(X509_REQ_set_pubkey(req, key), 1);
	assert_true(X509_REQ_sign(req, key, EVP_sha384()) > 0);
	len = i2d_X509_REQ(req, &der);
	assert_true(len > 0);

	csr = parsed(bytes_of(der, (size_t)len));
	assert_true(bytes_equal(csr->der, bytes_of(der, (size_t)len)));
	assert_ptr_not_equal(csr->der.at, der);
	assert_int_equal(EVP_PKEY_eq(csr->key, key), 1);
	assert_int_equal(csr->facts.kind, KEY_EC_P256);
	assert_int_equal(X509_NAME_cmp(csr->subject, X509_REQ_get_subject_name(req)), 0);
	assert_int_equal(sk_X509_EXTENSION_num(csr->extensions), 2);
	assert_int_equal(csr->challenge.len, 0);
	assert_int_equal(csr->decrypt_key_id.len, 0);
	assert_int_equal(sha256(csr->der, expected, &e), 0);
	assert_memory_equal(csr->sha256, expected, 32);
	assert_int_equal(sha256(csr->spki, expected, &e), 0);
	assert_memory_equal(csr->spki_sha256, expected, 32);
	OPENSSL_free(der);
}

static void
est_csr_keeps_the_key_exactly_as_received(void **state)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	struct buf spki = { 0 };
	struct buf none = { 0 };

	(void)state;
	csr = parsed_with(&none);
	make_spki(&spki, key);
	assert_true(bytes_equal(csr->spki, buf_bytes(&spki)));
	buf_free(&spki);
}

static void
est_csr_accepts_a_request_without_the_attributes_field(void **state)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	struct buf der = { 0 };

	(void)state;
	make_request(&der, key, NULL);
	csr = parsed(buf_bytes(&der));
	assert_null(csr->extensions);
	buf_free(&der);
}

static void
est_csr_accepts_an_empty_subject(void **state)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	struct buf der = { 0 }, spki = { 0 }, info = { 0 };

	(void)state;
	make_spki(&spki, key);
	make_info(&info, 0, "", buf_bytes(&spki), NULL);
	make_signed(&der, buf_bytes(&info), key);
	csr = parsed(buf_bytes(&der));
	assert_non_null(csr->subject);
	assert_int_equal(X509_NAME_entry_count(csr->subject), 0);
	buf_free(&der);
	buf_free(&spki);
	buf_free(&info);
}

/* DER sorts a SET OF; what strongSwan sends is not sorted, and its signature covers it as it is. */
static void
est_csr_verifies_unsorted_attributes_as_received(void **state)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	struct buf attributes = { 0 };

	(void)state;
	make_text_attribute(&attributes, OID_LINKING, DER_UTF8_STRING, bytes_of_text("zzzzzzzzzzzzzzzzzzzzzzzz"));
	make_text_attribute(&attributes, OID_CHALLENGE, DER_PRINTABLE_STRING, bytes_of_text("a"));
	csr = parsed_with(&attributes);
	assert_true(bytes_equal_text(csr->challenge, "zzzzzzzzzzzzzzzzzzzzzzzz"));
}

static void
est_csr_refuses_octets_after_the_request(void **state)
{
	struct buf der = { 0 };

	(void)state;
	make_request(&der, key, NULL);
	buf_append_u8(&der, 0);
	assert_refused(buf_bytes(&der), EST_CSR_PROVEN, ERR_MALFORMED);
	assert_refused(buf_bytes(&der), EST_CSR_IGNORE_KEY, ERR_MALFORMED);
	buf_free(&der);
}

static void
est_csr_refuses_every_truncation(void **state)
{
	struct buf der = { 0 };
	size_t n;

	(void)state;
	make_request(&der, key, NULL);
	for (n = 0; n < der.len; n++)
		assert_refused(bytes_of(der.at, n), EST_CSR_IGNORE_KEY, ERR_MALFORMED);
	buf_free(&der);
}

static void
est_csr_refuses_octets_inside_the_info_after_its_fields(void **state)
{
	struct buf der = { 0 }, spki = { 0 }, info = { 0 }, none = { 0 };

	(void)state;
	make_spki(&spki, key);
	der_put(&spki, DER_OCTET_STRING, bytes_of_text("more"));
	make_info(&info, 0, "device-1", buf_bytes(&spki), &none);
	make_signed(&der, buf_bytes(&info), key);
	assert_refused(buf_bytes(&der), EST_CSR_PROVEN, ERR_MALFORMED);
	buf_free(&der);
	buf_free(&spki);
	buf_free(&info);
}

static void
est_csr_refuses_a_version_other_than_0(void **state)
{
	struct buf der = { 0 }, spki = { 0 }, info = { 0 };

	(void)state;
	make_spki(&spki, key);
	make_info(&info, 1, "device-1", buf_bytes(&spki), NULL);
	make_signed(&der, buf_bytes(&info), key);
	assert_refused(buf_bytes(&der), EST_CSR_PROVEN, ERR_MALFORMED);
	assert_refused(buf_bytes(&der), EST_CSR_IGNORE_KEY, ERR_MALFORMED);
	buf_free(&der);
	buf_free(&spki);
	buf_free(&info);
}

static void
est_csr_refuses_an_indefinite_length(void **state)
{
	struct buf der = { 0 }, ber = { 0 };

	(void)state;
	make_request(&der, key, NULL);
	assert_int_equal(der.at[1], 0x81); /* one length octet follows */
	buf_append(&ber, "\x30\x80", 2);
	buf_append(&ber, der.at + 3, der.len - 3);
	buf_append(&ber, "\0\0", 2);
	assert_refused(buf_bytes(&ber), EST_CSR_PROVEN, ERR_MALFORMED);
	buf_free(&der);
	buf_free(&ber);
}

static void
est_csr_refuses_a_certificate_and_an_empty_body(void **state)
{
	(void)state;
	assert_refused(bytes_of(NULL, 0), EST_CSR_PROVEN, ERR_MALFORMED);
	assert_refused(bytes_of("\x30\x00", 2), EST_CSR_PROVEN, ERR_MALFORMED);
	assert_refused(bytes_of("\x05\x00", 2), EST_CSR_PROVEN, ERR_MALFORMED);
}

static void
est_csr_refuses_a_request_past_the_size_limit(void **state)
{
	static uint8_t zeros[EST_CSR_MAX + 1];

	(void)state;
	assert_refused(bytes_of(zeros, sizeof zeros), EST_CSR_PROVEN, ERR_LIMIT);
	assert_refused(bytes_of(zeros, EST_CSR_MAX), EST_CSR_PROVEN, ERR_MALFORMED);
}

static void
est_csr_reads_a_challenge_of_every_string_type(void **state)
{
	static const struct {
		uint8_t tag;
		const char *octets;
		size_t len;
	} forms[] = {
		{ DER_PRINTABLE_STRING, "Zm9v", 4 },
		{ DER_UTF8_STRING, "Zm9v", 4 },
		{ DER_IA5_STRING, "Zm9v", 4 },
		{ 0x14 /* TeletexString */, "Zm9v", 4 },
		{ 0x1e /* BMPString */, "\0Z\0m\0009\0v", 8 },
		{ 0x1c /* UniversalString */, "\0\0\0Z\0\0\0m\0\0\0009\0\0\0v", 16 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		CLEANUP(est_csr) struct est_csr *csr = NULL;
		struct buf attributes = { 0 };

		make_text_attribute(&attributes, OID_CHALLENGE, forms[i].tag,
			bytes_of(forms[i].octets, forms[i].len));
		csr = parsed_with(&attributes);
		assert_true(bytes_equal_text(csr->challenge, "Zm9v"));
	}
}

static void
est_csr_prefers_identity_linking_to_the_challenge_password(void **state)
{
	CLEANUP(est_csr) struct est_csr *first = NULL;
	CLEANUP(est_csr) struct est_csr *last = NULL;
	struct buf attributes = { 0 };

	(void)state;
	make_text_attribute(&attributes, OID_CHALLENGE, DER_UTF8_STRING, bytes_of_text("password"));
	make_text_attribute(&attributes, OID_LINKING, DER_UTF8_STRING, bytes_of_text("linking"));
	last = parsed_with(&attributes);
	assert_true(bytes_equal_text(last->challenge, "linking"));
	make_text_attribute(&attributes, OID_LINKING, DER_UTF8_STRING, bytes_of_text("linking"));
	make_text_attribute(&attributes, OID_CHALLENGE, DER_UTF8_STRING, bytes_of_text("password"));
	first = parsed_with(&attributes);
	assert_true(bytes_equal_text(first->challenge, "linking"));
}

static void
est_csr_leaves_the_otp_challenge_alone(void **state)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	struct buf attributes = { 0 };

	(void)state;
	make_text_attribute(&attributes, OID_OTP, DER_UTF8_STRING, bytes_of_text("123456"));
	csr = parsed_with(&attributes);
	assert_int_equal(csr->challenge.len, 0);
}

static void
est_csr_refuses_a_challenge_twice_or_with_two_values_or_none(void **state)
{
	struct buf attributes = { 0 }, values = { 0 };

	(void)state;
	make_text_attribute(&attributes, OID_CHALLENGE, DER_UTF8_STRING, bytes_of_text("a"));
	make_text_attribute(&attributes, OID_CHALLENGE, DER_UTF8_STRING, bytes_of_text("a"));
	assert_attributes_refused(&attributes, ERR_MALFORMED);

	der_put(&values, DER_UTF8_STRING, bytes_of_text("a"));
	der_put(&values, DER_UTF8_STRING, bytes_of_text("b"));
	make_attribute(&attributes, OID_CHALLENGE, buf_bytes(&values));
	assert_attributes_refused(&attributes, ERR_MALFORMED);
	buf_free(&values);

	make_attribute(&attributes, OID_CHALLENGE, bytes_of(NULL, 0));
	assert_attributes_refused(&attributes, ERR_MALFORMED);
}

static void
est_csr_refuses_a_challenge_that_is_empty_or_no_text(void **state)
{
	struct buf attributes = { 0 };

	(void)state;
	make_text_attribute(&attributes, OID_CHALLENGE, DER_UTF8_STRING, bytes_of(NULL, 0));
	assert_attributes_refused(&attributes, ERR_MALFORMED);
	make_text_attribute(&attributes, OID_LINKING, DER_OCTET_STRING, bytes_of_text("abc"));
	assert_attributes_refused(&attributes, ERR_MALFORMED);
	make_text_attribute(&attributes, OID_CHALLENGE, DER_UTF8_STRING, bytes_of("\xff\xfe", 2));
	assert_attributes_refused(&attributes, ERR_MALFORMED);
}

static void
est_csr_takes_a_challenge_of_255_octets_and_no_longer(void **state)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	struct buf attributes = { 0 };
	char text[EST_CHALLENGE_MAX + 1];

	(void)state;
	memset(text, 'A', sizeof text);
	make_text_attribute(&attributes, OID_CHALLENGE, DER_UTF8_STRING, bytes_of(text, EST_CHALLENGE_MAX));
	csr = parsed_with(&attributes);
	assert_int_equal(csr->challenge.len, EST_CHALLENGE_MAX);
	make_text_attribute(&attributes, OID_CHALLENGE, DER_UTF8_STRING, bytes_of(text, sizeof text));
	assert_attributes_refused(&attributes, ERR_LIMIT);
}

static void
est_csr_refuses_more_attributes_than_the_limit(void **state)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	struct buf attributes = { 0 };
	int i;

	(void)state;
	for (i = 0; i < EST_CSR_ATTRS_MAX; i++)
		make_text_attribute(&attributes, "1.2.3.4", DER_UTF8_STRING, bytes_of_text("x"));
	csr = parsed_with(&attributes);
	assert_non_null(csr);
	for (i = 0; i < EST_CSR_ATTRS_MAX + 1; i++)
		make_text_attribute(&attributes, "1.2.3.4", DER_UTF8_STRING, bytes_of_text("x"));
	assert_attributes_refused(&attributes, ERR_LIMIT);
}

static void
est_csr_reads_both_key_identifiers(void **state)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	struct buf attributes = { 0 };

	(void)state;
	make_text_attribute(&attributes, OID_DECRYPT_ID, DER_OCTET_STRING, bytes_of("\x00kek", 4));
	make_text_attribute(&attributes, OID_ASYM_ID, DER_OCTET_STRING, bytes_of_text("ski"));
	csr = parsed_with(&attributes);
	assert_true(bytes_equal(csr->decrypt_key_id, bytes_of("\x00kek", 4)));
	assert_true(bytes_equal_text(csr->asym_decrypt_key_id, "ski"));
}

/* An identifier that looks absent would make the server send the key in the clear. */
static void
est_csr_refuses_a_key_identifier_that_is_empty_doubled_or_of_another_type(void **state)
{
	struct buf attributes = { 0 };
	char text[EST_KEY_ID_MAX + 1];

	(void)state;
	make_text_attribute(&attributes, OID_DECRYPT_ID, DER_OCTET_STRING, bytes_of(NULL, 0));
	assert_attributes_refused(&attributes, ERR_MALFORMED);
	make_text_attribute(&attributes, OID_ASYM_ID, DER_UTF8_STRING, bytes_of_text("ski"));
	assert_attributes_refused(&attributes, ERR_MALFORMED);
	make_text_attribute(&attributes, OID_ASYM_ID, DER_OCTET_STRING, bytes_of_text("a"));
	make_text_attribute(&attributes, OID_ASYM_ID, DER_OCTET_STRING, bytes_of_text("b"));
	assert_attributes_refused(&attributes, ERR_MALFORMED);
	memset(text, 'k', sizeof text);
	make_text_attribute(&attributes, OID_DECRYPT_ID, DER_OCTET_STRING, bytes_of(text, sizeof text));
	assert_attributes_refused(&attributes, ERR_LIMIT);
}

/* The store's own: proven when they came. All else about them is looked at as ever. */
static void
est_csr_takes_a_signature_for_good_in_what_was_stored_only(void **state)
{
	CLEANUP(est_csr) struct est_csr *good = NULL;
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	struct buf der = { 0 };
	struct err e;

	(void)state;
	make_request(&der, key, NULL);
	good = parsed(buf_bytes(&der));
	der.at[der.len - 1] ^= 1;
	assert_refused(buf_bytes(&der), EST_CSR_PROVEN, ERR_UNAUTHENTIC);
	assert_int_equal(est_csr_parse(buf_bytes(&der), EST_CSR_STORED, &csr, &e), 0);
	assert_memory_equal(csr->spki_sha256, good->spki_sha256, sizeof csr->spki_sha256);
	assert_int_equal(csr->facts.kind, good->facts.kind);
	assert_refused(bytes_of(der.at, der.len - 1), EST_CSR_STORED, ERR_MALFORMED);
	buf_free(&der);
}

/* RFC 7030, section 4.4.1: "the server MUST ignore the public key values and signature in the CSR". */
static void
est_csr_ignores_key_and_signature_when_asked_to(void **state)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	static const uint8_t zeros[32];
	struct buf der = { 0 }, spki = { 0 }, info = { 0 }, algorithm = { 0 };
	struct err e;

	(void)state;
	der_put(&spki, DER_SEQUENCE, bytes_of(NULL, 0));
	make_info(&info, 0, "device-1", buf_bytes(&spki), NULL);
	make_algorithm(&algorithm, "1.2.3.4");
	make_outer(&der, buf_bytes(&info), buf_bytes(&algorithm), bytes_of(NULL, 0));
	assert_int_equal(est_csr_parse(buf_bytes(&der), EST_CSR_IGNORE_KEY, &csr, &e), 0);
	assert_null(csr->key);
	assert_memory_equal(csr->spki_sha256, zeros, 32);
	assert_refused(buf_bytes(&der), EST_CSR_PROVEN, ERR_MALFORMED);
	buf_free(&der);
	buf_free(&spki);
	buf_free(&info);
	buf_free(&algorithm);
}

static void
est_csr_free_accepts_null(void **state)
{
	(void)state;
	est_csr_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(est_csr_reads_what_openssl_writes),
		cmocka_unit_test(est_csr_keeps_the_key_exactly_as_received),
		cmocka_unit_test(est_csr_accepts_a_request_without_the_attributes_field),
		cmocka_unit_test(est_csr_accepts_an_empty_subject),
		cmocka_unit_test(est_csr_verifies_unsorted_attributes_as_received),
		cmocka_unit_test(est_csr_refuses_octets_after_the_request),
		cmocka_unit_test(est_csr_refuses_every_truncation),
		cmocka_unit_test(est_csr_refuses_octets_inside_the_info_after_its_fields),
		cmocka_unit_test(est_csr_refuses_a_version_other_than_0),
		cmocka_unit_test(est_csr_refuses_an_indefinite_length),
		cmocka_unit_test(est_csr_refuses_a_certificate_and_an_empty_body),
		cmocka_unit_test(est_csr_refuses_a_request_past_the_size_limit),
		cmocka_unit_test(est_csr_reads_a_challenge_of_every_string_type),
		cmocka_unit_test(est_csr_prefers_identity_linking_to_the_challenge_password),
		cmocka_unit_test(est_csr_leaves_the_otp_challenge_alone),
		cmocka_unit_test(est_csr_refuses_a_challenge_twice_or_with_two_values_or_none),
		cmocka_unit_test(est_csr_refuses_a_challenge_that_is_empty_or_no_text),
		cmocka_unit_test(est_csr_takes_a_challenge_of_255_octets_and_no_longer),
		cmocka_unit_test(est_csr_refuses_more_attributes_than_the_limit),
		cmocka_unit_test(est_csr_reads_both_key_identifiers),
		cmocka_unit_test(est_csr_refuses_a_key_identifier_that_is_empty_doubled_or_of_another_type),
		cmocka_unit_test(est_csr_takes_a_signature_for_good_in_what_was_stored_only),
		cmocka_unit_test(est_csr_ignores_key_and_signature_when_asked_to),
		cmocka_unit_test(est_csr_free_accepts_null),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
