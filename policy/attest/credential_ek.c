#include <openssl/objects.h>
#include <string.h>

#include "base/tlv.h"
#include "policy/attest/credential.h"
#include "policy/attest/spki.h"

#define EK_RSA_BITS_MIN 2048

/*
 * RSAES-OAEP in an EK certificate (RFC 4055, section 4.1): its parameters say how to pad, which for an EK the
 * TPM's own rules say, so only the key below them is taken.
 */
static int
from_oaep(struct bytes spki, EVP_PKEY **out, struct key_facts *facts, struct err *e)
{
	CLEANUP(buf) struct buf plain = { 0 };
	struct cursor c = tlv_only(spki, DER_SEQUENCE), key;
	struct tlv algorithm, bits, modulus, exponent;

	if (!tlv_expect(&c, DER_SEQUENCE, &algorithm) || !tlv_expect(&c, DER_BIT_STRING, &bits) || !cursor_done(&c) ||
	    bits.contents.len == 0 || bits.contents.at[0] != 0)
		return err_set(e, ERR_MALFORMED, "EK certificate's key");
	key = tlv_only(bytes_of(bits.contents.at + 1, bits.contents.len - 1), DER_SEQUENCE);
	if (!tlv_expect(&key, DER_INTEGER, &modulus) || !tlv_expect(&key, DER_INTEGER, &exponent) || !cursor_done(&key) ||
	    modulus.contents.len == 0 || (modulus.contents.at[0] & 0x80) != 0 || exponent.contents.len == 0 ||
	    (exponent.contents.at[0] & 0x80) != 0)
		return err_set(e, ERR_MALFORMED, "EK certificate's RSA key");
	spki_put_rsa(&plain, modulus.contents, exponent.contents);
	if (buf_failed(&plain))
		return err_set(e, ERR_NOMEM, "no memory for an EK");
	return key_from_spki(buf_bytes(&plain), out, facts, e);
}

static int
is_ek(const struct key_facts *facts, struct err *e)
{
	char kind[24];

	key_text(facts, kind);
	if (facts->kind != KEY_RSA && spki_field_len(facts->kind) == 0)
		return err_set(e, ERR_UNSUPPORTED, "%s is no key for an EK", kind);
	if (facts->kind == KEY_RSA && facts->bits < EK_RSA_BITS_MIN)
		return err_set(e, ERR_UNSUPPORTED, "EK of %d bits", facts->bits);
	/* Whoever finds a weak EK's private key can pretend to be its TPM. */
	if (facts->weak != NULL)
		return err_set(e, ERR_DENIED, "EK is weak: %s", facts->weak);
	return 0;
}

int
tpm_ek_digest(EVP_PKEY *ek, char ek_sha256[65], struct err *e)
{
	CLEANUP(buf) struct buf spki = { 0 };
	uint8_t digest[32];

	if (spki_put_key(&spki, ek, e) != 0 || sha256(buf_bytes(&spki), digest, e) != 0)
		return -1;
	hex_encode(bytes_of(digest, sizeof digest), ek_sha256);
	return 0;
}

int
tpm_ek_key(const X509 *certificate, EVP_PKEY **out, char ek_sha256[65], struct err *e)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	X509_PUBKEY *info = X509_get_X509_PUBKEY(certificate);
	ASN1_OBJECT *algorithm = NULL;
	struct key_facts facts = { .kind = KEY_OTHER };
	uint8_t *der = NULL;
	struct bytes spki;
	char hex[65];
	int len, rc;

	if (info == NULL || X509_PUBKEY_get0_param(&algorithm, NULL, NULL, NULL, info) != 1)
		return err_set(e, ERR_MALFORMED, "EK certificate without a key");
	len = i2d_X509_PUBKEY(info, &der);
	if (len <= 0)
		return err_ossl(e, ERR_MALFORMED, "EK certificate's key");
	spki = bytes_of(der, (size_t)len);
	rc = OBJ_obj2nid(algorithm) == NID_rsaesOaep ? from_oaep(spki, &key, &facts, e) :
						      key_from_spki(spki, &key, &facts, e);
	OPENSSL_free(der);
	if (rc != 0 || is_ek(&facts, e) != 0 || tpm_ek_digest(key, hex, e) != 0)
		return -1;
	memcpy(ek_sha256, hex, sizeof hex);
	*out = key;
	key = NULL;
	return 0;
}
