/*
 * Rules and attesters in the configuration: every mistake is told, with its line.
 */
#define _GNU_SOURCE
#include "tests/unit/core_config_support.h"

static const char attesters[] =
	"mdms = ( { name = \"jamf\"; type = \"webhook\"; url = \"https://mdm.example.com/\"; ca = \"ca.pem\"; } );\n"
	"attesters = (\n"
	"	{ name = \"acme\"; method = \"idevid\"; },\n"
	"	{ name = \"jamf\"; method = \"mdm\"; },\n"
	"	{ name = \"tpm\"; method = \"tpm\"; ak_life = \"30d\"; ek_roots = [ \"ca.pem\" ]; },\n"
	"	{ name = \"phones\"; method = \"android\"; roots = [ \"ca.pem\" ]; android_level = \"strongbox\";\n"
	"	android_patch = 202611; },\n"
	"	{ name = \"keys\"; method = \"yubikey\"; roots = [ \"ca.pem\" ]; yubikey_pin = \"always\";\n"
	"	yubikey_firmware = \"5.7.0\"; },\n"
	"	{ name = \"veraison\"; method = \"ear\"; url = \"https://verifier.example.com/cr/v1\"; ca = \"ca.pem\";\n"
	"	keys = [ \"ca.pem\" ]; statement_type = \"1.3.6.1.4.1.99999.1\";\n"
	"	media_type = \"application/eat\"; identity_required = false; }\n"
	");\n"
	"rules = (\n"
	"	{ name = \"one\"; action = \"require\"; labels = [ \"lab\" ]; tiers = [ 0, 3 ]; attesters = [ \"tpm\", \"keys\" ]; },\n"
	"	{ name = \"two\"; action = \"allow\"; protocols = [ \"est\", \"coap\" ]; owner_kinds = \"partner\";\n"
	"	time = \"Mon-Fri 08:00-18:00\"; count = 500000000; per = \"1d\"; }\n"
	");\n"
	"registry = { clone_places = \"quarantine\"; import_large = 0; };\n"
	"policy = { otherwise = \"allow\"; nonce_life = \"90s\"; };\n";

static char *
whole(void)
{
	char *text = malloc(sizeof good + sizeof attesters);

	assert_non_null(text);
	(void)snprintf(text, sizeof good + sizeof attesters, "%s%s", good, attesters);
	return text;
}

/* One change, one mistake, on the line of the change. */
static void
expect_mistake(const char *find, const char *replace, const char *message)
{
	char *text = whole(), *with;
	size_t line;

	with = changed(text, find, replace, &line);
	expect_text(with, line, message);
	free(with);
	free(text);
}

static void
config_takes_rules_and_attesters(void **state)
{
	char *text = whole();
	struct config *config = load_good(text);

	(void)state;
	assert_int_equal(config->attester_count, 6);
	assert_int_equal(config_attester(config, "tpm")->ak_life_s, 30 * 86400);
	assert_true(config_attester(config, "tpm")->ak_by_binding);
	assert_true(config_attester(config, "tpm")->identity_required);
	assert_false(config_attester(config, "veraison")->identity_required);
	assert_int_equal(config_attester(config, "phones")->android_level, 2);
	assert_int_equal(config_attester(config, "phones")->android_patch_min, 202611);
	assert_true(config_attester(config, "phones")->android_locked);
	assert_int_equal(config_attester(config, "keys")->yubikey_pin, 3);
	assert_null(config_attester(config, "nobody"));
	assert_int_equal(config->rule_count, 2);
	assert_int_equal(config->rules[0].tiers, 1u << 0 | 1u << 3);
	assert_int_equal(config->rules[0].attesters.count, 2);
	assert_string_equal(config->rules[0].attesters.at[1], "keys");
	assert_int_equal(config->rules[1].protocols, 1u << RULE_EST | 1u << RULE_COAP);
	assert_int_equal(config->rules[1].owner_kinds, 1u << OWNER_PARTNER);
	assert_int_equal(config->rules[1].count, 500000000);
	assert_int_equal(config->clone_keys, CLONE_QUARANTINE);
	assert_int_equal(config->clone_places, CLONE_QUARANTINE);
	assert_int_equal(config->import_large, 0);
	assert_true(config->policy_otherwise_allow);
	assert_int_equal(config->nonce_life_s, 90);
	config_free(config);
	free(text);
}

static void
config_without_any_has_the_defaults(void **state)
{
	struct config *config = load_good(good);

	(void)state;
	assert_int_equal(config->clone_keys, CLONE_QUARANTINE);
	assert_int_equal(config->clone_places, CLONE_ALERT);
	assert_int_equal(config->clone_window_s, 60);
	assert_int_equal(config->transfer_life_s, 14 * 86400);
	assert_int_equal(config->approval_life_s, 7 * 86400);
	assert_int_equal(config->import_large, 10000);
	assert_int_equal(config->offboard_grace_s, 30 * 86400);
	assert_int_equal(config->offboard_lifetime_s, 30 * 86400);
	assert_false(config->policy_otherwise_allow);
	assert_int_equal(config->nonce_life_s, 300);
	assert_int_equal(config->rule_count, 0);
	config_free(config);
}

static void
config_reports_attesters_that_cannot_judge(void **state)
{
	(void)state;
	expect_mistake("{ name = \"acme\"; method = \"idevid\"; }", "{ name = \"initech\"; method = \"idevid\"; }",
		"attesters \"initech\": name: method \"idevid\" takes the name of a trust set, and there is no \"initech\" in trust");
	expect_mistake("{ name = \"jamf\"; method = \"mdm\"; }", "{ name = \"intune\"; method = \"mdm\"; }",
		"attesters \"intune\": name: method \"mdm\" takes the name of one of mdms, and there is no \"intune\" there");
	expect_mistake("name = \"keys\"; method = \"yubikey\"; roots = [ \"ca.pem\" ];",
		"name = \"keys\"; method = \"yubikey\";", "attesters \"keys\": roots: method \"yubikey\" needs it");
	expect_mistake("ak_life = \"30d\";", "ak_life = \"30d\"; url = \"https://x\";",
		"attesters \"tpm\": url: method \"tpm\" does not look at it; leave it out");
	expect_mistake("ak_life = \"30d\";", "ak_by_binding = false;",
		"attesters \"tpm\": ak_by_binding: no attestation key would count: set ak_by_binding or ak_by_certificate true");
	expect_mistake("ak_life = \"30d\";", "ak_by_certificate = true;",
		"attesters \"tpm\": roots: ak_by_certificate needs the roots of these certificates");
	expect_mistake("yubikey_firmware = \"5.7.0\";", "yubikey_firmware = \"5.7\";",
		"attesters \"keys\": yubikey_firmware: \"5.7\" is not a version like \"5.7.0\"");
	expect_mistake("method = \"tpm\"", "method = \"tmp\"",
		"attesters \"tpm\": method: \"tmp\" is none of \"idevid\", \"tpm\", \"android\", \"yubikey\", \"ear\", \"mdm\"");
}

static void
config_reports_an_external_verifier_that_cannot_be_asked(void **state)
{
	(void)state;
	expect_mistake("https://verifier.example.com", "http://verifier.example.com",
		"attesters \"veraison\": url: it is not an https URL; evidence is sent there");
	expect_mistake("statement_type = \"1.3.6.1.4.1.99999.1\"", "statement_type = \"psa\"",
		"attesters \"veraison\": statement_type: \"psa\" is not an object identifier like \"1.3.6.1.4.1.99999.1\"");
	expect_mistake("media_type = \"application/eat\"", "media_type = \"eat\"",
		"attesters \"veraison\": media_type: \"eat\" is not a media type");
	expect_mistake("keys = [ \"ca.pem\" ]; statement", "keys = []; statement",
		"attesters \"veraison\": keys: method \"ear\" needs it");
}

static void
config_reports_rules_that_mean_nothing(void **state)
{
	(void)state;
	expect_mistake("attesters = [ \"tpm\", \"keys\" ]", "attesters = [ \"tmp\" ]",
		"rules \"one\": attesters: there is no \"tmp\" in attesters");
	expect_mistake("labels = [ \"lab\" ]", "labels = [ \"lib\" ]", "rules \"one\": labels: there is no \"lib\" in labels");
	expect_mistake("tiers = [ 0, 3 ]", "tiers = [ 4 ]", "rules \"one\": tiers: only integers from 0 to 3 can stand in it");
	expect_mistake("protocols = [ \"est\", \"coap\" ]", "protocols = [ \"http\" ]",
		"rules \"two\": protocols: \"http\" is none of \"est\", \"scep\", \"coap\"");
	expect_mistake("name = \"two\"; action", "name = \"one\"; action", "rules \"one\": name: there are two of this name");
	expect_mistake("action = \"allow\"; ", "", "rules \"two\": action is missing: it has no default");
}

/* What the rules' own parser says is put on the rule's line. */
static void
config_passes_on_what_is_wrong_inside_a_rule(void **state)
{
	static const struct {
		const char *find, *replace, *says;
	} mistakes[] = {
		{ "time = \"Mon-Fri 08:00-18:00\"", "time = \"sometimes\"", "two" },
		{ "labels = [ \"lab\" ]", "addresses = [ \"10.0.0.0/33\" ]", "one" },
		{ "per = \"1d\"", "per = \"0s\"", "two" },
		{ "attesters = [ \"tpm\", \"keys\" ]", "attesters = []", "one" },
	};
	char *text = whole();
	size_t i;

	(void)state;
	for (i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
		struct problems problems;
		size_t line;
		char *with = changed(text, mistakes[i].find, mistakes[i].replace, &line);

		assert_null(load(with, &problems));
		assert_int_equal(problems.count, 1);
		assert_non_null(strstr(buf_text(&problems.text), mistakes[i].says));
		buf_free(&problems.text);
		free(with);
	}
	free(text);
}

static void
policy_text_says_what_decides_and_no_path(void **state)
{
	struct buf once = { 0 }, twice = { 0 };
	char *text = whole();
	struct config *config = load_good(text);

	(void)state;
	config_policy_text(config, &once);
	config_policy_text(config, &twice);
	assert_string_equal(buf_text(&once), buf_text(&twice));
	assert_non_null(strstr(buf_text(&once), "\t\tname = \"one\";\n\t\taction = \"require\";\n\t\tlabels = [ \"lab\" ];\n"));
	assert_non_null(strstr(buf_text(&once), "tiers = [ 0, 3 ];"));
	assert_non_null(strstr(buf_text(&once), "keys = [ \"EC:P-256\", \"RSA:2048-3072\" ];"));
	assert_non_null(strstr(buf_text(&once), "otherwise = \"allow\";"));
	assert_null(strstr(buf_text(&once), ".pem"));
	assert_null(strstr(buf_text(&once), ".key"));
	buf_free(&once);
	buf_free(&twice);
	config_free(config);
	free(text);
}

static void
policy_text_says_whose_certificates_prove_as_much(void **state)
{
	char *text = whole(), *with;
	struct buf out = { 0 };
	struct config *config = load_good(text);
	size_t line;

	(void)state;
	config_policy_text(config, &out);
	assert_null(strstr(buf_text(&out), "cas = ("));
	config_free(config);
	buf_clear(&out);
	with = changed(text, "	type = \"builtin\";\n", "	type = \"builtin\"; group = \"fleet\";\n", &line);
	config = load_good(with);
	config_policy_text(config, &out);
	assert_non_null(strstr(buf_text(&out), "cas = (\n\t{\n\t\tname = \"devices\";\n\t\tgroup = \"fleet\";\n\t}\n);\n"));
	config_free(config);
	buf_free(&out);
	free(with);
	free(text);
}

static void
candidate_is_checked_like_a_file_but_for_what_lies_on_disk(void **state)
{
	struct config *present = load_good(good), *candidate = NULL;
	struct problems problems = { .count = 0 };
	char *text = whole(), *with;
	size_t line;

	(void)state;
	with = changed(text, "ek_roots = [ \"ca.pem\" ]", "ek_roots = [ \"missing.pem\" ]", &line);
	assert_int_equal(config_load_text(with, present, collect, &problems, &candidate), 0);
	assert_int_equal(problems.count, 0);
	assert_int_equal(candidate->rule_count, 2);
	assert_string_not_equal(candidate->version, present->version);
	config_free(candidate);
	free(with);
	with = changed(text, "tiers = [ 0, 3 ]", "tiers = [ 5 ]", &line);
	assert_int_equal(config_load_text(with, present, collect, &problems, &candidate), -1);
	assert_int_equal(problems.count, 1);
	buf_free(&problems.text);
	free(with);
	free(text);
	config_free(present);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_takes_rules_and_attesters),
		cmocka_unit_test(config_without_any_has_the_defaults),
		cmocka_unit_test(config_reports_attesters_that_cannot_judge),
		cmocka_unit_test(config_reports_an_external_verifier_that_cannot_be_asked),
		cmocka_unit_test(config_reports_rules_that_mean_nothing),
		cmocka_unit_test(config_passes_on_what_is_wrong_inside_a_rule),
		cmocka_unit_test(policy_text_says_what_decides_and_no_path),
		cmocka_unit_test(policy_text_says_whose_certificates_prove_as_much),
		cmocka_unit_test(candidate_is_checked_like_a_file_but_for_what_lies_on_disk),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
