#define _GNU_SOURCE
/* Keys in a token: SoftHSM in a folder of its own, by the module that a real one would be. */
#include "tests/unit/ca_fixture.h"

#include <pthread.h>

#include "gateway/ca/key_pkcs11.h"

#define MODULE "/usr/lib/softhsm/libsofthsm2.so"
#define PIN    "483920"
#define THREADS 8
#define EACH    25

static char folder[64], pin_file[128], open_file[128], wrong_file[128];

static void
file_write(const char *name, const char *text, mode_t mode, char out[128])
{
	FILE *file;

	assert_true(snprintf(out, 128, "%s/%s", folder, name) < 128);
	file = fopen(out, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(out, mode), 0);
}

static void
softhsm(const char *fmt, const char *a, const char *b, const char *c)
{
	char arguments[400], command[500];

	(void)snprintf(arguments, sizeof arguments, "%s", "");
	if (strcmp(fmt, "init") == 0)
		(void)snprintf(arguments, sizeof arguments, "--init-token --free --label %s --so-pin 999999 --pin " PIN, a);
	else
		(void)snprintf(arguments, sizeof arguments, "--import %s --token %s --label %s --id %s --pin " PIN, fmt, a, b, c);
	(void)snprintf(command, sizeof command, "softhsm2-util %s > /dev/null", arguments);
	assert_int_equal(system(command), 0);
}

static void
import(EVP_PKEY *key, const char *token, const char *label, const char *id)
{
	char path[128];
	FILE *file;

	assert_true(snprintf(path, sizeof path, "%s/import.pem", folder) < (int)sizeof path);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(PEM_write_PKCS8PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(file), 0);
	softhsm(path, token, label, id);
	assert_int_equal(unlink(path), 0);
}

/* One token for all tests: a process loads a module once. */
static int
group_setup(void **state)
{
	char text[200], path[128];

	(void)state;
	strcpy(folder, "/tmp/pkcs11-test-XXXXXX");
	assert_non_null(mkdtemp(folder));
	(void)snprintf(text, sizeof text, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", folder);
	file_write("softhsm2.conf", text, 0600, path);
	assert_int_equal(setenv("SOFTHSM2_CONF", path, 1), 0);
	file_write("pin", PIN "\n", 0600, pin_file);
	file_write("open", PIN "\n", 0644, open_file);
	file_write("wrong", "111111\n", 0600, wrong_file);
	softhsm("init", "plant", NULL, NULL);
	softhsm("init", "locked", NULL, NULL);
	return 0;
}

static int
group_teardown(void **state)
{
	char command[100];

	(void)state;
	(void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
	return system(command);
}

static const char *
uri_of(const char *what, const char *pin, char out[400])
{
	(void)snprintf(out, 400, "pkcs11:%s?module-path=" MODULE "&pin-source=file:%s", what, pin);
	return out;
}

static void
refused(const char *uri, enum err_code code, const char *word)
{
	EVP_PKEY *key = NULL;
	struct err e = { 0 };

	assert_int_equal(key_open(uri, &key, &e), -1);
	assert_null(key);
	if (e.code != code || strstr(e.text, word) == NULL || strstr(e.text, PIN) != NULL)
		fail_msg("%s: got %s \"%s\", wanted \"%s\"", uri, err_code_name(e.code), e.text, word);
}

static void
pkcs11_uris_are_read_by_their_rules(void **state)
{
	struct pkcs11_uri uri;
	struct err e = { 0 };
	char long_uri[2000] = "pkcs11:token=";

	(void)state;
	assert_int_equal(pkcs11_uri_parse("pkcs11:token=a%20b%3Bc;id=%00%ffx;object=k;type=private"
		"?pin-source=/run/pin&module-path=/m.so", &uri, &e), 0);
	assert_string_equal(uri.token, "a b;c");
	assert_int_equal(uri.id_len, 3);
	assert_memory_equal(uri.id, "\x00\xffx", 3);
	assert_string_equal(uri.object, "k");
	assert_string_equal(uri.pin_source, "/run/pin");
	assert_string_equal(uri.module, "/m.so");
	assert_int_equal(pkcs11_uri_parse("pkcs11:token=t;object=k?module-path=/m.so&pin-source=credential:pin", &uri, &e), 0);
	assert_string_equal(uri.pin_source, "credential:pin");
	assert_int_equal(pkcs11_uri_parse("pkcs11:token=t;object=k?module-path=/m.so&pin-source=env:PIN", &uri, &e), 0);
	refused("pkcs11:object=k?module-path=/m.so&pin-source=/p", ERR_MALFORMED, "no token");
	refused("pkcs11:token=t?module-path=/m.so&pin-source=/p", ERR_MALFORMED, "neither object nor id");
	refused("pkcs11:token=t;object=k?module-path=m.so&pin-source=/p", ERR_MALFORMED, "module-path");
	refused("pkcs11:token=t;object=k?module-path=/m.so&pin-source=file:p", ERR_MALFORMED, "pin-source");
	refused("pkcs11:token=t;object=k?module-path=/m.so&pin-value=" PIN, ERR_UNSUPPORTED, "PIN belongs elsewhere");
	refused("pkcs11:token=t;type=public;object=k?module-path=/m.so&pin-source=/p", ERR_UNSUPPORTED, "type");
	refused("pkcs11:token=t;slot-id=1;object=k?module-path=/m.so&pin-source=/p", ERR_UNSUPPORTED, "slot-id");
	refused("pkcs11:token=%zz;object=k", ERR_MALFORMED, "percent");
	refused("pkcs11:token=%4;object=k", ERR_MALFORMED, "percent");
	refused("pkcs11:token=a%00b;object=k", ERR_MALFORMED, "value");
	refused("pkcs11:token", ERR_MALFORMED, "without \"=\"");
	memset(long_uri + strlen(long_uri), 'a', 300);
	refused(long_uri, ERR_LIMIT, "longer than");
	memset(long_uri + 13, 'a', sizeof long_uri - 14);
	refused(long_uri, ERR_LIMIT, "longer than");
}

static void
pkcs11_says_what_was_not_found(void **state)
{
	EVP_PKEY *twin = key_make("P-256");
	char uri[400];

	(void)state;
	import(twin, "plant", "twin", "aa01");
	import(twin, "plant", "twin", "aa02");
	EVP_PKEY_free(twin);
	refused("pkcs11:token=t;object=k?module-path=/nowhere.so&pin-source=/p", ERR_UPSTREAM, "/nowhere.so");
	refused(uri_of("token=elsewhere;object=k", pin_file, uri), ERR_UPSTREAM, "no token \"elsewhere\"");
	refused(uri_of("token=locked;object=k", wrong_file, uri), ERR_UPSTREAM, "refuses the login");
	refused(uri_of("token=locked;object=k", open_file, uri), ERR_UPSTREAM, "chmod 600");
	refused(uri_of("token=plant;object=none", pin_file, uri), ERR_UPSTREAM, "no such private key");
	refused(uri_of("token=plant;object=twin", pin_file, uri), ERR_UPSTREAM, "more than one");
}

/* A CA whose key is in the token, and its first certificate. */
static struct ca *
token_ca(struct fixture *f, const char *what)
{
	char uri[400];
	struct ca *ca = NULL;
	struct err e = { 0 };

	f->settings.key = uri_of(what, pin_file, uri);
	if (ca_builtin.open(&f->settings, &ca, &e) != 0 || ca_builtin.check(ca, &e) != 0)
		fail_msg("%s", e.text);
	return ca;
}

static void
issue_one(struct fixture *f, struct ca *ca)
{
	struct ca_answer answer = { 0 };
	struct err e = { 0 };

	if (ca_builtin.issue(ca, &f->request, &answer, &e) != 0 ||
	    ca_verify_issued(buf_bytes(&answer.cert), &f->request, f->issuing, &e) != 0)
		fail_msg("%s", e.text);
	ca_answer_free(&answer);
}

static void
issues_by_a_key_of(const char *kind, const char *label, const char *id, const char *by_id)
{
	struct fixture *f = fixture_make(kind);
	char what[100];
	struct ca *ca;

	import(f->issuing_key, "plant", label, id);
	(void)snprintf(what, sizeof what, "token=plant;object=%s", label);
	ca = token_ca(f, what);
	issue_one(f, ca);
	ca_builtin.close(ca);
	(void)snprintf(what, sizeof what, "token=plant;id=%s;type=private", by_id);
	ca = token_ca(f, what);
	issue_one(f, ca);
	ca_builtin.close(ca);
	fixture_free(f);
}

static void
pkcs11_keys_issue_by_label_and_by_id(void **state)
{
	(void)state;
	issues_by_a_key_of("P-256", "ec-one", "0a01", "%0a%01");
	issues_by_a_key_of("RSA-2048", "rsa-one", "0b01", "%0B%01");
	issues_by_a_key_of("P-384", "ec-two", "0c01", "%0C%01");
}

static void
pkcs11_another_key_of_the_token_is_not_the_cas(void **state)
{
	struct fixture *f = fixture_make("P-256");
	EVP_PKEY *other = key_make("P-256");
	struct ca *ca = NULL;
	struct err e = { 0 };
	char uri[400];

	(void)state;
	import(other, "plant", "other", "0d01");
	f->settings.key = uri_of("token=plant;object=other", pin_file, uri);
	assert_int_equal(ca_builtin.open(&f->settings, &ca, &e), -1);
	assert_non_null(strstr(e.text, "not the issuing certificate's"));
	EVP_PKEY_free(other);
	fixture_free(f);
}

struct crowd {
	struct fixture *f;
	struct ca *ca;
	size_t failed;
};

static void *
issue_many(void *arg)
{
	struct crowd *crowd = arg;
	size_t i;

	for (i = 0; i < EACH; i++) {
		struct ca_answer answer = { 0 };
		struct err e = { 0 };

		/* issue() verifies what it signed. */
		if (ca_builtin.issue(crowd->ca, &crowd->f->request, &answer, &e) != 0)
			(void)__atomic_add_fetch(&crowd->failed, 1, __ATOMIC_SEQ_CST);
		ca_answer_free(&answer);
	}
	return NULL;
}

static void
pkcs11_many_threads_sign_with_one_key(void **state)
{
	struct crowd crowd = { .f = fixture_make("P-256") };
	pthread_t threads[THREADS];
	size_t i;

	(void)state;
	import(crowd.f->issuing_key, "plant", "busy", "0e01");
	crowd.ca = token_ca(crowd.f, "token=plant;object=busy");
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, issue_many, &crowd), 0);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(crowd.failed, 0);
	ca_builtin.close(crowd.ca);
	fixture_free(crowd.f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pkcs11_uris_are_read_by_their_rules),
		cmocka_unit_test(pkcs11_says_what_was_not_found),
		cmocka_unit_test(pkcs11_keys_issue_by_label_and_by_id),
		cmocka_unit_test(pkcs11_another_key_of_the_token_is_not_the_cas),
		cmocka_unit_test(pkcs11_many_threads_sign_with_one_key),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
