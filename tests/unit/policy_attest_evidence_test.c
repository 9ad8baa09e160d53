/* The attestation attribute: strict DER in, borrowed octets out. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/der.h"
#include "policy/attest/evidence.h"

static int
init(void **state)
{
	struct err e;

	(void)state;
	return ossl_init(&e);
}

static const uint8_t null_value[] = { 0x05, 0x00 };
static const uint8_t a_cert[] = { 0x30, 0x03, 0x02, 0x01, 0x2a };

/* A bundle of so many statements and certificates; certs < 0: an empty list. */
static void
put_bundle(struct buf *b, int statements, int certs, const char *type)
{
	size_t bundle = der_begin(b, DER_SEQUENCE), list = der_begin(b, DER_SEQUENCE), statement;
	int i;

	for (i = 0; i < statements; i++) {
		statement = der_begin(b, DER_SEQUENCE);
		der_put_oid(b, type);
		buf_append(b, null_value, sizeof null_value);
		der_end(b, statement);
	}
	der_end(b, list);
	if (certs != 0) {
		list = der_begin(b, DER_SEQUENCE);
		for (i = 0; i < certs; i++)
			buf_append(b, a_cert, sizeof a_cert);
		der_end(b, list);
	}
	der_end(b, bundle);
	assert_false(buf_failed(b));
}

/* Also: nothing is written on failure. */
static void
assert_refused(struct bytes in, enum err_code code)
{
	static struct evidence before, out;
	struct err e = { 0 };

	memset(&before, 0x5a, sizeof before);
	memcpy(&out, &before, sizeof out);
	assert_int_equal(evidence_parse(in, &out, &e), -1);
	if (e.code != code)
		fail_msg("%s instead of %s: %s", err_code_name(e.code), err_code_name(code), e.text);
	assert_memory_equal(&out, &before, sizeof out);
}

static void
assert_refused_hex(const char *hex, enum err_code code)
{
	uint8_t octets[128];
	struct err e;

	assert_int_equal(hex_decode(bytes_of_text(hex), octets, strlen(hex) / 2, &e), 0);
	assert_refused(bytes_of(octets, strlen(hex) / 2), code);
}

static void
evidence_parse_borrows_statements_and_certificates(void **state)
{
	CLEANUP(buf) struct buf b = { 0 };
	struct evidence out;
	struct err e;
	size_t i;

	(void)state;
	put_bundle(&b, 2, 3, EVIDENCE_ANDROID);
	assert_int_equal(evidence_parse(buf_bytes(&b), &out, &e), 0);
	assert_int_equal(out.statement_count, 2);
	assert_int_equal(out.cert_count, 3);
	assert_string_equal(out.statements[1].type, EVIDENCE_ANDROID);
	assert_true(bytes_equal(out.statements[1].stmt, bytes_of(null_value, sizeof null_value)));
	for (i = 0; i < 3; i++) {
		assert_true(bytes_equal(out.certs[i], bytes_of(a_cert, sizeof a_cert)));
		assert_true(out.certs[i].at >= b.at && out.certs[i].at + out.certs[i].len <= b.at + b.len);
	}
}

static void
evidence_encode_writes_what_evidence_parse_reads(void **state)
{
	static const char *const types[] = { EVIDENCE_TPM_CERTIFY, EVIDENCE_TPM_AK, EVIDENCE_ANDROID, EVIDENCE_YUBIKEY };
	CLEANUP(buf) struct buf b = { 0 };
	struct evidence in = { .cert_count = 1, .certs = { { a_cert, sizeof a_cert } } }, out;
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < EVIDENCE_STATEMENTS_MAX; i++) {
		(void)strcpy(in.statements[i].type, types[i]);
		in.statements[i].stmt = bytes_of(null_value, sizeof null_value);
	}
	in.statement_count = EVIDENCE_STATEMENTS_MAX;
	buf_append_u8(&b, 'x');
	assert_int_equal(evidence_encode(&in, &b, &e), 0);
	assert_int_equal(b.at[0], 'x');
	assert_int_equal(evidence_parse(bytes_of(b.at + 1, b.len - 1), &out, &e), 0);
	assert_int_equal(out.statement_count, EVIDENCE_STATEMENTS_MAX);
	for (i = 0; i < EVIDENCE_STATEMENTS_MAX; i++)
		assert_string_equal(out.statements[i].type, types[i]);
	assert_int_equal(out.cert_count, 1);
}

static void
evidence_encode_keeps_the_limits_of_evidence_parse(void **state)
{
	static uint8_t large[EVIDENCE_OCTETS_MAX];
	CLEANUP(buf) struct buf b = { 0 };
	struct evidence in = { .statement_count = 0 };
	struct err e;

	(void)state;
	assert_int_equal(evidence_encode(&in, &b, &e), -1);
	in.statement_count = 1;
	in.statements[0].stmt = bytes_of(null_value, sizeof null_value);
	(void)strcpy(in.statements[0].type, "no oid");
	assert_int_equal(evidence_encode(&in, &b, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	(void)strcpy(in.statements[0].type, EVIDENCE_ANDROID);
	in.certs[0] = bytes_of(large, sizeof large);
	in.cert_count = 1;
	assert_int_equal(evidence_encode(&in, &b, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	in.cert_count = EVIDENCE_CERTS_MAX + 1;
	assert_int_equal(evidence_encode(&in, &b, &e), -1);
	assert_int_equal(b.len, 0);
}

static void
evidence_parse_refuses_too_much(void **state)
{
	static uint8_t large[EVIDENCE_OCTETS_MAX + 1];
	CLEANUP(buf) struct buf b = { 0 };
	struct evidence out;
	struct err e;

	(void)state;
	assert_refused(bytes_of(large, sizeof large), ERR_LIMIT);
	put_bundle(&b, EVIDENCE_STATEMENTS_MAX + 1, 0, EVIDENCE_ANDROID);
	assert_refused(buf_bytes(&b), ERR_LIMIT);
	buf_clear(&b);
	put_bundle(&b, 1, EVIDENCE_CERTS_MAX + 1, EVIDENCE_ANDROID);
	assert_refused(buf_bytes(&b), ERR_LIMIT);
	buf_clear(&b);
	put_bundle(&b, EVIDENCE_STATEMENTS_MAX, EVIDENCE_CERTS_MAX, EVIDENCE_ANDROID);
	assert_int_equal(evidence_parse(buf_bytes(&b), &out, &e), 0);
}

static void
evidence_parse_refuses_statement_types_that_do_not_fit(void **state)
{
	CLEANUP(buf) struct buf b = { 0 };

	(void)state;
	put_bundle(&b, 1, 0, "1.2.268435455.268435455.268435455.268435455.268435455.268435455.268435455");
	assert_refused(buf_bytes(&b), ERR_LIMIT);
	buf_clear(&b);
	put_bundle(&b, 1, 0, "1.2.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1");
	assert_refused(buf_bytes(&b), ERR_LIMIT);
}

static void
evidence_parse_refuses_other_forms(void **state)
{
	CLEANUP(buf) struct buf b = { 0 };

	(void)state;
	put_bundle(&b, 0, 0, "");
	assert_refused(buf_bytes(&b), ERR_MALFORMED); /* no statement */
	buf_clear(&b);
	put_bundle(&b, 1, -1, EVIDENCE_ANDROID);
	assert_refused(buf_bytes(&b), ERR_MALFORMED); /* an empty list of certificates */
	buf_clear(&b);
	put_bundle(&b, 1, 1, EVIDENCE_ANDROID);
	buf_append_u8(&b, 0);
	assert_refused(buf_bytes(&b), ERR_MALFORMED); /* octets after it */
	assert_refused(bytes_of(NULL, 0), ERR_MALFORMED);
	assert_refused_hex("3000", ERR_MALFORMED);
	assert_refused_hex("0500", ERR_MALFORMED);
	assert_refused_hex("310a30083006060253010500", ERR_MALFORMED);         /* a SET */
	assert_refused_hex("300a31083006060253010500", ERR_MALFORMED);         /* statements in a SET */
	assert_refused_hex("300a30083106060253010500", ERR_MALFORMED);         /* a statement that is a SET */
	assert_refused_hex("30083006300406025301", ERR_MALFORMED);             /* no value */
	assert_refused_hex("300c300a30080602530105000500", ERR_MALFORMED);     /* two values */
	assert_refused_hex("300a30083006040253010500", ERR_MALFORMED);         /* the type is no OID */
	assert_refused_hex("300a30083006060280010500", ERR_MALFORMED);         /* an OID arc that begins with 80 */
	assert_refused_hex("300a30083006060253810500", ERR_MALFORMED);         /* an OID that ends in the middle */
	assert_refused_hex("300e30083006060253010500" "30020500", ERR_MALFORMED); /* a certificate that is NULL */
	assert_refused_hex("300e30083006060253010500" "3002a300", ERR_MALFORMED); /* another kind of certificate */
	assert_refused_hex("300e30083006060253010500" "31023000", ERR_MALFORMED); /* certificates in a SET */
	assert_refused_hex("300c30083006060253010500" "0500", ERR_MALFORMED);
	assert_refused_hex("301030083006060253010500" "300230000500", ERR_MALFORMED); /* a third member */
}

static void
evidence_parse_refuses_ber(void **state)
{
	struct evidence out;
	uint8_t good[12];
	struct err e;

	(void)state;
	assert_int_equal(hex_decode(bytes_of_text("300a30083006060253010500"), good, sizeof good, &e), 0);
	assert_int_equal(evidence_parse(bytes_of(good, sizeof good), &out, &e), 0);
	assert_string_equal(out.statements[0].type, "2.3.1");
	assert_refused_hex("308030083006060253010500" "0000", ERR_MALFORMED);  /* indefinite */
	assert_refused_hex("30810a30083006060253010500", ERR_MALFORMED);       /* a long form that could be short */
	assert_refused_hex("3082000a30083006060253010500", ERR_MALFORMED);
	assert_refused_hex("30840000000a30083006060253010500", ERR_MALFORMED);
	assert_refused_hex("30ff30083006060253010500", ERR_MALFORMED);
	assert_refused_hex("300a3008300606025301" "1f00", ERR_MALFORMED);      /* a tag of several octets */
	assert_refused_hex("300a3008300606025301" "0501", ERR_MALFORMED);      /* a value past the end */
}

static void
evidence_parse_refuses_long_lengths_with_leading_zeros(void **state)
{
	CLEANUP(buf) struct buf b = { 0 };
	struct evidence out;
	uint8_t wrong[200];
	struct err e;

	(void)state;
	put_bundle(&b, EVIDENCE_STATEMENTS_MAX, EVIDENCE_CERTS_MAX, "1.2.268435455.268435455.268435455.268435455.268435455");
	assert_int_equal(evidence_parse(buf_bytes(&b), &out, &e), 0);
	assert_true(b.len < sizeof wrong && b.at[1] == 0x81);
	wrong[0] = b.at[0];
	wrong[1] = 0x82;
	wrong[2] = 0;
	memcpy(wrong + 3, b.at + 2, b.len - 2);
	assert_refused(bytes_of(wrong, b.len + 1), ERR_MALFORMED);
}

static void
evidence_parse_refuses_every_beginning_of_a_bundle(void **state)
{
	CLEANUP(buf) struct buf b = { 0 };
	size_t len;

	(void)state;
	put_bundle(&b, 2, 2, EVIDENCE_ANDROID);
	for (len = 0; len < b.len; len++)
		assert_refused(bytes_of(b.at, len), ERR_MALFORMED);
}

static const struct evidence_tpm parts = { { (const uint8_t *)"\xff\x54", 2 }, { (const uint8_t *)"sig", 3 },
	{ (const uint8_t *)"\0\1pub", 5 } };

static void
evidence_tpm_encode_writes_what_evidence_tpm_parse_reads(void **state)
{
	CLEANUP(buf) struct buf b = { 0 };
	struct evidence_tpm in = parts, out;
	struct err e;

	(void)state;
	assert_int_equal(evidence_tpm_encode(&in, &b, &e), 0);
	assert_int_equal(evidence_tpm_parse(buf_bytes(&b), &out, &e), 0);
	assert_true(bytes_equal(out.attest, in.attest) && bytes_equal(out.signature, in.signature) &&
		bytes_equal(out.public_area, in.public_area));
	in.public_area.len = 0;
	buf_clear(&b);
	assert_int_equal(evidence_tpm_encode(&in, &b, &e), 0);
	assert_int_equal(evidence_tpm_parse(buf_bytes(&b), &out, &e), 0);
	assert_int_equal(out.public_area.len, 0);
}

static void
evidence_tpm_parse_takes_the_sizes_of_tpm2bs_off(void **state)
{
	struct evidence_tpm in = { { (const uint8_t *)"\0\2\xff\x54", 4 }, { (const uint8_t *)"\0\1s", 3 },
		{ (const uint8_t *)"\0\5\0\1pub", 7 } }, out;
	CLEANUP(buf) struct buf b = { 0 };
	struct bytes area;
	struct err e;

	(void)state;
	assert_int_equal(evidence_tpm_encode(&in, &b, &e), 0);
	assert_int_equal(evidence_tpm_parse(buf_bytes(&b), &out, &e), 0);
	assert_true(bytes_equal(out.attest, parts.attest) && bytes_equal(out.public_area, parts.public_area));
	assert_true(bytes_equal(out.signature, in.signature)); /* there is no TPM2B of signatures */
	buf_clear(&b);
	assert_int_equal(evidence_tpm_ak_encode(in.public_area, &b, &e), 0);
	assert_int_equal(evidence_tpm_ak_parse(buf_bytes(&b), &area, &e), 0);
	assert_true(bytes_equal(area, parts.public_area));
	buf_clear(&b);
	assert_int_equal(evidence_tpm_ak_encode(parts.public_area, &b, &e), 0);
	assert_int_equal(evidence_tpm_ak_parse(buf_bytes(&b), &area, &e), 0);
	assert_true(bytes_equal(area, parts.public_area));
}

static void
evidence_tpm_parse_refuses_other_forms(void **state)
{
	static const char *const wrong[] = { "", "0500", "3000", "3003040161", "3006040161040162" "00",
		"30060401610c0162", "3009040161040162" "0c0163", "300c040161040162040163040164",
		"30050400" "040162", "3005040161" "0400", "3008040161040162" "0400", "3106040161040162",
		"040161" };
	struct evidence_tpm out;
	uint8_t octets[64];
	struct bytes area;
	struct err e;
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		len = strlen(wrong[i]) / 2;
		assert_int_equal(hex_decode(bytes_of_text(wrong[i]), octets, len, &e), 0);
		assert_int_equal(evidence_tpm_parse(bytes_of(octets, len), &out, &e), -1);
		assert_int_equal(e.code, ERR_MALFORMED);
	}
	assert_int_equal(evidence_tpm_ak_parse(bytes_of("\x04\0", 2), &area, &e), -1);
	assert_int_equal(evidence_tpm_ak_parse(bytes_of("\x30\1a", 3), &area, &e), -1);
	assert_int_equal(evidence_tpm_ak_parse(bytes_of("\x04\1ab", 4), &area, &e), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(evidence_parse_borrows_statements_and_certificates),
		cmocka_unit_test(evidence_encode_writes_what_evidence_parse_reads),
		cmocka_unit_test(evidence_encode_keeps_the_limits_of_evidence_parse),
		cmocka_unit_test(evidence_parse_refuses_too_much),
		cmocka_unit_test(evidence_parse_refuses_statement_types_that_do_not_fit),
		cmocka_unit_test(evidence_parse_refuses_other_forms),
		cmocka_unit_test(evidence_parse_refuses_ber),
		cmocka_unit_test(evidence_parse_refuses_long_lengths_with_leading_zeros),
		cmocka_unit_test(evidence_parse_refuses_every_beginning_of_a_bundle),
		cmocka_unit_test(evidence_tpm_encode_writes_what_evidence_tpm_parse_reads),
		cmocka_unit_test(evidence_tpm_parse_takes_the_sizes_of_tpm2bs_off),
		cmocka_unit_test(evidence_tpm_parse_refuses_other_forms),
	};

	return cmocka_run_group_tests(tests, init, NULL);
}
