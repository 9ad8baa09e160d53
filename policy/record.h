/*
 * record.h - the ownership registry's records (assets, owners, anchors) as plain data.
 *
 * Records are values with fixed arrays: copy them, keep them on the stack,
 * nothing to free. Texts are UTF-8 without control characters.
 */
#ifndef POLICY_RECORD_H
#define POLICY_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define REG_TEXT_MAX 128  /* with the final NUL */
#define REG_VALUE_MAX 192 /* anchor values; with the final NUL */

enum owner_kind { OWNER_INTERNAL, OWNER_PARTNER, OWNER_CUSTOMER };
enum owner_status { OWNER_ACTIVE, OWNER_SUSPENDED, OWNER_OFFBOARDING, OWNER_OFFBOARDED };

struct owner {
	int64_t id;
	char name[REG_TEXT_MAX]; /* unique */
	enum owner_kind kind;
	enum owner_status status;
	int64_t contract_end_s; /* 0: none */
	char contact[REG_TEXT_MAX];
	int64_t offboard_end_s; /* OFFBOARDING: the grace ends here, then everything is revoked; 0: not offboarding */
	char operators[REG_TEXT_MAX]; /* who may accept a transfer for it: user names, comma-separated; "": any operator */
};

enum asset_state {
	ASSET_ORDERED,
	ASSET_SHIPPED,
	ASSET_IN_STOCK,
	ASSET_STAGED,
	ASSET_DEPLOYED,
	ASSET_REPAIR,
	ASSET_QUARANTINED,
	ASSET_TRANSFER_PENDING,
	ASSET_LOST,
	ASSET_STOLEN,
	ASSET_DECOMMISSIONED,
	ASSET_DISPOSED,
};
#define ASSET_STATES 12

enum asset_holding { HOLDING_CORPORATE, HOLDING_PERSONAL, HOLDING_LEASED };

struct asset {
	int64_t id;
	char tag[REG_TEXT_MAX]; /* unique: the name operators and HTTP Basic use */
	int64_t owner_id;
	char manufacturer[REG_TEXT_MAX];
	char model[REG_TEXT_MAX];
	char serial[REG_TEXT_MAX];
	char class_name[REG_TEXT_MAX]; /* "router", "sensor", ...; free text */
	char site[REG_TEXT_MAX];
	char hostname[REG_TEXT_MAX];
	char source[REG_TEXT_MAX];     /* where the record came from; unique with source_key */
	char source_key[REG_TEXT_MAX];
	enum asset_state state;
	enum asset_state prior_state;  /* TRANSFER_PENDING: where it was when it was offered; else not looked at */
	enum asset_holding holding;
	int tier;             /* risk, 0-3 */
	int64_t version;      /* grows with every change */
	int64_t state_since_s;
	int64_t created_s;
};

enum anchor_type {
	ANCHOR_IDEVID_SERIAL,
	ANCHOR_HW_MODULE,
	ANCHOR_EK_PUB_SHA256,
	ANCHOR_SPKI_SHA256,
	ANCHOR_IMEI,
	ANCHOR_MDM_ID,
};

/* What ties a proof of identity to an asset. (type, issuer, value) is unique. */
struct anchor {
	enum anchor_type type;
	char issuer[REG_TEXT_MAX]; /* the name of the trust set whose word it is */
	char value[REG_VALUE_MAX]; /* normalised: see identity.h */
};

/* Names as configuration, imports and JSON spell them. *_of return -1 for an unknown name. */
const char *asset_state_name(enum asset_state state);
int asset_state_of(const char *name);
const char *owner_kind_name(enum owner_kind kind);
int owner_kind_of(const char *name);
const char *owner_status_name(enum owner_status status);
int owner_status_of(const char *name);
const char *asset_holding_name(enum asset_holding holding);
int asset_holding_of(const char *name);
const char *anchor_type_name(enum anchor_type type);
int anchor_type_of(const char *name);

/* What a state means for certificates; the table is in state.c. */
enum state_renewal { RENEWAL_NO, RENEWAL_YES, RENEWAL_GRACE /* for the profile's repair_grace_s after state_since_s */ };
enum state_entry { ENTRY_NOTHING, ENTRY_HOLD, ENTRY_REVOKE };
struct state_rules {
	bool enroll;          /* new enrollment with an ordinary profile */
	bool enroll_staging;  /* only with a profile that says staging = true */
	enum state_renewal renewal;
	enum state_entry on_entry;
	bool alert;           /* an attempt in this state is an alarm, not noise */
	bool tombstone;       /* the record stays for ever, so that the serial cannot come back */
};
const struct state_rules *asset_state_rules(enum asset_state state);

/* Whether an operator may move an asset from one state to another. ERR_DENIED says which moves are allowed. */
MUST_USE int asset_state_move(enum asset_state from, enum asset_state to, struct err *e);
/* Moves that a second operator has to approve: everything that brings a stolen asset back into use. */
bool asset_state_move_four_eyes(enum asset_state from, enum asset_state to);

/* What an exception may waive; never what the state of a lost, stolen or retired asset says. */
#define EXCEPTION_ATTESTATION    1u /* attestation.* */
#define EXCEPTION_QUOTA          2u /* owner.quota */
#define EXCEPTION_RULES          4u /* policy.rules: a deny rule, or no allow rule */
#define EXCEPTION_RENEWAL_WINDOW 8u /* renewal.window */
const char *exception_waiver_name(unsigned bit); /* "attestation", "quota", "rules", "renewal-window" */
unsigned exception_waiver_of(const char *name);  /* 0: unknown */

struct exception { /* one in force, as the decision needs it */
	int64_t id;
	unsigned waives;
	char ticket[REG_TEXT_MAX];
	char approved_by[REG_TEXT_MAX];
	int64_t expires_s;
};

#endif
