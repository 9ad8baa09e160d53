/*
 * keygen.h - server-side key generation (RFC 7030, section 4.4).
 *
 * Private keys live in buffers that the caller frees with buf_free_secret().
 */
#ifndef EST_KEYGEN_H
#define EST_KEYGEN_H

#include "est/body.h"
#include "est/csr.h"

/* Make a key: KEY_EC_P256, KEY_EC_P384 (bits ignored) or KEY_RSA of 2048-4096 bits. *out is the caller's. */
MUST_USE int est_keygen_make(enum key_kind kind, int bits, EVP_PKEY **out, struct err *e);

/* The key as PKCS#8 PrivateKeyInfo DER (RFC 5958), appended to out. */
MUST_USE int est_keygen_pkcs8(const EVP_PKEY *key, struct buf *out, struct err *e);

#define EST_KEY_PACKAGE_OID "2.16.840.1.101.2.1.2.78.5" /* id-ct-KP-aKeyPackage (RFC 5958, appendix A) */

/*
 * Protect a key for its device (RFC 7030, section 4.4.2): the PKCS#8 octets,
 * as AsymmetricKeyPackage in SignedData signed by signer (may be NULL: then the
 * content is the bare PKCS#8), inside CMS EnvelopedData, AES-256-CBC content.
 * Exactly one recipient:
 *   recipient != NULL  key transport (RSA, OAEP) or key agreement (EC) to this certificate
 *   else               KEKRecipientInfo with kek (16, 24 or 32 octets) and kek_id
 * DER is appended to out. Never falls back to plaintext: any difficulty is an error.
 */
struct est_keygen_recipient {
	X509 *cert;
	struct bytes kek;
	struct bytes kek_id;
};
MUST_USE int est_keygen_envelop(struct bytes pkcs8, const struct est_keygen_recipient *recipient,
	X509 *signer, EVP_PKEY *signer_key, struct buf *out, struct err *e);

/*
 * The reverse, for clients: DER in, PKCS#8 appended to pkcs8. recipient names
 * the kek (kek_id empty: any), or the certificate that recipient_key belongs
 * to. A signature is verified with the certificate inside the message, which
 * becomes *signer, the caller's: whether to trust it is not decided here. NULL
 * when the key came unsigned.
 *
 * ERR_MALFORMED    not such a message, or one with other than one key
 * ERR_UNAUTHENTIC  it does not decrypt with this key, or the signature is wrong
 */
MUST_USE int est_keygen_open(struct bytes envelope, const struct est_keygen_recipient *recipient,
	EVP_PKEY *recipient_key, struct buf *pkcs8, X509 **signer, struct err *e);

/*
 * The multipart/mixed answer (RFC 7030, section 4.4.2; RFC 8951, section 3.2.3):
 * key part first, then the certificate part, each base64 with its own
 * Content-Type and Content-Transfer-Encoding: base64.
 *   encrypted  the key part is application/pkcs7-mime; smime-type=server-generated-key
 *              else application/pkcs8
 * boundary must not occur in either part: 16-70 characters of [A-Za-z0-9'].
 */
void est_keygen_multipart(struct buf *out, const char *boundary, struct bytes key, bool encrypted,
	struct bytes certs, enum est_base64_style style);

/* For clients: split a multipart/mixed body with this boundary into its two decoded parts. */
MUST_USE int est_keygen_split(struct bytes body, const char *boundary, struct buf *key, bool *encrypted,
	struct buf *certs, struct err *e);

#endif
