#include <stdio.h>
#include <string.h>

#include "gateway/core/enroll_internal.h"

/* The certificate the device would present: its newest valid one. */
static int
load_own(struct attempt *a, X509 **cert, struct err *e)
{
	struct cert_row row;
	int found = attempt_newest_cert(a, &row, cert, e);

	if (found <= 0)
		return found < 0 ? -1 : err_set(e, ERR_DENIED, "asset %.100s has no valid certificate to renew with",
						a->asset.tag);
	a->proof.cert_id = row.id;
	a->proof.cert_not_after_s = row.not_after_s;
	(void)snprintf(a->proof.cert_profile, sizeof a->proof.cert_profile, "%s", row.profile);
	(void)snprintf(a->proof.cert_label, sizeof a->proof.cert_label, "%s", row.label);
	return 0;
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
	a->current = request->client_cert;
	if (sha256(request->csr, a->csr_sha256, e) != 0)
		return -1;
	return attempt_decide(a, e);
}

int
enroll_explain(struct gateway *gateway, const struct world *world, const struct enroll_request *request,
	const char *asset_tag, enum proof_kind proof, struct decision *out, struct err *e)
{
	struct enroll_request copy = *request;
	struct enroll_result unused;
	struct attempt *a;
	int result;

	copy.client_cert = NULL;
	copy.binding = NULL;
	a = attempt_begin(gateway, world, &copy, &unused);
	if (a == NULL)
		return err_set(e, ERR_NOMEM, "no memory to explain");
	a->op = request->op;
	a->explaining = true;
	a->proof.kind = proof;
	(void)snprintf(a->proof.text, sizeof a->proof.text, "supposed by explain");
	result = gateway->store_ops->read_begin(gateway->store, &a->read, e);
	if (result == 0)
		result = explain(a, &copy, asset_tag, e);
	gateway->store_ops->read_end(a->read);
	if (result == 0)
		*out = a->decision;
	attempt_free(a);
	X509_free(copy.client_cert);
	return result;
}
