/*
 * scep_make.h - pkiMessages for tests, written octet by octet, so that every
 * part can be left out, doubled or wrong. Nothing of scep/build.c is in it.
 */
#ifndef TESTS_UNIT_SCEP_MAKE_H
#define TESTS_UNIT_SCEP_MAKE_H

#include <stdlib.h>
#include <string.h>

#include <openssl/rsa.h>

#include "base/der.h"
#include "base/ossl.h"

#define OID_DATA        "1.2.840.113549.1.7.1"
#define OID_SIGNED      "1.2.840.113549.1.7.2"
#define OID_ENVELOPED   "1.2.840.113549.1.7.3"
#define OID_RSA         "1.2.840.113549.1.1.1"
#define OID_MD5_RSA     "1.2.840.113549.1.1.4"
#define OID_SHA1_RSA    "1.2.840.113549.1.1.5"
#define OID_OAEP        "1.2.840.113549.1.1.7"
#define OID_MGF1        "1.2.840.113549.1.1.8"
#define OID_PSPECIFIED  "1.2.840.113549.1.1.9"
#define OID_PSS         "1.2.840.113549.1.1.10"
#define OID_SHA256_RSA  "1.2.840.113549.1.1.11"
#define OID_SHA384_RSA  "1.2.840.113549.1.1.12"
#define OID_SHA512_RSA  "1.2.840.113549.1.1.13"
#define OID_MD5         "1.2.840.113549.2.5"
#define OID_SHA1        "1.3.14.3.2.26"
#define OID_SHA224      "2.16.840.1.101.3.4.2.4"
#define OID_SHA256      "2.16.840.1.101.3.4.2.1"
#define OID_SHA384      "2.16.840.1.101.3.4.2.2"
#define OID_SHA512      "2.16.840.1.101.3.4.2.3"
#define OID_DES         "1.3.14.3.2.7"
#define OID_3DES        "1.2.840.113549.3.7"
#define OID_RC2         "1.2.840.113549.3.2"
#define OID_AES128      "2.16.840.1.101.3.4.1.2"
#define OID_AES192      "2.16.840.1.101.3.4.1.22"
#define OID_AES256      "2.16.840.1.101.3.4.1.42"
#define OID_AES128_GCM  "2.16.840.1.101.3.4.1.6"
#define OID_CONTENT_TYPE    "1.2.840.113549.1.9.3"
#define OID_MESSAGE_DIGEST  "1.2.840.113549.1.9.4"
#define OID_SIGNING_TIME    "1.2.840.113549.1.9.5"
#define OID_MESSAGE_TYPE    "2.16.840.1.113733.1.9.2"
#define OID_STATUS          "2.16.840.1.113733.1.9.3"
#define OID_FAIL            "2.16.840.1.113733.1.9.4"
#define OID_SENDER_NONCE    "2.16.840.1.113733.1.9.5"
#define OID_RECIPIENT_NONCE "2.16.840.1.113733.1.9.6"
#define OID_TRANSACTION     "2.16.840.1.113733.1.9.7"
#define OID_FAIL_TEXT       "1.3.6.1.5.5.7.24.1"

#define MAKE_NONCE "0123456789abcdef"

/* A value of definite or, for BER, of indefinite length; the mark is for make_end(). */
static inline size_t
make_begin(struct buf *out, bool ber, uint8_t tag)
{
	if (!ber)
		return der_begin(out, tag);
	buf_append_u8(out, tag);
	buf_append_u8(out, 0x80);
	return 0;
}

static inline void
make_end(struct buf *out, bool ber, size_t mark)
{
	static const uint8_t end[2] = { 0, 0 };

	if (ber)
		buf_append(out, end, sizeof end);
	else
		der_end(out, mark);
}

/* An OCTET STRING, or with another tag an implicit one; for BER in pieces, the constructed way. */
static inline void
make_octets(struct buf *out, bool ber, uint8_t tag, struct bytes octets)
{
	size_t mark, n;

	if (!ber) {
		der_put(out, tag, octets);
		return;
	}
	mark = make_begin(out, true, (uint8_t)(tag | 0x20));
	for (; octets.len > 0; octets.at += n, octets.len -= n) {
		n = octets.len < 100 ? octets.len : 100;
		der_put(out, DER_OCTET_STRING, bytes_of(octets.at, n));
	}
	make_end(out, true, mark);
}

/* AlgorithmIdentifier; parameters: a whole value, len 0 leaves them out. */
static inline void
make_algorithm(struct buf *out, const char *oid, struct bytes parameters)
{
	size_t mark = der_begin(out, DER_SEQUENCE);

	der_put_oid(out, oid);
	buf_append_bytes(out, parameters);
	der_end(out, mark);
}

/* One attribute; values: the contents of its SET. */
static inline void
make_attribute(struct buf *attributes, const char *oid, struct bytes values)
{
	size_t mark = der_begin(attributes, DER_SEQUENCE);

	der_put_oid(attributes, oid);
	der_put(attributes, DER_SET, values);
	der_end(attributes, mark);
}

static inline void
make_value(struct buf *attributes, const char *oid, uint8_t tag, struct bytes value)
{
	struct buf values = { 0 };

	der_put(&values, tag, value);
	make_attribute(attributes, oid, buf_bytes(&values));
	buf_free(&values);
}

static inline void
make_text(struct buf *attributes, const char *oid, const char *text)
{
	make_value(attributes, oid, DER_PRINTABLE_STRING, bytes_of_text(text));
}

static inline void
make_nonce(struct buf *attributes, const char *oid, const char *nonce)
{
	make_value(attributes, oid, DER_OCTET_STRING, bytes_of_text(nonce));
}

/* A certificate of key, signed by issuer_key. The serial number is len octets of 0x2b. version: 0 is v1. */
static inline X509 *
make_cert(EVP_PKEY *key, const char *subject, EVP_PKEY *issuer_key, const char *issuer, size_t serial_len, long version)
{
	X509 *cert = X509_new();
	X509_NAME *name = X509_NAME_new();
	BIGNUM *serial = BN_new();
	uint8_t octets[64];

	memset(octets, 0x2b, sizeof octets);
	(void)BN_bin2bn(octets, (int)serial_len, serial);
	(void)BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert));
	BN_free(serial);
	(void)X509_set_version(cert, version);
	(void)X509_gmtime_adj(X509_getm_notBefore(cert), 0);
	(void)X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	(void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)subject, -1, -1, 0);
	(void)X509_set_subject_name(cert, name);
	X509_NAME_free(name);
	name = X509_NAME_new();
	(void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)issuer, -1, -1, 0);
	(void)X509_set_issuer_name(cert, name);
	X509_NAME_free(name);
	(void)X509_set_pubkey(cert, key);
	if (version == 2) {
		X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &(X509V3_CTX){ .subject_cert = cert },
			NID_subject_key_identifier, "hash");

		(void)X509_add_ext(cert, ext, -1);
		X509_EXTENSION_free(ext);
	}
	(void)X509_sign(cert, issuer_key, EVP_sha256());
	return cert;
}

/* SignerIdentifier and RecipientIdentifier. */
static inline void
make_id(struct buf *out, X509 *cert, bool key_id)
{
	uint8_t *der = NULL;
	size_t mark;
	int len;

	if (key_id) {
		const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(cert);

		der_put(out, DER_CONTEXT(0), bytes_of(ASN1_STRING_get0_data(id), (size_t)ASN1_STRING_length(id)));
		return;
	}
	mark = der_begin(out, DER_SEQUENCE);
	len = i2d_X509_NAME(X509_get_issuer_name(cert), &der);
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	der = NULL;
	len = i2d_ASN1_INTEGER(X509_get0_serialNumber(cert), &der);
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	der_end(out, mark);
}

struct make {
	EVP_PKEY *key;             /* signs */
	X509 *cert;                /* is named as the signer */
	const char *digest;        /* OpenSSL's name */
	const char *digest_oid, *signature_oid;
	struct buf attributes;     /* all but contentType and messageDigest */
	const char *content_type;  /* the attribute; NULL: none */
	bool no_message_digest, wrong_message_digest, no_attributes;
	struct buf content;        /* eContent */
	bool no_content;           /* absent, not empty */
	const char *inner_type;    /* eContentType */
	struct buf certs;          /* the contents of [0] */
	unsigned signers;
	bool key_id;               /* SignerIdentifier is a subjectKeyIdentifier */
	bool ber;                  /* indefinite lengths, constructed strings */
};

static inline void
make_add_cert(struct make *m, const X509 *cert)
{
	struct err e;

	if (x509_to_der(cert, &m->certs, &e) != 0)
		abort();
}

/* What every request has. */
static inline void
make_start(struct make *m, EVP_PKEY *key, X509 *cert, const char *type)
{
	*m = (struct make){ .key = key, .cert = cert, .digest = "SHA256", .digest_oid = OID_SHA256,
		.signature_oid = OID_RSA, .content_type = OID_DATA, .inner_type = OID_DATA, .signers = 1 };
	if (cert != NULL)
		make_add_cert(m, cert);
	if (type != NULL) {
		make_text(&m->attributes, OID_MESSAGE_TYPE, type);
		make_text(&m->attributes, OID_TRANSACTION, "transaction+/=1");
		make_nonce(&m->attributes, OID_SENDER_NONCE, MAKE_NONCE);
	}
}

static inline void
make_free(struct make *m)
{
	buf_free(&m->attributes);
	buf_free(&m->content);
	buf_free(&m->certs);
}

static inline void
make_all_attributes(const struct make *m, struct buf *out)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	struct buf oid = { 0 };
	unsigned len = 0;

	if (m->content_type != NULL) {
		der_put_oid(&oid, m->content_type);
		make_attribute(out, OID_CONTENT_TYPE, buf_bytes(&oid));
	}
	if (!m->no_message_digest) {
		(void)EVP_Digest(m->content.at, m->content.len, digest, &len, EVP_get_digestbyname(m->digest), NULL);
		digest[0] ^= m->wrong_message_digest;
		make_value(out, OID_MESSAGE_DIGEST, DER_OCTET_STRING, bytes_of(digest, len));
	}
	buf_append_bytes(out, buf_bytes(&m->attributes));
	buf_free(&oid);
}

static inline void
make_signer(const struct make *m, struct buf *out)
{
	static const uint8_t version = 1;
	CLEANUP(EVP_MD_CTX) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	struct buf attributes = { 0 }, set = { 0 };
	uint8_t signature[1024];
	size_t len = sizeof signature, mark = make_begin(out, m->ber, DER_SEQUENCE), inner;

	make_all_attributes(m, &attributes);
	der_put(&set, DER_SET, buf_bytes(&attributes));
	if (EVP_DigestSignInit_ex(ctx, NULL, m->digest, NULL, NULL, m->key, NULL) != 1 ||
	    EVP_DigestSign(ctx, signature, &len, set.at, set.len) != 1)
		abort();
	der_put(out, DER_INTEGER, bytes_of(&version, 1));
	make_id(out, m->cert, m->key_id);
	make_algorithm(out, m->digest_oid, bytes_of("\x05\x00", 2));
	if (!m->no_attributes) {
		inner = make_begin(out, m->ber, DER_CONTEXT_CONS(0));
		buf_append_bytes(out, buf_bytes(&attributes));
		make_end(out, m->ber, inner);
	}
	make_algorithm(out, m->signature_oid, bytes_of("\x05\x00", 2));
	make_octets(out, m->ber, DER_OCTET_STRING, bytes_of(signature, len));
	make_end(out, m->ber, mark);
	buf_free(&attributes);
	buf_free(&set);
}

static inline void
make_message(const struct make *m, struct buf *out)
{
	static const uint8_t version = 1;
	size_t outer = make_begin(out, m->ber, DER_SEQUENCE), explicit, data, part;
	unsigned i;

	der_put_oid(out, OID_SIGNED);
	explicit = make_begin(out, m->ber, DER_CONTEXT_CONS(0));
	data = make_begin(out, m->ber, DER_SEQUENCE);
	der_put(out, DER_INTEGER, bytes_of(&version, 1));
	part = make_begin(out, m->ber, DER_SET);
	make_algorithm(out, m->digest_oid, bytes_of("\x05\x00", 2));
	make_end(out, m->ber, part);
	part = make_begin(out, m->ber, DER_SEQUENCE);
	der_put_oid(out, m->inner_type);
	if (!m->no_content) {
		size_t inner = make_begin(out, m->ber, DER_CONTEXT_CONS(0));

		make_octets(out, m->ber, DER_OCTET_STRING, buf_bytes(&m->content));
		make_end(out, m->ber, inner);
	}
	make_end(out, m->ber, part);
	if (m->certs.len != 0) {
		part = make_begin(out, m->ber, DER_CONTEXT_CONS(0));
		buf_append_bytes(out, buf_bytes(&m->certs));
		make_end(out, m->ber, part);
	}
	part = make_begin(out, m->ber, DER_SET);
	for (i = 0; i < m->signers; i++)
		make_signer(m, out);
	make_end(out, m->ber, part);
	make_end(out, m->ber, data);
	make_end(out, m->ber, explicit);
	make_end(out, m->ber, outer);
}

/* An envelope. What is NULL or 0 is the usual: AES-128, PKCS#1 v1.5, one recipient, data. */
struct make_envelope {
	const EVP_CIPHER *cipher;
	const char *cipher_oid;
	const char *inner_type;
	const char *transport_oid;  /* the RecipientInfo's algorithm */
	struct buf transport;       /* its parameters */
	const char *oaep, *mgf1;    /* digests; NULL: PKCS#1 v1.5 */
	X509 *others[32];           /* recipients before ours; NULL ends them */
	X509 *cert;                 /* ours; NULL: nobody after the others */
	struct buf strange;         /* RecipientInfos as they are, before all */
	struct bytes encrypted_key; /* instead of the right one */
	size_t key_len;             /* instead of the cipher's */
	struct bytes iv;            /* instead of the right one */
	bool key_id;
	bool wrong_padding, cut_block, empty, no_octets;
	bool ber;
};

static inline void
make_recipient(const struct make_envelope *m, X509 *cert, struct bytes key, struct buf *out)
{
	static const uint8_t version = 0;
	CLEANUP(EVP_PKEY_CTX) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(X509_get0_pubkey(cert), NULL);
	size_t mark = make_begin(out, m->ber, DER_SEQUENCE);
	uint8_t encrypted[1024];
	size_t len = sizeof encrypted;

	if (EVP_PKEY_encrypt_init(ctx) != 1 ||
	    (m->oaep != NULL && (EVP_PKEY_CTX_ctrl_str(ctx, "rsa_padding_mode", "oaep") <= 0 ||
			EVP_PKEY_CTX_ctrl_str(ctx, "rsa_oaep_md", m->oaep) <= 0 ||
			EVP_PKEY_CTX_ctrl_str(ctx, "rsa_mgf1_md", m->mgf1) <= 0)) ||
	    EVP_PKEY_encrypt(ctx, encrypted, &len, key.at, key.len) != 1)
		abort();
	der_put(out, DER_INTEGER, bytes_of(&version, 1));
	make_id(out, cert, m->key_id);
	make_algorithm(out, m->transport_oid != NULL ? m->transport_oid : OID_RSA,
		m->transport_oid != NULL ? buf_bytes(&m->transport) : bytes_of("\x05\x00", 2));
	make_octets(out, m->ber, DER_OCTET_STRING,
		m->encrypted_key.len != 0 ? m->encrypted_key : bytes_of(encrypted, len));
	make_end(out, m->ber, mark);
}

static inline void
make_ciphertext(const struct make_envelope *m, const EVP_CIPHER *cipher, const uint8_t *key, const uint8_t *iv,
	struct bytes plain, struct buf *out)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	struct buf text = { 0 };
	uint8_t *sealed = malloc(plain.len + 64);
	int block = EVP_CIPHER_get_block_size(cipher), first = 0, last = 0;
	size_t fill = (size_t)block - plain.len % (size_t)block, i;

	buf_append_bytes(&text, plain);
	for (i = 0; i < fill; i++)
		buf_append_u8(&text, (uint8_t)(m->wrong_padding ? 0xee : fill));
	if (m->empty) /* one whole block of padding */
		buf_clear(&text);
	for (i = 0; i < (m->empty ? (size_t)block : 0); i++)
		buf_append_u8(&text, (uint8_t)block);
	if (sealed == NULL || EVP_EncryptInit_ex(ctx, cipher, NULL, key, iv) != 1 ||
	    EVP_CIPHER_CTX_set_padding(ctx, 0) != 1 ||
	    EVP_EncryptUpdate(ctx, sealed, &first, text.at, (int)text.len) != 1 ||
	    EVP_EncryptFinal_ex(ctx, sealed + first, &last) != 1)
		abort();
	make_octets(out, m->ber, DER_CONTEXT(0), bytes_of(sealed, (size_t)first - (m->cut_block ? 1 : 0)));
	EVP_CIPHER_CTX_free(ctx);
	buf_free(&text);
	free(sealed);
}

static inline void
make_enveloped(const struct make_envelope *m, struct bytes plain, struct buf *out)
{
	static const uint8_t version = 0;
	const EVP_CIPHER *cipher = m->cipher != NULL ? m->cipher : EVP_aes_128_cbc();
	size_t key_len = m->key_len != 0 ? m->key_len : (size_t)EVP_CIPHER_get_key_length(cipher);
	size_t outer = make_begin(out, m->ber, DER_SEQUENCE), explicit, data, part, i;
	struct buf iv_der = { 0 };
	uint8_t key[64], iv[16];

	memset(key, 0x51, sizeof key);
	memset(iv, 0x1f, sizeof iv);
	der_put(&iv_der, DER_OCTET_STRING,
		m->iv.at != NULL ? m->iv : bytes_of(iv, (size_t)EVP_CIPHER_get_iv_length(cipher)));
	der_put_oid(out, OID_ENVELOPED);
	explicit = make_begin(out, m->ber, DER_CONTEXT_CONS(0));
	data = make_begin(out, m->ber, DER_SEQUENCE);
	der_put(out, DER_INTEGER, bytes_of(&version, 1));
	part = make_begin(out, m->ber, DER_SET);
	buf_append_bytes(out, buf_bytes(&m->strange));
	for (i = 0; i < sizeof m->others / sizeof m->others[0] && m->others[i] != NULL; i++)
		make_recipient(m, m->others[i], bytes_of(key, key_len), out);
	if (m->cert != NULL)
		make_recipient(m, m->cert, bytes_of(key, key_len), out);
	make_end(out, m->ber, part);
	part = make_begin(out, m->ber, DER_SEQUENCE);
	der_put_oid(out, m->inner_type != NULL ? m->inner_type : OID_DATA);
	make_algorithm(out, m->cipher_oid != NULL ? m->cipher_oid : OID_AES128, buf_bytes(&iv_der));
	if (!m->no_octets)
		make_ciphertext(m, cipher, key, iv, plain, out);
	make_end(out, m->ber, part);
	make_end(out, m->ber, data);
	make_end(out, m->ber, explicit);
	make_end(out, m->ber, outer);
	buf_free(&iv_der);
}

#endif
