/*
 * credential.h - binding a TPM's attestation key to its endorsement key (TPM 2.0 part 1, section 24; MakeCredential).
 *
 * We encrypt a secret so that only the TPM which holds the EK, and has loaded a
 * key with exactly this AK's name, can give it back (TPM2_ActivateCredential).
 */
#ifndef POLICY_ATTEST_CREDENTIAL_H
#define POLICY_ATTEST_CREDENTIAL_H

#include "base/ossl.h"

#define CREDENTIAL_SECRET_LEN 32
#define TPM_PUBLIC_MAX 2048
#define TPM_NAME_MAX   66 /* nameAlg and digest */

/* TPMA_OBJECT (part 2, section 8.3). */
#define TPM_ATTR_FIXED_TPM             (1u << 1)  /* never leaves this TPM */
#define TPM_ATTR_FIXED_PARENT          (1u << 4)
#define TPM_ATTR_SENSITIVE_DATA_ORIGIN (1u << 5)  /* the TPM itself made the private key: it was not imported */
#define TPM_ATTR_USER_WITH_AUTH        (1u << 6)
#define TPM_ATTR_ENCRYPTED_DUPLICATION (1u << 11)
#define TPM_ATTR_RESTRICTED            (1u << 16) /* signs only what the TPM made itself */
#define TPM_ATTR_DECRYPT               (1u << 17)
#define TPM_ATTR_SIGN                  (1u << 18)

/* A TPMT_PUBLIC, reduced to what matters. Nothing points into the area. */
struct tpm_public {
	uint16_t type, name_alg;
	uint32_t attributes;          /* TPMA_OBJECT */
	uint8_t name[TPM_NAME_MAX];
	size_t name_len;
	EVP_PKEY *key;                /* owned: tpm_public_clear() */
	const char *weak;             /* NULL, or why nobody should trust the key (static text) */
	uint8_t spki_sha256[32];      /* of its DER SubjectPublicKeyInfo */
};
/*
 * area: TPMT_PUBLIC without the TPM2B size. RSA 2048-4096 and ECC P-256, P-384; names of SHA-256, SHA-384, SHA-512.
 * ERR_MALFORMED, ERR_UNSUPPORTED, ERR_LIMIT (longer than TPM_PUBLIC_MAX). *out is the caller's to clear; untouched on
 * failure.
 */
MUST_USE int tpm_public_parse(struct bytes area, struct tpm_public *out, struct err *e);
void tpm_public_clear(struct tpm_public *public_area); /* leaves it empty; may be called twice */

/*
 * May this key attest for others: fixedTPM, fixedParent, sensitiveDataOrigin, restricted, sign, not decrypt; and it is
 * not weak. ERR_DENIED names what lacks.
 */
MUST_USE int tpm_public_is_ak(const struct tpm_public *public_area, struct err *e);

/*
 * The key of an EK certificate. OpenSSL 3.0 cannot decode an RSAES-OAEP SubjectPublicKeyInfo, so that one is
 * read by hand. ek_sha256 is the hex SHA-256 of the EK's SubjectPublicKeyInfo with rsaEncryption
 * or id-ecPublicKey as algorithm, however the certificate spells it. *out is the caller's.
 */
MUST_USE int tpm_ek_key(const X509 *certificate, EVP_PKEY **out, char ek_sha256[65], struct err *e);
/* The same digest of a bare key. */
MUST_USE int tpm_ek_digest(EVP_PKEY *ek, char ek_sha256[65], struct err *e);

/*
 * ek: RSA of 2048 to 4096 bits or ECC P-256/P-384, by the templates of the EK credential profile: SHA-256 and
 * AES-128-CFB for RSA-2048 and P-256, SHA-384 and AES-256-CFB (its high range) for the larger ones. blob is TPM2B_ID_OBJECT,
 * encrypted_secret TPM2B_ENCRYPTED_SECRET, both with their size in front, appended.
 */
MUST_USE int tpm_make_credential(EVP_PKEY *ek, struct bytes ak_name, const uint8_t secret[CREDENTIAL_SECRET_LEN],
	struct buf *blob, struct buf *encrypted_secret, struct err *e);

#endif
