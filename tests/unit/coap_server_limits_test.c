#define _GNU_SOURCE
#include "tests/unit/coap_server_fixture.h"

static void
send_get(struct client *c, uint16_t id, const char *token)
{
	struct draft d;

	draft_begin(&d, CON, GET, id, token);
	draft_path(&d, "est/crts");
	client_send(c, &d);
}

static void
coap_server_answers_503_when_its_queue_is_full(void **state)
{
	struct fixture *f = *state;
	struct coaps_stats stats;
	struct client c[3];
	struct answer a;
	int i;

	f->settings.workers = 1;
	f->settings.queue_max = 1;
	fixture_start(f);
	fixture_hold(f, true);
	for (i = 0; i < 3; i++)
		client_open(&c[i], f->port, &f->device);
	send_get(&c[0], 1, "a");
	fixture_await_calls(f, 1);
	/* The worker is busy: the next one waits, the third is told to come again. */
	send_get(&c[1], 1, "a");
	client_receive(&c[1], &a);
	assert_int_equal(a.code, 0);
	send_get(&c[2], 1, "a");
	client_receive(&c[2], &a);
	assert_int_equal(a.code, 503);
	assert_in_range(a.max_age, 1, 60);
	coaps_server_stats(f->server, &stats);
	assert_int_equal(stats.refused_full_total, 1);
	fixture_hold(f, false);
	client_receive(&c[0], &a);
	while (a.code == 0)
		client_receive(&c[0], &a);
	assert_int_equal(a.code, 205);
	client_receive(&c[1], &a);
	assert_int_equal(a.code, 205);
	for (i = 0; i < 3; i++)
		client_close(&c[i]);
}

static void
coap_server_lets_the_quietest_session_go_when_all_places_are_taken(void **state)
{
	struct fixture *f = *state;
	struct client c[3];
	struct answer a;

	f->settings.sessions = 2;
	fixture_start(f);
	client_open(&c[0], f->port, &f->device);
	client_open(&c[1], f->port, &f->device);
	client_get(&c[1], "est/crts", &a);
	client_get(&c[0], "est/crts", &a);
	client_open(&c[2], f->port, &f->device);
	client_get(&c[2], "est/crts", &a);
	assert_int_equal(a.code, 205);
	/* The first one spoke after the second, which is told that it is over. */
	client_get(&c[0], "est/crts", &a);
	assert_int_equal(a.code, 205);
	assert_false(client_receive_within(&c[1], &a, FIXTURE_WAIT_S));
	assert_int_equal(SSL_get_shutdown(c[1].ssl), SSL_RECEIVED_SHUTDOWN);
	fixture_await_sessions(f, 2);
	for (int i = 0; i < 3; i++)
		client_close(&c[i]);
}

static void
coap_server_keeps_sessions_whose_request_runs_and_refuses_newcomers(void **state)
{
	struct fixture *f = *state;
	struct coaps_stats stats;
	struct client c[3];
	struct answer a;
	int i;

	f->settings.sessions = 2;
	f->settings.separate_ms = 20;
	fixture_start(f);
	fixture_hold(f, true);
	for (i = 0; i < 2; i++) {
		client_open(&c[i], f->port, &f->device);
		send_get(&c[i], 1, "a");
		client_receive(&c[i], &a);
		assert_int_equal(a.code, 0);
	}
	client_prepare(&c[2], f->port, &f->device, NULL);
	assert_int_not_equal(client_handshake(&c[2]), 1);
	client_close(&c[2]);
	fixture_await_sessions(f, 2);
	coaps_server_stats(f->server, &stats);
	assert_in_range(stats.refused_full_total, 1, 20);
	fixture_hold(f, false);
	for (i = 0; i < 2; i++) {
		client_receive(&c[i], &a);
		assert_int_equal(a.code, 205);
		client_acknowledge(&c[i], a.id);
		client_close(&c[i]);
	}
}

static void
post(struct client *c, const char *path, struct answer *a)
{
	struct draft d;

	draft_begin(&d, CON, POST, ++c->next_id, "late");
	draft_path(&d, path);
	draft_payload(&d, fixture_pattern(300));
	client_ask(c, &d, a);
}

/* RFC 9148, section 4.7: the client comes back; until then nobody else is set to the same task. */
static void
coap_server_answers_503_when_it_takes_long(void **state)
{
	struct fixture *f = *state;
	struct client c, again;
	struct answer a;

	f->settings.separate_ms = 20;
	f->settings.late_ms = 200;
	fixture_connect(f, &c);
	fixture_hold(f, true);
	post(&c, "est/sen", &a);
	assert_true(a.type == ACK && a.code == 0);
	client_receive(&c, &a);
	assert_true(a.type == CON && a.code == 503 && a.max_age > 0);
	assert_string_equal(a.token, "late");
	client_acknowledge(&c, a.id);
	post(&c, "est/sen", &a);
	assert_true(a.type == ACK && a.code == 503 && a.max_age > 0);
	client_open(&again, f->port, &f->device);
	post(&again, "est/sen", &a);
	assert_int_equal(a.code, 503);
	assert_int_equal(fixture_calls(f), 1);
	fixture_hold(f, false);
	while (a.code == 503)
		post(&again, "est/sen", &a);
	assert_int_equal(a.code, 204);
	assert_int_equal(fixture_calls(f), 2);
	client_close(&again);
	client_close(&c);
}

/* The key goes out with the answer or not at all. */
static void
coap_server_waits_for_a_key(void **state)
{
	struct fixture *f = *state;
	struct client c;
	struct answer a;

	f->settings.separate_ms = 20;
	f->settings.late_ms = 40;
	fixture_connect(f, &c);
	fixture_hold(f, true);
	post(&c, "est/skg", &a);
	assert_true(a.type == ACK && a.code == 0);
	assert_false(client_receive_within(&c, &a, 1));
	fixture_hold(f, false);
	client_receive(&c, &a);
	assert_true(a.type == CON && a.code == 204);
	client_acknowledge(&c, a.id);
	client_close(&c);
}

static void
coap_server_runs_four_requests_of_one_session_at_a_time(void **state)
{
	struct fixture *f = *state;
	struct client c;
	struct answer a;
	uint16_t id;

	f->settings.workers = 8;
	fixture_start(f);
	fixture_hold(f, true);
	client_open(&c, f->port, &f->device);
	for (id = 0; id < 5; id++)
		send_get(&c, id, "a");
	client_receive(&c, &a);
	while (a.code == 0)
		client_receive(&c, &a);
	assert_int_equal(a.code, 503);
	assert_int_equal(a.id, 4);
	fixture_await_calls(f, 4);
	fixture_hold(f, false);
	client_close(&c);
	fixture_await_sessions(f, 0);
	assert_int_equal(fixture_calls(f), 4);
}

/* The first datagram of a handshake, taken from OpenSSL. */
static size_t
make_hello(uint8_t *out, size_t size)
{
	SSL_CTX *ctx = SSL_CTX_new(DTLS_client_method());
	SSL *ssl = SSL_new(ctx);
	BIO *in = BIO_new(BIO_s_mem()), *sent = BIO_new(BIO_s_mem());
	int len;

	assert_int_equal(SSL_set_cipher_list(ssl, "ECDHE-ECDSA-AES128-CCM8"), 1);
	(void)BIO_set_mem_eof_return(in, -1);
	SSL_set_bio(ssl, in, sent);
	(void)SSL_set_options(ssl, SSL_OP_NO_QUERY_MTU);
	(void)SSL_set_mtu(ssl, 1200);
	assert_int_equal(SSL_connect(ssl), -1);
	len = BIO_read(sent, out, (int)size);
	assert_true(len > 0);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return (size_t)len;
}

/* Sends from so many addresses of 127.0.0.0/8; each answer is a HelloVerifyRequest nobody answers. */
static void
flood(const struct fixture *f, int count)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)f->port) };
	uint8_t hello[1500];
	size_t len = make_hello(hello, sizeof hello);
	int i;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (i = 0; i < count; i++) {
		struct sockaddr_in from = { .sin_family = AF_INET };
		int fd = socket(AF_INET, SOCK_DGRAM, 0);
		const struct timeval wait = { .tv_sec = 5 };
		uint8_t verify[200];

		from.sin_addr.s_addr = htonl(0x7f010001 + (uint32_t)(i / 200 << 8) + (uint32_t)(i % 200));
		assert_true(fd >= 0);
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait), 0);
		assert_int_equal(bind(fd, (const struct sockaddr *)&from, sizeof from), 0);
		assert_int_equal(sendto(fd, hello, len, 0, (const struct sockaddr *)&to, sizeof to), len);
		/* Waiting for some of them keeps the server's socket from overflowing. */
		if (i % 50 == 49)
			assert_true(recv(fd, verify, sizeof verify, 0) > 0);
		(void)close(fd);
	}
}

static void
coap_server_lets_a_device_in_after_2000_forged_hellos(void **state)
{
	struct fixture *f = *state;
	struct coaps_stats stats;
	struct client before, after;
	struct answer a;

	f->settings.sessions = 10;
	fixture_connect(f, &before);
	flood(f, 2000);
	client_open(&after, f->port, &f->device);
	client_get(&after, "est/crts", &a);
	assert_int_equal(a.code, 205);
	client_get(&before, "est/crts", &a);
	assert_int_equal(a.code, 205);
	coaps_server_stats(f->server, &stats);
	assert_int_equal(stats.sessions, 2);
	assert_int_equal(stats.refused_full_total, 0);
	client_close(&before);
	client_close(&after);
}

static void *
stop(void *arg)
{
	coaps_server_stop(arg, FIXTURE_WAIT_S);
	return NULL;
}

static void
coap_server_answers_what_runs_when_it_stops(void **state)
{
	struct fixture *f = *state;
	struct client running, idle, late;
	struct coaps_server *server;
	pthread_t thread;
	struct answer a;
	int tries = 0;

	f->settings.separate_ms = 20;
	fixture_connect(f, &running);
	client_open(&idle, f->port, &f->device);
	fixture_hold(f, true);
	send_get(&running, 1, "a");
	fixture_await_calls(f, 1);
	server = f->server;
	f->server = NULL;
	assert_int_equal(pthread_create(&thread, NULL, stop, server), 0);
	/* Nothing new begins; the first try may come before the server knows. */
	do {
		client_get(&idle, "est/nothing", &a);
		assert_int_equal(a.code, 404);
		client_prepare(&late, f->port, &f->device, NULL);
		a.code = client_handshake(&late);
		client_close(&late);
		assert_in_range(tries++, 0, 10000);
	} while (a.code == 1);
	client_get(&idle, "est/crts", &a);
	assert_int_equal(a.code, 503);
	fixture_hold(f, false);
	client_receive(&running, &a);
	while (a.code == 0)
		client_receive(&running, &a);
	assert_int_equal(a.code, 205);
	if (a.type == CON)
		client_acknowledge(&running, a.id);
	assert_int_equal(pthread_join(thread, NULL), 0);
	client_close(&running);
	client_close(&idle);
}

/* How many sockets of this process have the port; each shares it on purpose. */
static int
sockets_of(int port)
{
	int fd, count = 0;

	for (fd = 0; fd < 256; fd++) {
		struct sockaddr_in own;
		socklen_t size = sizeof own, on_size = sizeof(int);
		int on = 0;

		if (getsockname(fd, (struct sockaddr *)&own, &size) != 0 || own.sin_family != AF_INET ||
		    own.sin_port != htons((uint16_t)port))
			continue;
		assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, &on_size), 0);
		assert_int_equal(on, 1);
		count++;
	}
	return count;
}

static void
coap_server_shares_a_port_between_its_contexts(void **state)
{
	struct fixture *f = *state;
	struct client c[16];
	struct answer a;
	int i;

	f->settings.contexts = 4;
	fixture_start(f);
	assert_int_equal(sockets_of(f->port), 4);
	for (i = 0; i < 16; i++)
		client_open(&c[i], f->port, &f->device);
	for (i = 0; i < 16; i++) {
		client_get(&c[i], "est/crts", &a);
		assert_int_equal(a.code, 205);
	}
	fixture_await_sessions(f, 16);
	for (i = 0; i < 16; i++)
		client_close(&c[i]);
	fixture_await_sessions(f, 0);
}

static void
coap_server_does_not_share_a_port_with_anybody_else(void **state)
{
	struct fixture *f = *state;
	struct coaps_server *second = NULL;
	const char *listen[2];
	char text[32];
	struct err e = { 0 };

	f->settings.contexts = 2;
	fixture_start(f);
	(void)snprintf(text, sizeof text, "127.0.0.1:%d", f->port);
	listen[0] = "127.0.0.1:0";
	listen[1] = text;
	f->settings.listen = listen;
	f->settings.listen_count = 2;
	assert_int_equal(coaps_server_start(&f->settings, &second, &e), -1);
	assert_null(second);
	assert_int_equal(e.code, ERR_UPSTREAM);
	assert_non_null(strstr(e.text, text));
}

static void
coap_server_listens_on_several_addresses_of_both_families(void **state)
{
	static const char *const listen[] = { "127.0.0.1:0", "[::]:0" };
	struct fixture *f = *state;
	struct client c;
	struct answer a;

	f->settings.listen = listen;
	f->settings.listen_count = 2;
	fixture_start(f);
	assert_int_equal(coaps_server_port(f->server, 2), -1);
	client_open(&c, f->port, &f->device);
	client_get(&c, "est/crts", &a);
	assert_int_equal(a.code, 205);
	client_close(&c);
	/* IPv4 through the IPv6 socket is shown as IPv4. */
	client_open(&c, coaps_server_port(f->server, 1), &f->device);
	client_get(&c, "est/crts", &a);
	assert_int_equal(a.code, 205);
	assert_string_equal(seen(f)->address, "127.0.0.1");
	client_close(&c);
}

static void
coap_server_refuses_settings_that_cannot_be(void **state)
{
	static const char *const bad_listen[] = { "localhost", "127.0.0.1", "127.0.0.1:x", "::1:5684", "[::1]", ":5684",
		"127.0.0.1:70000x" };
	static const char *const bad_roots[] = { "est", "/", "", "/est/" };
	struct fixture *f = *state;
	struct coaps_settings good = f->settings;
	struct err e;
	size_t i;

	for (i = 0; i < sizeof bad_listen / sizeof bad_listen[0]; i++) {
		f->settings.listen = &bad_listen[i];
		assert_int_equal(coaps_server_start(&f->settings, &f->server, &e), -1);
		assert_int_equal(e.code, ERR_MALFORMED);
	}
	f->settings = good;
	for (i = 0; i < sizeof bad_roots / sizeof bad_roots[0]; i++) {
		f->settings.roots = &bad_roots[i];
		assert_int_equal(coaps_server_start(&f->settings, &f->server, &e), -1);
	}
	f->settings = good;
	f->settings.mtu = 100;
	assert_int_equal(coaps_server_start(&f->settings, &f->server, &e), -1);
	f->settings = good;
	f->settings.body_max = COAPS_BODY_MAX + 1;
	assert_int_equal(coaps_server_start(&f->settings, &f->server, &e), -1);
	f->settings = good;
	f->settings.listen_count = 0;
	assert_int_equal(coaps_server_start(&f->settings, &f->server, &e), -1);
	f->settings = good;
	f->settings.workers = -1;
	assert_int_equal(coaps_server_start(&f->settings, &f->server, &e), -1);
	assert_null(f->server);
}

static void
coap_bind_shares_ports_only_where_it_is_asked_to(void **state)
{
	struct fixture *f = *state;
	int fd = socket(AF_INET, SOCK_DGRAM, 0), on = -1;
	struct sockaddr_in any = { .sin_family = AF_INET };
	socklen_t size = sizeof on;

	fixture_start(f);
	any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (const struct sockaddr *)&any, sizeof any), 0);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, &size), 0);
	assert_int_equal(on, 0);
	(void)close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(coap_server_answers_503_when_its_queue_is_full),
		TEST(coap_server_lets_the_quietest_session_go_when_all_places_are_taken),
		TEST(coap_server_keeps_sessions_whose_request_runs_and_refuses_newcomers),
		TEST(coap_server_answers_503_when_it_takes_long),
		TEST(coap_server_waits_for_a_key),
		TEST(coap_server_runs_four_requests_of_one_session_at_a_time),
		TEST(coap_server_lets_a_device_in_after_2000_forged_hellos),
		TEST(coap_server_answers_what_runs_when_it_stops),
		TEST(coap_server_shares_a_port_between_its_contexts),
		TEST(coap_server_does_not_share_a_port_with_anybody_else),
		TEST(coap_server_listens_on_several_addresses_of_both_families),
		TEST(coap_server_refuses_settings_that_cannot_be),
		TEST(coap_bind_shares_ports_only_where_it_is_asked_to),
	};

	return cmocka_run_group_tests_name("coap server limits", tests, NULL, NULL);
}
