/*
 * issuer.h - asks CAs elsewhere, durably.
 *
 * What is to be asked stands in the store before anybody is asked (gateway/store/intent.h); this drives it to an end: a
 * few threads for each CA take what is due, oldest first, behind a guard (ca_guard.h). A request thread hands its
 * request in by recording the intent, and waits a little on a ticket; the rest goes on without it, across restarts.
 *
 * States, and what leads from one to the next:
 *   open -> sent (committed before the call; some begin so) -> done: the certificate is what was approved, and is still allowed
 *                                            -> failed: the CA refused
 *                                            -> quarantined: another certificate, or not allowed any more; it is revoked there
 *                                            -> open: certainly not issued; again after a while
 *                                            -> waiting: polled
 *                                            -> unknown: reconciled, or an operator decides; never sent blindly
 * What a former life was sending is unknown.
 *
 * Failover: the CA of the request's label and its `failover` are a list, and an intent goes along it forward only, so it
 * changes CA at most as often as there are names in it. It goes on when the breaker of the CA it is with is not closed, to the first one
 * after it whose breaker is; and only while it is open: not sent, or certainly not issued. At the end of the list it waits. What is new
 * begins at the front again. A CA that refuses has answered. One that is asked nothing any more is looked at (ops->check) until it is back.
 */
#ifndef GATEWAY_CORE_ISSUER_H
#define GATEWAY_CORE_ISSUER_H

#include "gateway/core/ca_guard.h"
#include "gateway/core/world.h"

struct issuer;
struct issuer_ticket;
struct lane;

struct issuer_settings {
	struct gateway *gateway;   /* must outlive it; its issuer is set by the caller */
	int64_t (*now_s)(void *arg); /* NULL: the clock */
	int64_t (*steady_s)(void *arg); /* of a clock that nobody sets, above 0; NULL: CLOCK_BOOTTIME */
	void *now_arg;
	int waiters_max;           /* requests that may wait on a ticket at once; others are told "pending" */
};

/* Intents of a former life are adopted, and the CAs of the present world get their threads. *out, the gateway's, is set before these begin:
   they find the issuer by it. NULL on failure. */
MUST_USE int issuer_start(const struct issuer_settings *settings, struct issuer **out, struct err *e);
void issuer_stop(struct issuer *issuer); /* waits for calls under way; NULL is allowed */
/* Another world is in force: CAs that are new in it get threads. */
MUST_USE int issuer_refresh(struct issuer *issuer, struct err *e);
/* What is open at CAs that are not configured any more goes to its label's. Done by issuer_refresh() too. */
MUST_USE int issuer_rehome(struct issuer *issuer, const struct world *world, struct err *e);

/*
 * Who is to be asked for a new certificate: the label's CA, or when that does not answer the first of its failover that does; when none
 * does, the label's again. Borrowed from the world.
 */
const char *issuer_choose(struct issuer *issuer, const struct world *world, const struct config_label *label);
/* So many went to another one: for the metrics. */
void issuer_count_failover(struct issuer *issuer, const char *from, const char *to, size_t count);

/*
 * To be called at once: a CA with nothing to do has a thread and one of its calls kept for an intent that is about to be recorded as SENT, so
 * that nobody has to look for it and commit that it is sent. Then issuer_hand() must follow, whatever came of recording it. NULL: it is to
 * be recorded as OPEN.
 */
struct lane *issuer_claim(struct issuer *issuer, const char *ca);
void issuer_hand(struct lane *lane, int64_t intent_id); /* 0: it was not recorded */

/* Something may be due for this CA, or (NULL) for any: look now. issuer may be NULL. */
void issuer_wake(struct issuer *issuer, const char *ca);

/*
 * To be told that what is asked on behalf of this CSR has come to an end. Taken before looking at the store, so that no end is
 * missed. NULL: no memory.
 */
struct issuer_ticket *issuer_ticket_new(struct issuer *issuer, const uint8_t csr_sha256[32]);
/*
 * true: an end came, perhaps this one's. false: wait_ms are over since the ticket's first wait, or waiting is pointless: too many do, or the
 * CA's breaker is open. request_id: of the request that this thread has recorded itself, and whose certificate it may be handed; 0: none.
 */
bool issuer_ticket_wait(struct issuer_ticket *ticket, const char *ca, int64_t request_id, int64_t wait_ms);
/* After such an end: is the certificate there? Then cert (DER) is the caller's, and ca who signed it; else the store has to be asked. */
bool issuer_ticket_take(struct issuer_ticket *ticket, struct buf *cert, char ca[REG_TEXT_MAX]);
bool issuer_ticket_told(const struct issuer_ticket *ticket); /* a wait has come to an end before */
/* Of the end of what this thread has recorded itself, while it waited: it is the one to tell others of it. */
bool issuer_ticket_is_asker(const struct issuer_ticket *ticket);
void issuer_ticket_free(struct issuer_ticket *ticket); /* NULL is allowed */

/*
 * An operator has found at a CA what an unknown intent, or one that waits there, came to. Taken as if the CA had answered: the request is decided once more, and it is
 * recorded, or quarantined with its revocation queued: so too when it is the CA's, of the request's key, and not what was approved.
 *
 * Returns 0 with state, said and serial; or -1, nothing changed. ERR_MALFORMED: no certificate in it; ERR_LIMIT: too large; ERR_DENIED: of another
 * key, of no CA known here, ended by now, recorded already; or the intent is neither any more. Others: it could not be recorded,
 * the intent is unknown as before.
 */
#define ISSUER_FOUND_MAX 65536
struct issuer_found {
	int64_t intent_id;
	struct bytes file;         /* PEM, one or more, or one DER; borrowed */
	const char *actor, *why;   /* for the audit row "ca.resolved" */
	int64_t now_s;
	/* Filled. */
	enum intent_state state;   /* DONE, QUARANTINED; or what other hands have just made of it */
	char said[INTENT_ERROR_MAX]; /* why it is not DONE */
	char serial[SERIAL_ANY_MAX];
};
MUST_USE int issuer_resolve(struct gateway *gateway, const struct world *world, struct issuer_found *found, struct err *e);

/* Of a CA of the present world; false: it is not one elsewhere. */
bool issuer_guard_state(struct issuer *issuer, const char *ca, enum guard_state *out);

/* enrolld_ca_*: breaker, intents by state, revocations that wait, calls by outcome, failovers; appended. */
void issuer_metrics(struct issuer *issuer, struct buf *out);

#endif
