#include <string.h>

#include "base/timefmt.h"
#include "policy/decide_rules.h"

static void
rule_known(struct decision_run *run)
{
	const struct decide_input *in = run->in;
	struct rule_result *r = rule_begin(run, "asset.known");

	if (in->proof.kind == PROOF_NONE) {
		rule_skip(r, "no proof to look for");
		return;
	}
	rule_saw(r, "matches=%d", in->asset_matches);
	if (in->asset_matches < 1)
		rule_fail(run, r, "no asset in the registry has this identity");
	else
		rule_pass(r);
}

static void
rule_unique(struct decision_run *run)
{
	const struct decide_input *in = run->in;
	struct rule_result *r = rule_begin(run, "asset.unique");

	if (in->asset_matches < 1) {
		rule_skip(r, "no asset");
		return;
	}
	if (in->asset_matches > 1) {
		rule_saw(r, "matches=%d", in->asset_matches);
		rule_fail(run, r, "this identity points at %d assets, and an ambiguous one is nobody's",
			in->asset_matches);
	} else if (!run->one_asset)
		rule_fail(run, r, "the registry gave no record of the asset");
	else {
		rule_saw(r, "asset=%s", in->asset->tag);
		rule_pass(r);
	}
}

/* One identity with two keys, or in two places: which of them is the device nobody can tell from here. */
static void
rule_clone(struct decision_run *run)
{
	const struct decide_input *in = run->in;
	struct rule_result *r = rule_begin(run, "identity.clone");
	bool key = in->clone_key[0] != '\0', place = in->clone_place[0] != '\0';

	if (!run->one_asset) {
		rule_skip(r, "no asset");
		return;
	}
	if (!key && !place) {
		rule_saw(r, "nothing speaks for a clone");
		rule_pass(r);
		return;
	}
	run->out->alert = true;
	run->out->clone = true;
	rule_saw(r, "%s%s%s", in->clone_key, key && place ? "; " : "", in->clone_place);
	if (key && in->clone_key_denies)
		rule_fail(run, r, "%s seems to be cloned: %s", in->asset->tag, in->clone_key);
	else if (place && in->clone_place_denies)
		rule_fail(run, r, "%s seems to be cloned: %s", in->asset->tag, in->clone_place);
	else
		rule_pass(r);
}

static void
fail_state(struct decision_run *run, struct rule_result *r)
{
	const struct asset *asset = run->in->asset;
	const char *state = asset_state_name(asset->state);

	if (run->in->op == POLICY_RENEW)
		rule_fail(run, r, "%s is %s: its certificates are not renewed", asset->tag, state);
	else if (asset_state_rules(asset->state)->enroll_staging)
		rule_fail(run, r, "%s is %s: only staging profiles are for it", asset->tag, state);
	else
		rule_fail(run, r, "%s is %s: it gets no new certificate", asset->tag, state);
}

static void
fail_offered(struct decision_run *run, struct rule_result *r)
{
	const struct asset *asset = run->in->asset;
	const char *prior = asset_state_name(asset->prior_state);

	rule_saw(r, "state=%s, offered from %s", asset_state_name(asset->state), prior);
	rule_fail(run, r, "%s was %s when it was offered: its certificates are not renewed", asset->tag, prior);
}

static void
rule_renewal_state(struct decision_run *run, struct rule_result *r)
{
	const struct asset *asset = run->in->asset;
	int64_t since_s = run->in->now_s - asset->state_since_s;
	char grace[TIME_TEXT_MAX];

	/* Who may not renew where it is does not come to it by being offered to somebody. */
	if (asset->state == ASSET_TRANSFER_PENDING &&
	    asset_state_rules(asset->prior_state)->renewal != RENEWAL_YES) {
		fail_offered(run, r);
		return;
	}
	switch (asset_state_rules(asset->state)->renewal) {
	case RENEWAL_YES:
		rule_pass(r);
		return;
	case RENEWAL_GRACE:
		duration_text(run->in->profile->repair_grace_s, grace);
		rule_saw(r, "state=%s for %lld s, grace=%s", asset_state_name(asset->state), (long long)since_s,
			grace);
		if (since_s <= run->in->profile->repair_grace_s)
			rule_pass(r);
		else
			rule_fail(run, r, "%s has been in %s for longer than the grace of %s", asset->tag,
				asset_state_name(asset->state), grace);
		return;
	case RENEWAL_NO:
		break;
	}
	fail_state(run, r);
}

static void
rule_state(struct decision_run *run)
{
	const struct decide_input *in = run->in;
	struct rule_result *r = rule_begin(run, "asset.state");
	const struct state_rules *rules;

	if (!run->one_asset) {
		rule_skip(r, "no asset");
		return;
	}
	rules = asset_state_rules(in->asset->state);
	rule_saw(r, "state=%s", asset_state_name(in->asset->state));
	/* Somebody holds a lost device's key: worth a person's attention whatever else is wrong. */
	if (rules->alert)
		run->out->alert = true;
	if (in->op == POLICY_RENEW)
		rule_renewal_state(run, r);
	else if (rules->enroll || (rules->enroll_staging && in->profile->staging))
		rule_pass(r);
	else
		fail_state(run, r);
}

/* The profile of a registrar, say, is not for every device that can prove who it is. */
static void
rule_class(struct decision_run *run)
{
	const struct profile *profile = run->in->profile;
	struct rule_result *r = rule_begin(run, "asset.class");
	const char *class_name;
	size_t i;

	if (!run->one_asset || profile->class_count == 0) {
		rule_skip(r, run->one_asset ? "the profile is for every class" : "no asset");
		return;
	}
	class_name = run->in->asset->class_name;
	rule_saw(r, "class=%s", class_name[0] == '\0' ? "(none)" : class_name);
	for (i = 0; i < profile->class_count && i < PROFILE_NAMES_MAX; i++)
		if (strcmp(profile->classes[i], class_name) == 0) {
			rule_pass(r);
			return;
		}
	rule_fail(run, r, "profile %s is not for assets of the class \"%s\"", profile->name, class_name);
}

static bool
owner_permits(enum owner_status status, enum policy_op op)
{
	switch (status) {
	case OWNER_ACTIVE:
		return true;
	case OWNER_OFFBOARDING:
		return op == POLICY_RENEW;
	case OWNER_SUSPENDED:
	case OWNER_OFFBOARDED:
		return false;
	}
	return false;
}

/* A leaving owner's devices are renewed until its grace ends, and no longer than that. */
static void
rule_leaving(struct decision_run *run, struct rule_result *r)
{
	const struct decide_input *in = run->in;
	char end[TIME_TEXT_MAX];
	bool cut;

	if (in->owner->status != OWNER_OFFBOARDING || in->offboarding_end_s == 0) {
		rule_pass(r);
		return;
	}
	time_text(in->offboarding_end_s, end);
	cut = run->filled && run->out->spec.not_after_s == in->offboarding_end_s;
	rule_saw(r, "owner=%s status=%s until=%s%s", in->owner->name, owner_status_name(in->owner->status), end,
		cut ? "; the certificate is cut to it" : "");
	if (run->leaving_ended)
		rule_fail(run, r, "the owner %s is leaving, and its grace ended on %s", in->owner->name, end);
	else
		rule_pass(r);
}

static void
rule_owner(struct decision_run *run)
{
	const struct decide_input *in = run->in;
	struct rule_result *r = rule_begin(run, "owner.status");

	if (!run->one_asset) {
		rule_skip(r, "no asset");
		return;
	}
	rule_saw(r, "owner=%s status=%s", in->owner->name, owner_status_name(in->owner->status));
	if (in->owner->id != in->asset->owner_id)
		rule_fail(run, r, "the registry gave another asset's owner");
	else if (!owner_permits(in->owner->status, in->op))
		rule_fail(run, r, "the owner %s is %s", in->owner->name, owner_status_name(in->owner->status));
	else
		rule_leaving(run, r);
}

static void
rule_contract(struct decision_run *run)
{
	const struct decide_input *in = run->in;
	struct rule_result *r = rule_begin(run, "owner.contract");
	char end[TIME_TEXT_MAX];
	bool cut;

	if (!run->one_asset) {
		rule_skip(r, "no asset");
		return;
	}
	if (in->owner->contract_end_s == 0) {
		rule_saw(r, "no end");
		rule_pass(r);
		return;
	}
	time_text(in->owner->contract_end_s, end);
	cut = run->filled && run->out->spec.not_after_s == in->owner->contract_end_s;
	rule_saw(r, "end=%s%s", end, cut ? "; the certificate is cut to it" : "");
	if (run->contract_runs)
		rule_pass(r);
	else
		rule_fail(run, r, "the contract of the owner %s ended on %s", in->owner->name, end);
}

static void
rule_quota(struct decision_run *run)
{
	const struct decide_input *in = run->in;
	struct rule_result *r = rule_begin(run, "owner.quota");

	if (!run->one_asset || !in->has_quota) {
		rule_skip(r, run->one_asset ? "the owner has no quota for the profile" : "no asset");
		return;
	}
	rule_saw(r, "others=%lld limit=%lld%s", (long long)in->quota_used, (long long)in->quota_limit,
		in->quota_held ? ", it has a place" : "");
	/* A lower limit keeps newcomers out; who is in stays. */
	if (!in->quota_held && in->quota_used >= in->quota_limit)
		rule_fail_unless_waived(run, r, EXCEPTION_QUOTA,
			"%lld other assets of the owner %s hold a certificate of profile %s, and its quota is %lld",
			(long long)in->quota_used, in->owner->name, in->profile->name, (long long)in->quota_limit);
	else
		rule_pass(r);
}

void
decide_asset(struct decision_run *run)
{
	rule_known(run);
	rule_unique(run);
	rule_clone(run);
	rule_state(run);
	rule_class(run);
	rule_owner(run);
	rule_contract(run);
	rule_quota(run);
}

/* The registrar authenticates itself; what is renewed must be there all the same. */
static void
renewal_by_registrar(struct decision_run *run, struct rule_result *r)
{
	char until[TIME_TEXT_MAX];

	if (run->in->registrar_for_not_after_s == 0) {
		rule_saw(r, "the device has no valid certificate");
		rule_fail(run, r, "the device has no valid certificate to renew; enroll instead");
		return;
	}
	time_text(run->in->registrar_for_not_after_s, until);
	rule_saw(r, "the device's certificate ends %s", until);
	rule_pass(r);
}

static void
rule_renewal_proof(struct decision_run *run)
{
	struct rule_result *r = rule_begin(run, "renewal.proof");
	const struct proof *proof = &run->in->proof;

	if (run->in->op != POLICY_RENEW || proof->kind == PROOF_NONE) {
		rule_skip(r, run->in->op != POLICY_RENEW ? "not a renewal" : "no proof");
		return;
	}
	/* RFC 7030, section 3.3.2: "If the certificate to be renewed or rekeyed is appropriate for the
	   negotiated cipher suite, then the client MUST use it for the TLS handshake". */
	if (proof->kind == PROOF_REGISTRAR) {
		renewal_by_registrar(run, r);
		return;
	}
	if (proof->kind != PROOF_OWN) {
		rule_saw(r, "not the certificate being renewed");
		rule_fail(run, r, "a renewal is authenticated by the certificate being renewed; enroll instead");
		return;
	}
	rule_saw(r, "certificate=%lld profile=%s", (long long)proof->cert_id, proof->cert_profile);
	rule_pass(r);
}

static void
rule_window(struct decision_run *run)
{
	const struct decide_input *in = run->in;
	struct rule_result *r = rule_begin(run, "renewal.window");
	bool registrar = in->proof.kind == PROOF_REGISTRAR && in->registrar_for_not_after_s != 0;
	int64_t ends_s = registrar ? in->registrar_for_not_after_s : in->proof.cert_not_after_s;
	int64_t opens_s = ends_s - in->profile->renewal_window_s;
	char opens[TIME_TEXT_MAX];

	if (in->op != POLICY_RENEW || (in->proof.kind != PROOF_OWN && !registrar)) {
		rule_skip(r, in->op != POLICY_RENEW ? "not a renewal" : "no certificate of ours");
		return;
	}
	time_text(opens_s, opens);
	rule_saw(r, "opens=%s", opens);
	if (in->now_s < opens_s)
		rule_fail_unless_waived(run, r, EXCEPTION_RENEWAL_WINDOW,
			"it is too early: the certificate may be renewed from %s", opens);
	else
		rule_pass(r);
}

void
decide_renewal(struct decision_run *run)
{
	rule_renewal_proof(run);
	rule_window(run);
}
