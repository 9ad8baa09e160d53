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
	if (ossl_init(&e) != 0 || key_init(&e) != 0 || scep_init(&e) != 0 || mkdtemp(top) == NULL)
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
	static const char *const files[] = { "offline/root.key", "ca/issuing.key", "tls/server.key", "ra/ra.key",
		"keygen.master" };
	static const char *const folders[] = { "", "offline", "ca", "tls", "ra", "trust" };
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
	assert_int_equal(config->listen_http.count, 2);
	assert_string_equal(config->listen_http.at[0], "127.0.0.1:8445");
	assert_string_equal(config->listen_http.at[1], "[::1]:8445");
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

/* RFC 8894 wants it to sign and to decrypt; nothing here may take it for a CA, a server, a device or a registrar. */
static void
its_registration_authority_signs_and_decrypts_and_does_nothing_else(void **state)
{
	struct init_options o = options();
	struct world *world = NULL;
	const struct world_ra *ra;
	int64_t not_before_s, not_after_s;
	struct err e = { 0 };
	X509 *issuing;

	(void)state;
	make(&o);
	assert_int_equal(world_load(load(), &world, &e), 0);
	ra = world_ra_of(world, "ra");
	assert_non_null(ra);
	issuing = sk_X509_value(world->cas[0].ops->chain(world->cas[0].ca), 0);
	assert_int_equal(X509_verify(ra->cert, X509_get0_pubkey(issuing)), 1);
	assert_int_equal(EVP_PKEY_get_base_id(ra->key), EVP_PKEY_RSA);
	assert_int_equal(EVP_PKEY_get_bits(ra->key), 2048);
	assert_int_equal(X509_check_private_key(ra->cert, ra->key), 1);
	assert_int_equal(X509_get_key_usage(ra->cert), KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT);
	assert_int_equal(X509_get_extended_key_usage(ra->cert), XKU_SMIME);
	assert_int_equal(X509_check_ca(ra->cert), 0);
	assert_int_equal(X509_check_purpose(ra->cert, X509_PURPOSE_SMIME_SIGN, 0), 1);
	assert_int_equal(X509_check_purpose(ra->cert, X509_PURPOSE_SSL_CLIENT, 0), 0);
	assert_int_equal(X509_check_purpose(ra->cert, X509_PURPOSE_SSL_SERVER, 0), 0);
	assert_int_equal(x509_validity(ra->cert, &not_before_s, &not_after_s, &e), 0);
	assert_true(not_before_s == o.now_s - 300 && not_after_s == o.now_s + INT64_C(730) * 86400);
	world_put(world);
}

static void
its_scep_label_takes_challenges_and_renewals_only(void **state)
{
	struct init_options o = options();
	const struct config_label *label;
	struct config *config;

	(void)state;
	make(&o);
	config = load();
	label = config_label(config, "scep");
	assert_non_null(label);
	assert_int_equal(label->protocols, PROTOCOL_SCEP);
	assert_int_equal(label->policy.auth, AUTH_SECRET | AUTH_OWN);
	assert_int_equal(label->policy.operations, (1u << POLICY_ENROLL) | (1u << POLICY_RENEW));
	assert_int_equal(label->scep_algorithms, SCEP_ALGORITHMS_DEFAULT);
	assert_int_equal(config_profile(config, label->profile)->key_usage,
		USAGE_DIGITAL_SIGNATURE | USAGE_KEY_ENCIPHERMENT);
	assert_int_equal(config_label(config, "")->protocols, PROTOCOL_EST | PROTOCOL_COAP);
	assert_null(config_label(config, "legacy-cisco")); /* shown as a comment, never on by itself */
	config_free(config);
}

/* The comment that shows the insecure label must be right as well. */
static void
its_example_of_an_old_router_loads_when_the_comment_is_taken_away(void **state)
{
	static const char mark[] = "  # ";
	struct init_options o = options();
	struct config *config;
	char path[160], text[16384], *at;
	size_t len;
	FILE *file;

	(void)state;
	make(&o);
	in_dir("enrolld.conf", path);
	file = fopen(path, "r+");
	assert_non_null(file);
	len = fread(text, 1, sizeof text - 1, file);
	text[len] = '\0';
	assert_in_range(len, 1000, sizeof text - 2);
	for (at = strstr(text, "  # ,{"); at != NULL; at = strstr(at, mark))
		memset(at, ' ', sizeof mark - 1);
	rewind(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
	config = load();
	assert_true(config_label(config, "legacy-cisco")->scep_insecure);
	config_free(config);
}

static void
it_refuses_a_port_without_two_more(void **state)
{
	static const int ports[] = { 0, -1, 65534, 65535, 65536 };
	struct init_options o = options();
	struct err e = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof ports / sizeof ports[0]; i++) {
		o.port = ports[i];
		assert_int_equal(init_directory(&o, &e), -1);
		assert_int_equal(e.code, ERR_MALFORMED);
	}
	assert_false(exists(""));
	o.port = INIT_PORT_MAX;
	make(&o);
	config_free(load());
}

static void
it_says_where_it_will_listen(void **state)
{
	struct init_options o = options();
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	assert_non_null(out);
	init_print_next(out, &o);
	assert_int_equal(fclose(out), 0);
	assert_non_null(strstr(text, "enrolld -c "));
	assert_non_null(strstr(text, "/offline/root.key"));
	assert_non_null(strstr(text, "HTTPS and CoAP (UDP) on port 8443"));
	assert_non_null(strstr(text, "/metrics on 8444"));
	assert_non_null(strstr(text, "for SCEP on 8445"));
	free(text);
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
		test(its_registration_authority_signs_and_decrypts_and_does_nothing_else),
		test(its_scep_label_takes_challenges_and_renewals_only),
		test(its_example_of_an_old_router_loads_when_the_comment_is_taken_away),
		test(it_refuses_a_port_without_two_more),
		test(it_says_where_it_will_listen),
		test(a_manufacturer_is_taken_into_it),
		test(it_refuses_to_overwrite),
		test(a_mistake_in_the_manufacturer_leaves_nothing_that_is_in_the_way),
		test(two_directories_share_no_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
