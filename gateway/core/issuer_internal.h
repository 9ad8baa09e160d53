/*
 * issuer_internal.h - what the files of the issuer share; nobody else includes it but tests.
 */
#ifndef GATEWAY_CORE_ISSUER_INTERNAL_H
#define GATEWAY_CORE_ISSUER_INTERNAL_H

#include <pthread.h>
#include <time.h>

#include "gateway/core/issuer.h"
#include "policy/decide.h"

#define ISSUER_RETRY_S      2   /* after the first call without an answer; then twice as long each time */
#define ISSUER_RETRY_MAX_S  300
#define ISSUER_POLL_MIN_S   1
#define ISSUER_POLL_MAX_S   3600
#define ISSUER_OPERATOR_S   86400 /* unknown, and the CA cannot be asked: looked at again this late */
#define ISSUER_RECHECK_S    10  /* what was decided longer ago is decided once more before it is sent */
#define ISSUER_REVOKE_MAX_S 3600

/* What the calls of one CA came to, for the metrics. */
enum issuer_outcome {
	CALL_ISSUED, CALL_WAITING, CALL_REFUSED, CALL_UNAVAILABLE, CALL_UNKNOWN, CALL_ABSENT,
	CALL_QUARANTINED, CALL_REVOKED, CALL_REVOKE_FAILED, CALL_COUNT
};

/* One thing to do for one CA. The caller fills the first part; the rest is the answer. */
struct issuer_job {
	struct gateway *gateway;
	const struct world *world;
	const struct world_ca *ca;
	int64_t now_s;
	bool revoke;                    /* revocation and cert, else intent_id */
	int64_t intent_id;
	struct revocation_row revocation;
	struct buf cert;

	enum guard_call call;
	bool counted;                   /* outcome says what came of a call */
	enum issuer_outcome outcome;
	bool over;                      /* the intent is: csr_sha256 says whose */
	uint8_t csr_sha256[32];
	int64_t next_try_s;             /* when it is to be looked at again; 0: never */
};

/* Carry it out in this thread, with the call it needs. 0, or -1 *e: the store did not answer; nothing is lost. */
MUST_USE int issuer_carry_out(struct issuer_job *job, struct err *e);
MUST_USE int issuer_carry_out_revocation(struct issuer_job *job, struct err *e);

/*
 * A certificate has come and is what was approved: may the device have it, in the present state of everything? 0 with
 * *recorded: true, it is issued; false, *why says why not. -1 *e: ERR_BUG, the CA gave it before; else it cannot be told now.
 */
MUST_USE int issuer_finish(const struct issuer_job *job, const struct intent_row *intent, struct ca_answer *answer,
	bool *recorded, struct decision *why, struct err *e);
/* The same without a certificate: would it be allowed? */
MUST_USE int issuer_still_allowed(const struct issuer_job *job, const struct intent_row *intent, bool *allowed,
	struct decision *why, struct err *e);

#define LANES_MAX         32
#define LANE_THREADS_MAX  16
#define LANE_JOBS         64 /* taken from the store at once */

struct lane_job {
	bool revoke, issues;
	int64_t intent_id;
	struct revocation_row revocation;
	struct buf cert;
};

struct lane {
	struct issuer *issuer;
	char ca[REG_TEXT_MAX];
	struct ca_guard *guard;
	pthread_t threads[LANE_THREADS_MAX];
	int thread_count;
	/* Under the issuer's lock. */
	struct lane_job jobs[LANE_JOBS];
	size_t first, count;
	int64_t busy[LANE_THREADS_MAX]; /* intents at work, by thread; 0: none. Negative: a revocation */
	bool filling, look;
	bool hurry;                     /* the CA is back: those that were put off come in their order */
	int64_t due_s;                  /* nothing is due before */
	int64_t closed_s;               /* the breaker lets nobody through before */
	int64_t calls[CALL_COUNT];
};

struct issuer_ticket {
	struct issuer *issuer;
	uint8_t csr_sha256[32];
	bool told, was_told;
	struct timespec until;
	bool waited;
	struct issuer_ticket *next;
};

struct issuer {
	struct issuer_settings settings;
	pthread_mutex_t lock;
	pthread_cond_t work, told;
	bool stopping;
	struct lane *lanes[LANES_MAX];
	size_t lane_count;
	struct issuer_ticket *tickets;
	int waiting;
};

struct lane *issuer_lane(const struct issuer *issuer, const char *ca); /* NULL: none of that name */
struct timespec issuer_monotonic(int64_t in_ms);

#endif
