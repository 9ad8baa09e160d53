#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/core/enroll_internal.h"

#define TRANSACTION_ROWS 16

static enum policy_op
policy_op_of(enum enroll_op op)
{
	switch (op) {
	case ENROLL_RENEW:
		return POLICY_RENEW;
	case ENROLL_KEYGEN:
		return POLICY_KEYGEN;
	case ENROLL_NEW:
	case ENROLL_EITHER:
		break;
	}
	return POLICY_ENROLL;
}

int
attempt_decode(struct attempt *a, struct err *e)
{
	enum est_csr_mode mode = a->request->op == ENROLL_KEYGEN ? EST_CSR_IGNORE_KEY : a->request->csr_mode;

	if (a->csr != NULL) /* a second round */
		return 0;
	if (est_csr_parse_known(a->request->csr, mode, a->request->known_key, &a->csr, e) != 0) {
		/* The requester is known; what fails is the request's own proof, and a password would not mend it. */
		if (e->code == ERR_UNAUTHENTIC)
			e->code = ERR_MALFORMED;
		return -1;
	}
	return est_csr_alt_names(a->csr, &a->csr_sans, e);
}

/* The names of the certificate that is renewed, for "renewal keeps identity". */
static int
current_names(struct attempt *a, struct err *e)
{
	X509 *cert = a->current;
	int critical = 0;

	GENERAL_NAMES_free(a->current_sans);
	a->current_sans = NULL;
	a->current_subject = NULL;
	if (cert == NULL)
		return 0;
	a->current_subject = X509_get_subject_name(cert);
	a->current_sans = X509_get_ext_d2i(cert, NID_subject_alt_name, &critical, NULL);
	if (a->current_sans == NULL && critical != -1)
		return err_ossl(e, ERR_MALFORMED, "client certificate's subjectAltName");
	return 0;
}

/* Not the profile's lifetime alone: a contract or the CA's own end may have cut the certificate shorter. */
static bool
due_for_renewal(const struct attempt *a)
{
	int64_t window_s = a->profile->renewal_window_s;
	int64_t until_s = a->issued.not_after_s;

	if (window_s < a->profile->lifetime_s && window_s < until_s - a->existing.updated_s)
		until_s -= window_s;
	return a->request->now_s >= until_s;
}

/*
 * Has this very request been answered? Its certificate answers again while it
 * is good and not yet due for renewal; after that the same CSR is a new attempt.
 * So is a renewal that is authenticated by the certificate itself: its answer
 * was not lost. Keys that sign the same octets the same way (RSA, Ed25519) give
 * such a CSR whenever a device renews and keeps its key.
 */
static int
find_existing(struct attempt *a, struct err *e)
{
	const struct store_ops *ops = a->gateway->store_ops;
	int found;

	if (a->afresh != NULL) {
		a->existing = *a->afresh;
		a->has_existing = true;
		return 0;
	}
	found = ops->request_find(a->read, a->asset.id, a->request->label->policy.name, a->csr_sha256, &a->existing, e);
	a->has_existing = found == 1;
	if (found <= 0)
		return found;
	if (a->existing.state != REQUEST_ISSUED)
		return 0;
	found = ops->cert_by_id(a->read, a->existing.cert_id, &a->issued, e);
	if (found < 0)
		return -1;
	a->answered = found == 1 && a->issued.status == CERT_VALID;
	/* Whoever polls wants this outcome and no other: it is told as long as it is good, and never made anew. */
	if (a->polled != NULL)
		a->answered = a->answered && a->request->now_s <= a->issued.not_after_s;
	else
		a->answered = a->answered && !due_for_renewal(a) &&
			!(a->op == ENROLL_RENEW && a->proof.cert_id == a->issued.id);
	a->replay = a->answered && a->op != ENROLL_KEYGEN;
	if (a->polled == NULL || a->replay)
		return 0;
	a->refusal = "request.unknown";
	return err_set(e, ERR_DENIED, "the certificate of this request is revoked or has ended");
}

static void
binding_facts(const struct attempt *a, struct csr_facts *facts)
{
	if (a->request->binding == NULL) {
		facts->binding = CSR_BINDING_NONE;
		return;
	}
	switch (est_binding_check(a->request->binding, a->csr->challenge)) {
	case EST_BINDING_MATCHES:
		facts->binding = CSR_BINDING_MATCHES;
		return;
	case EST_BINDING_DIFFERS:
		facts->binding = CSR_BINDING_DIFFERS;
		return;
	case EST_BINDING_ABSENT:
		break;
	}
	facts->binding = CSR_BINDING_ABSENT;
}

static int
gather_facts(struct attempt *a, struct csr_facts *facts, struct err *e)
{
	*facts = (struct csr_facts){
		.key = a->csr->facts,
		.key_ignored = a->op == ENROLL_KEYGEN,
		.subject = a->csr->subject,
		.sans = a->csr_sans,
		.extensions = a->csr->extensions,
	};
	binding_facts(a, facts);
	if (facts->key_ignored)
		return 0;
	if (a->gateway->store_ops->key_use(a->read, a->csr->spki_sha256, a->asset.id, &facts->key_known_elsewhere,
		    &facts->key_used_before, e) != 0)
		return -1;
	/* The key was used before by this very request: that is a lost answer, not a reused key. */
	if (a->replay || (a->afresh != NULL && a->afresh->cert_id != 0))
		facts->key_used_before = false;
	return 0;
}

/*
 * RFC 8894, section 3.2.1.1: "The client MUST use a unique string as the transaction
 * identifier". One that stands for another key already is not to be had, but by the
 * device itself when it renews: the identifier may be its EUI (the same section).
 */
static int
find_transaction(struct attempt *a, int64_t *other, struct err *e)
{
	struct request_row *rows;
	int count, i;

	*other = 0;
	if (a->request->transaction == NULL)
		return 0;
	rows = calloc(TRANSACTION_ROWS, sizeof *rows);
	if (rows == NULL)
		return err_set(e, ERR_NOMEM, "no memory for requests");
	count = a->gateway->store_ops->requests_of_transaction(a->read, a->request->label->policy.name,
		a->request->transaction, rows, TRANSACTION_ROWS, e);
	for (i = 0; i < count; i++)
		if (memcmp(rows[i].spki_sha256, a->csr->spki_sha256, sizeof rows[i].spki_sha256) != 0 &&
		    !(a->op == ENROLL_RENEW && a->asset_matches == 1 && rows[i].asset_id == a->asset.id))
			*other = rows[i].id;
	free(rows);
	return count < 0 ? -1 : 0;
}

/* A spent once-secret proves nothing, except for the request that spent it. */
static int
check_spent(const struct attempt *a, struct err *e)
{
	bool mine = a->has_existing && a->existing.id == a->secret_used_by;

	/* One that waits has spent it too, and goes on with it. */
	if (a->secret_used_by == 0 || (mine && (a->replay || a->existing.state != REQUEST_ISSUED)))
		return 0;
	return err_set(e, ERR_UNAUTHENTIC, "the one-time secret has been used already");
}

static int
rule_protocol(const char *protocol)
{
	return protocol == NULL ? -1 : rule_protocol_of(protocol);
}

/* When the owner leaves, its devices' certificates are renewed for a short time, and for no longer than the grace. */
static int64_t
offboarding_end(const struct attempt *a)
{
	int64_t end_s = a->request->now_s + a->world->config->offboard_lifetime_s;

	if (a->owner.status != OWNER_OFFBOARDING)
		return 0;
	return a->owner.offboard_end_s != 0 && a->owner.offboard_end_s < end_s ? a->owner.offboard_end_s : end_s;
}

/*
 * The certificate that answers once more was issued when an exception, or a place in the quota, may have been there
 * that is used up now; neither is needed to tell it again.
 */
static void
excuse_replay(struct attempt *a)
{
	struct exception *excuse = &a->exceptions[a->exception_count];

	if (!a->replay || a->exception_count == sizeof a->exceptions / sizeof a->exceptions[0])
		return;
	*excuse = (struct exception){ .waives = EXCEPTION_ATTESTATION | EXCEPTION_QUOTA,
		.expires_s = a->request->now_s + 1 };
	(void)snprintf(excuse->ticket, sizeof excuse->ticket, "answered before");
	(void)snprintf(excuse->approved_by, sizeof excuse->approved_by, "enrolld");
	a->exception_count++;
}

/* What the registry knows beside the asset itself. */
static int
gather_registry(struct attempt *a, struct decide_input *in, struct err *e)
{
	const struct store_ops *ops = a->gateway->store_ops;
	int found;

	a->exception_count = 0;
	if (a->asset_matches != 1)
		return 0;
	found = ops->exceptions(a->read, &a->asset, a->request->label->policy.name, a->request->now_s, a->exceptions,
		(int)(sizeof a->exceptions / sizeof a->exceptions[0]), e);
	if (found < 0)
		return err_prefix(e, "registry");
	a->exception_count = (size_t)found;
	excuse_replay(a);
	in->exceptions = a->exceptions;
	in->exception_count = a->exception_count;
	found = ops->quota(a->read, a->asset.owner_id, a->profile->name, a->asset.id, a->request->now_s, &in->quota_limit,
		&in->quota_used, &in->quota_held, e);
	if (found < 0)
		return err_prefix(e, "registry");
	in->has_quota = a->has_quota = found == 1;
	a->quota_full = a->has_quota && !in->quota_held && in->quota_used >= in->quota_limit;
	in->offboarding_end_s = offboarding_end(a);
	return attempt_look_for_clones(a, in, e);
}

/* 0, or 1 when a verifier must be asked first. */
static int
gather_policy(struct attempt *a, struct decide_input *in, struct err *e)
{
	int result;

	a->limited_count = 0;
	in->rules = a->world->policy;
	in->facts = (struct rule_facts){
		.protocol = rule_protocol(a->request->protocol),
		.peer = a->request->peer,
		.now_s = a->request->now_s,
		.room = attempt_room,
		.room_arg = a,
	};
	result = attempt_attest(a, in, e);
	a->limited_count = 0;
	in->attestations = a->attestations;
	in->attestation_count = a->attestation_count;
	return result;
}

static int
gather(struct attempt *a, struct decide_input *in, struct csr_facts *facts, struct err *e)
{
	in->proof = a->proof;
	in->asset_matches = a->asset_matches;
	in->asset = a->asset_matches == 1 ? &a->asset : NULL;
	in->owner = a->asset_matches == 1 ? &a->owner : NULL;
	in->registrar = a->has_registrar ? &a->registrar : NULL;
	in->registrar_for_not_after_s = a->renewed_not_after_s;
	a->has_existing = a->answered = a->replay = false;
	if (a->asset_matches == 1 && find_existing(a, e) != 0)
		return -1;
	if (check_spent(a, e) != 0 || gather_facts(a, facts, e) != 0 ||
	    find_transaction(a, &in->transaction_request, e) != 0 || gather_registry(a, in, e) != 0)
		return -1;
	in->csr = facts;
	in->current_subject = a->current_subject;
	in->current_sans = a->current_sans;
	/* One approval is for one certificate: once that is revoked or aged, a new attempt waits for a new one; and so does
	   a second key that is made here. */
	in->approved = a->replay ||
		(a->has_existing && (a->afresh == NULL || a->finishing) && a->existing.state == REQUEST_APPROVED);
	return gather_policy(a, in, e);
}

int
attempt_decide(struct attempt *a, struct err *e)
{
	struct decide_input in = {
		.op = policy_op_of(a->op),
		.now_s = a->request->now_s,
		.label = &a->request->label->policy,
		.profile = a->profile,
		.renewal_names_free = a->request->renewal_names_free,
	};
	struct csr_facts facts;
	int result;

	if (attempt_decode(a, e) != 0 || attempt_check_challenge(a, e) != 0 || attempt_registrar(a, e) != 0 || attempt_check_name(a, e) != 0 ||
		current_names(a, e) != 0)
		return -1;
	result = gather(a, &in, &facts, e);
	if (result == 0)
		decide(&in, &a->decision);
	return result;
}
