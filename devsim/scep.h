/*
 * scep.h - one device's errand over SCEP: what was asked for, what came of it.
 */
#ifndef DEVSIM_SCEP_H
#define DEVSIM_SCEP_H

#include "devsim/keys.h"
#include "devsim/options.h"
#include "devsim/scep_client.h"

enum scep_choice { SCEP_CAPS, SCEP_CACERT, SCEP_NEXTCACERT, SCEP_ENROLL, SCEP_RENEW, SCEP_POLL, SCEP_GETCERT,
	SCEP_GETCRL };
#define SCEP_CHOICES "caps|cacert|nextcacert|enroll|renew|poll|getcert|getcrl"

struct scep_options {
	struct client_options client;
	int choice;                  /* enum scep_choice */
	int digest, cipher;          /* indices into SCEP_DIGEST_CHOICES, SCEP_CIPHER_CHOICES */
	const char *device, *cert, *key_file;
	const char *challenge, *challenge_file;
	const char *subject;
	struct option_list alt_names;
	const char *key, *request_key;
	const char *transaction;
	const char *of;              /* getcert, getcrl: the certificate in question */
	const char *chain;           /* trust anchors for RA and issued certificates; NULL: those of TLS */
	bool oaep, get, as_pkcsreq, reuse_key, resend, ask_ca;
	int64_t wait_s, every_s;     /* wait_s 0: PENDING is the end */
	const char *out, *name;
	bool verbose, json;
};

/* Everything one errand owns. */
struct scep_run {
	struct scep_options options;
	struct client client;
	struct scep_server server;
	struct device device;        /* cert and key NULL: none */
	char name[DEVICE_NAME_MAX];  /* what files are called */
	struct key_spec key_spec;
	EVP_PKEY *key;               /* of the request */
	X509 *self_signed;           /* NULL while the device has a certificate */
	struct buf challenge, subject, alt_names, csr, spki;
	STACK_OF(X509) *anchors;     /* NULL with --insecure alone */
	unsigned digest, cipher;
	char transaction[SCEP_TRANSACTION_MAX + 1];
	struct buf message;          /* the last one sent */
	uint8_t nonce[SCEP_NONCE_LEN];

	/* what came of it */
	bool replied;                /* there was a CertRep: */
	struct scep_reply reply;
	STACK_OF(X509) *certs;
	X509 *issued;                /* one of certs, borrowed */
	X509_CRL *crl;
	char cert_file[1024], key_out_file[1024];
	uint64_t polls;
	int64_t took_us;
};

/* Do what the options say. An enum devsim_exit; *e is set unless it is DEVSIM_OK. */
int scep_request(struct scep_run *run, struct err *e);

/* What PKIOperation carries, by the options: key, names, self-signed certificate and request are made, once. */
MUST_USE int scep_make_request(struct scep_run *run, struct err *e);
MUST_USE int scep_make_poll(const struct scep_run *run, struct buf *content, struct err *e);
MUST_USE int scep_make_question(struct scep_run *run, struct buf *content, struct err *e);
/* The message around it, in run->message. */
MUST_USE int scep_make_message(struct scep_run *run, enum scep_type type, struct bytes content, struct err *e);
/* Who signs, and whom the answer is encrypted to. */
X509 *scep_signer(const struct scep_run *run);
EVP_PKEY *scep_signer_key(const struct scep_run *run);

/* Write the files of --out: what came, or with pending the key alone, which --op poll takes. */
MUST_USE int scep_save(struct scep_run *run, bool pending, struct err *e);
/* Tell people, or programs with --json, how it ended; e is used unless code is DEVSIM_OK. */
void scep_report(struct scep_run *run, int code, const struct err *e);

#endif
