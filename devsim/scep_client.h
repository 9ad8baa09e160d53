/*
 * scep_client.h - a SCEP client (RFC 8894): requests written, answers judged.
 *
 * All but scep_fetch() is pure, apart from reading the clock for a
 * self-signed certificate. Exit codes are enum devsim_exit.
 */
#ifndef DEVSIM_SCEP_CLIENT_H
#define DEVSIM_SCEP_CLIENT_H

#include "devsim/client.h"
#include "scep/build.h"
#include "scep/message.h"
#include "scep/query.h"

/* --- algorithms ---------------------------------------------------------- */

/* Choices of options; index 0 leaves it to GetCACaps. */
#define SCEP_DIGEST_CHOICES "auto|md5|sha1|sha256|sha384|sha512"
#define SCEP_CIPHER_CHOICES "auto|des|3des|aes128|aes192|aes256"

/*
 * The algorithms of a request, one bit each. RFC 8894, section 3.5.2: "The client
 * SHOULD use SHA-256 in preference to SHA-1 hashing and AES128-CBC in preference to
 * triple DES-CBC". ERR_UNSUPPORTED: left to a server that names none.
 */
MUST_USE int scep_choose(int digest_choice, int cipher_choice, const struct scep_caps *caps, unsigned *digest,
	unsigned *cipher, struct err *e);

/* --- one HTTP request ----------------------------------------------------- */

struct scep_http {
	const struct url *url;
	const char *label;     /* "": none */
	enum scep_operation operation;
	struct bytes message;  /* PKIOperation */
	bool get;              /* PKIOperation by GET */
	bool close;            /* the last one on its connection */
};

/* Head and body as they go on the wire, appended. */
void scep_http_write(const struct scep_http *request, struct buf *out);

/* Connect when needed, send, wait for the answer, in client->conn.answer. DEVSIM_OK: it is HTTP 200. url and label are filled in. */
int scep_exchange(struct client *client, struct scep_http *request, struct err *e);

/* --- the server ------------------------------------------------------------ */

/* What GetCACaps and GetCACert say. Zero-initialise; scep_server_free() at the end. */
struct scep_server {
	struct buf caps_text;
	struct scep_caps caps;
	STACK_OF(X509) *certs;      /* as they came */
	STACK_OF(X509) *recipients; /* the one of them that requests are encrypted to, borrowed */
	X509 *ca;                   /* the one of them that issues, or NULL: its name goes into CertPoll; borrowed */
};
void scep_server_free(struct scep_server *server);

/* Take GetCACert's answer (section 4.2.1). ERR_MALFORMED: neither kind of answer, or nobody in it to encrypt to. */
MUST_USE int scep_server_take(struct scep_server *server, const struct http_answer *answer, struct err *e);

/* Ask for both. A failing GetCACaps counts as "none of the capabilities" (section 3.5.2). */
int scep_fetch(struct client *client, struct scep_server *out, struct err *e);

/* --- one transaction ------------------------------------------------------- */

#define SCEP_TRANSACTION_TEXT 65

/* The transactionID of a key: SHA-256 of its SubjectPublicKeyInfo in hexadecimal, so that a poll finds it again. */
MUST_USE int scep_transaction_of(struct bytes spki, char out[SCEP_TRANSACTION_TEXT], struct err *e);

/* Section 2.3: a self-signed certificate "to sign the request" before there is another. subject: DER Name. */
MUST_USE int scep_self_sign(EVP_PKEY *key, struct bytes subject, X509 **out, struct err *e);

/* What a CertRep has to fit. */
struct scep_expected {
	const struct scep_server *server; /* its signer is one of certs */
	unsigned allowed;                 /* algorithms */
	const char *transaction;
	struct bytes nonce;               /* the request's senderNonce */
	X509 *recipient;                  /* who asked, and its key */
	EVP_PKEY *recipient_key;          /* NULL: SUCCESS is believed without its content */
};

struct scep_reply {
	enum scep_status status;
	enum scep_fail fail;
	char fail_text[SCEP_FAIL_TEXT_MAX];
	struct buf content;               /* with SUCCESS: certs-only, or a CRL's message */
};

/* Read an answer to PKIOperation. ERR_MALFORMED, ERR_UNAUTHENTIC: it is not ours, not the server's, or not well. */
MUST_USE int scep_reply_read(const struct http_answer *answer, const struct scep_expected *expected,
	struct scep_reply *out, struct err *e);
/* DEVSIM_OK, _REFUSED or _PENDING, and *e says what the server said. */
int scep_reply_exit(const struct scep_reply *reply, struct err *e);

#endif
