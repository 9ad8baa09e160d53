#include "gateway/store/sqlite_internal.h"

/* The order of calls is the order of the *_COLUMNS texts. */

void
row_asset(struct query *q, struct asset *out)
{
	out->id = query_get_int(q);
	query_get_text(q, out->tag, sizeof out->tag);
	out->owner_id = query_get_int(q);
	query_get_text(q, out->manufacturer, sizeof out->manufacturer);
	query_get_text(q, out->model, sizeof out->model);
	query_get_text(q, out->serial, sizeof out->serial);
	query_get_text(q, out->class_name, sizeof out->class_name);
	query_get_text(q, out->site, sizeof out->site);
	query_get_text(q, out->hostname, sizeof out->hostname);
	query_get_text(q, out->source, sizeof out->source);
	query_get_text(q, out->source_key, sizeof out->source_key);
	out->state = (enum asset_state)query_get_int(q);
	out->prior_state = (enum asset_state)query_get_int(q);
	out->holding = (enum asset_holding)query_get_int(q);
	out->tier = (int)query_get_int(q);
	out->version = query_get_int(q);
	out->state_since_s = query_get_int(q);
	out->created_s = query_get_int(q);
}

void
row_owner(struct query *q, struct owner *out)
{
	out->id = query_get_int(q);
	query_get_text(q, out->name, sizeof out->name);
	out->kind = (enum owner_kind)query_get_int(q);
	out->status = (enum owner_status)query_get_int(q);
	out->contract_end_s = query_get_int(q);
	query_get_text(q, out->contact, sizeof out->contact);
	out->offboard_end_s = query_get_int(q);
	query_get_text(q, out->operators, sizeof out->operators);
}

void
row_cert(struct query *q, struct cert_row *out)
{
	out->id = query_get_int(q);
	out->asset_id = query_get_int(q);
	out->request_id = query_get_int(q);
	query_get_text(q, out->asset_tag, sizeof out->asset_tag);
	query_get_text(q, out->ca, sizeof out->ca);
	query_get_text(q, out->label, sizeof out->label);
	query_get_text(q, out->profile, sizeof out->profile);
	query_get_text(q, out->serial, sizeof out->serial);
	query_get_text(q, out->subject, sizeof out->subject);
	query_get_text(q, out->sans, sizeof out->sans);
	query_get_blob(q, out->sha256, sizeof out->sha256);
	query_get_blob(q, out->spki_sha256, sizeof out->spki_sha256);
	out->not_before_s = query_get_int(q);
	out->not_after_s = query_get_int(q);
	out->status = (enum cert_status)query_get_int(q);
	out->revoked_s = query_get_int(q);
	query_get_text(q, out->revoke_reason, sizeof out->revoke_reason);
	out->replaces_id = query_get_int(q);
}

void
row_request(struct query *q, struct request_row *out)
{
	out->id = query_get_int(q);
	out->asset_id = query_get_int(q);
	query_get_text(q, out->asset_tag, sizeof out->asset_tag);
	query_get_text(q, out->label, sizeof out->label);
	query_get_text(q, out->profile, sizeof out->profile);
	query_get_text(q, out->protocol, sizeof out->protocol);
	query_get_text(q, out->operation, sizeof out->operation);
	query_get_blob(q, out->csr_sha256, sizeof out->csr_sha256);
	query_get_blob(q, out->spki_sha256, sizeof out->spki_sha256);
	query_get_text(q, out->transaction, sizeof out->transaction);
	out->attempt = query_get_int(q);
	out->state = (enum request_state)query_get_int(q);
	out->cert_id = query_get_int(q);
	out->decision_id = query_get_int(q);
	out->tries = query_get_int(q);
	out->created_s = query_get_int(q);
	out->updated_s = query_get_int(q);
	query_get_text(q, out->peer, sizeof out->peer);
	query_get_text(q, out->proof, sizeof out->proof);
	out->proof_kind = (int)query_get_int(q);
	out->attested = query_get_int(q) != 0;
	out->secret_id = query_get_int(q);
	out->proof_cert_id = query_get_int(q);
	query_get_text(q, out->reason, sizeof out->reason);
	query_get_text(q, out->sentence, sizeof out->sentence);
	query_get_text(q, out->decided_by, sizeof out->decided_by);
}

void
row_decision(struct query *q, struct decision_row *out)
{
	out->id = query_get_int(q);
	out->at_s = query_get_int(q);
	out->request_id = query_get_int(q);
	out->asset_id = query_get_int(q);
	out->asset_version = query_get_int(q);
	query_get_text(q, out->policy_version, sizeof out->policy_version);
	query_get_blob(q, out->csr_sha256, sizeof out->csr_sha256);
	query_get_text(q, out->outcome, sizeof out->outcome);
	query_get_text(q, out->reason, sizeof out->reason);
	query_get_text(q, out->sentence, sizeof out->sentence);
	out->rules_json = query_get0_text(q);
}

void
row_secret(struct query *q, struct secret_row *out)
{
	out->id = query_get_int(q);
	out->asset_id = query_get_int(q);
	out->once = query_get_int(q) != 0;
	query_get_text(q, out->label, sizeof out->label);
	query_get_text(q, out->protocol, sizeof out->protocol);
	query_get_blob(q, out->salt, sizeof out->salt);
	query_get_blob(q, out->hash, sizeof out->hash);
	out->created_s = query_get_int(q);
	out->expires_s = query_get_int(q);
	out->used_s = query_get_int(q);
	out->used_request_id = query_get_int(q);
}
