/*
 * est_make.h - certification requests for tests, written octet by octet.
 *
 * OpenSSL's own request builder cannot make the odd ones: unsorted or doubled
 * attributes, strange versions, indefinite lengths.
 */
#ifndef TESTS_UNIT_EST_MAKE_H
#define TESTS_UNIT_EST_MAKE_H

#include "base/der.h"
#include "base/key.h"

#define OID_CHALLENGE   "1.2.840.113549.1.9.7"
#define OID_EXTENSIONS  "1.2.840.113549.1.9.14"
#define OID_MS_EXTENSIONS "1.3.6.1.4.1.311.2.1.14"
#define OID_DECRYPT_ID  "1.2.840.113549.1.9.16.2.37"
#define OID_ASYM_ID     "1.2.840.113549.1.9.16.2.54"
#define OID_OTP         "1.2.840.113549.1.9.16.2.56"
#define OID_LINKING     "1.2.840.113549.1.9.16.2.58"
#define OID_ECDSA_SHA256 "1.2.840.10045.4.3.2"

/* One attribute, values being the contents of its SET. */
static inline void
make_attribute(struct buf *attributes, const char *oid, struct bytes values)
{
	size_t mark = der_begin(attributes, DER_SEQUENCE);

	der_put_oid(attributes, oid);
	der_put(attributes, DER_SET, values);
	der_end(attributes, mark);
}

/* An attribute with one value of one string type. */
static inline void
make_text_attribute(struct buf *attributes, const char *oid, uint8_t tag, struct bytes text)
{
	struct buf value = { 0 };

	der_put(&value, tag, text);
	make_attribute(attributes, oid, buf_bytes(&value));
	buf_free(&value);
}

/* One extension, appended to the contents of an Extensions SEQUENCE. */
static inline void
make_extension(struct buf *extensions, const char *oid, struct bytes value)
{
	size_t mark = der_begin(extensions, DER_SEQUENCE);

	der_put_oid(extensions, oid);
	der_put(extensions, DER_OCTET_STRING, value);
	der_end(extensions, mark);
}

static inline void
make_extensions_attribute(struct buf *attributes, const char *oid, struct bytes extensions)
{
	make_text_attribute(attributes, oid, DER_SEQUENCE, extensions);
}

static inline void
make_spki(struct buf *out, EVP_PKEY *key)
{
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(key, &der);

	buf_append(out, der, len < 0 ? 0 : (size_t)len);
	OPENSSL_free(der);
}

/* CertificationRequestInfo with CN=name; attributes: the contents of [0], NULL leaves the field out. */
static inline void
make_info(struct buf *out, uint8_t version, const char *name, struct bytes spki, const struct buf *attributes)
{
	size_t info = der_begin(out, DER_SEQUENCE), rdns, rdn, pair;

	der_put(out, DER_INTEGER, bytes_of(&version, 1));
	rdns = der_begin(out, DER_SEQUENCE);
	if (name[0] != '\0') {
		rdn = der_begin(out, DER_SET);
		pair = der_begin(out, DER_SEQUENCE);
		der_put_oid(out, "2.5.4.3");
		der_put(out, DER_UTF8_STRING, bytes_of_text(name));
		der_end(out, pair);
		der_end(out, rdn);
	}
	der_end(out, rdns);
	buf_append_bytes(out, spki);
	if (attributes != NULL)
		der_put(out, DER_CONTEXT_CONS(0), buf_bytes(attributes));
	der_end(out, info);
}

/* The outer request; algorithm: a whole AlgorithmIdentifier. */
static inline void
make_outer(struct buf *out, struct bytes info, struct bytes algorithm, struct bytes signature)
{
	size_t outer = der_begin(out, DER_SEQUENCE), bits;

	buf_append_bytes(out, info);
	buf_append_bytes(out, algorithm);
	bits = der_begin(out, DER_BIT_STRING);
	buf_append_u8(out, 0);
	buf_append_bytes(out, signature);
	der_end(out, bits);
	der_end(out, outer);
}

/* digest NULL: what Ed25519 wants; pss: salt length, or -1 for PKCS #1. */
static inline void
make_signature(struct buf *out, struct bytes data, EVP_PKEY *key, const char *digest, int pss)
{
	CLEANUP(EVP_MD_CTX) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *options = NULL;
	uint8_t signature[1024];
	size_t len = sizeof signature;

	if (EVP_DigestSignInit_ex(ctx, &options, digest, NULL, NULL, key, NULL) != 1)
		return;
	if (pss >= 0 && (EVP_PKEY_CTX_ctrl_str(options, "rsa_padding_mode", "pss") <= 0 ||
			EVP_PKEY_CTX_ctrl_str(options, "rsa_pss_saltlen", "digest") <= 0))
		return;
	if (EVP_DigestSign(ctx, signature, &len, data.at, data.len) == 1)
		buf_append(out, signature, len);
}

static inline void
make_algorithm(struct buf *out, const char *oid)
{
	size_t mark = der_begin(out, DER_SEQUENCE);

	der_put_oid(out, oid);
	der_end(out, mark);
}

/* Sign an info with ECDSA and SHA-256 and append the whole request. */
static inline void
make_signed(struct buf *out, struct bytes info, EVP_PKEY *key)
{
	struct buf algorithm = { 0 }, signature = { 0 };

	make_algorithm(&algorithm, OID_ECDSA_SHA256);
	make_signature(&signature, info, key, "SHA256", -1);
	make_outer(out, info, buf_bytes(&algorithm), buf_bytes(&signature));
	buf_free(&algorithm);
	buf_free(&signature);
}

/* The usual: version 0, CN=device-1, this EC key, these attributes. */
static inline void
make_request(struct buf *out, EVP_PKEY *key, const struct buf *attributes)
{
	struct buf spki = { 0 }, info = { 0 };

	make_spki(&spki, key);
	make_info(&info, 0, "device-1", buf_bytes(&spki), attributes);
	make_signed(out, buf_bytes(&info), key);
	buf_free(&spki);
	buf_free(&info);
}

#endif
