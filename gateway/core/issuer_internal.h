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
#define ISSUER_SETTLE_S     60  /* "not issued" right after a lost answer may mean "not yet": it is believed when this long has passed, or
                                   two deadlines */
#define ISSUER_LOOK_S       1   /* between looks at a CA that has just failed */
#define ISSUER_STORE_S      5   /* what the store did not take is tried again this late */

/* What the calls of one CA came to, for the metrics. */
enum issuer_outcome {
	CALL_ISSUED, CALL_WAITING, CALL_REFUSED, CALL_UNAVAILABLE, CALL_UNKNOWN, CALL_ABSENT,
	CALL_QUARANTINED, CALL_UNKNOWN_ISSUER, CALL_REVOKED, CALL_REVOKE_FAILED, CALL_HELD, CALL_RELEASED, CALL_COUNT
};

/*
 * What could not be recorded, and is tried again: what a call came to, which nobody else knows of; or, when nobody was
 * called, only that it is to be left alone for a while.
 */
struct issuer_kept {
	int64_t id;                     /* of the intent; negative: of a revocation */
	int64_t until_s;
	bool answered;                  /* there is an outcome: the four below */
	enum intent_state state;        /* in which the CA was called */
	int rc;
	struct err said;
	struct ca_answer answer;
	struct issuer_kept *next;
};
void issuer_kept_free(struct issuer_kept *kept); /* NULL is allowed */

/* One thing to do for one CA. The caller fills the first part; the rest is the answer. */
struct issuer_job {
	struct gateway *gateway;
	const struct world *world;
	const struct world_ca *ca;
	int64_t now_s;
	bool revoke;                    /* revocation and cert, else intent_id */
	bool budgeted;                  /* the guard took a certificate's share of the budget for it */
	bool claimed;                   /* it is SENT by issuer_claim(), and nobody has sent it yet */
	int64_t intent_id;
	struct revocation_row revocation;
	struct buf cert;
	bool found;                     /* by an operator, not by the connector: nobody has compared it yet */
	struct issuer_kept *kept;       /* what an earlier call came to: nobody is called then. NULL: nothing. With -1, what is to be kept now;
	                                   owned by whom it is handed to */

	/* As soon as call is known, before anything is recorded: others may call now. NULL: nobody wants to know. */
	void (*called)(struct issuer_job *job);
	void *called_arg;
	enum guard_call call;
	bool counted;                   /* outcome says what came of a call */
	enum issuer_outcome outcome;
	bool over;                      /* the intent is: csr_sha256 and request_id say whose */
	uint8_t csr_sha256[32];
	int64_t request_id;
	struct buf given;               /* the certificate that is recorded now (DER); owned by whoever made the job */
	const char *given_by;           /* its CA's name, of the world */
	bool refused;                   /* it is over now, without a certificate */
	bool vouched;                   /* an MDM vouched for it, which is to be told of the end */
	bool untold;                    /* ... and by nobody else: issuer_tell_mdm() */
	int64_t next_try_s;             /* when it is to be looked at again; 0: never */
};

/* Its CA's settings. */
const struct config_ca *issuer_job_config(const struct issuer_job *job);

/* Carry it out in this thread, with the call it needs. 0, or -1 *e: the store did not answer; nothing is lost. */
MUST_USE int issuer_carry_out(struct issuer_job *job, struct err *e);
/* What was claimed and not called for after all is open again. */
void issuer_unsend(const struct issuer_job *job);
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

/*
 * Who signed what came? The CA, or another generation of it that is known here. 0: it is what was approved; *by: whose it
 * is; NULL: no key that is known here signed it. 1: it is not; *reason and *wrong say why. -1 *wrong: it cannot be told now.
 */
int issuer_judge(const struct issuer_job *job, const struct ca_request *approved, struct bytes cert, const struct config_ca **by,
	bool *other, const char **reason, struct err *wrong);

/* ops->issue(), unless the CA's certificates have ended, and those of all its generations: ERR_UPSTREAM. */
MUST_USE int issuer_ask(const struct issuer_job *job, const struct ca_request *request, struct ca_answer *out, struct err *e);

#define LANES_MAX         32
#define LANE_THREADS_MAX  32 /* two for each of `calls`: one records what came of a call while another makes the next */
#define LANE_JOBS         64 /* taken from the store at once */
#define IDLE_S            30 /* the longest without a look: what the sweep revokes waits so long at most */
#define LANE_KEPT_MAX     256 /* past it nothing new is begun until the store has taken some */

struct lane_job {
	bool revoke, issues, probe;
	bool claimed;
	bool sent;                /* it was when the store was read */
	int64_t intent_id;
	struct revocation_row revocation;
	struct buf cert;
	struct issuer_kept *kept; /* owned; NULL: none */
};

struct lane {
	struct issuer *issuer;
	pthread_cond_t work;            /* where threads wait to be called: issuer_watch.c */
	pthread_cond_t watch;           /* and where one waits for the time */
	char ca[REG_TEXT_MAX];
	size_t number;
	struct ca_guard *guard;
	pthread_t threads[LANE_THREADS_MAX];
	int thread_count;
	/* Under the issuer's lock. */
	struct lane_job jobs[LANE_JOBS];
	size_t first, count;
	int64_t busy[LANE_THREADS_MAX]; /* intents at work, by thread; 0: none. Negative: a revocation */
	int claims;                     /* intents that are being recorded as SENT; each has a call of the guard's */
	int64_t handed[LANE_THREADS_MAX]; /* and were: whoever comes next calls */
	int handed_count;
	struct issuer_kept *kept;
	size_t kept_count;
	bool filling, look;
	bool hurry;                     /* the CA is back: those that were put off come in their order */
	bool stand_ins;                 /* others could be asked: it is worth knowing soon whether it is down */
	bool doubtful;                  /* its latest call failed */
	int64_t probe_s;                /* and it was looked at: not again before */
	bool moving;                    /* a thread gives what is open to other CAs */
	int64_t move_s;                 /* when to see whether others could have it; 0: no need */
	bool gone;                      /* it was not in the configuration when its latest job was at hand */
	int64_t filled_s;               /* when jobs was read */
	int64_t due_s;                  /* nothing is due before */
	int64_t closed_s;               /* the breaker lets nobody through before */
	bool watched;                   /* a thread wakes at watch_s, or before */
	int64_t watch_s;
	int idle, called;               /* threads that wait to be called; and of these were, but have not got the lock yet */
	int64_t calls[CALL_COUNT];
	int64_t failovers[LANES_MAX];   /* what went to each lane */
};

/* issuer_lane.c: what one thread of a lane does until the issuer stops. */
void lane_run(struct lane *lane, int number);
void lane_drop_jobs(struct lane *lane); /* under lock */
/* Its tickets, that this came to an end, and what it gave to whom it is for; under lock. untold is filled: who asked is not there. */
void issuer_tell(struct issuer *issuer, struct issuer_job *job);
/* issuer_mdm.c: best effort; a call that takes its time. */
void issuer_tell_mdm(const struct issuer_job *job);

/* issuer_watch.c, under lock. */
void lane_wait_until(struct lane *lane, int64_t at_s); /* or until it is woken; IDLE_S at most */
void lane_rouse(struct lane *lane);                     /* one thread, if one waits: there may be something to do */
void lane_rouse_all(struct lane *lane);
void lane_keep_watch(struct lane *lane);               /* due_s may be earlier than it was, or who kept watch has got something to do */

/* issuer_claim.c, under lock. */
/* Is it still to come? What is further ahead than it ever was put is not: the clock went back. */
bool lane_is_ahead(int64_t at_s, int64_t now_s, int64_t most_s);
void lane_take_handed(struct lane *lane, int number, struct lane_job *out); /* the oldest; there is one */

/* issuer_keep.c, under lock. */
void lane_keep(struct lane *lane, struct issuer_kept *kept);
/* Outcomes whose time has come become jobs; what was only left alone is let go. */
size_t lane_take_kept(struct lane *lane, int64_t now_s, struct lane_job *jobs, size_t most);
int64_t lane_kept_due(const struct lane *lane); /* INT64_MAX: nothing is kept */

/* issuer_failover.c: what is open goes to other CAs, as far as there are any. The count, or -1 *e. Without lock. */
int64_t issuer_fail_over(struct issuer *issuer, const struct world *world, const char *from, struct err *e);
int64_t issuer_now(const struct issuer *issuer);

/* issuer_settle.c. Each job begins with a look, so that no jump of the wall clock hides behind another. NULL is allowed. */
void issuer_see_clocks(struct issuer *issuer);
/* Has this process seen so long a time pass by a clock that nobody sets, in which the wall clock did not jump? NULL: no. */
bool issuer_clock_ran(struct issuer *issuer, int64_t for_s);

/* issuer_told.c. Best effort: another generation's key signed what was issued. */
void issuer_tell_generation(const struct issuer_job *job, const struct intent_row *intent, const struct config_ca *by, const char *serial);
/*
 * Another certificate of the same key came along (answer->second); the intent is over. It is told, and revoked there when a key that is
 * known here signed it. 0, or -1 *e: it is still to be told.
 */
MUST_USE int issuer_tell_second(const struct issuer_job *job, const struct intent_row *intent, const struct ca_answer *answer,
	struct err *e);

struct issuer_ticket {
	struct issuer *issuer;
	pthread_cond_t news;
	uint8_t csr_sha256[32];
	int64_t request_id;     /* whose certificate it may be handed, as long as somebody waits; 0: none */
	struct buf cert;        /* and was; empty: it was not */
	char ca[REG_TEXT_MAX];
	bool told, was_told;
	bool asker;             /* and of the end of what it has recorded itself */
	struct timespec until;
	bool waited;
	struct issuer_ticket *next;
};

struct issuer {
	struct issuer_settings settings;
	pthread_mutex_t lock;
	bool stopping;
	struct lane *lanes[LANES_MAX];
	size_t lane_count;
	struct issuer_ticket *tickets;
	int waiting;
	int64_t ahead_s;        /* the wall clock of the steady one, when they were last seen to part */
	int64_t together_s;     /* since then, by the steady one; 0: nobody has looked yet */
};

struct lane *issuer_lane(const struct issuer *issuer, const char *ca); /* NULL: none of that name */
struct timespec issuer_monotonic(int64_t in_ms);
void issuer_cond_init(pthread_cond_t *cond); /* its waits end by issuer_monotonic() */
void issuer_wake_all(struct issuer *issuer); /* every thread of every lane; under lock */

#endif
