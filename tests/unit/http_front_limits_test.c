#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/http_front_fixture.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: test\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\n"

/* Send one octet now and then until the answer comes: activity must not put the deadline off. */
static void
trickle_until_answered(int fd, const char *octet)
{
	int i;

	for (i = 0; !wait_readable(fd, 100); i++) {
		assert_true(i < PATIENCE_MS / 100);
		say(fd, octet);
	}
}

static void
front_gives_slow_headers_and_bodies_a_deadline(void **state)
{
	struct front_settings settings = settings_for_tests();
	int fd;

	(void)state;
	settings.header_s = settings.body_s = 1;
	front_up(&settings);
	fd = dial();
	say(fd, "GET / HTTP/1.1\r\nX: ");
	trickle_until_answered(fd, "x");
	assert_heard(fd, "HTTP/1.1 408 ", "header");
	(void)close(fd);
	fd = dial();
	say(fd, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4000\r\n\r\n");
	trickle_until_answered(fd, "x");
	assert_heard(fd, "HTTP/1.1 408 ", "body");
	(void)close(fd);
	fd = dial(); /* what is answered is not the HEAD request before */
	say(fd, "HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
	free(hear(fd, true));
	say(fd, "GET ");
	assert_heard(fd, "HTTP/1.1 408 ", "too long\n");
	(void)close(fd);
	front_down();
}

static void
front_closes_idle_connections_without_a_word(void **state)
{
	struct front_settings settings = settings_for_tests();
	int fresh, used;

	(void)state;
	settings.idle_s = 1;
	front_up(&settings);
	fresh = dial();
	used = dial();
	say(used, GET("/"));
	assert_heard(used, OK, "");
	assert_ended(fresh);
	assert_ended(used);
	(void)close(fresh);
	(void)close(used);
	front_down();
}

static int
first_readable(int a, int b)
{
	struct pollfd fds[2] = { { .fd = a, .events = POLLIN }, { .fd = b, .events = POLLIN } };

	assert_int_equal(poll(fds, 2, PATIENCE_MS), 1);
	return fds[0].revents != 0 ? a : b;
}

static void
front_queues_then_refuses_what_the_workers_cannot_take(void **state)
{
	struct front_settings settings = settings_for_tests();
	int busy, queued, refused;

	(void)state;
	settings.workers = settings.loops = settings.queue_max = 1;
	front_up(&settings);
	busy = dial();
	say(busy, GET("/hold"));
	gate_await(1);
	queued = dial();
	say(queued, GET("/queued"));
	refused = dial();
	/* Either may get the queue's one place; who is answered now has not. */
	say(refused, GET("/queued"));
	if (first_readable(queued, refused) == queued) {
		int other = queued;

		queued = refused;
		refused = other;
	}
	assert_heard(refused, "HTTP/1.1 503 ", "Retry-After: ");
	gate_open(1);
	assert_heard(busy, OK, "GET /hold ");
	assert_heard(queued, OK, "GET /queued ");
	say(refused, GET("/again"));
	assert_heard(refused, OK, "GET /again ");
	(void)close(busy);
	(void)close(queued);
	(void)close(refused);
	front_down();
}

/* A reset socket knows no peer any more: the address, which others are locked out by, is the one accepted. */
static void
front_remembers_who_sent_a_request_and_vanished(void **state)
{
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	struct front_settings settings = settings_for_tests();
	int busy, queued, refused;

	(void)state;
	settings.workers = settings.loops = settings.queue_max = 1;
	front_up(&settings);
	busy = dial();
	say(busy, GET("/hold"));
	gate_await(1);
	queued = dial();
	say(queued, GET("/witness"));
	refused = dial();
	say(refused, GET("/witness"));
	if (first_readable(queued, refused) == queued) {
		int other = queued;

		queued = refused;
		refused = other;
	}
	assert_heard(refused, "HTTP/1.1 503 ", "");
	assert_int_equal(setsockopt(queued, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
	(void)close(queued);
	gate_open(1);
	assert_heard(busy, OK, "GET /hold ");
	say(refused, GET("/after")); /* there is one worker, and it comes after the other */
	assert_heard(refused, OK, "GET /after ");
	assert_string_equal(fixture.witnessed, "127.0.0.1");
	(void)close(busy);
	(void)close(refused);
	front_down();
}

static void
front_refuses_what_waited_too_long(void **state)
{
	struct front_settings settings = settings_for_tests();
	int busy, queued;

	(void)state;
	settings.workers = settings.loops = 1;
	settings.queue_age_s = 1;
	front_up(&settings);
	busy = dial();
	say(busy, GET("/hold"));
	gate_await(1);
	queued = dial();
	say(queued, GET("/"));
	assert_heard(queued, "HTTP/1.1 503 ", "Retry-After: ");
	gate_open(1);
	assert_heard(busy, OK, "GET /hold ");
	(void)close(busy);
	(void)close(queued);
	front_down();
}

static void
front_never_gives_one_clients_answer_to_another(void **state)
{
	struct front_settings settings = settings_for_tests();
	int gone, next;

	(void)state;
	settings.workers = settings.loops = 1;
	front_up(&settings);
	gone = dial();
	say(gone, GET("/hold"));
	gate_await(1);
	next = dial();
	say(next, GET("/mine"));
	(void)close(gone);
	gate_open(1);
	assert_heard(next, OK, "GET /mine ");
	(void)close(next);
	front_down();
}

static void
front_limits_connections_of_an_address_and_in_all(void **state)
{
	struct front_settings settings = settings_for_tests();
	int first, second, third, all;

	(void)state;
	for (all = 0; all < 2; all++) {
		settings.connections = all ? 2 : 100;
		settings.connections_per_address = all ? 100 : 2;
		front_up(&settings);
		first = dial();
		say(first, GET("/1"));
		assert_heard(first, OK, "");
		second = dial();
		say(second, GET("/2"));
		assert_heard(second, OK, "");
		third = dial();
		assert_ended(third);
		(void)close(third);
		(void)close(first);
		/* The place is free once the front has seen the close. */
		do {
			char octet;

			third = dial();
			(void)send(third, GET("/3"), strlen(GET("/3")), MSG_NOSIGNAL);
			assert_true(wait_readable(third, PATIENCE_MS));
			if (recv(third, &octet, 1, MSG_PEEK) == 1)
				break;
			(void)close(third);
		} while (true);
		assert_heard(third, OK, "GET /3 ");
		(void)close(second);
		(void)close(third);
		front_down();
	}
}

static void
front_closes_after_the_requests_a_connection_may_make(void **state)
{
	struct front_settings settings = settings_for_tests();
	int fd;

	(void)state;
	settings.requests_per_connection = 2;
	front_up(&settings);
	fd = dial();
	say(fd, GET("/1") GET("/2") GET("/3"));
	assert_heard(fd, OK, "GET /1 ");
	assert_heard(fd, OK, "Connection: close\r\n");
	assert_ended(fd);
	(void)close(fd);
	front_down();
}

static void *
lose_requests(void *arg)
{
	int listener = *(const int *)arg, fd;
	char piece[4096];

	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		(void)!recv(fd, piece, sizeof piece, 0);
		(void)close(fd);
	}
	return NULL;
}

static void
front_answers_502_when_the_worker_side_is_lost(void **state)
{
	struct front_settings settings = settings_for_tests();
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof address;
	pthread_t thread;
	int fd, listener = socket(AF_INET, SOCK_STREAM, 0);

	(void)state;
	assert_int_equal(bind(listener, (const struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(listener, 16), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	assert_int_equal(pthread_create(&thread, NULL, lose_requests, &listener), 0);
	settings.backend_port = ntohs(address.sin_port);
	settings.workers = settings.loops = 1;
	front_up(&settings);
	fd = dial();
	say(fd, GET("/1") GET("/2"));
	assert_heard(fd, "HTTP/1.1 502 ", "");
	assert_heard(fd, "HTTP/1.1 502 ", "");
	(void)shutdown(listener, SHUT_RDWR);
	(void)close(listener);
	assert_int_equal(pthread_join(thread, NULL), 0);
	say(fd, GET("/3") GET("/4"));
	assert_heard(fd, "HTTP/1.1 502 ", "");
	assert_heard(fd, "HTTP/1.1 502 ", "");
	(void)close(fd);
	front_down();
}

static void *
stop_front(void *arg)
{
	front_stop(arg, PATIENCE_MS / 1000);
	return NULL;
}

static void
front_stops_without_losing_an_answer(void **state)
{
	struct front_settings settings = settings_for_tests();
	int held, queued, idle, late;
	pthread_t thread;

	(void)state;
	settings.workers = settings.loops = 1;
	front_up(&settings);
	idle = dial();
	say(idle, GET("/"));
	assert_heard(idle, OK, "");
	held = dial();
	say(held, GET("/hold"));
	gate_await(1);
	queued = dial();
	say(queued, GET("/queued"));
	assert_int_equal(pthread_create(&thread, NULL, stop_front, fixture.front), 0);
	fixture.front = NULL;
	assert_ended(idle);
	while ((late = dial()) >= 0)
		(void)close(late);
	gate_open(1);
	assert_heard(held, OK, "Connection: close\r\n");
	assert_ended(held);
	(void)close(held);
	assert_heard(queued, OK, "Connection: close\r\n");
	assert_ended(queued);
	(void)close(queued);
	(void)close(idle);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(front_gives_slow_headers_and_bodies_a_deadline),
		cmocka_unit_test(front_closes_idle_connections_without_a_word),
		cmocka_unit_test(front_queues_then_refuses_what_the_workers_cannot_take),
		cmocka_unit_test(front_remembers_who_sent_a_request_and_vanished),
		cmocka_unit_test(front_refuses_what_waited_too_long),
		cmocka_unit_test(front_never_gives_one_clients_answer_to_another),
		cmocka_unit_test(front_limits_connections_of_an_address_and_in_all),
		cmocka_unit_test(front_closes_after_the_requests_a_connection_may_make),
		cmocka_unit_test(front_answers_502_when_the_worker_side_is_lost),
		cmocka_unit_test(front_stops_without_losing_an_answer),
	};

	return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
