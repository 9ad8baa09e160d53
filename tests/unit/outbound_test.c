#define _GNU_SOURCE
/* HTTPS calls to a real server on loopback: what is sent, what comes back, whom they trust. */
#include "tests/unit/outbound_fixture.h"

static void
outbound_sends_method_path_headers_and_body(void **state)
{
	struct fixture *f = *state;
	const struct outbound_header headers[] = { { "Authorization", "Bearer abc.def" }, { "X-Trace", "1" } };
	struct outbound_request request = { .method = "POST", .path_or_url = "/a/b?c=d", .headers = headers,
		.header_count = 2, .body = bytes_of("one\0two", 7) };
	char value[256];

	open_client(f, "/base/");
	call_ok(f, &request, 200);
	assert_string_equal(f->server->last.method, "POST");
	assert_string_equal(f->server->last.path, "/base/a/b?c=d");
	assert_int_equal(f->server->last.body_len, 7);
	assert_memory_equal(f->server->last.body, "one\0two", 7);
	assert_string_equal(seen_header(&f->server->last, "Authorization", value, sizeof value), "Bearer abc.def");
	assert_string_equal(seen_header(&f->server->last, "X-Trace", value, sizeof value), "1");
	assert_string_equal(seen_header(&f->server->last, "User-Agent", value, sizeof value), "enrolld");
	assert_string_equal(seen_header(&f->server->last, "Accept-Encoding", value, sizeof value), "");
}

static void
outbound_knows_other_methods_and_the_url_alone(void **state)
{
	struct fixture *f = *state;

	open_client(f, "/hook?key=1");
	call_ok(f, &(struct outbound_request){ .method = "GET" }, 200);
	assert_string_equal(f->server->last.path, "/hook?key=1");
	assert_string_equal(f->server->last.method, "GET");
	call_ok(f, &(struct outbound_request){ .method = "DELETE" }, 200);
	assert_string_equal(f->server->last.method, "DELETE");
	call_ok(f, &(struct outbound_request){ .method = "PUT", .body = bytes_of("x", 1) }, 200);
	assert_string_equal(f->server->last.method, "PUT");
	assert_int_equal(f->server->last.body_len, 1);
	call_ok(f, &(struct outbound_request){ .method = "POST" }, 200);
	assert_string_equal(f->server->last.method, "POST");
	assert_int_equal(f->server->last.body_len, 0);
	call_fails(f, &(struct outbound_request){ .method = "GET", .path_or_url = "/more" }, ERR_MALFORMED, "query");
}

static void
outbound_sends_big_bodies_without_waiting_for_a_word(void **state)
{
	struct fixture *f = *state;
	static uint8_t big[(1 << 20) + 1]; /* libcurl would wait from a megabyte on */
	char value[64];

	memset(big, 'b', sizeof big);
	open_client(f, "");
	call_ok(f, &(struct outbound_request){ .method = "POST", .body = bytes_of(big, sizeof big) }, 200);
	assert_int_equal(f->server->last.body_len, sizeof big);
	assert_string_equal(seen_header(&f->server->last, "Expect", value, sizeof value), "");
}

static void
outbound_gives_status_type_retry_after_and_body(void **state)
{
	struct fixture *f = *state;

	open_client(f, "");
	f->reply = (struct reply){ .status = 503, .body = "{\"wait\":1}",
		.headers = "Content-Type: Application/JSON; charset=utf-8\r\nRetry-After: 17\r\n" };
	call_ok(f, &get, 503);
	assert_int_equal(f->got.retry_after_s, 17);
	assert_string_equal(f->got.content_type, "application/json");
	assert_string_equal(buf_text(&f->got.body), "{\"wait\":1}");
	f->reply = (struct reply){ .status = 200, .headers = "Retry-After: 99999999999\r\n" };
	call_ok(f, &get, 200);
	assert_int_equal(f->got.retry_after_s, OUTBOUND_RETRY_MAX_S);
	assert_string_equal(f->got.content_type, "");
	assert_int_equal(f->got.body.len, 0);
}

static void
outbound_keeps_a_connection_for_the_next_call(void **state)
{
	struct fixture *f = *state;
	int i;

	open_client(f, "");
	for (i = 0; i < 5; i++)
		call_ok(f, &get, 200);
	assert_int_equal(server_count(f->server, &f->server->accepted), 1);
	assert_int_equal(server_count(f->server, &f->server->requests), 5);
}

static void
outbound_survives_a_connection_that_the_service_closed(void **state)
{
	struct fixture *f = *state;

	open_client(f, "");
	f->reply = (struct reply){ .status = 200, .close = true };
	call_ok(f, &get, 200);
	server_wait(f->server, &f->server->closed, 1);
	call_ok(f, &get, 200);
	assert_int_equal(server_count(f->server, &f->server->accepted), 2);
}

static void
outbound_forgets_headers_and_bodies_between_calls(void **state)
{
	struct fixture *f = *state;
	const struct outbound_header header = { "Authorization", "Bearer first" };
	char value[64];

	open_client(f, "");
	call_ok(f, &(struct outbound_request){ .method = "POST", .headers = &header, .header_count = 1,
		.body = bytes_of("first", 5) }, 200);
	call_ok(f, &get, 200);
	assert_string_equal(f->server->last.method, "GET");
	assert_int_equal(f->server->last.body_len, 0);
	assert_string_equal(seen_header(&f->server->last, "Authorization", value, sizeof value), "");
	assert_int_equal(server_count(f->server, &f->server->accepted), 1);
}

static void
outbound_follows_no_redirect(void **state)
{
	struct fixture *f = *state;

	open_client(f, "");
	f->reply = (struct reply){ .status = 302 };
	(void)snprintf(f->reply.headers, sizeof f->reply.headers, "Location: %s/elsewhere\r\n", f->server->url);
	call_ok(f, &get, 302);
	assert_int_equal(server_count(f->server, &f->server->requests), 1);
}

static void
outbound_takes_no_proxy_from_the_environment(void **state)
{
	struct fixture *f = *state;

	open_client(f, "");
	assert_int_equal(setenv("https_proxy", "http://127.0.0.1:1", 1), 0);
	assert_int_equal(setenv("ALL_PROXY", "http://127.0.0.1:1", 1), 0);
	call_ok(f, &get, 200);
	assert_int_equal(unsetenv("https_proxy"), 0);
	assert_int_equal(unsetenv("ALL_PROXY"), 0);
}

static void
outbound_refuses_headers_that_would_break_the_request(void **state)
{
	static const struct outbound_header bad[] = { { "X", "a\r\nY: b" }, { "X", "a\nb" }, { "X", "" }, { "X", "\xc3\xa4" },
		{ "X Y", "a" }, { "X:", "a" }, { "", "a" } };
	struct fixture *f = *state;
	size_t i;

	open_client(f, "");
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
		call_fails(f, &(struct outbound_request){ .method = "GET", .headers = &bad[i], .header_count = 1 },
			ERR_MALFORMED, "header");
	assert_int_equal(server_count(f->server, &f->server->requests), 0);
	call_ok(f, &get, 200);
}

static void
outbound_refuses_absolute_urls_that_are_not_https(void **state)
{
	static const char *const bad[] = { "http://127.0.0.1/", "file:///etc/passwd", "ftp://127.0.0.1/", "https://u:p@127.0.0.1/",
		"https://127.0.0.1/#x", "https:///", "127.0.0.1/", "https://127.0.0.1/a b", "gopher://127.0.0.1/", "" };
	struct fixture *f = *state;
	struct err e = { 0 };
	size_t i;

	open_client(f, "");
	for (i = 0; bad[i][0] != '\0'; i++)
		call_fails(f, &(struct outbound_request){ .method = "GET", .path_or_url = bad[i] }, ERR_MALFORMED, "URL");
	assert_int_equal(outbound_url_check("http://192.0.2.1/", true, &e), -1);
	assert_non_null(strstr(e.text, "127.0.0.1"));
	assert_int_equal(outbound_url_check("http://localhost/", true, &e), -1);
	assert_int_equal(outbound_url_check("http://127.0.0.1@192.0.2.1/", true, &e), -1);
	assert_int_equal(outbound_url_check("http://127.0.0.1:8080/x", true, &e), 0);
	assert_int_equal(outbound_url_check("http://[::1]/x", true, &e), 0);
	assert_int_equal(server_count(f->server, &f->server->accepted), 0);
}

static void
outbound_speaks_plain_http_to_loopback_when_told(void **state)
{
	struct fixture *f = *state;

	server_stop(f->server);
	f->server = server_start(NULL, answer_reply, f);
	f->settings.base_url = f->server->url;
	assert_int_equal(outbound_open(&f->settings, &f->client, &f->e), -1);
	assert_int_equal(f->e.code, ERR_MALFORMED);
	f->settings.allow_plain = true;
	open_client(f, "");
	call_ok(f, &get, 200);
}

static void
outbound_host_of_a_url_is_what_libcurl_connects_to(void **state)
{
	char host[32];
	struct err e = { 0 };

	(void)state;
	assert_int_equal(outbound_url_host("https://Fef.Example.COM:8443/x", host, sizeof host, &e), 0);
	assert_string_equal(host, "fef.example.com");
	assert_int_equal(outbound_url_host("https://good.example@evil.example/x", host, sizeof host, &e), 0);
	assert_string_equal(host, "evil.example");
	assert_int_equal(outbound_url_host("https://[::1]/", host, sizeof host, &e), 0);
	assert_string_equal(host, "[::1]");
	assert_int_equal(outbound_url_host("https://a-name-that-is-longer-than-the-array.example/", host, sizeof host, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(outbound_sends_method_path_headers_and_body),
		test(outbound_knows_other_methods_and_the_url_alone),
		test(outbound_sends_big_bodies_without_waiting_for_a_word),
		test(outbound_gives_status_type_retry_after_and_body),
		test(outbound_keeps_a_connection_for_the_next_call),
		test(outbound_survives_a_connection_that_the_service_closed),
		test(outbound_forgets_headers_and_bodies_between_calls),
		test(outbound_follows_no_redirect),
		test(outbound_takes_no_proxy_from_the_environment),
		test(outbound_refuses_headers_that_would_break_the_request),
		test(outbound_refuses_absolute_urls_that_are_not_https),
		test(outbound_speaks_plain_http_to_loopback_when_told),
		test(outbound_host_of_a_url_is_what_libcurl_connects_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
