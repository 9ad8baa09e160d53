#include "gateway/core/replay.h"

#include <stdio.h>
#include <string.h>

#include "gateway/core/enroll_internal.h"

int
replay_load(const struct gateway *gateway, struct store_read *read, int64_t id, struct request_row *row,
	struct buf *csr, struct err *e)
{
	CLEANUP(buf) struct buf stored = { 0 };
	int found = gateway->store_ops->request_by_id(read, id, row, &stored, e);

	if (found <= 0)
		return found < 0 ? -1 : err_set(e, ERR_DENIED, "no request %lld", (long long)id);
	if (!seal_is(buf_bytes(&stored))) {
		buf_append_bytes(csr, buf_bytes(&stored));
		return buf_failed(csr) ? err_set(e, ERR_NOMEM, "no memory for the request") : 0;
	}
	if (gateway->seal == NULL)
		return err_set(e, ERR_BUG, "there is no key to unseal requests with");
	return seal_open(gateway->seal, bytes_of(row->csr_sha256, sizeof row->csr_sha256), buf_bytes(&stored), csr, e);
}

/* The protocols' own words, and the two of a request that a poll has gone on with. */
static enum enroll_op
op_of(const struct request_row *row)
{
	static const struct {
		const char *word;
		enum enroll_op op;
	} words[] = { { "simpleenroll", ENROLL_NEW }, { "simplereenroll", ENROLL_RENEW }, { "serverkeygen", ENROLL_KEYGEN },
		{ "RenewalReq", ENROLL_RENEW } };
	size_t i;

	for (i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strcmp(words[i].word, row->operation) == 0)
			return words[i].op;
	return row->proof_kind == PROOF_OWN ? ENROLL_RENEW : ENROLL_NEW;
}

static enum est_csr_mode
mode_of(const struct request_row *row, const struct config_label *label)
{
	if (strcmp(row->protocol, "scep") != 0)
		return EST_CSR_PROVEN;
	if ((label->scep_algorithms & SCEP_MD5) != 0)
		return EST_CSR_PROVEN_MD5;
	return (label->scep_algorithms & SCEP_SHA1) != 0 ? EST_CSR_PROVEN_SHA1 : EST_CSR_PROVEN;
}

/* "idevid_serial acme FDO27361XTF", as authentication writes it: the trust set is the second word. */
static void
set_of(const char *proof, char out[REG_TEXT_MAX])
{
	const char *set = strchr(proof, ' ');
	size_t len = set == NULL ? 0 : strcspn(set + 1, " ");

	if (len > 0 && len < REG_TEXT_MAX)
		(void)snprintf(out, REG_TEXT_MAX, "%.*s", (int)len, set + 1);
}

/* A certificate that this very request has replaced was good when it came. */
static int
was_revoked(struct attempt *a, const struct request_row *row, const struct cert_row *cert, bool *out, struct err *e)
{
	struct cert_row made;
	int found;

	*out = cert->status != CERT_VALID;
	if (!*out || row->cert_id == 0)
		return 0;
	found = a->gateway->store_ops->cert_by_id(a->read, row->cert_id, &made, e);
	if (found < 0)
		return -1;
	if (found == 1 && made.replaces_id == cert->id && strcmp(cert->revoke_reason, "superseded") == 0)
		*out = false;
	return 0;
}

/* Who asked: by a certificate of ours its holder, which may be a registrar; else the asset itself. */
static int
take_proof(struct attempt *a, const struct request_row *row, X509 **cert, struct err *e)
{
	CLEANUP(buf) struct buf der = { 0 };
	struct cert_row held;
	int found;

	a->proof.kind = (enum proof_kind)row->proof_kind;
	(void)snprintf(a->proof.text, sizeof a->proof.text, "%s", row->proof);
	if (a->proof.kind == PROOF_CERTIFICATE)
		set_of(row->proof, a->proof_set);
	if (a->proof.kind != PROOF_OWN && a->proof.kind != PROOF_REGISTRAR)
		return 0;
	found = a->gateway->store_ops->cert_by_id(a->read, row->proof_cert_id, &held, e);
	if (found == 1)
		found = a->gateway->store_ops->cert_der(a->read, held.id, &der, e);
	if (found <= 0)
		return found < 0 ? -1 : err_set(e, ERR_DENIED, "the certificate that proved it is not in the registry");
	if (x509_from_der(buf_bytes(&der), cert, e) != 0 || was_revoked(a, row, &held, &a->proof.cert_revoked, e) != 0)
		return -1;
	a->proof.kind = PROOF_OWN; /* attempt_registrar() tells the rest */
	a->proof.cert_id = held.id;
	a->proof.cert_not_after_s = held.not_after_s;
	(void)snprintf(a->proof.cert_profile, sizeof a->proof.cert_profile, "%s", held.profile);
	(void)snprintf(a->proof.cert_label, sizeof a->proof.cert_label, "%s", held.label);
	a->current = *cert;
	return a->gateway->store_ops->asset_by_tag(a->read, held.asset_tag, &a->asset, &a->owner, e) < 0 ? -1 : 0;
}

static int
decide_again(struct attempt *a, struct enroll_request *request, const struct request_row *row, struct err *e)
{
	int found = a->gateway->store_ops->asset_by_tag(a->read, row->asset_tag, &a->asset, &a->owner, e);

	if (found < 0)
		return -1;
	a->asset_matches = found;
	memcpy(a->csr_sha256, row->csr_sha256, sizeof a->csr_sha256);
	if (take_proof(a, row, &request->client_cert, e) != 0)
		return -1;
	found = attempt_decide(a, e);
	return found == 1 ? err_set(e, ERR_UPSTREAM, "a verifier would have to be asked") : found;
}

static void
cannot_decide(const struct err *why, struct decision *out)
{
	*out = (struct decision){ .outcome = OUTCOME_DENIED };
	(void)snprintf(out->reason, sizeof out->reason, "%s", err_code_name(why->code));
	(void)snprintf(out->sentence, sizeof out->sentence, "%.*s", (int)sizeof out->sentence - 1, why->text);
}

bool
replay_is_verdict(enum err_code code)
{
	return code == ERR_MALFORMED || code == ERR_UNSUPPORTED || code == ERR_UNAUTHENTIC || code == ERR_DENIED ||
		code == ERR_LIMIT;
}

int
replay_open(struct gateway *gateway, const struct world *world, struct store_read *read, const struct request_row *row,
	struct bytes csr, int64_t now_s, struct replay *out, struct err *e)
{
	*out = (struct replay){ .request = { .protocol = row->protocol,
		.operation = row->operation,
		.op = op_of(row),
		.label = config_label(world->config, row->label),
		.csr = csr,
		.renewal_names_free = strcmp(row->protocol, "scep") == 0,
		.transaction = row->transaction[0] == '\0' ? NULL : row->transaction,
		.peer = row->peer,
		.now_s = now_s } };
	if (out->request.label == NULL)
		return err_set(e, ERR_DENIED, "there is no label \"%.60s\"", row->label);
	out->request.csr_mode = mode_of(row, out->request.label);
	out->attempt = attempt_begin(gateway, world, &out->request, &out->result);
	if (out->attempt == NULL)
		return err_set(e, ERR_NOMEM, "no memory to decide");
	out->attempt->op = out->request.op;
	out->attempt->explaining = true;
	out->attempt->afresh = row;
	out->attempt->read = read;
	return 0;
}

int
replay_run(struct replay *replay, struct err *e)
{
	return decide_again(replay->attempt, &replay->request, replay->attempt->afresh, e);
}

void
replay_close(struct replay *replay)
{
	attempt_free(replay->attempt);
	X509_free(replay->request.client_cert);
	enroll_result_free(&replay->result);
	*replay = (struct replay){ 0 };
}

int
replay_decide(struct gateway *gateway, const struct world *world, struct store_read *read,
	const struct request_row *row, struct bytes csr, int64_t now_s, struct decision *out, struct err *e)
{
	struct replay replay;
	int result = replay_open(gateway, world, read, row, csr, now_s, &replay, e);

	if (result == 0 && replay.attempt != NULL) {
		result = replay_run(&replay, e);
		*out = replay.attempt->decision;
	}
	if (result != 0 && replay_is_verdict(e->code)) {
		cannot_decide(e, out);
		result = 0;
	}
	replay_close(&replay);
	return result;
}
