/*
 * intent.h - what is asked of CAs elsewhere, written down before it is sent.
 *
 * An intent is one certificate that one CA was, is being, or will be asked for on behalf of one request. It is made in
 * the transaction that records the request as PENDING (store_outcome.intent), and done in the one that records the
 * certificate (store_outcome.intent_id), so that no crash loses either. A request has at most one that is not over.
 *
 * What such a CA has to hear of its certificates is a queue of its own: a certificate that came by an intent
 * enters it in the very transaction that revokes it here, holds it, or lifts its hold, whatever did. A row says what the certificate
 * is to be there, and what the CA was told last; what is told is the difference. So a hold that was lifted before anybody
 * called is never told, and a revocation ends whatever was told before it.
 */
#ifndef GATEWAY_STORE_INTENT_H
#define GATEWAY_STORE_INTENT_H

#include "base/bytes.h"
#include "base/ossl.h"
#include "policy/record.h"

struct store;
struct store_read;

enum intent_state {
	INTENT_OPEN = 0,    /* not sent, or certainly not issued: it may be sent */
	INTENT_SENT,        /* being sent at this moment, or its outcome is being recorded */
	INTENT_WAITING,     /* the CA makes it wait: it is polled */
	INTENT_UNKNOWN,     /* sent, and what became of it is not known: never sent again before that is */
	INTENT_DONE,        /* past here it is over */
	INTENT_FAILED,      /* the CA refused, or an operator gave it up */
	INTENT_QUARANTINED, /* a certificate came that was not let out: it is being revoked there */
};
const char *intent_state_name(enum intent_state state);

#define INTENT_NAME_MAX 80
#define INTENT_REFERENCE_MAX 256
#define INTENT_ERROR_MAX 240
#define INTENT_CA_REQUEST_MAX 48
#define INTENT_JSON_MAX (64 << 10)
#define INTENT_TRY_MAX_S 90000 /* nothing is put off for longer: what is later was put off by a clock that went back since, and is due */

/* One to be made with a request that is recorded as PENDING. */
struct intent_new {
	const char *ca;
	const char *instead_of; /* the CA it would have been, but that does not answer: an audit row "ca.failover" says so; NULL: none */
	const char *spec_json; /* what was approved */
	struct bytes spki;
	int key_kind;          /* enum key_kind */
	bool sent;             /* SENT at once, since somebody calls as soon as it is committed; else OPEN */
	int64_t *id;           /* filled; NULL: nobody wants to know */
};

struct intent_row {
	int64_t id;
	int64_t request_id;
	char asset_tag[REG_TEXT_MAX];
	char label[REG_TEXT_MAX]; /* of the request */
	uint8_t csr_sha256[32];
	char ca[INTENT_NAME_MAX];
	char ca_request_id[INTENT_CA_REQUEST_MAX]; /* "gw-<request>-<number>-<random>", no other has it */
	enum intent_state state;
	char reference[INTENT_REFERENCE_MAX];
	int64_t created_s, updated_s, next_try_s;
	int64_t tries;          /* calls to the CA about it */
	int64_t cert_id;        /* DONE: the certificate; else 0 */
	int key_kind;
	char error[INTENT_ERROR_MAX]; /* of the latest call, or why it is over */
};

struct intent_filter {
	const char *ca;   /* NULL: any */
	int64_t after_id; /* rows with a larger id */
	int64_t due_s;    /* whose next try is not after this; 0: any */
	int limit;        /* 0: 1000 */
	bool active;      /* only those that are not over */
};
typedef bool (*intent_cb)(void *arg, const struct intent_row *row); /* false: stop */

/* One step of an intent that is not over. */
struct intent_step {
	int64_t id;
	const char *ca;        /* when it is not this CA's any more, nothing is done; NULL: whosever it is */
	enum intent_state from, to; /* when it is not in from any more, nothing is done */
	const char *reference; /* NULL: as it was */
	const char *error;     /* NULL: "" */
	int64_t next_try_s;
	bool called;           /* one more call to the CA */
	const char *actor;     /* for the audit row; NULL: "enrolld" */
	const char *audit;     /* the row's action; NULL: no row */
	const char *serial;    /* of the certificate that it is about, for the row; NULL: none */
	int64_t now_s;
};

/*
 * The end without a certificate: the request becomes DENIED (unless an operator has refused it), its place in a quota is free.
 * When it is over already, a certificate that came all the same still enters the queue of revocations, with an audit row.
 */
struct intent_end {
	int64_t id;
	const char *ca;        /* that has to revoke it; NULL: the intent's */
	enum intent_state to;  /* FAILED or QUARANTINED */
	const char *reason, *sentence; /* of the request, and the decision row */
	const char *rules_json; /* NULL: "[]" */
	const char *policy_version;
	const char *actor;     /* NULL: "enrolld" */
	const char *audit;
	const char *serial;    /* of a certificate that came: it enters the queue of revocations; NULL: none did */
	struct bytes cert;     /* DER, may be empty */
	bool unproven;         /* no key that is known here signed it: its number may be another's, so it enters no queue and is only told */
	int64_t now_s;
};

/* Some that are open go to other CAs, in one transaction, with an audit row "ca.failover" for each. */
struct intent_moved {
	int64_t id;
	char to[INTENT_NAME_MAX];
	bool moved;            /* filled: it was */
};
struct intent_move {
	const char *from;      /* those that are not open, or not this CA's any more, stay */
	struct intent_moved *list;
	size_t count;
	const char *why;
	const char *actor;     /* NULL: "enrolld" */
	int64_t now_s;
};

/* What a certificate is to be at its CA: numbers of enum cert_status. */
enum upstream {
	UPSTREAM_GOOD = 0,
	UPSTREAM_REVOKED,
	UPSTREAM_HELD,
	UPSTREAM_UNSURE,       /* told only: a hold or its end may have been told, and how the CA took it is not known */
};

struct revocation_row {
	int64_t id;
	char ca[INTENT_NAME_MAX];
	char serial[SERIAL_ANY_MAX];
	enum upstream wanted, told;
	char reason[48];       /* as the certificate's row says; "quarantined" for one that was never let out. Of a hold or a release: REVOCATION_REFUSED
	                          when the CA has refused it, else "" */
	int64_t cert_id;       /* 0: never let out */
	int64_t created_s, next_try_s, tries;
	char error[INTENT_ERROR_MAX];
};
/* cert: DER, valid during the callback only; may be empty. */
typedef bool (*revocation_cb)(void *arg, const struct revocation_row *row, struct bytes cert);
#define REVOCATION_REFUSED "refused"
/* SETTLED: the certificate has ended, and the CA refuses: nobody is owed anything any more. */
enum revocation_end { REVOCATION_LATER = 0, REVOCATION_DONE, REVOCATION_IMPOSSIBLE, REVOCATION_SETTLED };
struct revocation_step {
	int64_t id;
	enum upstream wanted;  /* what it was about. When something else is wanted by now, that is due at once */
	enum upstream told;    /* what the CA takes it for; DONE: it is wanted */
	enum revocation_end to;
	const char *error;     /* NULL: "" */
	bool refused;          /* LATER: by the CA's own words, which are the error. Of a hold or a release the first time is an alert in the audit */
	int64_t ended_s;       /* SETTLED: when the certificate did, for the audit row */
	int64_t next_try_s, now_s;
};

struct intent_counts {
	int64_t in_state[INTENT_UNKNOWN + 1]; /* OPEN to UNKNOWN; those that are over are not counted */
	/* Certificates whose CA has to be told, by what; they wait. */
	int64_t revocations, holds, releases;
	int64_t refused;                      /* of the holds and releases: the CA has refused them, and is asked again */
	int64_t unheld;                       /* on hold here, and good there: their CA cannot hold them */
};

typedef bool (*intent_ca_cb)(void *arg, const char *ca);

/* Errors as in store.h. Lookups give 1 with *out, 0 when there is none, -1. */
struct intent_ops {
	/* spec, spki: NULL, or get theirs appended. */
	int (*by_id)(struct store_read *, int64_t id, struct intent_row *out, struct buf *spec, struct buf *spki,
		struct err *);
	/* The request's newest. */
	int (*of_request)(struct store_read *, int64_t request_id, struct intent_row *out, struct err *);
	/* Oldest first. 0 or -1. */
	int (*list)(struct store_read *, const struct intent_filter *, intent_cb, void *, struct err *);
	/* When something of this CA is due next, intent or revocation: 1 with *at_s, 0 nothing waits, -1. */
	int (*next)(struct store_read *, const char *ca, int64_t *at_s, struct err *);
	int (*counts)(struct store_read *, const char *ca, struct intent_counts *out, struct err *);
	/* Names of those for which something is open, or waits to be told; they may be in no configuration any more. 0 or -1. */
	int (*cas)(struct store_read *, intent_ca_cb, void *, struct err *);
	/* What is due to be told, oldest first. 0 or -1. */
	int (*revocations)(struct store_read *, const char *ca, int64_t due_s, int limit, revocation_cb, void *,
		struct err *);
	/* 0 or -1; *done: whether it was. */
	int (*step)(struct store *, const struct intent_step *, bool *done, struct err *);
	int (*end)(struct store *, const struct intent_end *, bool *done, struct err *);
	/* 0 or -1; *moved: how many were, and which says the list. They are due at once, and for the CA they come to they are new. */
	int (*move)(struct store *, const struct intent_move *, size_t *moved, struct err *);
	/* At start: what a former life was sending is UNKNOWN. *count: how many. */
	int (*adopt)(struct store *, int64_t now_s, int64_t *count, struct err *);
	/* Before a hold or its end is told: it is UPSTREAM_UNSURE from here on, so that a crash forgets nothing. 0 or -1; *done: false,
	   something else is wanted by now. A revocation needs none: it is final, and told until it is done. */
	int (*revocation_begin)(struct store *, int64_t id, enum upstream wanted, bool *done, struct err *);
	int (*revocation_step)(struct store *, const struct revocation_step *, struct err *);
};

extern const struct intent_ops intent_sqlite;

#endif
