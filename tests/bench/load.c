/*
 * load: the same client for every server of a benchmark run. Fresh full
 * handshakes with a client certificate and one request each, or many requests
 * on kept connections. Certificates, keys and CSRs are made before the clock
 * starts. Prints one JSON object.
 *
 *   load --port P --devices DIR --count N [--threads T] [--tls 1.2|1.3]
 *        [--path PATH] [--enroll] [--keep] [--names FILE [--rsa]]
 *
 * --names: lines that are names of devices' files. Each thread is one of these
 * devices, and its requests name it, as a CA behind a gateway may want it.
 * --rsa: one RSA-2048 key for each device, and an attribute that tells its requests apart.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#define DEVICES_MAX 8192
#define ANSWER_MAX 65536
#define TEXT_MAX 128

struct options {
	int port, threads;
	long count;
	bool tls12, enroll, keep, rsa;
	const char *path, *devices, *names;
};

struct named {
	char tag[TEXT_MAX];
	EVP_PKEY *key; /* with --rsa; as long as the process */
};

static struct options options = { .threads = 32, .path = "/" };
static SSL_CTX *contexts[DEVICES_MAX];
static int device_count;
static struct named named[DEVICES_MAX]; /* as many as there are devices, with --names */
static char **bodies; /* one base64 CSR for each operation */
static double *latencies_ms;
static atomic_long next_op, next_thread, failures;
static char first_failure[256];

static double
now_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
die(const char *what)
{
	(void)fprintf(stderr, "load: %s\n", what);
	exit(1);
}

/* With --names a thread does every T-th operation, as one device. */
static long
device_of(long op)
{
	return (options.names == NULL ? op : op % options.threads) % device_count;
}

static char *
make_csr(long i)
{
	const struct named *who = &named[device_of(i)];
	EVP_PKEY *key = who->key == NULL ? EVP_EC_gen("P-256") : who->key;
	X509_REQ *req = X509_REQ_new();
	X509_NAME *name = X509_NAME_new();
	unsigned char *der = NULL;
	char number[32], *text;
	int len = 0;

	(void)snprintf(number, sizeof number, "bench-%ld", i);
	(void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
		(const unsigned char *)(who->tag[0] == '\0' ? number : who->tag), -1, -1, 0);
	if (who->key != NULL)
		(void)X509_REQ_add1_attr_by_NID(req, NID_pkcs9_unstructuredName, MBSTRING_ASC, (const unsigned char *)number, -1);
	if (key == NULL || X509_REQ_set_subject_name(req, name) != 1 || X509_REQ_set_pubkey(req, key) != 1 ||
	    X509_REQ_sign(req, key, EVP_sha256()) <= 0 || (len = i2d_X509_REQ(req, &der)) <= 0)
		die("cannot make a CSR");
	text = malloc((size_t)len * 2 + 8);
	if (text == NULL)
		die("no memory");
	(void)EVP_EncodeBlock((unsigned char *)text, der, len);
	OPENSSL_free(der);
	X509_NAME_free(name);
	X509_REQ_free(req);
	if (who->key == NULL)
		EVP_PKEY_free(key);
	return text;
}

static SSL_CTX *
make_context(const char *stem)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	char path[4096];

	(void)SSL_CTX_set_min_proto_version(ctx, options.tls12 ? TLS1_2_VERSION : TLS1_3_VERSION);
	(void)SSL_CTX_set_max_proto_version(ctx, options.tls12 ? TLS1_2_VERSION : TLS1_3_VERSION);
	(void)SSL_CTX_set1_groups_list(ctx, "X25519:P-256");
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	(void)snprintf(path, sizeof path, "%s/%s.pem", options.devices, stem);
	if (SSL_CTX_use_certificate_chain_file(ctx, path) != 1)
		die(path);
	(void)snprintf(path, sizeof path, "%s/%s.key", options.devices, stem);
	if (SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) != 1)
		die(path);
	return ctx;
}

static void
load_devices(void)
{
	struct dirent **names = NULL;
	int n = scandir(options.devices, &names, NULL, alphasort), i;

	for (i = 0; i < n; i++) {
		char *dot = strrchr(names[i]->d_name, '.');

		if (dot != NULL && strcmp(dot, ".key") == 0 && device_count < DEVICES_MAX) {
			*dot = '\0';
			contexts[device_count++] = make_context(names[i]->d_name);
		}
		free(names[i]);
	}
	free(names);
	if (device_count == 0)
		die("no devices in the folder");
}

/* Only the devices that it names are used, in its order. */
static void
load_names(void)
{
	FILE *file = fopen(options.names, "r");
	char line[2 * TEXT_MAX];

	while (file != NULL && device_count < DEVICES_MAX && fgets(line, sizeof line, file) != NULL) {
		struct named *who = &named[device_count];

		if (sscanf(line, "%127[^\r\n]", who->tag) != 1)
			die(options.names);
		who->key = options.rsa ? EVP_RSA_gen(2048) : NULL;
		contexts[device_count++] = make_context(who->tag);
	}
	if (device_count == 0)
		die(options.names);
	(void)fclose(file);
}

static SSL *
open_connection(long op)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)options.port),
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct timeval limit = { .tv_sec = 20 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	SSL *ssl;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0) {
		(void)close(fd);
		return NULL;
	}
	ssl = SSL_new(contexts[device_of(op)]);
	(void)SSL_set_fd(ssl, fd);
	if (SSL_connect(ssl) == 1)
		return ssl;
	SSL_free(ssl);
	(void)close(fd);
	return NULL;
}

static void
close_connection(SSL *ssl)
{
	int fd;

	if (ssl == NULL)
		return;
	fd = SSL_get_fd(ssl);
	SSL_free(ssl);
	(void)close(fd);
}

static bool
whole(const char *answer, int len)
{
	const char *end = strstr(answer, "\r\n\r\n"), *length = strcasestr(answer, "\r\nContent-Length:");

	return end != NULL && length != NULL && length < end && len >= (int)(end - answer) + 4 + atoi(length + 17);
}

static bool
exchange(SSL *ssl, const char *request, int request_len, char *answer)
{
	int len = 0, n;

	if (SSL_write(ssl, request, request_len) != request_len)
		return false;
	while (len < ANSWER_MAX - 1 && (n = SSL_read(ssl, answer + len, ANSWER_MAX - 1 - len)) > 0) {
		len += n;
		answer[len] = '\0';
		if (whole(answer, len))
			return strncmp(answer, "HTTP/1.1 200", 12) == 0;
	}
	answer[len] = '\0';
	return false;
}

static int
make_request(long op, char *request, size_t size)
{
	if (!options.enroll)
		return snprintf(request, size, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", options.path);
	return snprintf(request, size,
		"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/pkcs10\r\nContent-Length: %zu\r\n\r\n%s",
		options.path, strlen(bodies[op]), bodies[op]);
}

static void
count_failure(const char *answer)
{
	char line[200];

	(void)snprintf(line, sizeof line, "%.*s", (int)strcspn(answer, "\r\n"), answer);
	if (atomic_fetch_add(&failures, 1) == 0)
		(void)snprintf(first_failure, sizeof first_failure, "%s", line[0] == '\0' ? "no answer" : line);
}

static void *
client(void *arg)
{
	char *request = malloc(ANSWER_MAX), *answer = malloc(ANSWER_MAX);
	SSL *ssl = NULL;
	long op, number = atomic_fetch_add(&next_thread, 1), done = 0;

	(void)arg;
	while ((op = options.names != NULL ? number + options.threads * done++ : atomic_fetch_add(&next_op, 1)) <
		options.count) {
		int len = make_request(op, request, ANSWER_MAX);
		double began = now_s();

		answer[0] = '\0';
		if (ssl == NULL)
			ssl = open_connection(op);
		if (ssl == NULL || !exchange(ssl, request, len, answer)) {
			count_failure(answer);
			close_connection(ssl);
			ssl = NULL;
		}
		latencies_ms[op] = (now_s() - began) * 1000;
		if (!options.keep || strcasestr(answer, "\r\nConnection: close") != NULL) {
			close_connection(ssl);
			ssl = NULL;
		}
	}
	close_connection(ssl);
	free(request);
	free(answer);
	return NULL;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void
parse(int argc, char **argv)
{
	static const struct option longs[] = { { "port", required_argument, NULL, 'p' },
		{ "devices", required_argument, NULL, 'd' }, { "count", required_argument, NULL, 'n' },
		{ "threads", required_argument, NULL, 't' }, { "tls", required_argument, NULL, 'v' },
		{ "path", required_argument, NULL, 'u' }, { "enroll", no_argument, NULL, 'e' },
		{ "keep", no_argument, NULL, 'k' }, { "names", required_argument, NULL, 'c' },
		{ "rsa", no_argument, NULL, 'r' },
		{ NULL, 0, NULL, 0 } };
	int o;

	while ((o = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (o == 'p')
			options.port = atoi(optarg);
		else if (o == 'd')
			options.devices = optarg;
		else if (o == 'n')
			options.count = atol(optarg);
		else if (o == 't')
			options.threads = atoi(optarg);
		else if (o == 'v')
			options.tls12 = strcmp(optarg, "1.2") == 0;
		else if (o == 'u')
			options.path = optarg;
		else if (o == 'e')
			options.enroll = true;
		else if (o == 'k')
			options.keep = true;
		else if (o == 'c')
			options.names = optarg;
		else if (o == 'r')
			options.rsa = true;
		else
			die("see the head of load.c");
	}
	if (options.port == 0 || options.count < 1 || options.devices == NULL || options.threads < 1)
		die("--port, --devices and --count are needed");
}

int
main(int argc, char **argv)
{
	pthread_t *threads;
	double began, took;
	long i;

	parse(argc, argv);
	if (options.names != NULL)
		load_names();
	else
		load_devices();
	latencies_ms = calloc((size_t)options.count, sizeof *latencies_ms);
	bodies = calloc((size_t)options.count, sizeof *bodies);
	threads = calloc((size_t)options.threads, sizeof *threads);
	for (i = 0; options.enroll && i < options.count; i++)
		bodies[i] = make_csr(i);
	(void)printf("{\"ready\": true}\n");
	(void)fflush(stdout);
	if (getchar() == EOF) /* the bench reads the server's CPU time, then lets us go */
		return 1;
	began = now_s();
	for (i = 0; i < options.threads; i++)
		if (pthread_create(&threads[i], NULL, client, NULL) != 0)
			die("no thread");
	for (i = 0; i < options.threads; i++)
		(void)pthread_join(threads[i], NULL);
	took = now_s() - began;
	qsort(latencies_ms, (size_t)options.count, sizeof *latencies_ms, compare);
	(void)printf("{\"ops\": %ld, \"failures\": %ld, \"first_failure\": \"%s\", \"seconds\": %.3f, \"p50_ms\": %.3f, "
		     "\"p99_ms\": %.3f, \"max_ms\": %.3f}\n",
		options.count, (long)failures, first_failure, took, latencies_ms[options.count / 2],
		latencies_ms[options.count * 99 / 100], latencies_ms[options.count - 1]);
	return failures != 0;
}
