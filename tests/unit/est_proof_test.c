#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include <openssl/ec.h>
#include <openssl/rsa.h>

#include "est/csr.h"
#include "tests/unit/est_make.h"

static EVP_PKEY *p256, *p384, *rsa, *ed25519;

static int
setup(void **state)
{
	struct err e;

	(void)state;
	if (ossl_init(&e) != 0 || key_init(&e) != 0)
		return -1;
	p256 = EVP_EC_gen("P-256");
	p384 = EVP_EC_gen("P-384");
	rsa = EVP_RSA_gen(2048);
	ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	return p256 == NULL || p384 == NULL || rsa == NULL || ed25519 == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	(void)state;
	EVP_PKEY_free(p256);
	EVP_PKEY_free(p384);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ed25519);
	return 0;
}

/* A request with this key, signed by signer, saying this algorithm (a whole AlgorithmIdentifier). */
static void
make(struct buf *out, EVP_PKEY *key, EVP_PKEY *signer, struct bytes algorithm, const char *digest, int pss)
{
	struct buf spki = { 0 }, info = { 0 }, signature = { 0 };

	make_spki(&spki, key);
	make_info(&info, 0, "device-1", buf_bytes(&spki), NULL);
	make_signature(&signature, buf_bytes(&info), signer, digest, pss);
	assert_true(signature.len > 0);
	make_outer(out, buf_bytes(&info), algorithm, buf_bytes(&signature));
	buf_free(&spki);
	buf_free(&info);
	buf_free(&signature);
}

/* ERR_NONE when the request is accepted. */
static enum err_code
verdict_by(struct bytes der, enum est_csr_mode mode)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	struct err e = { 0 };

	return est_csr_parse(der, mode, &csr, &e) == 0 ? ERR_NONE : e.code;
}

static enum err_code
verdict(struct bytes der)
{
	return verdict_by(der, EST_CSR_PROVEN);
}

static enum err_code
verdict_of(EVP_PKEY *key, EVP_PKEY *signer, const char *oid, const char *digest)
{
	struct buf algorithm = { 0 }, der = { 0 };
	enum err_code code;

	make_algorithm(&algorithm, oid);
	make(&der, key, signer, buf_bytes(&algorithm), digest, -1);
	code = verdict(buf_bytes(&der));
	buf_free(&algorithm);
	buf_free(&der);
	return code;
}

static void
est_proof_accepts_each_algorithm_it_names(void **state)
{
	(void)state;
	assert_int_equal(verdict_of(p256, p256, "1.2.840.10045.4.3.2", "SHA256"), ERR_NONE);
	assert_int_equal(verdict_of(p256, p256, "1.2.840.10045.4.3.3", "SHA384"), ERR_NONE);
	assert_int_equal(verdict_of(p384, p384, "1.2.840.10045.4.3.3", "SHA384"), ERR_NONE);
	assert_int_equal(verdict_of(p384, p384, "1.2.840.10045.4.3.4", "SHA512"), ERR_NONE);
	assert_int_equal(verdict_of(rsa, rsa, "1.2.840.113549.1.1.11", "SHA256"), ERR_NONE);
	assert_int_equal(verdict_of(rsa, rsa, "1.2.840.113549.1.1.12", "SHA384"), ERR_NONE);
	assert_int_equal(verdict_of(rsa, rsa, "1.2.840.113549.1.1.13", "SHA512"), ERR_NONE);
	assert_int_equal(verdict_of(ed25519, ed25519, "1.3.101.112", NULL), ERR_NONE);
}

static void
est_proof_refuses_sha1_md5_and_unknown_algorithms(void **state)
{
	(void)state;
	assert_int_equal(verdict_of(p256, p256, "1.2.840.10045.4.1", "SHA1"), ERR_UNSUPPORTED);
	assert_int_equal(verdict_of(rsa, rsa, "1.2.840.113549.1.1.5", "SHA1"), ERR_UNSUPPORTED);
	assert_int_equal(verdict_of(rsa, rsa, "1.2.840.113549.1.1.4", "MD5"), ERR_UNSUPPORTED);
	assert_int_equal(verdict_of(rsa, rsa, "1.2.3.4", "SHA256"), ERR_UNSUPPORTED);
}

static enum err_code
legacy_verdict(EVP_PKEY *signer, const char *oid, const char *digest, enum est_csr_mode mode)
{
	struct buf algorithm = { 0 }, der = { 0 };
	enum err_code code;

	make_algorithm(&algorithm, oid);
	make(&der, rsa, signer, buf_bytes(&algorithm), digest, -1);
	code = verdict_by(buf_bytes(&der), mode);
	buf_free(&algorithm);
	buf_free(&der);
	return code;
}

static void
est_proof_takes_sha1_and_md5_where_the_caller_says_so(void **state)
{
	EVP_PKEY *stranger = EVP_RSA_gen(2048);

	(void)state;
	assert_int_equal(legacy_verdict(rsa, "1.2.840.113549.1.1.5", "SHA1", EST_CSR_PROVEN_SHA1), ERR_NONE);
	assert_int_equal(legacy_verdict(rsa, "1.2.840.113549.1.1.4", "MD5", EST_CSR_PROVEN_SHA1), ERR_UNSUPPORTED);
	assert_int_equal(legacy_verdict(rsa, "1.2.840.113549.1.1.5", "SHA1", EST_CSR_PROVEN_MD5), ERR_NONE);
	assert_int_equal(legacy_verdict(rsa, "1.2.840.113549.1.1.4", "MD5", EST_CSR_PROVEN_MD5), ERR_NONE);
	assert_int_equal(legacy_verdict(rsa, "1.2.840.113549.1.1.11", "SHA256", EST_CSR_PROVEN_MD5), ERR_NONE);
	assert_int_equal(legacy_verdict(stranger, "1.2.840.113549.1.1.5", "SHA1", EST_CSR_PROVEN_MD5), ERR_UNAUTHENTIC);
	EVP_PKEY_free(stranger);
}

static void
est_proof_refuses_another_keys_signature(void **state)
{
	EVP_PKEY *stranger = EVP_EC_gen("P-256");

	(void)state;
	assert_int_equal(verdict_of(p256, stranger, "1.2.840.10045.4.3.2", "SHA256"), ERR_UNAUTHENTIC);
	EVP_PKEY_free(stranger);
}

static void
est_proof_refuses_an_algorithm_of_another_kind_than_the_key(void **state)
{
	(void)state;
	assert_int_equal(verdict_of(p256, rsa, "1.2.840.113549.1.1.11", "SHA256"), ERR_UNAUTHENTIC);
	assert_int_equal(verdict_of(rsa, p256, "1.2.840.10045.4.3.2", "SHA256"), ERR_UNAUTHENTIC);
	assert_int_equal(verdict_of(ed25519, p256, "1.2.840.10045.4.3.2", "SHA256"), ERR_UNAUTHENTIC);
	assert_int_equal(verdict_of(p256, ed25519, "1.3.101.112", NULL), ERR_UNAUTHENTIC);
}

static void
est_proof_refuses_a_digest_other_than_the_one_named(void **state)
{
	(void)state;
	assert_int_equal(verdict_of(p256, p256, "1.2.840.10045.4.3.3", "SHA256"), ERR_UNAUTHENTIC);
	assert_int_equal(verdict_of(rsa, rsa, "1.2.840.113549.1.1.12", "SHA256"), ERR_UNAUTHENTIC);
}

/* Flips each octet of what is signed; the ones inside the key may already fail to decode. */
static void
est_proof_notices_any_changed_octet(void **state)
{
	struct buf der = { 0 };
	size_t i;

	(void)state;
	make_request(&der, p256, NULL);
	assert_int_equal(verdict(buf_bytes(&der)), ERR_NONE);
	for (i = 0; i < der.len; i++) {
		der.at[i] ^= 0x01;
		assert_int_not_equal(verdict(buf_bytes(&der)), ERR_NONE);
		der.at[i] ^= 0x01;
	}
	buf_free(&der);
}

static void
est_proof_takes_null_parameters_and_refuses_others(void **state)
{
	struct buf algorithm = { 0 }, der = { 0 };
	size_t mark = der_begin(&algorithm, DER_SEQUENCE);

	(void)state;
	der_put_oid(&algorithm, "1.2.840.113549.1.1.11");
	der_put(&algorithm, 0x05, bytes_of(NULL, 0));
	der_end(&algorithm, mark);
	make(&der, rsa, rsa, buf_bytes(&algorithm), "SHA256", -1);
	assert_int_equal(verdict(buf_bytes(&der)), ERR_NONE);

	buf_clear(&algorithm);
	buf_clear(&der);
	mark = der_begin(&algorithm, DER_SEQUENCE);
	der_put_oid(&algorithm, "1.2.840.113549.1.1.11");
	der_put(&algorithm, DER_OCTET_STRING, bytes_of_text("x"));
	der_end(&algorithm, mark);
	make(&der, rsa, rsa, buf_bytes(&algorithm), "SHA256", -1);
	assert_int_equal(verdict(buf_bytes(&der)), ERR_MALFORMED);
	buf_free(&algorithm);
	buf_free(&der);
}

static void
put_digest(struct buf *out, const char *oid)
{
	size_t mark = der_begin(out, DER_SEQUENCE);

	der_put_oid(out, oid);
	der_put(out, 0x05, bytes_of(NULL, 0));
	der_end(out, mark);
}

/* RSASSA-PSS-params (RFC 4055, section 3.1); salt < 0 leaves the salt length out. */
static void
put_pss(struct buf *out, const char *hash, const char *mask_hash, int salt)
{
	size_t algorithm = der_begin(out, DER_SEQUENCE), params, field, mask;
	uint8_t octet = (uint8_t)salt;

	der_put_oid(out, "1.2.840.113549.1.1.10");
	params = der_begin(out, DER_SEQUENCE);
	field = der_begin(out, DER_CONTEXT_CONS(0));
	put_digest(out, hash);
	der_end(out, field);
	field = der_begin(out, DER_CONTEXT_CONS(1));
	mask = der_begin(out, DER_SEQUENCE);
	der_put_oid(out, "1.2.840.113549.1.1.8");
	put_digest(out, mask_hash);
	der_end(out, mask);
	der_end(out, field);
	if (salt >= 0) {
		field = der_begin(out, DER_CONTEXT_CONS(2));
		der_put_integer(out, bytes_of(&octet, 1));
		der_end(out, field);
	}
	der_end(out, params);
	der_end(out, algorithm);
}

static enum err_code
pss_verdict(const char *hash, const char *mask_hash, int salt, const char *digest)
{
	struct buf algorithm = { 0 }, der = { 0 };
	enum err_code code;

	put_pss(&algorithm, hash, mask_hash, salt);
	make(&der, rsa, rsa, buf_bytes(&algorithm), digest, 1);
	code = verdict(buf_bytes(&der));
	buf_free(&algorithm);
	buf_free(&der);
	return code;
}

static void
est_proof_verifies_pss_with_sha2_only(void **state)
{
	static const char sha1_oid[] = "1.3.14.3.2.26", sha256_oid[] = "2.16.840.1.101.3.4.2.1",
			  sha512_oid[] = "2.16.840.1.101.3.4.2.3";

	(void)state;
	assert_int_equal(pss_verdict(sha256_oid, sha256_oid, 32, "SHA256"), ERR_NONE);
	assert_int_equal(pss_verdict(sha512_oid, sha512_oid, 64, "SHA512"), ERR_NONE);
	assert_int_equal(pss_verdict(sha256_oid, sha256_oid, -1, "SHA256"), ERR_UNAUTHENTIC);
	assert_int_equal(pss_verdict(sha256_oid, sha512_oid, 32, "SHA256"), ERR_UNAUTHENTIC);
	assert_int_equal(pss_verdict(sha1_oid, sha1_oid, 20, "SHA1"), ERR_UNSUPPORTED);
	assert_int_equal(pss_verdict(sha256_oid, sha1_oid, 32, "SHA256"), ERR_UNSUPPORTED);
}

static void
est_proof_refuses_pss_without_parameters(void **state)
{
	(void)state;
	assert_int_equal(verdict_of(rsa, rsa, "1.2.840.113549.1.1.10", "SHA256"), ERR_MALFORMED);
}

static void
est_proof_refuses_small_rsa_keys(void **state)
{
	EVP_PKEY *small = EVP_RSA_gen(768);

	(void)state;
	assert_non_null(small);
	assert_int_equal(verdict_of(small, small, "1.2.840.113549.1.1.11", "SHA256"), ERR_UNSUPPORTED);
	EVP_PKEY_free(small);
}

static void
est_proof_refuses_signatures_with_unused_bits(void **state)
{
	struct buf der = { 0 };
	size_t i;

	(void)state;
	make_request(&der, p256, NULL);
	/* The signature is the last BIT STRING: 03 len 00 30 ... */
	for (i = der.len - 80; i < der.len - 60; i++)
		if (der.at[i] == 0x03 && der.at[i + 1] == der.len - i - 2 && der.at[i + 2] == 0x00)
			break;
	assert_true(i < der.len - 60);
	der.at[i + 2] = 1;
	der.at[der.len - 1] &= 0xfe;
	assert_int_equal(verdict(buf_bytes(&der)), ERR_MALFORMED);
	buf_free(&der);
}

/* A key that is at hand spares nothing but time, and another's proves nothing. */
static void
a_known_key_proves_only_its_own_request(void **state)
{
	EVP_PKEY *stranger = EVP_RSA_gen(2048), *signers[] = { rsa, stranger };
	CLEANUP(buf) struct buf algorithm = { 0 };
	CLEANUP(buf) struct buf spki = { 0 };
	CLEANUP(rsa_public) struct rsa_public *known = NULL;
	size_t i, k;

	(void)state;
	make_spki(&spki, rsa);
	known = rsa_public_new(buf_bytes(&spki));
	assert_non_null(known);
	make_algorithm(&algorithm, "1.2.840.113549.1.1.11");
	for (i = 0; i < 2; i++)
		for (k = 0; k < 2; k++) {
			CLEANUP(est_csr) struct est_csr *csr = NULL;
			CLEANUP(buf) struct buf der = { 0 };
			struct err e;

			make(&der, signers[i], signers[k], buf_bytes(&algorithm), "SHA256", -1);
			assert_int_equal(est_csr_parse_known(buf_bytes(&der), EST_CSR_PROVEN, known, &csr, &e), i == k ? 0 : -1);
			assert_true(i == k || e.code == ERR_UNAUTHENTIC);
			assert_true(csr == NULL || (csr->facts.kind == KEY_RSA && csr->facts.bits == 2048));
		}
	EVP_PKEY_free(stranger);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_known_key_proves_only_its_own_request),
		cmocka_unit_test(est_proof_accepts_each_algorithm_it_names),
		cmocka_unit_test(est_proof_refuses_sha1_md5_and_unknown_algorithms),
		cmocka_unit_test(est_proof_takes_sha1_and_md5_where_the_caller_says_so),
		cmocka_unit_test(est_proof_refuses_another_keys_signature),
		cmocka_unit_test(est_proof_refuses_an_algorithm_of_another_kind_than_the_key),
		cmocka_unit_test(est_proof_refuses_a_digest_other_than_the_one_named),
		cmocka_unit_test(est_proof_notices_any_changed_octet),
		cmocka_unit_test(est_proof_takes_null_parameters_and_refuses_others),
		cmocka_unit_test(est_proof_verifies_pss_with_sha2_only),
		cmocka_unit_test(est_proof_refuses_pss_without_parameters),
		cmocka_unit_test(est_proof_refuses_small_rsa_keys),
		cmocka_unit_test(est_proof_refuses_signatures_with_unused_bits),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
