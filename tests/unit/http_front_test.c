#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/http_front_fixture.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: test\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\n"

static void
front_hands_a_request_and_its_facts_to_the_handler(void **state)
{
	struct front_settings settings = settings_for_tests();
	char local[64];
	int fd;

	(void)state;
	front_up(&settings);
	fd = dial();
	say(fd, "POST /a%20b?c=%2B+d HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nX-One: 1\r\n\r\nhello");
	assert_heard(fd, OK, "POST /a%20b c=%2B+d\n");
	say(fd, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nX-One: 1\r\n\r\nhello");
	assert_heard(fd, OK, "Content-Length: 5\nHost: test\nX-One: 1\npeer 127.0.0.1\n");
	say(fd, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello");
	(void)snprintf(local, sizeof local, "local 127.0.0.1:%d\ntls \nclient none\nchain 0\n", fixture.port);
	assert_heard(fd, OK, local);
	say(fd, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello");
	assert_heard(fd, OK, "body hello\n");
	/* An answered request's handle means nothing any more. */
	assert_int_equal(facts_count(), 0);
	(void)close(fd);
	front_down();
}

static void
front_does_not_believe_a_clients_own_handle(void **state)
{
	struct front_settings settings = settings_for_tests();
	char *answer;
	int fd;

	(void)state;
	front_up(&settings);
	fd = dial();
	say(fd, "GET / HTTP/1.1\r\nHost: test\r\nx-front-ID: 00000000000000000000000000000000deadbeef\r\n"
		"X-Front-Peer: 192.0.2.1\r\n\r\n");
	answer = hear(fd, false);
	assert_null(strstr(answer, "deadbeef"));
	assert_null(strstr(answer, "192.0.2.1"));
	assert_null(strstr(answer, "facts none"));
	assert_non_null(strstr(answer, "peer 127.0.0.1\n"));
	free(answer);
	(void)close(fd);
	front_down();
}

static void
front_answers_pipelined_requests_in_order(void **state)
{
	struct front_settings settings = settings_for_tests();
	int fd;

	(void)state;
	front_up(&settings);
	fd = dial();
	say(fd, "POST /1 HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n"
		GET("/2") GET("/3") "GET /4 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n" GET("/5"));
	assert_heard(fd, OK, "POST /1 -\nContent-Length: 5\nHost: test\npeer");
	assert_heard(fd, OK, "GET /2 ");
	assert_heard(fd, OK, "GET /3 ");
	assert_heard(fd, OK, "Connection: close\r\n");
	assert_ended(fd);
	(void)close(fd);
	front_down();
}

static void
front_takes_a_request_octet_by_octet(void **state)
{
	static const char text[] = "POST /slow HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
				   "3;x\r\nabc\r\n0\r\n\r\n";
	struct front_settings settings = settings_for_tests();
	size_t i;
	int fd, on = 1;

	(void)state;
	front_up(&settings);
	fd = dial();
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
	for (i = 0; i < strlen(text); i++)
		assert_int_equal(send(fd, text + i, 1, MSG_NOSIGNAL), 1);
	assert_heard(fd, OK, "body abc\n");
	(void)close(fd);
	front_down();
}

static void
front_says_continue_when_it_wants_the_body(void **state)
{
	struct front_settings settings = settings_for_tests();
	int fd;

	(void)state;
	front_up(&settings);
	fd = dial();
	say(fd, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
	assert_heard(fd, "HTTP/1.1 100 Continue\r\n\r\n", "");
	say(fd, "body");
	assert_heard(fd, OK, "body body\n");
	say(fd, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4097\r\nExpect: 100-continue\r\n\r\n");
	assert_heard(fd, "HTTP/1.1 413 ", "Connection: close\r\n");
	assert_ended(fd);
	(void)close(fd);
	front_down();
}

static void
front_tells_why_it_refuses_and_closes(void **state)
{
	static const struct {
		const char *text, *status, *reason;
	} cases[] = {
		{ "GET / HTTP/1.1\n\n", "HTTP/1.1 400 Bad Request\r\n", "\r\n\r\na line ends in LF without CR\n" },
		{ "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 ", "\r\n\r\nno Host\n" },
		{ "GET / HTTP/3.0\r\nHost: a\r\n\r\n", "HTTP/1.1 505 ", "Connection: close\r\n" },
		{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4097\r\n\r\n", "HTTP/1.1 413 ", "too large\n" },
		{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1001\r\n", "HTTP/1.1 413 ", "\n" },
		{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx", "HTTP/1.1 400 ", "chunk" },
		{ "POST / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", "HTTP/1.1 417 ", "Content-Type: text/plain" },
	};
	struct front_settings settings = settings_for_tests();
	size_t i;

	(void)state;
	front_up(&settings);
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int fd = dial();

		say(fd, cases[i].text);
		assert_heard(fd, cases[i].status, cases[i].reason);
		assert_ended(fd);
		(void)close(fd);
	}
	front_down();
}

static void
front_lets_a_client_that_still_sends_read_its_refusal(void **state)
{
	struct front_settings settings = settings_for_tests();
	char piece[1024];
	int fd, i;

	(void)state;
	front_up(&settings);
	fd = dial();
	say(fd, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 200000\r\n\r\n");
	memset(piece, 'x', sizeof piece - 1);
	piece[sizeof piece - 1] = '\0';
	for (i = 0; i < 200; i++)
		say(fd, piece);
	assert_heard(fd, "HTTP/1.1 413 ", "too large");
	assert_ended(fd);
	(void)close(fd);
	front_down();
}

static void
front_serves_old_clients_head_and_error_pages(void **state)
{
	struct front_settings settings = settings_for_tests();
	char *answer;
	int fd;

	(void)state;
	front_up(&settings);
	fd = dial();
	say(fd, "HEAD /head HTTP/1.1\r\nHost: test\r\n\r\n" GET("/missing") GET("/after")
		"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /old HTTP/1.0\r\n\r\n");
	answer = hear(fd, true);
	assert_non_null(strstr(answer, "Content-Length: "));
	free(answer);
	assert_heard(fd, "HTTP/1.1 404 ", "nothing here");
	assert_heard(fd, OK, "GET /after ");
	assert_heard(fd, OK, "Connection: keep-alive\r\n");
	assert_heard(fd, OK, "Connection: close\r\n");
	assert_ended(fd);
	(void)close(fd);
	front_down();
}

/* One client's wrong path must not cost another its enrollment. */
static void
front_loses_no_request_after_a_worker_closed_without_a_word(void **state)
{
	struct front_settings settings = settings_for_tests();
	int fd, i;

	(void)state;
	settings.workers = settings.loops = 1;
	front_up(&settings);
	fd = dial();
	for (i = 0; i < 200; i++) {
		say(fd, GET("/closes") GET("/after"));
		assert_heard(fd, "HTTP/1.1 404 ", "no\n");
		assert_heard(fd, OK, "GET /after ");
	}
	(void)close(fd);
	front_down();
}

/* A fleet's first requests are refused with 401: a new connection to a worker for each would cost more than they do. */
static void
front_keeps_a_worker_that_refuses_and_says_that_it_stays(void **state)
{
	static const char *const statuses[] = { "200", "400", "401", "403", "404", "405", "413", "415", "429", "500", "503" };
	struct front_settings settings = settings_for_tests();
	char *first = NULL, *answer, text[128];
	int fd, i;

	(void)state;
	settings.workers = settings.loops = 1;
	front_up(&settings);
	fd = dial();
	for (i = 0; i < 110; i++) {
		(void)snprintf(text, sizeof text, "GET /status?%s HTTP/1.1\r\nHost: test\r\n\r\n", statuses[i % 11]);
		say(fd, text);
		answer = hear(fd, false);
		assert_memory_equal(answer + strlen("HTTP/1.1 "), statuses[i % 11], 3);
		assert_null(strstr(answer, "keep-alive")); /* what is said to the front is not for its clients */
		memmove(answer, strstr(answer, "\r\n\r\n"), strlen(strstr(answer, "\r\n\r\n")) + 1);
		if (first == NULL)
			first = strdup(answer);
		assert_string_equal(answer, first);
		free(answer);
	}
	free(first);
	(void)close(fd);
	front_down();
}

static void
front_delivers_an_answer_larger_than_the_sockets_buffers(void **state)
{
	struct front_settings settings = settings_for_tests();
	size_t got = 0;
	char *head, piece[65536];
	int fd;

	(void)state;
	front_up(&settings);
	fd = dial();
	say(fd, GET("/big") GET("/after"));
	head = hear(fd, true);
	assert_non_null(strstr(head, "Content-Length: 4194304\r\n"));
	free(head);
	while (got < BIG_OCTETS) {
		size_t want = BIG_OCTETS - got < sizeof piece ? BIG_OCTETS - got : sizeof piece;
		ssize_t n = recv(fd, piece, want, 0);

		assert_true(n > 0);
		assert_int_equal(piece[0], "0123456789abcdef"[got % 16]);
		got += (size_t)n;
	}
	assert_heard(fd, OK, "GET /after ");
	(void)close(fd);
	front_down();
}

static void
front_binds_every_address_or_none(void **state)
{
	struct front_settings settings = settings_for_tests();
	const char *addresses[] = { "[::1]:0", NULL };
	char taken[64];
	struct front *second;
	struct err e;

	(void)state;
	front_up(&settings);
	(void)snprintf(taken, sizeof taken, "127.0.0.1:%d", fixture.port);
	addresses[1] = taken;
	settings.listen = addresses;
	settings.listen_count = 2;
	assert_int_equal(front_start(&settings, &second, &e), -1);
	assert_int_equal(e.code, ERR_UPSTREAM);
	assert_non_null(strstr(e.text, taken));
	addresses[1] = "localhost";
	assert_int_equal(front_start(&settings, &second, &e), -1);
	addresses[1] = "example.com:1";
	assert_int_equal(front_start(&settings, &second, &e), -1);
	front_down();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(front_hands_a_request_and_its_facts_to_the_handler),
		cmocka_unit_test(front_does_not_believe_a_clients_own_handle),
		cmocka_unit_test(front_answers_pipelined_requests_in_order),
		cmocka_unit_test(front_takes_a_request_octet_by_octet),
		cmocka_unit_test(front_says_continue_when_it_wants_the_body),
		cmocka_unit_test(front_tells_why_it_refuses_and_closes),
		cmocka_unit_test(front_lets_a_client_that_still_sends_read_its_refusal),
		cmocka_unit_test(front_serves_old_clients_head_and_error_pages),
		cmocka_unit_test(front_loses_no_request_after_a_worker_closed_without_a_word),
		cmocka_unit_test(front_keeps_a_worker_that_refuses_and_says_that_it_stays),
		cmocka_unit_test(front_delivers_an_answer_larger_than_the_sockets_buffers),
		cmocka_unit_test(front_binds_every_address_or_none),
	};

	return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
