/*
 * A client that nobody here wrote: coap-client-openssl of libcoap3-bin.
 */
#define _GNU_SOURCE
#include "tests/unit/coap_server_fixture.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <openssl/pem.h>

static char folder[] = "/tmp/coap_foreign_test.XXXXXX";

static void
write_pem(const struct identity *id)
{
	char path[64];
	FILE *file;

	(void)snprintf(path, sizeof path, "%s/device.pem", folder);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(PEM_write_X509(file, id->cert), 1);
	assert_int_equal(PEM_write_PrivateKey(file, id->key, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(file), 0);
}

static void
write_body(size_t len)
{
	char path[64];
	FILE *file;

	(void)snprintf(path, sizeof path, "%s/body", folder);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(fixture_pattern(len).at, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

/* Runs the client with these arguments; what it has received is in out. */
static void
run_client(const struct fixture *f, const char *arguments, const char *path, struct buf *out)
{
	char command[512], piece[4096];
	FILE *client;
	size_t n;

	/* Its first line is about the DTLS library, on stderr or not there. */
	assert_true(snprintf(command, sizeof command, "cd %s && rm -f got && timeout 60 coap-client-openssl -n -v 0 -B 30 "
		"-c device.pem -j device.pem -o got %s coaps://127.0.0.1:%d/%s >/dev/null 2>client.log && cat got",
		folder, arguments, f->port, path) < (int)sizeof command);
	client = popen(command, "r");
	assert_non_null(client);
	buf_clear(out);
	while ((n = fread(piece, 1, sizeof piece, client)) > 0)
		buf_append(out, piece, n);
	if (pclose(client) != 0)
		fail_msg("%s", command);
}

static void
coap_foreign_client_discovers_and_gets(void **state)
{
	struct fixture *f = *state;
	struct buf got = { 0 };

	f->answer_len = 639;
	fixture_start(f);
	write_pem(&f->device);
	run_client(f, "-m get", ".well-known/core?rt=ace.est*", &got);
	assert_non_null(strstr(buf_text(&got), "</est/sen>;rt=\"ace.est.sen\";ct=\"281 287\""));
	run_client(f, "-m get -A 281", "est/crts", &got);
	assert_true(bytes_equal(buf_bytes(&got), fixture_pattern(639)));
	assert_int_equal(seen(f)->accept, COAPS_FORMAT_CERTS);
	/* RFC 9148, appendix B.1: in blocks of 64 octets. */
	run_client(f, "-m get -b 64", "est/crts", &got);
	assert_true(bytes_equal(buf_bytes(&got), fixture_pattern(639)));
	buf_free(&got);
}

static void
coap_foreign_client_posts_in_blocks(void **state)
{
	static const int sizes[] = { 16, 64, 256, 1024 };
	struct fixture *f = *state;
	struct buf got = { 0 };
	char arguments[64];
	size_t i;

	f->answer_len = 1500;
	fixture_start(f);
	write_pem(&f->device);
	write_body(1399);
	for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		(void)snprintf(arguments, sizeof arguments, "-m post -t 286 -A 281 -b %d -f body", sizes[i]);
		run_client(f, arguments, "est/iot/sen", &got);
		assert_true(bytes_equal(buf_bytes(&seen(f)->body), fixture_pattern(1399)));
		assert_true(bytes_equal(buf_bytes(&got), fixture_pattern(1500)));
		assert_string_equal(seen(f)->label, "iot");
		assert_int_equal(seen(f)->content_format, COAPS_FORMAT_CSR);
		assert_int_equal(fixture_calls(f), (int)i + 1);
	}
	buf_free(&got);
}

static void *
let_go(void *arg)
{
	struct fixture *f = arg;
	const struct timespec slow = { .tv_nsec = 200000000 };

	fixture_await_calls(f, 1);
	/* The handler takes longer than separate_ms; there is nothing to wait for on a foreign client's side. */
	(void)nanosleep(&slow, NULL);
	fixture_hold(f, false);
	return NULL;
}

static void
coap_foreign_client_waits_for_a_late_answer(void **state)
{
	struct fixture *f = *state;
	struct buf got = { 0 };
	pthread_t thread;

	f->answer_len = 3000;
	f->settings.separate_ms = 20;
	fixture_start(f);
	write_pem(&f->device);
	write_body(399);
	fixture_hold(f, true);
	assert_int_equal(pthread_create(&thread, NULL, let_go, f), 0);
	run_client(f, "-m post -t 286 -b 256 -f body", "est/sen", &got);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(bytes_equal(buf_bytes(&got), fixture_pattern(3000)));
	assert_int_equal(fixture_calls(f), 1);
	buf_free(&got);
}

/* The third, seventh and ninth datagram of the client never leave. */
static void
coap_foreign_client_gets_through_a_lossy_link(void **state)
{
	struct fixture *f = *state;
	struct buf got = { 0 };

	f->answer_len = 700;
	fixture_start(f);
	write_pem(&f->device);
	write_body(399);
	run_client(f, "-l 3,7,9 -m post -t 286 -b 128 -f body", "est/sen", &got);
	assert_true(bytes_equal(buf_bytes(&got), fixture_pattern(700)));
	assert_true(bytes_equal(buf_bytes(&seen(f)->body), fixture_pattern(399)));
	assert_int_equal(fixture_calls(f), 1);
	buf_free(&got);
}

static int
make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) == NULL ? -1 : 0;
}

static int
remove_folder(void **state)
{
	char command[96];

	(void)state;
	(void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
	return system(command);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(coap_foreign_client_discovers_and_gets),
		TEST(coap_foreign_client_posts_in_blocks),
		TEST(coap_foreign_client_waits_for_a_late_answer),
		TEST(coap_foreign_client_gets_through_a_lossy_link),
	};

	return cmocka_run_group_tests_name("coap foreign client", tests, make_folder, remove_folder);
}
