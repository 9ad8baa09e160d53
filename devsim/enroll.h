/*
 * enroll.h - one device's errand: what was asked for, what came of it.
 */
#ifndef DEVSIM_ENROLL_H
#define DEVSIM_ENROLL_H

#include "devsim/enroll_tpm.h"
#include "devsim/files.h"
#include "devsim/keys.h"
#include "devsim/options.h"

enum enroll_binding { BINDING_NONE, BINDING_AUTO, BINDING_WRONG };
#define BINDING_CHOICES "none|auto|wrong"

enum enroll_choice { CHOICE_CACERTS, CHOICE_CSRATTRS, CHOICE_ENROLL, CHOICE_REENROLL, CHOICE_KEYGEN,
	CHOICE_SKC, CHOICE_DISCOVER };
#define ENROLL_CHOICES "cacerts|csrattrs|enroll|reenroll|keygen|skc|discover"
extern const char *const enroll_choice_names[];

#define KEK_ID_MAX  64
#define KEK_KEY_MAX 32

struct enroll_options {
	struct client_options client;
	int choice;                  /* enum enroll_choice */
	const char *device, *cert, *key_file;
	const char *user, *secret, *secret_file;
	const char *subject;
	struct option_list alt_names;
	const char *key;             /* "ec:P-256" */
	int binding;                 /* enum enroll_binding */
	bool reuse_key, ask_ca, decrypt;
	const char *kek;             /* "ID:hexkey" */
	const char *repeat_csr, *save_csr;
	const char *chain;           /* CA certificates to check the issued one against */
	bool cacerts_first;
	int64_t wait_s;              /* 0: a 202 is the end */
	const char *out, *name;
	struct enroll_tpm_options tpm;
	bool verbose, json;
};

struct enroll_transport;

/* Everything one errand owns. */
struct enroll_run {
	struct enroll_options options;
	const struct enroll_transport *transport;
	struct client client;
	struct device device;        /* cert and key NULL: none */
	bool has_device;
	char name[DEVICE_NAME_MAX];  /* what files are called */
	struct buf authorization;
	struct key_spec key_spec;
	EVP_PKEY *key;               /* of the request; NULL with a repeated CSR whose key is not at hand */
	struct buf subject, alt_names;
	struct buf csr, spki;        /* DER */
	uint8_t kek_id[KEK_ID_MAX];
	size_t kek_id_len;
	uint8_t kek[KEK_KEY_MAX];
	size_t kek_len;
	struct enroll_tpm tpm;

	/* what came of it */
	int status;                  /* HTTP's, or CoAP's code as a decimal; 0: there was no answer */
	int64_t retry_after_s;       /* or Max-Age; -1: none */
	char reason[ERR_TEXT_MAX];   /* the server's words */
	STACK_OF(X509) *cas;         /* /cacerts, or --chain */
	STACK_OF(X509) *certs;       /* of the answer */
	X509 *issued;                /* one of certs, borrowed */
	EVP_PKEY *made_key;          /* keygen: the server's */
	bool key_was_encrypted;
	struct buf csrattrs;         /* text, one line an entry */
	struct buf links;            /* discovery: as they came (RFC 6690) */
	char cert_file[1024], key_out_file[1024], csr_file[1024];
	uint64_t polls;
	int64_t took_us;
};

/* What EST over HTTPS and EST over CoAP do each in their own way. */
struct enroll_transport {
	/* Send a request over the open connection; run->csr is there when it needs one. -1: there is no answer. */
	int (*exchange)(struct enroll_run *run, enum enroll_choice choice, struct err *e);
	/* What the answer's status means: an enum devsim_exit; *e is set unless it is DEVSIM_OK. */
	int (*judge)(struct enroll_run *run, struct err *e);
	/* Of csrattrs: the status says that there are none. */
	bool (*no_attributes)(const struct enroll_run *run);
	/* What is in the answer: certificates, CSR attributes as DER, a key with its certificate. */
	int (*certs)(struct enroll_run *run, STACK_OF(X509) **out, struct err *e);
	int (*attributes)(struct enroll_run *run, struct buf *der, struct err *e);
	int (*keygen)(struct enroll_run *run, struct err *e);
};
extern const struct enroll_transport enroll_http, enroll_coap;

/* Keep the links of a discovery. */
MUST_USE int enroll_coap_links(struct enroll_run *run, struct err *e);

/* Send the request of the options and judge the answer. An enum devsim_exit; *e is set unless it is DEVSIM_OK. */
int enroll_request(struct enroll_run *run, struct err *e);

/* Make key, names and request; called again when the connection, and with it the binding, is another. */
MUST_USE int enroll_make_csr(struct enroll_run *run, struct err *e);
/* Write the request to path and its key to path.key, or of a TPM's to path.tpm. */
MUST_USE int enroll_save_csr(const struct enroll_run *run, const char *path, struct err *e);
/*
 * Write a key to stem.key, or the request's, when it is of a TPM, to stem.tpm. path says where; "": there is no key to
 * write, and key may be NULL then.
 */
MUST_USE int enroll_save_key(const struct enroll_run *run, const char *stem, const EVP_PKEY *key,
	char path[FILE_PATH_MAX], struct err *e);
/* Read --repeat-csr. */
MUST_USE int enroll_load_csr(struct enroll_run *run, struct err *e);

/* Take a /serverkeygen answer apart: fills certs and made_key. */
MUST_USE int enroll_open_keygen(struct enroll_run *run, struct err *e);
/* Fill made_key from PKCS#8, or from CMS when key_was_encrypted says so. */
MUST_USE int enroll_take_key(struct enroll_run *run, struct bytes key, struct err *e);

/*
 * Write the files of --out: what was issued, or with pending the request as
 * NAME.csr, which --repeat-csr sends again.
 */
MUST_USE int enroll_save(struct enroll_run *run, bool pending, struct err *e);
/* Tell people, or programs with --json, how it ended; e is used unless code is DEVSIM_OK. */
void enroll_report(const struct enroll_run *run, int code, const struct err *e);

#endif
