/*
 * replay.h - a stored request, decided once more as if it had never been answered.
 *
 * On the same facts: its CSR, label, operation, what proved it, its evidence as it was judged, its peer; and on the
 * registry of the snapshot. Approvals and rules' limits are left aside: they are not the request's. Nothing is
 * issued, recorded or counted, and nobody is called.
 */
#ifndef GATEWAY_CORE_REPLAY_H
#define GATEWAY_CORE_REPLAY_H

#include "gateway/core/enroll.h"

/* Its CSR, unsealed. ERR_DENIED: there is no such request. */
MUST_USE int replay_load(const struct gateway *gateway, struct store_read *read, int64_t id, struct request_row *row,
	struct buf *csr, struct err *e);

/*
 * by the configuration of world, at now_s. A request that this configuration cannot even decide (its label is gone, its
 * CSR is no longer taken) is denied in *out, with the reason's kind of mistake. -1 *e: the store did not answer.
 */
MUST_USE int replay_decide(struct gateway *gateway, const struct world *world, struct store_read *read,
	const struct request_row *row, struct bytes csr, int64_t now_s, struct decision *out, struct err *e);

/*
 * The same step by step, for what goes on with the decision: open, run, close. attempt->decision is there when run gives 0;
 * row and csr must
 * outlive it. close() follows whatever open() gave.
 */
struct attempt;
struct replay {
	struct enroll_request request;
	struct enroll_result result;
	struct attempt *attempt;
};
MUST_USE int replay_open(struct gateway *gateway, const struct world *world, struct store_read *read,
	const struct request_row *row, struct bytes csr, int64_t now_s, struct replay *out, struct err *e);
MUST_USE int replay_run(struct replay *replay, struct err *e);
void replay_close(struct replay *replay);
bool replay_is_verdict(enum err_code code); /* of a failure: the request cannot be decided, rather than not now */

#endif
