/*
 * An MDM that vouched for a device is told what came of it, also when nobody waited for the end: whoever comes back for it is answered
 * as one who asks again, and tells nobody.
 */
#include <stdio.h>

#include "gateway/core/enroll_internal.h"
#include "gateway/core/issuer_internal.h"
#include "gateway/core/log.h"
#include "gateway/core/replay.h"

/* The request as it was stored, as far as it is told of. */
static int
open_request(const struct issuer_job *job, struct request_row *row, struct buf *csr, struct replay *out, struct err *e)
{
	struct gateway *gateway = job->gateway;
	struct store_read *read = NULL;
	int result;

	if (gateway->store_ops->read_begin(gateway->store, &read, e) != 0)
		return -1;
	result = replay_load(gateway, read, job->request_id, row, csr, e);
	gateway->store_ops->read_end(read);
	if (result != 0 || replay_open(gateway, job->world, NULL, row, buf_bytes(csr), job->now_s, out, e) != 0)
		return -1;
	out->request.csr_mode = EST_CSR_STORED;
	return attempt_decode(out->attempt, e);
}

void
issuer_tell_mdm(const struct issuer_job *job)
{
	struct replay replay = { 0 };
	struct buf csr = { 0 };
	struct request_row row;
	struct err e = { 0 };

	if (open_request(job, &row, &csr, &replay, &e) != 0)
		log_rare(LOG_LEVEL_WARN, "mdm", "of request %lld nobody was told: %s", (long long)job->request_id, e.text);
	else {
		struct attempt *a = replay.attempt;

		a->proof.kind = PROOF_MDM;
		a->asset_matches = 1;
		(void)snprintf(a->asset.tag, sizeof a->asset.tag, "%s", row.asset_tag);
		attempt_conclude(a, job->refused ? ERR_DENIED : ERR_NONE, "", "");
		a->result->request_id = row.id;
		a->result->cert = job->given;
		attempt_tell_mdm(a);
		a->result->cert = (struct buf){ 0 };
	}
	replay_close(&replay);
	buf_free_secret(&csr);
}
