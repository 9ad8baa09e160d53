/* Assets. */
#include <stdio.h>
#include <string.h>

#include "gateway/core/admin_json.h"

struct paging {
	struct admin_call *call;
	int64_t last_id;
	int64_t left;  /* rows still wanted; -1: all */
	int rows;      /* of this page */
	bool gone;
};

static bool
emit_asset(void *arg, const struct asset_summary *row)
{
	struct paging *paging = arg;
	json_t *json = json_of_asset(&row->asset, row->owner);

	(void)json_object_set_new(json, "certs_valid", json_integer((json_int_t)row->certs_valid));
	(void)json_object_set_new(json, "next_expiry", json_of_time(row->next_expiry_s));
	paging->last_id = row->asset.id;
	paging->rows++;
	if (paging->left > 0)
		paging->left--;
	paging->gone = !admin_emit_row(paging->call, json);
	return !paging->gone && paging->left != 0;
}

/* Page by page, a snapshot each, so that a long list never holds back the write-ahead log. */
int
admin_asset_list(struct admin_call *call, struct err *e)
{
	struct asset_filter filter = { .state = -1,
		.tag = admin_text_or(call, "tag", NULL),
		.owner = admin_text_or(call, "owner", NULL) };
	int64_t limit = admin_int_or(call, "limit", 0);
	struct paging paging = { .call = call, .left = limit > 0 ? limit : -1 };
	const char *state = admin_text_or(call, "state", NULL);

	if (state != NULL && admin_named("an asset state", asset_state_of, state, &filter.state, e) != 0)
		return -1;
	do {
		CLEANUP(snapshot) struct snapshot s = { 0 };

		paging.rows = 0;
		if (snapshot_begin(call, &s, e) != 0 ||
		    s.ops->asset_list(s.read, &filter, call->now_s, emit_asset, &paging, e) != 0)
			return -1;
		filter.after_id = paging.last_id;
	} while (paging.rows > 0 && paging.left != 0 && !paging.gone);
	return 0;
}

static bool
collect_anchor(void *arg, const struct anchor *row)
{
	return json_array_append_new(arg, json_of_anchor(row)) == 0;
}

static bool
collect_cert(void *arg, const struct cert_row *row)
{
	return json_array_append_new(arg, json_of_cert(row)) == 0;
}

int
admin_asset_show(struct admin_call *call, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };
	struct cert_filter filter = { .status = -1, .limit = 100 };
	struct asset asset;
	struct owner owner;
	json_t *anchors, *certs, *knows;
	int found;

	if (admin_text(call, "tag", &filter.asset_tag, e) != 0 || snapshot_begin(call, &s, e) != 0)
		return -1;
	found = s.ops->asset_by_tag(s.read, filter.asset_tag, &asset, &owner, e);
	if (found <= 0)
		return found < 0 ? -1 : err_set(e, ERR_DENIED, "no asset \"%.100s\"", filter.asset_tag);
	call->result = json_of_asset(&asset, owner.name);
	anchors = json_array();
	certs = json_array();
	knows = json_array();
	(void)json_object_set_new(call->result, "anchors", anchors);
	(void)json_object_set_new(call->result, "certs", certs);
	(void)json_object_set_new(call->result, "knows", knows);
	if (s.ops->anchor_list(s.read, asset.id, collect_anchor, anchors, e) != 0 ||
	    admin_collect_known(&s, asset.id, knows, e) != 0)
		return -1;
	return s.ops->cert_list(s.read, &filter, collect_cert, certs, e);
}

/* Its present state; the store looks again when it moves. */
static int
state_of(const struct admin_call *call, const char *tag, enum asset_state *out, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };
	struct asset asset;
	struct owner owner;
	int found;

	if (snapshot_begin(call, &s, e) != 0)
		return -1;
	found = s.ops->asset_by_tag(s.read, tag, &asset, &owner, e);
	if (found <= 0)
		return found < 0 ? -1 : err_set(e, ERR_DENIED, "no asset \"%.100s\"", tag);
	*out = asset.state;
	return 0;
}

/* Four eyes: it is asked for, and a second operator has to say yes. */
static int
ask_for_state(struct admin_call *call, const char *tag, enum asset_state to, const char *reason, struct err *e)
{
	struct world *world = world_get();
	int64_t expires_s = call->now_s + world->config->approval_life_s, id = 0;

	world_put(world);
	if (call->gateway->store_ops->asset_ask_state(call->gateway->store, tag, to, reason, call->actor, call->now_s,
		    expires_s, &id, e) != 0)
		return -1;
	call->result = json_pack("{s:s, s:s, s:b, s:I, s:o}", "tag", tag, "state", asset_state_name(to), "waits", 1,
		"approval", (json_int_t)id, "expires", json_of_time(expires_s));
	return 0;
}

int
admin_asset_set_state(struct admin_call *call, struct err *e)
{
	const char *tag, *text, *reason;
	enum asset_state from;
	int64_t revoked = 0;
	int state = 0;

	if (admin_text(call, "tag", &tag, e) != 0 || admin_text(call, "state", &text, e) != 0 ||
	    admin_text(call, "reason", &reason, e) != 0 ||
	    admin_named("an asset state", asset_state_of, text, &state, e) != 0 || state_of(call, tag, &from, e) != 0)
		return -1;
	if (asset_state_move(from, (enum asset_state)state, e) != 0)
		return -1;
	if (asset_state_move_four_eyes(from, (enum asset_state)state))
		return ask_for_state(call, tag, (enum asset_state)state, reason, e);
	if (call->gateway->store_ops->asset_set_state(call->gateway->store, tag, (enum asset_state)state, reason,
		    call->actor, call->now_s, &revoked, e) != 0)
		return -1;
	call->result = json_pack("{s:s, s:s, s:I}", "tag", tag, "state", text, "revoked", (json_int_t)revoked);
	return 0;
}

int
admin_asset_forget_key(struct admin_call *call, struct err *e)
{
	const char *tag, *reason;

	if (admin_text(call, "tag", &tag, e) != 0 || admin_text(call, "reason", &reason, e) != 0 ||
	    call->gateway->store_ops->anchor_forget_key(call->gateway->store, tag, reason, call->actor, call->now_s, e) != 0)
		return -1;
	call->result = json_pack("{s:s, s:s}", "tag", tag, "state", "its key is forgotten: the next one is remembered");
	return 0;
}
