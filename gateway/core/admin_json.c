#include "gateway/core/admin_json.h"

#include <stdio.h>

#include "base/timefmt.h"

json_t *
json_of_time(int64_t at_s)
{
	char text[TIME_TEXT_MAX];

	if (at_s == 0)
		return json_null();
	time_text(at_s, text);
	return json_string(text);
}

json_t *
json_of_hash(const uint8_t hash[32])
{
	char hex[65];

	hex_encode(bytes_of(hash, 32), hex);
	return json_string(hex);
}

json_t *
json_of_owner(const struct owner *owner)
{
	return json_pack("{s:s, s:s, s:s, s:o, s:s, s:s, s:o}", "name", owner->name, "kind",
		owner_kind_name(owner->kind), "status", owner_status_name(owner->status), "contract_end",
		json_of_time(owner->contract_end_s), "contact", owner->contact, "operators", owner->operators, "leaves",
		json_of_time(owner->status == OWNER_OFFBOARDING ? owner->offboard_end_s : 0));
}

json_t *
json_of_asset(const struct asset *asset, const char *owner)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:i, s:s, s:s, s:I}", "tag",
		asset->tag, "owner", owner, "manufacturer", asset->manufacturer, "model", asset->model, "serial",
		asset->serial, "class", asset->class_name, "site", asset->site, "hostname", asset->hostname, "state",
		asset_state_name(asset->state), "state_since", json_of_time(asset->state_since_s), "holding",
		asset_holding_name(asset->holding), "tier", asset->tier, "source", asset->source, "source_key",
		asset->source_key, "version", (json_int_t)asset->version);
}

json_t *
json_of_anchor(const struct anchor *anchor)
{
	return json_pack("{s:s, s:s, s:s}", "type", anchor_type_name(anchor->type), "issuer", anchor->issuer,
		"value", anchor->value);
}

json_t *
json_of_cert(const struct cert_row *row)
{
	return json_pack(
		"{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:s, s:o, s:s, s:o, s:o, s:I, s:I}", "id",
		(json_int_t)row->id, "serial", row->serial, "asset", row->asset_tag, "subject", row->subject, "sans",
		row->sans, "ca", row->ca, "label", row->label, "profile", row->profile, "not_before",
		json_of_time(row->not_before_s), "not_after", json_of_time(row->not_after_s), "status",
		cert_status_name(row->status), "revoked", json_of_time(row->revoked_s), "revoke_reason",
		row->revoke_reason, "sha256", json_of_hash(row->sha256), "spki_sha256",
		json_of_hash(row->spki_sha256), "replaces", (json_int_t)row->replaces_id, "request",
		(json_int_t)row->request_id);
}

json_t *
json_of_request(const struct request_row *row)
{
	return json_pack(
		"{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:o, s:o, s:s, s:s, s:s, s:s, s:s}", "id",
		(json_int_t)row->id, "asset", row->asset_tag, "state", request_state_name(row->state), "label",
		row->label, "profile", row->profile, "protocol", row->protocol, "operation", row->operation,
		"csr_sha256", json_of_hash(row->csr_sha256), "attempt", (json_int_t)row->attempt, "tries",
		(json_int_t)row->tries, "cert", (json_int_t)row->cert_id, "created", json_of_time(row->created_s),
		"updated", json_of_time(row->updated_s), "peer", row->peer, "proof", row->proof, "reason", row->reason,
		"sentence", row->sentence, "decided_by", row->decided_by);
}

json_t *
json_of_decision(const struct decision_row *row)
{
	json_t *rules = json_loads(row->rules_json, 0, NULL);

	if (rules == NULL)
		rules = json_array();
	return json_pack("{s:I, s:o, s:I, s:I, s:s, s:o, s:s, s:s, s:s, s:o}", "id", (json_int_t)row->id, "at",
		json_of_time(row->at_s), "request", (json_int_t)row->request_id, "asset_version",
		(json_int_t)row->asset_version, "policy_version", row->policy_version, "csr_sha256",
		json_of_hash(row->csr_sha256), "outcome", row->outcome, "reason", row->reason, "sentence",
		row->sentence, "rules", rules);
}

json_t *
json_of_rules(const struct decision *decision, const struct policy_rules *policy)
{
	json_t *rules = json_array();
	struct rule_told told;
	size_t i;

	for (i = 0; i < decision->rule_count; i++)
		(void)json_array_append_new(rules, json_pack("[s, s, s]", decision->rules[i].rule,
							   verdict_name(decision->rules[i].verdict),
							   decision->rules[i].saw));
	for (i = 0; decision_rule(decision, policy, i, &told); i++)
		(void)json_array_append_new(rules, json_pack("[s, s, s]", told.name, verdict_name(told.verdict), told.did));
	return rules;
}

json_t *
json_of_transfer(const struct transfer_row *row)
{
	return json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o}", "id", (json_int_t)row->id,
		"asset", row->asset_tag, "from", row->from_owner, "to", row->to_owner, "state",
		transfer_state_name(row->state), "was", asset_state_name(row->prior_state), "reason", row->reason,
		"offered_by", row->offered_by, "decided_by", row->decided_by, "offered", json_of_time(row->offered_s),
		"expires", json_of_time(row->expires_s), "decided", json_of_time(row->decided_s));
}

/* "attestation,quota" */
static json_t *
json_of_waivers(unsigned waives)
{
	char text[80] = "";
	size_t len = 0;
	unsigned bit;

	for (bit = 1; bit <= EXCEPTION_RENEWAL_WINDOW; bit <<= 1)
		if ((waives & bit) != 0 && len < sizeof text)
			len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", len == 0 ? "" : ",",
				exception_waiver_name(bit));
	return json_string(text);
}

json_t *
json_of_exception(const struct exception_row *row)
{
	return json_pack(
		"{s:I, s:s, s:s, s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:i, s:o, s:o, s:I, s:I}", "id",
		(json_int_t)row->id, "asset", row->asset_tag, "owner", row->owner, "label", row->label, "waives",
		json_of_waivers(row->waives), "reason", row->reason, "ticket", row->ticket, "state",
		exception_state_name(row->state), "requested_by", row->requested_by, "approved_by", row->approved_by,
		"approvals_needed", row->approvals_needed, "created", json_of_time(row->created_s), "expires",
		json_of_time(row->expires_s), "uses", (json_int_t)row->uses, "max_uses", (json_int_t)row->max_uses);
}

json_t *
json_of_quota(const struct quota_row *row)
{
	return json_pack("{s:s, s:s, s:I, s:I}", "owner", row->owner, "profile", row->profile, "limit",
		(json_int_t)row->limit, "used", (json_int_t)row->used);
}

json_t *
json_of_approval(const struct approval_row *row)
{
	return json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:o, s:o, s:o}", "id", (json_int_t)row->id,
		"kind", row->kind, "subject", row->subject, "detail", row->detail, "reason", row->reason, "state",
		approval_state_name(row->state), "requested_by", row->requested_by, "decided_by", row->decided_by,
		"needed", row->needed, "requested", json_of_time(row->requested_s), "expires",
		json_of_time(row->expires_s), "decided", json_of_time(row->decided_s));
}

json_t *
json_of_audit(const struct audit_row *row)
{
	json_t *detail = json_loads(row->detail_json, 0, NULL);

	if (detail == NULL)
		detail = json_string(row->detail_json);
	return json_pack("{s:I, s:o, s:s, s:s, s:s, s:o, s:o}", "seq", (json_int_t)row->seq, "at",
		json_of_time(row->at_s), "actor", row->actor, "action", row->action, "subject", row->subject, "detail",
		detail, "hash", json_of_hash(row->hash));
}

bool
admin_emit_row(struct admin_call *call, json_t *row)
{
	return call->emit(call->emit_arg, json_pack("{s:o}", "row", row));
}

int
snapshot_begin(const struct admin_call *call, struct snapshot *out, struct err *e)
{
	out->ops = call->gateway->store_ops;
	out->read = NULL;
	return out->ops->read_begin(call->gateway->store, &out->read, e);
}
