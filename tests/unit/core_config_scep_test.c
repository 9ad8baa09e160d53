/* SCEP's settings: what is read, what is a mistake, and where it is told. */
#define _GNU_SOURCE
#include "tests/unit/core_scep_fixture.h"

static void
config_reads_the_settings_of_scep(void **state)
{
	struct config *config = load_good(scep_good);
	const struct config_label *label;
	char path[256];

	(void)state;
	assert_int_equal(config->listen_http.count, 2);
	assert_string_equal(config->listen_http.at[1], "[::1]:8080");
	assert_int_equal(config->scep_suffixes.count, 2);
	assert_int_equal(config->cas[0].crl_lifetime_s, 12 * 3600);
	path_in(path, "next.pem");
	assert_string_equal(config->cas[0].next, path);
	assert_int_equal(config->ra_count, 2);
	assert_ptr_equal(config_ra(config, "two"), &config->ras[1]);
	assert_null(config_ra(config, ""));
	path_in(path, "old.key");
	assert_int_equal(config->ras[0].previous_keys.count, 1);
	assert_string_equal(config->ras[0].previous_keys.at[0] + 5, path);
	assert_string_equal(config->ras[0].decrypt_key, "");
	assert_ptr_equal(config_mdm(config, "jamf"), &config->mdms[0]);
	assert_null(config_mdm(config, "one"));
	assert_string_equal(config->mdms[0].provider, "enrolld");
	assert_int_equal(config->mdms[0].deadline_s, 5);
	label = config_label(config, "managed");
	assert_int_equal(label->policy.auth, AUTH_MDM | AUTH_OWN);
	assert_int_equal(label->protocols, PROTOCOL_SCEP);
	assert_string_equal(label->scep_ra, "two");
	assert_string_equal(label->scep_mdm, "jamf");
	assert_int_equal(config_label(config, "")->protocols, PROTOCOL_EST | PROTOCOL_SCEP);
	config_free(config);
}

static void
config_adds_old_algorithms_only_where_a_label_says_so(void **state)
{
	struct config *config = load_good(scep_good);
	const struct config_label *cisco = config_label(config, "cisco");

	(void)state;
	assert_int_equal(config_label(config, "")->scep_algorithms, SCEP_ALGORITHMS_DEFAULT | SCEP_3DES);
	assert_false(config_label(config, "")->scep_insecure);
	assert_int_equal(config_label(config, "managed")->scep_algorithms, SCEP_ALGORITHMS_DEFAULT);
	assert_int_equal(cisco->scep_algorithms,
		SCEP_ALGORITHMS_DEFAULT | SCEP_ALGORITHMS_LEGACY | SCEP_ALGORITHMS_CISCO);
	assert_true(cisco->scep_insecure);
	config_free(config);
}

static void
config_reads_both_old_algorithms(void **state)
{
	size_t line;
	char *text = changed(scep_good, "[ \"3des\" ]", "[ \"sha1\", \"3des\" ]", &line);
	struct config *config = load_good(text);

	(void)state;
	assert_int_equal(config->labels[0].scep_algorithms, SCEP_ALGORITHMS_DEFAULT | SCEP_ALGORITHMS_LEGACY);
	config_free(config);
	free(text);
	text = changed(scep_good, "[ \"3des\" ]", "[ \"sha1\" ]", &line);
	config = load_good(text);
	assert_int_equal(config->labels[0].scep_algorithms, SCEP_ALGORITHMS_DEFAULT | SCEP_SHA1);
	config_free(config);
	free(text);
}

static void
config_fills_in_the_defaults_of_scep(void **state)
{
	struct config *config = load_good(good);
	const struct config_label *lab = config_label(config, "lab");

	(void)state;
	assert_int_equal(config->listen_http.count, 0);
	assert_int_equal(config->scep_suffixes.count, 3);
	assert_string_equal(config->scep_suffixes.at[2], "/certsrv/mscep/mscep.dll");
	assert_int_equal(config->cas[0].crl_lifetime_s, 86400);
	assert_string_equal(config->cas[0].next, "");
	assert_int_equal(lab->protocols, PROTOCOL_EST);
	assert_int_equal(lab->scep_algorithms, SCEP_ALGORITHMS_DEFAULT);
	assert_false(lab->scep_insecure);
	assert_true(lab->scep_chain);
	assert_true(lab->scep_ra_bundle);
	config_free(config);
	config = load_good(scep_good);
	assert_false(config_label(config, "cisco")->scep_chain);
	assert_false(config_label(config, "cisco")->scep_ra_bundle);
	assert_true(config_label(config, "managed")->scep_chain);
	config_free(config);
}

static void
config_reports_labels_that_scep_could_not_serve(void **state)
{
	(void)state;
	expect_scep("	protocols = [ \"est\", \"scep\" ];\n	scep_ra = \"one\";",
		"	protocols = [ \"est\", \"scep\" ];", "labels \"\": protocols: \"scep\" needs an RA to answer with: set "
		"scep_ra");
	expect_scep("scep_ra = \"two\"", "scep_ra = \"three\"", "labels \"managed\": scep_ra: there is no \"three\" in ras");
	expect_scep("[ \"est\", \"scep\" ]", "[ \"est\", \"coap\" ]",
		"labels \"\": protocols: \"coap\" needs an address in coaps of listen");
	expect_scep("[ \"3des\" ]", "[ \"des\" ]", "labels \"\": scep_allow: \"des\" is none of \"sha1\", \"3des\"");
	expect_scep("scep_legacy = \"insecure-cisco\"", "scep_legacy = \"cisco\"",
		"labels \"cisco\": scep_legacy: \"cisco\" is none of \"none\", \"insecure-cisco\"");
	expect_scep("scep_legacy = \"insecure-cisco\"", "scep_legacy = true",
		"labels \"cisco\": scep_legacy wants one of \"none\", \"insecure-cisco\", not true or false");
	expect_scep("{ name = \"cisco\";", "{ name = \"PkiClient.exe\";",
		"labels \"PkiClient.exe\": name: \"PkiClient.exe\" is a suffix of scep; choose another name");
}

static void
config_reports_scep_without_rsa(void **state)
{
	static const char only_ec[] = "profiles = ( { name = \"device\"; keys = [ \"EC:P-256\", \"RSA:2048\" ]; },\n"
				      "	{ name = \"ec\"; keys = [ \"EC:P-256\" ]; } );\n";
	size_t line;
	char *text = changed(scep_good, "profiles = ( { name = \"device\"; keys = [ \"EC:P-256\", \"RSA:2048\" ]; } );\n",
		only_ec, &line);
	char *managed = changed(text, "{ name = \"managed\"; profile = \"device\"", "{ name = \"managed\"; profile = \"ec\"",
		&line);
	char *lab;

	(void)state;
	expect_text(managed, line, "labels \"managed\": profile: SCEP needs RSA keys, and profile \"ec\" takes none: add "
		"\"RSA:2048-4096\" to its keys");
	lab = changed(text, "{ name = \"lab\"; profile = \"device\"", "{ name = \"lab\"; profile = \"ec\"", &line);
	config_free(load_good(lab)); /* EST does not mind */
	free(text);
	free(managed);
	free(lab);
}

static void
config_reports_labels_and_mdms_that_do_not_meet(void **state)
{
	(void)state;
	expect_scep("scep_mdm = \"jamf\"", "scep_mdm = \"intune\"",
		"labels \"managed\": scep_mdm: there is no \"intune\" in mdms");
	expect_scep("	auth = [ \"mdm\", \"own\" ];\n	protocols = \"scep\";\n	scep_ra = \"two\";\n	scep_mdm = \"jamf\";",
		"	auth = [ \"mdm\", \"own\" ]; protocols = \"scep\"; scep_ra = \"two\";",
		"labels \"managed\": auth: \"mdm\" needs a service to ask: set scep_mdm");
	expect_scep("scep_allow = [ \"3des\" ]", "scep_mdm = \"jamf\"",
		"labels \"\": scep_mdm: it would never be asked: add \"mdm\" to auth");
	expect_scep("auth = [ \"mdm\", \"own\" ];\n	protocols = \"scep\";",
		"auth = [ \"mdm\", \"own\" ]; protocols = \"est\";",
		"labels \"managed\": auth: \"mdm\" is for SCEP challenges: add \"scep\" to protocols");
}

static void
config_reports_mdms_nobody_should_ask(void **state)
{
	(void)state;
	expect_scep("type = \"webhook\"", "type = \"oracle\"", "mdms \"jamf\": type: there is no MDM of type \"oracle\"");
	expect_scep("url = \"https://127.0.0.1:1/challenge\"", "url = \"http://127.0.0.1:1/challenge\"",
		"mdms \"jamf\": url: it is not an https URL; challenges are sent there");
	expect_scep("notify_url = \"https://127.0.0.1:1/notify\"", "notify_url = \"127.0.0.1\"",
		"mdms \"jamf\": notify_url: it is not an https URL; challenges are sent there");
	expect_scep("	type = \"webhook\";", "	token_url = \"ftp://x\"; type = \"webhook\";",
		"mdms \"jamf\": token_url: it is not an https URL; challenges are sent there");
	expect_scep("	type = \"webhook\";", "	deadline = \"2m\"; type = \"webhook\";",
		"mdms \"jamf\": deadline is 2m; at most 1m is allowed");
	expect_scep_path("	ca = \"ca.pem\";", "	ca = \"empty.pem\";",
		"mdms \"jamf\": ca: DIR/empty.pem: no PEM certificate in it");
	expect_scep_path("secret_file = \"token\"", "secret_file = \"gone\"",
		"mdms \"jamf\": secret_file: the file of a secret, in DIR, cannot be opened: No such file or directory");
}

static void
config_reports_a_secret_file_that_others_may_read(void **state)
{
	char path[256], message[640];

	(void)state;
	path_in(path, "token");
	(void)snprintf(message, sizeof message, "mdms \"jamf\": secret_file: %s is open to others (mode 0640): chmod 600 %s", path, path);
	assert_int_equal(chmod(path, 0640), 0);
	expect_scep("secret_file = \"token\"", "secret_file = \"token\"", message);
	assert_int_equal(chmod(path, 0600), 0);
	config_free(load_good(scep_good));
}

/* Only the connector knows what its type needs. */
static void
config_asks_the_connector_last(void **state)
{
	(void)state;
	expect_start("limits = {", "mdms = ( { name = \"x\"; type = \"intune\"; url = \"https://127.0.0.1/\"; ca = \"ca.pem\"; } );"
		" limits = {", "mdms \"x\": type");
}

/* Either would be the issuer of an anchor. */
static void
config_reports_an_mdm_and_a_trust_set_of_one_name(void **state)
{
	static const char mdm[] = "{ name = \"jamf\";\n	type";
	size_t line;
	char *text = changed(scep_good, "trust = ( {", "trust = ( { name = \"jamf\"; files = \"ca.pem\"; }, {", &line);
	char *same = changed(text, mdm, mdm, &line);

	(void)state;
	expect_text(text, line, "mdms \"jamf\": name: a trust set has this name too, and either would be the issuer in an "
		"asset's anchors: choose another");
	free(text);
	free(same);
}

static void
config_takes_an_mdm_for_the_trust_set_of_a_rule(void **state)
{
	(void)state;
	expect_scep("trust = \"jamf\"; field", "trust = \"intune\"; field",
		"identity \"jamf-cn\": trust: there is no \"intune\" in trust, mdms or attesters");
	expect_scep("field = \"subject_cn\"", "field = \"cert_serial\"", "identity \"jamf-cn\": field: a request to an MDM "
		"has no certificate: \"cert_serial\" would never match; read one of its names");
	expect_scep("field = \"subject_cn\"", "field = \"spki_sha256\"", "identity \"jamf-cn\": field: a request to an MDM "
		"has no certificate: \"spki_sha256\" would never match; read one of its names");
}

static void
config_reports_suffixes_that_lead_elsewhere(void **state)
{
	static const char form[] = "is not a path like \"/pkiclient.exe\": a slash, then letters, digits, \"/\", \".\", "
				   "\"-\", \"_\" and \"~\", at most 128 in all";
	static const char *const bad[] = { "pkiclient.exe", "", "/", "/a b", "/a?b", "/a%41", "/a#" };
	char replace[160], message[256], lots[140];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		(void)snprintf(replace, sizeof replace, "[ \"/pkiclient.exe\", \"%s\"", bad[i]);
		(void)snprintf(message, sizeof message, "scep.suffixes: \"%s\" %s", bad[i], form);
		expect_scep("[ \"/pkiclient.exe\"", replace, message);
	}
	memset(lots, '/', 129);
	lots[129] = '\0';
	(void)snprintf(replace, sizeof replace, "[ \"%s\"", lots);
	(void)snprintf(message, sizeof message, "scep.suffixes: \"%.60s\" %s", lots, form);
	expect_scep("[ \"/pkiclient.exe\"", replace, message);
	expect_scep("[ \"/pkiclient.exe\"", "[ \"/Scep/x\"",
		"scep.suffixes: \"/Scep/x\" begins like another path of this gateway");
	expect_scep("[ \"/pkiclient.exe\"", "[ \"/crl\"", "scep.suffixes: \"/crl\" begins like another path of this gateway");
	expect_scep("[ \"/pkiclient.exe\"", "[ \"/.well-known/est\"",
		"scep.suffixes: \"/.well-known/est\" begins like another path of this gateway");
	expect_scep("[ \"/pkiclient.exe\"", "[ \"/CertSrv/mscep/mscep.dll\"",
		"scep.suffixes: \"/certsrv/mscep/mscep.dll\" stands there twice");
}

static void
config_reports_plain_addresses_that_cannot_be(void **state)
{
	(void)state;
	expect_scep("\"127.0.0.1:8080\", ", "\"8080\", ",
		"listen.http: \"8080\" is not an address and port like \"[::]:8080\" or \"0.0.0.0:8080\"");
	expect_scep("\"127.0.0.1:8080\", ", "\"[::1]:8080\", ", "listen.http: \"[::1]:8080\" stands there twice");
	expect_scep("https = [ \"127.0.0.1:0\" ]", "https = [ \"[::1]:8080\" ]",
		"listen.http: \"[::1]:8080\" stands in https too; plain HTTP needs a port of its own");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_reads_the_settings_of_scep),
		cmocka_unit_test(config_adds_old_algorithms_only_where_a_label_says_so),
		cmocka_unit_test(config_reads_both_old_algorithms),
		cmocka_unit_test(config_fills_in_the_defaults_of_scep),
		cmocka_unit_test(config_reports_labels_that_scep_could_not_serve),
		cmocka_unit_test(config_reports_scep_without_rsa),
		cmocka_unit_test(config_reports_labels_and_mdms_that_do_not_meet),
		cmocka_unit_test(config_reports_mdms_nobody_should_ask),
		cmocka_unit_test(config_reports_a_secret_file_that_others_may_read),
		cmocka_unit_test(config_asks_the_connector_last),
		cmocka_unit_test(config_reports_an_mdm_and_a_trust_set_of_one_name),
		cmocka_unit_test(config_takes_an_mdm_for_the_trust_set_of_a_rule),
		cmocka_unit_test(config_reports_suffixes_that_lead_elsewhere),
		cmocka_unit_test(config_reports_plain_addresses_that_cannot_be),
	};

	return cmocka_run_group_tests(tests, make_scep_files, remove_files);
}
