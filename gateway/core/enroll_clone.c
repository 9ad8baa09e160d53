/*
 * Clones: one identity with two keys, or one asset in two places by turns. What
 * is seen goes into the decision; what follows from it is done when that is recorded.
 */
#include <stdio.h>
#include <string.h>

#include "base/jsontext.h"
#include "gateway/core/enroll_internal.h"
#include "gateway/core/issuer.h"
#include "gateway/core/log.h"
#include "gateway/core/metrics.h"
#include "gateway/core/sightings.h"

/* Only a manufacturer's certificate ties its key to the device for life; ours and secrets do not. */
static int
look_at_key(struct attempt *a, struct decide_input *in, struct err *e)
{
	uint8_t first[32];
	char hex[65];
	int found;

	if (a->world->config->clone_keys == CLONE_OFF || a->proof.kind != PROOF_CERTIFICATE || !a->has_proof_anchor)
		return 0;
	found = a->gateway->store_ops->anchor_key(a->read, &a->proof_anchor, first, e);
	if (found < 0)
		return err_prefix(e, "registry");
	if (found == 0 || memcmp(first, a->proof_spki, sizeof first) == 0)
		return 0;
	hex_encode(bytes_of(a->proof_spki, sizeof a->proof_spki), hex);
	(void)snprintf(in->clone_key, sizeof in->clone_key, "%s came with another key before, now with %.16s",
		anchor_type_name(a->proof_anchor.type), hex);
	in->clone_key_denies = a->world->config->clone_keys == CLONE_QUARANTINE;
	a->clone_tell = true;
	return 0;
}

/* Whoever has an old key is not the device any more: seen elsewhere it is refused, and must not put the device out. */
static bool
is_accepted(const struct attempt *a)
{
	return a->proof.kind != PROOF_OWN || (!a->proof.cert_revoked &&
		a->request->now_s <= a->proof.cert_not_after_s + a->request->label->policy.expired_grace_s);
}

/* A registrar's address is not the device's. */
static void
look_at_place(struct attempt *a, struct decide_input *in)
{
	const struct config *config = a->world->config;
	bool tell = false;

	if (config->clone_places == CLONE_OFF || a->gateway->sightings == NULL || a->explaining ||
	    a->proof.kind == PROOF_REGISTRAR || a->proof.kind == PROOF_NONE || !is_accepted(a))
		return;
	if (!sightings_see(a->gateway->sightings, a->asset.id, a->request->peer, a->request->now_s, config->clone_window_s,
		    in->clone_place, &tell))
		return;
	in->clone_place_denies = config->clone_places == CLONE_QUARANTINE;
	a->clone_tell = a->clone_tell || tell;
}

int
attempt_look_for_clones(struct attempt *a, struct decide_input *in, struct err *e)
{
	a->clone_text[0] = '\0';
	a->clone_denies = false;
	if (a->asset_matches != 1)
		return 0;
	if (look_at_key(a, in, e) != 0)
		return -1;
	look_at_place(a, in);
	a->clone_denies = in->clone_key_denies || in->clone_place_denies;
	(void)snprintf(a->clone_text, sizeof a->clone_text, "%s%s%s", in->clone_key,
		in->clone_key[0] != '\0' && in->clone_place[0] != '\0' ? "; " : "", in->clone_place);
	return 0;
}

static void
audit_clone(struct attempt *a)
{
	CLEANUP(buf) struct buf detail = { 0 };
	struct err e;

	buf_append_u8(&detail, '{');
	json_put_pair(&detail, "saw", a->clone_text);
	json_put_pair(&detail, "action", a->clone_denies ? "quarantine" : "alert");
	json_put_pair(&detail, "protocol", a->request->protocol);
	json_put_pair(&detail, "label", a->request->label->policy.name);
	json_put_pair(&detail, "peer", a->request->peer);
	json_put_pair(&detail, "proof", a->proof.text);
	json_put_int(&detail, "request", a->result->request_id);
	buf_append_u8(&detail, '}');
	if (buf_failed(&detail) ||
	    a->gateway->store_ops->audit(a->gateway->store, a->request->now_s, "enrolld", "identity.clone", a->asset.tag,
		    buf_text(&detail), &e) != 0)
		log_rare(LOG_LEVEL_ERROR, "audit", "that %s looks like a clone could not be recorded", a->asset.tag);
}

void
attempt_tell_of_clone(struct attempt *a)
{
	char reason[sizeof a->clone_text + 16];
	struct err e;

	if (!a->decision.clone || a->asset_matches != 1 || a->clone_text[0] == '\0')
		return;
	metric_add(METRIC_CLONES_TOTAL, 1);
	/* A refusal that could not be recorded is tried again by the device, and so is this. */
	if (a->clone_denies && a->asset.state != ASSET_QUARANTINED) {
		(void)snprintf(reason, sizeof reason, "a clone: %s", a->clone_text);
		if (a->gateway->store_ops->asset_quarantine(a->gateway->store, a->asset.id, reason, a->request->now_s, &e) < 0)
			log_rare(LOG_LEVEL_ERROR, "clone", "%s could not be put into quarantine: %s", a->asset.tag, e.text);
		else
			issuer_wake(a->gateway->issuer, NULL); /* its certificates are on hold now, which CAs elsewhere have to hear */
	}
	if (!a->clone_tell)
		return;
	log_rare(LOG_LEVEL_WARN, "clone", "%s: %s", a->asset.tag, a->clone_text);
	audit_clone(a);
}
