/* EC_GROUP_precompute_mult() is deprecated since OpenSSL 3.0, with nothing in its place. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "gateway/ca/verifier.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/err.h>

#include "base/key.h"

#define P256_OCTETS 32
#define P256_SIGNATURE_MAX 72 /* two INTEGERs of 33 octets in a SEQUENCE */

/*
 * Verifying with ECDSA is u1 G + u2 Q. OpenSSL has a table of multiples of G
 * only, and the part with Q takes six times as long. One key's signatures are
 * checked here again and again, so Q gets such a table too: it is the generator
 * of a second group, which differs from the curve in nothing else. Only public
 * values are computed with; nothing depends on the private key.
 */
struct verifier {
	int algorithm;      /* NID of the signature */
	bool accepted;      /* certificates may be signed by keys of this kind: DSA and RSA-PSS are not */
	EVP_MD_CTX *ready;  /* EVP_DigestVerifyInit() is done: copied, never used itself */
	EC_GROUP *curve;    /* P-256; NULL: another algorithm, and ready does it */
	EC_GROUP *from_key; /* the same curve, its generator the key */
};

DEFINE_CLEANUP(EC_POINT, EC_POINT *, EC_POINT_free);
DEFINE_CLEANUP(ECDSA_SIG, ECDSA_SIG *, ECDSA_SIG_free);
DEFINE_CLEANUP(BN_CTX, BN_CTX *, BN_CTX_free);
DEFINE_CLEANUP(verifier, struct verifier *, verifier_free);

void
verifier_free(struct verifier *v)
{
	if (v == NULL)
		return;
	EVP_MD_CTX_free(v->ready);
	EC_GROUP_free(v->curve);
	EC_GROUP_free(v->from_key);
	free(v);
}

static EC_GROUP *
group_from(const EC_GROUP *curve, EVP_PKEY *key)
{
	CLEANUP(EC_POINT) EC_POINT *point = EC_POINT_new(curve);
	EC_GROUP *group = EC_GROUP_dup(curve);
	uint8_t *octets = NULL;
	size_t len = EVP_PKEY_get1_encoded_public_key(key, &octets);
	bool made;

	made = point != NULL && group != NULL && EC_POINT_oct2point(curve, point, octets, len, NULL) == 1 &&
		EC_GROUP_set_generator(group, point, EC_GROUP_get0_order(curve), EC_GROUP_get0_cofactor(curve)) == 1 &&
		EC_GROUP_precompute_mult(group, NULL) == 1 && EC_GROUP_have_precompute_mult(group) == 1;
	OPENSSL_free(octets);
	if (made)
		return group;
	EC_GROUP_free(group);
	return NULL;
}

/* An OpenSSL that makes no tables leaves the work to EVP. */
static void
make_tables(struct verifier *v, EVP_PKEY *key)
{
	v->curve = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	if (v->curve != NULL)
		v->from_key = group_from(v->curve, key);
	if (v->from_key == NULL) {
		EC_GROUP_free(v->curve);
		v->curve = NULL;
	}
	ERR_clear_error();
}

static int
prepare(struct verifier *v, EVP_PKEY *key, const EVP_MD *md, struct err *e)
{
	struct key_facts facts;

	v->ready = EVP_MD_CTX_new();
	if (v->ready == NULL || EVP_DigestVerifyInit(v->ready, NULL, md, NULL, key) != 1)
		return err_ossl(e, ERR_BUG, "preparing to verify");
	if (OBJ_find_sigid_by_algs(&v->algorithm, md == NULL ? NID_undef : EVP_MD_get_type(md), EVP_PKEY_get_base_id(key)) != 1)
		v->algorithm = EVP_PKEY_get_base_id(key); /* Ed25519 is one */
	key_facts_of(key, &facts);
	v->accepted = facts.kind != KEY_OTHER;
	if (facts.kind == KEY_EC_P256 && md == ossl_sha256())
		make_tables(v, key);
	return 0;
}

bool
verifier_is_for(const struct verifier *v, int algorithm)
{
	return v->accepted && v->algorithm == algorithm;
}

int
verifier_new(EVP_PKEY *key, const EVP_MD *md, struct verifier **out, struct err *e)
{
	CLEANUP(verifier) struct verifier *v = calloc(1, sizeof *v);

	if (v == NULL)
		return err_set(e, ERR_NOMEM, "verifier: no memory");
	if (prepare(v, key, md, e) != 0)
		return -1;
	*out = v;
	v = NULL;
	return 0;
}

/* RFC 5480's Ecdsa-Sig-Value and nothing after it; in DER, as there is one signature and not many spellings. */
static ECDSA_SIG *
signature_decode(struct bytes der)
{
	const uint8_t *p = der.at;
	ECDSA_SIG *s = der.len > P256_SIGNATURE_MAX ? NULL : d2i_ECDSA_SIG(NULL, &p, (long)der.len);
	uint8_t again[2 * P256_SIGNATURE_MAX], *q = again;
	int len = s == NULL ? -1 : i2d_ECDSA_SIG(s, NULL);

	if (len > 0 && (size_t)len == der.len && i2d_ECDSA_SIG(s, &q) == len && memcmp(again, der.at, der.len) == 0)
		return s;
	ECDSA_SIG_free(s);
	return NULL;
}

static bool
in_range(const BIGNUM *x, const BIGNUM *order)
{
	return !BN_is_zero(x) && !BN_is_negative(x) && BN_ucmp(x, order) < 0;
}

/* FIPS 186-5, section 6.4.2, from step 3 on. x is left as the point's coordinate modulo the order. */
static bool
recompute(const struct verifier *v, const ECDSA_SIG *s, const uint8_t hash[P256_OCTETS], BN_CTX *ctx, BIGNUM *x)
{
	CLEANUP(EC_POINT) EC_POINT *sum = EC_POINT_new(v->curve);
	CLEANUP(EC_POINT) EC_POINT *part = EC_POINT_new(v->curve);
	const BIGNUM *order = EC_GROUP_get0_order(v->curve);
	BIGNUM *u1 = BN_CTX_get(ctx), *u2 = BN_CTX_get(ctx), *inverse = BN_CTX_get(ctx);

	return inverse != NULL && sum != NULL && part != NULL && BN_bin2bn(hash, P256_OCTETS, u1) != NULL &&
		BN_mod_inverse(inverse, ECDSA_SIG_get0_s(s), order, ctx) != NULL &&
		BN_mod_mul(u1, u1, inverse, order, ctx) == 1 &&
		BN_mod_mul(u2, ECDSA_SIG_get0_r(s), inverse, order, ctx) == 1 &&
		EC_POINT_mul(v->curve, sum, u1, NULL, NULL, ctx) == 1 &&
		EC_POINT_mul(v->from_key, part, u2, NULL, NULL, ctx) == 1 &&
		EC_POINT_add(v->curve, sum, sum, part, ctx) == 1 &&
		/* Fails for the point at infinity, which no signature has. */
		EC_POINT_get_affine_coordinates(v->curve, sum, x, NULL, ctx) == 1 && BN_nnmod(x, x, order, ctx) == 1;
}

static int
check_by_tables(const struct verifier *v, struct bytes text, struct bytes signature, struct err *e)
{
	CLEANUP(ECDSA_SIG) ECDSA_SIG *s = signature_decode(signature);
	CLEANUP(BN_CTX) BN_CTX *ctx = BN_CTX_new();
	const BIGNUM *order = EC_GROUP_get0_order(v->curve);
	uint8_t hash[P256_OCTETS];
	bool fits = false;
	BIGNUM *x;

	if (ctx == NULL)
		return err_set(e, ERR_NOMEM, "signature check: no memory");
	if (sha256(text, hash, e) != 0)
		return -1;
	BN_CTX_start(ctx);
	x = BN_CTX_get(ctx);
	if (s != NULL && x != NULL && in_range(ECDSA_SIG_get0_r(s), order) && in_range(ECDSA_SIG_get0_s(s), order))
		fits = recompute(v, s, hash, ctx, x) && BN_cmp(x, ECDSA_SIG_get0_r(s)) == 0;
	BN_CTX_end(ctx);
	ERR_clear_error();
	return fits ? 0 : err_set(e, ERR_DENIED, "its signature is not the issuer's");
}

int
verifier_check(const struct verifier *v, struct bytes text, struct bytes signature, struct err *e)
{
	CLEANUP(EVP_MD_CTX) EVP_MD_CTX *ctx = NULL;

	if (v->curve != NULL)
		return check_by_tables(v, text, signature, e);
	ctx = EVP_MD_CTX_new();
	if (ctx == NULL || EVP_MD_CTX_copy_ex(ctx, v->ready) != 1)
		return err_ossl(e, ERR_NOMEM, "signature check");
	if (EVP_DigestVerify(ctx, signature.at, signature.len, text.at, text.len) == 1)
		return 0;
	ERR_clear_error();
	return err_set(e, ERR_DENIED, "its signature is not the issuer's");
}
