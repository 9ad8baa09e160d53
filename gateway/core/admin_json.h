/*
 * admin_json.h - rows of the store as JSON objects, the same in lists and in "show".
 */
#ifndef GATEWAY_CORE_ADMIN_JSON_H
#define GATEWAY_CORE_ADMIN_JSON_H

#include <jansson.h>

#include "gateway/core/admin.h"
#include "policy/decide.h"

json_t *json_of_owner(const struct owner *owner);
json_t *json_of_asset(const struct asset *asset, const char *owner);
json_t *json_of_anchor(const struct anchor *anchor);
json_t *json_of_cert(const struct cert_row *row);
json_t *json_of_request(const struct request_row *row);
json_t *json_of_decision(const struct decision_row *row);
json_t *json_of_rules(const struct decision *decision, const struct policy_rules *rules);
json_t *json_of_transfer(const struct transfer_row *row);
json_t *json_of_exception(const struct exception_row *row);
json_t *json_of_quota(const struct quota_row *row);
json_t *json_of_approval(const struct approval_row *row);
json_t *json_of_audit(const struct audit_row *row);
/* "2026-11-21T07:25:00Z", or null for 0. */
json_t *json_of_time(int64_t at_s);
json_t *json_of_hash(const uint8_t hash[32]);

/* Emits {"row": row}; for list callbacks, whose arg is the call. */
bool admin_emit_row(struct admin_call *call, json_t *row);

/* A snapshot that ends by itself; *e on failure. */
struct snapshot {
	const struct store_ops *ops;
	struct store_read *read;
};
MUST_USE int snapshot_begin(const struct admin_call *call, struct snapshot *out, struct err *e);
static inline void
snapshot_auto(struct snapshot *snapshot)
{
	if (snapshot->read != NULL)
		snapshot->ops->read_end(snapshot->read);
}

/* admin_ca_rollover.c: appends which configured CAs the asset knows, since when and how it got to. */
MUST_USE int admin_collect_known(const struct snapshot *s, int64_t asset_id, json_t *out, struct err *e);

#endif
