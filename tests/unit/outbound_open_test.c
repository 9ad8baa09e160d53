/* Settings and files that a client is opened with, and calls from many threads. */
#define _GNU_SOURCE
#include "tests/unit/outbound_fixture.h"

#include "gateway/outbound/secret.h"

#define THREADS 8
#define CALLS_EACH 20

static void
open_fails(struct fixture *f, const char *word)
{
	assert_int_equal(outbound_open(&f->settings, &f->client, &f->e), -1);
	assert_null(f->client);
	if (strstr(f->e.text, word) == NULL)
		fail_msg("%s", f->e.text);
}

static void
outbound_open_refuses_wrong_settings(void **state)
{
	struct fixture *f = *state;
	const struct outbound_settings good = f->settings;

	f->settings.base_url = "http://127.0.0.1/";
	open_fails(f, "https://");
	f->settings = good;
	f->settings.base_url = "https://";
	open_fails(f, "URL");
	f->settings = good;
	f->settings.ca_file = NULL;
	open_fails(f, "CA file");
	f->settings = good;
	f->settings.system_trust = true;
	open_fails(f, "exclude");
	f->settings = good;
	f->settings.deadline_ms = 0;
	open_fails(f, "deadline");
	f->settings = good;
	f->settings.deadline_ms = OUTBOUND_DEADLINE_MAX_MS + 1;
	open_fails(f, "deadline");
	f->settings = good;
	f->settings.connect_ms = good.deadline_ms + 1;
	open_fails(f, "connect");
	f->settings = good;
	f->settings.answer_max = OUTBOUND_ANSWER_MAX + 1;
	open_fails(f, "answer");
	f->settings = good;
	f->settings.cert_file = f->certs.client_file;
	open_fails(f, "key file");
	f->settings = good;
	f->settings.name = NULL;
	open_fails(f, "name");
}

static void
outbound_open_looks_at_the_files(void **state)
{
	struct fixture *f = *state;
	char path[128];

	f->settings.ca_file = "/nonexistent/ca.pem";
	open_fails(f, "/nonexistent/ca.pem");
	f->settings.ca_file = file_make(&f->certs.folder, "empty.pem", "nothing\n", 0644, path);
	open_fails(f, "empty.pem");
	f->settings.ca_file = f->certs.ca_file;
	f->settings.cert_file = f->certs.client_file;
	f->settings.key_file = f->certs.client_key;
	assert_int_equal(chmod(f->certs.client_key, 0640), 0);
	open_fails(f, "chmod 600");
	assert_int_equal(chmod(f->certs.client_key, 0600), 0);
	f->settings.cert_file = f->certs.other_file;
	open_fails(f, "is not the key");
	f->settings.cert_file = f->certs.client_file;
	f->settings.key_file = file_make(&f->certs.folder, "not.key", "secret words\n", 0600, path);
	open_fails(f, "no PEM private key");
	assert_null(strstr(f->e.text, "secret words"));
	f->settings.key_file = f->certs.client_key;
	open_client(f, "");
}

static void
secret_file_gives_its_line(void **state)
{
	static const char *const same[] = { "s3cret ~words", "s3cret ~words\n", "s3cret ~words\r\n" };
	struct fixture *f = *state;
	char path[128];
	size_t i;

	for (i = 0; i < 3; i++) {
		struct buf out = { 0 };

		assert_int_equal(secret_file_read(file_make(&f->certs.folder, "secret", same[i], 0600, path), &out, &f->e), 0);
		assert_string_equal(buf_text(&out), "s3cret ~words");
		buf_free_secret(&out);
	}
}

static void
secret_fails(struct fixture *f, const char *path, const char *word)
{
	struct buf out = { 0 };

	assert_int_equal(secret_file_read(path, &out, &f->e), -1);
	assert_int_equal(f->e.code, ERR_UPSTREAM);
	assert_int_equal(out.len, 0);
	if (strstr(f->e.text, word) == NULL || strstr(f->e.text, "s3cret") != NULL)
		fail_msg("%s", f->e.text);
	buf_free_secret(&out);
}

static void
secret_file_refuses_what_others_can_read_or_is_no_line(void **state)
{
	struct fixture *f = *state;
	const struct folder *folder = &f->certs.folder;
	char path[128], link_path[128];
	char *longer = malloc(SECRET_FILE_MAX + 2);

	assert_non_null(longer);
	memset(longer, 'x', SECRET_FILE_MAX + 1);
	longer[SECRET_FILE_MAX + 1] = '\0';
	secret_fails(f, "/nonexistent/secret", "cannot be opened");
	secret_fails(f, folder->path, "not a regular file");
	secret_fails(f, file_make(folder, "a", "s3cret\n", 0640, path), "chmod 600");
	secret_fails(f, file_make(folder, "b", "s3cret\n", 0604, path), "chmod 600");
	secret_fails(f, file_make(folder, "c", "", 0600, path), "empty");
	secret_fails(f, file_make(folder, "d", "\n", 0600, path), "empty");
	secret_fails(f, file_make(folder, "e", "s3cret\nmore\n", 0600, path), "one line");
	secret_fails(f, file_make(folder, "f", "s3cr\xc3\xa9t\n", 0600, path), "one line");
	secret_fails(f, file_make(folder, "g", longer, 0600, path), "longer than");
	assert_true(snprintf(link_path, sizeof link_path, "%s/link", folder->path) < 128);
	assert_int_equal(symlink(f->certs.client_key, link_path), 0);
	secret_fails(f, link_path, "symbolic link");
	assert_true(snprintf(link_path, sizeof link_path, "%s/fifo", folder->path) < 128);
	assert_int_equal(mkfifo(link_path, 0600), 0);
	secret_fails(f, link_path, "not a regular file");
	free(longer);
}

struct caller {
	struct fixture *f;
	pthread_t thread;
	int good;
	struct err e;
};

static void *
caller_run(void *arg)
{
	struct caller *caller = arg;
	int i;

	for (i = 0; i < CALLS_EACH; i++) {
		struct outbound_answer answer = { 0 };

		if (outbound_call(caller->f->client, &get, &answer, &caller->e) == 0 && answer.status == 200)
			caller->good++;
		outbound_answer_free(&answer);
	}
	return NULL;
}

static void
outbound_calls_from_many_threads_share_connections(void **state)
{
	struct fixture *f = *state;
	struct caller callers[THREADS];
	int i;

	open_client(f, "");
	for (i = 0; i < THREADS; i++) {
		callers[i] = (struct caller){ .f = f };
		assert_int_equal(pthread_create(&callers[i].thread, NULL, caller_run, &callers[i]), 0);
	}
	for (i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
		if (callers[i].good != CALLS_EACH)
			fail_msg("%s", callers[i].e.text);
	}
	assert_int_equal(server_count(f->server, &f->server->requests), THREADS * CALLS_EACH);
	assert_true(server_count(f->server, &f->server->accepted) <= THREADS);
}

static void *
hanging_run(void *arg)
{
	struct caller *caller = arg;
	struct outbound_answer answer = { 0 };

	caller->good = outbound_call(caller->f->client, &get, &answer, &caller->e) == 0;
	outbound_answer_free(&answer);
	return NULL;
}

static void
outbound_refuses_more_calls_than_are_allowed_at_once(void **state)
{
	struct fixture *f = *state;
	struct caller callers[2];
	int i;

	f->settings.calls_max = 2;
	open_client(f, "");
	f->reply.hang = true;
	for (i = 0; i < 2; i++) {
		callers[i] = (struct caller){ .f = f };
		assert_int_equal(pthread_create(&callers[i].thread, NULL, hanging_run, &callers[i]), 0);
	}
	server_wait(f->server, &f->server->requests, 2);
	call_fails(f, &get, ERR_UPSTREAM, "2 calls are under way");
	server_stop(f->server);
	f->server = NULL;
	for (i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
		assert_int_equal(callers[i].good, 0);
	}
	call_fails(f, &get, ERR_UPSTREAM, "connection refused");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(outbound_open_refuses_wrong_settings),
		test(outbound_open_looks_at_the_files),
		test(secret_file_gives_its_line),
		test(secret_file_refuses_what_others_can_read_or_is_no_line),
		test(outbound_calls_from_many_threads_share_connections),
		test(outbound_refuses_more_calls_than_are_allowed_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
