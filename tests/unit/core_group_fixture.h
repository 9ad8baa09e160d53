/*
 * core_group_fixture.h - a trust group of three generations and a fourth CA, one CA that belongs to nobody, and a configuration
 * with all of them without a mistake.
 *
 * Each test program includes it once, defines _GNU_SOURCE before, and runs with make_group_files() and remove_files().
 */
#ifndef TESTS_UNIT_CORE_GROUP_FIXTURE_H
#define TESTS_UNIT_CORE_GROUP_FIXTURE_H

#include "tests/unit/core_config_support.h"

/* Out of order, so that an order is not one by chance. g1 is issuing.pem below ca.pem; g2 and g3 are below root2.pem. */
static const char group_good[] =
	"listen = { https = [ \"127.0.0.1:0\" ]; admin = \"\"; };\n"
	"tls = { certificate = \"server.pem\"; key = \"server.key\"; };\n"
	"store = { path = \"enrolld.db\"; };\n"
	"cas = (\n"
	"	{ name = \"g2\"; group = \"fleet\"; certificate = \"g2.pem\"; key = \"g2.key\"; chain = [ \"root2.pem\" ];\n"
	"	succeeds = \"g1\";\n"
	"	cross = [ \"old-with-new.pem\", \"new-with-old.pem\" ];\n"
	"	},\n"
	"	{ name = \"alone\"; certificate = \"alone.pem\"; key = \"alone.key\"; chain = [ \"root4.pem\" ]; },\n"
	"	{ name = \"g1\"; group = \"fleet\"; certificate = \"issuing.pem\"; key = \"issuing.key\";\n"
	"	chain = [ \"ca.pem\" ];\n"
	"	},\n"
	"	{ name = \"other\"; group = \"fleet\"; certificate = \"other.pem\"; key = \"other.key\";\n"
	"	chain = [ \"root3.pem\" ];\n"
	"	},\n"
	"	{ name = \"g3\"; group = \"fleet\"; certificate = \"g3.pem\"; key = \"g3.key\"; chain = [ \"root2.pem\" ];\n"
	"	succeeds = \"g2\";\n"
	"	}\n"
	");\n"
	"profiles = ( { name = \"device\"; } );\n"
	"labels = (\n"
	"	{ name = \"\"; profile = \"device\"; ca = \"g1\"; auth = [ \"secret\" ]; },\n"
	"	{ name = \"two\"; profile = \"device\"; ca = \"g2\"; auth = [ \"secret\" ]; },\n"
	"	{ name = \"alone\"; profile = \"device\"; ca = \"alone\"; auth = [ \"secret\" ]; }\n"
	");\n";

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
read_key(const char *name)
{
	EVP_PKEY *key = NULL;
	char path[256];
	struct err e;

	path_in(path, name);
	assert_int_equal(key_open(path, &key, &e), 0);
	return key;
}

/* NAME.pem for NAME.key, which is made when there is none; by ISSUER.pem and ISSUER.key, or by itself (NULL). */
static inline void
make_ca(const char *name, const char *common_name, const char *key_name, const char *issuer)
{
	struct ca_make make = { .common_name = common_name, .organisation = "Test", .path_len = -1,
		.not_before_s = 1700000000, .not_after_s = 4000000000 };
	char file[80], path[256];
	X509 *cert = NULL;
	struct err e;

	(void)snprintf(file, sizeof file, "%s.key", key_name);
	path_in(path, file);
	if (access(path, F_OK) != 0) {
		make.key = EVP_EC_gen("P-256");
		write_key(file, make.key);
	} else
		make.key = read_key(file);
	make.issuer_key = make.key;
	if (issuer != NULL) {
		(void)snprintf(file, sizeof file, "%s.pem", issuer);
		make.issuer = read_certificate(file);
		(void)snprintf(file, sizeof file, "%s.key", issuer);
		make.issuer_key = read_key(file);
	}
	assert_int_equal(ca_make_certificate(&make, &cert, &e), 0);
	(void)snprintf(file, sizeof file, "%s.pem", name);
	write_certificate(file, cert);
	X509_free(cert);
	X509_free(make.issuer);
	if (make.issuer_key != make.key)
		EVP_PKEY_free(make.issuer_key);
	EVP_PKEY_free(make.key);
}

/* As RFC 4210, section 4.4 has it, the generations share a name. */
static inline int
make_group_files(void **state)
{
	if (make_files(state) != 0)
		return -1;
	make_ca("root2", "Test CA", "root2", NULL);
	make_ca("g2", "Test issuing CA", "g2", "root2");
	make_ca("g3", "Test issuing CA", "g3", "root2");
	make_ca("root3", "Another root", "root3", NULL);
	make_ca("other", "Another issuing CA", "other", "root3");
	make_ca("root4", "Strange root", "root4", NULL);
	make_ca("alone", "Strange issuing CA", "alone", "root4");
	make_ca("next", "Coming CA", "next", "root3");
	make_ca("old-with-new", "Test CA", "ca", "root2");
	make_ca("new-with-old", "Test CA", "root2", "ca");
	return 0;
}

#endif
