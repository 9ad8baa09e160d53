#include "gateway/core/admin_json.h"

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
	return json_pack("{s:s, s:s, s:s, s:o, s:s}", "name", owner->name, "kind", owner_kind_name(owner->kind),
		"status", owner_status_name(owner->status), "contract_end", json_of_time(owner->contract_end_s),
		"contact", owner->contact);
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
