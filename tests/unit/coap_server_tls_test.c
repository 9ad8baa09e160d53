#define _GNU_SOURCE
#include "tests/unit/coap_server_fixture.h"

/* Whether a handshake with these wishes succeeds; the cipher it took. */
static bool
connects(struct fixture *f, const struct identity *id, const struct client_wish *wish, char cipher[48])
{
	struct client c;
	bool connected;

	client_prepare(&c, f->port, id, wish);
	connected = client_handshake(&c) == 1;
	(void)snprintf(cipher, 48, "%s", connected ? SSL_get_cipher_name(c.ssl) : "");
	client_close(&c);
	return connected;
}

/* What the keys were exchanged with: "EC" or "X25519"; "" without a handshake. */
static const char *
group_agreed(struct fixture *f, const struct identity *id, const char *groups)
{
	const char *name = "";
	EVP_PKEY *key = NULL;
	struct client c;

	client_prepare(&c, f->port, id, &(struct client_wish){ .groups = groups });
	if (client_handshake(&c) == 1) {
		assert_int_equal(SSL_get_peer_tmp_key(c.ssl, &key), 1);
		name = EVP_PKEY_is_a(key, "EC") == 1 && EVP_PKEY_get_bits(key) == 256 ? "P-256"
			: EVP_PKEY_is_a(key, "X25519") == 1 ? "X25519" : "another";
	}
	EVP_PKEY_free(key);
	client_close(&c);
	return name;
}

static void
coap_server_speaks_two_ciphers(void **state)
{
	struct fixture *f = *state;
	char cipher[48];

	fixture_start(f);
	assert_true(connects(f, &f->device, NULL, cipher));
	assert_string_equal(cipher, "ECDHE-ECDSA-AES128-CCM8");
	assert_true(connects(f, &f->device, &(struct client_wish){ .ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256" }, cipher));
	/* RFC 9148, section 3: the mandatory one comes first, whatever the client likes better. */
	assert_true(connects(f, &f->device,
		&(struct client_wish){ .ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-CCM8" }, cipher));
	assert_string_equal(cipher, "ECDHE-ECDSA-AES128-CCM8");
	assert_false(connects(f, &f->device, &(struct client_wish){ .ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384" }, cipher));
	assert_false(connects(f, &f->device, &(struct client_wish){ .ciphers = "ECDHE-ECDSA-AES128-SHA256" }, cipher));
}

static void
coap_server_takes_the_group_the_client_likes_better(void **state)
{
	struct fixture *f = *state;

	fixture_start(f);
	assert_string_equal(group_agreed(f, &f->device, "P-256"), "P-256");
	assert_string_equal(group_agreed(f, &f->device, "P-256:X25519"), "P-256");
	assert_string_equal(group_agreed(f, &f->device, "X25519:P-256"), "X25519");
	assert_string_equal(group_agreed(f, &f->device, "X448:X25519:P-384:P-256"), "X25519");
	assert_string_equal(group_agreed(f, &f->device, "P-384:P-256"), "P-256");
	/* RFC 8422, section 5.1: the list is also that of the curves in certificates, and ours is on P-256. */
	assert_string_equal(group_agreed(f, &f->device, "X25519"), "");
	assert_string_equal(group_agreed(f, &f->device, "P-384"), "");
	assert_string_equal(group_agreed(f, &f->device, "X25519:P-384"), "");
}

static void
coap_server_takes_certificates_on_p384_and_no_larger_curve(void **state)
{
	struct fixture *f = *state;
	struct identity p384, p521;

	fixture_start(f);
	identity_make_on(&p384, "p384", 10, "P-384");
	identity_make_on(&p521, "p521", 10, "P-521");
	assert_string_equal(group_agreed(f, &p384, "P-256:P-384"), "P-256");
	assert_string_equal(group_agreed(f, &p384, "X25519:P-256:P-384"), "X25519");
	assert_string_equal(group_agreed(f, &p521, "P-256:P-521"), "");
	identity_free(&p384);
	identity_free(&p521);
}

/* RFC 9148, section 4.2: "this specification requires that the client MUST be authenticated for all functions". */
static void
coap_server_wants_a_certificate_and_judges_none(void **state)
{
	struct identity expired;
	struct fixture *f = *state;
	struct coaps_stats stats;
	char cipher[48];

	fixture_start(f);
	assert_false(connects(f, NULL, NULL, cipher));
	fixture_await_sessions(f, 0);
	coaps_server_stats(f->server, &stats);
	assert_int_equal(stats.handshakes_total, 0);
	assert_int_equal(stats.handshakes_failed_total, 1);
	identity_make(&expired, "expired", -10);
	assert_true(connects(f, &expired, NULL, cipher));
	identity_free(&expired);
}

static void
coap_server_wants_the_extended_master_secret(void **state)
{
	struct fixture *f = *state;
	char cipher[48];

	fixture_start(f);
	assert_false(connects(f, &f->device, &(struct client_wish){ .options = SSL_OP_NO_EXTENDED_MASTER_SECRET }, cipher));
	assert_true(connects(f, &f->device, NULL, cipher));
}

static void
coap_server_resumes_nothing_and_gives_no_ticket(void **state)
{
	struct fixture *f = *state;
	SSL_SESSION *session;
	struct client c;
	struct answer a;

	fixture_connect(f, &c);
	client_get(&c, "est/crts", &a);
	session = SSL_get1_session(c.ssl);
	assert_int_equal(SSL_SESSION_has_ticket(session), 0);
	client_close(&c);
	client_prepare(&c, f->port, &f->device, NULL);
	assert_int_equal(SSL_set_session(c.ssl, session), 1);
	assert_int_equal(client_handshake(&c), 1);
	assert_int_equal(SSL_session_reused(c.ssl), 0);
	client_get(&c, "est/crts", &a);
	assert_int_equal(seen(f)->binding.unique_len, 12);
	SSL_SESSION_free(session);
	client_close(&c);
}

static void
coap_server_does_not_renegotiate(void **state)
{
	struct fixture *f = *state;
	struct coaps_stats stats;
	struct client c;
	struct answer a;

	fixture_connect(f, &c);
	client_get(&c, "est/crts", &a);
	assert_int_equal(SSL_renegotiate(c.ssl), 1);
	assert_int_not_equal(SSL_do_handshake(c.ssl), 1);
	assert_false(client_receive_within(&c, &a, 1));
	coaps_server_stats(f->server, &stats);
	assert_int_equal(stats.handshakes_total, 1);
	client_close(&c);
}

static void
coap_server_sends_its_chain(void **state)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	struct fixture *f = *state;
	struct identity other;
	struct client c;

	identity_make(&other, "intermediate", 10);
	assert_int_equal(sk_X509_push(chain, other.cert), 1);
	f->settings.tls.chain = chain;
	fixture_start(f);
	sk_X509_free(chain);
	client_open(&c, f->port, &f->device);
	assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(c.ssl)), 2);
	assert_int_equal(X509_cmp(sk_X509_value(SSL_get_peer_cert_chain(c.ssl), 1), other.cert), 0);
	client_close(&c);
	identity_free(&other);
}

static void
coap_server_reload_changes_new_sessions_only(void **state)
{
	struct fixture *f = *state;
	struct identity renewed;
	struct client before, after;
	struct answer a;
	struct err e;
	X509 *seen;

	fixture_connect(f, &before);
	identity_make(&renewed, "renewed", 10);
	assert_int_equal(coaps_server_reload(f->server,
		&(struct coaps_tls){ .cert = renewed.cert, .key = renewed.key }, &e), 0);
	client_open(&after, f->port, &f->device);
	seen = SSL_get1_peer_certificate(after.ssl);
	assert_int_equal(X509_cmp(seen, renewed.cert), 0);
	X509_free(seen);
	client_get(&before, "est/crts", &a);
	assert_int_equal(a.code, 205);
	client_get(&after, "est/crts", &a);
	assert_int_equal(a.code, 205);
	client_close(&before);
	client_close(&after);
	identity_free(&renewed);
}

static void
coap_server_refuses_keys_that_are_not_p256_or_not_the_certificates(void **state)
{
	struct fixture *f = *state;
	struct identity other;
	struct err e = { 0 };
	EVP_PKEY *p384 = EVP_EC_gen("P-384");

	fixture_start(f);
	identity_make(&other, "other", 10);
	assert_int_equal(coaps_server_reload(f->server, &(struct coaps_tls){ .cert = other.cert, .key = f->own.key }, &e), -1);
	assert_int_equal(e.code, ERR_UNSUPPORTED);
	assert_int_equal(coaps_server_reload(f->server, &(struct coaps_tls){ .cert = other.cert, .key = p384 }, &e), -1);
	assert_int_equal(e.code, ERR_UNSUPPORTED);
	assert_int_equal(coaps_server_reload(f->server, &(struct coaps_tls){ .cert = other.cert }, &e), -1);
	identity_free(&other);
	EVP_PKEY_free(p384);
}

/* Its own octets, and those of others: libcoap looks at OpenSSL's queue of errors without emptying it first. */
static void
coap_server_session_survives_garbage_after_somebody_elses_failed_handshake(void **state)
{
	static const uint8_t garbage[] = { 23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 99, 0, 4, 1, 2, 3, 4 };
	static const uint8_t hello[] = { 22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 12, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	struct fixture *f = *state;
	struct client c;
	struct answer a;
	char cipher[48];
	int round;

	fixture_connect(f, &c);
	for (round = 0; round < 3; round++) {
		assert_false(connects(f, NULL, NULL, cipher));
		assert_int_equal(send(c.fd, garbage, sizeof garbage, 0), sizeof garbage);
		assert_int_equal(send(c.fd, hello, sizeof hello, 0), sizeof hello);
		client_get(&c, "est/crts", &a);
		assert_int_equal(a.code, 205);
	}
	client_close(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(coap_server_speaks_two_ciphers),
		TEST(coap_server_takes_the_group_the_client_likes_better),
		TEST(coap_server_takes_certificates_on_p384_and_no_larger_curve),
		TEST(coap_server_wants_a_certificate_and_judges_none),
		TEST(coap_server_wants_the_extended_master_secret),
		TEST(coap_server_resumes_nothing_and_gives_no_ticket),
		TEST(coap_server_does_not_renegotiate),
		TEST(coap_server_sends_its_chain),
		TEST(coap_server_reload_changes_new_sessions_only),
		TEST(coap_server_refuses_keys_that_are_not_p256_or_not_the_certificates),
		TEST(coap_server_session_survives_garbage_after_somebody_elses_failed_handshake),
	};

	return cmocka_run_group_tests_name("coap server tls", tests, NULL, NULL);
}
