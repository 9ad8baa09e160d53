#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/der.h"
#include "est/csrattrs.h"

/* The example of RFC 8951, section 4. */
static const uint8_t rfc_example[] = { 0x30, 0x41, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x07,
	0x30, 0x12, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x31, 0x07, 0x06, 0x05, 0x2b, 0x81,
	0x04, 0x00, 0x22, 0x30, 0x16, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e, 0x31,
	0x09, 0x06, 0x07, 0x2b, 0x06, 0x01, 0x01, 0x01, 0x01, 0x16, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
	0x04, 0x03, 0x03 };

static void
est_csrattrs_encode_gives_the_example_of_the_rfc(void **state)
{
	static const char *const entries[] = { "challengePassword", "ecPublicKey=secp384r1",
		"extensionRequest=1.3.6.1.1.1.1.22", "ecdsa-with-SHA384" };
	struct buf out = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(est_csrattrs_encode(entries, 4, &out, &e), 0);
	assert_true(bytes_equal(buf_bytes(&out), bytes_of(rfc_example, sizeof rfc_example)));
	buf_free(&out);
}

static void
est_csrattrs_encode_of_nothing_is_an_empty_sequence(void **state)
{
	struct buf out = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(est_csrattrs_encode(NULL, 0, &out, &e), 0);
	assert_true(bytes_equal(buf_bytes(&out), bytes_of("\x30\x00", 2)));
	buf_free(&out);
}

static void
est_csrattrs_encode_knows_names_in_every_spelling(void **state)
{
	static const struct {
		const char *name, *dotted;
	} pairs[] = {
		{ "1.2.840.113549.1.9.7", "1.2.840.113549.1.9.7" },
		{ "challengePassword", "1.2.840.113549.1.9.7" },
		{ "extensionRequest", "1.2.840.113549.1.9.14" },
		{ "extReq", "1.2.840.113549.1.9.14" },
		{ "id-ecPublicKey", "1.2.840.10045.2.1" },
		{ "prime256v1", "1.2.840.10045.3.1.7" },
		{ "secp256r1", "1.2.840.10045.3.1.7" },
		{ "serialNumber", "2.5.4.5" },
		{ "estIdentityLinking", "1.2.840.113549.1.9.16.2.58" },
		{ "sha256WithRSAEncryption", "1.2.840.113549.1.1.11" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
		struct buf out = { 0 }, expected = { 0 };
		size_t mark = der_begin(&expected, DER_SEQUENCE);
		struct err e = { 0 };

		der_put_oid(&expected, pairs[i].dotted);
		der_end(&expected, mark);
		if (est_csrattrs_encode(&pairs[i].name, 1, &out, &e) != 0)
			fail_msg("%s", e.text);
		assert_true(bytes_equal(buf_bytes(&out), buf_bytes(&expected)));
		buf_free(&out);
		buf_free(&expected);
	}
}

/* X.690, section 11.6: the values of a SET OF stand in ascending order. */
static void
est_csrattrs_encode_sorts_values(void **state)
{
	static const char *const one[] = { "extensionRequest=subjectAltName,keyUsage" };
	static const char *const two[] = { "extensionRequest=keyUsage,subjectAltName" };
	struct buf a = { 0 }, b = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(est_csrattrs_encode(one, 1, &a, &e), 0);
	assert_int_equal(est_csrattrs_encode(two, 1, &b, &e), 0);
	assert_true(bytes_equal(buf_bytes(&a), buf_bytes(&b)));
	buf_free(&a);
	buf_free(&b);
}

static void
est_csrattrs_encode_writes_text_values(void **state)
{
	static const char *const entries[] = { "1.2.3=utf8:a=b,c" };
	static const uint8_t expected[] = { 0x30, 0x0f, 0x30, 0x0d, 0x06, 0x02, 0x2a, 0x03, 0x31, 0x07, 0x0c, 0x05,
		'a', '=', 'b', ',', 'c' };
	struct buf out = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(est_csrattrs_encode(entries, 1, &out, &e), 0);
	assert_true(bytes_equal(buf_bytes(&out), bytes_of(expected, sizeof expected)));
	buf_free(&out);
}

static void
est_csrattrs_encode_names_the_bad_entry(void **state)
{
	static const char *const bad[] = { "", "noSuchName", "=", "ecPublicKey=", "ecPublicKey=secp384r1,",
		"ecPublicKey=,secp384r1", "noSuchName=secp384r1", "1.2.3=utf8:", "1.2.3=utf8:\xff", "1.2.3=utf8:a\nb",
		"3.1", "1.2.", "1", "1.2.3=bmp:x" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		const char *const entries[] = { "challengePassword", bad[i] };
		struct buf out = { 0 };
		struct err e = { 0 };

		if (est_csrattrs_encode(entries, 2, &out, &e) == 0)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(e.code, ERR_MALFORMED);
		assert_int_equal(e.text[0], '"');
		assert_int_equal(out.len, 0);
		buf_free(&out);
	}
}

static void
est_csrattrs_encode_limits_entries_and_values(void **state)
{
	const char *entries[EST_CSRATTRS_MAX + 1];
	struct buf out = { 0 }, many = { 0 };
	struct err e = { 0 };
	const char *text;
	size_t i;

	(void)state;
	for (i = 0; i <= EST_CSRATTRS_MAX; i++)
		entries[i] = "1.2.3";
	assert_int_equal(est_csrattrs_encode(entries, EST_CSRATTRS_MAX, &out, &e), 0);
	assert_int_equal(est_csrattrs_encode(entries, EST_CSRATTRS_MAX + 1, &out, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	buf_append_text(&many, "1.2.3=1.2");
	for (i = 0; i < 40; i++)
		buf_append_text(&many, ",1.2");
	text = buf_text(&many);
	assert_int_equal(est_csrattrs_encode(&text, 1, &out, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	buf_free(&out);
	buf_free(&many);
}

static void
est_csrattrs_decode_prints_the_example_of_the_rfc(void **state)
{
	struct buf out = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(est_csrattrs_decode(bytes_of(rfc_example, sizeof rfc_example), &out, &e), 0);
	assert_string_equal(buf_text(&out), "challengePassword\n"
					    "ecPublicKey = secp384r1\n"
					    "extensionRequest = macAddress\n"
					    "ecdsaWithSHA384\n");
	buf_free(&out);
}

static void
est_csrattrs_decode_escapes_what_the_server_sent(void **state)
{
	static const char *const entries[] = { "1.2.3=utf8:caf\xc3\xa9" };
	static const uint8_t integer[] = { 0x30, 0x0b, 0x30, 0x09, 0x06, 0x02, 0x2a, 0x03, 0x31, 0x03, 0x02, 0x01,
		0x7f };
	struct buf der = { 0 }, out = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(est_csrattrs_encode(entries, 1, &der, &e), 0);
	assert_int_equal(est_csrattrs_decode(buf_bytes(&der), &out, &e), 0);
	assert_string_equal(buf_text(&out), "1.2.3 = \"caf\\xc3\\xa9\"\n");
	buf_clear(&out);
	assert_int_equal(est_csrattrs_decode(bytes_of(integer, sizeof integer), &out, &e), 0);
	assert_string_equal(buf_text(&out), "1.2.3 = INTEGER(7f)\n");
	buf_free(&der);
	buf_free(&out);
}

static void
est_csrattrs_decode_refuses_what_is_no_csrattrs(void **state)
{
	static const struct bytes bad[] = {
		{ NULL, 0 },
		{ (const uint8_t *)"\x31\x00", 2 },
		{ (const uint8_t *)"\x30\x03\x02\x01\x00", 5 },
		{ (const uint8_t *)"\x30\x0c\x04\x0a\x30\x08\x06\x02\x2a\x03\x31\x02\x05\x00", 14 },
		{ (const uint8_t *)"\x30\x80\x00\x00", 4 },
		{ (const uint8_t *)"\x30\x00\x00", 3 },
		{ (const uint8_t *)"\x30\x04\x30\x02\x05\x00", 6 },
		{ (const uint8_t *)"\x06\x02\x2a\x03", 4 },
	};
	struct buf out = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct err e = { 0 };

		assert_int_equal(est_csrattrs_decode(bad[i], &out, &e), -1);
		assert_int_equal(e.code, ERR_MALFORMED);
		assert_int_equal(out.len, 0);
		assert_false(est_csrattrs_asks(bad[i], "1.2.3"));
	}
	buf_free(&out);
}

static void
est_csrattrs_decode_limits_the_entries(void **state)
{
	struct buf der = { 0 }, out = { 0 };
	size_t mark = der_begin(&der, DER_SEQUENCE);
	struct err e = { 0 };
	int i;

	(void)state;
	for (i = 0; i <= EST_CSRATTRS_MAX; i++)
		der_put_oid(&der, "1.2.3");
	der_end(&der, mark);
	assert_int_equal(est_csrattrs_decode(buf_bytes(&der), &out, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	buf_free(&der);
	buf_free(&out);
}

static void
est_csrattrs_asks_looks_at_oids_and_attribute_types(void **state)
{
	struct bytes der = bytes_of(rfc_example, sizeof rfc_example);

	(void)state;
	assert_true(est_csrattrs_asks(der, "1.2.840.113549.1.9.7"));
	assert_true(est_csrattrs_asks(der, "1.2.840.10045.2.1"));
	assert_true(est_csrattrs_asks(der, "1.2.840.10045.4.3.3"));
	assert_false(est_csrattrs_asks(der, "1.3.132.0.34"));
	assert_false(est_csrattrs_asks(der, "1.2.840.113549.1.9.16.2.58"));
	assert_false(est_csrattrs_asks(der, "nonsense"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(est_csrattrs_encode_gives_the_example_of_the_rfc),
		cmocka_unit_test(est_csrattrs_encode_of_nothing_is_an_empty_sequence),
		cmocka_unit_test(est_csrattrs_encode_knows_names_in_every_spelling),
		cmocka_unit_test(est_csrattrs_encode_sorts_values),
		cmocka_unit_test(est_csrattrs_encode_writes_text_values),
		cmocka_unit_test(est_csrattrs_encode_names_the_bad_entry),
		cmocka_unit_test(est_csrattrs_encode_limits_entries_and_values),
		cmocka_unit_test(est_csrattrs_decode_prints_the_example_of_the_rfc),
		cmocka_unit_test(est_csrattrs_decode_escapes_what_the_server_sent),
		cmocka_unit_test(est_csrattrs_decode_refuses_what_is_no_csrattrs),
		cmocka_unit_test(est_csrattrs_decode_limits_the_entries),
		cmocka_unit_test(est_csrattrs_asks_looks_at_oids_and_attribute_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
