#include "policy/attest/credential.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>

#include "policy/attest/spki.h"
#include "policy/attest/tpm_wire.h"

/*
 * What an EK's template says beside its key (TCG EK Credential Profile, annex B): the low range and H-1, H-2 for
 * RSA-2048 and P-256; H-3, H-6 and H-7 for P-384, RSA-3072 and RSA-4096.
 */
struct template {
	uint16_t name_alg;
	size_t digest_len;
	const EVP_CIPHER *(*cipher)(void);
	size_t cipher_key_len;
};
static const struct template low_range = { TPM_ALG_SHA256, 32, EVP_aes_128_cfb128, 16 };
static const struct template high_range = { TPM_ALG_SHA384, 48, EVP_aes_256_cfb128, 32 };

#define SEED_MAX 48

/* With their final NUL, which the TPM counts as part of the label. */
static const char label_identity[] = "IDENTITY", label_storage[] = "STORAGE", label_integrity[] = "INTEGRITY";

/* NULL: no template has such a key. */
static const struct template *
template_of(EVP_PKEY *ek)
{
	struct key_facts facts;

	key_facts_of(ek, &facts);
	if (facts.kind == KEY_RSA && facts.bits >= 2048 && facts.bits <= 4096)
		return facts.bits == 2048 ? &low_range : &high_range;
	if (facts.kind == KEY_EC_P256)
		return &low_range;
	return facts.kind == KEY_EC_P384 ? &high_range : NULL;
}

/*
 * KDFa (part 1, section 11.4.10.2), for at most one digest's length: HMAC(seed, counter || label || context || bits). The
 * label's NUL is the 00 between label and context.
 */
static int
kdfa(const struct template *t, struct bytes seed, const char *label, size_t label_len, struct bytes context, uint8_t *out,
	size_t out_len, struct err *e)
{
	CLEANUP(buf) struct buf in = { 0 };
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned digest_len = 0;
	bool made;

	tpm_put_u32(&in, 1);
	buf_append(&in, label, label_len);
	buf_append_bytes(&in, context);
	tpm_put_u32(&in, (uint32_t)out_len * 8);
	if (buf_failed(&in))
		return err_set(e, ERR_NOMEM, "no memory for a credential");
	made = HMAC(tpm_hash(t->name_alg), seed.at, (int)seed.len, in.at, in.len, digest, &digest_len) != NULL;
	if (!made || digest_len < out_len)
		return err_ossl(e, ERR_BUG, "deriving a credential's key");
	memcpy(out, digest, out_len);
	OPENSSL_cleanse(digest, sizeof digest);
	return 0;
}

/* The seed, under RSA-OAEP with the label "IDENTITY" (part 1, section B.10.4). */
static int
seed_for_rsa(const struct template *t, EVP_PKEY *ek, uint8_t seed[SEED_MAX], struct buf *encrypted, struct err *e)
{
	CLEANUP(EVP_PKEY_CTX) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(ek, NULL);
	uint8_t sealed[TPM_RSA_MAX];
	size_t len = sizeof sealed;
	char *label = OPENSSL_memdup(label_identity, sizeof label_identity);

	if (ctx == NULL || label == NULL || EVP_PKEY_encrypt_init(ctx) != 1 ||
	    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) != 1 ||
	    EVP_PKEY_CTX_set_rsa_oaep_md(ctx, tpm_hash(t->name_alg)) != 1 ||
	    EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, tpm_hash(t->name_alg)) != 1 ||
	    EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, label, (int)sizeof label_identity) != 1) {
		OPENSSL_free(label);
		return err_ossl(e, ERR_BUG, "encrypting for an EK");
	}
	if (random_octets(seed, t->digest_len, e) != 0)
		return -1;
	if (EVP_PKEY_encrypt(ctx, sealed, &len, seed, t->digest_len) != 1)
		return err_ossl(e, ERR_UNSUPPORTED, "encrypting for an EK");
	tpm_put_sized(encrypted, bytes_of(sealed, len));
	return 0;
}

/* The shared secret's x coordinate, as long as the field. */
static int
agree(EVP_PKEY *own, EVP_PKEY *ek, uint8_t *out, size_t len, struct err *e)
{
	CLEANUP(EVP_PKEY_CTX) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(own, NULL);
	size_t got = len;

	if (ctx == NULL || EVP_PKEY_derive_init(ctx) != 1 || EVP_PKEY_derive_set_peer(ctx, ek) != 1 ||
	    EVP_PKEY_derive(ctx, out, &got) != 1 || got != len)
		return err_ossl(e, ERR_UNSUPPORTED, "key agreement with an EK");
	return 0;
}

/* KDFe (part 1, section 11.4.10.3): digest(counter || Z || label || own x || peer x); all of it is wanted here. */
static int
kdfe(const struct template *t, struct bytes z, struct bytes own_x, struct bytes peer_x, uint8_t seed[SEED_MAX],
	struct err *e)
{
	struct buf in = { 0 };
	bool made;

	tpm_put_u32(&in, 1);
	buf_append_bytes(&in, z);
	buf_append(&in, label_identity, sizeof label_identity);
	buf_append_bytes(&in, own_x);
	buf_append_bytes(&in, peer_x);
	made = !buf_failed(&in) && EVP_Digest(in.at, in.len, seed, NULL, tpm_hash(t->name_alg), NULL) == 1;
	buf_free_secret(&in);
	return made ? 0 : err_ossl(e, ERR_BUG, "deriving a credential's seed");
}

/* One-pass Diffie-Hellman with a key of our own for this once (part 1, section C.6.1). */
static int
seed_for_ecc(const struct template *t, EVP_PKEY *ek, uint8_t seed[SEED_MAX], struct buf *encrypted, struct err *e)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *own = EVP_EC_gen(t == &low_range ? SN_X9_62_prime256v1 : SN_secp384r1);
	uint8_t own_x[SPKI_FIELD_MAX], own_y[SPKI_FIELD_MAX], ek_x[SPKI_FIELD_MAX], ek_y[SPKI_FIELD_MAX];
	uint8_t z[SPKI_FIELD_MAX];
	CLEANUP(buf) struct buf point = { 0 };
	int len, rc;

	if (own == NULL)
		return err_ossl(e, ERR_BUG, "making a key for a credential");
	len = spki_point(own, own_x, own_y, e);
	if (len < 0 || spki_point(ek, ek_x, ek_y, e) != len)
		return -1;
	rc = agree(own, ek, z, (size_t)len, e);
	if (rc == 0)
		rc = kdfe(t, bytes_of(z, (size_t)len), bytes_of(own_x, (size_t)len), bytes_of(ek_x, (size_t)len), seed, e);
	OPENSSL_cleanse(z, sizeof z);
	if (rc != 0)
		return -1;
	tpm_put_sized(&point, bytes_of(own_x, (size_t)len));
	tpm_put_sized(&point, bytes_of(own_y, (size_t)len));
	if (buf_failed(&point))
		return err_set(e, ERR_NOMEM, "no memory for a credential");
	tpm_put_sized(encrypted, buf_bytes(&point));
	return 0;
}

/* AES-CFB with an IV of zeros over TPM2B_DIGEST, under a key that holds for this name only (part 1, section 24.4). */
static int
encrypt_secret(const struct template *t, struct bytes seed, struct bytes name, const uint8_t *secret, struct buf *out,
	struct err *e)
{
	static const uint8_t iv[16] = { 0 };
	uint8_t key[32], plain[2 + CREDENTIAL_SECRET_LEN] = { 0, CREDENTIAL_SECRET_LEN }, sealed[sizeof plain];
	EVP_CIPHER_CTX *ctx;
	int len = 0, made = 0;

	if (kdfa(t, seed, label_storage, sizeof label_storage, name, key, t->cipher_key_len, e) != 0)
		return -1;
	memcpy(plain + 2, secret, CREDENTIAL_SECRET_LEN);
	ctx = EVP_CIPHER_CTX_new();
	if (ctx != NULL && EVP_EncryptInit_ex(ctx, t->cipher(), NULL, key, iv) == 1)
		made = EVP_EncryptUpdate(ctx, sealed, &len, plain, (int)sizeof plain);
	EVP_CIPHER_CTX_free(ctx);
	OPENSSL_cleanse(key, sizeof key);
	OPENSSL_cleanse(plain, sizeof plain);
	if (made != 1 || len != (int)sizeof sealed)
		return err_ossl(e, ERR_BUG, "encrypting a credential");
	buf_append(out, sealed, sizeof sealed);
	return 0;
}

/* TPMS_ID_OBJECT: the integrity over the encrypted secret and the name, then the encrypted secret. */
static int
put_id_object(const struct template *t, struct bytes seed, struct bytes name, const uint8_t *secret, struct buf *out,
	struct err *e)
{
	CLEANUP(buf) struct buf sealed = { 0 };
	uint8_t key[SEED_MAX], mac[EVP_MAX_MD_SIZE];
	size_t sealed_len;
	unsigned mac_len = 0;
	bool made;

	if (encrypt_secret(t, seed, name, secret, &sealed, e) != 0 ||
	    kdfa(t, seed, label_integrity, sizeof label_integrity, bytes_of(NULL, 0), key, t->digest_len, e) != 0)
		return -1;
	sealed_len = sealed.len;
	buf_append_bytes(&sealed, name);
	made = !buf_failed(&sealed) &&
		HMAC(tpm_hash(t->name_alg), key, (int)t->digest_len, sealed.at, sealed.len, mac, &mac_len) != NULL;
	OPENSSL_cleanse(key, sizeof key);
	if (!made)
		return err_ossl(e, ERR_BUG, "protecting a credential");
	tpm_put_u16(out, (uint16_t)(2 + mac_len + sealed_len));
	tpm_put_sized(out, bytes_of(mac, mac_len));
	buf_append(out, sealed.at, sealed_len);
	return 0;
}

int
tpm_make_credential(EVP_PKEY *ek, struct bytes ak_name, const uint8_t secret[CREDENTIAL_SECRET_LEN], struct buf *blob,
	struct buf *encrypted_secret, struct err *e)
{
	CLEANUP(buf) struct buf object = { 0 };
	CLEANUP(buf) struct buf sealed_seed = { 0 };
	const struct template *t = template_of(ek);
	uint8_t seed[SEED_MAX];
	int rc;

	if (ak_name.len < 3 || ak_name.len > TPM_NAME_MAX)
		return err_set(e, ERR_MALFORMED, "AK name of %zu octets", ak_name.len);
	if (t == NULL)
		return err_set(e, ERR_UNSUPPORTED, "EK of a kind or size that has no template");
	rc = EVP_PKEY_is_a(ek, "RSA") ? seed_for_rsa(t, ek, seed, &sealed_seed, e) :
					seed_for_ecc(t, ek, seed, &sealed_seed, e);
	if (rc == 0)
		rc = put_id_object(t, bytes_of(seed, t->digest_len), ak_name, secret, &object, e);
	OPENSSL_cleanse(seed, sizeof seed);
	if (rc != 0)
		return -1;
	if (buf_failed(&object) || buf_failed(&sealed_seed))
		return err_set(e, ERR_NOMEM, "no memory for a credential");
	buf_append_bytes(blob, buf_bytes(&object));
	buf_append_bytes(encrypted_secret, buf_bytes(&sealed_seed));
	return buf_failed(blob) || buf_failed(encrypted_secret) ? err_set(e, ERR_NOMEM, "no memory for a credential") : 0;
}
