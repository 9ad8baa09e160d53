/*
 * cmp_ca.h - a CMP CA for tests: what its files share. cmp_ca.c is options and HTTP; cmp_ca_answer.c answers
 * messages; cmp_ca_issue.c makes certificates; cmp_ca_records.c remembers.
 */
#ifndef TESTS_CA_CMP_CA_H
#define TESTS_CA_CMP_CA_H

#include <pthread.h>

#include "tests/ca/cmp_service.h"

#define ID_OCTETS_MAX    32 /* of a transactionID */
#define NONCE_OCTETS_MAX 32
#define BUCKETS          4096

/* --- certificates (cmp_ca_issue.c) --- */

struct issuer {
	STACK_OF(X509) *chain; /* the issuing certificate first */
	EVP_PKEY *key;
	int64_t lifetime_s, backdate_s;
};

/* What is wrong with a certificate; see --help for what each does. */
enum mischief { MISCHIEF_NONE, MISCHIEF_OTHER_KEY, MISCHIEF_OTHER_NAME, MISCHIEF_TOO_LONG };

/* Names and key of a request that was verified, a random serial number. The result is the caller's. */
MUST_USE int issuer_certify(const struct issuer *issuer, const X509_REQ *request, enum mischief mischief, X509 **out,
	struct err *e);

/* --- what it remembers (cmp_ca_records.c) --- */

struct issued {
	struct issued *next;      /* the one before it */
	char serial[SERIAL_HEX_MAX];
	X509 *cert;
	bool revoked; /* or on hold */
	bool held;
};

enum stage { STAGE_WAITS, STAGE_UNCONFIRMED, STAGE_OVER };

struct transaction {
	struct transaction *next;
	uint8_t id[ID_OCTETS_MAX];
	size_t id_len;
	uint8_t nonce[NONCE_OCTETS_MAX]; /* senderNonce of our last answer */
	size_t nonce_len;
	enum stage stage;
	OSSL_CMP_SRV_CTX *srv;  /* while it is not over; NULL: of a former process, or an error message ended it */
	OSSL_CMP_MSG *request;  /* while it is not over */
	long polls_left;
	struct issued *made;    /* for it; NULL: nothing */
	X509 *given;            /* the certificate of the answer, which may be another's */
};

struct records {
	struct transaction *transactions[BUCKETS];
	struct issued *issued;    /* the newest first */
	FILE *journal;            /* NULL: none */
};

/*
 * Go on from the journal at this path, which is made when it is missing; NULL: only in memory. A line for each event, words
 * separated by spaces, octets in hexadecimal:
 *
 *   asked TRANSACTION MESSAGE
 *   waiting TRANSACTION POLLS            it has still to be polled for so often
 *   issued TRANSACTION SERIAL REQUEST CERTIFICATE    REQUEST: SHA-256 of the PKCS#10
 *   given TRANSACTION CERTIFICATE        the certificate of an answer
 *   answered TRANSACTION NONCE
 *   confirmed TRANSACTION, refused TRANSACTION
 *   revoked SERIAL REASON (RFC 5280, section 5.3.1); 6: on hold
 *   released SERIAL
 */
MUST_USE int records_open(struct records *records, const char *path, struct err *e);
void records_close(struct records *records);

struct transaction *records_find(const struct records *records, struct bytes id);
struct issued *records_find_serial(const struct records *records, const char *serial);

/* Each is an event of the journal. false or NULL: it could not be kept. */
struct transaction *records_asked(struct records *records, struct bytes id, const OSSL_CMP_MSG *request);
bool records_waits(struct records *records, struct transaction *transaction, long polls);
bool records_issued(struct records *records, struct transaction *transaction, X509 *cert, const X509_REQ *request);
bool records_given(struct records *records, struct transaction *transaction, X509 *cert);
void records_answered(struct records *records, struct transaction *transaction, struct bytes nonce);
void records_told(struct records *records, struct transaction *transaction, bool accepted);
/* reason: RFC 5280, section 5.3.1; removeFromCRL ends a hold. */
void records_revoked(struct records *records, struct issued *issued, int reason);

/* --- messages (cmp_ca_answer.c) --- */

struct ca {
	struct issuer issuer;
	struct records records;
	pthread_mutex_t lock;     /* the caller of what follows holds it */
	const char *reference;
	struct buf secret;        /* empty: by signature */
	STACK_OF(X509) *signer;   /* our certificate and those above it */
	EVP_PKEY *signer_key;
	X509_STORE *trusted;
	long wait;
	int64_t check_after_s;
	const char *orders;
	struct message *message;  /* which is being answered */
};

/* One PKIMessage as DER, and what is said to it. false: it is none. */
bool cmp_answer(struct ca *ca, struct bytes der, struct buf *out);
/* Nobody confirmed what is unconfirmed now: it is revoked (RFC 4210, section 5.1.1.2). */
void cmp_time_is_over(struct ca *ca);

#endif
