/*
 * scep.h - the words of SCEP (RFC 8894): message types, statuses, failures, algorithms.
 *
 * Nothing in this folder opens a socket or a file, reads a clock, logs, or
 * keeps state after scep_init(); every other function may be called from any thread.
 */
#ifndef SCEP_SCEP_H
#define SCEP_SCEP_H

#include "base/ossl.h"

#define SCEP_MESSAGE_MAX     65536 /* octets of one pkiMessage, DER or BER */
#define SCEP_DEPTH_MAX       24    /* of nested values in it */
#define SCEP_TRANSACTION_MAX 128   /* characters of a transactionID */
#define SCEP_NONCE_MIN       8     /* octets; RFC 8894, section 3.2.1.5 says 16, older clients send 8 */
#define SCEP_NONCE_MAX       64
#define SCEP_NONCE_LEN       16    /* of those made here */
#define SCEP_FAIL_TEXT_MAX   128
#define SCEP_CERTS_MAX       16    /* certificates in a message: decoding one costs as much as a signature's check */
#define SCEP_RECIPIENTS_MAX  16    /* RecipientInfos in an envelope */

/* RFC 8894, section 3.2.1.2: messageType. */
enum scep_type {
	SCEP_CERT_REP = 3,
	SCEP_RENEWAL_REQ = 17,
	SCEP_PKCS_REQ = 19,
	SCEP_CERT_POLL = 20,
	SCEP_GET_CERT = 21,
	SCEP_GET_CRL = 22,
};
const char *scep_type_name(enum scep_type type); /* "PKCSReq", ... */

/* Section 3.2.1.3: pkiStatus. */
enum scep_status { SCEP_SUCCESS = 0, SCEP_FAILURE = 2, SCEP_PENDING = 3 };

/* Section 3.2.1.4: failInfo. */
enum scep_fail {
	SCEP_BAD_ALG = 0,
	SCEP_BAD_MESSAGE_CHECK = 1,
	SCEP_BAD_REQUEST = 2,
	SCEP_BAD_TIME = 3,
	SCEP_BAD_CERT_ID = 4,
};
const char *scep_fail_name(enum scep_fail fail); /* "badAlg", ... */

/* One bit for each algorithm; a set of them says what is allowed. */
#define SCEP_MD5      (1u << 0)
#define SCEP_SHA1     (1u << 1)
#define SCEP_SHA256   (1u << 2)
#define SCEP_SHA384   (1u << 3)
#define SCEP_SHA512   (1u << 4)
#define SCEP_DES      (1u << 8)
#define SCEP_3DES     (1u << 9)
#define SCEP_AES128   (1u << 10)
#define SCEP_AES192   (1u << 11)
#define SCEP_AES256   (1u << 12)
#define SCEP_DIGESTS  0x00ffu
#define SCEP_CIPHERS  0xff00u
#define SCEP_ALGORITHMS_DEFAULT \
	(SCEP_SHA256 | SCEP_SHA384 | SCEP_SHA512 | SCEP_AES128 | SCEP_AES192 | SCEP_AES256)
#define SCEP_ALGORITHMS_LEGACY (SCEP_SHA1 | SCEP_3DES) /* what a label may add */
#define SCEP_ALGORITHMS_CISCO  (SCEP_MD5 | SCEP_DES)   /* legacy = "insecure-cisco" */
const char *scep_algorithm_name(unsigned algorithm); /* one bit: "SHA-256", "AES-128", "DES3", ...; "unknown" */

/*
 * Make ready what OpenSSL 3 leaves out by default: single DES lives in its
 * legacy provider. Once, before any thread. Without that provider everything
 * works but DES, which is then refused like an algorithm a label does not
 * allow: ERR_UNSUPPORTED says so here, and a caller whose labels need no DES may go on.
 */
MUST_USE int scep_init(struct err *e);

#endif
