#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "tests/unit/http_front_fixture.h"

#define GET "GET / HTTP/1.1\r\nHost: test\r\n\r\n"
#define KEY_UPDATES 20000 /* of 26 octets each */

static char certificate[] = "/tmp/wire-test-cert-XXXXXX", private_key[] = "/tmp/wire-test-key-XXXXXX";

static int
wire_open(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen("P-256");
	CLEANUP(X509) X509 *cert = X509_new();
	FILE *out;

	/* libssl writes with write(2), also to a server that has closed. */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	(void)X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	if (X509_set_pubkey(cert, key) != 1 || X509_sign(cert, key, EVP_sha256()) == 0)
		return -1;
	out = fdopen(mkstemp(certificate), "w");
	if (out == NULL || PEM_write_X509(out, cert) != 1 || fclose(out) != 0)
		return -1;
	out = fdopen(mkstemp(private_key), "w");
	if (out == NULL || PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) != 1 || fclose(out) != 0)
		return -1;
	return fixture_open(state);
}

static int
wire_close(void **state)
{
	(void)unlink(certificate);
	(void)unlink(private_key);
	return fixture_close(state);
}

static void
tls_front_up(void)
{
	struct front_settings settings = settings_for_tests();

	settings.loops = 1;
	settings.tls = true;
	settings.certificate = certificate;
	settings.key = private_key;
	front_up(&settings);
}

static SSL *
tls_dial(SSL_CTX *ctx)
{
	SSL *ssl = SSL_new(ctx);

	assert_int_equal(SSL_set_fd(ssl, dial()), 1);
	assert_int_equal(SSL_connect(ssl), 1);
	return ssl;
}

static void
tls_hang_up(SSL *ssl)
{
	(void)close(SSL_get_fd(ssl));
	SSL_free(ssl);
	ERR_clear_error();
}

static bool
update_key(SSL *ssl)
{
	return SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 && SSL_do_handshake(ssl) == 1;
}

/* SSL_read() goes on as long as such records come: their sender had the whole loop to itself. */
static void
wire_cuts_off_a_client_that_only_updates_its_keys(void **state)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl;
	int i;

	(void)state;
	tls_front_up();
	ssl = tls_dial(ctx);
	for (i = 0; i < KEY_UPDATES && update_key(ssl); i++)
		continue;
	assert_ends(SSL_get_fd(ssl));
	tls_hang_up(ssl);
	SSL_CTX_free(ctx);
	front_down();
}

static void
wire_serves_a_client_that_updates_its_key_now_and_then(void **state)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	char answer[4096];
	SSL *ssl;
	int i, k;

	(void)state;
	tls_front_up();
	ssl = tls_dial(ctx);
	for (i = 0; i < 20; i++) {
		for (k = 0; k < 200; k++)
			assert_true(update_key(ssl));
		assert_int_equal(SSL_write(ssl, GET, (int)strlen(GET)), (int)strlen(GET));
		assert_true(SSL_read(ssl, answer, sizeof answer) > 0);
		assert_memory_equal(answer, "HTTP/1.1 200 ", strlen("HTTP/1.1 200 "));
	}
	tls_hang_up(ssl);
	SSL_CTX_free(ctx);
	front_down();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wire_cuts_off_a_client_that_only_updates_its_keys),
		cmocka_unit_test(wire_serves_a_client_that_updates_its_key_now_and_then),
	};

	return cmocka_run_group_tests(tests, wire_open, wire_close);
}
