/* Exceptions, quotas, and what a second operator has to say yes to. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "gateway/core/admin_json.h"

#define EXCEPTION_LIFE_S (7 * 86400)
#define QUOTA_MAX 1000000000

/* "attestation,quota" */
static int
waivers(const char *text, unsigned *out, struct err *e)
{
	char name[32];

	for (*out = 0; *text != '\0'; text += strspn(text, ", ")) {
		size_t len = strcspn(text, ", ");
		unsigned bit;

		(void)snprintf(name, sizeof name, "%.*s", (int)(len < sizeof name ? len : sizeof name - 1), text);
		bit = exception_waiver_of(name);
		if (bit == 0)
			return err_set(e, ERR_MALFORMED,
				"\"%s\" cannot be waived; what can: attestation, quota, rules, renewal-window", name);
		*out |= bit;
		text += len;
	}
	return *out != 0 ? 0 : err_set(e, ERR_MALFORMED, "--waive names nothing");
}

static int
known_label(const char *label, struct err *e)
{
	struct world *world = world_get();
	bool known = strcmp(label, "*") == 0 || config_label(world->config, label) != NULL;

	world_put(world);
	return known ? 0 : err_set(e, ERR_MALFORMED, "no label \"%.60s\"; leave --label out for all of them", label);
}

static int
read_request(struct admin_call *call, struct exception_row *row, struct err *e)
{
	const char *asset = admin_text_or(call, "asset", ""), *owner = admin_text_or(call, "owner", "");
	const char *waive, *reason, *ticket, *label = admin_text_or(call, "label", "*");
	int64_t life_s = EXCEPTION_LIFE_S;

	if ((asset[0] == '\0') == (owner[0] == '\0'))
		return err_set(e, ERR_MALFORMED, "an exception is for one asset or for one owner: --asset TAG or --owner NAME");
	if (admin_text(call, "waive", &waive, e) != 0 || admin_text(call, "reason", &reason, e) != 0 ||
	    admin_text(call, "ticket", &ticket, e) != 0 || waivers(waive, &row->waives, e) != 0 ||
	    known_label(label, e) != 0 || admin_duration(call, "expires", life_s, &life_s, e) != 0)
		return -1;
	row->expires_s = call->now_s + life_s;
	row->max_uses = admin_int_or(call, "uses", 1);
	if (text_copy(row->asset_tag, sizeof row->asset_tag, bytes_of_text(asset), "asset", e) != 0 ||
	    text_copy(row->owner, sizeof row->owner, bytes_of_text(owner), "owner", e) != 0 ||
	    text_copy(row->label, sizeof row->label, bytes_of_text(label), "label", e) != 0 ||
	    text_copy(row->reason, sizeof row->reason, bytes_of_text(reason), "reason", e) != 0)
		return -1;
	return text_copy(row->ticket, sizeof row->ticket, bytes_of_text(ticket), "ticket", e);
}

static bool
keep_needed(void *arg, const struct approval_row *row)
{
	*(int *)arg = row->needed;
	return false;
}

int
admin_exception_request(struct admin_call *call, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };
	struct exception_row row = { 0 };
	int64_t id = 0, approval = 0;
	int needed = 1;

	if (read_request(call, &row, e) != 0 ||
	    call->gateway->store_ops->exception_request(call->gateway->store, &row, call->actor, call->now_s, &id,
		    &approval, e) != 0)
		return -1;
	if (snapshot_begin(call, &s, e) != 0 || s.ops->approval_by_id(s.read, approval, keep_needed, &needed, e) != 0)
		return -1;
	call->result = json_pack("{s:I, s:s, s:I, s:i, s:o}", "id", (json_int_t)id, "state",
		exception_state_name(EXCEPTION_REQUESTED), "approval", (json_int_t)approval, "needed", needed, "expires",
		json_of_time(row.expires_s));
	return 0;
}

static bool
emit_exception(void *arg, const struct exception_row *row)
{
	return admin_emit_row(arg, json_of_exception(row));
}

int
admin_exception_list(struct admin_call *call, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };

	if (snapshot_begin(call, &s, e) != 0)
		return -1;
	return s.ops->exception_list(s.read, admin_text_or(call, "asset", NULL), admin_flag(call, "open"), call->now_s,
		emit_exception, call, e);
}

int
admin_exception_revoke(struct admin_call *call, struct err *e)
{
	int64_t id = admin_int_or(call, "id", 0);
	const char *reason;

	if (id <= 0)
		return err_set(e, ERR_MALFORMED, "an exception is named by its number; enrollctl exception list has it");
	if (admin_text(call, "reason", &reason, e) != 0 ||
	    call->gateway->store_ops->exception_revoke(call->gateway->store, id, reason, call->actor, call->now_s, e) != 0)
		return -1;
	call->result = json_pack("{s:I, s:s}", "id", (json_int_t)id, "state", exception_state_name(EXCEPTION_REVOKED));
	return 0;
}

/* A quota for a profile that does not exist holds nobody back: a slip, most likely. */
static int
known_profile(const char *name, struct err *e)
{
	struct world *world = world_get();
	char names[160] = "";
	size_t len = 0, i;
	bool known = config_profile(world->config, name) != NULL;

	for (i = 0; i < world->config->profile_count && len < sizeof names; i++)
		len += (size_t)snprintf(names + len, sizeof names - len, "%s%s", i == 0 ? "" : ", ",
			world->config->profiles[i].name);
	world_put(world);
	return known ? 0 : err_set(e, ERR_MALFORMED, "no profile \"%.40s\"; there are: %s", name, names);
}

/* "100" or "none" (-1) */
static int
read_limit(const char *text, int64_t *out, struct err *e)
{
	size_t digits = strspn(text, "0123456789"), i;

	*out = -1;
	if (strcmp(text, "none") == 0)
		return 0;
	if (digits == 0 || digits > 10 || text[digits] != '\0')
		return err_set(e, ERR_MALFORMED, "\"%.20s\" is not a number of assets, nor \"none\"", text);
	for (*out = 0, i = 0; i < digits; i++)
		*out = *out * 10 + (text[i] - '0');
	return *out <= QUOTA_MAX ? 0 : err_set(e, ERR_MALFORMED, "a quota is at most %d", QUOTA_MAX);
}

int
admin_quota_set(struct admin_call *call, struct err *e)
{
	const char *owner, *profile, *text;
	int64_t limit;

	if (admin_text(call, "owner", &owner, e) != 0 || admin_text(call, "profile", &profile, e) != 0 ||
	    admin_text(call, "limit", &text, e) != 0 || read_limit(text, &limit, e) != 0 ||
	    (limit >= 0 && known_profile(profile, e) != 0) ||
	    call->gateway->store_ops->quota_put(call->gateway->store, owner, profile, limit, call->actor, call->now_s,
		    e) != 0)
		return -1;
	call->result = json_pack("{s:s, s:s, s:o}", "owner", owner, "profile", profile, "limit",
		limit < 0 ? json_null() : json_integer((json_int_t)limit));
	return 0;
}

static bool
emit_quota(void *arg, const struct quota_row *row)
{
	return admin_emit_row(arg, json_of_quota(row));
}

int
admin_quota_list(struct admin_call *call, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };

	if (snapshot_begin(call, &s, e) != 0)
		return -1;
	return s.ops->quota_list(s.read, admin_text_or(call, "owner", NULL), call->now_s, emit_quota, call, e);
}

static bool
emit_approval(void *arg, const struct approval_row *row)
{
	return admin_emit_row(arg, json_of_approval(row));
}

int
admin_approval_list(struct admin_call *call, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };

	if (snapshot_begin(call, &s, e) != 0)
		return -1;
	return s.ops->approval_list(s.read, admin_flag(call, "open"), call->now_s, emit_approval, call, e);
}

static bool
keep_approval(void *arg, const struct approval_row *row)
{
	*(json_t **)arg = json_of_approval(row);
	return false;
}

static int
show_approval(struct admin_call *call, int64_t id, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };

	if (snapshot_begin(call, &s, e) != 0 ||
	    s.ops->approval_by_id(s.read, id, keep_approval, &call->result, e) != 0)
		return -1;
	return call->result != NULL ? 0 :
		err_set(e, ERR_DENIED, "no approval %" PRId64 "; enrollctl approval list has them", id);
}

static int
need_approval(const struct admin_call *call, int64_t *id, struct err *e)
{
	*id = admin_int_or(call, "id", 0);
	return *id > 0 ? 0 :
		err_set(e, ERR_MALFORMED, "an approval is named by its number; enrollctl approval list --open has it");
}

int
admin_approval_show(struct admin_call *call, struct err *e)
{
	int64_t id;

	return need_approval(call, &id, e) != 0 ? -1 : show_approval(call, id, e);
}

int
admin_approval_decide(struct admin_call *call, struct err *e)
{
	bool approve = admin_flag(call, "approve");
	const char *reason = admin_text_or(call, "reason", "");
	enum approval_state state;
	int64_t id;

	if (need_approval(call, &id, e) != 0)
		return -1;
	if (!approve && reason[0] == '\0')
		return err_set(e, ERR_MALFORMED, "a refusal needs a reason: --reason TEXT");
	if (call->gateway->store_ops->approval_decide(call->gateway->store, id, approve, reason, call->actor, call->now_s,
		    &state, e) != 0)
		return -1;
	return show_approval(call, id, e);
}
