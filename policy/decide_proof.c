#include "base/text.h"
#include "base/timefmt.h"
#include "policy/decide_rules.h"

static const char *
op_text(enum policy_op op)
{
	switch (op) {
	case POLICY_ENROLL:
		return "enroll";
	case POLICY_RENEW:
		return "renew";
	case POLICY_KEYGEN:
		return "keygen";
	}
	return NULL;
}

static void
rule_operation(struct decision_run *run)
{
	const struct label_policy *label = run->in->label;
	const char *label_name = label->name[0] == '\0' ? "(none)" : label->name;
	struct rule_result *r = rule_begin(run, "label.operation");
	const char *op = op_text(run->in->op);

	if (op == NULL) {
		rule_fail(run, r, "the operation is unknown");
		return;
	}
	rule_saw(r, "label=%s operation=%s", label_name, op);
	if ((label->operations & 1u << run->in->op) == 0)
		rule_fail(run, r, "label %s does not offer %s", label_name, op);
	else
		rule_pass(r);
}

static const char *
kind_text(enum proof_kind kind)
{
	switch (kind) {
	case PROOF_NONE:
		return "none";
	case PROOF_CERTIFICATE:
		return "certificate";
	case PROOF_SECRET:
		return "secret";
	case PROOF_OWN:
		return "own certificate";
	case PROOF_REGISTRAR:
		return "registrar";
	case PROOF_MDM:
		return "MDM challenge";
	}
	return "unknown";
}

static unsigned
kind_auth(enum proof_kind kind)
{
	switch (kind) {
	case PROOF_NONE:
		return 0;
	case PROOF_CERTIFICATE:
		return AUTH_CERTIFICATE;
	case PROOF_SECRET:
		return AUTH_SECRET;
	case PROOF_OWN:
		return AUTH_OWN;
	case PROOF_REGISTRAR:
		return AUTH_REGISTRAR;
	case PROOF_MDM:
		return AUTH_MDM;
	}
	return 0;
}

static void
rule_present(struct decision_run *run)
{
	const struct proof *proof = &run->in->proof;
	struct rule_result *r = rule_begin(run, "proof.present");
	char text[REG_VALUE_MAX];

	if (kind_auth(proof->kind) == 0) {
		rule_saw(r, "proof=%s", kind_text(proof->kind));
		rule_fail(run, r, "there is no proof of identity");
		run->out->unauthentic = true;
		return;
	}
	if (text_is_clean(bytes_of_text(proof->text)))
		rule_saw(r, "proof=%s %s", kind_text(proof->kind), proof->text);
	else {
		text_escape(text, sizeof text, bytes_of_text(proof->text));
		rule_saw(r, "proof=%s %s", kind_text(proof->kind), text);
	}
	rule_pass(r);
}

static void
rule_allowed(struct decision_run *run)
{
	const struct label_policy *label = run->in->label;
	struct rule_result *r = rule_begin(run, "proof.allowed");
	unsigned kind = kind_auth(run->in->proof.kind);

	if (kind == 0) {
		rule_skip(r, "no proof");
		return;
	}
	rule_saw(r, "label takes%s%s%s%s%s", (label->auth & AUTH_CERTIFICATE) != 0 ? " certificate" : "",
		(label->auth & AUTH_SECRET) != 0 ? " secret" : "",
		(label->auth & AUTH_OWN) != 0 ? " own-certificate" : "",
		(label->auth & AUTH_REGISTRAR) != 0 ? " registrar" : "",
		(label->auth & AUTH_MDM) != 0 ? " mdm" : "");
	if ((label->auth & kind) == 0)
		rule_fail(run, r, "label %s does not take this kind of proof: %s",
			label->name[0] == '\0' ? "(none)" : label->name, kind_text(run->in->proof.kind));
	else
		rule_pass(r);
}

static void
rule_revoked(struct decision_run *run)
{
	const struct proof *proof = &run->in->proof;
	struct rule_result *r = rule_begin(run, "proof.revoked");

	if (proof->kind != PROOF_OWN && proof->kind != PROOF_REGISTRAR) {
		rule_skip(r, "not a certificate of ours");
		return;
	}
	rule_saw(r, "certificate=%lld revoked=%s", (long long)proof->cert_id, proof->cert_revoked ? "yes" : "no");
	if (proof->cert_revoked)
		rule_fail(run, r, "the presented certificate is revoked or on hold");
	else
		rule_pass(r);
}

static void
rule_expired(struct decision_run *run)
{
	const struct decide_input *in = run->in;
	struct rule_result *r = rule_begin(run, "proof.expired");
	/* The grace is for devices that were switched off; who speaks for others was not. */
	int64_t grace_s = in->proof.kind == PROOF_REGISTRAR ? 0 : in->label->expired_grace_s;
	int64_t past_s = in->now_s - in->proof.cert_not_after_s;
	char until[TIME_TEXT_MAX], grace[TIME_TEXT_MAX];

	if (in->proof.kind != PROOF_OWN && in->proof.kind != PROOF_REGISTRAR) {
		rule_skip(r, "not a certificate of ours");
		return;
	}
	time_text(in->proof.cert_not_after_s, until);
	duration_text(grace_s, grace);
	rule_saw(r, "until=%s grace=%s", until, grace);
	if (past_s > grace_s)
		rule_fail(run, r, "the presented certificate ended on %s, and the grace is %s", until, grace);
	else
		rule_pass(r);
}

/*
 * A registrar that is in no state to renew for itself does not speak for others,
 * and none speaks for another owner's devices. So that owner's status and
 * contract, which are asked later, are the registrar's own.
 */
static void
rule_registrar(struct decision_run *run)
{
	const struct asset *registrar = run->in->registrar;
	struct rule_result *r = rule_begin(run, "registrar.state");

	if (run->in->proof.kind != PROOF_REGISTRAR) {
		rule_skip(r, "the device asks for itself");
		return;
	}
	if (registrar == NULL) {
		rule_saw(r, "registrar=unknown");
		rule_fail(run, r, "the registrar is no asset of the registry");
		return;
	}
	rule_saw(r, "registrar=%s state=%s", registrar->tag, asset_state_name(registrar->state));
	if (asset_state_rules(registrar->state)->renewal != RENEWAL_YES)
		rule_fail(run, r, "registrar %s is %s", registrar->tag, asset_state_name(registrar->state));
	else if (run->one_asset && registrar->owner_id != run->in->asset->owner_id)
		rule_fail(run, r, "registrar %s and %s have different owners", registrar->tag, run->in->asset->tag);
	else
		rule_pass(r);
}

void
decide_proof(struct decision_run *run)
{
	rule_operation(run);
	rule_present(run);
	rule_allowed(run);
	rule_revoked(run);
	rule_expired(run);
	rule_registrar(run);
}
