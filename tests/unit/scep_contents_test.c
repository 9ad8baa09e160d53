/* What CertPoll, GetCert and GetCRL carry; and the names of things. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/der.h"
#include "scep/message.h"

static void
put_name(struct buf *out, const char *cn)
{
	size_t rdns = der_begin(out, DER_SEQUENCE), rdn = der_begin(out, DER_SET), pair = der_begin(out, DER_SEQUENCE);

	der_put_oid(out, "2.5.4.3");
	der_put(out, DER_UTF8_STRING, bytes_of_text(cn));
	der_end(out, pair);
	der_end(out, rdn);
	der_end(out, rdns);
}

/* Frees contents. */
static struct buf
sequence(struct buf *contents)
{
	struct buf out = { 0 };

	der_put(&out, DER_SEQUENCE, buf_bytes(contents));
	buf_free(contents);
	return out;
}

static void
assert_name(const X509_NAME *name, const char *text)
{
	char is[100];

	x509_name_text(name, is, sizeof is);
	assert_string_equal(is, text);
}

static void
scep_issuer_and_subject_has_both_names(void **state)
{
	CLEANUP(buf) struct buf der = { 0 };
	struct scep_issuer_and_subject ias = { 0 };
	struct buf contents = { 0 };
	struct err e;

	(void)state;
	put_name(&contents, "the CA");
	put_name(&contents, "device-1");
	der = sequence(&contents);
	assert_int_equal(scep_issuer_and_subject_parse(buf_bytes(&der), &ias, &e), 0);
	assert_name(ias.issuer, "CN=the CA");
	assert_name(ias.subject, "CN=device-1");
	scep_issuer_and_subject_free(&ias);
	assert_null(ias.issuer);
	scep_issuer_and_subject_free(&ias);
}

static void
scep_issuer_and_subject_refuses_one_name_three_and_octets_after_them(void **state)
{
	struct scep_issuer_and_subject ias = { 0 };
	struct err e;
	int names;

	(void)state;
	for (names = 0; names < 4; names++) {
		struct buf contents = { 0 }, der;
		int i;

		for (i = 0; i < names; i++)
			put_name(&contents, "x");
		der = sequence(&contents);
		if (names == 2)
			buf_append_u8(&der, 0);
		assert_int_equal(scep_issuer_and_subject_parse(buf_bytes(&der), &ias, &e), -1);
		assert_int_equal(e.code, ERR_MALFORMED);
		assert_null(ias.issuer);
		buf_free(&der);
	}
	assert_int_equal(scep_issuer_and_subject_parse(bytes_of(NULL, 0), &ias, &e), -1);
}

/* serial: the contents of the INTEGER. */
static int
serial_parse(struct bytes serial, struct scep_issuer_and_serial *out, struct err *e)
{
	struct buf contents = { 0 }, der;
	int result;

	put_name(&contents, "the CA");
	der_put(&contents, DER_INTEGER, serial);
	der = sequence(&contents);
	result = scep_issuer_and_serial_parse(buf_bytes(&der), out, e);
	buf_free(&der);
	return result;
}

static void
scep_issuer_and_serial_has_name_and_hexadecimal(void **state)
{
	static const struct {
		struct bytes serial;
		const char *hex;
	} good[] = {
		{ { (const uint8_t *)"\x01", 1 }, "01" },
		{ { (const uint8_t *)"\x00\xab", 2 }, "ab" },
		{ { (const uint8_t *)"\x0a\xbc", 2 }, "0abc" },
		{ { (const uint8_t *)"\x7f\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\xff", 20 },
			"7f0102030405060708090a0b0c0d0e0f101112ff" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct scep_issuer_and_serial ias = { 0 };
		struct err e;

		assert_int_equal(serial_parse(good[i].serial, &ias, &e), 0);
		assert_string_equal(ias.serial, good[i].hex);
		assert_name(ias.issuer, "CN=the CA");
		scep_issuer_and_serial_free(&ias);
		assert_null(ias.issuer);
	}
}

static void
scep_issuer_and_serial_refuses_serials_that_nobody_here_issued(void **state)
{
	static const uint8_t octets[32] = { 1 };
	struct scep_issuer_and_serial ias = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(serial_parse(bytes_of(octets, 21), &ias, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_int_equal(serial_parse(bytes_of(octets, 32), &ias, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_int_equal(serial_parse(bytes_of("\x80", 1), &ias, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_int_equal(serial_parse(bytes_of(NULL, 0), &ias, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_null(ias.issuer);
	assert_string_equal(ias.serial, "");
}

static void
scep_issuer_and_serial_refuses_octets_after_it_and_nesting(void **state)
{
	struct scep_issuer_and_serial ias = { 0 };
	struct buf contents = { 0 }, der;
	uint8_t bomb[200];
	struct err e;
	size_t i;

	(void)state;
	put_name(&contents, "the CA");
	der_put(&contents, DER_INTEGER, bytes_of("\x01", 1));
	der = sequence(&contents);
	buf_append_u8(&der, 0);
	assert_int_equal(scep_issuer_and_serial_parse(buf_bytes(&der), &ias, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	buf_free(&der);
	for (i = 0; i < sizeof bomb; i++)
		bomb[i] = i % 2 == 0 ? 0x30 : 0x80;
	assert_int_equal(scep_issuer_and_serial_parse(bytes_of(bomb, sizeof bomb), &ias, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
}

static void
scep_names_are_those_of_the_rfc(void **state)
{
	(void)state;
	assert_string_equal(scep_type_name(SCEP_CERT_REP), "CertRep");
	assert_string_equal(scep_type_name(SCEP_RENEWAL_REQ), "RenewalReq");
	assert_string_equal(scep_type_name(SCEP_PKCS_REQ), "PKCSReq");
	assert_string_equal(scep_type_name(SCEP_CERT_POLL), "CertPoll");
	assert_string_equal(scep_type_name(SCEP_GET_CERT), "GetCert");
	assert_string_equal(scep_type_name(SCEP_GET_CRL), "GetCRL");
	assert_string_equal(scep_type_name((enum scep_type)18), "unknown");
	assert_string_equal(scep_fail_name(SCEP_BAD_ALG), "badAlg");
	assert_string_equal(scep_fail_name(SCEP_BAD_MESSAGE_CHECK), "badMessageCheck");
	assert_string_equal(scep_fail_name(SCEP_BAD_REQUEST), "badRequest");
	assert_string_equal(scep_fail_name(SCEP_BAD_TIME), "badTime");
	assert_string_equal(scep_fail_name(SCEP_BAD_CERT_ID), "badCertId");
	assert_string_equal(scep_fail_name((enum scep_fail)5), "unknown");
}

static void
scep_every_algorithm_has_a_name_of_its_own(void **state)
{
	static const unsigned all = SCEP_ALGORITHMS_DEFAULT | SCEP_ALGORITHMS_LEGACY | SCEP_ALGORITHMS_CISCO;
	unsigned a, b;

	(void)state;
	assert_string_equal(scep_algorithm_name(SCEP_SHA256), "SHA-256");
	assert_string_equal(scep_algorithm_name(SCEP_3DES), "DES3");
	for (a = 1; a <= SCEP_AES256; a <<= 1) {
		assert_int_equal(strcmp(scep_algorithm_name(a), "unknown") == 0, (a & all) == 0);
		for (b = a << 1; b <= SCEP_AES256; b <<= 1)
			if ((a & all) != 0)
				assert_string_not_equal(scep_algorithm_name(a), scep_algorithm_name(b));
	}
	assert_string_equal(scep_algorithm_name(SCEP_MD5 | SCEP_SHA1), "unknown");
	assert_string_equal(scep_algorithm_name(0), "unknown");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scep_issuer_and_subject_has_both_names),
		cmocka_unit_test(scep_issuer_and_subject_refuses_one_name_three_and_octets_after_them),
		cmocka_unit_test(scep_issuer_and_serial_has_name_and_hexadecimal),
		cmocka_unit_test(scep_issuer_and_serial_refuses_serials_that_nobody_here_issued),
		cmocka_unit_test(scep_issuer_and_serial_refuses_octets_after_it_and_nesting),
		cmocka_unit_test(scep_names_are_those_of_the_rfc),
		cmocka_unit_test(scep_every_algorithm_has_a_name_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
