/*
 * remote.h - what connectors to CAs elsewhere share. Inside gateway/ca only.
 *
 * A connector's struct ca begins with a struct remote, so that a pointer to the one is a pointer to the other. Calls go
 * over gateway/outbound: one deadline, one pinned CA file, no redirects, bounded answers.
 */
#ifndef GATEWAY_CA_REMOTE_H
#define GATEWAY_CA_REMOTE_H

#include <jansson.h>

#include "gateway/ca/ca.h"
#include "gateway/ca/path.h"
#include "gateway/ca/verifier.h"
#include "gateway/outbound/outbound.h"
#include "gateway/outbound/secret.h"

#define REMOTE_ANSWER_MAX (256 << 10)
#define REMOTE_CALLS_MAX  8

struct remote {
	char name[REG_TEXT_MAX];  /* "ca corporate": starts every error text */
	STACK_OF(X509) *chain;    /* what answers have to lead to; issuing certificate first */
	struct path path;         /* what that chain says of a leaf */
	struct verifier *verifier; /* of the issuing certificate's key */
	struct outbound *client;
	struct buf secret;        /* of secret_file; empty: none */
	int64_t deadline_ms;
};

DEFINE_CLEANUP(json, json_t *, json_decref);

/* How one connector differs from others in ops->open. */
struct remote_kind {
	size_t size; /* of its struct ca */
	bool signs;  /* client_key signs messages: one that stays in a token is not offered to TLS */
	/* The rest of a struct ca whose remote is open; what it leaves behind on failure is for close. */
	int (*parts)(struct ca *ca, const struct ca_settings *settings, struct err *e);
	void (*close)(struct ca *ca); /* remote_close(), too, frees the struct ca itself */
};
MUST_USE int remote_make(const struct remote_kind *kind, const struct ca_settings *settings, struct ca **out,
	struct err *e);
/* What remote_make() begins with: chain, secret, client. What was opened stays for remote_close(). */
MUST_USE int remote_open(struct remote *remote, const struct ca_settings *settings, struct err *e);
void remote_close(struct remote *remote);
/* ops->chain, ops->verify, and the plainest ops->check: the service can be reached and is the one that is pinned. */
const STACK_OF(X509) *remote_chain(const struct ca *ca);
MUST_USE int remote_verify(const struct ca *ca, struct bytes cert, const struct ca_request *request, struct err *e);
MUST_USE int remote_reach(struct ca *ca, struct err *e);
/* client_cert with what stands behind it, and client_key, for messages of our own. */
MUST_USE int remote_signer(const struct remote *remote, const struct ca_settings *settings, STACK_OF(X509) **certs,
	EVP_PKEY **key, struct err *e);

/* The PEM certificate that a service says it issues with is the chain's first. ERR_UPSTREAM */
MUST_USE int remote_is_issuer(const struct remote *remote, const char *pem, struct err *e);

/* For CAs that cannot lift a hold: certificateHold would be for ever, and removeFromCRL nothing. ERR_UNSUPPORTED */
MUST_USE int remote_reason_check(const struct remote *remote, int reason, struct err *e);

/* "<name>: <what> is missing" unless the setting is there. */
MUST_USE int remote_need(const struct remote *remote, const char *what, const char *setting, struct err *e);

/*
 * A call that issues: sent at most once. 0: there is an answer, with any status. 1: it may have arrived, and
 * no answer came (CA_UNKNOWN; *e says why). -1: it certainly was not sent.
 */
int remote_call_once(struct remote *remote, struct outbound_request *request, struct outbound_answer *out,
	struct err *e);

/*
 * The one certificate of an answer into *out (CA_ISSUED): it is one X.509 certificate whose key is the request's.
 * ERR_DENIED when it is not: the caller then revokes what it can, and reports CA_ISSUED's opposite as it sees fit.
 */
MUST_USE int remote_take_der(const struct remote *remote, struct bytes der, const struct ca_request *request,
	struct ca_answer *out, struct err *e);

/*
 * The certificate of an answer that says "issued", and nothing about which request it answers. Returns 0: *out is
 * CA_ISSUED, or CA_UNKNOWN with this reference and *e (ERR_UPSTREAM) when there is no certificate of the request's key in
 * it: one may have been made, and is not here. The serial number of another's is in the text and it is left alone: the
 * likeliest cause is an answer that was meant for somebody else, whose good certificate would be revoked. Of PEM text
 * certificates behind the first are not looked at.
 */
int remote_issued_pem(const struct remote *remote, const char *pem, const struct ca_request *request,
	const char *reference, struct ca_answer *out, struct err *e);
int remote_issued_der(const struct remote *remote, struct bytes der, const struct ca_request *request,
	const char *reference, struct ca_answer *out, struct err *e);

/* A call with a JSON document, to any of the APIs. */
struct remote_json_call {
	const char *method, *path;
	const struct outbound_header *header; /* one more; NULL: none */
	const json_t *document;               /* NULL: no body; of a POST: none for lack of memory, ERR_NOMEM */
};
/* As remote_call_once(). */
int remote_json_once(struct remote *remote, const struct remote_json_call *call, struct outbound_answer *out,
	struct err *e);
/* For calls that may happen twice. Errors of outbound_call(). */
MUST_USE int remote_json_again(struct remote *remote, const struct remote_json_call *call, struct outbound_answer *out,
	struct err *e);

/* object[key] when it is a text, else NULL. Borrowed. */
const char *remote_text(const json_t *object, const char *key);

/* An answer's body as a JSON object, the caller's; NULL with *e (ERR_UPSTREAM) when it is none. */
json_t *remote_json(const struct remote *remote, const struct outbound_answer *answer, struct err *e);

/* The sent request came to nothing usable: CA_UNKNOWN with this reference. Returns 0; *e keeps why. */
int remote_unknown(struct ca_answer *out, const char *reference);

/*
 * What a status that is no success means for a request to issue: 400, 403, 404, 409, 422 ... refuse it for good
 * (ERR_DENIED, with the service's own words); 401, 408, 425, 429 and 503 say that nothing was issued (ERR_UPSTREAM, and
 * *retry_s when 429 or 503 names a time, else 0: ca_answer.retry_s), and so do 301, 307 and 308, which want the request elsewhere (RFC 9110, section 15.4);
 * other 5xx and everything odd leave it open: 1. words NULL: none are shown; nor are words that repeat our secret.
 */
int remote_status(const struct remote *remote, const struct outbound_answer *answer, const char *words, int64_t *retry_s,
	struct err *e);

bool remote_holds_secret(const struct remote *remote, const char *words);
/* A secret that the call was made with (a token, a password) is written over where the answer repeats it: words are shown and stored. */
void remote_hide(struct outbound_answer *answer, struct bytes secret);

/* The spec's names as the JSON APIs want them. Each appends to a comma-separated text. */
const char *remote_common_name(const struct cert_spec *spec); /* NULL: none */
void remote_sans(const struct cert_spec *spec, enum spec_san_type type, struct buf *out);
const char *remote_rdn(const struct cert_spec *spec, const char *oid); /* NULL: none */
/* The texts of all alternative names as an array, the caller's; NULL: no memory. */
json_t *remote_names_json(const struct cert_spec *spec);
/* 2026-11-21T07:25:00Z as a JSON text. */
json_t *remote_time_json(int64_t at_s);
/* Hexadecimal as asn1_serial_hex() gives it to a decimal number, for APIs that name serials so. ERR_MALFORMED, ERR_NOMEM */
#define REMOTE_DECIMAL_MAX 160
MUST_USE int remote_serial_decimal(const char *hex, char out[REMOTE_DECIMAL_MAX], struct err *e);
/* ERR_UNSUPPORTED when there is no CSR: a key made here has no request. */
MUST_USE int remote_need_csr(const struct remote *remote, const struct ca_request *request, struct err *e);
/* It as PEM. */
MUST_USE int remote_csr_pem(const struct remote *remote, const struct ca_request *request, struct buf *out,
	struct err *e);

#endif
