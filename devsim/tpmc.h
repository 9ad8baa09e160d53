/*
 * tpmc.h - a TPM 2.0 as a device uses it: its endorsement key, an attestation key, and keys that are certified by that.
 *
 * On tss2-esys. Every key is a primary one, made again from its template
 * whenever it is used and flushed right after: a TPM has few places for objects
 * (0x902 when they are full), and nothing has to be kept in it. The connection is
 * held between open and close; a software TPM serves one at a time.
 *
 * Areas and statements are in TPM wire form. Failures are ERR_UPSTREAM with the TPM's code in words, unless said otherwise.
 */
#ifndef DEVSIM_TPMC_H
#define DEVSIM_TPMC_H

#include "base/ossl.h"

enum tpmc_ek { TPMC_EK_RSA, TPMC_EK_ECC };
#define TPMC_EK_CHOICES "rsa|ecc" /* RSA-2048, ECC P-256: the low-range templates L-1 and L-2 of the EK credential profile */

struct tpmc;

/* tcti: "swtpm:host=127.0.0.1,port=2321", "device:/dev/tpmrm0". */
MUST_USE int tpmc_open(const char *tcti, enum tpmc_ek ek, struct tpmc **out, struct err *e);
void tpmc_close(struct tpmc *tpmc); /* after every key of it is freed */
DEFINE_CLEANUP(tpmc, struct tpmc *, tpmc_close);

/* The endorsement key's TPMT_PUBLIC, appended. */
MUST_USE int tpmc_ek_area(struct tpmc *tpmc, struct buf *area, struct err *e);
/* Its certificate as it stands in the TPM's memory, DER, appended; nothing when there is none. */
MUST_USE int tpmc_ek_certificate(struct tpmc *tpmc, struct buf *der, struct err *e);

/* The attestation key's TPMT_PUBLIC, appended: ECC P-256, restricted, always the same of one TPM. */
MUST_USE int tpmc_ak_area(struct tpmc *tpmc, struct buf *area, struct err *e);
/* What blob and secret (both TPM2B) hide for this TPM and its attestation key, appended. */
MUST_USE int tpmc_activate(struct tpmc *tpmc, struct bytes blob, struct bytes secret, struct buf *out, struct err *e);

/* The template of a new P-256 signing key (TPM2B_PUBLIC), appended: it holds random octets that no other has. */
MUST_USE int tpmc_key_template(struct buf *out, struct err *e);
/*
 * The key of a template, to be used like any other; each signature is the TPM's. At most
 * TPMC_KEYS_MAX of one tpmc. ERR_MALFORMED: not a template of such a key.
 */
#define TPMC_KEYS_MAX 8
MUST_USE int tpmc_key_open(struct tpmc *tpmc, struct bytes template, EVP_PKEY **out, struct err *e);

/* TPM2_Certify by the attestation key; nonce is qualifyingData, 0-64 octets. Each appended. */
MUST_USE int tpmc_certify(struct tpmc *tpmc, struct bytes template, struct bytes nonce, struct buf *attest,
	struct buf *signature, struct buf *area, struct err *e);

#endif
