/* What goes wrong with a service: every way ends in ERR_UPSTREAM and a sentence that says what to check. */
#define _GNU_SOURCE
#include "tests/unit/outbound_fixture.h"

/* The server shows this certificate from now on. */
static void
serve_with(struct fixture *f, const struct cert_wish *wish, X509 *issuer, EVP_PKEY *issuer_key)
{
	X509 *cert = cert_make(wish, f->certs.key, issuer, issuer_key);

	server_stop(f->server);
	f->server = server_start(certs_context(&f->certs, cert), answer_reply, f);
	X509_free(cert);
}

static void
outbound_refuses_a_certificate_of_another_ca(void **state)
{
	struct fixture *f = *state;

	serve_with(f, &(struct cert_wish){ .cn = "server", .san = "IP:127.0.0.1", .days = 5 }, f->certs.other_ca,
		f->certs.other_key);
	open_client(f, "");
	call_fails(f, &get, ERR_UPSTREAM, "not trusted");
	assert_int_equal(server_count(f->server, &f->server->requests), 0);
}

static void
outbound_refuses_a_certificate_of_another_ca_with_the_same_name(void **state)
{
	struct fixture *f = *state;
	X509 *namesake = cert_make(&(struct cert_wish){ .cn = "Test CA", .ca = true, .days = 5 }, f->certs.other_key, NULL,
		f->certs.other_key);

	serve_with(f, &(struct cert_wish){ .cn = "server", .san = "IP:127.0.0.1", .days = 5 }, namesake, f->certs.other_key);
	X509_free(namesake);
	open_client(f, "");
	call_fails(f, &get, ERR_UPSTREAM, "CA file");
	assert_int_equal(server_count(f->server, &f->server->requests), 0);
}

static void
outbound_does_not_fall_back_on_the_environment_or_the_system_for_trust(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(setenv("SSL_CERT_FILE", f->certs.ca_file, 1), 0);
	assert_int_equal(setenv("CURL_CA_BUNDLE", f->certs.ca_file, 1), 0);
	f->settings.ca_file = f->certs.other_file;
	open_client(f, "");
	call_fails(f, &get, ERR_UPSTREAM, "not trusted");
	f->settings.ca_file = NULL;
	f->settings.system_trust = true;
	open_client(f, "");
	call_fails(f, &get, ERR_UPSTREAM, "not trusted");
	assert_int_equal(unsetenv("SSL_CERT_FILE"), 0);
	assert_int_equal(unsetenv("CURL_CA_BUNDLE"), 0);
}

static void
outbound_refuses_a_certificate_for_another_name(void **state)
{
	struct fixture *f = *state;

	serve_with(f, &(struct cert_wish){ .cn = "127.0.0.1", .san = "IP:127.0.0.2,DNS:localhost", .days = 5 }, f->certs.ca,
		f->certs.ca_key);
	open_client(f, "");
	call_fails(f, &get, ERR_UPSTREAM, "another name");
	assert_int_equal(server_count(f->server, &f->server->requests), 0);
}

static void
outbound_refuses_an_expired_certificate(void **state)
{
	struct fixture *f = *state;

	serve_with(f, &(struct cert_wish){ .cn = "server", .san = "IP:127.0.0.1", .days = -1 }, f->certs.ca, f->certs.ca_key);
	open_client(f, "");
	call_fails(f, &get, ERR_UPSTREAM, "expired");
}

static void
outbound_reach_sees_what_a_call_would_see(void **state)
{
	struct fixture *f = *state;

	open_client(f, "");
	assert_int_equal(outbound_reach(f->client, NULL, &f->e), 0);
	assert_int_equal(outbound_reach(f->client, f->server->url, &f->e), 0);
	assert_int_equal(server_count(f->server, &f->server->requests), 0);
	assert_int_equal(server_count(f->server, &f->server->accepted), 2);
	f->settings.ca_file = f->certs.other_file;
	open_client(f, "");
	assert_int_equal(outbound_reach(f->client, NULL, &f->e), -1);
	assert_int_equal(f->e.code, ERR_UPSTREAM);
	assert_non_null(strstr(f->e.text, "not trusted"));
}

static void
outbound_speaks_no_tls_below_1_2(void **state)
{
	struct fixture *f = *state;
	SSL_CTX *ctx = certs_context(&f->certs, f->certs.server);

	SSL_CTX_set_security_level(ctx, 0);
	assert_int_equal(SSL_CTX_set_cipher_list(ctx, "ALL:@SECLEVEL=0"), 1);
	assert_int_equal(SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION), 1);
	assert_int_equal(SSL_CTX_set_max_proto_version(ctx, TLS1_1_VERSION), 1);
	server_stop(f->server);
	f->server = server_start(ctx, answer_reply, f);
	open_client(f, "");
	call_fails(f, &get, ERR_UPSTREAM, "TLS 1.2");
}

static void
outbound_shows_its_client_certificate(void **state)
{
	struct fixture *f = *state;
	SSL_CTX *ctx = certs_context(&f->certs, f->certs.server);

	assert_int_equal(SSL_CTX_load_verify_file(ctx, f->certs.ca_file), 1);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	server_stop(f->server);
	f->server = server_start(ctx, answer_reply, f);
	open_client(f, "");
	call_fails(f, &get, ERR_UPSTREAM, "client certificate");
	f->settings.cert_file = f->certs.client_file;
	f->settings.key_file = f->certs.client_key;
	open_client(f, "");
	call_ok(f, &get, 200);
}

/* One intermediate above it, which the server does not know; the key from wherever it is. */
static void
outbound_shows_its_chain_whatever_names_the_key(void **state)
{
	static const char *const keys[] = { "env:OUTBOUND_TEST_KEY", "credential:client.key", "file:", "file://" };
	struct fixture *f = *state;
	struct certs *c = &f->certs;
	SSL_CTX *ctx = certs_context(c, c->server);
	X509 *middle = cert_make(&(struct cert_wish){ .cn = "Middle CA", .ca = true, .days = 5 }, c->other_key, c->ca, c->ca_key);
	X509 *leaf = cert_make(&(struct cert_wish){ .cn = "gateway", .days = 5 }, c->key, middle, c->other_key);
	FILE *file = fopen(c->client_file, "w");
	BIO *pem = BIO_new(BIO_s_mem());
	char *text = NULL, source[256];
	size_t i;

	assert_true(file != NULL && PEM_write_X509(file, leaf) == 1 && PEM_write_X509(file, middle) == 1);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(PEM_write_bio_PrivateKey(pem, c->key, NULL, NULL, 0, NULL, NULL), 1);
	assert_true(BIO_write(pem, "", 1) == 1 && BIO_get_mem_data(pem, &text) > 1);
	assert_int_equal(setenv("OUTBOUND_TEST_KEY", text, 1), 0);
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", c->folder.path, 1), 0);
	assert_int_equal(SSL_CTX_set_num_tickets(ctx, 0), 1); /* nothing is resumed: each connection shows it */
	assert_int_equal(SSL_CTX_load_verify_file(ctx, c->ca_file), 1);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	server_stop(f->server);
	f->server = server_start(ctx, answer_reply, f);
	f->settings.cert_file = c->client_file;
	f->settings.key_file = source;
	for (i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		(void)snprintf(source, sizeof source, "%s%s", keys[i], i < 2 ? "" : c->client_key);
		open_client(f, "");
		call_ok(f, &get, 200);
	}
	/* Read once: what becomes of the files until the next reload changes nothing. */
	assert_int_equal(unlink(c->client_key), 0);
	assert_int_equal(unlink(c->client_file), 0);
	f->reply.close = true; /* the next call needs a new connection */
	call_ok(f, &get, 200);
	call_ok(f, &get, 200);
	assert_int_equal(unsetenv("OUTBOUND_TEST_KEY"), 0);
	assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
	BIO_free(pem);
	X509_free(leaf);
	X509_free(middle);
}

static void
outbound_says_that_a_connection_was_refused(void **state)
{
	struct fixture *f = *state;

	open_client(f, "");
	server_stop(f->server);
	f->server = NULL;
	call_fails(f, &get, ERR_UPSTREAM, "connection refused");
}

static void
outbound_says_that_a_name_is_unknown(void **state)
{
	/* A label of 64 octets: no resolver asks anybody for it (RFC 1035, section 2.3.4). */
	static const char url[] = "https://xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.invalid/";
	struct fixture *f = *state;

	open_client(f, "");
	call_fails(f, &(struct outbound_request){ .method = "GET", .path_or_url = url }, ERR_UPSTREAM, "DNS");
}

static void
outbound_ends_at_the_deadline_when_no_answer_comes(void **state)
{
	struct fixture *f = *state;

	open_client(f, "");
	f->reply.hang = true;
	call_fails(f, &(struct outbound_request){ .method = "GET", .deadline_ms = 300 }, ERR_UPSTREAM,
		"within the deadline of 300 ms");
	f->settings.deadline_ms = f->settings.connect_ms = 250;
	open_client(f, "");
	call_fails(f, &(struct outbound_request){ .method = "GET", .deadline_ms = 60000 }, ERR_UPSTREAM,
		"within the deadline of 250 ms");
	(void)pthread_mutex_lock(&f->server->lock); /* the connections that hang are still there */
	f->reply.hang = false;
	(void)pthread_mutex_unlock(&f->server->lock);
	call_ok(f, &get, 200);
}

/* A listener that accepts in the kernel's queue and never says a word. */
static void
outbound_ends_at_the_deadline_when_tls_does_not_begin(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char url[64];

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	(void)snprintf(url, sizeof url, "https://127.0.0.1:%d/", ntohs(at.sin_port));
	f->settings.connect_ms = 300;
	open_client(f, "");
	call_fails(f, &(struct outbound_request){ .method = "GET", .path_or_url = url }, ERR_UPSTREAM, "did not finish TLS");
	(void)close(fd);
}

static void
outbound_refuses_a_body_that_is_too_long(void **state)
{
	struct fixture *f = *state;

	f->settings.answer_max = 1000;
	open_client(f, "");
	memset(f->reply.body, 'x', 1000);
	call_ok(f, &get, 200);
	assert_int_equal(f->got.body.len, 1000);
	f->reply.body[1000] = 'x';
	call_fails(f, &get, ERR_UPSTREAM, "longer than 1000 octets");
	f->reply = (struct reply){ .raw = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" };
	call_ok(f, &get, 200);
	assert_string_equal(buf_text(&f->got.body), "abc");
	f->reply.raw = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n"
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	f->reply.raw_tail = f->reply.body;
	memset(f->reply.body, 'x', 1000);
	call_fails(f, &get, ERR_UPSTREAM, "longer than 1000 octets");
}

static void
outbound_refuses_headers_without_end(void **state)
{
	struct fixture *f = *state;

	open_client(f, "");
	f->reply = (struct reply){ .raw = "HTTP/1.1 100 Continue\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n\r\n",
		.raw_repeat = 600 };
	call_fails(f, &get, ERR_UPSTREAM, "headers");
}

static void
outbound_refuses_answers_that_break_off_or_are_no_http(void **state)
{
	static const char *const broken[] = { "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "SSH-2.0-OpenSSH\r\n", "<html>", "", "HTTP/1.1 2" };
	struct fixture *f = *state;
	size_t i;

	open_client(f, "");
	for (i = 0; i < sizeof broken / sizeof broken[0]; i++) {
		f->reply = (struct reply){ .raw = broken[i] };
		call_fails(f, &get, ERR_UPSTREAM, "");
	}
	f->reply = (struct reply){ .status = 200 };
	call_ok(f, &get, 200);
}

static void
outbound_error_texts_hold_no_path_and_no_query(void **state)
{
	struct fixture *f = *state;

	open_client(f, "/hook?key=sesame");
	f->reply.hang = true;
	call_fails(f, &(struct outbound_request){ .method = "GET", .deadline_ms = 200 }, ERR_UPSTREAM, f->server->url);
	assert_null(strstr(f->e.text, "sesame"));
	assert_null(strstr(f->e.text, "hook"));
}

static void
answer_and_close(struct tls_server *server, const struct seen *seen, struct reply *reply)
{
	(void)server;
	(void)seen;
	reply->close = true;
}

/* A service that keeps no connection gets no second full handshake: with a client certificate that is a signature for each call. */
static void
outbound_resumes_the_session_of_a_connection_that_the_service_closed(void **state)
{
	struct fixture *f = *state;
	size_t i;

	f->server->answer = answer_and_close;
	open_client(f, "");
	for (i = 1; i <= 3; i++) {
		call_ok(f, &get, 200);
		server_wait(f->server, &f->server->closed, i);
	}
	assert_int_equal(server_count(f->server, &f->server->accepted), 3);
	assert_int_equal(server_count(f->server, &f->server->resumed), 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(outbound_refuses_a_certificate_of_another_ca),
		test(outbound_refuses_a_certificate_of_another_ca_with_the_same_name),
		test(outbound_does_not_fall_back_on_the_environment_or_the_system_for_trust),
		test(outbound_refuses_a_certificate_for_another_name),
		test(outbound_refuses_an_expired_certificate),
		test(outbound_reach_sees_what_a_call_would_see),
		test(outbound_speaks_no_tls_below_1_2),
		test(outbound_shows_its_client_certificate),
		test(outbound_shows_its_chain_whatever_names_the_key),
		test(outbound_says_that_a_connection_was_refused),
		test(outbound_says_that_a_name_is_unknown),
		test(outbound_ends_at_the_deadline_when_no_answer_comes),
		test(outbound_ends_at_the_deadline_when_tls_does_not_begin),
		test(outbound_refuses_a_body_that_is_too_long),
		test(outbound_refuses_headers_without_end),
		test(outbound_refuses_answers_that_break_off_or_are_no_http),
		test(outbound_error_texts_hold_no_path_and_no_query),
		test(outbound_resumes_the_session_of_a_connection_that_the_service_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
