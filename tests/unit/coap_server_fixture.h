/*
 * coap_server_fixture.h - a server on a free port of 127.0.0.1 whose handler a test holds and lets go.
 */
#ifndef TESTS_UNIT_COAP_SERVER_FIXTURE_H
#define TESTS_UNIT_COAP_SERVER_FIXTURE_H

#include "tests/unit/coap_client.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "coap/formats.h"

#define FIXTURE_WAIT_S 30

struct fixture {
	struct identity own, device;
	struct coaps_settings settings; /* change before fixture_start() */
	struct coaps_server *server;
	int port;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool held;      /* the handler waits */
	int calls;      /* begun */
	int ended;
	size_t answer_len;
	struct bytes answer_body; /* instead of so many octets of the pattern */
	struct coaps_answer answer; /* without body */

	/* What the handler last saw. */
	enum coaps_op op;
	bool post;
	char label[EST_LABEL_MAX + 1];
	char address[64], cipher[48];
	int content_format, accept;
	struct buf body;
	struct est_binding binding;
	bool knew_certificate;
	char query[64];
};

static inline struct bytes
fixture_pattern(size_t len)
{
	static uint8_t octets[COAPS_BODY_MAX + 2048];
	size_t i;

	if (octets[1] == 0)
		for (i = sizeof octets; i-- > 0;)
			octets[i] = (uint8_t)(i * 13 + i / 247 + 1);
	assert_true(len <= sizeof octets);
	return bytes_of(octets, len);
}

/* The handler's answer to a request: links, or octets that stand for certificates. */
static inline void
fixture_answer(const struct fixture *f, const struct coaps_request *request, struct coaps_answer *answer)
{
	answer->code = f->answer.code != 0 ? f->answer.code : request->post ? 204 : 205;
	answer->max_age_s = f->answer.max_age_s;
	answer->secret = f->answer.secret;
	if (request->op == COAPS_OP_NONE) {
		answer->content_format = COAPS_FORMAT_LINKS;
		coaps_links_write(&answer->body, f->settings.roots, f->settings.root_count,
			&(struct coaps_offer){ "", COAPS_OFFER_ALL }, 1, bytes_of_text(request->query));
	} else {
		answer->content_format = COAPS_FORMAT_CERTS;
		buf_append_bytes(&answer->body, f->answer_body.at != NULL ? f->answer_body : fixture_pattern(f->answer_len));
	}
}

static inline void
fixture_handler(void *arg, const struct coaps_request *request, struct coaps_answer *answer)
{
	struct fixture *f = arg;

	(void)pthread_mutex_lock(&f->lock);
	f->calls++;
	f->op = request->op;
	f->post = request->post;
	memcpy(f->label, request->label, sizeof f->label);
	f->content_format = request->content_format;
	f->accept = request->accept;
	(void)snprintf(f->address, sizeof f->address, "%s", request->peer->address);
	(void)snprintf(f->cipher, sizeof f->cipher, "%s", request->peer->cipher);
	f->binding = request->peer->binding;
	f->knew_certificate = X509_cmp(request->peer->cert, f->device.cert) == 0;
	buf_clear(&f->body);
	buf_append_bytes(&f->body, request->body);
	(void)pthread_cond_broadcast(&f->changed);
	while (f->held)
		(void)pthread_cond_wait(&f->changed, &f->lock);
	(void)snprintf(f->query, sizeof f->query, "%s", request->query);
	fixture_answer(f, request, answer);
	f->ended++;
	(void)pthread_cond_broadcast(&f->changed);
	(void)pthread_mutex_unlock(&f->lock);
}

static inline void
fixture_hold(struct fixture *f, bool held)
{
	(void)pthread_mutex_lock(&f->lock);
	f->held = held;
	(void)pthread_cond_broadcast(&f->changed);
	(void)pthread_mutex_unlock(&f->lock);
}

static inline int
fixture_calls(struct fixture *f)
{
	int calls;

	(void)pthread_mutex_lock(&f->lock);
	calls = f->calls;
	(void)pthread_mutex_unlock(&f->lock);
	return calls;
}

/* What the handler saw, read after its answer has come: datagrams order nothing in the eyes of TSan, a lock does. */
static inline const struct fixture *
seen(struct fixture *f)
{
	(void)fixture_calls(f);
	return f;
}

/* Until the handler has begun so many requests. */
static inline void
fixture_await_calls(struct fixture *f, int calls)
{
	struct timespec until;
	int r = 0;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += FIXTURE_WAIT_S;
	(void)pthread_mutex_lock(&f->lock);
	while (f->calls < calls && r == 0)
		r = pthread_cond_timedwait(&f->changed, &f->lock, &until);
	(void)pthread_mutex_unlock(&f->lock);
	assert_int_equal(r, 0);
}

/* Until a figure of the server's has this value; there is no event for it. */
static inline void
fixture_await_sessions(struct fixture *f, int64_t sessions)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	struct coaps_stats stats;
	int tries;

	for (tries = 0; tries < FIXTURE_WAIT_S * 200; tries++) {
		coaps_server_stats(f->server, &stats);
		if (stats.sessions == sessions)
			return;
		(void)nanosleep(&pause, NULL);
	}
	fail_msg("%lld sessions instead of %lld", (long long)stats.sessions, (long long)sessions);
}

static inline int
fixture_setup(void **state)
{
	static const char *const listen[] = { "127.0.0.1:0" };
	static const char *const roots[] = { "/est" };
	static struct fixture f;
	struct err e;

	memset(&f, 0, sizeof f);
	if (ossl_init(&e) != 0)
		return -1;
	(void)pthread_mutex_init(&f.lock, NULL);
	(void)pthread_cond_init(&f.changed, NULL);
	identity_make(&f.own, "server", 10);
	identity_make(&f.device, "device", 10);
	(void)fixture_pattern(0);
	f.answer_len = 400;
	f.settings = (struct coaps_settings){
		.listen = listen,
		.listen_count = 1,
		.roots = roots,
		.root_count = 1,
		.tls = { .cert = f.own.cert, .key = f.own.key },
		.contexts = 1,
		.workers = 4,
		.handler = fixture_handler,
		.arg = &f,
	};
	*state = &f;
	return 0;
}

static inline void
fixture_start(struct fixture *f)
{
	struct err e = { 0 };

	if (coaps_server_start(&f->settings, &f->server, &e) != 0)
		fail_msg("%s", e.text);
	f->port = coaps_server_port(f->server, 0);
	assert_in_range(f->port, 1, 65535);
}

/* The server, and the first device in a session with it. */
static inline void
fixture_connect(struct fixture *f, struct client *c)
{
	fixture_start(f);
	client_open(c, f->port, &f->device);
}

static inline int
fixture_teardown(void **state)
{
	struct fixture *f = *state;

	fixture_hold(f, false);
	coaps_server_stop(f->server, 0);
	buf_free(&f->body);
	identity_free(&f->own);
	identity_free(&f->device);
	(void)pthread_cond_destroy(&f->changed);
	(void)pthread_mutex_destroy(&f->lock);
	return 0;
}

/* A test with a server of its own. */
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

/* One POST of a body in blocks, a new token each; twice: each is sent again. The answer to the last one is in *a. */
static inline void
fixture_post_blocks(struct client *c, const char *path, struct bytes body, uint32_t szx, bool twice, struct answer *a)
{
	size_t size = (size_t)16 << szx;
	uint32_t num;

	for (num = 0;; num++) {
		size_t offset = (size_t)num * size;
		bool more = body.len - offset > size;
		char token[8];
		struct draft d;

		(void)snprintf(token, sizeof token, "t%u", (unsigned)num);
		draft_begin(&d, CON, POST, ++c->next_id, token);
		draft_path(&d, path);
		draft_number(&d, 12, COAPS_FORMAT_CSR);
		draft_number(&d, 27, block_value(num, more, szx));
		draft_payload(&d, bytes_of(body.at + offset, more ? size : body.len - offset));
		client_ask(c, &d, a);
		assert_string_equal(a->token, token);
		if (twice && more) {
			client_ask(c, &d, a);
			assert_int_equal(a->id, c->next_id);
		}
		if (!more || a->code != 231)
			return;
		assert_int_equal(a->block1, block_value(num, 1, szx));
	}
}

/* The rest of an answer whose first block is in *a. */
static inline void
fixture_fetch_rest(struct client *c, int method, const char *path, struct answer *a, struct buf *body)
{
	int code = a->code;

	buf_append_bytes(body, a->payload);
	while (a->block2 >= 0 && (a->block2 & 8) != 0) {
		uint32_t next = (uint32_t)(a->block2 >> 4) + 1, szx = (uint32_t)a->block2 & 7;
		struct draft d;

		draft_begin(&d, CON, method, ++c->next_id, "next");
		draft_path(&d, path);
		draft_number(&d, 23, block_value(next, 0, szx));
		client_ask(c, &d, a);
		assert_int_equal(a->code, code);
		assert_int_equal(a->block2 >> 4, next);
		buf_append_bytes(body, a->payload);
	}
}

#endif
