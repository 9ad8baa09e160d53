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
	const char *key;          /* see key_open() */
	const char *const *chain; /* PEM files: the certificates above it, root last */
	size_t chain_count;
	const char *crl_url;      /* CRL distribution point; NULL: none */
	const char *ocsp_url;     /* AIA; NULL: none */
	const char *issuer_url;   /* AIA caIssuers; NULL: none */

	/* CAs elsewhere. certificate and chain are theirs then: what an answer has to lead to. */
	const char *url;
	const char *tls_ca;       /* PEM: the only certificates the service's own may come from */
	bool allow_plain;         /* http:// to 127.0.0.1 and [::1] */
	const char *client_cert, *client_key; /* TLS client authentication, or what signs CMP and SCEP messages; key by URI */
	const char *secret_file;  /* where the token, password, HMAC key or shared secret is (outbound/secret.h); see README.md */
	int64_t connect_ms, deadline_ms; /* of one call; 0: CA_CONNECT_MS, CA_DEADLINE_MS */
	size_t calls_max;         /* under way at once; 0: 8 */
	const char *profile;      /* vault: role; step-ca: provisioner; ejbca: certificate profile; cfssl: profile; est, scep: label or CA identifier */
	const char *end_entity_profile, *authority; /* ejbca: end entity profile, CA name; vault: authority is the mount */
	const char *user;         /* cmp: reference value; vault: AppRole role_id; step-ca: key id of the provisioner */
	const char *key_file;     /* step-ca: the provisioner's private key (PEM) */
	const char *auth;         /* vault: "token", "approle", "cert"; cmp: "secret", "signature" */
};

#define CA_CONNECT_MS  5000
#define CA_DEADLINE_MS 15000
#define CA_REFERENCE_MAX 256

struct ca_request {
	const struct cert_spec *spec;
	struct bytes spki;        /* the proven SubjectPublicKeyInfo, DER */
	enum key_kind key_kind;   /* keyEncipherment and keyAgreement are dropped where the key cannot do them */
	struct bytes csr;         /* as received, for CAs that want it; len 0 for a key made here */
	int64_t now_s;
	/* CAs elsewhere: a name of this very request that no other has, letters, digits and hyphens ("gw-17-0-5f1e..."), the same when
	   it is sent again or looked for. NULL for CAs in this process. */
	const char *request_id;
	/* For CAs that want to hear at once whether a certificate is taken (CMP's certConf): will the caller take it? It knows what was
	   approved, where spec is what is asked for, and other generations' keys. 0, or -1 *e. NULL: ca_verify_issued() by spec. */
	int (*accepts)(void *arg, struct bytes cert, struct err *e);
	void *accepts_arg;
};

/* One certificate on a revocation list. */
struct ca_revoked {
	char serial[SERIAL_HEX_MAX];
	int64_t revoked_s;
	bool held;                /* reason certificateHold; else none is told */
};

enum ca_state {
	CA_ISSUED,
	CA_WAITING, /* the CA makes it wait (an approval there): poll() */
	CA_UNKNOWN, /* it was sent and no usable answer came: it may have been issued. reconcile(), never a second issue() */
	CA_ABSENT,  /* from reconcile() only: the CA has certainly not issued it, it may be sent again */
};

struct ca_answer {
	enum ca_state state;
	struct buf cert;          /* DER, when ISSUED; free with ca_answer_free() */
	char serial[SERIAL_ANY_MAX]; /* SERIAL_HEX_MAX is enough for one that ca_verify_issued() takes */
	struct buf second;        /* DER, when ISSUED: another one with the request's key that came along, whoever signed it; empty: none did */
	char second_serial[SERIAL_ANY_MAX];
	int64_t not_before_s, not_after_s; /* when ISSUED, the certificate's own: never wider than the spec's */
	int64_t retry_s;          /* when WAITING; of issue(), poll() and reconcile() that fail with ERR_UPSTREAM: it wants to be left alone so
	                             long, all else is as it was. 0: it names no time */
	char reference[CA_REFERENCE_MAX]; /* WAITING: what poll() needs; UNKNOWN: what reconcile() needs. Printable ASCII */
};
void ca_answer_free(struct ca_answer *answer);
/* other, that came along and has the request's key, is the second, unless it is the same certificate or there is one already. It is freed. */
void ca_answer_add(struct ca_answer *answer, struct ca_answer *other);

struct ca_ops {
	const char *type;
	/* issue() itself ran ca_verify_issued() on what it gives: a second run would only cost a signature check. */
	bool verified;
	MUST_USE int (*open)(const struct ca_settings *settings, struct ca **out, struct err *e);
	bool remote; /* a CA elsewhere: an intent is committed before issue(), which runs where waiting costs nobody */
	/*
	 * 0 with a state, or -1: ERR_DENIED the CA refused for good; ERR_UPSTREAM it certainly has not issued (nothing
	 * was sent, or it said so), so it may be sent again. What comes back is only checked to be one certificate with the
	 * request's key; ca_verify_issued() is the caller's, unless verified.
	 */
	MUST_USE int (*issue)(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e);
	/* NULL: this CA never makes wait. Errors as issue(). */
	MUST_USE int (*poll)(struct ca *ca, const struct ca_request *request, const char *reference, struct ca_answer *out,
		struct err *e);
	/* What became of a request whose answer was lost: ISSUED, WAITING or ABSENT; ERR_UPSTREAM: it could not be told
	   now. NULL: this CA cannot be asked, an operator decides. reference may be "", when the process died before one
	   was kept. */
	MUST_USE int (*reconcile)(struct ca *ca, const struct ca_request *request, const char *reference,
		struct ca_answer *out, struct err *e);
	/* serial: lower-case hex, by asn1_serial_hex(). reason: RFC 5280, section 5.3.1. cert: DER, for CAs that want it; may be empty.
	   ERR_UNSUPPORTED, or NULL: not by this protocol. ERR_PENDING: somebody has to approve it there. One that is
	   revoked already is success. */
	MUST_USE int (*revoke)(struct ca *ca, const char *serial, struct bytes cert, int reason, int64_t now_s, struct err *e);
	/* revoke() takes certificateHold (6), and removeFromCRL (8), which ends it; a certificate that is so already is success. Without
	   it a hold is not told at all: one that cannot end is a revocation. */
	bool holds;
	/*
	 * A revocation list (RFC 5280, section 5) as DER, appended to out: entries in the order given, number not
	 * negative and never smaller than before, next_s after now_s. NULL: this CA makes its own.
	 * ERR_UNSUPPORTED: its certificate may not sign lists. ERR_LIMIT: too many entries. ERR_MALFORMED: a serial.
	 */
	MUST_USE int (*crl)(struct ca *ca, const struct ca_revoked *revoked, size_t count, int64_t number,
		int64_t now_s, int64_t next_s, struct buf *out, struct err *e);
	MUST_USE int (*check)(struct ca *ca, struct err *e); /* health, for /readyz */
	/* ca_verify_below() by chain, prepared at open; NULL: the caller does it. */
	MUST_USE int (*verify)(const struct ca *ca, struct bytes cert, const struct ca_request *request, struct err *e);
	/* Issuing certificate first, root last; borrowed until close. */
	const STACK_OF(X509) *(*chain)(const struct ca *ca);
	void (*close)(struct ca *ca);
};

extern const struct ca_ops ca_builtin;
extern const struct ca_ops ca_cfssl, ca_vault, ca_stepca, ca_ejbca; /* by HTTP and JSON */
extern const struct ca_ops ca_cmp, ca_est, ca_scep; /* by standards' protocols */
const struct ca_ops *ca_ops_of(const char *type); /* NULL: unknown */

/*
 * A private key. A path, "file:<path>", "credential:<name>" or "env:<name>" names its PEM as gateway/outbound/secret.h
 * has it. "pkcs11:...": it stays in a token; see README.md, and the process may not fork afterwards. ERR_UPSTREAM says
 * what to mend ("chmod 600 ..."). *out is the caller's.
 */
MUST_USE int key_open(const char *uri, EVP_PKEY **out, struct err *e);

/*
 * Is this certificate what was approved? Key, subject, SAN, key usage, EKU,
 * CA flag, validity within the spec's, serial (positive, 6-20 octets), version
 * 3, signature by issuer. ERR_DENIED names the first difference.
 */
MUST_USE int ca_verify_issued(struct bytes cert, const struct ca_request *request, X509 *issuer, struct err *e);
/* And do those above it allow it? chain: issuing certificate first, root last. Also ERR_NOMEM; ERR_MALFORMED: a date in the chain. */
MUST_USE int ca_verify_below(struct bytes cert, const struct ca_request *request, const STACK_OF(X509) *chain, struct err *e);

/* All of the chain are valid, or become so within five minutes, as clocks differ. ERR_UPSTREAM says from or until when they are. */
MUST_USE int ca_chain_is_valid(const STACK_OF(X509) *chain, int64_t now_s, struct err *e);

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
