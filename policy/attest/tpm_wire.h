/*
 * tpm_wire.h - TPM structures in wire form (TPM 2.0 library, part 2): a bounded big-endian reader, signatures, TPMS_ATTEST.
 *
 * Internal. Everything borrowed; every size is bounded by what the structure can hold, and octets left over are an error.
 */
#ifndef POLICY_ATTEST_TPM_WIRE_H
#define POLICY_ATTEST_TPM_WIRE_H

#include "base/ossl.h"

/* TPM_ALG_ID (part 2, section 6.3), as far as they are read. */
#define TPM_ALG_RSA       0x0001
#define TPM_ALG_AES       0x0006
#define TPM_ALG_SHA256    0x000b
#define TPM_ALG_SHA384    0x000c
#define TPM_ALG_SHA512    0x000d
#define TPM_ALG_NULL      0x0010
#define TPM_ALG_RSASSA    0x0014
#define TPM_ALG_RSAES     0x0015
#define TPM_ALG_RSAPSS    0x0016
#define TPM_ALG_OAEP      0x0017
#define TPM_ALG_ECDSA     0x0018
#define TPM_ALG_ECDH      0x0019
#define TPM_ALG_ECDAA     0x001a
#define TPM_ALG_SM2       0x001b
#define TPM_ALG_ECSCHNORR 0x001c
#define TPM_ALG_ECMQV     0x001d
#define TPM_ALG_ECC       0x0023
#define TPM_ALG_CFB       0x0043

#define TPM_CURVE_P256 0x0003
#define TPM_CURVE_P384 0x0004

#define TPM_GENERATED   0xff544347u /* "\xffTCG": the TPM made what follows, nobody handed it in to be signed */
#define TPM_ST_CERTIFY  0x8017
#define TPM_ST_CREATION 0x801a

#define TPM_DATA_MAX      66  /* TPM2B_DATA: an algorithm and the largest digest */
#define TPM_DIGEST_MAX    64
#define TPM_RSA_MAX       512 /* of a modulus or signature: RSA-4096 */
#define TPM_ECC_MAX       48  /* of a coordinate: P-384 */

uint16_t tpm_u16(struct cursor *c);
uint32_t tpm_u32(struct cursor *c);
uint64_t tpm_u64(struct cursor *c);
/* A TPM2B: 16 bits of size, and so many octets; more than max fails the cursor. */
struct bytes tpm_sized(struct cursor *c, size_t max);
void tpm_put_u16(struct buf *b, uint16_t value);
void tpm_put_u32(struct buf *b, uint32_t value);
void tpm_put_sized(struct buf *b, struct bytes octets);

/* SHA-256, SHA-384 or SHA-512; NULL for every other algorithm, SHA-1 among them. */
const EVP_MD *tpm_hash(uint16_t algorithm);

/* TPMS_ATTEST. name is there for certify and creation only; of other types the rest is not read. */
struct tpm_attest {
	uint32_t magic;
	uint16_t type;
	struct bytes nonce; /* extraData */
	uint64_t clock_ms;
	uint32_t resets, restarts;
	uint64_t firmware;
	struct bytes name; /* of the key it speaks of */
};
MUST_USE int tpm_attest_parse(struct bytes in, struct tpm_attest *out, struct err *e);

struct tpm_signature {
	uint16_t scheme, hash;
	struct bytes rsa;  /* RSASSA, RSAPSS */
	struct bytes r, s; /* ECDSA */
};
/* ERR_MALFORMED; ERR_UNSUPPORTED: a scheme or hash that is not taken. */
MUST_USE int tpm_signature_parse(struct bytes in, struct tpm_signature *out, struct err *e);
/* ERR_UNAUTHENTIC: it is not this key's over these octets. */
MUST_USE int tpm_signature_verify(const struct tpm_signature *signature, EVP_PKEY *key, struct bytes message,
	struct err *e);

/* The name of an object: nameAlg and the digest of its public area (part 1, section 16). out holds TPM_NAME_MAX octets. */
MUST_USE int tpm_name_of(uint16_t name_alg, struct bytes area, uint8_t *out, size_t *len, struct err *e);

#endif
