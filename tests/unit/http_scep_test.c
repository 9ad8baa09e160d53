#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/http_scep_fixture.h"
#include "tests/unit/http_scep_client.h"

#define ALL (SCEP_DIGESTS | SCEP_CIPHERS)

static void
assert_answer(const char *line, int status, const char *type, const char *body)
{
	struct heard heard;

	http(line, bytes_of(NULL, 0), &heard);
	if (heard.status != status || (type != NULL && strcmp(heard.type, type) != 0) ||
		(body != NULL && memmem(heard.body.at, heard.body.len, body, strlen(body)) == NULL))
		fail_msg("%s: %s", line, buf_text(&heard.all));
	heard_free(&heard);
}

static void
scep_answers_what_is_the_same_for_everybody(void **state)
{
	(void)state;
	stub_reset(ERR_BUG, "");
	assert_answer("GET /scep?operation=GetCACaps", 200, "text/plain", "AES\nlabel \n");
	assert_answer("GET /scep/cisco?operation=GetCACaps&message=x", 200, "text/plain", "label cisco\n");
	assert_answer("GET /cgi-bin/pkiclient.exe?operation=GetCACaps", 200, "text/plain", "label \n");
	assert_answer("GET /scep/cisco/CGI-BIN/pkiclient.exe?operation=GetCACaps", 200, "text/plain", "label cisco\n");
	assert_answer("GET /scep?operation=GetCACert&message=default", 200, "application/x-x509-ca-cert", "the certificate");
	assert_answer("GET /scep/bundle?message=%zz&operation=GetCACert", 200, "application/x-x509-ca-ra-cert",
		"the certificate");
	assert_answer("GET /scep/bundle?operation=GetNextCACert", 200, "application/x-x509-next-ca-cert", "the next one");
	assert_answer("GET /scep?operation=GetNextCACert", 404, "text/plain", "no next CA");
	assert_int_equal(stub.runs + stub.refusals, 0);
	assert_int_equal(stub.handed_out[FETCH_GETCACERT], 2);
	assert_int_equal(stub.handed_out[FETCH_GETNEXTCACERT], 1); /* not where there was none */
}

static void
scep_refuses_other_methods_operations_and_labels(void **state)
{
	(void)state;
	stub_reset(ERR_BUG, "");
	assert_answer("PUT /scep?operation=PKIOperation", 405, "text/plain", NULL);
	assert_answer("HEAD /scep?operation=GetCACaps", 405, NULL, NULL);
	assert_answer("POST /scep?operation=GetCACert", 405, "text/plain", NULL);
	assert_answer("GET /scep", 400, "text/plain", "names no SCEP operation");
	assert_answer("POST /scep?message=x", 400, "text/plain", "names no SCEP operation");
	assert_answer("GET /scep?operation=GetMoney", 400, "text/plain", "names no SCEP operation");
	assert_answer("GET /scep/nobody?operation=GetCACaps", 404, "text/plain", "no such label");
	assert_answer("GET /scep/only-est?operation=GetCACaps", 404, "text/plain", "no such label");
	assert_answer("GET /scepx?operation=GetCACaps", 404, "text/plain", "nothing lives here");
	assert_answer("GET /a/pkiclient.exe?operation=GetCACaps", 404, "text/plain", "nothing lives here");
	assert_int_equal(stub.refusals, 0);
	assert_answer("GET /scep?operation=PKIOperation", 400, "text/plain", "without a message");
	assert_answer("GET /scep?operation=PKIOperation&message=!!!!", 400, "text/plain", NULL);
	assert_int_equal(stub.refusals, 2);
	assert_string_equal(stub.operation, "PKIOperation");
}

static void
plain_port_serves_no_est(void **state)
{
	(void)state;
	assert_answer("GET /.well-known/est/cacerts", 403, "text/plain", "listen.https");
	assert_answer("POST /.well-known/est/bundle/simpleenroll", 403, "text/plain", "HTTPS only");
}

static void
long_targets_are_for_labels_that_speak_scep(void **state)
{
	static const char *const longer[] = { "/scep", "/scep/cisco", "/cgi-bin/pkiclient.exe" };
	static const char *const usual[] = { "/scep/only-est", "/scep/nobody", "/.well-known/est/cacerts", "", "/" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof longer / sizeof longer[0]; i++)
		assert_true(server_takes_long_target(bytes_of_text(longer[i])));
	for (i = 0; i < sizeof usual / sizeof usual[0]; i++)
		assert_false(server_takes_long_target(bytes_of_text(usual[i])));
}

static void
assert_pkcs_req_passed_on(void)
{
	assert_int_equal(stub.runs, 1);
	assert_string_equal(stub.protocol, "scep");
	assert_string_equal(stub.operation, "PKCSReq");
	assert_string_equal(stub.transaction, "tid/+= 1");
	assert_string_equal(stub.peer, "127.0.0.1");
	assert_int_equal(stub.op, ENROLL_EITHER);
	assert_true(stub.challenge && !stub.by_certificate);
	assert_true(bytes_equal(buf_bytes(&stub.csr), buf_bytes(&here.csr)));
}

static void
scep_enrolls_by_post_and_by_get(void **state)
{
	struct exchange_of get = pkcs_req(), post = pkcs_req();

	(void)state;
	stub_reset(ERR_NONE, "ok");
	ask(&post);
	assert_pkcs_req_passed_on();
	assert_issued(&post, 1);
	stub_reset(ERR_NONE, "ok");
	get.by_get = true;
	get.build.digest = SCEP_SHA512;
	get.build.cipher = SCEP_AES256;
	get.build.oaep = true;
	ask(&get);
	assert_pkcs_req_passed_on();
	assert_issued(&get, 1);
	/* the request's own algorithms */
	assert_int_equal(get.reply->digest, SCEP_SHA512);
	assert_int_equal(get.reply->cipher, SCEP_AES256);
	exchange_free(&get);
	exchange_free(&post);
}

static void
scep_puts_the_chain_beside_the_certificate_where_the_label_says_so(void **state)
{
	struct exchange_of x = pkcs_req();

	(void)state;
	stub_reset(ERR_NONE, "ok");
	x.path = "/scep/bundle";
	ask(&x);
	assert_issued(&x, 2);
	exchange_free(&x);
}

static void
scep_renews_for_who_signs_with_a_certificate(void **state)
{
	static const enum scep_type types[] = { SCEP_PKCS_REQ, SCEP_RENEWAL_REQ };
	static const enum enroll_op ops[] = { ENROLL_EITHER, ENROLL_RENEW };
	CLEANUP(buf) struct buf csr = { 0 };
	int i;

	(void)state;
	make_csr(here.other.key, &csr); /* a new key, vouched for by the old certificate */
	for (i = 0; i < 2; i++) {
		struct exchange_of x = pkcs_req();

		stub_reset(ERR_NONE, "ok");
		x.build.type = types[i];
		x.build.signer = here.issued.cert;
		x.build.content = buf_bytes(&csr);
		ask(&x);
		assert_issued(&x, 1);
		assert_int_equal(stub.op, ops[i]);
		assert_string_equal(stub.operation, scep_type_name(types[i]));
		assert_true(stub.by_certificate && !stub.signer_in_chain);
		exchange_free(&x);
	}
}

static void
scep_asks_nobody_for_a_signer_who_proves_nothing(void **state)
{
	struct exchange_of renewal = pkcs_req(), key = pkcs_req();

	(void)state;
	stub_reset(ERR_NONE, "ok");
	renewal.build.type = SCEP_RENEWAL_REQ;
	ask(&renewal);
	assert_failed(&renewal, SCEP_BAD_REQUEST, "refused by policy");
	key.build.signer = here.other.cert;
	key.build.signer_key = here.other.key;
	ask(&key);
	assert_failed(&key, SCEP_BAD_MESSAGE_CHECK, "message check failed");
	assert_int_equal(stub.runs, 0);
	assert_int_equal(stub.refusals, 2);
	exchange_free(&renewal);
	exchange_free(&key);
}

static void
scep_tells_every_outcome_in_its_own_words(void **state)
{
	static const struct {
		enum err_code code;
		const char *reason;
		int status;
		enum scep_status pki;
		enum scep_fail fail;
	} cases[] = {
		{ ERR_NONE, "ok", 200, SCEP_SUCCESS, SCEP_BAD_ALG },
		{ ERR_PENDING, "approval", 200, SCEP_PENDING, SCEP_BAD_ALG },
		{ ERR_UNSUPPORTED, "csr.weak", 200, SCEP_FAILURE, SCEP_BAD_ALG },
		{ ERR_UNAUTHENTIC, "unauthentic", 200, SCEP_FAILURE, SCEP_BAD_REQUEST },
		{ ERR_DENIED, "renewal.window", 200, SCEP_FAILURE, SCEP_BAD_REQUEST },
		{ ERR_DENIED, "request.unknown", 200, SCEP_FAILURE, SCEP_BAD_CERT_ID },
		{ ERR_DENIED, "certificate.unknown", 200, SCEP_FAILURE, SCEP_BAD_CERT_ID },
		{ ERR_LIMIT, "limit", 200, SCEP_FAILURE, SCEP_BAD_REQUEST },
		{ ERR_MALFORMED, "malformed", 200, SCEP_FAILURE, SCEP_BAD_REQUEST },
		{ ERR_UPSTREAM, "upstream", 503, SCEP_FAILURE, SCEP_BAD_ALG },
		{ ERR_NOMEM, "nomem", 500, SCEP_FAILURE, SCEP_BAD_ALG },
		{ ERR_BUG, "bug", 500, SCEP_FAILURE, SCEP_BAD_ALG },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct exchange_of x = pkcs_req();

		stub_reset(cases[i].code, cases[i].reason);
		ask(&x);
		assert_int_equal(x.heard.status, cases[i].status);
		assert_null(memmem(x.heard.all.at, x.heard.all.len, "for the log only", 16));
		if (cases[i].status != 200) {
			assert_true(bytes_equal_text(x.heard.body, "the category (request 42)\n"));
			assert_true((strstr(buf_text(&x.heard.all), "\r\nRetry-After: 7\r\n") != NULL) ==
				(cases[i].status == 503));
		} else if (cases[i].pki == SCEP_FAILURE)
			assert_failed(&x, cases[i].fail, "the category (request 42)");
		else
			assert_int_equal(x.reply->status, cases[i].pki);
		exchange_free(&x);
	}
}

/* What somebody may make of an envelope that he caught: whoever signs it and whatever it is, one answer. */
static void
scep_answers_alike_whatever_is_wrong_inside(void **state)
{
	static const uint8_t garbage[] = { 0x30, 0x03, 0x02, 0x01, 0x00 };
	/* the outline of a request, names and serial number of nobody */
	static const uint8_t outline[] = { 0x30, 0x08, 0x30, 0x06, 0x05, 0x00, 0x05, 0x00, 0x30, 0x00 };
	static const uint8_t two_names[] = { 0x30, 0x04, 0x30, 0x00, 0x30, 0x00 };
	static const uint8_t serial[] = { 0x30, 0x05, 0x30, 0x00, 0x02, 0x01, 0x01 };
	const struct {
		enum scep_type type;
		X509 *signer, *recipient;
		struct bytes content;
	} cases[] = {
		{ SCEP_PKCS_REQ, here.device.cert, here.other.cert, buf_bytes(&here.csr) },
		{ SCEP_PKCS_REQ, here.device.cert, here.ra.cert, bytes_of(garbage, sizeof garbage) },
		{ SCEP_PKCS_REQ, here.device.cert, here.ra.cert, bytes_of(outline, sizeof outline) },
		{ SCEP_PKCS_REQ, here.issued.cert, here.ra.cert, bytes_of(outline, sizeof outline) },
		{ SCEP_PKCS_REQ, here.issued.cert, here.ra.cert, bytes_of(here.csr.at, here.csr.len - 1) },
		{ SCEP_RENEWAL_REQ, here.device.cert, here.ra.cert, bytes_of(outline, sizeof outline) },
		{ SCEP_CERT_POLL, here.device.cert, here.ra.cert, bytes_of(garbage, sizeof garbage) },
		{ SCEP_CERT_POLL, here.device.cert, here.ra.cert, bytes_of(two_names, sizeof two_names) },
		{ SCEP_GET_CERT, here.device.cert, here.ra.cert, bytes_of(garbage, sizeof garbage) },
		{ SCEP_GET_CERT, here.issued.cert, here.ra.cert, bytes_of(serial, sizeof serial) },
		{ SCEP_GET_CRL, here.device.cert, here.ra.cert, bytes_of(serial, sizeof serial) },
		{ SCEP_GET_CRL, here.device.cert, here.other.cert, bytes_of(serial, sizeof serial) },
	};
	size_t i, len = 0;

	(void)state;
	stub_reset(ERR_NONE, "ok");
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct exchange_of x = pkcs_req();

		x.build.type = cases[i].type;
		x.build.signer = cases[i].signer;
		x.recipient = cases[i].recipient;
		x.build.content = cases[i].content;
		ask(&x);
		assert_failed(&x, SCEP_BAD_MESSAGE_CHECK, "message check failed");
		if (i != 0)
			assert_int_equal(x.heard.body.len, len);
		len = x.heard.body.len;
		exchange_free(&x);
	}
	assert_int_equal(stub.runs + stub.polls + stub.fetches + stub.crls, 0);
	assert_int_equal(stub.refusals, i);
}

static void
scep_refuses_what_the_label_does_not_allow_in_words_of_its_own(void **state)
{
	struct exchange_of digest = pkcs_req(), cipher = pkcs_req(), broken = pkcs_req();

	(void)state;
	stub_reset(ERR_NONE, "ok");
	digest.build.digest = SCEP_SHA1;
	ask(&digest);
	assert_failed(&digest, SCEP_BAD_ALG, "algorithm not allowed");
	assert_int_equal(digest.reply->digest, SCEP_SHA256);
	cipher.build.cipher = SCEP_3DES;
	ask(&cipher);
	assert_failed(&cipher, SCEP_BAD_ALG, "algorithm not allowed");
	broken.flip = true;
	ask(&broken);
	assert_failed(&broken, SCEP_BAD_MESSAGE_CHECK, "message check failed");
	assert_int_equal(stub.runs, 0);
	assert_int_equal(stub.refusals, 3);
	exchange_free(&digest);
	exchange_free(&cipher);
	exchange_free(&broken);
}

static void
scep_logs_each_use_of_an_insecure_algorithm(void **state)
{
	FILE *log = tmpfile();
	int saved = dup(STDERR_FILENO), i, lines = 0;
	char line[4096];

	(void)state;
	stub_reset(ERR_NONE, "ok");
	assert_true(log != NULL && dup2(fileno(log), STDERR_FILENO) >= 0);
	for (i = 0; i < 20; i++) {
		struct exchange_of x = pkcs_req();

		x.path = "/scep/cisco";
		x.build.digest = i % 2 == 0 ? SCEP_MD5 : SCEP_SHA1;
		x.build.cipher = i % 2 == 0 ? SCEP_3DES : SCEP_DES;
		ask(&x);
		assert_issued(&x, 1);
		assert_int_equal(x.reply->digest, x.build.digest);
		assert_int_equal(x.reply->cipher, x.build.cipher);
		exchange_free(&x);
	}
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	(void)close(saved);
	rewind(log);
	while (fgets(line, sizeof line, log) != NULL)
		lines += strstr(line, " warn insecure label=cisco peer=127.0.0.1 op=PKCSReq ") != NULL;
	(void)fclose(log);
	assert_int_equal(lines, 20);
}

static void
assert_asked_by_key(const struct party *party)
{
	CLEANUP(buf) struct buf expected = { 0 };
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(party->key, &der);

	buf_append(&expected, der, (size_t)len);
	OPENSSL_free(der);
	assert_true(bytes_equal(buf_bytes(&stub.poll_key), buf_bytes(&expected)));
}

static void
scep_polls_and_fetches_by_key_or_certificate(void **state)
{
	CLEANUP(buf) struct buf names = { 0 };
	CLEANUP(buf) struct buf serial = { 0 };
	struct exchange_of poll = pkcs_req(), fetch = pkcs_req(), own = pkcs_req();
	struct err e;

	(void)state;
	assert_int_equal(scep_issuer_and_subject_encode(X509_get_subject_name(here.ra.cert),
				 X509_get_subject_name(here.device.cert), &names, &e), 0);
	assert_int_equal(scep_issuer_and_serial_encode(here.issued.cert, &serial, &e), 0);
	stub_reset(ERR_NONE, "ok");
	poll.build.type = SCEP_CERT_POLL;
	poll.build.content = buf_bytes(&names);
	ask(&poll);
	assert_issued(&poll, 1);
	assert_int_equal(stub.polls, 1);
	assert_string_equal(stub.operation, "CertPoll");
	assert_asked_by_key(&here.device);
	stub_reset(ERR_NONE, "ok");
	fetch.path = "/scep/bundle"; /* the certificate that was asked for and no chain */
	fetch.build.type = SCEP_GET_CERT;
	fetch.build.content = buf_bytes(&serial);
	ask(&fetch);
	assert_issued(&fetch, 1);
	assert_int_equal(stub.fetches, 1);
	assert_string_equal(stub.serial, "1267");
	assert_asked_by_key(&here.device);
	stub_reset(ERR_DENIED, "certificate.unknown");
	own.build.type = SCEP_GET_CERT;
	own.build.content = buf_bytes(&serial);
	own.build.signer = here.issued.cert;
	ask(&own);
	assert_failed(&own, SCEP_BAD_CERT_ID, "the category (request 42)");
	assert_true(stub.by_certificate && stub.poll_key.len == 0);
	exchange_free(&poll);
	exchange_free(&fetch);
	exchange_free(&own);
}

static void
scep_gives_the_labels_revocation_list_to_anybody(void **state)
{
	CLEANUP(buf) struct buf ours = { 0 };
	CLEANUP(buf) struct buf theirs = { 0 };
	struct exchange_of good = pkcs_req(), foreign = pkcs_req(), late = pkcs_req();
	X509_CRL *crl = NULL;
	struct err e;

	(void)state;
	assert_int_equal(scep_issuer_and_serial_encode(here.issued.cert, &ours, &e), 0);
	assert_int_equal(scep_issuer_and_serial_encode(here.ra.cert, &theirs, &e), 0);
	stub_reset(ERR_BUG, "");
	good.build.type = foreign.build.type = late.build.type = SCEP_GET_CRL;
	good.build.content = late.build.content = buf_bytes(&ours);
	foreign.build.content = buf_bytes(&theirs);
	ask(&good);
	assert_succeeded(&good);
	assert_int_equal(scep_crl_decode(buf_bytes(&good.content), &crl, &e), 0);
	X509_CRL_free(crl);
	ask(&foreign);
	assert_failed(&foreign, SCEP_BAD_CERT_ID, "not an issuer of this service");
	assert_int_equal(stub.crls, 1);
	(void)err_set(&stub.crl_error, ERR_UPSTREAM, "the store sleeps");
	ask(&late);
	assert_int_equal(late.heard.status, 503);
	exchange_free(&good);
	exchange_free(&foreign);
	exchange_free(&late);
}

static void
scep_says_by_http_what_no_cert_rep_can_say(void **state)
{
	static uint8_t zeros[SCEP_MESSAGE_MAX + 1];
	struct exchange_of reply = pkcs_req();
	struct heard heard;

	(void)state;
	stub_reset(ERR_NONE, "ok");
	http("POST /scep?operation=PKIOperation", bytes_of("nonsense", 8), &heard);
	assert_int_equal(heard.status, 400);
	heard_free(&heard);
	http("POST /scep", bytes_of(NULL, 0), &heard); /* what else could it be */
	assert_int_equal(heard.status, 400);
	heard_free(&heard);
	http("POST /scep?operation=PKIOperation", bytes_of(zeros, sizeof zeros), &heard);
	assert_int_equal(heard.status, 413);
	heard_free(&heard);
	assert_int_equal(stub.refusals, 3);
	reply.build.type = SCEP_CERT_REP;
	reply.build.status = SCEP_PENDING;
	reply.build.recipient_nonce = bytes_of(zeros, SCEP_NONCE_LEN);
	reply.build.content = bytes_of(NULL, 0);
	ask(&reply);
	assert_int_equal(reply.heard.status, 400);
	assert_int_equal(stub.refused.code, ERR_MALFORMED);
	assert_int_equal(stub.runs, 0);
	exchange_free(&reply);
}

static void
crl_is_served_by_the_name_of_its_ca(void **state)
{
	struct heard heard;

	(void)state;
	stub_reset(ERR_NONE, "ok");
	http("GET /crl/issuing.crl", bytes_of(NULL, 0), &heard);
	assert_int_equal(heard.status, 200);
	assert_string_equal(heard.type, "application/pkix-crl");
	assert_true(bytes_equal(heard.body, buf_bytes(&here.crl)));
	heard_free(&heard);
	assert_answer("GET /crl/other.crl", 404, "text/plain", NULL);
	assert_answer("GET /crl/issuing", 404, "text/plain", NULL);
	assert_answer("GET /crl/.crl", 404, "text/plain", NULL);
	assert_answer("GET /crl/issuing.crl/", 404, "text/plain", NULL);
	assert_answer("POST /crl/issuing.crl", 405, "text/plain", NULL);
	(void)err_set(&stub.crl_error, ERR_UPSTREAM, "the store sleeps");
	assert_answer("GET /crl/issuing.crl", 503, "text/plain", "temporarily");
	here_ca_ops.crl = NULL;
	assert_answer("GET /crl/issuing.crl", 404, "text/plain", NULL);
	here_ca_ops.crl = crl_of;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scep_answers_what_is_the_same_for_everybody),
		cmocka_unit_test(scep_refuses_other_methods_operations_and_labels),
		cmocka_unit_test(plain_port_serves_no_est),
		cmocka_unit_test(long_targets_are_for_labels_that_speak_scep),
		cmocka_unit_test(scep_enrolls_by_post_and_by_get),
		cmocka_unit_test(scep_puts_the_chain_beside_the_certificate_where_the_label_says_so),
		cmocka_unit_test(scep_renews_for_who_signs_with_a_certificate),
		cmocka_unit_test(scep_asks_nobody_for_a_signer_who_proves_nothing),
		cmocka_unit_test(scep_tells_every_outcome_in_its_own_words),
		cmocka_unit_test(scep_answers_alike_whatever_is_wrong_inside),
		cmocka_unit_test(scep_refuses_what_the_label_does_not_allow_in_words_of_its_own),
		cmocka_unit_test(scep_logs_each_use_of_an_insecure_algorithm),
		cmocka_unit_test(scep_polls_and_fetches_by_key_or_certificate),
		cmocka_unit_test(scep_gives_the_labels_revocation_list_to_anybody),
		cmocka_unit_test(scep_says_by_http_what_no_cert_rep_can_say),
		cmocka_unit_test(crl_is_served_by_the_name_of_its_ca),
	};

	return cmocka_run_group_tests(tests, scep_open, scep_close);
}
