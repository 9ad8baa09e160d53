/*
 * cmp.h - what the files of the CMP connector share (RFC 4210, RFC 9483). Inside gateway/ca only.
 *
 * OpenSSL's client writes, protects, checks and confirms; the messages travel over
 * gateway/outbound. One context lives for one call, so nothing is shared between threads but what was opened.
 */
#ifndef GATEWAY_CA_CMP_H
#define GATEWAY_CA_CMP_H

#include <openssl/cmp.h>

#include "gateway/ca/remote.h"

#define CMP_ID_OCTETS    16 /* of a transactionID */
#define CMP_NONCE_MAX    32 /* octets of a peer's nonce that can be kept; RFC 4210, section 5.1.1 says 16 */

struct ca {
	struct remote remote;
	bool by_secret;          /* else by signature */
	struct buf reference;    /* senderKID: who we are, where a secret protects */
	STACK_OF(X509) *own;     /* our certificate and those above it */
	EVP_PKEY *key;
	X509_STORE *signers;     /* whose messages are believed; NULL where a secret protects */
};

struct cmp_nonce {
	uint8_t at[CMP_NONCE_MAX];
	size_t len; /* 0: none */
};

/* What a later call needs to go on with a transaction. */
struct cmp_ticket {
	uint8_t id[CMP_ID_OCTETS];
	struct cmp_nonce theirs; /* senderNonce of the CA's last message */
	struct cmp_nonce first;  /* senderNonce of our first one: RFC 9483, section 4.4, has the last answer echo it */
};
void cmp_ticket_write(const struct cmp_ticket *ticket, char out[CA_REFERENCE_MAX]);
/* ERR_BUG: none of ours. */
MUST_USE int cmp_ticket_read(const char *text, struct cmp_ticket *out, struct err *e);

/* How the last message fared. */
enum cmp_sent {
	CMP_NOTHING,  /* none was sent yet */
	CMP_NOT_SENT, /* it certainly never left */
	CMP_LOST,     /* it may have arrived; no answer, or none that can be read */
	CMP_STATUS,   /* HTTP said no: *e is what it means */
	CMP_ANSWERED, /* there is a message; OpenSSL judges it */
	CMP_POLL,     /* a pollRep: check_after_s */
};

struct cmp_exchange {
	struct ca *ca;
	const struct ca_request *request; /* NULL: revocation */
	bool polling;            /* go on with ticket: the first message becomes a pollReq */
	struct cmp_ticket ticket;
	OSSL_CMP_CTX *ctx;

	/* what came of it */
	enum cmp_sent sent;
	int last_type;           /* of the last message sent */
	int last_answer;         /* of the last one that came */
	size_t messages;
	int64_t check_after_s;
	int64_t retry_s;
	struct buf last;         /* the last answer, DER */
	struct buf cert;         /* what the CA issued; empty: nothing */
	bool accepted;           /* it is what was approved */
	struct err why;          /* of sent, or of a certificate that was not accepted */
};

/* A context that is ready for one call. cmp_exchange_end() in any case. */
MUST_USE int cmp_exchange_begin(struct cmp_exchange *exchange, struct err *e);
void cmp_exchange_end(struct cmp_exchange *exchange);

/* Replaces an EC key by one that OpenSSL signs messages with whatever way EC keys are decoded in this process (cmp_key.c). */
MUST_USE int cmp_key_fit(EVP_PKEY **key, struct err *e);

/* --- messages as DER (cmp_message.c) --- */

/* PKIBody's choices (section 5.1.2) that matter here. */
enum { CMP_BODY_P10CR = 4, CMP_BODY_ERROR = 23, CMP_BODY_CERT_CONF = 24, CMP_BODY_POLL_REQ = 25, CMP_BODY_POLL_REP = 26 };

MUST_USE int cmp_message_decode(struct bytes der, OSSL_CMP_MSG **out, struct err *e);
MUST_USE int cmp_message_encode(const OSSL_CMP_MSG *message, struct buf *out, struct err *e);
DEFINE_CLEANUP(cmp_message, OSSL_CMP_MSG *, OSSL_CMP_MSG_free);

/* The senderNonce; len 0 when there is none, or one that cannot be kept. */
MUST_USE int cmp_message_nonce(const OSSL_CMP_MSG *message, struct cmp_nonce *out, struct err *e);

/*
 * The request to issue, which OpenSSL wrote, as a request to poll (section 5.3.22) in the same transaction,
 * protected anew. OpenSSL polls only in the context that asked, which a restart takes away; the answer fits the
 * request that it believes to have sent.
 */
MUST_USE int cmp_message_as_poll(OSSL_CMP_CTX *ctx, const OSSL_CMP_MSG *request, const struct cmp_nonce *theirs,
	OSSL_CMP_MSG **out, struct err *e);
/* checkAfter of a pollRep, 0 or more. */
MUST_USE int cmp_message_check_after(const OSSL_CMP_MSG *message, int64_t *seconds, struct err *e);

#endif
