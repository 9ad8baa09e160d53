/*
 * outcome.h - what every protocol's handler does with an outcome: encode it, say it, log it.
 */
#ifndef GATEWAY_CORE_OUTCOME_H
#define GATEWAY_CORE_OUTCOME_H

#include "gateway/core/enroll.h"
#include "gateway/core/log.h"

/*
 * A certs-only message (DER, appended) of the issued certificate, and of so many of the chain above it, issuer first: of the
 * CA that issued it, which is not the label's while one generation follows another.
 */
MUST_USE int outcome_certs(const struct world *world, const struct config_label *label, const struct enroll_result *result,
	int above, struct buf *out, struct err *e);

/* What of an outcome is anybody's business: its category, and the number an operator can look up. */
#define OUTCOME_TEXT_MAX (ERR_TEXT_MAX + 64)
void outcome_public_text(const struct enroll_result *result, char out[OUTCOME_TEXT_MAX]);

/*
 * The log line of one enrollment. done: what a success is called ("issued"). status: the
 * protocol's own number. more: fields of the protocol's own, put before the outcome.
 */
#define OUTCOME_FIELDS_MAX 8
struct outcome_log {
	const char *protocol, *operation, *peer, *done;
	const struct config_label *label;
	int status;
	int64_t began_us;
	const struct log_field *more;
	int more_count;
};
void outcome_log(const struct outcome_log *line, const struct enroll_result *result);

#endif
