#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devsim/devsim.h"
#include "devsim/keys.h"
#include "devsim/scep_client.h"
#include "est/body.h"
#include "scep_build_fixture.h"

static struct party ra, ca, client;

/* The party's certificate once more, with these extensions. */
static void
extend(struct party *party, const char *constraints, const char *usage)
{
	X509_EXTENSION *extensions[2] = { X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, constraints),
		X509V3_EXT_conf_nid(NULL, NULL, NID_key_usage, usage) };
	size_t i;

	for (i = 0; i < 2; i++) {
		assert_non_null(extensions[i]);
		assert_int_equal(X509_add_ext(party->cert, extensions[i], -1), 1);
		X509_EXTENSION_free(extensions[i]);
	}
	assert_true(X509_sign(party->cert, party->key, EVP_sha256()) > 0);
}

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
set_answer(struct http_answer *answer, const char *type, struct bytes body)
{
	CLEANUP(buf) struct buf text = { 0 };
	size_t used = 0;
	struct err e = { 0 };

	buf_printf(&text, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", type, body.len);
	buf_append_bytes(&text, body);
	http_answer_clear(answer);
	assert_int_equal(http_answer_feed(answer, buf_bytes(&text), &used, &e), 0);
	assert_int_equal(answer->state, HTTP_DONE);
}

static void
bundle(X509 *const *certs, size_t count, struct buf *out)
{
	struct buf ders[4] = { 0 };
	struct bytes list[4];
	struct err e = { 0 };
	size_t i;

	for (i = 0; i < count; i++) {
		assert_int_equal(x509_to_der(certs[i], &ders[i], &e), 0);
		list[i] = buf_bytes(&ders[i]);
	}
	assert_int_equal(est_certs_encode(list, count, out, &e), 0);
	for (i = 0; i < count; i++)
		buf_free(&ders[i]);
}

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

/* --- over a socket, without TLS ------------------------------------------------------------ */

struct responder {
	int listener;
	struct buf answers[2];
	char requests[2][512];
};

/* One connection, one canned answer for each request, octet by octet so that nothing arrives whole. */
static void *
respond(void *arg)
{
	struct responder *r = arg;
	int fd = accept(r->listener, NULL, NULL);
	size_t i, k;

	for (i = 0; i < 2 && fd >= 0; i++) {
		size_t n = 0;
		ssize_t got = 1;

		while (got > 0 && strstr(r->requests[i], "\r\n\r\n") == NULL && n < sizeof r->requests[i] - 1) {
			got = read(fd, r->requests[i] + n, sizeof r->requests[i] - 1 - n);
			n += got > 0 ? (size_t)got : 0;
		}
		for (k = 0; k < r->answers[i].len; k++)
			if (write(fd, r->answers[i].at + k, 1) != 1)
				break;
	}
	if (fd >= 0)
		(void)close(fd);
	return NULL;
}

static int
listen_somewhere(char url[64])
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0 && bind(fd, (const struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 1) == 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	(void)snprintf(url, 64, "http://127.0.0.1:%d/cgi-bin/pkiclient.exe", ntohs(at.sin_port));
	return fd;
}

static void
scep_fetch_asks_twice_on_one_plain_connection(void **state)
{
	struct client_options options = { .kind = URL_SCEP, .label = "", .timeout_s = 20 };
	struct responder r = { 0 };
	struct scep_server server = { 0 };
	struct client http = { 0 };
	struct buf der = { 0 };
	struct err e = { 0 };
	pthread_t thread;
	char url[64];

	(void)state;
	r.listener = listen_somewhere(url);
	options.url = url;
	bundle(&ra.cert, 1, &der);
	buf_append_text(&r.answers[0], "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nAES\nRenewal\r\n");
	buf_printf(&r.answers[1], "HTTP/1.1 200 OK\r\nContent-Type: application/x-x509-ca-ra-cert\r\n"
		"Content-Length: %zu\r\n\r\n", der.len);
	buf_append_bytes(&r.answers[1], buf_bytes(&der));
	assert_int_equal(pthread_create(&thread, NULL, respond, &r), 0);
	assert_int_equal(client_open(&http, &options, &e), 0);
	if (scep_fetch(&http, &server, &e) != DEVSIM_OK)
		fail_msg("%s", e.text);
	assert_int_equal(server.caps.algorithms, SCEP_AES128);
	assert_true(server.caps.renewal);
	assert_int_equal(sk_X509_num(server.certs), 1);
	client_close(&http);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_memory_equal(r.requests[0], "GET /cgi-bin/pkiclient.exe?operation=GetCACaps HTTP/1.1\r\n", 57);
	assert_memory_equal(r.requests[1], "GET /cgi-bin/pkiclient.exe?operation=GetCACert HTTP/1.1\r\n", 57);
	(void)close(r.listener);
	scep_server_free(&server);
	buf_free(&r.answers[0]);
	buf_free(&r.answers[1]);
	buf_free(&der);
}

static void
scep_fetch_notices_a_server_that_hangs_up(void **state)
{
	struct client_options options = { .kind = URL_SCEP, .label = "", .timeout_s = 20 };
	struct responder r = { 0 };
	struct scep_server server = { 0 };
	struct client http = { 0 };
	struct err e = { 0 };
	pthread_t thread;
	char url[64];

	(void)state;
	r.listener = listen_somewhere(url);
	options.url = url;
	buf_append_text(&r.answers[0], "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nAES\n");
	assert_int_equal(pthread_create(&thread, NULL, respond, &r), 0);
	assert_int_equal(client_open(&http, &options, &e), 0);
	assert_int_equal(scep_fetch(&http, &server, &e), DEVSIM_SERVER);
	assert_int_equal(e.code, ERR_UPSTREAM);
	client_close(&http);
	assert_int_equal(pthread_join(thread, NULL), 0);
	(void)close(r.listener);
	scep_server_free(&server);
	buf_free(&r.answers[0]);
}

static int
setup(void **state)
{
	struct err e = { 0 };

	(void)state;
	if (ossl_init(&e) != 0 || scep_init(&e) != 0)
		fail_msg("%s", e.text);
	make_party(&ra, EVP_RSA_gen(2048), "RA", 1);
	make_party(&ca, EVP_RSA_gen(2048), "CA", 2);
	make_party(&client, EVP_RSA_gen(2048), "client", 3);
	extend(&ra, "critical,CA:FALSE", "critical,digitalSignature,keyEncipherment");
	extend(&ca, "critical,CA:TRUE", "critical,keyCertSign,digitalSignature,keyEncipherment");
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	free_party(&ra);
	free_party(&ca);
	free_party(&client);
	return 0;
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
		cmocka_unit_test(scep_fetch_asks_twice_on_one_plain_connection),
		cmocka_unit_test(scep_fetch_notices_a_server_that_hangs_up),
	};

	return cmocka_run_group_tests_name("devsim_scep", tests, setup, teardown);
}
