#define _GNU_SOURCE
/*
 * cmp_ca - a CMP CA for tests (RFC 4210, RFC 9480; by HTTP as in RFC 6712), on OpenSSL's server half.
 *
 * Unlike `openssl cmp -port` it makes a certificate for each request, keeps transactions apart, whatever connection
 * they come by, and remembers what it did. See --help.
 */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <strings.h>

#include <civetweb.h>
#include <openssl/pem.h>

#include "tests/ca/cmp_ca.h"

#define MESSAGE_MAX   (256 << 10)
#define KEEP_MS       "60000"
#define LIFETIME_S    72000
#define BACKDATE_S    30

static const char HELP[] =
	"usage: cmp_ca --certificate PEM --key PEM (--reference TEXT --secret-file FILE | --signer PEM --signer-key PEM --trusted PEM)\n"
	"\n"
	"A CMP CA for tests, on plain HTTP and 127.0.0.1. \"port N\" on stdout says that it listens; SIGTERM ends it.\n"
	"\n"
	"  --certificate PEM   the issuing certificate, and those above it in the same file or by --chain\n"
	"  --chain PEM         further certificates of answers\n"
	"  --key PEM           the key that signs certificates, EC or RSA\n"
	"  --reference TEXT    messages are protected by a secret: who asks (senderKID),\n"
	"  --secret-file FILE  and the secret, a line\n"
	"  --signer PEM        messages are protected by signatures: our certificate,\n"
	"  --signer-key PEM    its key,\n"
	"  --trusted PEM       and whom those who ask have their certificates from\n"
	"  --port N            0: any (the default)\n"
	"  --threads N         connections at the same time; 64\n"
	"  --lifetime S        of certificates, from now; 72000\n"
	"  --backdate S        how long ago they begin; 30\n"
	"  --wait N            each request waits, and its Nth poll is answered with the certificate; 0\n"
	"  --check-after S     when to poll; 1\n"
	"  --journal FILE      a line for each event (see cmp_ca.h); a restart goes on from there\n"
	"  --orders FILE       its first word says what becomes of requests and polls as long as it is there:\n"
	"      wait            they wait\n"
	"      unavailable     systemUnavail\n"
	"      again           the newest certificate of all is given, and none is made\n"
	"      also            the same, and one is made\n"
	"      other-key       the certificate has a key that nobody has\n"
	"      other-name      ... the subject CN=somebody-else\n"
	"      too-long        ... a lifetime of 120 days\n"
	"  --help\n"
	"\n"
	"What is refused by certConf is revoked. SIGHUP: what was not confirmed so far is revoked, its time being over.\n";

/* --- HTTP ----------------------------------------------------------------------- */

static bool
read_body(struct mg_connection *conn, size_t len, struct buf *out)
{
	uint8_t octets[4096];
	int got = 1;

	while (out->len < len && got > 0) {
		got = mg_read(conn, octets, len - out->len < sizeof octets ? len - out->len : sizeof octets);
		if (got > 0)
			buf_append(out, octets, (size_t)got);
	}
	return out->len == len && !buf_failed(out);
}

/* RFC 6712, section 3: POST, one media type, and 200 with whatever the CA says. */
static int
status_of(struct mg_connection *conn, struct ca *ca, struct buf *out)
{
	const struct mg_request_info *info = mg_get_request_info(conn);
	const char *type = mg_get_header(conn, "Content-Type");
	CLEANUP(buf) struct buf body = { 0 };
	bool answered;

	if (strcmp(info->request_method, "POST") != 0)
		return 405;
	if (type == NULL || strcasecmp(type, CMP_MEDIA) != 0)
		return 415;
	if (info->content_length <= 0)
		return 411;
	if (info->content_length > MESSAGE_MAX)
		return 413;
	if (!read_body(conn, (size_t)info->content_length, &body))
		return 400;
	(void)pthread_mutex_lock(&ca->lock);
	answered = cmp_answer(ca, buf_bytes(&body), out);
	(void)pthread_mutex_unlock(&ca->lock);
	return answered ? 200 : 400;
}

/* Head and body in one write: with two, the second waits for the peer's delayed acknowledgement. */
static int
serve(struct mg_connection *conn)
{
	struct ca *ca = mg_get_request_info(conn)->user_data;
	CLEANUP(buf) struct buf message = { 0 }, http = { 0 };
	int status = status_of(conn, ca, &message);

	buf_printf(&http, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", status,
		status == 200 ? "OK" : "Refused", status == 200 ? CMP_MEDIA : "text/plain", message.len);
	buf_append_bytes(&http, buf_bytes(&message));
	if (!buf_failed(&http))
		(void)mg_write(conn, http.at, http.len);
	return status;
}

static struct mg_context *
listen_on(struct ca *ca, const char *port, const char *threads)
{
	char address[64];
	const char *options[] = { "listening_ports", address, "num_threads", threads, "enable_keep_alive", "yes",
		"keep_alive_timeout_ms", KEEP_MS, "request_timeout_ms", KEEP_MS, "tcp_nodelay", "1", NULL };
	struct mg_callbacks callbacks = { .begin_request = serve };

	(void)snprintf(address, sizeof address, "127.0.0.1:%s", port);
	(void)mg_init_library(0);
	return mg_start(&callbacks, ca, options);
}

/* --- begin and end -------------------------------------------------------------- */

static int
load_key(const char *path, EVP_PKEY **out, struct err *e)
{
	FILE *file = path == NULL ? NULL : fopen(path, "re");

	*out = file == NULL ? NULL : PEM_read_PrivateKey(file, NULL, NULL, NULL);
	if (file != NULL)
		(void)fclose(file);
	return *out != NULL ? 0 : err_set(e, ERR_MALFORMED, "%s: no private key", path == NULL ? "a key is missing" : path);
}

static int
load_secret(const char *path, struct buf *out, struct err *e)
{
	FILE *file = fopen(path, "re");
	char line[256] = "";
	bool read = file != NULL && fgets(line, sizeof line, file) != NULL;

	if (file != NULL)
		(void)fclose(file);
	line[strcspn(line, "\r\n")] = '\0';
	buf_append_text(out, line);
	OPENSSL_cleanse(line, sizeof line);
	return read && out->len != 0 && !buf_failed(out) ? 0 : err_set(e, ERR_MALFORMED, "%s: no secret", path);
}

static int
load_trusted(const char *path, X509_STORE **out, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	int i;

	if (path == NULL || x509_load_file(path, &certs, e) != 0)
		return err_set(e, ERR_MALFORMED, "--trusted names no certificates");
	*out = X509_STORE_new();
	for (i = 0; *out != NULL && i < sk_X509_num(certs); i++)
		if (X509_STORE_add_cert(*out, sk_X509_value(certs, i)) != 1)
			return err_ossl(e, ERR_NOMEM, "--trusted");
	return *out != NULL ? 0 : err_ossl(e, ERR_NOMEM, "--trusted");
}

enum { CERTIFICATE = 1, CHAIN, KEY, REFERENCE, SECRET_FILE, SIGNER, SIGNER_KEY, TRUSTED, PORT, THREADS, LIFETIME, BACKDATE,
	WAIT, CHECK_AFTER, JOURNAL, ORDERS, WANT_HELP, OPTIONS };

/* false: --help, or none of ours. */
static bool
read_options(int argc, char **argv, const char *values[OPTIONS])
{
	static const struct option known[] = { { "certificate", 1, NULL, CERTIFICATE }, { "chain", 1, NULL, CHAIN },
		{ "key", 1, NULL, KEY }, { "reference", 1, NULL, REFERENCE }, { "secret-file", 1, NULL, SECRET_FILE },
		{ "signer", 1, NULL, SIGNER }, { "signer-key", 1, NULL, SIGNER_KEY }, { "trusted", 1, NULL, TRUSTED },
		{ "port", 1, NULL, PORT }, { "threads", 1, NULL, THREADS }, { "lifetime", 1, NULL, LIFETIME },
		{ "backdate", 1, NULL, BACKDATE }, { "wait", 1, NULL, WAIT }, { "check-after", 1, NULL, CHECK_AFTER },
		{ "journal", 1, NULL, JOURNAL }, { "orders", 1, NULL, ORDERS }, { "help", 0, NULL, WANT_HELP }, { 0 } };
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) > 0 && option < OPTIONS && option != WANT_HELP)
		values[option] = optarg;
	return option < 0 && optind == argc && values[CERTIFICATE] != NULL && values[KEY] != NULL &&
		(values[SECRET_FILE] != NULL) == (values[REFERENCE] != NULL) && (values[SECRET_FILE] == NULL) == (values[SIGNER] != NULL);
}

static int64_t
number_of(const char *text, int64_t otherwise)
{
	return text == NULL ? otherwise : atoll(text);
}

static int
load_chain(struct ca *ca, const char *values[OPTIONS], struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *more = NULL;

	if (x509_load_file(values[CERTIFICATE], &ca->issuer.chain, e) != 0 ||
	    (values[CHAIN] != NULL && x509_load_file(values[CHAIN], &more, e) != 0))
		return -1;
	while (sk_X509_num(more) > 0)
		if (sk_X509_push(ca->issuer.chain, sk_X509_shift(more)) <= 0)
			return err_ossl(e, ERR_NOMEM, "chain");
	if (load_key(values[KEY], &ca->issuer.key, e) != 0)
		return -1;
	if (X509_check_private_key(sk_X509_value(ca->issuer.chain, 0), ca->issuer.key) != 1)
		return err_ossl(e, ERR_MALFORMED, "--key is not --certificate's");
	return 0;
}

static int
load(struct ca *ca, const char *values[OPTIONS], struct err *e)
{
	ca->issuer.lifetime_s = number_of(values[LIFETIME], LIFETIME_S);
	ca->issuer.backdate_s = number_of(values[BACKDATE], BACKDATE_S);
	ca->wait = (long)number_of(values[WAIT], 0);
	ca->check_after_s = number_of(values[CHECK_AFTER], 1);
	ca->orders = values[ORDERS];
	ca->reference = values[REFERENCE];
	if (ossl_init(e) != 0 || load_chain(ca, values, e) != 0 || records_open(&ca->records, values[JOURNAL], e) != 0)
		return -1;
	if (ca->reference != NULL)
		return load_secret(values[SECRET_FILE], &ca->secret, e);
	return x509_load_file(values[SIGNER], &ca->signer, e) != 0 || load_key(values[SIGNER_KEY], &ca->signer_key, e) != 0 ||
		load_trusted(values[TRUSTED], &ca->trusted, e) != 0 ? -1 : 0;
}

static void
unload(struct ca *ca)
{
	records_close(&ca->records);
	x509_stack_free(ca->issuer.chain);
	EVP_PKEY_free(ca->issuer.key);
	x509_stack_free(ca->signer);
	EVP_PKEY_free(ca->signer_key);
	X509_STORE_free(ca->trusted);
	buf_free_secret(&ca->secret);
}

/* Until SIGTERM or SIGINT; no thread but this one hears of signals. */
static int
run(struct ca *ca, const char *port, const char *threads, const sigset_t *signals)
{
	struct mg_server_port at = { 0 };
	struct mg_context *context = listen_on(ca, port, threads);
	int number = 0;

	if (context == NULL || mg_get_server_ports(context, 1, &at) != 1) {
		fprintf(stderr, "cmp_ca: it cannot listen on port %s\n", port);
		mg_stop(context);
		return 1;
	}
	printf("port %d\n", at.port);
	(void)fflush(stdout);
	while (sigwait(signals, &number) == 0 && number == SIGHUP) {
		(void)pthread_mutex_lock(&ca->lock);
		cmp_time_is_over(ca);
		(void)pthread_mutex_unlock(&ca->lock);
	}
	mg_stop(context);
	return 0;
}

int
main(int argc, char **argv)
{
	static struct ca ca = { .lock = PTHREAD_MUTEX_INITIALIZER };
	const char *values[OPTIONS] = { NULL };
	struct err e = { 0 };
	sigset_t signals;
	int result;

	if (!read_options(argc, argv, values)) {
		bool asked = argc == 2 && strcmp(argv[1], "--help") == 0;

		fputs(HELP, asked ? stdout : stderr);
		return asked ? 0 : 2;
	}
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGHUP);
	(void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
	result = load(&ca, values, &e);
	if (result != 0)
		fprintf(stderr, "cmp_ca: %s\n", e.text);
	else
		result = run(&ca, values[PORT] == NULL ? "0" : values[PORT], values[THREADS] == NULL ? "64" : values[THREADS], &signals);
	unload(&ca);
	return result != 0;
}
