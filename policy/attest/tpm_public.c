#include <stdio.h>
#include <string.h>

#include "policy/attest/credential.h"
#include "policy/attest/spki.h"
#include "policy/attest/tpm_wire.h"

#define TPM_RSA_BITS_MIN  2048
#define TPM_RSA_BITS_MAX  4096
/* Part 2, TPMS_RSA_PARMS: "When zero, indicates that the exponent is the default of 2^16 + 1." */
#define TPM_RSA_EXPONENT  65537

/* TPMT_SYM_DEF_OBJECT: nothing, or a block cipher with key size and mode. */
static void
skip_symmetric(struct cursor *c)
{
	if (tpm_u16(c) != TPM_ALG_NULL)
		(void)cursor_take(c, 4);
}

/* TPMT_RSA_SCHEME, TPMT_ECC_SCHEME. False: one of which it is not known how long it is. */
static bool
skip_scheme(struct cursor *c)
{
	switch (tpm_u16(c)) {
	case TPM_ALG_NULL:
	case TPM_ALG_RSAES:
		return true;
	case TPM_ALG_RSASSA:
	case TPM_ALG_RSAPSS:
	case TPM_ALG_OAEP:
	case TPM_ALG_ECDSA:
	case TPM_ALG_ECDH:
	case TPM_ALG_SM2:
	case TPM_ALG_ECSCHNORR:
	case TPM_ALG_ECMQV:
		(void)tpm_u16(c); /* hash */
		return true;
	case TPM_ALG_ECDAA:
		(void)tpm_u32(c); /* hash and counter */
		return true;
	default:
		return c->failed; /* too short is malformed, which the end tells */
	}
}

static int
read_rsa(struct cursor *c, struct buf *spki, struct err *e)
{
	uint8_t exponent_octets[4];
	struct bytes modulus;
	unsigned bits, i;
	uint32_t exponent;

	skip_symmetric(c);
	if (!skip_scheme(c))
		return err_set(e, ERR_UNSUPPORTED, "TPM key with an unknown scheme");
	bits = tpm_u16(c);
	exponent = tpm_u32(c);
	modulus = tpm_sized(c, TPM_RSA_MAX);
	if (!cursor_done(c))
		return err_set(e, ERR_MALFORMED, "not a TPMT_PUBLIC of an RSA key");
	if (bits < TPM_RSA_BITS_MIN || bits > TPM_RSA_BITS_MAX)
		return err_set(e, ERR_UNSUPPORTED, "TPM RSA key of %u bits", bits);
	if (modulus.len * 8 != bits || (modulus.at[0] & 0x80) == 0)
		return err_set(e, ERR_MALFORMED, "TPM RSA key whose modulus has not %u bits", bits);
	if (exponent == 0)
		exponent = TPM_RSA_EXPONENT;
	for (i = 0; i < sizeof exponent_octets; i++)
		exponent_octets[i] = (uint8_t)(exponent >> (24 - 8 * i));
	spki_put_rsa(spki, modulus, bytes_of(exponent_octets, sizeof exponent_octets));
	return 0;
}

static int
read_ecc(struct cursor *c, struct buf *spki, struct err *e)
{
	enum key_kind kind;
	struct bytes x, y;
	uint16_t curve;

	skip_symmetric(c);
	if (!skip_scheme(c))
		return err_set(e, ERR_UNSUPPORTED, "TPM key with an unknown scheme");
	curve = tpm_u16(c);
	if (tpm_u16(c) != TPM_ALG_NULL) /* kdf */
		(void)tpm_u16(c);
	x = tpm_sized(c, TPM_ECC_MAX);
	y = tpm_sized(c, TPM_ECC_MAX);
	if (!cursor_done(c))
		return err_set(e, ERR_MALFORMED, "not a TPMT_PUBLIC of an ECC key");
	if (curve != TPM_CURVE_P256 && curve != TPM_CURVE_P384)
		return err_set(e, ERR_UNSUPPORTED, "TPM key of curve 0x%04x", curve);
	kind = curve == TPM_CURVE_P256 ? KEY_EC_P256 : KEY_EC_P384;
	if (x.len > spki_field_len(kind) || y.len > spki_field_len(kind))
		return err_set(e, ERR_MALFORMED, "TPM ECC key with coordinates longer than its field");
	spki_put_ec(spki, kind, x, y);
	return 0;
}

int
tpm_public_parse(struct bytes area, struct tpm_public *out, struct err *e)
{
	CLEANUP(buf) struct buf spki = { 0 };
	struct tpm_public found = { 0 };
	struct cursor c = cursor_of(area);
	struct key_facts facts;
	int rc;

	if (area.len > TPM_PUBLIC_MAX)
		return err_set(e, ERR_LIMIT, "TPMT_PUBLIC of %zu octets", area.len);
	found.type = tpm_u16(&c);
	found.name_alg = tpm_u16(&c);
	found.attributes = tpm_u32(&c);
	(void)tpm_sized(&c, TPM_DIGEST_MAX); /* authPolicy */
	if (c.failed)
		return err_set(e, ERR_MALFORMED, "not a TPMT_PUBLIC");
	if (found.type != TPM_ALG_RSA && found.type != TPM_ALG_ECC)
		return err_set(e, ERR_UNSUPPORTED, "TPM object of type 0x%04x", found.type);
	rc = found.type == TPM_ALG_RSA ? read_rsa(&c, &spki, e) : read_ecc(&c, &spki, e);
	if (rc != 0 || tpm_name_of(found.name_alg, area, found.name, &found.name_len, e) != 0)
		return -1;
	if (buf_failed(&spki))
		return err_set(e, ERR_NOMEM, "no memory for a public key");
	if (sha256(buf_bytes(&spki), found.spki_sha256, e) != 0 ||
	    key_from_spki(buf_bytes(&spki), &found.key, &facts, e) != 0)
		return -1;
	found.weak = facts.weak;
	*out = found;
	return 0;
}

void
tpm_public_clear(struct tpm_public *public_area)
{
	EVP_PKEY_free(public_area->key);
	*public_area = (struct tpm_public){ 0 };
}

int
tpm_public_is_ak(const struct tpm_public *public_area, struct err *e)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} wanted[] = {
		{ TPM_ATTR_FIXED_TPM, "fixedTPM" },
		{ TPM_ATTR_FIXED_PARENT, "fixedParent" },
		{ TPM_ATTR_SENSITIVE_DATA_ORIGIN, "sensitiveDataOrigin" },
		{ TPM_ATTR_RESTRICTED, "restricted" },
		{ TPM_ATTR_SIGN, "sign" },
	};
	size_t i;

	for (i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
		if ((public_area->attributes & wanted[i].bit) == 0)
			return err_set(e, ERR_DENIED, "the AK lacks %s", wanted[i].name);
	if ((public_area->attributes & TPM_ATTR_DECRYPT) != 0)
		return err_set(e, ERR_DENIED, "the AK also decrypts");
	if (public_area->weak != NULL)
		return err_set(e, ERR_DENIED, "the AK is weak: %s", public_area->weak);
	return 0;
}
