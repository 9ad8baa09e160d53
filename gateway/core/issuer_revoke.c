/* One certificate that a CA is to revoke, hold, or release: the call, and what the answer means. */
#include <string.h>

#include <openssl/x509v3.h>

#include "gateway/core/issuer_internal.h"
#include "gateway/core/log.h"

#define LATE_CLOCK_S 86400 /* so late may be the clocks of those who rely on a certificate: it has ended for them a day after its end */

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

	if (row->wanted == UPSTREAM_HELD)
		return CRL_REASON_CERTIFICATE_HOLD;
	if (row->wanted == UPSTREAM_GOOD)
		return CRL_REASON_REMOVE_FROM_CRL;
	for (i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
		if (strstr(row->reason, reasons[i].word) != NULL)
			return reasons[i].code;
	return 5; /* cessationOfOperation */
}

static const char *
doing(const struct revocation_row *row)
{
	return row->wanted == UPSTREAM_HELD ? "holding" : row->wanted == UPSTREAM_GOOD ? "releasing" : "revoking";
}

static bool
is_possible(const struct ca_ops *ops, const struct revocation_row *row, struct err *e)
{
	if (ops->revoke == NULL)
		(void)err_set(e, ERR_UNSUPPORTED, "this CA takes no revocations by its protocol");
	else if (row->wanted != UPSTREAM_REVOKED && !ops->holds)
		(void)err_set(e, ERR_UNSUPPORTED, "this CA cannot hold a certificate and release it again");
	return ops->revoke != NULL && (row->wanted == UPSTREAM_REVOKED || ops->holds);
}

/*
 * What the CA takes it for after a call that did not do it. A hold that was refused changed nothing. Without an answer it may have been done:
 * then whatever is wanted next is told, even if it is what was told before. So it is with a release that was refused: it takes more
 * than one message at some CAs, and what was on hold may be good by then.
 */
static enum upstream
told_now(const struct revocation_row *row, const struct err *said)
{
	bool refused = said->code == ERR_DENIED || said->code == ERR_UNSUPPORTED;

	return (refused && row->wanted == UPSTREAM_HELD) || row->wanted == UPSTREAM_REVOKED ? row->told : UPSTREAM_UNSURE;
}

static enum issuer_outcome
outcome_of(const struct revocation_row *row)
{
	return row->wanted == UPSTREAM_HELD ? CALL_HELD : row->wanted == UPSTREAM_GOOD ? CALL_RELEASED : CALL_REVOKED;
}

/*
 * It may issue, though it does not take this: our role there may not revoke, or it does not know the certificate. Revocations come first, and
 * a few that it never takes would keep the breaker open.
 */
static enum guard_call
guard_call_of(const struct issuer_job *job)
{
	struct err e;

	return job->ca->ops->check(job->ca->ca, &e) == 0 ? GUARD_REACHED : GUARD_FAILED;
}

/*
 * RFC 5280, section 3.3: "An entry MUST NOT be removed from the CRL until it appears on one regularly scheduled CRL issued beyond the
 * revoked certificate's validity period." Past it a CA has no entry to make, and many refuse. What cannot be read has no end.
 */
static bool
has_ended(const struct issuer_job *job, int64_t *not_after_s)
{
	CLEANUP(X509) X509 *cert = NULL;
	int64_t not_before_s;
	struct err e;

	return job->cert.len != 0 && x509_from_der(buf_bytes(&job->cert), &cert, &e) == 0 &&
		x509_validity(cert, &not_before_s, not_after_s, &e) == 0 && *not_after_s < job->now_s - LATE_CLOCK_S;
}

static enum revocation_end
end_of(const struct issuer_job *job, const struct err *said, int64_t *ended_s)
{
	if (said->code == ERR_UNSUPPORTED)
		return REVOCATION_IMPOSSIBLE;
	return said->code == ERR_DENIED && has_ended(job, ended_s) ? REVOCATION_SETTLED : REVOCATION_LATER;
}

static void
failed(struct issuer_job *job, const struct err *said, struct revocation_step *s)
{
	const struct revocation_row *row = &job->revocation;

	job->outcome = CALL_REVOKE_FAILED;
	if (said->code != ERR_UNSUPPORTED && said->code != ERR_DENIED && said->code != ERR_PENDING)
		job->call = guard_call_of(job);
	s->to = end_of(job, said, &s->ended_s);
	s->told = told_now(row, said);
	s->error = said->text;
	s->refused = said->code == ERR_DENIED;
	s->next_try_s = s->to == REVOCATION_LATER ? job->now_s + backoff_s(ISSUER_RETRY_S, row->tries + 1, ISSUER_REVOKE_MAX_S) : 0;
	log_rare(LOG_LEVEL_ERROR, "ca", "%s: %s %s: %s%s", row->ca, doing(row), row->serial, said->text,
		s->to == REVOCATION_SETTLED ? "; it has ended, so nothing is owed any more" : "");
}

static int
record(struct issuer_job *job, const struct revocation_step *s, struct err *e)
{
	job->next_try_s = s->next_try_s;
	return job->gateway->store_ops->intents->revocation_step(job->gateway->store, s, e);
}

int
issuer_carry_out_revocation(struct issuer_job *job, struct err *e)
{
	const struct ca_ops *ops = job->ca->ops;
	const struct intent_ops *intents = job->gateway->store_ops->intents;
	const struct revocation_row *row = &job->revocation;
	struct revocation_step s = { .id = row->id, .wanted = row->wanted, .to = REVOCATION_DONE, .now_s = job->now_s };
	struct err said = { 0 };
	bool begun = true;

	job->call = GUARD_NOT_MADE;
	job->counted = false;
	if (!is_possible(ops, row, &said)) {
		failed(job, &said, &s);
		return record(job, &s, e);
	}
	if (row->wanted != UPSTREAM_REVOKED &&
	    intents->revocation_begin(job->gateway->store, row->id, row->wanted, &begun, e) != 0)
		return -1;
	if (!begun) { /* it has changed since it was read: it is read again */
		job->next_try_s = job->now_s;
		return 0;
	}
	job->call = GUARD_ANSWERED;
	job->counted = true;
	job->outcome = outcome_of(row);
	if (ops->revoke(job->ca->ca, row->serial, buf_bytes(&job->cert), reason_of(row), job->now_s, &said) != 0)
		failed(job, &said, &s);
	return record(job, &s, e);
}
