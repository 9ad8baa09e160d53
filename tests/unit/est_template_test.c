#define _GNU_SOURCE /* memmem */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/der.h"
#include "est/csrattrs.h"

#define OID_CHALLENGE "1.2.840.113549.1.9.7"
#define OID_SAN       "2.5.29.17"

/* What RFC 9908's module says of the values below, written down by hand. */
static const uint8_t whole[] = {
	0x30, 0x81, 0xb1,                                                 /* CsrAttrs */
	0x30, 0x81, 0xa3, 0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x3d, /* Attribute */
	0x31, 0x81, 0x93, 0x30, 0x81, 0x90, 0x02, 0x01, 0x00,             /* SET, template, version */
	0x30, 0x1e,                                                       /* NameTemplate */
	0x31, 0x07, 0x30, 0x05, 0x06, 0x03, 0x55, 0x04, 0x03,             /* commonName, left open */
	0x31, 0x13, 0x30, 0x11, 0x06, 0x03, 0x55, 0x04, 0x0a, 0x0c, 0x0a, 'E', 'x', 'a', 'm', 'p', 'l', 'e', ' ', 'A', 'G',
	0xa0, 0x15, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
	0x3d, 0x03, 0x01, 0x07,                                           /* SubjectPublicKeyInfoTemplate: P-256 */
	0xa1, 0x54,                                                       /* attributes, ascending */
	0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x07, 0x31, 0x00, /* challengePassword */
	0x30, 0x43, 0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x3e, /* extensionReqTemplate */
	0x31, 0x34, 0x30, 0x32,
	0x30, 0x0e, 0x06, 0x03, 0x55, 0x1d, 0x0f, 0x01, 0x01, 0xff, 0x04, 0x04, 0x03, 0x02, 0x07, 0x80,
	0x30, 0x13, 0x06, 0x03, 0x55, 0x1d, 0x25, 0x04, 0x0c, 0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07,
	0x03, 0x02,
	0x30, 0x0b, 0x06, 0x03, 0x55, 0x1d, 0x11, 0x04, 0x04, 0x30, 0x02, 0x82, 0x00,
	0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x07,
};

static struct est_csr_template
sample(void)
{
	return (struct est_csr_template){
		.subject = { { "2.5.4.3", NULL }, { "2.5.4.10", "Example AG" } }, .subject_count = 2,
		.key = KEY_EC_P256,
		.sans = EST_SAN_DNS, .key_usage = 1u, .eku = { "1.3.6.1.5.5.7.3.2" }, .eku_count = 1,
		.attributes = { OID_CHALLENGE }, .attribute_count = 1,
	};
}

/* Encodes; the text for people is returned in shown, the octets in der. */
static void
encode(const struct est_csr_template *template, struct buf *der, struct buf *shown)
{
	struct err e = { 0 };

	if (est_csrattrs_template(template, NULL, 0, der, &e) != 0 ||
	    est_csrattrs_decode(buf_bytes(der), shown, &e) != 0)
		fail_msg("%s", e.text);
}

static void
est_csrattrs_template_is_encoded_as_the_module_of_the_rfc_says(void **state)
{
	static const char *const entries[] = { "challengePassword" };
	struct est_csr_template template = sample();
	CLEANUP(buf) struct buf out = { 0 };
	struct err e = { 0 };

	(void)state;
	if (est_csrattrs_template(&template, entries, 1, &out, &e) != 0)
		fail_msg("%s", e.text);
	assert_int_equal(out.len, sizeof whole);
	assert_memory_equal(out.at, whole, sizeof whole);
}

static void
est_csrattrs_decode_prints_a_template_with_a_line_for_each_demand(void **state)
{
	CLEANUP(buf) struct buf out = { 0 };
	struct err e = { 0 };

	(void)state;
	if (est_csrattrs_decode(bytes_of(whole, sizeof whole), &out, &e) != 0)
		fail_msg("%s", e.text);
	assert_string_equal(buf_text(&out), "certificationRequestInfoTemplate\n"
					    "  subject commonName\n"
					    "  subject organizationName = \"Example AG\"\n"
					    "  key ecPublicKey = secp256r1\n"
					    "  attribute challengePassword\n"
					    "  extension X509v3 Key Usage, critical = OCTET STRING(03020780)\n"
					    "  extension X509v3 Extended Key Usage = OCTET STRING(300a06082b06010505070302)\n"
					    "  extension X509v3 Subject Alternative Name = OCTET STRING(30028200)\n"
					    "challengePassword\n");
}

/* RFC 9908, section 4: the other elements are ignored where there is a template. */
static void
est_csrattrs_asks_looks_into_a_template_and_at_nothing_else_then(void **state)
{
	static const char *const entries[] = { "attestation", "challengePassword" };
	struct est_csr_template template = sample();
	CLEANUP(buf) struct buf out = { 0 };
	struct err e = { 0 };
	struct bytes der;

	(void)state;
	assert_int_equal(est_csrattrs_template(&template, entries, 2, &out, &e), 0);
	der = buf_bytes(&out);
	assert_true(est_csrattrs_asks(der, OID_CHALLENGE));
	assert_true(est_csrattrs_asks(der, "2.5.4.10"));
	assert_true(est_csrattrs_asks(der, "1.2.840.10045.2.1"));
	assert_true(est_csrattrs_asks(der, OID_SAN));
	assert_false(est_csrattrs_asks(der, EST_OID_ATTESTATION));
	assert_false(est_csrattrs_asks(der, EST_OID_REQUEST_TEMPLATE));
	assert_false(est_csrattrs_asks(der, "1.3.6.1.5.5.7.3.2"));
}

static void
est_csrattrs_ask_for_evidence_in_a_template_or_without(void **state)
{
	static const char *const entries[] = { "attestation" };
	struct est_csr_template template = { .attributes = { EST_OID_ATTESTATION }, .attribute_count = 1 };
	CLEANUP(buf) struct buf with = { 0 }, without = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(est_csrattrs_template(&template, NULL, 0, &with, &e), 0);
	assert_true(est_csrattrs_asks(buf_bytes(&with), EST_OID_ATTESTATION));
	assert_int_equal(est_csrattrs_encode(entries, 1, &without, &e), 0);
	assert_true(est_csrattrs_asks(buf_bytes(&without), EST_OID_ATTESTATION));
	assert_false(est_csrattrs_asks(buf_bytes(&without), OID_CHALLENGE));
}

/* "In case the server requires use of an RSA key and needs to specify its size", a placeholder says so. */
static void
est_csrattrs_template_says_the_size_of_an_rsa_key_by_a_placeholder(void **state)
{
	static const int bits[] = { 2047, 2048, 2049, 3072, 4096, 8192 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bits / sizeof bits[0]; i++) {
		struct est_csr_template template = { .key = KEY_RSA, .rsa_bits = bits[i] };
		CLEANUP(buf) struct buf der = { 0 }, shown = { 0 }, expected = { 0 };

		encode(&template, &der, &shown);
		buf_printf(&expected, "certificationRequestInfoTemplate\n  key rsaEncryption of %d bits\n", bits[i]);
		assert_string_equal(buf_text(&shown), buf_text(&expected));
		assert_true(der.len > (size_t)bits[i] / 8);
	}
}

static void
est_csrattrs_template_leaves_the_size_out_where_none_is_demanded(void **state)
{
	static const struct {
		enum key_kind key;
		const char *shown;
	} kinds[] = {
		{ KEY_OTHER, "certificationRequestInfoTemplate\n" },
		{ KEY_RSA, "certificationRequestInfoTemplate\n  key rsaEncryption\n" },
		{ KEY_EC_P384, "certificationRequestInfoTemplate\n  key ecPublicKey = secp384r1\n" },
		{ KEY_EC_P521, "certificationRequestInfoTemplate\n  key ecPublicKey = secp521r1\n" },
		{ KEY_ED25519, "certificationRequestInfoTemplate\n  key ED25519\n" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		struct est_csr_template template = { .key = kinds[i].key };
		CLEANUP(buf) struct buf der = { 0 }, shown = { 0 };

		encode(&template, &der, &shown);
		assert_string_equal(buf_text(&shown), kinds[i].shown);
	}
}

/* Section 3.4: full extensions in extensionRequest, never beside an extensionReqTemplate. */
static void
est_csrattrs_template_uses_extension_request_when_every_value_is_known(void **state)
{
	static const uint8_t full[] = { 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e };
	static const uint8_t partial[] = { 0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x3e };
	struct est_csr_template template = { .key_usage = 1u | 1u << 8 };
	CLEANUP(buf) struct buf der = { 0 }, shown = { 0 };

	(void)state;
	encode(&template, &der, &shown);
	assert_string_equal(buf_text(&shown), "certificationRequestInfoTemplate\n"
					      "  extension X509v3 Key Usage, critical = OCTET STRING(0303078080)\n");
	assert_non_null(memmem(der.at, der.len, full, sizeof full));
	assert_null(memmem(der.at, der.len, partial, sizeof partial));
	buf_clear(&der);
	buf_clear(&shown);
	template.extensions[template.extension_count++] = "1.2.3.4";
	encode(&template, &der, &shown);
	assert_null(memmem(der.at, der.len, full, sizeof full));
	assert_non_null(memmem(der.at, der.len, partial, sizeof partial));
	assert_non_null(strstr(buf_text(&shown), "  extension 1.2.3.4\n"));
}

static void
est_csrattrs_template_asks_for_alternative_names_by_empty_ones(void **state)
{
	struct est_csr_template template = { .sans = EST_SAN_EMAIL | EST_SAN_DNS | EST_SAN_URI | EST_SAN_IP };
	CLEANUP(buf) struct buf der = { 0 }, shown = { 0 };

	(void)state;
	encode(&template, &der, &shown);
	assert_non_null(strstr(buf_text(&shown), "Alternative Name = OCTET STRING(30088100820086008700)\n"));
}

static void
est_csrattrs_template_with_nothing_in_it_has_a_version_and_no_attributes(void **state)
{
	static const uint8_t empty[] = { 0x30, 0x18, 0x30, 0x16, 0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09,
		0x10, 0x02, 0x3d, 0x31, 0x07, 0x30, 0x05, 0x02, 0x01, 0x00, 0xa1, 0x00 };
	struct est_csr_template template = { .subject_count = 0 };
	CLEANUP(buf) struct buf der = { 0 }, shown = { 0 };

	(void)state;
	encode(&template, &der, &shown);
	assert_true(bytes_equal(buf_bytes(&der), bytes_of(empty, sizeof empty)));
}

static void
assert_not_encoded(const struct est_csr_template *template, enum err_code code)
{
	CLEANUP(buf) struct buf out = { 0 };
	struct err e = { 0 };

	buf_append_text(&out, "kept");
	assert_int_equal(est_csrattrs_template(template, NULL, 0, &out, &e), -1);
	assert_int_equal(e.code, code);
	assert_string_equal(buf_text(&out), "kept");
}

static void
est_csrattrs_template_refuses_what_it_cannot_say(void **state)
{
	const struct est_csr_template bad[] = {
		{ .subject = { { "commonName", NULL } }, .subject_count = 1 },
		{ .subject = { { "2.5.4.3", "" } }, .subject_count = 1 },
		{ .subject = { { "2.5.4.3", "a\nb" } }, .subject_count = 1 },
		{ .key = KEY_RSA, .rsa_bits = 512 },
		{ .key = KEY_RSA, .rsa_bits = -2048 },
		{ .key = KEY_RSA, .rsa_bits = 16384 },
		{ .key_usage = 1u << 9 },
		{ .eku = { "clientAuth" }, .eku_count = 1 },
		{ .extensions = { "" }, .extension_count = 1 },
		{ .attributes = { "1.2." }, .attribute_count = 1 },
	};
	const struct est_csr_template long_list = { .attribute_count = EST_TEMPLATE_LIST_MAX + 1 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_not_encoded(&bad[i], ERR_MALFORMED);
	assert_not_encoded(&long_list, ERR_LIMIT);
}

/* Wraps a template's octets, or anything, in an attribute of that type. */
static void
put_template(struct buf *out, struct bytes values)
{
	size_t outer = der_begin(out, DER_SEQUENCE), attribute = der_begin(out, DER_SEQUENCE);

	der_put_oid(out, EST_OID_REQUEST_TEMPLATE);
	der_put(out, DER_SET, values);
	der_end(out, attribute);
	der_end(out, outer);
}

static void
est_csrattrs_decode_refuses_a_template_that_is_none(void **state)
{
	static const struct bytes bad[] = {
		{ NULL, 0 },
		{ (const uint8_t *)"\x05\x00", 2 },
		{ (const uint8_t *)"\x30\x00", 2 },
		{ (const uint8_t *)"\x30\x03\x02\x01\x00", 5 },
		{ (const uint8_t *)"\x30\x05\x02\x01\x01\xa1\x00", 7 },
		{ (const uint8_t *)"\x30\x07\x02\x01\x00\xa1\x00\x05\x00", 9 },
		{ (const uint8_t *)"\x30\x05\x02\x01\x00\xa1\x00\x30\x05\x02\x01\x00\xa1\x00", 14 },
		{ (const uint8_t *)"\x30\x0b\x02\x01\x00\x30\x04\x31\x02\x30\x00\xa1\x00", 13 },
		{ (const uint8_t *)"\x30\x09\x02\x01\x00\x30\x02\x31\x00\xa1\x00", 11 },
		{ (const uint8_t *)"\x30\x0d\x02\x01\x00\x30\x06\x31\x04\x30\x02\x05\x00\xa1\x00", 15 },
		{ (const uint8_t *)"\x30\x13\x02\x01\x00\x30\x0c\x31\x0a\x30\x08\x06\x02\x2a\x03\x05\x00\x05\x00\xa1\x00", 21 },
		{ (const uint8_t *)"\x30\x07\x02\x01\x00\xa0\x00\xa1\x00", 9 },
		{ (const uint8_t *)"\x30\x07\x02\x01\x00\xa1\x02\x05\x00", 9 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		CLEANUP(buf) struct buf der = { 0 }, out = { 0 };
		struct err e = { 0 };

		put_template(&der, bad[i]);
		assert_int_equal(est_csrattrs_decode(buf_bytes(&der), &out, &e), -1);
		assert_int_equal(e.code, ERR_MALFORMED);
		assert_int_equal(out.len, 0);
		assert_false(est_csrattrs_asks(buf_bytes(&der), "2.5.4.3"));
	}
}

/* Nobody could say which of two counts, and no entry can smuggle one in. */
static void
est_csrattrs_decode_refuses_two_templates(void **state)
{
	static const uint8_t one[] = { 0x30, 0x16, 0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02,
		0x3d, 0x31, 0x07, 0x30, 0x05, 0x02, 0x01, 0x00, 0xa1, 0x00 };
	static const char *const entry = "certificationRequestInfoTemplate=1.2.3";
	CLEANUP(buf) struct buf der = { 0 }, out = { 0 };
	size_t mark = der_begin(&der, DER_SEQUENCE);
	struct err e = { 0 };

	(void)state;
	buf_append(&der, one, sizeof one);
	buf_append(&der, one, sizeof one);
	der_end(&der, mark);
	assert_int_equal(est_csrattrs_decode(buf_bytes(&der), &out, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_int_equal(out.len, 0);
	assert_int_equal(est_csrattrs_encode(&entry, 1, &out, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
}

/* Two Extensions values, and an ExtensionTemplate outside its SEQUENCE OF. */
static void
est_csrattrs_decode_refuses_extensions_that_are_not_one_list(void **state)
{
	static const struct bytes values[] = {
		{ (const uint8_t *)"\x30\x00\x30\x00", 4 },
		{ (const uint8_t *)"\x30\x05\x06\x03\x55\x1d\x11", 7 },
		{ (const uint8_t *)"\x05\x00", 2 },
		{ (const uint8_t *)"\x30\x09\x30\x07\x06\x03\x55\x1d\x11\x05\x00", 11 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof values / sizeof values[0]; i++) {
		CLEANUP(buf) struct buf info = { 0 }, der = { 0 }, out = { 0 };
		size_t mark = der_begin(&info, DER_SEQUENCE), attributes, attribute;
		struct err e = { 0 };

		buf_append(&info, "\x02\x01\x00", 3);
		attributes = der_begin(&info, DER_CONTEXT_CONS(1));
		attribute = der_begin(&info, DER_SEQUENCE);
		der_put_oid(&info, EST_OID_EXTENSION_TEMPLATE);
		der_put(&info, DER_SET, values[i]);
		der_end(&info, attribute);
		der_end(&info, attributes);
		der_end(&info, mark);
		put_template(&der, buf_bytes(&info));
		assert_int_equal(est_csrattrs_decode(buf_bytes(&der), &out, &e), -1);
		assert_int_equal(e.code, ERR_MALFORMED);
		assert_false(est_csrattrs_asks(buf_bytes(&der), OID_SAN));
	}
}

/* RFC 9908, section 5.4's example: "rsaEncryption" with the size as an INTEGER. */
static void
est_csrattrs_encode_gives_rsa_sizes_as_the_rfc_does(void **state)
{
	static const char *const entries[] = { "challengePassword", "rsaEncryption=int:4096", "sha256WithRSAEncryption" };
	static const char *const bad[] = { "rsaEncryption=int:", "rsaEncryption=int:-1", "rsaEncryption=int:1x",
		"rsaEncryption=int:1234567890" };
	static const uint8_t example[] = { 0x30, 0x29, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x07,
		0x30, 0x11, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x31, 0x04, 0x02, 0x02,
		0x10, 0x00, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b };
	CLEANUP(buf) struct buf out = { 0 };
	struct err e = { 0 };
	size_t i;

	(void)state;
	assert_int_equal(est_csrattrs_encode(entries, 3, &out, &e), 0);
	assert_true(bytes_equal(buf_bytes(&out), bytes_of(example, sizeof example)));
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(est_csrattrs_encode(&bad[i], 1, &out, &e), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(est_csrattrs_template_is_encoded_as_the_module_of_the_rfc_says),
		cmocka_unit_test(est_csrattrs_decode_prints_a_template_with_a_line_for_each_demand),
		cmocka_unit_test(est_csrattrs_asks_looks_into_a_template_and_at_nothing_else_then),
		cmocka_unit_test(est_csrattrs_ask_for_evidence_in_a_template_or_without),
		cmocka_unit_test(est_csrattrs_template_says_the_size_of_an_rsa_key_by_a_placeholder),
		cmocka_unit_test(est_csrattrs_template_leaves_the_size_out_where_none_is_demanded),
		cmocka_unit_test(est_csrattrs_template_uses_extension_request_when_every_value_is_known),
		cmocka_unit_test(est_csrattrs_template_asks_for_alternative_names_by_empty_ones),
		cmocka_unit_test(est_csrattrs_template_with_nothing_in_it_has_a_version_and_no_attributes),
		cmocka_unit_test(est_csrattrs_template_refuses_what_it_cannot_say),
		cmocka_unit_test(est_csrattrs_decode_refuses_a_template_that_is_none),
		cmocka_unit_test(est_csrattrs_decode_refuses_two_templates),
		cmocka_unit_test(est_csrattrs_decode_refuses_extensions_that_are_not_one_list),
		cmocka_unit_test(est_csrattrs_encode_gives_rsa_sizes_as_the_rfc_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
