#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "base/der.h"
#include "base/key.h"
#include "scep/read.h"

#define CHUNK 4096

DEFINE_CLEANUP(EVP_CIPHER_CTX, EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free);

/* The content-encryption key: overwritten when it leaves scope. */
struct content_key {
	uint8_t at[EVP_MAX_KEY_LENGTH];
	size_t len;
};

static inline void
content_key_auto(struct content_key *key)
{
	OPENSSL_cleanse(key, sizeof *key);
}

/* Whom the content is encrypted to. */
struct recipient {
	X509 *cert;                   /* NULL: these say what is to be said of it */
	struct bytes name, serial;
	const struct rsa_public *key; /* made ready; NULL: the certificate's, by EVP */
};

static int
encrypt_key(const struct recipient *to, const struct content_key *key, bool oaep, uint8_t out[RSA_BITS_MAX / 8],
	size_t *len, struct err *e)
{
	CLEANUP(EVP_PKEY_CTX) EVP_PKEY_CTX *ctx = NULL;
	EVP_PKEY *public_key;

	if (!oaep && to->key != NULL)
		return rsa_public_encrypt(to->key, bytes_of(key->at, key->len), out, len, e);
	public_key = to->cert == NULL ? NULL : X509_get0_pubkey(to->cert);
	if (public_key == NULL || !EVP_PKEY_is_a(public_key, "RSA") || EVP_PKEY_get_bits(public_key) > RSA_BITS_MAX) {
		ERR_clear_error();
		return err_set(e, ERR_UNSUPPORTED, "a SCEP recipient's key must be RSA of at most %d bits",
			RSA_BITS_MAX);
	}
	ctx = EVP_PKEY_CTX_new_from_pkey(NULL, public_key, NULL);
	*len = RSA_BITS_MAX / 8;
	if (ctx == NULL || EVP_PKEY_encrypt_init(ctx) != 1 ||
	    EVP_PKEY_CTX_set_rsa_padding(ctx, oaep ? RSA_PKCS1_OAEP_PADDING : RSA_PKCS1_PADDING) != 1 ||
	    EVP_PKEY_encrypt(ctx, out, len, key->at, key->len) != 1)
		return err_ossl(e, ERR_BUG, "encrypting to a SCEP recipient");
	return 0;
}

static void
put_id(const struct recipient *to, struct buf *out)
{
	size_t sequence;

	if (to->cert != NULL) {
		scep_put_issuer_and_serial(out, to->cert);
		return;
	}
	sequence = der_begin(out, DER_SEQUENCE);
	buf_append_bytes(out, to->name);
	buf_append_bytes(out, to->serial);
	der_end(out, sequence);
}

/*
 * RFC 5652, section 6.2.1: version 0, because issuerAndSerialNumber identifies
 * the recipient. OAEP with its default parameters (RFC 8017, appendix A.2.1),
 * which "SHOULD be omitted": every reader knows these.
 */
static int
put_recipient(const struct recipient *to, const struct content_key *key, bool oaep, struct buf *out, struct err *e)
{
	static const uint8_t version_0[] = { DER_INTEGER, 1, 0 };
	static const uint8_t oaep_defaults[] = { DER_SEQUENCE, 13, DER_OID, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d,
		0x01, 0x01, 0x07, DER_SEQUENCE, 0 };
	uint8_t encrypted[RSA_BITS_MAX / 8];
	size_t len = 0, sequence;

	if (encrypt_key(to, key, oaep, encrypted, &len, e) != 0)
		return -1;
	sequence = der_begin(out, DER_SEQUENCE);
	buf_append(out, version_0, sizeof version_0);
	put_id(to, out);
	if (oaep)
		buf_append(out, oaep_defaults, sizeof oaep_defaults);
	else
		scep_put_algorithm(out, NID_rsaEncryption, true);
	der_put(out, DER_OCTET_STRING, bytes_of(encrypted, len));
	der_end(out, sequence);
	return 0;
}

static int
put_recipients(const struct scep_build *build, const struct content_key *key, struct buf *out, struct err *e)
{
	const struct scep_message *message = build->to;
	int i, n = sk_X509_num(build->recipients); /* -1 when there are none */

	for (i = 0; i < n; i++) {
		struct recipient to = { .cert = sk_X509_value(build->recipients, i) };

		if (put_recipient(&to, key, build->oaep, out, e) != 0)
			return -1;
	}
	if (n < 1) {
		const struct scep_plain *plain = &message->parts->plain;
		struct recipient to = { .cert = message->signer, .name = plain->name, .serial = plain->serial,
			.key = message->parts->key };

		return put_recipient(&to, key, build->oaep, out, e);
	}
	return 0;
}

static int
put_ciphertext(EVP_CIPHER_CTX *ctx, struct bytes content, struct buf *out, struct err *e)
{
	uint8_t block[CHUNK + EVP_MAX_BLOCK_LENGTH];
	size_t mark = der_begin(out, DER_CONTEXT(0)), done, n;
	int len = 0;

	for (done = 0; done < content.len; done += n) {
		n = content.len - done < CHUNK ? content.len - done : CHUNK;
		if (EVP_EncryptUpdate(ctx, block, &len, content.at + done, (int)n) != 1)
			return err_ossl(e, ERR_BUG, "encrypting a SCEP message");
		buf_append(out, block, (size_t)len);
	}
	if (EVP_EncryptFinal_ex(ctx, block, &len) != 1)
		return err_ossl(e, ERR_BUG, "encrypting a SCEP message");
	buf_append(out, block, (size_t)len);
	der_end(out, mark);
	return 0;
}

/* EncryptedContentInfo (RFC 5652, section 6.1) with an initialisation vector as the algorithm's parameter. */
static int
put_encrypted_content(EVP_CIPHER_CTX *ctx, struct bytes iv, struct bytes content, struct buf *out, struct err *e)
{
	const ASN1_OBJECT *oid = OBJ_nid2obj(EVP_CIPHER_get_nid(EVP_CIPHER_CTX_get0_cipher(ctx)));
	size_t sequence, algorithm;

	if (oid == NULL || OBJ_length(oid) == 0)
		return err_set(e, ERR_BUG, "a cipher without an object identifier");
	sequence = der_begin(out, DER_SEQUENCE);
	der_put_oid(out, "1.2.840.113549.1.7.1");
	algorithm = der_begin(out, DER_SEQUENCE);
	der_put(out, DER_OID, bytes_of(OBJ_get0_data(oid), OBJ_length(oid)));
	der_put(out, DER_OCTET_STRING, iv);
	der_end(out, algorithm);
	if (put_ciphertext(ctx, content, out, e) != 0)
		return -1;
	der_end(out, sequence);
	return 0;
}

/* RFC 3370, section 7.1: DES keys carry parity in the lowest bit of each octet, and some readers check it. */
static void
set_odd_parity(struct content_key *key)
{
	size_t i;

	for (i = 0; i < key->len; i++) {
		unsigned octet = key->at[i] & 0xfeu, folded = octet ^ octet >> 4;

		folded ^= folded >> 2;
		folded ^= folded >> 1;
		key->at[i] = (uint8_t)(octet | (~folded & 1u));
	}
}

static int
begin_cipher(unsigned cipher, EVP_CIPHER_CTX *ctx, struct content_key *key, uint8_t iv[EVP_MAX_IV_LENGTH],
	struct err *e)
{
	const EVP_CIPHER *algorithm = scep_cipher(cipher);

	if (algorithm == NULL)
		return err_set(e, ERR_UNSUPPORTED, "SCEP cipher %s is not available", scep_algorithm_name(cipher));
	if (ctx == NULL)
		return err_set(e, ERR_NOMEM, "SCEP message: no memory");
	key->len = (size_t)EVP_CIPHER_get_key_length(algorithm);
	if (random_octets(key->at, key->len, e) != 0 ||
	    random_octets(iv, (size_t)EVP_CIPHER_get_iv_length(algorithm), e) != 0)
		return -1;
	if ((cipher & (SCEP_DES | SCEP_3DES)) != 0)
		set_odd_parity(key);
	if (EVP_EncryptInit_ex(ctx, algorithm, NULL, key->at, iv) != 1)
		return err_ossl(e, ERR_BUG, "SCEP content key");
	return 0;
}

int
scep_envelop(const struct scep_build *build, struct buf *out, struct err *e)
{
	static const uint8_t version_0[] = { DER_INTEGER, 1, 0 };
	CLEANUP(EVP_CIPHER_CTX) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	CLEANUP(content_key) struct content_key key = { 0 };
	uint8_t iv[EVP_MAX_IV_LENGTH] = { 0 };
	size_t content, explicit, enveloped, set;

	if (sk_X509_num(build->recipients) < 1 && (build->to == NULL || !build->to->parts->verified))
		return err_set(e, ERR_BUG, "SCEP message with content and without a recipient");
	if (begin_cipher(build->cipher, ctx, &key, iv, e) != 0)
		return -1;
	content = der_begin(out, DER_SEQUENCE);
	der_put_oid(out, "1.2.840.113549.1.7.3");
	explicit = der_begin(out, DER_CONTEXT_CONS(0));
	enveloped = der_begin(out, DER_SEQUENCE);
	buf_append(out, version_0, sizeof version_0);
	set = der_begin(out, DER_SET);
	if (put_recipients(build, &key, out, e) != 0)
		return -1;
	der_end(out, set);
	if (put_encrypted_content(ctx, bytes_of(iv, (size_t)EVP_CIPHER_CTX_get_iv_length(ctx)), build->content, out,
	    e) != 0)
		return -1;
	der_end(out, enveloped);
	der_end(out, explicit);
	der_end(out, content);
	return 0;
}
