/* outbound_fixture.h - a client, a server with a test's reply, and calls that must succeed or fail. For outbound_*_test. */
#ifndef TESTS_UNIT_OUTBOUND_FIXTURE_H
#define TESTS_UNIT_OUTBOUND_FIXTURE_H

#include "tests/unit/tls_server.h"

#include "gateway/outbound/outbound.h"

#define test(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

struct fixture {
	struct certs certs;
	struct tls_server *server;
	struct outbound_settings settings;
	struct outbound *client;
	struct outbound_answer got;
	struct err e;
	struct reply reply; /* what the server says until a test changes it */
};

static const struct outbound_request get __attribute__((unused)) = { .method = "GET" };

static inline void
answer_reply(struct tls_server *server, const struct seen *seen, struct reply *reply)
{
	struct fixture *f = server->arg;

	(void)seen;
	*reply = f->reply;
}

static inline int
fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	certs_make(&f->certs);
	f->reply.status = 200;
	f->server = server_start(certs_context(&f->certs, f->certs.server), answer_reply, f);
	f->settings = (struct outbound_settings){ .name = "mdm test", .base_url = f->server->url,
		.ca_file = f->certs.ca_file, .connect_ms = 20000, .deadline_ms = 20000, .answer_max = 8192 };
	*state = f;
	return 0;
}

static inline int
fixture_teardown(void **state)
{
	struct fixture *f = *state;

	outbound_answer_free(&f->got);
	outbound_close(f->client);
	server_stop(f->server);
	certs_free(&f->certs);
	free(f);
	return 0;
}

/* A client whose URL is the server's and then path. */
static inline void
open_client(struct fixture *f, const char *path)
{
	char url[512];

	(void)snprintf(url, sizeof url, "%s%s", f->server->url, path);
	f->settings.base_url = url;
	outbound_close(f->client);
	f->client = NULL;
	if (outbound_open(&f->settings, &f->client, &f->e) != 0)
		fail_msg("%s", f->e.text);
	f->settings.base_url = f->server->url;
}

static inline void
call_ok(struct fixture *f, const struct outbound_request *request, int status)
{
	outbound_answer_free(&f->got);
	if (outbound_call(f->client, request, &f->got, &f->e) != 0)
		fail_msg("%s", f->e.text);
	assert_int_equal(f->got.status, status);
}

/* The sentence names the client and holds this word; the output is untouched. */
static inline void
call_fails(struct fixture *f, const struct outbound_request *request, enum err_code code, const char *word)
{
	struct outbound_answer out = { .status = -7 };

	assert_int_equal(outbound_call(f->client, request, &out, &f->e), -1);
	if (f->e.code != code || strstr(f->e.text, word) == NULL || strncmp(f->e.text, "mdm test: ", 10) != 0)
		fail_msg("%s: %s", err_code_name(f->e.code), f->e.text);
	assert_int_equal(out.status, -7);
	assert_null(out.body.at);
}

#endif
