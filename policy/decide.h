/*
 * decide.h - may this device have this certificate, now? A pure function.
 *
 * Everything it needs comes in; every rule it met comes out, in order, with
 * what it saw and what it ruled, so that `enrollctl explain` can show it.
 */
#ifndef POLICY_DECIDE_H
#define POLICY_DECIDE_H

#include "policy/profile.h"
#include "policy/rules.h"

#define DECISION_RULES_MAX 48

/* How the requester proved who it is. */
enum proof_kind {
	PROOF_NONE = 0,
	PROOF_CERTIFICATE, /* a manufacturer's certificate */
	PROOF_SECRET,
	PROOF_OWN,         /* a certificate recorded in the store */
	PROOF_REGISTRAR,   /* the same, of a registrar that asks for another asset */
	PROOF_MDM,         /* a challenge that the label's MDM vouched for */
};

struct proof {
	enum proof_kind kind;
	char text[REG_VALUE_MAX]; /* for people: "idevid acme SN 1234", "secret of rtr-7", ... */
	/* PROOF_OWN and PROOF_REGISTRAR: the presented certificate as recorded */
	int64_t cert_id;
	int64_t cert_not_after_s;
	bool cert_revoked;
	char cert_profile[REG_TEXT_MAX];
	char cert_label[REG_TEXT_MAX]; /* of the certificate that is renewed: PROOF_REGISTRAR's is the device's own, "" none */
};

/* What the CSR asks for, reduced to facts. */
struct csr_facts {
	struct key_facts key;
	bool key_ignored;     /* serverkeygen */
	X509_NAME *subject;   /* borrowed; may have no entries, or be NULL */
	GENERAL_NAMES *sans;  /* borrowed; NULL when none */
	const STACK_OF(X509_EXTENSION) *extensions; /* borrowed; NULL when none */
	enum { CSR_BINDING_ABSENT, CSR_BINDING_MATCHES, CSR_BINDING_DIFFERS, CSR_BINDING_NONE } binding;
	                      /* NONE: the transport has no channel binding to compare with */
	bool key_known_elsewhere; /* the same key is certified for another asset */
	bool key_used_before;     /* the same key is certified for this asset */
};

struct decide_input {
	enum policy_op op;
	int64_t now_s;
	const struct label_policy *label;
	const struct profile *profile;
	struct proof proof;
	int asset_matches;            /* how many assets the proof points at: 0, 1, or more (ambiguous) */
	const struct asset *asset;    /* NULL unless asset_matches == 1 */
	const struct owner *owner;    /* NULL unless asset_matches == 1 */
	const struct asset *registrar;   /* PROOF_REGISTRAR: whose certificate was presented; else NULL */
	int64_t registrar_for_not_after_s; /* PROOF_REGISTRAR: end of the device's newest valid certificate; 0: none */
	const struct csr_facts *csr;
	/* Names of the certificate being renewed, for "renewal keeps identity" (RFC 7030, section 4.2.2) */
	X509_NAME *current_subject;   /* borrowed; NULL when there is none */
	GENERAL_NAMES *current_sans;  /* borrowed; NULL when it has none */
	/* The protocol does not ask a renewal's request to repeat the certificate's names (SCEP, where devices send
	   what they were set up with); csr.names still judges them. False: RFC 7030, section 4.2.2. */
	bool renewal_names_free;
	bool approved;                /* an operator has approved this very request */
	int64_t transaction_request;  /* a request that has the same transaction id and another key; 0: none */

	/* The operator's own rules (rules.h); NULL: none. facts needs protocol, peer and room; decide() fills in the rest,
	   waive among it. */
	const struct policy_rules *rules;
	struct rule_facts facts;
	/* Evidence as judged; the MDM's word and the manufacturer's certificate among it. By what no rule demands
	   nothing is decided. One without checks that is not valid did not come. */
	const struct attestation *attestations;
	size_t attestation_count;
	/* Exceptions in force for this asset and label, EXCEPTION_* bits together with who they are. The first 32 count. */
	const struct exception *exceptions;
	size_t exception_count;
	/* The owner's quota for the profile: how many assets may hold a certificate, and how many others do now. */
	bool has_quota;
	bool quota_held;              /* this asset has a place already, and keeps it whatever the limit is now */
	int64_t quota_limit, quota_used; /* used: without this asset */
	/* Clones: the anchor that proved the asset came with another key before; or the asset was seen in two
	   places at once. Texts say what was seen; empty: nothing. Fail the rule when clone_denies says so. */
	char clone_key[96], clone_place[96];
	bool clone_key_denies, clone_place_denies;
	int64_t offboarding_end_s;    /* OFFBOARDING: when the owner's grace ends; certificates do not outlive it. 0: none known */
};

enum verdict { VERDICT_PASS, VERDICT_FAIL, VERDICT_SKIP, VERDICT_WAIT };

struct rule_result {
	const char *rule;      /* static: "asset.unique", "asset.state", "csr.key", ... */
	enum verdict verdict;
	char saw[160];         /* "state=deployed"; peer text escaped */
};

enum outcome { OUTCOME_DENIED = 0, OUTCOME_PENDING, OUTCOME_ALLOWED };

struct decision {
	enum outcome outcome;
	char reason[48];       /* "ok", or the code of the first rule that failed: its name */
	char sentence[200];    /* for people, one line */
	bool alert;
	bool unauthentic;      /* denied for want of credentials: 401, not 403 */
	struct rule_result rules[DECISION_RULES_MAX];
	size_t rule_count;
	struct cert_spec spec; /* when ALLOWED or PENDING */
	/* For the record: which exceptions this used (indexes into the input's, as bits), which rules matched. */
	unsigned exceptions_used;
	struct rule_judgement judgement;
	bool clone;            /* a clone was seen, denied or not: the gateway quarantines or alerts, as configured */
};

/*
 * Decide. Always fills *out; a doubt is DENIED. Rules run in this order and the
 * first failure decides, but later rules that need nothing from it still run, so
 * that an operator sees everything that is wrong at once:
 *   label.operation proof.present proof.allowed proof.revoked proof.expired
 *   registrar.state
 *   asset.known asset.unique identity.clone asset.state asset.class owner.status owner.contract owner.quota
 *   policy.rules attestation.present attestation.valid attestation.fresh attestation.key attestation.identity
 *   renewal.proof renewal.window csr.key csr.weak csr.reuse csr.extensions csr.names
 *   csr.binding request.transaction profile.fill renewal.identity approval
 */
void decide(const struct decide_input *in, struct decision *out);

/*
 * What the operator's rules say of this input, just as decide() will judge it (exceptions that waive rules among
 * it): for gathering the evidence they demand. A renewal at another label than the certificate's own is that
 * label's first enrollment as well: rules for either operation hold. Needs rules, facts, op, now_s, label, proof, asset, owner, exceptions.
 */
void decide_rules(const struct decide_input *in, struct rule_judgement *out);

/* One of the operator's rules that matched, as records and explanations tell it beside the fixed rules. */
struct rule_told {
	char name[RULE_TEXT_MAX + 8]; /* "rule <name>" */
	enum verdict verdict;
	const char *did;              /* static: "allows", "demands evidence", ... */
};
/* The i-th in order; false past the last, or past RULE_MATCHES_MAX. Rules that are not told did not match. */
bool decision_rule(const struct decision *decision, const struct policy_rules *rules, size_t i, struct rule_told *out);

const char *outcome_name(enum outcome outcome); /* "denied", "pending", "allowed" */
const char *verdict_name(enum verdict verdict);

#endif
