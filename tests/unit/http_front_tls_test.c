#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "gateway/http/tls.h"
#include "tests/unit/http_front_fixture.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: test\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\n"

static char directory[] = "/tmp/front-test-XXXXXX";
static EVP_PKEY *ca_key, *client_key;
static X509 *ca, *middle, *client;

static X509 *
make_certificate(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key)
{
	static long serial = 1;
	X509 *cert = X509_new();
	X509_NAME *subject = X509_get_subject_name(cert);

	(void)X509_set_version(cert, X509_VERSION_3);
	(void)ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
	(void)X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	(void)X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	(void)X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	(void)X509_set_issuer_name(cert, issuer == NULL ? subject : X509_get_subject_name(issuer));
	(void)X509_set_pubkey(cert, key);
	assert_true(X509_sign(cert, issuer_key, EVP_sha256()) > 0);
	return cert;
}

static void
path_of(const char *name, char out[128])
{
	(void)snprintf(out, 128, "%s/%s", directory, name);
}

/* A server certificate and its key as <name>.pem and <name>.key. */
static void
write_identity(const char *name)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen("P-256");
	CLEANUP(X509) X509 *cert = make_certificate(name, key, ca, ca_key);
	char path[128], file[64];
	FILE *out;

	(void)snprintf(file, sizeof file, "%s.pem", name);
	path_of(file, path);
	out = fopen(path, "w");
	assert_true(out != NULL && PEM_write_X509(out, cert) == 1 && PEM_write_X509(out, ca) == 1 && fclose(out) == 0);
	(void)snprintf(file, sizeof file, "%s.key", name);
	path_of(file, path);
	out = fdopen(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), "w");
	assert_true(out != NULL && PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1 && fclose(out) == 0);
}

static int
tls_open(void **state)
{
	if (fixture_open(state) != 0 || mkdtemp(directory) == NULL)
		return -1;
	ca_key = EVP_EC_gen("P-256");
	client_key = EVP_EC_gen("P-256");
	ca = make_certificate("ca", ca_key, NULL, ca_key);
	middle = make_certificate("middle", ca_key, ca, ca_key);
	client = make_certificate("device", client_key, middle, ca_key);
	write_identity("one");
	write_identity("two");
	return 0;
}

static int
tls_close(void **state)
{
	static const char *const files[] = { "one.pem", "one.key", "two.pem", "two.key" };
	char path[128];
	size_t i;

	for (i = 0; i < sizeof files / sizeof files[0]; i++) {
		path_of(files[i], path);
		(void)unlink(path);
	}
	(void)rmdir(directory);
	X509_free(ca);
	X509_free(middle);
	X509_free(client);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(client_key);
	return fixture_close(state);
}

static struct front_settings
tls_settings(const char *identity)
{
	static char certificate[2][128], key[2][128];
	struct front_settings settings = settings_for_tests();
	int which = strcmp(identity, "two") == 0;
	char file[64];

	(void)snprintf(file, sizeof file, "%s.pem", identity);
	path_of(file, certificate[which]);
	(void)snprintf(file, sizeof file, "%s.key", identity);
	path_of(file, key[which]);
	settings.tls = true;
	settings.certificate = certificate[which];
	settings.key = key[which];
	settings.min_version = "1.2";
	settings.groups = "X25519:P-256:P-384";
	return settings;
}

struct client {
	int fd;
	SSL_CTX *ctx;
	SSL *ssl;
};

static SSL_CTX *
client_context(int version, bool with_certificate)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	assert_int_equal(SSL_CTX_set_min_proto_version(ctx, version), 1);
	assert_int_equal(SSL_CTX_set_max_proto_version(ctx, version), 1);
	if (with_certificate) {
		assert_int_equal(SSL_CTX_use_certificate(ctx, client), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey(ctx, client_key), 1);
		assert_int_equal(SSL_CTX_add1_chain_cert(ctx, middle), 1);
	}
	return ctx;
}

/* Takes ctx over. false: the handshake, or the first answer after it, failed. */
static bool
client_connect(struct client *c, SSL_CTX *ctx)
{
	*c = (struct client){ .fd = dial(), .ctx = ctx, .ssl = SSL_new(ctx) };
	assert_int_equal(SSL_set_fd(c->ssl, c->fd), 1);
	return SSL_connect(c->ssl) == 1;
}

static void
client_close(struct client *c)
{
	SSL_free(c->ssl);
	SSL_CTX_free(c->ctx);
	(void)close(c->fd);
	ERR_clear_error();
}

/* Read up to size-1 octets, until text is in them; false: closed before. */
static bool
client_hear(struct client *c, const char *until, char *out, size_t size)
{
	size_t at = 0;

	do {
		int n;

		if (SSL_has_pending(c->ssl) == 0 && !wait_readable(c->fd, PATIENCE_MS))
			fail_msg("nothing was said in time");
		n = SSL_read(c->ssl, out + at, (int)(size - 1 - at));
		if (n <= 0)
			return false;
		at += (size_t)n;
		out[at] = '\0';
	} while (strstr(out, until) == NULL && at < size - 1);
	return true;
}

static bool
client_ask(struct client *c, const char *request, const char *until, char *out, size_t size)
{
	return SSL_write(c->ssl, request, (int)strlen(request)) > 0 && client_hear(c, until, out, size);
}

static void
assert_has(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("no \"%s\" in: %s", part, text);
}

static void
expect_certificate_facts(const char *answer)
{
	uint8_t digest[32];
	char hex[65], line[128];
	struct err e;

	assert_int_equal(x509_sha256(client, digest, &e), 0);
	hex_encode(bytes_of(digest, sizeof digest), hex);
	(void)snprintf(line, sizeof line, "\nclient %s\nchain 1\n", hex);
	assert_has(answer, line);
}

static void
tls13_gives_the_certificate_and_the_exporter(void **state)
{
	struct front_settings settings = tls_settings("one");
	char answer[4096], hex[65], line[128];
	uint8_t exporter[32];
	struct client c;

	(void)state;
	front_up(&settings);
	assert_true(client_connect(&c, client_context(TLS1_3_VERSION, true)));
	assert_true(client_ask(&c, GET("/"), "body", answer, sizeof answer));
	assert_has(answer, "tls TLSv1.3\n");
	expect_certificate_facts(answer);
	assert_int_equal(SSL_export_keying_material(c.ssl, exporter, sizeof exporter, "EXPORTER-Channel-Binding", 24,
				 (const unsigned char *)"", 0, 1),
		1);
	hex_encode(bytes_of(exporter, sizeof exporter), hex);
	(void)snprintf(line, sizeof line, "unique \nexporter %s\n", hex);
	assert_has(answer, line);
	/* No resumption: no ticket came, and the session cannot be used again. */
	assert_int_equal(SSL_SESSION_is_resumable(SSL_get_session(c.ssl)), 0);
	assert_int_equal(sk_X509_NAME_num(SSL_get_client_CA_list(c.ssl)), SSL_get_client_CA_list(c.ssl) == NULL ? -1 : 0);
	client_close(&c);
	front_down();
}

static void
tls12_gives_the_certificate_and_tls_unique(void **state)
{
	struct front_settings settings = tls_settings("one");
	char answer[4096], hex[2 * EST_BINDING_MAX + 1], line[256];
	uint8_t finished[EST_BINDING_MAX];
	struct client c;

	(void)state;
	front_up(&settings);
	assert_true(client_connect(&c, client_context(TLS1_2_VERSION, true)));
	assert_true(client_ask(&c, GET("/"), "body", answer, sizeof answer));
	assert_has(answer, "tls TLSv1.2\n");
	expect_certificate_facts(answer);
	hex_encode(bytes_of(finished, SSL_get_finished(c.ssl, finished, sizeof finished)), hex);
	(void)snprintf(line, sizeof line, "unique %s\nexporter \n", hex);
	assert_has(answer, line);
	assert_int_equal(SSL_renegotiate(c.ssl), 1);
	assert_true(SSL_do_handshake(c.ssl) != 1 || !client_ask(&c, GET("/"), "body", answer, sizeof answer));
	client_close(&c);
	front_down();
}

static void
tls12_without_extended_master_secret_has_no_binding(void **state)
{
	struct front_settings settings = tls_settings("one");
	SSL_CTX *ctx = client_context(TLS1_2_VERSION, false);
	char answer[4096];
	struct client c;

	(void)state;
	front_up(&settings);
	(void)SSL_CTX_set_options(ctx, SSL_OP_NO_EXTENDED_MASTER_SECRET);
	assert_true(client_connect(&c, ctx));
	assert_true(client_ask(&c, GET("/"), "body", answer, sizeof answer));
	assert_has(answer, "client none\nchain 0\nunique \nexporter \n");
	client_close(&c);
	front_down();
}

static void
tls_refuses_absurd_client_chains(void **state)
{
	struct front_settings settings = tls_settings("one");
	SSL_CTX *ctx = client_context(TLS1_3_VERSION, true);
	char answer[4096];
	struct client c;
	int i;

	(void)state;
	front_up(&settings);
	for (i = 0; i < TLS_CHAIN_DEPTH_MAX; i++)
		assert_int_equal(SSL_CTX_add1_chain_cert(ctx, middle), 1);
	/* A TLS 1.3 client is done before the server has looked at its certificate. */
	assert_false(client_connect(&c, ctx) && client_ask(&c, GET("/"), "body", answer, sizeof answer));
	client_close(&c);
	front_down();
}

static void
tls_selects_http_1_1_or_nothing(void **state)
{
	static const uint8_t both[] = { 2, 'h', '2', 8, 'h', 't', 't', 'p', '/', '1', '.', '1' };
	struct front_settings settings = tls_settings("one");
	SSL_CTX *ctx = client_context(TLS1_3_VERSION, false);
	const unsigned char *selected;
	struct client c;
	unsigned len;

	(void)state;
	front_up(&settings);
	assert_int_equal(SSL_CTX_set_alpn_protos(ctx, both, sizeof both), 0);
	assert_true(client_connect(&c, ctx));
	SSL_get0_alpn_selected(c.ssl, &selected, &len);
	assert_true(len == 8 && memcmp(selected, "http/1.1", 8) == 0);
	client_close(&c);
	ctx = client_context(TLS1_3_VERSION, false);
	assert_int_equal(SSL_CTX_set_alpn_protos(ctx, both, 3), 0);
	assert_false(client_connect(&c, ctx));
	client_close(&c);
	front_down();
}

static void
tls_minimum_version_is_kept(void **state)
{
	struct front_settings settings = tls_settings("one");
	struct client c;

	(void)state;
	settings.min_version = "1.3";
	front_up(&settings);
	assert_false(client_connect(&c, client_context(TLS1_2_VERSION, false)));
	client_close(&c);
	assert_true(client_connect(&c, client_context(TLS1_3_VERSION, false)));
	client_close(&c);
	front_down();
}

static void
tls_port_ends_what_is_not_tls_or_never_finishes(void **state)
{
	struct front_settings settings = tls_settings("one");
	char noise[2048];
	int fd, i;

	(void)state;
	settings.handshake_s = 1;
	front_up(&settings);
	fd = dial();
	say(fd, GET("/"));
	assert_ends(fd);
	(void)close(fd);
	fd = dial();
	say(fd, "\x16\x03\x01");
	assert_ended(fd);
	(void)close(fd);
	settings.handshake_s = 60;
	front_down();

	/* A ClientHello that goes on and on: records of one long handshake message, 128 KiB announced. */
	front_up(&settings);
	fd = dial();
	memset(noise, 'x', sizeof noise);
	memcpy(noise, "\x16\x03\x01\x07\xfb\x01\x01\xff\xff\x03\x03", 11);
	for (i = 0; i < 64 && send(fd, noise, sizeof noise, MSG_NOSIGNAL) > 0; i++)
		memcpy(noise, "\x16\x03\x01\x07\xfbxxxxxx", 11);
	assert_ends(fd);
	(void)close(fd);
	front_down();
}

static void
tls_pipelined_requests_and_large_answers_pass(void **state)
{
	struct front_settings settings = tls_settings("one");
	struct client c;
	size_t got = 0, head = 0;
	char *all = calloc(1, BIG_OCTETS + 4096);

	(void)state;
	front_up(&settings);
	assert_true(client_connect(&c, client_context(TLS1_3_VERSION, false)));
	/* Both in one record: the second waits inside libssl's buffer, not in the socket. */
	assert_true(SSL_write(c.ssl, GET("/big") GET("/after"), (int)strlen(GET("/big") GET("/after"))) > 0);
	while (head == 0 || got < head + BIG_OCTETS || strstr(all + head + BIG_OCTETS, "body \n") == NULL) {
		int n = SSL_read(c.ssl, all + got, (int)(BIG_OCTETS + 4095 - got));

		assert_true(n > 0);
		got += (size_t)n;
		if (head == 0 && strstr(all, "\r\n\r\n") != NULL)
			head = (size_t)(strstr(all, "\r\n\r\n") + 4 - all);
	}
	assert_memory_equal(all + head + BIG_OCTETS - 16, "0123456789abcdef", 16);
	assert_memory_equal(all + head + BIG_OCTETS, OK, strlen(OK));
	assert_has(all + head + BIG_OCTETS, "GET /after ");
	free(all);
	client_close(&c);
	front_down();
}

static void
tls_request_that_waits_in_libssls_buffer_is_served(void **state)
{
	struct front_settings settings = tls_settings("one");
	char answer[8192];
	struct client c;
	int on = 1, off = 0;

	(void)state;
	front_up(&settings);
	assert_true(client_connect(&c, client_context(TLS1_3_VERSION, false)));
	/* Two records in one segment: the second is read from the socket with the first, and no event tells of it. */
	assert_int_equal(setsockopt(c.fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on), 0);
	assert_true(SSL_write(c.ssl, GET("/1"), (int)strlen(GET("/1"))) > 0);
	assert_true(SSL_write(c.ssl, GET("/2"), (int)strlen(GET("/2"))) > 0);
	assert_int_equal(setsockopt(c.fd, IPPROTO_TCP, TCP_CORK, &off, sizeof off), 0);
	assert_true(client_hear(&c, "GET /2 ", answer, sizeof answer));
	client_close(&c);
	front_down();
}

/* The common name the server shows. */
static void
assert_server_is(struct client *c, const char *name)
{
	char text[64] = "";

	(void)X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(c->ssl)), NID_commonName, text,
		sizeof text);
	assert_string_equal(text, name);
}

static void
tls_reload_reaches_new_handshakes_and_drops_no_connection(void **state)
{
	struct front_settings one = tls_settings("one"), two = tls_settings("two"), bad;
	struct client old, fresh;
	char answer[4096];
	struct err e;

	(void)state;
	front_up(&one);
	assert_true(client_connect(&old, client_context(TLS1_3_VERSION, true)));
	assert_true(client_ask(&old, GET("/1"), "body", answer, sizeof answer));
	bad = two;
	bad.key = one.key;
	assert_int_equal(front_reload_tls(fixture.front, &bad, &e), -1);
	assert_has(e.text, "is not that of the key");
	bad = two;
	bad.groups = "nonsense";
	assert_int_equal(front_reload_tls(fixture.front, &bad, &e), -1);
	assert_true(client_connect(&fresh, client_context(TLS1_3_VERSION, true)));
	assert_server_is(&fresh, "one");
	client_close(&fresh);
	assert_int_equal(front_reload_tls(fixture.front, &two, &e), 0);
	assert_true(client_connect(&fresh, client_context(TLS1_3_VERSION, true)));
	assert_server_is(&fresh, "two");
	assert_true(client_ask(&fresh, GET("/2"), "body", answer, sizeof answer));
	client_close(&fresh);
	assert_true(client_ask(&old, GET("/3"), "body", answer, sizeof answer));
	client_close(&old);
	front_down();
}

static void *
stop_front(void *arg)
{
	front_stop(arg, PATIENCE_MS / 1000);
	return NULL;
}

static void
tls_stop_says_goodbye_and_answers_what_is_under_way(void **state)
{
	struct front_settings settings = tls_settings("one");
	struct client idle, held;
	char answer[4096];
	pthread_t thread;

	(void)state;
	settings.loops = 1; /* so that the stop has come to all connections when one of them ends */
	front_up(&settings);
	assert_true(client_connect(&idle, client_context(TLS1_3_VERSION, false)));
	assert_true(client_ask(&idle, GET("/"), "body", answer, sizeof answer));
	assert_true(client_connect(&held, client_context(TLS1_3_VERSION, true)));
	assert_true(SSL_write(held.ssl, GET("/hold"), (int)strlen(GET("/hold"))) > 0);
	gate_await(1);
	assert_int_equal(pthread_create(&thread, NULL, stop_front, fixture.front), 0);
	fixture.front = NULL;
	assert_int_equal(SSL_read(idle.ssl, answer, sizeof answer), 0);
	assert_int_equal(SSL_get_error(idle.ssl, 0), SSL_ERROR_ZERO_RETURN);
	client_close(&idle);
	gate_open(1);
	assert_true(SSL_read(held.ssl, answer, sizeof answer - 1) > 0);
	assert_has(answer, "Connection: close\r\n");
	client_close(&held);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tls13_gives_the_certificate_and_the_exporter),
		cmocka_unit_test(tls12_gives_the_certificate_and_tls_unique),
		cmocka_unit_test(tls12_without_extended_master_secret_has_no_binding),
		cmocka_unit_test(tls_refuses_absurd_client_chains),
		cmocka_unit_test(tls_selects_http_1_1_or_nothing),
		cmocka_unit_test(tls_minimum_version_is_kept),
		cmocka_unit_test(tls_port_ends_what_is_not_tls_or_never_finishes),
		cmocka_unit_test(tls_pipelined_requests_and_large_answers_pass),
		cmocka_unit_test(tls_request_that_waits_in_libssls_buffer_is_served),
		cmocka_unit_test(tls_reload_reaches_new_handshakes_and_drops_no_connection),
		cmocka_unit_test(tls_stop_says_goodbye_and_answers_what_is_under_way),
	};

	return cmocka_run_group_tests(tests, tls_open, tls_close);
}
