/* Where secrets and keys may be: files, systemd's credentials, the environment. */
#define _GNU_SOURCE
#include "tests/unit/tls_certs.h"

#include <errno.h>
#include <sys/xattr.h>

#include "gateway/outbound/secret.h"

#define DIRECTORY "CREDENTIALS_DIRECTORY"
#define VARIABLE  "ENROLLD_SECRET_TEST"
#define SECRET    "s3cret ~words"

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static int
setup(void **state)
{
	struct folder *f = calloc(1, sizeof *f);

	assert_non_null(f);
	folder_make(f); /* mode 0700, as systemd has it */
	assert_int_equal(setenv(DIRECTORY, f->path, 1), 0);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	folder_remove(*state);
	free(*state);
	return unsetenv(VARIABLE) != 0 || unsetenv(DIRECTORY) != 0;
}

static void
gives(const char *source, const char *wanted)
{
	struct buf out = { 0 };
	struct err e = { 0 };

	if (secret_file_read(source, &out, &e) != 0)
		fail_msg("%s", e.text);
	assert_string_equal(buf_text(&out), wanted);
	buf_free_secret(&out);
}

/* Nothing of what was read is told, and nothing is given. */
static void
refuses(const char *source, enum err_code code, const char *words)
{
	struct buf out = { 0 };
	struct err e = { 0 };

	assert_int_equal(secret_file_read(source, &out, &e), -1);
	if (e.code != code || strstr(e.text, words) == NULL || strstr(e.text, "s3cret") != NULL)
		fail_msg("%s: %s", err_code_name(e.code), e.text);
	assert_int_equal(out.len, 0);
	buf_free_secret(&out);
}

static void
variable(const char *value)
{
	assert_int_equal(setenv(VARIABLE, value, 1), 0);
}

static void
a_secret_is_read_from_a_file_by_path_and_by_uri(void **state)
{
	char path[128], uri[160];

	file_make(*state, "one", SECRET "\n", 0600, path);
	gives(path, SECRET);
	(void)snprintf(uri, sizeof uri, "file:%s", path);
	gives(uri, SECRET);
	(void)snprintf(uri, sizeof uri, "file://%s", path);
	gives(uri, SECRET);
	refuses("file://host/one", ERR_UNSUPPORTED, "names a host");
	refuses("file:", ERR_MALFORMED, "names no file");
	refuses("", ERR_MALFORMED, "names no file");
	refuses("vault:one", ERR_UNSUPPORTED, "\"vault:\" are not supported");
	refuses("s3cret:one", ERR_UNSUPPORTED, "are not supported");
}

static void
a_secret_is_read_from_a_variable_anew_each_time(void **state)
{
	char longer[SECRET_FILE_MAX + 2];

	(void)state;
	variable(SECRET);
	gives("env:" VARIABLE, SECRET);
	variable("another\n");
	gives("env:" VARIABLE, "another");
	variable("");
	refuses("env:" VARIABLE, ERR_UPSTREAM, "is empty");
	variable("\n");
	refuses("env:" VARIABLE, ERR_UPSTREAM, "is empty");
	variable("s3cret\nsecond");
	refuses("env:" VARIABLE, ERR_UPSTREAM, "one line");
	memset(longer, 'x', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	variable(longer);
	refuses("env:" VARIABLE, ERR_UPSTREAM, "longer than 4096");
	assert_int_equal(unsetenv(VARIABLE), 0);
	refuses("env:" VARIABLE, ERR_UPSTREAM, "no such variable");
	refuses("env:", ERR_MALFORMED, "variable's name");
	refuses("env:A-B", ERR_MALFORMED, "variable's name");
	refuses("env:A=B", ERR_MALFORMED, "variable's name");
	refuses("env:s3cret+", ERR_MALFORMED, "variable's name");
}

static void
a_secret_is_read_from_the_directory_of_credentials(void **state)
{
	static const mode_t good[] = { 0400, 0600, 0440, 0640 }, bad[] = { 0420, 0620, 0404, 0602, 0410 };
	const struct folder *f = *state;
	char path[128];
	size_t i;

	file_make(f, "ca.secret_1-x", SECRET "\n", 0600, path);
	gives("credential:ca.secret_1-x", SECRET);
	for (i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_int_equal(chmod(path, good[i]), 0);
		gives("credential:ca.secret_1-x", SECRET);
	}
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(chmod(path, bad[i]), 0);
		refuses("credential:ca.secret_1-x", ERR_UPSTREAM, "chmod 600");
	}
	refuses("credential:none", ERR_UPSTREAM, "cannot be opened: No such file");
	assert_true(snprintf(path, sizeof path, "%s/gone", f->path) < (int)sizeof path);
	assert_int_equal(mkdir(path, 0700), 0);
	refuses("credential:gone", ERR_UPSTREAM, "not a regular file");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("ca.secret_1-x", path), 0);
	refuses("credential:gone", ERR_UPSTREAM, "symbolic link");
}

static void
a_credential_is_a_name_and_no_path(void **state)
{
	static const char *const names[] = { "", ".", "..", "a/b", "../etc", "/etc/shadow", "a b", "a:b", "s3cret+" };
	char source[64];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof names / sizeof names[0]; i++) {
		(void)snprintf(source, sizeof source, "credential:%s", names[i]);
		refuses(source, ERR_MALFORMED, "a credential's name");
	}
}

static void
a_directory_of_credentials_is_nobody_elses(void **state)
{
	static const mode_t good[] = { 0700, 0500, 0550, 0750 }, bad[] = { 0755, 0701, 0770, 0704 };
	const struct folder *f = *state;
	char path[128];
	size_t i;

	file_make(f, "one", SECRET "\n", 0400, path);
	for (i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_int_equal(chmod(f->path, good[i]), 0);
		gives("credential:one", SECRET);
	}
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(chmod(f->path, bad[i]), 0);
		refuses("credential:one", ERR_UPSTREAM, "chmod 700");
	}
	assert_int_equal(chmod(f->path, 0700), 0);
	assert_int_equal(setenv(DIRECTORY, "relative", 1), 0);
	refuses("credential:one", ERR_UPSTREAM, "is no absolute path");
	assert_int_equal(setenv(DIRECTORY, path, 1), 0);
	refuses("credential:one", ERR_UPSTREAM, "Not a directory");
	assert_int_equal(unsetenv(DIRECTORY), 0);
	refuses("credential:one", ERR_UPSTREAM, "run under systemd with LoadCredential=one:");
}

/* As setfacl -m u:12345:r,g::-,m::r has it (linux/posix_acl_xattr.h); false: this file system has no ACLs. */
static bool
put_acl(const char *path)
{
	static const struct {
		uint16_t tag, permissions;
		uint32_t id;
	} entries[] = { { 0x01, 4, UINT32_MAX }, { 0x02, 4, 12345 }, { 0x04, 0, UINT32_MAX }, { 0x10, 4, UINT32_MAX },
		{ 0x20, 0, UINT32_MAX } };
	uint8_t acl[4 + sizeof entries] = { 2 };

	memcpy(acl + 4, entries, sizeof entries);
	if (setxattr(path, "system.posix_acl_access", acl, sizeof acl, 0) == 0)
		return true;
	assert_int_equal(errno, EOPNOTSUPP);
	return false;
}

/* Permissions of the group are a mask only where there is an ACL (acl(5)); without one every member may read. */
static void
a_credential_that_a_group_may_read_is_refused(void **state)
{
	const struct folder *f = *state;
	char path[128];

	file_make(f, "one", SECRET "\n", 0440, path);
	gives("credential:one", SECRET);
	assert_int_equal(chmod(f->path, 0750), 0);
	refuses("credential:one", ERR_UPSTREAM, "is open to its group");
	if (put_acl(path))
		gives("credential:one", SECRET);
	assert_int_equal(chmod(f->path, 0700), 0);
}

static void
files_of_other_users_are_refused(void **state)
{
	const struct folder *f = *state;
	char path[128];

	if (geteuid() != 0)
		skip();
	file_make(f, "one", SECRET "\n", 0600, path);
	assert_int_equal(chown(path, 12345, 0), 0);
	refuses(path, ERR_UPSTREAM, "belongs to user 12345");
	refuses("credential:one", ERR_UPSTREAM, "belongs to user 12345");
	assert_int_equal(chown(path, 0, 0), 0);
	assert_int_equal(chown(f->path, 12345, 0), 0);
	refuses("credential:one", ERR_UPSTREAM, "belongs to user 12345");
}

static void
octets_are_counted_and_given_as_they_are(void **state)
{
	struct buf out = { 0 };
	struct err e = { 0 };
	char path[128];

	file_make(*state, "master", "\x01\xff\n\nend\n", 0600, path);
	assert_int_equal(secret_read(path, 8, 8, &out, &e), 0);
	assert_memory_equal(out.at, "\x01\xff\n\nend\n", 8);
	assert_int_equal(secret_read(path, 9, 10, &out, &e), -1);
	assert_non_null(strstr(e.text, "8 octets; at least 9"));
	assert_int_equal(secret_read(path, 1, 7, &out, &e), -1);
	assert_non_null(strstr(e.text, "longer than 7"));
	assert_int_equal(out.len, 8);
	buf_free_secret(&out);
}

/* The folder is, as long as it is one. */
static void
what_names_no_file_is_not_repeated(void **state)
{
	const struct folder *f = *state;
	char path[128], long_one[400];

	(void)snprintf(path, sizeof path, "%s/s3cret", f->path);
	refuses(path, ERR_UPSTREAM, f->path);
	refuses(path, ERR_UPSTREAM, "cannot be opened: No such file");
	(void)snprintf(path, sizeof path, "%s/s3cret/x", f->path);
	refuses(path, ERR_UPSTREAM, "secret cannot be opened: No such file");
	(void)snprintf(path, sizeof path, "file:%s/x/s3cret", f->path);
	refuses(path, ERR_UPSTREAM, "secret cannot be opened: No such file");
	file_make(f, "one", SECRET "\n", 0600, path);
	(void)snprintf(path, sizeof path, "%s/one/s3cret", f->path);
	refuses(path, ERR_UPSTREAM, "secret cannot be opened: Not a directory");
	refuses("s3cret", ERR_UPSTREAM, "in ., cannot be opened");
	memset(long_one, 's', sizeof long_one - 1);
	memcpy(long_one + sizeof long_one - 7, "s3cret", 7);
	refuses(long_one, ERR_UPSTREAM, "File name too long");
}

static void
relative_paths_are_those_of_files_alone(void **state)
{
	(void)state;
	assert_string_equal(secret_path_of("ca/x.key"), "ca/x.key");
	assert_string_equal(secret_path_of("file:ca/x.key"), "ca/x.key");
	assert_string_equal(secret_path_of("./C:x.key"), "./C:x.key");
	assert_null(secret_path_of("tpm:x"));
	assert_null(secret_path_of("env:X"));
	assert_null(secret_path_of("credential:x"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_secret_is_read_from_a_file_by_path_and_by_uri),
		test(a_secret_is_read_from_a_variable_anew_each_time),
		test(a_secret_is_read_from_the_directory_of_credentials),
		test(a_credential_is_a_name_and_no_path),
		test(a_directory_of_credentials_is_nobody_elses),
		test(a_credential_that_a_group_may_read_is_refused),
		test(files_of_other_users_are_refused),
		test(octets_are_counted_and_given_as_they_are),
		test(what_names_no_file_is_not_repeated),
		test(relative_paths_are_those_of_files_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
