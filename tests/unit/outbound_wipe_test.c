/* After a call no secret of its headers or body is left in this process. The server is another one. */
#define _GNU_SOURCE
#include "tests/unit/outbound_fixture.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/wait.h>

#include <openssl/crypto.h>

#define MASK       0x2a /* what is looked for is never in memory as it is */
#define SECRET_LEN 24
#define REGION_MAX (64 << 20) /* larger ones are a sanitizer's own */

struct needle {
	uint8_t masked[SECRET_LEN];
};

static void
needle_make(struct needle *needle)
{
	struct err e;
	size_t i;

	assert_int_equal(random_octets(needle->masked, SECRET_LEN, &e), 0);
	for (i = 0; i < SECRET_LEN; i++)
		needle->masked[i] = (uint8_t)(('A' + needle->masked[i] % 26) ^ MASK);
}

static void
needle_reveal(const struct needle *needle, const char *before, char *out)
{
	size_t n = strlen(before), i;

	memcpy(out, before, n);
	for (i = 0; i < SECRET_LEN; i++)
		out[n + i] = (char)(needle->masked[i] ^ MASK);
	out[n + SECRET_LEN] = '\0';
}

static size_t
count_in(const struct needle *needle, const uint8_t *at, size_t len)
{
	size_t found = 0, i, j;

	for (i = 0; i + SECRET_LEN <= len; i++) {
		for (j = 0; j < SECRET_LEN && (at[i + j] ^ MASK) == needle->masked[j]; j++)
			continue;
		found += j == SECRET_LEN;
	}
	return found;
}

/* How often it is in writable memory. */
static size_t
count_in_memory(const struct needle *needle)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	int mem = open("/proc/self/mem", O_RDONLY);
	uint8_t *chunk = malloc(REGION_MAX);
	uint64_t from, to;
	char line[512], mode[5];
	size_t found = 0;

	assert_true(maps != NULL && mem >= 0 && chunk != NULL);
	while (fgets(line, sizeof line, maps) != NULL) {
		ssize_t n;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &from, &to, mode) != 3 || mode[0] != 'r' || mode[1] != 'w' ||
		    to - from > REGION_MAX || (from <= (uintptr_t)chunk && (uintptr_t)chunk < to))
			continue;
		n = pread(mem, chunk, (size_t)(to - from), (off_t)from);
		found += n <= 0 ? 0 : count_in(needle, chunk, (size_t)n);
		OPENSSL_cleanse(chunk, n <= 0 ? 0 : (size_t)n);
	}
	free(chunk);
	(void)close(mem);
	(void)fclose(maps);
	return found;
}

static void
answer_plain(struct tls_server *server, const struct seen *seen, struct reply *reply)
{
	(void)server;
	(void)seen;
	reply->status = 200;
}

/* A child that serves until its input ends; it tells its port first. */
static pid_t
serve_elsewhere(const struct certs *certs, int *port, int *keep)
{
	int tell[2], stay[2];
	pid_t pid;

	assert_int_equal(pipe(tell), 0);
	assert_int_equal(pipe(stay), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct tls_server *server = server_start(certs_context(certs, certs->server), answer_plain, NULL);
		char c;

		(void)close(stay[1]);
		if (write(tell[1], &server->port, sizeof server->port) == sizeof server->port)
			(void)!read(stay[0], &c, 1);
		server_stop(server);
		_exit(0);
	}
	(void)close(tell[1]);
	(void)close(stay[0]);
	assert_int_equal(read(tell[0], port, sizeof *port), sizeof *port);
	(void)close(tell[0]);
	*keep = stay[1];
	return pid;
}

static void
call_with(struct outbound *client, const struct needle *in_header, const struct needle *in_body)
{
	char bearer[16 + SECRET_LEN], body[16 + SECRET_LEN];
	struct outbound_header header = { "Authorization", bearer };
	struct outbound_request request = { .method = "POST", .headers = &header, .header_count = 1 };
	struct outbound_answer answer = { 0 };
	struct err e;

	needle_reveal(in_header, "Bearer ", bearer);
	needle_reveal(in_body, "secret=", body);
	request.body = bytes_of_text(body);
	assert_true(count_in_memory(in_header) > 0); /* else the search finds nothing at all */
	if (outbound_call(client, &request, &answer, &e) != 0)
		fail_msg("%s", e.text);
	outbound_answer_free(&answer);
	OPENSSL_cleanse(bearer, sizeof bearer);
	OPENSSL_cleanse(body, sizeof body);
}

static void
outbound_leaves_no_secret_behind(void **state)
{
	struct certs certs;
	struct needle in_header, in_body;
	struct outbound *client = NULL;
	struct outbound_settings settings = { .name = "test", .ca_file = certs.ca_file, .connect_ms = 20000,
		.deadline_ms = 20000, .answer_max = 4096 };
	char url[64];
	struct err e;
	int port = 0, keep = -1, status = -1;
	pid_t pid;

	(void)state;
	certs_make(&certs);
	pid = serve_elsewhere(&certs, &port, &keep);
	(void)snprintf(url, sizeof url, "https://127.0.0.1:%d/", port);
	settings.base_url = url;
	assert_int_equal(outbound_open(&settings, &client, &e), 0);
	needle_make(&in_header);
	needle_make(&in_body);
	call_with(client, &in_header, &in_body);
	assert_int_equal(count_in_memory(&in_header), 0);
	assert_int_equal(count_in_memory(&in_body), 0);
	outbound_close(client);
	(void)close(keep);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	certs_free(&certs);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(outbound_leaves_no_secret_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
