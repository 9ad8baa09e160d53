/* One revocation that a CA is to be told of: the call, and what the answer means. */
#include <string.h>

#include "gateway/core/issuer_internal.h"
#include "gateway/core/log.h"

/*
 * RFC 5280, section 5.3.1: "the reason code CRL entry extension SHOULD be absent instead of using the unspecified (0)
 * reasonCode value". What left its owner's hands may be in somebody's; all else is not needed any more.
 */
static int
reason_of(const struct revocation_row *row)
{
	static const struct {
		const char *word;
		int code;
	} reasons[] = { { "superseded", 4 }, { "stolen", 1 }, { "lost", 1 }, { "compromise", 1 } };
	size_t i;

	for (i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
		if (strstr(row->reason, reasons[i].word) != NULL)
			return reasons[i].code;
	return 5; /* cessationOfOperation */
}

int
issuer_carry_out_revocation(struct issuer_job *job, struct err *e)
{
	const struct ca_ops *ops = job->ca->ops;
	struct revocation_step s = { .id = job->revocation.id, .to = REVOCATION_DONE, .now_s = job->now_s };
	struct err said = { 0 };
	int rc = ops->revoke == NULL ? err_set(&said, ERR_UNSUPPORTED, "this CA takes no revocations by its protocol")
				     : ops->revoke(job->ca->ca, job->revocation.serial, buf_bytes(&job->cert),
					       reason_of(&job->revocation), job->now_s, &said);

	job->call = ops->revoke == NULL ? GUARD_NOT_MADE : GUARD_ANSWERED;
	job->counted = ops->revoke != NULL;
	job->outcome = rc == 0 ? CALL_REVOKED : CALL_REVOKE_FAILED;
	job->next_try_s = 0;
	if (rc != 0) {
		bool never = said.code == ERR_UNSUPPORTED;

		job->call = never || said.code == ERR_DENIED ? job->call : GUARD_FAILED;
		s.to = never ? REVOCATION_IMPOSSIBLE : REVOCATION_LATER;
		s.error = said.text;
		s.next_try_s = never ? 0 : job->now_s + backoff_s(ISSUER_RETRY_S, job->revocation.tries + 1,
							ISSUER_REVOKE_MAX_S);
		job->next_try_s = s.next_try_s;
		log_rare(LOG_LEVEL_ERROR, "ca", "%s: revoking %s: %s", job->revocation.ca, job->revocation.serial, said.text);
	}
	return job->gateway->store_ops->intents->revocation_step(job->gateway->store, &s, e);
}
