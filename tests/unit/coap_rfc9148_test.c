/* The examples of RFC 9148, appendices A and B, octet by octet. */
#define _GNU_SOURCE
#include "tests/unit/coap_server_fixture.h"
#include "tests/unit/coap_rfc9148.h"

#include "coap/exchange.h"
#include "est/body.h"
#include "est/csr.h"
#include "est/csrattrs.h"

#define VECTOR_MAX 700

/* The octets that the hexadecimal text stands for. */
struct vector {
	uint8_t octets[VECTOR_MAX];
	struct bytes bytes;
};

static struct bytes
unhex(struct vector *v, const char *hex)
{
	size_t len = strlen(hex) / 2;
	struct err e;

	assert_true(len <= sizeof v->octets);
	assert_int_equal(hex_decode(bytes_of_text(hex), v->octets, len, &e), 0);
	v->bytes = bytes_of(v->octets, len);
	return v->bytes;
}

/* The one certificate of a certs-only answer, and that writing it so again can be read again. */
static X509 *
only_cert(struct bytes der)
{
	STACK_OF(X509) *certs = NULL, *again = NULL;
	CLEANUP(buf) struct buf leaf = { 0 }, out = { 0 };
	struct err e = { 0 };
	struct bytes list[1];
	X509 *cert;

	if (est_certs_decode(der, &certs, &e) != 0)
		fail_msg("%s", e.text);
	assert_int_equal(sk_X509_num(certs), 1);
	cert = sk_X509_pop(certs);
	assert_int_equal(x509_to_der(cert, &leaf, &e), 0);
	list[0] = buf_bytes(&leaf);
	assert_int_equal(est_certs_encode(list, 1, &out, &e), 0);
	assert_int_equal(est_certs_decode(buf_bytes(&out), &again, &e), 0);
	assert_int_equal(X509_cmp(sk_X509_value(again, 0), cert), 0);
	x509_stack_free(certs);
	x509_stack_free(again);
	return cert;
}

static void
assert_named(const X509_NAME *name, const char *expected)
{
	char text[256];

	x509_name_text(name, text, sizeof text);
	assert_string_equal(text, expected);
}

/* ---- appendix A */

static void
coap_a1_crts_is_one_ca_certificate(void **state)
{
	char serial[SERIAL_HEX_MAX];
	struct vector v;
	struct err e;
	X509 *cert;

	(void)state;
	cert = only_cert(unhex(&v, rfc9148_a1_crts));
	/* As appendix C.1 tells them. */
	assert_int_equal(x509_serial_hex(cert, serial, &e), 0);
	assert_string_equal(serial, "0b8bb0fe604f6a1e");
	assert_named(X509_get_subject_name(cert), "CN=Root CA,OU=certification,O=Example Inc,L=LA,ST=CA,C=US");
	assert_int_equal(X509_check_ca(cert), 1);
	assert_int_equal(X509_verify(cert, X509_get0_pubkey(cert)), 1);
	X509_free(cert);
}

/* The message of A.1, and how the answer to it begins there; on the wire, through DTLS. */
static void
coap_a1_exchange_is_the_one_of_the_rfc_on_the_wire(void **state)
{
	static const uint8_t request[] = { 0x41, 0x01, 0x12, 0x34, 0x9a, 0x3b, 'e', 'x', 'a', 'm', 'p', 'l', 'e', '.', 'c',
		'o', 'm', 0x42, 0x23, 0x7d, 0x43, 'e', 's', 't', 0x04, 'c', 'r', 't', 's', 0x62, 0x01, 0x19 };
	static const uint8_t head[] = { 0x61, 0x45, 0x12, 0x34, 0x9a, 0xc2, 0x01, 0x19, 0xff };
	struct fixture *f = *state;
	struct client c;
	struct answer a;
	struct vector v;
	struct draft d = { .len = sizeof request };

	f->answer_body = unhex(&v, rfc9148_a1_crts);
	fixture_connect(f, &c);
	memcpy(d.octets, request, sizeof request);
	client_ask(&c, &d, &a);
	assert_int_equal(seen(f)->op, COAPS_OP_CRTS);
	assert_int_equal(seen(f)->accept, COAPS_FORMAT_CERTS);
	assert_memory_equal(a.octets, head, sizeof head);
	assert_ptr_equal(a.payload.at, a.octets + sizeof head);
	assert_true(bytes_equal(a.payload, f->answer_body));
	client_close(&c);
}

static void
coap_a2_request_is_one_that_proves_its_key(void **state)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	struct err e = { 0 };
	struct vector v;

	(void)state;
	if (est_csr_parse(unhex(&v, rfc9148_a2_csr), EST_CSR_PROVEN, &csr, &e) != 0)
		fail_msg("%s", e.text);
	assert_named(csr->subject, "serialNumber=Wt1234,OU=IoT,O=example Inc,L=LA,ST=CA,C=US");
	assert_int_equal(csr->facts.kind, KEY_EC_P256);
	/* "a challengePassword, which is used for POP linking" */
	assert_true(csr->challenge.len > 0);
	/* "an id-on-hardwareModuleName hardware identifier" */
	assert_int_equal(sk_X509_EXTENSION_num(csr->extensions), 1);
}

static void
coap_a2_answer_certifies_the_key_of_the_request(void **state)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	struct vector request, answer;
	struct err e;
	X509 *cert;

	(void)state;
	assert_int_equal(est_csr_parse(unhex(&request, rfc9148_a2_csr), EST_CSR_PROVEN, &csr, &e), 0);
	cert = only_cert(unhex(&answer, rfc9148_a2_cert));
	assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(cert), csr->key), 1);
	assert_int_equal(X509_NAME_cmp(X509_get_subject_name(cert), csr->subject), 0);
	assert_named(X509_get_issuer_name(cert), "CN=802.1AR CA,OU=certification,O=Example Inc,ST=CA,C=US");
	X509_free(cert);
}

static void
coap_a3_request_wants_a_key(void **state)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	struct err e = { 0 };
	struct vector v;

	(void)state;
	if (est_csr_parse(unhex(&v, rfc9148_a3_csr), EST_CSR_IGNORE_KEY, &csr, &e) != 0)
		fail_msg("%s", e.text);
	assert_named(csr->subject, "O=skg example");
	assert_null(csr->key);
}

static void
coap_a3_answer_is_read_and_written_octet_by_octet(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	CLEANUP(buf) struct buf out = { 0 };
	struct coaps_multipart parts = { 0 };
	struct vector v;
	const uint8_t *p;
	struct err e;
	X509 *cert;

	(void)state;
	assert_int_equal(coaps_multipart_parse(unhex(&v, rfc9148_a3_answer), &parts, &e), 0);
	assert_int_equal(parts.key_format, COAPS_FORMAT_KEY);
	assert_int_equal(parts.cert_format, COAPS_FORMAT_CERTS);
	assert_true(parts.key.len == 138 && parts.cert.len == 467);
	p = parts.key.at;
	key = d2i_AutoPrivateKey(NULL, &p, (long)parts.key.len);
	assert_ptr_equal(p, parts.key.at + parts.key.len);
	cert = only_cert(parts.cert);
	assert_int_equal(X509_check_private_key(cert, key), 1);
	X509_free(cert);
	coaps_multipart_write(&out, parts.key_format, parts.key, parts.cert_format, parts.cert);
	assert_true(bytes_equal(buf_bytes(&out), v.bytes));
}

static void
coap_a4_attributes_are_read(void **state)
{
	CLEANUP(buf) struct buf text = { 0 };
	struct err e = { 0 };
	struct vector v;

	(void)state;
	if (est_csrattrs_decode(unhex(&v, rfc9148_a4_att), &text, &e) != 0)
		fail_msg("%s", e.text);
	assert_string_equal(buf_text(&text), "macAddress\n"
		"2.999.1 = \"Parse SET as 2.999.1 data\"\n"
		"challengePassword\n"
		"2.999.2 = 2.999.3, 2.999.4, \"Parse SET as 2.999.2 data\"\n"
		"brainpoolP384r1\n"
		"sha384\n");
}

/* ---- appendix B */

static const struct coaps_exchange_limits limits = { .body_max = COAPS_BODY_MAX, .message_max = 1152 };

static struct coaps_message
message_of(int method, enum coaps_op op, uint16_t id)
{
	return (struct coaps_message){
		.confirmable = true,
		.id = id,
		.token = { 0x9a },
		.token_len = 1,
		.target = { .method = method, .op = op },
		.content_format = method == COAPS_POST ? COAPS_FORMAT_CSR : COAPS_FORMAT_NONE,
		.accept = COAPS_FORMAT_CERTS,
	};
}

/* Block num of an answer, asked for; its Block2 option and its payload. */
static void
expect_block2(const struct coaps_reply *reply, int code, uint8_t option, struct bytes payload)
{
	uint8_t value[3];

	assert_int_equal(reply->as, COAPS_SEND_ACK);
	assert_int_equal(reply->code, code);
	assert_int_equal(reply->token[0], 0x9a);
	assert_true(reply->has_block2);
	assert_int_equal(coaps_block_encode(&reply->block2, value), option == 0 ? 0 : 1);
	assert_int_equal(value[0], option);
	assert_int_equal(reply->content_format, COAPS_FORMAT_CERTS);
	assert_true(bytes_equal(reply->payload, payload));
}

/* "The transfer of the 10 blocks with partially filled block NUM=9", of which the first two and the last are printed. */
static void
coap_b1_crts_comes_in_ten_blocks(void **state)
{
	struct coaps_answer answer = { .code = 205, .content_format = COAPS_FORMAT_CERTS };
	struct coaps_exchange *x = coaps_exchange_new(&limits);
	struct coaps_message m = message_of(COAPS_GET, COAPS_OP_CRTS, 0);
	struct vector block[10] = { 0 };
	struct coaps_reply reply;
	struct coaps_run run;
	uint8_t num;

	(void)state;
	for (num = 0; num < 10; num++)
		(void)unhex(&block[num], num == 0 ? rfc9148_b1_block0 : num == 1 ? rfc9148_b1_block1 : rfc9148_b1_block9);
	for (num = 2; num < 9; num++) {
		memset(block[num].octets, num, 64);
		block[num].bytes.len = 64;
	}
	for (num = 0; num < 10; num++)
		buf_append_bytes(&answer.body, block[num].bytes);
	assert_int_equal(answer.body.len, 639);
	for (num = 0; num < 10; num++) {
		m.id++;
		m.has_block2 = true;
		m.block2 = (struct coaps_block){ .num = num, .szx = 2 };
		if (num > 0) {
			assert_int_equal(coaps_exchange_feed(x, &m, 1000, &reply, &run), COAPS_STEP_REPLY);
		} else {
			assert_int_equal(coaps_exchange_feed(x, &m, 1000, &reply, &run), COAPS_STEP_RUN);
			assert_true(coaps_exchange_answer(x, run.ticket, &answer, 1000, &reply));
		}
		/* 0x0A, 0x1A, ... and 0x92 */
		expect_block2(&reply, 205, (uint8_t)(num << 4 | (num < 9 ? 8 : 0) | 2), block[num].bytes);
	}
	coaps_exchange_free(x);
}

/* Figure 6, with the request and the answer of A.2: N1 is 1, N2 is 2. */
static void
coap_b2_enrollment_negotiates_blocks_of_256_octets_both_ways(void **state)
{
	struct coaps_answer answer = { .code = 204, .content_format = COAPS_FORMAT_CERTS };
	struct coaps_exchange *x = coaps_exchange_new(&limits);
	struct coaps_message m = message_of(COAPS_POST, COAPS_OP_SEN, 1);
	struct vector request, cert;
	struct coaps_reply reply;
	struct coaps_run run;

	(void)state;
	(void)unhex(&request, rfc9148_a2_csr);
	buf_append_bytes(&answer.body, unhex(&cert, rfc9148_a2_cert));
	/* "the requested Block2 size of 256 [...] is transferred to the server in the very first request message" */
	m.has_block1 = m.has_block2 = true;
	m.block1 = (struct coaps_block){ .num = 0, .more = true, .szx = 4 };
	m.block2 = (struct coaps_block){ .szx = 4 };
	m.payload = bytes_of(request.octets, 256);
	assert_int_equal(coaps_exchange_feed(x, &m, 1000, &reply, &run), COAPS_STEP_REPLY);
	assert_true(reply.code == 231 && reply.as == COAPS_SEND_ACK);
	assert_true(reply.has_block1 && reply.block1.num == 0 && reply.block1.more && reply.block1.szx == 4);

	m.id++;
	m.has_block2 = false;
	m.block1 = (struct coaps_block){ .num = 1, .more = false, .szx = 4 };
	m.payload = bytes_of(request.octets + 256, request.bytes.len - 256);
	assert_int_equal(coaps_exchange_feed(x, &m, 1000, &reply, &run), COAPS_STEP_RUN);
	assert_true(bytes_equal(buf_bytes(&run.body), request.bytes));
	buf_free(&run.body);
	assert_true(coaps_exchange_answer(x, run.ticket, &answer, 1000, &reply));
	assert_true(reply.has_block1 && reply.block1.num == 1 && !reply.block1.more && reply.block1.szx == 4);
	expect_block2(&reply, 204, 0x0c, bytes_of(cert.octets, 256));

	m.has_block1 = false;
	m.has_block2 = true;
	m.payload = bytes_of(NULL, 0);
	for (m.block2 = (struct coaps_block){ .num = 1, .szx = 4 }; m.block2.num <= 2; m.block2.num++) {
		size_t at = 256 * (size_t)m.block2.num, left = cert.bytes.len - at;

		m.id++;
		assert_int_equal(coaps_exchange_feed(x, &m, 1000, &reply, &run), COAPS_STEP_REPLY);
		expect_block2(&reply, 204, m.block2.num == 1 ? 0x1c : 0x24, bytes_of(cert.octets + at, left < 256 ? left : 256));
	}
	coaps_exchange_free(x);
}

static int
init(void **state)
{
	struct err e;

	(void)state;
	return ossl_init(&e) != 0 || key_init(&e) != 0 ? -1 : 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(coap_a1_crts_is_one_ca_certificate),
		TEST(coap_a1_exchange_is_the_one_of_the_rfc_on_the_wire),
		cmocka_unit_test(coap_a2_request_is_one_that_proves_its_key),
		cmocka_unit_test(coap_a2_answer_certifies_the_key_of_the_request),
		cmocka_unit_test(coap_a3_request_wants_a_key),
		cmocka_unit_test(coap_a3_answer_is_read_and_written_octet_by_octet),
		cmocka_unit_test(coap_a4_attributes_are_read),
		cmocka_unit_test(coap_b1_crts_comes_in_ten_blocks),
		cmocka_unit_test(coap_b2_enrollment_negotiates_blocks_of_256_octets_both_ways),
	};

	return cmocka_run_group_tests_name("coap rfc 9148", tests, init, NULL);
}
