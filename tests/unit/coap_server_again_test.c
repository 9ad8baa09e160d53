/* A ClientHello from the address of a connection that exists (RFC 6347, section 4.2.8). */
#define _GNU_SOURCE
#include "tests/unit/coap_server_fixture.h"

#include <poll.h>

#define HELLO_VERIFY_REQUEST 3

/* Another handshake from the same socket, as after a restart that kept the port: the old one's keys are gone. */
static void
client_restart(struct client *c)
{
	BIO *bio = SSL_get_rbio(c->ssl);

	assert_int_equal(BIO_up_ref(bio), 1);
	SSL_free(c->ssl);
	c->ssl = SSL_new(c->ctx);
	assert_non_null(c->ssl);
	SSL_set_bio(c->ssl, bio, bio);
}

/* A handshake that a test makes datagram by datagram, over the socket of a client. */
struct half {
	SSL *ssl;
	BIO *in, *out;
	int fd;
	uint8_t hello[1500]; /* the last one that was made */
	size_t hello_len;
};

static void
half_transmit(const struct half *h)
{
	assert_int_equal(send(h->fd, h->hello, h->hello_len, 0), h->hello_len);
}

/* Makes the next ClientHello, which is the last record of what comes out: one before it may be sent again. */
static void
half_make(struct half *h)
{
	uint8_t octets[4096];
	size_t len, at = 0, record = 0;

	assert_int_not_equal(SSL_do_handshake(h->ssl), 1);
	len = (size_t)BIO_read(h->out, octets, sizeof octets);
	while (at < len) {
		record = at;
		at += 13 + ((size_t)octets[at + 11] << 8 | octets[at + 12]);
	}
	h->hello_len = len - record;
	assert_in_range(h->hello_len, 60, sizeof h->hello);
	memcpy(h->hello, octets + record, h->hello_len);
}

static void
half_begin(struct half *h, struct client *c)
{
	memset(h, 0, sizeof *h);
	h->fd = c->fd;
	h->ssl = SSL_new(c->ctx);
	h->in = BIO_new(BIO_s_mem());
	h->out = BIO_new(BIO_s_mem());
	assert_non_null(h->ssl);
	(void)BIO_set_mem_eof_return(h->in, -1);
	SSL_set_bio(h->ssl, h->in, h->out);
	SSL_set_connect_state(h->ssl);
	(void)SSL_set_options(h->ssl, SSL_OP_NO_QUERY_MTU);
	(void)SSL_set_mtu(h->ssl, 1200);
	half_make(h);
	half_transmit(h);
}

/* The next datagram, for this handshake; the message type in it. */
static int
half_receive(struct half *h)
{
	struct pollfd p = { .fd = h->fd, .events = POLLIN };
	uint8_t octets[2048];
	ssize_t n;

	assert_int_equal(poll(&p, 1, CLIENT_WAIT_S * 1000), 1);
	n = recv(h->fd, octets, sizeof octets, 0);
	assert_true(n > 13);
	assert_int_equal(BIO_write(h->in, octets, (int)n), n);
	return octets[13];
}

static void
half_end(struct half *h)
{
	SSL_free(h->ssl);
}

/* Until the last ClientHello is answered: the connection has been quiet for long enough to be questioned. */
static void
half_await_cookie(struct half *h)
{
	struct pollfd p = { .fd = h->fd, .events = POLLIN };
	int tries;

	for (tries = 0; tries < CLIENT_WAIT_S * 5 && poll(&p, 1, 200) == 0; tries++)
		half_transmit(h);
	assert_int_equal(half_receive(h), HELLO_VERIFY_REQUEST);
}

static int64_t
superseded(struct fixture *f)
{
	struct coaps_stats stats;

	coaps_server_stats(f->server, &stats);
	return stats.superseded_total;
}

static void
assert_serves(struct client *c)
{
	struct answer a;

	client_get(c, "est/crts", &a);
	assert_int_equal(a.code, 205);
	assert_string_equal(a.token, "tk");
}

static void
coap_server_lets_a_device_in_that_restarted_on_its_port(void **state)
{
	struct fixture *f = *state;
	struct client c;

	fixture_connect(f, &c);
	assert_serves(&c);
	client_restart(&c);
	assert_int_equal(client_handshake(&c), 1);
	assert_serves(&c);
	assert_int_equal(superseded(f), 1);
	fixture_await_sessions(f, 1);
	client_close(&c);
}

/* What the old connection asked for runs on; nobody waits for it. */
static void
coap_server_lets_it_in_while_its_former_request_runs(void **state)
{
	struct fixture *f = *state;
	struct client c;
	struct draft d;

	fixture_connect(f, &c);
	fixture_hold(f, true);
	draft_begin(&d, CON, GET, ++c.next_id, "old");
	draft_path(&d, "est/crts");
	client_send(&c, &d);
	fixture_await_calls(f, 1);
	client_restart(&c);
	assert_int_equal(client_handshake(&c), 1);
	fixture_hold(f, false);
	assert_serves(&c);
	assert_int_equal(superseded(f), 1);
	client_close(&c);
}

static void
coap_server_lets_it_in_after_half_a_handshake(void **state)
{
	struct fixture *f = *state;
	struct client c;
	struct half h;

	fixture_start(f);
	client_prepare(&c, f->port, &f->device, NULL);
	half_begin(&h, &c);
	assert_int_equal(half_receive(&h), HELLO_VERIFY_REQUEST);
	half_make(&h);
	half_transmit(&h);
	fixture_await_sessions(f, 1);
	/* What came for the former one is lost with it. */
	while (half_receive(&h) != SSL3_MT_SERVER_DONE)
		continue;
	half_end(&h);
	assert_int_equal(client_handshake(&c), 1);
	assert_serves(&c);
	assert_int_equal(superseded(f), 1);
	client_close(&c);
}

/* Who forges the address does not see the cookie: such hellos change nothing, however many come. */
static void
coap_server_keeps_a_connection_whose_hellos_bring_no_cookie(void **state)
{
	struct fixture *f = *state;
	struct client c;
	struct half h;
	int i;

	fixture_connect(f, &c);
	assert_serves(&c);
	half_begin(&h, &c);
	half_await_cookie(&h);
	for (i = 0; i < 20; i++) {
		half_transmit(&h);
		assert_int_equal(half_receive(&h), HELLO_VERIFY_REQUEST);
	}
	half_end(&h);
	assert_serves(&c);
	assert_int_equal(superseded(f), 0);
	client_close(&c);
}

static void
coap_server_keeps_a_connection_whose_hellos_bring_a_wrong_cookie(void **state)
{
	struct fixture *f = *state;
	struct client c;
	struct half h;
	size_t i;

	fixture_connect(f, &c);
	assert_serves(&c);
	half_begin(&h, &c);
	half_await_cookie(&h);
	half_make(&h);
	/* Header 13, 12, version and random 34, a session id of none, then the cookie. */
	assert_int_equal(h.hello[59], 0);
	assert_int_equal(h.hello[60], 32);
	for (i = 61; i < 61 + 32; i++) {
		h.hello[i] ^= 1;
		half_transmit(&h);
		h.hello[i] ^= 1;
		assert_int_equal(half_receive(&h), HELLO_VERIFY_REQUEST);
	}
	/* Even the right one ends nothing that has just been alive, and then it does. */
	assert_serves(&c);
	half_transmit(&h);
	assert_serves(&c);
	assert_int_equal(superseded(f), 0);
	for (i = 0; i < CLIENT_WAIT_S * 10 && superseded(f) == 0; i++) {
		half_transmit(&h);
		(void)poll(NULL, 0, 100);
	}
	assert_int_equal(superseded(f), 1);
	half_end(&h);
	client_close(&c);
}

/* SSL_set_msg_callback: keeps the last ClientHello as the record it was sent in. */
static void
keep_hello(int sent, int version, int type, const void *at, size_t len, SSL *ssl, void *arg)
{
	struct half *h = arg;
	const uint8_t header[13] = { SSL3_RT_HANDSHAKE, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, (uint8_t)(len >> 8), (uint8_t)len };

	(void)version;
	(void)ssl;
	if (sent == 0 || type != SSL3_RT_HANDSHAKE || *(const uint8_t *)at != SSL3_MT_CLIENT_HELLO)
		return;
	assert_true(len + sizeof header <= sizeof h->hello);
	memcpy(h->hello, header, sizeof header);
	memcpy(h->hello + sizeof header, at, len);
	h->hello_len = len + sizeof header;
}

/* A double of the hello that this very connection began with, and which was long on its way. */
static void
coap_server_keeps_a_connection_whose_own_hello_comes_late(void **state)
{
	struct fixture *f = *state;
	struct half own = { 0 }, stray;
	struct client c;

	fixture_start(f);
	client_prepare(&c, f->port, &f->device, NULL);
	own.fd = c.fd;
	SSL_set_msg_callback(c.ssl, keep_hello);
	SSL_set_msg_callback_arg(c.ssl, &own);
	assert_int_equal(client_handshake(&c), 1);
	assert_true(own.hello_len > 60);
	half_begin(&stray, &c);
	half_await_cookie(&stray);
	half_end(&stray);
	half_transmit(&own);
	assert_serves(&c);
	assert_int_equal(superseded(f), 0);
	client_close(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(coap_server_lets_a_device_in_that_restarted_on_its_port),
		TEST(coap_server_lets_it_in_while_its_former_request_runs),
		TEST(coap_server_lets_it_in_after_half_a_handshake),
		TEST(coap_server_keeps_a_connection_whose_hellos_bring_no_cookie),
		TEST(coap_server_keeps_a_connection_whose_hellos_bring_a_wrong_cookie),
		TEST(coap_server_keeps_a_connection_whose_own_hello_comes_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
