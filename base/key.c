#include "base/key.h"

#include <stdio.h>
#include <string.h>

#include <openssl/asn1t.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/params.h>

/* DER of the AlgorithmIdentifier and of everything up to the point's 04 octet (RFC 5480, section 2). */
static const uint8_t p256_head[] = { 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d,
	0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00 };
static const uint8_t p384_head[] = { 0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d,
	0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00 };

#define P256_POINT 65
#define P384_POINT 97
#define POINT_UNCOMPRESSED 0x04

/* SubjectPublicKeyInfo with the key itself as octets. (The macros want a type's name.) */
typedef struct {
	X509_ALGOR *algorithm;
	ASN1_BIT_STRING *key;
} KEY_INFO;

ASN1_SEQUENCE(KEY_INFO) = {
	ASN1_SIMPLE(KEY_INFO, algorithm, X509_ALGOR),
	ASN1_SIMPLE(KEY_INFO, key, ASN1_BIT_STRING),
} static_ASN1_SEQUENCE_END(KEY_INFO)

static void
info_free(KEY_INFO *info)
{
	ASN1_item_free((ASN1_VALUE *)info, ASN1_ITEM_rptr(KEY_INFO));
}
DEFINE_CLEANUP(info, KEY_INFO *, info_free);

static EVP_PKEY *p256_template;
static EVP_PKEY *p384_template;

/* ROCA (CVE-2017-15361): such moduli lie in the group that 65537 generates modulo each of these primes. */
static const BN_ULONG roca_primes[] = { 11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127,
	151, 157 };
static uint8_t roca_member[sizeof roca_primes / sizeof roca_primes[0]][20];

static void
roca_init(void)
{
	size_t i;

	for (i = 0; i < sizeof roca_primes / sizeof roca_primes[0]; i++) {
		BN_ULONG p = roca_primes[i], v = 1;

		do {
			roca_member[i][v / 8] |= (uint8_t)(1u << (v % 8));
			v = v * (65537 % p) % p;
		} while (v != 1);
	}
}

/* The curve alone: a private key in it would be copied into every peer's public key. */
static EVP_PKEY *
curve(const char *name)
{
	CLEANUP(EVP_PKEY_CTX) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	EVP_PKEY *out = NULL;

	if (ctx == NULL || EVP_PKEY_paramgen_init(ctx) != 1 || EVP_PKEY_CTX_set_group_name(ctx, name) != 1 ||
	    EVP_PKEY_paramgen(ctx, &out) != 1)
		return NULL;
	return out;
}

int
key_init(struct err *e)
{
	EVP_PKEY_free(p256_template);
	EVP_PKEY_free(p384_template);
	roca_init();
	p384_template = curve(SN_secp384r1);
	p256_template = curve(SN_X9_62_prime256v1);
	if (p256_template == NULL || p384_template == NULL)
		return err_ossl(e, ERR_BUG, "template keys");
	return 0;
}

static int
from_template(EVP_PKEY *template, struct bytes point, EVP_PKEY **out, struct err *e)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;

	/* OpenSSL also reads the hybrid forms 06 and 07; RFC 5480, section 2.2 has them rejected. */
	if (point.at[0] != POINT_UNCOMPRESSED)
		return err_set(e, ERR_MALFORMED, "public key is a point in a form that is not allowed");
	key = EVP_PKEY_dup(template);
	if (key == NULL)
		return err_ossl(e, ERR_NOMEM, "public key");
	if (EVP_PKEY_set1_encoded_public_key(key, point.at, point.len) != 1)
		return err_ossl(e, ERR_MALFORMED, "public key is not a point of its curve");
	*out = key;
	key = NULL;
	return 0;
}

static bool
has_head(struct bytes spki, const uint8_t *head, size_t head_len, size_t point_len)
{
	return spki.len == head_len + point_len && memcmp(spki.at, head, head_len) == 0;
}

/* RFC 3279, section 2.3.1: rsaEncryption with NULL. NULL for anything else, which is d2i_PUBKEY()'s to judge. */
static EVP_PKEY *
rsa_of(struct bytes spki)
{
	const uint8_t *p = spki.at, *end = p + spki.len;
	CLEANUP(info) KEY_INFO *info = (KEY_INFO *)ASN1_item_d2i(NULL, &p, (long)spki.len, ASN1_ITEM_rptr(KEY_INFO));
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	EVP_PKEY *out = NULL;

	if (info != NULL && p == end && OBJ_obj2nid(info->algorithm->algorithm) == NID_rsaEncryption &&
	    info->algorithm->parameter != NULL && info->algorithm->parameter->type == V_ASN1_NULL) {
		p = ASN1_STRING_get0_data(info->key);
		end = p + ASN1_STRING_length(info->key);
		key = d2i_PublicKey(EVP_PKEY_RSA, NULL, &p, ASN1_STRING_length(info->key));
	}
	ERR_clear_error();
	if (key != NULL && p == end) {
		out = key;
		key = NULL;
	}
	return out;
}

/* *facts is left alone where the key has to be asked for them. */
static int
decode(struct bytes spki, EVP_PKEY **out, struct key_facts *facts, struct err *e)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	const uint8_t *p = spki.at;

	if (has_head(spki, p256_head, sizeof p256_head, P256_POINT)) {
		*facts = (struct key_facts){ .kind = KEY_EC_P256, .bits = 256 };
		return from_template(p256_template,
			bytes_of(spki.at + sizeof p256_head, P256_POINT), out, e);
	}
	if (has_head(spki, p384_head, sizeof p384_head, P384_POINT)) {
		*facts = (struct key_facts){ .kind = KEY_EC_P384, .bits = 384 };
		return from_template(p384_template,
			bytes_of(spki.at + sizeof p384_head, P384_POINT), out, e);
	}
	if (spki.len == 0 || spki.len > 8192)
		return err_set(e, ERR_MALFORMED, "public key of %zu octets", spki.len);
	key = rsa_of(spki);
	if (key == NULL) {
		key = d2i_PUBKEY(NULL, &p, (long)spki.len);
		if (key == NULL)
			return err_ossl(e, ERR_MALFORMED, "public key");
		if (p != spki.at + spki.len)
			return err_set(e, ERR_MALFORMED, "octets after the public key");
	}
	*out = key;
	key = NULL;
	return 0;
}

static enum key_kind
ec_kind(EVP_PKEY *key)
{
	char group[64] = "";
	size_t len = 0;
	int is_explicit = 0;

	/* RFC 5480, section 2.1.1 allows named curves only, even when the parameters spelled out equal one. */
	if (EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &is_explicit) == 1 &&
	    is_explicit != 0)
		return KEY_OTHER;
	if (EVP_PKEY_get_group_name(key, group, sizeof group, &len) != 1)
		return KEY_OTHER;
	if (strcmp(group, "prime256v1") == 0 || strcmp(group, "P-256") == 0)
		return KEY_EC_P256;
	if (strcmp(group, "secp384r1") == 0 || strcmp(group, "P-384") == 0)
		return KEY_EC_P384;
	return strcmp(group, "secp521r1") == 0 || strcmp(group, "P-521") == 0 ? KEY_EC_P521 : KEY_OTHER;
}

static bool
is_roca(const BIGNUM *n)
{
	size_t i;

	for (i = 0; i < sizeof roca_primes / sizeof roca_primes[0]; i++) {
		BN_ULONG r = BN_mod_word(n, roca_primes[i]);

		if ((roca_member[i][r / 8] & 1u << (r % 8)) == 0)
			return false;
	}
	return true;
}

/* EVP_PKEY_get_bn_param() without its detour over 2,048 octets, each written by itself. NULL when there is none. */
static BIGNUM *
number_of(EVP_PKEY *key, const char *name)
{
	uint8_t octets[RSA_BITS_MAX / 8];
	int size = EVP_PKEY_get_size(key);
	OSSL_PARAM params[2] = { OSSL_PARAM_construct_end(), OSSL_PARAM_construct_end() };
	BIGNUM *out = NULL;

	if (size < 1 || (size_t)size > sizeof octets)
		return EVP_PKEY_get_bn_param(key, name, &out) == 1 ? out : NULL;
	params[0] = OSSL_PARAM_construct_BN(name, octets, (size_t)size);
	return EVP_PKEY_get_params(key, params) == 1 && OSSL_PARAM_get_BN(params, &out) == 1 ? out : NULL;
}

const char *
key_modulus_weakness(const BIGNUM *n)
{
	if (!BN_is_odd(n))
		return "RSA modulus is even";
	if (BN_num_bits(n) < 2048)
		return "RSA modulus is shorter than 2048 bits";
	return is_roca(n) ? "RSA modulus has the ROCA structure (CVE-2017-15361)" : NULL;
}

static const char *
rsa_weakness(EVP_PKEY *key)
{
	BIGNUM *n = number_of(key, OSSL_PKEY_PARAM_RSA_N), *exponent = number_of(key, OSSL_PKEY_PARAM_RSA_E);
	const char *weak = NULL;

	if (n == NULL || exponent == NULL)
		weak = "RSA key without a modulus or exponent";
	else if (BN_is_odd(n) && (!BN_is_odd(exponent) || BN_num_bits(exponent) < 17))
		weak = "RSA exponent is even or smaller than 65537";
	else if (BN_is_odd(n) && BN_num_bits(exponent) > 64)
		weak = "RSA exponent is larger than 64 bits";
	else
		weak = key_modulus_weakness(n);
	BN_free(n);
	BN_free(exponent);
	return weak;
}

void
key_facts_of(EVP_PKEY *key, struct key_facts *facts)
{
	*facts = (struct key_facts){ .bits = EVP_PKEY_get_bits(key) };
	if (EVP_PKEY_is_a(key, "RSA")) {
		facts->kind = KEY_RSA;
		facts->weak = rsa_weakness(key);
	} else if (EVP_PKEY_is_a(key, "EC"))
		facts->kind = ec_kind(key);
	else if (EVP_PKEY_is_a(key, "ED25519"))
		facts->kind = KEY_ED25519;
}

int
key_from_spki(struct bytes spki, EVP_PKEY **out, struct key_facts *facts, struct err *e)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	struct key_facts found = { .kind = KEY_OTHER };

	if (decode(spki, &key, &found, e) != 0)
		return -1;
	if (found.kind == KEY_OTHER)
		key_facts_of(key, &found);
	if (found.kind == KEY_OTHER)
		return err_set(e, ERR_UNSUPPORTED, "public key algorithm or curve is not supported");
	if (found.kind == KEY_RSA && (found.bits < RSA_BITS_MIN || found.bits > RSA_BITS_MAX))
		return err_set(e, ERR_UNSUPPORTED, "RSA key of %d bits; %d to %d are supported",
			found.bits, RSA_BITS_MIN, RSA_BITS_MAX);
	*facts = found;
	*out = key;
	key = NULL;
	return 0;
}

void
key_text(const struct key_facts *facts, char out[24])
{
	switch (facts->kind) {
	case KEY_RSA:
		(void)snprintf(out, 24, "RSA-%d", facts->bits);
		return;
	case KEY_EC_P256:
	case KEY_EC_P384:
	case KEY_EC_P521:
		(void)snprintf(out, 24, "EC P-%d", facts->bits);
		return;
	case KEY_ED25519:
		(void)snprintf(out, 24, "Ed25519");
		return;
	case KEY_OTHER:
		break;
	}
	(void)snprintf(out, 24, "unknown");
}
