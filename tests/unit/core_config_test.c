#define _GNU_SOURCE
#include "tests/unit/core_config_support.h"

static void
config_reads_values_of_every_kind(void **state)
{
	struct config *config = load_good(good);
	char path[256];

	(void)state;
	assert_int_equal(config->listen_https.count, 2);
	assert_string_equal(config->listen_https.at[1], "[::1]:8443");
	assert_int_equal(config->control_mode, 0600);
	assert_string_equal(config->lock_file, "");
	path_in(path, "server.pem");
	assert_string_equal(config->tls_certificate, path);
	assert_int_equal(strncmp(config->tls_key, "file:/", 6), 0);
	path_in(path, "server.key");
	assert_string_equal(config->tls_key + 5, path);
	assert_int_equal(config->limit_body, 32768);
	assert_int_equal(config->limit_queue_age_s, 120);
	assert_int_equal(config->trust_count, 2);
	assert_string_equal(config->trust[1].name, "globex");
	assert_int_equal(config->identity[0].field, IDENTITY_SUBJECT_SERIAL);
	assert_int_equal(config->identity[0].anchor, ANCHOR_IDEVID_SERIAL);
	assert_string_equal(config_ca(config, "devices")->crl_url, "http://pki.example.com/a.crl");
	assert_int_equal(config->profiles[0].key_count, 2);
	assert_int_equal(config->profiles[0].keys[1].bits_max, 3072);
	assert_int_equal(config->profiles[0].keygen.kind, KEY_EC_P384);
	assert_int_equal(config->profiles[0].key_usage, USAGE_DIGITAL_SIGNATURE | USAGE_KEY_AGREEMENT);
	assert_string_equal(config->profiles[0].eku[0], "1.3.6.1.5.5.7.3.2");
	assert_int_equal(config->profiles[0].lifetime_s, 864000);
	assert_int_equal(config->profiles[0].csr_names, CSR_NAMES_IGNORE);
	assert_int_equal(config->labels[0].policy.auth, AUTH_CERTIFICATE | AUTH_OWN);
	assert_int_equal(config->labels[0].policy.operations, 1u << POLICY_RENEW);
	assert_string_equal(config->labels[0].trust[0], "acme");
	assert_int_equal(config->labels[1].policy.auth, AUTH_SECRET);
	config_free(config);
}

static void
config_fills_in_the_documented_defaults(void **state)
{
	struct config *config = load_good(good);
	const struct config_label *lab = config_label(config, "lab");

	(void)state;
	assert_int_equal(config->threads_workers, 32);
	assert_int_equal(config->store_readers, 32);
	assert_int_equal(config->store_cache_kib, 8192);
	assert_int_equal(config->limit_header, 16384);
	assert_int_equal(config->limit_connections, 10000);
	assert_int_equal(config->limit_auth_failures, 10);
	assert_int_equal(config->limit_auth_window_s, 300);
	assert_int_equal(config->limit_auth_lock_s, 900);
	assert_int_equal(config->stop_grace_s, 30);
	assert_string_equal(config->log_format, "text");
	assert_int_equal(config_profile(config, "device")->renewal_window_s, 30 * 86400);
	assert_int_equal(lab->policy.operations, (1u << POLICY_ENROLL) | (1u << POLICY_RENEW));
	assert_int_equal(lab->policy.binding, BINDING_VERIFY);
	assert_int_equal(lab->base64, EST_BASE64_SINGLE_LINE);
	assert_int_equal(lab->retry_after_s, 60);
	assert_true(lab->require_content_type);
	assert_false(lab->include_chain);
	config_free(config);
}

static void
config_finds_labels_profiles_and_cas_by_name(void **state)
{
	struct config *config = load_good(good);

	(void)state;
	assert_ptr_equal(config_label(config, ""), &config->labels[0]);
	assert_ptr_equal(config_label(config, "lab"), &config->labels[1]);
	assert_null(config_label(config, "la"));
	assert_null(config_profile(config, ""));
	assert_null(config_ca(config, "root"));
	config_free(config);
}

static void
config_reports_unknown_settings_with_what_was_meant(void **state)
{
	(void)state;
	expect("	body =", "	boddy =", "unknown setting \"boddy\" (did you mean \"body\"?)");
	expect("	body =", "	workers =", "unknown setting \"workers\" here: it belongs in \"threads\"");
	expect("	body =", "	frobnicate =", "unknown setting \"frobnicate\"");
	expect("limits = {", "limts = {", "unknown setting \"limts\" (did you mean \"limits\"?)");
	expect("	csr_names =", "	csr_name =", "unknown setting \"csr_name\" (did you mean \"csr_names\"?)");
}

static void
config_reports_wrong_types(void **state)
{
	(void)state;
	expect("body = \"32k\"", "body = [ 1 ]",
		"limits.body wants an integer or a size like \"64k\", not a list");
	expect("queue_age = \"2m\"", "queue_age = true",
		"limits.queue_age wants a duration like \"90d\", \"12h\" or \"30s\", not true or false");
	expect("control_mode = \"0600\"", "control_mode = 0600",
		"listen.control_mode wants permissions as a text like \"0660\", not a number");
	expect("groups = \"X25519:P-256\"", "groups = { }", "tls.groups wants a text, not a group");
	expect("min_version = \"1.2\"", "min_version = 1.2",
		"tls.min_version wants one of \"1.2\", \"1.3\", not a number with a fraction");
	expect("trust = [ \"acme\" ]", "trust = [ 1 ]", "labels \"\": trust wants a list of names, not a number");
	expect("limits = {\n	body = \"32k\";\n	queue_age = \"2m\";\n};", "limits = 5;",
		"limits wants a group: limits = { ... };");
}

static void
config_reports_values_out_of_range(void **state)
{
	(void)state;
	expect("body = \"32k\"", "body = 0", "limits.body is 0; at least 1k is allowed");
	expect("body = \"32k\"", "body = \"2M\"", "limits.body is 2M; at most 1M is allowed");
	expect("body = \"32k\"", "body = -5", "limits.body is -5; at least 1k is allowed");
	expect("body = \"32k\"", "body = \"much\"",
		"limits.body: \"much\" is not a size like 65536, \"64k\" or \"8M\"");
	expect("queue_age = \"2m\"", "queue_age = \"2 minutes\"",
		"limits.queue_age: \"2 minutes\" is not a duration like 90d, 12h, 30m or 45s");
	expect("queue_age = \"2m\"", "queue_age = \"2d\"", "limits.queue_age is 2d; at most 10m is allowed");
	expect("min_version = \"1.2\"", "min_version = \"1.1\"",
		"tls.min_version: \"1.1\" is none of \"1.2\", \"1.3\"");
	expect("field = \"subject_serial\"", "anchor = \"imei\"; field = \"dn\"",
		"identity \"acme-sn\": field: \"dn\" is none of \"subject_serial\", \"subject_cn\", "
		"\"subject_uid\", \"san_dns\", \"san_uri\", \"san_email\", \"san_hw_module\", \"san_hw_serial\", \"san_permanent_id\", "
		"\"cert_serial\", \"spki_sha256\"");
}

/* libconfig alone would read 4294967297 as 1. */
static void
config_refuses_numbers_past_32_bits(void **state)
{
	(void)state;
	expect("body = \"32k\"", "body = 4294999999",
		"limits.body is 2147483647 or more; at most 1M is allowed");
	expect("body = \"32k\"", "body = 0x100008000",
		"limits.body is 2147483647 or more; at most 1M is allowed");
	expect("body = \"32k\"", "body = 99999999999999999999999L",
		"limits.body is 2147483647 or more; at most 1M is allowed");
}

static void
config_reports_names_that_lead_nowhere(void **state)
{
	(void)state;
	expect("profile = \"device\"", "profile = \"devise\"",
		"labels \"\": profile: there is no \"devise\" in profiles");
	expect("ca = \"devices\"", "ca = \"device\"", "labels \"\": ca: there is no \"device\" in cas");
	expect("trust = [ \"acme\" ]", "trust = [ \"acme\", \"initech\" ]",
		"labels \"\": trust: there is no \"initech\" in trust");
	expect("{ name = \"globex\"; files = [ \"ca.pem\" ]; }",
		"{ name = \"acme\"; files = [ \"ca.pem\" ]; }", "trust \"acme\": name: there are two of this name");
	expect("{ name = \"lab\";", "{ name = \"\";", "labels \"\": name: there are two of this name");
	expect("type = \"sqlite\"", "type = \"oracle\"", "store.type: there is no store of type \"oracle\"");
	expect("type = \"builtin\"", "type = \"magic\"",
		"cas \"devices\": type: there is no CA of type \"magic\"");
}

static void
config_reports_labels_nobody_could_use(void **state)
{
	(void)state;
	expect("{ name = \"lab\";", "{ name = \"simpleenroll\";",
		"labels \"simpleenroll\": name: \"simpleenroll\" is an EST operation; choose another name");
	expect("{ name = \"lab\";", "{ name = \"..\";",
		"labels \"..\": name: \"..\" can stand in no path; choose another name");
	expect("{ name = \"lab\";", "{ name = \"a/b\";", "labels \"a/b\": name: \"a/b\" is not a name: 1 to 64 of "
		"letters, digits, \".\", \"_\" and \"-\"");
	expect("auth = \"secret\"; }", "auth = [ ]; }",
		"labels \"lab\": auth holds 0; from 1 to 5 are allowed");
	expect("auth = \"secret\"; }", "}", "labels \"lab\": auth is missing: it has no default");
	expect("auth = \"secret\"; }", "auth = \"certificate\"; }", "labels \"lab\": auth: \"certificate\" needs a "
		"trust set, or every certificate is refused: set trust");
	expect("trust = [ \"acme\" ]", "trust = [ \"globex\" ]", "labels \"\": trust: no rule in identity belongs to "
		"any of these, so no certificate would find its asset");
	expect("realm = \"fleet\"", "realm = \"a\\\"b\"",
		"labels \"\": realm: quotation marks and backslashes cannot stand in it");
}

static void
config_reports_profiles_that_promise_too_much(void **state)
{
	(void)state;
	expect("keys = [ \"EC:P-256\", \"RSA:2048-3072\" ]", "keys = [ ]",
		"profiles \"device\": keys holds 0; from 1 to 16 are allowed");
	expect("eku = [ \"clientAuth\" ]", "eku = [ \"clientAuth\", \"anyExtendedKeyUsage\" ]",
		"profiles \"device\": eku: anyExtendedKeyUsage is never issued: it turns a device into anything; name "
		"the usages");
	expect("eku = [ \"clientAuth\" ]", "eku = [ \"2.5.29.37.0\" ]",
		"profiles \"device\": eku: anyExtendedKeyUsage is never issued: it turns a device into anything; name "
		"the usages");
	expect("eku = [ \"clientAuth\" ]", "eku = [ \"clientauth\" ]", "profiles \"device\": eku: \"clientauth\" is "
		"not an extended key usage; write its object identifier");
	expect("\"keyAgreement\" ]", "\"keyCertSign\" ]",
		"profiles \"device\": key_usage: \"keyCertSign\" is not a key usage a device may have");
	expect("keygen = \"EC:P-384\"", "keygen = \"EC:P-521\"",
		"profiles \"device\": keygen: makes EC P-256, EC P-384 or RSA of 2048 to 4096 bits only");
}

static void
config_reports_templates_patterns_and_attributes_that_do_not_parse(void **state)
{
	(void)state;
	expect_start("subject = \"CN={tag}\"", "subject = \"CN={colour}\"", "profiles \"device\": subject");
	expect_start("san = [ \"dns:{hostname}\" ]", "san = [ \"dns:{hostnam}\" ]", "profiles \"device\": san");
	expect_start("pattern = \"SN:(.+)\"", "pattern = \"SN:(.+\"", "identity \"acme-sn\": pattern");
	expect_start("keys = [ \"EC:P-256\"", "keys = [ \"EC:P-192\"", "profiles \"device\": keys");
	expect_start("csrattrs = [ \"challengePassword\" ]", "csrattrs = [ \"noSuchThing\" ]",
		"labels \"\": csrattrs");
}

static void
config_reports_addresses_nobody_should_listen_on(void **state)
{
	(void)state;
	expect("\"127.0.0.1:0\", \"[::1]:8443\"", "\"localhost:8443\"", "listen.https: \"localhost:8443\" is not an "
		"address and port like \"[::]:8443\" or \"0.0.0.0:8443\"");
	expect("\"127.0.0.1:0\", \"[::1]:8443\"", "\"::1:8443\"", "listen.https: \"::1:8443\" is not an address and "
		"port like \"[::]:8443\" or \"0.0.0.0:8443\"");
	expect("\"127.0.0.1:0\", \"[::1]:8443\"", "\"127.0.0.1:65536\"", "listen.https: \"127.0.0.1:65536\" is not an "
		"address and port like \"[::]:8443\" or \"0.0.0.0:8443\"");
	expect("\"127.0.0.1:0\", \"[::1]:8443\"", "\"[::1]:8443\", \"[::1]:8443\"",
		"listen.https: \"[::1]:8443\" stands there twice");
	expect("admin = \"127.0.0.1:0\"", "admin = \"0.0.0.0:9180\"", "listen.admin: 0.0.0.0 is not a loopback "
		"address; this port asks nobody for a password: use 127.0.0.1 or [::1]");
	expect("admin = \"127.0.0.1:0\"", "admin = \"[::]:9180\"", "listen.admin: :: is not a loopback address; this "
		"port asks nobody for a password: use 127.0.0.1 or [::1]");
	expect("control_mode = \"0600\"", "control_mode = \"0666\"",
		"listen.control_mode: \"0666\" lets everybody in; at most \"0770\"");
	expect("control_mode = \"0600\"", "control_group = \"no-such-group-here\"",
		"listen.control_group: there is no group \"no-such-group-here\" on this machine");
	expect("groups = \"X25519:P-256\"", "groups = \"X25519:P-257\"",
		"tls.groups: OpenSSL knows no group \"P-257\"");
	expect("crl_url = \"http://pki.example.com/a.crl\"", "crl_url = \"pki.example.com\"",
		"cas \"devices\": crl_url: it is not an http or https URL");
}

static void
config_reports_a_socket_path_that_is_too_long(void **state)
{
	char path[256], message[256];

	(void)state;
	memset(path, 'a', sizeof path);
	(void)memcpy(path, "control = \"/", 12);
	(void)memcpy(path + 130, "\"", 2);
	(void)snprintf(message, sizeof message, "listen.control: a socket's path has at most 107 octets, not 119");
	expect("control = \"control.sock\"", path, message);
}

static void
config_reports_every_mistake_in_one_go(void **state)
{
	static const char text[] = "listen = { admin = \"1.2.3.4:5\"; };\n"
				   "tls = { certificate = \"a\"; };\n"
				   "limits = { bodies = 1;\n"
				   "queue = 0; };\n"
				   "profiles = ( { name = \"p\"; keys = [ \"DSA\" ]; } );\n"
				   "labels = ( { name = \"csrattrs\"; profile = \"q\"; ca = \"c\"; auth = [ \"face\" ]; } );\n"
				   "identity = { };\n";
	static const char *const wanted[] = { ":1: listen.admin: ", ":2: tls.certificate: ", ":2: tls.key is missing",
		":3: unknown setting \"bodies\"", ":4: limits.queue is 0", ":5: profiles \"p\": keys: ",
		":6: labels \"csrattrs\": name: ", ":6: labels \"csrattrs\": profile: ",
		":6: labels \"csrattrs\": ca: ", ":6: labels \"csrattrs\": auth: \"face\" is none of ",
		":7: identity wants a list of groups: identity = ( { ... }, { ... } );" };
	struct problems problems;
	size_t i;

	(void)state;
	assert_null(load(text, &problems));
	for (i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
		if (strstr(buf_text(&problems.text), wanted[i]) == NULL)
			fail_msg("no \"%s\" in:\n%s", wanted[i], buf_text(&problems.text));
	buf_free(&problems.text);
}

static void
config_reports_a_label_that_makes_a_registrar_of_everybody(void **state)
{
	size_t line, elsewhere;
	char *gives = changed(good, "eku = [ \"clientAuth\" ];", "eku = [ \"clientAuth\", \"cmcRA\" ];", &line);
	char *takes = changed(gives, "auth = [ \"certificate\", \"own\" ]",
		"auth = [ \"certificate\", \"own\", \"registrar\" ]", &line);
	char *mended = changed(takes, "lifetime = \"10d\";", "lifetime = \"10d\"; classes = [ \"registrar\" ];", &elsewhere);
	struct problems problems;

	(void)state;
	config_free(load(gives, &problems));
	assert_int_equal(problems.count, 0);
	buf_free(&problems.text);
	free(gives);
	expect_text(takes, line, "labels \"\": auth: profile \"device\" makes a registrar of every "
		"device that may have it: set its classes, or take cmcRA out of its eku");
	config_free(load(mended, &problems));
	assert_int_equal(problems.count, 0);
	buf_free(&problems.text);
	free(takes);
	free(mended);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_reads_values_of_every_kind),
		cmocka_unit_test(config_fills_in_the_documented_defaults),
		cmocka_unit_test(config_finds_labels_profiles_and_cas_by_name),
		cmocka_unit_test(config_reports_unknown_settings_with_what_was_meant),
		cmocka_unit_test(config_reports_wrong_types),
		cmocka_unit_test(config_reports_values_out_of_range),
		cmocka_unit_test(config_refuses_numbers_past_32_bits),
		cmocka_unit_test(config_reports_names_that_lead_nowhere),
		cmocka_unit_test(config_reports_labels_nobody_could_use),
		cmocka_unit_test(config_reports_a_label_that_makes_a_registrar_of_everybody),
		cmocka_unit_test(config_reports_profiles_that_promise_too_much),
		cmocka_unit_test(config_reports_templates_patterns_and_attributes_that_do_not_parse),
		cmocka_unit_test(config_reports_addresses_nobody_should_listen_on),
		cmocka_unit_test(config_reports_a_socket_path_that_is_too_long),
		cmocka_unit_test(config_reports_every_mistake_in_one_go),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
