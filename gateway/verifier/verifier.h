/*
 * verifier.h - an external verifier of evidence, behind one interface (RATS background check, RFC 9334, section 5.2).
 *
 * Today the challenge-response API of Veraison: newSession with our nonce, the
 * evidence, an EAR in a signed JWT back. Every function may be called from any thread, except
 * open and close. Calls block, at most deadline_s from begin to end. Nothing here logs; the wall clock comes in.
 */
#ifndef GATEWAY_VERIFIER_VERIFIER_H
#define GATEWAY_VERIFIER_VERIFIER_H

#include "policy/attest/ear.h"

#define VERIFIER_EVIDENCE_MAX 24576

struct verifier;

/* Texts are copied, keys taken over a reference each. */
struct verifier_settings {
	const char *url;          /* https://host/challenge-response/v1 */
	const char *ca;           /* PEM: the only certificates trusted */
	bool allow_plain;         /* http:// to 127.0.0.1 and [::1] */
	const char *secret_file;  /* where the bearer token is (outbound/secret.h); NULL: none */
	const char *client_cert, *client_key; /* NULL: none */
	int64_t deadline_s;       /* 1-60; 0: 10 */
	size_t calls_max;         /* 0: OUTBOUND_CALLS_MAX */
	struct ear_settings ear;  /* how the result is judged; keys borrowed until close */
};

MUST_USE int verifier_open(const struct verifier_settings *settings, struct verifier **out, struct err *e);
void verifier_close(struct verifier *verifier); /* NULL is allowed; no call may be under way */

struct verifier_evidence {
	struct bytes octets;      /* what the statement holds, as the verifier takes it */
	const char *media_type;   /* "application/psa-attestation-token" */
	struct bytes nonce;       /* ours, which the device had when it made the evidence */
	struct bytes spki;        /* the CSR's key, DER */
};

/*
 * Ask, and judge the answer. The session's nonce is ear_session_nonce(), which the evidence has to hold.
 * 0: *out is filled, good or bad. -1: no verdict (ERR_UPSTREAM, ERR_NOMEM, ERR_BUG), nothing may be issued on it.
 */
MUST_USE int verifier_ask(struct verifier *verifier, const struct verifier_evidence *evidence, int64_t now_s,
	struct attestation *out, struct err *e);
MUST_USE int verifier_reach(struct verifier *verifier, struct err *e); /* health, for /readyz */

#endif
