#define _GNU_SOURCE
#include "tests/unit/coap_server_fixture.h"

static void
coap_server_takes_a_body_of_every_block_size(void **state)
{
	static const char *const paths[] = { "est/sen", ".well-known/est/sren" };
	struct fixture *f = *state;
	struct client c;
	struct answer a;
	uint32_t szx;

	fixture_connect(f, &c);
	for (szx = 0; szx <= 6; szx++) {
		struct buf body = { 0 };
		size_t len = 900 + szx * 700;

		fixture_post_blocks(&c, paths[szx & 1], fixture_pattern(len), szx, true, &a);
		assert_int_equal(a.code, 204);
		assert_int_equal(a.block1 & 7, szx);
		assert_int_equal(a.block1 & 8, 0);
		assert_true(bytes_equal(buf_bytes(&seen(f)->body), fixture_pattern(len)));
		assert_int_equal(seen(f)->content_format, COAPS_FORMAT_CSR);
		fixture_fetch_rest(&c, POST, paths[szx & 1], &a, &body);
		assert_true(bytes_equal(buf_bytes(&body), fixture_pattern(400)));
		buf_free(&body);
		assert_int_equal(fixture_calls(f), (int)szx + 1);
	}
	client_close(&c);
}

static void
coap_server_keeps_two_interleaved_clients_apart(void **state)
{
	struct fixture *f = *state;
	struct client c[2];
	struct answer a;
	uint32_t num;
	int i;

	fixture_start(f);
	for (i = 0; i < 2; i++)
		client_open(&c[i], f->port, &f->device);
	for (num = 0; num < 10; num++) {
		for (i = 0; i < 2; i++) {
			struct draft d;

			/* The same message id and token from both. */
			draft_begin(&d, CON, POST, (uint16_t)num, "same");
			draft_path(&d, "est/sen");
			draft_number(&d, 27, block_value(num, num < 9, 2));
			draft_payload(&d, bytes_of(fixture_pattern(2000).at + 1000 * i + 64 * num, num < 9 ? 64 : 1 + (size_t)i));
			client_send(&c[i], &d);
			client_receive(&c[i], &a);
			assert_int_equal(a.code, num < 9 ? 231 : 204);
			if (num == 9)
				assert_true(bytes_equal(buf_bytes(&seen(f)->body),
					bytes_of(fixture_pattern(2000).at + 1000 * i, 64 * 9 + 1 + (size_t)i)));
		}
	}
	assert_int_equal(fixture_calls(f), 2);
	for (i = 0; i < 2; i++)
		client_close(&c[i]);
}

static void
coap_server_refuses_a_body_of_more_than_64_kib(void **state)
{
	struct fixture *f = *state;
	struct coaps_stats stats;
	struct client c;
	struct answer a;

	fixture_connect(f, &c);
	fixture_post_blocks(&c, "est/sen", fixture_pattern(COAPS_BODY_MAX), 6, false, &a);
	assert_int_equal(a.code, 204);
	assert_int_equal(seen(f)->body.len, COAPS_BODY_MAX);
	fixture_post_blocks(&c, "est/sen", fixture_pattern(COAPS_BODY_MAX + 1), 6, false, &a);
	assert_int_equal(a.code, 413);
	assert_int_equal(a.size1, COAPS_BODY_MAX);
	assert_int_equal(fixture_calls(f), 1);
	coaps_server_stats(f->server, &stats);
	assert_int_equal(stats.requests_total, 1);
	client_close(&c);
}

static void
coap_server_never_believes_size1(void **state)
{
	struct fixture *f = *state;
	struct client c;
	struct answer a;
	struct draft d;

	fixture_connect(f, &c);
	draft_begin(&d, CON, POST, 1, "a");
	draft_path(&d, "est/sen");
	draft_number(&d, 27, block_value(0, 1, 2));
	draft_number(&d, 60, 0x7fffffff);
	draft_payload(&d, fixture_pattern(64));
	client_ask(&c, &d, &a);
	assert_int_equal(a.code, 231);
	draft_begin(&d, CON, POST, 2, "b");
	draft_path(&d, "est/sen");
	draft_number(&d, 27, block_value(1, 0, 2));
	draft_number(&d, 60, 1);
	draft_payload(&d, bytes_of(fixture_pattern(100).at + 64, 36));
	client_ask(&c, &d, &a);
	assert_int_equal(a.code, 204);
	assert_true(bytes_equal(buf_bytes(&seen(f)->body), fixture_pattern(100)));
	client_close(&c);
}

static void
coap_server_sends_a_late_answer_in_blocks_too(void **state)
{
	struct fixture *f = *state;
	struct buf body = { 0 };
	struct client c;
	struct answer a;
	struct draft d;

	f->answer_len = 3000;
	f->settings.separate_ms = 20;
	fixture_connect(f, &c);
	fixture_hold(f, true);
	draft_begin(&d, CON, POST, 1, "a");
	draft_path(&d, "est/sen");
	draft_number(&d, 27, block_value(0, 0, 4));
	draft_payload(&d, fixture_pattern(200));
	client_ask(&c, &d, &a);
	assert_int_equal(a.code, 0);
	fixture_hold(f, false);
	client_receive(&c, &a);
	assert_int_equal(a.type, CON);
	/* RFC 9148, section 4.7, figure 3: (1:N1/0/256)(2:0/1/256). */
	assert_int_equal(a.block1, block_value(0, 0, 4));
	assert_int_equal(a.block2, block_value(0, 1, 4));
	client_acknowledge(&c, a.id);
	fixture_fetch_rest(&c, POST, "est/sen", &a, &body);
	assert_true(bytes_equal(buf_bytes(&body), fixture_pattern(3000)));
	buf_free(&body);
	client_close(&c);
}

/* What the client's socket received in one read. */
static long
watch_reads(BIO *bio, int oper, const char *argp, size_t len, int argi, long argl, int ret, size_t *processed)
{
	size_t *largest = (size_t *)(void *)BIO_get_callback_arg(bio);

	(void)argp;
	(void)len;
	(void)argi;
	(void)argl;
	if (oper == (BIO_CB_READ | BIO_CB_RETURN) && ret > 0 && *processed > *largest)
		*largest = *processed;
	return ret;
}

static void
coap_server_sends_no_datagram_above_its_mtu(void **state)
{
	struct fixture *f = *state;
	struct buf body = { 0 };
	size_t largest = 0;
	struct client c;
	struct answer a;

	f->answer_len = 2000;
	f->settings.mtu = 256;
	fixture_start(f);
	client_prepare(&c, f->port, &f->device, NULL);
	BIO_set_callback_arg(SSL_get_rbio(c.ssl), (char *)&largest);
	BIO_set_callback_ex(SSL_get_rbio(c.ssl), watch_reads);
	assert_int_equal(client_handshake(&c), 1);
	assert_in_range(largest, 150, 256);
	client_get(&c, "est/crts", &a);
	fixture_fetch_rest(&c, GET, "est/crts", &a, &body);
	assert_true(bytes_equal(buf_bytes(&body), fixture_pattern(2000)));
	assert_int_equal(a.block2 & 7, 3);
	buf_free(&body);
	/* What the client sends may be larger. */
	fixture_post_blocks(&c, "est/sen", fixture_pattern(3000), 6, false, &a);
	assert_int_equal(a.code, 204);
	assert_in_range(largest, 150, 256);
	client_close(&c);
}

static void
coap_server_takes_a_block_of_1024_octets_with_a_long_path(void **state)
{
	struct fixture *f = *state;
	struct client c;
	struct answer a;
	struct draft d;

	fixture_connect(f, &c);
	draft_begin(&d, CON, POST, 1, "12345678");
	draft_option(&d, 3, "a-host-name-that-is-rather-long.enrollment.devices.example.com", 62);
	draft_path(&d, ".well-known/est/a-label-of-sixty-four-octets-a-label-of-sixty-four-octets-abcdef/sen");
	draft_number(&d, 12, COAPS_FORMAT_CSR);
	draft_number(&d, 17, COAPS_FORMAT_CERTS);
	draft_number(&d, 27, block_value(0, 1, 6));
	draft_payload(&d, fixture_pattern(1024));
	client_ask(&c, &d, &a);
	assert_int_equal(a.code, 231);
	client_close(&c);
}

static void
coap_server_frees_uploads_with_their_session(void **state)
{
	struct fixture *f = *state;
	struct coaps_stats stats;
	struct client c;
	struct answer a;
	struct draft d;

	fixture_connect(f, &c);
	draft_begin(&d, CON, POST, 1, "a");
	draft_path(&d, "est/sen");
	draft_number(&d, 27, block_value(0, 1, 6));
	draft_payload(&d, fixture_pattern(1024));
	client_ask(&c, &d, &a);
	assert_int_equal(a.code, 231);
	client_close(&c);
	fixture_await_sessions(f, 0);
	coaps_server_stats(f->server, &stats);
	assert_int_equal(stats.uploads_dropped_total, 1);
	/* A new session knows nothing of it. */
	client_open(&c, f->port, &f->device);
	draft_begin(&d, CON, POST, 2, "b");
	draft_path(&d, "est/sen");
	draft_number(&d, 27, block_value(1, 0, 6));
	draft_payload(&d, fixture_pattern(10));
	client_ask(&c, &d, &a);
	assert_int_equal(a.code, 408);
	assert_int_equal(fixture_calls(f), 0);
	client_close(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(coap_server_takes_a_body_of_every_block_size),
		TEST(coap_server_keeps_two_interleaved_clients_apart),
		TEST(coap_server_refuses_a_body_of_more_than_64_kib),
		TEST(coap_server_never_believes_size1),
		TEST(coap_server_sends_a_late_answer_in_blocks_too),
		TEST(coap_server_sends_no_datagram_above_its_mtu),
		TEST(coap_server_takes_a_block_of_1024_octets_with_a_long_path),
		TEST(coap_server_frees_uploads_with_their_session),
	};

	return cmocka_run_group_tests_name("coap server blocks", tests, NULL, NULL);
}
