#define _GNU_SOURCE
#include "tests/unit/core_scep_fixture.h"

/* The example, as a text with paths that exist in a test. */
static char *
example(void)
{
	CLEANUP(buf) struct buf text = { 0 };
	FILE *in = fopen("gateway/enrolld.conf.example", "r");
	char line[512];

	assert_non_null(in);
	while (fgets(line, sizeof line, in) != NULL) {
		char *at = strstr(line, "/var/lib/enrolld/");

		if (at != NULL)
			memmove(at, at + 17, strlen(at + 17) + 1);
		buf_append_text(&text, line);
	}
	assert_int_equal(fclose(in), 0);
	return strdup(buf_text(&text));
}

static void
copy_to(const char *from, const char *to, bool secret)
{
	char source[256], target[256], command[1024];

	path_in(source, from);
	path_in(target, to);
	(void)snprintf(command, sizeof command, "mkdir -p \"$(dirname '%s')\" && install -m %s '%s' '%s'", target,
		secret ? "600" : "644", source, target);
	assert_int_equal(system(command), 0);
}

static void
example_file_loads(void **state)
{
	char *text = example();
	struct config *config;

	(void)state;
	copy_to("server.pem", "tls/server.pem", false);
	copy_to("server.key", "tls/server.key", true);
	copy_to("ca.pem", "trust/acme-root.pem", false);
	copy_to("ca.pem", "trust/globex-root.pem", false);
	copy_to("issuing.pem", "ca/issuing.pem", false);
	copy_to("issuing.key", "ca/issuing.key", true);
	copy_to("ca.pem", "ca/root.pem", false);
	copy_to("ra.pem", "ra/ra.pem", false);
	copy_to("ra.key", "ra/ra.key", true);
	copy_to("ca.pem", "mdm/ca.pem", false);
	copy_to("ca.pem", "attest/google-root.pem", false);
	copy_to("ca.pem", "attest/yubico-root.pem", false);
	copy_to("ca.pem", "attest/verifier-ca.pem", false);
	copy_to("ca.pem", "attest/verifier.pem", false);
	config = load_good(text);
	assert_int_equal(config->label_count, 4);
	assert_int_equal(config_label(config, "network")->protocols, PROTOCOL_SCEP);
	assert_int_equal(config->mdm_count, 1);
	assert_int_equal(config->attester_count, 6);
	assert_int_equal(config->rule_count, 5);
	config_free(config);
	free(text);
}

/* Whether "key = " or "#key = " begins a line of the section, which begins with "section = " on a line of its own. */
static bool
example_names(const char *text, const char *section, const char *key)
{
	char begin[64];
	const char *at, *end;
	size_t len = strlen(key);

	(void)snprintf(begin, sizeof begin, "\n%s = ", section);
	at = strstr(text, begin);
	if (at == NULL)
		return false;
	end = strstr(at, "\n}") != NULL ? strstr(at, "\n}") : at + strlen(at);
	if (strstr(at, "\n)") != NULL && strncmp(at + strlen(begin), "(", 1) == 0)
		end = strstr(at, "\n)");
	while (at != NULL && at < end) {
		at += 1 + strspn(at + 1, "\t#");
		if (strncmp(at, key, len) == 0 && strncmp(at + len, " = ", 3) == 0)
			return true;
		at = strchr(at, '\n');
	}
	return false;
}

static void
example_file_shows_every_setting(void **state)
{
	char *text = example();
	size_t i, n;

	(void)state;
	for (i = 0; i < SECTION_COUNT; i++)
		for (n = 0; n < config_sections[i].row_count; n++)
			if (!example_names(text, config_sections[i].name, config_sections[i].rows[n].key))
				fail_msg("enrolld.conf.example does not show %s.%s", config_sections[i].name,
					config_sections[i].rows[n].key);
	free(text);
}

/* Several sections have this key, with other defaults. */
static bool
is_ambiguous(const struct config_row *row)
{
	size_t i, n;

	for (i = 0; i < SECTION_COUNT; i++)
		for (n = 0; n < config_sections[i].row_count; n++) {
			const struct config_row *other = &config_sections[i].rows[n];

			if (strcmp(other->key, row->key) == 0 &&
			    (other->fallback == NULL || row->fallback == NULL || strcmp(other->fallback, row->fallback) != 0))
				return true;
		}
	return false;
}

/* A commented-out setting shows its default, as the file's head promises. */
static void
example_file_shows_the_defaults_that_hold(void **state)
{
	char *text = example(), wanted[256];
	size_t i, n;

	(void)state;
	for (i = 0; i < SECTION_COUNT; i++)
		for (n = 0; n < config_sections[i].row_count; n++) {
			const struct config_row *row = &config_sections[i].rows[n];
			const char *at;

			(void)snprintf(wanted, sizeof wanted, "\t#%s = ", row->key);
			for (at = strstr(text, wanted); at != NULL; at = strstr(at + 1, wanted)) {
				const char *value = at + strlen(wanted);

				if (is_ambiguous(row))
					continue;
				assert_non_null(row->fallback);
				if (strncmp(value, row->fallback, strlen(row->fallback)) != 0)
					fail_msg("%s: the example shows %.30s, the default is %s", row->key, value,
						row->fallback);
			}
		}
	free(text);
}

/* A default as it stands behind .Li: quotation marks would be taken for the macro's own. */
static void
macro_text(char *out, size_t size, const char *text)
{
	size_t n = (size_t)snprintf(out, size, "\n.Li ");

	for (; *text != '\0'; text++)
		n += (size_t)snprintf(out + n, size - n, *text == '"' ? "\\(dq" : "%c", *text);
	(void)snprintf(out + n, size - n, "\n");
}

static void
manual_names_every_setting_and_its_default(void **state)
{
	char *text = NULL, item[256];
	size_t len = 0, i, n;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	assert_non_null(out);
	config_print_manual(out);
	assert_int_equal(fclose(out), 0);
	for (i = 0; i < SECTION_COUNT; i++)
		for (n = 0; n < config_sections[i].row_count; n++) {
			const struct config_row *row = &config_sections[i].rows[n];

			(void)snprintf(item, sizeof item, ".It Ic %s Pq ", row->key);
			assert_non_null(strstr(text, item));
			if (row->fallback != NULL) {
				macro_text(item, sizeof item, row->fallback);
				assert_non_null(strstr(text, item));
			}
			assert_true(strlen(row->doc) > 10);
		}
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(example_file_loads),
		cmocka_unit_test(example_file_shows_every_setting),
		cmocka_unit_test(example_file_shows_the_defaults_that_hold),
		cmocka_unit_test(manual_names_every_setting_and_its_default),
	};

	return cmocka_run_group_tests(tests, make_scep_files, remove_files);
}
