#define _GNU_SOURCE
#include "tests/unit/core_config_support.h"

static void
config_version_is_the_same_for_the_same_file(void **state)
{
	struct config *config = load_good(good), *again = load_good(good);

	(void)state;
	assert_int_equal(strlen(config->version), 64);
	assert_string_equal(config->version, again->version);
	config_free(config);
	config_free(again);
}

static void
copy_file(const char *from, const char *to)
{
	char path[512], text[8192];
	FILE *file;
	size_t len;

	(void)snprintf(path, sizeof path, "%s/%s", dir, from);
	file = fopen(path, "r");
	assert_non_null(file);
	len = fread(text, 1, sizeof text - 1, file);
	assert_int_equal(fclose(file), 0);
	text[len] = '\0';
	write_text(to, text);
}

/* Roots that are exchanged in place: the text says the same, and another is trusted. */
static void
config_version_covers_the_roots_it_names(void **state)
{
	size_t line;
	char *text = changed(good, "{ name = \"acme\"; files = [ \"ca.pem\" ]; }",
		"{ name = \"acme\"; files = [ \"roots.pem\" ]; }", &line);
	struct config *before, *after;

	(void)state;
	copy_file("ca.pem", "roots.pem");
	before = load_good(text);
	copy_file("server.pem", "roots.pem");
	after = load_good(text);
	assert_string_not_equal(before->version, after->version);
	config_free(before);
	config_free(after);
	free(text);
}

static void
config_reports_files_that_cannot_be_used(void **state)
{
	(void)state;
	expect_path("certificate = \"server.pem\"", "certificate = \"gone.pem\"",
		"tls.certificate: DIR/gone.pem: No such file or directory");
	expect_path("{ name = \"acme\"; files = [ \"ca.pem\" ]; }", "{ name = \"acme\"; files = [ \"empty.pem\" ]; }",
		"trust \"acme\": files: DIR/empty.pem: no PEM certificate in it");
	expect_path("key = \"ca.key\"", "key = \"server.key\"",
		"cas \"devices\": key: this is not the key of the certificate in DIR/ca.pem");
	expect_path("path = \"enrolld.db\"", "path = \"gone/enrolld.db\"",
		"store.path: its folder DIR/gone: No such file or directory");
}

static void
config_reports_a_master_file_that_others_may_read(void **state)
{
	char message[256], path[256];

	(void)state;
	path_in(path, "empty.pem");
	assert_int_equal(chmod(path, 0644), 0); /* whatever the umask was */
	(void)snprintf(message, sizeof message, "keygen.master: %s/empty.pem is open to others (mode 0644): chmod 600 %s/empty.pem",
		dir, dir);
	expect("limits = {", "keygen = { master = \"empty.pem\"; }; limits = {", message);
}

static void
config_reports_a_key_that_others_may_read(void **state)
{
	char path[256];

	(void)state;
	path_in(path, "ca.key");
	assert_int_equal(chmod(path, 0640), 0);
	expect_start("key = \"ca.key\"", "key = \"ca.key\"", "cas \"devices\": key");
	assert_int_equal(chmod(path, 0600), 0);
	config_free(load_good(good));
}

static void
config_reports_an_issuing_certificate_that_is_no_ca(void **state)
{
	char message[256];
	size_t line;
	char *text = changed(good, "certificate = \"ca.pem\"", "certificate = \"server.pem\"", &line);
	char *both = changed(text, "key = \"ca.key\"", "key = \"server.key\"", &line);

	(void)state;
	(void)snprintf(message, sizeof message, "cas \"devices\": certificate: %s/server.pem: its first certificate is "
		"not a CA's (basicConstraints CA:TRUE)", dir);
	expect_text(both, line - 1, message);
	free(text);
	free(both);
}

/* OpenSSL would wait for somebody to write to it. */
static void
config_does_not_wait_for_a_fifo(void **state)
{
	char path[256];

	(void)state;
	path_in(path, "fifo");
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_path("certificate = \"server.pem\"", "certificate = \"fifo\"",
		"tls.certificate: DIR/fifo: not a regular file");
	write_text("enrolld.conf", good);
	expect_path("listen = {", "@include \"fifo\"\nlisten = {", "@include: DIR/fifo: not a regular file");
}

static void
config_names_the_included_file_and_its_line(void **state)
{
	struct problems problems;
	char expected[256];

	size_t line;
	char *text = changed(good, "store = {", "  @include \"part.inc\"\nstore = {\n	typ = 1;", &line);

	(void)state;
	write_text("part.inc", "/* one\n two */ threads = {\n	worker = 3;\n};\n");
	assert_null(load(text, &problems));
	(void)snprintf(expected, sizeof expected,
		"%s:%zu: unknown setting \"typ\" (did you mean \"type\"?)\n"
		"%s/part.inc:3: unknown setting \"worker\" (did you mean \"workers\"?)\n",
		conf, line + 2, dir);
	assert_string_equal(buf_text(&problems.text), expected);
	free(text);
	buf_free(&problems.text);
}

static void
config_version_covers_included_files(void **state)
{
	size_t line;
	char *text = changed(good, "store = {", "@include \"v.inc\"\nstore = {", &line);
	struct config *before, *after;

	(void)state;
	write_text("v.inc", "threads = { workers = 3; };");
	before = load_good(text);
	write_text("v.inc", "threads = { workers = 4; };");
	after = load_good(text);
	assert_int_equal(before->threads_workers, 3);
	assert_int_equal(after->threads_workers, 4);
	assert_string_not_equal(before->version, after->version);
	config_free(before);
	config_free(after);
	free(text);
}

static void
config_keeps_includes_in_the_folder(void **state)
{
	static const char away[] = "leaves the folder of this file; name a file in it or below";
	char message[256];

	(void)state;
	(void)snprintf(message, sizeof message, "@include \"/etc/passwd\" %s", away);
	expect("listen = {", "@include \"/etc/passwd\"\nlisten = {", message);
	(void)snprintf(message, sizeof message, "@include \"x/../../y\" %s", away);
	expect("listen = {", "@include \"x/../../y\"\nlisten = {", message);
	expect_path("listen = {", "@include \"gone.inc\"\nlisten = {",
		"@include: DIR/gone.inc: No such file or directory");
	expect("listen = {", "@include \"\"\nlisten = {",
		"@include \"\" leaves the folder of this file; name a file in it or below");
}

static void
config_stops_at_a_file_that_includes_itself(void **state)
{
	struct problems problems;
	size_t line;
	char *text = changed(good, "listen = {", "@include \"self.inc\"\nlisten = {", &line);

	(void)state;
	write_text("self.inc", "@include \"self.inc\"\n");
	assert_null(load(text, &problems));
	assert_int_equal(problems.count, 1);
	assert_non_null(strstr(buf_text(&problems.text),
		"self.inc:1: @include goes deeper than 4 files, or past 64 in all"));
	buf_free(&problems.text);
	free(text);
}

static void
config_includes_no_deeper_than_four_files(void **state)
{
	static const char *const names[] = { "d1.inc", "d2.inc", "d3.inc", "d4.inc", "d5.inc" };
	struct problems problems;
	char text[64];
	size_t line, i;
	char *whole = changed(good, "listen = {", "@include \"d1.inc\"\nlisten = {", &line);

	(void)state;
	for (i = 0; i < 4; i++) {
		(void)snprintf(text, sizeof text, "@include \"%s\"\n", names[i + 1]);
		write_text(names[i], text);
	}
	write_text("d4.inc", "# the deepest\n");
	config_free(load_good(whole));
	write_text("d4.inc", "@include \"d5.inc\"\n");
	write_text("d5.inc", "# too deep\n");
	assert_null(load(whole, &problems));
	assert_int_equal(problems.count, 1);
	assert_non_null(strstr(buf_text(&problems.text), "/d4.inc:1: @include goes deeper than 4 files"));
	buf_free(&problems.text);
	free(whole);
}

static void
config_leaves_an_include_in_texts_and_comments_alone(void **state)
{
	struct config *config;
	size_t line;
	char *text = changed(good, "listen = {", "/*\n@include \"gone\"\n*/\n# @include \"gone\"\n// \"\nlisten = {", &line);

	(void)state;
	config = load_good(text);
	config_free(config);
	free(text);
	text = changed(good, "realm = \"fleet\"", "realm = \"@include \\\"\" \"/* # // \"", &line);
	expect_text(text, line, "labels \"\": realm: quotation marks and backslashes cannot stand in it");
	free(text);
}

static void
config_reports_what_libconfig_would_read_wrongly(void **state)
{
	(void)state;
	expect("store = {", "/* store = {", "this comment is never closed");
	expect("realm = \"fleet\";\n	},\n	{ name = \"lab\"; profile = \"device\"; ca = \"devices\"; auth = "
		"\"secret\"; }\n);\n", "realm = \"fleet;\n", "this text has no closing quotation mark");
	expect("realm = \"fleet\"", "realm = \"fl\\x00eet\"", "a text cannot hold \\x00");
	expect("store = {", "x = @ store = {", "\"@\" begins nothing but @include \"file\", alone on its line");
}

static void
config_shows_the_line_of_a_syntax_error(void **state)
{
	(void)state;
	expect("	body = \"32k\";", "	body = ;", "syntax error at or before \"body = ;\"");
	expect("	queue_age = \"2m\";", "	body = \"1k\";", "duplicate setting name at or before \"body = \"1k\";\"");
}

static void
config_refuses_octets_that_are_no_text(void **state)
{
	struct config *config = NULL;
	struct problems problems = { .count = 0 };

	(void)state;
	assert_int_equal(config_load_octets("x.conf", bytes_of("a=1;\nb\0c", 8), collect, &problems, &config), -1);
	assert_string_equal(buf_text(&problems.text), "x.conf:2: a NUL octet: this is not a text file\n");
	buf_free(&problems.text);
	expect("realm = \"fleet\"", "realm = \"fl\xff\"", "labels \"\": realm: the text is not UTF-8 or holds control "
		"characters");
}

static void
config_says_why_the_file_cannot_be_read(void **state)
{
	struct problems problems = { .count = 0 };
	struct config *config = NULL;

	(void)state;
	assert_int_equal(config_load("/nowhere/enrolld.conf", collect, &problems, &config), -1);
	assert_string_equal(buf_text(&problems.text), "/nowhere/enrolld.conf: No such file or directory\n");
	buf_free(&problems.text);
	problems = (struct problems){ .count = 0 };
	assert_int_equal(config_load(dir, collect, &problems, &config), -1);
	assert_non_null(strstr(buf_text(&problems.text), ": not a regular file"));
	buf_free(&problems.text);
	config_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_version_is_the_same_for_the_same_file),
		cmocka_unit_test(config_version_covers_the_roots_it_names),
		cmocka_unit_test(config_reports_files_that_cannot_be_used),
		cmocka_unit_test(config_reports_a_master_file_that_others_may_read),
		cmocka_unit_test(config_reports_a_key_that_others_may_read),
		cmocka_unit_test(config_reports_an_issuing_certificate_that_is_no_ca),
		cmocka_unit_test(config_does_not_wait_for_a_fifo),
		cmocka_unit_test(config_names_the_included_file_and_its_line),
		cmocka_unit_test(config_version_covers_included_files),
		cmocka_unit_test(config_keeps_includes_in_the_folder),
		cmocka_unit_test(config_stops_at_a_file_that_includes_itself),
		cmocka_unit_test(config_includes_no_deeper_than_four_files),
		cmocka_unit_test(config_leaves_an_include_in_texts_and_comments_alone),
		cmocka_unit_test(config_reports_what_libconfig_would_read_wrongly),
		cmocka_unit_test(config_shows_the_line_of_a_syntax_error),
		cmocka_unit_test(config_refuses_octets_that_are_no_text),
		cmocka_unit_test(config_says_why_the_file_cannot_be_read),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
