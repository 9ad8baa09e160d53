/* Owners: put, list, leave, and what becomes of what they have. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/timefmt.h"
#include "gateway/core/admin_json.h"
#include "gateway/core/sweep.h"

struct owner_search {
	struct owner *owner;
	bool found;
};

static bool
keep_owner(void *arg, const struct owner *row)
{
	struct owner_search *search = arg;

	if (strcmp(search->owner->name, row->name) != 0)
		return true;
	*search->owner = *row;
	search->found = true;
	return false;
}

/* What is not said stays as it is: a new contact must not make a suspended owner active again. 1, 0: a new one, -1. */
static int
present_owner(const struct admin_call *call, struct owner *owner, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };
	struct owner_search search = { .owner = owner };

	if (snapshot_begin(call, &s, e) != 0 || s.ops->owner_list(s.read, keep_owner, &search, e) != 0)
		return -1;
	return search.found ? 1 : 0;
}

static int
set_text(const struct admin_call *call, const char *key, char *out, size_t size, struct err *e)
{
	const char *text = admin_text_or(call, key, NULL);

	if (text == NULL)
		return 0;
	return text_copy(out, size, bytes_of_text(strcmp(text, "none") == 0 ? "" : text), key, e);
}

int
admin_owner_put(struct admin_call *call, struct err *e)
{
	struct owner owner = { .kind = OWNER_INTERNAL, .status = OWNER_ACTIVE };
	const char *name, *end = admin_text_or(call, "contract_end", NULL);
	int kind = 0, status = 0;

	if (admin_text(call, "name", &name, e) != 0 ||
	    text_copy(owner.name, sizeof owner.name, bytes_of_text(name), "name", e) != 0 ||
	    present_owner(call, &owner, e) < 0 ||
	    admin_named("an owner kind (internal, partner, customer)", owner_kind_of,
		    admin_text_or(call, "kind", owner_kind_name(owner.kind)), &kind, e) != 0 ||
	    admin_named("an owner status (active, suspended, offboarding, offboarded)", owner_status_of,
		    admin_text_or(call, "status", owner_status_name(owner.status)), &status, e) != 0)
		return -1;
	if (set_text(call, "contact", owner.contact, sizeof owner.contact, e) != 0 ||
	    set_text(call, "operators", owner.operators, sizeof owner.operators, e) != 0)
		return -1;
	if (end != NULL && strcmp(end, "none") == 0)
		owner.contract_end_s = 0;
	else if (end != NULL && time_parse(end, &owner.contract_end_s, e) != 0)
		return -1;
	owner.kind = (enum owner_kind)kind;
	owner.status = (enum owner_status)status;
	if (call->gateway->store_ops->owner_put(call->gateway->store, &owner, call->actor, call->now_s, e) != 0)
		return -1;
	call->result = json_of_owner(&owner);
	return 0;
}

static bool
emit_owner(void *arg, const struct owner *row)
{
	return admin_emit_row(arg, json_of_owner(row));
}

int
admin_owner_list(struct admin_call *call, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };

	if (snapshot_begin(call, &s, e) != 0)
		return -1;
	return s.ops->owner_list(s.read, emit_owner, call, e);
}

/* What an owner has. */
struct holdings {
	int64_t assets, certs, by_state[ASSET_STATES];
	int64_t last_expiry_s;
	int64_t last_id;
	int rows; /* of this page */
};

static bool
count_asset(void *arg, const struct asset_summary *row)
{
	struct holdings *h = arg;

	h->assets++;
	h->certs += row->certs_valid;
	if ((unsigned)row->asset.state < ASSET_STATES)
		h->by_state[row->asset.state]++;
	if (row->next_expiry_s > h->last_expiry_s)
		h->last_expiry_s = row->next_expiry_s;
	h->last_id = row->asset.id;
	h->rows++;
	return true;
}

static int
count_holdings(struct admin_call *call, const char *owner, struct holdings *h, struct err *e)
{
	struct asset_filter filter = { .state = -1, .owner = owner };

	do {
		CLEANUP(snapshot) struct snapshot s = { 0 };

		h->rows = 0;
		if (snapshot_begin(call, &s, e) != 0 ||
		    s.ops->asset_list(s.read, &filter, call->now_s, count_asset, h, e) != 0)
			return -1;
		filter.after_id = h->last_id;
	} while (h->rows > 0);
	return 0;
}

/* Rows that concern one owner, as an array. */
struct concerning {
	const char *owner;
	json_t *rows;
};

static bool
collect_transfer(void *arg, const struct transfer_row *row)
{
	struct concerning *c = arg;

	if (strcmp(row->from_owner, c->owner) == 0 || strcmp(row->to_owner, c->owner) == 0)
		(void)json_array_append_new(c->rows, json_of_transfer(row));
	return true;
}

static bool
collect_exception(void *arg, const struct exception_row *row)
{
	struct concerning *c = arg;

	if (strcmp(row->owner, c->owner) == 0)
		(void)json_array_append_new(c->rows, json_of_exception(row));
	return true;
}

static bool
collect_quota(void *arg, const struct quota_row *row)
{
	struct concerning *c = arg;

	(void)json_array_append_new(c->rows, json_of_quota(row));
	return true;
}

static json_t *
json_of_states(const struct holdings *h)
{
	json_t *states = json_object();
	size_t i;

	for (i = 0; i < ASSET_STATES; i++)
		if (h->by_state[i] != 0)
			(void)json_object_set_new(states, asset_state_name((enum asset_state)i),
				json_integer((json_int_t)h->by_state[i]));
	return states;
}

static int
add_open(struct admin_call *call, const struct owner *owner, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };
	struct concerning transfers = { owner->name, json_array() };
	struct concerning exceptions = { owner->name, json_array() };
	struct concerning quotas = { owner->name, json_array() };

	(void)json_object_set_new(call->result, "transfers", transfers.rows);
	(void)json_object_set_new(call->result, "exceptions", exceptions.rows);
	(void)json_object_set_new(call->result, "quotas", quotas.rows);
	if (snapshot_begin(call, &s, e) != 0 ||
	    s.ops->transfer_list(s.read, NULL, true, call->now_s, collect_transfer, &transfers, e) != 0 ||
	    s.ops->exception_list(s.read, NULL, true, call->now_s, collect_exception, &exceptions, e) != 0)
		return -1;
	return s.ops->quota_list(s.read, owner->name, call->now_s, collect_quota, &quotas, e);
}

/* What is true of an owner now, and what its leaving will do or has done. */
static int
report(struct admin_call *call, const struct owner *owner, struct err *e)
{
	bool leaving = owner->status == OWNER_OFFBOARDING;
	struct holdings h = { 0 };

	if (count_holdings(call, owner->name, &h, e) != 0)
		return -1;
	call->result = json_of_owner(owner);
	(void)json_object_set_new(call->result, "assets", json_integer((json_int_t)h.assets));
	(void)json_object_set_new(call->result, "by_state", json_of_states(&h));
	(void)json_object_set_new(call->result, "certificates_valid", json_integer((json_int_t)h.certs));
	(void)json_object_set_new(call->result, "last_expiry", json_of_time(h.last_expiry_s));
	(void)json_object_set_new(call->result, "revokes", json_integer(leaving ? (json_int_t)h.certs : 0));
	(void)json_object_set_new(call->result, "revokes_at", json_of_time(leaving ? owner->offboard_end_s : 0));
	return add_open(call, owner, e);
}

static int
named_owner(struct admin_call *call, struct owner *owner, struct err *e)
{
	const char *name;
	int found;

	if (admin_text(call, "name", &name, e) != 0 ||
	    text_copy(owner->name, sizeof owner->name, bytes_of_text(name), "name", e) != 0)
		return -1;
	found = present_owner(call, owner, e);
	if (found <= 0)
		return found < 0 ? -1 : err_set(e, ERR_DENIED, "no owner \"%.100s\"; enrollctl owner list has them all", name);
	return 0;
}

int
admin_owner_report(struct admin_call *call, struct err *e)
{
	struct owner owner = { 0 };

	return named_owner(call, &owner, e) != 0 ? -1 : report(call, &owner, e);
}

int
admin_owner_offboard(struct admin_call *call, struct err *e)
{
	struct world *world = world_get();
	int64_t grace_s = world->config->offboard_grace_s;
	struct owner owner = { 0 };
	const char *reason;

	world_put(world);
	if (named_owner(call, &owner, e) != 0 || admin_text(call, "reason", &reason, e) != 0 ||
	    admin_duration(call, "grace", grace_s, &grace_s, e) != 0 ||
	    call->gateway->store_ops->owner_offboard(call->gateway->store, owner.name, call->now_s + grace_s, reason,
		    call->actor, call->now_s, e) != 0)
		return -1;
	/* Without grace it is now that everything is revoked, not within the minute. */
	if (grace_s == 0 && sweep_once(call->gateway, call->now_s, e) != 0)
		return -1;
	return named_owner(call, &owner, e) != 0 ? -1 : report(call, &owner, e);
}
