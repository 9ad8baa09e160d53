/*
 * core_scep_fixture.h - what SCEP's settings name: RA certificates of every kind, beside the files of
 * core_config_support.h, and a configuration with them without a mistake.
 *
 * Each test program includes it once, defines _GNU_SOURCE before, and runs
 * with make_scep_files() and remove_files().
 */
#ifndef TESTS_UNIT_CORE_SCEP_FIXTURE_H
#define TESTS_UNIT_CORE_SCEP_FIXTURE_H

#include "tests/unit/core_config_support.h"

#include "base/timefmt.h"

static const char scep_good[] =
	"listen = { https = [ \"127.0.0.1:0\" ]; http = [ \"127.0.0.1:8080\", \"[::1]:8080\" ]; admin = \"\"; };\n"
	"tls = { certificate = \"server.pem\"; key = \"server.key\"; };\n"
	"store = { path = \"enrolld.db\"; };\n"
	"scep = { suffixes = [ \"/pkiclient.exe\", \"/certsrv/mscep/mscep.dll\" ]; };\n"
	"trust = ( { name = \"acme\"; files = [ \"ca.pem\" ]; } );\n"
	"identity = (\n"
	"	{ name = \"acme-sn\"; trust = \"acme\"; field = \"subject_serial\"; },\n"
	"	{ name = \"jamf-cn\"; trust = \"jamf\"; field = \"subject_cn\"; anchor = \"mdm_id\"; }\n"
	");\n"
	"cas = (\n"
	"	{ name = \"devices\"; certificate = \"issuing.pem\"; key = \"issuing.key\"; chain = [ \"ca.pem\" ];\n"
	"	next = \"next.pem\";\n"
	"	crl_lifetime = \"12h\";\n"
	"	}\n"
	");\n"
	"ras = (\n"
	"	{ name = \"one\";\n"
	"	certificate = \"ra.pem\";\n"
	"	key = \"ra.key\";\n"
	"	previous_certificates = [ \"old.pem\" ];\n"
	"	previous_keys = [ \"file:old.key\" ];\n"
	"	},\n"
	"	{ name = \"two\";\n"
	"	certificate = \"sign.pem\";\n"
	"	key = \"sign.key\";\n"
	"	decrypt_certificate = \"decrypt.pem\";\n"
	"	decrypt_key = \"decrypt.key\";\n"
	"	}\n"
	");\n"
	"mdms = (\n"
	"	{ name = \"jamf\";\n"
	"	type = \"webhook\";\n"
	"	url = \"https://127.0.0.1:1/challenge\";\n"
	"	notify_url = \"https://127.0.0.1:1/notify\";\n"
	"	secret_file = \"token\";\n"
	"	ca = \"ca.pem\";\n"
	"	}\n"
	");\n"
	"profiles = ( { name = \"device\"; keys = [ \"EC:P-256\", \"RSA:2048\" ]; } );\n"
	"labels = (\n"
	"	{ name = \"\"; profile = \"device\"; ca = \"devices\"; auth = [ \"secret\", \"own\" ];\n"
	"	protocols = [ \"est\", \"scep\" ];\n"
	"	scep_ra = \"one\";\n"
	"	scep_allow = [ \"3des\" ];\n"
	"	},\n"
	"	{ name = \"managed\"; profile = \"device\"; ca = \"devices\";\n"
	"	auth = [ \"mdm\", \"own\" ];\n"
	"	protocols = \"scep\";\n"
	"	scep_ra = \"two\";\n"
	"	scep_mdm = \"jamf\";\n"
	"	operations = [ \"enroll\" ];\n"
	"	},\n"
	"	{ name = \"cisco\"; profile = \"device\"; ca = \"devices\"; auth = [ \"secret\" ];\n"
	"	protocols = \"scep\";\n"
	"	scep_ra = \"one\";\n"
	"	scep_legacy = \"insecure-cisco\";\n"
	"	scep_chain = false;\n"
	"	scep_ra_bundle = false;\n"
	"	},\n"
	"	{ name = \"lab\"; profile = \"device\"; ca = \"devices\"; auth = \"secret\"; }\n"
	");\n";

/* The good text with one change has exactly this problem, on the line of the change. */
static inline void
expect_scep(const char *find, const char *replace, const char *message)
{
	size_t line;
	char *text = changed(scep_good, find, replace, &line);

	expect_text(text, line, message);
	free(text);
}

/* The same with DIR, once in the message, for the folder of the test. */
static inline void
expect_scep_path(const char *find, const char *replace, const char *message)
{
	char whole[512];
	const char *at = strstr(message, "DIR");

	assert_non_null(at);
	(void)snprintf(whole, sizeof whole, "%.*s%s%s", (int)(at - message), message, dir, at + 3);
	expect_scep(find, replace, whole);
}

/* The good text has one problem, which begins like this, on the line where find stands. */
static inline void
expect_scep_start(const char *find, const char *start)
{
	struct problems problems;
	char *expected = NULL, *text;
	size_t line;

	text = changed(scep_good, find, find, &line);
	assert_null(load(text, &problems));
	assert_true(asprintf(&expected, "%s:%zu: %s", conf, line, start) > 0);
	if (problems.count != 1 || strncmp(buf_text(&problems.text), expected, strlen(expected)) != 0)
		fail_msg("wanted \"%s...\", got:\n%s", expected, buf_text(&problems.text));
	free(expected);
	free(text);
	buf_free(&problems.text);
}

static inline X509 *
read_certificate(const char *name)
{
	STACK_OF(X509) *certs = NULL;
	char path[256];
	struct err e;
	X509 *cert;

	path_in(path, name);
	assert_int_equal(x509_load_file(path, &certs, &e), 0);
	cert = sk_X509_shift(certs);
	x509_stack_free(certs);
	return cert;
}

static inline EVP_PKEY *
read_key_of(const char *name)
{
	EVP_PKEY *key = NULL;
	char path[256];
	struct err e;

	path_in(path, name);
	assert_int_equal(key_open(path, &key, &e), 0);
	return key;
}

static inline void
add_extension(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(extension);
	assert_int_equal(X509_add_ext(cert, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

/*
 * NAME.pem, issued by ISSUER.pem and ISSUER.key (NULL: by itself), and NAME.key. key is freed.
 * usage: of the keyUsage extension; NULL: none. valid_s: until then, from now.
 */
static inline void
make_ra(const char *name, EVP_PKEY *key, const char *issuer, const char *usage, long valid_s)
{
	X509 *cert = X509_new(), *by = NULL;
	EVP_PKEY *by_key = key;
	char file[64];

	assert_non_null(cert);
	assert_non_null(key);
	assert_int_equal(X509_set_version(cert, X509_VERSION_3), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), 9), 1);
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
		(const unsigned char *)name, -1, -1, 0), 1);
	if (issuer != NULL) {
		(void)snprintf(file, sizeof file, "%s.pem", issuer);
		by = read_certificate(file);
		(void)snprintf(file, sizeof file, "%s.key", issuer);
		by_key = read_key_of(file);
	}
	assert_int_equal(X509_set_issuer_name(cert, X509_get_subject_name(by == NULL ? cert : by)), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), -86400));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), valid_s));
	assert_int_equal(X509_set_pubkey(cert, key), 1);
	if (usage != NULL)
		add_extension(cert, NID_key_usage, usage);
	assert_int_not_equal(X509_sign(cert, by_key, EVP_sha256()), 0);
	(void)snprintf(file, sizeof file, "%s.pem", name);
	write_certificate(file, cert);
	(void)snprintf(file, sizeof file, "%s.key", name);
	write_key(file, key);
	X509_free(cert);
	X509_free(by);
	if (by_key != key)
		EVP_PKEY_free(by_key);
	EVP_PKEY_free(key);
}

/* Another CA certificate for the issuing CA: the one that follows. */
static inline void
make_next(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256"), *root_key = read_key_of("ca.key");
	X509 *root = read_certificate("ca.pem"), *next = NULL;
	struct ca_make make = { .common_name = "Test issuing CA 2", .organisation = "Test", .key = key, .issuer = root,
		.issuer_key = root_key, .path_len = 0, .not_before_s = 1700000000, .not_after_s = 4000000000 };
	struct err e;

	assert_int_equal(ca_make_certificate(&make, &next, &e), 0);
	write_certificate("next.pem", next);
	X509_free(next);
	X509_free(root);
	EVP_PKEY_free(key);
	EVP_PKEY_free(root_key);
}

#define BOTH_USES "critical,digitalSignature,keyEncipherment"

static inline int
make_ra_files(void)
{
	char path[256];

	make_ra("ra", EVP_RSA_gen(2048), "issuing", BOTH_USES, 86400);
	make_ra("sign", EVP_RSA_gen(2048), "ca", "critical,digitalSignature", 86400);
	make_ra("decrypt", EVP_RSA_gen(2048), "issuing", "critical,keyEncipherment", 86400);
	make_ra("old", EVP_RSA_gen(2048), "issuing", NULL, -3600);
	make_next();
	write_text("token", "s3cret\n");
	path_in(path, "token");
	return chmod(path, 0600);
}

static inline int
make_scep_files(void **state)
{
	struct err e;

	if (make_files(state) != 0 || scep_init(&e) != 0)
		return -1;
	return make_ra_files();
}

#endif
