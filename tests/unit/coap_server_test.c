#define _GNU_SOURCE
#include "tests/unit/coap_server_fixture.h"

static void
coap_server_answers_a_get_and_knows_who_asked(void **state)
{
	uint8_t finished[64];
	struct fixture *f = *state;
	struct coaps_stats stats;
	struct client c;
	struct answer a;
	size_t len;

	fixture_connect(f, &c);
	client_get(&c, "est/crts", &a);
	assert_int_equal(a.type, ACK);
	assert_int_equal(a.code, 205);
	assert_int_equal(a.id, c.next_id);
	assert_string_equal(a.token, "tk");
	assert_int_equal(a.content_format, COAPS_FORMAT_CERTS);
	assert_int_equal(a.block2, -1);
	assert_true(bytes_equal(a.payload, fixture_pattern(400)));
	assert_int_equal(seen(f)->op, COAPS_OP_CRTS);
	assert_string_equal(seen(f)->address, "127.0.0.1");
	assert_string_equal(seen(f)->cipher, "ECDHE-ECDSA-AES128-CCM8");
	assert_true(seen(f)->knew_certificate);
	assert_int_equal(seen(f)->content_format, COAPS_FORMAT_NONE);
	/* RFC 9148, section 3: the first Finished of the handshake, which is the client's. */
	len = SSL_get_finished(c.ssl, finished, sizeof finished);
	assert_int_equal(seen(f)->binding.unique_len, len);
	assert_memory_equal(seen(f)->binding.unique, finished, len);
	client_close(&c);
	fixture_await_sessions(f, 0);
	coaps_server_stats(f->server, &stats);
	assert_int_equal(stats.handshakes_total, 1);
	assert_int_equal(stats.handshakes_failed_total, 0);
	assert_int_equal(stats.requests_total, 1);
}

static void
coap_server_passes_label_formats_and_body_on(void **state)
{
	struct fixture *f = *state;
	struct client c;
	struct answer a;
	struct draft d;

	fixture_connect(f, &c);
	draft_begin(&d, CON, POST, 7, "\x45");
	draft_path(&d, ".well-known/est/iot/skg");
	draft_number(&d, 12, COAPS_FORMAT_CSR);
	draft_number(&d, 17, COAPS_FORMAT_MULTIPART);
	draft_payload(&d, fixture_pattern(300));
	client_ask(&c, &d, &a);
	assert_int_equal(a.code, 204);
	assert_int_equal(seen(f)->op, COAPS_OP_SKG);
	assert_string_equal(seen(f)->label, "iot");
	assert_int_equal(seen(f)->content_format, COAPS_FORMAT_CSR);
	assert_int_equal(seen(f)->accept, COAPS_FORMAT_MULTIPART);
	assert_true(bytes_equal(buf_bytes(&seen(f)->body), fixture_pattern(300)));
	client_close(&c);
}

static void
coap_server_asks_its_handler_what_there_is(void **state)
{
	struct fixture *f = *state;
	struct client c;
	struct answer a;
	struct draft d;

	fixture_connect(f, &c);
	draft_begin(&d, CON, GET, 1, "a");
	draft_path(&d, ".well-known/core");
	draft_option(&d, 15, "rt=ace.est*", 11);
	draft_option(&d, 15, "ct=62", 5);
	draft_number(&d, 17, 60);
	client_ask(&c, &d, &a);
	assert_int_equal(a.code, 205);
	assert_int_equal(seen(f)->op, COAPS_OP_NONE);
	assert_string_equal(seen(f)->query, "rt=ace.est*&ct=62");
	assert_int_equal(seen(f)->accept, 60);
	client_close(&c);
}

static int
code_of(struct client *c, const struct draft *d)
{
	struct answer a;

	client_ask(c, d, &a);
	return a.code;
}

static void
coap_server_refuses_what_it_does_not_have_or_understand(void **state)
{
	static const int methods[] = { PUT, DELETE, 5, 6, 7 };
	struct fixture *f = *state;
	struct client c;
	struct draft d;
	uint16_t id = 1;
	size_t i;

	fixture_connect(f, &c);

	draft_begin(&d, CON, GET, id++, "a");
	draft_path(&d, "est/nothing");
	assert_int_equal(code_of(&c, &d), 404);
	draft_begin(&d, CON, DELETE, id++, "a");
	draft_path(&d, "elsewhere");
	assert_int_equal(code_of(&c, &d), 404);
	draft_begin(&d, CON, GET, id++, "a");
	assert_int_equal(code_of(&c, &d), 404);
	draft_begin(&d, CON, GET, id++, "a");
	draft_path(&d, "est/sen");
	assert_int_equal(code_of(&c, &d), 405);
	for (i = 0; i < sizeof methods / sizeof methods[0]; i++) {
		draft_begin(&d, CON, methods[i], id++, "a");
		draft_path(&d, "est/crts");
		assert_int_equal(code_of(&c, &d), 405);
	}
	/* If-Match is one that libcoap knows and we do not; 31 nobody knows. */
	draft_begin(&d, CON, GET, id++, "a");
	draft_option(&d, 1, "x", 1);
	draft_path(&d, "est/crts");
	assert_int_equal(code_of(&c, &d), 402);
	draft_begin(&d, CON, GET, id++, "a");
	draft_path(&d, "est/crts");
	draft_option(&d, 31, "x", 1);
	assert_int_equal(code_of(&c, &d), 402);
	draft_begin(&d, CON, POST, id++, "a");
	draft_path(&d, "est/sen");
	draft_number(&d, 27, 0x0f);
	assert_int_equal(code_of(&c, &d), 400);
	draft_begin(&d, CON, GET, id++, "a");
	draft_path(&d, "est/crts");
	draft_option(&d, 35, "coap://elsewhere/", 17);
	assert_int_equal(code_of(&c, &d), 505);
	assert_int_equal(fixture_calls(f), 0);
	client_close(&c);
}

static void
coap_server_ignores_observe_and_other_elective_options(void **state)
{
	struct fixture *f = *state;
	struct client c;
	struct answer a;
	struct draft d;

	fixture_connect(f, &c);
	draft_begin(&d, CON, GET, 1, "a");
	draft_option(&d, 6, "", 0);
	draft_path(&d, "est/crts");
	draft_option(&d, 2048, "elective", 8);
	client_ask(&c, &d, &a);
	assert_int_equal(a.code, 205);
	client_close(&c);
}

static void
coap_server_answers_non_confirmable_with_non_confirmable(void **state)
{
	struct fixture *f = *state;
	struct client c;
	struct answer a;
	struct draft d;

	fixture_connect(f, &c);
	draft_begin(&d, NON, GET, 99, "non");
	draft_path(&d, "est/crts");
	client_ask(&c, &d, &a);
	assert_int_equal(a.type, NON);
	assert_int_equal(a.code, 205);
	assert_string_equal(a.token, "non");
	draft_begin(&d, NON, GET, 100, "non");
	draft_path(&d, "est/nothing");
	client_ask(&c, &d, &a);
	assert_int_equal(a.type, NON);
	assert_int_equal(a.code, 404);
	client_close(&c);
}

static void
coap_server_repeats_its_answer_to_a_retransmission(void **state)
{
	struct fixture *f = *state;
	struct coaps_stats stats;
	struct answer first, second;
	struct client c;
	struct draft d;

	fixture_connect(f, &c);
	draft_begin(&d, CON, POST, 321, "dup");
	draft_path(&d, "est/sen");
	draft_payload(&d, fixture_pattern(300));
	client_ask(&c, &d, &first);
	client_ask(&c, &d, &second);
	assert_int_equal(second.id, 321);
	assert_int_equal(second.code, 204);
	assert_string_equal(second.token, "dup");
	assert_true(bytes_equal(second.payload, first.payload));
	assert_int_equal(fixture_calls(f), 1);
	coaps_server_stats(f->server, &stats);
	assert_int_equal(stats.duplicates_total, 1);
	client_close(&c);
}

/* RFC 7252, section 5.2.2. */
static void
coap_server_answers_late_in_a_message_of_its_own(void **state)
{
	struct fixture *f = *state;
	struct client c;
	struct answer a;
	struct draft d;

	f->settings.separate_ms = 20;
	fixture_connect(f, &c);
	fixture_hold(f, true);
	draft_begin(&d, CON, POST, 555, "slow");
	draft_path(&d, "est/sen");
	draft_payload(&d, fixture_pattern(300));
	client_ask(&c, &d, &a);
	assert_int_equal(a.type, ACK);
	assert_int_equal(a.code, 0);
	assert_int_equal(a.id, 555);
	assert_string_equal(a.token, "");
	/* The client has not heard it, and asks again. */
	client_ask(&c, &d, &a);
	assert_int_equal(a.type, ACK);
	assert_int_equal(a.code, 0);
	assert_int_equal(a.id, 555);

	fixture_hold(f, false);
	client_receive(&c, &a);
	assert_int_equal(a.type, CON);
	assert_int_equal(a.code, 204);
	assert_string_equal(a.token, "slow");
	assert_int_not_equal(a.id, 555);
	assert_true(bytes_equal(a.payload, fixture_pattern(400)));
	client_acknowledge(&c, a.id);
	/* Nothing of it was run twice, and the session goes on. */
	client_get(&c, "est/crts", &a);
	assert_int_equal(a.code, 205);
	assert_int_equal(fixture_calls(f), 2);
	client_close(&c);
}

static void
coap_server_repeats_a_late_answer_until_it_is_acknowledged(void **state)
{
	struct fixture *f = *state;
	struct answer a, again;
	struct client c;
	struct draft d;

	f->settings.separate_ms = 20;
	fixture_connect(f, &c);
	fixture_hold(f, true);
	draft_begin(&d, CON, GET, 5, "x");
	draft_path(&d, "est/crts");
	client_ask(&c, &d, &a);
	fixture_hold(f, false);
	client_receive(&c, &a);
	assert_int_equal(a.type, CON);
	client_receive(&c, &again);
	assert_int_equal(again.type, CON);
	assert_int_equal(again.id, a.id);
	client_acknowledge(&c, a.id);
	client_close(&c);
	fixture_await_sessions(f, 0);
}

static void
coap_server_keeps_nothing_of_a_client_that_left_before_its_answer(void **state)
{
	struct fixture *f = *state;
	struct client c;
	struct answer a;
	struct draft d;

	f->settings.separate_ms = 20;
	fixture_connect(f, &c);
	fixture_hold(f, true);
	draft_begin(&d, CON, GET, 5, "x");
	draft_path(&d, "est/crts");
	client_ask(&c, &d, &a);
	client_close(&c);
	fixture_await_sessions(f, 0);
	fixture_hold(f, false);
	client_open(&c, f->port, &f->device);
	client_get(&c, "est/crts", &a);
	assert_int_equal(a.code, 205);
	client_close(&c);
}

static void
coap_server_turns_a_handler_that_says_nothing_into_500(void **state)
{
	struct fixture *f = *state;
	struct client c;
	struct answer a;

	f->answer.code = 99;
	fixture_connect(f, &c);
	client_get(&c, "est/crts", &a);
	assert_int_equal(a.code, 500);
	assert_int_equal(a.payload.len, 0);
	client_close(&c);
}

static void
coap_server_sends_errors_with_their_text_and_max_age(void **state)
{
	struct fixture *f = *state;
	struct client c;
	struct answer a;

	f->answer.code = 503;
	f->answer.max_age_s = 300;
	f->answer_len = 20;
	fixture_connect(f, &c);
	client_get(&c, "est/crts", &a);
	assert_int_equal(a.code, 503);
	assert_int_equal(a.max_age, 300);
	assert_int_equal(a.content_format, -1);
	assert_true(bytes_equal(a.payload, fixture_pattern(20)));
	client_close(&c);
}

/* RFC 7252, section 5.6.1. A nonce is asked for by either method. */
static void
coap_server_tells_the_method_and_lets_nobody_keep_an_answer(void **state)
{
	struct fixture *f = *state;
	struct client c;
	struct answer a;
	struct draft d;

	fixture_connect(f, &c);
	client_get(&c, "est/nonce", &a);
	assert_true(a.code == 205 && a.max_age == -1);
	assert_true(seen(f)->op == COAPS_OP_NONCE && !seen(f)->post);
	f->answer.max_age_s = COAPS_NO_STORE;
	draft_begin(&d, CON, POST, ++c.next_id, "post");
	draft_path(&d, "est/iot/nonce");
	draft_number(&d, 12, COAPS_FORMAT_CBOR);
	draft_payload(&d, bytes_of_text("\xa0"));
	client_ask(&c, &d, &a);
	assert_true(a.code == 204 && a.max_age == 0);
	assert_true(seen(f)->op == COAPS_OP_NONCE && seen(f)->post);
	assert_string_equal(seen(f)->label, "iot");
	client_close(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(coap_server_answers_a_get_and_knows_who_asked),
		TEST(coap_server_passes_label_formats_and_body_on),
		TEST(coap_server_asks_its_handler_what_there_is),
		TEST(coap_server_refuses_what_it_does_not_have_or_understand),
		TEST(coap_server_ignores_observe_and_other_elective_options),
		TEST(coap_server_answers_non_confirmable_with_non_confirmable),
		TEST(coap_server_repeats_its_answer_to_a_retransmission),
		TEST(coap_server_answers_late_in_a_message_of_its_own),
		TEST(coap_server_repeats_a_late_answer_until_it_is_acknowledged),
		TEST(coap_server_keeps_nothing_of_a_client_that_left_before_its_answer),
		TEST(coap_server_turns_a_handler_that_says_nothing_into_500),
		TEST(coap_server_sends_errors_with_their_text_and_max_age),
		TEST(coap_server_tells_the_method_and_lets_nobody_keep_an_answer),
	};

	return cmocka_run_group_tests_name("coap server", tests, NULL, NULL);
}
