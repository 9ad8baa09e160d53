/* Single DES is there for those who ask for it in so many words, and for nobody else. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <openssl/provider.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scep/read.h"
#include "tests/unit/scep_make.h"

/* In a process of its own, because scep_init() works once. The result is what it returns. */
static int
elsewhere(int (*run)(void))
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(run());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static bool
fetches(const char *cipher)
{
	EVP_CIPHER *fetched = EVP_CIPHER_fetch(NULL, cipher, NULL);

	EVP_CIPHER_free(fetched);
	return fetched != NULL;
}

static int
try_isolation(void)
{
	struct err e;

	if (ossl_init(&e) != 0 || scep_init(&e) != 0 || scep_cipher(SCEP_DES) == NULL)
		return 1;
	if (fetches("DES-CBC") || fetches("RC4") || !fetches("AES-128-CBC"))
		return 2;
	if (OSSL_PROVIDER_available(NULL, "legacy") != 0 || OSSL_PROVIDER_available(NULL, "default") != 1)
		return 3;
	return 0;
}

static void
scep_init_hides_des_from_the_rest_of_the_process(void **state)
{
	(void)state;
	assert_int_equal(elsewhere(try_isolation), 0);
}

/* A DES message when there is no DES: refused as an algorithm, and nothing else is. */
static int
try_without(void)
{
	static const struct {
		const char *cipher;
		int verified;
	} ways[] = { { OID_DES, -1 }, { OID_3DES, 0 } };
	struct err e = { 0 };
	size_t i;
	EVP_PKEY *key;
	X509 *cert;

	if (setenv("OPENSSL_MODULES", "/nonexistent", 1) != 0 || ossl_init(&e) != 0)
		return 1;
	if (scep_init(&e) != -1 || e.code != ERR_UNSUPPORTED || scep_cipher(SCEP_DES) != NULL)
		return 2;
	if (scep_init(&e) != -1 || e.code != ERR_UNSUPPORTED)
		return 3;
	key = EVP_RSA_gen(2048);
	cert = make_cert(key, "x", key, "x", 8, 2);
	for (i = 0; i < 2; i++) {
		struct make_envelope inside = { .cert = cert, .cipher_oid = ways[i].cipher,
			.iv = bytes_of_text("12345678") };
		struct scep_message *message = NULL;
		enum scep_fail fail = SCEP_BAD_TIME;
		struct buf der = { 0 };
		struct make m;

		make_start(&m, key, cert, "19");
		make_enveloped(&inside, bytes_of_text("contents"), &m.content);
		make_message(&m, &der);
		if (scep_message_parse(buf_bytes(&der), &message, &e) != 0)
			return 4;
		if (scep_message_verify(message, SCEP_SHA256 | SCEP_DES | SCEP_3DES, &fail, &e) != ways[i].verified)
			return 5;
		if (ways[i].verified != 0 && (fail != SCEP_BAD_ALG || e.code != ERR_UNSUPPORTED))
			return 6;
		scep_message_free(message);
		make_free(&m);
		buf_free(&der);
	}
	X509_free(cert);
	EVP_PKEY_free(key);
	return 0;
}

static void
scep_init_without_the_legacy_provider_says_so_and_refuses_des_alone(void **state)
{
	(void)state;
	assert_int_equal(elsewhere(try_without), 0);
}

static int
try_twice(void)
{
	struct err e;
	const EVP_CIPHER *first;

	if (ossl_init(&e) != 0 || scep_init(&e) != 0)
		return 1;
	first = scep_cipher(SCEP_AES128);
	return scep_init(&e) != 0 || scep_cipher(SCEP_AES128) != first || first == NULL;
}

static void
scep_init_may_be_called_again(void **state)
{
	(void)state;
	assert_int_equal(elsewhere(try_twice), 0);
}

static int
try_lookups(void)
{
	struct err e;

	if (ossl_init(&e) != 0 || scep_init(&e) != 0)
		return 1;
	if (scep_digest(0) != NULL || scep_digest(SCEP_SHA1 | SCEP_MD5) != NULL || scep_digest(SCEP_DES) != NULL)
		return 2;
	if (scep_cipher(0) != NULL || scep_cipher(SCEP_DES | SCEP_3DES) != NULL || scep_cipher(SCEP_SHA1) != NULL)
		return 3;
	return EVP_MD_get_size(scep_digest(SCEP_MD5)) != 16 || EVP_CIPHER_get_key_length(scep_cipher(SCEP_DES)) != 8;
}

static void
scep_init_knows_single_bits_only(void **state)
{
	(void)state;
	assert_int_equal(elsewhere(try_lookups), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scep_init_hides_des_from_the_rest_of_the_process),
		cmocka_unit_test(scep_init_without_the_legacy_provider_says_so_and_refuses_des_alone),
		cmocka_unit_test(scep_init_may_be_called_again),
		cmocka_unit_test(scep_init_knows_single_bits_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
