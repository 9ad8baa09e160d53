#include "devsim_scep_parties.h"

/* --- algorithms -------------------------------------------------------------- */

static void
scep_choose_takes_the_best_that_is_named(void **state)
{
	static const struct {
		unsigned named, digest, cipher;
	} servers[] = {
		{ SCEP_ALGORITHMS_DEFAULT | SCEP_ALGORITHMS_LEGACY, SCEP_SHA256, SCEP_AES128 },
		{ SCEP_ALGORITHMS_LEGACY, SCEP_SHA1, SCEP_3DES },
		{ SCEP_SHA512 | SCEP_SHA1 | SCEP_AES128, SCEP_SHA512, SCEP_AES128 },
	};
	unsigned digest = 0, cipher = 0;
	struct err e = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof servers / sizeof servers[0]; i++) {
		struct scep_caps caps = { .algorithms = servers[i].named };

		assert_int_equal(scep_choose(0, 0, &caps, &digest, &cipher, &e), 0);
		assert_int_equal(digest, servers[i].digest);
		assert_int_equal(cipher, servers[i].cipher);
	}
}

static void
scep_choose_obeys_the_user_and_guesses_nothing(void **state)
{
	struct scep_caps none = { 0 }, all = { .algorithms = SCEP_ALGORITHMS_DEFAULT };
	unsigned digest = 0, cipher = 0;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(scep_choose(1, 1, &all, &digest, &cipher, &e), 0);
	assert_int_equal(digest, SCEP_MD5);
	assert_int_equal(cipher, SCEP_DES);
	assert_int_equal(scep_choose(0, 5, &none, &digest, &cipher, &e), -1);
	assert_int_equal(e.code, ERR_UNSUPPORTED);
	assert_non_null(strstr(e.text, "--digest"));
	assert_int_equal(scep_choose(5, 0, &none, &digest, &cipher, &e), -1);
	assert_non_null(strstr(e.text, "--cipher"));
}

/* --- requests ------------------------------------------------------------------ */

static void
scep_http_write_posts_and_gets(void **state)
{
	struct scep_http request = { .label = "net", .operation = SCEP_OP_PKI_OPERATION, .message = bytes_of_text("ab?") };
	CLEANUP(buf) struct buf out = { 0 };
	struct err e = { 0 };
	struct url url;

	(void)state;
	assert_int_equal(url_parse_as(URL_SCEP, "http://ca.example:8080", &url, &e), 0);
	request.url = &url;
	scep_http_write(&request, &out);
	assert_string_equal(buf_text(&out), "POST /scep/net?operation=PKIOperation HTTP/1.1\r\nHost: ca.example:8080\r\n"
		"User-Agent: devsim/" DEVSIM_VERSION "\r\nAccept: */*\r\nContent-Type: application/x-pki-message\r\n"
		"Content-Length: 3\r\n\r\nab?");
	buf_clear(&out);
	request.get = request.close = true;
	request.label = "";
	scep_http_write(&request, &out);
	assert_string_equal(buf_text(&out), "GET /scep?operation=PKIOperation&message=YWI%2F HTTP/1.1\r\n"
		"Host: ca.example:8080\r\nUser-Agent: devsim/" DEVSIM_VERSION "\r\nAccept: */*\r\nConnection: close\r\n\r\n");
}

/* --- the server's certificates ------------------------------------------------------ */

static void
scep_server_take_encrypts_to_the_ra_wherever_it_stands(void **state)
{
	X509 *const orders[2][2] = { { ra.cert, ca.cert }, { ca.cert, ra.cert } };
	struct http_answer answer = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct scep_server server = { 0 };
		struct buf der = { 0 };
		struct err e = { 0 };

		bundle(orders[i], 2, &der);
		set_answer(&answer, "application/x-x509-ca-ra-cert", buf_bytes(&der));
		if (scep_server_take(&server, &answer, &e) != 0)
			fail_msg("%s", e.text);
		assert_int_equal(sk_X509_num(server.recipients), 1);
		assert_int_equal(X509_cmp(sk_X509_value(server.recipients, 0), ra.cert), 0);
		assert_int_equal(X509_cmp(server.ca, ca.cert), 0);
		scep_server_free(&server);
		buf_free(&der);
	}
	http_answer_free(&answer);
}

static void
scep_server_take_reads_a_single_certificate(void **state)
{
	struct http_answer answer = { 0 };
	struct scep_server server = { 0 };
	struct buf der = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(x509_to_der(ca.cert, &der, &e), 0);
	set_answer(&answer, "application/x-x509-ca-cert", buf_bytes(&der));
	assert_int_equal(scep_server_take(&server, &answer, &e), 0);
	assert_int_equal(X509_cmp(sk_X509_value(server.recipients, 0), ca.cert), 0);
	scep_server_free(&server);
	set_answer(&answer, "text/html", buf_bytes(&der));
	assert_int_equal(scep_server_take(&server, &answer, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	set_answer(&answer, "application/x-x509-ca-ra-cert", buf_bytes(&der));
	assert_int_equal(scep_server_take(&server, &answer, &e), -1);
	buf_append_u8(&der, 0);
	set_answer(&answer, "application/x-x509-ca-cert", buf_bytes(&der));
	assert_int_equal(scep_server_take(&server, &answer, &e), -1);
	buf_free(&der);
	http_answer_free(&answer);
}

static void
scep_server_take_refuses_a_server_without_rsa(void **state)
{
	struct http_answer answer = { 0 };
	struct scep_server server = { 0 };
	struct buf der = { 0 };
	struct err e = { 0 };
	struct party curve;

	(void)state;
	make_party(&curve, EVP_EC_gen("P-256"), "EC CA", 9);
	bundle(&curve.cert, 1, &der);
	set_answer(&answer, "application/x-x509-ca-ra-cert", buf_bytes(&der));
	assert_int_equal(scep_server_take(&server, &answer, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	free_party(&curve);
	buf_free(&der);
	http_answer_free(&answer);
}

/* --- who asks ---------------------------------------------------------------------------- */

static void
scep_self_sign_makes_what_its_own_key_verifies(void **state)
{
	static const uint8_t subject[] = { 0x30, 0x0e, 0x31, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x03, 'r',
		't', 'r' };
	char serial[2][SERIAL_HEX_MAX], name[64];
	X509 *certs[2] = { 0 };
	struct err e = { 0 };
	EVP_PKEY *curve = EVP_EC_gen("P-256");
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		assert_int_equal(scep_self_sign(client.key, bytes_of(subject, sizeof subject), &certs[i], &e), 0);
		assert_int_equal(X509_verify(certs[i], client.key), 1);
		x509_name_text(X509_get_issuer_name(certs[i]), name, sizeof name);
		assert_string_equal(name, "CN=rtr");
		assert_int_equal(X509_cmp_current_time(X509_get0_notBefore(certs[i])), -1);
		assert_int_equal(X509_cmp_current_time(X509_get0_notAfter(certs[i])), 1);
		assert_int_equal(x509_serial_hex(certs[i], serial[i], &e), 0);
	}
	assert_string_not_equal(serial[0], serial[1]);
	X509_free(certs[0]);
	X509_free(certs[1]);
	assert_int_equal(scep_self_sign(curve, bytes_of(subject, sizeof subject), &certs[0], &e), -1);
	assert_int_equal(e.code, ERR_UNSUPPORTED);
	EVP_PKEY_free(curve);
}

/* --- answers ---------------------------------------------------------------------------------- */

static const uint8_t nonce[SCEP_NONCE_LEN] = "0123456789abcde";

struct conversation {
	struct scep_server server;
	struct scep_build build;
	struct scep_expected expected;
	struct http_answer answer;
};

/* A CertRep of the RA's that fits, before anybody spoils it. */
static void
begin(struct conversation *c)
{
	*c = (struct conversation){ 0 };
	c->server.certs = sk_X509_new_null();
	c->server.recipients = sk_X509_new_null();
	assert_true(sk_X509_push(c->server.certs, ra.cert) > 0 && X509_up_ref(ra.cert) == 1);
	assert_true(sk_X509_push(c->server.recipients, client.cert) > 0);
	c->build = (struct scep_build){ .type = SCEP_CERT_REP, .transaction = "t-1", .status = SCEP_SUCCESS,
		.recipient_nonce = bytes_of(nonce, sizeof nonce), .digest = SCEP_SHA256, .cipher = SCEP_AES128, .signer = ra.cert,
		.signer_key = ra.key, .recipients = c->server.recipients, .content = bytes_of_text("a certificate") };
	c->expected = (struct scep_expected){ .server = &c->server, .allowed = SCEP_ALGORITHMS_DEFAULT,
		.transaction = "t-1", .nonce = bytes_of(nonce, sizeof nonce), .recipient = client.cert,
		.recipient_key = client.key };
}

static void
end(struct conversation *c)
{
	scep_server_free(&c->server);
	http_answer_free(&c->answer);
}

static void
answer_with(struct conversation *c, const char *type)
{
	CLEANUP(buf) struct buf der = { 0 };
	struct err e = { 0 };

	if (scep_build(&c->build, &der, &e) != 0)
		fail_msg("%s", e.text);
	set_answer(&c->answer, type, buf_bytes(&der));
}

static void
scep_reply_read_opens_what_is_ours(void **state)
{
	struct scep_reply reply = { 0 };
	struct conversation c;
	struct err e = { 0 };

	(void)state;
	begin(&c);
	answer_with(&c, "application/x-pki-message");
	if (scep_reply_read(&c.answer, &c.expected, &reply, &e) != 0)
		fail_msg("%s", e.text);
	assert_int_equal(scep_reply_exit(&reply, &e), DEVSIM_OK);
	assert_string_equal(buf_text(&reply.content), "a certificate");
	buf_clear(&reply.content);
	c.expected.recipient_key = NULL; /* taken at its word */
	assert_int_equal(scep_reply_read(&c.answer, &c.expected, &reply, &e), 0);
	assert_int_equal(reply.content.len, 0);
	buf_free(&reply.content);
	end(&c);
}

static void
scep_reply_read_tells_failure_and_pending(void **state)
{
	struct scep_reply reply = { 0 };
	struct conversation c;
	struct err e = { 0 };

	(void)state;
	begin(&c);
	c.build.content.len = 0;
	c.build.status = SCEP_FAILURE;
	c.build.fail = SCEP_BAD_CERT_ID;
	c.build.fail_text = "never heard of it";
	answer_with(&c, "application/x-pki-message");
	assert_int_equal(scep_reply_read(&c.answer, &c.expected, &reply, &e), 0);
	assert_int_equal(scep_reply_exit(&reply, &e), DEVSIM_REFUSED);
	assert_string_equal(e.text, "FAILURE, badCertId: never heard of it");
	c.build.status = SCEP_PENDING;
	answer_with(&c, "application/x-pki-message; charset=binary");
	assert_int_equal(scep_reply_read(&c.answer, &c.expected, &reply, &e), 0);
	assert_int_equal(scep_reply_exit(&reply, &e), DEVSIM_PENDING);
	end(&c);
}

static void
spoil_transaction(struct conversation *c)
{
	c->expected.transaction = "t-2";
}

static void
spoil_nonce(struct conversation *c)
{
	c->expected.nonce = bytes_of(nonce, sizeof nonce - 1);
}

static void
spoil_signer(struct conversation *c)
{
	c->build.signer = ca.cert;
	c->build.signer_key = ca.key;
}

static void
spoil_signature(struct conversation *c)
{
	c->build.signer_key = ca.key;
}

static void
spoil_type(struct conversation *c)
{
	c->build.type = SCEP_PKCS_REQ;
}

static void
spoil_algorithm(struct conversation *c)
{
	c->build.digest = SCEP_SHA1;
}

static void
spoil_recipient(struct conversation *c)
{
	(void)sk_X509_set(c->server.recipients, 0, ca.cert);
}

static void
scep_reply_read_refuses_what_is_not_ours(void **state)
{
	static const struct {
		void (*spoil)(struct conversation *c);
		const char *says;
	} cases[] = {
		{ spoil_transaction, "another transaction" },
		{ spoil_nonce, "recipientNonce" },
		{ spoil_signer, "nobody that GetCACert named" },
		{ spoil_signature, "" },
		{ spoil_type, "CertRep belongs" },
		{ spoil_algorithm, "" },
		{ spoil_recipient, "" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct scep_reply reply = { 0 };
		struct conversation c;
		struct err e = { 0 };

		begin(&c);
		cases[i].spoil(&c);
		answer_with(&c, "application/x-pki-message");
		if (scep_reply_read(&c.answer, &c.expected, &reply, &e) == 0)
			fail_msg("case %zu was taken", i);
		assert_non_null(strstr(e.text, cases[i].says));
		buf_free(&reply.content);
		end(&c);
	}
}

static void
scep_reply_read_wants_the_media_type(void **state)
{
	struct scep_reply reply = { 0 };
	struct conversation c;
	struct err e = { 0 };

	(void)state;
	begin(&c);
	answer_with(&c, "text/html");
	assert_int_equal(scep_reply_read(&c.answer, &c.expected, &reply, &e), -1);
	assert_non_null(strstr(e.text, "text/html"));
	set_answer(&c.answer, "application/x-pki-message", bytes_of(NULL, 0));
	assert_int_equal(scep_reply_read(&c.answer, &c.expected, &reply, &e), -1);
	end(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scep_choose_takes_the_best_that_is_named),
		cmocka_unit_test(scep_choose_obeys_the_user_and_guesses_nothing),
		cmocka_unit_test(scep_http_write_posts_and_gets),
		cmocka_unit_test(scep_server_take_encrypts_to_the_ra_wherever_it_stands),
		cmocka_unit_test(scep_server_take_reads_a_single_certificate),
		cmocka_unit_test(scep_server_take_refuses_a_server_without_rsa),
		cmocka_unit_test(scep_self_sign_makes_what_its_own_key_verifies),
		cmocka_unit_test(scep_reply_read_opens_what_is_ours),
		cmocka_unit_test(scep_reply_read_tells_failure_and_pending),
		cmocka_unit_test(scep_reply_read_refuses_what_is_not_ours),
		cmocka_unit_test(scep_reply_read_wants_the_media_type),
	};

	return cmocka_run_group_tests_name("devsim_scep", tests, setup, teardown);
}
