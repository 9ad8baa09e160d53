#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "devsim/client.h"
#include "devsim/devsim.h"
#include "devsim/keys.h"

static void
http_answer_auto(struct http_answer *answer)
{
	http_answer_free(answer);
}

static void
request_has_one_body_with_its_length(void **state)
{
	CLEANUP(buf) struct buf out = { 0 };
	struct est_request request = { .label = "iot", .op = EST_OP_SIMPLEENROLL, .body = bytes_of_text("QUJD"),
		.authorization = "Basic eDp5", .close = true };
	struct err e = { 0 };
	struct url url;

	(void)state;
	assert_int_equal(url_parse("https://est.example:8443", &url, &e), 0);
	request.url = &url;
	est_request_write(&request, &out);
	assert_string_equal(buf_text(&out), "POST /.well-known/est/iot/simpleenroll HTTP/1.1\r\nHost: est.example:8443\r\n"
		"User-Agent: devsim/" DEVSIM_VERSION "\r\nAccept: */*\r\nAuthorization: Basic eDp5\r\nConnection: close\r\n"
		"Content-Type: application/pkcs10\r\nContent-Transfer-Encoding: base64\r\nContent-Length: 4\r\n\r\nQUJD");
}

static void
request_without_body_has_no_length(void **state)
{
	CLEANUP(buf) struct buf out = { 0 };
	struct est_request request = { .label = "", .op = EST_OP_CACERTS };
	struct err e = { 0 };
	struct url url;

	(void)state;
	assert_int_equal(url_parse("https://est.example", &url, &e), 0);
	request.url = &url;
	est_request_write(&request, &out);
	assert_string_equal(buf_text(&out), "GET /.well-known/est/cacerts HTTP/1.1\r\nHost: est.example\r\n"
		"User-Agent: devsim/" DEVSIM_VERSION "\r\nAccept: */*\r\n\r\n");
}

static void
basic_credentials_have_no_colon_in_the_user(void **state)
{
	CLEANUP(buf) struct buf out = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(basic_authorization("a:b", "c", &out, &e), -1);
	assert_int_equal(basic_authorization("Aladdin", "open sesame", &out, &e), 0);
	assert_string_equal(buf_text(&out), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
}

static void
status_has_an_exit_code(void **state)
{
	(void)state;
	assert_int_equal(status_exit(200), DEVSIM_OK);
	assert_int_equal(status_exit(202), DEVSIM_PENDING);
	assert_int_equal(status_exit(401), DEVSIM_REFUSED);
	assert_int_equal(status_exit(403), DEVSIM_REFUSED);
	assert_int_equal(status_exit(400), DEVSIM_SERVER);
	assert_int_equal(status_exit(503), DEVSIM_SERVER);
}

static void
answer_of_another_media_type_is_refused(void **state)
{
	CLEANUP(http_answer) struct http_answer answer = { 0 };
	CLEANUP(buf) struct buf out = { 0 };
	struct err e = { 0 };

	(void)state;
	buf_append_text(&answer.head, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n");
	buf_append_text(&answer.body, "QUJD");
	assert_int_equal(answer_octets(&answer, "application/pkcs7-mime", &out, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	buf_clear(&answer.head);
	buf_append_text(&answer.head,
		"HTTP/1.1 200 OK\r\nContent-Type: Application/PKCS7-mime; smime-type=certs-only\r\n\r\n");
	assert_int_equal(answer_octets(&answer, "application/pkcs7-mime", &out, &e), 0);
	assert_string_equal(buf_text(&out), "ABC");
}

static void
answer_reason_is_one_escaped_line_of_plain_text(void **state)
{
	CLEANUP(http_answer) struct http_answer answer = { 0 };
	char text[64];

	(void)state;
	buf_append_text(&answer.body, "no\033such\nasset");
	answer_reason(&answer, text, sizeof text);
	assert_string_equal(text, "");
	buf_append_text(&answer.head, "HTTP/1.1 403 No\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n");
	answer_reason(&answer, text, sizeof text);
	assert_string_equal(text, "no\\x1bsuch");
}

/* A certificate with this name, signed by issuer (itself when NULL). */
static X509 *
make_cert(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, bool ca)
{
	X509 *cert = X509_new();
	X509_EXTENSION *basic = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints,
		ca ? "critical,CA:TRUE" : "critical,CA:FALSE");

	assert_non_null(cert);
	assert_non_null(basic);
	assert_int_equal(X509_set_version(cert, X509_VERSION_3), 1);
	assert_int_equal(X509_set_pubkey(cert, key), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), 1), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), -60));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), 3600));
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
		(const uint8_t *)name, -1, -1, 0), 1);
	assert_int_equal(X509_set_issuer_name(cert, X509_get_subject_name(issuer == NULL ? cert : issuer)), 1);
	assert_int_equal(X509_add_ext(cert, basic, -1), 1);
	X509_EXTENSION_free(basic);
	assert_true(X509_sign(cert, issuer_key, ossl_sha256()) > 0);
	return cert;
}

static void
issued_certificate_has_our_key_and_chains_to_the_cas(void **state)
{
	struct key_spec spec = { .curve = "P-256" };
	CLEANUP(EVP_PKEY) EVP_PKEY *root_key = NULL;
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	CLEANUP(EVP_PKEY) EVP_PKEY *other = NULL;
	CLEANUP(x509_stack) STACK_OF(X509) *cas = sk_X509_new_null();
	CLEANUP(x509_stack) STACK_OF(X509) *strangers = sk_X509_new_null();
	CLEANUP(x509_stack) STACK_OF(X509) *certs = sk_X509_new_null();
	CLEANUP(buf) struct buf spki = { 0 };
	CLEANUP(buf) struct buf other_spki = { 0 };
	struct err e = { 0 };
	X509 *root, *leaf;

	(void)state;
	assert_int_equal(key_make(&spec, &root_key, &e), 0);
	assert_int_equal(key_make(&spec, &key, &e), 0);
	assert_int_equal(key_make(&spec, &other, &e), 0);
	root = make_cert("root", root_key, NULL, root_key, true);
	leaf = make_cert("leaf", key, root, root_key, false);
	assert_true(sk_X509_push(cas, root) > 0 && sk_X509_push(certs, leaf) > 0);
	assert_true(sk_X509_push(strangers, make_cert("root", other, NULL, other, true)) > 0);
	assert_int_equal(key_spki(key, &spki, &e), 0);
	assert_int_equal(key_spki(other, &other_spki, &e), 0);
	assert_ptr_equal(certs_with_key(certs, buf_bytes(&spki)), leaf);
	assert_null(certs_with_key(certs, buf_bytes(&other_spki)));
	assert_int_equal(chain_check(leaf, certs, cas, &e), 0);
	assert_int_equal(chain_check(leaf, certs, strangers, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
}

static int
start(void **state)
{
	struct err e;

	(void)state;
	return ossl_init(&e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_has_one_body_with_its_length),
		cmocka_unit_test(request_without_body_has_no_length),
		cmocka_unit_test(basic_credentials_have_no_colon_in_the_user),
		cmocka_unit_test(status_has_an_exit_code),
		cmocka_unit_test(answer_of_another_media_type_is_refused),
		cmocka_unit_test(answer_reason_is_one_escaped_line_of_plain_text),
		cmocka_unit_test(issued_certificate_has_our_key_and_chains_to_the_cas),
	};

	return cmocka_run_group_tests_name("devsim/answer", tests, start, NULL);
}
