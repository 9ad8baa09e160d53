/* A directory to begin with: what is in it, who may read it, and that it serves. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/key.h"
#include "base/timefmt.h"
#include "gateway/core/init.h"
#include "gateway/core/world.h"

static char top[64], dir[80];

static int
setup(void **state)
{
	struct err e;

	(void)state;
	(void)snprintf(top, sizeof top, "/tmp/init-test-XXXXXX");
	(void)umask(0);
	if (ossl_init(&e) != 0 || key_init(&e) != 0 || mkdtemp(top) == NULL)
		return -1;
	(void)snprintf(dir, sizeof dir, "%s/gateway", top);
	return 0;
}

static int
teardown(void **state)
{
	char command[96];

	(void)state;
	(void)snprintf(command, sizeof command, "rm -rf '%s'", top);
	return system(command);
}

static struct init_options
options(void)
{
	return (struct init_options){ .dir = dir, .port = 8443, .now_s = time_now_s() };
}

static void
make(const struct init_options *o)
{
	struct err e = { 0 };

	if (init_directory(o, &e) != 0)
		fail_msg("%s", e.text);
}

static void
in_dir(const char *name, char out[160])
{
	(void)snprintf(out, 160, "%s/%s", dir, name);
}

static bool
exists(const char *name)
{
	char path[160];

	in_dir(name, path);
	return access(path, F_OK) == 0;
}

static void
print_problem(void *arg, const char *text)
{
	(void)arg;
	print_error("%s\n", text);
}

static struct config *
load(void)
{
	struct config *config = NULL;
	char path[160];

	in_dir("enrolld.conf", path);
	assert_int_equal(config_load(path, print_problem, NULL, &config), 0);
	return config;
}

static void
what_is_secret_is_readable_by_nobody_else(void **state)
{
	static const char *const files[] = { "offline/root.key", "ca/issuing.key", "tls/server.key", "keygen.master" };
	static const char *const folders[] = { "", "offline", "ca", "tls", "trust" };
	struct init_options o = options();
	struct stat st;
	char path[160];
	size_t i;

	(void)state; /* setup() has taken the umask away */
	make(&o);
	for (i = 0; i < sizeof files / sizeof files[0]; i++) {
		in_dir(files[i], path);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode, S_IFREG | 0600);
		assert_true(st.st_size > 60);
	}
	for (i = 0; i < sizeof folders / sizeof folders[0]; i++) {
		in_dir(folders[i], path);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode, S_IFDIR | 0700);
	}
}

static void
its_configuration_has_no_mistake_and_loads(void **state)
{
	struct init_options o = options();
	struct world *world = NULL;
	struct err e = { 0 };
	struct config *config;

	(void)state;
	make(&o);
	config = load();
	assert_string_equal(config->listen_https.at[0], "127.0.0.1:8443");
	assert_string_equal(config->listen_admin, "127.0.0.1:8444");
	assert_int_equal(config->trust_count, 0);
	assert_int_equal(config_label(config, "")->policy.auth & AUTH_CERTIFICATE, 0);
	assert_non_null(config_label(config, "guarded"));
	if (world_load(config, &world, &e) != 0)
		fail_msg("%s", e.text);
	assert_int_equal(world->master.len, 64);
	assert_int_equal(X509_check_host(world->signer, "localhost", 0, 0, NULL), 1);
	assert_int_equal(X509_check_ip_asc(world->signer, "127.0.0.1", 0), 1);
	assert_int_equal(X509_check_ip_asc(world->signer, "::1", 0), 1);
	assert_int_equal(X509_check_private_key(world->signer, world->signer_key), 1);
	world_put(world);
}

static void
a_manufacturer_is_taken_into_it(void **state)
{
	struct init_options o = options();
	struct config *config;
	char first[96], root[128];

	(void)state;
	(void)snprintf(first, sizeof first, "%s/first", top);
	o.dir = first;
	make(&o);
	(void)snprintf(root, sizeof root, "%s/ca/root.pem", first);
	o = options();
	o.trust_name = "acme";
	o.trust_file = root;
	make(&o);
	config = load();
	assert_int_equal(config->trust_count, 1);
	assert_string_equal(config->trust[0].name, "acme");
	assert_int_not_equal(config_label(config, "")->policy.auth & AUTH_CERTIFICATE, 0);
	assert_string_equal(config->identity[0].trust, "acme");
	config_free(config);
}

static void
it_refuses_to_overwrite(void **state)
{
	struct init_options o = options();
	char path[160];
	struct stat before, after;
	struct err e = { 0 };

	(void)state;
	make(&o);
	in_dir("ca/issuing.key", path);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(init_directory(&o, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
	in_dir("enrolld.conf", path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(init_directory(&o, &e), -1); /* the keys are still there */
	in_dir("ca/issuing.key", path);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(before.st_size, after.st_size);
	assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	assert_false(exists("enrolld.conf"));
}

static void
a_mistake_in_the_manufacturer_leaves_nothing_that_is_in_the_way(void **state)
{
	struct init_options o = options();
	struct err e = { 0 };

	(void)state;
	o.trust_name = "../acme";
	o.trust_file = "/dev/null";
	assert_int_equal(init_directory(&o, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	o.trust_name = "acme";
	assert_int_equal(init_directory(&o, &e), -1);
	o.trust_file = "/does/not/exist";
	assert_int_equal(init_directory(&o, &e), -1);
	assert_false(exists("offline/root.key"));
	assert_false(exists("trust/acme.pem"));
	o.trust_name = NULL;
	make(&o);
}

static void
two_directories_share_no_key(void **state)
{
	struct init_options o = options();
	CLEANUP(x509_stack) STACK_OF(X509) *a = NULL;
	CLEANUP(x509_stack) STACK_OF(X509) *b = NULL;
	char second[96], path[160];
	struct err e;

	(void)state;
	make(&o);
	in_dir("ca/issuing.pem", path);
	assert_int_equal(x509_load_file(path, &a, &e), 0);
	(void)snprintf(second, sizeof second, "%s/second", top);
	o.dir = second;
	make(&o);
	(void)snprintf(path, sizeof path, "%s/ca/issuing.pem", second);
	assert_int_equal(x509_load_file(path, &b, &e), 0);
	assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(sk_X509_value(a, 0)), X509_get0_pubkey(sk_X509_value(b, 0))), 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(what_is_secret_is_readable_by_nobody_else),
		test(its_configuration_has_no_mistake_and_loads),
		test(a_manufacturer_is_taken_into_it),
		test(it_refuses_to_overwrite),
		test(a_mistake_in_the_manufacturer_leaves_nothing_that_is_in_the_way),
		test(two_directories_share_no_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
