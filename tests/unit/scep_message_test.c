/* Parsing pkiMessages: what must be taken, and what there is nobody to answer for. */
#include "tests/unit/scep_message_fixture.h"

static void
scep_message_takes_every_type_of_request(void **state)
{
	static const struct {
		const char *text;
		enum scep_type type;
	} types[] = { { "17", SCEP_RENEWAL_REQ }, { "19", SCEP_PKCS_REQ }, { "20", SCEP_CERT_POLL },
		{ "21", SCEP_GET_CERT }, { "22", SCEP_GET_CRL } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof types / sizeof types[0]; i++) {
		CLEANUP(scep_message) struct scep_message *message = NULL;
		struct make m;
		struct err e;

		make_start(&m, key, cert, types[i].text);
		message = parse(&m);
		assert_int_equal(message->type, types[i].type);
		assert_string_equal(message->transaction, "transaction+/=1");
		assert_int_equal(message->sender_nonce_len, 16);
		assert_memory_equal(message->sender_nonce, MAKE_NONCE, 16);
		assert_int_equal(message->recipient_nonce_len, 0);
		assert_null(message->signer);
		assert_int_equal(scep_message_decode(message, &e), 0);
		assert_int_equal(X509_cmp(message->signer, cert), 0);
		assert_int_equal(sk_X509_num(message->certs), 1);
		assert_int_equal(message->digest, SCEP_SHA256);
		assert_int_equal(message->cipher, 0);
		assert_false(message->has_content);
		assert_false(message->self_signed);
		make_free(&m);
	}
}

static void
scep_message_takes_ber_with_indefinite_lengths_and_strings_in_pieces(void **state)
{
	CLEANUP(scep_message) struct scep_message *message = NULL;
	struct make_envelope inside = { .cert = ra, .ber = true };
	struct make m;

	(void)state;
	make_start(&m, key, cert, "19");
	m.ber = true;
	make_enveloped(&inside, bytes_of_text("contents of more than a hundred octets, so that the string has several "
		"pieces: ................................................................"), &m.content);
	message = parse(&m);
	assert_true(message->has_content);
	assert_int_equal(message->cipher, SCEP_AES128);
	make_free(&m);
}

static void
scep_message_takes_a_version_1_signer_with_a_serial_of_32_octets(void **state)
{
	CLEANUP(X509) X509 *odd = make_cert(key, "device-1", key, "device-1", 32, 0);
	CLEANUP(scep_message) struct scep_message *message = NULL;
	struct make m;
	struct err e;

	(void)state;
	make_start(&m, key, odd, "19");
	message = parse(&m);
	assert_null(message->signer);
	assert_int_equal(scep_message_decode(message, &e), 0);
	assert_int_equal(X509_cmp(message->signer, odd), 0);
	make_free(&m);
}

/* Whatever is not exactly one certificate of its own, in DER and with an RSA key, is decoded as any other. */
static void
scep_message_decodes_a_signer_unless_name_number_and_key_are_all_there_is(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *ec = EVP_EC_gen("P-256");
	CLEANUP(X509) X509 *elliptic = make_cert(ec, "device-1", ec, "device-1", 8, 2);
	CLEANUP(X509) X509 *spelled = X509_dup(cert);
	X509 *decoded[] = { ra, elliptic, spelled };
	size_t i;

	(void)state;
	/* The same name in another spelling is the same name, but not the same octets. */
	X509_NAME_ENTRY_free(X509_NAME_delete_entry(X509_get_subject_name(spelled), 0));
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(spelled), "CN", V_ASN1_PRINTABLESTRING,
		(const uint8_t *)"Device-1", -1, -1, 0), 1);
	assert_true(X509_sign(spelled, key, EVP_sha256()) > 0);
	for (i = 0; i < sizeof decoded / sizeof decoded[0]; i++) {
		CLEANUP(scep_message) struct scep_message *message = NULL;
		struct make m;

		make_start(&m, key, decoded[i], "19");
		message = parse(&m);
		assert_non_null(message->signer);
		assert_int_equal(X509_cmp(message->signer, decoded[i]), 0);
		make_free(&m);
	}
}

static void
scep_message_tells_the_key_of_a_signer_decoded_or_not(void **state)
{
	X509 *signers[] = { cert, ra };
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		CLEANUP(scep_message) struct scep_message *message = NULL;
		CLEANUP(buf) struct buf spki = { 0 };
		struct make m;
		struct err e;

		make_start(&m, key, signers[i], "19");
		message = parse(&m);
		assert_int_equal(message->signer == NULL, i == 0);
		assert_int_equal(scep_message_key(message, &spki, &e), 0);
		assert_true(rsa_public_is(scep_message_get0_rsa(message), buf_bytes(&spki)));
		assert_int_equal(scep_message_decode(message, &e), 0);
		assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(message->signer), key), 1);
		assert_true(rsa_public_is(scep_message_get0_rsa(message), buf_bytes(&spki)));
		make_free(&m);
	}
}

static void
scep_message_finds_the_signer_among_others_by_issuer_and_serial_or_key_id(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *other = EVP_RSA_gen(2048);
	CLEANUP(X509) X509 *same_name = make_cert(other, "device-1", other, "device-1", 9, 2);
	CLEANUP(X509) X509 *same_serial = make_cert(other, "device-2", other, "device-2", 8, 2);
	int key_id;

	(void)state;
	for (key_id = 0; key_id < 2; key_id++) {
		CLEANUP(scep_message) struct scep_message *message = NULL;
		struct make m;

		make_start(&m, key, cert, "19");
		m.key_id = key_id;
		buf_clear(&m.certs);
		make_add_cert(&m, same_name);
		make_add_cert(&m, same_serial);
		make_add_cert(&m, cert);
		message = parse(&m);
		assert_int_equal(sk_X509_num(message->certs), 3);
		assert_int_equal(X509_cmp(message->signer, cert), 0);
		make_free(&m);
	}
}

static void
scep_message_refuses_a_signer_whose_certificate_is_not_there(void **state)
{
	CLEANUP(X509) X509 *other_name = make_cert(key, "device-2", key, "device-2", 8, 2);
	CLEANUP(X509) X509 *other_number = make_cert(key, "device-1", key, "device-1", 9, 2);
	struct make m;

	(void)state;
	make_start(&m, key, cert, "19");
	buf_clear(&m.certs);
	refuse(&m, ERR_MALFORMED, "signer's certificate is not in the message");
	make_start(&m, key, cert, "19");
	buf_clear(&m.certs);
	make_add_cert(&m, ra);
	refuse(&m, ERR_MALFORMED, "signer's certificate is not in the message");
	/* Alone, and self-signed: another name, another number. */
	make_start(&m, key, cert, "19");
	buf_clear(&m.certs);
	make_add_cert(&m, other_name);
	refuse(&m, ERR_MALFORMED, "signer's certificate is not in the message");
	make_start(&m, key, cert, "19");
	buf_clear(&m.certs);
	make_add_cert(&m, other_number);
	refuse(&m, ERR_MALFORMED, "signer's certificate is not in the message");
}

static void
scep_message_refuses_none_and_two_signers(void **state)
{
	struct make m;

	(void)state;
	make_start(&m, key, cert, "19");
	m.signers = 0;
	refuse(&m, ERR_MALFORMED, "0 signers");
	make_start(&m, key, cert, "19");
	m.signers = 2;
	refuse(&m, ERR_MALFORMED, "2 signers");
}

static void
scep_message_counts_certificates_before_it_decodes_them(void **state)
{
	CLEANUP(scep_message) struct scep_message *message = NULL;
	struct make m;
	int i;

	(void)state;
	make_start(&m, key, cert, "19");
	for (i = 1; i < SCEP_CERTS_MAX; i++)
		make_add_cert(&m, ra);
	message = parse(&m);
	assert_int_equal(sk_X509_num(message->certs), SCEP_CERTS_MAX);
	/* One more, which is none: it must not be looked at. */
	der_put(&m.certs, DER_SEQUENCE, bytes_of("\x05\x00", 2));
	refuse(&m, ERR_LIMIT, "17 certificates");
	make_start(&m, key, cert, "19");
	der_put(&m.certs, DER_SEQUENCE, bytes_of("\x05\x00", 2));
	refuse(&m, ERR_MALFORMED, "certificate");
}

static void
scep_message_refuses_content_that_is_no_envelope(void **state)
{
	struct make_envelope inside = { .cert = ra, .inner_type = OID_SIGNED };
	struct make m;

	(void)state;
	make_start(&m, key, cert, "19");
	buf_append_text(&m.content, "a PKCS#10 request in the clear");
	refuse(&m, ERR_MALFORMED, "EnvelopedData");
	/* SignedData inside SignedData */
	make_start(&m, key, cert, "19");
	make_message(&m, &m.content);
	refuse(&m, ERR_MALFORMED, "EnvelopedData");
	make_start(&m, key, cert, "19");
	make_enveloped(&inside, bytes_of_text("x"), &m.content);
	refuse(&m, ERR_MALFORMED, "encrypted content is not data");
	/* the right envelope, called something else */
	inside.inner_type = NULL;
	make_start(&m, key, cert, "19");
	m.inner_type = OID_ENVELOPED;
	make_enveloped(&inside, bytes_of_text("x"), &m.content);
	refuse(&m, ERR_MALFORMED, "signed content is not data");
	inside.cert = ra;
	make_start(&m, key, cert, "19");
	make_enveloped(&inside, bytes_of_text("x"), &m.content);
	buf_append_u8(&m.content, 0);
	refuse(&m, ERR_MALFORMED, "octets after the end");
}

/* The first of these types in der becomes signedAndEnvelopedData, which has another structure by its name. */
static void
rename_type(struct buf *der, uint8_t type)
{
	const uint8_t oid[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, type };
	size_t i;

	for (i = 0; i + sizeof oid <= der->len; i++)
		if (memcmp(der->at + i, oid, sizeof oid) == 0) {
			der->at[i + sizeof oid - 1] = 4;
			return;
		}
	fail();
}

static void
scep_message_refuses_the_right_structure_under_another_name(void **state)
{
	struct make_envelope inside = { .cert = ra };
	struct scep_message *message = NULL;
	struct buf der = { 0 };
	struct make m;
	struct err e;

	(void)state;
	make_start(&m, key, cert, "19");
	make_message(&m, &der);
	rename_type(&der, 2);
	assert_int_equal(scep_message_parse(buf_bytes(&der), &message, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	buf_free(&der);
	make_enveloped(&inside, bytes_of_text("x"), &m.content);
	rename_type(&m.content, 3);
	refuse(&m, ERR_MALFORMED, "content type is not envelopedData");
}

static void
scep_message_takes_absent_and_empty_content_alike(void **state)
{
	int absent;

	(void)state;
	for (absent = 0; absent < 2; absent++) {
		CLEANUP(scep_message) struct scep_message *message = NULL;
		struct make m;

		make_start(&m, key, cert, "20");
		m.no_content = absent;
		message = parse(&m);
		assert_false(message->has_content);
		make_free(&m);
	}
}

static void
scep_message_refuses_octets_after_it_and_every_cut(void **state)
{
	CLEANUP(buf) struct buf der = { 0 };
	struct scep_message *message = NULL;
	struct make m;
	struct err e;
	size_t i;

	(void)state;
	make_start(&m, key, cert, "19");
	make_message(&m, &der);
	for (i = 0; i < der.len; i += i < 64 ? 1 : 29) {
		assert_int_equal(scep_message_parse(bytes_of(der.at, i), &message, &e), -1);
		assert_int_equal(e.code, ERR_MALFORMED);
	}
	buf_append_u8(&der, 0);
	assert_int_equal(scep_message_parse(buf_bytes(&der), &message, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_null(message);
	make_free(&m);
}

static void
scep_message_refuses_what_is_too_long_whatever_it_is(void **state)
{
	struct scep_message *message = NULL;
	struct make m;
	struct err e;
	uint8_t *zeros = calloc(1, SCEP_MESSAGE_MAX + 1);

	(void)state;
	assert_int_equal(scep_message_parse(bytes_of(zeros, SCEP_MESSAGE_MAX + 1), &message, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	make_start(&m, key, cert, "19");
	make_value(&m.attributes, OID_SIGNING_TIME, DER_OCTET_STRING, bytes_of(zeros, SCEP_MESSAGE_MAX));
	refuse(&m, ERR_LIMIT, "at most 65536");
	free(zeros);
}

static void
scep_message_free_takes_null(void **state)
{
	(void)state;
	scep_message_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scep_message_takes_every_type_of_request),
		cmocka_unit_test(scep_message_takes_ber_with_indefinite_lengths_and_strings_in_pieces),
		cmocka_unit_test(scep_message_takes_a_version_1_signer_with_a_serial_of_32_octets),
		cmocka_unit_test(scep_message_decodes_a_signer_unless_name_number_and_key_are_all_there_is),
		cmocka_unit_test(scep_message_tells_the_key_of_a_signer_decoded_or_not),
		cmocka_unit_test(scep_message_finds_the_signer_among_others_by_issuer_and_serial_or_key_id),
		cmocka_unit_test(scep_message_refuses_a_signer_whose_certificate_is_not_there),
		cmocka_unit_test(scep_message_refuses_none_and_two_signers),
		cmocka_unit_test(scep_message_counts_certificates_before_it_decodes_them),
		cmocka_unit_test(scep_message_refuses_content_that_is_no_envelope),
		cmocka_unit_test(scep_message_refuses_the_right_structure_under_another_name),
		cmocka_unit_test(scep_message_takes_absent_and_empty_content_alike),
		cmocka_unit_test(scep_message_refuses_octets_after_it_and_every_cut),
		cmocka_unit_test(scep_message_refuses_what_is_too_long_whatever_it_is),
		cmocka_unit_test(scep_message_free_takes_null),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
