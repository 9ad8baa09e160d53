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
	expect("key = \"ca.key\"", "key = \"credential:a/b\"", "cas \"devices\": key: credential: a credential's name is "
		"of letters, digits, \".\", \"_\" and \"-\"");
	expect("key = \"ca.key\"", "key = \"env:CONFIG_TEST_SECRET\"",
		"cas \"devices\": key: env:CONFIG_TEST_SECRET holds no PEM private key");
	expect("limits = {", "keygen = { master = \"env:CONFIG_TEST_SHORT\"; }; limits = {",
		"keygen.master: env:CONFIG_TEST_SHORT: 31 octets; at least 32 are needed");
	expect("key = \"ca.key\"", "key = \"tpm:x\"", "cas \"devices\": key: keys and secrets by \"tpm:\" are not supported; use "
		"a path, credential:<name> or env:<name>");
}

/* Of this configuration one thing is told, and not the word. */
static void
refused_without(const char *text, const char *word, const char *told)
{
	struct problems problems;

	assert_null(load(text, &problems));
	if (strstr(buf_text(&problems.text), word) != NULL || strstr(buf_text(&problems.text), told) == NULL)
		fail_msg("%s", buf_text(&problems.text));
	buf_free(&problems.text);
}

static void
config_repeats_no_secret_that_stands_where_its_name_belongs(void **state)
{
	static const struct {
		const char *source, *told;
	} rows[] = {
		{ "hunter2", "secret_file: the file of a secret, in " },
		{ "aGVs/hunter2==", "secret_file: the file of a secret cannot be opened" },
		{ "hunter2/aGVs==", "secret_file: the file of a secret cannot be opened" },
		{ "/hunter2", "secret_file: the file of a secret, in /, cannot be opened" },
		{ "env:hunter2+", "secret_file: env: a variable's name is" },
		{ "credential:hunter2/x", "secret_file: credential: a credential's name is" },
		{ "hunter2:x", "secret_file: keys and secrets by what stands before" },
		{ "file://hunter2/x", "secret_file: file://<host>/... names a host" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char *text = remote_ca(rows[i].source);

		refused_without(text, "hunter2", rows[i].told);
		free(text);
	}
}

static void
config_repeats_no_password_of_a_url(void **state)
{
	static const char *const urls[] = { "ftp://user:hunter2@h/", "HTTPS://user:hunter2@h/", "https://user:hunter2@h:99999/",
		"https://user:hunter2@h/", "user:hunter2@h", "https://user:hun/hunter2@h/", "https://user:p@hunter2@h/",
		"http://user:hunter2@h/ x" };
	size_t i, line;

	(void)state;
	for (i = 0; i < sizeof urls / sizeof urls[0]; i++) {
		char *from = remote_ca("ca.secret");
		char *text = changed(from, "https://127.0.0.1:1/", urls[i], &line);

		refused_without(text, "hunter2", "cas \"far\": ");
		free(text);
		free(from);
	}
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
		cmocka_unit_test(config_repeats_no_secret_that_stands_where_its_name_belongs),
		cmocka_unit_test(config_repeats_no_password_of_a_url),
		cmocka_unit_test(config_takes_schemes_for_secrets_alone),
		cmocka_unit_test(master_octets_past_1024_never_counted),
	};

	return cmocka_run_group_tests(tests, make_secrets, remove_files);
}
