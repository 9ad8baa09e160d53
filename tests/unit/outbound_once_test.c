#define _GNU_SOURCE
/* What must not happen twice: requests that libcurl itself would send again. */
#include "tests/unit/outbound_fixture.h"

static const struct outbound_request post = { .method = "POST", .body = { (const uint8_t *)"order", 5 } };

/* The first request on a connection is answered; every later one is read, and then the connection is closed. */
static void
answer_first(struct tls_server *server, const struct seen *seen, struct reply *reply)
{
	(void)seen;
	if (server->requests != 1)
		reply->raw = "";
}

static void
open_once(struct fixture *f)
{
	f->server->answer = answer_first;
	open_client(f, "");
	call_ok(f, &post, 200);
	assert_int_equal(f->server->requests, 1);
}

/* What libcurl does when it is left alone, and why there is once. */
static void
outbound_may_send_a_request_twice_when_a_kept_connection_dies(void **state)
{
	struct fixture *f = *state;

	open_once(f);
	call_fails(f, &post, ERR_UPSTREAM, f->server->url);
	assert_int_equal(f->server->requests, 3);
}

static void
outbound_sends_a_request_once_when_that_is_asked_for(void **state)
{
	struct fixture *f = *state;
	bool sent = false;
	struct outbound_request once = post;

	once.once = true;
	once.sent = &sent;
	open_once(f);
	call_fails(f, &once, ERR_UPSTREAM, f->server->url);
	assert_int_equal(f->server->requests, 2);
	assert_true(sent);
	assert_string_equal(f->server->last.body, "order");
}

static void
outbound_says_that_nothing_was_sent_without_a_connection(void **state)
{
	struct fixture *f = *state;
	bool sent = true;
	struct outbound_request once = post;

	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof at;
	int taken = socket(AF_INET, SOCK_STREAM, 0); /* a port where nobody listens */
	char url[64];

	assert_int_equal(bind(taken, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(getsockname(taken, (struct sockaddr *)&at, &len), 0);
	(void)snprintf(url, sizeof url, "https://127.0.0.1:%d", ntohs(at.sin_port));
	f->settings.base_url = url;
	assert_int_equal(outbound_open(&f->settings, &f->client, &f->e), 0);
	once.once = true;
	once.sent = &sent;
	call_fails(f, &once, ERR_UPSTREAM, url);
	assert_false(sent);
	(void)close(taken);
}

/* The path is the answer; the first one is followed by an answer that nobody asked for. */
static void
answer_path(struct tls_server *server, const struct seen *seen, struct reply *reply)
{
	(void)snprintf(reply->body, sizeof reply->body, "%s", seen->path);
	if (server->requests == 1)
		reply->unasked = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n/stale";
}

/* A proxy that answers twice: the second answer must not be taken for the next request's. */
static void
outbound_takes_no_answer_that_came_before_the_request(void **state)
{
	struct fixture *f = *state;
	struct outbound_request once = post;

	once.once = true;
	f->server->answer = answer_path;
	open_client(f, "");
	once.path_or_url = "/1";
	call_ok(f, &once, 200);
	assert_string_equal(buf_text(&f->got.body), "/1");
	server_wait(f->server, &f->server->unasked, 1);
	once.path_or_url = "/2";
	call_ok(f, &once, 200);
	assert_string_equal(buf_text(&f->got.body), "/2");
	once.path_or_url = "/3";
	call_ok(f, &once, 200);
	assert_string_equal(buf_text(&f->got.body), "/3");
	assert_int_equal(server_count(f->server, &f->server->accepted), 2); /* the second connection is kept */
}

static void
answer_glued(struct tls_server *server, const struct seen *seen, struct reply *reply)
{
	(void)snprintf(reply->body, sizeof reply->body, "%s", seen->path);
	if (server->requests == 1)
		reply->glued = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n/stale";
}

/* What comes in the record that ends the answer has left the socket before anybody could look there. */
static void
outbound_takes_no_answer_from_the_record_of_another(void **state)
{
	struct fixture *f = *state;
	struct outbound_request once = post;

	once.once = true;
	f->server->answer = answer_glued;
	open_client(f, "");
	once.path_or_url = "/1";
	call_ok(f, &once, 200);
	assert_string_equal(buf_text(&f->got.body), "/1");
	once.path_or_url = "/2";
	call_ok(f, &once, 200);
	assert_string_equal(buf_text(&f->got.body), "/2");
	once.path_or_url = "/3";
	call_ok(f, &once, 200);
	assert_string_equal(buf_text(&f->got.body), "/3");
	assert_int_equal(server_count(f->server, &f->server->accepted), 2); /* the second connection is kept */
}

static void
outbound_once_gives_the_whole_body_however_long(void **state)
{
	static uint8_t big[300000];
	struct fixture *f = *state;
	struct outbound_request once = { .method = "POST", .body = { big, sizeof big }, .once = true };

	memset(big, 'x', sizeof big);
	open_client(f, "");
	call_ok(f, &once, 200);
	assert_int_equal(f->server->last.body_len, sizeof big);
}

static void
outbound_tells_where_an_answer_points_and_goes_nowhere(void **state)
{
	struct fixture *f = *state;

	(void)snprintf(f->reply.headers, sizeof f->reply.headers, "Location: session/7?x=\x01\r\n");
	f->reply.status = 201;
	open_client(f, "/a/b");
	call_ok(f, &post, 201);
	assert_string_equal(f->got.location, "session/7?x=\\x01");
	assert_int_equal(f->server->requests, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(outbound_may_send_a_request_twice_when_a_kept_connection_dies),
		test(outbound_sends_a_request_once_when_that_is_asked_for),
		test(outbound_says_that_nothing_was_sent_without_a_connection),
		test(outbound_takes_no_answer_that_came_before_the_request),
		test(outbound_takes_no_answer_from_the_record_of_another),
		test(outbound_once_gives_the_whole_body_however_long),
		test(outbound_tells_where_an_answer_points_and_goes_nowhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
