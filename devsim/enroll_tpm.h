/*
 * enroll_tpm.h - devsim enroll with a key that lives in a TPM 2.0, and evidence that it does.
 *
 * What has to be kept of such a key lies beside its certificate, in NAME.tpm: its
 * template, which only that TPM makes this key from, and whether the attestation key is bound.
 */
#ifndef DEVSIM_ENROLL_TPM_H
#define DEVSIM_ENROLL_TPM_H

#include "devsim/client.h"
#include "devsim/tpmc.h"

enum enroll_evidence {
	EVIDENCE_GOOD,        /* of the request's key, with a nonce the server gave */
	EVIDENCE_NONE,
	EVIDENCE_NO_NONCE,    /* an empty one */
	EVIDENCE_WRONG_NONCE, /* one the server did not give */
	EVIDENCE_OTHER_KEY,   /* of another key in the same TPM */
	EVIDENCE_BORROWED,    /* ... while the request's key is made by software */
};
#define EVIDENCE_CHOICES "good|none|no-nonce|wrong-nonce|other-key|borrowed"

enum enroll_bind { BIND_AUTO, BIND_ALWAYS, BIND_NEVER, BIND_WRONG };
#define BIND_CHOICES "auto|always|never|wrong"

#define TPM_AK_ID_MAX 65

struct enroll_tpm_options {
	const char *tcti;     /* NULL: no TPM */
	int ek;               /* enum tpmc_ek */
	int evidence;         /* enum enroll_evidence */
	int bind;             /* enum enroll_bind */
	const char *nonce;    /* hexadecimal; NULL: ask the server */
	const char *ak_cert;  /* PEM: the attestation key's certificate and those above it */
	const char *ak_area;  /* another TPMT_PUBLIC to send as the attestation key's */
};

struct enroll_tpm {
	struct tpmc *tpmc;
	struct buf key, device_key; /* templates: of the request's key, of the client certificate's; len 0: no key of a TPM */
	struct buf evidence;        /* the attribute's value; len 0: none */
	char bound_ak[TPM_AK_ID_MAX]; /* SHA-256 of the attestation key's area that was bound; "": none was */
	char bound_at[256];         /* by which server */
	int64_t bound_until_s;
	bool bound_now;
	int refused;                /* enum devsim_exit: what the server said to a step before the request; DEVSIM_OK: nothing bad */
};

struct enroll_run;

/* Open the TPM of the options. */
MUST_USE int enroll_tpm_open(struct enroll_run *run, struct err *e);
void enroll_tpm_close(struct enroll_tpm *tpm); /* after all keys are freed */

/* Whether a device is STEM.pem and STEM.tpm, rather than STEM.key. stem may be NULL. */
bool enroll_tpm_is_device(const char *stem);
MUST_USE int enroll_tpm_load_device(struct enroll_run *run, struct err *e);

/* Look into the NAME.tpm that --out has already, if it has one: the attestation key may be bound. */
MUST_USE int enroll_tpm_recall(struct enroll_run *run, struct err *e);
/* A new key for the request. */
MUST_USE int enroll_tpm_key(struct enroll_run *run, struct err *e);
/* Bind the attestation key if that is needed, ask for a nonce, and make evidence. The connection is open. */
MUST_USE int enroll_tpm_attest(struct enroll_run *run, struct err *e);
/* Bind the attestation key, area, in two steps over the open connection. */
MUST_USE int enroll_tpm_bind(struct enroll_run *run, struct bytes area, struct err *e);

/* NAME.tpm. Reading one for the template alone needs no TPM. */
MUST_USE int enroll_tpm_save(const struct enroll_run *run, const char *path, struct err *e);
MUST_USE int enroll_tpm_read(struct enroll_run *run, const char *path, struct buf *template, struct err *e);

/* devsim tpm show */
int tpm_main(int argc, char **argv);

#endif
