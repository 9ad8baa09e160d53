#include "policy/attest/tpm_wire.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

#include "base/der.h"

static uint64_t
number(struct cursor *c, int octets)
{
	uint64_t value = 0;

	while (octets-- > 0)
		value = value << 8 | cursor_u8(c);
	return value;
}

uint16_t
tpm_u16(struct cursor *c)
{
	return (uint16_t)number(c, 2);
}

uint32_t
tpm_u32(struct cursor *c)
{
	return (uint32_t)number(c, 4);
}

uint64_t
tpm_u64(struct cursor *c)
{
	return number(c, 8);
}

struct bytes
tpm_sized(struct cursor *c, size_t max)
{
	size_t len = tpm_u16(c);

	if (len > max)
		c->failed = true;
	return cursor_take(c, c->failed ? 0 : len);
}

void
tpm_put_u16(struct buf *b, uint16_t value)
{
	buf_append_u8(b, (uint8_t)(value >> 8));
	buf_append_u8(b, (uint8_t)value);
}

void
tpm_put_u32(struct buf *b, uint32_t value)
{
	tpm_put_u16(b, (uint16_t)(value >> 16));
	tpm_put_u16(b, (uint16_t)value);
}

void
tpm_put_sized(struct buf *b, struct bytes octets)
{
	if (octets.len > UINT16_MAX) {
		b->failed = true;
		return;
	}
	tpm_put_u16(b, (uint16_t)octets.len);
	buf_append_bytes(b, octets);
}

const EVP_MD *
tpm_hash(uint16_t algorithm)
{
	switch (algorithm) {
	case TPM_ALG_SHA256:
		return ossl_sha256();
	case TPM_ALG_SHA384:
		return ossl_sha384();
	case TPM_ALG_SHA512:
		return ossl_sha512();
	default:
		return NULL;
	}
}

int
tpm_attest_parse(struct bytes in, struct tpm_attest *out, struct err *e)
{
	struct tpm_attest found = { 0 };
	struct cursor c = cursor_of(in);

	found.magic = tpm_u32(&c);
	found.type = tpm_u16(&c);
	(void)tpm_sized(&c, TPM_DATA_MAX); /* qualifiedSigner: a hash over the AK's ancestry, which nobody here knows */
	found.nonce = tpm_sized(&c, TPM_DATA_MAX);
	found.clock_ms = tpm_u64(&c);
	found.resets = tpm_u32(&c);
	found.restarts = tpm_u32(&c);
	(void)cursor_u8(&c); /* safe */
	found.firmware = tpm_u64(&c);
	if (found.type == TPM_ST_CERTIFY) {
		found.name = tpm_sized(&c, TPM_DATA_MAX);
		(void)tpm_sized(&c, TPM_DATA_MAX); /* qualifiedName */
	} else if (found.type == TPM_ST_CREATION) {
		found.name = tpm_sized(&c, TPM_DATA_MAX);
		/* creationHash: the creation data stays with the client, and its ticket is for the TPM alone */
		(void)tpm_sized(&c, TPM_DIGEST_MAX);
	} else if (!c.failed)
		c.at = c.end;
	if (!cursor_done(&c))
		return err_set(e, ERR_MALFORMED, "not a TPMS_ATTEST");
	*out = found;
	return 0;
}

int
tpm_signature_parse(struct bytes in, struct tpm_signature *out, struct err *e)
{
	struct tpm_signature found = { 0 };
	struct cursor c = cursor_of(in);

	found.scheme = tpm_u16(&c);
	found.hash = tpm_u16(&c);
	if (found.scheme == TPM_ALG_RSASSA || found.scheme == TPM_ALG_RSAPSS)
		found.rsa = tpm_sized(&c, TPM_RSA_MAX);
	else if (found.scheme == TPM_ALG_ECDSA) {
		found.r = tpm_sized(&c, TPM_ECC_MAX);
		found.s = tpm_sized(&c, TPM_ECC_MAX);
	} else if (!c.failed)
		return err_set(e, ERR_UNSUPPORTED, "signature scheme 0x%04x", found.scheme);
	if (!cursor_done(&c))
		return err_set(e, ERR_MALFORMED, "not a TPMT_SIGNATURE");
	if (tpm_hash(found.hash) == NULL)
		return err_set(e, ERR_UNSUPPORTED, "signature with hash 0x%04x", found.hash);
	*out = found;
	return 0;
}

static int
verify_octets(EVP_PKEY *key, const struct tpm_signature *signature, struct bytes octets, struct bytes message,
	struct err *e)
{
	CLEANUP(EVP_MD_CTX) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *key_ctx = NULL;
	int padding = signature->scheme == TPM_ALG_RSAPSS ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING;

	if (ctx == NULL || EVP_DigestVerifyInit(ctx, &key_ctx, tpm_hash(signature->hash), NULL, key) != 1)
		return err_ossl(e, ERR_UNAUTHENTIC, "signature");
	/* The salt is as long as the hash in newer TPMs, and as long as it can be in older ones. */
	if (EVP_PKEY_is_a(key, "RSA") && (EVP_PKEY_CTX_set_rsa_padding(key_ctx, padding) != 1 ||
		    (padding == RSA_PKCS1_PSS_PADDING &&
			    EVP_PKEY_CTX_set_rsa_pss_saltlen(key_ctx, RSA_PSS_SALTLEN_AUTO) != 1)))
		return err_ossl(e, ERR_UNAUTHENTIC, "signature");
	if (EVP_DigestVerify(ctx, octets.at, octets.len, message.at, message.len) != 1)
		return err_ossl(e, ERR_UNAUTHENTIC, "signature");
	return 0;
}

int
tpm_signature_verify(const struct tpm_signature *signature, EVP_PKEY *key, struct bytes message, struct err *e)
{
	CLEANUP(buf) struct buf der = { 0 };
	bool is_ecdsa = signature->scheme == TPM_ALG_ECDSA;
	size_t mark;

	if (!EVP_PKEY_is_a(key, is_ecdsa ? "EC" : "RSA"))
		return err_set(e, ERR_UNAUTHENTIC, "the AK is of another kind than signature scheme 0x%04x",
			signature->scheme);
	if (!is_ecdsa)
		return verify_octets(key, signature, signature->rsa, message, e);
	mark = der_begin(&der, DER_SEQUENCE);
	der_put_integer(&der, signature->r);
	der_put_integer(&der, signature->s);
	der_end(&der, mark);
	if (buf_failed(&der))
		return err_set(e, ERR_NOMEM, "no memory for a signature");
	return verify_octets(key, signature, buf_bytes(&der), message, e);
}

int
tpm_name_of(uint16_t name_alg, struct bytes area, uint8_t *out, size_t *len, struct err *e)
{
	const EVP_MD *hash = tpm_hash(name_alg);
	unsigned digest_len = 0;

	if (hash == NULL)
		return err_set(e, ERR_UNSUPPORTED, "name algorithm 0x%04x", name_alg);
	if (EVP_Digest(area.at, area.len, out + 2, &digest_len, hash, NULL) != 1)
		return err_ossl(e, ERR_BUG, "name of a TPM object");
	out[0] = (uint8_t)(name_alg >> 8);
	out[1] = (uint8_t)name_alg;
	*len = 2 + digest_len;
	return 0;
}
