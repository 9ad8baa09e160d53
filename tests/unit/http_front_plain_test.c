#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "gateway/http/request.h"
#include "tests/unit/http_front_fixture.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: test\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\n"

static char directory[] = "/tmp/front-plain-test-XXXXXX";
static char certificate[64], key[64];

static FILE *
create(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fdopen(fd, "w");
}

static int
plain_open(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *pair = EVP_EC_gen("P-256");
	CLEANUP(X509) X509 *cert = X509_new();
	FILE *out;

	if (fixture_open(state) != 0 || mkdtemp(directory) == NULL)
		return -1;
	(void)snprintf(certificate, sizeof certificate, "%s/server.pem", directory);
	(void)snprintf(key, sizeof key, "%s/server.key", directory);
	(void)ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	(void)X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	(void)X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	(void)X509_set_pubkey(cert, pair);
	assert_true(X509_sign(cert, pair, EVP_sha256()) > 0);
	out = create(certificate);
	assert_true(PEM_write_X509(out, cert) == 1 && fclose(out) == 0);
	out = create(key);
	assert_true(PEM_write_PrivateKey(out, pair, NULL, NULL, 0, NULL, NULL) == 1 && fclose(out) == 0);
	return 0;
}

static int
plain_close(void **state)
{
	(void)unlink(certificate);
	(void)unlink(key);
	(void)rmdir(directory);
	return fixture_close(state);
}

static bool
is_scep(struct bytes path)
{
	return bytes_equal_text(path, "/scep");
}

static struct front_settings
both_settings(void)
{
	static const char *const plain[] = { "127.0.0.1:0", "[::1]:0" };
	struct front_settings settings = settings_for_tests();

	settings.tls = true;
	settings.certificate = certificate;
	settings.key = key;
	settings.listen_plain = plain;
	settings.listen_plain_count = 2;
	settings.takes_long_target = is_scep;
	return settings;
}

struct tls_client {
	SSL_CTX *ctx;
	SSL *ssl;
	int fd;
};

static struct tls_client
tls_dial(int port)
{
	struct tls_client client = { .ctx = SSL_CTX_new(TLS_client_method()), .fd = dial_port(port) };

	client.ssl = SSL_new(client.ctx);
	assert_int_equal(SSL_set_fd(client.ssl, client.fd), 1);
	assert_int_equal(SSL_connect(client.ssl), 1);
	return client;
}

static void
tls_close(struct tls_client *client)
{
	SSL_free(client->ssl);
	SSL_CTX_free(client->ctx);
	(void)close(client->fd);
}

static void
assert_tls_answers(int port)
{
	struct tls_client client = tls_dial(port);
	char answer[4096];
	int got = 0, n;

	assert_true(SSL_write(client.ssl, "GET / HTTP/1.0\r\n\r\n", 18) == 18);
	while ((n = SSL_read(client.ssl, answer + got, (int)sizeof answer - 1 - got)) > 0)
		got += n;
	answer[got] = '\0';
	assert_non_null(strstr(answer, "tls TLSv1.3\n"));
	tls_close(&client);
}

static void
front_speaks_tls_and_plain_on_ports_of_their_own(void **state)
{
	struct front_settings settings = both_settings();
	int fd, plain, i;

	(void)state;
	front_up(&settings);
	plain = front_port(fixture.front, 1);
	assert_true(plain != 0 && plain != fixture.port && front_port(fixture.front, 2) != 0);
	assert_int_equal(front_port(fixture.front, 3), 0);
	for (i = 0; i < 3; i++) {
		fd = dial_port(plain);
		say(fd, GET("/"));
		assert_heard(fd, OK, "tls \nclient none\n");
		(void)close(fd);
		assert_tls_answers(fixture.port);
	}
	front_down();
}

static void
front_serves_plain_without_any_tls(void **state)
{
	struct front_settings settings = both_settings();
	int fd;

	(void)state;
	settings.listen_count = 0;
	settings.tls = false;
	settings.certificate = settings.key = NULL;
	front_up(&settings);
	fd = dial();
	say(fd, GET("/"));
	assert_heard(fd, OK, "tls \n");
	(void)close(fd);
	front_down();
}

static void
front_tells_a_tls_client_that_the_port_is_plain(void **state)
{
	struct front_settings settings = both_settings();
	int fd;

	(void)state;
	front_up(&settings);
	fd = dial_port(front_port(fixture.front, 1));
	say(fd, "\x16\x03\x01\x02");
	assert_heard(fd, "HTTP/1.1 400 ", "not an HTTP request");
	assert_ended(fd);
	(void)close(fd);
	fd = dial();
	say(fd, GET("/"));
	assert_ends(fd);
	(void)close(fd);
	front_down();
}

static void
front_counts_connections_of_both_kinds_together(void **state)
{
	struct front_settings settings = both_settings();
	struct tls_client tls;
	int plain, third, all;

	(void)state;
	for (all = 0; all < 2; all++) {
		settings.connections = all ? 2 : 100;
		settings.connections_per_address = all ? 100 : 2;
		front_up(&settings);
		tls = tls_dial(fixture.port);
		plain = dial_port(front_port(fixture.front, 1));
		say(plain, GET("/"));
		assert_heard(plain, OK, "");
		third = dial_port(front_port(fixture.front, 1));
		assert_ended(third);
		(void)close(third);
		third = dial();
		assert_ended(third);
		(void)close(third);
		tls_close(&tls);
		(void)close(plain);
		front_down();
	}
}

/* IOS of the last century: no Host, no keep-alive, and the end of the answer is the end of the connection. */
static void
front_serves_http_1_0_on_the_plain_port(void **state)
{
	static const char *const requests[] = { "GET /scep?operation=GetCACaps HTTP/1.0\r\n\r\n",
		"GET /scep?operation=GetCACaps HTTP/1.0\r\nHost: 192.0.2.1\r\nUser-Agent: Cisco PKI\r\n\r\n",
		"POST /scep?operation=GetCACaps HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc" };
	struct front_settings settings = both_settings();
	char *answer;
	size_t i;

	(void)state;
	front_up(&settings);
	for (i = 0; i < sizeof requests / sizeof requests[0]; i++) {
		int fd = dial_port(front_port(fixture.front, 1));

		say(fd, requests[i]);
		answer = hear(fd, false);
		assert_non_null(strstr(answer, "/scep operation=GetCACaps\n"));
		assert_non_null(strstr(answer, "\r\nContent-Length: "));
		assert_non_null(strstr(answer, "\r\nConnection: close\r\n"));
		assert_null(strstr(answer, "Transfer-Encoding"));
		assert_ended(fd);
		free(answer);
		(void)close(fd);
	}
	front_down();
}

static void
append_times(struct buf *text, char c, size_t times)
{
	while (times-- > 0)
		buf_append_u8(text, (uint8_t)c);
}

/* begin, then so many octets of query, the rest of the line, fields in so many octets, and the end. */
static const char *
request_of(struct buf *text, const char *begin, size_t target_len, size_t head_len)
{
	size_t before = strlen(strchr(begin, ' ') + 1);

	buf_clear(text);
	buf_append_text(text, begin);
	append_times(text, 'q', target_len - before);
	buf_append_text(text, " HTTP/1.1\r\nHost: test\r\n");
	if (head_len != 0) {
		buf_append_text(text, "X: ");
		append_times(text, 'x', head_len - text->len - strlen("\r\n\r\n"));
		buf_append_text(text, "\r\n");
	}
	buf_append_text(text, "\r\n");
	return buf_text(text);
}

static void
front_takes_a_whole_message_in_a_scep_get(void **state)
{
	CLEANUP(buf) struct buf text = { 0 }, query = { 0 };
	struct front_settings settings = both_settings();
	int fd;

	(void)state;
	front_up(&settings);
	fd = dial_port(front_port(fixture.front, 1));
	append_times(&query, 'q', HTTP_TARGET_LONG_MAX - strlen("/scep?"));
	say(fd, request_of(&text, "GET /scep?", HTTP_TARGET_LONG_MAX, 0));
	assert_heard(fd, OK, buf_text(&query));
	/* ... with as many fields as any other head may have */
	say(fd, request_of(&text, "GET /scep?", HTTP_TARGET_LONG_MAX, HTTP_TARGET_LONG_MAX + 4096));
	assert_heard(fd, OK, buf_text(&query));
	(void)close(fd);
	settings.header_max = FRONT_HEADER_MAX;
	front_up(&settings);
	fd = dial_port(front_port(fixture.front, 1));
	/* The largest head that there is: CivetWeb takes it with what the front adds. */
	say(fd, request_of(&text, "GET /scep?", HTTP_TARGET_LONG_MAX, FRONT_HEADER_MAX));
	assert_heard(fd, OK, buf_text(&query));
	(void)close(fd);
	front_down();
}

static void
assert_refused_with(int status, const char *text)
{
	int fd = dial_port(front_port(fixture.front, 1));
	char line[32];

	(void)snprintf(line, sizeof line, "HTTP/1.1 %d ", status);
	say(fd, text);
	assert_heard(fd, line, "Connection: close\r\n");
	assert_ended(fd);
	(void)close(fd);
}

static void
front_takes_long_targets_nowhere_else(void **state)
{
	CLEANUP(buf) struct buf text = { 0 };
	struct front_settings settings = both_settings();
	int fd;

	(void)state;
	front_up(&settings);
	assert_refused_with(414, request_of(&text, "GET /scep?", HTTP_TARGET_LONG_MAX + 1, 0));
	assert_refused_with(431, request_of(&text, "GET /scep?", HTTP_TARGET_LONG_MAX, HTTP_TARGET_LONG_MAX + 4097));
	assert_refused_with(414, request_of(&text, "GET /other?", 5000, 0));
	assert_refused_with(414, request_of(&text, "POST /scep?", 5000, 0));
	assert_refused_with(414, request_of(&text, "GET /scep/", 5000, 0));
	/* What one request was allowed says nothing of the next one on the connection. */
	fd = dial_port(front_port(fixture.front, 1));
	say(fd, request_of(&text, "GET /scep?", 5000, 0));
	assert_heard(fd, OK, "GET /scep ");
	say(fd, request_of(&text, "GET /other?", 5000, 0));
	assert_heard(fd, "HTTP/1.1 414 ", "");
	assert_ended(fd);
	(void)close(fd);
	/* The other limits stay: fields that are too long, and a long target where header_max would allow it. */
	settings.header_max = FRONT_HEADER_MAX;
	front_up(&settings);
	assert_refused_with(414, request_of(&text, "GET /other?", HTTP_TARGET_MAX + 1, 0));
	assert_refused_with(431, request_of(&text, "GET /scep?", HTTP_TARGET_LONG_MAX, FRONT_HEADER_MAX + 1));
	front_down();
}

static void
front_takes_a_long_target_octet_by_octet(void **state)
{
	CLEANUP(buf) struct buf text = { 0 };
	struct front_settings settings = both_settings();
	const char *at;
	int fd, on = 1;

	(void)state;
	front_up(&settings);
	fd = dial_port(front_port(fixture.front, 1));
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
	for (at = request_of(&text, "GET http://a/scep?", 6000, 0); *at != '\0'; at++)
		assert_int_equal(send(fd, at, 1, MSG_NOSIGNAL), 1);
	assert_heard(fd, OK, "GET /scep qqqq");
	(void)close(fd);
	front_down();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(front_speaks_tls_and_plain_on_ports_of_their_own),
		cmocka_unit_test(front_serves_plain_without_any_tls),
		cmocka_unit_test(front_tells_a_tls_client_that_the_port_is_plain),
		cmocka_unit_test(front_counts_connections_of_both_kinds_together),
		cmocka_unit_test(front_serves_http_1_0_on_the_plain_port),
		cmocka_unit_test(front_takes_a_whole_message_in_a_scep_get),
		cmocka_unit_test(front_takes_long_targets_nowhere_else),
		cmocka_unit_test(front_takes_a_long_target_octet_by_octet),
	};

	return cmocka_run_group_tests(tests, plain_open, plain_close);
}
