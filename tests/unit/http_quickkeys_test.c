#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <openssl/ec.h>

#include "base/key.h"
#include "gateway/ca/stepca_token.h"
#include "gateway/http/quickkeys.h"
#include "policy/attest/credential.h"
#include "policy/attest/spki.h"

static void
quick_keys_are_legacy_keys_that_equal_the_usual_ones(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen("P-256");
	CLEANUP(EVP_PKEY) EVP_PKEY *quick = NULL;
	CLEANUP(EVP_PKEY) EVP_PKEY *usual = NULL;
	CLEANUP(EVP_PKEY) EVP_PKEY *copied = NULL;
	struct key_facts facts;
	uint8_t spki[128], *end = spki;
	const uint8_t *p = spki;
	struct err e;
	int len;

	(void)state;
	assert_int_equal(key_init(&e), 0);
	len = i2d_PUBKEY(key, &end);
	assert_int_equal(quick_keys_enable(&e), 0);
	assert_int_equal(quick_keys_enable(&e), 0);
	quick = d2i_PUBKEY(NULL, &p, len);
	assert_non_null(quick);
	assert_null(EVP_PKEY_get0_provider(quick));
	key_facts_of(quick, &facts);
	assert_int_equal(facts.kind, KEY_EC_P256);
	assert_int_equal(key_from_spki(bytes_of(spki, (size_t)len), &copied, &facts, &e), 0);
	assert_int_equal(EVP_PKEY_eq(quick, copied), 1);
	quick_keys_disable();
	quick_keys_disable();
	p = spki;
	usual = d2i_PUBKEY(NULL, &p, len);
	assert_non_null(usual);
	assert_non_null(EVP_PKEY_get0_provider(usual));
	assert_int_equal(EVP_PKEY_eq(quick, usual), 1);
}

/* A point that is not on its curve: same length, last octet changed. */
static void
quick_keys_are_refused_off_their_curve(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen("P-256");
	CLEANUP(EVP_PKEY) EVP_PKEY *bad = NULL;
	uint8_t spki[128], *end = spki;
	const uint8_t *p = spki;
	struct err e;
	int len;

	(void)state;
	len = i2d_PUBKEY(key, &end);
	spki[len - 1] ^= 1;
	assert_int_equal(quick_keys_enable(&e), 0);
	bad = d2i_PUBKEY(NULL, &p, len);
	assert_null(bad);
	quick_keys_disable();
}

/* An endorsement key that was decoded the quick way: what is made for it needs its point. */
static void
quick_keys_can_be_taken_apart_and_answered(void **state)
{
	static const uint8_t secret[CREDENTIAL_SECRET_LEN] = { 7 };
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen("P-256");
	CLEANUP(EVP_PKEY) EVP_PKEY *quick = NULL;
	CLEANUP(buf) struct buf blob = { 0 };
	CLEANUP(buf) struct buf encrypted = { 0 };
	CLEANUP(buf) struct buf again = { 0 };
	uint8_t spki[128], name[34] = { 0, 0x0b }, *end = spki;
	const uint8_t *p = spki;
	struct err e = { 0 };
	int len, good;

	(void)state;
	len = i2d_PUBKEY(key, &end);
	assert_int_equal(quick_keys_enable(&e), 0);
	quick = d2i_PUBKEY(NULL, &p, len);
	good = spki_put_key(&again, quick, &e) == 0 &&
		tpm_make_credential(quick, bytes_of(name, sizeof name), secret, &blob, &encrypted, &e) == 0;
	quick_keys_disable();
	if (!good)
		fail_msg("%s", e.text);
	assert_true(bytes_equal(buf_bytes(&again), bytes_of(spki, (size_t)len)));
	assert_true(blob.len != 0 && encrypted.len != 0);
}

static void
quick_keys_have_the_thumbprint_of_the_usual_ones(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *quick = NULL;
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	struct stepca_signer usual = { .key = NULL }, signer = { .key = NULL };
	uint8_t der[256], *end = der;
	const uint8_t *p = der;
	struct err e = { 0 };
	int len, result;

	(void)state;
	assert_int_equal(quick_keys_enable(&e), 0);
	quick = EVP_EC_gen(SN_X9_62_prime256v1);
	assert_non_null(quick);
	assert_null(EVP_PKEY_get0_provider(quick));
	result = stepca_signer_init(&signer, quick, NULL, &e);
	quick_keys_disable();
	if (result != 0)
		fail_msg("%s", e.text);
	len = i2d_PrivateKey(quick, &end);
	key = d2i_AutoPrivateKey(NULL, &p, len);
	assert_non_null(key);
	assert_int_equal(stepca_signer_init(&usual, key, NULL, &e), 0);
	assert_string_equal(signer.kid, usual.kid);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quick_keys_are_legacy_keys_that_equal_the_usual_ones),
		cmocka_unit_test(quick_keys_are_refused_off_their_curve),
		cmocka_unit_test(quick_keys_can_be_taken_apart_and_answered),
		cmocka_unit_test(quick_keys_have_the_thumbprint_of_the_usual_ones),
	};
	struct err e;

	if (ossl_init(&e) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
