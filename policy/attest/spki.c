#include "policy/attest/spki.h"

#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>

#include "base/der.h"

#define RSA_NUMBER_MAX (RSA_BITS_MAX / 8)

void
spki_put_rsa(struct buf *b, struct bytes modulus, struct bytes exponent)
{
	size_t info = der_begin(b, DER_SEQUENCE), inner = der_begin(b, DER_SEQUENCE), key;

	der_put_oid(b, "1.2.840.113549.1.1.1");
	buf_append(b, "\x05", 2); /* NULL */
	der_end(b, inner);
	inner = der_begin(b, DER_BIT_STRING);
	buf_append_u8(b, 0);
	key = der_begin(b, DER_SEQUENCE);
	der_put_integer(b, modulus);
	der_put_integer(b, exponent);
	der_end(b, key);
	der_end(b, inner);
	der_end(b, info);
}

size_t
spki_field_len(enum key_kind kind)
{
	switch (kind) {
	case KEY_EC_P256:
		return 32;
	case KEY_EC_P384:
		return SPKI_FIELD_MAX;
	case KEY_RSA:
	case KEY_EC_P521:
	case KEY_ED25519:
	case KEY_OTHER:
		break;
	}
	return 0;
}

static void
put_filled(struct buf *b, struct bytes number, size_t len)
{
	static const uint8_t zeros[SPKI_FIELD_MAX] = { 0 };

	if (number.len > len) {
		b->failed = true;
		return;
	}
	buf_append(b, zeros, len - number.len);
	buf_append_bytes(b, number);
}

void
spki_put_ec(struct buf *b, enum key_kind kind, struct bytes x, struct bytes y)
{
	size_t info = der_begin(b, DER_SEQUENCE), inner = der_begin(b, DER_SEQUENCE), len = spki_field_len(kind);

	der_put_oid(b, "1.2.840.10045.2.1");
	der_put_oid(b, kind == KEY_EC_P256 ? "1.2.840.10045.3.1.7" : "1.3.132.0.34");
	der_end(b, inner);
	inner = der_begin(b, DER_BIT_STRING);
	buf_append_u8(b, 0);
	buf_append_u8(b, 4); /* an uncompressed point (SEC 1, section 2.3.3) */
	put_filled(b, x, len);
	put_filled(b, y, len);
	der_end(b, inner);
	der_end(b, info);
}

/* Returns how many octets it has, -1 without such a number. */
static int
number_of(EVP_PKEY *key, const char *name, uint8_t *out)
{
	BIGNUM *number = NULL;
	int got = -1;

	if (EVP_PKEY_get_bn_param(key, name, &number) != 1)
		return -1;
	if (BN_num_bytes(number) <= RSA_NUMBER_MAX)
		got = BN_bn2bin(number, out);
	BN_free(number);
	return got;
}

int
spki_point(EVP_PKEY *key, uint8_t x[SPKI_FIELD_MAX], uint8_t y[SPKI_FIELD_MAX], struct err *e)
{
	struct key_facts facts;
	uint8_t *point = NULL;
	size_t len, got;

	key_facts_of(key, &facts);
	len = spki_field_len(facts.kind);
	if (len == 0)
		return err_set(e, ERR_UNSUPPORTED, "key of another curve than P-256 and P-384");
	/* By the encoded point: a key that was decoded the quick way (gateway/http/quickkeys.h) knows no parameters by name. */
	got = EVP_PKEY_get1_encoded_public_key(key, &point);
	if (got != 1 + 2 * len || point[0] != 4) { /* uncompressed (SEC 1, section 2.3.3) */
		OPENSSL_free(point);
		return err_ossl(e, ERR_MALFORMED, "point of an EC key");
	}
	memcpy(x, point + 1, len);
	memcpy(y, point + 1 + len, len);
	OPENSSL_free(point);
	return (int)len;
}

static int
put_rsa_key(struct buf *b, EVP_PKEY *key, struct err *e)
{
	uint8_t modulus[RSA_NUMBER_MAX], exponent[RSA_NUMBER_MAX];
	int modulus_len = number_of(key, OSSL_PKEY_PARAM_RSA_N, modulus);
	int exponent_len = number_of(key, OSSL_PKEY_PARAM_RSA_E, exponent);

	if (modulus_len < 0 || exponent_len < 0)
		return err_ossl(e, ERR_UNSUPPORTED, "numbers of an RSA key");
	spki_put_rsa(b, bytes_of(modulus, (size_t)modulus_len), bytes_of(exponent, (size_t)exponent_len));
	return 0;
}

int
spki_put_key(struct buf *b, EVP_PKEY *key, struct err *e)
{
	uint8_t x[SPKI_FIELD_MAX], y[SPKI_FIELD_MAX];
	int len;

	if (EVP_PKEY_is_a(key, "RSA")) {
		if (put_rsa_key(b, key, e) != 0)
			return -1;
	} else {
		len = spki_point(key, x, y, e);
		if (len < 0)
			return -1;
		spki_put_ec(b, len == SPKI_FIELD_MAX ? KEY_EC_P384 : KEY_EC_P256, bytes_of(x, (size_t)len),
			bytes_of(y, (size_t)len));
	}
	return buf_failed(b) ? err_set(e, ERR_NOMEM, "no memory for a public key") : 0;
}
