/*
 * issuer.h - asks CAs elsewhere, durably.
 *
 * What is to be asked stands in the store before anybody is asked (gateway/store/intent.h); this drives it to an end: a
 * few threads for each CA take what is due, oldest first, behind a guard (ca_guard.h). A request thread hands its
 * request in by recording the intent, and waits a little on a ticket; the rest goes on without it, across restarts.
 *
 * States, and what leads from one to the next:
 *   open -> sent (committed before the call) -> done: the certificate is what was approved, and is still allowed
 *                                            -> failed: the CA refused
 *                                            -> quarantined: another certificate, or not allowed any more; it is revoked there
 *                                            -> open: certainly not issued; again after a while
 *                                            -> waiting: polled
 *                                            -> unknown: reconciled, or an operator decides; never sent blindly
 * What a former life was sending is unknown.
 */
#ifndef GATEWAY_CORE_ISSUER_H
#define GATEWAY_CORE_ISSUER_H

#include "gateway/core/ca_guard.h"
#include "gateway/core/world.h"

struct issuer;
struct issuer_ticket;

struct issuer_settings {
	struct gateway *gateway;   /* must outlive it; its issuer is set by the caller */
	int64_t (*now_s)(void *arg); /* NULL: the clock */
	void *now_arg;
	int waiters_max;           /* requests that may wait on a ticket at once; others are told "pending" */
};

/* Intents of a former life are adopted, and the CAs of the present world get their threads. */
MUST_USE int issuer_start(const struct issuer_settings *settings, struct issuer **out, struct err *e);
void issuer_stop(struct issuer *issuer); /* waits for calls under way; NULL is allowed */
/* Another world is in force: CAs that are new in it get threads. */
MUST_USE int issuer_refresh(struct issuer *issuer, struct err *e);

/* Something may be due for this CA, or (NULL) for any: look now. issuer may be NULL. */
void issuer_wake(struct issuer *issuer, const char *ca);

/*
 * To be told that what is asked on behalf of this CSR has come to an end. Taken before looking at the store, so that no end is
 * missed. NULL: no memory.
 */
struct issuer_ticket *issuer_ticket_new(struct issuer *issuer, const uint8_t csr_sha256[32]);
/* true: an end came, perhaps this one's. false: wait_ms are over since the ticket's first wait, or waiting is pointless: too many do, or the
   CA's breaker is open. */
bool issuer_ticket_wait(struct issuer_ticket *ticket, const char *ca, int64_t wait_ms);
bool issuer_ticket_told(const struct issuer_ticket *ticket); /* a wait has come to an end before */
void issuer_ticket_free(struct issuer_ticket *ticket); /* NULL is allowed */

/* Of a CA of the present world; false: it is not one elsewhere. */
bool issuer_guard_state(struct issuer *issuer, const char *ca, enum guard_state *out);

/* enrolld_ca_*: breaker, intents by state, revocations that wait, calls by outcome; appended. */
void issuer_metrics(struct issuer *issuer, struct buf *out);

#endif
