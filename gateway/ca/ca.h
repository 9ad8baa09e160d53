/*
 * ca.h - issuing CAs behind one interface.
 *
 * A CA gets an approved spec and a proven key, and gives a certificate, "wait",
 * or an error. What comes back is never believed: ca_verify_issued() compares
 * it with what was approved before anything leaves the gateway.
 *
 * Every function may be called from any thread, except open and close.
 */
#ifndef GATEWAY_CA_CA_H
#define GATEWAY_CA_CA_H

#include "est/csr.h"
#include "policy/profile.h"

struct ca; /* opened by ops->open */

struct ca_settings {
	const char *name;
	const char *type;         /* "builtin" */
	const char *certificate;  /* PEM file of the issuing certificate */
	const char *key;          /* key URI: see key_open() */
	const char *const *chain; /* PEM files: the certificates above it, root last */
	size_t chain_count;
	const char *crl_url;      /* CRL distribution point; NULL: none */
	const char *ocsp_url;     /* AIA; NULL: none */
	const char *issuer_url;   /* AIA caIssuers; NULL: none */
};

struct ca_request {
	const struct cert_spec *spec;
	struct bytes spki;        /* the proven SubjectPublicKeyInfo, DER */
	enum key_kind key_kind;   /* keyEncipherment and keyAgreement are dropped where the key cannot do them */
	struct bytes csr;         /* as received, for CAs that want it; len 0 for a key made here */
	int64_t now_s;
};

/* One certificate on a revocation list. */
struct ca_revoked {
	char serial[SERIAL_HEX_MAX];
	int64_t revoked_s;
	bool held;                /* reason certificateHold; else none is told */
};

enum ca_state { CA_ISSUED, CA_WAITING };

struct ca_answer {
	enum ca_state state;
	struct buf cert;          /* DER, when ISSUED; free with ca_answer_free() */
	char serial[SERIAL_HEX_MAX];
	int64_t not_before_s, not_after_s; /* when ISSUED, the certificate's own: never wider than the spec's */
	int64_t retry_s;          /* when WAITING */
	char reference[128];      /* when WAITING: what poll() needs */
};
void ca_answer_free(struct ca_answer *answer);

struct ca_ops {
	const char *type;
	/* issue() itself ran ca_verify_issued() on what it gives: a second run would only cost a signature check. */
	bool verified;
	MUST_USE int (*open)(const struct ca_settings *settings, struct ca **out, struct err *e);
	/* ERR_DENIED: refused for good. ERR_UPSTREAM: did not answer. */
	MUST_USE int (*issue)(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e);
	MUST_USE int (*poll)(struct ca *ca, const char *reference, struct ca_answer *out, struct err *e);
	MUST_USE int (*revoke)(struct ca *ca, const char *serial, int reason, struct err *e);
	/*
	 * A revocation list (RFC 5280, section 5) as DER, appended to out: entries in the order given, number not
	 * negative and never smaller than before, next_s after now_s. NULL: this CA makes its own.
	 * ERR_UNSUPPORTED: its certificate may not sign lists. ERR_LIMIT: too many entries. ERR_MALFORMED: a serial.
	 */
	MUST_USE int (*crl)(struct ca *ca, const struct ca_revoked *revoked, size_t count, int64_t number,
		int64_t now_s, int64_t next_s, struct buf *out, struct err *e);
	MUST_USE int (*check)(struct ca *ca, struct err *e); /* health, for /readyz */
	/* Issuing certificate first, root last; borrowed until close. */
	const STACK_OF(X509) *(*chain)(const struct ca *ca);
	void (*close)(struct ca *ca);
};

extern const struct ca_ops ca_builtin;
const struct ca_ops *ca_ops_of(const char *type); /* NULL: unknown */

/*
 * A private key by URI. "file:<path>": PEM, and the file must be a regular
 * file of this process's user with no permission for group or others; a path
 * alone means the same. ERR_UPSTREAM says what to mend ("chmod 600 ...").
 * *out is the caller's.
 */
MUST_USE int key_open(const char *uri, EVP_PKEY **out, struct err *e);

/*
 * Is this certificate what was approved? Key, subject, SAN, key usage, EKU,
 * CA flag, validity within the spec's, serial (positive, 8-20 octets), version
 * 3, signature by issuer. ERR_DENIED names the first difference.
 */
MUST_USE int ca_verify_issued(struct bytes cert, const struct ca_request *request, X509 *issuer, struct err *e);

/* A CA certificate, for making demo and test hierarchies; used by `enrolld --init`. */
struct ca_make {
	const char *common_name, *organisation;
	EVP_PKEY *key;           /* the subject's */
	X509 *issuer;            /* NULL: self-signed */
	EVP_PKEY *issuer_key;
	int path_len;            /* pathLenConstraint; -1: none */
	int64_t not_before_s, not_after_s;
};
MUST_USE int ca_make_certificate(const struct ca_make *make, X509 **out, struct err *e);

#endif
