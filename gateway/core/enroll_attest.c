/*
 * Evidence, judged: which attesters this request's rules name, what each makes
 * of it, and whether it speaks of this asset. What evidence came to is kept with
 * a request that waits, so that its nonce is needed once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/core/enroll_internal.h"
#include "gateway/core/enroll_question.h"

/* One round of judging. */
struct judging {
	struct attempt *a;
	struct evidence evidence;
	bool has_evidence;
	struct nonce_asker asker;
	const char *attester; /* who judges at this moment */
	int64_t ak_asset;     /* whose the bound attestation key is that it met; 0: none */
	bool ask; /* a verifier first */
};

bool
attempt_is_nonce(void *arg, struct bytes nonce)
{
	struct nonce_asker *asker = arg;
	struct attempt *a = asker->a;
	int64_t used_by = 0, expires_s = 0;
	uint8_t digest[32];
	struct err e = { .text = "none are given here" };
	int used;

	if (a->gateway->nonces == NULL ||
	    nonce_check(a->gateway->nonces, a->request->label->policy.name, nonce, a->request->now_s,
		    a->world->config->nonce_life_s, &expires_s, &e) != 0 || sha256(nonce, digest, &e) != 0) {
		(void)snprintf(asker->why, sizeof asker->why, "%.*s", (int)sizeof asker->why - 1, e.text);
		return false;
	}
	used = a->gateway->store_ops->nonce_request(a->read, digest, &used_by, &asker->e);
	if (used < 0)
		asker->failed = true;
	/* Two nonces in one request would be two to take; one that another request has taken proves nothing of this one. */
	if (used < 0 || (used == 1 && !(a->has_existing && a->existing.id == used_by)) ||
	    (a->nonce_used && memcmp(a->nonce_sha256, digest, sizeof digest) != 0)) {
		(void)snprintf(asker->why, sizeof asker->why, "the nonce has been used already");
		return false;
	}
	memcpy(a->nonce_sha256, digest, sizeof digest);
	a->nonce_expires_s = expires_s;
	a->nonce_used = true;
	return true;
}

static int
find_ak(void *arg, const uint8_t spki_sha256[32], struct attest_ak *out)
{
	struct judging *j = arg;
	struct attempt *a = j->a;
	struct ak_row row;
	int found = a->gateway->store_ops->ak_find(a->read, spki_sha256, j->attester, a->request->now_s, &row,
		&j->asker.e);

	if (found < 0)
		j->asker.failed = true;
	if (found != 1)
		return found;
	j->ak_asset = row.asset_id;
	memcpy(out->spki_sha256, row.spki_sha256, sizeof out->spki_sha256);
	(void)snprintf(out->ek_sha256, sizeof out->ek_sha256, "%s", row.ek_sha256);
	return 1;
}

int
attempt_find_attested(struct attempt *a, struct attestation *attestation, struct err *e)
{
	struct asset asset;
	struct owner owner;
	size_t i;
	int found;

	attestation->of_asset = false;
	for (i = 0; i < attestation->anchor_count; i++) {
		found = a->gateway->store_ops->asset_by_anchor(a->read, &attestation->anchors[i], &asset, &owner, e);
		if (found < 0)
			return err_prefix(e, "registry");
		if (found == 1 && asset.id == a->asset.id)
			attestation->of_asset = true;
		/* Whatever is required of identity, another device's evidence is borrowed. */
		else if (found == 1) {
			(void)attest_check(attestation, "identity.asset", false, "it is asset %s that this evidence speaks of",
				asset.tag);
			attest_conclude(attestation);
			attestation->of_asset = false;
			return 0;
		}
	}
	return 0;
}

/* The manufacturer's certificate in the handshake, or the MDM's word, as evidence. */
static void
take_proof(const struct attempt *a, const struct config_attester *config, struct attestation *out)
{
	bool idevid = config->method == ATTEST_IDEVID;
	const char *name = idevid ? a->proof_set : a->request->label->scep_mdm;

	if (a->proof.kind != (idevid ? PROOF_CERTIFICATE : PROOF_MDM) || strcmp(name, config->name) != 0)
		return;
	(void)attest_check(out, idevid ? "idevid.chain" : "mdm.challenge", true, "%s", a->proof.text);
	out->fresh = true;   /* the handshake, or a challenge that is good once */
	out->key_bound = true; /* the request came over that very connection, or with that very challenge */
	out->of_asset = true;
	if (idevid && a->has_proof_anchor) {
		out->anchors[0] = a->proof_anchor;
		out->anchor_count = 1;
	}
	attest_conclude(out);
}

/* The statement of this type: its number, or -1. */
static int
statement_of(const struct judging *j, const char *type)
{
	size_t i;

	for (i = 0; j->has_evidence && i < j->evidence.statement_count; i++)
		if (strcmp(j->evidence.statements[i].type, type) == 0)
			return (int)i;
	return -1;
}

static int
verify(struct judging *j, const struct world_attester *attester, struct attestation *out, struct err *e)
{
	int statement = statement_of(j, attester->ops->statement_type);
	struct attest_input in = {
		.evidence = &j->evidence,
		.spki = j->a->csr->spki,
		.is_nonce = attempt_is_nonce,
		.nonce_arg = &j->asker,
		.find_ak = find_ak,
		.ak_arg = j,
		.now_s = j->a->request->now_s,
	};

	if (statement < 0)
		return 0;
	in.statement = (size_t)statement;
	if (attester->ops->verify(&attester->settings, &in, out, e) != 0)
		return -1;
	if (j->asker.failed) {
		*e = j->asker.e;
		return err_prefix(e, "registry");
	}
	return 0;
}

/* Whatever its anchors lead to, and whether or not anybody asks: a TPM that was bound to one asset is that one's. */
static void
check_ak(const struct judging *j, struct attestation *out)
{
	if (j->ak_asset == 0 || j->ak_asset == j->a->asset.id || !out->valid)
		return;
	(void)attest_check(out, "identity.asset", false, "the attestation key is bound to another asset");
	attest_conclude(out);
	out->of_asset = false;
}

/* What the external verifier said, once it was asked. */
static int
take_answer(struct judging *j, size_t attester, const char *type, struct attestation *out, struct err *e)
{
	int statement = statement_of(j, type);
	enum question_state state;

	if (statement < 0)
		return 0;
	state = question_prepare(j->a, attester, j->evidence.statements[statement].stmt, &j->asker, out, e);
	if (state == QUESTION_ASK)
		j->ask = true;
	return state == QUESTION_FAILED ? -1 : 0;
}

/*
 * A verifier's result is good for minutes, which its own checks have looked at; an operator may take days. What is
 * kept is that it was good when the request came, and that holds as long as an approval may take.
 */
static void
set_end(const struct attempt *a, struct attestation *out)
{
	out->expires_s = a->request->now_s + a->world->config->approval_life_s;
}

static int
judge_one(struct judging *j, size_t index, struct err *e)
{
	const struct config_attester *config = &j->a->world->config->attesters[index];
	const struct world_attester *attester = &j->a->world->attesters[index];
	struct attestation *out = &j->a->attestations[j->a->attestation_count];
	int result = 0;

	*out = (struct attestation){ .method = config->method };
	j->attester = config->name;
	j->ak_asset = 0;
	if (config->method == ATTEST_IDEVID || config->method == ATTEST_MDM)
		take_proof(j->a, config, out);
	else if (config->method == ATTEST_EAR)
		result = take_answer(j, index, config->statement_type, out, e);
	else if (attester->ops != NULL)
		result = verify(j, attester, out, e);
	if (result != 0 || (out->check_count == 0 && !out->valid))
		return result; /* there was nothing for it to judge */
	out->method = config->method;
	(void)snprintf(out->attester, sizeof out->attester, "%s", config->name);
	out->identity_required = config->identity_required;
	if (config->method != ATTEST_IDEVID && config->method != ATTEST_MDM && attempt_find_attested(j->a, out, e) != 0)
		return -1;
	check_ak(j, out);
	(void)snprintf(out->policy, sizeof out->policy, "%s", j->a->world->config->version);
	set_end(j->a, out);
	j->a->attestation_count++;
	return 0;
}

static bool
is_judged(const struct attempt *a, const char *attester)
{
	size_t i;

	for (i = 0; i < a->attestation_count; i++)
		if (strcmp(a->attestations[i].attester, attester) == 0)
			return true;
	return false;
}

static int
judge_named(struct judging *j, const struct rule_list *names, struct err *e)
{
	const struct config *config = j->a->world->config;
	size_t i, k;

	for (i = 0; i < names->count; i++)
		for (k = 0; k < config->attester_count; k++)
			if (strcmp(config->attesters[k].name, names->at[i]) == 0 && !is_judged(j->a, names->at[i]) &&
			    j->a->attestation_count < ATTEST_PER_REQUEST_MAX && judge_one(j, k, e) != 0)
				return -1;
	return 0;
}

/* Those that are required before those that are preferred: at most so many are judged. */
static int
judge_demands(struct judging *j, const struct rule_judgement *judgement, struct err *e)
{
	size_t i;

	for (i = 0; i < judgement->demand_count; i++)
		if (judgement->demands[i].required && judge_named(j, judgement->demands[i].attesters, e) != 0)
			return -1;
	for (i = 0; i < judgement->demand_count; i++)
		if (!judgement->demands[i].required && judge_named(j, judgement->demands[i].attesters, e) != 0)
			return -1;
	return 0;
}

/*
 * The configuration's present word on an attester; whom the evidence of a request that waits speaks of is looked up again
 * too. What was answered is history: there only who is believed is asked of the present.
 */
static int
as_of_now(struct attempt *a, struct attestation *out, bool *counts, struct err *e)
{
	const struct config_attester *config = config_attester(a->world->config, out->attester);

	*counts = config != NULL && config->method == out->method;
	if (!*counts)
		return 0;
	out->identity_required = config->identity_required;
	if (a->answered || a->afresh != NULL || config->method == ATTEST_IDEVID || config->method == ATTEST_MDM)
		return 0;
	return attempt_find_attested(a, out, e);
}

/*
 * What was judged by another policy is judged again. Who polls has no connection to judge, so that what came with the
 * first one, which has no settings but whose word it is, has to do.
 */
static bool
still_holds(const struct attempt *a, const struct attestation *one)
{
	if (a->answered || a->afresh != NULL)
		return true;
	if (one->expires_s < a->request->now_s)
		return false;
	return strcmp(one->policy, a->world->config->version) == 0 ||
		(a->polled != NULL && (one->method == ATTEST_IDEVID || one->method == ATTEST_MDM));
}

/*
 * This very request was judged before: when it waits, or was answered and asks again. A denial's judgement is not
 * kept to, and neither is one that has ended or that an older policy made, unless the certificate is there already.
 * A key that is made here is another one each time: who asks for it proves itself each time.
 */
static int
take_earlier(struct attempt *a, struct err *e)
{
	CLEANUP(buf) struct buf json = { 0 };
	size_t count = 0, i;
	bool counts;
	int found;

	a->attested_before = false;
	if (!a->has_existing || a->op == ENROLL_KEYGEN || !a->existing.attested ||
	    (!a->answered && a->afresh == NULL && a->existing.state != REQUEST_PENDING && a->existing.state != REQUEST_APPROVED))
		return 0;
	found = a->gateway->store_ops->request_attestation(a->read, a->existing.id, &json, e);
	if (found <= 0)
		return found < 0 ? err_prefix(e, "registry") : 0;
	if (attestations_from_json(buf_bytes(&json), a->attestations, ATTEST_PER_REQUEST_MAX, &count, e) != 0)
		return err_prefix(e, "request %lld", (long long)a->existing.id);
	for (i = 0; i < count; i++) {
		if (!still_holds(a, &a->attestations[i]))
			continue;
		if (as_of_now(a, &a->attestations[i], &counts, e) != 0)
			return -1;
		if (!counts)
			continue;
		if (a->answered || a->afresh != NULL)
			a->attestations[i].expires_s = 0;
		if (i != a->attestation_count)
			a->attestations[a->attestation_count] = a->attestations[i];
		a->attestation_count++;
	}
	a->attested_before = a->attestation_count != 0;
	return 0;
}

int
attempt_attest(struct attempt *a, const struct decide_input *in, struct err *e)
{
	struct judging j = { .a = a, .asker = { .a = a } };
	struct rule_judgement judgement;

	a->attestation_count = 0;
	a->nonce_used = false;
	if (in->rules == NULL || a->asset_matches != 1)
		return 0;
	decide_rules(in, &judgement);
	if (judgement.demand_count == 0 || judgement.result == RULES_DENY)
		return 0; /* what is denied anyway is not judged */
	if (a->attestations == NULL)
		a->attestations = calloc(ATTEST_PER_REQUEST_MAX, sizeof *a->attestations);
	if (a->attestations == NULL)
		return err_set(e, ERR_NOMEM, "no memory to judge evidence");
	if (take_earlier(a, e) != 0)
		return -1;
	if (a->csr->attestation.len != 0 && world_wants_of(a->world, a->request->label)->evidence) {
		if (evidence_parse(a->csr->attestation, &j.evidence, e) != 0)
			return err_prefix(e, "evidence");
		j.has_evidence = true;
	}
	if (judge_demands(&j, &judgement, e) != 0)
		return -1;
	return j.ask ? 1 : 0;
}
