#include <stdio.h>
#include <string.h>

#include "gateway/core/enroll_internal.h"

static bool
keep_newest(void *arg, const struct cert_row *row)
{
	*(struct cert_row *)arg = *row;
	return true;
}

/* The certificate the device would present: its newest valid one. */
static int
load_own(struct attempt *a, X509 **cert, struct err *e)
{
	const struct store_ops *ops = a->gateway->store_ops;
	CLEANUP(buf) struct buf der = { 0 };
	struct cert_filter filter = { .status = CERT_VALID, .asset_tag = a->asset.tag };
	struct cert_row row = { 0 };

	if (ops->cert_list(a->read, &filter, keep_newest, &row, e) != 0)
		return -1;
	if (row.id == 0)
		return err_set(e, ERR_DENIED, "asset %.100s has no valid certificate to renew with", a->asset.tag);
	if (ops->cert_der(a->read, row.id, &der, e) != 1)
		return err_set(e, ERR_UPSTREAM, "certificate %s cannot be read", row.serial);
	a->proof.cert_id = row.id;
	a->proof.cert_not_after_s = row.not_after_s;
	(void)snprintf(a->proof.cert_profile, sizeof a->proof.cert_profile, "%s", row.profile);
	return x509_from_der(buf_bytes(&der), cert, e);
}

static int
explain(struct attempt *a, struct enroll_request *request, const char *asset_tag, struct err *e)
{
	int found = a->gateway->store_ops->asset_by_tag(a->read, asset_tag, &a->asset, &a->owner, e);

	if (found <= 0)
		return found < 0 ? -1 : err_set(e, ERR_DENIED, "no asset \"%.100s\"", asset_tag);
	a->asset_matches = 1;
	if (a->proof.kind == PROOF_OWN && load_own(a, &request->client_cert, e) != 0)
		return -1;
	if (sha256(request->csr, a->csr_sha256, e) != 0)
		return -1;
	return attempt_decide(a, e);
}

int
enroll_explain(struct gateway *gateway, const struct world *world, const struct enroll_request *request,
	const char *asset_tag, enum proof_kind proof, struct decision *out, struct err *e)
{
	struct enroll_request copy = *request;
	struct enroll_result unused = { 0 };
	struct attempt a = { .gateway = gateway, .world = world, .request = &copy, .result = &unused };
	int result;

	copy.client_cert = NULL;
	copy.binding = NULL;
	a.profile = config_profile(world->config, request->label->profile);
	a.proof.kind = proof;
	(void)snprintf(a.proof.text, sizeof a.proof.text, "supposed by explain");
	if (gateway->store_ops->read_begin(gateway->store, &a.read, e) != 0)
		return -1;
	result = explain(&a, &copy, asset_tag, e);
	gateway->store_ops->read_end(a.read);
	if (result == 0)
		*out = a.decision;
	est_csr_free(a.csr);
	GENERAL_NAMES_free(a.csr_sans);
	GENERAL_NAMES_free(a.current_sans);
	X509_free(copy.client_cert);
	return result;
}
