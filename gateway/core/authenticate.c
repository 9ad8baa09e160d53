#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "gateway/core/enroll_internal.h"
#include "gateway/core/metrics.h"

#define SECRETS_MAX 16
#define ANCHORS_MAX 8

static int
store_failed(struct err *e)
{
	return err_prefix(e, "registry");
}

/* Is this a certificate we issued, for this label's CA? 1 yes, 0 no, -1 error. */
static int
find_own(struct attempt *a, struct err *e)
{
	const struct store_ops *ops = a->gateway->store_ops;
	struct trust_verdict verdict;
	struct cert_row row;
	char serial[SERIAL_HEX_MAX];
	uint8_t digest[32];
	struct err odd;
	int found;

	if (x509_serial_hex(a->request->client_cert, serial, &odd) != 0)
		return 0; /* no CA here gives such a number */
	if (x509_sha256(a->request->client_cert, digest, e) != 0)
		return -1;
	found = ops->cert_by_serial(a->read, serial, digest, &row, e);
	if (found <= 0)
		return found < 0 ? store_failed(e) : 0;
	/* Another label's CA counts only where this label's trust sets name it. */
	if (!world_same_group(a->world, a->request->label->ca, row.ca) &&
	    trust_verify(a->world->trust, a->request->label->trust, a->request->label->trust_count,
		    a->request->client_cert, a->request->client_chain, a->request->now_s, &verdict, e) != 0)
		return 0;
	if (a->request->now_s < row.not_before_s)
		return err_set(e, ERR_UNAUTHENTIC, "client certificate is not valid yet");
	found = ops->asset_by_id(a->read, row.asset_id, &a->asset, &a->owner, e);
	if (found < 0)
		return store_failed(e);
	a->asset_matches = found;
	a->proof.kind = PROOF_OWN;
	a->current = a->request->client_cert;
	a->proof.cert_id = row.id;
	a->proof.cert_not_after_s = row.not_after_s;
	a->proof.cert_revoked = row.status != CERT_VALID;
	(void)snprintf(a->proof.cert_profile, sizeof a->proof.cert_profile, "%s", row.profile);
	(void)snprintf(a->proof.cert_label, sizeof a->proof.cert_label, "%s", row.label);
	(void)snprintf(a->proof.text, sizeof a->proof.text, "certificate %s", row.serial);
	return 1;
}

int
attempt_match_anchor(struct attempt *a, const struct anchor *anchor, struct err *e)
{
	struct asset asset;
	struct owner owner;
	int found = a->gateway->store_ops->asset_by_anchor(a->read, anchor, &asset, &owner, e);

	if (found < 0)
		return store_failed(e);
	if (found == 0)
		return 0;
	if (a->asset_matches == 0) {
		a->asset = asset;
		a->owner = owner;
		a->asset_matches = 1;
	} else if (a->asset.id != asset.id)
		a->asset_matches++;
	return 0;
}

int
attempt_key_digest(const X509 *cert, uint8_t out[32], struct err *e)
{
	uint8_t *der = NULL;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der), result;

	if (len <= 0)
		return err_ossl(e, ERR_MALFORMED, "public key of the client certificate");
	result = sha256(bytes_of(der, (size_t)len), out, e);
	OPENSSL_free(der);
	return result;
}

/* The first anchor that leads to the asset is the one whose key is remembered. */
static int
match_certificate(struct attempt *a, const struct anchor *anchor, struct err *e)
{
	if (attempt_match_anchor(a, anchor, e) != 0)
		return -1;
	if (a->asset_matches == 0 || a->has_proof_anchor)
		return 0;
	a->proof_anchor = *anchor;
	a->has_proof_anchor = true;
	return attempt_key_digest(a->request->client_cert, a->proof_spki, e);
}

static int
find_by_anchors(struct attempt *a, const char *set, struct err *e)
{
	struct anchor anchors[ANCHORS_MAX];
	size_t count = 0, i;

	(void)snprintf(a->proof_set, sizeof a->proof_set, "%s", set);

	if (identity_extract(a->world->rules, set, a->request->client_cert, anchors, ANCHORS_MAX, &count, e) != 0)
		return err_prefix(e, "client certificate");
	a->proof.kind = PROOF_CERTIFICATE;
	(void)snprintf(a->proof.text, sizeof a->proof.text, "certificate of %.100s without a known identity", set);
	for (i = 0; i < count; i++)
		if (match_certificate(a, &anchors[i], e) != 0)
			return -1;
	if (count > 0)
		(void)snprintf(a->proof.text, sizeof a->proof.text, "%s %.60s %.100s",
			anchor_type_name(anchors[0].type), set, anchors[0].value);
	text_mend_end(a->proof.text);
	return 0;
}

/* 0 when the certificate proves somebody, -1 with *e when not. */
static int
by_certificate(struct attempt *a, struct err *e)
{
	const struct config_label *label = a->request->label;
	struct trust_verdict verdict;
	int own = find_own(a, e);

	if (own != 0)
		return own < 0 ? -1 : 0;
	if (trust_verify(a->world->trust, label->trust, label->trust_count, a->request->client_cert,
		    a->request->client_chain, a->request->now_s, &verdict, e) != 0)
		return -1;
	if (verdict.expired && !verdict.accept_expired)
		return err_set(e, ERR_UNAUTHENTIC, "client certificate has expired");
	return find_by_anchors(a, verdict.set, e);
}

bool
attempt_same_secret(const struct secret_row *row, const char *secret)
{
	uint8_t hash[32];
	struct err ignored;

	return secret_hash(row->salt, secret, hash, &ignored) == 0 &&
		bytes_equal_secret(bytes_of(hash, 32), bytes_of(row->hash, 32));
}

bool
attempt_secret_matches(const struct attempt *a, const struct secret_row *row, const char *secret)
{
	if (!attempt_same_secret(row, secret))
		return false;
	if (strcmp(row->label, "*") != 0 && strcmp(row->label, a->request->label->policy.name) != 0)
		return false;
	return row->expires_s == 0 || a->request->now_s <= row->expires_s;
}

/* Every stored secret is compared, so that time tells nothing about which one came near. */
static int
find_secret(struct attempt *a, struct err *e)
{
	struct secret_row rows[SECRETS_MAX];
	const struct secret_row *match = NULL;
	int count = a->gateway->store_ops->secrets(a->read, a->asset.id, a->request->protocol, rows, SECRETS_MAX, e);
	int i;

	if (count < 0)
		return store_failed(e);
	for (i = 0; i < count; i++)
		if (attempt_secret_matches(a, &rows[i], a->request->secret) && (match == NULL || rows[i].used_s == 0))
			match = &rows[i];
	if (match == NULL)
		return 0;
	if (match->once) {
		a->secret_id = match->id;
		a->secret_used_by = match->used_s == 0 ? 0 : match->used_request_id;
	}
	return 1;
}

static struct bytes
peer_key(const struct attempt *a)
{
	return bytes_of(a->peer_net, a->peer_net_len);
}

int
attempt_locked(struct attempt *a, const char *name, struct err *e)
{
	int64_t now_s = a->request->now_s;
	int64_t by_address = limiter_check(a->gateway->by_address, peer_key(a), now_s);
	int64_t by_asset = name == NULL ? 0 : limiter_check(a->gateway->by_asset, bytes_of_text(name), now_s);

	if (by_address == 0 && by_asset == 0)
		return 0;
	a->result->retry_after_s = by_address > by_asset ? by_address : by_asset;
	metric_add(METRIC_AUTH_LOCKED_TOTAL, 1);
	return err_set(e, ERR_LIMIT, "too many wrong secrets from this %s; try again in %lld s",
		by_address > by_asset ? "address" : "name", (long long)a->result->retry_after_s);
}

void
attempt_wrong_secret(struct attempt *a, const char *name)
{
	(void)limiter_failed(a->gateway->by_address, peer_key(a), a->request->now_s);
	if (name != NULL)
		(void)limiter_failed(a->gateway->by_asset, bytes_of_text(name), a->request->now_s);
}

static bool
has_secret(const struct enroll_request *request)
{
	return request->user != NULL && request->secret != NULL && request->secret[0] != '\0';
}

static int
by_secret(struct attempt *a, struct err *e)
{
	int found, right = 0;

	if (attempt_locked(a, a->request->user, e) != 0)
		return -1;
	found = a->gateway->store_ops->asset_by_tag(a->read, a->request->user, &a->asset, &a->owner, e);
	if (found < 0)
		return store_failed(e);
	if (found == 1)
		right = find_secret(a, e);
	if (right < 0)
		return -1;
	if (right == 0) {
		attempt_wrong_secret(a, a->request->user);
		return err_set(e, ERR_UNAUTHENTIC, "wrong name or secret");
	}
	/* Only the asset is forgiven: a peer that owns one secret could otherwise guess others' for ever. */
	limiter_passed(a->gateway->by_asset, bytes_of_text(a->request->user));
	a->asset_matches = 1;
	a->proof.kind = PROOF_SECRET;
	(void)snprintf(a->proof.text, sizeof a->proof.text, "secret of %.120s", a->asset.tag);
	text_mend_end(a->proof.text);
	return 0;
}

/* After a certificate that proves nothing: a name and password may stand in for it, a challenge may not. */
static bool
secret_may_do(const struct attempt *a, struct err *e)
{
	const struct enroll_request *request = a->request;

	/* Where only certificates count, asking for a password (401) would mislead. */
	if (e->code == ERR_UNAUTHENTIC && (request->label->policy.auth & AUTH_SECRET) == 0)
		e->code = ERR_DENIED;
	return e->code == ERR_UNAUTHENTIC && has_secret(request);
}

/* The certificate that a stored renewal was asked for with, whatever became of it since. 1, 0 none, -1. */
static int
find_renewed(struct attempt *a, struct cert_row *row, struct err *e)
{
	const struct store_ops *ops = a->gateway->store_ops;
	CLEANUP(buf) struct buf der = { 0 };
	int found;

	if (a->polled->proof_cert_id == 0)
		return 0;
	found = ops->cert_by_id(a->read, a->polled->proof_cert_id, row, e);
	if (found == 1)
		found = ops->cert_der(a->read, row->id, &der, e);
	if (found == 1)
		return x509_from_der(buf_bytes(&der), &a->renewed, e) == 0 ? 1 : -1;
	return found < 0 ? store_failed(e) : 0;
}

static int
renew_again(struct attempt *a, struct err *e)
{
	struct cert_row row;
	int found;

	X509_free(a->renewed);
	a->renewed = NULL;
	found = find_renewed(a, &row, e);
	if (found < 0)
		return -1;
	if (found == 0)
		return err_set(e, ERR_DENIED, "the certificate that was to be renewed is not valid any more");
	a->current = a->renewed;
	a->proof.cert_id = row.id;
	a->proof.cert_not_after_s = row.not_after_s;
	a->proof.cert_revoked = row.status != CERT_VALID;
	(void)snprintf(a->proof.cert_profile, sizeof a->proof.cert_profile, "%s", row.profile);
	(void)snprintf(a->proof.cert_label, sizeof a->proof.cert_label, "%s", row.label);
	return 0;
}

/* Who asked first has proven itself then; who asks now has proven to hold the key of the request. */
static int
by_request(struct attempt *a, struct err *e)
{
	const struct store_ops *ops = a->gateway->store_ops;
	int found = ops->asset_by_id(a->read, a->polled->asset_id, &a->asset, &a->owner, e);

	if (found < 0)
		return store_failed(e);
	a->asset_matches = found;
	a->proof.kind = (enum proof_kind)a->polled->proof_kind;
	(void)snprintf(a->proof.text, sizeof a->proof.text, "%s", a->polled->proof);
	return a->proof.kind == PROOF_OWN && found == 1 ? renew_again(a, e) : 0;
}

static int
authenticate(struct attempt *a, struct err *e)
{
	const struct enroll_request *request = a->request;

	if (a->polled != NULL && request->client_cert == NULL)
		return by_request(a, e);
	if (request->client_cert != NULL) {
		if (by_certificate(a, e) == 0)
			return 0;
		if (!secret_may_do(a, e))
			return -1;
	}
	if (request->challenge)
		return attempt_by_challenge(a, e);
	if (!has_secret(request))
		return err_set(e, ERR_UNAUTHENTIC, "no client certificate and no secret");
	if ((request->label->policy.auth & AUTH_SECRET) == 0)
		return err_set(e, ERR_UNAUTHENTIC, "this label takes no secrets");
	return by_secret(a, e);
}

static enum enroll_op
op_of(const struct attempt *a)
{
	if (a->request->op != ENROLL_EITHER)
		return a->request->op;
	return a->proof.kind == PROOF_OWN ? ENROLL_RENEW : ENROLL_NEW;
}

/* What the stored request was let in with is spent on it, whoever asks for the outcome. */
static int
polled_secret(struct attempt *a, struct err *e)
{
	struct secret_row secret = { 0 };

	a->secret_id = a->polled->secret_id;
	if (a->secret_id != 0 && a->gateway->store_ops->secret_by_id(a->read, a->secret_id, &secret, e) < 0)
		return store_failed(e);
	a->secret_used_by = secret.used_s == 0 ? 0 : secret.used_request_id;
	return 0;
}

int
attempt_authenticate(struct attempt *a, struct err *e)
{
	int result;

	a->asset_matches = 0;
	a->secret_id = a->secret_used_by = 0;
	a->challenge_once = false;
	a->has_proof_anchor = false;
	a->proof_set[0] = '\0';
	a->current = NULL;
	a->proof = (struct proof){ .kind = PROOF_NONE };
	result = authenticate(a, e);
	a->op = op_of(a);
	if (result == 0 && a->polled != NULL)
		result = polled_secret(a, e);
	/* Whoever else this is, the request is not theirs. */
	if (result == 0 && a->polled != NULL && (a->asset_matches != 1 || a->asset.id != a->polled->asset_id)) {
		a->refusal = "request.unknown";
		return err_set(e, ERR_DENIED, "no such transaction of this device");
	}
	return result;
}
