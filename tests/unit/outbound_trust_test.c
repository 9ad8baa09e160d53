/*
 * Whom a client trusts: what the CA file said when it was opened, whatever stands there later. What it tells of URLs, and of when a service
 * wants to be asked again.
 */
#define _GNU_SOURCE
#include "tests/unit/outbound_fixture.h"

static void
write_over(const char *path, const char *octets, size_t len)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(octets, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static size_t
read_whole(const char *path, char *out, size_t size)
{
	FILE *file = fopen(path, "r");
	size_t len;

	assert_non_null(file);
	len = fread(out, 1, size, file);
	assert_int_equal(fclose(file), 0);
	assert_true(len > 0 && len < size);
	return len;
}

/* A server on another port, so that a call to it is a new connection, and a whole handshake. */
static struct tls_server *
another_server(struct fixture *f, X509 *issuer, EVP_PKEY *issuer_key)
{
	X509 *cert = cert_make(&(struct cert_wish){ .cn = "server", .san = "IP:127.0.0.1", .days = 5 }, f->certs.key, issuer, issuer_key);
	struct tls_server *server = server_start(certs_context(&f->certs, cert), answer_reply, f);

	X509_free(cert);
	return server;
}

static void
reopen(struct fixture *f)
{
	outbound_close(f->client);
	f->client = NULL;
	assert_int_equal(outbound_open(&f->settings, &f->client, &f->e), 0);
}

static void
outbound_trusts_what_its_ca_file_said_until_it_is_opened_anew(void **state)
{
	struct fixture *f = *state;
	struct tls_server *same = another_server(f, f->certs.ca, f->certs.ca_key);
	struct tls_server *other = another_server(f, f->certs.other_ca, f->certs.other_key);
	struct outbound_request to_same = { .method = "GET", .path_or_url = same->url };
	struct outbound_request to_other = { .method = "GET", .path_or_url = other->url };
	char pem[8192];
	size_t len = read_whole(f->certs.other_file, pem, sizeof pem);

	open_client(f, "");
	call_ok(f, &get, 200);
	write_over(f->certs.ca_file, pem, len);
	call_ok(f, &get, 200);
	assert_int_equal(server_count(f->server, &f->server->accepted), 1); /* the connection was kept */
	call_ok(f, &to_same, 200);
	call_fails(f, &to_other, ERR_UPSTREAM, "not trusted");
	assert_int_equal(outbound_reach(f->client, same->url, &f->e), 0);
	assert_int_equal(outbound_reach(f->client, other->url, &f->e), -1);
	reopen(f);
	call_ok(f, &to_other, 200);
	call_fails(f, &to_same, ERR_UPSTREAM, "not trusted");
	server_stop(same);
	server_stop(other);
}

static void
outbound_calls_go_on_while_the_ca_file_is_half_written_or_gone(void **state)
{
	struct fixture *f = *state;
	struct tls_server *later = another_server(f, f->certs.ca, f->certs.ca_key);
	struct tls_server *latest = another_server(f, f->certs.ca, f->certs.ca_key);
	struct outbound_request to_later = { .method = "GET", .path_or_url = later->url };
	struct outbound_request to_latest = { .method = "GET", .path_or_url = latest->url };
	struct outbound *none = NULL;
	char pem[8192];
	size_t len = read_whole(f->certs.ca_file, pem, sizeof pem);

	open_client(f, "");
	write_over(f->certs.ca_file, pem, len / 2);
	call_ok(f, &to_later, 200);
	assert_int_equal(outbound_open(&f->settings, &none, &f->e), -1);
	assert_non_null(strstr(f->e.text, f->certs.ca_file));
	assert_int_equal(unlink(f->certs.ca_file), 0);
	call_ok(f, &to_latest, 200);
	assert_int_equal(outbound_open(&f->settings, &none, &f->e), -1);
	assert_null(none);
	server_stop(later);
	server_stop(latest);
}

static void
outbound_trusts_every_certificate_of_its_ca_file(void **state)
{
	struct fixture *f = *state;
	struct tls_server *other = another_server(f, f->certs.other_ca, f->certs.other_key);
	struct outbound_request to_other = { .method = "GET", .path_or_url = other->url };
	char pem[8192] = "# both\n";
	size_t len = strlen(pem);

	len += read_whole(f->certs.ca_file, pem + len, sizeof pem - len);
	len += read_whole(f->certs.other_file, pem + len, sizeof pem - len);
	write_over(f->certs.ca_file, pem, len);
	open_client(f, "");
	call_ok(f, &get, 200);
	call_ok(f, &to_other, 200);
	server_stop(other);
}

static void
outbound_repeats_no_url_that_it_cannot_read(void **state)
{
	static const char *const urls[] = { "ftp://user:hunter2@h/", "HTTPS://user:hunter2@h/", "https://user:hunter2@h:99999/",
		"https://user:hunter2@[h/", "https://user:p@hunter2@h/", "user:hunter2@h", "https://user:hunter2@h/#x", "https://user:hunter2@" };
	struct fixture *f = *state;
	struct outbound *none = NULL;
	size_t i;

	for (i = 0; i < sizeof urls / sizeof urls[0]; i++) {
		f->settings.base_url = urls[i];
		assert_int_equal(outbound_open(&f->settings, &none, &f->e), -1);
		assert_int_equal(f->e.code, ERR_MALFORMED);
		if (strstr(f->e.text, "hunter2") != NULL || strstr(f->e.text, "user:") != NULL || strstr(f->e.text, "URL") == NULL)
			fail_msg("%s", f->e.text);
	}
}

static void
retry_after_is(struct fixture *f, const char *value, int64_t least, int64_t most)
{
	(void)snprintf(f->reply.headers, sizeof f->reply.headers, "Retry-After: %s\r\n", value);
	call_ok(f, &get, 503);
	if (f->got.retry_after_s < least || f->got.retry_after_s > most)
		fail_msg("%s: %lld", value, (long long)f->got.retry_after_s);
}

/* RFC 9110, section 10.2.3: seconds, or a date. */
static void
outbound_tells_when_a_service_wants_to_be_asked_again(void **state)
{
	struct fixture *f = *state;
	char date[64];
	time_t at = time(NULL) + 1000;
	struct tm tm;

	f->reply.status = 503;
	open_client(f, "");
	retry_after_is(f, "120", 120, 120);
	retry_after_is(f, "0", 0, 0);
	retry_after_is(f, "-5", 0, 0);
	retry_after_is(f, "soon", 0, 0);
	retry_after_is(f, "99999999999999999999", 0, OUTBOUND_RETRY_MAX_S);
	retry_after_is(f, "Sun, 06 Nov 1994 08:49:37 GMT", 0, 0);
	assert_non_null(gmtime_r(&at, &tm));
	assert_true(strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0);
	retry_after_is(f, date, 1, 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(outbound_trusts_what_its_ca_file_said_until_it_is_opened_anew),
		test(outbound_calls_go_on_while_the_ca_file_is_half_written_or_gone),
		test(outbound_trusts_every_certificate_of_its_ca_file),
		test(outbound_repeats_no_url_that_it_cannot_read),
		test(outbound_tells_when_a_service_wants_to_be_asked_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
