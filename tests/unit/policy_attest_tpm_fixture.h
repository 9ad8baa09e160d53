/*
 * policy_attest_tpm_fixture.h - TPM evidence as a TPM writes it, by software keys, every field open to lies.
 */
#ifndef TESTS_UNIT_POLICY_ATTEST_TPM_FIXTURE_H
#define TESTS_UNIT_POLICY_ATTEST_TPM_FIXTURE_H

#include "policy_attest_certs.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>

#include "policy/attest/credential.h"
#include "policy/attest/tpm_wire.h"

#define KEY_ATTRIBUTES (TPM_ATTR_FIXED_TPM | TPM_ATTR_FIXED_PARENT | TPM_ATTR_SENSITIVE_DATA_ORIGIN | \
	TPM_ATTR_USER_WITH_AUTH | TPM_ATTR_SIGN)
#define AK_ATTRIBUTES (KEY_ATTRIBUTES | TPM_ATTR_RESTRICTED)
#define EKU_OF_AK "2.23.133.8.3"

static const uint8_t good_nonce[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };

struct tpm_scene {
	/* What the TPM and its maker have. */
	EVP_PKEY *root_key, *ak, *key;
	X509 *root, *ak_cert;
	/* How the statement is made; changed by tests. */
	uint32_t key_attributes, ak_attributes, magic;
	uint16_t type, name_alg, scheme, hash;
	struct bytes nonce;
	EVP_PKEY *named;           /* the key that the name is of; NULL: key */
	EVP_PKEY *signer;          /* NULL: ak */
	bool with_cert, with_ak;
	/* Made of it. */
	struct buf attest, signature, area, ak_area, stmt, ak_stmt, cert, bundle, spki;
	struct evidence evidence;
	/* The verifier's side. */
	struct attest_settings settings;
	struct attest_input in;
	struct attest_ak bound;    /* what find_ak tells; found by its own hash */
	size_t asked;              /* how often for a nonce */
};

static inline void
put_number(struct buf *b, EVP_PKEY *key, const char *name)
{
	BIGNUM *number = NULL;
	uint8_t octets[512];
	int len;

	assert_int_equal(EVP_PKEY_get_bn_param(key, name, &number), 1);
	len = EVP_PKEY_is_a(key, "RSA") ? BN_num_bytes(number) : (EVP_PKEY_get_bits(key) + 7) / 8;
	assert_int_equal(BN_bn2binpad(number, octets, len), len);
	tpm_put_sized(b, bytes_of(octets, (size_t)len));
	BN_free(number);
}

/* TPMT_PUBLIC; a restricted key has a scheme. */
static inline void
put_public(struct buf *b, EVP_PKEY *key, uint16_t name_alg, uint32_t attributes)
{
	bool is_rsa = EVP_PKEY_is_a(key, "RSA"), has_scheme = (attributes & TPM_ATTR_RESTRICTED) != 0;

	buf_clear(b);
	tpm_put_u16(b, is_rsa ? TPM_ALG_RSA : TPM_ALG_ECC);
	tpm_put_u16(b, name_alg);
	tpm_put_u32(b, attributes);
	tpm_put_u16(b, 0);
	tpm_put_u16(b, TPM_ALG_NULL);
	tpm_put_u16(b, has_scheme ? (is_rsa ? TPM_ALG_RSASSA : TPM_ALG_ECDSA) : TPM_ALG_NULL);
	if (has_scheme)
		tpm_put_u16(b, TPM_ALG_SHA256);
	if (is_rsa) {
		tpm_put_u16(b, (uint16_t)EVP_PKEY_get_bits(key));
		tpm_put_u32(b, 0);
		put_number(b, key, OSSL_PKEY_PARAM_RSA_N);
		return;
	}
	tpm_put_u16(b, EVP_PKEY_get_bits(key) == 256 ? TPM_CURVE_P256 : TPM_CURVE_P384);
	tpm_put_u16(b, TPM_ALG_NULL);
	put_number(b, key, OSSL_PKEY_PARAM_EC_PUB_X);
	put_number(b, key, OSSL_PKEY_PARAM_EC_PUB_Y);
}

static inline void
put_name(struct buf *b, struct bytes area, uint16_t name_alg)
{
	uint8_t name[TPM_NAME_MAX];
	struct err e;
	size_t len;

	assert_int_equal(tpm_name_of(name_alg, area, name, &len, &e), 0);
	tpm_put_sized(b, bytes_of(name, len));
}

static inline void
put_attest(struct tpm_scene *s)
{
	CLEANUP(buf) struct buf other = { 0 };
	static const uint8_t creation_hash[32] = { 0xc0 };
	struct buf *b = &s->attest;

	buf_clear(b);
	tpm_put_u32(b, s->magic);
	tpm_put_u16(b, s->type);
	put_name(b, buf_bytes(&s->ak_area), TPM_ALG_SHA256);
	tpm_put_sized(b, s->nonce);
	tpm_put_u32(b, 0);
	tpm_put_u32(b, 123456); /* clock */
	tpm_put_u32(b, 7);      /* resets */
	tpm_put_u32(b, 3);      /* restarts */
	buf_append_u8(b, 1);
	tpm_put_u32(b, 0x20191023);
	tpm_put_u32(b, 0x00163636);
	if (s->named != NULL)
		put_public(&other, s->named, s->name_alg, s->key_attributes);
	put_name(b, s->named != NULL ? buf_bytes(&other) : buf_bytes(&s->area), s->name_alg);
	if (s->type == TPM_ST_CREATION)
		tpm_put_sized(b, bytes_of(creation_hash, sizeof creation_hash));
	else
		put_name(b, buf_bytes(&s->area), s->name_alg);
}

static inline void
put_rsa_or_ecdsa(struct buf *b, uint16_t scheme, const uint8_t *octets, size_t len)
{
	const ECDSA_SIG *parts;
	uint8_t number[48];
	ECDSA_SIG *sig;
	int i;

	if (scheme != TPM_ALG_ECDSA) {
		tpm_put_sized(b, bytes_of(octets, len));
		return;
	}
	sig = d2i_ECDSA_SIG(NULL, &octets, (long)len);
	assert_non_null(sig);
	parts = sig;
	for (i = 0; i < 2; i++) {
		const BIGNUM *n = i == 0 ? ECDSA_SIG_get0_r(parts) : ECDSA_SIG_get0_s(parts);

		tpm_put_sized(b, bytes_of(number, (size_t)BN_bn2bin(n, number)));
	}
	ECDSA_SIG_free(sig);
}

/* TPMT_SIGNATURE over what is in attest now. */
static inline void
put_signature(struct tpm_scene *s)
{
	CLEANUP(EVP_MD_CTX) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	const EVP_MD *md = s->hash == 0x0004 ? EVP_sha1() : tpm_hash(s->hash);
	EVP_PKEY *signer = s->signer == NULL ? s->ak : s->signer;
	EVP_PKEY_CTX *key_ctx = NULL;
	uint8_t octets[600];
	size_t len = sizeof octets;

	assert_int_equal(EVP_DigestSignInit(ctx, &key_ctx, md, NULL, signer), 1);
	if (s->scheme == TPM_ALG_RSAPSS)
		assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(key_ctx, RSA_PKCS1_PSS_PADDING), 1);
	assert_int_equal(EVP_DigestSign(ctx, octets, &len, s->attest.at, s->attest.len), 1);
	buf_clear(&s->signature);
	tpm_put_u16(&s->signature, s->scheme);
	tpm_put_u16(&s->signature, s->hash);
	put_rsa_or_ecdsa(&s->signature, s->scheme, octets, len);
}

/* The bundle from the parts as they are now, encoded and parsed again. */
static inline void
tpm_scene_wrap(struct tpm_scene *s)
{
	struct evidence_tpm tpm = { buf_bytes(&s->attest), buf_bytes(&s->signature), buf_bytes(&s->area) };
	struct evidence evidence = { .statement_count = 1 };
	struct err e;

	buf_clear(&s->stmt);
	buf_clear(&s->ak_stmt);
	buf_clear(&s->bundle);
	assert_int_equal(evidence_tpm_encode(&tpm, &s->stmt, &e), 0);
	(void)strcpy(evidence.statements[0].type, EVIDENCE_TPM_CERTIFY);
	evidence.statements[0].stmt = buf_bytes(&s->stmt);
	if (s->with_ak) {
		assert_int_equal(evidence_tpm_ak_encode(buf_bytes(&s->ak_area), &s->ak_stmt, &e), 0);
		(void)strcpy(evidence.statements[1].type, EVIDENCE_TPM_AK);
		evidence.statements[1].stmt = buf_bytes(&s->ak_stmt);
		evidence.statement_count = 2;
	}
	if (s->with_cert)
		evidence.certs[evidence.cert_count++] = cert_der(s->ak_cert, &s->cert);
	assert_int_equal(evidence_encode(&evidence, &s->bundle, &e), 0);
	assert_int_equal(evidence_parse(buf_bytes(&s->bundle), &s->evidence, &e), 0);
}

static inline void
tpm_scene_make(struct tpm_scene *s)
{
	put_public(&s->area, s->key, s->name_alg, s->key_attributes);
	put_public(&s->ak_area, s->ak, TPM_ALG_SHA256, s->ak_attributes);
	put_attest(s);
	put_signature(s);
	tpm_scene_wrap(s);
}

static inline bool
scene_is_nonce(void *arg, struct bytes nonce)
{
	struct tpm_scene *s = arg;

	s->asked++;
	return bytes_equal(nonce, bytes_of(good_nonce, sizeof good_nonce));
}

static inline int
scene_find_ak(void *arg, const uint8_t spki_sha256[32], struct attest_ak *out)
{
	struct tpm_scene *s = arg;

	if (memcmp(spki_sha256, s->bound.spki_sha256, 32) != 0)
		return 0;
	*out = s->bound;
	return 1;
}

/* The AK that is in the scene now was bound to an EK. */
static inline void
tpm_scene_bind(struct tpm_scene *s)
{
	CLEANUP(buf) struct buf spki = { 0 };
	struct err e;

	assert_int_equal(sha256(spki_der(s->ak, &spki), s->bound.spki_sha256, &e), 0);
	memset(s->bound.ek_sha256, 'e', 64);
}

static inline X509 *
ak_cert_make(struct tpm_scene *s, const char *usage, int64_t from_s, int64_t to_s)
{
	return cert_make(&(struct cert_wish){ .cn = "AK 1", .key = s->ak, .issuer = s->root,
		.issuer_key = s->root_key, .usage = usage, .from_s = from_s, .to_s = to_s });
}

/* An honest statement of an AK with a certificate, and a verifier that takes both kinds of AKs. */
static inline void
tpm_scene_init(struct tpm_scene *s, EVP_PKEY *ak, EVP_PKEY *key)
{
	*s = (struct tpm_scene){ .ak = ak, .key = key, .root_key = EVP_EC_gen("P-256"),
		.key_attributes = KEY_ATTRIBUTES, .ak_attributes = AK_ATTRIBUTES, .magic = TPM_GENERATED,
		.type = TPM_ST_CERTIFY, .name_alg = TPM_ALG_SHA256, .hash = TPM_ALG_SHA256, .with_cert = true };
	s->scheme = EVP_PKEY_is_a(ak, "RSA") ? TPM_ALG_RSASSA : TPM_ALG_ECDSA;
	s->nonce = bytes_of(good_nonce, sizeof good_nonce);
	s->root = cert_make(&(struct cert_wish){ .cn = "TPM maker", .key = s->root_key, .is_ca = true });
	s->ak_cert = ak_cert_make(s, EKU_OF_AK, 0, 0);
	s->settings = (struct attest_settings){ .name = "tpms", .method = ATTEST_TPM,
		.tpm_ak_by_certificate = true, .tpm_ak_by_binding = true };
	s->settings.roots = sk_X509_new_null();
	assert_true(sk_X509_push(s->settings.roots, s->root) > 0);
	s->in = (struct attest_input){ .evidence = &s->evidence, .spki = spki_der(key, &s->spki),
		.is_nonce = scene_is_nonce, .nonce_arg = s, .find_ak = scene_find_ak, .ak_arg = s, .now_s = NOW_S };
}

static inline void
tpm_scene_free(struct tpm_scene *s)
{
	struct buf *all[] = { &s->attest, &s->signature, &s->area, &s->ak_area, &s->stmt, &s->ak_stmt, &s->cert,
		&s->bundle, &s->spki };
	size_t i;

	for (i = 0; i < sizeof all / sizeof all[0]; i++)
		buf_free(all[i]);
	sk_X509_free(s->settings.roots);
	X509_free(s->root);
	X509_free(s->ak_cert);
	EVP_PKEY_free(s->root_key);
}

/* What the verifier says of the parts as they are now. */
static inline struct attestation
tpm_scene_judge(struct tpm_scene *s)
{
	struct attestation out;
	struct err e;

	assert_int_equal(attest_tpm.verify(&s->settings, &s->in, &out, &e), 0);
	assert_string_equal(out.attester, "tpms");
	assert_int_equal(out.method, ATTEST_TPM);
	return out;
}

static inline struct attestation
tpm_scene_run(struct tpm_scene *s)
{
	tpm_scene_make(s);
	return tpm_scene_judge(s);
}

#endif
