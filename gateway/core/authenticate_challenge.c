/*
 * A challengePassword (RFC 8894, section 2.3) carries no name. One that we gave
 * out says which secret it is (challenge.c); any other is the label's MDM's to
 * judge, which is asked between two rounds, without a snapshot.
 */
#include <stdio.h>
#include <string.h>

#include "base/jsontext.h"
#include "base/text.h"
#include "gateway/core/enroll_internal.h"
#include "gateway/core/log.h"
#include "gateway/core/metrics.h"

#define ANCHORS_MAX 8

/* The secret and its asset by the number in the challenge: 1 found, 0 none, -1 error. */
static int
find_row(struct attempt *a, int64_t id, struct secret_row *row, struct err *e)
{
	const struct store_ops *ops = a->gateway->store_ops;
	int found = ops->secret_by_id(a->read, id, row, e);

	if (found == 1 && strcmp(row->protocol, a->request->protocol) != 0)
		return 0;
	if (found == 1)
		found = ops->asset_by_id(a->read, row->asset_id, &a->asset, &a->owner, e);
	return found < 0 ? err_prefix(e, "registry") : found;
}

static int
by_own_secret(struct attempt *a, int64_t id, const char *secret, struct err *e)
{
	struct secret_row row;
	int found = find_row(a, id, &row, e);

	if (found < 0)
		return -1;
	/* It looked like ours by chance. */
	if (found == 0 && (a->request->label->policy.auth & AUTH_MDM) != 0)
		return attempt_by_mdm(a, e);
	if (found == 0 || !attempt_secret_matches(a, &row, secret)) {
		/*
		 * Counted for the address alone. The number before the dash is anybody's guess, and what is behind it
		 * nobody's (128 bits made here): to lock the asset would protect it from none but its owner.
		 */
		attempt_wrong_secret(a, NULL);
		return err_set(e, ERR_UNAUTHENTIC, "wrong or expired challenge");
	}
	if (row.once) {
		a->secret_id = row.id;
		a->secret_used_by = row.used_s == 0 ? 0 : row.used_request_id;
	}
	a->asset_matches = 1;
	a->proof.kind = PROOF_SECRET;
	(void)snprintf(a->proof.text, sizeof a->proof.text, "challenge of %.120s", a->asset.tag);
	text_mend_end(a->proof.text);
	return 0;
}

/* The challenge as a string. ERR_UNAUTHENTIC: there is none, or none that could be. */
static int
copy_challenge(const struct attempt *a, struct buf *out, struct err *e)
{
	struct bytes challenge = a->csr->challenge;

	if (challenge.len == 0)
		return err_set(e, ERR_UNAUTHENTIC, "no certificate of ours and no challenge");
	if (memchr(challenge.at, '\0', challenge.len) != NULL)
		return err_set(e, ERR_UNAUTHENTIC, "the challenge is none that was given out");
	buf_append_bytes(out, challenge);
	buf_append_u8(out, '\0');
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for a challenge") : 0;
}

static int
by_text(struct attempt *a, const char *challenge, struct err *e)
{
	unsigned auth = a->request->label->policy.auth;
	const char *secret = NULL;
	int64_t id;

	if (attempt_locked(a, NULL, e) != 0)
		return -1;
	if ((auth & AUTH_SECRET) != 0 && challenge_split(challenge, &id, &secret) == 0)
		return by_own_secret(a, id, secret, e);
	if ((auth & AUTH_MDM) != 0)
		return attempt_by_mdm(a, e);
	attempt_wrong_secret(a, NULL);
	return err_set(e, ERR_UNAUTHENTIC,
		(auth & AUTH_SECRET) != 0 ? "the challenge is none that was given out" : "this label takes no challenges");
}

int
attempt_by_challenge(struct attempt *a, struct err *e)
{
	struct buf challenge = { 0 };
	int result;

	if (attempt_decode(a, e) != 0)
		return -1;
	result = copy_challenge(a, &challenge, e);
	if (result == 0)
		result = by_text(a, (const char *)challenge.at, e);
	buf_free_secret(&challenge);
	return result;
}

int
attempt_check_challenge(struct attempt *a, struct err *e)
{
	struct buf challenge = { 0 };
	struct secret_row row;
	const char *secret = NULL;
	int64_t id = 0;
	int found = 0;

	if (!a->request->challenge || a->proof.kind == PROOF_SECRET || a->proof.kind == PROOF_MDM ||
	    copy_challenge(a, &challenge, e) != 0)
		return 0;
	if (challenge_split((const char *)challenge.at, &id, &secret) == 0)
		found = a->gateway->store_ops->secret_by_id(a->read, id, &row, e);
	if (found == 1 && (row.asset_id == a->asset.id || !attempt_same_secret(&row, secret)))
		found = 0;
	buf_free_secret(&challenge);
	if (found == 1)
		return err_set(e, ERR_DENIED, "the request carries another device's challenge: it was made by that one");
	return found < 0 ? err_prefix(e, "registry") : 0;
}

static int
find_managed(struct attempt *a, struct err *e)
{
	const struct config_label *label = a->request->label;
	struct anchor anchors[ANCHORS_MAX];
	size_t count = 0, i;

	if (a->mdm.device[0] != '\0') {
		anchors[0] = (struct anchor){ .type = ANCHOR_MDM_ID };
		(void)snprintf(anchors[0].issuer, sizeof anchors[0].issuer, "%s", label->scep_mdm);
		(void)snprintf(anchors[0].value, sizeof anchors[0].value, "%s", a->mdm.device);
		if (anchor_normalise(&anchors[0], e) != 0)
			return err_prefix(e, "the device that %s names", label->scep_mdm);
		count = 1;
	} else if (identity_extract_names(a->world->rules, label->scep_mdm, a->csr->subject, a->csr_sans, anchors,
			   ANCHORS_MAX, &count, e) != 0)
		return err_prefix(e, "request");
	a->proof.kind = PROOF_MDM;
	(void)snprintf(a->proof.text, sizeof a->proof.text, "challenge of %.60s %.100s", label->scep_mdm,
		count == 0 ? "for a device without a known identity" : anchors[0].value);
	text_mend_end(a->proof.text);
	for (i = 0; i < count; i++)
		if (attempt_match_anchor(a, &anchors[i], e) != 0)
			return -1;
	return 0;
}

/* A challenge that was good for a request before is good for that one only: the MDM is not asked again. */
static int
by_earlier_request(struct attempt *a, int64_t request_id, struct err *e)
{
	const struct store_ops *ops = a->gateway->store_ops;
	struct request_row row;
	int found = ops->request_by_id(a->read, request_id, &row, NULL, e);

	if (found == 1 && (memcmp(row.csr_sha256, a->csr_sha256, sizeof row.csr_sha256) != 0 ||
		strcmp(row.label, a->request->label->policy.name) != 0))
		return err_set(e, ERR_UNAUTHENTIC, "the challenge has been used already");
	if (found == 1)
		found = ops->asset_by_id(a->read, row.asset_id, &a->asset, &a->owner, e);
	if (found != 1)
		return found < 0 ? err_prefix(e, "registry") : err_set(e, ERR_BUG, "request %lld is gone", (long long)request_id);
	a->asset_matches = 1;
	a->secret_used_by = request_id;
	a->proof.kind = PROOF_MDM;
	(void)snprintf(a->proof.text, sizeof a->proof.text, "%s", row.proof);
	return 0;
}

int
attempt_by_mdm(struct attempt *a, struct err *e)
{
	int64_t request_id = 0;
	int found;

	if (sha256(a->csr->challenge, a->challenge_sha256, e) != 0)
		return -1;
	found = a->gateway->store_ops->challenge_request(a->read, a->request->label->scep_mdm, a->challenge_sha256,
		&request_id, e);
	if (found != 0)
		return found < 0 ? err_prefix(e, "registry") : by_earlier_request(a, request_id, e);
	if (!a->mdm_asked)
		return 1;
	if (!a->mdm.allowed) {
		attempt_wrong_secret(a, NULL);
		return err_set(e, ERR_UNAUTHENTIC, "%.60s refused the challenge: %.40s %.100s", a->request->label->scep_mdm,
			a->mdm.code, a->mdm.text);
	}
	a->challenge_once = true;
	return find_managed(a, e);
}

bool
attempt_may_call(struct gateway *gateway)
{
	if (atomic_fetch_add(&gateway->mdm_calls, 1) < gateway->mdm_calls_max || gateway->mdm_calls_max == 0)
		return true;
	(void)atomic_fetch_sub(&gateway->mdm_calls, 1);
	return false;
}

void
attempt_called(struct gateway *gateway)
{
	(void)atomic_fetch_sub(&gateway->mdm_calls, 1);
}

/* What the connector needs of this request. */
static struct mdm_request
mdm_request_of(const struct attempt *a, const char *challenge)
{
	return (struct mdm_request){
		.transaction = a->request->transaction,
		.csr = a->csr->der,
		.challenge = challenge,
		.label = a->request->label->policy.name,
	};
}

int
attempt_ask_mdm(struct attempt *a, struct err *e)
{
	const struct world_mdm *mdm = world_mdm_of(a->world, a->request->label->scep_mdm);
	struct buf challenge = { 0 };
	struct mdm_request request;
	int result;

	if (mdm == NULL)
		return err_set(e, ERR_BUG, "label %s has no MDM", a->request->label->policy.name);
	if (!attempt_may_call(a->gateway))
		return err_set(e, ERR_UPSTREAM, "MDM %s: %d calls are under way", a->request->label->scep_mdm,
			a->gateway->mdm_calls_max);
	result = copy_challenge(a, &challenge, e);
	if (result == 0) {
		request = mdm_request_of(a, (const char *)challenge.at);
		result = mdm->ops->validate(mdm->mdm, &request, &a->mdm, e);
	}
	attempt_called(a->gateway);
	buf_free_secret(&challenge);
	if (result != 0) {
		metric_add(METRIC_MDM_FAILED_TOTAL, 1);
		return err_prefix(e, "MDM %s", a->request->label->scep_mdm);
	}
	a->mdm_asked = true;
	return 0;
}

static void
audit_untold(struct attempt *a, const struct err *why)
{
	CLEANUP(buf) struct buf detail = { 0 };
	struct err e;

	metric_add(METRIC_MDM_FAILED_TOTAL, 1);
	log_rare(LOG_LEVEL_WARN, "mdm", "%s was not told of request %lld: %s", a->request->label->scep_mdm,
		(long long)a->result->request_id, why->text);
	buf_append_u8(&detail, '{');
	json_put_pair(&detail, "mdm", a->request->label->scep_mdm);
	json_put_int(&detail, "request", a->result->request_id);
	json_put_pair(&detail, "reason", why->text);
	buf_append_u8(&detail, '}');
	if (a->gateway->store_ops->audit(a->gateway->store, a->request->now_s, "enrolld", "mdm.untold",
		    a->asset_matches == 1 ? a->asset.tag : "", buf_text(&detail), &e) != 0)
		log_rare(LOG_LEVEL_ERROR, "audit", "a notification that failed could not be recorded: %s", e.text);
}

static int
tell(const struct attempt *a, const struct world_mdm *mdm, struct err *e)
{
	const struct enroll_result *result = a->result;
	const struct mdm_refusal refusal = { .code = result->code, .text = result->public_text };
	struct mdm_request request = mdm_request_of(a, NULL);

	if (result->code == ERR_NONE)
		return mdm->ops->issued(mdm->mdm, &request, buf_bytes(&result->cert), e);
	if (result->code == ERR_DENIED || result->code == ERR_MALFORMED)
		return mdm->ops->refused(mdm->mdm, &request, &refusal, e);
	return 0; /* it is not over */
}

void
attempt_tell_mdm(struct attempt *a)
{
	const struct world_mdm *mdm;
	struct err e = { 0 };
	int told;

	if (a->csr == NULL || a->proof.kind != PROOF_MDM || a->result->replayed || a->mdm_told)
		return;
	mdm = world_mdm_of(a->world, a->request->label->scep_mdm);
	if (mdm == NULL)
		return;
	if (!attempt_may_call(a->gateway))
		told = err_set(&e, ERR_UPSTREAM, "%d calls are under way", a->gateway->mdm_calls_max);
	else {
		told = tell(a, mdm, &e);
		attempt_called(a->gateway);
	}
	if (told != 0)
		audit_untold(a, &e);
}
