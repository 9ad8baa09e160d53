#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "est/csr.h"
#include "tests/unit/est_make.h"

#define OID_ATTESTATION "1.2.840.113549.1.9.16.2.59"
/* What policy/attest reads of a bundle at most. */
#define BUNDLE_OCTETS 24576

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
static struct est_csr *
parsed(struct buf *attributes, enum est_csr_mode mode)
{
	struct buf der = { 0 };
	struct est_csr *csr = NULL;
	struct err e = { 0 };

	make_request(&der, key, attributes);
	if (est_csr_parse(buf_bytes(&der), mode, &csr, &e) != 0)
		fail_msg("%s", e.text);
	buf_free(&der);
	buf_free(attributes);
	return csr;
}

/* Frees attributes. */
static void
assert_refused(struct buf *attributes, const char *text)
{
	static const enum est_csr_mode modes[] = { EST_CSR_PROVEN, EST_CSR_IGNORE_KEY };
	struct est_csr *csr = NULL;
	struct buf der = { 0 };
	size_t i;

	make_request(&der, key, attributes);
	for (i = 0; i < sizeof modes / sizeof modes[0]; i++) {
		struct err e = { 0 };

		assert_int_equal(est_csr_parse(buf_bytes(&der), modes[i], &csr, &e), -1);
		assert_int_equal(e.code, ERR_MALFORMED);
		assert_string_equal(e.text, text);
		assert_null(csr);
	}
	buf_free(&der);
	buf_free(attributes);
}

/* A SEQUENCE of exactly len octets, tag and length included; len above 260. */
static void
put_bundle(struct buf *out, size_t len)
{
	size_t outer = der_begin(out, DER_SEQUENCE), inner = der_begin(out, DER_OCTET_STRING);
	size_t i;

	for (i = 0; i < len - 8; i++)
		buf_append_u8(out, (uint8_t)i);
	der_end(out, inner);
	der_end(out, outer);
}

static void
est_csr_gives_the_value_of_the_attestation_attribute(void **state)
{
	static const uint8_t value[] = { 0x30, 0x08, 0x30, 0x06, 0x30, 0x04, 0x06, 0x02, 0x2a, 0x03 };
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	struct buf attributes = { 0 };

	(void)state;
	make_attribute(&attributes, OID_ATTESTATION, bytes_of(value, sizeof value));
	make_text_attribute(&attributes, OID_CHALLENGE, DER_UTF8_STRING, bytes_of_text("secret"));
	csr = parsed(&attributes, EST_CSR_PROVEN);
	assert_true(bytes_equal(csr->attestation, bytes_of(value, sizeof value)));
	assert_true(bytes_equal_text(csr->challenge, "secret"));
}

static void
est_csr_has_no_attestation_where_there_is_none(void **state)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	struct buf attributes = { 0 };

	(void)state;
	make_text_attribute(&attributes, OID_CHALLENGE, DER_UTF8_STRING, bytes_of_text("secret"));
	csr = parsed(&attributes, EST_CSR_PROVEN);
	assert_int_equal(csr->attestation.len, 0);
}

static void
est_csr_refuses_a_second_attestation(void **state)
{
	struct buf attributes = { 0 };

	(void)state;
	make_attribute(&attributes, OID_ATTESTATION, bytes_of("\x30\x00", 2));
	make_attribute(&attributes, OID_ATTESTATION, bytes_of("\x30\x00", 2));
	assert_refused(&attributes, "attestation stands there twice");
	make_attribute(&attributes, OID_ATTESTATION, bytes_of("\x30\x00\x30\x02\x05\x00", 6));
	assert_refused(&attributes, "attestation has 2 values; it must have one");
	make_attribute(&attributes, OID_ATTESTATION, bytes_of(NULL, 0));
	assert_refused(&attributes, "attestation has 0 values; it must have one");
}

static void
est_csr_refuses_an_attestation_that_is_no_sequence(void **state)
{
	static const struct bytes values[] = {
		{ (const uint8_t *)"\x04\x02\x30\x00", 4 },
		{ (const uint8_t *)"\x05\x00", 2 },
		{ (const uint8_t *)"\x31\x00", 2 },
		{ (const uint8_t *)"\xa0\x02\x30\x00", 4 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof values / sizeof values[0]; i++) {
		struct buf attributes = { 0 };

		make_attribute(&attributes, OID_ATTESTATION, values[i]);
		assert_refused(&attributes, "attestation: its value is not a SEQUENCE");
	}
}

/* A signature that covers other evidence than what came must not pass. */
static void
est_csr_refuses_evidence_changed_after_signing(void **state)
{
	struct buf attributes = { 0 }, der = { 0 };
	struct est_csr *csr = NULL;
	struct err e = { 0 };
	struct buf value = { 0 };
	size_t i, changed = 0;

	(void)state;
	put_bundle(&value, 300);
	make_attribute(&attributes, OID_ATTESTATION, buf_bytes(&value));
	make_request(&der, key, &attributes);
	for (i = 0; i + 3 < der.len && changed == 0; i++)
		if (memcmp(der.at + i, "\x10\x11\x12", 3) == 0) {
			der.at[i] ^= 1;
			changed = i;
		}
	assert_true(changed > 0);
	assert_int_equal(est_csr_parse(buf_bytes(&der), EST_CSR_PROVEN, &csr, &e), -1);
	assert_int_equal(e.code, ERR_UNAUTHENTIC);
	buf_free(&value);
	buf_free(&attributes);
	buf_free(&der);
}

/* The largest bundle beside the largest challenge, and an RSA-4096 key's two times 512 octets, stay under the limit. */
static void
est_csr_has_room_for_the_largest_bundle(void **state)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	char challenge[EST_CHALLENGE_MAX / 2];
	struct buf attributes = { 0 }, value = { 0 };

	(void)state;
	memset(challenge, 'c', sizeof challenge);
	put_bundle(&value, BUNDLE_OCTETS);
	assert_int_equal(value.len, BUNDLE_OCTETS);
	make_attribute(&attributes, OID_ATTESTATION, buf_bytes(&value));
	make_text_attribute(&attributes, OID_CHALLENGE, DER_UTF8_STRING, bytes_of(challenge, sizeof challenge));
	csr = parsed(&attributes, EST_CSR_PROVEN);
	assert_true(bytes_equal(csr->attestation, buf_bytes(&value)));
	assert_true(csr->der.len + 2048 < EST_CSR_MAX);
	buf_free(&value);
}

static void
est_csr_gives_the_attestation_also_where_key_and_signature_do_not_count(void **state)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	struct buf attributes = { 0 };

	(void)state;
	make_attribute(&attributes, OID_ATTESTATION, bytes_of("\x30\x02\x05\x00", 4));
	csr = parsed(&attributes, EST_CSR_IGNORE_KEY);
	assert_true(bytes_equal(csr->attestation, bytes_of("\x30\x02\x05\x00", 4)));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(est_csr_gives_the_value_of_the_attestation_attribute),
		cmocka_unit_test(est_csr_has_no_attestation_where_there_is_none),
		cmocka_unit_test(est_csr_refuses_a_second_attestation),
		cmocka_unit_test(est_csr_refuses_an_attestation_that_is_no_sequence),
		cmocka_unit_test(est_csr_refuses_evidence_changed_after_signing),
		cmocka_unit_test(est_csr_has_room_for_the_largest_bundle),
		cmocka_unit_test(est_csr_gives_the_attestation_also_where_key_and_signature_do_not_count),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
