/* What is told of a CA elsewhere though nothing is wrong with its settings: warnings, which the log has. */
#define _GNU_SOURCE
#include "tests/unit/core_config_support.h"

#include <fcntl.h>

#include <openssl/x509v3.h>

static void
extension_add(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(extension);
	assert_int_equal(X509_add_ext(cert, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

/* ra.pem and ra.key; usages NULL: no extended key usage at all. */
static void
make_client(const char *usages)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	char path[256];
	FILE *file;

	assert_true(key != NULL && cert != NULL);
	assert_int_equal(X509_set_version(cert, 2), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), 7), 1);
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)"ra", -1, -1, 0), 1);
	assert_int_equal(X509_set_issuer_name(cert, X509_get_subject_name(cert)), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), 0));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), 86400));
	assert_int_equal(X509_set_pubkey(cert, key), 1);
	if (usages != NULL)
		extension_add(cert, NID_ext_key_usage, usages);
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	path_in(path, "ra.pem");
	file = fopen(path, "w");
	assert_true(file != NULL && PEM_write_X509(file, cert) == 1);
	assert_int_equal(fclose(file), 0);
	path_in(path, "ra.key");
	file = fopen(path, "w");
	assert_true(file != NULL && fchmod(fileno(file), 0600) == 0);
	assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(file), 0);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static char *
with_ca(const char *settings)
{
	char cas[700];
	size_t line;

	(void)snprintf(cas, sizeof cas, "cas = ( { name = \"up\"; url = \"https://127.0.0.1:1/\"; certificate = \"ca.pem\"; "
		"tls_ca = \"ca.pem\"; %s },\n", settings);
	return changed(good, "cas = (\n", cas, &line);
}

/* The configuration is good; what standard error had meanwhile. */
static void
log_of(const char *settings, char *out, size_t size)
{
	char *text = with_ca(settings), path[256];
	struct config *config;
	int kept = dup(STDERR_FILENO), file;
	ssize_t len;

	path_in(path, "log");
	file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(kept >= 0 && file >= 0 && dup2(file, STDERR_FILENO) >= 0);
	config = load_good(text);
	assert_true(dup2(kept, STDERR_FILENO) >= 0);
	len = pread(file, out, size - 1, 0);
	assert_true(len >= 0);
	out[len] = '\0';
	config_free(config);
	free(text);
	(void)close(file);
	(void)close(kept);
}

#define EST_CERT "type = \"est\"; client_cert = \"ra.pem\"; client_key = \"ra.key\";"

static void
config_warns_of_an_est_client_that_is_no_registrar(void **state)
{
	static const struct {
		const char *usages, *settings;
		bool warned;
	} rows[] = {
		{ "clientAuth,cmcRA", EST_CERT, false },
		{ "cmcRA", EST_CERT, false },
		{ "clientAuth", EST_CERT, true },
		{ "cmcCA", EST_CERT, true },
		{ NULL, EST_CERT, true },
		/* Who we are is told by a password. */
		{ "clientAuth", EST_CERT " user = \"gw\"; secret_file = \"secret\";", false },
		{ NULL, "type = \"est\"; user = \"gw\"; secret_file = \"secret\";", false },
		/* Elsewhere that usage means nothing. */
		{ "clientAuth", "type = \"cmp\"; auth = \"signature\"; client_cert = \"ra.pem\"; client_key = \"ra.key\";", false },
	};
	char log[2048];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		make_client(rows[i].usages);
		log_of(rows[i].settings, log, sizeof log);
		if ((strstr(log, "id-kp-cmcRA") != NULL) != rows[i].warned)
			fail_msg("row %zu: %s", i, log);
		if (rows[i].warned && (strstr(log, " warn config ") == NULL || strstr(log, "cas \\\"up\\\": client_cert: ") == NULL ||
		    strstr(log, "/ra.pem lacks") == NULL))
			fail_msg("row %zu: %s", i, log);
	}
}

static int
make_upstream(void **state)
{
	char path[256];

	if (make_files(state) != 0)
		return -1;
	write_text("secret", "password\n");
	path_in(path, "secret");
	return chmod(path, 0600);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_warns_of_an_est_client_that_is_no_registrar),
	};

	return cmocka_run_group_tests(tests, make_upstream, remove_files);
}
