/* GetCACaps and GetCACert over a socket, without TLS. */
#include "devsim_scep_parties.h"

struct responder {
	int listener;
	struct buf answers[2];
	char requests[2][512];
};

/* One connection, one canned answer for each request, octet by octet so that nothing arrives whole. */
static void *
respond(void *arg)
{
	struct responder *r = arg;
	int fd = accept(r->listener, NULL, NULL);
	size_t i, k;

	for (i = 0; i < 2 && fd >= 0; i++) {
		size_t n = 0;
		ssize_t got = 1;

		while (got > 0 && strstr(r->requests[i], "\r\n\r\n") == NULL && n < sizeof r->requests[i] - 1) {
			got = read(fd, r->requests[i] + n, sizeof r->requests[i] - 1 - n);
			n += got > 0 ? (size_t)got : 0;
		}
		for (k = 0; k < r->answers[i].len; k++)
			if (write(fd, r->answers[i].at + k, 1) != 1)
				break;
	}
	if (fd >= 0)
		(void)close(fd);
	return NULL;
}

static int
listen_somewhere(char url[64])
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0 && bind(fd, (const struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 1) == 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	(void)snprintf(url, 64, "http://127.0.0.1:%d/cgi-bin/pkiclient.exe", ntohs(at.sin_port));
	return fd;
}

static void
scep_fetch_asks_twice_on_one_plain_connection(void **state)
{
	struct client_options options = { .kind = URL_SCEP, .label = "", .timeout_s = 20 };
	struct responder r = { 0 };
	struct scep_server server = { 0 };
	struct client http = { 0 };
	struct buf der = { 0 };
	struct err e = { 0 };
	pthread_t thread;
	char url[64];

	(void)state;
	r.listener = listen_somewhere(url);
	options.url = url;
	bundle(&ra.cert, 1, &der);
	buf_append_text(&r.answers[0], "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nAES\nRenewal\r\n");
	buf_printf(&r.answers[1], "HTTP/1.1 200 OK\r\nContent-Type: application/x-x509-ca-ra-cert\r\n"
		"Content-Length: %zu\r\n\r\n", der.len);
	buf_append_bytes(&r.answers[1], buf_bytes(&der));
	assert_int_equal(pthread_create(&thread, NULL, respond, &r), 0);
	assert_int_equal(client_open(&http, &options, &e), 0);
	if (scep_fetch(&http, &server, &e) != DEVSIM_OK)
		fail_msg("%s", e.text);
	assert_int_equal(server.caps.algorithms, SCEP_AES128);
	assert_true(server.caps.renewal);
	assert_int_equal(sk_X509_num(server.certs), 1);
	client_close(&http);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_memory_equal(r.requests[0], "GET /cgi-bin/pkiclient.exe?operation=GetCACaps HTTP/1.1\r\n", 57);
	assert_memory_equal(r.requests[1], "GET /cgi-bin/pkiclient.exe?operation=GetCACert HTTP/1.1\r\n", 57);
	(void)close(r.listener);
	scep_server_free(&server);
	buf_free(&r.answers[0]);
	buf_free(&r.answers[1]);
	buf_free(&der);
}

static void
scep_fetch_notices_a_server_that_hangs_up(void **state)
{
	struct client_options options = { .kind = URL_SCEP, .label = "", .timeout_s = 20 };
	struct responder r = { 0 };
	struct scep_server server = { 0 };
	struct client http = { 0 };
	struct err e = { 0 };
	pthread_t thread;
	char url[64];

	(void)state;
	r.listener = listen_somewhere(url);
	options.url = url;
	buf_append_text(&r.answers[0], "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nAES\n");
	assert_int_equal(pthread_create(&thread, NULL, respond, &r), 0);
	assert_int_equal(client_open(&http, &options, &e), 0);
	assert_int_equal(scep_fetch(&http, &server, &e), DEVSIM_SERVER);
	assert_int_equal(e.code, ERR_UPSTREAM);
	client_close(&http);
	assert_int_equal(pthread_join(thread, NULL), 0);
	(void)close(r.listener);
	scep_server_free(&server);
	buf_free(&r.answers[0]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scep_fetch_asks_twice_on_one_plain_connection),
		cmocka_unit_test(scep_fetch_notices_a_server_that_hangs_up),
	};

	return cmocka_run_group_tests_name("devsim_scep_fetch", tests, setup, teardown);
}
