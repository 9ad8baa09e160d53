/* The settings of trust groups: generations, stand-ins, cross certificates; what is a mistake, and where it is told. */
#define _GNU_SOURCE
#include "tests/unit/core_group_fixture.h"

#define OTHER_CHAIN "	chain = [ \"root3.pem\" ];\n"

/* The good text with one change has exactly this problem, on the line of the change. */
static void
expect_group(const char *find, const char *replace, const char *message)
{
	size_t line;
	char *text = changed(group_good, find, replace, &line);

	expect_text(text, line, message);
	free(text);
}

/* The same, where the problem begins like this; DIR is the folder of the test. */
static void
expect_group_path(const char *find, const char *replace, const char *message)
{
	char whole[512];
	const char *at = strstr(message, "DIR");

	assert_non_null(at);
	(void)snprintf(whole, sizeof whole, "%.*s%s%s", (int)(at - message), message, dir, at + 3);
	expect_group(find, replace, whole);
}

static void
expect_good(const char *find, const char *replace)
{
	size_t line;
	char *text = changed(group_good, find, replace, &line);

	config_free(load_good(text));
	free(text);
}

static void
config_reads_the_settings_of_groups(void **state)
{
	struct config *config = load_good(group_good);
	const struct config_ca *g2 = config_ca(config, "g2"), *alone = config_ca(config, "alone");

	(void)state;
	assert_string_equal(g2->group, "fleet");
	assert_string_equal(g2->succeeds, "g1");
	assert_int_equal(g2->cross.count, 2);
	assert_string_equal(alone->group, "");
	assert_string_equal(alone->succeeds, "");
	assert_int_equal(alone->cross.count + alone->failover_count, 0);
	config_free(config);
}

static void
config_reports_generations_that_follow_nothing(void **state)
{
	(void)state;
	expect_group("	succeeds = \"g1\";", "	succeeds = \"g0\";", "cas \"g2\": succeeds: there is no \"g0\" in cas");
	expect_group("	succeeds = \"g1\";", "	succeeds = \"g2\";",
		"cas \"g2\": succeeds: it would succeed itself: name the CA that came before it");
	expect_group("	succeeds = \"g1\";", "	succeeds = \"alone\";",
		"cas \"g2\": succeeds: \"alone\" is not in its group: give both the same group, so that devices of the old one get "
		"the certificates of the new one");
	expect_group("	succeeds = \"g2\";", "	succeeds = \"g1\";",
		"cas \"g3\": succeeds: \"g2\" succeeds \"g1\" already: one generation follows another");
	expect_group("	chain = [ \"ca.pem\" ];", "	chain = [ \"ca.pem\" ]; next = \"next.pem\";",
		"cas \"g1\": next: \"g2\" succeeds this CA, and its certificates are what comes next: take next out");
}

static void
config_reports_two_groups_that_are_none(void **state)
{
	(void)state;
	expect_good("name = \"other\"; group = \"fleet\"", "name = \"other\"; group = \"another\""); /* alone in its group */
	expect_group("name = \"other\"; group = \"fleet\"", "name = \"other\"; group = \"a group\"",
		"cas \"other\": group: \"a group\" is not a name: 1 to 64 of letters, digits, \".\", \"_\" and \"-\"");
}

/* g1 after g3 after g2 after g1: told of every one of them. */
static void
config_reports_generations_in_a_circle(void **state)
{
	struct problems problems;
	size_t line;
	char *text = changed(group_good, "	chain = [ \"ca.pem\" ];", "	chain = [ \"ca.pem\" ]; succeeds = \"g3\";", &line);

	(void)state;
	assert_null(load(text, &problems));
	assert_int_equal(problems.count, 3);
	assert_non_null(strstr(buf_text(&problems.text), "cas \"g1\": succeeds: it would succeed itself"));
	assert_non_null(strstr(buf_text(&problems.text), "cas \"g3\": succeeds: it would succeed itself"));
	buf_free(&problems.text);
	free(text);
}

/* CAs elsewhere: two front ends of one CA, one of another group, and a CA in this process. */
static const char remote_good[] =
	"listen = { https = [ \"127.0.0.1:0\" ]; admin = \"\"; };\n"
	"tls = { certificate = \"server.pem\"; key = \"server.key\"; };\n"
	"store = { path = \"enrolld.db\"; };\n"
	"cas = (\n"
	"	{ name = \"a\"; type = \"cfssl\"; group = \"fleet\"; certificate = \"issuing.pem\"; chain = [ \"ca.pem\" ];\n"
	"	url = \"https://127.0.0.1:1\"; tls_ca = \"ca.pem\"; secret_file = \"secret\";\n"
	"	failover = [ \"b\", \"c\" ];\n"
	"	},\n"
	"	{ name = \"b\"; type = \"cfssl\"; group = \"fleet\"; chain = [ \"ca.pem\" ]; tls_ca = \"ca.pem\"; "
	"secret_file = \"secret\";\n"
	"	url = \"https://127.0.0.1:2\";\n"
	"	certificate = \"issuing.pem\";\n"
	"	},\n"
	"	{ name = \"c\"; type = \"cfssl\"; group = \"fleet\"; certificate = \"other.pem\"; chain = [ \"root3.pem\" ];\n"
	"	url = \"https://127.0.0.1:1\"; tls_ca = \"ca.pem\"; secret_file = \"secret\";\n"
	"	},\n"
	"	{ name = \"far\"; type = \"cfssl\"; certificate = \"alone.pem\"; chain = [ \"root4.pem\" ];\n"
	"	url = \"https://127.0.0.1:3\"; tls_ca = \"ca.pem\"; secret_file = \"secret\"; },\n"
	"	{ name = \"here\"; group = \"fleet\"; certificate = \"g2.pem\"; key = \"g2.key\"; chain = [ \"root2.pem\" ];\n"
	"	issuer_url = \"\";\n"
	"	}\n"
	");\n"
	"profiles = ( { name = \"device\"; } );\n"
	"labels = ( { name = \"\"; profile = \"device\"; ca = \"a\"; auth = [ \"secret\" ]; } );\n";

static void
expect_remote(const char *find, const char *replace, const char *message)
{
	size_t line;
	char *text = changed(remote_good, find, replace, &line);

	expect_text(text, line, message);
	free(text);
}

static void
config_reads_stand_ins(void **state)
{
	struct config *config = load_good(remote_good);

	(void)state;
	assert_int_equal(config_ca(config, "a")->failover_count, 2);
	assert_string_equal(config_ca(config, "a")->failover[1], "c");
	config_free(config);
}

static void
config_reports_stand_ins_that_cannot_be(void **state)
{
	(void)state;
	expect_remote("[ \"b\", \"c\" ]", "[ \"b\", \"d\" ]", "cas \"a\": failover: there is no \"d\" in cas");
	expect_remote("[ \"b\", \"c\" ]", "[ \"a\" ]", "cas \"a\": failover: it cannot stand in for itself");
	expect_remote("[ \"b\", \"c\" ]", "[ \"c\", \"b\", \"c\" ]", "cas \"a\": failover: \"c\" stands there twice");
	expect_remote("[ \"b\", \"c\" ]", "[ \"far\" ]",
		"cas \"a\": failover: \"far\" is not in its group: devices would get certificates that nobody expects");
	expect_remote("[ \"b\", \"c\" ]", "[ \"here\" ]",
		"cas \"a\": failover: \"here\" is in this process; only a CA elsewhere stands in");
	expect_remote("	issuer_url = \"\";", "	failover = [ \"a\" ];",
		"cas \"here\": failover: a CA of type \"builtin\" is in this process: it does not fail alone");
}

/* Two front ends may share an issuing key; their revocation lists are the CA's. */
static void
config_reports_one_issuing_key_in_two_entries(void **state)
{
	(void)state;
	expect_remote("	url = \"https://127.0.0.1:2\";\n	certificate = \"issuing.pem\";",
		"	url = \"https://127.0.0.1:1\"; certificate = \"issuing.pem\";",
		"cas \"b\": certificate: CA \"a\" of this group has the same name and key, and the same url: one entry is enough");
	expect_remote("	certificate = \"issuing.pem\";", "	certificate = \"issuing.pem\"; succeeds = \"a\";",
		"cas \"b\": succeeds: it has the name and key of \"a\": a certificate that was only renewed takes the old one's "
		"place in the same entry");
	expect_group("name = \"other\"; group = \"fleet\"; certificate = \"other.pem\"; key = \"other.key\";\n" OTHER_CHAIN,
		"name = \"other\"; group = \"fleet\"; certificate = \"g2.pem\"; key = \"g2.key\"; chain = [ \"root2.pem\" ];\n",
		"cas \"other\": certificate: CA \"g2\" of this group has the same name and key, and a CA in this process has one "
		"revocation list: one entry is enough");
}

static void
config_reports_cross_certificates_that_are_none(void **state)
{
	static const char cross[] = "[ \"old-with-new.pem\", \"new-with-old.pem\" ]";

	(void)state;
	expect_good(cross, "[ \"new-with-old.pem\" ]");
	make_ca("strange-name", "Strange root", "root4", "root2"); /* our CA vouches for a stranger */
	make_ca("strange-issuer", "Test CA", "ca", "root4");       /* a stranger vouches for our CA */
	make_ca("strange-key", "Test CA", "root4", "root2");       /* our CA's name for a stranger's key */
	expect_group_path(cross, "[ \"strange-name.pem\" ]",
		"cas \"g2\": cross: DIR/strange-name.pem: certificate 1 has not the name and key of a CA of this group");
	expect_group_path(cross, "[ \"strange-key.pem\" ]",
		"cas \"g2\": cross: DIR/strange-key.pem: certificate 1 has not the name and key of a CA of this group");
	expect_group_path(cross, "[ \"old-with-new.pem\", \"strange-issuer.pem\" ]",
		"cas \"g2\": cross: DIR/strange-issuer.pem: certificate 1 was not signed by a CA of this group");
	expect_group_path(cross, "[ \"root2.pem\" ]",
		"cas \"g2\": cross: DIR/root2.pem: certificate 1 is signed by itself: it belongs in chain");
	expect_group_path(cross, "[ \"server.pem\" ]",
		"cas \"g2\": cross: DIR/server.pem: certificate 1 is not a CA's (basicConstraints CA:TRUE, keyUsage keyCertSign)");
	expect_group_path(cross, "[ \"gone.pem\" ]", "cas \"g2\": cross: DIR/gone.pem: No such file or directory");
}

/* What another group's CAs say of each other is not for this one's devices. */
static void
config_reports_the_cross_certificates_of_another_group(void **state)
{
	(void)state;
	expect_group_path("	chain = [ \"ca.pem\" ];", "	chain = [ \"ca.pem\" ]; cross = [ \"alone.pem\" ];",
		"cas \"g1\": cross: DIR/alone.pem: certificate 1 has not the name and key of a CA of this group");
	expect_group_path("chain = [ \"root4.pem\" ];", "chain = [ \"root4.pem\" ]; cross = [ \"old-with-new.pem\" ];",
		"cas \"alone\": cross: DIR/old-with-new.pem: certificate 1 has not the name and key of a CA of this group");
}

/* A CA alone may have them for the key that comes. */
static void
config_takes_cross_certificates_of_a_coming_key(void **state)
{
	(void)state;
	make_ca("coming", "Strange root", "coming", NULL);
	make_ca("old-with-coming", "Strange root", "root4", "coming");
	make_ca("coming-with-old", "Strange root", "coming", "root4");
	expect_good("chain = [ \"root4.pem\" ];", "chain = [ \"root4.pem\" ]; next = \"coming.pem\"; "
						  "cross = [ \"old-with-coming.pem\", \"coming-with-old.pem\" ];");
}

/* 58 cross certificates beside the seven of the chains. */
static void
config_reports_more_certificates_than_devices_may_get(void **state)
{
	X509 *cert;
	BIO *out;
	char path[256], *text;
	struct problems problems;
	size_t line;
	int i;

	(void)state;
	path_in(path, "many.pem");
	out = BIO_new_file(path, "w");
	assert_non_null(out);
	for (i = 0; i < 58; i++) {
		make_ca("one-of-many", "Test CA", "ca", "root2");
		cert = read_certificate("one-of-many.pem");
		assert_int_equal(PEM_write_bio_X509(out, cert), 1);
		X509_free(cert);
	}
	BIO_free_all(out);
	text = changed(group_good, "[ \"old-with-new.pem\", \"new-with-old.pem\" ]", "[ \"many.pem\" ]", &line);
	assert_null(load(text, &problems));
	assert_int_equal(problems.count, 4); /* for each of the group */
	assert_non_null(strstr(buf_text(&problems.text), "cas \"g2\": chain: its devices would get 65 CA certificates, and at most 64 "
		"are possible: take some out of the chain and cross of its group\n"));
	free(text);
	buf_free(&problems.text);
}

static int
make_all(void **state)
{
	char path[256];

	if (make_group_files(state) != 0)
		return -1;
	write_text("secret", "6368616e6765206d656368616e676521\n");
	path_in(path, "secret");
	return chmod(path, 0600);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_reads_the_settings_of_groups),
		cmocka_unit_test(config_reports_generations_that_follow_nothing),
		cmocka_unit_test(config_reports_two_groups_that_are_none),
		cmocka_unit_test(config_reports_generations_in_a_circle),
		cmocka_unit_test(config_reads_stand_ins),
		cmocka_unit_test(config_reports_stand_ins_that_cannot_be),
		cmocka_unit_test(config_reports_one_issuing_key_in_two_entries),
		cmocka_unit_test(config_reports_cross_certificates_that_are_none),
		cmocka_unit_test(config_reports_the_cross_certificates_of_another_group),
		cmocka_unit_test(config_takes_cross_certificates_of_a_coming_key),
		cmocka_unit_test(config_reports_more_certificates_than_devices_may_get),
	};

	return cmocka_run_group_tests(tests, make_all, remove_files);
}
