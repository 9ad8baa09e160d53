/*
 * decide_rules.h - the parts of one decision. Internal to policy/.
 *
 * Each group of rules appends its results in order. A result starts as a
 * failure, so a rule that forgets to rule has denied.
 */
#ifndef POLICY_DECIDE_RULES_H
#define POLICY_DECIDE_RULES_H

#include <stdarg.h>

#include "policy/decide.h"

#define CSR_EXTENSIONS_MAX 32 /* more in one CSR are refused */
#define EXCEPTIONS_MAX     32 /* bits of exceptions_used; further ones waive nothing */
#define CSR_NAMES_MAX      64 /* attributes in a subject, or SANs; more are refused */

struct decision_run {
	const struct decide_input *in;
	struct decision *out;
	bool one_asset;      /* in->asset and in->owner are there and the only ones */
	bool contract_runs;  /* the owner's contract end, when there is one, is ahead */
	bool leaving_ended;  /* the owner is OFFBOARDING, and its grace is over */
	bool filled;         /* out->spec holds what the profile gives this asset */
	struct err fill_err; /* why not, when one_asset */
};

struct rule_result *rule_begin(struct decision_run *run, const char *rule);
void rule_saw(struct rule_result *result, const char *fmt, ...) PRINTF(2, 3);
void rule_pass(struct rule_result *result);
void rule_skip(struct rule_result *result, const char *why);
/* The first failure's sentence becomes the decision's. */
void rule_fail(struct decision_run *run, struct rule_result *result, const char *fmt, ...) PRINTF(3, 4);
/* The same, but a failure that an exception waives passes, and saw says by which. waives: one EXCEPTION_* bit. */
void rule_fail_unless_waived(struct decision_run *run, struct rule_result *result, unsigned waives,
	const char *fmt, ...) PRINTF(4, 5);
/* The input has one asset, and its owner. */
bool has_one_asset(const struct decide_input *in);
/* The exception in force for this, at best one of those that are used already (bits); NULL: none. */
const struct exception *find_exception(const struct decide_input *in, unsigned used, unsigned waives);
/* What would fail for this reason passes by it, and counts as a use of it. */
void rule_waive(struct decision_run *run, struct rule_result *result, const struct exception *exception,
	const char *why);

/* snprintf that never ends in half a character. */
void text_format(char *out, size_t size, const char *fmt, ...) PRINTF(3, 4);
void text_vformat(char *out, size_t size, const char *fmt, va_list ap) PRINTF(3, 0);

void decide_proof(struct decision_run *run);   /* label.operation proof.* */
void decide_asset(struct decision_run *run);   /* asset.* identity.clone owner.* */
void decide_policy(struct decision_run *run);  /* policy.rules */
void decide_attest(struct decision_run *run);  /* attestation.* */
void decide_renewal(struct decision_run *run); /* renewal.proof renewal.window */
/* csr.key csr.weak csr.reuse csr.extensions csr.names csr.binding request.transaction */
void decide_csr(struct decision_run *run);
void decide_extensions(struct decision_run *run);
void decide_names(struct decision_run *run);
void decide_identity(struct decision_run *run); /* renewal.identity */

#endif
