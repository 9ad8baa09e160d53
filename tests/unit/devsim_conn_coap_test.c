/* A client on real sockets, against a server that OpenSSL and a script make up. */
#define _GNU_SOURCE
#include "tests/unit/dtls_server.h"

#include "devsim/client.h"

#define BODY_LEN   300
#define ANSWER_LEN 500
#define TIMEOUT_S  60

static struct certs certs;

/* What the script keeps of the session. */
struct script {
	struct buf upload;
	uint8_t answer[ANSWER_LEN];
	bool separate;      /* an empty acknowledgement, then the answer */
	unsigned silent;    /* sessions that end without a word once everything is there */
	uint8_t unique[64]; /* tls-unique as the server has it */
	size_t unique_len;
	uint16_t last_id;   /* of the message answered last, and the answer: repetitions are answered alike */
	struct buf last;
};

static void
script_auto(struct script *s)
{
	buf_free(&s->upload);
	buf_free(&s->last);
}

static void
server_auto(struct dtls_server *server)
{
	dtls_server_stop(server);
}

static void
client_auto(struct client *client)
{
	client_close(client);
}

static bool
send_last(const struct script *s, SSL *ssl)
{
	(void)SSL_write(ssl, s->last.at, (int)s->last.len);
	return true;
}

/* The block of the answer that was asked for, 64 octets each. */
static void
write_answer(struct script *s, const struct coapc_message *m, enum coapc_type type, uint16_t id)
{
	struct coapc_block block = { m->has_block2 ? m->block2.num : 0, false, 2 };
	size_t at = block.num * 64, len = ANSWER_LEN - at < 64 ? ANSWER_LEN - at : 64;
	unsigned last = 0;

	block.more = at + len < ANSWER_LEN;
	coapc_write_head(&s->last, type, COAPC_CHANGED, id, bytes_of(m->token, m->token_len));
	coapc_write_uint(&s->last, &last, COAPC_CONTENT_FORMAT, 281);
	coapc_write_block(&s->last, &last, COAPC_BLOCK2, &block);
	coapc_write_payload(&s->last, bytes_of(s->answer + at, len));
}

/* Takes Block1, answers in Block2; every message once. */
static bool
echo_est(struct dtls_server *server, SSL *ssl, struct bytes message)
{
	struct script *s = server->arg;
	struct coapc_message m;
	unsigned last = 0;
	struct err e;

	if (coapc_message_decode(message, &m, &e) != 0)
		return false;
	if (m.type != COAPC_CON)
		return true;
	if (s->last.len > 0 && m.id == s->last_id)
		return send_last(s, ssl);
	s->unique_len = SSL_get_peer_finished(ssl, s->unique, sizeof s->unique);
	s->last_id = m.id;
	buf_clear(&s->last);
	if (m.has_block1 && m.block1.num == 0)
		buf_clear(&s->upload);
	buf_append_bytes(&s->upload, m.payload);
	if (m.has_block1 && m.block1.more) {
		coapc_write_head(&s->last, COAPC_ACK, COAPC_CONTINUE, m.id, bytes_of(m.token, m.token_len));
		coapc_write_block(&s->last, &last, COAPC_BLOCK1, &m.block1);
		return send_last(s, ssl);
	}
	if (s->silent > 0) {
		s->silent--;
		return false;
	}
	if (s->separate && m.payload.len > 0) {
		coapc_write_head(&s->last, COAPC_ACK, COAPC_EMPTY, m.id, bytes_of(NULL, 0));
		(void)send_last(s, ssl);
		buf_clear(&s->last);
		write_answer(s, &m, COAPC_CON, (uint16_t)(m.id + 1000));
		return send_last(s, ssl);
	}
	write_answer(s, &m, COAPC_ACK, m.id);
	return send_last(s, ssl);
}

static void
script_fill(struct script *s)
{
	size_t i;

	for (i = 0; i < sizeof s->answer; i++)
		s->answer[i] = (uint8_t)(i * 11);
}

static struct client_options
options_for(const struct dtls_server *server)
{
	return (struct client_options){ .url = server->url, .kind = URL_COAP, .label = "", .timeout_s = TIMEOUT_S,
		.tls = { .cacert = certs.ca_file }, .coap = { .accept = COAPC_NO_ACCEPT, .ack_timeout_s = 0.1, .block_size = 64 } };
}

static const struct device *
our_device(void)
{
	static struct device device;

	device = (struct device){ .name = "device", .cert = certs.client, .key = certs.key };
	return &device;
}

/* One POST; the answer is checked. */
static int
exchange(struct client *client, struct dtls_server *server, struct err *e)
{
	uint8_t body[BODY_LEN] = { 0 };
	const struct coapc_request request = { .code = COAPC_POST, .path = "/.well-known/est/sen", .content_format = 286,
		.accept = -1, .szx = 2, .body = bytes_of(body, sizeof body) };
	const struct coapc_answer *answer = &client->conn.coap.answer;
	const struct script *s = server->arg;
	size_t i;

	for (i = 0; i < sizeof body; i++)
		body[i] = (uint8_t)(i * 7);
	if (client_coap(client, &request, e) != 0)
		return -1;
	(void)pthread_mutex_lock(&server->lock);
	assert_true(bytes_equal(buf_bytes(&s->upload), request.body));
	(void)pthread_mutex_unlock(&server->lock);
	assert_int_equal(answer->code, COAPC_CHANGED);
	assert_true(bytes_equal(buf_bytes(&answer->body), bytes_of(s->answer, ANSWER_LEN)));
	return 0;
}

static void
conn_coap_exchanges_blocks_and_shares_tls_unique_with_the_server(void **state)
{
	static const struct {
		int suite, group;
		const char *cipher;
	} kinds[] = { { 0, 0, "ECDHE-ECDSA-AES128-CCM8" }, { 1, 1, "ECDHE-ECDSA-AES128-CCM8" },
		{ 2, 0, "ECDHE-ECDSA-AES128-GCM-SHA256" } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		CLEANUP(script) struct script script = { .separate = i == 1 };
		CLEANUP(server) struct dtls_server server;
		CLEANUP(client) struct client client = { 0 };
		struct client_options options;
		struct est_binding binding;
		struct err e = { 0 };

		script_fill(&script);
		dtls_server_start(&server, &certs, echo_est, &script);
		options = options_for(&server);
		options.tls.suite = kinds[i].suite;
		options.tls.group = kinds[i].group;
		assert_int_equal(client_open(&client, &options, &e), 0);
		assert_int_equal(client_connect(&client, our_device(), &e), 0);
		assert_string_equal(SSL_get_cipher_name(client.conn.ssl), kinds[i].cipher);
		tls_binding(client.conn.ssl, &binding);
		assert_int_equal(exchange(&client, &server, &e), 0);
		assert_int_equal(client.conn.coap.answer.separate, i == 1);
		(void)pthread_mutex_lock(&server.lock);
		assert_true(bytes_equal(bytes_of(binding.unique, binding.unique_len), bytes_of(script.unique, script.unique_len)));
		(void)pthread_mutex_unlock(&server.lock);
		assert_int_equal(binding.unique_len, 12);
		assert_int_equal(binding.exporter_len, 0);
		assert_true(client_connected(&client));
		assert_int_equal(exchange(&client, &server, &e), 0);
		assert_int_equal(atomic_load(&server.sessions), 1);
	}
}

static void
conn_coap_gets_through_a_link_that_loses_doubles_and_reorders(void **state)
{
	unsigned seed;

	(void)state;
	for (seed = 1; seed <= 3; seed++) {
		CLEANUP(script) struct script script = { .separate = seed == 2 };
		CLEANUP(server) struct dtls_server server;
		CLEANUP(client) struct client client = { 0 };
		char link[64];
		struct client_options options;
		struct proxy_stats stats;
		struct err e = { 0 };

		script_fill(&script);
		dtls_server_start(&server, &certs, echo_est, &script);
		(void)snprintf(link, sizeof link, "drop=10,dup=10,reorder=10,mtu=256,seed=%u", seed);
		options = options_for(&server);
		options.coap.lossy = link;
		options.coap.ack_timeout_s = 0.05;
		options.retries = 5;
		assert_int_equal(client_open(&client, &options, &e), 0);
		assert_int_equal(options.coap.mtu, 256);
		if (client_connect(&client, our_device(), &e) != 0)
			fail_msg("%s", e.text);
		/* What the messages themselves cannot mend is begun again, as devsim enroll does. */
		while (exchange(&client, &server, &e) != 0) {
			assert_int_equal(e.code, ERR_UPSTREAM);
			assert_false(client.conn.connected);
			assert_int_equal(client_connect(&client, our_device(), &e), 0);
		}
		proxy_stats(client.link, &stats);
		assert_true(stats.datagrams[LOSSY_UP][LOSSY_DROP] + stats.datagrams[LOSSY_DOWN][LOSSY_DROP] > 0);
		assert_int_equal(stats.datagrams[LOSSY_UP][LOSSY_TOO_LONG] + stats.datagrams[LOSSY_DOWN][LOSSY_TOO_LONG], 0);
	}
}

static void
conn_coap_may_try_again_when_no_answer_came(void **state)
{
	CLEANUP(script) struct script script = { .silent = 1 };
	CLEANUP(server) struct dtls_server server;
	CLEANUP(client) struct client client = { 0 };
	struct client_options options;
	struct err e = { 0 };

	(void)state;
	script_fill(&script);
	dtls_server_start(&server, &certs, echo_est, &script);
	options = options_for(&server);
	options.coap.ack_timeout_s = 0.01;
	options.retries = 3;
	assert_int_equal(client_open(&client, &options, &e), 0);
	assert_int_equal(client_connect(&client, our_device(), &e), 0);
	assert_int_equal(exchange(&client, &server, &e), -1);
	assert_int_equal(e.code, ERR_UPSTREAM);
	assert_false(client.conn.connected);
	assert_false(client_connected(&client));
	assert_int_equal(client_connect(&client, our_device(), &e), 0);
	assert_int_equal(exchange(&client, &server, &e), 0);
	assert_int_equal(atomic_load(&server.sessions), 2);
}

static void
conn_coap_does_not_try_again_when_the_server_refused(void **state)
{
	CLEANUP(script) struct script script = { 0 };
	CLEANUP(server) struct dtls_server server;
	CLEANUP(client) struct client client = { 0 }, other = { 0 };
	struct client_options options, wrong;
	struct err e = { 0 };

	(void)state;
	dtls_server_start(&server, &certs, echo_est, &script);
	options = options_for(&server);
	assert_int_equal(client_open(&client, &options, &e), 0);
	/* Without a certificate: the server's alert. */
	assert_int_equal(client_connect(&client, NULL, &e), -1);
	assert_int_equal(e.code, ERR_UPSTREAM);
	assert_true(client.conn.connected);
	/* Another CA's server. */
	wrong = options_for(&server);
	wrong.tls.cacert = certs.other_file;
	assert_int_equal(client_open(&other, &wrong, &e), 0);
	assert_int_equal(client_connect(&other, our_device(), &e), -1);
	assert_true(other.conn.connected);
	assert_non_null(strstr(e.text, "certificate"));
	assert_int_equal(atomic_load(&server.messages), 0);
}

static int
make_certs(void **state)
{
	(void)state;
	certs_make(&certs);
	return 0;
}

static int
free_certs(void **state)
{
	(void)state;
	certs_free(&certs);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conn_coap_exchanges_blocks_and_shares_tls_unique_with_the_server),
		cmocka_unit_test(conn_coap_gets_through_a_link_that_loses_doubles_and_reorders),
		cmocka_unit_test(conn_coap_may_try_again_when_no_answer_came),
		cmocka_unit_test(conn_coap_does_not_try_again_when_the_server_refused),
	};

	return cmocka_run_group_tests_name("devsim/conn_coap", tests, make_certs, free_certs);
}
