/* Keys that sign CMP messages in a process that decodes EC keys the quick way. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "gateway/ca/cmp.h"
#include "gateway/http/quickkeys.h"

/* By ASN1_item_sign(), which protects CMP messages, too. */
static bool
signs(EVP_PKEY *key)
{
	CLEANUP(X509_REQ) X509_REQ *request = X509_REQ_new();
	int len;

	assert_int_equal(X509_REQ_set_pubkey(request, key), 1);
	len = X509_REQ_sign(request, key, EVP_sha256());
	return len > 0 && X509_REQ_verify(request, key) == 1;
}

static void
quick(bool wanted)
{
	struct err e;

	if (!wanted)
		quick_keys_disable();
	else if (quick_keys_enable(&e) != 0)
		fail_msg("%s", e.text);
}

static void
cmp_key_signs_whatever_way_keys_are_decoded(void **state)
{
	static const char *const curves[] = { "P-256", "P-384" };
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof curves / sizeof curves[0]; i++) {
		CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen(curves[i]);
		CLEANUP(EVP_PKEY) EVP_PKEY *before = EVP_PKEY_dup(key);

		assert_int_equal(cmp_key_fit(&key, &e), 0);
		assert_int_equal(EVP_PKEY_eq(key, before), 1);
		assert_true(signs(key));
		quick(true);
		assert_true(signs(key));
		quick(false);
		assert_true(signs(key));
	}
}

static void
cmp_key_leaves_keys_of_other_kinds_alone(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_RSA_gen(2048);
	const EVP_PKEY *same = key;
	struct err e;

	(void)state;
	assert_int_equal(cmp_key_fit(&key, &e), 0);
	assert_ptr_equal(key, same);
	quick(true);
	assert_true(signs(key));
	quick(false);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cmp_key_signs_whatever_way_keys_are_decoded),
		cmocka_unit_test(cmp_key_leaves_keys_of_other_kinds_alone),
	};
	struct err e;

	return ossl_init(&e) != 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
