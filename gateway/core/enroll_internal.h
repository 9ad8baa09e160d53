/*
 * enroll_internal.h - the pipeline's steps, in the order enroll_run() takes them.
 */
#ifndef GATEWAY_CORE_ENROLL_INTERNAL_H
#define GATEWAY_CORE_ENROLL_INTERNAL_H

#include "gateway/core/enroll.h"
#include "gateway/mdm/mdm.h"
#include "policy/decide.h"

/* One enrollment under way. Everything in it lives until enroll_run() returns. */
struct attempt {
	struct gateway *gateway;
	const struct world *world;
	const struct enroll_request *request;
	struct enroll_result *result;

	const struct profile *profile;
	struct store_read *read;      /* a snapshot; NULL between rounds */
	uint8_t peer_net[LIMITER_ADDRESS_MAX];         /* what wrong secrets and strangers are counted by: see limiter_address() */
	size_t peer_net_len;

	const char *refusal;          /* the reason of the next failure when its code says too little; static */
	const struct request_row *polled; /* the stored request that is asked for again; NULL: none */
	struct bytes poll_key;        /* ... by who has this key; len 0: by a certificate */

	bool mdm_asked;               /* once, between two rounds */
	struct mdm_verdict mdm;
	uint8_t challenge_sha256[32]; /* of the challenge the MDM vouched for, when proof.kind is PROOF_MDM */
	bool challenge_once;          /* ... in this request, so that it is to be taken */

	enum enroll_op op;            /* the request's, with ENROLL_EITHER resolved by who asks */
	struct proof proof;
	struct asset asset;
	struct owner owner;
	int asset_matches;
	int64_t secret_id;            /* the once-secret to spend; 0: none */
	int64_t secret_used_by;       /* request that spent it before; 0: none */

	struct est_csr *csr;
	uint8_t csr_sha256[32];
	GENERAL_NAMES *csr_sans;
	X509 *current;                /* the certificate that is renewed; borrowed */
	X509_NAME *current_subject;   /* borrowed from it */
	GENERAL_NAMES *current_sans;

	struct asset registrar;       /* who asks for the asset, when has_registrar */
	bool has_registrar;
	X509 *renewed;                /* the device's certificate, when it did not present it itself; owned */
	int64_t renewed_id, renewed_not_after_s;

	struct request_row existing;
	bool has_existing;
	struct cert_row issued;       /* of existing, when it was issued */
	bool answered;                /* existing's certificate is good, and not yet due for renewal */
	bool replay;                  /* ... and it answers this request */

	/* Evidence as judged, one for each attester that had something to judge (enroll_attest.c). */
	struct attestation *attestations; /* ATTEST_PER_REQUEST_MAX, owned; NULL until a rule demands evidence: they are large */
	size_t attestation_count;
	bool attested_before;         /* taken from the stored request: this very CSR was judged when it came first */
	struct question *question;    /* to an external verifier; NULL: none yet. attempt_question_free() */
	uint8_t nonce_sha256[32];     /* the nonce that the evidence carried, to be taken */
	int64_t nonce_expires_s;
	bool nonce_used;              /* there is one */
	struct exception exceptions[8];
	size_t exception_count;
	bool has_quota, quota_full;   /* the owner's, for this profile, without this asset */
	struct anchor proof_anchor;   /* what led from the certificate to the asset, and the key it came with */
	uint8_t proof_spki[32];
	bool has_proof_anchor;
	char proof_set[REG_TEXT_MAX]; /* the trust set of a manufacturer's certificate */
	bool explaining;              /* nobody asks: nothing is counted, and nobody is called */
	const struct request_row *afresh; /* the stored request that is decided once more, as if it had never been answered; NULL: none */

	size_t limited[RULE_MATCHES_MAX]; /* rules with a limit that let this request through, to be counted */
	size_t limited_count, limited_taken;

	char clone_text[200];         /* what looked like a clone; "": nothing */
	bool clone_denies, clone_tell;

	struct decision decision;

	/* A CA elsewhere (enroll_remote.c). */
	struct intent_row intent;     /* what it is asked for on behalf of existing, when has_intent */
	bool has_intent;              /* ... and that is not over */
	struct issuer_ticket *ticket; /* to be told of the end; owned */
	bool mdm_told;                /* of the end, by who brought it about */
	const struct intent_new *new_intent; /* to be recorded with this round's outcome; NULL: none */
	int64_t intent_id;            /* the one that answer fulfils; 0: none */
	bool finishing;               /* with afresh: for a certificate that has come, so an operator's approval stands */

	EVP_PKEY *made_key;           /* ENROLL_KEYGEN */
	struct buf made_spki;
	struct ca_answer answer;
};

/*
 * Who is it? Fills proof, asset, owner and asset_matches from the TLS client
 * certificate, else from the secret; resolves op. Returns 0 when somebody proved
 * something (the policy decides the rest), 1 when the label's MDM must be asked
 * first (attempt_ask_mdm(), without a snapshot, then again), -1 with *e:
 * ERR_UNAUTHENTIC nobody did, ERR_DENIED somebody we do not take, ERR_LIMIT too
 * many failures, ERR_UPSTREAM the store did not answer.
 */
MUST_USE int attempt_authenticate(struct attempt *a, struct err *e);

/* Its parts: who a challenge names, by our secrets or by the MDM; and what all of them need. */
int attempt_by_challenge(struct attempt *a, struct err *e); /* as attempt_authenticate() */
MUST_USE int attempt_by_mdm(struct attempt *a, struct err *e); /* the same */
MUST_USE int attempt_ask_mdm(struct attempt *a, struct err *e);
/*
 * Who proves itself by a certificate may not send a request that was made for another: ERR_DENIED when it
 * carries another asset's challenge. Else an envelope that was caught, signed anew, would take the other's key away.
 */
MUST_USE int attempt_check_challenge(struct attempt *a, struct err *e);
void attempt_tell_mdm(struct attempt *a); /* what became of it; best effort, the failure is recorded */
MUST_USE int attempt_locked(struct attempt *a, const char *name, struct err *e); /* name: NULL, or the asset's */
void attempt_wrong_secret(struct attempt *a, const char *name);
bool attempt_same_secret(const struct secret_row *row, const char *secret); /* whatever its label and end */
bool attempt_secret_matches(const struct attempt *a, const struct secret_row *row, const char *secret);
/* One more anchor: the first asset is kept, a second one makes the match ambiguous. */
MUST_USE int attempt_match_anchor(struct attempt *a, const struct anchor *anchor, struct err *e);

/* Decode the CSR, once. ERR_MALFORMED also when its signature is wrong: a password would not mend that. */
MUST_USE int attempt_decode(struct attempt *a, struct err *e);

/*
 * The evidence in the CSR (and the proof itself, where an attester of method idevid or mdm is demanded), judged by
 * the attesters that this request's rules name; fills attestations, and facts but for room. 0; 1 when an external
 * verifier must be asked first (attempt_ask_verifier(), without a snapshot, then again); -1 *e.
 */
MUST_USE int attempt_attest(struct attempt *a, const struct decide_input *in, struct err *e);
MUST_USE int attempt_ask_verifier(struct attempt *a, struct err *e);
void attempt_question_free(struct question *question); /* NULL is allowed */
/* The statement for an external verifier: SEQUENCE { nonce OCTET STRING, evidence OCTET STRING }. ERR_MALFORMED. */
#define QUESTION_NONCE_MAX 64
MUST_USE int question_parse(struct bytes stmt, struct buf *nonce, struct buf *evidence, struct err *e);
/* Is this nonce ours, in time, and no other request's? It is then the one to take. See policy/attest/attest.h. */
struct nonce_asker {
	struct attempt *a;
	bool failed;       /* the registry did not answer: e says why */
	struct err e;
	char why[ATTEST_SAW_MAX]; /* not: why not */
};
bool attempt_is_nonce(void *asker, struct bytes nonce);
/* Whose the anchors of an attestation are: fills of_asset. */
MUST_USE int attempt_find_attested(struct attempt *a, struct attestation *attestation, struct err *e);
/* What evidence came to, as the store keeps it with the request, and back. */
void attestations_json(const struct attestation *list, size_t count, struct buf *out);
MUST_USE int attestations_from_json(struct bytes json, struct attestation *list, size_t max, size_t *count, struct err *e);
/* Rules with a limit are counted before the CA is asked: false when one of them is full. Given back when nothing came of it. */
bool attempt_take_limits(struct attempt *a);
void attempt_give_back_limits(struct attempt *a);
bool attempt_room(void *attempt, size_t rule); /* for struct rule_facts */

/* Does the asset seem to be in two places, or two devices with one identity? Fills the decision's input. */
MUST_USE int attempt_look_for_clones(struct attempt *a, struct decide_input *in, struct err *e);

/* What the decision says of clones is carried out: quarantine, or a row in the audit. Best effort; failures are logged. */
void attempt_tell_of_clone(struct attempt *a);

/* The SHA-256 of a certificate's SubjectPublicKeyInfo. */
MUST_USE int attempt_key_digest(const X509 *cert, uint8_t out[32], struct err *e);

/* Calls to services outside, MDMs and verifiers together, are limited: false when too many are under way. */
bool attempt_may_call(struct gateway *gateway);
void attempt_called(struct gateway *gateway);

/* Decode the CSR and everything the decision needs of it and of the store; then decide. 1: a verifier must be asked first. */
MUST_USE int attempt_decide(struct attempt *a, struct err *e);

/* ENROLL_KEYGEN: makes the key, and puts it into result->key in the form the request asked for. Before the CA
   is asked: a key that cannot be delivered gets no certificate. Nothing to do for the others. */
MUST_USE int attempt_make_key(struct attempt *a, struct err *e);

/*
 * When a registrar asks for another asset, makes that one the attempt's asset
 * (proof becomes PROOF_REGISTRAR); else nothing. The CSR is decoded by then.
 */
MUST_USE int attempt_registrar(struct attempt *a, struct err *e);
/* A certificate's signature around a request that names another asset: caught on the wire. */
MUST_USE int attempt_check_name(struct attempt *a, struct err *e);

/* The newest valid certificate of the attempt's asset: 1 with *row and *cert (the caller's), 0 none, -1 *e. */
int attempt_newest_cert(struct attempt *a, struct cert_row *row, X509 **cert, struct err *e);

/* Get the certificate from the CA and check it. Fills answer. */
MUST_USE int attempt_issue(struct attempt *a, struct err *e);

/* While the snapshot is open: is a CA elsewhere being asked already on behalf of this very request? */
MUST_USE int attempt_find_intent(struct attempt *a, struct err *e);
bool attempt_is_elsewhere(const struct attempt *a); /* it is, or the label's CA is one */
/* Has the CA asked, once, and waits a little. 1: go round again, 0: concluded, -1 *e. Without a snapshot. */
int attempt_ask_elsewhere(struct attempt *a, struct err *e);

/* Write the outcome down. *what says whether to go round again. */
MUST_USE int attempt_record(struct attempt *a, enum request_state state, enum store_recorded *what,
	struct err *e);

/*
 * One enrollment from its first round to its last. begin, run, free. It is too large for
 * the stacks of CivetWeb's threads, which Debian's package makes 100 KiB. NULL: no memory, and the result says so.
 */
struct attempt *attempt_begin(struct gateway *gateway, const struct world *world,
	const struct enroll_request *request, struct enroll_result *out);
void attempt_run(struct attempt *a);
void attempt_free(struct attempt *a); /* NULL is allowed */
/* What the outcome is, told in the result. */
void attempt_conclude(struct attempt *a, enum err_code code, const char *reason, const char *sentence);

/* A failure before any decision: one audit row, best effort. */
void attempt_audit_failure(struct attempt *a, const struct err *why);

/* The key-wrap key of an asset for a key id this gateway made (see keywrap.c). ERR_MALFORMED: not one of ours. */
#define KEYWRAP_ID_LEN 16
#define KEYWRAP_KEY_LEN 32
MUST_USE int keywrap_derive(const struct buf *master, int64_t asset_id, struct bytes key_id,
	uint8_t key[KEYWRAP_KEY_LEN], struct err *e);
/* A new id for this asset. ERR_UNSUPPORTED without a master file. */
MUST_USE int keywrap_new_id(const struct buf *master, int64_t asset_id, uint8_t id[KEYWRAP_ID_LEN],
	struct err *e);

/*
 * A SCEP challenge as it is handed out, "<secret row>-<secret>": the number says whose secret it is. Letters,
 * digits and hyphens, so that any string type of a challengePassword holds it. Split borrows: *secret points into challenge;
 * 0, or -1 when it is not of that form, with the outputs untouched.
 */
#define CHALLENGE_MAX 64 /* with the final NUL */
void challenge_text(int64_t id, const char *secret, char out[CHALLENGE_MAX]);
MUST_USE int challenge_split(const char *challenge, int64_t *secret_id, const char **secret);

/* The salted hash of a secret, as stored. */
MUST_USE int secret_hash(const uint8_t salt[16], const char *secret, uint8_t out[32], struct err *e);

#endif
