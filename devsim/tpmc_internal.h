/*
 * tpmc_internal.h - what the files of tpmc share.
 */
#ifndef DEVSIM_TPMC_INTERNAL_H
#define DEVSIM_TPMC_INTERNAL_H

#include <openssl/ec.h>
#include <tss2/tss2_esys.h>

#include "devsim/tpmc.h"

struct tpmc_key {
	struct tpmc *tpmc;
	TPM2B_PUBLIC template;
};

struct tpmc {
	enum tpmc_ek ek;
	TSS2_TCTI_CONTEXT *tcti;
	ESYS_CONTEXT *esys;
	EC_KEY_METHOD *method;  /* NULL: no key was opened yet */
	struct tpmc_key keys[TPMC_KEYS_MAX];
	size_t key_count;
};

/* The templates. */
TPM2B_PUBLIC tpmc_template_ek(enum tpmc_ek kind);
TPM2B_PUBLIC tpmc_template_ak(void);
/* Whether a template is one that tpmc_key_template() makes. */
bool tpmc_template_is_key(const TPM2B_PUBLIC *template);
MUST_USE int tpmc_template_read(struct bytes octets, TPM2B_PUBLIC *out, struct err *e);

/* Fills *e from the TPM's or the library's code; returns -1. */
int tpmc_error(struct err *e, const char *command, TSS2_RC rc);

/* Make a primary key; *area (may be NULL) is the caller's, Esys_Free(). tpmc_flush() ends it. */
MUST_USE int tpmc_primary(struct tpmc *tpmc, ESYS_TR hierarchy, const TPM2B_PUBLIC *template, ESYS_TR *out,
	TPM2B_PUBLIC **area, struct err *e);
void tpmc_flush(struct tpmc *tpmc, ESYS_TR handle);
/* The TPMT_PUBLIC, appended. */
MUST_USE int tpmc_put_area(const TPM2B_PUBLIC *area, struct buf *out, struct err *e);

#endif
