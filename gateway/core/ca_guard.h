/*
 * ca_guard.h - how much a CA elsewhere is called: a circuit breaker, a cap on calls, a budget of certificates.
 *
 * The breaker opens when GUARD_FAILURES calls in a row brought no answer, or GUARD_LOST of the latest GUARD_LATEST: a CA that answers
 * now and then would never fail often enough in a row, and each answer that is lost may be an operator's work. While it is open nobody
 * calls; after a jittered time that doubles each round, one call is let through (half-open), and its outcome closes or opens it. Closed,
 * the share is counted from nothing. A refusal is an answer. The budget is a token bucket: a wave of renewals comes to the CA at its own pace.
 *
 * Every function may be called from any thread. Times are seconds since 1970.
 */
#ifndef GATEWAY_CORE_CA_GUARD_H
#define GATEWAY_CORE_CA_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define GUARD_FAILURES   5   /* in a row open the breaker */
#define GUARD_LATEST     20  /* calls are remembered */
#define GUARD_LOST       10  /* of these without an answer open it, too, in whatever order */
#define GUARD_BACKOFF_S  5   /* the first time; then twice as long each round */
#define GUARD_BACKOFF_MAX_S 300
#define GUARD_BURST_S    6   /* the bucket holds what comes in this time, and at least one */

enum guard_state { GUARD_CLOSED = 0, GUARD_HALF_OPEN, GUARD_OPEN };
const char *guard_state_name(enum guard_state state);

struct ca_guard;
MUST_USE int ca_guard_new(struct ca_guard **out, struct err *e);
void ca_guard_free(struct ca_guard *guard); /* NULL is allowed */

/* calls: under way at once. budget: certificates a minute; 0: any number. May change at any time. */
void ca_guard_set(struct ca_guard *guard, int calls, int64_t budget);

/* May a call be made now? true: ca_guard_leave() must follow. issues: it asks for a certificate. *at_s: when to ask again; 0: when
   one of those under way has left. */
bool ca_guard_enter(struct ca_guard *guard, bool issues, int64_t now_s, int64_t *at_s);
enum guard_call {
	GUARD_ANSWERED,  /* whatever it said */
	GUARD_REACHED,   /* it was only looked at, and is there: calls may be made, but the first that fails opens the breaker
	                    again, for longer */
	GUARD_FAILED,    /* no answer, or none that an answering CA gives */
	GUARD_NOT_MADE,  /* there was nothing to ask after all */
	GUARD_GIVEN_BACK, /* the same of one that was to ask for a certificate: the next may have its share of the budget */
};
/* How it went. true: the CA is back, the breaker was open until now. */
bool ca_guard_leave(struct ca_guard *guard, enum guard_call call, int64_t now_s);

enum guard_state ca_guard_state(struct ca_guard *guard);

/* base_s doubled for each try past the first, at most max_s; between half of that and the whole. At least 1. */
int64_t backoff_s(int64_t base_s, int64_t tries, int64_t max_s);

#endif
