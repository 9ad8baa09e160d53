/* Keys and secrets of the configuration by every name they may have. */
#define _GNU_SOURCE
#include "tests/unit/core_config_support.h"

#include "gateway/core/world_parts.h"

/* The octets of a file as a variable. */
static void
variable_of(const char *variable, const char *name)
{
	char path[256], text[8192];
	FILE *file;
	size_t len;

	path_in(path, name);
	file = fopen(path, "r");
	assert_non_null(file);
	len = fread(text, 1, sizeof text - 1, file);
	assert_int_equal(fclose(file), 0);
	text[len] = '\0';
	assert_int_equal(setenv(variable, text, 1), 0);
}

static char *
remote_ca(const char *secret)
{
	char cas[700], *text;
	size_t line;

	(void)snprintf(cas, sizeof cas, "cas = ( { name = \"far\"; type = \"cfssl\"; url = \"https://127.0.0.1:1/\"; "
		"certificate = \"ca.pem\"; tls_ca = \"ca.pem\";\nsecret_file = \"%s\"; },\n", secret);
	text = changed(good, "cas = (\n", cas, &line);
	return text;
}

static void
config_takes_keys_and_secrets_by_every_name(void **state)
{
	static const struct {
		const char *replace, *wanted; /* of tls.key; DIR is put before what begins with it */
		bool path;
	} names[] = {
		{ "key = \"server.key\"", "/server.key", true },
		{ "key = \"credential:server.key\"", "credential:server.key", false },
		{ "key = \"env:CONFIG_TEST_KEY\"", "env:CONFIG_TEST_KEY", false },
	};
	char wanted[256];
	size_t i, line;

	(void)state;
	for (i = 0; i < sizeof names / sizeof names[0]; i++) {
		char *text = changed(good, "key = \"file:server.key\"", names[i].replace, &line);
		struct config *config = load_good(text);

		(void)snprintf(wanted, sizeof wanted, "%s%s", names[i].path ? dir : "", names[i].wanted);
		assert_string_equal(config->tls_key, wanted);
		config_free(config);
		free(text);
	}
	(void)snprintf(wanted, sizeof wanted, "file:%s/server.key", dir);
	{
		struct config *config = load_good(good);

		assert_string_equal(config->tls_key, wanted);
		config_free(config);
	}
}

static void
config_takes_a_cas_secret_by_every_name(void **state)
{
	static const char *const names[] = { "env:CONFIG_TEST_SECRET", "credential:ca.secret", "file:ca.secret" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof names / sizeof names[0]; i++) {
		char *text = remote_ca(names[i]);
		struct config *config = load_good(text);

		if (strncmp(names[i], "file:", 5) != 0)
			assert_string_equal(config->cas[0].secret_file, names[i]);
		config_free(config);
		free(text);
	}
}

static void
config_names_the_setting_whose_secret_is_not_there(void **state)
{
	struct problems problems;
	char *text = remote_ca("env:CONFIG_TEST_NONE");
	struct config *config = load(text, &problems);

	(void)state;
	assert_null(config);
	assert_int_equal(problems.count, 1);
	assert_non_null(strstr(buf_text(&problems.text), "cas \"far\": secret_file: env:CONFIG_TEST_NONE: there is no such variable"));
	buf_free(&problems.text);
	free(text);
	expect("key = \"ca.key\"", "key = \"env:CONFIG_TEST_NONE\"",
		"cas \"devices\": key: env:CONFIG_TEST_NONE: there is no such variable in this process's environment");
	expect("key = \"ca.key\"", "key = \"credential:a/b\"", "cas \"devices\": key: \"credential:a/b\": a credential's name is "
		"of letters, digits, \".\", \"_\" and \"-\"");
	expect("key = \"ca.key\"", "key = \"env:CONFIG_TEST_SECRET\"",
		"cas \"devices\": key: env:CONFIG_TEST_SECRET holds no PEM private key");
	expect("limits = {", "keygen = { master = \"env:CONFIG_TEST_SHORT\"; }; limits = {",
		"keygen.master: env:CONFIG_TEST_SHORT: 31 octets; at least 32 are needed");
	expect("key = \"ca.key\"", "key = \"tpm:x\"", "cas \"devices\": key: keys and secrets by \"tpm:\" are not supported; use "
		"a path, credential:<name> or env:<name>");
}

/* What a certificate's path may be is a file's name: schemes mean nothing there. */
static void
config_takes_schemes_for_secrets_alone(void **state)
{
	(void)state;
	expect_path("certificate = \"ca.pem\"", "certificate = \"env:CONFIG_TEST_KEY\"",
		"cas \"devices\": certificate: DIR/env:CONFIG_TEST_KEY: No such file or directory");
}

/* Keys that were derived from a long file stay what they were. */
static void
master_octets_past_1024_never_counted(void **state)
{
	char path[256], *text = malloc(3000);
	struct buf master = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_non_null(text);
	memset(text, 'm', 3000);
	write_file("master", text, 3000);
	path_in(path, "master");
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(world_master_load(path, &master, &e), 0);
	assert_int_equal(master.len, 1024);
	buf_free_secret(&master);
	assert_int_equal(world_master_load("", &master, &e), 0);
	assert_int_equal(master.len, 0);
	free(text);
}

static int
make_secrets(void **state)
{
	char path[256];

	if (make_files(state) != 0)
		return -1;
	variable_of("CONFIG_TEST_KEY", "server.key");
	write_text("ca.secret", "00112233445566778899aabbccddeeff\n");
	path_in(path, "ca.secret");
	return chmod(path, 0600) != 0 || setenv("CREDENTIALS_DIRECTORY", dir, 1) != 0 ||
		setenv("CONFIG_TEST_SECRET", "00112233445566778899aabbccddeeff", 1) != 0 ||
		setenv("CONFIG_TEST_SHORT", "0123456789012345678901234567890", 1) != 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_takes_keys_and_secrets_by_every_name),
		cmocka_unit_test(config_takes_a_cas_secret_by_every_name),
		cmocka_unit_test(config_names_the_setting_whose_secret_is_not_there),
		cmocka_unit_test(config_takes_schemes_for_secrets_alone),
		cmocka_unit_test(master_octets_past_1024_never_counted),
	};

	return cmocka_run_group_tests(tests, make_secrets, remove_files);
}
