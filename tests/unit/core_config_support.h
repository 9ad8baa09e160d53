/*
 * core_config_support.h - a folder with keys, certificates and a configuration without a mistake.
 *
 * Each test program includes it once, defines _GNU_SOURCE before, and runs
 * with make_files() and remove_files().
 */
#ifndef TESTS_UNIT_CORE_CONFIG_SUPPORT_H
#define TESTS_UNIT_CORE_CONFIG_SUPPORT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/pem.h>

#include "base/key.h"
#include "gateway/ca/ca.h"
#include "gateway/core/config_memory.h"
#include "gateway/core/config_table.h"

/* One configuration without a mistake; tests change one line of it. */
static const char good[] =
	"listen = {\n"
	"	https = [ \"127.0.0.1:0\", \"[::1]:8443\" ];\n"
	"	admin = \"127.0.0.1:0\";\n"
	"	control = \"control.sock\";\n"
	"	control_mode = \"0600\";\n"
	"	lock_file = \"\";\n"
	"};\n"
	"tls = {\n"
	"	certificate = \"server.pem\";\n"
	"	key = \"file:server.key\";\n"
	"	min_version = \"1.2\";\n"
	"	groups = \"X25519:P-256\";\n"
	"};\n"
	"store = {\n"
	"	type = \"sqlite\";\n"
	"	path = \"enrolld.db\";\n"
	"};\n"
	"limits = {\n"
	"	body = \"32k\";\n"
	"	queue_age = \"2m\";\n"
	"};\n"
	"trust = (\n"
	"	{ name = \"acme\"; files = [ \"ca.pem\" ]; },\n"
	"	{ name = \"globex\"; files = [ \"ca.pem\" ]; }\n"
	");\n"
	"identity = (\n"
	"	{ name = \"acme-sn\";\n"
	"	trust = \"acme\";\n"
	"	field = \"subject_serial\";\n"
	"	pattern = \"SN:(.+)\";\n"
	"	}\n"
	");\n"
	"cas = (\n"
	"	{ name = \"devices\";\n"
	"	type = \"builtin\";\n"
	"	certificate = \"ca.pem\";\n"
	"	key = \"ca.key\";\n"
	"	crl_url = \"http://pki.example.com/a.crl\";\n"
	"	}\n"
	");\n"
	"profiles = (\n"
	"	{ name = \"device\";\n"
	"	subject = \"CN={tag}\";\n"
	"	san = [ \"dns:{hostname}\" ];\n"
	"	keys = [ \"EC:P-256\", \"RSA:2048-3072\" ];\n"
	"	keygen = \"EC:P-384\";\n"
	"	key_usage = [ \"digitalSignature\", \"keyAgreement\" ];\n"
	"	eku = [ \"clientAuth\" ];\n"
	"	lifetime = \"10d\";\n"
	"	csr_names = \"ignore\";\n"
	"	}\n"
	");\n"
	"labels = (\n"
	"	{ name = \"\";\n"
	"	profile = \"device\";\n"
	"	ca = \"devices\";\n"
	"	auth = [ \"certificate\", \"own\" ];\n"
	"	trust = [ \"acme\" ];\n"
	"	operations = [ \"renew\" ];\n"
	"	csrattrs = [ \"challengePassword\" ];\n"
	"	realm = \"fleet\";\n"
	"	},\n"
	"	{ name = \"lab\"; profile = \"device\"; ca = \"devices\"; auth = \"secret\"; }\n"
	");\n";

static char dir[] = "/tmp/enrolld-config-XXXXXX";
static char conf[64];

struct problems {
	struct buf text;
	size_t count;
};

static inline void
collect(void *arg, const char *text)
{
	struct problems *problems = arg;

	problems->count++;
	buf_printf(&problems->text, "%s\n", text);
}

static inline void
path_in(char out[256], const char *name)
{
	assert_in_range(snprintf(out, 256, "%s/%s", dir, name), 1, 255);
}

static inline void
write_file(const char *name, const void *at, size_t len)
{
	char path[256];
	FILE *out;

	path_in(path, name);
	out = fopen(path, "wb");
	assert_non_null(out);
	assert_int_equal(fwrite(at, 1, len, out), len);
	assert_int_equal(fclose(out), 0);
}

static inline void
write_text(const char *name, const char *text)
{
	write_file(name, text, strlen(text));
}

/* Loads the file that is there; NULL when there are problems. */
static inline struct config *
load_file(struct problems *problems)
{
	struct config *config = NULL;
	int result;

	*problems = (struct problems){ .count = 0 };
	result = config_load(conf, collect, problems, &config);
	assert_int_equal(result == 0, problems->count == 0);
	assert_int_equal(config != NULL, result == 0);
	return config;
}

static inline struct config *
load(const char *text, struct problems *problems)
{
	write_text("enrolld.conf", text);
	return load_file(problems);
}

static inline struct config *
load_good(const char *text)
{
	struct problems problems;
	struct config *config = load(text, &problems);

	if (config == NULL)
		fail_msg("%s", buf_text(&problems.text));
	buf_free(&problems.text);
	return config;
}

/* text with the first find replaced; *line is the line it stands on. The caller frees. */
static inline char *
changed(const char *text, const char *find, const char *replace, size_t *line)
{
	const char *at = strstr(text, find), *c;
	size_t size = strlen(text) + strlen(replace) + 1;
	char *out = malloc(size);

	assert_non_null(out);
	if (at == NULL)
		fail_msg("\"%s\" is not in the text", find);
	*line = 1;
	for (c = text; c < at; c++)
		*line += *c == '\n' ? 1 : 0;
	(void)snprintf(out, size, "%.*s%s%s", (int)(at - text), text, replace, at + strlen(find));
	return out;
}

static inline void
expect_text(const char *text, size_t line, const char *message)
{
	struct problems problems;
	struct config *config = load(text, &problems);
	char *expected = NULL;

	assert_true(asprintf(&expected, "%s:%zu: %s\n", conf, line, message) > 0);
	assert_null(config);
	assert_string_equal(buf_text(&problems.text), expected);
	assert_int_equal(problems.count, 1);
	free(expected);
	buf_free(&problems.text);
}

/* The good file with one change has exactly this problem, on the line of the change. */
static inline void
expect(const char *find, const char *replace, const char *message)
{
	size_t line;
	char *text = changed(good, find, replace, &line);

	expect_text(text, line, message);
	free(text);
}

/* The same with DIR, once in the message, for the folder of the test. */
static inline void
expect_path(const char *find, const char *replace, const char *message)
{
	char whole[512];
	const char *at = strstr(message, "DIR");

	assert_non_null(at);
	(void)snprintf(whole, sizeof whole, "%.*s%s%s", (int)(at - message), message, dir, at + 3);
	expect(find, replace, whole);
}

static inline void
write_key(const char *name, EVP_PKEY *key)
{
	char path[256];
	FILE *out;

	path_in(path, name);
	out = fopen(path, "w");
	assert_non_null(out);
	assert_int_equal(PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(chmod(path, 0600), 0);
}

static inline void
write_certificate(const char *name, X509 *cert)
{
	char path[256];
	FILE *out;

	path_in(path, name);
	out = fopen(path, "w");
	assert_non_null(out);
	assert_int_equal(PEM_write_X509(out, cert), 1);
	assert_int_equal(fclose(out), 0);
}

static inline X509 *
leaf_of(EVP_PKEY *key)
{
	X509 *cert = X509_new();

	assert_non_null(cert);
	assert_int_equal(X509_set_version(cert, X509_VERSION_3), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), 7), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), 0));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), 3600));
	assert_int_equal(X509_set_pubkey(cert, key), 1);
	assert_int_not_equal(X509_sign(cert, key, EVP_sha256()), 0);
	return cert;
}

static inline int
make_files(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256"), *server = EVP_EC_gen("P-256"), *issuing_key = EVP_EC_gen("P-256");
	struct ca_make make = { .common_name = "Test CA", .organisation = "Test", .key = key, .path_len = -1,
		.not_before_s = 1700000000, .not_after_s = 4000000000 };
	X509 *ca = NULL, *issuing = NULL, *leaf;
	struct err e;

	(void)state;
	assert_int_equal(ossl_init(&e), 0);
	assert_int_equal(key_init(&e), 0);
	assert_non_null(mkdtemp(dir));
	(void)snprintf(conf, sizeof conf, "%s/enrolld.conf", dir);
	assert_non_null(key);
	assert_non_null(server);
	assert_non_null(issuing_key);
	assert_int_equal(ca_make_certificate(&make, &ca, &e), 0);
	make.common_name = "Test issuing CA";
	make.key = issuing_key;
	make.issuer = ca;
	make.issuer_key = key;
	assert_int_equal(ca_make_certificate(&make, &issuing, &e), 0);
	leaf = leaf_of(server);
	write_certificate("ca.pem", ca);
	write_key("ca.key", key);
	write_certificate("issuing.pem", issuing);
	write_key("issuing.key", issuing_key);
	write_certificate("server.pem", leaf);
	write_key("server.key", server);
	write_text("empty.pem", "no certificate\n");
	X509_free(ca);
	X509_free(issuing);
	X509_free(leaf);
	EVP_PKEY_free(issuing_key);
	EVP_PKEY_free(key);
	EVP_PKEY_free(server);
	return 0;
}

static inline int
remove_files(void **state)
{
	char command[128];

	(void)state;
	(void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
	return system(command);
}

/* Texts that other parsers read: the mistake is on the right line and names the setting. */
static inline void
expect_start(const char *find, const char *replace, const char *start)
{
	struct problems problems;
	char *expected = NULL, *text;
	size_t line;

	text = changed(good, find, replace, &line);
	assert_null(load(text, &problems));
	assert_true(asprintf(&expected, "%s:%zu: %s: ", conf, line, start) > 0);
	if (problems.count != 1 || strncmp(buf_text(&problems.text), expected, strlen(expected)) != 0)
		fail_msg("wanted \"%s...\", got:\n%s", expected, buf_text(&problems.text));
	free(expected);
	free(text);
	buf_free(&problems.text);
}

#endif
