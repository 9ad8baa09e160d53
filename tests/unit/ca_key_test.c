#define _GNU_SOURCE
#include "tests/unit/ca_fixture.h"

struct place {
	char dir[64];
	char path[128];
	EVP_PKEY *key;
};

static int
place_setup(void **state)
{
	struct place *p = calloc(1, sizeof *p);
	struct err e;

	assert_non_null(p);
	assert_int_equal(ossl_init(&e), 0);
	strcpy(p->dir, "/tmp/key-test-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	assert_true(snprintf(p->path, sizeof p->path, "%s/ca.key", p->dir) < (int)sizeof p->path);
	p->key = key_make("P-256");
	key_write(p->path, p->key);
	*state = p;
	return 0;
}

static int
place_teardown(void **state)
{
	struct place *p = *state;

	(void)remove(p->path);
	assert_int_equal(rmdir(p->dir), 0);
	EVP_PKEY_free(p->key);
	free(p);
	return 0;
}

static void
assert_opens(const char *uri, EVP_PKEY *wanted)
{
	EVP_PKEY *key = NULL;
	struct err e = { 0 };

	if (key_open(uri, &key, &e) != 0)
		fail_msg("%s", e.text);
	assert_int_equal(EVP_PKEY_eq(key, wanted), 1);
	EVP_PKEY_free(key);
}

static void
assert_refused(const char *uri, enum err_code code, const char *part)
{
	EVP_PKEY *key = NULL;
	struct err e = { 0 };

	assert_failed(key_open(uri, &key, &e), &e, code, part);
	assert_null(key);
}

static void
text_write(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void
key_open_takes_a_path_and_both_forms_of_file_uri(void **state)
{
	struct place *p = *state;
	char uri[160];

	assert_opens(p->path, p->key);
	(void)snprintf(uri, sizeof uri, "file:%s", p->path);
	assert_opens(uri, p->key);
	(void)snprintf(uri, sizeof uri, "file://%s", p->path);
	assert_opens(uri, p->key);
}

static void
key_open_takes_credentials_and_variables(void **state)
{
	struct place *p = *state;
	BIO *out = BIO_new(BIO_s_mem());
	char *pem = NULL, cut[64];

	assert_int_equal(PEM_write_bio_PrivateKey(out, p->key, NULL, NULL, 0, NULL, NULL), 1);
	assert_true(BIO_write(out, "", 1) == 1 && BIO_get_mem_data(out, &pem) > 64);
	assert_int_equal(setenv("KEY_TEST", pem, 1), 0);
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", p->dir, 1), 0);
	assert_opens("env:KEY_TEST", p->key);
	assert_opens("credential:ca.key", p->key);
	assert_refused("credential:other.key", ERR_UPSTREAM, "cannot be opened");
	(void)snprintf(cut, sizeof cut, "%s", pem);
	assert_int_equal(setenv("KEY_TEST", cut, 1), 0);
	assert_refused("env:KEY_TEST", ERR_UPSTREAM, "env:KEY_TEST holds no PEM private key");
	assert_int_equal(unsetenv("KEY_TEST"), 0);
	assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
	assert_refused("env:KEY_TEST", ERR_UPSTREAM, "no such variable");
	assert_refused("credential:ca.key", ERR_UPSTREAM, "LoadCredential=ca.key:");
	BIO_free(out);
}

static void
key_open_reads_traditional_keys(void **state)
{
	static const char parameters[] =
		"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
	struct place *p = *state;
	EVP_PKEY *rsa = key_make("RSA-2048");
	BIO *out = BIO_new_file(p->path, "w");

	/* "openssl ecparam -genkey" puts the parameters before the key. */
	assert_true(BIO_puts(out, parameters) > 0);
	assert_int_equal(PEM_write_bio_PrivateKey_traditional(out, p->key, NULL, NULL, 0, NULL, NULL), 1);
	BIO_free(out);
	assert_opens(p->path, p->key);
	out = BIO_new_file(p->path, "w");
	assert_int_equal(PEM_write_bio_PrivateKey_traditional(out, rsa, NULL, NULL, 0, NULL, NULL), 1);
	BIO_free(out);
	assert_opens(p->path, rsa);
	EVP_PKEY_free(rsa);
}

static void
key_open_refuses_a_file_others_may_read_and_says_what_to_do(void **state)
{
	static const mode_t bad[] = { 0640, 0604, 0620, 0602, 0610, 0601 };
	struct place *p = *state;
	char wanted[160];
	size_t i;

	(void)snprintf(wanted, sizeof wanted, "chmod 600 %s", p->path);
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(chmod(p->path, bad[i]), 0);
		assert_refused(p->path, ERR_UPSTREAM, wanted);
	}
	assert_int_equal(chmod(p->path, 0400), 0);
	assert_opens(p->path, p->key);
}

static void
key_open_refuses_another_users_file(void **state)
{
	struct place *p = *state;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chown(p->path, 12345, 0), 0);
	assert_refused(p->path, ERR_UPSTREAM, "belongs to user 12345");
}

static void
key_open_refuses_what_is_not_a_regular_file(void **state)
{
	struct place *p = *state;
	char link[160];

	assert_refused(p->dir, ERR_UPSTREAM, "not a regular file");
	(void)snprintf(link, sizeof link, "%s/link", p->dir);
	assert_int_equal(symlink(p->path, link), 0);
	assert_refused(link, ERR_UPSTREAM, "symbolic link");
	assert_int_equal(unlink(link), 0);
	assert_int_equal(mkfifo(link, 0600), 0);
	assert_refused(link, ERR_UPSTREAM, "not a regular file");
	assert_int_equal(unlink(link), 0);
	assert_refused(link, ERR_UPSTREAM, "cannot be opened: No such file");
}

static void
key_open_never_asks_for_a_passphrase(void **state)
{
	struct place *p = *state;
	FILE *file = fopen(p->path, "w");
	BIO *out;

	assert_int_equal(PEM_write_PKCS8PrivateKey(file, p->key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL), 1);
	assert_int_equal(fclose(file), 0);
	assert_refused(p->path, ERR_UPSTREAM, "is encrypted");
	out = BIO_new_file(p->path, "w");
	assert_int_equal(PEM_write_bio_PrivateKey_traditional(out, p->key, EVP_aes_128_cbc(),
		(const unsigned char *)"secret", 6, NULL, NULL), 1);
	BIO_free(out);
	assert_refused(p->path, ERR_UPSTREAM, "is encrypted");
}

static void
key_open_refuses_a_file_without_a_private_key(void **state)
{
	struct place *p = *state;
	FILE *file = fopen(p->path, "w");
	char *big = calloc(1, 70001);

	assert_int_equal(PEM_write_PUBKEY(file, p->key), 1);
	assert_int_equal(fclose(file), 0);
	assert_refused(p->path, ERR_UPSTREAM, "no PEM private key");
	text_write(p->path, "");
	assert_refused(p->path, ERR_UPSTREAM, "is empty");
	text_write(p->path, "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n");
	assert_refused(p->path, ERR_UPSTREAM, "no PEM private key");
	memset(big, 'A', 70000);
	text_write(p->path, big);
	assert_refused(p->path, ERR_UPSTREAM, "longer than");
	free(big);
}

static void
key_open_refuses_schemes_it_does_not_have(void **state)
{
	(void)state;
	assert_refused("tpm2:0x81000001", ERR_UNSUPPORTED, "\"tpm2:\" are not supported");
	assert_refused("file://host/ca.key", ERR_UNSUPPORTED, "names a host");
	assert_refused("file:", ERR_MALFORMED, "names no file");
	assert_refused("", ERR_MALFORMED, "names no file");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(key_open_takes_a_path_and_both_forms_of_file_uri),
		TEST(key_open_takes_credentials_and_variables),
		TEST(key_open_reads_traditional_keys),
		TEST(key_open_refuses_a_file_others_may_read_and_says_what_to_do),
		TEST(key_open_refuses_another_users_file),
		TEST(key_open_refuses_what_is_not_a_regular_file),
		TEST(key_open_never_asks_for_a_passphrase),
		TEST(key_open_refuses_a_file_without_a_private_key),
		cmocka_unit_test(key_open_refuses_schemes_it_does_not_have),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
