/*
 * store.h - the gateway's memory: registry, requests, certificates, decisions, audit.
 *
 * Durable before anyone is told: every write returns only after the commit
 * that holds it has reached the disk. Writers share commits (group commit):
 * calls from many threads meet in one transaction and one fsync, and one
 * call's failure never undoes another's work.
 *
 * Every function may be called from any thread. Times are seconds since 1970.
 * Every write appends to the audit chain in the same transaction.
 *
 * Errors, unless a function says otherwise:
 *   ERR_UPSTREAM  the database did not take it (disk full, locked, I/O error,
 *                 closing); nothing of this call is recorded
 *   ERR_DENIED    the rules of the registry forbid it; the text says why
 */
#ifndef GATEWAY_STORE_STORE_H
#define GATEWAY_STORE_STORE_H

#include "base/bytes.h"
#include "base/ossl.h"
#include "gateway/store/intent.h"
#include "gateway/store/rollover.h"
#include "policy/import.h"
#include "policy/record.h"

struct store;      /* opened by ops->open */
struct store_read; /* one consistent snapshot, used by one thread */

struct store_settings {
	const char *path;     /* SQLite: the file; its folder must exist */
	int readers;          /* connections kept for snapshots; calls past that wait */
	int cache_kib;        /* page cache of the writer; readers get an eighth each */
	bool read_only;       /* for offline verification: no writer thread, no migration */
};

enum request_state {
	REQUEST_PENDING = 0, /* waits for an operator (or, later, a CA) */
	REQUEST_APPROVED,    /* the identical CSR will be issued when it comes again */
	REQUEST_ISSUED,
	REQUEST_DENIED,      /* by policy; a later attempt is decided afresh */
	REQUEST_REFUSED,     /* by an operator; stays refused for this CSR */
};
const char *request_state_name(enum request_state state);
int request_state_of(const char *name); /* -1: unknown */

#define STORE_NAME_MAX 80
#define STORE_PEER_MAX 64
#define STORE_SENTENCE_MAX 240
#define STORE_SUBJECT_MAX 512
#define STORE_TRANSACTION_MAX 129 /* with the final NUL */

struct request_row {
	int64_t id;
	int64_t asset_id;
	char asset_tag[REG_TEXT_MAX];
	char label[STORE_NAME_MAX];
	char profile[STORE_NAME_MAX];
	char protocol[16];       /* "est", "scep", "coap" */
	char operation[32];      /* "simpleenroll", ... */
	uint8_t csr_sha256[32];
	uint8_t spki_sha256[32]; /* of the key it asks for; zero for a key made here */
	char transaction[STORE_TRANSACTION_MAX]; /* the protocol's own id (SCEP transactionID); "": none */
	int64_t attempt;         /* 0 for the first; the same CSR may be asked for again after its certificate aged */
	enum request_state state;
	int64_t cert_id;         /* 0: none */
	int64_t decision_id;     /* the latest */
	int64_t tries;           /* how often the same CSR came */
	int64_t created_s, updated_s;
	char peer[STORE_PEER_MAX];
	char proof[REG_VALUE_MAX];
	int proof_kind;          /* enum proof_kind: what was proven when it was recorded */
	bool attested;           /* attestation_json is kept: see request_attestation */
	int64_t secret_id;       /* the once-secret that proved it, spent only when it is issued; 0: none */
	int64_t proof_cert_id;   /* the certificate of ours that proved it; 0: none */
	char reason[48];
	char sentence[STORE_SENTENCE_MAX];
	char decided_by[STORE_NAME_MAX]; /* the operator, for APPROVED and REFUSED */
};

enum cert_status { CERT_VALID = 0, CERT_REVOKED, CERT_HELD };
const char *cert_status_name(enum cert_status status);

struct cert_row {
	int64_t id;
	int64_t asset_id;
	int64_t request_id;
	char asset_tag[REG_TEXT_MAX];
	char ca[STORE_NAME_MAX];
	char label[STORE_NAME_MAX];
	char profile[STORE_NAME_MAX];
	char serial[SERIAL_HEX_MAX];
	char subject[STORE_SUBJECT_MAX];
	char sans[STORE_SUBJECT_MAX]; /* "dns:a, uri:b"; cut when longer */
	uint8_t sha256[32];
	uint8_t spki_sha256[32];
	int64_t not_before_s, not_after_s;
	enum cert_status status;
	int64_t revoked_s;       /* HELD: since when it is held */
	char revoke_reason[48];
	int64_t replaces_id; /* the certificate it renews; 0: none */
};

struct decision_row {
	int64_t id;
	int64_t at_s;
	int64_t request_id; /* 0: no asset was found */
	int64_t asset_id;
	int64_t asset_version;
	char policy_version[65];
	uint8_t csr_sha256[32];
	char outcome[16];
	char reason[48];
	char sentence[STORE_SENTENCE_MAX];
	const char *rules_json; /* valid during the callback only */
};

struct audit_row {
	int64_t seq; /* from 1, without gaps */
	int64_t at_s;
	char actor[REG_VALUE_MAX];  /* "device:<tag>", "operator:<user>", "enrolld" */
	char action[48];            /* "enroll.issued", "enroll.denied", "asset.state", ... */
	char subject[REG_VALUE_MAX]; /* what it was done to: an asset tag, a serial, ... */
	const char *detail_json;    /* valid during the callback only */
	uint8_t prev[32];
	uint8_t hash[32];
};

struct secret_row {
	int64_t id;
	int64_t asset_id;
	bool once;               /* spent by the first certificate it leads to */
	char label[STORE_NAME_MAX]; /* "*": any */
	char protocol[16];       /* "est", "scep" */
	uint8_t salt[16];
	uint8_t hash[32];        /* HMAC-SHA-256(salt, secret); secrets are 128 random bits, so no stretching */
	int64_t created_s;
	int64_t expires_s;       /* 0: never */
	int64_t used_s;          /* 0: not yet */
	int64_t used_request_id;
};

/* What one enrollment attempt comes to; see record below. Texts are borrowed. */
struct store_outcome {
	int64_t now_s;
	int64_t asset_id;       /* 0: nobody we know; then only a decision and an audit row are written */
	int64_t asset_version;  /* as decided on; when it has changed meanwhile: STORE_STALE */
	int64_t registrar_id, registrar_version; /* the same for the asset that asks for this one; 0: none does */
	const char *asset_tag;
	const char *label, *profile, *protocol, *operation, *peer, *proof;
	struct bytes csr;       /* DER */
	uint8_t csr_sha256[32];
	uint8_t spki_sha256[32];
	int64_t attempt;
	int64_t request_id;     /* of the row found before, when this goes on with it; else 0 */
	enum request_state state; /* ISSUED, PENDING or DENIED */
	const char *reason, *sentence, *rules_json, *policy_version;
	bool alert;
	const char *transaction; /* the protocol's own id; NULL or "": none. Longer than STORE_TRANSACTION_MAX: ERR_LIMIT */
	bool renewal;           /* the asset's earlier requests do not hold the transaction against a new key */
	int proof_kind;         /* enum proof_kind */
	int64_t proof_cert_id;  /* with PROOF_OWN: the certificate; else 0 */
	int64_t secret_id;      /* kept with the request; marked used when it is a once-secret and the state is ISSUED; 0: none */
	/* SHA-256 of a challenge that an MDM vouched for: good for one request only. NULL: none. Taken when the
	   state is ISSUED or PENDING; when another request has it: STORE_SPENT. */
	const uint8_t *challenge_sha256;
	const char *challenge_mdm; /* who vouched for it: a challenge is one service's, whatever the label */
	/* SHA-256 of an attestation nonce: good for one request only; taken as the challenge is. NULL: none. */
	const uint8_t *nonce_sha256;
	int64_t nonce_expires_s;   /* past it the nonce proves nothing anyway, and its row goes */
	const char *attestation_json; /* what evidence came to, kept with the request; NULL or "": none */
	/* The anchor that proved the asset, and the key it came with: remembered when the anchor has none yet. NULL: none. */
	const struct anchor *anchor;
	const uint8_t *anchor_spki;
	/* ISSUED: exceptions whose use is counted; when one is used up, ended or revoked meanwhile: STORE_STALE. */
	const int64_t *exception_ids;
	size_t exception_count;
	/* ISSUED and PENDING: take (or keep) the asset's place in its owner's quota for the profile, when there is
	   one; when it is full: STORE_STALE. A PENDING place is kept for quota_hold_s. */
	bool quota;                /* false: not asked, an exception waives it */
	int64_t quota_hold_s;
	const struct intent_new *intent; /* PENDING: made with it; when the request has one under way: STORE_EXISTS. NULL: none */
	int64_t intent_id;      /* ISSUED: the intent that it fulfils; one that is over already: STORE_EXISTS. 0: none */
	/* ISSUED only */
	struct bytes cert;      /* DER */
	const char *ca, *serial, *subject, *sans;
	uint8_t cert_sha256[32];
	int64_t not_before_s, not_after_s;
	int64_t replaces_id;    /* the certificate this renews; 0: none */
	bool supersede;         /* and revoke that one in the same transaction, reason "superseded" */
};

enum store_recorded {
	STORE_RECORDED,
	STORE_EXISTS,  /* another thread recorded the same (asset, label, CSR, attempt) first: read it */
	STORE_STALE,   /* the asset or its registrar changed since they were read, its owner may no longer, another
	                  asset got a certificate for the same key, or (ISSUED, PENDING) a request of this label
	                  that is not denied took the transaction for another key: decide again */
	STORE_SPENT,   /* the once-secret, the MDM's challenge or the nonce was used by another request meanwhile */
};

/* Ownership moves between two parties: one offers, the other takes. The asset is TRANSFER_PENDING meanwhile. */
enum transfer_state { TRANSFER_OFFERED = 0, TRANSFER_ACCEPTED, TRANSFER_DECLINED, TRANSFER_CANCELLED, TRANSFER_EXPIRED };
const char *transfer_state_name(enum transfer_state state);
int transfer_state_of(const char *name);
struct transfer_row {
	int64_t id;
	int64_t asset_id;
	char asset_tag[REG_TEXT_MAX];
	char from_owner[REG_TEXT_MAX], to_owner[REG_TEXT_MAX];
	enum transfer_state state;
	enum asset_state prior_state;  /* where the asset goes back to when nothing comes of it */
	char reason[STORE_SENTENCE_MAX];
	char offered_by[STORE_NAME_MAX], decided_by[STORE_NAME_MAX]; /* "operator:<user>" */
	int64_t offered_s, expires_s, decided_s;
};

enum exception_state { EXCEPTION_REQUESTED = 0, EXCEPTION_ACTIVE, EXCEPTION_REFUSED, EXCEPTION_REVOKED };
const char *exception_state_name(enum exception_state state); /* ended or used up are told by the times and counts */
int exception_state_of(const char *name);
struct exception_row {
	int64_t id;
	int64_t asset_id;              /* exactly one of asset and owner */
	char asset_tag[REG_TEXT_MAX];
	char owner[REG_TEXT_MAX];
	char label[STORE_NAME_MAX];    /* "*": any */
	unsigned waives;               /* EXCEPTION_* */
	char reason[STORE_SENTENCE_MAX]; /* never empty */
	char ticket[REG_TEXT_MAX];       /* never empty */
	enum exception_state state;
	char requested_by[STORE_NAME_MAX];
	char approved_by[STORE_SENTENCE_MAX]; /* both, where two are needed, ", " between them */
	int approvals_needed;            /* 1; 2 for an asset of tier 3, or an owner that has such; with 1 it is not in force for those */
	int64_t created_s, expires_s;    /* expires_s is never 0 */
	int64_t max_uses, uses;          /* max_uses at least 1 */
};

struct quota_row {
	char owner[REG_TEXT_MAX];
	char profile[STORE_NAME_MAX];
	int64_t limit;  /* assets that may hold a valid certificate of this profile at one time */
	int64_t used;   /* do now, or have a place held */
};

/* What a second operator has to say yes to. */
enum approval_state { APPROVAL_WAITING = 0, APPROVAL_GIVEN, APPROVAL_REFUSED, APPROVAL_USED };
const char *approval_state_name(enum approval_state state);
int approval_state_of(const char *name);
struct approval_row {
	int64_t id;
	char kind[32];                  /* "asset.state", "import", "exception" */
	char subject[REG_VALUE_MAX];    /* the asset's tag, the batch's name, the exception's number */
	char detail[STORE_SENTENCE_MAX]; /* for people: "stolen -> deployed", "120000 records, 31 moved between owners" */
	char reason[STORE_SENTENCE_MAX];
	enum approval_state state;
	char requested_by[STORE_NAME_MAX];
	char decided_by[STORE_SENTENCE_MAX];
	int needed;                     /* how many other operators */
	int64_t requested_s, expires_s, decided_s;
};

/* An attestation key bound to an endorsement key by ActivateCredential. */
struct ak_row {
	uint8_t spki_sha256[32];
	char attester[REG_TEXT_MAX], ek_sha256[65]; /* by whose settings it was bound, nothing to any other; hex */
	int64_t asset_id;       /* whose anchor ek_pub_sha256 it was, with the attester as its issuer */
	int64_t bound_s, expires_s; /* bound_s: since when the TPM was asked */
};

/* Owners whose grace has ended, and what became of their certificates. */
struct offboard_report {
	int64_t owners, assets, revoked, transfers; /* transfers: expired */
};

struct asset_filter {
	int64_t after_id;  /* rows with a larger id; for paging */
	int limit;         /* at most; 0: 1000 */
	const char *tag;   /* exact; NULL: any */
	const char *owner; /* exact; NULL: any */
	int state;         /* enum asset_state; -1: any */
};
struct cert_filter {
	int64_t after_id;
	int limit;
	const char *asset_tag;
	const char *serial;
	const char *ca;          /* exact; NULL: any */
	int status;              /* enum cert_status; -1: any */
	int64_t expires_after_s; /* notAfter >= this; 0: any */
	int64_t expires_before_s; /* 0: any */
	bool newest;             /* newest first; else oldest first */
};
struct request_filter {
	int64_t after_id;
	int limit;
	const char *asset_tag;
	int state; /* enum request_state; -1: any */
};

struct asset_summary { /* one row of `asset list` */
	struct asset asset;
	char owner[REG_TEXT_MAX];
	int64_t certs_valid;      /* valid and not expired at now_s */
	int64_t next_expiry_s;    /* the latest notAfter of those; 0: none */
};

/* Row callbacks return false to stop. */
typedef bool (*asset_cb)(void *arg, const struct asset_summary *row);
typedef bool (*cert_cb)(void *arg, const struct cert_row *row);
typedef bool (*request_cb)(void *arg, const struct request_row *row);
typedef bool (*decision_cb)(void *arg, const struct decision_row *row);
typedef bool (*audit_cb)(void *arg, const struct audit_row *row);
typedef bool (*owner_cb)(void *arg, const struct owner *row);
typedef bool (*anchor_cb)(void *arg, const struct anchor *row);
typedef bool (*transfer_cb)(void *arg, const struct transfer_row *row);
typedef bool (*exception_cb)(void *arg, const struct exception_row *row);
typedef bool (*quota_cb)(void *arg, const struct quota_row *row);
typedef bool (*approval_cb)(void *arg, const struct approval_row *row);

struct import_job {
	/* Gives the next record: 1 and *out, 0 at the end, -1 with *e set (the import is undone). */
	int (*next)(void *arg, struct import_record *out, struct err *e);
	void (*progress)(void *arg, int64_t done); /* about every 1000 records; may be NULL */
	void *arg;
	const char *actor;
	const char *source;   /* the batch's name in the audit */
	int64_t now_s;
	bool dry_run;         /* everything is checked and counted, nothing stays */
	bool create_owners;   /* else an unknown owner is an error */
	int64_t large;        /* more records than this, or an asset that changes owner, need a second operator: the import waits
	                         (ERR_PENDING names the approval); the same again, once it is given, goes in. 0: never */
	int64_t approval_s;   /* how long such an approval may take */
};
struct import_summary {
	int64_t added, updated, unchanged, owners_added;
	int64_t approval_id;  /* ERR_PENDING: which */
};

struct audit_report {
	int64_t rows;
	uint8_t head[32];   /* hash of the last row */
	int64_t bad_seq;    /* 0: the chain holds; else the first row that does not fit */
	char problem[STORE_SENTENCE_MAX];
};

struct store_stats {
	int64_t commits, writes; /* writes / commits: how well commits are shared */
	int queue;               /* waiting now */
	bool failing;            /* the latest commit failed */
};

struct store_ops {
	const char *name; /* "sqlite" */
	const struct intent_ops *intents;
	const struct rollover_ops *rollover;

	MUST_USE int (*open)(const struct store_settings *settings, struct store **out, struct err *e);
	void (*close)(struct store *store); /* finishes queued writes */
	void (*stats)(struct store *store, struct store_stats *out);

	/* Snapshots. Lookups return 1 with *out filled, 0 when there is none, -1 on error. */
	MUST_USE int (*read_begin)(struct store *store, struct store_read **out, struct err *e);
	void (*read_end)(struct store_read *read); /* NULL is allowed */
	int (*asset_by_anchor)(struct store_read *read, const struct anchor *anchor, struct asset *asset,
		struct owner *owner, struct err *e);
	int (*asset_by_tag)(struct store_read *read, const char *tag, struct asset *asset, struct owner *owner,
		struct err *e);
	int (*asset_by_id)(struct store_read *read, int64_t id, struct asset *asset, struct owner *owner,
		struct err *e);
	/* The very certificate: its serial finds it, its digest proves it. */
	int (*cert_by_serial)(struct store_read *read, const char *serial, const uint8_t sha256[32],
		struct cert_row *out, struct err *e);
	int (*cert_by_id)(struct store_read *read, int64_t id, struct cert_row *out, struct err *e);
	/* The DER of a certificate, appended to out. */
	int (*cert_der)(struct store_read *read, int64_t id, struct buf *out, struct err *e);
	/* The newest attempt for this CSR; one that policy denied only when there is no other. */
	int (*request_find)(struct store_read *read, int64_t asset_id, const char *label,
		const uint8_t csr_sha256[32], struct request_row *out, struct err *e);
	int (*request_by_id)(struct store_read *read, int64_t id, struct request_row *out, struct buf *csr,
		struct err *e); /* csr: NULL, or gets the DER appended */
	/* Requests of this label with this transaction id that are not denied, newest first, at most max. The count, or -1. */
	int (*requests_of_transaction)(struct store_read *read, const char *label, const char *transaction,
		struct request_row *out, int max, struct err *e);
	/* Which request an MDM's challenge was used for. */
	int (*challenge_request)(struct store_read *read, const char *mdm, const uint8_t sha256[32],
		int64_t *request_id, struct err *e);
	/* Whose certificates hold this key: sets both flags. 0 or -1. */
	int (*key_use)(struct store_read *read, const uint8_t spki_sha256[32], int64_t asset_id, bool *elsewhere,
		bool *before, struct err *e);
	/* What evidence came to when the request was recorded, appended to out. 1, 0 none, -1. */
	int (*request_attestation)(struct store_read *read, int64_t request_id, struct buf *out, struct err *e);
	/* Which request an attestation nonce was used for. */
	int (*nonce_request)(struct store_read *read, const uint8_t sha256[32], int64_t *request_id, struct err *e);
	/* The key an anchor came with first: 1 with it in spki, 0 none is known, -1. */
	int (*anchor_key)(struct store_read *read, const struct anchor *anchor, uint8_t spki[32], struct err *e);
	/* Exceptions in force for an asset of this owner under this label, at most max. The count, or -1. */
	int (*exceptions)(struct store_read *read, const struct asset *asset, const char *label, int64_t now_s,
		struct exception *out, int max, struct err *e);
	/* The owner's quota for a profile: 1 with the limit, how many other assets hold a place, *held: this one does; 0 none. */
	int (*quota)(struct store_read *read, int64_t owner_id, const char *profile, int64_t asset_id, int64_t now_s,
		int64_t *limit, int64_t *used, bool *held, struct err *e);
	int (*ak_find)(struct store_read *, const uint8_t spki_sha256[32], const char *attester, int64_t now_s, struct ak_row *, struct err *);
	/* The rules and profiles that a policy version stood for, as text appended to out. */
	int (*policy_text)(struct store_read *read, const char *version, struct buf *out, struct err *e);
	int (*secret_by_id)(struct store_read *read, int64_t id, struct secret_row *out, struct err *e);
	/* Secrets of an asset for a protocol, newest first, at most max. The count, or -1. */
	int (*secrets)(struct store_read *read, int64_t asset_id, const char *protocol, struct secret_row *out,
		int max, struct err *e);

	/* Lists, oldest first unless the filter says otherwise. 0 or -1. */
	int (*asset_list)(struct store_read *, const struct asset_filter *, int64_t now_s, asset_cb, void *,
		struct err *);
	int (*anchor_list)(struct store_read *, int64_t asset_id, anchor_cb, void *, struct err *);
	int (*owner_list)(struct store_read *, owner_cb, void *, struct err *);
	/* Newest first. asset_tag NULL: any; open: those that wait, or are in force, at now_s. */
	int (*transfer_list)(struct store_read *, const char *asset_tag, bool open, int64_t now_s, transfer_cb, void *,
		struct err *);
	int (*exception_list)(struct store_read *, const char *asset_tag, bool open, int64_t now_s, exception_cb,
		void *, struct err *);
	int (*quota_list)(struct store_read *, const char *owner, int64_t now_s, quota_cb, void *, struct err *);
	int (*approval_list)(struct store_read *, bool open, int64_t now_s, approval_cb, void *, struct err *);
	int (*approval_by_id)(struct store_read *, int64_t id, approval_cb, void *, struct err *);
	int (*cert_list)(struct store_read *, const struct cert_filter *, cert_cb, void *, struct err *);
	int (*request_list)(struct store_read *, const struct request_filter *, request_cb, void *, struct err *);
	/* Decisions of one request (or, with request_id 0, of asset_id), newest first, at most limit. */
	int (*decision_list)(struct store_read *, int64_t request_id, int64_t asset_id, int limit, decision_cb,
		void *, struct err *);
	/* One decision by its id: the callback runs once, or not at all. */
	int (*decision_by_id)(struct store_read *, int64_t id, decision_cb, void *, struct err *);
	/* Rows with seq > after; at most limit (0: 1000). newest: the last limit rows instead, in order. */
	int (*audit_list)(struct store_read *, int64_t after_seq, int limit, bool newest, audit_cb, void *,
		struct err *);
	/* Recompute the whole chain. progress may be NULL. 0 when it could be read (look at bad_seq), or -1. */
	int (*audit_verify)(struct store_read *, void (*progress)(void *, int64_t done, int64_t total), void *,
		struct audit_report *out, struct err *);

	/*
	 * Record what became of an enrollment: decision, request, certificate, secret
	 * use and audit row in one transaction. *what says whether it was; only
	 * STORE_RECORDED has written anything. *request_id is the row's (0 without asset).
	 */
	int (*record)(struct store *, const struct store_outcome *, enum store_recorded *what, int64_t *request_id,
		struct err *);

	/* One audit row. detail_json is a JSON object. */
	int (*audit)(struct store *, int64_t now_s, const char *actor, const char *action, const char *subject,
		const char *detail_json, struct err *);

	/* Operators' writes; actor is "operator:<user>". */
	int (*owner_put)(struct store *, const struct owner *, const char *actor, int64_t now_s, struct err *);
	/* Moves by asset_state_move(), not to TRANSFER_PENDING; on entry certificates are revoked or held as the state says. */
	int (*asset_set_state)(struct store *, const char *tag, enum asset_state, const char *reason,
		const char *actor, int64_t now_s, int64_t *revoked, struct err *);
	/* The same for a move that asset_state_move_four_eyes() names: it waits. *id is the approval's. */
	int (*asset_ask_state)(struct store *, const char *tag, enum asset_state, const char *reason,
		const char *actor, int64_t now_s, int64_t expires_s, int64_t *id, struct err *);
	/* Quarantine by the gateway itself (a clone was seen), from whatever state allows it; the asset's certificates
	   are held. 1 done, 0 its state does not allow it, or it is lost, stolen or retired and stays so (which is
	   recorded all the same), -1. */
	int (*asset_quarantine)(struct store *, int64_t asset_id, const char *reason, int64_t now_s, struct err *);
	/* The remembered keys of the asset's anchors are forgotten, for devices that came back with another board. */
	int (*anchor_forget_key)(struct store *, const char *tag, const char *reason, const char *actor, int64_t now_s,
		struct err *);

	/*
	 * Transfers. Offering moves the asset to TRANSFER_PENDING; accepting gives it to the new owner, in state
	 * STAGED, and certificates made for the old one may no longer renew: they are revoked ("transferred"); declining (the
	 * new side), cancelling (the old side) and expiring bring it back. Who accepts is not who offered, and is named in
	 * the new owner's operators when that has any (ERR_DENIED). An owner that is not ACTIVE takes nothing.
	 */
	int (*transfer_offer)(struct store *, const char *tag, const char *to_owner, const char *reason,
		const char *actor, int64_t now_s, int64_t expires_s, int64_t *id, struct err *);
	int (*transfer_decide)(struct store *, int64_t id, enum transfer_state to, const char *reason,
		const char *actor, int64_t now_s, struct err *);

	/* Exceptions. put: id, state, times created and uses of the row are the store's. Approving and refusing go by
	   approval_decide(); revoking ends one. */
	int (*exception_request)(struct store *, const struct exception_row *, const char *actor, int64_t now_s,
		int64_t *id, int64_t *approval_id, struct err *);
	int (*exception_revoke)(struct store *, int64_t id, const char *reason, const char *actor, int64_t now_s,
		struct err *);

	/* limit -1: no quota any more. Assets that hold a certificate now count from the start. */
	int (*quota_put)(struct store *, const char *owner, const char *profile, int64_t limit, const char *actor,
		int64_t now_s, struct err *);

	/* One operator's word; never the requester's own (ERR_DENIED), and each counts once. The last needed one
	   carries it out in the same transaction. *state: what it is now. */
	int (*approval_decide)(struct store *, int64_t id, bool approve, const char *reason, const char *actor,
		int64_t now_s, enum approval_state *state, struct err *);

	/* An owner leaves: OFFBOARDING until end_s. */
	int (*owner_offboard)(struct store *, const char *name, int64_t end_s, const char *reason, const char *actor,
		int64_t now_s, struct err *);
	/* What time has ended: transfers expire, owners past offboard_end_s become OFFBOARDED and their assets'
	   certificates are revoked ("offboarded"), at most some hundred rows a call; *more: call again. *report: this call's. */
	int (*sweep)(struct store *, int64_t now_s, struct offboard_report *report, bool *more, struct err *);

	int (*ak_bind)(struct store *, const struct ak_row *, const char *actor, int64_t now_s, struct err *);
	/* Keep what a policy version says; one that is known already is left alone. */
	int (*policy_put)(struct store *, const char *version, const char *text, int64_t now_s, struct err *);
	int (*secret_put)(struct store *, const struct secret_row *, const char *actor, int64_t now_s,
		int64_t *id, struct err *); /* id: NULL, or gets the new row's */
	/* PENDING to APPROVED or REFUSED. */
	int (*request_decide)(struct store *, int64_t id, bool approve, const char *reason, const char *actor,
		int64_t now_s, struct err *);
	int (*cert_revoke)(struct store *, int64_t id, const char *reason, const char *actor, int64_t now_s,
		struct err *);
	/* All or nothing, one transaction. Never moves an asset out of lost, stolen or quarantined, revives a tombstone, gives
	   either another owner or offers one: such a line is an error. A line known before, or a column that is not there, changes
	   nothing. An asset with another owner keeps its certificates; secrets, open requests and exceptions end. */
	int (*import)(struct store *, const struct import_job *, struct import_summary *out, struct err *);
};

extern const struct store_ops store_sqlite;

/* Every store there is, by name; NULL for an unknown one. */
const struct store_ops *store_ops_of(const char *name);

#endif
